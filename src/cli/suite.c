/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/suite.h"

#include "cli/commands.h"
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At other numbers of threads than the table's own, both passes are shorter. */
enum { SIDE_ITERATIONS = 8 };
static const double SIDE_TIME = 0.5;

/* Rows with less work than this are also queued with so many requests in flight. */
enum { CROWD_IN_FLIGHT = 16 };
static const double SMALL_SECONDS = 50e-6;

static const cli_counts table_threads[CLI_TABLE_COUNT] = {
    [CLI_TABLE_OPERATIONS] = {{8, 2, 16}, 3},
    [CLI_TABLE_MODULES] = {{8, 2, 16}, 3},
    [CLI_TABLE_SCALING] = {{4, 8, 12, 16, 32, 64}, 6},
    [CLI_TABLE_MIXED] = {{8}, 1},
    [CLI_TABLE_MODELS] = {{1, 2, 4, 8, 16, 32}, 6},
    [CLI_TABLE_RACE] = {{8}, 1},
    [CLI_TABLE_ONE_CALLER] = {{1}, 1},
    [CLI_TABLE_FILES] = {{8}, 1},
    [CLI_TABLE_BATCHING] = {{64}, 1},
};

int32_t cli_table_threads(cli_table table)
{
    return table == CLI_TABLE_ONE_CALLER ? 1 : table == CLI_TABLE_BATCHING ? 64 : 8;
}

static const cli_counts *counts_for(const cli_suite *suite, cli_table table)
{
    if (suite->options->threads.count > 0 && table != CLI_TABLE_ONE_CALLER) {
        return &suite->options->threads;
    }
    return &table_threads[table];
}

/* Figures that are compared with others; the rest show how a row scales. */
static bool is_main(cli_table table, int32_t threads)
{
    return table == CLI_TABLE_SCALING || threads == cli_table_threads(table);
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
                         .iterations = suite->options->iterations,
                         .on_card = suite->options->on_card};
    bool side = row->table == CLI_TABLE_OPERATIONS || row->table == CLI_TABLE_MODULES ||
                row->table == CLI_TABLE_SCALING;
    if (effort.iterations == 0 && side && threads != cli_table_threads(row->table) &&
        suite->options->threads.count == 0) {
        effort.iterations =
            row->iterations < SIDE_ITERATIONS ? row->iterations : SIDE_ITERATIONS;
    }
    if (suite->options->threads.count == 0 && !is_main(row->table, threads)) {
        effort.seconds *= SIDE_TIME;
    }
    if (row->table == CLI_TABLE_FILES) {
        effort.seconds = 0;
    }
    return effort;
}

static cli_result *add_result(cli_results *results)
{
    if (results->count == results->capacity) {
        size_t capacity = results->capacity * 2 + 64;
        cli_result *grown = cli_allocate(capacity, sizeof(*grown));
        if (results->count > 0) {
            memcpy(grown, results->list, results->count * sizeof(*grown));
        }
        free(results->list);
        results->list = grown;
        results->capacity = capacity;
    }
    return &results->list[results->count++];
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

static void measure_direct(cli_suite *suite, const cli_row *row, cli_trial *trial)
{
    const cli_counts *counts = counts_for(suite, row->table);
    char doing[64];
    for (int32_t i = 0; i < counts->count; i++) {
        int32_t threads = counts->values[i];
        if (!is_needed(suite, row->table, threads)) {
            continue;
        }
        cli_effort effort = effort_for(suite, row, threads);
        snprintf(doing, sizeof(doing), "%d threads", threads);
        cli_terminal_progress(suite, row->name, doing);
        cli_result *result = add_result(&suite->direct);
        cli_measure(trial, threads, &effort, result);
        result->row = row;
    }
}

/* What direct calls reach with as much memory for answers as this way uses. */
static double direct_rate(cli_suite *suite, const cli_row *row, cli_trial *trial,
                          int32_t threads, const cli_way *way)
{
    const cli_result *direct = cli_suite_find(suite, row->table, row->name, threads);
    if (direct == NULL || direct->rate <= 0 || way->in_flight <= 1) {
        return direct != NULL ? direct->rate : 0;
    }
    cli_effort effort = effort_for(suite, row, threads);
    effort.iterations = 2 * way->in_flight;
    effort.way.in_flight = way->in_flight;
    cli_terminal_progress(suite, row->name, "direct, as much memory");
    cli_result beside;
    cli_measure(trial, threads, &effort, &beside);
    return beside.rate;
}

static cli_result *measure_queued(cli_suite *suite, const cli_row *row,
                                  cli_trial *trial, int32_t threads, const cli_way *way)
{
    char doing[64];
    cli_effort effort = effort_for(suite, row, threads);
    effort.way = *way;
    snprintf(doing, sizeof(doing), "%d threads, queued", threads);
    cli_terminal_progress(suite, row->name, doing);
    cli_result *result = add_result(&suite->queued);
    cli_measure(trial, threads, &effort, result);
    result->row = row;
    result->direct_rate = direct_rate(suite, row, trial, threads, way);
    return result;
}

/* Where waking a thread costs more than the work, requests in flight show what the
 * queue itself takes. */
static bool is_small(const cli_suite *suite, const cli_result *queued)
{
    return queued->direct_rate > 0 &&
           suite->info.core_count / queued->direct_rate < SMALL_SECONDS;
}

/* Requests that arrive at parts of what the queue can do. */
static void measure_open_loops(cli_suite *suite, const cli_row *row,
                               const cli_trial *trial, const cli_result *closed)
{
    static const double loads[] = {0.5, 0.8, 0.95};
    char doing[64];
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        if (closed->verdict != CLI_PASSED || closed->rate <= 0 ||
            suite->open_loop_count == CLI_MAX_OPEN_LOOPS) {
            return;
        }
        snprintf(doing, sizeof(doing), "arrivals at %.0f %% of capacity",
                 loads[i] * 100);
        cli_terminal_progress(suite, row->name, doing);
        cli_open_loop *loop = &suite->open_loops[suite->open_loop_count++];
        cli_open_loop_run(trial, &closed->way, loads[i], 2 * suite->options->seconds,
                          loop);
        loop->row = row;
    }
}

static void measure_workers(cli_suite *suite, const cli_row *row, cli_trial *trial,
                            int32_t threads)
{
    static const cli_counts usual = {{0}, 1};
    static const cli_counts of_models = {{1, 4}, 2};
    const cli_suite_options *options = suite->options;
    const cli_counts *workers = options->workers.count > 0       ? &options->workers
                                : row->table == CLI_TABLE_MODELS ? &of_models
                                                                 : &usual;
    cli_way way = options->way;
    way.queued = true;
    for (int32_t i = 0; i < workers->count; i++) {
        way.workers = workers->values[i];
        const cli_result *result = measure_queued(suite, row, trial, threads, &way);
        if (row->table == CLI_TABLE_BATCHING) {
            measure_open_loops(suite, row, trial, result);
            continue;
        }
        if (options->mode == CLI_BOTH && way.in_flight == 0 &&
            is_small(suite, result)) {
            cli_way crowd = way;
            crowd.in_flight = CROWD_IN_FLIGHT;
            measure_queued(suite, row, trial, threads, &crowd);
        }
    }
}

/* Beside direct rows, the queued one is shown at the table's own number of threads
 * unless others were asked for. */
static void measure_all_queued(cli_suite *suite, const cli_row *row, cli_trial *trial)
{
    const cli_suite_options *options = suite->options;
    const cli_counts *counts = counts_for(suite, row->table);
    bool beside = options->mode == CLI_BOTH;
    bool wanted = options->rows != NULL ||
                  (row->table != CLI_TABLE_SCALING && row->table != CLI_TABLE_FILES);
    for (int32_t i = 0; i < counts->count && (wanted || !beside); i++) {
        int32_t threads = counts->values[i];
        bool own = options->threads.count > 0 ||
                   threads == cli_table_threads(row->table) || counts->count == 1;
        if (is_needed(suite, row->table, threads) && (own || !beside)) {
            measure_workers(suite, row, trial, threads);
        }
    }
}

/* All numbers of threads of a row, from one preparation. */
static void measure_counts(cli_suite *suite, const cli_row *row)
{
    cli_row fewer = *row;
    fewer.precision = suite->options->precision;
    if (suite->options->distinct > 0 && row->distinct > suite->options->distinct) {
        fewer.distinct = suite->options->distinct;
    }
    cli_terminal_progress(suite, row->name, "each request alone, and its reference");
    cli_trial *trial =
        cli_trial_create(suite->device, &fewer, most_threads(suite, row->table));
    if (suite->options->mode != CLI_QUEUED) {
        measure_direct(suite, row, trial);
    }
    if (suite->options->mode != CLI_DIRECT) {
        measure_all_queued(suite, row, trial);
    }
    cli_trial_destroy(trial);
    /* A row's workspaces are of no use to the next. */
    if (weft_device_trim(suite->device, NULL) != WEFT_OK) {
        return;
    }
}

static bool any_failed(const cli_results *results, size_t first)
{
    for (size_t i = first; i < results->count; i++) {
        if (results->list[i].verdict != CLI_PASSED) {
            return true;
        }
    }
    return false;
}

static void run_row(cli_suite *suite, const cli_row *row)
{
    size_t direct = suite->direct.count;
    size_t queued = suite->queued.count;
    size_t open = suite->open_loop_count;
    if (row->table == CLI_TABLE_ONE_CALLER) {
        cli_effort effort = effort_for(suite, row, 1);
        cli_terminal_progress(suite, row->name, "with and without helpers");
        cli_row own = *row;
        own.precision = suite->options->precision;
        cli_result *result = add_result(&suite->direct);
        cli_measure_one_caller(suite->device, &own, &effort, result);
        result->row = row;
    } else {
        measure_counts(suite, row);
    }
    bool failed =
        any_failed(&suite->direct, direct) || any_failed(&suite->queued, queued);
    for (size_t i = open; i < suite->open_loop_count; i++) {
        failed = failed || suite->open_loops[i].verdict != CLI_PASSED;
    }
    suite->row_count++;
    suite->failed_row_count += failed ? 1 : 0;
    cli_terminal_row(suite, suite->direct.list + direct, suite->direct.count - direct);
    if (suite->options->mode == CLI_QUEUED) {
        cli_terminal_queued_row(suite, suite->queued.list + queued,
                                suite->queued.count - queued);
    }
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
                       "table1 ... table5, race, batching, one, files, all",
                       (int)length, word);
            return false;
        }
        word += length + (word[length] == ',' ? 1 : 0);
    }
    return true;
}

/* Shows what one table's rows did by way of a queue. */
static void show_queued(const cli_suite *suite, cli_table table)
{
    bool any = false;
    for (size_t i = 0; i < suite->queued.count; i++) {
        const cli_result *result = &suite->queued.list[i];
        if (result->row->table == table) {
            if (!any) {
                cli_terminal_queued_table(suite, table);
            }
            any = true;
            cli_terminal_queued_row(suite, result, 1);
            if (table == CLI_TABLE_BATCHING) {
                cli_terminal_distribution(suite, result);
            }
        }
    }
    if (table == CLI_TABLE_BATCHING) {
        cli_terminal_open_loops(suite);
    }
}

static void begin_table(const cli_suite *suite, cli_table table)
{
    if (suite->options->mode == CLI_QUEUED) {
        cli_terminal_queued_table(suite, table);
    } else {
        cli_terminal_table(suite, table);
    }
}

static void end_table(const cli_suite *suite, cli_table table)
{
    if (suite->options->mode == CLI_BOTH) {
        show_queued(suite, table);
    }
}

/* The rows of a table lie side by side. */
static void run_rows(cli_suite *suite, const cli_row *rows, size_t count)
{
    cli_table table = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_chosen(suite->options, &rows[i])) {
            continue;
        }
        if (rows[i].table != table) {
            end_table(suite, table);
            table = rows[i].table;
            begin_table(suite, table);
        }
        run_row(suite, &rows[i]);
    }
    end_table(suite, table);
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
    cli_result *result = add_result(&suite->direct);
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
    int64_t start_ns = cli_now_ns();
    memset(suite, 0, sizeof(*suite));
    suite->options = options;
    if (!options->no_golden) {
        cli_golden_open(options->golden, &suite->golden, suite->golden_reason,
                        sizeof(suite->golden_reason));
    }
    if (!check_words(suite) || !open_device(options, suite) ||
        (options->json != NULL && !cli_output_probe(options->json)) ||
        (options->html != NULL && !cli_output_probe(options->html))) {
        return false;
    }
    run_rows(suite, rows, row_count);
    run_rows(suite, suite->golden.rows, suite->golden.count);
    add_missing_files(suite);
    weft_device_get_statistics(suite->device, &suite->statistics);
    suite->seconds = (double)(cli_now_ns() - start_ns) * 1e-9;
    bool json = options->json == NULL || cli_write_json(suite, options->json);
    bool html = options->html == NULL || cli_write_html(suite, options->html);
    cli_terminal_end(suite, html ? options->html : NULL);
    return json && html;
}

void cli_suite_fini(cli_suite *suite)
{
    weft_device_release(suite->device);
    cli_golden_close(&suite->golden);
    free(suite->direct.list);
    free(suite->queued.list);
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
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        if (result->row->table == table && result->threads == threads &&
            strcmp(result->row->name, name) == 0) {
            return result;
        }
    }
    return NULL;
}
