/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"

#include <stdio.h>
#include <string.h>

static const wefti_known absent = {.type = WEFT_TYPE_NONE};

const wefti_known *wefti_known_input(const wefti_node_view *node,
                                     const wefti_known *inputs, size_t index)
{
    return index < node->input_count ? &inputs[index] : &absent;
}

bool wefti_known_present(const wefti_node_view *node, const wefti_known *inputs,
                         size_t index)
{
    return wefti_known_input(node, inputs, index)->type != WEFT_TYPE_NONE;
}

int64_t wefti_known_element_count(const wefti_known *known)
{
    wefti_view view = {.rank = known->rank};
    memcpy(view.dims, known->dims, sizeof(view.dims));
    return wefti_view_element_count(&view);
}

int64_t wefti_count_dims(int32_t count, const int64_t *dims)
{
    int64_t product = 1;
    for (int32_t i = 0; i < count; i++) {
        if (WEFTI_MUL_OVERFLOWS(product, dims[i], &product)) {
            return 0;
        }
    }
    return product;
}

static void write_types(uint32_t types, char *text, size_t text_bytes)
{
    text[0] = '\0';
    size_t used = 0;
    for (int32_t type = 1; type < 32; type++) {
        if (types & (1u << type)) {
            int length =
                snprintf(text + used, text_bytes - used, "%s%s", used > 0 ? ", " : "",
                         weft_type_name((weft_type)type));
            used += length > 0 ? (size_t)length : 0;
        }
        if (used >= text_bytes) {
            return;
        }
    }
}

weft_status wefti_check_type(const wefti_node_view *node, const wefti_known *inputs,
                             size_t index, uint32_t types, weft_error *error)
{
    weft_type type = wefti_known_input(node, inputs, index)->type;
    if (type == WEFT_TYPE_NONE) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: input %zu is missing; the operator needs it",
                           node->label, index);
    }
    if ((unsigned)type < 32 && (types & (1u << type))) {
        return WEFT_OK;
    }
    char expected[96];
    write_types(types, expected, sizeof(expected));
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "%s: input %zu has type %s, which is not supported here; "
                       "expected %s",
                       node->label, index, weft_type_name(type), expected);
}

weft_status wefti_check_types(const wefti_node_view *node, const wefti_known *inputs,
                              size_t first, uint32_t types, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, first, types, error));
    for (size_t i = first + 1; i < node->input_count; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, types, error));
        if (inputs[i].type != inputs[first].type) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: input %zu has type %s but input %zu has type %s; "
                               "they must be the same, add a Cast",
                               node->label, i, weft_type_name(inputs[i].type), first,
                               weft_type_name(inputs[first].type));
        }
    }
    return WEFT_OK;
}

weft_status wefti_check_rank(const wefti_node_view *node, const wefti_known *inputs,
                             size_t index, int32_t least, int32_t most,
                             weft_error *error)
{
    int32_t rank = wefti_known_input(node, inputs, index)->rank;
    if (rank >= least && rank <= most) {
        return WEFT_OK;
    }
    if (least == most) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: input %zu has %d dimensions, expected %d", node->label,
                           index, (int)rank, (int)least);
    }
    return wefti_error(error, WEFT_INVALID_ARGUMENT,
                       "%s: input %zu has %d dimensions, expected %d to %d",
                       node->label, index, (int)rank, (int)least, (int)most);
}

weft_status wefti_check_axis(const wefti_node_view *node, int64_t axis, int32_t rank,
                             int32_t *result, weft_error *error)
{
    if (axis < -rank || axis >= rank) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: axis %lld is outside a tensor of %d dimensions; "
                           "expected %d to %d",
                           node->label, (long long)axis, (int)rank, (int)-rank,
                           (int)rank - 1);
    }
    *result = (int32_t)(axis < 0 ? axis + rank : axis);
    return WEFT_OK;
}

weft_status wefti_check_axes(const wefti_node_view *node, const int64_t *axes,
                             size_t count, int32_t rank, bool *selected,
                             weft_error *error)
{
    for (int32_t i = 0; i < rank; i++) {
        selected[i] = false;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t axis = 0;
        WEFTI_TRY(wefti_check_axis(node, axes[i], rank, &axis, error));
        if (selected[axis]) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: axis %d is given twice; each may be given once",
                               node->label, (int)axis);
        }
        selected[axis] = true;
    }
    return WEFT_OK;
}

const char *wefti_shape_write(int32_t rank, const int64_t *dims, wefti_shape_text *text)
{
    size_t used = 0;
    text->text[used++] = '[';
    for (int32_t i = 0; i < rank && i < WEFT_MAX_RANK; i++) {
        used += (size_t)snprintf(text->text + used, sizeof(text->text) - used, "%s%lld",
                                 i > 0 ? ", " : "", (long long)dims[i]);
    }
    text->text[used++] = ']';
    text->text[used] = '\0';
    return text->text;
}

weft_status wefti_check_shape(const wefti_node_view *node, const char *what,
                              const wefti_known *known, int32_t rank,
                              const int64_t *dims, weft_error *error)
{
    bool same = known->rank == rank;
    for (int32_t i = 0; same && i < rank; i++) {
        same = known->dims[i] == dims[i];
    }
    if (same) {
        return WEFT_OK;
    }
    wefti_shape_text found;
    wefti_shape_text expected;
    return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s: %s has shape %s, expected %s",
                       node->label, what,
                       wefti_shape_write(known->rank, known->dims, &found),
                       wefti_shape_write(rank, dims, &expected));
}

/* Constants may be mapped from a file at any alignment. */
int64_t wefti_known_integer(const wefti_known *known, int64_t index)
{
    if (known->type == WEFT_TYPE_I32) {
        int32_t value = 0;
        memcpy(&value, (const char *)known->constant + index * 4, sizeof(value));
        return value;
    }
    int64_t value = 0;
    memcpy(&value, (const char *)known->constant + index * 8, sizeof(value));
    return value;
}

weft_status wefti_check_integers(const wefti_node_view *node, const wefti_known *inputs,
                                 size_t index, wefti_integer_room room, size_t *count,
                                 weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, index, WEFTI_TYPES_INDEX, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, index, 0, 1, error));
    const wefti_known *known = &inputs[index];
    int64_t found = wefti_known_element_count(known);
    if (found > (int64_t)room.capacity) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: input %zu has %lld elements, expected at most %zu",
                           node->label, index, (long long)found, room.capacity);
    }
    *count = (size_t)found;
    if (found > 0 && !known->constant) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: input %zu decides a shape, so it must be a constant or "
                           "follow from shapes; it depends on the data of the run",
                           node->label, index);
    }
    for (int64_t i = 0; i < found; i++) {
        room.values[i] = wefti_known_integer(known, i);
    }
    return WEFT_OK;
}

weft_status wefti_set_output(const wefti_node_view *node, wefti_known *outputs,
                             size_t index, wefti_shape shape, weft_error *error)
{
    if (index >= node->output_count) {
        return WEFT_OK;
    }
    if (shape.rank < 0 || shape.rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: output %zu would have %d dimensions; at most %d are "
                           "supported",
                           node->label, index, (int)shape.rank, (int)WEFT_MAX_RANK);
    }
    weft_tensor made = {.type = shape.type, .rank = shape.rank};
    size_t dims_bytes = (size_t)shape.rank * sizeof(*shape.dims);
    memcpy(made.dims, shape.dims, dims_bytes);
    weft_status status = weft_tensor_measure(&made, NULL, NULL, error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(error, status, "%s: output %zu", node->label, index);
    }
    outputs[index] = (wefti_known){.type = shape.type, .rank = shape.rank};
    memcpy(outputs[index].dims, shape.dims, dims_bytes);
    return WEFT_OK;
}

weft_status wefti_check_product(const wefti_node_view *node, int64_t a, int64_t b,
                                int64_t *product, weft_error *error)
{
    if (WEFTI_MUL_OVERFLOWS(a, b, product)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: a size of %lld times %lld overflows", node->label,
                           (long long)a, (long long)b);
    }
    return WEFT_OK;
}
