/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/linger.h"

static uint32_t count_tries(wefti_patience *patience, uint32_t waits, bool good)
{
    uint32_t tries = 0;
    for (uint32_t i = 0; i < waits; i++) {
        if (wefti_patience_try(patience)) {
            wefti_patience_learn(patience, good);
            tries++;
        }
    }
    return tries;
}

static void test_what_works_is_always_tried(void **state)
{
    (void)state;
    wefti_patience patience;
    wefti_patience_init(&patience);
    assert_int_equal(count_tries(&patience, 1000, true), 1000);
}

static void test_what_does_not_is_hardly_tried(void **state)
{
    (void)state;
    wefti_patience patience;
    wefti_patience_init(&patience);
    (void)count_tries(&patience, 1000, false);
    uint32_t tries = count_tries(&patience, 100000, false);
    assert_in_range(tries, 1, 100000 / 500);
}

static void test_one_good_try_brings_trust_back(void **state)
{
    (void)state;
    wefti_patience patience;
    wefti_patience_init(&patience);
    (void)count_tries(&patience, 100000, false);
    uint32_t waits = 0;
    while (!wefti_patience_try(&patience)) {
        waits++;
        assert_in_range(waits, 0, 2000);
    }
    wefti_patience_learn(&patience, true);
    assert_int_equal(count_tries(&patience, 100, true), 100);
}

static void test_more_than_half_have_to_be_good(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        wefti_patience patience;
        uint32_t tries = 0;
        wefti_patience_init(&patience);
        for (uint32_t i = 0; i < 3000; i++) {
            if (wefti_patience_try(&patience)) {
                /* Two of three, or one of three. */
                wefti_patience_learn(&patience, (tries % 3 == 0) == (bad != 0));
                tries++;
            }
        }
        if (bad) {
            assert_in_range(tries, 0, 1500);
        } else {
            assert_int_equal(tries, 3000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_works_is_always_tried),
        cmocka_unit_test(test_what_does_not_is_hardly_tried),
        cmocka_unit_test(test_one_good_try_brings_trust_back),
        cmocka_unit_test(test_more_than_half_have_to_be_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
