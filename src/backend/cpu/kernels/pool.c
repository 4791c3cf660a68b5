/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/tiles.h"

/* One row of outputs at a time. Each input row that it needs is copied with its padding
 * into the scratch, the columns of equal remainder by the stride together, so that the
 * outputs side by side read side by side. Padding is the neutral element, which leaves
 * the bits alone. Rows too short for that go output by output. */
enum { SHORT_ROW = 4 };

typedef struct geometry {
    const wefti_pool_params *p;
    int64_t phase;  /* floats for one remainder */
    int64_t padded; /* floats for a row of outputs */
    int64_t rows;   /* of outputs, over all planes */
    int64_t tiles;
} geometry;

/* Window positions along one dim that hold data: [first, last). */
typedef struct range {
    int64_t first, last;
} range;

WEFTI_INLINE range inside(const wefti_pool_params *p, int32_t d, int64_t out,
                          int64_t pad_end)
{
    int64_t start = out * p->strides[d] - p->pads_begin[d];
    int64_t low = pad_end < 0 ? 0 : -p->pads_begin[d];
    int64_t high = p->in_dims[d] + (pad_end < 0 ? 0 : pad_end);
    int64_t step = p->dilations[d];
    range r = {0, p->kernel_dims[d]};
    if (start < low) {
        int64_t first = (low - start + step - 1) / step;
        r.first = first < r.last ? first : r.last;
    }
    if (start + (r.last - 1) * step >= high) {
        int64_t last = high > start ? (high - start + step - 1) / step : 0;
        r.last = last > r.first ? last : r.first;
    }
    return r;
}

/* Positions that the divisor counts. */
WEFTI_INLINE int64_t counted(const wefti_pool_params *p, int32_t d, int64_t out)
{
    range r = inside(p, d, out, p->count_include_pad ? p->pads_end[d] : -1);
    return r.last - r.first;
}

static void pack_row(const geometry *g, const float *row, float *to, float neutral)
{
    const wefti_pool_params *p = g->p;
    const int64_t stride = p->strides[2], width = p->in_dims[2];
    for (int64_t q = 0; q < stride; q++) {
        float *phase = to + q * g->phase;
        int64_t x = q - p->pads_begin[2], j = 0;
        for (; j < g->phase && x < 0; j++, x += stride) {
            phase[j] = neutral;
        }
        if (stride == 1 && x < width && j < g->phase) {
            int64_t count = width - x < g->phase - j ? width - x : g->phase - j;
            memcpy(phase + j, row + x, (size_t)count * sizeof(float));
            j += count;
            x += count;
        }
        for (; j < g->phase && x < width; j++, x += stride) {
            phase[j] = row[x];
        }
        for (; j < g->phase; j++) {
            phase[j] = neutral;
        }
    }
}

WEFTI_INLINE void fold_row(const geometry *g, const float *packed, float *sums,
                           const bool average)
{
    const wefti_pool_params *p = g->p;
    for (int64_t k = 0; k < p->kernel_dims[2]; k++) {
        const int64_t offset = k * p->dilations[2];
        const float *from =
            packed + offset % p->strides[2] * g->phase + offset / p->strides[2];
        for (int64_t i = 0; i < g->padded; i += WEFTI_LANES) {
            vf v = vf_load(from + i), s = vf_load(sums + i);
            vf_store(sums + i, average ? vf_add(s, v) : vf_max(s, v));
        }
    }
}

WEFTI_INLINE void pool_row(const geometry *g, const float *plane, float *y,
                           const int64_t out[2], float *scratch, const bool average)
{
    const wefti_pool_params *p = g->p;
    float *sums = scratch, *divisors = sums + g->padded, *packed = divisors + g->padded;
    const float neutral = average ? 0.0f : -INFINITY;
    for (int64_t i = 0; i < g->padded; i++) {
        sums[i] = neutral;
    }
    range z = inside(p, 0, out[0], -1), v = inside(p, 1, out[1], -1);
    for (int64_t i = z.first; i < z.last; i++) {
        int64_t depth = out[0] * p->strides[0] - p->pads_begin[0] + i * p->dilations[0];
        for (int64_t k = v.first; k < v.last; k++) {
            int64_t at =
                out[1] * p->strides[1] - p->pads_begin[1] + k * p->dilations[1];
            pack_row(g, plane + (depth * p->in_dims[1] + at) * p->in_dims[2], packed,
                     neutral);
            fold_row(g, packed, sums, average);
        }
    }
    int64_t count = average ? counted(p, 0, out[0]) * counted(p, 1, out[1]) : 0;
    for (int64_t i = 0; i < p->out_dims[2] && average; i++) {
        int64_t divisor = count * counted(p, 2, i);
        divisors[i] = (float)(divisor > 0 ? divisor : 1);
    }
    for (int64_t i = 0; i < p->out_dims[2]; i += WEFTI_LANES) {
        int64_t left = p->out_dims[2] - i;
        vf s = vf_load(sums + i);
        s = vf_canonical(average ? vf_div(s, vf_load(divisors + i)) : s);
        vf_store_partial(y + i, s, (int32_t)(left < WEFTI_LANES ? left : WEFTI_LANES));
    }
}

/* A single output. */
WEFTI_INLINE float pool_one(const wefti_pool_params *p, const float *plane,
                            const int64_t out[3], const bool average)
{
    range z = inside(p, 0, out[0], -1), v = inside(p, 1, out[1], -1),
          h = inside(p, 2, out[2], -1);
    float s = average ? 0.0f : -INFINITY;
    for (int64_t i = z.first; i < z.last; i++) {
        int64_t depth = out[0] * p->strides[0] - p->pads_begin[0] + i * p->dilations[0];
        for (int64_t j = v.first; j < v.last; j++) {
            int64_t at =
                out[1] * p->strides[1] - p->pads_begin[1] + j * p->dilations[1];
            const float *row = plane + (depth * p->in_dims[1] + at) * p->in_dims[2] +
                               out[2] * p->strides[2] - p->pads_begin[2];
            for (int64_t k = h.first; k < h.last; k++) {
                float x = row[k * p->dilations[2]];
                s = average ? s + x : (s > x || s != s ? s : x);
            }
        }
    }
    if (average) {
        int64_t divisor =
            counted(p, 0, out[0]) * counted(p, 1, out[1]) * counted(p, 2, out[2]);
        s = s / (float)(divisor > 0 ? divisor : 1);
    }
    float lane[WEFTI_LANES];
    vf_store(lane, vf_canonical(vf_set1(s)));
    return lane[0];
}

static double work_ns(const wefti_pool_params *p)
{
    double outputs = (double)(p->plane_count * p->out_dims[0] * p->out_dims[1]) *
                     (double)p->out_dims[2];
    double window = (double)p->kernel_dims[0] * (double)p->kernel_dims[1] *
                    (double)p->kernel_dims[2];
    double each = p->out_dims[2] < SHORT_ROW ? 0.6 : 0.3;
    return 30.0 + outputs * (2.0 + window * each);
}

static geometry measure(const wefti_pool_params *p)
{
    geometry g = {.p = p};
    int64_t reach = (p->kernel_dims[2] - 1) * p->dilations[2] / p->strides[2];
    g.padded = (p->out_dims[2] + WEFTI_LANES - 1) / WEFTI_LANES * WEFTI_LANES;
    g.phase = g.padded + reach;
    g.rows = p->plane_count * p->out_dims[0] * p->out_dims[1];
    g.tiles = tiles_for(g.rows, work_ns(p));
    return g;
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)error;
    const wefti_pool_params *p = call->params;
    const geometry g = measure(p);
    const int64_t in_size = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const int64_t last = tile_start(g.rows, g.tiles, end);
    for (int64_t row = tile_start(g.rows, g.tiles, begin); row < last; row++) {
        int64_t y = row % p->out_dims[1], rest = row / p->out_dims[1];
        int64_t out[3] = {rest % p->out_dims[0], y, 0};
        const float *plane = (const float *)call->operands[WEFTI_POOL_INPUT] +
                             rest / p->out_dims[0] * in_size;
        float *to = (float *)call->operands[WEFTI_POOL_OUTPUT] + row * p->out_dims[2];
        if (p->out_dims[2] >= SHORT_ROW && p->average) {
            pool_row(&g, plane, to, out, scratch, true);
        } else if (p->out_dims[2] >= SHORT_ROW) {
            pool_row(&g, plane, to, out, scratch, false);
        } else {
            for (; out[2] < p->out_dims[2]; out[2]++) {
                to[out[2]] = p->average ? pool_one(p, plane, out, true)
                                        : pool_one(p, plane, out, false);
            }
        }
    }
    return WEFT_OK;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_pool)(const wefti_step *step, bool may_pack,
                                               wefti_cpu_prepared *prepared,
                                               weft_error *error)
{
    (void)may_pack;
    const wefti_pool_params *p = step->params;
    WEFTI_TRY(wefti_check_pool(p, error));
    const geometry g = measure(p);
    prepared->function = run;
    prepared->tile_count = g.tiles;
    prepared->work_ns = work_ns(p);
    if (p->out_dims[2] >= SHORT_ROW) {
        prepared->scratch_bytes =
            (size_t)(2 * g.padded + p->strides[2] * g.phase) * sizeof(float);
    }
    snprintf(prepared->description, sizeof(prepared->description), "%s",
             p->out_dims[2] >= SHORT_ROW ? "rows" : "short rows");
    return WEFT_OK;
}
