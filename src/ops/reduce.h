/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_REDUCE_H
#define WEFTI_OPS_REDUCE_H

#include "ops/operator.h"

/* Adds the step that reduces the marked axes of `input` into the dense `output`. */
weft_status wefti_lower_reduction(wefti_lowering *lowering, wefti_reduction reduction,
                                  const wefti_view *input, const bool *reduced,
                                  const wefti_view *output);

/* Which axes a node such as ReduceSum reduces; all when none are given, none when
 * noop_with_empty_axes says so. */
weft_status wefti_reduce_axes(const wefti_node_view *node, const wefti_known *inputs,
                              bool *reduced, weft_error *error);

#endif
