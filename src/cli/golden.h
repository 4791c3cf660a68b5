/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_GOLDEN_H
#define WEFTI_CLI_GOLDEN_H

#include <jansson.h>

#include "cli/row.h"

/* Rows from files: models that PyTorch exported, with recorded inputs and PyTorch's
 * answers, listed by index.json of one folder. Thread t runs the t-th of a row's
 * exports, once as it is (judged by the recorded answers) and once with weights and
 * inputs of its own (judged by the bits alone). */

typedef struct cli_golden_entry {
    const char *directory;
    const json_t *json; /* read only, so any thread may */
} cli_golden_entry;

typedef struct cli_golden {
    char *directory;
    json_t *index;
    cli_golden_entry *entries;
    cli_row *rows; /* table CLI_TABLE_FILES */
    size_t count;
} cli_golden;

/* Opens the folder, or, when it is NULL, tests/golden beside the command's folder or
 * in the working directory. False says why in `reason`. */
bool cli_golden_open(const char *directory, cli_golden *golden, char *reason,
                     size_t reason_size);
void cli_golden_close(cli_golden *golden);

#endif
