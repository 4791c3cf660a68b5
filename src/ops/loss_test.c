/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Labels that NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss ignore. */

static void begin(op_case *c, const char *op_type, const char *reduction)
{
    op_begin(c, "", op_type, 13);
    op_string(c, "reduction", reduction);
}

/* Whatever the scores are where it is ignored: class 0 is impossible there. */
static void test_infinite_scores(void **state)
{
    (void)state;
    const float scores[] = {-INFINITY, -1, -2, -3, -INFINITY, -4};
    op_case c;
    begin(&c, "NegativeLogLikelihoodLoss", "none");
    op_int(&c, "ignore_index", -1);
    op_f32(&c, DIMS(3, 2), scores);
    op_input(&c, WEFT_TYPE_I64, DIMS(3), I64(-1, 1, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3), F32(0, 3, 4), 0);
    op_end(&c);
    begin(&c, "NegativeLogLikelihoodLoss", "mean");
    op_int(&c, "ignore_index", -1);
    op_f32(&c, DIMS(3, 2), scores);
    op_input(&c, WEFT_TYPE_I64, DIMS(3), I64(-1, 1, 1));
    op_f32(&c, DIMS(2), F32(5, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, SCALAR, F32(3.5F), 0);
    op_end(&c);
    begin(&c, "SoftmaxCrossEntropyLoss", "sum");
    op_int(&c, "ignore_index", 1);
    op_f32(&c, DIMS(2, 2), F32(-INFINITY, 0, 0, 0));
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(1, 0));
    op_run(&c, 1);
    op_expect_f32(&c, 0, SCALAR, F32(0.6931472F), 1e-6F);
    op_end(&c);
}

/* An index that no label can be, and one that no double is. */
static void test_far_indices(void **state)
{
    (void)state;
    static const int64_t far[] = {3000000000, -3000000000, ((int64_t)1 << 32) + 1};
    const int32_t labels[] = {0, 1};
    op_case c;
    for (size_t i = 0; i < WEFTI_COUNT_OF(far); i++) {
        begin(&c, "NegativeLogLikelihoodLoss", "none");
        op_int(&c, "ignore_index", far[i]);
        op_f32(&c, DIMS(2, 2), F32(-1, -2, -3, -4));
        op_input(&c, WEFT_TYPE_I32, DIMS(2), labels);
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2), F32(1, 4), 0);
        op_end(&c);
    }
    begin(&c, "NegativeLogLikelihoodLoss", "none");
    op_int(&c, "ignore_index", INT64_MAX);
    op_f32(&c, DIMS(2, 2), F32(-1, -2, -3, -4));
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(INT64_MAX, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2), F32(0, 4), 0);
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_infinite_scores),
        cmocka_unit_test(test_far_indices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
