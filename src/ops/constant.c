/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Operators whose values are known before the run. */

/* Describes one attribute of a Constant; false when it holds no value. */
static bool read_value(const weft_attribute *attribute, wefti_known *value)
{
    bool list = attribute->kind == WEFT_ATTRIBUTE_FLOATS ||
                attribute->kind == WEFT_ATTRIBUTE_INTS;
    *value = (wefti_known){.rank = list ? 1 : 0};
    value->dims[0] = list ? (int64_t)attribute->count : 0;
    switch (attribute->kind) {
    case WEFT_ATTRIBUTE_TENSOR:
        value->type = attribute->tensor->type;
        value->rank = attribute->tensor->rank;
        value->constant = attribute->tensor->data;
        memcpy(value->dims, attribute->tensor->dims, sizeof(value->dims));
        return true;
    case WEFT_ATTRIBUTE_FLOAT:
        value->type = WEFT_TYPE_F32;
        value->constant = &attribute->f;
        return true;
    case WEFT_ATTRIBUTE_FLOATS:
        value->type = WEFT_TYPE_F32;
        value->constant = attribute->floats;
        return true;
    case WEFT_ATTRIBUTE_INT:
        value->type = WEFT_TYPE_I64;
        value->constant = &attribute->i;
        return true;
    case WEFT_ATTRIBUTE_INTS:
        value->type = WEFT_TYPE_I64;
        value->constant = attribute->ints;
        return true;
    default:
        return false;
    }
}

/* Finds what a Constant holds; the data belongs to the node. */
static weft_status read_constant(const wefti_node_view *node, wefti_known *value,
                                 weft_error *error)
{
    static const char *const names[] = {"value", "value_float", "value_floats",
                                        "value_int", "value_ints"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        const weft_attribute *attribute = wefti_attribute_find(node, names[i]);
        if (attribute && read_value(attribute, value)) {
            return WEFT_OK;
        }
    }
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "%s: has no value that is supported; expected value, "
                       "value_float, value_floats, value_int or value_ints",
                       node->label);
}

weft_status wefti_infer_constant(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    (void)inputs;
    wefti_known value;
    WEFTI_TRY(read_constant(node, &value, error));
    WEFTI_TRY(wefti_set_output(
        node, outputs, 0, (wefti_shape){value.type, value.rank, value.dims}, error));
    if (node->output_count > 0) {
        outputs[0].constant = value.constant;
    }
    return WEFT_OK;
}

weft_status wefti_lower_constant_node(wefti_lowering *lowering)
{
    wefti_known value;
    WEFTI_TRY(read_constant(lowering->node, &value, lowering->error));
    wefti_view view = {.type = value.type, .rank = value.rank};
    memcpy(view.dims, value.dims, sizeof(view.dims));
    wefti_view_make_dense(&view);
    wefti_buffer buffer = {.kind = WEFTI_BUFFER_CONSTANT,
                           .constant = value.constant,
                           .size_bytes = (size_t)wefti_view_element_count(&view) *
                                         weft_type_size(view.type)};
    WEFTI_TRY(wefti_program_add_buffer(lowering->program, &buffer, &view.buffer,
                                       lowering->error));
    return wefti_lower_alias(lowering, 0, &view);
}

static size_t known_bytes(const wefti_known *known)
{
    return (size_t)wefti_known_element_count(known) * weft_type_size(known->type);
}

weft_status wefti_fold_constant(const wefti_node_view *node, const wefti_known *inputs,
                                const wefti_known *outputs, void *const *output_data,
                                weft_error *error)
{
    (void)inputs;
    wefti_known value;
    WEFTI_TRY(read_constant(node, &value, error));
    size_t size_bytes = known_bytes(&outputs[0]);
    if (size_bytes > 0) {
        memcpy(output_data[0], value.constant, size_bytes);
    }
    return WEFT_OK;
}

weft_status wefti_infer_constant_of_shape(const wefti_node_view *node,
                                          const wefti_known *inputs,
                                          wefti_known *outputs, weft_error *error)
{
    int64_t dims[WEFT_MAX_RANK];
    size_t rank = 0;
    WEFTI_TRY(wefti_check_integers(
        node, inputs, 0, (wefti_integer_room){dims, WEFT_MAX_RANK}, &rank, error));
    const weft_tensor *value = wefti_attribute_tensor(node, "value");
    if (value && (value->rank > 1 || (value->rank == 1 && value->dims[0] != 1))) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: the attribute value must hold one element",
                           node->label);
    }
    return wefti_set_output(
        node, outputs, 0,
        (wefti_shape){value ? value->type : WEFT_TYPE_F32, (int32_t)rank, dims}, error);
}

weft_status wefti_lower_constant_of_shape_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    uint64_t bits = 0;
    const weft_tensor *value = wefti_attribute_tensor(lowering->node, "value");
    if (value) {
        memcpy(&bits, value->data, weft_type_size(value->type));
    }
    return wefti_lower_fill(lowering, &output, bits);
}

/* The part of the shape that Shape gives: [start, end) of the dims, clamped. */
static void shape_range(const wefti_node_view *node, int32_t rank, int64_t *start,
                        int64_t *end)
{
    bool ranged = node->opset >= 15;
    int64_t bounds[2] = {ranged ? wefti_attribute_int(node, "start", 0) : 0,
                         ranged ? wefti_attribute_int(node, "end", rank) : rank};
    for (size_t i = 0; i < 2; i++) {
        int64_t bound = bounds[i] < 0 ? bounds[i] + rank : bounds[i];
        bounds[i] = bound < 0 ? 0 : bound > rank ? rank : bound;
    }
    *start = bounds[0];
    *end = bounds[1] > bounds[0] ? bounds[1] : bounds[0];
}

weft_status wefti_infer_shape(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    int64_t start = 0;
    int64_t end = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    shape_range(node, inputs[0].rank, &start, &end);
    int64_t length = end - start;
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_I64, 1, &length},
                            error);
}

weft_status wefti_fold_shape(const wefti_node_view *node, const wefti_known *inputs,
                             const wefti_known *outputs, void *const *output_data,
                             weft_error *error)
{
    (void)outputs;
    (void)error;
    int64_t start = 0;
    int64_t end = 0;
    shape_range(node, inputs[0].rank, &start, &end);
    for (int64_t i = start; i < end; i++) {
        ((int64_t *)output_data[0])[i - start] = inputs[0].dims[i];
    }
    return WEFT_OK;
}

weft_status wefti_infer_size(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    int64_t none = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_I64, 0, &none},
                            error);
}

weft_status wefti_fold_size(const wefti_node_view *node, const wefti_known *inputs,
                            const wefti_known *outputs, void *const *output_data,
                            weft_error *error)
{
    (void)node;
    (void)outputs;
    (void)error;
    *(int64_t *)output_data[0] = wefti_known_element_count(&inputs[0]);
    return WEFT_OK;
}
