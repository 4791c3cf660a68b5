/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* POOL_INDICES: the largest of each window and where it is. */

/* Place i of the window along axis j, or -1 in the padding. */
static int64_t place(const wefti_pool_params *p, int32_t j, int64_t out, int64_t i)
{
    int64_t at = out * p->strides[j] - p->pads_begin[j] + i * p->dilations[j];
    return at >= 0 && at < p->in_dims[j] ? at : -1;
}

static int64_t number_of(const wefti_pool_indices_params *q, const int64_t at[3])
{
    const int64_t *dims = q->pool.in_dims;
    return q->column_major ? at[0] + dims[0] * (at[1] + dims[1] * at[2])
                           : (at[0] * dims[1] + at[1]) * dims[2] + at[2];
}

static void find_largest(const wefti_pool_indices_params *q, const float *plane,
                         const int64_t out[3], float *value, int64_t *index)
{
    const wefti_pool_params *p = &q->pool;
    const int64_t *k = p->kernel_dims;
    *value = -INFINITY;
    *index = -1;
    for (int64_t i = 0; i < k[0] * k[1] * k[2]; i++) {
        const int64_t at[3] = {place(p, 0, out[0], i / (k[1] * k[2])),
                               place(p, 1, out[1], i / k[2] % k[1]),
                               place(p, 2, out[2], i % k[2])};
        if (at[0] < 0 || at[1] < 0 || at[2] < 0) {
            continue;
        }
        float x = plane[(at[0] * p->in_dims[1] + at[1]) * p->in_dims[2] + at[2]];
        if (*index < 0 || x > *value || (x != x && *value == *value)) {
            *value = x;
            *index = number_of(q, at);
        }
    }
}

static weft_status pool(const wefti_cpu_call *call, void *scratch, int64_t begin,
                        int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_pool_indices_params *q = call->params;
    const wefti_pool_params *p = &q->pool;
    const float *input = call->operands[WEFTI_POOL_INDICES_INPUT];
    float *values = call->operands[WEFTI_POOL_INDICES_VALUES];
    int64_t *indices = call->operands[WEFTI_POOL_INDICES_INDICES];
    int64_t in = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    int64_t cells = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    int64_t count = p->plane_count * cells, last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t cell = i % cells, number = i / cells, row = cell / p->out_dims[2];
        const int64_t out[3] = {row / p->out_dims[1], row % p->out_dims[1],
                                cell % p->out_dims[2]};
        float value;
        int64_t index;
        find_largest(q, input + number * in, out, &value, &index);
        if (values != NULL) {
            values[i] = value;
        }
        indices[i] = number * in + (index < 0 ? 0 : index);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_pool_indices_reference(const wefti_step *step, bool may_pack,
                                                 wefti_cpu_prepared *prepared,
                                                 weft_error *error)
{
    (void)may_pack;
    (void)error;
    const wefti_pool_params *p =
        &((const wefti_pool_indices_params *)step->params)->pool;
    double window = (double)p->kernel_dims[0] * (double)p->kernel_dims[1] *
                    (double)p->kernel_dims[2];
    return ref_prepared(prepared, pool,
                        p->plane_count * p->out_dims[0] * p->out_dims[1] *
                            p->out_dims[2],
                        2.0 + 3.0 * window);
}
