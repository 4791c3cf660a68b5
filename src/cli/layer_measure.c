/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/layer.h"

/* Rows of the current value: the product of all dimensions but the last. */
typedef struct shape {
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
} shape;

static double row_count(const shape *s)
{
    double rows = 1;
    for (int32_t i = 0; i + 1 < s->rank; i++) {
        rows *= (double)s->dims[i];
    }
    return rows;
}

static double convolution_flops(shape *s, const cli_layer *layer)
{
    double taps = layer->kind == CLI_LAYER_CONV1D
                      ? layer->kernel
                      : (double)layer->kernel * layer->kernel;
    s->dims[1] = layer->out;
    double outputs = 1;
    for (int32_t i = 0; i < s->rank; i++) {
        if (i >= 2) {
            s->dims[i] += 2 * layer->padding - layer->kernel + 1;
        }
        outputs *= (double)s->dims[i];
    }
    return 2 * outputs * taps * layer->in;
}

/* Projections in and out (unless `packed_only`) and the two products of attention. */
static double attention_flops(const shape *s, const cli_layer *layer, bool packed_only)
{
    double size = layer->in;
    double products = 4 * row_count(s) * (double)s->dims[1] * size;
    return 2 * row_count(s) * size * size * (packed_only ? 3 : 4) + products;
}

static double layer_flops(shape *s, const cli_layer *layer, const weft_tensor *inputs)
{
    double flops = 0;
    switch (layer->kind) {
    case CLI_LAYER_MATMUL:
        flops = 2 * row_count(s) * (double)s->dims[s->rank - 1] *
                (double)inputs[1].dims[s->rank - 1];
        s->dims[s->rank - 1] = inputs[1].dims[s->rank - 1];
        return flops;
    case CLI_LAYER_LINEAR:
        s->dims[s->rank - 1] = layer->out;
        return 2 * row_count(s) * layer->in * layer->out;
    case CLI_LAYER_CONV1D:
    case CLI_LAYER_CONV2D:
        return convolution_flops(s, layer);
    case CLI_LAYER_TRANSPOSE:
        flops = (double)s->dims[1];
        s->dims[1] = s->dims[2];
        s->dims[2] = (int64_t)flops;
        return 0;
    case CLI_LAYER_ATTENTION:
        return attention_flops(s, layer, false);
    case CLI_LAYER_RACE:
        return attention_flops(s, layer, true);
    case CLI_LAYER_ENCODER:
        return attention_flops(s, layer, false) +
               4 * row_count(s) * layer->in * layer->hidden;
    default:
        return 0;
    }
}

void cli_layers_measure(const cli_layer *layers, const weft_tensor *inputs,
                        double *flops, int64_t *output_count)
{
    shape s = {.rank = inputs[0].rank};
    for (int32_t i = 0; i < s.rank; i++) {
        s.dims[i] = inputs[0].dims[i];
    }
    *flops = 0;
    for (const cli_layer *layer = layers; layer->kind != CLI_LAYER_END; layer++) {
        *flops += layer_flops(&s, layer, inputs);
    }
    *output_count = (int64_t)row_count(&s) * s.dims[s.rank - 1];
}
