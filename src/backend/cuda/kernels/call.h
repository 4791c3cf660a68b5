/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_KERNELS_CALL_H
#define WEFTI_BACKEND_CUDA_KERNELS_CALL_H

#include "backend/kernel.h"

/* What the CUDA kernels take: one struct each, the same for the host that fills it and
 * the kernel that reads it. All begin with the operands' device addresses, in the order
 * of backend/kernel.h; what a kernel needs beside them stands behind. */

typedef struct wefti_cuda_copy_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t count;
    wefti_copy_params p; /* dimensions joined where possible */
} wefti_cuda_copy_call;

typedef struct wefti_cuda_fill_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t count;
    wefti_fill_params p;
} wefti_cuda_fill_call;

typedef struct wefti_cuda_elementwise_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t count;
    wefti_elementwise_params p; /* dimensions joined where possible */
} wefti_cuda_elementwise_call;

typedef struct wefti_cuda_reduce_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t kept_count, reduced_count;
    wefti_reduce_params p;
} wefti_cuda_reduce_call;

typedef struct wefti_cuda_softmax_call {
    void *operands[WEFTI_MAX_OPERANDS];
    wefti_softmax_params p;
} wefti_cuda_softmax_call;

typedef struct wefti_cuda_layer_norm_call {
    void *operands[WEFTI_MAX_OPERANDS];
    wefti_layer_norm_params p;
} wefti_cuda_layer_norm_call;

typedef struct wefti_cuda_matmul_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t m_tiles, n_tiles;
    /* The operand may be read 16 bytes at a time along its dense dimension. */
    uint32_t a_wide, b_wide;
    wefti_matmul_params p;
} wefti_cuda_matmul_call;

/* Where the k-th weight of an output channel meets the input, from the window's first
 * position: an offset in elements and the position along each dimension. */
typedef struct wefti_cuda_tap {
    int32_t offset, z, y, x;
} wefti_cuda_tap;

enum { WEFTI_CUDA_CONV_TAPS = 5 }; /* operand: wefti_cuda_tap[k] */
/* The product of each group: m channels of the group, n output positions of all
 * images, k weights. */
typedef struct wefti_cuda_conv_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t m, n, k;
    int64_t m_tiles, n_tiles;
    wefti_conv_params p;
} wefti_cuda_conv_call;

typedef struct wefti_cuda_pool_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t count;
    wefti_pool_params p;
} wefti_cuda_pool_call;

enum { WEFTI_CUDA_GATHER_REPORT = 3 }; /* operand: the stream's report */
typedef struct wefti_cuda_gather_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t count; /* of copied units */
    int32_t unit_bytes;
    uint32_t step; /* this step's number in its recipe */
    wefti_gather_params p;
} wefti_cuda_gather_call;

/* A report is the lowest (step << 40 | position) of an index out of range. */
enum { WEFTI_CUDA_REPORT_SHIFT = 40 };
#define WEFTI_CUDA_REPORT_NONE UINT64_MAX

enum { WEFTI_CUDA_ATTENTION_SCORES = 5 }; /* operand: a row of keys for each query */
enum {
    WEFTI_CUDA_ATTENTION_QUERIES = 16,
    WEFTI_CUDA_SHORT_ATTENTION_QUERIES = 32,
    WEFTI_CUDA_SHORT_ATTENTION_KEYS = 160, /* at most */
};
typedef struct wefti_cuda_attention_call {
    void *operands[WEFTI_MAX_OPERANDS];
    int64_t query_tiles;
    wefti_attention_params p;
} wefti_cuda_attention_call;

/* Moves inputs from pinned memory to the device before the steps, or outputs back after
 * them. `flag`, if not NULL, is set to 1 when all of it is there; `arrived`, on the
 * device, counts blocks and is 0 between runs. */
enum { WEFTI_CUDA_STAGED_TENSORS = 16 };
typedef struct wefti_cuda_stage_call {
    void *targets[WEFTI_CUDA_STAGED_TENSORS];
    const void *sources[WEFTI_CUDA_STAGED_TENSORS];
    int64_t bytes[WEFTI_CUDA_STAGED_TENSORS];
    uint32_t count;
    uint32_t *arrived;
    uint32_t *flag;
} wefti_cuda_stage_call;

/* Any of them. */
typedef union wefti_cuda_call {
    void *operands[WEFTI_MAX_OPERANDS];
    wefti_cuda_copy_call copy;
    wefti_cuda_fill_call fill;
    wefti_cuda_elementwise_call elementwise;
    wefti_cuda_reduce_call reduce;
    wefti_cuda_softmax_call softmax;
    wefti_cuda_layer_norm_call layer_norm;
    wefti_cuda_matmul_call matmul;
    wefti_cuda_conv_call conv;
    wefti_cuda_pool_call pool;
    wefti_cuda_gather_call gather;
    wefti_cuda_attention_call attention;
    wefti_cuda_stage_call stage;
} wefti_cuda_call;

#endif
