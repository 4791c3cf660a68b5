/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_TIMER_H
#define WEFTI_RUNTIME_TIMER_H

#include "base/sorted.h"
#include "base/thread.h"
#include "runtime/request.h"

/* Ends requests whose time to start is over: those of a device's executor, or of a
 * batch queue. It works under its owner's lock; its thread is there from the first
 * request with a deadline on. */

typedef struct wefti_timer wefti_timer;

/* What its owner does for it. */
typedef struct wefti_timer_owner {
    const char *thread_name;
    /* The time of a request is over, the timer has forgotten it. `claimed`: its state
     * is `ending` and the timer's thread ends it; else another thread does so. Called
     * under the owner's lock. */
    void (*due_locked)(wefti_timer *timer, weft_request *request, bool claimed);
    /* Ends a claimed request with WEFT_TIMEOUT, without the lock. True: the owner has
     * gone, and the timer's thread was detached. */
    bool (*end)(wefti_timer *timer, weft_request *request);
} wefti_timer_owner;

typedef enum wefti_timer_state {
    WEFTI_TIMER_NONE,
    WEFTI_TIMER_STARTING,
    WEFTI_TIMER_RUNS,
} wefti_timer_state;

struct wefti_timer {
    /* immutable after init */
    const wefti_timer_owner *owner;
    wefti_mutex *lock; /* the owner's */
    wefti_thread thread;

    /* guarded by lock */
    wefti_condition due; /* woken by a nearer deadline, stop; and for who waits for the
                            thread to have started */
    wefti_timer_state state;
    bool stops;
    wefti_sorted requests; /* weft_request.by_time */
    uint64_t next_number;
};

weft_status wefti_timer_init(wefti_timer *timer, const wefti_timer_owner *owner,
                             wefti_mutex *lock, weft_error *error);
/* It has stopped. */
void wefti_timer_fini(wefti_timer *timer);

/* Starts the thread unless it runs.
 * Threads: any, without the lock. */
weft_status wefti_timer_ensure(wefti_timer *timer, weft_error *error);

/* Joins the thread, if there is one; if it is the calling one it is detached. There are
 * no requests any more. */
void wefti_timer_stop(wefti_timer *timer);

/* Remembers a request with a deadline; forgets one, if it is remembered. Both under the
 * owner's lock. */
void wefti_timer_add_locked(wefti_timer *timer, weft_request *request);
void wefti_timer_remove_locked(wefti_timer *timer, weft_request *request);

#endif
