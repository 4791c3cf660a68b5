/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/memory.h"
#include "queue/queue.h"

/* Request objects come back when their last owner goes, which may be long after the
 * queue ended: each holds the queue's memory. So the steady state allocates nothing. */

enum { MOST_FREE = 512 };

static void free_results(wefti_queue_request *request)
{
    wefti_results_destroy(request->results);
    request->results = NULL;
}

static void destroy_request(wefti_queue_request *request)
{
    free_results(request);
    wefti_request_fini(&request->base);
    wefti_free(request->tensors);
    wefti_free(request);
}

static void recycle(weft_request *base)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    weft_queue *queue = request->queue;
    wefti_queue_pool *pool = request->pool;
    wefti_request_close_fd(base);
    wefti_mutex_lock(&pool->lock);
    bool keep = pool->free_count < MOST_FREE;
    if (keep) {
        request->next_report = pool->free_requests;
        pool->free_requests = request;
        pool->free_count++;
    }
    bool last = --pool->in_use == 0;
    wefti_mutex_unlock(&pool->lock);
    if (!keep) {
        destroy_request(request);
    }
    if (last) {
        wefti_queue_drop_hold(queue);
    }
}

/* Puts an ended request into the list of weft_queue_take_ended. */
static void report(weft_queue *queue, wefti_queue_request *request)
{
    weft_request_retain(&request->base);
    wefti_mutex_lock(&queue->report_lock);
    bool first = !queue->ended_first;
    request->next_report = NULL;
    *(first ? &queue->ended_first : &queue->ended_last->next_report) = request;
    queue->ended_last = request;
    if (first) {
        /* Under the lock, so that the descriptor tells what the list does; a counter
         * never makes its writer wait here. */
        uint64_t one = 1;
        ssize_t wrote = write(queue->fd, &one, sizeof one);
        (void)wrote;
    }
    wefti_mutex_unlock(&queue->report_lock);
}

static void report_end(weft_request *base)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    if (request->queue->fd >= 0) {
        report(request->queue, request);
    }
}

_Static_assert(offsetof(wefti_queue_request, base) == 0, "see get_output");
static bool get_output(const weft_request *base, size_t index, weft_tensor *output)
{
    const wefti_queue_request *request = (const void *)base; /* its first member */
    bool there = index < request->io.output_count;
    if (there) {
        *output = request->io.outputs[index];
    }
    return there;
}

static void let_go(weft_request *base)
{
    free_results(WEFTI_CONTAINER_OF(base, wefti_queue_request, base));
    recycle(base);
}

static const wefti_request_kind kind = {
    .cancel = wefti_queue_request_cancel,
    .linger = wefti_queue_linger,
    .ended = report_end,
    .output = get_output,
    .destroy = let_go,
};

wefti_queue_request *wefti_queue_take_free_locked(weft_queue *queue,
                                                  wefti_queue_pool *pool)
{
    if (pool->in_use++ == 0) {
        wefti_refcount_retain(&queue->holds);
    }
    wefti_queue_request *request = pool->free_requests;
    if (request) {
        pool->free_requests = request->next_report;
        pool->free_count--;
    }
    return request;
}

/* Counts one more in use, and returns one that came back, or NULL. */
static wefti_queue_request *take_free(weft_queue *queue, wefti_queue_pool *pool)
{
    wefti_mutex_lock(&pool->lock);
    wefti_queue_request *request = wefti_queue_take_free_locked(queue, pool);
    wefti_mutex_unlock(&pool->lock);
    return request;
}

/* None was made after all; the caller keeps the queue alive. */
static void untake(weft_queue *queue, wefti_queue_pool *pool)
{
    wefti_mutex_lock(&pool->lock);
    bool last = --pool->in_use == 0;
    wefti_mutex_unlock(&pool->lock);
    if (last) {
        wefti_queue_drop_hold(queue);
    }
}

static weft_status make_request(wefti_queue_request **request, weft_error *error)
{
    wefti_queue_request *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a request");
    }
    weft_status status = wefti_request_init(&made->base, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    *request = made;
    return WEFT_OK;
}

static weft_status make_room(wefti_queue_request *request, size_t tensor_count,
                             weft_error *error)
{
    if (request->tensor_capacity >= tensor_count) {
        return WEFT_OK;
    }
    weft_tensor *tensors =
        wefti_realloc(request->tensors, tensor_count, sizeof *tensors);
    if (!tensors) {
        return wefti_error_memory(error, "a request");
    }
    request->tensors = tensors;
    request->tensor_capacity = tensor_count;
    return WEFT_OK;
}

void wefti_queue_request_renew(wefti_queue_request *request)
{
    wefti_request_reset(&request->base, &kind, request->queue->device);
    wefti_refcount_init_many(&request->base.owners, 2);
    request->outcome = WEFT_OK;
    request->submitter = wefti_thread_number();
    request->listed = request->ready = request->promised = false;
}

wefti_queue_pool *wefti_queue_pool_here(weft_queue *queue)
{
    return &queue->pools[wefti_current_core() % WEFTI_QUEUE_POOLS];
}

weft_status wefti_queue_request_create(weft_queue *queue, const weft_io *io,
                                       wefti_queue_request **request, weft_error *error)
{
    wefti_queue_pool *pool = wefti_queue_pool_here(queue);
    wefti_queue_request *made = take_free(queue, pool);
    weft_status status = made ? WEFT_OK : make_request(&made, error);
    if (status == WEFT_OK) {
        status = make_room(made, io->input_count + io->output_count, error);
    }
    if (status != WEFT_OK) {
        if (made) {
            destroy_request(made);
        }
        untake(queue, pool);
        return status;
    }
    made->queue = queue;
    made->pool = pool;
    made->recent = NULL;
    wefti_queue_request_renew(made);
    *request = made;
    return WEFT_OK;
}

static void fini_pool(wefti_queue_pool *pool)
{
    while (pool->free_requests) {
        wefti_queue_request *request = pool->free_requests;
        pool->free_requests = request->next_report;
        destroy_request(request);
    }
    wefti_mutex_fini(&pool->lock);
}

weft_status wefti_queue_pools_init(weft_queue *queue, weft_error *error)
{
    for (int i = 0; i < WEFTI_QUEUE_POOLS; i++) {
        weft_status status = wefti_mutex_init(&queue->pools[i].lock, "queue requests",
                                              WEFTI_RANK_POOL, error);
        if (status != WEFT_OK) {
            while (i-- > 0) {
                fini_pool(&queue->pools[i]);
            }
            return status;
        }
    }
    return WEFT_OK;
}

void wefti_queue_pools_fini(weft_queue *queue)
{
    for (int i = 0; i < WEFTI_QUEUE_POOLS; i++) {
        fini_pool(&queue->pools[i]);
    }
}

weft_request *weft_queue_take_ended(weft_queue *queue)
{
    if (!queue || queue->fd < 0 || wefti_fork_happened()) {
        return NULL;
    }
    wefti_mutex_lock(&queue->report_lock);
    wefti_queue_request *request = queue->ended_first;
    if (request) {
        queue->ended_first = request->next_report;
        if (!queue->ended_first) { /* under the lock, as in report */
            uint64_t count;
            ssize_t got = read(queue->fd, &count, sizeof count);
            (void)got;
        }
    }
    wefti_mutex_unlock(&queue->report_lock);
    return request ? &request->base : NULL;
}

int weft_queue_fd(const weft_queue *queue)
{
    return queue ? queue->fd : -1;
}
