/* SPDX-License-Identifier: Apache-2.0 */
/* The smaller rows of all tables and the models from files, direct and through a queue,
 * from few and many threads, again and again in one process. Small enough for the
 * sanitizers; tables_slow_test.c has every row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/suite.h"

static void print_failures(const cli_results *results)
{
    for (size_t i = 0; i < results->count; i++) {
        const cli_result *result = &results->list[i];
        if (result->verdict != CLI_PASSED) {
            print_error("%s, %d threads%s: %s\n", result->row->name, result->threads,
                        result->way.queued ? ", queued" : "", result->reason);
        }
    }
}

static void run_suite(const cli_suite_options *options)
{
    cli_suite suite;
    assert_true(cli_suite_run(options, &suite));
    print_failures(&suite.direct);
    print_failures(&suite.queued);
    assert_int_equal(suite.direct.count > 0, options->mode != CLI_QUEUED);
    assert_int_equal(suite.queued.count > 0, options->mode != CLI_DIRECT);
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

static void test_queued_rows(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .rows = "F.linear,softmax,relu,layernorm,table2/nn.Linear,MLP (3 layers),"
                "BMM_8x64x64x64,Linear_16x512x256",
        .threads = {{8}, 1},
        .workers = {{1, 4}, 2},
        .iterations = 4,
        .distinct = 2,
        .mode = CLI_QUEUED,
        .no_golden = true,
        .quiet = true,
    };
    run_suite(&options);
}

/* Several requests of every thread under way, in batches of few rows and of many. */
static void test_queued_in_flight(void **state)
{
    (void)state;
    cli_suite_options options = {
        .device = "cpu",
        .rows = "table2/nn.Linear,MLP (3 layers),layernorm,mixed,race fused",
        .threads = {{4}, 1},
        .iterations = 10,
        .distinct = 1,
        .mode = CLI_QUEUED,
        .way = {.in_flight = 5, .max_batch = 9},
        .no_golden = true,
        .quiet = true,
    };
    run_suite(&options);
    options.rows = "table2/nn.Linear,softmax";
    options.distinct = 2;
    options.way = (cli_way){.in_flight = 16, .delay_us = 200};
    run_suite(&options);
}

static void test_queued_files(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .tables = 1u << CLI_TABLE_FILES,
        .threads = {{4}, 1},
        .iterations = 4,
        .mode = CLI_QUEUED,
        .way = {.in_flight = 2},
        .golden = WEFT_SOURCE_DIR "/tests/golden",
        .quiet = true,
    };
    run_suite(&options);
}

/* Timed, and beside the direct calls. */
static void test_queued_timed(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .rows = "relu,table2/nn.Linear,table2/TransformerEncoderLayer",
        .threads = {{8}, 1},
        .iterations = 2,
        .distinct = 1,
        .seconds = 0.05,
        .mode = CLI_BOTH,
        .no_golden = true,
        .quiet = true,
    };
    run_suite(&options);
}

/* One model for all threads: requests of several join, and arrive at random too. */
static void test_batching(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cpu",
        .rows = "MLP_1x256,Encoder_1x1x256",
        .threads = {{10}, 1},
        .workers = {{1}, 1},
        .iterations = 6,
        .distinct = 1,
        .seconds = 0.03,
        .mode = CLI_BOTH,
        .no_golden = true,
        .quiet = true,
    };
    cli_suite suite;
    assert_true(cli_suite_run(&options, &suite));
    print_failures(&suite.queued);
    assert_true(cli_suite_passed(&suite));
    assert_int_equal(suite.open_loop_count, 6);
    for (size_t i = 0; i < suite.open_loop_count; i++) {
        const cli_open_loop *loop = &suite.open_loops[i];
        assert_true(loop->calls > 0 && loop->compared == loop->calls);
        assert_int_equal(loop->wrong + loop->failed, 0);
        assert_true(loop->capacity > 0 && loop->offered < loop->capacity);
        assert_true(loop->p50_ns > 0 && loop->p50_ns <= loop->p999_ns);
    }
    cli_suite_fini(&suite);
}

/* The rows that are to show batching can be batched. */
static void test_rows_join(void **state)
{
    (void)state;
    static const cli_way way = {.queued = true, .workers = 1};
    size_t count = 0;
    const cli_row *rows = cli_rows(&count);
    weft_device *device = NULL;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    for (size_t i = 0; i < count; i++) {
        weft_queue *queue = NULL;
        weft_error error = {0};
        if (rows[i].table != CLI_TABLE_BATCHING) {
            continue;
        }
        cli_row row = rows[i];
        row.distinct = 1;
        cli_trial *trial = cli_trial_create(device, &row, 2);
        assert_ptr_equal(trial->lanes[0].models[0], trial->lanes[1].models[0]);
        assert_int_equal(cli_queue_open(trial, &way, &queue, &error), WEFT_OK);
        assert_int_equal(
            weft_queue_check_batching(queue, trial->lanes[0].models[0], &error),
            WEFT_OK);
        weft_queue_release(queue);
        cli_trial_destroy(trial);
    }
    weft_device_release(device);
}

static void test_queue_percentiles(void **state)
{
    (void)state;
    uint64_t buckets[WEFT_QUEUE_BUCKETS] = {0};
    assert_true(cli_queue_percentile(buckets, 0.5) == 0);
    buckets[4] = 10; /* 8 to 16 */
    assert_true(cli_queue_percentile(buckets, 0.5) == 12);
    assert_true(cli_queue_percentile(buckets, 1) == 16);
    buckets[1] = 90; /* 1 to 2 */
    assert_true(cli_queue_percentile(buckets, 0.5) < 2);
    assert_true(cli_queue_percentile(buckets, 0.95) == 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_rows),
        cmocka_unit_test(test_mix_and_race),
        cmocka_unit_test(test_timed),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_queued_rows),
        cmocka_unit_test(test_queued_in_flight),
        cmocka_unit_test(test_queued_files),
        cmocka_unit_test(test_queued_timed),
        cmocka_unit_test(test_batching),
        cmocka_unit_test(test_rows_join),
        cmocka_unit_test(test_queue_percentiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
