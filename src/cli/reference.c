/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/support.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

enum { DEPTH = 64, WIDTH = 256 };

/* c [width] += a [depth] x b [depth, width], four terms for each pass over c; the rows
 * of b are `stride` apart. */
static void multiply_row(int64_t width, int64_t depth, const double *a, const double *b,
                         int64_t stride, double *restrict c)
{
    int64_t p = 0;
    for (; p + 4 <= depth; p += 4) {
        const double *b0 = b + p * stride;
        const double *b1 = b0 + stride;
        const double *b2 = b1 + stride;
        const double *b3 = b2 + stride;
        for (int64_t j = 0; j < width; j++) {
            c[j] = c[j] + a[p] * b0[j] + a[p + 1] * b1[j] + a[p + 2] * b2[j] +
                   a[p + 3] * b3[j];
        }
    }
    for (; p < depth; p++) {
        for (int64_t j = 0; j < width; j++) {
            c[j] += a[p] * b[p * stride + j];
        }
    }
}

void cli_reference_product(int64_t m, int64_t n, int64_t k, const double *a,
                           const double *b, double *c)
{
    memset(c, 0, (size_t)(m * n) * sizeof(*c));
    for (int64_t p = 0; p < k; p += DEPTH) {
        for (int64_t j = 0; j < n; j += WIDTH) {
            for (int64_t i = 0; i < m; i++) {
                multiply_row(least(WIDTH, n - j), least(DEPTH, k - p), a + i * k + p,
                             b + p * n + j, n, c + i * n + j);
            }
        }
    }
}

void cli_reference_linear(cli_reference_sizes sizes, const double *x,
                          const float *weight, const float *bias, double *y)
{
    int64_t in = sizes.in;
    int64_t out = sizes.out;
    double *turned = cli_allocate((size_t)(in * out), sizeof(*turned));
    for (int64_t j = 0; j < out; j++) {
        for (int64_t k = 0; k < in; k++) {
            turned[k * out + j] = weight[j * in + k];
        }
    }
    cli_reference_product(sizes.rows, out, in, x, turned, y);
    free(turned);
    for (int64_t i = 0; i < sizes.rows; i++) {
        for (int64_t j = 0; j < out; j++) {
            y[i * out + j] += bias[j];
        }
    }
}

/* y += factor * x shifted by one kernel position, over all rows where both exist. */
static void add_shifted(const cli_reference_window *w, double factor, int64_t down,
                        int64_t right, const double *restrict x, double *restrict y)
{
    int64_t rows = w->height + 2 * w->pad_height - w->kernel_height + 1;
    int64_t columns = w->width + 2 * w->pad_width - w->kernel_width + 1;
    int64_t first = right < 0 ? -right : 0;
    int64_t last = least(columns, w->width - right);
    for (int64_t i = 0; i < rows; i++) {
        if (i + down < 0 || i + down >= w->height) {
            continue;
        }
        const double *source = x + (i + down) * w->width + right;
        for (int64_t j = first; j < last; j++) {
            y[i * columns + j] += factor * source[j];
        }
    }
}

/* One output channel of one image. */
static void convolve_channel(const cli_reference_window *w, const double *x,
                             const float *weight, double bias, double *y)
{
    int64_t rows = w->height + 2 * w->pad_height - w->kernel_height + 1;
    int64_t columns = w->width + 2 * w->pad_width - w->kernel_width + 1;
    int64_t taps = w->kernel_height * w->kernel_width;
    for (int64_t i = 0; i < rows * columns; i++) {
        y[i] = bias;
    }
    for (int64_t c = 0; c < w->in; c++) {
        for (int64_t tap = 0; tap < taps; tap++) {
            add_shifted(
                w, weight[c * taps + tap], tap / w->kernel_width - w->pad_height,
                tap % w->kernel_width - w->pad_width, x + c * w->height * w->width, y);
        }
    }
}

void cli_reference_convolution(const cli_reference_window *w, const double *x,
                               const float *weight, const float *bias, double *y)
{
    int64_t rows = w->height + 2 * w->pad_height - w->kernel_height + 1;
    int64_t columns = w->width + 2 * w->pad_width - w->kernel_width + 1;
    int64_t filter = w->in * w->kernel_height * w->kernel_width;
    for (int64_t n = 0; n < w->batch; n++) {
        const double *image = x + n * w->in * w->height * w->width;
        for (int64_t o = 0; o < w->out; o++) {
            convolve_channel(w, image, weight + o * filter, bias[o],
                             y + (n * w->out + o) * rows * columns);
        }
    }
}

void cli_reference_softmax(int64_t rows, int64_t size, double *x)
{
    for (int64_t i = 0; i < rows; i++) {
        double *row = x + i * size;
        double highest = row[0];
        double sum = 0;
        for (int64_t j = 1; j < size; j++) {
            highest = row[j] > highest ? row[j] : highest;
        }
        for (int64_t j = 0; j < size; j++) {
            row[j] = exp(row[j] - highest);
            sum += row[j];
        }
        for (int64_t j = 0; j < size; j++) {
            row[j] /= sum;
        }
    }
}

void cli_reference_norm(int64_t rows, int64_t size, double epsilon, const float *weight,
                        const float *bias, double *x)
{
    for (int64_t i = 0; i < rows; i++) {
        double *row = x + i * size;
        double mean = 0;
        double variance = 0;
        for (int64_t j = 0; j < size; j++) {
            mean += row[j] / (double)size;
        }
        for (int64_t j = 0; j < size; j++) {
            variance += (row[j] - mean) * (row[j] - mean) / (double)size;
        }
        for (int64_t j = 0; j < size; j++) {
            row[j] = (row[j] - mean) / sqrt(variance + epsilon) * weight[j] + bias[j];
        }
    }
}

void cli_reference_relu(int64_t count, double *x)
{
    for (int64_t i = 0; i < count; i++) {
        x[i] = x[i] > 0 ? x[i] : 0;
    }
}

void cli_reference_gelu(int64_t count, double *x)
{
    for (int64_t i = 0; i < count; i++) {
        x[i] = 0.5 * x[i] * (1 + erf(x[i] * sqrt(0.5)));
    }
}

/* Where one head of one sequence lies in the packed projection; rows are `stride`
 * apart. */
typedef struct head {
    const double *queries, *keys, *values;
    int64_t sequence, width, stride;
} head;

/* Query row i against all keys, then over the values. */
static void attend_row(const head *h, int64_t i, double *scores, double *y)
{
    const double *query = h->queries + i * h->stride;
    for (int64_t j = 0; j < h->sequence; j++) {
        double sum = 0;
        for (int64_t k = 0; k < h->width; k++) {
            sum += query[k] * h->keys[j * h->stride + k];
        }
        scores[j] = sum / sqrt((double)h->width);
    }
    cli_reference_softmax(1, h->sequence, scores);
    for (int64_t k = 0; k < h->width; k++) {
        y[k] = 0;
    }
    for (int64_t j = 0; j < h->sequence; j++) {
        for (int64_t k = 0; k < h->width; k++) {
            y[k] += scores[j] * h->values[j * h->stride + k];
        }
    }
}

void cli_reference_attention(int64_t batch, int64_t sequence, int64_t heads,
                             int64_t width, const double *packed, double *y)
{
    int64_t size = heads * width;
    double *scores = cli_allocate((size_t)sequence, sizeof(*scores));
    for (int64_t n = 0; n < batch * heads; n++) {
        const double *origin =
            packed + n / heads * sequence * 3 * size + n % heads * width;
        double *target = y + n / heads * sequence * size + n % heads * width;
        head h = {origin, origin + size, origin + 2 * size, sequence, width, 3 * size};
        for (int64_t i = 0; i < sequence; i++) {
            attend_row(&h, i, scores, target + i * size);
        }
    }
    free(scores);
}
