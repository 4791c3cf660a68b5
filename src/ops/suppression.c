/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/sizes.h"

/* NonMaxSuppression: of each batch and class the boxes by falling score, without those
 * that overlap a chosen one too much. Equal scores: the lower index first. */

enum { BOXES, SCORES, MOST, OVERLAP, LEAST };

typedef struct suppression {
    const float *boxes, *scores;
    int64_t batches, classes, boxes_each;
    int64_t most;
    float overlap, least;
    bool has_least, by_center;
} suppression;

typedef struct box {
    float top, left, bottom, right;
} box;

static bool is_scalar(const wefti_known *known, weft_type type)
{
    return known->type == type && wefti_known_element_count(known) == 1;
}

static weft_status read_scalars(const wefti_node_view *node, const wefti_known *inputs,
                                suppression *all, weft_error *error)
{
    for (size_t i = MOST; i <= LEAST; i++) {
        weft_type type = i == MOST ? WEFT_TYPE_I64 : WEFT_TYPE_F32;
        if (wefti_known_present(node, inputs, i) && !is_scalar(&inputs[i], type)) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: input %zu must be one %s", node->label, i,
                               weft_type_name(type));
        }
    }
    if (wefti_known_present(node, inputs, MOST)) {
        all->most = wefti_known_integer(&inputs[MOST], 0);
    }
    if (wefti_known_present(node, inputs, OVERLAP)) {
        memcpy(&all->overlap, inputs[OVERLAP].constant, sizeof(float));
    }
    all->has_least = wefti_known_present(node, inputs, LEAST);
    if (all->has_least) {
        memcpy(&all->least, inputs[LEAST].constant, sizeof(float));
    }
    all->by_center = wefti_attribute_int(node, "center_point_box", 0) != 0;
    return WEFT_OK;
}

static weft_status read(const wefti_node_view *node, const wefti_known *inputs,
                        suppression *all, weft_error *error)
{
    for (size_t i = BOXES; i <= SCORES; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, i, 3, 3, error));
    }
    WEFTI_TRY(wefti_check_holds(node, inputs, error));
    const wefti_known *boxes = &inputs[BOXES], *scores = &inputs[SCORES];
    *all = (suppression){.boxes = boxes->constant,
                         .scores = scores->constant,
                         .batches = boxes->dims[0],
                         .classes = scores->dims[1],
                         .boxes_each = boxes->dims[1]};
    const int64_t wanted[] = {all->batches, all->boxes_each, 4};
    const int64_t wanted_scores[] = {all->batches, all->classes, all->boxes_each};
    WEFTI_TRY(wefti_check_shape(node, "boxes", boxes, 3, wanted, error));
    WEFTI_TRY(wefti_check_shape(node, "scores", scores, 3, wanted_scores, error));
    return read_scalars(node, inputs, all, error);
}

static box box_at(const suppression *all, int64_t batch, int64_t index)
{
    const float *b = all->boxes + (batch * all->boxes_each + index) * 4;
    if (all->by_center) { /* x, y, width, height */
        return (box){b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2,
                     b[0] + b[2] / 2};
    }
    return (box){fminf(b[0], b[2]), fminf(b[1], b[3]), fmaxf(b[0], b[2]),
                 fmaxf(b[1], b[3])};
}

/* Common area over the area of both together. */
static bool overlaps(const suppression *all, box a, box b)
{
    float height = fminf(a.bottom, b.bottom) - fmaxf(a.top, b.top);
    float width = fminf(a.right, b.right) - fmaxf(a.left, b.left);
    float common = fmaxf(height, 0) * fmaxf(width, 0);
    float both = (a.bottom - a.top) * (a.right - a.left) +
                 (b.bottom - b.top) * (b.right - b.left) - common;
    return both > 0 && common / both > all->overlap;
}

/* The best box that is not `done`, or -1. */
static int64_t find_best(const suppression *all, const float *scores,
                         const uint8_t *done)
{
    int64_t best = -1;
    for (int64_t i = 0; i < all->boxes_each; i++) {
        bool fits = !done[i] && (!all->has_least || scores[i] > all->least);
        if (fits && (best < 0 || scores[i] > scores[best])) {
            best = i;
        }
    }
    return best;
}

/* Chooses the boxes of one batch and class; writes their indices unless it is NULL. */
static int64_t choose(const suppression *all, int64_t batch, int64_t class,
                      uint8_t *done, int64_t *result)
{
    const float *scores =
        all->scores + (batch * all->classes + class) * all->boxes_each;
    memset(done, 0, (size_t)all->boxes_each);
    int64_t count = 0;
    while (count < all->most) {
        int64_t best = find_best(all, scores, done);
        if (best < 0) {
            break;
        }
        box chosen = box_at(all, batch, best);
        for (int64_t i = 0; i < all->boxes_each; i++) {
            done[i] = done[i] || overlaps(all, chosen, box_at(all, batch, i));
        }
        done[best] = 1;
        if (result != NULL) {
            result[3 * count] = batch;
            result[3 * count + 1] = class;
            result[3 * count + 2] = best;
        }
        count++;
    }
    return count;
}

static weft_status choose_all(const suppression *all, int64_t *result, int64_t *count,
                              weft_error *error)
{
    uint8_t *done = wefti_malloc((size_t)all->boxes_each + 1);
    if (done == NULL) {
        return wefti_error_memory(error, "the boxes of NonMaxSuppression");
    }
    *count = 0;
    for (int64_t b = 0; all->boxes_each > 0 && b < all->batches; b++) {
        for (int64_t c = 0; c < all->classes; c++) {
            *count +=
                choose(all, b, c, done, result == NULL ? NULL : result + 3 * *count);
        }
    }
    wefti_free(done);
    return WEFT_OK;
}

weft_status wefti_infer_suppression(const wefti_node_view *node,
                                    const wefti_known *inputs, wefti_known *outputs,
                                    weft_error *error)
{
    suppression all;
    int64_t dims[2] = {0, 3};
    WEFTI_TRY(read(node, inputs, &all, error));
    WEFTI_TRY(choose_all(&all, NULL, &dims[0], error));
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_I64, 2, dims},
                            error);
}

weft_status wefti_fold_suppression(const wefti_node_view *node,
                                   const wefti_known *inputs,
                                   const wefti_known *outputs, void *const *output_data,
                                   weft_error *error)
{
    (void)outputs;
    suppression all;
    int64_t count;
    WEFTI_TRY(read(node, inputs, &all, error));
    return choose_all(&all, output_data[0], &count, error);
}
