/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_OUTPUTS_H
#define WEFTI_GRAPH_OUTPUTS_H

#include "graph/flow.h"

/* Outputs whose memory or shape the caller leaves to the library. */

/* An output that asks for its memory: of rank -1, without data and without a size. */
WEFTI_INLINE bool wefti_output_is_open(const weft_tensor *tensor)
{
    return tensor->rank == -1 && tensor->data == NULL && tensor->size_bytes == 0 &&
           tensor->place == WEFT_PLACE_HOST;
}

/* Gives an output of this shape memory, which the caller of the run frees with
 * weft_output_free. */
weft_status wefti_output_allocate(weft_tensor *tensor, weft_error *error);

/* Checks what can be told of the tensors of a call of a model with stages. */
weft_status wefti_outputs_check(const weft_model *model, const weft_io *io,
                                weft_error *error);

/* Copies the results into the caller's outputs and says what they are. On failure, all
 * are as they were, but for data that was written. */
weft_status wefti_outputs_store(const weft_model *model, const weft_io *io,
                                const wefti_value *results, weft_error *error);

/* After a failure: nothing of the answer stays. */
void wefti_outputs_zero(const weft_io *io);

#endif
