/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_CREW_H
#define WEFT_TEST_CREW_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Threads that begin together, for stress tests. */

/* Less work where each step is slow: 1 in a plain build, 8 or so under sanitizers. */
uint32_t crew_divisor(void);

/* Calls `function(user, i)` for i = 0 .. count-1, each in a thread of its own, all at
 * the same time, and returns when all have returned. */
void crew_run(uint32_t count, void (*function)(void *user, uint32_t index), void *user);

/* One thread that the test joins itself. */
typedef struct crew_thread {
    pthread_t handle;
    void (*function)(void *user);
    void *user;
} crew_thread;
void crew_start(crew_thread *thread, void (*function)(void *user), void *user);
void crew_join(crew_thread *thread);

/* Waits until `ready(user)` is true; fails the test after a minute. For states that
 * another thread reaches on its own and that nothing announces. */
void crew_await(bool (*ready)(void *user), void *user);

/* A switch that threads wait for, once turned it stays. */
typedef struct crew_gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
} crew_gate;
#define CREW_GATE_INIT                                                                 \
    {                                                                                  \
        .lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER          \
    }
void crew_gate_open(crew_gate *gate);
void crew_gate_pass(crew_gate *gate);

/* The end of a test that set wefti_clock_hook, also after a failure: the tests that
 * follow have the system's clock. */
int crew_reset_clock(void **state);

/* Small seeded random numbers (xorshift), one state per thread. */
uint32_t crew_random(uint64_t *state);

#endif
