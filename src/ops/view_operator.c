/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* View (domain "weft"): the elements of a dense input through loops given as `dims` and
 * `strides` (in elements) from `offset`. The output's shape has the same elements in
 * the same order; where it joins loops that strides can't join, the lowering copies.
 * Made by pass_views of src/graph. */
weft_status wefti_infer_view(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    const weft_attribute *dims = wefti_attribute_find(node, "dims");
    if (dims == NULL || dims->count > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INTERNAL, "%s: a view has no dims", node->label);
    }
    return wefti_set_output(
        node, outputs, 0,
        (wefti_shape){inputs[0].type, (int32_t)dims->count, dims->ints}, error);
}

weft_status wefti_lower_view_node(wefti_lowering *lowering)
{
    const weft_attribute *dims = wefti_attribute_find(lowering->node, "dims");
    const weft_attribute *strides = wefti_attribute_find(lowering->node, "strides");
    wefti_view view = lowering->inputs[0];
    if (dims->count > WEFT_MAX_RANK) {
        return wefti_error(lowering->error, WEFT_INTERNAL, "%s: a view has %zu dims",
                           lowering->node->label, dims->count);
    }
    WEFTI_TRY(wefti_lower_dense(lowering, &view));
    int64_t offset = wefti_attribute_int(lowering->node, "offset", 0);
    view.offset_bytes += offset * (int64_t)weft_type_size(view.type);
    view.rank = (int32_t)dims->count;
    if (view.rank > 0) {
        memcpy(view.dims, dims->ints, dims->count * sizeof(view.dims[0]));
        memcpy(view.strides, strides->ints, dims->count * sizeof(view.strides[0]));
    }
    return wefti_lower_reshape(lowering, 0, &view);
}
