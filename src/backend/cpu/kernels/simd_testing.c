/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/simd_testing.h"

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd.h"

#if defined(WEFT_TESTING)

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

WEFTI_INLINE vf shifts(vf a)
{
    vi bits = vf_bits(a);
    vi mixed = vi_xor(vi_shl(bits, 3), vi_shr(bits, 5));
    return vf_from_bits(vi_add(mixed, vi_sar(bits, 7)));
}

WEFTI_INLINE vf apply(simd_probe_operation operation, vf a, vf b, vf c)
{
    switch (operation) {
    case SIMD_PROBE_FMA:
        return vf_fma(a, b, c);
    case SIMD_PROBE_FNMA:
        return vf_fnma(a, b, c);
    case SIMD_PROBE_FMS:
        return vf_fms(a, b, c);
    case SIMD_PROBE_MIN:
        return vf_min(a, b);
    case SIMD_PROBE_MAX:
        return vf_max(a, b);
    case SIMD_PROBE_RELU:
        return vf_relu(a);
    case SIMD_PROBE_ROUND:
        return vf_round(a);
    case SIMD_PROBE_FLOOR:
        return vf_floor(a);
    case SIMD_PROBE_CEIL:
        return vf_ceil(a);
    case SIMD_PROBE_TRUNC:
        return vf_trunc(a);
    case SIMD_PROBE_DIV:
        return vf_div(a, b);
    case SIMD_PROBE_SQRT:
        return vf_sqrt(a);
    case SIMD_PROBE_ABS:
        return vf_abs(a);
    case SIMD_PROBE_NEG:
        return vf_neg(a);
    case SIMD_PROBE_COPYSIGN:
        return vf_copysign(a, b);
    case SIMD_PROBE_SELECT_LT:
        return vf_select(vf_lt(a, b), c, a);
    case SIMD_PROBE_SELECT_LE:
        return vf_select(vf_le(a, b), c, a);
    case SIMD_PROBE_SELECT_GT:
        return vf_select(vf_gt(a, b), c, a);
    case SIMD_PROBE_SELECT_GE:
        return vf_select(vf_ge(a, b), c, a);
    case SIMD_PROBE_SELECT_EQ:
        return vf_select(vf_eq(a, b), c, a);
    case SIMD_PROBE_TO_INT:
        return vf_from_vi(vf_to_vi(a));
    case SIMD_PROBE_TO_INT_TRUNC:
        return vf_from_vi(vf_to_vi_trunc(a));
    case SIMD_PROBE_INT_SHIFTS:
        return shifts(a);
    case SIMD_PROBE_COUNT:
        break;
    }
    return a;
}

static void map(simd_probe_operation operation, const float *a, const float *b,
                const float *c, float *out, int32_t count)
{
    for (int32_t i = 0; i < count; i += WEFTI_LANES) {
        int32_t lanes = count - i;
        if (lanes >= WEFTI_LANES) {
            vf_store(out + i,
                     apply(operation, vf_load(a + i), vf_load(b + i), vf_load(c + i)));
        } else {
            vf_store_partial(out + i,
                             apply(operation, vf_load_partial(a + i, lanes),
                                   vf_load_partial(b + i, lanes),
                                   vf_load_partial(c + i, lanes)),
                             lanes);
        }
    }
}

static void reduce(const float *a, int32_t count, float other, float *sum, float *max,
                   float *min)
{
    v16 values = v16_load_partial(a, count, v16_set1(other));
    *sum = v16_reduce_add(values);
    *max = v16_reduce_max(values);
    *min = v16_reduce_min(values);
}

const simd_probe WEFTI_ISA_NAME(simd_probe) = {
    .isa = TEXT(WEFTI_ISA),
    .supported = WEFTI_ISA_NAME(wefti_cpu_supports),
    .map = map,
    .reduce = reduce,
};

#endif
