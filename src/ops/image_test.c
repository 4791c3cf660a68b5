/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Resize, ConvTranspose, Col2Im, DepthToSpace and SpaceToDepth against plain loops. */

/* Linear resizing of [2, 3, H, W] by places, half pixels, clamped. */
static float linear_at(const float *plane, int64_t h, int64_t w, double y, double x)
{
    y = y < 0 ? 0 : y > (double)(h - 1) ? (double)(h - 1) : y;
    x = x < 0 ? 0 : x > (double)(w - 1) ? (double)(w - 1) : x;
    int64_t i = (int64_t)y, j = (int64_t)x;
    int64_t below = i + 1 < h ? i + 1 : i, right = j + 1 < w ? j + 1 : j;
    double fy = y - (double)i, fx = x - (double)j;
    double top =
        (1 - fx) * (double)plane[i * w + j] + fx * (double)plane[i * w + right];
    double low =
        (1 - fx) * (double)plane[below * w + j] + fx * (double)plane[below * w + right];
    return (float)((1 - fy) * top + fy * low);
}

static void test_linear_resizing(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{8, 10}, {2, 3}, {4, 5}, {7, 2}};
    for (size_t s = 0; s < WEFTI_COUNT_OF(sizes); s++) {
        op_case c;
        static float expected[6 * 80];
        int64_t h = sizes[s][0], w = sizes[s][1];
        op_begin(&c, "", "Resize", 19);
        op_string(&c, "mode", "linear");
        const float *x = op_random(&c, DIMS(2, 3, 4, 5), 3);
        op_absent(&c);
        op_absent(&c);
        op_list(&c, 4, I64(2, 3, h, w));
        for (int64_t i = 0; i < 6 * h * w; i++) {
            double y = ((double)(i / w % h) + 0.5) * 4 / (double)h - 0.5;
            double z = ((double)(i % w) + 0.5) * 5 / (double)w - 0.5;
            expected[i] = linear_at(x + i / (h * w) * 20, 4, 5, y, z);
        }
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2, 3, h, w), expected, 1e-6F);
        op_end(&c);
    }
}

static void test_nearest_resizing(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Resize", 13);
    op_string(&c, "mode", "nearest");
    op_string(&c, "coordinate_transformation_mode", "asymmetric");
    op_string(&c, "nearest_mode", "floor");
    op_input(&c, WEFT_TYPE_I64, DIMS(1, 1, 2, 2), I64(1, 2, 3, 4));
    op_absent(&c);
    op_constant(&c, WEFT_TYPE_F32, DIMS(4), F32(1, 1, 2, 1.5F));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(1, 1, 4, 3),
                    I64(1, 1, 2, 1, 1, 2, 3, 3, 4, 3, 3, 4));
    op_end(&c);
    op_begin(&c, "", "Resize", 13);
    op_f32(&c, DIMS(4), F32(1, 2, 3, 4));
    op_absent(&c);
    op_f32(&c, DIMS(1), F32(2));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "must be a constant");
    op_end(&c);
}

/* Bytes: as their numbers in f32, then rounded half to even and kept in the type. */
static void test_resizing_bytes(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Resize", 19);
    op_string(&c, "mode", "linear");
    op_input(&c, WEFT_TYPE_U8, DIMS(1, 4), U8(0, 2, 5, 255));
    op_absent(&c);
    op_absent(&c);
    op_list(&c, 2, I64(1, 8));
    op_run(&c, 1); /* 0, 0.5, 1.5, 2.75, 4.25, 67.5, 192.5, 255 */
    op_expect_bytes(&c, 0, WEFT_TYPE_U8, DIMS(1, 8), U8(0, 0, 2, 3, 4, 68, 192, 255));
    op_end(&c);
    op_begin(&c, "", "Resize", 19); /* two axes: what is between is not rounded */
    op_string(&c, "mode", "linear");
    op_string(&c, "coordinate_transformation_mode", "align_corners");
    op_input(&c, WEFT_TYPE_I8, DIMS(2, 2), I8(-1, -2, 0, 0));
    op_absent(&c);
    op_absent(&c);
    op_list(&c, 2, I64(3, 3));
    op_run(&c, 1); /* -1 -1.5 -2; -0.5 -0.75 -1; 0 0 0 */
    op_expect_bytes(&c, 0, WEFT_TYPE_I8, DIMS(3, 3),
                    I8(-1, -2, -2, 0, -1, -1, 0, 0, 0));
    op_end(&c);
    op_begin(&c, "", "Resize", 19); /* past both ends of the type */
    op_string(&c, "mode", "cubic");
    op_string(&c, "coordinate_transformation_mode", "align_corners");
    op_input(&c, WEFT_TYPE_I8, DIMS(8), I8(0, 0, 127, 127, -128, -128, 0, 0));
    op_absent(&c);
    op_absent(&c);
    op_list(&c, 1, I64(15));
    op_run(&c, 1);
    op_expect_bytes(
        &c, 0, WEFT_TYPE_I8, DIMS(15),
        I8(0, -12, 0, 64, 127, 127, 127, 0, -128, -128, -128, -64, 0, 12, 0));
    op_end(&c);
    op_begin(&c, "", "Resize", 19);
    op_string(&c, "mode", "nearest");
    op_string(&c, "coordinate_transformation_mode", "tf_crop_and_resize");
    op_float(&c, "extrapolation_value", 300.4F);
    op_input(&c, WEFT_TYPE_U8, DIMS(3), U8(7, 8, 9));
    op_constant(&c, WEFT_TYPE_F32, DIMS(2), F32(0, 2));
    op_absent(&c);
    op_list(&c, 1, I64(3));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_U8, DIMS(3), U8(7, 9, 255));
    op_end(&c);
    op_begin(&c, "", "Resize", 19);
    op_string(&c, "mode", "linear");
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(1, 2));
    op_absent(&c);
    op_absent(&c);
    op_list(&c, 1, I64(3));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "has type i64");
    op_end(&c);
    static const float bad[] = {1e30F, NAN};
    for (size_t i = 0; i < WEFTI_COUNT_OF(bad); i++) {
        op_begin(&c, "", "Resize", 19);
        op_string(&c, "mode", "linear");
        op_string(&c, "coordinate_transformation_mode", "tf_crop_and_resize");
        op_input(&c, WEFT_TYPE_F32, DIMS(2), F32(1, 2));
        op_constant(&c, WEFT_TYPE_F32, DIMS(2), F32(0, bad[i]));
        op_absent(&c);
        op_list(&c, 1, I64(3));
        op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "is no part of a tensor's size");
        op_end(&c);
    }
}

/* Cubic and antialiased weights, by hand: a step of 0.5 and a mean of four. */
static void test_other_filters(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Resize", 19); /* to one element: the first, as ONNX's text says */
    op_string(&c, "mode", "cubic");
    op_string(&c, "coordinate_transformation_mode", "pytorch_half_pixel");
    op_f32(&c, DIMS(5), F32(3, 7, 4, 8, 16));
    op_absent(&c);
    op_absent(&c);
    op_list(&c, 1, I64(1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1), F32(3), 0);
    op_end(&c);
    op_begin(&c, "", "Resize", 19);
    op_string(&c, "mode", "cubic");
    op_string(&c, "coordinate_transformation_mode", "align_corners");
    op_f32(&c, DIMS(5), F32(1, 2, 4, 8, 16));
    op_absent(&c);
    op_absent(&c);
    op_list(&c, 1, I64(9));
    /* Halfway between b and c: 0.59375 (b + c) - 0.09375 (a + d). */
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(9),
                  F32(1, 0.59375F * 3 - 0.09375F * 5, 2, 0.59375F * 6 - 0.09375F * 9, 4,
                      0.59375F * 12 - 0.09375F * 18, 8, 0.59375F * 24 - 0.09375F * 20,
                      16),
                  1e-6F);
    op_end(&c);
    op_begin(&c, "", "Resize", 19);
    op_string(&c, "mode", "linear");
    op_int(&c, "antialias", 1);
    op_f32(&c, DIMS(4), F32(1, 2, 3, 10));
    op_absent(&c);
    op_constant(&c, WEFT_TYPE_F32, DIMS(1), F32(0.5F));
    /* Places 0.5 and 2.5; a triangle of half width 2: weights 1, 3, 3, 1. */
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2),
                  F32((1 + 3 * 1 + 3 * 2 + 3) / 8.0F, (2 + 3 * 3 + 3 * 10 + 10) / 8.0F),
                  1e-6F);
    op_end(&c);
}

typedef struct transposed {
    int64_t batch, groups, in, out; /* channels of a group */
    int64_t size[2], kernel[2], stride[2], dilation[2], pad[2], extra[2];
} transposed;

/* Each input is spread over the outputs that its kernel reaches. */
static void spread(const transposed *t, const float *x, const float *w,
                   const float *bias, const int64_t *full, double *y)
{
    int64_t planes = t->groups * t->out, area = full[0] * full[1];
    for (int64_t i = 0; i < t->batch * planes * area; i++) {
        y[i] = (double)bias[i / area % planes];
    }
    int64_t count = t->batch * t->groups * t->in * t->size[0] * t->size[1];
    for (int64_t i = 0; i < count; i++) {
        int64_t column = i % t->size[1], row = i / t->size[1] % t->size[0];
        int64_t channel = i / (t->size[0] * t->size[1]) % (t->groups * t->in);
        int64_t image = i / (t->size[0] * t->size[1]) / (t->groups * t->in);
        for (int64_t j = 0; j < t->out * t->kernel[0] * t->kernel[1]; j++) {
            int64_t kx = j % t->kernel[1], ky = j / t->kernel[1] % t->kernel[0];
            int64_t o = j / (t->kernel[0] * t->kernel[1]);
            int64_t to_y = row * t->stride[0] + ky * t->dilation[0] - t->pad[0];
            int64_t to_x = column * t->stride[1] + kx * t->dilation[1] - t->pad[1];
            if (to_y < 0 || to_y >= full[0] || to_x < 0 || to_x >= full[1]) {
                continue;
            }
            int64_t plane = image * planes + channel / t->in * t->out + o;
            y[(plane * full[0] + to_y) * full[1] + to_x] +=
                (double)x[i] *
                (double)w[channel * t->out * t->kernel[0] * t->kernel[1] + j];
        }
    }
}

static void check_transposed(const transposed *t)
{
    enum { MOST = 4096 };
    op_case c;
    static double sums[MOST];
    static float expected[MOST];
    int64_t full[2];
    for (int d = 0; d < 2; d++) {
        full[d] = (t->size[d] - 1) * t->stride[d] + t->extra[d] +
                  (t->kernel[d] - 1) * t->dilation[d] + 1 - 2 * t->pad[d];
    }
    int64_t planes = t->groups * t->out;
    op_begin(&c, "", "ConvTranspose", 13);
    op_int(&c, "group", t->groups);
    op_ints(&c, "strides", 2, t->stride);
    op_ints(&c, "dilations", 2, t->dilation);
    op_ints(&c, "output_padding", 2, t->extra);
    op_ints(&c, "pads", 4, I64(t->pad[0], t->pad[1], t->pad[0], t->pad[1]));
    const float *x =
        op_random(&c, DIMS(t->batch, t->groups * t->in, t->size[0], t->size[1]), 1);
    const float *w =
        op_random(&c, DIMS(t->groups * t->in, t->out, t->kernel[0], t->kernel[1]), 2);
    const float *bias = op_random(&c, DIMS(planes), 3);
    int64_t count = t->batch * planes * full[0] * full[1];
    assert_true(count <= MOST);
    spread(t, x, w, bias, full, sums);
    for (int64_t i = 0; i < count; i++) {
        expected[i] = (float)sums[i];
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(t->batch, planes, full[0], full[1]), expected, 1e-5F);
    op_end(&c);
}

static void test_conv_transpose(void **state)
{
    (void)state;
    static const transposed cases[] = {
        {1, 1, 1, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
        {2, 1, 3, 4, {4, 5}, {3, 2}, {2, 3}, {1, 1}, {1, 0}, {1, 2}},
        {1, 2, 3, 2, {5, 4}, {4, 4}, {2, 2}, {1, 1}, {1, 1}, {0, 0}},
        {1, 4, 1, 1, {4, 4}, {3, 3}, {1, 2}, {2, 1}, {2, 1}, {0, 1}},
        {1, 1, 7, 9, {1, 13}, {1, 12}, {1, 6}, {1, 1}, {0, 3}, {0, 0}},
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(cases); i++) {
        check_transposed(&cases[i]);
    }
}

static void test_conv_transpose_in_one_dimension(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ConvTranspose", 13);
    op_ints(&c, "strides", 1, I64(2));
    op_f32(&c, DIMS(1, 1, 3), F32(1, 2, 3));
    op_f32(&c, DIMS(1, 1, 3), F32(1, 10, 100));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 7), F32(1, 10, 102, 20, 203, 30, 300), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "ConvTranspose", 13);
    op_string(&c, "auto_pad", "SAME_UPPER");
    op_ints(&c, "strides", 1, I64(2));
    op_f32(&c, DIMS(1, 1, 3), F32(1, 2, 3));
    op_f32(&c, DIMS(1, 1, 3), F32(1, 10, 100));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 6), F32(1, 10, 102, 20, 203, 30), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "ConvTranspose", 13);
    op_random(&c, DIMS(1, 2, 3), 1);
    op_random(&c, DIMS(3, 1, 3), 1);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "does not fit");
    op_end(&c);
}

static void test_col2im(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Col2Im", 18);
    op_f32(&c, DIMS(1, 4, 4),
           F32(1, 2, 3, 4, 10, 20, 30, 40, 5, 6, 7, 8, 50, 60, 70, 80));
    op_list(&c, 2, I64(3, 3));
    op_list(&c, 2, I64(2, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 3, 3),
                  F32(1, 12, 20, 8, 50 + 30 + 6 + 4, 60 + 40, 7, 70 + 8, 80), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "Col2Im", 18);
    op_f32(&c, DIMS(1, 2, 1), NULL);
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(2));
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(2));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "input 1");
    op_end(&c);
}

static void test_depth_and_space(void **state)
{
    (void)state;
    static const char *const modes[] = {"DCR", "CRD"};
    for (int m = 0; m < 2; m++) {
        op_case c;
        float expected[48];
        op_begin(&c, "", "DepthToSpace", 13);
        op_int(&c, "blocksize", 2);
        op_string(&c, "mode", modes[m]);
        const float *x = op_random(&c, DIMS(1, 8, 2, 3), 4);
        for (int i = 0; i < 48; i++) {
            int column = i % 6, row = i / 6 % 4, channel = i / 24;
            int block = row % 2 * 2 + column % 2;
            int from = m == 0 ? block * 2 + channel : channel * 4 + block;
            expected[i] = x[(from * 2 + row / 2) * 3 + column / 2];
        }
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(1, 2, 4, 6), expected);
        op_end(&c);
        /* And back. */
        op_begin(&c, "", "SpaceToDepth", 28);
        op_int(&c, "blocksize", 2);
        op_string(&c, "mode", modes[m]);
        op_f32(&c, DIMS(1, 2, 4, 6), expected);
        float back[48];
        for (int i = 0; i < 48; i++) {
            int column = i % 6, row = i / 6 % 4, channel = i / 24;
            int block = row % 2 * 2 + column % 2;
            int to = m == 0 ? block * 2 + channel : channel * 4 + block;
            back[(to * 2 + row / 2) * 3 + column / 2] = expected[i];
        }
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_F32, DIMS(1, 8, 2, 3), back);
        op_end(&c);
    }
}

/* The middle of four pixels, one pixel and a place outside, counted in f64. */
static void test_sampling_at_f64_points(void **state)
{
    (void)state;
    const double points[] = {0, 0, 1, -1, -3, 0};
    op_case c;
    op_begin(&c, "", "GridSample", 16);
    op_int(&c, "align_corners", 1);
    op_f32(&c, DIMS(1, 1, 2, 2), F32(1, 2, 3, 6));
    op_input(&c, WEFT_TYPE_F64, DIMS(1, 1, 3, 2), points);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 1, 3), F32(3, 2, 0), 1e-6F);
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_resizing),
        cmocka_unit_test(test_nearest_resizing),
        cmocka_unit_test(test_resizing_bytes),
        cmocka_unit_test(test_other_filters),
        cmocka_unit_test(test_sampling_at_f64_points),
        cmocka_unit_test(test_conv_transpose),
        cmocka_unit_test(test_conv_transpose_in_one_dimension),
        cmocka_unit_test(test_col2im),
        cmocka_unit_test(test_depth_and_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
