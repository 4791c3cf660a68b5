/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* The quantized operators that ONNX Runtime's tools write where ONNX has none:
 * QLinearAdd and the like of com.microsoft. Each is what its name says of real numbers:
 * inputs come as bytes with a scale and a zero point, and the result is quantized. */

static const uint32_t byte_types =
    WEFTI_TYPE_SET(WEFT_TYPE_U8) | WEFTI_TYPE_SET(WEFT_TYPE_I8);

/* One number, of whatever rank it is. */
static wefti_term single(wefti_body *body, size_t index, uint32_t types)
{
    int64_t none = 0;
    wefti_term value = wefti_body_input(body, index);
    if (wefti_body_failed(body) || !wefti_body_has(&value)) {
        return value;
    }
    wefti_body_check_types(body, index, types);
    if (wefti_known_element_count(&value.known) != 1) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED,
                          "a scale or zero point is not a single number");
        return value;
    }
    return value.known.rank == 0 ? value : wefti_body_reshape(body, value, 0, &none);
}

/* Inputs `index` to `index` + 2 as a real number. */
static wefti_term real(wefti_body *body, size_t index)
{
    wefti_term x = wefti_body_input(body, index);
    wefti_body_check_types(body, index, byte_types);
    wefti_term scale = single(body, index + 1, WEFTI_TYPES_F32);
    wefti_term zero = single(body, index + 2, WEFTI_TYPE_SET(x.known.type));
    return wefti_body_3(body, "DequantizeLinear", x, scale, zero);
}

/* Gives `value` out with the scale and zero point of inputs `index` and `index` + 1, in
 * the type of `like`. */
static void give(wefti_body *body, wefti_term value, size_t index, size_t like)
{
    weft_type type = wefti_body_input(body, like).known.type;
    wefti_term scale = single(body, index, WEFTI_TYPES_F32);
    wefti_term zero = single(body, index + 1, WEFTI_TYPE_SET(type));
    if (!wefti_body_failed(body) && !wefti_body_has(&zero)) {
        zero = wefti_body_scalar(body, type, 0);
    }
    wefti_body_output(body, 0,
                      wefti_body_3(body, "QuantizeLinear", value, scale, zero));
}

static void refuse_channels_last(wefti_body *body)
{
    if (wefti_attribute_int(body->node, "channels_last", 0) != 0) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "channels_last is not supported");
    }
}

/* Inputs `index` to `index` + 2 in units of a scale. */
static wefti_term in_units(wefti_body *body, size_t index, wefti_term unit)
{
    wefti_term x = wefti_body_input(body, index);
    wefti_body_check_types(body, index, byte_types);
    wefti_term ratio =
        wefti_body_2(body, "Div", single(body, index + 1, WEFTI_TYPES_F32), unit);
    wefti_term zero = single(body, index + 2, WEFTI_TYPE_SET(x.known.type));
    return wefti_body_3(body, "DequantizeLinear", x, ratio, zero);
}

/* Sums lie on halves of a step as a rule where one scale is twice another, so how they
 * are rounded is seen: as ONNX Runtime has it, the terms are scaled first, and the zero
 * point is added before rounding. */
static void qlinear_add_body(wefti_body *body)
{
    wefti_term unit = single(body, 6, WEFTI_TYPES_F32);
    weft_type type = wefti_body_input(body, 0).known.type;
    wefti_term zero = single(body, 7, WEFTI_TYPE_SET(type));
    wefti_term sum =
        wefti_body_2(body, "Add", in_units(body, 0, unit), in_units(body, 3, unit));
    if (!wefti_body_failed(body) && wefti_body_has(&zero)) {
        zero = wefti_body_cast(body, WEFT_TYPE_F32, zero);
        sum = wefti_body_2(body, "Add", sum, zero);
    }
    if (!wefti_body_failed(body)) {
        sum = wefti_body_3(body, "QuantizeLinear", sum,
                           wefti_body_scalar(body, WEFT_TYPE_F32, 1),
                           wefti_body_scalar(body, type, 0));
    }
    wefti_body_output(body, 0, sum);
}

static void qlinear_mul_body(wefti_body *body)
{
    give(body, wefti_body_2(body, "Mul", real(body, 0), real(body, 3)), 6, 0);
}

static void qlinear_where_body(wefti_body *body)
{
    wefti_term condition = wefti_body_input(body, 0);
    give(body, wefti_body_3(body, "Where", condition, real(body, 1), real(body, 4)), 7,
         1);
}

static void qlinear_sigmoid_body(wefti_body *body)
{
    give(body, wefti_body_1(body, "Sigmoid", real(body, 0)), 3, 0);
}

static void qlinear_leaky_relu_body(wefti_body *body)
{
    wefti_term x = real(body, 0);
    wefti_body_with_own(body, "alpha");
    give(body, wefti_body_1(body, "LeakyRelu", x), 3, 0);
}

static void qlinear_average_pool_body(wefti_body *body)
{
    static const char *const names[] = {
        "auto_pad",     "ceil_mode", "count_include_pad",
        "kernel_shape", "pads",      "strides"};
    wefti_term x = real(body, 0);
    refuse_channels_last(body);
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        wefti_body_with_own(body, names[i]);
    }
    give(body, wefti_body_1(body, "AveragePool", x), 3, 0);
}

static void qlinear_global_average_pool_body(wefti_body *body)
{
    wefti_term x = real(body, 0);
    refuse_channels_last(body);
    give(body, wefti_body_1(body, "GlobalAveragePool", x), 3, 0);
}

static void qlinear_reduce_mean_body(wefti_body *body)
{
    size_t count = 0;
    wefti_term x = real(body, 0);
    const int64_t *axes = wefti_attribute_ints(body->node, "axes", &count);
    wefti_term list = axes == NULL ? (wefti_term){.view = wefti_view_absent()}
                                   : wefti_body_list(body, count, axes);
    wefti_body_with_own(body, "keepdims");
    give(body, wefti_body_2(body, "ReduceMean", x, list), 3, 0);
}

/* Before opset 13, all dimensions from the axis on are one row. */
static void qlinear_softmax_body(wefti_body *body)
{
    wefti_term x = real(body, 0);
    int64_t opset = wefti_attribute_int(body->node, "opset", 0);
    int32_t axis = wefti_body_axis(body, "axis", opset < 13 ? 1 : -1, x.known.rank);
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_term rows = x;
    int64_t along = axis;
    if (opset < 13) {
        const int64_t dims[] = {
            wefti_count_dims(axis, x.known.dims),
            wefti_count_dims(x.known.rank - axis, x.known.dims + axis)};
        rows = wefti_body_reshape(body, x, 2, dims);
        along = 1;
    }
    wefti_body_with_int(body, "axis", along);
    rows = wefti_body_1(body, "Softmax", rows);
    give(body, wefti_body_reshape(body, rows, x.known.rank, x.known.dims), 3, 0);
}

static void qlinear_concat_body(wefti_body *body)
{
    enum { FIRST = 2, EACH = 3 };
    size_t count = body->node->input_count;
    if ((count - FIRST) % EACH != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "its inputs are not bytes, scale and zero point by turns");
        return;
    }
    wefti_term joined = real(body, FIRST);
    int32_t axis = wefti_body_axis(body, "axis", 0, joined.known.rank);
    for (size_t i = FIRST + EACH; i < count && !wefti_body_failed(body); i += EACH) {
        joined = wefti_body_join(body, axis, joined, real(body, i));
    }
    give(body, joined, 0, FIRST);
}

WEFTI_BODY_FAMILY(qlinear_add)
WEFTI_BODY_FAMILY(qlinear_mul)
WEFTI_BODY_FAMILY(qlinear_where)
WEFTI_BODY_FAMILY(qlinear_sigmoid)
WEFTI_BODY_FAMILY(qlinear_leaky_relu)
WEFTI_BODY_FAMILY(qlinear_average_pool)
WEFTI_BODY_FAMILY(qlinear_global_average_pool)
WEFTI_BODY_FAMILY(qlinear_reduce_mean)
WEFTI_BODY_FAMILY(qlinear_softmax)
WEFTI_BODY_FAMILY(qlinear_concat)
