/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Operators that go by indices, and those along lines, against plain loops. */

static void test_gather_elements(void **state)
{
    (void)state;
    static const int64_t indices[] = {1, 0, 2, -1, -3, 1, 0, 2};
    for (int64_t axis = -2; axis < 2; axis++) {
        op_case c;
        float expected[8];
        op_begin(&c, "", "GatherElements", 13);
        op_int(&c, "axis", axis);
        const float *x = op_random(&c, DIMS(3, 4), 3);
        bool rows = axis == 0 || axis == -2;
        if (rows) {
            op_input(&c, WEFT_TYPE_I64, DIMS(2, 4), indices);
        } else {
            op_input(&c, WEFT_TYPE_I64, DIMS(2, 4), indices);
        }
        for (int64_t i = 0; i < 8; i++) {
            int64_t index = indices[i], row = i / 4, column = i % 4;
            int64_t size = rows ? 3 : 4;
            index = index < 0 ? index + size : index;
            expected[i] = rows ? x[index * 4 + column] : x[row * 4 + index];
        }
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(2, 4), expected);
        op_end(&c);
    }
}

static void test_gather_nd(void **state)
{
    (void)state;
    op_case c;
    float expected[8];
    op_begin(&c, "", "GatherND", 13);
    const float *x = op_random(&c, DIMS(2, 3, 4), 3);
    op_input(&c, WEFT_TYPE_I64, DIMS(2, 2), I64(1, -1, 0, 1));
    memcpy(expected, x + (1 * 3 + 2) * 4, 16);
    memcpy(expected + 4, x + (0 * 3 + 1) * 4, 16);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(2, 4), expected);
    op_end(&c);
    op_begin(&c, "", "GatherND", 13);
    op_int(&c, "batch_dims", 1);
    x = op_random(&c, DIMS(2, 3, 4), 3);
    op_input(&c, WEFT_TYPE_I64, DIMS(2, 1), I64(2, 0));
    memcpy(expected, x + 2 * 4, 16);
    memcpy(expected + 4, x + 3 * 4, 16);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(2, 4), expected);
    op_end(&c);
    op_begin(&c, "", "GatherND", 13);
    op_random(&c, DIMS(2, 3), 3);
    op_input(&c, WEFT_TYPE_I64, DIMS(1, 3), I64(0, 0, 0));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "do not fit");
    op_end(&c);
}

static void scatter_case(op_case *c, const char *op_type, const char *reduction)
{
    op_begin(c, "", op_type, 18);
    if (reduction) {
        op_string(c, "reduction", reduction);
    }
}

static void test_scatter_elements(void **state)
{
    (void)state;
    static const char *const reductions[] = {NULL, "add", "mul", "max", "min"};
    static const int64_t indices[] = {2, -1, 0, 0, 0, 2}; /* some places twice */
    for (size_t r = 0; r < WEFTI_COUNT_OF(reductions); r++) {
        op_case c;
        float expected[12];
        scatter_case(&c, "ScatterElements", reductions[r]);
        const float *x = op_random(&c, DIMS(3, 4), 3);
        op_input(&c, WEFT_TYPE_I64, DIMS(2, 3), indices);
        const float *updates = op_random(&c, DIMS(2, 3), 4);
        memcpy(expected, x, sizeof(expected));
        for (int64_t i = 0; i < 6; i++) {
            float *to = expected + (indices[i] < 0 ? 2 : indices[i]) * 4 + i % 3;
            float u = updates[i];
            *to = r == 0   ? u
                  : r == 1 ? *to + u
                  : r == 2 ? *to * u
                  : r == 3 ? fmaxf(*to, u)
                           : fminf(*to, u);
        }
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(3, 4), expected);
        op_end(&c);
    }
}

static void test_scatter_nd(void **state)
{
    (void)state;
    op_case c;
    float expected[24];
    scatter_case(&c, "ScatterND", "add");
    const float *x = op_random(&c, DIMS(2, 3, 4), 3);
    op_input(&c, WEFT_TYPE_I64, DIMS(3, 2), I64(1, 1, 0, -1, 1, 1));
    const float *updates = op_random(&c, DIMS(3, 4), 4);
    memcpy(expected, x, sizeof(expected));
    static const int rows[] = {4, 2, 4};
    for (int i = 0; i < 12; i++) {
        expected[rows[i / 4] * 4 + i % 4] += updates[i];
    }
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(2, 3, 4), expected);
    op_end(&c);
    scatter_case(&c, "ScatterND", "most");
    op_random(&c, DIMS(2), 3);
    op_input(&c, WEFT_TYPE_I64, DIMS(1, 1), I64(1));
    op_random(&c, DIMS(1), 3);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "reduction");
    op_end(&c);
}

static void test_cumulate(void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        op_case c;
        float expected[24];
        bool product = kind & 1, exclusive = kind & 2, reverse = kind & 4;
        op_begin(&c, "", product ? "CumProd" : "CumSum", product ? 26 : 14);
        op_int(&c, "exclusive", exclusive);
        op_int(&c, "reverse", reverse);
        const float *x = op_random(&c, DIMS(2, 3, 4), 3);
        op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(-2));
        for (int line = 0; line < 8; line++) {
            double sum = product;
            for (int i = 0; i < 3; i++) {
                int at = line / 4 * 12 + (reverse ? 2 - i : i) * 4 + line % 4;
                double next = product ? sum * (double)x[at] : sum + (double)x[at];
                expected[at] = (float)(exclusive ? sum : next);
                sum = next;
            }
        }
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2, 3, 4), expected, 1e-6F);
        op_end(&c);
    }
}

static void test_top_k(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "TopK", 11);
    op_f32(&c, DIMS(2, 5), F32(3, NAN, 1, 3, 2, -1, -5, -1, -2, -9));
    op_list(&c, 1, I64(3));
    op_run(&c, 2);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(NAN, 3, 3, -1, -1, -2), 0);
    op_expect_bytes(&c, 1, WEFT_TYPE_I64, DIMS(2, 3), I64(1, 0, 3, 0, 2, 3));
    op_end(&c);
    op_begin(&c, "", "TopK", 11);
    op_int(&c, "axis", 0);
    op_int(&c, "largest", 0);
    op_input(&c, WEFT_TYPE_I64, DIMS(4, 2), I64(4, 1, 3, 1, 2, 0, 9, 7));
    op_list(&c, 1, I64(2));
    op_run(&c, 2);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2, 2), I64(2, 0, 3, 1));
    op_expect_bytes(&c, 1, WEFT_TYPE_I64, DIMS(2, 2), I64(2, 2, 1, 0));
    op_end(&c);
    op_begin(&c, "", "TopK", 11);
    op_f32(&c, DIMS(3), NULL);
    op_list(&c, 1, I64(4));
    op_expect_error(&c, 2, WEFT_INVALID_ARGUMENT, "k is 4");
    op_end(&c);
}

/* A long line, sorted whole, against counting. */
static void test_top_k_of_many(void **state)
{
    (void)state;
    enum { COUNT = 700 };
    op_case c;
    static float values[COUNT];
    static int64_t indices[COUNT];
    op_begin(&c, "", "TopK", 11);
    const float *x = op_random(&c, DIMS(COUNT), 5);
    op_list(&c, 1, I64(COUNT));
    for (int i = 0; i < COUNT; i++) {
        int place = 0;
        for (int j = 0; j < COUNT; j++) {
            place += x[j] > x[i] || (x[j] == x[i] && j < i);
        }
        values[place] = x[i];
        indices[place] = i;
    }
    op_run(&c, 2);
    op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(COUNT), values);
    op_expect_bytes(&c, 1, WEFT_TYPE_I64, DIMS(COUNT), indices);
    op_end(&c);
}

static void test_one_hot(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "OneHot", 11);
    op_input(&c, WEFT_TYPE_I64, DIMS(4), I64(1, -1, 3, -4));
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(3));
    op_f32(&c, DIMS(2), F32(-1, 5));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4, 3), F32(-1, 5, -1, -1, -1, 5, -1, -1, -1, -1, -1, -1),
                  0);
    op_end(&c);
    op_begin(&c, "", "OneHot", 11);
    op_int(&c, "axis", 0);
    op_f32(&c, DIMS(2), F32(0, 2));
    op_constant(&c, WEFT_TYPE_F32, DIMS(1), F32(3));
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(0, 1));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(3, 2), I64(1, 0, 0, 0, 0, 1));
    op_end(&c);
}

static void test_hardmax_and_eye(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Hardmax", 13);
    op_int(&c, "axis", 0);
    op_f32(&c, DIMS(2, 3), F32(1, 5, 2, 1, 4, 3));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(1, 1, 0, 0, 0, 1), 0);
    op_end(&c);
    for (int64_t k = -3; k < 5; k++) {
        float expected[8];
        op_begin(&c, "", "EyeLike", 9);
        op_int(&c, "k", k);
        op_int(&c, "dtype", WEFT_TYPE_F32);
        op_input(&c, WEFT_TYPE_I64, DIMS(2, 4), NULL);
        for (int i = 0; i < 8; i++) {
            expected[i] = i % 4 - i / 4 == k ? 1 : 0;
        }
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2, 4), expected, 0);
        op_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather_elements),  cmocka_unit_test(test_gather_nd),
        cmocka_unit_test(test_scatter_elements), cmocka_unit_test(test_scatter_nd),
        cmocka_unit_test(test_cumulate),         cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_k_of_many),    cmocka_unit_test(test_one_hot),
        cmocka_unit_test(test_hardmax_and_eye),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
