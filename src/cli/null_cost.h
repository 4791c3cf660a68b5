/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_NULL_COST_H
#define WEFTI_CLI_NULL_COST_H

#include "cli/suite.h"

/* Measures what a call costs beside its arithmetic: a leased context, and weft_run
 * with its lease, on the null backend from 1 to 16 threads (or `threads`). Prints a
 * table, writes `json`, and returns an exit status. */
int cli_null_cost(const cli_suite_options *options);

#endif
