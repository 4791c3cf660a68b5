/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_RECIPE_H
#define WEFTI_BACKEND_CUDA_RECIPE_H

#include "backend/cuda/device.h"
#include "backend/cuda/launch.h"

/* Where an operand is when a graph is built: in the workspace, at an address on the
 * device, in the stream's pinned memory, or the stream's report. */
typedef enum wefti_cuda_place_kind {
    WEFTI_CUDA_ABSENT,
    WEFTI_CUDA_WORKSPACE, /* + offset */
    WEFTI_CUDA_ADDRESS,   /* the offset is it */
    WEFTI_CUDA_STAGING,   /* + offset */
    WEFTI_CUDA_REPORT,
} wefti_cuda_place_kind;
typedef struct wefti_cuda_place {
    wefti_cuda_place_kind kind;
    uintptr_t offset;
    size_t slot; /* of the run: 0, or an input or output */
} wefti_cuda_place;

/* One kernel launch: a call whose operands are still to be put in. */
typedef struct wefti_cuda_launch {
    wefti_cuda_kernel kernel;
    uint32_t blocks, threads;
    uint32_t step;
    uint32_t may_stay;    /* bits: operands for which the host's memory would do */
    uint32_t reads_again; /* bits: those of them that it reads there more than once */
    wefti_cuda_place places[WEFTI_MAX_OPERANDS];
    wefti_cuda_call call;
} wefti_cuda_launch;

/* An input or output: its distance from `staged_at` in the workspace, and its place in
 * the stream's pinned memory, unless it comes and goes by pieces. */
typedef struct wefti_cuda_tensor {
    size_t offset, bytes;
    size_t pinned;
    bool by_pieces;
    /* A large input, which the card's copy engine brings from the pinned memory. */
    bool by_engine;
    /* A large output: its place moves on from run to run (wefti_recipe.ring_bytes). */
    bool in_ring;
    /* The kernels use it where it is in the pinned memory: no copy on the card. */
    bool stays;
    /* Of a kernel that is the only one: if it is launched by itself. A graph brings the
     * tensor first. */
    bool stays_alone;
    /* A 16-bit type: it is widened to f32, or as an output rounded from it, on its way,
     * to or from this place in the workspace; no step does it. Else NONE. */
    weft_type half;
    size_t wide_at;
    bool only_wide; /* nobody uses it as it is */
} wefti_cuda_tensor;

/* The workspace holds what the steps use, then the scratch of this backend, then the
 * inputs and outputs on the device. */
struct wefti_recipe {
    /* immutable after create */
    wefti_backend_device *device;
    uint64_t serial; /* never used twice */
    wefti_cuda_launch *launches;
    size_t launch_count;
    char (*notes)[64]; /* per step */
    size_t step_count;
    size_t first_step, end_step; /* between those that inputs and outputs do */
    const char **labels;         /* per step, borrowed */
    wefti_cuda_tensor *tensors;  /* inputs, then outputs */
    size_t input_count, output_count;
    size_t staged_bytes, staged_at;
    size_t pinned_bytes;
    /* Of the outputs in the ring together, and how many places there are for them, one
     * behind the other from where they lie. A place is written by the card when the
     * thread has read so many others since that its lines have left the core's caches:
     * the bus is slowed down by each line that a core must give up. */
    size_t ring_bytes, ring_places;
    size_t workspace_bytes;
    weft_precision precision;
    wefti_weights *weights;  /* while it is made; NULL: nothing is shared */
    bool reports;            /* a step may report bad data */
    bool brings_in_graph;    /* an input `stays_alone` */
    bool crosses;            /* a run waits for the bus and for little else */
    weft_profiler *profiler; /* borrowed; NULL: runs are not recorded */
    void **owned;            /* device memory that goes with the recipe */
    size_t owned_count, owned_capacity;
};

weft_status wefti_cuda_recipe_create(wefti_backend_device *device,
                                     const wefti_recipe_params *params,
                                     wefti_recipe **recipe, weft_error *error);
void wefti_cuda_recipe_destroy(wefti_recipe *recipe);
/* Whether inputs are widened or outputs rounded on their way. */
bool wefti_cuda_recipe_converts(const wefti_recipe *recipe);
size_t wefti_cuda_recipe_workspace_bytes(const wefti_recipe *recipe);
void wefti_cuda_recipe_describe(const wefti_recipe *recipe, size_t step, char *text,
                                size_t text_bytes);

#endif
