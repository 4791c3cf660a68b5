/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule/scenario.h"

#include <stdlib.h>

#include "runtime/stream.h"

/* A stream: its owner submits while two others want points. */
typedef struct stream_stage {
    weft_device *device;
    weft_stream *stream;
    uint64_t points[3];
    uint32_t violations;
} stream_stage;

static void *set_stream_stage(void)
{
    stream_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = 1;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK,
                     "a device");
    scenario_require(weft_stream_acquire(s->device, &s->stream, NULL) == WEFT_OK,
                     "a device");
    return s;
}

static void submit_or_mark(void *state, uint32_t index)
{
    stream_stage *s = state;
    char byte;
    if (index > 0) {
        s->points[index] = wefti_stream_mark(s->stream);
        return;
    }
    s->violations += weft_stream_fill(s->stream, &byte, 1, 1, NULL) != WEFT_OK;
}

static bool check_stream_stage(void *state)
{
    stream_stage *s = state;
    bool right = s->violations == 0 && s->points[1] != s->points[2];
    uint64_t recorded = wefti_atomic_u64_load_acquire(&s->stream->recorded);
    right = right && recorded >= s->points[1] && recorded >= s->points[2];
    weft_stream_release(s->stream);
    weft_device_release(s->device);
    free(s);
    return right;
}

const scenario stream_scenarios[] = {
    {.what = {.name = "stream-points",
              .thread_count = 3,
              .set_up = set_stream_stage,
              .run = submit_or_mark,
              .check = check_stream_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_POINT_WISH}},
    {.what = {.name = NULL}},
};
