/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/suite.h"

#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At other numbers of threads than the table's own, the checked pass is shorter. */
enum { SIDE_ITERATIONS = 8 };

static const cli_counts table_threads[CLI_TABLE_COUNT] = {
    [CLI_TABLE_OPERATIONS] = {{8, 2, 16}, 3},
    [CLI_TABLE_MODULES] = {{8, 2, 16}, 3},
    [CLI_TABLE_SCALING] = {{4, 8, 12, 16, 32, 64}, 6},
    [CLI_TABLE_MIXED] = {{8}, 1},
    [CLI_TABLE_MODELS] = {{1, 2, 4, 8, 16, 32}, 6},
    [CLI_TABLE_RACE] = {{8}, 1},
    [CLI_TABLE_ONE_CALLER] = {{1}, 1},
    [CLI_TABLE_FILES] = {{8}, 1},
};

int32_t cli_table_threads(cli_table table)
{
    return table == CLI_TABLE_ONE_CALLER ? 1 : 8;
}

static const cli_counts *counts_for(const cli_suite *suite, cli_table table)
{
    if (suite->options->threads.count > 0 && table != CLI_TABLE_ONE_CALLER) {
        return &suite->options->threads;
    }
    return &table_threads[table];
}

/* Timing needs the table's own number only where nothing is timed. */
static bool is_needed(const cli_suite *suite, cli_table table, int32_t threads)
{
    bool main_table = table == CLI_TABLE_OPERATIONS || table == CLI_TABLE_MODULES;
    return suite->options->threads.count > 0 || suite->options->seconds > 0 ||
           !main_table || threads == cli_table_threads(table);
}

static cli_effort effort_for(const cli_suite *suite, const cli_row *row,
                             int32_t threads)
{
    cli_effort effort = {.seconds = suite->options->seconds,
                         .iterations = suite->options->iterations};
    bool side = row->table == CLI_TABLE_OPERATIONS || row->table == CLI_TABLE_MODULES ||
                row->table == CLI_TABLE_SCALING;
    if (effort.iterations == 0 && side && threads != cli_table_threads(row->table) &&
        suite->options->threads.count == 0) {
        effort.iterations =
            row->iterations < SIDE_ITERATIONS ? row->iterations : SIDE_ITERATIONS;
    }
    if (row->table == CLI_TABLE_FILES) {
        effort.seconds = 0;
    }
    return effort;
}

static cli_result *add_result(cli_suite *suite)
{
    if (suite->result_count == suite->result_capacity) {
        size_t capacity = suite->result_capacity * 2 + 64;
        cli_result *grown = cli_allocate(capacity, sizeof(*grown));
        if (suite->result_count > 0) {
            memcpy(grown, suite->results, suite->result_count * sizeof(*grown));
        }
        free(suite->results);
        suite->results = grown;
        suite->result_capacity = capacity;
    }
    return &suite->results[suite->result_count++];
}

static int32_t most_threads(const cli_suite *suite, cli_table table)
{
    const cli_counts *counts = counts_for(suite, table);
    int32_t most = 1;
    for (int32_t i = 0; i < counts->count; i++) {
        if (is_needed(suite, table, counts->values[i]) && counts->values[i] > most) {
            most = counts->values[i];
        }
    }
    return most;
}

/* All numbers of threads of a row, from one preparation. */
static void measure_counts(cli_suite *suite, const cli_row *row)
{
    const cli_counts *counts = counts_for(suite, row->table);
    char doing[64];
    cli_row fewer = *row;
    if (suite->options->distinct > 0 && row->distinct > suite->options->distinct) {
        fewer.distinct = suite->options->distinct;
    }
    cli_terminal_progress(suite, row->name, "each request alone, and its reference");
    cli_trial *trial =
        cli_trial_create(suite->device, &fewer, most_threads(suite, row->table));
    for (int32_t i = 0; i < counts->count; i++) {
        int32_t threads = counts->values[i];
        if (!is_needed(suite, row->table, threads)) {
            continue;
        }
        cli_effort effort = effort_for(suite, row, threads);
        snprintf(doing, sizeof(doing), "%d threads", threads);
        cli_terminal_progress(suite, row->name, doing);
        cli_result *result = add_result(suite);
        cli_measure(trial, threads, &effort, result);
        result->row = row;
    }
    cli_trial_destroy(trial);
    /* A row's workspaces are of no use to the next. */
    if (weft_device_trim(suite->device, NULL) != WEFT_OK) {
        return;
    }
}

static void run_row(cli_suite *suite, const cli_row *row)
{
    size_t first = suite->result_count;
    if (row->table == CLI_TABLE_ONE_CALLER) {
        cli_effort effort = effort_for(suite, row, 1);
        cli_terminal_progress(suite, row->name, "with and without helpers");
        cli_measure_one_caller(suite->device, row, &effort, add_result(suite));
    } else {
        measure_counts(suite, row);
    }
    bool failed = false;
    for (size_t i = first; i < suite->result_count; i++) {
        failed = failed || suite->results[i].verdict != CLI_PASSED;
    }
    suite->row_count++;
    suite->failed_row_count += failed ? 1 : 0;
    cli_terminal_row(suite, &suite->results[first], suite->result_count - first);
}

/* Tells whether a row is among those asked for. */
static bool is_chosen(const cli_suite_options *options, const cli_row *row)
{
    if (options->rows == NULL) {
        return (options->tables & 1u << row->table) != 0;
    }
    for (const char *word = options->rows; *word != '\0';) {
        size_t length = strcspn(word, ",");
        if (cli_row_matches(row, word, length)) {
            return true;
        }
        word += length + (word[length] == ',' ? 1 : 0);
    }
    return false;
}

/* Every word of --rows must fit some row. */
static bool check_words(cli_suite *suite)
{
    size_t row_count = 0;
    const cli_row *rows = cli_rows(&row_count);
    const char *word = suite->options->rows == NULL ? "" : suite->options->rows;
    while (*word != '\0') {
        size_t length = strcspn(word, ",");
        bool found = length == 5 && strncmp(word, "files", 5) == 0;
        for (size_t i = 0; i < row_count && !found; i++) {
            found = cli_row_matches(&rows[i], word, length);
        }
        for (size_t i = 0; i < suite->golden.count && !found; i++) {
            found = cli_row_matches(&suite->golden.rows[i], word, length);
        }
        if (!found) {
            suite->misused = true;
            cli_misuse("no row or table '%.*s'; type a name such as matmul, or "
                       "table1 ... table5, race, one, files, all",
                       (int)length, word);
            return false;
        }
        word += length + (word[length] == ',' ? 1 : 0);
    }
    return true;
}

static void run_rows(cli_suite *suite, const cli_row *rows, size_t count,
                     cli_table *table)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_chosen(suite->options, &rows[i])) {
            continue;
        }
        if (rows[i].table != *table) {
            *table = rows[i].table;
            cli_terminal_table(suite, *table);
        }
        run_row(suite, &rows[i]);
    }
}

/* The line that stands for the rows from files when there are none. */
static void add_missing_files(cli_suite *suite)
{
    static const cli_row missing = {
        .table = CLI_TABLE_FILES, .name = "files", .title = "recorded by PyTorch"};
    bool asked = suite->options->rows == NULL
                     ? (suite->options->tables & 1u << CLI_TABLE_FILES) != 0
                     : is_chosen(suite->options, &missing);
    if (suite->golden.count > 0 || suite->options->no_golden || !asked) {
        return;
    }
    cli_result *result = add_result(suite);
    *result = (cli_result){.row = &missing, .verdict = CLI_NOT_RUN};
    snprintf(result->reason, sizeof(result->reason), "%s", suite->golden_reason);
    suite->row_count++;
    suite->failed_row_count++;
    cli_terminal_table(suite, CLI_TABLE_FILES);
    cli_terminal_row(suite, result, 1);
}

static bool open_device(const cli_suite_options *options, cli_suite *suite)
{
    int status = cli_open_device(options->device, options->isa, &suite->device);
    suite->misused = status == CLI_EXIT_USAGE;
    if (status != 0) {
        return false;
    }
    weft_device_get_info(suite->device, &suite->info);
    return true;
}

bool cli_suite_run(const cli_suite_options *options, cli_suite *suite)
{
    size_t row_count = 0;
    const cli_row *rows = cli_rows(&row_count);
    cli_table table = 0;
    int64_t start_ns = cli_now_ns();
    memset(suite, 0, sizeof(*suite));
    suite->options = options;
    if (!options->no_golden) {
        cli_golden_open(options->golden, &suite->golden, suite->golden_reason,
                        sizeof(suite->golden_reason));
    }
    if (!check_words(suite) || !open_device(options, suite)) {
        return false;
    }
    run_rows(suite, rows, row_count, &table);
    run_rows(suite, suite->golden.rows, suite->golden.count, &table);
    add_missing_files(suite);
    weft_device_get_statistics(suite->device, &suite->statistics);
    suite->seconds = (double)(cli_now_ns() - start_ns) * 1e-9;
    cli_terminal_end(suite);
    bool json = options->json == NULL || cli_write_json(suite, options->json);
    bool html = options->html == NULL || cli_write_html(suite, options->html);
    return json && html;
}

void cli_suite_fini(cli_suite *suite)
{
    weft_device_release(suite->device);
    cli_golden_close(&suite->golden);
    free(suite->results);
    memset(suite, 0, sizeof(*suite));
}

bool cli_suite_passed(const cli_suite *suite)
{
    return suite->row_count > 0 && suite->failed_row_count == 0 &&
           cli_statistics_balanced(&suite->statistics);
}

const cli_result *cli_suite_find(const cli_suite *suite, cli_table table,
                                 const char *name, int32_t threads)
{
    for (size_t i = 0; i < suite->result_count; i++) {
        const cli_result *result = &suite->results[i];
        if (result->row->table == table && result->threads == threads &&
            strcmp(result->row->name, name) == 0) {
            return result;
        }
    }
    return NULL;
}
