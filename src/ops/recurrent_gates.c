/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "ops/recurrent.h"

/* Names of ONNX; alpha and beta where none are given. */
typedef struct activation {
    const char *name;
    bool takes_alpha, takes_beta;
    float alpha, beta;
    wefti_operation operation;
} activation;

static const activation known[] = {
    {"Affine", true, true, 1, 0, WEFTI_OP_SCALE},
    {"Elu", true, false, 1, 0, WEFTI_OP_ELU},
    {"HardSigmoid", true, true, 0.2f, 0.5f, WEFTI_OP_CLIP},
    {"LeakyRelu", true, false, 0.01f, 0, WEFTI_OP_LEAKY_RELU},
    {"Relu", false, false, 0, 0, WEFTI_OP_RELU},
    {"ScaledTanh", true, true, 1, 1, WEFTI_OP_TANH},
    {"Sigmoid", false, false, 0, 0, WEFTI_OP_SIGMOID},
    {"Softplus", false, false, 0, 0, WEFTI_OP_SOFTPLUS},
    {"Softsign", false, false, 0, 0, WEFTI_OP_DIV},
    {"Tanh", false, false, 0, 0, WEFTI_OP_TANH},
};

static const activation *find(const char *name)
{
    for (size_t i = 0; i < WEFTI_COUNT_OF(known); i++) {
        if (strcasecmp(known[i].name, name) == 0) {
            return &known[i];
        }
    }
    return NULL;
}

/* What ONNX takes where a node names none: an LSTM's three, a GRU's two, an RNN's. */
static const char *usual(size_t count, size_t index)
{
    return count > 1 && index % count == 0 ? "Sigmoid" : "Tanh";
}

weft_status wefti_gates_check(const wefti_node_view *node, size_t count,
                              weft_error *error)
{
    size_t given = 0;
    const char *direction = wefti_attribute_string(node, "direction", "forward");
    size_t wanted = strcmp(direction, "bidirectional") == 0 ? 2 * count : count;
    const char *const *names = wefti_attribute_strings(node, "activations", &given);
    if (given != 0 && given != wanted) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: has %zu activations, expected %zu", node->label, given,
                           wanted);
    }
    for (size_t i = 0; i < given; i++) {
        if (!find(names[i])) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: the activation '%.40s' is not supported",
                               node->label, names[i]);
        }
    }
    return WEFT_OK;
}

static uint8_t add(wefti_gates *gates, wefti_instruction instruction)
{
    gates->list[gates->count++] = instruction;
    return (uint8_t)(WEFTI_ELEMENTWISE_MAX_INPUTS + gates->count - 1);
}

uint8_t wefti_gates_join(wefti_gates *gates, wefti_operation operation, uint8_t a,
                         uint8_t b, uint8_t c)
{
    return add(gates,
               (wefti_instruction){.operation = operation, .a = a, .b = b, .c = c});
}

/* Activation `index` with its alpha and beta: each takes the next ones of the lists. */
static activation read_activation(const wefti_node_view *node, size_t count,
                                  size_t index)
{
    size_t given = 0, alpha_count = 0, beta_count = 0, alpha = 0, beta = 0;
    const char *const *names = wefti_attribute_strings(node, "activations", &given);
    const float *alphas =
        wefti_attribute_floats(node, "activation_alpha", &alpha_count);
    const float *betas = wefti_attribute_floats(node, "activation_beta", &beta_count);
    activation result = {0};
    for (size_t i = 0; i <= index; i++) {
        result = *find(given > 0 ? names[i] : usual(count, i));
        if (result.takes_alpha && alpha < alpha_count) {
            result.alpha = alphas[alpha++];
        }
        if (result.takes_beta && beta < beta_count) {
            result.beta = betas[beta++];
        }
    }
    return result;
}

uint8_t wefti_gates_activate(wefti_gates *gates, const wefti_node_view *node,
                             size_t count, size_t index, uint8_t a)
{
    activation what = read_activation(node, count, index);
    wefti_instruction own = {.operation = what.operation, .a = a};
    wefti_instruction scale = {.operation = WEFTI_OP_SCALE, .a = a};
    if (what.operation == WEFTI_OP_CLIP) { /* min(max(alpha a + beta, 0), 1) */
        scale.alpha = what.alpha;
        scale.beta = what.beta;
        own.a = add(gates, scale);
        own.beta = 1;
    } else if (what.operation == WEFTI_OP_DIV) { /* a / (1 + |a|) */
        scale.a = add(gates, (wefti_instruction){.operation = WEFTI_OP_ABS, .a = a});
        scale.alpha = scale.beta = 1;
        own.b = add(gates, scale);
    } else if (what.operation == WEFTI_OP_TANH && what.takes_alpha) {
        scale.alpha = what.beta;
        own.a = add(gates, scale);
        scale.a = add(gates, own);
        scale.alpha = what.alpha;
        own = scale; /* alpha tanh(beta a) */
    } else {
        own.alpha = what.alpha;
        own.beta = what.beta;
    }
    return add(gates, own);
}
