/* SPDX-License-Identifier: Apache-2.0 */
/* Every way to end, and how it is told: by the queue's descriptor, by counters, by the
 * words of a deadline, and by a release that waits for callbacks. */
#include "queue/queue.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/queue_case.h"

/* A call that is done, one whose run fails, one that is cancelled, one whose time runs
 * out, while the only worker stands still. */
enum { DONE, FAILED, CANCELLED, LATE, WAYS };

typedef struct ways {
    queue_case_call calls[WAYS];
    weft_request *requests[WAYS];
} ways;

static void submit_all_ways(const queue_case *f, ways *w)
{
    weft_queue_submit_params late = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    late.timeout_us = 1000;
    for (uint32_t i = 0; i < WAYS; i++) {
        queue_case_solve(&w->calls[i], f->model, 1, i, 1);
        if (i == FAILED) {
            w->calls[i].i[0] = QUEUE_CASE_TABLE + 3; /* outside of the table */
        }
        w->requests[i] = queue_case_submit(f, &w->calls[i], i == LATE ? &late : NULL);
    }
    assert_true(weft_request_cancel(w->requests[CANCELLED]));
    assert_int_equal(weft_request_wait(w->requests[LATE], WEFT_FOREVER, NULL),
                     WEFT_TIMEOUT);
}

static weft_queue_params one_worker(void)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    return params;
}

/* Every request comes out of the descriptor once, however it has ended, and whether its
 * submitter still has it. */
static void test_every_end_comes_out(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    static ways w;
    uint32_t taken[WAYS] = {0}, others = 0;
    weft_queue_params params = one_worker();
    params.with_fd = true;
    queue_case_set_up(&f, &params);
    queue_case_plug_in(&plug, f.queue, f.model);
    submit_all_ways(&f, &w);
    weft_request_release(
        w.requests[DONE]); /* only its address is looked at from here */
    queue_case_plug_out(&plug);
    assert_int_equal(weft_queue_drain(f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    struct pollfd readable = {.fd = weft_queue_fd(f.queue), .events = POLLIN};
    weft_request *ended;
    assert_int_equal(poll(&readable, 1, 0), 1);
    while ((ended = weft_queue_take_ended(f.queue)) != NULL) {
        static const weft_status wanted[WAYS] = {WEFT_OK, WEFT_INVALID_ARGUMENT,
                                                 WEFT_CANCELLED, WEFT_TIMEOUT};
        uint32_t which = 0;
        weft_status status;
        while (which < WAYS && w.requests[which] != ended) {
            which++;
        }
        assert_true(weft_request_test(ended, &status));
        assert_int_equal(status, which < WAYS ? wanted[which] : WEFT_OK);
        *(which < WAYS ? &taken[which] : &others) += 1;
        weft_request_release(ended);
    }
    assert_int_equal(poll(&readable, 1, 0), 0);
    assert_int_equal(others, 1); /* the plug */
    for (uint32_t i = 0; i < WAYS; i++) {
        assert_int_equal(taken[i], 1);
        weft_request_release(i == DONE ? NULL : w.requests[i]);
    }
    queue_case_tear_down(&f);
}

static uint64_t sum(const uint64_t buckets[WEFT_QUEUE_BUCKETS])
{
    uint64_t all = 0;
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        all += buckets[i];
    }
    return all;
}

static void test_statistics_add_up(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    static ways w;
    weft_queue_statistics s;
    weft_queue_params params = one_worker();
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f); /* three requests, three batches */
    queue_case_plug_in(&plug, f.queue, f.model);
    submit_all_ways(&f, &w);
    weft_queue_get_statistics(f.queue, &s);
    assert_int_equal(s.waiting, 2);
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < WAYS; i++) {
        weft_request_release(w.requests[i]);
    }
    assert_int_equal(weft_queue_drain(f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    weft_queue_get_statistics(f.queue, &s);
    assert_int_equal(s.accepted, 3 + 1 + WAYS);
    assert_int_equal(s.done, 3 + 1 + 1);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.cancelled, 1);
    assert_int_equal(s.timed_out, 1);
    assert_int_equal(s.refused, 0);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.workers, 1);
    /* The good one and the bad one were a batch, which was split, or each alone. */
    assert_in_range(s.batch_count, 3 + 1 + 1, 3 + 1 + 2);
    assert_int_equal(s.batch_count + s.split_count, 3 + 1 + 2);
    assert_int_equal(s.row_count, 3 + 1 + 2);
    assert_int_equal(s.padded_count, 0);
    assert_int_equal(sum(s.batch_rows), s.batch_count);
    assert_int_equal(s.batch_rows[2], s.split_count); /* of two rows */
    assert_int_equal(sum(s.wait_ns), s.row_count);    /* that started */
    assert_true(s.device_ns > 0);
    queue_case_tear_down(&f);
}

/* ---- a callback that takes its time ---- */

typedef struct slow {
    crew_gate began, gate;
    wefti_atomic_u32 left;
} slow;

static void come_late(void *user, weft_request *request, weft_status status)
{
    slow *self = user;
    (void)request;
    (void)status;
    crew_gate_open(&self->began);
    crew_gate_pass(&self->gate);
    wefti_atomic_u32_store_release(&self->left, 1);
}

/* ---- what the queue's parameters say for requests that say nothing ---- */

typedef struct order {
    wefti_atomic_u32 ended;
    uint32_t places[2];
} order;

static order seen;

static void note_place(void *user, weft_request *request, weft_status status)
{
    (void)request;
    assert_int_equal(status, WEFT_OK);
    *(uint32_t *)user = wefti_atomic_u32_add_acq_rel(&seen.ended, 1);
}

static void test_defaults_of_requests(void **state)
{
    (void)state;
    queue_case f;
    queue_case_call calls[4];
    slow plug = {.began = CREW_GATE_INIT, .gate = CREW_GATE_INIT};
    weft_queue_params params = one_worker();
    params.max_batch_size = 1;
    params.default_priority = 2;
    params.default_timeout_us = 2000;
    queue_case_set_up(&f, &params);
    for (uint32_t i = 0; i < 4; i++) {
        queue_case_prepare(&calls[i], 1, i, 2);
    }
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.timeout_us = INT64_C(60) * 1000000;
    given.callback = come_late;
    given.user = &plug;
    weft_request *first = queue_case_submit(&f, &calls[0], &given);
    crew_gate_pass(&plug.began);
    weft_request *late = queue_case_submit(&f, &calls[1], NULL);
    assert_int_equal(weft_request_wait(late, WEFT_FOREVER, NULL), WEFT_TIMEOUT);
    weft_request_release(late);
    weft_request *requests[2];
    for (uint32_t i = 0; i < 2; i++) { /* the second is more urgent */
        given.priority = i == 0 ? 3 : 0;
        given.callback = note_place;
        given.user = &seen.places[i];
        requests[i] = queue_case_submit(&f, &calls[2 + i], &given);
    }
    crew_gate_open(&plug.gate);
    queue_case_wait_ok(first);
    queue_case_wait_ok(requests[0]);
    queue_case_wait_ok(requests[1]);
    queue_case_end(&f);
    assert_int_equal(seen.places[0], 1);
    assert_int_equal(seen.places[1], 0);
    queue_case_tear_down(&f);
}

/* ---- a deadline that comes too near while the request waits ---- */

static void test_deadline_comes_too_near(void **state)
{
    (void)state;
    enum { RUN_MS = 60000, GIVEN_MS = 60020 };
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_error error;
    weft_queue_params params = one_worker();
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    queue_case_plug_in(&plug, f.queue, f.model);
    queue_case_prepare(&call, 1, 1, 1);
    wefti_mutex_lock(&f.queue->lock); /* as if a run took so long */
    f.queue->models->classes->alone_ns = RUN_MS * 1e6;
    wefti_mutex_unlock(&f.queue->lock);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.deadline_us = GIVEN_MS * INT64_C(1000);
    int64_t begin_ns = wefti_clock_ns();
    weft_request *request = queue_case_submit(&f, &call, &given);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, &error), WEFT_TIMEOUT);
    assert_true(wefti_clock_ns() - begin_ns < RUN_MS * INT64_C(1000000));
    assert_non_null(strstr(error.message, "60000.000 ms"));
    assert_non_null(strstr(error.message, "60020.000 ms"));
    weft_request_release(request);
    queue_case_plug_out(&plug);
    queue_case_tear_down(&f);
}

/* ---- a model that goes while a submitter waits for room ---- */

typedef struct producer {
    queue_case *f;
    queue_case_call call;
    weft_request *request;
    weft_status status;
} producer;

static void produce(void *user)
{
    producer *self = user;
    self->status = weft_queue_submit(self->f->queue, self->f->model, &self->call.io,
                                     NULL, &self->request, NULL);
}

static bool is_blocked(void *user)
{
    const queue_case *f = user;
    wefti_mutex_lock(&f->queue->lock);
    bool blocked = f->queue->blocked > 0;
    wefti_mutex_unlock(&f->queue->lock);
    return blocked;
}

static void test_removal_wakes_who_waits_for_room(void **state)
{
    (void)state;
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *request;
    crew_thread thread;
    queue_case_fill_up(&f, &plug, &call, &request);
    producer p = {.f = &f};
    queue_case_prepare(&p.call, 1, 7, 7);
    crew_start(&thread, produce, &p);
    crew_await(is_blocked, &f);
    assert_int_equal(weft_queue_remove_model(f.queue, f.model, NULL), WEFT_OK);
    crew_join(&thread); /* while the worker still stands */
    assert_int_equal(p.status, WEFT_NOT_FOUND);
    assert_null(p.request);
    queue_case_plug_out(&plug);
    queue_case_wait_ok(request); /* accepted work goes on */
    assert_true(queue_case_is_right(&call));
    queue_case_tear_down(&f);
}

/* ---- release ---- */

typedef struct leaver {
    weft_queue *queue;
    const slow *callback;
    bool left; /* the callback had, when the release returned */
} leaver;

static void release_queue(void *user)
{
    leaver *self = user;
    weft_queue_release(self->queue);
    self->left = wefti_atomic_u32_load_acquire(&self->callback->left) != 0;
}

static bool is_closed(void *user)
{
    weft_queue *queue = user;
    wefti_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    wefti_mutex_unlock(&queue->lock);
    return closed;
}

/* Nobody drains: the release itself waits for a callback, and for what waits behind. */
static void test_release_waits_for_callbacks(void **state)
{
    (void)state;
    queue_case f;
    queue_case_call calls[2];
    crew_thread thread;
    slow callback = {.began = CREW_GATE_INIT, .gate = CREW_GATE_INIT};
    weft_queue_params params = one_worker();
    queue_case_set_up(&f, &params);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = come_late;
    given.user = &callback;
    queue_case_solve(&calls[0], f.model, 1, 1, 1);
    queue_case_solve(&calls[1], f.model, 1, 2, 2);
    weft_request *first = queue_case_submit(&f, &calls[0], &given);
    crew_gate_pass(&callback.began);
    weft_request *second = queue_case_submit(&f, &calls[1], NULL);
    leaver self = {.queue = f.queue, .callback = &callback};
    crew_start(&thread, release_queue, &self);
    crew_await(is_closed, f.queue); /* which its requests keep in memory */
    crew_gate_open(&callback.gate);
    crew_join(&thread);
    assert_true(self.left);
    assert_int_equal(weft_request_wait(second, 0, NULL), WEFT_OK);
    assert_true(queue_case_is_right(&calls[0]) && queue_case_is_right(&calls[1]));
    weft_request_release(first);
    weft_request_release(second);
    f.queue = NULL;
    queue_case_tear_down(&f);
}

static void cancel(void *user)
{
    assert_true(weft_request_cancel(user));
}

/* Nor does it come before a callback on a thread of the user's, who cancels. */
static void test_release_waits_for_who_cancels(void **state)
{
    (void)state;
    queue_case f;
    queue_case_call call;
    queue_case_plug plug;
    crew_thread canceller, thread;
    slow callback = {.began = CREW_GATE_INIT, .gate = CREW_GATE_INIT};
    weft_queue_params params = one_worker();
    queue_case_set_up(&f, &params);
    queue_case_plug_in(&plug, f.queue, f.model);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = come_late;
    given.user = &callback;
    queue_case_prepare(&call, 1, 1, 1);
    weft_request *request = queue_case_submit(&f, &call, &given);
    crew_start(&canceller, cancel, request);
    crew_gate_pass(&callback.began);
    queue_case_plug_out(&plug);
    leaver self = {.queue = f.queue, .callback = &callback};
    crew_start(&thread, release_queue, &self);
    crew_await(is_closed, f.queue);
    wefti_thread_sleep(20000000); /* so that one that does not wait has its time */
    crew_gate_open(&callback.gate);
    crew_join(&thread);
    crew_join(&canceller);
    assert_true(self.left);
    weft_request_release(request);
    f.queue = NULL;
    queue_case_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_end_comes_out),
        cmocka_unit_test(test_statistics_add_up),
        cmocka_unit_test(test_defaults_of_requests),
        cmocka_unit_test(test_deadline_comes_too_near),
        cmocka_unit_test(test_removal_wakes_who_waits_for_room),
        cmocka_unit_test(test_release_waits_for_callbacks),
        cmocka_unit_test(test_release_waits_for_who_cancels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
