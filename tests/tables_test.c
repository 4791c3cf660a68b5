/* SPDX-License-Identifier: Apache-2.0 */
/* The smaller rows of all tables and the models from files, direct, from few and many
 * threads, again and again in one process. Small enough for the sanitizers;
 * tables_slow_test.c has every row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/suite.h"

static void run_suite(const cli_suite_options *options)
{
    cli_suite suite;
    assert_true(cli_suite_run(options, &suite));
    for (size_t i = 0; i < suite.result_count; i++) {
        const cli_result *result = &suite.results[i];
        if (result->verdict != CLI_PASSED) {
            print_error("%s, %d threads: %s\n", result->row->name, result->threads,
                        result->reason);
        }
    }
    assert_true(suite.row_count > 0);
    assert_true(cli_suite_passed(&suite));
    cli_suite_fini(&suite);
}

static void test_small_rows(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .rows = "F.linear,softmax,relu,conv1d,layernorm,table2/nn.Linear,"
                "MLP (3 layers),table2/TransformerEncoderLayer,BMM_8x64x64x64",
        .threads = {{1, 4, 16, 32}, 4},
        .iterations = 4,
        .distinct = 1,
        .no_golden = true,
        .quiet = true,
    };
    run_suite(&options);
    run_suite(&options);
}

static void test_mix_and_race(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .rows = "mixed,race",
        .threads = {{8}, 1},
        .iterations = 4,
        .distinct = 2,
        .no_golden = true,
        .quiet = true,
    };
    run_suite(&options);
}

/* The timed pass must not allocate, and counts its statistics. */
static void test_timed(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .rows = "relu,table2/nn.Linear,table2/TransformerEncoderLayer",
        .threads = {{1, 8}, 2},
        .iterations = 2,
        .distinct = 2,
        .seconds = 0.05,
        .no_golden = true,
        .quiet = true,
    };
    run_suite(&options);
}

static void test_files(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .tables = 1u << CLI_TABLE_FILES,
        .threads = {{6}, 1},
        .iterations = 4,
        .golden = WEFT_SOURCE_DIR "/tests/golden",
        .quiet = true,
    };
    run_suite(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_rows),
        cmocka_unit_test(test_mix_and_race),
        cmocka_unit_test(test_timed),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
