/* SPDX-License-Identifier: Apache-2.0 */
/* A queue in the hands of users who do everything at once, and while memory, locks and
 * threads run out. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/atomic.h"
#include "base/testing.h"
#include "base/thread.h"
#include "support/queue_case.h"

static const int64_t PATIENCE_NS = INT64_C(60000000000);

/* ---- everything fails once ---- */

enum { CROWD = 64, STORMS = 24, MOST_USES = 600 };

typedef struct storm {
    queue_case f;
    queue_case_call *calls; /* one of each thread */
    uint32_t round;
    wefti_atomic_u32 wrong;
} storm;

static bool is_told(weft_status status, const weft_error *error)
{
    return status == WEFT_OK || strlen(error->message) > 10;
}

static void submit_and_wait(storm *s, queue_case_call *call, uint64_t *random)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    weft_error error = {.message = ""};
    weft_request *request;
    params.timeout_us = crew_random(random) % 3 == 0 ? crew_random(random) % 100 : 0;
    params.with_fd = crew_random(random) % 4 == 0;
    memset(call->y, 0xff, sizeof call->y);
    weft_status status =
        weft_queue_submit(s->f.queue, s->f.model, &call->io, &params, &request, &error);
    bool right = is_told(status, &error) && (status == WEFT_OK) == (request != NULL);
    if (status == WEFT_OK) {
        if (crew_random(random) % 4 == 0) {
            (void)weft_request_cancel(request);
        }
        status = weft_request_wait(request, PATIENCE_NS, &error);
        right = right && weft_request_test(request, NULL) && is_told(status, &error) &&
                (status != WEFT_OK || queue_case_is_right(call));
        weft_request_release(request);
    }
    wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
}

static void storm_on(void *user, uint32_t index)
{
    storm *s = user;
    uint64_t random = s->round * 1000 + index + 1;
    for (int i = 0; i < 4; i++) {
        submit_and_wait(s, &s->calls[index], &random);
    }
    if (index == CROWD / 2) {
        weft_queue_close(s->f.queue);
    }
}

/* False: the queue itself could not be made. */
static bool make_queue(storm *s)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1 + (int32_t)(s->round % 3);
    params.max_queue_size = 1 + (int32_t)(s->round % 7);
    params.preserve_order = s->round % 2 == 1;
    params.with_fd = s->round % 4 == 0;
    if (weft_queue_create(s->f.device, &params, &s->f.queue, NULL) != WEFT_OK) {
        return false;
    }
    if (weft_queue_add_model(s->f.queue, s->f.model, NULL, NULL) != WEFT_OK) {
        weft_queue_release(s->f.queue);
        return false;
    }
    return true;
}

static void test_crowd_while_things_fail(void **state)
{
    (void)state;
    static storm s;
    uint64_t random = 5;
    s.calls = calloc(CROWD, sizeof *s.calls);
    s.f.device = queue_case_device("cpu");
    for (s.round = 0; s.round < STORMS / (crew_divisor() > 1 ? 3 : 1); s.round++) {
        s.f.model = queue_case_model(s.f.device, 7); /* without plans */
        for (uint32_t i = 0; i < CROWD; i++) {
            weft_model *other = queue_case_model(s.f.device, 7);
            queue_case_solve(&s.calls[i], other, 1 + i % 5, i, s.round);
            weft_model_release(other);
        }
        wefti_fault_arm(1 + crew_random(&random) % MOST_USES,
                        (1u << WEFTI_FAULT_SITE_COUNT) - 1);
        bool made = make_queue(&s);
        if (made) {
            crew_run(CROWD, storm_on, &s);
        }
        wefti_fault_arm(0, 0);
        if (made) {
            queue_case_end(&s.f);
            weft_queue_release(s.f.queue);
        }
        weft_model_release(s.f.model);
        assert_int_equal(wefti_atomic_u32_load_acquire(&s.wrong), 0);
    }
    weft_device_release(s.f.device);
    free(s.calls);
}

/* ---- models that go while their shapes are met ---- */

enum { SHAPES = 40, METERS = 4 };

typedef struct churn {
    weft_device *device;
    weft_model *model;
    weft_queue *queue;
    wefti_atomic_u32 over, wrong, served;
} churn;

/* y = relu(x), x of [batch, n]: each n is a class of its own. */
static weft_model *make_open_model(weft_device *device)
{
    weft_value_info input = {.name = "x",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, WEFT_DIM_DYNAMIC},
                             .dim_names = {"batch", "n"}};
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

static weft_status meet_shape(churn *c, int64_t n, uint64_t *random)
{
    float x[SHAPES], y[SHAPES];
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(int32_t)crew_random(random);
    }
    /* The arrays are freed right after the call; only the data is lent. */
    weft_tensor *tensors = calloc(2, sizeof *tensors);
    tensors[0] =
        (weft_tensor){.data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, n}};
    tensors[1] = tensors[0];
    tensors[1].data = y;
    weft_io io = {tensors, 1, tensors + 1, 1};
    weft_request *request;
    weft_status status =
        weft_queue_submit(c->queue, c->model, &io, NULL, &request, NULL);
    free(tensors);
    if (status != WEFT_OK) {
        return status;
    }
    status = weft_request_wait(request, PATIENCE_NS, NULL);
    weft_request_release(request);
    for (int64_t i = 0; i < n && status == WEFT_OK; i++) {
        status = y[i] == (x[i] > 0 ? x[i] : 0) ? WEFT_OK : WEFT_INTERNAL;
    }
    return status;
}

static void meet_or_swap(void *user, uint32_t index)
{
    churn *c = user;
    uint64_t random = index + 1;
    uint32_t rounds = 200 / crew_divisor();
    for (uint32_t i = 0; i < rounds && index == METERS; i++) {
        uint32_t enough = wefti_atomic_u32_load_acquire(&c->served) + 1;
        bool swapped = weft_queue_remove_model(c->queue, c->model, NULL) == WEFT_OK &&
                       weft_queue_add_model(c->queue, c->model, NULL, NULL) == WEFT_OK;
        wefti_atomic_u32_add_acq_rel(&c->wrong, swapped ? 0 : 1);
        while (wefti_atomic_u32_load_acquire(&c->served) < enough) {
            wefti_thread_yield();
        }
    }
    if (index == METERS) {
        wefti_atomic_u32_store_release(&c->over, 1);
    }
    while (!wefti_atomic_u32_load_acquire(&c->over)) {
        int64_t n = 1 + crew_random(&random) % SHAPES;
        weft_status status = meet_shape(c, n, &random);
        bool right = status == WEFT_OK || status == WEFT_NOT_FOUND;
        wefti_atomic_u32_add_acq_rel(&c->served, status == WEFT_OK ? 1 : 0);
        wefti_atomic_u32_add_acq_rel(&c->wrong, right ? 0 : 1);
    }
}

static void test_model_goes_while_its_shapes_are_met(void **state)
{
    (void)state;
    static churn c;
    c.device = queue_case_device("cpu");
    c.model = make_open_model(c.device);
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 2;
    assert_int_equal(weft_queue_create(c.device, &params, &c.queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(c.queue, c.model, NULL, NULL), WEFT_OK);
    crew_run(METERS + 1, meet_or_swap, &c);
    assert_int_equal(wefti_atomic_u32_load_acquire(&c.wrong), 0);
    weft_queue_release(c.queue);
    weft_model_release(c.model);
    weft_device_release(c.device);
}

/* ---- one request, many hands ---- */

enum { HANDS = 16 };

typedef struct shared {
    weft_request *request;
    queue_case_plug *plug;
    wefti_atomic_u32 wrong;
} shared;

static void wait_or_let_go(void *user, uint32_t index)
{
    shared *s = user;
    bool right = true;
    if (index == 0) {
        queue_case_plug_out(s->plug);
    } else if (index % 3 != 0) {
        right = weft_request_wait(s->request, PATIENCE_NS, NULL) == WEFT_OK &&
                !weft_request_cancel(s->request);
    } else {
        right = weft_request_wait(s->request, 0, NULL) != WEFT_INVALID_ARGUMENT;
    }
    wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
    weft_request_release(s->request); /* each its own; some before the end */
}

static void test_many_hands_on_one_request(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    for (uint32_t round = 0; round < 20 / (crew_divisor() > 1 ? 4 : 1); round++) {
        queue_case_plug plug;
        queue_case_call call;
        shared s = {.plug = &plug};
        queue_case_plug_in(&plug, f.queue, f.model);
        queue_case_solve(&call, f.model, 1, round, 1);
        s.request = queue_case_submit(&f, &call, NULL);
        for (uint32_t i = 1; i < HANDS; i++) {
            (void)weft_request_retain(s.request);
        }
        crew_run(HANDS, wait_or_let_go, &s);
        assert_int_equal(weft_queue_drain(f.queue, PATIENCE_NS, NULL), WEFT_OK);
        assert_int_equal(wefti_atomic_u32_load_acquire(&s.wrong), 0);
        assert_true(queue_case_is_right(&call));
    }
    queue_case_tear_down(&f);
}

/* ---- two queues on one device, which is closed ---- */

typedef struct pair {
    weft_device *device;
    weft_model *model;
    weft_queue *queues[2];
    queue_case_call calls[8];
    wefti_atomic_u32 wrong, done[2], busy; /* queues that have done something */
} pair;

static void close_and_drain(pair *p)
{
    weft_device_close(p->device);
    bool drained = weft_device_drain(p->device, PATIENCE_NS, NULL) == WEFT_OK;
    wefti_atomic_u32_add_acq_rel(&p->wrong, drained ? 0 : 1);
}

static void use_both(void *user, uint32_t index)
{
    pair *p = user;
    weft_status status = WEFT_OK;
    while (status != WEFT_CLOSED) {
        weft_request *request;
        memset(p->calls[index].y, 0xff, sizeof p->calls[index].y);
        status = weft_queue_submit(p->queues[index % 2], p->model, &p->calls[index].io,
                                   NULL, &request, NULL);
        if (status == WEFT_OK) {
            status = weft_request_wait(request, PATIENCE_NS, NULL);
            bool right =
                status == WEFT_OK ? queue_case_is_right(&p->calls[index]) : true;
            wefti_atomic_u32_add_acq_rel(&p->wrong, right ? 0 : 1);
            weft_request_release(request);
        }
        bool known =
            status == WEFT_OK || status == WEFT_CLOSED || status == WEFT_CANCELLED;
        wefti_atomic_u32_add_acq_rel(&p->wrong, known ? 0 : 1);
        if (wefti_atomic_u32_add_acq_rel(&p->done[index % 2], 1) == 50 &&
            wefti_atomic_u32_add_acq_rel(&p->busy, 1) == 1) {
            close_and_drain(p);
        }
    }
}

static void test_two_queues_on_a_device_that_closes(void **state)
{
    (void)state;
    static pair p;
    p.device = queue_case_device("cpu");
    p.model = queue_case_model(p.device, 7);
    weft_queue_statistics n;
    weft_device_statistics all;
    for (uint32_t i = 0; i < 8; i++) {
        queue_case_solve(&p.calls[i], p.model, 1 + i % 3, i, i);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_queue_create(p.device, NULL, &p.queues[i], NULL),
                         WEFT_OK);
        assert_int_equal(weft_queue_add_model(p.queues[i], p.model, NULL, NULL),
                         WEFT_OK);
    }
    crew_run(8, use_both, &p);
    assert_int_equal(wefti_atomic_u32_load_acquire(&p.wrong), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_queue_drain(p.queues[i], PATIENCE_NS, NULL), WEFT_OK);
        weft_queue_get_statistics(p.queues[i], &n);
        assert_int_equal(n.accepted, n.done + n.failed + n.cancelled + n.timed_out);
        assert_true(n.done > 0);
        weft_queue_release(p.queues[i]);
    }
    weft_device_get_statistics(p.device, &all);
    assert_int_equal(all.accepted,
                     all.done + all.failed + all.cancelled + all.timed_out);
    weft_model_release(p.model);
    weft_device_release(p.device);
}

/* ---- very many at once ---- */

typedef struct mass {
    wefti_atomic_u32 ends, done, cancelled;
} mass;

static void count_end(void *user, weft_request *request, weft_status status)
{
    mass *m = user;
    wefti_atomic_u32_add_acq_rel(&m->ends, 1);
    wefti_atomic_u32_add_acq_rel(&m->done, status == WEFT_OK ? 1 : 0);
    wefti_atomic_u32_add_acq_rel(&m->cancelled, status == WEFT_CANCELLED ? 1 : 0);
    weft_request_release(request); /* its submitter's */
}

/* A hundred thousand wait; what has not begun when the drain's time is over is
 * cancelled, all of them are heard of. */
static void test_a_hundred_thousand_drained(void **state)
{
    (void)state;
    const uint32_t count = 100000 / crew_divisor();
    static mass m;
    queue_case f;
    queue_case_call call;
    queue_case_plug plug;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 100000;
    queue_case_set_up(&f, &params);
    queue_case_plug_in(&plug, f.queue, f.model);
    queue_case_solve(&call, f.model, 1, 1, 1);
    float *outputs = calloc(count, call.y_bytes);
    weft_queue_submit_params given = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    given.callback = count_end;
    given.user = &m;
    for (uint32_t i = 0; i < count; i++) {
        call.outputs[0].data = outputs + i * QUEUE_CASE_OUTPUTS;
        given.priority = 1 + (int32_t)(i % 8);
        given.deadline_us = i % 3 == 0 ? 3600 * INT64_C(1000000) - i : 0;
        (void)queue_case_submit(&f, &call, &given);
    }
    queue_case_plug_out(&plug);
    weft_status status = weft_queue_drain(f.queue, 5000000, NULL);
    assert_true(status == WEFT_OK || status == WEFT_TIMEOUT);
    assert_int_equal(weft_queue_drain(f.queue, PATIENCE_NS, NULL), WEFT_OK);
    assert_int_equal(wefti_atomic_u32_load_acquire(&m.ends), count);
    uint32_t done = wefti_atomic_u32_load_acquire(&m.done);
    assert_int_equal(done + wefti_atomic_u32_load_acquire(&m.cancelled), count);
    for (uint32_t i = 0; i < count; i++) {
        const float *y = outputs + i * QUEUE_CASE_OUTPUTS;
        bool is_done = memcmp(y, call.alone, call.y_bytes) == 0;
        done -= is_done ? 1 : 0;
        for (int j = 0; j < QUEUE_CASE_OUTPUTS && !is_done; j++) {
            assert_true(y[j] == 0);
        }
    }
    assert_int_equal(done, 0);
    queue_case_tear_down(&f);
    free(outputs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowd_while_things_fail),
        cmocka_unit_test(test_model_goes_while_its_shapes_are_met),
        cmocka_unit_test(test_many_hands_on_one_request),
        cmocka_unit_test(test_two_queues_on_a_device_that_closes),
        cmocka_unit_test(test_a_hundred_thousand_drained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
