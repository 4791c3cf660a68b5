/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/mma.h"

/* MATMUL, CONV and ATTENTION in bf16, f16 and tf32, on tensor cores. The same shapes of
 * tiles for all three; what follows the sums is that of product.cu. */

/* Where a block's outputs and operands begin: m and n of the tile, and the batch's
 * offsets. */
typedef struct mma_place {
    int64_t m, n, a, b, c;
} mma_place;

/* All numbers of blocks and tiles have 32 bits: a long division is much code. */
WEFTI_DEVICE mma_place mma_find(const wefti_cuda_matmul_call *call, int32_t tile_m,
                                int32_t tile_n)
{
    const wefti_matmul_params *p = &call->p;
    const uint32_t n_tiles = (uint32_t)call->n_tiles;
    const uint32_t m_tiles = (uint32_t)call->m_tiles;
    uint32_t rest = blockIdx.x / n_tiles / m_tiles;
    mma_place at = {0, 0, 0, 0, 0};
    at.m = (int64_t)(blockIdx.x / n_tiles % m_tiles) * tile_m;
    at.n = (int64_t)(blockIdx.x % n_tiles) * tile_n;
    WEFTI_ONCE
    for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
        const uint32_t i = rest % (uint32_t)p->batch_dims[d];
        rest /= (uint32_t)p->batch_dims[d];
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

/* Makes the products of a block's queries and keys scores, these weights, and finds
 * what their sums are multiplied by: 1 / total, or where a query sees no key, NaN or 0
 * in its stead. Eight threads have a row. Behind the last key, up to a whole tile, and
 * in rows without a query, there are zeros. */
WEFTI_DEVICE void head_weights(const wefti_attention_params *p, const attention_head *h,
                               const head_memory *memory)
{
    WEFTI_FOLD_MEMORY(lanes, WEFTI_CUDA_MMA_QUERIES)
    const int32_t row = (int32_t)threadIdx.x / 8, lane = (int32_t)threadIdx.x % 8;
    const int64_t count = row < h->rows ? p->key_length : 0;
    const int64_t whole = (p->key_length + WEFTI_CUDA_MMA_KEYS_TOGETHER - 1) /
                          WEFTI_CUDA_MMA_KEYS_TOGETHER * WEFTI_CUDA_MMA_KEYS_TOGETHER;
    float *own = memory->scores + row * memory->pitch;
    float largest = -INFINITY, total = 0.0f;
    WEFTI_ONCE
    for (int64_t i = lane; i < count; i += 8) {
        own[i] = attention_score(p, h, row, i, own[i]);
        largest = ref_max(largest, own[i]);
    }
    WEFTI_FOLD(largest, lanes, 8, ref_max);
    const bool sees = largest != -INFINITY;
    for (int64_t i = lane; i < whole; i += 8) {
        const float weight = i < count && sees ? ref_exp(own[i] - largest) : 0.0f;
        own[i] = weight;
        total = total + weight;
    }
    WEFTI_FOLD(total, lanes, 8, device_add);
    if (lane == 0) {
        const float blind = p->blind_is_nan ? ref_from_bits(0x7fc00000) : 0.0f;
        memory->factors[row] = sees ? 1.0f / total : blind;
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
