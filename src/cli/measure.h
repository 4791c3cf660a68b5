/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_MEASURE_H
#define WEFTI_CLI_MEASURE_H

#include "cli/queued.h"

typedef enum cli_verdict {
    CLI_PASSED = 0,
    CLI_FAILED = 1,
    CLI_NOT_RUN = 2, /* counts as failed unless it was left out on purpose */
} cli_verdict;

/* What one pass of several threads over a trial has shown. */
typedef struct cli_pass {
    uint64_t calls;
    uint64_t compared, wrong; /* answers, with those of the request run alone */
    uint64_t failed;          /* calls that returned an error */
    double seconds;           /* from the first start to the last end */
    double cpu_seconds;       /* of the whole process */
    double p50_ns, p99_ns, p999_ns, max_ns;
    weft_device_statistics before, after;
    weft_queue_statistics queue;  /* of this pass, where it was queued */
    char reason[CLI_REASON_SIZE]; /* of the first wrong or failed call */
} cli_pass;

typedef struct cli_pass_params {
    int32_t threads;
    int32_t iterations; /* of each thread, at least */
    double seconds;     /* and at least so long */
    bool compare_all;   /* else one answer in 64, of those on a card in 1024 */
    bool compare_none;  /* where the device computes nothing */
    weft_queue *queue;  /* NULL: direct */
    int32_t in_flight;  /* of each thread; direct calls use as many buffers in turn */
    bool on_card;       /* tensors of direct calls lie there */
} cli_pass_params;

/* Takes every context that the threads may lease through each kind of model, with
 * tensors on the card or in host memory, so that its workspace has its size and what
 * follows allocates nothing; the first time only.
 */
void cli_trial_warm(cli_trial *trial, bool on_card);

/* Lets the threads start together, each with its own lane. */
void cli_pass_run(const cli_trial *trial, const cli_pass_params *params,
                  cli_pass *pass);

/* One line of a table: a row at a number of threads. */
typedef struct cli_result {
    const cli_row *row;
    int32_t threads;
    cli_verdict verdict;
    char reason[CLI_REASON_SIZE];
    cli_judgement judgement;
    cli_pass checked, timed;
    double rate;    /* timed calls per second; 0: not timed */
    double gflops;  /* rate times the row's arithmetic */
    double overlap; /* cores at work: CPU time / time */
    /* One caller: the rate without helpers, and whether the bits are the same. */
    double lone_rate;
    bool lone_same_bits;
    cli_way way;
    double direct_rate; /* of a queued row: without the queue, in the same run */
} cli_result;

/* How much to do. */
typedef struct cli_effort {
    double seconds;     /* of each timed pass; 0: none */
    int32_t iterations; /* of each thread in the checked pass; 0: the row's own */
    int32_t distinct;   /* most different inputs of each thread; 0: the row's own */
    bool on_card;       /* tensors of direct calls lie there */
    cli_way way;
} cli_effort;

/* Runs a made-ready row from a number of threads: every answer compared, then timed. */
void cli_measure(cli_trial *trial, int32_t threads, const cli_effort *effort,
                 cli_result *result);

/* Runs a row from one thread on a device with helpers and on one without. */
void cli_measure_one_caller(weft_device *device, const cli_row *row,
                            const cli_effort *effort, cli_result *result);

/* Checks that every accepted request has ended in one way; false says so. */
bool cli_statistics_balanced(const weft_device_statistics *statistics);

#endif
