/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* ROI_ALIGN: what lies under the cells of rectangles. */

enum { MOST_SAMPLES = 1 << 12 }; /* of a cell, in one direction */

/* A rectangle in pixels, cut into cells. */
typedef struct region {
    double x, y, cell_width, cell_height;
    int64_t samples_x, samples_y;
} region;

static double at_least(double x, double least)
{
    return x < least ? least : x;
}

static weft_status read_region(const wefti_roi_align_params *p, const float *roi,
                               region *r, weft_error *error)
{
    double scale = (double)p->spatial_scale, offset = p->half_pixel ? 0.5 : 0.0;
    r->x = (double)roi[0] * scale - offset;
    r->y = (double)roi[1] * scale - offset;
    double width = (double)roi[2] * scale - offset - r->x;
    double height = (double)roi[3] * scale - offset - r->y;
    if (!p->half_pixel) {
        width = at_least(width, 1.0);
        height = at_least(height, 1.0);
    }
    r->cell_width = width / (double)p->out_width;
    r->cell_height = height / (double)p->out_height;
    if (!(fabs(r->cell_width) <= MOST_SAMPLES && fabs(r->cell_height) <= MOST_SAMPLES &&
          fabs(r->x) < 1e9 && fabs(r->y) < 1e9)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "a region is too large, or its edges are no numbers");
    }
    bool given = p->sampling_ratio > 0;
    r->samples_x = given ? p->sampling_ratio : (int64_t)ceil(r->cell_width);
    r->samples_y = given ? p->sampling_ratio : (int64_t)ceil(r->cell_height);
    return WEFT_OK;
}

/* The two pixels beside a place and the part of the second. */
static double split_place(double x, int64_t size, int64_t pixels[2])
{
    x = at_least(x, 0.0);
    pixels[0] = (int64_t)x;
    if (pixels[0] >= size - 1) {
        pixels[0] = pixels[1] = size - 1;
        return 0.0;
    }
    pixels[1] = pixels[0] + 1;
    return x - (double)pixels[0];
}

/* One sample: the interpolated value, or the largest of its weighted neighbours. */
static double read_place(const wefti_roi_align_params *p, const float *plane, double x,
                         double y)
{
    int64_t columns[2], rows[2];
    if (y < -1.0 || y > (double)p->height || x < -1.0 || x > (double)p->width) {
        return 0.0;
    }
    double fx = split_place(x, p->width, columns);
    double fy = split_place(y, p->height, rows);
    double a = (1.0 - fy) * (1.0 - fx) * plane[rows[0] * p->width + columns[0]];
    double b = (1.0 - fy) * fx * plane[rows[0] * p->width + columns[1]];
    double c = fy * (1.0 - fx) * plane[rows[1] * p->width + columns[0]];
    double d = fy * fx * plane[rows[1] * p->width + columns[1]];
    if (!p->largest) {
        return a + b + c + d;
    }
    return at_least(at_least(a, b), at_least(c, d));
}

static float read_cell(const wefti_roi_align_params *p, const region *r,
                       const float *plane, int64_t row, int64_t column)
{
    double result = 0.0;
    bool first = true;
    for (int64_t i = 0; i < r->samples_y; i++) {
        double y = r->y + (double)row * r->cell_height +
                   ((double)i + 0.5) * r->cell_height / (double)r->samples_y;
        for (int64_t j = 0; j < r->samples_x; j++) {
            double x = r->x + (double)column * r->cell_width +
                       ((double)j + 0.5) * r->cell_width / (double)r->samples_x;
            double value = read_place(p, plane, x, y);
            result =
                p->largest ? (first ? value : at_least(value, result)) : result + value;
            first = false;
        }
    }
    double count = (double)(r->samples_x * r->samples_y);
    return (float)(p->largest ? result : result / at_least(count, 1.0));
}

static int64_t image_of(const wefti_roi_align_params *p, const void *indices, int64_t i)
{
    return p->index_type == WEFT_TYPE_I32 ? ((const int32_t *)indices)[i]
                                          : ((const int64_t *)indices)[i];
}

static weft_status align(const wefti_cpu_call *call, void *scratch, int64_t begin,
                         int64_t end, weft_error *error)
{
    (void)scratch;
    const wefti_roi_align_params *p = call->params;
    const float *input = call->operands[WEFTI_ROI_ALIGN_INPUT];
    const float *rois = call->operands[WEFTI_ROI_ALIGN_REGIONS];
    float *output = call->operands[WEFTI_ROI_ALIGN_OUTPUT];
    int64_t count = p->region_count * p->channels, last = ref_tile_start(count, end);
    int64_t cells = p->out_height * p->out_width;
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t n = i / p->channels;
        int64_t image = image_of(p, call->operands[WEFTI_ROI_ALIGN_IMAGES], n);
        region r = {0};
        if (image < 0 || image >= p->batch) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "region %" PRId64 " is of image %" PRId64
                               "; there are %" PRId64,
                               n, image, p->batch);
        }
        WEFTI_TRY(read_region(p, rois + n * 4, &r, error));
        const float *plane =
            input + (image * p->channels + i % p->channels) * p->height * p->width;
        for (int64_t cell = 0; cell < cells; cell++) {
            output[i * cells + cell] =
                read_cell(p, &r, plane, cell / p->out_width, cell % p->out_width);
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_roi_align_reference(const wefti_step *step, bool may_pack,
                                              wefti_cpu_prepared *prepared,
                                              weft_error *error)
{
    (void)may_pack;
    const wefti_roi_align_params *p = step->params;
    if (p->height < 1 || p->width < 1 || p->out_height < 1 || p->out_width < 1 ||
        p->sampling_ratio > MOST_SAMPLES) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "roi_align: empty images or cells, or too many samples");
    }
    return ref_prepared(prepared, align, p->region_count * p->channels,
                        80.0 * (double)(p->out_height * p->out_width));
}
