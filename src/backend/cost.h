/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COST_H
#define WEFTI_BACKEND_COST_H

#include <stddef.h>

#include "backend/kernel.h"

/* What a kernel call does, for people: read off its parameters alone. */

/* Floating-point operations; a multiply-add counts as two, a function such as exp as
 * one. Moving data counts as none. */
double wefti_kernel_flops(wefti_kernel kernel, const void *params);

/* Writes the sizes in a few words ("4x256 * 256x128") and returns `text`. */
const char *wefti_kernel_shape(wefti_kernel kernel, const void *params, char *text,
                               size_t text_bytes);

#endif
