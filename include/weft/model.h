/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_MODEL_H
#define WEFT_MODEL_H

#include <weft/device.h>
#include <weft/graph.h>

WEFT_BEGIN_DECLS

/* A graph made ready on one device: weights packed once and shared by all callers.
 * Class: immutable (its cache of plans is synchronised); run it from any number of
 * threads at once. */
typedef struct weft_model weft_model;

typedef struct weft_model_params {
    size_t struct_size;
    /* Most plans (one per set of input shapes, and of the values of value inputs: see
     * weft_model_input_is_value) kept; 0: 1024. One more takes the place
     * of the one that was not used for the longest time; a plan in use stays until its
     * run has ended. */
    int32_t max_plans;
    /* Leaves out the fusions: one kernel per operator. */
    bool no_fusion;
    /* Most host memory of all plans together, weights not counted; 0: 256 MiB. Plans
     * make room for others as above; a single larger one is kept alone. Of a model with
     * stages (weft_model_has_stages) each part, a static stage or a body, keeps up to
     * max_plans of its own and has an equal share of these bytes, but at least 1 MiB,
     * or all where this is less: very many parts may take more together. */
    size_t max_plan_bytes;
    /* Most iterations of all loops of one run together (Loop, Scan); 0: any number. A
     * run that wants more fails. For models of unknown origin: one may never end. */
    int64_t max_iterations;
} weft_model_params;

#define WEFT_MODEL_PARAMS_INIT                                                         \
    {                                                                                  \
        .struct_size = sizeof(weft_model_params)                                       \
    }

/* Makes a graph ready on a device. Shapes that are all known are planned at once,
 * so that errors show here and the first run is as fast as the next.
 * Threads: any. Blocks: until ready.
 * Owns: the caller owns *model; the model owns the device and the graph too.
 * Errors: WEFT_INVALID_MODEL and WEFT_UNSUPPORTED name the node. */
WEFT_API WEFT_MUST_USE weft_status weft_model_create(weft_device *device,
                                                     weft_graph *graph,
                                                     const weft_model_params *params,
                                                     weft_model **model,
                                                     weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_model *weft_model_retain(weft_model *model);

/* Drops an owner; the last one frees. Requests own their model. NULL is allowed.
 * Threads: any. */
WEFT_API void weft_model_release(weft_model *model);

/* Lends the device of a model.
 * Threads: any. */
WEFT_API weft_device *weft_model_device(const weft_model *model);

/* Returns the number of inputs or outputs.
 * Threads: any. */
WEFT_API size_t weft_model_input_count(const weft_model *model);
WEFT_API size_t weft_model_output_count(const weft_model *model); /* Threads: any. */

/* Describes an input or output by index; false past the last. Strings live as long
 * as the model.
 * Threads: any. */
WEFT_API bool weft_model_get_input(const weft_model *model, size_t index,
                                   weft_value_info *info);
WEFT_API bool weft_model_get_output(const weft_model *model, size_t index,
                                    weft_value_info *info); /* Threads: any. */

/* Tells whether the value of an input decides a shape or takes the place of an
 * attribute: the target of a Reshape, the k of a TopK. Such an input has at most 256
 * elements, each value has a plan of its own, and its data is read before the plan is
 * chosen, also by calls that read no other data.
 * Threads: any. */
WEFT_API bool weft_model_input_is_value(const weft_model *model, size_t index);

/* Tells whether shapes inside of the model depend on what it computes (If, Loop, Scan,
 * NonZero, the k of a TopK that is computed). Then a run goes stage by stage, the
 * shapes of the outputs are known when it has ended, and a queue runs each request
 * alone. Threads: any. */
WEFT_API bool weft_model_has_stages(const weft_model *model);

/* Finds an input or output by name; -1 when there is none.
 * Threads: any. */
WEFT_API int32_t weft_model_find_input(const weft_model *model, const char *name);
WEFT_API int32_t weft_model_find_output(const weft_model *model,
                                        const char *name); /* Threads: any. */

/* Fills type, rank, dims and size_bytes of `io->outputs` for the shapes of
 * `io->inputs`, whose data is not read and may be NULL but for value inputs; builds the
 * plan. Where only a run can tell (weft_model_has_stages), the rank is -1 and
 * size_bytes 0: give the run outputs of rank -1. Threads: any. Blocks: until the plan
 * is built. */
WEFT_API WEFT_MUST_USE weft_status weft_model_infer_outputs(weft_model *model,
                                                            const weft_io *io,
                                                            weft_error *error);

/* Writes the plan for these input shapes as a readable table: steps, kernels, shapes,
 * workspace offsets, what was fused. Data is not read but for value inputs, outputs are
 * not looked at.
 * Threads: any. Owns: the caller frees *text with weft_text_free. */
WEFT_API WEFT_MUST_USE weft_status weft_model_dump_plan(weft_model *model,
                                                        const weft_io *io, char **text,
                                                        weft_error *error);

/* Frees a text that the library allocated. NULL is allowed.
 * Threads: any. */
WEFT_API void weft_text_free(char *text);

WEFT_END_DECLS

#endif
