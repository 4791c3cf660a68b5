/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_LAUNCH_H
#define WEFTI_BACKEND_CUDA_LAUNCH_H

#include "backend/cuda/device.h"
#include "backend/cuda/kernels/call.h"

/* How a constant matrix is laid out on the card: rows x columns, dense but for the
 * pitch, from elements at row * row_stride + column * column_stride, as f32 or rounded
 * to f16 or bf16. Zeros fill the pitch. */
typedef struct wefti_cuda_pack {
    int64_t rows, columns, row_stride, column_stride, pitch;
    weft_type type;
} wefti_cuda_pack;

/* What the kernels of steps are chosen by. */
typedef struct wefti_cuda_choice {
    int32_t processor_count;
    weft_precision precision;
} wefti_cuda_choice;

/* How a step is run: which kernel, how many blocks, and its call but for the operands'
 * addresses. */
typedef struct wefti_cuda_prepared {
    wefti_kernel step_kernel;
    wefti_cuda_kernel kernel;
    int64_t blocks; /* 0: there is nothing to do */
    uint32_t threads;
    wefti_cuda_call call;
    int32_t scratch_operand; /* -1, or the operand that is scratch of this size */
    size_t scratch_bytes;
    int32_t pack_operand; /* -1, or the constant operand that is laid out anew */
    wefti_cuda_pack pack;
    int32_t report_operand; /* -1, or the operand that is the stream's report */
    int32_t table_operand;  /* -1, or the operand that is this table */
    void *table;            /* the caller's (wefti_free) */
    size_t table_bytes;
} wefti_cuda_prepared;

/* Chooses kernel and blocks. WEFT_UNSUPPORTED when the device cannot run the step. */
weft_status wefti_cuda_prepare(const wefti_step *step, wefti_cuda_choice choice,
                               wefti_cuda_prepared *prepared, weft_error *error);
weft_status wefti_cuda_prepare_matmul(const wefti_step *step, wefti_cuda_choice choice,
                                      wefti_cuda_prepared *prepared, weft_error *error);
weft_status wefti_cuda_prepare_conv(const wefti_step *step, wefti_cuda_choice choice,
                                    wefti_cuda_prepared *prepared, weft_error *error);
#if defined(WEFT_TESTING)
/* Tests: the tiles of all products in tf32, bf16 and f16 from now on, 0 to 2; -1: the
 * best. */
void wefti_cuda_testing_use_tiles(int32_t shape);
/* Tests: the tiles of products in f32 whose operands lie in whole fours, by number from
 * now on; -1: the best. How many there are. */
void wefti_cuda_testing_use_wide(int32_t shape);
int32_t wefti_cuda_testing_wide_shapes(void);
#endif

/* Those that few nets have. */
weft_status wefti_cuda_prepare_rare(const wefti_step *step,
                                    wefti_cuda_prepared *prepared, weft_error *error);

/* Whether this kernel reads the operand, an input of so many bytes, so few times that
 * it may stay in the host's memory. */
bool wefti_cuda_reads_rarely(const wefti_cuda_prepared *prepared, int32_t operand,
                             size_t size_bytes);
/* Whether it reads such an operand more than once, so that bringing it first saves some
 * of the bus. */
bool wefti_cuda_reads_again(const wefti_cuda_prepared *prepared, int32_t operand,
                            size_t size_bytes);
/* Whether it writes its output, once and side by side, so that it may go to the host's
 * memory. */
bool wefti_cuda_writes_in_rows(const wefti_cuda_prepared *prepared, int32_t operand,
                               size_t size_bytes);

/* The bytes of a constant operand that the step may read, from its address: the lowest
 * (not above 0) and the end. */
void wefti_cuda_operand_reach(const wefti_step *step, int32_t operand, int64_t *low,
                              int64_t *end);

/* Joins dimensions that all of `count` tensors walk through as one and drops those of
 * size 1; returns the rank that is left, at least 1. */
int32_t wefti_cuda_join(int32_t rank, int64_t *dims, int64_t *const *strides,
                        int32_t count);

#endif
