/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_RUN_H
#define WEFTI_GRAPH_RUN_H

#include <weft/context.h>

#include "graph/model.h"

/* Runs a model once, as a part of work that the device has accepted: leases a context,
 * waiting for one, also after the device was closed. Otherwise as weft_run. */
weft_status wefti_run_accepted(weft_model *model, const weft_io *io, weft_error *error);

/* Runs a model without stages in a context that the caller has leased, as a part of
 * accepted work. */
weft_status wefti_run_in_context(weft_context *context, weft_model *model,
                                 const weft_io *io, weft_error *error);

#endif
