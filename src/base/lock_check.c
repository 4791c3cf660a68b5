/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock_check.h"

#if defined(WEFT_TESTING) || !defined(NDEBUG)

#include <stdio.h>
#include <stdlib.h>

static _Thread_local wefti_lock_list own_list;
static _Thread_local wefti_lock_list *other_list;

static wefti_lock_list *present_list(void)
{
    return other_list ? other_list : &own_list;
}

void wefti_lock_check_use(wefti_lock_list *list)
{
    other_list = list;
}

static _Noreturn void stop(const char *what, const wefti_mutex *mutex,
                           const wefti_mutex *other)
{
    fprintf(stderr, "weft: %s \"%s\" (rank %d)", what, mutex->name, (int)mutex->rank);
    if (other) {
        fprintf(stderr, " while holding \"%s\" (rank %d)", other->name,
                (int)other->rank);
    }
    fprintf(stderr, "\n");
    abort();
}

void wefti_lock_check_acquire(const wefti_mutex *mutex)
{
    wefti_lock_list *list = present_list();
    for (int i = 0; i < list->held_count; i++) {
        if (list->held[i]->rank >= mutex->rank) {
            stop("lock order: taking", mutex, list->held[i]);
        }
    }
    if (list->held_count == WEFTI_MOST_HELD) {
        stop("too many locks held: taking", mutex, list->held[WEFTI_MOST_HELD - 1]);
    }
    list->held[list->held_count++] = mutex;
}

void wefti_lock_check_release(const wefti_mutex *mutex)
{
    wefti_lock_list *list = present_list();
    for (int i = list->held_count - 1; i >= 0; i--) {
        if (list->held[i] == mutex) {
            list->held_count--;
            list->held[i] = list->held[list->held_count];
            return;
        }
    }
    stop("giving back a lock that this thread does not hold:", mutex, NULL);
}

void wefti_lock_check_wait(const wefti_mutex *mutex)
{
    const wefti_lock_list *list = present_list();
    if (list->held_count == 0 || list->held[list->held_count - 1] != mutex) {
        stop("waiting with a lock that this thread did not take last:", mutex, NULL);
    }
    if (list->held_count > 1) {
        stop("waiting with", mutex, list->held[0]);
    }
}

#endif
