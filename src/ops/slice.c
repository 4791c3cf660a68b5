/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

typedef struct slice_range {
    int64_t start, step, count;
} slice_range;

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* ONNX's meaning of start:end:step for a dim; negative bounds count from its end. Going
 * backwards a start before the first element is the first element (numpy takes
 * nothing); an end is as numpy has it. */
static slice_range resolve_range(int64_t start, int64_t end, int64_t step, int64_t dim)
{
    start = start < 0 ? start + dim : start;
    end = end < 0 ? end + dim : end;
    slice_range range = {.step = step};
    if (step > 0) {
        range.start = clamp(start, 0, dim);
        int64_t span = clamp(end, 0, dim) - range.start;
        range.count = span > 0 ? (span - 1) / step + 1 : 0;
    } else {
        range.start = dim > 0 ? clamp(start, 0, dim - 1) : -1;
        int64_t span = range.start - clamp(end, -1, dim - 1);
        /* -step may not be representable; -(step + 1) always is. */
        uint64_t stride = (uint64_t)(-(step + 1)) + 1;
        range.count = span > 0 ? (int64_t)((uint64_t)(span - 1) / stride) + 1 : 0;
    }
    /* A single element needs no step, and a huge one would overflow a stride. */
    range.step = range.count > 1 ? step : 1;
    range.start = range.count > 0 ? range.start : 0;
    return range;
}

static weft_status read_ranges(const wefti_node_view *node, const wefti_known *inputs,
                               slice_range *ranges, weft_error *error)
{
    enum { STARTS, ENDS, AXES, STEPS, LISTS };
    int64_t lists[LISTS][WEFT_MAX_RANK];
    size_t counts[LISTS];
    int32_t rank = inputs[0].rank;
    for (size_t i = 0; i < LISTS; i++) {
        if (i < AXES || wefti_known_present(node, inputs, i + 1)) {
            WEFTI_TRY(wefti_check_integers(
                node, inputs, i + 1, (wefti_integer_room){lists[i], WEFT_MAX_RANK},
                &counts[i], error));
        } else {
            counts[i] = counts[STARTS];
            for (size_t j = 0; j < counts[i]; j++) {
                lists[i][j] = i == AXES ? (int64_t)j : 1;
            }
        }
        if (counts[i] != counts[STARTS]) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: input %zu has %zu values but starts has %zu",
                               node->label, i + 1, counts[i], counts[STARTS]);
        }
    }
    bool selected[WEFT_MAX_RANK];
    WEFTI_TRY(wefti_check_axes(node, lists[AXES], counts[AXES], rank, selected, error));
    for (int32_t i = 0; i < rank; i++) {
        ranges[i] = (slice_range){0, 1, inputs[0].dims[i]};
    }
    for (size_t i = 0; i < counts[STARTS]; i++) {
        int64_t axis = lists[AXES][i] < 0 ? lists[AXES][i] + rank : lists[AXES][i];
        if (lists[STEPS][i] == 0) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: a step is 0; it must be positive or negative",
                               node->label);
        }
        ranges[axis] = resolve_range(lists[STARTS][i], lists[ENDS][i], lists[STEPS][i],
                                     inputs[0].dims[axis]);
    }
    return WEFT_OK;
}

weft_status wefti_infer_slice(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    slice_range ranges[WEFT_MAX_RANK];
    int64_t dims[WEFT_MAX_RANK];
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(read_ranges(node, inputs, ranges, error));
    for (int32_t i = 0; i < inputs[0].rank; i++) {
        dims[i] = ranges[i].count;
    }
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

weft_status wefti_lower_slice_node(wefti_lowering *lowering)
{
    slice_range ranges[WEFT_MAX_RANK];
    wefti_view view = lowering->inputs[0];
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    WEFTI_TRY(
        read_ranges(lowering->node, lowering->known_inputs, ranges, lowering->error));
    bool backwards = false;
    for (int32_t i = 0; i < view.rank; i++) {
        view.offset_bytes +=
            ranges[i].start * view.strides[i] * (int64_t)weft_type_size(view.type);
        view.strides[i] *= ranges[i].step;
        view.dims[i] = ranges[i].count;
        backwards = backwards || ranges[i].step < 0;
    }
    /* Only COPY reads backwards. */
    return backwards ? wefti_lower_copy(lowering, &view, &output)
                     : wefti_lower_alias(lowering, 0, &view);
}

/* The sizes of the parts of Split; `sizes` has one for each output. */
static weft_status read_sizes(const wefti_node_view *node, const wefti_known *inputs,
                              int64_t dim, int64_t *sizes, size_t capacity,
                              weft_error *error)
{
    size_t parts = node->output_count;
    if (parts > capacity) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: %zu parts; at most %zu are supported", node->label,
                           parts, capacity);
    }
    if (wefti_known_present(node, inputs, 1)) {
        size_t count = 0;
        WEFTI_TRY(wefti_check_integers(
            node, inputs, 1, (wefti_integer_room){sizes, capacity}, &count, error));
        int64_t left = dim;
        for (size_t i = 0; i < count; i++) {
            left = sizes[i] >= 0 && sizes[i] <= left ? left - sizes[i] : -1;
            if (left < 0) {
                break;
            }
        }
        return count == parts && left == 0
                   ? WEFT_OK
                   : wefti_error(error, WEFT_INVALID_ARGUMENT,
                                 "%s: the sizes of the %zu parts must be one for each "
                                 "of %zu outputs and add up to %lld",
                                 node->label, count, parts, (long long)dim);
    }
    int64_t wanted = wefti_attribute_int(node, "num_outputs", (int64_t)parts);
    if (wanted != (int64_t)parts || parts == 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: num_outputs is %lld but the node has %zu outputs",
                           node->label, (long long)wanted, parts);
    }
    if (node->opset < 18 && dim % wanted != 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: a dimension of %lld cannot be split into %zu equal "
                           "parts",
                           node->label, (long long)dim, parts);
    }
    int64_t size = dim / wanted + (dim % wanted != 0);
    for (size_t i = 0; i < parts; i++) {
        sizes[i] = size < dim ? size : dim;
        dim -= sizes[i];
    }
    return WEFT_OK;
}

enum { MAX_PARTS = 256 };

weft_status wefti_infer_split(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    int64_t sizes[MAX_PARTS];
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    const wefti_known *input = &inputs[0];
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0), input->rank,
                               &axis, error));
    WEFTI_TRY(read_sizes(node, inputs, input->dims[axis], sizes, MAX_PARTS, error));
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, input->dims, sizeof(dims));
    for (size_t i = 0; i < node->output_count; i++) {
        dims[axis] = sizes[i];
        WEFTI_TRY(wefti_set_output(
            node, outputs, i, (wefti_shape){input->type, input->rank, dims}, error));
    }
    return WEFT_OK;
}

weft_status wefti_lower_split_node(wefti_lowering *lowering)
{
    const wefti_known *known = lowering->known_inputs;
    wefti_view part = lowering->inputs[0];
    int64_t given = wefti_attribute_int(lowering->node, "axis", 0);
    int32_t axis = (int32_t)(given < 0 ? given + part.rank : given);
    int64_t sizes[MAX_PARTS];
    WEFTI_TRY(read_sizes(lowering->node, known, known[0].dims[axis], sizes, MAX_PARTS,
                         lowering->error));
    for (size_t i = 0; i < lowering->node->output_count; i++) {
        part.dims[axis] = sizes[i];
        WEFTI_TRY(wefti_lower_alias(lowering, i, &part));
        if (wefti_view_element_count(&part) > 0) { /* of none, sizes may be huge */
            part.offset_bytes +=
                sizes[i] * part.strides[axis] * (int64_t)weft_type_size(part.type);
        }
    }
    return WEFT_OK;
}
