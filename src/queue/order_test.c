/* SPDX-License-Identifier: Apache-2.0 */
/* In which order a queue serves its requests. One worker, kept busy while they gather,
 * and batches of one, so that the order can be seen. */
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/testing.h"
#include "support/queue_case.h"

enum { MOST = 128 };

typedef struct fixture fixture;

typedef struct served {
    fixture *f;
    int label;
    queue_case_call call;
    weft_request *request;
} served;

struct fixture {
    weft_device *device;
    weft_model *models[2];
    weft_queue *queue;
    served requests[MOST];
    int count;
    wefti_atomic_u32 ended;
    int order[MOST]; /* labels as they ended */
};

static fixture *set_up(const weft_queue_params *params)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->device = queue_case_device("cpu");
    weft_error error;
    if (weft_queue_create(f->device, params, &f->queue, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    for (int i = 0; i < 2; i++) {
        f->models[i] = queue_case_model(f->device, 42 + (uint64_t)i);
        weft_queue_model_params own = WEFT_QUEUE_MODEL_PARAMS_INIT;
        own.weight = i == 0 ? 1 : 3;
        assert_int_equal(weft_queue_add_model(f->queue, f->models[i], &own, NULL),
                         WEFT_OK);
    }
    return f;
}

static weft_queue_params one_by_one(void)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = 1;
    return params;
}

static void record(void *user, weft_request *request, weft_status status)
{
    served *self = user;
    (void)request;
    assert_int_equal(status, WEFT_OK);
    uint32_t place = wefti_atomic_u32_add_acq_rel(&self->f->ended, 1);
    self->f->order[place] = self->label;
}

static void add(fixture *f, int label, int model, const weft_queue_submit_params *given)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    if (given) {
        params = *given;
    }
    served *s = &f->requests[f->count++];
    s->f = f;
    s->label = label;
    queue_case_prepare(&s->call, 1, (uint32_t)label, 1);
    params.callback = record;
    params.user = s;
    assert_int_equal(weft_queue_submit(f->queue, f->models[model], &s->call.io, &params,
                                       &s->request, NULL),
                     WEFT_OK);
}

static void wait_all(fixture *f)
{
    for (int i = 0; i < f->count; i++) {
        assert_int_equal(weft_request_wait(f->requests[i].request, WEFT_FOREVER, NULL),
                         WEFT_OK);
        weft_request_release(f->requests[i].request);
    }
    assert_int_equal(weft_queue_drain(f->queue, WEFT_FOREVER, NULL), WEFT_OK);
}

static bool all_have_ended(void *user)
{
    const fixture *f = user;
    return wefti_atomic_u32_load_acquire(&f->ended) == (uint32_t)f->count;
}

static void tear_down(fixture *f)
{
    weft_queue_release(f->queue);
    weft_model_release(f->models[0]);
    weft_model_release(f->models[1]);
    weft_device_release(f->device);
    free(f);
}

static void assert_order(const fixture *f, const int *wanted, int count)
{
    assert_int_equal(f->count, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(f->order[i], wanted[i]);
    }
}

static void test_priorities(void **state)
{
    (void)state;
    weft_queue_params params = one_by_one();
    fixture *f = set_up(&params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f->queue, f->models[0]);
    static const int32_t priorities[] = {8, 0, 1, 4, 2, 1};
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    for (int i = 0; i < 6; i++) {
        given.priority = priorities[i];
        add(f, i, 0, &given);
    }
    queue_case_plug_out(&plug);
    wait_all(f);
    static const int wanted[] = {2, 5, 4, 1, 3, 0}; /* 0 is the default, 4 */
    assert_order(f, wanted, 6);
    tear_down(f);
}

static void test_earliest_deadline_first(void **state)
{
    (void)state;
    weft_queue_params params = one_by_one();
    fixture *f = set_up(&params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f->queue, f->models[0]);
    static const int64_t seconds[] = {0, 300, 100, 0, 200, 100};
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    for (int i = 0; i < 6; i++) {
        given.deadline_us = seconds[i] * 1000000;
        add(f, i, 0, &given);
    }
    queue_case_plug_out(&plug);
    wait_all(f);
    static const int wanted[] = {2, 5, 4, 1, 0, 3};
    assert_order(f, wanted, 6);
    tear_down(f);
}

/* A request of the lowest priority among many of the highest, which never run out
 * before it has gone. */
static void test_lowest_priority_moves(void **state)
{
    (void)state;
    weft_queue_params params = one_by_one();
    fixture *f = set_up(&params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f->queue, f->models[0]);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.priority = 8;
    add(f, 1000, 0, &given);
    given.priority = 1;
    for (int i = 0; i < 100; i++) {
        add(f, i, 0, &given);
    }
    queue_case_plug_out(&plug);
    wait_all(f);
    int place = 0;
    while (f->order[place] != 1000) {
        place++;
    }
    assert_in_range(place, 10, 20); /* the oldest goes first once in 16 batches */
    tear_down(f);
}

/* A deadline does not let younger requests pass an old one for ever. */
static void test_request_without_deadline_moves(void **state)
{
    (void)state;
    weft_queue_params params = one_by_one();
    fixture *f = set_up(&params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f->queue, f->models[0]);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    add(f, 1000, 0, &given);
    given.deadline_us = 100 * 1000000;
    for (int i = 0; i < 60; i++) {
        add(f, i, 0, &given);
    }
    queue_case_plug_out(&plug);
    wait_all(f);
    int place = 0;
    while (f->order[place] != 1000) {
        place++;
    }
    assert_in_range(place, 1, 20);
    tear_down(f);
}

/* A clock that goes on by 1 ms whenever it is read: every run takes the same time. */
static wefti_atomic_u64 ticks;

static int64_t read_ticks(void)
{
    return (int64_t)wefti_atomic_u64_add_acq_rel(&ticks, 1) * 1000000;
}

/* Two models with weights 1 and 3 and runs that take the same time. */
static void test_fair_shares(void **state)
{
    (void)state;
    wefti_clock_hook = read_ticks;
    weft_queue_params params = one_by_one();
    fixture *f = set_up(&params);
    queue_case_plug plug;
    queue_case_plug_in(&plug, f->queue, f->models[0]);
    for (int i = 0; i < 60; i++) {
        add(f, 0, 0, NULL);
        add(f, 1, 1, NULL);
    }
    queue_case_plug_out(&plug);
    /* Not by a wait: that reads the clock too. */
    crew_await(all_have_ended, f);
    wait_all(f);
    int first_forty = 0;
    for (int i = 0; i < 40; i++) {
        first_forty += f->order[i];
    }
    /* 30 by the weights; the oldest goes first now and then. */
    assert_in_range(first_forty, 27, 33);
    tear_down(f);
}

static void test_order_is_preserved(void **state)
{
    (void)state;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 4;
    params.max_batch_size = 2;
    params.preserve_order = true;
    fixture *f = set_up(&params);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    for (int i = 0; i < MOST; i++) {
        given.priority = 1 + i * 5 % 8;
        add(f, i, 0, &given);
    }
    wait_all(f);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(f->order[i], i);
    }
    tear_down(f);
}

enum { AT_ONCE = 32 }; /* so many a thread announces before they leave */
static bool all_are_held(void *user)
{
    weft_queue *queue = user;
    wefti_mutex_lock(&queue->lock);
    bool all = queue->held_count == AT_ONCE - 1;
    wefti_mutex_unlock(&queue->lock);
    return all;
}

static bool has_no_models(void *user)
{
    weft_queue *queue = user;
    wefti_mutex_lock(&queue->lock);
    bool none = queue->models == NULL;
    wefti_mutex_unlock(&queue->lock);
    return none;
}

/* A removed model goes when the last of its requests has been announced, though all of
 * them left before who announces them had looked for more. */
static void test_a_removed_model_goes_in_order_too(void **state)
{
    (void)state;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 2;
    params.preserve_order = true;
    queue_case f;
    queue_case_set_up(&f, &params);
    static queue_case_plug plug;
    static queue_case_call calls[AT_ONCE - 1];
    weft_request *requests[AT_ONCE - 1];
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < AT_ONCE - 1; i++) {
        queue_case_prepare(&calls[i], 1, 1, i);
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
    }
    crew_await(all_are_held, f.queue);
    assert_int_equal(weft_queue_remove_model(f.queue, f.model, NULL), WEFT_OK);
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < AT_ONCE - 1; i++) {
        queue_case_wait_ok(requests[i]);
    }
    crew_await(has_no_models, f.queue);
    queue_case_tear_down(&f);
}

/* The first request goes at once, for whether joining pays is not known yet; from then
 * on it may. */
static fixture *set_up_delay(int64_t delay_us)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = 8;
    params.preferred_batch_sizes[0] = 4;
    params.preferred_batch_size_count = 1;
    params.max_queue_delay_us = delay_us;
    fixture *f = set_up(&params);
    add(f, 0, 0, NULL);
    assert_int_equal(weft_request_wait(f->requests[0].request, WEFT_FOREVER, NULL),
                     WEFT_OK);
    assert_int_equal(weft_queue_drain(f->queue, WEFT_FOREVER, NULL), WEFT_OK);
    return f;
}

/* With a delay a lone request is held back for others. */
static void test_delay(void **state)
{
    (void)state;
    fixture *f = set_up_delay(20000);
    int64_t begin_ns = wefti_clock_ns();
    add(f, 1, 0, NULL);
    assert_int_equal(weft_request_wait(f->requests[1].request, WEFT_FOREVER, NULL),
                     WEFT_OK);
    assert_true(wefti_clock_ns() - begin_ns >= 20000 * 1000);
    wait_all(f);
    tear_down(f);
}

/* What waits out its delay goes at once when it is of a preferred size. */
static void test_preferred_size_ends_the_delay(void **state)
{
    (void)state;
    fixture *f = set_up_delay(60 * 1000000);
    weft_queue_statistics before, after;
    weft_queue_get_statistics(f->queue, &before);
    for (int i = 1; i < 5; i++) {
        add(f, i, 0, NULL); /* the fourth makes it a preferred size */
    }
    int64_t begin_ns = wefti_clock_ns();
    wait_all(f);
    assert_true(wefti_clock_ns() - begin_ns < INT64_C(30) * 1000000000);
    weft_queue_get_statistics(f->queue, &after);
    assert_int_equal(after.batch_count - before.batch_count, 1);
    tear_down(f);
}

/* What waits out its delay goes at once when the queue closes. */
static void test_close_ends_the_delay(void **state)
{
    (void)state;
    fixture *f = set_up_delay(60 * 1000000);
    add(f, 1, 0, NULL);
    assert_int_equal(weft_request_wait(f->requests[1].request, 50000000, NULL),
                     WEFT_TIMEOUT);
    weft_queue_close(f->queue);
    int64_t begin_ns = wefti_clock_ns();
    wait_all(f);
    assert_true(wefti_clock_ns() - begin_ns < INT64_C(30) * 1000000000);
    tear_down(f);
}

/* y = relu(x) of a fixed shape. */
static weft_model *make_fixed_model(weft_device *device)
{
    weft_value_info input = {
        .name = "x", .type = WEFT_TYPE_F32, .rank = 2, .dims = {2, 3}};
    const char *const inputs[] = {"x"}, *const outputs[] = {"y"};
    weft_node node = {.op_type = "Relu",
                      .name = "y",
                      .inputs = inputs,
                      .input_count = 1,
                      .outputs = outputs,
                      .output_count = 1};
    weft_graph *graph;
    weft_model *model;
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_input(graph, &input, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_node(graph, &node, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(graph, "y", NULL), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, NULL, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    return model;
}

/* What nothing can join is not held back for others. */
static void test_delay_is_for_those_that_join(void **state)
{
    (void)state;
    enum { CALLS = 5 };
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_delay_us = 60 * 1000000;
    fixture *f = set_up(&params);
    weft_model *model = make_fixed_model(f->device);
    assert_int_equal(weft_queue_add_model(f->queue, model, NULL, NULL), WEFT_OK);
    float x[6] = {-1, 1, -2, 2, -3, 3}, y[6];
    static const float wanted[6] = {0, 1, 0, 2, 0, 3};
    weft_tensor input = {.data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {2, 3}};
    weft_tensor output = input;
    output.data = y;
    weft_io io = {&input, 1, &output, 1};
    for (int i = 0; i < CALLS; i++) {
        weft_request *request;
        assert_int_equal(weft_queue_submit(f->queue, model, &io, NULL, &request, NULL),
                         WEFT_OK);
        assert_int_equal(weft_request_wait(request, INT64_C(30000000000), NULL),
                         WEFT_OK);
        assert_memory_equal(y, wanted, sizeof y);
        weft_request_release(request);
    }
    assert_int_equal(weft_queue_check_batching(f->queue, model, NULL),
                     WEFT_UNSUPPORTED);
    weft_model_release(model);
    tear_down(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_earliest_deadline_first),
        cmocka_unit_test(test_lowest_priority_moves),
        cmocka_unit_test(test_request_without_deadline_moves),
        cmocka_unit_test_teardown(test_fair_shares, crew_reset_clock),
        cmocka_unit_test(test_order_is_preserved),
        cmocka_unit_test(test_a_removed_model_goes_in_order_too),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_preferred_size_ends_the_delay),
        cmocka_unit_test(test_close_ends_the_delay),
        cmocka_unit_test(test_delay_is_for_those_that_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
