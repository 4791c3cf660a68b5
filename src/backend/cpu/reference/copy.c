/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* Conversions go through one of two wide values: int64 from integers, double from
 * floats, which hold every source exactly. */
typedef struct wide {
    bool is_integer;
    int64_t integer;
    double number; /* for integers too */
} wide;

/* A 16-bit float with `fraction` fraction bits and exponents from `low`. */
static double half_to_double(uint16_t bits, int32_t fraction, int32_t low)
{
    int32_t exponent_bits = 15 - fraction;
    int32_t exponent = (bits >> fraction) & ((1 << exponent_bits) - 1);
    int32_t mantissa = bits & ((1 << fraction) - 1);
    double value;
    if (exponent == (1 << exponent_bits) - 1) {
        value = mantissa != 0 ? (double)NAN : (double)INFINITY;
    } else if (exponent == 0) {
        value = ldexp(mantissa, low - fraction);
    } else {
        value = ldexp(mantissa + (1 << fraction), exponent - 1 + low - fraction);
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

static uint16_t double_to_half(double value, int32_t fraction, int32_t low)
{
    int32_t infinity = ((1 << (15 - fraction)) - 1) << fraction;
    if (value != value) {
        return (uint16_t)(infinity | 1 << (fraction - 1));
    }
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (magnitude == 0.0) {
        return sign;
    }
    int32_t exponent = isinf(magnitude) ? 2000 : ilogb(magnitude);
    if (exponent > 1 - low) {
        return (uint16_t)(sign | infinity);
    }
    exponent = exponent < low ? low : exponent;
    /* A whole number of last places; one too many carries into the exponent. */
    int32_t places = (int32_t)nearbyint(ldexp(magnitude, fraction - exponent));
    return (uint16_t)(sign | (((exponent - low) << fraction) + places));
}

static wide from_integer(int64_t value)
{
    return (wide){true, value, (double)value};
}

static wide from_number(double value)
{
    return (wide){false, 0, value};
}

static wide load(weft_type type, const void *source, int64_t index)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return from_number(((const float *)source)[index]);
    case WEFT_TYPE_F64:
        return from_number(((const double *)source)[index]);
    case WEFT_TYPE_F16:
        return from_number(half_to_double(((const uint16_t *)source)[index], 10, -14));
    case WEFT_TYPE_BF16:
        return from_number(half_to_double(((const uint16_t *)source)[index], 7, -126));
    case WEFT_TYPE_I64:
        return from_integer(((const int64_t *)source)[index]);
    case WEFT_TYPE_I32:
        return from_integer(((const int32_t *)source)[index]);
    case WEFT_TYPE_I8:
        return from_integer(((const int8_t *)source)[index]);
    case WEFT_TYPE_U8:
        return from_integer(((const uint8_t *)source)[index]);
    default:
        return from_integer(((const uint8_t *)source)[index] != 0);
    }
}

/* Integers wrap; numbers are cut to their integer and then to the range; NaN is 0. */
static int64_t to_integer(wide value, int64_t low, int64_t high)
{
    if (value.is_integer) {
        return value.integer;
    }
    if (value.number != value.number) {
        return 0;
    }
    if (value.number <= (double)low) {
        return low;
    }
    return value.number >= (double)high ? high : (int64_t)value.number;
}

static void store(weft_type type, void *target, int64_t index, wide value)
{
    switch (type) {
    case WEFT_TYPE_F32: {
        float f = value.is_integer ? (float)value.integer : (float)value.number;
        uint32_t nan = 0x7fc00000;
        memcpy((float *)target + index, f != f ? (void *)&nan : (void *)&f, sizeof(f));
        break;
    }
    case WEFT_TYPE_F64: {
        uint64_t nan = UINT64_C(0x7ff8000000000000);
        bool is_nan = value.number != value.number;
        memcpy((double *)target + index, is_nan ? (void *)&nan : (void *)&value.number,
               sizeof(double));
        break;
    }
    case WEFT_TYPE_F16:
        ((uint16_t *)target)[index] = double_to_half(value.number, 10, -14);
        break;
    case WEFT_TYPE_BF16:
        ((uint16_t *)target)[index] = double_to_half(value.number, 7, -126);
        break;
    case WEFT_TYPE_I64:
        ((int64_t *)target)[index] = to_integer(value, INT64_MIN, INT64_MAX);
        break;
    case WEFT_TYPE_I32:
        ((int32_t *)target)[index] = (int32_t)to_integer(value, INT32_MIN, INT32_MAX);
        break;
    case WEFT_TYPE_I8:
        ((int8_t *)target)[index] = (int8_t)to_integer(value, INT8_MIN, INT8_MAX);
        break;
    case WEFT_TYPE_U8:
        ((uint8_t *)target)[index] = (uint8_t)to_integer(value, 0, UINT8_MAX);
        break;
    default:
        ((uint8_t *)target)[index] =
            value.is_integer ? value.integer != 0 : value.number != 0.0;
    }
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_copy_params *p = call->params;
    const void *source = call->operands[WEFTI_COPY_SOURCE];
    void *target = call->operands[WEFTI_COPY_TARGET];
    int64_t count = ref_count(p->rank, p->dims);
    int64_t size = (int64_t)weft_type_size(p->source_type);
    int64_t last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t from = ref_offset(p->rank, p->dims, p->source_strides, i);
        int64_t to = ref_offset(p->rank, p->dims, p->target_strides, i);
        if (p->source_type == p->target_type) {
            memcpy((char *)target + to * size, (const char *)source + from * size,
                   (size_t)size);
        } else {
            store(p->target_type, target, to, load(p->source_type, source, from));
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_copy_reference(const wefti_step *step, bool may_pack,
                                         wefti_cpu_prepared *prepared,
                                         weft_error *error)
{
    (void)may_pack;
    int64_t count = 0;
    WEFTI_TRY(wefti_check_copy(step->params, &count, error));
    return ref_prepared(prepared, run, count, 20.0);
}
