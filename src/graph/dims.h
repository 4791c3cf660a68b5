/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_DIMS_H
#define WEFTI_GRAPH_DIMS_H

#include "graph/graph.h"

/* The dimensions of a model's inputs that may have any size, by number. Those with the
 * same name are one and have one number. Immutable once found. */
typedef struct wefti_dims {
    /* Of dimension j of input i, at [i * WEFT_MAX_RANK + j]: */
    const int32_t *numbers;   /* -1: of a fixed size */
    const int32_t *firsts;    /* index of the first one with its number; -1: fixed */
    const char *const *names; /* by number; NULL: it has none */
    int32_t count;
} wefti_dims;

/* Finds them in O(n log n). The arrays live in `arena`.
 * Errors: WEFT_OUT_OF_MEMORY. */
weft_status wefti_dims_find(const weft_value_info *inputs, size_t input_count,
                            wefti_arena *arena, wefti_dims *dims, weft_error *error);

#endif
