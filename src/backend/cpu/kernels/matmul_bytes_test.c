/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_case.h"

/* Products of bytes on every instruction set against plain C: both signs, zero points,
 * sizes that fill no step, block or panel, B packed and not. */

static uint8_t *bytes(uint64_t *seed, int64_t count)
{
    uint8_t *x = kernel_alloc((size_t)count);
    for (int64_t i = 0; i < count; i++) {
        /* The ends often: sums that only exact arithmetic gets right. */
        const uint64_t draw = kernel_next(seed);
        const uint8_t ends[] = {0, 127, 128, 255};
        x[i] = (draw & 1) != 0 ? ends[draw >> 1 & 3] : (uint8_t)(draw >> 3);
    }
    return x;
}

static void check(const wefti_matmul_bytes_params *p, uint64_t which)
{
    uint64_t seed = which;
    const int64_t outputs = p->batch * p->m * p->n;
    uint8_t *a = bytes(&seed, p->batch * p->m * p->k);
    uint8_t *b = bytes(&seed, p->batch * p->k * p->n);
    uint8_t *a_zero = bytes(&seed, 1);
    uint8_t *b_zero = bytes(&seed, p->b_zero_by_column ? p->n : 1);
    int32_t *c = kernel_alloc((size_t)outputs * sizeof(*c));
    memset(c, 0x55, (size_t)outputs * sizeof(*c));
    kernel_case x;
    kernel_case_init(&x, WEFTI_KERNEL_MATMUL_BYTES, p, sizeof(*p));
    kernel_case_operand(&x, WEFTI_MATMUL_BYTES_A, a, false);
    kernel_case_operand(&x, WEFTI_MATMUL_BYTES_B, b, which % 4 != 0);
    if (which % 3 != 0) {
        kernel_case_operand(&x, WEFTI_MATMUL_BYTES_A_ZERO, a_zero, false);
    }
    if (which % 5 < 3) {
        kernel_case_operand(&x, WEFTI_MATMUL_BYTES_B_ZERO, b_zero, true);
    }
    kernel_case_output(&x, WEFTI_MATMUL_BYTES_C, c, (size_t)outputs);
    kernel_case_check(&x);
    kernel_free(a);
    kernel_free(b);
    kernel_free(a_zero);
    kernel_free(b_zero);
    kernel_free(c);
}

static int64_t up_to(uint64_t *seed, int64_t low, int64_t high)
{
    return low + (int64_t)(kernel_next(seed) % (uint64_t)(high - low + 1));
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = 8128;
    for (uint64_t round = 0; round < 150; round++) {
        const wefti_matmul_bytes_params p = {
            .batch = round % 8 == 0 ? 3 : 1,
            .m = up_to(&seed, 1, round % 7 == 0 ? 120 : 14),
            .n = up_to(&seed, 1, round % 5 == 0 ? 300 : 70),
            .k = up_to(&seed, round % 50 == 0 ? 0 : 1, round % 6 == 0 ? 300 : 40),
            .a_signed = (round & 1) != 0,
            .b_signed = (round & 2) != 0,
            .b_zero_by_column = (round & 4) != 0,
        };
        check(&p, round);
    }
}

/* The largest products, all of one sign, past what floats and 16 bits hold. */
static void test_extremes(void **state)
{
    (void)state;
    enum { K = 5000 };
    for (uint32_t i = 0; i < 4; i++) {
        const wefti_matmul_bytes_params p = {.batch = 1,
                                             .m = 1,
                                             .n = 1,
                                             .k = K,
                                             .a_signed = (i & 1) != 0,
                                             .b_signed = (i & 2) != 0};
        uint8_t *a = kernel_alloc(K), *b = kernel_alloc(K);
        memset(a, p.a_signed ? 0x80 : 0xFF, K);
        memset(b, p.b_signed ? 0x80 : 0xFF, K);
        int32_t *c = kernel_alloc(sizeof(*c)), got = 0;
        kernel_case x;
        kernel_case_init(&x, WEFTI_KERNEL_MATMUL_BYTES, &p, sizeof(p));
        kernel_case_operand(&x, WEFTI_MATMUL_BYTES_A, a, false);
        kernel_case_operand(&x, WEFTI_MATMUL_BYTES_B, b, true);
        kernel_case_output(&x, WEFTI_MATMUL_BYTES_C, c, 1);
        kernel_case_check(&x);
        kernel_case_run_best(&x, &got);
        assert_int_equal(got,
                         (p.a_signed ? -128 : 255) * (p.b_signed ? -128 : 255) * K);
        kernel_free(a);
        kernel_free(b);
        kernel_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
