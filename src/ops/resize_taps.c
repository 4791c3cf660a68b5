/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/resize.h"

/* Where an output place lies among the input places. */
static double source_of(const wefti_resize_plan *plan, const wefti_resize_axis *axis,
                        int64_t place)
{
    const char *mode = plan->coordinates;
    double x = (double)place, in = (double)axis->in;
    double out = axis->scale * in; /* not rounded, as ONNX has it */
    if (strcmp(mode, "align_corners") == 0) {
        return out == 1 ? 0 : x * (in - 1) / (out - 1);
    }
    if (strcmp(mode, "asymmetric") == 0) {
        return x / axis->scale;
    }
    if (strcmp(mode, "tf_crop_and_resize") == 0) {
        double span = (axis->roi_end - axis->roi_begin) * (in - 1);
        double step = out == 1 ? span / 2 : x * span / (out - 1);
        return axis->roi_begin * (in - 1) + step;
    }
    if (strcmp(mode, "pytorch_half_pixel") == 0 && out == 1) {
        return 0;
    }
    double offset = 0;
    if (strcmp(mode, "half_pixel_symmetric") == 0) {
        offset = in / 2 * (1 - (double)axis->out / out);
    }
    return offset + (x + 0.5) / axis->scale - 0.5;
}

/* The weight of an input place at a distance from where the output lies. */
static double filter(const wefti_resize_plan *plan, double distance)
{
    double x = fabs(distance), a = plan->cubic_a;
    if (plan->mode == WEFTI_RESIZE_LINEAR) {
        return x < 1 ? 1 - x : 0;
    }
    if (x <= 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int64_t clamp(int64_t index, int64_t size)
{
    return index < 0 ? 0 : index >= size ? size - 1 : index;
}

/* "old": as before opset 11, up where the axis shrinks, else down. */
static int64_t nearest(const wefti_resize_plan *plan, const wefti_resize_axis *axis,
                       double x)
{
    double below = floor(x), part = x - below;
    bool up = false;
    if (strcmp(plan->rounding, "round_prefer_floor") == 0) {
        up = part > 0.5;
    } else if (strcmp(plan->rounding, "round_prefer_ceil") == 0) {
        up = part >= 0.5;
    } else if (strcmp(plan->rounding, "ceil") == 0 ||
               (strcmp(plan->rounding, "old") == 0 && axis->scale < 1)) {
        up = part > 0;
    }
    return (int64_t)below + up;
}

/* How far the filter reaches, in input places, and its stretch where it shrinks. */
static double stretch_of(const wefti_resize_plan *plan, const wefti_resize_axis *axis)
{
    return plan->antialias && axis->scale < 1 ? axis->scale : 1;
}

int64_t wefti_resize_tap_count(const wefti_resize_plan *plan, int32_t index)
{
    const wefti_resize_axis *axis = &plan->axes[index];
    if (plan->mode == WEFTI_RESIZE_NEAREST) {
        return 1;
    }
    double reach = plan->mode == WEFTI_RESIZE_LINEAR ? 1 : 2;
    double taps = 2 * ceil(reach / stretch_of(plan, axis));
    return taps > INT32_MAX ? INT32_MAX : (int64_t)taps;
}

static void weigh_place(const wefti_resize_plan *plan, const wefti_resize_axis *axis,
                        int64_t place, wefti_resize_taps *taps)
{
    double x = source_of(plan, axis, place), sum = 0;
    double stretch = stretch_of(plan, axis);
    if (taps->outside != NULL) {
        taps->outside[place] = x < 0 || x > (double)(axis->in - 1);
    }
    int64_t *indices = taps->indices + place;
    float *weights = taps->weights + place;
    if (plan->mode == WEFTI_RESIZE_NEAREST) {
        *indices = clamp(nearest(plan, axis, x), axis->in);
        return;
    }
    int64_t first = (int64_t)floor(x) - taps->count / 2 + 1;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t t = 0; t < taps->count; t++) {
            int64_t index = first + t;
            bool inside = index >= 0 && index < axis->in;
            double weight = filter(plan, ((double)index - x) * stretch);
            weight = plan->exclude_outside && !inside ? 0 : weight;
            if (pass == 0) {
                sum += weight;
                continue;
            }
            bool divide = plan->exclude_outside || stretch < 1;
            indices[t * axis->out] = clamp(index, axis->in);
            weights[t * axis->out] =
                (float)(divide && sum != 0 ? weight / sum : weight);
        }
    }
}

weft_status wefti_resize_find_taps(const wefti_resize_plan *plan, int32_t axis_index,
                                   wefti_resize_taps *taps, weft_error *error)
{
    const wefti_resize_axis *axis = &plan->axes[axis_index];
    *taps = (wefti_resize_taps){.count = wefti_resize_tap_count(plan, axis_index)};
    size_t places = (size_t)axis->out, total;
    if (WEFTI_MUL_OVERFLOWS(places, (size_t)taps->count, &total)) {
        return wefti_error_memory(error, "the weights of a resize");
    }
    bool crops = strcmp(plan->coordinates, "tf_crop_and_resize") == 0;
    taps->indices = wefti_calloc(total, sizeof(*taps->indices));
    taps->weights = wefti_calloc(total, sizeof(*taps->weights));
    taps->outside = crops ? wefti_calloc(places, 1) : NULL;
    if (!taps->indices || !taps->weights || (crops && !taps->outside)) {
        wefti_resize_taps_free(taps);
        return wefti_error_memory(error, "the weights of a resize");
    }
    for (int64_t place = 0; place < axis->out; place++) {
        weigh_place(plan, axis, place, taps);
    }
    return WEFT_OK;
}

void wefti_resize_taps_free(wefti_resize_taps *taps)
{
    wefti_free(taps->indices);
    wefti_free(taps->weights);
    wefti_free(taps->outside);
    *taps = (wefti_resize_taps){0};
}
