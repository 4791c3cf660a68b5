/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_LAYER_H
#define WEFTI_CLI_LAYER_H

#include "cli/support.h"

/* What the tables' models are made of, as data. From one list of layers come the
 * weights, the graph that Weft runs, and the f64 reference that judges it. */

typedef enum cli_layer_kind {
    CLI_LAYER_END = 0,
    CLI_LAYER_MATMUL, /* first input x second input */
    CLI_LAYER_LINEAR, /* in -> out over the last axis */
    CLI_LAYER_RELU,
    CLI_LAYER_GELU,      /* exact */
    CLI_LAYER_SOFTMAX,   /* last axis */
    CLI_LAYER_NORM,      /* layer norm over the last axis: in */
    CLI_LAYER_CONV1D,    /* in -> out, kernel, padding */
    CLI_LAYER_CONV2D,    /* in -> out, kernel, padding */
    CLI_LAYER_TRANSPOSE, /* the last two axes */
    CLI_LAYER_ATTENTION, /* self-attention: in, heads */
    CLI_LAYER_ENCODER,   /* TransformerEncoderLayer, post-norm: in, heads, hidden */
    CLI_LAYER_RACE,      /* packed projection and attention: in, heads */
} cli_layer_kind;

typedef struct cli_layer {
    cli_layer_kind kind;
    int32_t in, out, kernel, padding, heads, hidden;
} cli_layer;

enum { CLI_LAYER_MAX_WEIGHTS = 12, CLI_MODEL_MAX_WEIGHTS = 32 };

#define CLI_NORM_EPSILON 1e-5

/* One weight tensor, in PyTorch's layout. */
typedef struct cli_weight {
    const char *name;
    int32_t rank;
    int64_t dims[4];
    float *values;
    /* How it is made: uniform in center +- bound, or N(0,1) when the row says so. */
    float center, bound;
} cli_weight;

typedef struct cli_weights {
    cli_weight list[CLI_MODEL_MAX_WEIGHTS];
    int32_t count;
} cli_weights;

int64_t cli_weight_count(const cli_weight *weight);

/* Allocates and fills the weights of all layers, the same for the same key.
 * `normal` makes them N(0,1) unscaled where PyTorch's start values are not asked
 * for. Freed with cli_weights_fini. */
void cli_weights_init(cli_weights *weights, const cli_layer *layers, bool normal,
                      weft_random_key key);
void cli_weights_fini(cli_weights *weights);

/* Builds the graph of the layers by calls. `inputs` gives the input shapes; a
 * dimension of WEFT_DIM_DYNAMIC is named "batch". The graph's inputs are "x" (and
 * "y"), it has one output. */
weft_status cli_layers_build(const cli_layer *layers, const cli_weights *weights,
                             const weft_tensor *inputs, int32_t input_count,
                             weft_graph **graph, weft_error *error);

/* Computes the layers in f64 with plain loops. `inputs` hold f32 data. *values is
 * new memory that the caller frees. */
void cli_layers_reference(const cli_layer *layers, const cli_weights *weights,
                          const weft_tensor *inputs, double **values, int64_t *count);

/* Counts multiplications and additions of one call (2 per multiply-add; products
 * and convolutions only) and the elements of the output. */
void cli_layers_measure(const cli_layer *layers, const weft_tensor *inputs,
                        double *flops, int64_t *output_count);

#endif
