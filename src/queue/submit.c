/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/fork.h"
#include "base/params.h"
#include "base/profile.h"
#include "graph/check.h"
#include "queue/queue.h"

/* What a call to submit carries from step to step. */
typedef struct submission {
    weft_queue *queue;
    const weft_io *io;
    weft_queue_submit_params params;
    int64_t now_ns; /* when submit was called, or went on after it had to wait */
    int64_t timeout_at_ns, deadline_at_ns;
    wefti_queue_request *request;
    wefti_queue_model *model; /* kept by `users` */
    wefti_queue_class *class; /* kept by `live_count` */
    bool joins;               /* the class */
    double expected_ns;
} submission;

static weft_status check_params(const weft_queue *queue,
                                const weft_queue_submit_params *given,
                                weft_queue_submit_params *params, weft_error *error)
{
    *params = (weft_queue_submit_params)WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    WEFTI_TRY(wefti_params_take(WEFTI_PARAMS(weft_queue_submit_params), given, params,
                                error));
    if (params->priority < 0 || params->priority > WEFTI_QUEUE_LEVELS) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "priority is %d; give 1, the highest, to %d, or 0 for the "
                           "queue's default",
                           (int)params->priority, WEFTI_QUEUE_LEVELS);
    }
    if (params->timeout_us < 0 || params->deadline_us < 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s is %lld; give microseconds, or 0 for none",
                           params->timeout_us < 0 ? "timeout_us" : "deadline_us",
                           (long long)(params->timeout_us < 0 ? params->timeout_us
                                                              : params->deadline_us));
    }
    if (params->priority == 0) {
        params->priority = queue->params.default_priority;
    }
    if (params->timeout_us == 0) {
        params->timeout_us = queue->params.default_timeout_us;
    }
    return WEFT_OK;
}

static int64_t after_us(int64_t now_ns, int64_t us)
{
    return us == 0 || us > (WEFTI_NEVER - now_ns) / 1000 ? WEFTI_NEVER
                                                         : now_ns + us * 1000;
}

static weft_status closed_error(weft_error *error)
{
    return wefti_error(error, WEFT_CLOSED,
                       "the queue is closed and takes no more requests");
}

/* Finds the model's entry and keeps it. */
static weft_status find_model_locked(submission *self, const weft_model *model,
                                     weft_error *error)
{
    if (self->queue->closed) {
        self->queue->statistics.refused++;
        return closed_error(error);
    }
    wefti_queue_model *entry = wefti_queue_find_model_locked(self->queue, model);
    if (!entry) {
        self->queue->statistics.refused++;
        return wefti_error(error, WEFT_NOT_FOUND,
                           "the queue does not serve this model; add it with "
                           "weft_queue_add_model");
    }
    entry->users++;
    self->model = entry;
    return WEFT_OK;
}

static void keep_class_locked(submission *self, wefti_queue_class *class)
{
    class->live_count++;
    class->last_used = self->queue->next_sequence;
    self->class = class;
    self->joins = class->joins;
    self->expected_ns =
        wefti_queue_expected_ns(class, wefti_queue_rows(class, self->io));
}

static void drop_holds_locked(const submission *self)
{
    self->model->users--;
    if (self->class) {
        self->class->live_count--;
    }
}

static void let_go(submission *self)
{
    weft_queue *queue = self->queue;
    wefti_mutex_lock(&queue->lock);
    drop_holds_locked(self);
    wefti_queue_model *unused = wefti_queue_unlink_unused_locked(self->model);
    wefti_mutex_unlock(&queue->lock);
    wefti_queue_model_destroy(unused);
}

static weft_status add_class(submission *self, weft_error *error)
{
    wefti_queue_class *made;
    WEFTI_TRY(wefti_queue_class_create(self->model, self->io, &made, error));
    wefti_mutex_lock(&self->queue->lock);
    /* Another thread may have made it meanwhile. */
    wefti_queue_class *class = wefti_queue_find_class_locked(self->model, self->io);
    wefti_queue_class *unneeded = made;
    if (!class) {
        class = made;
        unneeded = wefti_queue_add_class_locked(self->model, class);
    }
    keep_class_locked(self, class);
    wefti_mutex_unlock(&self->queue->lock);
    while (unneeded) {
        wefti_queue_class *next = unneeded->next;
        wefti_queue_class_destroy(unneeded);
        unneeded = next;
    }
    self->now_ns = wefti_clock_ns();
    return WEFT_OK;
}

/* Whether the request may be posted, as far as its parameters say. */
static bool may_post(const weft_queue *queue, const weft_queue_submit_params *params)
{
    return wefti_atomic_u32_load_relaxed(&queue->attended) && !params->callback &&
           !params->with_fd && params->timeout_us == 0 && params->deadline_us == 0;
}

/* Finds the class of a call; on success the model and the class are kept. */
static weft_status find_class(submission *self, weft_model *model, weft_error *error)
{
    wefti_mutex_lock(&self->queue->lock);
    weft_status status = find_model_locked(self, model, error);
    if (status == WEFT_OK) {
        wefti_queue_class *class = wefti_queue_find_class_locked(self->model, self->io);
        if (class) {
            keep_class_locked(self, class);
        }
    }
    wefti_mutex_unlock(&self->queue->lock);
    if (status != WEFT_OK || self->class) {
        return status;
    }
    status = add_class(self, error);
    if (status != WEFT_OK) {
        let_go(self);
    }
    return status;
}

/* Rows are counted in 32 bits. */
static weft_status check_sizes(const weft_io *io, weft_error *error)
{
    for (size_t i = 0; i < io->input_count; i++) {
        for (int32_t j = 0; j < io->inputs[i].rank; j++) {
            if (io->inputs[i].dims[j] > INT32_MAX) {
                return wefti_error(error, WEFT_INVALID_ARGUMENT,
                                   "input %zu: dimension %d is %lld; a queue takes up "
                                   "to %d, weft_run takes more",
                                   i, (int)j, (long long)io->inputs[i].dims[j],
                                   INT32_MAX);
            }
        }
    }
    return WEFT_OK;
}

static weft_status check_inputs(const weft_model *model, const weft_io *io,
                                weft_error *error)
{
    WEFTI_TRY(wefti_model_check_inputs(model, io, error));
    return check_sizes(io, error);
}

/* A row alone was compared with the rows of a batch; several rows of one request are
 * computed as a batch too, whose size has to be shown on its own. */
static bool may_join(const submission *self, int32_t rows)
{
    if (!self->joins || rows < 1 || rows > self->queue->params.max_batch_size) {
        return false;
    }
    const wefti_queue_form *form =
        rows > 1 ? wefti_queue_get_form(self->class, rows) : NULL;
    return rows == 1 || (form && form->joins);
}

/* Tells a caller that left the shape of an output open what it is. */
static void describe_outputs(const wefti_queue_request *request, const weft_io *io)
{
    for (size_t i = 0; i < io->output_count; i++) {
        if (io->outputs[i].rank == -1) {
            io->outputs[i] = request->io.outputs[i];
        }
    }
}

static weft_status fill_request(submission *self, wefti_queue_request *request,
                                weft_error *error)
{
    const weft_queue_submit_params *params = &self->params;
    const weft_io *io = self->io;
    request->model = self->model;
    request->class = self->class;
    request->rows = wefti_queue_rows(self->class, io);
    request->level = (uint32_t)params->priority - 1;
    request->deadline_ns = self->deadline_at_ns;
    request->expected_ns = self->expected_ns;
    request->io = (weft_io){request->tensors, io->input_count,
                            request->tensors + io->input_count, io->output_count};
    request->base.callback = params->callback;
    request->base.callback_user = params->user;
    request->may_join = may_join(self, request->rows);
    request->by_deadline = false;
    request->base.start_deadline_ns = self->timeout_at_ns;
    if (request->deadline_ns != WEFTI_NEVER) {
        double expected_ns = self->expected_ns < 1e18 ? self->expected_ns : 1e18;
        int64_t latest_ns = request->deadline_ns - (int64_t)expected_ns;
        request->by_deadline = latest_ns < self->timeout_at_ns;
        if (request->by_deadline) {
            request->base.start_deadline_ns = latest_ns;
        }
    }
    WEFTI_TRY(wefti_queue_copy_tensors(self->class, io, request->tensors, error));
    WEFTI_TRY(wefti_queue_make_results(request, error));
    if (params->with_fd) {
        WEFTI_TRY(wefti_request_open_fd(&request->base, error));
    }
    request->leadable = wefti_queue_is_leadable(request);
    if (request->base.start_deadline_ns != WEFTI_NEVER) {
        WEFTI_TRY(wefti_timer_ensure(&self->queue->timer, error));
    }
    return WEFT_OK;
}

/* What is left to do for an accepted request, without the lock. */
typedef struct aftermath {
    bool late; /* its time is over already: end it */
    bool wake; /* a worker */
} aftermath;

static weft_status wait_for_room_locked(weft_queue *queue, submission *self,
                                        int64_t deadline_ns, weft_error *error)
    WEFTI_REQUIRES(queue->lock);
static weft_status accept_locked(weft_queue *queue, submission *self,
                                 wefti_queue_request *request, aftermath *after,
                                 weft_error *error) WEFTI_REQUIRES(queue->lock);

/* Waits until the queue has room, by its policy; but never in a callback of the queue,
 * which may hold up the worker that would make it. */
static weft_status wait_for_room_locked(weft_queue *queue, submission *self,
                                        int64_t deadline_ns, weft_error *error)
{
    bool in_time = true;
    bool blocks = wefti_queue_is_full_locked(queue) &&
                  queue->params.full_policy == WEFT_QUEUE_BLOCK &&
                  !wefti_queue_is_inside_locked(queue);
    int64_t begin_ns = 0;
    while (!queue->closed && !self->model->removed &&
           wefti_queue_is_full_locked(queue) && in_time && blocks) {
        wefti_queue_end_promises_locked(queue); /* perhaps of this very thread */
        begin_ns =
            begin_ns != 0 ? begin_ns : wefti_profile_begin(queue->device->profiler);
        queue->blocked++;
        /* woken by wefti_queue_wake_blocked_locked, close and remove_model */
        in_time = wefti_condition_wait(&queue->room, &queue->lock, deadline_ns);
        queue->blocked--;
        self->now_ns = wefti_clock_ns();
    }
    if (WEFTI_UNLIKELY(begin_ns != 0)) {
        wefti_profile_wait(queue->device->profiler, begin_ns,
                           "wait for room in the queue", -1,
                           in_time ? WEFT_OK : WEFT_TIMEOUT);
    }
    if (queue->closed) {
        return closed_error(error);
    }
    if (self->model->removed) {
        return wefti_error(error, WEFT_NOT_FOUND,
                           "the model was removed from the queue");
    }
    if (!wefti_queue_is_full_locked(queue)) {
        return WEFT_OK;
    }
    if (!blocks) {
        return wefti_error(error, WEFT_BUSY,
                           "%d requests wait already (max_queue_size); try again "
                           "later, or submit less at once",
                           (int)queue->params.max_queue_size);
    }
    return wefti_error(error, WEFT_TIMEOUT,
                       "no room in the queue within the request's time: %d requests "
                       "wait (max_queue_size)",
                       (int)queue->params.max_queue_size);
}

/* Tells threads from each other: what one thread keeps under way is no crowd. */
static void count_in_class_locked(wefti_queue_request *request)
{
    wefti_queue_class *class = request->class;
    if (class->own_count == 0 && class->foreign_count == 0) {
        class->first_thread = request->submitter;
    }
    request->foreign = request->submitter != class->first_thread;
    *(request->foreign ? &class->foreign_count : &class->own_count) += 1;
}

void wefti_queue_count_locked(wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    request->sequence = queue->next_sequence++;
    request->class->last_used = request->sequence;
    queue->statistics.accepted++;
    queue->live_count++;
    request->model->live_count++;
    request->class->live_count++;
    count_in_class_locked(request);
}

/* Whether to wake a worker for a new request. */
static bool wakes_worker_locked(wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    if (wefti_queue_is_promise_locked(request)) {
        request->promised = true;
        queue->promised_count++;
    }
    bool wanted = request->leadable
                      ? wefti_queue_wants_worker_locked(queue, request->submitted_ns)
                      : queue->sleeping > queue->woken;
    return wanted && !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_WORK);
}

/* Accepts a request. */
static weft_status accept_locked(weft_queue *queue, submission *self,
                                 wefti_queue_request *request, aftermath *after,
                                 weft_error *error)
{
    WEFTI_TRY(
        wait_for_room_locked(queue, self, request->base.start_deadline_ns, error));
    WEFTI_TRY(wefti_device_begin(queue->device, &request->base.shard, error));
    request->submitted_ns = self->now_ns;
    wefti_queue_count_locked(request);
    drop_holds_locked(self);
    bool leadable = request->leadable;
    request->leadable =
        leadable && !wefti_queue_is_class_crowded_locked(request->class);
    if (queue->params.preserve_order) {
        wefti_queue_append(&self->model->ordered, request, WEFTI_QUEUE_BY_ORDER);
    }
    after->late = request->base.start_deadline_ns <= request->submitted_ns;
    if (after->late) {
        (void)wefti_request_claim(&request->base, WEFTI_REQUEST_ENDING);
        request->outcome = WEFT_TIMEOUT;
        request->next_ended = NULL;
        wefti_queue_wake_blocked_locked(queue); /* the room is still there */
        return WEFT_OK;
    }
    wefti_queue_enlist_locked(request);
    after->wake = wakes_worker_locked(request);
    queue->woken += after->wake ? 1 : 0;
    wefti_queue_attend_locked(queue);
    if (leadable) { /* also where a crowd leaves it to workers */
        wefti_queue_remember_locked(request);
    }
    return WEFT_OK;
}

/* A request that was not accepted goes: the caller's and the queue's. */
static void abandon(wefti_queue_request *request)
{
    weft_request_release(&request->base);
    weft_request_release(&request->base);
}

static weft_status submit(submission *self, weft_request **request, weft_error *error)
{
    weft_queue *queue = self->queue;
    wefti_queue_request *made = self->request;
    weft_status status = fill_request(self, made, error);
    if (status != WEFT_OK) {
        abandon(made);
        return status;
    }
    aftermath after = {0};
    describe_outputs(made, self->io);
    bool holds = made->base.callback != NULL;
    if (holds) { /* it may drop the caller's owners before we are through */
        wefti_refcount_retain(&queue->holds);
    }
    *request = &made->base; /* it may end at any moment from here on */
    wefti_queue_lock(queue);
    status = accept_locked(queue, self, made, &after, error);
    if (status != WEFT_OK) {
        queue->statistics.refused++;
        wefti_queue_wake_blocked_locked(
            queue); /* it may have been woken for the room */
    }
    wefti_mutex_unlock(&queue->lock);
    if (status != WEFT_OK) {
        *request = NULL;
        abandon(made);
    } else if (after.late) {
        if (wefti_queue_end(queue, made)) {
            wefti_queue_teardown(queue);
        }
    } else if (after.wake) {
        wefti_condition_wake_one(&queue->work);
    }
    if (holds) {
        wefti_queue_drop_hold(queue);
    }
    return status;
}

/* Posts a call like a recent one, which came at terms->submitted_ns. False: nothing was
 * done, and the call goes the long way, which knows the reason if there is one. */
static bool post(weft_queue *queue, const weft_model *model, const weft_io *io,
                 wefti_queue_terms *terms, weft_request **request)
{
    /* Those of many tensors and in stages take longer, without a lock. What is of a
     * recent class has been checked, but for sizes that are rounded up. */
    if (model->stages || io->input_count + io->output_count > WEFTI_QUEUE_FEW_TENSORS ||
        (model->buckets && check_inputs(model, io, NULL) != WEFT_OK) ||
        wefti_device_begin(queue->device, &terms->shard, NULL) != WEFT_OK) {
        return false;
    }
    wefti_queue_request *made = wefti_queue_post(queue, model, io, terms);
    if (!made) {
        wefti_device_unbegin(queue->device, terms->shard);
        return false;
    }
    describe_outputs(made, io);
    *request = &made->base;
    return true;
}

/* The long way, under the queue's lock. */
static weft_status put_in(submission *self, weft_model *model, weft_request **request,
                          weft_error *error)
{
    WEFTI_TRY(wefti_queue_request_create(self->queue, self->io, &self->request, error));
    weft_status status = check_inputs(model, self->io, error);
    if (status == WEFT_OK) {
        status = find_class(self, model, error);
    }
    if (status != WEFT_OK) {
        abandon(self->request);
        return status;
    }
    status = submit(self, request, error);
    if (status != WEFT_OK) {
        let_go(self);
    }
    return status;
}

weft_status weft_queue_submit(weft_queue *queue, weft_model *model, const weft_io *io,
                              const weft_queue_submit_params *params,
                              weft_request **request, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!queue || !request) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           queue ? "request" : "queue");
    }
    *request = NULL;
    int64_t now_ns = wefti_clock_ns();
    weft_queue_submit_params checked;
    WEFTI_TRY(check_params(queue, params, &checked, error));
    WEFTI_TRY(wefti_check_counts(model, io, error));
    wefti_queue_terms terms = {.level = (uint32_t)checked.priority - 1,
                               .submitted_ns = now_ns};
    if (may_post(queue, &checked) && post(queue, model, io, &terms, request)) {
        return WEFT_OK;
    }
    submission self = {.queue = queue,
                       .io = io,
                       .params = checked,
                       .now_ns = now_ns,
                       .timeout_at_ns = after_us(now_ns, checked.timeout_us),
                       .deadline_at_ns = after_us(now_ns, checked.deadline_us)};
    return put_in(&self, model, request, error);
}
