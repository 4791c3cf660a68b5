/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/passes.h"

/* A product with what follows it, as far as one kernel can do it. */
typedef struct product {
    wefti_net_node *node; /* MatMul, Gemm or Conv */
    wefti_net_node *tail; /* the last node taken in; `node` when there is none */
    int32_t output;       /* of the tail */
    int32_t bias;         /* value, or -1 */
    int32_t residual;     /* value, or -1 */
    wefti_activation activation;
    float activation_alpha;
} product;

/* A constant that adds one number to each column of `output`: [n], [1, n] ... */
static bool is_column_bias(const wefti_net *net, int32_t value,
                           const wefti_known *output)
{
    const wefti_known *known = &net->values[value].known;
    if (known->constant == NULL || known->type != WEFT_TYPE_F32 || known->rank < 1 ||
        known->rank > output->rank) {
        return false;
    }
    int64_t columns = output->dims[output->rank - 1];
    return known->dims[known->rank - 1] == columns &&
           wefti_known_count(known) == columns;
}

/* Takes in `tail`, whose output replaces the product's. */
static void take(product *fused, wefti_net_node *tail)
{
    fused->tail = tail;
    fused->output = tail->outputs[0];
}

static void take_bias(const wefti_net *net, product *fused)
{
    wefti_net_node *add = wefti_net_single_user(net, fused->output);
    if (fused->bias >= 0 || !wefti_net_is(add, "Add")) {
        return;
    }
    int32_t other = add->inputs[add->inputs[0] == fused->output ? 1 : 0];
    const wefti_known *output = &net->values[fused->output].known;
    if (is_column_bias(net, other, output) &&
        wefti_same_shape(output, &net->values[add->outputs[0]].known)) {
        fused->bias = other;
        take(fused, add);
    }
}

static void take_activation(const wefti_net *net, product *fused)
{
    wefti_net_node *user = wefti_net_single_user(net, fused->output);
    if (wefti_net_activation(user, &fused->activation, &fused->activation_alpha)) {
        take(fused, user);
    }
}

/* Another image added to a convolution's (the shortcut of a residual network). Not a
 * constant one: its shape may fit a batch of one alone. */
static void take_residual(const wefti_net *net, product *fused)
{
    wefti_net_node *add = wefti_net_single_user(net, fused->output);
    if (!wefti_net_is(add, "Add") || add->inputs[0] == add->inputs[1]) {
        return;
    }
    int32_t other = add->inputs[add->inputs[0] == fused->output ? 1 : 0];
    if (net->values[other].known.constant == NULL &&
        wefti_same_shape(&net->values[fused->output].known,
                         &net->values[other].known)) {
        fused->residual = other;
        take(fused, add);
    }
}

/* Puts the fused node where the tail stood: all that it reads is there by then. */
static weft_status replace(wefti_net *net, const product *fused, const char *op_type,
                           const weft_attribute *attributes, size_t attribute_count,
                           weft_error *error)
{
    wefti_net_node *node = fused->node;
    int32_t inputs[4] = {node->inputs[0], node->inputs[1], fused->bias,
                         fused->residual};
    wefti_net_new made = {
        .op_type = op_type,
        .domain = "weft",
        .label = node->view.label,
        .attributes = attributes,
        .attribute_count = attribute_count,
        .inputs = inputs,
        .outputs = &fused->output,
        .input_count = 4,
        .output_count = 1,
    };
    WEFTI_TRY(wefti_net_insert(net, fused->tail, &made, error));
    for (wefti_net_node *dead = node;;) {
        dead->dead = true;
        if (dead == fused->tail) {
            return WEFT_OK;
        }
        dead = wefti_net_single_user(net, dead->outputs[0]);
    }
}

static weft_status fuse_matmul(wefti_net *net, product *fused, bool trans_b,
                               weft_error *error)
{
    take_bias(net, fused);
    take_activation(net, fused);
    weft_attribute attributes[] = {
        wefti_make_int("trans_b", trans_b),
        wefti_make_int("activation", fused->activation),
        wefti_make_float("activation_alpha", fused->activation_alpha),
    };
    return replace(net, fused, "FusedMatMul", attributes, WEFTI_COUNT_OF(attributes),
                   error);
}

/* Gemm is a product with a bias when C adds one number to each column. */
static bool gemm_fits(const wefti_net *net, const wefti_net_node *node)
{
    const wefti_node_view *view = &node->view;
    if (wefti_attribute_int(view, "transA", 0) != 0 ||
        wefti_attribute_float(view, "alpha", 1) != 1) {
        return false;
    }
    bool has_c = view->input_count > 2 && node->inputs[2] >= 0;
    return !has_c ||
           (wefti_attribute_float(view, "beta", 1) == 1 &&
            is_column_bias(net, node->inputs[2], &net->values[node->outputs[0]].known));
}

static weft_status fuse_conv(wefti_net *net, product *fused, weft_error *error)
{
    take_residual(net, fused);
    take_activation(net, fused);
    if (fused->tail == fused->node) {
        return WEFT_OK;
    }
    const wefti_node_view *view = &fused->node->view;
    size_t count = view->attribute_count;
    weft_attribute *attributes =
        wefti_arena_calloc(&net->arena, count + 2, sizeof(*attributes));
    if (attributes == NULL) {
        return wefti_error_memory(error, "a fused convolution");
    }
    if (count > 0) {
        memcpy(attributes, view->attributes, count * sizeof(*attributes));
    }
    attributes[count] = wefti_make_int("activation", fused->activation);
    attributes[count + 1] =
        wefti_make_float("activation_alpha", fused->activation_alpha);
    return replace(net, fused, "FusedConv", attributes, count + 2, error);
}

static weft_status fuse_product(wefti_net *net, wefti_net_node *node, weft_error *error)
{
    product fused = {
        .node = node,
        .tail = node,
        .output = node->outputs[0],
        .bias = -1,
        .residual = -1,
    };
    if (net->values[node->outputs[0]].known.type != WEFT_TYPE_F32) {
        return WEFT_OK;
    }
    if (wefti_net_is(node, "MatMul")) {
        bool matrices = net->values[node->inputs[0]].known.rank >= 2 &&
                        net->values[node->inputs[1]].known.rank >= 2;
        return matrices ? fuse_matmul(net, &fused, false, error) : WEFT_OK;
    }
    if (node->view.input_count > 2) {
        fused.bias = node->inputs[2];
    }
    if (wefti_net_is(node, "Gemm") && gemm_fits(net, node)) {
        bool trans_b = wefti_attribute_int(&node->view, "transB", 0) != 0;
        return fuse_matmul(net, &fused, trans_b, error);
    }
    return wefti_net_is(node, "Conv") ? fuse_conv(net, &fused, error) : WEFT_OK;
}

weft_status wefti_pass_products(wefti_net *net, weft_error *error)
{
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (!node->dead && (wefti_net_is(node, "MatMul") ||
                            wefti_net_is(node, "Gemm") || wefti_net_is(node, "Conv"))) {
            WEFTI_TRY(fuse_product(net, node, error));
        }
    }
    return WEFT_OK;
}
