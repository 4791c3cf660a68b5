/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_MATH_H
#define WEFTI_BACKEND_CPU_KERNELS_MATH_H

#include <math.h>

#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/math_table.h"
#include "backend/cpu/scalar_math.h"

/* The f32 functions, one lane each: the same bits on every instruction set and as
 * their scalar twins in reference/math.h, but for the payload of a NaN (vf_canonical).
 * A NaN gives NaN. Largest error in units in the last place, for every float including
 * subnormal results (reference/math_test.c asserts it):
 *
 *   vf_exp 1   vf_log 1   vf_erf 1   vf_elu 1   vf_sin, vf_cos 1.5   vf_softplus 2
 *   vf_sigmoid 2.5   vf_tanh 3   vf_gelu_tanh 3   vf_gelu 4.5   vf_pow 0.51 */

/* low > x ? low : x and high < x ? high : x; a NaN x stays. */
WEFTI_INLINE vf vf_at_least(vf low, vf x)
{
#if defined(WEFTI_ISA_avx512)
    return _mm512_max_ps(low, x);
#elif defined(WEFTI_ISA_avx2)
    return _mm256_max_ps(low, x);
#elif defined(WEFTI_ISA_sse2)
    return _mm_max_ps(low, x);
#else
    return vf_select(vf_gt(low, x), low, x);
#endif
}

WEFTI_INLINE vf vf_at_most(vf high, vf x)
{
#if defined(WEFTI_ISA_avx512)
    return _mm512_min_ps(high, x);
#elif defined(WEFTI_ISA_avx2)
    return _mm256_min_ps(high, x);
#elif defined(WEFTI_ISA_sse2)
    return _mm_min_ps(high, x);
#else
    return vf_select(vf_lt(high, x), high, x);
#endif
}

/* The polynomial with `count` coefficients, lowest degree first. */
WEFTI_INLINE vf vf_horner(vf x, const float *coefficients, int32_t count)
{
    vf r = vf_set1(coefficients[count - 1]);
    for (int32_t i = count - 2; i >= 0; i--) {
        r = vf_fma(r, x, vf_set1(coefficients[i]));
    }
    return r;
}

/* x = n ln 2 + r: n as a float, and in the last bits of `shifted`. */
typedef struct vf_exponent {
    vf n, shifted;
} vf_exponent;

WEFTI_INLINE vf vf_exp_reduce(vf x, vf_exponent *exponent)
{
    const vf magic = vf_set1(WEFTI_ROUND_MAGIC);
    exponent->shifted = vf_fma(x, vf_set1(WEFTI_LOG2_E), magic);
    exponent->n = vf_sub(exponent->shifted, magic);
    vf r = vf_fma(exponent->n, vf_set1(-WEFTI_LN2_HIGH), x);
    return vf_fma(exponent->n, vf_set1(-WEFTI_LN2_LOW), r);
}

WEFTI_INLINE vf vf_exp_poly(vf r)
{
    vf q = vf_horner(r, wefti_exp_poly, 5);
    return vf_fma(vf_fma(q, r, vf_set1(1.0f)), r, vf_set1(1.0f));
}

WEFTI_INLINE vf vf_power_of_two(vi n)
{
    return vf_from_bits(vi_shl(vi_add(n, vi_set1(127)), 23));
}

WEFTI_INLINE vi vf_exponent_integer(vf_exponent exponent)
{
    return vi_sub(vf_bits(exponent.shifted), vf_bits(vf_set1(WEFTI_ROUND_MAGIC)));
}

/* p 2^n rounded once, for p near 1 and |n| < 250: without an instruction for it in two
 * factors, of which the first is exact. */
WEFTI_INLINE vf vf_scale(vf p, vf_exponent exponent)
{
#if defined(WEFTI_ISA_avx512)
    return _mm512_scalef_ps(p, exponent.n);
#else
    vi n = vf_exponent_integer(exponent);
    vi half = vi_sar(n, 1);
    return vf_mul(vf_mul(p, vf_power_of_two(half)), vf_power_of_two(vi_sub(n, half)));
#endif
}

/* exp(x) for x <= 0. */
WEFTI_INLINE vf vf_exp_negative(vf x)
{
    vf_exponent exponent;
    vf r = vf_exp_reduce(vf_at_least(vf_set1(WEFTI_EXP_LOW), x), &exponent);
    return vf_scale(vf_exp_poly(r), exponent);
}

WEFTI_INLINE vf vf_exp(vf x)
{
    return vf_exp_negative(vf_at_most(vf_set1(WEFTI_EXP_HIGH), x));
}

/* exp(x) - 1 for x <= 0. */
WEFTI_INLINE vf vf_expm1_negative(vf x)
{
    vf_exponent exponent;
    vf r = vf_exp_reduce(vf_at_least(vf_set1(WEFTI_EXPM1_LOW), x), &exponent);
    vf q = vf_fma(vf_horner(r, wefti_exp_poly, 5), vf_mul(r, r), r);
    vf power = vf_power_of_two(vf_exponent_integer(exponent));
    return vf_fma(power, q, vf_sub(power, vf_set1(1.0f)));
}

/* log(1 + f), |f| <= 1/3. */
WEFTI_INLINE vf vf_log1p_core(vf f)
{
    vf t = vf_fma(vf_horner(f, wefti_log_poly, 8), f, vf_set1(-0.5f));
    return vf_fma(vf_mul(f, f), t, f);
}

WEFTI_INLINE vf vf_log(vf x)
{
    vm tiny = vf_lt(x, vf_set1(0x1p-126f));
    vf scaled = vf_select(tiny, vf_mul(x, vf_set1(0x1p23f)), x);
    vi base = vi_set1(WEFTI_LOG_BASE_BITS);
    vi shifted = vi_sub(vf_bits(scaled), base);
    vi exponent = vi_sub(vi_sar(shifted, 23), vi_select(tiny, vi_set1(23), vi_set1(0)));
    vi mantissa = vi_add(vi_and(shifted, vi_set1(0x7fffff)), base);
    vf f = vf_sub(vf_from_bits(mantissa), vf_set1(1.0f));
    vf r = vf_fma(vf_from_vi(exponent), vf_set1(WEFTI_LN2), vf_log1p_core(f));
    r = vf_select(vf_lt(x, vf_set1(INFINITY)), r, x);
    r = vf_select(vf_lt(x, vf_zero()), vf_set1(NAN), r);
    return vf_select(vf_eq(x, vf_zero()), vf_set1(-INFINITY), r);
}

/* log(1 + e), 0 <= e <= 1. */
WEFTI_INLINE vf vf_log1p_unit(vf e)
{
    vm large = vf_gt(e, vf_set1(0x1.555556p-2f));
    vf half = vf_fma(e, vf_set1(0.5f), vf_set1(-0.5f));
    vf one = vf_select(large, vf_set1(1.0f), vf_zero());
    return vf_fma(one, vf_set1(WEFTI_LN2), vf_log1p_core(vf_select(large, half, e)));
}

/* log(1 + exp(x)) */
WEFTI_INLINE vf vf_softplus(vf x)
{
    vf rest = vf_log1p_unit(vf_exp_negative(vf_neg(vf_abs(x))));
    return vf_add(vf_relu(x), rest);
}

/* x < 0 ? alpha * (exp(x) - 1) : x */
WEFTI_INLINE vf vf_elu(vf x, vf alpha)
{
    vf negative = vf_mul(alpha, vf_expm1_negative(x));
    return vf_select(vf_lt(x, vf_zero()), negative, x);
}

WEFTI_INLINE vf vf_erf(vf x)
{
    vf t = vf_at_most(vf_set1(WEFTI_ERF_LIMIT), vf_abs(x));
    vf small = vf_fma(vf_horner(vf_mul(x, x), wefti_erf_small, 7), x, x);
    vf power = vf_mul(vf_horner(t, wefti_erf_large, 6), t);
    vf large = vf_sub(vf_set1(1.0f), vf_exp_negative(power));
    return vf_select(vf_lt(t, vf_set1(1.0f)), small, vf_copysign(large, x));
}

WEFTI_INLINE vf vf_tanh(vf x)
{
    vf t = vf_expm1_negative(vf_mul(vf_abs(x), vf_set1(-2.0f)));
    return vf_copysign(vf_div(t, vf_add(vf_set1(2.0f), t)), x);
}

WEFTI_INLINE vf vf_sigmoid(vf x)
{
    const vf one = vf_set1(1.0f);
    vf e = vf_exp_negative(vf_neg(vf_abs(x)));
    return vf_div(vf_select(vf_lt(x, vf_zero()), e, one), vf_add(one, e));
}

/* x (1 + erf(x / sqrt 2)) / 2 as x minus x times the normal distribution's tail. */
WEFTI_INLINE vf vf_gelu(vf x)
{
    vf t = vf_at_most(vf_set1(WEFTI_GELU_LIMIT), vf_abs(x));
    vf s = vf_mul(t, t);
    vf rest = vf_fms(t, t, s);
    vf_exponent exponent;
    vf r = vf_exp_reduce(vf_mul(s, vf_set1(-0.5f)), &exponent);
    r = vf_fma(rest, vf_set1(-0.5f), r);
    vf u = vf_div(vf_set1(1.0f), vf_add(t, vf_set1(WEFTI_TAIL_START)));
    vf w = vf_fma(u, vf_set1(-WEFTI_TAIL_SCALE), vf_set1(WEFTI_TAIL_SHIFT));
    vf g = vf_mul(vf_horner(w, wefti_tail_poly, 12), u);
    /* t times the tail beyond t; folding t in first keeps it from underflowing. */
    vf tail = vf_scale(vf_mul(vf_mul(vf_exp_poly(r), t), g), exponent);
    vf y = vf_select(vf_lt(x, vf_zero()), vf_neg(tail), vf_sub(x, tail));
    return vf_select(vf_eq(x, vf_set1(-INFINITY)), vf_set1(NAN), y);
}

WEFTI_INLINE vf vf_gelu_tanh(vf x)
{
    const vf a = vf_set1(WEFTI_GELU_TANH_A), b = vf_set1(WEFTI_GELU_TANH_B);
    vf t = vf_at_most(vf_set1(WEFTI_GELU_TANH_LIMIT), vf_abs(x));
    /* v + v_rest = t (A + B t^2), each product and sum with its rounding error. */
    vf s = vf_mul(t, t);
    vf s_rest = vf_fms(t, t, s);
    vf p = vf_mul(b, s);
    vf p_rest = vf_fms(b, s, p);
    p_rest = vf_fma(b, s_rest, p_rest);
    p_rest = vf_fma(vf_set1(WEFTI_GELU_TANH_B_LOW), s, p_rest);
    vf w = vf_add(a, p);
    vf back = vf_sub(w, a);
    vf w_rest = vf_add(vf_sub(a, vf_sub(w, back)), vf_sub(p, back));
    w_rest = vf_add(w_rest, vf_add(p_rest, vf_set1(WEFTI_GELU_TANH_A_LOW)));
    vf v = vf_mul(t, w);
    vf v_rest = vf_fma(t, w_rest, vf_fms(t, w, v));
    vf_exponent exponent;
    vf r = vf_sub(vf_exp_reduce(vf_neg(v), &exponent), v_rest);
    vf e = vf_exp_poly(r);
    vf bottom = vf_add(vf_set1(1.0f), vf_scale(e, exponent));
    vf negative = vf_scale(vf_div(vf_mul(vf_neg(t), e), bottom), exponent);
    vf y = vf_select(vf_lt(x, vf_zero()), negative, vf_div(x, bottom));
    return vf_select(vf_eq(x, vf_set1(-INFINITY)), vf_set1(NAN), y);
}

/* sign(x) with zero for both zeros. */
WEFTI_INLINE vf vf_sign(vf x)
{
    const vf one = vf_set1(1.0f);
    vf r = vf_select(vf_eq(x, vf_zero()), vf_zero(), x);
    r = vf_select(vf_lt(x, vf_zero()), vf_neg(one), r);
    return vf_select(vf_gt(x, vf_zero()), one, r);
}

/* Arguments beyond the fast reduction, one by one; infinities give NaN. */
static WEFTI_NOINLINE void vf_reduce_large(vf x, vf *r, vi *quadrant)
{
    float xs[WEFTI_LANES], rs[WEFTI_LANES];
    int32_t quadrants[WEFTI_LANES];
    vf_store(xs, x);
    vf_store(rs, *r);
    vi_store(quadrants, *quadrant);
    for (int32_t i = 0; i < WEFTI_LANES; i++) {
        if (fabsf(xs[i]) > WEFTI_TRIGONOMETRIC_LIMIT) {
            uint32_t q = 0;
            rs[i] =
                fabsf(xs[i]) < INFINITY ? wefti_trigonometric_reduce(xs[i], &q) : NAN;
            quadrants[i] = (int32_t)q;
        }
    }
    *r = vf_load(rs);
    *quadrant = vi_load(quadrants);
}

/* sin for phase 0, cos for phase 1. */
WEFTI_INLINE vf vf_sine(vf x, int32_t phase)
{
    const vf magic = vf_set1(WEFTI_ROUND_MAGIC);
    vf shifted = vf_fma(x, vf_set1(WEFTI_TWO_OVER_PI), magic);
    vf n = vf_sub(shifted, magic);
    vi quadrant = vf_bits(shifted);
    vf r = vf_fma(n, vf_set1(-WEFTI_HALF_PI_1), x);
    r = vf_fma(n, vf_set1(-WEFTI_HALF_PI_2), r);
    r = vf_fma(n, vf_set1(-WEFTI_HALF_PI_3), r);
    if (WEFTI_UNLIKELY(vm_any(vf_gt(vf_abs(x), vf_set1(WEFTI_TRIGONOMETRIC_LIMIT))))) {
        vf_reduce_large(x, &r, &quadrant);
    }
    quadrant = vi_add(quadrant, vi_set1(phase));
    vf z = vf_mul(r, r);
    vf sine = vf_fma(vf_mul(vf_horner(z, wefti_sin_poly, 4), z), r, r);
    /* The sum would lose the sign of -0. */
    sine = vf_copysign(sine, r);
    vf cosine = vf_fma(vf_horner(z, wefti_cos_poly, 3), z, vf_set1(-0.5f));
    cosine = vf_fma(cosine, z, vf_set1(1.0f));
    vm odd = vi_eq(vi_and(quadrant, vi_set1(1)), vi_set1(1));
    vf y = vf_select(odd, cosine, sine);
    vi flip = vi_shl(vi_and(quadrant, vi_set1(2)), 30);
    return vf_from_bits(vi_xor(vf_bits(y), flip));
}

/* Functions that scalar code evaluates lane by lane. */
#define VF_LANE_BY_LANE(name, function)                                                \
    static WEFTI_NOINLINE WEFTI_UNUSED vf name(vf x, vf y)                             \
    {                                                                                  \
        float xs[WEFTI_LANES], ys[WEFTI_LANES];                                        \
        vf_store(xs, x);                                                               \
        vf_store(ys, y);                                                               \
        for (int32_t i = 0; i < WEFTI_LANES; i++) {                                    \
            xs[i] = function(xs[i], ys[i]);                                            \
        }                                                                              \
        return vf_load(xs);                                                            \
    }

VF_LANE_BY_LANE(vf_pow_lanes, wefti_pow)
VF_LANE_BY_LANE(vf_mod, wefti_mod)
VF_LANE_BY_LANE(vf_fmod, fmodf)

/* The same for functions of one operand, which take some 10 ns a lane. */
#define VF_LANE_BY_LANE_1(name)                                                        \
    static WEFTI_NOINLINE WEFTI_UNUSED vf vf_##name(vf x)                              \
    {                                                                                  \
        float xs[WEFTI_LANES];                                                         \
        vf_store(xs, x);                                                               \
        for (int32_t i = 0; i < WEFTI_LANES; i++) {                                    \
            xs[i] = wefti_##name(xs[i]);                                               \
        }                                                                              \
        return vf_load(xs);                                                            \
    }

VF_LANE_BY_LANE_1(tan)
VF_LANE_BY_LANE_1(asin)
VF_LANE_BY_LANE_1(acos)
VF_LANE_BY_LANE_1(atan)
VF_LANE_BY_LANE_1(sinh)
VF_LANE_BY_LANE_1(cosh)
VF_LANE_BY_LANE_1(asinh)
VF_LANE_BY_LANE_1(acosh)
VF_LANE_BY_LANE_1(atanh)

/* The square, the common power, is x * x in wefti_pow too. */
WEFTI_INLINE vf vf_pow(vf x, vf y)
{
    if (!vm_any(vm_not(vf_eq(y, vf_set1(2.0f))))) {
        return vf_mul(x, x);
    }
    return vf_pow_lanes(x, y);
}

#endif
