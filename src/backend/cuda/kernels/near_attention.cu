/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* ATTENTION with up to 128 keys and heads of up to 64, all in whole fours: the scores
 * never leave the registers before they are weights. A thread has NEAR_PER_QUERY
 * queries and every 16th key, which is a lane of the softmax's sums; 16 neighbours have
 * all keys. Then it has as many queries and four columns of the output. */
#define NEAR_THREADS WEFTI_CUDA_NEAR_ATTENTION_THREADS
#define NEAR_QUERIES WEFTI_CUDA_NEAR_ATTENTION_QUERIES
#define NEAR_KEYS WEFTI_CUDA_NEAR_ATTENTION_KEYS
#define NEAR_HEAD WEFTI_CUDA_NEAR_ATTENTION_HEAD
#define NEAR_ROWS (NEAR_THREADS / 16) /* of threads */
#define NEAR_PER_QUERY (NEAR_QUERIES / NEAR_ROWS)
#define NEAR_PER_KEY (NEAR_KEYS / 16)
#define NEAR_PITCH (NEAR_HEAD + 4)
#define NEAR_WEIGHTS (NEAR_KEYS + 4)
#define NEAR_PIECE 32 /* values that are fetched together */
#define NEAR_PIECES (NEAR_KEYS / NEAR_PIECE)

/* Fetches rows [0, count) of at most NEAR_HEAD columns, the rest as zeros. */
WEFTI_DEVICE void near_fetch(float (*to)[NEAR_PITCH], int32_t to_rows,
                             const float *from, int64_t row_stride, int32_t count,
                             int32_t columns)
{
    const int32_t thread = (int32_t)threadIdx.x, column = thread % (NEAR_HEAD / 4) * 4;
    WEFTI_UNROLL
    for (int32_t first = 0; first < to_rows; first += NEAR_THREADS / (NEAR_HEAD / 4)) {
        const int32_t row = first + thread / (NEAR_HEAD / 4);
        const bool there = row < count && column < columns;
        WEFTI_FETCH_16(&to[row][column], from + (there ? row * row_stride + column : 0),
                       there);
    }
}

/* The scores of query ty + i NEAR_ROWS and key tx + 16 j. */
WEFTI_DEVICE void near_scores(float sums[NEAR_PER_QUERY][NEAR_PER_KEY],
                              const float (*queries)[NEAR_PITCH],
                              const float (*keys)[NEAR_PITCH], int32_t head_size)
{
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    WEFTI_UNROLL_4
    for (int32_t d = 0; d < head_size; d += 4) {
        float q[NEAR_PER_QUERY][4];
        WEFTI_UNROLL
        for (int32_t i = 0; i < NEAR_PER_QUERY; i++) {
            short_read(q[i], &queries[ty + i * NEAR_ROWS][d]);
        }
        WEFTI_UNROLL
        for (int32_t j = 0; j < NEAR_PER_KEY; j++) {
            float k[4];
            short_read(k, &keys[tx + 16 * j][d]);
            WEFTI_UNROLL
            for (int32_t e = 0; e < 4 * NEAR_PER_QUERY; e++) {
                const int32_t i = e % NEAR_PER_QUERY, step = e / NEAR_PER_QUERY;
                sums[i][j] = fmaf(q[i][step], k[step], sums[i][j]);
            }
        }
    }
}

/* What one piece of values adds to the outputs of query ty + i NEAR_ROWS and columns
 * from 4 tx on. */
WEFTI_DEVICE void near_outputs(float sums[NEAR_PER_QUERY][4],
                               const float (*weights)[NEAR_WEIGHTS], int32_t key0,
                               const float (*values)[NEAR_PITCH], int32_t count)
{
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    int32_t k = 0;
    WEFTI_UNROLL_4
    for (; k + 4 <= count; k += 4) {
        float w[NEAR_PER_QUERY][4], v[4][4];
        WEFTI_UNROLL
        for (int32_t i = 0; i < NEAR_PER_QUERY; i++) {
            short_read(w[i], &weights[ty + i * NEAR_ROWS][key0 + k]);
        }
        WEFTI_UNROLL
        for (int32_t step = 0; step < 4; step++) {
            short_read(v[step], &values[k + step][4 * tx]);
        }
        WEFTI_UNROLL
        for (int32_t e = 0; e < 16 * NEAR_PER_QUERY; e++) {
            const int32_t i = e / 4 % NEAR_PER_QUERY, j = e % 4;
            const int32_t step = e / (4 * NEAR_PER_QUERY);
            sums[i][j] = fmaf(w[i][step], v[step][j], sums[i][j]);
        }
    }
    for (; k < count; k++) {
        WEFTI_UNROLL
        for (int32_t e = 0; e < 4 * NEAR_PER_QUERY; e++) {
            sums[e / 4][e % 4] = fmaf(weights[ty + e / 4 * NEAR_ROWS][key0 + k],
                                      values[k][4 * tx + e % 4], sums[e / 4][e % 4]);
        }
    }
}

/* Which query and key a thread's e-th score is of. */
#define NEAR_ROW(e) (ty + (e) / NEAR_PER_KEY * NEAR_ROWS)
#define NEAR_KEY(e) (tx + (e) % NEAR_PER_KEY * 16)

/* What the chains over the head give becomes scores, which are scaled and masked; the
 * latter in a loop, so that its code is short: a thread's own scores go through where
 * its weights will be, to be counted through. */
WEFTI_DEVICE void near_mask(const wefti_cuda_attention_call *call,
                            const attention_head *h,
                            float sums[NEAR_PER_QUERY][NEAR_PER_KEY],
                            float (*weights)[NEAR_WEIGHTS])
{
    const wefti_attention_params *p = &call->p;
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    if (h->mask == NULL && !p->causal) {
        WEFTI_UNROLL
        for (int32_t e = 0; e < NEAR_PER_QUERY * NEAR_PER_KEY; e++) {
            sums[e / NEAR_PER_KEY][e % NEAR_PER_KEY] =
                sums[e / NEAR_PER_KEY][e % NEAR_PER_KEY] * p->scale;
        }
        return;
    }
    WEFTI_UNROLL
    for (int32_t e = 0; e < NEAR_PER_QUERY * NEAR_PER_KEY; e++) {
        weights[NEAR_ROW(e)][NEAR_KEY(e)] = sums[e / NEAR_PER_KEY][e % NEAR_PER_KEY];
    }
    WEFTI_ONCE
    for (int32_t e = 0; e < NEAR_PER_QUERY * NEAR_PER_KEY; e++) {
        const int32_t row = NEAR_ROW(e), key = NEAR_KEY(e);
        if (row < h->rows && key < p->key_length) {
            weights[row][key] = attention_score(p, h, row, key, weights[row][key]);
        }
    }
    WEFTI_UNROLL
    for (int32_t e = 0; e < NEAR_PER_QUERY * NEAR_PER_KEY; e++) {
        sums[e / NEAR_PER_KEY][e % NEAR_PER_KEY] = weights[NEAR_ROW(e)][NEAR_KEY(e)];
    }
}

/* Scores of all keys become weights but for the division, as SOFTMAX makes them. */
#define NEAR_SOFTMAX(row, sums)                                                        \
    float most = -INFINITY, total = 0.0f;                                              \
    WEFTI_UNROLL                                                                       \
    for (int32_t j = 0; j < NEAR_PER_KEY; j++) {                                       \
        if (tx + 16 * j < key_length) {                                                \
            most = ref_max(most, (sums)[j]);                                           \
        }                                                                              \
    }                                                                                  \
    WEFTI_FOLD(most, lanes, 16, ref_max);                                              \
    WEFTI_UNROLL                                                                       \
    for (int32_t j = 0; j < NEAR_PER_KEY; j++) {                                       \
        if (tx + 16 * j < key_length) {                                                \
            (sums)[j] = ref_exp((sums)[j] - most);                                     \
            total = total + (sums)[j];                                                 \
        }                                                                              \
    }                                                                                  \
    WEFTI_FOLD(total, lanes, 16, device_add);                                          \
    const float inverse = 1.0f / total

/* The row of shared memory where a piece of values goes. */
WEFTI_DEVICE int32_t near_place(int32_t piece)
{
    const int32_t place = piece % 3;
    return place == 2 ? NEAR_KEYS + NEAR_QUERIES - NEAR_PIECE : place * NEAR_PIECE;
}

WEFTI_KERNEL(NEAR_THREADS, weft_attention_near, wefti_cuda_attention_call)
{
    /* Keys and queries; then two pieces of values, the weights, and a third piece. */
    WEFTI_SHARED float keys[NEAR_KEYS + NEAR_QUERIES][NEAR_PITCH];
    float(*queries)[NEAR_PITCH] = &keys[NEAR_KEYS];
    WEFTI_FOLD_MEMORY(lanes, NEAR_ROWS)
    const wefti_attention_params *p = &call.p;
    const attention_head h = attention_place(&call, NEAR_QUERIES);
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    const int32_t key_length = (int32_t)p->key_length;
    float(*weights)[NEAR_WEIGHTS] = (float(*)[NEAR_WEIGHTS]) & keys[2 * NEAR_PIECE][0];

    near_fetch(queries, NEAR_QUERIES, h.q, p->q.row, (int32_t)h.rows,
               (int32_t)p->head_size);
    near_fetch(keys, NEAR_KEYS, h.k, p->k.row, key_length, (int32_t)p->head_size);
    WEFTI_FETCH_COMMIT();
    WEFTI_FETCH_WAIT(0);
    WEFTI_BARRIER();
    float sums[NEAR_PER_QUERY][NEAR_PER_KEY];
    WEFTI_UNROLL
    for (int32_t e = 0; e < NEAR_PER_QUERY * NEAR_PER_KEY; e++) {
        sums[e / NEAR_PER_KEY][e % NEAR_PER_KEY] = 0.0f;
    }
    near_scores(sums, queries, keys, (int32_t)p->head_size);
    WEFTI_BARRIER();
    WEFTI_UNROLL
    for (int32_t piece = 0; piece < 3; piece++) {
        near_fetch(&keys[near_place(piece)], NEAR_PIECE,
                   h.v + piece * NEAR_PIECE * p->v.row, p->v.row,
                   key_length - piece * NEAR_PIECE, (int32_t)p->value_size);
        WEFTI_FETCH_COMMIT();
    }
    near_mask(&call, &h, sums, weights);
    uint32_t sees = 0;
    WEFTI_UNROLL
    for (int32_t i = 0; i < NEAR_PER_QUERY; i++) {
        const int32_t row = ty + i * NEAR_ROWS;
        NEAR_SOFTMAX(row, sums[i]);
        sees |= most != -INFINITY || p->blind_is_nan ? 1u << i : 0u;
        WEFTI_UNROLL
        for (int32_t j = 0; j < NEAR_PER_KEY; j++) {
            weights[row][tx + 16 * j] = sums[i][j] * inverse;
        }
    }
    float outputs[NEAR_PER_QUERY][4];
    WEFTI_UNROLL
    for (int32_t e = 0; e < NEAR_PER_QUERY * 4; e++) {
        outputs[e / 4][e % 4] = 0.0f;
    }
    WEFTI_UNROLL
    for (int32_t piece = 0; piece < NEAR_PIECES; piece++) {
        if (piece == 0) {
            WEFTI_FETCH_WAIT(2);
        } else {
            WEFTI_FETCH_WAIT(1);
        }
        WEFTI_BARRIER();
        /* The first piece's place is free when all have gone on to the second. */
        if (piece > 0 && piece + 2 < NEAR_PIECES) {
            near_fetch(&keys[near_place(piece + 2)], NEAR_PIECE,
                       h.v + (piece + 2) * NEAR_PIECE * p->v.row, p->v.row,
                       key_length - (piece + 2) * NEAR_PIECE, (int32_t)p->value_size);
        }
        if (piece > 0) {
            WEFTI_FETCH_COMMIT();
        }
        const int32_t left = key_length - piece * NEAR_PIECE;
        near_outputs(outputs, weights, piece * NEAR_PIECE, &keys[near_place(piece)],
                     left < NEAR_PIECE ? left : NEAR_PIECE);
    }
    WEFTI_UNROLL
    for (int32_t i = 0; i < NEAR_PER_QUERY; i++) {
        const int32_t row = ty + i * NEAR_ROWS;
        float results[4];
        WEFTI_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            results[j] = (sees >> i & 1u) != 0 ? ref_canonical(outputs[i][j]) : 0.0f;
        }
        if (row < h.rows) {
            product_store(h.output + row * p->output.row + 4 * tx, results, 4,
                          p->value_size - 4 * tx, call.output_wide != 0);
        }
    }
}
