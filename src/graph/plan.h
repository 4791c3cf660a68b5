/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PLAN_H
#define WEFTI_GRAPH_PLAN_H

#include "graph/net.h"
#include "runtime/device.h"

/* Which bucket each dimension of an output is cut by (buckets.h); -1: none. */
typedef struct wefti_bucket_cuts {
    int8_t buckets[WEFT_MAX_RANK];
} wefti_bucket_cuts;

/* A model at one set of input shapes, and of the values of its value inputs: kernels
 * chosen, memory laid out, a recipe that a context can execute. Immutable once built,
 * but for what its cache keeps in it. */
typedef struct wefti_plan {
    wefti_net net;                           /* keeps labels and folded constants */
    wefti_program program;                   /* for the dump */
    wefti_recipe *recipes[WEFTI_MOST_CARDS]; /* one for each card of the device */
    const wefti_backend *backend;
    size_t workspace_bytes; /* the recipes' scratch included */
    size_t planned_bytes;   /* without it */
    /* Shapes, the key of the plan cache, and of the outputs. Value inputs have their
     * value as `constant`. */
    const wefti_known *inputs, *outputs;
    size_t *input_bytes, *output_bytes;
    size_t input_count, output_count;
    size_t bytes;                  /* host memory that goes with the plan */
    const wefti_bucket_cuts *cuts; /* of each output; NULL: the model has no buckets */

    /* guarded by the plan cache's lock */
    struct wefti_plan *next; /* among the evicted */
    int32_t holds;           /* users without a place to publish it in */
} wefti_plan;

/* What a plan is built from. */
typedef struct wefti_plan_source {
    weft_device *device;
    const wefti_net *net;          /* constants folded */
    wefti_weights *const *weights; /* of each card */
    wefti_backend_device *cpu;     /* folds constants */
    bool no_fusion;
    weft_precision precision;
} wefti_plan_source;

/* Builds a plan for inputs of these types and shapes; one with `constant` has this
 * value (copied) in every run. Errors name the node. Threads: any. */
weft_status wefti_plan_build(const wefti_plan_source *source, const wefti_known *inputs,
                             wefti_plan **plan, weft_error *error);
void wefti_plan_destroy(wefti_plan *plan);

/* The size of the rows in which the plan takes a tensor (inputs, then outputs) that
 * lies in rows apart from each other; 0: it takes it in one piece only. */
size_t wefti_plan_row_bytes(const wefti_plan *plan, size_t tensor);

/* Writes the plan as a table; the text is the caller's (wefti_free). */
weft_status wefti_plan_dump(const wefti_plan *plan, char **text, weft_error *error);

/* Lowers a net whose shapes are all known. */
weft_status wefti_net_lower(const wefti_net *net, wefti_program *program,
                            weft_error *error);

#endif
