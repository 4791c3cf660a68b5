/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/common/weights.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"

enum { BUCKETS = 256 };

/* One packed form. Linked while it is being made, so that others find and await it. */
typedef struct entry {
    struct entry *next;
    wefti_weight_key key;
    bool ready;
    void *packed;
    size_t size_bytes;
} entry;

struct wefti_weights {
    wefti_weight_memory memory; /* immutable after create */

    /* atomic: who packed -> statistics */
    wefti_atomic_u64 bytes;

    /* guarded by lock */
    wefti_mutex lock;
    wefti_condition changed; /* woken by who packed, whether it worked or not */
    entry *buckets[BUCKETS];
};

static entry **bucket_of(wefti_weights *weights, const wefti_weight_key *key)
{
    return &weights->buckets[XXH64(key, sizeof(*key), 0) % BUCKETS];
}

static entry *find_locked(wefti_weights *weights, const wefti_weight_key *key)
{
    entry *e = *bucket_of(weights, key);
    while (e != NULL && memcmp(&e->key, key, sizeof(*key)) != 0) {
        e = e->next;
    }
    return e;
}

static weft_status reserve_on_host(void *user, int32_t card, size_t size_bytes,
                                   void **address, weft_error *error)
{
    (void)user;
    (void)card;
    *address = wefti_malloc_aligned(size_bytes);
    return *address == NULL ? wefti_error_memory(error, "packed weights") : WEFT_OK;
}

static void unreserve_on_host(void *user, int32_t card, void *address,
                              size_t size_bytes)
{
    (void)user;
    (void)card;
    (void)size_bytes;
    wefti_free(address);
}

weft_status wefti_weights_create(const wefti_weight_memory *memory,
                                 wefti_weights **weights, weft_error *error)
{
    static const wefti_weight_memory host = {reserve_on_host, unreserve_on_host, NULL,
                                             0};
    /* Keys are compared as bytes. */
    _Static_assert(sizeof(wefti_weight_key) == sizeof(void *) + 6 * sizeof(uint64_t),
                   "wefti_weight_key has padding");
    *weights = NULL;
    wefti_weights *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the table of packed weights");
    }
    made->memory = memory == NULL ? host : *memory;
    weft_status status =
        wefti_mutex_init(&made->lock, "weights", WEFTI_RANK_WEIGHTS, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    status = wefti_condition_init(&made->changed, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&made->lock);
        wefti_free(made);
        return status;
    }
    *weights = made;
    return WEFT_OK;
}

void wefti_weights_destroy(wefti_weights *weights)
{
    if (weights == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while (weights->buckets[i] != NULL) {
            entry *e = weights->buckets[i];
            weights->buckets[i] = e->next;
            weights->memory.unreserve(weights->memory.user, weights->memory.card,
                                      e->packed, e->size_bytes);
            wefti_free(e);
        }
    }
    wefti_condition_fini(&weights->changed);
    wefti_mutex_fini(&weights->lock);
    wefti_free(weights);
}

/* Waits until the key is ready and returns its packed form, or makes the caller its
 * packer by linking `own` and returns NULL. */
static const void *await_or_claim(wefti_weights *weights, entry *own)
{
    const void *packed = NULL;
    wefti_mutex_lock(&weights->lock);
    entry *found = find_locked(weights, &own->key);
    while (found != NULL && !found->ready) {
        (void)wefti_condition_wait(&weights->changed, &weights->lock, WEFTI_NEVER);
        found = find_locked(weights, &own->key); /* gone when its packer failed */
    }
    if (found != NULL) {
        packed = found->packed;
    } else {
        entry **bucket = bucket_of(weights, &own->key);
        own->next = *bucket;
        *bucket = own;
    }
    wefti_mutex_unlock(&weights->lock);
    return packed;
}

/* Ends the packing that `own` announced: packed, or not and the next may try. */
static void settle(wefti_weights *weights, entry *own, void *packed)
{
    wefti_mutex_lock(&weights->lock);
    own->packed = packed;
    own->ready = packed != NULL;
    if (packed == NULL) {
        entry **link = bucket_of(weights, &own->key);
        while (*link != own) {
            link = &(*link)->next;
        }
        *link = own->next;
    }
    wefti_condition_wake_all(&weights->changed);
    wefti_mutex_unlock(&weights->lock);
}

weft_status wefti_weights_get(wefti_weights *weights,
                              const wefti_weight_request *request, const void **packed,
                              weft_error *error)
{
    wefti_mutex_lock(&weights->lock);
    const entry *found = find_locked(weights, &request->key);
    *packed = found != NULL && found->ready ? found->packed : NULL;
    wefti_mutex_unlock(&weights->lock);
    if (*packed != NULL) {
        return WEFT_OK;
    }
    entry *own = wefti_calloc(1, sizeof(*own));
    if (own == NULL) {
        return wefti_error_memory(error, "an entry of the packed weights");
    }
    own->key = request->key;
    own->size_bytes = request->size_bytes;
    *packed = await_or_claim(weights, own);
    if (*packed != NULL) {
        wefti_free(own);
        return WEFT_OK;
    }
    void *block = NULL;
    const wefti_weight_memory *memory = &weights->memory;
    weft_status status =
        memory->reserve(memory->user, memory->card, request->size_bytes, &block, error);
    if (status == WEFT_OK) {
        request->pack(block, request->key.constant, request->params);
        (void)wefti_atomic_u64_add_relaxed(&weights->bytes, request->size_bytes);
    }
    settle(weights, own, block);
    if (status != WEFT_OK) {
        wefti_free(own);
        return wefti_error_prefix(error, status, "packed weights");
    }
    *packed = block;
    return WEFT_OK;
}

size_t wefti_weights_bytes(const wefti_weights *weights)
{
    /* Relaxed: a figure for statistics, it orders nothing. */
    return (size_t)wefti_atomic_u64_load_relaxed(&weights->bytes);
}
