/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_PROGRAM_H
#define WEFTI_OPS_PROGRAM_H

#include "backend/step.h"
#include "base/error.h"

/* A list of kernel calls over virtual buffers: what operators are lowered to. Later
 * the planner gives each workspace buffer its place. Class: confined. */

typedef enum wefti_buffer_kind {
    WEFTI_BUFFER_INPUT,     /* the run's input `index` */
    WEFTI_BUFFER_OUTPUT,    /* the run's output `index` */
    WEFTI_BUFFER_WORKSPACE, /* placed by the planner */
    WEFTI_BUFFER_CONSTANT,  /* `constant` */
} wefti_buffer_kind;

typedef struct wefti_buffer {
    wefti_buffer_kind kind;
    int32_t index;
    size_t size_bytes;
    const void *constant;
    bool owned;     /* the program frees `constant` */
    bool temporary; /* the constant goes with the plan (also when owned) */
    /* Filled by the planner for workspace buffers: */
    int64_t offset_bytes;
    int32_t first_step, last_step; /* -1: never used */
    /* The planner's own while it works: */
    int32_t order;
    struct wefti_buffer *next;
} wefti_buffer;

/* How a tensor lies in a buffer. `buffer` is -1 for an absent optional tensor. */
typedef struct wefti_view {
    int32_t buffer;
    int64_t offset_bytes;
    weft_type type;
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int64_t strides[WEFT_MAX_RANK]; /* elements; 0 repeats */
} wefti_view;

typedef struct wefti_program_step {
    wefti_kernel kernel;
    void *params; /* owned */
    size_t params_bytes;
    wefti_view operands[WEFTI_MAX_OPERANDS]; /* dims: for the dump; offset: used */
    const char *label;                       /* borrowed from the graph */
} wefti_program_step;

typedef struct wefti_program {
    wefti_buffer *buffers;
    size_t buffer_count, buffer_capacity;
    wefti_program_step *steps;
    size_t step_count, step_capacity;
    bool byte_products; /* of the backend: WEFTI_KERNEL_MATMUL_BYTES may be used */
    size_t made_bytes;  /* of constants that lowering made; see wefti_lower_constant */
} wefti_program;

void wefti_program_init(wefti_program *program);
void wefti_program_fini(wefti_program *program);

/* Adds a buffer and returns its number in *buffer. */
weft_status wefti_program_add_buffer(wefti_program *program, const wefti_buffer *buffer,
                                     int32_t *index, weft_error *error);

/* Adds a workspace buffer for a dense tensor and makes `view` (type, rank and dims
 * set) its dense view. */
weft_status wefti_program_add_temporary(wefti_program *program, wefti_view *view,
                                        weft_error *error);

/* Adds a constant buffer with a copy of `data`, owned by the program. */
weft_status wefti_program_add_owned_constant(wefti_program *program, const void *data,
                                             size_t size_bytes, int32_t *index,
                                             weft_error *error);

/* Adds a step; copies `params`. Operands not used have buffer -1
 * (wefti_view_absent). */
weft_status wefti_program_add_step(wefti_program *program,
                                   const wefti_program_step *step, weft_error *error);

/* A view of nothing. */
wefti_view wefti_view_absent(void);
bool wefti_view_present(const wefti_view *view);
/* Sets dense row-major strides from the dims. */
void wefti_view_make_dense(wefti_view *view);
bool wefti_view_is_dense(const wefti_view *view);
int64_t wefti_view_element_count(const wefti_view *view);
/* Makes the view repeat over larger dims that it broadcasts to: strides of 0. */
void wefti_view_broadcast(wefti_view *view, int32_t rank, const int64_t *dims);
/* Merges neighbouring dims that every one of `operand_count` sets of strides walks as
 * one, and drops dims of 1. Works in place and returns the new rank, at least 1. */
int32_t wefti_collapse_dims(int32_t rank, int64_t *dims, int64_t *const *strides,
                            int32_t operand_count);
/* The data of a view of a constant buffer, else NULL. */
const void *wefti_view_constant(const wefti_program *program, const wefti_view *view);
/* Reshapes without moving data; false when the strides do not allow it (the caller
 * then copies). `dims` has the same number of elements. */
bool wefti_view_reshape(wefti_view *view, int32_t rank, const int64_t *dims);

#endif
