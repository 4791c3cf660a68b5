/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_HOST_EVENT_H
#define WEFTI_BACKEND_COMMON_HOST_EVENT_H

#include "backend/backend.h"

/* Events of devices whose work runs on host threads; fills wefti_event_table.
 * A stream that has to wait leaves a waiter; whoever raises the value posts the
 * waiter's task to the workers, never runs it. */
typedef struct wefti_host_waiter {
    struct wefti_host_waiter *next;
    uint64_t value;
    wefti_task *task;
} wefti_host_waiter;

extern const wefti_event_table wefti_host_event_table;

/* Registers the waiter unless the value is already reached (returns false then).
 * The waiter's memory stays the caller's and must live until its task runs. */
bool wefti_host_event_add_waiter(wefti_backend_event *event, wefti_host_waiter *waiter);

#endif
