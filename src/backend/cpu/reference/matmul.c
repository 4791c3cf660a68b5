/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/reference/finish.h"
#include "backend/cpu/reference/reference.h"

/* One tile is one row of one product. */

typedef struct matmul_row {
    const float *a, *b;
    const float *bias, *residual; /* NULL where absent */
    float *c;
    int64_t row;
} matmul_row;

static float element(const wefti_matmul_params *p, const matmul_row *r, int64_t n)
{
    float sum = 0.0f;
    for (int64_t k = 0; k < p->k; k++) {
        sum = fmaf(r->a[k * p->a_column_stride],
                   r->b[k * p->b_row_stride + n * p->b_column_stride], sum);
    }
    sum = p->alpha != 1.0f ? sum * p->alpha : sum;
    if (p->bias != WEFTI_BIAS_NONE) {
        sum += r->bias[p->bias == WEFTI_BIAS_COLUMN ? n : r->row];
    }
    sum = r->residual != NULL ? sum + r->residual[n] : sum;
    return finish_activate(p->activation, p->activation_alpha, sum);
}

static weft_status matmul_rows(const wefti_cpu_call *call, void *scratch, int64_t begin,
                               int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_matmul_params *p = call->params;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t row = tile % p->m;
        int64_t index = tile / p->m;
        int64_t a = row * p->a_row_stride, b = 0, c = row * p->c_row_stride;
        for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
            const int64_t i = index % p->batch_dims[d];
            index /= p->batch_dims[d];
            a += i * p->a_batch_strides[d];
            b += i * p->b_batch_strides[d];
            c += i * p->c_batch_strides[d];
        }
        const float *residual = call->operands[WEFTI_MATMUL_RESIDUAL];
        matmul_row r = {
            .a = (const float *)call->operands[WEFTI_MATMUL_A] + a,
            .b = (const float *)call->operands[WEFTI_MATMUL_B] + b,
            .bias = call->operands[WEFTI_MATMUL_BIAS],
            .residual = residual == NULL ? NULL : residual + c,
            .c = (float *)call->operands[WEFTI_MATMUL_C] + c,
            .row = row,
        };
        for (int64_t n = 0; n < p->n; n++) {
            r.c[n] = element(p, &r, n);
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_matmul_reference(const wefti_step *step, bool may_pack,
                                           wefti_cpu_prepared *prepared,
                                           weft_error *error)
{
    (void)may_pack;
    (void)error;
    const wefti_matmul_params *p = step->params;
    int64_t batch = 1;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        batch *= p->batch_dims[d];
    }
    prepared->function = matmul_rows;
    prepared->tile_count = batch * p->m;
    prepared->work_ns =
        (double)prepared->tile_count * (double)p->n * (double)(p->k + 4) * 2.0;
    (void)snprintf(prepared->description, sizeof(prepared->description), "plain");
    return WEFT_OK;
}
