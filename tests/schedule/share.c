/* SPDX-License-Identifier: Apache-2.0 */
/* A shared context: calls in it take turns, nobody is refused, it comes back once. */
#include "schedule/scenario.h"

#include <stdlib.h>

#include "runtime/share.h"

enum { TURNS = 2 };

typedef struct share_stage {
    weft_device *device;
    uint32_t inside, violations, joined; /* plain: one thread runs at a time */
    weft_context *running, *held[2];
} share_stage;

static void *set_one_context(void)
{
    share_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = 1;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK,
                     "a device");
    return s;
}

static void *set_running_context(void)
{
    share_stage *s = set_one_context();
    scenario_require(wefti_context_acquire(s->device, NULL, &s->running, NULL) ==
                         WEFT_OK,
                     "a context");
    return s;
}

static void use(share_stage *s, weft_context *context)
{
    weft_context *place = wefti_context_place(context);
    if (wefti_context_enter(place, s, NULL) != WEFT_OK) {
        s->violations++;
        return;
    }
    s->violations += s->inside++ != 0 || place->stream == NULL;
    WEFTI_SCHEDULE_POINT();
    s->inside--;
    wefti_context_leave(place);
}

/* The first waits for a context of its own, the others share. */
static void acquire_and_use(void *state, uint32_t index)
{
    share_stage *s = state;
    weft_lease_params params = WEFT_LEASE_PARAMS_INIT;
    params.policy = index == 0 ? WEFT_LEASE_WAIT : WEFT_LEASE_SHARE;
    weft_context *context;
    if (weft_context_acquire(s->device, &params, &context, NULL) != WEFT_OK) {
        s->violations++;
        return;
    }
    s->joined += context->host != NULL;
    for (int i = 0; i < TURNS; i++) {
        use(s, context);
    }
    if (index == 1) {
        s->violations += weft_context_stream(context) == NULL;
        use(s, context);
    }
    weft_context_release(context);
}

/* A run has the only context; two share, and hold what they get until both have it. */
static void run_or_hold(void *state, uint32_t index)
{
    share_stage *s = state;
    if (index == 0) {
        use(s, s->running);
        wefti_context_release(s->running);
        return;
    }
    weft_context *context;
    weft_lease_params params = WEFT_LEASE_PARAMS_INIT;
    params.policy = WEFT_LEASE_SHARE;
    if (weft_context_acquire(s->device, &params, &context, NULL) != WEFT_OK) {
        s->violations++;
        return;
    }
    s->held[index - 1] = context; /* given back by check */
    use(s, context);
}

static bool check_share_stage(void *state)
{
    share_stage *s = state;
    weft_lease_params fail = WEFT_LEASE_PARAMS_INIT;
    fail.policy = WEFT_LEASE_FAIL;
    weft_context *context = NULL;
    for (int i = 0; i < 2; i++) {
        weft_context_release(s->held[i]);
    }
    bool right = s->violations == 0 && s->inside == 0 &&
                 weft_context_acquire(s->device, &fail, &context, NULL) == WEFT_OK &&
                 !weft_context_was_shared(context);
    weft_context_release(context);
    weft_device_release(s->device);
    free(s);
    return right;
}

const scenario share_scenarios[] = {
    {.what = {.name = "share-turns",
              .thread_count = 3,
              .set_up = set_one_context,
              .run = acquire_and_use,
              .check = check_share_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_TURN_WAKE}},
    {.what = {.name = "share-held",
              .thread_count = 3,
              .set_up = set_running_context,
              .run = run_or_hold,
              .check = check_share_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_HOLD_WAKE}},
    {.what = {.name = NULL}},
};
