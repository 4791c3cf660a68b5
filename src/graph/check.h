/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_CHECK_H
#define WEFTI_GRAPH_CHECK_H

#include "graph/model.h"

/* Checks that the io of a call has the model's number of tensors. */
weft_status wefti_check_counts(const weft_model *model, const weft_io *io,
                               weft_error *error);

/* As wefti_model_check_inputs, where no mask is left out. */
weft_status wefti_check_inputs(const weft_model *model, const weft_io *io,
                               weft_error *error);

/* Checks addresses, alignment, strides, sizes and overlap of all tensors against the
 * plan; with an output of rank -1, that the result fits. Errors name the tensor. */
weft_status wefti_check_tensors(const weft_model *model, const wefti_plan *plan,
                                const weft_io *io, weft_error *error);

/* Checks that a tensor of `size_bytes` lies where a run of the model can use it: in
 * host memory, or on the card, if the device is one and the model is planned as a
 * whole. */
weft_status wefti_check_place(const weft_model *model, const weft_tensor *tensor,
                              size_t size_bytes, const char *kind, const char *name,
                              weft_error *error);

/* What the model gives as one of its outputs. */
typedef struct wefti_wanted_output {
    const char *name;
    weft_type type;
    int32_t rank;
    const int64_t *dims;
    size_t size_bytes;
} wefti_wanted_output;

/* Checks an output's type, shape, room and layout. *placed is the output, with the
 * model's type and shape where they were left open. Errors name the tensor. */
weft_status wefti_check_shaped(const wefti_wanted_output *wanted,
                               const weft_tensor *given, weft_tensor *placed,
                               weft_error *error);
/* That too, and that it is in host memory. */
weft_status wefti_check_output(const wefti_wanted_output *wanted,
                               const weft_tensor *given, weft_tensor *placed,
                               weft_error *error);

/* Whether two pieces of memory have a byte in common. */
bool wefti_memory_overlaps(const void *a, size_t a_bytes, const void *b,
                           size_t b_bytes);

/* Checks what can be told of a request's tensors before there is a plan: places, sizes
 * by their own shapes, and the element types of outputs. */
weft_status wefti_check_unplanned(const weft_model *model, const weft_io *io,
                                  weft_error *error);

#endif
