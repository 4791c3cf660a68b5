/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/lock_check.h"
#include "base/schedule.h"
#include "base/testing.h"

/* atomic: waiters -> statistics; plain counts that order nothing. Only contended
 * acquisitions come here, so the line is no bottleneck of its own. */
static WEFTI_CACHE_ALIGNED wefti_atomic_u64 wait_count;
static wefti_atomic_u64 wait_ns;

static weft_status init_failed(weft_error *error, const char *what, int code)
{
    weft_status status = code == ENOMEM ? WEFT_OUT_OF_MEMORY : WEFT_UNAVAILABLE;
    return wefti_error(error, status, "the system cannot make the %s: %s", what,
                       strerror(code));
}

weft_status wefti_mutex_init(wefti_mutex *mutex, const char *name, wefti_lock_rank rank,
                             weft_error *error)
{
    int code = wefti_fault_here(WEFTI_FAULT_LOCK)
                   ? ENOMEM
                   : pthread_mutex_init(&mutex->mutex, NULL);
    if (code != 0) {
        return init_failed(error, name, code);
    }
    mutex->name = name;
    mutex->rank = rank;
    return WEFT_OK;
}

void wefti_mutex_fini(wefti_mutex *mutex)
{
    pthread_mutex_destroy(&mutex->mutex);
}

/* Locks are held for tens of nanoseconds, while to sleep and be woken takes thousands:
 * so first look again for about one microsecond. */
enum { LOOKS = 32, MOST_PAUSES = 8 };

static WEFTI_NOINLINE void lock_contended(pthread_mutex_t *mutex)
{
    for (int i = 0; i < LOOKS; i++) {
        for (int j = 0; j <= i && j < MOST_PAUSES; j++) {
            wefti_pause();
        }
        if (pthread_mutex_trylock(mutex) == 0) {
            return;
        }
    }
    int64_t begin = wefti_clock_ns();
    pthread_mutex_lock(mutex);
    wefti_atomic_u64_add_relaxed(&wait_ns, (uint64_t)(wefti_clock_ns() - begin));
    wefti_atomic_u64_add_relaxed(&wait_count, 1);
}

WEFTI_NO_TSA void wefti_mutex_lock(wefti_mutex *mutex)
{
    WEFTI_SCHEDULE_POINT();
    wefti_lock_check_acquire(mutex);
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->mutex_lock(mutex);
        return;
    }
    if (pthread_mutex_trylock(&mutex->mutex) != 0) {
        lock_contended(&mutex->mutex);
    }
}

WEFTI_NO_TSA void wefti_mutex_unlock(wefti_mutex *mutex)
{
    wefti_lock_check_release(mutex);
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->mutex_unlock(mutex);
        return;
    }
    pthread_mutex_unlock(&mutex->mutex);
    WEFTI_SCHEDULE_POINT();
}

weft_status wefti_condition_init(wefti_condition *condition, weft_error *error)
{
    pthread_condattr_t attributes;
    int code = wefti_fault_here(WEFTI_FAULT_LOCK) ? ENOMEM
                                                  : pthread_condattr_init(&attributes);
    if (code != 0) {
        return init_failed(error, "condition variable", code);
    }
    code = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (code == 0) {
        code = pthread_cond_init(&condition->condition, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    return code == 0 ? WEFT_OK : init_failed(error, "condition variable", code);
}

void wefti_condition_fini(wefti_condition *condition)
{
    pthread_cond_destroy(&condition->condition);
}

WEFTI_NO_TSA bool wefti_condition_wait(wefti_condition *condition, wefti_mutex *mutex,
                                       int64_t deadline_ns)
{
    WEFTI_SCHEDULE_POINT();
    wefti_lock_check_wait(mutex);
    if (wefti_scheduler_in_charge) {
        return wefti_scheduler_in_charge->condition_wait(condition, mutex, deadline_ns);
    }
    if (deadline_ns == WEFTI_NEVER) {
        pthread_cond_wait(&condition->condition, &mutex->mutex);
        return true;
    }
    int64_t at = deadline_ns < 0 ? 0 : deadline_ns;
    struct timespec until = {.tv_sec = (time_t)(at / 1000000000),
                             .tv_nsec = (long)(at % 1000000000)};
    int code = pthread_cond_timedwait(&condition->condition, &mutex->mutex, &until);
    return code != ETIMEDOUT;
}

void wefti_condition_wake_one(wefti_condition *condition)
{
    WEFTI_SCHEDULE_POINT();
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->condition_wake(condition, false);
        return;
    }
    pthread_cond_signal(&condition->condition);
}

void wefti_condition_wake_all(wefti_condition *condition)
{
    WEFTI_SCHEDULE_POINT();
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->condition_wake(condition, true);
        return;
    }
    pthread_cond_broadcast(&condition->condition);
}

void wefti_lock_get_statistics(wefti_lock_statistics *statistics)
{
    statistics->wait_count = wefti_atomic_u64_load_relaxed(&wait_count);
    statistics->wait_ns = wefti_atomic_u64_load_relaxed(&wait_ns);
}
