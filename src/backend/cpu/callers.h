/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_CALLERS_H
#define WEFTI_BACKEND_CPU_CALLERS_H

#include "base/atomic.h"
#include "base/thread.h"

/* How many threads run a recipe now. Kept in shards, one for each core as far as they
 * go, so that callers on different cores do not share a cache line.
 * Class: synchronised. */
enum { WEFTI_CALLER_SHARDS = 16 };

typedef struct wefti_caller_shard {
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 running; /* who runs -> team */
} wefti_caller_shard;

typedef struct wefti_callers {
    wefti_caller_shard shards[WEFTI_CALLER_SHARDS];
    uint32_t mask; /* immutable after init: shards in use - 1 */
} wefti_callers;

WEFTI_INLINE void wefti_callers_init(wefti_callers *callers, int32_t core_count)
{
    uint32_t count = 1;
    while (count < WEFTI_CALLER_SHARDS && (int32_t)count < core_count) {
        count *= 2;
    }
    callers->mask = count - 1;
    for (uint32_t i = 0; i < WEFTI_CALLER_SHARDS; i++) {
        wefti_atomic_u32_init(&callers->shards[i].running, 0);
    }
}

/* Returns the shard for wefti_callers_leave, which may come from another core.
 * Relaxed: the count is a hint and orders nothing. */
WEFTI_INLINE wefti_caller_shard *wefti_callers_enter(wefti_callers *callers)
{
    wefti_caller_shard *shard = &callers->shards[wefti_current_core() & callers->mask];
    (void)wefti_atomic_u32_add_relaxed(&shard->running, 1);
    return shard;
}

WEFTI_INLINE void wefti_callers_leave(wefti_caller_shard *shard)
{
    (void)wefti_atomic_u32_add_relaxed(&shard->running, UINT32_MAX);
}

WEFTI_INLINE uint32_t wefti_callers_count(const wefti_callers *callers)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i <= callers->mask; i++) {
        count += wefti_atomic_u32_load_relaxed(&callers->shards[i].running);
    }
    return count;
}

#endif
