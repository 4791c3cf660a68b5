/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/math.h"
#include "backend/cpu/kernels/tiles.h"

/* Rows are taken in groups, so that the long latencies of one row's maximum, sum and
 * division hide behind the others. The order of a maximum does not matter here: equal
 * maxima differ at most in the sign of zero, which subtracting it hides, and a row with
 * a NaN is NaN as a whole because its sum is. */
enum { GROUP = 4 };

/* The largest lane, in any order. */
WEFTI_INLINE float largest_lane(vf a)
{
#if defined(WEFTI_ISA_avx512)
    return _mm512_reduce_max_ps(a);
#else
    float lane[WEFTI_LANES];
    vf_store(lane, a);
    for (int32_t step = WEFTI_LANES / 2; step >= 1; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            lane[j] = lane[j] > lane[j + step] ? lane[j] : lane[j + step];
        }
    }
    return lane[0];
#endif
}

WEFTI_INLINE float largest_of(const float *x, int64_t n)
{
    vf a = vf_set1(-INFINITY), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * WEFTI_LANES <= n; i += 4 * WEFTI_LANES) {
        a = vf_at_least(a, vf_load(x + i));
        b = vf_at_least(b, vf_load(x + i + WEFTI_LANES));
        c = vf_at_least(c, vf_load(x + i + 2 * WEFTI_LANES));
        d = vf_at_least(d, vf_load(x + i + 3 * WEFTI_LANES));
    }
    for (; i + WEFTI_LANES <= n; i += WEFTI_LANES) {
        a = vf_at_least(a, vf_load(x + i));
    }
    if (i < n) {
        int32_t rest = (int32_t)(n - i);
        b = vf_select(vm_first(rest), vf_at_least(b, vf_load_partial(x + i, rest)), b);
    }
    return largest_lane(vf_at_least(vf_at_least(a, b), vf_at_least(c, d)));
}

WEFTI_INLINE v16 exp_16(v16 x, v16 shift)
{
    v16 r;
    for (int32_t i = 0; i < V16_VECTORS; i++) {
        r.part[i] = vf_exp_negative(vf_sub(x.part[i], shift.part[i]));
    }
    return r;
}

/* Sums exp(x - largest); stores the exponentials when `y` is not NULL. */
WEFTI_INLINE float sum_of(const float *x, float *y, int64_t n, float largest,
                          const bool stores)
{
    const v16 shift = v16_set1(largest);
    v16 sum = v16_set1(0.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 e = exp_16(v16_load(x + i), shift);
        if (stores) {
            v16_store(y + i, e);
        }
        sum = v16_add(sum, e);
    }
    if (i < n) {
        int32_t rest = (int32_t)(n - i);
        v16 e = exp_16(v16_load_partial(x + i, rest, shift), shift);
        if (stores) {
            v16_store_partial(y + i, e, rest);
        }
        sum = v16_add(sum, v16_select_first(rest, e, v16_set1(0.0f)));
    }
    return v16_reduce_add(sum);
}

WEFTI_INLINE void scale_row(float *y, const float *e, int64_t n, float sum)
{
    const vf factor = vf_set1(1.0f / sum), nan = vf_canonical(vf_set1(NAN));
    const bool is_nan = sum != sum;
    int64_t i = 0;
    for (; i + WEFTI_LANES <= n; i += WEFTI_LANES) {
        vf_store(y + i, is_nan ? nan : vf_mul(vf_load(e + i), factor));
    }
    if (i < n) {
        int32_t rest = (int32_t)(n - i);
        vf v = vf_mul(vf_load_partial(e + i, rest), factor);
        vf_store_partial(y + i, is_nan ? nan : v, rest);
    }
}

static float log_of(float x)
{
    float lanes[WEFTI_LANES];
    vf_store(lanes, vf_log(vf_set1(x)));
    return lanes[0];
}

WEFTI_INLINE void log_row(float *y, const float *x, int64_t n, float largest, float sum)
{
    const vf shift = vf_set1(largest), logarithm = vf_set1(log_of(sum));
    int64_t i = 0;
    for (; i + WEFTI_LANES <= n; i += WEFTI_LANES) {
        vf v = vf_sub(vf_sub(vf_load(x + i), shift), logarithm);
        vf_store(y + i, vf_canonical(v));
    }
    if (i < n) {
        int32_t rest = (int32_t)(n - i);
        vf v = vf_sub(vf_sub(vf_load_partial(x + i, rest), shift), logarithm);
        vf_store_partial(y + i, vf_canonical(v), rest);
    }
}

WEFTI_INLINE void some_rows(const float *x, float *y, int64_t n, bool logarithmic,
                            const int32_t count)
{
    float largest[GROUP], sum[GROUP];
    for (int32_t g = 0; g < count; g++) {
        largest[g] = largest_of(x + g * n, n);
    }
    if (logarithmic) {
        for (int32_t g = 0; g < count; g++) {
            sum[g] = sum_of(x + g * n, NULL, n, largest[g], false);
        }
        for (int32_t g = 0; g < count; g++) {
            log_row(y + g * n, x + g * n, n, largest[g], sum[g]);
        }
        return;
    }
    for (int32_t g = 0; g < count; g++) {
        sum[g] = sum_of(x + g * n, y + g * n, n, largest[g], true);
    }
    for (int32_t g = 0; g < count; g++) {
        scale_row(y + g * n, y + g * n, n, sum[g]);
    }
}

static double work_ns(const wefti_softmax_params *p)
{
    const double rows = (double)p->row_count, columns = (double)p->column_count;
    /* Beyond the caches memory costs more. */
    const double memory = rows * columns > 2e6 ? 0.17 : 0.0;
    return 20.0 + rows * (10.0 + columns * (memory + 0.12 * 16.0 / WEFTI_LANES));
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_softmax_params *p = call->params;
    const int64_t n = p->column_count;
    const int64_t tiles = tiles_for(p->row_count, work_ns(p));
    const float *x = call->operands[WEFTI_SOFTMAX_INPUT];
    float *y = call->operands[WEFTI_SOFTMAX_OUTPUT];
    int64_t row = tile_start(p->row_count, tiles, begin);
    const int64_t last = tile_start(p->row_count, tiles, end);
    /* A group must stay in the first-level cache. */
    for (; row + GROUP <= last && n <= 1024; row += GROUP) {
        some_rows(x + row * n, y + row * n, n, p->logarithmic, GROUP);
    }
    for (; row < last; row++) {
        some_rows(x + row * n, y + row * n, n, p->logarithmic, 1);
    }
    return WEFT_OK;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_softmax)(const wefti_step *step, bool may_pack,
                                                  wefti_cpu_prepared *prepared,
                                                  weft_error *error)
{
    (void)may_pack;
    const wefti_softmax_params *p = step->params;
    WEFTI_TRY(wefti_check_softmax(p, error));
    double ns = work_ns(p);
    prepared->function = run;
    prepared->tile_count = tiles_for(p->row_count, ns);
    prepared->work_ns = ns;
    snprintf(prepared->description, sizeof(prepared->description), "rows");
    return WEFT_OK;
}
