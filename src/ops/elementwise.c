/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/elementwise.h"

#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Operators that are one operation for each element, with broadcasting. */

typedef struct element_kind {
    const char *op_type;
    wefti_operation operation;
    uint32_t types; /* of the operands; Where: of the two choices */
    bool to_bool;
} element_kind;

static const element_kind kinds[] = {
    {"Neg", WEFTI_OP_NEG, WEFTI_TYPES_ARITHMETIC, false},
    {"Abs", WEFTI_OP_ABS, WEFTI_TYPES_ARITHMETIC, false},
    {"Sign", WEFTI_OP_SIGN, WEFTI_TYPES_ARITHMETIC, false},
    {"Reciprocal", WEFTI_OP_RECIPROCAL, WEFTI_TYPES_FLOAT, false},
    {"Sqrt", WEFTI_OP_SQRT, WEFTI_TYPES_FLOAT, false},
    {"Exp", WEFTI_OP_EXP, WEFTI_TYPES_FLOAT, false},
    {"Log", WEFTI_OP_LOG, WEFTI_TYPES_FLOAT, false},
    {"Erf", WEFTI_OP_ERF, WEFTI_TYPES_FLOAT, false},
    {"Tanh", WEFTI_OP_TANH, WEFTI_TYPES_FLOAT, false},
    {"Sigmoid", WEFTI_OP_SIGMOID, WEFTI_TYPES_FLOAT, false},
    {"Relu", WEFTI_OP_RELU, WEFTI_TYPES_ARITHMETIC, false},
    {"LeakyRelu", WEFTI_OP_LEAKY_RELU, WEFTI_TYPES_FLOAT, false},
    {"Elu", WEFTI_OP_ELU, WEFTI_TYPES_F32, false},
    {"Gelu", WEFTI_OP_GELU, WEFTI_TYPES_F32, false},
    {"Floor", WEFTI_OP_FLOOR, WEFTI_TYPES_FLOAT, false},
    {"Ceil", WEFTI_OP_CEIL, WEFTI_TYPES_FLOAT, false},
    {"Round", WEFTI_OP_ROUND, WEFTI_TYPES_FLOAT, false},
    {"Sin", WEFTI_OP_SIN, WEFTI_TYPES_FLOAT, false},
    {"Cos", WEFTI_OP_COS, WEFTI_TYPES_FLOAT, false},
    {"Softplus", WEFTI_OP_SOFTPLUS, WEFTI_TYPES_F32, false},
    {"Tan", WEFTI_OP_TAN, WEFTI_TYPES_F32, false},
    {"Asin", WEFTI_OP_ASIN, WEFTI_TYPES_F32, false},
    {"Acos", WEFTI_OP_ACOS, WEFTI_TYPES_F32, false},
    {"Atan", WEFTI_OP_ATAN, WEFTI_TYPES_F32, false},
    {"Sinh", WEFTI_OP_SINH, WEFTI_TYPES_F32, false},
    {"Cosh", WEFTI_OP_COSH, WEFTI_TYPES_F32, false},
    {"Asinh", WEFTI_OP_ASINH, WEFTI_TYPES_F32, false},
    {"Acosh", WEFTI_OP_ACOSH, WEFTI_TYPES_F32, false},
    {"Atanh", WEFTI_OP_ATANH, WEFTI_TYPES_F32, false},
    {"BitwiseNot", WEFTI_OP_BIT_NOT, WEFTI_TYPES_INTEGER, false},
    {"Not", WEFTI_OP_NOT, WEFTI_TYPES_BOOL, true},
    {"IsNaN", WEFTI_OP_IS_NAN, WEFTI_TYPES_FLOAT, true},
    {"Add", WEFTI_OP_ADD, WEFTI_TYPES_ARITHMETIC, false},
    {"Sub", WEFTI_OP_SUB, WEFTI_TYPES_ARITHMETIC, false},
    {"Mul", WEFTI_OP_MUL, WEFTI_TYPES_ARITHMETIC, false},
    {"Div", WEFTI_OP_DIV, WEFTI_TYPES_ARITHMETIC, false},
    {"Mod", WEFTI_OP_MOD, WEFTI_TYPES_ARITHMETIC, false},
    {"PRelu", WEFTI_OP_PRELU, WEFTI_TYPES_FLOAT, false},
    {"BitwiseAnd", WEFTI_OP_BIT_AND, WEFTI_TYPES_INTEGER, false},
    {"BitwiseOr", WEFTI_OP_BIT_OR, WEFTI_TYPES_INTEGER, false},
    {"BitwiseXor", WEFTI_OP_BIT_XOR, WEFTI_TYPES_INTEGER, false},
    {"BitShift", WEFTI_OP_SHIFT_LEFT, WEFTI_TYPES_INTEGER, false},
    {"Equal", WEFTI_OP_EQUAL, WEFTI_TYPES_VALUE, true},
    {"Less", WEFTI_OP_LESS, WEFTI_TYPES_ARITHMETIC, true},
    {"LessOrEqual", WEFTI_OP_LESS_EQUAL, WEFTI_TYPES_ARITHMETIC, true},
    {"Greater", WEFTI_OP_GREATER, WEFTI_TYPES_ARITHMETIC, true},
    {"GreaterOrEqual", WEFTI_OP_GREATER_EQUAL, WEFTI_TYPES_ARITHMETIC, true},
    {"And", WEFTI_OP_AND, WEFTI_TYPES_BOOL, true},
    {"Or", WEFTI_OP_OR, WEFTI_TYPES_BOOL, true},
    {"Xor", WEFTI_OP_XOR, WEFTI_TYPES_BOOL, true},
    {"Where", WEFTI_OP_WHERE, WEFTI_TYPES_VALUE, false},
    {"FastGelu", WEFTI_OP_GELU_TANH, WEFTI_TYPES_F32, false},
};

static const element_kind *find_kind(const wefti_node_view *node)
{
    for (size_t i = 0; i < WEFTI_COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i].op_type, node->op_type) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

bool wefti_elementwise_instruction(const wefti_node_view *node,
                                   wefti_instruction *instruction)
{
    const element_kind *kind = find_kind(node);
    if (!kind || wefti_operation_arity(kind->operation) != (int32_t)node->input_count) {
        return false;
    }
    *instruction = (wefti_instruction){.operation = kind->operation, .b = 1, .c = 2};
    switch (kind->operation) {
    case WEFTI_OP_LEAKY_RELU:
        instruction->alpha = wefti_attribute_float(node, "alpha", 0.01F);
        break;
    case WEFTI_OP_ELU:
        instruction->alpha = wefti_attribute_float(node, "alpha", 1.0F);
        break;
    case WEFTI_OP_GELU:
        if (strcmp(wefti_attribute_string(node, "approximate", "none"), "tanh") == 0) {
            instruction->operation = WEFTI_OP_GELU_TANH;
        }
        break;
    case WEFTI_OP_SHIFT_LEFT:
        if (strcmp(wefti_attribute_string(node, "direction", ""), "RIGHT") == 0) {
            instruction->operation = WEFTI_OP_SHIFT_RIGHT;
        }
        break;
    case WEFTI_OP_MOD:
        instruction->alpha = wefti_attribute_int(node, "fmod", 0) ? 1.0F : 0.0F;
        break;
    default:
        break;
    }
    return true;
}

static weft_status check_attributes(const wefti_node_view *node,
                                    const element_kind *kind, const wefti_known *inputs,
                                    weft_error *error)
{
    if (kind->operation == WEFTI_OP_GELU) {
        const char *approximate = wefti_attribute_string(node, "approximate", "none");
        if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: approximate is \"%s\"; expected \"none\" or "
                               "\"tanh\"",
                               node->label, approximate);
        }
    }
    if (kind->operation == WEFTI_OP_SHIFT_LEFT) {
        const char *direction = wefti_attribute_string(node, "direction", "");
        if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: direction is \"%s\"; expected LEFT or RIGHT",
                               node->label, direction);
        }
    }
    bool is_float = (WEFTI_TYPES_FLOAT & WEFTI_TYPE_SET(inputs[0].type)) != 0;
    if (kind->operation == WEFTI_OP_MOD && is_float && node->opset < 28 &&
        !wefti_attribute_int(node, "fmod", 0)) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: Mod of %s needs the attribute fmod=1", node->label,
                           weft_type_name(inputs[0].type));
    }
    return WEFT_OK;
}

weft_status wefti_infer_elementwise(const wefti_node_view *node,
                                    const wefti_known *inputs, wefti_known *outputs,
                                    weft_error *error)
{
    const element_kind *kind = find_kind(node);
    if (!kind) {
        return wefti_error(error, WEFT_INTERNAL, "%s: not an elementwise operator",
                           node->label);
    }
    bool selects = kind->operation == WEFTI_OP_WHERE;
    if (selects) {
        WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_BOOL, error));
    }
    int32_t arity = wefti_operation_arity(kind->operation);
    for (int32_t i = 0; i < arity; i++) {
        if (!selects || i > 0) {
            WEFTI_TRY(wefti_check_type(node, inputs, (size_t)i, kind->types, error));
        }
    }
    WEFTI_TRY(wefti_check_types(node, inputs, selects ? 1 : 0, kind->types, error));
    WEFTI_TRY(check_attributes(node, kind, inputs, error));
    wefti_known shape = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, inputs, (size_t)arity, &shape, error));
    if (kind->operation == WEFTI_OP_PRELU) {
        WEFTI_TRY(wefti_check_shape(node, "x broadcast with slope", &shape,
                                    inputs[0].rank, inputs[0].dims, error));
    }
    weft_type type = kind->to_bool ? WEFT_TYPE_BOOL : inputs[selects ? 1 : 0].type;
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){type, shape.rank, shape.dims}, error);
}

weft_status wefti_lower_elementwise_node(wefti_lowering *lowering)
{
    wefti_instruction instruction;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_elementwise_instruction(lowering->node, &instruction)) {
        return wefti_error(lowering->error, WEFT_INTERNAL,
                           "%s: not an elementwise operator", lowering->node->label);
    }
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    return wefti_lower_elementwise(lowering, lowering->inputs,
                                   (int32_t)lowering->node->input_count, &instruction,
                                   1, &output);
}
