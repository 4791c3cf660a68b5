/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_SCALAR_MATH_H
#define WEFTI_BACKEND_CPU_SCALAR_MATH_H

#include <stdint.h>

#include "backend/host_math.h"
#include "base/compiler.h"

/* Functions that need more than f32 arithmetic. They exist once, in baseline code
 * without fused operations, for every instruction set and the reference alike.
 * Threads: any. */

/* Reduces a finite x of any size: x = quadrant * pi / 2 + r with |r| <= pi / 4 (to
 * within one unit in the last place); returns r. The quadrant counts modulo 4. */
WEFTI_SHARED_CODE float wefti_trigonometric_reduce(float x, uint32_t *quadrant);

/* x to the power y as C's powf defines the special cases; y = 2 is x * x. Within 0.51
 * units in the last place. */
WEFTI_SHARED_CODE float wefti_pow(float x, float y);

/* The remainder of x / y with the sign of y; NaN when y is 0 or x infinite. Exact
 * but for one rounding where the signs differ. */
WEFTI_SHARED_CODE float wefti_mod(float x, float y);
WEFTI_SHARED_CODE double wefti_mod_f64(double x, double y);

/* Within 0.51 units in the last place, tangents of more than 100000 within 2; special
 * values as C's functions have them (scalar_trigonometry.c). */
WEFTI_SHARED_CODE float wefti_tan(float x);
WEFTI_SHARED_CODE float wefti_asin(float x);
WEFTI_SHARED_CODE float wefti_acos(float x);
WEFTI_SHARED_CODE float wefti_atan(float x);
WEFTI_SHARED_CODE float wefti_sinh(float x);
WEFTI_SHARED_CODE float wefti_cosh(float x);
WEFTI_SHARED_CODE float wefti_asinh(float x);
WEFTI_SHARED_CODE float wefti_acosh(float x);
WEFTI_SHARED_CODE float wefti_atanh(float x);

/* Within 3, 2 and 2 units in the last place; special values as C's functions have
 * them (scalar_math_f64.c). */
WEFTI_SHARED_CODE double wefti_tanh_f64(double x);
WEFTI_SHARED_CODE double wefti_sigmoid_f64(double x);
WEFTI_SHARED_CODE double wefti_erf_f64(double x);

/* Within 3 units in the last place, of any finite number; else NaN
 * (scalar_trigonometry.c). */
WEFTI_SHARED_CODE double wefti_sin_f64(double x);
WEFTI_SHARED_CODE double wefti_cos_f64(double x);

#endif
