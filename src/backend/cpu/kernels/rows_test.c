/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_random.h"

/* Softmax and layer norm of every instruction set: the same bits as plain C, and near
 * the answer in double. */

static const int64_t widths[] = {1,   2,   3,    7,    15,   16,  17,  31,
                                 32,  33,  63,   64,   65,   80,  100, 128,
                                 256, 257, 1024, 1025, 1088, 2060};

static float *noise(uint64_t *seed, size_t count)
{
    float *values = kernel_alloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)((int64_t)(kernel_next(seed) >> 40) - 0x800000) * 0x1p-20f;
    }
    return values;
}

static void set_special(uint64_t *seed, float *values, size_t count)
{
    static const float special[] = {INFINITY, -INFINITY, NAN,   0.0f,
                                    -0.0f,    3e38f,     -3e38f};
    for (int32_t i = 0; i < 3 && count > 0; i++) {
        values[random_below(seed, (int64_t)count)] = special[random_below(seed, 7)];
    }
}

static void softmax_has_the_same_bits(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (size_t i = 0; i < WEFTI_COUNT_OF(widths) * 8; i++) {
        wefti_softmax_params p = {.row_count = random_below(&seed, 12),
                                  .column_count = widths[i / 8],
                                  .logarithmic = i % 2 != 0};
        size_t count = (size_t)(p.row_count * p.column_count);
        float *x = noise(&seed, count), *y = noise(&seed, count);
        if (i % 8 >= 4) {
            set_special(&seed, x, count);
        }
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_SOFTMAX, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_SOFTMAX_INPUT, x, false);
        kernel_case_output(&c, WEFTI_SOFTMAX_OUTPUT, y, count);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(y);
    }
}

/* Rows that are all one value, all -infinity, and far apart. */
static void softmax_edges(void **state)
{
    (void)state;
    static const float rows[][4] = {
        {-INFINITY, -INFINITY, -INFINITY, -INFINITY},
        {-INFINITY, 0.0f, -INFINITY, -INFINITY},
        {1e38f, -1e38f, 1e38f, 0.0f},
        {-0.0f, 0.0f, -0.0f, -0.0f},
        {-0.0f, -0.0f, -0.0f, -0.0f},
        {-90.0f, 0.0f, -103.0f, -104.0f},
        {INFINITY, 1.0f, 2.0f, 3.0f},
    };
    for (int32_t logarithmic = 0; logarithmic < 2; logarithmic++) {
        wefti_softmax_params p = {WEFTI_COUNT_OF(rows), 4, logarithmic != 0};
        float *x = kernel_alloc(sizeof(rows)), *y = kernel_alloc(sizeof(rows));
        memcpy(x, rows, sizeof(rows));
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_SOFTMAX, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_SOFTMAX_INPUT, x, false);
        kernel_case_output(&c, WEFTI_SOFTMAX_OUTPUT, y, WEFTI_COUNT_OF(rows) * 4);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(y);
    }
}

typedef struct norm {
    wefti_layer_norm_params params;
    float *data[8];
} norm;

static const int32_t norm_outputs[] = {WEFTI_LAYER_NORM_OUTPUT, WEFTI_LAYER_NORM_MEAN,
                                       WEFTI_LAYER_NORM_INVERSE, WEFTI_LAYER_NORM_SUM};

static size_t operand_count(const wefti_layer_norm_params *p, int32_t operand)
{
    switch (operand) {
    case WEFTI_LAYER_NORM_SCALE:
    case WEFTI_LAYER_NORM_BIAS:
        return (size_t)p->column_count;
    case WEFTI_LAYER_NORM_MEAN:
    case WEFTI_LAYER_NORM_INVERSE:
        return (size_t)p->row_count;
    default:
        return (size_t)(p->row_count * p->column_count);
    }
}

static void layer_norm_has_the_same_bits(void **state)
{
    (void)state;
    uint64_t seed = 6;
    for (uint32_t i = 0; i < WEFTI_COUNT_OF(widths) * 16; i++) {
        norm x = {.params = {.row_count = random_below(&seed, 11),
                             .column_count = widths[i / 16],
                             .epsilon = i % 5 == 0 ? 0.0f : 1e-5f,
                             .root_mean_square = i % 3 == 0}};
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_LAYER_NORM, &x.params, sizeof(x.params));
        for (int32_t k = 0; k < 8; k++) {
            x.data[k] = noise(&seed, operand_count(&x.params, k));
            bool optional = k != WEFTI_LAYER_NORM_INPUT && k != WEFTI_LAYER_NORM_OUTPUT;
            if (!optional || (kernel_next(&seed) & 1) != 0) {
                kernel_case_operand(&c, k, x.data[k], false);
            }
        }
        if (i % 4 == 3) {
            set_special(&seed, x.data[0], operand_count(&x.params, 0));
            set_special(&seed, x.data[2], operand_count(&x.params, 2));
        }
        for (size_t k = 0; k < WEFTI_COUNT_OF(norm_outputs); k++) {
            int32_t operand = norm_outputs[k];
            if (c.data[operand] != NULL) {
                kernel_case_output(&c, operand, x.data[operand],
                                   operand_count(&x.params, operand));
                kernel_case_check(&c);
            }
        }
        for (int32_t k = 0; k < 8; k++) {
            kernel_free(x.data[k]);
        }
    }
}

/* Runs the plain C form, which the others equal. */
static void run_reference(wefti_kernel kernel, const void *params,
                          void *const operands[WEFTI_MAX_OPERANDS])
{
    const wefti_cpu_isa *const *isa = wefti_cpu_isas;
    while (isa[1] != NULL) {
        isa++;
    }
    wefti_step step = {.kernel = kernel, .params = params};
    wefti_cpu_prepared prepared = {.packed_operand = -1};
    assert_int_equal((*isa)->prepare[kernel](&step, false, &prepared, NULL), WEFT_OK);
    wefti_cpu_call call = {.params = params};
    memcpy(call.operands, operands, sizeof(call.operands));
    assert_int_equal(prepared.function(&call, NULL, 0, prepared.tile_count, NULL),
                     WEFT_OK);
}

static void softmax_is_right(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t i = 0; i < WEFTI_COUNT_OF(widths); i++) {
        wefti_softmax_params p = {.row_count = 1, .column_count = widths[i]};
        float *x = noise(&seed, (size_t)p.column_count);
        float *y = noise(&seed, (size_t)p.column_count);
        void *operands[WEFTI_MAX_OPERANDS] = {x, y};
        double largest = -1e300, sum = 0.0;
        for (int64_t k = 0; k < p.column_count; k++) {
            largest = x[k] > largest ? x[k] : largest;
        }
        for (int64_t k = 0; k < p.column_count; k++) {
            sum += exp(x[k] - largest);
        }
        run_reference(WEFTI_KERNEL_SOFTMAX, &p, operands);
        for (int64_t k = 0; k < p.column_count; k++) {
            double exact = exp(x[k] - largest) / sum;
            assert_true(fabs(y[k] - exact) <= 4e-6 * exact);
        }
        p.logarithmic = true;
        run_reference(WEFTI_KERNEL_SOFTMAX, &p, operands);
        for (int64_t k = 0; k < p.column_count; k++) {
            double exact = x[k] - largest - log(sum);
            assert_true(fabs(y[k] - exact) <= 1e-6 * (1.0 + fabs(exact)));
        }
        kernel_free(x);
        kernel_free(y);
    }
}

static void layer_norm_is_right(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (size_t i = 1; i < WEFTI_COUNT_OF(widths); i++) {
        const int64_t n = widths[i];
        wefti_layer_norm_params p = {1, n, 1e-5f, false};
        float *x = noise(&seed, (size_t)n), *r = noise(&seed, (size_t)n);
        float *scale = noise(&seed, (size_t)n), *bias = noise(&seed, (size_t)n);
        float *y = noise(&seed, (size_t)n);
        void *operands[WEFTI_MAX_OPERANDS] = {x, r, scale, bias, y};
        double mean = 0.0, variance = 0.0;
        for (int64_t k = 0; k < n; k++) {
            mean += ((double)x[k] + r[k]) / (double)n;
        }
        for (int64_t k = 0; k < n; k++) {
            double d = (double)x[k] + r[k] - mean;
            variance += d * d / (double)n;
        }
        run_reference(WEFTI_KERNEL_LAYER_NORM, &p, operands);
        for (int64_t k = 0; k < n; k++) {
            double v = ((double)x[k] + r[k] - mean) / sqrt(variance + 1e-5);
            assert_true(fabs(y[k] - (v * scale[k] + bias[k])) <=
                        4e-6 * (fabs(v * scale[k]) + fabs(bias[k]) + fabs(scale[k])));
        }
        kernel_free(x);
        kernel_free(r);
        kernel_free(scale);
        kernel_free(bias);
        kernel_free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_has_the_same_bits),
        cmocka_unit_test(softmax_edges),
        cmocka_unit_test(layer_norm_has_the_same_bits),
        cmocka_unit_test(softmax_is_right),
        cmocka_unit_test(layer_norm_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
