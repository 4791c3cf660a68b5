/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/common/host_event.h"

#include <inttypes.h>

#include "backend/common/fault.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/refcount.h"

/* Raising and waiting meet without a lock: who raises writes the value, then reads
 * `waiter_count`; who waits adds itself to the count, then reads the value. Both pairs
 * are sequentially consistent, so at least one side sees the other. */
struct wefti_backend_event {
    /* immutable after create */
    bool timed;

    wefti_refcount owners;

    /* atomic: who raises -> who queries or waits */
    wefti_atomic_u64 value;
    /* atomic: who waits -> who raises */
    wefti_atomic_u32 waiter_count;
    /* atomic: who raises after a failure -> who waits; 1 once there was one */
    wefti_atomic_u32 ever_failed;

    /* guarded by lock */
    wefti_mutex lock;
    wefti_condition raised; /* woken by raise while waiter_count is not 0 */
    wefti_host_waiter *first, *last;
    int64_t time_ns;
    /* the latest failure, for the values above failed_after up to failed_value */
    uint64_t failed_after, failed_value;
    weft_error failure;
};

weft_status wefti_host_event_create(wefti_backend_device *device, bool timed,
                                    wefti_backend_event **event, weft_error *error)
{
    (void)device;
    *event = NULL;
    WEFTI_TRY(wefti_device_fault("event.create", error));
    wefti_backend_event *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "an event");
    }
    weft_status status =
        wefti_mutex_init(&made->lock, "event", WEFTI_RANK_EVENT, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    status = wefti_condition_init(&made->raised, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&made->lock);
        wefti_free(made);
        return status;
    }
    made->timed = timed;
    wefti_refcount_init(&made->owners);
    *event = made;
    return WEFT_OK;
}

void wefti_host_event_retain(wefti_backend_event *event)
{
    wefti_refcount_retain(&event->owners);
}

void wefti_host_event_release(wefti_backend_event *event)
{
    if (event == NULL || !wefti_refcount_release(&event->owners)) {
        return;
    }
    wefti_condition_fini(&event->raised);
    wefti_mutex_fini(&event->lock);
    wefti_free(event);
}

uint64_t wefti_host_event_query(const wefti_backend_event *event)
{
    return wefti_atomic_u64_load_acquire(&event->value);
}

/* Makes the value at least `value`; false when it was already. */
static bool raise_value(wefti_backend_event *event, uint64_t value)
{
    uint64_t found = wefti_atomic_u64_load_acquire(&event->value);
    while (found < value) {
        if (wefti_atomic_u64_cas_seq_cst(&event->value, &found, value)) {
            return true;
        }
    }
    return false;
}

/* Unlinks the waiters whose value has come and returns them as a list. */
static wefti_host_waiter *take_due_locked(wefti_backend_event *event)
{
    uint64_t value = wefti_atomic_u64_load_acquire(&event->value);
    wefti_host_waiter *due = NULL, **due_end = &due;
    wefti_host_waiter *waiter = event->first;
    event->first = event->last = NULL;
    while (waiter != NULL) {
        wefti_host_waiter *next = waiter->next;
        waiter->next = NULL;
        if (waiter->value <= value) {
            *due_end = waiter;
            due_end = &waiter->next;
            (void)wefti_atomic_u32_sub_seq_cst(&event->waiter_count, 1);
        } else if (event->last == NULL) {
            event->first = event->last = waiter;
        } else {
            event->last = event->last->next = waiter;
        }
        waiter = next;
    }
    return due;
}

void wefti_host_event_raise(wefti_backend_event *event, uint64_t value,
                            const weft_error *failure)
{
    wefti_host_waiter *due = NULL;
    if (failure == NULL && !event->timed) {
        if (!raise_value(event, value) ||
            wefti_atomic_u32_load_seq_cst(&event->waiter_count) == 0 ||
            wefti_sabotaged(WEFTI_SABOTAGE_EVENT_WAKE)) {
            return;
        }
        wefti_mutex_lock(&event->lock);
    } else {
        wefti_mutex_lock(&event->lock);
        uint64_t before = wefti_host_event_query(event);
        if (failure != NULL && before < value) {
            event->failed_after = before;
            event->failed_value = value;
            event->failure = *failure;
            wefti_atomic_u32_store_release(&event->ever_failed, 1);
        }
        if (before < value) {
            event->time_ns = wefti_clock_ns();
        }
        (void)raise_value(event, value);
    }
    due = take_due_locked(event);
    wefti_condition_wake_all(&event->raised);
    wefti_mutex_unlock(&event->lock);
    while (due != NULL) {
        wefti_host_waiter *next = due->next; /* read before its task may run */
        (void)wefti_workers_post(due->workers, due->task, NULL);
        due = next;
    }
}

weft_status wefti_host_event_signal(wefti_backend_event *event, uint64_t value,
                                    weft_error *error)
{
    (void)error;
    wefti_host_event_raise(event, value, NULL);
    return WEFT_OK;
}

/* The error that came with `value`, which has been reached. */
static weft_status reached(wefti_backend_event *event, uint64_t value,
                           weft_error *error)
{
    if (WEFTI_LIKELY(wefti_atomic_u32_load_acquire(&event->ever_failed) == 0)) {
        return WEFT_OK;
    }
    weft_status status = WEFT_OK;
    wefti_mutex_lock(&event->lock);
    if (event->failed_after < value && value <= event->failed_value) {
        status = event->failure.status;
        if (error != NULL) {
            *error = event->failure;
        }
    }
    wefti_mutex_unlock(&event->lock);
    return status;
}

weft_status wefti_host_event_wait(wefti_backend_event *event, uint64_t value,
                                  int64_t deadline_ns, weft_error *error)
{
    if (wefti_host_event_query(event) >= value) {
        return reached(event, value, error);
    }
    bool in_time = true;
    wefti_mutex_lock(&event->lock);
    (void)wefti_atomic_u32_add_seq_cst(&event->waiter_count, 1);
    while (wefti_atomic_u64_load_seq_cst(&event->value) < value && in_time) {
        in_time = wefti_condition_wait(&event->raised, &event->lock, deadline_ns);
    }
    (void)wefti_atomic_u32_sub_seq_cst(&event->waiter_count, 1);
    wefti_mutex_unlock(&event->lock);
    uint64_t found = wefti_host_event_query(event);
    if (found >= value) {
        return reached(event, value, error);
    }
    return wefti_error(error, WEFT_TIMEOUT,
                       "the event did not reach %" PRIu64 " in time; it is at %" PRIu64,
                       value, found);
}

bool wefti_host_event_time_ns(const wefti_backend_event *event, int64_t *time_ns)
{
    /* Constant for the caller; reading the time takes the lock all the same. */
    wefti_backend_event *locked = (wefti_backend_event *)(uintptr_t)event;
    if (!event->timed) {
        return false;
    }
    wefti_mutex_lock(&locked->lock);
    bool was_set = wefti_host_event_query(event) > 0;
    *time_ns = event->time_ns;
    wefti_mutex_unlock(&locked->lock);
    return was_set;
}

bool wefti_host_event_add_waiter(wefti_backend_event *event, wefti_host_waiter *waiter)
{
    waiter->next = NULL;
    wefti_mutex_lock(&event->lock);
    (void)wefti_atomic_u32_add_seq_cst(&event->waiter_count, 1);
    bool wait = wefti_atomic_u64_load_seq_cst(&event->value) < waiter->value;
    if (!wait) {
        (void)wefti_atomic_u32_sub_seq_cst(&event->waiter_count, 1);
    } else if (event->last == NULL) {
        event->first = event->last = waiter;
    } else {
        event->last = event->last->next = waiter;
    }
    wefti_mutex_unlock(&event->lock);
    return wait;
}

bool wefti_host_event_remove_waiter(wefti_backend_event *event,
                                    wefti_host_waiter *waiter)
{
    wefti_mutex_lock(&event->lock);
    wefti_host_waiter **link = &event->first, *before = NULL;
    while (*link != NULL && *link != waiter) {
        before = *link;
        link = &before->next;
    }
    bool found = *link != NULL;
    if (found) {
        *link = waiter->next;
        event->last = waiter->next == NULL ? before : event->last;
        (void)wefti_atomic_u32_sub_seq_cst(&event->waiter_count, 1);
    }
    wefti_mutex_unlock(&event->lock);
    return found;
}
