/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/random.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"

/* The vectors that the authors publish for philox4x32-10. */
static void known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4];
        uint32_t key[2];
        uint32_t words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t words[4];
        wefti_philox(known[i].counter, known[i].key, words);
        assert_memory_equal(words, known[i].words, sizeof words);
    }
    const weft_random_key zero = {0};
    uint32_t words[4];
    weft_random_fill_u32(&zero, words, 4);
    assert_memory_equal(words, known[0].words, sizeof words);
}

/* The numbers of a key do not depend on how many are asked for. */
static void prefixes_agree(void **state)
{
    (void)state;
    const weft_random_key key = {.seed = 7, .stream = 1, .thread = 2, .iteration = 3};
    float all[64];
    float some[64];
    weft_random_fill_normal(&key, all, 64);
    for (size_t count = 0; count <= 64; count++) {
        some[count % 64] = -100;
        weft_random_fill_normal(&key, some, count);
        assert_memory_equal(some, all, count * sizeof *some);
        if (count < 64) {
            assert_true(some[count] == -100);
        }
    }
}

static void each_part_of_the_key_counts(void **state)
{
    (void)state;
    static const weft_random_key keys[] = {
        {.seed = 1},
        {.seed = 2},
        {.seed = (uint64_t)1 << 32 | 1},
        {.seed = 1, .stream = 1},
        {.seed = 1, .thread = 1},
        {.seed = 1, .iteration = 1},
    };
    enum { KEYS = sizeof keys / sizeof keys[0] };
    uint32_t values[KEYS][16];
    for (int i = 0; i < KEYS; i++) {
        weft_random_fill_u32(&keys[i], values[i], 16);
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < 16; k++) {
                assert_true(values[i][k] != values[j][k]);
            }
        }
    }
}

static void uniform_is_in_its_interval(void **state)
{
    (void)state;
    const weft_random_key key = {.seed = 42};
    static float values[100000];
    weft_random_fill_uniform(&key, values, 100000);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        assert_true(values[i] >= 0 && values[i] < 1);
        assert_true(values[i] * 16777216.0f == floorf(values[i] * 16777216.0f));
        sum += (double)values[i];
    }
    assert_true(fabs(sum / 100000 - 0.5) < 4 * 0.2887 / 316.2);
}

static void normal_has_its_moments(void **state)
{
    (void)state;
    const weft_random_key key = {.seed = 42};
    enum { COUNT = 400000 };
    static float values[COUNT];
    weft_random_fill_normal(&key, values, COUNT);
    double moments[5] = {0};
    for (int i = 0; i < COUNT; i++) {
        double power = 1;
        for (int m = 1; m <= 4; m++) {
            power *= (double)values[i];
            moments[m] += power / COUNT;
        }
    }
    double error = 1 / sqrt(COUNT); /* of the mean; 5 sigma each */
    assert_true(fabs(moments[1]) < 5 * error);
    assert_true(fabs(moments[2] - 1) < 5 * sqrt(2) * error);
    assert_true(fabs(moments[3]) < 5 * sqrt(15) * error);
    assert_true(fabs(moments[4] - 3) < 5 * sqrt(96) * error);
}

/* The distribution function of the result must be the probability it came from. */
static void normal_inverts_the_distribution(void **state)
{
    (void)state;
    double worst = 0;
    for (uint64_t i = 0; i < 200000; i++) {
        uint32_t word = (uint32_t)(i * 2654435761u);
        if (i < 2000) {
            word = (uint32_t)i; /* the far tail */
        }
        double p = (word + 0.5) / 4294967296.0;
        double x = wefti_normal_of_word(word);
        double back = 0.5 * erfc(-x * sqrt(0.5));
        double density = exp(-x * x / 2) * 0.3989422804014327;
        double error = fabs(back - p) / density / (1 + fabs(x)); /* in x */
        worst = error > worst ? error : worst;
        assert_true(wefti_normal_of_word(~word) == -x);
    }
    if (worst > 1e-14) {
        fail_msg("error %g", worst);
    }
    assert_true(wefti_normal_of_word(0) < -6.2 && wefti_normal_of_word(0) > -6.4);
}

/* Recorded once; must be the same bits wherever this runs. */
static void the_same_bits_everywhere(void **state)
{
    (void)state;
    const weft_random_key key = {.seed = 42, .stream = 5, .thread = 3, .iteration = 1};
    static float values[100000];
    weft_random_fill_normal(&key, values, 100000);
    uint64_t hash = 14695981039346656037u; /* FNV-1a over the words */
    for (int i = 0; i < 100000; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        hash = (hash ^ bits) * 1099511628211u;
    }
    /* In f64 too, where a difference in the last place would not round away. */
    for (uint32_t i = 0; i < 100000; i++) {
        double x = wefti_normal_of_word(i * 42949u);
        uint64_t bits;
        memcpy(&bits, &x, 8);
        hash = (hash ^ bits) * 1099511628211u;
    }
    assert_true(hash == UINT64_C(0x792e9dbbedf5b173));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(prefixes_agree),
        cmocka_unit_test(each_part_of_the_key_counts),
        cmocka_unit_test(uniform_is_in_its_interval),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(normal_inverts_the_distribution),
        cmocka_unit_test(the_same_bits_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
