/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_HOST_MATH_H
#define WEFTI_BACKEND_HOST_MATH_H

#include <stdint.h>

#include "base/compiler.h"

/* Functions for tables that are made while a plan is built: the same bits on every
 * machine (cpu/scalar_math_f64.c, cpu/scalar_trigonometry.c). Threads: any. */

/* Within one unit in the last place; special values as C's functions have them. */
WEFTI_SHARED_CODE double wefti_exp_f64(double x);
WEFTI_SHARED_CODE double wefti_log_f64(double x);

/* The sine and cosine of a turn's share: 2 pi numerator / denominator, to about one
 * unit in the last place; symmetric to the bit. 0 <= numerator < denominator < 2^60. */
WEFTI_SHARED_CODE void wefti_turn(int64_t numerator, int64_t denominator, double *sine,
                                  double *cosine);

#endif
