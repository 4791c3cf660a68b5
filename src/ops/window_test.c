/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Conv, FusedConv and the pools against plain loops over padded coordinates. */

typedef struct window_case {
    int64_t batch, in_channels, out_channels, groups;
    int64_t in[3], kernel[3], strides[3], dilations[3], begin[3], end[3], out[3];
} window_case;

static void compute_out(window_case *w)
{
    for (int32_t i = 0; i < 3; i++) {
        int64_t reach = (w->kernel[i] - 1) * w->dilations[i] + 1;
        w->out[i] = (w->in[i] + w->begin[i] + w->end[i] - reach) / w->strides[i] + 1;
    }
}

/* The input's index that kernel position `at` reads for output `to`; -1: padding. */
static int64_t input_index(const window_case *w, const int64_t *to, const int64_t *at)
{
    int64_t index = 0;
    for (int32_t i = 0; i < 3; i++) {
        int64_t x = to[i] * w->strides[i] + at[i] * w->dilations[i] - w->begin[i];
        if (x < 0 || x >= w->in[i]) {
            return -1;
        }
        index = index * w->in[i] + x;
    }
    return index;
}

static int64_t product(const int64_t *dims)
{
    return dims[0] * dims[1] * dims[2];
}

static void unflatten(int64_t index, const int64_t *dims, int64_t *position)
{
    for (int32_t i = 2; i >= 0; i--) {
        position[i] = index % dims[i];
        index /= dims[i];
    }
}

static float convolve(const window_case *w, const float *x, const float *weight,
                      int64_t n, int64_t o, int64_t to_index)
{
    int64_t group_in = w->in_channels / w->groups;
    int64_t group = o / (w->out_channels / w->groups);
    int64_t to[3];
    double sum = 0;
    unflatten(to_index, w->out, to);
    for (int64_t i = 0; i < group_in * product(w->kernel); i++) {
        int64_t at[3];
        int64_t channel = group * group_in + i / product(w->kernel);
        unflatten(i % product(w->kernel), w->kernel, at);
        int64_t from = input_index(w, to, at);
        if (from >= 0) {
            int64_t plane = n * w->in_channels + channel;
            sum += (double)x[plane * product(w->in) + from] *
                   (double)weight[o * group_in * product(w->kernel) + i];
        }
    }
    return (float)sum;
}

/* The last `rank` of three values. */
static const int64_t *tail(const int64_t *values, int32_t rank)
{
    return values + 3 - rank;
}

static void spatial_dims(int64_t first, int64_t second, const int64_t *spatial,
                         int32_t rank, int64_t *dims)
{
    dims[0] = first;
    dims[1] = second;
    memcpy(dims + 2, tail(spatial, rank), (size_t)rank * sizeof(int64_t));
}

static void set_pads(const window_case *w, int32_t rank, int64_t *pads)
{
    memcpy(pads, tail(w->begin, rank), (size_t)rank * sizeof(int64_t));
    memcpy(pads + rank, tail(w->end, rank), (size_t)rank * sizeof(int64_t));
}

static void check_conv(window_case w, int32_t rank, bool with_bias)
{
    op_case c;
    int64_t x_dims[5];
    int64_t w_dims[5];
    int64_t y_dims[5];
    int64_t pads[6];
    compute_out(&w);
    spatial_dims(w.batch, w.in_channels, w.in, rank, x_dims);
    spatial_dims(w.out_channels, w.in_channels / w.groups, w.kernel, rank, w_dims);
    spatial_dims(w.batch, w.out_channels, w.out, rank, y_dims);
    set_pads(&w, rank, pads);
    op_begin(&c, "", "Conv", 13);
    op_ints(&c, "strides", (size_t)rank, tail(w.strides, rank));
    op_ints(&c, "dilations", (size_t)rank, tail(w.dilations, rank));
    op_ints(&c, "pads", 2 * (size_t)rank, pads);
    op_int(&c, "group", w.groups);
    const float *x = op_random(&c, rank + 2, x_dims, 1);
    const float *weight = op_random(&c, rank + 2, w_dims, 2);
    const float *bias = with_bias ? op_random(&c, 1, &w.out_channels, 3) : NULL;
    int64_t size = product(w.out);
    float *expected = calloc((size_t)(w.batch * w.out_channels * size), sizeof(float));
    for (int64_t i = 0; i < w.batch * w.out_channels * size; i++) {
        int64_t o = i / size % w.out_channels;
        expected[i] = convolve(&w, x, weight, i / size / w.out_channels, o, i % size) +
                      (bias ? bias[o] : 0);
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, rank + 2, y_dims, expected, 1e-5F);
    free(expected);
    op_end(&c);
}

static const window_case plain = {
    .batch = 1,
    .in_channels = 1,
    .out_channels = 1,
    .groups = 1,
    .in = {1, 1, 8},
    .kernel = {1, 1, 3},
    .strides = {1, 1, 1},
    .dilations = {1, 1, 1},
};

static void test_conv_1d(void **state)
{
    (void)state;
    window_case w = plain;
    check_conv(w, 1, false);
    w.batch = 2;
    w.in_channels = 3;
    w.out_channels = 5;
    w.begin[2] = w.end[2] = 1;
    check_conv(w, 1, true);
    w.strides[2] = 2;
    w.dilations[2] = 2;
    w.begin[2] = 3;
    check_conv(w, 1, true);
}

static void test_conv_2d(void **state)
{
    (void)state;
    window_case w = plain;
    w.in[1] = 7;
    w.kernel[1] = 3;
    w.in_channels = 4;
    w.out_channels = 6;
    w.begin[1] = w.end[1] = w.begin[2] = w.end[2] = 1;
    check_conv(w, 2, true);
    w.groups = 2;
    check_conv(w, 2, true);
    w.groups = 4;
    w.out_channels = 4;
    w.strides[1] = 2;
    w.end[2] = 0;
    check_conv(w, 2, false);
}

static void test_conv_3d(void **state)
{
    (void)state;
    window_case w = plain;
    w.in[0] = 4;
    w.in[1] = 5;
    w.kernel[0] = w.kernel[1] = 2;
    w.in_channels = 2;
    w.out_channels = 3;
    w.begin[0] = 1;
    check_conv(w, 3, true);
}

static void test_conv_of_nothing(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Conv", 13);
    op_f32(&c, DIMS(0, 2, 5), NULL);
    op_f32(&c, DIMS(3, 2, 3), NULL);
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(0, 3, 3));
    op_end(&c);
}

static void test_auto_pad(void **state)
{
    (void)state;
    static const struct {
        const char *mode;
        int64_t out;
        float first;
    } rows[] = {{"SAME_UPPER", 3, 1 + 2 + 3},
                {"SAME_LOWER", 3, 1 + 2},
                {"VALID", 2, 1 + 2 + 3}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(rows); i++) {
        op_case c;
        op_begin(&c, "", "Conv", 13);
        op_string(&c, "auto_pad", rows[i].mode);
        op_ints(&c, "strides", 1, I64(2));
        op_f32(&c, DIMS(1, 1, 6), F32(1, 2, 3, 4, 5, 6));
        op_f32(&c, DIMS(1, 1, 3), F32(1, 1, 1));
        op_run(&c, 1);
        op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(1, 1, rows[i].out));
        assert_true(*(float *)c.results[0] == rows[i].first);
        op_end(&c);
    }
}

static void expect_conv_error(int64_t group, const char *list, const int64_t *values,
                              size_t count, weft_status status, const char *text)
{
    op_case c;
    op_begin(&c, "", "Conv", 13);
    op_int(&c, "group", group);
    if (list) {
        op_ints(&c, list, count, values);
    }
    op_f32(&c, DIMS(1, 4, 5), NULL);
    op_f32(&c, DIMS(6, 4, 3), NULL);
    op_expect_error(&c, 1, status, text);
    op_end(&c);
}

static void test_bad_convolutions(void **state)
{
    (void)state;
    expect_conv_error(2, NULL, NULL, 0, WEFT_INVALID_ARGUMENT, "expected 2");
    expect_conv_error(0, NULL, NULL, 0, WEFT_INVALID_ARGUMENT, "0 groups");
    expect_conv_error(1, "strides", I64(0), 1, WEFT_INVALID_MODEL, "strides");
    expect_conv_error(1, "strides", I64(1, 1), 2, WEFT_INVALID_MODEL, "2 values");
    expect_conv_error(1, "dilations", I64(9), 1, WEFT_INVALID_ARGUMENT, "window of 19");
    expect_conv_error(1, "pads", I64(-1, 0), 2, WEFT_INVALID_MODEL, "pads");
    expect_conv_error(1, "pads", I64(INT64_MAX, 0), 2, WEFT_INVALID_MODEL, "pads");
    expect_conv_error(1, "kernel_shape", I64(2), 1, WEFT_INVALID_MODEL, "kernel");
}

static void test_fused_conv(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "weft", "FusedConv", 13);
    op_int(&c, "activation", WEFTI_ACTIVATION_RELU);
    op_f32(&c, DIMS(1, 1, 3), F32(1, -2, 3));
    op_f32(&c, DIMS(1, 1, 1), F32(2));
    op_f32(&c, DIMS(1), F32(1));
    op_f32(&c, DIMS(1, 1, 3), F32(10, 1, -20));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 3), F32(13, 0, 0), 0);
    op_end(&c);
}

static void check_pool(window_case w, int32_t rank, bool average, bool count_pad,
                       bool ceil_mode)
{
    op_case c;
    int64_t x_dims[5];
    int64_t y_dims[5];
    int64_t pads[6];
    spatial_dims(w.batch, w.in_channels, w.in, rank, x_dims);
    spatial_dims(w.batch, w.in_channels, w.out, rank, y_dims);
    set_pads(&w, rank, pads);
    op_begin(&c, "", average ? "AveragePool" : "MaxPool", 19);
    op_ints(&c, "kernel_shape", (size_t)rank, tail(w.kernel, rank));
    op_ints(&c, "strides", (size_t)rank, tail(w.strides, rank));
    op_ints(&c, "dilations", (size_t)rank, tail(w.dilations, rank));
    op_ints(&c, "pads", 2 * (size_t)rank, pads);
    op_int(&c, "ceil_mode", ceil_mode);
    if (average) {
        op_int(&c, "count_include_pad", count_pad);
    }
    const float *x = op_random(&c, rank + 2, x_dims, 4);
    int64_t size = product(w.out);
    float *expected = calloc((size_t)(w.batch * w.in_channels * size), sizeof(float));
    for (int64_t i = 0; i < w.batch * w.in_channels * size; i++) {
        double sum = 0;
        double largest = -INFINITY;
        int64_t count = 0;
        int64_t to[3];
        unflatten(i % size, w.out, to);
        for (int64_t j = 0; j < product(w.kernel); j++) {
            int64_t at[3];
            unflatten(j, w.kernel, at);
            int64_t from = input_index(&w, to, at);
            bool inside_pad = true;
            for (int32_t d = 0; d < 3; d++) {
                int64_t at_pad = to[d] * w.strides[d] + at[d] * w.dilations[d];
                inside_pad = inside_pad && at_pad < w.in[d] + w.begin[d] + w.end[d];
            }
            count += from >= 0 || (count_pad && inside_pad);
            double value = from >= 0 ? (double)x[i / size * product(w.in) + from] : 0;
            sum += value;
            largest = from >= 0 && value > largest ? value : largest;
        }
        expected[i] = (float)(average ? sum / (double)count : largest);
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, rank + 2, y_dims, expected, 1e-6F);
    free(expected);
    op_end(&c);
}

static void test_pools(void **state)
{
    (void)state;
    window_case w = plain;
    w.batch = 2;
    w.in_channels = 3;
    for (uint32_t bits = 0; bits < 4; bits++) {
        bool average = (bits & 1) != 0;
        bool count_pad = (bits & 2) != 0;
        window_case one = w;
        one.strides[2] = 2;
        one.begin[2] = 1;
        compute_out(&one);
        check_pool(one, 1, average, count_pad, false);
        one.out[2] = 4;
        check_pool(one, 1, average, count_pad, true);
        one.end[2] = 2;
        one.out[2] = 5;
        check_pool(one, 1, average, count_pad, true);
        one.kernel[2] = 20; /* the only window is larger than what there is */
        one.strides[2] = 19;
        one.end[2] = 0;
        one.out[2] = 1;
        check_pool(one, 1, average, count_pad, true);
        window_case two = w;
        two.in[1] = 6;
        two.kernel[1] = 2;
        two.dilations[2] = 2;
        two.begin[2] = two.end[2] = 2;
        two.end[1] = 1;
        compute_out(&two);
        check_pool(two, 2, average, count_pad, false);
        window_case three = two;
        three.in[0] = three.kernel[0] = three.strides[0] = 2;
        compute_out(&three);
        check_pool(three, 3, average, count_pad, false);
    }
}

static void test_bad_pools(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "MaxPool", 13);
    op_f32(&c, DIMS(1, 1, 4), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "kernel_shape is missing");
    op_end(&c);
    op_begin(&c, "", "MaxPool", 13);
    op_ints(&c, "kernel_shape", 1, I64(2));
    op_f32(&c, DIMS(1, 1, 4), F32(1, 5, 5, 2));
    op_run(&c, 2);
    op_expect_f32(&c, 0, DIMS(1, 1, 3), F32(5, 5, 5), 0);
    op_expect_bytes(&c, 1, WEFT_TYPE_I64, DIMS(1, 1, 3), I64(1, 1, 2));
    op_end(&c);
    op_begin(&c, "", "MaxPool", 13);
    op_ints(&c, "kernel_shape", 1, I64(2));
    op_ints(&c, "pads", 2, I64(2, 0));
    op_f32(&c, DIMS(1, 1, 4), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "padding");
    op_end(&c);
    op_begin(&c, "", "AveragePool", 13);
    op_ints(&c, "kernel_shape", 1, I64(2));
    op_f32(&c, DIMS(1, 4), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "expected 3 to 5");
    op_end(&c);
}

static void test_global_pools(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "GlobalAveragePool", 13);
    op_f32(&c, DIMS(1, 2, 2, 2), F32(1, 2, 3, 4, 5, 6, 7, 12));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 1, 1), F32(2.5F, 7.5F), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "GlobalMaxPool", 13);
    op_f32(&c, DIMS(1, 2, 2, 2), F32(1, 2, 3, 4, 5, 6, 7, 12));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 1, 1), F32(4, 12), 0);
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv_1d),    cmocka_unit_test(test_conv_2d),
        cmocka_unit_test(test_conv_3d),    cmocka_unit_test(test_conv_of_nothing),
        cmocka_unit_test(test_auto_pad),   cmocka_unit_test(test_bad_convolutions),
        cmocka_unit_test(test_fused_conv), cmocka_unit_test(test_pools),
        cmocka_unit_test(test_bad_pools),  cmocka_unit_test(test_global_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
