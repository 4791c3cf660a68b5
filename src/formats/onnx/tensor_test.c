/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/onnx/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "support/onnx_check.h"

/* Reads a model with one initializer 'w' and compares its data. */
static void expect_data(onnx_builder *builder, Onnx__TensorProto *tensor,
                        const void *data, size_t size_bytes)
{
    onnx_builder_initializer(builder, tensor);
    weft_graph *graph = onnx_check_reads(builder);
    weft_tensor read;
    const char *name = NULL;
    assert_true(weft_graph_get_initializer(graph, 0, &name, &read));
    assert_string_equal(name, "w");
    assert_int_equal(read.type, tensor->data_type);
    assert_int_equal(read.rank, tensor->n_dims);
    assert_int_equal(read.size_bytes, size_bytes);
    assert_non_null(read.data);
    assert_int_equal((uintptr_t)read.data % weft_type_size(read.type), 0);
    if (size_bytes > 0) {
        assert_memory_equal(read.data, data, size_bytes);
    }
    weft_graph_release(graph);
    onnx_builder_fini(builder);
}

static Onnx__TensorProto *start(onnx_builder *builder, int32_t type, size_t rank,
                                const int64_t *dims)
{
    onnx_builder_init(builder, 17);
    return onnx_builder_tensor(builder, "w", type, rank, dims);
}

static const int64_t three[] = {3};

static void reads_typed_data_of_the_same_size(void **state)
{
    (void)state;
    onnx_builder builder;
    float f32[3] = {1.5f, -2, 3};
    double f64[3] = {1.5, -2, 3};
    int64_t i64[3] = {-1, INT64_MAX, INT64_MIN};
    int32_t i32[3] = {-1, INT32_MAX, INT32_MIN};
    Onnx__TensorProto *w = start(&builder, WEFT_TYPE_F32, 1, three);
    w->float_data = f32;
    w->n_float_data = 3;
    expect_data(&builder, w, f32, sizeof f32);
    w = start(&builder, WEFT_TYPE_F64, 1, three);
    w->double_data = f64;
    w->n_double_data = 3;
    expect_data(&builder, w, f64, sizeof f64);
    w = start(&builder, WEFT_TYPE_I64, 1, three);
    w->int64_data = i64;
    w->n_int64_data = 3;
    expect_data(&builder, w, i64, sizeof i64);
    w = start(&builder, WEFT_TYPE_I32, 1, three);
    w->int32_data = i32;
    w->n_int32_data = 3;
    expect_data(&builder, w, i32, sizeof i32);
}

static void narrows_small_types(void **state)
{
    (void)state;
    static const struct {
        weft_type type;
        int32_t values[3];
        uint16_t expected[3]; /* the first bytes of each are compared */
    } cases[] = {
        {WEFT_TYPE_I8, {-128, 0, 127}, {0x80, 0, 0x7f}},
        {WEFT_TYPE_U8, {0, 200, 255}, {0, 200, 255}},
        {WEFT_TYPE_BOOL, {1, 0, 1}, {1, 0, 1}},
        {WEFT_TYPE_F16, {0x3c00, 0, 0xfbff}, {0x3c00, 0, 0xfbff}},
        {WEFT_TYPE_BF16, {0x3f80, 0, 0xffff}, {0x3f80, 0, 0xffff}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        onnx_builder builder;
        int32_t values[3];
        uint8_t expected[6];
        size_t width = weft_type_size(cases[i].type);
        memcpy(values, cases[i].values, sizeof values);
        for (size_t j = 0; j < 3; j++) {
            memcpy(expected + j * width, &cases[i].expected[j], width);
        }
        Onnx__TensorProto *w = start(&builder, cases[i].type, 1, three);
        w->int32_data = values;
        w->n_int32_data = 3;
        expect_data(&builder, w, expected, 3 * width);
    }
}

static void refuses_values_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        weft_type type;
        int32_t value;
    } cases[] = {{WEFT_TYPE_I8, 128}, {WEFT_TYPE_I8, -129}, {WEFT_TYPE_U8, -1},
                 {WEFT_TYPE_U8, 256}, {WEFT_TYPE_BOOL, 2},  {WEFT_TYPE_F16, 65536},
                 {WEFT_TYPE_BF16, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        onnx_builder builder;
        int32_t values[3] = {0, cases[i].value, 0};
        Onnx__TensorProto *w = start(&builder, cases[i].type, 1, three);
        w->int32_data = values;
        w->n_int32_data = 3;
        onnx_builder_initializer(&builder, w);
        onnx_check_refused(&builder, WEFT_INVALID_MODEL, "index 1");
    }
}

static void reads_raw_data_of_every_type(void **state)
{
    (void)state;
    static const weft_type types[] = {WEFT_TYPE_F32,  WEFT_TYPE_F64, WEFT_TYPE_I64,
                                      WEFT_TYPE_I32,  WEFT_TYPE_U8,  WEFT_TYPE_I8,
                                      WEFT_TYPE_BOOL, WEFT_TYPE_F16, WEFT_TYPE_BF16};
    uint8_t data[3 * 8];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i % 3 == 0);
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        onnx_builder builder;
        size_t size = 3 * weft_type_size(types[i]);
        Onnx__TensorProto *w = start(&builder, types[i], 1, three);
        onnx_builder_raw(&builder, w, data, size);
        expect_data(&builder, w, data, size);
        w = start(&builder, types[i], 2, (int64_t[]){3, 1});
        onnx_builder_raw(&builder, w, data, size - 1);
        onnx_builder_initializer(&builder, w);
        onnx_check_refused(&builder, WEFT_INVALID_MODEL, "tensor 'w'");
    }
}

static void reads_scalars_and_empty_tensors(void **state)
{
    (void)state;
    onnx_builder builder;
    float one = 1;
    Onnx__TensorProto *w = start(&builder, WEFT_TYPE_F32, 0, NULL);
    onnx_builder_raw(&builder, w, &one, sizeof one);
    expect_data(&builder, w, &one, sizeof one);
    w = start(&builder, WEFT_TYPE_F32, 2, (int64_t[]){4, 0});
    expect_data(&builder, w, NULL, 0);
    w = start(&builder, WEFT_TYPE_BOOL, 1, (int64_t[]){0});
    onnx_builder_raw(&builder, w, NULL, 0);
    expect_data(&builder, w, NULL, 0);
    w = start(&builder, WEFT_TYPE_F32, 1, (int64_t[]){0});
    onnx_builder_external(&builder, w, "location", "nowhere");
    expect_data(&builder, w, NULL, 0);
}

static void refuses_missing_and_doubled_data(void **state)
{
    (void)state;
    onnx_builder builder;
    float data[3] = {1, 2, 3};
    Onnx__TensorProto *w = start(&builder, WEFT_TYPE_F32, 1, three);
    onnx_builder_initializer(&builder, w);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "needs 3 values");
    w = start(&builder, WEFT_TYPE_F32, 1, three);
    onnx_builder_initializer(&builder, w);
    onnx_builder_raw(&builder, w, data, sizeof data);
    w->float_data = data;
    w->n_float_data = 3;
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "tensor 'w'");
    w = start(&builder, WEFT_TYPE_F32, 1, three);
    onnx_builder_initializer(&builder, w);
    int32_t ints[3] = {1, 2, 3}; /* of another type */
    w->int32_data = ints;
    w->n_int32_data = 3;
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "the file has 0");
    w = start(&builder, WEFT_TYPE_F32, 1, three);
    onnx_builder_initializer(&builder, w);
    Onnx__TensorProto__Segment segment = ONNX__TENSOR_PROTO__SEGMENT__INIT;
    w->segment = &segment;
    onnx_check_refused(&builder, WEFT_UNSUPPORTED, "segments");
}

static void refuses_types_and_shapes(void **state)
{
    (void)state;
    static const struct {
        int32_t type;
        size_t rank;
        int64_t dims[9];
        weft_status status;
        const char *words;
    } cases[] = {
        {8, 1, {1}, WEFT_UNSUPPORTED, "type string"},
        {4, 1, {1}, WEFT_UNSUPPORTED, "type uint16"},
        {14, 1, {1}, WEFT_UNSUPPORTED, "type complex64"},
        {17, 1, {1}, WEFT_UNSUPPORTED, "type float8e4m3fn"},
        {0, 1, {1}, WEFT_INVALID_MODEL, "unknown type 0"},
        {1000, 1, {1}, WEFT_INVALID_MODEL, "unknown type 1000"},
        {-1, 1, {1}, WEFT_INVALID_MODEL, "unknown type -1"},
        {1, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, WEFT_UNSUPPORTED, "9 dimensions"},
        {1, 1, {-1}, WEFT_INVALID_MODEL, "-1"},
        {1, 2, {INT64_MAX, 2}, WEFT_INVALID_MODEL, "overflows"},
        {1, 1, {INT64_MAX}, WEFT_INVALID_MODEL, "larger than memory"},
        {1, 2, {(int64_t)1 << 32, (int64_t)1 << 28}, WEFT_INVALID_MODEL, "needs"},
        {1, 3, {(int64_t)1 << 32, 0, (int64_t)1 << 32}, WEFT_INVALID_MODEL, "overflow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        onnx_builder builder;
        Onnx__TensorProto *w =
            start(&builder, cases[i].type, cases[i].rank, cases[i].dims);
        onnx_builder_initializer(&builder, w);
        onnx_check_refused(&builder, cases[i].status, cases[i].words);
    }
}

static void refuses_bools_beyond_1(void **state)
{
    (void)state;
    onnx_builder builder;
    Onnx__TensorProto *w = start(&builder, WEFT_TYPE_BOOL, 1, three);
    onnx_builder_raw(&builder, w, "\0\1\2", 3);
    onnx_builder_initializer(&builder, w);
    onnx_check_refused(&builder, WEFT_INVALID_MODEL, "index 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_typed_data_of_the_same_size),
        cmocka_unit_test(narrows_small_types),
        cmocka_unit_test(refuses_values_that_do_not_fit),
        cmocka_unit_test(reads_raw_data_of_every_type),
        cmocka_unit_test(reads_scalars_and_empty_tensors),
        cmocka_unit_test(refuses_missing_and_doubled_data),
        cmocka_unit_test(refuses_types_and_shapes),
        cmocka_unit_test(refuses_bools_beyond_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
