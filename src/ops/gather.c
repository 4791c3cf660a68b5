/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

static weft_status check_constant_indices(const wefti_node_view *node,
                                          const wefti_known *inputs, int64_t dim,
                                          weft_error *error)
{
    if (!inputs[1].constant) {
        return WEFT_OK;
    }
    int64_t count = wefti_known_element_count(&inputs[1]);
    for (int64_t i = 0; i < count; i++) {
        int64_t index = wefti_known_integer(&inputs[1], i);
        if (index < -dim || index >= dim) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: index %lld is outside a dimension of %lld",
                               node->label, (long long)index, (long long)dim);
        }
    }
    return WEFT_OK;
}

weft_status wefti_infer_gather(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_INDEX, error));
    const wefti_known *data = &inputs[0];
    const wefti_known *indices = &inputs[1];
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0), data->rank,
                               &axis, error));
    WEFTI_TRY(check_constant_indices(node, inputs, data->dims[axis], error));
    int64_t dims[2 * WEFT_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < axis; i++) {
        dims[rank++] = data->dims[i];
    }
    for (int32_t i = 0; i < indices->rank; i++) {
        dims[rank++] = indices->dims[i];
    }
    for (int32_t i = axis + 1; i < data->rank; i++) {
        dims[rank++] = data->dims[i];
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){data->type, rank, dims},
                            error);
}

/* One constant index selects a slice: a view, nothing is copied. */
static weft_status lower_select(wefti_lowering *lowering, int32_t axis)
{
    wefti_view view = lowering->inputs[0];
    int64_t index = wefti_known_integer(&lowering->known_inputs[1], 0);
    index = index < 0 ? index + view.dims[axis] : index;
    view.offset_bytes +=
        index * view.strides[axis] * (int64_t)weft_type_size(view.type);
    /* The axis gives way to the dims of the indices, all of size 1. */
    int32_t added = lowering->known_inputs[1].rank;
    wefti_view selected = view;
    selected.rank = view.rank - 1 + added;
    for (int32_t i = axis; i < axis + added; i++) {
        selected.dims[i] = 1;
        selected.strides[i] = 1;
    }
    for (int32_t i = axis + 1; i < view.rank; i++) {
        selected.dims[i - 1 + added] = view.dims[i];
        selected.strides[i - 1 + added] = view.strides[i];
    }
    return wefti_lower_alias(lowering, 0, &selected);
}

weft_status wefti_lower_gather_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view data = lowering->inputs[0];
    wefti_view indices = lowering->inputs[1];
    int64_t given = wefti_attribute_int(lowering->node, "axis", 0);
    int32_t axis = (int32_t)(given < 0 ? given + data.rank : given);
    int64_t index_count = wefti_view_element_count(&indices);
    if (lowering->known_inputs[1].constant && index_count == 1) {
        return lower_select(lowering, axis);
    }
    WEFTI_TRY(wefti_lower_dense(lowering, &data));
    WEFTI_TRY(wefti_lower_dense(lowering, &indices));
    wefti_gather_params params = {.index_type = indices.type,
                                  .outer_count = 1,
                                  .axis_size = data.dims[axis],
                                  .index_count = index_count,
                                  .inner_bytes = (int64_t)weft_type_size(data.type)};
    for (int32_t i = 0; i < data.rank; i++) {
        params.outer_count *= i < axis ? data.dims[i] : 1;
        params.inner_bytes *= i > axis ? data.dims[i] : 1;
    }
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_GATHER, &params, sizeof(params));
    step.operands[WEFTI_GATHER_DATA] = data;
    step.operands[WEFTI_GATHER_INDICES] = indices;
    step.operands[WEFTI_GATHER_OUTPUT] = output;
    return wefti_lower_end(lowering, &step);
}
