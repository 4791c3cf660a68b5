/* SPDX-License-Identifier: Apache-2.0 */
/* ATTENTION on tensor cores, included once for each format, MMA_FORMAT. A block has 16
 * queries of one head and four warps, which share a tile's 64 keys, then its 64
 * columns.
 *
 * Scores are products in the format, then f32. Their softmax is that of ATTENTION but
 * for the order of its sum, which is 8 lanes, element i to lane i mod 8, and the usual
 * tree; and a weight is left exp(score - largest), rounded to the format by the second
 * product, whose sum is multiplied by 1 / total. Nothing depends on how many keys or
 * queries there are beside: where keys are few, scores lie in shared memory, else in
 * scratch memory, and both kernels give the same bits. */

#define MMA_OF_(name, format) name##_##format
#define MMA_OF__(name, format) MMA_OF_(name, format)
#define MMA_OF(name) MMA_OF__(name, MMA_FORMAT)

#define HEAD_THREADS WEFTI_CUDA_SHORT_ATTENTION_THREADS
#define HEAD_QUERIES WEFTI_CUDA_MMA_QUERIES
#define HEAD_TILE                                                                      \
    WEFTI_CUDA_MMA_KEYS_TOGETHER /* keys of a tile, and elements of the head or        \
                                    columns */
#define HEAD_STEP MMA_OF(MMA_DEPTH)
#define HEAD_PITCH_K (HEAD_TILE + MMA_OF(MMA_GAP_K))
#define HEAD_PITCH_N (HEAD_TILE + MMA_OF(MMA_GAP_N))

/* The products of the block's queries and the 64 keys from key0 on. */
WEFTI_DEVICE void MMA_OF(head_scores)(const wefti_cuda_attention_call *call,
                                      const attention_head *h, int64_t key0,
                                      const head_memory *memory)
{
    const wefti_attention_params *p = &call->p;
    const int32_t first = (int32_t)threadIdx.x / 32 * 16;
    float sums[2][4] = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
    for (int64_t d0 = 0; d0 < p->head_size; d0 += HEAD_TILE) {
        const int64_t depth = p->head_size - d0;
        const mma_matrix q = {h->q + d0, p->q.row, 1, call->wide != 0};
        const mma_matrix k = {h->k + key0 * p->k.row + d0, p->k.row, 1,
                              call->wide != 0};
        const mma_tile queries = {memory->queries, HEAD_PITCH_K, HEAD_QUERIES,
                                  HEAD_TILE};
        const mma_tile keys = {memory->tile, HEAD_PITCH_K, HEAD_TILE, HEAD_TILE};
        WEFTI_BARRIER();
        if (key0 == 0 || p->head_size > HEAD_TILE) {
            mma_fetch(queries, q, h->rows, depth, HEAD_THREADS);
        }
        mma_fetch(keys, k, p->key_length - key0, depth, HEAD_THREADS);
        WEFTI_FETCH_COMMIT();
        WEFTI_FETCH_WAIT(0);
        WEFTI_BARRIER();
        WEFTI_UNROLL
        for (int32_t d = 0; d < HEAD_TILE; d += HEAD_STEP) {
            const mma_left left = MMA_OF(mma_left)(memory->queries + d, HEAD_PITCH_K);
            WEFTI_UNROLL
            for (int32_t j = 0; j < 2; j++) {
                const float *from = memory->tile + (first + 8 * j) * HEAD_PITCH_K + d;
                MMA_OF(mma)(sums[j], left, MMA_OF(mma_right)(from, HEAD_PITCH_K, 1));
            }
        }
    }
    float *to = memory->scores + MMA_ROW * memory->pitch + key0 + first + MMA_COLUMN;
    WEFTI_UNROLL
    for (int32_t e = 0; e < 8; e++) {
        to[e / 2 % 2 * 8 * memory->pitch + e / 4 * 8 + e % 2] = sums[e / 4][e % 4];
    }
}

/* The values of the 64 keys from key0 on begin to come. */
WEFTI_DEVICE void MMA_OF(head_fetch_values)(const wefti_cuda_attention_call *call,
                                            const attention_head *h, int64_t key0,
                                            int64_t column0, float *values)
{
    const wefti_attention_params *p = &call->p;
    const mma_matrix v = {h->v + key0 * p->v.row + column0, p->v.row, 1,
                          call->wide != 0};
    const mma_tile to = {values, HEAD_PITCH_N, HEAD_TILE, HEAD_TILE};
    mma_fetch(to, v, p->key_length - key0, p->value_size - column0, HEAD_THREADS);
    WEFTI_FETCH_COMMIT();
}

/* Adds the products of the weights and the values of 64 keys. */
WEFTI_DEVICE void MMA_OF(head_outputs)(float sums[2][4], const float *weights,
                                       int64_t pitch, const float *values)
{
    const int32_t first = (int32_t)threadIdx.x / 32 * 16;
    WEFTI_UNROLL
    for (int32_t k = 0; k < HEAD_TILE; k += HEAD_STEP) {
        const mma_left left = MMA_OF(mma_left)(weights + k, (int32_t)pitch);
        WEFTI_UNROLL
        for (int32_t j = 0; j < 2; j++) {
            const float *from = values + k * HEAD_PITCH_N + first + 8 * j;
            MMA_OF(mma)(sums[j], left, MMA_OF(mma_right)(from, 1, HEAD_PITCH_N));
        }
    }
}

/* All of a block. The loops' code is there once: a small run waits for it to be read.
 */
WEFTI_DEVICE void MMA_OF(head_run)(const wefti_cuda_attention_call *call,
                                   const attention_head *h, const head_memory *memory)
{
    const wefti_attention_params *p = &call->p;
    WEFTI_ONCE
    for (int64_t key0 = 0; key0 < p->key_length; key0 += HEAD_TILE) {
        MMA_OF(head_scores)(call, h, key0, memory);
    }
    WEFTI_BARRIER();
    WEFTI_ONCE
    for (int64_t column0 = 0; column0 < p->value_size; column0 += HEAD_TILE) {
        float sums[2][4] = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
        WEFTI_ONCE
        for (int64_t key0 = 0; key0 < p->key_length; key0 += HEAD_TILE) {
            MMA_OF(head_fetch_values)(call, h, key0, column0, memory->tile);
            if (column0 == 0 && key0 == 0) {
                head_weights(p, h, memory); /* while the first values come */
            }
            WEFTI_FETCH_WAIT(0);
            WEFTI_BARRIER();
            MMA_OF(head_outputs)
            (sums, memory->scores + key0, memory->pitch, memory->tile);
            WEFTI_BARRIER();
        }
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            const int32_t row = MMA_ROW + 8 * (e / 2 % 2);
            const int64_t column = column0 + (int32_t)threadIdx.x / 32 * 16 +
                                   8 * (e / 4) + MMA_COLUMN + e % 2;
            if (row < h->rows && column < p->value_size) {
                const float factor = memory->factors[row];
                h->output[row * p->output.row + column] =
                    factor == 0.0f ? 0.0f : ref_canonical(sums[e / 4][e % 4] * factor);
            }
        }
    }
}

#define HEAD_SHORT_PITCH (WEFTI_CUDA_SHORT_ATTENTION_KEYS + MMA_OF(MMA_GAP_K))

WEFTI_KERNEL(HEAD_THREADS, MMA_OF(weft_attention_short), wefti_cuda_attention_call)
{
    WEFTI_SHARED float scores[HEAD_QUERIES * HEAD_SHORT_PITCH];
    WEFTI_SHARED float queries[HEAD_QUERIES * HEAD_PITCH_K];
    WEFTI_SHARED float tile[HEAD_TILE * (HEAD_TILE + 8)];
    WEFTI_SHARED float factors[HEAD_QUERIES];
    const attention_head h = attention_place(&call, HEAD_QUERIES);
    const head_memory memory = {queries, tile, scores, factors, HEAD_SHORT_PITCH};
    MMA_OF(head_run)(&call, &h, &memory);
}

WEFTI_KERNEL(HEAD_THREADS, MMA_OF(weft_attention), wefti_cuda_attention_call)
{
    WEFTI_SHARED float queries[HEAD_QUERIES * HEAD_PITCH_K];
    WEFTI_SHARED float tile[HEAD_TILE * (HEAD_TILE + 8)];
    WEFTI_SHARED float factors[HEAD_QUERIES];
    const attention_head h = attention_place(&call, HEAD_QUERIES);
    /* Each block has whole rows of its own. */
    const int64_t pitch = (call.p.key_length + HEAD_TILE - 1) / HEAD_TILE * HEAD_TILE;
    float *scores = (float *)call.operands[WEFTI_CUDA_ATTENTION_SCORES] +
                    (int64_t)blockIdx.x * HEAD_QUERIES * pitch;
    const head_memory memory = {queries, tile, scores, factors, pitch};
    MMA_OF(head_run)(&call, &h, &memory);
}

#undef MMA_OF_
#undef MMA_OF__
#undef MMA_OF
#undef HEAD_THREADS
#undef HEAD_QUERIES
#undef HEAD_TILE
#undef HEAD_STEP
#undef HEAD_PITCH_K
#undef HEAD_PITCH_N
#undef HEAD_SHORT_PITCH
