/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_ATOMIC_H
#define WEFTI_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* Atomics with the order in the name. A test build makes each a point at which the
 * scheduler may switch threads (WEFTI_SCHEDULE_POINT, see base/testing.h). */
#include "base/testing.h"

typedef struct wefti_atomic_u32 {
    _Atomic uint32_t value;
} wefti_atomic_u32;
typedef struct wefti_atomic_u64 {
    _Atomic uint64_t value;
} wefti_atomic_u64;
typedef struct wefti_atomic_ptr {
    void *_Atomic value;
} wefti_atomic_ptr;

#define WEFTI_ATOMIC_DEFINE(suffix, type)                                              \
    WEFTI_INLINE void wefti_atomic_##suffix##_init(wefti_atomic_##suffix *a, type v)   \
    {                                                                                  \
        atomic_init(&a->value, v);                                                     \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_load_relaxed(                            \
        const wefti_atomic_##suffix *a)                                                \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_load_explicit(&((wefti_atomic_##suffix *)(uintptr_t)a)->value,   \
                                    memory_order_relaxed);                             \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_load_acquire(                            \
        const wefti_atomic_##suffix *a)                                                \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_load_explicit(&((wefti_atomic_##suffix *)(uintptr_t)a)->value,   \
                                    memory_order_acquire);                             \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_load_seq_cst(                            \
        const wefti_atomic_##suffix *a)                                                \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_load_explicit(&((wefti_atomic_##suffix *)(uintptr_t)a)->value,   \
                                    memory_order_seq_cst);                             \
    }                                                                                  \
    WEFTI_INLINE void wefti_atomic_##suffix##_store_relaxed(wefti_atomic_##suffix *a,  \
                                                            type v)                    \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        atomic_store_explicit(&a->value, v, memory_order_relaxed);                     \
    }                                                                                  \
    WEFTI_INLINE void wefti_atomic_##suffix##_store_release(wefti_atomic_##suffix *a,  \
                                                            type v)                    \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        atomic_store_explicit(&a->value, v, memory_order_release);                     \
    }                                                                                  \
    /* An exchange, which a store is on x86-64 anyway: emulators of aarch64 (QEMU 7.2) \
     * let a later load pass a plain store, whatever its order. */                     \
    WEFTI_INLINE void wefti_atomic_##suffix##_store_seq_cst(wefti_atomic_##suffix *a,  \
                                                            type v)                    \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        (void)atomic_exchange_explicit(&a->value, v, memory_order_seq_cst);            \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_exchange_acq_rel(                        \
        wefti_atomic_##suffix *a, type v)                                              \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_exchange_explicit(&a->value, v, memory_order_acq_rel);           \
    }                                                                                  \
    /* On failure *expected is what was found. */                                      \
    WEFTI_INLINE bool wefti_atomic_##suffix##_cas_acq_rel(wefti_atomic_##suffix *a,    \
                                                          type *expected, type v)      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_compare_exchange_strong_explicit(                                \
            &a->value, expected, v, memory_order_acq_rel, memory_order_acquire);       \
    }                                                                                  \
    WEFTI_INLINE bool wefti_atomic_##suffix##_cas_seq_cst(wefti_atomic_##suffix *a,    \
                                                          type *expected, type v)      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_compare_exchange_strong_explicit(                                \
            &a->value, expected, v, memory_order_seq_cst, memory_order_seq_cst);       \
    }

#define WEFTI_ATOMIC_DEFINE_ADD(suffix, type)                                          \
    WEFTI_INLINE type wefti_atomic_##suffix##_add_relaxed(wefti_atomic_##suffix *a,    \
                                                          type v)                      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_add_explicit(&a->value, v, memory_order_relaxed);          \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_add_acq_rel(wefti_atomic_##suffix *a,    \
                                                          type v)                      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_add_explicit(&a->value, v, memory_order_acq_rel);          \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_add_seq_cst(wefti_atomic_##suffix *a,    \
                                                          type v)                      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_add_explicit(&a->value, v, memory_order_seq_cst);          \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_sub_acq_rel(wefti_atomic_##suffix *a,    \
                                                          type v)                      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_sub_explicit(&a->value, v, memory_order_acq_rel);          \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_sub_seq_cst(wefti_atomic_##suffix *a,    \
                                                          type v)                      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_sub_explicit(&a->value, v, memory_order_seq_cst);          \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_or_seq_cst(wefti_atomic_##suffix *a,     \
                                                         type v)                       \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_or_explicit(&a->value, v, memory_order_seq_cst);           \
    }                                                                                  \
    WEFTI_INLINE type wefti_atomic_##suffix##_and_seq_cst(wefti_atomic_##suffix *a,    \
                                                          type v)                      \
    {                                                                                  \
        WEFTI_SCHEDULE_POINT();                                                        \
        return atomic_fetch_and_explicit(&a->value, v, memory_order_seq_cst);          \
    }

WEFTI_ATOMIC_DEFINE(u32, uint32_t)
WEFTI_ATOMIC_DEFINE_ADD(u32, uint32_t)
WEFTI_ATOMIC_DEFINE(u64, uint64_t)
WEFTI_ATOMIC_DEFINE_ADD(u64, uint64_t)
WEFTI_ATOMIC_DEFINE(ptr, void *)

#endif
