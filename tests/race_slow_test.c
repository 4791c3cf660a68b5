/* SPDX-License-Identifier: Apache-2.0 */
/* The race reproduction, 3,000 iterations from each of 8 threads, as written and
 * fused; every answer compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/suite.h"

enum { THREADS = 8, ITERATIONS = 3000 };

static void run_chain(const char *row)
{
    const cli_suite_options options = {
        .device = "cpu",
        .rows = row,
        .threads = {{THREADS}, 1},
        .iterations = ITERATIONS,
        .no_golden = true,
    };
    cli_suite suite;
    assert_true(cli_suite_run(&options, &suite));
    assert_int_equal(suite.direct.count, 1);
    assert_true(suite.direct.list[0].checked.compared == THREADS * ITERATIONS);
    assert_true(cli_suite_passed(&suite));
    cli_suite_fini(&suite);
}

static void test_as_written(void **state)
{
    (void)state;
    run_chain("race/race as written");
}

static void test_fused(void **state)
{
    (void)state;
    run_chain("race/race fused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_fused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
