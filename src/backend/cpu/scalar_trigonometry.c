/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/scalar_math.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Trigonometric and hyperbolic functions of floats, computed in doubles by plain
 * operations and rounded once. The polynomials are the functions' series. */

#define PI 0x1.921fb54442d18p1
/* pi / 2 in two parts; the first has 33 bits, so a product with n < 2^20 is exact. */
#define HALF_PI_HIGH 0x1.921fb54400000p0
#define HALF_PI_LOW 0x1.0b4611a626331p-34
#define ROUND_MAGIC 0x1.8p52

static WEFTI_SHARED_CODE double power_series(double z, const double *coefficients,
                                             int32_t count)
{
    double r = coefficients[count - 1];
    for (int32_t i = count - 2; i >= 0; i--) {
        r = r * z + coefficients[i];
    }
    return r;
}

/* |x| <= pi / 4. */
static WEFTI_SHARED_CODE double small_sine(double x)
{
    /* -1 / 3!, 1 / 5!, ... */
    static const double terms[8] = {
        -1.0 / 6.0,          1.0 / 120.0,          -1.0 / 5040.0,
        1.0 / 362880.0,      -1.0 / 39916800.0,    1.0 / 6227020800.0,
        -1.0 / 1307674368e3, 1.0 / 355687428096e3,
    };
    double z = x * x;
    return x + x * z * power_series(z, terms, 8);
}

static WEFTI_SHARED_CODE double small_cosine(double x)
{
    /* 1 / 4!, -1 / 6!, ... */
    static const double terms[8] = {
        1.0 / 24.0,          -1.0 / 720.0,           1.0 / 40320.0,
        -1.0 / 3628800.0,    1.0 / 479001600.0,      -1.0 / 87178291200.0,
        1.0 / 20922789888e3, -1.0 / 6402373705728e3,
    };
    double z = x * x;
    return 1.0 - (0.5 * z - z * z * power_series(z, terms, 8));
}

WEFTI_SHARED_CODE float wefti_tan(float x)
{
    double r = x;
    bool odd = false;
    if (!(fabsf(x) <= 100000.0f)) {
        if (!(fabsf(x) < INFINITY)) {
            return NAN;
        }
        uint32_t quadrant;
        r = wefti_trigonometric_reduce(x, &quadrant);
        odd = (quadrant & 1) != 0;
    } else {
        double n = (r * (2.0 / PI) + ROUND_MAGIC) - ROUND_MAGIC;
        r = (r - n * HALF_PI_HIGH) - n * HALF_PI_LOW;
        odd = ((int64_t)n & 1) != 0;
    }
    double sine = small_sine(r), cosine = small_cosine(r);
    if (x == 0.0f) {
        return x;
    }
    return (float)(odd ? -cosine / sine : sine / cosine);
}

static WEFTI_SHARED_CODE double arc_tangent(double x)
{
    /* -1 / 3, 1 / 5, ... */
    static const double terms[18] = {
        -1.0 / 3.0,  1.0 / 5.0,  -1.0 / 7.0,  1.0 / 9.0,  -1.0 / 11.0, 1.0 / 13.0,
        -1.0 / 15.0, 1.0 / 17.0, -1.0 / 19.0, 1.0 / 21.0, -1.0 / 23.0, 1.0 / 25.0,
        -1.0 / 27.0, 1.0 / 29.0, -1.0 / 31.0, 1.0 / 33.0, -1.0 / 35.0, 1.0 / 37.0,
    };
    double size = fabs(x), base = 0.0;
    bool steep = size > 1.0;
    size = steep ? 1.0 / size : size;
    if (size > 0.41421356237309503) {
        size = (size - 1.0) / (size + 1.0);
        base = PI / 4.0;
    }
    double z = size * size;
    double angle = base + (size + size * z * power_series(z, terms, 18));
    angle = steep ? PI / 2.0 - angle : angle;
    return copysign(angle, x);
}

WEFTI_SHARED_CODE float wefti_atan(float x)
{
    return x != x ? x : (float)arc_tangent(x);
}

/* sqrt(1 - x^2); NaN beyond 1. */
static WEFTI_SHARED_CODE double other_leg(double x)
{
    return sqrt((1.0 - x) * (1.0 + x));
}

WEFTI_SHARED_CODE float wefti_asin(float x)
{
    double leg = other_leg(x);
    return leg != leg ? NAN : (float)arc_tangent((double)x / leg);
}

WEFTI_SHARED_CODE float wefti_acos(float x)
{
    double leg = other_leg(x);
    if (leg != leg) {
        return NAN;
    }
    double angle = arc_tangent(leg / fabs((double)x));
    return (float)(x < 0.0f ? PI - angle : angle);
}

WEFTI_SHARED_CODE float wefti_sinh(float x)
{
    /* 1 / 3!, 1 / 5!, ... */
    static const double terms[8] = {
        1.0 / 6.0,        1.0 / 120.0,        1.0 / 5040.0,       1.0 / 362880.0,
        1.0 / 39916800.0, 1.0 / 6227020800.0, 1.0 / 1307674368e3, 1.0 / 355687428096e3,
    };
    double a = x, z = a * a;
    if (z < 1.0) {
        return (float)(a + a * z * power_series(z, terms, 8));
    }
    return (float)(0.5 * (wefti_exp_f64(a) - wefti_exp_f64(-a)));
}

WEFTI_SHARED_CODE float wefti_cosh(float x)
{
    double a = x;
    return (float)(0.5 * (wefti_exp_f64(a) + wefti_exp_f64(-a)));
}

WEFTI_SHARED_CODE float wefti_asinh(float x)
{
    double a = fabs((double)x), z = a * a;
    double result = a - a * z / 6.0;
    if (!(a < 0.001)) {
        result = wefti_log_f64(a + sqrt(z + 1.0));
    }
    return (float)copysign(result, x);
}

WEFTI_SHARED_CODE float wefti_acosh(float x)
{
    double a = x;
    if (!(a >= 1.0)) {
        return NAN;
    }
    return (float)wefti_log_f64(a + sqrt((a - 1.0) * (a + 1.0)));
}

WEFTI_SHARED_CODE float wefti_atanh(float x)
{
    double a = fabs((double)x), z = a * a;
    double result = a + a * z / 3.0;
    if (!(a < 0.001)) {
        result = 0.5 * wefti_log_f64((1.0 + a) / (1.0 - a));
    }
    return (float)copysign(result, x);
}

WEFTI_SHARED_CODE void wefti_turn(int64_t numerator, int64_t denominator, double *sine,
                                  double *cosine)
{
    /* 8 numerator / denominator counts half quadrants; the rest is exact. */
    int64_t octant = 8 * numerator / denominator;
    int64_t rest = 8 * numerator - octant * denominator;
    /* Odd octants are measured back from their end. */
    rest = (octant & 1) != 0 ? denominator - rest : rest;
    double angle = PI / 4.0 * ((double)rest / (double)denominator);
    double s = small_sine(angle), c = small_cosine(angle);
    bool swapped = ((octant + 1) & 2) != 0;
    double x = swapped ? s : c, y = swapped ? c : s;
    *cosine = octant >= 2 && octant < 6 ? -x : x;
    *sine = octant >= 4 ? -y : y;
}

/* --- of doubles ------------------------------------------------------------------- */

enum { TERM_WORDS = 6 };

/* 2 / pi after the binary point, behind two words of zeros. */
static WEFTI_SHARED_CODE const uint32_t long_two_over_pi[40] = {
    0,          0,          0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599,
    0x3c439041, 0xfe5163ab, 0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c,
    0xfe1deb1c, 0xb129a73e, 0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639,
    0x835339f4, 0x9c845f8b, 0xbdf9283b, 0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f,
    0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d, 0x7527bac7, 0xebe5f17b, 0x3d0739f7,
    0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b6bab,
};

/* m times the bits of 2 / pi from `offset` on, the least word first; what goes beyond
 * is dropped. */
static WEFTI_SHARED_CODE void multiply_bits(uint64_t m, uint32_t offset,
                                            uint32_t words[TERM_WORDS])
{
    uint64_t carry = 0, high = 0;
    uint32_t first = offset / 32, shift = offset % 32;
    for (int32_t i = 0; i < TERM_WORDS; i++) {
        uint32_t at = first + (uint32_t)(TERM_WORDS - 1 - i);
        uint64_t pair = (uint64_t)long_two_over_pi[at] << 32 | long_two_over_pi[at + 1];
        uint64_t word = (pair << shift) >> 32;
        uint64_t low = word * (m & 0xffffffff);
        /* Below 2^33 + 2^32 + 2^54: the upper half of m has 21 bits. */
        carry += (low & 0xffffffff) + high;
        words[i] = (uint32_t)carry;
        carry = (carry >> 32) + (low >> 32);
        high = word * (m >> 32);
    }
}

/* The words as a number below 1, of which the first bit counts a half, times 2 pi. */
static WEFTI_SHARED_CODE double angle_of(const uint32_t words[TERM_WORDS])
{
    const double rest_of_pi = 0x1.1a62633145c07p-53;
    int32_t top = TERM_WORDS - 1;
    double unit = 0x1p-64;
    while (top > 2 && words[top] == 0) {
        top--;
        unit *= 0x1p-32;
    }
    uint64_t pair = (uint64_t)words[top] << 32 | words[top - 1];
    double high = (double)(pair >> 11) * 0x1p11;
    double low = (double)(pair & 0x7ff) + (double)words[top - 2] * 0x1p-32;
    double product = high * PI;
    double rest = fma(high, PI, -product) + (high * rest_of_pi + low * PI);
    return 2.0 * unit * (product + rest);
}

/* Reduces a finite x of any size: x = quadrant * pi / 2 + r with |r| <= pi / 4 and a
 * little, to within one unit in the last place; returns r. */
static WEFTI_SHARED_CODE double reduce_f64(double x, uint32_t *quadrant)
{
    /* x = m 2^k with a 53-bit m. Of 2 / pi the bits before 2^(1 - k) only add multiples
     * of 4 to x * 2 / pi; of the 192 bits from there on the product keeps those that
     * count 2, 1, 1/2 ... No double comes closer than 2^-62 to a multiple of pi / 2. */
    uint64_t bits;
    uint32_t words[TERM_WORDS];
    memcpy(&bits, &x, sizeof(bits));
    int32_t k = (int32_t)((bits >> 52) & 0x7ff) - 1075;
    uint64_t m = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(0x10000000000000);
    bool negative = bits >> 63 != 0;
    *quadrant = 0;
    if (fabs(x) < 0.75) {
        return x;
    }
    multiply_bits(m, (uint32_t)(k + 62), words);
    uint32_t top = words[TERM_WORDS - 1];
    uint32_t nearest = (top + 0x20000000u) >> 30;
    bool beyond = (top >> 29 & 1) != 0; /* the nearest multiple is the next one */
    words[TERM_WORDS - 1] = top << 2 >> 2;
    if (beyond) { /* 1 - what there is, but for its last bit */
        for (int32_t i = 0; i < TERM_WORDS; i++) {
            words[i] = ~words[i];
        }
        words[TERM_WORDS - 1] &= 0x3fffffffu;
    }
    double r = angle_of(words);
    *quadrant = (negative ? 0u - nearest : nearest) & 3u;
    return negative != beyond ? -r : r;
}

static WEFTI_SHARED_CODE double sine_at(double x, uint32_t quadrants_on)
{
    if (!(fabs(x) < INFINITY)) {
        return NAN;
    }
    uint32_t quadrant;
    double r = reduce_f64(x, &quadrant);
    quadrant += quadrants_on;
    double result = (quadrant & 1) != 0 ? small_cosine(r) : small_sine(r);
    return (quadrant & 2) != 0 ? -result : result;
}

WEFTI_SHARED_CODE double wefti_sin_f64(double x)
{
    return x == 0.0 ? x : sine_at(x, 0);
}

WEFTI_SHARED_CODE double wefti_cos_f64(double x)
{
    return sine_at(x, 1);
}
