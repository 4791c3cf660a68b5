/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and events of devices that work on host threads: an owner submits, workers
 * drain, others raise events and wait. */
#include "schedule/scenario.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "runtime/stream.h"

enum { MS = 1000000 };

typedef struct host_stage {
    weft_device *device;
    weft_stream *streams[2];
    weft_event *event;
    uint32_t log[8], log_length; /* what ran on the first stream, in order */
    uint32_t violations, waits_ended;
    bool written;
    char copies[3];
} host_stage;

static host_stage *set_host_stage(void)
{
    host_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    return s;
}

static void *set_empty(void)
{
    return set_host_stage();
}

/* Opened under the scheduler, which then has the workers too. */
static void open_with_workers(host_stage *s, int32_t worker_count)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
    params.max_contexts = 1;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK,
                     "a device");
    scenario_require(weft_event_create(s->device, false, &s->event, NULL) == WEFT_OK,
                     "an event");
    for (int i = 0; i < 2; i++) {
        scenario_require(weft_stream_acquire(s->device, &s->streams[i], NULL) ==
                             WEFT_OK,
                         "a stream");
    }
}

static void close_stage(host_stage *s)
{
    weft_stream_release(s->streams[0]);
    weft_stream_release(s->streams[1]);
    weft_event_release(s->event);
    weft_device_release(s->device);
}

static bool check_host_stage(void *state)
{
    host_stage *s = state;
    bool right = s->violations == 0;
    free(s);
    return right;
}

typedef struct log_entry {
    host_stage *stage;
    uint32_t value;
} log_entry;

static void write_log(void *user)
{
    const log_entry *entry = user;
    entry->stage->log[entry->stage->log_length++] = entry->value;
}

static void raise_event(void *argument)
{
    host_stage *s = argument;
    s->written = true;
    s->violations += weft_event_signal(s->event, 1, NULL) != WEFT_OK;
}

static void await_event(void *argument)
{
    host_stage *s = argument;
    s->violations += weft_event_wait(s->event, 1, WEFT_FOREVER, NULL) != WEFT_OK;
    s->violations += !s->written;
    s->waits_ended++;
}

static void synchronize_first(void *argument)
{
    host_stage *s = argument;
    s->violations +=
        weft_stream_synchronize(s->streams[0], WEFT_FOREVER, NULL) != WEFT_OK;
}

/* The owner goes on submitting while the stream waits, is drained and runs dry: all of
 * its work runs, in order, none of it before the event. */
static void submit_around_a_wait(void *state, uint32_t index)
{
    (void)index;
    host_stage *s = state;
    log_entry entries[4];
    wefti_thread raiser, waiter, other;
    open_with_workers(s, 1);
    scenario_require(
        wefti_thread_start(&raiser, "raise", raise_event, s, NULL) == WEFT_OK &&
            wefti_thread_start(&waiter, "wait", await_event, s, NULL) == WEFT_OK,
        "threads");
    for (uint32_t i = 0; i < 4; i++) {
        entries[i] = (log_entry){.stage = s, .value = i};
        if (i == 1) {
            s->violations +=
                weft_stream_wait(s->streams[0], s->event, 1, NULL) != WEFT_OK;
        }
        s->violations +=
            weft_stream_call(s->streams[0], write_log, &entries[i], NULL) != WEFT_OK;
    }
    scenario_require(wefti_thread_start(&other, "sync", synchronize_first, s, NULL) ==
                         WEFT_OK,
                     "a thread");
    synchronize_first(s);
    s->violations += !s->written || s->log_length != 4;
    for (uint32_t i = 0; i < 4; i++) {
        s->violations += s->log[i] != i;
    }
    wefti_thread_join(&raiser);
    wefti_thread_join(&waiter);
    wefti_thread_join(&other);
    s->violations += s->waits_ended != 1;
    close_stage(s);
}

static void write_second(void *user)
{
    host_stage *s = user;
    s->written = true;
}

static void read_first(void *user)
{
    host_stage *s = user;
    s->violations += !s->written;
    s->log_length++;
}

static void record_on_second(void *argument)
{
    host_stage *s = argument;
    s->violations += weft_stream_call(s->streams[1], write_second, s, NULL) != WEFT_OK;
    s->violations += weft_stream_record(s->streams[1], s->event, 1, NULL) != WEFT_OK;
}

/* One stream records while the other is told to wait and the host waits: what was done
 * before the record is seen behind each wait. */
static void record_against_wait(void *state, uint32_t index)
{
    (void)index;
    host_stage *s = state;
    wefti_thread recorder, waiter;
    open_with_workers(s, 1);
    scenario_require(
        wefti_thread_start(&recorder, "record", record_on_second, s, NULL) == WEFT_OK &&
            wefti_thread_start(&waiter, "wait", await_event, s, NULL) == WEFT_OK,
        "threads");
    s->violations += weft_stream_wait(s->streams[0], s->event, 1, NULL) != WEFT_OK;
    s->violations += weft_stream_call(s->streams[0], read_first, s, NULL) != WEFT_OK;
    synchronize_first(s);
    wefti_thread_join(&recorder);
    wefti_thread_join(&waiter);
    s->violations += s->log_length != 1 || s->waits_ended != 1;
    close_stage(s);
}

static void count_call(void *user)
{
    host_stage *s = user;
    s->log_length++;
}

/* Each stream waits for the one before, and the first for what the host may raise. They
 * were made in another order than they go on in. */
static void leave_held_streams(host_stage *s)
{
    static const char source = 'x';
    weft_event *chain;
    weft_stream *third = NULL;
    scenario_require(weft_event_create(s->device, false, &chain, NULL) == WEFT_OK &&
                         weft_stream_acquire(s->device, &third, NULL) == WEFT_OK,
                     "a third stream");
    weft_stream *order[] = {s->streams[0], third, s->streams[1]};
    for (uint32_t i = 0; i < 3; i++) {
        weft_event *before = i == 0 ? s->event : chain;
        s->violations += weft_stream_wait(order[i], before, i == 0 ? 1 : i, NULL);
        s->violations += weft_stream_copy(order[i], &s->copies[i], &source, 1, NULL);
        s->violations += weft_stream_call(order[i], count_call, s, NULL);
        s->violations += weft_stream_record(order[i], chain, i + 1, NULL);
    }
    weft_event_release(chain);
    weft_stream_release(third);
}

static void raise_and_leave(void *argument)
{
    host_stage *s = argument;
    s->violations += weft_event_signal(s->event, 1, NULL) != WEFT_OK;
    weft_event_release(s->event);
}

static void end_with_chain(void *state, uint32_t index)
{
    (void)index;
    host_stage *s = state;
    wefti_thread raiser;
    open_with_workers(s, 1);
    weft_event_retain(s->event);
    scenario_require(wefti_thread_start(&raiser, "raise", raise_and_leave, s, NULL) ==
                         WEFT_OK,
                     "a thread");
    leave_held_streams(s);
    close_stage(s);
    wefti_thread_join(&raiser);
    s->violations += memcmp(s->copies, "xxx", 3) != 0 || s->log_length != 3;
}

/* Nobody raises it: the first is given up, which lets the others go on. */
static void end_while_held(void *state, uint32_t index)
{
    (void)index;
    host_stage *s = state;
    open_with_workers(s, 1);
    leave_held_streams(s);
    close_stage(s);
    s->violations += memcmp(s->copies, "\0xx", 3) != 0 || s->log_length != 3;
}

/* A wait on the host with a deadline against the raise: it ends either way, and the
 * answer agrees with the value. */
static void raise_or_wait(void *state, uint32_t index)
{
    host_stage *s = state;
    if (index == 0) {
        raise_event(s);
        return;
    }
    int64_t timeout_ns = index == 1 ? WEFT_FOREVER : MS;
    weft_status status = weft_event_wait(s->event, 1, timeout_ns, NULL);
    s->violations += status == WEFT_OK && !s->written;
    s->violations += index == 1 && status != WEFT_OK;
    s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
}

static void *set_event_alone(void)
{
    host_stage *s = set_host_stage();
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = 1;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK &&
                         weft_event_create(s->device, false, &s->event, NULL) ==
                             WEFT_OK,
                     "an event");
    return s;
}

static bool check_event_alone(void *state)
{
    host_stage *s = state;
    weft_event_release(s->event);
    weft_device_release(s->device);
    return check_host_stage(s);
}

const scenario host_scenarios[] = {
    {.what = {.name = "host-end-chain",
              .thread_count = 1,
              .set_up = set_empty,
              .run = end_with_chain,
              .check = check_host_stage},
     .guards = {WEFTI_SABOTAGE_SETTLE_TWICE, WEFTI_SABOTAGE_SETTLE_DUE}},
    {.what = {.name = "host-end-held",
              .thread_count = 1,
              .set_up = set_empty,
              .run = end_while_held,
              .check = check_host_stage}},
    {.what = {.name = "host-stream-wait",
              .thread_count = 1,
              .set_up = set_empty,
              .run = submit_around_a_wait,
              .check = check_host_stage},
     .guards = {WEFTI_SABOTAGE_EVENT_WAKE}},
    {.what = {.name = "host-record-wait",
              .thread_count = 1,
              .set_up = set_empty,
              .run = record_against_wait,
              .check = check_host_stage},
     .guards = {WEFTI_SABOTAGE_EVENT_WAKE}},
    {.what = {.name = "host-event-deadline",
              .thread_count = 3,
              .set_up = set_event_alone,
              .run = raise_or_wait,
              .check = check_event_alone},
     .preemptions = 3,
     .guards = {WEFTI_SABOTAGE_EVENT_WAKE}},
    {.what = {.name = NULL}},
};
