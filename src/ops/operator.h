/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_OPERATOR_H
#define WEFTI_OPS_OPERATOR_H

#include <weft/graph.h>

#include "ops/program.h"

/* An operator: its meaning, shapes, and the kernels it becomes. One table of them all
 * (operators.c); one file per family. */

typedef struct wefti_operator wefti_operator;

/* A node as operators see it. Immutable. */
typedef struct wefti_node_view {
    const char *op_type;
    const char *label; /* "MatMul 'encoder/layer.0/attn'" for messages */
    int32_t opset;
    const weft_attribute *attributes;
    size_t attribute_count;
    size_t input_count, output_count;
} wefti_node_view;

/* What is known of a tensor before the run: type, shape, and the data when it is
 * constant (dense). */
typedef struct wefti_known {
    weft_type type; /* WEFT_TYPE_NONE: an absent optional tensor */
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    const void *constant;
} wefti_known;

/* Attribute look-ups; the default when absent. wefti_operator_check has refused wrong
 * kinds of the operators of graphs; those that passes make are right by themselves. */
const weft_attribute *wefti_attribute_find(const wefti_node_view *node,
                                           const char *name);
int64_t wefti_attribute_int(const wefti_node_view *node, const char *name,
                            int64_t otherwise);
const int64_t *wefti_attribute_ints(const wefti_node_view *node, const char *name,
                                    size_t *count);
/* NULL and a count of 0 when absent. */
const float *wefti_attribute_floats(const wefti_node_view *node, const char *name,
                                    size_t *count);
const char *const *wefti_attribute_strings(const wefti_node_view *node,
                                           const char *name, size_t *count);
const weft_tensor *wefti_attribute_tensor(const wefti_node_view *node,
                                          const char *name);
float wefti_attribute_float(const wefti_node_view *node, const char *name,
                            float otherwise);
const char *wefti_attribute_string(const wefti_node_view *node, const char *name,
                                   const char *otherwise);

/* Computes output types and shapes; `constant` of an output is set where the data is
 * part of the node (Constant), else NULL. Values that decide a shape (Reshape's second
 * input) must be constant by then, else WEFT_UNSUPPORTED says which one is not.
 * Errors start with the node's label. Checks everything that lowering relies on. */
typedef weft_status (*wefti_infer)(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error);

/* What lowering reads and writes. */
typedef struct wefti_lowering {
    wefti_program *program;
    const wefti_node_view *node;
    const wefti_known *known_inputs, *known_outputs;
    const wefti_view *inputs; /* buffer -1: absent */
    /* An output is absent (buffer -1: nobody reads it), or given dense (a workspace or
     * output buffer that the node must fill), or the operator may set
     * it to a view of an input (Reshape, Transpose, Slice) when `may_alias[i]`. */
    wefti_view *outputs;
    const bool *may_alias;
    weft_error *error;
} wefti_lowering;

/* Adds the steps of a node. */
typedef weft_status (*wefti_lower)(wefti_lowering *lowering);

/* Computes outputs on the host from what is known of the inputs, into dense memory of
 * the inferred size. For operators whose result depends on shapes alone (Shape, Size),
 * so that it is known though the inputs' data is not. */
typedef weft_status (*wefti_fold)(const wefti_node_view *node,
                                  const wefti_known *inputs, const wefti_known *outputs,
                                  void *const *output_data, weft_error *error);

struct wefti_operator {
    const char *domain; /* "" for ONNX's own, "com.microsoft", or "weft": internal */
    const char *name;
    int32_t since, until; /* opsets with this meaning, inclusive */
    int32_t min_inputs, max_inputs;
    int32_t min_outputs, max_outputs;
    /* Names of the attributes of all its opsets, with a space between; NULL: any. */
    const char *attributes;
    wefti_infer infer;
    wefti_lower lower; /* NULL: only ever folded (Shape) */
    wefti_fold fold;   /* NULL: folded by lowering it when all inputs are constant */
};

/* The kind of all attributes of a name, 0 where their operators look themselves; false
 * when the name is not known. Threads: any. */
bool wefti_attribute_find_kind(const char *name, weft_attribute_kind *kind);

/* Refuses attributes of the wrong kind, and names that stand twice.
 * Errors: WEFT_INVALID_MODEL. */
weft_status wefti_attributes_check_kinds(const wefti_node_view *node,
                                         weft_error *error);

/* The checks that need no shapes: counts of inputs and outputs, names and kinds of
 * attributes. */
weft_status wefti_operator_check(const wefti_operator *op, const wefti_node_view *node,
                                 weft_error *error);

/* Runs the operator's infer and guards it: counts of inputs and outputs, names of
 * attributes, and shapes whose size overflows. Callers use this, not `infer` itself. */
weft_status wefti_operator_infer(const wefti_operator *op, const wefti_node_view *node,
                                 const wefti_known *inputs, wefti_known *outputs,
                                 weft_error *error);

/* Finds the operator for an opset. On failure the message tells an unknown operator
 * from an opset that is not supported. `domain` "weft" holds the fused operators that
 * passes make; a graph from a caller or a file must not name it. Threads: any. */
weft_status wefti_operator_find(const char *domain, const char *op_type, int32_t opset,
                                const wefti_operator **found, weft_error *error);

/* Lists the operators; NULL past the last. Threads: any. */
const wefti_operator *wefti_operator_at(size_t index);

/* Helpers for lowering. */

/* Copies `view` into a dense temporary unless it is dense already. */
weft_status wefti_lower_dense(wefti_lowering *lowering, wefti_view *view);
/* Adds a strided COPY of `source` to `target` (same dims; types may differ). */
weft_status wefti_lower_copy(wefti_lowering *lowering, const wefti_view *source,
                             const wefti_view *target);
/* Makes output `index` a view of `view`: an alias where allowed, else a copy. */
weft_status wefti_lower_alias(wefti_lowering *lowering, size_t index,
                              const wefti_view *view);
/* Adds one ELEMENTWISE step with broadcasting from `inputs` to output 0. */
weft_status wefti_lower_elementwise(wefti_lowering *lowering, const wefti_view *inputs,
                                    int32_t input_count,
                                    const wefti_instruction *instructions,
                                    int32_t instruction_count,
                                    const wefti_view *output);
/* Strides of `view` broadcast to `rank` dims (0 where it repeats). */
void wefti_broadcast_strides(const wefti_view *view, int32_t rank, const int64_t *dims,
                             int64_t *strides);
/* Numpy broadcasting of shapes; WEFT_INVALID_ARGUMENT when they do not fit. */
weft_status wefti_broadcast_shapes(const wefti_node_view *node,
                                   const wefti_known *inputs, size_t count,
                                   wefti_known *output, weft_error *error);

#endif
