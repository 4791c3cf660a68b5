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

#endif
