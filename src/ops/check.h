/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_CHECK_H
#define WEFTI_OPS_CHECK_H

#include "ops/operator.h"

/* What inference functions share: checks whose errors start with the node's label, and
 * outputs whose size cannot overflow. */

/* Sets of element types. */
#define WEFTI_TYPE_SET(type) (1u << (type))
enum {
    WEFTI_TYPES_BOOL = WEFTI_TYPE_SET(WEFT_TYPE_BOOL),
    WEFTI_TYPES_F32 = WEFTI_TYPE_SET(WEFT_TYPE_F32),
    WEFTI_TYPES_FLOAT = WEFTI_TYPES_F32 | WEFTI_TYPE_SET(WEFT_TYPE_F64),
    WEFTI_TYPES_INDEX = WEFTI_TYPE_SET(WEFT_TYPE_I32) | WEFTI_TYPE_SET(WEFT_TYPE_I64),
    WEFTI_TYPES_NUMBER = WEFTI_TYPES_FLOAT | WEFTI_TYPES_INDEX,
    /* What elementwise integer arithmetic takes. */
    WEFTI_TYPES_INTEGER =
        WEFTI_TYPES_INDEX | WEFTI_TYPE_SET(WEFT_TYPE_U8) | WEFTI_TYPE_SET(WEFT_TYPE_I8),
    WEFTI_TYPES_ARITHMETIC = WEFTI_TYPES_FLOAT | WEFTI_TYPES_INTEGER,
    WEFTI_TYPES_VALUE = WEFTI_TYPES_ARITHMETIC | WEFTI_TYPES_BOOL,
    /* Whatever can be moved. */
    WEFTI_TYPES_ANY = WEFTI_TYPES_VALUE | WEFTI_TYPE_SET(WEFT_TYPE_F16) |
                      WEFTI_TYPE_SET(WEFT_TYPE_BF16),
};

/* Input `index` as known; one of type NONE when it is absent or beyond the last. */
const wefti_known *wefti_known_input(const wefti_node_view *node,
                                     const wefti_known *inputs, size_t index);
bool wefti_known_present(const wefti_node_view *node, const wefti_known *inputs,
                         size_t index);
int64_t wefti_known_element_count(const wefti_known *known);
/* The product of some dims of a tensor; 0 where that overflows. Dims that have been
 * measured do not (those of 0 left out), but as bytes they may beside a dim of 0. */
int64_t wefti_count_dims(int32_t count, const int64_t *dims);

/* The input is there and has one of the types. */
weft_status wefti_check_type(const wefti_node_view *node, const wefti_known *inputs,
                             size_t index, uint32_t types, weft_error *error);
/* The same for all inputs from `first` on, which all have the type of the first. */
weft_status wefti_check_types(const wefti_node_view *node, const wefti_known *inputs,
                              size_t first, uint32_t types, weft_error *error);
weft_status wefti_check_rank(const wefti_node_view *node, const wefti_known *inputs,
                             size_t index, int32_t least, int32_t most,
                             weft_error *error);
/* Turns an axis of [-rank, rank) into [0, rank). */
weft_status wefti_check_axis(const wefti_node_view *node, int64_t axis, int32_t rank,
                             int32_t *result, weft_error *error);
/* Marks the axes in `selected`; each at most once. */
weft_status wefti_check_axes(const wefti_node_view *node, const int64_t *axes,
                             size_t count, int32_t rank, bool *selected,
                             weft_error *error);
/* Both shapes are the same, said as "`what` has shape ..., expected ...". */
weft_status wefti_check_shape(const wefti_node_view *node, const char *what,
                              const wefti_known *known, int32_t rank,
                              const int64_t *dims, weft_error *error);

/* Where integers are read to. */
typedef struct wefti_integer_room {
    int64_t *values;
    size_t capacity;
} wefti_integer_room;

/* Reads the constant i64 or i32 vector of input `index`, of no more elements than
 * there is room for. WEFT_UNSUPPORTED names the input when it is not constant. */
weft_status wefti_check_integers(const wefti_node_view *node, const wefti_known *inputs,
                                 size_t index, wefti_integer_room room, size_t *count,
                                 weft_error *error);
/* The constant integer i of a dense i64 or i32 tensor. */
int64_t wefti_known_integer(const wefti_known *known, int64_t index);

/* What an output shall be; `dims` are copied. */
typedef struct wefti_shape {
    weft_type type;
    int32_t rank;
    const int64_t *dims;
} wefti_shape;

/* Sets output `index`, if the node has it, and checks that its size fits. */
weft_status wefti_set_output(const wefti_node_view *node, wefti_known *outputs,
                             size_t index, wefti_shape shape, weft_error *error);
/* A size times another, or the error that it overflows. */
weft_status wefti_check_product(const wefti_node_view *node, int64_t a, int64_t b,
                                int64_t *product, weft_error *error);

/* Writes "[2, 3]" and returns `text`. */
typedef struct wefti_shape_text {
    char text[WEFT_MAX_RANK * 22 + 3];
} wefti_shape_text;
const char *wefti_shape_write(int32_t rank, const int64_t *dims,
                              wefti_shape_text *text);

#endif
