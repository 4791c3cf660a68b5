/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/timer.h"

#include <stddef.h>

#include "base/clock.h"

weft_status wefti_timer_init(wefti_timer *timer, const wefti_timer_owner *owner,
                             wefti_mutex *lock, weft_error *error)
{
    *timer = (wefti_timer){.owner = owner, .lock = lock};
    return wefti_condition_init(&timer->due, error);
}

void wefti_timer_fini(wefti_timer *timer)
{
    wefti_condition_fini(&timer->due);
}

void wefti_timer_add_locked(wefti_timer *timer, weft_request *request)
{
    request->timed = true;
    request->by_time.time_ns = request->start_deadline_ns;
    request->by_time.number = timer->next_number++;
    wefti_sorted_add(&timer->requests, &request->by_time);
    if (timer->requests.first == &request->by_time &&
        !wefti_sabotaged(WEFTI_SABOTAGE_TIMER_WAKE)) {
        wefti_condition_wake_all(&timer->due);
    }
}

void wefti_timer_remove_locked(wefti_timer *timer, weft_request *request)
{
    if (request->timed) {
        request->timed = false;
        wefti_sorted_remove(&timer->requests, &request->by_time);
    }
}

/* Waits for the next request whose time is over and claims it; NULL: the timer stops.
 */
static weft_request *next_due(wefti_timer *timer)
{
    weft_request *claimed = NULL;
    wefti_mutex_lock(timer->lock);
    while (!claimed && !timer->stops) {
        wefti_sorted_node *first = timer->requests.first;
        int64_t due_ns = first ? first->time_ns : WEFTI_NEVER;
        if (due_ns > wefti_clock_ns()) {
            (void)wefti_condition_wait(&timer->due, timer->lock, due_ns);
            continue;
        }
        weft_request *request = WEFTI_CONTAINER_OF(first, weft_request, by_time);
        wefti_timer_remove_locked(timer, request);
        bool mine = wefti_request_claim(request, WEFTI_REQUEST_ENDING);
        timer->owner->due_locked(timer, request, mine);
        claimed = mine ? request : NULL;
    }
    wefti_mutex_unlock(timer->lock);
    return claimed;
}

static void run_timer(void *argument)
{
    wefti_timer *timer = argument;
    weft_request *request;
    bool is_gone = false;
    while (!is_gone && (request = next_due(timer)) != NULL) {
        is_gone = timer->owner->end(timer, request);
    }
}

weft_status wefti_timer_ensure(wefti_timer *timer, weft_error *error)
{
    wefti_mutex_lock(timer->lock);
    while (timer->state == WEFTI_TIMER_STARTING) {
        /* woken below, by the thread that starts it */
        (void)wefti_condition_wait(&timer->due, timer->lock, WEFTI_NEVER);
    }
    bool start = timer->state == WEFTI_TIMER_NONE;
    if (start) {
        timer->state = WEFTI_TIMER_STARTING;
    }
    wefti_mutex_unlock(timer->lock);
    if (!start) {
        return WEFT_OK;
    }
    weft_status status = wefti_thread_start(&timer->thread, timer->owner->thread_name,
                                            run_timer, timer, error);
    wefti_mutex_lock(timer->lock);
    timer->state = status == WEFT_OK ? WEFTI_TIMER_RUNS : WEFTI_TIMER_NONE;
    wefti_condition_wake_all(&timer->due);
    wefti_mutex_unlock(timer->lock);
    return status;
}

void wefti_timer_stop(wefti_timer *timer)
{
    wefti_mutex_lock(timer->lock);
    bool runs = timer->state == WEFTI_TIMER_RUNS;
    timer->stops = true;
    wefti_condition_wake_all(&timer->due);
    wefti_mutex_unlock(timer->lock);
    if (runs && wefti_thread_is_current(&timer->thread)) {
        wefti_thread_detach(&timer->thread);
    } else if (runs) {
        wefti_thread_join(&timer->thread);
    }
}
