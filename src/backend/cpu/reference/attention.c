/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"

/* One tile is one query of one head. Hidden keys have the score -infinity and so the
 * weight 0; they stay in the chain over the keys. */

typedef struct attention_row {
    const wefti_attention_params *p;
    const float *q, *k, *v;
    const void *mask; /* of this query's first key, or NULL */
    float *output;
    int64_t visible; /* keys that causality allows */
} attention_row;

static float score(const attention_row *r, int64_t key)
{
    const wefti_attention_params *p = r->p;
    float sum = 0.0f;
    for (int64_t i = 0; i < p->head_size; i++) {
        sum = fmaf(r->q[i], r->k[key * p->k.row + i], sum);
    }
    sum *= p->scale;
    const int64_t at = key * p->mask_strides[3];
    if (r->mask != NULL && p->mask_type == WEFT_TYPE_F32) {
        sum += ((const float *)r->mask)[at];
    } else if (r->mask != NULL && !((const uint8_t *)r->mask)[at]) {
        sum = -INFINITY;
    }
    return key < r->visible ? sum : -INFINITY;
}

static float fold(float lane[16], bool largest)
{
    for (int32_t step = 8; step >= 1; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            lane[j] =
                largest ? ref_max(lane[j], lane[j + step]) : lane[j] + lane[j + step];
        }
    }
    return lane[0];
}

/* Scores become weights. Returns false when no key is visible. */
static bool weigh(float *scores, int64_t count, bool blind_is_nan)
{
    float lane[16];
    for (int32_t j = 0; j < 16; j++) {
        lane[j] = -INFINITY;
    }
    for (int64_t i = 0; i < count; i++) {
        lane[i % 16] = ref_max(lane[i % 16], scores[i]);
    }
    const float largest = fold(lane, true);
    if (largest == -INFINITY && !blind_is_nan) {
        return false;
    }
    memset(lane, 0, sizeof(lane));
    for (int64_t i = 0; i < count; i++) {
        scores[i] = ref_exp(scores[i] - largest);
        lane[i % 16] += scores[i];
    }
    const float inverse = 1.0f / fold(lane, false);
    for (int64_t i = 0; i < count; i++) {
        scores[i] *= inverse;
    }
    return true;
}

static void run_row(const attention_row *r, float *scores)
{
    const wefti_attention_params *p = r->p;
    for (int64_t j = 0; j < p->key_length; j++) {
        scores[j] = score(r, j);
    }
    const bool any = weigh(scores, p->key_length, p->blind_is_nan);
    for (int64_t i = 0; i < p->value_size; i++) {
        float sum = 0.0f;
        for (int64_t j = 0; j < p->key_length && any; j++) {
            sum = fmaf(scores[j], r->v[j * p->v.row + i], sum);
        }
        r->output[i] = ref_canonical(sum);
    }
}

static attention_row place_row(const wefti_cpu_call *call, int64_t index)
{
    const wefti_attention_params *p = call->params;
    const int64_t query = index % p->query_length;
    const int64_t head = index / p->query_length % p->heads;
    const int64_t batch = index / p->query_length / p->heads;
    const int64_t kv_head = head / (p->heads / p->kv_heads);
    attention_row r = {.p = p};
    r.q = (const float *)call->operands[WEFTI_ATTENTION_Q] + batch * p->q.batch +
          head * p->q.head + query * p->q.row;
    r.k = (const float *)call->operands[WEFTI_ATTENTION_K] + batch * p->k.batch +
          kv_head * p->k.head;
    r.v = (const float *)call->operands[WEFTI_ATTENTION_V] + batch * p->v.batch +
          kv_head * p->v.head;
    r.output = (float *)call->operands[WEFTI_ATTENTION_OUTPUT] +
               batch * p->output.batch + head * p->output.head + query * p->output.row;
    const char *mask = call->operands[WEFTI_ATTENTION_MASK];
    if (mask != NULL) {
        const int64_t at = batch * p->mask_strides[0] + head * p->mask_strides[1] +
                           query * p->mask_strides[2];
        r.mask = mask + at * (int64_t)weft_type_size(p->mask_type);
    }
    r.visible = p->causal ? query + p->key_length - p->query_length + 1 : p->key_length;
    return r;
}

static weft_status attention_rows(const wefti_cpu_call *call, void *scratch,
                                  int64_t begin, int64_t end, weft_error *error)
{
    (void)error;
    for (int64_t tile = begin; tile < end; tile++) {
        attention_row row = place_row(call, tile);
        run_row(&row, scratch);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_attention_reference(const wefti_step *step, bool may_pack,
                                              wefti_cpu_prepared *prepared,
                                              weft_error *error)
{
    (void)may_pack;
    (void)error;
    const wefti_attention_params *p = step->params;
    prepared->function = attention_rows;
    prepared->tile_count = p->batch * p->heads * p->query_length;
    prepared->scratch_bytes = sizeof(float) * (size_t)p->key_length;
    prepared->work_ns = (double)prepared->tile_count *
                        (double)(p->head_size + p->value_size + 20) *
                        (double)p->key_length * 2.0;
    (void)snprintf(prepared->description, sizeof(prepared->description), "plain");
    return WEFT_OK;
}
