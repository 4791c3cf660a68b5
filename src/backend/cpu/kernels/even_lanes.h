/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_EVEN_LANES_H
#define WEFTI_BACKEND_CPU_KERNELS_EVEN_LANES_H

#include "backend/cpu/kernels/simd.h"

/* Lanes 0, 2, 4, ... of a, then of b. */
WEFTI_INLINE vf vf_even(vf a, vf b)
{
#if defined(WEFTI_ISA_avx512)
    const __m512i lanes =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutex2var_ps(a, lanes, b);
#elif defined(WEFTI_ISA_avx2)
    const __m256d halves = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(halves, 0xD8));
#elif defined(WEFTI_ISA_sse2)
    return _mm_shuffle_ps(a, b, 0x88);
#else
    return vuzp1q_f32(a, b);
#endif
}

#endif
