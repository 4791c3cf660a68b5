/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_NET_H
#define WEFTI_GRAPH_NET_H

#include "backend/backend.h"
#include "graph/graph.h"
#include "ops/operator.h"

/* The working form of a graph: nodes in topological order, with what is known of each
 * value. A model keeps one with its constants folded; each plan works on a copy where
 * all shapes are known. Class: confined while passes change it, then immutable. Names,
 * labels and attributes are borrowed from the graph; constants from the graph, from
 * the net that this one was cloned from, or from its own arena. */

typedef struct wefti_net_value {
    const char *name;
    wefti_known known;               /* type NONE: nothing known yet */
    struct wefti_net_node *producer; /* NULL: an input or a constant */
    int32_t input;                   /* index of the graph's input, or -1 */
    int32_t use_count; /* reads by live nodes, plus one if it is an output */
    bool is_output;
    bool of_model; /* a constant that was there when the net was cloned for a plan */
} wefti_net_value;

typedef struct wefti_net_node {
    const wefti_operator *op;
    wefti_node_view view;
    int32_t *inputs, *outputs; /* values, -1: absent; counts are in the view */
    bool dead;
    struct wefti_net_node *previous, *next;
} wefti_net_node;

typedef struct wefti_net {
    wefti_arena arena;
    wefti_net_value *values;
    size_t value_count, value_capacity;
    wefti_net_node *first, *last; /* in topological order */
    int32_t *inputs, *outputs;    /* values */
    size_t input_count, output_count;
    size_t fold_budget_bytes; /* how much more may be folded */
} wefti_net;

/* Runs single nodes on constants, on the CPU. */
typedef struct wefti_evaluator {
    const wefti_backend *backend;
    wefti_backend_device *device; /* borrowed */
    wefti_backend_stream *stream;
} wefti_evaluator;

weft_status wefti_evaluator_init(wefti_evaluator *evaluator,
                                 wefti_backend_device *cpu_device, weft_error *error);
void wefti_evaluator_fini(wefti_evaluator *evaluator);

/* A node's constant inputs, and where its outputs go: dense, of the sizes in
 * `outputs`. */
typedef struct wefti_evaluation {
    const wefti_known *inputs, *outputs;
    void *const *data;
} wefti_evaluation;

/* Computes the outputs of a node whose inputs are all constant. */
weft_status wefti_evaluate(const wefti_evaluator *evaluator, const wefti_operator *op,
                           const wefti_node_view *view, const wefti_evaluation *what,
                           weft_error *error);

/* Copies a graph's structure in topological order. Errors: WEFT_INVALID_MODEL for a
 * value that nothing produces or a cycle; WEFT_UNSUPPORTED lists every operator that
 * is missing. On failure the net is empty. */
weft_status wefti_net_create(const weft_graph *graph, wefti_net *net,
                             weft_error *error);
/* The same for a graph with problems: operators that are missing become
 * wefti_operator_missing, values that nothing produces stay unknown. */
weft_status wefti_net_create_forgiving(const weft_graph *graph, wefti_net *net,
                                       weft_error *error);
extern const wefti_operator wefti_operator_missing;
weft_status wefti_net_clone(const wefti_net *source, wefti_net *net, weft_error *error);
void wefti_net_destroy(wefti_net *net);

/* Whether models may have this node's operator. Errors: WEFT_UNSUPPORTED when it is
 * missing, or of the domain of the fused ones. What is inside of the node is left. */
weft_status wefti_net_check_operator(const weft_graph *graph,
                                     const wefti_graph_node *node, weft_error *error);

/* Computes the outputs of nodes that read only constants. */
weft_status wefti_net_fold(wefti_net *net, const wefti_evaluator *evaluator,
                           weft_error *error);

/* Computes all types and shapes from the known inputs and folds what is constant. */
weft_status wefti_net_infer(wefti_net *net, const wefti_evaluator *evaluator,
                            weft_error *error);

/* What wefti_net_infer_forgiving says of a node that fails; its outputs stay unknown,
 * and what needs them is passed over. */
typedef void wefti_net_listener(void *user, const wefti_net_node *node,
                                const weft_error *why);
weft_status wefti_net_infer_forgiving(wefti_net *net, const wefti_evaluator *evaluator,
                                      wefti_net_listener *listener, void *user,
                                      weft_error *error);

/* Adds the steps of one node to a program in which nothing else stands.
 * Errors: WEFT_UNSUPPORTED where its inputs or outputs are not known. */
weft_status wefti_net_lower_alone(const wefti_net *net, const wefti_net_node *node,
                                  wefti_program *program, weft_error *error);

/* Marks nodes that no output needs as dead, and counts uses. */
void wefti_net_sweep(wefti_net *net);

/* Takes dead nodes out of the list. */
void wefti_net_unlink_dead(wefti_net *net);

/* What a new node is made of. */
typedef struct wefti_net_new {
    const char *op_type; /* of domain "weft" or ONNX's own */
    const char *domain;
    const char *label;
    const weft_attribute *attributes; /* copied, with what they point to left alone */
    size_t attribute_count;
    const int32_t *inputs, *outputs;
    size_t input_count, output_count;
} wefti_net_new;

/* Adds a node before `before` (NULL: at the end) and makes it the producer of its
 * outputs. */
weft_status wefti_net_insert(wefti_net *net, wefti_net_node *before,
                             const wefti_net_new *what, weft_error *error);

/* Adds a value of a known type and shape and returns its number. */
weft_status wefti_net_add_value(wefti_net *net, const wefti_known *known,
                                const char *name, int32_t *value, weft_error *error);

/* For passes: the live node that produces a value, or NULL (input, constant). */
wefti_net_node *wefti_net_producer(const wefti_net *net, int32_t value);
/* True when the node is ONNX's operator of this name. */
bool wefti_net_is(const wefti_net_node *node, const char *op_type);
/* Size of a known tensor's data in bytes. */
size_t wefti_known_bytes(const wefti_known *known);
int64_t wefti_known_count(const wefti_known *known);

#endif
