/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_CONV_H
#define WEFTI_OPS_CONV_H

#include "ops/operator.h"

/* A convolution and what follows it, for Conv and FusedConv. */
typedef struct wefti_conv_request {
    wefti_view residual; /* as the output, or absent */
    wefti_activation activation;
    float activation_alpha;
} wefti_conv_request;

/* Checks inputs 0 to 2 (X, W, optional B) and computes output 0. */
weft_status wefti_infer_conv_node(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error);
/* Adds the step of a node whose inputs 0 to 2 are X, W and B. */
weft_status wefti_lower_conv(wefti_lowering *lowering,
                             const wefti_conv_request *request);

#endif
