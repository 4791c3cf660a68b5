/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/onnx/reader.h"

#include "graph/graph.h"

const char *wefti_onnx_text(const char *text)
{
    return text ? text : "";
}

weft_status wefti_onnx_blame_model(wefti_onnx_reader *reader, weft_status status)
{
    if (status != WEFT_INVALID_ARGUMENT) {
        return status;
    }
    if (reader->error) {
        reader->error->status = WEFT_INVALID_MODEL;
    }
    return WEFT_INVALID_MODEL;
}

static const char *kind_of(const Onnx__TypeProto *type)
{
    switch (type ? type->value_case : ONNX__TYPE_PROTO__VALUE__NOT_SET) {
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        return "a sequence";
    case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
        return "a map";
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        return "an optional value";
    case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
        return "a sparse tensor";
    default:
        return NULL;
    }
}

static weft_status read_dim(wefti_onnx_reader *reader,
                            const Onnx__TensorShapeProto__Dimension *source,
                            weft_value_info *info, int32_t axis)
{
    info->dims[axis] = WEFT_DIM_DYNAMIC;
    if (source->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) {
        const char *name = wefti_onnx_text(source->dim_param);
        info->dim_names[axis] = *name ? name : NULL;
        return WEFT_OK;
    }
    /* Some exporters write -1 for a dimension that may vary. */
    if (source->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE ||
        source->dim_value == -1) {
        return WEFT_OK;
    }
    if (source->dim_value < 0) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "its dimension %d has the size %lld", (int)axis,
                           (long long)source->dim_value);
    }
    info->dims[axis] = source->dim_value;
    return WEFT_OK;
}

static weft_status read_info(wefti_onnx_reader *reader,
                             const Onnx__ValueInfoProto *source, weft_value_info *info)
{
    const char *kind = kind_of(source->type);
    if (kind) {
        return wefti_error(reader->error, WEFT_UNSUPPORTED,
                           "it is %s; only tensors are supported", kind);
    }
    if (!source->type ||
        source->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL, "it has no type");
    }
    const Onnx__TypeProto__Tensor *tensor = source->type->tensor_type;
    WEFTI_TRY(wefti_onnx_type(tensor->elem_type, &info->type, reader->error));
    info->rank = -1;
    if (!tensor->shape) {
        return WEFT_OK;
    }
    if (tensor->shape->n_dim > WEFT_MAX_RANK) {
        return wefti_error(reader->error, WEFT_UNSUPPORTED,
                           "it has %zu dimensions; at most %d are supported",
                           tensor->shape->n_dim, (int)WEFT_MAX_RANK);
    }
    info->rank = (int32_t)tensor->shape->n_dim;
    for (int32_t i = 0; i < info->rank; i++) {
        WEFTI_TRY(read_dim(reader, tensor->shape->dim[i], info, i));
    }
    return WEFT_OK;
}

/* A name that an initializer has taken: the input has a default value. */
static bool has_default(const weft_graph *graph, const char *name)
{
    int32_t value = wefti_graph_find_value(graph, name);
    return value >= 0 && graph->values[value].initializer >= 0;
}

weft_status wefti_onnx_add_input(wefti_onnx_reader *reader,
                                 const Onnx__ValueInfoProto *source)
{
    weft_value_info info = {.name = wefti_onnx_text(source->name)};
    if (reader->depth > 0 && !kind_of(source->type)) {
        /* What a node's graph is given, its node decides. */
        return has_default(reader->graph, info.name)
                   ? WEFT_OK
                   : wefti_onnx_blame_model(
                         reader, wefti_graph_add_open_input(reader->graph, info.name,
                                                            reader->error));
    }
    weft_status status = read_info(reader, source, &info);
    if (status != WEFT_OK) {
        return wefti_error_prefix(reader->error, status, "input '" WEFTI_ONNX_NAME "'",
                                  info.name);
    }
    status = has_default(reader->graph, info.name)
                 ? wefti_graph_add_default_input(reader->graph, &info, reader->error)
                 : weft_graph_add_input(reader->graph, &info, reader->error);
    return wefti_onnx_blame_model(reader, status);
}

weft_status wefti_onnx_add_output(wefti_onnx_reader *reader,
                                  const Onnx__ValueInfoProto *source)
{
    weft_status status = weft_graph_add_output(
        reader->graph, wefti_onnx_text(source->name), reader->error);
    WEFTI_TRY(wefti_onnx_blame_model(reader, status));
    /* What cannot be read of its type says nothing against the output. */
    wefti_onnx_reader quiet = *reader;
    weft_value_info info = {0};
    quiet.error = NULL;
    if (read_info(&quiet, source, &info) != WEFT_OK) {
        return WEFT_OK;
    }
    return wefti_graph_describe_output(reader->graph, &info, reader->error);
}
