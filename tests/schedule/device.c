/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule/scenario.h"

#include <stdlib.h>

#include "runtime/device.h"

/* A device: two work, one closes and drains. */
typedef struct device_stage {
    weft_device *device;
    uint32_t violations, begun, drained;
} device_stage;

static device_stage *set_device_stage(int32_t worker_count, int32_t max_contexts)
{
    device_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
    params.max_contexts = max_contexts;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK,
                     "a device");
    return s;
}

static void *set_device_alone(void)
{
    return set_device_stage(0, 1);
}

static void work_or_drain(void *state, uint32_t index)
{
    device_stage *s = state;
    if (index == 0) {
        weft_device_close(s->device);
        s->violations += weft_device_drain(s->device, WEFT_FOREVER, NULL) != WEFT_OK;
        s->violations += s->begun != 0;
        s->drained = 1;
        return;
    }
    uint32_t shard;
    while (wefti_device_begin(s->device, &shard, NULL) == WEFT_OK) {
        s->violations += s->drained;
        s->begun++;
        WEFTI_SCHEDULE_POINT();
        s->begun--;
        wefti_device_end(s->device, shard, WEFTI_OUTCOME_DONE);
        if (index == 1) {
            break;
        }
    }
}

static bool check_device_stage(void *state)
{
    device_stage *s = state;
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    bool right = s->violations == 0 && n.accepted == n.done + n.cancelled + n.timed_out;
    weft_device_release(s->device);
    free(s);
    return right;
}

const scenario device_scenarios[] = {
    {.what = {.name = "device-drain",
              .thread_count = 3,
              .set_up = set_device_alone,
              .run = work_or_drain,
              .check = check_device_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_DRAIN_WAKE}},
    {.what = {.name = NULL}},
};
