/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/launch.h"

/* Points, lines, images and recurrences: kernels that few nets have, chosen by no more
 * than the number of outputs. */

enum {
    THREADS = 256,
    MOST_LANES = 1 << 12,      /* threads that share the elements of a point */
    MOST_SCATTERERS = 1 << 14, /* threads in all: each block looks at all points */
    MOST_MATRIX_ROWS = 1 << 12,
};

static weft_status launch_outputs(wefti_cuda_prepared *prepared,
                                  wefti_cuda_kernel kernel, int64_t count)
{
    prepared->kernel = kernel;
    prepared->threads = THREADS;
    prepared->blocks = count / THREADS + (count % THREADS != 0);
    return WEFT_OK;
}

/* Whether the kernels can combine numbers of this type. */
static bool is_number(weft_type type, bool small_too)
{
    switch (type) {
    case WEFT_TYPE_F32:
    case WEFT_TYPE_F64:
    case WEFT_TYPE_I32:
    case WEFT_TYPE_I64:
        return true;
    case WEFT_TYPE_I8:
    case WEFT_TYPE_U8:
        return small_too;
    default:
        return false;
    }
}

static bool is_index(weft_type type)
{
    return type == WEFT_TYPE_I32 || type == WEFT_TYPE_I64;
}

static weft_status take_points(const wefti_step *step, const char *name,
                               wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_points_call *call = &prepared->call.points;
    const wefti_points_params *p = &call->p;
    call->p = *(const wefti_points_params *)step->params;
    bool fits = p->rank >= 0 && p->rank <= WEFT_MAX_RANK && p->tuple_size >= 1 &&
                p->tuple_size <= WEFT_MAX_RANK;
    if (!is_index(p->index_type) || !fits || weft_type_size(p->type) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: %s data with %s indices of %d numbers in %d dimensions "
                           "is not supported",
                           name, weft_type_name(p->type), weft_type_name(p->index_type),
                           (int)p->tuple_size, (int)p->rank);
    }
    call->point_count = 1;
    for (int32_t i = 0; i < p->rank; i++) {
        call->point_count *= p->dims[i];
    }
    /* A report has this many bits for the position. */
    if (call->point_count >= (INT64_C(1) << WEFTI_CUDA_REPORT_SHIFT) / p->tuple_size) {
        return wefti_error(error, WEFT_UNSUPPORTED, "%s: too many points", name);
    }
    prepared->report_operand = WEFTI_CUDA_POINTS_REPORT;
    return WEFT_OK;
}

static weft_status prepare_gather_points(const wefti_step *step,
                                         wefti_cuda_prepared *prepared,
                                         weft_error *error)
{
    wefti_cuda_points_call *call = &prepared->call.points;
    WEFTI_TRY(take_points(step, "gather_points", prepared, error));
    return launch_outputs(prepared, WEFTI_CUDA_weft_gather_points,
                          call->point_count * call->p.inner_count);
}

/* Whether two points lie at one place or have no element in common. */
static bool are_apart(const wefti_points_params *p)
{
    bool apart = p->inner_count > 0;
    for (int32_t i = 0; i < p->rank && apart; i++) {
        apart = p->base_strides[i] % p->inner_count == 0;
    }
    for (int32_t j = 0; j < p->tuple_size && apart; j++) {
        apart = p->tuple_strides[j] % p->inner_count == 0;
    }
    return apart;
}

static weft_status prepare_scatter_points(const wefti_step *step,
                                          wefti_cuda_prepared *prepared,
                                          weft_error *error)
{
    wefti_cuda_points_call *call = &prepared->call.points;
    const wefti_points_params *p = &call->p;
    WEFTI_TRY(take_points(step, "scatter_points", prepared, error));
    if (p->reduction != WEFTI_POINTS_PUT && !is_number(p->type, true)) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "scatter_points: %s cannot be combined",
                           weft_type_name(p->type));
    }
    call->lanes = 1;
    call->bucket_count = 1;
    if (are_apart(p)) {
        call->lanes = p->inner_count < MOST_LANES ? (uint32_t)p->inner_count
                                                  : (uint32_t)MOST_LANES;
        int64_t most = MOST_SCATTERERS / call->lanes;
        call->bucket_count =
            (uint32_t)(call->point_count < most ? call->point_count : most);
        call->bucket_count += call->bucket_count == 0;
    }
    int64_t work = call->point_count * p->inner_count;
    return launch_outputs(prepared, WEFTI_CUDA_weft_scatter_points,
                          work == 0 ? 0 : (int64_t)call->lanes * call->bucket_count);
}

static weft_status prepare_cumulate(const wefti_step *step,
                                    wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cumulate_params *p = &prepared->call.cumulate.p;
    *p = *(const wefti_cumulate_params *)step->params;
    if (!is_number(p->type, false)) {
        return wefti_error(error, WEFT_UNSUPPORTED, "cumulate: %s is not supported",
                           weft_type_name(p->type));
    }
    return launch_outputs(prepared, WEFTI_CUDA_weft_cumulate,
                          p->count == 0 ? 0 : p->outer_count * p->inner_count);
}

static weft_status prepare_top_k(const wefti_step *step, wefti_cuda_prepared *prepared,
                                 weft_error *error)
{
    wefti_top_k_params *p = &prepared->call.top_k.p;
    *p = *(const wefti_top_k_params *)step->params;
    if (!is_number(p->type, true) || p->k < 1 || p->k > p->count) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "top_k: %lld of %lld %s is not supported", (long long)p->k,
                           (long long)p->count, weft_type_name(p->type));
    }
    return launch_outputs(prepared, WEFTI_CUDA_weft_top_k,
                          p->outer_count * p->count * p->inner_count);
}

static weft_status prepare_fold(const wefti_step *step, wefti_cuda_prepared *prepared,
                                weft_error *error)
{
    wefti_cuda_fold_call *call = &prepared->call.fold;
    const wefti_fold_params *p = &call->p;
    call->p = *(const wefti_fold_params *)step->params;
    for (int32_t d = 0; d < 3; d++) {
        if (p->strides[d] < 1 || p->dilations[d] < 1 || p->kernel_dims[d] < 1) {
            return wefti_error(error, WEFT_INTERNAL,
                               "fold: stride, dilation or kernel size below 1");
        }
    }
    call->count = p->plane_count * p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    return launch_outputs(prepared, WEFTI_CUDA_weft_fold, call->count);
}

static weft_status prepare_sample(const wefti_step *step, wefti_cuda_prepared *prepared,
                                  weft_error *error)
{
    wefti_cuda_sample_call *call = &prepared->call.sample;
    const wefti_sample_params *p = &call->p;
    call->p = *(const wefti_sample_params *)step->params;
    if (p->rank < 1 || p->rank > 3 || p->in_dims[0] < 1 || p->in_dims[1] < 1 ||
        p->in_dims[2] < 1) {
        return wefti_error(error, WEFT_UNSUPPORTED, "sample: images of %d dimensions",
                           (int)p->rank);
    }
    call->count = p->batch * p->channels * p->point_count;
    return launch_outputs(prepared, WEFTI_CUDA_weft_sample, call->count);
}

static weft_status prepare_roi_align(const wefti_step *step,
                                     wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_cuda_roi_align_call *call = &prepared->call.roi_align;
    const wefti_roi_align_params *p = &call->p;
    call->p = *(const wefti_roi_align_params *)step->params;
    if (p->height < 1 || p->width < 1 || p->out_height < 1 || p->out_width < 1 ||
        p->sampling_ratio > WEFTI_CUDA_ROI_ALIGN_MOST_SAMPLES) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "roi_align: empty images or cells, or too many samples");
    }
    prepared->report_operand = WEFTI_CUDA_ROI_ALIGN_REPORT;
    call->count = p->region_count * p->channels * p->out_height * p->out_width;
    return launch_outputs(prepared, WEFTI_CUDA_weft_roi_align, call->count);
}

static weft_status prepare_pool_indices(const wefti_step *step,
                                        wefti_cuda_prepared *prepared)
{
    wefti_cuda_pool_indices_call *call = &prepared->call.pool_indices;
    const wefti_pool_params *p = &call->p.pool;
    call->p = *(const wefti_pool_indices_params *)step->params;
    call->count = p->plane_count * p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    return launch_outputs(prepared, WEFTI_CUDA_weft_pool_indices, call->count);
}

static weft_status prepare_linear_attention(const wefti_step *step,
                                            wefti_cuda_prepared *prepared)
{
    wefti_linear_attention_params *p = &prepared->call.recurrence.p;
    *p = *(const wefti_linear_attention_params *)step->params;
    int64_t columns = p->batch * p->kv_heads * p->value_size;
    prepared->kernel = WEFTI_CUDA_weft_linear_attention;
    prepared->threads = WEFTI_CUDA_RECURRENCE_THREADS;
    prepared->blocks = columns / WEFTI_CUDA_RECURRENCE_THREADS +
                       (columns % WEFTI_CUDA_RECURRENCE_THREADS != 0);
    return WEFT_OK;
}

static weft_status prepare_determinant(const wefti_step *step,
                                       wefti_cuda_prepared *prepared, weft_error *error)
{
    wefti_determinant_params *p = &prepared->call.determinant.p;
    *p = *(const wefti_determinant_params *)step->params;
    int64_t elements;
    if (p->n > MOST_MATRIX_ROWS) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "determinant: matrices of more than 4096 rows");
    }
    if (WEFTI_MUL_OVERFLOWS(p->count, p->n * p->n * (int64_t)sizeof(double),
                            &elements)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "determinant: the matrices do not fit into memory");
    }
    prepared->kernel = WEFTI_CUDA_weft_determinant;
    prepared->threads = THREADS;
    prepared->blocks = p->count;
    prepared->scratch_operand = WEFTI_CUDA_DETERMINANT_SCRATCH;
    prepared->scratch_bytes = (size_t)elements;
    return WEFT_OK;
}

weft_status wefti_cuda_prepare_rare(const wefti_step *step,
                                    wefti_cuda_prepared *prepared, weft_error *error)
{
    switch (step->kernel) {
    case WEFTI_KERNEL_GATHER_POINTS:
        return prepare_gather_points(step, prepared, error);
    case WEFTI_KERNEL_SCATTER_POINTS:
        return prepare_scatter_points(step, prepared, error);
    case WEFTI_KERNEL_CUMULATE:
        return prepare_cumulate(step, prepared, error);
    case WEFTI_KERNEL_TOP_K:
        return prepare_top_k(step, prepared, error);
    case WEFTI_KERNEL_FOLD:
        return prepare_fold(step, prepared, error);
    case WEFTI_KERNEL_SAMPLE:
        return prepare_sample(step, prepared, error);
    case WEFTI_KERNEL_ROI_ALIGN:
        return prepare_roi_align(step, prepared, error);
    case WEFTI_KERNEL_POOL_INDICES:
        return prepare_pool_indices(step, prepared);
    case WEFTI_KERNEL_LINEAR_ATTENTION:
        return prepare_linear_attention(step, prepared);
    case WEFTI_KERNEL_DETERMINANT:
        return prepare_determinant(step, prepared, error);
    default:
        return wefti_error(error, WEFT_UNSUPPORTED, "cuda has no %s",
                           wefti_kernel_name(step->kernel));
    }
}
