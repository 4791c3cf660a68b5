/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_COMPILER_H
#define WEFTI_BASE_COMPILER_H

/* Everything beyond C11 and POSIX that the sources use; nowhere else. */

#define WEFTI_LIKELY(x) __builtin_expect(!!(x), 1)
#define WEFTI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define WEFTI_PRINTF(index, first) __attribute__((format(printf, index, first)))
#define WEFTI_NOINLINE __attribute__((noinline))
#if defined(__CUDACC__)
/* Scalar functions that CUDA kernels share with the host's. */
#define WEFTI_INLINE static __device__ __forceinline__
#define WEFTI_SHARED_CODE __device__
#else
#define WEFTI_INLINE static inline __attribute__((always_inline))
#define WEFTI_SHARED_CODE
#endif
#define WEFTI_UNUSED __attribute__((unused))
#define WEFTI_RESTRICT __restrict__
/* Asks for a cache line soon to be read; any address will do. */
#define WEFTI_PREFETCH(address) __builtin_prefetch(address)
#define WEFTI_PREFETCH_OUTER(address) __builtin_prefetch(address, 0, 2) /* into L2 */

#define WEFTI_CACHE_LINE 64
#define WEFTI_CACHE_ALIGNED _Alignas(WEFTI_CACHE_LINE)

#define WEFTI_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define WEFTI_CONTAINER_OF(pointer, type, member)                                      \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Clang's thread-safety analysis: checked with -Wthread-safety -Werror. */
#if defined(__clang__)
#define WEFTI_TSA(x) __attribute__((x))
#else
#define WEFTI_TSA(x)
#endif
#define WEFTI_CAPABILITY(name) WEFTI_TSA(capability(name))
#define WEFTI_ACQUIRES(...) WEFTI_TSA(acquire_capability(__VA_ARGS__))
#define WEFTI_RELEASES(...) WEFTI_TSA(release_capability(__VA_ARGS__))
#define WEFTI_REQUIRES(...) WEFTI_TSA(requires_capability(__VA_ARGS__))
#define WEFTI_EXCLUDES(...) WEFTI_TSA(locks_excluded(__VA_ARGS__))
#define WEFTI_NO_TSA WEFTI_TSA(no_thread_safety_analysis)

/* Bits up to the highest one that is set; of 0: 0. */
#define WEFTI_BIT_WIDTH(value)                                                         \
    ((value) == 0 ? 0U : 64U - (unsigned)__builtin_clzll(value))

/* Checked arithmetic: true when the exact result does not fit. */
#define WEFTI_ADD_OVERFLOWS(a, b, result) __builtin_add_overflow(a, b, result)
#define WEFTI_MUL_OVERFLOWS(a, b, result) __builtin_mul_overflow(a, b, result)

/* Tells the processor that this is a spin loop. */
WEFTI_INLINE void wefti_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
