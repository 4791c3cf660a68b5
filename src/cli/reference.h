/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_REFERENCE_H
#define WEFTI_CLI_REFERENCE_H

#include <stdint.h>

/* Operators in f64 with plain loops: the judge of right answers. They share no code
 * with the library. */

/* c [m,n] = a [m,k] x b [k,n] */
void cli_reference_product(int64_t m, int64_t n, int64_t k, const double *a,
                           const double *b, double *c);

/* y [rows,out] = x [rows,in] x weight [out,in] transposed + bias */
typedef struct cli_reference_sizes {
    int64_t rows, in, out;
} cli_reference_sizes;
void cli_reference_linear(cli_reference_sizes sizes, const double *x,
                          const float *weight, const float *bias, double *y);

/* A convolution with stride 1 over x [batch, in, height, width]; one dimension has
 * height 1, kernel height 1 and no padding there. */
typedef struct cli_reference_window {
    int64_t batch, in, out;
    int64_t height, width;
    int64_t kernel_height, kernel_width;
    int64_t pad_height, pad_width;
} cli_reference_window;
void cli_reference_convolution(const cli_reference_window *w, const double *x,
                               const float *weight, const float *bias, double *y);

/* In place over rows of `size` elements. */
void cli_reference_softmax(int64_t rows, int64_t size, double *x);
void cli_reference_norm(int64_t rows, int64_t size, double epsilon, const float *weight,
                        const float *bias, double *x);

void cli_reference_relu(int64_t count, double *x);
void cli_reference_gelu(int64_t count, double *x);

/* y [batch, sequence, heads * width] from packed [batch, sequence, 3 * heads * width],
 * queries, keys and values side by side. */
void cli_reference_attention(int64_t batch, int64_t sequence, int64_t heads,
                             int64_t width, const double *packed, double *y);

#endif
