/* SPDX-License-Identifier: Apache-2.0 */
#include "support/onnx_builder.h"

#include <stdlib.h>
#include <string.h>

/* Tests have no way to go on without memory. */
static void *must(void *block)
{
    if (!block) {
        abort();
    }
    return block;
}

void *onnx_builder_alloc(onnx_builder *builder, size_t size_bytes)
{
    if (builder->block_count == builder->block_capacity) {
        builder->block_capacity = 2 * builder->block_capacity + 16;
        builder->blocks =
            must(realloc(builder->blocks, builder->block_capacity * sizeof(void *)));
    }
    void *block = must(calloc(1, size_bytes ? size_bytes : 1));
    builder->blocks[builder->block_count++] = block;
    return block;
}

char *onnx_builder_text(onnx_builder *builder, const char *text)
{
    return strcpy(onnx_builder_alloc(builder, strlen(text) + 1), text);
}

/* Appends a pointer to one of protobuf-c's counted arrays. */
#define APPEND(builder, array, count, item)                                            \
    do {                                                                               \
        void *grown = onnx_builder_alloc(builder, ((count) + 1) * sizeof *(array));    \
        if ((count) > 0) {                                                             \
            memcpy(grown, (array), (count) * sizeof *(array));                         \
        }                                                                              \
        (array) = grown;                                                               \
        (array)[(count)++] = (item);                                                   \
    } while (0)

#define NEW(builder, type, variable, init)                                             \
    type *variable = onnx_builder_alloc(builder, sizeof(type));                        \
    *variable = (type)init

void onnx_builder_init(onnx_builder *builder, int64_t opset)
{
    *builder = (onnx_builder){0};
    NEW(builder, Onnx__ModelProto, model, ONNX__MODEL_PROTO__INIT);
    NEW(builder, Onnx__GraphProto, graph, ONNX__GRAPH_PROTO__INIT);
    model->has_ir_version = 1;
    model->ir_version = 8;
    model->graph = graph;
    graph->name = onnx_builder_text(builder, "g");
    builder->model = model;
    builder->graph = graph;
    if (opset != 0) {
        onnx_builder_opset(builder, "", opset);
    }
}

void onnx_builder_fini(onnx_builder *builder)
{
    for (size_t i = 0; i < builder->block_count; i++) {
        free(builder->blocks[i]);
    }
    free(builder->blocks);
    *builder = (onnx_builder){0};
}

void onnx_builder_opset(onnx_builder *builder, const char *domain, int64_t version)
{
    NEW(builder, Onnx__OperatorSetIdProto, import, ONNX__OPERATOR_SET_ID_PROTO__INIT);
    import->domain = onnx_builder_text(builder, domain);
    import->has_version = 1;
    import->version = version;
    APPEND(builder, builder->model->opset_import, builder->model->n_opset_import,
           import);
}

static Onnx__TensorShapeProto *make_shape(onnx_builder *builder, size_t rank,
                                          const int64_t *dims)
{
    NEW(builder, Onnx__TensorShapeProto, shape, ONNX__TENSOR_SHAPE_PROTO__INIT);
    for (size_t i = 0; i < rank; i++) {
        NEW(builder, Onnx__TensorShapeProto__Dimension, dim,
            ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
        if (dims[i] < 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = onnx_builder_text(builder, "n");
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[i];
        }
        APPEND(builder, shape->dim, shape->n_dim, dim);
    }
    return shape;
}

static Onnx__ValueInfoProto *make_info(onnx_builder *builder, const char *name,
                                       int32_t type, size_t rank, const int64_t *dims)
{
    NEW(builder, Onnx__ValueInfoProto, info, ONNX__VALUE_INFO_PROTO__INIT);
    NEW(builder, Onnx__TypeProto, outer, ONNX__TYPE_PROTO__INIT);
    NEW(builder, Onnx__TypeProto__Tensor, tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
    info->name = onnx_builder_text(builder, name);
    info->type = outer;
    outer->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    outer->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = type;
    tensor->shape = make_shape(builder, rank, dims);
    return info;
}

Onnx__ValueInfoProto *onnx_builder_input(onnx_builder *builder, const char *name,
                                         int32_t type, size_t rank, const int64_t *dims)
{
    Onnx__ValueInfoProto *info = make_info(builder, name, type, rank, dims);
    APPEND(builder, builder->graph->input, builder->graph->n_input, info);
    return info;
}

Onnx__ValueInfoProto *onnx_builder_declared(onnx_builder *builder, const char *name,
                                            int32_t type, size_t rank,
                                            const int64_t *dims)
{
    Onnx__ValueInfoProto *info = make_info(builder, name, type, rank, dims);
    APPEND(builder, builder->graph->output, builder->graph->n_output, info);
    return info;
}

Onnx__ValueInfoProto *onnx_builder_output(onnx_builder *builder, const char *name)
{
    NEW(builder, Onnx__ValueInfoProto, info, ONNX__VALUE_INFO_PROTO__INIT);
    info->name = onnx_builder_text(builder, name);
    APPEND(builder, builder->graph->output, builder->graph->n_output, info);
    return info;
}

Onnx__TensorProto *onnx_builder_tensor(onnx_builder *builder, const char *name,
                                       int32_t type, size_t rank, const int64_t *dims)
{
    NEW(builder, Onnx__TensorProto, tensor, ONNX__TENSOR_PROTO__INIT);
    tensor->name = onnx_builder_text(builder, name);
    tensor->has_data_type = 1;
    tensor->data_type = type;
    tensor->n_dims = rank;
    tensor->dims = onnx_builder_alloc(builder, rank * sizeof *dims);
    if (rank > 0) {
        memcpy(tensor->dims, dims, rank * sizeof *dims);
    }
    return tensor;
}

void onnx_builder_raw(onnx_builder *builder, Onnx__TensorProto *tensor,
                      const void *data, size_t size_bytes)
{
    tensor->has_raw_data = 1;
    tensor->raw_data.len = size_bytes;
    tensor->raw_data.data = onnx_builder_alloc(builder, size_bytes);
    if (size_bytes > 0) {
        memcpy(tensor->raw_data.data, data, size_bytes);
    }
}

void onnx_builder_external(onnx_builder *builder, Onnx__TensorProto *tensor,
                           const char *key, const char *value)
{
    NEW(builder, Onnx__StringStringEntryProto, entry,
        ONNX__STRING_STRING_ENTRY_PROTO__INIT);
    entry->key = onnx_builder_text(builder, key);
    entry->value = onnx_builder_text(builder, value);
    APPEND(builder, tensor->external_data, tensor->n_external_data, entry);
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

void onnx_builder_initializer(onnx_builder *builder, Onnx__TensorProto *tensor)
{
    APPEND(builder, builder->graph->initializer, builder->graph->n_initializer, tensor);
}

/* Splits at commas; "" gives no names at all. */
static char **split(onnx_builder *builder, const char *names, size_t *count)
{
    char **list = NULL;
    *count = 0;
    for (const char *at = names; *names && at;) {
        size_t length = strcspn(at, ",");
        char *name = onnx_builder_alloc(builder, length + 1);
        memcpy(name, at, length);
        APPEND(builder, list, *count, name);
        at = at[length] ? at + length + 1 : NULL;
    }
    return list;
}

Onnx__NodeProto *onnx_builder_node(onnx_builder *builder, const char *op_type,
                                   const char *name, const char *inputs,
                                   const char *outputs)
{
    NEW(builder, Onnx__NodeProto, node, ONNX__NODE_PROTO__INIT);
    node->op_type = onnx_builder_text(builder, op_type);
    node->name = onnx_builder_text(builder, name);
    node->input = split(builder, inputs, &node->n_input);
    node->output = split(builder, outputs, &node->n_output);
    APPEND(builder, builder->graph->node, builder->graph->n_node, node);
    return node;
}

Onnx__AttributeProto *onnx_builder_attribute(onnx_builder *builder,
                                             Onnx__NodeProto *node, const char *name,
                                             Onnx__AttributeProto__AttributeType type)
{
    NEW(builder, Onnx__AttributeProto, attribute, ONNX__ATTRIBUTE_PROTO__INIT);
    attribute->name = onnx_builder_text(builder, name);
    attribute->has_type = 1;
    attribute->type = type;
    APPEND(builder, node->attribute, node->n_attribute, attribute);
    return attribute;
}

uint8_t *onnx_builder_pack(onnx_builder *builder, size_t *size)
{
    *size = onnx__model_proto__get_packed_size(builder->model);
    uint8_t *bytes = onnx_builder_alloc(builder, *size);
    onnx__model_proto__pack(builder->model, bytes);
    return bytes;
}

void onnx_builder_make_small(onnx_builder *builder)
{
    static float bias[3] = {1, 2, 3};
    const float weights[6] = {1, 0, 2, 0, 1, -1};
    onnx_builder_init(builder, 17);
    onnx_builder_input(builder, "x", WEFT_TYPE_F32, 2, (int64_t[]){-1, 2});
    Onnx__TensorProto *w =
        onnx_builder_tensor(builder, "w", WEFT_TYPE_F32, 2, (int64_t[]){2, 3});
    onnx_builder_raw(builder, w, weights, sizeof weights);
    onnx_builder_initializer(builder, w);
    Onnx__TensorProto *b =
        onnx_builder_tensor(builder, "", WEFT_TYPE_F32, 1, (int64_t[]){3});
    b->float_data = bias;
    b->n_float_data = 3;
    Onnx__NodeProto *constant = onnx_builder_node(builder, "Constant", "c", "", "b");
    onnx_builder_attribute(builder, constant, "value",
                           ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)
        ->t = b;
    Onnx__NodeProto *gemm = onnx_builder_node(builder, "Gemm", "product", "x,w,b", "h");
    Onnx__AttributeProto *alpha = onnx_builder_attribute(
        builder, gemm, "alpha", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    alpha->has_f = 1;
    alpha->f = 1;
    Onnx__AttributeProto *transposed = onnx_builder_attribute(
        builder, gemm, "transB", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    transposed->has_i = 1;
    onnx_builder_node(builder, "Relu", "", "h", "y");
    onnx_builder_output(builder, "y");
}
