/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand different shapes in random order from 16 threads, with room for few
 * plans: every answer is the one of a run alone, and memory does not grow. */
#include <weft/weft.h>

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/testing.h"
#include "support/crew.h"

enum {
    BATCHES = 25,
    LENGTHS = 40,
    SHAPES = BATCHES * LENGTHS,
    CONTEXTS = 4,
    FEATURES = 12,
    HIDDEN = 8,
    THREADS = 16,
    PLANS = 8,
    MOST_INPUT = BATCHES * LENGTHS * FEATURES,
    MOST_OUTPUT = BATCHES * LENGTHS * HIDDEN,
};

#define TRY(expression)                                                                \
    do {                                                                               \
        weft_status try_status = (expression);                                         \
        if (try_status != WEFT_OK) {                                                   \
            return try_status;                                                         \
        }                                                                              \
    } while (0)

static weft_status add_node(weft_graph *graph, const char *op_type, const char *first,
                            const char *second, const char *output)
{
    const char *const inputs[] = {first, second};
    weft_node node = {.op_type = op_type,
                      .name = output,
                      .inputs = inputs,
                      .input_count = second == NULL ? 1 : 2,
                      .outputs = &output,
                      .output_count = 1};
    return weft_graph_add_node(graph, &node, NULL);
}

/* y = softmax(x W) plus zeros of its shape, so that each plan folds a constant of its
 * own; x is [batch, length, FEATURES]. */
static weft_status fill_graph(weft_graph *graph)
{
    float weights[FEATURES * HIDDEN];
    weft_random_key key = {.seed = 5};
    weft_random_fill_normal(&key, weights, FEATURES * HIDDEN);
    weft_value_info x = {.name = "x",
                         .type = WEFT_TYPE_F32,
                         .rank = 3,
                         .dims = {WEFT_DIM_DYNAMIC, WEFT_DIM_DYNAMIC, FEATURES},
                         .dim_names = {"batch", "length"}};
    weft_tensor w = {
        .data = weights, .type = WEFT_TYPE_F32, .rank = 2, .dims = {FEATURES, HIDDEN}};
    TRY(weft_graph_add_input(graph, &x, NULL));
    TRY(weft_graph_add_initializer(graph, "w", &w, NULL));
    TRY(add_node(graph, "MatMul", "x", "w", "xw"));
    TRY(add_node(graph, "Softmax", "xw", NULL, "soft"));
    TRY(add_node(graph, "Shape", "soft", NULL, "shape"));
    TRY(add_node(graph, "ConstantOfShape", "shape", NULL, "zeros"));
    TRY(add_node(graph, "Add", "soft", "zeros", "y"));
    return weft_graph_add_output(graph, "y", NULL);
}

static weft_model *make_model(weft_device *device, const weft_model_params *params)
{
    weft_graph *graph;
    weft_model *model;
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    assert_int_equal(fill_graph(graph), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, params, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    return model;
}

typedef struct hall {
    weft_device *device;
    weft_model *model;
    float *input;            /* each shape reads the front of it */
    float *expected[SHAPES]; /* from a run alone */
    uint32_t rounds;
    uint32_t wrong[THREADS];
} hall;

static weft_status run_shape(weft_model *model, float *input, size_t shape,
                             float *output)
{
    int64_t batch = 1 + (int64_t)(shape / LENGTHS);
    int64_t length = 1 + (int64_t)(shape % LENGTHS);
    weft_tensor x = {.data = input,
                     .type = WEFT_TYPE_F32,
                     .rank = 3,
                     .dims = {batch, length, FEATURES}};
    weft_tensor y = {.data = output,
                     .type = WEFT_TYPE_F32,
                     .rank = 3,
                     .dims = {batch, length, HIDDEN}};
    weft_io io = {&x, 1, &y, 1};
    return weft_run(model, &io, NULL, NULL);
}

static size_t output_bytes(size_t shape)
{
    return (1 + shape / LENGTHS) * (1 + shape % LENGTHS) * HIDDEN * sizeof(float);
}

static void open_hall(hall *h)
{
    memset(h, 0, sizeof(*h));
    weft_device_params device_params = WEFT_DEVICE_PARAMS_INIT;
    device_params.max_contexts = CONTEXTS; /* soon all have been used */
    assert_int_equal(weft_device_open("cpu", &device_params, &h->device, NULL),
                     WEFT_OK);
    h->input = malloc(MOST_INPUT * sizeof(float));
    assert_non_null(h->input);
    weft_random_key key = {.seed = 6};
    weft_random_fill_normal(&key, h->input, MOST_INPUT);
    weft_model *alone = make_model(h->device, NULL);
    for (size_t i = 0; i < SHAPES; i++) {
        h->expected[i] = aligned_alloc(64, (output_bytes(i) + 63) & ~(size_t)63);
        assert_non_null(h->expected[i]);
        assert_int_equal(run_shape(alone, h->input, i, h->expected[i]), WEFT_OK);
    }
    weft_model_release(alone);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_plans = PLANS;
    h->model = make_model(h->device, &params);
}

static void close_hall(hall *h)
{
    weft_model_release(h->model);
    weft_device_statistics end;
    weft_device_get_statistics(h->device, &end);
    assert_int_equal(end.plan_bytes, 0);
    weft_device_release(h->device);
    for (size_t i = 0; i < SHAPES; i++) {
        free(h->expected[i]);
    }
    free(h->input);
}

/* All shapes, each thread in an order of its own. */
static void meet_shapes(void *user, uint32_t index)
{
    hall *h = user;
    float *output = aligned_alloc(64, MOST_OUTPUT * sizeof(float));
    uint64_t random = 1000 + index;
    uint32_t count = SHAPES / crew_divisor();
    for (uint32_t i = 0; output != NULL && i < count; i++) {
        /* Now and then one of a few shapes that stay. */
        uint32_t r = crew_random(&random);
        size_t shape = r % 8 == 0 ? (r >> 8) % 4 : (r >> 8) % SHAPES;
        memset(output, 0xa5, output_bytes(shape));
        bool right = run_shape(h->model, h->input, shape, output) == WEFT_OK &&
                     memcmp(output, h->expected[shape], output_bytes(shape)) == 0;
        h->wrong[index] += !right;
    }
    h->wrong[index] += output == NULL;
    free(output);
}

static void test_a_thousand_shapes(void **state)
{
    (void)state;
    static hall h;
    open_hall(&h);
    size_t held[3];
    for (int round = 0; round < 3; round++) {
        crew_run(THREADS, meet_shapes, &h);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(h.wrong[i], 0);
        }
        weft_device_statistics now;
        weft_device_get_statistics(h.device, &now);
        /* Those that were built are there or were thrown out, and few are there. */
        assert_true(now.plan_evict_count > 0);
        uint64_t plans = now.plan_count - SHAPES - now.plan_evict_count;
        assert_true(plans <= PLANS);
        assert_true(now.plan_bytes < PLANS * 100000);
        malloc_trim(0);
        held[round] = mallinfo2().uordblks;
    }
    print_message("bytes held after each round: %zu %zu %zu\n", held[0], held[1],
                  held[2]);
    assert_true(held[2] < held[0] + 200000);
    close_hall(&h);
}

/* A failure anywhere on the way of a run that throws out another's plan. */
static void test_failures_leave_the_others(void **state)
{
    (void)state;
    static hall h;
    open_hall(&h);
    weft_model_release(h.model);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_plans = 1;
    h.model = make_model(h.device, &params);
    float *output = aligned_alloc(64, MOST_OUTPUT * sizeof(float));
    assert_non_null(output);
    uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_DEVICE |
                     1u << WEFTI_FAULT_LOCK;
    for (uint64_t n = 1;; n++) {
        wefti_fault_arm(n, sites);
        weft_status status = run_shape(h.model, h.input, 77, output);
        uint64_t uses = wefti_fault_arm(0, 0);
        bool right = memcmp(output, h.expected[77], output_bytes(77)) == 0;
        assert_int_equal(right, status == WEFT_OK);
        if (uses < n) {
            assert_int_equal(status, WEFT_OK);
            break;
        }
        assert_int_equal(run_shape(h.model, h.input, 5, output), WEFT_OK);
        assert_memory_equal(output, h.expected[5], output_bytes(5));
    }
    free(output);
    close_hall(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand_shapes),
        cmocka_unit_test(test_failures_leave_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
