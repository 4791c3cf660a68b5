/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_REFERENCE_OPERATION_H
#define WEFTI_BACKEND_CPU_REFERENCE_OPERATION_H

#include "backend/cpu/reference/math.h"
#include "backend/kernel.h"

/* What the f32 operations of elementwise programs compute, here and on cards. */

WEFTI_INLINE float ref_sign(float a)
{
    return a > 0.0f ? 1.0f : (a < 0.0f ? -1.0f : (a == 0.0f ? 0.0f : a));
}

WEFTI_INLINE float ref_unary(const wefti_instruction *i, float a)
{
    switch (i->operation) {
    case WEFTI_OP_NEG:
        return -a;
    case WEFTI_OP_ABS:
        return fabsf(a);
    case WEFTI_OP_RECIPROCAL:
        return 1.0f / a;
    case WEFTI_OP_SQRT:
        return sqrtf(a);
    case WEFTI_OP_EXP:
        return ref_exp(a);
    case WEFTI_OP_LOG:
        return ref_log(a);
    case WEFTI_OP_ERF:
        return ref_erf(a);
    case WEFTI_OP_TANH:
        return ref_tanh(a);
    case WEFTI_OP_SIGMOID:
        return ref_sigmoid(a);
    case WEFTI_OP_RELU:
        return 0.0f > a ? 0.0f : a;
    case WEFTI_OP_LEAKY_RELU:
        return a < 0.0f ? i->alpha * a : a;
    case WEFTI_OP_GELU:
        return ref_gelu(a);
    case WEFTI_OP_GELU_TANH:
        return ref_gelu_tanh(a);
    case WEFTI_OP_CLIP:
        return ref_min(ref_max(a, i->alpha), i->beta);
    case WEFTI_OP_FLOOR:
        return floorf(a);
    case WEFTI_OP_CEIL:
        return ceilf(a);
    case WEFTI_OP_ROUND:
        return nearbyintf(a);
    case WEFTI_OP_SIN:
        return ref_sine(a, 0);
    case WEFTI_OP_COS:
        return ref_sine(a, 1);
    case WEFTI_OP_SOFTPLUS:
        return ref_softplus(a);
    case WEFTI_OP_ELU:
        return a < 0.0f ? i->alpha * ref_expm1_negative(a) : a;
    case WEFTI_OP_SIGN:
        return ref_sign(a);
    case WEFTI_OP_SCALE:
        return fmaf(a, i->alpha, i->beta);
    case WEFTI_OP_TAN:
        return wefti_tan(a);
    case WEFTI_OP_ASIN:
        return wefti_asin(a);
    case WEFTI_OP_ACOS:
        return wefti_acos(a);
    case WEFTI_OP_ATAN:
        return wefti_atan(a);
    case WEFTI_OP_SINH:
        return wefti_sinh(a);
    case WEFTI_OP_COSH:
        return wefti_cosh(a);
    case WEFTI_OP_ASINH:
        return wefti_asinh(a);
    case WEFTI_OP_ACOSH:
        return wefti_acosh(a);
    case WEFTI_OP_ATANH:
        return wefti_atanh(a);
    default:
        return a;
    }
}

WEFTI_INLINE float ref_binary(const wefti_instruction *i, float a, float b)
{
    switch (i->operation) {
    case WEFTI_OP_ADD:
        return a + b;
    case WEFTI_OP_SUB:
        return a - b;
    case WEFTI_OP_MUL:
        return a * b;
    case WEFTI_OP_DIV:
        return a / b;
    case WEFTI_OP_MOD:
        return i->alpha == 1.0f ? fmodf(a, b) : wefti_mod(a, b);
    case WEFTI_OP_POW:
        return wefti_pow(a, b);
    case WEFTI_OP_MIN:
        return ref_min(a, b);
    case WEFTI_OP_MAX:
        return ref_max(a, b);
    default:
        return a < 0.0f ? a * b : a; /* PRELU */
    }
}

WEFTI_INLINE int64_t ref_wrapping_product(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

WEFTI_INLINE int64_t ref_integer_power(int64_t a, int64_t b)
{
    if (b < 0) {
        return a == 1 ? 1 : (a == -1 ? (b % 2 != 0 ? -1 : 1) : 0);
    }
    int64_t result = 1;
    for (; b != 0; b /= 2) {
        result = b % 2 != 0 ? ref_wrapping_product(result, a) : result;
        a = ref_wrapping_product(a, a);
    }
    return result;
}

/* By zero gives 0. */
WEFTI_INLINE int64_t ref_quotient(int64_t a, int64_t b)
{
    if (b == 0) {
        return 0;
    }
    return b == -1 ? ref_wrapping_product(a, -1) : a / b;
}

WEFTI_INLINE int64_t ref_remainder(int64_t a, int64_t b, bool truncates)
{
    if (b == 0 || b == -1) {
        return 0;
    }
    int64_t r = a % b;
    return !truncates && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

WEFTI_INLINE int64_t ref_shift(int64_t a, int64_t b, int64_t bits, bool left)
{
    if (b < 0 || b >= bits) {
        return !left && a < 0 ? -1 : 0;
    }
    return left ? (int64_t)((uint64_t)a << b) : a >> b;
}

/* All integers are computed as int64, and what comes out is cut to `bits`: it wraps. */
WEFTI_INLINE int64_t ref_integer(const wefti_instruction *i, int64_t a, int64_t b,
                                 int64_t bits)
{
    switch (i->operation) {
    case WEFTI_OP_NEG:
        return ref_wrapping_product(a, -1);
    case WEFTI_OP_ABS:
        return a < 0 ? ref_wrapping_product(a, -1) : a;
    case WEFTI_OP_RELU:
        return a < 0 ? 0 : a;
    case WEFTI_OP_SIGN:
        return (a > 0) - (a < 0);
    case WEFTI_OP_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case WEFTI_OP_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case WEFTI_OP_MUL:
        return ref_wrapping_product(a, b);
    case WEFTI_OP_DIV:
        return ref_quotient(a, b);
    case WEFTI_OP_MOD:
        return ref_remainder(a, b, i->alpha == 1.0f);
    case WEFTI_OP_POW:
        return ref_integer_power(a, b);
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
        return ref_shift(a, b, bits, true);
    case WEFTI_OP_SHIFT_RIGHT:
        return ref_shift(a, b, bits, false);
    default:
        return a; /* COPY */
    }
}

#endif
