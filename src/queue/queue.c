/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"

enum {
    MOST_WORKERS = 256,
    CARD_WORKERS = 4, /* more take requests from each other before there is a batch */
    DEFAULT_BATCH = 64,
    MOST_BATCH = 65536,
    DEFAULT_QUEUE = 4096,
    MOST_QUEUE = 1 << 20,
    DEFAULT_PRIORITY = 4,
};
static const int64_t MOST_DELAY_US = 60 * 1000 * 1000;

/* Puts the default in for 0 and refuses what is out of range. */
static weft_status check_range(const char *name, int32_t *value, int32_t most,
                               int32_t standard, weft_error *error)
{
    if (*value < 0 || *value > most) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s is %d; give 1 to %d, or 0 for %d", name, (int)*value,
                           (int)most, (int)standard);
    }
    if (*value == 0) {
        *value = standard;
    }
    return WEFT_OK;
}

static weft_status check_preferred(const weft_queue_params *params, weft_error *error)
{
    int32_t count = params->preferred_batch_size_count;
    if (count < 0 || count > WEFT_QUEUE_MAX_PREFERRED) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "preferred_batch_size_count is %d; give 0 to %d", (int)count,
                           WEFT_QUEUE_MAX_PREFERRED);
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t size = params->preferred_batch_sizes[i];
        int32_t before = i > 0 ? params->preferred_batch_sizes[i - 1] : 0;
        if (size <= before || size > params->max_batch_size) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "preferred_batch_sizes[%d] is %d; the sizes ascend from "
                               "1 to max_batch_size, which is %d",
                               (int)i, (int)size, (int)params->max_batch_size);
        }
    }
    return WEFT_OK;
}

static weft_status check_times(const weft_queue_params *params, weft_error *error)
{
    if (params->max_queue_delay_us < 0 || params->max_queue_delay_us > MOST_DELAY_US) {
        return wefti_error(
            error, WEFT_INVALID_ARGUMENT, "max_queue_delay_us is %lld; give 0 to %lld",
            (long long)params->max_queue_delay_us, (long long)MOST_DELAY_US);
    }
    if (params->default_timeout_us < 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "default_timeout_us is %lld; give microseconds, or 0 for "
                           "none",
                           (long long)params->default_timeout_us);
    }
    return WEFT_OK;
}

static weft_status check_params(const weft_device *device,
                                const weft_queue_params *given,
                                weft_queue_params *params, weft_error *error)
{
    *params = (weft_queue_params)WEFT_QUEUE_PARAMS_INIT;
    WEFTI_TRY(wefti_params_take(WEFTI_PARAMS(weft_queue_params), given, params, error));
    int32_t most = device->backend->on_host ? MOST_WORKERS
                                            : CARD_WORKERS * device->info.card_count;
    int32_t cores = device->info.core_count;
    int32_t standard = cores < 1 ? 1 : cores > most ? most : cores;
    WEFTI_TRY(check_range("workers", &params->workers, MOST_WORKERS, standard, error));
    WEFTI_TRY(check_range("max_batch_size", &params->max_batch_size, MOST_BATCH,
                          DEFAULT_BATCH, error));
    WEFTI_TRY(check_range("max_queue_size", &params->max_queue_size, MOST_QUEUE,
                          DEFAULT_QUEUE, error));
    WEFTI_TRY(check_range("default_priority", &params->default_priority,
                          WEFTI_QUEUE_LEVELS, DEFAULT_PRIORITY, error));
    if (params->full_policy != WEFT_QUEUE_BLOCK &&
        params->full_policy != WEFT_QUEUE_FAIL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "full_policy is %d; use WEFT_QUEUE_BLOCK or WEFT_QUEUE_FAIL",
                           (int)params->full_policy);
    }
    WEFTI_TRY(check_preferred(params, error));
    return check_times(params, error);
}

enum { CONDITION_COUNT = 3, LOCK_COUNT = CONDITION_COUNT + 3 };

static void fini_locks(weft_queue *queue, int made)
{
    wefti_condition *conditions[] = {&queue->work, &queue->room, &queue->idle};
    if (made == LOCK_COUNT) {
        wefti_timer_fini(&queue->timer);
    }
    for (int i = 0; i < made - 2 && i < CONDITION_COUNT; i++) {
        wefti_condition_fini(conditions[i]);
    }
    if (made >= 2) {
        wefti_mutex_fini(&queue->report_lock);
    }
    if (made >= 1) {
        wefti_mutex_fini(&queue->lock);
    }
}

static weft_status init_locks(weft_queue *queue, weft_error *error)
{
    wefti_condition *conditions[] = {&queue->work, &queue->room, &queue->idle};
    weft_status status =
        wefti_mutex_init(&queue->lock, "queue", WEFTI_RANK_QUEUE, error);
    int made = 0;
    if (status == WEFT_OK) {
        made++;
        status =
            wefti_mutex_init(&queue->report_lock, "queue ends", WEFTI_RANK_POOL, error);
    }
    for (int i = 0; status == WEFT_OK && i < CONDITION_COUNT; i++) {
        made++;
        status = wefti_condition_init(conditions[i], error);
    }
    if (status == WEFT_OK) {
        made++;
        status = wefti_timer_init(&queue->timer, &wefti_queue_timer_owner, &queue->lock,
                                  error);
    }
    if (status != WEFT_OK) {
        fini_locks(queue, made);
    }
    return status;
}

/* Frees the memory of a queue whose threads have ended. */
static void destroy(weft_queue *queue)
{
    wefti_queue_pools_fini(queue);
    if (queue->fd >= 0) {
        close(queue->fd);
    }
    fini_locks(queue, LOCK_COUNT);
    wefti_free(queue);
}

void wefti_queue_drop_hold(weft_queue *queue)
{
    if (wefti_refcount_release(&queue->holds)) {
        destroy(queue);
    }
}

static weft_status make_parts(weft_queue *queue, weft_error *error)
{
    size_t workers = (size_t)queue->params.workers;
    queue->workers = wefti_calloc(workers, sizeof *queue->workers);
    if (!queue->workers) {
        return wefti_error_memory(error, "the queue's workers");
    }
    if (queue->params.with_fd) {
        bool fails = wefti_fault_here(WEFTI_FAULT_ALLOCATION);
        queue->fd = fails ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->fd < 0) {
            return wefti_error(error, WEFT_OUT_OF_MEMORY,
                               "the system gives no file descriptor for the queue: %s",
                               strerror(fails ? EMFILE : errno));
        }
    }
    return wefti_queue_start_workers(queue, error);
}

/* Draining the device: the queue is kept alive by wefti_device_remove_source. */
static bool cancel_for_device(wefti_device_source *source)
{
    return wefti_queue_cancel_waiting(WEFTI_CONTAINER_OF(source, weft_queue, source));
}

static void teardown_for_device(wefti_device_source *source)
{
    wefti_queue_teardown(WEFTI_CONTAINER_OF(source, weft_queue, source));
}

weft_status weft_queue_create(weft_device *device, const weft_queue_params *params,
                              weft_queue **queue, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!device || !queue) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           device ? "queue" : "device");
    }
    *queue = NULL;
    weft_queue_params checked;
    WEFTI_TRY(check_params(device, params, &checked, error));
    WEFTI_TRY(wefti_device_check_open(device, error));
    weft_queue *made = wefti_malloc_aligned(sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a queue");
    }
    memset(made, 0, sizeof *made); /* also where one of its caches' lines begins */
    weft_status status = init_locks(made, error);
    if (status == WEFT_OK) {
        status = wefti_queue_pools_init(made, error);
        if (status != WEFT_OK) {
            fini_locks(made, LOCK_COUNT);
        }
    }
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    wefti_refcount_init(&made->owners);
    wefti_refcount_init(&made->holds);
    wefti_patience_init(&made->callers);
    wefti_patience_init(&made->idlers);
    wefti_patience_init(&made->gatherers);
    wefti_patience_init(&made->promises);
    wefti_atomic_u64_init(&made->usual_ns, 0);
    wefti_atomic_u32_init(&made->attended, WEFTI_QUEUE_ALONE);
    wefti_atomic_u32_init(&made->spares_cores, 1);
    wefti_atomic_u32_init(&made->posts, 0);
    made->params = checked;
    made->fd = -1;
    made->device = weft_device_retain(device);
    made->source.cancel_waiting = cancel_for_device;
    made->source.teardown = teardown_for_device;
    wefti_device_add_source(device, &made->source);
    status = make_parts(made, error);
    if (status != WEFT_OK) {
        wefti_queue_teardown(made);
        return status;
    }
    *queue = made;
    return WEFT_OK;
}

bool wefti_queue_is_full_locked(const weft_queue *queue)
{
    return queue->waiting_count + queue->held_count >=
           (size_t)queue->params.max_queue_size;
}

void wefti_queue_wake_blocked_locked(weft_queue *queue)
{
    size_t taken = queue->waiting_count + queue->held_count;
    if (queue->blocked == 0 || wefti_queue_is_full_locked(queue) ||
        wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_ROOM)) {
        return;
    }
    if (queue->blocked == 1 || taken + 1 == (size_t)queue->params.max_queue_size) {
        wefti_condition_wake_one(&queue->room);
    } else {
        wefti_condition_wake_all(&queue->room);
    }
}

weft_queue *weft_queue_retain(weft_queue *queue)
{
    if (queue) {
        wefti_refcount_retain(&queue->owners);
    }
    return queue;
}

void weft_queue_close(weft_queue *queue)
{
    if (!queue || wefti_fork_happened()) {
        return;
    }
    wefti_mutex_lock(&queue->lock);
    queue->closed = true;
    wefti_queue_close_posts_locked(queue);
    wefti_queue_end_promises_locked(queue);
    if (!wefti_sabotaged(WEFTI_SABOTAGE_WAKE_ON_CLOSE)) {
        wefti_condition_wake_all(&queue->room);
    }
    wefti_condition_wake_all(&queue->work); /* nothing is held back any more */
    wefti_mutex_unlock(&queue->lock);
}

static bool wait_idle(weft_queue *queue, int64_t deadline_ns)
{
    bool in_time = true;
    wefti_queue_lock(queue);
    while (queue->live_count > 0 && in_time) {
        /* woken by who lets the last request leave */
        in_time = wefti_condition_wait(&queue->idle, &queue->lock, deadline_ns);
        wefti_queue_take_posts_locked(queue);
    }
    bool idle = queue->live_count == 0;
    wefti_mutex_unlock(&queue->lock);
    return idle;
}

/* The outermost callback of the queue that the calling thread is in, or NULL. */
static wefti_queue_announcer *find_announcer_locked(const weft_queue *queue)
{
    wefti_queue_announcer *found = NULL;
    for (wefti_queue_announcer *a = queue->announcers; a; a = a->next) {
        found = wefti_thread_is_current(&a->thread) ? a : found;
    }
    return found;
}

bool wefti_queue_is_inside_locked(const weft_queue *queue)
{
    return find_announcer_locked(queue) != NULL;
}

weft_status weft_queue_drain(weft_queue *queue, int64_t timeout_ns, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!queue) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "queue is NULL");
    }
    wefti_queue_lock(queue);
    bool inside = wefti_queue_is_inside_locked(queue);
    if (!inside) {
        wefti_queue_end_promises_locked(queue);
    }
    wefti_mutex_unlock(&queue->lock);
    if (inside) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_queue_drain was called from a callback of the queue, "
                           "for which it would wait");
    }
    if (wait_idle(queue, wefti_deadline(timeout_ns))) {
        return WEFT_OK;
    }
    if (wefti_queue_cancel_waiting(queue)) {
        wefti_queue_teardown(queue); /* a callback has dropped the caller's owner */
    }
    return wefti_error(error, WEFT_TIMEOUT,
                       "requests did not end within %lld ms; those that had not "
                       "started were cancelled; drain again to wait for the rest",
                       (long long)(timeout_ns / 1000000));
}

void wefti_queue_wake_idle_locked(weft_queue *queue)
{
    if (queue->live_count == 0 && queue->running == 0 && queue->coming == 0) {
        wefti_condition_wake_all(&queue->idle);
    }
}

/* Until no thread is at work on a batch either, whose requests may all have been
 * cancelled, or announces in order: it looks for more once all have left. */
static void wait_still(weft_queue *queue)
{
    wefti_queue_lock(queue);
    while (queue->live_count > 0 || queue->running > 0 || queue->coming > 0 ||
           queue->announcers) {
        /* woken by wefti_queue_wake_idle_locked, and by who lets the last one leave */
        (void)wefti_condition_wait(&queue->idle, &queue->lock, WEFTI_NEVER);
        wefti_queue_take_posts_locked(queue);
    }
    wefti_mutex_unlock(&queue->lock);
}

void wefti_queue_teardown(weft_queue *queue)
{
    wefti_device_remove_source(queue->device, &queue->source);
    wait_still(queue);
    wefti_queue_stop_workers(queue);
    weft_request *ended;
    while ((ended = weft_queue_take_ended(queue)) != NULL) {
        weft_request_release(ended);
    }
    while (queue->models) {
        wefti_queue_model *model = queue->models;
        queue->models = model->next;
        wefti_queue_model_destroy(model);
    }
    weft_device_release(queue->device);
    wefti_queue_drop_hold(queue);
}

void weft_queue_release(weft_queue *queue)
{
    if (!queue || wefti_fork_happened() || !wefti_refcount_release(&queue->owners)) {
        return;
    }
    weft_queue_close(queue);
    wefti_mutex_lock(&queue->lock);
    wefti_queue_announcer *inside = find_announcer_locked(queue);
    if (inside) {
        inside->tears_down = true;
    }
    wefti_mutex_unlock(&queue->lock);
    if (!inside) {
        wefti_queue_teardown(queue);
    }
}

void weft_queue_get_statistics(weft_queue *queue, weft_queue_statistics *statistics)
{
    if (!statistics) {
        return;
    }
    if (!queue || wefti_fork_happened()) {
        *statistics = (weft_queue_statistics){0};
        return;
    }
    wefti_queue_lock(queue);
    *statistics = queue->statistics;
    statistics->waiting = queue->waiting_count;
    statistics->workers = (uint64_t)queue->params.workers;
    wefti_mutex_unlock(&queue->lock);
}
