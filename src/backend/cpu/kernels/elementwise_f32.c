/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/elementwise_f32.h"

#include "backend/cpu/kernels/mask_bytes.h"
#include "backend/cpu/kernels/math.h"

/* The loops below are inlined into one function for each operation, with the operation
 * a constant. */

typedef struct constants {
    vf alpha, beta;
} constants;

WEFTI_INLINE vf arithmetic_1(const wefti_operation operation, vf a, constants c)
{
    switch (operation) {
    case WEFTI_OP_NEG:
        return vf_neg(a);
    case WEFTI_OP_ABS:
        return vf_abs(a);
    case WEFTI_OP_RECIPROCAL:
        return vf_div(vf_set1(1.0f), a);
    case WEFTI_OP_SQRT:
        return vf_sqrt(a);
    case WEFTI_OP_EXP:
        return vf_exp(a);
    case WEFTI_OP_LOG:
        return vf_log(a);
    case WEFTI_OP_ERF:
        return vf_erf(a);
    case WEFTI_OP_TANH:
        return vf_tanh(a);
    case WEFTI_OP_SIGMOID:
        return vf_sigmoid(a);
    case WEFTI_OP_RELU:
        return vf_relu(a);
    case WEFTI_OP_LEAKY_RELU:
        return vf_select(vf_lt(a, vf_zero()), vf_mul(c.alpha, a), a);
    case WEFTI_OP_GELU:
        return vf_gelu(a);
    case WEFTI_OP_GELU_TANH:
        return vf_gelu_tanh(a);
    case WEFTI_OP_CLIP:
        return vf_min(vf_max(a, c.alpha), c.beta);
    case WEFTI_OP_FLOOR:
        return vf_floor(a);
    case WEFTI_OP_CEIL:
        return vf_ceil(a);
    case WEFTI_OP_ROUND:
        return vf_round(a);
    case WEFTI_OP_SIN:
        return vf_sine(a, 0);
    case WEFTI_OP_COS:
        return vf_sine(a, 1);
    case WEFTI_OP_SOFTPLUS:
        return vf_softplus(a);
    case WEFTI_OP_ELU:
        return vf_elu(a, c.alpha);
    case WEFTI_OP_SIGN:
        return vf_sign(a);
    case WEFTI_OP_TAN:
        return vf_tan(a);
    case WEFTI_OP_ASIN:
        return vf_asin(a);
    case WEFTI_OP_ACOS:
        return vf_acos(a);
    case WEFTI_OP_ATAN:
        return vf_atan(a);
    case WEFTI_OP_SINH:
        return vf_sinh(a);
    case WEFTI_OP_COSH:
        return vf_cosh(a);
    case WEFTI_OP_ASINH:
        return vf_asinh(a);
    case WEFTI_OP_ACOSH:
        return vf_acosh(a);
    case WEFTI_OP_ATANH:
        return vf_atanh(a);
    default:
        return vf_fma(a, c.alpha, c.beta); /* SCALE */
    }
}

WEFTI_INLINE vf arithmetic_2(const wefti_operation operation, vf a, vf b,
                             bool fmod_like)
{
    switch (operation) {
    case WEFTI_OP_ADD:
        return vf_add(a, b);
    case WEFTI_OP_SUB:
        return vf_sub(a, b);
    case WEFTI_OP_MUL:
        return vf_mul(a, b);
    case WEFTI_OP_DIV:
        return vf_div(a, b);
    case WEFTI_OP_MOD:
        return fmod_like ? vf_fmod(a, b) : vf_mod(a, b);
    case WEFTI_OP_POW:
        return vf_pow(a, b);
    case WEFTI_OP_MIN:
        return vf_min(a, b);
    case WEFTI_OP_MAX:
        return vf_max(a, b);
    default:
        return vf_select(vf_lt(a, vf_zero()), vf_mul(a, b), a); /* PRELU */
    }
}

WEFTI_INLINE vm compare(const wefti_operation operation, vf a, vf b)
{
    switch (operation) {
    case WEFTI_OP_EQUAL:
        return vf_eq(a, b);
    case WEFTI_OP_LESS:
        return vf_lt(a, b);
    case WEFTI_OP_LESS_EQUAL:
        return vf_le(a, b);
    case WEFTI_OP_GREATER:
        return vf_gt(a, b);
    case WEFTI_OP_GREATER_EQUAL:
        return vf_ge(a, b);
    default:
        return vf_is_nan(a); /* IS_NAN */
    }
}

WEFTI_INLINE const void *input_row(const elementwise_args *args, int32_t operand,
                                   int64_t row)
{
    return (const char *)args->inputs[operand] + row * args->input_row_bytes[operand];
}

WEFTI_INLINE void *output_row(const elementwise_args *args, int64_t row)
{
    return (char *)args->output + row * args->output_row_bytes;
}

/* An operand of the current row: `value` when it is scalar. */
typedef struct operand {
    const float *p;
    vf value;
} operand;

WEFTI_INLINE operand operand_of(const elementwise_args *args, int32_t index,
                                int64_t row, const bool scalar)
{
    const float *p = input_row(args, index, row);
    return (operand){p, scalar && args->columns > 0 ? vf_set1(*p) : vf_zero()};
}

WEFTI_INLINE vf part_of(operand x, const bool scalar, int64_t i, const int32_t count)
{
    if (scalar) {
        return x.value;
    }
    return count == WEFTI_LANES ? vf_load(x.p + i) : vf_load_partial(x.p + i, count);
}

/* Walks a row in whole vectors and one partial one: `step` uses i and count. */
#define FOR_COLUMNS(columns, step)                                                     \
    do {                                                                               \
        int64_t i = 0;                                                                 \
        for (; i + WEFTI_LANES <= (columns); i += WEFTI_LANES) {                       \
            const int32_t count = WEFTI_LANES;                                         \
            step;                                                                      \
        }                                                                              \
        if (i < (columns)) {                                                           \
            const int32_t count = (int32_t)((columns)-i);                              \
            step;                                                                      \
        }                                                                              \
    } while (0)

WEFTI_INLINE void put(float *y, int64_t i, const int32_t count, vf v)
{
    if (count == WEFTI_LANES) {
        vf_store(y + i, v);
    } else {
        vf_store_partial(y + i, v, count);
    }
}

WEFTI_INLINE void put_bytes(uint8_t *y, int64_t i, const int32_t count, vm m)
{
    if (count == WEFTI_LANES) {
        vm_store_bytes(y + i, m);
    } else {
        vm_store_bytes_partial(y + i, m, count);
    }
}

WEFTI_INLINE void loop_1(const wefti_operation operation, const elementwise_args *args)
{
    const constants c = {vf_set1(args->alpha), vf_set1(args->beta)};
    for (int64_t row = 0; row < args->rows; row++) {
        operand x = operand_of(args, 0, row, false);
        float *y = output_row(args, row);
        FOR_COLUMNS(args->columns, {
            vf a = part_of(x, false, i, count);
            put(y, i, count, vf_canonical(arithmetic_1(operation, a, c)));
        });
    }
}

WEFTI_INLINE void loop_2(const wefti_operation operation, const bool scalar_a,
                         const bool scalar_b, const elementwise_args *args)
{
    const bool fmod_like = args->alpha == 1.0f;
    for (int64_t row = 0; row < args->rows; row++) {
        operand x = operand_of(args, 0, row, scalar_a);
        operand z = operand_of(args, 1, row, scalar_b);
        float *y = output_row(args, row);
        FOR_COLUMNS(args->columns, {
            vf a = part_of(x, scalar_a, i, count);
            vf b = part_of(z, scalar_b, i, count);
            put(y, i, count, vf_canonical(arithmetic_2(operation, a, b, fmod_like)));
        });
    }
}

WEFTI_INLINE void loop_compare(const wefti_operation operation, const bool scalar_a,
                               const bool scalar_b, const elementwise_args *args)
{
    const int32_t second = operation == WEFTI_OP_IS_NAN ? 0 : 1;
    for (int64_t row = 0; row < args->rows; row++) {
        operand x = operand_of(args, 0, row, scalar_a);
        operand z = operand_of(args, second, row, scalar_b);
        uint8_t *y = output_row(args, row);
        FOR_COLUMNS(args->columns, {
            vf a = part_of(x, scalar_a, i, count);
            vf b = part_of(z, scalar_b, i, count);
            put_bytes(y, i, count, compare(operation, a, b));
        });
    }
}

static void fma_3(const elementwise_args *args, bool scalar_a, bool scalar_b,
                  bool scalar_c)
{
    for (int64_t row = 0; row < args->rows; row++) {
        operand x = operand_of(args, 0, row, scalar_a);
        operand z = operand_of(args, 1, row, scalar_b);
        operand w = operand_of(args, 2, row, scalar_c);
        float *y = output_row(args, row);
        FOR_COLUMNS(args->columns, {
            vf a = part_of(x, scalar_a, i, count);
            vf b = part_of(z, scalar_b, i, count);
            vf c = part_of(w, scalar_c, i, count);
            put(y, i, count, vf_canonical(vf_fma(a, b, c)));
        });
    }
}

static void where(const elementwise_args *args, bool scalar_a, bool scalar_b,
                  bool scalar_c)
{
    for (int64_t row = 0; row < args->rows; row++) {
        const uint8_t *condition = input_row(args, 0, row);
        vm all = vm_first(scalar_a && args->columns > 0 && *condition != 0 ? WEFTI_LANES
                                                                           : 0);
        operand x = operand_of(args, 1, row, scalar_b);
        operand z = operand_of(args, 2, row, scalar_c);
        float *y = output_row(args, row);
        FOR_COLUMNS(args->columns, {
            vm m = scalar_a               ? all
                   : count == WEFTI_LANES ? vm_load_bytes(condition + i)
                                          : vm_load_bytes_partial(condition + i, count);
            vf a = part_of(x, scalar_b, i, count);
            vf b = part_of(z, scalar_c, i, count);
            put(y, i, count, vf_select(m, a, b));
        });
    }
}

#define DEFINE_1(name)                                                                 \
    static void f32_##name(const elementwise_args *args)                               \
    {                                                                                  \
        loop_1(WEFTI_OP_##name, args);                                                 \
    }
#define DEFINE_PATTERNS(name, loop)                                                    \
    static void f32_##name(const elementwise_args *args)                               \
    {                                                                                  \
        loop(WEFTI_OP_##name, false, false, args);                                     \
    }                                                                                  \
    static void f32_##name##_sv(const elementwise_args *args)                          \
    {                                                                                  \
        loop(WEFTI_OP_##name, true, false, args);                                      \
    }                                                                                  \
    static void f32_##name##_vs(const elementwise_args *args)                          \
    {                                                                                  \
        loop(WEFTI_OP_##name, false, true, args);                                      \
    }
#define DEFINE_3(function, suffix, bits)                                               \
    static void function##_##suffix(const elementwise_args *args)                      \
    {                                                                                  \
        function(args, ((bits)&1) != 0, ((bits)&2) != 0, ((bits)&4) != 0);             \
    }

#define FOR_EACH_1(F)                                                                  \
    F(NEG)                                                                             \
    F(ABS)                                                                             \
    F(RECIPROCAL)                                                                      \
    F(SQRT)                                                                            \
    F(EXP)                                                                             \
    F(LOG)                                                                             \
    F(ERF)                                                                             \
    F(TANH)                                                                            \
    F(SIGMOID)                                                                         \
    F(RELU)                                                                            \
    F(LEAKY_RELU)                                                                      \
    F(GELU)                                                                            \
    F(GELU_TANH)                                                                       \
    F(CLIP)                                                                            \
    F(FLOOR)                                                                           \
    F(CEIL)                                                                            \
    F(ROUND)                                                                           \
    F(SIN)                                                                             \
    F(COS)                                                                             \
    F(SOFTPLUS)                                                                        \
    F(ELU)                                                                             \
    F(SIGN)                                                                            \
    F(SCALE)                                                                           \
    F(TAN)                                                                             \
    F(ASIN)                                                                            \
    F(ACOS)                                                                            \
    F(ATAN)                                                                            \
    F(SINH)                                                                            \
    F(COSH)                                                                            \
    F(ASINH)                                                                           \
    F(ACOSH)                                                                           \
    F(ATANH)
#define FOR_EACH_2(F) F(ADD) F(SUB) F(MUL) F(DIV) F(MOD) F(POW) F(MIN) F(MAX) F(PRELU)
#define FOR_EACH_COMPARISON(F)                                                         \
    F(EQUAL) F(LESS) F(LESS_EQUAL) F(GREATER) F(GREATER_EQUAL)
#define FOR_EACH_3(F, function)                                                        \
    F(function, 0, 0)                                                                  \
    F(function, 1, 1)                                                                  \
    F(function, 2, 2)                                                                  \
    F(function, 3, 3)                                                                  \
    F(function, 4, 4)                                                                  \
    F(function, 5, 5)                                                                  \
    F(function, 6, 6)

#define DEFINE_2(name) DEFINE_PATTERNS(name, loop_2)
#define DEFINE_COMPARISON(name) DEFINE_PATTERNS(name, loop_compare)
FOR_EACH_1(DEFINE_1)
FOR_EACH_2(DEFINE_2)
FOR_EACH_COMPARISON(DEFINE_COMPARISON)
FOR_EACH_3(DEFINE_3, fma_3)
FOR_EACH_3(DEFINE_3, where)

static void f32_IS_NAN(const elementwise_args *args)
{
    loop_compare(WEFTI_OP_IS_NAN, false, false, args);
}

static void f32_COPY(const elementwise_args *args)
{
    for (int64_t row = 0; row < args->rows; row++) {
        memmove(output_row(args, row), input_row(args, 0, row),
                (size_t)args->columns * sizeof(float));
    }
}

/* By operation and which operands are scalar. */
#define ENTRY_1(name) [WEFTI_OP_##name] = {f32_##name},
#define ENTRY_2(name)                                                                  \
    [WEFTI_OP_##name] = {f32_##name, f32_##name##_sv, f32_##name##_vs},
static const elementwise_function functions[WEFTI_OP_COUNT][7] = {
    FOR_EACH_1(ENTRY_1) FOR_EACH_2(ENTRY_2) FOR_EACH_COMPARISON(ENTRY_2) ENTRY_1(IS_NAN)
        ENTRY_1(COPY)[WEFTI_OP_WHERE] = {where_0, where_1, where_2, where_3, where_4,
                                         where_5, where_6},
    [WEFTI_OP_FMA] = {fma_3_0, fma_3_1, fma_3_2, fma_3_3, fma_3_4, fma_3_5, fma_3_6},
};

elementwise_function WEFTI_ISA_NAME(wefti_elementwise_f32)(wefti_operation operation,
                                                           uint32_t scalars)
{
    if ((uint32_t)operation >= WEFTI_OP_COUNT || scalars >= 7) {
        return NULL;
    }
    return functions[operation][scalars];
}
