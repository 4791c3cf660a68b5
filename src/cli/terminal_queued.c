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
    snprintf(workers, sizeof(workers), "%d",
             way->workers > 0 ? way->workers : suite->info.core_count);
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
