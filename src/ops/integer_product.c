/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/quantize.h"

/* MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv and QGemm. Products of bytes
 * are whole numbers of at most 255 * 255; floats add such numbers without rounding up
 * to 2^24. So the f32 kernels give the exact sums, in parts of the inner dimension, and
 * the parts are added as i32. Backends with a kernel for bytes do matrices by it, with
 * the same sums. */
enum { EXACT = 1 << 24, MOST_PARTS = 1 << 12 };

/* What a product of integers reads. A zero point broadcasts to its matrix, or is
 * absent. */
typedef struct operand {
    wefti_term value, zero_point;
} operand;

static const uint32_t byte_types =
    WEFTI_TYPE_SET(WEFT_TYPE_U8) | WEFTI_TYPE_SET(WEFT_TYPE_I8);

/* The largest magnitude of an element less its zero point. */
static int64_t magnitude(const operand *x)
{
    bool plain = !wefti_body_has(&x->zero_point);
    return plain && x->value.known.type == WEFT_TYPE_I8 ? 128 : 255;
}

static wefti_term as_f32(wefti_body *body, const operand *x)
{
    static const wefti_instruction subtract = {.operation = WEFTI_OP_SUB, .b = 1};
    wefti_term value = wefti_body_cast(body, WEFT_TYPE_F32, x->value);
    if (!wefti_body_has(&x->zero_point)) {
        return value;
    }
    const wefti_term both[] = {value,
                               wefti_body_cast(body, WEFT_TYPE_F32, x->zero_point)};
    return wefti_body_program(body, both, 2, &subtract, 1);
}

static operand read_operand(wefti_body *body, size_t value, size_t zero_point)
{
    operand x = {wefti_body_input(body, value), wefti_body_input(body, zero_point)};
    wefti_body_check_types(body, value, byte_types);
    if (wefti_body_has(&x.zero_point)) {
        wefti_body_check_types(body, zero_point, WEFTI_TYPE_SET(x.value.known.type));
    }
    return x;
}

static wefti_term add_up(wefti_body *body, wefti_term sum, wefti_term part)
{
    wefti_term whole = wefti_body_cast(body, WEFT_TYPE_I32, part);
    return wefti_body_has(&sum) ? wefti_body_2(body, "Add", sum, whole) : whole;
}

/* A zero point or scale for each row (axis -2) or column (axis -1) of a matrix. */
static wefti_term along(wefti_body *body, wefti_term value, const wefti_known *matrix,
                        int32_t from_end)
{
    if (wefti_body_failed(body) || !wefti_body_has(&value) || value.known.rank != 1 ||
        from_end == 1) {
        return value;
    }
    if (value.known.dims[0] == 1 || matrix->rank < 2) {
        return value;
    }
    const int64_t dims[] = {value.known.dims[0], 1};
    return wefti_body_reshape(body, value, 2, dims);
}

/* `part` broadcasts to `whole`, whose shape stays. */
static void check_within(wefti_body *body, const char *what, const wefti_term *whole,
                         const wefti_term *part)
{
    if (wefti_body_failed(body) || !wefti_body_has(part)) {
        return;
    }
    const wefti_known both[] = {whole->known, part->known};
    wefti_known joined = {0};
    body->status = wefti_broadcast_shapes(body->node, both, 2, &joined, body->error);
    wefti_term shape = {.known = joined};
    wefti_body_check_shape(body, what, &shape, whole->known.rank, whole->known.dims);
}

static void check_zero_point(wefti_body *body, const operand *x)
{
    check_within(body, "a matrix less its zero point", &x->value, &x->zero_point);
}

static void check_parts(wefti_body *body, int64_t inner, int64_t part)
{
    if (part == 0 || inner / part > MOST_PARTS) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED,
                          "the sums are too long to be computed exactly");
    }
}

/* Zero points that the kernel for bytes takes: one for A, one or n for B. */
static bool zeros_fit(const operand *a, const operand *b, int64_t n)
{
    const wefti_known *p = &a->zero_point.known, *q = &b->zero_point.known;
    const bool a_fits = !wefti_body_has(&a->zero_point) ||
                        (p->rank <= 1 && wefti_known_element_count(p) == 1);
    const int64_t q_count = wefti_known_element_count(q);
    return a_fits && (!wefti_body_has(&b->zero_point) ||
                      (q->rank <= 1 && (q_count == 1 || q_count == n)));
}

/* The sizes of a product as the kernel for bytes wants it; false when it does not fit:
 * B is one matrix for all, whatever its rank, or there is one for each of A's. With one
 * matrix the answer does not depend on how many A has: their rows may be joined. */
static bool bytes_fit(const operand *a, const operand *b,
                      wefti_matmul_bytes_params *params)
{
    const wefti_known *x = &a->value.known, *y = &b->value.known;
    if (x->rank < 2 || y->rank < 2) {
        return false;
    }
    *params = (wefti_matmul_bytes_params){
        .batch = 1,
        .m = x->dims[x->rank - 2],
        .n = y->dims[y->rank - 1],
        .k = x->dims[x->rank - 1],
        .a_signed = x->type == WEFT_TYPE_I8,
        .b_signed = y->type == WEFT_TYPE_I8,
    };
    const int64_t outer = wefti_count_dims(x->rank - 2, x->dims);
    if (y->rank <= x->rank && wefti_count_dims(y->rank - 2, y->dims) == 1) {
        params->m *= outer;
    } else if (x->rank == y->rank &&
               memcmp(x->dims, y->dims, (size_t)(x->rank - 2) * sizeof(*x->dims)) ==
                   0) {
        params->batch = outer;
    } else {
        return false;
    }
    params->b_zero_by_column = wefti_body_has(&b->zero_point) &&
                               wefti_known_element_count(&b->zero_point.known) > 1;
    return y->dims[y->rank - 2] == params->k && params->m > 0 && params->n > 0 &&
           params->batch > 0 && zeros_fit(a, b, params->n);
}

static wefti_term bytes_matmul(wefti_body *body, const operand *a, const operand *b,
                               wefti_matmul_bytes_params *params)
{
    int64_t dims[WEFT_MAX_RANK];
    const wefti_known *x = &a->value.known;
    memcpy(dims, x->dims, sizeof(dims));
    dims[x->rank - 1] = params->n;
    wefti_term sum = wefti_body_new(body, WEFT_TYPE_I32, x->rank, dims);
    const wefti_term operands[] = {
        wefti_body_dense(body, a->value), wefti_body_dense(body, b->value),
        wefti_body_has(&a->zero_point) ? wefti_body_dense(body, a->zero_point)
                                       : a->zero_point,
        wefti_body_has(&b->zero_point) ? wefti_body_dense(body, b->zero_point)
                                       : b->zero_point,
        sum};
    wefti_body_step(body, WEFTI_KERNEL_MATMUL_BYTES, params, sizeof(*params), 5,
                    operands);
    return sum;
}

static wefti_term integer_matmul(wefti_body *body, operand a, operand b)
{
    wefti_term sum = {.known = {.type = WEFT_TYPE_NONE}};
    wefti_matmul_bytes_params params;
    if (!wefti_body_failed(body) && body->lowering != NULL &&
        body->lowering->program->byte_products && bytes_fit(&a, &b, &params)) {
        return bytes_matmul(body, &a, &b, &params);
    }
    a.zero_point = along(body, a.zero_point, &a.value.known, 2);
    b.zero_point = along(body, b.zero_point, &b.value.known, 1);
    check_zero_point(body, &a);
    check_zero_point(body, &b);
    wefti_term left = as_f32(body, &a), right = as_f32(body, &b);
    if (wefti_body_failed(body)) {
        return sum;
    }
    int64_t part = EXACT / (magnitude(&a) * magnitude(&b));
    int32_t a_axis = left.known.rank - 1;
    int32_t b_axis = right.known.rank - (right.known.rank > 1 ? 2 : 1);
    bool products = a_axis >= 0 && b_axis >= 0;
    int64_t inner = products ? left.known.dims[a_axis] : 0;
    if (inner <= part || right.known.dims[b_axis] != inner) {
        return add_up(body, sum, wefti_body_2(body, "MatMul", left, right));
    }
    check_parts(body, inner, part);
    for (int64_t at = 0; at < inner && !wefti_body_failed(body); at += part) {
        int64_t end = at + part < inner ? at + part : inner;
        sum = add_up(body, sum,
                     wefti_body_2(body, "MatMul",
                                  wefti_body_slice(body, left, a_axis, at, end, 1),
                                  wefti_body_slice(body, right, b_axis, at, end, 1)));
    }
    return sum;
}

static void matmul_integer_body(wefti_body *body)
{
    operand a = read_operand(body, 0, 2), b = read_operand(body, 1, 3);
    wefti_body_output(body, 0, integer_matmul(body, a, b));
}

/* Channels [at, end) of each group. */
static wefti_term channels(wefti_body *body, wefti_term x, int64_t groups, int64_t at,
                           int64_t end)
{
    int64_t dims[WEFT_MAX_RANK + 1];
    if (wefti_body_failed(body)) {
        return x;
    }
    memcpy(dims, x.known.dims, sizeof(x.known.dims));
    int64_t rest = wefti_count_dims(x.known.rank - 2, &dims[2]);
    const int64_t apart[] = {dims[0], groups, dims[1] / groups, rest};
    wefti_term cut =
        wefti_body_slice(body, wefti_body_reshape(body, x, 4, apart), 2, at, end, 1);
    dims[1] = groups * (end - at);
    return wefti_body_reshape(body, cut, x.known.rank, dims);
}

static wefti_term convolve(wefti_body *body, wefti_term x, wefti_term w)
{
    static const char *const names[] = {"auto_pad",     "dilations", "group",
                                        "kernel_shape", "pads",      "strides"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        wefti_body_with_own(body, names[i]);
    }
    return wefti_body_2(body, "Conv", x, w);
}

/* The zero point of a weight is one, or one for each output channel. */
static wefti_term by_channel(wefti_body *body, wefti_term value, int32_t rank,
                             int32_t axis)
{
    int64_t dims[WEFT_MAX_RANK];
    if (wefti_body_failed(body) || !wefti_body_has(&value)) {
        return value;
    }
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = i == axis ? wefti_known_element_count(&value.known) : 1;
    }
    return wefti_body_reshape(body, value, rank, dims);
}

static wefti_term integer_conv(wefti_body *body, operand x, operand w)
{
    wefti_term sum = {.known = {.type = WEFT_TYPE_NONE}};
    w.zero_point = by_channel(body, w.zero_point, w.value.known.rank, 0);
    check_zero_point(body, &x);
    check_zero_point(body, &w);
    wefti_term input = as_f32(body, &x), weight = as_f32(body, &w);
    if (wefti_body_failed(body)) {
        return sum;
    }
    int64_t groups = wefti_attribute_int(body->node, "group", 1), taps = 1;
    int64_t most = EXACT / (magnitude(&x) * magnitude(&w));
    int64_t inner = weight.known.rank > 1 ? weight.known.dims[1] : 0;
    for (int32_t i = 2; i < weight.known.rank; i++) {
        taps = taps > most ? taps : taps * weight.known.dims[i];
    }
    bool fits = inner == 0 || taps == 0 || inner <= most / taps;
    if (fits || groups < 1 || input.known.rank < 2 ||
        input.known.dims[1] != groups * inner) {
        return add_up(body, sum, convolve(body, input, weight));
    }
    int64_t part = most / taps;
    check_parts(body, inner, part);
    for (int64_t at = 0; at < inner && !wefti_body_failed(body); at += part) {
        int64_t end = at + part < inner ? at + part : inner;
        sum = add_up(body, sum,
                     convolve(body, channels(body, input, groups, at, end),
                              wefti_body_slice(body, weight, 1, at, end, 1)));
    }
    return sum;
}

static void conv_integer_body(wefti_body *body)
{
    operand x = read_operand(body, 0, 2), w = read_operand(body, 1, 3);
    wefti_body_check_rank(body, 0, 3, 5);
    wefti_body_check_rank(body, 1, 3, 5);
    wefti_body_output(body, 0, integer_conv(body, x, w));
}

/* One number for all, of whatever rank, as a scalar where `whole` has fewer dims. */
static wefti_term fit_rank(wefti_body *body, wefti_term value, const wefti_term *whole)
{
    int64_t none = 0;
    bool larger = !wefti_body_failed(body) && value.known.rank > whole->known.rank;
    return larger && wefti_known_element_count(&value.known) == 1
               ? wefti_body_reshape(body, value, 0, &none)
               : value;
}

static wefti_term join_scales(wefti_body *body, wefti_term a, wefti_term b)
{
    wefti_body_check_types(body, 1, WEFTI_TYPES_F32);
    wefti_body_check_types(body, 4, WEFTI_TYPES_F32);
    return wefti_body_2(body, "Mul", a, b);
}

/* sum * scale in units of y_scale, input `index`, whose zero point follows it; the
 * scales broadcast to the sum. */
static void requantize(wefti_body *body, wefti_term sum, wefti_term scale, size_t index)
{
    wefti_term y_scale = wefti_body_input(body, index);
    wefti_term zero = wefti_body_input(body, index + 1);
    wefti_body_check_types(body, index, WEFTI_TYPES_F32);
    wefti_body_check_types(body, index + 1, byte_types);
    scale = fit_rank(body, wefti_body_2(body, "Div", scale, y_scale), &sum);
    zero = fit_rank(body, zero, &sum);
    check_within(body, "the sums in units of the scales", &sum, &scale);
    check_within(body, "the sums and the zero point", &sum, &zero);
    wefti_term real = wefti_body_cast(body, WEFT_TYPE_F32, sum);
    wefti_body_output(
        body, 0,
        wefti_quantize(body, real, WEFTI_OP_MUL, scale, zero, zero.known.type));
}

static void qlinear_matmul_body(wefti_body *body)
{
    operand a = read_operand(body, 0, 2), b = read_operand(body, 3, 5);
    wefti_term scale = along(body, wefti_body_input(body, 1), &a.value.known, 2);
    wefti_term sum = integer_matmul(body, a, b);
    requantize(body, sum, join_scales(body, scale, wefti_body_input(body, 4)), 6);
}

static wefti_term turned(wefti_body *body, wefti_term x, const char *name)
{
    static const int64_t order[] = {1, 0};
    bool turn = wefti_attribute_int(body->node, name, 0) != 0;
    return turn ? wefti_body_transpose(body, x, order) : x;
}

/* QGemm of com.microsoft: alpha * (A B + C), where C counts in units of both scales. It
 * gives real numbers where it has no scale for the result. */
static void qgemm_body(wefti_body *body)
{
    operand a = read_operand(body, 0, 2), b = read_operand(body, 3, 5);
    wefti_term bias = wefti_body_input(body, 6), y_scale = wefti_body_input(body, 7);
    wefti_body_check_rank(body, 0, 2, 2);
    wefti_body_check_rank(body, 3, 2, 2);
    a.value = turned(body, a.value, "transA");
    b.value = turned(body, b.value, "transB");
    wefti_term sum = integer_matmul(body, a, b);
    if (wefti_body_has(&bias)) {
        wefti_body_check_types(body, 6, WEFTI_TYPE_SET(WEFT_TYPE_I32));
        check_within(body, "the product and C", &sum, &bias);
        sum = wefti_body_2(body, "Add", sum, bias);
    }
    wefti_term scale =
        join_scales(body, wefti_body_input(body, 1), wefti_body_input(body, 4));
    float alpha = wefti_attribute_float(body->node, "alpha", 1);
    scale = wefti_body_2(body, "Mul", scale,
                         wefti_body_scalar(body, WEFT_TYPE_F32, (double)alpha));
    if (wefti_body_has(&y_scale)) {
        requantize(body, sum, scale, 7);
        return;
    }
    scale = fit_rank(body, scale, &sum);
    check_within(body, "the sums in units of the scales", &sum, &scale);
    sum = wefti_body_cast(body, WEFT_TYPE_F32, sum);
    wefti_body_output(body, 0, wefti_body_2(body, "Mul", sum, scale));
}

static void qlinear_conv_body(wefti_body *body)
{
    operand x = read_operand(body, 0, 2), w = read_operand(body, 3, 5);
    wefti_term scale = wefti_body_input(body, 4), bias = wefti_body_input(body, 8);
    wefti_body_check_rank(body, 0, 3, 5);
    wefti_body_check_rank(body, 3, 3, 5);
    wefti_term sum = integer_conv(body, x, w);
    if (wefti_body_has(&bias)) {
        wefti_body_check_types(body, 8, WEFTI_TYPE_SET(WEFT_TYPE_I32));
        sum = wefti_body_2(body, "Add", sum, by_channel(body, bias, sum.known.rank, 1));
    }
    scale = by_channel(body, scale, sum.known.rank, 1);
    requantize(body, sum, join_scales(body, wefti_body_input(body, 1), scale), 6);
}

WEFTI_BODY_FAMILY(matmul_integer)
WEFTI_BODY_FAMILY(conv_integer)
WEFTI_BODY_FAMILY(qlinear_matmul)
WEFTI_BODY_FAMILY(qgemm)
WEFTI_BODY_FAMILY(qlinear_conv)
