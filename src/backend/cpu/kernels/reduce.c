/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/math.h"
#include "backend/cpu/kernels/tiles.h"
#include "base/memory.h"

/* f32 in two forms. By rows: the elements of one output, copied together piece by piece
 * unless they are dense, go into 16 lanes. By columns: when neighbouring outputs are
 * dense instead, 16 lanes for each of a block of outputs. Other types run in plain C.
 */
enum { PIECE = 1024, BLOCK = 64 };

typedef struct plan {
    wefti_reduction reduction;
    int32_t kept_rank, reduced_rank; /* at least 1; neighbours joined */
    int64_t kept_dims[WEFT_MAX_RANK + 1], kept_strides[WEFT_MAX_RANK + 1];
    int64_t reduced_dims[WEFT_MAX_RANK + 1], reduced_strides[WEFT_MAX_RANK + 1];
    int64_t kept, reduced;
    bool columns, dense; /* dense: a row needs no copy */
    int64_t blocks, units, tiles;
} plan;

WEFTI_INLINE float initial(const wefti_reduction r)
{
    switch (r) {
    case WEFTI_REDUCE_MAX:
        return -INFINITY;
    case WEFTI_REDUCE_MIN:
        return INFINITY;
    case WEFTI_REDUCE_PROD:
        return 1.0f;
    default:
        return 0.0f;
    }
}

WEFTI_INLINE vf join(const wefti_reduction r, vf a, vf b)
{
    switch (r) {
    case WEFTI_REDUCE_MAX:
        return vf_max(a, b);
    case WEFTI_REDUCE_MIN:
        return vf_min(a, b);
    case WEFTI_REDUCE_PROD:
        return vf_mul(a, b);
    default:
        return vf_add(a, b);
    }
}

WEFTI_INLINE vf fold(const wefti_reduction r, vf lane, vf x)
{
    if (r == WEFTI_REDUCE_SUM_SQUARE || r == WEFTI_REDUCE_L2) {
        return vf_fma(x, x, lane);
    }
    return join(r, lane, r == WEFTI_REDUCE_L1 ? vf_abs(x) : x);
}

WEFTI_INLINE vf finish(const wefti_reduction r, vf v, int64_t count)
{
    if (r == WEFTI_REDUCE_MEAN) {
        v = vf_div(v, vf_set1((float)count));
    }
    return vf_canonical(r == WEFTI_REDUCE_L2 ? vf_sqrt(v) : v);
}

/* Elements of a multiple of 16, or the last ones. */
WEFTI_INLINE void fold_row(const wefti_reduction r, v16 *lanes, const float *x,
                           int64_t count)
{
    v16 l = *lanes;
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (int32_t k = 0; k < V16_VECTORS; k++) {
            l.part[k] = fold(r, l.part[k], vf_load(x + i + k * WEFTI_LANES));
        }
    }
    if (i < count) {
        const int32_t rest = (int32_t)(count - i);
        v16 v = v16_load_partial(x + i, rest, v16_set1(0.0f)), folded;
        for (int32_t k = 0; k < V16_VECTORS; k++) {
            folded.part[k] = fold(r, l.part[k], v.part[k]);
        }
        l = v16_select_first(rest, folded, l);
    }
    *lanes = l;
}

/* Copies `count` reduced elements from the index on, which it moves along. */
static void collect(const plan *p, const float *x, int64_t *index, int64_t count,
                    float *to)
{
    const int32_t last = p->reduced_rank - 1;
    const int64_t stride = p->reduced_strides[last];
    while (count > 0) {
        int64_t offset = 0;
        for (int32_t d = 0; d <= last; d++) {
            offset += index[d] * p->reduced_strides[d];
        }
        int64_t run = p->reduced_dims[last] - index[last];
        run = run < count ? run : count;
        if (stride == 1) {
            memcpy(to, x + offset, (size_t)run * sizeof(float));
        } else {
            for (int64_t i = 0; i < run; i++) {
                to[i] = x[offset + i * stride];
            }
        }
        to += run;
        count -= run;
        index[last] += run;
        for (int32_t d = last; d > 0 && index[d] == p->reduced_dims[d]; d--) {
            index[d] = 0;
            index[d - 1]++;
        }
    }
}

WEFTI_INLINE float reduce_row(const wefti_reduction r, const plan *p, const float *x)
{
    v16 lanes = v16_set1(initial(r));
    if (p->dense) {
        fold_row(r, &lanes, x, p->reduced);
    } else {
        float piece[PIECE];
        int64_t index[WEFT_MAX_RANK + 1] = {0};
        for (int64_t i = 0; i < p->reduced; i += PIECE) {
            int64_t count = p->reduced - i < PIECE ? p->reduced - i : PIECE;
            collect(p, x, index, count, piece);
            fold_row(r, &lanes, piece, count);
        }
    }
    float lane[16];
    v16_store(lane, lanes);
    for (int32_t step = 8; step >= WEFTI_LANES; step /= 2) {
        for (int32_t j = 0; j < step; j += WEFTI_LANES) {
            vf_store(lane + j, join(r, vf_load(lane + j), vf_load(lane + j + step)));
        }
    }
    for (int32_t step = WEFTI_LANES < 16 ? WEFTI_LANES / 2 : 8; step >= 1; step /= 2) {
        vf low = vf_load_partial(lane, step), high = vf_load_partial(lane + step, step);
        vf_store_partial(lane, join(r, low, high), step);
    }
    vf_store_partial(lane, finish(r, vf_set1(lane[0]), p->reduced), 1);
    return lane[0];
}

/* `width` neighbouring outputs. */
WEFTI_INLINE void reduce_block(const wefti_reduction r, const plan *p, const float *x,
                               float *y, int64_t width)
{
    float lanes[16][BLOCK];
    int64_t index[WEFT_MAX_RANK + 1] = {0};
    const int32_t last = p->reduced_rank - 1;
    for (int32_t j = 0; j < 16; j++) {
        for (int32_t k = 0; k < BLOCK; k += WEFTI_LANES) {
            vf_store(lanes[j] + k, vf_set1(initial(r)));
        }
    }
    for (int64_t i = 0; i < p->reduced; i++) {
        float *lane = lanes[i % 16];
        int64_t k = 0;
        for (; k + WEFTI_LANES <= width; k += WEFTI_LANES) {
            vf_store(lane + k, fold(r, vf_load(lane + k), vf_load(x + k)));
        }
        if (k < width) {
            vf v = vf_load_partial(x + k, (int32_t)(width - k));
            vf_store(lane + k, fold(r, vf_load(lane + k), v));
        }
        x += p->reduced_strides[last];
        index[last]++;
        for (int32_t d = last; d > 0 && index[d] == p->reduced_dims[d]; d--) {
            x += p->reduced_strides[d - 1] - p->reduced_dims[d] * p->reduced_strides[d];
            index[d] = 0;
            index[d - 1]++;
        }
    }
    for (int64_t k = 0; k < width; k += WEFTI_LANES) {
        for (int32_t step = 8; step >= 1; step /= 2) {
            for (int32_t j = 0; j < step; j++) {
                vf a = vf_load(lanes[j] + k), b = vf_load(lanes[j + step] + k);
                vf_store(lanes[j] + k, join(r, a, b));
            }
        }
        int64_t count = width - k < WEFTI_LANES ? width - k : WEFTI_LANES;
        vf_store_partial(y + k, finish(r, vf_load(lanes[0] + k), p->reduced),
                         (int32_t)count);
    }
}

/* The first of the best elements, or the first NaN. */
typedef struct best {
    float value;
    int64_t index;
} best;

static void search_row(bool wants_largest, const float *x, int64_t count, int64_t base,
                       best *b)
{
    v16 lanes = v16_set1(wants_largest ? -INFINITY : INFINITY);
    fold_row(wants_largest ? WEFTI_REDUCE_MAX : WEFTI_REDUCE_MIN, &lanes, x, count);
    float found = wants_largest ? v16_reduce_max(lanes) : v16_reduce_min(lanes);
    bool better = wants_largest ? found > b->value : found < b->value;
    if (b->value != b->value || (b->index >= 0 && !better && found == found)) {
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (x[i] == found || (x[i] != x[i] && found != found)) {
            b->value = x[i];
            b->index = base + i;
            return;
        }
    }
}

static int64_t search(const plan *p, const float *x)
{
    bool wants_largest = p->reduction == WEFTI_REDUCE_ARGMAX;
    best b = {0.0f, -1};
    float piece[PIECE];
    int64_t index[WEFT_MAX_RANK + 1] = {0};
    for (int64_t i = 0; i < p->reduced; i += PIECE) {
        int64_t count = p->reduced - i < PIECE ? p->reduced - i : PIECE;
        if (p->dense) {
            search_row(wants_largest, x + i, count, i, &b);
        } else {
            collect(p, x, index, count, piece);
            search_row(wants_largest, piece, count, i, &b);
        }
    }
    return b.index < 0 ? 0 : b.index;
}

/* Where output `at`, counted over the kept dims, begins to read. */
static int64_t kept_offset(const plan *p, int64_t at)
{
    int64_t offset = 0;
    for (int32_t d = p->kept_rank - 1; d >= 0; d--) {
        offset += at % p->kept_dims[d] * p->kept_strides[d];
        at /= p->kept_dims[d];
    }
    return offset;
}

WEFTI_INLINE void reduce_units(const wefti_reduction r, const plan *p, const float *x,
                               float *y, int64_t unit, int64_t last)
{
    const int64_t inner = p->kept_dims[p->kept_rank - 1];
    for (; unit < last; unit++) {
        if (!p->columns) {
            y[unit] = reduce_row(r, p, x + kept_offset(p, unit));
            continue;
        }
        int64_t row = unit / p->blocks, column = unit % p->blocks * BLOCK;
        int64_t at = row * inner + column;
        int64_t width = inner - column < BLOCK ? inner - column : BLOCK;
        reduce_block(r, p, x + kept_offset(p, at), y + at, width);
    }
}

#define REDUCTION(name)                                                                \
    case WEFTI_REDUCE_##name:                                                          \
        reduce_units(WEFTI_REDUCE_##name, p, x, y, unit, last);                        \
        break

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const plan *p = call->derived;
    const float *x = call->operands[WEFTI_REDUCE_INPUT];
    float *y = call->operands[WEFTI_REDUCE_OUTPUT];
    int64_t unit = tile_start(p->units, p->tiles, begin);
    const int64_t last = tile_start(p->units, p->tiles, end);
    switch (p->reduction) {
        REDUCTION(SUM);
        REDUCTION(MEAN);
        REDUCTION(MAX);
        REDUCTION(MIN);
        REDUCTION(PROD);
        REDUCTION(SUM_SQUARE);
        REDUCTION(L1);
        REDUCTION(L2);
    default:
        for (; unit < last; unit++) {
            ((int64_t *)call->operands[WEFTI_REDUCE_OUTPUT])[unit] =
                search(p, x + kept_offset(p, unit));
        }
        break;
    }
    return WEFT_OK;
}

static int32_t join_dims(int32_t rank, const int64_t *dims, const int64_t *strides,
                         int64_t *joined_dims, int64_t *joined_strides)
{
    int32_t count = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] == 1) {
            continue;
        }
        if (count > 0 && joined_strides[count - 1] == strides[i] * dims[i]) {
            joined_dims[count - 1] *= dims[i];
            joined_strides[count - 1] = strides[i];
        } else {
            joined_dims[count] = dims[i];
            joined_strides[count++] = strides[i];
        }
    }
    if (count == 0) {
        joined_dims[count] = 1;
        joined_strides[count++] = 1;
    }
    return count;
}

static void choose_form(plan *p)
{
    const int64_t reduced_stride = p->reduced_strides[p->reduced_rank - 1];
    const int32_t inner = p->kept_rank - 1;
    p->dense = p->reduced_rank == 1 && reduced_stride == 1;
    p->columns = reduced_stride != 1 && p->kept_strides[inner] == 1 &&
                 p->kept_dims[inner] >= WEFTI_LANES &&
                 p->reduction < WEFTI_REDUCE_ARGMAX;
    p->units = p->kept;
    if (p->columns) {
        p->blocks = (p->kept_dims[inner] + BLOCK - 1) / BLOCK;
        p->units = p->kept / p->kept_dims[inner] * p->blocks;
    }
}

static double work_ns(const plan *p)
{
    double each = p->columns || p->dense ? 0.06 : 0.3;
    return 20.0 + (double)p->units * 15.0 +
           (double)p->kept * (double)p->reduced * each * (16.0 / WEFTI_LANES);
}

weft_status WEFTI_ISA_NAME(wefti_prepare_reduce)(const wefti_step *step, bool may_pack,
                                                 wefti_cpu_prepared *prepared,
                                                 weft_error *error)
{
    const wefti_reduce_params *params = step->params;
    int64_t kept = 0, reduced = 0;
    WEFTI_TRY(wefti_check_reduce(params, &kept, &reduced, error));
    if (params->type != WEFT_TYPE_F32) {
        return wefti_prepare_reduce_reference(step, may_pack, prepared, error);
    }
    plan *p = wefti_calloc(1, sizeof(*p));
    if (p == NULL) {
        return wefti_error_memory(error, "a reduction plan");
    }
    p->reduction = params->reduction;
    p->kept = kept;
    p->reduced = reduced;
    p->kept_rank = join_dims(params->kept_rank, params->kept_dims, params->kept_strides,
                             p->kept_dims, p->kept_strides);
    p->reduced_rank =
        join_dims(params->reduced_rank, params->reduced_dims, params->reduced_strides,
                  p->reduced_dims, p->reduced_strides);
    choose_form(p);
    double ns = work_ns(p);
    p->tiles = tiles_for(p->units, ns);
    prepared->function = run;
    prepared->tile_count = p->tiles;
    prepared->work_ns = ns;
    prepared->derived = p;
    snprintf(prepared->description, sizeof(prepared->description), "%s",
             p->columns ? "columns" : (p->dense ? "rows" : "collected rows"));
    return WEFT_OK;
}
