/* SPDX-License-Identifier: Apache-2.0 */
/* Accidents that other libraries of this kind have had, each as a test that it cannot
 * happen here. Those of the batch queue: queue_accidents_test.c. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/atomic.h"
#include "base/testing.h"
#include "runtime/request.h"
#include "support/crew.h"

enum { MS = 1000000, ROWS = 4, FEATURES = 8 };
static const int64_t PATIENCE_NS = INT64_C(20000000000);

static weft_device *open_device(const char *name, int32_t workers, int32_t contexts)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = workers;
    params.max_contexts = contexts;
    weft_device *device;
    assert_int_equal(weft_device_open(name, &params, &device, NULL), WEFT_OK);
    return device;
}

/* y = relu(x), x of [batch, FEATURES]. */
static weft_model *make_model(weft_device *device)
{
    weft_value_info input = {.name = "x",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, FEATURES},
                             .dim_names = {"batch"}};
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

typedef struct call {
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    weft_tensor inputs[1], outputs[1];
    weft_io io;
} call;

static void prepare(call *c, uint32_t seed)
{
    uint64_t state = seed;
    for (int i = 0; i < ROWS * FEATURES; i++) {
        c->x[i] = (float)(int32_t)crew_random(&state);
        c->y[i] = -1;
    }
    c->inputs[0] = (weft_tensor){
        .data = c->x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, FEATURES}};
    c->outputs[0] = c->inputs[0];
    c->outputs[0].data = c->y;
    c->io = (weft_io){c->inputs, 1, c->outputs, 1};
}

static bool is_right(const call *c)
{
    bool right = true;
    for (int i = 0; i < ROWS * FEATURES; i++) {
        right = right && c->y[i] == (c->x[i] > 0 ? c->x[i] : 0);
    }
    return right;
}

/* One stream that never goes on must not hold up anybody else: neither runs, nor other
 * streams, nor memory, nor the trim of the pools. */
static void run_beside(void *user, uint32_t index)
{
    weft_model *model = user;
    call c;
    prepare(&c, index);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(weft_run(model, &c.io, NULL, NULL), WEFT_OK);
        assert_true(is_right(&c));
    }
}

static void nobody_waits_on_anothers_stream(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu", 2, 8);
    weft_model *model = make_model(device);
    weft_event *event;
    weft_stream *held, *other;
    weft_memory *memory;
    char byte = 0;
    assert_int_equal(weft_event_create(device, false, &event, NULL), WEFT_OK);
    assert_int_equal(weft_stream_acquire(device, &held, NULL), WEFT_OK);
    assert_int_equal(weft_stream_acquire(device, &other, NULL), WEFT_OK);
    assert_int_equal(weft_memory_allocate(held, 4096, &memory, NULL), WEFT_OK);
    assert_int_equal(weft_stream_wait(held, event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(held, weft_memory_data(memory), 1, 4096, NULL),
                     WEFT_OK);
    weft_memory_release(memory); /* still to be written by the held stream */
    crew_run(8, run_beside, model);
    assert_int_equal(weft_memory_allocate(other, 4096, &memory, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(other, &byte, 7, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(other, PATIENCE_NS, NULL), WEFT_OK);
    assert_int_equal(byte, 7);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    weft_memory_release(memory);
    call c;
    prepare(&c, 1);
    weft_request *request;
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, NULL), WEFT_OK);
    assert_int_equal(weft_request_wait(request, PATIENCE_NS, NULL), WEFT_OK);
    assert_true(is_right(&c));
    weft_request_release(request);
    /* All of it while the one stream stood still. */
    assert_int_equal(weft_stream_synchronize(held, 0, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(held, PATIENCE_NS, NULL), WEFT_OK);
    weft_stream_release(held);
    weft_stream_release(other);
    weft_event_release(event);
    weft_model_release(model);
    weft_device_release(device);
}

/* One user more than contexts: who holds one needs no other to go on, so all come
 * through, and the last is told by its policy. */
enum { CONTEXTS = 3 };

static void hold_and_run(void *user, uint32_t index)
{
    weft_model *model = user;
    weft_device *device = weft_model_device(model);
    for (uint32_t i = 0; i < 200 / crew_divisor(); i++) {
        weft_context *context;
        call c;
        prepare(&c, index * 1000 + i);
        assert_int_equal(weft_context_acquire(device, NULL, &context, NULL), WEFT_OK);
        assert_int_equal(weft_context_run(context, model, &c.io, NULL), WEFT_OK);
        assert_true(is_right(&c));
        weft_context_release(context);
    }
}

static void one_more_user_than_contexts(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu", 0, CONTEXTS);
    weft_model *model = make_model(device);
    weft_context *contexts[CONTEXTS], *none;
    crew_run(CONTEXTS + 1, hold_and_run, model);
    for (int i = 0; i < CONTEXTS; i++) {
        assert_int_equal(weft_context_acquire(device, NULL, &contexts[i], NULL),
                         WEFT_OK);
    }
    weft_lease_params params = WEFT_LEASE_PARAMS_INIT;
    params.policy = WEFT_LEASE_FAIL;
    assert_int_equal(weft_context_acquire(device, &params, &none, NULL), WEFT_BUSY);
    assert_null(none);
    params.policy = WEFT_LEASE_WAIT_UNTIL;
    params.timeout_ns = MS;
    call c;
    prepare(&c, 5);
    assert_int_equal(weft_run(model, &c.io, &params, NULL), WEFT_TIMEOUT);
    /* Who holds one goes on all the while. */
    assert_int_equal(weft_context_run(contexts[0], model, &c.io, NULL), WEFT_OK);
    assert_true(is_right(&c));
    for (int i = 0; i < CONTEXTS; i++) {
        weft_context_release(contexts[i]);
    }
    assert_int_equal(weft_run(model, &c.io, NULL, NULL), WEFT_OK);
    weft_model_release(model);
    weft_device_release(device);
}

/* No state belongs to a thread: ten thousand threads leave nothing behind, and objects
 * pass between them. */
enum { THREADS = 10000, AT_ONCE = 8, ALLOWED_GROWTH_BYTES = 1 << 20 };

typedef struct hand_over {
    weft_model *model;
    weft_context *context; /* leased by one thread, used by the next, ... */
    weft_request *request; /* submitted by one, waited for by another */
    call c;
    uint32_t turn;
} hand_over;

static void take_over(void *user)
{
    hand_over *h = user;
    weft_device *device = weft_model_device(h->model);
    switch (h->turn++ % 4) {
    case 0:
        assert_int_equal(weft_context_acquire(device, NULL, &h->context, NULL),
                         WEFT_OK);
        break;
    case 1:
        assert_int_equal(weft_context_run(h->context, h->model, &h->c.io, NULL),
                         WEFT_OK);
        break;
    case 2:
        assert_true(is_right(&h->c));
        weft_context_release(h->context);
        assert_int_equal(weft_submit(h->model, &h->c.io, NULL, &h->request, NULL),
                         WEFT_OK);
        break;
    default:
        assert_int_equal(weft_request_wait(h->request, WEFT_FOREVER, NULL), WEFT_OK);
        weft_request_release(h->request);
    }
}

static size_t resident_bytes(void)
{
    size_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void no_state_belongs_to_a_thread(void **state)
{
    (void)state;
    static hand_over lanes[AT_ONCE];
    weft_device *device = open_device("cpu", 1, AT_ONCE);
    weft_model *model = make_model(device);
    for (int i = 0; i < AT_ONCE; i++) {
        lanes[i].model = model;
        prepare(&lanes[i].c, (uint32_t)i);
    }
    uint32_t rounds = THREADS / AT_ONCE / crew_divisor() / 4 * 4;
    size_t before = 0;
    weft_device_statistics begin, end;
    for (uint32_t round = 0; round < rounds; round++) {
        crew_thread threads[AT_ONCE];
        if (round == rounds / 4) {
            before = resident_bytes();
            weft_device_get_statistics(device, &begin);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            crew_start(&threads[i], take_over, &lanes[i]);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            crew_join(&threads[i]);
        }
    }
    weft_device_get_statistics(device, &end);
    if (crew_divisor() == 1) {
        assert_true(resident_bytes() <= before + ALLOWED_GROWTH_BYTES);
    }
    assert_int_equal(end.memory_bytes, begin.memory_bytes);
    assert_int_equal(end.accepted, end.done);
    weft_model_release(model);
    weft_device_release(device);
}

/* Whoever waits is woken when the other side fails: the n-th thing that can fail does,
 * while four threads run a model with new shapes in two contexts. None of them may wait
 * for ever, and the next run is right. */
typedef struct failing_runs {
    weft_device *device;
    weft_model *model;
    wefti_atomic_u32 wrong, failed;
} failing_runs;

static void run_or_fail(void *user, uint32_t index)
{
    failing_runs *f = user;
    call c;
    prepare(&c, index);
    weft_error error = {0};
    weft_status status = weft_run(f->model, &c.io, NULL, &error);
    bool told = status == WEFT_OK ? is_right(&c) : strlen(error.message) > 10;
    wefti_atomic_u32_add_relaxed(&f->wrong, told ? 0 : 1);
    wefti_atomic_u32_add_relaxed(&f->failed, status == WEFT_OK ? 0 : 1);
}

static void every_wait_has_a_waker_on_error_paths(void **state)
{
    (void)state;
    uint32_t failed = 0;
    bool met = true;
    for (uint64_t n = 1; met; n++) {
        weft_device *device = open_device("cpu", 0, 2);
        failing_runs f = {.model = make_model(device)};
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK |
                               1u << WEFTI_FAULT_DEVICE);
        crew_run(4, run_or_fail, &f);
        met = wefti_fault_arm(0, 0) >= n;
        failed += wefti_atomic_u32_load_acquire(&f.failed);
        run_or_fail(&f, 9);
        assert_int_equal(wefti_atomic_u32_load_acquire(&f.wrong), 0);
        weft_model_release(f.model);
        weft_device_release(device);
    }
    assert_true(failed > 0);
}

/* The n-th thing that can fail does, while one thread loads a model from its file, runs
 * it and closes it, and others run a model of the same device: their answers are right,
 * or they are told why not, and nothing is left behind. */
static void load_run_and_close(const failing_runs *f)
{
    float x[4 * 256] = {0};
    weft_graph *graph = NULL;
    weft_model *model = NULL;
    weft_error error = {0};
    weft_tensor in = {.data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {4, 256}};
    float y[4 * 128];
    weft_tensor out = {.data = y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {4, 128}};
    weft_io io = {&in, 1, &out, 1};
    weft_status status = weft_graph_load_onnx(
        WEFT_SOURCE_DIR "/tests/golden/t2_linear/dynamo/model.onnx", NULL, &graph,
        &error);
    if (status == WEFT_OK) {
        status = weft_model_create(f->device, graph, NULL, &model, &error);
    }
    if (status == WEFT_OK) {
        status = weft_run(model, &io, NULL, &error);
    }
    weft_model_release(model);
    weft_graph_release(graph);
    assert_true(status == WEFT_OK || strlen(error.message) > 10);
}

static void load_or_run(void *user, uint32_t index)
{
    failing_runs *f = user;
    if (index == 0) {
        load_run_and_close(f);
        return;
    }
    for (uint32_t i = 0; i < 20; i++) {
        run_or_fail(f, index);
    }
}

static void a_load_that_fails_disturbs_nobody(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu", 0, 4);
    failing_runs f = {.device = device, .model = make_model(device)};
    run_or_fail(&f, 9);
    weft_device_statistics before, after;
    weft_device_get_statistics(device, &before);
    bool met = true;
    for (uint64_t n = 1; met; n++) {
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK |
                               1u << WEFTI_FAULT_DEVICE);
        crew_run(3, load_or_run, &f);
        met = wefti_fault_arm(0, 0) >= n;
        assert_int_equal(wefti_atomic_u32_load_acquire(&f.wrong), 0);
        assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    }
    run_or_fail(&f, 9);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    weft_device_get_statistics(device, &after);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    assert_int_equal(wefti_atomic_u32_load_acquire(&f.wrong), 0);
    weft_model_release(f.model);
    weft_device_release(device);
}

/* A body that fails wakes who waits for its request, with its words. */
static weft_status fail_in_words(void *user, weft_error *error)
{
    crew_gate_pass(user);
    return wefti_error(error, WEFT_INTERNAL, "the body failed on purpose");
}

static void release_nothing(void *user)
{
    (void)user;
}

typedef struct waiting_for_failure {
    weft_request *request;
    wefti_atomic_u32 told;
} waiting_for_failure;

static void wait_for_failure(void *user, uint32_t index)
{
    (void)index;
    waiting_for_failure *w = user;
    weft_error error = {0};
    weft_status status = weft_request_wait(w->request, PATIENCE_NS, &error);
    bool told = status == WEFT_INTERNAL && strstr(error.message, "on purpose");
    wefti_atomic_u32_add_relaxed(&w->told, told ? 1 : 0);
}

static void open_gate(void *user)
{
    crew_gate_open(user);
}

static void a_failure_wakes_all_who_wait(void **state)
{
    (void)state;
    weft_device *device = open_device("null", 1, 1);
    crew_gate gate = CREW_GATE_INIT;
    wefti_request_work work = {
        .body = fail_in_words, .user = &gate, .release = release_nothing};
    waiting_for_failure w = {.request = NULL};
    crew_thread opener;
    assert_int_equal(wefti_request_submit(device, &work, NULL, &w.request, NULL),
                     WEFT_OK);
    crew_start(&opener, open_gate, &gate);
    crew_run(8, wait_for_failure, &w);
    crew_join(&opener);
    assert_int_equal(wefti_atomic_u32_load_acquire(&w.told), 8);
    weft_request_release(w.request);
    weft_device_release(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_waits_on_anothers_stream),
        cmocka_unit_test(one_more_user_than_contexts),
        cmocka_unit_test(no_state_belongs_to_a_thread),
        cmocka_unit_test(every_wait_has_a_waker_on_error_paths),
        cmocka_unit_test(a_load_that_fails_disturbs_nobody),
        cmocka_unit_test(a_failure_wakes_all_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
