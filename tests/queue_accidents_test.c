/* SPDX-License-Identifier: Apache-2.0 */
/* Accidents that other batch queues have had, each as a test that it cannot happen
 * here, with real threads. The same under every order of threads:
 * tests/schedule/queue.c. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/thread.h"
#include "support/queue_case.h"

static const int64_t PATIENCE_NS = INT64_C(30000000000);

static void make_queue(queue_case *f, int32_t workers, int32_t max_queue_size)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = workers;
    params.max_queue_size = max_queue_size;
    assert_int_equal(weft_queue_create(f->device, &params, &f->queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(f->queue, f->model, NULL, NULL), WEFT_OK);
}

/* A producer in its thread, which has no room. */
typedef struct producer {
    queue_case *f;
    queue_case_call call;
    crew_thread thread;
    weft_request *request;
    wefti_atomic_u32 begun, returned;
    weft_status status;
} producer;

static void produce(void *user)
{
    producer *p = user;
    wefti_atomic_u32_store_release(&p->begun, 1);
    p->status = weft_queue_submit(p->f->queue, p->f->model, &p->call.io, NULL,
                                  &p->request, NULL);
    wefti_atomic_u32_store_release(&p->returned, 1);
}

static bool has_begun(void *user)
{
    return wefti_atomic_u32_load_acquire(&((producer *)user)->begun) != 0;
}

static bool has_returned(void *user)
{
    return wefti_atomic_u32_load_acquire(&((producer *)user)->returned) != 0;
}

/* Its only worker stands still and its only place is taken. */
typedef struct full_queue {
    queue_case f;
    queue_case_plug plug;
    queue_case_call call;
    weft_request *waiting;
    producer blocked;
} full_queue;

static void fill_queue(full_queue *q)
{
    queue_case_fill_up(&q->f, &q->plug, &q->call, &q->waiting);
    q->blocked = (producer){.f = &q->f};
    queue_case_solve(&q->blocked.call, q->f.model, 1, 2, 2);
    crew_start(&q->blocked.thread, produce, &q->blocked);
    crew_await(has_begun, &q->blocked);
    assert_false(has_returned(&q->blocked));
}

static void a_blocked_producer_wakes_on_close(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        static full_queue q;
        fill_queue(&q);
        weft_queue_close(q.f.queue); /* while the worker still stands */
        crew_await(has_returned, &q.blocked);
        crew_join(&q.blocked.thread);
        assert_int_equal(q.blocked.status, WEFT_CLOSED);
        assert_null(q.blocked.request);
        queue_case_plug_out(&q.plug);
        assert_int_equal(weft_request_wait(q.waiting, PATIENCE_NS, NULL), WEFT_OK);
        assert_true(queue_case_is_right(&q.call));
        weft_request_release(q.waiting);
        queue_case_tear_down(&q.f);
    }
}

static void cancel_frees_the_place(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        static full_queue q;
        fill_queue(&q);
        assert_true(weft_request_cancel(q.waiting));
        crew_await(has_returned, &q.blocked); /* while the worker still stands */
        crew_join(&q.blocked.thread);
        assert_int_equal(q.blocked.status, WEFT_OK);
        queue_case_plug_out(&q.plug);
        assert_int_equal(weft_request_wait(q.blocked.request, PATIENCE_NS, NULL),
                         WEFT_OK);
        assert_true(queue_case_is_right(&q.blocked.call));
        weft_request_release(q.blocked.request);
        weft_request_release(q.waiting);
        queue_case_tear_down(&q.f);
    }
}

/* Submitters that cancel, set deadlines and let go of requests, and a queue that is
 * closed at any moment. */
enum { CLOSINGS = 1000, SUBMITTERS = 4, CALLS = 6 };

typedef struct storm {
    queue_case f;
    queue_case_call calls[SUBMITTERS][CALLS];
    uint32_t round;
    wefti_atomic_u32 accepted, callbacks, wrong, drained, over;
} storm;

static void count_callback(void *user, weft_request *request, weft_status status)
{
    storm *s = user;
    (void)request;
    (void)status;
    wefti_atomic_u32_add_acq_rel(&s->callbacks, 1);
    bool late = wefti_atomic_u32_load_acquire(&s->drained) != 0;
    wefti_atomic_u32_add_acq_rel(&s->wrong, late ? 1 : 0);
}

static void submit_one(storm *s, queue_case_call *call, uint64_t *random)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.callback = count_callback;
    params.user = s;
    params.priority = 1 + (int32_t)(crew_random(random) % 8);
    params.timeout_us = crew_random(random) % 4 == 0 ? 1 + crew_random(random) % 60 : 0;
    weft_request *request;
    weft_status status =
        weft_queue_submit(s->f.queue, s->f.model, &call->io, &params, &request, NULL);
    if (status != WEFT_OK) {
        bool told = status == WEFT_CLOSED || status == WEFT_TIMEOUT;
        wefti_atomic_u32_add_acq_rel(&s->wrong, told ? 0 : 1);
        return;
    }
    wefti_atomic_u32_add_acq_rel(&s->accepted, 1);
    if (crew_random(random) % 4 == 0) {
        (void)weft_request_cancel(request);
    }
    /* The tensors are lent until the end, so all wait, but some later. */
    status = weft_request_wait(request, WEFT_FOREVER, NULL);
    bool right = status == WEFT_OK ? queue_case_is_right(call)
                                   : status == WEFT_CANCELLED || status == WEFT_TIMEOUT;
    wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
    weft_request_release(request);
}

static void submit_or_close(void *user, uint32_t index)
{
    storm *s = user;
    uint64_t random = s->round * 100 + index;
    if (index == SUBMITTERS) {
        uint32_t some = crew_random(&random) % (SUBMITTERS * CALLS);
        while (wefti_atomic_u32_load_acquire(&s->accepted) < some &&
               wefti_atomic_u32_load_acquire(&s->over) < SUBMITTERS) {
            wefti_thread_yield();
        }
        weft_queue_close(s->f.queue);
        weft_status status = weft_queue_drain(s->f.queue, PATIENCE_NS, NULL);
        wefti_atomic_u32_add_acq_rel(&s->wrong, status == WEFT_OK ? 0 : 1);
        wefti_atomic_u32_store_release(&s->drained, 1);
        return;
    }
    for (int i = 0; i < CALLS; i++) {
        submit_one(s, &s->calls[index][i], &random);
    }
    wefti_atomic_u32_add_acq_rel(&s->over, 1);
}

static void sums_are_right_after_a_thousand_closings(void **state)
{
    (void)state;
    static storm s;
    s.f.device = queue_case_device("cpu");
    s.f.model = queue_case_model(s.f.device, 7);
    uint64_t accepted = 0;
    for (uint32_t t = 0; t < SUBMITTERS; t++) {
        for (uint32_t i = 0; i < CALLS; i++) {
            queue_case_solve(&s.calls[t][i], s.f.model, 1 + i % 3, t, i);
        }
    }
    for (s.round = 0; s.round < CLOSINGS; s.round++) {
        weft_queue_statistics n;
        make_queue(&s.f, 1 + (int32_t)(s.round % 3), 3);
        wefti_atomic_u32_store_release(&s.accepted, 0);
        wefti_atomic_u32_store_release(&s.callbacks, 0);
        wefti_atomic_u32_store_release(&s.drained, 0);
        wefti_atomic_u32_store_release(&s.over, 0);
        crew_run(SUBMITTERS + 1, submit_or_close, &s);
        weft_queue_get_statistics(s.f.queue, &n);
        assert_int_equal(wefti_atomic_u32_load_acquire(&s.wrong), 0);
        assert_int_equal(n.accepted, n.done + n.failed + n.cancelled + n.timed_out);
        assert_int_equal(n.accepted, wefti_atomic_u32_load_acquire(&s.accepted));
        assert_int_equal(n.accepted, wefti_atomic_u32_load_acquire(&s.callbacks));
        assert_int_equal(n.failed, 0);
        accepted += n.accepted;
        weft_queue_release(s.f.queue);
    }
    print_message("%llu requests accepted in %d queues\n", (unsigned long long)accepted,
                  CLOSINGS);
    assert_true(accepted > CLOSINGS);
    weft_model_release(s.f.model);
    weft_device_release(s.f.device);
}

/* Readers keep a model of the queue in use without a pause; who takes it out and puts
 * it in again must come through all the same. */
enum { READERS = 4, SWAPS = 50 };

typedef struct swap_stage {
    queue_case f;
    queue_case_call calls[READERS];
    wefti_atomic_u32 over, wrong, served;
} swap_stage;

static void read_or_swap(void *user, uint32_t index)
{
    swap_stage *s = user;
    if (index == READERS) {
        for (uint32_t i = 0; i < SWAPS; i++) {
            while (wefti_atomic_u32_load_acquire(&s->served) < 2 * i) {
                wefti_thread_yield(); /* the readers are at it all the time */
            }
            weft_status out = weft_queue_remove_model(s->f.queue, s->f.model, NULL);
            weft_status in = weft_queue_add_model(s->f.queue, s->f.model, NULL, NULL);
            wefti_atomic_u32_add_acq_rel(&s->wrong,
                                         out == WEFT_OK && in == WEFT_OK ? 0 : 1);
        }
        wefti_atomic_u32_store_release(&s->over, 1);
        return;
    }
    while (!wefti_atomic_u32_load_acquire(&s->over)) {
        weft_request *request;
        weft_status status = weft_queue_submit(
            s->f.queue, s->f.model, &s->calls[index].io, NULL, &request, NULL);
        bool right = status == WEFT_NOT_FOUND;
        if (status == WEFT_OK) {
            right = weft_request_wait(request, WEFT_FOREVER, NULL) == WEFT_OK &&
                    queue_case_is_right(&s->calls[index]);
            weft_request_release(request);
            wefti_atomic_u32_add_acq_rel(&s->served, 1);
        }
        wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
    }
}

static void a_model_swap_is_not_starved(void **state)
{
    (void)state;
    static swap_stage s;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 2;
    queue_case_set_up(&s.f, &params);
    for (uint32_t i = 0; i < READERS; i++) {
        queue_case_solve(&s.calls[i], s.f.model, 1, i, i);
    }
    int64_t begin_ns = wefti_clock_ns();
    crew_run(READERS + 1, read_or_swap, &s);
    assert_int_equal(wefti_atomic_u32_load_acquire(&s.wrong), 0);
    assert_true(wefti_clock_ns() - begin_ns < PATIENCE_NS);
    print_message("%d swaps beside %u requests\n", SWAPS,
                  wefti_atomic_u32_load_acquire(&s.served));
    queue_case_tear_down(&s.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blocked_producer_wakes_on_close),
        cmocka_unit_test(cancel_frees_the_place),
        cmocka_unit_test(sums_are_right_after_a_thousand_closings),
        cmocka_unit_test(a_model_swap_is_not_starved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
