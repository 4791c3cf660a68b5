/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_DEVICE_H
#define WEFTI_RUNTIME_DEVICE_H

#include <weft/device.h>

#include "backend/backend.h"
#include "base/atomic.h"
#include "base/lock.h"
#include "base/refcount.h"

typedef struct wefti_lease_pool wefti_lease_pool;
typedef struct wefti_stream_pool wefti_stream_pool;
typedef struct wefti_memory_pool wefti_memory_pool;
typedef struct wefti_executor wefti_executor;

/* How a piece of accepted work ended. */
typedef enum wefti_outcome {
    WEFTI_OUTCOME_DONE,
    WEFTI_OUTCOME_FAILED,
    WEFTI_OUTCOME_CANCELLED,
    WEFTI_OUTCOME_TIMED_OUT,
    WEFTI_OUTCOME_COUNT,
} wefti_outcome;

enum { WEFTI_DEVICE_SHARDS = 16 };

/* What accepts work on a device besides its own queue of requests, so that draining the
 * device cancels what waits there too. */
typedef struct wefti_device_source {
    /* Cancels what has not started. Called without locks, by any thread; only between
     * wefti_device_add_source and the return of wefti_device_remove_source. True: a
     * callback dropped the last owner, and `teardown` is called, from outside. */
    bool (*cancel_waiting)(struct wefti_device_source *source);
    void (*teardown)(struct wefti_device_source *source);
    struct wefti_device_source *next; /* guarded by device->lock */
    uint32_t users;                   /* threads inside; guarded by device->lock */
    uint64_t drain; /* the last that came by; guarded by device->lock */
} wefti_device_source;

/* Counters of work, one set per shard so that callers on different cores do not share
 * a cache line. In flight = accepted - the ends, summed over shards. */
typedef struct wefti_device_shard {
    /* atomic: who runs -> statistics, drain */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 accepted;
    wefti_atomic_u64 ended[WEFTI_OUTCOME_COUNT];
} wefti_device_shard;
_Static_assert(sizeof(wefti_device_shard) == WEFTI_CACHE_LINE,
               "shards must not share a line");

struct weft_device {
    /* immutable after create */
    const wefti_backend *backend;
    /* info.card_count of them, the rest NULL. Streams, workspaces, weights and recipes
     * are made for each and used there only (cards.h). */
    wefti_backend_device *cards[WEFTI_MOST_CARDS];
    wefti_log log;
    weft_profiler *profiler; /* owned; NULL: nothing is recorded */
    weft_device_info info;
    char name[64];
    char description[256]; /* of several cards */
    wefti_lease_pool *contexts;
    /* Entry i, a weft_context, is made by who leases slot i; any thread may look. */
    wefti_atomic_ptr *context_table;
    wefti_stream_pool *streams;
    wefti_memory_pool *memory;
    wefti_executor *requests;

    /* atomic: close, drain -> who begins and ends work; mostly read */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 closed;
    wefti_atomic_u32 drainers; /* waiting in drain */

    /* atomic: any thread -> any thread */
    WEFTI_CACHE_ALIGNED wefti_refcount owners;
    wefti_atomic_u64 plan_count, plan_evict_count, plan_bytes;

    /* guarded by lock: the sleep of drainers, and the list of sources */
    wefti_mutex lock;     /* WEFTI_RANK_DEVICE */
    wefti_condition idle; /* woken by the end of work while `drainers` is not 0, and
                             when nobody is inside a source any more */
    wefti_device_source *sources;
    uint64_t drain_count;

    /* the sleep of those who wait for a turn in a shared context (share.h) */
    wefti_mutex turn_lock; /* WEFTI_RANK_TURNS */
    wefti_condition turn_over;

    wefti_device_shard shards[WEFTI_DEVICE_SHARDS];
};

/* WEFT_OK, or WEFT_DEVICE_LOST with the reason when one of the cards has failed for
 * good. Threads: any. */
weft_status wefti_device_health(const weft_device *device, weft_error *error);

/* Accepts one piece of work: WEFT_CLOSED after close, WEFT_FORKED, WEFT_DEVICE_LOST
 * are not counted. On success exactly one end follows, alone, among several or as
 * wefti_device_unbegin, with the same shard; the caller keeps the device alive until
 * that has returned. Lock-free. Threads: any. */
weft_status wefti_device_begin(weft_device *device, uint32_t *shard, weft_error *error);
void wefti_device_end(weft_device *device, uint32_t shard, wefti_outcome outcome);

/* The same for so many pieces that ended alike, all with the same shard. */
void wefti_device_end_several(weft_device *device, uint32_t shard,
                              wefti_outcome outcome, uint64_t count);

/* Takes back a begin whose work could not be handed on: it was never accepted. */
void wefti_device_unbegin(weft_device *device, uint32_t shard);

/* A source keeps the device alive as long as it is there. Removing waits for those who
 * are inside its cancel_waiting, so it is not called from there. */
void wefti_device_add_source(weft_device *device, wefti_device_source *source);
void wefti_device_remove_source(weft_device *device, wefti_device_source *source);

/* How work that ended with this status is counted. */
wefti_outcome wefti_outcome_of(weft_status status);

/* WEFT_CLOSED with its words after weft_device_close, else WEFT_OK. */
weft_status wefti_device_check_open(const weft_device *device, weft_error *error);

/* Ends the device after its last owner went from inside a request's body or callback:
 * called by the thread that was inside, once it has left. What has not started is
 * cancelled. Threads: any, also a worker and the timer of the device. */
void wefti_device_teardown(weft_device *device);

/* A deadline that has passed: look, do not wait. */
#define WEFTI_PAST ((int64_t)0)

#endif
