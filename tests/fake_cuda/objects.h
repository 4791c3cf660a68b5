/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_FAKE_CUDA_OBJECTS_H
#define WEFT_TESTS_FAKE_CUDA_OBJECTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "backend/cuda/driver.h"
#include "fake_cuda/emulate.h"

#define TRY(expression)                                                                \
    do {                                                                               \
        int try_result = (expression);                                                 \
        if (try_result != 0) {                                                         \
            return try_result;                                                         \
        }                                                                              \
    } while (0)

static inline int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* What stands behind the handles that the stand-in gives out; guarded by its lock. */

struct cuda_context_object {
    int card;
    uint32_t owners;
};
struct cuda_module_object {
    int card;
};
struct cuda_function_object {
    const emulate_kernel *kernel;
    int card;
};

typedef struct kernel_call {
    const emulate_kernel *kernel;
    uint32_t blocks, threads;
    uint64_t arguments[256];
} kernel_call;
struct cuda_node_object {
    struct cuda_node_object *next;
    const struct cuda_node_object *before;
    const struct cuda_graph_object *graph;
    size_t index; /* in it */
    kernel_call call;
};
struct cuda_graph_object {
    int card;
    struct cuda_node_object *first, *last;
};
struct cuda_executable_object {
    int card;
    const struct cuda_graph_object *graph; /* of which it was made; may be gone */
    struct cuda_executable_object *next;
    kernel_call *calls;
    size_t count;
    uint32_t running; /* launches that have not ended */
    cuda_stream running_on;
    bool is_launch; /* a kernel launched by itself: it goes with its run */
};

typedef enum work_kind { WORK_LAUNCH, WORK_COPY, WORK_FILL, WORK_EVENT } work_kind;
typedef struct work {
    struct work *next;
    work_kind kind;
    cuda_executable executable;
    void *target;
    const void *source;
    size_t size_bytes;
    unsigned char value;
    cuda_event event;
    uint64_t number;
} work;
/* Stays until the process ends: a lost card's events are never given back, and work
 * that is on its way may still mark one that was. */
struct cuda_event_object {
    uint64_t recorded, reached;
    int64_t reached_ns;
    int card;
    bool destroyed;
    struct cuda_event_object *next; /* of all */
};
struct cuda_stream_object {
    int card;
    pthread_t thread;
    pthread_cond_t submitted;
    work *first, *last;
    work *doing; /* behind it `first` */
    uint64_t enqueued, completed;
    bool stops;
    struct cuda_stream_object *next; /* of all */
};

typedef struct block {
    struct block *next;
    char *address;
    size_t size_bytes;
    bool on_device;
    int card; /* FAKE_NO_CARD: memory of the host that all cards may use */
} block;

#endif
