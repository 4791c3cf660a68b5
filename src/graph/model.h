/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_MODEL_H
#define WEFTI_GRAPH_MODEL_H

#include <weft/model.h>

#include "graph/account.h"
#include "graph/buckets.h"
#include "graph/dims.h"
#include "graph/plan.h"
#include "graph/plan_cache.h"

/* Most elements of an input whose value decides a shape; of one that another stage
 * gives. */
enum { WEFTI_MOST_VALUE_ELEMENTS = 256, WEFTI_MOST_PART_ELEMENTS = 65536 };

struct weft_model {
    wefti_refcount owners;

    /* immutable after create */
    weft_device *device;                      /* owned */
    weft_graph *graph;                        /* owned, frozen */
    wefti_net net;                            /* constants folded */
    wefti_weights *weights[WEFTI_MOST_CARDS]; /* of each card of the device */
    wefti_backend_device *cpu; /* folds constants; the device's own when it is one */
    bool owns_cpu;
    bool no_fusion;
    weft_precision precision;
    bool is_part;           /* of another model */
    wefti_account *memory;  /* its own, or of the whole; NULL: no cap */
    int64_t max_iterations; /* of a run; INT64_MAX: any number */
    const weft_value_info *inputs, *outputs; /* in the net's arena */
    wefti_dims dims;                         /* of the inputs, in the net's arena */
    /* Inputs whose value is a part of the plan's key; in the net's arena. */
    wefti_plan_values values;
    /* How it is run where it cannot be planned as a whole; NULL: it can. */
    struct wefti_stages *stages;
    const wefti_buckets *buckets; /* in the net's arena; NULL: all sizes are exact */

    /* synchronised */
    wefti_account account; /* not of a part */
    wefti_plan_cache plans;
};

/* A model that is a part of another one, which lives longer: its inputs may be of any
 * type and shape, and its value inputs of any size that is likely. */
weft_status wefti_model_create_part(weft_model *whole, weft_graph *graph,
                                    const weft_model_params *params, weft_model **model,
                                    weft_error *error);

/* Checks the inputs' types, ranks and fixed dimensions against the model, and that the
 * data of value inputs is there, without building a plan; errors name the tensor. Masks
 * of buckets may be left out. */
weft_status wefti_model_check_inputs(const weft_model *model, const weft_io *io,
                                     weft_error *error);

/* Sets up the cache of plans; `params` have their defaults put in. */
weft_status wefti_model_init_plans(weft_model *model, const weft_model_params *params,
                                   weft_error *error);

/* Checks the inputs, finds or builds the plan for their shapes, rounded up where the
 * model has buckets, and holds it for any
 * length of time until wefti_plan_cache_drop(&model->plans, plan).
 * Blocks: while it is being built, by this or another thread. */
weft_status wefti_model_hold_plan(weft_model *model, const weft_io *io,
                                  wefti_plan **plan, weft_error *error);

/* Calls the visitor with the plan for the inputs' shapes, found or built, which are
 * rounded up already where the model has buckets. Lock-free
 * where the plan is there. The visitor is quick and calls nothing of the cache. */
typedef weft_status wefti_plan_visitor(void *user, const wefti_plan *plan,
                                       weft_error *error);
weft_status wefti_model_visit_plan(weft_model *model, const weft_io *io,
                                   wefti_plan_visitor *visitor, void *user,
                                   weft_error *error);

#endif
