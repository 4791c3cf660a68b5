/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Emits nodes one after another; the first error stays and the rest is skipped. */
typedef struct builder {
    weft_graph *graph;
    weft_status status;
    weft_error *error;
    const cli_weights *weights;
    int32_t next_weight;
    int32_t next_name;
    int32_t rank; /* of the current value */
} builder;

/* A value's name. */
typedef struct value {
    char name[24];
} value;

enum { OPSET = 20 };

static value new_value(builder *b)
{
    value v;
    snprintf(v.name, sizeof(v.name), "v%d", b->next_name++);
    return v;
}

static value constant(builder *b, const weft_tensor *tensor)
{
    value v = new_value(b);
    if (b->status == WEFT_OK) {
        b->status = weft_graph_add_initializer(b->graph, v.name, tensor, b->error);
    }
    return v;
}

static value constant_i64(builder *b, const int64_t *values, int64_t count)
{
    int64_t copy[WEFT_MAX_RANK];
    memcpy(copy, values, (size_t)count * sizeof(*values));
    weft_tensor tensor = {
        .data = copy, .type = WEFT_TYPE_I64, .rank = 1, .dims = {count}};
    return constant(b, &tensor);
}

static value constant_f32(builder *b, float number)
{
    weft_tensor tensor = {.data = &number, .type = WEFT_TYPE_F32, .rank = 0};
    return constant(b, &tensor);
}

/* The next weight as it is. */
static value next_weight(builder *b)
{
    const cli_weight *weight = &b->weights->list[b->next_weight++];
    weft_tensor tensor = {
        .data = weight->values, .type = WEFT_TYPE_F32, .rank = weight->rank};
    memcpy(tensor.dims, weight->dims, sizeof(weight->dims));
    return constant(b, &tensor);
}

/* The next weight, a matrix, transposed for MatMul. */
static value next_weight_transposed(builder *b)
{
    const cli_weight *weight = &b->weights->list[b->next_weight++];
    int64_t rows = weight->dims[0];
    int64_t columns = weight->dims[1];
    float *turned = cli_allocate((size_t)(rows * columns), sizeof(float));
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < columns; k++) {
            turned[k * rows + i] = weight->values[i * columns + k];
        }
    }
    weft_tensor tensor = {
        .data = turned, .type = WEFT_TYPE_F32, .rank = 2, .dims = {columns, rows}};
    value v = constant(b, &tensor);
    free(turned);
    return v;
}

typedef struct attributes {
    const weft_attribute *list;
    size_t count;
} attributes;

/* Adds an operator whose inputs end with NULL at the latest after the third. */
static void emit_many(builder *b, const char *op_type, const value *const inputs[4],
                      value *outputs, size_t output_count, attributes with)
{
    const char *input_names[4];
    const char *output_names[4];
    size_t input_count = 0;
    while (input_count < 4 && inputs[input_count] != NULL) {
        input_names[input_count] = inputs[input_count]->name;
        input_count++;
    }
    for (size_t i = 0; i < output_count; i++) {
        outputs[i] = new_value(b);
        output_names[i] = outputs[i].name;
    }
    weft_node node = {.op_type = op_type,
                      .inputs = input_names,
                      .input_count = input_count,
                      .outputs = output_names,
                      .output_count = output_count,
                      .attributes = with.list,
                      .attribute_count = with.count};
    if (b->status == WEFT_OK) {
        b->status = weft_graph_add_node(b->graph, &node, b->error);
    }
}

static value emit(builder *b, const char *op_type, const value *const inputs[4],
                  attributes with)
{
    value output;
    emit_many(b, op_type, inputs, &output, 1, with);
    return output;
}

static value unary(builder *b, const char *op_type, value x)
{
    return emit(b, op_type, (const value *const[4]){&x}, (attributes){0});
}

static value binary(builder *b, const char *op_type, value left, value right)
{
    return emit(b, op_type, (const value *const[4]){&left, &right}, (attributes){0});
}

static value with_int(builder *b, const char *op_type, value x, const char *name,
                      int64_t number)
{
    weft_attribute attribute = {.name = name, .kind = WEFT_ATTRIBUTE_INT, .i = number};
    return emit(b, op_type, (const value *const[4]){&x}, (attributes){&attribute, 1});
}

static value transpose(builder *b, value x, const int64_t *order, size_t count)
{
    weft_attribute attribute = {
        .name = "perm", .kind = WEFT_ATTRIBUTE_INTS, .ints = order, .count = count};
    return emit(b, "Transpose", (const value *const[4]){&x},
                (attributes){&attribute, 1});
}

static value reshape(builder *b, value x, const int64_t *dims, int64_t count)
{
    value shape = constant_i64(b, dims, count);
    return binary(b, "Reshape", x, shape);
}

/* PyTorch's exporter too writes Gemm for matrices and MatMul + Add for the rest. */
static value linear(builder *b, value x)
{
    if (b->rank != 2) {
        value weight = next_weight_transposed(b);
        value bias = next_weight(b);
        return binary(b, "Add", binary(b, "MatMul", x, weight), bias);
    }
    value weight = next_weight(b);
    value bias = next_weight(b);
    weft_attribute attribute = {.name = "transB", .kind = WEFT_ATTRIBUTE_INT, .i = 1};
    return emit(b, "Gemm", (const value *const[4]){&x, &weight, &bias},
                (attributes){&attribute, 1});
}

static value norm(builder *b, value x)
{
    value weight = next_weight(b);
    value bias = next_weight(b);
    weft_attribute list[] = {
        {.name = "axis", .kind = WEFT_ATTRIBUTE_INT, .i = -1},
        {.name = "epsilon", .kind = WEFT_ATTRIBUTE_FLOAT, .f = (float)CLI_NORM_EPSILON},
    };
    return emit(b, "LayerNormalization", (const value *const[4]){&x, &weight, &bias},
                (attributes){list, 2});
}

static value convolution(builder *b, value x, const cli_layer *layer, size_t rank)
{
    value weight = next_weight(b);
    value bias = next_weight(b);
    int64_t kernel[2] = {layer->kernel, layer->kernel};
    int64_t pads[4] = {layer->padding, layer->padding, layer->padding, layer->padding};
    weft_attribute list[] = {
        {.name = "kernel_shape",
         .kind = WEFT_ATTRIBUTE_INTS,
         .ints = kernel,
         .count = rank},
        {.name = "pads", .kind = WEFT_ATTRIBUTE_INTS, .ints = pads, .count = 2 * rank},
    };
    return emit(b, "Conv", (const value *const[4]){&x, &weight, &bias},
                (attributes){list, 2});
}

static void split3(builder *b, value x, int64_t axis, value parts[3])
{
    weft_attribute list[] = {
        {.name = "axis", .kind = WEFT_ATTRIBUTE_INT, .i = axis},
        {.name = "num_outputs", .kind = WEFT_ATTRIBUTE_INT, .i = 3},
    };
    emit_many(b, "Split", (const value *const[4]){&x}, parts, 3, (attributes){list, 2});
}

/* Queries, keys and values [batch, sequence, in] -> attention, the same shape. */
static value attend(builder *b, const value packed[3], const cli_layer *layer)
{
    static const int64_t to_heads[4] = {0, 2, 1, 3};
    static const int64_t to_keys[4] = {0, 2, 3, 1};
    int64_t width = layer->in / layer->heads;
    int64_t split[4] = {0, 0, layer->heads, width};
    int64_t joined[3] = {0, 0, layer->in};
    value query = transpose(b, reshape(b, packed[0], split, 4), to_heads, 4);
    value key = transpose(b, reshape(b, packed[1], split, 4), to_keys, 4);
    value content = transpose(b, reshape(b, packed[2], split, 4), to_heads, 4);
    value scale = constant_f32(b, 1.0f / sqrtf((float)width));
    value scores = binary(b, "Mul", binary(b, "MatMul", query, key), scale);
    value shares = with_int(b, "Softmax", scores, "axis", -1);
    value mixed = transpose(b, binary(b, "MatMul", shares, content), to_heads, 4);
    return reshape(b, mixed, joined, 3);
}

static value attention(builder *b, value x, const cli_layer *layer)
{
    value parts[3];
    split3(b, linear(b, x), -1, parts);
    return linear(b, attend(b, parts, layer));
}

static value encoder(builder *b, value x, const cli_layer *layer)
{
    value attended = norm(b, binary(b, "Add", x, attention(b, x, layer)));
    value hidden = unary(b, "Relu", linear(b, attended));
    return norm(b, binary(b, "Add", attended, linear(b, hidden)));
}

/* The chain of the race reproduction, operator by operator. */
static value race(builder *b, value x, const cli_layer *layer)
{
    static const int64_t zero = 0, second_last = -2;
    static const int64_t swapped[5] = {3, 1, 2, 0, 4};
    int64_t unflattened[4] = {0, 0, 3, layer->in};
    value packed = reshape(b, linear(b, x), unflattened, 4);
    value raised = binary(b, "Unsqueeze", packed, constant_i64(b, &zero, 1));
    value turned = transpose(b, raised, swapped, 5);
    value squeezed = binary(b, "Squeeze", turned, constant_i64(b, &second_last, 1));
    value contiguous = unary(b, "Identity", squeezed);
    value parts[3];
    split3(b, contiguous, 0, parts);
    for (int i = 0; i < 3; i++) {
        parts[i] = binary(b, "Squeeze", parts[i], constant_i64(b, &zero, 1));
    }
    return attend(b, parts, layer);
}

static value build_layer(builder *b, value x, const cli_layer *layer)
{
    static const int64_t turned[3] = {0, 2, 1};
    switch (layer->kind) {
    case CLI_LAYER_MATMUL:
        return binary(b, "MatMul", x, (value){"y"});
    case CLI_LAYER_LINEAR:
        return linear(b, x);
    case CLI_LAYER_RELU:
        return unary(b, "Relu", x);
    case CLI_LAYER_GELU:
        return unary(b, "Gelu", x);
    case CLI_LAYER_SOFTMAX:
        return with_int(b, "Softmax", x, "axis", -1);
    case CLI_LAYER_NORM:
        return norm(b, x);
    case CLI_LAYER_CONV1D:
        return convolution(b, x, layer, 1);
    case CLI_LAYER_CONV2D:
        return convolution(b, x, layer, 2);
    case CLI_LAYER_TRANSPOSE:
        return transpose(b, x, turned, 3);
    case CLI_LAYER_ATTENTION:
        return attention(b, x, layer);
    case CLI_LAYER_ENCODER:
        return encoder(b, x, layer);
    case CLI_LAYER_RACE:
        return race(b, x, layer);
    default:
        return x;
    }
}

static void add_input(builder *b, const char *name, const weft_tensor *tensor)
{
    weft_value_info info = {.name = name, .type = WEFT_TYPE_F32, .rank = tensor->rank};
    memcpy(info.dims, tensor->dims, sizeof(info.dims));
    for (int32_t i = 0; i < tensor->rank; i++) {
        info.dim_names[i] = tensor->dims[i] == WEFT_DIM_DYNAMIC ? "batch" : NULL;
    }
    if (b->status == WEFT_OK) {
        b->status = weft_graph_add_input(b->graph, &info, b->error);
    }
}

weft_status cli_layers_build(const cli_layer *layers, const cli_weights *weights,
                             const weft_tensor *inputs, int32_t input_count,
                             weft_graph **graph, weft_error *error)
{
    static const char *const names[2] = {"x", "y"};
    builder b = {.error = error, .weights = weights, .rank = inputs[0].rank};
    *graph = NULL;
    b.status = weft_graph_create(OPSET, &b.graph, error);
    for (int32_t i = 0; i < input_count; i++) {
        add_input(&b, names[i], &inputs[i]);
    }
    value current = {"x"};
    for (const cli_layer *layer = layers; layer->kind != CLI_LAYER_END; layer++) {
        current = build_layer(&b, current, layer);
    }
    if (b.status == WEFT_OK) {
        b.status = weft_graph_add_output(b.graph, current.name, error);
    }
    if (b.status != WEFT_OK) {
        weft_graph_release(b.graph);
        return b.status;
    }
    *graph = b.graph;
    return WEFT_OK;
}
