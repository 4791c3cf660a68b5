/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Operators that put whole elements elsewhere: Transpose, Concat, Expand, Tile. */

static weft_status read_order(const wefti_node_view *node, int32_t rank, int32_t *order,
                              weft_error *error)
{
    size_t count = 0;
    const int64_t *given = wefti_attribute_ints(node, "perm", &count);
    if (given && count != (size_t)rank) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: perm has %zu values but the input has %d dimensions",
                           node->label, count, (int)rank);
    }
    bool seen[WEFT_MAX_RANK];
    WEFTI_TRY(wefti_check_axes(node, given, given ? count : 0, rank, seen, error));
    for (int32_t i = 0; i < rank; i++) {
        int64_t axis = given ? given[i] : rank - 1 - i;
        order[i] = (int32_t)(axis < 0 ? axis + rank : axis);
    }
    return WEFT_OK;
}

weft_status wefti_infer_transpose(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    int32_t order[WEFT_MAX_RANK];
    int64_t dims[WEFT_MAX_RANK];
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(read_order(node, inputs[0].rank, order, error));
    for (int32_t i = 0; i < inputs[0].rank; i++) {
        dims[i] = inputs[0].dims[order[i]];
    }
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

weft_status wefti_lower_transpose_node(wefti_lowering *lowering)
{
    int32_t order[WEFT_MAX_RANK];
    WEFTI_TRY(
        read_order(lowering->node, lowering->inputs[0].rank, order, lowering->error));
    wefti_view view = wefti_view_permute(&lowering->inputs[0], order);
    return wefti_lower_alias(lowering, 0, &view);
}

weft_status wefti_infer_concat(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_types(node, inputs, 0, WEFTI_TYPES_ANY, error));
    int32_t rank = inputs[0].rank;
    int32_t axis = 0;
    if (!wefti_attribute_find(node, "axis")) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: the attribute axis is missing", node->label);
    }
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0), rank, &axis,
                               error));
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, inputs[0].dims, sizeof(dims));
    for (size_t i = 1; i < node->input_count; i++) {
        int64_t expected[WEFT_MAX_RANK];
        memcpy(expected, dims, sizeof(expected));
        expected[axis] = inputs[i].rank == rank ? inputs[i].dims[axis] : 0;
        WEFTI_TRY(wefti_check_shape(node, "an input that is joined", &inputs[i], rank,
                                    expected, error));
        if (WEFTI_ADD_OVERFLOWS(dims[axis], expected[axis], &dims[axis])) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: the joined dimension overflows", node->label);
        }
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[0].type, rank, dims},
                            error);
}

weft_status wefti_lower_concat_node(wefti_lowering *lowering)
{
    wefti_view part = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&part)) {
        return WEFT_OK;
    }
    if (lowering->node->input_count == 1) {
        return wefti_lower_alias(lowering, 0, &lowering->inputs[0]);
    }
    int64_t given = wefti_attribute_int(lowering->node, "axis", 0);
    int32_t axis = (int32_t)(given < 0 ? given + part.rank : given);
    for (size_t i = 0; i < lowering->node->input_count; i++) {
        part.dims[axis] = lowering->inputs[i].dims[axis];
        WEFTI_TRY(wefti_lower_copy(lowering, &lowering->inputs[i], &part));
        part.offset_bytes +=
            part.dims[axis] * part.strides[axis] * (int64_t)weft_type_size(part.type);
    }
    return WEFT_OK;
}

weft_status wefti_infer_expand(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    wefti_known operands[2] = {inputs[0], {.type = inputs[0].type}};
    size_t rank = 0;
    WEFTI_TRY(wefti_check_integers(
        node, inputs, 1, (wefti_integer_room){operands[1].dims, WEFT_MAX_RANK}, &rank,
        error));
    operands[1].rank = (int32_t)rank;
    wefti_known shape = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, operands, 2, &shape, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, shape.rank, shape.dims}, error);
}

weft_status wefti_lower_expand_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_view view = lowering->inputs[0];
    wefti_view_broadcast(&view, output.rank, output.dims);
    return wefti_lower_alias(lowering, 0, &view);
}

weft_status wefti_infer_tile(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    int64_t dims[WEFT_MAX_RANK];
    size_t count = 0;
    WEFTI_TRY(wefti_check_integers(
        node, inputs, 1, (wefti_integer_room){dims, WEFT_MAX_RANK}, &count, error));
    if (count != (size_t)inputs[0].rank) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: repeats has %zu values but the input has %d dimensions",
                           node->label, count, (int)inputs[0].rank);
    }
    for (size_t i = 0; i < count; i++) {
        if (dims[i] < 0) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: a dimension is repeated %lld times", node->label,
                               (long long)dims[i]);
        }
        WEFTI_TRY(
            wefti_check_product(node, dims[i], inputs[0].dims[i], &dims[i], error));
    }
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

/* One copy of the input seen as [repeats, dim, ...], a stride of 0 for each repeat. */
weft_status wefti_lower_tile_node(wefti_lowering *lowering)
{
    wefti_view input = lowering->inputs[0];
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view source = {
        .buffer = input.buffer, .offset_bytes = input.offset_bytes, .type = input.type};
    int64_t dims[2 * WEFT_MAX_RANK];
    int64_t strides[2 * WEFT_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < input.rank; i++) {
        int64_t repeats = output.dims[i] / input.dims[i];
        if (repeats > 1) {
            dims[rank] = repeats;
            strides[rank++] = 0;
        }
        if (input.dims[i] > 1) {
            dims[rank] = input.dims[i];
            strides[rank++] = input.strides[i];
        }
    }
    if (rank > WEFT_MAX_RANK) {
        return wefti_error(lowering->error, WEFT_UNSUPPORTED,
                           "%s: repeating so many dimensions at once is not supported; "
                           "repeat in two steps",
                           lowering->node->label);
    }
    source.rank = rank;
    memcpy(source.dims, dims, (size_t)rank * sizeof(*dims));
    memcpy(source.strides, strides, (size_t)rank * sizeof(*dims));
    return wefti_lower_reshape(lowering, 0, &source);
}
