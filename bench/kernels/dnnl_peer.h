/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_BENCH_KERNELS_DNNL_PEER_H
#define WEFT_BENCH_KERNELS_DNNL_PEER_H

#include "backend/kernel.h"

/* oneDNN doing the same work on one thread, with its own choice of weight layout,
 * made beforehand. */
typedef struct dnnl_peer dnnl_peer;

/* NULL when oneDNN cannot or is not there. `packed`: B is a constant. */
dnnl_peer *dnnl_peer_matmul(const wefti_matmul_params *params, float *a, float *b,
                            float *c, bool packed);
dnnl_peer *dnnl_peer_conv(const wefti_conv_params *params, float *input, float *weight,
                          float *bias, float *output);
void dnnl_peer_run(dnnl_peer *peer);
void dnnl_peer_destroy(dnnl_peer *peer);

#endif
