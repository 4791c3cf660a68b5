/* SPDX-License-Identifier: Apache-2.0 */
#include "support/crew.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/testing.h"

enum { PATIENCE_S = 60 };

uint32_t crew_divisor(void)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return 8;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
    return 8;
#else
    return 1;
#endif
#else
    return 1;
#endif
}

typedef struct member {
    pthread_t handle;
    pthread_barrier_t *start;
    void (*function)(void *user, uint32_t index);
    void *user;
    uint32_t index;
} member;

static void *run_member(void *argument)
{
    member *self = argument;
    pthread_barrier_wait(self->start);
    self->function(self->user, self->index);
    return NULL;
}

void crew_run(uint32_t count, void (*function)(void *user, uint32_t index), void *user)
{
    pthread_barrier_t start;
    member *members = calloc(count, sizeof *members);
    assert_non_null(members);
    assert_int_equal(pthread_barrier_init(&start, NULL, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        members[i] =
            (member){.start = &start, .function = function, .user = user, .index = i};
        assert_int_equal(
            pthread_create(&members[i].handle, NULL, run_member, &members[i]), 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(members[i].handle, NULL);
    }
    pthread_barrier_destroy(&start);
    free(members);
}

static void *run_one(void *argument)
{
    crew_thread *self = argument;
    self->function(self->user);
    return NULL;
}

void crew_start(crew_thread *thread, void (*function)(void *user), void *user)
{
    thread->function = function;
    thread->user = user;
    assert_int_equal(pthread_create(&thread->handle, NULL, run_one, thread), 0);
}

void crew_join(crew_thread *thread)
{
    pthread_join(thread->handle, NULL);
}

static int64_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void crew_await(bool (*ready)(void *user), void *user)
{
    int64_t end_s = now_s() + PATIENCE_S;
    while (!ready(user)) {
        if (now_s() > end_s) {
            fail_msg("a state that another thread was to reach did not come");
        }
        sched_yield();
    }
}

void crew_gate_open(crew_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

void crew_gate_pass(crew_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (!gate->open) {
        pthread_cond_wait(&gate->opened, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

int crew_reset_clock(void **state)
{
    (void)state;
    wefti_clock_hook = NULL;
    return 0;
}

uint32_t crew_random(uint64_t *state)
{
    uint64_t x = *state + 0x9e3779b97f4a7c15u;
    *state = x;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(x >> 32);
}
