/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* FOLD: each output adds up the columns that reach it. */

/* The block whose kernel position reaches `out` along one dimension, or -1. */
static int64_t block_of(const wefti_fold_params *p, int32_t d, int64_t out,
                        int64_t position)
{
    int64_t at = out + p->pads_begin[d] - position * p->dilations[d];
    if (at < 0 || at % p->strides[d] != 0) {
        return -1;
    }
    at /= p->strides[d];
    return at < p->block_dims[d] ? at : -1;
}

/* Adds row `z`, `y` of one kernel position (in its row of columns) to a row of outputs.
 */
static void add_row(const wefti_fold_params *p, const float *blocks, int64_t position,
                    float *out)
{
    int64_t stride = p->strides[2];
    int64_t shift = position * p->dilations[2] - p->pads_begin[2];
    for (int64_t b = 0; b < p->block_dims[2]; b++) {
        int64_t x = b * stride + shift;
        if (x >= 0 && x < p->out_dims[2]) {
            out[x] += blocks[b];
        }
    }
}

static void fold_row(const wefti_fold_params *p, const float *columns, int64_t z,
                     int64_t y, float *out)
{
    const int64_t *k = p->kernel_dims, *b = p->block_dims;
    int64_t block_count = b[0] * b[1] * b[2];
    for (int64_t i = 0; i < k[0] * k[1]; i++) {
        int64_t block_z = block_of(p, 0, z, i / k[1]);
        int64_t block_y = block_of(p, 1, y, i % k[1]);
        if (block_z < 0 || block_y < 0) {
            continue;
        }
        for (int64_t j = 0; j < k[2]; j++) {
            const float *row = columns + (i * k[2] + j) * block_count;
            add_row(p, row + (block_z * b[1] + block_y) * b[2], j, out);
        }
    }
}

static weft_status fold(const wefti_cpu_call *call, void *scratch, int64_t begin,
                        int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_fold_params *p = call->params;
    const float *columns = call->operands[WEFTI_FOLD_COLUMNS];
    const float *bias = call->operands[WEFTI_FOLD_BIAS];
    float *output = call->operands[WEFTI_FOLD_OUTPUT];
    const int64_t *o = p->out_dims, *k = p->kernel_dims, *b = p->block_dims;
    int64_t rows = p->plane_count * o[0] * o[1], last = ref_tile_start(rows, end);
    int64_t plane_columns = k[0] * k[1] * k[2] * b[0] * b[1] * b[2];
    for (int64_t row = ref_tile_start(rows, begin); row < last; row++) {
        int64_t plane = row / (o[0] * o[1]);
        float *out = output + row * o[2];
        for (int64_t x = 0; x < o[2]; x++) {
            out[x] = bias == NULL ? 0 : bias[plane % p->channel_count];
        }
        fold_row(p, columns + plane * plane_columns, row / o[1] % o[0], row % o[1],
                 out);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_fold_reference(const wefti_step *step, bool may_pack,
                                         wefti_cpu_prepared *prepared,
                                         weft_error *error)
{
    (void)may_pack;
    const wefti_fold_params *p = step->params;
    for (int32_t d = 0; d < 3; d++) {
        if (p->strides[d] < 1 || p->dilations[d] < 1 || p->kernel_dims[d] < 1) {
            return wefti_error(error, WEFT_INTERNAL,
                               "fold: stride, dilation or kernel size below 1");
        }
    }
    const int64_t *o = p->out_dims, *k = p->kernel_dims;
    return ref_prepared(prepared, fold, p->plane_count * o[0] * o[1],
                        10.0 + (double)(o[2] * k[0] * k[1] * k[2]) /
                                   (double)(p->strides[0] * p->strides[1]));
}
