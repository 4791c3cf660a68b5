/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/launch.h"

#include "base/memory.h"

/* The shapes of tiles (kernels/product.cu), the largest first. All give the same bits,
 * so the choice is free: large tiles read less per product, small ones keep more of the
 * card busy. */
typedef struct tile_shape {
    wefti_cuda_kernel matmul, conv;
    int64_t m, n;
    uint32_t threads;
} tile_shape;

static const tile_shape shapes[] = {
    {WEFTI_CUDA_weft_matmul_128x128, WEFTI_CUDA_weft_conv_128x128, 128, 128, 256},
    {WEFTI_CUDA_weft_matmul_64x64, WEFTI_CUDA_weft_conv_64x64, 64, 64, 256},
    {WEFTI_CUDA_weft_matmul_32x32, WEFTI_CUDA_weft_conv_32x32, 32, 32, 128},
    {WEFTI_CUDA_weft_matmul_8x32, WEFTI_CUDA_weft_conv_8x32, 8, 32, 128},
};

static int64_t tiles_of(int64_t size, int64_t tile)
{
    return size / tile + (size % tile != 0);
}

/* The largest tile that still gives every other processor of the card a block and is
 * not mostly beyond m. The steps along k take about the same time with all of them, so
 * a product of few outputs is done soonest by the smallest. */
static const tile_shape *choose_shape(int64_t batch, int64_t m, int64_t n,
                                      int32_t processor_count)
{
    size_t last = WEFTI_COUNT_OF(shapes) - 1;
    for (size_t i = 0; i < last; i++) {
        const tile_shape *shape = &shapes[i];
        int64_t blocks = batch * tiles_of(m, shape->m) * tiles_of(n, shape->n);
        bool fits = m * 2 > shape->m;
        if (fits && blocks * 2 >= processor_count) {
            return shape;
        }
    }
    return &shapes[last];
}

/* Whether four elements along the dense dimension of a matrix may be read at once: all
 * rows begin at a multiple of 16 bytes and are whole fours. `dense` is the size along
 * stride 1, `strides` are the others. */
static bool is_wide(const wefti_operand *operand, int64_t dense, const int64_t *strides,
                    int32_t stride_count)
{
    uint64_t together = (uint64_t)dense * 4 | (uint64_t)operand->offset_bytes;
    for (int32_t i = 0; i < stride_count; i++) {
        together |= (uint64_t)strides[i] * 4;
    }
    return together % 16 == 0;
}

/* Constants are copied to an aligned place; inputs and outputs lie at multiples of 256,
 * the buffers of the workspace at multiples of 64. */
static void choose_width(const wefti_step *step, wefti_cuda_matmul_call *call)
{
    const wefti_matmul_params *p = &call->p;
    int64_t a[1 + WEFTI_MATMUL_MAX_BATCH_RANK], b[1 + WEFTI_MATMUL_MAX_BATCH_RANK];
    const bool a_rows = p->a_column_stride == 1, b_rows = p->b_column_stride == 1;
    const bool a_dense = a_rows || p->a_row_stride == 1;
    const bool b_dense = b_rows || p->b_row_stride == 1;
    a[0] = a_rows ? p->a_row_stride : p->a_column_stride;
    b[0] = b_rows ? p->b_row_stride : p->b_column_stride;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        a[1 + d] = p->a_batch_strides[d];
        b[1 + d] = p->b_batch_strides[d];
    }
    call->a_wide = a_dense && is_wide(&step->operands[WEFTI_MATMUL_A],
                                      a_rows ? p->k : p->m, a, 1 + p->batch_rank);
    call->b_wide = b_dense && is_wide(&step->operands[WEFTI_MATMUL_B],
                                      b_rows ? p->n : p->k, b, 1 + p->batch_rank);
}

weft_status wefti_cuda_prepare_matmul(const wefti_step *step, int32_t processor_count,
                                      wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_matmul_call *call = &prepared->call.matmul;
    const wefti_matmul_params *p = &call->p;
    call->p = *(const wefti_matmul_params *)step->params;
    int64_t batch = 1;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        batch *= p->batch_dims[d];
    }
    const tile_shape *shape = choose_shape(batch, p->m, p->n, processor_count);
    call->m_tiles = tiles_of(p->m, shape->m);
    call->n_tiles = tiles_of(p->n, shape->n);
    choose_width(step, call);
    prepared->kernel = shape->matmul;
    prepared->threads = shape->threads;
    if (WEFTI_MUL_OVERFLOWS(batch, call->m_tiles * call->n_tiles, &prepared->blocks)) {
        return wefti_error(error, WEFT_UNSUPPORTED, "matmul: too many tiles");
    }
    return WEFT_OK;
}

/* Which input each weight of an output channel meets. */
static weft_status make_taps(const wefti_conv_params *p, int64_t count,
                             wefti_cuda_prepared *prepared, weft_error *error)
{
    const int64_t *kernel = p->kernel_dims;
    const int64_t taps = kernel[0] * kernel[1] * kernel[2];
    const int64_t plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    size_t bytes;
    if (WEFTI_MUL_OVERFLOWS((size_t)count, sizeof(wefti_cuda_tap), &bytes) ||
        p->in_channels / p->groups * plane > INT32_MAX) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "conv: an image has more than 2^31 elements in a group");
    }
    wefti_cuda_tap *table = wefti_malloc(bytes == 0 ? 1 : bytes);
    if (table == NULL) {
        return wefti_error_memory(error, "the taps of a convolution");
    }
    for (int64_t k = 0; k < count; k++) {
        int64_t tap = k % taps;
        int64_t x = tap % kernel[2] * p->dilations[2];
        int64_t y = tap / kernel[2] % kernel[1] * p->dilations[1];
        int64_t z = tap / kernel[2] / kernel[1] * p->dilations[0];
        int64_t offset = k / taps * plane + (z * p->in_dims[1] + y) * p->in_dims[2] + x;
        table[k] =
            (wefti_cuda_tap){(int32_t)offset, (int32_t)z, (int32_t)y, (int32_t)x};
    }
    prepared->table_operand = WEFTI_CUDA_CONV_TAPS;
    prepared->table = table;
    prepared->table_bytes = bytes;
    return WEFT_OK;
}

/* Positions are computed in 32 bits on the device. */
static bool fits_32_bits(const wefti_conv_params *p)
{
    int64_t out = 1;
    for (int32_t d = 0; d < 3; d++) {
        int64_t reach = p->out_dims[d] * p->strides[d] + p->pads_begin[d] +
                        p->kernel_dims[d] * p->dilations[d] + p->in_dims[d];
        out *= p->out_dims[d];
        if (reach > INT32_MAX / 4 || out > INT32_MAX) {
            return false;
        }
    }
    return true;
}

weft_status wefti_cuda_prepare_conv(const wefti_step *step, int32_t processor_count,
                                    wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_conv_call *call = &prepared->call.conv;
    const wefti_conv_params *p = &call->p;
    call->p = *(const wefti_conv_params *)step->params;
    if (!fits_32_bits(p)) {
        return wefti_error(
            error, WEFT_UNSUPPORTED,
            "conv: cuda takes planes of less than 2^29 positions a side");
    }
    call->m = p->out_channels / p->groups;
    call->n = p->batch * p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    call->k = p->in_channels / p->groups * p->kernel_dims[0] * p->kernel_dims[1] *
              p->kernel_dims[2];
    const tile_shape *shape =
        choose_shape(p->groups, call->m, call->n, processor_count);
    call->m_tiles = tiles_of(call->m, shape->m);
    call->n_tiles = tiles_of(call->n, shape->n);
    prepared->kernel = shape->conv;
    prepared->threads = shape->threads;
    prepared->blocks = p->groups * call->m_tiles * call->n_tiles;
    return make_taps(p, call->k, prepared, error);
}
