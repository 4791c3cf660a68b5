/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/copy_core.h"

/* Casts between f32 and the 16-bit floats, for each instruction set: what cast.c does,
 * with choices by masks, which the compiler turns into vectors where it would turn `?:`
 * into jumps. */

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

/* a > b ? above : otherwise; a and b are below 2^31. */
WEFTI_INLINE uint32_t choose(uint32_t a, uint32_t b, uint32_t above, uint32_t otherwise)
{
    uint32_t mask = 0u - (uint32_t)((int32_t)a > (int32_t)b);
    return (above & mask) | (otherwise & ~mask);
}

static void f16_to_f32(const void *source, void *target, int64_t count)
{
    const uint16_t *x = source;
    float *y = target;
    for (int64_t i = 0; i < count; i++) {
        uint32_t magnitude = (uint32_t)(x[i] & 0x7fff) << 13;
        uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
        uint32_t special = choose(magnitude, 0x0f800000, 0x7fc00000, 0x7f800000);
        uint32_t sign = (uint32_t)(x[i] & 0x8000) << 16;
        /* A NaN leaves as the one NaN, without its sign. */
        sign = choose(magnitude, 0x0f800000, 0, sign);
        y[i] = float_of(choose(magnitude, 0x0f7fffff, special, finite) | sign);
    }
}

static void f32_to_f16(const void *source, void *target, int64_t count)
{
    const float *x = source;
    uint16_t *y = target;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(x[i]), sign = bits >> 16 & 0x8000;
        uint32_t magnitude = bits & 0x7fffffff;
        uint32_t small = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
        uint32_t odd = magnitude >> 13 & 1;
        uint32_t normal = (magnitude - (112u << 23) + 0xfff + odd) >> 13;
        uint32_t result = choose(magnitude, 0x387fffff, normal, small);
        result = choose(magnitude, 0x477fffff, 0x7c00, result) | sign;
        y[i] = (uint16_t)choose(magnitude, 0x7f800000, 0x7e00, result);
    }
}

static void bf16_to_f32(const void *source, void *target, int64_t count)
{
    const uint16_t *x = source;
    float *y = target;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)x[i] << 16;
        y[i] = float_of(choose(bits & 0x7fffffff, 0x7f800000, 0x7fc00000, bits));
    }
}

static void f32_to_bf16(const void *source, void *target, int64_t count)
{
    const float *x = source;
    uint16_t *y = target;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(x[i]);
        uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        y[i] = (uint16_t)choose(bits & 0x7fffffff, 0x7f800000, 0x7fc0, rounded);
    }
}

cast_function WEFTI_ISA_NAME(wefti_cast_vector)(weft_type source, weft_type target)
{
    if (source == WEFT_TYPE_F16 && target == WEFT_TYPE_F32) {
        return f16_to_f32;
    }
    if (source == WEFT_TYPE_F32 && target == WEFT_TYPE_F16) {
        return f32_to_f16;
    }
    if (source == WEFT_TYPE_BF16 && target == WEFT_TYPE_F32) {
        return bf16_to_f32;
    }
    if (source == WEFT_TYPE_F32 && target == WEFT_TYPE_BF16) {
        return f32_to_bf16;
    }
    return wefti_cast(source, target);
}
