/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Functions that are made of sums and elementwise programs, and old opsets. */

static void check_log_of_sums(bool keep, bool exponents)
{
    op_case c;
    float expected[8];
    op_begin(&c, "", exponents ? "ReduceLogSumExp" : "ReduceLogSum", 18);
    op_int(&c, "keepdims", keep);
    const float *x = op_random(&c, DIMS(2, 3, 4), 3);
    op_list(&c, 1, I64(1));
    for (int i = 0; i < 8; i++) {
        double sum = 0;
        for (int j = 0; j < 3; j++) {
            double v = (double)x[i / 4 * 12 + j * 4 + i % 4];
            sum += exponents ? exp(v) : v;
        }
        expected[i] = (float)log(sum);
    }
    op_run(&c, 1);
    if (keep) {
        op_expect_f32(&c, 0, DIMS(2, 1, 4), expected, 1e-5F);
    } else {
        op_expect_f32(&c, 0, DIMS(2, 4), expected, 1e-5F);
    }
    op_end(&c);
}

static void test_log_of_sums(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        check_log_of_sums(kind & 1, kind & 2);
    }
    op_case c;
    op_begin(&c, "", "ReduceLogSumExp", 13);
    op_int(&c, "keepdims", 0);
    op_ints(&c, "axes", 1, I64(1));
    op_f32(&c, DIMS(4, 2), F32(1000, 1000, -INFINITY, -INFINITY, INFINITY, 1, NAN, 0));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4), F32(1000.6931F, -INFINITY, INFINITY, NAN), 1e-6F);
    op_end(&c);
}

static void test_norms(void **state)
{
    (void)state;
    for (int64_t p = 1; p <= 2; p++) {
        op_case c;
        float expected[24];
        op_begin(&c, "", "LpNormalization", 22);
        op_int(&c, "axis", 1);
        op_int(&c, "p", p);
        const float *x = op_random(&c, DIMS(2, 3, 4), 3);
        for (int i = 0; i < 24; i++) {
            double sum = 0;
            for (int j = 0; j < 3; j++) {
                double v = (double)x[i / 12 * 12 + j * 4 + i % 4];
                sum += p == 1 ? fabs(v) : v * v;
            }
            expected[i] = (float)((double)x[i] / (p == 1 ? sum : sqrt(sum)));
        }
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2, 3, 4), expected, 1e-6F);
        op_end(&c);
    }
    op_case c;
    op_begin(&c, "", "LpNormalization", 22);
    op_f32(&c, DIMS(2, 2), F32(0, 0, 3, 4));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(0, 0, 0.6F, 0.8F), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "MeanVarianceNormalization", 13);
    op_ints(&c, "axes", 1, I64(1));
    op_f32(&c, DIMS(2, 4), F32(1, 3, 1, 3, 10, 10, 14, 14));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 4), F32(-1, 1, -1, 1, -1, -1, 1, 1), 1e-5F);
    op_end(&c);
}

static void test_thresholds(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ThresholdedRelu", 10);
    op_float(&c, "alpha", 0.5F);
    op_f32(&c, DIMS(4), F32(-1, 0.5F, 0.75F, INFINITY));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4), F32(0, 0, 0.75F, INFINITY), 0);
    op_end(&c);
    op_begin(&c, "", "Shrink", 9);
    op_float(&c, "lambd", 1);
    op_float(&c, "bias", 0.5F);
    op_f32(&c, DIMS(5), F32(-2, -1, 0, 1, 3));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(5), F32(-1.5F, 0, 0, 0, 2.5F), 0);
    op_end(&c);
    op_begin(&c, "", "IsInf", 20);
    op_int(&c, "detect_negative", 0);
    op_f32(&c, DIMS(4), F32(-INFINITY, INFINITY, NAN, 1));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(4), BOOL(0, 1, 0, 0));
    op_end(&c);
}

static void test_programs(void **state)
{
    (void)state;
    op_case c;
    float expected[30];
    op_begin(&c, "", "Swish", 24);
    op_float(&c, "alpha", 1.5F);
    const float *x = op_random(&c, DIMS(30), 8);
    for (int i = 0; i < 30; i++) {
        expected[i] = (float)((double)x[i] / (1 + exp(-1.5 * (double)x[i])));
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(30), expected, 1e-6F);
    op_end(&c);
    op_begin(&c, "", "Celu", 12);
    op_float(&c, "alpha", 2);
    x = op_random(&c, DIMS(30), 8);
    for (int i = 0; i < 30; i++) {
        double v = (double)x[i];
        expected[i] = (float)(v > 0 ? v : 2 * (exp(v / 2) - 1));
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(30), expected, 1e-6F);
    op_end(&c);
}

/* What was an attribute before opset 13, and Softmax's rows of then. */
static void test_old_opsets(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Squeeze", 11);
    op_ints(&c, "axes", 1, I64(-1));
    op_f32(&c, DIMS(1, 2, 1), F32(1, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2), F32(1, 2), 0);
    op_end(&c);
    op_begin(&c, "", "Unsqueeze", 9);
    op_ints(&c, "axes", 2, I64(0, 2));
    op_f32(&c, DIMS(2), F32(1, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 1), F32(1, 2), 0);
    op_end(&c);
    op_begin(&c, "", "Unsqueeze", 13);
    op_ints(&c, "axes", 1, I64(0));
    op_f32(&c, DIMS(2), F32(1, 2));
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "input since opset 13");
    op_end(&c);
    op_begin(&c, "", "ReduceSum", 11);
    op_ints(&c, "axes", 1, I64(1));
    op_f32(&c, DIMS(2, 2), F32(1, 2, 3, 4));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 1), F32(3, 7), 0);
    op_end(&c);
    op_begin(&c, "", "Softmax", 11);
    op_f32(&c, DIMS(2, 2), F32(0, 0, 1, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(0.5F, 0.5F, 0.5F, 0.5F), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "Softmax", 11);
    op_f32(&c, DIMS(2, 2, 1, 2), F32(0, 0, 0, 0, 1, 1, 1, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 1, 2),
                  F32(0.25F, 0.25F, 0.25F, 0.25F, 0.25F, 0.25F, 0.25F, 0.25F), 1e-6F);
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_of_sums), cmocka_unit_test(test_norms),
        cmocka_unit_test(test_thresholds),  cmocka_unit_test(test_programs),
        cmocka_unit_test(test_old_opsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
