/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PADDING_H
#define WEFTI_GRAPH_PADDING_H

#include "graph/model.h"

/* Tensors of a call for which there is room on the stack. */
enum { WEFTI_PADDING_TENSORS = 48 };

/* One call of a model with buckets, as it is planned. Class: confined; it stays where
 * it was made. */
typedef struct wefti_padding {
    const weft_model *model;
    const weft_io *given; /* the caller's */
    weft_io io;           /* as planned; outputs are set by wefti_padding_load */
    bool needed;          /* something is padded, or a mask is to be made */
    /* For each bucket: the caller's size, and the planned one; -1: not met. */
    int64_t sizes[WEFTI_MOST_BUCKETS], planned[WEFTI_MOST_BUCKETS];
    size_t staging_bytes; /* once it is laid out */
    weft_tensor *tensors; /* inputs, outputs */
    weft_tensor on_stack[WEFTI_PADDING_TENSORS];
} wefti_padding;

/* Checks the inputs, except for memory that a plan does not need, and rounds up.
 * wefti_padding_fini also after a failure. Nothing is allocated for up to
 * WEFTI_PADDING_TENSORS tensors.
 * Errors: those of wefti_model_check_inputs. */
weft_status wefti_padding_init(wefti_padding *padding, const weft_model *model,
                               const weft_io *io, weft_error *error);
void wefti_padding_fini(wefti_padding *padding);

/* Whether the library makes this input of a call: a mask without data. */
bool wefti_mask_is_made(const weft_model *model, size_t index,
                        const weft_tensor *tensor);

/* Describes those of the caller's outputs that are of rank -1. */
void wefti_padding_describe(const wefti_padding *padding, const wefti_plan *plan,
                            weft_tensor *outputs);

/* As wefti_check_tensors, for the caller's tensors. */
weft_status wefti_padding_check(const wefti_padding *padding, const wefti_plan *plan,
                                weft_error *error);

/* Once checked: says how much staging memory is needed.
 * Errors: WEFT_OUT_OF_MEMORY where that is more than can be. */
weft_status wefti_padding_lay_out(wefti_padding *padding, const wefti_plan *plan,
                                  weft_error *error);

/* Gives tensors of other sizes their places in the staging memory, fills the inputs and
 * sets io.outputs. */
void wefti_padding_load(wefti_padding *padding, const wefti_plan *plan, char *staging);

/* Cuts the outputs into the caller's memory, and describes those of rank -1. */
void wefti_padding_store(const wefti_padding *padding, const wefti_plan *plan);

/* After a failure. */
void wefti_padding_zero_outputs(const wefti_padding *padding, const wefti_plan *plan);

#endif
