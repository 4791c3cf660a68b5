/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/weft.h>

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/profile.h"
#include "runtime/device.h"
#include "runtime/lease.h"

enum { THREADS = 4, CALLS = 200, ROW = 256 };

static weft_profiler *make_profiler(size_t max_events)
{
    weft_profiler_params params = WEFT_PROFILER_PARAMS_INIT;
    weft_profiler *profiler = NULL;
    params.max_events = max_events;
    assert_int_equal(weft_profiler_create(&params, &profiler, NULL), WEFT_OK);
    return profiler;
}

static void *record_many(void *user)
{
    weft_profiler *profiler = user;
    for (int i = 0; i < CALLS; i++) {
        const wefti_profile_note note = {
            .kind = WEFT_PROFILE_STEP, .name = "a name", .counts = {i, ~(int64_t)i}};
        wefti_profile_record(profiler, wefti_clock_ns(), &note);
    }
    return NULL;
}

static void test_threads_record_and_read_at_once(void **state)
{
    (void)state;
    enum { ROOM = THREADS * CALLS / 2 };
    weft_profiler *profiler = make_profiler(ROOM);
    pthread_t threads[THREADS];
    weft_profile_event event;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, profiler), 0);
    }
    size_t seen = 0;
    while (seen < ROOM) {
        /* Whole or not there, also while others write. */
        if (weft_profiler_get_event(profiler, seen, &event)) {
            assert_int_equal(event.counts[0], ~event.counts[1]);
            assert_string_equal(event.name, "a name");
            assert_true(event.begin_ns <= event.end_ns);
            seen++;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(weft_profiler_event_count(profiler), ROOM);
    assert_int_equal(weft_profiler_dropped_count(profiler), THREADS * CALLS - ROOM);
    assert_false(weft_profiler_get_event(profiler, ROOM, &event));
    weft_profiler_release(profiler);
}

static void test_pause_and_long_names(void **state)
{
    (void)state;
    char name[200];
    weft_profile_event event;
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    weft_profiler *profiler = make_profiler(4);
    const wefti_profile_note note = {
        .kind = WEFT_PROFILE_BATCH, .status = WEFT_TIMEOUT, .name = name};
    weft_profiler_pause(profiler);
    wefti_profile_record(profiler, 1, &note);
    assert_int_equal(weft_profiler_event_count(profiler), 0);
    weft_profiler_resume(profiler);
    wefti_profile_record_until(profiler, 1, 2, &note);
    assert_true(weft_profiler_get_event(profiler, 0, &event));
    assert_int_equal(strlen(event.name), sizeof(event.name) - 1);
    assert_string_equal(event.detail, "");
    assert_int_equal(event.status, WEFT_TIMEOUT);
    assert_int_equal(event.end_ns, 2);
    weft_profiler_release(profiler);
    weft_profiler_params params = WEFT_PROFILER_PARAMS_INIT;
    params.max_events = (size_t)1 << 40;
    assert_int_equal(weft_profiler_create(&params, &profiler, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_null(profiler);
}

/* One that found what it waited for leaves none, one in vain always does. */
static void test_waits_that_were_none(void **state)
{
    (void)state;
    const int64_t hour_ns = INT64_C(3600000000000);
    weft_profile_event event;
    weft_profiler *profiler = make_profiler(4);
    int64_t now_ns = wefti_clock_ns();
    wefti_profile_wait(profiler, now_ns + hour_ns, "nothing", -1, WEFT_OK);
    assert_int_equal(weft_profiler_event_count(profiler), 0);
    wefti_profile_wait(profiler, now_ns + hour_ns, "in vain", -1, WEFT_TIMEOUT);
    wefti_profile_wait(profiler, now_ns - 1000, "a context", 3, WEFT_OK);
    assert_int_equal(weft_profiler_event_count(profiler), 2);
    assert_true(weft_profiler_get_event(profiler, 0, &event));
    assert_string_equal(event.name, "in vain");
    assert_true(weft_profiler_get_event(profiler, 1, &event));
    assert_int_equal(event.counts[0], 3);
    weft_profiler_release(profiler);
}

/* x [batch,256] * w -> Relu -> Softmax -> y */
static weft_model *make_model(weft_device *device)
{
    static float weights[ROW * ROW];
    for (int i = 0; i < ROW * ROW; i++) {
        weights[i] = (float)(i % 17) / 17 - 0.5f;
    }
    weft_graph *graph = NULL;
    weft_model *model = NULL;
    weft_value_info info = {.name = "x",
                            .type = WEFT_TYPE_F32,
                            .rank = 2,
                            .dims = {WEFT_DIM_DYNAMIC, ROW},
                            .dim_names = {"batch"}};
    weft_tensor w = {
        .data = weights, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROW, ROW}};
    const weft_node nodes[] = {
        {.op_type = "MatMul",
         .name = "product",
         .inputs = (const char *const[]){"x", "w"},
         .input_count = 2,
         .outputs = (const char *const[]){"p"},
         .output_count = 1},
        {.op_type = "Softmax",
         .name = "last",
         .inputs = (const char *const[]){"p"},
         .input_count = 1,
         .outputs = (const char *const[]){"y"},
         .output_count = 1},
    };
    assert_int_equal(weft_graph_create(20, &graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_input(graph, &info, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_initializer(graph, "w", &w, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_node(graph, &nodes[0], NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_node(graph, &nodes[1], NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(graph, "y", NULL), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, NULL, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    return model;
}

static weft_device *open_device(weft_profiler *profiler, int32_t contexts)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device *device = NULL;
    params.worker_count = 2;
    params.max_contexts = contexts;
    params.profiler = profiler;
    assert_int_equal(weft_device_open("cpu", &params, &device, NULL), WEFT_OK);
    return device;
}

typedef struct call {
    weft_model *model;
    weft_queue *queue; /* NULL: direct */
    int64_t rows;
    float input[64 * ROW], output[64 * ROW];
} call;

static void run(call *self)
{
    weft_tensor x = {.data = self->input,
                     .type = WEFT_TYPE_F32,
                     .rank = 2,
                     .dims = {self->rows, ROW}};
    weft_tensor y = x;
    y.data = self->output;
    weft_io io = {&x, 1, &y, 1};
    if (self->queue == NULL) {
        assert_int_equal(weft_run(self->model, &io, NULL, NULL), WEFT_OK);
        return;
    }
    weft_request *request = NULL;
    assert_int_equal(
        weft_queue_submit(self->queue, self->model, &io, NULL, &request, NULL),
        WEFT_OK);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(request);
}

static void *run_many(void *user)
{
    for (int i = 0; i < 20; i++) {
        run(user);
    }
    return NULL;
}

static call *make_calls(weft_model *model, weft_queue *queue)
{
    static call calls[THREADS];
    for (int i = 0; i < THREADS; i++) {
        calls[i].model = model;
        calls[i].queue = queue;
        calls[i].rows = 1 + i;
        for (int k = 0; k < 64 * ROW; k++) {
            calls[i].input[k] = (float)((k * 7 + i) % 23) / 23;
        }
    }
    return calls;
}

static void run_all(call *calls)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &calls[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* Counts events of a kind; every one of them lies inside one of `outer` on the same
 * thread, unless that is 0. */
static size_t count_kind(const weft_profiler *profiler, weft_profile_kind kind,
                         weft_profile_kind outer)
{
    size_t found = 0;
    weft_profile_event event, other;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        if (event.kind != kind) {
            continue;
        }
        found++;
        assert_true(event.begin_ns <= event.end_ns);
        bool inside = outer == 0;
        for (size_t k = i + 1; !inside && weft_profiler_get_event(profiler, k, &other);
             k++) {
            inside = other.kind == outer && other.thread == event.thread &&
                     other.begin_ns <= event.begin_ns && other.end_ns >= event.end_ns;
        }
        assert_true(inside);
    }
    return found;
}

/* Counts the leases: those of one context do not overlap, and each run lies inside one
 * of the context that it names. */
static size_t count_leases(const weft_profiler *profiler, int32_t contexts)
{
    size_t found = 0;
    int64_t given_back_ns[64] = {0};
    weft_profile_event event, other;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        if (event.kind == WEFT_PROFILE_LEASE) {
            found++;
            assert_in_range(event.counts[0], 0, contexts - 1);
            assert_true(event.begin_ns >= given_back_ns[event.counts[0]]);
            given_back_ns[event.counts[0]] = event.end_ns;
        }
        bool inside = event.kind != WEFT_PROFILE_EXECUTE;
        for (size_t k = i + 1; !inside && weft_profiler_get_event(profiler, k, &other);
             k++) {
            inside = other.kind == WEFT_PROFILE_LEASE &&
                     other.counts[0] == event.counts[0] &&
                     other.begin_ns <= event.begin_ns && other.end_ns >= event.end_ns;
        }
        assert_true(inside);
    }
    return found;
}

static size_t count_waits(const weft_profiler *profiler, const char *name)
{
    size_t found = 0;
    weft_profile_event event;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        found += event.kind == WEFT_PROFILE_WAIT && strcmp(event.name, name) == 0;
    }
    return found;
}

static void test_direct_runs(void **state)
{
    (void)state;
    weft_profiler *profiler = make_profiler(100000);
    weft_device *plain = open_device(NULL, 0), *device = open_device(profiler, 1);
    weft_model *model = make_model(device), *other = make_model(plain);
    call *calls = make_calls(model, NULL);
    run_all(calls);
    assert_int_equal(count_kind(profiler, WEFT_PROFILE_REQUEST, 0), THREADS * 20);
    assert_int_equal(count_kind(profiler, WEFT_PROFILE_EXECUTE, WEFT_PROFILE_REQUEST),
                     THREADS * 20);
    assert_int_equal(count_kind(profiler, WEFT_PROFILE_STEP, WEFT_PROFILE_EXECUTE),
                     2 * THREADS * 20);
    assert_int_equal(count_kind(profiler, WEFT_PROFILE_BUILD, WEFT_PROFILE_PLAN),
                     THREADS);
    (void)count_kind(profiler, WEFT_PROFILE_WAIT, WEFT_PROFILE_REQUEST);
    assert_true(count_leases(profiler, 1) >= THREADS * 20);
    weft_profile_event event;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        if (event.kind == WEFT_PROFILE_STEP && strstr(event.name, "product") != NULL) {
            assert_non_null(strstr(event.detail, "matmul "));
            assert_non_null(strstr(event.detail, " * 256x256"));
            assert_true(event.flops >= 2.0 * ROW * ROW);
            break;
        }
    }
    /* The bits stay. */
    float recorded[THREADS][ROW];
    for (int i = 0; i < THREADS; i++) {
        memcpy(recorded[i], calls[i].output, sizeof(recorded[i]));
        calls[i].model = other;
        run(&calls[i]);
        assert_memory_equal(recorded[i], calls[i].output, sizeof(recorded[i]));
    }
    weft_model_release(model);
    weft_model_release(other);
    weft_device_release(device);
    weft_device_release(plain);
    weft_profiler_release(profiler);
}

/* A context is held while another thread runs, so that it has to wait. */
static void test_wait_for_a_context(void **state)
{
    (void)state;
    weft_profiler *profiler = make_profiler(1000);
    weft_device *device = open_device(profiler, 1);
    weft_model *model = make_model(device);
    weft_context *held = NULL;
    pthread_t thread;
    call *calls = make_calls(model, NULL);
    run(&calls[0]); /* the plan is there */
    assert_int_equal(weft_context_acquire(device, NULL, &held, NULL), WEFT_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_many, &calls[0]), 0);
    while (wefti_lease_waiter_count(device->contexts) == 0) {
        sched_yield();
    }
    wefti_lease_statistics n;
    wefti_lease_get_statistics(device->contexts, &n); /* it sleeps: the lock is free */
    weft_context_release(held);
    pthread_join(thread, NULL);
    assert_int_equal(count_waits(profiler, "wait for a context"), 1);
    assert_int_equal(count_kind(profiler, WEFT_PROFILE_WAIT, WEFT_PROFILE_REQUEST), 1);
    assert_int_equal(count_leases(profiler, 1), 1 + 1 + 20);
    weft_model_release(model);
    weft_device_release(device);
    weft_profiler_release(profiler);
}

static void test_submitted_runs(void **state)
{
    (void)state;
    weft_profiler *profiler = make_profiler(1000);
    weft_device *device = open_device(profiler, 2);
    weft_model *model = make_model(device);
    weft_request *request = NULL;
    call *self = make_calls(model, NULL);
    weft_tensor x = {
        .data = self->input, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, ROW}};
    weft_tensor y = x;
    y.data = self->output;
    weft_io io = {&x, 1, &y, 1};
    assert_int_equal(weft_submit(model, &io, NULL, &request, NULL), WEFT_OK);
    weft_model_release(model);
    weft_device_release(device);
    /* Who waits may do so beyond the device; it has ended the request then. */
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(request);
    assert_int_equal(count_kind(profiler, WEFT_PROFILE_QUEUED, 0), 1);
    assert_int_equal(count_leases(profiler, 2), 1);
    assert_true(count_waits(profiler, "wait for an answer") <= 1);
    weft_profiler_release(profiler);
}

static void test_helpers(void **state)
{
    (void)state;
    weft_profiler *profiler = make_profiler(100000);
    weft_device *device = open_device(profiler, 0);
    weft_model *model = make_model(device);
    call *calls = make_calls(model, NULL);
    calls[0].rows = 64;
    for (int i = 0; i < 200; i++) {
        run(&calls[0]);
    }
    /* Whether helpers come depends on the machine; their tiles are never the caller's.
     */
    weft_profile_event event;
    uint64_t caller = 0;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        caller = event.kind == WEFT_PROFILE_REQUEST ? event.thread : caller;
    }
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        if (event.kind == WEFT_PROFILE_TILES) {
            assert_true(event.thread != caller);
            assert_true(event.counts[0] > 0);
        }
    }
    weft_model_release(model);
    weft_device_release(device);
    weft_profiler_release(profiler);
}

static void test_queue(void **state)
{
    (void)state;
    weft_profiler *profiler = make_profiler(100000);
    weft_device *device = open_device(profiler, 0);
    weft_model *model = make_model(device);
    weft_queue *queue = NULL;
    assert_int_equal(weft_queue_create(device, NULL, &queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(queue, model, NULL, NULL), WEFT_OK);
    run_all(make_calls(model, queue));
    weft_queue_close(queue);
    assert_int_equal(weft_queue_drain(queue, WEFT_FOREVER, NULL), WEFT_OK);
    weft_queue_release(queue);
    assert_true(count_kind(profiler, WEFT_PROFILE_QUEUED, 0) >= THREADS * 20);
    assert_true(count_kind(profiler, WEFT_PROFILE_EXECUTE, WEFT_PROFILE_BATCH) > 0);
    assert_true(count_leases(profiler, 64) > 0);
    assert_true(count_waits(profiler, "wait for an answer") > 0);
    int64_t requests = 0, rows = 0;
    weft_profile_event event;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        if (event.kind == WEFT_PROFILE_BATCH) {
            requests += event.counts[0];
            rows += event.counts[1];
        }
    }
    assert_int_equal(requests, THREADS * 20);
    assert_int_equal(rows, 20 * (1 + 2 + 3 + 4));
    weft_model_release(model);
    weft_device_release(device);
    weft_profiler_release(profiler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_record_and_read_at_once),
        cmocka_unit_test(test_pause_and_long_names),
        cmocka_unit_test(test_waits_that_were_none),
        cmocka_unit_test(test_direct_runs),
        cmocka_unit_test(test_wait_for_a_context),
        cmocka_unit_test(test_submitted_runs),
        cmocka_unit_test(test_helpers),
        cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
