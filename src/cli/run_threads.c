/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/measure.h"
#include "cli/progress.h"
#include "cli/run.h"

/* Gives every thread its own inputs where they are random. */
static int prepare(const cli_run_options *options, weft_model *model, cli_trial *trial)
{
    weft_error error = {0};
    for (int32_t i = 0; i < trial->lane_count; i++) {
        cli_lane *lane = &trial->lanes[i];
        lane->row = trial->row;
        lane->case_count = 1;
        lane->cases = cli_allocate(1, sizeof(*lane->cases));
        int status = cli_run_make_inputs(options, model, i, &lane->cases[0]);
        if (status != 0) {
            return status;
        }
        if (cli_case_run_alone(&lane->cases[0], &error) != WEFT_OK) {
            return cli_complain_error(options->model, &error);
        }
    }
    return 0;
}

/* What was asked for, in words. */
static const char *describe(const cli_run_options *options, char text[64])
{
    const char *many = options->threads == 1 ? "" : "s";
    if (options->seconds > 0) {
        snprintf(text, 64, "%lld thread%s", (long long)options->threads, many);
    } else {
        snprintf(text, 64, "%lld thread%s x %lld call%s", (long long)options->threads,
                 many, (long long)options->iterations,
                 options->iterations == 1 ? "" : "s");
    }
    return text;
}

static void print_pass(const cli_run_options *options, const cli_pass *pass)
{
    char amount[64];
    char rate[32], p50[32], p99[32], p999[32];
    if (options->check) {
        printf("%llu of %llu answers are bit for bit what each request gives alone\n",
               (unsigned long long)(pass->compared - pass->wrong),
               (unsigned long long)pass->calls);
    }
    if (options->seconds > 0) {
        printf("%llu calls in %.3g s by ", (unsigned long long)pass->calls,
               pass->seconds);
    }
    printf("%s: %s calls/s   P50 %s  P99 %s  P99.9 %s\n", describe(options, amount),
           cli_thousands((double)pass->calls / pass->seconds, rate),
           cli_duration(pass->p50_ns, p50), cli_duration(pass->p99_ns, p99),
           cli_duration(pass->p999_ns, p999));
}

static void print_queue(const weft_queue_statistics *queue)
{
    char wait[32], device[32];
    printf("queued: %llu batches of %.2f requests on average, waited P50 %s, on the "
           "device %s each\n",
           (unsigned long long)queue->batch_count, cli_queue_mean_requests(queue),
           cli_duration(cli_queue_percentile(queue->wait_ns, 0.5), wait),
           cli_duration(cli_queue_device_ns(queue), device));
}

/* All calls; returns an exit status. */
static int run_pass(const cli_run_options *options, cli_trial *trial)
{
    char reason[CLI_REASON_SIZE];
    weft_error error = {0};
    cli_pass pass = {0};
    cli_pass_params params = {
        .threads = (int32_t)options->threads,
        .iterations = (int32_t)options->iterations,
        .seconds = options->seconds,
        .compare_all = options->check,
        .compare_none = cli_computes_nothing(options->device),
        .in_flight = options->way.in_flight,
    };
    if (options->way.queued &&
        cli_queue_open(trial, &options->way, &params.queue, &error) != WEFT_OK) {
        return cli_complain_error("queue", &error);
    }
    char amount[64];
    cli_progress_begin("%s of %s", describe(options, amount), options->model);
    if (options->seconds > 0) {
        cli_trial_warm(trial, false);
    }
    cli_pass_run(trial, &params, &pass);
    bool shut = params.queue == NULL || cli_queue_shut(params.queue, reason);
    cli_progress_end();
    print_pass(options, &pass);
    if (params.queue != NULL) {
        print_queue(&pass.queue);
    }
    if (!shut) {
        return cli_complain("%s", reason);
    }
    return pass.wrong > 0 || pass.failed > 0 ? cli_complain("%s", pass.reason) : 0;
}

int cli_run_threads(const cli_run_options *options, weft_device *device,
                    weft_model *model)
{
    cli_row row = {.name = options->model};
    cli_trial *trial = cli_allocate(1, sizeof(*trial));
    trial->row = &row;
    trial->device = weft_device_retain(device);
    trial->lane_count = (int32_t)options->threads;
    trial->lanes = cli_allocate((size_t)trial->lane_count, sizeof(*trial->lanes));
    cli_progress_begin("each thread's request alone, %s", options->model);
    int status = prepare(options, model, trial);
    cli_progress_end();
    if (status == 0) {
        status = run_pass(options, trial);
    }
    cli_trial_destroy(trial);
    return status;
}
