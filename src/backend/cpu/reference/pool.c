/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

typedef struct window {
    float sum, largest;
    int64_t inside; /* positions that hold data */
    int64_t padded; /* these and those in the declared padding */
} window;

static void visit(const wefti_pool_params *p, const float *plane, const int64_t at[3],
                  window *w)
{
    bool inside = true, padded = true;
    for (int32_t i = 0; i < 3; i++) {
        inside = inside && at[i] >= 0 && at[i] < p->in_dims[i];
        padded = padded && at[i] >= -p->pads_begin[i] &&
                 at[i] < p->in_dims[i] + p->pads_end[i];
    }
    w->padded += padded;
    if (inside) {
        float v = plane[(at[0] * p->in_dims[1] + at[1]) * p->in_dims[2] + at[2]];
        w->inside++;
        w->sum = w->sum + v;
        w->largest = ref_max(w->largest, v);
    }
}

static float pooled(const wefti_pool_params *p, const float *plane,
                    const int64_t out[3])
{
    window w = {0.0f, -INFINITY, 0, 0};
    int64_t kernel = p->kernel_dims[0] * p->kernel_dims[1] * p->kernel_dims[2];
    for (int64_t k = 0; k < kernel; k++) {
        int64_t at[3], rest = k;
        for (int32_t i = 2; i >= 0; i--) {
            int64_t position = rest % p->kernel_dims[i];
            rest /= p->kernel_dims[i];
            at[i] =
                out[i] * p->strides[i] - p->pads_begin[i] + position * p->dilations[i];
        }
        visit(p, plane, at, &w);
    }
    if (!p->average) {
        return ref_canonical(w.largest);
    }
    int64_t divisor = p->count_include_pad ? w.padded : w.inside;
    return divisor == 0 ? 0.0f : ref_canonical(w.sum / (float)divisor);
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
                        20.0 + 10.0 * (double)ref_count(3, p->kernel_dims));
}
