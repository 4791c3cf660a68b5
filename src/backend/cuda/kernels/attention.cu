/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* ATTENTION: a block has 16 queries of one head. Their scores go to memory of the
 * block's own (behind the workspace, so in the cache), are made weights there, row by
 * row in 16 lanes, and multiply the values. Each score and each output is one chain. */

#define ATTENTION_THREADS 256
#define ATTENTION_KEYS 64  /* of a tile of scores */
#define ATTENTION_DEPTH 32 /* of a step along the chain */
#define ATTENTION_VALUES 64

typedef struct attention_head {
    const float *q, *k, *v;
    const char *mask;
    float *output, *scores;
    int64_t query, rows; /* the first query and how many */
} attention_head;

WEFTI_DEVICE attention_head attention_place(const wefti_cuda_attention_call *call,
                                             int32_t queries)
{
    const wefti_attention_params *p = &call->p;
    const int64_t tile = (int64_t)blockIdx.x % call->query_tiles;
    const int64_t head = (int64_t)blockIdx.x / call->query_tiles % p->heads;
    const int64_t batch = (int64_t)blockIdx.x / call->query_tiles / p->heads;
    const int64_t kv_head = head / (p->heads / p->kv_heads);
    attention_head h;
    h.query = tile * queries;
    h.rows = p->query_length - h.query;
    h.rows = h.rows > queries ? queries : h.rows;
    h.q = (const float *)call->operands[WEFTI_ATTENTION_Q] + batch * p->q.batch +
          head * p->q.head + h.query * p->q.row;
    h.k = (const float *)call->operands[WEFTI_ATTENTION_K] + batch * p->k.batch +
          kv_head * p->k.head;
    h.v = (const float *)call->operands[WEFTI_ATTENTION_V] + batch * p->v.batch +
          kv_head * p->v.head;
    h.output = (float *)call->operands[WEFTI_ATTENTION_OUTPUT] +
               batch * p->output.batch + head * p->output.head +
               h.query * p->output.row;
    h.scores = (float *)call->operands[WEFTI_CUDA_ATTENTION_SCORES] +
               ((batch * p->heads + head) * p->query_length + h.query) * p->key_length;
    h.mask = (const char *)call->operands[WEFTI_ATTENTION_MASK];
    if (h.mask != NULL) {
        h.mask += (batch * p->mask_strides[0] + head * p->mask_strides[1] +
                   h.query * p->mask_strides[2]) *
                  (p->mask_type == WEFT_TYPE_F32 ? 4 : 1);
    }
    return h;
}

/* What the chain over the head gives becomes a score. */
WEFTI_DEVICE float attention_score(const wefti_attention_params *p,
                                   const attention_head *h, int64_t row, int64_t key,
                                   float sum)
{
    sum = sum * p->scale;
    const int64_t at = row * p->mask_strides[2] + key * p->mask_strides[3];
    if (h->mask != NULL && p->mask_type == WEFT_TYPE_F32) {
        sum = sum + ((const float *)h->mask)[at];
    } else if (h->mask != NULL && !((const uint8_t *)h->mask)[at]) {
        sum = -INFINITY;
    }
    const bool hidden =
        p->causal && key > h->query + row + p->key_length - p->query_length;
    return hidden ? -INFINITY : sum;
}

WEFTI_KERNEL(ATTENTION_THREADS, weft_attention, wefti_cuda_attention_call)
{
    WEFTI_SHARED float queries[WEFTI_CUDA_ATTENTION_QUERIES][ATTENTION_DEPTH + 1];
    WEFTI_SHARED float keys[ATTENTION_KEYS][ATTENTION_DEPTH + 1];
    WEFTI_SHARED float values[ATTENTION_DEPTH][ATTENTION_VALUES];
    WEFTI_SHARED float lanes[WEFTI_CUDA_ATTENTION_QUERIES][16];
    WEFTI_SHARED bool sees[WEFTI_CUDA_ATTENTION_QUERIES];
    const wefti_attention_params *p = &call.p;
    const attention_head h = attention_place(&call, WEFTI_CUDA_ATTENTION_QUERIES);
    const int32_t thread = (int32_t)threadIdx.x;

    /* Scores: a thread has one query and every 16th of the tile's 64 keys. */
    const int32_t row = thread / 16, lane = thread % 16;
    for (int64_t key0 = 0; key0 < p->key_length; key0 += ATTENTION_KEYS) {
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int64_t d0 = 0; d0 < p->head_size; d0 += ATTENTION_DEPTH) {
            const int32_t depth = (int32_t)(p->head_size - d0 < ATTENTION_DEPTH
                                                ? p->head_size - d0
                                                : ATTENTION_DEPTH);
            WEFTI_BARRIER();
            for (int32_t e = thread; e < WEFTI_CUDA_ATTENTION_QUERIES * ATTENTION_DEPTH;
                 e += ATTENTION_THREADS) {
                const int32_t r = e / ATTENTION_DEPTH, d = e % ATTENTION_DEPTH;
                queries[r][d] =
                    r < h.rows && d < depth ? h.q[r * p->q.row + d0 + d] : 0.0f;
            }
            for (int32_t e = thread; e < ATTENTION_KEYS * ATTENTION_DEPTH;
                 e += ATTENTION_THREADS) {
                const int32_t j = e / ATTENTION_DEPTH, d = e % ATTENTION_DEPTH;
                keys[j][d] = key0 + j < p->key_length && d < depth
                                 ? h.k[(key0 + j) * p->k.row + d0 + d]
                                 : 0.0f;
            }
            WEFTI_BARRIER();
            for (int32_t d = 0; d < depth; d++) {
                const float q = queries[row][d];
                WEFTI_UNROLL
                for (int32_t j = 0; j < 4; j++) {
                    sum[j] = fmaf(q, keys[lane + 16 * j][d], sum[j]);
                }
            }
        }
        WEFTI_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            const int64_t key = key0 + lane + 16 * j;
            if (row < h.rows && key < p->key_length) {
                h.scores[row * p->key_length + key] =
                    attention_score(p, &h, row, key, sum[j]);
            }
        }
    }
    WEFTI_BARRIER();

    /* Weights: as SOFTMAX. */
    float *scores = h.scores + row * p->key_length;
    const int64_t count = row < h.rows ? p->key_length : 0;
    float most = -INFINITY;
    for (int64_t i = lane; i < count; i += 16) {
        most = ref_max(most, scores[i]);
    }
    lanes[row][lane] = most;
    WEFTI_FOLD_LANES(lanes, row, lane, ref_max);
    const float largest = lanes[row][0];
    WEFTI_BARRIER();
    float total = 0.0f;
    for (int64_t i = lane; i < count; i += 16) {
        const float e = ref_exp(scores[i] - largest);
        scores[i] = e;
        total = total + e;
    }
    lanes[row][lane] = total;
    WEFTI_FOLD_LANES(lanes, row, lane, device_add);
    const float inverse = 1.0f / lanes[row][0];
    for (int64_t i = lane; i < count; i += 16) {
        scores[i] = scores[i] * inverse;
    }
    if (lane == 0) {
        sees[row] = largest != -INFINITY || p->blind_is_nan;
    }
    WEFTI_BARRIER();

    /* Outputs: a thread has one query and every 16th of 64 columns. */
    for (int64_t column0 = 0; column0 < p->value_size; column0 += ATTENTION_VALUES) {
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int64_t key0 = 0; key0 < p->key_length; key0 += ATTENTION_DEPTH) {
            const int32_t depth = (int32_t)(p->key_length - key0 < ATTENTION_DEPTH
                                                ? p->key_length - key0
                                                : ATTENTION_DEPTH);
            WEFTI_BARRIER();
            for (int32_t e = thread; e < ATTENTION_DEPTH * ATTENTION_VALUES;
                 e += ATTENTION_THREADS) {
                const int32_t j = e / ATTENTION_VALUES, c = e % ATTENTION_VALUES;
                values[j][c] = j < depth && column0 + c < p->value_size
                                   ? h.v[(key0 + j) * p->v.row + column0 + c]
                                   : 0.0f;
            }
            for (int32_t e = thread; e < WEFTI_CUDA_ATTENTION_QUERIES * ATTENTION_DEPTH;
                 e += ATTENTION_THREADS) {
                const int32_t r = e / ATTENTION_DEPTH, j = e % ATTENTION_DEPTH;
                queries[r][j] = r < h.rows && j < depth
                                    ? h.scores[r * p->key_length + key0 + j]
                                    : 0.0f;
            }
            WEFTI_BARRIER();
            for (int32_t j = 0; j < depth && sees[row]; j++) {
                const float weight = queries[row][j];
                WEFTI_UNROLL
                for (int32_t c = 0; c < 4; c++) {
                    sum[c] = fmaf(weight, values[j][lane + 16 * c], sum[c]);
                }
            }
        }
        WEFTI_UNROLL
        for (int32_t c = 0; c < 4; c++) {
            const int64_t column = column0 + lane + 16 * c;
            if (row < h.rows && column < p->value_size) {
                h.output[row * p->output.row + column] = ref_canonical(sum[c]);
            }
        }
    }
}

/* Rows of few keys: the scores stay in shared memory, [key][query], and a thread has 4 x
 * 4 of a tile's scores or outputs, read 16 bytes at a time. A block has 32 queries. */
#define SHORT_THREADS 128
#define SHORT_QUERIES WEFTI_CUDA_SHORT_ATTENTION_QUERIES
#define SHORT_KEYS WEFTI_CUDA_SHORT_ATTENTION_KEYS

WEFTI_KERNEL(SHORT_THREADS, weft_attention_short, wefti_cuda_attention_call)
{
    WEFTI_SHARED float scores[SHORT_KEYS][SHORT_QUERIES + 4];
    WEFTI_SHARED float queries[ATTENTION_DEPTH][SHORT_QUERIES + 4];
    WEFTI_SHARED float keys[ATTENTION_DEPTH][ATTENTION_KEYS + 4];
    WEFTI_SHARED float lanes[16][SHORT_QUERIES];
    WEFTI_SHARED bool sees[SHORT_QUERIES];
    const wefti_attention_params *p = &call.p;
    const attention_head h = attention_place(&call, SHORT_QUERIES);
    const int32_t thread = (int32_t)threadIdx.x;
    const int32_t tx = thread % 16 * 4, ty = thread / 16 * 4;
    const int32_t key_length = (int32_t)p->key_length;

    for (int32_t key0 = 0; key0 < key_length; key0 += ATTENTION_KEYS) {
        float sum[4][4] = {{0.0f}};
        for (int64_t d0 = 0; d0 < p->head_size; d0 += ATTENTION_DEPTH) {
            const int32_t depth = (int32_t)(p->head_size - d0 < ATTENTION_DEPTH
                                                ? p->head_size - d0
                                                : ATTENTION_DEPTH);
            WEFTI_BARRIER();
            WEFTI_UNROLL
            for (int32_t i = 0; i < SHORT_QUERIES * ATTENTION_DEPTH / SHORT_THREADS;
                 i++) {
                const int32_t e = thread + i * SHORT_THREADS;
                const int32_t r = e / ATTENTION_DEPTH, d = e % ATTENTION_DEPTH;
                queries[d][r] =
                    r < h.rows && d < depth ? h.q[r * p->q.row + d0 + d] : 0.0f;
            }
            WEFTI_UNROLL
            for (int32_t i = 0; i < ATTENTION_KEYS * ATTENTION_DEPTH / SHORT_THREADS;
                 i++) {
                const int32_t e = thread + i * SHORT_THREADS;
                const int32_t j = e / ATTENTION_DEPTH, d = e % ATTENTION_DEPTH;
                keys[d][j] = key0 + j < key_length && d < depth
                                 ? h.k[(key0 + j) * p->k.row + d0 + d]
                                 : 0.0f;
            }
            WEFTI_BARRIER();
            for (int32_t d = 0; d < depth; d++) {
                WEFTI_UNROLL
                for (int32_t i = 0; i < 4; i++) {
                    WEFTI_UNROLL
                    for (int32_t j = 0; j < 4; j++) {
                        sum[i][j] =
                            fmaf(queries[d][ty + i], keys[d][tx + j], sum[i][j]);
                    }
                }
            }
        }
        WEFTI_UNROLL
        for (int32_t i = 0; i < 4; i++) {
            WEFTI_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                const int32_t key = key0 + tx + j;
                if (ty + i < h.rows && key < key_length) {
                    scores[key][ty + i] =
                        attention_score(p, &h, ty + i, key, sum[i][j]);
                }
            }
        }
    }
    WEFTI_BARRIER();

    /* Weights: a thread has one query and four of its 16 lanes. */
    const int32_t row = thread % SHORT_QUERIES, lane0 = thread / SHORT_QUERIES;
    const int32_t count = row < h.rows ? key_length : 0;
    for (int32_t lane = lane0; lane < 16; lane += 4) {
        float most = -INFINITY;
        for (int32_t i = lane; i < count; i += 16) {
            most = ref_max(most, scores[i][row]);
        }
        lanes[lane][row] = most;
    }
    WEFTI_FOLD_COLUMNS(lanes, lane0, row, ref_max);
    const float largest = lanes[0][row];
    WEFTI_BARRIER();
    for (int32_t lane = lane0; lane < 16; lane += 4) {
        float total = 0.0f;
        for (int32_t i = lane; i < count; i += 16) {
            const float e = ref_exp(scores[i][row] - largest);
            scores[i][row] = e;
            total = total + e;
        }
        lanes[lane][row] = total;
    }
    WEFTI_FOLD_COLUMNS(lanes, lane0, row, device_add);
    const float inverse = 1.0f / lanes[0][row];
    for (int32_t lane = lane0; lane < 16; lane += 4) {
        for (int32_t i = lane; i < count; i += 16) {
            scores[i][row] = scores[i][row] * inverse;
        }
    }
    if (lane0 == 0) {
        sees[row] = largest != -INFINITY || p->blind_is_nan;
    }
    WEFTI_BARRIER();

    /* Outputs; the keys' memory holds values, [key][column]. */
    for (int64_t column0 = 0; column0 < p->value_size; column0 += ATTENTION_KEYS) {
        float sum[4][4] = {{0.0f}};
        for (int32_t key0 = 0; key0 < key_length; key0 += ATTENTION_DEPTH) {
            const int32_t depth = key_length - key0 < ATTENTION_DEPTH
                                      ? key_length - key0
                                      : ATTENTION_DEPTH;
            WEFTI_BARRIER();
            WEFTI_UNROLL
            for (int32_t i = 0; i < ATTENTION_KEYS * ATTENTION_DEPTH / SHORT_THREADS;
                 i++) {
                const int32_t e = thread + i * SHORT_THREADS;
                const int32_t j = e / ATTENTION_KEYS, c = e % ATTENTION_KEYS;
                keys[j][c] = j < depth && column0 + c < p->value_size
                                 ? h.v[(key0 + j) * p->v.row + column0 + c]
                                 : 0.0f;
            }
            WEFTI_BARRIER();
            for (int32_t j = 0; j < depth; j++) {
                WEFTI_UNROLL
                for (int32_t i = 0; i < 4; i++) {
                    WEFTI_UNROLL
                    for (int32_t c = 0; c < 4; c++) {
                        sum[i][c] = fmaf(scores[key0 + j][ty + i], keys[j][tx + c],
                                         sum[i][c]);
                    }
                }
            }
        }
        WEFTI_UNROLL
        for (int32_t i = 0; i < 4; i++) {
            WEFTI_UNROLL
            for (int32_t c = 0; c < 4; c++) {
                const int64_t column = column0 + tx + c;
                if (ty + i < h.rows && column < p->value_size) {
                    h.output[(ty + i) * p->output.row + column] =
                        sees[ty + i] ? ref_canonical(sum[i][c]) : 0.0f;
                }
            }
        }
    }
}
