/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/dims.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A dimension that may vary and has a name. */
typedef struct named {
    const char *name;
    int32_t index;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static bool may_vary(const weft_value_info *inputs, int32_t index)
{
    const weft_value_info *info = &inputs[index / WEFT_MAX_RANK];
    int32_t axis = index % WEFT_MAX_RANK;
    return axis < info->rank && info->dims[axis] < 0;
}

static const char *name_of(const weft_value_info *inputs, int32_t index)
{
    return inputs[index / WEFT_MAX_RANK].dim_names[index % WEFT_MAX_RANK];
}

/* Every dimension's first one of the same name. */
static weft_status find_firsts(const weft_value_info *inputs, int32_t count,
                               int32_t *firsts, weft_error *error)
{
    named *list = wefti_calloc((size_t)count + 1, sizeof(*list));
    size_t length = 0;
    if (list == NULL) {
        return wefti_error_memory(error, "the dimensions of a model");
    }
    for (int32_t i = 0; i < count; i++) {
        firsts[i] = may_vary(inputs, i) ? i : -1;
        if (firsts[i] >= 0 && name_of(inputs, i) != NULL) {
            list[length++] = (named){name_of(inputs, i), i};
        }
    }
    qsort(list, length, sizeof(*list), by_name);
    for (size_t i = 1; i < length; i++) {
        if (strcmp(list[i - 1].name, list[i].name) == 0) {
            firsts[list[i].index] = firsts[list[i - 1].index];
        }
    }
    wefti_free(list);
    return WEFT_OK;
}

weft_status wefti_dims_find(const weft_value_info *inputs, size_t input_count,
                            wefti_arena *arena, wefti_dims *dims, weft_error *error)
{
    if (input_count > INT32_MAX / WEFT_MAX_RANK - 1) {
        return wefti_error(error, WEFT_INVALID_MODEL, "the model has too many inputs");
    }
    int32_t count = (int32_t)input_count * WEFT_MAX_RANK;
    int32_t *numbers = wefti_arena_calloc(arena, (size_t)count, sizeof(*numbers));
    int32_t *firsts = wefti_arena_calloc(arena, (size_t)count, sizeof(*firsts));
    const char **names = wefti_arena_calloc(arena, (size_t)count, sizeof(*names));
    if (numbers == NULL || firsts == NULL || names == NULL) {
        return wefti_error_memory(error, "the dimensions of a model");
    }
    WEFTI_TRY(find_firsts(inputs, count, firsts, error));
    *dims = (wefti_dims){.numbers = numbers, .firsts = firsts, .names = names};
    for (int32_t i = 0; i < count; i++) {
        if (firsts[i] == i) {
            names[dims->count] = name_of(inputs, i);
            numbers[i] = dims->count++;
        } else {
            numbers[i] = firsts[i] < 0 ? -1 : numbers[firsts[i]];
        }
    }
    return WEFT_OK;
}
