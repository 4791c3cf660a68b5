/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* GatherElements, GatherND, ScatterElements (and Scatter), ScatterND: points of a
 * tensor named by their indices. */

static weft_status check_indices(const wefti_node_view *node, const wefti_known *inputs,
                                 uint32_t types, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, types, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_INDEX, error));
    return wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error);
}

/* Constant indices are looked at once, others by each run. Every `tuple` of them go
 * with the dims from `first` on. */
static weft_status check_range(const wefti_node_view *node, const wefti_known *inputs,
                               int64_t first, int64_t tuple, weft_error *error)
{
    const wefti_known *data = &inputs[0], *indices = &inputs[1];
    int64_t count = indices->constant ? wefti_known_element_count(indices) : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t index = wefti_known_integer(indices, i);
        int64_t dim = data->dims[first + i % tuple];
        if (index < -dim || index >= dim) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: index %lld is outside a dimension of %lld",
                               node->label, (long long)index, (long long)dim);
        }
    }
    return WEFT_OK;
}

/* Along `axis` the indices choose; in no other dimension may they reach further. */
static weft_status check_elements(const wefti_node_view *node,
                                  const wefti_known *inputs, int32_t *axis,
                                  weft_error *error)
{
    const wefti_known *data = &inputs[0], *indices = &inputs[1];
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0), data->rank,
                               axis, error));
    bool fits = indices->rank == data->rank;
    for (int32_t i = 0; fits && i < data->rank; i++) {
        fits = i == *axis || indices->dims[i] <= data->dims[i];
    }
    if (!fits) {
        wefti_shape_text a, b;
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: indices of shape %s do not fit data of shape %s",
                           node->label,
                           wefti_shape_write(indices->rank, indices->dims, &a),
                           wefti_shape_write(data->rank, data->dims, &b));
    }
    return check_range(node, inputs, *axis, 1, error);
}

weft_status wefti_infer_gather_elements(const wefti_node_view *node,
                                        const wefti_known *inputs, wefti_known *outputs,
                                        weft_error *error)
{
    int32_t axis = 0;
    WEFTI_TRY(check_indices(node, inputs, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(check_elements(node, inputs, &axis, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[1].rank, inputs[1].dims},
        error);
}

static void set_elements(const wefti_node_view *node, const wefti_view *data,
                         const wefti_view *indices, wefti_points_params *params)
{
    int64_t given = wefti_attribute_int(node, "axis", 0);
    int32_t axis = (int32_t)(given < 0 ? given + data->rank : given);
    params->rank = indices->rank;
    memcpy(params->dims, indices->dims, sizeof(params->dims));
    memcpy(params->base_strides, data->strides, sizeof(params->base_strides));
    params->base_strides[axis] = 0;
    params->tuple_size = 1;
    params->tuple_dims[0] = data->dims[axis];
    params->tuple_strides[0] = data->strides[axis];
    params->inner_count = 1;
}

/* A step over the points of `data` (dense where elements lie together). */
static weft_status add_points(wefti_lowering *lowering, wefti_kernel kernel,
                              wefti_points_params *params, const wefti_view *data,
                              const wefti_view *indices, const wefti_view *other)
{
    params->type = data->type;
    params->index_type = indices->type;
    wefti_program_step step =
        wefti_lower_begin(lowering, kernel, params, sizeof(*params));
    step.operands[WEFTI_POINTS_DATA] = *data;
    step.operands[WEFTI_POINTS_INDICES] = *indices;
    step.operands[WEFTI_POINTS_OTHER] = *other;
    return wefti_lower_end(lowering, &step);
}

weft_status wefti_lower_gather_elements_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view data = lowering->inputs[0], indices = lowering->inputs[1];
    wefti_points_params params = {.reduction = WEFTI_POINTS_PUT};
    WEFTI_TRY(wefti_lower_dense(lowering, &data));
    WEFTI_TRY(wefti_lower_dense(lowering, &indices));
    set_elements(lowering->node, &data, &indices, &params);
    return add_points(lowering, WEFTI_KERNEL_GATHER_POINTS, &params, &data, &indices,
                      &output);
}

/* The number of indices that name one slice. */
static weft_status check_tuples(const wefti_node_view *node, const wefti_known *inputs,
                                int64_t batch_dims, int64_t *tuple, weft_error *error)
{
    const wefti_known *data = &inputs[0], *indices = &inputs[1];
    WEFTI_TRY(wefti_check_rank(node, inputs, 1, 1, WEFT_MAX_RANK, error));
    *tuple = indices->dims[indices->rank - 1];
    bool fits = batch_dims >= 0 && batch_dims < indices->rank &&
                batch_dims < data->rank && *tuple >= 1 &&
                *tuple <= data->rank - batch_dims;
    for (int64_t i = 0; fits && i < batch_dims; i++) {
        fits = data->dims[i] == indices->dims[i];
    }
    if (!fits) {
        wefti_shape_text a, b;
        return wefti_error(
            error, WEFT_INVALID_ARGUMENT,
            "%s: indices of shape %s, with %lld batch dimensions, do not "
            "fit data of shape %s",
            node->label, wefti_shape_write(indices->rank, indices->dims, &a),
            (long long)batch_dims, wefti_shape_write(data->rank, data->dims, &b));
    }
    return check_range(node, inputs, batch_dims, *tuple, error);
}

/* Shape of the slices that the indices name. */
static weft_status slice_shape(const wefti_node_view *node, const wefti_known *inputs,
                               int64_t batch_dims, int32_t *rank, int64_t *dims,
                               weft_error *error)
{
    const wefti_known *data = &inputs[0], *indices = &inputs[1];
    int64_t tuple = 0;
    WEFTI_TRY(check_tuples(node, inputs, batch_dims, &tuple, error));
    int64_t wanted = indices->rank - 1 + data->rank - batch_dims - tuple;
    if (wanted > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: %lld dimensions are more than the %d supported",
                           node->label, (long long)wanted, WEFT_MAX_RANK);
    }
    *rank = 0;
    for (int32_t i = 0; i < indices->rank - 1; i++) {
        dims[(*rank)++] = indices->dims[i];
    }
    for (int64_t i = batch_dims + tuple; i < data->rank; i++) {
        dims[(*rank)++] = data->dims[i];
    }
    return WEFT_OK;
}

weft_status wefti_infer_gather_nd(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    int64_t dims[WEFT_MAX_RANK], batch = wefti_attribute_int(node, "batch_dims", 0);
    int32_t rank = 0;
    WEFTI_TRY(check_indices(node, inputs, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(slice_shape(node, inputs, batch, &rank, dims, error));
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[0].type, rank, dims},
                            error);
}

static void set_tuples(const wefti_view *data, const wefti_view *indices, int64_t batch,
                       wefti_points_params *params)
{
    int32_t tuple = (int32_t)indices->dims[indices->rank - 1];
    params->rank = indices->rank - 1;
    memcpy(params->dims, indices->dims, sizeof(params->dims));
    for (int64_t i = 0; i < batch; i++) {
        params->base_strides[i] = data->strides[i];
    }
    params->tuple_size = tuple;
    for (int32_t i = 0; i < tuple; i++) {
        params->tuple_dims[i] = data->dims[batch + i];
        params->tuple_strides[i] = data->strides[batch + i];
    }
    params->inner_count = 1;
    for (int64_t i = batch + tuple; i < data->rank; i++) {
        params->inner_count *= data->dims[i];
    }
}

weft_status wefti_lower_gather_nd_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view data = lowering->inputs[0], indices = lowering->inputs[1];
    wefti_points_params params = {.reduction = WEFTI_POINTS_PUT};
    WEFTI_TRY(wefti_lower_dense(lowering, &data));
    WEFTI_TRY(wefti_lower_dense(lowering, &indices));
    set_tuples(&data, &indices, wefti_attribute_int(lowering->node, "batch_dims", 0),
               &params);
    return add_points(lowering, WEFTI_KERNEL_GATHER_POINTS, &params, &data, &indices,
                      &output);
}

static weft_status read_reduction(const wefti_node_view *node,
                                  wefti_points_reduction *reduction, weft_error *error)
{
    static const char *const words[] = {"none", "add", "mul", "max", "min"};
    const char *word = wefti_attribute_string(node, "reduction", "none");
    for (size_t i = 0; i < WEFTI_COUNT_OF(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *reduction = (wefti_points_reduction)i;
            return WEFT_OK;
        }
    }
    return wefti_error(error, WEFT_INVALID_MODEL,
                       "%s: reduction is \"%s\"; expected none, add, mul, max or min",
                       node->label, word);
}

static weft_status infer_scatter(const wefti_node_view *node, const wefti_known *inputs,
                                 int32_t rank, const int64_t *dims,
                                 wefti_known *outputs, weft_error *error)
{
    wefti_points_reduction reduction = WEFTI_POINTS_PUT;
    WEFTI_TRY(read_reduction(node, &reduction, error));
    uint32_t types =
        reduction == WEFTI_POINTS_PUT ? WEFTI_TYPES_ANY : WEFTI_TYPES_ARITHMETIC;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, types, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 2, WEFTI_TYPE_SET(inputs[0].type), error));
    WEFTI_TRY(wefti_check_shape(node, "updates", &inputs[2], rank, dims, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_infer_scatter_elements(const wefti_node_view *node,
                                         const wefti_known *inputs,
                                         wefti_known *outputs, weft_error *error)
{
    int32_t axis = 0;
    WEFTI_TRY(check_indices(node, inputs, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(check_elements(node, inputs, &axis, error));
    return infer_scatter(node, inputs, inputs[1].rank, inputs[1].dims, outputs, error);
}

weft_status wefti_infer_scatter_nd(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    int64_t dims[WEFT_MAX_RANK];
    int32_t rank = 0;
    WEFTI_TRY(check_indices(node, inputs, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(slice_shape(node, inputs, 0, &rank, dims, error));
    return infer_scatter(node, inputs, rank, dims, outputs, error);
}

/* The data are copied to the output, which is then written to. */
static weft_status lower_scatter(wefti_lowering *lowering, bool tuples)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view indices = lowering->inputs[1], updates = lowering->inputs[2];
    wefti_points_params params = {0};
    WEFTI_TRY(wefti_lower_copy(lowering, &lowering->inputs[0], &output));
    if (wefti_view_element_count(&updates) == 0) {
        return WEFT_OK;
    }
    WEFTI_TRY(read_reduction(lowering->node, &params.reduction, lowering->error));
    WEFTI_TRY(wefti_lower_dense(lowering, &indices));
    WEFTI_TRY(wefti_lower_dense(lowering, &updates));
    if (tuples) {
        set_tuples(&output, &indices, 0, &params);
    } else {
        set_elements(lowering->node, &output, &indices, &params);
    }
    return add_points(lowering, WEFTI_KERNEL_SCATTER_POINTS, &params, &output, &indices,
                      &updates);
}

weft_status wefti_lower_scatter_elements_node(wefti_lowering *lowering)
{
    return lower_scatter(lowering, false);
}

weft_status wefti_lower_scatter_nd_node(wefti_lowering *lowering)
{
    return lower_scatter(lowering, true);
}
