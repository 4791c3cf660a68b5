/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* MATMUL and CONV: what stands before and behind the sums, and the shapes of tiles. */

WEFTI_DEVICE_CALL float activate_slowly(wefti_activation activation, float alpha,
                                        float x)
{
    return finish_activate(activation, alpha, x);
}

/* The long functions once, not once for each output of a thread. */
WEFTI_DEVICE float product_activate(wefti_activation activation, float alpha, float x)
{
    if (activation == WEFTI_ACTIVATION_NONE) {
        return ref_canonical(x);
    }
    if (activation == WEFTI_ACTIVATION_RELU) {
        return ref_canonical(0.0f > x ? 0.0f : x);
    }
    return activate_slowly(activation, alpha, x);
}

/* 1, 2 or 4 elements of shared memory. */
WEFTI_DEVICE void product_read(float *into, const float *from, int32_t count)
{
    if (count == 4) {
        const device_float4 four = *(const device_float4 *)from;
        into[0] = four.x;
        into[1] = four.y;
        into[2] = four.z;
        into[3] = four.w;
        return;
    }
    WEFTI_UNROLL
    for (int32_t i = 0; i < count; i++) {
        into[i] = from[i];
    }
}

/* Stores up to four results side by side; `left` of them are inside. `wide`: the memory
 * has whole fours. */
WEFTI_DEVICE void product_store(float *to, const float *results, int32_t count,
                                int64_t left, bool wide)
{
    if (wide && count == 4) {
        if (left > 0) {
            const device_float4 four = {results[0], results[1], results[2], results[3]};
            *(device_float4 *)to = four;
        }
        return;
    }
    WEFTI_UNROLL
    for (int32_t i = 0; i < count; i++) {
        if (i < left) {
            to[i] = results[i];
        }
    }
}

/* The outputs of one row from column n on. */
WEFTI_DEVICE void matmul_finish(const wefti_cuda_matmul_call *call, int64_t c_at,
                                int64_t m, int64_t n, const float *sums, int32_t count)
{
    const wefti_matmul_params *p = &call->p;
    const float *bias = (const float *)call->operands[WEFTI_MATMUL_BIAS];
    const float *residual = (const float *)call->operands[WEFTI_MATMUL_RESIDUAL];
    const int64_t at = c_at + m * p->c_row_stride + n;
    if (m >= p->m) {
        return;
    }
    float results[4] = {0.0f}, first[4] = {0.0f}, then[4] = {0.0f};
    /* All that is read, before anything waits for it. */
    WEFTI_UNROLL
    for (int32_t j = 0; j < count; j++) {
        const bool inside = n + j < p->n;
        if (p->bias != WEFTI_BIAS_NONE && inside) {
            first[j] = WEFTI_READ(&bias[p->bias == WEFTI_BIAS_COLUMN ? n + j : m]);
        }
        if (residual != NULL && inside) {
            then[j] = residual[at + j];
        }
    }
    WEFTI_UNROLL
    for (int32_t j = 0; j < count; j++) {
        const bool inside = n + j < p->n;
        float sum = p->alpha != 1.0f ? sums[j] * p->alpha : sums[j];
        sum = p->bias != WEFTI_BIAS_NONE && inside ? sum + first[j] : sum;
        sum = residual != NULL && inside ? sum + then[j] : sum;
        results[j] = product_activate(p->activation, p->activation_alpha, sum);
    }
    product_store((float *)call->operands[WEFTI_MATMUL_C] + at, results, count,
                  p->n - n, call->c_wide);
}

/* Where a block's tile begins: its row and column, the operands there, and the matrix
 * of C, which is an offset. */
typedef struct matmul_place {
    int64_t m, n, c;
    const float *a, *b;
} matmul_place;

WEFTI_DEVICE matmul_place matmul_find(const wefti_cuda_matmul_call *call,
                                      int32_t tile_m, int32_t tile_n)
{
    const wefti_matmul_params *p = &call->p;
    const uint32_t n_tiles = (uint32_t)call->n_tiles, m_tiles = (uint32_t)call->m_tiles;
    const uint32_t row_tile = blockIdx.x / n_tiles;
    /* Most have no batch, and a division takes long before the first fetch. */
    const bool first = row_tile < m_tiles;
    int64_t rest = first ? 0 : (int64_t)(row_tile / m_tiles);
    matmul_place place;
    place.m = (int64_t)(first ? row_tile : row_tile % m_tiles) * tile_m;
    place.n = (int64_t)(blockIdx.x - row_tile * n_tiles) * tile_n;
    place.c = 0;
    int64_t a_at = place.m * p->a_row_stride, b_at = place.n;
    for (int32_t d = p->batch_rank - 1; d >= 0 && rest > 0; d--) {
        const int64_t i = rest % p->batch_dims[d];
        rest /= p->batch_dims[d];
        a_at += i * p->a_batch_strides[d];
        b_at += i * p->b_batch_strides[d];
        place.c += i * p->c_batch_strides[d];
    }
    place.a = (const float *)call->operands[WEFTI_MATMUL_A] + a_at;
    place.b = (const float *)call->operands[WEFTI_MATMUL_B] + b_at;
    return place;
}

/* Whether matmul_finish_plain is enough. */
WEFTI_DEVICE bool matmul_is_plain(const wefti_cuda_matmul_call *call)
{
    const wefti_matmul_params *p = &call->p;
    return p->alpha == 1.0f && p->bias != WEFTI_BIAS_ROW &&
           (p->activation == WEFTI_ACTIVATION_NONE ||
            p->activation == WEFTI_ACTIVATION_RELU) &&
           (call->operands[WEFTI_MATMUL_RESIDUAL] == NULL || call->residual_wide);
}

/* The bias of four columns, if there is one. */
WEFTI_DEVICE void matmul_bias(const wefti_cuda_matmul_call *call, int64_t n,
                              float bias[4])
{
    const float *from = (const float *)call->operands[WEFTI_MATMUL_BIAS];
    WEFTI_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        bias[j] = call->p.bias == WEFTI_BIAS_COLUMN ? WEFTI_READ(&from[n + j]) : 0.0f;
    }
}

/* Four elements of the residual at an offset from the first, if there is one. */
WEFTI_DEVICE void matmul_residual(const wefti_cuda_matmul_call *call, int64_t at,
                                  bool there, float four[4])
{
    const float *residual = (const float *)call->operands[WEFTI_MATMUL_RESIDUAL];
    device_float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
    if (residual != NULL && there) {
        v = *(const device_float4 *)&residual[at];
    }
    four[0] = v.x;
    four[1] = v.y;
    four[2] = v.z;
    four[3] = v.w;
}

/* Four outputs of a row, at an offset from the first, where nothing but a bias of the
 * columns, a residual and RELU is asked for: code that is executed once takes longer to
 * be read than to run. */
WEFTI_DEVICE void matmul_finish_plain(const wefti_cuda_matmul_call *call, int64_t at,
                                      const float *sums, const float *bias,
                                      const float *residual)
{
    const wefti_matmul_params *p = &call->p;
    const bool adds = call->operands[WEFTI_MATMUL_RESIDUAL] != NULL;
    float results[4];
    WEFTI_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        float sum = p->bias != WEFTI_BIAS_NONE ? sums[j] + bias[j] : sums[j];
        sum = adds ? sum + residual[j] : sum;
        sum = p->activation == WEFTI_ACTIVATION_RELU && 0.0f > sum ? 0.0f : sum;
        results[j] = ref_canonical(sum);
    }
    product_store((float *)call->operands[WEFTI_MATMUL_C] + at, results, 4, 4, true);
}

/* The input of one output position: where its window begins, and which positions of the
 * kernel are inside of the image, as bits when they are few. */
typedef struct conv_window {
    const wefti_conv_params *p;
    const wefti_cuda_position *positions;
    const float *input; /* what the taps' offsets are added to; may be outside */
    int32_t z, y, x;
    bool there;
    uint32_t inside;
} conv_window;

WEFTI_DEVICE bool conv_looks_inside(const conv_window *w, int32_t position)
{
    const wefti_cuda_position *at = &w->positions[position];
    const wefti_conv_params *p = w->p;
    const int32_t z = w->z + at->z, y = w->y + at->y, x = w->x + at->x;
    return w->there && z >= 0 && z < p->in_dims[0] && y >= 0 && y < p->in_dims[1] &&
           x >= 0 && x < p->in_dims[2];
}

WEFTI_DEVICE bool conv_is_inside(const conv_window *w, int32_t position)
{
    return position <= WEFTI_CUDA_CONV_KNOWN_POSITIONS
               ? (w->inside >> position & 1u) != 0
               : conv_looks_inside(w, position - 1);
}

WEFTI_DEVICE_CALL int64_t conv_image_slowly(int64_t n, uint32_t plane)
{
    return n / (int64_t)plane;
}

WEFTI_DEVICE int64_t conv_image(int64_t n, uint32_t plane)
{
    return n <= UINT32_MAX ? (int64_t)((uint32_t)n / plane)
                           : conv_image_slowly(n, plane);
}

/* Of output position n of all images. */
WEFTI_DEVICE conv_window conv_find(const wefti_cuda_conv_call *call, int64_t group,
                                   int64_t n)
{
    const wefti_conv_params *p = &call->p;
    const int64_t out_plane = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    const int64_t in_plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const float *input = (const float *)call->operands[WEFTI_CONV_INPUT];
    conv_window w = {p, NULL, input, 0, 0, 0, n < call->n, 0};
    w.positions =
        (const wefti_cuda_position *)((const wefti_cuda_tap *)
                                          call->operands[WEFTI_CUDA_CONV_TAPS] +
                                      call->tap_count);
    if (!w.there) {
        return w;
    }
    const int64_t image = conv_image(n, (uint32_t)out_plane);
    uint32_t at = (uint32_t)(n - image * out_plane);
    const uint32_t width = (uint32_t)p->out_dims[2], height = (uint32_t)p->out_dims[1];
    w.x = (int32_t)(at % width * p->strides[2] - p->pads_begin[2]);
    at /= width;
    w.y = (int32_t)(at % height * p->strides[1] - p->pads_begin[1]);
    w.z = (int32_t)(at / height * p->strides[0] - p->pads_begin[0]);
    w.input =
        input +
        (image * p->in_channels + group * (p->in_channels / p->groups)) * in_plane +
        (w.z * (int32_t)p->in_dims[1] + w.y) * (int32_t)p->in_dims[2] + w.x;
    for (int32_t i = 0; i < call->positions && i < WEFTI_CUDA_CONV_KNOWN_POSITIONS;
         i++) {
        w.inside |= conv_looks_inside(&w, i) ? 1u << i : 0u;
    }
    return w;
}

/* Where output position n of all images is. */
WEFTI_DEVICE int64_t conv_output(const wefti_conv_params *p, int64_t channel, int64_t n)
{
    const uint32_t plane = (uint32_t)(p->out_dims[0] * p->out_dims[1] * p->out_dims[2]);
    const int64_t image = conv_image(n, plane);
    return (image * p->out_channels + channel) * plane + (n - image * plane);
}

WEFTI_DEVICE_CALL void conv_finish_one(const wefti_cuda_conv_call *call,
                                       int64_t channel, int64_t n, float sum)
{
    const wefti_conv_params *p = &call->p;
    const float *bias = (const float *)call->operands[WEFTI_CONV_BIAS];
    const float *residual = (const float *)call->operands[WEFTI_CONV_RESIDUAL];
    if (n < call->n) {
        const int64_t at = conv_output(p, channel, n);
        sum = bias != NULL ? sum + WEFTI_READ(&bias[channel]) : sum;
        sum = residual != NULL ? sum + residual[at] : sum;
        ((float *)call->operands[WEFTI_CONV_OUTPUT])[at] =
            product_activate(p->activation, p->activation_alpha, sum);
    }
}

/* The outputs of one channel from position n on. Where planes are whole fours, so are
 * the outputs together. */
WEFTI_DEVICE void conv_finish(const wefti_cuda_conv_call *call, int64_t channel,
                              int64_t n, const float *sums, int32_t count)
{
    const wefti_conv_params *p = &call->p;
    const float *bias = (const float *)call->operands[WEFTI_CONV_BIAS];
    const float *residual = (const float *)call->operands[WEFTI_CONV_RESIDUAL];
    float results[4] = {0.0f}, then[4] = {0.0f};
    if (!call->c_wide) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < count; j++) {
            conv_finish_one(call, channel, n + j, sums[j]);
        }
        return;
    }
    if (n >= call->n) {
        return;
    }
    const int64_t at = conv_output(p, channel, n);
    const float more = bias != NULL ? WEFTI_READ(&bias[channel]) : 0.0f;
    WEFTI_UNROLL
    for (int32_t j = 0; j < count; j++) {
        then[j] = residual != NULL ? residual[at + j] : 0.0f;
    }
    WEFTI_UNROLL
    for (int32_t j = 0; j < count; j++) {
        float sum = bias != NULL ? sums[j] + more : sums[j];
        sum = residual != NULL ? sum + then[j] : sum;
        results[j] = product_activate(p->activation, p->activation_alpha, sum);
    }
    product_store((float *)call->operands[WEFTI_CONV_OUTPUT] + at, results, count,
                  call->n - n, true);
}

/* Named by outputs of a block; the host's table (launch_product.c) says the same. */
#define TILE_NAME(kernel) weft_##kernel##_128x128
#define TILE_M 128
#define TILE_N 128
#define TILE_K 8
#define PER_M 8
#define PER_N 8
#define TILE_STAGES 4
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_64x64
#define TILE_M 64
#define TILE_N 64
#define TILE_K 16
#define PER_M 8
#define PER_N 4
#define TILE_STAGES 4
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_32x64
#define TILE_M 32
#define TILE_N 64
#define TILE_K 32
#define PER_M 4
#define PER_N 4
#define TILE_STAGES 3
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_32x32
#define TILE_M 32
#define TILE_N 32
#define TILE_K 32
#define PER_M 2
#define PER_N 4
#define TILE_STAGES 3
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_16x32
#define TILE_M 16
#define TILE_N 32
#define TILE_K 64
#define PER_M 1
#define PER_N 4
#define TILE_STAGES 3
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_8x32
#define TILE_M 8
#define TILE_N 32
#define TILE_K 64
#define PER_M 1
#define PER_N 2
#define TILE_STAGES 3
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_8x8
#define TILE_M 8
#define TILE_N 8
#define TILE_K 64
#define PER_M 1
#define PER_N 1
#define TILE_STAGES 6
#include "backend/cuda/kernels/tile.cu"

#define WIDE_NAME weft_wide_64x64
#define WIDE_M 64
#define WIDE_N 64
#define WIDE_K 32
#define WIDE_PER_M 8
#define WIDE_PER_N 4
#define WIDE_LANES_N 8
#define WIDE_STAGES 2
#include "backend/cuda/kernels/wide.cu"

#define WIDE_NAME weft_wide_32x64
#define WIDE_M 32
#define WIDE_N 64
#define WIDE_K 32
#define WIDE_PER_M 8
#define WIDE_PER_N 4
#define WIDE_LANES_N 8
#define WIDE_STAGES 3
#include "backend/cuda/kernels/wide.cu"

#define WIDE_NAME weft_wide_32x32
#define WIDE_M 32
#define WIDE_N 32
#define WIDE_K 32
#define WIDE_PER_M 4
#define WIDE_PER_N 4
#define WIDE_LANES_N 8
#define WIDE_STAGES 3
#include "backend/cuda/kernels/wide.cu"

#define WIDE_NAME weft_wide_16x32
#define WIDE_M 16
#define WIDE_N 32
#define WIDE_K 32
#define WIDE_PER_M 2
#define WIDE_PER_N 4
#define WIDE_LANES_N 8
#define WIDE_STAGES 4
#include "backend/cuda/kernels/wide.cu"
