/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/memory_pool.h"

#include "base/clock.h"
#include "base/fork.h"
#include "base/memory.h"
#include "runtime/context.h"
#include "runtime/stream.h"

/* Size classes: four to each power of two, from 256 bytes; at most a fifth is spare. */
enum { CLASS_COUNT = 160, SMALLEST_CLASS_SHIFT = 6, ALIGNMENT = 64, FEW_TOUCHES = 4 };

/* A stream that used a block, and the point of its work at the block's release. */
typedef struct touch {
    weft_stream *stream;
    uint64_t point;
} touch;

struct weft_memory {
    /* immutable after create */
    weft_device *device; /* owned while the block is a caller's */
    void *address;
    size_t size_bytes;
    int32_t class_index;
    int32_t card;

    /* guarded by the pool's lock */
    touch few[FEW_TOUCHES];
    touch *touches; /* `few`, or a longer array */
    size_t touch_count, touch_capacity;
    struct weft_memory *next; /* in a list of free blocks */
};

struct wefti_memory_pool {
    /* immutable after create */
    weft_device *device;
    size_t cap_bytes; /* 0: none */

    /* guarded by lock */
    wefti_mutex lock;      /* WEFTI_RANK_POOL */
    wefti_condition freed; /* woken when `freeing_bytes` have become free */
    /* What is allocated or about to be, and what is still being freed: so that the
     * device never holds more than the cap, not even for a moment. */
    size_t held_bytes, peak_bytes;
    size_t freeing_bytes;
    weft_memory *free[CLASS_COUNT]; /* last released first */
};

static size_t class_bytes(int32_t class_index)
{
    return (size_t)(4 + class_index % 4) << (class_index / 4 + SMALLEST_CLASS_SHIFT);
}

/* -1: larger than any class. */
static int32_t class_of(size_t size_bytes)
{
    int32_t at = 0;
    while (at + 4 < CLASS_COUNT && class_bytes(at + 4) < size_bytes) {
        at += 4;
    }
    while (at < CLASS_COUNT && class_bytes(at) < size_bytes) {
        at++;
    }
    return at < CLASS_COUNT ? at : -1;
}

weft_status wefti_memory_pool_create(weft_device *device, size_t cap_bytes,
                                     wefti_memory_pool **pool, weft_error *error)
{
    *pool = NULL;
    wefti_memory_pool *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "the memory pool");
    }
    weft_status status =
        wefti_mutex_init(&made->lock, "memory", WEFTI_RANK_POOL, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    status = wefti_condition_init(&made->freed, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&made->lock);
        wefti_free(made);
        return status;
    }
    made->device = device;
    made->cap_bytes = cap_bytes;
    *pool = made;
    return WEFT_OK;
}

static void free_block(weft_memory *block)
{
    weft_device *device = block->device;
    device->backend->memory.free(device->cards[block->card], block->address,
                                 block->size_bytes);
    if (block->touches != block->few) {
        wefti_free(block->touches);
    }
    wefti_free(block);
}

void wefti_memory_pool_destroy(wefti_memory_pool *pool)
{
    if (!pool) {
        return;
    }
    for (int32_t c = 0; c < CLASS_COUNT; c++) {
        for (weft_memory *block = pool->free[c], *next; block; block = next) {
            next = block->next;
            free_block(block);
        }
    }
    wefti_condition_fini(&pool->freed);
    wefti_mutex_fini(&pool->lock);
    wefti_free(pool);
}

/* Whether `stream` may write the free block now; NULL: whether anybody may. Work of the
 * same stream is ordered behind the block's last use anyhow. */
static bool is_reusable_locked(const weft_memory *block, const weft_stream *stream)
{
    if (stream && stream->card != block->card) {
        return false;
    }
    if (wefti_sabotaged(WEFTI_SABOTAGE_FREE_WAIT)) {
        return true;
    }
    for (size_t i = 0; i < block->touch_count; i++) {
        const touch *at = &block->touches[i];
        if (at->stream != stream && !wefti_stream_has_passed(at->stream, at->point)) {
            return false;
        }
    }
    return true;
}

static weft_memory *take_free_locked(wefti_memory_pool *pool, int32_t class_index,
                                     const weft_stream *stream)
{
    weft_memory **link = &pool->free[class_index];
    while (*link && !is_reusable_locked(*link, stream)) {
        link = &(*link)->next;
    }
    weft_memory *block = *link;
    if (block) {
        *link = block->next;
    }
    return block;
}

static bool fits_locked(const wefti_memory_pool *pool, size_t size_bytes)
{
    return pool->cap_bytes == 0 || (pool->held_bytes <= pool->cap_bytes &&
                                    size_bytes <= pool->cap_bytes - pool->held_bytes);
}

static size_t reusable_bytes_locked(const wefti_memory_pool *pool)
{
    size_t bytes = 0;
    for (int32_t c = 0; c < CLASS_COUNT; c++) {
        for (const weft_memory *block = pool->free[c]; block; block = block->next) {
            bytes += is_reusable_locked(block, NULL) ? block->size_bytes : 0;
        }
    }
    return bytes;
}

/* Unlinks reusable blocks of at least `wanted_bytes` together (or all there are), the
 * large ones first; they still count as held. */
static weft_memory *evict_locked(wefti_memory_pool *pool, size_t wanted_bytes,
                                 size_t *evicted_bytes)
{
    weft_memory *evicted = NULL;
    *evicted_bytes = 0;
    for (int32_t c = CLASS_COUNT - 1; c >= 0 && *evicted_bytes < wanted_bytes;) {
        weft_memory *block = take_free_locked(pool, c, NULL);
        if (!block) {
            c--;
            continue;
        }
        block->next = evicted;
        evicted = block;
        *evicted_bytes += block->size_bytes;
    }
    pool->freeing_bytes += *evicted_bytes;
    return evicted;
}

static void free_evicted(wefti_memory_pool *pool, weft_memory *evicted,
                         size_t evicted_bytes)
{
    for (weft_memory *next; evicted; evicted = next) {
        next = evicted->next;
        free_block(evicted);
    }
    wefti_mutex_lock(&pool->lock);
    pool->held_bytes -= evicted_bytes;
    pool->freeing_bytes -= evicted_bytes;
    if (!wefti_sabotaged(WEFTI_SABOTAGE_ROOM_WAKE)) {
        wefti_condition_wake_all(&pool->freed);
    }
    wefti_mutex_unlock(&pool->lock);
}

typedef enum claim_result { CLAIM_DONE, CLAIM_AGAIN, CLAIM_FULL } claim_result;

/* Counts `size_bytes` if they fit. If not, makes room where cached blocks are enough
 * for it, or else waits where another thread is about to have made some; that takes
 * calls to the system's allocator, never work of the device. */
static claim_result try_claim(wefti_memory_pool *pool, size_t size_bytes)
{
    claim_result result = CLAIM_AGAIN;
    weft_memory *evicted = NULL;
    size_t evicted_bytes = 0;
    wefti_mutex_lock(&pool->lock);
    if (fits_locked(pool, size_bytes)) {
        pool->held_bytes += size_bytes;
        if (pool->held_bytes > pool->peak_bytes) {
            pool->peak_bytes = pool->held_bytes;
        }
        result = CLAIM_DONE;
    } else if (size_bytes > pool->cap_bytes) {
        result = CLAIM_FULL;
    } else {
        size_t missing = size_bytes - (pool->cap_bytes - pool->held_bytes);
        if (missing <= reusable_bytes_locked(pool)) {
            evicted = evict_locked(pool, missing, &evicted_bytes);
        } else if (pool->freeing_bytes > 0) {
            (void)wefti_condition_wait(&pool->freed, &pool->lock, WEFTI_NEVER);
        } else {
            result = CLAIM_FULL;
        }
    }
    wefti_mutex_unlock(&pool->lock);
    if (evicted) {
        free_evicted(pool, evicted, evicted_bytes);
    }
    return result;
}

static void unclaim(wefti_memory_pool *pool, size_t size_bytes)
{
    wefti_mutex_lock(&pool->lock);
    pool->held_bytes -= size_bytes;
    wefti_mutex_unlock(&pool->lock);
}

static weft_status claim_bytes(wefti_memory_pool *pool, size_t size_bytes,
                               weft_error *error)
{
    int tried = 0;
    claim_result result = try_claim(pool, size_bytes);
    while (result != CLAIM_DONE) {
        if (result == CLAIM_FULL && (tried == 2 || size_bytes > pool->cap_bytes)) {
            return wefti_error(error, WEFT_OUT_OF_MEMORY,
                               "%zu bytes do not fit under the memory cap of %s, %zu "
                               "bytes; release memory or raise memory_cap_bytes",
                               size_bytes, pool->device->name, pool->cap_bytes);
        }
        if (result == CLAIM_FULL && tried++ == 0) {
            wefti_stream_pool_refresh(pool->device->streams);
        } else if (result == CLAIM_FULL) {
            wefti_context_trim(pool->device); /* idle contexts keep workspaces */
        }
        result = try_claim(pool, size_bytes);
    }
    return WEFT_OK;
}

/* Allocates what was claimed; takes the claim back on failure. When the system has no
 * more, the cached blocks are given back and it is asked once again. */
static weft_status allocate_claimed(wefti_memory_pool *pool, int32_t card,
                                    size_t size_bytes, void **address,
                                    weft_error *error)
{
    wefti_backend_device *handle = pool->device->cards[card];
    const wefti_memory_table *table = &pool->device->backend->memory;
    weft_status status = table->allocate(handle, size_bytes, address, error);
    if (status == WEFT_OUT_OF_MEMORY) {
        wefti_memory_pool_trim(pool);
        status = table->allocate(handle, size_bytes, address, error);
    }
    if (status != WEFT_OK) {
        *address = NULL;
        unclaim(pool, size_bytes);
    }
    return status;
}

/* How a plain block of this size is counted. */
static size_t reserved_bytes(size_t size_bytes)
{
    return size_bytes == 0 ? ALIGNMENT
                           : (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

weft_status wefti_memory_reserve(wefti_memory_pool *pool, int32_t card,
                                 size_t size_bytes, void **address, weft_error *error)
{
    *address = NULL;
    if (size_bytes > PTRDIFF_MAX - ALIGNMENT) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "%zu bytes are more than any device has", size_bytes);
    }
    size_t counted = reserved_bytes(size_bytes);
    WEFTI_TRY(claim_bytes(pool, counted, error));
    return allocate_claimed(pool, card, counted, address, error);
}

void wefti_memory_unreserve(wefti_memory_pool *pool, int32_t card, void *address,
                            size_t size_bytes)
{
    size_t counted = reserved_bytes(size_bytes);
    weft_device *device = pool->device;
    device->backend->memory.free(device->cards[card], address, counted);
    unclaim(pool, counted);
}

void wefti_memory_pool_trim(wefti_memory_pool *pool)
{
    size_t evicted_bytes;
    wefti_stream_pool_refresh(pool->device->streams);
    wefti_mutex_lock(&pool->lock);
    weft_memory *evicted = evict_locked(pool, SIZE_MAX, &evicted_bytes);
    wefti_mutex_unlock(&pool->lock);
    free_evicted(pool, evicted, evicted_bytes);
}

void wefti_memory_get_statistics(wefti_memory_pool *pool, uint64_t *bytes,
                                 uint64_t *peak_bytes)
{
    wefti_mutex_lock(&pool->lock);
    *bytes = pool->held_bytes;
    *peak_bytes = pool->peak_bytes;
    wefti_mutex_unlock(&pool->lock);
}

static weft_status make_block(wefti_memory_pool *pool, int32_t card,
                              int32_t class_index, weft_memory **memory,
                              weft_error *error)
{
    size_t size_bytes = class_bytes(class_index);
    weft_memory *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a memory block");
    }
    weft_status status = claim_bytes(pool, size_bytes, error);
    if (status == WEFT_OK) {
        status = allocate_claimed(pool, card, size_bytes, &made->address, error);
    }
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    made->device = pool->device;
    made->size_bytes = size_bytes;
    made->class_index = class_index;
    made->card = card;
    made->touches = made->few;
    made->touch_capacity = FEW_TOUCHES;
    *memory = made;
    return WEFT_OK;
}

/* Looks with what is known of the streams first; asks the device only if that fails. */
static weft_memory *take_free(wefti_memory_pool *pool, int32_t class_index,
                              const weft_stream *stream)
{
    wefti_mutex_lock(&pool->lock);
    bool any = pool->free[class_index] != NULL;
    weft_memory *block = take_free_locked(pool, class_index, stream);
    wefti_mutex_unlock(&pool->lock);
    if (block || !any) {
        return block;
    }
    wefti_stream_pool_refresh(pool->device->streams);
    wefti_mutex_lock(&pool->lock);
    block = take_free_locked(pool, class_index, stream);
    wefti_mutex_unlock(&pool->lock);
    return block;
}

weft_status weft_memory_allocate(weft_stream *stream, size_t size_bytes,
                                 weft_memory **memory, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!stream || !memory) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_memory_allocate needs a %s; it is NULL",
                           stream ? "place for the memory" : "stream");
    }
    *memory = NULL;
    weft_device *device = stream->device;
    WEFTI_TRY(wefti_device_check_open(device, error));
    int32_t class_index = class_of(size_bytes);
    if (class_index < 0) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "%zu bytes are more than any device has", size_bytes);
    }
    weft_memory *block = take_free(device->memory, class_index, stream);
    if (!block) {
        WEFTI_TRY(make_block(device->memory, stream->card, class_index, &block, error));
    }
    block->touches[0] = (touch){.stream = stream};
    block->touch_count = 1;
    weft_device_retain(device);
    *memory = block;
    return WEFT_OK;
}

typedef enum touch_result { TOUCH_DONE, TOUCH_NO_ROOM } touch_result;

/* Adds the stream; if a longer array is given, moves there and leaves the old one in
 * its place to be freed. */
static touch_result add_touch(weft_memory *memory, weft_stream *stream, touch **longer,
                              size_t *capacity)
{
    wefti_memory_pool *pool = memory->device->memory;
    touch_result result = TOUCH_DONE;
    wefti_mutex_lock(&pool->lock);
    if (*longer && *capacity > memory->touch_capacity) {
        touch *before = memory->touches;
        for (size_t i = 0; i < memory->touch_count; i++) {
            (*longer)[i] = before[i];
        }
        memory->touches = *longer;
        memory->touch_capacity = *capacity;
        *longer = before == memory->few ? NULL : before;
    }
    bool known = false;
    for (size_t i = 0; i < memory->touch_count; i++) {
        known = known || memory->touches[i].stream == stream;
    }
    if (!known && memory->touch_count == memory->touch_capacity) {
        *capacity = 2 * memory->touch_capacity;
        result = TOUCH_NO_ROOM;
    } else if (!known) {
        memory->touches[memory->touch_count++] = (touch){.stream = stream};
    }
    wefti_mutex_unlock(&pool->lock);
    return result;
}

weft_status weft_memory_touch(weft_memory *memory, weft_stream *stream,
                              weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!memory || !stream) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the %s is NULL",
                           memory ? "stream" : "memory block");
    }
    if (memory->device != stream->device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the stream belongs to another device than the memory "
                           "block; use one of the block's device");
    }
    touch *longer = NULL;
    size_t capacity = 0;
    while (add_touch(memory, stream, &longer, &capacity) == TOUCH_NO_ROOM) {
        wefti_free(longer);
        longer = wefti_calloc(capacity, sizeof *longer);
        if (!longer) {
            return wefti_error_memory(error, "the streams that touch a memory block");
        }
    }
    wefti_free(longer);
    return WEFT_OK;
}

void weft_memory_release(weft_memory *memory)
{
    if (!memory || wefti_fork_happened()) {
        return;
    }
    weft_device *device = memory->device;
    wefti_memory_pool *pool = device->memory;
    /* The caller's last call on the block: nobody adds a touch any more. */
    for (size_t i = 0; i < memory->touch_count; i++) {
        memory->touches[i].point = wefti_stream_mark(memory->touches[i].stream);
    }
    wefti_mutex_lock(&pool->lock);
    memory->next = pool->free[memory->class_index];
    pool->free[memory->class_index] = memory;
    wefti_mutex_unlock(&pool->lock);
    weft_device_release(device);
}

void *weft_memory_data(const weft_memory *memory)
{
    return memory ? memory->address : NULL;
}

size_t weft_memory_size(const weft_memory *memory)
{
    return memory ? memory->size_bytes : 0;
}
