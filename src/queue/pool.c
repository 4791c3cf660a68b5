/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/fork.h"
#include "base/memory.h"
#include "queue/queue.h"

/* Request objects come back when their last owner goes, which may be long after the
 * queue ended: each holds the queue's memory. So the steady state allocates nothing. */

enum { MOST_FREE = 4096 };

static void destroy_request(wefti_queue_request *request)
{
    wefti_request_fini(&request->base);
    wefti_free(request->tensors);
    wefti_free(request);
}

static void recycle(weft_request *base)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    weft_queue *queue = request->queue;
    wefti_request_close_fd(base);
    wefti_mutex_lock(&queue->report_lock);
    bool keep = queue->free_count < MOST_FREE;
    if (keep) {
        request->next_report = queue->free_requests;
        queue->free_requests = request;
        queue->free_count++;
    }
    wefti_mutex_unlock(&queue->report_lock);
    if (!keep) {
        destroy_request(request);
    }
    wefti_queue_drop_hold(queue);
}

static void report_end(weft_request *base)
{
    wefti_queue_request *request = WEFTI_CONTAINER_OF(base, wefti_queue_request, base);
    if (request->queue->fd >= 0) {
        wefti_queue_report(request->queue, request);
    }
}

static const wefti_request_kind kind = {
    .cancel = wefti_queue_request_cancel,
    .linger = wefti_queue_linger,
    .ended = report_end,
    .destroy = recycle,
};

static wefti_queue_request *take_free(weft_queue *queue)
{
    wefti_mutex_lock(&queue->report_lock);
    wefti_queue_request *request = queue->free_requests;
    if (request) {
        queue->free_requests = request->next_report;
        queue->free_count--;
    }
    wefti_mutex_unlock(&queue->report_lock);
    return request;
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

weft_status wefti_queue_request_create(weft_queue *queue, size_t tensor_count,
                                       wefti_queue_request **request, weft_error *error)
{
    wefti_queue_request *made = take_free(queue);
    if (!made) {
        WEFTI_TRY(make_request(&made, error));
    }
    if (made->tensor_capacity < tensor_count) {
        weft_tensor *tensors =
            wefti_realloc(made->tensors, tensor_count, sizeof *tensors);
        if (!tensors) {
            destroy_request(made);
            return wefti_error_memory(error, "a request");
        }
        made->tensors = tensors;
        made->tensor_capacity = tensor_count;
    }
    wefti_request_reset(&made->base, &kind, queue->device);
    wefti_refcount_retain(&queue->holds);
    made->queue = queue;
    made->outcome = WEFT_OK;
    made->listed = made->ready = false;
    *request = made;
    return WEFT_OK;
}

void wefti_queue_pool_fini(weft_queue *queue)
{
    while (queue->free_requests) {
        wefti_queue_request *request = queue->free_requests;
        queue->free_requests = request->next_report;
        destroy_request(request);
    }
}

void wefti_queue_report(weft_queue *queue, wefti_queue_request *request)
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

weft_request *weft_queue_take_ended(weft_queue *queue)
{
    if (!queue || queue->fd < 0 || wefti_fork_happened()) {
        return NULL;
    }
    wefti_mutex_lock(&queue->report_lock);
    wefti_queue_request *request = queue->ended_first;
    if (request) {
        queue->ended_first = request->next_report;
        if (!queue->ended_first) { /* under the lock, as in wefti_queue_report */
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
