/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PASSES_H
#define WEFTI_GRAPH_PASSES_H

#include "graph/net.h"

/* The passes over a net whose shapes are all known. Each replaces groups of nodes by
 * operators of the domain "weft" (src/ops) and changes nothing where its pattern does
 * not fit exactly. */

/* Runs all of them in their order. */
weft_status wefti_net_fuse(wefti_net *net, weft_error *error);

/* Erf written out as x * 0.5 * (1 + erf(x / sqrt 2)) -> Gelu. */
weft_status wefti_pass_gelu(wefti_net *net, weft_error *error);
/* MatMul, Gemm or Conv, bias, activation -> FusedMatMul, FusedConv. */
weft_status wefti_pass_products(wefti_net *net, weft_error *error);
/* Scaled dot-product attention, written out or Attention -> FusedAttention. */
weft_status wefti_pass_attention(wefti_net *net, weft_error *error);
/* Reshapes, transposes, splits and single-index gathers -> one strided View of what
 * was computed; row-wise products move before the permutations of their rows. */
weft_status wefti_pass_views(wefti_net *net, weft_error *error);
/* Add -> residual of the product before it or the norm behind it. */
weft_status wefti_pass_residuals(wefti_net *net, weft_error *error);

/* What passes share. */

/* The live node that alone reads `value`, or NULL when it is read more than once or
 * is an output of the graph. */
wefti_net_node *wefti_net_single_user(const wefti_net *net, int32_t value);
/* The value of a constant f32 tensor of one element. */
bool wefti_net_scalar(const wefti_net *net, int32_t value, float *scalar);
/* Adds View(value) -> `output`, a value of another shape with as many elements. */
weft_status wefti_net_insert_reshape(wefti_net *net, wefti_net_node *before,
                                     int32_t value, int32_t output, weft_error *error);
/* True when a View shows all of its input in order. */
bool wefti_net_is_reshape(const wefti_net *net, const wefti_net_node *view);
bool wefti_same_shape(const wefti_known *a, const wefti_known *b);
/* When the node applies an activation that kernels fuse: its kind and parameter. */
bool wefti_net_activation(const wefti_net_node *node, wefti_activation *activation,
                          float *alpha);
weft_attribute wefti_make_int(const char *name, int64_t value);
weft_attribute wefti_make_float(const char *name, float value);
weft_attribute wefti_make_string(const char *name, const char *value);
weft_attribute wefti_make_ints(const char *name, const int64_t *values, size_t count);

#endif
