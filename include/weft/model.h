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

/* How the sizes of a bucket are given. */
typedef enum weft_bucket_rule {
    WEFT_BUCKET_SIZES = 0,  /* as a list: `sizes` */
    WEFT_BUCKET_DOUBLE = 1, /* `first`, twice that ... up to `last`, which is one too */
    WEFT_BUCKET_STEP = 2,   /* `first`, `step` more ... up to `last`, likewise */
} weft_bucket_rule;

/* What the padding of an input holds. */
typedef struct weft_bucket_pad {
    const char *input;
    double value; /* one that the input's type can hold */
} weft_bucket_pad;

/* A dimension whose sizes are rounded up, so that one plan serves all sizes of a
 * bucket.
 *
 * The caller vouches that the model ignores what is added: because an input masks it
 * (`mask_input`), or by its nature (pointwise, causal). The library cannot know;
 * `weft run --bucket ... --check` compares with exact runs. Answers may differ from
 * those of exact plans by rounding, as sums over the dimension have other lengths; they
 * depend on the sizes alone, never on load or neighbours.
 *
 * Inputs that have the dimension are padded at its end, outputs that have it are cut.
 * The mask input holds ones for what is real and zeros for padding. Given, its own
 * values stand for what is real, and zeros are added. Without data the library makes
 * it; then its type and shape may be left out too (a tensor of all zeroes). Sizes
 * beyond the largest, and 0 and 1, are planned exactly. */
typedef struct weft_bucket_params {
    size_t struct_size;
    const char *dimension; /* its name in the model's inputs */
    weft_bucket_rule rule;
    const int64_t *sizes; /* ascending, from 1 on */
    size_t size_count;
    int64_t first, step, last;
    const char *mask_input; /* NULL: the caller vouches for the model without one */
    double pad_value;       /* in the inputs that `pads` does not name */
    const weft_bucket_pad *pads;
    size_t pad_count;
} weft_bucket_params;

#define WEFT_BUCKET_PARAMS_INIT                                                        \
    {                                                                                  \
        .struct_size = sizeof(weft_bucket_params)                                      \
    }

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
    /* Dimensions that are rounded up; all others are planned exactly. Read while the
     * model is made. Not for models with stages, nor for a dimension of a value input
     * or of numbers drawn at random, unless it is the outermost one of these.
     * WEFT_INVALID_ARGUMENT and WEFT_UNSUPPORTED name the dimension, input or output;
     * an output that depends on the dimension otherwise than by having it is found when
     * the model is made or, at the latest, by the first run. */
    const weft_bucket_params *buckets;
    size_t bucket_count;
    /* In what matrix products, convolutions and attention are computed. One that the
     * device does not have is WEFT_UNSUPPORTED. Where it is f32, and the operands of
     * all products are f16 in the graph, or all bf16, they are computed in that type on
     * devices that have it; those in the graphs of its nodes (If, Loop, Scan) stay f32.
     */
    weft_precision precision;
    /* Hard cap on the device memory that the model takes: its packed weights, on all
     * cards together, and the workspace of each run of it while that is under way, and
     * what a run has between stages there; 0: none but the device's. Not counted: what
     * contexts and queues keep to pad and join calls. What would go over it fails with
     * WEFT_OUT_OF_MEMORY: the run, or weft_model_create; others go on. */
    size_t memory_cap_bytes;
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

/* Tells whether an input is the mask of a dimension that is rounded up
 * (weft_bucket_params), so that calls may leave it out.
 * Threads: any. */
WEFT_API bool weft_model_input_is_mask(const weft_model *model, size_t index);

/* Returns the size that a run with this size of a named dimension is planned with: that
 * of its bucket, or the size itself.
 * Threads: any. */
WEFT_API int64_t weft_model_planned_size(const weft_model *model, const char *dimension,
                                         int64_t size);

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
 * `io->inputs`, whose data is not read and may be NULL but for value inputs, and makes
 * them dense and their place the host's memory: set data and place after this call.
 * Builds the plan. Where only a run can
 * tell (weft_model_has_stages), the rank is -1 and size_bytes 0: give the run outputs
 * of rank -1. Threads: any. Blocks: until the plan is built. */
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
