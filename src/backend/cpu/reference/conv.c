/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/reference/finish.h"
#include "backend/cpu/reference/reference.h"

/* One tile is one plane of the output: one image and channel. */

/* The input at a position that may lie in the padding. */
static float input_at(const wefti_conv_params *p, const float *plane,
                      const int64_t position[3])
{
    for (int32_t d = 0; d < 3; d++) {
        if (position[d] < 0 || position[d] >= p->in_dims[d]) {
            return 0.0f;
        }
    }
    return plane[(position[0] * p->in_dims[1] + position[1]) * p->in_dims[2] +
                 position[2]];
}

static float element(const wefti_conv_params *p, const float *input,
                     const float *weight, const int64_t out[3])
{
    const int64_t plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const int64_t *kernel = p->kernel_dims;
    const int64_t taps = kernel[0] * kernel[1] * kernel[2];
    float sum = 0.0f;
    for (int64_t k = 0; k < p->in_channels / p->groups * taps; k++) {
        const int64_t tap = k % taps;
        const int64_t at[3] = {tap / kernel[2] / kernel[1], tap / kernel[2] % kernel[1],
                               tap % kernel[2]};
        int64_t position[3];
        for (int32_t d = 0; d < 3; d++) {
            position[d] =
                out[d] * p->strides[d] + at[d] * p->dilations[d] - p->pads_begin[d];
        }
        sum = fmaf(weight[k], input_at(p, input + k / taps * plane, position), sum);
    }
    return sum;
}

static weft_status conv_planes(const wefti_cpu_call *call, void *scratch, int64_t begin,
                               int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_conv_params *p = call->params;
    const float *input = call->operands[WEFTI_CONV_INPUT];
    const float *weight = call->operands[WEFTI_CONV_WEIGHT];
    const float *bias = call->operands[WEFTI_CONV_BIAS];
    const float *residual = call->operands[WEFTI_CONV_RESIDUAL];
    const int64_t channels = p->in_channels / p->groups;
    const int64_t in_plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const int64_t out_plane = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    const int64_t taps = p->kernel_dims[0] * p->kernel_dims[1] * p->kernel_dims[2];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t image = tile / p->out_channels, channel = tile % p->out_channels;
        const int64_t group = channel / (p->out_channels / p->groups);
        const float *x = input + (image * p->in_channels + group * channels) * in_plane;
        float *y = (float *)call->operands[WEFTI_CONV_OUTPUT] + tile * out_plane;
        for (int64_t i = 0; i < out_plane; i++) {
            const int64_t out[3] = {i / p->out_dims[2] / p->out_dims[1],
                                    i / p->out_dims[2] % p->out_dims[1],
                                    i % p->out_dims[2]};
            float sum = element(p, x, weight + channel * channels * taps, out);
            sum = bias != NULL ? sum + bias[channel] : sum;
            sum = residual != NULL ? sum + residual[tile * out_plane + i] : sum;
            y[i] = finish_activate(p->activation, p->activation_alpha, sum);
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_conv_reference(const wefti_step *step, bool may_pack,
                                         wefti_cpu_prepared *prepared,
                                         weft_error *error)
{
    (void)may_pack;
    (void)error;
    const wefti_conv_params *p = step->params;
    prepared->function = conv_planes;
    prepared->tile_count = p->batch * p->out_channels;
    prepared->work_ns = (double)prepared->tile_count * (double)p->out_dims[0] *
                        (double)(p->out_dims[1] * p->out_dims[2]) *
                        (double)(p->in_channels / p->groups * p->kernel_dims[0] *
                                 p->kernel_dims[1] * p->kernel_dims[2]) *
                        5.0;
    (void)snprintf(prepared->description, sizeof(prepared->description), "plain");
    return WEFT_OK;
}
