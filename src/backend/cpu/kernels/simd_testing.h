/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_SIMD_TESTING_H
#define WEFTI_BACKEND_CPU_KERNELS_SIMD_TESTING_H

#include <stdbool.h>
#include <stdint.h>

/* In test builds: simd.h of each instruction set seen through plain arrays. */
typedef enum simd_probe_operation {
    SIMD_PROBE_FMA,
    SIMD_PROBE_FNMA,
    SIMD_PROBE_FMS,
    SIMD_PROBE_MIN,
    SIMD_PROBE_MAX,
    SIMD_PROBE_RELU,
    SIMD_PROBE_ROUND,
    SIMD_PROBE_FLOOR,
    SIMD_PROBE_CEIL,
    SIMD_PROBE_TRUNC,
    SIMD_PROBE_DIV,
    SIMD_PROBE_SQRT,
    SIMD_PROBE_ABS,
    SIMD_PROBE_NEG,
    SIMD_PROBE_COPYSIGN,
    SIMD_PROBE_SELECT_LT, /* a < b ? c : a, and so on */
    SIMD_PROBE_SELECT_LE,
    SIMD_PROBE_SELECT_GT,
    SIMD_PROBE_SELECT_GE,
    SIMD_PROBE_SELECT_EQ,
    SIMD_PROBE_TO_INT, /* for |a| < 2^31 */
    SIMD_PROBE_TO_INT_TRUNC,
    SIMD_PROBE_INT_SHIFTS, /* ((bits << 3) ^ (bits >> 5 logical)) + (bits >> 7) */
    SIMD_PROBE_COUNT,
} simd_probe_operation;

typedef struct simd_probe {
    const char *isa;
    bool (*supported)(void);
    /* out[i] = operation(a[i], b[i], c[i]); nothing behind `count` is touched. */
    void (*map)(simd_probe_operation operation, const float *a, const float *b,
                const float *c, float *out, int32_t count);
    /* Of up to 16 values, the rest taken as `other`. */
    void (*reduce)(const float *a, int32_t count, float other, float *sum, float *max,
                   float *min);
} simd_probe;

#if defined(__x86_64__)
extern const simd_probe simd_probe_avx512, simd_probe_avx2, simd_probe_sse2;
#elif defined(__aarch64__)
extern const simd_probe simd_probe_neon;
#endif

#endif
