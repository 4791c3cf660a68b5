/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/reduce.h"

/* ReduceLogSum, ReduceLogSumExp, LpNormalization, MeanVarianceNormalization: sums with
 * elementwise programs around them. */

weft_status wefti_infer_reduce_log(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_FLOAT, error));
    return wefti_infer_reduce(node, inputs, outputs, error);
}

/* A dense temporary with the input's dims, 1 where reduced. */
static weft_status make_kept(wefti_lowering *lowering, const wefti_view *input,
                             const bool *reduced, wefti_view *kept)
{
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < input->rank; i++) {
        dims[i] = reduced[i] ? 1 : input->dims[i];
    }
    return wefti_lower_temporary(lowering, input->type, input->rank, dims, kept);
}

/* Adds a program, which for other types than f32 takes a step for each instruction:
 * the results between lie in `between`, of the output's shape. */
static weft_status lower_program(wefti_lowering *lowering, const wefti_view *inputs,
                                 int32_t input_count, const wefti_instruction two[2],
                                 const wefti_view *output)
{
    if (output->type == WEFT_TYPE_F32) {
        return wefti_lower_elementwise(lowering, inputs, input_count, two, 2, output);
    }
    wefti_view between[2] = {*output, inputs[input_count - 1]};
    wefti_instruction second = two[1];
    second.a = 0;
    WEFTI_TRY(wefti_lower_temporary(lowering, output->type, output->rank, output->dims,
                                    &between[0]));
    int32_t first_arity = wefti_operation_arity(two[0].operation);
    int32_t second_arity = wefti_operation_arity(second.operation);
    WEFTI_TRY(
        wefti_lower_elementwise(lowering, inputs, first_arity, two, 1, &between[0]));
    return wefti_lower_elementwise(lowering, between, second_arity, &second, 1, output);
}

/* log(sum(exp(x - m))) + m with m the largest x, or a finite number near it. */
static weft_status lower_log_sum_exp(wefti_lowering *lowering, const bool *reduced,
                                     const wefti_view *output)
{
    static const wefti_instruction bound[] = {
        {.operation = WEFTI_OP_CLIP, .alpha = -FLT_MAX, .beta = FLT_MAX}};
    static const wefti_instruction shifted[] = {
        {.operation = WEFTI_OP_SUB, .b = 1},
        {.operation = WEFTI_OP_EXP, .a = WEFTI_ELEMENTWISE_MAX_INPUTS}};
    static const wefti_instruction back[] = {
        {.operation = WEFTI_OP_LOG},
        {.operation = WEFTI_OP_ADD, .a = WEFTI_ELEMENTWISE_MAX_INPUTS, .b = 1}};
    const wefti_view input = lowering->inputs[0];
    wefti_view most, middle, raised, sum;
    WEFTI_TRY(make_kept(lowering, &input, reduced, &most));
    WEFTI_TRY(make_kept(lowering, &input, reduced, &middle));
    WEFTI_TRY(make_kept(lowering, &input, reduced, &sum));
    WEFTI_TRY(
        wefti_lower_temporary(lowering, input.type, input.rank, input.dims, &raised));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_MAX, &input, reduced, &most));
    WEFTI_TRY(wefti_lower_elementwise(lowering, &most, 1, bound, 1, &middle));
    const wefti_view both[] = {input, middle};
    WEFTI_TRY(lower_program(lowering, both, 2, shifted, &raised));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_SUM, &raised, reduced, &sum));
    wefti_view shaped[] = {sum, middle};
    (void)wefti_view_reshape(&shaped[0], output->rank, output->dims); /* both dense */
    (void)wefti_view_reshape(&shaped[1], output->rank, output->dims);
    return lower_program(lowering, shaped, 2, back, output);
}

weft_status wefti_lower_reduce_log_node(wefti_lowering *lowering)
{
    static const wefti_instruction logarithm = {.operation = WEFTI_OP_LOG};
    bool reduced[WEFT_MAX_RANK];
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    const wefti_view *input = &lowering->inputs[0];
    WEFTI_TRY(wefti_reduce_axes(lowering->node, lowering->known_inputs, reduced,
                                lowering->error));
    if (strcmp(lowering->node->op_type, "ReduceLogSumExp") == 0) {
        return lower_log_sum_exp(lowering, reduced, &output);
    }
    wefti_view sum;
    WEFTI_TRY(
        wefti_lower_temporary(lowering, output.type, output.rank, output.dims, &sum));
    WEFTI_TRY(wefti_lower_reduction(lowering, WEFTI_REDUCE_SUM, input, reduced, &sum));
    return wefti_lower_elementwise(lowering, &sum, 1, &logarithm, 1, &output);
}

weft_status wefti_infer_lp_norm(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_FLOAT, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", -1),
                               inputs[0].rank, &axis, error));
    int64_t p = wefti_attribute_int(node, "p", 2);
    if (p != 1 && p != 2) {
        return wefti_error(error, WEFT_INVALID_MODEL, "%s: p is %lld; expected 1 or 2",
                           node->label, (long long)p);
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

/* x / |x|, and 0 where all of x is. */
weft_status wefti_lower_lp_norm_node(wefti_lowering *lowering)
{
    static const wefti_instruction divide = {.operation = WEFTI_OP_DIV, .b = 1};
    static const wefti_instruction is_zero = {.operation = WEFTI_OP_EQUAL, .b = 1};
    static const wefti_instruction choose = {
        .operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    const wefti_view input = lowering->inputs[0];
    int64_t axis = wefti_attribute_int(lowering->node, "axis", -1);
    bool reduced[WEFT_MAX_RANK] = {false};
    reduced[axis < 0 ? axis + input.rank : axis] = true;
    bool absolute = wefti_attribute_int(lowering->node, "p", 2) == 1;
    wefti_view norm, nothing, one, zero, safe;
    uint64_t bits = wefti_value_bits(input.type, 1), none = 0;
    WEFTI_TRY(make_kept(lowering, &input, reduced, &norm));
    WEFTI_TRY(make_kept(lowering, &input, reduced, &safe));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_BOOL, norm.rank, norm.dims,
                                    &nothing));
    WEFTI_TRY(wefti_lower_constant(lowering, input.type, 0, norm.dims, &bits, &one));
    WEFTI_TRY(wefti_lower_constant(lowering, input.type, 0, norm.dims, &none, &zero));
    WEFTI_TRY(wefti_lower_reduction(lowering,
                                    absolute ? WEFTI_REDUCE_L1 : WEFTI_REDUCE_L2,
                                    &input, reduced, &norm));
    const wefti_view compared[] = {norm, zero}, choices[] = {nothing, one, norm};
    WEFTI_TRY(wefti_lower_elementwise(lowering, compared, 2, &is_zero, 1, &nothing));
    WEFTI_TRY(wefti_lower_elementwise(lowering, choices, 3, &choose, 1, &safe));
    const wefti_view both[] = {input, safe};
    return wefti_lower_elementwise(lowering, both, 2, &divide, 1, &output);
}

static weft_status read_variance_axes(const wefti_node_view *node, int32_t rank,
                                      bool *reduced, weft_error *error)
{
    static const int64_t usual[] = {0, 2, 3};
    size_t count = 0;
    const int64_t *axes = wefti_attribute_ints(node, "axes", &count);
    axes = axes == NULL ? usual : axes;
    count = axes == usual ? 3 : count;
    return wefti_check_axes(node, axes, count, rank, reduced, error);
}

weft_status wefti_infer_mean_variance(const wefti_node_view *node,
                                      const wefti_known *inputs, wefti_known *outputs,
                                      weft_error *error)
{
    bool reduced[WEFT_MAX_RANK];
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(read_variance_axes(node, inputs[0].rank, reduced, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, inputs[0].dims},
        error);
}

/* (x - mean) / (sqrt(mean of (x - mean)^2) + 1e-9) */
weft_status wefti_lower_mean_variance_node(wefti_lowering *lowering)
{
    static const wefti_instruction subtract = {.operation = WEFTI_OP_SUB, .b = 1};
    static const wefti_instruction square = {.operation = WEFTI_OP_MUL, .b = 0};
    static const wefti_instruction scale[] = {
        {.operation = WEFTI_OP_SQRT, .a = 1},
        {.operation = WEFTI_OP_SCALE, .a = 4, .alpha = 1.0F, .beta = 1e-9F},
        {.operation = WEFTI_OP_DIV, .a = 0, .b = 5}};
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    bool reduced[WEFT_MAX_RANK];
    const wefti_view input = lowering->inputs[0];
    wefti_view mean, variance, centred, squared;
    WEFTI_TRY(read_variance_axes(lowering->node, input.rank, reduced, lowering->error));
    WEFTI_TRY(make_kept(lowering, &input, reduced, &mean));
    WEFTI_TRY(make_kept(lowering, &input, reduced, &variance));
    WEFTI_TRY(
        wefti_lower_temporary(lowering, input.type, input.rank, input.dims, &centred));
    WEFTI_TRY(
        wefti_lower_temporary(lowering, input.type, input.rank, input.dims, &squared));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_MEAN, &input, reduced, &mean));
    const wefti_view first[] = {input, mean}, last[] = {centred, variance};
    WEFTI_TRY(wefti_lower_elementwise(lowering, first, 2, &subtract, 1, &centred));
    WEFTI_TRY(wefti_lower_elementwise(lowering, &centred, 1, &square, 1, &squared));
    WEFTI_TRY(wefti_lower_reduction(lowering, WEFTI_REDUCE_MEAN, &squared, reduced,
                                    &variance));
    return wefti_lower_elementwise(lowering, last, 2, scale, 3, &output);
}
