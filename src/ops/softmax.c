/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/reduce.h"

/* Before opset 13 all dims from the axis on were one row; the default was 1. */
static int64_t read_axis(const wefti_node_view *node)
{
    return wefti_attribute_int(node, "axis", node->opset < 13 ? 1 : -1);
}

weft_status wefti_infer_softmax(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_FLOAT, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, read_axis(node), inputs[0].rank, &axis, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
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

static weft_status lower_one(wefti_lowering *lowering, wefti_operation operation,
                             const wefti_view *a, const wefti_view *b,
                             const wefti_view *output)
{
    wefti_view operands[2] = {*a, b != NULL ? *b : *a};
    wefti_instruction instruction = {.operation = operation, .b = 1};
    return wefti_lower_elementwise(lowering, operands, b != NULL ? 2 : 1, &instruction,
                                   1, output);
}

/* Step by step, for doubles: no kernel of their own. */
static weft_status lower_f64(wefti_lowering *lowering, const wefti_view *input,
                             int32_t axis, const wefti_view *output)
{
    bool reduced[WEFT_MAX_RANK] = {false};
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, input->dims, sizeof(dims));
    dims[axis] = 1;
    reduced[axis] = true;
    wefti_view largest, below, powers, sum;
    WEFTI_TRY(
        wefti_lower_temporary(lowering, input->type, input->rank, dims, &largest));
    WEFTI_TRY(wefti_lower_temporary(lowering, input->type, input->rank, dims, &sum));
    WEFTI_TRY(
        wefti_lower_temporary(lowering, input->type, input->rank, input->dims, &below));
    WEFTI_TRY(wefti_lower_temporary(lowering, input->type, input->rank, input->dims,
                                    &powers));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_MAX, input, reduced, &largest));
    WEFTI_TRY(lower_one(lowering, WEFTI_OP_SUB, input, &largest, &below));
    WEFTI_TRY(lower_one(lowering, WEFTI_OP_EXP, &below, NULL, &powers));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_SUM, &powers, reduced, &sum));
    if (strcmp(lowering->node->op_type, "LogSoftmax") != 0) {
        return lower_one(lowering, WEFTI_OP_DIV, &powers, &sum, output);
    }
    WEFTI_TRY(lower_one(lowering, WEFTI_OP_LOG, &sum, NULL, &largest));
    return lower_one(lowering, WEFTI_OP_SUB, &below, &largest, output);
}

/* All dims from the axis on as one, and those before; the output is dense. */
static weft_status join_dims(wefti_lowering *lowering, int32_t *axis, wefti_view *input,
                             wefti_view *output)
{
    const int64_t dims[] = {wefti_count_dims(*axis, input->dims),
                            wefti_count_dims(input->rank - *axis, input->dims + *axis)};
    *axis = 1;
    (void)wefti_view_reshape(output, 2, dims);
    return wefti_lower_reshape_view(lowering, input, 2, dims);
}

weft_status wefti_lower_softmax_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view input = lowering->inputs[0];
    int64_t given = read_axis(lowering->node);
    int32_t axis = (int32_t)(given < 0 ? given + input.rank : given);
    if (lowering->node->opset < 13 && axis + 1 < input.rank) {
        WEFTI_TRY(join_dims(lowering, &axis, &input, &output));
    }
    if (input.type == WEFT_TYPE_F64) {
        return lower_f64(lowering, &input, axis, &output);
    }
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
