/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/flow.h"

/* Where the parts of a result lie: `outer` pieces, in each the parts one behind the
 * other, of `inner` bytes. */
typedef struct layout {
    size_t outer, inner;
} layout;

static layout layout_of(const wefti_gathered *gathered, const weft_tensor *item)
{
    layout at = {1, weft_type_size(item->type)};
    for (int32_t i = 0; i < item->rank; i++) {
        *(i < gathered->axis ? &at.outer : &at.inner) *= (size_t)item->dims[i];
    }
    return at;
}

static weft_status begin(wefti_flow *flow, wefti_gathered *gathered,
                         const weft_tensor *item, weft_error *error)
{
    int32_t rank = item->rank + 1;
    int32_t axis = gathered->axis < 0 ? gathered->axis + rank : gathered->axis;
    if (rank > WEFT_MAX_RANK || axis < 0 || axis >= rank) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "values of %d dimensions cannot be put together along axis "
                           "%d; %d dimensions are the most",
                           (int)item->rank, (int)gathered->axis, (int)WEFT_MAX_RANK);
    }
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = i == axis ? gathered->capacity : item->dims[i < axis ? i : i - 1];
    }
    gathered->axis = axis;
    return wefti_flow_new(flow, item->type, rank, dims, &gathered->value, error);
}

/* Twice the room, along axis 0. */
static weft_status grow(wefti_flow *flow, wefti_gathered *gathered, weft_error *error)
{
    const weft_tensor *old = &gathered->value.tensor;
    int64_t dims[WEFT_MAX_RANK];
    wefti_value grown = {0};
    memcpy(dims, old->dims, sizeof(dims));
    if (WEFTI_MUL_OVERFLOWS(dims[0], 2, &dims[0])) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY, "a result with too many rows");
    }
    WEFTI_TRY(wefti_flow_new(flow, old->type, old->rank, dims, &grown, error));
    if (old->size_bytes > 0) {
        memcpy(grown.tensor.data, old->data, old->size_bytes);
    }
    wefti_flow_drop(flow, &gathered->value);
    gathered->value = grown;
    gathered->capacity = dims[0];
    return WEFT_OK;
}

static bool same_as_first(const wefti_gathered *gathered, const weft_tensor *item)
{
    const weft_tensor *all = &gathered->value.tensor;
    bool same = all->type == item->type && all->rank == item->rank + 1;
    for (int32_t i = 0; same && i < item->rank; i++) {
        same = all->dims[i < gathered->axis ? i : i + 1] == item->dims[i];
    }
    return same;
}

weft_status wefti_gather_add(wefti_flow *flow, wefti_gathered *gathered,
                             const wefti_value *item, weft_error *error)
{
    const weft_tensor *tensor = &item->tensor;
    if (gathered->value.tensor.type == WEFT_TYPE_NONE) {
        WEFTI_TRY(begin(flow, gathered, tensor, error));
    } else if (!same_as_first(gathered, tensor)) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "it has another shape in iteration %lld than in the first "
                           "one",
                           (long long)gathered->count);
    }
    if (gathered->count == gathered->capacity) {
        WEFTI_TRY(grow(flow, gathered, error));
    }
    layout at = layout_of(gathered, tensor);
    int64_t index = gathered->backwards ? gathered->capacity - 1 - gathered->count
                                        : gathered->count;
    gathered->count++;
    char *to = (char *)gathered->value.tensor.data + (size_t)index * at.inner;
    size_t stride = (size_t)gathered->capacity * at.inner;
    for (size_t i = 0; tensor->data != NULL && at.inner > 0 && i < at.outer; i++) {
        memcpy(to + i * stride, (const char *)tensor->data + i * at.inner, at.inner);
    }
    return WEFT_OK;
}

void wefti_gather_end(wefti_gathered *gathered, wefti_value *result)
{
    weft_tensor *tensor = &gathered->value.tensor;
    size_t rows = (size_t)tensor->dims[gathered->axis];
    tensor->size_bytes =
        rows == 0 ? 0 : tensor->size_bytes / rows * (size_t)gathered->count;
    tensor->dims[gathered->axis] = gathered->count;
    *result = gathered->value;
    gathered->value = (wefti_value){0};
}
