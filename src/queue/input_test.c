/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue refuses. */
#include "queue/queue.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/queue_case.h"

static void refuse(const queue_case *f, queue_case_call *call, const char *word)
{
    weft_error error;
    weft_request *request;
    assert_int_equal(
        weft_queue_submit(f->queue, f->model, &call->io, NULL, &request, &error),
        WEFT_INVALID_ARGUMENT);
    if (!strstr(error.message, word)) {
        fail_msg("'%s' does not name %s", error.message, word);
    }
    assert_null(request);
}

static void test_wrong_tensors_are_refused(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    queue_case_call call;
    queue_case_prepare(&call, 2, 0, 0);
    call.inputs[0].dims[1] = 7;
    refuse(&f, &call, "'x'");
    queue_case_prepare(&call, 2, 0, 0);
    call.inputs[1].dims[0] = 3; /* another batch than x */
    refuse(&f, &call, "'i'");
    queue_case_prepare(&call, 2, 0, 0);
    call.inputs[0].data = NULL;
    refuse(&f, &call, "'x'");
    queue_case_prepare(&call, 2, 0, 0);
    call.outputs[0].dims[0] = 1;
    refuse(&f, &call, "'y'");
    queue_case_prepare(&call, 2, 0, 0);
    call.outputs[0] = (weft_tensor){.data = call.y, .size_bytes = 8, .rank = -1};
    refuse(&f, &call, "'y'");
    queue_case_prepare(&call, 2, 0, 0);
    call.outputs[0].data = call.x;
    refuse(&f, &call, "'y'");
    queue_case_prepare(&call, 2, 0, 0);
    call.io.output_count = 0;
    refuse(&f, &call, "outputs");
    queue_case_solve(&call, f.model, 2, 0, 0);
    call.outputs[0] =
        (weft_tensor){.data = call.y, .size_bytes = sizeof call.y, .rank = -1};
    queue_case_wait_ok(queue_case_submit(&f, &call, NULL));
    assert_true(queue_case_is_right(&call));
    queue_case_tear_down(&f);
}

static void test_wrong_params_are_refused(void **state)
{
    (void)state;
    weft_device *device = queue_case_device("null");
    static const struct {
        size_t offset;
        int32_t value;
        const char *name;
    } wrong[] = {
        {offsetof(weft_queue_params, workers), -1, "workers"},
        {offsetof(weft_queue_params, workers), 257, "workers"},
        {offsetof(weft_queue_params, max_batch_size), -5, "max_batch_size"},
        {offsetof(weft_queue_params, max_batch_size), 1 << 30, "max_batch_size"},
        {offsetof(weft_queue_params, max_queue_size), -1, "max_queue_size"},
        {offsetof(weft_queue_params, max_queue_size), 1 << 21, "max_queue_size"},
        {offsetof(weft_queue_params, full_policy), 9, "full_policy"},
        {offsetof(weft_queue_params, default_priority), 9, "default_priority"},
        {offsetof(weft_queue_params, preferred_batch_size_count), 17, "preferred"},
        {offsetof(weft_queue_params, preferred_batch_size_count), 2, "preferred"},
    };
    weft_queue *queue;
    weft_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
        memcpy((char *)&params + wrong[i].offset, &wrong[i].value, sizeof(int32_t));
        assert_int_equal(weft_queue_create(device, &params, &queue, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, wrong[i].name));
    }
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.max_queue_delay_us = -1;
    assert_int_equal(weft_queue_create(device, &params, &queue, &error),
                     WEFT_INVALID_ARGUMENT);
    params = (weft_queue_params){.struct_size = 3};
    assert_int_equal(weft_queue_create(device, &params, &queue, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_create(NULL, NULL, &queue, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_device_release(device);
}

static void test_wrong_model_params_are_refused(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    weft_model *model = queue_case_model(f.device, 1);
    static const double weights[] = {-1, 1e-9, 1e9, NAN, INFINITY};
    weft_error error;
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        weft_queue_model_params params = WEFT_QUEUE_MODEL_PARAMS_INIT;
        params.weight = weights[i];
        assert_int_equal(weft_queue_add_model(f.queue, model, &params, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "weight"));
    }
    weft_queue_model_params params = WEFT_QUEUE_MODEL_PARAMS_INIT;
    params.batch_dimension = "nobody";
    assert_int_equal(weft_queue_add_model(f.queue, model, &params, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "nobody"));
    params = (weft_queue_model_params){.struct_size = 1};
    assert_int_equal(weft_queue_add_model(f.queue, model, &params, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_add_model(f.queue, NULL, NULL, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_add_model(NULL, model, NULL, NULL),
                     WEFT_INVALID_ARGUMENT);
    weft_device *other = queue_case_device("cpu");
    weft_model *elsewhere = queue_case_model(other, 1);
    assert_int_equal(weft_queue_add_model(f.queue, elsewhere, NULL, NULL),
                     WEFT_INVALID_ARGUMENT);
    weft_queue_close(f.queue);
    assert_int_equal(weft_queue_add_model(f.queue, model, NULL, NULL), WEFT_CLOSED);
    weft_model_release(elsewhere);
    weft_device_release(other);
    weft_model_release(model);
    queue_case_tear_down(&f);
}

static void test_wrong_submit_params_are_refused(void **state)
{
    (void)state;
    queue_case f;
    queue_case_set_up(&f, NULL);
    static const struct {
        weft_queue_submit_params params;
        const char *name;
    } wrong[] = {
        {{.struct_size = sizeof(weft_queue_submit_params), .priority = -1}, "priority"},
        {{.struct_size = sizeof(weft_queue_submit_params), .priority = 9}, "priority"},
        {{.struct_size = sizeof(weft_queue_submit_params), .timeout_us = -1},
         "timeout_us"},
        {{.struct_size = sizeof(weft_queue_submit_params), .deadline_us = INT64_MIN},
         "deadline_us"},
        {{.struct_size = 0}, "struct_size"},
    };
    queue_case_call call;
    weft_request *request;
    weft_error error;
    queue_case_solve(&call, f.model, 1, 1, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(weft_queue_submit(f.queue, f.model, &call.io, &wrong[i].params,
                                           &request, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, wrong[i].name));
        assert_null(request);
    }
    /* Times beyond any clock are for ever. */
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.timeout_us = params.deadline_us = INT64_MAX;
    queue_case_wait_ok(queue_case_submit(&f, &call, &params));
    assert_true(queue_case_is_right(&call));
    assert_int_equal(weft_queue_submit(f.queue, f.model, &call.io, NULL, NULL, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_submit(NULL, f.model, &call.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_submit(f.queue, NULL, &call.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_queue_submit(f.queue, f.model, NULL, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    queue_case_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_tensors_are_refused),
        cmocka_unit_test(test_wrong_params_are_refused),
        cmocka_unit_test(test_wrong_model_params_are_refused),
        cmocka_unit_test(test_wrong_submit_params_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
