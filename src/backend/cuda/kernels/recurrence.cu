/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* LINEAR_ATTENTION and DETERMINANT: long chains, spread over what does not depend. */

#define RECURRENCE_THREADS WEFTI_CUDA_RECURRENCE_THREADS
#define DETERMINANT_THREADS 256

/* One column of one head's state. */
typedef struct recurrence_column {
    const wefti_linear_attention_params *p;
    void *const *operands;
    int64_t batch, head, at; /* which column */
    float *state;            /* [key_size], value_size apart */
} recurrence_column;

/* Row t of an operand [batch, times, heads * size]. */
WEFTI_DEVICE const float *recurrence_row(const recurrence_column *c, int32_t operand,
                                         int64_t t, int64_t row_size)
{
    return (const float *)c->operands[operand] +
           (c->batch * c->p->times + t) * row_size;
}

WEFTI_DEVICE void recurrence_decay(const recurrence_column *c, int64_t t)
{
    const wefti_linear_attention_params *p = c->p;
    const int64_t size = p->decay_by_key ? p->key_size : 1;
    const float *g =
        recurrence_row(c, WEFTI_LINEAR_ATTENTION_DECAY, t, p->kv_heads * size) +
        c->head * size;
    for (int64_t d = 0; d < p->key_size; d++) {
        c->state[d * p->value_size] *= ref_exp(g[p->decay_by_key ? d : 0]);
    }
}

/* The sum over d of x[d] * state[d]. */
WEFTI_DEVICE float recurrence_read(const recurrence_column *c, const float *x)
{
    float sum = 0.0f;
    for (int64_t d = 0; d < c->p->key_size; d++) {
        sum = sum + x[d] * c->state[d * c->p->value_size];
    }
    return sum;
}

/* What is written for this key: the value, or its difference from what is there. */
WEFTI_DEVICE float recurrence_change(const recurrence_column *c, const float *key,
                                     int64_t t)
{
    const wefti_linear_attention_params *p = c->p;
    const float value =
        recurrence_row(c, WEFTI_LINEAR_ATTENTION_V, t,
                       p->kv_heads * p->value_size)[c->head * p->value_size + c->at];
    if (c->operands[WEFTI_LINEAR_ATTENTION_BETA] == NULL) {
        return value;
    }
    const int64_t number = p->beta_heads > 1 ? c->head : 0;
    const float rate =
        recurrence_row(c, WEFTI_LINEAR_ATTENTION_BETA, t, p->beta_heads)[number];
    return rate * (value - recurrence_read(c, key));
}

WEFTI_DEVICE void recurrence_step(const recurrence_column *c, int64_t t)
{
    const wefti_linear_attention_params *p = c->p;
    const float *key =
        recurrence_row(c, WEFTI_LINEAR_ATTENTION_K, t, p->kv_heads * p->key_size) +
        c->head * p->key_size;
    if (c->operands[WEFTI_LINEAR_ATTENTION_DECAY] != NULL) {
        recurrence_decay(c, t);
    }
    const float change = recurrence_change(c, key, t);
    for (int64_t d = 0; d < p->key_size; d++) {
        c->state[d * p->value_size] = c->state[d * p->value_size] + key[d] * change;
    }
    const int64_t group = p->q_heads / p->kv_heads;
    const float *queries =
        recurrence_row(c, WEFTI_LINEAR_ATTENTION_Q, t, p->q_heads * p->key_size);
    float *output = (float *)c->operands[WEFTI_LINEAR_ATTENTION_OUTPUT] +
                    (c->batch * p->times + t) * p->q_heads * p->value_size + c->at;
    for (int64_t i = c->head * group; i < (c->head + 1) * group; i++) {
        output[i * p->value_size] =
            ref_canonical(recurrence_read(c, queries + i * p->key_size) * p->scale);
    }
}

/* A thread has one column of one head's state, which no other column touches. */
WEFTI_KERNEL(RECURRENCE_THREADS, weft_linear_attention, wefti_cuda_recurrence_call)
{
    const wefti_linear_attention_params *p = &call.p;
    const int64_t thread = (int64_t)blockIdx.x * RECURRENCE_THREADS + threadIdx.x;
    const int64_t head = thread / p->value_size, at = thread % p->value_size;
    if (head >= p->batch * p->kv_heads) {
        return;
    }
    const int64_t start = head * p->key_size * p->value_size + at;
    const float *past = (const float *)call.operands[WEFTI_LINEAR_ATTENTION_PAST];
    const recurrence_column column = {
        p,
        call.operands,
        head / p->kv_heads,
        head % p->kv_heads,
        at,
        (float *)call.operands[WEFTI_LINEAR_ATTENTION_STATE] + start};
    for (int64_t d = 0; d < p->key_size; d++) {
        column.state[d * p->value_size] =
            past != NULL ? past[start + d * p->value_size] : 0.0f;
    }
    for (int64_t t = 0; t < p->times; t++) {
        recurrence_step(&column, t);
    }
}

WEFTI_DEVICE int64_t determinant_pivot(const double *m, int64_t n, int64_t column)
{
    int64_t pivot = column;
    for (int64_t i = column + 1; i < n; i++) {
        pivot = fabs(m[i * n + column]) > fabs(m[pivot * n + column]) ? i : pivot;
    }
    return pivot;
}

/* Subtracts row k from those below it; the threads share the elements. */
WEFTI_DEVICE void determinant_eliminate(double *m, int64_t n, int64_t k, int64_t own)
{
    const int64_t width = n - k - 1;
    for (int64_t i = own; i < width * width; i += DETERMINANT_THREADS) {
        double *row = m + (k + 1 + i / width) * n;
        const int64_t j = k + 1 + i % width;
        const double factor = row[k] / m[k * n + k];
        row[j] = row[j] - factor * m[k * n + j];
    }
}

/* A block has a matrix, in doubles, in scratch memory. */
WEFTI_KERNEL(DETERMINANT_THREADS, weft_determinant, wefti_cuda_determinant_call)
{
    WEFTI_SHARED int64_t pivot[1];
    const int64_t n = call.p.n, size = n * n, own = (int64_t)threadIdx.x;
    const float *input =
        (const float *)call.operands[WEFTI_DETERMINANT_INPUT] + blockIdx.x * size;
    double *m =
        (double *)call.operands[WEFTI_CUDA_DETERMINANT_SCRATCH] + blockIdx.x * size;
    for (int64_t i = own; i < size; i += DETERMINANT_THREADS) {
        m[i] = (double)input[i];
    }
    double result = 1.0;
    for (int64_t k = 0; k < n; k++) {
        WEFTI_BARRIER();
        if (own == 0) {
            pivot[0] = determinant_pivot(m, n, k);
        }
        WEFTI_BARRIER();
        const int64_t at = pivot[0];
        for (int64_t i = own; i < n && at != k; i += DETERMINANT_THREADS) {
            const double x = m[at * n + i];
            m[at * n + i] = m[k * n + i];
            m[k * n + i] = x;
        }
        WEFTI_BARRIER();
        result = (at != k ? -result : result) * m[k * n + k];
        if (m[k * n + k] == 0.0) {
            break;
        }
        determinant_eliminate(m, n, k, own);
    }
    if (own == 0) {
        ((float *)call.operands[WEFTI_DETERMINANT_OUTPUT])[blockIdx.x] =
            ref_canonical((float)result);
    }
}
