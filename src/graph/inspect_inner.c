/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/inspect.h"

/* The operators in branches and bodies: how many there are of each kind, and which are
 * missing. */

/* Where a walk is: in a graph of a node of the inspected graph. */
typedef struct place {
    weft_inspection *self;
    int32_t node;
    size_t *missing; /* in graphs of the node so far */
    char path[120];  /* "body > then_branch" */
} place;

/* More kinds than ONNX has; a file that makes up more would make the search slow. */
enum { MOST_KINDS = 1000 };
/* Problems of one node that are listed, each with its place. A body may miss the same
 * operator a thousand times; nobody reads that, and listings compare their texts. */
enum { MOST_LISTED = 100 };

static weft_inspect_inner *find_kind(weft_inspection *self,
                                     const wefti_graph_node *node)
{
    for (size_t i = 0; i < self->inner_count; i++) {
        weft_inspect_inner *inner = &self->inner[i];
        if (strcmp(inner->op_type, node->op_type) == 0 &&
            strcmp(inner->domain, node->domain) == 0) {
            return inner;
        }
    }
    return NULL;
}

static weft_status count_kind(weft_inspection *self, const wefti_graph_node *node,
                              bool is_missing, weft_error *error)
{
    weft_inspect_inner *inner = find_kind(self, node);
    if (inner == NULL && self->inner_count == MOST_KINDS) {
        return WEFT_OK;
    }
    if (inner == NULL) {
        void *grown = wefti_grow(self->inner, self->inner_count, &self->inner_capacity,
                                 sizeof(*self->inner));
        if (grown == NULL) {
            return wefti_error_memory(error, "an inspection");
        }
        self->inner = grown;
        inner = &self->inner[self->inner_count++];
        *inner = (weft_inspect_inner){.op_type = node->op_type, .domain = node->domain};
    }
    inner->count++;
    inner->is_supported = !is_missing;
    return WEFT_OK;
}

static weft_status visit(const place *here, const weft_graph *graph,
                         const wefti_graph_node *node, weft_error *error)
{
    weft_error why;
    weft_status status = wefti_net_check_operator(graph, node, &why);
    WEFTI_TRY(count_kind(here->self, node, status != WEFT_OK, error));
    if (status == WEFT_OK || (*here->missing)++ >= MOST_LISTED) {
        return WEFT_OK;
    }
    char text[2 * sizeof(why.message)];
    wefti_error_text(text, sizeof(text), "%s (%.60s in %s)", why.message, node->label,
                     here->path);
    return wefti_inspect_add_inner_problem(here->self, here->node, status, text, error);
}

static weft_status walk_graphs(const place *around, const wefti_graph_node *node,
                               weft_error *error);

/* Nesting is bounded: WEFTI_MOST_NESTING. */
static weft_status walk(const place *here, const weft_graph *graph, weft_error *error)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        WEFTI_TRY(visit(here, graph, &graph->nodes[i], error));
        WEFTI_TRY(walk_graphs(here, &graph->nodes[i], error));
    }
    return WEFT_OK;
}

static weft_status walk_graphs(const place *around, const wefti_graph_node *node,
                               weft_error *error)
{
    for (size_t i = 0; i < node->attribute_count; i++) {
        const weft_attribute *attribute = &node->attributes[i];
        if (attribute->kind != WEFT_ATTRIBUTE_GRAPH) {
            continue;
        }
        place inside = *around;
        size_t length = strlen(inside.path);
        snprintf(inside.path + length, sizeof(inside.path) - length, "%s%.40s",
                 length > 0 ? " > " : "", attribute->name);
        WEFTI_TRY(walk(&inside, attribute->graph, error));
    }
    return WEFT_OK;
}

/* The problems of a node that are not listed, as one. */
static weft_status add_rest(const place *around, weft_error *error)
{
    if (*around->missing <= MOST_LISTED) {
        return WEFT_OK;
    }
    char text[80];
    wefti_error_text(text, sizeof(text), "%zu more in branches and bodies of this node",
                     *around->missing - MOST_LISTED);
    return wefti_inspect_add_inner_problem(around->self, around->node, WEFT_UNSUPPORTED,
                                           text, error);
}

weft_status wefti_inspect_inner(weft_inspection *self, weft_error *error)
{
    for (size_t i = 0; i < self->graph->node_count; i++) {
        size_t missing = 0;
        const place outside = {.self = self, .node = (int32_t)i, .missing = &missing};
        WEFTI_TRY(walk_graphs(&outside, &self->graph->nodes[i], error));
        WEFTI_TRY(add_rest(&outside, error));
    }
    return WEFT_OK;
}

const weft_inspect_inner *weft_inspection_inner(const weft_inspection *inspection,
                                                size_t index)
{
    return inspection != NULL && index < inspection->inner_count
               ? &inspection->inner[index]
               : NULL;
}
