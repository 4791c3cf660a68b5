/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "ops/attention.h"
#include "ops/check.h"
#include "ops/conv.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/matmul.h"
#include "ops/norm.h"

/* The operators of domain "weft": what the fusion passes put in place of several
 * nodes. Attributes that are not given have the value that does nothing. */

static weft_status read_activation(const wefti_node_view *node,
                                   wefti_activation *activation, float *alpha,
                                   weft_error *error)
{
    int64_t value = wefti_attribute_int(node, "activation", WEFTI_ACTIVATION_NONE);
    if (value < 0 || value >= WEFTI_ACTIVATION_COUNT) {
        return wefti_error(error, WEFT_INTERNAL, "%s: activation %lld is unknown",
                           node->label, (long long)value);
    }
    *activation = (wefti_activation)value;
    *alpha = wefti_attribute_float(node, "activation_alpha", 0.01F);
    return WEFT_OK;
}

/* Input `index` is absent or broadcasts to the output without making it larger. */
static weft_status check_addend(const wefti_node_view *node, const wefti_known *inputs,
                                size_t index, const wefti_known *output,
                                weft_error *error)
{
    if (!wefti_known_present(node, inputs, index)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_check_type(node, inputs, index, WEFTI_TYPES_F32, error));
    wefti_known both[2] = {*output, inputs[index]};
    both[0].type = WEFT_TYPE_F32;
    wefti_known joined = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, both, 2, &joined, error));
    return wefti_check_shape(node, "the result broadcast with an addend", &joined,
                             output->rank, output->dims, error);
}

/* Beside a residual there is room for a bias only. */
static weft_status check_bias(const wefti_node_view *node, const wefti_known *inputs,
                              weft_error *error)
{
    if (!wefti_known_present(node, inputs, 2) ||
        !wefti_known_present(node, inputs, 3)) {
        return WEFT_OK;
    }
    const wefti_known *bias = &inputs[2];
    int64_t count = wefti_known_element_count(bias);
    bool column = bias->rank == 0 || bias->dims[bias->rank - 1] == count;
    bool row = bias->rank >= 2 && bias->dims[bias->rank - 2] == count;
    if (column || row) {
        return WEFT_OK;
    }
    return wefti_error(error, WEFT_INTERNAL,
                       "%s: the bias is not a vector and there is a residual",
                       node->label);
}

weft_status wefti_infer_fused_matmul(const wefti_node_view *node,
                                     const wefti_known *inputs, wefti_known *outputs,
                                     weft_error *error)
{
    wefti_activation activation;
    float alpha = 0;
    WEFTI_TRY(read_activation(node, &activation, &alpha, error));
    for (size_t i = 0; i < 2; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, i, 2, WEFT_MAX_RANK, error));
    }
    wefti_known a = wefti_attribute_int(node, "trans_a", 0)
                        ? wefti_known_transposed(&inputs[0])
                        : inputs[0];
    wefti_known b = wefti_attribute_int(node, "trans_b", 0)
                        ? wefti_known_transposed(&inputs[1])
                        : inputs[1];
    wefti_known shape = {0};
    WEFTI_TRY(wefti_matmul_shape(node, &a, &b, &shape, error));
    WEFTI_TRY(check_addend(node, inputs, 2, &shape, error));
    WEFTI_TRY(check_addend(node, inputs, 3, &shape, error));
    WEFTI_TRY(check_bias(node, inputs, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, shape.rank, shape.dims}, error);
}

weft_status wefti_lower_fused_matmul_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_view a = lowering->inputs[0];
    wefti_view b = lowering->inputs[1];
    if (wefti_attribute_int(node, "trans_a", 0)) {
        a = wefti_view_transposed(&a);
    }
    if (wefti_attribute_int(node, "trans_b", 0)) {
        b = wefti_view_transposed(&b);
    }
    wefti_matmul_request request = wefti_matmul_plain(&a, &b, &output);
    request.alpha = wefti_attribute_float(node, "alpha", 1.0F);
    WEFTI_TRY(read_activation(node, &request.activation, &request.activation_alpha,
                              lowering->error));
    wefti_view bias = wefti_lower_input(lowering, 2);
    wefti_view residual = wefti_lower_input(lowering, 3);
    if (wefti_view_present(&bias)) {
        WEFTI_TRY(wefti_matmul_add(lowering, &request, &bias));
    }
    if (wefti_view_present(&residual)) {
        request.residual = residual;
        wefti_view_broadcast(&request.residual, output.rank, output.dims);
        WEFTI_TRY(wefti_lower_dense(lowering, &request.residual));
    }
    return wefti_lower_matmul(lowering, &request);
}

weft_status wefti_infer_fused_conv(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    wefti_activation activation;
    float alpha = 0;
    WEFTI_TRY(read_activation(node, &activation, &alpha, error));
    WEFTI_TRY(wefti_infer_conv_node(node, inputs, outputs, error));
    return node->output_count > 0 ? check_addend(node, inputs, 3, &outputs[0], error)
                                  : WEFT_OK;
}

weft_status wefti_lower_fused_conv_node(wefti_lowering *lowering)
{
    wefti_conv_request request = {.residual = wefti_lower_input(lowering, 3)};
    WEFTI_TRY(read_activation(lowering->node, &request.activation,
                              &request.activation_alpha, lowering->error));
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    if (wefti_view_present(&request.residual)) {
        wefti_view_broadcast(&request.residual, output.rank, output.dims);
    }
    return wefti_lower_conv(lowering, &request);
}

weft_status wefti_infer_fused_layer_norm(const wefti_node_view *node,
                                         const wefti_known *inputs,
                                         wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", -1),
                               inputs[0].rank, &axis, error));
    WEFTI_TRY(check_addend(node, inputs, 1, &inputs[0], error));
    WEFTI_TRY(wefti_check_norm_vector(node, inputs, 2, axis, error));
    WEFTI_TRY(wefti_check_norm_vector(node, inputs, 3, axis, error));
    for (size_t i = 0; i < 2; i++) {
        WEFTI_TRY(wefti_set_output(
            node, outputs, i,
            (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, inputs[0].dims}, error));
    }
    return WEFT_OK;
}

weft_status wefti_lower_fused_layer_norm_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    const wefti_view *x = &lowering->inputs[0];
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        WEFTI_TRY(wefti_lower_temporary(lowering, x->type, x->rank, x->dims, &output));
    }
    int64_t given = wefti_attribute_int(node, "axis", -1);
    wefti_layer_norm_request request = wefti_layer_norm_plain(
        x, &output, (int32_t)(given < 0 ? given + x->rank : given),
        wefti_attribute_float(node, "epsilon", 1e-5F));
    request.root_mean_square = wefti_attribute_int(node, "root_mean_square", 0) != 0;
    request.residual = wefti_lower_input(lowering, 1);
    if (wefti_view_present(&request.residual)) {
        wefti_view_broadcast(&request.residual, x->rank, x->dims);
    }
    request.scale = wefti_lower_input(lowering, 2);
    request.bias = wefti_lower_input(lowering, 3);
    request.sum = wefti_lower_output(lowering, 1);
    return wefti_lower_layer_norm(lowering, &request);
}

static bool rows_first(const wefti_node_view *node)
{
    return strcmp(wefti_attribute_string(node, "output_layout", "BHSD"), "BSHD") == 0;
}

weft_status wefti_infer_fused_attention(const wefti_node_view *node,
                                        const wefti_known *inputs, wefti_known *outputs,
                                        weft_error *error)
{
    for (size_t i = 0; i < 3; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, i, 4, 4, error));
    }
    WEFTI_TRY(wefti_check_attention(node, &inputs[0], &inputs[1], &inputs[2],
                                    wefti_known_input(node, inputs, 3), error));
    const int64_t *q = inputs[0].dims;
    bool swapped = rows_first(node);
    int64_t dims[4] = {q[0], q[swapped ? 2 : 1], q[swapped ? 1 : 2], inputs[2].dims[3]};
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, 4, dims},
                            error);
}

weft_status wefti_lower_fused_attention_node(wefti_lowering *lowering)
{
    static const int32_t swap[] = {0, 2, 1, 3};
    const wefti_node_view *node = lowering->node;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    float size = (float)lowering->known_inputs[0].dims[3];
    wefti_attention_request request = {
        .q = lowering->inputs[0],
        .k = lowering->inputs[1],
        .v = lowering->inputs[2],
        .mask = wefti_lower_input(lowering, 3),
        .output = rows_first(node) ? wefti_view_permute(&output, swap) : output,
        .scale = wefti_attribute_float(node, "scale", 1.0F / sqrtf(size)),
        .causal = wefti_attribute_int(node, "is_causal", 0) != 0,
        .blind_is_nan = wefti_attribute_int(node, "blind_is_nan", 0) != 0};
    return wefti_lower_attention(lowering, &request);
}
