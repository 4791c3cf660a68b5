/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_GRAPH_H
#define WEFTI_GRAPH_GRAPH_H

#include <weft/graph.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/refcount.h"
#include "graph/arena.h"

/* The graph as its builder left it: values by number, nodes in any order. Models copy
 * it into a net (net.h), where the work is done; names, attributes and constant data
 * stay here. */

typedef struct wefti_graph_value {
    const char *name;
    int32_t input;       /* index, or -1 */
    int32_t initializer; /* index, or -1 */
    int32_t producer;    /* node, or -1 */
    int32_t standby;     /* index among the inputs that have a default, or -1 */
} wefti_graph_value;

/* Graphs inside of graphs inside of ... */
enum { WEFTI_MOST_NESTING = 16 };

typedef struct wefti_graph_node {
    const char *op_type;
    const char *domain; /* "" for ONNX's own */
    const char *label;  /* "MatMul 'name'" */
    /* Values, -1: absent. The last inputs are what the node's graphs read of the graph
     * around them, graph by graph in the order of the attributes. */
    const int32_t *inputs, *outputs;
    size_t input_count, output_count;
    const weft_attribute *attributes;
    size_t attribute_count;
} wefti_graph_node;

typedef struct wefti_graph_initializer {
    int32_t value;
    weft_tensor tensor; /* dense */
    void *owned;        /* freed with the graph; NULL: borrowed */
    void (*release)(void *user);
    void *user;
} wefti_graph_initializer;

typedef struct wefti_graph_input {
    int32_t value;
    weft_value_info info; /* strings in the arena */
} wefti_graph_input;

/* What the reader could not read, kept for weft_graph_inspect. */
typedef struct wefti_graph_problem {
    int32_t node; /* which stands in the graph without its attributes; -1: none */
    const char *text;
} wefti_graph_problem;

struct weft_graph {
    wefti_refcount owners;
    /* atomic: model create -> builder calls; set once, nothing changes after it */
    wefti_atomic_u32 frozen;

    /* one thread at a time until frozen, then immutable */
    int32_t opset;
    wefti_arena arena;
    wefti_graph_value *values;
    size_t value_count, value_capacity;
    wefti_graph_node *nodes;
    size_t node_count, node_capacity;
    wefti_graph_initializer *initializers;
    size_t initializer_count, initializer_capacity;
    wefti_graph_input *inputs;
    size_t input_count, input_capacity;
    /* Inputs that have a default: constants unless the caller requires them. */
    wefti_graph_input *standbys;
    size_t standby_count, standby_capacity;
    int32_t *outputs;
    size_t output_count, output_capacity;
    wefti_graph_problem *problems; /* any: no model can be made */
    size_t problem_count, problem_capacity;
    /* What a file says of outputs, before a run has told; NULL: nothing. */
    weft_value_info *output_infos;
    size_t info_capacity;
    /* Of a graph inside of a node: its last inputs are what it reads of the graph
     * around it. */
    size_t capture_count;
    int32_t nesting; /* of the graphs in its nodes: 0 without any */
    /* Made of a net whose 16-bit floats are widened already (halves.h). */
    bool widened;
    /* Names to values: open addressing, power-of-two size, -1 empty. */
    int32_t *name_slots;
    size_t name_slot_count;
};

/* Says that an initializer is a default value: the model lists it as an input too.
 * Errors: WEFT_INVALID_ARGUMENT when it is listed twice or has another type. */
weft_status wefti_graph_add_default_input(weft_graph *graph,
                                          const weft_value_info *info,
                                          weft_error *error);

/* Notes what is not supported; copies the text. */
weft_status wefti_graph_add_problem(weft_graph *graph, int32_t node, const char *text,
                                    weft_error *error);
/* Adds an input of any type and shape; copies the name. */
weft_status wefti_graph_add_open_input(weft_graph *graph, const char *name,
                                       weft_error *error);

/* Keeps what is known of the output that was added last; strings are not kept. */
weft_status wefti_graph_describe_output(weft_graph *graph, const weft_value_info *info,
                                        weft_error *error);

/* Finds a value by name; -1 when there is none. */
int32_t wefti_graph_find_value(const weft_graph *graph, const char *name);

#endif
