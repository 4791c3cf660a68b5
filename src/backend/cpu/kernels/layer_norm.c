/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/tiles.h"

/* Rows are taken in groups that go through each pass together: a row's sums are chains,
 * and several chains hide each other's latency. */
enum { GROUP = WEFTI_LANES == 16 ? 4 : 2 };

typedef struct rows {
    const float *x, *residual, *scale, *bias;
    float *y, *sum;
    int64_t n;
} rows;

/* 16 elements of row g from column i on; lanes behind `count` are `other`. */
WEFTI_INLINE v16 elements(const rows *r, int32_t g, int64_t i, const int32_t count,
                          const bool has_residual, v16 other)
{
    const float *x = r->x + g * r->n + i;
    v16 s = count == 16 ? v16_load(x) : v16_load_partial(x, count, other);
    if (has_residual) {
        const float *residual = r->residual + g * r->n + i;
        const v16 zero = v16_set1(0.0f);
        v16 t =
            count == 16 ? v16_load(residual) : v16_load_partial(residual, count, zero);
        s = count == 16 ? v16_add(s, t) : v16_select_first(count, v16_add(s, t), other);
    }
    return s;
}

WEFTI_INLINE void means(const rows *r, const bool has_residual, const int32_t group,
                        float mean[GROUP])
{
    const v16 zero = v16_set1(0.0f);
    v16 sum[GROUP];
    for (int32_t g = 0; g < group; g++) {
        sum[g] = zero;
    }
    int64_t i = 0;
    for (; i + 16 <= r->n; i += 16) {
        for (int32_t g = 0; g < group; g++) {
            sum[g] = v16_add(sum[g], elements(r, g, i, 16, has_residual, zero));
        }
    }
    if (i < r->n) {
        int32_t rest = (int32_t)(r->n - i);
        for (int32_t g = 0; g < group; g++) {
            sum[g] = v16_add(sum[g], elements(r, g, i, rest, has_residual, zero));
        }
    }
    for (int32_t g = 0; g < group; g++) {
        mean[g] = v16_reduce_add(sum[g]) / (float)r->n;
    }
}

WEFTI_INLINE void variances(const rows *r, const bool has_residual, const int32_t group,
                            const float mean[GROUP], float variance[GROUP])
{
    v16 sum[GROUP], m[GROUP];
    for (int32_t g = 0; g < group; g++) {
        sum[g] = v16_set1(0.0f);
        m[g] = v16_set1(mean[g]);
    }
    int64_t i = 0;
    for (; i + 16 <= r->n; i += 16) {
        for (int32_t g = 0; g < group; g++) {
            v16 d = v16_sub(elements(r, g, i, 16, has_residual, m[g]), m[g]);
            sum[g] = v16_fma(d, d, sum[g]);
        }
    }
    if (i < r->n) {
        int32_t rest = (int32_t)(r->n - i);
        for (int32_t g = 0; g < group; g++) {
            v16 d = v16_sub(elements(r, g, i, rest, has_residual, m[g]), m[g]);
            d = v16_select_first(rest, d, v16_set1(0.0f));
            sum[g] = v16_fma(d, d, sum[g]);
        }
    }
    for (int32_t g = 0; g < group; g++) {
        variance[g] = v16_reduce_add(sum[g]) / (float)r->n;
    }
}

WEFTI_INLINE vf load(const float *p, const int32_t count)
{
    return count == WEFTI_LANES ? vf_load(p) : vf_load_partial(p, count);
}

WEFTI_INLINE void store(float *p, vf v, const int32_t count)
{
    if (count == WEFTI_LANES) {
        vf_store(p, vf_canonical(v));
    } else {
        vf_store_partial(p, vf_canonical(v), count);
    }
}

WEFTI_INLINE void finish_part(const rows *r, int64_t at, int64_t column,
                              const int32_t count, vf mean, vf inverse)
{
    vf s = load(r->x + at, count);
    if (r->residual != NULL) {
        s = vf_add(s, load(r->residual + at, count));
    }
    if (r->sum != NULL) {
        store(r->sum + at, s, count);
    }
    vf v = vf_mul(vf_sub(s, mean), inverse);
    if (r->scale != NULL && r->bias != NULL) {
        v = vf_fma(v, load(r->scale + column, count), load(r->bias + column, count));
    } else if (r->scale != NULL) {
        v = vf_mul(v, load(r->scale + column, count));
    } else if (r->bias != NULL) {
        v = vf_add(v, load(r->bias + column, count));
    }
    store(r->y + at, v, count);
}

WEFTI_INLINE void finish_rows(const rows *r, const int32_t group,
                              const float mean[GROUP], const float inverse[GROUP])
{
    for (int32_t g = 0; g < group; g++) {
        const vf m = vf_set1(mean[g]), factor = vf_set1(inverse[g]);
        int64_t i = 0;
        for (; i + WEFTI_LANES <= r->n; i += WEFTI_LANES) {
            finish_part(r, g * r->n + i, i, WEFTI_LANES, m, factor);
        }
        if (i < r->n) {
            finish_part(r, g * r->n + i, i, (int32_t)(r->n - i), m, factor);
        }
    }
}

/* The common forms have their own loop: everything known while compiling. */
WEFTI_INLINE void finish(const rows *r, const int32_t group, const float mean[GROUP],
                         const float inverse[GROUP])
{
    if (r->scale != NULL && r->bias != NULL && r->sum == NULL) {
        if (r->residual == NULL) {
            const rows plain = {r->x, NULL, r->scale, r->bias, r->y, NULL, r->n};
            finish_rows(&plain, group, mean, inverse);
            return;
        }
        finish_rows(r, group, mean, inverse);
        return;
    }
    finish_rows(r, group, mean, inverse);
}

static float canonical(float x)
{
    const uint32_t nan = 0x7fc00000;
    if (x != x) {
        memcpy(&x, &nan, sizeof(x));
    }
    return x;
}

WEFTI_INLINE void some_rows(const wefti_cpu_call *call, int64_t row,
                            const int32_t group)
{
    const wefti_layer_norm_params *p = call->params;
    const int64_t n = p->column_count;
    const float *residual = call->operands[WEFTI_LAYER_NORM_RESIDUAL];
    float *sum = call->operands[WEFTI_LAYER_NORM_SUM];
    const rows r = {(const float *)call->operands[WEFTI_LAYER_NORM_INPUT] + row * n,
                    residual != NULL ? residual + row * n : NULL,
                    call->operands[WEFTI_LAYER_NORM_SCALE],
                    call->operands[WEFTI_LAYER_NORM_BIAS],
                    (float *)call->operands[WEFTI_LAYER_NORM_OUTPUT] + row * n,
                    sum != NULL ? sum + row * n : NULL,
                    n};
    float mean[GROUP] = {0.0f}, variance[GROUP], inverse[GROUP];
    if (residual != NULL) {
        if (!p->root_mean_square) {
            means(&r, true, group, mean);
        }
        variances(&r, true, group, mean, variance);
    } else {
        if (!p->root_mean_square) {
            means(&r, false, group, mean);
        }
        variances(&r, false, group, mean, variance);
    }
    float *mean_output = call->operands[WEFTI_LAYER_NORM_MEAN];
    float *inverse_output = call->operands[WEFTI_LAYER_NORM_INVERSE];
    for (int32_t g = 0; g < group; g++) {
        inverse[g] = 1.0f / sqrtf(variance[g] + p->epsilon);
        if (mean_output != NULL) {
            mean_output[row + g] = canonical(mean[g]);
        }
        if (inverse_output != NULL) {
            inverse_output[row + g] = canonical(inverse[g]);
        }
    }
    finish(&r, group, mean, inverse);
}

static double work_ns(const wefti_layer_norm_params *p)
{
    const double row_count = (double)p->row_count, columns = (double)p->column_count;
    /* Beyond the caches memory costs more. */
    const double memory = row_count * columns > 2e6 ? 0.22 : 0.0;
    return 20.0 + row_count * (12.0 + columns * (memory + 0.08 * 16.0 / WEFTI_LANES));
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_layer_norm_params *p = call->params;
    const int64_t tiles = tiles_for(p->row_count, work_ns(p));
    int64_t row = tile_start(p->row_count, tiles, begin);
    const int64_t last = tile_start(p->row_count, tiles, end);
    for (; row + GROUP <= last && p->column_count <= 2048; row += GROUP) {
        some_rows(call, row, GROUP);
    }
    for (; row < last; row++) {
        some_rows(call, row, 1);
    }
    return WEFT_OK;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_layer_norm)(const wefti_step *step,
                                                     bool may_pack,
                                                     wefti_cpu_prepared *prepared,
                                                     weft_error *error)
{
    (void)may_pack;
    const wefti_layer_norm_params *p = step->params;
    WEFTI_TRY(wefti_check_layer_norm(p, error));
    double ns = work_ns(p);
    prepared->function = run;
    prepared->tile_count = tiles_for(p->row_count, ns);
    prepared->work_ns = ns;
    snprintf(prepared->description, sizeof(prepared->description), "rows");
    return WEFT_OK;
}
