/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* SAMPLE: values between the pixels of images. */

enum { MOST_TAPS = 64 };

/* The pixels that one coordinate reads, and how much of each; -1: nothing there. */
typedef struct axis_taps {
    int32_t count;
    int64_t index[4];
    float weight[4];
} axis_taps;

/* Mirrors at the borders as often as it takes. */
static double reflect(double x, double low, double high)
{
    double range = high - low;
    if (!(range > 0.0) || !(fabs(x) < 1e15)) {
        return low;
    }
    double beyond = x < low ? low - x : (x > high ? x - high : -1.0);
    if (beyond < 0.0) {
        return x;
    }
    double times = floor(beyond / range), rest = beyond - times * range;
    bool odd = fmod(times, 2.0) != 0.0;
    return (x < low) != odd ? low + rest : high - rest;
}

static int64_t clamp(double x, int64_t size)
{
    return x > 0.0 ? (x < (double)(size - 1) ? (int64_t)x : size - 1) : 0;
}

static int64_t pixel_at(const wefti_sample_params *p, double x, int64_t size)
{
    bool inside = x >= 0.0 && x < (double)size;
    if (p->padding == WEFTI_SAMPLE_ZEROS) {
        return inside ? (int64_t)x : -1;
    }
    if (p->padding == WEFTI_SAMPLE_REFLECTION && !inside) {
        x = p->align_corners ? reflect(x, 0.0, (double)(size - 1))
                             : reflect(x, -0.5, (double)size - 0.5);
    }
    return clamp(x, size);
}

/* Where the coordinate is in pixels; nothing is near what is no number. */
static double place_of(const wefti_sample_params *p, float coordinate, int64_t size)
{
    double x = coordinate, n = (double)size;
    if (!p->pixels) {
        x = p->align_corners ? (x + 1.0) / 2.0 * (n - 1.0)
                             : ((x + 1.0) * n - 1.0) / 2.0;
    }
    x = p->mode == WEFTI_SAMPLE_NEAREST ? nearbyint(x) : x;
    double low = p->align_corners ? 0.0 : -0.5;
    double high = p->align_corners ? n - 1.0 : n - 0.5;
    if (!(x >= low && x <= high) && p->padding == WEFTI_SAMPLE_BORDER) {
        x = (double)clamp(x, size);
    } else if (!(x >= low && x <= high) && p->padding == WEFTI_SAMPLE_REFLECTION) {
        x = reflect(x, low, high);
    }
    return fabs(x) < 1e9 ? x : -1e9;
}

/* Keys' cubic convolution with a = -0.75, for a pixel at a distance below 2. */
static double cubic_weight(double d)
{
    const double a = -0.75;
    return d <= 1.0 ? ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
                    : ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
}

static void find_taps(const wefti_sample_params *p, float coordinate, int64_t size,
                      axis_taps *taps)
{
    double x = place_of(p, coordinate, size), first = floor(x), t = x - first;
    bool cubic = p->mode == WEFTI_SAMPLE_CUBIC;
    taps->count = cubic ? 4 : (p->mode == WEFTI_SAMPLE_LINEAR ? 2 : 1);
    first -= cubic ? 1.0 : 0.0;
    for (int32_t i = 0; i < taps->count; i++) {
        double distance = fabs(cubic ? t + 1.0 - i : t - i);
        double weight = cubic ? cubic_weight(distance) : 1.0 - distance;
        taps->index[i] = pixel_at(p, first + i, size);
        taps->weight[i] = taps->count == 1 ? 1.0F : (float)weight;
    }
}

/* What one point reads of a plane. */
typedef struct point_taps {
    int32_t count;
    int64_t offset[MOST_TAPS];
    float weight[MOST_TAPS];
} point_taps;

/* Joins the taps of the axes, row-major; leaves out what is outside. */
static void join_taps(const wefti_sample_params *p, const axis_taps axes[3],
                      point_taps *point)
{
    int32_t total = axes[0].count * axes[1].count * axes[2].count;
    point->count = 0;
    for (int32_t i = 0; i < total; i++) {
        const int32_t at[3] = {i / (axes[1].count * axes[2].count),
                               i / axes[2].count % axes[1].count, i % axes[2].count};
        int64_t offset = 0;
        float weight = 1.0F;
        bool inside = true;
        for (int32_t j = 0; j < 3; j++) {
            int64_t index = axes[j].index[at[j]];
            inside = inside && index >= 0;
            offset = offset * p->in_dims[j] + index;
            weight *= axes[j].weight[at[j]];
        }
        if (inside) {
            point->offset[point->count] = offset;
            point->weight[point->count++] = weight;
        }
    }
}

static void read_point(const wefti_sample_params *p, const float *coordinates,
                       point_taps *point)
{
    axis_taps axes[3] = {{1, {0}, {1.0F}}, {1, {0}, {1.0F}}, {1, {0}, {1.0F}}};
    for (int32_t i = 0; i < p->rank; i++) {
        int32_t axis = p->pixels ? 3 - p->rank + i : 2 - i;
        find_taps(p, coordinates[i], p->in_dims[axis], &axes[axis]);
    }
    join_taps(p, axes, point);
}

static weft_status sample(const wefti_cpu_call *call, void *scratch, int64_t begin,
                          int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_sample_params *p = call->params;
    const float *input = call->operands[WEFTI_SAMPLE_INPUT];
    const float *points = call->operands[WEFTI_SAMPLE_POINTS];
    float *output = call->operands[WEFTI_SAMPLE_OUTPUT];
    int64_t plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    int64_t count = p->batch * p->point_count, last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t image = i / p->point_count, at = i % p->point_count;
        point_taps point;
        read_point(p, points + i * p->rank, &point);
        for (int64_t c = image * p->channels; c < (image + 1) * p->channels; c++) {
            float sum = 0.0F;
            for (int32_t t = 0; t < point.count; t++) {
                sum += point.weight[t] * input[c * plane + point.offset[t]];
            }
            output[c * p->point_count + at] = sum;
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_sample_reference(const wefti_step *step, bool may_pack,
                                           wefti_cpu_prepared *prepared,
                                           weft_error *error)
{
    (void)may_pack;
    const wefti_sample_params *p = step->params;
    if (p->rank < 1 || p->rank > 3 || p->in_dims[0] < 1 || p->in_dims[1] < 1 ||
        p->in_dims[2] < 1) {
        return wefti_error(error, WEFT_UNSUPPORTED, "sample: images of %d dimensions",
                           (int)p->rank);
    }
    return ref_prepared(prepared, sample, p->batch * p->point_count,
                        60.0 + 8.0 * (double)p->channels);
}
