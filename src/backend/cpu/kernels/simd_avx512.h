/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_SIMD_AVX512_H
#define WEFTI_BACKEND_CPU_KERNELS_SIMD_AVX512_H

#include <immintrin.h>

/* simd.h for AVX-512 (F, BW, DQ, VL). Included by simd.h only. */
#define WEFTI_LANES 16
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

WEFTI_INLINE vm vm_first(int32_t count)
{
    return (vm)((UINT32_C(1) << count) - 1u);
}

WEFTI_INLINE vf vf_set1(float a)
{
    return _mm512_set1_ps(a);
}
WEFTI_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
WEFTI_INLINE vf vf_load_aligned(const float *p)
{
    return _mm512_load_ps(p);
}
WEFTI_INLINE vf vf_load_partial(const float *p, int32_t count)
{
    return _mm512_maskz_loadu_ps(vm_first(count), p);
}
WEFTI_INLINE void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
WEFTI_INLINE void vf_store_aligned(float *p, vf a)
{
    _mm512_store_ps(p, a);
}
WEFTI_INLINE void vf_store_partial(float *p, vf a, int32_t count)
{
    _mm512_mask_storeu_ps(p, vm_first(count), a);
}

WEFTI_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
WEFTI_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
WEFTI_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
WEFTI_INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
WEFTI_INLINE vf vf_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
WEFTI_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
WEFTI_INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
WEFTI_INLINE vf vf_fms(vf a, vf b, vf c)
{
    return _mm512_fmsub_ps(a, b, c);
}

WEFTI_INLINE vm vf_lt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
WEFTI_INLINE vm vf_le(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
WEFTI_INLINE vm vf_gt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
WEFTI_INLINE vm vf_ge(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}
WEFTI_INLINE vm vf_eq(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
WEFTI_INLINE vm vf_is_nan(vf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
/* True where a or b is NaN. */
WEFTI_INLINE vm vf_either_nan(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
}
WEFTI_INLINE vf vf_select(vm m, vf a, vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}
WEFTI_INLINE vm vm_and(vm a, vm b)
{
    return a & b;
}
WEFTI_INLINE vm vm_or(vm a, vm b)
{
    return a | b;
}
WEFTI_INLINE vm vm_xor(vm a, vm b)
{
    return a ^ b;
}
WEFTI_INLINE vm vm_not(vm a)
{
    return (vm)~a;
}
WEFTI_INLINE bool vm_any(vm a)
{
    return a != 0;
}
/* Bit i is lane i. */
WEFTI_INLINE uint32_t vm_bits(vm a)
{
    return a;
}

WEFTI_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_mask_mov_ps(_mm512_max_ps(a, b), vf_is_nan(a), a);
}
WEFTI_INLINE vf vf_min(vf a, vf b)
{
    return _mm512_mask_mov_ps(_mm512_min_ps(a, b), vf_is_nan(a), a);
}
WEFTI_INLINE vf vf_relu(vf a)
{
    return _mm512_max_ps(_mm512_setzero_ps(), a);
}

WEFTI_INLINE vf vf_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
WEFTI_INLINE vf vf_floor(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
WEFTI_INLINE vf vf_ceil(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
WEFTI_INLINE vf vf_trunc(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

WEFTI_INLINE vi vf_bits(vf a)
{
    return _mm512_castps_si512(a);
}
WEFTI_INLINE vf vf_from_bits(vi a)
{
    return _mm512_castsi512_ps(a);
}
WEFTI_INLINE vi vf_to_vi(vf a)
{
    return _mm512_cvtps_epi32(a);
}
WEFTI_INLINE vi vf_to_vi_trunc(vf a)
{
    return _mm512_cvttps_epi32(a);
}
WEFTI_INLINE vf vf_from_vi(vi a)
{
    return _mm512_cvtepi32_ps(a);
}

WEFTI_INLINE vi vi_set1(int32_t a)
{
    return _mm512_set1_epi32(a);
}
WEFTI_INLINE vi vi_load(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}
WEFTI_INLINE void vi_store(int32_t *p, vi a)
{
    _mm512_storeu_si512(p, a);
}
WEFTI_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
WEFTI_INLINE vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
WEFTI_INLINE vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
WEFTI_INLINE vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
WEFTI_INLINE vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
/* ~a & b */
WEFTI_INLINE vi vi_andnot(vi a, vi b)
{
    return _mm512_andnot_si512(a, b);
}
#define vi_shl(a, count) _mm512_slli_epi32(a, count)
#define vi_shr(a, count) _mm512_srli_epi32(a, count)
#define vi_sar(a, count) _mm512_srai_epi32(a, count)
WEFTI_INLINE vm vi_eq(vi a, vi b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}
WEFTI_INLINE vm vi_gt(vi a, vi b)
{
    return _mm512_cmpgt_epi32_mask(a, b);
}
WEFTI_INLINE vi vi_select(vm m, vi a, vi b)
{
    return _mm512_mask_blend_epi32(m, b, a);
}

/* Lane j gets lane j + 8, + 4, + 2, + 1, as far as a tree needs it. */
WEFTI_INLINE vf vf_fold8(vf a)
{
    return _mm512_shuffle_f32x4(a, a, 0x0E);
}
WEFTI_INLINE vf vf_fold4(vf a)
{
    return _mm512_shuffle_f32x4(a, a, 0x01);
}
WEFTI_INLINE vf vf_fold2(vf a)
{
    return _mm512_permute_ps(a, 0x0E);
}
WEFTI_INLINE vf vf_fold1(vf a)
{
    return _mm512_permute_ps(a, 0x01);
}
WEFTI_INLINE float vf_first(vf a)
{
    return _mm512_cvtss_f32(a);
}

/* In place: r[i][j] and r[j][i] change places. */
WEFTI_INLINE void vf_transpose(vf r[WEFTI_LANES])
{
    vf t[16], u[16];
    for (int32_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int32_t i = 0; i < 16; i += 4) {
        for (int32_t j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            u[i + 2 * j + 1] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0xEE);
        }
    }
    /* u[4 * g + j], 128-bit part q: column 4 * q + j of rows 4 * g to 4 * g + 3. */
    for (int32_t j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_f32x4(u[j], u[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_f32x4(u[j], u[j + 4], 0xDD);
        t[j + 8] = _mm512_shuffle_f32x4(u[j + 8], u[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_f32x4(u[j + 8], u[j + 12], 0xDD);
    }
    for (int32_t j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xDD);
        r[j + 4] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0x88);
        r[j + 12] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0xDD);
    }
}

#endif
