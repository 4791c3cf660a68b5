/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_ATTENTION_H
#define WEFTI_OPS_ATTENTION_H

#include "ops/operator.h"

/* Scaled dot-product attention over views, for Attention and FusedAttention. */
typedef struct wefti_attention_request {
    wefti_view q, k, v; /* [batch, heads, length, size], any strides */
    wefti_view mask;    /* broadcasts to [batch, heads, queries, keys]; or absent */
    wefti_view output;  /* [batch, heads, queries, size], the last dim contiguous */
    float scale;
    bool blind_is_nan; /* as a softmax written out gives for a row of -infinity */
    bool causal;       /* query i sees the keys j <= i + keys - queries */
} wefti_attention_request;

/* Adds the step. */
weft_status wefti_lower_attention(wefti_lowering *lowering,
                                  const wefti_attention_request *request);
/* The stages of the scores that ONNX's Attention can give out. */
typedef enum wefti_scores_mode {
    WEFTI_SCORES_RAW,     /* the scaled product of Q and K */
    WEFTI_SCORES_CAPPED,  /* after softcap */
    WEFTI_SCORES_MASKED,  /* and after the mask */
    WEFTI_SCORES_WEIGHTS, /* after the softmax */
} wefti_scores_mode;

typedef struct wefti_attention_scores {
    wefti_view output; /* dense [batch, heads, queries, keys], or absent */
    wefti_scores_mode mode;
    float softcap; /* above 0: scores become softcap * tanh(score / softcap) */
} wefti_attention_scores;

/* Adds the steps of an attention whose scores are kept whole: softcap, or scores that
 * are asked for. The request's output may be absent; it is not causal. */
weft_status wefti_lower_attention_scores(wefti_lowering *lowering,
                                         const wefti_attention_request *request,
                                         const wefti_attention_scores *scores);
/* Which keys a query sees: those from i + offset + first to i + offset + last. Where
 * `lengths` (integers, [batch]) is present only so many keys of a batch element are
 * valid, and the offset is that less `queries`. */
typedef struct wefti_attention_band {
    wefti_view lengths;
    int64_t queries, keys, offset;
    int64_t first, last;
} wefti_attention_band;

/* What is_causal, left_window_size and right_window_size say; the rest is 0. */
wefti_attention_band wefti_attention_read_band(const wefti_node_view *node);
/* Whether the band hides all later keys and no others. */
bool wefti_attention_is_causal(const wefti_attention_band *band);
/* Makes the mask of truth values, [queries, keys] or four dims that broadcast; absent
 * when all is seen. Errors: WEFT_UNSUPPORTED when it is huge. */
weft_status wefti_lower_band(wefti_lowering *lowering, const wefti_attention_band *band,
                             wefti_view *mask);
/* Hides in `mask` (or makes it, when it is absent) what the band does not show. */
weft_status wefti_lower_join_masks(wefti_lowering *lowering, const wefti_view *band,
                                   wefti_view *mask);
/* Keys behind the last that a mask speaks of are hidden. */
weft_status wefti_lower_widen_mask(wefti_lowering *lowering, int64_t keys,
                                   wefti_view *mask);

/* Checks three known [batch, heads, length, size] tensors against each other and the
 * mask (input 3), if there is one. */
weft_status wefti_check_attention(const wefti_node_view *node, const wefti_known *q,
                                  const wefti_known *k, const wefti_known *v,
                                  const wefti_known *mask, weft_error *error);

#endif
