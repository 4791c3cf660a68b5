/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_KERNELS_DEVICE_H
#define WEFTI_BACKEND_CUDA_KERNELS_DEVICE_H

/* The language of the kernels: what CUDA C++ and C11 have in common, so that the same
 * sources run on a card and, thread by thread, in the tests' stand-in for one
 * (tests/fake_cuda). No templates, no overloading; one struct as the argument. */

#if defined(__CUDACC__)
/* The body is a function of its own, so that it may return early. */
#define WEFTI_KERNEL(threads, name, type) DEVICE_KERNEL(threads, name, type)
#define DEVICE_KERNEL(threads, name, type)                                             \
    static __device__ __forceinline__ void name##_body(const type &call);              \
    extern "C" __global__ void __launch_bounds__(threads)                              \
        name(const __grid_constant__ type call)                                        \
    {                                                                                  \
        name##_body(call);                                                             \
        WEFTI_FINISH(call)                                                             \
    }                                                                                  \
    static __device__ __forceinline__ void name##_body(const type &call)
#define WEFTI_DEVICE static __device__ __forceinline__
#define WEFTI_DEVICE_CALL static __device__ __noinline__
#define WEFTI_SHARED __shared__ __align__(16)
#define WEFTI_BARRIER() __syncthreads()
#define WEFTI_SYSTEM_FENCE() __threadfence_system()
/* Tells the host, behind a fence. */
#define WEFTI_TELL_HOST(flag, value) (*(volatile uint32_t *)(flag) = (value))
#define WEFTI_UNROLL _Pragma("unroll")
#define WEFTI_UNROLL_4 _Pragma("unroll 4")
#define WEFTI_ONCE _Pragma("unroll 1")
typedef float4 device_float4;
/* Memory that no kernel of this launch writes. */
#define WEFTI_READ(pointer) __ldg(pointer)
/* Copies 16 or 4 bytes into shared memory behind the thread's back, or zeros. Copies
 * are waited for by groups: all but the last `left` committed ones have come. */
#define WEFTI_FETCH_16(target, source, there)                                          \
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(                \
                     (uint32_t)__cvta_generic_to_shared(target)),                      \
                 "l"(source), "r"((there) ? 16 : 0))
#define WEFTI_FETCH_4(target, source, there)                                           \
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(                 \
                     (uint32_t)__cvta_generic_to_shared(target)),                      \
                 "l"(source), "r"((there) ? 4 : 0))
#define WEFTI_FETCH_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define WEFTI_FETCH_WAIT(left)                                                         \
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory")
#elif !defined(WEFTI_KERNEL)
#error "compile the kernels with nvcc, or include tests/fake_cuda/emulate.h before"
#endif

#include "backend/cpu/reference/finish.h"
#include "backend/cpu/reference/math.h"
#include "backend/cuda/kernels/call.h"

/* The end of a graph's last kernel: the last block to arrive has all others' writes
 * before it, and those of the kernels before, and tells the host. */
#define WEFTI_FINISH(call)                                                             \
    if ((call).operands[WEFTI_CUDA_FLAG] != NULL) {                                    \
        WEFTI_SYSTEM_FENCE();                                                          \
        WEFTI_BARRIER();                                                               \
        if (threadIdx.x == 0) {                                                        \
            uint32_t *arrived = (uint32_t *)(call).operands[WEFTI_CUDA_ARRIVED];       \
            if (gridDim.x == 1 || atomicAdd(arrived, 1u) == gridDim.x - 1) {           \
                *arrived = 0;                                                          \
                WEFTI_SYSTEM_FENCE();                                                  \
                WEFTI_TELL_HOST((uint32_t *)(call).operands[WEFTI_CUDA_FLAG], 1u);     \
            }                                                                          \
        }                                                                              \
    }

/* Where element `index` (row-major in dims) lies. Most tensors have one dimension left,
 * or fewer than 2^32 elements, whose division is short. */
WEFTI_DEVICE int64_t device_offset(int32_t rank, const int64_t *dims,
                                   const int64_t *strides, int64_t index)
{
    if (rank == 1) {
        return index * strides[0];
    }
    int64_t offset = 0;
    if (index <= UINT32_MAX) {
        uint32_t rest = (uint32_t)index;
        for (int32_t i = rank - 1; i >= 0; i--) {
            uint32_t dim = (uint32_t)dims[i];
            /* A dimension that does not fit leaves `rest` below it. */
            uint32_t at = dims[i] > UINT32_MAX ? rest : rest % dim;
            rest = dims[i] > UINT32_MAX ? 0 : rest / dim;
            offset += at * strides[i];
        }
        return offset;
    }
    for (int32_t i = rank - 1; i >= 0; i--) {
        offset += index % dims[i] * strides[i];
        index /= dims[i];
    }
    return offset;
}

WEFTI_DEVICE bool device_is_half(weft_type type)
{
    return type == WEFT_TYPE_F16 || type == WEFT_TYPE_BF16;
}

WEFTI_DEVICE double device_canonical_f64(double x)
{
    uint64_t nan = UINT64_C(0x7ff8000000000000);
    if (x != x) {
        memcpy(&x, &nan, sizeof(x));
    }
    return x;
}

/* Copies one element of `size` bytes. */
WEFTI_DEVICE void device_move_bits(int64_t size, void *target, int64_t to,
                                   const void *source, int64_t from)
{
    switch (size) {
    case 8:
        ((uint64_t *)target)[to] = ((const uint64_t *)source)[from];
        break;
    case 4:
        ((uint32_t *)target)[to] = ((const uint32_t *)source)[from];
        break;
    case 2:
        ((uint16_t *)target)[to] = ((const uint16_t *)source)[from];
        break;
    default:
        ((uint8_t *)target)[to] = ((const uint8_t *)source)[from];
        break;
    }
}

WEFTI_DEVICE int64_t device_type_size(weft_type type)
{
    switch (type) {
    case WEFT_TYPE_I64:
    case WEFT_TYPE_F64:
        return 8;
    case WEFT_TYPE_F32:
    case WEFT_TYPE_I32:
        return 4;
    case WEFT_TYPE_F16:
    case WEFT_TYPE_BF16:
        return 2;
    default:
        return 1;
    }
}

/* f32 and 16-bit floats, as COPY has them: rounded half to even, a NaN to the one NaN.
 */
WEFTI_DEVICE float device_widen(weft_type type, uint16_t bits)
{
    const uint32_t magnitude = (uint32_t)(bits & 0x7fff);
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    if (type == WEFT_TYPE_BF16) {
        return ref_canonical(ref_from_bits((int32_t)((uint32_t)bits << 16)));
    }
    /* From exponents below 2^-14 to those of f32. */
    const float value = ref_from_bits((int32_t)(magnitude << 13)) * 0x1p112f;
    const uint32_t wide = magnitude < 0x7c00u   ? (uint32_t)ref_bits(value)
                          : magnitude > 0x7c00u ? 0x7fc00000u
                                                : 0x7f800000u;
    return ref_from_bits((int32_t)(wide | (magnitude > 0x7c00u ? 0u : sign)));
}

WEFTI_DEVICE uint16_t device_narrow(weft_type type, float value)
{
    const uint32_t bits = (uint32_t)ref_bits(value), rest = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 16 & 0x8000u;
    const bool none = rest > 0x7f800000u;
    if (type == WEFT_TYPE_BF16) {
        return (uint16_t)(none ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
    uint32_t half = ((rest + 0xfffu + (rest >> 13 & 1u)) >> 13) - (112u << 10);
    if (rest < 113u << 23) {
        /* The last bit of 0.5 is 2^-24, the least that f16 has. */
        half = (uint32_t)ref_bits(ref_from_bits((int32_t)rest) + 0.5f) - 0x3f000000u;
    }
    half = rest >= 0x477ff000u ? 0x7c00u : half; /* from 65520 on */
    return (uint16_t)(none ? 0x7e00u : half | sign);
}

/* Notes what a step found wrong, unless something before it was; the host says what. */
WEFTI_DEVICE void device_report(void *report, uint32_t step, int64_t position)
{
    (void)atomicMin((unsigned long long *)report,
                    (unsigned long long)step << WEFTI_CUDA_REPORT_SHIFT |
                        (unsigned long long)position);
}

/* Folds 16 lanes by the tree of backend/kernel.h: lane[j] += lane[j + 8], + 4, ... All
 * threads of the block call it; each group of 16 has its own lanes. */
#define WEFTI_FOLD_LANES(lanes, group, lane, combine)                                  \
    for (int32_t fold = 8; fold >= 1; fold /= 2) {                                     \
        WEFTI_BARRIER();                                                               \
        if ((lane) < fold) {                                                           \
            (lanes)[group][lane] =                                                     \
                combine((lanes)[group][lane], (lanes)[group][(lane) + fold]);          \
        }                                                                              \
    }                                                                                  \
    WEFTI_BARRIER()

/* The same for `width` neighbouring threads of which each has a float in `v`; all get
 * what it gives. Where there are no shuffles it goes through memory of the block. */
#if defined(__CUDACC__)
#define WEFTI_FOLD_MEMORY(name, groups)
#define WEFTI_FOLD(v, name, width, combine)                                            \
    WEFTI_UNROLL                                                                       \
    for (int32_t fold = (width) / 2; fold >= 1; fold /= 2) {                           \
        (v) = combine((v), __shfl_down_sync(0xffffffffu, (v), fold, width));           \
    }                                                                                  \
    (v) = __shfl_sync(0xffffffffu, (v), 0, width)
#else
#define WEFTI_FOLD_MEMORY(name, groups) WEFTI_SHARED float name[groups][16];
#define WEFTI_FOLD(v, name, width, combine)                                            \
    do {                                                                               \
        const int32_t fold_group = (int32_t)threadIdx.x / (width);                     \
        const int32_t fold_lane = (int32_t)threadIdx.x % (width);                      \
        (name)[fold_group][fold_lane] = (v);                                           \
        for (int32_t fold = (width) / 2; fold >= 1; fold /= 2) {                       \
            WEFTI_BARRIER();                                                           \
            if (fold_lane < fold) {                                                    \
                (name)[fold_group][fold_lane] =                                        \
                    combine((name)[fold_group][fold_lane],                             \
                            (name)[fold_group][fold_lane + fold]);                     \
            }                                                                          \
        }                                                                              \
        WEFTI_BARRIER();                                                               \
        (v) = (name)[fold_group][0];                                                   \
        WEFTI_BARRIER();                                                               \
    } while (0)
#endif

WEFTI_DEVICE float device_add(float a, float b)
{
    return a + b;
}

#endif
