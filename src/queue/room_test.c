/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of a queue: room, and time to start. */
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/queue_case.h"

static void test_cancel_waiting(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 2;
    params.full_policy = WEFT_QUEUE_FAIL;
    queue_case_set_up(&f, &params);
    queue_case_call calls[3];
    weft_request *requests[3] = {NULL, NULL, NULL};
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < 3; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 1);
    }
    requests[0] = queue_case_submit(&f, &calls[0], NULL);
    requests[1] = queue_case_submit(&f, &calls[1], NULL);
    weft_error error;
    assert_int_equal(
        weft_queue_submit(f.queue, f.model, &calls[2].io, NULL, &requests[2], &error),
        WEFT_BUSY);
    assert_non_null(strstr(error.message, "max_queue_size"));
    assert_null(requests[2]);
    assert_true(weft_request_cancel(requests[0]));
    assert_false(weft_request_cancel(requests[0]));
    requests[2] = queue_case_submit(&f, &calls[2], NULL); /* cancel freed its place */
    queue_case_plug_out(&plug);
    assert_int_equal(weft_request_wait(requests[0], 0, &error), WEFT_CANCELLED);
    weft_request_release(requests[0]);
    for (int i = 1; i < 3; i++) {
        queue_case_wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    assert_int_equal(((unsigned char *)calls[0].y)[0], 0xff); /* untouched */
    queue_case_tear_down(&f);
}

static void test_timeout_while_all_workers_are_busy(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    queue_case_call call;
    queue_case_prepare(&call, 1, 1, 1);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = 2000;
    weft_request *request = queue_case_submit(&f, &call, &given);
    weft_error error;
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, &error), WEFT_TIMEOUT);
    assert_true(weft_request_test(request, NULL));
    weft_request_release(request);
    queue_case_plug_out(&plug);
    queue_case_tear_down(&f);
}

static void test_deadline_that_cannot_be_met(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    queue_case_warm_up(&f);
    queue_case_call call;
    queue_case_prepare(&call, 1, 1, 1);
    wefti_mutex_lock(&f.queue->lock); /* as if a run took 50 ms */
    f.queue->models->classes->alone_ns = 50e6;
    wefti_mutex_unlock(&f.queue->lock);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.deadline_us = 10000;
    weft_request *request = queue_case_submit(&f, &call, &given);
    weft_error error;
    assert_true(weft_request_test(request, NULL)); /* at once */
    assert_int_equal(weft_request_wait(request, 0, &error), WEFT_TIMEOUT);
    assert_non_null(strstr(error.message, "50.000 ms"));
    weft_request_release(request);
    queue_case_tear_down(&f);
}

typedef struct producer {
    queue_case *f;
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
    const queue_case *f = user;
    wefti_mutex_lock(&f->queue->lock);
    bool blocked = f->queue->blocked > 0;
    wefti_mutex_unlock(&f->queue->lock);
    return blocked;
}

static void start_producer(producer *self, crew_thread *thread, queue_case *f)
{
    *self = (producer){.f = f, .params = WEFT_QUEUE_SUBMIT_PARAMS_INIT};
    queue_case_prepare(&self->call, 1, 7, 7);
    crew_start(thread, produce, self);
}

static void test_blocked_producer_wakes_on_room(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    producer p;
    crew_thread thread;
    queue_case_fill_up(&f, &plug, &call, &request);
    start_producer(&p, &thread, &f);
    crew_await(is_blocked, &f);
    queue_case_plug_out(&plug);
    crew_join(&thread);
    assert_int_equal(p.status, WEFT_OK);
    queue_case_wait_ok(p.request);
    queue_case_wait_ok(request);
    queue_case_tear_down(&f);
}

static void test_blocked_producer_wakes_on_close(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    producer p;
    crew_thread thread;
    queue_case_fill_up(&f, &plug, &call, &request);
    start_producer(&p, &thread, &f);
    crew_await(is_blocked, &f);
    weft_queue_close(f.queue);
    crew_join(&thread);
    assert_int_equal(p.status, WEFT_CLOSED);
    assert_null(p.request);
    queue_case_plug_out(&plug);
    queue_case_wait_ok(request); /* accepted work goes on */
    queue_case_tear_down(&f);
}

static void test_blocked_producer_wakes_on_its_deadline(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request, *late = NULL;
    queue_case_fill_up(&f, &plug, &call, &request);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = 2000;
    assert_int_equal(weft_queue_submit(f.queue, f.model, &call.io, &given, &late, NULL),
                     WEFT_TIMEOUT);
    assert_null(late);
    queue_case_plug_out(&plug);
    queue_case_wait_ok(request);
    queue_case_tear_down(&f);
}

/* A callback that submits to its own full queue would wait for the room that its worker
 * makes. */
typedef struct inside {
    queue_case *f;
    queue_case_call call;
    crew_gate began, full, through;
    weft_status status;
    weft_request *request;
} inside;

static void submit_inside(void *user, weft_request *request, weft_status status)
{
    inside *self = user;
    (void)request;
    (void)status;
    crew_gate_open(&self->began);
    crew_gate_pass(&self->full);
    self->status = weft_queue_submit(self->f->queue, self->f->model, &self->call.io,
                                     NULL, &self->request, NULL);
    crew_gate_open(&self->through);
}

static void test_callback_never_waits_for_room(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 1;
    queue_case_set_up(&f, &params);
    inside in = {.f = &f,
                 .began = CREW_GATE_INIT,
                 .full = CREW_GATE_INIT,
                 .through = CREW_GATE_INIT};
    queue_case_call calls[2];
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = submit_inside;
    given.user = &in;
    queue_case_prepare(&in.call, 1, 9, 9);
    queue_case_prepare(&calls[0], 1, 1, 1);
    queue_case_prepare(&calls[1], 1, 2, 2);
    weft_request *first = queue_case_submit(&f, &calls[0], &given);
    crew_gate_pass(&in.began);
    weft_request *second = queue_case_submit(&f, &calls[1], NULL);
    crew_gate_open(&in.full);
    crew_gate_pass(&in.through); /* before somebody makes room by running the second */
    queue_case_wait_ok(first);
    queue_case_wait_ok(second); /* the worker goes on */
    assert_int_equal(in.status, WEFT_BUSY);
    assert_null(in.request);
    queue_case_tear_down(&f);
}

/* Where order is preserved, those that have ended behind a slow one are bounded too. */
enum { HELD = 4 };

static bool holds_all(void *user)
{
    const queue_case *f = user;
    wefti_mutex_lock(&f->queue->lock);
    bool all = f->queue->held_count == HELD;
    wefti_mutex_unlock(&f->queue->lock);
    return all;
}

static void test_held_requests_take_room(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 2;
    params.max_queue_size = HELD;
    params.preserve_order = true;
    queue_case_set_up(&f, &params);
    queue_case_call calls[HELD];
    weft_request *requests[HELD], *refused;
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < HELD; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 3);
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
    }
    crew_await(holds_all, &f);
    for (uint32_t i = 0; i < HELD; i++) {
        assert_false(weft_request_test(requests[i], NULL)); /* not their turn yet */
    }
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = 2000;
    assert_int_equal(
        weft_queue_submit(f.queue, f.model, &calls[0].io, &given, &refused, NULL),
        WEFT_TIMEOUT);
    producer p;
    crew_thread thread;
    start_producer(&p, &thread, &f);
    crew_await(is_blocked, &f);
    queue_case_plug_out(&plug);
    crew_join(&thread);
    assert_int_equal(p.status, WEFT_OK);
    queue_case_wait_ok(p.request);
    for (uint32_t i = 0; i < HELD; i++) {
        queue_case_wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    assert_int_equal(f.queue->held_count, 0);
    queue_case_tear_down(&f);
}

static void test_refusals_are_counted(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 1;
    params.full_policy = WEFT_QUEUE_FAIL;
    queue_case_set_up(&f, &params);
    queue_case_call call;
    queue_case_plug plug;
    weft_request *refused;
    queue_case_plug_in(&plug, f.queue, f.model);
    queue_case_prepare(&call, 1, 1, 1);
    weft_request *waiting = queue_case_submit(&f, &call, NULL);
    for (int i = 0; i < 3; i++) {
        weft_status status =
            weft_queue_submit(f.queue, f.model, &call.io, NULL, &refused, NULL);
        assert_int_equal(status, i == 0 ? WEFT_BUSY : WEFT_CLOSED);
        weft_queue_close(f.queue);
    }
    queue_case_plug_out(&plug);
    queue_case_wait_ok(waiting);
    weft_queue_statistics s;
    weft_queue_get_statistics(f.queue, &s);
    assert_int_equal(s.refused, 3);
    assert_int_equal(s.accepted, 2);
    queue_case_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_waiting),
        cmocka_unit_test(test_timeout_while_all_workers_are_busy),
        cmocka_unit_test(test_deadline_that_cannot_be_met),
        cmocka_unit_test(test_blocked_producer_wakes_on_room),
        cmocka_unit_test(test_blocked_producer_wakes_on_close),
        cmocka_unit_test(test_blocked_producer_wakes_on_its_deadline),
        cmocka_unit_test(test_callback_never_waits_for_room),
        cmocka_unit_test(test_held_requests_take_room),
        cmocka_unit_test(test_refusals_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
