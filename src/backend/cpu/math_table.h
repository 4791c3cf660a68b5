/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_MATH_TABLE_H
#define WEFTI_BACKEND_CPU_MATH_TABLE_H

#include "base/compiler.h"

/* Constants of the f32 functions, shared by the vector versions (kernels/math.h) and
 * their scalar twins (reference/math.h). Polynomials come from tools/fit_functions.py,
 * lowest degree first. */

#define WEFTI_LOG2_E 0x1.715476p0f
/* ln 2 in two parts; the first has 15 bits, so a product with |n| < 256 is exact. */
#define WEFTI_LN2_HIGH 0x1.62e4p-1f
#define WEFTI_LN2_LOW 0x1.7f7d1cp-20f
#define WEFTI_LN2 0x1.62e43p-1f
/* Added to a float of magnitude below 2^22 it leaves the nearest integer in the last
 * bits. */
#define WEFTI_ROUND_MAGIC 0x1.8p23f

/* exp is 0 below the first and infinite above the second. */
#define WEFTI_EXP_LOW -104.0f
#define WEFTI_EXP_HIGH 89.0f
/* exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2) / 2. */
static WEFTI_SHARED_CODE const float wefti_exp_poly[5] = {
    0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558aap-5f, 0x1.12398ep-7f, 0x1.6a544p-10f,
};
/* exp(x) - 1 is -1 below. */
#define WEFTI_EXPM1_LOW -25.0f

/* log(1 + f) = f - f^2 / 2 + f^3 P(f) for |f| <= 1/3; mantissas are taken from
 * [2/3, 4/3), whose lower end has these bits. */
static WEFTI_SHARED_CODE const float wefti_log_poly[8] = {
    0x1.555506p-2f, -0x1.fffef4p-3f, 0x1.99d05cp-3f, -0x1.559d38p-3f,
    0x1.1ed46p-3f,  -0x1.f3201cp-4f, 0x1.1e724ap-3f, -0x1.07e70cp-3f,
};
#define WEFTI_LOG_BASE_BITS 0x3f2aaaab

/* erf(x) = x + x P(x^2) below 1, 1 - exp(x P(x)) above; 1 beyond the limit. */
static WEFTI_SHARED_CODE const float wefti_erf_small[7] = {
    0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2cf2p-4f,  -0x1.b7f88ep-6f,
    0x1.540178p-8f, -0x1.a3d85p-11f, 0x1.491a1cp-14f,
};
static WEFTI_SHARED_CODE const float wefti_erf_large[6] = {
    -0x1.20e412p0f, -0x1.458bbp-1f,  -0x1.ae8e6ap-4f,
    0x1.758806p-6f, -0x1.a1b8dep-9f, 0x1.b9c12p-13f,
};
#define WEFTI_ERF_LIMIT 3.93f

/* The normal distribution's tail below -t is exp(-t^2 / 2) P(w) / (t + 1.5), 0 <= t,
 * with w = TAIL_SHIFT - TAIL_SCALE / (t + 1.5); t times it is 0 beyond the limit. */
#define WEFTI_TAIL_START 1.5f
#define WEFTI_TAIL_SHIFT 1.21875f
#define WEFTI_TAIL_SCALE 3.28125f
static WEFTI_SHARED_CODE const float wefti_tail_poly[12] = {
    0x1.47193ap-1f,   -0x1.5395cep-3f,  -0x1.aab70ep-5f,  0x1.04b48p-7f,
    0x1.57c4eep-7f,   0x1.a3784ap-9f,   -0x1.96a498p-12f, -0x1.e3e13ap-11f,
    -0x1.0fc70cp-11f, -0x1.28e4e8p-14f, 0x1.d5fc0ep-14f,  0x1.c845fcp-15f,
};
#define WEFTI_GELU_LIMIT 14.7f

/* 2 sqrt(2 / pi) and that times 0.044715, in two parts each. */
#define WEFTI_GELU_TANH_A 0x1.988454p0f
#define WEFTI_GELU_TANH_A_LOW -0x1.857936p-25f
#define WEFTI_GELU_TANH_B 0x1.2444f2p-4f
#define WEFTI_GELU_TANH_B_LOW 0x1.49b16ap-29f
#define WEFTI_GELU_TANH_LIMIT 11.0f

/* sin(x) = x + x^3 P(x^2) and cos(x) = 1 - x^2 / 2 + x^4 P(x^2) for |x| <= pi / 4. */
static WEFTI_SHARED_CODE const float wefti_sin_poly[4] = {
    -0x1.555556p-3f,
    0x1.111166p-7f,
    -0x1.a04a36p-13f,
    0x1.7865cap-19f,
};
static WEFTI_SHARED_CODE const float wefti_cos_poly[3] = {
    0x1.55554ap-5f,
    -0x1.6c0c2cp-10f,
    0x1.99ea7ep-16f,
};
#define WEFTI_TWO_OVER_PI 0x1.45f306p-1f
/* pi / 2 in three positive parts (so that -0 stays -0). */
#define WEFTI_HALF_PI_1 0x1.921fb4p0f
#define WEFTI_HALF_PI_2 0x1.4442dp-24f
#define WEFTI_HALF_PI_3 0x1.846988p-48f
/* Larger arguments are reduced by wefti_trigonometric_reduce. */
#define WEFTI_TRIGONOMETRIC_LIMIT 100000.0f

#endif
