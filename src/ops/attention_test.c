/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Attention and its fused form against plain loops. */

enum { B = 2, H = 4, KV = 2, S = 3, L = 5, D = 4, DV = 6 };

/* Mask value of a query and key: added to the score. */
typedef float (*mask_function)(int64_t batch, int64_t query, int64_t key);

static float see_all(int64_t batch, int64_t query, int64_t key)
{
    (void)batch;
    (void)query;
    (void)key;
    return 0;
}
static float see_before(int64_t batch, int64_t query, int64_t key)
{
    (void)batch;
    return key <= query ? 0 : -INFINITY;
}
static float see_some(int64_t batch, int64_t query, int64_t key)
{
    return (batch + query + key) % 3 == 1 ? -INFINITY : 0;
}
static float lean(int64_t batch, int64_t query, int64_t key)
{
    (void)batch;
    return (float)(key - query) * 0.25F;
}
static float lean_before(int64_t batch, int64_t query, int64_t key)
{
    return see_before(batch, query, key) + lean(batch, query, key);
}

/* Operands dense as [B, H, S, D], or packed as [B, S, H * D]. */
typedef struct problem {
    const float *q, *k, *v;
    bool packed;
    float scale;
    mask_function mask;
} problem;

/* Row `row` of head `head` of an operand with so many heads, rows and columns. */
static int64_t row_start(bool packed, int64_t b, int64_t head, int64_t row,
                         const int64_t *heads_rows_columns)
{
    int64_t heads = heads_rows_columns[0];
    int64_t rows = heads_rows_columns[1];
    int64_t index =
        packed ? (b * rows + row) * heads + head : (b * heads + head) * rows + row;
    return index * heads_rows_columns[2];
}

static void attend_row(const problem *p, int64_t b, int64_t h, int64_t i, float *out)
{
    static const int64_t q_dims[] = {H, S, D};
    static const int64_t k_dims[] = {KV, L, D};
    static const int64_t v_dims[] = {KV, L, DV};
    const float *q = p->q + row_start(p->packed, b, h, i, q_dims);
    int64_t kv = h / (H / KV);
    double weights[L];
    double sum = 0;
    for (int64_t j = 0; j < L; j++) {
        const float *k = p->k + row_start(p->packed, b, kv, j, k_dims);
        double score = 0;
        for (int64_t d = 0; d < D; d++) {
            score += (double)q[d] * (double)k[d];
        }
        weights[j] = exp(score * (double)p->scale + (double)p->mask(b, i, j));
        sum += weights[j];
    }
    for (int64_t d = 0; d < DV; d++) {
        double value = 0;
        for (int64_t j = 0; j < L; j++) {
            const float *v = p->v + row_start(p->packed, b, kv, j, v_dims);
            value += weights[j] / sum * (double)v[d];
        }
        out[d] = (float)value;
    }
}

static void attend(const problem *p, float *out)
{
    static const int64_t dims[] = {H, S, DV};
    for (int64_t n = 0; n < B * H * S; n++) {
        int64_t b = n / S / H;
        int64_t h = n / S % H;
        int64_t i = n % S;
        attend_row(p, b, h, i, out + row_start(p->packed, b, h, i, dims));
    }
}

static void check_attention(bool packed, bool causal, weft_type mask_type,
                            mask_function mask, mask_function expected_mask)
{
    op_case c;
    float expected[B * H * S * DV];
    op_begin(&c, "", "Attention", 23);
    op_int(&c, "is_causal", causal);
    if (packed) {
        op_int(&c, "q_num_heads", H);
        op_int(&c, "kv_num_heads", KV);
    }
    const float *q = packed ? op_random(&c, DIMS(B, S, H * D), 1)
                            : op_random(&c, DIMS(B, H, S, D), 1);
    const float *k = packed ? op_random(&c, DIMS(B, L, KV * D), 2)
                            : op_random(&c, DIMS(B, KV, L, D), 2);
    const float *v = packed ? op_random(&c, DIMS(B, L, KV * DV), 3)
                            : op_random(&c, DIMS(B, KV, L, DV), 3);
    float added[B * S * L];
    uint8_t seen[B * S * L];
    for (int64_t i = 0; i < B * S * L; i++) {
        added[i] = mask(i / L / S, i / L % S, i % L);
        seen[i] = added[i] == 0;
    }
    if (mask_type != WEFT_TYPE_NONE) {
        bool is_bool = mask_type == WEFT_TYPE_BOOL;
        op_input(&c, mask_type, DIMS(B, 1, S, L),
                 is_bool ? (const void *)seen : (const void *)added);
    }
    attend(&(problem){q, k, v, packed, 0.5F, expected_mask}, expected);
    op_run(&c, 1);
    if (packed) {
        op_expect_f32(&c, 0, DIMS(B, S, H * DV), expected, 1e-5F);
    } else {
        op_expect_f32(&c, 0, DIMS(B, H, S, DV), expected, 1e-5F);
    }
    op_end(&c);
}

static void test_attention(void **state)
{
    (void)state;
    for (int32_t packed = 0; packed < 2; packed++) {
        check_attention(packed, false, WEFT_TYPE_NONE, see_all, see_all);
        check_attention(packed, false, WEFT_TYPE_BOOL, see_some, see_some);
        check_attention(packed, false, WEFT_TYPE_F32, lean, lean);
    }
}

/* ONNX begins the triangle at the first key, whatever the lengths. */
static void test_causal_attention(void **state)
{
    (void)state;
    check_attention(false, true, WEFT_TYPE_NONE, see_all, see_before);
    check_attention(true, true, WEFT_TYPE_BOOL, see_all, see_before);
    check_attention(false, true, WEFT_TYPE_F32, lean, lean_before);
}

static void attention_error(int64_t heads, int64_t kv_size, weft_status status,
                            const char *text)
{
    op_case c;
    op_begin(&c, "", "Attention", 23);
    op_int(&c, "q_num_heads", heads);
    op_int(&c, "kv_num_heads", 2);
    op_f32(&c, DIMS(1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 5, kv_size), NULL);
    op_f32(&c, DIMS(1, 5, 8), NULL);
    op_expect_error(&c, 1, status, text);
    op_end(&c);
}

static void test_bad_attention(void **state)
{
    (void)state;
    attention_error(0, 8, WEFT_INVALID_MODEL, "q_num_heads=0");
    attention_error(3, 8, WEFT_INVALID_MODEL, "q_num_heads=3");
    attention_error(2, 6, WEFT_INVALID_ARGUMENT, "K (by heads)");
    attention_error(1, 16, WEFT_INVALID_ARGUMENT, "share");
    op_case c;
    op_begin(&c, "", "Attention", 23);
    op_int(&c, "softmax_precision", WEFT_TYPE_F64);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "softmax_precision");
    op_end(&c);
    op_begin(&c, "", "Attention", 23);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(2, 3), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "broadcast");
    op_end(&c);
}

static void test_attention_without_keys(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Attention", 23);
    op_f32(&c, DIMS(1, 1, 2, 1), NULL);
    op_f32(&c, DIMS(1, 1, 0, 1), NULL);
    op_f32(&c, DIMS(1, 1, 0, 1), NULL);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 2, 1), F32(0, 0), 0);
    op_end(&c);
}

static void test_fused_attention(void **state)
{
    (void)state;
    op_case c;
    float heads_first[B * H * S * DV];
    float rows_first[B * H * S * DV];
    op_begin(&c, "weft", "FusedAttention", 23);
    op_string(&c, "output_layout", "BSHD");
    op_float(&c, "scale", 0.25F);
    const float *q = op_random(&c, DIMS(B, H, S, D), 1);
    const float *k = op_random(&c, DIMS(B, KV, L, D), 2);
    const float *v = op_random(&c, DIMS(B, KV, L, DV), 3);
    attend(&(problem){q, k, v, false, 0.25F, see_all}, heads_first);
    for (int64_t i = 0; i < B * H * S * DV; i++) {
        int64_t d = i % DV;
        int64_t s = i / DV % S;
        int64_t h = i / DV / S % H;
        int64_t b = i / DV / S / H;
        rows_first[((b * S + s) * H + h) * DV + d] = heads_first[i];
    }
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(B, S, H, DV), rows_first, 1e-5F);
    assert_int_equal(c.step_count, 1);
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_causal_attention),
        cmocka_unit_test(test_bad_attention),
        cmocka_unit_test(test_attention_without_keys),
        cmocka_unit_test(test_fused_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
