/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/testing.h"
#include "queue/queue.h"

/* The end of requests. A request is counted before its end can be seen, and leaves the
 * queue after its callback has returned: so who has waited finds it counted, and who
 * has drained finds no callback running. */

static void count_locked(weft_queue *queue, const wefti_queue_request *request)
{
    weft_queue_statistics *statistics = &queue->statistics;
    switch (wefti_outcome_of(request->outcome)) {
    case WEFTI_OUTCOME_DONE:
        statistics->done++;
        break;
    case WEFTI_OUTCOME_CANCELLED:
        statistics->cancelled++;
        break;
    case WEFTI_OUTCOME_TIMED_OUT:
        statistics->timed_out++;
        break;
    default:
        statistics->failed++;
    }
}

static void explain_timeout(wefti_queue_request *request)
{
    if (request->outcome != WEFT_TIMEOUT || !request->by_deadline ||
        request->expected_ns == 0) {
        return;
    }
    (void)wefti_error(&request->base.error, WEFT_TIMEOUT,
                      "the answer would have been too late: a run takes about %.3f ms, "
                      "and %.3f ms were given in all",
                      request->expected_ns * 1e-6,
                      (double)(request->deadline_ns - request->submitted_ns) * 1e-6);
}

static void announce(wefti_queue_request *request)
{
    explain_timeout(request);
    wefti_request_announce(&request->base, request->outcome);
}

/* Takes the next request of a model whose turn to be announced has come. NULL: there is
 * none, and another thread may announce; or the model has gone. */
static wefti_queue_request *next_in_order(wefti_queue_model *model)
{
    weft_queue *queue = model->queue;
    wefti_queue_model *unused = NULL;
    wefti_mutex_lock(&queue->lock);
    wefti_queue_request *request = model->ordered.first;
    if (request && request->ready) {
        queue->held_count--;
        wefti_queue_wake_blocked_locked(queue);
        wefti_queue_take_out(&model->ordered, request, WEFTI_QUEUE_BY_ORDER);
    } else {
        request = NULL;
        model->announcing = false;
        unused = wefti_queue_unlink_unused_locked(model); /* all may have left */
    }
    wefti_mutex_unlock(&queue->lock);
    wefti_queue_model_destroy(unused);
    return request;
}

/* Announces what can be, in order, some at a time, and returns it as a chain. One
 * thread at a time does so; others only mark theirs as ready. *more: there may be more,
 * and the calling thread is still the one; else another may have begun. */
static wefti_queue_request *announce_in_order(wefti_queue_model *model, bool *more)
{
    enum { AT_ONCE = 32 };
    wefti_queue_request *chain = NULL;
    *more = true;
    for (int i = 0; i < AT_ONCE && *more; i++) {
        wefti_queue_request *request = next_in_order(model);
        *more = request != NULL;
        if (request) {
            announce(request);
            request->next_ended = chain;
            chain = request;
        }
    }
    return chain;
}

/* Counts the requests and begins with their announcement. Returns the model to be
 * announced in order, NULL when there is nothing to do for the calling thread. */
static wefti_queue_model *count_and_mark(weft_queue *queue, wefti_queue_request *chain,
                                         wefti_queue_announcer *self)
{
    wefti_queue_model *ordered = NULL;
    wefti_mutex_lock(&queue->lock);
    self->next = queue->announcers;
    queue->announcers = self;
    for (wefti_queue_request *r = chain; r; r = r->next_ended) {
        count_locked(queue, r);
        r->ready = true;
        queue->held_count += queue->params.preserve_order ? 1 : 0;
    }
    if (queue->params.preserve_order && chain &&
        (!chain->model->announcing || wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_ORDER))) {
        ordered = chain->model;
        ordered->announcing = true;
    }
    wefti_mutex_unlock(&queue->lock);
    return ordered;
}

/* The requests leave the queue. */
static void leave_locked(weft_queue *queue, wefti_queue_request *chain)
{
    for (wefti_queue_request *r = chain; r; r = r->next_ended) {
        r->class->live_count--;
        *(r->foreign ? &r->class->foreign_count : &r->class->own_count) -= 1;
        r->model->live_count--;
        queue->live_count--;
    }
    if (queue->live_count == 0 && !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_IDLE)) {
        wefti_condition_wake_all(&queue->idle);
    }
}

void wefti_queue_wake_led(wefti_queue_request *chain)
{
    for (; chain; chain = chain->next_ended) {
        wefti_request_wake(&chain->base);
    }
}

void wefti_queue_drop_ended(wefti_queue_request *chain)
{
    while (chain) {
        wefti_queue_request *next = chain->next_ended;
        weft_request_release(&chain->base);
        chain = next;
    }
}

/* Lets announced requests leave, and drops the queue's ownership of them. The queue may
 * be gone then, unless the calling thread is among its announcers. */
static void leave(weft_queue *queue, wefti_queue_request *chain,
                  const wefti_queue_announcer *last)
{
    wefti_mutex_lock(&queue->lock);
    if (last) {
        wefti_queue_announcer **link = &queue->announcers;
        while (*link != last) {
            link = &(*link)->next;
        }
        *link = last->next;
    }
    leave_locked(queue, chain);
    wefti_queue_model *unused =
        chain ? wefti_queue_unlink_unused_locked(chain->model) : NULL;
    wefti_mutex_unlock(&queue->lock);
    wefti_queue_model_destroy(unused);
    wefti_queue_drop_ended(chain);
}

/* Ends requests of one model. */
static bool end_of_model(weft_queue *queue, wefti_queue_request *chain)
{
    wefti_queue_announcer self = {.thread = wefti_thread_current()};
    wefti_queue_model *ordered = count_and_mark(queue, chain, &self);
    if (queue->params.preserve_order) {
        bool more = false;
        chain = ordered ? announce_in_order(ordered, &more) : NULL;
        while (more) {
            leave(queue, chain, NULL); /* `announcing` keeps the model */
            chain = announce_in_order(ordered, &more);
        }
    } else {
        for (wefti_queue_request *r = chain; r; r = r->next_ended) {
            announce(r);
        }
    }
    leave(queue, chain, &self);
    return self.tears_down;
}

bool wefti_queue_end(weft_queue *queue, wefti_queue_request *chain)
{
    bool tears_down = false;
    while (chain && !tears_down) {
        /* A chain may hold requests of several models, one after another. */
        wefti_queue_request *last = chain;
        while (last->next_ended && last->next_ended->model == chain->model) {
            last = last->next_ended;
        }
        wefti_queue_request *rest = last->next_ended;
        last->next_ended = NULL;
        tears_down = end_of_model(queue, chain);
        chain = rest;
        if (tears_down && rest) {
            /* The queue lives on until these have ended too. */
            (void)wefti_queue_end(queue, rest);
        }
    }
    return tears_down;
}

/* At the device: those of one core that ended alike at once. */
static void count_at_device(const weft_queue *queue, const wefti_queue_request *chain)
{
    while (chain) {
        const wefti_queue_request *first = chain;
        uint64_t count = 0;
        while (chain && chain->base.shard == first->base.shard &&
               chain->outcome == first->outcome) {
            chain = chain->next_ended;
            count++;
        }
        wefti_device_end_several(queue->device, first->base.shard,
                                 wefti_outcome_of(first->outcome), count);
    }
}

void wefti_queue_end_led_locked(weft_queue *queue, wefti_queue_request *chain)
{
    count_at_device(queue, chain);
    for (wefti_queue_request *r = chain; r; r = r->next_ended) {
        count_locked(queue, r);
        wefti_request_mark_ended(&r->base, r->outcome);
    }
    leave_locked(queue, chain);
}

/* ---- who runs a request, and who cancels it ---- */

static bool move(weft_request *base, wefti_request_state from, wefti_request_state to)
{
    uint32_t found = from;
    return wefti_atomic_u32_cas_acq_rel(&base->state, &found, to);
}

bool wefti_queue_begin_storing(wefti_queue_request *request)
{
    bool stores = move(&request->base, WEFTI_REQUEST_RUNNING, WEFTI_REQUEST_STORING) ||
                  wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_ONCE);
    if (!stores) {
        weft_request_release(&request->base); /* ours, by who cancelled it */
    }
    return stores;
}

bool wefti_queue_leave_loading(wefti_queue_request *request, wefti_request_state next)
{
    bool leaves = move(&request->base, WEFTI_REQUEST_LOADING, next);
    if (!leaves) {
        wefti_queue_let_go(request);
    }
    return leaves;
}

bool wefti_queue_unload_locked(wefti_queue_request *request)
{
    return move(&request->base, WEFTI_REQUEST_LOADING, WEFTI_REQUEST_PENDING);
}

void wefti_queue_let_go(wefti_queue_request *request)
{
    weft_request *base = &request->base;
    wefti_mutex_lock(&base->lock);
    wefti_atomic_u32_store_release(&base->state, WEFTI_REQUEST_ENDING);
    wefti_condition_wake_all(&base->ended);
    wefti_mutex_unlock(&base->lock);
    weft_request_release(base); /* ours, by who cancelled it */
}

/* Waits until who was loading the request has let go of its tensors. */
static void wait_dropped(weft_request *base)
{
    wefti_mutex_lock(&base->lock);
    while (wefti_atomic_u32_load_acquire(&base->state) == WEFTI_REQUEST_DROPPED &&
           !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_DROPPED)) {
        /* woken by wefti_queue_let_go */
        (void)wefti_condition_wait(&base->ended, &base->lock, WEFTI_NEVER);
    }
    wefti_mutex_unlock(&base->lock);
}

/* Takes a request from who loads or runs it. */
static bool take_from_runner(weft_request *base)
{
    bool keeps = !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_KEEP);
    if (keeps) {
        weft_request_retain(base); /* for who runs it, and will find it cancelled */
    }
    bool dropped = move(base, WEFTI_REQUEST_LOADING, WEFTI_REQUEST_DROPPED);
    if (dropped) {
        wait_dropped(base);
    }
    bool taken = dropped || move(base, WEFTI_REQUEST_RUNNING, WEFTI_REQUEST_ENDING);
    if (keeps && !taken) {
        weft_request_release(base);
    }
    return taken;
}

/* Whether it is not decided yet how the request ends. */
static bool goes_on(const weft_request *base)
{
    uint32_t state = wefti_atomic_u32_load_acquire(&base->state);
    return state == WEFTI_REQUEST_PENDING || state == WEFTI_REQUEST_LOADING ||
           state == WEFTI_REQUEST_RUNNING;
}

bool wefti_queue_request_cancel(weft_request *base)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    weft_queue *queue = request->queue;
    bool waits = false, taken = false;
    do { /* once more where it was given back meanwhile */
        waits = move(base, WEFTI_REQUEST_PENDING, WEFTI_REQUEST_ENDING);
        taken = waits || take_from_runner(base);
    } while (!taken && goes_on(base) && !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_AGAIN));
    if (!taken) {
        return false;
    }
    if (waits) {
        wefti_queue_lock(queue);
        wefti_queue_delist_locked(request);
        wefti_queue_wake_blocked_locked(queue);
        wefti_mutex_unlock(&queue->lock);
    } else {
        (void)wefti_error(&base->error, WEFT_CANCELLED,
                          "the request was cancelled while it ran");
    }
    request->outcome = WEFT_CANCELLED;
    request->next_ended = NULL;
    if (wefti_queue_end(queue, request)) {
        wefti_queue_teardown(queue);
    }
    return true;
}

bool wefti_queue_cancel_waiting(weft_queue *queue)
{
    wefti_queue_request *chain = NULL;
    wefti_queue_lock(queue);
    wefti_queue_request *request = queue->by_age.last;
    while (request) {
        wefti_queue_request *previous = request->by_age.previous;
        if (wefti_request_claim(&request->base, WEFTI_REQUEST_ENDING)) {
            wefti_queue_delist_locked(request);
            request->outcome = WEFT_CANCELLED;
            request->next_ended = chain;
            chain = request;
        }
        request = previous;
    }
    wefti_queue_wake_blocked_locked(queue);
    wefti_mutex_unlock(&queue->lock);
    return wefti_queue_end(queue, chain);
}
