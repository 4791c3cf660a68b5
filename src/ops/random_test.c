/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Numbers by counters: the same in every run, others for every seed and node. op_run
 * itself compares the bits of all instruction sets. */
enum { COUNT = 4000 };

static void begin(op_case *c, const char *op_type, float seed)
{
    op_begin(c, "", op_type, 22);
    if (seed != 0) {
        op_float(c, "seed", seed);
    }
}

static void moments(const float *values, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    *mean = sum / COUNT;
    *deviation = sqrt(squares / COUNT - *mean * *mean);
}

static void test_normal(void **state)
{
    (void)state;
    static float drawn[3][COUNT];
    for (size_t i = 0; i < 3; i++) {
        static const int64_t shape[] = {40, 100};
        op_case c;
        begin(&c, "RandomNormal", i == 2 ? 7 : 3);
        op_float(&c, "mean", 2);
        op_float(&c, "scale", 3);
        op_ints(&c, "shape", 2, shape);
        op_run(&c, 1);
        op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(40, 100));
        memcpy(drawn[i], c.results[0], sizeof(drawn[i]));
        double mean, deviation;
        moments(drawn[i], &mean, &deviation);
        assert_true(fabs(mean - 2) < 0.2 && fabs(deviation - 3) < 0.2);
        op_end(&c);
    }
    assert_memory_equal(drawn[0], drawn[1], sizeof(drawn[0]));
    assert_memory_not_equal(drawn[0], drawn[2], sizeof(drawn[0]));
}

static void test_uniform_like(void **state)
{
    (void)state;
    static float x[COUNT];
    op_case c;
    begin(&c, "RandomUniformLike", 0);
    op_float(&c, "low", -1);
    op_float(&c, "high", 3);
    op_input(&c, WEFT_TYPE_F32, DIMS(4, COUNT / 4), x);
    op_run(&c, 1);
    const float *y = c.results[0];
    double mean, deviation;
    moments(y, &mean, &deviation);
    assert_true(fabs(mean - 1) < 0.1 && fabs(deviation - 4 / sqrt(12)) < 0.1);
    for (int i = 0; i < COUNT; i++) {
        assert_true(y[i] >= -1 && y[i] <= 3);
    }
    op_end(&c);
}

static void test_bernoulli(void **state)
{
    (void)state;
    static float p[COUNT];
    for (int i = 0; i < COUNT; i++) {
        p[i] = i < 10 ? 0 : i < 20 ? 1 : 0.25F;
    }
    op_case c;
    begin(&c, "Bernoulli", 5);
    op_int(&c, "dtype", WEFT_TYPE_I64);
    op_f32(&c, DIMS(COUNT), p);
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_I64, DIMS(COUNT));
    const int64_t *y = c.results[0];
    int64_t sum = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(i < 10 ? y[i] == 0 : i < 20 ? y[i] == 1 : (y[i] | 1) == 1);
        sum += y[i];
    }
    assert_true(sum > COUNT / 5 && sum < COUNT * 3 / 10);
    op_end(&c);
}

static void test_refusals(void **state)
{
    (void)state;
    op_case c;
    begin(&c, "RandomNormal", 0);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "shape");
    op_end(&c);
    static const int64_t huge[] = {1 << 20, 1 << 20}, wrong[] = {2, -1};
    for (int i = 0; i < 2; i++) {
        begin(&c, "RandomUniform", 0);
        op_ints(&c, "shape", 2, i == 0 ? huge : wrong);
        op_expect_error(&c, 1, i == 0 ? WEFT_UNSUPPORTED : WEFT_INVALID_MODEL, "");
        op_end(&c);
    }
    static const int64_t shape[] = {2};
    begin(&c, "RandomUniform", 0);
    op_ints(&c, "shape", 1, shape);
    op_int(&c, "dtype", WEFT_TYPE_I64);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "dtype");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_uniform_like),
        cmocka_unit_test(test_bernoulli),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
