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
    /* None is more than the number of blocks, and a long division is much code. */
    const uint32_t tiles = (uint32_t)call->query_tiles, heads = (uint32_t)p->heads;
    const int64_t tile = blockIdx.x % tiles;
    const int64_t head = blockIdx.x / tiles % heads;
    const int64_t batch = blockIdx.x / tiles / heads;
    const int64_t kv_head = (uint32_t)head / (heads / (uint32_t)p->kv_heads);
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

/* Rows of few keys: the scores stay in shared memory. A block has 16 queries, a thread 2
 * x 4 of a tile's scores or outputs. */
#define SHORT_THREADS WEFTI_CUDA_SHORT_ATTENTION_THREADS
#define SHORT_QUERIES WEFTI_CUDA_SHORT_ATTENTION_QUERIES
#define SHORT_KEYS WEFTI_CUDA_SHORT_ATTENTION_KEYS
#define SHORT_TILE 64 /* keys of a tile, and elements of the head or columns */
#define SHORT_PITCH (SHORT_TILE + 4)
#define SHORT_SCORES (SHORT_KEYS + 4)

/* Fetches rows [0, rows) x columns [0, columns) of a tile, the rest as zeros. */
WEFTI_DEVICE void short_fetch(float (*tile)[SHORT_PITCH], int32_t tile_rows,
                              const float *from, int64_t row_stride, int64_t rows,
                              int64_t columns, bool wide)
{
    const int32_t each = wide ? 4 : 1;
    const int32_t across = SHORT_TILE / each;
    for (int32_t at = (int32_t)threadIdx.x; at < tile_rows * across;
         at += SHORT_THREADS) {
        const int32_t row = at / across, column = at % across * each;
        const bool there = row < rows && column < columns;
        const float *source = from + (there ? row * row_stride + column : 0);
        if (wide) {
            WEFTI_FETCH_16(&tile[row][column], source, there);
        } else {
            WEFTI_FETCH_4(&tile[row][column], source, there);
        }
    }
}

/* Four elements from shared memory, 16 bytes aligned. */
WEFTI_DEVICE void short_read(float four[4], const float *from)
{
    const device_float4 v = *(const device_float4 *)from;
    four[0] = v.x;
    four[1] = v.y;
    four[2] = v.z;
    four[3] = v.w;
}

/* The scores of one tile of keys: sums[i][j] is of query ty + 8 i and key tx + 16 j. */
WEFTI_DEVICE void short_scores(float sums[2][4], const float (*queries)[SHORT_PITCH],
                               const float (*keys)[SHORT_PITCH], int32_t depth)
{
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    int32_t d = 0;
    WEFTI_UNROLL_4
    for (; d + 4 <= depth; d += 4) {
        float q[2][4], k[4][4];
        WEFTI_UNROLL
        for (int32_t i = 0; i < 2; i++) {
            short_read(q[i], &queries[ty + 8 * i][d]);
        }
        WEFTI_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            short_read(k[j], &keys[tx + 16 * j][d]);
        }
        WEFTI_UNROLL
        for (int32_t e = 0; e < 32; e++) {
            const int32_t i = e / 4 % 2, j = e % 4, step = e / 8;
            sums[i][j] = fmaf(q[i][step], k[j][step], sums[i][j]);
        }
    }
    for (; d < depth; d++) {
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            sums[e / 4][e % 4] = fmaf(queries[ty + 8 * (e / 4)][d],
                                      keys[tx + 16 * (e % 4)][d], sums[e / 4][e % 4]);
        }
    }
}

/* The outputs from one tile of values: sums[i][j] is of query ty + 8 i and column 4 tx +
 * j. */
WEFTI_DEVICE void short_outputs(float sums[2][4], const float (*weights)[SHORT_SCORES],
                                int32_t key0, const float (*values)[SHORT_PITCH],
                                int32_t depth)
{
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    int32_t k = 0;
    WEFTI_UNROLL_4
    for (; k + 4 <= depth; k += 4) {
        float w[2][4], v[4][4];
        WEFTI_UNROLL
        for (int32_t i = 0; i < 2; i++) {
            short_read(w[i], &weights[ty + 8 * i][key0 + k]);
        }
        WEFTI_UNROLL
        for (int32_t step = 0; step < 4; step++) {
            short_read(v[step], &values[k + step][4 * tx]);
        }
        WEFTI_UNROLL
        for (int32_t e = 0; e < 32; e++) {
            const int32_t i = e / 4 % 2, j = e % 4, step = e / 8;
            sums[i][j] = fmaf(w[i][step], v[step][j], sums[i][j]);
        }
    }
    for (; k < depth; k++) {
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            sums[e / 4][e % 4] = fmaf(weights[ty + 8 * (e / 4)][key0 + k],
                                      values[k][4 * tx + e % 4], sums[e / 4][e % 4]);
        }
    }
}

WEFTI_KERNEL(SHORT_THREADS, weft_attention_short, wefti_cuda_attention_call)
{
    WEFTI_SHARED float scores[SHORT_QUERIES][SHORT_SCORES];
    WEFTI_SHARED float queries[SHORT_QUERIES][SHORT_PITCH];
    WEFTI_SHARED float tile[SHORT_TILE][SHORT_PITCH]; /* of keys, then of values */
    WEFTI_SHARED bool sees[SHORT_QUERIES];
    WEFTI_FOLD_MEMORY(lanes, SHORT_QUERIES)
    const wefti_attention_params *p = &call.p;
    const attention_head h = attention_place(&call, SHORT_QUERIES);
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    const int32_t key_length = (int32_t)p->key_length;

    for (int32_t key0 = 0; key0 < key_length; key0 += SHORT_TILE) {
        float sums[2][4] = {{0.0f}};
        for (int64_t d0 = 0; d0 < p->head_size; d0 += SHORT_TILE) {
            const int64_t depth = p->head_size - d0;
            WEFTI_BARRIER();
            short_fetch(queries, SHORT_QUERIES, h.q + d0, p->q.row, h.rows, depth,
                        call.wide);
            short_fetch(tile, SHORT_TILE, h.k + key0 * p->k.row + d0, p->k.row,
                        key_length - key0, depth, call.wide);
            WEFTI_FETCH_COMMIT();
            WEFTI_FETCH_WAIT(0);
            WEFTI_BARRIER();
            short_scores(sums, queries, tile,
                         (int32_t)(depth < SHORT_TILE ? depth : SHORT_TILE));
        }
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            const int32_t row = ty + 8 * (e / 4), key = key0 + tx + 16 * (e % 4);
            if (row < h.rows && key < key_length) {
                scores[row][key] = attention_score(p, &h, row, key, sums[e / 4][e % 4]);
            }
        }
    }
    WEFTI_BARRIER();
    /* The first values come while the weights are made. */
    short_fetch(tile, SHORT_TILE, h.v, p->v.row, key_length, p->value_size, call.wide);
    WEFTI_FETCH_COMMIT();

    /* Weights: as SOFTMAX. Eight threads have a row, each two of its 16 lanes. */
    const int32_t row = (int32_t)threadIdx.x / 8, lane = (int32_t)threadIdx.x % 8;
    const int32_t count = row < h.rows ? key_length : 0;
    float most[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    for (int32_t i = lane; i < count; i += 8) {
        const int32_t half = (i - lane) / 8 % 2;
        const float v = scores[row][i];
        most[0] = half == 0 ? ref_max(most[0], v) : most[0];
        most[1] = half == 1 ? ref_max(most[1], v) : most[1];
    }
    float largest = ref_max(most[0], most[1]);
    WEFTI_FOLD(largest, lanes, 8, ref_max);
    for (int32_t i = lane; i < count; i += 8) {
        const int32_t half = (i - lane) / 8 % 2;
        const float e = ref_exp(scores[row][i] - largest);
        scores[row][i] = e;
        total[0] = half == 0 ? total[0] + e : total[0];
        total[1] = half == 1 ? total[1] + e : total[1];
    }
    float sum = device_add(total[0], total[1]);
    WEFTI_FOLD(sum, lanes, 8, device_add);
    const float inverse = 1.0f / sum;
    for (int32_t i = lane; i < count; i += 8) {
        scores[row][i] = scores[row][i] * inverse;
    }
    if (lane == 0) {
        sees[row] = largest != -INFINITY || p->blind_is_nan;
    }

    for (int64_t column0 = 0; column0 < p->value_size; column0 += SHORT_TILE) {
        float sums[2][4] = {{0.0f}};
        for (int32_t key0 = 0; key0 < key_length; key0 += SHORT_TILE) {
            if (column0 > 0 || key0 > 0) {
                WEFTI_BARRIER();
                short_fetch(tile, SHORT_TILE, h.v + key0 * p->v.row + column0, p->v.row,
                            key_length - key0, p->value_size - column0, call.wide);
                WEFTI_FETCH_COMMIT();
            }
            WEFTI_FETCH_WAIT(0);
            WEFTI_BARRIER();
            short_outputs(sums, scores, key0, tile,
                          key_length - key0 < SHORT_TILE ? key_length - key0
                                                         : SHORT_TILE);
        }
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            const int32_t at = ty + 8 * (e / 4);
            const int64_t column = column0 + 4 * tx + e % 4;
            if (at < h.rows && column < p->value_size) {
                h.output[at * p->output.row + column] =
                    sees[at] ? ref_canonical(sums[e / 4][e % 4]) : 0.0f;
            }
        }
    }
}
