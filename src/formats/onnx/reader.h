/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_FORMATS_ONNX_READER_H
#define WEFTI_FORMATS_ONNX_READER_H

#include <weft/graph.h>

#include "base/error.h"
#include "formats/onnx/external.h"
#include "onnx.pb-c.h"

/* One reading of a model into a graph. Class: confined. */
typedef struct wefti_onnx_reader {
    weft_graph *graph; /* that is being filled: the model's, or one inside of a node */
    int32_t opset;
    int32_t depth;                 /* of `graph`: 0 for the model's */
    const Onnx__ModelProto *model; /* its functions are sorted */
    wefti_onnx_files files;        /* external data */
    weft_error *error;
    bool forgiving; /* what is not supported becomes a problem of the graph */
} wefti_onnx_reader;

/* A tensor that was read, and how to let its data go (NULL: nothing to do). */
typedef struct wefti_onnx_tensor {
    weft_tensor view;
    void (*release)(void *user);
    void *user;
} wefti_onnx_tensor;

/* Names in messages are cut to this many bytes. */
#define WEFTI_ONNX_NAME "%.80s"

/* NULL-safe text of an optional field. */
const char *wefti_onnx_text(const char *text);

/* Maps ONNX's number of an element type to ours. WEFT_UNSUPPORTED names the type. */
weft_status wefti_onnx_type(int32_t number, weft_type *type, weft_error *error);

/* Reads a tensor; its data is taken over from `source`, mapped, or converted into a
 * new block, always aligned to the element size. The message names the tensor. */
weft_status wefti_onnx_read_tensor(wefti_onnx_reader *reader, Onnx__TensorProto *source,
                                   wefti_onnx_tensor *tensor);
void wefti_onnx_tensor_release(wefti_onnx_tensor *tensor);

/* Adds a graph input; one that an initializer has the name of has it as its default.
 * Initializers come first. */
weft_status wefti_onnx_add_input(wefti_onnx_reader *reader,
                                 const Onnx__ValueInfoProto *source);

/* Adds an output and what the file says of its shape. */
weft_status wefti_onnx_add_output(wefti_onnx_reader *reader,
                                  const Onnx__ValueInfoProto *source);

/* Reads a graph, with those inside of its nodes, into a new one: reader->graph, also
 * after a failure. The nesting is bounded by the check of the wire format. */
weft_status wefti_onnx_read_graph(wefti_onnx_reader *reader,
                                  const Onnx__GraphProto *source);

/* Adds a node; messages name it. */
weft_status wefti_onnx_add_node(wefti_onnx_reader *reader,
                                const Onnx__NodeProto *source);

/* Where the reader forgives: keeps WEFT_UNSUPPORTED as a problem of the graph, of its
 * node `node` or -1, and returns WEFT_OK. Returns other statuses as they are. */
weft_status wefti_onnx_forgive(wefti_onnx_reader *reader, weft_status status,
                               int32_t node);

/* What the graph calls a wrong argument is a wrong model here. */
weft_status wefti_onnx_blame_model(wefti_onnx_reader *reader, weft_status status);

#endif
