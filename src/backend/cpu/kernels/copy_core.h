/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_COPY_CORE_H
#define WEFTI_BACKEND_CPU_KERNELS_COPY_CORE_H

#include "backend/cpu/cast.h"
#include "backend/cpu/kernels/simd.h"

/* The two inner dims of a copy. Strides are in bytes; the target's columns come one
 * after the other where the core says so. */
typedef struct copy_args {
    const char *source;
    char *target;
    int64_t rows, columns;
    int64_t source_row, source_column, target_row, target_column;
    int32_t source_bytes, target_bytes; /* of an element */
    cast_function cast;                 /* NULL: the types are equal */
} copy_args;

typedef void (*copy_function)(const copy_args *args);

/* Dense columns on both sides. */
void WEFTI_ISA_NAME(wefti_copy_rows)(const copy_args *args);
/* One source element for all columns of a row, which are dense in the target. */
void WEFTI_ISA_NAME(wefti_copy_repeat)(const copy_args *args);
/* Dense rows in the source, dense columns in the target: a transpose. */
void WEFTI_ISA_NAME(wefti_copy_transpose)(const copy_args *args);
/* Anything. */
void WEFTI_ISA_NAME(wefti_copy_strided)(const copy_args *args);

/* As wefti_cast, with the same bits. */
cast_function WEFTI_ISA_NAME(wefti_cast_vector)(weft_type source, weft_type target);

#endif
