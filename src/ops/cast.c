/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

weft_status wefti_infer_cast(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    int64_t to = wefti_attribute_int(node, "to", WEFT_TYPE_NONE);
    if (to <= 0 || to >= 32 || weft_type_size((weft_type)to) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: casting to ONNX type %lld is not supported",
                           node->label, (long long)to);
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){(weft_type)to, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_cast_node(wefti_lowering *lowering)
{
    return wefti_lower_alias(lowering, 0, &lowering->inputs[0]);
}

weft_status wefti_infer_cast_like(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_ANY, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[1].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_cast_like_node(wefti_lowering *lowering)
{
    return wefti_lower_alias(lowering, 0, &lowering->inputs[0]);
}
