/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_cuda/fake_cuda.h"
#include "fake_cuda/memory.h"
#include "fake_cuda/objects.h"
#include "fake_cuda/state.h"

/* See fake_cuda.h. One lock for all of the bookkeeping; work runs without it. */

enum {
    CARDS = FAKE_CUDA_CARDS,
    NOT_FOUND = 500,
    MOST_STACKED = 8,
};

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static struct cuda_context_object contexts[CARDS];
enum { MOST_FUNCTIONS = 512 };
static struct cuda_function_object functions[MOST_FUNCTIONS];
static size_t function_count;
struct cuda_executable_object *fake_executables;
fake_cuda_counts fake_counts;
int fake_fatal[CARDS];
static uint64_t fail_in;
static int fail_with;
static bool failed, fault_next, kinds_differ, holds;
static int fault_card; /* on which it is; FAKE_NO_CARD: any */
static cuda_stream all_streams;

static _Thread_local cuda_context stacked[MOST_STACKED];
static _Thread_local int depth;
static bool forgiving;

void fake_violate_locked(const char *words)
{
    if (!forgiving) {
        fprintf(stderr, "fake cuda: %s\n", words);
    }
    fake_counts.violations++;
}

/* Whose context is current in the calling thread. */
int fake_current_card(void)
{
    return depth == 0 ? FAKE_NO_CARD : stacked[depth - 1]->card;
}

void fake_check_card_locked(int card, const char *words)
{
    /* After a fault what was of the card is given back without its context. */
    if (card != FAKE_NO_CARD && fake_current_card() != card && fake_fatal[card] == 0) {
        fake_violate_locked(words);
    }
}

FAKE_EXPORT uint32_t fake_cuda_forgive(int on)
{
    static uint32_t before;
    pthread_mutex_lock(&fake_lock);
    uint32_t found = fake_counts.violations - before;
    if (on) {
        before = fake_counts.violations;
    } else {
        fake_counts.violations = before;
    }
    forgiving = on != 0;
    pthread_mutex_unlock(&fake_lock);
    return on ? 0 : found;
}

FAKE_EXPORT void fake_cuda_make_kinds_differ(int differ)
{
    pthread_mutex_lock(&fake_lock);
    kinds_differ = differ != 0;
    pthread_mutex_unlock(&fake_lock);
}

FAKE_EXPORT void fake_cuda_hold(int on)
{
    pthread_mutex_lock(&fake_lock);
    holds = on != 0;
    for (cuda_stream s = all_streams; s != NULL; s = s->next) {
        pthread_cond_broadcast(&s->submitted);
    }
    pthread_mutex_unlock(&fake_lock);
}

FAKE_EXPORT void fake_cuda_count(fake_cuda_counts *result)
{
    pthread_mutex_lock(&fake_lock);
    *result = fake_counts;
    memory_count_locked(result);
    pthread_mutex_unlock(&fake_lock);
}

FAKE_EXPORT int fake_cuda_fail_at(uint64_t n, int result)
{
    pthread_mutex_lock(&fake_lock);
    int was = failed;
    failed = false;
    memset(fake_fatal, 0, sizeof(fake_fatal));
    fail_in = n;
    fail_with = result;
    pthread_mutex_unlock(&fake_lock);
    return was;
}

FAKE_EXPORT void fake_cuda_fault_next_launch_on(int card)
{
    pthread_mutex_lock(&fake_lock);
    fault_next = true;
    fault_card = card;
    pthread_mutex_unlock(&fake_lock);
}

FAKE_EXPORT void fake_cuda_fault_next_launch(void)
{
    fake_cuda_fault_next_launch_on(FAKE_NO_CARD);
}

bool fake_take_fault_locked(int card)
{
    if (!fault_next || (fault_card != FAKE_NO_CARD && fault_card != card)) {
        return false;
    }
    fault_next = false;
    fake_fatal[card] = FAKE_FAULT;
    return true;
}

/* Every call begins with this: it is counted and may have to fail. A fault is of the
 * card whose call it is, or of all. */
static int enter_locked(int card)
{
    fake_counts.calls++;
    if (card != FAKE_NO_CARD && fake_fatal[card] != 0) {
        return fake_fatal[card];
    }
    if (fail_in > 0 && --fail_in == 0) {
        failed = true;
        for (int i = 0; i < CARDS && fail_with >= FAKE_FAULT; i++) {
            fake_fatal[i] =
                card == i || card == FAKE_NO_CARD ? fail_with : fake_fatal[i];
        }
        return fail_with;
    }
    return 0;
}

static int enter(int card)
{
    pthread_mutex_lock(&fake_lock);
    int result = enter_locked(card);
    pthread_mutex_unlock(&fake_lock);
    return result;
}

int fake_enter_context_locked(void)
{
    int result = enter_locked(fake_current_card());
    if (result == 0 && depth == 0) {
        fake_violate_locked("a call without a current context");
        return FAKE_INVALID_CONTEXT;
    }
    return result;
}

int fake_enter_context(void)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuInit(unsigned int flags)
{
    (void)flags;
    return enter(FAKE_NO_CARD);
}

cuda_result cuDriverGetVersion(int *version)
{
    *version = 13000;
    return enter(FAKE_NO_CARD);
}

cuda_result cuGetErrorName(cuda_result result, const char **text)
{
    (void)result;
    *text = "FAKE";
    return 0;
}

cuda_result cuGetErrorString(cuda_result result, const char **text)
{
    *text = result >= FAKE_FAULT ? "a fault made by a test" : "an error made by a test";
    return 0;
}

cuda_result cuDeviceGetCount(int *count)
{
    *count = CARDS;
    return enter(FAKE_NO_CARD);
}

cuda_result cuDeviceGet(cuda_device *device, int index)
{
    *device = index;
    return enter(FAKE_NO_CARD);
}

cuda_result cuDeviceGetName(char *name, int size, cuda_device device)
{
    snprintf(name, (size_t)size, "%s",
             kinds_differ && device > 0 ? "another card made of C"
                                        : "a card made of C");
    return enter(device);
}

cuda_result cuDeviceTotalMem_v2(size_t *size_bytes, cuda_device device)
{
    *size_bytes = (size_t)1 << 30;
    return enter(device);
}

cuda_result cuDeviceGetAttribute(int *value, int attribute, cuda_device device)
{
    *value = attribute == CUDA_ATTRIBUTE_MULTIPROCESSOR_COUNT ? 4 : 9;
    return enter(device);
}

cuda_result cuDevicePrimaryCtxRetain(cuda_context *context, cuda_device device)
{
    pthread_mutex_lock(&fake_lock);
    int result = enter_locked(device);
    if (result == 0) {
        contexts[device].card = device;
        fake_counts.contexts++;
        contexts[device].owners++;
        *context = &contexts[device];
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

/* What gives things back works also after a fault, so that leaks can be counted. */
cuda_result cuDevicePrimaryCtxRelease_v2(cuda_device device)
{
    pthread_mutex_lock(&fake_lock);
    if (contexts[device].owners == 0) {
        fake_violate_locked("a context is released that nobody has");
    } else {
        contexts[device].owners--;
        fake_counts.contexts--;
    }
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

cuda_result cuCtxPushCurrent_v2(cuda_context context)
{
    /* The driver's own fails only when the card has. */
    pthread_mutex_lock(&fake_lock);
    const int card = context->card;
    int result =
        fake_fatal[card] != 0 || fail_with >= FAKE_FAULT ? enter_locked(card) : 0;
    if (context->owners == 0) {
        fake_violate_locked("a context is entered that nobody has");
    }
    pthread_mutex_unlock(&fake_lock);
    TRY(result);
    if (depth == MOST_STACKED) {
        return FAKE_INVALID_CONTEXT;
    }
    stacked[depth++] = context;
    return 0;
}

cuda_result cuCtxPopCurrent_v2(cuda_context *context)
{
    if (depth == 0) {
        pthread_mutex_lock(&fake_lock);
        fake_violate_locked("a context is left that was not entered");
        pthread_mutex_unlock(&fake_lock);
        return FAKE_INVALID_CONTEXT;
    }
    *context = stacked[--depth];
    return 0;
}

cuda_result cuModuleLoadData(cuda_module *module, const void *image)
{
    static struct cuda_module_object modules[CARDS];
    (void)image;
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    const int card = fake_current_card();
    if (result == 0 && card != FAKE_NO_CARD) {
        fake_counts.modules++;
        *module = &modules[card];
        (*module)->card = card;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuModuleUnload(cuda_module module)
{
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(module->card, "a module of another card is unloaded");
    for (cuda_executable e = fake_executables; e != NULL; e = e->next) {
        if (e->card == module->card && e->running > 0 && fake_fatal[e->card] == 0) {
            fake_violate_locked("a module is unloaded while kernels run");
        }
    }
    fake_counts.modules--;
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

cuda_result cuModuleGetFunction(cuda_function *function, cuda_module module,
                                const char *name)
{
    const emulate_kernel *kernel = emulate_find(name);
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    fake_check_card_locked(module->card, "a function of another card's module");
    if (result == 0 && kernel == NULL) {
        result = NOT_FOUND;
    }
    size_t i = 0;
    while (i < function_count &&
           (functions[i].kernel != kernel || functions[i].card != module->card)) {
        i++;
    }
    if (result == 0 && i == MOST_FUNCTIONS) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == 0) {
        functions[i] =
            (struct cuda_function_object){.kernel = kernel, .card = module->card};
        function_count += i == function_count;
        *function = &functions[i];
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

void fake_check_memory_locked(uint64_t address, int card, const char *words)
{
    const block *b = memory_find_locked(address);
    if (b != NULL && b->card != FAKE_NO_CARD && b->card != card) {
        fake_violate_locked(words);
    }
    if (b == NULL && memory_is_freed_locked(address)) {
        fake_violate_locked("memory is used that was freed");
    }
}

/* Copies and fills that have not been done; those on `stream` are before the block is
 * freed there. */
static bool has_bytes_under_way_locked(const block *b, cuda_stream stream)
{
    for (cuda_stream s = all_streams; s != NULL; s = s->next) {
        for (const work *w = s->doing != NULL ? s->doing : s->first;
             w != NULL && s != stream; w = w == s->doing ? s->first : w->next) {
            if (memory_is_in_work(b, w)) {
                return true;
            }
        }
    }
    return false;
}

/* A launch whose flag was raised has only its end to come: the moment before it counts
 * as ended is left out by ending the bookkeeping first (run_launch). */
static bool is_in_use_locked(const block *b)
{
    for (cuda_executable e = fake_executables; e != NULL; e = e->next) {
        for (size_t i = 0; i < e->count && e->running > 0; i++) {
            if (memory_is_in_call(b, &e->calls[i])) {
                return true;
            }
        }
    }
    return false;
}

/* `stream`: where it is freed; NULL: at once. */
static void remove_block_locked(void *address, bool on_device, cuda_stream stream)
{
    const block *found = memory_find_locked((uintptr_t)address);
    if (found == NULL || found->address != address || found->on_device != on_device) {
        fake_violate_locked("memory is freed that was not allocated");
        return;
    }
    if (on_device && found->card != stream->card) {
        fake_violate_locked("memory is freed on a stream of another card");
    }
    if (is_in_use_locked(found)) {
        fake_violate_locked("memory is freed that a running graph has in it");
    }
    if (has_bytes_under_way_locked(found, stream)) {
        fake_violate_locked("memory is freed that a copy or a fill is to use");
    }
    memory_remove_locked(found, !forgiving);
}

cuda_result cuMemAllocAsync(cuda_pointer *address, size_t size_bytes,
                            cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    fake_check_card_locked(stream->card,
                           "memory is allocated on a stream of another card");
    if (result == 0 && size_bytes > (size_t)1 << 30) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == 0) {
        *address =
            (uintptr_t)memory_add_locked(size_bytes, true, stream->card)->address;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuMemFreeAsync(cuda_pointer address, cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(stream->card,
                           "memory is freed in the context of another card");
    remove_block_locked((void *)(uintptr_t)address, true, stream);
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

cuda_result cuMemHostAlloc(void **address, size_t size_bytes, unsigned int flags)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    if (result == 0) {
        const int card =
            flags & CUDA_HOST_PORTABLE ? FAKE_NO_CARD : fake_current_card();
        *address = memory_add_locked(size_bytes, false, card)->address;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuMemFreeHost(void *address)
{
    pthread_mutex_lock(&fake_lock);
    if (address != NULL) {
        remove_block_locked(address, false, NULL);
    }
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

cuda_result cuPointerGetAttribute(void *value, int attribute, cuda_pointer address)
{
    pthread_mutex_lock(&fake_lock);
    /* This result says that the driver does not know the address. */
    int result =
        fail_with != CUDA_ERROR_INVALID_VALUE ? fake_enter_context_locked() : 0;
    const block *b = memory_find_locked(address);
    if (result == 0 && b == NULL) {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result == 0) {
        const int type = b->on_device ? CUDA_MEMORY_TYPE_DEVICE : 1;
        const cuda_context owner = b->on_device ? &contexts[b->card] : NULL;
        const bool is_type = attribute == CUDA_POINTER_ATTRIBUTE_MEMORY_TYPE;
        if (attribute == CUDA_POINTER_ATTRIBUTE_CONTEXT) {
            memcpy(value, &owner, sizeof(owner));
        } else if (attribute == CUDA_POINTER_ATTRIBUTE_RANGE_START) {
            memcpy(value, &b->address, sizeof(b->address));
        } else if (attribute == CUDA_POINTER_ATTRIBUTE_RANGE_SIZE) {
            memcpy(value, &b->size_bytes, sizeof(b->size_bytes));
        } else {
            memcpy(value, is_type ? &type : &b->card, sizeof(int));
        }
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

static void run_work(const work *w)
{
    switch (w->kind) {
    case WORK_LAUNCH:
        fake_run_launch(w->executable);
        break;
    case WORK_COPY:
        memcpy(w->target, w->source, w->size_bytes);
        break;
    case WORK_FILL:
        memset(w->target, w->value, w->size_bytes);
        break;
    case WORK_EVENT:
        pthread_mutex_lock(&fake_lock);
        w->event->reached =
            w->number > w->event->reached ? w->number : w->event->reached;
        w->event->reached_ns = now_ns();
        pthread_mutex_unlock(&fake_lock);
        break;
    }
}

static void *run_stream(void *argument)
{
    cuda_stream stream = argument;
    pthread_mutex_lock(&fake_lock);
    for (;;) {
        while ((stream->first == NULL || holds) && !stream->stops) {
            pthread_cond_wait(&stream->submitted, &fake_lock);
        }
        work *w = stream->first;
        if (w == NULL) {
            break;
        }
        stream->first = w->next;
        stream->last = w->next == NULL ? NULL : stream->last;
        stream->doing = w;
        const bool is_launch = w->kind == WORK_LAUNCH;
        pthread_mutex_unlock(&fake_lock);
        run_work(w);
        pthread_mutex_lock(&fake_lock);
        stream->doing = NULL;
        free(w);
        fake_counts.unfinished -= is_launch;
        stream->completed++;
        pthread_cond_broadcast(&progress);
    }
    pthread_mutex_unlock(&fake_lock);
    return NULL;
}

cuda_result cuStreamCreate(cuda_stream *stream, unsigned int flags)
{
    (void)flags;
    TRY(fake_enter_context());
    cuda_stream made = calloc(1, sizeof(*made));
    made->card = fake_current_card();
    pthread_cond_init(&made->submitted, NULL);
    pthread_create(&made->thread, NULL, run_stream, made);
    pthread_mutex_lock(&fake_lock);
    fake_counts.streams++;
    made->next = all_streams;
    all_streams = made;
    pthread_mutex_unlock(&fake_lock);
    *stream = made;
    return 0;
}

cuda_result cuStreamDestroy_v2(cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(stream->card, "a stream of another card is destroyed");
    if (stream->enqueued != stream->completed && fake_fatal[stream->card] == 0) {
        fake_violate_locked("a stream is destroyed that has work");
    }
    stream->stops = true;
    fake_counts.streams--;
    cuda_stream *link = &all_streams;
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    pthread_cond_broadcast(&stream->submitted);
    pthread_mutex_unlock(&fake_lock);
    pthread_join(stream->thread, NULL);
    pthread_cond_destroy(&stream->submitted);
    free(stream);
    return 0;
}

int fake_submit_locked(cuda_stream stream, const work *what)
{
    int result = fake_enter_context_locked();
    if (result != 0) {
        return result;
    }
    fake_check_card_locked(stream->card, "work for a stream of another card");
    work *w = malloc(sizeof(*w));
    *w = *what;
    w->next = NULL;
    *(stream->last != NULL ? &stream->last->next : &stream->first) = w;
    stream->last = w;
    stream->enqueued++;
    pthread_cond_broadcast(&stream->submitted);
    return 0;
}

/* Copies and fills use memory of the current card, or of the host. The context's own
 * stream, NULL, does them at once. */
static int submit_bytes(cuda_stream stream, const work *what)
{
    pthread_mutex_lock(&fake_lock);
    const int card = fake_current_card();
    fake_check_memory_locked((uintptr_t)what->target, card, "bytes for another card");
    fake_check_memory_locked((uintptr_t)what->source, card, "bytes of another card");
    int result =
        stream != NULL ? fake_submit_locked(stream, what) : fake_enter_context_locked();
    pthread_mutex_unlock(&fake_lock);
    if (result == 0 && stream == NULL) {
        run_work(what);
    }
    return result;
}

cuda_result cuMemcpyAsync(cuda_pointer target, cuda_pointer source, size_t size_bytes,
                          cuda_stream stream)
{
    return submit_bytes(stream, &(work){.kind = WORK_COPY,
                                        .target = (void *)(uintptr_t)target,
                                        .source = (const void *)(uintptr_t)source,
                                        .size_bytes = size_bytes});
}

cuda_result cuMemcpyPeerAsync(cuda_pointer target, cuda_context target_context,
                              cuda_pointer source, cuda_context source_context,
                              size_t size_bytes, cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    fake_check_memory_locked(target, target_context->card, "bytes for another card");
    fake_check_memory_locked(source, source_context->card, "bytes of another card");
    if (stream != NULL || target_context->owners == 0 || source_context->owners == 0) {
        fake_violate_locked("a copy between cards as it is not done here");
    }
    pthread_mutex_unlock(&fake_lock);
    if (result == 0) {
        memcpy((void *)(uintptr_t)target, (const void *)(uintptr_t)source, size_bytes);
    }
    return result;
}

cuda_result cuMemsetD8Async(cuda_pointer target, unsigned char value, size_t size_bytes,
                            cuda_stream stream)
{
    return submit_bytes(stream, &(work){.kind = WORK_FILL,
                                        .target = (void *)(uintptr_t)target,
                                        .value = value,
                                        .size_bytes = size_bytes});
}

cuda_result cuStreamQuery(cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    fake_check_card_locked(stream->card, "a stream of another card is asked");
    if (result == 0 && stream->enqueued != stream->completed) {
        result = CUDA_ERROR_NOT_READY;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuStreamSynchronize(cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    if (stream == NULL) { /* all has been done at once */
        pthread_mutex_unlock(&fake_lock);
        return result;
    }
    fake_check_card_locked(stream->card, "a stream of another card is waited for");
    const uint64_t target = stream->enqueued;
    /* Also when it fails: the work is on its way all the same. */
    fake_counts.waiting++;
    while (stream->completed < target) {
        pthread_cond_wait(&progress, &fake_lock);
    }
    fake_counts.waiting--;
    pthread_mutex_unlock(&fake_lock);
    return result;
}

static cuda_event all_events;

cuda_result cuEventCreate(cuda_event *event, unsigned int flags)
{
    (void)flags;
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    if (result == 0) {
        *event = calloc(1, sizeof(**event));
        (*event)->card = fake_current_card();
        (*event)->next = all_events;
        all_events = *event;
        fake_counts.events++;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuEventDestroy_v2(cuda_event event)
{
    pthread_mutex_lock(&fake_lock);
    fake_counts.events--;
    if (event->destroyed) {
        fake_violate_locked("an event is destroyed twice");
    }
    event->destroyed = true;
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

cuda_result cuEventRecord(cuda_event event, cuda_stream stream)
{
    pthread_mutex_lock(&fake_lock);
    if (event->destroyed) {
        fake_violate_locked("an event is recorded that was destroyed");
    }
    if (event->card != stream->card) {
        fake_violate_locked("an event is recorded on a stream of another card");
    }
    event->recorded++;
    int result = fake_submit_locked(
        stream, &(work){.kind = WORK_EVENT, .event = event, .number = event->recorded});
    pthread_mutex_unlock(&fake_lock);
    return result;
}

static void check_event_locked(cuda_event event)
{
    if (event->destroyed) {
        fake_violate_locked("an event is used that was destroyed");
    }
}

cuda_result cuEventQuery(cuda_event event)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    check_event_locked(event);
    if (result == 0 && event->reached < event->recorded) {
        result = CUDA_ERROR_NOT_READY;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuEventSynchronize(cuda_event event)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    check_event_locked(event);
    fake_counts.waiting++;
    while (result == 0 && event->reached < event->recorded) {
        pthread_cond_wait(&progress, &fake_lock);
    }
    fake_counts.waiting--;
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuEventElapsedTime(float *milliseconds, cuda_event begin, cuda_event end)
{
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    check_event_locked(begin);
    check_event_locked(end);
    if (result == 0 && (begin->reached == 0 || end->reached == 0)) {
        result = CUDA_ERROR_NOT_READY;
    }
    *milliseconds = (float)((double)(end->reached_ns - begin->reached_ns) / 1e6);
    pthread_mutex_unlock(&fake_lock);
    return result;
}
