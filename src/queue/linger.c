/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/linger.h"

#include "base/clock.h"
#include "base/thread.h"
#include "queue/queue.h"

enum {
    MOST_TRUST = 16,
    FIRST_TRUST = 8,
    LOST_BY_FAILURE = 1, /* so more than every second try has to be good */
    FIRST_INTERVAL = 32,
    MOST_INTERVAL = 1024,
};

/* A try that took longer than so many batches, and this, was no good: others than the
 * queue's threads use this core. */
enum { MOST_BATCHES = 8, MOST_NS = 500000 };

/* Gathering was good when of so many that were missing one has come. */
enum { WORTH_GATHERING = 4 };

/* A gatherer lets others run so often, at most. */
enum { MOST_GATHERS = 4 };

/* So many requests for each worker are a crowd. */
enum { CROWDED = 8 };

/* The crowd that was is forgotten in the course of so many requests. */
enum { CROWD_FADES = 1 << 11 };

void wefti_patience_init(wefti_patience *patience)
{
    wefti_atomic_u32_init(&patience->trust, FIRST_TRUST);
    wefti_atomic_u32_init(&patience->skipped, 0);
    wefti_atomic_u32_init(&patience->interval, FIRST_INTERVAL);
}

bool wefti_patience_has_trust(const wefti_patience *patience)
{
    /* Relaxed, here and below: hints. */
    return wefti_atomic_u32_load_relaxed(&patience->trust) > 0;
}

bool wefti_patience_try(wefti_patience *patience)
{
    if (WEFTI_LIKELY(wefti_patience_has_trust(patience))) {
        return true;
    }
    uint32_t skipped = wefti_atomic_u32_load_relaxed(&patience->skipped) + 1;
    bool now = skipped >= wefti_atomic_u32_load_relaxed(&patience->interval);
    wefti_atomic_u32_store_relaxed(&patience->skipped, now ? 0 : skipped);
    return now;
}

void wefti_patience_learn(wefti_patience *patience, bool good)
{
    uint32_t trust = wefti_atomic_u32_load_relaxed(&patience->trust);
    uint32_t next =
        good ? trust + 1 : trust - (trust < LOST_BY_FAILURE ? trust : LOST_BY_FAILURE);
    if (trust == 0) {
        uint32_t interval = wefti_atomic_u32_load_relaxed(&patience->interval);
        interval = good                           ? FIRST_INTERVAL
                   : interval < MOST_INTERVAL / 2 ? 2 * interval
                                                  : MOST_INTERVAL;
        wefti_atomic_u32_store_relaxed(&patience->interval, interval);
        next = good ? FIRST_TRUST : 0;
    }
    if (next != trust && next <= MOST_TRUST) { /* mostly it stays: no line moves */
        wefti_atomic_u32_store_relaxed(&patience->trust, next);
    }
}

void wefti_patience_lose(wefti_patience *patience)
{
    wefti_atomic_u32_store_relaxed(&patience->trust, 0);
    wefti_patience_learn(patience, false);
}

/* The longest that a good try takes. */
static int64_t limit_ns(const weft_queue *queue)
{
    /* Relaxed: a hint. */
    return MOST_NS +
           MOST_BATCHES * (int64_t)wefti_atomic_u64_load_relaxed(&queue->usual_ns);
}

void wefti_queue_look_again(wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    if (!wefti_patience_try(&queue->callers)) {
        return;
    }
    int64_t begin_ns = wefti_clock_ns();
    bool ended = false;
    for (int i = 0; i < WEFTI_LINGER_YIELDS && !ended; i++) {
        wefti_thread_yield();
        ended = weft_request_test(&request->base, NULL);
    }
    bool good = ended && wefti_clock_ns() - begin_ns <= limit_ns(queue);
    wefti_patience_learn(&queue->callers, good);
}

/* As a wait on a condition: without the lock meanwhile. */
static void let_others_run_locked(weft_queue *queue) WEFTI_REQUIRES(queue->lock);
static void let_others_run_locked(weft_queue *queue)
{
    wefti_mutex_unlock(&queue->lock);
    wefti_thread_yield();
    wefti_queue_lock(queue);
}

/* While nothing waits. */
static void linger_idle_locked(weft_queue *queue) WEFTI_REQUIRES(queue->lock);
static void linger_idle_locked(weft_queue *queue)
{
    if (queue->waiting_count > 0 || queue->watching ||
        !wefti_patience_try(&queue->idlers)) {
        return;
    }
    int64_t begin_ns = wefti_clock_ns();
    for (int i = 0; i < WEFTI_LINGER_YIELDS && queue->waiting_count == 0 &&
                    !queue->stopping && !queue->closed;
         i++) {
        let_others_run_locked(queue);
    }
    bool good =
        queue->waiting_count > 0 && wefti_clock_ns() - begin_ns <= limit_ns(queue);
    wefti_patience_learn(&queue->idlers, good);
}

/* How many more requests, than wait, are missing of those that are usual. */
static double missing_locked(const weft_queue *queue)
{
    double waiting = (double)queue->waiting_count;
    bool may_join =
        waiting > 0 && !queue->closed && waiting < (double)queue->params.max_batch_size;
    return may_join ? queue->crowd - (double)queue->live_count - waiting : 0;
}

/* While more are missing than wait, and come. */
static void gather_locked(weft_queue *queue) WEFTI_REQUIRES(queue->lock);
static void gather_locked(weft_queue *queue)
{
    uint64_t first = queue->next_sequence, before = first - 1;
    double missing = queue->crowd - (double)queue->live_count;
    if (missing_locked(queue) <= 0 || !wefti_patience_try(&queue->gatherers)) {
        return;
    }
    int64_t begin_ns = wefti_clock_ns();
    for (int i = 0; i < MOST_GATHERS && missing_locked(queue) > 0 &&
                    queue->next_sequence != before;
         i++) {
        before = queue->next_sequence;
        let_others_run_locked(queue);
    }
    double came = (double)(queue->next_sequence - first);
    int64_t took_ns = wefti_clock_ns() - begin_ns;
    bool was_worth = came * WORTH_GATHERING > missing;
    wefti_patience_learn(&queue->gatherers, was_worth && took_ns <= limit_ns(queue));
}

void wefti_queue_linger_for_work_locked(weft_queue *queue)
{
    linger_idle_locked(queue);
    gather_locked(queue);
}

static void note(double *crowd, size_t live_count, int32_t started)
{
    double live = (double)live_count;
    double faded = *crowd - *crowd * started / CROWD_FADES;
    *crowd = live > faded ? live : faded;
}

void wefti_queue_note_crowd_locked(wefti_queue_class *class, int32_t started)
{
    weft_queue *queue = class->model->queue;
    note(&queue->crowd, queue->live_count, started);
    note(&class->crowd, class->foreign_count, started);
    wefti_atomic_u32_store_relaxed(&class->hint_crowded,
                                   wefti_queue_is_class_crowded_locked(class));
}

bool wefti_queue_is_crowded_locked(const weft_queue *queue)
{
    return queue->crowd >= (double)CROWDED * queue->params.workers;
}

void wefti_queue_keep_core(wefti_queue_worker *worker)
{
    weft_queue *queue = worker->queue;
    if (!worker->keeps_core && !worker->has_no_core) {
        uint32_t count = (uint32_t)queue->params.workers;
        uint32_t index = (uint32_t)(worker - queue->workers);
        worker->keeps_core = wefti_thread_keep_core(index, count, &worker->cores);
        worker->has_no_core = !worker->keeps_core;
    }
}

void wefti_queue_free_core(wefti_queue_worker *worker)
{
    if (worker->keeps_core) {
        worker->keeps_core = false;
        wefti_thread_free_core(&worker->cores);
    }
}
