/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <weft/request.h>

WEFT_BEGIN_DECLS

/* Takes single requests from any number of threads, joins those of one model into
 * batches, and gives every caller the bits it would have got alone.
 *
 * Requests join when their model has a batch dimension, their shapes differ in nothing
 * else, and the model was shown to treat the rows of a batch one by one; all others
 * run alone, by the same rules of order. A worker that is free takes what is there at
 * once; while all are busy, requests gather. A thread that waits for a short request
 * may run it itself, on its own stack, with others that fit (weft_request_wait). Class:
 * synchronised. */
typedef struct weft_queue weft_queue;

/* What weft_queue_submit does when max_queue_size requests wait. */
typedef enum weft_queue_full_policy {
    WEFT_QUEUE_BLOCK = 0, /* wait for room, to the request's timeout_us; in a callback
                             of the queue, which may hold up who would make it:
                             WEFT_BUSY */
    WEFT_QUEUE_FAIL = 1,  /* WEFT_BUSY at once */
} weft_queue_full_policy;

/* Priorities go from 1, the highest, to this. */
enum { WEFT_QUEUE_LOWEST_PRIORITY = 8 };

enum { WEFT_QUEUE_MAX_PREFERRED = 16 };

typedef struct weft_queue_params {
    size_t struct_size;
    /* Threads that execute batches; 0: one per core of the device, at most 4 per card.
     * At most 256. With 1 there is never more than one batch at a time; with more,
     * threads that wait for short requests run some beside the workers. */
    int32_t workers;
    /* Most rows in a batch; 0: 64. 1 joins nothing. At most 65536. Rows that take much
     * memory make smaller batches: inputs and outputs together up to 64 MiB. */
    int32_t max_batch_size;
    /* Rows at which a batch is as good as full, ascending: with a delay, requests are
     * held back only until the first of them is reached. */
    int32_t preferred_batch_sizes[WEFT_QUEUE_MAX_PREFERRED];
    int32_t preferred_batch_size_count;
    /* How long a request may be held back for others to join it although a worker is
     * free; 0: not at all. At most 60 s. */
    int64_t max_queue_delay_us;
    /* Most requests that wait; 0: 4096. At most 2^20. With preserve_order those that
     * have ended and wait for the announcement of earlier ones count too, so that a
     * slow request holds a bounded number of others back. */
    int32_t max_queue_size;
    weft_queue_full_policy full_policy;
    /* Of requests that give none: 1 to 8; 0: 4. */
    int32_t default_priority;
    /* Of requests that give none: how long they may wait; 0: for ever. */
    int64_t default_timeout_us;
    /* The ends of one model's requests are announced in the order of submission. */
    bool preserve_order;
    /* Makes weft_queue_fd and weft_queue_take_ended work. */
    bool with_fd;
} weft_queue_params;

#define WEFT_QUEUE_PARAMS_INIT                                                         \
    {                                                                                  \
        .struct_size = sizeof(weft_queue_params)                                       \
    }

/* How a queue serves one of its models. */
typedef struct weft_queue_model_params {
    size_t struct_size;
    /* Name of the dimension along which requests join; NULL: it is looked for, as the
     * one dynamic dimension that every input has. */
    const char *batch_dimension;
    /* This model's part of the device's time beside others, 0.001 to 1000; 0: 1. */
    double weight;
} weft_queue_model_params;

#define WEFT_QUEUE_MODEL_PARAMS_INIT                                                   \
    {                                                                                  \
        .struct_size = sizeof(weft_queue_model_params)                                 \
    }

typedef struct weft_queue_submit_params {
    size_t struct_size;
    /* On the thread that ends the request: mostly a worker, whose other requests wait
     * while it blocks; those of other workers go on. With preserve_order all of its
     * model wait for it. */
    weft_request_callback callback;
    void *user;
    /* Makes weft_request_fd work; costs one file descriptor. */
    bool with_fd;
    /* 1 is the highest, 8 the lowest; 0: the queue's default. */
    int32_t priority;
    /* Ends the request with WEFT_TIMEOUT when it has not started by then, the wait
     * for room included; 0: the queue's default. */
    int64_t timeout_us;
    /* When the answer is of no use any more. Sooner deadlines go first within a
     * priority; a request that cannot be ready in time ends with WEFT_TIMEOUT at once
     * and says how long it would have taken. 0: none. */
    int64_t deadline_us;
} weft_queue_submit_params;

#define WEFT_QUEUE_SUBMIT_PARAMS_INIT                                                  \
    {                                                                                  \
        .struct_size = sizeof(weft_queue_submit_params)                                \
    }

/* Bucket i of a histogram counts values in [2^(i-1), 2^i), bucket 0 those below 1,
 * the last one all that are larger. */
enum { WEFT_QUEUE_BUCKETS = 40 };

/* Counters since the queue was created. At any quiet moment
 * accepted = done + failed + cancelled + timed_out. */
typedef struct weft_queue_statistics {
    uint64_t accepted, done, failed, cancelled, timed_out;
    uint64_t refused; /* never accepted: full, closed, model removed, no time left */
    uint64_t waiting; /* requests that wait now */
    uint64_t batch_count;
    uint64_t row_count;    /* of the batches; without padding */
    uint64_t padded_count; /* rows computed for nobody, to reach a planned size */
    uint64_t split_count;  /* batches that failed and were tried again in parts */
    uint64_t device_ns;    /* time in batches, summed over workers */
    uint64_t batch_rows[WEFT_QUEUE_BUCKETS]; /* histogram of rows of a batch */
    uint64_t wait_ns[WEFT_QUEUE_BUCKETS];    /* histogram: accepted to started, ns */
    uint64_t workers;                        /* the queue's own threads; no counter */
} weft_queue_statistics;

/* Creates a queue on a device and starts its workers. Models are added to it.
 * Threads: any. Blocks: until the workers run.
 * Owns: the caller owns *queue and ends it with weft_queue_release; the queue owns the
 * device and its models too.
 * Errors: WEFT_INVALID_ARGUMENT names the parameter; WEFT_CLOSED, WEFT_DEVICE_LOST of
 * the device; WEFT_OUT_OF_MEMORY also without threads or descriptors. */
WEFT_API WEFT_MUST_USE weft_status weft_queue_create(weft_device *device,
                                                     const weft_queue_params *params,
                                                     weft_queue **queue,
                                                     weft_error *error);

/* Lets the queue serve a model of its device.
 * Threads: any, also while requests are submitted.
 * Errors: WEFT_INVALID_ARGUMENT for a model of another device, one that is there
 * already, a weight out of range, and a batch_dimension that the model lacks;
 * WEFT_CLOSED. */
WEFT_API WEFT_MUST_USE weft_status
weft_queue_add_model(weft_queue *queue, weft_model *model,
                     const weft_queue_model_params *params, weft_error *error);

/* Takes no more requests for a model; those that were accepted go on. The queue drops
 * the model when the last of them has ended.
 * Threads: any, also while requests are submitted. Blocks: never.
 * Errors: WEFT_NOT_FOUND. */
WEFT_API WEFT_MUST_USE weft_status weft_queue_remove_model(weft_queue *queue,
                                                           weft_model *model,
                                                           weft_error *error);

/* Tells whether requests of a model may be joined: WEFT_OK, or WEFT_UNSUPPORTED with
 * the reason why those of some shape run alone. Shapes are looked at when they are
 * first submitted: before that only the batch dimension is known.
 * Threads: any. Errors: WEFT_NOT_FOUND for a model that was not added. */
WEFT_API WEFT_MUST_USE weft_status weft_queue_check_batching(weft_queue *queue,
                                                             weft_model *model,
                                                             weft_error *error);

/* Hands a request to the queue. `params` may be NULL.
 * Threads: any. Blocks: only for room (full_policy).
 * Owns: the caller releases *request. The io arrays are copied; the tensors' data is
 * borrowed until the request has ended, or was cancelled.
 * Shape: as weft_run, at most 2^31 - 1 in each dimension, all in host memory
 * (WEFT_UNSUPPORTED: on a card); an output of rank -1 gets its shape at once, or where
 * only a run tells it (weft_model_has_stages) when the request has ended:
 * weft_request_get_output. No output may overlap a tensor of another request: seen and
 * refused when both are in one batch of up to 128 requests. Order:
 * nothing is promised between requests but what preserve_order says. Errors: *request
 * is NULL then, and no callback is called. WEFT_INVALID_ARGUMENT names the tensor or
 * the parameter; without room WEFT_BUSY (WEFT_QUEUE_FAIL, or in a callback) or
 * WEFT_TIMEOUT (timeout_us or deadline_us is over); WEFT_CLOSED, also while it waits
 * for room; WEFT_NOT_FOUND for a model that was not added, or was removed while it
 * waits; WEFT_DEVICE_LOST of a device that has failed for good; for shapes not met
 * before also what building their plan fails with. An
 * accepted request ends with WEFT_OK, WEFT_CANCELLED, WEFT_TIMEOUT, or the status that
 * its run failed with. */
WEFT_API WEFT_MUST_USE weft_status weft_queue_submit(
    weft_queue *queue, weft_model *model, const weft_io *io,
    const weft_queue_submit_params *params, weft_request **request, weft_error *error);

/* Lends a file descriptor that is readable while ended requests wait for
 * weft_queue_take_ended; -1 when it was not asked for. Do not read or close it.
 * Threads: any. */
WEFT_API int weft_queue_fd(const weft_queue *queue);

/* Takes the next request that has ended since, or NULL. Every request of a queue with
 * with_fd comes out here once, however it ended, whether its submitter has released
 * it or not.
 * Threads: any. Blocks: never. Owns: the caller releases it. */
WEFT_API weft_request *weft_queue_take_ended(weft_queue *queue);

/* Refuses requests from now on with WEFT_CLOSED, also from those who wait for room;
 * accepted ones go on.
 * Threads: any. Blocks: never. */
WEFT_API void weft_queue_close(weft_queue *queue);

/* Waits until all accepted requests have ended and their callbacks have returned.
 * After WEFT_TIMEOUT, requests that have not started are cancelled and the call may be
 * repeated.
 * Threads: any. Blocks: to the deadline.
 * Errors: WEFT_INVALID_ARGUMENT from a callback of the queue, for which it would wait.
 */
WEFT_API WEFT_MUST_USE weft_status weft_queue_drain(weft_queue *queue,
                                                    int64_t timeout_ns,
                                                    weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_queue *weft_queue_retain(weft_queue *queue);

/* Drops an owner; the last one closes, waits for accepted requests and their
 * callbacks, and frees; no callback runs after it has returned. NULL is allowed.
 * Requests may outlive their queue.
 * Threads: any, also from a callback of the queue: then the queue ends when that
 * callback and the requests before it are done. Blocks: the last one, until then. */
WEFT_API void weft_queue_release(weft_queue *queue);

/* Reads the counters; each is exact, together they are not one instant.
 * Threads: any. */
WEFT_API void weft_queue_get_statistics(weft_queue *queue,
                                        weft_queue_statistics *statistics);

WEFT_END_DECLS

#endif
