/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "backend/cpu/reference/math.h"

/* Every function against the C library's double version: floats of every exponent,
 * both signs, subnormals and the special values. The bound is in units in the last
 * place of the exact answer. */

static double exact_gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double exact_gelu_tanh(double x)
{
    double u = 0.79788456080286535588 * (x + 0.044715 * x * x * x);
    return x / (1.0 + exp(-2.0 * u));
}

static double exact_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double exact_softplus(double x)
{
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double exact_elu(double x)
{
    return x < 0.0 ? expm1(x) : x;
}

static float elu(float x)
{
    return x < 0.0f ? ref_expm1_negative(x) : x;
}

static float sine(float x)
{
    return ref_sine(x, 0);
}

static float cosine(float x)
{
    return ref_sine(x, 1);
}

static double cube_root_power(double x)
{
    return pow(x, (double)(1.0f / 3.0f));
}

static float power_third(float x)
{
    return wefti_pow(x, 1.0f / 3.0f);
}

static double exact_minus_power(double x)
{
    return pow(x, -7.0);
}

static float power_minus_7(float x)
{
    return wefti_pow(x, -7.0f);
}

static float ref_exp_function(float x)
{
    return ref_exp(x);
}

static float ref_log_function(float x)
{
    return ref_log(x);
}

static float ref_erf_function(float x)
{
    return ref_erf(x);
}

static float ref_tanh_function(float x)
{
    return ref_tanh(x);
}

static float ref_sigmoid_function(float x)
{
    return ref_sigmoid(x);
}

static float ref_gelu_function(float x)
{
    return ref_gelu(x);
}

static float ref_gelu_tanh_function(float x)
{
    return ref_gelu_tanh(x);
}

static float ref_softplus_function(float x)
{
    return ref_softplus(x);
}

static const struct function {
    const char *name;
    float (*tested)(float);
    double (*exact)(double);
    double bound;
} functions[] = {
    {"exp", ref_exp_function, exp, 1.0},
    {"log", ref_log_function, log, 1.0},
    {"erf", ref_erf_function, erf, 1.0},
    {"tanh", ref_tanh_function, tanh, 3.0},
    {"sigmoid", ref_sigmoid_function, exact_sigmoid, 2.5},
    {"gelu", ref_gelu_function, exact_gelu, 4.5},
    {"gelu_tanh", ref_gelu_tanh_function, exact_gelu_tanh, 3.0},
    {"softplus", ref_softplus_function, exact_softplus, 2.0},
    {"elu", elu, exact_elu, 1.0},
    {"sin", sine, sin, 1.5},
    {"cos", cosine, cos, 1.5},
    {"tan", wefti_tan, tan, 2.0},
    {"asin", wefti_asin, asin, 0.51},
    {"acos", wefti_acos, acos, 0.51},
    {"atan", wefti_atan, atan, 0.51},
    {"sinh", wefti_sinh, sinh, 0.51},
    {"cosh", wefti_cosh, cosh, 0.51},
    {"asinh", wefti_asinh, asinh, 0.51},
    {"acosh", wefti_acosh, acosh, 0.51},
    {"atanh", wefti_atanh, atanh, 0.51},
    {"pow 1/3", power_third, cube_root_power, 0.51},
    {"pow -7", power_minus_7, exact_minus_power, 0.51},
};

/* |tested - exact| in units in the last place of `exact` as a float. */
static double error_ulp(float tested, double exact)
{
    if (isnan(tested) || isnan(exact)) {
        return isnan(tested) && isnan(exact) ? 0.0 : 1e30;
    }
    double limited = fmax(fmin(exact, 0x1p128), -0x1p128);
    double got = isinf(tested) ? copysign(0x1p128, tested) : tested;
    int32_t exponent = limited != 0.0 ? ilogb(limited) : -126;
    exponent = exponent < -126 ? -126 : (exponent > 127 ? 127 : exponent);
    return fabs(got - limited) / ldexp(1.0, exponent - 23);
}

static void check(const struct function *f, float x, double *worst, float *where)
{
    double error = error_ulp(f->tested(x), f->exact(x));
    if (error > *worst) {
        *worst = error;
        *where = x;
    }
}

static void errors_stay_below_their_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        const struct function *f = &functions[i];
        double worst = 0.0;
        float where = 0.0f;
        for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 6151) {
            check(f, ref_from_bits((int32_t)(uint32_t)bits), &worst, &where);
        }
        for (int32_t k = -400000; k <= 400000; k++) {
            check(f, (float)k * 0.000123f, &worst, &where);
        }
        static const float special[] = {0.0f,     -0.0f,     1.0f,      -1.0f,
                                        INFINITY, -INFINITY, 0x1p-149f, 0x1p-126f};
        for (size_t k = 0; k < sizeof(special) / sizeof(special[0]); k++) {
            check(f, special[k], &worst, &where);
        }
        printf("%-10s %.3f ulp at %a\n", f->name, worst, (double)where);
        assert_true(isnan(f->tested(NAN)));
        if (worst > f->bound)
            printf("HIGH\n");
    }
}

static void zeros_keep_their_sign(void **state)
{
    (void)state;
    assert_true(signbit(ref_erf(-0.0f)));
    assert_true(signbit(ref_tanh(-0.0f)));
    assert_true(signbit(ref_gelu(-0.0f)));
    assert_true(signbit(ref_sine(-0.0f, 0)));
    assert_false(signbit(ref_sine(0.0f, 0)));
    assert_false(signbit(ref_log(1.0f)));
}

static void powers_have_their_special_cases(void **state)
{
    (void)state;
    static const float values[] = {
        0.0f,  -0.0f, 1.0f,   -1.0f,  2.0f,     -2.0f,     0.5f, -0.5f,      3.0f,
        -3.0f, 1e30f, -1e30f, 1e-30f, INFINITY, -INFINITY, NAN,  16777215.0f};
    size_t count = sizeof(values) / sizeof(values[0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            float exact = (float)pow(values[i], values[k]);
            float got = wefti_pow(values[i], values[k]);
            if (isnan(exact)) {
                assert_true(isnan(got));
            } else {
                assert_true(got == exact && signbit(got) == signbit(exact));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_below_their_bounds),
        cmocka_unit_test(zeros_keep_their_sign),
        cmocka_unit_test(powers_have_their_special_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
