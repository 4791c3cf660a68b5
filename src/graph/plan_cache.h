/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PLAN_CACHE_H
#define WEFTI_GRAPH_PLAN_CACHE_H

#include "base/atomic.h"
#include "base/lock.h"
#include "graph/plan.h"

/* The plans of a model, by input shapes and the values of its value inputs; the least
 * recently used makes room for a new one. Each is built once: who comes while it is
 * being built waits for it, and nobody else waits for anything.
 *
 * Using a plan takes no lock, no allocation and no write to memory that callers share.
 * The user publishes the plan in a place of its own (a context, or a guest's place in
 * the cache) and then looks again whether the plan still stands in its entry. Eviction
 * empties the entry and then looks at all places. Both are sequentially consistent: so
 * either the user finds the entry changed and asks again under the lock, or eviction
 * finds the plan in its place and leaves it to the user, who empties the place, then
 * looks at the entry, finds it changed and frees the plan.
 *
 * Entries are never freed before the cache, so that a reader may walk a chain while it
 * changes: one that is led into another chain finds nothing and asks under the lock. */
enum { WEFTI_PLAN_BUCKETS = 256, WEFTI_PLAN_GUESTS = 8 };

/* Which inputs have a value that is part of the key. */
typedef struct wefti_plan_values {
    const bool *inputs;    /* for each input; NULL: none has */
    int64_t most_elements; /* of one such input */
} wefti_plan_values;

/* Size of a value input's data; false when it has too many elements or no type, or
 * when its memory is not there, or not the host's. */
bool wefti_plan_value_bytes(const weft_tensor *tensor, int64_t most_elements,
                            size_t *size_bytes);

typedef struct wefti_plan_entry {
    /* atomic: who holds the lock -> any reader */
    WEFTI_CACHE_ALIGNED wefti_atomic_ptr plan; /* NULL: evicted */
    wefti_atomic_ptr next;                     /* in its bucket or the free list */
    wefti_atomic_u64 hash;
    /* atomic: any user -> eviction. The cache's clock at the last use. */
    wefti_atomic_u64 used;
    /* guarded by lock */
    struct wefti_plan_entry *older; /* among all entries */
} wefti_plan_entry;

/* Where one who has no context publishes the plan it uses. */
typedef struct wefti_plan_guest {
    /* atomic: the guest -> eviction */
    WEFTI_CACHE_ALIGNED wefti_atomic_ptr plan;
} wefti_plan_guest;

/* A plan that is being built. Freed by the last of its users. */
typedef struct wefti_plan_pending {
    struct wefti_plan_pending *next;
    const wefti_known *inputs; /* the builder's, while it is linked */
    bool done;
    int32_t users; /* the builder and who waits */
    weft_status status;
    wefti_plan *plan;
    weft_error error;
} wefti_plan_pending;

/* What a cache is told at its beginning. The functions are called without its lock
 * unless they say otherwise. */
typedef struct wefti_plan_cache_params {
    size_t max_plans; /* at least 1 */
    size_t max_bytes; /* a single plan may be larger and is kept alone */
    size_t input_count;
    wefti_plan_values values;
    weft_status (*build)(void *user, const wefti_known *inputs, wefti_plan **plan,
                         weft_error *error);
    void (*destroy)(void *user, wefti_plan *plan);
    /* Whether a place outside the cache names the plan; called with the lock held. */
    bool (*in_use)(void *user, const wefti_plan *plan);
    wefti_atomic_u64 *evict_count; /* counts evictions; NULL: nobody does */
    weft_profiler *profiler;       /* borrowed; NULL: waits are not recorded */
    void *user;
} wefti_plan_cache_params;

typedef struct wefti_plan_cache {
    /* immutable after init */
    wefti_plan_cache_params params;
    bool ready;

    /* atomic: who holds the lock -> any reader; mostly read. The clock goes on with
     * each plan that is published, so that users write their entry's `used` only once
     * in between. */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 clock;
    wefti_atomic_ptr buckets[WEFTI_PLAN_BUCKETS];

    wefti_plan_guest guests[WEFTI_PLAN_GUESTS];

    /* guarded by lock */
    WEFTI_CACHE_ALIGNED wefti_mutex lock; /* WEFTI_RANK_PLAN_CACHE */
    wefti_condition built; /* woken by whoever has finished building, well or not */
    wefti_plan_pending *pending;
    wefti_plan_entry *entries, *free_entries; /* all; those without a plan */
    wefti_plan *retired; /* evicted and, when last looked at, in use */
    size_t plan_count, plan_bytes;
} wefti_plan_cache;

weft_status wefti_plan_cache_init(wefti_plan_cache *cache,
                                  const wefti_plan_cache_params *params,
                                  weft_error *error);
/* Nobody uses the cache any more. A zeroed one is allowed. */
void wefti_plan_cache_fini(wefti_plan_cache *cache);

/* Finds the plan for these inputs or builds it, and holds it for the caller, for any
 * length of time, until wefti_plan_cache_drop.
 * Errors: those of building, given to all who waited for it. */
weft_status wefti_plan_cache_hold(wefti_plan_cache *cache, const wefti_known *inputs,
                                  wefti_plan **plan, weft_error *error);
void wefti_plan_cache_drop(wefti_plan_cache *cache, wefti_plan *plan);

/* Finds the entry that probably has the plan for these tensors; NULL: none. Lock-free.
 * The entry may change at any time; what follows makes sure. */
wefti_plan_entry *wefti_plan_cache_seek(const wefti_plan_cache *cache,
                                        const weft_tensor *inputs, size_t count);

/* The plan that stands in the entry now, not to be looked into; may be NULL. */
WEFTI_INLINE const wefti_plan *wefti_plan_entry_peek(const wefti_plan_entry *entry)
{
    return wefti_atomic_ptr_load_acquire(&entry->plan);
}

/* After the caller has published `plan`, sequentially consistent: true when it still
 * stands in the entry and is for these tensors; then it may be used until the caller
 * empties its place. In either case wefti_plan_cache_left follows that. */
bool wefti_plan_cache_confirm(wefti_plan_cache *cache, wefti_plan_entry *entry,
                              const wefti_plan *plan, const weft_tensor *inputs);

/* Tells a waiting eviction that the caller has emptied its place. */
void wefti_plan_cache_reclaim(wefti_plan_cache *cache);
WEFTI_INLINE void wefti_plan_cache_left(wefti_plan_cache *cache,
                                        const wefti_plan_entry *entry,
                                        const wefti_plan *plan)
{
    if (WEFTI_UNLIKELY(wefti_atomic_ptr_load_seq_cst(&entry->plan) != plan)) {
        wefti_plan_cache_reclaim(cache);
    }
}

/* The use of a plan by one who has no context, for a short time. Confined. */
typedef struct wefti_plan_visit {
    const wefti_plan *plan;
    wefti_plan_entry *entry;
    wefti_plan_guest *guest;
} wefti_plan_visit;

/* False: the plan is not there, or all guests' places are taken. Lock-free. */
bool wefti_plan_cache_enter(wefti_plan_cache *cache, const weft_tensor *inputs,
                            wefti_plan_visit *visit);
void wefti_plan_cache_leave(wefti_plan_cache *cache, const wefti_plan_visit *visit);

typedef struct wefti_plan_cache_statistics {
    size_t plan_count, plan_bytes, retired_count, entry_count;
} wefti_plan_cache_statistics;
void wefti_plan_cache_get_statistics(wefti_plan_cache *cache,
                                     wefti_plan_cache_statistics *statistics);

#endif
