/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_SUITE_H
#define WEFTI_CLI_SUITE_H

#include "cli/golden.h"
#include "cli/open_loop.h"

/* A selection of rows, run one after another on one device. */

typedef enum cli_mode {
    CLI_DIRECT = 0, /* weft_run */
    CLI_QUEUED = 1, /* all answers through a queue */
    CLI_BOTH = 2,   /* first the one, then the other */
} cli_mode;

typedef struct cli_suite_options {
    const char *device; /* "cpu" */
    const char *isa;    /* NULL: the best */
    const char *rows;   /* names and tables, separated by commas; NULL: `tables` */
    weft_precision precision;
    uint32_t tables;    /* bit 1 << table */
    cli_counts threads; /* none: those of each table */
    double seconds;     /* of each timed pass; 0: answers only */
    int32_t iterations; /* 0: those of each row */
    int32_t distinct;   /* most different inputs of each thread; 0: the row's own */
    const char *json, *html;
    const char *golden;
    bool no_golden;
    bool quiet;   /* nothing on the terminal */
    bool on_card; /* inputs and outputs of direct calls lie on the device's card */
    cli_mode mode;
    cli_way way;        /* of the queue */
    cli_counts workers; /* of the queue; none: those of each table */
} cli_suite_options;

enum { CLI_MAX_OPEN_LOOPS = 64 };

typedef struct cli_results {
    cli_result *list;
    size_t count, capacity;
} cli_results;

/* What a suite has shown so far. */
typedef struct cli_suite {
    const cli_suite_options *options;
    weft_device *device;
    weft_device_info info;
    cli_golden golden;
    char golden_reason[CLI_REASON_SIZE]; /* why there are no rows from files */
    cli_results direct, queued;
    cli_open_loop open_loops[CLI_MAX_OPEN_LOOPS];
    size_t open_loop_count;
    size_t row_count; /* rows finished */
    size_t failed_row_count;
    bool misused; /* false was returned because of a wrong option */
    double seconds;
    weft_device_statistics statistics; /* at the end */
} cli_suite;

/* Runs the selection and writes the files asked for. False when the device cannot be
 * opened or a word of --rows fits nothing, which it says on the error stream. */
bool cli_suite_run(const cli_suite_options *options, cli_suite *suite);
void cli_suite_fini(cli_suite *suite);

/* True when every row passed and all requests are accounted for. */
bool cli_suite_passed(const cli_suite *suite);

/* The number of threads a table is known for: its figures to beat are at this. */
int32_t cli_table_threads(cli_table table);

/* The result of a row at a number of threads; NULL when it was not run. */
const cli_result *cli_suite_find(const cli_suite *suite, cli_table table,
                                 const char *name, int32_t threads);

/* Terminal: heading of a table, a finished row (its results, one for each number of
 * threads), what is under way, and the end. */
void cli_terminal_table(const cli_suite *suite, cli_table table);
void cli_terminal_row(const cli_suite *suite, const cli_result *results, size_t count);
/* The same of rows that went through a queue. */
void cli_terminal_queued_table(const cli_suite *suite, cli_table table);
void cli_terminal_queued_row(const cli_suite *suite, const cli_result *results,
                             size_t count);
/* Batches and waits of a queued row, in parts of all. */
void cli_terminal_distribution(const cli_suite *suite, const cli_result *result);
/* All open loops of one row. */
void cli_terminal_open_loops(const cli_suite *suite);
/* The reasons of those that failed. */
void cli_terminal_failures(const cli_result *results, size_t count);
/* "400 ok" when all answers were right, else "397/400". */
const char *cli_terminal_answers(const cli_pass *pass, char text[32]);
void cli_terminal_clear(void);
void cli_terminal_progress(const cli_suite *suite, const char *row, const char *doing);
void cli_terminal_end(const cli_suite *suite, const char *written);

/* Files; false with words on the error stream when they cannot be written. */
bool cli_write_json(const cli_suite *suite, const char *path);
bool cli_write_html(const cli_suite *suite, const char *path);

#endif
