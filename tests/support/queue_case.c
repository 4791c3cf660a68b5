/* SPDX-License-Identifier: Apache-2.0 */
#include "support/queue_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue/queue.h"

enum {
    FEATURES = QUEUE_CASE_FEATURES,
    OUTPUTS = QUEUE_CASE_OUTPUTS,
    TABLE = QUEUE_CASE_TABLE,
};

static const int64_t PATIENCE_NS = INT64_C(60000000000);

static void add_input(weft_graph *graph, const char *name, weft_type type, int32_t rank)
{
    weft_value_info info = {.name = name,
                            .type = type,
                            .rank = rank,
                            .dims = {WEFT_DIM_DYNAMIC, FEATURES},
                            .dim_names = {"batch"}};
    assert_int_equal(weft_graph_add_input(graph, &info, NULL), WEFT_OK);
}

static void add_weights(weft_graph *graph, const char *name, int64_t rows,
                        const weft_random_key *key)
{
    float data[FEATURES * OUTPUTS];
    weft_random_fill_normal(key, data, (size_t)(rows * OUTPUTS));
    weft_tensor tensor = {
        .data = data, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, OUTPUTS}};
    assert_int_equal(weft_graph_add_initializer(graph, name, &tensor, NULL), WEFT_OK);
}

static void add_node(weft_graph *graph, const char *op_type, const char *a,
                     const char *b, const char *output)
{
    const char *const inputs[] = {a, b};
    weft_node node = {.op_type = op_type,
                      .name = output,
                      .inputs = inputs,
                      .input_count = b ? 2 : 1,
                      .outputs = &output,
                      .output_count = 1};
    assert_int_equal(weft_graph_add_node(graph, &node, NULL), WEFT_OK);
}

weft_model *queue_case_model(weft_device *device, uint64_t seed)
{
    weft_graph *graph;
    weft_model *model;
    weft_error error;
    weft_random_key key = {.seed = seed, .stream = 1};
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    add_input(graph, "x", WEFT_TYPE_F32, 2);
    add_input(graph, "i", WEFT_TYPE_I64, 1);
    add_weights(graph, "w", FEATURES, &key);
    key.stream = 2;
    add_weights(graph, "table", TABLE, &key);
    add_node(graph, "MatMul", "x", "w", "xw");
    add_node(graph, "Gather", "table", "i", "t");
    add_node(graph, "Add", "xw", "t", "sum");
    add_node(graph, "Relu", "sum", NULL, "y");
    assert_int_equal(weft_graph_add_output(graph, "y", NULL), WEFT_OK);
    if (weft_model_create(device, graph, NULL, &model, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    weft_graph_release(graph);
    return model;
}

void queue_case_prepare(queue_case_call *call, int64_t rows, uint32_t thread,
                        uint32_t iteration)
{
    weft_random_key key = {
        .seed = 3, .stream = 4, .thread = thread, .iteration = iteration};
    assert_true(rows <= QUEUE_CASE_ROWS);
    weft_random_fill_normal(&key, call->x, (size_t)(rows * FEATURES));
    for (int64_t r = 0; r < rows; r++) {
        call->i[r] = (int64_t)(thread * 7 + iteration * 3 + (uint32_t)r) % TABLE;
    }
    memset(call->y, 0xff, sizeof call->y);
    call->inputs[0] = (weft_tensor){
        .data = call->x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, FEATURES}};
    call->inputs[1] = (weft_tensor){
        .data = call->i, .type = WEFT_TYPE_I64, .rank = 1, .dims = {rows}};
    call->outputs[0] = (weft_tensor){
        .data = call->y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, OUTPUTS}};
    call->io = (weft_io){call->inputs, 2, call->outputs, 1};
    call->y_bytes = (size_t)rows * OUTPUTS * sizeof call->y[0];
}

void queue_case_solve(queue_case_call *call, weft_model *model, int64_t rows,
                      uint32_t thread, uint32_t iteration)
{
    weft_error error;
    queue_case_prepare(call, rows, thread, iteration);
    if (weft_run(model, &call->io, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    memcpy(call->alone, call->y, sizeof call->alone);
    memset(call->y, 0xff, sizeof call->y);
}

bool queue_case_is_right(const queue_case_call *call)
{
    return memcmp(call->y, call->alone, call->y_bytes) == 0;
}

weft_device *queue_case_device(const char *name)
{
    weft_device *device;
    weft_error error;
    if (weft_device_open(name, NULL, &device, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    return device;
}

static void hold_worker(void *user, weft_request *request, weft_status status)
{
    queue_case_plug *plug = user;
    (void)request;
    (void)status;
    crew_gate_open(&plug->began);
    crew_gate_pass(&plug->gate);
    crew_gate_open(&plug->gone);
}

void queue_case_plug_in(queue_case_plug *plug, weft_queue *queue, weft_model *model)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    *plug = (queue_case_plug){
        .began = CREW_GATE_INIT, .gate = CREW_GATE_INIT, .gone = CREW_GATE_INIT};
    queue_case_prepare(&plug->call, 1, 99, 0);
    params.callback = hold_worker;
    params.user = plug;
    params.priority = 1;
    assert_int_equal(
        weft_queue_submit(queue, model, &plug->call.io, &params, &plug->request, NULL),
        WEFT_OK);
    crew_gate_pass(&plug->began);
}

void queue_case_plug_out(queue_case_plug *plug)
{
    crew_gate_open(&plug->gate);
    crew_gate_pass(&plug->gone);
    assert_int_equal(weft_request_wait(plug->request, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(plug->request);
}

void queue_case_set_up(queue_case *self, const weft_queue_params *params)
{
    weft_error error;
    self->device = queue_case_device("cpu");
    self->model = queue_case_model(self->device, 42);
    if (weft_queue_create(self->device, params, &self->queue, &error) != WEFT_OK ||
        weft_queue_add_model(self->queue, self->model, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
}

void queue_case_end(const queue_case *self)
{
    weft_queue_statistics s;
    weft_queue_close(self->queue);
    assert_int_equal(weft_queue_drain(self->queue, PATIENCE_NS, NULL), WEFT_OK);
    weft_queue_get_statistics(self->queue, &s);
    assert_int_equal(s.accepted, s.done + s.failed + s.cancelled + s.timed_out);
    assert_int_equal(s.waiting, 0);
}

void queue_case_tear_down(queue_case *self)
{
    if (self->queue) {
        queue_case_end(self);
    }
    weft_queue_release(self->queue);
    weft_model_release(self->model);
    weft_device_release(self->device);
}

weft_request *queue_case_submit(const queue_case *self, queue_case_call *call,
                                const weft_queue_submit_params *params)
{
    weft_request *request = NULL;
    weft_error error;
    if (weft_queue_submit(self->queue, self->model, &call->io, params, &request,
                          &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    return request;
}

void queue_case_wait_ok(weft_request *request)
{
    weft_error error;
    if (weft_request_wait(request, PATIENCE_NS, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    weft_request_release(request);
}

void queue_case_warm_up(const queue_case *self)
{
    queue_case_call call;
    for (uint32_t i = 0; i < 3; i++) {
        queue_case_solve(&call, self->model, 1, 0, i);
        queue_case_wait_ok(queue_case_submit(self, &call, NULL));
        assert_true(queue_case_is_right(&call));
    }
}

void queue_case_fill_up(queue_case *self, queue_case_plug *plug, queue_case_call *call,
                        weft_request **waiting)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_queue_size = 1;
    queue_case_set_up(self, &params);
    queue_case_plug_in(plug, self->queue, self->model);
    queue_case_solve(call, self->model, 1, 8, 8);
    *waiting = queue_case_submit(self, call, NULL);
}

void queue_case_keep_core(const queue_case *self, uint32_t objects,
                          queue_case_core *core)
{
    queue_case_call *calls = calloc(QUEUE_CASE_OBJECTS, sizeof *calls);
    weft_request *requests[QUEUE_CASE_OBJECTS];
    assert_true(calls && objects <= QUEUE_CASE_OBJECTS);
    core->kept = wefti_thread_keep_core(0, 1024, &core->before);
    for (uint32_t i = 0; i < objects; i++) {
        queue_case_prepare(&calls[i], 1, 0, 0);
        requests[i] = queue_case_submit(self, &calls[i], NULL);
    }
    for (uint32_t i = 0; i < objects; i++) {
        queue_case_wait_ok(requests[i]);
    }
    free(calls);
}

void queue_case_free_core(const queue_case_core *core)
{
    if (core->kept) {
        wefti_thread_free_core(&core->before);
    }
}

void queue_case_expect_posts(weft_queue *queue, const weft_model *model)
{
    wefti_queue_lock(queue);
    wefti_queue_class *class = wefti_queue_find_model_locked(queue, model)->classes;
    class->alone_ns = 1000;
    wefti_atomic_u64_store_relaxed(&class->hint_row_ns, 1000);
    wefti_atomic_u64_store_relaxed(&class->hint_promises_ns, 0);
    wefti_mutex_unlock(&queue->lock);
    wefti_patience_init(&queue->promises);
}

uint32_t queue_case_count_posts(weft_queue *queue)
{
    uint32_t posts = 0;
    for (size_t i = 0; i < WEFTI_QUEUE_POOLS; i++) {
        wefti_mutex_lock(&queue->pools[i].lock);
        posts += queue->pools[i].post_count;
        wefti_mutex_unlock(&queue->pools[i].lock);
    }
    return posts;
}

/* Calls of a class, or of all of a model, that the pools remember. */
static size_t count_recents(weft_queue *queue, const wefti_queue_model *model,
                            const wefti_queue_class *class)
{
    size_t count = 0;
    for (size_t i = 0; i < WEFTI_QUEUE_POOLS; i++) {
        const wefti_queue_recent *recents = &queue->pools[i].recents[0][0];
        wefti_mutex_lock(&queue->pools[i].lock);
        for (size_t k = 0; k < WEFTI_QUEUE_RECENT_SETS * WEFTI_QUEUE_RECENTS; k++) {
            count += recents[k].model == model && (!class || recents[k].class == class);
        }
        wefti_mutex_unlock(&queue->pools[i].lock);
    }
    return count;
}

void queue_case_check_holds(weft_queue *queue)
{
    wefti_mutex_lock(&queue->lock);
    for (const wefti_queue_model *m = queue->models; m; m = m->next) {
        assert_int_equal(m->users, count_recents(queue, m, NULL));
        for (const wefti_queue_class *c = m->classes; c; c = c->next) {
            assert_int_equal(c->live_count, c->own_count + c->foreign_count +
                                                count_recents(queue, m, c));
        }
    }
    wefti_mutex_unlock(&queue->lock);
}
