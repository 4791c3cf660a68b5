/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/norm.h"

#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

wefti_layer_norm_request wefti_layer_norm_plain(const wefti_view *input,
                                                const wefti_view *output, int32_t axis,
                                                float epsilon)
{
    wefti_view absent = wefti_view_absent();
    return (wefti_layer_norm_request){.input = *input,
                                      .residual = absent,
                                      .scale = absent,
                                      .bias = absent,
                                      .output = *output,
                                      .mean = absent,
                                      .inverse = absent,
                                      .sum = absent,
                                      .axis = axis,
                                      .epsilon = epsilon};
}

/* Makes scale or bias dense over the normalised dims. */
static weft_status lower_vector(wefti_lowering *lowering, const wefti_view *input,
                                int32_t axis, wefti_view *vector)
{
    if (!wefti_view_present(vector)) {
        return WEFT_OK;
    }
    int32_t rank = input->rank - axis;
    wefti_view trimmed = *vector;
    while (trimmed.rank > rank) { /* leading dims of 1 */
        trimmed.rank--;
        memmove(trimmed.dims, trimmed.dims + 1, (size_t)trimmed.rank * sizeof(int64_t));
        memmove(trimmed.strides, trimmed.strides + 1,
                (size_t)trimmed.rank * sizeof(int64_t));
    }
    wefti_view_broadcast(&trimmed, rank, &input->dims[axis]);
    *vector = trimmed;
    return wefti_lower_dense(lowering, vector);
}

weft_status wefti_lower_layer_norm(wefti_lowering *lowering,
                                   wefti_layer_norm_request *request)
{
    const wefti_view input = request->input;
    if (wefti_view_element_count(&input) == 0) {
        return WEFT_OK;
    }
    wefti_layer_norm_params params = {.row_count = 1,
                                      .column_count = 1,
                                      .epsilon = request->epsilon,
                                      .root_mean_square = request->root_mean_square};
    for (int32_t i = 0; i < input.rank; i++) {
        *(i < request->axis ? &params.row_count : &params.column_count) *=
            input.dims[i];
    }
    WEFTI_TRY(wefti_lower_dense(lowering, &request->input));
    WEFTI_TRY(wefti_lower_dense(lowering, &request->residual));
    WEFTI_TRY(lower_vector(lowering, &input, request->axis, &request->scale));
    WEFTI_TRY(lower_vector(lowering, &input, request->axis, &request->bias));
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_LAYER_NORM, &params, sizeof(params));
    step.operands[WEFTI_LAYER_NORM_INPUT] = request->input;
    step.operands[WEFTI_LAYER_NORM_RESIDUAL] = request->residual;
    step.operands[WEFTI_LAYER_NORM_SCALE] = request->scale;
    step.operands[WEFTI_LAYER_NORM_BIAS] = request->bias;
    step.operands[WEFTI_LAYER_NORM_OUTPUT] = request->output;
    step.operands[WEFTI_LAYER_NORM_MEAN] = request->mean;
    step.operands[WEFTI_LAYER_NORM_INVERSE] = request->inverse;
    step.operands[WEFTI_LAYER_NORM_SUM] = request->sum;
    return wefti_lower_end(lowering, &step);
}

weft_status wefti_check_norm_vector(const wefti_node_view *node,
                                    const wefti_known *inputs, size_t index,
                                    int32_t axis, weft_error *error)
{
    if (!wefti_known_present(node, inputs, index)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_check_type(node, inputs, index, WEFTI_TYPES_F32, error));
    const wefti_known *vector = &inputs[index];
    const wefti_known *input = &inputs[0];
    for (int32_t i = 0; i < vector->rank; i++) {
        int32_t target = input->rank - vector->rank + i;
        int64_t dim = vector->dims[i];
        if (dim != 1 && (target < axis || dim != input->dims[target])) {
            wefti_shape_text found;
            wefti_shape_text expected;
            return wefti_error(
                error, WEFT_INVALID_ARGUMENT,
                "%s: input %zu has shape %s, which does not broadcast "
                "to the normalised dimensions %s",
                node->label, index,
                wefti_shape_write(vector->rank, vector->dims, &found),
                wefti_shape_write(input->rank - axis, &input->dims[axis], &expected));
        }
    }
    return WEFT_OK;
}

weft_status wefti_infer_layer_norm(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    if (wefti_attribute_int(node, "stash_type", WEFT_TYPE_F32) != WEFT_TYPE_F32) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: stash_type is not f32; only f32 is supported",
                           node->label);
    }
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", -1),
                               inputs[0].rank, &axis, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_norm_vector(node, inputs, 1, axis, error));
    WEFTI_TRY(wefti_check_norm_vector(node, inputs, 2, axis, error));
    int64_t rows[WEFT_MAX_RANK];
    for (int32_t i = 0; i < inputs[0].rank; i++) {
        rows[i] = i < axis ? inputs[0].dims[i] : 1;
    }
    for (size_t i = 0; i < 3; i++) {
        WEFTI_TRY(wefti_set_output(node, outputs, i,
                                   (wefti_shape){WEFT_TYPE_F32, inputs[0].rank,
                                                 i == 0 ? inputs[0].dims : rows},
                                   error));
    }
    return WEFT_OK;
}

/* An output that nobody reads still has to be written somewhere. */
static weft_status need_output(wefti_lowering *lowering, wefti_view *output)
{
    if (wefti_view_present(output)) {
        return WEFT_OK;
    }
    const wefti_view *input = &lowering->inputs[0];
    return wefti_lower_temporary(lowering, input->type, input->rank, input->dims,
                                 output);
}

weft_status wefti_lower_layer_norm_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    wefti_view output = wefti_lower_output(lowering, 0);
    WEFTI_TRY(need_output(lowering, &output));
    int64_t given = wefti_attribute_int(node, "axis", -1);
    int32_t axis = (int32_t)(given < 0 ? given + lowering->inputs[0].rank : given);
    wefti_layer_norm_request request =
        wefti_layer_norm_plain(&lowering->inputs[0], &output, axis,
                               wefti_attribute_float(node, "epsilon", 1e-5F));
    request.root_mean_square = strcmp(node->op_type, "RMSNormalization") == 0;
    request.scale = wefti_lower_input(lowering, 1);
    request.bias = wefti_lower_input(lowering, 2);
    request.mean = wefti_lower_output(lowering, 1);
    request.inverse = wefti_lower_output(lowering, 2);
    return wefti_lower_layer_norm(lowering, &request);
}
