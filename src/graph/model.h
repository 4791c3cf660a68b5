/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_MODEL_H
#define WEFTI_GRAPH_MODEL_H

#include <weft/model.h>

#include "graph/plan.h"
#include "graph/plan_cache.h"

struct weft_model {
    wefti_refcount owners;

    /* immutable after create */
    weft_device *device; /* owned */
    weft_graph *graph;   /* owned, frozen */
    wefti_net net;       /* constants folded */
    wefti_weights *weights;
    wefti_backend_device *cpu; /* folds constants; the device's own when it is one */
    bool owns_cpu;
    bool no_fusion;
    const weft_value_info *inputs, *outputs; /* in the net's arena */

    /* synchronised */
    wefti_plan_cache plans;
};

/* Checks the inputs' types, ranks and fixed dimensions against the model, without
 * building a plan; errors name the tensor. */
weft_status wefti_model_check_inputs(const weft_model *model, const weft_io *io,
                                     weft_error *error);

/* Finds or builds the plan for the inputs' shapes. The plan lives as long as the
 * model. Blocks: while it is being built, by this or another thread. */
weft_status wefti_model_plan(weft_model *model, const weft_io *io,
                             const wefti_plan **plan, weft_error *error);

#endif
