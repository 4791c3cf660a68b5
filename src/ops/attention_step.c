/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention.h"

#include "ops/check.h"
#include "ops/lower.h"

enum { BATCH, HEADS, LENGTH, SIZE };

static weft_status check_mask(const wefti_node_view *node, const wefti_known *q,
                              const wefti_known *k, const wefti_known *mask,
                              weft_error *error)
{
    if (mask->type == WEFT_TYPE_NONE) {
        return WEFT_OK;
    }
    if (mask->type != WEFT_TYPE_F32 && mask->type != WEFT_TYPE_BOOL) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the mask has type %s; expected f32 or bool",
                           node->label, weft_type_name(mask->type));
    }
    wefti_known scores = {
        .type = mask->type,
        .rank = 4,
        .dims = {q->dims[BATCH], q->dims[HEADS], q->dims[LENGTH], k->dims[LENGTH]}};
    wefti_known both[2] = {scores, *mask};
    wefti_known joined = {0};
    WEFTI_TRY(wefti_broadcast_shapes(node, both, 2, &joined, error));
    return wefti_check_shape(node, "the scores broadcast with the mask", &joined, 4,
                             scores.dims, error);
}

weft_status wefti_check_attention(const wefti_node_view *node, const wefti_known *q,
                                  const wefti_known *k, const wefti_known *v,
                                  const wefti_known *mask, weft_error *error)
{
    int64_t kv_heads = k->dims[HEADS];
    int64_t k_dims[4] = {q->dims[BATCH], kv_heads, k->dims[LENGTH], q->dims[SIZE]};
    int64_t v_dims[4] = {q->dims[BATCH], kv_heads, k->dims[LENGTH], v->dims[SIZE]};
    WEFTI_TRY(wefti_check_shape(node, "K (by heads)", k, 4, k_dims, error));
    WEFTI_TRY(wefti_check_shape(node, "V (by heads)", v, 4, v_dims, error));
    if (kv_heads < 1 || q->dims[HEADS] % kv_heads != 0 || q->dims[SIZE] < 1) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: %lld query heads of size %lld do not share %lld key "
                           "and value heads evenly",
                           node->label, (long long)q->dims[HEADS],
                           (long long)q->dims[SIZE], (long long)kv_heads);
    }
    return check_mask(node, q, k, mask, error);
}

static weft_status lower_contiguous(wefti_lowering *lowering, wefti_view *view)
{
    bool contiguous = view->strides[SIZE] == 1 || view->dims[SIZE] == 1;
    if (contiguous) {
        return WEFT_OK;
    }
    return wefti_lower_dense(lowering, view);
}

static wefti_attention_strides strides_of(const wefti_view *view)
{
    return (wefti_attention_strides){view->strides[BATCH], view->strides[HEADS],
                                     view->strides[LENGTH]};
}

weft_status wefti_lower_attention(wefti_lowering *lowering,
                                  const wefti_attention_request *request)
{
    wefti_view q = request->q;
    wefti_view k = request->k;
    wefti_view v = request->v;
    wefti_view mask = request->mask;
    if (wefti_view_element_count(&request->output) == 0) {
        return WEFT_OK;
    }
    if (k.dims[LENGTH] == 0) {
        return wefti_lower_fill(lowering, &request->output, 0);
    }
    WEFTI_TRY(lower_contiguous(lowering, &q));
    WEFTI_TRY(lower_contiguous(lowering, &k));
    WEFTI_TRY(lower_contiguous(lowering, &v));
    wefti_attention_params params = {.batch = q.dims[BATCH],
                                     .heads = q.dims[HEADS],
                                     .kv_heads = k.dims[HEADS],
                                     .query_length = q.dims[LENGTH],
                                     .key_length = k.dims[LENGTH],
                                     .head_size = q.dims[SIZE],
                                     .value_size = v.dims[SIZE],
                                     .scale = request->scale,
                                     .causal = request->causal,
                                     .blind_is_nan = request->blind_is_nan,
                                     .q = strides_of(&q),
                                     .k = strides_of(&k),
                                     .v = strides_of(&v),
                                     .output = strides_of(&request->output),
                                     .mask_type = mask.type};
    if (wefti_view_present(&mask)) {
        int64_t dims[4] = {params.batch, params.heads, params.query_length,
                           params.key_length};
        wefti_broadcast_strides(&mask, 4, dims, params.mask_strides);
    }
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_ATTENTION, &params, sizeof(params));
    step.operands[WEFTI_ATTENTION_Q] = q;
    step.operands[WEFTI_ATTENTION_K] = k;
    step.operands[WEFTI_ATTENTION_V] = v;
    step.operands[WEFTI_ATTENTION_MASK] = mask;
    step.operands[WEFTI_ATTENTION_OUTPUT] = request->output;
    return wefti_lower_end(lowering, &step);
}
