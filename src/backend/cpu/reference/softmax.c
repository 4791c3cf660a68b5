/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

static float lane_tree_max(float lane[16])
{
    for (int32_t step = 8; step >= 1; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            lane[j] = ref_max(lane[j], lane[j + step]);
        }
    }
    return lane[0];
}

static float lane_tree_sum(float lane[16])
{
    for (int32_t step = 8; step >= 1; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            lane[j] = lane[j] + lane[j + step];
        }
    }
    return lane[0];
}

static void row(const float *x, float *y, int64_t count, bool logarithmic)
{
    float lane[16];
    for (int32_t j = 0; j < 16; j++) {
        lane[j] = -INFINITY;
    }
    for (int64_t i = 0; i < count; i++) {
        lane[i % 16] = ref_max(lane[i % 16], x[i]);
    }
    float largest = lane_tree_max(lane);
    memset(lane, 0, sizeof(lane));
    for (int64_t i = 0; i < count; i++) {
        lane[i % 16] = lane[i % 16] + ref_exp(x[i] - largest);
    }
    float sum = lane_tree_sum(lane);
    float inverse = 1.0f / sum;
    float logarithm = ref_log(sum);
    for (int64_t i = 0; i < count; i++) {
        float shifted = x[i] - largest;
        y[i] = ref_canonical(logarithmic ? shifted - logarithm
                                         : ref_exp(shifted) * inverse);
    }
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_softmax_params *p = call->params;
    int64_t last = ref_tile_start(p->row_count, end);
    for (int64_t i = ref_tile_start(p->row_count, begin); i < last; i++) {
        int64_t offset = i * p->column_count;
        row((const float *)call->operands[WEFTI_SOFTMAX_INPUT] + offset,
            (float *)call->operands[WEFTI_SOFTMAX_OUTPUT] + offset, p->column_count,
            p->logarithmic);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_softmax_reference(const wefti_step *step, bool may_pack,
                                            wefti_cpu_prepared *prepared,
                                            weft_error *error)
{
    (void)may_pack;
    const wefti_softmax_params *p = step->params;
    WEFTI_TRY(wefti_check_softmax(p, error));
    return ref_prepared(prepared, run, p->row_count,
                        100.0 + 40.0 * (double)p->column_count);
}
