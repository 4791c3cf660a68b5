/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/layer.h"
#include "cli/reference.h"

/* The current value on its way through the layers. */
typedef struct state {
    double *values;
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    const cli_weight *weight; /* the next one */
    const weft_tensor *inputs;
} state;

static int64_t element_count(const state *s)
{
    int64_t count = 1;
    for (int32_t i = 0; i < s->rank; i++) {
        count *= s->dims[i];
    }
    return count;
}

static double *widen(const weft_tensor *tensor, int64_t *count)
{
    *count = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        *count *= tensor->dims[i];
    }
    double *values = cli_allocate_data((size_t)*count * sizeof(*values));
    const float *source = tensor->data;
    for (int64_t i = 0; i < *count; i++) {
        values[i] = source[i];
    }
    return values;
}

static void replace(state *s, double *values)
{
    free(s->values);
    s->values = values;
}

static void linear(state *s)
{
    int64_t in = s->weight[0].dims[1];
    int64_t out = s->weight[0].dims[0];
    int64_t rows = element_count(s) / in;
    double *y = cli_allocate((size_t)(rows * out), sizeof(*y));
    cli_reference_linear((cli_reference_sizes){rows, in, out}, s->values,
                         s->weight[0].values, s->weight[1].values, y);
    s->weight += 2;
    s->dims[s->rank - 1] = out;
    replace(s, y);
}

static void norm(state *s)
{
    int64_t size = s->dims[s->rank - 1];
    cli_reference_norm(element_count(s) / size, size, CLI_NORM_EPSILON,
                       s->weight[0].values, s->weight[1].values, s->values);
    s->weight += 2;
}

static void matmul(state *s)
{
    int64_t second_count = 0;
    double *second = widen(&s->inputs[1], &second_count);
    int64_t m = s->dims[s->rank - 2];
    int64_t k = s->dims[s->rank - 1];
    int64_t n = s->inputs[1].dims[s->rank - 1];
    int64_t batch = element_count(s) / (m * k);
    double *y = cli_allocate((size_t)(batch * m * n), sizeof(*y));
    for (int64_t i = 0; i < batch; i++) {
        cli_reference_product(m, n, k, s->values + i * m * k, second + i * k * n,
                              y + i * m * n);
    }
    free(second);
    s->dims[s->rank - 1] = n;
    replace(s, y);
}

static void convolution(state *s, const cli_layer *layer)
{
    bool flat = layer->kind == CLI_LAYER_CONV1D;
    cli_reference_window w = {
        .batch = s->dims[0],
        .in = layer->in,
        .out = layer->out,
        .height = flat ? 1 : s->dims[2],
        .width = s->dims[s->rank - 1],
        .kernel_height = flat ? 1 : layer->kernel,
        .kernel_width = layer->kernel,
        .pad_height = flat ? 0 : layer->padding,
        .pad_width = layer->padding,
    };
    s->dims[1] = layer->out;
    for (int32_t i = 2; i < s->rank; i++) {
        s->dims[i] += 2 * layer->padding - layer->kernel + 1;
    }
    double *y = cli_allocate_data((size_t)element_count(s) * sizeof(*y));
    cli_reference_convolution(&w, s->values, s->weight[0].values, s->weight[1].values,
                              y);
    s->weight += 2;
    replace(s, y);
}

static void transpose(state *s)
{
    int64_t rows = s->dims[1];
    int64_t columns = s->dims[2];
    double *y = cli_allocate_data((size_t)element_count(s) * sizeof(*y));
    for (int64_t n = 0; n < s->dims[0]; n++) {
        for (int64_t i = 0; i < rows * columns; i++) {
            y[n * rows * columns + i % columns * rows + i / columns] =
                s->values[n * rows * columns + i];
        }
    }
    s->dims[1] = columns;
    s->dims[2] = rows;
    replace(s, y);
}

static void attention(state *s, const cli_layer *layer)
{
    linear(s);
    s->dims[2] = layer->in;
    double *y = cli_allocate_data((size_t)element_count(s) * sizeof(*y));
    cli_reference_attention(s->dims[0], s->dims[1], layer->heads,
                            layer->in / layer->heads, s->values, y);
    replace(s, y);
}

static double *copy_values(const state *s)
{
    size_t bytes = (size_t)element_count(s) * sizeof(double);
    return memcpy(cli_allocate(1, bytes), s->values, bytes);
}

static void add_and_free(state *s, double *values)
{
    int64_t count = element_count(s);
    for (int64_t i = 0; i < count; i++) {
        s->values[i] += values[i];
    }
    free(values);
}

static void encoder(state *s, const cli_layer *layer)
{
    double *kept = copy_values(s);
    attention(s, layer);
    linear(s);
    add_and_free(s, kept);
    norm(s);
    kept = copy_values(s);
    linear(s);
    cli_reference_relu(element_count(s), s->values);
    linear(s);
    add_and_free(s, kept);
    norm(s);
}

static void apply(state *s, const cli_layer *layer)
{
    int64_t size = s->dims[s->rank - 1];
    switch (layer->kind) {
    case CLI_LAYER_MATMUL:
        matmul(s);
        break;
    case CLI_LAYER_LINEAR:
        linear(s);
        break;
    case CLI_LAYER_RELU:
        cli_reference_relu(element_count(s), s->values);
        break;
    case CLI_LAYER_GELU:
        cli_reference_gelu(element_count(s), s->values);
        break;
    case CLI_LAYER_SOFTMAX:
        cli_reference_softmax(element_count(s) / size, size, s->values);
        break;
    case CLI_LAYER_NORM:
        norm(s);
        break;
    case CLI_LAYER_CONV1D:
    case CLI_LAYER_CONV2D:
        convolution(s, layer);
        break;
    case CLI_LAYER_TRANSPOSE:
        transpose(s);
        break;
    case CLI_LAYER_ATTENTION:
        attention(s, layer);
        linear(s);
        break;
    case CLI_LAYER_ENCODER:
        encoder(s, layer);
        break;
    case CLI_LAYER_RACE:
        attention(s, layer);
        break;
    case CLI_LAYER_END:
        break;
    }
}

void cli_layers_reference(const cli_layer *layers, const cli_weights *weights,
                          const weft_tensor *inputs, double **values, int64_t *count)
{
    state s = {.rank = inputs[0].rank, .weight = weights->list, .inputs = inputs};
    memcpy(s.dims, inputs[0].dims, sizeof(s.dims));
    s.values = widen(&inputs[0], count);
    for (const cli_layer *layer = layers; layer->kind != CLI_LAYER_END; layer++) {
        apply(&s, layer);
    }
    *values = s.values;
    *count = element_count(&s);
}
