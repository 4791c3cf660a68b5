/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_LOCK_H
#define WEFTI_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <weft/status.h>

#include "base/compiler.h"
#include "base/lock_rank.h"

/* A mutex with a name and a rank. Acquisitions that slept are counted with their
 * waiting time (wefti_lock_get_statistics). */
typedef struct WEFTI_CAPABILITY("mutex") wefti_mutex {
    pthread_mutex_t mutex;
    const char *name;
    wefti_lock_rank rank;
} wefti_mutex;

/* A condition variable on the monotonic clock. */
typedef struct wefti_condition {
    pthread_cond_t condition;
} wefti_condition;

/* Initialises in the caller's memory; can fail like any allocation. */
WEFT_MUST_USE weft_status wefti_mutex_init(wefti_mutex *mutex, const char *name,
                                           wefti_lock_rank rank, weft_error *error);
void wefti_mutex_fini(wefti_mutex *mutex);
void wefti_mutex_lock(wefti_mutex *mutex) WEFTI_ACQUIRES(mutex);
void wefti_mutex_unlock(wefti_mutex *mutex) WEFTI_RELEASES(mutex);

WEFT_MUST_USE weft_status wefti_condition_init(wefti_condition *condition,
                                               weft_error *error);
void wefti_condition_fini(wefti_condition *condition);

/* Waits for a wake-up or until `deadline_ns` of wefti_clock_ns (WEFTI_NEVER: no
 * limit); false when the deadline passed. May wake for nothing: use in a loop. */
bool wefti_condition_wait(wefti_condition *condition, wefti_mutex *mutex,
                          int64_t deadline_ns) WEFTI_REQUIRES(mutex);
void wefti_condition_wake_one(wefti_condition *condition);
void wefti_condition_wake_all(wefti_condition *condition);

typedef struct wefti_lock_statistics {
    uint64_t wait_count;
    uint64_t wait_ns;
} wefti_lock_statistics;

/* Totals over all mutexes since the process began. Threads: any. */
void wefti_lock_get_statistics(wefti_lock_statistics *statistics);

#endif
