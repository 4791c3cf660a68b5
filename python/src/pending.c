/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Requests in flight. The library's callback runs on its own threads, without the GIL:
 * it rings bells and moves what is to be freed to a list, nothing else. So a thread
 * that waits for the GIL never keeps a batch waiting, and nothing of Python is touched
 * when the interpreter is gone. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t ended;     /* woken when a count of those in flight becomes 0 */
    door_pending *in_flight;  /* guarded by lock */
    door_pending *dead;       /* guarded by lock: to be freed with the GIL */
    door_watch *dead_watches; /* guarded by lock: the same */
    bool shut;                /* guarded by lock: no more are accepted */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Its waits have the monotonic clock: the other one may be set. */
static void make_condition(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&all.ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

void door_pending_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_condition);
}

/* The device's count of those in flight; its model is kept by the pending call. */
static uint64_t *device_count(const door_pending *pending)
{
    return &((door_device *)pending->call.model->device)->in_flight;
}

door_pending *door_pending_new(door_model *model, PyObject *queue,
                               uint64_t *queue_count)
{
    door_pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        return (door_pending *)PyErr_NoMemory();
    }
    pending->references = 1;
    pending->queue_count = queue_count;
    pending->owners[0] = Py_NewRef((PyObject *)model);
    pending->owners[1] = Py_XNewRef(queue);
    if (door_call_begin(&pending->call, model)) {
        door_pending_drop(pending);
        return NULL;
    }
    return pending;
}

static void free_pending(door_pending *pending)
{
    weft_request_release(pending->request);
    door_call_end(&pending->call);
    Py_XDECREF(pending->owners[0]);
    Py_XDECREF(pending->owners[1]);
    free(pending);
}

int door_pending_start(door_pending *pending)
{
    pthread_mutex_lock(&all.lock);
    bool shut = all.shut;
    if (!shut) {
        pending->references++;
        pending->next = all.in_flight;
        if (all.in_flight) {
            all.in_flight->previous = pending;
        }
        all.in_flight = pending;
        ++*device_count(pending);
        if (pending->queue_count) {
            ++*pending->queue_count;
        }
    }
    pthread_mutex_unlock(&all.lock);
    return shut ? door_refuse(WEFT_CLOSED, "the interpreter is ending") : 0;
}

/* Takes it out of those in flight. */
static void unlink_locked(door_pending *pending)
{
    if (pending->previous) {
        pending->previous->next = pending->next;
    } else {
        all.in_flight = pending->next;
    }
    if (pending->next) {
        pending->next->previous = pending->previous;
    }
    bool none_left = --*device_count(pending) == 0;
    if (pending->queue_count) {
        none_left |= --*pending->queue_count == 0;
    }
    if (none_left) {
        pthread_cond_broadcast(&all.ended);
    }
}

void door_pending_refused(door_pending *pending)
{
    pthread_mutex_lock(&all.lock);
    unlink_locked(pending);
    pending->references--;
    pthread_mutex_unlock(&all.lock);
}

void door_pending_accepted(door_pending *pending, weft_request *request)
{
    pthread_mutex_lock(&all.lock);
    pending->request = request;
    pthread_mutex_unlock(&all.lock);
}

static void ring_locked(door_watch *watch)
{
    if (!door_bell_ring(watch->bell, watch)) {
        watch->next = all.dead_watches;
        all.dead_watches = watch;
    }
}

void door_pending_ended(void *user, weft_request *request, weft_status status)
{
    (void)request;
    (void)status;
    door_pending *pending = user;
    pthread_mutex_lock(&all.lock);
    pending->ended = true;
    unlink_locked(pending);
    door_watch *watch = pending->watches;
    pending->watches = NULL;
    while (watch) {
        door_watch *next = watch->next;
        ring_locked(watch);
        watch = next;
    }
    if (--pending->references == 0) {
        pending->next = all.dead;
        all.dead = pending;
    }
    pthread_mutex_unlock(&all.lock);
}

void door_pending_let_go(door_pending *pending)
{
#ifdef Py_GIL_DISABLED
    bool was = atomic_exchange(&pending->let_go, true);
#else
    bool was = pending->let_go;
    pending->let_go = true;
#endif
    if (!was) {
        door_call_let_go(&pending->call);
    }
}

void door_pending_drop(door_pending *pending)
{
    pthread_mutex_lock(&all.lock);
    bool last = --pending->references == 0;
    pthread_mutex_unlock(&all.lock);
    if (last) {
        free_pending(pending);
    }
}

void door_pending_watch(door_pending *pending, door_watch *watch)
{
    pthread_mutex_lock(&all.lock);
    if (pending->ended) {
        ring_locked(watch);
    } else {
        door_watch **last = &pending->watches; /* they are told in order */
        while (*last) {
            last = &(*last)->next;
        }
        watch->next = NULL;
        *last = watch;
    }
    pthread_mutex_unlock(&all.lock);
}

void door_pending_sweep(void)
{
    pthread_mutex_lock(&all.lock);
    door_pending *pending = all.dead;
    door_watch *watch = all.dead_watches;
    all.dead = NULL;
    all.dead_watches = NULL;
    pthread_mutex_unlock(&all.lock);
    while (pending) {
        door_pending *next = pending->next;
        free_pending(pending);
        pending = next;
    }
    while (watch) {
        door_watch *next = watch->next;
        door_watch_free(watch);
        watch = next;
    }
}

uint64_t door_pending_count(const uint64_t *queue_count)
{
    pthread_mutex_lock(&all.lock);
    uint64_t count = *queue_count;
    pthread_mutex_unlock(&all.lock);
    return count;
}

/* --- draining -----------------------------------------------------------------------
 */

/* Waits until none that `count` counts is in flight, at most for a part of a wait. The
 * child of a fork has none in flight, whatever was counted in its parent. */
static bool await_none(const uint64_t *count, int64_t part_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + part_ns;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&all.lock);
    int code = 0;
    while (all.in_flight && *count > 0 && code == 0) {
        code = pthread_cond_timedwait(&all.ended, &all.lock, &until);
    }
    bool none = !all.in_flight || *count == 0;
    pthread_mutex_unlock(&all.lock);
    return none;
}

/* The library's own wait cannot be done in parts, each of which would cancel what has
 * not started: so it begins when it has little left to wait for, the calls that run on
 * threads of their callers. */
PyObject *door_pending_drain(PyObject *self, const uint64_t *count, door_drain drain,
                             PyObject *timeout)
{
    int64_t timeout_ns;
    if (door_read_seconds(timeout, &timeout_ns)) {
        return NULL;
    }
    bool for_ever = timeout_ns == WEFT_FOREVER, none = false;
    int64_t end_ns = for_ever ? INT64_MAX : door_now_ns() + timeout_ns;
    int64_t left_ns = end_ns - door_now_ns();
    while (!none && left_ns > 0) {
        int64_t part_ns = left_ns < DOOR_SIGNAL_NS ? left_ns : DOOR_SIGNAL_NS;
        Py_BEGIN_ALLOW_THREADS;
        none = await_none(count, part_ns);
        Py_END_ALLOW_THREADS;
        if (PyErr_CheckSignals()) {
            return NULL;
        }
        left_ns = end_ns - door_now_ns();
    }
    weft_error error;
    weft_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = drain(self, for_ever ? WEFT_FOREVER : left_ns < 0 ? 0 : left_ns, &error);
    Py_END_ALLOW_THREADS;
    door_pending_sweep();
    if (status == WEFT_TIMEOUT) {
        door_refuse(WEFT_TIMEOUT,
                    "what was accepted did not end within %lld ms; what had not "
                    "started was cancelled; drain again to wait for the rest",
                    (long long)(timeout_ns / 1000000));
    } else if (status != WEFT_OK) {
        door_raise(&error);
    }
    return status == WEFT_OK ? Py_NewRef(Py_None) : NULL;
}

/* --- the end ------------------------------------------------------------------------
 */

/* The next one that was not cancelled yet; the caller releases it. */
static weft_request *next_to_cancel(void)
{
    weft_request *request = NULL;
    pthread_mutex_lock(&all.lock);
    for (door_pending *p = all.in_flight; p && !request; p = p->next) {
        if (p->request && !p->given_up) {
            p->given_up = true;
            request = weft_request_retain(p->request);
        }
    }
    pthread_mutex_unlock(&all.lock);
    return request;
}

static void await_all(int64_t timeout_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ns / 1000000000;
    pthread_mutex_lock(&all.lock);
    int code = 0;
    while (all.in_flight && code == 0) {
        code = pthread_cond_timedwait(&all.ended, &all.lock, &until);
    }
    pthread_mutex_unlock(&all.lock);
}

void door_pending_shut_down(int64_t timeout_ns)
{
    pthread_mutex_lock(&all.lock);
    all.shut = true;
    pthread_mutex_unlock(&all.lock);
    Py_BEGIN_ALLOW_THREADS;
    for (weft_request *r = next_to_cancel(); r; r = next_to_cancel()) {
        weft_request_cancel(r);
        weft_request_release(r);
    }
    await_all(timeout_ns);
    Py_END_ALLOW_THREADS;
    door_pending_sweep();
}

void door_pending_forked(void)
{
    pthread_mutex_init(&all.lock, NULL);
    make_condition();
    all.in_flight = NULL; /* they go on in the parent, and never end here */
    all.dead = NULL;
    all.dead_watches = NULL;
}
