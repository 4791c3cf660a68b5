/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "graph/passes.h"

/* The operand of a two-operand node that is not the constant scalar `expected`; -1
 * when there is no such scalar. */
static int32_t other_than_scalar(const wefti_net *net, const wefti_net_node *node,
                                 float expected)
{
    for (int32_t i = 0; i < 2; i++) {
        float scalar;
        if (wefti_net_scalar(net, node->inputs[i], &scalar) &&
            fabsf(scalar - expected) <= 1e-6f * expected) {
            return node->inputs[1 - i];
        }
    }
    return -1;
}

/* Follows x / sqrt 2 -> Erf -> + 1 -> * x -> * 0.5 from its Erf (the older exporter
 * writes it so); gives x and the last node, or NULL. */
static wefti_net_node *match(const wefti_net *net, const wefti_net_node *erf,
                             int32_t *x)
{
    float scalar;
    wefti_net_node *divide = wefti_net_producer(net, erf->inputs[0]);
    if (wefti_net_is(divide, "Div") &&
        wefti_net_scalar(net, divide->inputs[1], &scalar) &&
        fabsf(scalar - 1.41421356f) <= 1e-6f) {
        *x = divide->inputs[0];
    } else if (wefti_net_is(divide, "Mul")) {
        *x = other_than_scalar(net, divide, 0.70710678f);
    } else {
        return NULL;
    }
    wefti_net_node *add = wefti_net_single_user(net, erf->outputs[0]);
    if (*x < 0 || !wefti_net_is(add, "Add") || other_than_scalar(net, add, 1) < 0) {
        return NULL;
    }
    wefti_net_node *product = wefti_net_single_user(net, add->outputs[0]);
    if (!wefti_net_is(product, "Mul")) {
        return NULL;
    }
    int32_t factor = product->inputs[product->inputs[0] == add->outputs[0] ? 1 : 0];
    wefti_net_node *half = wefti_net_producer(net, factor);
    if (wefti_net_is(half, "Mul") && other_than_scalar(net, half, 0.5f) == *x) {
        return product; /* (0.5 x) (1 + erf) */
    }
    half = wefti_net_single_user(net, product->outputs[0]);
    bool fits = factor == *x && wefti_net_is(half, "Mul") &&
                other_than_scalar(net, half, 0.5f) == product->outputs[0];
    return fits ? half : NULL;
}

weft_status wefti_pass_gelu(wefti_net *net, weft_error *error)
{
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        int32_t x;
        wefti_net_node *last = wefti_net_is(node, "Erf") ? match(net, node, &x) : NULL;
        if (last == NULL) {
            continue;
        }
        wefti_net_new made = {
            .op_type = "Gelu",
            .domain = "com.microsoft",
            .label = node->view.label,
            .inputs = &x,
            .outputs = last->outputs,
            .input_count = 1,
            .output_count = 1,
        };
        WEFTI_TRY(wefti_net_insert(net, last, &made, error));
        /* What led to it is swept when nothing else reads it. */
        last->dead = true;
    }
    return WEFT_OK;
}
