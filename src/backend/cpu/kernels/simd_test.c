/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/simd_testing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"

/* Each instruction set's vector operations against plain C, bit for bit. */

static const simd_probe *const probes[] = {
#if defined(__x86_64__)
    &simd_probe_avx512,
    &simd_probe_avx2,
    &simd_probe_sse2,
#elif defined(__aarch64__)
    &simd_probe_neon,
#endif
    NULL,
};

enum { BLOCK = 1024 };

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float oracle_int(simd_probe_operation operation, float a)
{
    if (operation == SIMD_PROBE_TO_INT) {
        return (float)(int32_t)rintf(a);
    }
    if (operation == SIMD_PROBE_TO_INT_TRUNC) {
        return (float)(int32_t)a;
    }
    uint32_t bits = to_bits(a);
    int32_t arithmetic = (int32_t)bits >> 7;
    return from_bits(((bits << 3) ^ (bits >> 5)) + (uint32_t)arithmetic);
}

static float oracle(simd_probe_operation operation, float a, float b, float c)
{
    switch (operation) {
    case SIMD_PROBE_FMA:
        return fmaf(a, b, c);
    case SIMD_PROBE_FNMA:
        return fmaf(-a, b, c);
    case SIMD_PROBE_FMS:
        return fmaf(a, b, -c);
    case SIMD_PROBE_MIN:
        return a < b || isnan(a) ? a : b;
    case SIMD_PROBE_MAX:
        return a > b || isnan(a) ? a : b;
    case SIMD_PROBE_RELU:
        return 0.0f > a ? 0.0f : a;
    case SIMD_PROBE_ROUND:
        return rintf(a);
    case SIMD_PROBE_FLOOR:
        return floorf(a);
    case SIMD_PROBE_CEIL:
        return ceilf(a);
    case SIMD_PROBE_TRUNC:
        return truncf(a);
    case SIMD_PROBE_DIV:
        return a / b;
    case SIMD_PROBE_SQRT:
        return sqrtf(a);
    case SIMD_PROBE_ABS:
        return fabsf(a);
    case SIMD_PROBE_NEG:
        return -a;
    case SIMD_PROBE_COPYSIGN:
        return copysignf(a, b);
    case SIMD_PROBE_SELECT_LT:
        return a < b ? c : a;
    case SIMD_PROBE_SELECT_LE:
        return a <= b ? c : a;
    case SIMD_PROBE_SELECT_GT:
        return a > b ? c : a;
    case SIMD_PROBE_SELECT_GE:
        return a >= b ? c : a;
    case SIMD_PROBE_SELECT_EQ:
        return a == b ? c : a;
    default:
        return oracle_int(operation, a);
    }
}

/* A NaN's bits are not part of the promise of the plain operations. */
static bool same(float a, float b)
{
    return (isnan(a) && isnan(b)) || to_bits(a) == to_bits(b);
}

static void compare(simd_probe_operation operation, const float *a, const float *b,
                    const float *c, int32_t count)
{
    float out[BLOCK + 1];
    for (int32_t p = 0; probes[p] != NULL; p++) {
        if (!probes[p]->supported()) {
            continue;
        }
        out[count] = 12345.0f;
        probes[p]->map(operation, a, b, c, out, count);
        assert_true(out[count] == 12345.0f);
        for (int32_t i = 0; i < count; i++) {
            float expected = oracle(operation, a[i], b[i], c[i]);
            if (!same(expected, out[i])) {
                fail_msg("%s operation %d (%a, %a, %a): %a instead of %a",
                         probes[p]->isa, (int)operation, (double)a[i], (double)b[i],
                         (double)c[i], (double)out[i], (double)expected);
            }
        }
    }
}

static const uint32_t special[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x00800000,
    0x80800000, 0x00800001, 0x3F800000, 0xBF800000, 0x3F800001, 0x3F7FFFFF, 0x3F000000,
    0xBF000000, 0x3FC00000, 0xBFC00000, 0x40200000, 0x4B000000, 0x4AFFFFFF, 0x4B000001,
    0xCB000000, 0x4EFFFFFF, 0xCF000000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
    0x7FC00000, 0xFFC00001, 0x33800000, 0x33000000, 0x19800000, 0x1A000000};

static bool fits_int(float a)
{
    return fabsf(a) < 2147483648.0f;
}

static void test_special_values(void **state)
{
    (void)state;
    enum { COUNT = WEFTI_COUNT_OF(special) };
    float a[COUNT], b[COUNT], c[COUNT];
    for (int32_t operation = 0; operation < SIMD_PROBE_COUNT; operation++) {
        bool to_int =
            operation == SIMD_PROBE_TO_INT || operation == SIMD_PROBE_TO_INT_TRUNC;
        for (size_t i = 0; i < (size_t)COUNT * COUNT; i++) {
            for (size_t k = 0; k < COUNT; k++) {
                a[k] = from_bits(special[k]);
                a[k] = to_int && !fits_int(a[k]) ? 7.5f : a[k];
                b[k] = from_bits(special[i % COUNT]);
                c[k] = from_bits(special[i / COUNT]);
            }
            compare((simd_probe_operation)operation, a, b, c, COUNT);
        }
    }
}

static void test_random_values(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    float a[BLOCK], b[BLOCK], c[BLOCK];
    for (int32_t round = 0; round < 23 * 40; round++) {
        simd_probe_operation operation =
            (simd_probe_operation)(round % SIMD_PROBE_COUNT);
        bool to_int =
            operation == SIMD_PROBE_TO_INT || operation == SIMD_PROBE_TO_INT_TRUNC;
        for (int32_t i = 0; i < BLOCK; i++) {
            a[i] = from_bits((uint32_t)next_random(&seed));
            a[i] = to_int && !fits_int(a[i]) ? (float)i - 512.5f : a[i];
            b[i] = from_bits((uint32_t)next_random(&seed));
            c[i] = from_bits((uint32_t)next_random(&seed));
        }
        compare(operation, a, b, c, BLOCK - round % 17);
    }
}

static float random_float(uint64_t *seed, int32_t bits, int32_t exponent)
{
    uint64_t r = next_random(seed);
    uint64_t mantissa = ((r >> 8) & ((UINT64_C(1) << bits) - 1)) | 1u;
    return ldexpf((r & 1u) != 0 ? (float)mantissa : -(float)mantissa, exponent);
}

/* The sum lies next to the middle between two floats, nearer than a double shows. */
static void near_tie(uint64_t *seed, float *a, float *b, float *c)
{
    uint64_t r = next_random(seed);
    int32_t scale = (int32_t)(r % 100u) - 50;
    if ((r & 256u) != 0) {
        /* a * b has 25 bits, the last one set; c is far below. */
        int32_t bits = 2 + (int32_t)((r >> 10) % 22u);
        *a = random_float(seed, bits, scale);
        *b = random_float(seed, 25 - bits, 0);
        *c = random_float(seed, 3, scale - 32 - (int32_t)((r >> 20) % 50u));
        return;
    }
    /* a * b is 1 - i^2 2^-46 times half a unit of c's last place; c may be
     * subnormal. */
    float tiny = (float)(1 + (r >> 10) % 8u) * 0x1p-23f;
    scale = (r & 512u) != 0 ? -149 : scale - 60;
    *c = random_float(seed, 23, scale);
    *c = scale > -149 ? *c + copysignf(ldexpf(1.0f, scale + 23), *c) : *c;
    *a = ldexpf(1.0f + tiny, scale / 2);
    *b = ldexpf((r & 1024u) != 0 ? 1.0f - tiny : tiny - 1.0f, scale - scale / 2 - 1);
}

/* c near -a * b, or anything around the exponent of the product. */
static void near_product(uint64_t *seed, float *a, float *b, float *c)
{
    uint64_t r = next_random(seed);
    int32_t scale = (r & 1u) != 0 ? -70 : (int32_t)((r >> 8) % 60u) - 30;
    *a = random_float(seed, 24, scale);
    *b = random_float(seed, 1 + (int32_t)((r >> 16) % 24u), scale - 23);
    *c = (r & 2u) != 0
             ? -(*a * *b)
             : random_float(seed, 24, 2 * scale + (int32_t)((r >> 24) % 60u) - 40);
}

static void test_hard_fma(void **state)
{
    (void)state;
    uint64_t seed = 0x9E3779B97F4A7C15u;
    float a[BLOCK], b[BLOCK], c[BLOCK];
    for (int32_t round = 0; round < 3000; round++) {
        for (int32_t i = 0; i < BLOCK; i++) {
            if ((i & 1) != 0) {
                near_tie(&seed, &a[i], &b[i], &c[i]);
            } else {
                near_product(&seed, &a[i], &b[i], &c[i]);
            }
        }
        compare(SIMD_PROBE_FMA, a, b, c, BLOCK);
    }
}

static float fold(const float *a, float (*op)(float, float))
{
    float lane[16];
    memcpy(lane, a, sizeof(lane));
    for (int32_t step = 8; step >= 1; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            lane[j] = op(lane[j], lane[j + step]);
        }
    }
    return lane[0];
}

static float add(float a, float b)
{
    return a + b;
}
static float larger(float a, float b)
{
    return oracle(SIMD_PROBE_MAX, a, b, 0.0f);
}
static float smaller(float a, float b)
{
    return oracle(SIMD_PROBE_MIN, a, b, 0.0f);
}

static void test_reductions(void **state)
{
    (void)state;
    uint64_t seed = 42;
    for (int32_t round = 0; round < 17 * 300; round++) {
        float a[16], full[16];
        int32_t count = round % 17;
        float other = (round & 1) != 0 ? 0.0f : -1.0e30f;
        for (int32_t i = 0; i < 16; i++) {
            uint64_t r = next_random(&seed);
            a[i] = (r & 63u) == 0 ? from_bits(special[(r >> 8) % 34u])
                                  : (float)(int64_t)r * 0x1p-60f;
            full[i] = i < count ? a[i] : other;
        }
        for (int32_t p = 0; probes[p] != NULL; p++) {
            float sum, max, min;
            if (probes[p]->supported()) {
                probes[p]->reduce(a, count, other, &sum, &max, &min);
                assert_true(same(sum, fold(full, add)));
                assert_true(same(max, fold(full, larger)));
                assert_true(same(min, fold(full, smaller)));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_hard_fma),
        cmocka_unit_test(test_reductions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
