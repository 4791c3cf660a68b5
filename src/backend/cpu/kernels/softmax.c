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

#if defined(WEFTI_ISA_avx512)
/* An exponential is a chain of 14 instructions that wait for each other, and the
 * processor finds only so many of the next ones; so some are taken side by side, as
 * many as the registers hold. */
enum { BESIDE = 4 };

#define EACH(expression)                                                               \
    do {                                                                               \
        for (int32_t k = 0; k < BESIDE; k++) {                                         \
            expression;                                                                \
        }                                                                              \
    } while (0)

/* e[k] = vf_exp_negative(e[k]) */
WEFTI_INLINE void exp_beside(vf *e)
{
    const vf magic = vf_set1(WEFTI_ROUND_MAGIC), one = vf_set1(1.0f);
    vf n[BESIDE], q[BESIDE];
    EACH(e[k] = vf_at_least(vf_set1(WEFTI_EXP_LOW), e[k]));
    EACH(n[k] = vf_fma(e[k], vf_set1(WEFTI_LOG2_E), magic));
    EACH(n[k] = vf_sub(n[k], magic));
    EACH(e[k] = vf_fma(n[k], vf_set1(-WEFTI_LN2_HIGH), e[k]));
    EACH(e[k] = vf_fma(n[k], vf_set1(-WEFTI_LN2_LOW), e[k]));
    EACH(q[k] = vf_set1(wefti_exp_poly[4]));
    for (int32_t i = 3; i >= 0; i--) {
        EACH(q[k] = vf_fma(q[k], e[k], vf_set1(wefti_exp_poly[i])));
    }
    EACH(q[k] = vf_fma(q[k], e[k], one));
    EACH(q[k] = vf_fma(q[k], e[k], one));
    EACH(e[k] = vf_scale(q[k], (vf_exponent){.n = n[k]}));
}

/* As sum_of, of as many elements as there are whole sets of vectors; their number goes
 * to *done. */
WEFTI_INLINE vf sum_beside(const float *x, float *y, int64_t n, vf shift, int64_t *done,
                           const bool stores)
{
    vf sum = vf_set1(0.0f);
    int64_t i = 0;
    for (; i + BESIDE * WEFTI_LANES <= n; i += BESIDE * WEFTI_LANES) {
        vf e[BESIDE];
        EACH(e[k] = vf_sub(vf_load(x + i + k * WEFTI_LANES), shift));
        exp_beside(e);
        if (stores) {
            EACH(vf_store(y + i + k * WEFTI_LANES, e[k]));
        }
        EACH(sum = vf_add(sum, e[k]));
    }
    *done = i;
    return sum;
}
#endif

/* Sums exp(x - largest); stores the exponentials when `y` is not NULL. `is_long`: it
 * has LONG_ROW elements and more. */
WEFTI_INLINE float sum_of(const float *x, float *y, int64_t n, float largest,
                          const bool stores, const bool is_long)
{
    const v16 shift = v16_set1(largest);
    v16 sum = v16_set1(0.0f);
    int64_t i = 0;
#if defined(WEFTI_ISA_avx512)
    if (is_long) {
        sum.part[0] = sum_beside(x, y, n, shift.part[0], &i, stores);
    }
#else
    (void)is_long;
#endif
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

/* Rows that are worth more than one vector at a time. */
enum { LONG_ROW = 64 };

/* Some rows one behind the other. */
typedef struct row_group {
    const float *x;
    float *y;
    int64_t n;
    bool logarithmic;
} row_group;

WEFTI_INLINE row_group rows_after(row_group r, int64_t count)
{
    r.x += count * r.n;
    r.y += count * r.n;
    return r;
}

WEFTI_INLINE void find_largest(const row_group r, const int32_t count, float *largest)
{
    for (int32_t g = 0; g < count; g++) {
        largest[g] = largest_of(r.x + g * r.n, r.n);
    }
}

/* The exponentials go to y unless logarithms are wanted. */
WEFTI_INLINE void find_sums(const row_group r, const int32_t count, const bool is_long,
                            const float *largest, float *sum)
{
    for (int32_t g = 0; r.logarithmic && g < count; g++) {
        sum[g] = sum_of(r.x + g * r.n, NULL, r.n, largest[g], false, is_long);
    }
    for (int32_t g = 0; !r.logarithmic && g < count; g++) {
        sum[g] = sum_of(r.x + g * r.n, r.y + g * r.n, r.n, largest[g], true, is_long);
    }
}

WEFTI_INLINE void finish(const row_group r, const int32_t count, const float *largest,
                         const float *sum)
{
    for (int32_t g = 0; r.logarithmic && g < count; g++) {
        log_row(r.y + g * r.n, r.x + g * r.n, r.n, largest[g], sum[g]);
    }
    for (int32_t g = 0; !r.logarithmic && g < count; g++) {
        scale_row(r.y + g * r.n, r.y + g * r.n, r.n, sum[g]);
    }
}

WEFTI_INLINE void some_rows(const row_group r, const int32_t count, const bool is_long)
{
    float largest[GROUP], sum[GROUP];
    find_largest(r, count, largest);
    find_sums(r, count, is_long, largest, sum);
    finish(r, count, largest, sum);
}

/* Whole groups of long rows. The largest elements of the next are looked for before one
 * is finished: so that work hides how long its sums take, and finishing it, how long
 * those do. */
WEFTI_INLINE void long_groups(row_group r, int64_t group_count)
{
    float largest[2][GROUP], sum[GROUP];
    find_largest(r, GROUP, largest[0]);
    for (int64_t i = 0; i < group_count; i++) {
        const row_group next = rows_after(r, GROUP);
        find_sums(r, GROUP, true, largest[i % 2], sum);
        if (i + 1 < group_count) {
            find_largest(next, GROUP, largest[(i + 1) % 2]);
        }
        finish(r, GROUP, largest[i % 2], sum);
        r = next;
    }
}

#if defined(WEFTI_ISA_avx512)
/* Rows of whole sets of vectors, three at once: the exponentials of one, which keep the
 * multipliers busy and wait for each other, and beside them, where there is room, the
 * products of an earlier one and the largest element of a later one. Those are two rows
 * away, so that nobody waits for a sum or a largest element. */
typedef struct three_rows {
    const float *later, *x;
    float *y, *earlier;
    float largest;     /* of x */
    float earlier_sum; /* of the exponentials in `earlier` */
} three_rows;

/* Finds the largest of `later` and the sum of the exponentials that go to y. */
WEFTI_INLINE void take_three(const three_rows r, int64_t n, const bool has_earlier,
                             float *largest, float *sum)
{
    const vf shift = vf_set1(r.largest), factor = vf_set1(1.0f / r.earlier_sum);
    const vf nan = vf_canonical(vf_set1(NAN));
    const vm is_number = r.earlier_sum == r.earlier_sum ? 0xffff : 0;
    vf total = vf_set1(0.0f), a = vf_set1(-INFINITY), b = a;
    for (int64_t i = 0; i < n; i += BESIDE * WEFTI_LANES) {
        vf e[BESIDE], done[BESIDE];
        EACH(e[k] = vf_sub(vf_load(r.x + i + k * WEFTI_LANES), shift));
        for (int32_t k = 0; k < BESIDE; k += 2) {
            a = vf_at_least(a, vf_load(r.later + i + k * WEFTI_LANES));
            b = vf_at_least(b, vf_load(r.later + i + (k + 1) * WEFTI_LANES));
        }
        if (has_earlier) {
            EACH(done[k] = vf_load(r.earlier + i + k * WEFTI_LANES));
            EACH(done[k] = _mm512_mask_mul_ps(nan, is_number, done[k], factor));
            EACH(vf_store(r.earlier + i + k * WEFTI_LANES, done[k]));
        }
        exp_beside(e);
        EACH(vf_store(r.y + i + k * WEFTI_LANES, e[k]));
        EACH(total = vf_add(total, e[k]));
    }
    *largest = largest_lane(vf_at_least(a, b));
    *sum = v16_reduce_add((v16){.part = {total}});
}

static void rows_by_threes(const row_group r, int64_t row_count)
{
    float largest[2] = {0}, sum[2] = {0}; /* of even rows and odd ones */
    for (int64_t i = 0; i < row_count && i < 2; i++) {
        largest[i] = largest_of(r.x + i * r.n, r.n);
    }
    for (int64_t i = 0; i < row_count; i++) {
        float *of = &largest[i % 2], *total = &sum[i % 2];
        const int64_t later = i + 2 < row_count ? i + 2 : i;
        three_rows rows = {.later = r.x + later * r.n,
                           .x = r.x + i * r.n,
                           .y = r.y + i * r.n,
                           .largest = *of,
                           .earlier_sum = *total};
        if (i < 2) {
            take_three(rows, r.n, false, of, total);
        } else {
            rows.earlier = r.y + (i - 2) * r.n;
            take_three(rows, r.n, true, of, total);
        }
    }
    for (int64_t i = row_count > 2 ? row_count - 2 : 0; i < row_count; i++) {
        scale_row(r.y + i * r.n, r.y + i * r.n, r.n, sum[i % 2]);
    }
}
#endif

/* Three rows must stay in the first-level cache. */
WEFTI_INLINE bool try_threes(const row_group r, int64_t row_count)
{
#if defined(WEFTI_ISA_avx512)
    if (!r.logarithmic && r.n <= 1024 && r.n % (BESIDE * WEFTI_LANES) == 0 &&
        row_count > 1) {
        rows_by_threes(r, row_count);
        return true;
    }
#else
    (void)r;
    (void)row_count;
#endif
    return false;
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
    const int64_t row = tile_start(p->row_count, tiles, begin);
    const int64_t row_count = tile_start(p->row_count, tiles, end) - row;
    /* A group must stay in the first-level cache. */
    const int64_t group_count = n <= 1024 ? row_count / GROUP : 0;
    row_group r = {x + row * n, y + row * n, n, p->logarithmic};
    if (try_threes(r, row_count)) {
        return WEFT_OK;
    }
    if (n >= LONG_ROW && group_count > 0) {
        long_groups(r, group_count);
        r = rows_after(r, group_count * GROUP);
    } else {
        for (int64_t i = 0; i < group_count; i++, r = rows_after(r, GROUP)) {
            some_rows(r, GROUP, false);
        }
    }
    for (int64_t i = group_count * GROUP; i < row_count; i++, r = rows_after(r, 1)) {
        some_rows(r, 1, n >= LONG_ROW);
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
