/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Scales: by row, by column, and very small ones. */

typedef struct scales {
    int64_t a, b, y; /* how many; 0: a scalar */
    float a_values[3], b_values[3];
} scales;

/* [2, 3] * [3, 3], the second being ones. */
static void begin_product(op_case *c, const scales *s)
{
    static const float one[] = {1, 1, 1};
    static const uint8_t zeros[3];
    op_begin(c, "", "QLinearMatMul", 21);
    op_input(c, WEFT_TYPE_U8, DIMS(2, 3), U8(1, 2, 3, 4, 5, 6));
    op_input(c, WEFT_TYPE_F32, s->a != 0, &s->a, s->a_values);
    op_input(c, WEFT_TYPE_U8, s->a != 0, &s->a, zeros);
    op_input(c, WEFT_TYPE_U8, DIMS(3, 3), U8(1, 1, 1, 1, 1, 1, 1, 1, 1));
    op_input(c, WEFT_TYPE_F32, s->b != 0, &s->b, s->b_values);
    op_input(c, WEFT_TYPE_U8, s->b != 0, &s->b, zeros);
    op_input(c, WEFT_TYPE_F32, s->y != 0, &s->y, one);
    op_input(c, WEFT_TYPE_U8, SCALAR, zeros);
}

static void test_scales_of_products(void **state)
{
    (void)state;
    static const struct {
        scales given;
        uint8_t expected[6];
    } cases[] = {
        {{0, 0, 0, {2}, {1}}, {12, 12, 12, 30, 30, 30}},
        {{2, 0, 0, {1, 10}, {1}}, {6, 6, 6, 150, 150, 150}},
        {{1, 3, 1, {1}, {1, 2, 3}}, {6, 12, 18, 15, 30, 45}},
        {{2, 3, 0, {1, 2}, {1, 2, 3}}, {6, 12, 18, 30, 60, 90}},
    };
    op_case c;
    for (size_t i = 0; i < WEFTI_COUNT_OF(cases); i++) {
        begin_product(&c, &cases[i].given);
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_U8, DIMS(2, 3), cases[i].expected);
        op_end(&c);
    }
    begin_product(&c, &(scales){0, 0, 2, {1}, {1}});
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "");
    op_end(&c);
}

/* The result is not larger than the product because a scale is. */
static void test_scales_do_not_repeat(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "QLinearMatMul", 21);
    op_input(&c, WEFT_TYPE_U8, DIMS(1, 2), U8(1, 2));
    op_f32(&c, SCALAR, F32(1));
    op_input(&c, WEFT_TYPE_U8, SCALAR, U8(0));
    op_input(&c, WEFT_TYPE_U8, DIMS(2, 1), U8(1, 1));
    op_f32(&c, DIMS(3), F32(1, 1, 1));
    op_input(&c, WEFT_TYPE_U8, SCALAR, U8(0));
    op_f32(&c, SCALAR, F32(1));
    op_input(&c, WEFT_TYPE_U8, SCALAR, U8(0));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "in units of the scales");
    op_end(&c);
    op_begin(&c, "", "QLinearMatMul", 21);
    op_input(&c, WEFT_TYPE_U8, DIMS(2), U8(1, 2));
    op_f32(&c, DIMS(1), F32(1));
    op_input(&c, WEFT_TYPE_U8, DIMS(1), U8(0));
    op_input(&c, WEFT_TYPE_U8, DIMS(2), U8(3, 4));
    op_f32(&c, DIMS(1), F32(1));
    op_input(&c, WEFT_TYPE_U8, DIMS(1), U8(0));
    op_f32(&c, DIMS(1), F32(1));
    op_input(&c, WEFT_TYPE_U8, DIMS(1), U8(0));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_U8, SCALAR, U8(11));
    op_end(&c);
}

/* Products of whole numbers of all the shapes that kernels take and those that they do
 * not: a matrix for all, one for each, one row's zero point each, vectors. */
static void test_integer_products(void **state)
{
    (void)state;
    enum { MOST = 2 * 3 * 5 * 300 };
    static const struct {
        int32_t a_rank, b_rank;
        int64_t a[4], b[4], a_zeros, b_zeros;
    } cases[] = {
        {2, 2, {5, 7}, {7, 4}, 0, 0},
        {2, 2, {5, 7}, {7, 4}, 1, 4},
        {2, 2, {5, 7}, {7, 4}, 5, 1},
        {4, 2, {2, 3, 5, 7}, {7, 4}, 1, 4},
        {4, 4, {2, 3, 5, 7}, {2, 3, 7, 4}, 1, 1},
        {4, 4, {2, 3, 5, 7}, {1, 3, 7, 4}, 1, 1},
        {4, 3, {2, 3, 5, 7}, {1, 7, 4}, 1, 4},
        {3, 4, {3, 5, 7}, {1, 1, 7, 4}, 1, 1},
        {2, 2, {2, 300}, {300, 3}, 1, 1},
        {1, 2, {7}, {7, 4}, 1, 1},
    };
    uint64_t seed = 6174;
    uint8_t a[MOST], b[MOST], zeros[8];
    for (size_t i = 0; i < MOST; i++) {
        a[i] = (uint8_t)kernel_next(&seed);
        b[i] = (uint8_t)kernel_next(&seed);
        zeros[i % 8] = (uint8_t)kernel_next(&seed);
    }
    for (size_t i = 0; i < 2 * WEFTI_COUNT_OF(cases); i++) {
        op_case c;
        const size_t which = i / 2;
        op_begin(&c, "", "MatMulInteger", 10);
        op_input(&c, WEFT_TYPE_U8, cases[which].a_rank, cases[which].a, a);
        if (i % 2 == 0) {
            op_constant(&c, WEFT_TYPE_I8, cases[which].b_rank, cases[which].b, b);
        } else {
            op_input(&c, WEFT_TYPE_I8, cases[which].b_rank, cases[which].b, b);
        }
        if (cases[which].a_zeros > 0) {
            const int32_t a_one = cases[which].a_zeros > 1,
                          b_one = cases[which].b_zeros > 1;
            op_input(&c, WEFT_TYPE_U8, a_one, &cases[which].a_zeros, zeros);
            op_input(&c, WEFT_TYPE_I8, b_one, &cases[which].b_zeros, zeros);
        }
        op_run(&c, 1);
        op_end(&c);
    }
}

/* The bytes go with the scale that is told, however small it is. */
static void test_small_ranges(void **state)
{
    (void)state;
    static const float ranges[] = {0, 1e-45F, 1e-40F, 1e-38F, 1};
    for (size_t i = 0; i < WEFTI_COUNT_OF(ranges); i++) {
        op_case c;
        float scale = ranges[i] / 255.0F;
        uint8_t most = scale == 0 ? 0 : (uint8_t)rintf(fminf(ranges[i] / scale, 255));
        op_begin(&c, "", "DynamicQuantizeLinear", 11);
        op_f32(&c, DIMS(2), F32(0, ranges[i]));
        op_run(&c, 3);
        op_expect_bytes(&c, 0, WEFT_TYPE_U8, DIMS(2), U8(0, most));
        op_expect_bytes(&c, 1, WEFT_TYPE_F32, SCALAR, &scale);
        op_expect_bytes(&c, 2, WEFT_TYPE_U8, SCALAR, U8(0));
        op_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales_of_products),
        cmocka_unit_test(test_scales_do_not_repeat),
        cmocka_unit_test(test_integer_products),
        cmocka_unit_test(test_small_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
