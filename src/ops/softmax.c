/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

weft_status wefti_infer_softmax(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", -1),
                               inputs[0].rank, &axis, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, inputs[0].dims},
        error);
}

static weft_status lower_rows(wefti_lowering *lowering, wefti_view *input,
                              const wefti_view *output)
{
    WEFTI_TRY(wefti_lower_dense(lowering, input));
    int64_t columns = input->dims[input->rank - 1];
    wefti_softmax_params params = {
        .row_count = wefti_view_element_count(input) / columns,
        .column_count = columns,
        .logarithmic = strcmp(lowering->node->op_type, "LogSoftmax") == 0};
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_SOFTMAX, &params, sizeof(params));
    step.operands[WEFTI_SOFTMAX_INPUT] = *input;
    step.operands[WEFTI_SOFTMAX_OUTPUT] = *output;
    return wefti_lower_end(lowering, &step);
}

/* An order of axes with `axis` last. */
static void order_axis_last(int32_t rank, int32_t axis, int32_t *order)
{
    int32_t next = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (i != axis) {
            order[next++] = i;
        }
    }
    order[next] = axis;
}

weft_status wefti_lower_softmax_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view input = lowering->inputs[0];
    int64_t given = wefti_attribute_int(lowering->node, "axis", -1);
    int32_t axis = (int32_t)(given < 0 ? given + input.rank : given);
    int32_t order[WEFT_MAX_RANK];
    order_axis_last(input.rank, axis, order);
    wefti_view rows = wefti_view_permute(&input, order);
    wefti_view target = wefti_view_permute(&output, order);
    if (wefti_view_is_dense(&target)) {
        return lower_rows(lowering, &rows, &target);
    }
    wefti_view result;
    WEFTI_TRY(
        wefti_lower_temporary(lowering, rows.type, rows.rank, rows.dims, &result));
    WEFTI_TRY(lower_rows(lowering, &rows, &result));
    return wefti_lower_copy(lowering, &result, &target);
}
