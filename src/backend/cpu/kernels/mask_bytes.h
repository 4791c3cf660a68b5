/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_MASK_BYTES_H
#define WEFTI_BACKEND_CPU_KERNELS_MASK_BYTES_H

#include "backend/cpu/kernels/simd.h"

/* Masks from and to bool tensors: WEFTI_LANES bytes; any byte but 0 is true. */

#if defined(WEFTI_ISA_avx512)

WEFTI_INLINE vm vm_load_bytes(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm_test_epi8_mask(bytes, bytes);
}
WEFTI_INLINE void vm_store_bytes(uint8_t *p, vm m)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm_maskz_set1_epi8(m, 1));
}

#elif defined(WEFTI_ISA_avx2)

WEFTI_INLINE vm vm_load_bytes(const uint8_t *p)
{
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m256i wide = _mm256_cvtepu8_epi32(bytes);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, _mm256_setzero_si256()));
}
WEFTI_INLINE void vm_store_bytes(uint8_t *p, vm m)
{
    __m256i wide = _mm256_castps_si256(m);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide),
                                    _mm256_extracti128_si256(wide, 1));
    __m128i bytes = _mm_packs_epi16(words, words);
    _mm_storel_epi64((__m128i *)(void *)p, _mm_and_si128(bytes, _mm_set1_epi8(1)));
}

#elif defined(WEFTI_ISA_sse2)

WEFTI_INLINE vm vm_load_bytes(const uint8_t *p)
{
    const __m128i zero = _mm_setzero_si128();
    int32_t four;
    memcpy(&four, p, sizeof(four));
    __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
    __m128i wide = _mm_unpacklo_epi16(words, zero);
    return _mm_castsi128_ps(_mm_cmpgt_epi32(wide, zero));
}
WEFTI_INLINE void vm_store_bytes(uint8_t *p, vm m)
{
    __m128i wide = _mm_castps_si128(m);
    __m128i words = _mm_packs_epi32(wide, wide);
    __m128i bytes = _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1));
    int32_t four = _mm_cvtsi128_si32(bytes);
    memcpy(p, &four, sizeof(four));
}

#else

WEFTI_INLINE vm vm_load_bytes(const uint8_t *p)
{
    int32_t lanes[WEFTI_LANES];
    for (int32_t i = 0; i < WEFTI_LANES; i++) {
        lanes[i] = p[i];
    }
    return vi_gt(vi_load(lanes), vi_set1(0));
}
WEFTI_INLINE void vm_store_bytes(uint8_t *p, vm m)
{
    int32_t lanes[WEFTI_LANES];
    vi_store(lanes, vi_select(m, vi_set1(1), vi_set1(0)));
    for (int32_t i = 0; i < WEFTI_LANES; i++) {
        p[i] = (uint8_t)lanes[i];
    }
}

#endif

WEFTI_INLINE vm vm_load_bytes_partial(const uint8_t *p, int32_t count)
{
    uint8_t bytes[WEFTI_LANES] = {0};
    memcpy(bytes, p, (size_t)count);
    return vm_load_bytes(bytes);
}
WEFTI_INLINE void vm_store_bytes_partial(uint8_t *p, vm m, int32_t count)
{
    uint8_t bytes[WEFTI_LANES];
    vm_store_bytes(bytes, m);
    memcpy(p, bytes, (size_t)count);
}

#endif
