/* SPDX-License-Identifier: Apache-2.0 */
/* Every call of the library that has no status, with NULL for its object. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/params.h"

static void test_objects(void **state)
{
    (void)state;
    assert_null(weft_device_retain(NULL));
    assert_null(weft_event_retain(NULL));
    assert_null(weft_graph_retain(NULL));
    assert_null(weft_model_retain(NULL));
    assert_null(weft_profiler_retain(NULL));
    assert_null(weft_queue_retain(NULL));
    assert_null(weft_request_retain(NULL));
    weft_context_release(NULL);
    weft_device_release(NULL);
    weft_device_close(NULL);
    weft_event_release(NULL);
    weft_graph_release(NULL);
    weft_inspection_destroy(NULL);
    weft_memory_release(NULL);
    weft_model_release(NULL);
    weft_profiler_release(NULL);
    weft_profiler_pause(NULL);
    weft_profiler_resume(NULL);
    weft_queue_release(NULL);
    weft_queue_close(NULL);
    weft_request_release(NULL);
    weft_stream_release(NULL);
    weft_text_free(NULL);
    weft_npy_free(NULL);
}

static void test_getters(void **state)
{
    (void)state;
    weft_value_info info;
    weft_tensor tensor;
    const char *name;
    weft_status status = WEFT_OK;
    weft_profile_event event;
    assert_null(weft_context_stream(NULL));
    assert_false(weft_context_was_shared(NULL));
    assert_int_equal(weft_event_query(NULL), 0);
    assert_int_equal(weft_graph_input_count(NULL), 0);
    assert_false(weft_graph_get_input(NULL, 0, &info));
    assert_int_equal(weft_graph_default_input_count(NULL), 0);
    assert_false(weft_graph_get_default_input(NULL, 0, &info, &tensor));
    assert_int_equal(weft_graph_initializer_count(NULL), 0);
    assert_false(weft_graph_get_initializer(NULL, 0, &name, &tensor));
    assert_null(weft_inspection_node(NULL, 0));
    assert_null(weft_inspection_value(NULL, 0));
    assert_null(weft_inspection_step(NULL, 0));
    assert_null(weft_inspection_problem(NULL, 0));
    assert_null(weft_memory_data(NULL));
    assert_int_equal(weft_memory_size(NULL), 0);
    assert_null(weft_model_device(NULL));
    assert_int_equal(weft_model_input_count(NULL), 0);
    assert_int_equal(weft_model_output_count(NULL), 0);
    assert_false(weft_model_get_input(NULL, 0, &info));
    assert_false(weft_model_get_output(NULL, 0, &info));
    assert_false(weft_model_input_is_value(NULL, 0));
    assert_int_equal(weft_model_find_input(NULL, "x"), -1);
    assert_int_equal(weft_model_find_output(NULL, "y"), -1);
    assert_int_equal(weft_profiler_event_count(NULL), 0);
    assert_int_equal(weft_profiler_dropped_count(NULL), 0);
    assert_false(weft_profiler_get_event(NULL, 0, &event));
    assert_int_equal(weft_queue_fd(NULL), -1);
    assert_null(weft_queue_take_ended(NULL));
    assert_false(weft_request_test(NULL, &status));
    assert_false(weft_request_cancel(NULL));
    assert_int_equal(weft_request_fd(NULL), -1);
}

static bool is_zero(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    while (size > 0 && *at == 0) {
        at++;
        size--;
    }
    return size == 0;
}

/* What is to be filled in is empty; no place for it is no harm. */
static void test_places(void **state)
{
    (void)state;
    weft_device_info device;
    weft_device_statistics counts;
    weft_inspect_totals totals;
    weft_inspect_rows rows;
    weft_queue_statistics queued;
    float numbers[3] = {1, 2, 3};
    uint32_t words[3] = {1, 2, 3};
    weft_random_key key = {.seed = 1};
    memset(&counts, 1, sizeof counts);
    memset(&totals, 1, sizeof totals);
    memset(&rows, 1, sizeof rows);
    memset(&queued, 1, sizeof queued);
    weft_device_get_info(NULL, &device);
    assert_string_equal(device.name, "");
    weft_device_get_info(NULL, NULL);
    weft_device_get_statistics(NULL, &counts);
    weft_device_get_statistics(NULL, NULL);
    weft_inspection_get_totals(NULL, &totals);
    weft_inspection_get_totals(NULL, NULL);
    weft_inspection_get_rows(NULL, &rows);
    weft_inspection_get_rows(NULL, NULL);
    weft_queue_get_statistics(NULL, &queued);
    weft_queue_get_statistics(NULL, NULL);
    assert_true(is_zero(&counts, sizeof counts));
    assert_true(is_zero(&totals, sizeof totals));
    assert_true(is_zero(&rows, sizeof rows));
    assert_true(is_zero(&queued, sizeof queued));
    weft_random_fill_u32(NULL, words, 3);
    weft_random_fill_uniform(NULL, numbers, 3);
    assert_true(is_zero(words, sizeof words) && is_zero(numbers, sizeof numbers));
    numbers[1] = 7;
    weft_random_fill_normal(NULL, numbers, 3);
    assert_true(is_zero(numbers, sizeof numbers));
    weft_random_fill_u32(&key, NULL, 3);
    weft_random_fill_normal(&key, NULL, 3);
}

/* Structs of older headers are taken, of newer ones not. */
static void test_sizes_of_params(void **state)
{
    (void)state;
    weft_error error = {0};
    weft_device *device = NULL;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.profiler = (weft_profiler *)(uintptr_t)8; /* an older header has none */
    params.struct_size = offsetof(weft_device_params, profiler);
    assert_int_equal(weft_device_open("null", &params, &device, &error), WEFT_OK);
    weft_device_release(device);
    params.struct_size--;
    assert_int_equal(weft_device_open("null", &params, &device, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "set the struct up"));
    params.struct_size = sizeof params + 8;
    assert_int_equal(weft_device_open("null", &params, &device, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "weft_device_params.struct_size is"));
    assert_non_null(strstr(error.message, "its header is newer"));

    struct { /* the second member came later */
        size_t struct_size;
        int32_t first, second;
    } given = {0, 5, 6}, taken = {0, 1, 2};
    given.struct_size = sizeof(size_t) + sizeof(int32_t);
    wefti_params_kind kind = {"some_params", given.struct_size, sizeof taken};
    assert_int_equal(wefti_params_take(kind, &given, &taken, &error), WEFT_OK);
    assert_int_equal(taken.struct_size, sizeof taken);
    assert_int_equal(taken.first, 5);
    assert_int_equal(taken.second, 2);
    assert_int_equal(wefti_params_take(kind, NULL, &taken, &error), WEFT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_sizes_of_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
