/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* TfIdfVectorizer against a count by hand. */
enum { LENGTH = 12, SIZE = 7 };

static const int64_t pool[] = {2, 3, 5, 4, 5, 6, 7, 8, 6, 7, 2, 3, 5};
static const int64_t starts[] = {0, 4, 10}; /* 4 words, 3 pairs, one of three */
static const int64_t indexes[] = {0, 6, 2, 1, 4, 5, 4, 3}; /* one twice */

static void begin(op_case *c, const char *mode, int64_t shortest, int64_t longest,
                  int64_t skips)
{
    op_begin(c, "", "TfIdfVectorizer", 9);
    op_string(c, "mode", mode);
    op_int(c, "min_gram_length", shortest);
    op_int(c, "max_gram_length", longest);
    op_int(c, "max_skip_count", skips);
    op_ints(c, "pool_int64s", WEFTI_COUNT_OF(pool), pool);
    op_ints(c, "ngram_counts", WEFTI_COUNT_OF(starts), starts);
    op_ints(c, "ngram_indexes", WEFTI_COUNT_OF(indexes), indexes);
}

/* How often an n-gram begins somewhere in a row. */
static float count(const int64_t *row, const int64_t *words, int64_t length,
                   int64_t skips)
{
    int found = 0;
    for (int64_t step = 1; step <= (length == 1 ? 1 : skips + 1); step++) {
        for (int64_t i = 0; i + (length - 1) * step < LENGTH; i++) {
            int64_t k = 0;
            while (k < length && row[i + k * step] == words[k]) {
                k++;
            }
            found += k == length;
        }
    }
    return (float)found;
}

static void count_all(const int64_t *row, int64_t shortest, int64_t longest,
                      int64_t skips, float *counts)
{
    const int64_t ends[] = {4, 10, 13};
    size_t gram = 0;
    memset(counts, 0, SIZE * sizeof(*counts));
    for (int64_t length = 1; length <= 3; length++) {
        for (int64_t at = starts[length - 1]; at + length <= ends[length - 1];
             at += length, gram++) {
            if (length >= shortest && length <= longest) {
                counts[indexes[gram]] += count(row, pool + at, length, skips);
            }
        }
    }
}

static const int64_t rows[2 * LENGTH] = {2, 3, 5, 6, 7, 8, 6, 7, 5, 5, 5, 6,
                                         4, 5, 6, 9, 7, 2, 2, 3, 3, 5, 5, 2};
static const float weights[] = {2, 0.5F, 3, 4, -1, 6, 7, 8};

static void test_counts(void **state)
{
    (void)state;
    static const char *const modes[] = {"TF", "IDF", "TFIDF"};
    float wanted[2 * SIZE];
    for (int64_t i = 0; i < 3 * 3 * 3; i++) {
        op_case c;
        int64_t longest = 1 + i % 3, skips = 2 * (i / 3 % 3), mode = i / 9;
        int64_t shortest = longest == 3 ? 2 : 1;
        begin(&c, modes[mode], shortest, longest, skips);
        op_floats(&c, "weights", WEFTI_COUNT_OF(weights), weights);
        op_input(&c, WEFT_TYPE_I64, DIMS(2, LENGTH), rows);
        op_run(&c, 1);
        float sum = 0;
        for (int32_t k = 0; k < 2 * SIZE; k++) {
            if (k % SIZE == 0) {
                count_all(rows + k / SIZE * LENGTH, shortest, longest, skips,
                          wanted + k);
            }
            sum += wanted[k];
            wanted[k] = mode == 1 && wanted[k] > 1 ? 1 : wanted[k];
            wanted[k] *= mode == 0 ? 1 : weights[k % SIZE];
        }
        assert_true(sum > 1);
        op_expect_f32(&c, 0, DIMS(2, SIZE), wanted, 0);
        op_end(&c);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    static const int32_t row[] = {6, 7, 6, 7};
    op_case c;
    begin(&c, "TF", 2, 3, 0);
    op_input(&c, WEFT_TYPE_I32, DIMS(4), row);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(SIZE), F32(0, 0, 0, 0, 2, 0, 0), 0);
    op_end(&c);
    begin(&c, "TF", 3, 3, 5); /* rows that are too short for any */
    op_input(&c, WEFT_TYPE_I32, DIMS(2, 2), row);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, SIZE), (const float[2 * SIZE]){0}, 0);
    op_end(&c);
    begin(&c, "IDF", 1, 1, 0);
    op_input(&c, WEFT_TYPE_I64, DIMS(2, 0), NULL);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, SIZE), (const float[2 * SIZE]){0}, 0);
    op_end(&c);
    begin(&c, "TF", 1, 2, 0);
    op_input(&c, WEFT_TYPE_I64, DIMS(0, 3), NULL);
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(0, SIZE));
    op_end(&c);
}

/* Replaces one list of a node that is right. */
static void expect_refusal(const char *name, size_t length, const int64_t *values,
                           weft_status status, const char *text)
{
    op_case c;
    begin(&c, "TF", 1, 2, 0);
    for (size_t i = 0; i < c.node.attribute_count; i++) {
        if (strcmp(c.attributes[i].name, name) == 0) {
            c.attributes[i].ints = values;
            c.attributes[i].count = length;
        }
    }
    op_input(&c, WEFT_TYPE_I64, DIMS(LENGTH), rows);
    op_expect_error(&c, 1, status, text);
    op_end(&c);
}

static void expect_wrong_list(const char *name, size_t length, const int64_t *values,
                              const char *text)
{
    expect_refusal(name, length, values, WEFT_INVALID_MODEL, text);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_wrong_list("ngram_counts", 3, I64(0, 10, 4), "does not ascend");
    expect_wrong_list("ngram_counts", 3, I64(-1, 4, 10), "does not ascend");
    expect_wrong_list("ngram_counts", 3, I64(0, 4, 14), "does not ascend");
    expect_wrong_list("ngram_counts", 2, I64(0, 1), "one number for each");
    expect_wrong_list("ngram_counts", 3, I64(0, 3, 10), "whole number of n-grams");
    expect_wrong_list("ngram_counts", 3, I64(0, 4, 8), "whole number of n-grams");
    expect_refusal("ngram_counts", 17, (const int64_t[17]){0}, WEFT_UNSUPPORTED,
                   "more than 16 words");
    expect_wrong_list("ngram_indexes", 7, indexes, "one number for each");
    expect_wrong_list("ngram_indexes", 8, I64(0, 6, 2, 1, -4, 5, 4, 3), "from 0");
    expect_wrong_list("ngram_indexes", 8, I64(0, 6, 2, 1, 1 << 24, 5, 4, 3), "from 0");
    expect_wrong_list("pool_int64s", 0, pool, "is missing");
    static const struct {
        const char *mode, *text;
        int64_t shortest, longest, skips;
    } wrong[] = {{"TF", "lengths", 0, 2, 0},      {"TF", "lengths", 2, 1, 0},
                 {"TF", "lengths", 1, 2, -1},     {"TF", "max_skip_count", 1, 2, 17},
                 {"TFI", "mode is not", 1, 2, 0}, {"IDF", "weights", 1, 2, 0}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(wrong); i++) {
        op_case c;
        begin(&c, wrong[i].mode, wrong[i].shortest, wrong[i].longest, wrong[i].skips);
        op_floats(&c, "weights", SIZE - 1, weights);
        op_input(&c, WEFT_TYPE_I64, DIMS(LENGTH), rows);
        op_expect_error(&c, 1,
                        wrong[i].skips > 16 ? WEFT_UNSUPPORTED : WEFT_INVALID_MODEL,
                        wrong[i].text);
        op_end(&c);
    }
    static const char *const strings[] = {"a", "b"};
    op_case c;
    begin(&c, "TF", 1, 2, 0);
    op_strings(&c, "pool_strings", 2, strings);
    op_input(&c, WEFT_TYPE_I64, DIMS(LENGTH), rows);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "strings are not supported");
    op_end(&c);
    begin(&c, "TF", 1, 2, 0);
    op_f32(&c, DIMS(3), F32(1, 2, 3));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "f32");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
