/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_GRAPH_H
#define WEFT_GRAPH_H

#include <stdbool.h>

#include <weft/tensor.h>

WEFT_BEGIN_DECLS

/* Operators and tensors with ONNX meaning, from a file or built by calls.
 * Class: confined while built (one thread at a time); immutable once the first
 * model was created from it. */
typedef struct weft_graph weft_graph;

/* A dimension whose size is chosen by each run. */
enum { WEFT_DIM_DYNAMIC = -1 };

/* An input or output of a graph or model. */
typedef struct weft_value_info {
    const char *name;
    weft_type type;
    int32_t rank;                /* -1: unknown until run */
    int64_t dims[WEFT_MAX_RANK]; /* WEFT_DIM_DYNAMIC where it may vary */
    /* Name of each dynamic dimension; equal names mean equal sizes. NULL: any. */
    const char *dim_names[WEFT_MAX_RANK];
} weft_value_info;

typedef enum weft_attribute_kind {
    WEFT_ATTRIBUTE_INT = 1,
    WEFT_ATTRIBUTE_FLOAT = 2,
    WEFT_ATTRIBUTE_STRING = 3,
    WEFT_ATTRIBUTE_TENSOR = 4,
    WEFT_ATTRIBUTE_INTS = 5,
    WEFT_ATTRIBUTE_FLOATS = 6,
    WEFT_ATTRIBUTE_GRAPH = 7,
    WEFT_ATTRIBUTE_STRINGS = 8,
} weft_attribute_kind;

/* An attribute of a node, as in ONNX. Only the fields of its kind are read. */
typedef struct weft_attribute {
    const char *name;
    weft_attribute_kind kind;
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    const float *floats;
    size_t count; /* of ints, floats or strings */
    const weft_tensor *tensor;
    /* A branch or a body (If, Loop, Scan), complete: it cannot change once it is a part
     * of a node, which owns it too. A name that it reads and that nothing in it gives
     * is one of the graph around it. */
    weft_graph *graph;
    const char *const *strings;
} weft_attribute;

/* An operator with the names of the values it reads and writes. An absent optional
 * input or output is NULL or "". */
typedef struct weft_node {
    const char *op_type; /* "MatMul" */
    const char *domain;  /* NULL or "": ONNX's own */
    const char *name;    /* for messages; may be NULL */
    const char *const *inputs;
    size_t input_count;
    const char *const *outputs;
    size_t output_count;
    const weft_attribute *attributes;
    size_t attribute_count;
} weft_node;

typedef struct weft_graph_load_params {
    size_t struct_size;
    /* Folder that external weights must stay inside; NULL: the model file's own. */
    const char *data_directory;
    /* Keeps what is not supported as a problem of the graph instead of failing, so that
     * weft_graph_inspect lists all of it; weft_model_create refuses such a graph. */
    bool keep_unsupported;
} weft_graph_load_params;

#define WEFT_GRAPH_LOAD_PARAMS_INIT                                                    \
    {                                                                                  \
        .struct_size = sizeof(weft_graph_load_params)                                  \
    }

/* The opsets of ONNX that a graph may follow, inclusive. */
enum { WEFT_OPSET_FIRST = 7, WEFT_OPSET_LAST = 28 };

/* Creates an empty graph that follows the given ONNX opset, WEFT_OPSET_FIRST to
 * WEFT_OPSET_LAST.
 * Threads: any. Owns: the caller owns *graph.
 * Errors: WEFT_UNSUPPORTED for another opset. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_create(int32_t opset, weft_graph **graph,
                                                     weft_error *error);

/* Reads a graph from an ONNX file. Weights in external files are mapped, not
 * copied; the files must not change while the graph or a model of it lives.
 * Threads: any. Owns: the caller owns *graph.
 * Errors: WEFT_NOT_FOUND, WEFT_IO_ERROR, WEFT_INVALID_MODEL, WEFT_UNSUPPORTED; the
 * message names the file and the node or tensor. */
WEFT_API WEFT_MUST_USE weft_status
weft_graph_load_onnx(const char *path, const weft_graph_load_params *params,
                     weft_graph **graph, weft_error *error);

/* Reads a graph from an ONNX file's bytes; see weft_graph_load_onnx. External
 * weights need `params->data_directory`.
 * Threads: any. Owns: the bytes are only read during the call. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_parse_onnx(
    const void *bytes, size_t size, const weft_graph_load_params *params,
    weft_graph **graph, weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_graph *weft_graph_retain(weft_graph *graph);

/* Drops an owner; the last one frees. NULL is allowed.
 * Threads: any. */
WEFT_API void weft_graph_release(weft_graph *graph);

/* Adds an input. Inputs keep the order in which they were added.
 * Threads: owner. Owns: strings are copied.
 * Errors: WEFT_INVALID_ARGUMENT, also for a name that is taken. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_add_input(weft_graph *graph,
                                                        const weft_value_info *info,
                                                        weft_error *error);

/* Adds a constant tensor and copies its data.
 * Threads: owner. Shape: dense; any type. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_add_initializer(weft_graph *graph,
                                                              const char *name,
                                                              const weft_tensor *tensor,
                                                              weft_error *error);

/* Adds a constant tensor without a copy: `release(user)` is called once when the
 * graph no longer needs the data (also when this call fails). `release` may be NULL.
 * Threads: owner; `release` may be called from any thread. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_add_initializer_borrowed(
    weft_graph *graph, const char *name, const weft_tensor *tensor,
    void (*release)(void *user), void *user, weft_error *error);

/* Replaces the data of an initializer by a copy of `tensor` (same type and shape).
 * Threads: owner.
 * Errors: WEFT_NOT_FOUND; WEFT_INVALID_ARGUMENT when type or shape differ. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_replace_initializer(
    weft_graph *graph, const char *name, const weft_tensor *tensor, weft_error *error);

/* Returns the number of inputs; those with a default value are not counted.
 * Threads: any once built. */
WEFT_API size_t weft_graph_input_count(const weft_graph *graph);

/* Describes an input by index; false past the last. Strings live as long as the graph.
 * Threads: any once built. */
WEFT_API bool weft_graph_get_input(const weft_graph *graph, size_t index,
                                   weft_value_info *info);

/* Returns the number of inputs that have a default value: the file lists them both as
 * inputs and as initializers. Models hold these values as constants, and runs do not
 * give them, unless weft_graph_require_input says otherwise.
 * Threads: any once built. */
WEFT_API size_t weft_graph_default_input_count(const weft_graph *graph);

/* Describes an input that has a default value and lends the value; false past the
 * last.
 * Threads: any once built. */
WEFT_API bool weft_graph_get_default_input(const weft_graph *graph, size_t index,
                                           weft_value_info *info, weft_tensor *value);

/* Takes the default value from an input: models of the graph have it as their last
 * input, and every run gives it. (To change the value for good, see
 * weft_graph_replace_initializer.)
 * Threads: owner.
 * Errors: WEFT_NOT_FOUND when there is no input of this name with a default. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_require_input(weft_graph *graph,
                                                            const char *name,
                                                            weft_error *error);

/* Adds an operator. Its inputs may be added later; order does not matter.
 * Threads: owner. Owns: everything is copied. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_add_node(weft_graph *graph,
                                                       const weft_node *node,
                                                       weft_error *error);

/* Declares a value as an output. Outputs keep the order in which they were added.
 * Threads: owner. */
WEFT_API WEFT_MUST_USE weft_status weft_graph_add_output(weft_graph *graph,
                                                         const char *name,
                                                         weft_error *error);

/* Returns the number of initializers.
 * Threads: any once built. */
WEFT_API size_t weft_graph_initializer_count(const weft_graph *graph);

/* Lends an initializer's name and data by index; false past the last.
 * Threads: any once built. */
WEFT_API bool weft_graph_get_initializer(const weft_graph *graph, size_t index,
                                         const char **name, weft_tensor *tensor);

WEFT_END_DECLS

#endif
