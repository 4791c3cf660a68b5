/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_KERNEL_CASE_H
#define WEFT_TESTS_SUPPORT_KERNEL_CASE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/cpu_kernel.h"

/* One CPU kernel call with its buffers, checked on every instruction set of this
 * machine against plain C: same bits, whatever the split into tiles, with constants
 * packed or not, and nothing read or written outside the buffers. */
typedef struct kernel_case {
    wefti_step step;
    void *data[WEFTI_MAX_OPERANDS];
    int32_t output;
    size_t output_bytes;
    /* Of operands that come in rows, as many as row_count; 0: in one piece. */
    size_t row_bytes[WEFTI_MAX_OPERANDS];
    int64_t row_count;
} kernel_case;

void kernel_case_init(kernel_case *c, wefti_kernel kernel, const void *params,
                      size_t params_bytes);
void kernel_case_operand(kernel_case *c, int32_t index, const void *data,
                         bool constant);
/* Every byte of the buffer is compared, also what the kernel must leave alone. */
void kernel_case_output(kernel_case *c, int32_t index, void *data, size_t count);
/* Of the operand's first rows of so many bytes, vector kernels get each elsewhere in
 * memory, in any order; plain C, all in one piece. */
void kernel_case_rows(kernel_case *c, int32_t index, int64_t count, size_t row_bytes);
void kernel_case_check(const kernel_case *c);
/* Runs on the best instruction set into a buffer as large as the output. */
void kernel_case_run_best(const kernel_case *c, void *output);

/* A hash of the output's bits, to be compared with one that was written down: the same
 * on every architecture. */
uint64_t kernel_case_hash(const kernel_case *c);

/* Memory that ends where the next page may not be touched; freed by kernel_free. */
void *kernel_alloc(size_t size_bytes);
void kernel_free(void *block);
/* The block that an address lies in; false when there is none. */
bool kernel_block(const void *address, char **start, size_t *size_bytes);
/* Floats in [-1, 1), a few of them zero. */
float *kernel_random(size_t count, uint64_t seed);
uint64_t kernel_next(uint64_t *state);

#endif
