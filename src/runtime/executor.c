/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/executor.h"

#include "base/clock.h"
#include "base/memory.h"
#include "runtime/timer.h"

/* Requests wait in a queue of our own, and the workers' queues (each card has one) hold
 * pumps: at most one per worker, each takes one request at a time and goes to the end
 * of the workers' queue again, so that other tasks have their turn. Therefore posting
 * needs no memory, and a cancelled request is out of the queue at once.
 *
 * No request is left lying. Who queues one takes a free pump, under the lock, and posts
 * it. If none is free, all are active, and a pump goes to rest only after it has found
 * the queue empty under the lock.
 *
 * Who moves a request out of `pending` (request.h) takes it out of the queue, in the
 * same hold of the lock (a pump) or shortly after (who cancels): so a pump skips those
 * in the queue that it cannot claim, and idleness is never seen too early. */

typedef struct wefti_request_list {
    weft_request *first, *last;
} wefti_request_list;

typedef struct pump {
    wefti_task task;
    wefti_executor *executor;
    wefti_backend_device *card; /* whose workers run it */
    struct pump *next_free;
} pump;

struct wefti_executor {
    /* immutable after create */
    weft_device *device;

    /* guarded by lock */
    wefti_mutex lock;         /* WEFTI_RANK_EXECUTOR */
    wefti_condition idle;     /* woken when idle; drainers wait */
    wefti_request_list queue; /* pending, first come first */
    wefti_request_list busy;  /* running, or being ended by `runner` */
    pump *free_pumps;
    int32_t active_pumps;

    wefti_timer timer; /* under `lock` */

    pump pumps[];
};

static void run_pump(wefti_task *task);
static void due_locked(wefti_timer *timer, weft_request *request, bool claimed);
static bool end_late(wefti_timer *timer, weft_request *request);

static const wefti_timer_owner timer_owner = {
    .thread_name = "weft-timer",
    .due_locked = due_locked,
    .end = end_late,
};

weft_status wefti_executor_create(weft_device *device, wefti_executor **executor,
                                  weft_error *error)
{
    *executor = NULL;
    size_t pumps = (size_t)device->info.worker_count;
    size_t cards = (size_t)device->info.card_count;
    wefti_executor *made = wefti_calloc(1, sizeof *made + pumps * sizeof(pump));
    if (!made) {
        return wefti_error_memory(error, "the queue of requests");
    }
    weft_status status =
        wefti_mutex_init(&made->lock, "requests", WEFTI_RANK_EXECUTOR, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    status = wefti_condition_init(&made->idle, error);
    if (status != WEFT_OK) {
        goto no_idle;
    }
    status = wefti_timer_init(&made->timer, &timer_owner, &made->lock, error);
    if (status != WEFT_OK) {
        goto no_timer;
    }
    made->device = device;
    for (size_t i = 0; i < pumps; i++) {
        made->pumps[i] = (pump){.task = {.run = run_pump},
                                .executor = made,
                                .card = device->cards[i % cards],
                                .next_free = made->free_pumps};
        made->free_pumps = &made->pumps[i];
    }
    *executor = made;
    return WEFT_OK;

no_timer:
    wefti_condition_fini(&made->idle);
no_idle:
    wefti_mutex_fini(&made->lock);
    wefti_free(made);
    return status;
}

void wefti_executor_destroy(wefti_executor *executor)
{
    if (!executor) {
        return;
    }
    wefti_timer_stop(&executor->timer);
    wefti_timer_fini(&executor->timer);
    wefti_condition_fini(&executor->idle);
    wefti_mutex_fini(&executor->lock);
    wefti_free(executor);
}

static void append_locked(wefti_request_list *list, weft_request *request)
{
    request->list = list;
    request->next = NULL;
    request->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = request;
    list->last = request;
}

static void unlink_locked(weft_request *request)
{
    wefti_request_list *list = request->list;
    *(request->previous ? &request->previous->next : &list->first) = request->next;
    *(request->next ? &request->next->previous : &list->last) = request->previous;
    request->list = NULL;
}

/* From the queue to those that a thread is busy with: the calling one. */
static void make_busy_locked(wefti_executor *executor, weft_request *request)
{
    wefti_timer_remove_locked(&executor->timer, request);
    unlink_locked(request);
    request->runner = wefti_thread_current();
    append_locked(&executor->busy, request);
}

static weft_request *take_next_locked(wefti_executor *executor)
{
    weft_request *request = executor->queue.first;
    while (request && !wefti_request_claim(request, WEFTI_REQUEST_RUNNING)) {
        request = request->next;
    }
    if (request) {
        make_busy_locked(executor, request);
    }
    return request;
}

static bool is_idle_locked(const wefti_executor *executor)
{
    return !executor->queue.first && !executor->busy.first &&
           executor->active_pumps == 0;
}

static void rest_pump_locked(pump *self)
{
    wefti_executor *executor = self->executor;
    self->next_free = executor->free_pumps;
    executor->free_pumps = self;
    executor->active_pumps--;
    if (is_idle_locked(executor)) {
        wefti_condition_wake_all(&executor->idle);
    }
}

/* Runs one request. False: the pump rests, and may be gone. */
static bool pump_one(pump *self)
{
    wefti_executor *executor = self->executor;
    weft_device *device = executor->device;
    wefti_mutex_lock(&executor->lock);
    weft_request *request = take_next_locked(executor);
    if (!request) {
        rest_pump_locked(self);
    }
    wefti_mutex_unlock(&executor->lock);
    if (!request) {
        return false;
    }
    if (!wefti_request_run(request)) {
        return true;
    }
    wefti_mutex_lock(&executor->lock);
    rest_pump_locked(self);
    wefti_mutex_unlock(&executor->lock);
    wefti_device_teardown(device);
    return false;
}

static void run_pump(wefti_task *task)
{
    pump *self = WEFTI_CONTAINER_OF(task, pump, task);
    const wefti_backend *backend = self->executor->device->backend;
    wefti_backend_device *card = self->card;
    while (pump_one(self)) {
        if (backend->device.post(card, &self->task, NULL) == WEFT_OK) {
            return;
        }
    }
}

static void due_locked(wefti_timer *timer, weft_request *request, bool claimed)
{
    if (claimed) { /* else who ends it takes it out */
        make_busy_locked(WEFTI_CONTAINER_OF(timer, wefti_executor, timer), request);
    }
}

static bool end_late(wefti_timer *timer, weft_request *request)
{
    weft_device *device = WEFTI_CONTAINER_OF(timer, wefti_executor, timer)->device;
    bool tears_down = wefti_request_finish(request, WEFT_TIMEOUT);
    if (tears_down) {
        wefti_device_teardown(device); /* detaches this thread */
    }
    return tears_down;
}

/* The first request that can be claimed, for the calling thread to end. */
static weft_request *claim_first_locked(wefti_executor *executor)
{
    weft_request *request = executor->queue.first;
    while (request && !wefti_request_claim(request, WEFTI_REQUEST_ENDING)) {
        request = request->next;
    }
    if (request) {
        make_busy_locked(executor, request);
    }
    return request;
}

/* The pump could not be posted: the request is taken back, unless somebody has begun
 * or ended it in between. If no other pump is active, those that were queued meanwhile
 * and relied on this one fail for the same reason. */
static weft_status take_back(wefti_executor *executor, pump *unposted,
                             weft_request *request, const weft_error *why)
{
    wefti_mutex_lock(&executor->lock);
    bool mine = wefti_request_claim(request, WEFTI_REQUEST_ENDING);
    if (mine) {
        wefti_timer_remove_locked(&executor->timer, request);
        unlink_locked(request);
    }
    rest_pump_locked(unposted);
    while (executor->active_pumps == 0) {
        weft_request *stranded = claim_first_locked(executor);
        if (!stranded) {
            break;
        }
        wefti_mutex_unlock(&executor->lock);
        stranded->error = *why;
        (void)wefti_request_finish(stranded, why->status); /* the caller has an owner */
        wefti_mutex_lock(&executor->lock);
    }
    wefti_mutex_unlock(&executor->lock);
    return mine ? why->status : WEFT_OK;
}

weft_status wefti_executor_submit(wefti_executor *executor, weft_request *request,
                                  weft_error *error)
{
    weft_device *device = executor->device;
    if (request->start_deadline_ns != WEFTI_NEVER) {
        WEFTI_TRY(wefti_timer_ensure(&executor->timer, error));
    }
    wefti_mutex_lock(&executor->lock);
    append_locked(&executor->queue, request);
    if (request->start_deadline_ns != WEFTI_NEVER) {
        wefti_timer_add_locked(&executor->timer, request);
    }
    pump *free_pump = executor->free_pumps;
    if (free_pump) {
        executor->free_pumps = free_pump->next_free;
        executor->active_pumps++;
    }
    wefti_mutex_unlock(&executor->lock);
    if (!free_pump) {
        return WEFT_OK;
    }
    weft_error why;
    weft_status status =
        device->backend->device.post(free_pump->card, &free_pump->task, &why);
    if (status == WEFT_OK) {
        return WEFT_OK;
    }
    status = take_back(executor, free_pump, request, &why);
    return status == WEFT_OK ? status : wefti_error(error, status, "%s", why.message);
}

void wefti_executor_take_out(wefti_executor *executor, weft_request *request)
{
    wefti_mutex_lock(&executor->lock);
    make_busy_locked(executor, request);
    wefti_mutex_unlock(&executor->lock);
}

bool wefti_executor_leave(wefti_executor *executor, weft_request *request)
{
    wefti_mutex_lock(&executor->lock);
    bool last = request->tears_device_down;
    unlink_locked(request);
    if (is_idle_locked(executor)) {
        wefti_condition_wake_all(&executor->idle);
    }
    wefti_mutex_unlock(&executor->lock);
    weft_request_release(request);
    return last;
}

void wefti_executor_cancel_pending(wefti_executor *executor)
{
    weft_request *request;
    do {
        wefti_mutex_lock(&executor->lock);
        request = claim_first_locked(executor);
        wefti_mutex_unlock(&executor->lock);
        if (request) {
            (void)wefti_request_finish(request, WEFT_CANCELLED);
        }
    } while (request);
}

bool wefti_executor_wait_idle(wefti_executor *executor, int64_t deadline_ns)
{
    wefti_mutex_lock(&executor->lock);
    bool in_time = true;
    while (!is_idle_locked(executor) && in_time) {
        in_time = wefti_condition_wait(&executor->idle, &executor->lock, deadline_ns);
    }
    bool idle = is_idle_locked(executor);
    wefti_mutex_unlock(&executor->lock);
    return idle;
}

bool wefti_executor_adopt_teardown(wefti_executor *executor)
{
    wefti_mutex_lock(&executor->lock);
    weft_request *request = executor->busy.first;
    while (request && !wefti_thread_is_current(&request->runner)) {
        request = request->next;
    }
    if (request) {
        request->tears_device_down = true;
    }
    wefti_mutex_unlock(&executor->lock);
    return request != NULL;
}
