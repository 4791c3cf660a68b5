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

WEFTI_DEVICE void matmul_finish(const wefti_cuda_matmul_call *call, int64_t c_at,
                                int64_t m, int64_t n, float sum)
{
    const wefti_matmul_params *p = &call->p;
    const float *bias = (const float *)call->operands[WEFTI_MATMUL_BIAS];
    const float *residual = (const float *)call->operands[WEFTI_MATMUL_RESIDUAL];
    float *c = (float *)call->operands[WEFTI_MATMUL_C];
    const int64_t at = c_at + m * p->c_row_stride + n;
    sum = p->alpha != 1.0f ? sum * p->alpha : sum;
    if (p->bias != WEFTI_BIAS_NONE) {
        sum = sum + bias[p->bias == WEFTI_BIAS_COLUMN ? n : m];
    }
    sum = residual != NULL ? sum + residual[at] : sum;
    c[at] = product_activate(p->activation, p->activation_alpha, sum);
}

/* The input planes of output position n of all images, and where its window begins. */
WEFTI_DEVICE const float *conv_window(const wefti_cuda_conv_call *call, int64_t group,
                                      int64_t n, wefti_cuda_tap *first)
{
    const wefti_conv_params *p = &call->p;
    const int64_t out_plane = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    const int64_t in_plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const int64_t image = n / out_plane;
    uint32_t at = (uint32_t)(n % out_plane);
    const uint32_t width = (uint32_t)p->out_dims[2], height = (uint32_t)p->out_dims[1];
    first->x = (int32_t)(at % width * p->strides[2] - p->pads_begin[2]);
    at /= width;
    first->y = (int32_t)(at % height * p->strides[1] - p->pads_begin[1]);
    first->z = (int32_t)(at / height * p->strides[0] - p->pads_begin[0]);
    first->offset = (first->z * (int32_t)p->in_dims[1] + first->y) *
                        (int32_t)p->in_dims[2] +
                    first->x;
    return (const float *)call->operands[WEFTI_CONV_INPUT] +
           (image * p->in_channels + group * (p->in_channels / p->groups)) * in_plane;
}

/* The input under one tap of a window; +0 in the padding. */
WEFTI_DEVICE float conv_input(const wefti_conv_params *p, const float *input,
                              const wefti_cuda_tap *first, const wefti_cuda_tap *tap)
{
    const int32_t z = first->z + tap->z, y = first->y + tap->y, x = first->x + tap->x;
    const bool inside = z >= 0 && z < p->in_dims[0] && y >= 0 && y < p->in_dims[1] &&
                        x >= 0 && x < p->in_dims[2];
    return inside ? input[first->offset + tap->offset] : 0.0f;
}

WEFTI_DEVICE void conv_finish(const wefti_cuda_conv_call *call, int64_t channel,
                              int64_t n, float sum)
{
    const wefti_conv_params *p = &call->p;
    const float *bias = (const float *)call->operands[WEFTI_CONV_BIAS];
    const float *residual = (const float *)call->operands[WEFTI_CONV_RESIDUAL];
    float *output = (float *)call->operands[WEFTI_CONV_OUTPUT];
    const int64_t plane = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    const int64_t at =
        (n / plane * p->out_channels + channel) * plane + n % plane;
    sum = bias != NULL ? sum + bias[channel] : sum;
    sum = residual != NULL ? sum + residual[at] : sum;
    output[at] = product_activate(p->activation, p->activation_alpha, sum);
}

/* Named by outputs of a block; the host's table (launch_product.c) says the same. */
#define TILE_NAME(kernel) weft_##kernel##_128x128
#define TILE_M 128
#define TILE_N 128
#define TILE_K 16
#define PER_M 8
#define PER_N 8
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_64x64
#define TILE_M 64
#define TILE_N 64
#define TILE_K 32
#define PER_M 4
#define PER_N 4
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_32x32
#define TILE_M 32
#define TILE_N 32
#define TILE_K 64
#define PER_M 2
#define PER_N 4
#include "backend/cuda/kernels/tile.cu"

#define TILE_NAME(kernel) weft_##kernel##_8x32
#define TILE_M 8
#define TILE_N 32
#define TILE_K 64
#define PER_M 1
#define PER_N 2
#include "backend/cuda/kernels/tile.cu"
