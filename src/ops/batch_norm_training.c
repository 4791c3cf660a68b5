/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* BatchNormalization of training mode: by the mean and variance of the batch itself.
 * Networks whose weights are standardised before use (NFNet, BiT) are exported so, with
 * the weights as its x. */

enum { X, SCALE, BIAS, MEAN, VARIANCE };

/* old * momentum + now * (1 - momentum) */
static wefti_term moved(wefti_body *body, wefti_term old, wefti_term now)
{
    float momentum = wefti_attribute_float(body->node, "momentum", 0.9F);
    const wefti_term operands[] = {old, now};
    const wefti_instruction program[] = {
        {.operation = WEFTI_OP_SCALE, .a = 0, .alpha = momentum},
        {.operation = WEFTI_OP_SCALE, .a = 1, .alpha = 1 - momentum},
        {.operation = WEFTI_OP_ADD, .a = 4, .b = 5}};
    return wefti_body_program(body, operands, 2, program, WEFTI_COUNT_OF(program));
}

/* (x - mean) / sqrt(variance + epsilon) * scale + bias, in rows of channels. */
static wefti_term normal(wefti_body *body, wefti_term centered, wefti_term variance,
                         const int64_t *column)
{
    float epsilon = wefti_attribute_float(body->node, "epsilon", 1e-5F);
    const wefti_term operands[] = {
        centered, variance,
        wefti_body_reshape(body, wefti_body_input(body, SCALE), 2, column),
        wefti_body_reshape(body, wefti_body_input(body, BIAS), 2, column)};
    const wefti_instruction program[] = {
        {.operation = WEFTI_OP_SCALE, .a = 1, .alpha = 1, .beta = epsilon},
        {.operation = WEFTI_OP_SQRT, .a = 4},
        {.operation = WEFTI_OP_DIV, .a = 0, .b = 5},
        {.operation = WEFTI_OP_FMA, .a = 6, .b = 2, .c = 3}};
    return wefti_body_program(body, operands, 4, program, WEFTI_COUNT_OF(program));
}

static void batch_norm_training_body(wefti_body *body)
{
    static const int64_t swapped[] = {1, 0, 2};
    static const char *const names[] = {NULL, "the scale", "the bias", "the mean",
                                        "the variance"};
    wefti_body_check_types(body, X, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, X, 1, WEFT_MAX_RANK);
    wefti_term x = wefti_body_input(body, X);
    if (wefti_body_failed(body)) {
        return;
    }
    int64_t channels = x.known.rank > 1 ? x.known.dims[1] : 1, rest = 1;
    for (size_t i = SCALE; i <= VARIANCE; i++) {
        wefti_term vector = wefti_body_input(body, i);
        wefti_body_check_types(body, i, WEFTI_TYPES_F32);
        wefti_body_check_shape(body, names[i], &vector, 1, &channels);
    }
    for (int32_t i = 2; i < x.known.rank; i++) {
        rest *= x.known.dims[i];
    }
    const int64_t batch = x.known.dims[0], given[] = {batch, channels, rest},
                  turned[] = {channels, batch, rest}, rows[] = {channels, batch * rest},
                  column[] = {channels, 1};
    wefti_term by_channel =
        wefti_body_transpose(body, wefti_body_reshape(body, x, 3, given), swapped);
    by_channel = wefti_body_reshape(body, by_channel, 2, rows);
    wefti_term mean = wefti_body_reduce(body, "ReduceMean", by_channel, 1, true);
    wefti_term centered = wefti_body_2(body, "Sub", by_channel, mean);
    wefti_term squares = wefti_body_2(body, "Mul", centered, centered);
    wefti_term variance = wefti_body_reduce(body, "ReduceMean", squares, 1, true);
    wefti_term y =
        wefti_body_reshape(body, normal(body, centered, variance, column), 3, turned);
    y = wefti_body_transpose(body, y, swapped);
    wefti_body_output(body, 0, wefti_body_reshape(body, y, x.known.rank, x.known.dims));
    mean = wefti_body_reshape(body, mean, 1, &channels);
    variance = wefti_body_reshape(body, variance, 1, &channels);
    if (body->node->output_count > 1) {
        wefti_body_output(body, 1, moved(body, wefti_body_input(body, MEAN), mean));
    }
    if (body->node->output_count > 2) {
        wefti_body_output(body, 2,
                          moved(body, wefti_body_input(body, VARIANCE), variance));
    }
}

WEFTI_BODY_FAMILY(batch_norm_training)
