/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_LOCK_RANK_H
#define WEFTI_BASE_LOCK_RANK_H

/* All locks of the library, in the order in which one thread may take them: only
 * upwards. Debug and test builds abort on an inversion. */
typedef enum wefti_lock_rank {
    WEFTI_RANK_REGISTRY = 10,   /* backend table, once per open */
    WEFTI_RANK_QUEUE = 15,      /* a batch queue: who waits, who is next */
    WEFTI_RANK_DEVICE = 20,     /* device life cycle: close, drain, counts */
    WEFTI_RANK_PLAN_CACHE = 30, /* one model's plans; building happens outside it */
    WEFTI_RANK_CONTEXTS = 40,   /* waiters for contexts; the free path has no lock */
    WEFTI_RANK_TURNS = 45,      /* waiters for a turn in a shared context */
    WEFTI_RANK_EXECUTOR = 50,   /* queue of asynchronous requests */
    WEFTI_RANK_REQUEST = 60,    /* one request's end */
    WEFTI_RANK_WEIGHTS = 70,    /* one model's packed weights */
    WEFTI_RANK_STREAM = 80,     /* one stream's pending commands */
    WEFTI_RANK_EVENT = 90, /* one event's waiters; a stream may record under its own */
    WEFTI_RANK_POOL = 100, /* stream and memory pools; leaf of the runtime */
    WEFTI_RANK_WORKERS = 110, /* sleeping helpers of the CPU */
} wefti_lock_rank;

#endif
