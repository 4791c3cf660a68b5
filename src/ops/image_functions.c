/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/window.h"

/* LRN, LpPool, CenterCropPad and AffineGrid. */

enum { CHANNELS = 1 };

static wefti_term real(wefti_body *body, double value)
{
    return wefti_body_scalar(body, WEFT_TYPE_F32, value);
}

/* x / (bias + alpha * the mean square of neighbouring channels, 0 beyond the ends) ^
 * beta. */
static void lrn_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 2, WEFT_MAX_RANK);
    int64_t size = wefti_attribute_int(body->node, "size", 0);
    if (wefti_body_failed(body) || size < 1 || size > 1 << 20) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL, "size is not from 1 to 2^20");
        return;
    }
    int64_t rest = wefti_count_dims(x.known.rank - 2, &x.known.dims[2]);
    const int64_t planes[] = {x.known.dims[0], 1, x.known.dims[CHANNELS], rest};
    const int64_t kernel[] = {size, 1}, pads[] = {(size - 1) / 2, 0, size / 2, 0};
    wefti_term square =
        wefti_body_reshape(body, wefti_body_2(body, "Mul", x, x), 4, planes);
    wefti_body_with_ints(body, "kernel_shape", 2, kernel);
    wefti_body_with_ints(body, "pads", 4, pads);
    wefti_body_with_int(body, "count_include_pad", 1);
    wefti_term mean = wefti_body_1(body, "AveragePool", square);
    mean = wefti_body_reshape(body, mean, x.known.rank, x.known.dims);
    double alpha = (double)wefti_attribute_float(body->node, "alpha", 0.0001F);
    double beta = (double)wefti_attribute_float(body->node, "beta", 0.75F);
    double bias = (double)wefti_attribute_float(body->node, "bias", 1.0F);
    wefti_term base = wefti_body_2(body, "Add", real(body, bias),
                                   wefti_body_2(body, "Mul", mean, real(body, alpha)));
    base = wefti_body_2(body, "Pow", base, real(body, beta));
    wefti_body_output(body, 0, wefti_body_2(body, "Div", x, base));
}

static void fill_ones(float *data, const void *user)
{
    for (int64_t i = 0; i < *(const int64_t *)user; i++) {
        data[i] = 1.0F;
    }
}

/* The sums of windows: a depthwise convolution with ones. */
static wefti_term sum_windows(wefti_body *body, wefti_term x)
{
    wefti_window window;
    if (wefti_body_failed(body)) {
        return x;
    }
    body->status = wefti_window_read(body->node, &x.known, NULL, &window, body->error);
    if (wefti_body_failed(body)) {
        return x;
    }
    int32_t rank = x.known.rank, first = 5 - rank;
    int64_t channels = x.known.dims[CHANNELS], count = channels;
    int64_t out[5] = {x.known.dims[0], channels}, weight[5] = {channels, 1};
    for (int32_t i = first; i < 3; i++) {
        out[i + 2 - first] = window.out[i];
        weight[i + 2 - first] = window.kernel[i];
    }
    for (int32_t i = 0; i < 3; i++) {
        count = window.kernel[i] > WEFTI_BODY_MOST_ELEMENTS ||
                        count > WEFTI_BODY_MOST_ELEMENTS
                    ? WEFTI_BODY_MOST_ELEMENTS + 1
                    : count * window.kernel[i];
    }
    wefti_term ones = wefti_body_table(body, rank, weight, fill_ones, &count);
    wefti_term sums = wefti_body_new(body, WEFT_TYPE_F32, rank, out);
    wefti_conv_params params = {.batch = x.known.dims[0],
                                .in_channels = channels,
                                .out_channels = channels,
                                .groups = channels};
    wefti_window_of_conv(&window, &params);
    const wefti_term none = {.view = wefti_view_absent()};
    const wefti_term operands[] = {wefti_body_dense(body, x), ones, none, none, sums};
    if (!wefti_body_failed(body) && wefti_known_element_count(&sums.known) > 0) {
        wefti_body_step(body, WEFTI_KERNEL_CONV, &params, sizeof(params), 5, operands);
    }
    return sums;
}

static void lp_pool_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 3, 5);
    int64_t p = wefti_attribute_int(body->node, "p", 2);
    if (p < 1 || p > 64) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL, "p is not from 1 to 64");
    }
    wefti_term size = wefti_body_1(body, "Abs", x);
    if (p > 1) {
        size = wefti_body_2(body, "Pow", size, real(body, (double)p));
    }
    wefti_term sums = sum_windows(body, size);
    if (p == 2) {
        sums = wefti_body_1(body, "Sqrt", sums);
    } else if (p > 2) {
        sums = wefti_body_2(body, "Pow", sums, real(body, 1.0 / (double)p));
    }
    wefti_body_output(body, 0, sums);
}

static void center_crop_pad_body(wefti_body *body)
{
    int64_t shape[WEFT_MAX_RANK], pads[2 * WEFT_MAX_RANK] = {0};
    size_t count = 0, axis_count = 0;
    wefti_term x = wefti_body_input(body, 0);
    wefti_body_check_types(body, 0, WEFTI_TYPES_ANY);
    if (!wefti_body_failed(body)) {
        body->status = wefti_check_integers(body->node, body->inputs, 1,
                                            (wefti_integer_room){shape, WEFT_MAX_RANK},
                                            &count, body->error);
    }
    const int64_t *axes = wefti_attribute_ints(body->node, "axes", &axis_count);
    int32_t rank = x.known.rank;
    if (!wefti_body_failed(body) && count != (axes ? axis_count : (size_t)rank)) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "the shape (input 1) has not one number for each axis");
    }
    bool pad = false;
    for (size_t i = 0; i < count && !wefti_body_failed(body); i++) {
        int32_t axis = 0;
        body->status = wefti_check_axis(body->node, axes ? axes[i] : (int64_t)i, rank,
                                        &axis, body->error);
        int64_t dim = x.known.dims[axis];
        if (shape[i] < 0) {
            wefti_body_refuse(body, WEFT_INVALID_ARGUMENT, "a dimension is negative");
        }
        if (wefti_body_failed(body)) {
            return;
        }
        if (shape[i] < dim) {
            int64_t begin = (dim - shape[i]) / 2;
            x = wefti_body_slice(body, x, axis, begin, begin + shape[i], 1);
        } else {
            pads[axis] = (shape[i] - dim) / 2;
            pads[rank + axis] = shape[i] - dim - pads[axis];
            pad = pad || shape[i] > dim;
        }
    }
    if (pad) {
        x = wefti_body_2(body, "Pad", x, wefti_body_list(body, 2 * (size_t)rank, pads));
    }
    wefti_body_output(body, 0, x);
}

/* The points of a grid: x, y (and z) and 1 for each place of `dims`. */
typedef struct grid_shape {
    int64_t dims[3];
    int32_t rank;
    bool align_corners;
} grid_shape;

static double place(const grid_shape *grid, int32_t axis, int64_t i)
{
    int64_t n = grid->dims[axis];
    if (grid->align_corners) {
        return n > 1 ? (double)(2 * i) / (double)(n - 1) - 1.0 : 0.0;
    }
    return (double)(2 * i + 1) / (double)n - 1.0;
}

static void fill_grid(float *data, const void *user)
{
    const grid_shape *grid = user;
    int64_t count = 1;
    for (int32_t i = 0; i < grid->rank; i++) {
        count *= grid->dims[i];
    }
    for (int64_t p = 0; p < count; p++) {
        int64_t rest = p;
        for (int32_t i = grid->rank - 1; i >= 0; i--) {
            *data++ = (float)place(grid, i, rest % grid->dims[i]);
            rest /= grid->dims[i];
        }
        *data++ = 1.0F;
    }
}

static void affine_grid_body(wefti_body *body)
{
    wefti_term theta = wefti_body_input(body, 0);
    int64_t size[5] = {0};
    size_t count = 0;
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 3, 3);
    if (!wefti_body_failed(body)) {
        body->status =
            wefti_check_integers(body->node, body->inputs, 1,
                                 (wefti_integer_room){size, 5}, &count, body->error);
    }
    int32_t rank = (int32_t)count - 2;
    const int64_t expected[] = {size[0], rank, rank + 1};
    if (rank != 2 && rank != 3) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "the size (input 1) has not 4 or 5 numbers");
    }
    wefti_body_check_shape(body, "theta (input 0)", &theta, 3, expected);
    grid_shape grid = {.rank = rank,
                       .align_corners =
                           wefti_attribute_int(body->node, "align_corners", 0) != 0};
    int64_t dims[5] = {size[0]}, points = 1;
    for (int32_t i = 0; i < rank && !wefti_body_failed(body); i++) {
        grid.dims[i] = size[i + 2];
        dims[i + 1] = size[i + 2];
        if (size[i + 2] < 0 || size[i + 2] > WEFTI_BODY_MOST_ELEMENTS ||
            points > WEFTI_BODY_MOST_ELEMENTS) {
            wefti_body_refuse(body, WEFT_UNSUPPORTED, "the grid is too large");
        }
        points *= size[i + 2];
    }
    if (wefti_body_failed(body)) {
        return;
    }
    static const int64_t transposed[] = {0, 2, 1};
    const int64_t base[] = {points, rank + 1};
    dims[rank + 1] = rank;
    wefti_term places =
        wefti_body_2(body, "MatMul", wefti_body_table(body, 2, base, fill_grid, &grid),
                     wefti_body_transpose(body, theta, transposed));
    wefti_body_output(body, 0, wefti_body_reshape(body, places, rank + 2, dims));
}

WEFTI_BODY_FAMILY(lrn)
WEFTI_BODY_FAMILY(lp_pool)
WEFTI_BODY_FAMILY(center_crop_pad)
WEFTI_BODY_FAMILY(affine_grid)
