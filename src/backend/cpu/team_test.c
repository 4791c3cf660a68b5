/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/team.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/testing.h"
#include "support/crew.h"

enum { MAX_TILES = 200, MAX_STEPS = 12, MAX_HELPERS = 7, MAX_CALLERS = 16 };

/* A job whose tiles check that they are done once, in their step's turn, by a member
 * that does nothing else at the time. */
typedef struct job {
    uint32_t tile_counts[MAX_STEPS];
    uint64_t fails[MAX_STEPS]; /* tiles below 64 that fail, as bits */
    int64_t spin_ns;
    uint32_t steps_done;                  /* written by the caller between steps */
    uint8_t done[MAX_STEPS][MAX_TILES];   /* plain: each tile has one thread */
    uint8_t member_busy[MAX_HELPERS + 1]; /* plain: each member is one thread */
    wefti_atomic_u32 wrong, helped;
} job;

static void spin(int64_t duration_ns)
{
    int64_t end = wefti_clock_ns() + duration_ns;
    while (duration_ns > 0 && wefti_clock_ns() < end) {
        wefti_pause();
    }
}

static weft_status do_tiles(const void *opaque, uint32_t step, int32_t member,
                            int64_t begin, int64_t end, weft_error *error)
{
    job *j = (job *)(uintptr_t)opaque;
    uint32_t wrong = 0;
    wrong += member < 0 || member > MAX_HELPERS || j->member_busy[member]++ != 0;
    wrong += begin >= end || end > j->tile_counts[step] || j->steps_done != step;
    (void)wefti_atomic_u32_add_relaxed(&j->helped, member > 0);
    weft_status status = WEFT_OK;
    for (int64_t tile = begin; tile < end; tile++) {
        wrong += j->done[step][tile]++ != 0;
        spin(j->spin_ns);
        if (tile < 64 && (j->fails[step] >> tile & 1) != 0 && status == WEFT_OK) {
            status = wefti_error(error, WEFT_INVALID_ARGUMENT, "tile %d of step %d",
                                 (int)tile, (int)step);
        }
    }
    j->member_busy[member] = 0;
    (void)wefti_atomic_u32_add_relaxed(&j->wrong, wrong);
    return status;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void make_job(job *j, uint32_t *seed, uint32_t *step_count)
{
    memset(j, 0, sizeof(*j));
    *step_count = 1 + next_random(seed) % MAX_STEPS;
    for (uint32_t step = 0; step < *step_count; step++) {
        j->tile_counts[step] = 1 + next_random(seed) % MAX_TILES;
    }
    j->spin_ns = next_random(seed) % 4 == 0 ? next_random(seed) % 2000 : 0;
}

/* Runs all steps as a recipe does; returns what was wrong. */
static uint32_t run_job(wefti_team *team, job *j, uint32_t step_count,
                        weft_status *status, weft_error *error)
{
    uint32_t wrong = 0;
    wefti_caller_shard *shard = wefti_callers_enter(wefti_team_callers(team));
    wefti_team_run *run = wefti_team_begin(team, do_tiles, j, MAX_HELPERS);
    *status = WEFT_OK;
    for (uint32_t step = 0; step < step_count && *status == WEFT_OK; step++) {
        uint32_t count = j->tile_counts[step];
        *status = run != NULL
                      ? wefti_team_share(run, step, count, 500 + j->spin_ns, error)
                      : do_tiles(j, step, 0, 0, count, error);
        for (uint32_t tile = 0; tile < count; tile++) {
            wrong += j->done[step][tile] != 1;
        }
        j->steps_done++;
    }
    if (run != NULL) {
        wefti_team_end(run);
    }
    wefti_callers_leave(shard);
    return wrong + wefti_atomic_u32_load_acquire(&j->wrong);
}

static wefti_team *new_team(int32_t helpers, int32_t cores)
{
    wefti_team *team = NULL;
    assert_int_equal(wefti_team_create(helpers, cores, &team, NULL), WEFT_OK);
    return team;
}

/* The caller's tiles give a helper time to come, whatever else the machine does. */
static weft_status wait_for_help(const void *opaque, uint32_t step, int32_t member,
                                 int64_t begin, int64_t end, weft_error *error)
{
    job *j = (job *)(uintptr_t)opaque;
    int64_t deadline = wefti_deadline(50000000);
    weft_status status = do_tiles(opaque, step, member, begin, end, error);
    while (member == 0 && wefti_atomic_u32_load_acquire(&j->helped) == 0 &&
           wefti_clock_ns() < deadline) {
        wefti_thread_yield();
    }
    return status;
}

static void a_lone_caller_is_helped(void **state)
{
    (void)state;
    static job j;
    wefti_team *team = new_team(1, 2);
    assert_int_equal(wefti_team_helper_count(team), 1);
    wefti_caller_shard *shard = wefti_callers_enter(wefti_team_callers(team));
    uint32_t helped = 0;
    int64_t deadline = wefti_deadline(60000000000);
    while (helped < 10 && wefti_clock_ns() < deadline) {
        memset(&j, 0, sizeof(j));
        j.tile_counts[0] = 100;
        wefti_team_run *run = wefti_team_begin(team, wait_for_help, &j, 1);
        if (run == NULL) {
            wefti_thread_yield(); /* helpers rest after a stall */
            continue;
        }
        assert_int_equal(wefti_team_share(run, 0, 100, 5000, NULL), WEFT_OK);
        wefti_team_end(run);
        assert_int_equal(wefti_atomic_u32_load_acquire(&j.wrong), 0);
        helped += wefti_atomic_u32_load_acquire(&j.helped) > 0;
    }
    assert_int_equal(helped, 10);
    assert_true(wefti_team_helped_tiles(team) >= 10);
    wefti_callers_leave(shard);
    wefti_team_destroy(team);
}

/* A clock that moves only when it is set. */
static wefti_atomic_u64 standing_ns;

static int64_t read_standing(void)
{
    return (int64_t)wefti_atomic_u64_load_acquire(&standing_ns);
}

typedef struct attempt {
    wefti_team *team;
    job job;
    wefti_team_run *run;
} attempt;

/* Two of a crowd's moments later. A helper that meets its caller's core leaves at once,
 * perhaps before the caller sees it: then there is no run this time. */
static bool is_helped_later(void *user)
{
    attempt *self = user;
    (void)wefti_atomic_u64_add_acq_rel(&standing_ns, 2000000);
    self->run = wefti_team_begin(self->team, do_tiles, &self->job, 1);
    return self->run != NULL;
}

static void no_help_when_all_cores_have_callers(void **state)
{
    (void)state;
    static attempt a;
    wefti_atomic_u64_store_release(&standing_ns, 1000000000);
    wefti_clock_hook = read_standing;
    a.team = new_team(1, 2);
    wefti_callers *callers = wefti_team_callers(a.team);
    wefti_caller_shard *first = wefti_callers_enter(callers);
    wefti_caller_shard *second = wefti_callers_enter(callers);
    assert_int_equal(wefti_callers_count(callers), 2);
    assert_null(wefti_team_begin(a.team, do_tiles, &a.job, 1));
    wefti_callers_leave(second);
    /* It stays so for a moment: the other is likely to come back. */
    assert_null(wefti_team_begin(a.team, do_tiles, &a.job, 1));
    crew_await(is_helped_later, &a);
    wefti_team_end(a.run);
    wefti_callers_leave(first);
    assert_int_equal(wefti_callers_count(callers), 0);
    wefti_team_destroy(a.team);
}

typedef struct caller {
    wefti_team *team;
    uint32_t seed, runs, wrong, helped;
    bool failing;
    job j;
    wefti_thread thread;
} caller;

/* The first tile that fails in the first step that has one. */
static void check_failure(caller *c, uint32_t step_count, weft_status status,
                          const weft_error *error)
{
    char expected[64] = "";
    for (uint32_t step = 0; step < step_count && expected[0] == '\0'; step++) {
        for (uint32_t tile = 0; tile < c->j.tile_counts[step] && tile < 64; tile++) {
            if ((c->j.fails[step] >> tile & 1) != 0) {
                snprintf(expected, sizeof(expected), "tile %d of step %d", (int)tile,
                         (int)step);
                break;
            }
        }
    }
    bool fails = expected[0] != '\0';
    c->wrong += status != (fails ? WEFT_INVALID_ARGUMENT : WEFT_OK);
    c->wrong += fails && strcmp(error->message, expected) != 0;
}

static void run_many(void *argument)
{
    caller *c = argument;
    for (uint32_t i = 0; i < c->runs; i++) {
        uint32_t step_count;
        weft_status status;
        weft_error error;
        make_job(&c->j, &c->seed, &step_count);
        for (uint32_t step = 0; c->failing && step < step_count; step++) {
            uint64_t high = next_random(&c->seed), low = next_random(&c->seed);
            bool some = next_random(&c->seed) % 8 == 0;
            c->j.fails[step] = some ? high << 40 | low : 0;
        }
        c->wrong += run_job(c->team, &c->j, step_count, &status, &error);
        check_failure(c, step_count, status, &error);
        c->helped += wefti_atomic_u32_load_acquire(&c->j.helped) > 0;
    }
}

/* `cores` is what the team believes; threads may well be more than the real ones. */
static void run_callers(int32_t helpers, int32_t cores, uint32_t caller_count,
                        uint32_t runs, bool failing)
{
    static caller callers[MAX_CALLERS];
    wefti_team *team = new_team(helpers, cores);
    for (uint32_t i = 0; i < caller_count; i++) {
        callers[i] = (caller){.team = team,
                              .seed = i * 7919 + (uint32_t)helpers,
                              .runs = runs,
                              .failing = failing};
        assert_int_equal(wefti_thread_start(&callers[i].thread, "caller", run_many,
                                            &callers[i], NULL),
                         WEFT_OK);
    }
    for (uint32_t i = 0; i < caller_count; i++) {
        wefti_thread_join(&callers[i].thread);
        assert_int_equal(callers[i].wrong, 0);
    }
    assert_int_equal(wefti_callers_count(wefti_team_callers(team)), 0);
    wefti_team_destroy(team);
}

static void each_tile_is_done_once(void **state)
{
    (void)state;
    run_callers(1, 2, 1, 400, false);
    run_callers(3, 4, 1, 200, false);
    run_callers(MAX_HELPERS, 8, 3, 60, false);
    run_callers(MAX_HELPERS, 64, MAX_CALLERS, 20, false);
    run_callers(1, 2, 2, 200, false);
    run_callers(2, 5, 4, 60, false);
    run_callers(1, 2, MAX_CALLERS, 40, false);
}

static void the_first_failing_tile_is_named(void **state)
{
    (void)state;
    run_callers(1, 2, 1, 400, true);
    run_callers(3, 4, 2, 100, true);
    run_callers(MAX_HELPERS, 64, MAX_CALLERS, 20, true);
}

static void creating_can_fail(void **state)
{
    (void)state;
    uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK |
                     1u << WEFTI_FAULT_THREAD;
    weft_status status = WEFT_INTERNAL;
    for (uint64_t n = 1; status != WEFT_OK; n++) {
        wefti_team *team = NULL;
        weft_error error = {0};
        (void)wefti_fault_arm(n, sites);
        status = wefti_team_create(3, 4, &team, &error);
        (void)wefti_fault_arm(0, 0);
        assert_true((status == WEFT_OK) == (team != NULL));
        assert_int_equal(error.status, status);
        assert_true(n < 50);
        wefti_team_destroy(team);
    }
    wefti_team_destroy(NULL);
}

/* Helpers that wait awake for more work end at once when the team does. */
static void ends_with_helpers_awake(void **state)
{
    (void)state;
    static job j;
    for (int i = 0; i < 50; i++) {
        weft_status status;
        wefti_team *team = new_team(3, 4);
        memset(&j, 0, sizeof(j));
        j.tile_counts[0] = 100;
        assert_int_equal(run_job(team, &j, 1, &status, NULL), 0);
        wefti_team_destroy(team);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_caller_is_helped),
        cmocka_unit_test_teardown(no_help_when_all_cores_have_callers,
                                  crew_reset_clock),
        cmocka_unit_test(each_tile_is_done_once),
        cmocka_unit_test(the_first_failing_tile_is_named),
        cmocka_unit_test(creating_can_fail),
        cmocka_unit_test(ends_with_helpers_awake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
