/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/matmul.h"

#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

wefti_known wefti_known_transposed(const wefti_known *known)
{
    wefti_known result = *known;
    if (known->rank >= 2) {
        result.dims[known->rank - 2] = known->dims[known->rank - 1];
        result.dims[known->rank - 1] = known->dims[known->rank - 2];
    }
    return result;
}

wefti_view wefti_view_transposed(const wefti_view *view)
{
    wefti_view result = *view;
    if (view->rank >= 2) {
        int32_t row = view->rank - 2;
        int32_t column = view->rank - 1;
        result.dims[row] = view->dims[column];
        result.dims[column] = view->dims[row];
        result.strides[row] = view->strides[column];
        result.strides[column] = view->strides[row];
    }
    return result;
}

weft_status wefti_matmul_shape(const wefti_node_view *node, const wefti_known *a,
                               const wefti_known *b, wefti_known *output,
                               weft_error *error)
{
    int64_t a_depth = a->dims[a->rank - 1];
    int64_t b_depth = b->dims[b->rank >= 2 ? b->rank - 2 : 0];
    if (a_depth != b_depth) {
        wefti_shape_text first;
        wefti_shape_text second;
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: shapes %s and %s do not multiply; %lld columns meet "
                           "%lld rows",
                           node->label, wefti_shape_write(a->rank, a->dims, &first),
                           wefti_shape_write(b->rank, b->dims, &second),
                           (long long)a_depth, (long long)b_depth);
    }
    wefti_known batches[2] = {*a, *b};
    batches[0].rank = a->rank >= 2 ? a->rank - 2 : 0;
    batches[1].rank = b->rank >= 2 ? b->rank - 2 : 0;
    WEFTI_TRY(wefti_broadcast_shapes(node, batches, 2, output, error));
    if (a->rank >= 2) {
        output->dims[output->rank++] = a->dims[a->rank - 2];
    }
    if (b->rank >= 2) {
        output->dims[output->rank++] = b->dims[b->rank - 1];
    }
    return WEFT_OK;
}

weft_status wefti_infer_matmul(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_types(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 1, 1, WEFT_MAX_RANK, error));
    wefti_known shape = {0};
    WEFTI_TRY(wefti_matmul_shape(node, &inputs[0], &inputs[1], &shape, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, shape.rank, shape.dims}, error);
}

/* Inserts a dim of 1 before position `position`. */
static void insert_dim(wefti_view *view, int32_t position)
{
    for (int32_t i = view->rank; i > position; i--) {
        view->dims[i] = view->dims[i - 1];
        view->strides[i] = view->strides[i - 1];
    }
    view->dims[position] = 1;
    view->strides[position] = 1;
    view->rank++;
}

weft_status wefti_lower_matmul_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_view a = lowering->inputs[0];
    wefti_view b = lowering->inputs[1];
    bool a_is_vector = a.rank == 1;
    bool b_is_vector = b.rank == 1;
    if (b_is_vector) {
        insert_dim(&b, 1);
        insert_dim(&output, output.rank);
    }
    if (a_is_vector) {
        insert_dim(&a, 0);
        insert_dim(&output, output.rank - 1);
    }
    wefti_view_make_dense(&output);
    wefti_matmul_request request = wefti_matmul_plain(&a, &b, &output);
    return wefti_lower_matmul(lowering, &request);
}
