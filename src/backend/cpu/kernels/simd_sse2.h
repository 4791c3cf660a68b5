/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_SIMD_SSE2_H
#define WEFTI_BACKEND_CPU_KERNELS_SIMD_SSE2_H

#include <emmintrin.h>

/* simd.h for baseline x86-64. Included by simd.h only. */
#define WEFTI_LANES 4
typedef __m128 vf;
typedef __m128i vi;
typedef __m128 vm;

WEFTI_INLINE vm vm_first(int32_t count)
{
    return _mm_castsi128_ps(
        _mm_cmpgt_epi32(_mm_set1_epi32(count), _mm_setr_epi32(0, 1, 2, 3)));
}

WEFTI_INLINE vf vf_set1(float a)
{
    return _mm_set1_ps(a);
}
WEFTI_INLINE vf vf_load(const float *p)
{
    return _mm_loadu_ps(p);
}
WEFTI_INLINE vf vf_load_aligned(const float *p)
{
    return _mm_load_ps(p);
}
WEFTI_INLINE vf vf_load_partial(const float *p, int32_t count)
{
    switch (count) {
    case 0:
        return _mm_setzero_ps();
    case 1:
        return _mm_load_ss(p);
    case 2:
        return _mm_setr_ps(p[0], p[1], 0.0f, 0.0f);
    case 3:
        return _mm_setr_ps(p[0], p[1], p[2], 0.0f);
    default:
        return _mm_loadu_ps(p);
    }
}
WEFTI_INLINE void vf_store(float *p, vf a)
{
    _mm_storeu_ps(p, a);
}
WEFTI_INLINE void vf_store_aligned(float *p, vf a)
{
    _mm_store_ps(p, a);
}
WEFTI_INLINE void vf_store_partial(float *p, vf a, int32_t count)
{
    float lanes[4];
    _mm_storeu_ps(lanes, a);
    memcpy(p, lanes, sizeof(float) * (size_t)count);
}

WEFTI_INLINE vf vf_add(vf a, vf b)
{
    return _mm_add_ps(a, b);
}
WEFTI_INLINE vf vf_sub(vf a, vf b)
{
    return _mm_sub_ps(a, b);
}
WEFTI_INLINE vf vf_mul(vf a, vf b)
{
    return _mm_mul_ps(a, b);
}
WEFTI_INLINE vf vf_div(vf a, vf b)
{
    return _mm_div_ps(a, b);
}
WEFTI_INLINE vf vf_sqrt(vf a)
{
    return _mm_sqrt_ps(a);
}

WEFTI_INLINE vm vf_lt(vf a, vf b)
{
    return _mm_cmplt_ps(a, b);
}
WEFTI_INLINE vm vf_le(vf a, vf b)
{
    return _mm_cmple_ps(a, b);
}
WEFTI_INLINE vm vf_gt(vf a, vf b)
{
    return _mm_cmpgt_ps(a, b);
}
WEFTI_INLINE vm vf_ge(vf a, vf b)
{
    return _mm_cmpge_ps(a, b);
}
WEFTI_INLINE vm vf_eq(vf a, vf b)
{
    return _mm_cmpeq_ps(a, b);
}
WEFTI_INLINE vm vf_is_nan(vf a)
{
    return _mm_cmpunord_ps(a, a);
}
/* True where a or b is NaN. */
WEFTI_INLINE vm vf_either_nan(vf a, vf b)
{
    return _mm_cmpunord_ps(a, b);
}
WEFTI_INLINE vf vf_select(vm m, vf a, vf b)
{
    return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b));
}
WEFTI_INLINE vm vm_and(vm a, vm b)
{
    return _mm_and_ps(a, b);
}
WEFTI_INLINE vm vm_or(vm a, vm b)
{
    return _mm_or_ps(a, b);
}
WEFTI_INLINE vm vm_xor(vm a, vm b)
{
    return _mm_xor_ps(a, b);
}
WEFTI_INLINE vm vm_not(vm a)
{
    return _mm_xor_ps(a, _mm_castsi128_ps(_mm_set1_epi32(-1)));
}
WEFTI_INLINE bool vm_any(vm a)
{
    return _mm_movemask_ps(a) != 0;
}
/* Bit i is lane i. */
WEFTI_INLINE uint32_t vm_bits(vm a)
{
    return (uint32_t)_mm_movemask_ps(a);
}

WEFTI_INLINE vf vf_max(vf a, vf b)
{
    return vf_select(vf_is_nan(a), a, _mm_max_ps(a, b));
}
WEFTI_INLINE vf vf_min(vf a, vf b)
{
    return vf_select(vf_is_nan(a), a, _mm_min_ps(a, b));
}
WEFTI_INLINE vf vf_relu(vf a)
{
    return _mm_max_ps(_mm_setzero_ps(), a);
}

WEFTI_INLINE vi vf_bits(vf a)
{
    return _mm_castps_si128(a);
}
WEFTI_INLINE vf vf_from_bits(vi a)
{
    return _mm_castsi128_ps(a);
}
WEFTI_INLINE vi vf_to_vi(vf a)
{
    return _mm_cvtps_epi32(a);
}
WEFTI_INLINE vi vf_to_vi_trunc(vf a)
{
    return _mm_cvttps_epi32(a);
}
WEFTI_INLINE vf vf_from_vi(vi a)
{
    return _mm_cvtepi32_ps(a);
}

WEFTI_INLINE vi vi_set1(int32_t a)
{
    return _mm_set1_epi32(a);
}
WEFTI_INLINE vi vi_load(const int32_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
WEFTI_INLINE void vi_store(int32_t *p, vi a)
{
    _mm_storeu_si128((__m128i *)(void *)p, a);
}
WEFTI_INLINE vi vi_add(vi a, vi b)
{
    return _mm_add_epi32(a, b);
}
WEFTI_INLINE vi vi_sub(vi a, vi b)
{
    return _mm_sub_epi32(a, b);
}
WEFTI_INLINE vi vi_and(vi a, vi b)
{
    return _mm_and_si128(a, b);
}
WEFTI_INLINE vi vi_or(vi a, vi b)
{
    return _mm_or_si128(a, b);
}
WEFTI_INLINE vi vi_xor(vi a, vi b)
{
    return _mm_xor_si128(a, b);
}
/* ~a & b */
WEFTI_INLINE vi vi_andnot(vi a, vi b)
{
    return _mm_andnot_si128(a, b);
}
#define vi_shl(a, count) _mm_slli_epi32(a, count)
#define vi_shr(a, count) _mm_srli_epi32(a, count)
#define vi_sar(a, count) _mm_srai_epi32(a, count)
WEFTI_INLINE vm vi_eq(vi a, vi b)
{
    return _mm_castsi128_ps(_mm_cmpeq_epi32(a, b));
}
WEFTI_INLINE vm vi_gt(vi a, vi b)
{
    return _mm_castsi128_ps(_mm_cmpgt_epi32(a, b));
}
WEFTI_INLINE vi vi_select(vm m, vi a, vi b)
{
    return vf_bits(vf_select(m, vf_from_bits(a), vf_from_bits(b)));
}

/* Gives `rounded` the sign of a, and a itself where a has no fraction bits (at least
 * 2^23, infinite or NaN), which is also where int32 would not hold it. */
WEFTI_INLINE vf simd_rounded(vf rounded, vf a)
{
    vf sign = _mm_castsi128_ps(_mm_set1_epi32(INT32_MIN));
    vf magnitude = _mm_andnot_ps(sign, a);
    vf signed_result = _mm_or_ps(_mm_andnot_ps(sign, rounded), _mm_and_ps(sign, a));
    return vf_select(_mm_cmplt_ps(magnitude, _mm_set1_ps(8388608.0f)), signed_result,
                     a);
}
WEFTI_INLINE vf vf_round(vf a)
{
    return simd_rounded(_mm_cvtepi32_ps(_mm_cvtps_epi32(a)), a);
}
WEFTI_INLINE vf vf_trunc(vf a)
{
    return simd_rounded(_mm_cvtepi32_ps(_mm_cvttps_epi32(a)), a);
}
WEFTI_INLINE vf vf_floor(vf a)
{
    vf t = vf_trunc(a);
    vf one = _mm_and_ps(_mm_cmpgt_ps(t, a), _mm_set1_ps(1.0f));
    return simd_rounded(_mm_sub_ps(t, one), a);
}
WEFTI_INLINE vf vf_ceil(vf a)
{
    vf t = vf_trunc(a);
    vf one = _mm_and_ps(_mm_cmplt_ps(t, a), _mm_set1_ps(1.0f));
    return simd_rounded(_mm_add_ps(t, one), a);
}

/* Lane j gets lane j + 2, + 1, as far as a tree needs it. */
WEFTI_INLINE vf vf_fold2(vf a)
{
    return _mm_movehl_ps(a, a);
}
WEFTI_INLINE vf vf_fold1(vf a)
{
    return _mm_shuffle_ps(a, a, 1);
}
WEFTI_INLINE float vf_first(vf a)
{
    return _mm_cvtss_f32(a);
}

/* Rounds the exact p + c to odd, so that a later rounding to float is as if it were
 * the only one: the 53 bits of double are more than the 24 + 2 this needs. */
WEFTI_INLINE __m128d simd_add_to_odd(__m128d p, __m128d c)
{
    __m128d s = _mm_add_pd(p, c);
    __m128d t = _mm_sub_pd(s, p);
    __m128d e = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, t)), _mm_sub_pd(c, t));
    __m128d zero = _mm_setzero_pd();
    /* Ordered, so that infinite and NaN sums are left alone. */
    __m128d inexact = _mm_or_pd(_mm_cmplt_pd(e, zero), _mm_cmpgt_pd(e, zero));
    __m128i bits = _mm_castpd_si128(s);
    __m128i one = _mm_set_epi32(0, 1, 0, 1);
    __m128i even = _mm_sub_epi64(_mm_and_si128(bits, one), one);
    __m128i apart = _mm_srai_epi32(_mm_xor_si128(bits, _mm_castpd_si128(e)), 31);
    __m128i step = _mm_or_si128(_mm_shuffle_epi32(apart, _MM_SHUFFLE(3, 3, 1, 1)), one);
    step = _mm_and_si128(step, _mm_and_si128(even, _mm_castpd_si128(inexact)));
    return _mm_castsi128_pd(_mm_add_epi64(bits, step));
}

WEFTI_INLINE vf simd_join(__m128d low, __m128d high)
{
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}

WEFTI_NOINLINE WEFTI_UNUSED static vf simd_fma_rare(__m128d p0, __m128d p1, __m128d c0,
                                                    __m128d c1)
{
    return simd_join(simd_add_to_odd(p0, c0), simd_add_to_odd(p1, c1));
}

/* The product of two floats is exact in double; the sum is rounded to double and then
 * to float. That differs from one rounding only when the double falls on the middle
 * between two floats (29 last bits 1000...), or when the float is subnormal and the
 * middle lies elsewhere: then the sum is taken again, rounded to odd. */
WEFTI_INLINE vf vf_fma(vf a, vf b, vf c)
{
    __m128d c0 = _mm_cvtps_pd(c);
    __m128d c1 = _mm_cvtps_pd(_mm_movehl_ps(c, c));
    __m128d p0 = _mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b));
    __m128d p1 = _mm_mul_pd(_mm_cvtps_pd(_mm_movehl_ps(a, a)),
                            _mm_cvtps_pd(_mm_movehl_ps(b, b)));
    __m128d s0 = _mm_add_pd(p0, c0);
    __m128d s1 = _mm_add_pd(p1, c1);
    vf r = simd_join(s0, s1);
    vi low = _mm_castps_si128(
        _mm_shuffle_ps(_mm_castpd_ps(s0), _mm_castpd_ps(s1), _MM_SHUFFLE(2, 0, 2, 0)));
    vi high = _mm_castps_si128(
        _mm_shuffle_ps(_mm_castpd_ps(s0), _mm_castpd_ps(s1), _MM_SHUFFLE(3, 1, 3, 1)));
    vi middle = _mm_cmpeq_epi32(_mm_and_si128(low, _mm_set1_epi32(0x1FFFFFFF)),
                                _mm_set1_epi32(0x10000000));
    vi magnitude = _mm_and_si128(vf_bits(r), _mm_set1_epi32(INT32_MAX));
    vi small = _mm_cmpgt_epi32(_mm_set1_epi32(0x00800001), magnitude);
    vi zero = _mm_cmpeq_epi32(_mm_add_epi32(high, high), _mm_setzero_si128());
    vi doubtful = _mm_or_si128(middle, _mm_andnot_si128(zero, small));
    if (WEFTI_LIKELY(_mm_movemask_epi8(doubtful) == 0)) {
        return r;
    }
    return simd_fma_rare(p0, p1, c0, c1);
}

/* In place: r[i][j] and r[j][i] change places. */
WEFTI_INLINE void vf_transpose(vf r[WEFTI_LANES])
{
    _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
}

WEFTI_INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return vf_fma(_mm_xor_ps(a, _mm_set1_ps(-0.0f)), b, c);
}
WEFTI_INLINE vf vf_fms(vf a, vf b, vf c)
{
    return vf_fma(a, b, _mm_xor_ps(c, _mm_set1_ps(-0.0f)));
}

#endif
