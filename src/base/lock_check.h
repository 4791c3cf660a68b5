/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_LOCK_CHECK_H
#define WEFTI_BASE_LOCK_CHECK_H

#include "base/lock.h"

/* Debug and test builds keep a list of the mutexes that each thread holds and abort,
 * naming both locks, when one is taken out of the order of lock_rank.h. The list is
 * thread-local: a debugging aid, not a state of the library. */
#if defined(WEFT_TESTING) || !defined(NDEBUG)

/* The mutexes that one thread holds. */
enum { WEFTI_MOST_HELD = 16 };
typedef struct wefti_lock_list {
    const wefti_mutex *held[WEFTI_MOST_HELD];
    int held_count;
} wefti_lock_list;

/* Lets the calling thread keep its list there from now on, NULL: in its own again. For
 * a scheduler that plays several threads in one. */
void wefti_lock_check_use(wefti_lock_list *list);

/* Aborts unless `mutex` ranks above all that the thread holds; then notes it. */
void wefti_lock_check_acquire(const wefti_mutex *mutex);

/* Aborts unless the thread holds `mutex`; then forgets it. */
void wefti_lock_check_release(const wefti_mutex *mutex);

/* Aborts unless `mutex` is all that the thread holds: it is about to sleep. */
void wefti_lock_check_wait(const wefti_mutex *mutex);

#else

#define wefti_lock_check_acquire(mutex) ((void)(mutex))
#define wefti_lock_check_release(mutex) ((void)(mutex))
#define wefti_lock_check_wait(mutex) ((void)(mutex))

#endif

#endif
