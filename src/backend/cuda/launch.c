/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/launch.h"

#include <string.h>

#include "backend/cpu/kernel_check.h"

enum {
    THREADS = 256,
    WIDE_COLUMNS = 2048,
    ROWS_OF_BLOCK = WEFTI_CUDA_ROWS_OF_BLOCK,
};

int32_t wefti_cuda_join(int32_t rank, int64_t *dims, int64_t *const *strides,
                        int32_t count)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] == 1) {
            continue;
        }
        bool joins = kept > 0;
        for (int32_t t = 0; t < count && joins; t++) {
            joins = strides[t][kept - 1] == strides[t][i] * dims[i];
        }
        kept -= joins;
        dims[kept] = joins ? dims[kept] * dims[i] : dims[i];
        for (int32_t t = 0; t < count; t++) {
            strides[t][kept] = strides[t][i];
        }
        kept++;
    }
    if (kept == 0) {
        dims[0] = 1;
        for (int32_t t = 0; t < count; t++) {
            strides[t][0] = 0;
        }
        kept = 1;
    }
    return kept;
}

static int64_t blocks_of(int64_t count, int64_t each)
{
    return count / each + (count % each != 0);
}

static void launch_elements(wefti_cuda_prepared *prepared, wefti_cuda_kernel kernel,
                            int64_t count)
{
    prepared->kernel = kernel;
    prepared->threads = THREADS;
    prepared->blocks = blocks_of(count, THREADS);
}

static weft_status prepare_copy(const wefti_step *step, wefti_cuda_prepared *prepared,
                                weft_error *error)
{
    wefti_cuda_copy_call *call = &prepared->call.copy;
    call->p = *(const wefti_copy_params *)step->params;
    WEFTI_TRY(wefti_check_copy(&call->p, &call->count, error));
    int64_t *const strides[] = {call->p.source_strides, call->p.target_strides};
    call->p.rank = wefti_cuda_join(call->p.rank, call->p.dims, strides, 2);
    launch_elements(prepared, WEFTI_CUDA_weft_copy, call->count);
    return WEFT_OK;
}

static weft_status prepare_fill(const wefti_step *step, wefti_cuda_prepared *prepared,
                                weft_error *error)
{
    wefti_cuda_fill_call *call = &prepared->call.fill;
    call->p = *(const wefti_fill_params *)step->params;
    WEFTI_TRY(wefti_check_fill(&call->p, &call->count, error));
    int64_t *const strides[] = {call->p.strides};
    call->p.rank = wefti_cuda_join(call->p.rank, call->p.dims, strides, 1);
    launch_elements(prepared, WEFTI_CUDA_weft_fill, call->count);
    return WEFT_OK;
}

static weft_status prepare_elementwise(const wefti_step *step,
                                       wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_elementwise_call *call = &prepared->call.elementwise;
    wefti_elementwise_params *p = &call->p;
    *p = *(const wefti_elementwise_params *)step->params;
    WEFTI_TRY(wefti_check_elementwise(p, &call->count, error));
    int64_t *strides[WEFTI_ELEMENTWISE_MAX_INPUTS];
    for (int32_t i = 0; i < WEFTI_ELEMENTWISE_MAX_INPUTS; i++) {
        strides[i] = p->input_strides[i];
    }
    p->rank = wefti_cuda_join(p->rank, p->dims, strides, p->input_count);
    wefti_cuda_kernel kernel = p->instruction_count == 1
                                   ? WEFTI_CUDA_weft_elementwise_one
                                   : WEFTI_CUDA_weft_elementwise;
    launch_elements(
        prepared, p->type == WEFT_TYPE_F32 ? kernel : WEFTI_CUDA_weft_elementwise_typed,
        call->count);
    return WEFT_OK;
}

static weft_status prepare_reduce(const wefti_step *step, wefti_cuda_prepared *prepared,
                                  weft_error *error)
{
    wefti_cuda_reduce_call *call = &prepared->call.reduce;
    wefti_reduce_params *p = &call->p;
    *p = *(const wefti_reduce_params *)step->params;
    WEFTI_TRY(wefti_check_reduce(p, &call->kept_count, &call->reduced_count, error));
    int64_t *const kept[] = {p->kept_strides}, *const reduced[] = {p->reduced_strides};
    p->kept_rank = wefti_cuda_join(p->kept_rank, p->kept_dims, kept, 1);
    p->reduced_rank = wefti_cuda_join(p->reduced_rank, p->reduced_dims, reduced, 1);
    prepared->kernel = p->type == WEFT_TYPE_F32   ? WEFTI_CUDA_weft_reduce_f32
                       : p->type == WEFT_TYPE_F64 ? WEFTI_CUDA_weft_reduce_f64
                       : p->type == WEFT_TYPE_I64 ? WEFTI_CUDA_weft_reduce_i64
                                                  : WEFTI_CUDA_weft_reduce_i32;
    prepared->threads = WEFTI_CUDA_ROWS_THREADS;
    prepared->blocks = blocks_of(call->kept_count, ROWS_OF_BLOCK);
    return WEFT_OK;
}

static weft_status prepare_softmax(const wefti_step *step,
                                   wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_softmax_params *p = &prepared->call.softmax.p;
    *p = *(const wefti_softmax_params *)step->params;
    WEFTI_TRY(wefti_check_softmax(p, error));
    bool wide = p->column_count >= WIDE_COLUMNS;
    prepared->kernel = wide                     ? WEFTI_CUDA_weft_softmax_wide
                       : p->column_count <= 64  ? WEFTI_CUDA_weft_softmax_64
                       : p->column_count <= 256 ? WEFTI_CUDA_weft_softmax_256
                                                : WEFTI_CUDA_weft_softmax;
    prepared->threads = wide ? WEFTI_CUDA_WIDE_THREADS : WEFTI_CUDA_ROWS_THREADS;
    prepared->blocks = p->column_count == 0 ? 0
                       : wide               ? p->row_count
                                            : blocks_of(p->row_count, ROWS_OF_BLOCK);
    return WEFT_OK;
}

static weft_status prepare_layer_norm(const wefti_step *step,
                                      wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_layer_norm_params *p = &prepared->call.layer_norm.p;
    *p = *(const wefti_layer_norm_params *)step->params;
    WEFTI_TRY(wefti_check_layer_norm(p, error));
    if (p->column_count > INT32_MAX / 2) {
        return wefti_error(error, WEFT_UNSUPPORTED, "layer norm: rows of 2^30 or more");
    }
    prepared->kernel = p->column_count <= 256    ? WEFTI_CUDA_weft_layer_norm_256
                       : p->column_count <= 1024 ? WEFTI_CUDA_weft_layer_norm_1024
                                                 : WEFTI_CUDA_weft_layer_norm;
    prepared->threads = WEFTI_CUDA_ROWS_THREADS;
    prepared->blocks = blocks_of(p->row_count, ROWS_OF_BLOCK);
    return WEFT_OK;
}

static weft_status prepare_pool(const wefti_step *step, wefti_cuda_prepared *prepared,
                                weft_error *error)
{
    wefti_cuda_pool_call *call = &prepared->call.pool;
    call->p = *(const wefti_pool_params *)step->params;
    WEFTI_TRY(wefti_check_pool(&call->p, error));
    call->count = call->p.plane_count * call->p.out_dims[0] * call->p.out_dims[1] *
                  call->p.out_dims[2];
    launch_elements(prepared, WEFTI_CUDA_weft_pool, call->count);
    return WEFT_OK;
}

/* The largest unit that divides rows and, with them, every address: tensors lie at
 * multiples of 16 and views begin at elements, of whose size a row is a multiple. */
static int32_t gather_unit(const wefti_step *step, int64_t inner_bytes)
{
    int32_t unit = 8;
    const wefti_operand *data = &step->operands[WEFTI_GATHER_DATA];
    const wefti_operand *output = &step->operands[WEFTI_GATHER_OUTPUT];
    uint64_t places = (uint64_t)inner_bytes | (uint64_t)data->offset_bytes |
                      (uint64_t)(uintptr_t)data->constant |
                      (uint64_t)output->offset_bytes;
    while (unit > 1 && places % (uint64_t)unit != 0) {
        unit /= 2;
    }
    return unit;
}

static weft_status prepare_gather(const wefti_step *step, wefti_cuda_prepared *prepared,
                                  weft_error *error)
{
    wefti_cuda_gather_call *call = &prepared->call.gather;
    call->p = *(const wefti_gather_params *)step->params;
    WEFTI_TRY(wefti_check_gather(&call->p, error));
    /* A report has this many bits for the position. */
    if (call->p.index_count >= INT64_C(1) << WEFTI_CUDA_REPORT_SHIFT) {
        return wefti_error(error, WEFT_UNSUPPORTED, "gather: too many indices");
    }
    prepared->report_operand = WEFTI_CUDA_GATHER_REPORT;
    call->unit_bytes = gather_unit(step, call->p.inner_bytes);
    call->count = call->p.outer_count * call->p.index_count * call->p.inner_bytes /
                  call->unit_bytes;
    launch_elements(prepared, WEFTI_CUDA_weft_gather, call->count);
    return WEFT_OK;
}

/* Whether rows of a tensor of heads are whole fours at aligned places. */
static bool is_wide(const wefti_operand *operand,
                    const wefti_attention_strides *strides, int64_t columns)
{
    return ((uint64_t)operand->offset_bytes / 4 | (uint64_t)strides->batch |
            (uint64_t)strides->head | (uint64_t)strides->row | (uint64_t)columns) %
               4 ==
           0;
}

/* What both kinds of kernel want; whether rows of keys are short. */
static bool begin_attention(const wefti_step *step, wefti_cuda_attention_call *call)
{
    const wefti_attention_params *p = &call->p;
    call->p = *(const wefti_attention_params *)step->params;
    call->wide = is_wide(&step->operands[WEFTI_ATTENTION_Q], &p->q, p->head_size) &&
                 is_wide(&step->operands[WEFTI_ATTENTION_K], &p->k, p->head_size) &&
                 is_wide(&step->operands[WEFTI_ATTENTION_V], &p->v, p->value_size);
    call->output_wide =
        is_wide(&step->operands[WEFTI_ATTENTION_OUTPUT], &p->output, p->value_size);
    return p->key_length <= WEFTI_CUDA_SHORT_ATTENTION_KEYS;
}

/* Whether scores stay in registers. Half as many keys are quicker the short way. */
static bool is_near(const wefti_cuda_attention_call *call)
{
    const wefti_attention_params *p = &call->p;
    return call->wide && p->key_length > WEFTI_CUDA_NEAR_ATTENTION_KEYS / 2 &&
           p->key_length <= WEFTI_CUDA_NEAR_ATTENTION_KEYS &&
           p->head_size <= WEFTI_CUDA_NEAR_ATTENTION_HEAD &&
           p->value_size <= WEFTI_CUDA_NEAR_ATTENTION_HEAD;
}

/* Scratch memory for so many scores. */
static weft_status need_scores(wefti_cuda_prepared *prepared, int64_t rows,
                               int64_t row_length, weft_error *error)
{
    int64_t bytes;
    if (WEFTI_MUL_OVERFLOWS(rows, row_length, &bytes) ||
        WEFTI_MUL_OVERFLOWS(bytes, (int64_t)sizeof(float), &bytes)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "attention: its scores do not fit into memory");
    }
    prepared->scratch_operand = WEFTI_CUDA_ATTENTION_SCORES;
    prepared->scratch_bytes = (size_t)bytes;
    return WEFT_OK;
}

/* On tensor cores: a block has 16 queries and whole rows of scores. */
static weft_status prepare_mma_attention(const wefti_step *step,
                                         wefti_cuda_choice choice,
                                         wefti_cuda_prepared *prepared,
                                         weft_error *error)
{
    static const struct {
        wefti_cuda_kernel few, many;
    } kernels[WEFT_PRECISION_COUNT] = {
        [WEFT_PRECISION_TF32] = {WEFTI_CUDA_weft_attention_short_tf32,
                                 WEFTI_CUDA_weft_attention_tf32},
        [WEFT_PRECISION_BF16] = {WEFTI_CUDA_weft_attention_short_bf16,
                                 WEFTI_CUDA_weft_attention_bf16},
        [WEFT_PRECISION_F16] = {WEFTI_CUDA_weft_attention_short_f16,
                                WEFTI_CUDA_weft_attention_f16},
    };
    wefti_cuda_attention_call *call = &prepared->call.attention;
    const wefti_attention_params *p = &call->p;
    bool is_short = begin_attention(step, call);
    call->query_tiles = blocks_of(p->query_length, WEFTI_CUDA_MMA_QUERIES);
    prepared->kernel =
        is_short ? kernels[choice.precision].few : kernels[choice.precision].many;
    prepared->threads = WEFTI_CUDA_SHORT_ATTENTION_THREADS;
    prepared->blocks = p->value_size == 0 ? 0 : p->batch * p->heads * call->query_tiles;
    int64_t pitch = blocks_of(p->key_length, WEFTI_CUDA_MMA_KEYS_TOGETHER) *
                    WEFTI_CUDA_MMA_KEYS_TOGETHER;
    int64_t rows;
    if (is_short) {
        return WEFT_OK;
    }
    if (WEFTI_MUL_OVERFLOWS(prepared->blocks, WEFTI_CUDA_MMA_QUERIES, &rows)) {
        rows = INT64_MAX;
    }
    return need_scores(prepared, rows, pitch, error);
}

static weft_status prepare_attention(const wefti_step *step,
                                     wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_attention_call *call = &prepared->call.attention;
    const wefti_attention_params *p = &call->p;
    static const struct {
        wefti_cuda_kernel kernel;
        int64_t queries;
        uint32_t threads;
    } kinds[] = {
        {WEFTI_CUDA_weft_attention, WEFTI_CUDA_ATTENTION_QUERIES, THREADS},
        {WEFTI_CUDA_weft_attention_short, WEFTI_CUDA_SHORT_ATTENTION_QUERIES,
         WEFTI_CUDA_SHORT_ATTENTION_THREADS},
        {WEFTI_CUDA_weft_attention_near, WEFTI_CUDA_NEAR_ATTENTION_QUERIES,
         WEFTI_CUDA_NEAR_ATTENTION_THREADS},
    };
    bool is_short = begin_attention(step, call);
    const int kind = !is_short ? 0 : is_near(call) ? 2 : 1;
    call->query_tiles = blocks_of(p->query_length, kinds[kind].queries);
    prepared->kernel = kinds[kind].kernel;
    prepared->threads = kinds[kind].threads;
    prepared->blocks = p->value_size == 0 ? 0 : p->batch * p->heads * call->query_tiles;
    int64_t rows;
    if (WEFTI_MUL_OVERFLOWS(p->batch * p->heads, p->query_length, &rows)) {
        rows = INT64_MAX;
    }
    return is_short ? WEFT_OK : need_scores(prepared, rows, p->key_length, error);
}

static weft_status prepare_kernel(const wefti_step *step, wefti_cuda_choice choice,
                                  wefti_cuda_prepared *prepared, weft_error *error)
{
    switch (step->kernel) {
    case WEFTI_KERNEL_COPY:
        return prepare_copy(step, prepared, error);
    case WEFTI_KERNEL_FILL:
        return prepare_fill(step, prepared, error);
    case WEFTI_KERNEL_ELEMENTWISE:
        return prepare_elementwise(step, prepared, error);
    case WEFTI_KERNEL_REDUCE:
        return prepare_reduce(step, prepared, error);
    case WEFTI_KERNEL_SOFTMAX:
        return prepare_softmax(step, prepared, error);
    case WEFTI_KERNEL_LAYER_NORM:
        return prepare_layer_norm(step, prepared, error);
    case WEFTI_KERNEL_MATMUL:
        return wefti_cuda_prepare_matmul(step, choice, prepared, error);
    case WEFTI_KERNEL_CONV:
        return wefti_cuda_prepare_conv(step, choice, prepared, error);
    case WEFTI_KERNEL_POOL:
        return prepare_pool(step, prepared, error);
    case WEFTI_KERNEL_GATHER:
        return prepare_gather(step, prepared, error);
    case WEFTI_KERNEL_ATTENTION:
        return choice.precision == WEFT_PRECISION_F32
                   ? prepare_attention(step, prepared, error)
                   : prepare_mma_attention(step, choice, prepared, error);
    default:
        return wefti_cuda_prepare_rare(step, prepared, error);
    }
}

weft_status wefti_cuda_prepare(const wefti_step *step, wefti_cuda_choice choice,
                               wefti_cuda_prepared *prepared, weft_error *error)
{
    memset(prepared, 0, sizeof(*prepared));
    prepared->scratch_operand = -1;
    prepared->report_operand = -1;
    prepared->table_operand = -1;
    prepared->pack_operand = -1;
    prepared->step_kernel = step->kernel;
    WEFTI_TRY(prepare_kernel(step, choice, prepared, error));
    if (prepared->blocks > INT32_MAX) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: more outputs than one launch has blocks; use smaller "
                           "shapes",
                           wefti_kernel_name(step->kernel));
    }
    return WEFT_OK;
}

/* A small operand that several blocks read may cross the bus as often as that comes to.
 * More than the second is moved better by copies, which use all of the bus. */
enum { MOST_BYTES_ACROSS = 32 * 1024, MOST_BYTES_THERE = 48 * 1024 };
/* What crosses once is brought no better by a kernel before, which costs 2 us itself.
 */
enum { BYTES_ACROSS_AGAIN = 8 * 1024 };

static bool is_few(size_t size_bytes, int64_t times)
{
    return times > 0 && size_bytes <= (size_t)MOST_BYTES_ACROSS / (size_t)times;
}

bool wefti_cuda_reads_rarely(const wefti_cuda_prepared *prepared, int32_t operand,
                             size_t size_bytes)
{
    const wefti_cuda_call *call = &prepared->call;
    if (size_bytes > MOST_BYTES_THERE) {
        return false;
    }
    switch (prepared->step_kernel) {
    case WEFTI_KERNEL_ELEMENTWISE:
        return operand < WEFTI_ELEMENTWISE_MAX_INPUTS &&
               call->elementwise.p.rank == 1 &&
               call->elementwise.p.input_strides[operand][0] == 1;
    case WEFTI_KERNEL_SOFTMAX:
        return prepared->kernel == WEFTI_CUDA_weft_softmax_64 ||
               prepared->kernel == WEFTI_CUDA_weft_softmax_256;
    case WEFTI_KERNEL_LAYER_NORM:
        return (operand == WEFTI_LAYER_NORM_INPUT ||
                operand == WEFTI_LAYER_NORM_RESIDUAL) &&
               prepared->kernel != WEFTI_CUDA_weft_layer_norm;
    case WEFTI_KERNEL_MATMUL:
        return operand == WEFTI_MATMUL_RESIDUAL ||
               (operand == WEFTI_MATMUL_A &&
                is_few(size_bytes, call->matmul.n_tiles)) ||
               (operand == WEFTI_MATMUL_B && is_few(size_bytes, call->matmul.m_tiles));
    default:
        return false;
    }
}

bool wefti_cuda_reads_again(const wefti_cuda_prepared *prepared, int32_t operand,
                            size_t size_bytes)
{
    const wefti_cuda_call *call = &prepared->call;
    if (prepared->step_kernel != WEFTI_KERNEL_MATMUL ||
        operand == WEFTI_MATMUL_RESIDUAL) {
        return false;
    }
    const int64_t times =
        operand == WEFTI_MATMUL_A ? call->matmul.n_tiles : call->matmul.m_tiles;
    return (int64_t)size_bytes * (times - 1) > BYTES_ACROSS_AGAIN;
}

bool wefti_cuda_writes_in_rows(const wefti_cuda_prepared *prepared, int32_t operand,
                               size_t size_bytes)
{
    if (size_bytes > MOST_BYTES_THERE) {
        return false;
    }
    switch (prepared->step_kernel) {
    case WEFTI_KERNEL_ELEMENTWISE:
        return operand == WEFTI_ELEMENTWISE_OUTPUT;
    case WEFTI_KERNEL_SOFTMAX:
        return operand == WEFTI_SOFTMAX_OUTPUT;
    case WEFTI_KERNEL_LAYER_NORM:
        return operand == WEFTI_LAYER_NORM_OUTPUT;
    case WEFTI_KERNEL_MATMUL:
        return operand == WEFTI_MATMUL_C && prepared->call.matmul.c_wide;
    case WEFTI_KERNEL_CONV:
        return operand == WEFTI_CONV_OUTPUT && prepared->call.conv.c_wide;
    default:
        return false;
    }
}
