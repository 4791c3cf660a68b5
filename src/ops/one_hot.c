/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/reduce.h"

/* OneHot, Hardmax and EyeLike: an index compared with a row of numbers. */
enum { MOST_CLASSES = 1 << 24 };

/* A constant i64 row `first`, `first` + 1, ... that lies along `axis` of `rank`. */
static weft_status make_row(wefti_lowering *lowering, int32_t rank, int32_t axis,
                            int64_t count, int64_t first, wefti_view *row)
{
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = i == axis ? count : 1;
    }
    /* A small file must not fill the memory while it is loaded. */
    if (count > MOST_CLASSES) {
        return wefti_error(lowering->error, WEFT_UNSUPPORTED,
                           "%s: %lld classes; at most %d are supported",
                           lowering->node->label, (long long)count, (int)MOST_CLASSES);
    }
    int64_t *numbers = wefti_calloc((size_t)count, sizeof(*numbers));
    if (!numbers) {
        return wefti_error_memory(lowering->error, "a row of numbers");
    }
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = first + i;
    }
    weft_status status =
        wefti_lower_constant(lowering, WEFT_TYPE_I64, rank, dims, numbers, row);
    wefti_free(numbers);
    return status;
}

static weft_status read_depth(const wefti_node_view *node, const wefti_known *inputs,
                              int64_t *depth, weft_error *error)
{
    const wefti_known *known = &inputs[1];
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_NUMBER, error));
    if (!known->constant) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: depth (input 1) decides a shape, so it must be a "
                           "constant or follow from shapes",
                           node->label);
    }
    if (wefti_known_element_count(known) == 1 && known->type == WEFT_TYPE_F32) {
        float value = *(const float *)known->constant;
        *depth = value >= 0 && value < 0x1p31F ? (int64_t)value : -1;
    } else if (wefti_known_element_count(known) == 1 && known->type == WEFT_TYPE_F64) {
        double value = *(const double *)known->constant;
        *depth = value >= 0 && value < 0x1p31 ? (int64_t)value : -1;
    } else {
        size_t count = 0;
        wefti_integer_room room = {depth, 1};
        WEFTI_TRY(wefti_check_integers(node, inputs, 1, room, &count, error));
        *depth = count == 1 ? *depth : -1;
    }
    if (*depth < 0 || *depth > MOST_CLASSES) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: depth (input 1) must be one number from 0 to %d",
                           node->label, (int)MOST_CLASSES);
    }
    return WEFT_OK;
}

weft_status wefti_infer_one_hot(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    static const int64_t two[] = {2};
    int64_t depth = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_NUMBER, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 0, WEFT_MAX_RANK - 1, error));
    WEFTI_TRY(read_depth(node, inputs, &depth, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 2, WEFTI_TYPES_VALUE, error));
    WEFTI_TRY(wefti_check_shape(node, "values", &inputs[2], 1, two, error));
    int32_t axis = 0, rank = inputs[0].rank + 1;
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", -1), rank, &axis,
                               error));
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = i == axis ? depth : inputs[0].dims[i < axis ? i : i - 1];
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[2].type, rank, dims},
                            error);
}

/* The i64 indices with a dim of 1 at `axis`. */
static weft_status spread_indices(wefti_lowering *lowering, int32_t axis,
                                  wefti_view *indices)
{
    wefti_view given = *indices;
    if (given.type != WEFT_TYPE_I64) {
        WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_I64, given.rank, given.dims,
                                        indices));
        WEFTI_TRY(wefti_lower_copy(lowering, &given, indices));
        given = *indices;
    }
    indices->rank = given.rank + 1;
    for (int32_t i = 0; i < indices->rank; i++) {
        indices->dims[i] = i == axis ? 1 : given.dims[i < axis ? i : i - 1];
        indices->strides[i] = i == axis ? 1 : given.strides[i < axis ? i : i - 1];
    }
    return WEFT_OK;
}

/* on where the index is the number of its place, counted from either end. */
weft_status wefti_lower_one_hot_node(wefti_lowering *lowering)
{
    static const wefti_instruction equal = {.operation = WEFTI_OP_EQUAL, .b = 1};
    static const wefti_instruction either = {.operation = WEFTI_OP_OR, .b = 1};
    static const wefti_instruction choose = {
        .operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    int64_t axis = wefti_attribute_int(lowering->node, "axis", -1);
    axis = axis < 0 ? axis + output.rank : axis;
    int64_t depth = output.dims[axis];
    wefti_view indices = lowering->inputs[0], values = lowering->inputs[2];
    wefti_view rows[2], found[2], hot;
    WEFTI_TRY(spread_indices(lowering, (int32_t)axis, &indices));
    for (int32_t i = 0; i < 2; i++) {
        WEFTI_TRY(make_row(lowering, output.rank, (int32_t)axis, depth, -i * depth,
                           &rows[i]));
        WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_BOOL, output.rank,
                                        output.dims, &found[i]));
        const wefti_view compared[] = {indices, rows[i]};
        WEFTI_TRY(wefti_lower_elementwise(lowering, compared, 2, &equal, 1, &found[i]));
    }
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_BOOL, output.rank, output.dims,
                                    &hot));
    WEFTI_TRY(wefti_lower_elementwise(lowering, found, 2, &either, 1, &hot));
    wefti_view off = values, on = values;
    off.rank = on.rank = 0;
    on.offset_bytes += values.strides[0] * (int64_t)weft_type_size(values.type);
    const wefti_view choices[] = {hot, on, off};
    return wefti_lower_elementwise(lowering, choices, 3, &choose, 1, &output);
}

static int64_t hardmax_axis(const wefti_node_view *node)
{
    return wefti_attribute_int(node, "axis", node->opset < 13 ? 1 : -1);
}

weft_status wefti_infer_hardmax(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_FLOAT, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 1, WEFT_MAX_RANK, error));
    int32_t axis = 0;
    WEFTI_TRY(wefti_check_axis(node, hardmax_axis(node), inputs[0].rank, &axis, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_hardmax_node(wefti_lowering *lowering)
{
    static const wefti_instruction equal = {.operation = WEFTI_OP_EQUAL, .b = 1};
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view own = lowering->inputs[0];
    const wefti_view *input = &own;
    int64_t axis = hardmax_axis(lowering->node);
    axis = axis < 0 ? axis + input->rank : axis;
    if (lowering->node->opset < 13) { /* all dims from the axis on are one row */
        const int64_t joined[] = {
            wefti_count_dims((int32_t)axis, own.dims),
            wefti_count_dims(own.rank - (int32_t)axis, own.dims + axis)};
        WEFTI_TRY(wefti_lower_reshape_view(lowering, &own, 2, joined));
        (void)wefti_view_reshape(&output, 2, joined);
        axis = 1;
    }
    bool reduced[WEFT_MAX_RANK] = {false};
    reduced[axis] = true;
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, input->dims, sizeof(dims));
    dims[axis] = 1;
    wefti_view largest, row, hot;
    WEFTI_TRY(
        wefti_lower_temporary(lowering, WEFT_TYPE_I64, input->rank, dims, &largest));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_ARGMAX, input, reduced, &largest));
    WEFTI_TRY(
        make_row(lowering, input->rank, (int32_t)axis, input->dims[axis], 0, &row));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_BOOL, output.rank, output.dims,
                                    &hot));
    const wefti_view compared[] = {largest, row};
    WEFTI_TRY(wefti_lower_elementwise(lowering, compared, 2, &equal, 1, &hot));
    return wefti_lower_copy(lowering, &hot, &output);
}

weft_status wefti_infer_eye_like(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 2, 2, error));
    int64_t wanted = wefti_attribute_int(node, "dtype", inputs[0].type);
    const uint32_t types = WEFTI_TYPES_NUMBER | WEFTI_TYPES_BOOL |
                           WEFTI_TYPE_SET(WEFT_TYPE_F16) |
                           WEFTI_TYPE_SET(WEFT_TYPE_BF16);
    if (wanted < 0 || wanted >= 32 || (types & WEFTI_TYPE_SET(wanted)) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: dtype %lld is not supported; f32, f64, f16, bf16, i32, "
                           "i64 and bool are",
                           node->label, (long long)wanted);
    }
    weft_type type = (weft_type)wanted;
    return wefti_set_output(node, outputs, 0, (wefti_shape){type, 2, inputs[0].dims},
                            error);
}

weft_status wefti_lower_eye_like_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    int64_t k = wefti_attribute_int(lowering->node, "k", 0);
    int64_t rows = output.dims[0], columns = output.dims[1];
    WEFTI_TRY(wefti_lower_fill(lowering, &output, 0));
    if (k <= -rows || k >= columns) {
        return WEFT_OK;
    }
    int64_t from_row = k < 0 ? -k : 0, from_column = k > 0 ? k : 0;
    int64_t down = rows - from_row, right = columns - from_column;
    wefti_view diagonal = output;
    diagonal.rank = 1;
    diagonal.dims[0] = down < right ? down : right;
    diagonal.strides[0] = output.strides[0] + output.strides[1];
    diagonal.offset_bytes +=
        (from_row * output.strides[0] + from_column * output.strides[1]) *
        (int64_t)weft_type_size(output.type);
    return wefti_lower_fill(lowering, &diagonal, wefti_value_bits(output.type, 1));
}
