/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_INSPECT_H
#define WEFTI_GRAPH_INSPECT_H

#include <weft/inspect.h>

#include "graph/model.h"

/* An inspection in the making; immutable once weft_graph_inspect has returned. */
struct weft_inspection {
    weft_graph *graph; /* owned */
    weft_model *model; /* owned, may be NULL */
    wefti_arena arena;
    weft_inspect_node *nodes; /* in the order of the graph's */
    weft_inspect_value *values;
    weft_inspect_step *steps;
    weft_inspect_problem *problems;
    size_t problem_capacity;
    weft_inspect_inner *inner;
    size_t inner_count, inner_capacity;
    weft_inspect_totals totals;
    weft_inspect_rows rows;

    /* while it is made */
    wefti_net net;               /* as the graph has it, at the given sizes */
    const wefti_net_node **made; /* the net's node of each graph node, or NULL */
    /* Labels of the graph's nodes, by address: nets share them. */
    struct wefti_inspect_label *labels;
    const weft_tensor *inputs; /* borrowed from the caller; NULL: none */
    weft_status status;        /* of a listener that failed */
};

/* The graph's node with this label, or -1. */
int32_t wefti_inspect_find(const weft_inspection *self, const char *label);

/* Adds a problem, once for each node. */
weft_status wefti_inspect_add_problem(weft_inspection *self, int32_t node,
                                      weft_status status, const char *text,
                                      weft_error *error);

/* Adds a problem of an operator in a graph of the node; a node may have any number. */
weft_status wefti_inspect_add_inner_problem(weft_inspection *self, int32_t node,
                                            weft_status status, const char *text,
                                            weft_error *error);

/* The operators in branches and bodies, and which of them are missing. */
weft_status wefti_inspect_inner(weft_inspection *self, weft_error *error);

/* Costs of the net's nodes, each alone. */
weft_status wefti_inspect_measure(weft_inspection *self, weft_error *error);

/* The model's plan: steps, what was fused into what, memory. */
weft_status wefti_inspect_plan(weft_inspection *self, weft_error *error);

#endif
