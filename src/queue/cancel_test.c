/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling a request while its batch runs: its caller is free at once. */
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "support/queue_case.h"

enum { WIDTH = 128, LAYERS = 400, TRIES = 3000, ENOUGH = 5 };

static void add_product(weft_graph *graph, const char *from, const char *to)
{
    const char *const inputs[] = {from, "w"};
    weft_node node = {.op_type = "MatMul",
                      .name = to,
                      .inputs = inputs,
                      .input_count = 2,
                      .outputs = &to,
                      .output_count = 1};
    assert_int_equal(weft_graph_add_node(graph, &node, NULL), WEFT_OK);
}

/* Small tensors and much work: a chain of products. */
static weft_model *make_slow_model(weft_device *device)
{
    static float weights[WIDTH * WIDTH];
    weft_tensor w = {
        .data = weights, .type = WEFT_TYPE_F32, .rank = 2, .dims = {WIDTH, WIDTH}};
    weft_value_info input = {.name = "x0",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, WIDTH},
                             .dim_names = {"batch"}};
    weft_graph *graph;
    weft_model *model;
    char from[16], to[16];
    for (int i = 0; i < WIDTH; i++) {
        weights[i * WIDTH + i] = 1;
    }
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_input(graph, &input, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_initializer(graph, "w", &w, NULL), WEFT_OK);
    for (int i = 0; i < LAYERS; i++) {
        snprintf(from, sizeof from, "x%d", i);
        snprintf(to, sizeof to, "x%d", i + 1);
        add_product(graph, from, to);
    }
    assert_int_equal(weft_graph_add_output(graph, to, NULL), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, NULL, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    return model;
}

typedef struct stage {
    weft_device *device;
    weft_model *model;
    weft_queue *queue;
} stage;

static void set_up(stage *s)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    s->device = queue_case_device("cpu");
    s->model = make_slow_model(s->device);
    assert_int_equal(weft_queue_create(s->device, &params, &s->queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(s->queue, s->model, NULL, NULL), WEFT_OK);
}

static weft_request *submit(const stage *s, float *x, float *y)
{
    weft_tensor input = {
        .data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, WIDTH}};
    weft_tensor output = input;
    output.data = y;
    weft_io io = {&input, 1, &output, 1}; /* gone when this returns */
    weft_request *request;
    assert_int_equal(weft_queue_submit(s->queue, s->model, &io, NULL, &request, NULL),
                     WEFT_OK);
    return request;
}

static void await_running(const weft_request *request)
{
    while (wefti_atomic_u32_load_acquire(&request->state) < WEFTI_REQUEST_RUNNING) {
    }
}

/* A request in memory that goes as soon as its cancel has returned, beside one that
 * stays. Returns whether it was cancelled while it ran. */
static bool cancel_one(const stage *s, uint32_t try)
{
    enum { BYTES = WIDTH * sizeof(float) };
    float kept_x[WIDTH], kept_y[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
        kept_x[i] = (float)i + (float)try;
        kept_y[i] = -1;
    }
    float *lent = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(lent, MAP_FAILED);
    weft_request *cancelled = submit(s, lent, lent + WIDTH);
    weft_request *kept = submit(s, kept_x, kept_y);
    await_running(cancelled);
    bool won = weft_request_cancel(cancelled);
    if (!won) {
        assert_int_equal(weft_request_wait(cancelled, WEFT_FOREVER, NULL), WEFT_OK);
    }
    munmap(lent, 2 * BYTES); /* whoever touches it now ends this program */
    weft_status status;
    assert_true(weft_request_test(cancelled, &status)); /* free at once */
    assert_int_equal(status, won ? WEFT_CANCELLED : WEFT_OK);
    weft_request_release(cancelled);
    queue_case_wait_ok(kept);
    assert_memory_equal(kept_x, kept_y, BYTES);
    return won;
}

static void test_memory_may_go_after_cancel(void **state)
{
    (void)state;
    stage s;
    uint32_t won = 0;
    set_up(&s);
    for (uint32_t try = 0; try < TRIES && won < ENOUGH; try++) {
        won += cancel_one(&s, try);
    }
    assert_true(won > 0);
    weft_queue_statistics n;
    assert_int_equal(weft_queue_drain(s.queue, WEFT_FOREVER, NULL), WEFT_OK);
    weft_queue_get_statistics(s.queue, &n);
    assert_int_equal(n.cancelled, won);
    assert_int_equal(n.accepted, n.cancelled + n.done);
    weft_queue_release(s.queue);
    weft_model_release(s.model);
    weft_device_release(s.device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_may_go_after_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
