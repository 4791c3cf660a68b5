/* SPDX-License-Identifier: Apache-2.0 */
#include "support/explore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/lock_check.h"
#include "base/schedule.h"
#include "base/testing.h"
#include "support/coroutine.h"
#include "support/explore_crash.h"
#include "support/explore_pick.h"

enum {
    MOST_LOCKS = 64,
    MOST_POINTS_ALONE = 200, /* then another must run: a spin loop waits for it */
    MOST_BREAK_UPS = 4,      /* then the schedule is given up */
    NOBODY = -1,
    CORES = 4, /* that the library believes in */
    EPOCH_NS = 1000000000,
    LOOK_NS = 100, /* passes with each look at the clock */
};

typedef enum actor_state {
    ACTOR_UNUSED,
    ACTOR_READY,
    ACTOR_WAITS_LOCK,
    ACTOR_SLEEPS,
    ACTOR_JOINS,
    ACTOR_DONE,
} actor_state;

/* A thread of the library's, kept from schedule to schedule. */
typedef struct actor {
    coroutine coroutine;
    bool made;
    wefti_lock_list locks;
    actor_state state;
    void (*function)(void *argument);
    void *argument;
    char name[16];       /* the library's own may be gone by now */
    const void *awaited; /* the mutex, condition or actor */
    int64_t deadline_ns;
    uint64_t sleep_order;
    bool timed_out;
} actor;

static struct {
    actor actors[EXPLORE_MOST_ACTORS];
    int32_t actor_count; /* in use in this schedule */
    coroutine outside;
    int32_t current;
    uint32_t alone;
    int64_t clock_ns;
    uint64_t sleeps;
    uint32_t break_ups;
    bool given_up;
    bool cores_differ;
    bool trace;
    uint64_t steps;
    int32_t lock_count;
    struct {
        const wefti_mutex *mutex;
        int32_t owner;
    } locks[MOST_LOCKS];
    explore_picker *picker;
} stage;

static void fail(const char *why)
{
    fprintf(stderr, "explore: %s\n", why);
    abort();
}

static actor *self(void)
{
    return &stage.actors[stage.current];
}

static void trace(const char *what, const char *name, const void *where)
{
    stage.steps++;
    if (stage.trace) {
        fprintf(stderr, "%6" PRIu64 "  thread %d (%s): %s %s", stage.steps,
                (int)stage.current, self()->name, what, name);
        if (where) {
            extern const char __executable_start;
            fprintf(stderr, "at 0x%tx", (const char *)where - &__executable_start);
        }
        fprintf(stderr, "\n");
    }
}

/* The one who waits for a deadline that comes first; NULL: there is none. */
static actor *soonest_sleeper(void)
{
    actor *soonest = NULL;
    for (int32_t i = 0; i < stage.actor_count; i++) {
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
    if (stage.trace) {
        fprintf(stderr, "        the deadline of thread %d (%s) passes\n",
                (int)(a - stage.actors), a->name);
    }
}

/* Nobody can go on: lets all sleeps time out, so that the schedule may come to an end.
 * False: that does not help. */
static bool break_up(void)
{
    bool any = false;
    if (stage.trace) {
        fprintf(stderr, "        nobody can go on\n");
    }
    for (int32_t i = 0; i < stage.actor_count; i++) {
        if (stage.actors[i].state == ACTOR_SLEEPS) {
            time_out(&stage.actors[i]);
            any = true;
        }
    }
    return ++stage.break_ups <= MOST_BREAK_UPS && any;
}

static void list_candidates(explore_choice *choice)
{
    bool able = self()->state == ACTOR_READY;
    *choice = (explore_choice){.tired = NOBODY};
    for (int32_t i = 0; i < stage.actor_count; i++) {
        if (i != stage.current && stage.actors[i].state == ACTOR_READY) {
            choice->who[1 + choice->count++] = i;
        }
    }
    if (soonest_sleeper()) {
        choice->who[1 + choice->count++] = EXPLORE_TIME;
    }
    if (able && ++stage.alone > MOST_POINTS_ALONE && choice->count > 0) {
        choice->tired = stage.current;
        able = false;
    }
    if (able) {
        choice->who[0] = stage.current;
        choice->count++;
        choice->goes_on = true;
    } else {
        memmove(choice->who, choice->who + 1, choice->count * sizeof choice->who[0]);
    }
}

/* Picks who goes on; NULL: the schedule is given up. */
static actor *pick_next(void)
{
    explore_choice choice;
    list_candidates(&choice);
    while (choice.count == 0) {
        if (!break_up()) {
            return NULL;
        }
        list_candidates(&choice);
    }
    int32_t picked = explore_pick(stage.picker, &choice);
    if (picked < 0) {
        return NULL;
    }
    int32_t who = choice.who[picked];
    if (who != EXPLORE_TIME) {
        return &stage.actors[who];
    }
    actor *sleeper = soonest_sleeper();
    time_out(sleeper);
    return sleeper;
}

static void enter(coroutine *from, actor *next)
{
    stage.current = (int32_t)(next - stage.actors);
    stage.alone = 0;
    wefti_lock_check_use(&next->locks);
    coroutine_switch(from, &next->coroutine);
}

/* Ends the schedule from inside. */
static void leave(void)
{
    wefti_lock_check_use(NULL);
    coroutine_switch(&self()->coroutine, &stage.outside);
}

/* Lets the next one go on; returns when that is the caller again. */
static void step(const char *what, const char *name, const void *where)
{
    actor *me = self();
    trace(what, name, where);
    actor *next = pick_next();
    if (!next) {
        stage.given_up = true;
        leave();
    } else if (next != me) {
        enter(&me->coroutine, next);
    }
}

static void ready_all_that_await(const void *what, actor_state state)
{
    for (int32_t i = 0; i < stage.actor_count; i++) {
        actor *a = &stage.actors[i];
        if (a->state == state && a->awaited == what) {
            a->state = ACTOR_READY;
        }
    }
}

static bool all_done(void)
{
    for (int32_t i = 0; i < stage.actor_count; i++) {
        if (stage.actors[i].state != ACTOR_DONE) {
            return false;
        }
    }
    return true;
}

static void act(void *argument)
{
    actor *me = argument;
    for (;;) {
        me->function(me->argument);
        me->state = ACTOR_DONE;
        ready_all_that_await(me, ACTOR_JOINS);
        if (all_done()) {
            leave();
        } else {
            step("ends", "", NULL);
        }
    }
}

static actor *cast_actor(const char *name, void (*function)(void *argument),
                         void *argument)
{
    if (stage.actor_count == EXPLORE_MOST_ACTORS) {
        fail("too many threads");
    }
    actor *a = &stage.actors[stage.actor_count++];
    if (!a->made) {
        coroutine_init(&a->coroutine, act, a);
        a->made = true;
    }
    a->function = function;
    a->argument = argument;
    size_t length = strnlen(name, sizeof a->name - 1);
    memcpy(a->name, name, length);
    a->name[length] = '\0';
    a->state = ACTOR_READY;
    a->locks.held_count = 0;
    return a;
}

static void point(void)
{
    step("atomic", "", __builtin_return_address(0));
}

/* The place of a mutex; one that nobody holds may lose its place to another. */
static int32_t *owner_of(const wefti_mutex *mutex)
{
    int32_t unused = NOBODY;
    for (int32_t i = 0; i < stage.lock_count; i++) {
        if (stage.locks[i].mutex == mutex) {
            return &stage.locks[i].owner;
        }
        unused = stage.locks[i].owner == NOBODY ? i : unused;
    }
    if (stage.lock_count < MOST_LOCKS) {
        unused = stage.lock_count++;
    }
    if (unused == NOBODY) {
        fail("too many locks");
    }
    stage.locks[unused].mutex = mutex;
    stage.locks[unused].owner = NOBODY;
    return &stage.locks[unused].owner;
}

static void lock_mutex(wefti_mutex *mutex)
{
    while (*owner_of(mutex) != NOBODY) {
        self()->state = ACTOR_WAITS_LOCK;
        self()->awaited = mutex;
        step("awaits lock", mutex->name, NULL);
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
    const char *name = mutex->name;
    release_mutex(mutex);
    step("unlocked", name, NULL);
}

static bool wait_condition(wefti_condition *condition, wefti_mutex *mutex,
                           int64_t deadline_ns)
{
    actor *me = self();
    release_mutex(mutex);
    me->timed_out = false;
    me->deadline_ns = deadline_ns;
    me->sleep_order = stage.sleeps++;
    me->awaited = condition;
    me->state = ACTOR_SLEEPS;
    step("sleeps under", mutex->name, NULL);
    lock_mutex(mutex);
    return !me->timed_out;
}

static void wake_condition(wefti_condition *condition, bool all)
{
    actor *first = NULL;
    for (int32_t i = 0; i < stage.actor_count; i++) {
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

static pthread_t handle_of(const actor *a)
{
    return (pthread_t)(a - stage.actors + 1);
}

static weft_status start_thread(wefti_thread *thread, const char *name,
                                void (*function)(void *argument), void *argument,
                                weft_error *error)
{
    if (wefti_fault_here(WEFTI_FAULT_THREAD)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY, "made to fail by a test");
    }
    thread->handle = handle_of(cast_actor(name, function, argument));
    return WEFT_OK;
}

static void join_thread(wefti_thread *thread)
{
    actor *other = &stage.actors[(size_t)thread->handle - 1];
    while (other->state != ACTOR_DONE) {
        self()->state = ACTOR_JOINS;
        self()->awaited = other;
        step("joins", other->name, NULL);
    }
}

static pthread_t current_thread(void)
{
    return handle_of(self());
}

static void yield_now(void)
{
    stage.alone = MOST_POINTS_ALONE;
    step("yields", "", NULL);
}

static uint32_t current_core(void)
{
    return stage.cores_differ ? (uint32_t)stage.current : 0;
}

static int64_t look_at_clock(void)
{
    return stage.clock_ns += LOOK_NS;
}

uint64_t explore_number(void)
{
    return explore_pick_number(stage.picker);
}

void explore_pass_time(int64_t ns)
{
    stage.clock_ns += ns;
}

static const wefti_scheduler scheduler = {
    .mutex_lock = lock_mutex,
    .mutex_unlock = unlock_mutex,
    .condition_wait = wait_condition,
    .condition_wake = wake_condition,
    .thread_start = start_thread,
    .thread_join = join_thread,
    .current = current_thread,
    .yield = yield_now,
    .current_core = current_core,
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

static void put_in_charge(bool in_charge)
{
    wefti_scheduler_in_charge = in_charge ? &scheduler : NULL;
    wefti_schedule_hook = in_charge ? point : NULL;
    wefti_clock_hook = in_charge ? look_at_clock : NULL;
}

static void clear_stage(const explore_case *what)
{
    static bool ready;
    if (!ready) {
        coroutine_init_self(&stage.outside);
        ready = true;
    }
    stage.actor_count = 0;
    stage.lock_count = 0;
    stage.alone = 0;
    stage.clock_ns = EPOCH_NS;
    stage.break_ups = 0;
    stage.given_up = false;
    stage.steps = 0;
    stage.cores_differ = what->cores_differ;
    wefti_pretended_cores = CORES;
}

/* Anybody may be the first. */
static actor *pick_first(uint32_t count)
{
    explore_choice choice = {.count = count, .tired = NOBODY};
    for (uint32_t i = 0; i < count; i++) {
        choice.who[i] = (int32_t)i;
    }
    int32_t picked = explore_pick(stage.picker, &choice);
    return &stage.actors[picked < 0 ? 0 : picked];
}

static bool run_schedule(const explore_case *what)
{
    static role roles[EXPLORE_MOST_ACTORS];
    clear_stage(what);
    void *state = what->set_up();
    for (uint32_t i = 0; i < what->thread_count; i++) {
        roles[i] = (role){.what = what, .state = state, .index = i};
        (void)cast_actor("case", play_role, &roles[i]);
    }
    put_in_charge(true);
    enter(&stage.outside, pick_first(what->thread_count));
    put_in_charge(false);
    bool right = false;
    if (stage.given_up) {
        for (int32_t i = 0; i < stage.actor_count; i++) {
            coroutine_init(&stage.actors[i].coroutine, act, &stage.actors[i]);
        }
    } else {
        right = what->check(state) && stage.break_ups == 0;
    }
    wefti_pretended_cores = 0;
    return right;
}

static void count_schedule(explore_result *result, bool right)
{
    if (!right && result->bad++ == 0) {
        explore_token_write(stage.picker, result->first_bad, sizeof result->first_bad);
    }
    result->stuck += stage.break_ups > 0;
    result->schedules++;
}

static bool is_enough(const explore_effort *effort, const explore_result *result)
{
    return effort->enough_bad > 0 && result->bad >= effort->enough_bad;
}

void explore_random(const explore_case *what, const explore_effort *effort,
                    explore_result *result)
{
    stage.picker = explore_picker_get();
    explore_crash_begin(what->name);
    uint64_t end = effort->first_seed + effort->count;
    for (uint64_t seed = effort->first_seed; seed < end && !is_enough(effort, result);
         seed++) {
        explore_pick_by_walk(stage.picker, seed);
        count_schedule(result, run_schedule(what));
    }
    explore_crash_end();
}

void explore_pct(const explore_case *what, const explore_effort *effort,
                 explore_result *result)
{
    uint64_t length = 1;
    stage.picker = explore_picker_get();
    explore_crash_begin(what->name);
    uint64_t end = effort->first_seed + effort->count;
    for (uint64_t seed = effort->first_seed; seed < end && !is_enough(effort, result);
         seed++) {
        explore_pick_by_priority(stage.picker, 2 + seed % 3, length, seed);
        count_schedule(result, run_schedule(what));
        if (!stage.given_up && explore_pick_length(stage.picker) > length) {
            length = explore_pick_length(stage.picker);
        }
    }
    explore_crash_end();
}

void explore_all(const explore_case *what, const explore_effort *effort,
                 explore_result *result)
{
    stage.picker = explore_picker_get();
    explore_crash_begin(what->name);
    bool more = explore_pick_first_of_all(stage.picker);
    for (uint64_t i = 0; i < effort->count && more && !is_enough(effort, result); i++) {
        count_schedule(result, run_schedule(what));
        more = explore_pick_next_of_all(stage.picker, effort->preemptions);
    }
    result->complete = !more;
    explore_crash_end();
}

bool explore_replay(const explore_case *what, const char *token)
{
    stage.picker = explore_picker_get();
    if (!explore_token_read(stage.picker, token)) {
        fprintf(stderr, "explore: '%s' names no schedule\n", token);
        return false;
    }
    stage.trace = true;
    explore_crash_begin(what->name);
    bool right = run_schedule(what);
    explore_crash_end();
    stage.trace = false;
    fprintf(stderr, "%s %s: %s\n", what->name, token,
            right ? "all was right" : "WRONG");
    return right;
}
