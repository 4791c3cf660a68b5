/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_INSPECT_H
#define WEFT_INSPECT_H

#include <weft/model.h>

WEFT_BEGIN_DECLS

/* What a graph is made of, what running it takes at given sizes, and all of it that is
 * not supported: for people and tools. A graph that was loaded with `keep_unsupported`
 * may be inspected too.
 * Class: immutable. Names, arrays and texts that it lends live as long as it. */
typedef struct weft_inspection weft_inspection;

typedef struct weft_inspect_params {
    size_t struct_size;
    /* A model of the same graph: its plan for these sizes is described too, and whether
     * its rows may be joined. One with stages (weft_model_has_stages) has no plan of
     * its own: nothing is said of it. NULL: only the graph. */
    weft_model *model;
    /* Shapes of the graph's inputs, in their order. Data is read of the model's value
     * inputs alone (weft_model_input_is_value); where theirs is NULL, no plan is
     * described. NULL: no sizes are known, and nothing that follows from them. */
    const weft_tensor *inputs;
    size_t input_count;
} weft_inspect_params;

#define WEFT_INSPECT_PARAMS_INIT                                                       \
    {                                                                                  \
        .struct_size = sizeof(weft_inspect_params)                                     \
    }

/* What becomes of an operator. */
typedef enum weft_fate {
    WEFT_FATE_UNKNOWN = 0,     /* no plan was described */
    WEFT_FATE_KERNEL = 1,      /* kernels of its own */
    WEFT_FATE_FUSED = 2,       /* done by the kernels of another, `fused_into` */
    WEFT_FATE_VIEW = 3,        /* no work: another look at the same data */
    WEFT_FATE_CONSTANT = 4,    /* computed once, before the first run */
    WEFT_FATE_UNUSED = 5,      /* no output needs it */
    WEFT_FATE_UNSUPPORTED = 6, /* see the problems */
} weft_fate;

/* A tensor of the graph. */
typedef struct weft_inspect_value {
    const char *name;
    weft_type type; /* WEFT_TYPE_NONE: not known */
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK]; /* at the given sizes */
    size_t size_bytes;
    int32_t producer; /* operator, or -1: an input or an initializer */
    bool is_initializer, is_input, is_output;
    bool is_constant; /* known before the first run */
} weft_inspect_value;

/* An operator of the graph. */
typedef struct weft_inspect_node {
    const char *op_type, *domain, *name;
    const int32_t *inputs, *outputs; /* values, -1: absent */
    size_t input_count, output_count;
    weft_fate fate;
    int32_t fused_into; /* the operator whose kernels do its work, or -1 */
    /* Run alone at the given sizes; a multiply-add counts as two. */
    double flops;
    double moved_bytes; /* tensors read and written once, constants included */
    bool is_measured;   /* false: its sizes are not known before the run */
} weft_inspect_node;

/* A kernel call of the plan. */
typedef struct weft_inspect_step {
    const char *kernel, *shape, *how;
    int32_t node; /* operator, or -1 */
    double flops;
    double moved_bytes;
} weft_inspect_step;

/* The operators of a kind in the graphs of others, which are branches of If and bodies
 * of Loop and Scan, at any depth; at most 1000 kinds. */
typedef struct weft_inspect_inner {
    const char *op_type, *domain;
    size_t count;
    bool is_supported;
} weft_inspect_inner;

/* What keeps the graph from running; `node` is -1 for what concerns no single operator.
 * What is missing in a branch or a body is a problem of the operator that it belongs
 * to, and the text says where. Of one such operator a hundred are listed, the rest are
 * one more problem that tells their number. */
typedef struct weft_inspect_problem {
    int32_t node;
    weft_status status; /* WEFT_UNSUPPORTED; other: the graph or the sizes are wrong */
    const char *text;
} weft_inspect_problem;

typedef struct weft_inspect_totals {
    int32_t opset;
    size_t node_count, value_count, step_count, problem_count;
    /* Of initializers: elements and bytes, by the file. */
    uint64_t parameter_count, weight_bytes;
    double flops; /* of all operators that were measured */
    /* Of the plan; 0 without one. */
    size_t packed_bytes; /* weights in the kernels' own layout, of the model so far */
    size_t workspace_bytes; /* what one running request holds, scratch included */
    size_t tensor_bytes;    /* of it, for tensors between operators */
    size_t unshared_bytes;  /* the same if none took the place of another */
} weft_inspect_totals;

/* Whether a queue may join requests of the model at these sizes. */
typedef struct weft_inspect_rows {
    bool is_known; /* false without a plan */
    bool joins;
    const char *dimension; /* along which; NULL: none or without a name */
    const char *reason;    /* why not, naming the operator; "" when they join */
} weft_inspect_rows;

/* Looks at a graph, and at a model of it. Problems of the graph are no failure: they
 * are listed.
 * Threads: any once the graph is built. Blocks: about as long as planning does.
 * Owns: the caller owns *inspection; it owns the graph and the model too.
 * Errors: WEFT_INVALID_ARGUMENT for inputs that are not as many as the graph's, and a
 * model of another graph; WEFT_OUT_OF_MEMORY. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_inspect(weft_graph *graph,
                                                      const weft_inspect_params *params,
                                                      weft_inspection **inspection,
                                                      weft_error *error);

/* Frees it. NULL is allowed.
 * Threads: owner. */
WEFT_API void weft_inspection_destroy(weft_inspection *inspection);

/* Reads the counts and sums.
 * Threads: any. */
WEFT_API void weft_inspection_get_totals(const weft_inspection *inspection,
                                         weft_inspect_totals *totals);

/* Tells about joining rows.
 * Threads: any. */
WEFT_API void weft_inspection_get_rows(const weft_inspection *inspection,
                                       weft_inspect_rows *rows);

/* Lend one part by index, operators in the order of the file, steps in the order of
 * execution; NULL past the last.
 * Threads: any. */
WEFT_API const weft_inspect_node *
weft_inspection_node(const weft_inspection *inspection, size_t index);
WEFT_API const weft_inspect_value *
weft_inspection_value(const weft_inspection *inspection,
                      size_t index); /* Threads: any. */
WEFT_API const weft_inspect_step *
weft_inspection_step(const weft_inspection *inspection,
                     size_t index); /* Threads: any. */
WEFT_API const weft_inspect_inner *
weft_inspection_inner(const weft_inspection *inspection,
                      size_t index); /* Threads: any. */
WEFT_API const weft_inspect_problem *
weft_inspection_problem(const weft_inspection *inspection,
                        size_t index); /* Threads: any. */

WEFT_END_DECLS

#endif
