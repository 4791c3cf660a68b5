/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: the logarithm of the right
 * class's probability, weighted. Classes are axis 1 of [N, C, d1, ...], labels are
 * [N, d1, ...]. */
enum { CLASSES = 1 };

static void check_inputs(wefti_body *body)
{
    wefti_term labels = wefti_body_input(body, 1), weights = wefti_body_input(body, 2);
    wefti_body_check_types(body, 0, WEFTI_TYPES_FLOAT);
    wefti_body_check_types(body, 1, WEFTI_TYPES_INDEX);
    wefti_body_check_rank(body, 0, 2, WEFT_MAX_RANK);
    if (wefti_body_failed(body)) {
        return;
    }
    const wefti_known *scores = &body->inputs[0];
    int64_t dims[WEFT_MAX_RANK] = {scores->dims[0]};
    memcpy(&dims[1], &scores->dims[2], (size_t)(scores->rank - 2) * sizeof(*dims));
    wefti_body_check_shape(body, "labels (input 1)", &labels, scores->rank - 1, dims);
    if (wefti_body_has(&weights)) {
        wefti_body_check_types(body, 2, WEFTI_TYPE_SET(scores->type));
        wefti_body_check_shape(body, "weights (input 2)", &weights, 1,
                               &scores->dims[CLASSES]);
    }
}

/* Which labels are ignored; absent when none can be. */
static wefti_term find_ignored(wefti_body *body, const wefti_term *labels)
{
    const wefti_term none = {.known = {.type = WEFT_TYPE_NONE}};
    int64_t index = wefti_attribute_int(body->node, "ignore_index", 0), scalar = 0;
    int32_t narrow = (int32_t)index;
    bool is_narrow = labels->known.type == WEFT_TYPE_I32;
    if (!wefti_attribute_find(body->node, "ignore_index") ||
        (is_narrow && narrow != index)) {
        return none;
    }
    const void *data = is_narrow ? (const void *)&narrow : &index;
    return wefti_body_2(
        body, "Equal", *labels,
        wefti_body_constant(body, labels->known.type, 0, &scalar, data));
}

/* The weight of each label; absent when all count as 1. */
static wefti_term label_weights(wefti_body *body, weft_type type, wefti_term labels,
                                wefti_term ignored)
{
    wefti_term given = wefti_body_input(body, 2), weights = given;
    if (wefti_body_has(&given)) {
        weights = wefti_body_2(body, "Gather", given, labels);
    }
    if (!wefti_body_has(&ignored)) {
        return weights;
    }
    weights = wefti_body_has(&given) ? weights : wefti_body_scalar(body, type, 1);
    return wefti_body_3(body, "Where", ignored, wefti_body_scalar(body, type, 0),
                        weights);
}

static wefti_term total(wefti_body *body, wefti_term a)
{
    wefti_body_with_int(body, "keepdims", 0);
    return wefti_body_1(body, "ReduceSum", a);
}

/* The loss from the logarithms of the probabilities. */
static wefti_term likelihood_loss(wefti_body *body, wefti_term logarithms)
{
    const char *reduction = wefti_attribute_string(body->node, "reduction", "mean");
    bool mean = strcmp(reduction, "mean") == 0, sum = strcmp(reduction, "sum") == 0;
    if (!mean && !sum && strcmp(reduction, "none") != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "reduction is not one of none, sum and mean");
    }
    wefti_term labels = wefti_body_input(body, 1);
    weft_type type = logarithms.known.type;
    wefti_term ignored = find_ignored(body, &labels);
    if (wefti_body_has(&ignored)) { /* any label that there is */
        labels = wefti_body_3(body, "Where", ignored,
                              wefti_body_scalar(body, labels.known.type, 0), labels);
    }
    wefti_term weights = label_weights(body, type, labels, ignored);
    wefti_term places = wefti_body_unsqueeze(body, labels, CLASSES);
    wefti_body_with_int(body, "axis", CLASSES);
    wefti_term right = wefti_body_2(body, "GatherElements", logarithms, places);
    wefti_term loss = wefti_body_1(
        body, "Neg",
        wefti_body_reshape(body, right, labels.known.rank, labels.known.dims));
    if (wefti_body_has(&ignored)) { /* what it was may be infinite */
        loss = wefti_body_3(body, "Where", ignored, wefti_body_scalar(body, type, 0),
                            loss);
    }
    if (wefti_body_has(&weights)) {
        loss = wefti_body_2(body, "Mul", loss, weights);
    }
    if (mean && !wefti_body_has(&weights)) {
        wefti_body_with_int(body, "keepdims", 0);
        return wefti_body_1(body, "ReduceMean", loss);
    }
    if (mean) {
        return wefti_body_2(body, "Div", total(body, loss), total(body, weights));
    }
    return sum ? total(body, loss) : loss;
}

static void likelihood_loss_body(wefti_body *body)
{
    check_inputs(body);
    wefti_body_output(body, 0, likelihood_loss(body, wefti_body_input(body, 0)));
}

static void cross_entropy_body(wefti_body *body)
{
    check_inputs(body);
    wefti_body_with_int(body, "axis", CLASSES);
    wefti_term logarithms = wefti_body_1(body, "LogSoftmax", wefti_body_input(body, 0));
    wefti_body_output(body, 0, likelihood_loss(body, logarithms));
    wefti_body_output(body, 1, logarithms);
}

WEFTI_BODY_FAMILY(likelihood_loss)
WEFTI_BODY_FAMILY(cross_entropy)
