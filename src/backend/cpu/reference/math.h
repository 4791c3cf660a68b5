/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_REFERENCE_MATH_H
#define WEFTI_BACKEND_CPU_REFERENCE_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "backend/cpu/math_table.h"
#include "backend/cpu/scalar_math.h"
#include "base/compiler.h"

/* Scalar twins of kernels/math.h: the same operations in the same order. What each
 * function promises is said there. */

WEFTI_INLINE int32_t ref_bits(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

WEFTI_INLINE float ref_from_bits(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* The one NaN that leaves a kernel. */
WEFTI_INLINE float ref_canonical(float x)
{
    return x != x ? ref_from_bits(0x7fc00000) : x;
}

WEFTI_INLINE float ref_max(float a, float b)
{
    return a > b || a != a ? a : b;
}

WEFTI_INLINE float ref_min(float a, float b)
{
    return a < b || a != a ? a : b;
}

WEFTI_INLINE float ref_horner(float x, const float *coefficients, int32_t count)
{
    float r = coefficients[count - 1];
    for (int32_t i = count - 2; i >= 0; i--) {
        r = fmaf(r, x, coefficients[i]);
    }
    return r;
}

/* x = n ln 2 + r; n comes as a float's last bits. */
WEFTI_INLINE float ref_exp_reduce(float x, int32_t *n)
{
    float shifted = fmaf(x, WEFTI_LOG2_E, WEFTI_ROUND_MAGIC);
    float nearest = shifted - WEFTI_ROUND_MAGIC;
    *n = (int32_t)((uint32_t)ref_bits(shifted) - (uint32_t)ref_bits(WEFTI_ROUND_MAGIC));
    return fmaf(nearest, -WEFTI_LN2_LOW, fmaf(nearest, -WEFTI_LN2_HIGH, x));
}

WEFTI_INLINE float ref_exp_poly(float r)
{
    float q = ref_horner(r, wefti_exp_poly, 5);
    return fmaf(fmaf(q, r, 1.0f), r, 1.0f);
}

WEFTI_INLINE float ref_power_of_two(int32_t n)
{
    return ref_from_bits((int32_t)((uint32_t)(n + 127) << 23));
}

/* p 2^n rounded once: the first product is exact. */
WEFTI_INLINE float ref_scale(float p, int32_t n)
{
    if (p != p) {
        return p;
    }
    int32_t half = n >> 1;
    return p * ref_power_of_two(half) * ref_power_of_two(n - half);
}

WEFTI_INLINE float ref_exp(float x)
{
    if (x != x) {
        return x;
    }
    x = x < WEFTI_EXP_LOW ? WEFTI_EXP_LOW : x;
    x = x > WEFTI_EXP_HIGH ? WEFTI_EXP_HIGH : x;
    int32_t n;
    float r = ref_exp_reduce(x, &n);
    return ref_scale(ref_exp_poly(r), n);
}

/* exp(x) - 1 for x <= 0. */
WEFTI_INLINE float ref_expm1_negative(float x)
{
    if (x != x) {
        return x;
    }
    x = x < WEFTI_EXPM1_LOW ? WEFTI_EXPM1_LOW : x;
    int32_t n;
    float r = ref_exp_reduce(x, &n);
    float q = fmaf(ref_horner(r, wefti_exp_poly, 5), r * r, r);
    float power = ref_power_of_two(n);
    return fmaf(power, q, power - 1.0f);
}

/* log(1 + f), |f| <= 1/3. */
WEFTI_INLINE float ref_log1p_core(float f)
{
    float t = fmaf(ref_horner(f, wefti_log_poly, 8), f, -0.5f);
    return fmaf(f * f, t, f);
}

WEFTI_INLINE float ref_log(float x)
{
    int32_t tiny = x < 0x1p-126f;
    float scaled = tiny ? x * 0x1p23f : x;
    int32_t shifted =
        (int32_t)((uint32_t)ref_bits(scaled) - (uint32_t)WEFTI_LOG_BASE_BITS);
    float exponent = (float)((shifted >> 23) - (tiny ? 23 : 0));
    float f = ref_from_bits((shifted & 0x7fffff) + WEFTI_LOG_BASE_BITS) - 1.0f;
    float r = fmaf(exponent, WEFTI_LN2, ref_log1p_core(f));
    r = x < INFINITY ? r : x;
    r = x < 0.0f ? NAN : r;
    return x == 0.0f ? -INFINITY : r;
}

/* log(1 + e), 0 <= e <= 1. */
WEFTI_INLINE float ref_log1p_unit(float e)
{
    int32_t large = e > 0x1.555556p-2f;
    float f = large ? fmaf(e, 0.5f, -0.5f) : e;
    return fmaf(large ? 1.0f : 0.0f, WEFTI_LN2, ref_log1p_core(f));
}

WEFTI_INLINE float ref_softplus(float x)
{
    float rest = ref_log1p_unit(ref_exp(-fabsf(x)));
    return (0.0f > x ? 0.0f : x) + rest;
}

WEFTI_INLINE float ref_erf(float x)
{
    float t = fabsf(x);
    t = t > WEFTI_ERF_LIMIT ? WEFTI_ERF_LIMIT : t;
    float small = fmaf(ref_horner(x * x, wefti_erf_small, 7), x, x);
    float large = 1.0f - ref_exp(ref_horner(t, wefti_erf_large, 6) * t);
    return t < 1.0f ? small : copysignf(large, x);
}

WEFTI_INLINE float ref_tanh(float x)
{
    float t = ref_expm1_negative(fabsf(x) * -2.0f);
    return copysignf(t / (2.0f + t), x);
}

WEFTI_INLINE float ref_sigmoid(float x)
{
    float e = ref_exp(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

WEFTI_INLINE float ref_gelu(float x)
{
    float t = fabsf(x);
    t = t > WEFTI_GELU_LIMIT ? WEFTI_GELU_LIMIT : t;
    float s = t * t;
    float rest = fmaf(t, t, -s);
    int32_t n;
    float r = fmaf(rest, -0.5f, ref_exp_reduce(s * -0.5f, &n));
    float u = 1.0f / (t + WEFTI_TAIL_START);
    float w = fmaf(u, -WEFTI_TAIL_SCALE, WEFTI_TAIL_SHIFT);
    float g = ref_horner(w, wefti_tail_poly, 12) * u;
    /* t times the tail beyond t; folding t in first keeps it from underflowing. */
    float tail = ref_scale(ref_exp_poly(r) * t * g, n);
    float y = x < 0.0f ? -tail : x - tail;
    return x == -INFINITY ? NAN : y;
}

WEFTI_INLINE float ref_gelu_tanh(float x)
{
    float t = fabsf(x);
    t = t > WEFTI_GELU_TANH_LIMIT ? WEFTI_GELU_TANH_LIMIT : t;
    /* v + v_rest = t (A + B t^2), each product and sum with its rounding error. */
    float s = t * t;
    float s_rest = fmaf(t, t, -s);
    float p = WEFTI_GELU_TANH_B * s;
    float p_rest = fmaf(WEFTI_GELU_TANH_B, s, -p);
    p_rest = fmaf(WEFTI_GELU_TANH_B, s_rest, p_rest);
    p_rest = fmaf(WEFTI_GELU_TANH_B_LOW, s, p_rest);
    float w = WEFTI_GELU_TANH_A + p;
    float back = w - WEFTI_GELU_TANH_A;
    float w_rest = (WEFTI_GELU_TANH_A - (w - back)) + (p - back);
    w_rest = w_rest + (p_rest + WEFTI_GELU_TANH_A_LOW);
    float v = t * w;
    float v_rest = fmaf(t, w_rest, fmaf(t, w, -v));
    int32_t n;
    float r = ref_exp_reduce(-v, &n) - v_rest;
    float e = ref_exp_poly(r);
    float bottom = 1.0f + ref_scale(e, n);
    float negative = ref_scale(-t * e / bottom, n);
    float y = x < 0.0f ? negative : x / bottom;
    return x == -INFINITY ? NAN : y;
}

/* sin for phase 0, cos for phase 1. */
WEFTI_INLINE float ref_sine(float x, uint32_t phase)
{
    uint32_t quadrant;
    float r;
    if (fabsf(x) <= WEFTI_TRIGONOMETRIC_LIMIT) {
        float shifted = fmaf(x, WEFTI_TWO_OVER_PI, WEFTI_ROUND_MAGIC);
        float n = shifted - WEFTI_ROUND_MAGIC;
        quadrant = (uint32_t)ref_bits(shifted);
        r = fmaf(n, -WEFTI_HALF_PI_1, x);
        r = fmaf(n, -WEFTI_HALF_PI_2, r);
        r = fmaf(n, -WEFTI_HALF_PI_3, r);
    } else if (fabsf(x) < INFINITY) {
        r = wefti_trigonometric_reduce(x, &quadrant);
    } else {
        return NAN;
    }
    quadrant += phase;
    float z = r * r;
    /* The sum would lose the sign of -0. */
    float sine = copysignf(fmaf(ref_horner(z, wefti_sin_poly, 4) * z, r, r), r);
    float cosine = fmaf(fmaf(ref_horner(z, wefti_cos_poly, 3), z, -0.5f), z, 1.0f);
    float y = (quadrant & 1u) != 0 ? cosine : sine;
    return (quadrant & 2u) != 0 ? -y : y;
}

#endif
