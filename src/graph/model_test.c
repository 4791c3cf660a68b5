/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/weft.h>

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/memory.h"
#include "base/testing.h"

enum { ROWS = 6, FEATURES = 40, HIDDEN = 24 };

static const weft_random_key weight_key = {.seed = 42, .stream = 1};

static weft_status add_node(weft_graph *graph, const char *op_type,
                            const char *const *inputs, size_t input_count,
                            const char *output, weft_error *error)
{
    weft_node node = {.op_type = op_type,
                      .name = output,
                      .inputs = inputs,
                      .input_count = input_count,
                      .outputs = &output,
                      .output_count = 1};
    return weft_graph_add_node(graph, &node, error);
}

#define TRY(expression)                                                                \
    do {                                                                               \
        weft_status try_status = (expression);                                         \
        if (try_status != WEFT_OK) {                                                   \
            return try_status;                                                         \
        }                                                                              \
    } while (0)

/* y = relu(x W + b) and s = softmax(y), x of [batch, FEATURES]. */
static weft_status fill_graph(weft_graph *graph, weft_error *error)
{
    float weights[FEATURES * HIDDEN], bias[HIDDEN];
    weft_random_fill_normal(&weight_key, weights, FEATURES * HIDDEN);
    weft_random_fill_normal(&weight_key, bias, HIDDEN);
    weft_value_info input = {.name = "x",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, FEATURES},
                             .dim_names = {"batch"}};
    weft_tensor w = {
        .data = weights, .type = WEFT_TYPE_F32, .rank = 2, .dims = {FEATURES, HIDDEN}};
    weft_tensor b = {.data = bias, .type = WEFT_TYPE_F32, .rank = 1, .dims = {HIDDEN}};
    const char *const product[] = {"x", "w"}, *const sum[] = {"xw", "b"};
    const char *const act[] = {"xwb"}, *const soft[] = {"y"};
    TRY(weft_graph_add_input(graph, &input, error));
    TRY(weft_graph_add_initializer(graph, "w", &w, error));
    TRY(weft_graph_add_initializer(graph, "b", &b, error));
    TRY(add_node(graph, "Softmax", soft, 1, "s", error)); /* order does not matter */
    TRY(add_node(graph, "Relu", act, 1, "y", error));
    TRY(add_node(graph, "Add", sum, 2, "xwb", error));
    TRY(add_node(graph, "MatMul", product, 2, "xw", error));
    TRY(weft_graph_add_output(graph, "y", error));
    return weft_graph_add_output(graph, "s", error);
}

static weft_status make_model(weft_device *device, const weft_model_params *params,
                              weft_model **model, weft_error *error)
{
    weft_graph *graph = NULL;
    *model = NULL;
    TRY(weft_graph_create(18, &graph, error));
    weft_status status = fill_graph(graph, error);
    if (status == WEFT_OK) {
        status = weft_model_create(device, graph, params, model, error);
    }
    weft_graph_release(graph);
    return status;
}

typedef struct call {
    float x[ROWS * FEATURES], y[ROWS * HIDDEN], s[ROWS * HIDDEN];
    weft_tensor inputs[1], outputs[2];
    weft_io io;
} call;

static void prepare_call(call *c, int64_t rows, uint32_t thread, uint32_t iteration)
{
    memset(c, 0, sizeof(*c));
    weft_random_key key = {
        .seed = 7, .stream = 2, .thread = thread, .iteration = iteration};
    weft_random_fill_normal(&key, c->x, ROWS * FEATURES);
    c->inputs[0] = (weft_tensor){
        .data = c->x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, FEATURES}};
    c->outputs[0] = (weft_tensor){
        .data = c->y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, HIDDEN}};
    c->outputs[1] = c->outputs[0];
    c->outputs[1].data = c->s;
    c->io = (weft_io){c->inputs, 1, c->outputs, 2};
}

/* Plain f64 loops. */
static void assert_right(const call *c, int64_t rows)
{
    float weights[FEATURES * HIDDEN], bias[HIDDEN];
    weft_random_fill_normal(&weight_key, weights, FEATURES * HIDDEN);
    weft_random_fill_normal(&weight_key, bias, HIDDEN);
    for (int64_t i = 0; i < rows; i++) {
        double y[HIDDEN], sum = 0;
        for (int j = 0; j < HIDDEN; j++) {
            double v = bias[j];
            for (int k = 0; k < FEATURES; k++) {
                v += (double)c->x[i * FEATURES + k] * weights[k * HIDDEN + j];
            }
            y[j] = v > 0 ? v : 0;
            assert_true(fabs(c->y[i * HIDDEN + j] - y[j]) <= 1e-4 + 1e-4 * y[j]);
            sum += exp(y[j]);
        }
        for (int j = 0; j < HIDDEN; j++) {
            assert_true(fabs(c->s[i * HIDDEN + j] - exp(y[j]) / sum) <= 1e-5);
        }
    }
}

static weft_device *open_device(const char *name)
{
    weft_device *device;
    weft_error error;
    if (weft_device_open(name, NULL, &device, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    return device;
}

static void test_run_any_batch(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    for (int fusion = 0; fusion < 2; fusion++) {
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        params.no_fusion = fusion == 0;
        weft_model *model;
        weft_error error = {.message = ""};
        if (make_model(device, &params, &model, &error) != WEFT_OK) {
            fail_msg("%s", error.message);
        }
        for (int64_t rows = 1; rows <= ROWS; rows++) {
            call c;
            prepare_call(&c, rows, 0, (uint32_t)rows);
            if (weft_run(model, &c.io, NULL, &error) != WEFT_OK) {
                fail_msg("%s", error.message);
            }
            assert_right(&c, rows);
        }
        weft_model_release(model);
    }
    weft_device_release(device);
}

static void test_a_row_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    call all, one;
    prepare_call(&all, ROWS, 0, 0);
    assert_int_equal(weft_run(model, &all.io, NULL, NULL), WEFT_OK);
    for (int64_t row = 0; row < ROWS; row++) {
        prepare_call(&one, 1, 0, 0);
        memcpy(one.x, all.x + row * FEATURES, FEATURES * sizeof(float));
        assert_int_equal(weft_run(model, &one.io, NULL, NULL), WEFT_OK);
        assert_memory_equal(one.y, all.y + row * HIDDEN, HIDDEN * sizeof(float));
        assert_memory_equal(one.s, all.s + row * HIDDEN, HIDDEN * sizeof(float));
    }
    weft_model_release(model);
    weft_device_release(device);
}

static void test_what_a_model_tells(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    assert_int_equal(weft_model_input_count(model), 1);
    assert_int_equal(weft_model_output_count(model), 2);
    assert_int_equal(weft_model_find_input(model, "x"), 0);
    assert_int_equal(weft_model_find_input(model, "y"), -1);
    assert_int_equal(weft_model_find_output(model, "s"), 1);
    weft_value_info info;
    assert_true(weft_model_get_output(model, 1, &info));
    assert_string_equal(info.name, "s");
    assert_int_equal(info.type, WEFT_TYPE_F32);
    assert_int_equal(info.rank, 2);
    assert_int_equal(info.dims[0], WEFT_DIM_DYNAMIC);
    assert_string_equal(info.dim_names[0], "batch");
    assert_int_equal(info.dims[1], HIDDEN);
    assert_false(weft_model_get_output(model, 2, &info));
    assert_false(weft_model_has_stages(model));
    assert_false(weft_model_has_stages(NULL));
    assert_false(weft_model_input_is_value(NULL, 0));
    call c;
    prepare_call(&c, 5, 0, 0);
    c.inputs[0].data = NULL;
    assert_int_equal(weft_model_infer_outputs(model, &c.io, NULL), WEFT_OK);
    assert_int_equal(c.outputs[0].dims[0], 5);
    assert_int_equal(c.outputs[0].size_bytes, 5 * HIDDEN * sizeof(float));
    char *text;
    assert_int_equal(weft_model_dump_plan(model, &c.io, &text, NULL), WEFT_OK);
    assert_non_null(strstr(text, "matmul"));
    assert_non_null(strstr(text, "softmax"));
    weft_text_free(text);
    weft_model_release(model);
    weft_device_release(device);
}

static void expect_refused(weft_model *model, call *c, const char *word)
{
    weft_error error = {.message = ""};
    assert_int_equal(weft_run(model, &c->io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(error.status, WEFT_INVALID_ARGUMENT);
    if (strstr(error.message, word) == NULL) {
        fail_msg("'%s' does not name %s", error.message, word);
    }
}

static void test_bad_tensors_are_named(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    call c;
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].dims[1] = FEATURES + 1;
    expect_refused(model, &c, "'x'");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].rank = 100;
    expect_refused(model, &c, "'x'");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].dims[0] = INT64_MAX / 8;
    expect_refused(model, &c, "'x'");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].type = WEFT_TYPE_F64;
    expect_refused(model, &c, "f64");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].data = NULL;
    expect_refused(model, &c, "'x' has no data");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].data = (char *)c.x + 1;
    expect_refused(model, &c, "aligned");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].strides[0] = 2 * FEATURES;
    c.inputs[0].strides[1] = 1;
    expect_refused(model, &c, "dense");
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].size_bytes = 8;
    expect_refused(model, &c, "8 bytes");
    prepare_call(&c, 2, 0, 0);
    c.outputs[1].dims[0] = 3;
    expect_refused(model, &c, "output 's'");
    prepare_call(&c, 2, 0, 0);
    c.outputs[1].rank = 1000;
    expect_refused(model, &c, "rank 1000");
    prepare_call(&c, 2, 0, 0);
    c.outputs[1].data = c.y;
    expect_refused(model, &c, "overlaps output 'y'");
    prepare_call(&c, 2, 0, 0);
    c.outputs[0].data = c.x + 3;
    expect_refused(model, &c, "overlaps input 'x'");
    prepare_call(&c, 2, 0, 0);
    c.outputs[0].rank = -1;
    expect_refused(model, &c, "room for 0 bytes");
    c.outputs[0].size_bytes = sizeof(c.y);
    assert_int_equal(weft_run(model, &c.io, NULL, NULL), WEFT_OK);
    assert_int_equal(c.outputs[0].rank, 2);
    assert_int_equal(c.outputs[0].dims[0], 2);
    assert_right(&c, 2);
    c.io.input_count = 0;
    expect_refused(model, &c, "0 inputs");
    weft_model_release(model);
    weft_device_release(device);
}

static void test_zero_rows(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    call c;
    prepare_call(&c, 0, 0, 0);
    weft_error error = {.message = ""};
    if (weft_run(model, &c.io, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    assert_true(c.y[0] == 0 && c.s[0] == 0);
    weft_model_release(model);
    weft_device_release(device);
}

static void test_broken_graphs_are_named(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    static const struct {
        const char *op_type, *input;
        weft_status status;
        const char *words;
    } cases[] = {
        {"Relu", "nothing", WEFT_INVALID_MODEL, "'nothing', which nothing produces"},
        {"Relu", "z", WEFT_INVALID_MODEL, "cycle"},
        {"NoSuchOperator", "y", WEFT_UNSUPPORTED, "NoSuchOperator"},
        {"Concat", "", WEFT_INVALID_MODEL, "Concat 'z'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_graph *graph;
        weft_model *model;
        weft_error error = {.message = ""};
        assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
        assert_int_equal(fill_graph(graph, NULL), WEFT_OK);
        assert_int_equal(
            add_node(graph, cases[i].op_type, &cases[i].input, 1, "z", NULL), WEFT_OK);
        assert_int_equal(weft_graph_add_output(graph, "z", NULL), WEFT_OK);
        assert_int_equal(weft_model_create(device, graph, NULL, &model, &error),
                         cases[i].status);
        if (strstr(error.message, cases[i].words) == NULL) {
            fail_msg("'%s' lacks '%s'", error.message, cases[i].words);
        }
        assert_null(model);
        weft_graph_release(graph);
    }
    weft_device_release(device);
}

static void test_graph_is_frozen_by_its_model(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_graph *graph;
    weft_model *model;
    weft_error error;
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    assert_int_equal(fill_graph(graph, NULL), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, NULL, &model, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(graph, "xw", &error), WEFT_INVALID_ARGUMENT);
    weft_graph_release(graph);
    weft_model_release(model);
    weft_device_release(device);
}

typedef struct worker {
    weft_model *model;
    uint32_t number;
    int wrong;
} worker;

enum { THREADS = 16, ITERATIONS = 100 };

/* Shapes of every thread come in another order, so that plans are met by several
 * threads at once. */
static void *run_worker(void *argument)
{
    worker *w = argument;
    for (uint32_t i = 0; i < ITERATIONS; i++) {
        call c, again;
        int64_t rows = 1 + (i * 5 + w->number) % ROWS;
        prepare_call(&c, rows, w->number, i);
        prepare_call(&again, rows, w->number, i);
        w->wrong += weft_run(w->model, &c.io, NULL, NULL) != WEFT_OK;
        w->wrong += weft_run(w->model, &again.io, NULL, NULL) != WEFT_OK;
        w->wrong += memcmp(c.y, again.y, sizeof(c.y)) != 0;
        w->wrong += memcmp(c.s, again.s, sizeof(c.s)) != 0;
        if (i % 10 == 0) {
            assert_right(&c, rows);
        }
    }
    return NULL;
}

static int run_workers(weft_model *model)
{
    pthread_t threads[THREADS];
    worker workers[THREADS];
    int wrong = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (worker){.model = model, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        wrong += workers[i].wrong;
    }
    return wrong;
}

static void test_many_threads_build_each_plan_once(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    for (int round = 0; round < 5; round++) {
        weft_model *model;
        assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
        weft_device_statistics before, after;
        weft_device_get_statistics(device, &before);
        assert_int_equal(run_workers(model), 0);
        weft_device_get_statistics(device, &after);
        assert_int_equal(after.plan_count - before.plan_count, ROWS);
        assert_int_equal(after.accepted, after.done);
        assert_int_equal(after.done - before.done, 2 * THREADS * ITERATIONS);
        weft_model_release(model);
    }
    weft_device_release(device);
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = 1; /* else a run may be the first in another context */
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", &params, &device, NULL), WEFT_OK);
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    assert_int_equal(run_workers(model), 0); /* all plans, all workspaces */
    call c;
    prepare_call(&c, ROWS, 0, 0);
    assert_int_equal(weft_run(model, &c.io, NULL, NULL), WEFT_OK);
    uint64_t before = wefti_allocation_count();
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(weft_run(model, &c.io, NULL, NULL), WEFT_OK);
    }
    assert_int_equal(wefti_allocation_count(), before);
    weft_model_release(model);
    weft_device_release(device);
}

static void test_submit(void **state)
{
    (void)state;
    enum { REQUESTS = 32 };
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    static call calls[REQUESTS];
    weft_request *requests[REQUESTS];
    for (uint32_t i = 0; i < REQUESTS; i++) {
        prepare_call(&calls[i], 1 + i % ROWS, 3, i);
        assert_int_equal(weft_submit(model, &calls[i].io, NULL, &requests[i], NULL),
                         WEFT_OK);
    }
    weft_model_release(model); /* requests own it */
    for (uint32_t i = 0; i < REQUESTS; i++) {
        weft_error error = {.message = ""};
        if (weft_request_wait(requests[i], WEFT_FOREVER, &error) != WEFT_OK) {
            fail_msg("%s", error.message);
        }
        assert_right(&calls[i], 1 + i % ROWS);
        weft_request_release(requests[i]);
    }
    weft_device_release(device);
}

static void test_submit_refuses_wrong_shapes(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, NULL, &model, NULL), WEFT_OK);
    call c;
    weft_request *request;
    weft_error error;
    prepare_call(&c, 2, 0, 0);
    c.inputs[0].dims[1] = 3;
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'x'"));
    prepare_call(&c, 2, 0, 0);
    c.outputs[0].rank = -2;
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    prepare_call(&c, 2, 0, 0);
    c.outputs[1].type = WEFT_TYPE_I32;
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "output 's' has element type i32"));
    prepare_call(&c, 2, 0, 0);
    c.outputs[1].size_bytes = 4;
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "output 's' has 4 bytes"));
    /* Nobody knows yet what the outputs of two rows are like: the request does. */
    prepare_call(&c, 2, 0, 0);
    c.outputs[0].dims[0] = 1;
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, &error), WEFT_OK);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "output 'y' has the shape [1,"));
    weft_request_release(request);
    /* Now it is known. */
    assert_int_equal(weft_submit(model, &c.io, NULL, &request, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "output 'y' has the shape [1,"));
    weft_model_release(model);
    weft_device_release(device);
}

static const char *const attention_inputs[] = {"q", "kt", "v", "mask"};
static const int64_t attention_dims[4][4] = {
    {1, 2, 3, 8}, {1, 2, 8, 5}, {1, 2, 5, 8}, {3, 5}};

/* softmax(q kt + mask) v, written out; also a transpose with negative axes. */
static weft_model *make_attention(weft_device *device, bool no_fusion)
{
    weft_graph *graph;
    weft_model *model;
    weft_error error = {.message = ""};
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    for (int i = 0; i < 4; i++) {
        weft_value_info info = {
            .name = attention_inputs[i], .type = WEFT_TYPE_F32, .rank = i == 3 ? 2 : 4};
        memcpy(info.dims, attention_dims[i], sizeof(attention_dims[i]));
        assert_int_equal(weft_graph_add_input(graph, &info, NULL), WEFT_OK);
    }
    const char *const scores[] = {"q", "kt"}, *const masked[] = {"scores", "mask"};
    const char *const weights[] = {"masked"}, *const sum[] = {"weights", "v"};
    const char *turned_input = "sum", *turned_output = "y";
    const int64_t order[] = {0, -2, -3, 3};
    weft_attribute perm = {
        .name = "perm", .kind = WEFT_ATTRIBUTE_INTS, .ints = order, .count = 4};
    weft_node turned = {.op_type = "Transpose",
                        .inputs = &turned_input,
                        .input_count = 1,
                        .outputs = &turned_output,
                        .output_count = 1,
                        .attributes = &perm,
                        .attribute_count = 1};
    assert_int_equal(add_node(graph, "MatMul", scores, 2, "scores", NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "Add", masked, 2, "masked", NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "Softmax", weights, 1, "weights", NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "MatMul", sum, 2, "sum", NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_node(graph, &turned, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(graph, "y", NULL), WEFT_OK);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_fusion = no_fusion;
    if (weft_model_create(device, graph, &params, &model, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    weft_graph_release(graph);
    return model;
}

/* What a device has no products in, it refuses, and says so. */
static void test_precisions(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu", "null"};
    weft_graph *graph;
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    const weft_value_info info = {
        .name = "x", .type = WEFT_TYPE_F32, .rank = 2, .dims = {4, 4}};
    const char *const square[] = {"x", "x"};
    assert_int_equal(weft_graph_add_input(graph, &info, NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "MatMul", square, 2, "y", NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(graph, "y", NULL), WEFT_OK);
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        weft_device *device;
        assert_int_equal(weft_device_open(devices[i], NULL, &device, NULL), WEFT_OK);
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        assert_int_equal(params.precision, WEFT_PRECISION_F32);
        for (int32_t p = 0; p <= WEFT_PRECISION_COUNT; p++) {
            weft_error error = {.message = ""};
            weft_model *model = NULL;
            params.precision = (weft_precision)p;
            const weft_status status =
                weft_model_create(device, graph, &params, &model, &error);
            const char *name = weft_precision_name((weft_precision)p);
            assert_int_equal(status, p == WEFT_PRECISION_F32 ? WEFT_OK
                                     : name == NULL          ? WEFT_INVALID_ARGUMENT
                                                             : WEFT_UNSUPPORTED);
            assert_true((model != NULL) == (status == WEFT_OK));
            if (status == WEFT_UNSUPPORTED) {
                assert_non_null(strstr(error.message, name));
                assert_non_null(strstr(error.message, devices[i]));
            }
            weft_model_release(model);
        }
        /* An older header has no such member: what stands behind is not read. */
        weft_model *model;
        params.struct_size = offsetof(weft_model_params, precision);
        assert_int_equal(weft_model_create(device, graph, &params, &model, NULL),
                         WEFT_OK);
        weft_model_release(model);
        weft_device_release(device);
    }
    weft_graph_release(graph);
    assert_string_equal(weft_precision_name(WEFT_PRECISION_BF16), "bf16");
    assert_null(weft_precision_name((weft_precision)-1));
}

/* The fused form gives what the written-out one does, also where a row sees no key. */
static void test_attention_is_what_was_written(void **state)
{
    (void)state;
    static const char *const isas[] = {"avx512", "avx2", "sse2", "neon", "reference"};
    enum { COUNT = 2 * 3 * 8 };
    float results[2 * sizeof(isas) / sizeof(isas[0])][COUNT], data[4][80];
    int result_count = 0;
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        params.isa = isas[i];
        weft_device *device;
        if (weft_device_open("cpu", &params, &device, NULL) != WEFT_OK) {
            continue; /* not on this machine */
        }
        for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
            weft_model *model = make_attention(device, no_fusion != 0);
            weft_tensor inputs[4], output = {.type = WEFT_TYPE_F32,
                                             .rank = 4,
                                             .dims = {1, 3, 2, 8},
                                             .data = results[result_count++]};
            for (uint32_t j = 0; j < 4; j++) {
                weft_random_key key = {.seed = 5, .stream = j};
                weft_random_fill_normal(&key, data[j], 80);
                inputs[j] = (weft_tensor){
                    .type = WEFT_TYPE_F32, .rank = j == 3 ? 2 : 4, .data = data[j]};
                memcpy(inputs[j].dims, attention_dims[j], sizeof(attention_dims[j]));
            }
            for (int j = 0; j < 5; j++) {
                data[3][5 + j] = -INFINITY; /* query 1 sees nothing */
            }
            weft_io io = {inputs, 4, &output, 1};
            assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
            weft_model_release(model);
        }
        weft_device_release(device);
    }
    assert_true(result_count >= 4);
    for (int i = 0; i < COUNT; i++) {
        bool blind = i / 16 == 1;
        assert_int_equal(isnan(results[0][i]) != 0, blind);
        for (int j = 0; j < result_count; j++) {
            assert_int_equal(isnan(results[j][i]) != 0, blind);
            assert_true(blind || fabsf(results[j][i] - results[0][i]) < 1e-5f);
        }
    }
    for (int j = 2; j < result_count; j++) {
        assert_memory_equal(results[j], results[j % 2], sizeof(results[0]));
    }
}

/* A weight that is computed from a shape belongs to the plan: plans of other shapes
 * have other weights, and none may be taken for another's packed form. */
static void test_weights_of_a_plan_are_its_own(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_graph *graph;
    weft_model *model;
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    weft_value_info input = {.name = "x",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, FEATURES}};
    float weights[FEATURES * HIDDEN];
    for (int i = 0; i < FEATURES * HIDDEN; i++) {
        weights[i] = (float)(i % 7);
    }
    weft_tensor w = {
        .data = weights, .type = WEFT_TYPE_F32, .rank = 2, .dims = {FEATURES, HIDDEN}};
    int64_t zero = 0, to_f32 = WEFT_TYPE_F32;
    weft_tensor first = {.data = &zero, .type = WEFT_TYPE_I64};
    assert_int_equal(weft_graph_add_input(graph, &input, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_initializer(graph, "w", &w, NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_initializer(graph, "zero", &first, NULL), WEFT_OK);
    const char *const shape[] = {"x"}, *const rows[] = {"shape", "zero"};
    const char *const scaled[] = {"w", "rows_f32"}, *const product[] = {"x", "ww"};
    const char *const cast_input[] = {"rows"}, *cast_output = "rows_f32";
    weft_attribute to = {.name = "to", .kind = WEFT_ATTRIBUTE_INT, .i = to_f32};
    weft_node cast = {.op_type = "Cast",
                      .inputs = cast_input,
                      .input_count = 1,
                      .outputs = &cast_output,
                      .output_count = 1,
                      .attributes = &to,
                      .attribute_count = 1};
    assert_int_equal(add_node(graph, "Shape", shape, 1, "shape", NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "Gather", rows, 2, "rows", NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_node(graph, &cast, NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "Mul", scaled, 2, "ww", NULL), WEFT_OK);
    assert_int_equal(add_node(graph, "MatMul", product, 2, "y", NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(graph, "y", NULL), WEFT_OK);
    weft_error error = {.message = ""};
    if (weft_model_create(device, graph, NULL, &model, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    for (int64_t n = 1; n <= ROWS; n++) {
        call c;
        prepare_call(&c, n, 0, 0);
        for (int i = 0; i < ROWS * FEATURES; i++) {
            c.x[i] = 1;
        }
        c.io.output_count = 1;
        /* Every build but the last fails at another point. */
        for (uint64_t fault = 1; fault < 200; fault++) {
            wefti_fault_arm(fault, 1u << WEFTI_FAULT_ALLOCATION);
            weft_status status = weft_run(model, &c.io, NULL, &error);
            wefti_fault_arm(0, 0);
            if (status == WEFT_OK) {
                break;
            }
        }
        for (int64_t j = 0; j < HIDDEN; j++) {
            float sum = 0;
            for (int k = 0; k < FEATURES; k++) {
                sum += weights[k * HIDDEN + j] * (float)n;
            }
            assert_true(c.y[(n - 1) * HIDDEN + j] == sum); /* small integers: exact */
        }
    }
    weft_model_release(model);
    weft_graph_release(graph);
    weft_device_release(device);
}

/* Weights and workspaces count against the cap; what does not fit is refused, and all
 * is given back. */
static void test_memory_cap(void **state)
{
    (void)state;
    enum { WEIGHT_BYTES = FEATURES * HIDDEN * sizeof(float) };
    int refused = 0, ran = 0;
    for (size_t cap = 64; cap < 1 << 20; cap *= 2) {
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        params.memory_cap_bytes = cap;
        weft_device *device;
        weft_model *model = NULL;
        weft_error error = {.message = ""};
        assert_int_equal(weft_device_open("cpu", &params, &device, NULL), WEFT_OK);
        call c;
        prepare_call(&c, ROWS, 0, 0);
        weft_status status = make_model(device, NULL, &model, &error);
        if (status == WEFT_OK) {
            status = weft_run(model, &c.io, NULL, &error);
        }
        weft_device_statistics statistics;
        weft_device_get_statistics(device, &statistics);
        assert_true(statistics.memory_peak_bytes <= cap);
        if (status == WEFT_OK) {
            assert_true(statistics.memory_bytes >= WEIGHT_BYTES);
            assert_right(&c, ROWS);
            ran++;
        } else {
            assert_int_equal(status, WEFT_OUT_OF_MEMORY);
            assert_non_null(strstr(error.message, "cap"));
            refused++;
        }
        weft_model_release(model);
        weft_device_release(device);
    }
    assert_true(refused >= 3 && ran >= 3);
}

/* A model's own cap on its weights, whatever the device has; another model of the
 * device knows nothing of it. */
static void test_memory_cap_of_a_model(void **state)
{
    (void)state;
    int refused = 0, ran = 0;
    weft_device *device;
    weft_model *other;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    assert_int_equal(make_model(device, NULL, &other, NULL), WEFT_OK);
    for (size_t cap = 64; cap < 1 << 20; cap *= 2) {
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        params.memory_cap_bytes = cap;
        weft_model *model = NULL;
        weft_error error = {.message = ""};
        call c, beside;
        prepare_call(&c, ROWS, 0, 0);
        weft_status status = make_model(device, &params, &model, &error);
        for (int i = 0; i < 3 && model != NULL; i++) { /* it gives back what it took */
            status = weft_run(model, &c.io, NULL, &error);
        }
        if (status == WEFT_OK) {
            assert_right(&c, ROWS);
            ran++;
        } else {
            assert_int_equal(status, WEFT_OUT_OF_MEMORY);
            assert_non_null(strstr(error.message, "the model's memory cap"));
            refused++;
        }
        prepare_call(&beside, ROWS, 0, 0);
        assert_int_equal(weft_run(other, &beside.io, NULL, NULL), WEFT_OK);
        assert_right(&beside, ROWS);
        weft_model_release(model);
    }
    assert_true(refused >= 3 && ran >= 3);
    weft_model_release(other);
    weft_device_release(device);
}

/* Opens, loads, runs and closes with the n-th allocation, lock, thread or device call
 * failing, for every n until nothing fails. */
static void test_every_failure_is_an_answer(void **state)
{
    (void)state;
    uint64_t n = 0;
    weft_status status;
    do {
        weft_device *device = NULL;
        weft_model *model = NULL;
        weft_error error = {.message = ""};
        call c;
        prepare_call(&c, 3, 0, 0);
        wefti_fault_arm(++n, ~0u);
        status = weft_device_open("cpu", NULL, &device, &error);
        if (status == WEFT_OK) {
            status = make_model(device, NULL, &model, &error);
        }
        if (status == WEFT_OK) {
            status = weft_run(model, &c.io, NULL, &error);
        }
        wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || error.message[0] != '\0');
        if (status == WEFT_OK) {
            assert_right(&c, 3);
        } else if (model != NULL) {
            /* What failed once works the next time. */
            assert_true(c.y[0] == 0);
            assert_int_equal(weft_run(model, &c.io, NULL, NULL), WEFT_OK);
            assert_right(&c, 3);
        }
        weft_model_release(model);
        weft_device_release(device);
    } while (status != WEFT_OK);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_any_batch),
        cmocka_unit_test(test_a_row_does_not_depend_on_its_batch),
        cmocka_unit_test(test_what_a_model_tells),
        cmocka_unit_test(test_bad_tensors_are_named),
        cmocka_unit_test(test_zero_rows),
        cmocka_unit_test(test_broken_graphs_are_named),
        cmocka_unit_test(test_graph_is_frozen_by_its_model),
        cmocka_unit_test(test_many_threads_build_each_plan_once),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_submit),
        cmocka_unit_test(test_submit_refuses_wrong_shapes),
        cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_attention_is_what_was_written),
        cmocka_unit_test(test_weights_of_a_plan_are_its_own),
        cmocka_unit_test(test_memory_cap),
        cmocka_unit_test(test_memory_cap_of_a_model),
        cmocka_unit_test(test_every_failure_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
