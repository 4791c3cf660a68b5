/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_DOT_BYTES_H
#define WEFTI_BACKEND_CPU_KERNELS_DOT_BYTES_H

#include "backend/cpu/kernels/simd.h"

/* Products of small whole numbers, added to i32 lanes without saturation, so that any
 * order gives the same bits.
 *
 *   vi_dot_pairs(sum, a, b)   lane i: sum + a[2i] * b[2i] + a[2i + 1] * b[2i + 1], of
 *                             int16; both products fit into 31 bits
 *   vi_dot_fours(sum, a, b)   so too, of four u8 of a by four i8 of b; only where
 *                             DOT_FOURS is defined, in functions marked with it */
#if defined(WEFTI_ISA_avx512)
#define DOT_FOURS __attribute__((target("avx512vnni")))

WEFTI_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
DOT_FOURS WEFTI_INLINE vi vi_dot_fours(vi sum, vi a, vi b)
{
    return _mm512_dpbusd_epi32(sum, a, b);
}
#elif defined(WEFTI_ISA_avx2)
WEFTI_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
#elif defined(WEFTI_ISA_sse2)
WEFTI_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
    return _mm_add_epi32(sum, _mm_madd_epi16(a, b));
}
#elif defined(WEFTI_ISA_neon)
WEFTI_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(x, y)));
}
#endif

#endif
