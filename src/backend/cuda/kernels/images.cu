/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* FOLD, SAMPLE, ROI_ALIGN and POOL_INDICES: one thread has one output. */

#define IMAGES_THREADS 256

/* The block whose kernel position reaches `out` along one dimension, or -1. */
WEFTI_DEVICE int64_t images_block_of(const wefti_fold_params *p, int32_t d, int64_t out,
                                     int64_t position)
{
    const int64_t at = out + p->pads_begin[d] - position * p->dilations[d];
    if (at < 0 || at % p->strides[d] != 0) {
        return -1;
    }
    return at / p->strides[d] < p->block_dims[d] ? at / p->strides[d] : -1;
}

WEFTI_KERNEL(IMAGES_THREADS, weft_fold, wefti_cuda_fold_call)
{
    const int64_t index = (int64_t)blockIdx.x * IMAGES_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_fold_params *p = &call.p;
    const int64_t *k = p->kernel_dims, *b = p->block_dims, *o = p->out_dims;
    const int64_t x = index % o[2], row = index / o[2];
    const int64_t y = row % o[1], z = row / o[1] % o[0], plane = row / o[1] / o[0];
    const int64_t block_count = b[0] * b[1] * b[2];
    const float *columns = (const float *)call.operands[WEFTI_FOLD_COLUMNS] +
                           plane * k[0] * k[1] * k[2] * block_count;
    const float *bias = (const float *)call.operands[WEFTI_FOLD_BIAS];
    float sum = bias == NULL ? 0.0f : bias[plane % p->channel_count];
    for (int64_t i = 0; i < k[0] * k[1]; i++) {
        const int64_t block_z = images_block_of(p, 0, z, i / k[1]);
        const int64_t block_y = images_block_of(p, 1, y, i % k[1]);
        for (int64_t j = 0; block_z >= 0 && block_y >= 0 && j < k[2]; j++) {
            const int64_t block_x = images_block_of(p, 2, x, j);
            if (block_x >= 0) {
                sum = sum + columns[(i * k[2] + j) * block_count +
                                    (block_z * b[1] + block_y) * b[2] + block_x];
            }
        }
    }
    ((float *)call.operands[WEFTI_FOLD_OUTPUT])[index] = ref_canonical(sum);
}

/* The pixels that one coordinate reads, and how much of each; -1: nothing there. */
typedef struct images_taps {
    int32_t count;
    int64_t index[4];
    float weight[4];
} images_taps;

/* Mirrors at the borders as often as it takes. */
WEFTI_DEVICE double images_reflect(double x, double low, double high)
{
    const double range = high - low;
    if (!(range > 0.0) || !(fabs(x) < 1e15)) {
        return low;
    }
    const double beyond = x < low ? low - x : (x > high ? x - high : -1.0);
    if (beyond < 0.0) {
        return x;
    }
    const double times = floor(beyond / range), rest = beyond - times * range;
    const bool odd = fmod(times, 2.0) != 0.0;
    return (x < low) != odd ? low + rest : high - rest;
}

WEFTI_DEVICE int64_t images_clamp(double x, int64_t size)
{
    return x > 0.0 ? (x < (double)(size - 1) ? (int64_t)x : size - 1) : 0;
}

WEFTI_DEVICE int64_t images_pixel_at(const wefti_sample_params *p, double x,
                                     int64_t size)
{
    const bool inside = x >= 0.0 && x < (double)size;
    if (p->padding == WEFTI_SAMPLE_ZEROS) {
        return inside ? (int64_t)x : -1;
    }
    if (p->padding == WEFTI_SAMPLE_REFLECTION && !inside) {
        x = p->align_corners ? images_reflect(x, 0.0, (double)(size - 1))
                             : images_reflect(x, -0.5, (double)size - 0.5);
    }
    return images_clamp(x, size);
}

/* Where the coordinate is in pixels; nothing is near what is no number. */
WEFTI_DEVICE double images_place_of(const wefti_sample_params *p, float coordinate,
                                    int64_t size)
{
    double x = (double)coordinate;
    const double n = (double)size;
    if (!p->pixels) {
        x = p->align_corners ? (x + 1.0) / 2.0 * (n - 1.0)
                             : ((x + 1.0) * n - 1.0) / 2.0;
    }
    x = p->mode == WEFTI_SAMPLE_NEAREST ? nearbyint(x) : x;
    const double low = p->align_corners ? 0.0 : -0.5;
    const double high = p->align_corners ? n - 1.0 : n - 0.5;
    if (!(x >= low && x <= high) && p->padding == WEFTI_SAMPLE_BORDER) {
        x = (double)images_clamp(x, size);
    } else if (!(x >= low && x <= high) && p->padding == WEFTI_SAMPLE_REFLECTION) {
        x = images_reflect(x, low, high);
    }
    return fabs(x) < 1e9 ? x : -1e9;
}

/* Keys' cubic convolution with a = -0.75, for a pixel at a distance below 2. */
WEFTI_DEVICE double images_cubic_weight(double d)
{
    const double a = -0.75;
    return d <= 1.0 ? ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
                    : ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
}

WEFTI_DEVICE void images_find_taps(const wefti_sample_params *p, float coordinate,
                                   int64_t size, images_taps *taps)
{
    const double x = images_place_of(p, coordinate, size), first = floor(x);
    const double t = x - first;
    const bool cubic = p->mode == WEFTI_SAMPLE_CUBIC;
    const int32_t before = cubic ? 1 : 0;
    taps->count = cubic ? 4 : (p->mode == WEFTI_SAMPLE_LINEAR ? 2 : 1);
    for (int32_t i = 0; i < taps->count; i++) {
        const double distance = fabs(cubic ? t + 1.0 - i : t - i);
        const double weight = cubic ? images_cubic_weight(distance) : 1.0 - distance;
        taps->index[i] = images_pixel_at(p, first - before + i, size);
        taps->weight[i] = taps->count == 1 ? 1.0f : (float)weight;
    }
}

/* The sum over the taps of all axes, row-major; what is outside is left out. */
WEFTI_DEVICE float images_read_point(const wefti_sample_params *p,
                                     const images_taps axes[3], const float *plane)
{
    const int32_t total = axes[0].count * axes[1].count * axes[2].count;
    float sum = 0.0f;
    for (int32_t i = 0; i < total; i++) {
        const int32_t at[3] = {i / (axes[1].count * axes[2].count),
                               i / axes[2].count % axes[1].count, i % axes[2].count};
        int64_t offset = 0;
        float weight = 1.0f;
        bool inside = true;
        for (int32_t j = 0; j < 3; j++) {
            const int64_t index = axes[j].index[at[j]];
            inside = inside && index >= 0;
            offset = offset * p->in_dims[j] + index;
            weight = weight * axes[j].weight[at[j]];
        }
        if (inside) {
            sum = sum + weight * plane[offset];
        }
    }
    return sum;
}

WEFTI_KERNEL(IMAGES_THREADS, weft_sample, wefti_cuda_sample_call)
{
    const int64_t index = (int64_t)blockIdx.x * IMAGES_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_sample_params *p = &call.p;
    const int64_t point = index % p->point_count, plane = index / p->point_count;
    const float *coordinates = (const float *)call.operands[WEFTI_SAMPLE_POINTS] +
                               (plane / p->channels * p->point_count + point) * p->rank;
    images_taps axes[3];
    for (int32_t j = 0; j < 3; j++) {
        axes[j].count = 1;
        axes[j].index[0] = 0;
        axes[j].weight[0] = 1.0f;
    }
    for (int32_t i = 0; i < p->rank; i++) {
        const int32_t axis = p->pixels ? 3 - p->rank + i : 2 - i;
        images_find_taps(p, coordinates[i], p->in_dims[axis], &axes[axis]);
    }
    const float sum =
        images_read_point(p, axes,
                          (const float *)call.operands[WEFTI_SAMPLE_INPUT] +
                              plane * p->in_dims[0] * p->in_dims[1] * p->in_dims[2]);
    ((float *)call.operands[WEFTI_SAMPLE_OUTPUT])[index] = ref_canonical(sum);
}

/* A rectangle in pixels, cut into cells. */
typedef struct images_region {
    double x, y, cell_width, cell_height;
    int64_t samples_x, samples_y;
} images_region;

WEFTI_DEVICE double images_at_least(double x, double least)
{
    return x < least ? least : x;
}

/* False: the region is too large, or its edges are no numbers. */
WEFTI_DEVICE bool images_read_region(const wefti_roi_align_params *p, const float *roi,
                                     images_region *r)
{
    const double scale = (double)p->spatial_scale, offset = p->half_pixel ? 0.5 : 0.0;
    const double most = (double)WEFTI_CUDA_ROI_ALIGN_MOST_SAMPLES;
    r->x = (double)roi[0] * scale - offset;
    r->y = (double)roi[1] * scale - offset;
    double width = (double)roi[2] * scale - offset - r->x;
    double height = (double)roi[3] * scale - offset - r->y;
    if (!p->half_pixel) {
        width = images_at_least(width, 1.0);
        height = images_at_least(height, 1.0);
    }
    r->cell_width = width / (double)p->out_width;
    r->cell_height = height / (double)p->out_height;
    if (!(fabs(r->cell_width) <= most && fabs(r->cell_height) <= most &&
          fabs(r->x) < 1e9 && fabs(r->y) < 1e9)) {
        return false;
    }
    const bool given = p->sampling_ratio > 0;
    r->samples_x = given ? p->sampling_ratio : (int64_t)ceil(r->cell_width);
    r->samples_y = given ? p->sampling_ratio : (int64_t)ceil(r->cell_height);
    return true;
}

/* The two pixels beside a place and the part of the second. */
WEFTI_DEVICE double images_split_place(double x, int64_t size, int64_t pixels[2])
{
    x = images_at_least(x, 0.0);
    pixels[0] = (int64_t)x;
    if (pixels[0] >= size - 1) {
        pixels[0] = pixels[1] = size - 1;
        return 0.0;
    }
    pixels[1] = pixels[0] + 1;
    return x - (double)pixels[0];
}

/* One sample: the interpolated value, or the largest of its weighted neighbours. */
WEFTI_DEVICE double images_read_place(const wefti_roi_align_params *p,
                                      const float *plane, double x, double y)
{
    int64_t columns[2], rows[2];
    if (y < -1.0 || y > (double)p->height || x < -1.0 || x > (double)p->width) {
        return 0.0;
    }
    const double fx = images_split_place(x, p->width, columns);
    const double fy = images_split_place(y, p->height, rows);
    const float *top = plane + rows[0] * p->width, *low = plane + rows[1] * p->width;
    const double a = (1.0 - fy) * (1.0 - fx) * (double)top[columns[0]];
    const double b = (1.0 - fy) * fx * (double)top[columns[1]];
    const double c = fy * (1.0 - fx) * (double)low[columns[0]];
    const double d = fy * fx * (double)low[columns[1]];
    if (!p->largest) {
        return a + b + c + d;
    }
    return images_at_least(images_at_least(a, b), images_at_least(c, d));
}

WEFTI_DEVICE float images_read_cell(const wefti_roi_align_params *p,
                                    const images_region *r, const float *plane,
                                    int64_t row, int64_t column)
{
    double result = 0.0;
    bool first = true;
    for (int64_t i = 0; i < r->samples_y; i++) {
        const double y = r->y + (double)row * r->cell_height +
                         ((double)i + 0.5) * r->cell_height / (double)r->samples_y;
        for (int64_t j = 0; j < r->samples_x; j++) {
            const double x = r->x + (double)column * r->cell_width +
                             ((double)j + 0.5) * r->cell_width / (double)r->samples_x;
            const double value = images_read_place(p, plane, x, y);
            const double most = first ? value : images_at_least(value, result);
            result = p->largest ? most : result + value;
            first = false;
        }
    }
    const double count = (double)(r->samples_x * r->samples_y);
    return (float)(p->largest ? result : result / images_at_least(count, 1.0));
}

WEFTI_KERNEL(IMAGES_THREADS, weft_roi_align, wefti_cuda_roi_align_call)
{
    const int64_t index = (int64_t)blockIdx.x * IMAGES_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_roi_align_params *p = &call.p;
    const int64_t column = index % p->out_width;
    const int64_t row = index / p->out_width % p->out_height;
    const int64_t plane = index / p->out_width / p->out_height;
    const int64_t number = plane / p->channels;
    const void *images = call.operands[WEFTI_ROI_ALIGN_IMAGES];
    void *report = call.operands[WEFTI_CUDA_ROI_ALIGN_REPORT];
    const int64_t image = p->index_type == WEFT_TYPE_I32
                              ? ((const int32_t *)images)[number]
                              : ((const int64_t *)images)[number];
    images_region r;
    if (image < 0 || image >= p->batch) {
        device_report(report, call.step, 2 * number);
        return;
    }
    if (!images_read_region(
            p, (const float *)call.operands[WEFTI_ROI_ALIGN_REGIONS] + 4 * number,
            &r)) {
        device_report(report, call.step, 2 * number + 1);
        return;
    }
    const float *input =
        (const float *)call.operands[WEFTI_ROI_ALIGN_INPUT] +
        (image * p->channels + plane % p->channels) * p->height * p->width;
    ((float *)call.operands[WEFTI_ROI_ALIGN_OUTPUT])[index] =
        ref_canonical(images_read_cell(p, &r, input, row, column));
}

/* The number of an element in its plane. */
WEFTI_DEVICE int64_t images_number_of(const wefti_pool_indices_params *q,
                                      const int64_t at[3])
{
    const int64_t *dims = q->pool.in_dims;
    return q->column_major ? at[0] + dims[0] * (at[1] + dims[1] * at[2])
                           : (at[0] * dims[1] + at[1]) * dims[2] + at[2];
}

/* The largest of a window and its number in the plane, -1 when there is none. */
WEFTI_DEVICE float images_find_largest(const wefti_pool_indices_params *q,
                                       const float *plane, const int64_t out[3],
                                       int64_t *number)
{
    const wefti_pool_params *p = &q->pool;
    const int64_t *k = p->kernel_dims;
    float value = -INFINITY;
    *number = -1;
    for (int64_t i = 0; i < k[0] * k[1] * k[2]; i++) {
        const int64_t tap[3] = {i / (k[1] * k[2]), i / k[2] % k[1], i % k[2]};
        int64_t at[3];
        bool inside = true;
        for (int32_t j = 0; j < 3; j++) {
            at[j] =
                out[j] * p->strides[j] - p->pads_begin[j] + tap[j] * p->dilations[j];
            inside = inside && at[j] >= 0 && at[j] < p->in_dims[j];
        }
        if (!inside) {
            continue;
        }
        const float x = plane[(at[0] * p->in_dims[1] + at[1]) * p->in_dims[2] + at[2]];
        if (*number < 0 || x > value || (x != x && value == value)) {
            value = x;
            *number = images_number_of(q, at);
        }
    }
    return value;
}

WEFTI_KERNEL(IMAGES_THREADS, weft_pool_indices, wefti_cuda_pool_indices_call)
{
    const int64_t index = (int64_t)blockIdx.x * IMAGES_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_pool_params *p = &call.p.pool;
    const int64_t in = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const int64_t row = index / p->out_dims[2], plane = row / p->out_dims[1];
    const int64_t out[3] = {plane % p->out_dims[0], row % p->out_dims[1],
                            index % p->out_dims[2]};
    const int64_t start = plane / p->out_dims[0] * in;
    float *values = (float *)call.operands[WEFTI_POOL_INDICES_VALUES];
    int64_t number;
    const float value = images_find_largest(
        &call.p, (const float *)call.operands[WEFTI_POOL_INDICES_INPUT] + start, out,
        &number);
    if (values != NULL) {
        values[index] = value;
    }
    ((int64_t *)call.operands[WEFTI_POOL_INDICES_INDICES])[index] =
        start + (number < 0 ? 0 : number);
}
