/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_EXPLORE_H
#define WEFT_TEST_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

/* Runs the library's real code under a scheduler that decides at every atomic and every
 * lock which thread goes on (base/schedule.h), with a clock of its own: a deadline may
 * pass whenever somebody waits for it. The threads are coroutines of one thread of the
 * system, so a schedule costs microseconds and can be repeated. Sequential consistency
 * only: weaker orders are ThreadSanitizer's part. One explorer at a time. */

typedef struct explore_case {
    const char *name;      /* without blanks */
    uint32_t thread_count; /* threads may start more by wefti_thread_start */
    bool cores_differ;     /* each thread is on a core of its own; else all on one */
    /* Before and after, outside the scheduler. `check` frees the state and tells
     * whether all was right. It is not called when the schedule was given up. */
    void *(*set_up)(void);
    void (*run)(void *state, uint32_t index);
    bool (*check)(void *state);
} explore_case;

/* Names one schedule of a case: "random:SEED", "pct:DEPTH:LENGTH:SEED", or "all:" and
 * the decisions that were not the first choice. */
enum { EXPLORE_TOKEN_BYTES = 1024 };

typedef struct explore_result {
    uint64_t schedules;                  /* that were run */
    uint64_t bad;                        /* number of those that went wrong */
    uint64_t stuck;                      /* of these: nobody could go on */
    bool complete;                       /* explore_all: none is left in the bound */
    char first_bad[EXPLORE_TOKEN_BYTES]; /* how to replay it; "" */
} explore_result;

/* Each begins with `result` as it is and adds to it; stops at once when `bad` reaches
 * `enough_bad` (0: never). */
typedef struct explore_effort {
    uint64_t first_seed;  /* random, pct: seeds first_seed, first_seed + 1, ... */
    uint64_t count;       /* at most */
    uint32_t preemptions; /* all: switches away from a thread that could have gone on */
    uint64_t enough_bad;
} explore_effort;

/* A random walk. The seed also says how willingly it switches threads and lets time
 * pass. */
void explore_random(const explore_case *what, const explore_effort *effort,
                    explore_result *result);

/* Priorities (Burckhardt et al., A randomized scheduler with probabilistic guarantees
 * of finding bugs, 2010): the thread with the highest runs; priorities are random and
 * at depth - 1 random places of the schedule the running thread gets the lowest.
 * Passing time has a priority too. Depths 2, 3 and 4 in turn. */
void explore_pct(const explore_case *what, const explore_effort *effort,
                 explore_result *result);

/* Every schedule with at most `preemptions`, in a fixed order. */
void explore_all(const explore_case *what, const explore_effort *effort,
                 explore_result *result);

/* Runs the one schedule and writes its steps to stderr; false: it went wrong, or the
 * token says nothing. */
bool explore_replay(const explore_case *what, const char *token);

/* For the code of a case, also in set_up: a number of the schedule; 0 by `all`. */
uint64_t explore_number(void);

/* For the code of a case: lets time pass. Each look at the clock does so too. */
void explore_pass_time(int64_t ns);

#endif
