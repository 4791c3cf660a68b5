/* SPDX-License-Identifier: Apache-2.0 */
/* A device fails for good while a queue has requests that wait, that are being loaded
 * and that run: each ends once, with the reason; later ones are refused at once; and
 * everything can be drained, closed and released. The device is the CPU with a switch
 * in front of it; cuda_fault_test.c does it to a card. Under every order of threads:
 * `queue-device-lost` in tests/schedule/queue.c. */
#include <weft/weft.h>

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "backend/backend.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "runtime/device.h"
#include "support/queue_case.h"

static const int64_t PATIENCE_NS = INT64_C(30000000000);
static const char REASON[] = "the card fell off the bus";

/* ---- a device that can be lost ---- */

typedef enum switch_state { WORKS, STANDS, IS_LOST } switch_state;

static const wefti_backend *whole;
static wefti_backend spoilt;
static wefti_atomic_u32 position, standing;
static crew_gate gate;

static weft_status health(const wefti_backend_device *device, weft_error *error)
{
    (void)device;
    return wefti_atomic_u32_load_acquire(&position) == IS_LOST
               ? wefti_error(error, WEFT_DEVICE_LOST, "%s", REASON)
               : WEFT_OK;
}

static weft_status execute(wefti_backend_stream *stream, wefti_recipe *recipe,
                           void *const *slots, size_t slot_count, weft_error *error)
{
    if (wefti_atomic_u32_load_acquire(&position) == STANDS) {
        (void)wefti_atomic_u32_add_acq_rel(&standing, 1);
        crew_gate_pass(&gate);
    }
    WEFTI_TRY(health(NULL, error));
    return whole->stream.execute(stream, recipe, slots, slot_count, error);
}

static void set_up(queue_case *f, const weft_queue_params *params)
{
    weft_error error;
    wefti_atomic_u32_init(&position, WORKS);
    wefti_atomic_u32_init(&standing, 0);
    gate = (crew_gate)CREW_GATE_INIT;
    f->device = queue_case_device("cpu");
    whole = f->device->backend;
    spoilt = *whole;
    spoilt.stream.execute = execute;
    spoilt.device.health = health;
    f->device->backend = &spoilt;
    f->model = queue_case_model(f->device, 42);
    if (weft_queue_create(f->device, params, &f->queue, &error) != WEFT_OK ||
        weft_queue_add_model(f->queue, f->model, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    queue_case_warm_up(f);
}

static void lose_device(void)
{
    wefti_atomic_u32_store_release(&position, IS_LOST);
    crew_gate_open(&gate);
}

/* ---- one of each kind ---- */

enum { MOST_WORKERS = 4, WAITING = 6 };

typedef struct one {
    queue_case *f;
    queue_case_call call;
    weft_request *request;
    crew_thread thread;
    wefti_atomic_u32 told;
    weft_status status; /* of submit, then of the wait */
    weft_error error;
} one;

static void tell(void *user, weft_request *request, weft_status status)
{
    one *o = user;
    (void)request;
    (void)wefti_atomic_u32_add_acq_rel(&o->told, status == WEFT_DEVICE_LOST ? 1 : 100);
}

static void prepare(one *o, queue_case *f, uint32_t number)
{
    *o = (one){.f = f};
    wefti_atomic_u32_init(&o->told, 0);
    queue_case_prepare(&o->call, 1 + number % 2, number, 0);
}

static void wait_for_it(void *user)
{
    one *o = user;
    o->status = weft_request_wait(o->request, PATIENCE_NS, &o->error);
}

/* The queue has no room: accepted or not, it is told. */
static void submit_and_wait(void *user)
{
    one *o = user;
    o->status = weft_queue_submit(o->f->queue, o->f->model, &o->call.io, NULL,
                                  &o->request, &o->error);
    if (o->status == WEFT_OK) {
        wait_for_it(o);
        weft_request_release(o->request);
    }
}

static uint32_t wanted;
static bool all_stand(void *user)
{
    (void)user;
    return wefti_atomic_u32_load_acquire(&standing) == wanted;
}

/* One for each worker, which runs it. */
static void keep_running(one *running, uint32_t workers, queue_case *f)
{
    wefti_atomic_u32_store_release(&position, STANDS);
    for (uint32_t i = 0; i < workers; i++) {
        weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
        prepare(&running[i], f, i);
        params.callback = tell;
        params.user = &running[i];
        running[i].request = queue_case_submit(f, &running[i].call, &params);
        wanted = i + 1;
        crew_await(all_stand, NULL);
    }
}

static void check_lost(weft_status status, const weft_error *error)
{
    assert_int_equal(status, WEFT_DEVICE_LOST);
    assert_non_null(strstr(error->message, REASON));
}

/* It ended with the reason and said so once, in each way. */
static void check_end(one *o, bool calls)
{
    weft_error error = {.message = ""};
    weft_status status = weft_request_wait(o->request, PATIENCE_NS, &error);
    struct pollfd readable = {.fd = weft_request_fd(o->request), .events = POLLIN};
    check_lost(status, &error);
    assert_false(weft_request_cancel(o->request));
    if (readable.fd >= 0) {
        assert_int_equal(poll(&readable, 1, 0), 1);
    }
    for (size_t i = 0; i < o->call.y_bytes; i++) {
        unsigned char byte = ((const unsigned char *)o->call.y)[i];
        assert_true(byte == 0 || byte == 0xff); /* no part of an answer */
    }
    assert_int_equal(wefti_atomic_u32_load_acquire(&o->told), calls ? 1 : 0);
    weft_request_release(o->request);
}

static void check_refusals(const queue_case *f)
{
    queue_case_call call;
    const int64_t begin_ns = wefti_clock_ns();
    for (uint32_t i = 0; i < 100; i++) {
        weft_request *request;
        weft_error error = {.message = ""};
        queue_case_prepare(&call, 1 + i % 3, i, 1);
        check_lost(
            weft_queue_submit(f->queue, f->model, &call.io, NULL, &request, &error),
            &error);
        assert_null(request);
    }
    assert_true(wefti_clock_ns() - begin_ns < PATIENCE_NS / 10);
}

static void lose_while_all_kinds_are_there(uint32_t workers, bool preserve_order)
{
    static one running[MOST_WORKERS], waiting[WAITING], blocked;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    weft_queue_statistics before, after;
    queue_case f;
    params.workers = (int32_t)workers;
    params.max_queue_size = WAITING;
    params.preserve_order = preserve_order;
    set_up(&f, &params);
    weft_queue_get_statistics(f.queue, &before);
    keep_running(running, workers, &f);
    for (uint32_t i = 0; i < WAITING; i++) {
        weft_queue_submit_params how = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
        prepare(&waiting[i], &f, 50 + i);
        how.callback = i % 3 == 0 ? tell : NULL;
        how.user = &waiting[i];
        how.with_fd = i % 3 == 1;
        how.priority = (int32_t)i;
        how.timeout_us = i == 5 ? PATIENCE_NS / 1000 : 0;
        waiting[i].request = queue_case_submit(&f, &waiting[i].call, &how);
    }
    prepare(&blocked, &f, 90);
    crew_start(&blocked.thread, submit_and_wait, &blocked);
    crew_start(&waiting[2].thread, wait_for_it, &waiting[2]); /* may lead */
    lose_device();
    crew_join(&blocked.thread);
    crew_join(&waiting[2].thread);
    check_lost(blocked.status, &blocked.error);
    check_lost(waiting[2].status, &waiting[2].error);
    check_refusals(&f);
    assert_int_equal(weft_queue_drain(f.queue, PATIENCE_NS, NULL), WEFT_OK);
    for (uint32_t i = 0; i < workers; i++) {
        check_end(&running[i], true);
    }
    for (uint32_t i = 0; i < WAITING; i++) {
        check_end(&waiting[i], i % 3 == 0);
    }
    weft_queue_get_statistics(f.queue, &after);
    assert_int_equal(after.failed, after.accepted - before.accepted);
    assert_true(after.failed >= workers + WAITING);
    assert_int_equal(after.split_count, 0); /* nobody tries again */
    queue_case_tear_down(&f);
}

static void each_is_told_once(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        lose_while_all_kinds_are_there(i % 3 == 2 ? MOST_WORKERS : 1 + (uint32_t)i % 3,
                                       i >= 3);
    }
}

/* ---- at any moment ---- */

enum { CROWD = 12, ROUNDS = 60, IN_FLIGHT = 3 };

typedef struct storm {
    queue_case f;
    uint32_t round;
    wefti_atomic_u32 accepted, told, wrong, done;
} storm;

static void count(void *user, weft_request *request, weft_status status)
{
    storm *s = user;
    (void)request;
    (void)wefti_atomic_u32_add_acq_rel(&s->told, 1);
    bool right = status == WEFT_OK || status == WEFT_DEVICE_LOST;
    (void)wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
}

/* Until one is refused; some of them wait, some keep several under way. */
static void submit_until_refused(void *user, uint32_t index)
{
    storm *s = user;
    queue_case_call calls[IN_FLIGHT];
    weft_request *requests[IN_FLIGHT];
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    weft_status status = WEFT_OK;
    weft_error error = {.message = ""};
    params.callback = index % 2 == 0 ? count : NULL;
    params.user = s;
    while (status == WEFT_OK) {
        uint32_t begun = 0;
        for (; begun <= index % IN_FLIGHT && status == WEFT_OK; begun++) {
            queue_case_prepare(&calls[begun], 1 + index % 3, index, begun);
            status = weft_queue_submit(s->f.queue, s->f.model, &calls[begun].io,
                                       &params, &requests[begun], &error);
        }
        begun -= status == WEFT_OK ? 0 : 1;
        for (uint32_t i = 0; i < begun; i++) {
            weft_error why = {.message = ""};
            weft_status end = weft_request_wait(requests[i], PATIENCE_NS, &why);
            bool right = end == WEFT_OK || (end == WEFT_DEVICE_LOST &&
                                            strstr(why.message, REASON) != NULL);
            (void)wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
            (void)wefti_atomic_u32_add_acq_rel(&s->done, end == WEFT_OK ? 1 : 0);
            (void)wefti_atomic_u32_add_acq_rel(&s->accepted, params.callback ? 1 : 0);
            weft_request_release(requests[i]);
        }
    }
    bool right = status == WEFT_DEVICE_LOST && strstr(error.message, REASON) != NULL;
    (void)wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
}

static bool has_begun(void *user)
{
    storm *s = user;
    return wefti_atomic_u32_load_acquire(&s->done) >= 10 + s->round * 7 % 200;
}

static void lose_at_any_moment(void *user, uint32_t index)
{
    if (index < CROWD) {
        submit_until_refused(user, index);
    } else {
        crew_await(has_begun, user);
        lose_device();
    }
}

static void a_crowd_is_told(void **state)
{
    (void)state;
    static storm s;
    for (uint32_t round = 0; round < ROUNDS / crew_divisor(); round++) {
        weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
        weft_queue_statistics n;
        s = (storm){.round = round};
        params.workers = 1 + (int32_t)round % 4;
        params.max_queue_size = 2 + (int32_t)round % 20;
        params.preserve_order = round % 5 == 0;
        params.max_queue_delay_us = round % 7 == 0 ? 300 : 0;
        set_up(&s.f, &params);
        crew_run(CROWD + 1, lose_at_any_moment, &s);
        assert_int_equal(weft_queue_drain(s.f.queue, PATIENCE_NS, NULL), WEFT_OK);
        assert_int_equal(wefti_atomic_u32_load_acquire(&s.wrong), 0);
        assert_int_equal(wefti_atomic_u32_load_acquire(&s.told),
                         wefti_atomic_u32_load_acquire(&s.accepted));
        weft_queue_get_statistics(s.f.queue, &n);
        assert_int_equal(n.accepted, n.done + n.failed);
        assert_int_equal(n.split_count, 0);
        queue_case_tear_down(&s.f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_told_once),
        cmocka_unit_test(a_crowd_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
