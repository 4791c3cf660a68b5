/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

static float lane_tree(float lane[16])
{
    for (int32_t step = 8; step >= 1; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            lane[j] = lane[j] + lane[j + step];
        }
    }
    return lane[0];
}

static float element(const wefti_cpu_call *call, int64_t index)
{
    float s = ((const float *)call->operands[WEFTI_LAYER_NORM_INPUT])[index];
    const float *residual = call->operands[WEFTI_LAYER_NORM_RESIDUAL];
    return residual != NULL ? s + residual[index] : s;
}

static float scaled(const wefti_cpu_call *call, int64_t column, float v)
{
    const float *scale = call->operands[WEFTI_LAYER_NORM_SCALE];
    const float *bias = call->operands[WEFTI_LAYER_NORM_BIAS];
    if (scale != NULL && bias != NULL) {
        return fmaf(v, scale[column], bias[column]);
    }
    if (scale != NULL) {
        return v * scale[column];
    }
    return bias != NULL ? v + bias[column] : v;
}

static void store(const wefti_cpu_call *call, int32_t operand, int64_t index, float v)
{
    float *output = call->operands[operand];
    if (output != NULL) {
        output[index] = ref_canonical(v);
    }
}

static void row(const wefti_cpu_call *call, int64_t index)
{
    const wefti_layer_norm_params *p = call->params;
    int64_t n = p->column_count;
    float lane[16] = {0.0f};
    for (int64_t i = 0; i < n; i++) {
        lane[i % 16] = lane[i % 16] + element(call, index * n + i);
    }
    float mean = p->root_mean_square ? 0.0f : lane_tree(lane) / (float)n;
    memset(lane, 0, sizeof(lane));
    for (int64_t i = 0; i < n; i++) {
        float d = element(call, index * n + i) - mean;
        lane[i % 16] = fmaf(d, d, lane[i % 16]);
    }
    float variance = lane_tree(lane) / (float)n;
    float inverse = 1.0f / sqrtf(variance + p->epsilon);
    for (int64_t i = 0; i < n; i++) {
        float s = element(call, index * n + i);
        store(call, WEFTI_LAYER_NORM_SUM, index * n + i, s);
        store(call, WEFTI_LAYER_NORM_OUTPUT, index * n + i,
              scaled(call, i, (s - mean) * inverse));
    }
    store(call, WEFTI_LAYER_NORM_MEAN, index, mean);
    store(call, WEFTI_LAYER_NORM_INVERSE, index, inverse);
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_layer_norm_params *p = call->params;
    int64_t last = ref_tile_start(p->row_count, end);
    for (int64_t i = ref_tile_start(p->row_count, begin); i < last; i++) {
        row(call, i);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_layer_norm_reference(const wefti_step *step, bool may_pack,
                                               wefti_cpu_prepared *prepared,
                                               weft_error *error)
{
    (void)may_pack;
    const wefti_layer_norm_params *p = step->params;
    WEFTI_TRY(wefti_check_layer_norm(p, error));
    return ref_prepared(prepared, run, p->row_count,
                        100.0 + 20.0 * (double)p->column_count);
}
