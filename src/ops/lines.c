/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* CumSum, CumProd and TopK: what goes along one axis. */

static void set_lines(const wefti_view *view, int32_t axis, int64_t *outer,
                      int64_t *inner)
{
    *outer = *inner = 1;
    for (int32_t i = 0; i < view->rank; i++) {
        *outer *= i < axis ? view->dims[i] : 1;
        *inner *= i > axis ? view->dims[i] : 1;
    }
}

/* The axis of CumSum is an input. */
static weft_status read_line_axis(const wefti_node_view *node,
                                  const wefti_known *inputs, int32_t *axis,
                                  weft_error *error)
{
    int64_t value = 0;
    size_t count = 0;
    WEFTI_TRY(wefti_check_integers(node, inputs, 1, (wefti_integer_room){&value, 1},
                                   &count, error));
    return wefti_check_axis(node, value, inputs[0].rank, axis, error);
}

weft_status wefti_infer_cumulate(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_NUMBER, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    WEFTI_TRY(read_line_axis(node, inputs, &axis, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_cumulate_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view input = lowering->inputs[0];
    int32_t axis = 0;
    WEFTI_TRY(
        read_line_axis(lowering->node, lowering->known_inputs, &axis, lowering->error));
    WEFTI_TRY(wefti_lower_dense(lowering, &input));
    wefti_cumulate_params params = {
        .type = input.type,
        .count = input.dims[axis],
        .product = strcmp(lowering->node->op_type, "CumProd") == 0,
        .exclusive = wefti_attribute_int(lowering->node, "exclusive", 0) != 0,
        .reverse = wefti_attribute_int(lowering->node, "reverse", 0) != 0};
    set_lines(&input, axis, &params.outer_count, &params.inner_count);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_CUMULATE, &params, sizeof(params));
    step.operands[WEFTI_CUMULATE_INPUT] = input;
    step.operands[WEFTI_CUMULATE_OUTPUT] = output;
    return wefti_lower_end(lowering, &step);
}

weft_status wefti_infer_top_k(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    int32_t axis = 0;
    int64_t k = 0;
    size_t count = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ARITHMETIC, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", -1),
                               inputs[0].rank, &axis, error));
    WEFTI_TRY(wefti_check_integers(node, inputs, 1, (wefti_integer_room){&k, 1}, &count,
                                   error));
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, inputs[0].dims, sizeof(dims));
    if (count != 1 || k < 0 || k > dims[axis]) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: k is %lld of the %lld along axis %d", node->label,
                           (long long)k, (long long)dims[axis], (int)axis);
    }
    dims[axis] = k;
    WEFTI_TRY(wefti_set_output(
        node, outputs, 1, (wefti_shape){WEFT_TYPE_I64, inputs[0].rank, dims}, error));
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

weft_status wefti_lower_top_k_node(wefti_lowering *lowering)
{
    wefti_view values = wefti_lower_output(lowering, 0);
    wefti_view indices = wefti_lower_output(lowering, 1);
    const wefti_known *shape = &lowering->known_outputs[0];
    if ((!wefti_view_present(&values) && !wefti_view_present(&indices)) ||
        wefti_known_element_count(shape) == 0) {
        return WEFT_OK;
    }
    wefti_view input = lowering->inputs[0];
    int64_t given = wefti_attribute_int(lowering->node, "axis", -1);
    int32_t axis = (int32_t)(given < 0 ? given + input.rank : given);
    WEFTI_TRY(wefti_lower_dense(lowering, &input));
    wefti_top_k_params params = {
        .type = input.type,
        .count = input.dims[axis],
        .k = shape->dims[axis],
        .largest = wefti_attribute_int(lowering->node, "largest", 1) != 0};
    set_lines(&input, axis, &params.outer_count, &params.inner_count);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_TOP_K, &params, sizeof(params));
    step.operands[WEFTI_TOP_K_INPUT] = input;
    step.operands[WEFTI_TOP_K_VALUES] = values;
    step.operands[WEFTI_TOP_K_INDICES] = indices;
    return wefti_lower_end(lowering, &step);
}
