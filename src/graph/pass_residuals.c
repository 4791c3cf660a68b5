/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/passes.h"

/* Constants are left out: one of [1, ...] has the shape of a batch of one but of no
 * other, and a row must be computed in the same way whatever the batch (graph/rows.h).
 */
static bool is_plain_add(const wefti_net *net, const wefti_net_node *node)
{
    if (!wefti_net_is(node, "Add") || node->inputs[0] == node->inputs[1]) {
        return false;
    }
    const wefti_known *a = &net->values[node->inputs[0]].known;
    const wefti_known *b = &net->values[node->inputs[1]].known;
    return a->type == WEFT_TYPE_F32 && a->constant == NULL && b->constant == NULL &&
           wefti_same_shape(a, b);
}

/* A norm over the last dimension whose mean and deviation nobody reads. */
static bool is_last_norm(const wefti_net *net, const wefti_net_node *node)
{
    if (!wefti_net_is(node, "LayerNormalization")) {
        return false;
    }
    for (size_t i = 1; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0 && net->values[node->outputs[i]].use_count > 0) {
            return false;
        }
    }
    int32_t rank = net->values[node->inputs[0]].known.rank;
    int64_t axis = wefti_attribute_int(&node->view, "axis", -1);
    return axis == -1 || axis == rank - 1;
}

/* Add -> LayerNormalization: the norm reads both operands itself. */
static weft_status fuse_norm(wefti_net *net, wefti_net_node *add, wefti_net_node *norm,
                             weft_error *error)
{
    weft_attribute epsilon = wefti_make_float(
        "epsilon", wefti_attribute_float(&norm->view, "epsilon", 1e-5f));
    int32_t inputs[4] = {add->inputs[0], add->inputs[1], norm->inputs[1],
                         norm->view.input_count > 2 ? norm->inputs[2] : -1};
    wefti_net_new made = {
        .op_type = "FusedLayerNorm",
        .domain = "weft",
        .label = norm->view.label,
        .attributes = &epsilon,
        .attribute_count = 1,
        .inputs = inputs,
        .outputs = norm->outputs,
        .input_count = 4,
        .output_count = 1,
    };
    WEFTI_TRY(wefti_net_insert(net, norm, &made, error));
    add->dead = true;
    norm->dead = true;
    return WEFT_OK;
}

/* The product whose whole result, seen in another shape or not, is `value` and is read
 * by nobody else; NULL when there is none that can still take a residual. */
static wefti_net_node *product_of(const wefti_net *net, int32_t value, int32_t *result)
{
    wefti_net_node *node = wefti_net_producer(net, value);
    *result = value;
    if (wefti_net_is(node, "View") && net->values[value].use_count == 1 &&
        !net->values[value].is_output && wefti_net_is_reshape(net, node)) {
        *result = node->inputs[0];
        node = wefti_net_producer(net, *result);
    }
    bool fits = wefti_net_is(node, "FusedMatMul") && node->inputs[3] < 0 &&
                wefti_attribute_int(&node->view, "activation", 0) == 0 &&
                net->values[*result].use_count == 1 && !net->values[*result].is_output;
    return fits ? node : NULL;
}

/* `value` in the shape of `like`, through a View when they differ. */
static weft_status in_shape_of(wefti_net *net, wefti_net_node *before, int32_t value,
                               int32_t like, int32_t *shaped, weft_error *error)
{
    *shaped = value;
    if (wefti_same_shape(&net->values[value].known, &net->values[like].known)) {
        return WEFT_OK;
    }
    const char *name = net->values[value].name;
    wefti_known known = net->values[like].known;
    WEFTI_TRY(wefti_net_add_value(net, &known, name, shaped, error));
    return wefti_net_insert_reshape(net, before, value, *shaped, error);
}

/* Product -> Add: the product adds the other operand before it stores. */
static weft_status fuse_product(wefti_net *net, wefti_net_node *add, weft_error *error)
{
    for (int32_t i = 0; i < 2; i++) {
        int32_t result, residual, output;
        wefti_net_node *product = product_of(net, add->inputs[i], &result);
        if (product == NULL) {
            continue;
        }
        WEFTI_TRY(in_shape_of(net, add, add->inputs[1 - i], result, &residual, error));
        bool same = result == add->inputs[i];
        output = add->outputs[0];
        if (!same) {
            wefti_known known = net->values[result].known;
            WEFTI_TRY(wefti_net_add_value(net, &known, net->values[output].name,
                                          &output, error));
        }
        int32_t inputs[4] = {product->inputs[0], product->inputs[1], product->inputs[2],
                             residual};
        wefti_net_new made = {
            .op_type = "FusedMatMul",
            .domain = "weft",
            .label = product->view.label,
            .attributes = product->view.attributes,
            .attribute_count = product->view.attribute_count,
            .inputs = inputs,
            .outputs = &output,
            .input_count = 4,
            .output_count = 1,
        };
        WEFTI_TRY(wefti_net_insert(net, add, &made, error));
        add->dead = true;
        product->dead = true;
        return same
                   ? WEFT_OK
                   : wefti_net_insert_reshape(net, add, output, add->outputs[0], error);
    }
    return WEFT_OK;
}

weft_status wefti_pass_residuals(wefti_net *net, weft_error *error)
{
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (!is_plain_add(net, node)) {
            continue;
        }
        wefti_net_node *user = wefti_net_single_user(net, node->outputs[0]);
        if (user != NULL && is_last_norm(net, user) &&
            user->inputs[0] == node->outputs[0]) {
            WEFTI_TRY(fuse_norm(net, node, user, error));
        } else {
            WEFTI_TRY(fuse_product(net, node, error));
        }
    }
    return WEFT_OK;
}
