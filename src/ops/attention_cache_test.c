/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Attention with a cache of past keys and values, softcap and the scores as an output,
 * against plain loops. */

enum { B = 2, H = 4, KV = 2, D = 4, DV = 6, MOST = 8 };

typedef struct problem {
    int64_t past, keys, queries; /* keys: new ones */
    bool packed, causal;
    weft_type mask_type; /* [queries, total]; NONE: none */
    float softcap;
    int64_t mode; /* of the scores; -1: not asked for */
    bool windows, counted;
    int64_t left, right; /* windows; -1: no bound */
    int64_t valid[B];    /* counted: valid keys of each batch element */
    int64_t masked_keys; /* how many a mask speaks of; 0: all */
    const float *q, *k, *v, *past_k, *past_v;
    float mask[MOST * MOST];
} problem;

static int64_t total(const problem *p)
{
    return p->past + p->keys;
}

/* Element of an operand by heads, which may lie packed as [B, rows, heads * size]. */
static double at(const problem *p, const float *data, const int64_t *dims,
                 const int64_t *index)
{
    int64_t heads = dims[0], rows = dims[1], size = dims[2];
    int64_t row = p->packed ? (index[0] * rows + index[2]) * heads + index[1]
                            : (index[0] * heads + index[1]) * rows + index[2];
    return (double)data[row * size + index[3]];
}

/* A key or value, of the past or new. */
static float cached(const problem *p, bool is_key, const int64_t *index)
{
    int64_t size = is_key ? D : DV;
    const float *past = is_key ? p->past_k : p->past_v;
    if (index[2] < p->past) {
        int64_t row = (index[0] * KV + index[1]) * p->past + index[2];
        return past[row * size + index[3]];
    }
    int64_t dims[] = {KV, p->keys, size};
    int64_t moved[] = {index[0], index[1], index[2] - p->past, index[3]};
    return (float)at(p, is_key ? p->k : p->v, dims, moved);
}

/* The four stages of the scores of one query. */
static void score_row(const problem *p, int64_t b, int64_t head, int64_t i,
                      double stages[4][MOST])
{
    int64_t q_dims[] = {H, p->queries, D};
    double sum = 0;
    for (int64_t j = 0; j < total(p); j++) {
        double score = 0;
        for (int64_t d = 0; d < D; d++) {
            int64_t q_index[] = {b, head, i, d};
            int64_t k_index[] = {b, head / (H / KV), j, d};
            score += at(p, p->q, q_dims, q_index) * (double)cached(p, true, k_index);
        }
        stages[0][j] = score * 0.5; /* 1 / sqrt(D) */
        double cap = (double)p->softcap;
        stages[1][j] = cap > 0 ? cap * tanh(stages[0][j] / cap) : stages[0][j];
        int64_t columns = p->masked_keys > 0 ? p->masked_keys : total(p);
        double added = p->mask_type == WEFT_TYPE_NONE || j >= columns
                           ? 0
                           : (double)p->mask[i * columns + j];
        int64_t place = i + (p->counted ? p->valid[b] - p->queries : p->past);
        bool hidden = (p->causal && j > place) || (p->counted && j >= p->valid[b]) ||
                      (p->windows && p->left >= 0 && j < place - p->left) ||
                      (p->windows && p->right >= 0 && j > place + p->right) ||
                      (p->masked_keys > 0 && j >= p->masked_keys);
        stages[2][j] = hidden ? -(double)INFINITY : stages[1][j] + added;
        sum += exp(stages[2][j]);
    }
    for (int64_t j = 0; j < total(p); j++) {
        stages[3][j] = sum > 0 ? exp(stages[2][j]) / sum : 0;
    }
}

static void expect_outputs(const problem *p, op_case *c)
{
    static float y[B * H * MOST * DV], scores[B * H * MOST * MOST];
    int64_t y_dims[] = {H, p->queries, DV};
    for (int64_t n = 0; n < B * H * p->queries; n++) {
        int64_t i = n % p->queries, head = n / p->queries % H, b = n / p->queries / H;
        double stages[4][MOST];
        score_row(p, b, head, i, stages);
        for (int64_t d = 0; d < DV; d++) {
            double value = 0;
            for (int64_t j = 0; j < total(p); j++) {
                int64_t index[] = {b, head / (H / KV), j, d};
                value += stages[3][j] * (double)cached(p, false, index);
            }
            int64_t row = p->packed ? (b * p->queries + i) * H + head
                                    : (b * H + head) * y_dims[1] + i;
            y[row * DV + d] = (float)value;
        }
        for (int64_t j = 0; j < total(p) && p->mode >= 0; j++) {
            scores[n * total(p) + j] = (float)stages[p->mode][j];
        }
    }
    if (p->packed) {
        op_expect_f32(c, 0, DIMS(B, p->queries, H * DV), y, 1e-5F);
    } else {
        op_expect_f32(c, 0, DIMS(B, H, p->queries, DV), y, 1e-5F);
    }
    if (p->mode >= 0) {
        op_expect_f32(c, 3, DIMS(B, H, p->queries, total(p)), scores, 1e-5F);
    }
}

/* The present keys and values are those of the past and the new ones, bit for bit. */
static void expect_cache(const problem *p, op_case *c, bool is_key)
{
    static float expected[B * KV * MOST * DV];
    int64_t size = is_key ? D : DV, n = 0;
    for (int64_t row = 0; row < B * KV * total(p); row++) {
        for (int64_t d = 0; d < size; d++) {
            int64_t index[] = {row / total(p) / KV, row / total(p) % KV, row % total(p),
                               d};
            expected[n++] = cached(p, is_key, index);
        }
    }
    op_expect_bytes(c, is_key ? 1 : 2, WEFT_TYPE_F32, DIMS(B, KV, total(p), size),
                    expected);
}

static void add_attributes(const problem *p, op_case *c)
{
    op_begin(c, "", "Attention", p->windows || p->counted ? 25 : 23);
    op_int(c, "is_causal", p->causal);
    if (p->windows) {
        op_int(c, "left_window_size", p->left);
        op_int(c, "right_window_size", p->right);
    }
    op_float(c, "softcap", p->softcap);
    if (p->packed) {
        op_int(c, "q_num_heads", H);
        op_int(c, "kv_num_heads", KV);
    }
    if (p->mode >= 0) {
        op_int(c, "qk_matmul_output_mode", p->mode);
    }
}

static void add_operands(problem *p, op_case *c)
{
    int64_t s = p->queries, l = p->keys;
    p->q = p->packed ? op_random(c, DIMS(B, s, H * D), 1)
                     : op_random(c, DIMS(B, H, s, D), 1);
    p->k = p->packed ? op_random(c, DIMS(B, l, KV * D), 2)
                     : op_random(c, DIMS(B, KV, l, D), 2);
    p->v = p->packed ? op_random(c, DIMS(B, l, KV * DV), 3)
                     : op_random(c, DIMS(B, KV, l, DV), 3);
}

/* Query 0 sees nothing where there is a mask of truth values. */
static void add_mask(problem *p, op_case *c)
{
    uint8_t seen[MOST * MOST];
    bool is_bool = p->mask_type == WEFT_TYPE_BOOL;
    int64_t columns = p->masked_keys > 0 ? p->masked_keys : total(p);
    for (int64_t i = 0; i < p->queries; i++) {
        for (int64_t j = 0; j < columns; j++) {
            int64_t n = i * columns + j;
            seen[n] = i > 0 && (i + j) % 3 != 1;
            p->mask[n] = is_bool ? (seen[n] ? 0 : -INFINITY) : (float)(j - i) * 0.25F;
        }
    }
    if (p->mask_type == WEFT_TYPE_NONE) {
        op_absent(c);
    } else {
        op_input(c, p->mask_type, DIMS(p->queries, columns),
                 is_bool ? (const void *)seen : (const void *)p->mask);
    }
}

static void check(problem p)
{
    op_case c;
    add_attributes(&p, &c);
    add_operands(&p, &c);
    add_mask(&p, &c);
    if (p.past > 0) {
        p.past_k = op_random(&c, DIMS(B, KV, p.past, D), 4);
        p.past_v = op_random(&c, DIMS(B, KV, p.past, DV), 5);
    }
    if (p.counted) {
        op_absent(&c);
        op_absent(&c);
        op_input(&c, WEFT_TYPE_I64, DIMS(B), p.valid);
    }
    op_run(&c, p.mode >= 0 ? 4 : 3);
    expect_outputs(&p, &c);
    expect_cache(&p, &c, true);
    expect_cache(&p, &c, false);
    op_end(&c);
}

static void test_cache(void **state)
{
    (void)state;
    static const weft_type masks[] = {WEFT_TYPE_NONE, WEFT_TYPE_BOOL, WEFT_TYPE_F32};
    static const int64_t lengths[][3] = {{0, 5, 3}, {4, 3, 3}, {4, 1, 1}, {2, 5, 3}};
    for (size_t i = 0; i < 4 * 3 * 4; i++) {
        const int64_t *length = lengths[i / 12];
        check((problem){.past = length[0],
                        .keys = length[1],
                        .queries = length[2],
                        .packed = i % 2 == 1,
                        .causal = i / 2 % 2 == 1,
                        .mask_type = masks[i / 4 % 3],
                        .mode = -1});
    }
}

static void test_scores(void **state)
{
    (void)state;
    static const weft_type masks[] = {WEFT_TYPE_NONE, WEFT_TYPE_BOOL, WEFT_TYPE_F32};
    for (size_t i = 0; i < 5 * 3 * 4; i++) {
        check((problem){.past = i % 2 == 1 ? 2 : 0,
                        .keys = 3,
                        .queries = 3,
                        .packed = i / 2 % 2 == 1,
                        .causal = i % 3 == 1,
                        .mask_type = masks[i / 4 % 3],
                        .softcap = i % 4 < 2 ? 0 : 0.75F,
                        .mode = (int64_t)(i / 12) - 1});
    }
}

static void test_windows(void **state)
{
    (void)state;
    static const weft_type masks[] = {WEFT_TYPE_NONE, WEFT_TYPE_BOOL, WEFT_TYPE_F32};
    static const int64_t bounds[][2] = {{2, 0}, {1, 1}, {-1, 2}, {0, -1}, {-1, -1}};
    for (size_t i = 0; i < 5 * 3 * 4; i++) {
        check((problem){.past = i % 2 == 1 ? 3 : 0,
                        .keys = 5,
                        .queries = 5,
                        .causal = i / 2 % 2 == 1,
                        .mask_type = masks[i / 4 % 3],
                        .mode = i % 8 == 7 ? 2 : -1,
                        .windows = true,
                        .left = bounds[i / 12][0],
                        .right = bounds[i / 12][1]});
    }
}

/* The cache is kept outside; how much of it is valid is an input. */
static void test_counted_keys(void **state)
{
    (void)state;
    static const weft_type masks[] = {WEFT_TYPE_NONE, WEFT_TYPE_BOOL, WEFT_TYPE_F32};
    static const int64_t valid[][2] = {{7, 4}, {1, 5}, {3, 0}};
    for (size_t i = 0; i < 3 * 3 * 8; i++) {
        bool masked = masks[i / 8 % 3] != WEFT_TYPE_NONE;
        check((problem){.keys = 7,
                        .queries = i % 4 == 3 ? 1 : 3,
                        .packed = i % 2 == 1,
                        .causal = i / 2 % 2 == 1,
                        .mask_type = masks[i / 8 % 3],
                        .mode = -1,
                        .counted = true,
                        .valid = {valid[i / 24][0], valid[i / 24][1]},
                        .windows = i / 4 % 2 == 1,
                        .left = 1,
                        .right = 2,
                        .masked_keys = masked && i % 3 == 1 ? 5 : 0});
    }
}

/* What nobody reads need not be there. */
static void test_parts_alone(void **state)
{
    (void)state;
    for (size_t wanted = 0; wanted < 4; wanted++) {
        problem p = {.past = 2, .keys = 3, .queries = 3, .mode = 2};
        op_case c;
        add_attributes(&p, &c);
        add_operands(&p, &c);
        add_mask(&p, &c);
        p.past_k = op_random(&c, DIMS(B, KV, 2, D), 4);
        p.past_v = op_random(&c, DIMS(B, KV, 2, DV), 5);
        for (size_t i = 0; i < 4; i++) {
            c.output_unread[i] = i != wanted;
        }
        op_run(&c, 4);
        if (wanted == 1 || wanted == 2) {
            expect_cache(&p, &c, wanted == 1);
        }
        op_end(&c);
    }
}

static void test_bad_caches(void **state)
{
    (void)state;
    static const int64_t shapes[][4] = {
        {1, 2, 3, 4}, {1, 2, 3, 6}, {1, 1, 3, 4}, {1, 2, 4, 4}};
    static const char *const words[] = {NULL, "past_value", "past_value", "past_value"};
    for (size_t i = 0; i < 4; i++) {
        op_case c;
        op_begin(&c, "", "Attention", 23);
        for (size_t j = 0; j < 3; j++) {
            op_f32(&c, DIMS(1, 2, 5, 4), NULL);
        }
        op_absent(&c);
        op_f32(&c, 4, shapes[0], NULL);
        if (i == 0) {
            op_expect_error(&c, 3, WEFT_INVALID_MODEL, "go together");
        } else {
            op_f32(&c, 4, shapes[i], NULL);
            op_expect_error(&c, 3, WEFT_INVALID_ARGUMENT, words[i]);
        }
        op_end(&c);
    }
    op_case c;
    op_begin(&c, "", "Attention", 23);
    op_int(&c, "qk_matmul_output_mode", 4);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_f32(&c, DIMS(1, 1, 3, 8), NULL);
    op_expect_error(&c, 4, WEFT_INVALID_MODEL, "qk_matmul_output_mode is 4");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache),       cmocka_unit_test(test_scores),
        cmocka_unit_test(test_windows),     cmocka_unit_test(test_counted_keys),
        cmocka_unit_test(test_parts_alone), cmocka_unit_test(test_bad_caches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
