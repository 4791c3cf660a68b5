/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* TfIdfVectorizer of integers: how often each of the node's n-grams stands in a row,
 * its words up to max_skip_count words apart. An n-gram is looked for at every place at
 * once: words are compared with a list of the first words of all n-grams of a length, a
 * list of their second words, and so on; what is true of all of them is counted. */

enum { ROWS, PLACES, GRAMS, MOST_LENGTH = 16, MOST_SKIPS = 16 };

/* What the attributes say, once checked. */
typedef struct vocabulary {
    const int64_t *pool, *starts, *indexes;
    size_t pool_count, length_count, index_count;
    int64_t shortest, longest, skips;
    int64_t size; /* of a result's row */
} vocabulary;

/* The n-grams of one length. */
typedef struct grams {
    const int64_t *words;
    int64_t length, count;
    size_t first; /* of them in `indexes` */
} grams;

/* Where the part of the pool for the n-grams of a length ends. */
static size_t end_of(const vocabulary *words, size_t place)
{
    return place + 1 < words->length_count ? (size_t)words->starts[place + 1]
                                           : words->pool_count;
}

static grams grams_of(const vocabulary *words, size_t place)
{
    grams found = {.words = words->pool, .length = (int64_t)place + 1};
    for (size_t i = 0; i <= place; i++) {
        size_t start = (size_t)words->starts[i];
        found.first += (size_t)found.count;
        found.words = words->pool + start;
        found.count = (int64_t)((end_of(words, i) - start) / (i + 1));
    }
    return found;
}

static void check_starts(wefti_body *body, const vocabulary *words)
{
    int64_t before = 0;
    size_t count = 0;
    for (size_t i = 0; i < words->length_count; before = words->starts[i++]) {
        if (words->starts[i] < before ||
            words->starts[i] > (int64_t)words->pool_count) {
            wefti_body_refuse(body, WEFT_INVALID_MODEL,
                              "ngram_counts does not ascend within the pool");
            return;
        }
    }
    for (size_t i = 0; i < words->length_count; i++) {
        const grams all = grams_of(words, i);
        if (all.words + all.count * all.length != words->pool + end_of(words, i)) {
            wefti_body_refuse(body, WEFT_INVALID_MODEL,
                              "a part of the pool is not a whole number of n-grams");
            return;
        }
        count += (size_t)all.count;
    }
    if (count != words->index_count) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "ngram_indexes has not one number for each n-gram");
    }
}

static void check_indexes(wefti_body *body, vocabulary *words)
{
    for (size_t i = 0; i < words->index_count; i++) {
        int64_t index = words->indexes[i];
        if (index < 0 || index >= WEFTI_BODY_MOST_ELEMENTS) {
            wefti_body_refuse(body, WEFT_INVALID_MODEL,
                              "ngram_indexes has a number that is not from 0 to 2^24");
            return;
        }
        words->size = words->size > index ? words->size : index + 1;
    }
}

static vocabulary read_vocabulary(wefti_body *body)
{
    const wefti_node_view *node = body->node;
    vocabulary words = {.shortest = wefti_attribute_int(node, "min_gram_length", 0),
                        .longest = wefti_attribute_int(node, "max_gram_length", 0),
                        .skips = wefti_attribute_int(node, "max_skip_count", 0)};
    words.pool = wefti_attribute_ints(node, "pool_int64s", &words.pool_count);
    words.starts = wefti_attribute_ints(node, "ngram_counts", &words.length_count);
    words.indexes = wefti_attribute_ints(node, "ngram_indexes", &words.index_count);
    if (wefti_attribute_find(node, "pool_strings") != NULL) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED,
                          "n-grams of strings are not supported");
    } else if (words.pool_count == 0 || words.length_count == 0 ||
               words.index_count == 0) {
        wefti_body_refuse(
            body, WEFT_INVALID_MODEL,
            "pool_int64s, ngram_counts or ngram_indexes is missing or not "
            "a list of n-grams");
    } else if (words.length_count > MOST_LENGTH) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED,
                          "n-grams of more than 16 words are not supported");
    } else if (words.skips > MOST_SKIPS) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED,
                          "max_skip_count: more than 16 is not supported");
    } else if (words.shortest < 1 || words.longest < words.shortest ||
               words.skips < 0) {
        wefti_body_refuse(
            body, WEFT_INVALID_MODEL,
            "the lengths of n-grams, or how far their words may be apart, "
            "are not right");
    } else {
        check_starts(body, &words);
        check_indexes(body, &words);
    }
    return words;
}

/* How often each n-gram stands in each row with words `step` apart, [rows, grams].
 * `words` is [words of one, 1, 1, grams]. */
static wefti_term count_grams(wefti_body *body, wefti_term words, wefti_term rows,
                              int64_t step)
{
    int64_t length = words.known.dims[0];
    int64_t places = rows.known.dims[PLACES] - (length - 1) * step;
    const int64_t flat[] = {1, 1, words.known.dims[3]};
    wefti_term match = {0};
    for (int64_t k = 0; k < length && !wefti_body_failed(body); k++) {
        wefti_term here =
            wefti_body_slice(body, rows, PLACES, k * step, k * step + places, 1);
        wefti_term word = wefti_body_slice(body, words, 0, k, k + 1, 1);
        here = wefti_body_2(body, "Equal", wefti_body_unsqueeze(body, here, GRAMS),
                            wefti_body_reshape(body, word, 3, flat));
        match = k == 0 ? here : wefti_body_2(body, "And", match, here);
    }
    match = wefti_body_cast(body, WEFT_TYPE_F32, match);
    return wefti_body_reduce(body, "ReduceSum", match, PLACES, false);
}

/* The same over all distances. One word has no distance. */
static wefti_term count_all(wefti_body *body, const vocabulary *words, const grams *all,
                            wefti_term rows)
{
    const int64_t dims[] = {rows.known.dims[ROWS], all->count};
    wefti_term sum =
        wefti_body_expand(body, wefti_body_scalar(body, WEFT_TYPE_F32, 0), 2, dims);
    const int64_t list[] = {all->count, 1, 1, all->length};
    const int64_t order[] = {3, 1, 2, 0};
    wefti_term table = wefti_body_constant(body, WEFT_TYPE_I64, 4, list, all->words);
    table = wefti_body_transpose(body, table, order);
    int64_t most = all->length == 1 ? 1 : words->skips + 1;
    for (int64_t step = 1; step <= most && !wefti_body_failed(body); step++) {
        if ((all->length - 1) * step < rows.known.dims[PLACES]) {
            sum = wefti_body_2(body, "Add", sum, count_grams(body, table, rows, step));
        }
    }
    return sum;
}

/* Adds counts up at their places of a row, which starts with zeros. */
static wefti_term place_counts(wefti_body *body, const vocabulary *words,
                               const grams *all, wefti_term row, wefti_term counts)
{
    const int64_t one[] = {1, all->count};
    wefti_term at =
        wefti_body_constant(body, WEFT_TYPE_I64, 2, one, words->indexes + all->first);
    at = wefti_body_expand(body, at, 2, counts.known.dims);
    wefti_body_with_int(body, "axis", 1);
    wefti_body_with_string(body, "reduction", "add");
    return wefti_body_3(body, "ScatterElements", row, at, counts);
}

static wefti_term count_rows(wefti_body *body, const vocabulary *words, wefti_term rows)
{
    const int64_t dims[] = {rows.known.dims[ROWS], words->size};
    wefti_term sums =
        wefti_body_expand(body, wefti_body_scalar(body, WEFT_TYPE_F32, 0), 2, dims);
    for (size_t i = 0; i < words->length_count && !wefti_body_failed(body); i++) {
        grams all = grams_of(words, i);
        if (all.count > 0 && all.length >= words->shortest &&
            all.length <= words->longest) {
            sums = place_counts(body, words, &all, sums,
                                count_all(body, words, &all, rows));
        }
    }
    return sums;
}

/* By the mode: as they are, only whether there are any, and weighted by place. */
static wefti_term weigh(wefti_body *body, wefti_term counts, int64_t size)
{
    const char *mode = wefti_attribute_string(body->node, "mode", "");
    bool plain = strcmp(mode, "TF") == 0, any = strcmp(mode, "IDF") == 0;
    size_t count = 0;
    const float *weights = wefti_attribute_floats(body->node, "weights", &count);
    if (!plain && !any && strcmp(mode, "TFIDF") != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL, "mode is not TF, IDF or TFIDF");
        return counts;
    }
    if (any) {
        wefti_term one = wefti_body_scalar(body, WEFT_TYPE_F32, 1);
        counts = wefti_body_2(body, "Min", counts, one);
    }
    if (plain || weights == NULL) {
        return counts;
    }
    if ((int64_t)count < size) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "weights has fewer numbers than a row of the result");
        return counts;
    }
    return wefti_body_2(body, "Mul", counts,
                        wefti_body_constant(body, WEFT_TYPE_F32, 1, &size, weights));
}

static void term_counts_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0);
    wefti_body_check_types(
        body, 0, WEFTI_TYPE_SET(WEFT_TYPE_I32) | WEFTI_TYPE_SET(WEFT_TYPE_I64));
    wefti_body_check_rank(body, 0, 1, 2);
    vocabulary words = read_vocabulary(body);
    if (wefti_body_failed(body)) {
        return;
    }
    bool one_row = x.known.rank == 1;
    const int64_t dims[] = {one_row ? 1 : x.known.dims[0],
                            x.known.dims[x.known.rank - 1]};
    wefti_term rows = wefti_body_reshape(body, x, 2, dims);
    wefti_term counts =
        count_rows(body, &words, wefti_body_cast(body, WEFT_TYPE_I64, rows));
    counts = weigh(body, counts, words.size);
    wefti_body_output(
        body, 0, one_row ? wefti_body_reshape(body, counts, 1, &words.size) : counts);
}

WEFTI_BODY_FAMILY(term_counts)
