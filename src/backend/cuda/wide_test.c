/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/launch.h"
#include "support/kernel_device.h"

/* The kernels that few shapes take of their own accord, on the card (or the one made of
 * C): products of operands in whole fours with each of their tiles, and attention whose
 * scores stay in registers. All have the bits of plain C. */

static void assert_kernel(const char *name)
{
    if (strstr(kernel_device_words(), name) == NULL) {
        fail_msg("'%s' ran instead of %s", kernel_device_words(), name);
    }
}

typedef struct product {
    wefti_matmul_params p;
    kernel_case c;
    float *a, *b, *bias, *residual, *out;
} product;

/* m x n x k, twice, with rows that are wider than needed. */
static void check_product(int64_t m, int64_t n, int64_t k, uint32_t which)
{
    const int64_t gap = which % 2 * 4, batch = 1 + which % 3 / 2;
    product x = {.p = {.m = m, .n = n, .k = k, .alpha = which % 5 == 0 ? 0.3f : 1.0f}};
    wefti_matmul_params *p = &x.p;
    p->a_row_stride = k + gap;
    p->a_column_stride = p->b_column_stride = 1;
    p->b_row_stride = p->c_row_stride = n + gap;
    p->batch_rank = 1;
    p->batch_dims[0] = batch;
    p->a_batch_strides[0] = m * p->a_row_stride;
    p->b_batch_strides[0] = k * p->b_row_stride;
    p->c_batch_strides[0] = m * p->c_row_stride;
    p->bias = (wefti_bias)(which % 3);
    p->activation = (wefti_activation)(which % WEFTI_ACTIVATION_COUNT);
    p->activation_alpha = 0.2f;
    const size_t outputs = (size_t)(batch * p->c_batch_strides[0]);
    x.a = kernel_random((size_t)(batch * p->a_batch_strides[0]), which);
    x.b = kernel_random((size_t)(batch * p->b_batch_strides[0]), which + 1);
    x.bias = kernel_random((size_t)(m + n), which + 2);
    x.residual = kernel_random(outputs, which + 3);
    x.out = kernel_random(outputs, which + 4);
    kernel_case_init(&x.c, WEFTI_KERNEL_MATMUL, p, sizeof(*p));
    kernel_case_operand(&x.c, WEFTI_MATMUL_A, x.a, false);
    kernel_case_operand(&x.c, WEFTI_MATMUL_B, x.b, false);
    if (p->bias != WEFTI_BIAS_NONE) {
        kernel_case_operand(&x.c, WEFTI_MATMUL_BIAS, x.bias, false);
    }
    if (which % 4 == 1) {
        kernel_case_operand(&x.c, WEFTI_MATMUL_RESIDUAL, x.residual, false);
    }
    kernel_case_output(&x.c, WEFTI_MATMUL_C, x.out, outputs);
    kernel_case_check(&x.c);
    assert_kernel(" wide_");
    kernel_free(x.a);
    kernel_free(x.b);
    kernel_free(x.bias);
    kernel_free(x.residual);
    kernel_free(x.out);
}

static void test_products(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{64, 64, 64},  {64, 64, 16},  {33, 68, 36},
                                       {1, 4, 4},     {70, 132, 20}, {31, 60, 100},
                                       {128, 96, 72}, {9, 32, 8},    {65, 36, 200}};
    uint32_t which = 0;
    for (int32_t shape = 0; shape < wefti_cuda_testing_wide_shapes(); shape++) {
        wefti_cuda_testing_use_wide(shape);
        for (size_t i = 0; i < WEFTI_COUNT_OF(sizes); i++) {
            check_product(sizes[i][0], sizes[i][1], sizes[i][2], which++);
        }
    }
    wefti_cuda_testing_use_wide(-1);
    check_product(300, 256, 64, 0); /* those that it chooses */
    check_product(200, 64, 64, 0);
}

/* Sums that round to -0 stay so, and what is no number is the one NaN. */
static void test_special_values(void **state)
{
    (void)state;
    static const float special[] = {INFINITY, -INFINITY, NAN, -0.0f, 1e-40f, -1e-45f};
    for (int32_t shape = 0; shape < wefti_cuda_testing_wide_shapes(); shape++) {
        wefti_cuda_testing_use_wide(shape);
        float *a = kernel_random(40 * 20, 1), *b = kernel_random(20 * 36, 2);
        float *out = kernel_random(40 * 36, 3);
        uint64_t seed = (uint64_t)shape;
        for (int32_t i = 0; i < 40; i++) {
            a[kernel_next(&seed) % 800] = special[kernel_next(&seed) % 6];
            b[kernel_next(&seed) % 720] = special[kernel_next(&seed) % 6];
        }
        for (int32_t i = 0; i < 20; i++) {
            a[5 * 20 + i] = 1e-30f;
            b[i * 36 + 7] = i == 19 ? -1e-30f : 0.0f;
        }
        const wefti_matmul_params p = {.m = 40,
                                       .n = 36,
                                       .k = 20,
                                       .alpha = 1.0f,
                                       .a_row_stride = 20,
                                       .a_column_stride = 1,
                                       .b_row_stride = 36,
                                       .b_column_stride = 1,
                                       .c_row_stride = 36};
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_MATMUL, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_MATMUL_A, a, false);
        kernel_case_operand(&c, WEFTI_MATMUL_B, b, false);
        kernel_case_output(&c, WEFTI_MATMUL_C, out, 40 * 36);
        kernel_case_check(&c);
        assert_kernel(" wide_");
        kernel_free(a);
        kernel_free(b);
        kernel_free(out);
    }
    wefti_cuda_testing_use_wide(-1);
}

typedef struct lengths {
    int64_t batch, heads, kv_heads, queries, keys, size, value_size;
} lengths;

/* Heads beside each other in rows. `which`: 1 causal, 2 masked by floats, 4 by booleans
 * that hide all keys of some queries, 8 special values. */
static void check_attention(const lengths *l, uint32_t which)
{
    wefti_attention_params p = {.batch = l->batch,
                                .heads = l->heads,
                                .kv_heads = l->kv_heads,
                                .query_length = l->queries,
                                .key_length = l->keys,
                                .head_size = l->size,
                                .value_size = l->value_size,
                                .scale = 0.3f,
                                .causal = (which & 1) != 0,
                                .blind_is_nan = (which & 16) != 0};
    p.q = (wefti_attention_strides){l->queries * l->heads * l->size, l->size,
                                    l->heads * l->size};
    p.k = (wefti_attention_strides){l->keys * l->kv_heads * l->size, l->size,
                                    l->kv_heads * l->size};
    p.v = (wefti_attention_strides){l->keys * l->kv_heads * l->value_size,
                                    l->value_size, l->kv_heads * l->value_size};
    p.output = (wefti_attention_strides){l->queries * l->heads * l->value_size,
                                         l->value_size, l->heads * l->value_size};
    const size_t outputs = (size_t)(l->batch * p.output.batch);
    const size_t scores = (size_t)(l->queries * l->keys);
    float *q = kernel_random((size_t)(l->batch * p.q.batch), which);
    float *k = kernel_random((size_t)(l->batch * p.k.batch), which + 1);
    float *v = kernel_random((size_t)(l->batch * p.v.batch), which + 2);
    float *out = kernel_random(outputs, which + 3), *mask = kernel_random(scores, 7);
    uint8_t *seen = kernel_alloc(scores);
    for (size_t i = 0; i < scores; i++) {
        seen[i] = mask[i] > -0.3f && i / (size_t)l->keys % 5 != 1;
    }
    if ((which & 8) != 0) {
        q[3] = NAN;
        k[l->size * l->kv_heads + 1] = INFINITY;
        v[2] = -INFINITY;
        v[7] = -0.0f;
    }
    kernel_case c;
    kernel_case_init(&c, WEFTI_KERNEL_ATTENTION, &p, sizeof(p));
    kernel_case_operand(&c, WEFTI_ATTENTION_Q, q, false);
    kernel_case_operand(&c, WEFTI_ATTENTION_K, k, false);
    kernel_case_operand(&c, WEFTI_ATTENTION_V, v, false);
    if ((which & 6) != 0) {
        p.mask_type = (which & 2) != 0 ? WEFT_TYPE_F32 : WEFT_TYPE_BOOL;
        p.mask_strides[2] = l->keys;
        p.mask_strides[3] = 1;
        kernel_case_operand(&c, WEFTI_ATTENTION_MASK,
                            (which & 2) != 0 ? (void *)mask : (void *)seen, false);
    }
    kernel_case_output(&c, WEFTI_ATTENTION_OUTPUT, out, outputs);
    kernel_case_check(&c);
    assert_kernel(" attention_near ");
    kernel_free(q);
    kernel_free(k);
    kernel_free(v);
    kernel_free(mask);
    kernel_free(seen);
    kernel_free(out);
}

static void test_attention(void **state)
{
    (void)state;
    static const lengths shapes[] = {
        {1, 2, 1, 40, 128, 64, 64}, {2, 1, 1, 17, 65, 32, 20}, {1, 2, 2, 33, 99, 4, 64},
        {1, 1, 1, 1, 127, 60, 8},   {1, 3, 3, 64, 96, 20, 36},
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        for (uint32_t which = 0; which < 32; which += 1 + which / 8 * 5) {
            check_attention(&shapes[i], which);
        }
    }
}

int main(void)
{
    setenv("WEFT_TEST_DEVICE", "cuda:0", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests_name("wide", tests, NULL, NULL);
}
