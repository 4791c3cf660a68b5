/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_STAGES_H
#define WEFTI_GRAPH_STAGES_H

#include <weft/model.h>

#include "graph/levels.h"

/* A model that cannot be planned as a whole, divided into stages that are run one after
 * the other: static ones, each an internal model with plans of its own, and nodes that
 * the host does between them, whose results have sizes that depend on data or that run
 * graphs of their own. Immutable once made. */

typedef enum wefti_stage_kind {
    WEFTI_STAGE_STATIC,
    WEFTI_STAGE_HOST, /* an operator, inferred and folded with what its inputs hold */
    WEFTI_STAGE_IF,
    WEFTI_STAGE_LOOP,
    WEFTI_STAGE_SCAN,
} wefti_stage_kind;

/* A graph that a node runs. */
typedef struct wefti_body {
    weft_model *model;                   /* owned */
    size_t first_capture, capture_count; /* in the stage's inputs */
} wefti_body;

typedef struct wefti_stage {
    wefti_stage_kind kind;
    int32_t level;
    const wefti_net_node *node; /* NULL: static */
    wefti_body bodies[2];       /* one; of an If: then, else */
    int32_t *inputs, *outputs;  /* slots; -1: absent, or a result that nobody reads */
    size_t input_count, output_count;
    size_t own_inputs; /* of the node, without captures */
} wefti_stage;

/* A value that stages hand on. */
typedef struct wefti_slot {
    const char *name;
    wefti_known constant; /* where it has one, of the net */
    int32_t uses;         /* reads by stages, and as an output */
} wefti_slot;

typedef struct wefti_stages {
    wefti_stage *stages;
    size_t count;
    wefti_slot *slots; /* the model's inputs come first */
    size_t slot_count;
    int32_t *outputs;                 /* slots */
    size_t most_inputs, most_outputs; /* of a stage */
} wefti_stages;

/* Divides a model, whose net is folded; `params` are given on to the parts, which share
 * max_plan_bytes. It lies in
 * the net's arena; on failure what was made is there for wefti_stages_fini. */
weft_status wefti_stages_create(weft_model *model, const wefti_levels *levels,
                                const weft_model_params *params, weft_error *error);
/* NULL is allowed. */
void wefti_stages_fini(wefti_stages *stages);

/* Writes the stages as a list; the text is the caller's (wefti_free). */
weft_status wefti_stages_dump(const weft_model *model, char **text, weft_error *error);

#endif
