/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* SwiGLU and CausalConvWithState. */

static void swiglu_body(wefti_body *body)
{
    wefti_term a = wefti_body_input(body, 0), b = wefti_body_input(body, 1);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_types(body, 1, WEFTI_TYPES_F32);
    wefti_body_check_shape(body, "B (input 1)", &b, a.known.rank, a.known.dims);
    wefti_term gate = a;
    if (wefti_attribute_find(body->node, "alpha")) {
        float alpha = wefti_attribute_float(body->node, "alpha", 1.0F);
        gate = wefti_body_2(body, "Mul", a,
                            wefti_body_scalar(body, WEFT_TYPE_F32, (double)alpha));
    }
    gate = wefti_body_2(body, "Mul", a, wefti_body_1(body, "Sigmoid", gate));
    wefti_body_output(body, 0, wefti_body_2(body, "Mul", gate, b));
}

enum { WEIGHT = 1, BIAS = 2, PAST = 3 };
enum { LENGTH = 2 };

/* The input with what stands before it: the state, or zeros. */
static wefti_term with_past(wefti_body *body, wefti_term x, int64_t before)
{
    wefti_term past = wefti_body_input(body, PAST);
    const int64_t dims[] = {x.known.dims[0], x.known.dims[1], before};
    if (wefti_body_has(&past)) {
        wefti_body_check_types(body, PAST, WEFTI_TYPES_F32);
        wefti_body_check_shape(body, "past_state (input 3)", &past, 3, dims);
    } else {
        past =
            wefti_body_expand(body, wefti_body_scalar(body, WEFT_TYPE_F32, 0), 3, dims);
    }
    return before == 0 ? x : wefti_body_join(body, LENGTH, past, x);
}

static void causal_conv_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0), weight = wefti_body_input(body, WEIGHT);
    const char *activation = wefti_attribute_string(body->node, "activation", "none");
    bool silu = strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_types(body, WEIGHT, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 3, 3);
    wefti_body_check_rank(body, WEIGHT, 3, 3);
    if (!silu && strcmp(activation, "none") != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "activation is not one of none, silu and swish");
    }
    const int64_t dims[] = {x.known.dims[1], 1, weight.known.dims[2]};
    wefti_body_check_shape(body, "weight (input 1)", &weight, 3, dims);
    if (!wefti_body_failed(body) && dims[2] < 1) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT, "the kernel is empty");
    }
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_term padded = with_past(body, x, dims[2] - 1);
    wefti_body_with_int(body, "group", dims[0]);
    wefti_term sums =
        wefti_body_3(body, "Conv", padded, weight, wefti_body_input(body, BIAS));
    if (silu) {
        sums = wefti_body_2(body, "Mul", sums, wefti_body_1(body, "Sigmoid", sums));
    }
    wefti_body_output(body, 0, sums);
    int64_t end = padded.known.dims[LENGTH];
    wefti_body_output(
        body, 1, wefti_body_slice(body, padded, LENGTH, end - (dims[2] - 1), end, 1));
}

WEFTI_BODY_FAMILY(swiglu)
WEFTI_BODY_FAMILY(causal_conv)
