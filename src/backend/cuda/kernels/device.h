/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_KERNELS_DEVICE_H
#define WEFTI_BACKEND_CUDA_KERNELS_DEVICE_H

/* The language of the kernels: what CUDA C++ and C11 have in common, so that the same
 * sources run on a card and, thread by thread, in the tests' stand-in for one
 * (tests/fake_cuda). No templates, no overloading; one struct as the argument. */

#if defined(__CUDACC__)
#define WEFTI_KERNEL(threads, name, type)                                              \
    extern "C" __global__ void __launch_bounds__(threads)                              \
        name(const __grid_constant__ type call)
#define WEFTI_DEVICE static __device__ __forceinline__
#define WEFTI_DEVICE_CALL static __device__ __noinline__
#define WEFTI_SHARED __shared__ __align__(16)
#define WEFTI_BARRIER() __syncthreads()
#define WEFTI_SYSTEM_FENCE() __threadfence_system()
/* Tells the host, behind a fence. */
#define WEFTI_TELL_HOST(flag, value) (*(volatile uint32_t *)(flag) = (value))
#define WEFTI_UNROLL _Pragma("unroll")
typedef float4 device_float4;
#elif !defined(WEFTI_KERNEL)
#error "compile the kernels with nvcc, or include tests/fake_cuda/emulate.h before"
#endif

#include "backend/cpu/reference/finish.h"
#include "backend/cpu/reference/math.h"
#include "backend/cuda/kernels/call.h"

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

WEFTI_DEVICE double device_canonical_f64(double x)
{
    uint64_t nan = UINT64_C(0x7ff8000000000000);
    if (x != x) {
        memcpy(&x, &nan, sizeof(x));
    }
    return x;
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

/* The same for lanes[16][rows], where a thread has the column `row` and the lanes
 * first, first + 4 and so on. */
#define WEFTI_FOLD_COLUMNS(lanes, first, row, combine)                                 \
    for (int32_t fold = 8; fold >= 1; fold /= 2) {                                     \
        WEFTI_BARRIER();                                                               \
        for (int32_t lane = (first); lane < fold; lane += 4) {                         \
            (lanes)[lane][row] =                                                       \
                combine((lanes)[lane][row], (lanes)[lane + fold][row]);                \
        }                                                                              \
    }                                                                                  \
    WEFTI_BARRIER()

WEFTI_DEVICE float device_add(float a, float b)
{
    return a + b;
}

#endif
