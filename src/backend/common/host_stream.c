/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/common/host_stream.h"

#include <string.h>

#include "backend/common/fault.h"
#include "backend/common/host_event.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/float_state.h"
#include "base/lock.h"
#include "base/memory.h"

enum { MIN_COMMAND_SLOTS = 16 };

typedef enum command_kind {
    COMMAND_EXECUTE,
    COMMAND_COPY,
    COMMAND_FILL,
    COMMAND_CALL,
    COMMAND_RECORD,
    COMMAND_WAIT,
} command_kind;

/* One enqueued call. Kept for reuse by its stream. */
typedef struct command {
    struct command *next;
    command_kind kind;
    union {
        wefti_recipe *recipe;
        struct {
            void *target;
            const void *source; /* copy */
            size_t size_bytes;
            uint8_t value; /* fill */
        } bytes;
        struct {
            void (*function)(void *user);
            void *user;
        } call;
        struct {
            wefti_backend_event *event; /* owned when enqueued */
            uint64_t value;
        } point;
    } u;
    size_t slot_count, slot_capacity;
    void *slots[];
} command;

/* While `active` is false nothing is pending and the submitting thread does the work
 * itself. It becomes true with a wait for an event that has not come: from then on
 * either the event holds `waiter` (then `parked` is true, and still for a moment after
 * the event has come), or a worker has or runs `drain`, until the queue is empty. */
struct wefti_backend_stream {
    /* immutable after create */
    void *user;
    const wefti_host_stream_hooks *hooks;
    wefti_workers *workers;

    /* atomic: who submits -> synchronize */
    wefti_atomic_u64 enqueued;
    /* atomic: who drains, under the lock -> who submits, synchronize */
    wefti_atomic_u64 completed;
    /* atomic: who works -> synchronize; 1 while first_error is set */
    wefti_atomic_u32 failed;

    /* guarded by lock */
    wefti_mutex lock;
    wefti_condition progress; /* woken by drain while synchronizers is not 0 */
    uint32_t synchronizers;
    bool active, parked;
    command *first, *last;
    command *free_commands;
    weft_error first_error;

    /* one thread at a time: who made the stream active, then the drainer */
    wefti_task drain;
    wefti_host_waiter waiter;
    bool cancelled; /* no wait is waited for and no memory touched any more */
};

static void drain(wefti_task *task);

weft_status wefti_host_stream_create(void *user, const wefti_host_stream_hooks *hooks,
                                     wefti_workers *workers,
                                     wefti_backend_stream **stream, weft_error *error)
{
    *stream = NULL;
    WEFTI_TRY(wefti_device_fault("stream.create", error));
    wefti_backend_stream *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a stream");
    }
    weft_status status =
        wefti_mutex_init(&made->lock, "stream", WEFTI_RANK_STREAM, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    status = wefti_condition_init(&made->progress, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&made->lock);
        wefti_free(made);
        return status;
    }
    made->user = user;
    made->hooks = hooks;
    made->workers = workers;
    made->drain.run = drain;
    made->waiter.workers = workers;
    made->waiter.task = &made->drain;
    *stream = made;
    return WEFT_OK;
}

void *wefti_host_stream_user(const wefti_backend_stream *stream)
{
    return stream->user;
}

void wefti_host_stream_destroy(wefti_backend_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    /* The worker that made the stream idle may not have left the lock yet. */
    wefti_mutex_lock(&stream->lock);
    command *unused = stream->free_commands;
    wefti_mutex_unlock(&stream->lock);
    while (unused != NULL) {
        command *next = unused->next;
        wefti_free(unused);
        unused = next;
    }
    wefti_condition_fini(&stream->progress);
    wefti_mutex_fini(&stream->lock);
    wefti_free(stream);
}

/* True while work has to be enqueued. Only the submitting thread enqueues, so a false
 * stays false for it. Relaxed: its own counter. */
WEFTI_INLINE bool is_pending(const wefti_backend_stream *stream)
{
    return wefti_atomic_u64_load_relaxed(&stream->enqueued) !=
           wefti_atomic_u64_load_acquire(&stream->completed);
}

static WEFTI_NOINLINE void keep_error(wefti_backend_stream *stream, weft_status status,
                                      const weft_error *error)
{
    wefti_mutex_lock(&stream->lock);
    if (wefti_atomic_u32_load_acquire(&stream->failed) == 0) {
        stream->first_error = *error;
        stream->first_error.status = status;
        wefti_atomic_u32_store_release(&stream->failed, 1);
    }
    wefti_mutex_unlock(&stream->lock);
}

static void record_now(wefti_backend_stream *stream, wefti_backend_event *event,
                       uint64_t value)
{
    if (WEFTI_LIKELY(wefti_atomic_u32_load_acquire(&stream->failed) == 0)) {
        wefti_host_event_raise(event, value, NULL);
        return;
    }
    weft_error failure;
    wefti_mutex_lock(&stream->lock);
    bool failed = wefti_atomic_u32_load_acquire(&stream->failed) != 0;
    if (failed) {
        failure = stream->first_error;
    }
    wefti_mutex_unlock(&stream->lock);
    wefti_host_event_raise(event, value, failed ? &failure : NULL);
}

WEFTI_INLINE void execute_now(wefti_backend_stream *stream, wefti_recipe *recipe,
                              void *const *slots, size_t slot_count)
{
    weft_error error;
    wefti_float_state state = wefti_float_enter();
    weft_status status =
        stream->hooks->run(stream->user, recipe, slots, slot_count, &error);
    wefti_float_leave(state);
    if (WEFTI_UNLIKELY(status != WEFT_OK)) {
        keep_error(stream, status, &error);
    }
}

static void copy_now(wefti_backend_stream *stream, void *target, const void *source,
                     size_t size_bytes)
{
    weft_error error;
    if (stream->hooks->copy == NULL) {
        memcpy(target, source, size_bytes);
        return;
    }
    weft_status status =
        stream->hooks->copy(stream->user, target, source, size_bytes, &error);
    if (WEFTI_UNLIKELY(status != WEFT_OK)) {
        keep_error(stream, status, &error);
    }
}

static void fill_now(wefti_backend_stream *stream, void *target, uint8_t value,
                     size_t size_bytes)
{
    weft_error error;
    if (stream->hooks->fill == NULL) {
        memset(target, value, size_bytes);
        return;
    }
    weft_status status =
        stream->hooks->fill(stream->user, target, value, size_bytes, &error);
    if (WEFTI_UNLIKELY(status != WEFT_OK)) {
        keep_error(stream, status, &error);
    }
}

/* Does an enqueued command and gives back what it owned. */
static void run_command(wefti_backend_stream *stream, command *c)
{
    switch (c->kind) {
    case COMMAND_EXECUTE:
        if (!stream->cancelled) {
            execute_now(stream, c->u.recipe, c->slots, c->slot_count);
        }
        break;
    case COMMAND_COPY:
        if (!stream->cancelled) {
            copy_now(stream, c->u.bytes.target, c->u.bytes.source,
                     c->u.bytes.size_bytes);
        }
        break;
    case COMMAND_FILL:
        if (!stream->cancelled) {
            fill_now(stream, c->u.bytes.target, c->u.bytes.value,
                     c->u.bytes.size_bytes);
        }
        break;
    case COMMAND_CALL:
        c->u.call.function(c->u.call.user);
        break;
    case COMMAND_RECORD:
        record_now(stream, c->u.point.event, c->u.point.value);
        wefti_host_event_release(c->u.point.event);
        break;
    case COMMAND_WAIT: /* the value has come, or the device ends */
        wefti_host_event_release(c->u.point.event);
        break;
    }
}

/* Leaves the waiter with the event of a wait at the head; false: nothing to wait for.
 */
static bool park_locked(wefti_backend_stream *stream)
{
    const command *head = stream->first;
    stream->parked = false;
    if (head->kind == COMMAND_WAIT && !stream->cancelled) {
        stream->waiter.value = head->u.point.value;
        stream->parked =
            wefti_host_event_add_waiter(head->u.point.event, &stream->waiter);
    }
    return stream->parked;
}

static command *pop_locked(wefti_backend_stream *stream)
{
    command *c = stream->first;
    stream->first = c->next;
    if (stream->first == NULL) {
        stream->last = NULL;
    }
    return c;
}

static void complete_locked(wefti_backend_stream *stream, command *c)
{
    c->next = stream->free_commands;
    stream->free_commands = c;
    /* Relaxed: only written under the lock. Release for those who look without. */
    uint64_t completed = wefti_atomic_u64_load_relaxed(&stream->completed);
    wefti_atomic_u64_store_release(&stream->completed, completed + 1);
    if (stream->synchronizers > 0) {
        wefti_condition_wake_all(&stream->progress);
    }
}

/* The task of a worker: goes on until the queue is empty or waits for an event. */
static void drain(wefti_task *task)
{
    wefti_backend_stream *stream =
        WEFTI_CONTAINER_OF(task, wefti_backend_stream, drain);
    wefti_mutex_lock(&stream->lock);
    stream->parked = false;
    while (stream->first != NULL && !park_locked(stream)) {
        command *c = pop_locked(stream);
        wefti_mutex_unlock(&stream->lock);
        run_command(stream, c);
        wefti_mutex_lock(&stream->lock);
        complete_locked(stream, c);
    }
    /* When parked the head is still there, and the next drain waits for our lock. */
    stream->active = stream->first != NULL;
    if (stream->synchronizers > 0) {
        wefti_condition_wake_all(&stream->progress); /* for settle */
    }
    wefti_mutex_unlock(&stream->lock);
}

static void append_locked(wefti_backend_stream *stream, command *c)
{
    c->next = NULL;
    if (stream->last == NULL) {
        stream->first = c;
    } else {
        stream->last->next = c;
    }
    stream->last = c;
    uint64_t enqueued = wefti_atomic_u64_load_relaxed(&stream->enqueued);
    wefti_atomic_u64_store_release(&stream->enqueued, enqueued + 1);
}

/* Takes a used command or makes one; NULL when memory runs out. */
static command *new_command(wefti_backend_stream *stream, command_kind kind,
                            size_t slot_count)
{
    wefti_mutex_lock(&stream->lock);
    command **link = &stream->free_commands;
    while (*link != NULL && (*link)->slot_capacity < slot_count) {
        link = &(*link)->next;
    }
    command *c = *link;
    if (c != NULL) {
        *link = c->next;
    }
    wefti_mutex_unlock(&stream->lock);
    if (c == NULL) {
        size_t capacity =
            slot_count < MIN_COMMAND_SLOTS ? MIN_COMMAND_SLOTS : slot_count;
        size_t bytes;
        if (WEFTI_MUL_OVERFLOWS(capacity, sizeof(void *), &bytes) ||
            WEFTI_ADD_OVERFLOWS(bytes, sizeof(*c), &bytes) ||
            (c = wefti_malloc(bytes)) == NULL) {
            return NULL;
        }
        c->slot_capacity = capacity;
    }
    c->kind = kind;
    c->slot_count = slot_count;
    return c;
}

static weft_status no_command(weft_error *error)
{
    return wefti_error_memory(error, "a stream's pending command");
}

/* Enqueues the command, or does it at once when the stream ran dry meanwhile. */
static void submit(wefti_backend_stream *stream, command *c)
{
    wefti_mutex_lock(&stream->lock);
    bool active = stream->active;
    if (active) {
        append_locked(stream, c);
    }
    wefti_mutex_unlock(&stream->lock);
    if (active) {
        return;
    }
    run_command(stream, c);
    wefti_mutex_lock(&stream->lock);
    c->next = stream->free_commands;
    stream->free_commands = c;
    wefti_mutex_unlock(&stream->lock);
}

weft_status wefti_host_stream_execute(wefti_backend_stream *stream,
                                      wefti_recipe *recipe, void *const *slots,
                                      size_t slot_count, weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("stream.execute", error));
    if (WEFTI_LIKELY(!is_pending(stream))) {
        execute_now(stream, recipe, slots, slot_count);
        return WEFT_OK;
    }
    command *c = new_command(stream, COMMAND_EXECUTE, slot_count);
    if (c == NULL) {
        return no_command(error);
    }
    c->u.recipe = recipe;
    if (slot_count > 0) {
        memcpy(c->slots, slots, slot_count * sizeof(*slots));
    }
    submit(stream, c);
    return WEFT_OK;
}

weft_status wefti_host_stream_copy(wefti_backend_stream *stream, void *target,
                                   const void *source, size_t size_bytes,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("stream.copy", error));
    if (size_bytes == 0) {
        return WEFT_OK;
    }
    if (!is_pending(stream)) {
        copy_now(stream, target, source, size_bytes);
        return WEFT_OK;
    }
    command *c = new_command(stream, COMMAND_COPY, 0);
    if (c == NULL) {
        return no_command(error);
    }
    c->u.bytes.target = target;
    c->u.bytes.source = source;
    c->u.bytes.size_bytes = size_bytes;
    submit(stream, c);
    return WEFT_OK;
}

weft_status wefti_host_stream_fill(wefti_backend_stream *stream, void *target,
                                   uint8_t value, size_t size_bytes, weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("stream.fill", error));
    if (size_bytes == 0) {
        return WEFT_OK;
    }
    if (!is_pending(stream)) {
        fill_now(stream, target, value, size_bytes);
        return WEFT_OK;
    }
    command *c = new_command(stream, COMMAND_FILL, 0);
    if (c == NULL) {
        return no_command(error);
    }
    c->u.bytes.target = target;
    c->u.bytes.value = value;
    c->u.bytes.size_bytes = size_bytes;
    submit(stream, c);
    return WEFT_OK;
}

weft_status wefti_host_stream_call(wefti_backend_stream *stream,
                                   void (*function)(void *user), void *user,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("stream.call", error));
    if (!is_pending(stream)) {
        function(user);
        return WEFT_OK;
    }
    command *c = new_command(stream, COMMAND_CALL, 0);
    if (c == NULL) {
        return no_command(error);
    }
    c->u.call.function = function;
    c->u.call.user = user;
    submit(stream, c);
    return WEFT_OK;
}

weft_status wefti_host_stream_record(wefti_backend_stream *stream,
                                     wefti_backend_event *event, uint64_t value,
                                     weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("stream.record", error));
    if (WEFTI_LIKELY(!is_pending(stream))) {
        record_now(stream, event, value);
        return WEFT_OK;
    }
    command *c = new_command(stream, COMMAND_RECORD, 0);
    if (c == NULL) {
        return no_command(error);
    }
    wefti_host_event_retain(event);
    c->u.point.event = event;
    c->u.point.value = value;
    submit(stream, c);
    return WEFT_OK;
}

weft_status wefti_host_stream_wait(wefti_backend_stream *stream,
                                   wefti_backend_event *event, uint64_t value,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("stream.wait", error));
    if (!is_pending(stream) && wefti_host_event_query(event) >= value) {
        return WEFT_OK;
    }
    if (wefti_workers_count(stream->workers) == 0) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "a stream of a device without workers cannot wait for an "
                           "event that has not come; open the device with a "
                           "worker_count above 0, or wait on the host first");
    }
    command *c = new_command(stream, COMMAND_WAIT, 0);
    if (c == NULL) {
        return no_command(error);
    }
    wefti_host_event_retain(event);
    c->u.point.event = event;
    c->u.point.value = value;
    bool done = false;
    wefti_mutex_lock(&stream->lock);
    append_locked(stream, c);
    if (!stream->active) {
        stream->active = park_locked(stream);
        done = !stream->active;
    }
    if (done) { /* it came meanwhile */
        complete_locked(stream, pop_locked(stream));
    }
    wefti_mutex_unlock(&stream->lock);
    if (done) {
        wefti_host_event_release(event);
    }
    return WEFT_OK;
}

static weft_status take_error_locked(wefti_backend_stream *stream, weft_error *error)
{
    if (wefti_atomic_u32_load_acquire(&stream->failed) == 0) {
        return WEFT_OK;
    }
    wefti_atomic_u32_store_release(&stream->failed, 0);
    if (error != NULL) {
        *error = stream->first_error;
    }
    return stream->first_error.status;
}

weft_status wefti_host_stream_synchronize(wefti_backend_stream *stream,
                                          int64_t deadline_ns, weft_error *error)
{
    uint64_t target = wefti_atomic_u64_load_acquire(&stream->enqueued);
    if (WEFTI_LIKELY(wefti_atomic_u64_load_acquire(&stream->completed) >= target &&
                     wefti_atomic_u32_load_acquire(&stream->failed) == 0)) {
        return WEFT_OK;
    }
    weft_status status = WEFT_TIMEOUT;
    bool in_time = true;
    wefti_mutex_lock(&stream->lock);
    stream->synchronizers++;
    while (wefti_atomic_u64_load_acquire(&stream->completed) < target && in_time) {
        in_time = wefti_condition_wait(&stream->progress, &stream->lock, deadline_ns);
    }
    stream->synchronizers--;
    if (wefti_atomic_u64_load_acquire(&stream->completed) >= target) {
        status = take_error_locked(stream, error);
    }
    wefti_mutex_unlock(&stream->lock);
    if (status == WEFT_TIMEOUT) {
        return wefti_error(error, WEFT_TIMEOUT,
                           "the stream's work did not end in time; wait longer");
    }
    return status;
}

/* Parked at an event that has not come. When it has, who raised it posts the drain. */
static bool is_held_locked(const wefti_backend_stream *stream)
{
    if (wefti_sabotaged(WEFTI_SABOTAGE_SETTLE_DUE)) {
        return stream->parked;
    }
    return stream->parked &&
           wefti_host_event_query(stream->first->u.point.event) < stream->waiter.value;
}

bool wefti_host_stream_settle(wefti_backend_stream *stream, uint64_t *ended)
{
    wefti_mutex_lock(&stream->lock);
    stream->synchronizers++;
    while (stream->active && !is_held_locked(stream)) {
        /* Woken by drain, which a worker runs or is about to run. */
        (void)wefti_condition_wait(&stream->progress, &stream->lock, WEFTI_NEVER);
    }
    stream->synchronizers--;
    bool held = stream->active;
    *ended = wefti_atomic_u64_load_acquire(&stream->completed);
    wefti_mutex_unlock(&stream->lock);
    return held;
}

void wefti_host_stream_abandon(wefti_backend_stream *stream)
{
    weft_error why;
    weft_status status =
        wefti_error(&why, WEFT_CANCELLED,
                    "the device ended while the stream waited for an event that nobody "
                    "could raise any more; the work behind was not done");
    wefti_mutex_lock(&stream->lock);
    bool held = stream->parked;
    stream->parked = false; /* taken back here, or its drain is on the way */
    held = held && wefti_host_event_remove_waiter(stream->first->u.point.event,
                                                  &stream->waiter);
    wefti_mutex_unlock(&stream->lock);
    if (held) {
        stream->cancelled = true;
        keep_error(stream, status, &why);
        drain(&stream->drain);
    }
}
