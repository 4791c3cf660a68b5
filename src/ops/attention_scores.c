/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "ops/attention.h"
#include "ops/lower.h"
#include "ops/matmul.h"
#include "ops/reduce.h"

/* Attention step by step, with the scores of all queries in memory. */

enum { BATCH, HEADS, LENGTH, SIZE };

/* Sees [batch, heads, length, size] as [batch, shared heads, heads of each, ...], which
 * lets key and value heads broadcast over the query heads that share them. */
static wefti_view group_heads(const wefti_view *view, int64_t kv_heads)
{
    wefti_view grouped = *view;
    grouped.rank = 5;
    grouped.dims[1] = kv_heads;
    grouped.dims[2] = view->dims[HEADS] / kv_heads;
    grouped.strides[1] = view->strides[HEADS] * grouped.dims[2];
    grouped.strides[2] = view->strides[HEADS];
    for (int32_t i = LENGTH; i <= SIZE; i++) {
        grouped.dims[i + 1] = view->dims[i];
        grouped.strides[i + 1] = view->strides[i];
    }
    return grouped;
}

static weft_status lower_product(wefti_lowering *lowering, const wefti_view *a,
                                 const wefti_view *b, float scale,
                                 const wefti_view *output)
{
    int64_t kv_heads = b->dims[HEADS];
    wefti_view left = group_heads(a, kv_heads);
    wefti_view right = group_heads(b, kv_heads);
    wefti_view result = group_heads(output, kv_heads);
    wefti_matmul_request request = wefti_matmul_plain(&left, &right, &result);
    request.alpha = scale;
    return wefti_lower_matmul(lowering, &request);
}

/* softcap * tanh(score / softcap) into a new `scores`. */
static weft_status lower_softcap(wefti_lowering *lowering, float softcap,
                                 wefti_view *scores)
{
    const wefti_instruction cap[] = {
        {.operation = WEFTI_OP_SCALE, .a = 0, .alpha = 1.0F / softcap},
        {.operation = WEFTI_OP_TANH, .a = 4},
        {.operation = WEFTI_OP_SCALE, .a = 5, .alpha = softcap}};
    wefti_view capped;
    WEFTI_TRY(wefti_lower_temporary(lowering, scores->type, 4, scores->dims, &capped));
    WEFTI_TRY(wefti_lower_elementwise(lowering, scores, 1, cap, 3, &capped));
    *scores = capped;
    return WEFT_OK;
}

static weft_status lower_scalar(wefti_lowering *lowering, float value, wefti_view *view)
{
    int64_t none = 0;
    return wefti_lower_constant(lowering, WEFT_TYPE_F32, 0, &none, &value, view);
}

/* Adds a mask of numbers, or hides what a mask of truth values does not show. */
static weft_status lower_add_mask(wefti_lowering *lowering, const wefti_view *mask,
                                  wefti_view *scores)
{
    wefti_view masked;
    WEFTI_TRY(wefti_lower_temporary(lowering, scores->type, 4, scores->dims, &masked));
    wefti_view operands[3] = {*scores, *mask};
    wefti_instruction join = {.operation = WEFTI_OP_ADD, .b = 1};
    int32_t count = 2;
    if (mask->type == WEFT_TYPE_BOOL) {
        operands[0] = *mask;
        operands[1] = *scores;
        WEFTI_TRY(lower_scalar(lowering, -INFINITY, &operands[2]));
        join = (wefti_instruction){.operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
        count = 3;
    }
    WEFTI_TRY(wefti_lower_elementwise(lowering, operands, count, &join, 1, &masked));
    *scores = masked;
    return WEFT_OK;
}

/* Weights of rows of scores. With a mask, a row that sees no key has weights of 0. */
static weft_status lower_weights(wefti_lowering *lowering, bool masked,
                                 wefti_view *scores)
{
    wefti_view weights, largest, blind, operands[3];
    const int64_t *dims = scores->dims;
    int64_t row_dims[4] = {dims[0], dims[1], dims[2], 1};
    wefti_softmax_params params = {.row_count = dims[0] * dims[1] * dims[2],
                                   .column_count = dims[3]};
    WEFTI_TRY(wefti_lower_temporary(lowering, scores->type, 4, dims, &weights));
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_SOFTMAX, &params, sizeof(params));
    step.operands[WEFTI_SOFTMAX_INPUT] = *scores;
    step.operands[WEFTI_SOFTMAX_OUTPUT] = weights;
    WEFTI_TRY(wefti_lower_end(lowering, &step));
    if (!masked) {
        *scores = weights;
        return WEFT_OK;
    }
    static const bool last[4] = {false, false, false, true};
    static const wefti_instruction equal = {.operation = WEFTI_OP_EQUAL, .b = 1};
    static const wefti_instruction where = {
        .operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 4, row_dims, &largest));
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_BOOL, 4, row_dims, &blind));
    WEFTI_TRY(
        wefti_lower_reduction(lowering, WEFTI_REDUCE_MAX, scores, last, &largest));
    operands[0] = largest;
    WEFTI_TRY(lower_scalar(lowering, -INFINITY, &operands[1]));
    WEFTI_TRY(wefti_lower_elementwise(lowering, operands, 2, &equal, 1, &blind));
    operands[0] = blind;
    WEFTI_TRY(lower_scalar(lowering, 0, &operands[1]));
    operands[2] = weights;
    WEFTI_TRY(wefti_lower_temporary(lowering, scores->type, 4, dims, scores));
    return wefti_lower_elementwise(lowering, operands, 3, &where, 1, scores);
}

/* The product of weights and values, into an output whose heads may lie apart. */
static weft_status lower_values(wefti_lowering *lowering, const wefti_view *weights,
                                const wefti_view *values, const wefti_view *output)
{
    if (wefti_view_is_dense(output)) {
        return lower_product(lowering, weights, values, 1.0F, output);
    }
    wefti_view dense;
    WEFTI_TRY(wefti_lower_temporary(lowering, output->type, 4, output->dims, &dense));
    WEFTI_TRY(lower_product(lowering, weights, values, 1.0F, &dense));
    return wefti_lower_copy(lowering, &dense, output);
}

/* Gives a stage of the scores out when it is the one asked for. */
static weft_status give_out(wefti_lowering *lowering, wefti_scores_mode mode,
                            const wefti_attention_scores *scores,
                            const wefti_view *stage)
{
    return wefti_view_present(&scores->output) && scores->mode == mode
               ? wefti_lower_copy(lowering, stage, &scores->output)
               : WEFT_OK;
}

weft_status wefti_lower_attention_scores(wefti_lowering *lowering,
                                         const wefti_attention_request *request,
                                         const wefti_attention_scores *scores)
{
    bool wants_output = wefti_view_present(&request->output);
    bool masked = wefti_view_present(&request->mask);
    int64_t dims[4] = {request->q.dims[BATCH], request->q.dims[HEADS],
                       request->q.dims[LENGTH], request->k.dims[LENGTH]};
    wefti_view stage, keys = wefti_view_transposed(&request->k);
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 4, dims, &stage));
    if (wefti_view_element_count(&stage) == 0) {
        return wants_output ? wefti_lower_fill(lowering, &request->output, 0) : WEFT_OK;
    }
    WEFTI_TRY(lower_product(lowering, &request->q, &keys, request->scale, &stage));
    WEFTI_TRY(give_out(lowering, WEFTI_SCORES_RAW, scores, &stage));
    if (scores->softcap > 0) {
        WEFTI_TRY(lower_softcap(lowering, scores->softcap, &stage));
    }
    WEFTI_TRY(give_out(lowering, WEFTI_SCORES_CAPPED, scores, &stage));
    if (masked) {
        WEFTI_TRY(lower_add_mask(lowering, &request->mask, &stage));
    }
    WEFTI_TRY(give_out(lowering, WEFTI_SCORES_MASKED, scores, &stage));
    WEFTI_TRY(lower_weights(lowering, masked, &stage));
    WEFTI_TRY(give_out(lowering, WEFTI_SCORES_WEIGHTS, scores, &stage));
    return wants_output ? lower_values(lowering, &stage, &request->v, &request->output)
                        : WEFT_OK;
}
