/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_REQUEST_H
#define WEFT_REQUEST_H

#include <weft/context.h>

WEFT_BEGIN_DECLS

/* One submitted call. It ends exactly once: done, failed, cancelled or timed out.
 * Class: synchronised; who submits, waits, cancels and releases may be four threads. */
typedef struct weft_request weft_request;

/* Called once when the request has ended, on a worker thread; for a request that has
 * not started, on the thread that cancels it or drains the device, or on the device's
 * timer when its time ran out. No lock is held. It may submit, cancel and release its
 * own request, and drop the last owner of the device: then that thread tears the device
 * down when the callback has returned. */
typedef void (*weft_request_callback)(void *user, weft_request *request,
                                      weft_status status);

typedef struct weft_submit_params {
    size_t struct_size;
    weft_request_callback callback;
    void *user;
    /* Makes weft_request_fd work; costs one file descriptor. */
    bool with_fd;
    /* Ends the request with WEFT_TIMEOUT when it has not started by then; 0: never. */
    int64_t timeout_ns;
} weft_submit_params;

#define WEFT_SUBMIT_PARAMS_INIT                                                        \
    {                                                                                  \
        .struct_size = sizeof(weft_submit_params)                                      \
    }

/* Hands a run to the device's workers and returns at once.
 * Threads: any. Blocks: never, but for asking the card's driver about addresses there
 * (WEFT_PLACE_CARD) that are new to the device.
 * Owns: the caller releases *request. The io arrays are copied; the tensors' data is
 * borrowed until the request has ended. The request owns its model.
 * Shape, place: as weft_run. What an output of rank -1 has become tells
 * weft_request_get_output when the request has ended.
 * Errors: WEFT_INVALID_ARGUMENT names the tensor; output shapes are compared here when
 * a run or weft_model_infer_outputs has met these input shapes before, else the request
 * fails so; WEFT_CLOSED; WEFT_UNAVAILABLE when the device was opened without workers.
 */
WEFT_API WEFT_MUST_USE weft_status weft_submit(weft_model *model, const weft_io *io,
                                               const weft_submit_params *params,
                                               weft_request **request,
                                               weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_request *weft_request_retain(weft_request *request);

/* Drops an owner; a request that still runs goes on to its end. NULL is allowed.
 * Threads: any, also its own callback. */
WEFT_API void weft_request_release(weft_request *request);

/* Waits for the end and returns how it ended, with the words of its failure.
 * Threads: any; several may wait. Blocks: to the deadline. A wait of at least 20 ms for
 * a short request of a queue, without callback, descriptor and time limits, may run it
 * in the calling thread; it then comes back when the run, of about a millisecond at
 * most, is over.
 * Errors: WEFT_TIMEOUT both when the wait is over before the request and when the
 * request timed out; weft_request_test tells them apart. */
WEFT_API WEFT_MUST_USE weft_status weft_request_wait(weft_request *request,
                                                     int64_t timeout_ns,
                                                     weft_error *error);

/* Tells whether the request has ended, and how (`status` may be NULL).
 * Threads: any. Blocks: never. */
WEFT_API bool weft_request_test(const weft_request *request, weft_status *status);

/* Ends the request with WEFT_CANCELLED if it can still be; returns whether it did.
 * Then its tensors are the caller's again: nothing reads or writes them any more. One
 * of weft_submit that runs goes on to its end. One of a queue is cancelled while it
 * runs too, except when it runs alone on tensors of over 256 KiB together, with more
 * rows than a batch has, or in a thread that waits for it, and when its answer is being
 * copied out; with preserve_order its end is announced in its turn.
 * Threads: any. Blocks: no longer than copying the inputs, laying out a new size of
 * batch, or a batch takes that works on its callers' own tensors: one of up to 128
 * requests that is estimated to take up to 250 us; with preserve_order, as callbacks do
 * whose turn has come with it. */
WEFT_API bool weft_request_cancel(weft_request *request);

/* Describes an output of a request that has ended with WEFT_OK, as the run left it: for
 * who gave it the rank -1. False when the request has not ended so, and past the last
 * output.
 * Threads: any. Blocks: never.
 * Owns: data that the library has allocated is the request's: it goes with the last
 * owner, and is nobody else's to free. */
WEFT_API bool weft_request_get_output(const weft_request *request, size_t index,
                                      weft_tensor *output);

/* Lends a file descriptor that becomes readable when the request has ended; -1 when
 * it was not asked for. Do not read or close it.
 * Threads: any. */
WEFT_API int weft_request_fd(const weft_request *request);

WEFT_END_DECLS

#endif
