/* SPDX-License-Identifier: Apache-2.0 */
/* How a class finds out whether joining pays: the test is a second and third worker,
 * beside one that stands still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "queue/queue.h"
#include "support/graph_text.h"
#include "support/queue_case.h"

enum { REQUESTS = 8, MOST = 4, PROBE_PERIOD = 64 };

typedef struct stage {
    queue_case f;
    queue_case_plug plug;
    queue_case_call calls[REQUESTS];
    weft_request *requests[REQUESTS];
    wefti_queue_class *class;
} stage;

static void set_up(stage *s)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = MOST;
    queue_case_set_up(&s->f, &params);
    queue_case_warm_up(&s->f);
    queue_case_plug_in(&s->plug, s->f.queue, s->f.model);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        queue_case_solve(&s->calls[i], s->f.model, 1, i, 1);
        s->requests[i] = queue_case_submit(&s->f, &s->calls[i], NULL);
    }
    s->class = s->f.queue->models->classes;
    assert_null(s->class->next);
}

static void tear_down_after(stage *s, weft_request **others, size_t count)
{
    queue_case_plug_out(&s->plug);
    for (size_t i = 0; i < count; i++) {
        queue_case_wait_ok(others[i]);
    }
    for (uint32_t i = 0; i < REQUESTS; i++) {
        queue_case_wait_ok(s->requests[i]);
        assert_true(queue_case_is_right(&s->calls[i]));
    }
    queue_case_tear_down(&s->f);
}

static void tear_down(stage *s)
{
    tear_down_after(s, NULL, 0);
}

/* What is known of the class, in ns for a row. */
static void set_costs(stage *s, double alone_ns, double joined_ns)
{
    wefti_queue_lock(s->f.queue);
    s->class->alone_ns = alone_ns;
    s->class->joined_ns = joined_ns;
    s->class->since_probe = PROBE_PERIOD;
    s->class->probe_rest_ns = 0;
    wefti_mutex_unlock(&s->f.queue->lock);
}

static wefti_queue_scratch *choose(stage *s, wefti_queue_batch *batch)
{
    wefti_queue_scratch *scratch = wefti_queue_scratch_create(s->f.queue);
    assert_non_null(scratch);
    *batch = (wefti_queue_batch){.requests = scratch->requests};
    wefti_queue_lock(s->f.queue);
    wefti_queue_choose_locked(s->f.queue, batch);
    wefti_mutex_unlock(&s->f.queue->lock);
    return scratch;
}

static void serve(wefti_queue_scratch *scratch, wefti_queue_batch *batch)
{
    assert_false(wefti_queue_serve(scratch, batch));
    wefti_queue_scratch_destroy(scratch);
}

/* While one thread tries whether joining pays now, and for as long after as it cost,
 * no other does. */
static void test_one_tries_for_all(void **state)
{
    (void)state;
    stage s;
    wefti_queue_batch first, second, third;
    set_up(&s);
    set_costs(&s, 1000, 1e6);
    wefti_queue_scratch *one = choose(&s, &first);
    assert_int_equal(first.count, MOST);
    s.class->since_probe = PROBE_PERIOD; /* however many others have run meanwhile */
    wefti_queue_scratch *two = choose(&s, &second);
    assert_int_equal(second.count, 1);
    serve(one, &first);
    assert_true(s.class->probe_rest_ns > 0);
    s.class->since_probe = PROBE_PERIOD;
    wefti_queue_scratch *three = choose(&s, &third);
    assert_int_equal(third.count, 1);
    serve(two, &second);
    serve(three, &third);
    tear_down(&s);
}

/* Where it is known to pay everybody joins. */
static void test_all_join_where_it_pays(void **state)
{
    (void)state;
    stage s;
    wefti_queue_batch first, second;
    set_up(&s);
    set_costs(&s, 1e6, 1000);
    wefti_queue_scratch *one = choose(&s, &first);
    wefti_queue_scratch *two = choose(&s, &second);
    assert_int_equal(first.count, MOST);
    assert_int_equal(second.count, MOST);
    serve(one, &first);
    serve(two, &second);
    tear_down(&s);
}

/* The first joined batch may have been a thread's that was preempted. */
static void test_an_outlier_is_forgotten(void **state)
{
    (void)state;
    stage s;
    wefti_queue_batch batch;
    set_up(&s);
    set_costs(&s, 1e9, 1e12);
    wefti_queue_get_form(s.class, MOST)->ran = true;
    wefti_queue_scratch *scratch = choose(&s, &batch);
    assert_int_equal(batch.count, MOST);
    serve(scratch, &batch);
    assert_true(s.class->joined_ns < s.class->alone_ns);
    tear_down(&s);
}

/* The least time of a lone row fades by a hundredth with each run that took longer. */
static void test_the_least_time_fades(void **state)
{
    (void)state;
    static const double least_ns[] = {2000, 1e15};
    for (size_t i = 0; i < WEFTI_COUNT_OF(least_ns); i++) {
        stage s;
        wefti_queue_batch batch;
        set_up(&s);
        set_costs(&s, 1000, 1e6);
        s.class->since_probe = 0;
        wefti_queue_scratch *scratch = choose(&s, &batch);
        assert_int_equal(batch.count, 1);
        serve(scratch, &batch);
        wefti_queue_lock(s.f.queue);
        s.class->live_count++;
        s.class->model->live_count++;
        s.f.queue->running++;
        s.class->least_ns = least_ns[i];
        wefti_queue_account_locked(s.f.queue, &batch, INT64_C(1000000000000));
        assert_true(s.class->least_ns == (i == 0 ? 2020 : 1e12));
        assert_int_equal(wefti_atomic_u64_load_relaxed(&s.class->hint_least_ns),
                         (uint64_t)s.class->least_ns);
        wefti_mutex_unlock(&s.f.queue->lock);
        tear_down(&s);
    }
}

/* Also where only those who wait for their requests run them. */
static void test_who_leads_tries_after_an_outlier(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    set_costs(&s, 1000, 1e6); /* two such rows would be too long to be led */
    wefti_queue_scratch *scratch = wefti_queue_scratch_create(s.f.queue);
    assert_non_null(scratch);
    wefti_queue_batch batch = {.requests = scratch->requests};
    wefti_queue_lock(s.f.queue);
    for (uint32_t i = 0; i < REQUESTS; i++) { /* whatever the machine's speed */
        WEFTI_CONTAINER_OF(s.requests[i], wefti_queue_request, base)->leadable = true;
    }
    wefti_queue_choose_with_locked(
        WEFTI_CONTAINER_OF(s.requests[0], wefti_queue_request, base), &batch);
    wefti_mutex_unlock(&s.f.queue->lock);
    assert_int_equal(batch.count, MOST);
    serve(scratch, &batch);
    tear_down(&s);
}

/* Who leads takes nothing that could be too late, though that be first in turn: so it
 * never ends a request that it has not run. */
static void test_who_leads_takes_no_deadlines(void **state)
{
    (void)state;
    enum { LATE = 2 };
    stage s;
    weft_request *late[LATE];
    queue_case_call calls[LATE];
    set_up(&s);
    set_costs(&s, 1000, 100);
    wefti_atomic_u64_store_relaxed(&s.class->hint_row_ns, 1000);
    for (uint32_t i = 0; i < LATE; i++) {
        weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
        params.priority = 1;
        *(i == 0 ? &params.timeout_us : &params.deadline_us) = INT64_C(60000000);
        queue_case_solve(&calls[i], s.f.model, 1, i, 2);
        late[i] = queue_case_submit(&s.f, &calls[i], &params);
    }
    wefti_queue_scratch *scratch = wefti_queue_scratch_create(s.f.queue);
    assert_non_null(scratch);
    wefti_queue_batch batch = {.requests = scratch->requests};
    wefti_queue_lock(s.f.queue);
    for (uint32_t i = 0; i < REQUESTS; i++) { /* whatever the machine's speed */
        wefti_queue_request *request =
            WEFTI_CONTAINER_OF(s.requests[i], wefti_queue_request, base);
        request->expected_ns = 1000;
        request->leadable = wefti_queue_is_leadable(request);
        assert_true(request->leadable);
    }
    wefti_queue_choose_with_locked(
        WEFTI_CONTAINER_OF(s.requests[0], wefti_queue_request, base), &batch);
    wefti_mutex_unlock(&s.f.queue->lock);
    assert_int_equal(batch.count, MOST);
    assert_null(batch.expired);
    for (int32_t i = 0; i < batch.count; i++) {
        assert_true(batch.requests[i]->base.start_deadline_ns == WEFTI_NEVER);
    }
    serve(scratch, &batch);
    tear_down_after(&s, late, LATE);
}

enum { LARGE = 3145728 };

/* Rows of 24 MiB, in and out: two fill the memory for a batch. */
static void test_large_rows_make_small_batches(void **state)
{
    (void)state;
    stage s;
    wefti_queue_batch batch;
    weft_request *requests[3];
    float *memory = calloc(4 * (size_t)LARGE, sizeof *memory);
    assert_non_null(memory);
    set_up(&s);
    weft_model *model;
    weft_graph *graph = graph_text_make("x: f32[batch,3145728]; y = Relu(x); -> y", 18);
    assert_int_equal(weft_model_create(s.f.device, graph, NULL, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    assert_int_equal(weft_queue_add_model(s.f.queue, model, NULL, NULL), WEFT_OK);
    for (size_t i = 0; i < 3; i++) {
        weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
        weft_tensor x = {
            .data = memory, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, LARGE}};
        weft_tensor y = x;
        y.data = memory + (i + 1) * LARGE;
        weft_io io = {&x, 1, &y, 1};
        params.priority = 1;
        assert_int_equal(
            weft_queue_submit(s.f.queue, model, &io, &params, &requests[i], NULL),
            WEFT_OK);
    }
    s.class = wefti_queue_find_model_locked(s.f.queue, model)->classes;
    set_costs(&s, 1e6, 1000);
    wefti_queue_scratch *scratch = choose(&s, &batch);
    assert_ptr_equal(batch.class, s.class);
    assert_int_equal(batch.count, 2);
    serve(scratch, &batch);
    tear_down_after(&s, requests, 3);
    weft_model_release(model);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_tries_for_all),
        cmocka_unit_test(test_all_join_where_it_pays),
        cmocka_unit_test(test_an_outlier_is_forgotten),
        cmocka_unit_test(test_the_least_time_fades),
        cmocka_unit_test(test_who_leads_tries_after_an_outlier),
        cmocka_unit_test(test_who_leads_takes_no_deadlines),
        cmocka_unit_test(test_large_rows_make_small_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
