/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/cast.h"

#include <stdbool.h>
#include <string.h>

#include "base/compiler.h"

WEFTI_INLINE uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

WEFTI_INLINE float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

WEFTI_INLINE uint64_t double_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

WEFTI_INLINE double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* The 16-bit floats, as elements that C can tell from integers. */
typedef struct f16 {
    uint16_t bits;
} f16;
typedef struct bf16 {
    uint16_t bits;
} bf16;
/* Likewise bool tensors. */
typedef struct flag {
    uint8_t byte;
} flag;

/* Every source element is first read as int64, float or double, which hold it
 * exactly. */
WEFTI_INLINE float read_f32(float x)
{
    return x;
}
WEFTI_INLINE double read_f64(double x)
{
    return x;
}
WEFTI_INLINE float read_f16(f16 x)
{
    /* Exponent 31 (infinite, NaN) aside, the bits mean the same float, 2^-112 of it. */
    uint32_t magnitude = (uint32_t)(x.bits & 0x7fff) << 13;
    uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
    uint32_t special = magnitude > 0x0f800000 ? 0x7fc00000 : 0x7f800000;
    uint32_t result = magnitude >= 0x0f800000 ? special : finite;
    return float_of(result | (uint32_t)(x.bits & 0x8000) << 16);
}
WEFTI_INLINE float read_bf16(bf16 x)
{
    return float_of((uint32_t)x.bits << 16);
}
WEFTI_INLINE int64_t read_i64(int64_t x)
{
    return x;
}
WEFTI_INLINE int64_t read_i32(int32_t x)
{
    return x;
}
WEFTI_INLINE int64_t read_i8(int8_t x)
{
    return x;
}
WEFTI_INLINE int64_t read_u8(uint8_t x)
{
    return x;
}
WEFTI_INLINE int64_t read_flag(flag x)
{
    return x.byte != 0;
}

WEFTI_INLINE float canonical(float x)
{
    return x != x ? float_of(0x7fc00000) : x;
}

WEFTI_INLINE double canonical_double(double x)
{
    return x != x ? double_of(UINT64_C(0x7ff8000000000000)) : x;
}

WEFTI_INLINE f16 round_f16(float x)
{
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    /* Adding 1/2 leaves the subnormal's places in the last bits. */
    uint32_t small = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
    uint32_t odd = magnitude >> 13 & 1;
    uint32_t normal = (magnitude - (112u << 23) + 0xfff + odd) >> 13;
    uint32_t result = magnitude < 0x38800000 ? small : normal;
    result = magnitude >= 0x47800000 ? 0x7c00 : result;
    /* Rounded up past the largest is infinite by itself. */
    return (f16){(uint16_t)(magnitude > 0x7f800000 ? 0x7e00 : result | sign)};
}

WEFTI_INLINE bf16 round_bf16(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (bf16){(uint16_t)(x != x ? 0x7fc0 : rounded)};
}

/* To float, with the last bit set when inexact, so that a second rounding to fewer
 * bits is as if it were the only one. */
WEFTI_INLINE float round_to_odd(double x)
{
    float nearest = (float)x;
    uint32_t bits = bits_of(nearest);
    double back = (double)nearest;
    if (back == x || x != x || (bits & 1u) != 0) {
        return nearest;
    }
    /* The even neighbour was chosen: step towards x, which is odd. */
    bool up = (back < x) == (bits >> 31 == 0);
    if ((bits & 0x7fffffff) == 0) {
        return float_of((double_bits(x) >> 63 != 0 ? 0x80000000u : 0) | 1u);
    }
    return float_of(up ? bits + 1 : bits - 1);
}

/* Towards zero, within [low, high]; NaN is 0. `limit` is high + 1, exact. */
#define DEFINE_CUT(T, name)                                                            \
    WEFTI_INLINE int64_t name(T x, int64_t low, int64_t high, T limit)                 \
    {                                                                                  \
        if (x != x) {                                                                  \
            return 0;                                                                  \
        }                                                                              \
        return x <= (T)low ? low : (x >= limit ? high : (int64_t)x);                   \
    }
DEFINE_CUT(float, cut_float)
DEFINE_CUT(double, cut_double)

/* What each kind of value (a float, a double, an int64) becomes. */
#define float_to_f32(x) canonical(x)
#define float_to_f64(x) canonical_double((double)(x))
#define float_to_f16(x) round_f16(x)
#define float_to_bf16(x) round_bf16(x)
#define float_to_i64(x) cut_float(x, INT64_MIN, INT64_MAX, 0x1p63f)
#define float_to_i32(x) (int32_t) cut_float(x, INT32_MIN, INT32_MAX, 0x1p31f)
#define float_to_i8(x) (int8_t) cut_float(x, INT8_MIN, INT8_MAX, 0x1p7f)
#define float_to_u8(x) (uint8_t) cut_float(x, 0, UINT8_MAX, 0x1p8f)
#define float_to_flag(x) ((flag){(x) != 0.0f})

#define double_to_f32(x) canonical((float)(x))
#define double_to_f64(x) canonical_double(x)
#define double_to_f16(x) round_f16(round_to_odd(x))
#define double_to_bf16(x) round_bf16(round_to_odd(x))
#define double_to_i64(x) cut_double(x, INT64_MIN, INT64_MAX, 0x1p63)
#define double_to_i32(x) (int32_t) cut_double(x, INT32_MIN, INT32_MAX, 0x1p31)
#define double_to_i8(x) (int8_t) cut_double(x, INT8_MIN, INT8_MAX, 0x1p7)
#define double_to_u8(x) (uint8_t) cut_double(x, 0, UINT8_MAX, 0x1p8)
#define double_to_flag(x) ((flag){(x) != 0.0})

#define integer_to_f32(x) (float)(x)
#define integer_to_f64(x) (double)(x)
#define integer_to_f16(x) round_f16(round_to_odd((double)(x)))
#define integer_to_bf16(x) round_bf16(round_to_odd((double)(x)))
#define integer_to_i64(x) (x)
#define integer_to_i32(x) (int32_t)(x)
#define integer_to_i8(x) (int8_t)(x)
#define integer_to_u8(x) (uint8_t)(x)
#define integer_to_flag(x) ((flag){(x) != 0})

/* The types with their C element and the kind of value they are read as. */
#define FOR_EACH_TARGET(F, source, S, kind)                                            \
    F(source, S, kind, F32, f32, float)                                                \
    F(source, S, kind, F64, f64, double)                                               \
    F(source, S, kind, F16, f16, f16)                                                  \
    F(source, S, kind, BF16, bf16, bf16)                                               \
    F(source, S, kind, I64, i64, int64_t)                                              \
    F(source, S, kind, I32, i32, int32_t)                                              \
    F(source, S, kind, I8, i8, int8_t)                                                 \
    F(source, S, kind, U8, u8, uint8_t)                                                \
    F(source, S, kind, BOOL, flag, flag)
#define FOR_EACH_SOURCE(G)                                                             \
    G(F32, f32, float, float)                                                          \
    G(F64, f64, double, double)                                                        \
    G(F16, f16, f16, float)                                                            \
    G(BF16, bf16, bf16, float)                                                         \
    G(I64, i64, int64_t, integer)                                                      \
    G(I32, i32, int32_t, integer)                                                      \
    G(I8, i8, int8_t, integer)                                                         \
    G(U8, u8, uint8_t, integer)                                                        \
    G(BOOL, flag, flag, integer)

#define DEFINE_CAST(source, S, kind, TARGET, target, T)                                \
    static void source##_to_##target(const void *from, void *to, int64_t count)        \
    {                                                                                  \
        const S *x = from;                                                             \
        T *y = to;                                                                     \
        for (int64_t i = 0; i < count; i++) {                                          \
            y[i] = kind##_to_##target(read_##source(x[i]));                            \
        }                                                                              \
    }
#define DEFINE_CASTS(SOURCE, source, S, kind)                                          \
    FOR_EACH_TARGET(DEFINE_CAST, source, S, kind)
FOR_EACH_SOURCE(DEFINE_CASTS)

/* ONNX's type numbers are below this. */
enum { TYPES = WEFT_TYPE_BF16 + 1 };

#define ENTRY(source, S, kind, TARGET, target, T)                                      \
    [WEFT_TYPE_##TARGET] = source##_to_##target,
#define ENTRIES(SOURCE, source, S, kind)                                               \
    [WEFT_TYPE_##SOURCE] = {FOR_EACH_TARGET(ENTRY, source, S, kind)},
static const cast_function casts[TYPES][TYPES] = {FOR_EACH_SOURCE(ENTRIES)};

cast_function wefti_cast(weft_type source, weft_type target)
{
    if ((uint32_t)source >= TYPES || (uint32_t)target >= TYPES || source == target) {
        return NULL;
    }
    return casts[source][target];
}
