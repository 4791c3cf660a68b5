/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/context.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/testing.h"
#include "graph/graph.h"
#include "support/onnx_check.h"

static void reads_a_small_model(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_make_small(&builder);
    weft_graph *graph = onnx_check_reads(&builder);
    onnx_builder_fini(&builder);
    assert_int_equal(graph->opset, 17);
    assert_int_equal(graph->input_count, 1);
    const weft_value_info *x = &graph->inputs[0].info;
    assert_string_equal(x->name, "x");
    assert_int_equal(x->type, WEFT_TYPE_F32);
    assert_int_equal(x->rank, 2);
    assert_int_equal(x->dims[0], WEFT_DIM_DYNAMIC);
    assert_string_equal(x->dim_names[0], "n");
    assert_int_equal(x->dims[1], 2);
    assert_null(x->dim_names[1]);
    assert_int_equal(graph->node_count, 3);
    assert_string_equal(graph->nodes[1].op_type, "Gemm");
    assert_int_equal(graph->nodes[1].input_count, 3);
    assert_int_equal(graph->initializer_count, 1);
    assert_int_equal(graph->output_count, 1);
    assert_int_equal(graph->outputs[0], wefti_graph_find_value(graph, "y"));
    weft_graph_release(graph);
}

static const weft_attribute *attribute(const weft_graph *graph, size_t index)
{
    return &graph->nodes[0].attributes[index];
}

static void reads_every_kind_of_attribute(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_init(&builder, 17);
    Onnx__NodeProto *node = onnx_builder_node(&builder, "Any", "a", "x", "y");
    static const char *const names[] = {"f", "i", "s", "t", "fs", "is", "ss"};
    static const int kinds[] = {1, 2, 3, 4, 6, 7, 8};
    Onnx__AttributeProto *made[7];
    ProtobufCBinaryData texts[2] = {{4, (uint8_t *)onnx_builder_text(&builder, "Relu")},
                                    {0, NULL}};
    float floats[2] = {1, -2};
    int64_t ints[2] = {INT64_MIN, INT64_MAX};
    for (int i = 0; i < 7; i++) {
        made[i] = onnx_builder_attribute(&builder, node, names[i],
                                         (Onnx__AttributeProto__AttributeType)kinds[i]);
    }
    made[0]->has_f = 1;
    made[0]->f = 0.25f;
    made[1]->has_i = 1;
    made[1]->i = -7;
    made[2]->has_s = 1;
    made[2]->s =
        (ProtobufCBinaryData){4, (uint8_t *)onnx_builder_text(&builder, "tanh")};
    made[3]->t = onnx_builder_tensor(&builder, "", WEFT_TYPE_I64, 0, NULL);
    onnx_builder_raw(&builder, made[3]->t, &ints[1], 8);
    made[4]->floats = floats;
    made[4]->n_floats = 2;
    made[5]->ints = ints;
    made[5]->n_ints = 2;
    made[6]->strings = texts;
    made[6]->n_strings = 2;
    weft_graph *graph = onnx_check_reads(&builder);
    onnx_builder_fini(&builder);
    assert_true(attribute(graph, 0)->f == 0.25f);
    assert_int_equal(attribute(graph, 1)->i, -7);
    assert_string_equal(attribute(graph, 2)->s, "tanh");
    assert_int_equal(attribute(graph, 3)->tensor->type, WEFT_TYPE_I64);
    assert_memory_equal(attribute(graph, 3)->tensor->data, &ints[1], 8);
    assert_memory_equal(attribute(graph, 4)->floats, floats, sizeof floats);
    assert_memory_equal(attribute(graph, 5)->ints, ints, sizeof ints);
    assert_int_equal(attribute(graph, 5)->count, 2);
    assert_int_equal(attribute(graph, 6)->count, 2);
    assert_string_equal(attribute(graph, 6)->strings[0], "Relu");
    assert_string_equal(attribute(graph, 6)->strings[1], "");
    weft_graph_release(graph);
}

static void refuses_attributes_without_a_meaning(void **state)
{
    (void)state;
    static const struct {
        int kind;
        weft_status status;
        const char *words;
    } cases[] = {{5, WEFT_INVALID_MODEL, "no graph"},
                 {10, WEFT_UNSUPPORTED, "a list of graphs"},
                 {11, WEFT_UNSUPPORTED, "sparse"},
                 {13, WEFT_UNSUPPORTED, "holds a type"},
                 {9, WEFT_UNSUPPORTED, "list of tensors"},
                 {0, WEFT_INVALID_MODEL, "unknown kind 0"},
                 {99, WEFT_INVALID_MODEL, "unknown kind 99"},
                 {4, WEFT_INVALID_MODEL, "no tensor"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        onnx_builder builder;
        onnx_builder_init(&builder, 17);
        Onnx__NodeProto *node = onnx_builder_node(&builder, "If", "branch", "x", "y");
        onnx_builder_attribute(&builder, node, "then",
                               (Onnx__AttributeProto__AttributeType)cases[i].kind);
        onnx_check_refused(&builder, cases[i].status, "node If 'branch'");
        onnx_builder_init(&builder, 17);
        node = onnx_builder_node(&builder, "If", "", "x", "y");
        onnx_builder_attribute(&builder, node, "then",
                               (Onnx__AttributeProto__AttributeType)cases[i].kind);
        onnx_check_refused(&builder, cases[i].status, cases[i].words);
    }
}

static void refuses_wrong_attribute_names(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_init(&builder, 17);
    Onnx__NodeProto *node = onnx_builder_node(&builder, "Relu", "r", "x", "y");
    Onnx__AttributeProto *bad = onnx_builder_attribute(
        &builder, node, "", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "no name");
    onnx_builder_init(&builder, 17);
    node = onnx_builder_node(&builder, "Relu", "r", "x", "y");
    bad = onnx_builder_attribute(&builder, node, "alpha",
                                 ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    bad->ref_attr_name = onnx_builder_text(&builder, "beta");
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "function's attribute");
    onnx_builder_init(&builder, 17);
    node = onnx_builder_node(&builder, "Relu", "r", "x", "y");
    bad = onnx_builder_attribute(&builder, node, "mode",
                                 ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    bad->has_s = 1;
    bad->s = (ProtobufCBinaryData){3, (uint8_t *)onnx_builder_alloc(&builder, 3)};
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "zero byte");
    onnx_builder_init(&builder, 17);
    onnx_builder_node(&builder, "", "r", "x", "y");
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "no operator");
}

static void checks_the_opset(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_init(&builder, 6);
    onnx_check_refused(&builder, WEFT_UNSUPPORTED, "6");
    onnx_builder_init(&builder, 29);
    onnx_check_refused(&builder, WEFT_UNSUPPORTED, "29");
    onnx_builder_init(&builder, -1);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "which opset");
    onnx_builder_init(&builder, (int64_t)1 << 40);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "which opset");
    onnx_builder_init(&builder, 0);
    onnx_builder_opset(&builder, "com.example", 1);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "which opset");
    onnx_builder_init(&builder, 17);
    onnx_builder_opset(&builder, "ai.onnx", 18);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "two opsets");
    for (int64_t opset = 7; opset <= 28; opset++) {
        onnx_builder_init(&builder, 0);
        onnx_builder_opset(&builder, "ai.onnx", opset);
        onnx_builder_opset(&builder, "com.example", 99);
        onnx_builder_opset(&builder, "", opset);
        weft_graph *graph = onnx_check_reads(&builder);
        assert_int_equal(graph->opset, opset);
        weft_graph_release(graph);
        onnx_builder_fini(&builder);
    }
}

static void takes_inputs_with_initializers_as_constants(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_make_small(&builder);
    onnx_builder_input(&builder, "w", WEFT_TYPE_F32, 2, (int64_t[]){-1, 3});
    weft_graph *graph = onnx_check_reads(&builder);
    onnx_builder_fini(&builder);
    weft_value_info info;
    weft_tensor value;
    assert_int_equal(graph->input_count, 1);
    assert_int_equal(graph->initializer_count, 1);
    assert_int_equal(weft_graph_default_input_count(graph), 1);
    assert_true(weft_graph_get_default_input(graph, 0, &info, &value));
    assert_false(weft_graph_get_default_input(graph, 1, &info, &value));
    assert_string_equal(info.name, "w");
    assert_int_equal(info.dims[0], WEFT_DIM_DYNAMIC);
    assert_string_equal(info.dim_names[0], "n");
    assert_int_equal(value.dims[0], 2);
    assert_non_null(value.data);
    weft_graph_release(graph);
}

static void refuses_defaults_that_do_not_fit_their_inputs(void **state)
{
    (void)state;
    static const int64_t wrong[] = {3, 2}, right[] = {2, 3};
    onnx_builder builder;
    onnx_builder_make_small(&builder);
    onnx_builder_input(&builder, "w", WEFT_TYPE_F32, 2, wrong);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "input 'w' and the initializer");
    onnx_builder_make_small(&builder);
    onnx_builder_input(&builder, "w", WEFT_TYPE_F64, 2, right);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "different types or shapes");
    onnx_builder_make_small(&builder);
    onnx_builder_input(&builder, "w", WEFT_TYPE_F32, 2, right);
    onnx_builder_input(&builder, "w", WEFT_TYPE_F32, 2, right);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "'w' is taken twice");
}

/* Runs y = f(x) and, where the model has a second input, f of x and w. */
static void run_small(weft_graph *graph, const float *w, float *y)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device *device = NULL;
    weft_model *model = NULL;
    weft_error error = {0};
    float x[2] = {1, -2};
    params.worker_count = 0;
    assert_int_equal(weft_device_open("cpu", &params, &device, NULL), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, NULL, &model, &error), WEFT_OK);
    weft_tensor inputs[2] = {
        {.data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, 2}},
        {.data = (void *)(uintptr_t)w,
         .type = WEFT_TYPE_F32,
         .rank = 2,
         .dims = {2, 3}}};
    weft_tensor output = {.data = y, .size_bytes = 3 * sizeof(float), .rank = -1};
    weft_io io = {inputs, w != NULL ? 2 : 1, &output, 1};
    assert_int_equal(weft_model_input_count(model), io.input_count);
    assert_int_equal(weft_model_find_input(model, "w"), w != NULL ? 1 : -1);
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_OK);
    weft_model_release(model);
    weft_device_release(device);
}

/* The value that a caller gives takes the place of the default. */
static void takes_an_input_instead_of_its_default(void **state)
{
    (void)state;
    float as_default[3], as_given[3], other[3], mine[6];
    for (int i = 0; i < 4; i++) {
        onnx_builder builder;
        onnx_builder_make_small(&builder);
        onnx_builder_input(&builder, "w", WEFT_TYPE_F32, 2, (int64_t[]){2, 3});
        weft_graph *graph = onnx_check_reads(&builder);
        onnx_builder_fini(&builder);
        weft_value_info info;
        weft_tensor value;
        assert_true(weft_graph_get_default_input(graph, 0, &info, &value));
        memcpy(mine, value.data, sizeof mine);
        if (i > 0) {
            assert_int_equal(weft_graph_require_input(graph, "w", NULL), WEFT_OK);
            assert_int_equal(weft_graph_default_input_count(graph), 0);
        }
        assert_int_equal(weft_graph_require_input(graph, i ? "w" : "x", NULL),
                         WEFT_NOT_FOUND);
        for (int j = 0; i == 2 && j < 6; j++) {
            mine[j] += (float)(j + 1);
        }
        run_small(graph, i ? mine : NULL,
                  i == 0   ? as_default
                  : i == 2 ? other
                           : as_given);
        assert_int_equal(weft_graph_require_input(graph, "w", NULL),
                         WEFT_INVALID_ARGUMENT); /* a model was made of it */
        weft_graph_release(graph);
    }
    assert_memory_equal(as_default, as_given, sizeof as_given);
    assert_memory_not_equal(as_default, other, sizeof other);
}

static void reads_shapes_that_may_vary(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_init(&builder, 17);
    Onnx__ValueInfoProto *a =
        onnx_builder_input(&builder, "a", WEFT_TYPE_I64, 3, (int64_t[]){1, 1, 1});
    Onnx__ValueInfoProto *b =
        onnx_builder_input(&builder, "b", WEFT_TYPE_BOOL, 0, NULL);
    Onnx__TensorShapeProto__Dimension **dims = a->type->tensor_type->shape->dim;
    dims[0]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
    dims[1]->dim_value = -1;
    dims[2]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    dims[2]->dim_param = onnx_builder_text(&builder, "");
    b->type->tensor_type->shape = NULL;
    weft_graph *graph = onnx_check_reads(&builder);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(graph->inputs[0].info.dims[i], WEFT_DIM_DYNAMIC);
        assert_null(graph->inputs[0].info.dim_names[i]);
    }
    assert_int_equal(graph->inputs[1].info.rank, -1);
    assert_int_equal(graph->inputs[1].info.type, WEFT_TYPE_BOOL);
    weft_graph_release(graph);
    dims[1]->dim_value = -2;
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "input 'a'");
}

static void refuses_inputs_that_are_no_tensors(void **state)
{
    (void)state;
    static const struct {
        int kind;
        weft_status status;
        const char *words;
    } cases[] = {
        {ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE, WEFT_UNSUPPORTED, "a sequence"},
        {ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE, WEFT_UNSUPPORTED, "optional"},
        {ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE, WEFT_UNSUPPORTED, "sparse"},
        {ONNX__TYPE_PROTO__VALUE_MAP_TYPE, WEFT_UNSUPPORTED, "a map"},
        {ONNX__TYPE_PROTO__VALUE__NOT_SET, WEFT_INVALID_MODEL, "no type"}};
    Onnx__TypeProto__Sequence sequence = ONNX__TYPE_PROTO__SEQUENCE__INIT;
    Onnx__TypeProto__Optional optional = ONNX__TYPE_PROTO__OPTIONAL__INIT;
    Onnx__TypeProto__SparseTensor sparse = ONNX__TYPE_PROTO__SPARSE_TENSOR__INIT;
    Onnx__TypeProto__Map map = ONNX__TYPE_PROTO__MAP__INIT;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        onnx_builder builder;
        onnx_builder_init(&builder, 17);
        Onnx__TypeProto *type =
            onnx_builder_input(&builder, "list", WEFT_TYPE_F32, 0, NULL)->type;
        type->value_case = (Onnx__TypeProto__ValueCase)cases[i].kind;
        switch (cases[i].kind) {
        case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
            type->sequence_type = &sequence;
            break;
        case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
            type->optional_type = &optional;
            break;
        case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
            type->sparse_tensor_type = &sparse;
            break;
        default:
            type->map_type = &map;
        }
        onnx_check_refused(&builder, cases[i].status, cases[i].words);
    }
    onnx_builder builder;
    onnx_builder_init(&builder, 17);
    onnx_builder_input(&builder, "text", 8, 0, NULL);
    onnx_check_refused(&builder, WEFT_UNSUPPORTED, "input 'text': its type string");
    onnx_builder_init(&builder, 17);
    onnx_builder_input(&builder, "many", 1, 9, (int64_t[9]){0});
    onnx_check_refused(&builder, WEFT_UNSUPPORTED, "input 'many': it has 9");
}

static void refuses_names_taken_twice(void **state)
{
    (void)state;
    onnx_builder builder;
    float one = 1;
    onnx_builder_init(&builder, 17);
    onnx_builder_input(&builder, "x", WEFT_TYPE_F32, 0, NULL);
    onnx_builder_input(&builder, "x", WEFT_TYPE_F32, 0, NULL);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "'x'");
    for (int i = 0; i < 3; i++) {
        onnx_builder_init(&builder, 17);
        Onnx__TensorProto *w =
            onnx_builder_tensor(&builder, i ? "w" : "", WEFT_TYPE_F32, 0, NULL);
        onnx_builder_raw(&builder, w, &one, sizeof one);
        onnx_builder_initializer(&builder, w);
        if (i == 1) {
            onnx_builder_initializer(&builder, w);
        }
        if (i == 2) {
            onnx_builder_node(&builder, "Relu", "r", "x", "w");
        }
        onnx_check_refused(&builder, WEFT_INVALID_MODEL, i ? "'w'" : "name");
    }
    onnx_builder_init(&builder, 17);
    onnx_builder_node(&builder, "Split", "s", "x", "a,b,a");
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "'a'");
    onnx_builder_init(&builder, 17);
    onnx_builder_input(&builder, "a\033[2J", WEFT_TYPE_F32, 0, NULL);
    onnx_builder_input(&builder, "a\033[2J", WEFT_TYPE_F32, 0, NULL);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "'a?[2J'");
}

static void refuses_functions_only_when_called(void **state)
{
    (void)state;
    Onnx__FunctionProto first = ONNX__FUNCTION_PROTO__INIT, second = first;
    Onnx__FunctionProto *functions[] = {&first, &second};
    for (int called = 0; called < 2; called++) {
        onnx_builder builder;
        onnx_builder_make_small(&builder);
        first.name = onnx_builder_text(&builder, "Zeta");
        second.name = onnx_builder_text(&builder, "Alpha");
        first.domain = second.domain = onnx_builder_text(&builder, "my");
        builder.model->functions = functions;
        builder.model->n_functions = 2;
        Onnx__NodeProto *node = onnx_builder_node(&builder, "Zeta", "caller", "y", "z");
        node->domain = onnx_builder_text(&builder, called ? "my" : "other");
        if (called) {
            onnx_check_refused(&builder, WEFT_UNSUPPORTED, "node 'caller'");
        } else {
            weft_graph_release(onnx_check_reads(&builder));
            onnx_builder_fini(&builder);
        }
    }
}

static void all_unknown_operators_are_named_at_once(void **state)
{
    (void)state;
    onnx_builder builder;
    weft_device *device = NULL;
    weft_model *model = NULL;
    weft_error error = {0};
    onnx_builder_make_small(&builder);
    onnx_builder_node(&builder, "Wobble", "first", "y", "p");
    onnx_builder_node(&builder, "Wobble", "second", "p", "q");
    onnx_builder_node(&builder, "Gnaw", "third", "q", "r")->domain =
        onnx_builder_text(&builder, "com.example");
    weft_graph *graph = onnx_check_reads(&builder);
    onnx_builder_fini(&builder);
    assert_int_equal(weft_device_open("null", NULL, &device, NULL), WEFT_OK);
    assert_int_equal(weft_model_create(device, graph, NULL, &model, &error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "(node Wobble 'first')"));
    assert_null(strstr(error.message, "second"));
    assert_non_null(strstr(error.message, "com.example::Gnaw"));
    assert_non_null(strstr(error.message, "(node Gnaw 'third')"));
    weft_graph_release(graph);
    weft_device_release(device);
}

static void refuses_sparse_initializers(void **state)
{
    (void)state;
    onnx_builder builder;
    Onnx__SparseTensorProto sparse = ONNX__SPARSE_TENSOR_PROTO__INIT;
    Onnx__SparseTensorProto *list[] = {&sparse};
    onnx_builder_init(&builder, 17);
    sparse.values = onnx_builder_tensor(&builder, "thin", WEFT_TYPE_F32, 0, NULL);
    builder.graph->sparse_initializer = list;
    builder.graph->n_sparse_initializer = 1;
    onnx_check_refused(&builder, WEFT_UNSUPPORTED, "'thin'");
}

static void refuses_files_that_are_no_models(void **state)
{
    (void)state;
    weft_graph *graph = NULL;
    weft_error error;
    static const char text[] = "PK\3\4 this is a zip, is it not?";
    assert_int_equal(
        onnx_check_bytes((const uint8_t *)text, sizeof text, &graph, &error),
        WEFT_INVALID_MODEL);
    assert_int_equal(onnx_check_bytes(NULL, 0, &graph, &error), WEFT_INVALID_MODEL);
    assert_non_null(strstr(error.message, "no graph"));
    assert_int_equal(weft_graph_parse_onnx(NULL, 0, NULL, &graph, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_parse_onnx("", 0, NULL, NULL, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_graph_load_params params = {0};
    assert_int_equal(weft_graph_parse_onnx("", 0, &params, &graph, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_load_onnx("/nowhere.onnx", NULL, &graph, &error),
                     WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nowhere.onnx"));
    assert_int_equal(weft_graph_load_onnx("/tmp", NULL, &graph, &error), WEFT_IO_ERROR);
}

/* A cut or spoilt model is read or refused with words, and nothing is left over (the
 * address sanitizer looks). */
static void read_spoilt(const uint8_t *bytes, size_t size)
{
    weft_graph *graph = NULL;
    weft_error error = {0};
    weft_status status = onnx_check_bytes(bytes, size, &graph, &error);
    if (status == WEFT_OK) {
        weft_graph_release(graph);
        return;
    }
    assert_null(graph);
    assert_int_equal(error.status, status);
    assert_true(strlen(error.message) > 10);
    assert_true(status == WEFT_INVALID_MODEL || status == WEFT_UNSUPPORTED ||
                status == WEFT_INVALID_ARGUMENT);
}

static void survives_every_truncation(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_make_small(&builder);
    size_t size = 0;
    const uint8_t *bytes = onnx_builder_pack(&builder, &size);
    for (size_t cut = 0; cut < size; cut++) {
        read_spoilt(bytes, cut);
    }
    onnx_builder_fini(&builder);
}

static void survives_every_flipped_bit_and_many_together(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_make_small(&builder);
    size_t size = 0;
    uint8_t *bytes = onnx_builder_pack(&builder, &size);
    uint8_t *copy = onnx_builder_alloc(&builder, size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read_spoilt(bytes, size);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    uint64_t random = 42;
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, bytes, size);
        for (int flip = 0; flip < 2 + round % 7; flip++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            copy[(random >> 33) % size] = (uint8_t)(random >> 25);
        }
        read_spoilt(copy, size);
    }
    onnx_builder_fini(&builder);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    onnx_builder builder;
    onnx_builder_make_small(&builder);
    size_t size = 0;
    const uint8_t *bytes = onnx_builder_pack(&builder, &size);
    weft_status status = WEFT_OUT_OF_MEMORY;
    uint64_t n = 0;
    while (status != WEFT_OK) {
        weft_graph *graph = NULL;
        weft_error error = {0};
        assert_true(++n < 10000);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        status = weft_graph_parse_onnx(bytes, size, NULL, &graph, &error);
        wefti_fault_arm(0, 0);
        if (status != WEFT_OK) {
            assert_int_equal(status, WEFT_OUT_OF_MEMORY);
            assert_int_equal(error.status, WEFT_OUT_OF_MEMORY);
        }
        weft_graph_release(graph);
    }
    assert_true(n > 50);
    onnx_builder_fini(&builder);
}

/* What comes of a model that takes x [-1, columns], and gives y and p, a product of it
 * with a matrix of 2 rows and 3 columns; p is declared so. */
static weft_status make_declared(int64_t batch, int32_t type, size_t rank,
                                 const int64_t *dims, weft_error *error)
{
    onnx_builder builder;
    const float weights[6] = {1, 2, 3, 4, 5, 6};
    onnx_builder_init(&builder, 17);
    onnx_builder_input(&builder, "x", WEFT_TYPE_F32, 2, (int64_t[]){batch, 2});
    Onnx__TensorProto *w =
        onnx_builder_tensor(&builder, "w", WEFT_TYPE_F32, 2, (int64_t[]){2, 3});
    onnx_builder_raw(&builder, w, weights, sizeof weights);
    onnx_builder_initializer(&builder, w);
    onnx_builder_node(&builder, "Relu", "", "x", "y");
    onnx_builder_node(&builder, "MatMul", "", "x,w", "p");
    onnx_builder_output(&builder, "y");
    onnx_builder_declared(&builder, "p", type, rank, dims);
    weft_graph *graph = onnx_check_reads(&builder);
    onnx_builder_fini(&builder);
    weft_device *device = NULL;
    weft_model *model = NULL;
    assert_int_equal(weft_device_open("null", NULL, &device, NULL), WEFT_OK);
    weft_status status = weft_model_create(device, graph, NULL, &model, error);
    weft_model_release(model);
    weft_graph_release(graph);
    weft_device_release(device);
    return status;
}

static void declared(int64_t batch, int32_t type, size_t rank, const int64_t *dims,
                     const char *text)
{
    weft_error error = {0};
    weft_status status = make_declared(batch, type, rank, dims, &error);
    assert_int_equal(status, text != NULL ? WEFT_INVALID_MODEL : WEFT_OK);
    if (text != NULL && strstr(error.message, text) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", text, error.message);
    }
}

static void refuses_outputs_that_are_declared_otherwise(void **state)
{
    (void)state;
    declared(4, WEFT_TYPE_F32, 2, (int64_t[]){4, 3}, NULL);
    declared(4, WEFT_TYPE_F32, 2, (int64_t[]){-1, -1}, NULL);
    declared(4, WEFT_TYPE_F32, 0, NULL, NULL); /* a rank says little */
    declared(4, WEFT_TYPE_F32, 2, (int64_t[]){4, 5},
             "output 'p': dimension 1 is declared as 5, but the graph gives 3");
    declared(4, WEFT_TYPE_F32, 2, (int64_t[]){1, 3}, "dimension 0 is declared as 1");
    declared(4, WEFT_TYPE_I64, 2, (int64_t[]){4, 3},
             "output 'p' is declared as i64, but the graph gives f32");
    /* A batch of any size, declared as the one that was exported. */
    declared(-1, WEFT_TYPE_F32, 2, (int64_t[]){1, 3}, NULL);
    declared(-1, WEFT_TYPE_F32, 2, (int64_t[]){-1, 7}, "dimension 1 is declared as 7");
}

/* A Loop with an If inside that reads both graphs around it, and a Scan. */
static size_t read_loop(uint8_t *bytes, size_t most)
{
    FILE *file = fopen(WEFT_SOURCE_DIR "/tests/corpus/onnx/loop.onnx", "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, most, file);
    fclose(file);
    assert_true(size > 100 && size < most);
    return size;
}

static void reads_graphs_inside_of_nodes(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    size_t size = read_loop(bytes, sizeof bytes);
    weft_graph *graph = NULL;
    assert_int_equal(weft_graph_parse_onnx(bytes, size, NULL, &graph, NULL), WEFT_OK);
    assert_int_equal(graph->nesting, 2);
    const wefti_graph_node *loop = &graph->nodes[0];
    assert_string_equal(loop->op_type, "Loop");
    /* m, no condition, x; and x again, which the branch inside reads */
    assert_int_equal(loop->input_count, 4);
    assert_int_equal(loop->inputs[1], -1);
    assert_int_equal(loop->inputs[3], wefti_graph_find_value(graph, "x"));
    const weft_graph *body = loop->attributes[0].graph;
    assert_int_equal(body->input_count, 4);
    assert_int_equal(body->capture_count, 1);
    const weft_graph *then = body->nodes[1].attributes[1].graph;
    assert_int_equal(then->capture_count, 2);
    assert_int_equal(then->input_count, 2);
    assert_int_equal(graph->output_infos[0].rank, -1);
    assert_int_equal(graph->output_infos[1].type, WEFT_TYPE_I64);
    weft_graph_release(graph);
}

static void survives_every_spoilt_graph_inside_of_a_node(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    size_t size = read_loop(bytes, sizeof bytes);
    for (size_t cut = 0; cut < size; cut++) {
        weft_graph *graph = NULL;
        assert_int_not_equal(onnx_check_bytes(bytes, cut, &graph, NULL), WEFT_OK);
        weft_graph_release(graph);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        weft_graph *graph = NULL;
        weft_error error = {0};
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        weft_status status = onnx_check_bytes(bytes, size, &graph, &error);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(status == error.status && status != WEFT_INTERNAL);
        weft_graph_release(graph);
    }
    weft_status status = WEFT_OUT_OF_MEMORY;
    for (uint64_t n = 1; status != WEFT_OK; n++) {
        weft_graph *graph = NULL;
        assert_true(n < 10000);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        status = weft_graph_parse_onnx(bytes, size, NULL, &graph, NULL);
        wefti_fault_arm(0, 0);
        weft_graph_release(graph);
    }
}

/* Which node, in which graph. */
static void names_the_graph_that_is_wrong(void **state)
{
    (void)state;
    onnx_builder inner, outer;
    onnx_builder_init(&inner, 17);
    onnx_builder_init(&outer, 17);
    Onnx__NodeProto *bad = onnx_builder_node(&inner, "Neg", "bad", "x", "z");
    onnx_builder_attribute(&inner, bad, "what", 99);
    Onnx__NodeProto *branch = onnx_builder_node(&outer, "If", "branch", "x", "y");
    onnx_builder_attribute(&outer, branch, "then_branch",
                           ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)
        ->g = inner.graph;
    onnx_check_refused(&outer, WEFT_INVALID_MODEL,
                       "node If 'branch': the attribute 'then_branch': node Neg 'bad': "
                       "the attribute 'what'");
    onnx_builder_fini(&inner);
}

static void refuses_graphs_that_are_nested_too_deep(void **state)
{
    (void)state;
    enum { DEPTH = 20 };
    onnx_builder builders[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
        onnx_builder_init(&builders[i], 17);
        Onnx__NodeProto *node = onnx_builder_node(&builders[i], "If", "", "x", "y");
        if (i > 0) {
            onnx_builder_attribute(&builders[i], node, "then_branch",
                                   ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)
                ->g = builders[i - 1].graph;
        }
    }
    onnx_check_refused(&builders[DEPTH - 1], WEFT_INVALID_MODEL, "levels deep");
    for (int i = 0; i < DEPTH - 1; i++) {
        onnx_builder_fini(&builders[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_small_model),
        cmocka_unit_test(reads_every_kind_of_attribute),
        cmocka_unit_test(refuses_attributes_without_a_meaning),
        cmocka_unit_test(refuses_wrong_attribute_names),
        cmocka_unit_test(checks_the_opset),
        cmocka_unit_test(takes_inputs_with_initializers_as_constants),
        cmocka_unit_test(refuses_defaults_that_do_not_fit_their_inputs),
        cmocka_unit_test(takes_an_input_instead_of_its_default),
        cmocka_unit_test(reads_shapes_that_may_vary),
        cmocka_unit_test(refuses_inputs_that_are_no_tensors),
        cmocka_unit_test(refuses_names_taken_twice),
        cmocka_unit_test(refuses_functions_only_when_called),
        cmocka_unit_test(all_unknown_operators_are_named_at_once),
        cmocka_unit_test(refuses_sparse_initializers),
        cmocka_unit_test(refuses_files_that_are_no_models),
        cmocka_unit_test(refuses_outputs_that_are_declared_otherwise),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(survives_every_flipped_bit_and_many_together),
        cmocka_unit_test(survives_every_failed_allocation),
        cmocka_unit_test(reads_graphs_inside_of_nodes),
        cmocka_unit_test(survives_every_spoilt_graph_inside_of_a_node),
        cmocka_unit_test(names_the_graph_that_is_wrong),
        cmocka_unit_test(refuses_graphs_that_are_nested_too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
