/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/window.h"

/* GridSample, DeformConv and RoiAlign: values between pixels. */

/* Adds the step; the points are [batch, ..., rank]. */
static wefti_term add_sample(wefti_body *body, wefti_sample_params *params,
                             const wefti_term *x, const wefti_term *points,
                             const wefti_known *shape)
{
    wefti_term result = wefti_body_new(body, WEFT_TYPE_F32, shape->rank, shape->dims);
    params->rank = x->known.rank - 2;
    params->batch = x->known.dims[0];
    params->channels = x->known.dims[1];
    for (int32_t i = 0; i < 3; i++) {
        int32_t from = i - (3 - params->rank);
        params->in_dims[i] = from >= 0 ? x->known.dims[2 + from] : 1;
    }
    const wefti_term operands[] = {wefti_body_dense(body, *x),
                                   wefti_body_dense(body, *points), result};
    if (!wefti_body_failed(body) && wefti_known_element_count(&result.known) > 0) {
        wefti_body_step(body, WEFTI_KERNEL_SAMPLE, params, sizeof(*params), 3,
                        operands);
    }
    return result;
}

static void refuse_empty(wefti_body *body, const wefti_known *x)
{
    for (int32_t i = 2; i < x->rank; i++) {
        if (!wefti_body_failed(body) && x->dims[i] == 0) {
            wefti_body_refuse(body, WEFT_INVALID_ARGUMENT, "the images have no pixels");
        }
    }
}

static bool is_one_of(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static void read_modes(wefti_body *body, wefti_sample_params *params)
{
    const char *mode = wefti_attribute_string(body->node, "mode", "linear");
    const char *padding = wefti_attribute_string(body->node, "padding_mode", "zeros");
    bool linear = is_one_of(mode, "linear", "bilinear");
    bool cubic = is_one_of(mode, "cubic", "bicubic");
    bool border = strcmp(padding, "border") == 0;
    bool reflection = strcmp(padding, "reflection") == 0;
    if ((!linear && !cubic && strcmp(mode, "nearest") != 0) ||
        (!border && !reflection && strcmp(padding, "zeros") != 0)) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "mode is not one of nearest, linear and cubic, or "
                          "padding_mode not one of zeros, border and reflection");
    }
    params->mode = linear  ? WEFTI_SAMPLE_LINEAR
                   : cubic ? WEFTI_SAMPLE_CUBIC
                           : WEFTI_SAMPLE_NEAREST;
    params->padding = border       ? WEFTI_SAMPLE_BORDER
                      : reflection ? WEFTI_SAMPLE_REFLECTION
                                   : WEFTI_SAMPLE_ZEROS;
    params->align_corners = wefti_attribute_int(body->node, "align_corners", 0) != 0;
}

static void grid_sample_body(wefti_body *body)
{
    wefti_sample_params params = {.pixels = false};
    wefti_term x = wefti_body_input(body, 0), grid = wefti_body_input(body, 1);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_types(body, 1, WEFTI_TYPES_FLOAT); /* exporters count in f64 */
    wefti_body_check_rank(body, 0, 3, 5);
    wefti_body_check_rank(body, 1, x.known.rank, x.known.rank);
    read_modes(body, &params);
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_known expected = grid.known;
    expected.dims[0] = x.known.dims[0];
    expected.dims[expected.rank - 1] = x.known.rank - 2;
    wefti_body_check_shape(body, "the grid (input 1)", &grid, expected.rank,
                           expected.dims);
    refuse_empty(body, &x.known);
    wefti_known shape = x.known;
    for (int32_t i = 2; i < shape.rank; i++) {
        shape.dims[i] = grid.known.dims[i - 1];
    }
    params.point_count = wefti_count_dims(shape.rank - 2, &shape.dims[2]);
    grid = wefti_body_cast(body, WEFT_TYPE_F32, grid);
    wefti_body_output(body, 0, add_sample(body, &params, &x, &grid, &shape));
}

/* Where a kernel's positions lie in a padded image, before they are moved. */
static void fill_positions(float *data, const void *user)
{
    const wefti_window *w = user;
    int64_t taps = w->kernel[1] * w->kernel[2], places = w->out[1] * w->out[2];
    for (int64_t i = 0; i < taps * places; i++) {
        int64_t tap = i / places, place = i % places;
        data[2 * i] = (float)(place / w->out[2] * w->strides[1] - w->pads_begin[1] +
                              tap / w->kernel[2] * w->dilations[1]);
        data[2 * i + 1] = (float)(place % w->out[2] * w->strides[2] - w->pads_begin[2] +
                                  tap % w->kernel[2] * w->dilations[2]);
    }
}

enum { X, W, OFFSET, B, MASK };

typedef struct deformed {
    wefti_window window;
    int64_t batch, channels, groups, offset_groups, taps, places;
} deformed;

static bool read_deformed(wefti_body *body, deformed *d)
{
    wefti_term x = wefti_body_input(body, X), w = wefti_body_input(body, W);
    wefti_term offset = wefti_body_input(body, OFFSET);
    wefti_term mask = wefti_body_input(body, MASK), bias = wefti_body_input(body, B);
    for (size_t i = 0; i <= OFFSET; i++) {
        wefti_body_check_types(body, i, WEFTI_TYPES_F32);
        wefti_body_check_rank(body, i, 4, 4);
    }
    refuse_empty(body, &x.known);
    if (wefti_body_failed(body)) {
        return false;
    }
    body->status = wefti_window_read(body->node, &x.known, &w.known.dims[2], &d->window,
                                     body->error);
    if (wefti_body_failed(body)) {
        return false;
    }
    d->batch = x.known.dims[0];
    d->channels = x.known.dims[1];
    d->groups = wefti_attribute_int(body->node, "group", 1);
    d->offset_groups = wefti_attribute_int(body->node, "offset_group", 1);
    d->taps = d->window.kernel[1] * d->window.kernel[2];
    d->places = d->window.out[1] * d->window.out[2];
    if (d->groups < 1 || d->offset_groups < 1 || d->channels % d->groups != 0 ||
        d->channels % d->offset_groups != 0 || w.known.dims[0] % d->groups != 0 ||
        w.known.dims[1] != d->channels / d->groups || d->taps > 1 << 16 ||
        d->places > 1 << 24 || d->offset_groups > 1 << 16) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "channels, groups and offset groups do not fit");
        return false;
    }
    const int64_t dims[] = {d->batch, d->offset_groups * d->taps * 2, d->window.out[1],
                            d->window.out[2]};
    wefti_body_check_shape(body, "the offset (input 2)", &offset, 4, dims);
    if (wefti_body_has(&mask)) {
        const int64_t mask_dims[] = {dims[0], dims[1] / 2, dims[2], dims[3]};
        wefti_body_check_types(body, MASK, WEFTI_TYPES_F32);
        wefti_body_check_shape(body, "the mask (input 4)", &mask, 4, mask_dims);
    }
    if (wefti_body_has(&bias)) {
        wefti_body_check_types(body, B, WEFTI_TYPES_F32);
        wefti_body_check_shape(body, "the bias (input 3)", &bias, 1, w.known.dims);
    }
    return !wefti_body_failed(body);
}

/* What each kernel position sees: [batch, channels, taps, places]. */
static wefti_term sample_columns(wefti_body *body, const deformed *d)
{
    static const int64_t order[] = {0, 1, 2, 4, 3};
    wefti_term x = wefti_body_input(body, X), mask = wefti_body_input(body, MASK);
    const int64_t parts[] = {d->batch, d->offset_groups, d->taps, 2, d->places};
    const int64_t base[] = {d->taps, d->places, 2};
    wefti_term points = wefti_body_transpose(
        body, wefti_body_reshape(body, wefti_body_input(body, OFFSET), 5, parts),
        order);
    points = wefti_body_2(body, "Add", points,
                          wefti_body_table(body, 3, base, fill_positions, &d->window));
    const int64_t images[] = {d->batch * d->offset_groups,
                              d->channels / d->offset_groups, x.known.dims[2],
                              x.known.dims[3]};
    x = wefti_body_reshape(body, x, 4, images);
    wefti_sample_params params = {.pixels = true,
                                  .mode = WEFTI_SAMPLE_LINEAR,
                                  .padding = WEFTI_SAMPLE_ZEROS,
                                  .align_corners = true,
                                  .point_count = d->taps * d->places};
    wefti_known shape = {.rank = 3,
                         .dims = {images[0], images[1], d->taps * d->places}};
    wefti_term columns = add_sample(body, &params, &x, &points, &shape);
    if (wefti_body_has(&mask)) {
        const int64_t weights[] = {images[0], 1, d->taps * d->places};
        columns = wefti_body_2(body, "Mul", columns,
                               wefti_body_reshape(body, mask, 3, weights));
    }
    return columns;
}

static void deform_conv_body(wefti_body *body)
{
    deformed d;
    wefti_term w = wefti_body_input(body, W), bias = wefti_body_input(body, B);
    if (!read_deformed(body, &d)) {
        return;
    }
    int64_t inner = d.channels / d.groups * d.taps, outputs = w.known.dims[0];
    const int64_t columns[] = {d.batch, d.groups, inner, d.places};
    const int64_t weights[] = {d.groups, outputs / d.groups, inner};
    const int64_t dims[] = {d.batch, outputs, d.window.out[1], d.window.out[2]};
    wefti_term sums =
        wefti_body_2(body, "MatMul", wefti_body_reshape(body, w, 3, weights),
                     wefti_body_reshape(body, sample_columns(body, &d), 4, columns));
    sums = wefti_body_reshape(body, sums, 4, dims);
    if (wefti_body_has(&bias)) {
        const int64_t by_channel[] = {outputs, 1, 1};
        sums = wefti_body_2(body, "Add", sums,
                            wefti_body_reshape(body, bias, 3, by_channel));
    }
    wefti_body_output(body, 0, sums);
}

static bool read_regions(wefti_body *body, wefti_roi_align_params *p)
{
    const wefti_node_view *node = body->node;
    const char *mode = wefti_attribute_string(node, "mode", "avg");
    const char *otherwise = node->opset < 16 ? "output_half_pixel" : "half_pixel";
    const char *places =
        wefti_attribute_string(node, "coordinate_transformation_mode", otherwise);
    p->largest = strcmp(mode, "max") == 0;
    p->half_pixel = strcmp(places, "half_pixel") == 0;
    p->out_height = wefti_attribute_int(node, "output_height", 1);
    p->out_width = wefti_attribute_int(node, "output_width", 1);
    p->sampling_ratio = wefti_attribute_int(node, "sampling_ratio", 0);
    p->spatial_scale = wefti_attribute_float(node, "spatial_scale", 1.0F);
    bool known = (p->largest || strcmp(mode, "avg") == 0) &&
                 (p->half_pixel || strcmp(places, "output_half_pixel") == 0);
    if (!known || p->out_height < 1 || p->out_height > 1 << 20 || p->out_width < 1 ||
        p->out_width > 1 << 20 || p->sampling_ratio < 0 || p->sampling_ratio > 4096) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "a mode, the size of the output or the sampling ratio is not "
                          "one that is known");
    }
    return !wefti_body_failed(body);
}

static void roi_align_body(wefti_body *body)
{
    wefti_roi_align_params params = {0};
    wefti_term x = wefti_body_input(body, 0), regions = wefti_body_input(body, 1);
    wefti_term images = wefti_body_input(body, 2);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_types(body, 1, WEFTI_TYPES_F32);
    wefti_body_check_types(body, 2, WEFTI_TYPES_INDEX);
    wefti_body_check_rank(body, 0, 4, 4);
    wefti_body_check_rank(body, 2, 1, 1);
    const int64_t expected[] = {images.known.dims[0], 4};
    wefti_body_check_shape(body, "the regions (input 1)", &regions, 2, expected);
    refuse_empty(body, &x.known);
    if (wefti_body_failed(body) || !read_regions(body, &params)) {
        return;
    }
    params.index_type = images.known.type;
    params.batch = x.known.dims[0];
    params.channels = x.known.dims[1];
    params.height = x.known.dims[2];
    params.width = x.known.dims[3];
    params.region_count = expected[0];
    const int64_t dims[] = {expected[0], params.channels, params.out_height,
                            params.out_width};
    wefti_term result = wefti_body_new(body, WEFT_TYPE_F32, 4, dims);
    const wefti_term operands[] = {wefti_body_dense(body, x),
                                   wefti_body_dense(body, regions),
                                   wefti_body_dense(body, images), result};
    if (!wefti_body_failed(body) && wefti_known_element_count(&result.known) > 0) {
        wefti_body_step(body, WEFTI_KERNEL_ROI_ALIGN, &params, sizeof(params), 4,
                        operands);
    }
    wefti_body_output(body, 0, result);
}

WEFTI_BODY_FAMILY(grid_sample)
WEFTI_BODY_FAMILY(deform_conv)
WEFTI_BODY_FAMILY(roi_align)
