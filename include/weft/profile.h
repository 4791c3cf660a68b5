/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_PROFILE_H
#define WEFT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>

WEFT_BEGIN_DECLS

/* Records what a device does and when: give it to weft_device_open, run, then read the
 * events. Without one, a run pays a few predictable branches; with one, a few tens of
 * nanoseconds for each event and no lock. Answers keep their bits.
 * Class: synchronised; who records and who reads may be any threads at once. */
typedef struct weft_profiler weft_profiler;

typedef struct weft_profiler_params {
    size_t struct_size;
    /* Events kept, at most 2^26; 0: 262,144. Later ones are only counted. Each takes
     * 192 bytes, in memory that the system gives when it is first written. */
    size_t max_events;
    bool paused; /* records nothing until weft_profiler_resume */
} weft_profiler_params;

#define WEFT_PROFILER_PARAMS_INIT                                                      \
    {                                                                                  \
        .struct_size = sizeof(weft_profiler_params)                                    \
    }

typedef enum weft_profile_kind {
    /* A call of weft_run, weft_context_run or one of weft_submit, from its begin on the
     * thread that runs it to its answer. */
    WEFT_PROFILE_REQUEST = 1,
    /* A context from its lease until it is given back: counts[0] is its number, the
     * thread is who gave it back. Those of one context never overlap, also where
     * several callers share it. */
    WEFT_PROFILE_LEASE = 2,
    WEFT_PROFILE_PLAN = 3,  /* until the plan was there, where it was not at once */
    WEFT_PROFILE_BUILD = 4, /* building a plan */
    /* The plan on the device, the wait for it included: counts[0] is the number of the
     * context. */
    WEFT_PROFILE_EXECUTE = 5,
    WEFT_PROFILE_STEP = 6,  /* a kernel; on the CPU only: see WEFT_PROFILE_CARD */
    WEFT_PROFILE_TILES = 7, /* a helper's part of a step: counts[0] tiles */
    /* A request of a queue from submission until its batch began: counts[0] rows; one
     * of weft_submit until a worker began it: 0 rows. The thread is who runs it. These
     * may overlap. */
    WEFT_PROFILE_QUEUED = 8,
    WEFT_PROFILE_BATCH = 9, /* counts: requests, rows */
    /* The thread waited, a microsecond at least unless in vain, for what `name` says: a
     * context; a plan that another thread builds; its turn in a shared context; helpers
     * at the end of a step; a device that is not the CPU; the answer of a request
     * (weft_request_wait: what the thread runs itself meanwhile lies inside); room in a
     * queue. */
    WEFT_PROFILE_WAIT = 10,
    /* A run's kernels on a card, from when they were handed to it until the end of the
     * last, by the card's clock, which may be off from the host's by microseconds:
     * counts[0] is the number of the stream, counts[1] that of the card, the name the
     * card's. With a profiler a run on a card pays for two events of the card's. */
    WEFT_PROFILE_CARD = 11,
} weft_profile_kind;

typedef struct weft_profile_event {
    weft_profile_kind kind;
    weft_status status;       /* how it ended */
    int64_t begin_ns, end_ns; /* of the monotonic clock */
    uint64_t thread;          /* equal for equal threads; may be used again */
    int64_t counts[2];
    double flops;    /* of a step */
    char name[64];   /* the operator of a step */
    char detail[64]; /* the kernel and its sizes */
} weft_profile_event;

/* Creates a profiler.
 * Threads: any. Owns: the caller owns *profiler; devices own theirs too.
 * Errors: WEFT_INVALID_ARGUMENT, WEFT_OUT_OF_MEMORY. */
WEFT_API WEFT_MUST_USE weft_status weft_profiler_create(
    const weft_profiler_params *params, weft_profiler **profiler, weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_profiler *weft_profiler_retain(weft_profiler *profiler);

/* Drops an owner; the last one frees. NULL is allowed.
 * Threads: any. */
WEFT_API void weft_profiler_release(weft_profiler *profiler);

/* Stops and starts recording; what is under way then may be recorded or not.
 * Threads: any. Blocks: never. */
WEFT_API void weft_profiler_pause(weft_profiler *profiler);
WEFT_API void weft_profiler_resume(weft_profiler *profiler); /* Threads: any. */

/* Returns how many events are kept. Grows while work goes on.
 * Threads: any. */
WEFT_API size_t weft_profiler_event_count(const weft_profiler *profiler);

/* Returns how many events came when there was no more room.
 * Threads: any. */
WEFT_API uint64_t weft_profiler_dropped_count(const weft_profiler *profiler);

/* Copies an event by index, in the order of their ends. False past the last, and for
 * one that is being written right now.
 * Threads: any. */
WEFT_API bool weft_profiler_get_event(const weft_profiler *profiler, size_t index,
                                      weft_profile_event *event);

WEFT_END_DECLS

#endif
