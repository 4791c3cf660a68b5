/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/resize.h"

#include <math.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Resize: axis after axis, each output place a weighted sum of gathered input places.
 * Only kernels that are there: GATHER with constant indices and ELEMENTWISE. */
enum { RESIZE_X, RESIZE_ROI, RESIZE_SCALES, RESIZE_SIZES };
enum { TYPES_BYTE = WEFTI_TYPE_SET(WEFT_TYPE_U8) | WEFTI_TYPE_SET(WEFT_TYPE_I8) };

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static weft_status read_words(const wefti_node_view *node, wefti_resize_plan *plan,
                              weft_error *error)
{
    static const char *const coordinates[] = {
        "half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
        "align_corners", "asymmetric",           "tf_crop_and_resize"};
    static const char *const roundings[] = {
        "old", /* ours, see nearest() */ "round_prefer_floor", "round_prefer_ceil",
        "floor", "ceil"};
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    const char *mode = wefti_attribute_string(node, "mode", "nearest");
    bool old = node->opset < 11;
    plan->coordinates = old ? "asymmetric"
                            : wefti_attribute_string(
                                  node, "coordinate_transformation_mode", "half_pixel");
    plan->rounding =
        old ? "old"
            : wefti_attribute_string(node, "nearest_mode", "round_prefer_floor");
    const char *wrong = NULL;
    if (!is_one_of(plan->coordinates, coordinates, WEFTI_COUNT_OF(coordinates))) {
        wrong = plan->coordinates;
    } else if (!is_one_of(plan->rounding, roundings, WEFTI_COUNT_OF(roundings))) {
        wrong = plan->rounding;
    } else if (!is_one_of(mode, modes, WEFTI_COUNT_OF(modes))) {
        wrong = mode;
    }
    if (wrong != NULL) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the way \"%s\" of resizing is not supported",
                           node->label, wrong);
    }
    plan->mode = strcmp(mode, "nearest") == 0  ? WEFTI_RESIZE_NEAREST
                 : strcmp(mode, "linear") == 0 ? WEFTI_RESIZE_LINEAR
                                               : WEFTI_RESIZE_CUBIC;
    plan->cubic_a = (double)wefti_attribute_float(node, "cubic_coeff_a", -0.75F);
    plan->antialias = wefti_attribute_int(node, "antialias", 0) != 0;
    plan->exclude_outside = wefti_attribute_int(node, "exclude_outside", 0) != 0;
    return WEFT_OK;
}

/* The constant floats of an input. */
static weft_status read_floats(const wefti_node_view *node, const wefti_known *inputs,
                               size_t index, size_t count, double *values,
                               weft_error *error)
{
    const wefti_known *known = &inputs[index];
    WEFTI_TRY(wefti_check_type(node, inputs, index, WEFTI_TYPES_FLOAT, error));
    if (!known->constant) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: input %zu decides a shape, so it must be a constant or "
                           "follow from shapes",
                           node->label, index);
    }
    if (known->rank != 1 || known->dims[0] != (int64_t)count) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: input %zu must have %zu numbers, one for each axis",
                           node->label, index, count);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = known->type == WEFT_TYPE_F32
                        ? (double)((const float *)known->constant)[i]
                        : ((const double *)known->constant)[i];
    }
    return WEFT_OK;
}

/* Which axes the numbers are for, in their order. */
static weft_status read_axes(const wefti_node_view *node, int32_t rank, int32_t *axes,
                             size_t *count, weft_error *error)
{
    bool seen[WEFT_MAX_RANK];
    const int64_t *given = wefti_attribute_ints(node, "axes", count);
    if (!given) {
        *count = (size_t)rank;
    }
    WEFTI_TRY(wefti_check_axes(node, given, given ? *count : 0, rank, seen, error));
    for (size_t i = 0; i < *count; i++) {
        int64_t axis = given ? given[i] : (int64_t)i;
        axes[i] = (int32_t)(axis < 0 ? axis + rank : axis);
    }
    return WEFT_OK;
}

static weft_status read_scales(const wefti_node_view *node, const wefti_known *inputs,
                               const int32_t *axes, size_t count,
                               wefti_resize_plan *plan, weft_error *error)
{
    double scales[WEFT_MAX_RANK];
    WEFTI_TRY(read_floats(node, inputs, RESIZE_SCALES, count, scales, error));
    for (size_t i = 0; i < count; i++) {
        wefti_resize_axis *axis = &plan->axes[axes[i]];
        double size = floor((double)axis->in * scales[i]);
        if (!(scales[i] > 0) || !(size < 0x1p53)) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: the scale of axis %d is %g; expected a positive "
                               "number",
                               node->label, (int)axes[i], scales[i]);
        }
        axis->scale = scales[i];
        axis->out = (int64_t)size;
    }
    return WEFT_OK;
}

/* One scale for all axes, so that no size is larger (or smaller) than asked for. */
static void keep_ratio(const char *policy, const int32_t *axes, size_t count,
                       wefti_resize_plan *plan)
{
    bool larger = strcmp(policy, "not_smaller") == 0;
    double scale = 0;
    for (size_t i = 0; i < count; i++) {
        double own = plan->axes[axes[i]].scale;
        scale = i == 0 || (larger ? own > scale : own < scale) ? own : scale;
    }
    for (size_t i = 0; i < count; i++) {
        wefti_resize_axis *axis = &plan->axes[axes[i]];
        axis->scale = scale;
        double size = floor(scale * (double)axis->in + 0.5);
        axis->out = size < INT32_MAX ? (int64_t)size : INT32_MAX;
    }
}

static weft_status read_sizes(const wefti_node_view *node, const wefti_known *inputs,
                              const int32_t *axes, size_t count,
                              wefti_resize_plan *plan, weft_error *error)
{
    int64_t sizes[WEFT_MAX_RANK];
    size_t given = 0;
    wefti_integer_room room = {sizes, WEFT_MAX_RANK};
    WEFTI_TRY(wefti_check_integers(node, inputs, RESIZE_SIZES, room, &given, error));
    if (given != count) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: sizes has %zu numbers for %zu axes", node->label, given,
                           count);
    }
    for (size_t i = 0; i < count; i++) {
        wefti_resize_axis *axis = &plan->axes[axes[i]];
        if (sizes[i] < 0 || sizes[i] > INT32_MAX || (axis->in == 0 && sizes[i] > 0)) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: axis %d of size %lld cannot be resized to %lld",
                               node->label, (int)axes[i], (long long)axis->in,
                               (long long)sizes[i]);
        }
        axis->out = sizes[i];
        axis->scale = axis->in == 0 ? 1 : (double)sizes[i] / (double)axis->in;
    }
    const char *policy =
        wefti_attribute_string(node, "keep_aspect_ratio_policy", "stretch");
    if (strcmp(policy, "stretch") != 0) {
        keep_ratio(policy, axes, count, plan);
    }
    return WEFT_OK;
}

/* Parts of a size beyond which no place is counted any more. */
static const double ROI_LIMIT = 0x1p20;

static weft_status read_roi(const wefti_node_view *node, const wefti_known *inputs,
                            const int32_t *axes, size_t count, wefti_resize_plan *plan,
                            weft_error *error)
{
    double roi[2 * WEFT_MAX_RANK];
    if (strcmp(plan->coordinates, "tf_crop_and_resize") != 0) {
        return WEFT_OK;
    }
    if (!wefti_known_present(node, inputs, RESIZE_ROI)) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: tf_crop_and_resize needs the input roi", node->label);
    }
    WEFTI_TRY(read_floats(node, inputs, RESIZE_ROI, 2 * count, roi, error));
    for (size_t i = 0; i < 2 * count; i++) {
        if (!(fabs(roi[i]) < ROI_LIMIT)) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: roi %g is no part of a tensor's size", node->label,
                               roi[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        plan->axes[axes[i]].roi_begin = roi[i];
        plan->axes[axes[i]].roi_end = roi[count + i];
    }
    return WEFT_OK;
}

static bool has_elements(const wefti_node_view *node, const wefti_known *inputs,
                         size_t index)
{
    return wefti_known_present(node, inputs, index) &&
           wefti_known_element_count(&inputs[index]) > 0;
}

weft_status wefti_resize_read(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_resize_plan *plan, weft_error *error)
{
    int32_t axes[WEFT_MAX_RANK], rank = inputs[0].rank;
    size_t count = 0;
    WEFTI_TRY(read_words(node, plan, error));
    WEFTI_TRY(read_axes(node, rank, axes, &count, error));
    for (int32_t i = 0; i < rank; i++) {
        int64_t dim = inputs[0].dims[i];
        plan->axes[i] =
            (wefti_resize_axis){.scale = 1, .in = dim, .out = dim, .roi_end = 1};
    }
    bool sizes = has_elements(node, inputs, RESIZE_SIZES);
    if (sizes == has_elements(node, inputs, RESIZE_SCALES)) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: needs either scales or sizes", node->label);
    }
    WEFTI_TRY(sizes ? read_sizes(node, inputs, axes, count, plan, error)
                    : read_scales(node, inputs, axes, count, plan, error));
    WEFTI_TRY(read_roi(node, inputs, axes, count, plan, error));
    for (int32_t i = 0; i < rank; i++) {
        wefti_resize_axis *axis = &plan->axes[i];
        axis->same = axis->out == axis->in && axis->scale == 1 &&
                     axis->roi_begin == 0 && axis->roi_end == 1;
        int64_t taps = wefti_resize_tap_count(plan, i);
        if (!axis->same && (taps < 1 || taps > WEFTI_RESIZE_MOST_TAPS ||
                            axis->out > WEFTI_RESIZE_MOST_PLACES / taps)) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: axis %d of %lld cannot be resized to %lld; that is "
                               "too far",
                               node->label, (int)i, (long long)axis->in,
                               (long long)axis->out);
        }
    }
    return WEFT_OK;
}

/* Whether answers are made of several elements, or of a value of the node's own. */
static bool computes(const wefti_resize_plan *plan)
{
    return plan->mode != WEFTI_RESIZE_NEAREST ||
           strcmp(plan->coordinates, "tf_crop_and_resize") == 0;
}

weft_status wefti_infer_resize(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    wefti_resize_plan plan;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_resize_read(node, inputs, &plan, error));
    if (computes(&plan)) {
        WEFTI_TRY(
            wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32 | TYPES_BYTE, error));
    }
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < inputs[0].rank; i++) {
        dims[i] = plan.axes[i].out;
    }
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

/* Where the numbers of one tap lie: along one axis. */
typedef struct along {
    int32_t rank, axis;
    int64_t count;
} along;

static weft_status lay_along(wefti_lowering *lowering, along a, weft_type type,
                             const void *data, wefti_view *view)
{
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < a.rank; i++) {
        dims[i] = i == a.axis ? a.count : 1;
    }
    return wefti_lower_constant(lowering, type, a.rank, dims, data, view);
}

/* `source`, dense, with `axis` replaced by the places that the tap reads. */
static weft_status gather_tap(wefti_lowering *lowering, const wefti_view *source,
                              int32_t axis, const int64_t *indices,
                              const wefti_view *target)
{
    wefti_view places;
    int64_t count = target->dims[axis];
    WEFTI_TRY(
        lay_along(lowering, (along){1, 0, count}, WEFT_TYPE_I64, indices, &places));
    wefti_gather_params params = {.index_type = WEFT_TYPE_I64,
                                  .outer_count = 1,
                                  .axis_size = source->dims[axis],
                                  .index_count = count,
                                  .inner_bytes = (int64_t)weft_type_size(source->type)};
    for (int32_t i = 0; i < source->rank; i++) {
        params.outer_count *= i < axis ? source->dims[i] : 1;
        params.inner_bytes *= i > axis ? source->dims[i] : 1;
    }
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_GATHER, &params, sizeof(params));
    step.operands[WEFTI_GATHER_DATA] = *source;
    step.operands[WEFTI_GATHER_INDICES] = places;
    step.operands[WEFTI_GATHER_OUTPUT] = *target;
    return wefti_lower_end(lowering, &step);
}

/* target = sum over taps of weight * gathered, in the order of the taps. */
static weft_status sum_taps(wefti_lowering *lowering, const wefti_view *source,
                            int32_t axis, const wefti_resize_taps *taps,
                            wefti_view *target)
{
    static const wefti_instruction first = {.operation = WEFTI_OP_MUL, .b = 1};
    static const wefti_instruction more = {.operation = WEFTI_OP_FMA, .b = 1, .c = 2};
    int64_t out = target->dims[axis];
    wefti_view sum = wefti_view_absent();
    for (int64_t t = 0; t < taps->count; t++) {
        wefti_view gathered, weight, next = *target;
        WEFTI_TRY(wefti_lower_temporary(lowering, source->type, source->rank,
                                        target->dims, &gathered));
        WEFTI_TRY(
            gather_tap(lowering, source, axis, taps->indices + t * out, &gathered));
        WEFTI_TRY(lay_along(lowering, (along){source->rank, axis, out}, WEFT_TYPE_F32,
                            taps->weights + t * out, &weight));
        if (t + 1 < taps->count) {
            WEFTI_TRY(wefti_lower_temporary(lowering, source->type, source->rank,
                                            target->dims, &next));
        }
        const wefti_view operands[] = {gathered, weight, sum};
        WEFTI_TRY(wefti_lower_elementwise(lowering, operands, t == 0 ? 2 : 3,
                                          t == 0 ? &first : &more, 1, &next));
        sum = next;
    }
    return WEFT_OK;
}

/* The extrapolation value where an output place lies outside the input. */
static weft_status put_outside(wefti_lowering *lowering, int32_t axis,
                               const uint8_t *outside, wefti_view *view,
                               const wefti_view *target)
{
    static const wefti_instruction choose = {
        .operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
    float value = wefti_attribute_float(lowering->node, "extrapolation_value", 0);
    wefti_view mask, constant;
    WEFTI_TRY(lay_along(lowering, (along){view->rank, axis, view->dims[axis]},
                        WEFT_TYPE_BOOL, outside, &mask));
    WEFTI_TRY(lay_along(lowering, (along){0, 0, 0}, WEFT_TYPE_F32, &value, &constant));
    const wefti_view choices[] = {mask, constant, *view};
    return wefti_lower_elementwise(lowering, choices, 3, &choose, 1, target);
}

static weft_status lower_axis(wefti_lowering *lowering, const wefti_resize_plan *plan,
                              int32_t axis, wefti_view *view, const wefti_view *target)
{
    wefti_resize_taps taps;
    wefti_view source = *view, result = *target;
    WEFTI_TRY(wefti_lower_dense(lowering, &source));
    weft_status status = wefti_resize_find_taps(plan, axis, &taps, lowering->error);
    if (status == WEFT_OK && taps.outside != NULL) {
        status = wefti_lower_temporary(lowering, source.type, source.rank, target->dims,
                                       &result);
    }
    if (status == WEFT_OK) {
        status = plan->mode == WEFTI_RESIZE_NEAREST
                     ? gather_tap(lowering, &source, axis, taps.indices, &result)
                     : sum_taps(lowering, &source, axis, &taps, &result);
    }
    if (status == WEFT_OK && taps.outside != NULL) {
        status = put_outside(lowering, axis, taps.outside, &result, target);
    }
    wefti_resize_taps_free(&taps);
    *view = *target;
    return status;
}

/* Axis after axis up to `last`, from `view` to `output`. */
static weft_status lower_axes(wefti_lowering *lowering, const wefti_resize_plan *plan,
                              int32_t last, wefti_view view, const wefti_view *output)
{
    for (int32_t i = 0; i <= last; i++) {
        if (plan->axes[i].same) {
            continue;
        }
        wefti_view target = *output;
        if (i < last) {
            int64_t dims[WEFT_MAX_RANK];
            memcpy(dims, view.dims, sizeof(dims));
            dims[i] = plan->axes[i].out;
            WEFTI_TRY(
                wefti_lower_temporary(lowering, view.type, view.rank, dims, &target));
        }
        WEFTI_TRY(lower_axis(lowering, plan, i, &view, &target));
    }
    return WEFT_OK;
}

/* Bytes are interpolated in f32, and the answer is rounded once, at the end, as ONNX's
 * reference has it: half to even, and no further than the type goes. */
static weft_status lower_bytes(wefti_lowering *lowering, const wefti_resize_plan *plan,
                               int32_t last, const wefti_view *output)
{
    const wefti_view *source = &lowering->inputs[0];
    bool is_signed = source->type == WEFT_TYPE_I8;
    const wefti_instruction saturate[] = {{.operation = WEFTI_OP_ROUND},
                                          {.operation = WEFTI_OP_CLIP,
                                           .a = WEFTI_ELEMENTWISE_MAX_INPUTS,
                                           .alpha = is_signed ? -128.0F : 0.0F,
                                           .beta = is_signed ? 127.0F : 255.0F}};
    wefti_view real, answer, whole;
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, source->rank, source->dims,
                                    &real));
    WEFTI_TRY(wefti_lower_copy(lowering, source, &real));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, output->rank, output->dims,
                                    &answer));
    WEFTI_TRY(lower_axes(lowering, plan, last, real, &answer));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, output->rank, output->dims,
                                    &whole));
    WEFTI_TRY(wefti_lower_elementwise(lowering, &answer, 1, saturate,
                                      WEFTI_COUNT_OF(saturate), &whole));
    return wefti_lower_copy(lowering, &whole, output);
}

weft_status wefti_lower_resize_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_resize_plan plan;
    WEFTI_TRY(wefti_resize_read(lowering->node, lowering->known_inputs, &plan,
                                lowering->error));
    const wefti_view *source = &lowering->inputs[0];
    int32_t last = -1;
    for (int32_t i = 0; i < source->rank; i++) {
        last = plan.axes[i].same ? last : i;
    }
    if (last < 0) {
        return wefti_lower_alias(lowering, 0, source);
    }
    return computes(&plan) && source->type != WEFT_TYPE_F32
               ? lower_bytes(lowering, &plan, last, &output)
               : lower_axes(lowering, &plan, last, *source, &output);
}
