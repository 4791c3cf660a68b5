/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_RESULTS_H
#define WEFTI_RUNTIME_RESULTS_H

#include <stdbool.h>

#include <weft/tensor.h>

#include "base/error.h"

/* Outputs of a request as its run leaves them, for who could not tell their shapes
 * before. One thread at a time until the request has ended, then immutable. */
typedef struct wefti_results {
    size_t count;
    bool *allocated; /* by the run, where it was done */
    weft_tensor tensors[];
} wefti_results;

/* Copies what a call says of its outputs. Errors: WEFT_OUT_OF_MEMORY. */
weft_status wefti_results_create(const weft_io *io, wefti_results **results,
                                 weft_error *error);

/* Also frees what the run has allocated. NULL is allowed. */
void wefti_results_destroy(wefti_results *results);

#endif
