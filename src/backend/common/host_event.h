/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_HOST_EVENT_H
#define WEFTI_BACKEND_COMMON_HOST_EVENT_H

#include "backend/common/workers.h"

/* Events of devices whose work runs on host threads; they fill wefti_event_table.
 * A stream that has to wait leaves a waiter; whoever raises the value posts the
 * waiter's task to the workers, never runs it. */
typedef struct wefti_host_waiter {
    struct wefti_host_waiter *next;
    uint64_t value;
    wefti_workers *workers; /* not empty */
    wefti_task *task;
} wefti_host_waiter;

weft_status wefti_host_event_create(wefti_backend_device *device, bool timed,
                                    wefti_backend_event **event, weft_error *error);
void wefti_host_event_retain(wefti_backend_event *event);
void wefti_host_event_release(wefti_backend_event *event);
uint64_t wefti_host_event_query(const wefti_backend_event *event);
weft_status wefti_host_event_signal(wefti_backend_event *event, uint64_t value,
                                    weft_error *error);
weft_status wefti_host_event_wait(wefti_backend_event *event, uint64_t value,
                                  int64_t deadline_ns, weft_error *error);
bool wefti_host_event_time_ns(const wefti_backend_event *event, int64_t *time_ns);

/* Registers the waiter unless the value is already reached (returns false then).
 * The waiter's memory stays the caller's and must live until its task runs. */
bool wefti_host_event_add_waiter(wefti_backend_event *event, wefti_host_waiter *waiter);

/* Takes a waiter back; false: its task was or is being posted. */
bool wefti_host_event_remove_waiter(wefti_backend_event *event,
                                    wefti_host_waiter *waiter);

/* Raises the value as `signal` does. `failure`, if not NULL, is the error of the work
 * that was to raise it: whoever waits on the host for a value that this call reached
 * gets it. */
void wefti_host_event_raise(wefti_backend_event *event, uint64_t value,
                            const weft_error *failure);

#endif
