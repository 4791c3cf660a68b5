/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_REQUEST_H
#define WEFTI_RUNTIME_REQUEST_H

#include <weft/request.h>

#include "base/sorted.h"
#include "base/thread.h"
#include "runtime/device.h"
#include "runtime/results.h"

/* The life of an asynchronous request, whatever it runs:
 *     pending -> running -> ended                       a worker took it
 *     pending -> ending -> ended                        cancelled, timed out, drained
 * and of a batch queue's, which leaves its caller's tensors alone while it runs:
 *     pending -> loading -> running -> storing -> ended
 *                loading -> storing                     on its caller's own tensors: a
 *                                                       lone one runs then, a joined
 *                                                       one has run in `loading`
 *                loading -> pending                     given back: it did not fit
 *                loading -> dropped -> ending           cancelled while being loaded
 *                           running -> ending           cancelled while running
 * Whoever moves it on, by one compare-and-swap, goes on with it, alone. */
typedef enum wefti_request_state {
    WEFTI_REQUEST_PENDING,
    WEFTI_REQUEST_LOADING,
    WEFTI_REQUEST_DROPPED,
    WEFTI_REQUEST_RUNNING,
    WEFTI_REQUEST_STORING,
    WEFTI_REQUEST_ENDING,
    WEFTI_REQUEST_ENDED, /* the status stands above the state's low byte */
} wefti_request_state;

/* What differs between the requests of a device and those of a queue. */
typedef struct wefti_request_kind {
    /* weft_request_cancel. */
    bool (*cancel)(weft_request *request);
    /* A thread is about to sleep until the end: may look for it a little longer,
     * letting others run, or run the request, if the wait has time. Called without
     * locks. NULL: it sleeps at once. */
    void (*linger)(weft_request *request, bool has_time);
    /* The end can be seen; called before the callback. NULL: nothing to do. */
    void (*ended)(weft_request *request);
    /* weft_request_get_output, of one that has ended well. NULL: there are none. */
    bool (*output)(const weft_request *request, size_t index, weft_tensor *output);
    /* The last owner has gone. */
    void (*destroy)(weft_request *request);
} wefti_request_kind;

/* What a request runs: called once on a worker, unless it ended before it started. */
typedef weft_status (*wefti_request_body)(void *user, weft_error *error);

typedef struct wefti_request_work {
    wefti_request_body body;
    void *user;
    /* Called once when the request no longer needs `user`, however it ended, before
     * the end can be seen: who has waited finds nothing left behind. */
    void (*release)(void *user);
    /* Where the run leaves its outputs; the request's, also when submitting fails.
     * NULL: nobody will ask. */
    wefti_results *results;
} wefti_request_work;

struct weft_request {
    /* immutable after submit */
    const wefti_request_kind *kind;
    weft_device *device; /* borrowed: it stays until the request has left its queue */
    uint32_t shard;
    int fd; /* -1: none */
    weft_request_callback callback;
    void *callback_user;
    int64_t start_deadline_ns;
    weft_profiler *profiler; /* owned, as who waits may outlive the device; or NULL */
    int64_t submitted_ns;    /* if that is recorded */

    /* atomic: any thread -> any thread */
    wefti_refcount owners;
    wefti_atomic_u32 state;
    wefti_atomic_u32 waiters; /* threads that sleep, or are about to, until the end */

    /* one thread at a time: who moved it out of `pending`; then immutable */
    wefti_request_work work;
    weft_error error; /* of the body */

    /* guarded by lock */
    wefti_mutex lock;      /* WEFTI_RANK_REQUEST */
    wefti_condition ended; /* woken by the end, for all `waiters` */

    /* guarded by the executor's lock */
    struct wefti_request_list *list; /* the one it is in */
    struct weft_request *previous, *next;
    wefti_thread runner;    /* the thread that runs or ends it */
    bool tears_device_down; /* that thread dropped the device's last owner */

    /* guarded by the lock of the timer's owner */
    bool timed;
    wefti_sorted_node by_time;
};

/* Accepts the work and posts it to the device's workers. On failure nothing was
 * accepted, and `release` has been called. */
weft_status wefti_request_submit(weft_device *device, const wefti_request_work *work,
                                 const weft_submit_params *params,
                                 weft_request **request, weft_error *error);

/* For other kinds of requests. Makes locks and conditions in zeroed memory; _fini frees
 * them and closes the descriptor. */
weft_status wefti_request_init(weft_request *request, weft_error *error);
void wefti_request_fini(weft_request *request);

/* Makes it a new request with one owner, no callback, descriptor or deadline. */
void wefti_request_reset(weft_request *request, const wefti_request_kind *kind,
                         weft_device *device);
weft_status wefti_request_open_fd(weft_request *request, weft_error *error);
void wefti_request_close_fd(weft_request *request);

/* Makes the end visible and tells everybody, in this order: the device's counts, those
 * who wait or test, the file descriptor, the callback. */
void wefti_request_announce(weft_request *request, weft_status status);

/* Two parts of it, all that there is for a request with neither descriptor nor
 * callback once the device has counted its end: the end can be seen, and who sleeps is
 * woken. The caller owns the request. Waking waits for a thread that is about to fall
 * asleep. */
void wefti_request_mark_ended(weft_request *request, weft_status status);
void wefti_request_wake(weft_request *request);

/* For the executor. Moves the request out of `pending`; false: another did. */
bool wefti_request_claim(weft_request *request, wefti_request_state state);

/* Runs a request that this thread has claimed and taken out of the queue to its end.
 * True: this thread now has to call wefti_device_teardown. */
bool wefti_request_run(weft_request *request);

/* The same without running it: it ends with `status` and, if there are any, the words
 * in request->error. */
bool wefti_request_finish(weft_request *request, weft_status status);

#endif
