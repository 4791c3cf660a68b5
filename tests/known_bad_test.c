/* SPDX-License-Identifier: Apache-2.0 */
/* A checker that cannot fail proves nothing: each known-bad switch must turn rows of
 * the tables red, called directly and through a queue, and without it the same rows
 * must be green. On the CPU; on a card where WEFT_TEST_DEVICE names one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/testing.h"
#include "cli/measure.h"
#include "support/fake_driver.h"

/* Rows that hold every part: products, norms, softmax, a workspace with reuse; the last
 * one joins requests of several threads. */
static const char *const row_names[] = {"TransformerEncoderLayer", "MLP (3 layers)",
                                        "softmax", "layernorm", "MLP_1x256"};
static const char *device_name = "cpu";
static bool is_card;
/* Two threads meet in a context that is leased twice only by chance: on a card, where a
 * run takes some microseconds, the more so the more there are; on a busy machine not in
 * each round. A card's threads keep to contexts of their own, so there are more workers
 * than a small card has contexts: some of them share one. */
enum { THREADS = 8, ITERATIONS = 20, MORE_THREADS = 24, MORE_ITERATIONS = 400 };
enum { MOST_ROUNDS = 100, WORKERS = 16 };
static int32_t threads = THREADS, iterations = ITERATIONS;

/* Instead of them on the card made of C, which computes a thousand times slower. With
 * so many rows its four processors take the products' tiles for whole fours. */
static const cli_row small_row = {
    .name = "small MLP",
    .layers = {{.kind = CLI_LAYER_LINEAR, .in = 24, .out = 40},
               {.kind = CLI_LAYER_RELU},
               {.kind = CLI_LAYER_LINEAR, .in = 40, .out = 40},
               {.kind = CLI_LAYER_RELU},
               {.kind = CLI_LAYER_LINEAR, .in = 40, .out = 24}},
    .inputs = {CLI_SHAPE2(12, 24)},
    .input_count = 1,
    .shared_model = true,
    .dynamic_batch = true,
    .stream = 990,
    .atol = 1e-4,
    .rtol = 1e-4,
};

static const cli_row *find_row(const char *name)
{
    size_t count = 0;
    const cli_row *rows = cli_rows(&count);
    if (fake.there) {
        return &small_row;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Has every context of the device made. Two threads with one context may make it twice,
 * and a lost one is not what is looked for here. */
static void make_contexts(weft_device *device)
{
    weft_device_info info;
    weft_device_get_info(device, &info);
    weft_context **contexts = calloc((size_t)info.max_contexts, sizeof(*contexts));
    assert_non_null(contexts);
    for (int32_t i = 0; i < info.max_contexts; i++) {
        assert_int_equal(weft_context_acquire(device, NULL, &contexts[i], NULL),
                         WEFT_OK);
    }
    for (int32_t i = 0; i < info.max_contexts; i++) {
        weft_context_release(contexts[i]);
    }
    free(contexts);
}

/* Runs a row with a guard off: from the start, or only while threads run together. */
static cli_verdict run_row(const char *name, wefti_sabotage what, bool from_the_start,
                           const cli_way *way)
{
    weft_device *device = NULL;
    cli_result result;
    cli_effort effort = {.iterations = iterations, .way = *way};
    cli_row row = *find_row(name);
    row.distinct = 2;
    assert_int_equal(weft_device_open(device_name, NULL, &device, NULL), WEFT_OK);
    make_contexts(device);
    wefti_sabotage_set(from_the_start ? what : WEFTI_SABOTAGE_NONE);
    cli_trial *trial = cli_trial_create(device, &row, threads);
    wefti_sabotage_set(what);
    cli_measure(trial, threads, &effort, &result);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    if (result.verdict == CLI_FAILED) {
        assert_true(strlen(result.reason) > 10);
        print_message("%s%s: %s\n", row.name, way->queued ? ", queued" : "",
                      result.reason);
    }
    cli_trial_destroy(trial);
    weft_device_release(device);
    return result.verdict;
}

static int row_count(void)
{
    return fake.there ? 1 : (int)(sizeof(row_names) / sizeof(row_names[0]));
}

static int count_red_of(wefti_sabotage what, bool from_the_start, const cli_way *way)
{
    int red = 0;
    for (int i = 0; i < row_count(); i++) {
        cli_verdict verdict = run_row(row_names[i], what, from_the_start, way);
        red += verdict == CLI_FAILED ? 1 : 0;
    }
    return red;
}

/* The number of red rows: of direct calls, and of the queue. */
typedef struct reds {
    int direct, queued;
} reds;

static reds count_red(wefti_sabotage what, bool from_the_start)
{
    static const cli_way direct = {0};
    static const cli_way queued = {.queued = true, .workers = WORKERS, .in_flight = 2};
    return (reds){count_red_of(what, from_the_start, &direct),
                  count_red_of(what, from_the_start, &queued)};
}

static void assert_some_red(reds count)
{
    assert_true(count.direct > 0);
    assert_true(count.queued > 0);
}

static void assert_red(reds count, int wanted)
{
    assert_int_equal(count.direct, wanted);
    assert_int_equal(count.queued, wanted);
}

static void test_all_green_without(void **state)
{
    (void)state;
    assert_red(count_red(WEFTI_SABOTAGE_NONE, true), 0);
}

static void test_context_leased_twice(void **state)
{
    (void)state;
    if (is_card && !fake.there) {
        threads = MORE_THREADS;
        iterations = MORE_ITERATIONS;
    }
    reds count = {0};
    for (int i = 0; i < MOST_ROUNDS && (count.direct == 0 || count.queued == 0); i++) {
        const reds more = count_red(WEFTI_SABOTAGE_LEASE_TWICE, false);
        count.direct += more.direct;
        count.queued += more.queued;
    }
    threads = THREADS;
    iterations = ITERATIONS;
    assert_some_red(count);
}

static void test_buffer_reused_early(void **state)
{
    (void)state;
    assert_some_red(count_red(WEFTI_SABOTAGE_REUSE_EARLY, true));
}

static void test_outputs_swapped(void **state)
{
    (void)state;
    assert_red(count_red(WEFTI_SABOTAGE_SWAP_OUTPUTS, false), row_count());
}

static void test_sum_in_another_order(void **state)
{
    (void)state;
    assert_some_red(count_red(WEFTI_SABOTAGE_SUM_ORDER, false));
}

static void test_green_again(void **state)
{
    (void)state;
    assert_red(count_red(WEFTI_SABOTAGE_NONE, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_green_without),
        cmocka_unit_test(test_context_leased_twice),
        cmocka_unit_test(test_buffer_reused_early),
        cmocka_unit_test(test_outputs_swapped),
        cmocka_unit_test(test_sum_in_another_order),
        cmocka_unit_test(test_green_again),
    };
    const char *named = getenv("WEFT_TEST_DEVICE");
    device_name = named != NULL && named[0] != '\0' ? named : device_name;
    is_card = strncmp(device_name, "cuda", 4) == 0;
    if (is_card && fake_driver_find()) {
        (void)fake.forgive(1); /* it sees some of the switches by itself */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
