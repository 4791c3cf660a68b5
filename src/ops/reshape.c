/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Operators that only see the same elements in another shape. */

/* Replaces the -1 of a wanted shape by what is left of `count`. */
static weft_status resolve_dims(const wefti_node_view *node, const wefti_known *input,
                                bool empty_allowed, int64_t *dims, size_t rank,
                                weft_error *error)
{
    int64_t count = wefti_known_element_count(input);
    int64_t product = 1;
    size_t open = rank;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] == -1 && open == rank) {
            open = i;
            continue;
        }
        if (dims[i] < 0) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: the wanted shape has %lld at %zu; sizes are at "
                               "least 0, and -1 may stand once",
                               node->label, (long long)dims[i], i);
        }
        WEFTI_TRY(wefti_check_product(node, product, dims[i], &product, error));
    }
    if (open < rank && !(empty_allowed && product == 0)) {
        dims[open] = product > 0 ? count / product : 0;
        WEFTI_TRY(wefti_check_product(node, product, dims[open], &product, error));
    }
    if (product != count || (open < rank && dims[open] == -1)) {
        wefti_shape_text from;
        wefti_shape_text to;
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: shape %s cannot become %s; the number of elements "
                           "differs",
                           node->label,
                           wefti_shape_write(input->rank, input->dims, &from),
                           wefti_shape_write((int32_t)rank, dims, &to));
    }
    return WEFT_OK;
}

weft_status wefti_infer_reshape(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    int64_t dims[WEFT_MAX_RANK];
    size_t rank = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_integers(
        node, inputs, 1, (wefti_integer_room){dims, WEFT_MAX_RANK}, &rank, error));
    bool zero_is_zero = wefti_attribute_int(node, "allowzero", 0) != 0;
    for (size_t i = 0; i < rank && !zero_is_zero; i++) {
        if (dims[i] != 0) {
            continue;
        }
        if (i >= (size_t)inputs[0].rank) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: the wanted shape copies dimension %zu, but the "
                               "input has %d dimensions",
                               node->label, i, (int)inputs[0].rank);
        }
        dims[i] = inputs[0].dims[i];
    }
    WEFTI_TRY(resolve_dims(node, &inputs[0], zero_is_zero, dims, rank, error));
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, (int32_t)rank, dims}, error);
}

weft_status wefti_lower_reshape_node(wefti_lowering *lowering)
{
    return wefti_lower_reshape(lowering, 0, &lowering->inputs[0]);
}

weft_status wefti_infer_flatten(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    int64_t axis = wefti_attribute_int(node, "axis", 1);
    int32_t rank = inputs[0].rank;
    if (axis < -rank || axis > rank) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: axis %lld is outside a tensor of %d dimensions",
                           node->label, (long long)axis, (int)rank);
    }
    axis = axis < 0 ? axis + rank : axis;
    int64_t dims[2] = {1, 1};
    for (int32_t i = 0; i < rank; i++) {
        int64_t *side = &dims[i < axis ? 0 : 1];
        WEFTI_TRY(wefti_check_product(node, *side, inputs[0].dims[i], side, error));
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[0].type, 2, dims},
                            error);
}

weft_status wefti_lower_flatten_node(wefti_lowering *lowering)
{
    return wefti_lower_reshape(lowering, 0, &lowering->inputs[0]);
}

/* The axes of Squeeze and Unsqueeze: an input, before opset 13 an attribute. */
static weft_status read_axes(const wefti_node_view *node, const wefti_known *inputs,
                             int64_t *axes, size_t *count, bool *given,
                             weft_error *error)
{
    const int64_t *attribute = wefti_attribute_ints(node, "axes", count);
    if (attribute == NULL) {
        *given = wefti_known_present(node, inputs, 1);
        *count = 0;
        wefti_integer_room room = {axes, WEFT_MAX_RANK};
        return *given ? wefti_check_integers(node, inputs, 1, room, count, error)
                      : WEFT_OK;
    }
    *given = true;
    if (node->opset >= 13 || *count > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           node->opset >= 13
                               ? "%s: axes are an input since opset 13"
                               : "%s: has more axes than a tensor can have",
                           node->label);
    }
    memcpy(axes, attribute, *count * sizeof(*axes));
    return WEFT_OK;
}

weft_status wefti_infer_squeeze(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    const wefti_known *input = &inputs[0];
    bool dropped[WEFT_MAX_RANK];
    int64_t axes[WEFT_MAX_RANK];
    size_t count = 0;
    bool given = false;
    WEFTI_TRY(read_axes(node, inputs, axes, &count, &given, error));
    WEFTI_TRY(wefti_check_axes(node, axes, count, input->rank, dropped, error));
    int64_t dims[WEFT_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < input->rank; i++) {
        if (given && dropped[i] && input->dims[i] != 1) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: dimension %d is %lld; only a dimension of 1 can be "
                               "squeezed",
                               node->label, (int)i, (long long)input->dims[i]);
        }
        if (given ? !dropped[i] : input->dims[i] != 1) {
            dims[rank++] = input->dims[i];
        }
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){input->type, rank, dims},
                            error);
}

weft_status wefti_lower_squeeze_node(wefti_lowering *lowering)
{
    return wefti_lower_reshape(lowering, 0, &lowering->inputs[0]);
}

weft_status wefti_infer_unsqueeze(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    const wefti_known *input = &inputs[0];
    bool inserted[WEFT_MAX_RANK];
    int64_t axes[WEFT_MAX_RANK];
    size_t count = 0;
    bool given = false;
    WEFTI_TRY(read_axes(node, inputs, axes, &count, &given, error));
    if (!given) {
        return wefti_error(error, WEFT_INVALID_MODEL, "%s: needs axes", node->label);
    }
    int32_t rank = input->rank + (int32_t)count;
    if (rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the output would have %d dimensions; at most %d are "
                           "supported",
                           node->label, (int)rank, (int)WEFT_MAX_RANK);
    }
    WEFTI_TRY(wefti_check_axes(node, axes, count, rank, inserted, error));
    int64_t dims[WEFT_MAX_RANK];
    int32_t next = 0;
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = inserted[i] ? 1 : input->dims[next++];
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){input->type, rank, dims},
                            error);
}

weft_status wefti_lower_unsqueeze_node(wefti_lowering *lowering)
{
    return wefti_lower_reshape(lowering, 0, &lowering->inputs[0]);
}

weft_status wefti_infer_identity(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_identity_node(wefti_lowering *lowering)
{
    return wefti_lower_alias(lowering, 0, &lowering->inputs[0]);
}

/* Training means a third input that is true; without one Dropout is Identity. */
static weft_status check_inference(const wefti_node_view *node,
                                   const wefti_known *inputs, weft_error *error)
{
    if (!wefti_known_present(node, inputs, 2)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_check_type(node, inputs, 2, WEFTI_TYPES_BOOL, error));
    const uint8_t *training = inputs[2].constant;
    if (!training || wefti_known_element_count(&inputs[2]) != 1 || *training) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: training_mode (input 2) must be a constant false; "
                           "training is not supported",
                           node->label);
    }
    return WEFT_OK;
}

weft_status wefti_infer_dropout(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(check_inference(node, inputs, error));
    if (node->opset < 10 && node->output_count > 1) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the mask of opset %d is not supported; leave it out",
                           node->label, (int)node->opset);
    }
    WEFTI_TRY(wefti_set_output(
        node, outputs, 1, (wefti_shape){WEFT_TYPE_BOOL, inputs[0].rank, inputs[0].dims},
        error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_dropout_node(wefti_lowering *lowering)
{
    wefti_view mask = wefti_lower_output(lowering, 1);
    if (wefti_view_present(&mask)) {
        WEFTI_TRY(wefti_lower_fill(lowering, &mask, 1));
    }
    return wefti_lower_alias(lowering, 0, &lowering->inputs[0]);
}
