/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_HOST_STREAM_H
#define WEFTI_BACKEND_COMMON_HOST_STREAM_H

#include "backend/common/workers.h"

/* Streams of devices whose work runs on host threads. Work is done by the submitting
 * thread at once while the stream has nothing pending; after a wait for an event that
 * has not come, work is queued and a worker drains it when the event comes. The fast
 * path takes no lock and allocates nothing.
 *
 * All that was enqueued runs, also after a failure: records and calls are never lost,
 * not even when the device ends while a stream waits for an event that nobody raises.
 * The first error is kept for synchronize, and given to the events recorded while it
 * is kept. */

/* What differs between such devices. */
typedef struct wefti_host_stream_hooks {
    /* Runs a recipe to its end in the calling thread. */
    weft_status (*run)(void *user, wefti_recipe *recipe, void *const *slots,
                       size_t slot_count, weft_error *error);
    /* Move and set bytes where plain memory functions cannot; NULL: these do. */
    weft_status (*copy)(void *user, void *target, const void *source, size_t size_bytes,
                        weft_error *error);
    weft_status (*fill)(void *user, void *target, uint8_t value, size_t size_bytes,
                        weft_error *error);
} wefti_host_stream_hooks;

/* `user` is what the hooks get. `workers` go on with a stream that had to wait; they
 * outlive it. When there are none, to wait for an event that has not come is
 * WEFT_UNAVAILABLE. */
weft_status wefti_host_stream_create(void *user, const wefti_host_stream_hooks *hooks,
                                     wefti_workers *workers,
                                     wefti_backend_stream **stream, weft_error *error);
void *wefti_host_stream_user(const wefti_backend_stream *stream);
void wefti_host_stream_destroy(wefti_backend_stream *stream);
weft_status wefti_host_stream_execute(wefti_backend_stream *stream,
                                      wefti_recipe *recipe, void *const *slots,
                                      size_t slot_count, weft_error *error);
weft_status wefti_host_stream_copy(wefti_backend_stream *stream, void *target,
                                   const void *source, size_t size_bytes,
                                   weft_error *error);
weft_status wefti_host_stream_fill(wefti_backend_stream *stream, void *target,
                                   uint8_t value, size_t size_bytes, weft_error *error);
weft_status wefti_host_stream_call(wefti_backend_stream *stream,
                                   void (*function)(void *user), void *user,
                                   weft_error *error);
weft_status wefti_host_stream_record(wefti_backend_stream *stream,
                                     wefti_backend_event *event, uint64_t value,
                                     weft_error *error);
weft_status wefti_host_stream_wait(wefti_backend_stream *stream,
                                   wefti_backend_event *event, uint64_t value,
                                   weft_error *error);
weft_status wefti_host_stream_synchronize(wefti_backend_stream *stream,
                                          int64_t deadline_ns, weft_error *error);
bool wefti_host_stream_settle(wefti_backend_stream *stream, uint64_t *ended);
void wefti_host_stream_abandon(wefti_backend_stream *stream);

#endif
