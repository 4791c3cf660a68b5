/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_STREAM_H
#define WEFTI_RUNTIME_STREAM_H

#include <weft/stream.h>

#include "runtime/device.h"

/* A pooled stream with a timeline: an event that the stream raises by one whenever a
 * point of it has to be remembered (memory releases). */
struct weft_stream {
    /* immutable after create */
    weft_device *device; /* borrowed: the pool belongs to it */
    wefti_backend_stream *handle;
    wefti_backend_event *timeline;

    /* atomic: the submitting thread -> whoever tries at the same time */
    wefti_atomic_u32 in_use;

    /* one thread at a time (in_use) */
    uint64_t timeline_value; /* last value recorded */

    /* guarded by the pool's lock */
    struct weft_stream *next_free;
};

weft_status wefti_stream_pool_create(weft_device *device, wefti_stream_pool **pool,
                                     weft_error *error);
/* All streams were given back. NULL is allowed. */
void wefti_stream_pool_destroy(wefti_stream_pool *pool);

#endif
