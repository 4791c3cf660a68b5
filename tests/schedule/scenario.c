/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const scenario *const lists[] = {
    lease_scenarios,  share_scenarios,  device_scenarios,   request_scenarios,
    stream_scenarios, memory_scenarios, host_scenarios,     plan_scenarios,
    team_scenarios,   queue_scenarios,  in_place_scenarios,
};
enum { LIST_COUNT = sizeof(lists) / sizeof(lists[0]) };

const scenario *scenario_at(size_t index)
{
    for (size_t i = 0; i < LIST_COUNT; i++) {
        for (const scenario *s = lists[i]; s->what.name; s++) {
            if (index-- == 0) {
                return s;
            }
        }
    }
    return NULL;
}

const scenario *scenario_find(const char *name)
{
    const scenario *found = NULL;
    for (size_t i = 0; !found && scenario_at(i); i++) {
        found = strcmp(scenario_at(i)->what.name, name) == 0 ? scenario_at(i) : NULL;
    }
    return found;
}

const char *scenario_guard_name(wefti_sabotage guard)
{
    static const char *const names[WEFTI_SABOTAGE_COUNT] = {
        [WEFTI_SABOTAGE_NONE] = "NONE",
        [WEFTI_SABOTAGE_LEASE_TWICE] = "LEASE_TWICE",
        [WEFTI_SABOTAGE_REUSE_EARLY] = "REUSE_EARLY",
        [WEFTI_SABOTAGE_SWAP_OUTPUTS] = "SWAP_OUTPUTS",
        [WEFTI_SABOTAGE_SUM_ORDER] = "SUM_ORDER",
        [WEFTI_SABOTAGE_EXACTLY_ONCE] = "EXACTLY_ONCE",
        [WEFTI_SABOTAGE_PLAN_DEDUPE] = "PLAN_DEDUPE",
        [WEFTI_SABOTAGE_WAKE_NEXT] = "WAKE_NEXT",
        [WEFTI_SABOTAGE_WAKE_ON_CLOSE] = "WAKE_ON_CLOSE",
        [WEFTI_SABOTAGE_FREE_WAIT] = "FREE_WAIT",
        [WEFTI_SABOTAGE_DRAIN_WAKE] = "DRAIN_WAKE",
        [WEFTI_SABOTAGE_TIMER_WAKE] = "TIMER_WAKE",
        [WEFTI_SABOTAGE_EVENT_WAKE] = "EVENT_WAKE",
        [WEFTI_SABOTAGE_PLAN_WAKE] = "PLAN_WAKE",
        [WEFTI_SABOTAGE_ROOM_WAKE] = "ROOM_WAKE",
        [WEFTI_SABOTAGE_POINT_WISH] = "POINT_WISH",
        [WEFTI_SABOTAGE_SETTLE_TWICE] = "SETTLE_TWICE",
        [WEFTI_SABOTAGE_SETTLE_DUE] = "SETTLE_DUE",
        [WEFTI_SABOTAGE_QUEUE_WORK] = "QUEUE_WORK",
        [WEFTI_SABOTAGE_QUEUE_ROOM] = "QUEUE_ROOM",
        [WEFTI_SABOTAGE_QUEUE_LEFT] = "QUEUE_LEFT",
        [WEFTI_SABOTAGE_QUEUE_AGAIN] = "QUEUE_AGAIN",
        [WEFTI_SABOTAGE_QUEUE_WATCH] = "QUEUE_WATCH",
        [WEFTI_SABOTAGE_QUEUE_SHUT] = "QUEUE_SHUT",
        [WEFTI_SABOTAGE_QUEUE_FORGET] = "QUEUE_FORGET",
        [WEFTI_SABOTAGE_QUEUE_POST] = "QUEUE_POST",
        [WEFTI_SABOTAGE_END_WAKE] = "END_WAKE",
        [WEFTI_SABOTAGE_QUEUE_IDLE] = "QUEUE_IDLE",
        [WEFTI_SABOTAGE_QUEUE_ONCE] = "QUEUE_ONCE",
        [WEFTI_SABOTAGE_QUEUE_KEEP] = "QUEUE_KEEP",
        [WEFTI_SABOTAGE_QUEUE_DROPPED] = "QUEUE_DROPPED",
        [WEFTI_SABOTAGE_QUEUE_ORDER] = "QUEUE_ORDER",
        [WEFTI_SABOTAGE_TEAM_WAIT] = "TEAM_WAIT",
        [WEFTI_SABOTAGE_PLAN_EVICT] = "PLAN_EVICT",
        [WEFTI_SABOTAGE_HOLD_WAKE] = "HOLD_WAKE",
        [WEFTI_SABOTAGE_TURN_WAKE] = "TURN_WAKE",
    };
    return (unsigned)guard < WEFTI_SABOTAGE_COUNT ? names[guard] : NULL;
}

void scenario_require(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "a scenario cannot be set up: %s\n", what);
        abort();
    }
}
