/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_KERNEL_RANDOM_H
#define WEFT_TESTS_SUPPORT_KERNEL_RANDOM_H

#include "support/kernel_case.h"

/* Random tensors for kernel tests: every type, odd values, any layout. */

/* A tensor in a block that ends at a forbidden page. */
typedef struct random_tensor {
    void *block;
    void *data; /* its first element */
    size_t block_bytes;
    int64_t strides[WEFT_MAX_RANK];
} random_tensor;

typedef enum random_layout {
    RANDOM_DENSE = 1,
    RANDOM_REPEATED = 2, /* some strides are 0 */
    RANDOM_PERMUTED = 4,
    RANDOM_GAPS = 8,
    RANDOM_REVERSED = 16, /* some strides are negative */
} random_layout;

/* Chooses one of the layouts in the set; no two elements share a place unless
 * RANDOM_REPEATED is chosen. */
random_tensor random_tensor_make(uint64_t *seed, weft_type type, int32_t rank,
                                 const int64_t *dims, uint32_t layouts);
void random_tensor_drop(random_tensor *tensor);

/* Fills with values of the type, some of them special. */
void random_fill(uint64_t *seed, weft_type type, void *data, size_t count);

/* A rank up to `max_rank` and dims that multiply to at most `max_count`. */
int32_t random_dims(uint64_t *seed, int32_t max_rank, int64_t max_count, int64_t *dims);

/* A number from 0 to below `limit`. */
int64_t random_below(uint64_t *seed, int64_t limit);

#endif
