/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Functions of one f32 input that are short programs of elementwise operations. */

typedef struct program_kind {
    const char *op_type;
    int32_t count;
    wefti_instruction instructions[3];
} program_kind;

static const program_kind programs[] = {
    {"HardSwish",
     3,
     {{.operation = WEFTI_OP_SCALE, .alpha = 1.0F / 6.0F, .beta = 0.5F},
      {.operation = WEFTI_OP_CLIP, .a = 4, .alpha = 0.0F, .beta = 1.0F},
      {.operation = WEFTI_OP_MUL, .a = 0, .b = 5}}},
    {"Mish",
     3,
     {{.operation = WEFTI_OP_SOFTPLUS},
      {.operation = WEFTI_OP_TANH, .a = 4},
      {.operation = WEFTI_OP_MUL, .a = 0, .b = 5}}},
    {"Softsign",
     3,
     {{.operation = WEFTI_OP_ABS},
      {.operation = WEFTI_OP_SCALE, .a = 4, .alpha = 1.0F, .beta = 1.0F},
      {.operation = WEFTI_OP_DIV, .a = 0, .b = 5}}},
    {"Swish",
     3,
     {{.operation = WEFTI_OP_SCALE, .alpha = 1.0F},
      {.operation = WEFTI_OP_SIGMOID, .a = 4},
      {.operation = WEFTI_OP_MUL, .a = 0, .b = 5}}},
    {"Celu",
     3,
     {{.operation = WEFTI_OP_SCALE, .alpha = 1.0F},
      {.operation = WEFTI_OP_ELU, .a = 4, .alpha = 1.0F},
      {.operation = WEFTI_OP_SCALE, .a = 5, .alpha = 1.0F}}},
    {"HardSigmoid",
     2,
     {{.operation = WEFTI_OP_SCALE, .alpha = 0.2F, .beta = 0.5F},
      {.operation = WEFTI_OP_CLIP, .a = 4, .alpha = 0.0F, .beta = 1.0F}}},
    {"Selu",
     2,
     {{.operation = WEFTI_OP_ELU, .alpha = 1.67326319217681884765625F},
      {.operation = WEFTI_OP_SCALE, .a = 4, .alpha = 1.05070102214813232421875F}}},
};

static program_kind make_program(const wefti_node_view *node)
{
    size_t found = 0;
    for (size_t i = 0; i < WEFTI_COUNT_OF(programs); i++) {
        found = strcmp(programs[i].op_type, node->op_type) == 0 ? i : found;
    }
    program_kind kind = programs[found];
    wefti_instruction *first = &kind.instructions[0];
    if (strcmp(kind.op_type, "HardSigmoid") == 0) {
        first->alpha = wefti_attribute_float(node, "alpha", first->alpha);
        first->beta = wefti_attribute_float(node, "beta", first->beta);
    }
    if (strcmp(kind.op_type, "Swish") == 0) {
        first->alpha = wefti_attribute_float(node, "alpha", first->alpha);
    }
    if (strcmp(kind.op_type, "Celu") == 0) {
        float alpha = wefti_attribute_float(node, "alpha", 1.0F);
        first->alpha = 1.0F / alpha;
        kind.instructions[2].alpha = alpha;
    }
    if (strcmp(kind.op_type, "Selu") == 0) {
        first->alpha = wefti_attribute_float(node, "alpha", first->alpha);
        kind.instructions[1].alpha =
            wefti_attribute_float(node, "gamma", kind.instructions[1].alpha);
    }
    return kind;
}

weft_status wefti_infer_activation(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_activation_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    program_kind kind = make_program(lowering->node);
    return wefti_lower_elementwise(lowering, lowering->inputs, 1, kind.instructions,
                                   kind.count, &output);
}

/* BiasGelu and FastGelu of com.microsoft: Gelu of x and an optional bias. */
weft_status wefti_infer_bias_gelu(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    if (wefti_known_present(node, inputs, 1)) {
        WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
        WEFTI_TRY(wefti_check_shape(node, "the bias", &inputs[1], 1,
                                    &inputs[0].dims[inputs[0].rank - 1], error));
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_bias_gelu_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    wefti_view bias = wefti_lower_input(lowering, 1);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    bool fast = strcmp(lowering->node->op_type, "FastGelu") == 0;
    wefti_operation gelu = fast ? WEFTI_OP_GELU_TANH : WEFTI_OP_GELU;
    if (!wefti_view_present(&bias)) {
        wefti_instruction one = {.operation = gelu};
        return wefti_lower_elementwise(lowering, lowering->inputs, 1, &one, 1, &output);
    }
    wefti_view operands[] = {lowering->inputs[0], bias};
    wefti_instruction two[] = {{.operation = WEFTI_OP_ADD, .b = 1},
                               {.operation = gelu, .a = 4}};
    return wefti_lower_elementwise(lowering, operands, 2, two, 2, &output);
}
