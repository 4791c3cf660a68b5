/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_EXPLORE_H
#define WEFT_TEST_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

/* Runs the library's real code under a scheduler that decides at every atomic and every
 * lock which thread goes on (base/schedule.h), with a clock of its own: a deadline may
 * pass whenever somebody waits for it. One thread runs at a time, so a schedule can be
 * repeated. Sequential consistency only: weaker orders are ThreadSanitizer's part. */

typedef struct explore_case {
    uint32_t thread_count; /* threads may start more by wefti_thread_start */
    /* Before and after, outside the scheduler. `check` frees the state and tells
     * whether all was right. */
    void *(*set_up)(void);
    void (*run)(void *state, uint32_t index);
    bool (*check)(void *state);
} explore_case;

typedef struct explore_result {
    uint64_t schedules; /* that were run */
    uint64_t bad;       /* number of those that went wrong */
    uint64_t stuck;     /* of these: nobody could go on */
    uint64_t first_bad; /* the seed (random) or the place in the order (all) */
    bool complete;      /* explore_all: none is left within the bound */
} explore_result;

/* Runs `count` schedules, seeds first_seed, first_seed + 1, ... A schedule where
 * nobody can go on is ended by waking all sleepers as if their time had passed. */
explore_result explore_random(const explore_case *what, uint64_t first_seed,
                              uint32_t count);

/* Runs every schedule with at most `preemptions` switches away from a thread that could
 * have gone on, but no more than `limit`. */
explore_result explore_all(const explore_case *what, uint32_t preemptions,
                           uint64_t limit);

#endif
