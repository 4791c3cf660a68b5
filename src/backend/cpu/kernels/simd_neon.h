/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_SIMD_NEON_H
#define WEFTI_BACKEND_CPU_KERNELS_SIMD_NEON_H

#include <arm_neon.h>

/* simd.h for AArch64. Included by simd.h only. */
#define WEFTI_LANES 4
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm;

WEFTI_INLINE vm vm_first(int32_t count)
{
    static const int32_t index[4] = {0, 1, 2, 3};
    return vcgtq_s32(vdupq_n_s32(count), vld1q_s32(index));
}

WEFTI_INLINE vf vf_set1(float a)
{
    return vdupq_n_f32(a);
}
WEFTI_INLINE vf vf_load(const float *p)
{
    return vld1q_f32(p);
}
WEFTI_INLINE vf vf_load_aligned(const float *p)
{
    return vld1q_f32(p);
}
WEFTI_INLINE vf vf_load_partial(const float *p, int32_t count)
{
    float lanes[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (count == 4) {
        return vld1q_f32(p);
    }
    memcpy(lanes, p, sizeof(float) * (size_t)count);
    return vld1q_f32(lanes);
}
WEFTI_INLINE void vf_store(float *p, vf a)
{
    vst1q_f32(p, a);
}
WEFTI_INLINE void vf_store_aligned(float *p, vf a)
{
    vst1q_f32(p, a);
}
WEFTI_INLINE void vf_store_partial(float *p, vf a, int32_t count)
{
    float lanes[4];
    vst1q_f32(lanes, a);
    memcpy(p, lanes, sizeof(float) * (size_t)count);
}

WEFTI_INLINE vf vf_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
WEFTI_INLINE vf vf_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
WEFTI_INLINE vf vf_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
WEFTI_INLINE vf vf_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}
WEFTI_INLINE vf vf_sqrt(vf a)
{
    return vsqrtq_f32(a);
}
WEFTI_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}
WEFTI_INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return vfmsq_f32(c, a, b);
}
WEFTI_INLINE vf vf_fms(vf a, vf b, vf c)
{
    return vfmaq_f32(vnegq_f32(c), a, b); /* -(c - a * b) has the other zero */
}

WEFTI_INLINE vm vf_lt(vf a, vf b)
{
    return vcltq_f32(a, b);
}
WEFTI_INLINE vm vf_le(vf a, vf b)
{
    return vcleq_f32(a, b);
}
WEFTI_INLINE vm vf_gt(vf a, vf b)
{
    return vcgtq_f32(a, b);
}
WEFTI_INLINE vm vf_ge(vf a, vf b)
{
    return vcgeq_f32(a, b);
}
WEFTI_INLINE vm vf_eq(vf a, vf b)
{
    return vceqq_f32(a, b);
}
WEFTI_INLINE vm vf_is_nan(vf a)
{
    return vmvnq_u32(vceqq_f32(a, a));
}
/* True where a or b is NaN. */
WEFTI_INLINE vm vf_either_nan(vf a, vf b)
{
    return vmvnq_u32(vandq_u32(vceqq_f32(a, a), vceqq_f32(b, b)));
}
WEFTI_INLINE vf vf_select(vm m, vf a, vf b)
{
    return vbslq_f32(m, a, b);
}
WEFTI_INLINE vm vm_and(vm a, vm b)
{
    return vandq_u32(a, b);
}
WEFTI_INLINE vm vm_or(vm a, vm b)
{
    return vorrq_u32(a, b);
}
WEFTI_INLINE vm vm_xor(vm a, vm b)
{
    return veorq_u32(a, b);
}
WEFTI_INLINE vm vm_not(vm a)
{
    return vmvnq_u32(a);
}
WEFTI_INLINE bool vm_any(vm a)
{
    return vmaxvq_u32(a) != 0;
}
/* Bit i is lane i. */
WEFTI_INLINE uint32_t vm_bits(vm a)
{
    static const uint32_t weight[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(a, vld1q_u32(weight)));
}

/* Not the FMAX instruction, which orders zeros and so differs from x86. */
WEFTI_INLINE vf vf_max(vf a, vf b)
{
    return vbslq_f32(vorrq_u32(vcgtq_f32(a, b), vf_is_nan(a)), a, b);
}
WEFTI_INLINE vf vf_min(vf a, vf b)
{
    return vbslq_f32(vorrq_u32(vcltq_f32(a, b), vf_is_nan(a)), a, b);
}
WEFTI_INLINE vf vf_relu(vf a)
{
    vf zero = vdupq_n_f32(0.0f);
    return vbslq_f32(vcgtq_f32(zero, a), zero, a);
}

WEFTI_INLINE vf vf_round(vf a)
{
    return vrndnq_f32(a);
}
WEFTI_INLINE vf vf_floor(vf a)
{
    return vrndmq_f32(a);
}
WEFTI_INLINE vf vf_ceil(vf a)
{
    return vrndpq_f32(a);
}
WEFTI_INLINE vf vf_trunc(vf a)
{
    return vrndq_f32(a);
}

WEFTI_INLINE vi vf_bits(vf a)
{
    return vreinterpretq_s32_f32(a);
}
WEFTI_INLINE vf vf_from_bits(vi a)
{
    return vreinterpretq_f32_s32(a);
}
WEFTI_INLINE vi vf_to_vi(vf a)
{
    return vcvtnq_s32_f32(a);
}
WEFTI_INLINE vi vf_to_vi_trunc(vf a)
{
    return vcvtq_s32_f32(a);
}
WEFTI_INLINE vf vf_from_vi(vi a)
{
    return vcvtq_f32_s32(a);
}

WEFTI_INLINE vi vi_set1(int32_t a)
{
    return vdupq_n_s32(a);
}
WEFTI_INLINE vi vi_load(const int32_t *p)
{
    return vld1q_s32(p);
}
WEFTI_INLINE void vi_store(int32_t *p, vi a)
{
    vst1q_s32(p, a);
}
WEFTI_INLINE vi vi_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}
WEFTI_INLINE vi vi_sub(vi a, vi b)
{
    return vsubq_s32(a, b);
}
WEFTI_INLINE vi vi_and(vi a, vi b)
{
    return vandq_s32(a, b);
}
WEFTI_INLINE vi vi_or(vi a, vi b)
{
    return vorrq_s32(a, b);
}
WEFTI_INLINE vi vi_xor(vi a, vi b)
{
    return veorq_s32(a, b);
}
/* ~a & b */
WEFTI_INLINE vi vi_andnot(vi a, vi b)
{
    return vbicq_s32(b, a);
}
#define vi_shl(a, count) vshlq_n_s32(a, count)
#define vi_shr(a, count)                                                               \
    vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), count))
#define vi_sar(a, count) vshrq_n_s32(a, count)
WEFTI_INLINE vm vi_eq(vi a, vi b)
{
    return vceqq_s32(a, b);
}
WEFTI_INLINE vm vi_gt(vi a, vi b)
{
    return vcgtq_s32(a, b);
}
WEFTI_INLINE vi vi_select(vm m, vi a, vi b)
{
    return vbslq_s32(m, a, b);
}

/* Lane j gets lane j + 2, + 1, as far as a tree needs it. */
WEFTI_INLINE vf vf_fold2(vf a)
{
    return vextq_f32(a, a, 2);
}
WEFTI_INLINE vf vf_fold1(vf a)
{
    return vextq_f32(a, a, 1);
}
WEFTI_INLINE float vf_first(vf a)
{
    return vgetq_lane_f32(a, 0);
}

/* In place: r[i][j] and r[j][i] change places. */
WEFTI_INLINE void vf_transpose(vf r[WEFTI_LANES])
{
    float32x4x2_t t = vtrnq_f32(r[0], r[1]);
    float32x4x2_t u = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(t.val[0]), vget_low_f32(u.val[0]));
    r[1] = vcombine_f32(vget_low_f32(t.val[1]), vget_low_f32(u.val[1]));
    r[2] = vcombine_f32(vget_high_f32(t.val[0]), vget_high_f32(u.val[0]));
    r[3] = vcombine_f32(vget_high_f32(t.val[1]), vget_high_f32(u.val[1]));
}

#endif
