/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/scalar_math.h"

#include <math.h>
#include <string.h>

/* Functions of doubles, in plain multiplications and additions: the same bits wherever
 * doubles are IEEE. Constants of erf come from an interpolation at Chebyshev's points,
 * the others are those of the series. */

/* ln 2 in two parts; the first has 32 bits, so its product with an exponent is exact.
 */
#define LN2_HIGH 0x1.62e42fee00000p-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define LOG2_E 0x1.71547652b82fep+0
/* Added to a double below 2^51 it leaves the nearest integer in the last bits. */
#define ROUND_MAGIC 0x1.8p52

static WEFTI_SHARED_CODE double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static WEFTI_SHARED_CODE uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static WEFTI_SHARED_CODE double horner(double x, const double *coefficients,
                                       int32_t count)
{
    double r = coefficients[count - 1];
    for (int32_t i = count - 2; i >= 0; i--) {
        r = r * x + coefficients[i];
    }
    return r;
}

/* exp(r) - 1 for |r| <= 0.36. */
static WEFTI_SHARED_CODE double small_expm1(double r)
{
    /* 1 / 2!, 1 / 3!, ... */
    static const double series[13] = {
        0x1.0000000000000p-1,  0x1.5555555555555p-3,  0x1.5555555555555p-5,
        0x1.1111111111111p-7,  0x1.6c16c16c16c17p-10, 0x1.a01a01a01a01ap-13,
        0x1.a01a01a01a01ap-16, 0x1.71de3a556c734p-19, 0x1.27e4fb7789f5cp-22,
        0x1.ae64567f544e4p-26, 0x1.1eed8eff8d898p-29, 0x1.6124613a86d09p-33,
        0x1.93974a8c07c9dp-37};
    return r + r * r * horner(r, series, 13);
}

static WEFTI_SHARED_CODE double power_of_two(int64_t n)
{
    return from_bits((uint64_t)(n + 1023) << 52);
}

WEFTI_SHARED_CODE double wefti_exp_f64(double x)
{
    if (x != x) {
        return x;
    }
    if (x > 710.0) {
        return INFINITY;
    }
    if (x < -746.0) {
        return 0.0;
    }
    double nearest = (x * LOG2_E + ROUND_MAGIC) - ROUND_MAGIC;
    double r = (x - nearest * LN2_HIGH) - nearest * LN2_LOW;
    double result = 1.0 + small_expm1(r);
    int64_t n = (int64_t)nearest;
    /* In two steps, as 2^n alone may be too large or too small. */
    return result * power_of_two(n / 2) * power_of_two(n - n / 2);
}

WEFTI_SHARED_CODE double wefti_log_f64(double x)
{
    /* 2 / 3, 2 / 5, ... */
    static const double series[12] = {
        0x1.5555555555555p-1, 0x1.999999999999ap-2, 0x1.2492492492492p-2,
        0x1.c71c71c71c71cp-3, 0x1.745d1745d1746p-3, 0x1.3b13b13b13b14p-3,
        0x1.1111111111111p-3, 0x1.e1e1e1e1e1e1ep-4, 0x1.af286bca1af28p-4,
        0x1.8618618618618p-4, 0x1.642c8590b2164p-4, 0x1.47ae147ae147bp-4};
    if (!(x > 0.0)) {
        return x == 0.0 ? -INFINITY : NAN;
    }
    if (x == INFINITY) {
        return x;
    }
    int64_t exponent = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        exponent = -54;
    }
    /* x = 2^exponent m with m in [0.70, 1.41). */
    uint64_t shifted = bits_of(x) - UINT64_C(0x3fe6666666666666);
    exponent += (int64_t)shifted >> 52;
    double m =
        from_bits((shifted & UINT64_C(0xfffffffffffff)) + UINT64_C(0x3fe6666666666666));
    /* log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + z P(z)), s = f / (2 + f), z = s^2. */
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double half = 0.5 * f * f;
    double tail = s * (half + z * horner(z, series, 12));
    double e = (double)exponent;
    return e * LN2_HIGH + (f - (half - (tail + e * LN2_LOW)));
}

WEFTI_SHARED_CODE double wefti_tanh_f64(double x)
{
    double size = fabs(x);
    double result = 1.0;
    if (size < 0.18) {
        double e = small_expm1(2.0 * size);
        result = e / (e + 2.0);
    } else if (size < 22.0) {
        double e = wefti_exp_f64(2.0 * size);
        result = (e - 1.0) / (e + 1.0);
    }
    return x != x ? x : copysign(result, x);
}

WEFTI_SHARED_CODE double wefti_sigmoid_f64(double x)
{
    double e = wefti_exp_f64(x < 0.0 ? x : -x);
    return x < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
}

WEFTI_SHARED_CODE double wefti_erf_f64(double x)
{
    static const double small[12] = {
        0x1.06eba8214db68p-3,   -0x1.812746b0379c1p-2,  0x1.ce2f21a040f66p-4,
        -0x1.b82ce31203772p-6,  0x1.565bccfa44156p-8,   -0x1.c02db0665e53dp-11,
        0x1.f9a2be4f731a1p-14,  -0x1.f4ca838adb73bp-17, 0x1.b981d78881a5dp-20,
        -0x1.5c131500d3f88p-23, 0x1.d76af6ca49787p-27,  -0x1.ac9585a44fe29p-31};
    static const double large[16] = {
        0x1.0f9246d95b0c5p+0,   0x1.5d8047f251d72p-2,   0x1.4b5c929f31d40p-4,
        0x1.a28d0fa097d09p-7,   0x1.c997bfcc75111p-11,  -0x1.da4d1cb8d6a7cp-14,
        -0x1.ba519c2f85057p-16, 0x1.2dc91063e7475p-20,  0x1.6bf8277c7f416p-21,
        -0x1.daa276225c93ap-26, -0x1.462dfbd48293ep-26, 0x1.a64e99d3c635cp-30,
        0x1.231cf9931e462p-31,  -0x1.83e953d33120bp-34, -0x1.89ccaca4eb5c8p-37,
        0x1.086e1d270dfe0p-38};
    double size = fabs(x);
    if (size < 1.0) {
        return x + x * horner(x * x, small, 12);
    }
    double result = 1.0;
    if (size < 6.0) {
        /* erfc(x) = exp(-x^2) P(w) t with t = 1 / (x + 2.5), of which w is linear. */
        double t = 1.0 / (size + 2.5);
        double w = t * 0x1.7cccccccccccdp+3 - 0x1.3333333333333p+1;
        result = 1.0 - wefti_exp_f64(-size * size) * horner(w, large, 16) * t;
    }
    return x != x ? x : copysign(result, x);
}
