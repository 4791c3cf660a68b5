/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* ThresholdedRelu, Shrink and IsInf: programs that compare with constants. */

weft_status wefti_infer_threshold(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    bool tells = strcmp(node->op_type, "IsInf") == 0;
    wefti_shape shape = {tells ? WEFT_TYPE_BOOL : WEFT_TYPE_F32, inputs[0].rank,
                         inputs[0].dims};
    return wefti_set_output(node, outputs, 0, shape, error);
}

/* Runs a program of x and constants of rank 0. */
static weft_status lower_with(wefti_lowering *lowering, const float *constants,
                              int32_t constant_count,
                              const wefti_instruction *instructions,
                              int32_t instruction_count)
{
    wefti_view operands[WEFTI_ELEMENTWISE_MAX_INPUTS] = {lowering->inputs[0]};
    wefti_view output = wefti_lower_output(lowering, 0);
    int64_t none = 0;
    for (int32_t i = 0; i < constant_count; i++) {
        WEFTI_TRY(wefti_lower_constant(lowering, WEFT_TYPE_F32, 0, &none, &constants[i],
                                       &operands[i + 1]));
    }
    return wefti_lower_elementwise(lowering, operands, constant_count + 1, instructions,
                                   instruction_count, &output);
}

/* x > alpha ? x : 0 */
static weft_status lower_thresholded_relu(wefti_lowering *lowering)
{
    static const wefti_instruction program[] = {
        {.operation = WEFTI_OP_GREATER, .a = 0, .b = 1},
        {.operation = WEFTI_OP_WHERE, .a = 4, .b = 0, .c = 2}};
    const float constants[] = {wefti_attribute_float(lowering->node, "alpha", 1.0F), 0};
    return lower_with(lowering, constants, 2, program, 2);
}

/* x < -lambd ? x + bias : x > lambd ? x - bias : 0 */
static weft_status lower_shrink(wefti_lowering *lowering)
{
    float lambd = wefti_attribute_float(lowering->node, "lambd", 0.5F);
    float bias = wefti_attribute_float(lowering->node, "bias", 0);
    const wefti_instruction program[] = {
        {.operation = WEFTI_OP_LESS, .a = 0, .b = 2},
        {.operation = WEFTI_OP_GREATER, .a = 0, .b = 1},
        {.operation = WEFTI_OP_SCALE, .a = 0, .alpha = 1.0F, .beta = bias},
        {.operation = WEFTI_OP_SCALE, .a = 0, .alpha = 1.0F, .beta = -bias},
        {.operation = WEFTI_OP_WHERE, .a = 5, .b = 7, .c = 3},
        {.operation = WEFTI_OP_WHERE, .a = 4, .b = 6, .c = 8}};
    const float constants[] = {lambd, -lambd, 0};
    return lower_with(lowering, constants, 3, program, 6);
}

static weft_status lower_is_inf(wefti_lowering *lowering)
{
    bool positive = wefti_attribute_int(lowering->node, "detect_positive", 1) != 0;
    bool negative = wefti_attribute_int(lowering->node, "detect_negative", 1) != 0;
    /* Where neither counts, x is compared with what nothing equals. */
    const float constants[] = {positive ? INFINITY : NAN, negative ? -INFINITY : NAN};
    static const wefti_instruction program[] = {
        {.operation = WEFTI_OP_EQUAL, .a = 0, .b = 1},
        {.operation = WEFTI_OP_EQUAL, .a = 0, .b = 2},
        {.operation = WEFTI_OP_OR, .a = 4, .b = 5}};
    return lower_with(lowering, constants, 2, program, 3);
}

weft_status wefti_lower_threshold_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    const char *op_type = lowering->node->op_type;
    if (strcmp(op_type, "IsInf") == 0) {
        return lower_is_inf(lowering);
    }
    return strcmp(op_type, "Shrink") == 0 ? lower_shrink(lowering)
                                          : lower_thresholded_relu(lowering);
}
