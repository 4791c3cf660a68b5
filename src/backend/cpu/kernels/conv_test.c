/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "support/kernel_case.h"

/* Every instruction set's convolution against plain C, bit for bit: dimensions,
 * groups, strides, dilations, padding, short and long rows. */

typedef struct convolution {
    wefti_conv_params params;
    kernel_case step;
    float *input, *weight, *bias, *residual, *output;
} convolution;

static int64_t product(const int64_t dims[3])
{
    return dims[0] * dims[1] * dims[2];
}

static void make(convolution *x, const wefti_conv_params *params, uint64_t which)
{
    x->params = *params;
    wefti_conv_params *p = &x->params;
    const size_t inputs = (size_t)(p->batch * p->in_channels * product(p->in_dims));
    const size_t outputs = (size_t)(p->batch * p->out_channels * product(p->out_dims));
    const size_t weights = (size_t)(p->out_channels * (p->in_channels / p->groups) *
                                    product(p->kernel_dims));
    x->input = kernel_random(inputs, which);
    x->weight = kernel_random(weights, which + 1);
    x->bias = kernel_random((size_t)p->out_channels, which + 2);
    x->residual = kernel_random(outputs, which + 3);
    x->output = kernel_random(outputs, which + 4);
    kernel_case_init(&x->step, WEFTI_KERNEL_CONV, p, sizeof(*p));
    kernel_case_operand(&x->step, WEFTI_CONV_INPUT, x->input, false);
    kernel_case_operand(&x->step, WEFTI_CONV_WEIGHT, x->weight, (which & 1) != 0);
    if ((which & 2) != 0) {
        kernel_case_operand(&x->step, WEFTI_CONV_BIAS, x->bias, false);
    }
    if ((which & 4) != 0) {
        kernel_case_operand(&x->step, WEFTI_CONV_RESIDUAL, x->residual, false);
    }
    p->activation = (wefti_activation)(which / 8 % WEFTI_ACTIVATION_COUNT);
    p->activation_alpha = 0.3f;
    kernel_case_output(&x->step, WEFTI_CONV_OUTPUT, x->output, outputs);
}

static void drop(convolution *x)
{
    kernel_free(x->input);
    kernel_free(x->weight);
    kernel_free(x->bias);
    kernel_free(x->residual);
    kernel_free(x->output);
}

static void check(const wefti_conv_params *params, uint64_t which)
{
    convolution x;
    make(&x, params, which);
    kernel_case_check(&x.step);
    drop(&x);
}

/* Output dims from the others and the padding behind. */
static void set_out_dims(wefti_conv_params *p, const int64_t pads_end[3])
{
    for (int32_t d = 0; d < 3; d++) {
        const int64_t window = (p->kernel_dims[d] - 1) * p->dilations[d] + 1;
        const int64_t room = p->in_dims[d] + p->pads_begin[d] + pads_end[d] - window;
        p->out_dims[d] = room < 0 ? 0 : room / p->strides[d] + 1;
    }
}

static int64_t up_to(uint64_t *seed, int64_t low, int64_t high)
{
    return low + (int64_t)(kernel_next(seed) % (uint64_t)(high - low + 1));
}

static void random_dims(wefti_conv_params *p, uint64_t *seed, int32_t dims)
{
    int64_t pads_end[3] = {0, 0, 0};
    for (int32_t d = 0; d < 3; d++) {
        p->in_dims[d] = p->kernel_dims[d] = p->strides[d] = p->dilations[d] = 1;
        p->pads_begin[d] = 0;
        if (d < 3 - dims) {
            continue;
        }
        p->kernel_dims[d] = up_to(seed, 1, 4);
        p->strides[d] = up_to(seed, 1, 3);
        p->dilations[d] = up_to(seed, 1, 3);
        p->pads_begin[d] = up_to(seed, 0, 3);
        pads_end[d] = up_to(seed, 0, 3);
        p->in_dims[d] = up_to(seed, 1, d == 2 ? (dims == 1 ? 150 : 40) : 9);
        const int64_t window = (p->kernel_dims[d] - 1) * p->dilations[d] + 1;
        p->in_dims[d] += p->in_dims[d] < window ? window : 0;
    }
    set_out_dims(p, pads_end);
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = 31415;
    for (uint64_t round = 0; round < 300; round++) {
        wefti_conv_params p = {.batch = up_to(&seed, 1, 2)};
        p.groups = up_to(&seed, 0, 3) == 0 ? up_to(&seed, 2, 4) : 1;
        p.in_channels = p.groups * up_to(&seed, 1, 4);
        p.out_channels = p.groups * up_to(&seed, 1, round % 10 == 0 ? 60 : 9);
        random_dims(&p, &seed, 1 + (int32_t)(round % 3));
        check(&p, round);
    }
}

/* The shapes whose paths differ: rows of whole vectors, one point, many channels. */
static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        int64_t batch, in, out, groups, height, width, kernel, stride, pad;
    } shapes[] = {
        {1, 3, 20, 1, 12, 64, 3, 1, 1},   {1, 2, 7, 1, 9, 32, 3, 1, 1},
        {2, 16, 10, 1, 1, 128, 3, 1, 1},  {1, 1, 16, 1, 1, 300, 3, 1, 1},
        {1, 16, 1, 1, 1, 300, 3, 1, 1},   {1, 8, 9, 1, 8, 16, 1, 1, 0},
        {1, 8, 9, 1, 7, 7, 1, 1, 0},      {1, 5, 60, 1, 7, 7, 3, 1, 1},
        {1, 5, 9, 1, 14, 14, 3, 2, 1},    {1, 6, 6, 6, 20, 20, 3, 1, 1},
        {1, 4, 8, 2, 15, 33, 5, 2, 2},    {1, 9, 13, 1, 10, 34, 3, 1, 0},
        {1, 300, 260, 1, 1, 20, 3, 1, 1}, {1, 3, 5, 1, 4, 4, 1, 2, 0},
        {1, 2, 3, 1, 6, 48, 3, 3, 1},     {1, 40, 3, 1, 30, 60, 3, 1, 1},
        {1, 3, 5, 1, 66, 66, 3, 1, 0},    {1, 64, 70, 1, 5, 28, 3, 1, 1},
    };
    for (uint64_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        const bool flat = shapes[i].height == 1;
        const int64_t k = shapes[i].kernel, s = shapes[i].stride, b = shapes[i].pad;
        wefti_conv_params p = {
            .batch = shapes[i].batch,
            .in_channels = shapes[i].in,
            .out_channels = shapes[i].out,
            .groups = shapes[i].groups,
            .in_dims = {1, shapes[i].height, shapes[i].width},
            .kernel_dims = {1, flat ? 1 : k, k},
            .strides = {1, flat ? 1 : s, s},
            .dilations = {1, 1, 1},
            .pads_begin = {0, flat ? 0 : b, b},
        };
        set_out_dims(&p, p.pads_begin);
        check(&p, i * 3 + 1);
    }
}

/* Constant weights of many channels over short rows and strides: lanes along the
 * channels, k in several pieces, panels that are not full, all that follows the sums.
 */
static void test_points(void **state)
{
    (void)state;
    uint64_t seed = 27182;
    for (uint64_t round = 0; round < 45; round++) {
        wefti_conv_params p = {.batch = up_to(&seed, 1, 2)};
        p.groups = round % 5 == 0 ? 2 : 1;
        p.in_channels = p.groups * up_to(&seed, 1, round % 9 == 0 ? 150 : 12);
        p.out_channels = p.groups * up_to(&seed, 12, round % 7 == 0 ? 140 : 40);
        random_dims(&p, &seed, 1 + (int32_t)(round % 3));
        if (round % 2 == 0) {
            p.in_dims[2] = p.kernel_dims[2] * p.dilations[2] + up_to(&seed, 0, 9);
        }
        p.in_dims[1] = p.in_dims[1] > 12 ? 12 : p.in_dims[1];
        set_out_dims(&p, p.pads_begin);
        check(&p, round * 2 + 1);
    }
}

/* Rows long enough to be cut, planes large enough for several tiles of rows. */
static void test_points_tiles(void **state)
{
    (void)state;
    static const struct {
        int64_t in, out, height, width, kernel, stride, pad;
    } shapes[] = {
        {30, 16, 1, 700, 5, 2, 2}, {150, 80, 14, 14, 1, 1, 0},
        {60, 16, 29, 29, 3, 2, 1}, {20, 32, 60, 9, 3, 1, 1},
        {40, 64, 30, 30, 1, 2, 0}, {600, 20, 1, 1, 1, 1, 0},
        {65, 16, 32, 32, 1, 2, 0},
    };
    for (uint64_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        const bool flat = shapes[i].height == 1;
        const int64_t k = shapes[i].kernel, s = shapes[i].stride;
        const int64_t pad = shapes[i].pad;
        wefti_conv_params p = {
            .batch = 1,
            .in_channels = shapes[i].in,
            .out_channels = shapes[i].out,
            .groups = 1,
            .in_dims = {1, shapes[i].height, shapes[i].width},
            .kernel_dims = {1, flat ? 1 : k, k},
            .strides = {1, flat ? 1 : s, s},
            .dilations = {1, 1, 1},
            .pads_begin = {0, flat ? 0 : pad, pad},
        };
        set_out_dims(&p, p.pads_begin);
        check(&p, i * 6 + 1);
    }
}

/* What lies between windows that are far apart is not copied. */
static void test_far_windows(void **state)
{
    (void)state;
    static const struct {
        int64_t in, out, kernel, dilation, stride, width;
    } shapes[] = {
        {12, 32, 2, 1, 40, 500},
        {12, 32, 2, 30, 40, 500},
        {64, 64, 2, 1, 4096, 300000},
        {64, 64, 2, 4096, 4096, 300000},
    };
    for (uint64_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        wefti_conv_params p = {
            .batch = 1,
            .in_channels = shapes[i].in,
            .out_channels = shapes[i].out,
            .groups = 1,
            .in_dims = {1, 1, shapes[i].width},
            .kernel_dims = {1, 1, shapes[i].kernel},
            .strides = {1, 1, shapes[i].stride},
            .dilations = {1, 1, shapes[i].dilation},
        };
        set_out_dims(&p, p.pads_begin);
        if (shapes[i].width <= 500) {
            check(&p, i * 6 + 1);
            continue;
        }
        const float weight = 0; /* nothing is computed */
        kernel_case x;
        kernel_case_init(&x, WEFTI_KERNEL_CONV, &p, sizeof(p));
        kernel_case_operand(&x, WEFTI_CONV_WEIGHT, &weight, true);
        for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; isa[1] != NULL; isa++) {
            wefti_cpu_prepared made = {.packed_operand = -1};
            assert_int_equal(
                (*isa)->prepare[WEFTI_KERNEL_CONV](&x.step, true, &made, NULL),
                WEFT_OK);
            wefti_free(made.derived);
            assert_in_range(made.scratch_bytes, 1, 1 << 20);
        }
    }
}

/* Groups of one channel: short, long and very long rows, 3 x 3 and others. */
static void test_depthwise(void **state)
{
    (void)state;
    uint64_t seed = 1618;
    for (uint64_t round = 0; round < 240; round++) {
        wefti_conv_params p = {.batch = up_to(&seed, 1, 2)};
        p.groups = p.in_channels = p.out_channels = up_to(&seed, 1, 5);
        random_dims(&p, &seed, 1 + (int32_t)(round % 3));
        if (round % 2 == 0) {
            p.kernel_dims[1] = 3 + (int64_t)(round / 2 % 3) * 2;
            p.kernel_dims[2] = round % 4 == 0 ? p.kernel_dims[1] : p.kernel_dims[2];
            p.strides[1] = p.dilations[1] = 1;
            p.in_dims[1] = up_to(&seed, 7, 30);
            p.in_dims[2] = up_to(&seed, 7, round % 10 == 0 ? 400 : 90);
        } else if (round % 24 == 1) {
            p.in_dims[2] = up_to(&seed, 6000, 15000);
        }
        set_out_dims(&p, p.pads_begin);
        check(&p, round);
    }
}

static void test_empty(void **state)
{
    (void)state;
    wefti_conv_params p = {.batch = 0,
                           .in_channels = 2,
                           .out_channels = 3,
                           .groups = 1,
                           .in_dims = {1, 4, 4},
                           .out_dims = {1, 4, 4},
                           .kernel_dims = {1, 1, 1},
                           .strides = {1, 1, 1},
                           .dilations = {1, 1, 1}};
    check(&p, 0);
    p.batch = 1;
    p.in_dims[1] = p.out_dims[1] = 0;
    check(&p, 6);
    p.in_dims[1] = p.out_dims[1] = 4;
    p.in_channels = 0;
    check(&p, 7);
    p.out_channels = 0;
    check(&p, 8);
}

static void test_special_values(void **state)
{
    (void)state;
    const float special[] = {INFINITY, -INFINITY, NAN, -NAN, -0.0f, 1e38f, 1e-40f};
    uint64_t seed = 77;
    for (uint64_t round = 0; round < 40; round++) {
        wefti_conv_params p = {.batch = 1,
                               .in_channels = 2,
                               .out_channels = 7,
                               .groups = 1,
                               .in_dims = {1, 5, 19},
                               .kernel_dims = {1, 3, 3},
                               .strides = {1, 1, 1},
                               .dilations = {1, 1, 1},
                               .pads_begin = {0, 1, 1}};
        set_out_dims(&p, p.pads_begin);
        convolution x;
        make(&x, &p, round);
        for (int32_t i = 0; i < 3; i++) {
            x.input[kernel_next(&seed) % 190] = special[kernel_next(&seed) % 7];
            x.weight[kernel_next(&seed) % 126] = special[kernel_next(&seed) % 7];
            x.residual[kernel_next(&seed) % 665] = special[kernel_next(&seed) % 7];
        }
        kernel_case_check(&x.step);
        drop(&x);
    }
}

/* The bits on x86-64 and on AArch64 are the same. */
static void test_written_down(void **state)
{
    (void)state;
    wefti_conv_params p = {.batch = 1,
                           .in_channels = 3,
                           .out_channels = 8,
                           .groups = 1,
                           .in_dims = {1, 9, 21},
                           .kernel_dims = {1, 3, 3},
                           .strides = {1, 2, 1},
                           .dilations = {1, 1, 1},
                           .pads_begin = {0, 1, 1}};
    set_out_dims(&p, p.pads_begin);
    convolution x;
    make(&x, &p, 8 * WEFTI_ACTIVATION_SIGMOID + 6);
    assert_true(kernel_case_hash(&x.step) == UINT64_C(0x8e93e28ee312420f));
    drop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),       cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_points),       cmocka_unit_test(test_points_tiles),
        cmocka_unit_test(test_far_windows),  cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_written_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
