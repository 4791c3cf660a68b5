/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "formats/onnx/reader.h"

/* The attributes of one node in our form, and what must be freed after the graph has
 * copied them. */
typedef struct node_attributes {
    weft_attribute *list;
    wefti_onnx_tensor *tensors; /* one for each, used by tensor attributes */
    char **texts;               /* one for each, used by text attributes */
    char ***lists;              /* likewise, by lists of texts; end with NULL */
    weft_graph **graphs;        /* likewise */
    size_t count;
} node_attributes;

static void free_attributes(node_attributes *attributes)
{
    for (size_t i = 0; i < attributes->count; i++) {
        wefti_onnx_tensor_release(&attributes->tensors[i]);
        wefti_free(attributes->texts[i]);
        weft_graph_release(attributes->graphs[i]);
        for (size_t j = 0; attributes->lists[i] && attributes->lists[i][j]; j++) {
            wefti_free(attributes->lists[i][j]);
        }
        wefti_free(attributes->lists[i]);
    }
    wefti_free(attributes->lists);
    wefti_free(attributes->graphs);
    wefti_free(attributes->list);
    wefti_free(attributes->tensors);
    wefti_free(attributes->texts);
}

static bool make_room(node_attributes *attributes, size_t count)
{
    attributes->list = wefti_calloc(count, sizeof *attributes->list);
    attributes->tensors = wefti_calloc(count, sizeof *attributes->tensors);
    attributes->texts = wefti_calloc(count, sizeof *attributes->texts);
    attributes->graphs = wefti_calloc(count, sizeof(weft_graph *));
    attributes->lists = wefti_calloc(count, sizeof(char **));
    if (!attributes->list || !attributes->tensors || !attributes->texts ||
        !attributes->graphs || !attributes->lists) {
        return false;
    }
    attributes->count = count;
    return true;
}

/* Kinds of attributes that have no meaning here, by ONNX's number. */
static const char *unsupported_kind(const Onnx__AttributeProto *source)
{
    switch (source->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS:
        return "holds a list of graphs, which is not supported";
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSORS:
        return "holds a sparse tensor, which is not supported";
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTOS:
        return "holds a type, which is not supported";
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSORS:
        return "holds a list of tensors, which is not supported";
    default:
        return NULL;
    }
}

static weft_status read_text(wefti_onnx_reader *reader,
                             const ProtobufCBinaryData *source, char **text)
{
    if (source->len > 0 && memchr(source->data, 0, source->len)) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "its text holds a zero byte");
    }
    *text =
        wefti_strndup(source->len > 0 ? (const char *)source->data : "", source->len);
    return *text ? WEFT_OK : wefti_error_memory(reader->error, "a text");
}

static weft_status read_texts(wefti_onnx_reader *reader,
                              const Onnx__AttributeProto *source, char ***list)
{
    *list = wefti_calloc(source->n_strings + 1, sizeof(char *));
    if (!*list) {
        return wefti_error_memory(reader->error, "a list of texts");
    }
    for (size_t i = 0; i < source->n_strings; i++) {
        WEFTI_TRY(read_text(reader, &source->strings[i], &(*list)[i]));
    }
    return WEFT_OK;
}

static weft_status read_tensor(wefti_onnx_reader *reader, Onnx__TensorProto *source,
                               wefti_onnx_tensor *tensor)
{
    if (!source) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL, "it has no tensor");
    }
    return wefti_onnx_read_tensor(reader, source, tensor);
}

/* Reads a graph inside of a node; the reader's own goes on afterwards. */
static weft_status read_graph(wefti_onnx_reader *reader, const Onnx__GraphProto *source,
                              weft_graph **graph)
{
    if (!source) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL, "it has no graph");
    }
    weft_graph *outer = reader->graph;
    bool forgiving = reader->forgiving;
    reader->forgiving = false; /* the node around it is the problem then */
    reader->depth++;
    weft_status status = wefti_onnx_read_graph(reader, source);
    reader->depth--;
    reader->forgiving = forgiving;
    *graph = reader->graph;
    reader->graph = outer;
    return status;
}

static weft_status read_attribute(wefti_onnx_reader *reader,
                                  const Onnx__AttributeProto *source,
                                  node_attributes *attributes, size_t index)
{
    weft_attribute *attribute = &attributes->list[index];
    attribute->name = wefti_onnx_text(source->name);
    switch (source->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        attribute->kind = WEFT_ATTRIBUTE_FLOAT;
        attribute->f = source->f;
        return WEFT_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        attribute->kind = WEFT_ATTRIBUTE_INT;
        attribute->i = source->i;
        return WEFT_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        attribute->kind = WEFT_ATTRIBUTE_STRING;
        WEFTI_TRY(read_text(reader, &source->s, &attributes->texts[index]));
        attribute->s = attributes->texts[index];
        return WEFT_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        attribute->kind = WEFT_ATTRIBUTE_TENSOR;
        attribute->tensor = &attributes->tensors[index].view;
        return read_tensor(reader, source->t, &attributes->tensors[index]);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
        attribute->kind = WEFT_ATTRIBUTE_GRAPH;
        WEFTI_TRY(read_graph(reader, source->g, &attributes->graphs[index]));
        attribute->graph = attributes->graphs[index];
        return WEFT_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        attribute->kind = WEFT_ATTRIBUTE_FLOATS;
        attribute->floats = source->floats;
        attribute->count = source->n_floats;
        return WEFT_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        attribute->kind = WEFT_ATTRIBUTE_INTS;
        attribute->ints = source->ints;
        attribute->count = source->n_ints;
        return WEFT_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        attribute->kind = WEFT_ATTRIBUTE_STRINGS;
        WEFTI_TRY(read_texts(reader, source, &attributes->lists[index]));
        attribute->strings = (const char *const *)attributes->lists[index];
        attribute->count = source->n_strings;
        return WEFT_OK;
    default:
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "it has the unknown kind %d", (int)source->type);
    }
}

static weft_status read_attributes(wefti_onnx_reader *reader,
                                   const Onnx__NodeProto *source,
                                   node_attributes *attributes)
{
    if (!make_room(attributes, source->n_attribute)) {
        return wefti_error_memory(reader->error, "the attributes of a node");
    }
    for (size_t i = 0; i < source->n_attribute; i++) {
        const Onnx__AttributeProto *from = source->attribute[i];
        const char *name = wefti_onnx_text(from->name);
        const char *problem = unsupported_kind(from);
        if (problem) {
            return wefti_error(reader->error, WEFT_UNSUPPORTED,
                               "the attribute '" WEFTI_ONNX_NAME "' %s", name, problem);
        }
        weft_status status = read_attribute(reader, from, attributes, i);
        if (status != WEFT_OK) {
            return wefti_error_prefix(reader->error, status,
                                      "the attribute '" WEFTI_ONNX_NAME "'", name);
        }
    }
    return WEFT_OK;
}

/* Empty attribute names and references to a function's attributes have no meaning
 * outside functions. */
static weft_status check_names(wefti_onnx_reader *reader, const Onnx__NodeProto *source)
{
    if (!*wefti_onnx_text(source->op_type)) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL, "it has no operator");
    }
    for (size_t i = 0; i < source->n_attribute; i++) {
        const Onnx__AttributeProto *attribute = source->attribute[i];
        if (!*wefti_onnx_text(attribute->name)) {
            return wefti_error(reader->error, WEFT_INVALID_MODEL,
                               "its attribute %zu has no name", i);
        }
        if (*wefti_onnx_text(attribute->ref_attr_name)) {
            return wefti_error(reader->error, WEFT_INVALID_MODEL,
                               "the attribute '" WEFTI_ONNX_NAME "' refers to a "
                               "function's attribute outside a function",
                               attribute->name);
        }
    }
    return WEFT_OK;
}

/* The words for a node in messages: its name, or that of its first output. */
static const char *node_name(const Onnx__NodeProto *source)
{
    const char *name = wefti_onnx_text(source->name);
    return *name || source->n_output == 0 ? name : source->output[0];
}

static weft_status read_node(wefti_onnx_reader *reader, const Onnx__NodeProto *source,
                             node_attributes *attributes)
{
    weft_status status = check_names(reader, source);
    if (status == WEFT_OK) {
        status = read_attributes(reader, source, attributes);
    }
    if (status == WEFT_OK) {
        return WEFT_OK;
    }
    return wefti_error_prefix(reader->error, status,
                              "node " WEFTI_ONNX_NAME " '" WEFTI_ONNX_NAME "'",
                              wefti_onnx_text(source->op_type), node_name(source));
}

static weft_status give_node(wefti_onnx_reader *reader, const Onnx__NodeProto *source,
                             const node_attributes *attributes)
{
    const char *domain = wefti_onnx_text(source->domain);
    weft_node node = {
        .op_type = source->op_type,
        .domain = strcmp(domain, "ai.onnx") == 0 ? "" : domain,
        .name = node_name(source),
        .inputs = (const char *const *)source->input,
        .input_count = source->n_input,
        .outputs = (const char *const *)source->output,
        .output_count = source->n_output,
        .attributes = attributes->list,
        .attribute_count = attributes->count,
    };
    return wefti_onnx_blame_model(
        reader, weft_graph_add_node(reader->graph, &node, reader->error));
}

weft_status wefti_onnx_add_node(wefti_onnx_reader *reader,
                                const Onnx__NodeProto *source)
{
    node_attributes attributes = {0};
    weft_status status = read_node(reader, source, &attributes);
    if (status == WEFT_OK) {
        status = give_node(reader, source, &attributes);
    }
    free_attributes(&attributes);
    return status;
}
