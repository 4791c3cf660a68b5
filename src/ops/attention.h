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
/* Checks three known [batch, heads, length, size] tensors against each other and the
 * mask (input 3), if there is one. */
weft_status wefti_check_attention(const wefti_node_view *node, const wefti_known *q,
                                  const wefti_known *k, const wefti_known *v,
                                  const wefti_known *mask, weft_error *error);

#endif
