/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/plan_cache.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/memory.h"
#include "base/profile.h"
#include "base/thread.h"

weft_status wefti_plan_cache_init(wefti_plan_cache *cache,
                                  const wefti_plan_cache_params *params,
                                  weft_error *error)
{
    cache->params = *params;
    WEFTI_TRY(
        wefti_mutex_init(&cache->lock, "plan cache", WEFTI_RANK_PLAN_CACHE, error));
    weft_status status = wefti_condition_init(&cache->built, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&cache->lock);
        return status;
    }
    wefti_atomic_u64_init(&cache->clock, 1);
    for (size_t i = 0; i < WEFTI_PLAN_BUCKETS; i++) {
        wefti_atomic_ptr_init(&cache->buckets[i], NULL);
    }
    for (size_t i = 0; i < WEFTI_PLAN_GUESTS; i++) {
        wefti_atomic_ptr_init(&cache->guests[i].plan, NULL);
    }
    cache->ready = true;
    return WEFT_OK;
}

static wefti_plan_entry *next_of(const wefti_plan_entry *entry)
{
    return wefti_atomic_ptr_load_acquire(&entry->next);
}

void wefti_plan_cache_fini(wefti_plan_cache *cache)
{
    if (!cache->ready) {
        return;
    }
    while (cache->entries != NULL) {
        wefti_plan_entry *entry = cache->entries;
        cache->entries = entry->older;
        wefti_plan *plan = wefti_atomic_ptr_load_acquire(&entry->plan);
        if (plan != NULL) {
            cache->params.destroy(cache->params.user, plan);
        }
        wefti_free(entry);
    }
    while (cache->retired != NULL) {
        wefti_plan *plan = cache->retired;
        cache->retired = plan->next;
        cache->params.destroy(cache->params.user, plan);
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

/* In order: equal values of two inputs, or exchanged ones, do not cancel out. */
static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t count)
{
    return count == 0
               ? hash
               : (hash ^ XXH3_64bits(bytes, count)) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

/* The constants are those of the value inputs. */
static uint64_t hash_of(const wefti_known *inputs, size_t count)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        hash = mix(hash, inputs[i].rank, inputs[i].dims);
        if (inputs[i].constant != NULL) {
            hash = mix_bytes(hash, inputs[i].constant, wefti_known_bytes(&inputs[i]));
        }
    }
    return hash;
}

static bool same_shape(const wefti_known *known, int32_t rank, const int64_t *dims)
{
    return known->rank == rank &&
           memcmp(known->dims, dims, (size_t)rank * sizeof(*dims)) == 0;
}

static bool same_bytes(const void *a, const void *b, size_t count)
{
    return count == 0 || memcmp(a, b, count) == 0;
}

static bool same_inputs(const wefti_known *a, const wefti_known *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a[i].type != b[i].type || !same_shape(&a[i], b[i].rank, b[i].dims) ||
            (a[i].constant != NULL &&
             !same_bytes(a[i].constant, b[i].constant, wefti_known_bytes(&a[i])))) {
            return false;
        }
    }
    return true;
}

/* The entry of a chain with this hash, or NULL. */
static wefti_plan_entry *walk(const wefti_plan_cache *cache, uint64_t hash)
{
    wefti_plan_entry *entry =
        wefti_atomic_ptr_load_acquire(&cache->buckets[hash % WEFTI_PLAN_BUCKETS]);
    /* Relaxed: the hash is a hint; the plan's own shapes decide. */
    while (entry != NULL && wefti_atomic_u64_load_relaxed(&entry->hash) != hash) {
        entry = next_of(entry);
    }
    return entry;
}

bool wefti_plan_value_bytes(const weft_tensor *tensor, int64_t most_elements,
                            size_t *size_bytes)
{
    if ((uint32_t)tensor->rank > WEFT_MAX_RANK || weft_type_size(tensor->type) == 0) {
        return false;
    }
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] < 0 ||
            (tensor->dims[i] > 0 && count > most_elements / tensor->dims[i])) {
            return false;
        }
        count *= tensor->dims[i];
    }
    *size_bytes = (size_t)count * weft_type_size(tensor->type);
    return *size_bytes == 0 ||
           (tensor->data != NULL && tensor->place == WEFT_PLACE_HOST &&
            (tensor->size_bytes == 0 || tensor->size_bytes >= *size_bytes));
}

/* As below, with value inputs. */
static WEFTI_NOINLINE wefti_plan_entry *
seek_values(const wefti_plan_cache *cache, const weft_tensor *inputs, size_t count)
{
    const wefti_plan_values *values = &cache->params.values;
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        if ((uint32_t)inputs[i].rank > WEFT_MAX_RANK ||
            (values->inputs[i] &&
             !wefti_plan_value_bytes(&inputs[i], values->most_elements, &bytes))) {
            return NULL;
        }
        hash = mix(hash, inputs[i].rank, inputs[i].dims);
        hash = mix_bytes(hash, inputs[i].data, bytes);
    }
    return walk(cache, hash);
}

wefti_plan_entry *wefti_plan_cache_seek(const wefti_plan_cache *cache,
                                        const weft_tensor *inputs, size_t count)
{
    if (WEFTI_UNLIKELY(cache->params.values.inputs != NULL)) {
        return seek_values(cache, inputs, count);
    }
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        if ((uint32_t)inputs[i].rank > WEFT_MAX_RANK) {
            return NULL; /* not checked yet at this point */
        }
        hash = mix(hash, inputs[i].rank, inputs[i].dims);
    }
    return walk(cache, hash);
}

/* Relaxed: a stamp orders nothing, and one that comes late costs a plan its place at
 * worst. Written only when the clock has gone on. */
static void touch(wefti_plan_cache *cache, wefti_plan_entry *entry)
{
    uint64_t now = wefti_atomic_u64_load_relaxed(&cache->clock);
    if (WEFTI_UNLIKELY(wefti_atomic_u64_load_relaxed(&entry->used) != now)) {
        wefti_atomic_u64_store_relaxed(&entry->used, now);
    }
}

/* The shapes are the plan's, and seek has found the values' memory there. */
static WEFTI_NOINLINE bool same_values(const wefti_plan_cache *cache,
                                       const wefti_plan *plan,
                                       const weft_tensor *inputs)
{
    bool same = true;
    for (size_t i = 0; same && i < cache->params.input_count; i++) {
        same =
            !cache->params.values.inputs[i] ||
            same_bytes(plan->inputs[i].constant, inputs[i].data, plan->input_bytes[i]);
    }
    return same;
}

bool wefti_plan_cache_confirm(wefti_plan_cache *cache, wefti_plan_entry *entry,
                              const wefti_plan *plan, const weft_tensor *inputs)
{
    if (wefti_atomic_ptr_load_seq_cst(&entry->plan) != plan) {
        return false;
    }
    for (size_t i = 0; i < cache->params.input_count; i++) {
        const wefti_known *known = &plan->inputs[i];
        if (known->type != inputs[i].type ||
            !same_shape(known, inputs[i].rank, inputs[i].dims)) {
            return false;
        }
    }
    if (WEFTI_UNLIKELY(cache->params.values.inputs != NULL) &&
        !same_values(cache, plan, inputs)) {
        return false;
    }
    touch(cache, entry);
    return true;
}

bool wefti_plan_cache_enter(wefti_plan_cache *cache, const weft_tensor *inputs,
                            wefti_plan_visit *visit)
{
    wefti_plan_entry *entry =
        wefti_plan_cache_seek(cache, inputs, cache->params.input_count);
    const wefti_plan *plan = entry == NULL ? NULL : wefti_plan_entry_peek(entry);
    if (plan == NULL) {
        return false;
    }
    uint32_t first = wefti_current_core();
    for (uint32_t i = 0; i < WEFTI_PLAN_GUESTS; i++) {
        wefti_plan_guest *guest = &cache->guests[(first + i) % WEFTI_PLAN_GUESTS];
        void *found = NULL;
        /* Only compared and passed back: the place does not write to the plan. */
        if (!wefti_atomic_ptr_cas_seq_cst(&guest->plan, &found,
                                          (void *)(uintptr_t)plan)) {
            continue;
        }
        *visit = (wefti_plan_visit){plan, entry, guest};
        if (wefti_plan_cache_confirm(cache, entry, plan, inputs)) {
            return true;
        }
        wefti_plan_cache_leave(cache, visit);
        return false;
    }
    return false;
}

void wefti_plan_cache_leave(wefti_plan_cache *cache, const wefti_plan_visit *visit)
{
    wefti_atomic_ptr_store_seq_cst(&visit->guest->plan, NULL);
    wefti_plan_cache_left(cache, visit->entry, visit->plan);
}

static bool in_use_locked(wefti_plan_cache *cache, const wefti_plan *plan)
{
    if (wefti_sabotaged(WEFTI_SABOTAGE_PLAN_EVICT)) {
        return plan->holds > 0;
    }
    bool used = plan->holds > 0;
    for (size_t i = 0; i < WEFTI_PLAN_GUESTS && !used; i++) {
        used = wefti_atomic_ptr_load_seq_cst(&cache->guests[i].plan) == plan;
    }
    return used || cache->params.in_use(cache->params.user, plan);
}

/* Takes the evicted plans that nobody uses out of the list and returns them. */
static wefti_plan *collect_locked(wefti_plan_cache *cache)
{
    wefti_plan *unused = NULL;
    wefti_plan **link = &cache->retired;
    while (*link != NULL) {
        wefti_plan *plan = *link;
        if (in_use_locked(cache, plan)) {
            link = &plan->next;
        } else {
            *link = plan->next;
            plan->next = unused;
            unused = plan;
        }
    }
    return unused;
}

static void destroy_all(wefti_plan_cache *cache, wefti_plan *plan)
{
    while (plan != NULL) {
        wefti_plan *next = plan->next;
        cache->params.destroy(cache->params.user, plan);
        plan = next;
    }
}

void wefti_plan_cache_reclaim(wefti_plan_cache *cache)
{
    wefti_mutex_lock(&cache->lock);
    wefti_plan *unused = collect_locked(cache);
    wefti_mutex_unlock(&cache->lock);
    destroy_all(cache, unused);
}

void wefti_plan_cache_drop(wefti_plan_cache *cache, wefti_plan *plan)
{
    wefti_mutex_lock(&cache->lock);
    plan->holds--;
    wefti_plan *unused = collect_locked(cache);
    wefti_mutex_unlock(&cache->lock);
    destroy_all(cache, unused);
}

/* The entry of the plan that has gone unused for the longest time. */
static wefti_plan_entry *find_oldest_locked(wefti_plan_cache *cache)
{
    wefti_plan_entry *oldest = NULL;
    uint64_t least = UINT64_MAX;
    for (wefti_plan_entry *entry = cache->entries; entry; entry = entry->older) {
        uint64_t used = wefti_atomic_u64_load_relaxed(&entry->used);
        if (used < least && wefti_atomic_ptr_load_acquire(&entry->plan) != NULL) {
            least = used;
            oldest = entry;
        }
    }
    return oldest;
}

static void evict_oldest_locked(wefti_plan_cache *cache)
{
    wefti_plan_entry *entry = find_oldest_locked(cache);
    uint64_t hash = wefti_atomic_u64_load_relaxed(&entry->hash);
    wefti_atomic_ptr *link = &cache->buckets[hash % WEFTI_PLAN_BUCKETS];
    while (wefti_atomic_ptr_load_acquire(link) != entry) {
        wefti_plan_entry *before = wefti_atomic_ptr_load_acquire(link);
        link = &before->next;
    }
    wefti_atomic_ptr_store_release(link, next_of(entry));
    wefti_plan *plan = wefti_atomic_ptr_load_acquire(&entry->plan);
    wefti_atomic_ptr_store_seq_cst(&entry->plan, NULL);
    wefti_atomic_ptr_store_release(&entry->next, cache->free_entries);
    cache->free_entries = entry;
    plan->next = cache->retired;
    cache->retired = plan;
    cache->plan_count--;
    cache->plan_bytes -= plan->bytes;
    if (cache->params.evict_count != NULL) {
        /* Relaxed: a figure for statistics, it orders nothing. */
        (void)wefti_atomic_u64_add_relaxed(cache->params.evict_count, 1);
    }
}

/* Puts the plan in, in the place of others where there is no room. Returns `spare`
 * when it was not needed. */
static wefti_plan_entry *publish_locked(wefti_plan_cache *cache, wefti_plan *plan,
                                        wefti_plan_entry *spare)
{
    const wefti_plan_cache_params *params = &cache->params;
    while (cache->plan_count > 0 &&
           (cache->plan_count >= params->max_plans || plan->bytes > params->max_bytes ||
            cache->plan_bytes > params->max_bytes - plan->bytes)) {
        evict_oldest_locked(cache);
    }
    wefti_plan_entry *entry = cache->free_entries;
    if (entry != NULL) {
        cache->free_entries = next_of(entry);
    } else {
        entry = spare;
        spare = NULL;
        entry->older = cache->entries;
        cache->entries = entry;
    }
    uint64_t now = wefti_atomic_u64_add_relaxed(&cache->clock, 1) + 1;
    uint64_t hash = hash_of(plan->inputs, params->input_count);
    wefti_atomic_ptr *bucket = &cache->buckets[hash % WEFTI_PLAN_BUCKETS];
    wefti_atomic_u64_store_relaxed(&entry->hash, hash); /* the bucket orders it */
    wefti_atomic_u64_store_relaxed(&entry->used, now);
    wefti_atomic_ptr_store_release(&entry->plan, plan);
    wefti_atomic_ptr_store_release(&entry->next, wefti_atomic_ptr_load_acquire(bucket));
    wefti_atomic_ptr_store_release(bucket, entry);
    cache->plan_count++;
    cache->plan_bytes += plan->bytes;
    return spare;
}

static wefti_plan *find_locked(wefti_plan_cache *cache, const wefti_known *inputs)
{
    size_t count = cache->params.input_count;
    uint64_t hash = hash_of(inputs, count);
    wefti_plan_entry *entry =
        wefti_atomic_ptr_load_acquire(&cache->buckets[hash % WEFTI_PLAN_BUCKETS]);
    for (; entry != NULL; entry = next_of(entry)) {
        wefti_plan *plan = wefti_atomic_ptr_load_acquire(&entry->plan);
        if (same_inputs(plan->inputs, inputs, count)) {
            touch(cache, entry);
            return plan;
        }
    }
    return NULL;
}

static wefti_plan_pending *find_pending_locked(wefti_plan_cache *cache,
                                               const wefti_known *inputs)
{
    if (wefti_sabotaged(WEFTI_SABOTAGE_PLAN_DEDUPE)) {
        return NULL;
    }
    wefti_plan_pending *pending = cache->pending;
    while (pending != NULL &&
           !same_inputs(pending->inputs, inputs, cache->params.input_count)) {
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
}

/* Ends the building: publishes the plan, held by all who want it, and tells those who
 * wait. Returns the entry that was not needed. */
static wefti_plan_entry *settle_locked(wefti_plan_cache *cache,
                                       wefti_plan_pending *pending,
                                       wefti_plan_entry *spare)
{
    unlink_locked(cache, pending);
    pending->done = true;
    if (pending->status == WEFT_OK) {
        pending->plan->holds = pending->users;
        spare = publish_locked(cache, pending->plan, spare);
    }
    if (!wefti_sabotaged(WEFTI_SABOTAGE_PLAN_WAKE)) {
        wefti_condition_wake_all(&cache->built);
    }
    return spare;
}

/* Builds outside the lock. */
static void build(wefti_plan_cache *cache, wefti_plan_pending *pending)
{
    wefti_plan_entry *spare = wefti_malloc_aligned(sizeof(*spare));
    if (spare == NULL) {
        pending->status = wefti_error_memory(&pending->error, "a plan's entry");
    } else {
        memset(spare, 0, sizeof(*spare));
        pending->status = cache->params.build(cache->params.user, pending->inputs,
                                              &pending->plan, &pending->error);
    }
    wefti_mutex_lock(&cache->lock);
    spare = settle_locked(cache, pending, spare);
    wefti_plan *unused = collect_locked(cache);
    wefti_mutex_unlock(&cache->lock);
    wefti_free(spare);
    destroy_all(cache, unused);
}

/* Finds the plan, joins who builds it, or announces that the caller does; which of
 * these, `pending` tells: NULL, another's or `own`. */
static wefti_plan *find_or_join_locked(wefti_plan_cache *cache, wefti_plan_pending *own,
                                       wefti_plan_pending **pending)
{
    *pending = NULL;
    wefti_plan *plan = find_locked(cache, own->inputs);
    if (plan != NULL) {
        plan->holds++;
        return plan;
    }
    *pending = find_pending_locked(cache, own->inputs);
    if (*pending == NULL) {
        own->next = cache->pending;
        cache->pending = own;
        *pending = own;
    }
    (*pending)->users++;
    return NULL;
}

/* Waits until it is built and copies the answer. The last one frees it. */
static weft_status take_answer(wefti_plan_cache *cache, wefti_plan_pending *pending,
                               wefti_plan **plan, weft_error *error)
{
    wefti_mutex_lock(&cache->lock);
    while (!pending->done) {
        /* Woken by settle_locked: building always comes to its end. */
        (void)wefti_condition_wait(&cache->built, &cache->lock, INT64_MAX);
    }
    bool last = --pending->users == 0;
    weft_status status = pending->status;
    *plan = status == WEFT_OK ? pending->plan : NULL;
    if (status != WEFT_OK && error != NULL) {
        *error = pending->error;
    }
    wefti_mutex_unlock(&cache->lock);
    if (last) {
        wefti_free(pending);
    }
    return status;
}

/* The same of a plan that another thread builds. */
static weft_status await_answer(wefti_plan_cache *cache, wefti_plan_pending *pending,
                                wefti_plan **plan, weft_error *error)
{
    int64_t begin_ns = wefti_profile_begin(cache->params.profiler);
    weft_status status = take_answer(cache, pending, plan, error);
    if (WEFTI_UNLIKELY(begin_ns != 0)) {
        wefti_profile_wait(cache->params.profiler, begin_ns,
                           "wait for a plan that another thread builds", -1, status);
    }
    return status;
}

weft_status wefti_plan_cache_hold(wefti_plan_cache *cache, const wefti_known *inputs,
                                  wefti_plan **plan, weft_error *error)
{
    *plan = NULL;
    wefti_plan_pending *own = wefti_calloc(1, sizeof(*own));
    if (own == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    own->inputs = inputs;
    wefti_plan_pending *pending;
    wefti_mutex_lock(&cache->lock);
    *plan = find_or_join_locked(cache, own, &pending);
    wefti_mutex_unlock(&cache->lock);
    if (pending == own) {
        build(cache, own);
        return take_answer(cache, own, plan, error);
    }
    wefti_free(own);
    return pending == NULL ? WEFT_OK : await_answer(cache, pending, plan, error);
}

void wefti_plan_cache_get_statistics(wefti_plan_cache *cache,
                                     wefti_plan_cache_statistics *statistics)
{
    wefti_mutex_lock(&cache->lock);
    *statistics = (wefti_plan_cache_statistics){.plan_count = cache->plan_count,
                                                .plan_bytes = cache->plan_bytes};
    for (const wefti_plan *plan = cache->retired; plan != NULL; plan = plan->next) {
        statistics->retired_count++;
    }
    for (wefti_plan_entry *entry = cache->entries; entry; entry = entry->older) {
        statistics->entry_count++;
    }
    wefti_mutex_unlock(&cache->lock);
}
