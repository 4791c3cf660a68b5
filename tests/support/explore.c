/* SPDX-License-Identifier: Apache-2.0 */
#include "support/explore.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/schedule.h"
#include "base/testing.h"
#include "support/crew.h"

enum {
    MOST_ACTORS = 16,
    MOST_LOCKS = 64,
    MOST_DECISIONS = 1 << 16,
    MOST_POINTS_ALONE = 200, /* then another must run: a spin loop waits for it */
    NOBODY = -1,
    EPOCH_NS = 1000000000,
};

typedef enum actor_state {
    ACTOR_UNUSED,
    ACTOR_READY,
    ACTOR_WAITS_LOCK,
    ACTOR_SLEEPS,
    ACTOR_JOINS,
    ACTOR_DONE,
} actor_state;

/* A real thread, kept from schedule to schedule, that runs while it has the baton. All
 * that is below belongs to who has the baton. */
typedef struct actor {
    pthread_t handle;
    sem_t baton;
    bool exists;
    actor_state state;
    void (*function)(void *argument);
    void *argument;
    const void *awaited; /* the mutex, condition or actor */
    int64_t deadline_ns;
    uint64_t sleep_order;
    bool timed_out;
} actor;

/* What was picked at a point, of how many. */
typedef struct decision {
    uint16_t picked, count;
    bool costs; /* picking another than the first is a preemption */
} decision;

static struct {
    actor actors[MOST_ACTORS];
    sem_t over;
    int32_t current;
    uint32_t alone;
    int64_t clock_ns;
    uint64_t sleeps;
    bool stuck;
    struct {
        const wefti_mutex *mutex;
        int32_t owner;
    } locks[MOST_LOCKS];

    bool random;
    uint64_t random_state;
    decision *decisions;
    uint32_t decision_count, replay_count;
} stage;

static _Thread_local actor *self;

static void give_up(const char *why)
{
    fprintf(stderr, "explore: %s\n", why);
    abort();
}

/* The one who waits for a deadline that comes first; NULL: there is none. */
static actor *soonest_sleeper(void)
{
    actor *soonest = NULL;
    for (int i = 0; i < MOST_ACTORS; i++) {
        actor *a = &stage.actors[i];
        if (a->state == ACTOR_SLEEPS && a->deadline_ns != WEFTI_NEVER &&
            (!soonest || a->deadline_ns < soonest->deadline_ns)) {
            soonest = a;
        }
    }
    return soonest;
}

static void time_out(actor *a)
{
    if (a->deadline_ns != WEFTI_NEVER && a->deadline_ns > stage.clock_ns) {
        stage.clock_ns = a->deadline_ns;
    }
    a->timed_out = true;
    a->state = ACTOR_READY;
}

/* Nobody can go on: ends the schedule by letting all sleeps time out. */
static void break_up(void)
{
    bool any = false;
    stage.stuck = true;
    for (int i = 0; i < MOST_ACTORS; i++) {
        if (stage.actors[i].state == ACTOR_SLEEPS) {
            time_out(&stage.actors[i]);
            any = true;
        }
    }
    if (!any) {
        give_up("a deadlock of mutexes or joins");
    }
}

static uint32_t decide(uint32_t count, bool costs)
{
    if (count == 1) {
        return 0;
    }
    if (stage.random) {
        return crew_random(&stage.random_state) % count;
    }
    uint32_t at = stage.decision_count++;
    if (at == MOST_DECISIONS) {
        give_up("a schedule without end");
    }
    decision *d = &stage.decisions[at];
    if (at >= stage.replay_count) {
        *d = (decision){.picked = 0, .count = (uint16_t)count, .costs = costs};
    } else if (d->count != count) {
        give_up("a schedule that does not repeat");
    }
    return d->picked;
}

/* Picks who goes on. The candidates: the current one if it can, the others that can,
 * and the passing of the first deadline. */
static actor *pick_next(void)
{
    actor *candidates[MOST_ACTORS + 1];
    uint32_t count = 0;
    actor *now = &stage.actors[stage.current];
    bool goes_on = now->state == ACTOR_READY;
    bool must_switch = ++stage.alone > MOST_POINTS_ALONE;
    if (goes_on) {
        candidates[count++] = now;
    }
    for (int i = 0; i < MOST_ACTORS; i++) {
        if (i != stage.current && stage.actors[i].state == ACTOR_READY) {
            candidates[count++] = &stage.actors[i];
        }
    }
    actor *sleeper = soonest_sleeper();
    if (sleeper) {
        candidates[count++] = sleeper;
    }
    if (count == 0) {
        break_up();
        return pick_next();
    }
    uint32_t first = goes_on && must_switch && count > 1 ? 1 : 0;
    actor *picked = candidates[first + decide(count - first, goes_on && !must_switch)];
    if (picked->state == ACTOR_SLEEPS) {
        time_out(picked);
    }
    return picked;
}

static bool all_done(void)
{
    for (int i = 0; i < MOST_ACTORS; i++) {
        actor_state state = stage.actors[i].state;
        if (state != ACTOR_UNUSED && state != ACTOR_DONE) {
            return false;
        }
    }
    return true;
}

/* Hands the baton on; returns when the caller has it again, if it comes back. */
static void switch_over(void)
{
    actor *next = pick_next();
    if (next == self) {
        return;
    }
    bool done = self->state == ACTOR_DONE;
    actor *me = self;
    stage.current = (int32_t)(next - stage.actors);
    stage.alone = 0;
    sem_post(&next->baton);
    if (!done) {
        sem_wait(&me->baton);
    }
}

static void ready_all_that_await(const void *what, actor_state state)
{
    for (int i = 0; i < MOST_ACTORS; i++) {
        actor *a = &stage.actors[i];
        if (a->state == state && a->awaited == what) {
            a->state = ACTOR_READY;
        }
    }
}

static void *act(void *argument)
{
    self = argument;
    for (;;) {
        sem_wait(&self->baton);
        self->function(self->argument);
        self->state = ACTOR_DONE;
        ready_all_that_await(self, ACTOR_JOINS);
        if (all_done()) {
            sem_post(&stage.over);
        } else {
            switch_over();
        }
    }
    return NULL;
}

static actor *cast_actor(void (*function)(void *argument), void *argument)
{
    actor *a = stage.actors;
    while (a < stage.actors + MOST_ACTORS && a->state != ACTOR_UNUSED) {
        a++;
    }
    if (a == stage.actors + MOST_ACTORS) {
        give_up("too many threads");
    }
    if (!a->exists) {
        sem_init(&a->baton, 0, 0);
        if (pthread_create(&a->handle, NULL, act, a) != 0) {
            give_up("cannot start a thread");
        }
        pthread_detach(a->handle);
        a->exists = true;
    }
    a->function = function;
    a->argument = argument;
    a->state = ACTOR_READY;
    return a;
}

static void point(void)
{
    if (self) {
        switch_over();
    }
}

/* The place of a mutex; one that nobody holds may lose its place to another. */
static int32_t *owner_of(const wefti_mutex *mutex)
{
    int unused = NOBODY;
    for (int i = 0; i < MOST_LOCKS; i++) {
        if (stage.locks[i].mutex == mutex) {
            return &stage.locks[i].owner;
        }
        unused = stage.locks[i].owner == NOBODY ? i : unused;
    }
    if (unused == NOBODY) {
        give_up("too many locks");
    }
    stage.locks[unused].mutex = mutex;
    return &stage.locks[unused].owner;
}

static void lock_mutex(wefti_mutex *mutex)
{
    while (*owner_of(mutex) != NOBODY) {
        self->state = ACTOR_WAITS_LOCK;
        self->awaited = mutex;
        switch_over();
    }
    *owner_of(mutex) = stage.current;
}

static void release_mutex(const wefti_mutex *mutex)
{
    *owner_of(mutex) = NOBODY;
    ready_all_that_await(mutex, ACTOR_WAITS_LOCK);
}

static void unlock_mutex(wefti_mutex *mutex)
{
    release_mutex(mutex);
    switch_over();
}

static bool wait_condition(wefti_condition *condition, wefti_mutex *mutex,
                           int64_t deadline_ns)
{
    release_mutex(mutex);
    self->timed_out = false;
    self->deadline_ns = deadline_ns;
    self->sleep_order = stage.sleeps++;
    self->awaited = condition;
    self->state = ACTOR_SLEEPS;
    switch_over();
    lock_mutex(mutex);
    return !self->timed_out;
}

static void wake_condition(wefti_condition *condition, bool all)
{
    actor *first = NULL;
    for (int i = 0; i < MOST_ACTORS; i++) {
        actor *a = &stage.actors[i];
        bool sleeps = a->state == ACTOR_SLEEPS && a->awaited == condition;
        if (sleeps && (!first || a->sleep_order < first->sleep_order)) {
            first = a;
        }
    }
    if (all) {
        ready_all_that_await(condition, ACTOR_SLEEPS);
    } else if (first) {
        first->state = ACTOR_READY;
    }
}

static weft_status start_thread(wefti_thread *thread, const char *name,
                                void (*function)(void *argument), void *argument,
                                weft_error *error)
{
    (void)name;
    if (wefti_fault_here(WEFTI_FAULT_THREAD)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY, "made to fail by a test");
    }
    thread->handle = cast_actor(function, argument)->handle;
    return WEFT_OK;
}

static void join_thread(wefti_thread *thread)
{
    for (int i = 0; i < MOST_ACTORS; i++) {
        actor *a = &stage.actors[i];
        if (!a->exists || !pthread_equal(a->handle, thread->handle)) {
            continue;
        }
        while (a->state != ACTOR_DONE) {
            self->state = ACTOR_JOINS;
            self->awaited = a;
            switch_over();
        }
        return;
    }
}

static int64_t stage_clock(void)
{
    return stage.clock_ns;
}

static const wefti_scheduler scheduler = {
    .mutex_lock = lock_mutex,
    .mutex_unlock = unlock_mutex,
    .condition_wait = wait_condition,
    .condition_wake = wake_condition,
    .thread_start = start_thread,
    .thread_join = join_thread,
};

typedef struct role {
    const explore_case *what;
    void *state;
    uint32_t index;
} role;

static void play_role(void *argument)
{
    const role *r = argument;
    r->what->run(r->state, r->index);
}

static void clear_stage(void)
{
    for (int i = 0; i < MOST_ACTORS; i++) {
        stage.actors[i].state = ACTOR_UNUSED;
    }
    for (int i = 0; i < MOST_LOCKS; i++) {
        stage.locks[i].mutex = NULL;
        stage.locks[i].owner = NOBODY;
    }
    stage.alone = 0;
    stage.clock_ns = EPOCH_NS;
    stage.stuck = false;
    stage.decision_count = 0;
}

static bool run_schedule(const explore_case *what)
{
    static role roles[MOST_ACTORS];
    static bool ready;
    if (!ready) {
        sem_init(&stage.over, 0, 0);
        ready = true;
    }
    clear_stage();
    void *state = what->set_up();
    for (uint32_t i = 0; i < what->thread_count; i++) {
        roles[i] = (role){.what = what, .state = state, .index = i};
        cast_actor(play_role, &roles[i]);
    }
    wefti_scheduler_in_charge = &scheduler;
    wefti_schedule_hook = point;
    wefti_clock_hook = stage_clock;
    stage.current = 0;
    sem_post(&stage.actors[0].baton);
    sem_wait(&stage.over);
    wefti_scheduler_in_charge = NULL;
    wefti_schedule_hook = NULL;
    wefti_clock_hook = NULL;
    return what->check(state) && !stage.stuck;
}

static void count_schedule(explore_result *result, bool right, uint64_t name)
{
    if (!right && result->bad++ == 0) {
        result->first_bad = name;
    }
    result->stuck += stage.stuck;
    result->schedules++;
}

explore_result explore_random(const explore_case *what, uint64_t first_seed,
                              uint32_t count)
{
    explore_result result = {0};
    stage.random = true;
    for (uint64_t seed = first_seed; seed < first_seed + count; seed++) {
        stage.random_state = seed;
        count_schedule(&result, run_schedule(what), seed);
    }
    return result;
}

/* Changes the last decision that can still be changed within the bound and drops what
 * came after it; false: none is left. */
static bool next_schedule(uint32_t preemptions)
{
    uint32_t cost = 0;
    for (uint32_t i = 0; i < stage.decision_count; i++) {
        cost += stage.decisions[i].costs && stage.decisions[i].picked > 0;
    }
    for (uint32_t i = stage.decision_count; i-- > 0;) {
        decision *d = &stage.decisions[i];
        cost -= d->costs && d->picked > 0;
        if (d->picked + 1 < d->count && cost + d->costs <= preemptions) {
            d->picked++;
            stage.replay_count = i + 1;
            return true;
        }
    }
    return false;
}

explore_result explore_all(const explore_case *what, uint32_t preemptions,
                           uint64_t limit)
{
    explore_result result = {0};
    stage.random = false;
    stage.replay_count = 0;
    stage.decisions = calloc(MOST_DECISIONS, sizeof *stage.decisions);
    assert_non_null(stage.decisions);
    while (result.schedules < limit && !result.complete) {
        count_schedule(&result, run_schedule(what), result.schedules);
        result.complete = !next_schedule(preemptions);
    }
    free(stage.decisions);
    return result;
}
