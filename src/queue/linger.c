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

/* Gathering was good when of so many that were answered one has come back. */
enum { WORTH_GATHERING = 4 };

void wefti_patience_init(wefti_patience *patience)
{
    wefti_atomic_u32_init(&patience->trust, FIRST_TRUST);
    wefti_atomic_u32_init(&patience->skipped, 0);
    wefti_atomic_u32_init(&patience->interval, FIRST_INTERVAL);
}

bool wefti_patience_try(wefti_patience *patience)
{
    /* Relaxed, here and below: hints. */
    if (WEFTI_LIKELY(wefti_atomic_u32_load_relaxed(&patience->trust) > 0)) {
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

/* The longest that a good try takes. */
static int64_t limit_ns(const weft_queue *queue)
{
    /* Relaxed: a hint. */
    return MOST_NS +
           MOST_BATCHES * (int64_t)wefti_atomic_u64_load_relaxed(&queue->usual_ns);
}

void wefti_queue_linger(weft_request *base)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    weft_queue *queue = request->queue;
    if (!wefti_patience_try(&queue->callers)) {
        return;
    }
    int64_t begin_ns = wefti_clock_ns();
    bool ended = false;
    for (int i = 0; i < WEFTI_LINGER_YIELDS && !ended; i++) {
        wefti_thread_yield();
        ended = weft_request_test(base, NULL);
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
    wefti_mutex_lock(&queue->lock);
}

void wefti_queue_linger_idle_locked(weft_queue *queue)
{
    if (!wefti_patience_try(&queue->idlers)) {
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

void wefti_queue_gather_locked(weft_queue *queue, int32_t answered)
{
    size_t before = queue->waiting_count;
    if (answered < 2 || before >= (size_t)queue->params.max_batch_size ||
        !wefti_patience_try(&queue->gatherers)) {
        return;
    }
    int64_t begin_ns = wefti_clock_ns();
    let_others_run_locked(queue);
    bool good = queue->waiting_count > before + (size_t)answered / WORTH_GATHERING &&
                wefti_clock_ns() - begin_ns <= limit_ns(queue);
    wefti_patience_learn(&queue->gatherers, good);
}
