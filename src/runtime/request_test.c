/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/request.h"

#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "runtime/executor.h"
#include "support/crew.h"

enum { MS = 1000000 };

static weft_device *open_null(int32_t worker_count)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
    params.max_contexts = 4;
    weft_device *device;
    assert_int_equal(weft_device_open("null", &params, &device, NULL), WEFT_OK);
    return device;
}

/* What a request runs in these tests. */
typedef struct job {
    crew_gate *gate;        /* passed by the body if there is one */
    crew_gate *began;       /* opened by the body if there is one */
    weft_status answer;     /* of the body */
    weft_device *ownership; /* released with the job */

    wefti_atomic_u32 runs, releases, callbacks, last_status;
} job;

static weft_status run_job(void *user, weft_error *error)
{
    job *self = user;
    wefti_atomic_u32_add_acq_rel(&self->runs, 1);
    if (self->began) {
        crew_gate_open(self->began);
    }
    if (self->gate) {
        crew_gate_pass(self->gate);
    }
    if (self->answer != WEFT_OK) {
        return wefti_error(error, self->answer, "the job was told to fail");
    }
    return WEFT_OK;
}

static void release_job(void *user)
{
    job *self = user;
    weft_device_release(self->ownership);
    wefti_atomic_u32_add_acq_rel(&self->releases, 1);
}

static void count_callback(void *user, weft_request *request, weft_status status)
{
    job *self = user;
    weft_status seen = WEFT_INTERNAL;
    assert_true(weft_request_test(request, &seen));
    assert_int_equal(seen, status);
    wefti_atomic_u32_store_release(&self->last_status, status);
    wefti_atomic_u32_add_acq_rel(&self->callbacks, 1);
}

static weft_status submit(weft_device *device, job *job_, weft_submit_params *params,
                          weft_request **request)
{
    weft_submit_params plain = WEFT_SUBMIT_PARAMS_INIT;
    plain.callback = count_callback;
    plain.user = job_;
    wefti_request_work work = {.body = run_job, .user = job_, .release = release_job};
    return wefti_request_submit(device, &work, params ? params : &plain, request, NULL);
}

static void assert_balanced(weft_device *device)
{
    weft_device_statistics s;
    weft_device_get_statistics(device, &s);
    assert_int_equal(s.accepted, s.done + s.failed + s.cancelled + s.timed_out);
}

static bool is_balanced(weft_device *device)
{
    weft_device_statistics s;
    weft_device_get_statistics(device, &s);
    return s.accepted == s.done + s.failed + s.cancelled + s.timed_out;
}

static bool has_callback(void *user)
{
    return wefti_atomic_u32_load_acquire(&((job *)user)->callbacks) == 1;
}

/* Fills the only worker, so that what is submitted next does not begin. */
typedef struct blocker {
    crew_gate gate, began;
    job job;
    weft_request *request;
} blocker;

static void block_worker(weft_device *device, blocker *b)
{
    *b = (blocker){.gate = CREW_GATE_INIT, .began = CREW_GATE_INIT};
    b->job.gate = &b->gate;
    b->job.began = &b->began;
    assert_int_equal(submit(device, &b->job, NULL, &b->request), WEFT_OK);
    crew_gate_pass(&b->began);
}

static void unblock_worker(blocker *b)
{
    crew_gate_open(&b->gate);
    assert_int_equal(weft_request_wait(b->request, WEFT_FOREVER, NULL), WEFT_OK);
    crew_await(has_callback, &b->job);
    weft_request_release(b->request);
}

static void test_a_request_is_done_once(void **state)
{
    (void)state;
    weft_device *device = open_null(2);
    job j = {0};
    weft_request *request;
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_OK);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.runs), 1);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.releases), 1);
    assert_balanced(device);
    weft_status status = WEFT_INTERNAL;
    assert_true(weft_request_test(request, &status));
    assert_int_equal(status, WEFT_OK);
    assert_false(weft_request_cancel(request));
    assert_int_equal(weft_request_fd(request), -1);
    weft_request_release(request);
    weft_device_close(device);
    assert_int_equal(weft_device_drain(device, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.callbacks), 1);
    weft_device_release(device);
}

static void test_a_failure_keeps_its_words(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    job j = {.answer = WEFT_OUT_OF_MEMORY};
    weft_request *request;
    weft_error error;
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_request_wait(request, WEFT_FOREVER, &error),
                         WEFT_OUT_OF_MEMORY);
        assert_string_equal(error.message, "the job was told to fail");
        assert_int_equal(error.status, WEFT_OUT_OF_MEMORY);
    }
    weft_device_statistics s;
    weft_device_get_statistics(device, &s);
    assert_int_equal(s.failed, 1);
    weft_request_release(request);
    weft_device_release(device);
}

static void test_cancel_before_start_leaves_nothing(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    job j = {0};
    weft_request *request;
    weft_error error;
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_OK);
    assert_int_equal(weft_request_wait(request, 0, &error), WEFT_TIMEOUT);
    assert_false(weft_request_test(request, NULL));
    assert_true(weft_request_cancel(request));
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.releases), 1);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.callbacks), 1);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, &error), WEFT_CANCELLED);
    assert_non_null(strstr(error.message, "before it began"));
    assert_false(weft_request_cancel(request));
    weft_request_release(request);
    /* A running one goes on to its end. */
    assert_false(weft_request_cancel(b.request));
    unblock_worker(&b);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.runs), 0);
    weft_device_statistics s;
    weft_device_get_statistics(device, &s);
    assert_int_equal(s.accepted, 2);
    assert_int_equal(s.done, 1);
    assert_int_equal(s.cancelled, 1);
    weft_device_release(device);
}

static void test_cancelled_requests_hold_no_memory(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    for (int i = 0; i < 1000; i++) {
        job j = {0};
        weft_request *request;
        assert_int_equal(submit(device, &j, NULL, &request), WEFT_OK);
        weft_request *retained = weft_request_retain(request);
        assert_true(weft_request_cancel(request));
        weft_request_release(request);
        /* The caller's is the only owner left. */
        assert_true(wefti_refcount_release(&retained->owners));
        wefti_refcount_init(&retained->owners);
        weft_request_release(retained);
    }
    unblock_worker(&b);
    assert_balanced(device);
    weft_device_release(device);
}

static void test_time_to_start_runs_out(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    enum { COUNT = 3 };
    static const int64_t timeouts_ms[COUNT] = {30, 10, 20};
    job jobs[COUNT];
    weft_request *requests[COUNT];
    weft_error error;
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (job){0};
        weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
        params.callback = count_callback;
        params.user = &jobs[i];
        params.timeout_ns = timeouts_ms[i] * MS;
        assert_int_equal(submit(device, &jobs[i], &params, &requests[i]), WEFT_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(weft_request_wait(requests[i], WEFT_FOREVER, &error),
                         WEFT_TIMEOUT);
        assert_non_null(strstr(error.message, "did not begin"));
        weft_status status;
        assert_true(weft_request_test(requests[i], &status));
        assert_int_equal(status, WEFT_TIMEOUT);
        assert_int_equal(wefti_atomic_u32_load_acquire(&jobs[i].runs), 0);
        weft_request_release(requests[i]);
    }
    unblock_worker(&b);
    /* In time: runs. */
    job j = {0};
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    params.timeout_ns = 3600 * (int64_t)1000 * MS;
    weft_request *request;
    assert_int_equal(submit(device, &j, &params, &request), WEFT_OK);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(request);
    weft_device_statistics s;
    weft_device_get_statistics(device, &s);
    assert_int_equal(s.timed_out, COUNT);
    assert_balanced(device);
    weft_device_release(device);
}

static void test_the_descriptor_becomes_readable(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    crew_gate gate = CREW_GATE_INIT;
    job j = {.gate = &gate};
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    params.with_fd = true;
    weft_request *request;
    assert_int_equal(submit(device, &j, &params, &request), WEFT_OK);
    struct pollfd watched = {.fd = weft_request_fd(request), .events = POLLIN};
    assert_true(watched.fd >= 0);
    assert_int_equal(poll(&watched, 1, 0), 0);
    crew_gate_open(&gate);
    assert_int_equal(poll(&watched, 1, 60000), 1);
    assert_int_equal(weft_request_wait(request, 0, NULL), WEFT_OK);
    weft_request_release(request);
    weft_device_release(device);
}

static void test_refusals(void **state)
{
    (void)state;
    weft_device *device = open_null(0);
    job j = {0};
    weft_request *request = (weft_request *)&j;
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_UNAVAILABLE);
    assert_null(request);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.releases), 1);
    weft_device_release(device);

    device = open_null(1);
    weft_submit_params params = {.struct_size = 1};
    assert_int_equal(submit(device, &j, &params, &request), WEFT_INVALID_ARGUMENT);
    weft_device_close(device);
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_CLOSED);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.releases), 3);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.callbacks), 0);
    assert_balanced(device);
    assert_int_equal(weft_request_wait(NULL, 0, NULL), WEFT_INVALID_ARGUMENT);
    assert_false(weft_request_cancel(NULL));
    weft_request_release(NULL);
    weft_device_release(device);
}

static void test_accepted_requests_survive_close(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    job j = {0};
    weft_request *request;
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_OK);
    weft_device_close(device);
    unblock_worker(&b);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(weft_device_drain(device, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(request);
    weft_device_release(device);
}

static void test_drain_cancels_what_has_not_started(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    job jobs[COUNT];
    weft_request *requests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (job){0};
        assert_int_equal(submit(device, &jobs[i], NULL, &requests[i]), WEFT_OK);
    }
    weft_device_close(device);
    weft_error error;
    assert_int_equal(weft_device_drain(device, 5 * MS, &error), WEFT_TIMEOUT);
    assert_non_null(strstr(error.message, "drain again"));
    for (int i = 0; i < COUNT; i++) {
        weft_status status;
        assert_true(weft_request_test(requests[i], &status));
        assert_int_equal(status, WEFT_CANCELLED);
        assert_int_equal(wefti_atomic_u32_load_acquire(&jobs[i].callbacks), 1);
        weft_request_release(requests[i]);
    }
    unblock_worker(&b);
    assert_int_equal(weft_device_drain(device, WEFT_FOREVER, NULL), WEFT_OK);
    assert_balanced(device);
    weft_device_release(device);
}

/* Closing: after drain no callback runs. */
typedef struct slow_callback {
    crew_gate entered, leave;
    wefti_atomic_u32 left;
} slow_callback;

static void callback_that_waits(void *user, weft_request *request, weft_status status)
{
    (void)request;
    (void)status;
    slow_callback *self = user;
    crew_gate_open(&self->entered);
    crew_gate_pass(&self->leave);
    wefti_atomic_u32_store_release(&self->left, 1);
}

static void test_drain_waits_for_callbacks(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    slow_callback slow = {.entered = CREW_GATE_INIT, .leave = CREW_GATE_INIT};
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    params.callback = callback_that_waits;
    params.user = &slow;
    job j = {0};
    weft_request *request;
    assert_int_equal(submit(device, &j, &params, &request), WEFT_OK);
    crew_gate_pass(&slow.entered);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    assert_balanced(device);
    assert_int_equal(weft_device_drain(device, MS, NULL), WEFT_TIMEOUT);
    crew_gate_open(&slow.leave);
    assert_int_equal(weft_device_drain(device, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_acquire(&slow.left), 1);
    weft_request_release(request);
    weft_device_release(device);
}

/* Callbacks may do anything with their own request. */
typedef struct chain {
    weft_device *device;
    job job;
    uint32_t left;
    crew_gate over;
} chain;

static void callback_that_submits(void *user, weft_request *request, weft_status status)
{
    chain *self = user;
    assert_int_equal(status, WEFT_OK);
    assert_false(weft_request_cancel(request));
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(request);
    if (self->left-- == 0) {
        crew_gate_open(&self->over);
        return;
    }
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    params.callback = callback_that_submits;
    params.user = self;
    weft_request *next;
    assert_int_equal(submit(self->device, &self->job, &params, &next), WEFT_OK);
}

static void test_callbacks_submit_and_release(void **state)
{
    (void)state;
    enum { LINKS = 500 };
    chain c = {.device = open_null(2), .left = LINKS, .over = CREW_GATE_INIT};
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    params.callback = callback_that_submits;
    params.user = &c;
    weft_request *first;
    assert_int_equal(submit(c.device, &c.job, &params, &first), WEFT_OK);
    crew_gate_pass(&c.over);
    assert_int_equal(weft_device_drain(c.device, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_acquire(&c.job.runs), LINKS + 1);
    weft_device_release(c.device);
}

/* The last owner of the device goes inside a request, on a thread of the device. */
typedef struct farewell {
    weft_device *device;
    crew_gate over;
} farewell;

static void callback_that_drops_the_device(void *user, weft_request *request,
                                           weft_status status)
{
    (void)status;
    farewell *self = user;
    weft_request_release(request);
    weft_device_release(self->device);
    crew_gate_open(&self->over);
}

static void test_the_last_owner_goes_in_a_callback(void **state)
{
    (void)state;
    for (int with_timer = 0; with_timer < 2; with_timer++) {
        farewell f = {.device = open_null(2), .over = CREW_GATE_INIT};
        weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
        params.callback = callback_that_drops_the_device;
        params.user = &f;
        params.timeout_ns = with_timer ? 3600000 * (int64_t)MS : 0;
        job j = {0};
        weft_request *request;
        assert_int_equal(submit(f.device, &j, &params, &request), WEFT_OK);
        crew_gate_pass(&f.over);
    }
}

static void test_the_last_owner_goes_in_the_work(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    crew_gate gate = CREW_GATE_INIT;
    job j = {.gate = &gate, .ownership = device};
    weft_request *request;
    assert_int_equal(submit(device, &j, NULL, &request), WEFT_OK);
    crew_gate_open(&gate);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_acquire(&j.releases), 1);
    crew_await(has_callback, &j);
    weft_request_release(request);
}

static void test_the_last_owner_goes_on_the_timer(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    job j = {.ownership = device};
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    params.callback = count_callback;
    params.user = &j;
    params.timeout_ns = MS;
    weft_request *request;
    assert_int_equal(submit(device, &j, &params, &request), WEFT_OK);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_TIMEOUT);
    crew_await(has_callback, &j);
    weft_request_release(request);
    unblock_worker(&b);
}

/* Submitting, waiting, cancelling and releasing by four threads. */
enum { RELAY = 400 };

typedef struct relay {
    weft_device *device;
    job jobs[RELAY];
    wefti_atomic_ptr requests[RELAY];
    wefti_atomic_u32 waited[RELAY], cancelled[RELAY];
    wefti_atomic_u32 violations;
} relay;

static weft_request *await_request(relay *r, uint32_t i)
{
    weft_request *request;
    while (!(request = wefti_atomic_ptr_load_acquire(&r->requests[i]))) {
        sched_yield();
    }
    return request;
}

static void play_relay(void *user, uint32_t role)
{
    relay *r = user;
    for (uint32_t i = 0; i < RELAY; i++) {
        if (role == 0) {
            weft_request *request;
            if (submit(r->device, &r->jobs[i], NULL, &request) != WEFT_OK) {
                wefti_atomic_u32_add_relaxed(&r->violations, 1);
            }
            wefti_atomic_ptr_store_release(&r->requests[i], request);
            continue;
        }
        weft_request *request = await_request(r, i);
        if (role == 1) {
            weft_status how = weft_request_wait(request, WEFT_FOREVER, NULL);
            bool fits = how == WEFT_OK || how == WEFT_CANCELLED;
            wefti_atomic_u32_add_relaxed(&r->violations, fits ? 0 : 1);
            wefti_atomic_u32_store_release(&r->waited[i], 1);
        } else if (role == 2) {
            bool won = weft_request_cancel(request);
            wefti_atomic_u32_store_release(&r->cancelled[i], won ? 2 : 1);
        } else {
            while (!wefti_atomic_u32_load_acquire(&r->waited[i]) ||
                   !wefti_atomic_u32_load_acquire(&r->cancelled[i])) {
                sched_yield();
            }
            weft_request_release(request);
        }
    }
}

static void test_four_threads_share_a_request(void **state)
{
    (void)state;
    static relay r;
    memset(&r, 0, sizeof r);
    r.device = open_null(2);
    crew_run(4, play_relay, &r);
    assert_int_equal(weft_device_drain(r.device, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&r.violations), 0);
    for (uint32_t i = 0; i < RELAY; i++) {
        bool won = wefti_atomic_u32_load_acquire(&r.cancelled[i]) == 2;
        assert_int_equal(wefti_atomic_u32_load_acquire(&r.jobs[i].runs), won ? 0 : 1);
        assert_int_equal(wefti_atomic_u32_load_acquire(&r.jobs[i].callbacks), 1);
        assert_int_equal(wefti_atomic_u32_load_acquire(&r.jobs[i].releases), 1);
        assert_int_equal(wefti_atomic_u32_load_acquire(&r.jobs[i].last_status),
                         won ? WEFT_CANCELLED : WEFT_OK);
    }
    assert_balanced(r.device);
    weft_device_release(r.device);
}

/* Many submitters; cancels, short deadlines and starts race for each request. */
typedef struct storm {
    weft_device *device;
    uint32_t rounds;
    wefti_atomic_u32 violations;
} storm;

static void brew(void *user, uint32_t index)
{
    storm *s = user;
    uint64_t random = 77 + index;
    for (uint32_t i = 0; i < s->rounds; i++) {
        job j = {.answer = crew_random(&random) % 8 == 0 ? WEFT_INTERNAL : WEFT_OK};
        weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
        params.callback = count_callback;
        params.user = &j;
        params.timeout_ns =
            crew_random(&random) % 4 == 0 ? crew_random(&random) % 50000 + 1 : 0;
        weft_request *request;
        if (submit(s->device, &j, &params, &request) != WEFT_OK) {
            wefti_atomic_u32_add_relaxed(&s->violations, 1);
            continue;
        }
        if (crew_random(&random) % 3 == 0) {
            sched_yield();
            (void)weft_request_cancel(request);
        }
        weft_status how = weft_request_wait(request, WEFT_FOREVER, NULL);
        crew_await(has_callback, &j);
        bool ran = wefti_atomic_u32_load_acquire(&j.runs) == 1;
        bool fits =
            ran ? how == j.answer : how == WEFT_CANCELLED || how == WEFT_TIMEOUT;
        fits = fits && wefti_atomic_u32_load_acquire(&j.releases) == 1;
        wefti_atomic_u32_add_relaxed(&s->violations, fits ? 0 : 1);
        weft_request_release(request);
    }
}

static void test_starts_cancels_and_deadlines_race(void **state)
{
    (void)state;
    storm s = {.device = open_null(3), .rounds = 400 / crew_divisor()};
    crew_run(16, brew, &s);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&s.violations), 0);
    assert_balanced(s.device);
    weft_device_statistics statistics;
    weft_device_get_statistics(s.device, &statistics);
    assert_int_equal(statistics.accepted, 16 * s.rounds);
    weft_device_release(s.device);
}

static void test_ending_twice_is_noticed(void **state)
{
    (void)state;
    weft_device *device = open_null(1);
    blocker b;
    block_worker(device, &b);
    wefti_sabotage_set(WEFTI_SABOTAGE_EXACTLY_ONCE);
    assert_true(weft_request_cancel(b.request));
    assert_int_equal(wefti_atomic_u32_load_acquire(&b.job.callbacks), 1);
    crew_gate_open(&b.gate);
    weft_device_close(device);
    assert_int_equal(weft_device_drain(device, WEFT_FOREVER, NULL), WEFT_OK);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    assert_int_equal(wefti_atomic_u32_load_acquire(&b.job.callbacks), 2);
    assert_false(is_balanced(device));
    weft_request_release(b.request);
    weft_device_release(device);
}

/* Every allocation, lock, thread and call of the device fails once. */
static weft_status work_under_faults(uint32_t *accepted)
{
    weft_device_params device_params = WEFT_DEVICE_PARAMS_INIT;
    device_params.worker_count = 2;
    weft_device *device = NULL;
    weft_status status = weft_device_open("null", &device_params, &device, NULL);
    job j = {0};
    for (int i = 0; i < 4 && device; i++) {
        weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
        params.callback = count_callback;
        params.user = &j;
        params.with_fd = i % 2 == 0;
        params.timeout_ns = i == 3 ? 3600000 * (int64_t)MS : 0;
        weft_request *request;
        weft_status how = submit(device, &j, &params, &request);
        if (how == WEFT_OK) {
            ++*accepted;
            how = weft_request_wait(request, WEFT_FOREVER, NULL);
            assert_int_equal(how, WEFT_OK);
        }
        status = status == WEFT_OK ? how : status;
        weft_request_release(request);
    }
    if (device) {
        assert_int_equal(weft_device_drain(device, WEFT_FOREVER, NULL), WEFT_OK);
        assert_balanced(device);
        assert_int_equal(wefti_atomic_u32_load_acquire(&j.releases), 4);
        assert_int_equal(wefti_atomic_u32_load_acquire(&j.callbacks), *accepted);
    }
    weft_device_release(device);
    return status;
}

static void test_failures_are_forced(void **state)
{
    (void)state;
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    uint64_t n = 0;
    uint64_t uses;
    do {
        uint32_t accepted = 0;
        n++;
        wefti_fault_arm(n, all);
        weft_status status = work_under_faults(&accepted);
        uses = wefti_fault_arm(0, 0);
        /* A pump that cannot be posted again goes on by itself: no failure then. */
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY ||
                    status == WEFT_INTERNAL);
    } while (uses >= n);
    assert_true(n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_done_once),
        cmocka_unit_test(test_a_failure_keeps_its_words),
        cmocka_unit_test(test_cancel_before_start_leaves_nothing),
        cmocka_unit_test(test_cancelled_requests_hold_no_memory),
        cmocka_unit_test(test_time_to_start_runs_out),
        cmocka_unit_test(test_the_descriptor_becomes_readable),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_accepted_requests_survive_close),
        cmocka_unit_test(test_drain_cancels_what_has_not_started),
        cmocka_unit_test(test_drain_waits_for_callbacks),
        cmocka_unit_test(test_callbacks_submit_and_release),
        cmocka_unit_test(test_the_last_owner_goes_in_a_callback),
        cmocka_unit_test(test_the_last_owner_goes_in_the_work),
        cmocka_unit_test(test_the_last_owner_goes_on_the_timer),
        cmocka_unit_test(test_four_threads_share_a_request),
        cmocka_unit_test(test_starts_cancels_and_deadlines_race),
        cmocka_unit_test(test_ending_twice_is_noticed),
        cmocka_unit_test(test_failures_are_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
