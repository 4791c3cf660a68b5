/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_RUN_H
#define WEFTI_GRAPH_RUN_H

#include <weft/context.h>

#include "graph/model.h"

/* Runs a model once, as a part of work that the device has accepted: leases a context,
 * waiting for one, also after the device was closed. Otherwise as weft_run. */
weft_status wefti_run_accepted(weft_model *model, const weft_io *io, weft_error *error);

/* A tensor that lies in rows apart from each other, each dense; addresses NULL: it does
 * not. */
typedef struct wefti_rows {
    void **addresses;
    size_t bytes; /* of a row: as wefti_model_get_row_bytes says */
} wefti_rows;

/* For a model without stages or buckets: the sizes of the rows in which its inputs,
 * then its outputs, may lie apart in runs on these shapes; 0: not at all, as in all
 * runs that are estimated to take more than most_ns of a core. Builds the plan. */
weft_status wefti_model_get_row_bytes(weft_model *model, const weft_io *io,
                                      double most_ns, size_t *row_bytes,
                                      weft_error *error);

/* As wefti_run_accepted, where some tensors lie in rows: each input, then each output
 * has its entry. Their data in `io` is zeroed when the run fails, and else not used;
 * the rows of outputs are indeterminate then. Waits for nobody, and builds no plan:
 * WEFT_BUSY, and nothing was done, when all contexts are leased, or no run on these
 * shapes has left its plan. */
weft_status wefti_run_rows(weft_model *model, const weft_io *io, const wefti_rows *rows,
                           weft_error *error);

/* Runs a model without stages in a context that the caller has leased, as a part of
 * accepted work. */
weft_status wefti_run_in_context(weft_context *context, weft_model *model,
                                 const weft_io *io, weft_error *error);

#endif
