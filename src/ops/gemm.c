/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/matmul.h"

weft_status wefti_infer_gemm(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    for (size_t i = 0; i < 2; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, i, 2, 2, error));
    }
    wefti_known a = wefti_attribute_int(node, "transA", 0)
                        ? wefti_known_transposed(&inputs[0])
                        : inputs[0];
    wefti_known b = wefti_attribute_int(node, "transB", 0)
                        ? wefti_known_transposed(&inputs[1])
                        : inputs[1];
    wefti_known shape = {0};
    WEFTI_TRY(wefti_matmul_shape(node, &a, &b, &shape, error));
    if (wefti_known_present(node, inputs, 2)) {
        WEFTI_TRY(wefti_check_type(node, inputs, 2, WEFTI_TYPES_F32, error));
        shape.type = WEFT_TYPE_F32;
        wefti_known both[2] = {shape, inputs[2]};
        wefti_known joined = {0};
        WEFTI_TRY(wefti_broadcast_shapes(node, both, 2, &joined, error));
        WEFTI_TRY(wefti_check_shape(node, "the product broadcast with C", &joined,
                                    shape.rank, shape.dims, error));
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, shape.rank, shape.dims}, error);
}

/* beta * C in C's own shape. */
static weft_status scale_addend(wefti_lowering *lowering, float beta, wefti_view *view)
{
    if (beta == 1.0F) {
        return WEFT_OK;
    }
    wefti_view scaled;
    WEFTI_TRY(
        wefti_lower_temporary(lowering, view->type, view->rank, view->dims, &scaled));
    wefti_instruction scale = {.operation = WEFTI_OP_SCALE, .alpha = beta};
    WEFTI_TRY(wefti_lower_elementwise(lowering, view, 1, &scale, 1, &scaled));
    *view = scaled;
    return WEFT_OK;
}

weft_status wefti_lower_gemm_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_view a = lowering->inputs[0];
    wefti_view b = lowering->inputs[1];
    if (wefti_attribute_int(node, "transA", 0)) {
        a = wefti_view_transposed(&a);
    }
    if (wefti_attribute_int(node, "transB", 0)) {
        b = wefti_view_transposed(&b);
    }
    wefti_matmul_request request = wefti_matmul_plain(&a, &b, &output);
    request.alpha = wefti_attribute_float(node, "alpha", 1.0F);
    wefti_view addend = wefti_lower_input(lowering, 2);
    float beta = wefti_attribute_float(node, "beta", 1.0F);
    if (wefti_view_present(&addend) && beta != 0.0F) {
        WEFTI_TRY(scale_addend(lowering, beta, &addend));
        WEFTI_TRY(wefti_matmul_add(lowering, &request, &addend));
    }
    return wefti_lower_matmul(lowering, &request);
}
