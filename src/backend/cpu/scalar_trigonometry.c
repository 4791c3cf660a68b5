/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/scalar_math.h"

#include <math.h>
#include <stdbool.h>

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
