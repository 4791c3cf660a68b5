/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/executor.h"

#include "base/clock.h"
#include "base/memory.h"

/* Requests wait in a queue of our own, and the workers' queue holds pumps: at most one
 * per worker, each takes one request at a time and goes to the end of the workers'
 * queue again, so that other tasks have their turn. Therefore posting needs no memory,
 * and a cancelled request is out of the queue at once.
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
    struct pump *next_free;
} pump;

typedef enum timer_state { TIMER_NONE, TIMER_STARTING, TIMER_RUNS } timer_state;

struct wefti_executor {
    /* immutable after create */
    weft_device *device;

    /* guarded by lock */
    wefti_mutex lock;          /* WEFTI_RANK_EXECUTOR */
    wefti_condition idle;      /* woken when idle; drainers wait */
    wefti_condition timer_due; /* woken for the timer: a new first deadline, stop; and
                                  for who waits for the timer to have started */
    wefti_request_list queue;  /* pending, first come first */
    wefti_request_list busy;   /* running, or being ended by `runner` */
    weft_request *timed_first; /* those of the queue with a deadline, soonest first */
    weft_request *timed_last;
    pump *free_pumps;
    int32_t active_pumps;
    timer_state timer_state;
    bool timer_stops;
    wefti_thread timer;

    pump pumps[];
};

static void run_pump(wefti_task *task);

weft_status wefti_executor_create(weft_device *device, wefti_executor **executor,
                                  weft_error *error)
{
    *executor = NULL;
    size_t pumps = (size_t)device->info.worker_count;
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
    status = wefti_condition_init(&made->timer_due, error);
    if (status != WEFT_OK) {
        goto no_timer_due;
    }
    made->device = device;
    for (size_t i = 0; i < pumps; i++) {
        made->pumps[i] = (pump){
            .task = {.run = run_pump}, .executor = made, .next_free = made->free_pumps};
        made->free_pumps = &made->pumps[i];
    }
    *executor = made;
    return WEFT_OK;

no_timer_due:
    wefti_condition_fini(&made->idle);
no_idle:
    wefti_mutex_fini(&made->lock);
    wefti_free(made);
    return status;
}

static void stop_timer(wefti_executor *executor)
{
    wefti_mutex_lock(&executor->lock);
    bool runs = executor->timer_state == TIMER_RUNS;
    executor->timer_stops = true;
    wefti_condition_wake_all(&executor->timer_due);
    wefti_mutex_unlock(&executor->lock);
    if (runs && wefti_thread_is_current(&executor->timer)) {
        wefti_thread_detach(&executor->timer);
    } else if (runs) {
        wefti_thread_join(&executor->timer);
    }
}

void wefti_executor_destroy(wefti_executor *executor)
{
    if (!executor) {
        return;
    }
    stop_timer(executor);
    wefti_condition_fini(&executor->timer_due);
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

/* Deadlines mostly come in order: the search from the end is short. */
static void add_timed_locked(wefti_executor *executor, weft_request *request)
{
    weft_request *before = executor->timed_last;
    while (before && before->start_deadline_ns > request->start_deadline_ns) {
        before = before->timed_previous;
    }
    weft_request *after = before ? before->timed_next : executor->timed_first;
    request->timed = true;
    request->timed_previous = before;
    request->timed_next = after;
    *(before ? &before->timed_next : &executor->timed_first) = request;
    *(after ? &after->timed_previous : &executor->timed_last) = request;
    if (!before && !wefti_sabotaged(WEFTI_SABOTAGE_TIMER_WAKE)) {
        wefti_condition_wake_all(&executor->timer_due);
    }
}

static void remove_timed_locked(wefti_executor *executor, weft_request *request)
{
    if (!request->timed) {
        return;
    }
    weft_request *before = request->timed_previous;
    weft_request *after = request->timed_next;
    *(before ? &before->timed_next : &executor->timed_first) = after;
    *(after ? &after->timed_previous : &executor->timed_last) = before;
    request->timed = false;
}

/* From the queue to those that a thread is busy with: the calling one. */
static void make_busy_locked(wefti_executor *executor, weft_request *request)
{
    remove_timed_locked(executor, request);
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
    wefti_backend_device *handle = self->executor->device->handle;
    while (pump_one(self)) {
        if (backend->device.post(handle, &self->task, NULL) == WEFT_OK) {
            return;
        }
    }
}

/* Ends requests whose time to start is over. */
static void run_timer(void *argument)
{
    wefti_executor *executor = argument;
    wefti_mutex_lock(&executor->lock);
    while (!executor->timer_stops) {
        weft_request *request = executor->timed_first;
        int64_t due_ns = request ? request->start_deadline_ns : WEFTI_NEVER;
        if (due_ns > wefti_clock_ns()) {
            (void)wefti_condition_wait(&executor->timer_due, &executor->lock, due_ns);
            continue;
        }
        remove_timed_locked(executor, request);
        if (!wefti_request_claim(request, WEFTI_REQUEST_ENDING)) {
            continue; /* another ends it right now */
        }
        make_busy_locked(executor, request);
        wefti_mutex_unlock(&executor->lock);
        if (wefti_request_finish(request, WEFT_TIMEOUT)) {
            wefti_device_teardown(executor->device); /* detaches this thread */
            return;
        }
        wefti_mutex_lock(&executor->lock);
    }
    wefti_mutex_unlock(&executor->lock);
}

/* The timer's thread is there from the first request with a deadline on. */
static weft_status ensure_timer(wefti_executor *executor, weft_error *error)
{
    wefti_mutex_lock(&executor->lock);
    while (executor->timer_state == TIMER_STARTING) {
        (void)wefti_condition_wait(&executor->timer_due, &executor->lock, WEFTI_NEVER);
    }
    bool start = executor->timer_state == TIMER_NONE;
    if (start) {
        executor->timer_state = TIMER_STARTING;
    }
    wefti_mutex_unlock(&executor->lock);
    if (!start) {
        return WEFT_OK;
    }
    weft_status status =
        wefti_thread_start(&executor->timer, "weft-timer", run_timer, executor, error);
    wefti_mutex_lock(&executor->lock);
    executor->timer_state = status == WEFT_OK ? TIMER_RUNS : TIMER_NONE;
    wefti_condition_wake_all(&executor->timer_due);
    wefti_mutex_unlock(&executor->lock);
    return status;
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
        remove_timed_locked(executor, request);
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
        WEFTI_TRY(ensure_timer(executor, error));
    }
    wefti_mutex_lock(&executor->lock);
    append_locked(&executor->queue, request);
    if (request->start_deadline_ns != WEFTI_NEVER) {
        add_timed_locked(executor, request);
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
        device->backend->device.post(device->handle, &free_pump->task, &why);
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
