/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of every table, direct, at 1 to 64 threads, again and again in one process;
 * and the ten models through a queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/suite.h"

enum { ALL_TABLES = (1 << CLI_TABLE_COUNT) - 1, MODELS = 1 << CLI_TABLE_MODELS };

static void run_tables(uint32_t tables, int32_t iterations)
{
    const cli_suite_options options = {
        .device = "cpu",
        .tables = tables,
        .threads = {{1, 2, 4, 8, 16, 32, 64}, 7},
        .iterations = iterations,
        .distinct = 1,
        .golden = WEFT_SOURCE_DIR "/tests/golden",
    };
    cli_suite suite;
    assert_true(cli_suite_run(&options, &suite));
    assert_true(cli_suite_passed(&suite));
    cli_suite_fini(&suite);
}

static void test_small_tables(void **state)
{
    (void)state;
    for (int time = 0; time < 3; time++) {
        run_tables(ALL_TABLES & ~(uint32_t)(MODELS | 1 << CLI_TABLE_RACE), 1);
    }
}

static void test_ten_models(void **state)
{
    (void)state;
    for (int time = 0; time < 2; time++) {
        run_tables(MODELS, 1);
    }
}

/* Through one worker and through four: 10 of 10. */
static void test_ten_models_queued(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .tables = MODELS,
        .threads = {{4}, 1},
        .workers = {{1, 4}, 2},
        .iterations = 2,
        .distinct = 1,
        .mode = CLI_QUEUED,
        .no_golden = true,
    };
    cli_suite suite;
    assert_true(cli_suite_run(&options, &suite));
    assert_true(cli_suite_passed(&suite));
    assert_int_equal(suite.queued.count, 2 * 10);
    cli_suite_fini(&suite);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_tables),
                                       cmocka_unit_test(test_ten_models),
                                       cmocka_unit_test(test_ten_models_queued)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
