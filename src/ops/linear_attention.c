/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* LinearAttention: a state of each head that is written and read at every time. */

enum { Q, K, V, PAST, DECAY, BETA };

static void check_rule(wefti_body *body)
{
    const char *rule = wefti_attribute_string(body->node, "update_rule", "gated_delta");
    bool gated = strncmp(rule, "gated", 5) == 0;
    bool delta = strcmp(rule, "delta") == 0 || strcmp(rule, "gated_delta") == 0;
    if (!delta && strcmp(rule, "gated") != 0 && strcmp(rule, "linear") != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "update_rule is not one of linear, gated, delta and "
                          "gated_delta");
    }
    if (wefti_known_present(body->node, body->inputs, DECAY) != gated ||
        wefti_known_present(body->node, body->inputs, BETA) != delta) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "decay (input 4) goes with the gated rules, beta (input 5) "
                          "with those of deltas, and neither with others");
    }
}

static bool read_heads(wefti_body *body, wefti_linear_attention_params *p)
{
    const wefti_known *in = body->inputs;
    for (size_t i = 0; i < body->node->input_count; i++) {
        if (i < PAST || wefti_known_present(body->node, in, i)) {
            wefti_body_check_types(body, i, WEFTI_TYPES_F32);
            wefti_body_check_rank(body, i, i == PAST ? 4 : 3, i == PAST ? 4 : 3);
        }
    }
    check_rule(body);
    p->q_heads = wefti_attribute_int(body->node, "q_num_heads", 0);
    p->kv_heads = wefti_attribute_int(body->node, "kv_num_heads", 0);
    if (wefti_body_failed(body)) {
        return false;
    }
    if (p->kv_heads < 1 || p->q_heads < 1 || p->q_heads > 1 << 20 ||
        p->q_heads % p->kv_heads != 0 || in[Q].dims[2] % p->q_heads != 0 ||
        in[V].dims[2] % p->kv_heads != 0) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "q_num_heads and kv_num_heads do not divide the features, or "
                          "each other");
        return false;
    }
    p->batch = in[Q].dims[0];
    p->times = in[Q].dims[1];
    p->key_size = in[Q].dims[2] / p->q_heads;
    p->value_size = in[V].dims[2] / p->kv_heads;
    return true;
}

static void check_shapes(wefti_body *body, wefti_linear_attention_params *p)
{
    wefti_term key = wefti_body_input(body, K), value = wefti_body_input(body, V);
    wefti_term past = wefti_body_input(body, PAST);
    wefti_term decay = wefti_body_input(body, DECAY),
               beta = wefti_body_input(body, BETA);
    int64_t dims[] = {p->batch, p->times, p->kv_heads * p->key_size};
    wefti_body_check_shape(body, "key (input 1)", &key, 3, dims);
    dims[2] = p->kv_heads * p->value_size;
    wefti_body_check_shape(body, "value (input 2)", &value, 3, dims);
    if (wefti_body_has(&past)) {
        const int64_t state[] = {p->batch, p->kv_heads, p->key_size, p->value_size};
        wefti_body_check_shape(body, "past_state (input 3)", &past, 4, state);
    }
    if (wefti_body_has(&decay)) {
        p->decay_by_key = decay.known.dims[2] != p->kv_heads;
        dims[2] = p->decay_by_key ? p->kv_heads * p->key_size : p->kv_heads;
        wefti_body_check_shape(body, "decay (input 4)", &decay, 3, dims);
    }
    if (wefti_body_has(&beta)) {
        p->beta_heads = beta.known.dims[2] == 1 ? 1 : p->kv_heads;
        dims[2] = p->beta_heads;
        wefti_body_check_shape(body, "beta (input 5)", &beta, 3, dims);
    }
}

static void linear_attention_body(wefti_body *body)
{
    wefti_linear_attention_params p = {0};
    if (!read_heads(body, &p)) {
        return;
    }
    check_shapes(body, &p);
    p.scale = wefti_attribute_float(body->node, "scale", 0.0F);
    if (p.scale == 0.0F) {
        p.scale = 1.0F / sqrtf((float)(p.key_size > 0 ? p.key_size : 1));
    }
    const int64_t dims[] = {p.batch, p.times, p.q_heads * p.value_size};
    const int64_t state[] = {p.batch, p.kv_heads, p.key_size, p.value_size};
    wefti_term operands[8];
    for (size_t i = Q; i <= BETA; i++) {
        wefti_term operand = wefti_body_input(body, i);
        operands[i] =
            wefti_body_has(&operand) ? wefti_body_dense(body, operand) : operand;
    }
    operands[WEFTI_LINEAR_ATTENTION_OUTPUT] =
        wefti_body_new(body, WEFT_TYPE_F32, 3, dims);
    operands[WEFTI_LINEAR_ATTENTION_STATE] =
        wefti_body_new(body, WEFT_TYPE_F32, 4, state);
    if (p.batch > 0) {
        wefti_body_step(body, WEFTI_KERNEL_LINEAR_ATTENTION, &p, sizeof(p), 8,
                        operands);
    }
    wefti_body_output(body, 0, operands[WEFTI_LINEAR_ATTENTION_OUTPUT]);
    wefti_body_output(body, 1, operands[WEFTI_LINEAR_ATTENTION_STATE]);
}

WEFTI_BODY_FAMILY(linear_attention)
