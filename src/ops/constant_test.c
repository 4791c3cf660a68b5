/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Operators whose values are known before the run, and casts. */

static void test_constant(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Constant", 13);
    op_ints(&c, "value_ints", 2, I64(4, 5));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(4, 5));
    assert_non_null(c.outputs[0].constant);
    op_end(&c);
    op_begin(&c, "", "Constant", 13);
    op_int(&c, "value_int", 7);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, SCALAR, I64(7));
    op_end(&c);
    op_begin(&c, "", "Constant", 13);
    op_float(&c, "value_float", 7);
    op_run(&c, 1);
    op_expect_f32(&c, 0, SCALAR, F32(7), 0);
    op_end(&c);
    op_begin(&c, "", "Constant", 13);
    op_floats(&c, "value_floats", 1, F32(7));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1), F32(7), 0);
    op_end(&c);
    uint8_t truth[] = {1, 0};
    weft_tensor tensor = {
        .data = truth, .type = WEFT_TYPE_BOOL, .rank = 2, .dims = {1, 2}};
    op_begin(&c, "", "Constant", 13);
    op_tensor(&c, "value", &tensor);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(1, 2), truth);
    op_end(&c);
    op_begin(&c, "", "Constant", 13);
    op_string(&c, "value_string", "word");
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "no value");
    op_end(&c);
}

static void test_constant_of_shape(void **state)
{
    (void)state;
    int64_t value = 1LL << 40;
    weft_tensor tensor = {
        .data = &value, .type = WEFT_TYPE_I64, .rank = 1, .dims = {1}};
    op_case c;
    op_begin(&c, "", "ConstantOfShape", 13);
    op_tensor(&c, "value", &tensor);
    op_list(&c, 2, I64(1, 3));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(1, 3), I64(value, value, value));
    op_end(&c);
    op_begin(&c, "", "ConstantOfShape", 13);
    op_list(&c, 0, NULL);
    op_run(&c, 1);
    op_expect_f32(&c, 0, SCALAR, F32(0), 0);
    op_end(&c);
    op_begin(&c, "", "ConstantOfShape", 13);
    op_list(&c, 2, I64(3, -1));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "-1");
    op_end(&c);
    op_begin(&c, "", "ConstantOfShape", 13);
    op_list(&c, 2, I64(INT64_MAX, 2));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "overflows");
    op_end(&c);
}

static void test_shape_and_size(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Shape", 13);
    op_f32(&c, DIMS(2, 0, 3), NULL);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(3), I64(2, 0, 3));
    op_end(&c);
    op_begin(&c, "", "Shape", 15);
    op_int(&c, "start", -2);
    op_int(&c, "end", 99);
    op_f32(&c, DIMS(2, 0, 3), NULL);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(0, 3));
    op_end(&c);
    op_begin(&c, "", "Shape", 15);
    op_int(&c, "start", 2);
    op_int(&c, "end", INT64_MIN);
    op_f32(&c, DIMS(2, 0, 3), NULL);
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_I64, DIMS(0));
    op_end(&c);
    op_begin(&c, "", "Size", 13);
    op_f32(&c, DIMS(2, 1, 3), NULL);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, SCALAR, I64(6));
    op_end(&c);
}

static void range_begin(op_case *c, int64_t start, int64_t limit, int64_t delta)
{
    op_begin(c, "", "Range", 13);
    op_constant(c, WEFT_TYPE_I64, SCALAR, &start);
    op_constant(c, WEFT_TYPE_I64, SCALAR, &limit);
    op_constant(c, WEFT_TYPE_I64, SCALAR, &delta);
}

static void expect_range(int64_t start, int64_t limit, int64_t delta, int64_t count,
                         const int64_t *values)
{
    op_case c;
    range_begin(&c, start, limit, delta);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(count), values);
    op_end(&c);
}

static void test_range(void **state)
{
    (void)state;
    expect_range(1, 6, 2, 3, I64(1, 3, 5));
    expect_range(1, 5, 2, 2, I64(1, 3));
    expect_range(3, 0, -2, 2, I64(3, 1));
    expect_range(3, 0, 1, 0, NULL);
    expect_range(INT64_MIN, INT64_MAX, INT64_MAX, 3, I64(INT64_MIN, -1, INT64_MAX - 1));
    op_case c;
    op_begin(&c, "", "Range", 13);
    op_constant(&c, WEFT_TYPE_F32, SCALAR, F32(1));
    op_constant(&c, WEFT_TYPE_F32, SCALAR, F32(2));
    op_constant(&c, WEFT_TYPE_F32, SCALAR, F32(0.25F));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4), F32(1, 1.25F, 1.5F, 1.75F), 0);
    op_end(&c);
    range_begin(&c, 0, 9, 0);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "delta (input 2) is 0");
    op_end(&c);
    range_begin(&c, INT64_MIN, INT64_MAX, 1);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "more than");
    op_end(&c);
    op_begin(&c, "", "Range", 13);
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(0));
    op_input(&c, WEFT_TYPE_I64, SCALAR, I64(4));
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(1));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "limit (input 1)");
    op_end(&c);
}

static void test_cast(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Cast", 13);
    op_int(&c, "to", WEFT_TYPE_I64);
    op_f32(&c, DIMS(3), F32(1.9F, -1.9F, 0));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(3), I64(1, -1, 0));
    op_end(&c);
    op_begin(&c, "", "Cast", 13);
    op_int(&c, "to", WEFT_TYPE_BOOL);
    op_f32(&c, DIMS(3), F32(0.5F, -0.0F, NAN));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(3), BOOL(1, 0, 1));
    op_end(&c);
    op_begin(&c, "", "Cast", 13);
    op_int(&c, "to", WEFT_TYPE_F32);
    op_f32(&c, DIMS(1), F32(3));
    op_run(&c, 1);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "CastLike", 15);
    op_input(&c, WEFT_TYPE_BOOL, DIMS(2), BOOL(1, 0));
    op_f32(&c, DIMS(5), NULL);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2), F32(1, 0), 0);
    op_end(&c);
    op_begin(&c, "", "Cast", 13);
    op_int(&c, "to", 8);
    op_f32(&c, DIMS(1), NULL);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "type 8");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),       cmocka_unit_test(test_constant_of_shape),
        cmocka_unit_test(test_shape_and_size), cmocka_unit_test(test_range),
        cmocka_unit_test(test_cast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
