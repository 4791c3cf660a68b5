/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/suite.h"

/* A row's results hold the table's own number of threads first. */

static bool is_terminal(void)
{
    return isatty(STDOUT_FILENO) != 0;
}

static const char *bold(void)
{
    return is_terminal() ? "\033[1m" : "";
}

static const char *red(void)
{
    return is_terminal() ? "\033[31m" : "";
}

static const char *plain(void)
{
    return is_terminal() ? "\033[0m" : "";
}

void cli_terminal_clear(void)
{
    if (is_terminal()) {
        fputs("\r\033[K", stdout);
    }
}

void cli_terminal_progress(const cli_suite *suite, const char *row, const char *doing)
{
    if (suite->options->quiet || !is_terminal()) {
        return;
    }
    cli_terminal_clear();
    printf("  %s: %s ...", row, doing);
    fflush(stdout);
}

/* Tables whose rows are lines of throughput by number of threads. */
static bool is_by_threads(cli_table table)
{
    return table == CLI_TABLE_SCALING || table == CLI_TABLE_MODELS ||
           table == CLI_TABLE_BATCHING;
}

void cli_terminal_table(const cli_suite *suite, cli_table table)
{
    if (suite->options->quiet) {
        return;
    }
    cli_terminal_clear();
    printf("\n%s%s%s\n", bold(), cli_table_describe(table)->title, plain());
    if (table == CLI_TABLE_ONE_CALLER) {
        printf("%-30s %10s %10s %10s %7s\n", "row", "max error", "one core", "helped",
               "ratio");
    } else if (table == CLI_TABLE_FILES) {
        printf("%-30s %14s %10s  %s\n", "row", "answers", "max error", "what");
    } else if (is_by_threads(table)) {
        printf("%-30s %10s   calls/s at a number of threads\n", "row", "max error");
    } else {
        printf("%-26s %11s %9s %9s %8s %8s %8s %8s\n", "row", "answers", "max error",
               "calls/s", "P50", "P99", "theirs", "peers*");
    }
}

const char *cli_terminal_answers(const cli_pass *pass, char text[32])
{
    uint64_t right = pass->compared - pass->wrong;
    if (right == pass->calls) {
        snprintf(text, 32, "%llu ok", (unsigned long long)pass->calls);
    } else {
        snprintf(text, 32, "%llu/%llu", (unsigned long long)right,
                 (unsigned long long)pass->calls);
    }
    return text;
}

static const char *rate_or_dash(double rate, char text[32])
{
    return rate > 0 ? cli_thousands(rate, text) : "-";
}

static void print_line(const cli_result *result)
{
    char right[32], rate[32], p50[32], p99[32], theirs[32], peer[32];
    const cli_row *row = result->row;
    char name[64];
    snprintf(name, sizeof(name), "%s", row->name);
    if (result->threads != cli_table_threads(row->table)) {
        snprintf(name, sizeof(name), "%.40s @%d", row->name, result->threads);
    }
    printf("%-26s %11s %9.2g %9s %8s %8s %8s %8s\n", name,
           cli_terminal_answers(&result->checked, right),
           result->judgement.largest_error, rate_or_dash(result->rate, rate),
           result->rate > 0 ? cli_duration(result->timed.p50_ns, p50) : "-",
           result->rate > 0 ? cli_duration(result->timed.p99_ns, p99) : "-",
           rate_or_dash(cli_row_theirs(row, result->threads), theirs),
           rate_or_dash(cli_row_best_peer(row, result->threads), peer));
}

static void print_by_threads(const cli_result *results, size_t count)
{
    char rate[32], right[32];
    printf("%-30s %10.2g  ", results[0].row->name, results[0].judgement.largest_error);
    for (size_t i = 0; i < count; i++) {
        if (results[i].rate > 0) {
            printf(" %d: %s", results[i].threads, cli_thousands(results[i].rate, rate));
        } else {
            printf(" %d: %s", results[i].threads,
                   cli_terminal_answers(&results[i].checked, right));
        }
    }
    printf("\n");
}

static void print_one_caller(const cli_result *result)
{
    char lone[32], helped[32];
    printf("%-30s %10.2g %10s %10s", result->row->name, result->judgement.largest_error,
           rate_or_dash(result->lone_rate, lone), rate_or_dash(result->rate, helped));
    if (result->lone_rate > 0) {
        printf(" %6.2fx", result->rate / result->lone_rate);
    }
    printf("%s", result->lone_same_bits ? "  same bits\n" : "\n");
}

static void print_file(const cli_result *result)
{
    char right[32];
    printf("%-30s %14s %10.2g  %s\n", result->row->name,
           cli_terminal_answers(&result->checked, right),
           result->judgement.largest_error, result->row->title);
}

void cli_terminal_failures(const cli_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (results[i].verdict != CLI_PASSED) {
            printf("  %s%s at %d threads: %s%s\n", red(),
                   results[i].verdict == CLI_NOT_RUN ? "NOT RUN" : "FAILED",
                   results[i].threads, results[i].reason, plain());
        }
    }
}

void cli_terminal_row(const cli_suite *suite, const cli_result *results, size_t count)
{
    if (suite->options->quiet || count == 0) {
        return;
    }
    cli_table table = results[0].row->table;
    cli_terminal_clear();
    if (table == CLI_TABLE_ONE_CALLER) {
        print_one_caller(results);
    } else if (table == CLI_TABLE_FILES) {
        print_file(results);
    } else if (is_by_threads(table)) {
        print_by_threads(results, count);
    } else {
        /* Beside the table's own number of threads, others only when asked for. */
        size_t shown = suite->options->threads.count > 0 ? count : 1;
        for (size_t i = 0; i < shown; i++) {
            print_line(&results[i]);
        }
    }
    cli_terminal_failures(results, count);
    fflush(stdout);
}

static bool any_peer(const cli_suite *suite)
{
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        if (!is_by_threads(result->row->table) &&
            cli_row_best_peer(result->row, result->threads) > 0) {
            return true;
        }
    }
    return false;
}

/* The promises in figures: nothing lost, nobody waits, nothing allocated. */
static void print_statistics(const cli_suite *suite)
{
    const weft_device_statistics *s = &suite->statistics;
    char accepted[32], lock_time[32], lease_time[32];
    double overlap = 0;
    uint64_t allocations = 0;
    uint64_t timed = 0;
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        if (result->rate > 0) {
            overlap += result->threads > 1 ? result->overlap : 0;
            timed += result->threads > 1 ? 1 : 0;
            allocations += result->timed.after.allocation_count -
                           result->timed.before.allocation_count;
        }
    }
    printf("\nrequests     %s accepted = done %llu + failed %llu + cancelled %llu + "
           "timed out %llu\n",
           cli_thousands((double)s->accepted, accepted), (unsigned long long)s->done,
           (unsigned long long)s->failed, (unsigned long long)s->cancelled,
           (unsigned long long)s->timed_out);
    printf("waiting      for locks %llu times, %s in all; for a context %llu times, "
           "%s\n",
           (unsigned long long)s->lock_wait_count,
           cli_duration((double)s->lock_wait_ns, lock_time),
           (unsigned long long)s->lease_wait_count,
           cli_duration((double)s->lease_wait_ns, lease_time));
    if (timed > 0) {
        printf("at work      %.2f of %d cores (mean of the timed passes); allocations "
               "in them: %llu\n",
               overlap / (double)timed, suite->info.core_count,
               (unsigned long long)allocations);
    }
}

void cli_terminal_end(const cli_suite *suite, const char *written)
{
    const cli_suite_options *options = suite->options;
    if (options->quiet) {
        return;
    }
    cli_terminal_clear();
    if (any_peer(suite)) {
        printf("\n* the better of PyTorch 2.13 and ONNX Runtime 1.31 as recorded on a "
               "machine with 2 AVX-512\n  cores; `make bench` measures them here, side "
               "by side with Weft\n");
    }
    print_statistics(suite);
    const bool plain_f32 = options->precision == WEFT_PRECISION_F32;
    printf("\n%s%zu of %zu rows passed in %.0f s on %s (%s, %d cores)%s%s%s%s%s%s\n",
           suite->failed_row_count == 0 ? bold() : red(),
           suite->row_count - suite->failed_row_count, suite->row_count, suite->seconds,
           suite->info.name, suite->info.isa, suite->info.core_count,
           plain_f32 ? "" : " in ",
           plain_f32 ? "" : weft_precision_name(options->precision),
           written != NULL ? "; see " : "", written != NULL ? written : "",
           suite->failed_row_count == 0 ? "" : ": FAILED", plain());
    fflush(stdout);
}
