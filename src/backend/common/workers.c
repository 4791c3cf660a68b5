/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/common/workers.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/thread.h"

enum { MAX_WORKERS = 1024 };

struct wefti_workers {
    /* guarded by lock */
    wefti_mutex lock;
    wefti_condition work; /* woken by post, and by destroy for all */
    wefti_task *first, *last;
    int32_t sleeping;
    bool stopping;

    /* one thread at a time (the worker that destroys, when the others have ended) */
    bool freed_by_worker;

    /* immutable after create */
    int32_t count; /* threads that were started */
    wefti_thread threads[];
};

/* Takes the next task; NULL when there is none and the workers are to end. */
static wefti_task *next_task(wefti_workers *workers)
{
    wefti_mutex_lock(&workers->lock);
    while (workers->first == NULL && !workers->stopping) {
        workers->sleeping++;
        (void)wefti_condition_wait(&workers->work, &workers->lock, WEFTI_NEVER);
        workers->sleeping--;
    }
    wefti_task *task = workers->first;
    if (task != NULL) {
        workers->first = task->next;
        if (workers->first == NULL) {
            workers->last = NULL;
        }
    }
    wefti_mutex_unlock(&workers->lock);
    return task;
}

static void free_workers(wefti_workers *workers)
{
    wefti_condition_fini(&workers->work);
    wefti_mutex_fini(&workers->lock);
    wefti_free(workers);
}

static void worker_main(void *argument)
{
    wefti_workers *workers = argument;
    for (wefti_task *task; (task = next_task(workers)) != NULL;) {
        task->run(task); /* the task may be gone now */
    }
    if (workers->freed_by_worker) {
        free_workers(workers);
    }
}

int32_t wefti_workers_wanted(const weft_device_params *params)
{
    if (params->worker_count < 0) {
        return wefti_core_count();
    }
    return params->worker_count < MAX_WORKERS ? params->worker_count : MAX_WORKERS;
}

weft_status wefti_workers_create(int32_t count, wefti_workers **workers,
                                 weft_error *error)
{
    *workers = NULL;
    size_t bytes = sizeof(wefti_workers) + (size_t)count * sizeof(wefti_thread);
    wefti_workers *made = wefti_calloc(1, bytes);
    if (made == NULL) {
        return wefti_error_memory(error, "the device's workers");
    }
    weft_status status =
        wefti_mutex_init(&made->lock, "workers", WEFTI_RANK_WORKERS, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    status = wefti_condition_init(&made->work, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&made->lock);
        wefti_free(made);
        return status;
    }
    for (int32_t i = 0; i < count && status == WEFT_OK; i++) {
        status = wefti_thread_start(&made->threads[i], "weft-worker", worker_main, made,
                                    error);
        made->count += status == WEFT_OK;
    }
    if (status != WEFT_OK) {
        wefti_workers_destroy(made);
        return status;
    }
    *workers = made;
    return WEFT_OK;
}

void wefti_workers_destroy(wefti_workers *workers)
{
    if (workers == NULL) {
        return;
    }
    wefti_mutex_lock(&workers->lock);
    workers->stopping = true;
    wefti_condition_wake_all(&workers->work);
    wefti_mutex_unlock(&workers->lock);
    wefti_thread *self = NULL;
    for (int32_t i = 0; i < workers->count; i++) {
        if (wefti_thread_is_current(&workers->threads[i])) {
            self = &workers->threads[i];
        } else {
            wefti_thread_join(&workers->threads[i]);
        }
    }
    if (self == NULL) {
        free_workers(workers);
        return;
    }
    /* A task of ours destroys us: a device's last owner went there. The others have
     * ended, so this flag is the calling thread's own; it frees the rest as it ends. */
    wefti_thread_detach(self);
    workers->freed_by_worker = true;
}

weft_status wefti_workers_post(wefti_workers *workers, wefti_task *task,
                               weft_error *error)
{
    if (workers->count == 0) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "this device has no worker threads; open it with a "
                           "worker_count above 0");
    }
    task->next = NULL;
    wefti_mutex_lock(&workers->lock);
    if (workers->last == NULL) {
        workers->first = task;
    } else {
        workers->last->next = task;
    }
    workers->last = task;
    if (workers->sleeping > 0) {
        wefti_condition_wake_one(&workers->work);
    }
    wefti_mutex_unlock(&workers->lock);
    return WEFT_OK;
}

int32_t wefti_workers_count(const wefti_workers *workers)
{
    return workers->count;
}
