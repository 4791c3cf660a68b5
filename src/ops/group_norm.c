/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/norm.h"

/* InstanceNormalization and GroupNormalization: rows of channels normalised by the
 * kernel of LayerNormalization, then one multiply-add per element. */

static weft_status infer(const wefti_node_view *node, const wefti_known *inputs,
                         int64_t vector_length, wefti_known *outputs, weft_error *error)
{
    const char *const names[] = {NULL, "the scale", "the bias"};
    for (size_t i = 1; i < 3; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(
            wefti_check_shape(node, names[i], &inputs[i], 1, &vector_length, error));
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_infer_instance_norm(const wefti_node_view *node,
                                      const wefti_known *inputs, wefti_known *outputs,
                                      weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 2, WEFT_MAX_RANK, error));
    return infer(node, inputs, inputs[0].dims[1], outputs, error);
}

weft_status wefti_infer_group_norm(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 2, WEFT_MAX_RANK, error));
    int64_t groups = wefti_attribute_int(node, "num_groups", 0);
    int64_t channels = inputs[0].dims[1];
    if (groups < 1 || channels % groups != 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: %lld channels cannot be divided into %lld groups",
                           node->label, (long long)channels, (long long)groups);
    }
    /* One scale per group before opset 21, one per channel since. */
    return infer(node, inputs, node->opset < 21 ? groups : channels, outputs, error);
}

/* A view of a vector that repeats over [batch, length, rest]. */
static wefti_view middle_view(const wefti_view *vector, int64_t batch, int64_t rest)
{
    wefti_view view = *vector;
    view.rank = 3;
    view.dims[1] = vector->dims[0];
    view.strides[1] = vector->strides[0];
    view.dims[0] = batch;
    view.dims[2] = rest;
    view.strides[0] = view.strides[2] = 0;
    return view;
}

static weft_status lower_groups(wefti_lowering *lowering, int64_t groups)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    wefti_view input = lowering->inputs[0];
    int64_t count = wefti_view_element_count(&input);
    if (!wefti_view_present(&output) || count == 0) {
        return WEFT_OK;
    }
    int64_t batch = input.dims[0];
    int64_t vector_length = lowering->inputs[1].dims[0];
    int64_t rows[] = {batch, groups, count / batch / groups};
    int64_t vectors[] = {batch, vector_length, count / batch / vector_length};
    WEFTI_TRY(wefti_lower_reshape_view(lowering, &input, 3, rows));
    wefti_view normal;
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 3, rows, &normal));
    wefti_layer_norm_request request = wefti_layer_norm_plain(
        &input, &normal, 2, wefti_attribute_float(lowering->node, "epsilon", 1e-5F));
    WEFTI_TRY(wefti_lower_layer_norm(lowering, &request));
    (void)wefti_view_reshape(&normal, 3, vectors);
    (void)wefti_view_reshape(&output, 3, vectors);
    wefti_view operands[] = {normal,
                             middle_view(&lowering->inputs[1], batch, vectors[2]),
                             middle_view(&lowering->inputs[2], batch, vectors[2])};
    wefti_instruction scale = {.operation = WEFTI_OP_FMA, .b = 1, .c = 2};
    return wefti_lower_elementwise(lowering, operands, 3, &scale, 1, &output);
}

weft_status wefti_lower_instance_norm_node(wefti_lowering *lowering)
{
    return lower_groups(lowering, lowering->known_inputs[0].dims[1]);
}

weft_status wefti_lower_group_norm_node(wefti_lowering *lowering)
{
    return lower_groups(lowering, wefti_attribute_int(lowering->node, "num_groups", 1));
}
