/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_STREAM_H
#define WEFTI_RUNTIME_STREAM_H

#include <weft/stream.h>

#include "runtime/device.h"

/* A pooled stream with a timeline: an event that the stream raises whenever a point of
 * its work has to be remembered (memory releases). Lives as long as the device. */
struct weft_stream {
    /* immutable after create */
    weft_device *device; /* borrowed: the pool belongs to it */
    int32_t card;
    wefti_backend_stream *handle;
    wefti_backend_event *timeline;
    struct weft_stream *next_made;

    /* atomic: the submitting thread -> whoever tries at the same time */
    wefti_atomic_u32 in_use;

    /* atomic: who wants a point -> who leaves the stream */
    wefti_atomic_u64 wanted;
    /* atomic: who is inside (in_use) -> who wants a point */
    wefti_atomic_u64 recorded;
    /* atomic: who has asked the timeline -> allocations */
    wefti_atomic_u64 passed;

    /* guarded by the pool's lock */
    struct weft_stream *next_free;
};

weft_status wefti_stream_pool_create(weft_device *device, wefti_stream_pool **pool,
                                     weft_error *error);
/* Waits until all work has ended, also that of streams that were given back. Nobody
 * submits or signals any more: a stream that waits for an event that no other stream
 * will raise gives up (weft_device_release). */
void wefti_stream_pool_finish(wefti_stream_pool *pool);
/* All streams were given back and are idle. NULL is allowed. */
void wefti_stream_pool_destroy(wefti_stream_pool *pool);

/* Takes an idle stream of a card, without any error of its last user; makes one if need
 * be. The public calls add an owner of the device, these do not. */
weft_status wefti_stream_take(wefti_stream_pool *pool, int32_t card,
                              weft_stream **stream, weft_error *error);
/* Its work may still be pending: the stream waits in the pool until it is idle. */
void wefti_stream_give_back(weft_stream *stream);

/* Claims the stream for one submission: WEFT_BUSY when another thread is submitting. */
weft_status wefti_stream_enter(weft_stream *stream, weft_error *error);
void wefti_stream_leave(weft_stream *stream);

/* Has a point recorded behind all that is submitted now, and returns its value. When
 * another thread is inside, that one records it as it leaves. Never blocks, cannot
 * fail; the device may refuse to record it yet, then it is tried again by each leave
 * and refresh. Threads: any. */
uint64_t wefti_stream_mark(weft_stream *stream);

/* Asks the device how far the stream has come. Threads: any. */
void wefti_stream_refresh(weft_stream *stream);

/* Whether work up to the point has ended, as far as was asked. Never a device call. */
WEFTI_INLINE bool wefti_stream_has_passed(const weft_stream *stream, uint64_t point)
{
    return wefti_atomic_u64_load_acquire(&stream->passed) >= point;
}

/* Refreshes all streams of the pool. */
void wefti_stream_pool_refresh(wefti_stream_pool *pool);

#endif
