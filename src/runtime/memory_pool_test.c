/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/memory_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "runtime/stream.h"
#include "support/crew.h"

static weft_device *open_null(size_t cap_bytes)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 2;
    params.memory_cap_bytes = cap_bytes;
    weft_device *device;
    assert_int_equal(weft_device_open("null", &params, &device, NULL), WEFT_OK);
    return device;
}

static weft_stream *take(weft_device *device)
{
    weft_stream *stream;
    assert_int_equal(weft_stream_acquire(device, &stream, NULL), WEFT_OK);
    return stream;
}

static weft_memory *allocate(weft_stream *stream, size_t size_bytes)
{
    weft_memory *memory;
    assert_int_equal(weft_memory_allocate(stream, size_bytes, &memory, NULL), WEFT_OK);
    return memory;
}

static uint64_t held_bytes(weft_device *device)
{
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    return statistics.memory_bytes;
}

/* A stream whose work waits for a value of an event. */
typedef struct blocked_stream {
    weft_stream *stream;
    weft_event *event;
} blocked_stream;

static blocked_stream block(weft_device *device)
{
    blocked_stream b = {.stream = take(device)};
    assert_int_equal(weft_event_create(device, false, &b.event, NULL), WEFT_OK);
    assert_int_equal(weft_stream_wait(b.stream, b.event, 1, NULL), WEFT_OK);
    return b;
}

static void unblock(const blocked_stream *b)
{
    assert_int_equal(weft_event_signal(b->event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(b->stream, WEFT_FOREVER, NULL), WEFT_OK);
}

static void drop(blocked_stream *b)
{
    weft_stream_release(b->stream);
    weft_event_release(b->event);
}

static void test_sizes(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    weft_stream *stream = take(device);
    uint64_t random = 5;
    for (size_t i = 0; i < 400; i++) {
        size_t size_bytes = i < 200 ? i * 7 : crew_random(&random) % 3000000;
        weft_memory *memory = allocate(stream, size_bytes);
        size_t usable = weft_memory_size(memory);
        assert_true(usable >= size_bytes);
        assert_true(usable <= 256 || usable <= size_bytes + size_bytes / 4 + 1);
        assert_int_equal((uintptr_t)weft_memory_data(memory) % 64, 0);
        memset(weft_memory_data(memory), 1, usable);
        weft_memory_release(memory);
    }
    weft_memory *memory;
    assert_int_equal(weft_memory_allocate(stream, SIZE_MAX, &memory, NULL),
                     WEFT_OUT_OF_MEMORY);
    assert_null(memory);
    weft_stream_release(stream);
    weft_device_release(device);
}

static void test_the_same_stream_reuses_at_once(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    blocked_stream b = block(device);
    weft_memory *first = allocate(b.stream, 1000);
    void *address = weft_memory_data(first);
    weft_memory_release(first);
    weft_memory *second = allocate(b.stream, 1000);
    assert_ptr_equal(weft_memory_data(second), address);
    weft_memory_release(second);
    unblock(&b);
    drop(&b);
    weft_device_release(device);
}

/* The address that another stream gets after a block with work pending was released. */
static bool another_stream_reuses_early(void)
{
    weft_device *device = open_null(0);
    blocked_stream b = block(device);
    weft_stream *other = take(device);
    weft_memory *memory = allocate(b.stream, 1000);
    void *address = weft_memory_data(memory);
    assert_int_equal(weft_stream_fill(b.stream, address, 1, 1000, NULL), WEFT_OK);
    weft_memory_release(memory);
    weft_memory *early = allocate(other, 1000);
    bool reused = weft_memory_data(early) == address;
    if (!reused) {
        unblock(&b);
        weft_memory *late = allocate(other, 1000);
        assert_ptr_equal(weft_memory_data(late), address);
        weft_memory_release(late);
    } else {
        unblock(&b);
    }
    weft_memory_release(early);
    weft_stream_release(other);
    drop(&b);
    weft_device_release(device);
    return reused;
}

static void test_others_reuse_when_the_stream_has_passed(void **state)
{
    (void)state;
    assert_false(another_stream_reuses_early());
}

static void test_early_reuse_is_noticed(void **state)
{
    (void)state;
    wefti_sabotage_set(WEFTI_SABOTAGE_FREE_WAIT);
    bool reused = another_stream_reuses_early();
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    assert_true(reused);
}

static bool gets_address(weft_stream *stream, const void *address)
{
    weft_memory *memory = allocate(stream, 1000);
    bool same = weft_memory_data(memory) == address;
    weft_memory_release(memory);
    return same;
}

/* Who touched the block waits for the others that did, not for itself. */
static void test_a_touching_stream_waits_for_the_others_only(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    blocked_stream b = block(device);
    weft_stream *idle = take(device);
    weft_memory *memory = allocate(idle, 1000);
    void *address = weft_memory_data(memory);
    assert_int_equal(weft_memory_touch(memory, b.stream, NULL), WEFT_OK);
    weft_memory_release(memory);
    assert_false(gets_address(idle, address));
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    assert_true(gets_address(b.stream, address));
    unblock(&b);
    weft_stream_release(idle);
    drop(&b);
    weft_device_release(device);
}

/* Every stream that touched the block counts, and at the point of the release: neither
 * that of the first use nor of what it does later. */
static void test_the_points_are_those_of_the_release(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    weft_stream *owner = take(device);
    weft_stream *other = take(device);
    weft_memory *memory = allocate(owner, 1000);
    void *address = weft_memory_data(memory);
    weft_stream *toucher = take(device);
    assert_int_equal(weft_memory_touch(memory, toucher, NULL), WEFT_OK);
    assert_int_equal(weft_memory_touch(memory, toucher, NULL), WEFT_OK);
    /* Blocked only after the touch: a point taken there would have passed. */
    weft_event *event;
    assert_int_equal(weft_event_create(device, false, &event, NULL), WEFT_OK);
    assert_int_equal(weft_stream_wait(toucher, event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(toucher, address, 1, 1000, NULL), WEFT_OK);
    weft_memory_release(memory);
    assert_false(gets_address(other, address));
    assert_false(gets_address(owner, address));
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(toucher, WEFT_FOREVER, NULL), WEFT_OK);
    /* Later work of the stream holds nothing up. */
    assert_int_equal(weft_stream_wait(toucher, event, 2, NULL), WEFT_OK);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    assert_int_equal(held_bytes(device), 0);
    assert_int_equal(weft_event_signal(event, 2, NULL), WEFT_OK);
    weft_event_release(event);
    weft_stream_release(owner);
    weft_stream_release(other);
    weft_stream_release(toucher);
    weft_device_release(device);
}

static void test_many_streams_touch_one_block(void **state)
{
    (void)state;
    enum { STREAMS = 21 };
    weft_device *device = open_null(0);
    weft_stream *owner = take(device);
    blocked_stream streams[STREAMS];
    weft_memory *memory = allocate(owner, 1000);
    for (int i = 0; i < STREAMS; i++) {
        streams[i] = block(device);
        assert_int_equal(weft_memory_touch(memory, streams[i].stream, NULL), WEFT_OK);
    }
    uint64_t bytes = held_bytes(device);
    weft_memory_release(memory);
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
        assert_int_equal(held_bytes(device), bytes);
        unblock(&streams[i]);
        drop(&streams[i]);
    }
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    assert_int_equal(held_bytes(device), 0);
    weft_stream_release(owner);
    weft_device_release(device);
}

static void test_the_cap_is_hard_and_the_cache_gives_way(void **state)
{
    (void)state;
    enum { CAP = 16384 };
    weft_device *device = open_null(CAP);
    weft_stream *stream = take(device);
    blocked_stream b = block(device);
    weft_memory *half = allocate(stream, CAP / 2);
    weft_memory *pending = allocate(b.stream, CAP / 2);
    assert_int_equal(held_bytes(device), CAP);
    weft_memory *none = half;
    weft_error error;
    assert_int_equal(weft_memory_allocate(stream, 1, &none, &error),
                     WEFT_OUT_OF_MEMORY);
    assert_null(none);
    assert_non_null(strstr(error.message, "memory cap"));
    /* A block whose stream has not passed does not give way. */
    weft_memory_release(pending);
    assert_int_equal(weft_memory_allocate(stream, 1, &none, NULL), WEFT_OUT_OF_MEMORY);
    unblock(&b);
    weft_memory *small = allocate(stream, 1);
    assert_int_equal(held_bytes(device), CAP / 2 + weft_memory_size(small));
    /* Nor does one for nothing: it stays cached when it would not be enough. */
    weft_memory_release(small);
    assert_int_equal(weft_memory_allocate(stream, CAP, &none, NULL),
                     WEFT_OUT_OF_MEMORY);
    assert_true(held_bytes(device) > CAP / 2);
    weft_memory_release(half);
    /* Workspaces are under the same cap and push the cache out too. */
    void *workspace;
    assert_int_equal(wefti_memory_reserve(device->memory, 0, CAP, &workspace, NULL),
                     WEFT_OK);
    assert_int_equal(held_bytes(device), CAP);
    assert_int_equal(weft_memory_allocate(stream, 1, &none, NULL), WEFT_OUT_OF_MEMORY);
    wefti_memory_unreserve(device->memory, 0, workspace, CAP);
    assert_int_equal(held_bytes(device), 0);
    assert_int_equal(wefti_memory_reserve(device->memory, 0, CAP + 1, &workspace, NULL),
                     WEFT_OUT_OF_MEMORY);
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    assert_int_equal(statistics.memory_peak_bytes, CAP);
    weft_stream_release(stream);
    drop(&b);
    weft_device_release(device);
}

static void test_the_steady_state_allocates_nothing(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    weft_stream *stream = take(device);
    for (size_t i = 0; i < 20; i++) {
        weft_memory_release(allocate(stream, 100 * i));
    }
    uint64_t allocations = wefti_allocation_count();
    for (size_t i = 0; i < 2000; i++) {
        weft_memory_release(allocate(stream, 100 * (i % 20)));
    }
    assert_int_equal(wefti_allocation_count(), allocations);
    weft_stream_release(stream);
    weft_device_release(device);
}

/* Threads with own streams share the pool under a cap. Work is pending most of the
 * time; each block is filled, and checked in stream order before its release. */
typedef struct sharing {
    weft_device *device;
    wefti_atomic_u32 wrong, full, served;
} sharing;

enum { SHARED_CAP = 64 * 1024 };

typedef struct check {
    sharing *sharing;
    const unsigned char *bytes;
    size_t size_bytes;
    unsigned char pattern;
    wefti_atomic_u32 done;
} check;

static void check_block(void *user)
{
    check *c = user;
    uint32_t wrong = 0;
    for (size_t i = 0; i < c->size_bytes; i++) {
        wrong += c->bytes[i] != c->pattern;
    }
    wefti_atomic_u32_add_relaxed(&c->sharing->wrong, wrong);
    wefti_atomic_u32_store_release(&c->done, 1);
}

static void fill_and_check(sharing *s, weft_stream *stream, weft_event *event,
                           uint64_t step, uint64_t *random)
{
    size_t size_bytes = 200 + crew_random(random) % 4000;
    weft_memory *memory;
    if (weft_memory_allocate(stream, size_bytes, &memory, NULL) != WEFT_OK) {
        wefti_atomic_u32_add_relaxed(&s->full, 1);
        return;
    }
    check c = {.sharing = s,
               .bytes = weft_memory_data(memory),
               .size_bytes = weft_memory_size(memory),
               .pattern = (unsigned char)crew_random(random)};
    uint32_t ok = 1;
    if (crew_random(random) % 2 == 0) {
        ok &= weft_stream_wait(stream, event, step, NULL) == WEFT_OK;
    }
    ok &= weft_stream_fill(stream, weft_memory_data(memory), c.pattern, c.size_bytes,
                           NULL) == WEFT_OK;
    ok &= weft_stream_call(stream, check_block, &c, NULL) == WEFT_OK;
    weft_memory_release(memory); /* before the work has run */
    ok &= weft_event_signal(event, step, NULL) == WEFT_OK;
    ok &= weft_stream_synchronize(stream, WEFT_FOREVER, NULL) == WEFT_OK;
    ok &= wefti_atomic_u32_load_acquire(&c.done) == 1;
    wefti_atomic_u32_add_relaxed(&s->wrong, ok ? 0 : 1);
    wefti_atomic_u32_add_relaxed(&s->served, 1);
}

static void share_pool(void *user, uint32_t index)
{
    sharing *s = user;
    uint64_t random = index + 99;
    weft_stream *stream = take(s->device);
    weft_event *event;
    assert_int_equal(weft_event_create(s->device, false, &event, NULL), WEFT_OK);
    for (uint64_t i = 1; i <= 3000 / crew_divisor(); i++) {
        fill_and_check(s, stream, event, i, &random);
        if (i % 500 == 0) {
            assert_int_equal(weft_device_trim(s->device, NULL), WEFT_OK);
        }
    }
    weft_event_release(event);
    weft_stream_release(stream);
}

static void run_sharing(sharing *s)
{
    *s = (sharing){.device = open_null(SHARED_CAP)};
    crew_run(8, share_pool, s);
    weft_device_statistics statistics;
    weft_device_get_statistics(s->device, &statistics);
    assert_true(statistics.memory_peak_bytes <= SHARED_CAP);
    assert_int_equal(weft_device_trim(s->device, NULL), WEFT_OK);
    assert_int_equal(held_bytes(s->device), 0);
    weft_device_release(s->device);
}

static void test_threads_share_the_pool(void **state)
{
    (void)state;
    sharing s;
    run_sharing(&s);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&s.wrong), 0);
    assert_true(wefti_atomic_u32_load_relaxed(&s.served) > 0);
}

static weft_status use_memory(weft_device *device, weft_stream *const streams[6])
{
    weft_memory *memory;
    WEFTI_TRY(weft_memory_allocate(streams[0], 5000, &memory, NULL));
    weft_status status = WEFT_OK;
    for (int i = 1; i < 6 && status == WEFT_OK; i++) {
        status = weft_memory_touch(memory, streams[i], NULL);
    }
    weft_memory_release(memory);
    WEFTI_TRY(status);
    void *workspace;
    WEFTI_TRY(wefti_memory_reserve(device->memory, 0, 6000, &workspace, NULL));
    wefti_memory_unreserve(device->memory, 0, workspace, 6000);
    return WEFT_OK;
}

static void test_failures_are_forced(void **state)
{
    (void)state;
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    uint64_t n = 0;
    uint64_t uses;
    do {
        weft_device *device = open_null(8192);
        weft_stream *streams[6];
        for (int i = 0; i < 6; i++) {
            streams[i] = take(device);
        }
        wefti_fault_arm(++n, all);
        weft_status status = use_memory(device, streams);
        uses = wefti_fault_arm(0, 0);
        /* What is tried again inside does not fail. */
        assert_true(status == WEFT_OK || (uses >= n && (status == WEFT_OUT_OF_MEMORY ||
                                                        status == WEFT_INTERNAL)));
        /* The next one succeeds and nothing has leaked under the cap. */
        assert_int_equal(use_memory(device, streams), WEFT_OK);
        assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
        assert_int_equal(held_bytes(device), 0);
        for (int i = 0; i < 6; i++) {
            weft_stream_release(streams[i]);
        }
        weft_device_release(device);
    } while (uses >= n);
    assert_true(n > 5);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    weft_device *elsewhere = open_null(0);
    weft_stream *stream = take(device);
    weft_stream *foreign = take(elsewhere);
    weft_memory *memory;
    assert_int_equal(weft_memory_allocate(NULL, 1, &memory, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_memory_allocate(stream, 1, NULL, NULL),
                     WEFT_INVALID_ARGUMENT);
    memory = allocate(stream, 1);
    assert_int_equal(weft_memory_touch(memory, foreign, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_memory_touch(memory, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_memory_touch(NULL, stream, NULL), WEFT_INVALID_ARGUMENT);
    weft_memory_release(NULL);
    weft_device_close(device);
    weft_memory *more;
    assert_int_equal(weft_memory_allocate(stream, 1, &more, NULL), WEFT_CLOSED);
    /* The block owns the device. */
    weft_stream_release(stream);
    weft_device_release(device);
    memset(weft_memory_data(memory), 1, weft_memory_size(memory));
    weft_memory_release(memory);
    weft_stream_release(foreign);
    weft_device_release(elsewhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_the_same_stream_reuses_at_once),
        cmocka_unit_test(test_others_reuse_when_the_stream_has_passed),
        cmocka_unit_test(test_early_reuse_is_noticed),
        cmocka_unit_test(test_a_touching_stream_waits_for_the_others_only),
        cmocka_unit_test(test_the_points_are_those_of_the_release),
        cmocka_unit_test(test_many_streams_touch_one_block),
        cmocka_unit_test(test_the_cap_is_hard_and_the_cache_gives_way),
        cmocka_unit_test(test_the_steady_state_allocates_nothing),
        cmocka_unit_test(test_threads_share_the_pool),
        cmocka_unit_test(test_failures_are_forced),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
