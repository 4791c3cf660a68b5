/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_FAKE_CUDA_EMULATE_H
#define WEFT_TESTS_FAKE_CUDA_EMULATE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* CUDA's words for the kernels' sources when they are compiled as C: a block runs in
 * one thread of the host, its threads one after the other from barrier to barrier. */

typedef struct emulate_index {
    uint32_t x, y, z;
} emulate_index;
extern _Thread_local emulate_index threadIdx, blockIdx, gridDim;

/* Gives the other threads of the block their turn. */
void emulate_barrier(void);

/* Runs a kernel to its end in the calling thread. */
typedef struct emulate_kernel {
    const char *name;
    void (*run)(const void *call);
    size_t call_bytes;
} emulate_kernel;
void emulate_launch(const emulate_kernel *kernel, const void *call, uint32_t blocks,
                    uint32_t threads);
/* NULL when there is none of this name. */
const emulate_kernel *emulate_find(const char *name);

#define WEFTI_KERNEL(threads, name, type) EMULATE_KERNEL(name, type)
#define EMULATE_KERNEL(name, type)                                                     \
    static void name##_body(const type call);                                          \
    static void name##_run(const void *from)                                           \
    {                                                                                  \
        const type *const call = from;                                                 \
        name##_body(*call);                                                            \
        WEFTI_FINISH(*call)                                                            \
    }                                                                                  \
    typedef type name##_call;                                                          \
    static void name##_body(const type call)
#define WEFTI_DEVICE static inline
#define WEFTI_DEVICE_CALL static
#define WEFTI_SHARED static _Thread_local
#define WEFTI_BARRIER() emulate_barrier()
/* The atomic calls that follow order as much. */
#define WEFTI_SYSTEM_FENCE() ((void)0)
#define WEFTI_TELL_HOST(flag, value) __atomic_store_n(flag, value, __ATOMIC_RELEASE)
#define WEFTI_UNROLL
#define WEFTI_UNROLL_4
#define WEFTI_ONCE
#define WEFTI_READ(pointer) (*(pointer))
/* What a thread fetches is there at once. */
#define WEFTI_FETCH_16(target, source, there) emulate_fetch(target, source, there, 16)
#define WEFTI_FETCH_4(target, source, there) emulate_fetch(target, source, there, 4)
#define WEFTI_FETCH_COMMIT() ((void)0)
#define WEFTI_FETCH_WAIT(left) ((void)0)
typedef struct device_float4 {
    float x, y, z, w;
} device_float4;

static inline void emulate_fetch(void *target, const void *source, bool there,
                                 size_t size_bytes)
{
    if (there) {
        memcpy(target, source, size_bytes);
    } else {
        memset(target, 0, size_bytes);
    }
}

static inline uint32_t atomicAdd(uint32_t *address, uint32_t value)
{
    return __atomic_fetch_add(address, value, __ATOMIC_SEQ_CST);
}

static inline unsigned long long atomicMin(unsigned long long *address,
                                           unsigned long long value)
{
    unsigned long long old = __atomic_load_n(address, __ATOMIC_SEQ_CST);
    while (value < old &&
           !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
    }
    return old;
}

#endif
