/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols of leases, of a device's counts, of marks on a stream and of requests
 * under a scheduler: bounded exhaustive where they are small, random where not. Each
 * with the guard switched off too: then schedules must be found that go wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "runtime/context.h"
#include "runtime/lease.h"
#include "runtime/request.h"
#include "support/crew.h"
#include "support/explore.h"

enum { MS = 1000000 };

static void report(const char *name, explore_result result)
{
    print_message("%s: %llu schedules%s, %llu bad (%llu stuck), first %llu\n", name,
                  (unsigned long long)result.schedules,
                  result.complete ? ", all within the bound" : "",
                  (unsigned long long)result.bad, (unsigned long long)result.stuck,
                  (unsigned long long)result.first_bad);
}

static uint32_t scaled(uint32_t count)
{
    return count / crew_divisor();
}

/* Leases: `slots` of them, each thread leases once or twice. */
typedef struct lease_stage {
    wefti_lease_pool *pool;
    int32_t slot_count;
    uint32_t users[4]; /* plain: one thread runs at a time */
    uint32_t violations, leases, arrivals;
    uint32_t retired;
} lease_stage;

static lease_stage *set_lease_stage(int32_t slot_count)
{
    lease_stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->slot_count = slot_count;
    assert_int_equal(wefti_lease_pool_create(slot_count, &s->pool, NULL), WEFT_OK);
    return s;
}

static void *set_one_slot(void)
{
    return set_lease_stage(1);
}

static void *set_two_slots(void)
{
    return set_lease_stage(2);
}

static weft_status lease_once(lease_stage *s, weft_lease_policy policy, bool accepted)
{
    weft_lease_params params = {
        .struct_size = sizeof params, .policy = policy, .timeout_ns = MS};
    int32_t slot;
    bool shared;
    weft_status status =
        wefti_lease_acquire(s->pool, &params, accepted, &slot, &shared, NULL);
    if (status == WEFT_OK) {
        s->leases++;
        s->violations += s->users[slot]++ != 0;
        WEFTI_SCHEDULE_POINT();
        s->users[slot]--;
        wefti_lease_release(s->pool, slot);
    }
    return status;
}

static bool check_lease_stage(void *state)
{
    lease_stage *s = state;
    bool right = s->violations == 0 && wefti_lease_waiter_count(s->pool) == 0;
    for (int32_t i = 0; i < s->slot_count && right; i++) {
        weft_lease_params fail = {.struct_size = sizeof fail,
                                  .policy = WEFT_LEASE_FAIL};
        int32_t slot;
        bool shared;
        right =
            wefti_lease_acquire(s->pool, &fail, true, &slot, &shared, NULL) == WEFT_OK;
    }
    wefti_lease_pool_destroy(s->pool);
    free(s);
    return right;
}

static void wait_and_use(void *state, uint32_t index)
{
    (void)index;
    lease_stage *s = state;
    s->violations += lease_once(s, WEFT_LEASE_WAIT, false) != WEFT_OK;
}

static void test_waiting_for_one_slot(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 3,
                         .set_up = set_one_slot,
                         .run = wait_and_use,
                         .check = check_lease_stage};
    explore_result result = explore_all(&what, 2, scaled(6000));
    report("wait", result);
    assert_int_equal(result.bad, 0);
    wefti_sabotage_set(WEFTI_SABOTAGE_WAKE_NEXT);
    result = explore_all(&what, 2, 800);
    wefti_sabotage_set(WEFTI_SABOTAGE_LEASE_TWICE);
    explore_result twice = explore_all(&what, 2, 800);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    report("wait, nobody woken", result);
    assert_true(result.stuck > 0);
    report("wait, leased twice", twice);
    assert_true(twice.bad > 0);
}

static void use_in_many_ways(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 0) {
        s->violations += lease_once(s, WEFT_LEASE_WAIT, true) != WEFT_OK;
        s->violations += lease_once(s, WEFT_LEASE_SHARE, true) != WEFT_OK;
    } else if (index == 1) {
        weft_status status = lease_once(s, WEFT_LEASE_WAIT_UNTIL, true);
        s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
        status = lease_once(s, WEFT_LEASE_FAIL, true);
        s->violations += status != WEFT_OK && status != WEFT_BUSY;
    } else if (index == 2) {
        weft_status status = lease_once(s, WEFT_LEASE_WAIT, false);
        s->violations += status != WEFT_OK && status != WEFT_CLOSED;
        s->violations += lease_once(s, WEFT_LEASE_WAIT, true) != WEFT_OK;
    } else {
        wefti_lease_pool_close(s->pool);
        s->violations += lease_once(s, WEFT_LEASE_WAIT, false) != WEFT_CLOSED;
    }
}

static void test_all_policies_and_close(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 4,
                         .set_up = set_one_slot,
                         .run = use_in_many_ways,
                         .check = check_lease_stage};
    explore_result result = explore_random(&what, 1, scaled(2500));
    report("policies, one slot", result);
    assert_int_equal(result.bad, 0);
    what.set_up = set_two_slots;
    result = explore_random(&what, 1, scaled(2500));
    report("policies, two slots", result);
    assert_int_equal(result.bad, 0);
}

/* One holds the slot, one waits for it, one closes. */
static void wait_until_closed(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 1) {
        wefti_lease_pool_close(s->pool);
        return;
    }
    int32_t slot;
    bool shared;
    weft_status status =
        wefti_lease_acquire(s->pool, NULL, false, &slot, &shared, NULL);
    s->violations += status != WEFT_OK && status != WEFT_CLOSED;
    s->leases += status == WEFT_OK; /* and is kept until the end */
    s->retired = (uint32_t)slot;
}

static bool check_closed_stage(void *state)
{
    lease_stage *s = state;
    bool right =
        s->violations == 0 && s->leases <= 1 && wefti_lease_waiter_count(s->pool) == 0;
    wefti_lease_pool_destroy(s->pool);
    free(s);
    return right;
}

static void test_close_wakes_every_waiter(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 3,
                         .set_up = set_one_slot,
                         .run = wait_until_closed,
                         .check = check_closed_stage};
    explore_result result = explore_all(&what, 3, scaled(6000));
    report("close", result);
    assert_int_equal(result.bad, 0);
    wefti_sabotage_set(WEFTI_SABOTAGE_WAKE_ON_CLOSE);
    result = explore_all(&what, 3, 800);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    report("close, nobody woken", result);
    assert_true(result.stuck > 0);
}

/* The pool goes with the last lease, exactly once. */
static void count_retirement(void *user)
{
    lease_stage *s = user;
    s->retired++;
    for (int32_t i = 0; i < s->slot_count; i++) {
        s->violations += s->users[i];
    }
    wefti_lease_pool_destroy(s->pool); /* whoever touches it now is caught */
}

static void use_or_retire(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 2) {
        wefti_lease_pool_retire(s->pool, count_retirement, s);
        return;
    }
    wefti_lease_release(s->pool, (int32_t)index);
}

static void *set_two_leases(void)
{
    lease_stage *s = set_lease_stage(2);
    int32_t slot;
    bool shared;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            wefti_lease_acquire(s->pool, NULL, false, &slot, &shared, NULL), WEFT_OK);
    }
    return s;
}

static bool check_retired_once(void *state)
{
    lease_stage *s = state;
    bool right = s->violations == 0 && s->retired == 1;
    free(s);
    return right;
}

static void test_retiring_happens_once(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 3,
                         .set_up = set_two_leases,
                         .run = use_or_retire,
                         .check = check_retired_once};
    explore_result result = explore_all(&what, 3, scaled(6000));
    report("retire", result);
    assert_int_equal(result.bad, 0);
}

/* Nobody overtakes: who finds n waiting has its lease after n others. */
static void keep_order(void *state, uint32_t index)
{
    (void)index;
    lease_stage *s = state;
    for (int i = 0; i < 2; i++) {
        uint32_t ahead = wefti_lease_waiter_count(s->pool);
        uint32_t before = s->leases;
        int32_t slot;
        bool shared;
        if (wefti_lease_acquire(s->pool, NULL, false, &slot, &shared, NULL) !=
            WEFT_OK) {
            s->violations++;
            return;
        }
        s->violations += s->leases - before < ahead;
        s->leases++;
        WEFTI_SCHEDULE_POINT();
        wefti_lease_release(s->pool, slot);
    }
}

static void test_nobody_overtakes(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 4,
                         .set_up = set_one_slot,
                         .run = keep_order,
                         .check = check_lease_stage};
    explore_result result = explore_random(&what, 1, scaled(2500));
    report("order", result);
    assert_int_equal(result.bad, 0);
}

/* A device: two work, one closes and drains. */
typedef struct device_stage {
    weft_device *device;
    uint32_t violations, begun, drained;
} device_stage;

static device_stage *set_device_stage(int32_t worker_count, int32_t max_contexts)
{
    device_stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
    params.max_contexts = max_contexts;
    assert_int_equal(weft_device_open("null", &params, &s->device, NULL), WEFT_OK);
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

static void test_draining_a_device(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 3,
                         .set_up = set_device_alone,
                         .run = work_or_drain,
                         .check = check_device_stage};
    explore_result result = explore_random(&what, 1, scaled(1500));
    report("drain, random", result);
    assert_int_equal(result.bad, 0);
    what.thread_count = 2;
    result = explore_all(&what, 2, scaled(4000));
    report("drain", result);
    assert_int_equal(result.bad, 0);
}

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
    assert_non_null(s);
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = 1;
    assert_int_equal(weft_device_open("null", &params, &s->device, NULL), WEFT_OK);
    assert_int_equal(weft_stream_acquire(s->device, &s->stream, NULL), WEFT_OK);
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

static void test_points_on_a_stream(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 3,
                         .set_up = set_stream_stage,
                         .run = submit_or_mark,
                         .check = check_stream_stage};
    explore_result result = explore_all(&what, 2, scaled(4000));
    report("points", result);
    assert_int_equal(result.bad, 0);
    result = explore_random(&what, 1, scaled(1500));
    report("points, random", result);
    assert_int_equal(result.bad, 0);
}

/* Requests: one submits, its worker runs, another cancels, time runs out. The device is
 * opened and released under the scheduler, with its worker and timer. */
typedef struct request_stage {
    weft_device *device;
    weft_request *request;
    uint32_t runs, releases, callbacks;
    weft_status told;
    uint32_t violations;
} request_stage;

static void *set_request_stage(void)
{
    request_stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    return s;
}

static weft_status run_body(void *user, weft_error *error)
{
    (void)error;
    request_stage *s = user;
    s->runs++;
    return WEFT_OK;
}

static void count_release(void *user)
{
    request_stage *s = user;
    s->releases++;
}

static void count_callback(void *user, weft_request *request, weft_status status)
{
    (void)request;
    request_stage *s = user;
    s->callbacks++;
    s->told = status;
}

static void cancel_request(void *argument)
{
    request_stage *s = argument;
    bool won = weft_request_cancel(s->request);
    weft_status status;
    bool ended = weft_request_test(s->request, &status);
    s->violations += won && !(ended && status == WEFT_CANCELLED);
    weft_request_release(s->request);
}

static void live_through_a_request(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 1;
    params.max_contexts = 1;
    s->violations += weft_device_open("null", &params, &s->device, NULL) != WEFT_OK;
    wefti_request_work work = {.body = run_body, .user = s, .release = count_release};
    weft_submit_params submit = WEFT_SUBMIT_PARAMS_INIT;
    submit.callback = count_callback;
    submit.user = s;
    submit.timeout_ns = MS;
    weft_request *request;
    s->violations +=
        wefti_request_submit(s->device, &work, &submit, &request, NULL) != WEFT_OK;
    s->request = weft_request_retain(request);
    wefti_thread canceller;
    s->violations +=
        wefti_thread_start(&canceller, "cancel", cancel_request, s, NULL) != WEFT_OK;
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += s->releases != 1;
    weft_device_close(s->device);
    s->violations += weft_device_drain(s->device, WEFT_FOREVER, NULL) != WEFT_OK;
    s->violations += s->callbacks != 1 || s->told != status;
    s->violations += s->runs != (status == WEFT_OK);
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    s->violations += n.done + n.cancelled + n.timed_out != 1;
    wefti_thread_join(&canceller);
    weft_request_release(request);
    weft_device_release(s->device);
}

static bool check_request_stage(void *state)
{
    request_stage *s = state;
    bool right = s->violations == 0;
    free(s);
    return right;
}

static void test_a_request_ends_once(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 1,
                         .set_up = set_request_stage,
                         .run = live_through_a_request,
                         .check = check_request_stage};
    explore_result result = explore_random(&what, 1, scaled(1500));
    report("request", result);
    assert_int_equal(result.bad, 0);
    wefti_sabotage_set(WEFTI_SABOTAGE_EXACTLY_ONCE);
    result = explore_random(&what, 1, 1000);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    report("request, ended twice", result);
    assert_true(result.bad > 0);
}

/* The device's last owner goes in a callback, on its worker, its timer or the thread
 * that cancels, while the device's other threads are on their way. */
static void callback_that_leaves(void *user, weft_request *request, weft_status status)
{
    request_stage *s = user;
    count_callback(user, request, status);
    weft_device_release(s->device);
}

static void leave_in_a_callback(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 2;
    params.max_contexts = 1;
    s->violations += weft_device_open("null", &params, &s->device, NULL) != WEFT_OK;
    wefti_request_work work = {.body = run_body, .user = s, .release = count_release};
    weft_submit_params submit = WEFT_SUBMIT_PARAMS_INIT;
    submit.callback = callback_that_leaves;
    submit.user = s;
    submit.timeout_ns = MS;
    weft_context *context;
    s->violations += weft_context_acquire(s->device, NULL, &context, NULL) != WEFT_OK;
    weft_request *request;
    s->violations +=
        wefti_request_submit(s->device, &work, &submit, &request, NULL) != WEFT_OK;
    (void)weft_request_cancel(request);
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += s->runs != (status == WEFT_OK) || s->releases != 1;
    weft_request_release(request);
    weft_context_release(context); /* either this or the callback comes last */
}

static void test_the_last_owner_goes_anywhere(void **state)
{
    (void)state;
    explore_case what = {.thread_count = 1,
                         .set_up = set_request_stage,
                         .run = leave_in_a_callback,
                         .check = check_request_stage};
    explore_result result = explore_random(&what, 1, scaled(1500));
    report("last owner", result);
    assert_int_equal(result.bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting_for_one_slot),
        cmocka_unit_test(test_all_policies_and_close),
        cmocka_unit_test(test_nobody_overtakes),
        cmocka_unit_test(test_close_wakes_every_waiter),
        cmocka_unit_test(test_retiring_happens_once),
        cmocka_unit_test(test_draining_a_device),
        cmocka_unit_test(test_points_on_a_stream),
        cmocka_unit_test(test_a_request_ends_once),
        cmocka_unit_test(test_the_last_owner_goes_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
