/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/launch.h"

/* What a step reads of an operand, so that constants can be brought to the device. */

typedef struct span {
    int64_t low, high; /* of the elements, both inside */
    bool empty;
} span;

static void add_dims(span *s, int32_t rank, const int64_t *dims, const int64_t *strides)
{
    for (int32_t i = 0; i < rank; i++) {
        int64_t reach = (dims[i] - 1) * strides[i];
        s->empty = s->empty || dims[i] == 0;
        s->low += reach < 0 ? reach : 0;
        s->high += reach > 0 ? reach : 0;
    }
}

static span dense(int64_t count)
{
    return (span){0, count - 1, count == 0};
}

static span reach_matmul(const wefti_matmul_params *p, int32_t operand)
{
    span s = {0, 0, false};
    switch (operand) {
    case WEFTI_MATMUL_A:
        add_dims(&s, p->batch_rank, p->batch_dims, p->a_batch_strides);
        add_dims(&s, 1, &p->m, &p->a_row_stride);
        add_dims(&s, 1, &p->k, &p->a_column_stride);
        return s;
    case WEFTI_MATMUL_B:
        add_dims(&s, p->batch_rank, p->batch_dims, p->b_batch_strides);
        add_dims(&s, 1, &p->k, &p->b_row_stride);
        add_dims(&s, 1, &p->n, &p->b_column_stride);
        return s;
    case WEFTI_MATMUL_BIAS:
        return dense(p->bias == WEFTI_BIAS_ROW      ? p->m
                     : p->bias == WEFTI_BIAS_COLUMN ? p->n
                                                    : 0);
    default: {
        const int64_t one = 1;
        add_dims(&s, p->batch_rank, p->batch_dims, p->c_batch_strides);
        add_dims(&s, 1, &p->m, &p->c_row_stride);
        add_dims(&s, 1, &p->n, &one);
        return s;
    }
    }
}

static span reach_conv(const wefti_conv_params *p, int32_t operand)
{
    const int64_t in = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const int64_t out = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    const int64_t taps = p->kernel_dims[0] * p->kernel_dims[1] * p->kernel_dims[2];
    switch (operand) {
    case WEFTI_CONV_INPUT:
        return dense(p->batch * p->in_channels * in);
    case WEFTI_CONV_WEIGHT:
        return dense(p->out_channels * (p->in_channels / p->groups) * taps);
    case WEFTI_CONV_BIAS:
        return dense(p->out_channels);
    default:
        return dense(p->batch * p->out_channels * out);
    }
}

static span reach_attention(const wefti_attention_params *p, int32_t operand)
{
    const wefti_attention_strides *a = operand == WEFTI_ATTENTION_Q   ? &p->q
                                       : operand == WEFTI_ATTENTION_K ? &p->k
                                                                      : &p->v;
    span s = {0, 0, false};
    if (operand == WEFTI_ATTENTION_MASK) {
        const int64_t dims[4] = {p->batch, p->heads, p->query_length, p->key_length};
        add_dims(&s, 4, dims, p->mask_strides);
        return s;
    }
    const bool query = operand == WEFTI_ATTENTION_Q;
    const int64_t dims[4] = {p->batch, query ? p->heads : p->kv_heads,
                             query ? p->query_length : p->key_length,
                             operand == WEFTI_ATTENTION_V ? p->value_size
                                                          : p->head_size};
    const int64_t strides[4] = {a->batch, a->head, a->row, 1};
    add_dims(&s, 4, dims, strides);
    return s;
}

static span reach_gather(const wefti_gather_params *p, int32_t operand)
{
    return operand == WEFTI_GATHER_DATA
               ? dense(p->outer_count * p->axis_size * p->inner_bytes)
               : dense(p->index_count);
}

static span reach_pool(const wefti_pool_params *p)
{
    return dense(p->plane_count * p->in_dims[0] * p->in_dims[1] * p->in_dims[2]);
}

static span reach_rows(int64_t rows, int64_t columns, bool of_row)
{
    return dense(of_row ? columns : rows * columns);
}

/* Of what is gathered or scattered. */
static span reach_points(const wefti_points_params *p, int32_t operand)
{
    const int64_t one = 1;
    int64_t points = 1;
    span s = {0, 0, false};
    if (operand == WEFTI_POINTS_DATA) {
        add_dims(&s, p->rank, p->dims, p->base_strides);
        add_dims(&s, p->tuple_size, p->tuple_dims, p->tuple_strides);
        add_dims(&s, 1, &p->inner_count, &one);
        return s;
    }
    for (int32_t i = 0; i < p->rank; i++) {
        points *= p->dims[i];
    }
    return dense(points *
                 (operand == WEFTI_POINTS_INDICES ? p->tuple_size : p->inner_count));
}

static span reach_fold(const wefti_fold_params *p, int32_t operand)
{
    const int64_t *k = p->kernel_dims, *b = p->block_dims;
    return dense(operand == WEFTI_FOLD_BIAS
                     ? p->channel_count
                     : p->plane_count * k[0] * k[1] * k[2] * b[0] * b[1] * b[2]);
}

static span reach_sample(const wefti_sample_params *p, int32_t operand)
{
    return dense(operand == WEFTI_SAMPLE_POINTS
                     ? p->batch * p->point_count * p->rank
                     : p->batch * p->channels * p->in_dims[0] * p->in_dims[1] *
                           p->in_dims[2]);
}

static span reach_roi_align(const wefti_roi_align_params *p, int32_t operand)
{
    return dense(operand == WEFTI_ROI_ALIGN_INPUT
                     ? p->batch * p->channels * p->height * p->width
                     : p->region_count * (operand == WEFTI_ROI_ALIGN_REGIONS ? 4 : 1));
}

static span reach_linear_attention(const wefti_linear_attention_params *p,
                                   int32_t operand)
{
    const int64_t rows = p->batch * p->times;
    switch (operand) {
    case WEFTI_LINEAR_ATTENTION_Q:
        return dense(rows * p->q_heads * p->key_size);
    case WEFTI_LINEAR_ATTENTION_K:
        return dense(rows * p->kv_heads * p->key_size);
    case WEFTI_LINEAR_ATTENTION_V:
        return dense(rows * p->kv_heads * p->value_size);
    case WEFTI_LINEAR_ATTENTION_DECAY:
        return dense(rows * p->kv_heads * (p->decay_by_key ? p->key_size : 1));
    case WEFTI_LINEAR_ATTENTION_BETA:
        return dense(rows * p->beta_heads);
    default:
        return dense(p->batch * p->kv_heads * p->key_size * p->value_size);
    }
}

static span reach_rare(const wefti_step *step, int32_t operand)
{
    switch (step->kernel) {
    case WEFTI_KERNEL_GATHER_POINTS:
    case WEFTI_KERNEL_SCATTER_POINTS:
        return reach_points(step->params, operand);
    case WEFTI_KERNEL_CUMULATE: {
        const wefti_cumulate_params *p = step->params;
        return dense(p->outer_count * p->count * p->inner_count);
    }
    case WEFTI_KERNEL_TOP_K: {
        const wefti_top_k_params *p = step->params;
        return dense(p->outer_count * p->count * p->inner_count);
    }
    case WEFTI_KERNEL_FOLD:
        return reach_fold(step->params, operand);
    case WEFTI_KERNEL_SAMPLE:
        return reach_sample(step->params, operand);
    case WEFTI_KERNEL_ROI_ALIGN:
        return reach_roi_align(step->params, operand);
    case WEFTI_KERNEL_POOL_INDICES:
        return reach_pool(&((const wefti_pool_indices_params *)step->params)->pool);
    case WEFTI_KERNEL_LINEAR_ATTENTION:
        return reach_linear_attention(step->params, operand);
    case WEFTI_KERNEL_DETERMINANT: {
        const wefti_determinant_params *p = step->params;
        return dense(p->count * p->n * p->n);
    }
    default:
        return dense(0);
    }
}

/* The elements that a step reads of an operand. */
static span reach_elements(const wefti_step *step, int32_t operand)
{
    span s = {0, 0, false};
    switch (step->kernel) {
    case WEFTI_KERNEL_COPY: {
        const wefti_copy_params *p = step->params;
        add_dims(&s, p->rank, p->dims, p->source_strides);
        return s;
    }
    case WEFTI_KERNEL_ELEMENTWISE: {
        const wefti_elementwise_params *p = step->params;
        add_dims(&s, p->rank, p->dims, p->input_strides[operand]);
        return s;
    }
    case WEFTI_KERNEL_REDUCE: {
        const wefti_reduce_params *p = step->params;
        add_dims(&s, p->kept_rank, p->kept_dims, p->kept_strides);
        add_dims(&s, p->reduced_rank, p->reduced_dims, p->reduced_strides);
        return s;
    }
    case WEFTI_KERNEL_SOFTMAX: {
        const wefti_softmax_params *p = step->params;
        return reach_rows(p->row_count, p->column_count, false);
    }
    case WEFTI_KERNEL_LAYER_NORM: {
        const wefti_layer_norm_params *p = step->params;
        return reach_rows(p->row_count, p->column_count,
                          operand == WEFTI_LAYER_NORM_SCALE ||
                              operand == WEFTI_LAYER_NORM_BIAS);
    }
    case WEFTI_KERNEL_MATMUL:
        return reach_matmul(step->params, operand);
    case WEFTI_KERNEL_CONV:
        return reach_conv(step->params, operand);
    case WEFTI_KERNEL_POOL:
        return reach_pool(step->params);
    case WEFTI_KERNEL_GATHER:
        return reach_gather(step->params, operand);
    case WEFTI_KERNEL_ATTENTION:
        return reach_attention(step->params, operand);
    default:
        return reach_rare(step, operand);
    }
}

static int64_t size_of(weft_type type)
{
    return (int64_t)weft_type_size(type);
}

static int64_t element_bytes(const wefti_step *step, int32_t operand)
{
    switch (step->kernel) {
    case WEFTI_KERNEL_COPY:
        return size_of(((const wefti_copy_params *)step->params)->source_type);
    case WEFTI_KERNEL_ELEMENTWISE:
        return size_of(
            ((const wefti_elementwise_params *)step->params)->input_types[operand]);
    case WEFTI_KERNEL_REDUCE:
        return size_of(((const wefti_reduce_params *)step->params)->type);
    case WEFTI_KERNEL_GATHER:
        return operand == WEFTI_GATHER_DATA
                   ? 1
                   : size_of(((const wefti_gather_params *)step->params)->index_type);
    case WEFTI_KERNEL_ATTENTION:
        return operand == WEFTI_ATTENTION_MASK
                   ? size_of(((const wefti_attention_params *)step->params)->mask_type)
                   : 4;
    case WEFTI_KERNEL_GATHER_POINTS:
    case WEFTI_KERNEL_SCATTER_POINTS: {
        const wefti_points_params *p = step->params;
        return size_of(operand == WEFTI_POINTS_INDICES ? p->index_type : p->type);
    }
    case WEFTI_KERNEL_CUMULATE:
        return size_of(((const wefti_cumulate_params *)step->params)->type);
    case WEFTI_KERNEL_TOP_K:
        return size_of(((const wefti_top_k_params *)step->params)->type);
    case WEFTI_KERNEL_ROI_ALIGN:
        return operand == WEFTI_ROI_ALIGN_IMAGES
                   ? size_of(((const wefti_roi_align_params *)step->params)->index_type)
                   : 4;
    default:
        return 4;
    }
}

void wefti_cuda_operand_reach(const wefti_step *step, int32_t operand, int64_t *low,
                              int64_t *end)
{
    const int64_t size = element_bytes(step, operand);
    const span s = reach_elements(step, operand);
    *low = s.empty ? 0 : s.low * size;
    *end = s.empty ? 0 : (s.high + 1) * size;
}
