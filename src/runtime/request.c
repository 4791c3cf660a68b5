/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/request.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "base/profile.h"
#include "runtime/executor.h"

/* A wait with less time than this sleeps at once: its deadline wakes it. */
enum { LINGER_LEAST_NS = 20000000 };

enum { STATE_BITS = 8, STATE_MASK = (1 << STATE_BITS) - 1 };

static weft_status check_params(const weft_submit_params *given,
                                weft_submit_params *params, weft_error *error)
{
    *params = (weft_submit_params)WEFT_SUBMIT_PARAMS_INIT;
    return wefti_params_take(WEFTI_PARAMS(weft_submit_params), given, params, error);
}

weft_status wefti_request_init(weft_request *request, weft_error *error)
{
    request->fd = -1;
    WEFTI_TRY(wefti_mutex_init(&request->lock, "request", WEFTI_RANK_REQUEST, error));
    weft_status status = wefti_condition_init(&request->ended, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&request->lock);
    }
    return status;
}

weft_status wefti_request_open_fd(weft_request *request, weft_error *error)
{
    bool fails = wefti_fault_here(WEFTI_FAULT_ALLOCATION);
    request->fd = fails ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (request->fd < 0) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "the system gives no file descriptor for the request: %s; "
                           "close some or raise the limit",
                           strerror(fails ? EMFILE : errno));
    }
    return WEFT_OK;
}

void wefti_request_close_fd(weft_request *request)
{
    if (request->fd >= 0) {
        close(request->fd);
        request->fd = -1;
    }
}

void wefti_request_fini(weft_request *request)
{
    wefti_request_close_fd(request);
    weft_profiler_release(request->profiler);
    wefti_condition_fini(&request->ended);
    wefti_mutex_fini(&request->lock);
}

void wefti_request_reset(weft_request *request, const wefti_request_kind *kind,
                         weft_device *device)
{
    request->kind = kind;
    request->device = device;
    if (WEFTI_UNLIKELY(device->profiler != request->profiler)) {
        weft_profiler_release(request->profiler);
        request->profiler = weft_profiler_retain(device->profiler);
    }
    wefti_refcount_init(&request->owners);
    wefti_atomic_u32_init(&request->state, WEFTI_REQUEST_PENDING);
    wefti_atomic_u32_init(&request->waiters, 0);
    request->callback = NULL;
    request->callback_user = NULL;
    request->start_deadline_ns = WEFTI_NEVER;
    request->timed = false;
    request->error.message[0] = '\0';
}

static void destroy_request(weft_request *request)
{
    wefti_results_destroy(request->work.results);
    wefti_request_fini(request);
    wefti_free(request);
}

static bool cancel_request(weft_request *request);

static bool get_output(const weft_request *request, size_t index, weft_tensor *output)
{
    const wefti_results *results = request->work.results;
    bool there = results && index < results->count;
    if (there) {
        *output = results->tensors[index];
    }
    return there;
}

static const wefti_request_kind device_kind = {
    .cancel = cancel_request,
    .output = get_output,
    .destroy = destroy_request,
};

static weft_status make_request(weft_device *device, const wefti_request_work *work,
                                const weft_submit_params *given, weft_request **request,
                                weft_error *error)
{
    weft_submit_params params;
    WEFTI_TRY(check_params(given, &params, error));
    weft_request *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a request");
    }
    weft_status status = wefti_request_init(made, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    wefti_request_reset(made, &device_kind, device);
    made->work = *work;
    made->work.results = NULL; /* the caller's until this has succeeded */
    made->callback = params.callback;
    made->callback_user = params.user;
    if (params.timeout_ns > 0) {
        made->start_deadline_ns = wefti_deadline(params.timeout_ns);
    }
    if (params.with_fd) {
        status = wefti_request_open_fd(made, error);
        if (status != WEFT_OK) {
            destroy_request(made);
            return status;
        }
    }
    *request = made;
    return WEFT_OK;
}

/* The request is counted and queued; from then on it may end at any moment, so the
 * caller's pointer is set before. */
static weft_status accept_request(weft_device *device, weft_request *made,
                                  weft_request **request, weft_error *error)
{
    WEFTI_TRY(wefti_device_begin(device, &made->shard, error));
    made->submitted_ns = wefti_profile_begin(device->profiler);
    uint32_t shard = made->shard;
    weft_request_retain(made); /* the executor's */
    *request = made;
    weft_status status = wefti_executor_submit(device->requests, made, error);
    if (status != WEFT_OK) {
        *request = NULL;
        wefti_device_unbegin(device, shard);
        weft_request_release(made);
    }
    return status;
}

weft_status wefti_request_submit(weft_device *device, const wefti_request_work *work,
                                 const weft_submit_params *params,
                                 weft_request **request, weft_error *error)
{
    weft_request *made = NULL;
    weft_status status = WEFT_OK;
    *request = NULL;
    if (device->info.worker_count == 0) {
        status = wefti_error(error, WEFT_UNAVAILABLE,
                             "%s was opened without workers, which run asynchronous "
                             "requests; open it with a worker_count above 0",
                             device->name);
    }
    if (status == WEFT_OK) {
        status = make_request(device, work, params, &made, error);
    }
    if (status != WEFT_OK) {
        wefti_results_destroy(work->results);
    } else {
        made->work.results = work->results;
        status = accept_request(device, made, request, error);
        if (status != WEFT_OK) {
            weft_request_release(made);
        }
    }
    if (status != WEFT_OK) {
        work->release(work->user);
    }
    return status;
}

weft_request *weft_request_retain(weft_request *request)
{
    if (request) {
        wefti_refcount_retain(&request->owners);
    }
    return request;
}

void weft_request_release(weft_request *request)
{
    if (request && !wefti_fork_happened() && wefti_refcount_release(&request->owners)) {
        request->kind->destroy(request);
    }
}

bool wefti_request_claim(weft_request *request, wefti_request_state state)
{
    uint32_t found = WEFTI_REQUEST_PENDING;
    return wefti_atomic_u32_cas_acq_rel(&request->state, &found, state);
}

void wefti_request_mark_ended(weft_request *request, weft_status status)
{
    /* Sequentially consistent, as in weft_request_wait: either the waiter is seen by
     * who wakes, or it sees the end. */
    wefti_atomic_u32_store_seq_cst(&request->state, WEFTI_REQUEST_ENDED |
                                                        (uint32_t)status << STATE_BITS);
}

void wefti_request_wake(weft_request *request)
{
    if (wefti_atomic_u32_load_seq_cst(&request->waiters) > 0 &&
        !wefti_sabotaged(WEFTI_SABOTAGE_END_WAKE)) {
        wefti_mutex_lock(&request->lock); /* until they sleep */
        wefti_mutex_unlock(&request->lock);
        wefti_condition_wake_all(&request->ended);
    }
}

void wefti_request_announce(weft_request *request, weft_status status)
{
    wefti_device_end(request->device, request->shard, wefti_outcome_of(status));
    wefti_request_mark_ended(request, status);
    wefti_request_wake(request);
    if (request->fd >= 0) {
        uint64_t one = 1; /* cannot fail: the counter is far from full */
        ssize_t wrote = write(request->fd, &one, sizeof one);
        (void)wrote;
    }
    if (request->kind->ended) {
        request->kind->ended(request);
    }
    if (request->callback) {
        request->callback(request->callback_user, request, status);
    }
}

bool wefti_request_finish(weft_request *request, weft_status status)
{
    wefti_executor *executor = request->device->requests;
    request->work.release(request->work.user);
    wefti_request_announce(request, status);
    return wefti_executor_leave(executor, request);
}

bool wefti_request_run(weft_request *request)
{
    /* A worker may come before the timer does. */
    if (request->start_deadline_ns != WEFTI_NEVER &&
        request->start_deadline_ns <= wefti_clock_ns()) {
        return wefti_request_finish(request, WEFT_TIMEOUT);
    }
    if (WEFTI_UNLIKELY(request->profiler != NULL)) {
        const wefti_profile_note note = {.kind = WEFT_PROFILE_QUEUED, .name = "queued"};
        wefti_profile_record(request->profiler, request->submitted_ns, &note);
    }
    weft_status status = request->work.body(request->work.user, &request->error);
    return wefti_request_finish(request, status);
}

static bool cancel_request(weft_request *request)
{
    weft_device *device = request->device;
    if (!wefti_request_claim(request, WEFTI_REQUEST_ENDING)) {
        uint32_t state = wefti_atomic_u32_load_acquire(&request->state);
        if (wefti_sabotaged(WEFTI_SABOTAGE_EXACTLY_ONCE) &&
            state == WEFTI_REQUEST_RUNNING) {
            wefti_request_announce(request, WEFT_CANCELLED);
            return true;
        }
        return false;
    }
    wefti_executor_take_out(device->requests, request);
    if (wefti_request_finish(request, WEFT_CANCELLED)) {
        wefti_device_teardown(device);
    }
    return true;
}

bool weft_request_cancel(weft_request *request)
{
    return request && !wefti_fork_happened() && request->kind->cancel(request);
}

static bool has_ended(uint32_t state)
{
    return (state & STATE_MASK) == WEFTI_REQUEST_ENDED;
}

/* Whether it has, and how. */
static inline bool look(const weft_request *request, weft_status *status)
{
    uint32_t state = wefti_atomic_u32_load_acquire(&request->state);
    *status = (weft_status)(state >> STATE_BITS);
    return has_ended(state);
}

bool weft_request_test(const weft_request *request, weft_status *status)
{
    weft_status found;
    bool ended = request && look(request, &found);
    if (ended && status) {
        *status = found;
    }
    return ended;
}

bool weft_request_get_output(const weft_request *request, size_t index,
                             weft_tensor *output)
{
    weft_status status;
    if (!output || !weft_request_test(request, &status) || status != WEFT_OK) {
        return false;
    }
    return request->kind->output && request->kind->output(request, index, output);
}

int weft_request_fd(const weft_request *request)
{
    return request ? request->fd : -1;
}

static weft_status pass_on_error(const weft_request *request, weft_status status,
                                 weft_error *error)
{
    if (status == WEFT_OK) {
        return WEFT_OK;
    }
    if (request->error.message[0]) {
        return wefti_error(error, status, "%s", request->error.message);
    }
    if (status == WEFT_CANCELLED) {
        return wefti_error(error, status, "the request was cancelled before it began");
    }
    if (status == WEFT_TIMEOUT) {
        return wefti_error(error, status,
                           "the request did not begin within its time; allow more, or "
                           "submit less at once");
    }
    return wefti_error(error, status, "the request ended with %s",
                       weft_status_name(status));
}

/* False: the deadline came first. */
static bool sleep_until_end(weft_request *request, int64_t deadline_ns)
{
    bool in_time = true;
    wefti_mutex_lock(&request->lock);
    (void)wefti_atomic_u32_add_seq_cst(&request->waiters, 1);
    while (!has_ended(wefti_atomic_u32_load_seq_cst(&request->state)) && in_time) {
        in_time = wefti_condition_wait(&request->ended, &request->lock, deadline_ns);
    }
    (void)wefti_atomic_u32_sub_seq_cst(&request->waiters, 1);
    wefti_mutex_unlock(&request->lock);
    return in_time;
}

/* Waits for the end, at most for the time. */
static void await_end(weft_request *request, int64_t timeout_ns)
{
    int64_t begin_ns = wefti_profile_begin(request->profiler);
    int64_t deadline_ns = wefti_deadline(timeout_ns);
    bool in_time = true;
    if (request->kind->linger) {
        request->kind->linger(request, timeout_ns < 0 || timeout_ns >= LINGER_LEAST_NS);
    }
    if (!weft_request_test(request, NULL)) {
        in_time = sleep_until_end(request, deadline_ns);
    }
    if (WEFTI_UNLIKELY(begin_ns != 0)) {
        wefti_profile_wait(request->profiler, begin_ns, "wait for an answer", -1,
                           in_time ? WEFT_OK : WEFT_TIMEOUT);
    }
}

weft_status weft_request_wait(weft_request *request, int64_t timeout_ns,
                              weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!request) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the request is NULL");
    }
    weft_status status;
    bool ended = look(request, &status);
    if (!ended) {
        await_end(request, timeout_ns);
        ended = look(request, &status);
    }
    if (!ended) {
        return wefti_error(error, WEFT_TIMEOUT,
                           "the request has not ended within %lld ms; wait longer or "
                           "cancel it",
                           (long long)(timeout_ns / 1000000));
    }
    return pass_on_error(request, status, error);
}
