/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling a request while its batch runs: its caller is free at once. */
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/thread.h"
#include "support/graph_text.h"
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

/* One worker that stands still until it is let go on. */
typedef struct plug {
    wefti_atomic_u32 stands, goes_on;
} plug;

static void stand_still(void *user, weft_request *request, weft_status status)
{
    plug *p = user;
    (void)request, (void)status;
    wefti_atomic_u32_store_release(&p->stands, 1);
    while (wefti_atomic_u32_load_acquire(&p->goes_on) == 0) {
        wefti_thread_yield();
    }
}

static void ignore(void *user, weft_request *request, weft_status status)
{
    (void)user, (void)request, (void)status;
}

typedef struct row {
    int64_t index;
    float y[2];
    weft_request *request;
} row;

static void submit_row(const stage *s, row *r, weft_request_callback callback,
                       void *user)
{
    weft_tensor input = {
        .data = &r->index, .type = WEFT_TYPE_I64, .rank = 1, .dims = {1}};
    weft_tensor output = {
        .data = r->y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, 2}};
    weft_io io = {&input, 1, &output, 1};
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.callback = callback;
    params.user = user;
    assert_int_equal(
        weft_queue_submit(s->queue, s->model, &io, &params, &r->request, NULL),
        WEFT_OK);
}

static void *cancel(void *user)
{
    assert_true(weft_request_cancel(user));
    return NULL;
}

/* Two requests of one batch; the one whose row makes a run fail is cancelled before it
 * is loaded. */
static void cancel_the_bad_one(bool bad_first)
{
    stage s = {.device = queue_case_device("cpu")};
    plug p;
    row plugging = {.index = 1}, good = {.index = 2}, bad = {.index = 99};
    float expected[2];
    pthread_t canceller;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    wefti_atomic_u32_init(&p.stands, 0);
    wefti_atomic_u32_init(&p.goes_on, 0);
    weft_graph *graph =
        graph_text_make("i: i64[batch]; t = f32[4,2]; y = Gather(t,i); -> y", 20);
    assert_int_equal(weft_model_create(s.device, graph, NULL, &s.model, NULL), WEFT_OK);
    weft_graph_release(graph);
    assert_int_equal(weft_queue_create(s.device, &params, &s.queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(s.queue, s.model, NULL, NULL), WEFT_OK);

    submit_row(&s, &good, ignore, NULL);
    queue_case_wait_ok(good.request);
    memcpy(expected, good.y, sizeof expected);
    memset(good.y, 0, sizeof good.y);
    submit_row(&s, &plugging, stand_still, &p);
    while (wefti_atomic_u32_load_acquire(&p.stands) == 0) {
        wefti_thread_yield();
    }
    wefti_queue_lock(s.queue);
    wefti_queue_class *class = s.queue->models->classes;
    class->alone_ns = 1000; /* so joining pays */
    class->joined_ns = 100;
    wefti_mutex_unlock(&s.queue->lock);
    submit_row(&s, bad_first ? &bad : &good, ignore, NULL);
    submit_row(&s, bad_first ? &good : &bad, ignore, NULL);
    wefti_queue_scratch *scratch = wefti_queue_scratch_create(s.queue);
    wefti_queue_batch batch = {.requests = scratch->requests};
    wefti_queue_lock(s.queue);
    wefti_queue_choose_locked(s.queue, &batch);
    wefti_mutex_unlock(&s.queue->lock);
    assert_int_equal(batch.count, 2);

    assert_int_equal(pthread_create(&canceller, NULL, cancel, bad.request), 0);
    while (wefti_atomic_u32_load_acquire(&bad.request->state) !=
           WEFTI_REQUEST_DROPPED) {
        wefti_thread_yield();
    }
    (void)wefti_queue_serve(scratch, &batch);
    pthread_join(canceller, NULL);
    queue_case_wait_ok(good.request);
    assert_memory_equal(good.y, expected, sizeof expected);

    wefti_queue_scratch_destroy(scratch);
    wefti_atomic_u32_store_release(&p.goes_on, 1);
    queue_case_wait_ok(plugging.request);
    weft_request_release(bad.request);
    weft_queue_release(s.queue);
    weft_model_release(s.model);
    weft_device_release(s.device);
}

static void test_a_cancelled_request_fails_no_other(void **state)
{
    (void)state;
    cancel_the_bad_one(false);
    cancel_the_bad_one(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_may_go_after_cancel),
        cmocka_unit_test(test_a_cancelled_request_fails_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
