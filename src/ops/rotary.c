/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* RotaryEmbedding: pairs of features turned by an angle that goes with the position. */
enum { BATCH, LENGTH, HEADS, SIZE };
enum { COS_CACHE = 1, SIN_CACHE = 2, POSITIONS = 3 };

/* [batch, heads, length, size] or [batch, length, heads * size] as
 * [batch, length, heads, size]. */
static wefti_term by_heads(wefti_body *body, wefti_term x)
{
    static const int64_t order[] = {0, 2, 1, 3};
    if (x.known.rank == 4) {
        return wefti_body_transpose(body, x, order);
    }
    int64_t heads = wefti_attribute_int(body->node, "num_heads", 0);
    if (heads < 1 || x.known.dims[2] % heads != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "num_heads does not divide the features of a 3D input");
        return x;
    }
    const int64_t dims[] = {x.known.dims[0], x.known.dims[1], heads,
                            x.known.dims[2] / heads};
    return wefti_body_reshape(body, x, 4, dims);
}

/* The cache's rows of the positions, as [batch, length, 1, half]; exporters also give
 * one for the whole batch. */
static wefti_term angles(wefti_body *body, size_t index, const wefti_known *x,
                         int64_t half)
{
    wefti_term cache = wefti_body_input(body, index);
    wefti_term positions = wefti_body_input(body, POSITIONS);
    if (wefti_body_has(&positions)) {
        const int64_t dims[] = {x->dims[BATCH], x->dims[LENGTH]};
        wefti_body_check_rank(body, index, 2, 2);
        wefti_body_check_types(body, POSITIONS, WEFTI_TYPES_INDEX);
        wefti_body_check_shape(body, "position_ids (input 3)", &positions, 2, dims);
        cache = wefti_body_2(body, "Gather", cache, positions);
    }
    bool shared = cache.known.rank == 3 && cache.known.dims[BATCH] == 1;
    const int64_t dims[] = {shared ? 1 : x->dims[BATCH], x->dims[LENGTH], half};
    wefti_body_check_shape(body, "the cache of the positions", &cache, 3, dims);
    return wefti_body_unsqueeze(body, cache, HEADS);
}

/* x as two halves, [..., half] each: neighbours, or the first half and the second. */
static void split_pairs(wefti_body *body, wefti_term x, bool interleaved,
                        wefti_term halves[2])
{
    int64_t size = x.known.dims[SIZE];
    for (int64_t i = 0; i < 2; i++) {
        halves[i] = interleaved ? wefti_body_slice(body, x, SIZE, i, size, 2)
                                : wefti_body_slice(body, x, SIZE, i * (size / 2),
                                                   i == 0 ? size / 2 : size, 1);
    }
}

static wefti_term join_pairs(wefti_body *body, wefti_term real, wefti_term imaginary,
                             bool interleaved, const wefti_known *like)
{
    if (!interleaved) {
        return wefti_body_join(body, SIZE, real, imaginary);
    }
    wefti_term both = wefti_body_join(body, 4, wefti_body_unsqueeze(body, real, 4),
                                      wefti_body_unsqueeze(body, imaginary, 4));
    return wefti_body_reshape(body, both, 4, like->dims);
}

static wefti_term turn(wefti_body *body, wefti_term x)
{
    bool interleaved = wefti_attribute_int(body->node, "interleaved", 0) != 0;
    wefti_term half[2], cosine, sine;
    cosine = angles(body, COS_CACHE, &x.known, x.known.dims[SIZE] / 2);
    sine = angles(body, SIN_CACHE, &x.known, x.known.dims[SIZE] / 2);
    split_pairs(body, x, interleaved, half);
    wefti_term real =
        wefti_body_2(body, "Sub", wefti_body_2(body, "Mul", cosine, half[0]),
                     wefti_body_2(body, "Mul", sine, half[1]));
    wefti_term imaginary =
        wefti_body_2(body, "Add", wefti_body_2(body, "Mul", sine, half[0]),
                     wefti_body_2(body, "Mul", cosine, half[1]));
    return join_pairs(body, real, imaginary, interleaved, &x.known);
}

static void rotary_body(wefti_body *body)
{
    static const int64_t order[] = {0, 2, 1, 3};
    wefti_term given = wefti_body_input(body, 0);
    for (size_t i = 0; i < 3; i++) {
        wefti_body_check_types(body, i, WEFTI_TYPES_F32);
    }
    wefti_body_check_rank(body, 0, 3, 4);
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_term x = by_heads(body, given);
    int64_t size = x.known.dims[SIZE];
    int64_t turned = wefti_attribute_int(body->node, "rotary_embedding_dim", 0);
    turned = turned == 0 ? size : turned;
    if (turned < 2 || turned > size || turned % 2 != 0) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "the features to turn (rotary_embedding_dim, else the size "
                          "of a head) must be even and no more than a head has");
        return;
    }
    wefti_term result =
        turn(body, turned == size ? x : wefti_body_slice(body, x, SIZE, 0, turned, 1));
    if (turned < size) {
        result = wefti_body_join(body, SIZE, result,
                                 wefti_body_slice(body, x, SIZE, turned, size, 1));
    }
    result = given.known.rank == 4
                 ? wefti_body_transpose(body, result, order)
                 : wefti_body_reshape(body, result, 3, given.known.dims);
    wefti_body_output(body, 0, result);
}

WEFTI_BODY_FAMILY(rotary)
