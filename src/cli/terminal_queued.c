/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/suite.h"

/* Rows that went through a queue. */

void cli_terminal_queued_table(const cli_suite *suite, cli_table table)
{
    if (suite->options->quiet) {
        return;
    }
    cli_terminal_clear();
    printf("\n%s, through a queue\n", cli_table_describe(table)->title);
    printf("%-38s %11s", "row @threads, workers x in flight", "answers");
    if (suite->options->mode == CLI_BOTH) {
        printf(" %9s %9s %6s", "direct", "queued", "ratio");
    } else if (suite->options->seconds > 0) {
        printf(" %9s", "queued");
    }
    printf(" %6s %8s %8s\n", "batch", "wait P50", "device");
}

static void print_rates(const cli_suite *suite, const cli_result *result)
{
    char queued[32], direct[32];
    cli_thousands(result->rate, queued);
    if (suite->options->mode == CLI_BOTH) {
        printf(" %9s %9s %5.2fx", cli_thousands(result->direct_rate, direct), queued,
               result->direct_rate > 0 ? result->rate / result->direct_rate : 0);
    } else if (suite->options->seconds > 0) {
        printf(" %9s", queued);
    }
}

static void print_line(const cli_suite *suite, const cli_result *result)
{
    char name[64], workers[16], right[32], wait[32], device[32];
    const cli_pass *pass = result->timed.calls > 0 ? &result->timed : &result->checked;
    const weft_queue_statistics *queue = &pass->queue;
    const cli_way *way = &result->way;
    snprintf(workers, sizeof(workers), "%d", (int)queue->workers);
    snprintf(name, sizeof(name), "%.26s @%d, %sx%d", result->row->name, result->threads,
             workers, way->in_flight > 0 ? way->in_flight : 1);
    printf("%-38s %11s", name, cli_terminal_answers(&result->checked, right));
    print_rates(suite, result);
    printf(" %6.2f %8s %8s\n", cli_queue_mean_requests(queue),
           cli_duration(cli_queue_percentile(queue->wait_ns, 0.5), wait),
           cli_duration(cli_queue_device_ns(queue), device));
}

void cli_terminal_queued_row(const cli_suite *suite, const cli_result *results,
                             size_t count)
{
    if (suite->options->quiet) {
        return;
    }
    cli_terminal_clear();
    for (size_t i = 0; i < count; i++) {
        print_line(suite, &results[i]);
    }
    cli_terminal_failures(results, count);
    fflush(stdout);
}

static double share(uint64_t part, uint64_t all)
{
    return all > 0 ? 100 * (double)part / (double)all : 0;
}

void cli_terminal_distribution(const cli_suite *suite, const cli_result *result)
{
    const cli_pass *pass = result->timed.calls > 0 ? &result->timed : &result->checked;
    const weft_queue_statistics *queue = &pass->queue;
    char p50[32], p90[32], p99[32];
    if (suite->options->quiet) {
        return;
    }
    fputs("    rows of a batch:", stdout);
    for (int i = 1; i < WEFT_QUEUE_BUCKETS; i++) {
        long long low = 1LL << (i - 1);
        if (queue->batch_rows[i] == 0) {
            continue;
        }
        printf(i == 1 ? " %lld" : " %lld-%lld", low, 2 * low - 1);
        printf(": %.0f %%", share(queue->batch_rows[i], queue->batch_count));
    }
    printf("\n    wait: P50 %s  P90 %s  P99 %s\n",
           cli_duration(cli_queue_percentile(queue->wait_ns, 0.5), p50),
           cli_duration(cli_queue_percentile(queue->wait_ns, 0.9), p90),
           cli_duration(cli_queue_percentile(queue->wait_ns, 0.99), p99));
}

static void print_open_loop(const cli_open_loop *loop)
{
    char capacity[32], offered[32], p50[32], p95[32], p99[32], p999[32];
    uint64_t right = loop->compared - loop->wrong;
    printf("%-20s %9s %4.0f %% %9s %8llu/%-8llu %6.2f %8s %8s %8s %8s\n",
           loop->row->name, cli_thousands(loop->capacity, capacity), loop->load * 100,
           cli_thousands(loop->offered, offered), (unsigned long long)right,
           (unsigned long long)loop->calls, cli_queue_mean_requests(&loop->queue),
           cli_duration(loop->p50_ns, p50), cli_duration(loop->p95_ns, p95),
           cli_duration(loop->p99_ns, p99), cli_duration(loop->p999_ns, p999));
    if (loop->verdict != CLI_PASSED) {
        printf("  FAILED: %s\n", loop->reason);
    }
}

void cli_terminal_open_loops(const cli_suite *suite)
{
    if (suite->options->quiet || suite->open_loop_count == 0) {
        return;
    }
    cli_terminal_clear();
    printf("\nOpen loop: Poisson arrivals from one submitter, at a part of what it "
           "reaches with %d under way; latency\ncounts from when a request was to "
           "arrive\n%-20s %9s %6s %9s %17s %6s %8s %8s %8s %8s\n",
           CLI_OPEN_LOOP_MOST, "row", "capacity", "load", "arrivals", "answers right",
           "batch", "P50", "P95", "P99", "P99.9");
    for (size_t i = 0; i < suite->open_loop_count; i++) {
        print_open_loop(&suite->open_loops[i]);
    }
    fflush(stdout);
}
