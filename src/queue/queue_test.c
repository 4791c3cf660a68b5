/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "support/queue_case.h"

enum { MANY = 24 };

typedef struct fixture {
    weft_device *device;
    weft_model *model;
    weft_queue *queue;
} fixture;

static void set_up(fixture *f, const weft_queue_params *params)
{
    weft_error error;
    f->device = queue_case_device("cpu");
    f->model = queue_case_model(f->device, 42);
    if (weft_queue_create(f->device, params, &f->queue, &error) != WEFT_OK ||
        weft_queue_add_model(f->queue, f->model, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
}

static void tear_down(fixture *f)
{
    weft_queue_statistics s;
    if (f->queue) {
        weft_queue_close(f->queue);
        assert_int_equal(weft_queue_drain(f->queue, WEFT_FOREVER, NULL), WEFT_OK);
        weft_queue_get_statistics(f->queue, &s);
        assert_int_equal(s.accepted, s.done + s.failed + s.cancelled + s.timed_out);
        assert_int_equal(s.waiting, 0);
    }
    weft_queue_release(f->queue);
    weft_model_release(f->model);
    weft_device_release(f->device);
}

static weft_request *submit(const fixture *f, queue_case_call *call,
                            const weft_queue_submit_params *params)
{
    weft_request *request = NULL;
    weft_error error;
    if (weft_queue_submit(f->queue, f->model, &call->io, params, &request, &error) !=
        WEFT_OK) {
        fail_msg("%s", error.message);
    }
    return request;
}

static void wait_ok(weft_request *request)
{
    weft_error error;
    if (weft_request_wait(request, WEFT_FOREVER, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    weft_request_release(request);
}

/* Two lone runs and a joined one, so that the queue knows that joining is worth it. */
static void warm_up(const fixture *f)
{
    queue_case_call call;
    for (uint32_t i = 0; i < 3; i++) {
        queue_case_solve(&call, f->model, 1, 0, i);
        wait_ok(submit(f, &call, NULL));
        assert_true(queue_case_is_right(&call));
    }
}

static void test_joins_and_keeps_bits(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    warm_up(&f);
    weft_queue_statistics before, after;
    weft_queue_get_statistics(f.queue, &before);
    queue_case_call *calls = calloc(MANY, sizeof *calls);
    weft_request *requests[MANY];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    int64_t rows = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        int64_t own = i % 5 == 0 ? 3 : 1;
        queue_case_solve(&calls[i], f.model, own, i, i);
        requests[i] = submit(&f, &calls[i], NULL);
        rows += own;
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < MANY; i++) {
        wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    weft_queue_get_statistics(f.queue, &after);
    assert_int_equal(after.batch_count - before.batch_count, 2); /* plug, the rest */
    assert_int_equal(after.row_count - before.row_count, 1 + rows);
    assert_int_equal(after.padded_count, wefti_queue_padded_rows((int32_t)rows) - rows);
    assert_int_equal(weft_queue_check_batching(f.queue, f.model, NULL), WEFT_OK);
    free(calls);
    tear_down(&f);
}

static void test_most_rows_of_a_batch(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = 4;
    set_up(&f, &params);
    warm_up(&f);
    queue_case_call calls[6];
    weft_request *requests[6];
    static const int64_t rows[6] = {3, 1, 2, 8, 1, 4};
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    weft_queue_statistics before, after;
    weft_queue_get_statistics(f.queue, &before);
    for (uint32_t i = 0; i < 6; i++) {
        queue_case_solve(&calls[i], f.model, rows[i], i, 5);
        requests[i] = submit(&f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < 6; i++) {
        wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    weft_queue_get_statistics(f.queue, &after);
    /* 3+1, 2, 8, 1, 4: a batch never reaches over one that does not fit. */
    assert_int_equal(after.batch_count - before.batch_count, 5);
    tear_down(&f);
}

typedef struct crowd {
    fixture f;
    uint32_t iterations;
    wefti_atomic_u32 wrong;
} crowd;

static void run_crowd(void *user, uint32_t index)
{
    crowd *self = user;
    queue_case_call call;
    for (uint32_t i = 0; i < self->iterations; i++) {
        queue_case_solve(&call, self->f.model, 1 + (index + i) % 3, index, i);
        weft_request *request = NULL;
        weft_status status = weft_queue_submit(self->f.queue, self->f.model, &call.io,
                                               NULL, &request, NULL);
        if (status == WEFT_OK) {
            status = weft_request_wait(request, WEFT_FOREVER, NULL);
        }
        weft_request_release(request);
        if (status != WEFT_OK || !queue_case_is_right(&call)) {
            wefti_atomic_u32_add_acq_rel(&self->wrong, 1);
        }
    }
}

static void test_crowd(void **state)
{
    (void)state;
    static const int32_t workers[] = {1, 4};
    for (size_t w = 0; w < 2; w++) {
        crowd c = {.iterations = 800 / crew_divisor()};
        weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
        params.workers = workers[w];
        set_up(&c.f, &params);
        crew_run(16, run_crowd, &c);
        assert_int_equal(wefti_atomic_u32_load_acquire(&c.wrong), 0);
        tear_down(&c.f);
    }
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    queue_case_call call;
    queue_case_prepare(&call, 1, 0, 0);
    for (int i = 0; i < 10; i++) {
        wait_ok(submit(&f, &call, NULL));
    }
    /* The worker may still be putting things away. */
    assert_int_equal(weft_queue_drain(f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    uint64_t before = wefti_allocation_count();
    for (int i = 0; i < 1000; i++) {
        wait_ok(submit(&f, &call, NULL));
    }
    /* A request comes back when its last owner goes, which may be the worker, after the
     * next ones were submitted: a second and third object is made then, of two blocks
     * each, but not one for each call. */
    assert_in_range(wefti_allocation_count() - before, 0, 20);
    tear_down(&f);
}

static void test_sick_request_leaves_alone(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    warm_up(&f);
    queue_case_call calls[8];
    weft_request *requests[8];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < 8; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 1);
        if (i == 5) {
            calls[i].i[0] = QUEUE_CASE_TABLE + 3; /* outside of the table */
        }
        requests[i] = submit(&f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < 8; i++) {
        weft_error error;
        weft_status status = weft_request_wait(requests[i], WEFT_FOREVER, &error);
        if (i == 5) {
            assert_int_not_equal(status, WEFT_OK);
            assert_true(strlen(error.message) > 10);
            static const float zero[QUEUE_CASE_OUTPUTS];
            assert_memory_equal(calls[i].y, zero, calls[i].y_bytes);
        } else {
            assert_int_equal(status, WEFT_OK);
            assert_true(queue_case_is_right(&calls[i]));
        }
        weft_request_release(requests[i]);
    }
    weft_queue_statistics s;
    weft_queue_get_statistics(f.queue, &s);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.split_count, 1);
    tear_down(&f);
}

static void test_cancel_waiting(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 2;
    params.full_policy = WEFT_QUEUE_FAIL;
    set_up(&f, &params);
    queue_case_call calls[3];
    weft_request *requests[3] = {NULL, NULL, NULL};
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < 3; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 1);
    }
    requests[0] = submit(&f, &calls[0], NULL);
    requests[1] = submit(&f, &calls[1], NULL);
    weft_error error;
    assert_int_equal(
        weft_queue_submit(f.queue, f.model, &calls[2].io, NULL, &requests[2], &error),
        WEFT_BUSY);
    assert_non_null(strstr(error.message, "max_queue_size"));
    assert_null(requests[2]);
    assert_true(weft_request_cancel(requests[0]));
    assert_false(weft_request_cancel(requests[0]));
    requests[2] = submit(&f, &calls[2], NULL); /* cancel freed its place */
    queue_case_plug_out(&plug);
    assert_int_equal(weft_request_wait(requests[0], 0, &error), WEFT_CANCELLED);
    weft_request_release(requests[0]);
    for (int i = 1; i < 3; i++) {
        wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    assert_int_equal(((unsigned char *)calls[0].y)[0], 0xff); /* untouched */
    tear_down(&f);
}

static void test_timeout_while_all_workers_are_busy(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    queue_case_call call;
    queue_case_prepare(&call, 1, 1, 1);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = 2000;
    weft_request *request = submit(&f, &call, &given);
    weft_error error;
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, &error), WEFT_TIMEOUT);
    assert_true(weft_request_test(request, NULL));
    weft_request_release(request);
    queue_case_plug_out(&plug);
    tear_down(&f);
}

static void test_deadline_that_cannot_be_met(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, NULL);
    warm_up(&f);
    queue_case_call call;
    queue_case_prepare(&call, 1, 1, 1);
    wefti_mutex_lock(&f.queue->lock); /* as if a run took 50 ms */
    f.queue->models->classes->alone_ns = 50e6;
    wefti_mutex_unlock(&f.queue->lock);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.deadline_us = 10000;
    weft_request *request = submit(&f, &call, &given);
    weft_error error;
    assert_true(weft_request_test(request, NULL)); /* at once */
    assert_int_equal(weft_request_wait(request, 0, &error), WEFT_TIMEOUT);
    assert_non_null(strstr(error.message, "50.000 ms"));
    weft_request_release(request);
    tear_down(&f);
}

/* ---- room ---- */

typedef struct producer {
    fixture *f;
    queue_case_call call;
    weft_queue_submit_params params;
    weft_status status;
    weft_request *request;
} producer;

static void produce(void *user)
{
    producer *self = user;
    self->status = weft_queue_submit(self->f->queue, self->f->model, &self->call.io,
                                     &self->params, &self->request, NULL);
}

static bool is_blocked(void *user)
{
    const fixture *f = user;
    wefti_mutex_lock(&f->queue->lock);
    bool blocked = f->queue->blocked > 0;
    wefti_mutex_unlock(&f->queue->lock);
    return blocked;
}

static void start_producer(producer *self, crew_thread *thread, fixture *f)
{
    *self = (producer){.f = f, .params = WEFT_QUEUE_SUBMIT_PARAMS_INIT};
    queue_case_prepare(&self->call, 1, 7, 7);
    crew_start(thread, produce, self);
}

static void fill_up(fixture *f, queue_case_plug *plug, queue_case_call *call,
                    weft_request **request)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 1;
    set_up(f, &params);
    queue_case_plug_in(plug, f->queue, f->model);
    queue_case_prepare(call, 1, 8, 8);
    *request = submit(f, call, NULL);
}

static void test_blocked_producer_wakes_on_room(void **state)
{
    (void)state;
    fixture f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    producer p;
    crew_thread thread;
    fill_up(&f, &plug, &call, &request);
    start_producer(&p, &thread, &f);
    crew_await(is_blocked, &f);
    queue_case_plug_out(&plug);
    crew_join(&thread);
    assert_int_equal(p.status, WEFT_OK);
    wait_ok(p.request);
    wait_ok(request);
    tear_down(&f);
}

static void test_blocked_producer_wakes_on_close(void **state)
{
    (void)state;
    fixture f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    producer p;
    crew_thread thread;
    fill_up(&f, &plug, &call, &request);
    start_producer(&p, &thread, &f);
    crew_await(is_blocked, &f);
    weft_queue_close(f.queue);
    crew_join(&thread);
    assert_int_equal(p.status, WEFT_CLOSED);
    assert_null(p.request);
    queue_case_plug_out(&plug);
    wait_ok(request); /* accepted work goes on */
    tear_down(&f);
}

static void test_blocked_producer_wakes_on_its_deadline(void **state)
{
    (void)state;
    fixture f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request, *late = NULL;
    fill_up(&f, &plug, &call, &request);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = 2000;
    assert_int_equal(weft_queue_submit(f.queue, f.model, &call.io, &given, &late, NULL),
                     WEFT_TIMEOUT);
    assert_null(late);
    queue_case_plug_out(&plug);
    wait_ok(request);
    tear_down(&f);
}

/* ---- life ---- */

static void test_drain_cancels_what_waits(void **state)
{
    (void)state;
    fixture f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    fill_up(&f, &plug, &call, &request);
    assert_int_equal(weft_queue_drain(f.queue, 1000000, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_request_wait(request, 0, NULL), WEFT_CANCELLED);
    weft_request_release(request);
    queue_case_plug_out(&plug);
    tear_down(&f);
}

static void test_drain_of_the_device(void **state)
{
    (void)state;
    fixture f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    fill_up(&f, &plug, &call, &request);
    weft_device_close(f.device);
    weft_request *refused;
    queue_case_prepare(&call, 1, 8, 8);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = 1000;
    assert_int_not_equal(
        weft_queue_submit(f.queue, f.model, &call.io, &given, &refused, NULL), WEFT_OK);
    assert_int_equal(weft_device_drain(f.device, 1000000, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_request_wait(request, 0, NULL), WEFT_CANCELLED);
    weft_request_release(request);
    queue_case_plug_out(&plug);
    assert_int_equal(weft_device_drain(f.device, WEFT_FOREVER, NULL), WEFT_OK);
    tear_down(&f);
}

typedef struct last_owner {
    fixture *f;
    weft_queue *queue;
    weft_request *released;
    weft_status drained;
} last_owner;

static void drop_queue(void *user, weft_request *request, weft_status status)
{
    last_owner *self = user;
    (void)status;
    self->drained = weft_queue_drain(self->queue, WEFT_FOREVER, NULL);
    weft_request_release(request); /* its submitter's */
    weft_queue_release(self->queue);
}

static bool device_is_alone(void *user)
{
    const fixture *f = user;
    return wefti_atomic_u32_load_acquire(&f->device->owners.owners) == 2;
}

static void test_last_release_in_a_callback(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, NULL);
    last_owner last = {.f = &f, .queue = f.queue};
    queue_case_call call;
    queue_case_prepare(&call, 1, 1, 1);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = drop_queue;
    given.user = &last;
    (void)submit(&f, &call, &given);
    crew_await(device_is_alone, &f); /* the test's and the model's owners are left */
    assert_int_equal(last.drained, WEFT_INVALID_ARGUMENT);
    f.queue = NULL;
    tear_down(&f);
}

/* The only worker drops the last owner while others wait: it serves them first. */
static void test_last_release_with_others_waiting(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    last_owner last = {.f = &f, .queue = f.queue};
    queue_case_call calls[5];
    weft_request *requests[5];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.priority = 1;
    for (uint32_t i = 0; i < 5; i++) {
        queue_case_solve(&calls[i], f.model, i == 0 ? 1 : QUEUE_CASE_ROWS, i, 4);
        given.callback = i == 0 ? drop_queue : NULL;
        given.user = &last;
        requests[i] = submit(&f, &calls[i], &given);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 1; i < 5; i++) {
        wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    crew_await(device_is_alone, &f);
    f.queue = NULL;
    tear_down(&f);
}

/* Requests without rows never join, and many of them do no harm. */
static void test_requests_without_rows(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = 4;
    set_up(&f, &params);
    warm_up(&f);
    queue_case_call calls[MANY];
    weft_request *requests[MANY];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < MANY; i++) {
        queue_case_prepare(&calls[i], 0, i, i);
        requests[i] = submit(&f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < MANY; i++) {
        wait_ok(requests[i]);
    }
    tear_down(&f);
}

static void test_take_ended(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.with_fd = true;
    set_up(&f, &params);
    queue_case_call calls[5];
    weft_request *requests[5];
    for (uint32_t i = 0; i < 5; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 2);
        requests[i] = submit(&f, &calls[i], NULL);
    }
    struct pollfd readable = {.fd = weft_queue_fd(f.queue), .events = POLLIN};
    for (int taken = 0; taken < 5;) {
        assert_int_equal(poll(&readable, 1, 60000), 1);
        weft_request *ended = weft_queue_take_ended(f.queue);
        if (!ended) {
            continue;
        }
        int which = 0;
        while (which < 5 && requests[which] != ended) {
            which++;
        }
        assert_in_range(which, 0, 4);
        assert_int_equal(weft_request_wait(ended, 0, NULL), WEFT_OK);
        assert_true(queue_case_is_right(&calls[which]));
        weft_request_release(ended);
        weft_request_release(requests[which]);
        requests[which] = NULL;
        taken++;
    }
    assert_int_equal(poll(&readable, 1, 0), 0);
    queue_case_prepare(&calls[0], 1, 1, 1);
    weft_request_release(submit(&f, &calls[0], NULL)); /* never taken */
    tear_down(&f);
}

static void test_requests_outlive_their_queue(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, NULL);
    queue_case_call call;
    queue_case_solve(&call, f.model, 1, 1, 1);
    weft_request *request = submit(&f, &call, NULL);
    tear_down(&f);
    assert_int_equal(weft_request_wait(request, 0, NULL), WEFT_OK);
    assert_true(queue_case_is_right(&call));
    assert_false(weft_request_cancel(request));
    weft_request_release(request);
}

static void test_models_come_and_go(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    weft_error error;
    assert_int_equal(weft_queue_add_model(f.queue, f.model, NULL, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_model *other = queue_case_model(f.device, 43);
    queue_case_call call, waiting;
    weft_request *request;
    queue_case_solve(&call, other, 1, 1, 1);
    assert_int_equal(
        weft_queue_submit(f.queue, other, &call.io, NULL, &request, &error),
        WEFT_NOT_FOUND);
    assert_int_equal(weft_queue_add_model(f.queue, other, NULL, NULL), WEFT_OK);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    assert_int_equal(weft_queue_submit(f.queue, other, &call.io, NULL, &request, NULL),
                     WEFT_OK);
    assert_int_equal(weft_queue_remove_model(f.queue, other, NULL), WEFT_OK);
    assert_int_equal(weft_queue_remove_model(f.queue, other, NULL), WEFT_NOT_FOUND);
    weft_model_release(other); /* the queue keeps it for what it accepted */
    queue_case_prepare(&waiting, 1, 2, 2);
    queue_case_plug_out(&plug);
    wait_ok(request);
    assert_true(queue_case_is_right(&call));
    tear_down(&f);
}

/* ---- bad input ---- */

static void refuse(const fixture *f, queue_case_call *call, const char *word)
{
    weft_error error;
    weft_request *request;
    assert_int_equal(
        weft_queue_submit(f->queue, f->model, &call->io, NULL, &request, &error),
        WEFT_INVALID_ARGUMENT);
    if (!strstr(error.message, word)) {
        fail_msg("'%s' does not name %s", error.message, word);
    }
    assert_null(request);
}

static void test_wrong_tensors_are_refused(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, NULL);
    queue_case_call call;
    queue_case_prepare(&call, 2, 0, 0);
    call.inputs[0].dims[1] = 7;
    refuse(&f, &call, "'x'");
    queue_case_prepare(&call, 2, 0, 0);
    call.inputs[1].dims[0] = 3; /* another batch than x */
    refuse(&f, &call, "'i'");
    queue_case_prepare(&call, 2, 0, 0);
    call.inputs[0].data = NULL;
    refuse(&f, &call, "'x'");
    queue_case_prepare(&call, 2, 0, 0);
    call.outputs[0].dims[0] = 1;
    refuse(&f, &call, "'y'");
    queue_case_prepare(&call, 2, 0, 0);
    call.outputs[0] = (weft_tensor){.data = call.y, .size_bytes = 8, .rank = -1};
    refuse(&f, &call, "'y'");
    queue_case_prepare(&call, 2, 0, 0);
    call.outputs[0].data = call.x;
    refuse(&f, &call, "'y'");
    queue_case_prepare(&call, 2, 0, 0);
    call.io.output_count = 0;
    refuse(&f, &call, "outputs");
    queue_case_solve(&call, f.model, 2, 0, 0);
    call.outputs[0] =
        (weft_tensor){.data = call.y, .size_bytes = sizeof call.y, .rank = -1};
    wait_ok(submit(&f, &call, NULL));
    assert_true(queue_case_is_right(&call));
    tear_down(&f);
}

static void test_overlap_between_requests(void **state)
{
    (void)state;
    fixture f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    set_up(&f, &params);
    warm_up(&f);
    queue_case_call a, b;
    queue_case_solve(&a, f.model, 1, 1, 1);
    queue_case_solve(&b, f.model, 1, 2, 2);
    b.outputs[0].data = a.y;
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    weft_request *first = submit(&f, &a, NULL), *second = submit(&f, &b, NULL);
    queue_case_plug_out(&plug);
    wait_ok(first);
    weft_error error;
    assert_int_equal(weft_request_wait(second, WEFT_FOREVER, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "another request"));
    weft_request_release(second);
    tear_down(&f);
}

static void test_wrong_params_are_refused(void **state)
{
    (void)state;
    weft_device *device = queue_case_device("null");
    static const struct {
        size_t offset;
        int32_t value;
        const char *name;
    } wrong[] = {
        {offsetof(weft_queue_params, workers), -1, "workers"},
        {offsetof(weft_queue_params, workers), 257, "workers"},
        {offsetof(weft_queue_params, max_batch_size), -5, "max_batch_size"},
        {offsetof(weft_queue_params, max_batch_size), 1 << 30, "max_batch_size"},
        {offsetof(weft_queue_params, max_queue_size), -1, "max_queue_size"},
        {offsetof(weft_queue_params, max_queue_size), 1 << 21, "max_queue_size"},
        {offsetof(weft_queue_params, full_policy), 9, "full_policy"},
        {offsetof(weft_queue_params, default_priority), 9, "default_priority"},
        {offsetof(weft_queue_params, preferred_batch_size_count), 17, "preferred"},
        {offsetof(weft_queue_params, preferred_batch_size_count), 2, "preferred"},
    };
    weft_queue *queue;
    weft_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
        memcpy((char *)&params + wrong[i].offset, &wrong[i].value, sizeof(int32_t));
        assert_int_equal(weft_queue_create(device, &params, &queue, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, wrong[i].name));
    }
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.max_queue_delay_us = -1;
    assert_int_equal(weft_queue_create(device, &params, &queue, &error),
                     WEFT_INVALID_ARGUMENT);
    params = (weft_queue_params){.struct_size = 3};
    assert_int_equal(weft_queue_create(device, &params, &queue, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_create(NULL, NULL, &queue, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_device_release(device);
}

/* ---- failures ---- */

/* One request through a queue of its own. */
static weft_status one_life(weft_device *device, weft_model *model,
                            queue_case_call *call)
{
    weft_queue *queue = NULL;
    weft_request *request = NULL;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 2;
    params.with_fd = true;
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.with_fd = true;
    given.timeout_us = 60 * 1000 * 1000;
    weft_status status = weft_queue_create(device, &params, &queue, NULL);
    if (status == WEFT_OK) {
        status = weft_queue_add_model(queue, model, NULL, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_queue_submit(queue, model, &call->io, &given, &request, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_request_wait(request, WEFT_FOREVER, NULL);
    }
    weft_request_release(request);
    weft_queue_release(queue);
    return status;
}

static void test_every_failure(void **state)
{
    (void)state;
    weft_device *device = queue_case_device("cpu");
    uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK |
                     1u << WEFTI_FAULT_THREAD;
    queue_case_call call;
    for (uint64_t n = 1;; n++) {
        weft_model *model = queue_case_model(device, 42);
        queue_case_prepare(&call, 1, 1, 1);
        wefti_fault_arm(n, sites);
        weft_status status = one_life(device, model, &call);
        uint64_t uses = wefti_fault_arm(0, 0);
        weft_model_release(model);
        if (uses < n) {
            assert_int_equal(status, WEFT_OK);
            assert_true(n > 20);
            break;
        }
        /* A batch that lacks memory for its staging runs in place. */
        assert_in_range(status, WEFT_OK, WEFT_INTERNAL - 1);
    }
    weft_device_release(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joins_and_keeps_bits),
        cmocka_unit_test(test_most_rows_of_a_batch),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_sick_request_leaves_alone),
        cmocka_unit_test(test_cancel_waiting),
        cmocka_unit_test(test_timeout_while_all_workers_are_busy),
        cmocka_unit_test(test_deadline_that_cannot_be_met),
        cmocka_unit_test(test_blocked_producer_wakes_on_room),
        cmocka_unit_test(test_blocked_producer_wakes_on_close),
        cmocka_unit_test(test_blocked_producer_wakes_on_its_deadline),
        cmocka_unit_test(test_drain_cancels_what_waits),
        cmocka_unit_test(test_drain_of_the_device),
        cmocka_unit_test(test_last_release_in_a_callback),
        cmocka_unit_test(test_last_release_with_others_waiting),
        cmocka_unit_test(test_requests_without_rows),
        cmocka_unit_test(test_take_ended),
        cmocka_unit_test(test_requests_outlive_their_queue),
        cmocka_unit_test(test_models_come_and_go),
        cmocka_unit_test(test_wrong_tensors_are_refused),
        cmocka_unit_test(test_overlap_between_requests),
        cmocka_unit_test(test_wrong_params_are_refused),
        cmocka_unit_test(test_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
