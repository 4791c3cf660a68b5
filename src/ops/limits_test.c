/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

#include "ops/check.h"
#include "ops/lower.h"

/* What a small file may claim: dims beside a dim of 0, constants, types. */

/* Two of them are what an int64_t can count, but not in bytes of f32. */
static const int64_t huge = ((int64_t)1 << 31) - 1;

static void test_product_of_dims(void **state)
{
    (void)state;
    assert_int_equal(wefti_count_dims(0, NULL), 1);
    assert_int_equal(wefti_count_dims(3, I64(2, 3, 4)), 24);
    assert_int_equal(wefti_count_dims(3, I64(2, 0, 4)), 0);
    assert_int_equal(wefti_count_dims(2, I64(huge, huge)), huge * huge);
    assert_int_equal(wefti_count_dims(3, I64(huge, huge, 4)), 0);
}

/* Each infers the shape of nothing, or says that it cannot. */
static void test_huge_dims_beside_none(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "GridSample", 22);
    op_f32(&c, DIMS(0, 1, 2, 2), NULL);
    op_f32(&c, DIMS(0, huge, huge, 2), NULL);
    assert_int_equal(op_infer(&c, 1), WEFT_OK);
    op_end(&c);
    op_begin(&c, "", "Det", 22);
    op_f32(&c, DIMS(huge, huge, 0, 0), NULL);
    assert_int_equal(op_infer(&c, 1), WEFT_INVALID_ARGUMENT);
    op_end(&c);
    op_begin(&c, "", "Compress", 11);
    op_int(&c, "axis", 1);
    op_constant(&c, WEFT_TYPE_F32, DIMS(0, 1, huge, huge), NULL);
    op_constant(&c, WEFT_TYPE_BOOL, DIMS(1), BOOL(1));
    assert_int_equal(op_infer(&c, 1), WEFT_OK);
    op_end(&c);
    op_begin(&c, "", "TensorScatter", 24);
    op_f32(&c, DIMS(0, 2, huge, huge), NULL);
    op_f32(&c, DIMS(0, 1, huge, huge), NULL);
    op_int(&c, "axis", 1);
    assert_int_equal(op_infer(&c, 1), WEFT_OK);
    op_end(&c);
}

static void test_slices_of_nothing(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Unique", 11);
    op_int(&c, "axis", 0);
    op_constant(&c, WEFT_TYPE_F32, DIMS(268435456, 0), NULL);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "slices without elements");
    op_end(&c);
    op_begin(&c, "", "Unique", 11);
    op_int(&c, "axis", 0);
    op_constant(&c, WEFT_TYPE_F32, DIMS(5, 0), NULL);
    assert_int_equal(op_infer(&c, 1), WEFT_OK);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(1, 0));
    op_end(&c);
}

static void test_wide_type(void **state)
{
    (void)state;
    const int64_t types[] = {((int64_t)1 << 32) + 1, -1, 32, 3};
    for (size_t i = 0; i < WEFTI_COUNT_OF(types); i++) {
        op_case c;
        op_begin(&c, "", "EyeLike", 9);
        op_int(&c, "dtype", types[i]);
        op_f32(&c, DIMS(2, 2), F32(1, 2, 3, 4));
        op_expect_error(&c, 1, WEFT_UNSUPPORTED, "dtype");
        op_end(&c);
    }
}

/* A constant of `count` bytes, made by a node named 'n'. */
static weft_status make(wefti_program *program, int64_t count, weft_error *error)
{
    wefti_node_view node = {.label = "DFT 'n'"};
    wefti_lowering lowering = {.program = program, .node = &node, .error = error};
    wefti_view view;
    uint8_t *data = calloc((size_t)count + 1, 1);
    weft_status status =
        wefti_lower_constant(&lowering, WEFT_TYPE_U8, 1, &count, data, &view);
    free(data);
    return status;
}

/* All nodes of a program share it; those of one leave room for no other. */
static void test_constants_of_a_program(void **state)
{
    (void)state;
    wefti_program program;
    weft_error error = {0};
    int32_t index = 0;
    wefti_program_init(&program);
    assert_int_equal(make(&program, 1000, &error), WEFT_OK);
    assert_int_equal(program.made_bytes, 1000);
    program.made_bytes = WEFTI_LOWER_MADE_BYTES - 100;
    assert_int_equal(make(&program, 101, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "DFT 'n'"));
    assert_int_equal(make(&program, 100, &error), WEFT_OK);
    assert_int_equal(make(&program, 1, &error), WEFT_UNSUPPORTED);
    wefti_buffer weights = {
        .kind = WEFTI_BUFFER_CONSTANT, .constant = &error, .size_bytes = 50};
    assert_int_equal(wefti_program_add_buffer(&program, &weights, &index, &error),
                     WEFT_OK);
    assert_int_equal(make(&program, 51, &error), WEFT_UNSUPPORTED);
    assert_int_equal(make(&program, 50, &error), WEFT_OK);
    assert_int_equal(make(&program, 1, &error), WEFT_UNSUPPORTED);
    wefti_program_fini(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product_of_dims),
        cmocka_unit_test(test_huge_dims_beside_none),
        cmocka_unit_test(test_slices_of_nothing),
        cmocka_unit_test(test_wide_type),
        cmocka_unit_test(test_constants_of_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
