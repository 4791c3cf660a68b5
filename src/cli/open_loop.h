/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_OPEN_LOOP_H
#define WEFTI_CLI_OPEN_LOOP_H

#include "cli/measure.h"

/* Requests that arrive when they arrive, whether earlier ones have been answered or
 * not: Poisson arrivals at a part of what the queue can do for one submitter that is
 * told of each end by a callback. That capacity is found right before, by the same
 * submitter, which keeps CLI_OPEN_LOOP_MOST requests under way. A request's latency
 * counts from when it was to arrive: a submitter that is held up, by another thread on
 * its core or because as many are under way already, hides nothing. */

enum { CLI_OPEN_LOOP_MOST = 256 };

typedef struct cli_open_loop {
    const cli_row *row;
    cli_way way;
    double capacity; /* answers per second, at most */
    double load;     /* part of the capacity */
    double offered;  /* arrivals per second */
    double rate;     /* answers per second */
    cli_verdict verdict;
    char reason[CLI_REASON_SIZE];
    uint64_t calls, compared, wrong, failed;
    double p50_ns, p95_ns, p99_ns, p999_ns, max_ns;
    weft_queue_statistics queue;
} cli_open_loop;

/* Lets requests of the trial arrive by way of such a queue; every answer is compared.
 * The time includes that for the capacity. */
void cli_open_loop_run(const cli_trial *trial, const cli_way *way, double load,
                       double seconds, cli_open_loop *result);

#endif
