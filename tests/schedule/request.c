/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule/scenario.h"

#include <stdlib.h>

#include "base/thread.h"
#include "runtime/request.h"

enum { MS = 1000000 };

/* Requests: one submits, its worker runs, another cancels, time runs out. The device is
 * opened and released under the scheduler, with its worker and timer. */
typedef struct request_stage {
    weft_device *device;
    weft_request *request;
    uint32_t runs, releases, callbacks;
    weft_status told;
    uint32_t cancelled, accepted;
    uint32_t violations;
} request_stage;

static void *set_request_stage(void)
{
    request_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    return s;
}

static weft_status run_body(void *user, weft_error *error)
{
    (void)error;
    request_stage *s = user;
    s->runs++;
    return WEFT_OK;
}

static void count_release(void *user)
{
    request_stage *s = user;
    s->releases++;
}

static void count_callback(void *user, weft_request *request, weft_status status)
{
    (void)request;
    request_stage *s = user;
    s->callbacks++;
    s->told = status;
}

static void cancel_request(void *argument)
{
    request_stage *s = argument;
    bool won = weft_request_cancel(s->request);
    s->cancelled += won;
    weft_status status;
    bool ended = weft_request_test(s->request, &status);
    s->violations += won && !(ended && status == WEFT_CANCELLED);
    weft_request_release(s->request);
}

static void open_device(request_stage *s, int32_t worker_count)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = worker_count;
    params.max_contexts = 1;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK,
                     "a device");
}

static weft_request *submit_request(request_stage *s, int64_t timeout_ns,
                                    weft_request_callback callback,
                                    wefti_request_body body)
{
    wefti_request_work work = {.body = body, .user = s, .release = count_release};
    weft_submit_params submit = WEFT_SUBMIT_PARAMS_INIT;
    submit.callback = callback;
    submit.user = s;
    submit.timeout_ns = timeout_ns;
    weft_request *request;
    scenario_require(wefti_request_submit(s->device, &work, &submit, &request, NULL) ==
                         WEFT_OK,
                     "a request");
    return request;
}

static void live_through_a_request(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    open_device(s, 1);
    weft_request *request = submit_request(s, MS, count_callback, run_body);
    s->request = weft_request_retain(request);
    wefti_thread canceller;
    s->violations +=
        wefti_thread_start(&canceller, "cancel", cancel_request, s, NULL) != WEFT_OK;
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += s->releases != 1;
    weft_device_close(s->device);
    s->violations += weft_device_drain(s->device, WEFT_FOREVER, NULL) != WEFT_OK;
    s->violations += s->callbacks != 1 || s->told != status;
    s->violations += s->runs != (status == WEFT_OK);
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    s->violations += n.done + n.cancelled + n.timed_out != 1;
    wefti_thread_join(&canceller);
    weft_request_release(request);
    weft_device_release(s->device);
}

static bool check_request_stage(void *state)
{
    request_stage *s = state;
    bool right = s->violations == 0;
    free(s);
    return right;
}

/* The device's last owner goes in a callback, on its worker, its timer or the thread
 * that cancels, while the device's other threads are on their way. */
static void callback_that_leaves(void *user, weft_request *request, weft_status status)
{
    request_stage *s = user;
    count_callback(user, request, status);
    weft_device_release(s->device);
}

static void leave_in_a_callback(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    open_device(s, 2);
    weft_context *context;
    s->violations += weft_context_acquire(s->device, NULL, &context, NULL) != WEFT_OK;
    weft_request *request = submit_request(s, MS, callback_that_leaves, run_body);
    (void)weft_request_cancel(request);
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += s->runs != (status == WEFT_OK) || s->releases != 1;
    weft_request_release(request);
    weft_context_release(context); /* either this or the callback comes last */
}

/* Two cancel while a worker may start it: one of the three ends it. */
static void cancel_against_start(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    wefti_thread first, second;
    open_device(s, 1);
    weft_request *request = submit_request(s, 0, count_callback, run_body);
    s->request = weft_request_retain(request);
    weft_request_retain(request);
    scenario_require(
        wefti_thread_start(&first, "cancel", cancel_request, s, NULL) == WEFT_OK &&
            wefti_thread_start(&second, "cancel", cancel_request, s, NULL) == WEFT_OK,
        "threads");
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += s->releases != 1 || s->runs != (status == WEFT_OK);
    wefti_thread_join(&first);
    wefti_thread_join(&second);
    s->violations += s->cancelled != (status == WEFT_CANCELLED);
    weft_request_release(request);
    weft_device_release(s->device);
    s->violations += s->callbacks != 1 || s->told != status;
}

/* Keeps the only worker until the other request has ended. */
static weft_status run_until_other_ends(void *user, weft_error *error)
{
    (void)error;
    request_stage *s = user;
    s->runs++;
    while (!s->request) {
        wefti_thread_yield();
    }
    s->violations += weft_request_wait(s->request, WEFT_FOREVER, NULL) != WEFT_TIMEOUT;
    return WEFT_OK;
}

/* Its time runs out while the worker is busy with another. */
static void time_out_behind_another(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    open_device(s, 1);
    weft_request *first = submit_request(s, 0, NULL, run_until_other_ends);
    weft_request *second = submit_request(s, MS, count_callback, run_body);
    s->request = second;
    s->violations += weft_request_wait(first, WEFT_FOREVER, NULL) != WEFT_OK;
    weft_request_release(first);
    weft_request_release(second);
    weft_device_release(s->device);
    s->violations += s->runs != 1 || s->releases != 2 || s->callbacks != 1 ||
                     s->told != WEFT_TIMEOUT;
}

/* Two requests with deadlines, a worker, and the timer. */
static void time_out_against_completion(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    open_device(s, 1);
    weft_request *requests[2];
    uint32_t done = 0;
    for (int i = 0; i < 2; i++) {
        requests[i] = submit_request(s, MS + i, count_callback, run_body);
    }
    for (int i = 0; i < 2; i++) {
        weft_status status = weft_request_wait(requests[i], WEFT_FOREVER, NULL);
        s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
        done += status == WEFT_OK;
        weft_request_release(requests[i]);
    }
    s->violations += s->runs != done || s->releases != 2;
    weft_device_release(s->device);
    s->violations += s->callbacks != 2;
}

static void submit_until_closed(void *argument)
{
    request_stage *s = argument;
    weft_status status = WEFT_OK;
    for (int i = 0; i < 3 && status == WEFT_OK; i++) {
        weft_request *request = NULL;
        wefti_request_work work = {
            .body = run_body, .user = s, .release = count_release};
        weft_submit_params submit = WEFT_SUBMIT_PARAMS_INIT;
        submit.callback = count_callback;
        submit.user = s;
        status = wefti_request_submit(s->device, &work, &submit, &request, NULL);
        s->accepted += status == WEFT_OK;
        weft_request_release(request);
    }
    s->violations += status != WEFT_OK && status != WEFT_CLOSED;
}

/* Once drain has answered nothing runs and nobody is called. */
static void drain_against_submit(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    wefti_thread submitter;
    open_device(s, 1);
    scenario_require(wefti_thread_start(&submitter, "submit", submit_until_closed, s,
                                        NULL) == WEFT_OK,
                     "a thread");
    weft_device_close(s->device);
    s->violations += weft_device_drain(s->device, WEFT_FOREVER, NULL) != WEFT_OK;
    uint32_t runs = s->runs, callbacks = s->callbacks;
    wefti_thread_join(&submitter);
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    s->violations += s->runs != runs || s->callbacks != callbacks ||
                     s->accepted != runs || callbacks != runs || n.done != runs ||
                     n.accepted != runs;
    weft_device_release(s->device);
}

const scenario request_scenarios[] = {
    {.what = {.name = "request-ends-once",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = live_through_a_request,
              .check = check_request_stage},
     .guards = {WEFTI_SABOTAGE_EXACTLY_ONCE}},
    {.what = {.name = "request-cancel-start",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = cancel_against_start,
              .check = check_request_stage},
     .guards = {WEFTI_SABOTAGE_EXACTLY_ONCE}},
    {.what = {.name = "request-timeout-done",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = time_out_against_completion,
              .check = check_request_stage}},
    {.what = {.name = "request-timeout-behind",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = time_out_behind_another,
              .check = check_request_stage},
     .guards = {WEFTI_SABOTAGE_TIMER_WAKE}},
    {.what = {.name = "request-drain-submit",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = drain_against_submit,
              .check = check_request_stage},
     .guards = {WEFTI_SABOTAGE_DRAIN_WAKE}},
    {.what = {.name = "request-last-owner",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = leave_in_a_callback,
              .check = check_request_stage}},
    {.what = {.name = NULL}},
};
