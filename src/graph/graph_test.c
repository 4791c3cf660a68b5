/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/testing.h"

static weft_graph *new_graph(void)
{
    weft_graph *graph;
    assert_int_equal(weft_graph_create(18, &graph, NULL), WEFT_OK);
    return graph;
}

static weft_status add_node(weft_graph *graph, const char *op_type, const char *input,
                            const char *output, weft_error *error)
{
    weft_node node = {
        .op_type = op_type,
        .name = "n",
        .inputs = &input,
        .input_count = 1,
        .outputs = &output,
        .output_count = 1,
    };
    return weft_graph_add_node(graph, &node, error);
}

static void test_opsets(void **state)
{
    (void)state;
    weft_graph *graph;
    weft_error error;
    for (int32_t opset = 7; opset <= 28; opset++) {
        assert_int_equal(weft_graph_create(opset, &graph, &error), WEFT_OK);
        weft_graph_release(graph);
    }
    assert_int_equal(weft_graph_create(6, &graph, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "opset 6"));
    assert_null(graph);
    assert_int_equal(weft_graph_create(29, &graph, NULL), WEFT_UNSUPPORTED);
    assert_int_equal(weft_graph_create(18, NULL, NULL), WEFT_INVALID_ARGUMENT);
}

static void test_names_are_taken_once(void **state)
{
    (void)state;
    weft_graph *graph = new_graph();
    weft_error error;
    weft_value_info info = {.name = "x", .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    float data[4] = {1, 2, 3, 4};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    assert_int_equal(weft_graph_add_input(graph, &info, &error), WEFT_OK);
    assert_int_equal(weft_graph_add_input(graph, &info, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'x'"));
    assert_int_equal(weft_graph_add_initializer(graph, "x", &tensor, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(add_node(graph, "Relu", "x", "x", &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "node Relu 'n'"));
    assert_int_equal(add_node(graph, "Relu", "x", "y", &error), WEFT_OK);
    assert_int_equal(add_node(graph, "Relu", "x", "y", &error), WEFT_INVALID_ARGUMENT);
    const char *input = "x", *twice[] = {"a", NULL, "b", "a"};
    weft_node node = {.op_type = "Split",
                      .inputs = &input,
                      .input_count = 1,
                      .outputs = twice,
                      .output_count = 4};
    assert_int_equal(weft_graph_add_node(graph, &node, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'a' is taken twice"));
    node.output_count = 3; /* what was refused has taken no name */
    assert_int_equal(weft_graph_add_node(graph, &node, &error), WEFT_OK);
    assert_int_equal(add_node(graph, "Relu", "x", "b", &error), WEFT_INVALID_ARGUMENT);
    weft_graph_release(graph);
}

static void test_bad_inputs_are_named(void **state)
{
    (void)state;
    weft_graph *graph = new_graph();
    weft_error error;
    weft_value_info info = {.name = "wide", .type = WEFT_TYPE_F32, .rank = 9};
    assert_int_equal(weft_graph_add_input(graph, &info, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'wide'"));
    info = (weft_value_info){.name = "odd", .type = (weft_type)99, .rank = 1};
    assert_int_equal(weft_graph_add_input(graph, &info, &error), WEFT_INVALID_ARGUMENT);
    info = (weft_value_info){
        .name = "less", .type = WEFT_TYPE_F32, .rank = 1, .dims = {-2}};
    assert_int_equal(weft_graph_add_input(graph, &info, &error), WEFT_INVALID_ARGUMENT);
    info.name = NULL;
    assert_int_equal(weft_graph_add_input(graph, &info, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_add_input(graph, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_graph_release(graph);
}

static void test_lists_without_data(void **state)
{
    (void)state;
    weft_graph *graph = new_graph();
    const char *input = "x", *output = "y";
    weft_attribute attribute = {
        .name = "axes", .kind = WEFT_ATTRIBUTE_INTS, .count = 2};
    weft_node node = {.op_type = "Squeeze",
                      .inputs = &input,
                      .input_count = 1,
                      .outputs = &output,
                      .output_count = 1,
                      .attributes = &attribute,
                      .attribute_count = 1};
    weft_error error;
    assert_int_equal(weft_graph_add_node(graph, &node, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'axes'"));
    attribute.kind = WEFT_ATTRIBUTE_FLOATS;
    assert_int_equal(weft_graph_add_node(graph, &node, &error), WEFT_INVALID_ARGUMENT);
    const float one = 1;
    attribute.floats = &one;
    attribute.count = (size_t)1 << 62;
    assert_int_equal(weft_graph_add_node(graph, &node, &error), WEFT_INVALID_ARGUMENT);
    weft_graph_release(graph);
}

static void count_release(void *user)
{
    ++*(int *)user;
}

static void test_borrowed_data_is_released_once(void **state)
{
    (void)state;
    weft_graph *graph = new_graph();
    int released = 0;
    float data[4] = {1, 2, 3, 4};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    assert_int_equal(weft_graph_add_initializer_borrowed(
                         graph, "w", &tensor, count_release, &released, NULL),
                     WEFT_OK);
    assert_int_equal(released, 0);
    /* Also when the call fails. */
    assert_int_equal(weft_graph_add_initializer_borrowed(
                         graph, "w", &tensor, count_release, &released, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(released, 1);
    weft_graph_release(graph);
    assert_int_equal(released, 2);
}

static void test_replace_initializer(void **state)
{
    (void)state;
    weft_graph *graph = new_graph();
    int released = 0;
    float data[4] = {1, 2, 3, 4}, other[4] = {5, 6, 7, 8};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    assert_int_equal(weft_graph_add_initializer_borrowed(
                         graph, "w", &tensor, count_release, &released, NULL),
                     WEFT_OK);
    tensor.data = other;
    weft_error error;
    assert_int_equal(weft_graph_replace_initializer(graph, "v", &tensor, &error),
                     WEFT_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_graph_replace_initializer(graph, "w", &tensor, &error),
                         WEFT_OK);
        assert_int_equal(released, 1);
    }
    const char *name;
    weft_tensor read;
    assert_true(weft_graph_get_initializer(graph, 0, &name, &read));
    assert_memory_equal(read.data, other, sizeof(other));
    assert_false(weft_graph_get_initializer(graph, 1, &name, &read));
    tensor.dims[0] = 3;
    assert_int_equal(weft_graph_replace_initializer(graph, "w", &tensor, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_graph_release(graph);
}

static void test_many_names(void **state)
{
    (void)state;
    weft_graph *graph = new_graph();
    for (int i = 0; i < 5000; i++) {
        char input[16], output[16];
        snprintf(input, sizeof(input), "v%d", i);
        snprintf(output, sizeof(output), "v%d", i + 1);
        assert_int_equal(add_node(graph, "Relu", input, output, NULL), WEFT_OK);
    }
    assert_int_equal(graph->value_count, 5001);
    for (int i = 0; i <= 5000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "v%d", i);
        int32_t value = wefti_graph_find_value(graph, name);
        assert_true(value >= 0);
        assert_string_equal(graph->values[value].name, name);
    }
    assert_int_equal(wefti_graph_find_value(graph, "v5001"), -1);
    weft_graph_release(graph);
}

static weft_status build_small(weft_graph **graph)
{
    float data[4] = {1, 2, 3, 4};
    int64_t ints[2] = {0, 1};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    weft_value_info info = {.name = "x",
                            .type = WEFT_TYPE_F32,
                            .rank = 2,
                            .dims = {-1, 4},
                            .dim_names = {"batch"}};
    weft_attribute attributes[] = {
        {.name = "a", .kind = WEFT_ATTRIBUTE_INTS, .ints = ints, .count = 2},
        {.name = "b", .kind = WEFT_ATTRIBUTE_TENSOR, .tensor = &tensor},
        {.name = "c", .kind = WEFT_ATTRIBUTE_STRING, .s = "text"},
        {.name = "d", .kind = WEFT_ATTRIBUTE_FLOATS, .floats = data, .count = 4},
    };
    const char *inputs[] = {"x", "w"}, *outputs[] = {"y"};
    weft_node node = {.op_type = "Add",
                      .inputs = inputs,
                      .input_count = 2,
                      .outputs = outputs,
                      .output_count = 1,
                      .attributes = attributes,
                      .attribute_count = 4};
    weft_status status = weft_graph_create(18, graph, NULL);
    if (status == WEFT_OK) {
        status = weft_graph_add_input(*graph, &info, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_graph_add_initializer(*graph, "w", &tensor, NULL);
    }
    if (status == WEFT_OK) {
        status = weft_graph_add_node(*graph, &node, NULL);
    }
    return status == WEFT_OK ? weft_graph_add_output(*graph, "y", NULL) : status;
}

static void test_every_allocation_can_fail(void **state)
{
    (void)state;
    weft_status status = WEFT_OUT_OF_MEMORY;
    uint64_t n = 0;
    do {
        weft_graph *graph = NULL;
        wefti_fault_arm(++n, 1u << WEFTI_FAULT_ALLOCATION);
        status = build_small(&graph);
        wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        weft_graph_release(graph);
    } while (status != WEFT_OK);
    assert_true(n > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opsets),
        cmocka_unit_test(test_names_are_taken_once),
        cmocka_unit_test(test_bad_inputs_are_named),
        cmocka_unit_test(test_lists_without_data),
        cmocka_unit_test(test_borrowed_data_is_released_once),
        cmocka_unit_test(test_replace_initializer),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
