/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Softmax, the normalisations and the reductions against plain loops. */

/* A tensor as [outer, axis, inner]. */
typedef struct lines {
    int64_t outer, axis, inner;
} lines;

static void softmax_lines(const float *x, lines l, bool logarithmic, float *y)
{
    for (int64_t i = 0; i < l.outer * l.inner; i++) {
        int64_t start = i / l.inner * l.axis * l.inner + i % l.inner;
        double sum = 0;
        for (int64_t j = 0; j < l.axis; j++) {
            sum += exp((double)x[start + j * l.inner]);
        }
        for (int64_t j = 0; j < l.axis; j++) {
            double e = exp((double)x[start + j * l.inner]) / sum;
            y[start + j * l.inner] = (float)(logarithmic ? log(e) : e);
        }
    }
}

static void test_softmax_of_each_axis(void **state)
{
    (void)state;
    static const lines shapes[] = {{1, 2, 15}, {2, 3, 5}, {6, 5, 1}};
    for (int64_t axis = -3; axis < 3; axis++) {
        for (int32_t logarithmic = 0; logarithmic < 2; logarithmic++) {
            op_case c;
            float expected[30];
            op_begin(&c, "", logarithmic ? "LogSoftmax" : "Softmax", 13);
            op_int(&c, "axis", axis);
            const float *x = op_random(&c, DIMS(2, 3, 5), 9);
            softmax_lines(x, shapes[(axis + 3) % 3], logarithmic != 0, expected);
            op_run(&c, 1);
            op_expect_f32(&c, 0, DIMS(2, 3, 5), expected, 1e-6F);
            op_end(&c);
        }
    }
}

static void test_softmax_edges(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Softmax", 13);
    op_f32(&c, DIMS(2, 0), NULL);
    op_run(&c, 1);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Softmax", 13);
    op_int(&c, "axis", 0);
    op_f32(&c, DIMS(3, 1), F32(1, 1, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3, 1), F32(1 / 3.0F, 1 / 3.0F, 1 / 3.0F), 1e-6F);
    assert_int_equal(c.step_count, 1);
    op_end(&c);
    op_begin(&c, "", "Softmax", 13);
    op_int(&c, "axis", 2);
    op_f32(&c, DIMS(3, 1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "axis 2");
    op_end(&c);
    op_begin(&c, "", "Softmax", 13);
    op_f32(&c, SCALAR, NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "0 dimensions");
    op_end(&c);
}

static void test_layer_norm(void **state)
{
    (void)state;
    enum { ROWS = 6, COLUMNS = 20 };
    op_case c;
    float y[ROWS * COLUMNS];
    float mean[ROWS];
    float inverse[ROWS];
    op_begin(&c, "", "LayerNormalization", 17);
    op_int(&c, "axis", -2);
    op_float(&c, "epsilon", 1e-3F);
    const float *x = op_random(&c, DIMS(2, 3, 4, 5), 1);
    const float *scale = op_random(&c, DIMS(4, 5), 2);
    const float *bias = op_random(&c, DIMS(5), 3);
    for (int32_t i = 0; i < ROWS; i++) {
        double sum = 0;
        double squares = 0;
        for (int32_t j = 0; j < COLUMNS; j++) {
            sum += (double)x[i * COLUMNS + j];
        }
        for (int32_t j = 0; j < COLUMNS; j++) {
            squares += pow((double)x[i * COLUMNS + j] - sum / COLUMNS, 2);
        }
        mean[i] = (float)(sum / COLUMNS);
        inverse[i] = (float)(1 / sqrt(squares / COLUMNS + 1e-3));
        for (int32_t j = 0; j < COLUMNS; j++) {
            y[i * COLUMNS + j] =
                (x[i * COLUMNS + j] - mean[i]) * inverse[i] * scale[j] + bias[j % 5];
        }
    }
    op_run(&c, 3);
    op_expect_f32(&c, 0, DIMS(2, 3, 4, 5), y, 1e-5F);
    op_expect_f32(&c, 1, DIMS(2, 3, 1, 1), mean, 1e-5F);
    op_expect_f32(&c, 2, DIMS(2, 3, 1, 1), inverse, 1e-5F);
    op_end(&c);
}

static void test_layer_norm_read_only_for_its_mean(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "LayerNormalization", 17);
    op_f32(&c, DIMS(1, 2), F32(1, 3));
    op_f32(&c, DIMS(2), F32(1, 1));
    c.output_unread[0] = true;
    op_run(&c, 2);
    op_expect_f32(&c, 1, DIMS(1, 1), F32(2), 0);
    op_end(&c);
}

static void test_bad_layer_norms(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "LayerNormalization", 17);
    op_f32(&c, DIMS(2, 3), NULL);
    op_f32(&c, DIMS(2), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "normalised dimensions [3]");
    op_end(&c);
    op_begin(&c, "", "LayerNormalization", 17);
    op_f32(&c, DIMS(2, 3), NULL);
    op_f32(&c, DIMS(2, 3), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "normalised dimensions [3]");
    op_end(&c);
    op_begin(&c, "", "LayerNormalization", 17);
    op_int(&c, "stash_type", 11);
    op_f32(&c, DIMS(2, 3), NULL);
    op_f32(&c, DIMS(3), NULL);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "stash_type");
    op_end(&c);
}

static void test_rms_norm(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "RMSNormalization", 23);
    op_float(&c, "epsilon", 0);
    op_f32(&c, DIMS(1, 2), F32(3, 4));
    op_f32(&c, DIMS(2), F32(1, 2));
    op_run(&c, 1);
    float root = sqrtf(12.5F);
    op_expect_f32(&c, 0, DIMS(1, 2), F32(3 / root, 8 / root), 1e-6F);
    op_end(&c);
}

static void test_fused_layer_norm(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "weft", "FusedLayerNorm", 23);
    op_float(&c, "epsilon", 0);
    op_f32(&c, DIMS(1, 2), F32(1, 1));
    op_f32(&c, DIMS(1, 2), F32(0, 2));
    op_absent(&c);
    op_f32(&c, DIMS(2), F32(10, 20));
    op_run(&c, 2);
    op_expect_f32(&c, 0, DIMS(1, 2), F32(9, 21), 1e-6F);
    op_expect_f32(&c, 1, DIMS(1, 2), F32(1, 3), 0);
    op_end(&c);
}

static void check_batch_norm(bool constant)
{
    static const float scale[] = {2, -1};
    static const float bias[] = {0.5F, 0};
    static const float mean[] = {1, 0};
    static const float variance[] = {4, 0.25F};
    const float *const vectors[] = {scale, bias, mean, variance};
    op_case c;
    float expected[12];
    op_begin(&c, "", "BatchNormalization", 15);
    op_float(&c, "epsilon", 0);
    const float *x = op_random(&c, DIMS(2, 2, 3), 1);
    for (size_t i = 0; i < 4; i++) {
        if (constant) {
            op_constant(&c, WEFT_TYPE_F32, DIMS(2), vectors[i]);
        } else {
            op_f32(&c, DIMS(2), vectors[i]);
        }
    }
    for (int32_t i = 0; i < 12; i++) {
        int32_t channel = i / 3 % 2;
        expected[i] =
            (x[i] - mean[channel]) / sqrtf(variance[channel]) * scale[channel] +
            bias[channel];
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 3), expected, 1e-6F);
    assert_int_equal(c.step_count, constant ? 1 : 2);
    op_end(&c);
}

static void test_batch_norm(void **state)
{
    (void)state;
    check_batch_norm(true);
    check_batch_norm(false);
    op_case c;
    op_begin(&c, "", "BatchNormalization", 9);
    for (int32_t i = 0; i < 5; i++) {
        op_f32(&c, DIMS(2), NULL);
    }
    op_expect_error(&c, 3, WEFT_UNSUPPORTED, "training is not supported before");
    op_end(&c);
}

/* By the mean and variance of the batch: channels 1 5 / 3 7 and 0 0 / 2 2. */
static void test_batch_norm_in_training(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "BatchNormalization", 15);
    op_int(&c, "training_mode", 1);
    op_float(&c, "epsilon", 4);
    op_float(&c, "momentum", 0.75F);
    op_f32(&c, DIMS(2, 2, 1, 2), F32(1, 5, 0, 0, 3, 7, 2, 2));
    op_constant(&c, WEFT_TYPE_F32, DIMS(2), F32(3, 1));
    op_constant(&c, WEFT_TYPE_F32, DIMS(2), F32(0, 10));
    op_f32(&c, DIMS(2), F32(8, 1));
    op_f32(&c, DIMS(2), F32(1, 9));
    op_run(&c, 3);
    float root = sqrtf(5);
    op_expect_f32(
        &c, 0, DIMS(2, 2, 1, 2),
        F32(-3, 1, 10 - 1 / root, 10 - 1 / root, -1, 3, 10 + 1 / root, 10 + 1 / root),
        1e-6F);
    op_expect_f32(&c, 1, DIMS(2), F32(7, 1), 1e-6F);
    op_expect_f32(&c, 2, DIMS(2), F32(2, 7), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "BatchNormalization", 15); /* one channel, no axis for it */
    op_int(&c, "training_mode", 1);
    op_float(&c, "epsilon", 0);
    op_f32(&c, DIMS(4), F32(1, 1, 3, 3));
    for (int32_t i = 0; i < 4; i++) {
        op_constant(&c, WEFT_TYPE_F32, DIMS(1), F32(1));
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4), F32(0, 0, 2, 2), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "BatchNormalization", 15);
    for (int32_t i = 0; i < 5; i++) {
        op_f32(&c, DIMS(2, 2), NULL);
    }
    op_expect_error(&c, 3, WEFT_INVALID_MODEL, "not in training mode");
    op_end(&c);
}

static void test_group_and_instance_norm(void **state)
{
    (void)state;
    for (int32_t grouped = 0; grouped < 2; grouped++) {
        op_case c;
        op_begin(&c, "", grouped ? "GroupNormalization" : "InstanceNormalization", 21);
        op_float(&c, "epsilon", 0);
        if (grouped) {
            op_int(&c, "num_groups", 1);
        }
        op_f32(&c, DIMS(1, 2, 2), F32(1, 3, 5, 7));
        op_f32(&c, DIMS(2), F32(1, 2));
        op_f32(&c, DIMS(2), F32(0, 10));
        op_run(&c, 1);
        float root = sqrtf(5);
        if (grouped) {
            op_expect_f32(&c, 0, DIMS(1, 2, 2),
                          F32(-3 / root, -1 / root, 2 / root + 10, 6 / root + 10),
                          1e-6F);
        } else {
            op_expect_f32(&c, 0, DIMS(1, 2, 2), F32(-1, 1, 8, 12), 1e-6F);
        }
        op_end(&c);
    }
}

static const struct {
    const char *op_type;
    float all, rows[2], columns[3];
} reductions[] = {
    {"ReduceSum", 9, {2, 7}, {5, -5, 9}},
    {"ReduceMean", 1.5F, {0.66666667F, 2.3333333F}, {2.5F, -2.5F, 4.5F}},
    {"ReduceMax", 6, {3, 6}, {4, -2, 6}},
    {"ReduceMin", -3, {-2, -3}, {1, -3, 3}},
    {"ReduceProd", 432, {-6, -72}, {4, 6, 18}},
    {"ReduceSumSquare", 75, {14, 61}, {17, 13, 45}},
    {"ReduceL1", 19, {6, 13}, {5, 5, 9}},
    {"ReduceL2",
     8.660254F,
     {3.7416574F, 7.8102497F},
     {4.1231056F, 3.6055513F, 6.7082039F}},
};

static void reduce_begin(op_case *c, const char *op_type, const float *values)
{
    op_begin(c, "", op_type, 18);
    op_f32(c, DIMS(2, 3), values);
}

static void test_reductions(void **state)
{
    (void)state;
    const float values[] = {1, -2, 3, 4, -3, 6};
    for (size_t i = 0; i < WEFTI_COUNT_OF(reductions); i++) {
        op_case c;
        reduce_begin(&c, reductions[i].op_type, values);
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(1, 1), &reductions[i].all, 1e-6F);
        op_end(&c);
        reduce_begin(&c, reductions[i].op_type, values);
        op_list(&c, 1, I64(-1));
        op_int(&c, "keepdims", 0);
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2), reductions[i].rows, 1e-6F);
        op_end(&c);
        reduce_begin(&c, reductions[i].op_type, values);
        op_list(&c, 1, I64(0));
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(1, 3), reductions[i].columns, 1e-6F);
        op_end(&c);
    }
}

static void test_axes_of_reductions(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ReduceMax", 13); /* axes are an attribute before opset 18 */
    op_ints(&c, "axes", 2, I64(0, -1));
    op_f32(&c, DIMS(2, 2, 2), F32(1, 2, 3, 4, 8, 7, 6, 5));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 1), F32(8, 6), 0);
    op_end(&c);
    op_begin(&c, "", "ReduceSum", 13);
    op_int(&c, "noop_with_empty_axes", 1);
    op_f32(&c, DIMS(2), F32(1, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2), F32(1, 2), 0);
    op_end(&c);
    static const struct {
        const char *op_type;
        float values[3];
    } alone[] = {{"ReduceMean", {-1.5F, 2, -INFINITY}},
                 {"ReduceL1", {1.5F, 2, INFINITY}},
                 {"ReduceL2", {1.5F, 2, INFINITY}},
                 {"ReduceSumSquare", {2.25F, 4, INFINITY}}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(alone); i++) {
        op_begin(&c, "", alone[i].op_type, 18);
        op_int(&c, "noop_with_empty_axes", 1);
        op_f32(&c, DIMS(3), F32(-1.5F, 2, -INFINITY));
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(3), alone[i].values, 0);
        op_end(&c);
    }
    op_begin(&c, "", "ReduceSumSquare", 18);
    op_int(&c, "noop_with_empty_axes", 1);
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(-3, 4));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(9, 16));
    op_end(&c);
    op_begin(&c, "", "ReduceSum", 13);
    op_f32(&c, DIMS(2), NULL);
    op_list(&c, 2, I64(0, -1));
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "axis 0 is given twice");
    op_end(&c);
    op_begin(&c, "", "ReduceSum", 13);
    op_f32(&c, DIMS(2), NULL);
    op_input(&c, WEFT_TYPE_I64, DIMS(1), I64(0));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "input 1 decides a shape");
    op_end(&c);
}

static void test_reductions_of_nothing(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ReduceMax", 20);
    op_f32(&c, DIMS(0, 2), NULL);
    op_list(&c, 1, I64(0));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2), F32(-INFINITY, -INFINITY), 0);
    op_end(&c);
    op_begin(&c, "", "ReduceProd", 20);
    op_input(&c, WEFT_TYPE_I64, DIMS(0), NULL);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(1), I64(1));
    op_end(&c);
    op_begin(&c, "", "ReduceMin", 20);
    op_input(&c, WEFT_TYPE_I64, DIMS(0), NULL);
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(1), I64(INT64_MAX));
    op_end(&c);
}

static void test_integer_reductions(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ReduceProd", 18);
    op_int(&c, "keepdims", 0);
    op_input(&c, WEFT_TYPE_I64, DIMS(3), I64(1LL << 30, 4, 3));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, SCALAR, I64(12LL << 30));
    op_end(&c);
}

static void test_arg_max(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ArgMax", 13);
    op_int(&c, "axis", 1);
    op_f32(&c, DIMS(2, 3), F32(1, 5, 5, 2, 1, 0));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2, 1), I64(1, 0));
    op_end(&c);
    op_begin(&c, "", "ArgMin", 13);
    op_int(&c, "keepdims", 0);
    op_f32(&c, DIMS(2, 3), F32(1, 5, 5, 2, 1, 5));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(3), I64(0, 1, 0));
    op_end(&c);
    op_begin(&c, "", "ArgMax", 13);
    op_f32(&c, DIMS(0, 3), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "nothing to choose");
    op_end(&c);
    op_begin(&c, "", "ArgMax", 13);
    op_int(&c, "select_last_index", 1);
    op_int(&c, "axis", 1);
    op_f32(&c, DIMS(1, 4), F32(1, 3, 3, 2));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(1, 1), I64(2));
    op_end(&c);
}

static void test_softmax_of_doubles(void **state)
{
    (void)state;
    enum { A = 3, N = 5, C = 4 };
    double x[A * N * C];
    for (int32_t i = 0; i < A * N * C; i++) {
        x[i] = (double)(i * 37 % 23) - 11 + i * 1e-9;
    }
    for (int32_t logarithmic = 0; logarithmic < 2; logarithmic++) {
        op_case c;
        op_begin(&c, "", logarithmic ? "LogSoftmax" : "Softmax", 13);
        op_int(&c, "axis", 1);
        op_input(&c, WEFT_TYPE_F64, DIMS(A, N, C), x);
        op_run(&c, 1);
        op_expect_shape(&c, 0, WEFT_TYPE_F64, DIMS(A, N, C));
        const double *y = c.results[0];
        for (int32_t i = 0; i < A * N * C; i++) {
            const double *row = x + i / (N * C) * N * C + i % C;
            double sum = 0;
            for (int32_t j = 0; j < N; j++) {
                sum += exp(row[j * C] - x[i]);
            }
            double expected = logarithmic ? -log(sum) : 1 / sum;
            assert_true(fabs(y[i] - expected) <= 1e-14 * (1 + fabs(expected)));
        }
        op_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax_of_doubles),
        cmocka_unit_test(test_softmax_of_each_axis),
        cmocka_unit_test(test_softmax_edges),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_layer_norm_read_only_for_its_mean),
        cmocka_unit_test(test_bad_layer_norms),
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_fused_layer_norm),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_batch_norm_in_training),
        cmocka_unit_test(test_group_and_instance_norm),
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_axes_of_reductions),
        cmocka_unit_test(test_reductions_of_nothing),
        cmocka_unit_test(test_integer_reductions),
        cmocka_unit_test(test_arg_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
