/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* BitCast: the same bytes under another type. */

weft_status wefti_infer_bit_cast(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    int64_t to = wefti_attribute_int(node, "to", 0);
    size_t size = to > 0 && to < 32 ? weft_type_size((weft_type)to) : 0;
    if (size == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the element type %lld (attribute to) is not supported",
                           node->label, (long long)to);
    }
    if (size != weft_type_size(inputs[0].type)) {
        return wefti_error(
            error, WEFT_INVALID_MODEL, "%s: %s and %s are not of the same size",
            node->label, weft_type_name(inputs[0].type), weft_type_name((weft_type)to));
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){(weft_type)to, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_bit_cast_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    wefti_view bits = lowering->inputs[0];
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    if (output.type == WEFT_TYPE_BOOL && bits.type != WEFT_TYPE_BOOL) {
        /* A truth value is 0 or 1, whatever the byte. */
        return wefti_lower_copy(lowering, &bits, &output);
    }
    bits.type = output.type;
    return wefti_lower_alias(lowering, 0, &bits);
}
