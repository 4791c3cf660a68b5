/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* Operations of a type as REDUCE_LANES wants them. Integer sums wrap. */
#define WRAP(T, U, a, operator, b) ((T)((U)(a) operator(U)(b)))
#define ABSOLUTE(T, U, a) ((a) < 0 ? WRAP(T, U, 0, -, a) : (a))

static double max_f64(double a, double b)
{
    return a > b || a != a ? a : b;
}

static double min_f64(double a, double b)
{
    return a < b || a != a ? a : b;
}

static double canonical_f64(double x)
{
    uint64_t nan = UINT64_C(0x7ff8000000000000);
    if (x != x) {
        memcpy(&x, &nan, sizeof(x));
    }
    return x;
}

/* One value of the reduced elements, by the order in backend/kernel.h. STEP folds an
 * element into its lane, TREE folds two lanes; both by the reduction `r`. */
#define REDUCE_LANES(name, T, LOWEST, HIGHEST, STEP, TREE, FINISH)                     \
    static T name(const wefti_reduce_params *p, const T *x, int64_t count)             \
    {                                                                                  \
        wefti_reduction r = p->reduction;                                              \
        T lane[16];                                                                    \
        for (int32_t j = 0; j < 16; j++) {                                             \
            lane[j] = r == WEFTI_REDUCE_MAX    ? LOWEST                                \
                      : r == WEFTI_REDUCE_MIN  ? HIGHEST                               \
                      : r == WEFTI_REDUCE_PROD ? (T)1                                  \
                                               : (T)0;                                 \
        }                                                                              \
        for (int64_t i = 0; i < count; i++) {                                          \
            T v = x[ref_offset(p->reduced_rank, p->reduced_dims, p->reduced_strides,   \
                               i)];                                                    \
            lane[i % 16] = STEP(r, lane[i % 16], v);                                   \
        }                                                                              \
        for (int32_t step = 8; step >= 1; step /= 2) {                                 \
            for (int32_t j = 0; j < step; j++) {                                       \
                lane[j] = TREE(r, lane[j], lane[j + step]);                            \
            }                                                                          \
        }                                                                              \
        return FINISH(r, lane[0], count);                                              \
    }                                                                                  \
    static int64_t name##_arg(const wefti_reduce_params *p, const T *x, int64_t count) \
    {                                                                                  \
        int64_t best = 0;                                                              \
        T found = (T)0;                                                                \
        for (int64_t i = 0; i < count; i++) {                                          \
            T v = x[ref_offset(p->reduced_rank, p->reduced_dims, p->reduced_strides,   \
                               i)];                                                    \
            bool better = p->reduction == WEFTI_REDUCE_ARGMAX ? v > found : v < found; \
            if (i == 0 || (found == found && (better || v != v))) {                    \
                best = i;                                                              \
                found = v;                                                             \
            }                                                                          \
        }                                                                              \
        return best;                                                                   \
    }

static float tree_f32(wefti_reduction r, float a, float b)
{
    switch (r) {
    case WEFTI_REDUCE_MAX:
        return ref_max(a, b);
    case WEFTI_REDUCE_MIN:
        return ref_min(a, b);
    case WEFTI_REDUCE_PROD:
        return a * b;
    default:
        return a + b;
    }
}

static float step_f32(wefti_reduction r, float lane, float v)
{
    if (r == WEFTI_REDUCE_SUM_SQUARE || r == WEFTI_REDUCE_L2) {
        return fmaf(v, v, lane);
    }
    return tree_f32(r, lane, r == WEFTI_REDUCE_L1 ? fabsf(v) : v);
}

static float finish_f32(wefti_reduction r, float v, int64_t count)
{
    if (r == WEFTI_REDUCE_MEAN) {
        v = v / (float)count;
    }
    return ref_canonical(r == WEFTI_REDUCE_L2 ? sqrtf(v) : v);
}

static double tree_f64(wefti_reduction r, double a, double b)
{
    switch (r) {
    case WEFTI_REDUCE_MAX:
        return max_f64(a, b);
    case WEFTI_REDUCE_MIN:
        return min_f64(a, b);
    case WEFTI_REDUCE_PROD:
        return a * b;
    default:
        return a + b;
    }
}

static double step_f64(wefti_reduction r, double lane, double v)
{
    if (r == WEFTI_REDUCE_SUM_SQUARE || r == WEFTI_REDUCE_L2) {
        return fma(v, v, lane);
    }
    return tree_f64(r, lane, r == WEFTI_REDUCE_L1 ? fabs(v) : v);
}

static double finish_f64(wefti_reduction r, double v, int64_t count)
{
    if (r == WEFTI_REDUCE_MEAN) {
        v = v / (double)count;
    }
    return canonical_f64(r == WEFTI_REDUCE_L2 ? sqrt(v) : v);
}

#define INTEGER_FORMS(suffix, T, U)                                                    \
    static T tree_##suffix(wefti_reduction r, T a, T b)                                \
    {                                                                                  \
        switch (r) {                                                                   \
        case WEFTI_REDUCE_MAX:                                                         \
            return a > b ? a : b;                                                      \
        case WEFTI_REDUCE_MIN:                                                         \
            return a < b ? a : b;                                                      \
        case WEFTI_REDUCE_PROD:                                                        \
            return WRAP(T, U, a, *, b);                                                \
        default:                                                                       \
            return WRAP(T, U, a, +, b);                                                \
        }                                                                              \
    }                                                                                  \
    static T step_##suffix(wefti_reduction r, T lane, T v)                             \
    {                                                                                  \
        if (r == WEFTI_REDUCE_SUM_SQUARE) {                                            \
            v = WRAP(T, U, v, *, v);                                                   \
        }                                                                              \
        return tree_##suffix(r, lane, r == WEFTI_REDUCE_L1 ? ABSOLUTE(T, U, v) : v);   \
    }                                                                                  \
    static T finish_##suffix(wefti_reduction r, T v, int64_t count)                    \
    {                                                                                  \
        if (r != WEFTI_REDUCE_MEAN) {                                                  \
            return v;                                                                  \
        }                                                                              \
        return (T)(count == 0 ? 0 : v / count);                                        \
    }

INTEGER_FORMS(i64, int64_t, uint64_t)
INTEGER_FORMS(i32, int32_t, uint32_t)

REDUCE_LANES(reduce_f32, float, -INFINITY, INFINITY, step_f32, tree_f32, finish_f32)
REDUCE_LANES(reduce_f64, double, -(double)INFINITY, (double)INFINITY, step_f64,
             tree_f64, finish_f64)
REDUCE_LANES(reduce_i64, int64_t, INT64_MIN, INT64_MAX, step_i64, tree_i64, finish_i64)
REDUCE_LANES(reduce_i32, int32_t, INT32_MIN, INT32_MAX, step_i32, tree_i32, finish_i32)

#define REDUCE_ONE(T, name)                                                            \
    do {                                                                               \
        const T *x = (const T *)input + from;                                          \
        if (is_arg) {                                                                  \
            ((int64_t *)output)[to] = name##_arg(p, x, count);                         \
        } else {                                                                       \
            ((T *)output)[to] = name(p, x, count);                                     \
        }                                                                              \
    } while (0)

static void reduce_one(const wefti_reduce_params *p, const void *input, void *output,
                       int64_t to)
{
    int64_t from = ref_offset(p->kept_rank, p->kept_dims, p->kept_strides, to);
    int64_t count = ref_count(p->reduced_rank, p->reduced_dims);
    bool is_arg =
        p->reduction == WEFTI_REDUCE_ARGMAX || p->reduction == WEFTI_REDUCE_ARGMIN;
    switch (p->type) {
    case WEFT_TYPE_F32:
        REDUCE_ONE(float, reduce_f32);
        break;
    case WEFT_TYPE_F64:
        REDUCE_ONE(double, reduce_f64);
        break;
    case WEFT_TYPE_I64:
        REDUCE_ONE(int64_t, reduce_i64);
        break;
    default:
        REDUCE_ONE(int32_t, reduce_i32);
        break;
    }
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_reduce_params *p = call->params;
    int64_t kept = ref_count(p->kept_rank, p->kept_dims);
    int64_t last = ref_tile_start(kept, end);
    for (int64_t i = ref_tile_start(kept, begin); i < last; i++) {
        reduce_one(p, call->operands[WEFTI_REDUCE_INPUT],
                   call->operands[WEFTI_REDUCE_OUTPUT], i);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_reduce_reference(const wefti_step *step, bool may_pack,
                                           wefti_cpu_prepared *prepared,
                                           weft_error *error)
{
    (void)may_pack;
    int64_t kept = 0, reduced = 0;
    WEFTI_TRY(wefti_check_reduce(step->params, &kept, &reduced, error));
    return ref_prepared(prepared, run, kept, 20.0 + 10.0 * (double)reduced);
}
