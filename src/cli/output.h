/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_OUTPUT_H
#define WEFTI_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

/* A file that is whole or not there: written beside its place under another name, and
 * renamed when all of it is on the disk's side. What is no regular file, such as a pipe
 * or /dev/stdout, is written in place. */
typedef struct cli_output {
    FILE *file;
    char *path;      /* where it goes, links followed */
    char *temporary; /* NULL: written in place */
} cli_output;

/* Begins a file; false with words on the error stream when it cannot be. */
bool cli_output_begin(cli_output *output, const char *path);

/* Tells whether a file can be begun, before the work of which it is to tell; false with
 * words on the error stream when not. */
bool cli_output_probe(const char *path);

/* Ends it: gives the file its name, or removes it where `whole` is false or a write
 * failed, which it says on the error stream. Returns whether the file is there. */
bool cli_output_end(cli_output *output, bool whole);

/* Writes a JSON tree as such a file. */
struct json_t;
bool cli_output_json(const struct json_t *root, const char *path);

/* Flushes standard output and returns the exit status of a command that ended with
 * `status`: 1 instead of 0 when what it printed was lost, which it says. */
int cli_finish(int status);

#endif
