/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_HTML_H
#define WEFTI_CLI_HTML_H

#include <stdio.h>

#include "cli/suite.h"

/* The parts of the page that `cli_write_html` puts together. Pictures are inline SVG
 * whose colours come from the page's style sheet, so they follow light and dark. */

/* Writes text with <, > and & made harmless. */
void cli_html_text(FILE *file, const char *text);

/* Calls per second beside the figures to beat, all rows on one logarithmic axis. */
void cli_picture_rates(FILE *file, const cli_suite *suite);

/* Throughput by number of threads, one panel for each row of table 3. */
void cli_picture_scaling(FILE *file, const cli_suite *suite);

/* P50, P99 and P99.9 of each row on one logarithmic axis. */
void cli_picture_latency(FILE *file, const cli_suite *suite);

/* The ten models: rate by number of threads, error, verdict. */
void cli_picture_models(FILE *file, const cli_suite *suite);

/* Small bars of one row's rates by number of threads. */
void cli_picture_bars(FILE *file, const double *rates, size_t count);

/* Queued rows beside direct ones, as a table. */
void cli_picture_queued(FILE *file, const cli_suite *suite);

/* Sizes of batches and waits of the batching table, by load. */
void cli_picture_batches(FILE *file, const cli_suite *suite);

/* Latency percentiles of open loops, one panel for each row. */
void cli_picture_open_loops(FILE *file, const cli_suite *suite);

#endif
