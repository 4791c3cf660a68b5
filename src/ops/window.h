/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_WINDOW_H
#define WEFTI_OPS_WINDOW_H

#include "ops/operator.h"

/* Windows that slide over 1 to 3 spatial dims, for convolutions and pools; missing
 * leading dims are 1. */
typedef struct wefti_window {
    int32_t rank; /* of the spatial dims: 1 to 3 */
    int64_t in[3], out[3], kernel[3];
    int64_t strides[3], dilations[3];
    int64_t pads_begin[3], pads_end[3];
} wefti_window;

/* Reads kernel, strides, dilations, pads, auto_pad and ceil_mode of a node whose input
 * is [batch, channels, spatial...] and computes the output's spatial dims. `kernel` is
 * the weight's spatial dims, or NULL where the attribute says it. */
weft_status wefti_window_read(const wefti_node_view *node, const wefti_known *input,
                              const int64_t *kernel, wefti_window *window,
                              weft_error *error);

/* Writes the window's sizes into a convolution's parameters. */
void wefti_window_of_conv(const wefti_window *window, wefti_conv_params *params);

#endif
