/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/conv.h"

/* Shorter than memcpy takes to find out how long it is. */
static void copy_floats(float *to, const float *from, int64_t count)
{
    int64_t i = 0;
    for (; i + WEFTI_LANES <= count; i += WEFTI_LANES) {
        vf_store(to + i, vf_load(from + i));
    }
    if (i < count) {
        const int32_t rest = (int32_t)(count - i);
        vf_store_partial(to + i, vf_load_partial(from + i, rest), rest);
    }
}

/* One row of the copy: to[i] = from[first + i * stride], zero outside [0, width). */
static void copy_row(float *to, int64_t count, const float *from, int64_t width,
                     int64_t first, int64_t stride)
{
    /* The first i at or behind 0, and the first at or behind `width`. */
    int64_t begin = first < 0 ? (-first + stride - 1) / stride : 0;
    int64_t end = first < width ? (width - first + stride - 1) / stride : 0;
    end = end > count ? count : end;
    begin = begin > end ? end : begin;
    for (int64_t i = 0; i < begin; i++) {
        to[i] = 0.0f;
    }
    if (stride == 1 && end > begin) {
        copy_floats(to + begin, from + first + begin, end - begin);
    } else if (stride == 2) { /* a constant stride becomes shuffles */
        for (int64_t i = begin; i < end; i++) {
            to[i] = from[first + i * 2];
        }
    } else {
        for (int64_t i = begin; i < end; i++) {
            to[i] = from[first + i * stride];
        }
    }
    for (int64_t i = end; i < count; i++) {
        to[i] = 0.0f;
    }
}

/* The rows of one phase of one plane of the input; NULL: padding. */
static void copy_plane(const conv_plan *plan, const conv_tile *tile, const float *plane,
                       const int64_t phase[2], float *to)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t stride[2] = {p->strides[1] / plan->step[1],
                               p->strides[2] / plan->step[2]};
    for (int64_t row = 0; row < plan->copy_rows; row++) {
        const int64_t y =
            tile->row * p->strides[1] + row * stride[0] + phase[0] - p->pads_begin[1];
        const bool padding = plane == NULL || y < 0 || y >= p->in_dims[1];
        copy_row(to + row * plan->copy_columns, plan->copy_columns,
                 padding ? NULL : plane + y * p->in_dims[2],
                 padding ? 0 : p->in_dims[2],
                 tile->column * p->strides[2] + phase[1] - p->pads_begin[2], stride[1]);
    }
}

void conv_copy(const conv_plan *plan, const conv_tile *tile, const float *input,
               float *copy)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t plane_floats = p->in_dims[1] * p->in_dims[2];
    const int64_t first = tile->plane * p->strides[0] - p->pads_begin[0];
    for (int64_t i = 0; i < plan->group_channels * p->kernel_dims[0]; i++) {
        const int64_t channel = i / p->kernel_dims[0];
        const int64_t z = first + i % p->kernel_dims[0] * p->dilations[0];
        const bool padding = z < 0 || z >= p->in_dims[0];
        const float *plane =
            padding ? NULL : input + (channel * p->in_dims[0] + z) * plane_floats;
        for (int64_t j = 0; j < plan->phases_y * plan->phases_x; j++) {
            const int64_t phase[2] = {plan->phase_y[j / plan->phases_x],
                                      plan->phase_x[j % plan->phases_x]};
            copy_plane(plan, tile, plane, phase, copy);
            copy += plan->copy_rows * plan->copy_columns;
        }
    }
    memset(copy, 0, sizeof(float) * GEMM_COLUMNS);
}
