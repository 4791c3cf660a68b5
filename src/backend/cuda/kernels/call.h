/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_KERNELS_CALL_H
#define WEFTI_BACKEND_CUDA_KERNELS_CALL_H

#include <stdalign.h>

#include "backend/kernel.h"

/* What the CUDA kernels take: one struct each, the same for the host that fills it and
 * the kernel that reads it. All begin with the operands' device addresses, in the order
 * of backend/kernel.h; what a kernel needs beside them stands behind.
 *
 * Behind the operands two more, of a graph's last kernel: `flag`, if not NULL, is set
 * to 1 when all the graph has done is there; `arrived`, on the device, counts blocks
 * and is 0 between runs. */
enum {
    WEFTI_CUDA_FLAG = WEFTI_MAX_OPERANDS,
    WEFTI_CUDA_ARRIVED,
    WEFTI_CUDA_OPERANDS,
};

typedef struct wefti_cuda_copy_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_copy_params p; /* dimensions joined where possible */
} wefti_cuda_copy_call;

typedef struct wefti_cuda_fill_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_fill_params p;
} wefti_cuda_fill_call;

typedef struct wefti_cuda_elementwise_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_elementwise_params p; /* dimensions joined where possible */
} wefti_cuda_elementwise_call;

/* Threads of a block: 16 of them have a row of a reduction, softmax or norm. Rows of up
 * to so many columns stay in registers; for softmax, longer ones have a block. */
enum {
    WEFTI_CUDA_ROWS_THREADS = 64,
    WEFTI_CUDA_WIDE_THREADS = 256,
    WEFTI_CUDA_ROWS_OF_BLOCK = WEFTI_CUDA_ROWS_THREADS / 16,
};
typedef struct wefti_cuda_reduce_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t kept_count, reduced_count;
    wefti_reduce_params p;
} wefti_cuda_reduce_call;

typedef struct wefti_cuda_softmax_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    wefti_softmax_params p;
} wefti_cuda_softmax_call;

typedef struct wefti_cuda_layer_norm_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    wefti_layer_norm_params p;
} wefti_cuda_layer_norm_call;

typedef struct wefti_cuda_matmul_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t m_tiles, n_tiles;
    /* The operand may be read 16 bytes at a time along its dense dimension, which is k
     * of A and n of B; the outputs of a row may be written so. */
    uint32_t a_wide, b_wide, c_wide;
    uint32_t b_deep;        /* B may be read so along k, which is its dense dimension */
    uint32_t residual_wide; /* the residual may be read as outputs are written */
    wefti_matmul_params p;
} wefti_cuda_matmul_call;

/* Where the k-th weight of an output channel meets the input, from the window's first
 * position: an offset in elements, and which position of the kernel it is, whose place
 * along each dimension a second table has. */
enum {
    /* Of so many positions a thread knows beforehand which are inside of the image. */
    WEFTI_CUDA_CONV_KNOWN_POSITIONS = 31,
    /* The table of taps is filled up to a multiple of this with taps that are outside.
     */
    WEFTI_CUDA_CONV_TAPS_TOGETHER = 64,
};
/* A position past the known ones is counted from there on by one more: the number
 * between is that of the taps which are always outside. */
typedef struct wefti_cuda_tap {
    alignas(8) int32_t offset; /* read at once */
    int32_t position;
} wefti_cuda_tap;
typedef struct wefti_cuda_position {
    int32_t z, y, x;
} wefti_cuda_position;

enum { WEFTI_CUDA_CONV_TAPS = 5 }; /* operand: the taps, then the positions */
/* The product of each group: m channels of the group, n output positions of all
 * images, k weights. */
typedef struct wefti_cuda_conv_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t m, n, k;
    int64_t m_tiles, n_tiles;
    int64_t tap_count;       /* of the table */
    int32_t positions;       /* of the kernel */
    uint32_t a_wide, c_wide; /* as above: the weights, the outputs of a plane */
    wefti_conv_params p;
} wefti_cuda_conv_call;

typedef struct wefti_cuda_pool_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_pool_params p;
} wefti_cuda_pool_call;

enum { WEFTI_CUDA_GATHER_REPORT = 3 }; /* operand: the stream's report */
typedef struct wefti_cuda_gather_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count; /* of copied units */
    int32_t unit_bytes;
    uint32_t step; /* this step's number in its recipe */
    wefti_gather_params p;
} wefti_cuda_gather_call;

/* Points: `lanes` threads share the elements of a point; points whose place, counted in
 * points, is the same modulo `bucket_count` go to the same threads. */
enum { WEFTI_CUDA_POINTS_REPORT = 3 }; /* operand: the stream's report */
typedef struct wefti_cuda_points_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t point_count;
    uint32_t lanes, bucket_count; /* scattering */
    uint32_t step;
    wefti_points_params p;
} wefti_cuda_points_call;

typedef struct wefti_cuda_cumulate_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    wefti_cumulate_params p;
} wefti_cuda_cumulate_call;

typedef struct wefti_cuda_top_k_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    wefti_top_k_params p;
} wefti_cuda_top_k_call;

typedef struct wefti_cuda_fold_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_fold_params p;
} wefti_cuda_fold_call;

typedef struct wefti_cuda_sample_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_sample_params p;
} wefti_cuda_sample_call;

/* What is wrong with a region is reported at twice its number, plus one when it is the
 * region itself and not its image's number. */
enum {
    WEFTI_CUDA_ROI_ALIGN_REPORT = 4,             /* operand: the stream's report */
    WEFTI_CUDA_ROI_ALIGN_MOST_SAMPLES = 1 << 12, /* of a cell, in one direction */
};
typedef struct wefti_cuda_roi_align_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    uint32_t step;
    wefti_roi_align_params p;
} wefti_cuda_roi_align_call;

typedef struct wefti_cuda_pool_indices_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t count;
    wefti_pool_indices_params p;
} wefti_cuda_pool_indices_call;

enum { WEFTI_CUDA_RECURRENCE_THREADS = 64 };
typedef struct wefti_cuda_recurrence_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    wefti_linear_attention_params p;
} wefti_cuda_recurrence_call;

enum { WEFTI_CUDA_DETERMINANT_SCRATCH = 2 }; /* operand: the matrices as doubles */
typedef struct wefti_cuda_determinant_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    wefti_determinant_params p;
} wefti_cuda_determinant_call;

/* A report is the lowest (step << 40 | position) of what a step found wrong, as
 * an index out of range. */
enum { WEFTI_CUDA_REPORT_SHIFT = 40 };
#define WEFTI_CUDA_REPORT_NONE UINT64_MAX

enum { WEFTI_CUDA_ATTENTION_SCORES = 5 }; /* operand: a row of keys for each query */
enum {
    WEFTI_CUDA_ATTENTION_QUERIES = 16,
    WEFTI_CUDA_SHORT_ATTENTION_QUERIES = 16,
    WEFTI_CUDA_SHORT_ATTENTION_KEYS = 256, /* at most */
    WEFTI_CUDA_SHORT_ATTENTION_THREADS = 128,
    WEFTI_CUDA_NEAR_ATTENTION_QUERIES = 16,
    WEFTI_CUDA_NEAR_ATTENTION_KEYS = 128, /* at most */
    WEFTI_CUDA_NEAR_ATTENTION_HEAD = 64,  /* at most, also of the values */
    WEFTI_CUDA_NEAR_ATTENTION_THREADS = 128,
    /* In another precision than f32; scores in scratch memory lie so far apart. */
    WEFTI_CUDA_MMA_QUERIES = 16,
    WEFTI_CUDA_MMA_KEYS_TOGETHER = 64,
    /* Chains of tensor cores have zeros behind k up to a multiple of this. */
    WEFTI_CUDA_MMA_WHOLE_K = 64,
};
typedef struct wefti_cuda_attention_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    int64_t query_tiles;
    uint32_t wide;        /* queries, keys and values may be read 16 bytes at a time */
    uint32_t output_wide; /* and outputs written so */
    wefti_attention_params p;
} wefti_cuda_attention_call;

/* Moves inputs from pinned memory to the device before the steps, or outputs back after
 * them. */
enum { WEFTI_CUDA_STAGED_TENSORS = 16 };
typedef struct wefti_cuda_stage_call {
    void *operands[WEFTI_CUDA_OPERANDS];
    void *targets[WEFTI_CUDA_STAGED_TENSORS];
    const void *sources[WEFTI_CUDA_STAGED_TENSORS];
    int64_t bytes[WEFTI_CUDA_STAGED_TENSORS]; /* in pinned memory */
    uint32_t count;
    uint32_t in_ring; /* bits: targets that move on by what `ring_offset` has */
    const int64_t *ring_offset; /* bytes, in pinned memory */
    /* The 16-bit type that is made f32 on the way, or made from it; NONE: neither. */
    uint8_t widened[WEFTI_CUDA_STAGED_TENSORS], narrowed[WEFTI_CUDA_STAGED_TENSORS];
} wefti_cuda_stage_call;

/* Any of them. */
typedef union wefti_cuda_call {
    void *operands[WEFTI_CUDA_OPERANDS];
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
    wefti_cuda_points_call points;
    wefti_cuda_cumulate_call cumulate;
    wefti_cuda_top_k_call top_k;
    wefti_cuda_fold_call fold;
    wefti_cuda_sample_call sample;
    wefti_cuda_roi_align_call roi_align;
    wefti_cuda_pool_indices_call pool_indices;
    wefti_cuda_recurrence_call recurrence;
    wefti_cuda_determinant_call determinant;
    wefti_cuda_stage_call stage;
} wefti_cuda_call;

#endif
