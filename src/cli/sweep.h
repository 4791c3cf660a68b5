/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_SWEEP_H
#define WEFTI_CLI_SWEEP_H

#include "cli/inspect.h"

/* `weft bench MODEL`: rates of one model by threads, batch sizes and way. */

typedef struct cli_sweep_options {
    cli_inspect_options model; /* model, device, isa, dims */
    weft_precision precision;
    cli_counts threads, batches; /* none: those that suit the machine */
    double seconds;              /* of each setting */
    const char *json, *html;
} cli_sweep_options;

/* Measures, prints a table and which setting to use; returns an exit status. */
int cli_sweep(const cli_sweep_options *options);

#endif
