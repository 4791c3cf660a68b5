/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "support/op_case.h"

#include "base/memory.h"

typedef double (*unary_function)(double x);

static double relu(double x)
{
    return x > 0 ? x : 0;
}
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}
static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}
static double reciprocal(double x)
{
    return 1 / x;
}
static double negate(double x)
{
    return -x;
}
static double sign(double x)
{
    return (x > 0) - (x < 0);
}
static double softplus(double x)
{
    return log1p(exp(x));
}
static double elu(double x)
{
    return x < 0 ? exp(x) - 1 : x;
}
static double leaky(double x)
{
    return x < 0 ? 0.01 * x : x;
}
static double hard_sigmoid(double x)
{
    return fmax(0, fmin(1, 0.2 * x + 0.5));
}
static double hard_swish(double x)
{
    return x * fmax(0, fmin(1, x / 6 + 0.5));
}
static double mish(double x)
{
    return x * tanh(softplus(x));
}
static double softsign(double x)
{
    return x / (1 + fabs(x));
}
static double selu(double x)
{
    return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * (exp(x) - 1));
}

static const struct {
    const char *op_type;
    unary_function function;
    bool positive;
} unaries[] = {
    {"Relu", relu, false},
    {"Sigmoid", sigmoid, false},
    {"Gelu", gelu, false},
    {"Reciprocal", reciprocal, true},
    {"Neg", negate, false},
    {"Abs", fabs, false},
    {"Sign", sign, false},
    {"Sqrt", sqrt, true},
    {"Exp", exp, false},
    {"Log", log, true},
    {"Erf", erf, false},
    {"Tanh", tanh, false},
    {"Floor", floor, false},
    {"Ceil", ceil, false},
    {"Round", rint, false},
    {"Sin", sin, false},
    {"Cos", cos, false},
    {"Softplus", softplus, false},
    {"Elu", elu, false},
    {"LeakyRelu", leaky, false},
    {"HardSigmoid", hard_sigmoid, false},
    {"HardSwish", hard_swish, false},
    {"Mish", mish, false},
    {"Softsign", softsign, false},
    {"Selu", selu, false},
};

enum { LENGTH = 35 };

static void test_functions_of_one_input(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEFTI_COUNT_OF(unaries); i++) {
        op_case c;
        float x[LENGTH];
        float expected[LENGTH];
        for (int32_t j = 0; j < LENGTH; j++) {
            x[j] = (float)(j - (unaries[i].positive ? -1 : 17)) * 0.37F;
            expected[j] = (float)unaries[i].function((double)x[j]);
        }
        op_begin(&c, "", unaries[i].op_type, 23);
        op_f32(&c, DIMS(5, 7), x);
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(5, 7), expected, 1e-6F);
        op_end(&c);
    }
}

/* Doubles are right to some units in their last place. */
static void test_functions_of_doubles(void **state)
{
    (void)state;
    static const struct {
        const char *op_type;
        unary_function function;
    } functions[] = {{"Exp", exp},   {"Log", log},         {"Erf", erf}, {"Sin", sin},
                     {"Tanh", tanh}, {"Sigmoid", sigmoid}, {"Cos", cos}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(functions); i++) {
        op_case c;
        double x[LENGTH];
        for (int32_t j = 0; j < LENGTH; j++) {
            x[j] = (double)(j - 17) * 0.37 + (j % 3 == 0 ? 1e-9 : 0);
        }
        x[0] = INFINITY;
        x[1] = -INFINITY;
        x[2] = NAN;
        x[3] = -700;
        x[4] = 1e-300;
        op_begin(&c, "", functions[i].op_type, 13);
        op_input(&c, WEFT_TYPE_F64, DIMS(5, 7), x);
        op_run(&c, 1);
        op_expect_shape(&c, 0, WEFT_TYPE_F64, DIMS(5, 7));
        const double *y = c.results[0];
        for (int32_t j = 0; j < LENGTH; j++) {
            double expected = functions[i].function(x[j]);
            double unit = nextafter(fabs(expected), INFINITY) - fabs(expected);
            bool same = y[j] == expected || (isnan(y[j]) && isnan(expected));
            assert_true(same || fabs(y[j] - expected) <= 4 * unit);
        }
        op_end(&c);
    }
}

/* Sines of all sizes; the last is as close to a multiple of pi / 2 as doubles come
 * (Muller et al., "Handbook of Floating-Point Arithmetic"), and its cosine is not left
 * to the C library. */
static void test_large_angles(void **state)
{
    (void)state;
    enum { ANGLES = 4096, LAST = ANGLES - 1 };
    static double x[ANGLES];
    uint64_t seed = 5;
    for (int32_t i = 0; i < ANGLES; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        double size = 1.0 + (double)(seed >> 11) * 0x1p-53;
        x[i] = ldexp(i % 2 == 0 ? size : -size, i % 1100 - 76);
        x[i] = i % 3 == 0 ? (i - LAST / 2) * 0.78539816339744831 : x[i];
    }
    x[LAST] = ldexp(6381956970095103.0, 797);
    for (int32_t k = 0; k < 2; k++) {
        op_case c;
        op_begin(&c, "", k == 0 ? "Sin" : "Cos", 13);
        op_input(&c, WEFT_TYPE_F64, DIMS(ANGLES), x);
        op_run(&c, 1);
        const double *y = c.results[0];
        for (int32_t i = 0; i < ANGLES; i++) {
            double expected = k == 0 ? sin(x[i]) : cos(x[i]);
            expected = k == 1 && i == LAST ? -4.687165924254627611122583e-19 : expected;
            double unit = nextafter(fabs(expected), INFINITY) - fabs(expected);
            assert_true(fabs(y[i] - expected) <= 3 * unit);
        }
        op_end(&c);
    }
}

static void test_gelu_by_tanh(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Gelu", 20);
    op_string(&c, "approximate", "tanh");
    op_f32(&c, DIMS(2), F32(-0.5F, 1.5F));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2), F32((float)gelu_tanh(-0.5), (float)gelu_tanh(1.5)),
                  1e-6F);
    op_end(&c);
}

static void test_gelu_of_microsoft(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "com.microsoft", "BiasGelu", 1);
    op_f32(&c, DIMS(2, 2), F32(0, 1, 2, 3));
    op_f32(&c, DIMS(2), F32(0.5F, -1));
    op_run(&c, 1);
    op_expect_f32(
        &c, 0, DIMS(2, 2),
        F32((float)gelu(0.5), (float)gelu(0), (float)gelu(2.5), (float)gelu(2)), 1e-6F);
    op_end(&c);
}

static void test_add_broadcasts(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Add", 13);
    op_f32(&c, DIMS(2, 1, 3), F32(1, 2, 3, 4, 5, 6));
    op_f32(&c, DIMS(2, 1), F32(10, 20));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 3),
                  F32(11, 12, 13, 21, 22, 23, 14, 15, 16, 24, 25, 26), 0);
    assert_int_equal(c.step_count, 1);
    op_end(&c);
}

static void test_add_of_scalars_and_nothing(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Add", 13);
    op_f32(&c, SCALAR, F32(1));
    op_f32(&c, SCALAR, F32(2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, SCALAR, F32(3), 0);
    op_end(&c);
    op_begin(&c, "", "Add", 13);
    op_f32(&c, DIMS(2, 0, 3), NULL);
    op_f32(&c, DIMS(1, 3), F32(1, 2, 3));
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(2, 0, 3));
    assert_int_equal(c.step_count, 0);
    op_end(&c);
}

static void test_bad_shapes_and_types(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Add", 13);
    op_f32(&c, DIMS(2, 3), NULL);
    op_f32(&c, DIMS(2), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT,
                    "shapes [2, 3] and [2] cannot be broadcast");
    op_end(&c);
    op_begin(&c, "", "Add", 13);
    op_f32(&c, DIMS(2), NULL);
    op_input(&c, WEFT_TYPE_I64, DIMS(2), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "input 1 has type i64");
    op_end(&c);
    op_begin(&c, "", "Add", 13);
    op_f32(&c, DIMS(2), NULL);
    op_absent(&c);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "input 1 is missing");
    op_end(&c);
    op_begin(&c, "", "Sqrt", 13);
    op_input(&c, WEFT_TYPE_F16, DIMS(2), NULL);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "f16");
    op_end(&c);
    op_begin(&c, "", "Gelu", 20);
    op_string(&c, "approximate", "often");
    op_f32(&c, DIMS(2), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "approximate is \"often\"");
    op_end(&c);
    op_begin(&c, "", "PRelu", 13);
    op_f32(&c, DIMS(3), NULL);
    op_f32(&c, DIMS(2, 3), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "expected [3]");
    op_end(&c);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *op_type;
        int64_t expected[4];
    } rows[] = {
        {"Add", {9, -5, 5, 5}}, {"Sub", {5, -9, -9, -5}}, {"Mul", {14, -14, -14, 0}},
        {"Div", {3, -3, 0, 0}}, {"Mod", {1, 1, 5, 0}},
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(rows); i++) {
        op_case c;
        op_begin(&c, "", rows[i].op_type, 14);
        op_input(&c, WEFT_TYPE_I64, DIMS(4), I64(7, -7, -2, 0));
        op_input(&c, WEFT_TYPE_I64, DIMS(4), I64(2, 2, 7, 5));
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(4), rows[i].expected);
        op_end(&c);
    }
}

static void test_comparisons_and_logic(void **state)
{
    (void)state;
    static const struct {
        const char *op_type;
        uint8_t expected[4];
    } rows[] = {
        {"Equal", {0, 1, 0, 0}},          {"Less", {1, 0, 0, 0}},
        {"Greater", {0, 0, 1, 0}},        {"LessOrEqual", {1, 1, 0, 0}},
        {"GreaterOrEqual", {0, 1, 1, 0}},
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(rows); i++) {
        op_case c;
        op_begin(&c, "", rows[i].op_type, 16);
        op_f32(&c, DIMS(4), F32(1, 2, 3, NAN));
        op_f32(&c, SCALAR, F32(2));
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(4), rows[i].expected);
        op_end(&c);
    }
    static const struct {
        const char *op_type;
        uint8_t expected[4];
    } logic[] = {
        {"And", {0, 0, 0, 1}},
        {"Or", {0, 1, 1, 1}},
        {"Xor", {0, 1, 1, 0}},
        {"Equal", {1, 0, 0, 1}},
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(logic); i++) {
        op_case c;
        op_begin(&c, "", logic[i].op_type, 13);
        op_input(&c, WEFT_TYPE_BOOL, DIMS(2, 2), BOOL(0, 0, 1, 1));
        op_input(&c, WEFT_TYPE_BOOL, DIMS(2, 2), BOOL(0, 1, 0, 1));
        op_run(&c, 1);
        op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(2, 2), logic[i].expected);
        op_end(&c);
    }
}

static void test_one_bool_result(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "IsNaN", 13);
    op_f32(&c, DIMS(3), F32(1, NAN, INFINITY));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(3), BOOL(0, 1, 0));
    op_end(&c);
    op_begin(&c, "", "Not", 13);
    op_input(&c, WEFT_TYPE_BOOL, DIMS(3), BOOL(0, 1, 0));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_BOOL, DIMS(3), BOOL(1, 0, 1));
    op_end(&c);
}

static void test_where(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Where", 16);
    op_input(&c, WEFT_TYPE_BOOL, DIMS(2, 1), BOOL(1, 0));
    op_f32(&c, DIMS(3), F32(1, 2, 3));
    op_f32(&c, SCALAR, F32(-1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(1, 2, 3, -1, -1, -1), 0);
    op_end(&c);
    op_begin(&c, "", "Where", 16);
    op_input(&c, WEFT_TYPE_BOOL, DIMS(2), BOOL(1, 0));
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(5, 6));
    op_input(&c, WEFT_TYPE_I64, DIMS(1), I64(1LL << 40));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(5, 1LL << 40));
    op_end(&c);
}

static void test_prelu(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "PRelu", 16);
    op_f32(&c, DIMS(2, 2), F32(-1, 2, -3, -4));
    op_f32(&c, DIMS(2, 1), F32(0.5F, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(-0.5F, 2, -6, -8), 0);
    op_end(&c);
}

static void test_clip(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Clip", 13);
    op_f32(&c, DIMS(4), F32(-2, 0.5F, 3, NAN));
    op_constant(&c, WEFT_TYPE_F32, SCALAR, F32(-1));
    op_constant(&c, WEFT_TYPE_F32, SCALAR, F32(1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4), F32(-1, 0.5F, 1, NAN), 0);
    assert_int_equal(c.step_count, 1);
    op_end(&c);
    op_begin(&c, "", "Clip", 13);
    op_f32(&c, DIMS(3), F32(-2, 0.5F, 3));
    op_absent(&c);
    op_f32(&c, DIMS(1), F32(1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3), F32(-2, 0.5F, 1), 0);
    op_end(&c);
    op_begin(&c, "", "Clip", 13);
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(INT64_MIN, INT64_MAX));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(INT64_MIN, INT64_MAX));
    op_end(&c);
    op_begin(&c, "", "Clip", 13);
    op_input(&c, WEFT_TYPE_I64, DIMS(3), I64(-9, 1LL << 60, 4));
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(0));
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64((1LL << 60) - 1));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(3), I64(0, (1LL << 60) - 1, 4));
    op_end(&c);
}

/* An absent limit is the lowest or greatest finite number, as ONNX says. */
static void check_clip_default(weft_type type, int32_t given, bool constant)
{
    static const float in32[] = {-INFINITY, INFINITY, NAN, -2, 2};
    static const double in64[] = {-INFINITY, INFINITY, NAN, -2, 2};
    bool is_f64 = type == WEFT_TYPE_F64;
    float out32[5];
    double out64[5];
    for (int32_t i = 0; i < 5; i++) {
        double low = given == 1 ? -1 : is_f64 ? -DBL_MAX : -(double)FLT_MAX;
        double high = given == 2 ? 1 : is_f64 ? DBL_MAX : (double)FLT_MAX;
        out64[i] = isnan(in64[i]) ? in64[i] : fmin(fmax(in64[i], low), high);
        out32[i] = isnan(in32[i]) ? in32[i] : (float)out64[i];
    }
    op_case c;
    op_begin(&c, "", "Clip", 13);
    op_input(&c, type, DIMS(5), is_f64 ? (const void *)in64 : (const void *)in32);
    for (int32_t i = 1; i <= given; i++) {
        double limit64 = i == 1 ? -1 : 1;
        float limit32 = (float)limit64;
        const void *limit = is_f64 ? (const void *)&limit64 : (const void *)&limit32;
        if (i < given) {
            op_absent(&c);
        } else if (constant) {
            op_constant(&c, type, SCALAR, limit);
        } else {
            op_input(&c, type, SCALAR, limit);
        }
    }
    op_run(&c, 1);
    op_expect_bytes(&c, 0, type, DIMS(5),
                    is_f64 ? (const void *)out64 : (const void *)out32);
    op_end(&c);
}

static void test_clip_defaults(void **state)
{
    (void)state;
    for (int32_t given = 0; given < 3; given++) {
        check_clip_default(WEFT_TYPE_F32, given, true);
        check_clip_default(WEFT_TYPE_F32, given, false);
        check_clip_default(WEFT_TYPE_F64, given, true);
    }
}

static void test_pow(void **state)
{
    (void)state;
    static const float exponents[] = {2, 3, 0.5F, 1.5F};
    for (size_t i = 0; i < WEFTI_COUNT_OF(exponents); i++) {
        op_case c;
        float expected[3];
        for (int32_t j = 0; j < 3; j++) {
            expected[j] = powf((float)j + 0.5F, exponents[i]);
        }
        op_begin(&c, "", "Pow", 15);
        op_f32(&c, DIMS(3), F32(0.5F, 1.5F, 2.5F));
        op_constant(&c, WEFT_TYPE_F32, SCALAR, &exponents[i]);
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(3), expected, 1e-6F);
        op_end(&c);
    }
    op_case c;
    op_begin(&c, "", "Pow", 15);
    op_f32(&c, DIMS(2), F32(3, 2));
    op_input(&c, WEFT_TYPE_I64, DIMS(2, 1), I64(2, 3));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(9, 4, 27, 8), 1e-6F);
    op_end(&c);
    op_begin(&c, "", "Pow", 15);
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(9, 4));
    op_f32(&c, SCALAR, F32(0.5F));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(3, 2));
    op_end(&c);
}

static void test_any_number_of_inputs(void **state)
{
    (void)state;
    static const struct {
        const char *op_type;
        float expected[2];
    } rows[] = {
        {"Sum", {21, 27}}, {"Mean", {3.5F, 4.5F}}, {"Max", {6, 7}}, {"Min", {1, 2}}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(rows); i++) {
        op_case c;
        op_begin(&c, "", rows[i].op_type, 13);
        for (int32_t j = 1; j <= 6; j++) {
            op_f32(&c, DIMS(2), F32((float)j, (float)j + 1));
        }
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(2), rows[i].expected, 1e-6F);
        assert_int_equal(c.step_count, 2);
        op_end(&c);
    }
    op_case c;
    op_begin(&c, "", "Max", 13);
    op_f32(&c, DIMS(2), F32(1, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2), F32(1, 2), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Max", 13);
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(1, 9));
    op_input(&c, WEFT_TYPE_I64, DIMS(2), I64(5, 6));
    op_input(&c, WEFT_TYPE_I64, DIMS(1), I64(3));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(2), I64(5, 9));
    op_end(&c);
}

static void test_fused_program(void **state)
{
    (void)state;
    op_case c;
    const int64_t program[] = {WEFTI_OP_ADD,   0, 1, 0, WEFTI_OP_RELU, 4, 0, 0,
                               WEFTI_OP_SCALE, 5, 0, 0, WEFTI_OP_MUL,  6, 2, 0};
    op_begin(&c, "weft", "FusedElementwise", 13);
    op_ints(&c, "program", 16, program);
    op_floats(&c, "constants", 8, F32(0, 0, 0, 0, 2, 1, 0, 0));
    op_f32(&c, DIMS(2, 2), F32(1, -5, 2, 3));
    op_f32(&c, DIMS(2), F32(1, 2));
    op_f32(&c, DIMS(2, 1), F32(10, 100));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(50, 10, 700, 1100), 0);
    op_end(&c);
    op_begin(&c, "weft", "FusedElementwise", 13);
    op_ints(&c, "program", 4, I64(WEFTI_OP_RELU, 1, 0, 0));
    op_floats(&c, "constants", 2, F32(0, 0));
    op_f32(&c, DIMS(2), NULL);
    op_expect_error(&c, 1, WEFT_INTERNAL, "register 1");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions_of_one_input),
        cmocka_unit_test(test_functions_of_doubles),
        cmocka_unit_test(test_large_angles),
        cmocka_unit_test(test_gelu_by_tanh),
        cmocka_unit_test(test_gelu_of_microsoft),
        cmocka_unit_test(test_add_broadcasts),
        cmocka_unit_test(test_add_of_scalars_and_nothing),
        cmocka_unit_test(test_bad_shapes_and_types),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_comparisons_and_logic),
        cmocka_unit_test(test_one_bool_result),
        cmocka_unit_test(test_where),
        cmocka_unit_test(test_prelu),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_clip_defaults),
        cmocka_unit_test(test_pow),
        cmocka_unit_test(test_any_number_of_inputs),
        cmocka_unit_test(test_fused_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
