/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_SCHEDULE_H
#define WEFTI_BASE_SCHEDULE_H

#include "base/lock.h"
#include "base/thread.h"

/* What a test scheduler puts in the place of the system's, so that the real code of
 * the library runs in an order that the scheduler picks and can repeat. It also sets
 * wefti_schedule_hook (each atomic) and wefti_clock_hook (time). All members are
 * required. The ranks of locks are checked before these are called, the statistics of
 * contention are not kept. */
typedef struct wefti_scheduler {
    void (*mutex_lock)(wefti_mutex *mutex);
    void (*mutex_unlock)(wefti_mutex *mutex);
    /* False: the deadline passed, on the scheduler's clock. */
    bool (*condition_wait)(wefti_condition *condition, wefti_mutex *mutex,
                           int64_t deadline_ns);
    void (*condition_wake)(wefti_condition *condition, bool all);
    /* Sets thread->handle to what `current` returns in that thread, which runs only
     * when it is picked. */
    weft_status (*thread_start)(wefti_thread *thread, const char *name,
                                void (*function)(void *argument), void *argument,
                                weft_error *error);
    void (*thread_join)(wefti_thread *thread);
    pthread_t (*current)(void);
    /* The calling thread asks for others to run: it may be waiting for one. */
    void (*yield)(void);
    uint32_t (*current_core)(void);
} wefti_scheduler;

/* The scheduler in charge, NULL for the system's. Set it while no other thread is in
 * the library. Outside test builds it is a constant and its branches vanish. */
#if defined(WEFT_TESTING)
extern const wefti_scheduler *wefti_scheduler_in_charge;
#else
#define wefti_scheduler_in_charge ((const wefti_scheduler *)0)
#endif

#endif
