/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "graph/passes.h"

/* Attention over [batch, heads, length, size], however it was written. */
typedef struct attention {
    int32_t q, k, v; /* [b,h,s,d]; k: [b,h,d,s] when `k_transposed` */
    int32_t mask;    /* value, or -1 */
    bool k_transposed;
    bool causal;
    bool written_out; /* as a Softmax, which gives NaN where no key is visible */
    float scale;
    int32_t output; /* [b,h,s,d] */
    const char *label;
} attention;

/* Follows a multiplication or division by a constant scalar upwards: returns what is
 * scaled and multiplies *scale. The value may have other readers; they keep it. */
static int32_t unscale(const wefti_net *net, int32_t value, float *scale)
{
    wefti_net_node *node = wefti_net_producer(net, value);
    float scalar;
    if (wefti_net_is(node, "Mul")) {
        for (int32_t i = 0; i < 2; i++) {
            if (wefti_net_scalar(net, node->inputs[i], &scalar) &&
                wefti_same_shape(&net->values[node->inputs[1 - i]].known,
                                 &net->values[value].known)) {
                *scale *= scalar;
                return node->inputs[1 - i];
            }
        }
    }
    if (wefti_net_is(node, "Div") && wefti_net_scalar(net, node->inputs[1], &scalar) &&
        wefti_same_shape(&net->values[node->inputs[0]].known,
                         &net->values[value].known)) {
        *scale /= scalar;
        return node->inputs[0];
    }
    return value;
}

/* A plain product of two 4-d tensors, as pass_products left it. */
static bool is_plain_product(const wefti_net *net, const wefti_net_node *node)
{
    return wefti_net_is(node, "FusedMatMul") && node->inputs[2] < 0 &&
           node->inputs[3] < 0 && wefti_attribute_int(&node->view, "trans_b", 0) == 0 &&
           wefti_attribute_int(&node->view, "activation", 0) == 0 &&
           net->values[node->outputs[0]].known.rank == 4;
}

/* The scores behind a softmax: product, scale, mask. */
static bool match_scores(const wefti_net *net, int32_t scores, attention *found)
{
    wefti_net_node *add = wefti_net_producer(net, scores);
    if (wefti_net_is(add, "Add")) {
        /* The mask is the operand that is not a product. */
        float ignored = 1;
        int32_t left = unscale(net, add->inputs[0], &ignored);
        bool product_first = is_plain_product(net, wefti_net_producer(net, left));
        found->mask = add->inputs[product_first ? 1 : 0];
        scores = add->inputs[product_first ? 0 : 1];
        const wefti_known *mask = &net->values[found->mask].known;
        if (mask->type != WEFT_TYPE_F32 || mask->rank > 4 ||
            !wefti_same_shape(&net->values[scores].known,
                              &net->values[add->outputs[0]].known)) {
            return false;
        }
    }
    scores = unscale(net, scores, &found->scale);
    wefti_net_node *product = wefti_net_producer(net, scores);
    if (!is_plain_product(net, product)) {
        return false;
    }
    found->q = unscale(net, product->inputs[0], &found->scale);
    found->k = unscale(net, product->inputs[1], &found->scale);
    found->k_transposed = true;
    return true;
}

/* All of rank 4 with the same batch and heads. */
static bool shapes_fit(const wefti_net *net, const attention *found)
{
    const wefti_known *q = &net->values[found->q].known;
    const wefti_known *k = &net->values[found->k].known;
    const wefti_known *v = &net->values[found->v].known;
    if (q->rank != 4 || k->rank != 4 || v->rank != 4 || q->type != WEFT_TYPE_F32) {
        return false;
    }
    for (int32_t i = 0; i < 2; i++) {
        if (q->dims[i] != k->dims[i] || q->dims[i] != v->dims[i]) {
            return false;
        }
    }
    int32_t k_size = found->k_transposed ? 2 : 3;
    return wefti_known_count(q) > 0 && wefti_known_count(k) > 0 &&
           q->dims[3] == k->dims[k_size] && v->dims[2] == k->dims[5 - k_size];
}

static bool match_softmax(const wefti_net *net, const wefti_net_node *softmax,
                          attention *found)
{
    const wefti_known *known = &net->values[softmax->inputs[0]].known;
    int64_t axis =
        wefti_attribute_int(&softmax->view, "axis", softmax->view.opset < 13 ? 1 : -1);
    if (known->rank != 4 || (axis != -1 && axis != 3)) {
        return false;
    }
    wefti_net_node *user = wefti_net_single_user(net, softmax->outputs[0]);
    if (!is_plain_product(net, user) || user->inputs[0] != softmax->outputs[0]) {
        return false;
    }
    *found = (attention){
        .mask = -1,
        .scale = 1,
        .written_out = true,
        .v = user->inputs[1],
        .output = user->outputs[0],
        .label = softmax->view.label,
    };
    return match_scores(net, softmax->inputs[0], found) && shapes_fit(net, found);
}

/* A mask for the first keys only: the others are hidden, which the node itself sees to.
 */
static bool is_short(const wefti_known *mask, int64_t keys)
{
    int64_t last = mask->rank > 0 ? mask->dims[mask->rank - 1] : 1;
    return last != 1 && last != keys;
}

/* ONNX's own operator (opset 23) on 4-d tensors, without cache. */
static bool match_operator(const wefti_net *net, const wefti_net_node *node,
                           attention *found)
{
    const wefti_node_view *view = &node->view;
    for (size_t i = 1; i < view->output_count; i++) {
        if (node->outputs[i] >= 0) {
            return false;
        }
    }
    for (size_t i = 4; i < view->input_count; i++) {
        if (node->inputs[i] >= 0) {
            return false;
        }
    }
    const wefti_known *q = &net->values[node->inputs[0]].known;
    *found = (attention){
        .q = node->inputs[0],
        .k = node->inputs[1],
        .v = node->inputs[2],
        .mask = view->input_count > 3 ? node->inputs[3] : -1,
        .causal = wefti_attribute_int(view, "is_causal", 0) != 0,
        .scale = wefti_attribute_float(view, "scale", 0),
        .output = node->outputs[0],
        .label = view->label,
    };
    if (wefti_attribute_float(view, "softcap", 0) != 0 ||
        wefti_attribute_int(view, "left_window_size", -1) >= 0 ||
        wefti_attribute_int(view, "right_window_size", -1) >= 0 ||
        (found->mask >= 0 && net->values[found->mask].known.rank > 4) ||
        (found->mask >= 0 && found->causal) || !shapes_fit(net, found)) {
        return false;
    }
    if (found->mask >= 0 && is_short(&net->values[found->mask].known,
                                     net->values[found->k].known.dims[2])) {
        return false;
    }
    /* ONNX counts causal keys from the first, the kernel from the last. */
    if (found->causal && q->dims[2] != net->values[found->k].known.dims[2]) {
        return false;
    }
    if (wefti_attribute_find(view, "scale") == NULL) {
        found->scale = 1 / sqrtf((float)q->dims[3]);
    }
    return true;
}

/* Adds Transpose(`value`, permutation) -> a new value before `before`. */
static weft_status add_transpose(wefti_net *net, wefti_net_node *before, int32_t value,
                                 const int64_t permutation[4], int32_t *output,
                                 weft_error *error)
{
    wefti_known known = net->values[value].known;
    for (int32_t i = 0; i < 4; i++) {
        known.dims[i] = net->values[value].known.dims[permutation[i]];
    }
    known.constant = NULL;
    if (*output < 0) {
        WEFTI_TRY(
            wefti_net_add_value(net, &known, net->values[value].name, output, error));
    }
    int64_t *copy =
        wefti_arena_copy(&net->arena, permutation, 4 * sizeof(*permutation));
    if (copy == NULL) {
        return wefti_error_memory(error, "a fused attention");
    }
    weft_attribute attribute = wefti_make_ints("perm", copy, 4);
    wefti_net_new made = {
        .op_type = "Transpose",
        .domain = "",
        .label = net->values[value].name,
        .attributes = &attribute,
        .attribute_count = 1,
        .inputs = &value,
        .outputs = output,
        .input_count = 1,
        .output_count = 1,
    };
    return wefti_net_insert(net, before, &made, error);
}

/* The result is written as [b,s,h,d], where the next product wants it; a transpose,
 * which pass_views makes a view, gives it the shape that its readers know. */
static weft_status replace(wefti_net *net, wefti_net_node *last, const attention *found,
                           weft_error *error)
{
    static const int64_t swap_last[4] = {0, 1, 3, 2}, swap_middle[4] = {0, 2, 1, 3};
    int32_t k = -1;
    if (found->k_transposed) {
        WEFTI_TRY(add_transpose(net, last, found->k, swap_last, &k, error));
    } else {
        k = found->k;
    }
    wefti_known known = net->values[found->output].known;
    known.dims[1] = net->values[found->output].known.dims[2];
    known.dims[2] = net->values[found->output].known.dims[1];
    int32_t result;
    WEFTI_TRY(wefti_net_add_value(net, &known, net->values[found->output].name, &result,
                                  error));
    int32_t inputs[4] = {found->q, k, found->v, found->mask};
    weft_attribute attributes[] = {
        wefti_make_float("scale", found->scale),
        wefti_make_int("is_causal", found->causal),
        wefti_make_int("blind_is_nan", found->written_out),
        wefti_make_string("output_layout", "BSHD"),
    };
    wefti_net_new made = {
        .op_type = "FusedAttention",
        .domain = "weft",
        .label = found->label,
        .attributes = attributes,
        .attribute_count = WEFTI_COUNT_OF(attributes),
        .inputs = inputs,
        .outputs = &result,
        .input_count = 4,
        .output_count = 1,
    };
    WEFTI_TRY(wefti_net_insert(net, last, &made, error));
    int32_t output = found->output;
    WEFTI_TRY(add_transpose(net, last, result, swap_middle, &output, error));
    last->dead = true;
    return WEFT_OK;
}

weft_status wefti_pass_attention(wefti_net *net, weft_error *error)
{
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        attention found;
        wefti_net_node *last = NULL;
        if (wefti_net_is(node, "Softmax") && match_softmax(net, node, &found)) {
            last = net->values[found.output].producer;
        } else if (wefti_net_is(node, "Attention") &&
                   match_operator(net, node, &found)) {
            last = node;
        }
        if (last != NULL) {
            WEFTI_TRY(replace(net, last, &found, error));
        }
    }
    return WEFT_OK;
}
