/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* Positions of the window along one dimension: [first, last). */
typedef struct range {
    int64_t first, last;
} range;

/* Those from which an input in [low, high) is read. */
static range positions(const wefti_pool_params *p, int32_t d, int64_t out, int64_t low,
                       int64_t high)
{
    int64_t start = out * p->strides[d] - p->pads_begin[d], step = p->dilations[d];
    int64_t first = start < low ? (low - start + step - 1) / step : 0;
    int64_t last = start < high ? (high - start + step - 1) / step : 0;
    last = last > p->kernel_dims[d] ? p->kernel_dims[d] : last;
    return (range){first < last ? first : last, last};
}

static float pooled(const wefti_pool_params *p, const float *plane,
                    const int64_t out[3])
{
    range inside[3];
    int64_t padded = 1, filled = 1;
    for (int32_t d = 0; d < 3; d++) {
        range all =
            positions(p, d, out[d], -p->pads_begin[d], p->in_dims[d] + p->pads_end[d]);
        inside[d] = positions(p, d, out[d], 0, p->in_dims[d]);
        padded *= all.last - all.first;
        filled *= inside[d].last - inside[d].first;
    }
    float sum = 0.0f, largest = -INFINITY;
    for (int64_t k = 0; k < filled; k++) {
        int64_t at[3], rest = k;
        for (int32_t d = 2; d >= 0; d--) {
            int64_t count = inside[d].last - inside[d].first;
            at[d] = out[d] * p->strides[d] - p->pads_begin[d] +
                    (inside[d].first + rest % count) * p->dilations[d];
            rest /= count;
        }
        float v = plane[(at[0] * p->in_dims[1] + at[1]) * p->in_dims[2] + at[2]];
        sum = sum + v;
        largest = ref_max(largest, v);
    }
    if (!p->average) {
        return ref_canonical(largest);
    }
    int64_t divisor = p->count_include_pad ? padded : filled;
    return divisor == 0 ? 0.0f : ref_canonical(sum / (float)divisor);
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_pool_params *p = call->params;
    const float *input = call->operands[WEFTI_POOL_INPUT];
    float *output = call->operands[WEFTI_POOL_OUTPUT];
    int64_t in_size = ref_count(3, p->in_dims), out_size = ref_count(3, p->out_dims);
    int64_t count = p->plane_count * out_size;
    int64_t last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t out[3] = {i / (p->out_dims[2] * p->out_dims[1]) % p->out_dims[0],
                          i / p->out_dims[2] % p->out_dims[1], i % p->out_dims[2]};
        output[i] = pooled(p, input + i / out_size * in_size, out);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_pool_reference(const wefti_step *step, bool may_pack,
                                         wefti_cpu_prepared *prepared,
                                         weft_error *error)
{
    (void)may_pack;
    const wefti_pool_params *p = step->params;
    WEFTI_TRY(wefti_check_pool(p, error));
    return ref_prepared(prepared, run, p->plane_count * ref_count(3, p->out_dims),
                        20.0 + 10.0 * (double)p->kernel_dims[0] *
                                   (double)p->kernel_dims[1] *
                                   (double)p->kernel_dims[2]);
}
