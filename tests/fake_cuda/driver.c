/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/driver.h"
#include "fake_cuda/emulate.h"
#include "fake_cuda/fake_cuda.h"

/* See fake_cuda.h. One lock for all of the bookkeeping; work runs without it. */

#define EXPORT __attribute__((visibility("default")))

enum {
    CARDS = 2,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    FAULT = 700,
    MOST_STACKED = 8,
};

struct cuda_context_object {
    int card;
    uint32_t owners;
};
struct cuda_module_object {
    int loaded;
};
struct cuda_function_object {
    const emulate_kernel *kernel;
};

typedef struct kernel_call {
    const emulate_kernel *kernel;
    uint32_t blocks, threads;
    uint64_t arguments[256];
} kernel_call;
struct cuda_node_object {
    struct cuda_node_object *next;
    const struct cuda_node_object *before;
    kernel_call call;
};
struct cuda_graph_object {
    struct cuda_node_object *first, *last;
};
struct cuda_executable_object {
    struct cuda_executable_object *next;
    kernel_call *calls;
    size_t count;
    uint32_t running; /* launches that have not ended */
    cuda_stream running_on;
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
    bool destroyed;
    struct cuda_event_object *next; /* of all */
};
struct cuda_stream_object {
    pthread_t thread;
    pthread_cond_t submitted;
    work *first, *last;
    uint64_t enqueued, completed;
    bool stops;
};

typedef struct block {
    struct block *next;
    char *address;
    size_t size_bytes;
    bool on_device;
} block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static struct cuda_context_object contexts[CARDS];
enum { MOST_FUNCTIONS = 256 };
static struct cuda_function_object functions[MOST_FUNCTIONS];
static size_t function_count;
static block *blocks;
static struct cuda_executable_object *executables;
static fake_cuda_counts counts;
static uint64_t fail_in;
static int fail_with, fatal;
static bool failed, fault_next;

static _Thread_local cuda_context stacked[MOST_STACKED];
static _Thread_local int depth;

static void violate_locked(const char *words)
{
    fprintf(stderr, "fake cuda: %s\n", words);
    counts.violations++;
}

EXPORT void fake_cuda_count(fake_cuda_counts *result)
{
    pthread_mutex_lock(&lock);
    *result = counts;
    pthread_mutex_unlock(&lock);
}

EXPORT int fake_cuda_fail_at(uint64_t n, int result)
{
    pthread_mutex_lock(&lock);
    int was = failed;
    failed = false;
    fatal = 0;
    fail_in = n;
    fail_with = result;
    pthread_mutex_unlock(&lock);
    return was;
}

EXPORT void fake_cuda_fault_next_launch(void)
{
    pthread_mutex_lock(&lock);
    fault_next = true;
    pthread_mutex_unlock(&lock);
}

/* Every call begins with this: it is counted and may have to fail. */
static int enter_locked(void)
{
    counts.calls++;
    if (fatal != 0) {
        return fatal;
    }
    if (fail_in > 0 && --fail_in == 0) {
        failed = true;
        fatal = fail_with >= FAULT ? fail_with : 0;
        return fail_with;
    }
    return 0;
}

static int enter(void)
{
    pthread_mutex_lock(&lock);
    int result = enter_locked();
    pthread_mutex_unlock(&lock);
    return result;
}

/* Likewise, and a context has to be current. */
static int enter_context_locked(void)
{
    int result = enter_locked();
    if (result == 0 && depth == 0) {
        violate_locked("a call without a current context");
        return INVALID_CONTEXT;
    }
    return result;
}

static int enter_context(void)
{
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    pthread_mutex_unlock(&lock);
    return result;
}

#define TRY(expression)                                                                \
    do {                                                                               \
        int try_result = (expression);                                                 \
        if (try_result != 0) {                                                         \
            return try_result;                                                         \
        }                                                                              \
    } while (0)

/* Prototypes from the table, so that the two cannot differ. */
#define PROTOTYPE(name, symbol, parameters) EXPORT cuda_result symbol parameters;
CUDA_DRIVER_CALLS(PROTOTYPE)
#undef PROTOTYPE

cuda_result cuInit(unsigned int flags)
{
    (void)flags;
    return enter();
}

cuda_result cuDriverGetVersion(int *version)
{
    *version = 13000;
    return enter();
}

cuda_result cuGetErrorName(cuda_result result, const char **text)
{
    (void)result;
    *text = "FAKE";
    return 0;
}

cuda_result cuGetErrorString(cuda_result result, const char **text)
{
    *text = result >= FAULT ? "a fault made by a test" : "an error made by a test";
    return 0;
}

cuda_result cuDeviceGetCount(int *count)
{
    *count = CARDS;
    return enter();
}

cuda_result cuDeviceGet(cuda_device *device, int index)
{
    *device = index;
    return enter();
}

cuda_result cuDeviceGetName(char *name, int size, cuda_device device)
{
    (void)device;
    snprintf(name, (size_t)size, "a card made of C");
    return enter();
}

cuda_result cuDeviceTotalMem_v2(size_t *size_bytes, cuda_device device)
{
    (void)device;
    *size_bytes = (size_t)1 << 30;
    return enter();
}

cuda_result cuDeviceGetAttribute(int *value, int attribute, cuda_device device)
{
    (void)device;
    *value = attribute == CUDA_ATTRIBUTE_MULTIPROCESSOR_COUNT ? 4 : 9;
    return enter();
}

cuda_result cuDevicePrimaryCtxRetain(cuda_context *context, cuda_device device)
{
    pthread_mutex_lock(&lock);
    int result = enter_locked();
    if (result == 0) {
        counts.contexts++;
        contexts[device].owners++;
        *context = &contexts[device];
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* What gives things back works also after a fault, so that leaks can be counted. */
cuda_result cuDevicePrimaryCtxRelease_v2(cuda_device device)
{
    pthread_mutex_lock(&lock);
    if (contexts[device].owners == 0) {
        violate_locked("a context is released that nobody has");
    } else {
        contexts[device].owners--;
        counts.contexts--;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

cuda_result cuCtxPushCurrent_v2(cuda_context context)
{
    /* The driver's own fails only when the card has. */
    pthread_mutex_lock(&lock);
    int result = fatal != 0 || fail_with >= FAULT ? enter_locked() : 0;
    pthread_mutex_unlock(&lock);
    TRY(result);
    if (depth == MOST_STACKED) {
        return INVALID_CONTEXT;
    }
    stacked[depth++] = context;
    return 0;
}

cuda_result cuCtxPopCurrent_v2(cuda_context *context)
{
    if (depth == 0) {
        pthread_mutex_lock(&lock);
        violate_locked("a context is left that was not entered");
        pthread_mutex_unlock(&lock);
        return INVALID_CONTEXT;
    }
    *context = stacked[--depth];
    return 0;
}

cuda_result cuModuleLoadData(cuda_module *module, const void *image)
{
    static struct cuda_module_object only;
    (void)image;
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0) {
        counts.modules++;
        *module = &only;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuModuleUnload(cuda_module module)
{
    (void)module;
    pthread_mutex_lock(&lock);
    counts.modules--;
    pthread_mutex_unlock(&lock);
    return 0;
}

cuda_result cuModuleGetFunction(cuda_function *function, cuda_module module,
                                const char *name)
{
    (void)module;
    const emulate_kernel *kernel = emulate_find(name);
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0 && kernel == NULL) {
        result = NOT_FOUND;
    }
    size_t i = 0;
    while (i < function_count && functions[i].kernel != kernel) {
        i++;
    }
    if (result == 0 && i == MOST_FUNCTIONS) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == 0) {
        functions[i].kernel = kernel;
        function_count += i == function_count;
        *function = &functions[i];
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static block *add_block_locked(size_t size_bytes, bool on_device)
{
    block *made = malloc(sizeof(*made));
    *made = (block){.next = blocks, .size_bytes = size_bytes, .on_device = on_device};
    made->address = aligned_alloc(256, (size_bytes + 255) / 256 * 256);
    memset(made->address, 0xff, size_bytes);
    blocks = made;
    *(on_device ? &counts.device_blocks : &counts.host_blocks) += 1;
    return made;
}

static bool uses(const kernel_call *call, const block *b)
{
    for (size_t i = 0; i < call->kernel->call_bytes / sizeof(uint64_t); i++) {
        if (call->arguments[i] >= (uintptr_t)b->address &&
            call->arguments[i] < (uintptr_t)b->address + b->size_bytes) {
            return true;
        }
    }
    return false;
}

/* The bytes of arguments are searched for addresses in the block. A launch whose flag
 * was raised has only its end to come: the moment before it counts as ended is left
 * out by ending the bookkeeping first (run_launch). */
static bool is_in_use_locked(const block *b)
{
    for (cuda_executable e = executables; e != NULL; e = e->next) {
        for (size_t i = 0; i < e->count && e->running > 0; i++) {
            if (uses(&e->calls[i], b)) {
                return true;
            }
        }
    }
    return false;
}

static void remove_block_locked(void *address, bool on_device)
{
    block **link = &blocks;
    while (*link != NULL && (*link)->address != address) {
        link = &(*link)->next;
    }
    block *found = *link;
    if (found == NULL || found->on_device != on_device) {
        violate_locked("memory is freed that was not allocated");
        return;
    }
    if (is_in_use_locked(found)) {
        violate_locked("memory is freed that a running graph has in it");
    }
    *link = found->next;
    *(on_device ? &counts.device_blocks : &counts.host_blocks) -= 1;
    free(found->address);
    free(found);
}

cuda_result cuMemAllocAsync(cuda_pointer *address, size_t size_bytes,
                            cuda_stream stream)
{
    (void)stream;
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0 && size_bytes > (size_t)1 << 30) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == 0) {
        *address = (uintptr_t)add_block_locked(size_bytes, true)->address;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuMemFreeAsync(cuda_pointer address, cuda_stream stream)
{
    (void)stream;
    pthread_mutex_lock(&lock);
    remove_block_locked((void *)(uintptr_t)address, true);
    pthread_mutex_unlock(&lock);
    return 0;
}

cuda_result cuMemHostAlloc(void **address, size_t size_bytes, unsigned int flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0) {
        *address = add_block_locked(size_bytes, false)->address;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuMemFreeHost(void *address)
{
    pthread_mutex_lock(&lock);
    if (address != NULL) {
        remove_block_locked(address, false);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

cuda_result cuPointerGetAttribute(void *value, int attribute, cuda_pointer address)
{
    (void)attribute;
    pthread_mutex_lock(&lock);
    int result = CUDA_ERROR_INVALID_VALUE;
    for (const block *b = blocks; b != NULL; b = b->next) {
        if (address >= (uintptr_t)b->address &&
            address < (uintptr_t)b->address + b->size_bytes) {
            int type = b->on_device ? CUDA_MEMORY_TYPE_DEVICE : 1;
            memcpy(value, &type, sizeof(type));
            result = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* The last kernel raises the host's flag, after which the host may launch, free and
 * destroy: so the launch must be seen to have ended before. */
static void run_launch(cuda_executable executable)
{
    for (size_t i = 0; i < executable->count; i++) {
        const kernel_call call = executable->calls[i];
        if (i + 1 == executable->count) {
            pthread_mutex_lock(&lock);
            executable->running--;
            pthread_mutex_unlock(&lock);
        }
        emulate_launch(call.kernel, call.arguments, call.blocks, call.threads);
    }
}

static void run_work(const work *w)
{
    switch (w->kind) {
    case WORK_LAUNCH:
        run_launch(w->executable);
        break;
    case WORK_COPY:
        memcpy(w->target, w->source, w->size_bytes);
        break;
    case WORK_FILL:
        memset(w->target, w->value, w->size_bytes);
        break;
    case WORK_EVENT:
        pthread_mutex_lock(&lock);
        w->event->reached =
            w->number > w->event->reached ? w->number : w->event->reached;
        pthread_mutex_unlock(&lock);
        break;
    }
}

static void *run_stream(void *argument)
{
    cuda_stream stream = argument;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (stream->first == NULL && !stream->stops) {
            pthread_cond_wait(&stream->submitted, &lock);
        }
        work *w = stream->first;
        if (w == NULL) {
            break;
        }
        stream->first = w->next;
        stream->last = w->next == NULL ? NULL : stream->last;
        pthread_mutex_unlock(&lock);
        run_work(w);
        free(w);
        pthread_mutex_lock(&lock);
        stream->completed++;
        pthread_cond_broadcast(&progress);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

cuda_result cuStreamCreate(cuda_stream *stream, unsigned int flags)
{
    (void)flags;
    TRY(enter_context());
    cuda_stream made = calloc(1, sizeof(*made));
    pthread_cond_init(&made->submitted, NULL);
    pthread_create(&made->thread, NULL, run_stream, made);
    pthread_mutex_lock(&lock);
    counts.streams++;
    pthread_mutex_unlock(&lock);
    *stream = made;
    return 0;
}

cuda_result cuStreamDestroy_v2(cuda_stream stream)
{
    pthread_mutex_lock(&lock);
    if (stream->enqueued != stream->completed && fatal == 0) {
        violate_locked("a stream is destroyed that has work");
    }
    stream->stops = true;
    counts.streams--;
    pthread_cond_broadcast(&stream->submitted);
    pthread_mutex_unlock(&lock);
    pthread_join(stream->thread, NULL);
    pthread_cond_destroy(&stream->submitted);
    free(stream);
    return 0;
}

static int submit_locked(cuda_stream stream, const work *what)
{
    int result = enter_context_locked();
    if (result != 0) {
        return result;
    }
    work *w = malloc(sizeof(*w));
    *w = *what;
    w->next = NULL;
    *(stream->last != NULL ? &stream->last->next : &stream->first) = w;
    stream->last = w;
    stream->enqueued++;
    pthread_cond_broadcast(&stream->submitted);
    return 0;
}

static int submit(cuda_stream stream, const work *what)
{
    pthread_mutex_lock(&lock);
    int result = submit_locked(stream, what);
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuMemcpyAsync(cuda_pointer target, cuda_pointer source, size_t size_bytes,
                          cuda_stream stream)
{
    return submit(stream, &(work){.kind = WORK_COPY,
                                  .target = (void *)(uintptr_t)target,
                                  .source = (const void *)(uintptr_t)source,
                                  .size_bytes = size_bytes});
}

cuda_result cuMemsetD8Async(cuda_pointer target, unsigned char value, size_t size_bytes,
                            cuda_stream stream)
{
    return submit(stream, &(work){.kind = WORK_FILL,
                                  .target = (void *)(uintptr_t)target,
                                  .value = value,
                                  .size_bytes = size_bytes});
}

cuda_result cuStreamQuery(cuda_stream stream)
{
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0 && stream->enqueued != stream->completed) {
        result = CUDA_ERROR_NOT_READY;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuStreamSynchronize(cuda_stream stream)
{
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    const uint64_t target = stream->enqueued;
    /* Also when it fails: the work is on its way all the same. */
    while (stream->completed < target) {
        pthread_cond_wait(&progress, &lock);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static cuda_event all_events;

cuda_result cuEventCreate(cuda_event *event, unsigned int flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0) {
        *event = calloc(1, sizeof(**event));
        (*event)->next = all_events;
        all_events = *event;
        counts.events++;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuEventDestroy_v2(cuda_event event)
{
    pthread_mutex_lock(&lock);
    counts.events--;
    if (event->destroyed) {
        violate_locked("an event is destroyed twice");
    }
    event->destroyed = true;
    pthread_mutex_unlock(&lock);
    return 0;
}

cuda_result cuEventRecord(cuda_event event, cuda_stream stream)
{
    pthread_mutex_lock(&lock);
    if (event->destroyed) {
        violate_locked("an event is recorded that was destroyed");
    }
    event->recorded++;
    int result = submit_locked(
        stream, &(work){.kind = WORK_EVENT, .event = event, .number = event->recorded});
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuEventQuery(cuda_event event)
{
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0 && event->reached < event->recorded) {
        result = CUDA_ERROR_NOT_READY;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuEventSynchronize(cuda_event event)
{
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    while (result == 0 && event->reached < event->recorded) {
        pthread_cond_wait(&progress, &lock);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuGraphCreate(cuda_graph *graph, unsigned int flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    int result = enter_context_locked();
    if (result == 0) {
        *graph = calloc(1, sizeof(**graph));
        counts.graphs++;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cuda_result cuGraphDestroy(cuda_graph graph)
{
    while (graph->first != NULL) {
        cuda_node node = graph->first;
        graph->first = node->next;
        free(node);
    }
    free(graph);
    pthread_mutex_lock(&lock);
    counts.graphs--;
    pthread_mutex_unlock(&lock);
    return 0;
}

cuda_result cuGraphAddKernelNode_v2(cuda_node *node, cuda_graph graph,
                                    const cuda_node *before, size_t count,
                                    const cuda_kernel_node *kernel)
{
    TRY(enter_context());
    cuda_node made = calloc(1, sizeof(*made));
    const emulate_kernel *found = kernel->function->kernel;
    made->before = count > 0 ? before[0] : NULL;
    made->call.kernel = found;
    made->call.blocks = kernel->grid_x;
    made->call.threads = kernel->block_x;
    memcpy(made->call.arguments, kernel->arguments[0], found->call_bytes);
    if (made->before != graph->last ||
        found->call_bytes > sizeof(made->call.arguments)) {
        pthread_mutex_lock(&lock);
        violate_locked("a kernel that does not follow the last");
        pthread_mutex_unlock(&lock);
    }
    *(graph->last != NULL ? &graph->last->next : &graph->first) = made;
    graph->last = made;
    *node = made;
    return 0;
}

cuda_result cuGraphInstantiateWithFlags(cuda_executable *executable, cuda_graph graph,
                                        unsigned long long flags)
{
    (void)flags;
    TRY(enter_context());
    cuda_executable made = calloc(1, sizeof(*made));
    for (cuda_node n = graph->first; n != NULL; n = n->next) {
        made->count++;
    }
    made->calls = calloc(made->count, sizeof(*made->calls));
    size_t i = 0;
    for (cuda_node n = graph->first; n != NULL; n = n->next) {
        made->calls[i++] = n->call;
    }
    pthread_mutex_lock(&lock);
    made->next = executables;
    executables = made;
    counts.executables++;
    pthread_mutex_unlock(&lock);
    *executable = made;
    return 0;
}

cuda_result cuGraphExecDestroy(cuda_executable executable)
{
    pthread_mutex_lock(&lock);
    if (executable->running > 0 && fatal == 0) {
        violate_locked("a graph is destroyed that runs");
    }
    cuda_executable *link = &executables;
    while (*link != executable) {
        link = &(*link)->next;
    }
    *link = executable->next;
    counts.executables--;
    pthread_mutex_unlock(&lock);
    free(executable->calls);
    free(executable);
    return 0;
}

cuda_result cuGraphLaunch(cuda_executable executable, cuda_stream stream)
{
    pthread_mutex_lock(&lock);
    if (executable->running > 0) {
        violate_locked("a graph is launched that runs");
    }
    int result = 0;
    if (fault_next) {
        fault_next = false;
        fatal = FAULT; /* taken, and never ends */
    } else {
        executable->running++;
        executable->running_on = stream;
        result = submit_locked(stream,
                               &(work){.kind = WORK_LAUNCH, .executable = executable});
        executable->running -= result != 0;
    }
    pthread_mutex_unlock(&lock);
    return result;
}
