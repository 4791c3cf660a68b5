/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

#include <math.h>

/* The quantized operators of com.microsoft against their formulas in doubles. Scales
 * are powers of two, so that sums and products are exact; functions may be off by one
 * step. */
enum { ROWS = 3, COLUMNS = 8, COUNT = ROWS * COLUMNS };

static const float a_scale = 0.0625F, b_scale = 0.125F, y_scale = 0.25F;

typedef struct bytes {
    weft_type type;
    int32_t zero;
    uint8_t data[COUNT];
} bytes;

static bytes make_bytes(weft_type type, int32_t zero, uint32_t seed)
{
    bytes made = {.type = type, .zero = zero};
    for (uint32_t i = 0; i < COUNT; i++) {
        seed = seed * 1664525u + 1013904223u;
        made.data[i] = (uint8_t)(seed >> 24);
    }
    return made;
}

static double real_at(const bytes *x, int32_t i, float scale)
{
    int32_t value = x->type == WEFT_TYPE_I8 ? (int8_t)x->data[i] : x->data[i];
    return (value - x->zero) * (double)scale;
}

static uint8_t quantized(weft_type type, double value, int32_t zero)
{
    double low = type == WEFT_TYPE_I8 ? -128 : 0;
    double y = nearbyint(value / (double)y_scale) + zero;
    y = y < low ? low : y > low + 255 ? low + 255 : y;
    return (uint8_t)(int32_t)y;
}

static void give(op_case *c, const bytes *x, float scale, int32_t rank,
                 const int64_t *dims)
{
    uint8_t zero = (uint8_t)x->zero;
    op_input(c, x->type, rank, dims, x->data);
    op_constant(c, WEFT_TYPE_F32, SCALAR, &scale);
    op_constant(c, x->type, SCALAR, &zero);
}

static void give_result(op_case *c, weft_type type, int32_t zero)
{
    uint8_t byte = (uint8_t)zero;
    op_constant(c, WEFT_TYPE_F32, SCALAR, &y_scale);
    op_constant(c, type, DIMS(1), &byte);
}

static void expect(const op_case *c, const bytes *like, int32_t count,
                   const double *wanted, int32_t zero, int steps)
{
    const uint8_t *y = c->results[0];
    assert_int_equal(c->outputs[0].type, like->type);
    for (int32_t i = 0; i < count; i++) {
        uint8_t byte = quantized(like->type, wanted[i], zero);
        int off =
            like->type == WEFT_TYPE_I8 ? (int8_t)y[i] - (int8_t)byte : y[i] - byte;
        if (off > steps || -off > steps) {
            fail_msg("%s: element %d is %d, expected %d", c->op->name, i, y[i], byte);
        }
    }
}

static const weft_type types[] = {WEFT_TYPE_U8, WEFT_TYPE_I8};
static const int32_t zeros[] = {120, -3};

static void test_of_two(void **state)
{
    (void)state;
    static const char *const names[] = {"QLinearAdd", "QLinearMul"};
    double wanted[COUNT];
    for (uint32_t k = 0; k < 4; k++) {
        weft_type type = types[k % 2];
        bytes a = make_bytes(type, zeros[k % 2], k), b = make_bytes(type, 7, k + 9);
        op_case c;
        op_begin(&c, "com.microsoft", names[k / 2], 1);
        give(&c, &a, a_scale, DIMS(ROWS, COLUMNS));
        give(&c, &b, b_scale, DIMS(COLUMNS));
        give_result(&c, type, 11);
        op_run(&c, 1);
        for (int32_t i = 0; i < COUNT; i++) {
            double x = real_at(&a, i, a_scale), y = real_at(&b, i % COLUMNS, b_scale);
            wanted[i] = k < 2 ? x + y : x * y;
        }
        /* A sum on the half of a step is rounded with its zero point. */
        expect(&c, &a, COUNT, wanted, 11, k < 2 ? 1 : 0);
        for (int32_t i = 0; k < 2 && i < COUNT; i++) {
            double exact = nearbyint(wanted[i] / (double)y_scale + 11);
            bool inside =
                exact >= -128 + 128 * (k == 0) && exact <= 127 + 128 * (k == 0);
            assert_true(!inside || ((uint8_t *)c.results[0])[i] == (uint8_t)(int)exact);
        }
        op_end(&c);
    }
}

static void test_where(void **state)
{
    (void)state;
    double wanted[COUNT];
    uint8_t condition[COUNT];
    bytes a = make_bytes(WEFT_TYPE_U8, 3, 1), b = make_bytes(WEFT_TYPE_U8, 200, 2);
    for (int32_t i = 0; i < COUNT; i++) {
        condition[i] = i % 3 == 1;
        wanted[i] = condition[i] ? real_at(&a, i, a_scale) : real_at(&b, i, b_scale);
    }
    op_case c;
    op_begin(&c, "com.microsoft", "QLinearWhere", 1);
    op_input(&c, WEFT_TYPE_BOOL, DIMS(COUNT), condition);
    give(&c, &a, a_scale, DIMS(COUNT));
    give(&c, &b, b_scale, DIMS(COUNT));
    give_result(&c, WEFT_TYPE_U8, 100);
    op_run(&c, 1);
    expect(&c, &a, COUNT, wanted, 100, 0);
    op_end(&c);
}

static void test_concat(void **state)
{
    (void)state;
    double wanted[3 * COUNT];
    bytes parts[3];
    op_case c;
    op_begin(&c, "com.microsoft", "QLinearConcat", 1);
    op_int(&c, "axis", -2);
    give_result(&c, WEFT_TYPE_I8, 5);
    for (int32_t k = 0; k < 3; k++) {
        float scale = k == 1 ? b_scale : a_scale;
        parts[k] = make_bytes(WEFT_TYPE_I8, k, (uint32_t)k);
        give(&c, &parts[k], scale, DIMS(ROWS, COLUMNS));
        for (int32_t i = 0; i < COUNT; i++) {
            wanted[k * COUNT + i] = real_at(&parts[k], i, scale);
        }
    }
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_I8, DIMS(3 * ROWS, COLUMNS));
    expect(&c, parts, 3 * COUNT, wanted, 5, 0);
    op_end(&c);
}

static double softmax_at(const bytes *x, int32_t begin, int32_t count, int32_t i)
{
    double sum = 0;
    for (int32_t k = begin; k < begin + count; k++) {
        sum += exp(real_at(x, k, a_scale) - real_at(x, i, a_scale));
    }
    return 1 / sum;
}

static double mean_of(const bytes *x, int32_t begin, int32_t count)
{
    double sum = 0;
    for (int32_t k = begin; k < begin + count; k++) {
        sum += real_at(x, k, a_scale);
    }
    return sum / count;
}

typedef struct function_case {
    const char *name;
    int32_t count; /* elements of the result */
    void (*set)(op_case *c);
    double (*value)(const bytes *x, int32_t i);
} function_case;

static double sigmoid_value(const bytes *x, int32_t i)
{
    return 1 / (1 + exp(-real_at(x, i, a_scale)));
}

static double leaky_value(const bytes *x, int32_t i)
{
    double value = real_at(x, i, a_scale);
    return value < 0 ? 0.5 * value : value;
}

static void set_leaky(op_case *c)
{
    op_float(c, "alpha", 0.5F);
}

/* [1, ROWS, 2, COLUMNS / 2] */
static double global_value(const bytes *x, int32_t i)
{
    return mean_of(x, i * COLUMNS, COLUMNS);
}

static double pool_value(const bytes *x, int32_t i)
{
    return mean_of(x, 2 * i, 2);
}

static void set_pool(op_case *c)
{
    static const int64_t kernel[] = {1, 2};
    op_ints(c, "kernel_shape", 2, kernel);
    op_ints(c, "strides", 2, kernel);
}

static void set_mean(op_case *c)
{
    static const int64_t axes[] = {-1, 2};
    op_ints(c, "axes", 2, axes);
    op_int(c, "keepdims", 0);
}

static double all_mean_value(const bytes *x, int32_t i)
{
    (void)i;
    return mean_of(x, 0, COUNT);
}

static double row_value(const bytes *x, int32_t i)
{
    return softmax_at(x, i / (COLUMNS / 2) * (COLUMNS / 2), COLUMNS / 2, i);
}

static void set_row(op_case *c)
{
    op_int(c, "opset", 13);
}

/* All dimensions behind axis 1 are one row. */
static double plane_value(const bytes *x, int32_t i)
{
    return softmax_at(x, 0, COUNT, i);
}

static void set_plane(op_case *c)
{
    op_int(c, "opset", 12);
    op_int(c, "axis", 1);
}

static void test_functions(void **state)
{
    (void)state;
    static const function_case cases[] = {
        {"QLinearSigmoid", COUNT, NULL, sigmoid_value},
        {"QLinearLeakyRelu", COUNT, set_leaky, leaky_value},
        {"QLinearGlobalAveragePool", ROWS, NULL, global_value},
        {"QLinearAveragePool", COUNT / 2, set_pool, pool_value},
        {"QLinearReduceMean", ROWS, set_mean, global_value},
        {"QLinearReduceMean", 1, NULL, all_mean_value},
        {"QLinearSoftmax", COUNT, set_row, row_value},
        {"QLinearSoftmax", COUNT, set_plane, plane_value},
    };
    double wanted[COUNT];
    for (size_t k = 0; k < 2 * WEFTI_COUNT_OF(cases); k++) {
        const function_case *what = &cases[k / 2];
        bytes x = make_bytes(types[k % 2], zeros[k % 2], (uint32_t)k);
        op_case c;
        op_begin(&c, "com.microsoft", what->name, 1);
        if (what->set != NULL) {
            what->set(&c);
        }
        give(&c, &x, a_scale, DIMS(1, ROWS, 2, COLUMNS / 2));
        give_result(&c, x.type, 1);
        op_run(&c, 1);
        for (int32_t i = 0; i < what->count; i++) {
            wanted[i] = what->value(&x, i);
        }
        expect(&c, &x, what->count, wanted, 1, 1);
        op_end(&c);
    }
}

/* [ROWS, COLUMNS] by [4, COLUMNS] turned. */
static void test_gemm(void **state)
{
    (void)state;
    enum { OUT = 4 };
    static const float scales[OUT] = {0.125F, 0.25F, 0.125F, 0.5F};
    static const int8_t plain[OUT];
    static const int32_t bias[OUT] = {100, -200, 0, 77};
    bytes a = make_bytes(WEFT_TYPE_U8, 130, 3), b = make_bytes(WEFT_TYPE_I8, 0, 4);
    uint8_t weights[OUT * COLUMNS];
    double wanted[ROWS * OUT];
    memcpy(weights, b.data, COUNT);
    memcpy(weights + COUNT, b.data, sizeof(weights) - COUNT);
    for (int32_t i = 0; i < ROWS * OUT; i++) {
        double sum = bias[i % OUT];
        for (int32_t k = 0; k < COLUMNS; k++) {
            sum += (a.data[i / OUT * COLUMNS + k] - a.zero) *
                   (int8_t)weights[i % OUT * COLUMNS + k];
        }
        wanted[i] = sum * 0.5 * (double)a_scale * (double)scales[i % OUT];
    }
    for (int32_t real = 0; real < 2; real++) {
        op_case c;
        op_begin(&c, "com.microsoft", "QGemm", 1);
        op_int(&c, "transB", 1);
        op_float(&c, "alpha", 0.5F);
        give(&c, &a, a_scale, DIMS(ROWS, COLUMNS));
        op_input(&c, WEFT_TYPE_I8, DIMS(OUT, COLUMNS), weights);
        op_constant(&c, WEFT_TYPE_F32, DIMS(OUT), scales);
        op_constant(&c, WEFT_TYPE_I8, DIMS(OUT), plain);
        op_input(&c, WEFT_TYPE_I32, DIMS(OUT), bias);
        if (!real) {
            give_result(&c, WEFT_TYPE_U8, 9);
        }
        op_run(&c, 1);
        for (int32_t i = 0; real && i < ROWS * OUT; i++) {
            assert_true(((const float *)c.results[0])[i] == (float)wanted[i]);
        }
        if (!real) {
            expect(&c, &a, ROWS * OUT, wanted, 9, 0);
        }
        op_end(&c);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const float two[] = {1, 2};
    bytes a = make_bytes(WEFT_TYPE_U8, 0, 1);
    op_case c;
    op_begin(&c, "com.microsoft", "QLinearSigmoid", 1);
    op_input(&c, WEFT_TYPE_U8, DIMS(2, 2), a.data);
    op_constant(&c, WEFT_TYPE_F32, DIMS(2), two);
    op_absent(&c);
    give_result(&c, WEFT_TYPE_U8, 0);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "not a single number");
    op_end(&c);
    op_begin(&c, "com.microsoft", "QLinearAveragePool", 1);
    op_int(&c, "channels_last", 1);
    set_pool(&c);
    give(&c, &a, a_scale, DIMS(1, ROWS, 2, 4));
    give_result(&c, WEFT_TYPE_U8, 0);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "channels_last");
    op_end(&c);
    op_begin(&c, "com.microsoft", "QLinearConcat", 1);
    op_int(&c, "axis", 0);
    give_result(&c, WEFT_TYPE_U8, 0);
    give(&c, &a, a_scale, DIMS(4));
    op_input(&c, WEFT_TYPE_U8, DIMS(4), a.data);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "by turns");
    op_end(&c);
    op_begin(&c, "com.microsoft", "QLinearAdd", 1); /* both are of one type */
    give(&c, &a, a_scale, DIMS(4));
    op_f32(&c, DIMS(4), F32(1, 2, 3, 4));
    op_constant(&c, WEFT_TYPE_F32, SCALAR, two);
    op_absent(&c);
    give_result(&c, WEFT_TYPE_U8, 0);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "f32");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_two), cmocka_unit_test(test_where),
        cmocka_unit_test(test_concat), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_gemm),   cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
