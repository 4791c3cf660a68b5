/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/thread.h"
#include "runtime/event.h"
#include "support/crew.h"

enum { MS = 1000000 };

static weft_device *open_null(int32_t worker_count)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
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

static weft_event *make_event(weft_device *device, bool timed)
{
    weft_event *event;
    assert_int_equal(weft_event_create(device, timed, &event, NULL), WEFT_OK);
    return event;
}

static void finish(weft_stream *stream)
{
    assert_int_equal(weft_stream_synchronize(stream, WEFT_FOREVER, NULL), WEFT_OK);
}

static void count_call(void *user)
{
    ++*(int *)user;
}

static void test_work_runs_in_order(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    weft_event *event = make_event(device, false);
    char a[4] = "abc", b[4] = "";
    int calls = 0;
    assert_int_equal(weft_stream_fill(stream, a, 'x', 2, NULL), WEFT_OK);
    assert_int_equal(weft_stream_copy(stream, b, a, 4, NULL), WEFT_OK);
    assert_int_equal(weft_stream_call(stream, count_call, &calls, NULL), WEFT_OK);
    assert_int_equal(weft_stream_record(stream, event, 5, NULL), WEFT_OK);
    assert_int_equal(weft_event_wait(event, 5, WEFT_FOREVER, NULL), WEFT_OK);
    assert_string_equal(b, "xxc");
    assert_int_equal(calls, 1);
    assert_int_equal(weft_event_query(event), 5);
    /* Nothing to do is done. */
    assert_int_equal(weft_stream_copy(stream, NULL, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(stream, NULL, 1, 0, NULL), WEFT_OK);
    weft_stream_release(stream);
    weft_event_release(event);
    weft_device_release(device);
}

static void test_a_stream_waits_for_an_event(void **state)
{
    (void)state;
    weft_device *device = open_null(2);
    weft_stream *stream = take(device);
    weft_stream *other = take(device);
    weft_event *event = make_event(device, false);
    char byte = 0, second = 0;
    assert_int_equal(weft_stream_wait(stream, event, 2, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(stream, &byte, 1, 1, NULL), WEFT_OK);
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(stream, MS, NULL), WEFT_TIMEOUT);
    assert_int_equal(byte, 0);
    assert_int_equal(weft_event_wait(event, 2, MS, NULL), WEFT_TIMEOUT);
    /* The other is not held up, and lets the first go. */
    assert_int_equal(weft_stream_fill(other, &second, 2, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_record(other, event, 2, NULL), WEFT_OK);
    finish(stream);
    assert_int_equal(byte, 1);
    assert_int_equal(second, 2);
    weft_stream_release(stream);
    weft_stream_release(other);
    weft_event_release(event);
    weft_device_release(device);
}

static void test_recorded_values_only_grow(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    weft_event *event = make_event(device, false);
    weft_error error;
    assert_int_equal(weft_stream_record(stream, event, 3, NULL), WEFT_OK);
    assert_int_equal(weft_stream_record(stream, event, 3, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "3 is not above 3"));
    assert_int_equal(weft_stream_record(stream, event, 0, NULL), WEFT_INVALID_ARGUMENT);
    /* A record that the device refuses may be tried again. */
    wefti_fault_arm(1, 1u << WEFTI_FAULT_DEVICE);
    assert_int_equal(weft_stream_record(stream, event, 4, NULL), WEFT_INTERNAL);
    wefti_fault_arm(0, 0);
    assert_int_equal(weft_stream_record(stream, event, 4, NULL), WEFT_OK);
    /* The host may be ahead and behind. */
    assert_int_equal(weft_event_signal(event, 2, NULL), WEFT_OK);
    assert_int_equal(weft_event_query(event), 4);
    assert_int_equal(weft_event_signal(event, 9, NULL), WEFT_OK);
    assert_int_equal(weft_stream_record(stream, event, 5, NULL), WEFT_OK);
    assert_int_equal(weft_event_query(event), 9);
    weft_stream_release(stream);
    weft_event_release(event);
    weft_device_release(device);
}

static void test_time_between_events(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    weft_event *start = make_event(device, true);
    weft_event *end = make_event(device, true);
    weft_event *timeless = make_event(device, false);
    int64_t elapsed_ns = -1;
    weft_error error;
    assert_int_equal(weft_event_elapsed(start, end, &elapsed_ns, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "start event has no time"));
    assert_int_equal(weft_stream_record(stream, start, 1, NULL), WEFT_OK);
    assert_int_equal(weft_event_elapsed(start, end, &elapsed_ns, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "end event has no time"));
    assert_int_equal(weft_stream_synchronize(stream, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(weft_event_wait(end, 1, 2 * MS, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_stream_record(stream, end, 1, NULL), WEFT_OK);
    finish(stream);
    assert_int_equal(weft_event_elapsed(start, end, &elapsed_ns, NULL), WEFT_OK);
    assert_true(elapsed_ns >= 2 * MS);
    assert_int_equal(weft_event_elapsed(start, timeless, &elapsed_ns, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_event_elapsed(start, end, NULL, NULL), WEFT_INVALID_ARGUMENT);
    weft_stream_release(stream);
    weft_event_release(start);
    weft_event_release(end);
    weft_event_release(timeless);
    weft_device_release(device);
}

static void test_two_submitters_are_told(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    weft_event *event = make_event(device, false);
    char byte = 0;
    weft_error error;
    assert_int_equal(wefti_stream_enter(stream, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(stream, &byte, 1, 1, &error), WEFT_BUSY);
    assert_non_null(strstr(error.message, "another thread is submitting"));
    assert_int_equal(weft_stream_copy(stream, &byte, &byte, 1, NULL), WEFT_BUSY);
    assert_int_equal(weft_stream_call(stream, count_call, NULL, NULL), WEFT_BUSY);
    assert_int_equal(weft_stream_record(stream, event, 1, NULL), WEFT_BUSY);
    assert_int_equal(weft_stream_wait(stream, event, 1, NULL), WEFT_BUSY);
    /* Waiting is not submitting. */
    finish(stream);
    wefti_stream_leave(stream);
    assert_int_equal(weft_stream_record(stream, event, 1, NULL), WEFT_OK);
    assert_int_equal(byte, 0);
    weft_stream_release(stream);
    weft_event_release(event);
    weft_device_release(device);
}

static void test_a_busy_stream_serves_nobody_else(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_event *event = make_event(device, false);
    weft_stream *busy = take(device);
    weft_stream *idle = take(device);
    char byte = 0;
    assert_int_equal(weft_stream_wait(busy, event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(busy, &byte, 1, 1, NULL), WEFT_OK);
    weft_stream_release(busy);
    weft_stream_release(idle);
    assert_ptr_equal(take(device), idle);
    weft_stream *fresh = take(device);
    assert_ptr_not_equal(fresh, busy);
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    finish(busy);
    assert_int_equal(byte, 1);
    assert_ptr_equal(take(device), busy);
    weft_stream_release(busy);
    weft_stream_release(idle);
    weft_stream_release(fresh);
    weft_event_release(event);
    weft_device_release(device);
}

static void test_streams_and_events_own_the_device(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    weft_event *event = make_event(device, false);
    weft_device_release(device);
    assert_int_equal(weft_stream_record(stream, event, 1, NULL), WEFT_OK);
    weft_stream_release(stream);
    assert_int_equal(weft_event_wait(weft_event_retain(event), 1, 0, NULL), WEFT_OK);
    weft_event_release(event);
    weft_event_release(event);
}

/* The event goes while the stream has yet to set it. */
static void test_an_event_outlives_its_release(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    weft_event *gate = make_event(device, false);
    weft_event *gone = make_event(device, false);
    assert_int_equal(weft_stream_wait(stream, gate, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_record(stream, gone, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_wait(stream, gone, 1, NULL), WEFT_OK);
    weft_event_release(gone);
    assert_int_equal(weft_event_signal(gate, 1, NULL), WEFT_OK);
    weft_event_release(gate);
    finish(stream);
    weft_stream_release(stream);
    weft_device_release(device);
}

static void test_wrong_arguments_are_named(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_device *elsewhere = open_null(1);
    weft_stream *stream = take(device);
    weft_event *event = make_event(device, false);
    weft_event *foreign = make_event(elsewhere, false);
    weft_error error;
    char byte;
    weft_stream *no_stream;
    assert_int_equal(weft_stream_acquire(NULL, &no_stream, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_acquire(device, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_event_create(NULL, false, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_record(stream, foreign, 1, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "another device"));
    assert_int_equal(weft_stream_wait(stream, foreign, 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_wait(stream, NULL, 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_record(NULL, event, 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_copy(stream, NULL, &byte, 1, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_string_equal(error.message, "the target of the copy is NULL");
    assert_int_equal(weft_stream_copy(NULL, &byte, &byte, 1, NULL),
                     WEFT_INVALID_ARGUMENT);
    char block[8] = {0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(weft_stream_copy(stream, block + i, block, 4, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "overlap"));
        assert_int_equal(weft_stream_copy(stream, block, block + i, 4, NULL),
                         WEFT_INVALID_ARGUMENT);
    }
    assert_int_equal(weft_stream_copy(stream, block + 4, block, 4, NULL), WEFT_OK);
    assert_int_equal(weft_stream_copy(stream, block, block, 0, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(stream, NULL, 1, 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_call(stream, NULL, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_stream_synchronize(NULL, 0, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_event_signal(NULL, 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_event_wait(NULL, 1, 0, NULL), WEFT_INVALID_ARGUMENT);
    weft_stream_release(NULL);
    weft_event_release(NULL);
    weft_device_close(device);
    assert_int_equal(weft_stream_fill(stream, &byte, 1, 1, NULL), WEFT_CLOSED);
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    finish(stream);
    weft_stream_release(stream);
    weft_event_release(event);
    weft_event_release(foreign);
    weft_device_release(device);
    weft_device_release(elsewhere);
}

/* Points wanted by any thread while the owner submits. */
typedef struct surveyors {
    weft_stream *stream;
    wefti_atomic_u32 busy;
    wefti_atomic_u64 highest;
} surveyors;

static void survey(void *user, uint32_t index)
{
    surveyors *s = user;
    char byte = 0;
    for (uint32_t i = 0; i < 20000 / crew_divisor(); i++) {
        if (index == 0) {
            weft_status status = weft_stream_fill(s->stream, &byte, 1, 1, NULL);
            wefti_atomic_u32_add_relaxed(&s->busy, status == WEFT_OK ? 0 : 1);
            continue;
        }
        uint64_t point = wefti_stream_mark(s->stream);
        uint64_t highest = wefti_atomic_u64_load_relaxed(&s->highest);
        while (highest < point &&
               !wefti_atomic_u64_cas_acq_rel(&s->highest, &highest, point)) {
        }
    }
}

static void test_points_are_recorded_beside_the_owner(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    surveyors s = {.stream = take(device)};
    crew_run(4, survey, &s);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&s.busy), 0);
    uint64_t highest = wefti_atomic_u64_load_relaxed(&s.highest);
    assert_int_equal(highest, 3 * (20000 / crew_divisor()));
    finish(s.stream);
    assert_false(wefti_stream_has_passed(s.stream, highest));
    wefti_stream_refresh(s.stream);
    assert_true(wefti_stream_has_passed(s.stream, highest));
    weft_stream_release(s.stream);
    weft_device_release(device);
}

static void test_a_refused_point_is_tried_again(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    weft_stream *stream = take(device);
    char byte;
    wefti_fault_arm(1, 1u << WEFTI_FAULT_DEVICE);
    uint64_t point = wefti_stream_mark(stream);
    wefti_fault_arm(0, 0);
    assert_int_equal(wefti_atomic_u64_load_acquire(&stream->recorded), 0);
    assert_int_equal(weft_stream_fill(stream, &byte, 1, 1, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u64_load_acquire(&stream->recorded), point);
    wefti_fault_arm(1, 1u << WEFTI_FAULT_DEVICE);
    point = wefti_stream_mark(stream);
    wefti_fault_arm(0, 0);
    wefti_stream_refresh(stream);
    assert_true(wefti_stream_has_passed(stream, point));
    /* Inside, the point is recorded by who leaves. */
    assert_int_equal(wefti_stream_enter(stream, NULL), WEFT_OK);
    point = wefti_stream_mark(stream);
    wefti_stream_refresh(stream);
    assert_false(wefti_stream_has_passed(stream, point));
    wefti_stream_leave(stream);
    wefti_stream_refresh(stream);
    assert_true(wefti_stream_has_passed(stream, point));
    weft_stream_release(stream);
    weft_device_release(device);
}

/* Streams are taken and given back by all threads, many with work pending. */
typedef struct market {
    weft_device *device;
    weft_event *event;
    wefti_atomic_u32 wrong;
} market;

static void trade(void *user, uint32_t index)
{
    market *m = user;
    uint64_t random = index;
    for (uint64_t i = 1; i <= 2000 / crew_divisor(); i++) {
        weft_stream *stream;
        uint32_t ok = weft_stream_acquire(m->device, &stream, NULL) == WEFT_OK;
        uint32_t value = 0;
        if (crew_random(&random) % 4 == 0) {
            uint64_t next = weft_event_query(m->event) + 1;
            ok &= weft_stream_wait(stream, m->event, next, NULL) == WEFT_OK;
        }
        ok &= weft_stream_fill(stream, &value, 1, sizeof value, NULL) == WEFT_OK;
        uint64_t reached = weft_event_query(m->event) + 2;
        ok &= weft_event_signal(m->event, reached, NULL) == WEFT_OK;
        ok &= weft_stream_synchronize(stream, WEFT_FOREVER, NULL) == WEFT_OK;
        ok &= value == 0x01010101;
        weft_stream_release(stream);
        wefti_atomic_u32_add_relaxed(&m->wrong, ok ? 0 : 1);
    }
}

static void test_streams_pass_between_threads(void **state)
{
    (void)state;
    market m = {.device = open_null(2)};
    m.event = make_event(m.device, false);
    crew_run(8, trade, &m);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&m.wrong), 0);
    weft_event_release(m.event);
    weft_device_release(m.device);
}

static weft_status use_stream(weft_device *device)
{
    weft_stream *stream = NULL;
    weft_event *event = NULL;
    char byte;
    weft_status status = weft_stream_acquire(device, &stream, NULL);
    if (status == WEFT_OK) {
        status = weft_event_create(device, true, &event, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_stream_wait(stream, event, 1, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_stream_fill(stream, &byte, 1, 1, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_stream_record(stream, event, 2, NULL);
    }
    if (event) {
        weft_status woken = weft_event_signal(event, 1, NULL);
        assert_true(woken == WEFT_OK);
    }
    if (stream) {
        weft_status ended = weft_stream_synchronize(stream, WEFT_FOREVER, NULL);
        assert_int_equal(ended, WEFT_OK);
    }
    weft_event_release(event);
    weft_stream_release(stream);
    return status;
}

static void test_failures_are_forced(void **state)
{
    (void)state;
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    weft_device *device = open_null(1);
    uint64_t n = 0;
    uint64_t uses;
    do {
        wefti_fault_arm(++n, all);
        weft_status status = use_stream(device);
        uses = wefti_fault_arm(0, 0);
        assert_true(uses < n ? status == WEFT_OK
                             : status == WEFT_OUT_OF_MEMORY || status == WEFT_INTERNAL);
    } while (uses >= n);
    assert_true(n > 5);
    weft_device_release(device);
}

static void raise_soon(void *user)
{
    weft_event *event = user;
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    weft_event_release(event);
}

/* The last owner of a device goes while streams wait for each other, and the first for
 * an event that somebody raises, or nobody. */
static void test_the_end_does_not_wait_for_ever(void **state)
{
    (void)state;
    for (int raised = 0; raised < 2; raised++) {
        weft_device *device = open_null(2);
        weft_event *event = make_event(device, false);
        weft_stream *first = take(device), *second = take(device);
        char bytes[2] = {0, 0};
        int calls = 0;
        crew_thread raiser;
        assert_int_equal(weft_stream_wait(second, event, 2, NULL), WEFT_OK);
        assert_int_equal(weft_stream_fill(second, &bytes[1], 2, 1, NULL), WEFT_OK);
        assert_int_equal(weft_stream_wait(first, event, 1, NULL), WEFT_OK);
        assert_int_equal(weft_stream_fill(first, &bytes[0], 1, 1, NULL), WEFT_OK);
        assert_int_equal(weft_stream_call(first, count_call, &calls, NULL), WEFT_OK);
        assert_int_equal(weft_stream_record(first, event, 2, NULL), WEFT_OK);
        if (raised) {
            crew_start(&raiser, raise_soon, weft_event_retain(event));
        }
        weft_stream_release(first);
        weft_stream_release(second);
        weft_event_release(event);
        weft_device_release(device);
        if (raised) {
            crew_join(&raiser);
        }
        assert_int_equal(calls, 1);
        assert_int_equal(bytes[0], raised);
        /* The record behind the wait was done, so this one goes on. */
        assert_int_equal(bytes[1], 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_runs_in_order),
        cmocka_unit_test(test_a_stream_waits_for_an_event),
        cmocka_unit_test(test_recorded_values_only_grow),
        cmocka_unit_test(test_time_between_events),
        cmocka_unit_test(test_two_submitters_are_told),
        cmocka_unit_test(test_a_busy_stream_serves_nobody_else),
        cmocka_unit_test(test_streams_and_events_own_the_device),
        cmocka_unit_test(test_an_event_outlives_its_release),
        cmocka_unit_test(test_the_end_does_not_wait_for_ever),
        cmocka_unit_test(test_wrong_arguments_are_named),
        cmocka_unit_test(test_points_are_recorded_beside_the_owner),
        cmocka_unit_test(test_a_refused_point_is_tried_again),
        cmocka_unit_test(test_streams_pass_between_threads),
        cmocka_unit_test(test_failures_are_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
