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
/* Checks three known [batch, heads, length, size] tensors against each other and the
 * mask (input 3), if there is one. */
weft_status wefti_check_attention(const wefti_node_view *node, const wefti_known *q,
                                  const wefti_known *k, const wefti_known *v,
                                  const wefti_known *mask, weft_error *error);

#endif
