/* SPDX-License-Identifier: Apache-2.0 */
/* A batch of the queue on its callers' own tensors, while one of them takes its own
 * back and the queue is closed. The device is one that computes nothing, made to take
 * tensors in rows and to touch each of them. */
#include "schedule/scenario.h"

#include <stdlib.h>

#include <weft/weft.h>

#include "base/thread.h"
#include "queue/queue.h"
#include "support/graph_text.h"

enum { FEATURES = 3, CALLS = 3, ROWS = 2, CONTEXTS = 2, DIVISOR = 6 };
enum { TAKEN = CALLS - 1 }; /* the last of its batch */

typedef struct lent_call {
    float x[FEATURES], y[FEATURES];
    weft_tensor input, output;
    weft_io io;
    weft_request *request;
    wefti_atomic_u32 taken_back;
} lent_call;

typedef struct in_place_stage {
    weft_device *device;
    weft_model *model;
    weft_queue *queue;
    weft_event *gate; /* what the worker stands at */
    lent_call calls[CALLS];
    wefti_atomic_u32 stands, callbacks, violations;
    bool cancelled;
    bool refuses; /* tensors in rows */
} in_place_stage;

static const wefti_backend *whole;
static wefti_backend in_rows;
static in_place_stage *stage; /* of the present schedule */

static void require(bool right)
{
    (void)wefti_atomic_u32_add_acq_rel(&stage->violations, !right);
}

/* A row that a run reads or writes is not its caller's meanwhile. */
static void touch(const void *row)
{
    for (int i = 0; i < CALLS; i++) {
        lent_call *c = &stage->calls[i];
        if (row == c->x || row == c->y) {
            require(wefti_atomic_u32_load_acquire(&c->taken_back) == 0);
        }
    }
}

static size_t row_bytes(const wefti_recipe *recipe, size_t slot)
{
    (void)recipe;
    return slot > 0 ? FEATURES * sizeof(float) : 0;
}

static double work_ns(const wefti_recipe *recipe)
{
    (void)recipe;
    return 1;
}

static weft_status execute(wefti_backend_stream *stream, wefti_recipe *recipe,
                           void *const *slots, size_t slot_count, weft_error *error)
{
    enum { SLOTS = 3 }; /* workspace, x, y */
    for (size_t i = SLOTS; i < slot_count; i++) {
        void *const *rows = slots[i];
        for (size_t k = 0; rows != NULL && k < ROWS; k++) {
            touch(rows[k]);
        }
        if (rows != NULL && stage->refuses) {
            return wefti_error(error, WEFT_UNAVAILABLE, "not so");
        }
    }
    return whole->stream.execute(stream, recipe, slots,
                                 slot_count < SLOTS ? slot_count : SLOTS, error);
}

static void *set_up(void)
{
    in_place_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = CONTEXTS;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK &&
                         weft_event_create(s->device, false, &s->gate, NULL) == WEFT_OK,
                     "a device");
    whole = s->device->backend;
    in_rows = *whole;
    in_rows.stream.execute = execute;
    in_rows.recipe.row_bytes = row_bytes;
    in_rows.recipe.work_ns = work_ns;
    s->device->backend = &in_rows;
    s->model =
        graph_text_model(s->device, "x: f32[batch,3]; y = Relu(x); -> y", 18, NULL);
    for (int i = 0; i < CALLS; i++) {
        lent_call *c = &s->calls[i];
        c->input = c->output =
            (weft_tensor){.type = WEFT_TYPE_F32, .rank = 2, .dims = {1, FEATURES}};
        c->input.data = c->x;
        c->output.data = c->y;
        c->io = (weft_io){&c->input, 1, &c->output, 1};
        wefti_atomic_u32_init(&c->taken_back, 0);
    }
    wefti_atomic_u32_init(&s->stands, 0);
    wefti_atomic_u32_init(&s->callbacks, 0);
    wefti_atomic_u32_init(&s->violations, 0);
    stage = s;
    return s;
}

static bool check(void *state)
{
    in_place_stage *s = state;
    bool right = wefti_atomic_u32_load_acquire(&s->violations) == 0;
    weft_event_release(s->gate);
    weft_model_release(s->model);
    weft_device_release(s->device);
    free(s);
    return right;
}

static void count_end(void *user, weft_request *request, weft_status status)
{
    (void)user, (void)request;
    require(status == WEFT_OK || status == WEFT_CANCELLED);
    (void)wefti_atomic_u32_add_acq_rel(&stage->callbacks, 1);
}

static void stand_still(void *user, weft_request *request, weft_status status)
{
    wefti_atomic_u32_store_release(&stage->stands, 1);
    require(weft_event_wait(stage->gate, 1, WEFT_FOREVER, NULL) == WEFT_OK);
    count_end(user, request, status);
}

static void submit(in_place_stage *s, int call, weft_request_callback callback)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.callback = callback;
    require(weft_queue_submit(s->queue, s->model, &s->calls[call].io, &params,
                              &s->calls[call].request, NULL) == WEFT_OK);
}

/* Two requests behind a worker that stands still, as one batch that takes no time. */
static void fill(in_place_stage *s)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = ROWS;
    scenario_require(
        weft_queue_create(s->device, &params, &s->queue, NULL) == WEFT_OK &&
            weft_queue_add_model(s->queue, s->model, NULL, NULL) == WEFT_OK,
        "a queue");
    submit(s, 0, stand_still);
    while (wefti_atomic_u32_load_acquire(&s->stands) == 0) {
        wefti_thread_yield();
    }
    wefti_mutex_lock(&s->queue->lock);
    wefti_queue_class *class = s->queue->models->classes;
    class->alone_ns = 1000;
    class->joined_ns = 100;
    wefti_mutex_unlock(&s->queue->lock);
    submit(s, 1, count_end);
    submit(s, 2, count_end);
    wefti_queue_form *form = wefti_queue_get_form(class, ROWS);
    scenario_require(form != NULL && form->joins, "a batch");
    wefti_queue_learn_layout(class, form);
    const wefti_queue_layout *layout = wefti_queue_get_layout(form);
    scenario_require(layout != NULL && layout->tensors[0].row_bytes > 0 &&
                         layout->tensors[1].row_bytes > 0,
                     "a batch in place");
}

static void take_back(void *argument)
{
    in_place_stage *s = argument;
    lent_call *c = &s->calls[TAKEN];
    s->cancelled = weft_request_cancel(c->request);
    wefti_atomic_u32_store_release(&c->taken_back, s->cancelled);
}

/* The same by who has all contexts, for which the batch must not let it wait. */
static void lease_and_take_back(void *argument)
{
    in_place_stage *s = argument;
    weft_context *contexts[CONTEXTS];
    for (int i = 0; i < CONTEXTS; i++) {
        require(weft_context_acquire(s->device, NULL, &contexts[i], NULL) == WEFT_OK);
    }
    take_back(s);
    for (int i = 0; i < CONTEXTS; i++) {
        weft_context_release(contexts[i]);
    }
}

static void cancel_by(in_place_stage *s, void (*function)(void *argument))
{
    wefti_thread canceller;
    weft_queue_statistics n;
    fill(s);
    scenario_require(wefti_thread_start(&canceller, "user", function, s, NULL) ==
                         WEFT_OK,
                     "a thread");
    require(weft_event_signal(s->gate, 1, NULL) == WEFT_OK);
    weft_queue_close(s->queue);
    require(weft_queue_drain(s->queue, WEFT_FOREVER, NULL) == WEFT_OK);
    require(wefti_atomic_u32_load_acquire(&s->callbacks) == CALLS);
    wefti_thread_join(&canceller);
    for (int i = 0; i < CALLS; i++) {
        weft_status status = WEFT_INTERNAL;
        require(weft_request_test(s->calls[i].request, &status));
        require(status == (i == TAKEN && s->cancelled ? WEFT_CANCELLED : WEFT_OK));
        weft_request_release(s->calls[i].request);
    }
    weft_queue_get_statistics(s->queue, &n);
    require(n.accepted == CALLS && n.done + n.cancelled == CALLS && n.waiting == 0);
    require(n.cancelled == (s->cancelled ? 1 : 0));
    weft_queue_release(s->queue);
}

static void cancel_in_place(void *state, uint32_t index)
{
    (void)index;
    cancel_by(state, take_back);
}

static void cancel_without_contexts(void *state, uint32_t index)
{
    (void)index;
    cancel_by(state, lease_and_take_back);
}

/* The run in place fails, and what runs instead waits for a context. */
static void cancel_refused(void *state, uint32_t index)
{
    in_place_stage *s = state;
    (void)index;
    s->refuses = true;
    cancel_by(s, lease_and_take_back);
}

const scenario in_place_scenarios[] = {
    {.what = {.name = "queue-in-place-cancel",
              .thread_count = 1,
              .set_up = set_up,
              .run = cancel_in_place,
              .check = check},
     .divisor = DIVISOR,
     .guards = {WEFTI_SABOTAGE_QUEUE_DROPPED, WEFTI_SABOTAGE_QUEUE_KEEP}},
    {.what = {.name = "queue-in-place-lease",
              .thread_count = 1,
              .set_up = set_up,
              .run = cancel_without_contexts,
              .check = check},
     .divisor = DIVISOR},
    {.what = {.name = "queue-in-place-refused",
              .thread_count = 1,
              .set_up = set_up,
              .run = cancel_refused,
              .check = check},
     .divisor = DIVISOR},
    {.what = {.name = NULL}},
};
