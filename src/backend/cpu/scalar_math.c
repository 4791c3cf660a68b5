/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/scalar_math.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static WEFTI_SHARED_CODE uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static WEFTI_SHARED_CODE double double_from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* 2 / pi after the binary point, behind one word of zeros. */
static WEFTI_SHARED_CODE const uint32_t two_over_pi[9] = {
    0,          0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
    0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561,
};

/* 32 bits of two_over_pi beginning at bit `offset`. */
static WEFTI_SHARED_CODE uint32_t two_over_pi_bits(uint32_t offset)
{
    uint64_t pair = (uint64_t)two_over_pi[offset / 32] << 32;
    if (offset / 32 + 1 < 9) {
        pair |= two_over_pi[offset / 32 + 1];
    }
    return (uint32_t)((pair << (offset % 32)) >> 32);
}

WEFTI_SHARED_CODE float wefti_trigonometric_reduce(float x, uint32_t *quadrant)
{
    /* x = m 2^k with a 24-bit m. Of 2 / pi the bits before 2^(2 - k) only add
     * multiples of 4 to x * 2 / pi, those beyond 96 bits are too small to matter. */
    uint32_t bits = float_bits(x);
    int32_t k = (int32_t)((bits >> 23) & 0xff) - 150;
    uint64_t m = (bits & 0x7fffff) | 0x800000;
    if (k < -24) {
        *quadrant = 0;
        return x; /* below 1/2 */
    }
    uint32_t offset = (uint32_t)(k + 30);
    uint64_t top = two_over_pi_bits(offset);
    uint64_t middle = two_over_pi_bits(offset + 32);
    uint64_t low = two_over_pi_bits(offset + 64);
    uint64_t product = ((m * top) << 32) + m * middle + ((m * low) >> 32);
    uint32_t nearest = (uint32_t)((product + (UINT64_C(1) << 61)) >> 62);
    int64_t rest = (int64_t)(product - ((uint64_t)nearest << 62));
    float r = (float)((double)rest * (0x1.921fb54442d18p0 * 0x1p-62));
    bool negative = bits >> 31 != 0;
    *quadrant = (negative ? 0u - nearest : nearest) & 3u;
    return negative ? -r : r;
}

/* log2 of a positive finite x, relative error 2^-49. */
static WEFTI_SHARED_CODE double log2_positive(float x)
{
    uint32_t bits = float_bits(x);
    int32_t exponent = 0;
    if (bits < 0x00800000) {
        bits = float_bits(x * 0x1p23f);
        exponent = -23;
    }
    int32_t shifted = (int32_t)bits - 0x3f2aaaab;
    exponent += shifted >> 23;
    uint32_t mantissa_bits = (uint32_t)(shifted & 0x7fffff) + 0x3f2aaaab;
    float mantissa;
    memcpy(&mantissa, &mantissa_bits, sizeof(mantissa));
    double m = mantissa;
    double s = (m - 1.0) / (m + 1.0);
    double z = s * s;
    double p = 0x1.010f1c8877a19p-2;
    p = p * z + 0x1.0aecc7e11863fp-2;
    p = p * z + 0x1.4856efdb8b7d3p-2;
    p = p * z + 0x1.a61737dec207dp-2;
    p = p * z + 0x1.2776c5339fb1ap-1;
    p = p * z + 0x1.ec709dc388bfbp-1;
    p = p * z + 0x1.71547652b8308p1;
    return (double)exponent + s * p;
}

/* 2^t, relative error 2^-45. */
static WEFTI_SHARED_CODE float exp2_wide(double t)
{
    if (t < -160.0) {
        return 0.0f;
    }
    if (t > 130.0) {
        return INFINITY;
    }
    double n = (t + 0x1.8p52) - 0x1.8p52;
    double f = t - n;
    double p = 0x1.b6571de2f2351p-24;
    p = p * f + 0x1.63ef969a64d3cp-20;
    p = p * f + 0x1.ffcb76789860fp-17;
    p = p * f + 0x1.43088e257f341p-13;
    p = p * f + 0x1.5d87fe908f88ap-10;
    p = p * f + 0x1.3b2ab72b175eep-7;
    p = p * f + 0x1.c6b08d7044119p-5;
    p = p * f + 0x1.ebfbdff8149f2p-3;
    p = p * f + 0x1.62e42fefa39f7p-1;
    p = p * f + 1.0;
    return (float)(p * double_from_bits((uint64_t)((int64_t)n + 1023) << 52));
}

/* 0: not an integer, 1: odd, 2: even. */
static WEFTI_SHARED_CODE int32_t integer_kind(float y)
{
    float magnitude = fabsf(y);
    if (magnitude >= 0x1p24f) {
        return 2;
    }
    int32_t whole = (int32_t)magnitude;
    if ((float)whole != magnitude) {
        return 0;
    }
    return (whole & 1) != 0 ? 1 : 2;
}

WEFTI_SHARED_CODE float wefti_pow(float x, float y)
{
    if (y == 2.0f) {
        return x * x;
    }
    if (x == 1.0f || y == 0.0f) {
        return 1.0f;
    }
    if (x != x || y != y) {
        return NAN;
    }
    float magnitude = fabsf(x);
    int32_t kind = integer_kind(y);
    bool negative = float_bits(x) >> 31 != 0;
    float result;
    if (isinf(y)) {
        bool grows = (magnitude > 1.0f) == (y > 0.0f);
        result = magnitude == 1.0f ? 1.0f : (grows ? INFINITY : 0.0f);
    } else if (magnitude == 0.0f || isinf(magnitude)) {
        result = (magnitude == 0.0f) == (y > 0.0f) ? 0.0f : INFINITY;
    } else if (negative && kind == 0) {
        return NAN;
    } else {
        result = exp2_wide((double)y * log2_positive(magnitude));
    }
    return negative && kind == 1 ? -result : result;
}

WEFTI_SHARED_CODE float wefti_mod(float x, float y)
{
    float r = fmodf(x, y);
    if (r == 0.0f) {
        return copysignf(r, y);
    }
    return (r < 0.0f) != (y < 0.0f) ? r + y : r;
}

WEFTI_SHARED_CODE double wefti_mod_f64(double x, double y)
{
    double r = fmod(x, y);
    if (r == 0.0) {
        return copysign(r, y);
    }
    return (r < 0.0) != (y < 0.0) ? r + y : r;
}
