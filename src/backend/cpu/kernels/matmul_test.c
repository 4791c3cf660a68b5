/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_case.h"

/* Every instruction set's matrix product against plain C, bit for bit, for shapes,
 * strides, packing, epilogues and any split into tiles. */

typedef struct shape {
    int64_t m, n, k;
} shape;

/* Buffers of one product; strides may be wider than the rows. */
typedef struct product {
    wefti_matmul_params params;
    kernel_case step;
    float *a, *b, *bias, *residual, *c;
    size_t c_count;
} product;

typedef struct layout {
    bool transposed_a, transposed_b, strided, constant_b;
    int64_t batch;
    bool shared_b;
} layout;

static void make(product *x, shape s, layout l, uint64_t seed)
{
    const int64_t gap = l.strided ? 3 : 0;
    wefti_matmul_params *p = &x->params;
    *p = (wefti_matmul_params){.m = s.m, .n = s.n, .k = s.k, .alpha = 1.0f};
    p->a_row_stride = l.transposed_a ? 1 : s.k + gap;
    p->a_column_stride = l.transposed_a ? s.m + gap : 1;
    p->b_row_stride = l.transposed_b ? 1 : s.n + gap;
    p->b_column_stride = l.transposed_b ? s.k + gap : 1;
    p->c_row_stride = s.n + gap;
    p->batch_rank = 1;
    p->batch_dims[0] = l.batch;
    const int64_t a_one = (s.m + gap) * (s.k + gap), b_one = (s.n + gap) * (s.k + gap);
    p->a_batch_strides[0] = a_one;
    p->b_batch_strides[0] = l.shared_b ? 0 : b_one;
    p->c_batch_strides[0] = (s.m + gap) * (s.n + gap);
    x->c_count = (size_t)(l.batch * p->c_batch_strides[0]);
    x->a = kernel_random((size_t)(l.batch * a_one), seed);
    x->b = kernel_random((size_t)(l.batch * b_one), seed + 1);
    x->bias = kernel_random((size_t)(s.m + s.n), seed + 2);
    x->residual = kernel_random(x->c_count, seed + 3);
    x->c = kernel_random(x->c_count, seed + 4);
    kernel_case_init(&x->step, WEFTI_KERNEL_MATMUL, p, sizeof(*p));
    kernel_case_operand(&x->step, WEFTI_MATMUL_A, x->a, false);
    kernel_case_operand(&x->step, WEFTI_MATMUL_B, x->b, l.constant_b);
    kernel_case_output(&x->step, WEFTI_MATMUL_C, x->c, x->c_count);
}

static void drop(product *x)
{
    kernel_free(x->a);
    kernel_free(x->b);
    kernel_free(x->bias);
    kernel_free(x->residual);
    kernel_free(x->c);
}

static void add_epilogue(product *x, uint32_t which)
{
    wefti_matmul_params *p = &x->params;
    p->alpha = (which & 1u) != 0 ? 0.125f + 1.0f / 3.0f : 1.0f;
    p->bias = (wefti_bias)(which / 2 % 3);
    if (p->bias != WEFTI_BIAS_NONE) {
        kernel_case_operand(&x->step, WEFTI_MATMUL_BIAS, x->bias, false);
    }
    if (which / 6 % 2 != 0) {
        kernel_case_operand(&x->step, WEFTI_MATMUL_RESIDUAL, x->residual, false);
    }
    p->activation = (wefti_activation)(which / 12 % WEFTI_ACTIVATION_COUNT);
    p->activation_alpha = 0.2f;
}

static const int64_t sizes[] = {1, 2, 3, 5, 6, 7, 8, 13, 16, 17, 31, 33, 63, 65, 130};

static int64_t pick(uint64_t *seed, int64_t limit)
{
    for (;;) {
        int64_t size = sizes[kernel_next(seed) % WEFTI_COUNT_OF(sizes)];
        if (size <= limit) {
            return size;
        }
    }
}

static void test_random_shapes(void **state)
{
    (void)state;
    uint64_t seed = 4711;
    for (uint32_t round = 0; round < 400; round++) {
        shape s = {pick(&seed, 70), pick(&seed, 130), pick(&seed, 70)};
        uint64_t bits = kernel_next(&seed);
        layout l = {.transposed_a = (bits & 1) != 0,
                    .transposed_b = (bits & 2) != 0,
                    .strided = (bits & 4) != 0,
                    .constant_b = (bits & 8) != 0,
                    .batch = 1 + (int64_t)(bits >> 8) % 3,
                    .shared_b = (bits & 16) != 0};
        product x;
        make(&x, s, l, round);
        add_epilogue(&x, round);
        kernel_case_check(&x.step);
        drop(&x);
    }
}

/* Long chains that are cut into pieces, and every number of rows. */
static void test_rows_and_pieces(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 26; m += m < 14 ? 1 : 4) {
        for (uint32_t kind = 0; kind < 4; kind++) {
            layout l = {.constant_b = (kind & 1) != 0,
                        .transposed_b = (kind & 2) != 0,
                        .batch = 1};
            product x;
            make(&x, (shape){m, 150, m % 5 == 0 ? 4500 : 20}, l, (uint64_t)m);
            add_epilogue(&x, kind * 7 + 14);
            kernel_case_check(&x.step);
            drop(&x);
        }
    }
}

/* Which operands come in rows: A, C or both. */
static void scatter(product *x, uint32_t which)
{
    const wefti_matmul_params *p = &x->params;
    const size_t a_bytes = sizeof(float) * (size_t)p->a_row_stride;
    const size_t c_bytes = sizeof(float) * (size_t)p->c_row_stride;
    kernel_case_rows(&x->step, WEFTI_MATMUL_A, p->m, which % 3 != 1 ? a_bytes : 0);
    kernel_case_rows(&x->step, WEFTI_MATMUL_C, p->m, which % 3 != 0 ? c_bytes : 0);
}

enum {
    /* Of add_epilogue: those with no activation, and those with the only one that is no
     * further pass over C. */
    EPILOGUES_OF_ROWS = 12 * (WEFTI_ACTIVATION_RELU + 1),
};

/* Rows of A and C that lie anywhere in memory, for few and for many rows. */
static void test_scattered_rows(void **state)
{
    (void)state;
    uint64_t seed = 815;
    for (uint32_t round = 0; round < 300; round++) {
        int64_t m = round < 30 ? 2 + round : pick(&seed, 130);
        shape s = {m < 2 ? 2 : m, pick(&seed, 130), pick(&seed, 70)};
        uint64_t bits = kernel_next(&seed);
        layout l = {.transposed_b = (bits & 1) != 0,
                    .strided = (bits & 2) != 0,
                    .constant_b = (bits & 4) != 0,
                    .batch = 1};
        product x;
        make(&x, s, l, round);
        add_epilogue(&x, (uint32_t)(bits >> 8) % EPILOGUES_OF_ROWS);
        scatter(&x, round);
        kernel_case_check(&x.step);
        drop(&x);
    }
}

/* The same where K is cut: all but the last piece goes to sums, and starts there. */
static void test_scattered_rows_in_pieces(void **state)
{
    (void)state;
    static const int64_t rows[] = {2, 7, 13, 33, 65, 130};
    for (uint32_t i = 0; i < WEFTI_COUNT_OF(rows); i++) {
        layout l = {.constant_b = i % 2 == 0, .transposed_b = i % 3 == 0, .batch = 1};
        product x;
        make(&x, (shape){rows[i], 70, 4500}, l, i);
        add_epilogue(&x, (11 + 7 * i) % EPILOGUES_OF_ROWS);
        scatter(&x, 2 * i); /* A, both, C */
        kernel_case_check(&x.step);
        drop(&x);
    }
}

static void test_empty(void **state)
{
    (void)state;
    const shape shapes[] = {{0, 5, 3}, {5, 0, 3}, {5, 3, 0}, {0, 0, 0}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        product x;
        make(&x, shapes[i], (layout){.batch = 2}, i);
        kernel_case_check(&x.step);
        drop(&x);
        make(&x, shapes[i], (layout){.batch = 0}, i);
        kernel_case_check(&x.step);
        drop(&x);
    }
}

static void test_special_values(void **state)
{
    (void)state;
    const float special[] = {INFINITY, -INFINITY, NAN,    -NAN,   0.0f,
                             -0.0f,    1e38f,     -1e38f, 1e-40f, -1e-45f};
    uint64_t seed = 99;
    for (uint32_t round = 0; round < 60; round++) {
        product x;
        layout l = {.constant_b = (round & 1) != 0, .batch = 1};
        make(&x, (shape){9, 37, 12}, l, round);
        for (int32_t i = 0; i < 4; i++) {
            x.a[kernel_next(&seed) % 108] = special[kernel_next(&seed) % 10];
            x.b[kernel_next(&seed) % 444] = special[kernel_next(&seed) % 10];
            x.residual[kernel_next(&seed) % 333] = special[kernel_next(&seed) % 10];
        }
        add_epilogue(&x, round);
        kernel_case_check(&x.step);
        drop(&x);
    }
}

/* The bits on x86-64 and on AArch64 are the same. */
static void test_written_down(void **state)
{
    (void)state;
    product x;
    make(&x, (shape){13, 77, 50}, (layout){.constant_b = true, .batch = 2}, 1);
    add_epilogue(&x, 12 * WEFTI_ACTIVATION_GELU + 9);
    assert_true(kernel_case_hash(&x.step) == UINT64_C(0x7e3580f8211ab733));
    drop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_rows_and_pieces),
        cmocka_unit_test(test_scattered_rows),
        cmocka_unit_test(test_scattered_rows_in_pieces),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_written_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
