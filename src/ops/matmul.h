/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_MATMUL_H
#define WEFTI_OPS_MATMUL_H

#include "ops/operator.h"

/* A matrix product and what follows it, for MatMul, Gemm and the fused forms. */
typedef struct wefti_matmul_request {
    wefti_view a, b;   /* [..., m, k] and [..., k, n], any strides, batches broadcast */
    wefti_view output; /* [..., m, n], dense */
    wefti_view bias;   /* dense [n] or [m] by bias_kind */
    wefti_bias bias_kind;
    wefti_view residual; /* as the output */
    float alpha;
    wefti_activation activation;
    float activation_alpha;
} wefti_matmul_request;

/* A plain product with nothing after it. */
wefti_matmul_request wefti_matmul_plain(const wefti_view *a, const wefti_view *b,
                                        const wefti_view *output);
/* Makes `addend`, which broadcasts to the output, the request's bias where one row or
 * column of it is repeated, else its residual. Copies where its strides need it. */
weft_status wefti_matmul_add(wefti_lowering *lowering, wefti_matmul_request *request,
                             const wefti_view *addend);
/* Adds the step. */
weft_status wefti_lower_matmul(wefti_lowering *lowering,
                               const wefti_matmul_request *request);

/* Shape of a product of two tensors as MatMul has it, after transposing the last two
 * dims where asked. */
weft_status wefti_matmul_shape(const wefti_node_view *node, const wefti_known *a,
                               const wefti_known *b, wefti_known *output,
                               weft_error *error);
/* A known matrix with its last two dims exchanged. */
wefti_known wefti_known_transposed(const wefti_known *known);
wefti_view wefti_view_transposed(const wefti_view *view);

#endif
