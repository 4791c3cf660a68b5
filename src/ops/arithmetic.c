/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Clip, Pow and the operators of any number of inputs: Sum, Mean, Min, Max. */

/* Reads a constant f32 of one element. */
static bool constant_f32(const wefti_node_view *node, const wefti_known *inputs,
                         size_t index, float *value)
{
    const wefti_known *known = wefti_known_input(node, inputs, index);
    if (known->type != WEFT_TYPE_F32 || !known->constant ||
        wefti_known_element_count(known) != 1) {
        return false;
    }
    memcpy(value, known->constant, sizeof(*value));
    return true;
}

weft_status wefti_infer_clip(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ARITHMETIC, error));
    for (size_t i = 1; i < 3; i++) {
        if (!wefti_known_present(node, inputs, i)) {
            continue;
        }
        WEFTI_TRY(
            wefti_check_type(node, inputs, i, WEFTI_TYPE_SET(inputs[0].type), error));
        if (wefti_known_element_count(&inputs[i]) != 1 || inputs[i].rank > 1) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: %s (input %zu) must hold one element", node->label,
                               i == 1 ? "min" : "max", i);
        }
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

/* A limit has one element; seen as a scalar it broadcasts to any rank. */
static wefti_view scalar_view(const wefti_view *view)
{
    wefti_view scalar = *view;
    scalar.rank = 0;
    return scalar;
}

/* ONNX's default of a limit is the type's lowest or greatest finite number, which cuts
 * off infinities; to integers it does nothing. */
static weft_status default_limit(wefti_lowering *lowering, weft_type type, int32_t sign,
                                 wefti_view *limit)
{
    bool is_float = type == WEFT_TYPE_F32 || type == WEFT_TYPE_F64;
    if (wefti_view_present(limit) || !is_float) {
        return WEFT_OK;
    }
    int64_t none = 0;
    uint64_t bits =
        wefti_value_bits(type, sign * (type == WEFT_TYPE_F32 ? FLT_MAX : DBL_MAX));
    return wefti_lower_constant(lowering, type, 0, &none, &bits, limit);
}

/* The limits as operands: MAX with the lower, then MIN with the upper; what is absent
 * does not limit. */
static weft_status clip_by_inputs(wefti_lowering *lowering, const wefti_view *low,
                                  const wefti_view *high, const wefti_view *output)
{
    wefti_view operands[2] = {lowering->inputs[0]};
    bool both = wefti_view_present(low) && wefti_view_present(high);
    if (!wefti_view_present(low) && !wefti_view_present(high)) {
        return wefti_lower_alias(lowering, 0, &operands[0]);
    }
    wefti_view middle = *output;
    if (both) {
        WEFTI_TRY(wefti_lower_temporary(lowering, output->type, output->rank,
                                        output->dims, &middle));
    }
    if (wefti_view_present(low)) {
        wefti_instruction at_least = {.operation = WEFTI_OP_MAX, .b = 1};
        operands[1] = scalar_view(low);
        WEFTI_TRY(
            wefti_lower_elementwise(lowering, operands, 2, &at_least, 1, &middle));
        operands[0] = middle;
    }
    if (!wefti_view_present(high)) {
        return WEFT_OK;
    }
    wefti_instruction at_most = {.operation = WEFTI_OP_MIN, .b = 1};
    operands[1] = scalar_view(high);
    return wefti_lower_elementwise(lowering, operands, 2, &at_most, 1, output);
}

weft_status wefti_lower_clip_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_view low = wefti_lower_input(lowering, 1);
    wefti_view high = wefti_lower_input(lowering, 2);
    bool has_low = wefti_view_present(&low);
    bool has_high = wefti_view_present(&high);
    wefti_instruction clip = {
        .operation = WEFTI_OP_CLIP, .alpha = -FLT_MAX, .beta = FLT_MAX};
    const wefti_known *known = lowering->known_inputs;
    bool constant = output.type == WEFT_TYPE_F32 &&
                    (!has_low || constant_f32(lowering->node, known, 1, &clip.alpha)) &&
                    (!has_high || constant_f32(lowering->node, known, 2, &clip.beta));
    if (constant) {
        return wefti_lower_elementwise(lowering, lowering->inputs, 1, &clip, 1,
                                       &output);
    }
    WEFTI_TRY(default_limit(lowering, output.type, -1, &low));
    WEFTI_TRY(default_limit(lowering, output.type, 1, &high));
    return clip_by_inputs(lowering, &low, &high, &output);
}

weft_status wefti_infer_pow(const wefti_node_view *node, const wefti_known *inputs,
                            wefti_known *outputs, weft_error *error)
{
    uint32_t bases = WEFTI_TYPES_F32 | WEFTI_TYPES_INTEGER;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, bases, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_ARITHMETIC, error));
    wefti_known shape = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, inputs, 2, &shape, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, shape.rank, shape.dims}, error);
}

/* Powers by a constant that need no pow: the results are those of the operation they
 * stand for. Returns the number of instructions, 0 when there is none. */
static int32_t short_power(wefti_lowering *lowering, wefti_instruction *instructions)
{
    float exponent = 0;
    const wefti_known *known = lowering->known_inputs;
    bool same_shape = wefti_known_element_count(&lowering->known_outputs[0]) ==
                      wefti_known_element_count(&known[0]);
    if (known[0].type != WEFT_TYPE_F32 || !same_shape ||
        !constant_f32(lowering->node, known, 1, &exponent)) {
        return 0;
    }
    instructions[0] = (wefti_instruction){.operation = WEFTI_OP_MUL};
    instructions[1] = (wefti_instruction){.operation = WEFTI_OP_MUL, .a = 4};
    if (exponent == 0.5F) {
        instructions[0].operation = WEFTI_OP_SQRT;
        return 1;
    }
    return exponent == 2.0F ? 1 : exponent == 3.0F ? 2 : 0;
}

/* Replaces `view` by a dense copy in another type, unless it has it. */
static weft_status lower_cast(wefti_lowering *lowering, weft_type type,
                              wefti_view *view)
{
    if (view->type == type) {
        return WEFT_OK;
    }
    wefti_view cast;
    WEFTI_TRY(wefti_lower_temporary(lowering, type, view->rank, view->dims, &cast));
    WEFTI_TRY(wefti_lower_copy(lowering, view, &cast));
    *view = cast;
    return WEFT_OK;
}

weft_status wefti_lower_pow_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_instruction instructions[2];
    int32_t count = short_power(lowering, instructions);
    if (count > 0) {
        return wefti_lower_elementwise(lowering, lowering->inputs, 1, instructions,
                                       count, &output);
    }
    wefti_view operands[2] = {lowering->inputs[0], lowering->inputs[1]};
    bool real = (WEFTI_TYPES_FLOAT & WEFTI_TYPE_SET(operands[1].type)) != 0;
    weft_type type = real ? WEFT_TYPE_F32 : output.type;
    WEFTI_TRY(lower_cast(lowering, type, &operands[0]));
    WEFTI_TRY(lower_cast(lowering, type, &operands[1]));
    wefti_view result = output;
    if (type != output.type) {
        WEFTI_TRY(
            wefti_lower_temporary(lowering, type, output.rank, output.dims, &result));
    }
    wefti_instruction power = {.operation = WEFTI_OP_POW, .b = 1};
    WEFTI_TRY(wefti_lower_elementwise(lowering, operands, 2, &power, 1, &result));
    return type == output.type ? WEFT_OK : wefti_lower_copy(lowering, &result, &output);
}

weft_status wefti_infer_variadic(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    bool real_only =
        strcmp(node->op_type, "Sum") == 0 || strcmp(node->op_type, "Mean") == 0;
    uint32_t types = strcmp(node->op_type, "Mean") == 0 ? WEFTI_TYPES_F32
                     : real_only                        ? WEFTI_TYPES_FLOAT
                                                        : WEFTI_TYPES_ARITHMETIC;
    WEFTI_TRY(wefti_check_types(node, inputs, 0, types, error));
    wefti_known shape = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, inputs, node->input_count, &shape, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, shape.rank, shape.dims}, error);
}

static wefti_operation variadic_operation(const wefti_node_view *node)
{
    if (strcmp(node->op_type, "Min") == 0) {
        return WEFTI_OP_MIN;
    }
    return strcmp(node->op_type, "Max") == 0 ? WEFTI_OP_MAX : WEFTI_OP_ADD;
}

/* Joins operands from the left: r0 op r1 op r2 op r3. */
static int32_t chain(wefti_operation operation, int32_t operand_count,
                     wefti_instruction *instructions)
{
    for (int32_t i = 0; i + 1 < operand_count; i++) {
        uint8_t left = (uint8_t)(i == 0 ? 0 : WEFTI_ELEMENTWISE_MAX_INPUTS + i - 1);
        instructions[i] = (wefti_instruction){
            .operation = operation, .a = left, .b = (uint8_t)(i + 1)};
    }
    return operand_count - 1;
}

weft_status wefti_lower_variadic_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    if (node->input_count == 1) {
        return wefti_lower_alias(lowering, 0, &lowering->inputs[0]);
    }
    wefti_instruction instructions[WEFTI_ELEMENTWISE_MAX_INPUTS];
    size_t most = output.type == WEFT_TYPE_F32 ? WEFTI_ELEMENTWISE_MAX_INPUTS : 2;
    wefti_view operands[WEFTI_ELEMENTWISE_MAX_INPUTS] = {lowering->inputs[0]};
    for (size_t next = 1; next < node->input_count;) {
        int32_t count = 1;
        while (count < (int32_t)most && next < node->input_count) {
            operands[count++] = lowering->inputs[next++];
        }
        int32_t length = chain(variadic_operation(node), count, instructions);
        bool last = next == node->input_count;
        wefti_view target = output;
        if (last && strcmp(node->op_type, "Mean") == 0) {
            instructions[length] = (wefti_instruction){
                .operation = WEFTI_OP_SCALE,
                .a = (uint8_t)(WEFTI_ELEMENTWISE_MAX_INPUTS + length - 1),
                .alpha = 1.0F / (float)node->input_count};
            length++;
        }
        if (!last) {
            WEFTI_TRY(wefti_lower_temporary(lowering, output.type, output.rank,
                                            output.dims, &target));
        }
        WEFTI_TRY(wefti_lower_elementwise(lowering, operands, count, instructions,
                                          length, &target));
        operands[0] = target;
    }
    return WEFT_OK;
}
