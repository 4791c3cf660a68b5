/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stream.h"

#include "base/clock.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/thread.h"
#include "runtime/event.h"

/* Who may submit. `in_use` is claimed by the caller's submissions (ENTERED) and, from
 * any thread, by the recording of a wanted point (MARKING). Two callers at the same
 * time are the mistake that WEFT_BUSY reports; a caller that meets MARKING waits for
 * it, which takes one call of the backend that never blocks.
 *
 * A wanted point is never forgotten: who wants it raises `wanted`, then tries to enter;
 * who is inside leaves, then reads `wanted`. All four are sequentially consistent, so
 * if the first cannot enter, the second sees the wish. */
enum { STREAM_IDLE, STREAM_ENTERED, STREAM_MARKING };

/* Those of one card that were given back. */
typedef struct free_list {
    weft_stream *first, *last;
    size_t count;
} free_list;

struct wefti_stream_pool {
    /* immutable after create */
    weft_device *device;

    /* atomic: who makes a stream -> who refreshes all. A list that only grows, linked
     * by next_made. */
    wefti_atomic_ptr made;

    /* guarded by lock */
    wefti_mutex lock; /* WEFTI_RANK_POOL */
    free_list free[WEFTI_MOST_CARDS];
};

weft_status wefti_stream_pool_create(weft_device *device, wefti_stream_pool **pool,
                                     weft_error *error)
{
    *pool = NULL;
    wefti_stream_pool *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "the pool of streams");
    }
    weft_status status =
        wefti_mutex_init(&made->lock, "streams", WEFTI_RANK_POOL, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    made->device = device;
    *pool = made;
    return WEFT_OK;
}

static void destroy_stream(weft_stream *stream)
{
    const wefti_backend *backend = stream->device->backend;
    backend->stream.destroy(stream->handle);
    if (stream->timeline) {
        backend->event.release(stream->timeline);
    }
    wefti_free(stream);
}

/* Returns a stream that is held by a wait for ever, or NULL: all are idle. Two passes
 * with nothing ended in between: at a moment between them every stream was idle or held
 * by an event that had not come, and only the work of another could have raised it. */
static weft_stream *settle_all(wefti_stream_pool *pool)
{
    const wefti_stream_table *table = &pool->device->backend->stream;
    weft_stream *first = wefti_atomic_ptr_load_acquire(&pool->made);
    uint64_t ended_before = UINT64_MAX;
    for (;;) {
        weft_stream *held = NULL;
        uint64_t ended_now = 0;
        for (weft_stream *stream = first; stream; stream = stream->next_made) {
            uint64_t ended;
            held = table->settle(stream->handle, &ended) ? stream : held;
            ended_now += ended;
        }
        if (!held || ended_now == ended_before ||
            wefti_sabotaged(WEFTI_SABOTAGE_SETTLE_TWICE)) {
            return held;
        }
        ended_before = ended_now;
    }
}

void wefti_stream_pool_finish(wefti_stream_pool *pool)
{
    const wefti_stream_table *table = &pool->device->backend->stream;
    if (table->settle) {
        for (weft_stream *held; (held = settle_all(pool)) != NULL;) {
            table->abandon(held->handle);
        }
    }
    weft_stream *stream = wefti_atomic_ptr_load_acquire(&pool->made);
    for (; stream; stream = stream->next_made) {
        (void)table->synchronize(stream->handle, WEFTI_NEVER, NULL);
    }
}

void wefti_stream_pool_destroy(wefti_stream_pool *pool)
{
    if (!pool) {
        return;
    }
    weft_stream *stream = wefti_atomic_ptr_load_acquire(&pool->made);
    for (weft_stream *next; stream; stream = next) {
        next = stream->next_made;
        destroy_stream(stream);
    }
    wefti_mutex_fini(&pool->lock);
    wefti_free(pool);
}

static weft_status make_stream(wefti_stream_pool *pool, int32_t card,
                               weft_stream **stream, weft_error *error)
{
    weft_device *device = pool->device;
    wefti_backend_device *handle = device->cards[card];
    const wefti_backend *backend = device->backend;
    weft_stream *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a stream");
    }
    made->device = device;
    made->card = card;
    weft_status status = backend->stream.create(handle, &made->handle, error);
    if (status == WEFT_OK) {
        status = backend->event.create(handle, false, &made->timeline, error);
    }
    if (status != WEFT_OK) {
        destroy_stream(made);
        return status;
    }
    void *head = wefti_atomic_ptr_load_acquire(&pool->made);
    do {
        made->next_made = head;
    } while (!wefti_atomic_ptr_cas_acq_rel(&pool->made, &head, made));
    *stream = made;
    return WEFT_OK;
}

static void push_free(wefti_stream_pool *pool, weft_stream *stream)
{
    free_list *list = &pool->free[stream->card];
    wefti_mutex_lock(&pool->lock);
    stream->next_free = NULL;
    *(list->last ? &list->last->next_free : &list->first) = stream;
    list->last = stream;
    list->count++;
    wefti_mutex_unlock(&pool->lock);
}

static weft_stream *pop_free(wefti_stream_pool *pool, int32_t card)
{
    free_list *list = &pool->free[card];
    wefti_mutex_lock(&pool->lock);
    weft_stream *stream = list->first;
    if (stream) {
        list->first = stream->next_free;
        list->count--;
        if (!list->first) {
            list->last = NULL;
        }
    }
    wefti_mutex_unlock(&pool->lock);
    return stream;
}

weft_status wefti_stream_take(wefti_stream_pool *pool, int32_t card,
                              weft_stream **stream, weft_error *error)
{
    const wefti_backend *backend = pool->device->backend;
    *stream = NULL;
    wefti_mutex_lock(&pool->lock);
    size_t tries = pool->free[card].count;
    wefti_mutex_unlock(&pool->lock);
    for (; tries > 0; tries--) {
        weft_stream *found = pop_free(pool, card);
        if (!found) {
            break;
        }
        weft_status status =
            backend->stream.synchronize(found->handle, WEFTI_PAST, NULL);
        if (status != WEFT_TIMEOUT) {
            *stream = found;
            return WEFT_OK;
        }
        push_free(pool, found);
    }
    return make_stream(pool, card, stream, error);
}

void wefti_stream_give_back(weft_stream *stream)
{
    push_free(stream->device->streams, stream);
}

weft_status wefti_stream_enter(weft_stream *stream, weft_error *error)
{
    enum { SPINS_BEFORE_YIELD = 64 };
    for (uint32_t spins = 1;; spins++) {
        uint32_t found = STREAM_IDLE;
        if (WEFTI_LIKELY(wefti_atomic_u32_cas_seq_cst(&stream->in_use, &found,
                                                      STREAM_ENTERED))) {
            return WEFT_OK;
        }
        if (found == STREAM_ENTERED) {
            return wefti_error(error, WEFT_BUSY,
                               "another thread is submitting to this stream; use one "
                               "stream per thread, or take turns");
        }
        if (spins % SPINS_BEFORE_YIELD == 0) {
            wefti_thread_yield();
        }
        wefti_pause();
    }
}

/* Records the latest wanted point, if nobody else is inside to do it. */
static WEFTI_NOINLINE void record_wanted(weft_stream *stream)
{
    const wefti_backend *backend = stream->device->backend;
    weft_status status = WEFT_OK;
    while (status == WEFT_OK && wefti_atomic_u64_load_seq_cst(&stream->wanted) >
                                    wefti_atomic_u64_load_acquire(&stream->recorded)) {
        uint32_t found = STREAM_IDLE;
        if (!wefti_atomic_u32_cas_seq_cst(&stream->in_use, &found, STREAM_MARKING)) {
            return;
        }
        uint64_t point = wefti_atomic_u64_load_seq_cst(&stream->wanted);
        if (point > wefti_atomic_u64_load_acquire(&stream->recorded)) {
            status =
                backend->stream.record(stream->handle, stream->timeline, point, NULL);
        }
        if (status == WEFT_OK) {
            wefti_atomic_u64_store_release(&stream->recorded, point);
        }
        wefti_atomic_u32_store_seq_cst(&stream->in_use, STREAM_IDLE);
    }
}

static bool wants_point(const weft_stream *stream)
{
    return wefti_atomic_u64_load_seq_cst(&stream->wanted) >
           wefti_atomic_u64_load_acquire(&stream->recorded);
}

void wefti_stream_leave(weft_stream *stream)
{
    wefti_atomic_u32_store_seq_cst(&stream->in_use, STREAM_IDLE);
    if (WEFTI_UNLIKELY(wants_point(stream)) &&
        !wefti_sabotaged(WEFTI_SABOTAGE_POINT_WISH)) {
        record_wanted(stream);
    }
}

uint64_t wefti_stream_mark(weft_stream *stream)
{
    uint64_t point = wefti_atomic_u64_add_seq_cst(&stream->wanted, 1) + 1;
    record_wanted(stream);
    return point;
}

void wefti_stream_refresh(weft_stream *stream)
{
    if (wants_point(stream)) {
        record_wanted(stream);
    }
    uint64_t reached = stream->device->backend->event.query(stream->timeline);
    uint64_t known = wefti_atomic_u64_load_acquire(&stream->passed);
    while (known < reached &&
           !wefti_atomic_u64_cas_acq_rel(&stream->passed, &known, reached)) {
    }
}

void wefti_stream_pool_refresh(wefti_stream_pool *pool)
{
    weft_stream *stream = wefti_atomic_ptr_load_acquire(&pool->made);
    for (; stream; stream = stream->next_made) {
        wefti_stream_refresh(stream);
    }
}

weft_status weft_stream_acquire(weft_device *device, weft_stream **stream,
                                weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!device || !stream) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_stream_acquire needs a %s; it is NULL",
                           device ? "place for the stream" : "device");
    }
    *stream = NULL;
    WEFTI_TRY(wefti_device_check_open(device, error));
    WEFTI_TRY(wefti_stream_take(device->streams, 0, stream, error));
    weft_device_retain(device);
    return WEFT_OK;
}

void weft_stream_release(weft_stream *stream)
{
    if (!stream || wefti_fork_happened()) {
        return;
    }
    weft_device *device = stream->device;
    wefti_stream_give_back(stream);
    weft_device_release(device);
}

/* What every submission of a caller begins with; wefti_stream_leave ends it. */
static weft_status begin(weft_stream *stream, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!stream) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the stream is NULL");
    }
    WEFTI_TRY(wefti_device_check_open(stream->device, error));
    return wefti_stream_enter(stream, error);
}

static weft_status check_event(const weft_stream *stream, const weft_event *event,
                               weft_error *error)
{
    if (!stream || !event) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the %s is NULL",
                           stream ? "event" : "stream");
    }
    if (event->device != stream->device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the event belongs to another device than the stream; "
                           "create it on the stream's");
    }
    return WEFT_OK;
}

weft_status weft_stream_record(weft_stream *stream, weft_event *event, uint64_t value,
                               weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(check_event(stream, event, error));
    WEFTI_TRY(begin(stream, error));
    uint64_t before = 0;
    weft_status status = wefti_event_claim_value(event, value, &before, error);
    if (status == WEFT_OK) {
        status = stream->device->backend->stream.record(stream->handle, event->handle,
                                                        value, error);
        if (status != WEFT_OK) {
            wefti_event_unclaim_value(event, value, before);
        }
    }
    wefti_stream_leave(stream);
    return status;
}

weft_status weft_stream_wait(weft_stream *stream, weft_event *event, uint64_t value,
                             weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(check_event(stream, event, error));
    WEFTI_TRY(begin(stream, error));
    weft_status status = stream->device->backend->stream.wait(
        stream->handle, event->handle, value, error);
    wefti_stream_leave(stream);
    return status;
}

/* True when two ranges of the same size share a byte. */
static bool overlap(const void *a, const void *b, size_t size_bytes)
{
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return (x < y ? y - x : x - y) < size_bytes;
}

weft_status weft_stream_copy(weft_stream *stream, void *target, const void *source,
                             size_t size_bytes, weft_error *error)
{
    WEFTI_TRY(begin(stream, error));
    weft_status status = WEFT_OK;
    if (size_bytes > 0 && (!target || !source)) {
        status = wefti_error(error, WEFT_INVALID_ARGUMENT, "the %s of the copy is NULL",
                             target ? "source" : "target");
    } else if (overlap(target, source, size_bytes)) {
        status = wefti_error(error, WEFT_INVALID_ARGUMENT,
                             "the source and the target of the copy overlap; copy "
                             "through another block");
    } else if (size_bytes > 0) {
        status = stream->device->backend->stream.copy(stream->handle, target, source,
                                                      size_bytes, error);
    }
    wefti_stream_leave(stream);
    return status;
}

weft_status weft_stream_fill(weft_stream *stream, void *target, uint8_t value,
                             size_t size_bytes, weft_error *error)
{
    WEFTI_TRY(begin(stream, error));
    weft_status status = WEFT_OK;
    if (size_bytes > 0 && !target) {
        status =
            wefti_error(error, WEFT_INVALID_ARGUMENT, "the target of the fill is NULL");
    } else if (size_bytes > 0) {
        status = stream->device->backend->stream.fill(stream->handle, target, value,
                                                      size_bytes, error);
    }
    wefti_stream_leave(stream);
    return status;
}

weft_status weft_stream_call(weft_stream *stream, void (*function)(void *user),
                             void *user, weft_error *error)
{
    WEFTI_TRY(begin(stream, error));
    weft_status status;
    if (function) {
        status =
            stream->device->backend->stream.call(stream->handle, function, user, error);
    } else {
        status =
            wefti_error(error, WEFT_INVALID_ARGUMENT, "the function to call is NULL");
    }
    wefti_stream_leave(stream);
    return status;
}

weft_status weft_stream_synchronize(weft_stream *stream, int64_t timeout_ns,
                                    weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!stream) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the stream is NULL");
    }
    return stream->device->backend->stream.synchronize(
        stream->handle, wefti_deadline(timeout_ns), error);
}
