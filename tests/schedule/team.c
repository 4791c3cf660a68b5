/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the CPU that join and leave a caller's steps. */
#include "schedule/scenario.h"

#include <stdlib.h>

#include "backend/cpu/team.h"

enum { TILES = 5, STEPS = 3, TILE_NS = 100000, CORES = 3 };

struct team_stage;
typedef struct team_job {
    struct team_stage *stage;
    uint32_t caller;
} team_job;

typedef struct team_stage {
    team_job jobs[2];
    wefti_team *team;
    wefti_atomic_u32 done[2][STEPS][TILES];
    uint32_t open[2]; /* plain: the step that each caller has open, 0: none */
    uint32_t violations;
} team_stage;

static void *set_team_stage(void)
{
    team_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    return s;
}

static weft_status work(const void *user, uint32_t step, int32_t member, int64_t begin,
                        int64_t end, weft_error *error)
{
    (void)member;
    const team_job *job = user;
    team_stage *s = job->stage;
    for (int64_t i = begin; i < end; i++) {
        s->violations += s->open[job->caller] != step + 1;
        wefti_atomic_u32_add_relaxed(&s->done[job->caller][step][i], 1);
        s->violations += s->open[job->caller] != step + 1;
    }
    return step == 1 && end == TILES
               ? wefti_error(error, WEFT_INTERNAL, "the last tile of step 1")
               : WEFT_OK;
}

static void share_steps(wefti_team_run *run, const team_job *job)
{
    team_stage *s = job->stage;
    for (uint32_t step = 0; step < STEPS; step++) {
        s->open[job->caller] = step + 1;
        weft_status status = wefti_team_share(run, step, TILES, TILE_NS, NULL);
        s->open[job->caller] = 0;
        s->violations += (status == WEFT_INTERNAL) != (step == 1);
        for (int i = 0; i < TILES; i++) {
            s->violations +=
                wefti_atomic_u32_load_relaxed(&s->done[job->caller][step][i]) != 1;
        }
    }
}

static void call_team(team_stage *s, uint32_t caller)
{
    team_job *job = &s->jobs[caller];
    *job = (team_job){.stage = s, .caller = caller};
    wefti_callers *callers = wefti_team_callers(s->team);
    explore_pass_time(2000000); /* a pause that helpers take is over */
    wefti_caller_shard *shard = wefti_callers_enter(callers);
    wefti_team_run *run = wefti_team_begin(s->team, work, job, 2);
    if (run) {
        share_steps(run, job);
        wefti_team_end(run);
    }
    wefti_callers_leave(shard);
}

static void call_second(void *argument)
{
    call_team(argument, 1);
}

static void call_with_helpers(void *state, uint32_t index)
{
    (void)index;
    team_stage *s = state;
    scenario_require(wefti_team_create(2, CORES, &s->team, NULL) == WEFT_OK, "a team");
    wefti_thread other;
    scenario_require(wefti_thread_start(&other, "caller", call_second, s, NULL) ==
                         WEFT_OK,
                     "a thread");
    call_team(s, 0);
    wefti_thread_join(&other);
    wefti_team_destroy(s->team);
}

static void call_alone(void *state, uint32_t index)
{
    (void)index;
    team_stage *s = state;
    scenario_require(wefti_team_create(1, CORES, &s->team, NULL) == WEFT_OK, "a team");
    call_team(s, 0);
    wefti_team_destroy(s->team);
}

static bool check_team_stage(void *state)
{
    team_stage *s = state;
    bool right = s->violations == 0;
    free(s);
    return right;
}

const scenario team_scenarios[] = {
    {.what = {.name = "team-lone-caller",
              .thread_count = 1,
              .cores_differ = true,
              .set_up = set_team_stage,
              .run = call_alone,
              .check = check_team_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_TEAM_WAIT}},
    {.what = {.name = "team-two-callers",
              .thread_count = 1,
              .cores_differ = true,
              .set_up = set_team_stage,
              .run = call_with_helpers,
              .check = check_team_stage},
     .guards = {WEFTI_SABOTAGE_TEAM_WAIT}},
    {.what = {.name = NULL}},
};
