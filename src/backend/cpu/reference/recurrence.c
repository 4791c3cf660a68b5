/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* LINEAR_ATTENTION: one tile is one head of keys of one batch element. All sums go
 * over the key's features in order, multiplied and added apart. */

typedef struct head {
    const wefti_linear_attention_params *p;
    int64_t batch, number;
    float *state;  /* [d_k][d_v] */
    float *change; /* [d_v] */
} head;

/* Row t of an operand [batch, times, heads * size]. */
static const float *row_of(const head *h, const float *data, int64_t t, int64_t heads,
                           int64_t size, int64_t number)
{
    return data + ((h->batch * h->p->times + t) * heads + number) * size;
}

static void decay_state(const head *h, const float *decay, int64_t t)
{
    const wefti_linear_attention_params *p = h->p;
    int64_t size = p->decay_by_key ? p->key_size : 1;
    const float *g = row_of(h, decay, t, p->kv_heads, size, h->number);
    for (int64_t d = 0; d < p->key_size; d++) {
        const float factor = ref_exp(g[p->decay_by_key ? d : 0]);
        for (int64_t m = 0; m < p->value_size; m++) {
            h->state[d * p->value_size + m] *= factor;
        }
    }
}

/* The sum over d of x[d] * state[d][m]. */
static void read_state(const head *h, const float *x, float *sums)
{
    const wefti_linear_attention_params *p = h->p;
    memset(sums, 0, (size_t)p->value_size * sizeof(*sums));
    for (int64_t d = 0; d < p->key_size; d++) {
        for (int64_t m = 0; m < p->value_size; m++) {
            sums[m] += x[d] * h->state[d * p->value_size + m];
        }
    }
}

/* What is written for this key: the value, or its difference from what is there. */
static void find_change(const head *h, const wefti_cpu_call *call, const float *key,
                        int64_t t)
{
    const wefti_linear_attention_params *p = h->p;
    const float *beta = call->operands[WEFTI_LINEAR_ATTENTION_BETA];
    const float *value = row_of(h, call->operands[WEFTI_LINEAR_ATTENTION_V], t,
                                p->kv_heads, p->value_size, h->number);
    if (beta == NULL) {
        memcpy(h->change, value, (size_t)p->value_size * sizeof(*value));
        return;
    }
    int64_t number = p->beta_heads > 1 ? h->number : 0;
    const float rate = *row_of(h, beta, t, p->beta_heads, 1, number);
    read_state(h, key, h->change);
    for (int64_t m = 0; m < p->value_size; m++) {
        h->change[m] = rate * (value[m] - h->change[m]);
    }
}

static void step_time(const head *h, const wefti_cpu_call *call, int64_t t)
{
    const wefti_linear_attention_params *p = h->p;
    const float *decay = call->operands[WEFTI_LINEAR_ATTENTION_DECAY];
    const float *query = call->operands[WEFTI_LINEAR_ATTENTION_Q];
    float *output = call->operands[WEFTI_LINEAR_ATTENTION_OUTPUT];
    const float *key = row_of(h, call->operands[WEFTI_LINEAR_ATTENTION_K], t,
                              p->kv_heads, p->key_size, h->number);
    int64_t group = p->q_heads / p->kv_heads;
    if (decay != NULL) {
        decay_state(h, decay, t);
    }
    find_change(h, call, key, t);
    for (int64_t d = 0; d < p->key_size; d++) {
        for (int64_t m = 0; m < p->value_size; m++) {
            h->state[d * p->value_size + m] += key[d] * h->change[m];
        }
    }
    for (int64_t i = h->number * group; i < (h->number + 1) * group; i++) {
        float *y =
            output + ((h->batch * p->times + t) * p->q_heads + i) * p->value_size;
        read_state(h, row_of(h, query, t, p->q_heads, p->key_size, i), y);
        for (int64_t m = 0; m < p->value_size; m++) {
            y[m] *= p->scale;
        }
    }
}

static weft_status recur(const wefti_cpu_call *call, void *scratch, int64_t begin,
                         int64_t end, weft_error *error)
{
    (void)error;
    const wefti_linear_attention_params *p = call->params;
    const float *past = call->operands[WEFTI_LINEAR_ATTENTION_PAST];
    float *states = call->operands[WEFTI_LINEAR_ATTENTION_STATE];
    int64_t size = p->key_size * p->value_size;
    for (int64_t i = begin; i < end; i++) {
        head h = {.p = p,
                  .batch = i / p->kv_heads,
                  .number = i % p->kv_heads,
                  .state = states + i * size,
                  .change = scratch};
        if (past != NULL) {
            memcpy(h.state, past + i * size, (size_t)size * sizeof(*past));
        } else {
            memset(h.state, 0, (size_t)size * sizeof(*past));
        }
        for (int64_t t = 0; t < p->times; t++) {
            step_time(&h, call, t);
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_linear_attention_reference(const wefti_step *step,
                                                     bool may_pack,
                                                     wefti_cpu_prepared *prepared,
                                                     weft_error *error)
{
    (void)may_pack;
    (void)error;
    const wefti_linear_attention_params *p = step->params;
    double state = (double)p->key_size * (double)p->value_size;
    int64_t heads = p->batch * p->kv_heads;
    WEFTI_TRY(
        ref_prepared(prepared, recur, heads, (double)p->times * (state * 1.2 + 50.0)));
    prepared->tile_count = heads;
    prepared->scratch_bytes = (size_t)p->value_size * sizeof(float);
    return WEFT_OK;
}
