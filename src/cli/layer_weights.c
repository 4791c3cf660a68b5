/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/layer.h"

#include <math.h>
#include <stdlib.h>

int64_t cli_weight_count(const cli_weight *weight)
{
    int64_t count = 1;
    for (int32_t i = 0; i < weight->rank; i++) {
        count *= weight->dims[i];
    }
    return count;
}

static void add(cli_weights *weights, cli_weight weight)
{
    if (weights->count == CLI_MODEL_MAX_WEIGHTS) {
        abort(); /* the tables are fixed; none has so many */
    }
    weights->list[weights->count++] = weight;
}

static void add_linear(cli_weights *weights, int32_t in, int32_t out)
{
    float bound = 1.0f / sqrtf((float)in);
    add(weights,
        (cli_weight){.name = "weight", .rank = 2, .dims = {out, in}, .bound = bound});
    add(weights,
        (cli_weight){.name = "bias", .rank = 1, .dims = {out}, .bound = bound});
}

/* PyTorch starts with ones and zeros; a little noise gives every thread its own. */
static void add_norm(cli_weights *weights, int32_t size)
{
    add(weights, (cli_weight){.name = "norm.weight",
                              .rank = 1,
                              .dims = {size},
                              .center = 1.0f,
                              .bound = 0.1f});
    add(weights,
        (cli_weight){.name = "norm.bias", .rank = 1, .dims = {size}, .bound = 0.1f});
}

static void add_convolution(cli_weights *weights, const cli_layer *layer, int32_t rank)
{
    int32_t taps = rank == 1 ? layer->kernel : layer->kernel * layer->kernel;
    float bound = 1.0f / sqrtf((float)(layer->in * taps));
    cli_weight weight = {.name = "weight",
                         .rank = rank + 2,
                         .dims = {layer->out, layer->in, layer->kernel, layer->kernel},
                         .bound = bound};
    add(weights, weight);
    add(weights,
        (cli_weight){.name = "bias", .rank = 1, .dims = {layer->out}, .bound = bound});
}

static void add_layer(cli_weights *weights, const cli_layer *layer)
{
    switch (layer->kind) {
    case CLI_LAYER_LINEAR:
        add_linear(weights, layer->in, layer->out);
        break;
    case CLI_LAYER_NORM:
        add_norm(weights, layer->in);
        break;
    case CLI_LAYER_CONV1D:
        add_convolution(weights, layer, 1);
        break;
    case CLI_LAYER_CONV2D:
        add_convolution(weights, layer, 2);
        break;
    case CLI_LAYER_RACE:
        add_linear(weights, layer->in, 3 * layer->in);
        break;
    case CLI_LAYER_ATTENTION:
        add_linear(weights, layer->in, 3 * layer->in);
        add_linear(weights, layer->in, layer->in);
        break;
    case CLI_LAYER_ENCODER:
        add_linear(weights, layer->in, 3 * layer->in);
        add_linear(weights, layer->in, layer->in);
        add_norm(weights, layer->in);
        add_linear(weights, layer->in, layer->hidden);
        add_linear(weights, layer->hidden, layer->in);
        add_norm(weights, layer->in);
        break;
    default:
        break;
    }
}

static void fill(cli_weight *weight, bool normal, const weft_random_key *key)
{
    size_t count = (size_t)cli_weight_count(weight);
    weight->values = cli_allocate(count, sizeof(float));
    if (normal) {
        weft_random_fill_normal(key, weight->values, count);
        return;
    }
    weft_random_fill_uniform(key, weight->values, count);
    for (size_t i = 0; i < count; i++) {
        weight->values[i] =
            weight->center + weight->bound * (2.0f * weight->values[i] - 1.0f);
    }
}

void cli_weights_init(cli_weights *weights, const cli_layer *layers, bool normal,
                      weft_random_key key)
{
    weights->count = 0;
    for (const cli_layer *layer = layers; layer->kind != CLI_LAYER_END; layer++) {
        add_layer(weights, layer);
    }
    for (int32_t i = 0; i < weights->count; i++) {
        /* Iterations count up from 0, weights down from the top: never the same. */
        key.iteration = UINT32_MAX - (uint32_t)i;
        fill(&weights->list[i], normal, &key);
    }
}

void cli_weights_fini(cli_weights *weights)
{
    for (int32_t i = 0; i < weights->count; i++) {
        free(weights->list[i].values);
    }
    weights->count = 0;
}
