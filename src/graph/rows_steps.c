/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/rows_rules.h"

/* Whether two programs do the same arithmetic. Passes and lowering may choose by shape:
 * a bias that has one row is a vector, with more it is a matrix; an axis of one element
 * is no axis. What they chose shows in the kernels and in those of their parameters
 * that a result's bits depend on; sizes along the rows and strides are not among them.
 */

/* Steps that only move data may differ. */
static bool only_moves(const wefti_program_step *step)
{
    if (step->kernel == WEFTI_KERNEL_COPY) {
        const wefti_copy_params *copy = step->params;
        return copy->source_type == copy->target_type;
    }
    return step->kernel == WEFTI_KERNEL_FILL || step->kernel == WEFTI_KERNEL_GATHER;
}

static size_t next_sum(const wefti_program *program, size_t i)
{
    while (i < program->step_count && only_moves(&program->steps[i])) {
        i++;
    }
    return i;
}

static bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static bool same_sizes(const int64_t *a, const int64_t *b)
{
    return memcmp(a, b, 3 * sizeof(*a)) == 0;
}

/* Optional operands from `first` on are there in both or in neither. */
static bool same_operands(const wefti_program_step *a, const wefti_program_step *b,
                          size_t first)
{
    for (size_t i = first; i < WEFTI_MAX_OPERANDS; i++) {
        if (wefti_view_present(&a->operands[i]) !=
            wefti_view_present(&b->operands[i])) {
            return false;
        }
    }
    return true;
}

static bool same_copy(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_copy_params *x = a->params, *y = b->params;
    return x->source_type == y->source_type && x->target_type == y->target_type;
}

static bool same_elementwise(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_elementwise_params *x = a->params, *y = b->params;
    bool same = x->type == y->type && x->output_type == y->output_type &&
                x->input_count == y->input_count &&
                x->instruction_count == y->instruction_count;
    for (int32_t i = 0; same && i < x->input_count; i++) {
        same = x->input_types[i] == y->input_types[i];
    }
    for (int32_t i = 0; same && i < x->instruction_count; i++) {
        const wefti_instruction *m = &x->instructions[i], *n = &y->instructions[i];
        same = m->operation == n->operation && m->a == n->a && m->b == n->b &&
               m->c == n->c && same_float(m->alpha, n->alpha) &&
               same_float(m->beta, n->beta);
    }
    return same;
}

static int64_t reduced_count(const wefti_reduce_params *params)
{
    int64_t count = 1;
    for (int32_t i = 0; i < params->reduced_rank; i++) {
        count *= params->reduced_dims[i];
    }
    return count;
}

static bool same_reduce(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_reduce_params *x = a->params, *y = b->params;
    return x->reduction == y->reduction && x->type == y->type &&
           reduced_count(x) == reduced_count(y);
}

static bool same_softmax(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_softmax_params *x = a->params, *y = b->params;
    return x->column_count == y->column_count && x->logarithmic == y->logarithmic;
}

static bool same_layer_norm(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_layer_norm_params *x = a->params, *y = b->params;
    return x->column_count == y->column_count && same_float(x->epsilon, y->epsilon) &&
           x->root_mean_square == y->root_mean_square &&
           same_operands(a, b, WEFTI_LAYER_NORM_RESIDUAL);
}

/* One thing added to a sum is added in the same place whether it is called a bias or a
 * residual; with two, the bias is first in both. */
static bool same_matmul(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_matmul_params *x = a->params, *y = b->params;
    int x_added = (x->bias != WEFTI_BIAS_NONE) +
                  wefti_view_present(&a->operands[WEFTI_MATMUL_RESIDUAL]);
    int y_added = (y->bias != WEFTI_BIAS_NONE) +
                  wefti_view_present(&b->operands[WEFTI_MATMUL_RESIDUAL]);
    return x->k == y->k && same_float(x->alpha, y->alpha) && x_added == y_added &&
           x->activation == y->activation &&
           same_float(x->activation_alpha, y->activation_alpha);
}

static bool same_conv(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_conv_params *x = a->params, *y = b->params;
    return x->in_channels == y->in_channels && x->out_channels == y->out_channels &&
           x->groups == y->groups && same_sizes(x->kernel_dims, y->kernel_dims) &&
           same_sizes(x->strides, y->strides) &&
           same_sizes(x->dilations, y->dilations) &&
           same_sizes(x->pads_begin, y->pads_begin) && x->activation == y->activation &&
           same_float(x->activation_alpha, y->activation_alpha) &&
           same_operands(a, b, WEFTI_CONV_BIAS);
}

static bool same_pool(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_pool_params *x = a->params, *y = b->params;
    return x->average == y->average && x->count_include_pad == y->count_include_pad &&
           same_sizes(x->in_dims, y->in_dims) &&
           same_sizes(x->kernel_dims, y->kernel_dims) &&
           same_sizes(x->strides, y->strides) &&
           same_sizes(x->dilations, y->dilations) &&
           same_sizes(x->pads_begin, y->pads_begin) &&
           same_sizes(x->pads_end, y->pads_end);
}

static bool same_attention(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_attention_params *x = a->params, *y = b->params;
    return x->heads == y->heads && x->kv_heads == y->kv_heads &&
           x->query_length == y->query_length && x->key_length == y->key_length &&
           x->head_size == y->head_size && x->value_size == y->value_size &&
           same_float(x->scale, y->scale) && x->causal == y->causal &&
           x->blind_is_nan == y->blind_is_nan &&
           same_operands(a, b, WEFTI_ATTENTION_MASK) &&
           (!wefti_view_present(&a->operands[WEFTI_ATTENTION_MASK]) ||
            x->mask_type == y->mask_type);
}

static bool same_points(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_points_params *x = a->params, *y = b->params;
    return x->type == y->type && x->tuple_size == y->tuple_size &&
           x->reduction == y->reduction && x->from_start == y->from_start &&
           memcmp(x->tuple_dims, y->tuple_dims,
                  (size_t)x->tuple_size * sizeof(int64_t)) == 0;
}

static bool same_cumulate(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_cumulate_params *x = a->params, *y = b->params;
    return x->type == y->type && x->count == y->count && x->product == y->product &&
           x->exclusive == y->exclusive && x->reverse == y->reverse;
}

static bool same_top_k(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_top_k_params *x = a->params, *y = b->params;
    return x->type == y->type && x->count == y->count && x->k == y->k &&
           x->largest == y->largest;
}

static bool same_fold(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_fold_params *x = a->params, *y = b->params;
    return x->channel_count == y->channel_count &&
           same_sizes(x->block_dims, y->block_dims) &&
           same_sizes(x->out_dims, y->out_dims) &&
           same_sizes(x->kernel_dims, y->kernel_dims) &&
           same_sizes(x->strides, y->strides) &&
           same_sizes(x->dilations, y->dilations) &&
           same_sizes(x->pads_begin, y->pads_begin) &&
           same_operands(a, b, WEFTI_FOLD_BIAS);
}

static bool same_sample(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_sample_params *x = a->params, *y = b->params;
    return x->mode == y->mode && x->padding == y->padding &&
           x->align_corners == y->align_corners && x->pixels == y->pixels &&
           x->rank == y->rank && same_sizes(x->in_dims, y->in_dims);
}

static bool same_linear_attention(const wefti_program_step *a,
                                  const wefti_program_step *b)
{
    const wefti_linear_attention_params *x = a->params, *y = b->params;
    return x->times == y->times && x->q_heads == y->q_heads &&
           x->kv_heads == y->kv_heads && x->key_size == y->key_size &&
           x->value_size == y->value_size && x->beta_heads == y->beta_heads &&
           x->decay_by_key == y->decay_by_key && same_float(x->scale, y->scale) &&
           same_operands(a, b, WEFTI_LINEAR_ATTENTION_PAST);
}

/* Sums of whole numbers have no order. */
static bool same_bytes(const wefti_program_step *a, const wefti_program_step *b)
{
    const wefti_matmul_bytes_params *x = a->params, *y = b->params;
    return x->k == y->k && x->a_signed == y->a_signed && x->b_signed == y->b_signed &&
           x->b_zero_by_column == y->b_zero_by_column;
}

static bool same_pool_indices(const wefti_program_step *a, const wefti_program_step *b)
{
    (void)a;
    (void)b;
    return false; /* the numbers count the elements of the whole batch */
}

static bool same_arithmetic(const wefti_program_step *a, const wefti_program_step *b)
{
    static bool (*const compare[WEFTI_KERNEL_COUNT])(const wefti_program_step *,
                                                     const wefti_program_step *) = {
        [WEFTI_KERNEL_COPY] = same_copy,
        [WEFTI_KERNEL_ELEMENTWISE] = same_elementwise,
        [WEFTI_KERNEL_REDUCE] = same_reduce,
        [WEFTI_KERNEL_SOFTMAX] = same_softmax,
        [WEFTI_KERNEL_LAYER_NORM] = same_layer_norm,
        [WEFTI_KERNEL_MATMUL] = same_matmul,
        [WEFTI_KERNEL_CONV] = same_conv,
        [WEFTI_KERNEL_POOL] = same_pool,
        [WEFTI_KERNEL_ATTENTION] = same_attention,
        [WEFTI_KERNEL_GATHER_POINTS] = same_points,
        [WEFTI_KERNEL_SCATTER_POINTS] = same_points,
        [WEFTI_KERNEL_CUMULATE] = same_cumulate,
        [WEFTI_KERNEL_TOP_K] = same_top_k,
        [WEFTI_KERNEL_FOLD] = same_fold,
        [WEFTI_KERNEL_SAMPLE] = same_sample,
        [WEFTI_KERNEL_POOL_INDICES] = same_pool_indices,
        [WEFTI_KERNEL_LINEAR_ATTENTION] = same_linear_attention,
        [WEFTI_KERNEL_MATMUL_BYTES] = same_bytes,
    };
    return a->kernel == b->kernel && strcmp(a->label, b->label) == 0 &&
           compare[a->kernel] != NULL && compare[a->kernel](a, b);
}

weft_status wefti_rows_compare(const wefti_program *one, const wefti_program *many,
                               weft_error *error)
{
    size_t i = next_sum(one, 0), j = next_sum(many, 0);
    while (i < one->step_count && j < many->step_count) {
        if (!same_arithmetic(&one->steps[i], &many->steps[j])) {
            break;
        }
        i = next_sum(one, i + 1);
        j = next_sum(many, j + 1);
    }
    if (i == one->step_count && j == many->step_count) {
        return WEFT_OK;
    }
    const wefti_program_step *step =
        j < many->step_count ? &many->steps[j] : &one->steps[i];
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "%s is planned in another way for one row than for a batch, so "
                       "its bits may differ",
                       step->label);
}
