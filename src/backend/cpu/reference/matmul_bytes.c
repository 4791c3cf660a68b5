/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

static int32_t byte_at(const void *data, int64_t index, bool is_signed)
{
    return is_signed ? ((const int8_t *)data)[index] : ((const uint8_t *)data)[index];
}

static int32_t element(const wefti_cpu_call *call, int64_t row, int64_t column)
{
    const wefti_matmul_bytes_params *p = call->params;
    const void *a = call->operands[WEFTI_MATMUL_BYTES_A];
    const void *b = call->operands[WEFTI_MATMUL_BYTES_B];
    const void *a_zero = call->operands[WEFTI_MATMUL_BYTES_A_ZERO];
    const void *b_zero = call->operands[WEFTI_MATMUL_BYTES_B_ZERO];
    const int64_t first = row / p->m * p->k * p->n;
    const int32_t left = a_zero == NULL ? 0 : byte_at(a_zero, 0, p->a_signed);
    const int64_t which = p->b_zero_by_column ? column : 0;
    const int32_t right = b_zero == NULL ? 0 : byte_at(b_zero, which, p->b_signed);
    uint32_t sum = 0;
    for (int64_t k = 0; k < p->k; k++) {
        const int32_t x = byte_at(a, row * p->k + k, p->a_signed) - left;
        const int32_t y = byte_at(b, first + k * p->n + column, p->b_signed) - right;
        sum += (uint32_t)(x * y);
    }
    return (int32_t)sum;
}

static weft_status matmul_bytes(const wefti_cpu_call *call, void *scratch,
                                int64_t begin, int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_matmul_bytes_params *p = call->params;
    int32_t *c = call->operands[WEFTI_MATMUL_BYTES_C];
    const int64_t count = p->batch * p->m * p->n;
    const int64_t last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        c[i] = element(call, i / p->n, i % p->n);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_matmul_bytes_reference(const wefti_step *step, bool may_pack,
                                                 wefti_cpu_prepared *prepared,
                                                 weft_error *error)
{
    (void)may_pack;
    (void)error;
    const wefti_matmul_bytes_params *p = step->params;
    return ref_prepared(prepared, matmul_bytes, p->batch * p->m * p->n,
                        1.0 + (double)p->k);
}
