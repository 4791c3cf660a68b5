/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_NORM_H
#define WEFTI_OPS_NORM_H

#include "ops/operator.h"

/* A normalisation of rows, for LayerNormalization and its kin. Views may be absent but
 * for input and output. */
typedef struct wefti_layer_norm_request {
    wefti_view input, residual; /* any strides, rows * columns elements */
    wefti_view scale, bias;     /* columns elements, or broadcasting to them */
    wefti_view output, mean, inverse, sum; /* dense */
    int32_t axis;                          /* columns are the dims from here on */
    float epsilon;
    bool root_mean_square;
} wefti_layer_norm_request;

wefti_layer_norm_request wefti_layer_norm_plain(const wefti_view *input,
                                                const wefti_view *output, int32_t axis,
                                                float epsilon);
/* Adds the step. */
weft_status wefti_lower_layer_norm(wefti_lowering *lowering,
                                   wefti_layer_norm_request *request);
/* Checks that scale or bias (input `index`) broadcasts to the dims from `axis`. */
weft_status wefti_check_norm_vector(const wefti_node_view *node,
                                    const wefti_known *inputs, size_t index,
                                    int32_t axis, weft_error *error);

#endif
