/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a batch queue: submit, block on a full one, cancel, time out, drain,
 * close. The model is made outside the schedule, queue and threads are part of it. */
#include "schedule/scenario.h"

#include <stdlib.h>
#include <string.h>

#include <weft/weft.h>

#include "base/thread.h"
#include "queue/queue.h"

enum { MS = 1000000, FEATURES = 3, MOST_CALLS = 6, QUEUE_DIVISOR = 6 };

typedef struct queue_call {
    float x[FEATURES], y[FEATURES];
    weft_tensor inputs[1], outputs[1];
    weft_io io;
} queue_call;

typedef struct queue_stage {
    weft_device *device;
    weft_model *model;
    weft_queue *queue;
    weft_event *gate; /* what the plug waits for */
    queue_call calls[MOST_CALLS];
    weft_request *request, *ordered[3];
    uint32_t accepted, cancelled, callbacks, told_done, told_cancelled, told_late;
    bool drained, plugged, submitting, leaves;
    uint32_t violations;
} queue_stage;

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
    weft_model *model = NULL;
    scenario_require(weft_graph_create(18, &graph, NULL) == WEFT_OK &&
                         weft_graph_add_input(graph, &input, NULL) == WEFT_OK &&
                         weft_graph_add_node(graph, &node, NULL) == WEFT_OK &&
                         weft_graph_add_output(graph, "y", NULL) == WEFT_OK &&
                         weft_model_create(device, graph, NULL, &model, NULL) ==
                             WEFT_OK,
                     "a model");
    weft_graph_release(graph);
    return model;
}

static void *set_queue_stage(void)
{
    queue_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = 2;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK &&
                         weft_event_create(s->device, false, &s->gate, NULL) == WEFT_OK,
                     "a device");
    s->model = make_model(s->device);
    for (int i = 0; i < MOST_CALLS; i++) {
        queue_call *c = &s->calls[i];
        c->inputs[0] = (weft_tensor){
            .data = c->x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, FEATURES}};
        c->outputs[0] = c->inputs[0];
        c->outputs[0].data = c->y;
        c->io = (weft_io){c->inputs, 1, c->outputs, 1};
    }
    return s;
}

static bool check_queue_stage(void *state)
{
    queue_stage *s = state;
    bool right = s->violations == 0;
    weft_event_release(s->gate);
    weft_model_release(s->model);
    weft_device_release(s->device);
    free(s);
    return right;
}

static void open_queue(queue_stage *s, int32_t workers, int32_t max_queue_size,
                       bool preserve_order)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = workers;
    params.max_queue_size = max_queue_size;
    params.max_batch_size = 2;
    params.preserve_order = preserve_order;
    scenario_require(
        weft_queue_create(s->device, &params, &s->queue, NULL) == WEFT_OK &&
            weft_queue_add_model(s->queue, s->model, NULL, NULL) == WEFT_OK,
        "a queue");
}

static void count_callback(void *user, weft_request *request, weft_status status)
{
    (void)request;
    queue_stage *s = user;
    s->violations += s->drained;
    s->callbacks++;
    s->told_done += status == WEFT_OK;
    s->told_cancelled += status == WEFT_CANCELLED;
    s->told_late += status == WEFT_TIMEOUT;
}

/* Keeps the thread that ends it, until the gate opens. */
static void plug_callback(void *user, weft_request *request, weft_status status)
{
    queue_stage *s = user;
    s->plugged = true;
    s->violations += weft_event_wait(s->gate, 1, WEFT_FOREVER, NULL) != WEFT_OK;
    count_callback(user, request, status);
}

static weft_status submit(queue_stage *s, int call, int64_t timeout_us,
                          weft_request_callback callback, weft_request **request)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.callback = callback;
    params.user = s;
    params.timeout_us = timeout_us;
    weft_status status = weft_queue_submit(s->queue, s->model, &s->calls[call].io,
                                           &params, request, NULL);
    s->accepted += status == WEFT_OK;
    s->violations += (status == WEFT_OK) != (*request != NULL);
    return status;
}

/* Once drain has answered nothing runs, nobody is called, and the sums are right. */
static void end_queue(queue_stage *s)
{
    weft_queue_statistics n;
    weft_queue_close(s->queue);
    s->violations += weft_queue_drain(s->queue, WEFT_FOREVER, NULL) != WEFT_OK;
    s->drained = true;
    weft_queue_get_statistics(s->queue, &n);
    s->violations += n.accepted != n.done + n.failed + n.cancelled + n.timed_out;
    s->violations += n.done != s->told_done || n.cancelled != s->told_cancelled ||
                     n.timed_out != s->told_late || n.waiting != 0;
}

static void start(wefti_thread *thread, void (*function)(void *), queue_stage *s)
{
    scenario_require(wefti_thread_start(thread, "user", function, s, NULL) == WEFT_OK,
                     "a thread");
}

/* Submits until told that the queue is closed; its request ends. */
static void submit_until_closed(queue_stage *s, int first_call)
{
    weft_status status = WEFT_OK;
    for (int i = 0; i < 2 && status == WEFT_OK; i++) {
        weft_request *request;
        status = submit(s, first_call + i, 0, count_callback, &request);
        if (status == WEFT_OK) {
            s->violations += weft_request_wait(request, WEFT_FOREVER, NULL) != WEFT_OK;
            weft_request_release(request);
        }
    }
    s->violations += status != WEFT_OK && status != WEFT_CLOSED;
}

static void submit_first(void *argument)
{
    submit_until_closed(argument, 0);
}

static void submit_second(void *argument)
{
    submit_until_closed(argument, 2);
}

static void submit_against_close(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread first, second;
    open_queue(s, 1, 0, false);
    start(&first, submit_first, s);
    start(&second, submit_second, s);
    end_queue(s);
    wefti_thread_join(&first);
    wefti_thread_join(&second);
    s->violations += s->callbacks != s->accepted;
    weft_queue_release(s->queue);
}

/* Fills the queue's only place behind a worker that is kept busy. */
static weft_request *plug_and_fill(queue_stage *s)
{
    weft_request *plug, *waiting;
    s->violations += submit(s, 0, 0, plug_callback, &plug) != WEFT_OK;
    while (!s->plugged) {
        wefti_thread_yield();
    }
    s->violations += submit(s, 1, 0, count_callback, &waiting) != WEFT_OK;
    weft_request_release(plug);
    return waiting;
}

static void open_gate(queue_stage *s)
{
    s->violations += weft_event_signal(s->gate, 1, NULL) != WEFT_OK;
}

/* A producer without room is told of the closing while the worker stands still. */
static void produce_until_closed(void *argument)
{
    queue_stage *s = argument;
    weft_request *request;
    s->violations += submit(s, 2, 0, count_callback, &request) != WEFT_CLOSED;
    open_gate(s);
}

static void close_when_full(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread producer;
    open_queue(s, 1, 1, false);
    weft_request *waiting = plug_and_fill(s);
    start(&producer, produce_until_closed, s);
    weft_queue_close(s->queue);
    wefti_thread_join(&producer);
    weft_request_release(waiting);
    end_queue(s);
    s->violations += s->callbacks != 2 || s->accepted != 2;
    weft_queue_release(s->queue);
}

/* A producer without room gets that of a request that is cancelled. */
static void produce(void *argument)
{
    queue_stage *s = argument;
    weft_request *request;
    s->violations += submit(s, 2, 0, count_callback, &request) != WEFT_OK;
    open_gate(s);
    weft_request_release(request);
}

static void cancel_frees_the_place(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread producer;
    open_queue(s, 1, 1, false);
    weft_request *waiting = plug_and_fill(s);
    start(&producer, produce, s);
    s->violations += !weft_request_cancel(waiting);
    weft_request_release(waiting);
    wefti_thread_join(&producer);
    end_queue(s);
    s->violations += s->told_cancelled != 1 || s->told_done != 2;
    weft_queue_release(s->queue);
}

/* Two without room, of whom one may be too late for it when it comes: the other must
 * hear of it all the same. */
static void produce_in_time(void *argument)
{
    queue_stage *s = argument;
    weft_request *request;
    weft_status status = submit(s, 2, 500, count_callback, &request);
    s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
    weft_request_release(request);
}

static void produce_at_any_time(void *argument)
{
    queue_stage *s = argument;
    weft_request *request;
    s->violations += submit(s, 3, 0, count_callback, &request) != WEFT_OK;
    weft_request_release(request);
}

static void room_comes_too_late(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread first, second;
    open_queue(s, 1, 1, false);
    weft_request *waiting = plug_and_fill(s);
    start(&first, produce_in_time, s);
    start(&second, produce_at_any_time, s);
    open_gate(s);
    wefti_thread_yield();
    explore_pass_time(MS); /* also of who has just been woken */
    wefti_thread_join(&first);
    wefti_thread_join(&second);
    weft_request_release(waiting);
    end_queue(s);
    s->violations += s->callbacks != s->accepted;
    weft_queue_release(s->queue);
}

/* Who cancels is free at once: nothing is written to its output any more. */
static void cancel_request(void *argument)
{
    queue_stage *s = argument;
    bool won = weft_request_cancel(s->request);
    weft_status status;
    bool ended = weft_request_test(s->request, &status);
    s->cancelled += won;
    s->violations += won && ended && status != WEFT_CANCELLED;
    weft_request_release(s->request);
}

static void cancel_against_start(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread first, second;
    weft_request *request;
    open_queue(s, 1, 0, false);
    s->violations += submit(s, 0, 0, count_callback, &request) != WEFT_OK;
    s->request = weft_request_retain(request);
    weft_request_retain(request);
    start(&first, cancel_request, s);
    start(&second, cancel_request, s);
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += status != WEFT_OK && status != WEFT_CANCELLED;
    wefti_thread_join(&first);
    wefti_thread_join(&second);
    s->violations += s->cancelled != (status == WEFT_CANCELLED);
    weft_request_release(request);
    end_queue(s);
    s->violations += s->callbacks != 1;
    weft_queue_release(s->queue);
}

/* Two requests with a deadline, a worker, the timer. */
static void time_out_against_completion(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    weft_request *requests[2];
    open_queue(s, 1, 0, false);
    for (int i = 0; i < 2; i++) {
        s->violations += submit(s, i, 1000 + i, count_callback, &requests[i]);
    }
    for (int i = 0; i < 2; i++) {
        weft_status status = weft_request_wait(requests[i], WEFT_FOREVER, NULL);
        s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
        weft_request_release(requests[i]);
    }
    end_queue(s);
    s->violations += s->callbacks != 2;
    weft_queue_release(s->queue);
}

/* Its time runs out while the only worker stands still; so does that of one without
 * room. */
static void time_out_behind_another(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    weft_request *plug, *waiting, *refused;
    open_queue(s, 1, 1, false);
    s->violations += submit(s, 0, 0, plug_callback, &plug) != WEFT_OK;
    while (!s->plugged) {
        wefti_thread_yield();
    }
    s->violations += submit(s, 1, 1000, count_callback, &waiting) != WEFT_OK;
    weft_status status = submit(s, 2, 500, count_callback, &refused);
    s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
    s->violations += weft_request_wait(waiting, WEFT_FOREVER, NULL) != WEFT_TIMEOUT;
    if (status == WEFT_OK) {
        (void)weft_request_cancel(refused);
    }
    open_gate(s);
    weft_request_release(plug);
    weft_request_release(waiting);
    weft_request_release(refused);
    end_queue(s);
    s->violations += s->callbacks != s->accepted;
    weft_queue_release(s->queue);
}

/* A drain whose time runs out cancels what waits; the next one waits for the rest. */
static void drain_with_deadline(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    weft_request *requests[3];
    open_queue(s, 1, 0, false);
    for (int i = 0; i < 3; i++) {
        s->violations += submit(s, i, 0, count_callback, &requests[i]) != WEFT_OK;
    }
    weft_status status = weft_queue_drain(s->queue, MS, NULL);
    s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
    s->violations += status == WEFT_OK && s->told_done != 3;
    for (int i = 0; i < 3; i++) {
        status = weft_request_wait(requests[i], WEFT_FOREVER, NULL);
        s->violations += status != WEFT_OK && status != WEFT_CANCELLED;
        weft_request_release(requests[i]);
    }
    end_queue(s);
    s->violations += s->callbacks != 3;
    weft_queue_release(s->queue);
}

/* The last owner goes in a callback, on a worker or on who cancels. */
static void callback_that_leaves(void *user, weft_request *request, weft_status status)
{
    queue_stage *s = user;
    count_callback(user, request, status);
    weft_queue_release(s->queue);
}

static void leave_in_a_callback(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    weft_request *first, *second;
    open_queue(s, 2, 0, false);
    weft_queue_retain(s->queue); /* one for each callback to drop */
    s->violations += submit(s, 0, 1000, callback_that_leaves, &first) != WEFT_OK;
    s->violations += submit(s, 1, 1000, callback_that_leaves, &second) != WEFT_OK;
    (void)weft_request_cancel(second);
    for (int i = 0; i < 2; i++) {
        weft_request *request = i == 0 ? first : second;
        weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
        s->violations +=
            status != WEFT_OK && status != WEFT_CANCELLED && status != WEFT_TIMEOUT;
    }
    weft_request_release(first);
    weft_request_release(second); /* may be the last that keeps the queue's memory */
}

static bool check_left(void *state)
{
    queue_stage *s = state;
    s->violations += s->callbacks != 2;
    return check_queue_stage(s);
}

/* A model is taken out and put in again while others submit to it. */
static void submit_or_not_found(void *argument)
{
    queue_stage *s = argument;
    for (int i = 0; i < 2; i++) {
        weft_request *request;
        weft_status status = submit(s, i, 0, count_callback, &request);
        s->violations += status != WEFT_OK && status != WEFT_NOT_FOUND;
        if (status == WEFT_OK) {
            s->violations += weft_request_wait(request, WEFT_FOREVER, NULL) != WEFT_OK;
            weft_request_release(request);
        }
    }
}

static void swap_the_model(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread user;
    open_queue(s, 1, 0, false);
    start(&user, submit_or_not_found, s);
    s->violations += weft_queue_remove_model(s->queue, s->model, NULL) != WEFT_OK;
    s->violations += weft_queue_add_model(s->queue, s->model, NULL, NULL) != WEFT_OK;
    weft_request *request;
    s->violations += submit(s, 4, 0, count_callback, &request) != WEFT_OK;
    s->violations += weft_request_wait(request, WEFT_FOREVER, NULL) != WEFT_OK;
    weft_request_release(request);
    wefti_thread_join(&user);
    end_queue(s);
    s->violations += s->callbacks != s->accepted;
    weft_queue_release(s->queue);
}

/* Two workers end requests as they like, a third thread cancels one: they are announced
 * in the order of submission all the same. */
static void check_order(void *user, weft_request *request, weft_status status)
{
    queue_stage *s = user;
    for (uint32_t i = 0; i < 3; i++) {
        s->violations += s->ordered[i] == request && s->callbacks != i;
    }
    count_callback(user, request, status);
}

static void keep_order(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread canceller;
    open_queue(s, 2, 0, true);
    for (int i = 0; i < 3; i++) {
        s->violations += submit(s, i, 0, check_order, &s->ordered[i]) != WEFT_OK;
    }
    s->request = weft_request_retain(s->ordered[1]);
    start(&canceller, cancel_request, s);
    for (int i = 0; i < 3; i++) {
        weft_status status = weft_request_wait(s->ordered[i], WEFT_FOREVER, NULL);
        s->violations += status != WEFT_OK && (i != 1 || status != WEFT_CANCELLED);
    }
    wefti_thread_join(&canceller);
    end_queue(s);
    s->violations += s->callbacks != 3;
    for (int i = 0; i < 3; i++) {
        weft_request_release(s->ordered[i]);
    }
    weft_queue_release(s->queue);
}

/* Two are joined, or not, while one of them is cancelled. */
static void cancel_in_a_batch(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread canceller;
    weft_request *requests[4];
    open_queue(s, 1, 0, false);
    for (int i = 0; i < 4; i++) {
        s->violations += submit(s, i, 0, count_callback, &requests[i]) != WEFT_OK;
    }
    s->request = weft_request_retain(requests[3]);
    start(&canceller, cancel_request, s);
    for (int i = 0; i < 4; i++) {
        weft_status status = weft_request_wait(requests[i], WEFT_FOREVER, NULL);
        s->violations += status != WEFT_OK && (i != 3 || status != WEFT_CANCELLED);
        weft_request_release(requests[i]);
    }
    wefti_thread_join(&canceller);
    end_queue(s);
    s->violations += s->callbacks != 4;
    weft_queue_release(s->queue);
}

/* What goes back into the queue, because its batch did not fit together, while it is
 * being cancelled has not begun: so it can be cancelled, whenever that is. */
static void cancel_against_return(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread canceller;
    weft_request *plug, *request;
    open_queue(s, 1, 0, false);
    s->violations += submit(s, 0, 0, plug_callback, &plug) != WEFT_OK;
    while (!s->plugged) {
        wefti_thread_yield();
    }
    s->violations += submit(s, 1, 0, count_callback, &request) != WEFT_OK;
    s->request = weft_request_retain(request);
    wefti_queue_scratch *scratch = wefti_queue_scratch_create(s->queue);
    scenario_require(scratch != NULL, "memory");
    wefti_queue_batch batch = {.requests = scratch->requests};
    wefti_queue_lock(s->queue);
    wefti_queue_choose_locked(s->queue, &batch);
    wefti_mutex_unlock(&s->queue->lock);
    s->violations += batch.count != 1;
    start(&canceller, cancel_request, s);
    wefti_queue_give_back(s->queue, &batch, 0, NULL);
    wefti_queue_lock(s->queue);
    wefti_queue_account_locked(s->queue, &batch, 0);
    wefti_mutex_unlock(&s->queue->lock);
    wefti_thread_join(&canceller);
    wefti_queue_scratch_destroy(scratch);
    s->violations += s->cancelled != 1;
    open_gate(s);
    weft_request_release(plug);
    weft_request_release(request);
    end_queue(s);
    weft_queue_release(s->queue);
}

#define QUEUE_SCENARIO(title, function, ...)                                           \
    {                                                                                  \
        .divisor = QUEUE_DIVISOR,                                                      \
        .what = {.name = title,                                                        \
                 .thread_count = 1,                                                    \
                 .set_up = set_queue_stage,                                            \
                 .run = function,                                                      \
                 .check = check_queue_stage},                                          \
        .guards = {                                                                    \
            __VA_ARGS__                                                                \
        }                                                                              \
    }

/* From then on it is known that a run is short. */
static void learn_the_cost(queue_stage *s)
{
    weft_request *request;
    s->violations += submit(s, 0, 0, count_callback, &request) != WEFT_OK;
    s->violations += weft_request_wait(request, WEFT_FOREVER, NULL) != WEFT_OK;
    weft_request_release(request);
    s->violations += weft_queue_drain(s->queue, WEFT_FOREVER, NULL) != WEFT_OK;
}

/* Who waits runs its request itself, beside the worker. */
static void submit_and_wait(void *argument)
{
    queue_stage *s = argument;
    for (int i = 0; i < 2; i++) {
        weft_request *request;
        s->violations += submit(s, 2, 0, NULL, &request) != WEFT_OK;
        s->violations += weft_request_wait(request, WEFT_FOREVER, NULL) != WEFT_OK;
        weft_request_release(request);
    }
}

/* Looks, which wakes nobody, where a wait, a drain or a close would. */
static void look_until_done(weft_request *request)
{
    while (!weft_request_test(request, NULL)) {
        wefti_thread_yield();
    }
    weft_request_release(request);
}

/* And who does not wait is served all the same. */
static void lead(queue_stage *s, int32_t workers)
{
    wefti_thread waiter;
    weft_request *left;
    open_queue(s, workers, 0, false);
    learn_the_cost(s);
    start(&waiter, submit_and_wait, s);
    s->violations += submit(s, 1, 0, NULL, &left) != WEFT_OK;
    wefti_thread_join(&waiter);
    look_until_done(left);
    s->told_done += 3; /* whose ends were told to nobody */
    end_queue(s);
    weft_queue_release(s->queue);
}

static void lead_alone(void *state, uint32_t index)
{
    (void)index;
    lead(state, 1);
}

static void lead_beside_workers(void *state, uint32_t index)
{
    (void)index;
    lead(state, 2);
}

/* A caller that always waited for its requests, and then does not. */
static void break_a_promise(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    weft_request *left;
    open_queue(s, 1, 0, false);
    learn_the_cost(s);
    submit_and_wait(s);
    s->violations += submit(s, 1, 0, NULL, &left) != WEFT_OK;
    look_until_done(left);
    s->told_done += 3;
    end_queue(s);
    weft_queue_release(s->queue);
}

/* A queue whose recent requests can be posted, in most schedules. */
static void open_for_posts(queue_stage *s, int32_t workers)
{
    weft_request *requests[2];
    open_queue(s, workers, 0, false);
    learn_the_cost(s);
    for (int i = 0; i < 2; i++) { /* objects for as many posts at a time */
        s->violations += submit(s, 2 + i, 0, NULL, &requests[i]) != WEFT_OK;
    }
    for (int i = 0; i < 2; i++) {
        s->violations += weft_request_wait(requests[i], WEFT_FOREVER, NULL) != WEFT_OK;
        weft_request_release(requests[i]);
    }
    s->told_done += 2;
}

/* Posts as the worker's watch ends, and does not wait. */
static void post_against_sleep(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    weft_request *left;
    open_for_posts(s, 1);
    wefti_thread_sleep(WEFTI_QUEUE_PROMISE_NS);
    s->violations += submit(s, 1, 0, NULL, &left) != WEFT_OK;
    look_until_done(left);
    s->told_done++;
    end_queue(s);
    weft_queue_release(s->queue);
}

/* Unless it comes too late. */
static void post_and_wait(void *argument)
{
    queue_stage *s = argument;
    weft_request *request;
    for (int i = 1; i < 3; i++) {
        if (submit(s, i, 0, NULL, &request) == WEFT_OK) {
            s->told_done++;
            s->violations += weft_request_wait(request, WEFT_FOREVER, NULL) != WEFT_OK;
            weft_request_release(request);
        }
    }
}

/* What was drained after it was closed has nothing more to run. */
static void close_against_poster(queue_stage *s)
{
    wefti_thread poster;
    weft_queue_statistics before, after;
    start(&poster, post_and_wait, s);
    weft_queue_close(s->queue);
    s->violations += weft_queue_drain(s->queue, WEFT_FOREVER, NULL) != WEFT_OK;
    weft_queue_get_statistics(s->queue, &before);
    wefti_thread_join(&poster);
    weft_queue_get_statistics(s->queue, &after);
    s->violations += before.accepted != after.accepted || before.done != after.done;
    end_queue(s);
    weft_queue_release(s->queue);
}

static void post_against_close(void *state, uint32_t index)
{
    (void)index;
    open_for_posts(state, 1);
    close_against_poster(state);
}

/* A model goes, with its classes, when nobody is about to post to it any more. */
static void post_against_remove(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread poster;
    open_for_posts(s, 1);
    start(&poster, post_and_wait, s);
    s->violations += weft_queue_remove_model(s->queue, s->model, NULL) != WEFT_OK;
    s->violations += weft_queue_add_model(s->queue, s->model, NULL, NULL) != WEFT_OK;
    wefti_thread_join(&poster);
    end_queue(s);
    weft_queue_release(s->queue);
}

/* A post that is cancelled is in no box any more. */
static void post_against_cancel(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread poster;
    weft_request *left;
    open_for_posts(s, 1);
    start(&poster, post_and_wait, s);
    s->violations += submit(s, 3, 0, NULL, &left) != WEFT_OK;
    bool cancelled = weft_request_cancel(left);
    s->told_cancelled += cancelled;
    s->told_done += !cancelled;
    s->violations +=
        (weft_request_wait(left, WEFT_FOREVER, NULL) == WEFT_OK) == cancelled;
    weft_request_release(left);
    wefti_thread_join(&poster);
    end_queue(s);
    weft_queue_release(s->queue);
}

/* From here on the class counts as crowded: its requests are left to workers. */
static void crowd(queue_stage *s)
{
    wefti_mutex_lock(&s->queue->lock);
    wefti_queue_class *class = s->queue->models->classes;
    class->crowd = 1e6;
    class->alone_ns = 1e5;
    class->joined_ns = 1e3;
    wefti_atomic_u32_store_relaxed(&class->hint_crowded,
                                   wefti_queue_is_class_crowded_locked(class));
    wefti_mutex_unlock(&s->queue->lock);
}

/* Posts that nobody but the worker takes, as it goes to sleep. */
static void post_in_a_crowd(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread poster;
    weft_request *left;
    open_for_posts(s, 1);
    crowd(s);
    start(&poster, post_and_wait, s);
    s->violations += submit(s, 3, 0, NULL, &left) != WEFT_OK;
    look_until_done(left);
    s->told_done++;
    wefti_thread_join(&poster);
    end_queue(s);
    weft_queue_release(s->queue);
}

/* And as the queue is closed. */
static void post_in_a_closing_crowd(void *state, uint32_t index)
{
    (void)index;
    open_for_posts(state, 1);
    crowd(state);
    close_against_poster(state);
}

/* ---- a device that fails for good ---- */

static const wefti_backend *whole_backend;
static wefti_backend losable;
static wefti_atomic_u32 lost;

static weft_status lost_health(const wefti_backend_device *device, weft_error *error)
{
    (void)device;
    return wefti_atomic_u32_load_acquire(&lost) != 0
               ? wefti_error(error, WEFT_DEVICE_LOST, "lost")
               : WEFT_OK;
}

static weft_status lost_execute(wefti_backend_stream *stream, wefti_recipe *recipe,
                                void *const *slots, size_t slot_count,
                                weft_error *error)
{
    WEFTI_TRY(lost_health(NULL, error));
    return whole_backend->stream.execute(stream, recipe, slots, slot_count, error);
}

static void *set_losable_stage(void)
{
    queue_stage *s = set_queue_stage();
    wefti_atomic_u32_init(&lost, 0);
    whole_backend = s->device->backend;
    losable = *whole_backend;
    losable.device.health = lost_health;
    losable.stream.execute = lost_execute;
    s->device->backend = &losable;
    weft_model_release(s->model); /* its plans are of the backend before */
    s->model = make_model(s->device);
    return s;
}

static void count_lost(void *user, weft_request *request, weft_status status)
{
    queue_stage *s = user;
    (void)request;
    s->violations += s->drained || (status != WEFT_OK && status != WEFT_DEVICE_LOST);
    s->callbacks++;
    s->told_done += status == WEFT_OK;
}

/* One request that somebody waits for, and may run itself, beside one with a callback,
 * until the device is lost. */
static void submit_until_lost(queue_stage *s, int first_call)
{
    weft_status status = WEFT_OK;
    for (int i = 0; i < 2 && status == WEFT_OK; i++) {
        weft_request *request, *waited;
        status = submit(s, first_call, 0, count_lost, &request);
        if (status != WEFT_OK) {
            break;
        }
        status = submit(s, first_call + 1, 0, NULL, &waited);
        if (status == WEFT_OK) {
            status = weft_request_wait(waited, WEFT_FOREVER, NULL);
            s->told_done += status == WEFT_OK;
            s->callbacks++;
            weft_request_release(waited);
        }
        weft_status first = weft_request_wait(request, WEFT_FOREVER, NULL);
        s->violations += first != WEFT_OK && first != WEFT_DEVICE_LOST;
        weft_request_release(request);
    }
    s->violations += status != WEFT_OK && status != WEFT_DEVICE_LOST;
}

static void submit_first_lost(void *argument)
{
    submit_until_lost(argument, 0);
}

static void submit_second_lost(void *argument)
{
    submit_until_lost(argument, 2);
}

static void lose_the_device(void *state, uint32_t index)
{
    (void)index;
    queue_stage *s = state;
    wefti_thread first, second;
    weft_request *refused;
    weft_queue_statistics n;
    open_queue(s, 1, 1, false);
    start(&first, submit_first_lost, s);
    start(&second, submit_second_lost, s);
    wefti_atomic_u32_store_release(&lost, 1);
    s->violations += submit(s, 4, 0, NULL, &refused) != WEFT_DEVICE_LOST;
    wefti_thread_join(&first);
    wefti_thread_join(&second);
    s->violations += weft_queue_drain(s->queue, WEFT_FOREVER, NULL) != WEFT_OK;
    s->drained = true;
    weft_queue_get_statistics(s->queue, &n);
    s->violations += n.accepted != s->accepted || n.done != s->told_done ||
                     n.accepted != n.done + n.failed || s->callbacks != s->accepted;
    weft_queue_release(s->queue);
}

const scenario queue_scenarios[] = {
    QUEUE_SCENARIO("queue-submit-close", submit_against_close,
                   WEFTI_SABOTAGE_QUEUE_IDLE),
    QUEUE_SCENARIO("queue-full-close", close_when_full, WEFTI_SABOTAGE_WAKE_ON_CLOSE),
    QUEUE_SCENARIO("queue-cancel-room", cancel_frees_the_place,
                   WEFTI_SABOTAGE_QUEUE_ROOM),
    QUEUE_SCENARIO("queue-room-late", room_comes_too_late, WEFTI_SABOTAGE_QUEUE_ROOM),
    QUEUE_SCENARIO("queue-cancel-start", cancel_against_start,
                   WEFTI_SABOTAGE_QUEUE_ONCE, WEFTI_SABOTAGE_QUEUE_KEEP),
    QUEUE_SCENARIO("queue-timeout-done", time_out_against_completion,
                   WEFTI_SABOTAGE_QUEUE_IDLE),
    QUEUE_SCENARIO("queue-timeout-behind", time_out_behind_another,
                   WEFTI_SABOTAGE_TIMER_WAKE),
    QUEUE_SCENARIO("queue-drain", drain_with_deadline, WEFTI_SABOTAGE_QUEUE_IDLE),
    QUEUE_SCENARIO("queue-swap-model", swap_the_model, WEFTI_SABOTAGE_QUEUE_WORK),
    QUEUE_SCENARIO("queue-order", keep_order, WEFTI_SABOTAGE_QUEUE_ORDER),
    QUEUE_SCENARIO("queue-cancel-batch", cancel_in_a_batch, WEFTI_SABOTAGE_QUEUE_ONCE,
                   WEFTI_SABOTAGE_QUEUE_KEEP),
    QUEUE_SCENARIO("queue-cancel-return", cancel_against_return,
                   WEFTI_SABOTAGE_QUEUE_AGAIN),
    QUEUE_SCENARIO("queue-lead", lead_alone, WEFTI_SABOTAGE_QUEUE_LEFT),
    QUEUE_SCENARIO("queue-lead-beside", lead_beside_workers, WEFTI_SABOTAGE_QUEUE_IDLE,
                   WEFTI_SABOTAGE_END_WAKE),
    QUEUE_SCENARIO("queue-promise", break_a_promise, WEFTI_SABOTAGE_QUEUE_WATCH),
    QUEUE_SCENARIO("queue-post", post_against_sleep, WEFTI_SABOTAGE_QUEUE_POST),
    QUEUE_SCENARIO("queue-post-close", post_against_close, WEFTI_SABOTAGE_QUEUE_SHUT),
    QUEUE_SCENARIO("queue-post-remove", post_against_remove,
                   WEFTI_SABOTAGE_QUEUE_FORGET),
    QUEUE_SCENARIO("queue-post-cancel", post_against_cancel, WEFTI_SABOTAGE_NONE),
    QUEUE_SCENARIO("queue-post-crowd", post_in_a_crowd, WEFTI_SABOTAGE_NONE),
    QUEUE_SCENARIO("queue-post-crowd-close", post_in_a_closing_crowd,
                   WEFTI_SABOTAGE_NONE),
    {.what = {.name = "queue-last-owner",
              .thread_count = 1,
              .set_up = set_queue_stage,
              .run = leave_in_a_callback,
              .check = check_left},
     .divisor = QUEUE_DIVISOR},
    {.what = {.name = "queue-device-lost",
              .thread_count = 1,
              .set_up = set_losable_stage,
              .run = lose_the_device,
              .check = check_queue_stage},
     .divisor = QUEUE_DIVISOR},
    {.what = {.name = NULL}},
};
