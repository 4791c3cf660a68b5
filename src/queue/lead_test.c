/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a short request runs it: here while all workers stand still in
 * callbacks, so that nobody else would. */
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/queue_case.h"

enum { WORKERS = 2 };

/* Long enough to lead, and to see that nobody does. */
static const int64_t WAIT_NS = 50000000;

typedef struct stage {
    queue_case f;
    queue_case_plug plugs[WORKERS];
    queue_case_call call, other;
} stage;

/* However long the run took that showed it: short enough to be led. */
static void make_short(weft_queue *queue)
{
    wefti_queue_lock(queue);
    wefti_queue_class *class = queue->models->classes;
    class->alone_ns = 1000;
    wefti_atomic_u64_store_relaxed(&class->hint_row_ns, 1000);
    wefti_mutex_unlock(&queue->lock);
}

static void set_up(stage *s)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = WORKERS;
    queue_case_set_up(&s->f, &params);
    queue_case_warm_up(&s->f);
    for (int i = 0; i < WORKERS; i++) {
        queue_case_plug_in(&s->plugs[i], s->f.queue, s->f.model);
    }
    make_short(s->f.queue);
    queue_case_solve(&s->call, s->f.model, 1, 1, 1);
    queue_case_solve(&s->other, s->f.model, 1, 2, 2);
}

static void tear_down(stage *s)
{
    for (int i = 0; i < WORKERS; i++) {
        queue_case_plug_out(&s->plugs[i]);
    }
    queue_case_tear_down(&s->f);
}

/* Of a request that only a worker may run. */
static void ignore(void *user, weft_request *request, weft_status status)
{
    (void)user;
    (void)request;
    (void)status;
}

static void test_who_waits_runs_it(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    weft_request *request = queue_case_submit(&s.f, &s.call, NULL);
    queue_case_wait_ok(request);
    assert_true(queue_case_is_right(&s.call));
    tear_down(&s);
}

/* Not in the place of who has a callback, which strangers should not run. */
static void test_callbacks_are_for_workers(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = ignore;
    weft_request *request = queue_case_submit(&s.f, &s.call, &given);
    assert_int_equal(weft_request_wait(request, WAIT_NS, NULL), WEFT_TIMEOUT);
    assert_false(weft_request_test(request, NULL));
    tear_down(&s); /* ends it */
    queue_case_wait_ok(request);
    assert_true(queue_case_is_right(&s.call));
}

/* Nor before what is more urgent. */
static void test_priorities_are_not_overtaken(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = ignore;
    given.priority = 1;
    weft_request *urgent = queue_case_submit(&s.f, &s.other, &given);
    weft_request *request = queue_case_submit(&s.f, &s.call, NULL);
    assert_int_equal(weft_request_wait(request, WAIT_NS, NULL), WEFT_TIMEOUT);
    assert_true(weft_request_cancel(urgent));
    weft_request_release(urgent);
    queue_case_wait_ok(request);
    assert_true(queue_case_is_right(&s.call));
    tear_down(&s);
}

static weft_model *add_other(stage *s)
{
    weft_model *other = queue_case_model(s->f.device, 43);
    assert_int_equal(weft_queue_add_model(s->f.queue, other, NULL, NULL), WEFT_OK);
    return other;
}

/* A request of the other model that no caller waits for. */
static weft_request *submit_other(stage *s, weft_model *other)
{
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    weft_request *waiting;
    given.callback = ignore;
    assert_int_equal(
        weft_queue_submit(s->f.queue, other, &s->other.io, &given, &waiting, NULL),
        WEFT_OK);
    return waiting;
}

/* Nor where its model has had much more than its share while another waits. */
static void test_shares_are_kept(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    weft_model *other = add_other(&s);
    weft_request *waiting = submit_other(&s, other);
    wefti_queue_lock(s.f.queue); /* as if it had run for a second */
    wefti_queue_find_model_locked(s.f.queue, s.f.model)->virtual_ns += 1e9;
    wefti_mutex_unlock(&s.f.queue->lock);
    weft_request *request = queue_case_submit(&s.f, &s.call, NULL);
    assert_int_equal(weft_request_wait(request, WAIT_NS, NULL), WEFT_TIMEOUT);
    assert_true(weft_request_cancel(waiting));
    weft_request_release(waiting);
    queue_case_wait_ok(request);
    assert_true(queue_case_is_right(&s.call));
    weft_model_release(other);
    tear_down(&s);
}

/* What is remembered of the others' shares holds for those that come, or go back. */
static void test_shares_are_looked_at_again(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    weft_model *other = add_other(&s);
    weft_request *waiting = submit_other(&s, other);
    weft_request *base = queue_case_submit(&s.f, &s.call, NULL);
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    wefti_queue_lock(s.f.queue);
    wefti_queue_model *theirs = wefti_queue_find_model_locked(s.f.queue, other);
    request->model->virtual_ns = 1e9;
    theirs->virtual_ns = 2e9;
    bool ahead = wefti_queue_may_overtake_locked(request);
    theirs->virtual_ns = 0;
    wefti_queue_note_virtual_locked(theirs);
    bool behind = !wefti_queue_may_overtake_locked(request);
    theirs->virtual_ns = 2e9;
    bool again = wefti_queue_may_overtake_locked(request);
    wefti_mutex_unlock(&s.f.queue->lock);
    assert_true(weft_request_cancel(waiting));
    weft_request_release(waiting);
    wefti_queue_lock(s.f.queue); /* its requests begin to wait anew, with little */
    theirs->virtual_ns = s.f.queue->virtual_ns = 0;
    wefti_mutex_unlock(&s.f.queue->lock);
    waiting = submit_other(&s, other);
    wefti_queue_lock(s.f.queue);
    bool came = !wefti_queue_may_overtake_locked(request);
    request->model->virtual_ns = 0;
    wefti_mutex_unlock(&s.f.queue->lock);
    assert_true(ahead && behind && again && came);
    assert_true(weft_request_cancel(waiting));
    weft_request_release(waiting);
    queue_case_wait_ok(base);
    weft_model_release(other);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits_runs_it),
        cmocka_unit_test(test_callbacks_are_for_workers),
        cmocka_unit_test(test_priorities_are_not_overtaken),
        cmocka_unit_test(test_shares_are_kept),
        cmocka_unit_test(test_shares_are_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
