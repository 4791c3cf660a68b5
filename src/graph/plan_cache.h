/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PLAN_CACHE_H
#define WEFTI_GRAPH_PLAN_CACHE_H

#include "base/atomic.h"
#include "base/lock.h"
#include "graph/plan.h"

enum { WEFTI_PLAN_BUCKETS = 64 };

/* The plans of a model, by input shapes. Looking up takes no lock: plans are only ever
 * added, at the head of their bucket, and live as long as the model. Each is built
 * once: who comes while it is being built waits for it. */
typedef struct wefti_plan_pending {
    struct wefti_plan_pending *next;
    const wefti_known *inputs;
    size_t input_count;
    bool done;
    int32_t waiters;
    weft_status status;
    wefti_plan *plan;
    weft_error error;
} wefti_plan_pending;

typedef struct wefti_plan_cache {
    /* atomic: who has built a plan, under the lock -> any reader */
    wefti_atomic_ptr buckets[WEFTI_PLAN_BUCKETS];

    /* guarded by lock */
    wefti_mutex lock;      /* WEFTI_RANK_PLAN_CACHE */
    wefti_condition built; /* woken by whoever has finished building, well or not */
    wefti_plan_pending *pending;
    size_t plan_count, pending_count;

    /* immutable after init */
    size_t max_plans;
    bool ready;
} wefti_plan_cache;

weft_status wefti_plan_cache_init(wefti_plan_cache *cache, size_t max_plans,
                                  weft_error *error);
/* Nobody uses the cache any more. A zeroed one is allowed. */
void wefti_plan_cache_fini(wefti_plan_cache *cache);

/* Finds the plan for these inputs or builds it.
 * Errors: those of building, given to all who waited for it;
 * WEFT_OUT_OF_MEMORY when the cache is full. */
weft_status wefti_plan_cache_get(wefti_plan_cache *cache,
                                 const wefti_plan_source *source,
                                 const wefti_known *inputs, const wefti_plan **plan,
                                 weft_error *error);

/* The plan that fits these tensors' types and shapes, or NULL. Lock-free. */
const wefti_plan *wefti_plan_cache_find(const wefti_plan_cache *cache,
                                        const weft_tensor *inputs, size_t count);

#endif
