/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_LOWER_H
#define WEFTI_OPS_LOWER_H

#include "ops/operator.h"

/* What lowering functions share beyond operator.h. */

/* Input `index` or an absent view. */
wefti_view wefti_lower_input(const wefti_lowering *lowering, size_t index);
/* Output `index` when somebody reads it, else an absent view. */
wefti_view wefti_lower_output(const wefti_lowering *lowering, size_t index);

/* A step of the node with no operands yet. */
wefti_program_step wefti_lower_begin(const wefti_lowering *lowering,
                                     wefti_kernel kernel, void *params,
                                     size_t params_bytes);
weft_status wefti_lower_end(wefti_lowering *lowering, const wefti_program_step *step);

/* A dense temporary of the shape. */
weft_status wefti_lower_temporary(wefti_lowering *lowering, weft_type type,
                                  int32_t rank, const int64_t *dims, wefti_view *view);
/* A dense constant owned by the program. Errors: WEFT_UNSUPPORTED when a program's
 * constants take more than WEFTI_LOWER_MADE_BYTES beyond as much as its weights: a
 * small file must not fill the memory while it is loaded. */
enum { WEFTI_LOWER_MADE_BYTES = 1 << 28 };
weft_status wefti_lower_constant(wefti_lowering *lowering, weft_type type, int32_t rank,
                                 const int64_t *dims, const void *data,
                                 wefti_view *view);
/* A constant mask of dims[0] rows and dims[1] columns: true at j >= i + diagonal when
 * `upper`, else at j <= i + diagonal. Errors: WEFT_UNSUPPORTED when it is huge. */
weft_status wefti_lower_triangle(wefti_lowering *lowering, const int64_t dims[2],
                                 int64_t diagonal, bool upper, wefti_view *mask);
/* Fills `target` (any strides) with one value, given as its first bytes. */
weft_status wefti_lower_fill(wefti_lowering *lowering, const wefti_view *target,
                             uint64_t value_bits);
/* The bits of `value` in an element type; 0 for types without arithmetic. */
uint64_t wefti_value_bits(weft_type type, double value);
/* Makes output `index` the data of `view` in the output's own shape: an alias where
 * the strides allow it, else one copy. */
weft_status wefti_lower_reshape(wefti_lowering *lowering, size_t index,
                                const wefti_view *view);
/* Reshapes `view`, through a dense copy where the strides do not allow it. */
weft_status wefti_lower_reshape_view(wefti_lowering *lowering, wefti_view *view,
                                     int32_t rank, const int64_t *dims);
/* `view` with its axes in another order: axis i is the old order[i]. */
wefti_view wefti_view_permute(const wefti_view *view, const int32_t *order);

#endif
