/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_FLOW_H
#define WEFTI_GRAPH_FLOW_H

#include "graph/model.h"
#include "graph/stages.h"
#include "runtime/context.h"

/* One call of a model that has stages: the values that are alive in it, and their
 * memory. Values lie in host memory that counts against the device's cap where the
 * device works on host memory. Class: confined. */

/* Memory of values, owned by all values that lie in it. */
typedef struct wefti_block {
    size_t size_bytes; /* of all, this head included */
    int32_t owners;
    struct wefti_block *next; /* among the unused */
} wefti_block;

/* A tensor. Without a block it is borrowed and stays for the whole call: an input of
 * the caller's or a constant. All zero: absent. */
typedef struct wefti_value {
    weft_tensor tensor;
    wefti_block *block;
} wefti_value;

typedef struct wefti_flow {
    weft_device *device;
    weft_context *context; /* entered by each static stage in turn */
    wefti_account *memory; /* the model's; NULL: no cap */
    int64_t iterations_left, max_iterations;
    wefti_block *unused; /* kept for the values to come */
    size_t unused_bytes, used_bytes, peak_bytes;
} wefti_flow;

/* For a run of the model. */
void wefti_flow_init(wefti_flow *flow, weft_context *context, const weft_model *model);
/* All values are dropped. */
void wefti_flow_fini(wefti_flow *flow);

/* Makes a value of this type and shape, dense, contents undefined.
 * Errors: WEFT_OUT_OF_MEMORY at the device's cap, or the model's. */
weft_status wefti_flow_new(wefti_flow *flow, weft_type type, int32_t rank,
                           const int64_t *dims, wefti_value *value, weft_error *error);
/* Another owner of the same memory. */
wefti_value wefti_flow_keep(const wefti_value *value);
/* Ends an owner and makes the value absent. */
void wefti_flow_drop(wefti_flow *flow, wefti_value *value);
void wefti_flow_drop_all(wefti_flow *flow, wefti_value *values, size_t count);

/* Runs a model, with stages or without. `outputs` are made, on failure all absent.
 * Errors as of weft_run; those of a stage name its node. */
weft_status wefti_flow_call(wefti_flow *flow, weft_model *model,
                            const wefti_value *inputs, wefti_value *outputs,
                            weft_error *error);

/* If, Loop and Scan: `inputs` are the node's own, then what its graphs capture. */
weft_status wefti_flow_if(wefti_flow *flow, const wefti_stage *stage,
                          const wefti_value *inputs, wefti_value *outputs,
                          weft_error *error);
weft_status wefti_flow_loop(wefti_flow *flow, const wefti_stage *stage,
                            const wefti_value *inputs, wefti_value *outputs,
                            weft_error *error);
weft_status wefti_flow_scan(wefti_flow *flow, const wefti_stage *stage,
                            const wefti_value *inputs, wefti_value *outputs,
                            weft_error *error);

/* The shapes that outputs of a model would have, with no data: for iterations that do
 * not take place; of rank -1 where only a run tells. */
weft_status wefti_flow_shapes(weft_model *model, const wefti_value *inputs,
                              wefti_value *outputs, weft_error *error);

/* Values of one shape put side by side along a new axis. */
typedef struct wefti_gathered {
    wefti_value value; /* has room for `capacity` of them */
    int64_t capacity, count;
    int32_t axis;   /* negative: from the end of the result */
    bool backwards; /* the first one comes last; then `capacity` is exact */
} wefti_gathered;

/* Adds a value. What has no room yet takes `capacity`; with axis 0 it grows. */
weft_status wefti_gather_add(wefti_flow *flow, wefti_gathered *gathered,
                             const wefti_value *item, weft_error *error);
/* Hands the result over: as many as were added. */
void wefti_gather_end(wefti_gathered *gathered, wefti_value *result);

#endif
