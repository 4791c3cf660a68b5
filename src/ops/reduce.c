/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/reduce.h"

#include <math.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

typedef struct reduce_kind {
    const char *op_type;
    wefti_reduction reduction;
    int32_t axes_input_since; /* opset from which the axes are an input */
} reduce_kind;

static const reduce_kind kinds[] = {
    {"ReduceSum", WEFTI_REDUCE_SUM, 13},
    {"ReduceMean", WEFTI_REDUCE_MEAN, 18},
    {"ReduceMax", WEFTI_REDUCE_MAX, 18},
    {"ReduceMin", WEFTI_REDUCE_MIN, 18},
    {"ReduceProd", WEFTI_REDUCE_PROD, 18},
    {"ReduceSumSquare", WEFTI_REDUCE_SUM_SQUARE, 18},
    {"ReduceL1", WEFTI_REDUCE_L1, 18},
    {"ReduceL2", WEFTI_REDUCE_L2, 18},
    {"ReduceLogSum", WEFTI_REDUCE_SUM, 18},
    {"ReduceLogSumExp", WEFTI_REDUCE_SUM, 18},
};

static const reduce_kind *find_kind(const wefti_node_view *node)
{
    for (size_t i = 0; i < WEFTI_COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i].op_type, node->op_type) == 0) {
            return &kinds[i];
        }
    }
    return &kinds[0];
}

weft_status wefti_reduce_axes(const wefti_node_view *node, const wefti_known *inputs,
                              bool *reduced, weft_error *error)
{
    int64_t values[WEFT_MAX_RANK];
    const int64_t *axes = values;
    size_t count = 0;
    int32_t rank = inputs[0].rank;
    bool as_attribute = node->opset < find_kind(node)->axes_input_since;
    if (!as_attribute && wefti_attribute_find(node, "axes")) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: axes are an input, not an attribute, in opset %d",
                           node->label, (int)node->opset);
    }
    if (as_attribute) {
        axes = wefti_attribute_ints(node, "axes", &count);
    } else if (wefti_known_present(node, inputs, 1)) {
        WEFTI_TRY(wefti_check_integers(node, inputs, 1,
                                       (wefti_integer_room){values, WEFT_MAX_RANK},
                                       &count, error));
    }
    if (count > 0) {
        return wefti_check_axes(node, axes, count, rank, reduced, error);
    }
    bool none = wefti_attribute_int(node, "noop_with_empty_axes", 0) != 0;
    for (int32_t i = 0; i < rank; i++) {
        reduced[i] = !none;
    }
    return WEFT_OK;
}

static weft_status set_reduced(const wefti_node_view *node, const wefti_known *input,
                               const bool *reduced, weft_type type,
                               wefti_known *outputs, weft_error *error)
{
    bool keep = wefti_attribute_int(node, "keepdims", 1) != 0;
    int64_t dims[WEFT_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < input->rank; i++) {
        if (!reduced[i] || keep) {
            dims[rank++] = reduced[i] ? 1 : input->dims[i];
        }
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){type, rank, dims}, error);
}

weft_status wefti_infer_reduce(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    bool reduced[WEFT_MAX_RANK];
    wefti_reduction reduction = find_kind(node)->reduction;
    bool compares = reduction == WEFTI_REDUCE_MAX || reduction == WEFTI_REDUCE_MIN;
    uint32_t types = reduction == WEFTI_REDUCE_L2 ? WEFTI_TYPES_FLOAT
                     : compares                   ? WEFTI_TYPES_VALUE
                                                  : WEFTI_TYPES_NUMBER;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, types, error));
    WEFTI_TRY(wefti_reduce_axes(node, inputs, reduced, error));
    return set_reduced(node, &inputs[0], reduced, inputs[0].type, outputs, error);
}

/* What a reduction of nothing gives. */
static double empty_value(wefti_reduction reduction, weft_type type)
{
    bool is_float = (WEFTI_TYPES_FLOAT & WEFTI_TYPE_SET(type)) != 0;
    switch (reduction) {
    case WEFTI_REDUCE_PROD:
        return 1;
    case WEFTI_REDUCE_MEAN:
        return is_float ? (double)NAN : 0;
    case WEFTI_REDUCE_MAX:
        return is_float ? -(double)INFINITY
                        : (type == WEFT_TYPE_I32 ? -0x1p31 : -0x1p63);
    case WEFTI_REDUCE_MIN:
        return is_float ? (double)INFINITY : 0;
    default:
        return 0;
    }
}

static weft_status fill_empty(wefti_lowering *lowering, wefti_reduction reduction,
                              const wefti_view *output)
{
    uint64_t bits =
        wefti_value_bits(output->type, empty_value(reduction, output->type));
    if (reduction == WEFTI_REDUCE_MIN && output->type == WEFT_TYPE_I32) {
        bits = INT32_MAX;
    }
    if (reduction == WEFTI_REDUCE_MIN && output->type == WEFT_TYPE_I64) {
        bits = INT64_MAX;
    }
    return wefti_lower_fill(lowering, output, bits);
}

weft_status wefti_lower_reduction(wefti_lowering *lowering, wefti_reduction reduction,
                                  const wefti_view *input, const bool *reduced,
                                  const wefti_view *output)
{
    if (wefti_view_element_count(output) == 0) {
        return WEFT_OK;
    }
    if (wefti_view_element_count(input) == 0) {
        return fill_empty(lowering, reduction, output);
    }
    wefti_reduce_params params = {.reduction = reduction, .type = input->type};
    for (int32_t i = 0; i < input->rank; i++) {
        int32_t *rank = reduced[i] ? &params.reduced_rank : &params.kept_rank;
        int64_t *dims = reduced[i] ? params.reduced_dims : params.kept_dims;
        int64_t *strides = reduced[i] ? params.reduced_strides : params.kept_strides;
        dims[*rank] = input->dims[i];
        strides[*rank] = input->strides[i];
        (*rank)++;
    }
    int64_t *const kept[] = {params.kept_strides};
    int64_t *const gone[] = {params.reduced_strides};
    params.kept_rank = wefti_collapse_dims(params.kept_rank, params.kept_dims, kept, 1);
    params.reduced_rank =
        wefti_collapse_dims(params.reduced_rank, params.reduced_dims, gone, 1);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_REDUCE, &params, sizeof(params));
    step.operands[WEFTI_REDUCE_INPUT] = *input;
    step.operands[WEFTI_REDUCE_OUTPUT] = *output;
    return wefti_lower_end(lowering, &step);
}

/* Bytes and truth values are compared as i32. */
static weft_status lower_narrow(wefti_lowering *lowering, wefti_reduction reduction,
                                const wefti_view *input, const bool *reduced,
                                const wefti_view *output)
{
    bool largest = reduction == WEFTI_REDUCE_MAX, truth = input->type == WEFT_TYPE_BOOL;
    bool is_signed = input->type == WEFT_TYPE_I8;
    if (wefti_view_element_count(input) == 0) {
        uint8_t low = is_signed ? 0x80 : 0;
        uint8_t high = truth ? 1 : (is_signed ? 0x7f : 0xff);
        return wefti_lower_fill(lowering, output, largest ? low : high);
    }
    wefti_view wide, result;
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_I32, input->rank, input->dims,
                                    &wide));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_I32, output->rank, output->dims,
                                    &result));
    WEFTI_TRY(wefti_lower_copy(lowering, input, &wide));
    WEFTI_TRY(wefti_lower_reduction(lowering, reduction, &wide, reduced, &result));
    return wefti_lower_copy(lowering, &result, output);
}

static bool any_axis(const bool *reduced, int32_t rank)
{
    for (int32_t i = 0; i < rank; i++) {
        if (reduced[i]) {
            return true;
        }
    }
    return false;
}

/* A reduction over no axis: of each element alone. */
static weft_status lower_alone(wefti_lowering *lowering, wefti_reduction reduction,
                               const wefti_view *output)
{
    const wefti_view *input = &lowering->inputs[0];
    const wefti_instruction absolute[] = {{.operation = WEFTI_OP_ABS}};
    const wefti_instruction square[] = {{.operation = WEFTI_OP_MUL}};
    switch (reduction) {
    case WEFTI_REDUCE_L1:
    case WEFTI_REDUCE_L2:
        return wefti_lower_elementwise(lowering, input, 1, absolute, 1, output);
    case WEFTI_REDUCE_SUM_SQUARE:
        return wefti_lower_elementwise(lowering, input, 1, square, 1, output);
    default:
        return wefti_lower_alias(lowering, 0, input);
    }
}

weft_status wefti_lower_reduce_node(wefti_lowering *lowering)
{
    bool reduced[WEFT_MAX_RANK];
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    const wefti_view *input = &lowering->inputs[0];
    WEFTI_TRY(wefti_reduce_axes(lowering->node, lowering->known_inputs, reduced,
                                lowering->error));
    wefti_reduction reduction = find_kind(lowering->node)->reduction;
    bool noop = !any_axis(reduced, input->rank) && input->rank > 0;
    if (noop && wefti_attribute_int(lowering->node, "noop_with_empty_axes", 0)) {
        return lower_alone(lowering, reduction, &output);
    }
    bool narrow = (WEFTI_TYPES_NUMBER & WEFTI_TYPE_SET(input->type)) == 0;
    return narrow ? lower_narrow(lowering, reduction, input, reduced, &output)
                  : wefti_lower_reduction(lowering, reduction, input, reduced, &output);
}

weft_status wefti_infer_arg_reduce(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_NUMBER, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0),
                               inputs[0].rank, &axis, error));
    if (inputs[0].dims[axis] == 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: there is nothing to choose from, dimension %d is 0",
                           node->label, (int)axis);
    }
    bool reduced[WEFT_MAX_RANK] = {false};
    reduced[axis] = true;
    return set_reduced(node, &inputs[0], reduced, WEFT_TYPE_I64, outputs, error);
}

/* The last of the largest is the first one seen from the end. */
static weft_status lower_from_end(wefti_lowering *lowering, wefti_reduction reduction,
                                  int32_t axis, const wefti_view *output)
{
    static const wefti_instruction subtract = {.operation = WEFTI_OP_SUB, .b = 1};
    wefti_view input = lowering->inputs[0], operands[2];
    bool reduced[WEFT_MAX_RANK] = {false};
    reduced[axis] = true;
    int64_t last = input.dims[axis] - 1, none = 0;
    if (wefti_view_element_count(&input) == 0) {
        return WEFT_OK;
    }
    input.offset_bytes +=
        last * input.strides[axis] * (int64_t)weft_type_size(input.type);
    input.strides[axis] = -input.strides[axis];
    WEFTI_TRY(
        wefti_lower_constant(lowering, WEFT_TYPE_I64, 0, &none, &last, &operands[0]));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_I64, output->rank, output->dims,
                                    &operands[1]));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, reduction, &input, reduced, &operands[1]));
    return wefti_lower_elementwise(lowering, operands, 2, &subtract, 1, output);
}

weft_status wefti_lower_arg_reduce_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    const wefti_view *input = &lowering->inputs[0];
    bool reduced[WEFT_MAX_RANK] = {false};
    int64_t axis = wefti_attribute_int(lowering->node, "axis", 0);
    axis += axis < 0 ? input->rank : 0;
    reduced[axis] = true;
    wefti_reduction reduction = strcmp(lowering->node->op_type, "ArgMax") == 0
                                    ? WEFTI_REDUCE_ARGMAX
                                    : WEFTI_REDUCE_ARGMIN;
    if (wefti_attribute_int(lowering->node, "select_last_index", 0)) {
        return lower_from_end(lowering, reduction, (int32_t)axis, &output);
    }
    return wefti_lower_reduction(lowering, reduction, input, reduced, &output);
}
