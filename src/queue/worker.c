/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "queue/queue.h"

/* Who did not come for its request has waited for up to twice the time of a promise: so
 * for fifty times as long nothing of its class is left to callers while a core may be
 * idle, however many of them come. */
static const int64_t BROKEN_REST_NS = INT64_C(100) * WEFTI_QUEUE_PROMISE_NS;

/* Whether all that waits is left to those who promised to come for it, and not for too
 * long yet. */
static bool is_promised_locked(weft_queue *queue)
{
    if (queue->waiting_count != queue->promised_count || queue->waiting_count == 0 ||
        queue->closed) {
        return false;
    }
    wefti_queue_request *oldest = queue->by_age.first;
    int64_t now_ns = wefti_clock_ns();
    if (now_ns - oldest->submitted_ns < WEFTI_QUEUE_PROMISE_NS) {
        return true;
    }
    wefti_queue_end_promise_locked(oldest);
    wefti_patience_lose(&queue->promises);
    wefti_atomic_u64_store_relaxed(&oldest->class->hint_promises_ns,
                                   (uint64_t)(now_ns + BROKEN_REST_NS));
    return false;
}

/* Chooses a batch, unless what waits is promised, or one worker stands for one batch at
 * a time and another thread has it; who leaves serves what there is. */
static void choose_locked(weft_queue *queue, wefti_queue_batch *batch, bool leaves)
{
    batch->count = 0;
    batch->expired = NULL;
    batch->wake_ns = WEFTI_NEVER;
    if (leaves || (!is_promised_locked(queue) &&
                   (queue->params.workers > 1 || queue->running == 0))) {
        wefti_queue_choose_locked(queue, batch);
    }
}

/* Sleeps until there is work, or the end of a delay. One of the workers watches over
 * promises while requests come. */
static void sleep_locked(weft_queue *queue, int64_t wake_ns)
    WEFTI_REQUIRES(queue->lock);
static void sleep_locked(weft_queue *queue, int64_t wake_ns)
{
    bool watches =
        !queue->watching &&
        (queue->promised_count > 0 || queue->watched_sequence != queue->next_sequence);
    if (watches && !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_WATCH)) {
        int64_t watch_ns = wefti_clock_ns() + WEFTI_QUEUE_PROMISE_NS;
        wake_ns = watch_ns < wake_ns ? watch_ns : wake_ns;
    }
    if (watches) {
        queue->watched_sequence = queue->next_sequence;
        queue->watching = true;
    }
    queue->sleeping++;
    uint64_t sequence = queue->next_sequence;
    wefti_queue_attend_locked(queue);
    if (sequence == queue->next_sequence) { /* else something had been posted */
        /* woken by submit, who leads, close and stop, or by the end of a delay */
        (void)wefti_condition_wait(&queue->work, &queue->lock, wake_ns);
        queue->woken -= queue->woken > 0 ? 1 : 0;
    }
    queue->sleeping--;
    if (watches) {
        queue->watching = false;
    }
    wefti_queue_attend_locked(queue);
    wefti_queue_take_posts_locked(queue);
}

/* Takes the next batch, waiting for it unless `leaves`. False: the queue stops, or
 * nothing waits. */
static bool next_batch(wefti_queue_worker *worker, wefti_queue_batch *batch,
                       bool leaves)
{
    weft_queue *queue = worker->queue;
    bool prefers = worker->keeps_core && !queue->params.preserve_order;
    batch->own_pool = prefers ? wefti_queue_pool_here(queue) : NULL;
    wefti_queue_lock(queue);
    if (!leaves) {
        wefti_queue_linger_for_work_locked(queue);
    }
    choose_locked(queue, batch, leaves);
    while (batch->count == 0 && !batch->expired && !queue->stopping && !leaves) {
        if (worker->keeps_core) {
            wefti_mutex_unlock(&queue->lock);
            wefti_queue_free_core(worker);
            wefti_queue_lock(queue);
        } else {
            sleep_locked(queue, batch->wake_ns);
        }
        choose_locked(queue, batch, false);
    }
    bool found = batch->count > 0 || batch->expired;
    batch->crowded = wefti_queue_is_crowded_locked(queue);
    if (found) {
        wefti_queue_wake_blocked_locked(queue);
    }
    /* This worker may have been the one that waited for the end of another batch's
     * delay, or that watched over promises. */
    bool delays = queue->params.max_queue_delay_us > 0 && queue->waiting_count > 0;
    bool unwatched = queue->promised_count > 0 && !queue->watching;
    bool wake = found && (delays || unwatched) && queue->sleeping > queue->woken;
    queue->woken += wake ? 1 : 0;
    wefti_mutex_unlock(&queue->lock);
    if (wake) {
        wefti_condition_wake_one(&queue->work);
    }
    return found;
}

/* Who keeps a core must not run callbacks: threads that they start would keep to it. */
static void keep_or_free_core(wefti_queue_worker *worker,
                              const wefti_queue_batch *batch)
{
    bool keep = batch->crowded && !worker->queue->params.preserve_order;
    for (const wefti_queue_request *r = batch->expired; keep && r; r = r->next_ended) {
        keep = r->base.callback == NULL;
    }
    for (int32_t i = 0; keep && i < batch->count; i++) {
        keep = batch->requests[i]->base.callback == NULL;
    }
    if (keep) {
        wefti_queue_keep_core(worker);
    } else {
        wefti_queue_free_core(worker);
    }
}

bool wefti_queue_serve(wefti_queue_scratch *scratch, wefti_queue_batch *batch)
{
    weft_queue *queue = scratch->queue;
    wefti_queue_request *ended = NULL;
    if (batch->count > 0) {
        ended = wefti_queue_run_batch(scratch, batch);
        int64_t end_ns = wefti_clock_ns();
        wefti_queue_lock(queue);
        wefti_queue_model *model = batch->class->model;
        wefti_queue_account_locked(queue, batch, end_ns - batch->chosen_ns);
        wefti_queue_model *unused = wefti_queue_unlink_unused_locked(model);
        wefti_mutex_unlock(&queue->lock);
        wefti_queue_model_destroy(unused);
    }
    bool tears_down = wefti_queue_end(queue, batch->expired);
    return wefti_queue_end(queue, ended) || tears_down;
}

static void run_worker(void *argument)
{
    wefti_queue_worker *worker = argument;
    weft_queue *queue = worker->queue;
    wefti_queue_batch batch = {.requests = worker->scratch->requests};
    bool tears_down = false;
    while (next_batch(worker, &batch, tears_down)) {
        keep_or_free_core(worker, &batch);
        tears_down = wefti_queue_serve(worker->scratch, &batch) || tears_down;
    }
    if (tears_down) {
        /* What still waited has been served: there may be no other worker. */
        wefti_queue_teardown(queue); /* detaches this thread */
    }
}

wefti_queue_scratch *wefti_queue_scratch_create(weft_queue *queue)
{
    wefti_queue_scratch *made = NULL;
    size_t places = (size_t)queue->params.max_batch_size;
    made = wefti_calloc(1, sizeof *made + places * sizeof made->requests[0]);
    if (made) {
        made->queue = queue;
    }
    return made;
}

void wefti_queue_scratch_destroy(wefti_queue_scratch *scratch)
{
    if (scratch) {
        wefti_free(scratch->staging);
        wefti_free(scratch->retry_staging);
        wefti_free(scratch->tables);
        wefti_free(scratch);
    }
}

static weft_status start_worker(weft_queue *queue, int32_t index, weft_error *error)
{
    wefti_queue_worker *worker = &queue->workers[index];
    worker->queue = queue;
    worker->scratch = wefti_queue_scratch_create(queue);
    if (!worker->scratch) {
        return wefti_error_memory(error, "a worker of the queue");
    }
    char name[16];
    snprintf(name, sizeof name, "weft-queue-%d", (int)(index % 1000));
    WEFTI_TRY(wefti_thread_start(&worker->thread, name, run_worker, worker, error));
    worker->started = true;
    return WEFT_OK;
}

weft_status wefti_queue_start_workers(weft_queue *queue, weft_error *error)
{
    for (int32_t i = 0; i < queue->params.workers; i++) {
        WEFTI_TRY(start_worker(queue, i, error));
    }
    return WEFT_OK;
}

static void join_or_detach(wefti_thread *thread)
{
    if (wefti_thread_is_current(thread)) {
        wefti_thread_detach(thread);
    } else {
        wefti_thread_join(thread);
    }
}

void wefti_queue_stop_workers(weft_queue *queue)
{
    wefti_mutex_lock(&queue->lock);
    queue->stopping = true;
    wefti_condition_wake_all(&queue->work);
    wefti_mutex_unlock(&queue->lock);
    wefti_timer_stop(&queue->timer);
    for (int32_t i = 0; queue->workers && i < queue->params.workers; i++) {
        wefti_queue_worker *worker = &queue->workers[i];
        if (worker->started) {
            join_or_detach(&worker->thread);
        }
        wefti_queue_scratch_destroy(worker->scratch);
    }
    wefti_free(queue->workers);
    queue->workers = NULL;
    while (queue->free_scratch) {
        wefti_queue_scratch *scratch = queue->free_scratch;
        queue->free_scratch = scratch->next;
        wefti_queue_scratch_destroy(scratch);
    }
}

static void due_locked(wefti_timer *timer, weft_request *base, bool claimed)
{
    (void)claimed; /* else another thread ends it right now */
    weft_queue *queue = WEFTI_CONTAINER_OF(timer, weft_queue, timer);
    wefti_queue_delist_locked(WEFTI_CONTAINER_OF(base, wefti_queue_request, base));
    wefti_queue_wake_blocked_locked(queue);
}

static bool end_late(wefti_timer *timer, weft_request *base)
{
    weft_queue *queue = WEFTI_CONTAINER_OF(timer, weft_queue, timer);
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    request->outcome = WEFT_TIMEOUT;
    request->next_ended = NULL;
    bool tears_down = wefti_queue_end(queue, request);
    if (tears_down) {
        wefti_queue_teardown(queue); /* detaches this thread */
    }
    return tears_down;
}

const wefti_timer_owner wefti_queue_timer_owner = {
    .thread_name = "weft-q-timer",
    .due_locked = due_locked,
    .end = end_late,
};
