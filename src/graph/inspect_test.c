/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cost.h"
#include "base/testing.h"
#include "graph/graph.h"
#include "support/graph_text.h"

typedef struct fixture {
    weft_device *device;
    weft_graph *graph;
    weft_model *model;
    weft_inspection *inspection;
    weft_inspect_totals totals;
} fixture;

static void begin(fixture *f)
{
    *f = (fixture){0};
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    assert_int_equal(weft_device_open("cpu", &params, &f->device, NULL), WEFT_OK);
    assert_int_equal(weft_graph_create(20, &f->graph, NULL), WEFT_OK);
}

static void end(fixture *f)
{
    weft_inspection_destroy(f->inspection);
    weft_model_release(f->model);
    weft_graph_release(f->graph);
    weft_device_release(f->device);
}

static void add_input(fixture *f, const char *name, int64_t columns)
{
    weft_value_info info = {.name = name,
                            .type = WEFT_TYPE_F32,
                            .rank = 2,
                            .dims = {WEFT_DIM_DYNAMIC, columns},
                            .dim_names = {"batch"}};
    assert_int_equal(weft_graph_add_input(f->graph, &info, NULL), WEFT_OK);
}

static void add_weight(fixture *f, const char *name, int64_t rows, int64_t columns)
{
    static float data[64 * 64];
    weft_tensor tensor = {.data = data,
                          .type = WEFT_TYPE_F32,
                          .rank = rows > 0 ? 2 : 1,
                          .dims = {rows > 0 ? rows : columns, columns}};
    assert_int_equal(weft_graph_add_initializer(f->graph, name, &tensor, NULL),
                     WEFT_OK);
}

/* One output; inputs end with NULL. */
static void add_node(fixture *f, const char *op_type, const char *const *inputs,
                     const char *output)
{
    size_t count = 0;
    while (inputs[count] != NULL) {
        count++;
    }
    const weft_node node = {.op_type = op_type,
                            .inputs = inputs,
                            .input_count = count,
                            .outputs = &output,
                            .output_count = 1};
    assert_int_equal(weft_graph_add_node(f->graph, &node, NULL), WEFT_OK);
}
#define INPUTS(...)                                                                    \
    (const char *const[])                                                              \
    {                                                                                  \
        __VA_ARGS__, NULL                                                              \
    }

static void look(fixture *f, int64_t rows, int64_t columns)
{
    weft_tensor input = {.type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, columns}};
    weft_inspect_params params = WEFT_INSPECT_PARAMS_INIT;
    params.model = f->model;
    params.inputs = &input;
    params.input_count = 1;
    weft_inspection_destroy(f->inspection);
    f->inspection = NULL;
    assert_int_equal(weft_graph_inspect(f->graph, &params, &f->inspection, NULL),
                     WEFT_OK);
    weft_inspection_get_totals(f->inspection, &f->totals);
}

static const weft_inspect_node *node(const fixture *f, const char *name)
{
    const weft_inspect_node *found;
    for (size_t i = 0; (found = weft_inspection_node(f->inspection, i)) != NULL; i++) {
        if (strcmp(found->name, name) == 0) {
            return found;
        }
    }
    fail_msg("no operator '%s'", name);
    return NULL;
}

/* x [batch,16] -> MatMul 32 -> Add -> Relu -> Reshape [-1,8] -> y */
static void build_mlp(fixture *f)
{
    static const int64_t shape[] = {-1, 8};
    weft_tensor target = {.data = (void *)(uintptr_t)shape,
                          .type = WEFT_TYPE_I64,
                          .rank = 1,
                          .dims = {2}};
    begin(f);
    add_input(f, "x", 16);
    add_weight(f, "w", 16, 32);
    add_weight(f, "b", 0, 32);
    assert_int_equal(weft_graph_add_initializer(f->graph, "shape", &target, NULL),
                     WEFT_OK);
    add_node(f, "MatMul", INPUTS("x", "w"), "product");
    add_node(f, "Add", INPUTS("product", "b"), "sum");
    add_node(f, "Relu", INPUTS("sum"), "positive");
    add_node(f, "Reshape", INPUTS("positive", "shape"), "y");
    add_node(f, "Neg", INPUTS("b"), "unread");
    assert_int_equal(weft_graph_add_output(f->graph, "y", NULL), WEFT_OK);
}

static void test_costs_without_a_model(void **state)
{
    (void)state;
    fixture f;
    build_mlp(&f);
    look(&f, 4, 16);
    assert_int_equal(f.totals.node_count, 5);
    assert_int_equal(f.totals.problem_count, 0);
    assert_int_equal(f.totals.step_count, 0);
    assert_int_equal(f.totals.parameter_count, 16 * 32 + 32 + 2);
    assert_int_equal(f.totals.weight_bytes, 4 * (16 * 32 + 32) + 16);
    assert_true(node(&f, "product")->flops == 2.0 * 4 * 16 * 32);
    assert_true(node(&f, "product")->moved_bytes == 4.0 * (4 * 16 + 16 * 32 + 4 * 32));
    assert_true(node(&f, "sum")->flops == 4 * 32);
    assert_true(node(&f, "y")->flops == 0);
    assert_int_equal(node(&f, "unread")->fate, WEFT_FATE_UNUSED);
    assert_int_equal(node(&f, "product")->fate, WEFT_FATE_UNKNOWN);
    end(&f);
}

static void test_plan_of_a_model(void **state)
{
    (void)state;
    fixture f;
    build_mlp(&f);
    assert_int_equal(weft_model_create(f.device, f.graph, NULL, &f.model, NULL),
                     WEFT_OK);
    look(&f, 4, 16);
    assert_int_equal(f.totals.step_count, 1);
    assert_int_equal(node(&f, "product")->fate, WEFT_FATE_KERNEL);
    assert_int_equal(node(&f, "sum")->fate, WEFT_FATE_FUSED);
    assert_int_equal(node(&f, "sum")->fused_into, 0);
    assert_int_equal(node(&f, "positive")->fused_into, 0);
    assert_int_equal(node(&f, "y")->fate, WEFT_FATE_VIEW);
    const weft_inspect_step *step = weft_inspection_step(f.inspection, 0);
    assert_string_equal(step->kernel, "matmul");
    assert_string_equal(step->shape, "4x16 * 16x32");
    assert_int_equal(step->node, 0);
    assert_true(step->flops == 4.0 * 32 * (2 * 16 + 2));
    assert_true(f.totals.packed_bytes >= 4 * 16 * 32);
    assert_null(weft_inspection_step(f.inspection, 1));
    /* A row of 32 becomes four of 8: that is no batch to join along. */
    weft_inspect_rows rows;
    weft_inspection_get_rows(f.inspection, &rows);
    assert_true(rows.is_known);
    end(&f);
}

static void look_at_text(fixture *f, const char *text, const weft_tensor *inputs,
                         size_t count)
{
    begin(f);
    weft_graph_release(f->graph);
    f->graph = graph_text_make(text, 20);
    assert_int_equal(weft_model_create(f->device, f->graph, NULL, &f->model, NULL),
                     WEFT_OK);
    weft_inspect_params params = WEFT_INSPECT_PARAMS_INIT;
    params.model = f->model;
    params.inputs = inputs;
    params.input_count = count;
    assert_int_equal(weft_graph_inspect(f->graph, &params, &f->inspection, NULL),
                     WEFT_OK);
    weft_inspection_get_totals(f->inspection, &f->totals);
    assert_int_equal(f->totals.problem_count, 0);
}

/* A model without one plan for these sizes is no problem. */
static void test_models_without_a_plan(void **state)
{
    (void)state;
    static const char *const staged[] = {
        "x: f32[n]; at = NonZero(x); y = Add(at,at); -> y",
        "x: f32[n]; m: i64[]; y = Loop(m,,x) body={ i: i64[]; k: bool[]; a: f32[n]; "
        "b = Neg(a); -> k,b }; -> y",
    };
    int64_t target[] = {2, 3};
    weft_tensor inputs[] = {
        {.type = WEFT_TYPE_F32, .rank = 1, .dims = {6}},
        {.type = WEFT_TYPE_I64},
    };
    fixture f;
    for (size_t i = 0; i < 2; i++) {
        look_at_text(&f, staged[i], inputs, 1 + i);
        assert_int_equal(f.totals.step_count, 0);
        end(&f);
    }
    inputs[1] = (weft_tensor){.type = WEFT_TYPE_I64, .rank = 1, .dims = {2}};
    for (size_t i = 0; i < 2; i++) {
        inputs[1].data = i == 0 ? NULL : target;
        look_at_text(&f, "x: f32[n]; s: i64[k]; z = Neg(x); y = Reshape(z,s); -> y",
                     inputs, 2);
        weft_inspect_rows rows;
        weft_inspection_get_rows(f.inspection, &rows);
        assert_int_equal(f.totals.step_count, i);
        assert_int_equal(rows.is_known, i == 1);
        end(&f);
    }
}

static void test_every_problem_at_once(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    add_input(&f, "x", 16);
    add_weight(&f, "w", 16, 32);
    add_node(&f, "Foo", INPUTS("x"), "foo");
    add_node(&f, "MatMul", INPUTS("foo", "w"), "product"); /* not reached */
    add_node(&f, "Bar", INPUTS("product"), "bar");
    add_node(&f, "MatMul", INPUTS("x", "w", "w"), "three"); /* too many inputs */
    add_node(&f, "Relu", INPUTS("x"), "fine");
    assert_int_equal(weft_graph_add_output(f.graph, "bar", NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(f.graph, "three", NULL), WEFT_OK);
    assert_int_equal(weft_graph_add_output(f.graph, "fine", NULL), WEFT_OK);
    look(&f, 4, 16);
    assert_int_equal(f.totals.problem_count, 3);
    assert_int_equal(node(&f, "foo")->fate, WEFT_FATE_UNSUPPORTED);
    assert_int_equal(node(&f, "bar")->fate, WEFT_FATE_UNSUPPORTED);
    assert_int_equal(node(&f, "three")->fate, WEFT_FATE_UNSUPPORTED);
    assert_false(node(&f, "product")->is_measured);
    assert_true(node(&f, "fine")->is_measured);
    const weft_inspect_problem *problem = weft_inspection_problem(f.inspection, 0);
    assert_int_equal(problem->node, 0);
    assert_int_equal(problem->status, WEFT_UNSUPPORTED);
    assert_non_null(strstr(problem->text, "Foo"));
    assert_null(weft_inspection_problem(f.inspection, 3));
    /* Such a graph makes no model, and the inspection is of use all the same. */
    assert_int_equal(weft_model_create(f.device, f.graph, NULL, &f.model, NULL),
                     WEFT_UNSUPPORTED);
    end(&f);
}

/* What is missing in branches and bodies, at any depth; all of it, and where; beside
 * the problems of the operators that they belong to. */
static void test_problems_of_branches(void **state)
{
    (void)state;
    static const struct {
        int32_t node;
        const char *text;
    } wanted[] = {
        {1, "a type that is not supported"},
        {0, "operator Outside is unknown to this version of weft"},
        {2, "operator Strange is unknown to this version of weft"},
        {1,
         "operator Nope is unknown to this version of weft (Nope 't' in then_branch)"},
        {1,
         "operator Also is unknown to this version of weft (Also 'u' in then_branch)"},
        {1, "operator Deep is unknown to this version of weft (Deep 'd' in else_branch "
            "> then_branch)"},
        {2, "operator Inner is unknown to this version of weft (Inner 'q' in body)"},
    };
    fixture f = {0};
    f.graph = graph_text_make(
        "x: f32[n]; c: bool[]; z = Outside(y); y = If(c) then_branch={ t = Nope(x); "
        "u = Also(t); -> u } else_branch={ e = If(c) then_branch={ d = Deep(x); -> d } "
        "else_branch={ a = Neg(x); g = Neg(a); -> g }; -> e }; "
        "s = Strange(x) body={ q = Inner(x); -> q }; -> z,s",
        20);
    assert_int_equal(wefti_graph_add_problem(f.graph, 1, wanted[0].text, NULL),
                     WEFT_OK);
    assert_int_equal(weft_graph_inspect(f.graph, NULL, &f.inspection, NULL), WEFT_OK);
    weft_inspection_get_totals(f.inspection, &f.totals);
    assert_int_equal(f.totals.problem_count, 7);
    for (size_t i = 0; i < 7; i++) {
        const weft_inspect_problem *problem = weft_inspection_problem(f.inspection, i);
        assert_string_equal(problem->text, wanted[i].text);
        assert_int_equal(problem->status, WEFT_UNSUPPORTED);
        assert_int_equal(problem->node, wanted[i].node);
    }
    assert_int_equal(node(&f, "y")->fate, WEFT_FATE_UNSUPPORTED);
    static const char *const kinds[] = {"Nope", "Also", "If", "Deep", "Neg", "Inner"};
    for (size_t i = 0; i < 6; i++) {
        const weft_inspect_inner *inner = weft_inspection_inner(f.inspection, i);
        assert_string_equal(inner->op_type, kinds[i]);
        assert_int_equal(inner->count, i == 4 ? 2 : 1);
        assert_int_equal(inner->is_supported, i == 2 || i == 4);
    }
    assert_null(weft_inspection_inner(f.inspection, 6));
    end(&f);
}

/* y = If(x) with a branch of nodes like this one, that read x. */
static void look_at_branch(fixture *f, const char *branch, const weft_node *like,
                           size_t count)
{
    begin(f);
    add_input(f, "x", 16);
    weft_graph *inside = NULL;
    assert_int_equal(weft_graph_create(20, &inside, NULL), WEFT_OK);
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "t%zu", i);
        weft_node part = *like;
        part.inputs = INPUTS("x");
        part.outputs = INPUTS(name);
        part.input_count = part.output_count = 1;
        assert_int_equal(weft_graph_add_node(inside, &part, NULL), WEFT_OK);
    }
    assert_int_equal(weft_graph_add_output(inside, "t0", NULL), WEFT_OK);
    const weft_attribute attribute = {
        .name = branch, .kind = WEFT_ATTRIBUTE_GRAPH, .graph = inside};
    const weft_node outer = {.op_type = "If",
                             .inputs = INPUTS("x"),
                             .input_count = 1,
                             .outputs = INPUTS("y"),
                             .output_count = 1,
                             .attributes = &attribute,
                             .attribute_count = 1};
    assert_int_equal(weft_graph_add_node(f->graph, &outer, NULL), WEFT_OK);
    weft_graph_release(inside);
    assert_int_equal(weft_graph_add_output(f->graph, "y", NULL), WEFT_OK);
    look(f, 4, 16);
}

/* What passes make is as little for the models' branches as for the models. */
static void test_own_domain_in_a_branch(void **state)
{
    (void)state;
    fixture f;
    look_at_branch(&f, "body",
                   &(weft_node){.op_type = "View", .domain = "weft", .name = "v"}, 1);
    assert_false(weft_inspection_inner(f.inspection, 0)->is_supported);
    assert_int_equal(f.totals.problem_count, 1);
    assert_string_equal(weft_inspection_problem(f.inspection, 0)->text,
                        "the domain 'weft' is not for models (View 'v' in body)");
    weft_error error;
    assert_int_equal(weft_model_create(f.device, f.graph, NULL, &f.model, &error),
                     WEFT_UNSUPPORTED);
    assert_string_equal(error.message,
                        "the domain 'weft' is not for models (node View 'v')");
    end(&f);
}

/* Names that are cut in the middle of a character. */
static void test_long_names_in_a_branch(void **state)
{
    (void)state;
#define TEN "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
    fixture f;
    look_at_branch(&f, "b" TEN TEN TEN,
                   &(weft_node){.op_type = "Nope", .name = "n" TEN TEN TEN TEN}, 1);
    assert_int_equal(f.totals.problem_count, 1);
    assert_string_equal(
        weft_inspection_problem(f.inspection, 0)->text,
        "operator Nope is unknown to this version of weft (Nope 'n" TEN TEN
        "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9? in b" TEN
        "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9?)");
    end(&f);
#undef TEN
}

/* Listed up to a number, counted all. */
static void test_many_problems_of_a_branch(void **state)
{
    (void)state;
    static const struct {
        size_t missing, listed;
        const char *last;
    } cases[] = {
        {100, 100, "operator Nope is unknown to this version of weft (Nope 'n' in b)"},
        {101, 101, "1 more in branches and bodies of this node"},
        {1000, 101, "900 more in branches and bodies of this node"},
    };
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        look_at_branch(&f, "b", &(weft_node){.op_type = "Nope", .name = "n"},
                       cases[i].missing);
        assert_int_equal(f.totals.problem_count, cases[i].listed);
        const weft_inspect_problem *last =
            weft_inspection_problem(f.inspection, cases[i].listed - 1);
        assert_string_equal(last->text, cases[i].last);
        assert_int_equal(last->node, 0);
        assert_int_equal(last->status, WEFT_UNSUPPORTED);
        assert_int_equal(weft_inspection_inner(f.inspection, 0)->count,
                         cases[i].missing);
        end(&f);
    }
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    fixture f;
    build_mlp(&f);
    weft_inspect_params params = WEFT_INSPECT_PARAMS_INIT;
    weft_tensor two[2] = {{.type = WEFT_TYPE_F32}, {.type = WEFT_TYPE_F32}};
    params.inputs = two;
    params.input_count = 2;
    assert_int_equal(weft_graph_inspect(f.graph, &params, &f.inspection, NULL),
                     WEFT_INVALID_ARGUMENT);
    params.input_count = 1;
    two[0].rank = WEFT_MAX_RANK + 1;
    assert_int_equal(weft_graph_inspect(f.graph, &params, &f.inspection, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_inspect(NULL, NULL, &f.inspection, NULL),
                     WEFT_INVALID_ARGUMENT);
    params.struct_size = 1;
    assert_int_equal(weft_graph_inspect(f.graph, &params, &f.inspection, NULL),
                     WEFT_INVALID_ARGUMENT);
    /* Without sizes: what follows from none is there. */
    assert_int_equal(weft_graph_inspect(f.graph, NULL, &f.inspection, NULL), WEFT_OK);
    weft_inspection_get_totals(f.inspection, &f.totals);
    assert_int_equal(f.totals.problem_count, 0);
    assert_true(f.totals.flops == 0);
    end(&f);
}

static void test_without_memory(void **state)
{
    (void)state;
    fixture f;
    build_mlp(&f);
    assert_int_equal(weft_model_create(f.device, f.graph, NULL, &f.model, NULL),
                     WEFT_OK);
    weft_tensor input = {.type = WEFT_TYPE_F32, .rank = 2, .dims = {4, 16}};
    weft_inspect_params params = WEFT_INSPECT_PARAMS_INIT;
    params.model = f.model;
    params.inputs = &input;
    params.input_count = 1;
    int failures = 0;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        assert_true(n < 10000);
        (void)wefti_fault_arm(n, 1U << WEFTI_FAULT_ALLOCATION);
        weft_status status = weft_graph_inspect(f.graph, &params, &f.inspection, NULL);
        failed = wefti_fault_arm(0, 0) >= n;
        assert_true(status == WEFT_OK || (failed && status == WEFT_OUT_OF_MEMORY));
        assert_true((f.inspection != NULL) == (status == WEFT_OK));
        weft_inspection_destroy(f.inspection);
        f.inspection = NULL;
        failures += status != WEFT_OK ? 1 : 0;
    }
    assert_true(failures > 10);
    end(&f);
}

static void test_shapes_in_words(void **state)
{
    (void)state;
    char text[12];
    const wefti_softmax_params softmax = {.row_count = 1000000,
                                          .column_count = 2000000};
    assert_string_equal(
        wefti_kernel_shape(WEFTI_KERNEL_SOFTMAX, &softmax, text, sizeof(text)),
        "1000000 row");
    assert_true(wefti_kernel_flops(WEFTI_KERNEL_SOFTMAX, &softmax) == 8e12);
    const wefti_conv_params conv = {.batch = 2,
                                    .in_channels = 4,
                                    .out_channels = 6,
                                    .groups = 2,
                                    .in_dims = {1, 1, 8},
                                    .out_dims = {1, 1, 8},
                                    .kernel_dims = {1, 1, 3}};
    char words[80];
    assert_string_equal(
        wefti_kernel_shape(WEFTI_KERNEL_CONV, &conv, words, sizeof(words)),
        "2x4x8 -> 6x8, kernel 3, 2 groups");
    assert_true(wefti_kernel_flops(WEFTI_KERNEL_CONV, &conv) ==
                2.0 * 6 * 8 * 2 * 2 * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_costs_without_a_model),
        cmocka_unit_test(test_plan_of_a_model),
        cmocka_unit_test(test_models_without_a_plan),
        cmocka_unit_test(test_every_problem_at_once),
        cmocka_unit_test(test_problems_of_branches),
        cmocka_unit_test(test_own_domain_in_a_branch),
        cmocka_unit_test(test_long_names_in_a_branch),
        cmocka_unit_test(test_many_problems_of_a_branch),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_shapes_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
