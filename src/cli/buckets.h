/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_BUCKETS_H
#define WEFTI_CLI_BUCKETS_H

#include <stdio.h>

#include "cli/trial.h"

/* --bucket: dimensions whose sizes are rounded up. */

enum { CLI_MOST_BUCKETS = 16 };

typedef struct cli_buckets {
    weft_bucket_params params[CLI_MOST_BUCKETS];
    weft_bucket_params exact[CLI_MOST_BUCKETS]; /* the same, all sizes exact */
    size_t count;
    char *texts[CLI_MOST_BUCKETS]; /* that the names point into */
} cli_buckets;

/* What --bucket takes, for lists of options. */
#define CLI_BUCKET_ARGUMENT "NAME=SIZES"
#define CLI_BUCKET_HELP                                                                \
    "Round a dimension up to one of these sizes, to which its inputs are padded: "     \
    "16,32,64 or 16..512*2 or 16..512+16; then, if need be, :mask=INPUT, :pad=VALUE, " \
    ":pad.INPUT=VALUE"

/* Adds what an option says; wrong use ends the program. */
void cli_bucket_add(const char *command, cli_buckets *buckets, const char *value);
void cli_buckets_free(cli_buckets *buckets);

/* Says so in the params of a model. `exact`: masks are made, but nothing is padded. */
void cli_buckets_set(const cli_buckets *buckets, bool exact, weft_model_params *params);

/* Prints which sizes of these inputs are rounded up, as "padded: n 1 in 4"; false:
 * none, and nothing is printed. */
bool cli_buckets_print(const cli_buckets *buckets, const weft_model *model,
                       const weft_tensor *inputs, FILE *file);

/* Prints how far the answer of a padded run is from that of an exact one, and which
 * outputs the padding leaks into. Returns an exit status. */
int cli_buckets_compare(const cli_buckets *buckets, const cli_case *padded,
                        weft_model *exact, double tolerance);

#endif
