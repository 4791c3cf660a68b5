/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* FusedElementwise: attribute `program` has four integers for each instruction
 * (operation, a, b, c), attribute `constants` two floats (alpha, beta). The arithmetic
 * is f32; a bool input serves as the first operand of WHERE. */

enum { WORDS = 4, CONSTANTS = 2 };

static weft_status check_register(const wefti_node_view *node, int64_t index,
                                  int32_t instruction, weft_error *error)
{
    bool is_input = index >= 0 && index < (int64_t)node->input_count;
    bool is_result = index >= WEFTI_ELEMENTWISE_MAX_INPUTS &&
                     index < WEFTI_ELEMENTWISE_MAX_INPUTS + instruction;
    if (is_input || is_result) {
        return WEFT_OK;
    }
    return wefti_error(error, WEFT_INTERNAL,
                       "%s: instruction %d reads register %lld, which has no value",
                       node->label, (int)instruction, (long long)index);
}

static weft_status read_instruction(const wefti_node_view *node, const int64_t *words,
                                    int32_t index, wefti_instruction *instruction,
                                    weft_error *error)
{
    if (words[0] < 0 || words[0] >= WEFTI_OP_COUNT) {
        return wefti_error(error, WEFT_INTERNAL, "%s: operation %lld is unknown",
                           node->label, (long long)words[0]);
    }
    instruction->operation = (wefti_operation)words[0];
    uint8_t *registers[] = {&instruction->a, &instruction->b, &instruction->c};
    int32_t arity = wefti_operation_arity(instruction->operation);
    for (int32_t i = 0; i < arity; i++) {
        WEFTI_TRY(check_register(node, words[i + 1], index, error));
        *registers[i] = (uint8_t)words[i + 1];
    }
    return WEFT_OK;
}

static weft_status read_program(const wefti_node_view *node,
                                wefti_instruction *instructions, int32_t *count,
                                weft_error *error)
{
    size_t word_count = 0;
    size_t constant_count = 0;
    const int64_t *words = wefti_attribute_ints(node, "program", &word_count);
    const float *constants = wefti_attribute_floats(node, "constants", &constant_count);
    size_t length = word_count / WORDS;
    if (length < 1 || length > WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS ||
        word_count % WORDS != 0 || constant_count != length * CONSTANTS) {
        return wefti_error(error, WEFT_INTERNAL,
                           "%s: a program of %zu words and %zu constants is malformed",
                           node->label, word_count, constant_count);
    }
    *count = (int32_t)length;
    for (int32_t i = 0; i < *count; i++) {
        instructions[i] = (wefti_instruction){.alpha = constants[i * CONSTANTS],
                                              .beta = constants[i * CONSTANTS + 1]};
        WEFTI_TRY(
            read_instruction(node, words + i * WORDS, i, &instructions[i], error));
    }
    return WEFT_OK;
}

static bool gives_bool(wefti_operation operation)
{
    return (operation >= WEFTI_OP_EQUAL && operation <= WEFTI_OP_XOR) ||
           operation == WEFTI_OP_NOT || operation == WEFTI_OP_IS_NAN;
}

weft_status wefti_infer_fused_elementwise(const wefti_node_view *node,
                                          const wefti_known *inputs,
                                          wefti_known *outputs, weft_error *error)
{
    wefti_instruction instructions[WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS];
    int32_t count = 0;
    WEFTI_TRY(read_program(node, instructions, &count, error));
    for (size_t i = 0; i < node->input_count; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32 | WEFTI_TYPES_BOOL,
                                   error));
    }
    wefti_known shape = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, inputs, node->input_count, &shape, error));
    bool to_bool = gives_bool(instructions[count - 1].operation);
    return wefti_set_output(
        node, outputs, 0,
        (wefti_shape){to_bool ? WEFT_TYPE_BOOL : WEFT_TYPE_F32, shape.rank, shape.dims},
        error);
}

weft_status wefti_lower_fused_elementwise_node(wefti_lowering *lowering)
{
    wefti_instruction instructions[WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS];
    int32_t count = 0;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    WEFTI_TRY(read_program(lowering->node, instructions, &count, lowering->error));
    return wefti_lower_elementwise(lowering, lowering->inputs,
                                   (int32_t)lowering->node->input_count, instructions,
                                   count, &output);
}
