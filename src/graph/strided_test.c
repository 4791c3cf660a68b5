/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/strided.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include <weft/random.h>

/* A chain of reshapes, transposes and slices is run twice: on data, with plain loops,
 * and as a strided form, whose elements are then read through its loops. */
enum { MAX_ELEMENTS = 1024, CHAINS = 20000 };

typedef struct tensor {
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int64_t data[MAX_ELEMENTS];
    int64_t count;
} tensor;

typedef struct source {
    weft_random_key key;
} source;

static uint32_t below(source *random, uint32_t end)
{
    uint32_t value;
    weft_random_fill_u32(&random->key, &value, 1);
    random->key.iteration++;
    return value % end;
}

static void transpose(tensor *t, const int64_t *permutation)
{
    tensor out = {.rank = t->rank, .count = t->count};
    int64_t strides[WEFT_MAX_RANK], stride = 1;
    for (int32_t i = t->rank; i-- > 0;) {
        strides[i] = stride;
        stride *= t->dims[i];
    }
    for (int32_t i = 0; i < t->rank; i++) {
        out.dims[i] = t->dims[permutation[i]];
    }
    for (int64_t i = 0; i < t->count; i++) {
        int64_t rest = i, at = 0;
        for (int32_t j = t->rank; j-- > 0;) {
            at += rest % out.dims[j] * strides[permutation[j]];
            rest /= out.dims[j];
        }
        out.data[i] = t->data[at];
    }
    *t = out;
}

static void slice(tensor *t, int32_t axis, int64_t start, int64_t count, int64_t step)
{
    tensor out = *t;
    out.dims[axis] = count;
    out.count = t->count / t->dims[axis] * count;
    int64_t inner = 1;
    for (int32_t i = axis + 1; i < t->rank; i++) {
        inner *= t->dims[i];
    }
    for (int64_t i = 0; i < out.count; i++) {
        int64_t outer = i / (inner * count), index = i / inner % count;
        out.data[i] =
            t->data[(outer * t->dims[axis] + start + index * step) * inner + i % inner];
    }
    *t = out;
}

/* New dims with the same number of elements: prime factors in random groups. */
static void random_dims(tensor *t, source *random)
{
    t->rank = 1 + (int32_t)below(random, 5);
    for (int32_t i = 0; i < t->rank; i++) {
        t->dims[i] = 1;
    }
    int64_t rest = t->count;
    for (int64_t prime = 2; rest > 1; prime++) {
        for (; rest % prime == 0; rest /= prime) {
            t->dims[below(random, (uint32_t)t->rank)] *= prime;
        }
    }
}

static bool random_transpose(tensor *t, wefti_strided *view, source *random)
{
    int64_t permutation[WEFT_MAX_RANK];
    for (int32_t i = 0; i < t->rank; i++) {
        permutation[i] = i;
    }
    for (int32_t i = t->rank; i-- > 1;) {
        uint32_t j = below(random, (uint32_t)i + 1);
        int64_t swap = permutation[i];
        permutation[i] = permutation[j];
        permutation[j] = swap;
    }
    transpose(t, permutation);
    wefti_strided from = *view;
    return wefti_strided_transpose(&from, permutation, view);
}

static bool random_step(tensor *t, wefti_strided *view, source *random)
{
    wefti_strided from = *view;
    uint32_t kind = below(random, 5);
    if (kind < 2) {
        random_dims(t, random);
        return wefti_strided_reshape(&from, t->rank, t->dims, view);
    }
    if (kind < 4) {
        return random_transpose(t, view, random);
    }
    int32_t axis = (int32_t)below(random, (uint32_t)t->rank);
    int64_t size = t->dims[axis], start = below(random, (uint32_t)size);
    int64_t step = 1 + below(random, 2);
    int64_t count = 1 + below(random, (uint32_t)((size - start - 1) / step + 1));
    slice(t, axis, start, count, step);
    return wefti_strided_slice(&from, axis, start, count, step, view);
}

static void assert_same(const tensor *t, const wefti_strided *view)
{
    assert_int_equal(view->rank, t->rank);
    assert_memory_equal(view->dims, t->dims, (size_t)t->rank * sizeof(t->dims[0]));
    bool in_order = true;
    for (int64_t i = 0; i < t->count; i++) {
        int64_t rest = i, at = view->offset;
        for (int32_t j = view->first[view->rank]; j-- > 0;) {
            at += rest % view->factors[j].size * view->factors[j].stride;
            rest /= view->factors[j].size;
        }
        assert_int_equal(rest, 0);
        assert_int_equal(at, t->data[i]);
        in_order = in_order && at == i;
    }
    assert_int_equal(wefti_strided_is_dense(view), in_order);
}

static bool rows_permuted(const tensor *t, int64_t root_count)
{
    int64_t row = t->dims[t->rank - 1];
    for (int64_t i = 0; i < t->count; i++) {
        if (t->data[i] % row != i % row) {
            return false;
        }
    }
    return t->count == root_count;
}

static void test_random_chains(void **state)
{
    (void)state;
    int64_t said = 0, rows = 0;
    for (uint32_t chain = 0; chain < CHAINS; chain++) {
        source random = {{.seed = 7, .stream = chain}};
        tensor t = {.count = 1 + below(&random, 720)};
        random_dims(&t, &random);
        int64_t root_count = t.count;
        wefti_known known = {.type = WEFT_TYPE_F32, .rank = t.rank};
        memcpy(known.dims, t.dims, sizeof(t.dims));
        for (int64_t i = 0; i < t.count; i++) {
            t.data[i] = i;
        }
        wefti_strided view;
        assert_true(wefti_strided_root(3, &known, &view));
        for (int32_t i = 0; i < 6 && random_step(&t, &view, &random); i++) {
            said++;
            assert_same(&t, &view);
            bool permutes = wefti_strided_permutes_rows(&view, root_count);
            rows += permutes;
            /* It may miss a permutation, never invent one. */
            assert_true(!permutes || rows_permuted(&t, root_count));
        }
    }
    assert_true(said > 2 * CHAINS);
    assert_true(rows > CHAINS / 10);
}

/* What the exporters write around multi-head attention: [length, batch, 3 e] cut into
 * query, key and value heads. */
static void test_heads_are_plain_strides(void **state)
{
    (void)state;
    enum { B = 4, S = 32, H = 4, D = 64, E = H * D };
    wefti_known known = {.type = WEFT_TYPE_F32, .rank = 3, .dims = {B, S, 3 * E}};
    static const int64_t swap[] = {1, 0, 2}, deep[] = {3, 1, 2, 0, 4};
    static const int64_t cut[] = {1, S, B, 3, E}, squeezed[] = {3, S, B, E};
    static const int64_t one[] = {S, B * H, D}, heads[] = {B, H, S, D};
    wefti_strided view, next;
    assert_true(wefti_strided_root(0, &known, &view));
    assert_true(wefti_strided_transpose(&view, swap, &next));
    assert_true(wefti_strided_reshape(&next, 5, cut, &view));
    assert_true(wefti_strided_transpose(&view, deep, &next));
    assert_true(wefti_strided_reshape(&next, 4, squeezed, &view));
    assert_true(wefti_strided_slice(&view, 0, 1, 1, 1, &next));
    assert_true(wefti_strided_reshape(&next, 3, one, &view));
    assert_true(wefti_strided_transpose(&view, swap, &next));
    assert_true(wefti_strided_reshape(&next, 4, heads, &view));
    assert_int_equal(view.offset, E);
    static const int64_t strides[] = {S * 3 * E, D, 3 * E, 1};
    for (int32_t i = 0; i < 4; i++) {
        assert_int_equal(view.first[i + 1] - view.first[i], 1);
        assert_int_equal(view.factors[view.first[i]].size, heads[i]);
        assert_int_equal(view.factors[view.first[i]].stride, strides[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_chains),
        cmocka_unit_test(test_heads_are_plain_strides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
