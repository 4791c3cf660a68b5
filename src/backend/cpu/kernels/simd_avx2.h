/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_SIMD_AVX2_H
#define WEFTI_BACKEND_CPU_KERNELS_SIMD_AVX2_H

#include <immintrin.h>

/* simd.h for AVX2 with FMA. Included by simd.h only. */
#define WEFTI_LANES 8
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

WEFTI_INLINE __m256i simd_first_lanes(int32_t count)
{
    static const int32_t window[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(window + 8 - count));
}
WEFTI_INLINE vm vm_first(int32_t count)
{
    return _mm256_castsi256_ps(simd_first_lanes(count));
}

WEFTI_INLINE vf vf_set1(float a)
{
    return _mm256_set1_ps(a);
}
WEFTI_INLINE vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
WEFTI_INLINE vf vf_load_aligned(const float *p)
{
    return _mm256_load_ps(p);
}
WEFTI_INLINE vf vf_load_partial(const float *p, int32_t count)
{
    return _mm256_maskload_ps(p, simd_first_lanes(count));
}
WEFTI_INLINE void vf_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}
WEFTI_INLINE void vf_store_aligned(float *p, vf a)
{
    _mm256_store_ps(p, a);
}
WEFTI_INLINE void vf_store_partial(float *p, vf a, int32_t count)
{
    _mm256_maskstore_ps(p, simd_first_lanes(count), a);
}

WEFTI_INLINE vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
WEFTI_INLINE vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
WEFTI_INLINE vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
WEFTI_INLINE vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
WEFTI_INLINE vf vf_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}
WEFTI_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
WEFTI_INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
WEFTI_INLINE vf vf_fms(vf a, vf b, vf c)
{
    return _mm256_fmsub_ps(a, b, c);
}

WEFTI_INLINE vm vf_lt(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
WEFTI_INLINE vm vf_le(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
WEFTI_INLINE vm vf_gt(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
WEFTI_INLINE vm vf_ge(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}
WEFTI_INLINE vm vf_eq(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
WEFTI_INLINE vm vf_is_nan(vf a)
{
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
/* True where a or b is NaN. */
WEFTI_INLINE vm vf_either_nan(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_UNORD_Q);
}
WEFTI_INLINE vf vf_select(vm m, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, m);
}
WEFTI_INLINE vm vm_and(vm a, vm b)
{
    return _mm256_and_ps(a, b);
}
WEFTI_INLINE vm vm_or(vm a, vm b)
{
    return _mm256_or_ps(a, b);
}
WEFTI_INLINE vm vm_xor(vm a, vm b)
{
    return _mm256_xor_ps(a, b);
}
WEFTI_INLINE vm vm_not(vm a)
{
    return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
}
WEFTI_INLINE bool vm_any(vm a)
{
    return _mm256_movemask_ps(a) != 0;
}
/* Bit i is lane i. */
WEFTI_INLINE uint32_t vm_bits(vm a)
{
    return (uint32_t)_mm256_movemask_ps(a);
}

WEFTI_INLINE vf vf_max(vf a, vf b)
{
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, vf_is_nan(a));
}
WEFTI_INLINE vf vf_min(vf a, vf b)
{
    return _mm256_blendv_ps(_mm256_min_ps(a, b), a, vf_is_nan(a));
}
WEFTI_INLINE vf vf_relu(vf a)
{
    return _mm256_max_ps(_mm256_setzero_ps(), a);
}

WEFTI_INLINE vf vf_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
WEFTI_INLINE vf vf_floor(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
WEFTI_INLINE vf vf_ceil(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
WEFTI_INLINE vf vf_trunc(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

WEFTI_INLINE vi vf_bits(vf a)
{
    return _mm256_castps_si256(a);
}
WEFTI_INLINE vf vf_from_bits(vi a)
{
    return _mm256_castsi256_ps(a);
}
WEFTI_INLINE vi vf_to_vi(vf a)
{
    return _mm256_cvtps_epi32(a);
}
WEFTI_INLINE vi vf_to_vi_trunc(vf a)
{
    return _mm256_cvttps_epi32(a);
}
WEFTI_INLINE vf vf_from_vi(vi a)
{
    return _mm256_cvtepi32_ps(a);
}

WEFTI_INLINE vi vi_set1(int32_t a)
{
    return _mm256_set1_epi32(a);
}
WEFTI_INLINE vi vi_load(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
WEFTI_INLINE void vi_store(int32_t *p, vi a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}
WEFTI_INLINE vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
WEFTI_INLINE vi vi_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
WEFTI_INLINE vi vi_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
WEFTI_INLINE vi vi_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
WEFTI_INLINE vi vi_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
/* ~a & b */
WEFTI_INLINE vi vi_andnot(vi a, vi b)
{
    return _mm256_andnot_si256(a, b);
}
#define vi_shl(a, count) _mm256_slli_epi32(a, count)
#define vi_shr(a, count) _mm256_srli_epi32(a, count)
#define vi_sar(a, count) _mm256_srai_epi32(a, count)
WEFTI_INLINE vm vi_eq(vi a, vi b)
{
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}
WEFTI_INLINE vm vi_gt(vi a, vi b)
{
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
}
WEFTI_INLINE vi vi_select(vm m, vi a, vi b)
{
    return vf_bits(vf_select(m, vf_from_bits(a), vf_from_bits(b)));
}

/* Lane j gets lane j + 4, + 2, + 1, as far as a tree needs it. */
WEFTI_INLINE vf vf_fold4(vf a)
{
    return _mm256_permute2f128_ps(a, a, 0x01);
}
WEFTI_INLINE vf vf_fold2(vf a)
{
    return _mm256_permute_ps(a, 0x0E);
}
WEFTI_INLINE vf vf_fold1(vf a)
{
    return _mm256_permute_ps(a, 0x01);
}
WEFTI_INLINE float vf_first(vf a)
{
    return _mm256_cvtss_f32(a);
}

/* In place: r[i][j] and r[j][i] change places. */
WEFTI_INLINE void vf_transpose(vf r[WEFTI_LANES])
{
    vf t[8], u[8];
    for (int32_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int32_t i = 0; i < 8; i += 4) {
        for (int32_t j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xEE);
        }
    }
    for (int32_t i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

#endif
