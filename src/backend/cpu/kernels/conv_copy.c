/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/conv.h"
#include "backend/cpu/kernels/even_lanes.h"

/* The floats at `from`, of which `left` (maybe none) are inside; zeros behind them. */
WEFTI_INLINE vf load_inside(const float *from, int64_t left)
{
    if (left >= WEFTI_LANES) {
        return vf_load(from);
    }
    return left > 0 ? vf_load_partial(from, (int32_t)left) : vf_zero();
}

/* One row of the copy: to[i] = from[first + i * stride], zero outside [0, width).
 * Whole vectors are written: what lies behind the row is written later. */
static void copy_row(float *to, int64_t count, const float *from, int64_t width,
                     int64_t first, int64_t stride)
{
    /* The first i at or behind 0. */
    int64_t begin = first < 0 ? (-first + stride - 1) / stride : 0;
    begin = width == 0 || begin > count ? count : begin;
    for (int64_t i = 0; i < begin; i += WEFTI_LANES) {
        vf_store(to + i, vf_zero());
    }
    if (stride > 2) {
        for (int64_t i = begin; i < count; i++) {
            const int64_t at = first + i * stride;
            to[i] = at < width ? from[at] : 0.0f;
        }
        return;
    }
    for (int64_t i = begin; i < count; i += WEFTI_LANES) {
        const int64_t at = first + i * stride, left = width - at;
        const float *inside = left > 0 ? from + at : from;
        vf value = load_inside(inside, left);
        if (stride == 2) {
            const bool both = left > WEFTI_LANES;
            const float *next = both ? inside + WEFTI_LANES : inside;
            value = vf_even(value, load_inside(next, both ? left - WEFTI_LANES : 0));
        }
        vf_store(to + i, value);
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
