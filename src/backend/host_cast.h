/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_HOST_CAST_H
#define WEFTI_BACKEND_HOST_CAST_H

#include <stdint.h>

#include <weft/tensor.h>

/* Converts `count` dense elements; the same code for every instruction set. Integers
 * wrap; a float becomes an integer towards zero, within the range of the type, NaN 0;
 * to bool is != 0; to a float is rounded once, half to even, a NaN to the one NaN. */
typedef void (*cast_function)(const void *source, void *target, int64_t count);

/* NULL for equal types or unknown ones (cpu/cast.c). Threads: any. */
cast_function wefti_cast(weft_type source, weft_type target);

#endif
