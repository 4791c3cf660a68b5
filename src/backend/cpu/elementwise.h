/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_ELEMENTWISE_H
#define WEFTI_BACKEND_CPU_ELEMENTWISE_H

#include "backend/kernel.h"

/* One instruction over a block of rows and columns. Columns of the output are dense;
 * those of an input are dense or, for a "scalar" input, one value per row. The output
 * may be one of the inputs. */
typedef struct elementwise_args {
    const void *inputs[3];
    int64_t input_row_bytes[3];
    void *output;
    int64_t output_row_bytes;
    int64_t rows, columns;
    uint32_t scalars; /* bit k: operand k is scalar; at least one is not */
    float alpha, beta;
} elementwise_args;

typedef void (*elementwise_function)(const elementwise_args *args);

/* The function for everything but f32 arithmetic, the same code for every instruction
 * set; NULL when there is no such operation. Threads: any. */
elementwise_function wefti_elementwise_typed(wefti_operation operation, weft_type type);

#endif
