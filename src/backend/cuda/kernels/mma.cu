/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/mma.h"

/* MATMUL, CONV and ATTENTION in bf16, f16 and tf32, on tensor cores. The same shapes of
 * tiles for all three; what follows the sums is that of product.cu. */

/* Where a block's outputs and operands begin: m and n of the tile, and the batch's
 * offsets. */
typedef struct mma_place {
    int64_t m, n, a, b, c;
} mma_place;

WEFTI_DEVICE mma_place mma_find(const wefti_cuda_matmul_call *call, int32_t tile_m,
                                int32_t tile_n)
{
    const wefti_matmul_params *p = &call->p;
    int64_t rest = blockIdx.x / call->n_tiles / call->m_tiles;
    mma_place at = {0, 0, 0, 0, 0};
    at.m = (int64_t)(blockIdx.x / call->n_tiles % call->m_tiles) * tile_m;
    at.n = (int64_t)(blockIdx.x % call->n_tiles) * tile_n;
    for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
        const int64_t i = rest % p->batch_dims[d];
        rest /= p->batch_dims[d];
        at.a += i * p->a_batch_strides[d];
        at.b += i * p->b_batch_strides[d];
        at.c += i * p->c_batch_strides[d];
    }
    return at;
}

/* A of a block. */
WEFTI_DEVICE mma_matrix mma_find_a(const wefti_cuda_matmul_call *call,
                                   const mma_place *at)
{
    const wefti_matmul_params *p = &call->p;
    const mma_matrix a = {(const float *)call->operands[WEFTI_MATMUL_A] + at->a +
                              at->m * p->a_row_stride,
                          p->a_row_stride, p->a_column_stride, call->a_wide != 0};
    return a;
}

/* What a block of ATTENTION works in: 16 queries, a tile of 64 keys or values, and for
 * each query the scores, `pitch` apart with room for whole steps, and what its sums are
 * multiplied by. */
typedef struct head_memory {
    float *queries, *tile, *scores, *factors;
    int64_t pitch;
} head_memory;

/* Makes the scores of a block's queries weights, and what their sums are multiplied by:
 * 1 / total, or where a query sees no key, NaN or 0 in its stead. Eight threads have a
 * row. Behind the last key, up to a whole step, and in rows without a query, there are
 * zeros. */
WEFTI_DEVICE void head_weights(const wefti_attention_params *p, const attention_head *h,
                               const head_memory *memory)
{
    WEFTI_FOLD_MEMORY(lanes, WEFTI_CUDA_MMA_QUERIES)
    const int32_t row = (int32_t)threadIdx.x / 8, lane = (int32_t)threadIdx.x % 8;
    const int64_t count = row < h->rows ? p->key_length : 0;
    const int64_t whole = (p->key_length + 15) / 16 * 16;
    float *own = memory->scores + row * memory->pitch;
    float largest = -INFINITY, total = 0.0f;
    for (int64_t i = lane; i < count; i += 8) {
        largest = ref_max(largest, own[i]);
    }
    WEFTI_FOLD(largest, lanes, 8, ref_max);
    for (int64_t i = lane; i < count; i += 8) {
        own[i] = ref_exp(own[i] - largest);
        total = total + own[i];
    }
    WEFTI_FOLD(total, lanes, 8, device_add);
    for (int64_t i = lane; i < whole; i += 8) {
        if (i >= count || largest == -INFINITY) {
            own[i] = 0.0f;
        }
    }
    if (lane == 0) {
        const float blind = p->blind_is_nan ? ref_from_bits(0x7fc00000) : 0.0f;
        memory->factors[row] = largest != -INFINITY ? 1.0f / total : blind;
    }
}

#define MMA_FORMAT bf16
#include "backend/cuda/kernels/mma_attention.cu"
#include "backend/cuda/kernels/mma_shapes.cu"
#undef MMA_FORMAT
#define MMA_FORMAT f16
#include "backend/cuda/kernels/mma_attention.cu"
#include "backend/cuda/kernels/mma_shapes.cu"
#undef MMA_FORMAT
#define MMA_FORMAT tf32
#include "backend/cuda/kernels/mma_attention.cu"
#include "backend/cuda/kernels/mma_shapes.cu"
#undef MMA_FORMAT
