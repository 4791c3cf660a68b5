/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include <weft/device.h>

WEFT_BEGIN_DECLS

/* A value that only grows, set by streams as they pass points of their work. It
 * outlives the streams that set it.
 * Class: synchronised. */
typedef struct weft_event weft_event;

/* Creates an event with value 0. `timed` makes it keep the time of its last change.
 * Threads: any. Owns: the caller releases it. */
WEFT_API WEFT_MUST_USE weft_status weft_event_create(weft_device *device, bool timed,
                                                     weft_event **event,
                                                     weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_event *weft_event_retain(weft_event *event);

/* Drops an owner; streams that have yet to set or await it own it too. NULL is
 * allowed.
 * Threads: any. */
WEFT_API void weft_event_release(weft_event *event);

/* Returns the value reached so far.
 * Threads: any. Blocks: never.
 * Order: what was done before the value was set is visible to the caller. */
WEFT_API uint64_t weft_event_query(const weft_event *event);

/* Raises the value from the host; a lower value changes nothing.
 * Threads: any. Blocks: never. */
WEFT_API WEFT_MUST_USE weft_status weft_event_signal(weft_event *event, uint64_t value,
                                                     weft_error *error);

/* Waits until the value is reached.
 * Threads: any. Blocks: to the deadline.
 * Errors: WEFT_TIMEOUT; WEFT_DEVICE_LOST and the stream's own error when the work
 * that was to set it failed. */
WEFT_API WEFT_MUST_USE weft_status weft_event_wait(weft_event *event, uint64_t value,
                                                   int64_t timeout_ns,
                                                   weft_error *error);

/* Computes the time from the last change of `start` to the last change of `end`.
 * Threads: any.
 * Errors: WEFT_INVALID_ARGUMENT when one is not timed or was never set. */
WEFT_API WEFT_MUST_USE weft_status weft_event_elapsed(const weft_event *start,
                                                      const weft_event *end,
                                                      int64_t *elapsed_ns,
                                                      weft_error *error);

WEFT_END_DECLS

#endif
