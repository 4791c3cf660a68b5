/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock_check.h"

#if defined(WEFT_TESTING) || !defined(NDEBUG)

#include <stdio.h>
#include <stdlib.h>

enum { MOST_HELD = 16 };

static _Thread_local const wefti_mutex *held[MOST_HELD];
static _Thread_local int held_count;

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
    for (int i = 0; i < held_count; i++) {
        if (held[i]->rank >= mutex->rank) {
            stop("lock order: taking", mutex, held[i]);
        }
    }
    if (held_count == MOST_HELD) {
        stop("too many locks held: taking", mutex, held[MOST_HELD - 1]);
    }
    held[held_count++] = mutex;
}

void wefti_lock_check_release(const wefti_mutex *mutex)
{
    for (int i = held_count - 1; i >= 0; i--) {
        if (held[i] == mutex) {
            held_count--;
            held[i] = held[held_count];
            return;
        }
    }
    stop("giving back a lock that this thread does not hold:", mutex, NULL);
}

void wefti_lock_check_wait(const wefti_mutex *mutex)
{
    if (held_count == 0 || held[held_count - 1] != mutex) {
        stop("waiting with a lock that this thread did not take last:", mutex, NULL);
    }
    if (held_count > 1) {
        stop("waiting with", mutex, held[0]);
    }
}

#endif
