/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/reduce.h"
#include "ops/window.h"

weft_status wefti_infer_pool(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    bool largest = strcmp(node->op_type, "MaxPool") == 0;
    uint32_t bytes = WEFTI_TYPE_SET(WEFT_TYPE_U8) | WEFTI_TYPE_SET(WEFT_TYPE_I8);
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32 | (largest ? bytes : 0),
                               error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 3, 5, error));
    wefti_window window;
    WEFTI_TRY(wefti_window_read(node, &inputs[0], NULL, &window, error));
    for (int32_t i = 0; i < 3; i++) {
        int64_t reach = (window.kernel[i] - 1) * window.dilations[i] + 1;
        if (window.pads_begin[i] >= reach || window.pads_end[i] >= reach) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: padding of %lld and %lld is not smaller than the "
                               "window of %lld",
                               node->label, (long long)window.pads_begin[i],
                               (long long)window.pads_end[i], (long long)reach);
        }
    }
    int64_t dims[5] = {inputs[0].dims[0], inputs[0].dims[1]};
    memcpy(&dims[2], &window.out[3 - window.rank],
           (size_t)window.rank * sizeof(int64_t));
    WEFTI_TRY(wefti_set_output(
        node, outputs, 1, (wefti_shape){WEFT_TYPE_I64, inputs[0].rank, dims}, error));
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

/* The largest and where it is; `values` may be absent. */
static weft_status lower_indices(wefti_lowering *lowering,
                                 const wefti_pool_params *pool, const wefti_view *input,
                                 const wefti_view *values, const wefti_view *indices)
{
    wefti_pool_indices_params params = {
        .pool = *pool,
        .column_major = wefti_attribute_int(lowering->node, "storage_order", 0) != 0};
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_POOL_INDICES, &params, sizeof(params));
    step.operands[WEFTI_POOL_INDICES_INPUT] = *input;
    step.operands[WEFTI_POOL_INDICES_VALUES] = *values;
    step.operands[WEFTI_POOL_INDICES_INDICES] = *indices;
    return wefti_lower_end(lowering, &step);
}

/* A dense view of the same dims in f32: bytes are pooled as floats, exactly. */
static weft_status as_f32(wefti_lowering *lowering, wefti_view *view, bool filled)
{
    wefti_view given = *view;
    if (!wefti_view_present(&given) || given.type == WEFT_TYPE_F32) {
        return wefti_lower_dense(lowering, view);
    }
    WEFTI_TRY(
        wefti_lower_temporary(lowering, WEFT_TYPE_F32, given.rank, given.dims, view));
    return filled ? wefti_lower_copy(lowering, &given, view) : WEFT_OK;
}

weft_status wefti_lower_pool_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    const wefti_known *known = &lowering->known_inputs[0];
    wefti_view output = wefti_lower_output(lowering, 0);
    wefti_view indices = wefti_lower_output(lowering, 1), values = output;
    bool wanted = wefti_view_present(&output) || wefti_view_present(&indices);
    if (!wanted || wefti_known_element_count(&lowering->known_outputs[0]) == 0) {
        return WEFT_OK;
    }
    wefti_window window;
    WEFTI_TRY(wefti_window_read(node, known, NULL, &window, lowering->error));
    wefti_pool_params params = {
        .average = strcmp(node->op_type, "AveragePool") == 0,
        .count_include_pad = wefti_attribute_int(node, "count_include_pad", 0) != 0,
        .plane_count = known->dims[0] * known->dims[1]};
    memcpy(params.in_dims, window.in, sizeof(params.in_dims));
    memcpy(params.out_dims, window.out, sizeof(params.out_dims));
    memcpy(params.kernel_dims, window.kernel, sizeof(params.kernel_dims));
    memcpy(params.strides, window.strides, sizeof(params.strides));
    memcpy(params.dilations, window.dilations, sizeof(params.dilations));
    memcpy(params.pads_begin, window.pads_begin, sizeof(params.pads_begin));
    memcpy(params.pads_end, window.pads_end, sizeof(params.pads_end));
    wefti_view input = lowering->inputs[0];
    WEFTI_TRY(as_f32(lowering, &input, true));
    WEFTI_TRY(as_f32(lowering, &values, false));
    if (wefti_view_present(&indices)) {
        WEFTI_TRY(lower_indices(lowering, &params, &input, &values, &indices));
    } else {
        wefti_program_step step =
            wefti_lower_begin(lowering, WEFTI_KERNEL_POOL, &params, sizeof(params));
        step.operands[WEFTI_POOL_INPUT] = input;
        step.operands[WEFTI_POOL_OUTPUT] = values;
        WEFTI_TRY(wefti_lower_end(lowering, &step));
    }
    return wefti_view_present(&output) && output.type != WEFT_TYPE_F32
               ? wefti_lower_copy(lowering, &values, &output)
               : WEFT_OK;
}

weft_status wefti_infer_global_pool(const wefti_node_view *node,
                                    const wefti_known *inputs, wefti_known *outputs,
                                    weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 3, WEFT_MAX_RANK, error));
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < inputs[0].rank; i++) {
        dims[i] = i < 2 ? inputs[0].dims[i] : 1;
        if (i >= 2 && inputs[0].dims[i] == 0) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: there is nothing to pool, dimension %d is 0",
                               node->label, (int)i);
        }
    }
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){WEFT_TYPE_F32, inputs[0].rank, dims}, error);
}

weft_status wefti_lower_global_pool_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    bool reduced[WEFT_MAX_RANK] = {false};
    for (int32_t i = 2; i < lowering->inputs[0].rank; i++) {
        reduced[i] = true;
    }
    bool average = strcmp(lowering->node->op_type, "GlobalAveragePool") == 0;
    return wefti_lower_reduction(lowering,
                                 average ? WEFTI_REDUCE_MEAN : WEFTI_REDUCE_MAX,
                                 &lowering->inputs[0], reduced, &output);
}
