/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_BUCKETS_H
#define WEFTI_GRAPH_BUCKETS_H

#include <weft/model.h>

#include "graph/plan.h"

/* Dimensions of a model's inputs whose sizes are rounded up (weft_bucket_params), in
 * the model's arena. Immutable once made.
 *
 * A run whose sizes are none of a bucket's goes through a padding: a copy of the
 * caller's descriptions with the sizes of the buckets, which is what plans are found,
 * built and executed by. Data that has other sizes there than with the caller is copied
 * through the context's staging memory, and the rest is used where it lies. */

enum { WEFTI_MOST_BUCKETS = 16, WEFTI_MOST_BUCKET_SIZES = 4096 };

/* One such dimension. */
typedef struct wefti_bucket {
    const char *name;
    const int64_t *sizes; /* ascending */
    size_t size_count;
} wefti_bucket;

/* How an input is padded. */
typedef struct wefti_bucket_input {
    int32_t buckets[WEFT_MAX_RANK]; /* of each dimension; -1: it is exact */
    bool any;                       /* of them is one */
    bool is_mask;
    /* An element of the padding; of a mask's real part. */
    _Alignas(8) uint8_t pad[8];
    _Alignas(8) uint8_t one[8];
    /* Of a mask: where each dynamic dimension can be read, as input * WEFT_MAX_RANK +
     * dimension; -1: nowhere else. */
    int32_t sources[WEFT_MAX_RANK];
} wefti_bucket_input;

typedef struct wefti_buckets {
    wefti_bucket buckets[WEFTI_MOST_BUCKETS];
    int32_t count;
    wefti_bucket_input *inputs;
} wefti_buckets;

/* Checks what the caller wants and sets up model->buckets; NULL where there are none.
 * The model's inputs, dimensions, values and stages are known.
 * Errors: WEFT_INVALID_ARGUMENT and WEFT_UNSUPPORTED name what is wrong. */
weft_status wefti_buckets_create(weft_model *model, const weft_model_params *params,
                                 weft_error *error);

/* Finds the outputs of a new plan that have a rounded dimension, for inputs of these
 * shapes and values, by inferring other sizes of the same bucket, and sets plan->cuts.
 * Errors: WEFT_UNSUPPORTED names an output that depends on the dimension otherwise. */
weft_status wefti_buckets_find_cuts(const weft_model *model, const wefti_known *inputs,
                                    wefti_plan *plan, weft_error *error);

/* The same once the model is made, where its shapes can be told: the smallest and the
 * largest sizes. What the graph refuses is left to the first plan. */
weft_status wefti_buckets_try(const weft_model *model, weft_error *error);

/* The size of the bucket, or the size itself. */
int64_t wefti_bucket_round(const wefti_bucket *bucket, int64_t size);

#endif
