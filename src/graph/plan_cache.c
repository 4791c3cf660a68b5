/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/plan_cache.h"

#include <string.h>

#include "base/memory.h"

weft_status wefti_plan_cache_init(wefti_plan_cache *cache, size_t max_plans,
                                  weft_error *error)
{
    cache->max_plans = max_plans;
    WEFTI_TRY(
        wefti_mutex_init(&cache->lock, "plan cache", WEFTI_RANK_PLAN_CACHE, error));
    weft_status status = wefti_condition_init(&cache->built, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&cache->lock);
        return status;
    }
    for (size_t i = 0; i < WEFTI_PLAN_BUCKETS; i++) {
        wefti_atomic_ptr_init(&cache->buckets[i], NULL);
    }
    cache->ready = true;
    return WEFT_OK;
}

void wefti_plan_cache_fini(wefti_plan_cache *cache)
{
    if (!cache->ready) {
        return;
    }
    for (size_t i = 0; i < WEFTI_PLAN_BUCKETS; i++) {
        wefti_plan *plan = wefti_atomic_ptr_load_acquire(&cache->buckets[i]);
        while (plan != NULL) {
            wefti_plan *next = plan->next;
            wefti_plan_destroy(plan);
            plan = next;
        }
    }
    wefti_condition_fini(&cache->built);
    wefti_mutex_fini(&cache->lock);
    cache->ready = false;
}

/* Shapes only: equal shapes of other types do not occur in one model. */
static uint64_t mix(uint64_t hash, int32_t rank, const int64_t *dims)
{
    for (int32_t i = 0; i < rank; i++) {
        hash = (hash ^ (uint64_t)dims[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash;
}

static bool same_shape(const wefti_known *known, int32_t rank, const int64_t *dims)
{
    return known->rank == rank &&
           memcmp(known->dims, dims, (size_t)rank * sizeof(*dims)) == 0;
}

const wefti_plan *wefti_plan_cache_find(const wefti_plan_cache *cache,
                                        const weft_tensor *inputs, size_t count)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        if ((uint32_t)inputs[i].rank > WEFT_MAX_RANK) {
            return NULL; /* not checked yet at this point */
        }
        hash = mix(hash, inputs[i].rank, inputs[i].dims);
    }
    const wefti_plan *plan =
        wefti_atomic_ptr_load_acquire(&cache->buckets[hash % WEFTI_PLAN_BUCKETS]);
    for (; plan != NULL; plan = plan->next) {
        size_t i = 0;
        while (i < count && plan->inputs[i].type == inputs[i].type &&
               same_shape(&plan->inputs[i], inputs[i].rank, inputs[i].dims)) {
            i++;
        }
        if (i == count) {
            return plan;
        }
    }
    return NULL;
}

static bool same_inputs(const wefti_known *a, const wefti_known *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a[i].type != b[i].type || !same_shape(&a[i], b[i].rank, b[i].dims)) {
            return false;
        }
    }
    return true;
}

static size_t bucket_of(const wefti_known *inputs, size_t count)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        hash = mix(hash, inputs[i].rank, inputs[i].dims);
    }
    return hash % WEFTI_PLAN_BUCKETS;
}

static wefti_plan *find_locked(wefti_plan_cache *cache, const wefti_known *inputs,
                               size_t count)
{
    wefti_plan *plan =
        wefti_atomic_ptr_load_acquire(&cache->buckets[bucket_of(inputs, count)]);
    while (plan != NULL && !same_inputs(plan->inputs, inputs, count)) {
        plan = plan->next;
    }
    return plan;
}

static wefti_plan_pending *find_pending_locked(wefti_plan_cache *cache,
                                               const wefti_known *inputs, size_t count)
{
    if (wefti_sabotaged(WEFTI_SABOTAGE_PLAN_DEDUPE)) {
        return NULL;
    }
    wefti_plan_pending *pending = cache->pending;
    while (pending != NULL && !same_inputs(pending->inputs, inputs, count)) {
        pending = pending->next;
    }
    return pending;
}

static void unlink_locked(wefti_plan_cache *cache, wefti_plan_pending *pending)
{
    wefti_plan_pending **link = &cache->pending;
    while (*link != pending) {
        link = &(*link)->next;
    }
    *link = pending->next;
    cache->pending_count--;
}

static void publish_locked(wefti_plan_cache *cache, wefti_plan *plan)
{
    wefti_atomic_ptr *bucket =
        &cache->buckets[bucket_of(plan->inputs, plan->input_count)];
    plan->next = wefti_atomic_ptr_load_acquire(bucket);
    wefti_atomic_ptr_store_release(bucket, plan);
    cache->plan_count++;
}

/* Builds outside the lock, publishes, and tells those who wait. `pending` lives on the
 * builder's stack, so the builder stays until the last waiter has read it. */
static void build_and_publish(wefti_plan_cache *cache, const wefti_plan_source *source,
                              wefti_plan_pending *pending)
{
    wefti_plan *plan = NULL;
    weft_status status =
        wefti_plan_build(source, pending->inputs, &plan, &pending->error);
    wefti_mutex_lock(&cache->lock);
    pending->plan = plan;
    pending->status = status;
    pending->done = true;
    unlink_locked(cache, pending);
    if (status == WEFT_OK) {
        publish_locked(cache, plan);
    }
    if (!wefti_sabotaged(WEFTI_SABOTAGE_PLAN_WAKE)) {
        wefti_condition_wake_all(&cache->built);
    }
    while (pending->waiters > 0) {
        /* Woken by the last waiter below. */
        wefti_condition_wait(&cache->built, &cache->lock, INT64_MAX);
    }
    wefti_mutex_unlock(&cache->lock);
}

weft_status wefti_plan_cache_get(wefti_plan_cache *cache,
                                 const wefti_plan_source *source,
                                 const wefti_known *inputs, const wefti_plan **plan,
                                 weft_error *error)
{
    size_t count = source->net->input_count;
    wefti_plan_pending mine = {.inputs = inputs, .input_count = count};
    wefti_plan_pending *pending = NULL;
    weft_status status = WEFT_OK;
    bool build = false;

    wefti_mutex_lock(&cache->lock);
    *plan = find_locked(cache, inputs, count);
    if (*plan == NULL) {
        pending = find_pending_locked(cache, inputs, count);
        if (pending != NULL) {
            pending->waiters++;
            while (!pending->done) {
                /* Woken by build_and_publish, which always comes to its end. */
                wefti_condition_wait(&cache->built, &cache->lock, INT64_MAX);
            }
            *plan = pending->plan;
            status = pending->status;
            mine.error = pending->error;
            if (--pending->waiters == 0) {
                wefti_condition_wake_all(&cache->built);
            }
        } else if (cache->plan_count + cache->pending_count >= cache->max_plans) {
            status = WEFT_OUT_OF_MEMORY;
            wefti_error(
                &mine.error, status,
                "the model has met %zu sets of input shapes, the most it keeps; "
                "raise max_plans or use fewer shapes",
                cache->plan_count);
        } else {
            mine.next = cache->pending;
            cache->pending = &mine;
            cache->pending_count++;
            build = true;
        }
    }
    wefti_mutex_unlock(&cache->lock);

    if (build) {
        build_and_publish(cache, source, &mine);
        *plan = mine.plan;
        status = mine.status;
    }
    if (status != WEFT_OK && error != NULL) {
        *error = mine.error;
    }
    return status;
}
