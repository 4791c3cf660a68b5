/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_RESIZE_H
#define WEFTI_OPS_RESIZE_H

#include "ops/operator.h"

/* How Resize maps one axis: each output place is a weighted sum of input places. */
typedef struct wefti_resize_axis {
    double scale;
    int64_t in, out;
    double roi_begin, roi_end; /* tf_crop_and_resize */
    bool same;                 /* nothing happens */
} wefti_resize_axis;

typedef enum wefti_resize_mode {
    WEFTI_RESIZE_NEAREST,
    WEFTI_RESIZE_LINEAR,
    WEFTI_RESIZE_CUBIC,
} wefti_resize_mode;

typedef struct wefti_resize_plan {
    wefti_resize_mode mode;
    const char *coordinates, *rounding;
    double cubic_a;
    bool antialias, exclude_outside;
    wefti_resize_axis axes[WEFT_MAX_RANK];
} wefti_resize_plan;

/* Reads attributes and constants; the outputs' sizes are in `axes`. */
weft_status wefti_resize_read(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_resize_plan *plan, weft_error *error);

/* The taps of an axis: output o reads inputs indices[t * out + o] with the weight
 * weights[t * out + o], for each of `count` taps. Freed by wefti_resize_taps_free. */
typedef struct wefti_resize_taps {
    int64_t count;
    int64_t *indices;
    float *weights;
    uint8_t *outside; /* where the answer is the extrapolation value; NULL: nowhere */
} wefti_resize_taps;
/* Most places of an output's axis, each counted once for each of its taps, and most
 * taps of one place. */
enum { WEFTI_RESIZE_MOST_PLACES = 1 << 26, WEFTI_RESIZE_MOST_TAPS = 64 };
int64_t wefti_resize_tap_count(const wefti_resize_plan *plan, int32_t axis);
weft_status wefti_resize_find_taps(const wefti_resize_plan *plan, int32_t axis,
                                   wefti_resize_taps *taps, weft_error *error);
void wefti_resize_taps_free(wefti_resize_taps *taps);

#endif
