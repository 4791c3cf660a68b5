/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* ReverseSequence and TensorScatter: rows of each batch element moved to places that
 * its own length or position names. */

/* Gathers from, or scatters into, `data`; dims from `first` on lie together. */
static void add_points(wefti_body *body, wefti_kernel kernel,
                       wefti_points_params *params, const wefti_term operands[3],
                       int32_t first)
{
    const wefti_known *data = &operands[WEFTI_POINTS_DATA].known;
    if (wefti_body_failed(body) || wefti_known_element_count(data) == 0 ||
        wefti_known_element_count(&operands[WEFTI_POINTS_OTHER].known) == 0) {
        return;
    }
    params->type = data->type;
    params->index_type = operands[WEFTI_POINTS_INDICES].known.type;
    params->tuple_size = 1;
    params->inner_count = wefti_count_dims(data->rank - first, &data->dims[first]);
    wefti_body_step(body, kernel, params, sizeof(*params), 3, operands);
}

static int64_t dense_stride(const wefti_known *known, int32_t axis)
{
    return wefti_count_dims(known->rank - axis - 1, &known->dims[axis + 1]);
}

static void reverse_sequence_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0), lengths = wefti_body_input(body, 1);
    int64_t time = wefti_attribute_int(body->node, "time_axis", 0);
    int64_t batch = wefti_attribute_int(body->node, "batch_axis", 1);
    wefti_body_check_types(body, 0, WEFTI_TYPES_ANY);
    wefti_body_check_types(body, 1, WEFTI_TYPES_INDEX);
    wefti_body_check_rank(body, 0, 2, WEFT_MAX_RANK);
    if (time < 0 || time > 1 || batch != 1 - time) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "time_axis and batch_axis are not 0 and 1, or 1 and 0");
        return;
    }
    wefti_body_check_shape(body, "sequence_lens (input 1)", &lengths, 1,
                           &x.known.dims[batch]);
    if (wefti_body_failed(body)) {
        return;
    }
    weft_type type = lengths.known.type;
    wefti_term row = wefti_body_row(body, type, x.known.dims[time], 2, (int32_t)time);
    lengths = wefti_body_unsqueeze(body, lengths, (int32_t)time);
    wefti_term one = wefti_body_scalar(body, type, 1);
    wefti_term back =
        wefti_body_2(body, "Sub", wefti_body_2(body, "Sub", lengths, row), one);
    wefti_term inside = wefti_body_2(body, "Less", row, lengths);
    wefti_term places = wefti_body_3(body, "Where", inside, back, row);
    wefti_points_params params = {.rank = 2};
    memcpy(params.dims, x.known.dims, 2 * sizeof(int64_t));
    params.base_strides[batch] = dense_stride(&x.known, (int32_t)batch);
    params.tuple_dims[0] = x.known.dims[time];
    params.tuple_strides[0] = dense_stride(&x.known, (int32_t)time);
    wefti_term result = wefti_body_new(body, x.known.type, x.known.rank, x.known.dims);
    const wefti_term operands[] = {wefti_body_dense(body, x),
                                   wefti_body_dense(body, places), result};
    add_points(body, WEFTI_KERNEL_GATHER_POINTS, &params, operands, 2);
    wefti_body_output(body, 0, result);
}

/* Where each new row goes: [batch, 1, ..., length] repeated to the dims of the points.
 */
static wefti_term write_places(wefti_body *body, const wefti_known *update,
                               int32_t axis, int64_t room)
{
    wefti_term first = wefti_body_input(body, 2);
    const char *mode = wefti_attribute_string(body->node, "mode", "linear");
    bool circular = strcmp(mode, "circular") == 0;
    if (!circular && strcmp(mode, "linear") != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "mode is not one of linear and circular");
    }
    wefti_term places =
        wefti_body_row(body, WEFT_TYPE_I64, update->dims[axis], axis + 1, axis);
    if (wefti_body_has(&first)) {
        int64_t dims[WEFT_MAX_RANK] = {update->dims[0]};
        wefti_body_check_types(body, 2, WEFTI_TYPES_INDEX);
        wefti_body_check_shape(body, "write_indices (input 2)", &first, 1, dims);
        for (int32_t i = 1; i <= axis; i++) {
            dims[i] = 1;
        }
        first = wefti_body_reshape(body, wefti_body_cast(body, WEFT_TYPE_I64, first),
                                   axis + 1, dims);
        places = wefti_body_2(body, "Add", places, first);
    }
    if (circular) {
        places = wefti_body_2(body, "Mod", places,
                              wefti_body_scalar(body, WEFT_TYPE_I64, (double)room));
    }
    return wefti_body_expand(body, places, axis + 1, update->dims);
}

static void tensor_scatter_body(wefti_body *body)
{
    wefti_term cache = wefti_body_input(body, 0), update = wefti_body_input(body, 1);
    wefti_body_check_types(body, 0, WEFTI_TYPES_ANY);
    wefti_body_check_types(body, 1, WEFTI_TYPE_SET(cache.known.type));
    wefti_body_check_rank(body, 0, 2, WEFT_MAX_RANK);
    int32_t axis = wefti_body_axis(body, "axis", -2, cache.known.rank);
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, cache.known.dims, sizeof(dims));
    dims[axis] = update.known.dims[axis];
    wefti_body_check_shape(body, "update (input 1)", &update, cache.known.rank, dims);
    if (!wefti_body_failed(body) &&
        (axis == 0 || dims[axis] > cache.known.dims[axis])) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "the axis is that of the batch, or the update is longer than "
                          "the cache");
    }
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_term places = write_places(body, &update.known, axis, cache.known.dims[axis]);
    wefti_points_params params = {
        .rank = axis + 1, .reduction = WEFTI_POINTS_PUT, .from_start = true};
    for (int32_t i = 0; i <= axis; i++) {
        params.dims[i] = dims[i];
        params.base_strides[i] = i < axis ? dense_stride(&cache.known, i) : 0;
    }
    params.tuple_dims[0] = cache.known.dims[axis];
    params.tuple_strides[0] = dense_stride(&cache.known, axis);
    const wefti_term operands[] = {wefti_body_copy(body, cache),
                                   wefti_body_dense(body, places),
                                   wefti_body_dense(body, update)};
    add_points(body, WEFTI_KERNEL_SCATTER_POINTS, &params, operands, axis + 1);
    wefti_body_output(body, 0, operands[0]);
}

WEFTI_BODY_FAMILY(reverse_sequence)
WEFTI_BODY_FAMILY(tensor_scatter)
