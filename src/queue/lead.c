/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/thread.h"
#include "queue/queue.h"

/* Who waits for a request runs it: no thread has to be woken, and its tensors lie in
 * the caches of this core. It takes a batch as a worker would, but one with its own
 * request, beside the workers (except where there is only one, which stands for one
 * batch at a time), and goes home with its answer: what else waits it leaves to others.
 *
 * So that nothing is left alone: submit wakes a worker unless as many batches as there
 * are workers run or are `coming`; and who ends its batch or stops coming looks whether
 * a worker is wanted now. */

/* What has waited for so long gets a worker, however many threads are at work. */
enum { LONG_NS = 20000000 };

/* To wake a worker for less takes longer than to run it. */
static const double BRIEF_NS = 10000;

/* For less than this a switch of threads is not worth while. */
static const double WORTH_GATHERING_NS = 2000;

/* So many foreign requests for each worker are a crowd, for which workers gather
 * better: each keeps a core. */
enum { CROWDED = 8 };

enum { MOST_SCRATCH = 64 };

bool wefti_queue_is_leadable(const wefti_queue_request *request)
{
    const weft_queue *queue = request->queue;
    return request->base.callback == NULL && request->base.fd < 0 && queue->fd < 0 &&
           request->base.start_deadline_ns == WEFTI_NEVER &&
           !queue->params.preserve_order && queue->params.max_queue_delay_us == 0 &&
           request->expected_ns > 0 && request->expected_ns <= WEFTI_QUEUE_MOST_LED_NS;
}

uint32_t wefti_queue_count_threads_locked(weft_queue *queue, uint64_t thread)
{
    wefti_queue_census *census = &queue->census;
    uint32_t period = (uint32_t)(queue->next_sequence / WEFTI_CENSUS_PERIOD) + 1;
    if (period != census->period) {
        census->threads = census->counted;
        census->counted = 0;
        census->period = period;
    }
    /* Numbers of threads are addresses: their differences are in the upper bits. */
    uint64_t hash = thread * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t *seen = &census->seen[hash >> (64 - WEFTI_CENSUS_BITS)];
    census->counted += *seen != period;
    *seen = period;
    census->now = census->threads > census->counted ? census->threads : census->counted;
    return census->now;
}

void wefti_queue_end_promises_locked(weft_queue *queue)
{
    wefti_queue_request *request = queue->by_age.first;
    for (; request && queue->promised_count > 0; request = request->by_age.next) {
        wefti_queue_end_promise_locked(request);
    }
    if (queue->waiting_count > 0 && queue->sleeping > queue->woken) {
        queue->woken = queue->sleeping;
        wefti_condition_wake_all(&queue->work);
    }
}

bool wefti_queue_keeps_promises(const wefti_queue_request *request)
{
    /* Relaxed, here and below: hints. */
    return (uint64_t)request->submitted_ns >=
           wefti_atomic_u64_load_relaxed(&request->class->hint_promises_ns);
}

bool wefti_queue_is_for_caller(const wefti_queue_request *request)
{
    uint64_t row_ns = wefti_atomic_u64_load_relaxed(&request->class->hint_least_ns);
    return row_ns > 0 && (double)row_ns * request->rows <= BRIEF_NS &&
           wefti_queue_keeps_promises(request);
}

bool wefti_queue_is_promise_locked(wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    uint32_t threads = wefti_queue_count_threads_locked(queue, request->submitter);
    bool is_crowd = threads >= (uint32_t)queue->params.workers;
    bool has_one = queue->live_count <= threads; /* each thread */
    bool is_for_caller = wefti_queue_keeps_promises(request)
                             ? is_crowd || has_one || wefti_queue_is_for_caller(request)
                             : is_crowd && !has_one;
    /* Where all workers are awake, the first to sleep becomes the watch. */
    bool is_watched = queue->watching || queue->sleeping <= queue->woken;
    return request->leadable && is_watched && is_for_caller &&
           wefti_patience_try(&queue->promises);
}

void wefti_queue_end_promise_locked(wefti_queue_request *request)
{
    request->queue->promised_count -= request->promised ? 1 : 0;
    request->promised = false;
}

bool wefti_queue_wants_worker_locked(const weft_queue *queue, int64_t now_ns)
{
    if (queue->waiting_count == 0 || queue->sleeping <= queue->woken) {
        return false;
    }
    bool has_room = queue->running + queue->coming < queue->params.workers;
    return (has_room && queue->waiting_count > queue->promised_count) ||
           now_ns - queue->by_age.first->submitted_ns > LONG_NS;
}

bool wefti_queue_is_class_crowded_locked(const wefti_queue_class *class)
{
    double crowd = CROWDED * (double)class->model->queue->params.workers;
    return class->crowd >= crowd &&
           wefti_queue_joining_gain_ns(class) > WORTH_GATHERING_NS;
}

/* Whether so many others are about to join that it is better to wait for them. */
static bool is_worth_gathering(const wefti_queue_request *request)
{
    const wefti_queue_class *class = request->class;
    return request->may_join && class->crowd > 2 * (double)class->waiting_rows &&
           class->waiting_rows < request->queue->params.max_batch_size &&
           wefti_queue_joining_gain_ns(class) > WORTH_GATHERING_NS;
}

static bool may_lead_locked(const wefti_queue_request *request)
{
    const weft_queue *queue = request->queue;
    /* A worker that was woken has its turn, or the next leader would always be faster.
     */
    bool alone = queue->running == 0 && queue->woken == 0;
    return (queue->params.workers > 1 || alone) &&
           wefti_queue_may_overtake_locked(request);
}

/* Scratch memory for a batch, or NULL. The lock is given up where there is none yet. */
static wefti_queue_scratch *take_scratch_locked(weft_queue *queue)
    WEFTI_REQUIRES(queue->lock);
static wefti_queue_scratch *take_scratch_locked(weft_queue *queue)
{
    wefti_queue_scratch *scratch = queue->free_scratch;
    if (scratch) {
        queue->free_scratch = scratch->next;
    } else if (queue->scratch_count < MOST_SCRATCH) {
        queue->scratch_count++;
        wefti_mutex_unlock(&queue->lock);
        scratch = wefti_queue_scratch_create(queue);
        wefti_mutex_lock(&queue->lock);
        queue->scratch_count -= scratch ? 0 : 1;
    }
    return scratch;
}

/* A leader's goes back to the free ones of its queue. */
static void give_scratch_locked(wefti_queue_scratch *scratch)
{
    if (!scratch->on_stack) {
        scratch->next = scratch->queue->free_scratch;
        scratch->queue->free_scratch = scratch;
    }
}

/* Waits for its turn, letting others run. Returns scratch memory, `lone` where that
 * will do. NULL: the request waits no more, or another has to run it. */
static wefti_queue_scratch *await_turn_locked(weft_queue *queue,
                                              wefti_queue_request *request,
                                              wefti_queue_scratch *lone)
    WEFTI_REQUIRES(queue->lock);
static wefti_queue_scratch *await_turn_locked(weft_queue *queue,
                                              wefti_queue_request *request,
                                              wefti_queue_scratch *lone)
{
    for (int i = 0; request->listed && i < WEFTI_LINGER_YIELDS; i++) {
        bool gathers = i < WEFTI_LINGER_YIELDS / 2 && is_worth_gathering(request);
        if (!gathers && may_lead_locked(request)) {
            return wefti_queue_goes_alone_locked(request) ? lone
                                                          : take_scratch_locked(queue);
        }
        wefti_mutex_unlock(&queue->lock);
        wefti_thread_yield();
        wefti_queue_lock(queue);
    }
    return NULL;
}

/* Scratch memory for one request, which is not handed from core to core. */
typedef union lone_scratch {
    wefti_queue_scratch scratch;
    char room[sizeof(wefti_queue_scratch) + sizeof(wefti_queue_request *)];
} lone_scratch;

/* Takes a batch with the request. *scratch: for one alone; then what it takes. False:
 * there is none. */
static bool take_batch_locked(weft_queue *queue, wefti_queue_request *request,
                              wefti_queue_batch *batch, wefti_queue_scratch **scratch)
    WEFTI_REQUIRES(queue->lock);
static bool take_batch_locked(weft_queue *queue, wefti_queue_request *request,
                              wefti_queue_batch *batch, wefti_queue_scratch **scratch)
{
    queue->coming++;
    *scratch = await_turn_locked(queue, request, *scratch);
    queue->coming--;
    if (*scratch && request->listed && may_lead_locked(request)) {
        batch->requests = (*scratch)->requests;
        wefti_queue_choose_with_locked(request, batch);
        wefti_queue_wake_blocked_locked(queue);
    }
    if (*scratch && batch->count == 0) {
        give_scratch_locked(*scratch);
    }
    wefti_queue_wake_idle_locked(queue);
    return batch->count > 0;
}

/* Whether a worker has to be woken by who does not lead. */
static bool leaves_to_workers_locked(const wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    bool wake =
        queue->sleeping > queue->woken &&
        (request->listed || wefti_queue_wants_worker_locked(queue, wefti_clock_ns()));
    queue->woken += wake ? 1 : 0;
    return wake;
}

/* Runs a batch, learns from it, and ends its requests. None of them is too late, has a
 * callback or an order to keep (wefti_queue_is_leadable): so this is not the thread
 * that ends the queue. */
static void lead(wefti_queue_scratch *scratch, wefti_queue_batch *batch)
{
    weft_queue *queue = scratch->queue;
    wefti_queue_request *ended = wefti_queue_run_batch(scratch, batch);
    int64_t end_ns = wefti_clock_ns();
    wefti_queue_lock(queue);
    wefti_queue_model *model = batch->class->model;
    wefti_queue_account_locked(queue, batch, end_ns - batch->chosen_ns);
    wefti_queue_end_led_locked(queue, ended);
    wefti_queue_model *unused = wefti_queue_unlink_unused_locked(model);
    give_scratch_locked(scratch);
    bool wake = wefti_queue_wants_worker_locked(queue, end_ns) &&
                !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_LEFT);
    queue->woken += wake ? 1 : 0;
    wefti_mutex_unlock(&queue->lock);
    if (wake) {
        wefti_condition_wake_one(&queue->work);
    }
    wefti_queue_wake_led(ended);
    wefti_queue_drop_ended(ended);
    wefti_queue_model_destroy(unused);
}

void wefti_queue_linger(weft_request *base, bool has_time)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    weft_queue *queue = request->queue;
    wefti_queue_batch batch = {0};
    lone_scratch lone = {.scratch = {.queue = queue, .on_stack = true}};
    wefti_queue_scratch *scratch = &lone.scratch;
    bool leads = false;
    if (request->leadable) {
        wefti_queue_lock(queue);
        if (request->promised) {
            wefti_queue_end_promise_locked(request);
            wefti_patience_learn(&queue->promises, has_time);
        }
        leads = has_time && take_batch_locked(queue, request, &batch, &scratch);
        bool wake = !leads && leaves_to_workers_locked(request);
        wefti_mutex_unlock(&queue->lock);
        if (wake) {
            wefti_condition_wake_one(&queue->work);
        }
    }
    if (leads) {
        lead(scratch, &batch);
    } else if (has_time) {
        wefti_queue_look_again(request);
    }
}
