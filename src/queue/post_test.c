/* SPDX-License-Identifier: Apache-2.0 */
/* Post boxes, with a worker that is awake and stands still, so that they are looked
 * into and nobody does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "queue/queue.h"
#include "support/queue_case.h"

enum { CALLS = 12, MOST_WORKERS = 4 };

typedef struct stage {
    queue_case f;
    queue_case_core core;
    int32_t workers;
    queue_case_plug plugs[MOST_WORKERS];
    queue_case_call calls[CALLS];
    weft_request *requests[CALLS];
    uint32_t submitted;
} stage;

static void submit_next(stage *s)
{
    uint32_t i = s->submitted++;
    queue_case_solve(&s->calls[i], s->f.model, 1, i, 1);
    s->requests[i] = queue_case_submit(&s->f, &s->calls[i], NULL);
}

/* The class is among the recent ones of this core, whose pool has so many objects. */
static void set_up_beside(stage *s, uint32_t objects, int32_t workers, uint64_t row_ns)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = workers;
    *s = (stage){.workers = workers};
    queue_case_set_up(&s->f, &params);
    queue_case_warm_up(&s->f);
    queue_case_keep_core(&s->f, objects, &s->core);
    for (int32_t i = 0; i < workers; i++) {
        queue_case_plug_in(&s->plugs[i], s->f.queue, s->f.model);
    }
    queue_case_expect_posts(s->f.queue, s->f.model);
    wefti_queue_lock(s->f.queue);
    wefti_queue_class *class =
        wefti_queue_find_model_locked(s->f.queue, s->f.model)->classes;
    wefti_atomic_u64_store_relaxed(&class->hint_least_ns, row_ns);
    wefti_mutex_unlock(&s->f.queue->lock);
    submit_next(s);
    submit_next(s);
}

static void set_up(stage *s, uint32_t objects)
{
    set_up_beside(s, objects, 1, 1000);
}

static void tear_down(stage *s)
{
    for (int32_t i = 0; i < s->workers; i++) {
        queue_case_plug_out(&s->plugs[i]);
    }
    for (uint32_t i = 0; i < s->submitted; i++) {
        queue_case_wait_ok(s->requests[i]);
        assert_true(queue_case_is_right(&s->calls[i]));
    }
    queue_case_tear_down(&s->f);
    queue_case_free_core(&s->core);
}

static void test_who_takes_the_lock_finds_posts(void **state)
{
    (void)state;
    stage s;
    set_up(&s, CALLS);
    weft_queue *queue = s.f.queue;
    uint32_t before = queue_case_count_posts(queue);
    submit_next(&s);
    assert_int_equal(queue_case_count_posts(queue), before + 1);
    weft_queue_statistics n;
    weft_queue_get_statistics(queue, &n);
    assert_int_equal(queue_case_count_posts(queue), 0);
    assert_int_equal(n.waiting, s.submitted);
    tear_down(&s);
}

/* A cancelled post is in no box. */
static void test_a_post_is_cancelled(void **state)
{
    (void)state;
    stage s;
    set_up(&s, CALLS);
    submit_next(&s);
    weft_request *last = s.requests[--s.submitted];
    assert_int_equal(queue_case_count_posts(s.f.queue) > 0, true);
    assert_true(weft_request_cancel(last));
    assert_int_equal(weft_request_wait(last, WEFT_FOREVER, NULL), WEFT_CANCELLED);
    weft_request_release(last);
    assert_int_equal(queue_case_count_posts(s.f.queue), 0);
    tear_down(&s);
}

/* Without memory for the request nothing is held on to. */
static void test_no_memory_holds_nothing(void **state)
{
    (void)state;
    stage s;
    set_up(&s, CALLS / 3);
    weft_status status = WEFT_OK;
    /* Until no free object is left, and one has to be made. */
    while (status == WEFT_OK && s.submitted < CALLS) {
        queue_case_call *call = &s.calls[s.submitted];
        queue_case_solve(call, s.f.model, 1, 7, 1);
        (void)wefti_fault_arm(1, UINT32_C(1) << WEFTI_FAULT_ALLOCATION);
        status = weft_queue_submit(s.f.queue, s.f.model, &call->io, NULL,
                                   &s.requests[s.submitted], NULL);
        (void)wefti_fault_arm(0, 0);
        s.submitted += status == WEFT_OK;
    }
    assert_int_equal(status, WEFT_OUT_OF_MEMORY);
    queue_case_check_holds(s.f.queue);
    tear_down(&s);
}

static bool is_posted_beside(int32_t workers, uint64_t row_ns)
{
    stage s;
    set_up_beside(&s, CALLS, workers, row_ns);
    uint32_t before = queue_case_count_posts(s.f.queue);
    submit_next(&s);
    bool posted = queue_case_count_posts(s.f.queue) > before;
    tear_down(&s);
    return posted;
}

/* One thread with several requests and more workers: a core may be idle, for which
 * brief ones are not worth while. */
static void test_brief_requests_wait_for_their_caller(void **state)
{
    (void)state;
    assert_true(is_posted_beside(1, 1000));
    assert_true(is_posted_beside(1, 50000));
    assert_true(is_posted_beside(MOST_WORKERS, 1000));
    assert_false(is_posted_beside(MOST_WORKERS, 50000));
    assert_false(is_posted_beside(MOST_WORKERS, 0)); /* not known */
}

/* Who never waits is left to the watch once, and to workers for a while after that. */
static void test_a_broken_promise_is_remembered(void **state)
{
    (void)state;
    stage s;
    set_up_beside(&s, CALLS, MOST_WORKERS, 1000);
    wefti_queue_lock(s.f.queue);
    wefti_queue_class *class =
        wefti_queue_find_model_locked(s.f.queue, s.f.model)->classes;
    wefti_mutex_unlock(&s.f.queue->lock);
    uint32_t before = queue_case_count_posts(s.f.queue);
    submit_next(&s);
    assert_int_equal(queue_case_count_posts(s.f.queue), before + 1);
    for (int32_t i = 0; i < s.workers; i++) {
        queue_case_plug_out(&s.plugs[i]);
    }
    for (uint32_t i = 0; i < s.submitted; i++) {
        while (!weft_request_test(s.requests[i], NULL)) {
            wefti_thread_sleep(1000000);
        }
    }
    uint64_t rest_ns = wefti_atomic_u64_load_relaxed(&class->hint_promises_ns);
    assert_true(rest_ns > (uint64_t)wefti_clock_ns());
    for (int32_t i = 0; i < s.workers; i++) {
        queue_case_plug_in(&s.plugs[i], s.f.queue, s.f.model);
    }
    queue_case_expect_posts(s.f.queue, s.f.model);
    wefti_atomic_u64_store_relaxed(&class->hint_promises_ns, INT64_MAX); /* still so */
    wefti_atomic_u64_store_relaxed(&class->hint_least_ns, 1000);
    submit_next(&s);
    assert_int_equal(queue_case_count_posts(s.f.queue), 0);
    wefti_queue_lock(s.f.queue);
    assert_int_equal(s.f.queue->promised_count, 0);
    wefti_mutex_unlock(&s.f.queue->lock);
    wefti_atomic_u64_store_relaxed(&class->hint_promises_ns, 0);
    before = queue_case_count_posts(s.f.queue);
    submit_next(&s);
    assert_int_equal(queue_case_count_posts(s.f.queue), before + 1);
    tear_down(&s);
}

/* As threads have that each use their own: all of them are remembered. */
static void test_many_models_are_posted(void **state)
{
    (void)state;
    enum { MODELS = 24, ROUNDS = 3 }; /* made, remembered, posted */
    static queue_case_call calls[ROUNDS * MODELS];
    weft_request *requests[ROUNDS * MODELS];
    weft_model *models[MODELS];
    stage s;
    set_up(&s, ROUNDS * MODELS + 3);
    weft_queue *queue = s.f.queue;
    uint32_t before = 0;
    for (uint32_t i = 0; i < ROUNDS * MODELS; i++) {
        uint32_t m = i % MODELS;
        if (i < MODELS) {
            models[m] = queue_case_model(s.f.device, 100 + m);
            assert_int_equal(weft_queue_add_model(queue, models[m], NULL, NULL),
                             WEFT_OK);
        }
        before = i == 2 * MODELS ? queue_case_count_posts(queue) : before;
        queue_case_solve(&calls[i], models[m], 1, i, 1);
        assert_int_equal(
            weft_queue_submit(queue, models[m], &calls[i].io, NULL, &requests[i], NULL),
            WEFT_OK);
        if (i < MODELS) {
            queue_case_expect_posts(queue, models[m]);
        }
    }
    assert_int_equal(queue_case_count_posts(queue), before + MODELS);
    queue_case_plug_out(&s.plugs[0]);
    for (uint32_t i = 0; i < ROUNDS * MODELS; i++) {
        queue_case_wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    for (uint32_t m = 0; m < MODELS; m++) {
        weft_model_release(models[m]);
    }
    for (uint32_t i = 0; i < s.submitted; i++) {
        queue_case_wait_ok(s.requests[i]);
    }
    queue_case_tear_down(&s.f);
    queue_case_free_core(&s.core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_takes_the_lock_finds_posts),
        cmocka_unit_test(test_a_post_is_cancelled),
        cmocka_unit_test(test_no_memory_holds_nothing),
        cmocka_unit_test(test_many_models_are_posted),
        cmocka_unit_test(test_brief_requests_wait_for_their_caller),
        cmocka_unit_test(test_a_broken_promise_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
