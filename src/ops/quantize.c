/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/quantize.h"

/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear. */

enum { X, SCALE, ZERO_POINT };

/* A scale or zero point that is one value for each index of an axis, or for each block
 * of them, in a shape that broadcasts to `x`. */
static wefti_term spread(wefti_body *body, wefti_term value, const wefti_known *x,
                         int64_t block)
{
    int64_t dims[WEFT_MAX_RANK] = {0};
    if (wefti_body_failed(body) || !wefti_body_has(&value)) {
        return value;
    }
    if (wefti_known_element_count(&value.known) == 1 && value.known.rank <= 1) {
        return wefti_body_reshape(body, value, 0, dims);
    }
    int32_t axis = wefti_body_axis(body, "axis", 1, x->rank);
    memcpy(dims, x->dims, sizeof(dims));
    if (block == 0) {
        wefti_body_check_shape(body, "a scale or zero point by axis", &value, 1,
                               &dims[axis]);
        for (int32_t i = 0; i < x->rank; i++) {
            dims[i] = i == axis ? dims[i] : 1;
        }
        return wefti_body_reshape(body, value, x->rank, dims);
    }
    int64_t blocks = dims[axis] / block + (dims[axis] % block != 0);
    dims[axis] = blocks;
    wefti_body_check_shape(body, "a scale or zero point by block", &value, x->rank,
                           dims);
    if (wefti_body_failed(body) || x->rank == WEFT_MAX_RANK) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "too many dimensions for blocks");
        return value;
    }
    memmove(&dims[axis + 2], &dims[axis + 1],
            (size_t)(x->rank - axis - 1) * sizeof(*dims));
    dims[axis + 1] = block;
    value = wefti_body_expand(body, wefti_body_unsqueeze(body, value, axis + 1),
                              x->rank + 1, dims);
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = blocks * block;
    value = wefti_body_reshape(body, value, x->rank, dims);
    return blocks * block == x->dims[axis]
               ? value
               : wefti_body_slice(body, value, axis, 0, x->dims[axis], 1);
}

static int64_t read_block(wefti_body *body, const wefti_known *x)
{
    int64_t block = wefti_attribute_int(body->node, "block_size", 0);
    int32_t axis = 0;
    if (block != 0 && !wefti_body_failed(body)) {
        axis = wefti_body_axis(body, "axis", 1, x->rank);
    }
    if (wefti_body_failed(body)) {
        return 0;
    }
    if (block < 0 || (block > 0 && block > x->dims[axis])) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "block_size is not from 0 to the size of the axis");
    }
    return block;
}

wefti_term wefti_quantize(wefti_body *body, wefti_term x, wefti_operation by,
                          wefti_term scale, wefti_term zero_point, weft_type type)
{
    bool is_signed = type == WEFT_TYPE_I8;
    const wefti_instruction program[] = {{.operation = by, .b = 1},
                                         {.operation = WEFTI_OP_ROUND, .a = 4},
                                         {.operation = WEFTI_OP_ADD, .a = 5, .b = 2},
                                         {.operation = WEFTI_OP_CLIP,
                                          .a = 6,
                                          .alpha = is_signed ? -128.0F : 0.0F,
                                          .beta = is_signed ? 127.0F : 255.0F}};
    wefti_term zero = wefti_body_has(&zero_point)
                          ? wefti_body_cast(body, WEFT_TYPE_F32, zero_point)
                          : wefti_body_scalar(body, WEFT_TYPE_F32, 0);
    const wefti_term operands[] = {x, scale, zero};
    return wefti_body_cast(body, type,
                           wefti_body_program(body, operands, 3, program, 4));
}

static void quantize_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, X), zero = wefti_body_input(body, ZERO_POINT);
    wefti_body_check_types(body, X, WEFTI_TYPES_F32 | WEFTI_TYPE_SET(WEFT_TYPE_I32));
    wefti_body_check_types(body, SCALE, WEFTI_TYPES_F32);
    int64_t wanted = wefti_attribute_int(body->node, "output_dtype", 0);
    weft_type type = wanted != 0 ? (weft_type)wanted : WEFT_TYPE_U8;
    if (wefti_body_has(&zero)) {
        type = zero.known.type;
    }
    if ((type != WEFT_TYPE_U8 && type != WEFT_TYPE_I8) ||
        (wanted != 0 && wanted != (int64_t)type)) {
        wefti_body_refuse(
            body, WEFT_UNSUPPORTED,
            "the output is not u8 or i8, or not of the zero point's type");
    }
    int64_t block = read_block(body, &x.known);
    wefti_term scale = spread(body, wefti_body_input(body, SCALE), &x.known, block);
    zero = spread(body, zero, &x.known, block);
    wefti_term real = wefti_body_cast(body, WEFT_TYPE_F32, x);
    wefti_body_output(body, 0,
                      wefti_quantize(body, real, WEFTI_OP_DIV, scale, zero, type));
}

static void dequantize_body(wefti_body *body)
{
    static const wefti_instruction program[] = {
        {.operation = WEFTI_OP_SUB, .b = 1},
        {.operation = WEFTI_OP_MUL, .a = 4, .b = 2}};
    const uint32_t types = WEFTI_TYPE_SET(WEFT_TYPE_U8) | WEFTI_TYPE_SET(WEFT_TYPE_I8) |
                           WEFTI_TYPE_SET(WEFT_TYPE_I32);
    wefti_term x = wefti_body_input(body, X), zero = wefti_body_input(body, ZERO_POINT);
    wefti_body_check_types(body, X, types);
    wefti_body_check_types(body, SCALE, WEFTI_TYPES_F32);
    if (wefti_body_has(&zero)) {
        wefti_body_check_types(body, ZERO_POINT, WEFTI_TYPE_SET(x.known.type));
    }
    int64_t wanted = wefti_attribute_int(body->node, "output_dtype", 0);
    if (wanted != 0 && wanted != WEFT_TYPE_F32) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "output_dtype is not f32");
    }
    int64_t block = read_block(body, &x.known);
    wefti_term scale = spread(body, wefti_body_input(body, SCALE), &x.known, block);
    zero = wefti_body_has(&zero) ? wefti_body_cast(body, WEFT_TYPE_F32, zero)
                                 : wefti_body_scalar(body, WEFT_TYPE_F32, 0);
    zero = spread(body, zero, &x.known, block);
    const wefti_term operands[] = {wefti_body_cast(body, WEFT_TYPE_F32, x), zero,
                                   scale};
    wefti_body_output(body, 0, wefti_body_program(body, operands, 3, program, 2));
}

/* The least and greatest of x and 0. */
static wefti_term bound(wefti_body *body, const char *reduction, const char *with_zero,
                        wefti_term x)
{
    wefti_body_with_int(body, "keepdims", 0);
    wefti_term most = wefti_body_1(body, reduction, x);
    return wefti_body_2(body, with_zero, most,
                        wefti_body_scalar(body, WEFT_TYPE_F32, 0));
}

static void dynamic_quantize_body(wefti_body *body)
{
    static const wefti_instruction range[] = {
        {.operation = WEFTI_OP_SUB, .b = 1},
        {.operation = WEFTI_OP_DIV, .a = 4, .b = 2}};
    static const wefti_instruction offset[] = {
        {.operation = WEFTI_OP_DIV, .b = 1},
        {.operation = WEFTI_OP_NEG, .a = 4},
        {.operation = WEFTI_OP_CLIP, .a = 5, .alpha = 0.0F, .beta = 255.0F},
        {.operation = WEFTI_OP_ROUND, .a = 6}};
    wefti_term x = wefti_body_input(body, X);
    wefti_body_check_types(body, X, WEFTI_TYPES_F32);
    wefti_term least = bound(body, "ReduceMin", "Min", x);
    wefti_term steps = wefti_body_scalar(body, WEFT_TYPE_F32, 255);
    const wefti_term ends[] = {bound(body, "ReduceMax", "Max", x), least, steps};
    wefti_term scale = wefti_body_program(body, ends, 3, range, 2);
    /* All zeros, or less than a scale can tell: any divisor gives zeros. */
    wefti_term flat =
        wefti_body_2(body, "Equal", scale, wefti_body_scalar(body, WEFT_TYPE_F32, 0));
    wefti_term divisor = wefti_body_3(body, "Where", flat,
                                      wefti_body_scalar(body, WEFT_TYPE_F32, 1), scale);
    const wefti_term low[] = {least, divisor};
    wefti_term zero = wefti_body_cast(body, WEFT_TYPE_U8,
                                      wefti_body_program(body, low, 2, offset, 4));
    wefti_body_output(
        body, 0, wefti_quantize(body, x, WEFTI_OP_DIV, divisor, zero, WEFT_TYPE_U8));
    wefti_body_output(body, 1, scale);
    wefti_body_output(body, 2, zero);
}

WEFTI_BODY_FAMILY(quantize)
WEFTI_BODY_FAMILY(dequantize)
WEFTI_BODY_FAMILY(dynamic_quantize)
