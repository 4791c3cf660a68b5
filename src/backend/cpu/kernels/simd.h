/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_SIMD_H
#define WEFTI_BACKEND_CPU_KERNELS_SIMD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

/* One vector vocabulary for all instruction sets. Every source of this folder is
 * compiled once for each of them (cmake/weft.cmake) with WEFTI_ISA set; a name that
 * is to be seen outside is made with WEFTI_ISA_NAME.
 *
 *   vf  WEFTI_LANES floats   vi  as many int32   vm  a mask, one truth per lane
 *
 * The short prefixes vf_ vi_ vm_ v16_ are this folder's own. Every function gives the
 * same bits per lane on every instruction set, but for the sign and payload of a NaN
 * that arithmetic makes or passes on: vf_canonical settles those.
 *
 *   vf_fma(a, b, c)   a * b + c, rounded once (also on sse2, which has no such
 *                     instruction); vf_fnma: c - a * b, vf_fms: a * b - c
 *   vf_min, vf_max    a < b or a is NaN ? a : b; a > b or a is NaN ? a : b: NaN when
 *                     an operand is, the second of two zeros
 *   vf_relu(x)        0 > x ? 0 : x: NaN stays, -0 stays
 *   vf_round          half to even; floor, ceil, round and trunc keep the sign of 0
 *   vf_to_vi          half to even; vf_to_vi_trunc towards zero; both are only
 *                     specified for results within int32
 *   *_partial         the first `count` lanes (0 to WEFTI_LANES); memory behind them
 *                     is not touched, lanes behind them are zero
 *   vi_shl, vi_shr, vi_sar  by a constant; logical and arithmetic to the right
 */
#define WEFTI_CONCAT_(a, b) a##_##b
#define WEFTI_CONCAT(a, b) WEFTI_CONCAT_(a, b)
#define WEFTI_ISA_NAME(name) WEFTI_CONCAT(name, WEFTI_ISA)

#if defined(WEFTI_ISA_avx512)
#include "backend/cpu/kernels/simd_avx512.h"
#elif defined(WEFTI_ISA_avx2)
#include "backend/cpu/kernels/simd_avx2.h"
#elif defined(WEFTI_ISA_sse2)
#include "backend/cpu/kernels/simd_sse2.h"
#elif defined(WEFTI_ISA_neon)
#include "backend/cpu/kernels/simd_neon.h"
#else
#error "no instruction set chosen"
#endif

WEFTI_INLINE vf vf_zero(void)
{
    return vf_set1(0.0f);
}

WEFTI_INLINE vf vf_neg(vf a)
{
    return vf_from_bits(vi_xor(vf_bits(a), vi_set1(INT32_MIN)));
}

WEFTI_INLINE vf vf_abs(vf a)
{
    return vf_from_bits(vi_and(vf_bits(a), vi_set1(INT32_MAX)));
}

/* The magnitude of a with the sign of b. */
WEFTI_INLINE vf vf_copysign(vf a, vf b)
{
    vi sign = vi_set1(INT32_MIN);
    return vf_from_bits(vi_or(vi_andnot(sign, vf_bits(a)), vi_and(sign, vf_bits(b))));
}

/* Replaces every NaN by the one NaN that leaves a kernel whose operations may meet
 * two of them in an order the compiler chose: 0x7FC00000. */
WEFTI_INLINE vf vf_canonical(vf a)
{
    return vf_select(vf_is_nan(a), vf_from_bits(vi_set1(0x7FC00000)), a);
}

/* The 16 lanes in which rows are summed (backend/kernel.h), on any instruction set. */
enum { V16_VECTORS = 16 / WEFTI_LANES };
typedef struct v16 {
    vf part[V16_VECTORS];
} v16;

#define V16_MAP(result, expression)                                                    \
    do {                                                                               \
        for (int32_t i = 0; i < V16_VECTORS; i++) {                                    \
            (result).part[i] = (expression);                                           \
        }                                                                              \
    } while (0)

WEFTI_INLINE v16 v16_set1(float value)
{
    v16 r;
    V16_MAP(r, vf_set1(value));
    return r;
}

WEFTI_INLINE v16 v16_load(const float *p)
{
    v16 r;
    V16_MAP(r, vf_load(p + i * WEFTI_LANES));
    return r;
}

WEFTI_INLINE void v16_store(float *p, v16 a)
{
    for (int32_t i = 0; i < V16_VECTORS; i++) {
        vf_store(p + i * WEFTI_LANES, a.part[i]);
    }
}

/* Lanes of vector `part` among the first `count` of 16. */
WEFTI_INLINE int32_t v16_part_lanes(int32_t part, int32_t count)
{
    int32_t left = count - part * WEFTI_LANES;
    return left < 0 ? 0 : (left > WEFTI_LANES ? WEFTI_LANES : left);
}

/* The first `count` (0 to 16) from memory, the others from `other`. */
WEFTI_INLINE v16 v16_load_partial(const float *p, int32_t count, v16 other)
{
    v16 r = other;
    for (int32_t i = 0; i < V16_VECTORS; i++) {
        int32_t lanes = v16_part_lanes(i, count);
        if (lanes > 0) {
            r.part[i] =
                vf_select(vm_first(lanes), vf_load_partial(p + i * WEFTI_LANES, lanes),
                          other.part[i]);
        }
    }
    return r;
}

WEFTI_INLINE void v16_store_partial(float *p, v16 a, int32_t count)
{
    for (int32_t i = 0; i < V16_VECTORS; i++) {
        int32_t lanes = v16_part_lanes(i, count);
        if (lanes > 0) {
            vf_store_partial(p + i * WEFTI_LANES, a.part[i], lanes);
        }
    }
}

/* The first `count` lanes of a, the others of b. */
WEFTI_INLINE v16 v16_select_first(int32_t count, v16 a, v16 b)
{
    v16 r;
    V16_MAP(r, vf_select(vm_first(v16_part_lanes(i, count)), a.part[i], b.part[i]));
    return r;
}

WEFTI_INLINE v16 v16_add(v16 a, v16 b)
{
    v16 r;
    V16_MAP(r, vf_add(a.part[i], b.part[i]));
    return r;
}

WEFTI_INLINE v16 v16_sub(v16 a, v16 b)
{
    v16 r;
    V16_MAP(r, vf_sub(a.part[i], b.part[i]));
    return r;
}

WEFTI_INLINE v16 v16_mul(v16 a, v16 b)
{
    v16 r;
    V16_MAP(r, vf_mul(a.part[i], b.part[i]));
    return r;
}

WEFTI_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    v16 r;
    V16_MAP(r, vf_fma(a.part[i], b.part[i], c.part[i]));
    return r;
}

WEFTI_INLINE v16 v16_max(v16 a, v16 b)
{
    v16 r;
    V16_MAP(r, vf_max(a.part[i], b.part[i]));
    return r;
}

WEFTI_INLINE v16 v16_min(v16 a, v16 b)
{
    v16 r;
    V16_MAP(r, vf_min(a.part[i], b.part[i]));
    return r;
}

/* The one tree: lane[j] op= lane[j + 8], then + 4, + 2, + 1. */
#if WEFTI_LANES == 16
#define V16_TREE_HEAD(a, op) vf r = op((a).part[0], vf_fold8((a).part[0]))
#define V16_TREE_4(r, op) op(r, vf_fold4(r))
#elif WEFTI_LANES == 8
#define V16_TREE_HEAD(a, op) vf r = op((a).part[0], (a).part[1])
#define V16_TREE_4(r, op) op(r, vf_fold4(r))
#else
#define V16_TREE_HEAD(a, op)                                                           \
    vf r = op((a).part[0], (a).part[2]);                                               \
    const vf upper = op((a).part[1], (a).part[3])
#define V16_TREE_4(r, op) op(r, upper)
#endif
#define V16_TREE(a, op)                                                                \
    V16_TREE_HEAD(a, op);                                                              \
    r = V16_TREE_4(r, op);                                                             \
    r = op(r, vf_fold2(r));                                                            \
    r = op(r, vf_fold1(r));                                                            \
    return vf_first(r)

WEFTI_INLINE float v16_reduce_add(v16 a)
{
    V16_TREE(a, vf_add);
}

WEFTI_INLINE float v16_reduce_max(v16 a)
{
    V16_TREE(a, vf_max);
}

WEFTI_INLINE float v16_reduce_min(v16 a)
{
    V16_TREE(a, vf_min);
}

#endif
