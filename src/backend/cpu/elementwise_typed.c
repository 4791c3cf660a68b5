/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backend/cpu/elementwise.h"
#include "backend/cpu/scalar_math.h"
#include "base/compiler.h"

/* Simple loops; each operation and type becomes one function in which both are
 * constants. Integers of every type are computed as int64 and cut, which is to wrap. */

WEFTI_INLINE int64_t product(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

static int64_t power(int64_t a, int64_t b)
{
    if (b < 0) {
        return a == 1 ? 1 : (a == -1 ? ((b & 1) != 0 ? -1 : 1) : 0);
    }
    int64_t result = 1;
    for (; b != 0; b >>= 1) {
        if ((b & 1) != 0) {
            result = product(result, a);
        }
        a = product(a, a);
    }
    return result;
}

/* By zero gives 0. */
WEFTI_INLINE int64_t quotient(int64_t a, int64_t b)
{
    if (b == 0) {
        return 0;
    }
    return b == -1 ? product(a, -1) : a / b;
}

WEFTI_INLINE int64_t modulo(int64_t a, int64_t b, bool truncates)
{
    if (b == 0 || b == -1) {
        return 0;
    }
    int64_t r = a % b;
    return !truncates && r != 0 && (r ^ b) < 0 ? r + b : r;
}

WEFTI_INLINE int64_t integer_value(const wefti_operation operation, int64_t a,
                                   int64_t b, const elementwise_args *args,
                                   const int64_t bits)
{
    switch (operation) {
    case WEFTI_OP_NEG:
        return product(a, -1);
    case WEFTI_OP_ABS:
        return a < 0 ? product(a, -1) : a;
    case WEFTI_OP_RELU:
        return a < 0 ? 0 : a;
    case WEFTI_OP_SIGN:
        return (a > 0) - (a < 0);
    case WEFTI_OP_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case WEFTI_OP_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case WEFTI_OP_MUL:
        return product(a, b);
    case WEFTI_OP_DIV:
        return quotient(a, b);
    case WEFTI_OP_MOD:
        return modulo(a, b, args->alpha == 1.0f);
    case WEFTI_OP_POW:
        return power(a, b);
    case WEFTI_OP_MIN:
        return a < b ? a : b;
    case WEFTI_OP_MAX:
        return a > b ? a : b;
    case WEFTI_OP_BIT_NOT:
        return ~a;
    case WEFTI_OP_BIT_AND:
        return a & b;
    case WEFTI_OP_BIT_OR:
        return a | b;
    case WEFTI_OP_BIT_XOR:
        return a ^ b;
    case WEFTI_OP_SHIFT_LEFT:
        return b >= 0 && b < bits ? (int64_t)((uint64_t)a << b) : 0;
    case WEFTI_OP_SHIFT_RIGHT:
        return b >= 0 && b < bits ? a >> b : (a < 0 ? -1 : 0);
    default:
        return a; /* COPY */
    }
}

WEFTI_INLINE double canonical(double x)
{
    const uint64_t bits = UINT64_C(0x7ff8000000000000);
    double nan;
    memcpy(&nan, &bits, sizeof(nan));
    return x != x ? nan : x;
}

WEFTI_INLINE double larger(double a, double b)
{
    return a > b || a != a ? a : b;
}

WEFTI_INLINE double smaller(double a, double b)
{
    return a < b || a != a ? a : b;
}

WEFTI_INLINE double f64_value(const wefti_operation operation, double a, double b,
                              const elementwise_args *args)
{
    double alpha = (double)args->alpha, beta = (double)args->beta;
    switch (operation) {
    case WEFTI_OP_NEG:
        return -a;
    case WEFTI_OP_ABS:
        return fabs(a);
    case WEFTI_OP_RECIPROCAL:
        return 1.0 / a;
    case WEFTI_OP_SQRT:
        return sqrt(a);
    case WEFTI_OP_EXP:
        return wefti_exp_f64(a);
    case WEFTI_OP_LOG:
        return wefti_log_f64(a);
    case WEFTI_OP_ERF:
        return wefti_erf_f64(a);
    case WEFTI_OP_TANH:
        return wefti_tanh_f64(a);
    case WEFTI_OP_SIGMOID:
        return wefti_sigmoid_f64(a);
    case WEFTI_OP_SIN:
        return wefti_sin_f64(a);
    case WEFTI_OP_COS:
        return wefti_cos_f64(a);
    case WEFTI_OP_RELU:
        return 0.0 > a ? 0.0 : a;
    case WEFTI_OP_LEAKY_RELU:
        return a < 0.0 ? alpha * a : a;
    case WEFTI_OP_CLIP:
        return smaller(larger(a, alpha), beta);
    case WEFTI_OP_FLOOR:
        return floor(a);
    case WEFTI_OP_CEIL:
        return ceil(a);
    case WEFTI_OP_ROUND:
        return nearbyint(a);
    case WEFTI_OP_SIGN:
        return a > 0.0 ? 1.0 : (a < 0.0 ? -1.0 : (a == 0.0 ? 0.0 : a));
    case WEFTI_OP_SCALE:
        return fma(a, alpha, beta);
    case WEFTI_OP_ADD:
        return a + b;
    case WEFTI_OP_SUB:
        return a - b;
    case WEFTI_OP_MUL:
        return a * b;
    case WEFTI_OP_DIV:
        return a / b;
    case WEFTI_OP_MOD:
        return args->alpha == 1.0f ? fmod(a, b) : wefti_mod_f64(a, b);
    case WEFTI_OP_MIN:
        return smaller(a, b);
    case WEFTI_OP_MAX:
        return larger(a, b);
    default:
        return a < 0.0 ? a * b : a; /* PRELU */
    }
}

#define COMPARED(operation, a, b)                                                      \
    ((operation) == WEFTI_OP_EQUAL        ? (a) == (b)                                 \
     : (operation) == WEFTI_OP_LESS       ? (a) < (b)                                  \
     : (operation) == WEFTI_OP_LESS_EQUAL ? (a) <= (b)                                 \
     : (operation) == WEFTI_OP_GREATER    ? (a) > (b)                                  \
                                          : (a) >= (b))

WEFTI_INLINE bool bool_value(const wefti_operation operation, bool a, bool b)
{
    switch (operation) {
    case WEFTI_OP_NOT:
        return !a;
    case WEFTI_OP_AND:
        return a && b;
    case WEFTI_OP_OR:
        return a || b;
    case WEFTI_OP_XOR:
        return a != b;
    case WEFTI_OP_EQUAL:
        return a == b;
    default:
        return a; /* COPY */
    }
}

/* y[i] = expression of a = first[i], b = second[i] over a block. A missing second
 * operand reads the first. */
#define FOR_BLOCK(args, T, R, expression)                                              \
    do {                                                                               \
        const bool has_second = (args)->inputs[1] != NULL;                             \
        const int64_t step_a = ((args)->scalars & 1u) != 0 ? 0 : 1;                    \
        const int64_t step_b = ((args)->scalars & 2u) != 0 ? 0 : 1;                    \
        for (int64_t row = 0; row < (args)->rows; row++) {                             \
            const T *first = row_of(args, 0, row);                                     \
            const T *second = has_second ? row_of(args, 1, row) : first;               \
            R *y = (R *)(void *)((char *)(args)->output +                              \
                                 row * (args)->output_row_bytes);                      \
            if (step_a == 1 && step_b == 1) {                                          \
                for (int64_t i = 0; i < (args)->columns; i++) {                        \
                    const T a = first[i], b = second[i];                               \
                    (void)b;                                                           \
                    y[i] = (R)(expression);                                            \
                }                                                                      \
            } else {                                                                   \
                for (int64_t i = 0; i < (args)->columns; i++) {                        \
                    const T a = first[i * step_a], b = second[i * step_b];             \
                    (void)b;                                                           \
                    y[i] = (R)(expression);                                            \
                }                                                                      \
            }                                                                          \
        }                                                                              \
    } while (0)

WEFTI_INLINE const void *row_of(const elementwise_args *args, int32_t operand,
                                int64_t row)
{
    return (const char *)args->inputs[operand] + row * args->input_row_bytes[operand];
}

#define INTEGER(type, T, name)                                                         \
    static void type##_##name(const elementwise_args *args)                            \
    {                                                                                  \
        FOR_BLOCK(args, T, T,                                                          \
                  integer_value(WEFTI_OP_##name, (int64_t)a, (int64_t)b, args,         \
                                8 * (int64_t)sizeof(T)));                              \
    }
#define COMPARISON(type, T, name)                                                      \
    static void type##_##name(const elementwise_args *args)                            \
    {                                                                                  \
        FOR_BLOCK(args, T, uint8_t, COMPARED(WEFTI_OP_##name, a, b));                  \
    }
#define DOUBLE(type, T, name)                                                          \
    static void type##_##name(const elementwise_args *args)                            \
    {                                                                                  \
        FOR_BLOCK(args, T, T, canonical(f64_value(WEFTI_OP_##name, a, b, args)));      \
    }
#define LOGIC(type, T, name)                                                           \
    static void type##_##name(const elementwise_args *args)                            \
    {                                                                                  \
        FOR_BLOCK(args, T, uint8_t, bool_value(WEFTI_OP_##name, a != 0, b != 0));      \
    }

#define EACH_INTEGER(F, type, T)                                                       \
    F(type, T, COPY)                                                                   \
    F(type, T, NEG)                                                                    \
    F(type, T, ABS)                                                                    \
    F(type, T, RELU)                                                                   \
    F(type, T, SIGN)                                                                   \
    F(type, T, ADD)                                                                    \
    F(type, T, SUB)                                                                    \
    F(type, T, MUL)                                                                    \
    F(type, T, DIV)                                                                    \
    F(type, T, MOD)                                                                    \
    F(type, T, POW)                                                                    \
    F(type, T, MIN)                                                                    \
    F(type, T, MAX)                                                                    \
    F(type, T, BIT_NOT)                                                                \
    F(type, T, BIT_AND)                                                                \
    F(type, T, BIT_OR)                                                                 \
    F(type, T, BIT_XOR)                                                                \
    F(type, T, SHIFT_LEFT)                                                             \
    F(type, T, SHIFT_RIGHT)
#define EACH_COMPARISON(F, type, T)                                                    \
    F(type, T, EQUAL)                                                                  \
    F(type, T, LESS)                                                                   \
    F(type, T, LESS_EQUAL)                                                             \
    F(type, T, GREATER)                                                                \
    F(type, T, GREATER_EQUAL)
#define EACH_DOUBLE(F, type, T)                                                        \
    F(type, T, NEG)                                                                    \
    F(type, T, ABS)                                                                    \
    F(type, T, RECIPROCAL)                                                             \
    F(type, T, SQRT)                                                                   \
    F(type, T, EXP)                                                                    \
    F(type, T, LOG)                                                                    \
    F(type, T, ERF)                                                                    \
    F(type, T, TANH)                                                                   \
    F(type, T, SIGMOID)                                                                \
    F(type, T, SIN)                                                                    \
    F(type, T, COS)                                                                    \
    F(type, T, RELU)                                                                   \
    F(type, T, LEAKY_RELU)                                                             \
    F(type, T, CLIP)                                                                   \
    F(type, T, FLOOR)                                                                  \
    F(type, T, CEIL)                                                                   \
    F(type, T, ROUND)                                                                  \
    F(type, T, SIGN)                                                                   \
    F(type, T, SCALE)                                                                  \
    F(type, T, ADD)                                                                    \
    F(type, T, SUB)                                                                    \
    F(type, T, MUL)                                                                    \
    F(type, T, DIV)                                                                    \
    F(type, T, MOD)                                                                    \
    F(type, T, MIN)                                                                    \
    F(type, T, MAX)                                                                    \
    F(type, T, PRELU)
#define EACH_LOGIC(F, type, T)                                                         \
    F(type, T, COPY)                                                                   \
    F(type, T, NOT)                                                                    \
    F(type, T, AND)                                                                    \
    F(type, T, OR)                                                                     \
    F(type, T, XOR)                                                                    \
    F(type, T, EQUAL)

EACH_INTEGER(INTEGER, i64, int64_t)
EACH_COMPARISON(COMPARISON, i64, int64_t)
EACH_INTEGER(INTEGER, i32, int32_t)
EACH_COMPARISON(COMPARISON, i32, int32_t)
EACH_INTEGER(INTEGER, i8, int8_t)
EACH_COMPARISON(COMPARISON, i8, int8_t)
EACH_INTEGER(INTEGER, u8, uint8_t)
EACH_COMPARISON(COMPARISON, u8, uint8_t)
EACH_DOUBLE(DOUBLE, f64, double)
EACH_COMPARISON(COMPARISON, f64, double)
EACH_LOGIC(LOGIC, logic, uint8_t)

static void f64_IS_NAN(const elementwise_args *args)
{
    FOR_BLOCK(args, double, uint8_t, a != a);
}

static void f64_COPY(const elementwise_args *args)
{
    FOR_BLOCK(args, uint64_t, uint64_t, a);
}

static void f64_FMA(const elementwise_args *args)
{
    for (int64_t row = 0; row < args->rows; row++) {
        const double *a = row_of(args, 0, row), *b = row_of(args, 1, row),
                     *c = row_of(args, 2, row);
        double *y =
            (double *)(void *)((char *)args->output + row * args->output_row_bytes);
        for (int64_t i = 0; i < args->columns; i++) {
            y[i] = canonical(fma(a[(args->scalars & 1u) != 0 ? 0 : i],
                                 b[(args->scalars & 2u) != 0 ? 0 : i],
                                 c[(args->scalars & 4u) != 0 ? 0 : i]));
        }
    }
}

#define WHERE(name, T, expression)                                                     \
    static void name(const elementwise_args *args)                                     \
    {                                                                                  \
        for (int64_t row = 0; row < args->rows; row++) {                               \
            const uint8_t *condition = row_of(args, 0, row);                           \
            const T *b = row_of(args, 1, row), *c = row_of(args, 2, row);              \
            T *y = (T *)(void *)((char *)args->output + row * args->output_row_bytes); \
            const int64_t step_a = (args->scalars & 1u) != 0 ? 0 : 1;                  \
            const int64_t step_b = (args->scalars & 2u) != 0 ? 0 : 1;                  \
            const int64_t step_c = (args->scalars & 4u) != 0 ? 0 : 1;                  \
            for (int64_t i = 0; i < args->columns; i++) {                              \
                const T v =                                                            \
                    condition[i * step_a] != 0 ? b[i * step_b] : c[i * step_c];        \
                y[i] = (T)(expression);                                                \
            }                                                                          \
        }                                                                              \
    }
WHERE(where_8, uint8_t, v)
WHERE(where_32, uint32_t, v)
WHERE(where_64, uint64_t, v)
WHERE(where_bool, uint8_t, v != 0)

#define ENTRY(type, T, name) [WEFTI_OP_##name] = type##_##name,
static const elementwise_function i64_functions[WEFTI_OP_COUNT] = {
    EACH_INTEGER(ENTRY, i64, ) EACH_COMPARISON(ENTRY, i64, )[WEFTI_OP_WHERE] =
        where_64};
static const elementwise_function i32_functions[WEFTI_OP_COUNT] = {
    EACH_INTEGER(ENTRY, i32, ) EACH_COMPARISON(ENTRY, i32, )[WEFTI_OP_WHERE] =
        where_32};
static const elementwise_function i8_functions[WEFTI_OP_COUNT] = {
    EACH_INTEGER(ENTRY, i8, ) EACH_COMPARISON(ENTRY, i8, )[WEFTI_OP_WHERE] = where_8};
static const elementwise_function u8_functions[WEFTI_OP_COUNT] = {
    EACH_INTEGER(ENTRY, u8, ) EACH_COMPARISON(ENTRY, u8, )[WEFTI_OP_WHERE] = where_8};
static const elementwise_function f64_functions[WEFTI_OP_COUNT] = {
    EACH_DOUBLE(ENTRY, f64, ) EACH_COMPARISON(ENTRY, f64, )[WEFTI_OP_WHERE] = where_64,
    [WEFTI_OP_IS_NAN] = f64_IS_NAN, [WEFTI_OP_COPY] = f64_COPY,
    [WEFTI_OP_FMA] = f64_FMA};
static const elementwise_function logic_functions[WEFTI_OP_COUNT] = {
    EACH_LOGIC(ENTRY, logic, )[WEFTI_OP_WHERE] = where_bool};

elementwise_function wefti_elementwise_typed(wefti_operation operation, weft_type type)
{
    if ((uint32_t)operation >= WEFTI_OP_COUNT) {
        return NULL;
    }
    switch (type) {
    case WEFT_TYPE_I64:
        return i64_functions[operation];
    case WEFT_TYPE_I32:
        return i32_functions[operation];
    case WEFT_TYPE_I8:
        return i8_functions[operation];
    case WEFT_TYPE_U8:
        return u8_functions[operation];
    case WEFT_TYPE_F64:
        return f64_functions[operation];
    case WEFT_TYPE_BOOL:
        return logic_functions[operation];
    default:
        return NULL;
    }
}
