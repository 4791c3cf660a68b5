/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* MatMul, Gemm and their fused form against plain loops. */

/* C[m][n] = A B of dense matrices, into `c`. */
static void multiply(const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                     float *c)
{
    for (int64_t i = 0; i < m * n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            sum += (double)a[i / n * k + j] * (double)b[j * n + i % n];
        }
        c[i] = (float)sum;
    }
}

static void test_matrices(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 4}, {7, 33, 65}, {1, 64, 32}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(sizes); i++) {
        int64_t m = sizes[i][0];
        int64_t n = sizes[i][1];
        int64_t k = sizes[i][2];
        float expected[7 * 64];
        op_case c;
        op_begin(&c, "", "MatMul", 13);
        const float *a = op_random(&c, DIMS(m, k), 1);
        const float *b = op_random(&c, DIMS(k, n), 2);
        multiply(a, b, m, n, k, expected);
        op_run(&c, 1);
        op_expect_f32(&c, 0, DIMS(m, n), expected, 1e-5F);
        assert_int_equal(c.step_count, 1);
        op_end(&c);
    }
}

static void test_constant_matrix(void **state)
{
    (void)state;
    float weight[6 * 20];
    float expected[8 * 20];
    for (int32_t i = 0; i < 6 * 20; i++) {
        weight[i] = (float)(i % 7) - 3;
    }
    op_case c;
    op_begin(&c, "", "MatMul", 13);
    const float *a = op_random(&c, DIMS(2, 4, 6), 3);
    op_constant(&c, WEFT_TYPE_F32, DIMS(6, 20), weight);
    multiply(a, weight, 8, 20, 6, expected);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 4, 20), expected, 1e-5F);
    op_end(&c);
}

static void test_vectors(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(2), F32(1, 2));
    op_f32(&c, DIMS(2), F32(3, 4));
    op_run(&c, 1);
    op_expect_f32(&c, 0, SCALAR, F32(11), 0);
    op_end(&c);
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(2), F32(1, 2));
    op_f32(&c, DIMS(2, 2, 3), F32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(9, 12, 15, 27, 30, 33), 0);
    op_end(&c);
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(2, 2, 2), F32(1, 2, 3, 4, 5, 6, 7, 8));
    op_f32(&c, DIMS(2), F32(1, -1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(-1, -1, -1, -1), 0);
    op_end(&c);
}

/* [3, 1, 2, 4] x [2, 4, 3] = [3, 2, 2, 3]. */
static void test_batches_broadcast(void **state)
{
    (void)state;
    float expected[3 * 2 * 2 * 3];
    op_case c;
    op_begin(&c, "", "MatMul", 13);
    const float *a = op_random(&c, DIMS(3, 1, 2, 4), 5);
    const float *b = op_random(&c, DIMS(2, 4, 3), 6);
    for (int64_t i = 0; i < 6; i++) {
        multiply(a + i / 2 * 8, b + i % 2 * 12, 2, 3, 4, expected + i * 6);
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3, 2, 2, 3), expected, 1e-5F);
    op_end(&c);
}

/* Batches that alternate between repeated and not, more than the kernel walks. */
static void test_many_batch_dims(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "MatMul", 13);
    const float *a = op_random(&c, DIMS(2, 1, 2, 1, 2, 1, 2, 3), 7);
    const float *b = op_random(&c, DIMS(1, 2, 1, 2, 1, 2, 3, 2), 8);
    float expected[64 * 4];
    for (int64_t i = 0; i < 64; i++) {
        int64_t from_a = (i >> 5 & 1) * 4 + (i >> 3 & 1) * 2 + (i >> 1 & 1);
        int64_t from_b = (i >> 4 & 1) * 4 + (i >> 2 & 1) * 2 + (i & 1);
        multiply(a + from_a * 6, b + from_b * 6, 2, 2, 3, expected + i * 4);
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 2, 2, 2, 2, 2, 2), expected, 1e-5F);
    op_end(&c);
}

static void test_empty_products(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(2, 0), NULL);
    op_f32(&c, DIMS(0, 3), NULL);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(0, 0, 0, 0, 0, 0), 0);
    op_end(&c);
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(0, 4), NULL);
    op_f32(&c, DIMS(4, 3), NULL);
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(0, 3));
    assert_int_equal(c.step_count, 0);
    op_end(&c);
}

static void test_products_that_do_not_fit(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(2, 3), NULL);
    op_f32(&c, DIMS(4, 5), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "[2, 3] and [4, 5] do not multiply");
    op_end(&c);
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, SCALAR, NULL);
    op_f32(&c, DIMS(4, 5), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "0 dimensions");
    op_end(&c);
    op_begin(&c, "", "MatMul", 13);
    op_f32(&c, DIMS(2, 2, 3), NULL);
    op_f32(&c, DIMS(3, 3, 5), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "cannot be broadcast");
    op_end(&c);
    /* Only a shape: the data is never read. */
    c = (op_case){0};
    op_begin(&c, "", "MatMul", 13);
    c.node.input_count = 2;
    c.inputs[0] =
        (wefti_known){.type = WEFT_TYPE_F32, .rank = 2, .dims = {1LL << 40, 1}};
    c.inputs[1] =
        (wefti_known){.type = WEFT_TYPE_F32, .rank = 2, .dims = {1, 1LL << 40}};
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "overflows");
    op_end(&c);
}

/* One Gemm: C of some shape, alpha and beta. */
static void check_gemm(int32_t addend_rank, const int64_t *addend_dims, float beta,
                       bool trans_a, bool trans_b)
{
    enum { M = 3, N = 5, K = 4 };
    op_case c;
    op_begin(&c, "", "Gemm", 13);
    op_float(&c, "alpha", 0.5F);
    op_float(&c, "beta", beta);
    op_int(&c, "transA", trans_a);
    op_int(&c, "transB", trans_b);
    const float *a =
        trans_a ? op_random(&c, DIMS(K, M), 1) : op_random(&c, DIMS(M, K), 1);
    const float *b =
        trans_b ? op_random(&c, DIMS(N, K), 2) : op_random(&c, DIMS(K, N), 2);
    const float *addend = op_random(&c, addend_rank, addend_dims, 3);
    float expected[M * N];
    int64_t rows = addend_rank == 2 ? addend_dims[0] : 1;
    int64_t columns = addend_rank >= 1 ? addend_dims[addend_rank - 1] : 1;
    for (int64_t i = 0; i < M; i++) {
        for (int64_t j = 0; j < N; j++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++) {
                sum += (double)a[trans_a ? k * M + i : i * K + k] *
                       (double)b[trans_b ? j * K + k : k * N + j];
            }
            int64_t index = (rows > 1 ? i : 0) * columns + (columns > 1 ? j : 0);
            expected[i * N + j] = (float)(0.5 * sum + (double)(beta * addend[index]));
        }
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(M, N), expected, 1e-5F);
    op_end(&c);
}

static void test_gemm(void **state)
{
    (void)state;
    static const float betas[] = {1, 0, -2};
    for (size_t i = 0; i < WEFTI_COUNT_OF(betas); i++) {
        for (int32_t transposed = 0; transposed < 4; transposed++) {
            bool trans_a = (transposed & 1) != 0;
            bool trans_b = (transposed & 2) != 0;
            check_gemm(SCALAR, betas[i], trans_a, trans_b);
            check_gemm(DIMS(5), betas[i], trans_a, trans_b);
            check_gemm(DIMS(1), betas[i], trans_a, trans_b);
            check_gemm(DIMS(1, 5), betas[i], trans_a, trans_b);
            check_gemm(DIMS(3, 1), betas[i], trans_a, trans_b);
            check_gemm(DIMS(3, 5), betas[i], trans_a, trans_b);
        }
    }
}

static void test_gemm_without_addend(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Gemm", 13);
    op_f32(&c, DIMS(1, 2), F32(1, 2));
    op_f32(&c, DIMS(2, 1), F32(3, 4));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1), F32(11), 0);
    op_end(&c);
    op_begin(&c, "", "Gemm", 13);
    op_f32(&c, DIMS(1, 2), NULL);
    op_f32(&c, DIMS(2, 1), NULL);
    op_f32(&c, DIMS(2, 1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "expected [1, 1]");
    op_end(&c);
    op_begin(&c, "", "Gemm", 13);
    op_f32(&c, DIMS(1, 2, 3), NULL);
    op_f32(&c, DIMS(2, 1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "expected 2");
    op_end(&c);
}

static void test_fused_matmul(void **state)
{
    (void)state;
    enum { B = 2, M = 3, N = 4, K = 5 };
    op_case c;
    op_begin(&c, "weft", "FusedMatMul", 13);
    op_int(&c, "trans_b", 1);
    op_int(&c, "activation", WEFTI_ACTIVATION_RELU);
    op_float(&c, "alpha", 2);
    const float *a = op_random(&c, DIMS(B, M, K), 1);
    const float *b = op_random(&c, DIMS(N, K), 2);
    const float *bias = op_random(&c, DIMS(N), 3);
    const float *residual = op_random(&c, DIMS(B, M, N), 4);
    float expected[B * M * N];
    for (int64_t i = 0; i < B * M * N; i++) {
        double sum = 0;
        for (int64_t k = 0; k < K; k++) {
            sum += (double)a[i / N * K + k] * (double)b[i % N * K + k];
        }
        float value = (float)(2 * sum + (double)bias[i % N] + (double)residual[i]);
        expected[i] = value > 0 ? value : 0;
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(B, M, N), expected, 1e-5F);
    assert_int_equal(c.step_count, 1);
    op_end(&c);
}

/* A bias over rows must not let batches join into one product. */
static void test_fused_row_bias(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "weft", "FusedMatMul", 13);
    op_f32(&c, DIMS(2, 2, 1), F32(1, 2, 3, 4));
    op_f32(&c, DIMS(1, 2), F32(1, 10));
    op_f32(&c, DIMS(2, 1), F32(100, 200));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 2), F32(101, 110, 202, 220, 103, 130, 204, 240), 0);
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_constant_matrix),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_batches_broadcast),
        cmocka_unit_test(test_many_batch_dims),
        cmocka_unit_test(test_empty_products),
        cmocka_unit_test(test_products_that_do_not_fit),
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_gemm_without_addend),
        cmocka_unit_test(test_fused_matmul),
        cmocka_unit_test(test_fused_row_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
