/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_case.h"

/* Every instruction set's attention against plain C, bit for bit: heads read in place
 * from a packed projection, masks, causality, shared key heads, any lengths. */

typedef struct attention {
    wefti_attention_params params;
    kernel_case step;
    float *q, *k, *v, *mask, *output;
    uint8_t *bool_mask;
    size_t outputs;
} attention;

typedef struct lengths {
    int64_t batch, heads, kv_heads, queries, keys, size, value_size;
} lengths;

static void drop(attention *x)
{
    kernel_free(x->q);
    kernel_free(x->k);
    kernel_free(x->v);
    kernel_free(x->mask);
    kernel_free(x->output);
    kernel_free(x->bool_mask);
}

/* Strides of [batch, length, heads, size] (or heads before length) with rows that are
 * wider than needed. */
static wefti_attention_strides strides(int64_t heads, int64_t length, int64_t size,
                                       uint64_t which)
{
    const int64_t gap = (which & 1) != 0 ? 5 : 0;
    if ((which & 2) != 0) {
        return (wefti_attention_strides){heads * length * (size + gap),
                                         length * (size + gap), size + gap};
    }
    const int64_t row = heads * size + gap;
    return (wefti_attention_strides){length * row, size, row};
}

static void make_mask(attention *x, const lengths *l, uint64_t which)
{
    wefti_attention_params *p = &x->params;
    const uint64_t kind = which / 4 % 4;
    if (kind == 0) {
        return;
    }
    const bool broadcast = (which & 16) != 0;
    p->mask_strides[0] = broadcast ? 0 : l->heads * l->queries * l->keys;
    p->mask_strides[1] = broadcast ? 0 : l->queries * l->keys;
    p->mask_strides[2] = (which & 32) != 0 ? 0 : l->keys;
    p->mask_strides[3] = 1;
    const size_t count = (size_t)(l->batch * l->heads * l->queries * l->keys);
    uint64_t seed = which;
    x->mask = kernel_random(count, which + 9);
    x->bool_mask = kernel_alloc(count);
    for (size_t i = 0; i < count; i++) {
        const uint64_t r = kernel_next(&seed);
        x->bool_mask[i] = r % 3 != 0;
        x->mask[i] = r % 5 == 0 ? -INFINITY : x->mask[i] * 3.0f;
    }
    p->mask_type = kind == 1 ? WEFT_TYPE_BOOL : WEFT_TYPE_F32;
    kernel_case_operand(&x->step, WEFTI_ATTENTION_MASK,
                        kind == 1 ? (void *)x->bool_mask : (void *)x->mask, false);
}

static float *scaled(size_t count, uint64_t seed, float factor)
{
    float *values = kernel_random(count, seed);
    for (size_t i = 0; i < count; i++) {
        values[i] *= factor;
    }
    return values;
}

static void make(attention *x, const lengths *l, uint64_t which)
{
    *x = (attention){.params = {.batch = l->batch,
                                .heads = l->heads,
                                .kv_heads = l->kv_heads,
                                .query_length = l->queries,
                                .key_length = l->keys,
                                .head_size = l->size,
                                .value_size = l->value_size,
                                .scale = 0.3f,
                                .causal = (which & 64) != 0}};
    wefti_attention_params *p = &x->params;
    p->q = strides(l->heads, l->queries, l->size, which);
    p->k = strides(l->kv_heads, l->keys, l->size, which >> 1);
    p->v = strides(l->kv_heads, l->keys, l->value_size, which >> 2);
    p->output = strides(l->heads, l->queries, l->value_size, which >> 3);
    x->outputs = (size_t)(l->batch * p->output.batch);
    x->q = scaled((size_t)(l->batch * p->q.batch), which, 4.0f);
    x->k = scaled((size_t)(l->batch * p->k.batch), which + 1, 4.0f);
    x->v = kernel_random((size_t)(l->batch * p->v.batch), which + 2);
    x->output = kernel_random(x->outputs, which + 3);
    kernel_case_init(&x->step, WEFTI_KERNEL_ATTENTION, p, sizeof(*p));
    kernel_case_operand(&x->step, WEFTI_ATTENTION_Q, x->q, false);
    kernel_case_operand(&x->step, WEFTI_ATTENTION_K, x->k, false);
    kernel_case_operand(&x->step, WEFTI_ATTENTION_V, x->v, false);
    make_mask(x, l, which);
    kernel_case_output(&x->step, WEFTI_ATTENTION_OUTPUT, x->output, x->outputs);
}

static int64_t up_to(uint64_t *seed, int64_t low, int64_t high)
{
    return low + (int64_t)(kernel_next(seed) % (uint64_t)(high - low + 1));
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = 2718;
    for (uint64_t round = 0; round < 256; round++) {
        lengths l = {.batch = up_to(&seed, 1, 2), .kv_heads = up_to(&seed, 1, 3)};
        l.heads = l.kv_heads * up_to(&seed, 1, 2);
        l.queries = round % 9 == 0 ? up_to(&seed, 60, 110) : up_to(&seed, 1, 20);
        l.keys = round % 7 == 0 ? up_to(&seed, 100, 180) : up_to(&seed, 1, 40);
        l.size = up_to(&seed, 1, round % 3 == 0 ? 80 : 20);
        l.value_size = round % 2 == 0 ? l.size : up_to(&seed, 1, 80);
        attention x;
        make(&x, &l, round);
        kernel_case_check(&x.step);
        drop(&x);
    }
}

static void test_many_keys(void **state)
{
    (void)state;
    const lengths shapes[] = {
        {1, 1, 1, 30, 1500, 64, 64}, {1, 2, 1, 1, 900, 16, 32}, {1, 1, 1, 50, 3, 8, 8}};
    for (uint64_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        for (uint64_t which = 0; which < 128; which += 64) {
            attention x;
            make(&x, &shapes[i], which + i * 4);
            kernel_case_check(&x.step);
            drop(&x);
        }
    }
}

/* Causality leaves keys out where a mask that says the same does not: same bits, also
 * where hidden values are special. */
static void check_skipping(const lengths *l, uint64_t which, float hidden, float factor)
{
    attention x;
    make(&x, l, which | 64);
    wefti_attention_params *p = &x.params;
    for (int64_t i = 0; i < l->batch * p->v.batch; i++) {
        x.v[i] *= factor;
    }
    x.v[(l->keys - 1) * p->v.row] = hidden;
    float *skipped = kernel_alloc(x.outputs * sizeof(float));
    float *whole = kernel_alloc(x.outputs * sizeof(float));
    kernel_case_check(&x.step);
    kernel_case_run_best(&x.step, skipped);
    uint8_t *seen = kernel_alloc((size_t)(l->queries * l->keys));
    for (int64_t n = 0; n < l->queries * l->keys; n++) {
        seen[n] = n % l->keys <= n / l->keys + l->keys - l->queries;
    }
    p->causal = false;
    p->mask_type = WEFT_TYPE_BOOL;
    p->mask_strides[2] = l->keys;
    p->mask_strides[3] = 1;
    kernel_case_operand(&x.step, WEFTI_ATTENTION_MASK, seen, false);
    kernel_case_run_best(&x.step, whole);
    assert_memory_equal(skipped, whole, x.outputs * sizeof(float));
    kernel_free(seen);
    kernel_free(skipped);
    kernel_free(whole);
    drop(&x);
}

static void test_hidden_keys_are_left_out(void **state)
{
    (void)state;
    static const lengths shapes[] = {{1, 2, 1, 150, 150, 16, 24},
                                     {2, 1, 1, 200, 260, 8, 16},
                                     {1, 1, 1, 260, 200, 8, 20},
                                     {1, 1, 1, 64, 64, 64, 64},
                                     {1, 1, 1, 5, 300, 16, 16}};
    static const float hidden[] = {1.0f, INFINITY, NAN, -0.0f};
    for (uint64_t i = 0; i < 20; i++) {
        check_skipping(&shapes[i / 4], i % 2, hidden[i % 4], 1.0f);
    }
    /* Products of weights and values so small that they round to -0. */
    for (uint64_t i = 0; i < 5; i++) {
        check_skipping(&shapes[i], 0, 1.0f, 1e-44f);
    }
}

/* A query that sees nothing gets zeros, whatever the values hold. */
static void test_nothing_visible(void **state)
{
    (void)state;
    attention x;
    make(&x, &(lengths){1, 2, 2, 9, 5, 8, 20}, 64);
    x.v[0] = NAN;
    x.v[21] = INFINITY;
    kernel_case_check(&x.step);
    const wefti_attention_params *p = &x.params;
    float *output = kernel_alloc(x.outputs * sizeof(float));
    kernel_case_run_best(&x.step, output);
    for (int64_t query = 0; query < 4; query++) {
        for (int64_t i = 0; i < p->value_size; i++) {
            const float value = output[query * p->output.row + i];
            assert_true(value == 0.0f && !signbit(value));
        }
    }
    assert_true(isnan(output[4 * p->output.row]));
    kernel_free(output);
    drop(&x);
}

static void test_special_values(void **state)
{
    (void)state;
    const float special[] = {INFINITY, -INFINITY, NAN, -NAN, -0.0f, 1e38f, 1e-40f};
    uint64_t seed = 5;
    for (uint64_t round = 0; round < 60; round++) {
        attention x;
        make(&x, &(lengths){1, 1, 1, 7, 19, 6, 9}, round % 4);
        float *at[] = {x.q, x.k, x.v};
        const uint64_t count[] = {42, 114, 171};
        for (uint64_t i = 0; i < 3; i++) {
            at[i][kernel_next(&seed) % count[i]] = special[kernel_next(&seed) % 7];
        }
        kernel_case_check(&x.step);
        drop(&x);
    }
}

/* The bits on x86-64 and on AArch64 are the same. */
static void test_written_down(void **state)
{
    (void)state;
    attention x;
    make(&x, &(lengths){1, 2, 2, 20, 33, 16, 24}, 0);
    assert_true(kernel_case_hash(&x.step) == UINT64_C(0xc6348fdf22ba3ebb));
    drop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_nothing_visible),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_written_down),
        cmocka_unit_test(test_hidden_keys_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
