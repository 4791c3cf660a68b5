/* SPDX-License-Identifier: Apache-2.0 */
/* Stream-ordered memory: a block that streams still use is freed while others want one
 * of its size. */
#include "schedule/scenario.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "runtime/memory_pool.h"
#include "runtime/stream.h"

enum { BLOCK_BYTES = 256, SMALL_CAP_BYTES = 1024, STREAMS = 3 };

typedef struct memory_stage {
    weft_device *device;
    weft_stream *streams[STREAMS];
    weft_event *event;
    const char *block;
    uint32_t violations, reads;
    char other[8];
} memory_stage;

static memory_stage *set_memory_stage(void)
{
    memory_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    return s;
}

static void *set_empty(void)
{
    return set_memory_stage();
}

static void open_device(memory_stage *s, int32_t worker_count, size_t cap_bytes)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
    params.max_contexts = 1;
    params.memory_cap_bytes = cap_bytes;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK &&
                         weft_event_create(s->device, false, &s->event, NULL) ==
                             WEFT_OK,
                     "a device");
    for (int i = 0; i < STREAMS; i++) {
        scenario_require(weft_stream_acquire(s->device, &s->streams[i], NULL) ==
                             WEFT_OK,
                         "a stream");
    }
}

static void close_device(memory_stage *s)
{
    for (int i = 0; i < STREAMS; i++) {
        weft_stream_release(s->streams[i]);
    }
    weft_event_release(s->event);
    weft_device_release(s->device);
}

static bool check_violations(void *state)
{
    memory_stage *s = state;
    bool right = s->violations == 0;
    free(s);
    return right;
}

static weft_memory *allocate(memory_stage *s, int stream, size_t size_bytes)
{
    weft_memory *memory = NULL;
    weft_status status =
        weft_memory_allocate(s->streams[stream], size_bytes, &memory, NULL);
    s->violations += status != WEFT_OK && status != WEFT_OUT_OF_MEMORY;
    return memory;
}

/* The present last use of the block: it must still say what was written for it. */
static void read_block(void *user)
{
    memory_stage *s = user;
    for (int i = 0; i < BLOCK_BYTES; i++) {
        s->violations += s->block[i] != 'a';
    }
    s->reads++;
}

static void take_and_write(void *argument)
{
    memory_stage *s = argument;
    for (int i = 0; i < 2; i++) {
        weft_memory *memory = allocate(s, 2, BLOCK_BYTES);
        s->violations += !memory;
        if (memory) {
            s->violations += weft_stream_fill(s->streams[2], weft_memory_data(memory),
                                              'b', BLOCK_BYTES, NULL) != WEFT_OK;
            weft_memory_release(memory);
        }
    }
}

static void raise_event(void *argument)
{
    memory_stage *s = argument;
    s->violations += weft_event_signal(s->event, 1, NULL) != WEFT_OK;
}

/* The block of stream 0 is to be read by stream 1, which waits, when it is freed;
 * stream 2 wants a block of that size. */
static void free_against_reuse(void *state, uint32_t index)
{
    (void)index;
    memory_stage *s = state;
    wefti_thread raiser, taker;
    open_device(s, 1, 0);
    weft_memory *memory = allocate(s, 0, BLOCK_BYTES);
    s->block = weft_memory_data(memory);
    s->violations += weft_stream_fill(s->streams[0], weft_memory_data(memory), 'a',
                                      BLOCK_BYTES, NULL) != WEFT_OK;
    s->violations += weft_memory_touch(memory, s->streams[1], NULL) != WEFT_OK;
    s->violations += weft_stream_wait(s->streams[1], s->event, 1, NULL) != WEFT_OK;
    s->violations += weft_stream_call(s->streams[1], read_block, s, NULL) != WEFT_OK;
    scenario_require(
        wefti_thread_start(&raiser, "raise", raise_event, s, NULL) == WEFT_OK &&
            wefti_thread_start(&taker, "take", take_and_write, s, NULL) == WEFT_OK,
        "threads");
    weft_memory_release(memory);
    s->violations +=
        weft_stream_synchronize(s->streams[1], WEFT_FOREVER, NULL) != WEFT_OK;
    wefti_thread_join(&raiser);
    wefti_thread_join(&taker);
    s->violations += s->reads != 1;
    close_device(s);
}

static void submit_to_second(void *argument)
{
    memory_stage *s = argument;
    for (int i = 0; i < 2; i++) {
        s->violations +=
            weft_stream_fill(s->streams[1], &s->other[i], 1, 1, NULL) != WEFT_OK;
    }
}

/* The owner of a stream that touched the block submits other work to it while the block
 * is freed: the point of its release is recorded all the same, and not too early. */
static void free_against_submit(void *state, uint32_t index)
{
    memory_stage *s = state;
    if (index == 1) {
        submit_to_second(s);
        return;
    }
    if (index == 2) {
        take_and_write(s);
        return;
    }
    weft_memory *memory = allocate(s, 0, BLOCK_BYTES);
    s->violations += weft_memory_touch(memory, s->streams[1], NULL) != WEFT_OK;
    weft_memory_release(memory);
    /* All is done: after a refresh any stream may have it. */
    weft_memory *again = allocate(s, 0, BLOCK_BYTES);
    s->violations += !again;
    weft_memory_release(again);
}

static void *set_without_workers(void)
{
    memory_stage *s = set_memory_stage();
    open_device(s, 0, 0);
    return s;
}

static bool check_passed(void *state)
{
    memory_stage *s = state;
    for (int i = 0; i < STREAMS; i++) {
        wefti_stream_refresh(s->streams[i]);
        s->violations += !wefti_stream_has_passed(
            s->streams[i], wefti_atomic_u64_load_acquire(&s->streams[i]->wanted));
    }
    close_device(s);
    return check_violations(s);
}

/* A cap that holds one large or four small blocks. */
static void share_a_cap(void *state, uint32_t index)
{
    memory_stage *s = state;
    for (int i = 0; i < 2; i++) {
        bool large = (index + (uint32_t)i) % 2 == 0;
        size_t bytes = large ? SMALL_CAP_BYTES : BLOCK_BYTES;
        weft_memory *memory = allocate(s, (int)index, bytes);
        uint64_t held, peak;
        wefti_memory_get_statistics(s->device->memory, &held, &peak);
        s->violations += peak > SMALL_CAP_BYTES || (memory && held < bytes);
        weft_memory_release(memory);
    }
}

static void *set_with_cap(void)
{
    memory_stage *s = set_memory_stage();
    open_device(s, 0, SMALL_CAP_BYTES);
    return s;
}

/* Whoever comes last finds room. */
static bool check_room(void *state)
{
    memory_stage *s = state;
    weft_memory *memory = allocate(s, 0, SMALL_CAP_BYTES);
    s->violations += !memory;
    weft_memory_release(memory);
    close_device(s);
    return check_violations(s);
}

const scenario memory_scenarios[] = {
    {.what = {.name = "memory-free-reuse",
              .thread_count = 1,
              .set_up = set_empty,
              .run = free_against_reuse,
              .check = check_violations},
     .guards = {WEFTI_SABOTAGE_FREE_WAIT}},
    {.what = {.name = "memory-free-submit",
              .thread_count = 3,
              .set_up = set_without_workers,
              .run = free_against_submit,
              .check = check_passed},
     .preemptions = 2},
    {.what = {.name = "memory-cap",
              .thread_count = 3,
              .set_up = set_with_cap,
              .run = share_a_cap,
              .check = check_room},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_ROOM_WAKE}},
    {.what = {.name = NULL}},
};
