/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/clock.h"
#include "queue/queue.h"

/* Which requests go next.
 *
 * Among priorities, the highest that waits; among models, the one that has had the
 * least device time for its weight (start-time fair queueing, Goyal, Vin and Cheng
 * 1996, with times that are measured, so that a model with long batches gets fewer of
 * them); among its shapes, the soonest deadline, then the oldest request. The rest of
 * the batch comes from the same class, in the same order: a request of a lower
 * priority that fits in goes along at no cost to the others.
 *
 * Every AGING_PERIOD-th batch is led by the oldest request of the queue instead,
 * whatever its priority or model, so that nothing waits for ever. */
enum { AGING_PERIOD = 16 };

/* A class tries the way that was slower so far once in so many batches; and when that
 * cost time, not again before so many times as much has passed in batches. */
enum { PROBE_PERIOD = 64, PROBE_REST = 50 };
static const int64_t MOST_PROBE_REST_NS = 1000000000;

/* Joining has to pay for copying: a joined row may take this part of a lone one. */
static const double WORTH_JOINING = 0.98;

/* What is copied into a batch and out of it: more does not stay in any cache, and each
 * thread that runs batches keeps as much. */
enum { MOST_STAGING_BYTES = 64 * 1024 * 1024 };

/* An outlier (a thread that was preempted) takes more than so many times as long. */
enum { OUTLIER = 4 };

/* New measurements count for an eighth, and outliers for no more than one that just is
 * none. Was it what is known that was the outlier, then it is forgotten. */
static void learn(double *known, double measured)
{
    if (*known == 0 || OUTLIER * measured < *known) {
        *known = measured;
        return;
    }
    double bounded = measured > OUTLIER * *known ? OUTLIER * *known : measured;
    *known += (bounded - *known) / 8;
}

double wefti_queue_expected_ns(const wefti_queue_class *class, int32_t rows)
{
    double row_ns = class->alone_ns > 0 ? class->alone_ns : class->joined_ns;
    return row_ns * rows;
}

static bool is_worth_joining(const wefti_queue_class *class)
{
    return class->joined_ns < WORTH_JOINING * class->alone_ns;
}

/* Whether requests of the class are to be joined now. */
static bool is_joining(const wefti_queue_class *class)
{
    if (!class->joins || class->alone_ns == 0) {
        return false; /* the first one shows what a lone request costs */
    }
    return is_worth_joining(class) ||
           (class->since_probe >= PROBE_PERIOD && class->probe_rest_ns <= 0);
}

/* Where joining did not pay so far, one thread tries; what it finds says how long the
 * others wait (learn_joined). */
static void begin_probe(wefti_queue_batch *batch)
{
    batch->tries = !is_worth_joining(batch->class);
    if (batch->tries) {
        batch->class->since_probe = 0;
        batch->class->probe_rest_ns = MOST_PROBE_REST_NS;
    }
}

double wefti_queue_joining_gain_ns(const wefti_queue_class *class)
{
    return is_joining(class) ? class->alone_ns - class->joined_ns : 0;
}

static double reckon_row_bytes(const wefti_queue_class *class)
{
    const weft_model *model = class->model->model;
    size_t count = weft_model_input_count(model) + weft_model_output_count(model);
    double all = 0;
    for (size_t i = 0; i < count; i++) {
        const weft_tensor *tensor = &class->tensors[i];
        double bytes = (double)weft_type_size(tensor->type);
        if (class->axes[i] < 0) {
            continue;
        }
        for (int32_t k = 0; k < tensor->rank; k++) {
            bytes *= (double)(k == class->axes[i] ? class->rows_per_row[i]
                                                  : tensor->dims[k]);
        }
        all += bytes;
    }
    return all;
}

/* Most rows of a joined batch. */
static int32_t most_joined_rows_locked(wefti_queue_class *class)
{
    if (class->most_rows == 0) {
        int32_t most = class->model->queue->params.max_batch_size;
        double fit = MOST_STAGING_BYTES / (1 + reckon_row_bytes(class));
        int32_t rows = fit >= most ? most : fit < 1 ? 1 : (int32_t)fit;
        while (rows > 1 && rows < most && wefti_queue_padded_rows(rows) > fit) {
            rows--; /* its batch would be padded beyond */
        }
        class->most_rows = rows;
    }
    return class->most_rows;
}

/* With a delay: how long the class's batch is held back for more to join, WEFTI_PAST
 * for not at all. */
static int64_t held_until(const weft_queue *queue, wefti_queue_class *class)
{
    const weft_queue_params *params = &queue->params;
    int32_t most = most_joined_rows_locked(class);
    int32_t enough = params->preferred_batch_size_count > 0 &&
                             params->preferred_batch_sizes[0] < most
                         ? params->preferred_batch_sizes[0]
                         : most;
    if (params->max_queue_delay_us == 0 || queue->closed || !is_joining(class) ||
        class->waiting_rows >= enough) {
        return WEFTI_PAST;
    }
    int64_t oldest_ns = WEFTI_NEVER;
    for (uint32_t i = 0; i < WEFTI_QUEUE_LEVELS; i++) {
        const wefti_queue_request *r = wefti_queue_first_by_class(class, i);
        for (; r; r = wefti_queue_next_by_class(r)) {
            oldest_ns = r->submitted_ns < oldest_ns ? r->submitted_ns : oldest_ns;
        }
    }
    return oldest_ns + params->max_queue_delay_us * 1000;
}

static bool is_sooner(const wefti_queue_request *a, const wefti_queue_request *b)
{
    return !b || a->deadline_ns < b->deadline_ns ||
           (a->deadline_ns == b->deadline_ns && a->sequence < b->sequence);
}

/* The first request of a model at a priority, of classes that are not held back. */
static wefti_queue_request *first_of_model(const weft_queue *queue,
                                           const wefti_queue_model *model,
                                           uint32_t level, int64_t now_ns,
                                           int64_t *wake_ns)
{
    wefti_queue_request *found = NULL;
    wefti_queue_class *class = model->classes;
    for (; class; class = class->next) {
        wefti_queue_request *first = wefti_queue_first_by_class(class, level);
        if (!first || !is_sooner(first, found)) {
            continue;
        }
        int64_t held_ns = held_until(queue, class);
        if (held_ns <= now_ns) {
            found = first;
        } else if (held_ns < *wake_ns) {
            *wake_ns = held_ns;
        }
    }
    return found;
}

static wefti_queue_request *first_of_level(const weft_queue *queue, uint32_t level,
                                           int64_t now_ns, int64_t *wake_ns)
{
    wefti_queue_request *found = NULL;
    const wefti_queue_model *model = queue->models;
    for (; model; model = model->next) {
        if (model->waiting_count == 0 ||
            (found && model->virtual_ns >= found->model->virtual_ns)) {
            continue;
        }
        wefti_queue_request *first =
            first_of_model(queue, model, level, now_ns, wake_ns);
        found = first ? first : found;
    }
    return found;
}

static wefti_queue_request *choose_leader(const weft_queue *queue, int64_t now_ns,
                                          int64_t *wake_ns)
{
    wefti_queue_request *oldest = queue->by_age.first;
    if (oldest && queue->chosen_count % AGING_PERIOD == AGING_PERIOD - 1 &&
        held_until(queue, oldest->class) <= now_ns) {
        return oldest;
    }
    wefti_queue_request *found = NULL;
    for (uint32_t i = 0; i < WEFTI_QUEUE_LEVELS && !found; i++) {
        if (queue->level_count[i] > 0) {
            found = first_of_level(queue, i, now_ns, wake_ns);
        }
    }
    return found;
}

/* Takes a request out of the queue into the batch, or into the chain of those that are
 * too late, or leaves it to the thread that is ending it. */
static void take(wefti_queue_batch *batch, wefti_queue_request *request, int64_t now_ns)
{
    wefti_queue_delist_locked(request);
    if (request->base.start_deadline_ns <= now_ns) {
        if (wefti_request_claim(&request->base, WEFTI_REQUEST_ENDING)) {
            request->outcome = WEFT_TIMEOUT;
            request->next_ended = batch->expired;
            batch->expired = request;
        }
        return;
    }
    if (wefti_request_claim(&request->base, WEFTI_REQUEST_LOADING)) {
        batch->requests[batch->count++] = request;
        batch->rows += request->rows;
    }
}

/* Most rows of a batch. Who leads is to come back soon, as far as is known: the first
 * lone run has built a plan, so its time says nothing of a batch. Who tries whether
 * joining pays after all goes by the time of lone runs: what is known of joined ones
 * may be one that took a hundred times as long, and by that no two would ever be
 * joined. */
static int32_t most_rows(wefti_queue_class *class, bool leads)
{
    int32_t most = most_joined_rows_locked(class);
    double row_ns = is_worth_joining(class) ? class->joined_ns : class->alone_ns;
    bool bound = leads && row_ns * most > WEFTI_QUEUE_MOST_LED_NS;
    return bound ? (int32_t)(WEFTI_QUEUE_MOST_LED_NS / row_ns) : most;
}

/* Fills the batch from the class of its first. `leads`: with what may be led only, for
 * a callback is not for the thread of a stranger. */
static void fill(wefti_queue_batch *batch, int64_t now_ns, bool leads)
{
    wefti_queue_class *class = batch->class;
    int32_t most = most_rows(class, leads);
    for (uint32_t i = 0; i < WEFTI_QUEUE_LEVELS; i++) {
        wefti_queue_request *request = wefti_queue_first_by_class(class, i);
        while (request && request->rows <= most - batch->rows) {
            wefti_queue_request *next = wefti_queue_next_by_class(request);
            /* then it has a row at least */
            if (request->may_join && (request->leadable || !leads)) {
                take(batch, request, now_ns);
            }
            request = next;
        }
    }
}

/* In a crowd whose workers have a core each, a worker takes what the threads of its own
 * core have submitted: they are the ones that run next, and then they all have answers
 * to go on with, instead of every second one. Only while those of other cores that it
 * passes over are no more urgent, and few enough to look at. False: it is less than
 * about its share, and the batch is to be filled with whatever waits. */
static bool fill_from_own_core(wefti_queue_batch *batch, int64_t now_ns)
{
    const weft_queue *queue = batch->class->model->queue;
    int32_t most = most_rows(batch->class, false);
    int32_t passed = 0;
    for (uint32_t i = 0; i < WEFTI_QUEUE_LEVELS && passed == 0; i++) {
        wefti_queue_request *request = wefti_queue_first_by_class(batch->class, i);
        while (request && request->rows <= most - batch->rows && passed < most) {
            wefti_queue_request *next = wefti_queue_next_by_class(request);
            bool own = request->pool == batch->own_pool;
            if (!own && request->deadline_ns != WEFTI_NEVER) {
                return false;
            }
            passed += own ? 0 : 1;
            if (own && request->may_join) {
                take(batch, request, now_ns);
            }
            request = next;
        }
    }
    return 2 * (double)batch->count * queue->params.workers >= queue->crowd;
}

static uint32_t histogram_bucket(uint64_t value)
{
    uint32_t bits = WEFTI_BIT_WIDTH(value);
    return bits < WEFT_QUEUE_BUCKETS ? bits : WEFT_QUEUE_BUCKETS - 1;
}

void wefti_queue_give_back(weft_queue *queue, wefti_queue_batch *batch, int32_t first,
                           const weft_error *why)
{
    wefti_mutex_lock(&queue->lock);
    if (why) {
        batch->class->joins = false;
        batch->class->why_not = *why;
    }
    int32_t dropped = first;
    for (int32_t i = first; i < batch->count; i++) {
        wefti_queue_request *request = batch->requests[i];
        batch->rows -= request->rows;
        /* It did not start: its wait goes on. */
        int64_t waited_ns = batch->chosen_ns - request->submitted_ns;
        queue->statistics.wait_ns[histogram_bucket((uint64_t)waited_ns)]--;
        /* Under the lock, so that who cancels it from here on finds it listed. */
        if (wefti_queue_unload_locked(request)) {
            wefti_queue_enlist_locked(request);
        } else {
            batch->requests[dropped++] = request;
        }
    }
    bool wake = queue->sleeping > queue->woken;
    queue->woken += wake ? 1 : 0;
    wefti_mutex_unlock(&queue->lock);
    if (wake) {
        wefti_condition_wake_one(&queue->work);
    }
    for (int32_t i = first; i < dropped; i++) {
        wefti_queue_let_go(batch->requests[i]);
    }
    batch->count = first;
}

/* Counts the batch and lets its model pay for it. */
static void record_choice(weft_queue *queue, wefti_queue_batch *batch, int64_t now_ns)
{
    weft_queue_statistics *statistics = &queue->statistics;
    wefti_queue_model *model = batch->class->model;
    wefti_queue_note_crowd_locked(batch->class, batch->count);
    queue->chosen_count += batch->leads ? 0 : 1;
    queue->running++;
    statistics->batch_count++;
    batch->chosen_ns = now_ns;
    if (batch->count > 1) {
        begin_probe(batch);
    }
    for (int32_t i = 0; i < batch->count; i++) {
        int64_t waited_ns = now_ns - batch->requests[i]->submitted_ns;
        statistics->wait_ns[histogram_bucket((uint64_t)waited_ns)]++;
    }
    if (model->virtual_ns > queue->virtual_ns) {
        queue->virtual_ns = model->virtual_ns;
    }
    batch->expected_ns = wefti_queue_expected_ns(batch->class, batch->rows);
    model->virtual_ns += batch->expected_ns / model->weight;
    /* The worker's hold, until wefti_queue_account_locked. */
    batch->class->live_count++;
    model->live_count++;
}

static void begin_batch(wefti_queue_batch *batch)
{
    batch->count = batch->rows = batch->padded_rows = 0;
    batch->ran = batch->was_split = batch->leads = batch->tries = false;
    batch->form = NULL;
    batch->expired = NULL;
    batch->wake_ns = WEFTI_NEVER;
}

void wefti_queue_choose_locked(weft_queue *queue, wefti_queue_batch *batch)
{
    int64_t now_ns = wefti_clock_ns();
    begin_batch(batch);
    while (batch->count == 0) {
        wefti_queue_request *leader = choose_leader(queue, now_ns, &batch->wake_ns);
        if (!leader) {
            return;
        }
        batch->class = leader->class;
        take(batch, leader, now_ns);
    }
    bool joins = is_joining(batch->class) && batch->requests[0]->may_join;
    if (joins && !(batch->own_pool && fill_from_own_core(batch, now_ns))) {
        fill(batch, now_ns, false);
    }
    record_choice(queue, batch, now_ns);
}

bool wefti_queue_goes_alone_locked(const wefti_queue_request *request)
{
    const wefti_queue_class *class = request->class;
    return !request->may_join || !is_joining(class) ||
           class->waiting_rows <= request->rows;
}

void wefti_queue_choose_with_locked(wefti_queue_request *request,
                                    wefti_queue_batch *batch)
{
    int64_t now_ns = wefti_clock_ns();
    begin_batch(batch);
    batch->class = request->class;
    batch->leads = true;
    take(batch, request, now_ns);
    if (batch->count == 0) {
        return;
    }
    if (is_joining(batch->class) && request->may_join) {
        fill(batch, now_ns, true);
    }
    record_choice(request->queue, batch, now_ns);
}

/* A model may be ahead of others by so much device time, of a weight of 1. */
static const double MOST_AHEAD_NS = 20e6;

static double least_virtual_ns(const weft_queue *queue)
{
    double least_ns = INFINITY;
    for (const wefti_queue_model *m = queue->models; m; m = m->next) {
        if (m->waiting_count > 0 && m->virtual_ns < least_ns) {
            least_ns = m->virtual_ns;
        }
    }
    return least_ns;
}

void wefti_queue_note_virtual_locked(const wefti_queue_model *model)
{
    weft_queue *queue = model->queue;
    if (model->waiting_count > 0 && model->virtual_ns < queue->least_virtual_ns) {
        queue->least_virtual_ns = model->virtual_ns;
    }
}

/* Each leader asks, twice, and a queue may serve a hundred models, which other cores
 * have changed: so they are looked at only when what was found the last time does not
 * answer. */
bool wefti_queue_may_overtake_locked(const wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    for (uint32_t i = 0; i < request->level; i++) {
        if (queue->level_count[i] > 0) {
            return false;
        }
    }
    if (queue->waiting_count == request->model->waiting_count) {
        return true;
    }
    double most_ns = request->model->virtual_ns - MOST_AHEAD_NS;
    if (most_ns > queue->least_virtual_ns) {
        queue->least_virtual_ns = least_virtual_ns(queue);
    }
    return most_ns <= queue->least_virtual_ns;
}

/* What a row takes alone when nothing is in the way: the least of some hundred runs. In
 * a crowd all others take longer, which says nothing of the work. */
static void learn_least(wefti_queue_class *class, double row_ns)
{
    static const double GROWS = 1.01;
    double least_ns = GROWS * class->least_ns;
    class->least_ns = least_ns > 0 && least_ns < row_ns ? least_ns : row_ns;
    wefti_atomic_u64_store_relaxed(&class->hint_least_ns, (uint64_t) class->least_ns);
}

/* Learns from a batch that was joined. The first one of a size has built a plan. */
static void learn_joined(wefti_queue_class *class, const wefti_queue_batch *batch,
                         int64_t took_ns)
{
    double row_ns = (double)took_ns / (batch->rows > 0 ? batch->rows : 1);
    if (batch->form->ran) {
        learn(&class->joined_ns, row_ns);
    } else {
        batch->form->ran = true;
        row_ns = class->joined_ns;
    }
    double most_ns = OUTLIER * class->alone_ns;
    double lost_ns =
        ((row_ns < most_ns ? row_ns : most_ns) - class->alone_ns) * batch->rows;
    double rest_ns = lost_ns > 0 && row_ns > 0 ? lost_ns * PROBE_REST : 0;
    class->since_probe = 0;
    class->probe_rest_ns =
        rest_ns < (double)MOST_PROBE_REST_NS ? (int64_t)rest_ns : MOST_PROBE_REST_NS;
}

void wefti_queue_account_locked(weft_queue *queue, const wefti_queue_batch *batch,
                                int64_t took_ns)
{
    wefti_queue_class *class = batch->class;
    wefti_queue_model *model = class->model;
    double row_ns = (double)took_ns / (batch->rows > 0 ? batch->rows : 1);
    bool pays = is_worth_joining(class);
    if (batch->ran) {
        queue->statistics.row_count += (uint64_t)batch->rows;
        queue->statistics.batch_rows[histogram_bucket((uint64_t)batch->rows)]++;
    }
    if (!batch->ran) {
        /* nothing to learn from */
    } else if (!batch->form) {
        learn(&class->alone_ns, row_ns);
        learn_least(class, row_ns);
        class->since_probe += pays ? 0 : 1;
        class->probe_rest_ns -= took_ns;
    } else {
        learn_joined(class, batch, took_ns);
    }
    if (batch->tries && !batch->form) {
        class->probe_rest_ns = 0; /* it did not come to that */
    }
    wefti_atomic_u64_store_relaxed(&class->hint_row_ns,
                                   (uint64_t)wefti_queue_expected_ns(class, 1));
    model->virtual_ns += ((double)took_ns - batch->expected_ns) / model->weight;
    wefti_queue_note_virtual_locked(model); /* it may have taken less than expected */
    queue->statistics.device_ns += (uint64_t)took_ns;
    queue->statistics.padded_count += (uint64_t)batch->padded_rows;
    queue->statistics.split_count += batch->was_split ? 1 : 0;
    if (batch->ran) {
        int64_t usual_ns = (int64_t)wefti_atomic_u64_load_relaxed(&queue->usual_ns);
        usual_ns += (took_ns - usual_ns) / 8;
        wefti_atomic_u64_store_relaxed(&queue->usual_ns, (uint64_t)usual_ns);
    }
    queue->running--;
    class->live_count--;
    model->live_count--;
    wefti_queue_wake_idle_locked(queue);
}
