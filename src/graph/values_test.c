/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs whose value decides a shape: each value has a plan of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/memory.h"
#include "base/testing.h"
#include "graph/model.h"
#include "support/crew.h"
#include "support/graph_text.h"
#include "support/group_device.h"

enum { MOST = 4096, THREADS = 16, PLANS = 8, ROUNDS = 400 };

static weft_model *make_model_at(const char *text, int32_t opset,
                                 const weft_model_params *params)
{
    return graph_text_model(group_device, text, opset, params);
}

static weft_model *make_model(const char *text, const weft_model_params *params)
{
    return make_model_at(text, 18, params);
}

static weft_tensor vector(weft_type type, void *data, int64_t count)
{
    return (weft_tensor){.data = data, .type = type, .rank = 1, .dims = {count}};
}

/* Runs a model of two inputs and one output. */
static weft_status run(weft_model *model, weft_tensor first, weft_tensor second,
                       float *answer, weft_tensor *output, weft_error *error)
{
    weft_tensor inputs[] = {first, second};
    *output =
        (weft_tensor){.data = answer, .size_bytes = MOST * sizeof(float), .rank = -1};
    weft_io io = {inputs, 2, output, 1};
    return weft_run(model, &io, NULL, error);
}

static void assert_shape(const weft_tensor *tensor, int32_t rank, const int64_t *dims)
{
    assert_int_equal(tensor->rank, rank);
    for (int32_t i = 0; i < rank; i++) {
        assert_int_equal(tensor->dims[i], dims[i]);
    }
}

static void test_a_value_has_a_plan(void **state)
{
    (void)state;
    weft_model *model =
        make_model("x: f32[n]; s: i64[k]; y = Reshape(x,s); -> y", NULL);
    float x[12], answer[MOST];
    for (int i = 0; i < 12; i++) {
        x[i] = (float)i;
    }
    int64_t shapes[3][3] = {{3, 4, 1}, {2, -1, 3}, {3, 4, 1}};
    int64_t expected[3][3] = {{3, 4, 1}, {2, 2, 3}, {3, 4, 1}};
    weft_device_statistics before, after;
    weft_device_get_statistics(group_device, &before);
    for (int i = 0; i < 3; i++) {
        weft_tensor output;
        assert_int_equal(run(model, vector(WEFT_TYPE_F32, x, 12),
                             vector(WEFT_TYPE_I64, shapes[i], 3), answer, &output,
                             NULL),
                         WEFT_OK);
        assert_shape(&output, 3, expected[i]);
        assert_memory_equal(answer, x, sizeof(x));
    }
    weft_device_get_statistics(group_device, &after);
    assert_int_equal(after.plan_count - before.plan_count, 2);
    weft_model_release(model);
}

/* Two scalars, equal or exchanged, are keys with hashes of their own: each plan is
 * found again without the cache's lock. */
static void test_keys_of_two_scalars(void **state)
{
    (void)state;
    enum { SIDE = 5 };
    weft_model *model = make_model("a: i64[]; b: i64[]; one = i64(1); "
                                   "r = Range(a,b,one); y = Cast(r) to=1; -> y",
                                   NULL);
    float answer[MOST];
    for (int round = 0; round < 2; round++) {
        for (int64_t i = 0; i < (int64_t)SIDE * SIDE; i++) {
            int64_t a = i % SIDE, b = i / SIDE;
            weft_tensor inputs[] = {{.data = &a, .type = WEFT_TYPE_I64},
                                    {.data = &b, .type = WEFT_TYPE_I64}};
            weft_tensor output;
            wefti_plan_visit visit;
            assert_int_equal(wefti_plan_cache_enter(&model->plans, inputs, &visit),
                             round == 1);
            if (round == 1) {
                wefti_plan_cache_leave(&model->plans, &visit);
            }
            assert_int_equal(run(model, inputs[0], inputs[1], answer, &output, NULL),
                             WEFT_OK);
            assert_shape(&output, 1, (int64_t[]){b > a ? b - a : 0});
        }
    }
    weft_model_release(model);
}

/* What decides follows from two inputs by arithmetic, and one of them is data too. */
static void test_arithmetic_and_data(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "x: f32[n]; k: i32[]; one = i64{1}; zero = i64{0}; wide = Cast(k) to=7; "
        "list = Unsqueeze(wide,zero); end = Add(list,one); part = Slice(x,zero,end); "
        "f = Cast(k) to=1; y = Mul(part,f); -> y",
        NULL);
    float x[5] = {1, 2, 3, 4, 5}, answer[MOST];
    for (int32_t k = 0; k < 4; k++) {
        weft_tensor output;
        weft_tensor scalar = {.data = &k, .type = WEFT_TYPE_I32};
        assert_int_equal(
            run(model, vector(WEFT_TYPE_F32, x, 5), scalar, answer, &output, NULL),
            WEFT_OK);
        assert_shape(&output, 1, (int64_t[]){k + 1});
        for (int32_t i = 0; i <= k; i++) {
            assert_float_equal(answer[i], x[i] * (float)k, 0);
        }
    }
    weft_model_release(model);
}

static void test_floats_decide_too(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "x: f32[1,1,n,n]; s: f32[4]; y = Resize(x,,s) mode='nearest'; -> y", NULL);
    float x[4] = {1, 2, 3, 4}, answer[MOST];
    weft_tensor image = {
        .data = x, .type = WEFT_TYPE_F32, .rank = 4, .dims = {1, 1, 2, 2}};
    for (int k = 1; k < 4; k++) {
        float scales[4] = {1, 1, (float)k, (float)k};
        weft_tensor output;
        assert_int_equal(
            run(model, image, vector(WEFT_TYPE_F32, scales, 4), answer, &output, NULL),
            WEFT_OK);
        assert_shape(&output, 4, (int64_t[]){1, 1, 2 * k, 2 * k});
        assert_float_equal(answer[0], 1, 0);
        assert_float_equal(answer[4 * k * k - 1], 4, 0);
    }
    weft_model_release(model);
}

static void test_refusals(void **state)
{
    (void)state;
    weft_model *model =
        make_model("x: f32[n]; s: i64[k]; y = Reshape(x,s); -> y", NULL);
    float x[12] = {0}, answer[MOST];
    int64_t shape[WEFT_MAX_RANK] = {5, 2};
    static int64_t many[1000];
    weft_tensor output;
    weft_error error;
    weft_tensor data = vector(WEFT_TYPE_F32, x, 12);
    weft_tensor s = vector(WEFT_TYPE_I64, shape, 2);
    assert_int_not_equal(run(model, data, s, answer, &output, &error), WEFT_OK);
    assert_non_null(strstr(error.message, "Reshape 'y'"));
    s.data = NULL;
    assert_int_equal(run(model, data, s, answer, &output, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'s'"));
    s = vector(WEFT_TYPE_I64, shape, 2);
    s.size_bytes = 8;
    assert_int_equal(run(model, data, s, answer, &output, &error),
                     WEFT_INVALID_ARGUMENT);
    s = vector(WEFT_TYPE_I64, many, 1000);
    assert_int_equal(run(model, data, s, answer, &output, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "more than"));
    s = vector(WEFT_TYPE_I64, (char *)shape + 1, 2);
    assert_int_equal(run(model, data, s, answer, &output, &error),
                     WEFT_INVALID_ARGUMENT);
    s = vector(WEFT_TYPE_I32, shape, 2);
    assert_int_equal(run(model, data, s, answer, &output, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_model_release(model);
}

/* y = x[start : start + length] * 2 */
static const char *const slices =
    "x: f32[n]; where: i64[2]; zero = i64{0}; one = i64{1}; two = i64{2}; "
    "start = Slice(where,zero,one); length = Slice(where,one,two); "
    "end = Add(start,length); part = Slice(x,start,end); half = f32(2); "
    "y = Mul(part,half); -> y";

typedef struct hall {
    weft_model *model;
    weft_queue *queue;
    float x[64];
    uint32_t wrong[THREADS];
} hall;

static bool run_slice(hall *h, int64_t start, int64_t length, float *answer)
{
    int64_t where[2] = {start, length};
    weft_tensor inputs[] = {vector(WEFT_TYPE_F32, h->x, 64),
                            vector(WEFT_TYPE_I64, where, 2)};
    weft_tensor output = vector(WEFT_TYPE_F32, answer, length);
    weft_io io = {inputs, 2, &output, 1};
    memset(answer, 0xa5, 64 * sizeof(float));
    if (h->queue == NULL) {
        return weft_run(h->model, &io, NULL, NULL) == WEFT_OK;
    }
    weft_request *request = NULL;
    bool done =
        weft_queue_submit(h->queue, h->model, &io, NULL, &request, NULL) == WEFT_OK &&
        weft_request_wait(request, WEFT_FOREVER, NULL) == WEFT_OK;
    weft_request_release(request);
    return done;
}

/* More values than there is room for plans, in an order of each thread's own. */
static void meet_values(void *user, uint32_t index)
{
    hall *h = user;
    _Alignas(64) float answer[64];
    uint64_t random = 77 + index;
    for (uint32_t i = 0; i < ROUNDS / crew_divisor(); i++) {
        int64_t start = crew_random(&random) % 32;
        int64_t length = crew_random(&random) % 32;
        bool right = run_slice(h, start, length, answer);
        for (int64_t k = 0; right && k < length; k++) {
            right = answer[k] == 2 * h->x[start + k];
        }
        h->wrong[index] += !right;
    }
}

static void open_hall(hall *h)
{
    memset(h, 0, sizeof(*h));
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_plans = PLANS;
    h->model = make_model(slices, &params);
    for (int i = 0; i < 64; i++) {
        h->x[i] = (float)(i * i);
    }
}

static void test_a_thousand_values(void **state)
{
    (void)state;
    static hall h;
    open_hall(&h);
    weft_device_statistics before, after;
    weft_device_get_statistics(group_device, &before);
    crew_run(THREADS, meet_values, &h);
    weft_device_get_statistics(group_device, &after);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(h.wrong[i], 0);
    }
    uint64_t built = after.plan_count - before.plan_count;
    assert_true(built - (after.plan_evict_count - before.plan_evict_count) <= PLANS);
    weft_model_release(h.model);
}

static void test_the_queue_keeps_values_apart(void **state)
{
    (void)state;
    static hall h;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    open_hall(&h);
    assert_int_equal(weft_queue_create(group_device, &params, &h.queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(h.queue, h.model, NULL, NULL), WEFT_OK);
    crew_run(4, meet_values, &h);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(h.wrong[i], 0);
    }
    weft_queue_release(h.queue);
    weft_model_release(h.model);
}

/* The steady state with values allocates nothing. */
static void test_steady_state(void **state)
{
    (void)state;
    static hall h;
    _Alignas(64) float answer[64];
    open_hall(&h);
    for (int64_t i = 0; i < 4; i++) {
        assert_true(run_slice(&h, i, i + 3, answer));
    }
    uint64_t before = wefti_allocation_count();
    for (int64_t i = 0; i < 4; i++) {
        assert_true(run_slice(&h, i, i + 3, answer));
    }
    assert_int_equal(wefti_allocation_count(), before);
    weft_model_release(h.model);
}

static void test_every_failure_is_an_answer(void **state)
{
    (void)state;
    static hall h;
    _Alignas(64) float answer[64];
    open_hall(&h);
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        done = run_slice(&h, 7, 9, answer);
        wefti_fault_arm(0, 0);
        assert_true(n < 1000);
    }
    assert_float_equal(answer[0], 98, 0);
    weft_model_release(h.model);
}

/* Places to write to are not counted from the end: less than 0 is out of range. */
static void expect_place(const char *text, float *x, const int64_t *dims, int64_t place,
                         bool fits)
{
    weft_model *model = make_model_at(text, 24, NULL);
    float answer[MOST];
    weft_error error = {0};
    weft_tensor output, data = {.data = x, .type = WEFT_TYPE_F32};
    while (data.rank < 4 && dims[data.rank] > 0) {
        data.dims[data.rank] = dims[data.rank];
        data.rank++;
    }
    weft_tensor places = {.data = &place, .type = WEFT_TYPE_I64};
    places.rank = strstr(text, "Unpool") ? data.rank : 1;
    for (int32_t i = 0; i < places.rank; i++) {
        places.dims[i] = 1;
    }
    weft_status status = run(model, data, places, answer, &output, &error);
    if (status != (fits ? WEFT_OK : WEFT_INVALID_ARGUMENT) ||
        (!fits && (!strstr(error.message, "'y'") ||
                   !strstr(error.message, "at least 0 and below")))) {
        fail_msg("place %d: %s, '%s'", (int)place, weft_status_name(status),
                 error.message);
    }
    weft_model_release(model);
}

static void test_places_before_the_first(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, 4};
    for (int64_t place = -4; place <= 4; place++) {
        expect_place("x: f32[1,4,1]; p: i64[1]; u = f32[1,2,1];"
                     "y = TensorScatter(x,u,p) axis=1; -> y",
                     x, (const int64_t[]){1, 4, 1, 0}, place, place >= 0 && place <= 2);
        expect_place("x: f32[1,1,1]; p: i64[1,1,1];"
                     "y = MaxUnpool(x,p) kernel_shape=[4]; -> y",
                     x, (const int64_t[]){1, 1, 1, 0}, place, place >= 0 && place < 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_before_the_first),
        cmocka_unit_test(test_a_value_has_a_plan),
        cmocka_unit_test(test_keys_of_two_scalars),
        cmocka_unit_test(test_arithmetic_and_data),
        cmocka_unit_test(test_floats_decide_too),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_thousand_values),
        cmocka_unit_test(test_the_queue_keeps_values_apart),
        cmocka_unit_test(test_steady_state),
        cmocka_unit_test(test_every_failure_is_an_answer),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}
