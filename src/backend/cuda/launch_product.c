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

#define SHAPE(size, m, n, threads)                                                     \
    {                                                                                  \
        WEFTI_CUDA_weft_matmul_##size, WEFTI_CUDA_weft_conv_##size, m, n, threads      \
    }
static const tile_shape shapes[] = {
    SHAPE(128x128, 128, 128, 256), SHAPE(64x64, 64, 64, 128), SHAPE(32x64, 32, 64, 128),
    SHAPE(32x32, 32, 32, 128),     SHAPE(16x32, 16, 32, 128), SHAPE(8x32, 8, 32, 128),
    SHAPE(8x8, 8, 8, 64),
};

static int64_t tiles_of(int64_t size, int64_t tile)
{
    return size / tile + (size % tile != 0);
}

/* Fewer elements of B than these are read soon enough by few blocks. */
enum { SMALL_WEIGHTS = 1 << 16 };

/* The largest tile that is not mostly beyond m and n and still gives the card's
 * processors enough blocks. Smaller ones do a single product sooner, but less at once,
 * which is what many callers need: so half the processors are enough for those that are
 * nearly as quick. */
static const tile_shape *choose_shape(int64_t batch, int64_t m, int64_t n, int64_t k,
                                      int32_t processor_count)
{
    size_t last = WEFTI_COUNT_OF(shapes) - 1;
    for (size_t i = 0; i < last; i++) {
        const tile_shape *shape = &shapes[i];
        int64_t blocks = batch * tiles_of(m, shape->m) * tiles_of(n, shape->n);
        bool fits = m * 2 > shape->m && n * 2 > shape->n;
        int64_t enough = shape->m >= 64   ? processor_count
                         : shape->n == 64 ? processor_count * 3 / 4
                         : shape->m == 16 ? 0
                                          : processor_count / 2;
        if (shape->m == 8 && m <= 8 && n * k < SMALL_WEIGHTS) {
            enough = 0;
        }
        if (fits && blocks >= enough) {
            return shape;
        }
    }
    return &shapes[last];
}

/* The same for products whose operands all lie in whole fours (kernels/wide.cu), which
 * nearly all do: a thread has more outputs there, so small tiles are quick. */
typedef struct wide_shape {
    wefti_cuda_kernel kernel;
    int64_t m, n;
    uint32_t threads;
    int32_t eighths; /* from so many blocks for eight processors on */
} wide_shape;
static const wide_shape wide_shapes[] = {
    {WEFTI_CUDA_weft_wide_64x64, 64, 64, 128, 5},
    {WEFTI_CUDA_weft_wide_32x64, 32, 64, 64, 10},
    {WEFTI_CUDA_weft_wide_32x32, 32, 32, 64, 3},
    {WEFTI_CUDA_weft_wide_16x32, 16, 32, 64, 1},
};

#if defined(WEFT_TESTING)
static int32_t testing_wide = -1;

void wefti_cuda_testing_use_wide(int32_t shape)
{
    testing_wide = shape;
}

int32_t wefti_cuda_testing_wide_shapes(void)
{
    return (int32_t)WEFTI_COUNT_OF(wide_shapes);
}
#endif

/* NULL: another kind of tile is better, or none fits. */
static const wide_shape *choose_wide_shape(const wefti_cuda_matmul_call *call,
                                           int64_t batch, int32_t processor_count)
{
    const wefti_matmul_params *p = &call->p;
    if (!call->a_wide || !call->b_wide || !call->c_wide) {
        return NULL;
    }
#if defined(WEFT_TESTING)
    if (testing_wide >= 0) {
        return &wide_shapes[testing_wide];
    }
#endif
    for (size_t i = 0; i < WEFTI_COUNT_OF(wide_shapes); i++) {
        const wide_shape *shape = &wide_shapes[i];
        int64_t blocks = batch * tiles_of(p->m, shape->m) * tiles_of(p->n, shape->n);
        bool fits = p->m * 2 > shape->m && p->n * 2 > shape->n;
        if (fits && blocks * 8 >= (int64_t)processor_count * shape->eighths) {
            return shape;
        }
    }
    return NULL;
}

/* The same on tensor cores (kernels/mma_shapes.cu). `packed` takes a B that was laid
 * out along k. */
typedef struct mma_shape {
    wefti_cuda_kernel matmul, packed, conv;
    int64_t m, n;
} mma_shape;
enum { MMA_THREADS = 128, MMA_SHAPES = 3 };

#define MMA_SHAPE(format, size, m, n)                                                  \
    {                                                                                  \
        WEFTI_CUDA_weft_matmul_##format##_##size,                                      \
            WEFTI_CUDA_weft_packed_##format##_##size,                                  \
            WEFTI_CUDA_weft_conv_##format##_##size, m, n                               \
    }
#define MMA_FORMAT_SHAPES(format)                                                      \
    {                                                                                  \
        MMA_SHAPE(format, 64x64, 64, 64), MMA_SHAPE(format, 32x32, 32, 32),            \
            MMA_SHAPE(format, 16x32, 16, 32)                                           \
    }
static const mma_shape mma_shapes[WEFT_PRECISION_COUNT][MMA_SHAPES] = {
    [WEFT_PRECISION_TF32] = MMA_FORMAT_SHAPES(tf32),
    [WEFT_PRECISION_BF16] = MMA_FORMAT_SHAPES(bf16),
    [WEFT_PRECISION_F16] = MMA_FORMAT_SHAPES(f16),
};

#if defined(WEFT_TESTING)
static int32_t testing_shape = -1;

void wefti_cuda_testing_use_tiles(int32_t shape)
{
    testing_shape = shape;
}
#endif

/* The largest that is not mostly beyond m and n and gives half the processors a
 * block. */
static const mma_shape *choose_mma_shape(wefti_cuda_choice choice, int64_t batch,
                                         int64_t m, int64_t n)
{
    const mma_shape *own = mma_shapes[choice.precision];
#if defined(WEFT_TESTING)
    if (testing_shape >= 0) {
        return &own[testing_shape];
    }
#endif
    for (size_t i = 0; i < MMA_SHAPES - 1; i++) {
        int64_t blocks = batch * tiles_of(m, own[i].m) * tiles_of(n, own[i].n);
        bool fits = m * 2 > own[i].m && n * 2 > own[i].n;
        if (fits && blocks >= choice.processor_count / 2) {
            return &own[i];
        }
    }
    return &own[MMA_SHAPES - 1];
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
 * or of 16 where they are the caller's on the card, and the buffers of the workspace at
 * multiples of 64. */
static void choose_width(const wefti_step *step, wefti_cuda_matmul_call *call)
{
    const wefti_matmul_params *p = &call->p;
    int64_t a[1 + WEFTI_MATMUL_MAX_BATCH_RANK], b[1 + WEFTI_MATMUL_MAX_BATCH_RANK];
    int64_t c[1 + WEFTI_MATMUL_MAX_BATCH_RANK];
    a[0] = p->a_row_stride;
    b[0] = p->b_row_stride;
    c[0] = p->c_row_stride;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        a[1 + d] = p->a_batch_strides[d];
        b[1 + d] = p->b_batch_strides[d];
        c[1 + d] = p->c_batch_strides[d];
    }
    int32_t count = 1 + p->batch_rank;
    call->a_wide = p->a_column_stride == 1 &&
                   is_wide(&step->operands[WEFTI_MATMUL_A], p->k, a, count);
    call->b_wide =
        call->b_wide || (p->b_column_stride == 1 &&
                         is_wide(&step->operands[WEFTI_MATMUL_B], p->n, b, count));
    call->c_wide = is_wide(&step->operands[WEFTI_MATMUL_C], p->n, c, count);
    call->residual_wide =
        is_wide(&step->operands[WEFTI_MATMUL_RESIDUAL], p->n, c, count);
    b[0] = p->b_column_stride;
    call->b_deep = !call->b_wide && p->b_row_stride == 1 &&
                   is_wide(&step->operands[WEFTI_MATMUL_B], p->k, b, count);
}

/* Whether B is one constant matrix. */
static bool is_constant(const wefti_step *step, const wefti_matmul_params *p)
{
    bool one = step->operands[WEFTI_MATMUL_B].constant != NULL;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        one = one && p->b_batch_strides[d] == 0;
    }
    return one;
}

/* A constant B that lies along k is turned when it is brought to the card, and its rows
 * made whole fours. */
static void choose_packing(const wefti_step *step, wefti_cuda_prepared *prepared)
{
    wefti_matmul_params *p = &prepared->call.matmul.p;
    if (!is_constant(step, p) ||
        (p->b_column_stride == 1 && p->b_row_stride % 4 == 0) || p->n < 2 || p->k < 1) {
        return;
    }
    int64_t pitch = (p->n + 3) / 4 * 4;
    prepared->pack_operand = WEFTI_MATMUL_B;
    prepared->pack = (wefti_cuda_pack){.rows = p->k,
                                       .columns = p->n,
                                       .row_stride = p->b_row_stride,
                                       .column_stride = p->b_column_stride,
                                       .pitch = pitch,
                                       .type = WEFT_TYPE_F32};
    p->b_row_stride = pitch;
    p->b_column_stride = 1;
    prepared->call.matmul.b_wide = 1;
}

/* Tensor cores take a constant B along k, rounded once; rows are whole pieces of 16
 * bytes. tf32 has no type of its own and is rounded where it is used. False: B is read
 * as it is. */
static bool pack_for_mma(const wefti_step *step, weft_precision precision,
                         wefti_cuda_prepared *prepared)
{
    wefti_matmul_params *p = &prepared->call.matmul.p;
    if (!is_constant(step, p) || p->k < 1) {
        return false;
    }
    const weft_type type = precision == WEFT_PRECISION_BF16  ? WEFT_TYPE_BF16
                           : precision == WEFT_PRECISION_F16 ? WEFT_TYPE_F16
                                                             : WEFT_TYPE_F32;
    const int64_t together = 16 / (int64_t)weft_type_size(type);
    prepared->pack_operand = WEFTI_MATMUL_B;
    prepared->pack = (wefti_cuda_pack){.rows = p->n,
                                       .columns = p->k,
                                       .row_stride = p->b_column_stride,
                                       .column_stride = p->b_row_stride,
                                       .pitch = tiles_of(p->k, together) * together,
                                       .type = type};
    p->b_column_stride = prepared->pack.pitch;
    p->b_row_stride = 1;
    return true;
}

/* Gives each tile of m x n a block. */
static weft_status spread_matmul(wefti_cuda_prepared *prepared, int64_t batch,
                                 int64_t tile_m, int64_t tile_n, weft_error *error)
{
    wefti_cuda_matmul_call *call = &prepared->call.matmul;
    call->m_tiles = tiles_of(call->p.m, tile_m);
    call->n_tiles = tiles_of(call->p.n, tile_n);
    if (WEFTI_MUL_OVERFLOWS(batch, call->m_tiles * call->n_tiles, &prepared->blocks)) {
        return wefti_error(error, WEFT_UNSUPPORTED, "matmul: too many tiles");
    }
    return WEFT_OK;
}

weft_status wefti_cuda_prepare_matmul(const wefti_step *step, wefti_cuda_choice choice,
                                      wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_matmul_call *call = &prepared->call.matmul;
    const wefti_matmul_params *p = &call->p;
    call->p = *(const wefti_matmul_params *)step->params;
    int64_t batch = 1;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        batch *= p->batch_dims[d];
    }
    if (choice.precision != WEFT_PRECISION_F32) {
        const mma_shape *shape = choose_mma_shape(choice, batch, p->m, p->n);
        bool packed = pack_for_mma(step, choice.precision, prepared);
        choose_width(step, call);
        prepared->kernel = packed ? shape->packed : shape->matmul;
        prepared->threads = MMA_THREADS;
        return spread_matmul(prepared, batch, shape->m, shape->n, error);
    }
    choose_packing(step, prepared);
    choose_width(step, call);
    const wide_shape *wide = choose_wide_shape(call, batch, choice.processor_count);
    if (wide != NULL) {
        prepared->kernel = wide->kernel;
        prepared->threads = wide->threads;
        return spread_matmul(prepared, batch, wide->m, wide->n, error);
    }
    const tile_shape *shape =
        choose_shape(batch, p->m, p->n, p->k, choice.processor_count);
    prepared->kernel = shape->matmul;
    prepared->threads = shape->threads;
    return spread_matmul(prepared, batch, shape->m, shape->n, error);
}

/* Which input each weight of an output channel meets, and behind it the place of each
 * position of the kernel. */
static weft_status make_taps(const wefti_conv_params *p, int64_t real_count,
                             wefti_cuda_prepared *prepared, weft_error *error)
{
    const int64_t count = tiles_of(real_count, WEFTI_CUDA_CONV_TAPS_TOGETHER) *
                          WEFTI_CUDA_CONV_TAPS_TOGETHER;
    const int64_t *kernel = p->kernel_dims;
    const int64_t positions = kernel[0] * kernel[1] * kernel[2];
    const int64_t plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    size_t bytes, more;
    if (WEFTI_MUL_OVERFLOWS((size_t)count, sizeof(wefti_cuda_tap), &bytes) ||
        WEFTI_MUL_OVERFLOWS((size_t)positions, sizeof(wefti_cuda_position), &more) ||
        WEFTI_ADD_OVERFLOWS(bytes, more, &bytes) ||
        p->in_channels / p->groups * plane > INT32_MAX) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "conv: an image has more than 2^31 elements in a group");
    }
    wefti_cuda_tap *table = wefti_malloc(bytes == 0 ? 1 : bytes);
    if (table == NULL) {
        return wefti_error_memory(error, "the taps of a convolution");
    }
    wefti_cuda_position *places = (wefti_cuda_position *)(void *)(table + count);
    for (int64_t i = 0; i < positions; i++) {
        places[i] = (wefti_cuda_position){
            .x = (int32_t)(i % kernel[2] * p->dilations[2]),
            .y = (int32_t)(i / kernel[2] % kernel[1] * p->dilations[1]),
            .z = (int32_t)(i / kernel[2] / kernel[1] * p->dilations[0]),
        };
    }
    for (int64_t k = 0; k < count; k++) {
        const int32_t position = (int32_t)(k % positions);
        const wefti_cuda_position *at = &places[position];
        int64_t offset = k / positions * plane +
                         (at->z * p->in_dims[1] + at->y) * p->in_dims[2] + at->x;
        bool known = position < WEFTI_CUDA_CONV_KNOWN_POSITIONS;
        table[k] = (wefti_cuda_tap){(int32_t)offset, position + !known};
        if (k >= real_count) {
            table[k] = (wefti_cuda_tap){0, WEFTI_CUDA_CONV_KNOWN_POSITIONS};
        }
    }
    prepared->call.conv.tap_count = count;
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

/* Chooses the tiles. */
static void spread_conv(const wefti_conv_params *p, wefti_cuda_choice choice,
                        wefti_cuda_prepared *prepared)
{
    wefti_cuda_conv_call *call = &prepared->call.conv;
    int64_t tile_m, tile_n;
    if (choice.precision != WEFT_PRECISION_F32) {
        const mma_shape *shape = choose_mma_shape(choice, p->groups, call->m, call->n);
        prepared->kernel = shape->conv;
        prepared->threads = MMA_THREADS;
        tile_m = shape->m;
        tile_n = shape->n;
    } else {
        const tile_shape *shape =
            choose_shape(p->groups, call->m, call->n, call->k, choice.processor_count);
        prepared->kernel = shape->conv;
        prepared->threads = shape->threads;
        tile_m = shape->m;
        tile_n = shape->n;
    }
    call->m_tiles = tiles_of(call->m, tile_m);
    call->n_tiles = tiles_of(call->n, tile_n);
    prepared->blocks = p->groups * call->m_tiles * call->n_tiles;
}

weft_status wefti_cuda_prepare_conv(const wefti_step *step, wefti_cuda_choice choice,
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
    call->positions =
        (int32_t)(p->kernel_dims[0] * p->kernel_dims[1] * p->kernel_dims[2]);
    call->a_wide =
        call->k % 4 == 0 && step->operands[WEFTI_CONV_WEIGHT].offset_bytes % 16 == 0;
    call->c_wide = p->out_dims[0] * p->out_dims[1] * p->out_dims[2] % 4 == 0 &&
                   step->operands[WEFTI_CONV_OUTPUT].offset_bytes % 16 == 0;
    spread_conv(p, choice, prepared);
    return make_taps(p, call->k, prepared, error);
}
