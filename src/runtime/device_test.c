/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "runtime/context.h"
#include "support/crew.h"

enum { MS = 1000000 };

static weft_device *open_null(void)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = 8;
    params.worker_count = 1;
    weft_device *device;
    assert_int_equal(weft_device_open("null", &params, &device, NULL), WEFT_OK);
    return device;
}

static weft_device_statistics statistics_of(weft_device *device)
{
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    return statistics;
}

static weft_status open_with(const weft_device_params *params, weft_error *error)
{
    weft_device *device = (weft_device *)error;
    weft_status status = weft_device_open("null", params, &device, error);
    if (status != WEFT_OK) {
        assert_null(device);
    }
    weft_device_release(device);
    return status;
}

static void test_wrong_arguments_are_named(void **state)
{
    (void)state;
    weft_error error;
    weft_device *device;
    assert_int_equal(weft_device_open("nul", NULL, &device, &error), WEFT_NOT_FOUND);
    assert_null(device);
    assert_int_equal(weft_device_open(NULL, NULL, &device, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_device_open("null", NULL, NULL, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.struct_size = 4;
    assert_int_equal(open_with(&params, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "struct_size is 4"));
    params = (weft_device_params)WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = 1025;
    assert_int_equal(open_with(&params, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "max_contexts is 1025"));
    params.max_contexts = 1024;
    assert_int_equal(open_with(&params, &error), WEFT_OK);
    params.worker_count = -2;
    assert_int_equal(open_with(&params, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "worker_count is -2"));
    params.worker_count = 1000000;
    assert_int_equal(open_with(&params, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "worker_count is 1000000; give 0 to 1024"));
    params.worker_count = 0;
    params.log_level = 4;
    assert_int_equal(open_with(&params, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "log_level is 4"));
    assert_int_equal(weft_device_drain(NULL, 0, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_device_trim(NULL, NULL), WEFT_INVALID_ARGUMENT);
    weft_device_close(NULL);
    weft_device_release(NULL);
}

static void keep_line(void *user, weft_log_level level, const char *line)
{
    if (level == WEFT_LOG_INFO) {
        snprintf(user, 200, "%s", line);
    }
}

static void test_a_device_tells_what_it_is(void **state)
{
    (void)state;
    char line[200] = "";
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.memory_cap_bytes = 12345;
    params.worker_count = 3;
    params.log = keep_line;
    params.log_user = line;
    params.log_level = WEFT_LOG_INFO;
    weft_device *device;
    assert_int_equal(weft_device_open("null", &params, &device, NULL), WEFT_OK);
    weft_device_info info;
    weft_device_get_info(device, &info);
    assert_string_equal(info.name, "null");
    assert_int_equal(info.max_contexts, 64);
    assert_int_equal(info.worker_count, 3);
    assert_int_equal(info.memory_cap_bytes, 12345);
    assert_true(info.core_count >= 1);
    assert_non_null(strstr(line, "opened null: "));
    weft_device_release(device);
}

static void test_work_is_counted_by_outcome(void **state)
{
    (void)state;
    weft_device *device = open_null();
    static const weft_status ends[] = {WEFT_OK, WEFT_OK, WEFT_INTERNAL, WEFT_CANCELLED,
                                       WEFT_TIMEOUT};
    for (size_t i = 0; i < WEFTI_COUNT_OF(ends); i++) {
        uint32_t shard;
        assert_int_equal(wefti_device_begin(device, &shard, NULL), WEFT_OK);
        assert_int_equal(weft_device_drain(device, 0, NULL), WEFT_TIMEOUT);
        wefti_device_end(device, shard, wefti_outcome_of(ends[i]));
    }
    uint32_t shard;
    assert_int_equal(wefti_device_begin(device, &shard, NULL), WEFT_OK);
    wefti_device_unbegin(device, shard);
    weft_device_statistics s = statistics_of(device);
    assert_int_equal(s.accepted, 5);
    assert_int_equal(s.done, 2);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.cancelled, 1);
    assert_int_equal(s.timed_out, 1);
    assert_int_equal(weft_device_drain(device, 0, NULL), WEFT_OK);
    weft_device_release(device);
}

static void test_a_closed_device_refuses(void **state)
{
    (void)state;
    weft_device *device = open_null();
    weft_device_close(device);
    weft_device_close(device);
    uint32_t shard;
    weft_stream *stream;
    weft_event *event;
    weft_error error;
    assert_int_equal(wefti_device_begin(device, &shard, &error), WEFT_CLOSED);
    assert_non_null(strstr(error.message, "null is closed"));
    assert_int_equal(weft_stream_acquire(device, &stream, NULL), WEFT_CLOSED);
    assert_int_equal(weft_event_create(device, false, &event, NULL), WEFT_CLOSED);
    assert_int_equal(statistics_of(device).accepted, 0);
    assert_int_equal(weft_device_drain(device, 0, NULL), WEFT_OK);
    weft_device_release(device);
}

/* Drain sees the end of work that another thread does. */
typedef struct late_end {
    weft_device *device;
    uint32_t shard;
} late_end;

static bool has_drainer(void *user)
{
    weft_device *device = user;
    return wefti_atomic_u32_load_seq_cst(&device->drainers) > 0;
}

static void end_when_drained(void *user)
{
    late_end *self = user;
    crew_await(has_drainer, self->device);
    wefti_device_end(self->device, self->shard, WEFTI_OUTCOME_DONE);
}

static void test_drain_is_woken_by_the_last_end(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        late_end late = {.device = open_null()};
        assert_int_equal(wefti_device_begin(late.device, &late.shard, NULL), WEFT_OK);
        weft_device_close(late.device);
        crew_thread thread;
        crew_start(&thread, end_when_drained, &late);
        assert_int_equal(weft_device_drain(late.device, WEFT_FOREVER, NULL), WEFT_OK);
        crew_join(&thread);
        weft_device_release(late.device);
    }
}

/* Many begin and end while one closes and drains: what was accepted has ended when
 * drain returns, nothing is accepted after. */
typedef struct rush {
    weft_device *device;
    wefti_atomic_u32 drained, late, accepted;
} rush;

static void hurry(void *user, uint32_t index)
{
    rush *r = user;
    if (index == 0) {
        wefti_thread_yield();
        weft_device_close(r->device);
        assert_int_equal(weft_device_drain(r->device, WEFT_FOREVER, NULL), WEFT_OK);
        wefti_atomic_u32_store_seq_cst(&r->drained, 1);
        return;
    }
    uint32_t shard;
    while (wefti_device_begin(r->device, &shard, NULL) == WEFT_OK) {
        wefti_atomic_u32_add_relaxed(&r->late,
                                     wefti_atomic_u32_load_seq_cst(&r->drained));
        wefti_atomic_u32_add_relaxed(&r->accepted, 1);
        wefti_device_end(r->device, shard, index % WEFTI_OUTCOME_COUNT);
    }
}

static void test_nothing_begins_after_drain(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        rush r = {.device = open_null()};
        crew_run(6, hurry, &r);
        weft_device_statistics s = statistics_of(r.device);
        assert_int_equal(wefti_atomic_u32_load_seq_cst(&r.late), 0);
        assert_int_equal(s.accepted, wefti_atomic_u32_load_seq_cst(&r.accepted));
        assert_int_equal(s.accepted, s.done + s.failed + s.cancelled + s.timed_out);
        weft_device_release(r.device);
    }
}

/* Work that waits for a context when drain gives up is cancelled, if closed. */
typedef struct context_wait {
    weft_device *device;
    weft_status status;
} context_wait;

static void wait_for_context(void *user)
{
    context_wait *self = user;
    weft_context *context;
    uint32_t shard;
    assert_int_equal(wefti_device_begin(self->device, &shard, NULL), WEFT_OK);
    self->status = wefti_context_acquire(self->device, NULL, &context, NULL);
    wefti_device_end(self->device, shard, wefti_outcome_of(self->status));
}

static bool has_accepted(void *user)
{
    return statistics_of(user).accepted == 1;
}

static void test_drain_cancels_who_waits_for_a_context(void **state)
{
    (void)state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = 1;
    context_wait waiting = {0};
    assert_int_equal(weft_device_open("null", &params, &waiting.device, NULL), WEFT_OK);
    weft_context *held;
    assert_int_equal(weft_context_acquire(waiting.device, NULL, &held, NULL), WEFT_OK);
    crew_thread thread;
    crew_start(&thread, wait_for_context, &waiting);
    crew_await(has_accepted, waiting.device);
    weft_device_close(waiting.device);
    assert_int_equal(weft_device_drain(waiting.device, MS, NULL), WEFT_TIMEOUT);
    crew_join(&thread);
    assert_int_equal(waiting.status, WEFT_CANCELLED);
    assert_int_equal(weft_device_drain(waiting.device, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(statistics_of(waiting.device).cancelled, 1);
    weft_context_release(held);
    weft_device_release(waiting.device);
}

static void share_and_drop(void *user, uint32_t index)
{
    (void)index;
    for (int i = 0; i < 1000; i++) {
        weft_device *device = weft_device_retain(user);
        weft_device_release(device);
    }
    weft_device_release(user);
}

static void test_owners_on_many_threads(void **state)
{
    (void)state;
    weft_device *device = open_null();
    for (int i = 0; i < 7; i++) {
        weft_device_retain(device);
    }
    crew_run(8, share_and_drop, device);
}

static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

static void live_shortly(void *user)
{
    weft_device *device = user;
    uint32_t shard;
    weft_context *context;
    assert_int_equal(wefti_device_begin(device, &shard, NULL), WEFT_OK);
    assert_int_equal(wefti_context_acquire(device, NULL, &context, NULL), WEFT_OK);
    assert_int_equal(wefti_context_enter(context, context, NULL), WEFT_OK);
    assert_int_equal(wefti_context_reserve(context, 1000, NULL), WEFT_OK);
    wefti_context_leave(context);
    wefti_context_release(context);
    wefti_device_end(device, shard, WEFTI_OUTCOME_DONE);
}

static void live_in_turn(weft_device *device, uint32_t count)
{
    enum { AT_ONCE = 4 };
    for (uint32_t i = 0; i < count; i += AT_ONCE) {
        crew_thread threads[AT_ONCE];
        for (int t = 0; t < AT_ONCE; t++) {
            crew_start(&threads[t], live_shortly, device);
        }
        for (int t = 0; t < AT_ONCE; t++) {
            crew_join(&threads[t]);
        }
    }
}

static void test_10000_short_threads_leave_memory_flat(void **state)
{
    (void)state;
    weft_device *device = open_null();
    uint32_t count = 10000 / crew_divisor() / 4 * 4;
    /* Every context is made ready first. */
    weft_context *all[8];
    for (int i = 0; i < 8; i++) {
        assert_int_equal(weft_context_acquire(device, NULL, &all[i], NULL), WEFT_OK);
        assert_int_equal(wefti_context_enter(all[i], all[i], NULL), WEFT_OK);
        assert_int_equal(wefti_context_reserve(all[i], 1000, NULL), WEFT_OK);
        wefti_context_leave(all[i]);
    }
    for (int i = 0; i < 8; i++) {
        weft_context_release(all[i]);
    }
    live_in_turn(device, 400);
    uint64_t allocations = wefti_allocation_count();
    long pages = resident_pages();
    live_in_turn(device, count);
    assert_int_equal(wefti_allocation_count(), allocations);
    assert_int_equal(statistics_of(device).done, 400 + count);
    if (crew_divisor() == 1) { /* a sanitizer's own records grow */
        assert_true(resident_pages() - pages < 256);
    }
    weft_device_release(device);
}

static int child_of_fork(weft_device *device, weft_context *context)
{
    weft_error error;
    weft_device *other;
    weft_context *another;
    weft_stream *stream;
    weft_event *event;
    uint32_t shard;
    int wrong = 0;
    wrong |= weft_device_open("null", NULL, &other, &error) != WEFT_FORKED;
    wrong |= weft_context_acquire(device, NULL, &another, NULL) != WEFT_FORKED;
    wrong |= weft_stream_acquire(device, &stream, NULL) != WEFT_FORKED;
    wrong |= weft_event_create(device, false, &event, NULL) != WEFT_FORKED;
    wrong |= weft_device_drain(device, 0, NULL) != WEFT_FORKED;
    wrong |= weft_device_trim(device, NULL) != WEFT_FORKED;
    wrong |= wefti_device_begin(device, &shard, NULL) != WEFT_FORKED;
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    weft_context_release(context);
    weft_device_close(device);
    weft_device_release(device);
    return wrong;
}

static void test_a_forked_child_is_told(void **state)
{
    (void)state;
    weft_device *device = open_null();
    weft_context *context;
    assert_int_equal(weft_context_acquire(device, NULL, &context, NULL), WEFT_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(child_of_fork(device, context));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    weft_context_release(context);
    weft_device_release(device);
}

static void test_failures_of_open_are_forced(void **state)
{
    (void)state;
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 3;
    uint64_t n = 0;
    uint64_t uses;
    do {
        weft_error error = {0};
        wefti_fault_arm(++n, all);
        weft_status status = open_with(&params, &error);
        uses = wefti_fault_arm(0, 0);
        assert_true(uses < n ? status == WEFT_OK
                             : status == WEFT_OUT_OF_MEMORY || status == WEFT_INTERNAL);
        assert_true(status == WEFT_OK || (error.message[0] && error.status == status));
    } while (uses >= n);
    assert_true(n > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_arguments_are_named),
        cmocka_unit_test(test_a_device_tells_what_it_is),
        cmocka_unit_test(test_work_is_counted_by_outcome),
        cmocka_unit_test(test_a_closed_device_refuses),
        cmocka_unit_test(test_drain_is_woken_by_the_last_end),
        cmocka_unit_test(test_nothing_begins_after_drain),
        cmocka_unit_test(test_drain_cancels_who_waits_for_a_context),
        cmocka_unit_test(test_owners_on_many_threads),
        cmocka_unit_test(test_10000_short_threads_leave_memory_flat),
        cmocka_unit_test(test_a_forked_child_is_told),
        cmocka_unit_test(test_failures_of_open_are_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
