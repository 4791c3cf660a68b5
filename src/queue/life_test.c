/* SPDX-License-Identifier: Apache-2.0 */
/* Beginnings and ends: of requests, models and the queue itself. */
#include "queue/queue.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "support/queue_case.h"

static void test_drain_cancels_what_waits(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    queue_case_fill_up(&f, &plug, &call, &request);
    assert_int_equal(weft_queue_drain(f.queue, 1000000, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_request_wait(request, 0, NULL), WEFT_CANCELLED);
    weft_request_release(request);
    queue_case_plug_out(&plug);
    queue_case_tear_down(&f);
}

static void test_drain_of_the_device(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    queue_case_fill_up(&f, &plug, &call, &request);
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
    queue_case_tear_down(&f);
}

typedef struct last_owner {
    queue_case *f;
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
    const queue_case *f = user;
    return wefti_atomic_u32_load_acquire(&f->device->owners.owners) == 2;
}

static void test_last_release_in_a_callback(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    last_owner last = {.f = &f, .queue = f.queue};
    queue_case_call call;
    queue_case_prepare(&call, 1, 1, 1);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = drop_queue;
    given.user = &last;
    (void)queue_case_submit(&f, &call, &given);
    crew_await(device_is_alone, &f); /* the test's and the model's owners are left */
    assert_int_equal(last.drained, WEFT_INVALID_ARGUMENT);
    f.queue = NULL;
    queue_case_tear_down(&f);
}

/* The only worker drops the last owner while others wait: it serves them first. */
static void release_queue(void *user)
{
    weft_queue_release(user);
}

/* Who announces in order looks for more when all requests have left: the queue and its
 * models stay until it has looked. */
static void test_last_release_waits_for_who_announces(void **state)
{
    (void)state;
    queue_case f;
    queue_case_call call;
    crew_thread thread;
    queue_case_set_up(&f, NULL);
    queue_case_prepare(&call, 1, 1, 1);
    weft_request *request = queue_case_submit(&f, &call, NULL); /* keeps the memory */
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(weft_queue_drain(f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    weft_queue *queue = f.queue;
    wefti_queue_announcer announcer = {.thread = wefti_thread_current()};
    wefti_mutex_lock(&queue->lock);
    assert_null(queue->announcers);
    queue->announcers = &announcer;
    wefti_mutex_unlock(&queue->lock);
    f.queue = NULL;
    crew_start(&thread, release_queue, queue);
    wefti_thread_sleep(50000000);
    assert_false(device_is_alone(&f));
    wefti_mutex_lock(&queue->lock);
    assert_non_null(queue->models);
    queue->announcers = NULL;
    wefti_condition_wake_all(&queue->idle);
    wefti_mutex_unlock(&queue->lock);
    crew_join(&thread);
    assert_true(device_is_alone(&f));
    weft_request_release(request);
    queue_case_tear_down(&f);
}

static void test_last_release_with_others_waiting(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
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
        requests[i] = queue_case_submit(&f, &calls[i], &given);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 1; i < 5; i++) {
        queue_case_wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    crew_await(device_is_alone, &f);
    f.queue = NULL;
    queue_case_tear_down(&f);
}

static void test_take_ended(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.with_fd = true;
    queue_case_set_up(&f, &params);
    queue_case_call calls[5];
    weft_request *requests[5];
    for (uint32_t i = 0; i < 5; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 2);
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
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
    weft_request_release(queue_case_submit(&f, &calls[0], NULL)); /* never taken */
    queue_case_tear_down(&f);
}

static void test_requests_outlive_their_queue(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    queue_case_call call;
    queue_case_solve(&call, f.model, 1, 1, 1);
    weft_request *request = queue_case_submit(&f, &call, NULL);
    queue_case_tear_down(&f);
    assert_int_equal(weft_request_wait(request, 0, NULL), WEFT_OK);
    assert_true(queue_case_is_right(&call));
    assert_false(weft_request_cancel(request));
    weft_request_release(request);
}

static void test_models_come_and_go(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
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
    queue_case_wait_ok(request);
    assert_true(queue_case_is_right(&call));
    queue_case_tear_down(&f);
}

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

/* ---- the end of a request ---- */

static void test_descriptor_of_a_request(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_call call;
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    queue_case_solve(&call, f.model, 1, 1, 1);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.with_fd = true;
    weft_request *request = queue_case_submit(&f, &call, &given);
    struct pollfd readable = {.fd = weft_request_fd(request), .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 0), 0);
    queue_case_plug_out(&plug);
    assert_int_equal(poll(&readable, 1, 60000), 1);
    assert_true(weft_request_test(request, NULL));
    assert_true(queue_case_is_right(&call));
    weft_request_release(request);
    queue_case_tear_down(&f);
}

/* A callback that blocks holds its worker up, and nobody else: not those who run their
 * requests themselves, nor those whose requests only another worker may run. */
static void test_callback_that_blocks(void **state)
{
    (void)state;
    enum { OTHERS = 20 };
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 2;
    queue_case_set_up(&f, &params);
    queue_case_call call;
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < OTHERS; i++) {
        weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
        given.with_fd = i % 2 == 0;
        queue_case_solve(&call, f.model, 1, i, i);
        queue_case_wait_ok(queue_case_submit(&f, &call, &given));
        assert_true(queue_case_is_right(&call));
    }
    queue_case_plug_out(&plug);
    queue_case_tear_down(&f);
}

/* A callback submits the next call, tries to cancel its own request, and lets go of
 * it. */
typedef struct relay {
    queue_case *f;
    queue_case_call calls[5];
    uint32_t next;
    bool was_cancelled;
    weft_status status;
} relay;

static weft_status pass_on(relay *self);

static void end_and_pass_on(void *user, weft_request *request, weft_status status)
{
    relay *self = user;
    self->was_cancelled = self->was_cancelled || weft_request_cancel(request);
    weft_request_release(request); /* its submitter's */
    self->status = status;
    if (status == WEFT_OK && self->next < 5) {
        self->status = pass_on(self);
    }
}

static weft_status pass_on(relay *self)
{
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    weft_request *request; /* the callback's */
    given.callback = end_and_pass_on;
    given.user = self;
    queue_case_call *call = &self->calls[self->next++];
    return weft_queue_submit(self->f->queue, self->f->model, &call->io, &given,
                             &request, NULL);
}

static bool is_all_done(void *user)
{
    const queue_case *f = user;
    weft_queue_statistics s;
    weft_queue_get_statistics(f->queue, &s);
    return s.done == 5;
}

static void test_callbacks_submit_cancel_and_let_go(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    static relay self;
    self = (relay){.f = &f};
    for (uint32_t i = 0; i < 5; i++) {
        queue_case_solve(&self.calls[i], f.model, 1, i, 5);
    }
    assert_int_equal(pass_on(&self), WEFT_OK);
    crew_await(is_all_done, &f);
    queue_case_end(&f); /* then the last callback has returned */
    assert_false(self.was_cancelled);
    assert_int_equal(self.status, WEFT_OK);
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(queue_case_is_right(&self.calls[i]));
    }
    queue_case_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drain_cancels_what_waits),
        cmocka_unit_test(test_drain_of_the_device),
        cmocka_unit_test(test_last_release_in_a_callback),
        cmocka_unit_test(test_last_release_waits_for_who_announces),
        cmocka_unit_test(test_last_release_with_others_waiting),
        cmocka_unit_test(test_take_ended),
        cmocka_unit_test(test_requests_outlive_their_queue),
        cmocka_unit_test(test_models_come_and_go),
        cmocka_unit_test(test_every_failure),
        cmocka_unit_test(test_descriptor_of_a_request),
        cmocka_unit_test(test_callback_that_blocks),
        cmocka_unit_test(test_callbacks_submit_cancel_and_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
