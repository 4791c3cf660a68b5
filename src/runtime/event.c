/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/event.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/fork.h"
#include "base/memory.h"

weft_status weft_event_create(weft_device *device, bool timed, weft_event **event,
                              weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!device || !event) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_event_create needs a %s; it is NULL",
                           device ? "place for the event" : "device");
    }
    *event = NULL;
    WEFTI_TRY(wefti_device_check_open(device, error));
    weft_event *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "an event");
    }
    weft_status status =
        device->backend->event.create(device->cards[0], timed, &made->handle, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    wefti_refcount_init(&made->owners);
    made->device = weft_device_retain(device);
    *event = made;
    return WEFT_OK;
}

weft_event *weft_event_retain(weft_event *event)
{
    if (event) {
        wefti_refcount_retain(&event->owners);
    }
    return event;
}

void weft_event_release(weft_event *event)
{
    if (!event || wefti_fork_happened() || !wefti_refcount_release(&event->owners)) {
        return;
    }
    weft_device *device = event->device;
    device->backend->event.release(event->handle);
    wefti_free(event);
    weft_device_release(device);
}

weft_status wefti_event_claim_value(weft_event *event, uint64_t value, uint64_t *before,
                                    weft_error *error)
{
    uint64_t highest = wefti_atomic_u64_load_acquire(&event->recorded);
    do {
        if (value <= highest) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "the event's value %" PRIu64 " is not above %" PRIu64
                               ", which a stream was told to set; values only grow",
                               value, highest);
        }
    } while (!wefti_atomic_u64_cas_acq_rel(&event->recorded, &highest, value));
    *before = highest;
    return WEFT_OK;
}

void wefti_event_unclaim_value(weft_event *event, uint64_t value, uint64_t before)
{
    (void)wefti_atomic_u64_cas_acq_rel(&event->recorded, &value, before);
}

uint64_t weft_event_query(const weft_event *event)
{
    return event ? event->device->backend->event.query(event->handle) : 0;
}

static weft_status check(const weft_event *event, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!event) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the event is NULL");
    }
    return WEFT_OK;
}

weft_status weft_event_signal(weft_event *event, uint64_t value, weft_error *error)
{
    WEFTI_TRY(check(event, error));
    return event->device->backend->event.signal(event->handle, value, error);
}

weft_status weft_event_wait(weft_event *event, uint64_t value, int64_t timeout_ns,
                            weft_error *error)
{
    WEFTI_TRY(check(event, error));
    return event->device->backend->event.wait(event->handle, value,
                                              wefti_deadline(timeout_ns), error);
}

weft_status weft_event_elapsed(const weft_event *start, const weft_event *end,
                               int64_t *elapsed_ns, weft_error *error)
{
    WEFTI_TRY(check(start, error));
    WEFTI_TRY(check(end, error));
    if (!elapsed_ns) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_event_elapsed needs a place for the time; it is NULL");
    }
    *elapsed_ns = 0;
    int64_t from_ns;
    int64_t to_ns;
    bool started = start->device->backend->event.time_ns(start->handle, &from_ns);
    bool ended = end->device->backend->event.time_ns(end->handle, &to_ns);
    if (!started || !ended) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the %s event has no time: create it with timed = true and "
                           "record it before",
                           started ? "end" : "start");
    }
    *elapsed_ns = to_ns - from_ns;
    return WEFT_OK;
}
