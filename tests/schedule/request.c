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
    weft_status status;
    bool ended = weft_request_test(s->request, &status);
    s->violations += won && !(ended && status == WEFT_CANCELLED);
    weft_request_release(s->request);
}

static void live_through_a_request(void *state, uint32_t index)
{
    (void)index;
    request_stage *s = state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 1;
    params.max_contexts = 1;
    s->violations += weft_device_open("null", &params, &s->device, NULL) != WEFT_OK;
    wefti_request_work work = {.body = run_body, .user = s, .release = count_release};
    weft_submit_params submit = WEFT_SUBMIT_PARAMS_INIT;
    submit.callback = count_callback;
    submit.user = s;
    submit.timeout_ns = MS;
    weft_request *request;
    s->violations +=
        wefti_request_submit(s->device, &work, &submit, &request, NULL) != WEFT_OK;
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
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 2;
    params.max_contexts = 1;
    s->violations += weft_device_open("null", &params, &s->device, NULL) != WEFT_OK;
    wefti_request_work work = {.body = run_body, .user = s, .release = count_release};
    weft_submit_params submit = WEFT_SUBMIT_PARAMS_INIT;
    submit.callback = callback_that_leaves;
    submit.user = s;
    submit.timeout_ns = MS;
    weft_context *context;
    s->violations += weft_context_acquire(s->device, NULL, &context, NULL) != WEFT_OK;
    weft_request *request;
    s->violations +=
        wefti_request_submit(s->device, &work, &submit, &request, NULL) != WEFT_OK;
    (void)weft_request_cancel(request);
    weft_status status = weft_request_wait(request, WEFT_FOREVER, NULL);
    s->violations += s->runs != (status == WEFT_OK) || s->releases != 1;
    weft_request_release(request);
    weft_context_release(context); /* either this or the callback comes last */
}

const scenario request_scenarios[] = {
    {.what = {.name = "request-ends-once",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = live_through_a_request,
              .check = check_request_stage},
     .guards = {WEFTI_SABOTAGE_EXACTLY_ONCE}},
    {.what = {.name = "request-last-owner",
              .thread_count = 1,
              .set_up = set_request_stage,
              .run = leave_in_a_callback,
              .check = check_request_stage}},
    {.what = {.name = NULL}},
};
