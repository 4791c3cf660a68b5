/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_RUN_H
#define WEFTI_CLI_RUN_H

#include "cli/buckets.h"
#include "cli/queued.h"

/* `weft run`: what was asked for, and the steps of doing it. */

/* A NAME=VALUE of the command line; the strings are borrowed from it. */
typedef struct cli_setting {
    const char *name;
    size_t name_length;
    const char *value;
} cli_setting;

typedef struct cli_run_options {
    const char *model;
    const char *device;
    const char *isa;
    cli_setting *inputs; /* these three have room for one of each argument */
    int32_t input_count;
    cli_setting *outputs;
    int32_t output_count;
    cli_setting *dims;
    int32_t dim_count;
    cli_buckets buckets;
    double tolerance; /* of a padded answer beside the exact one */
    int64_t threads;
    int64_t contexts; /* 0: as many as the device has */
    int64_t iterations;
    double seconds; /* and at least so long, warmed up before; 0: no more calls */
    bool check;
    bool dump_plan;
    bool no_fusion;
    weft_precision precision;
    const char *profile; /* file of the trace, or NULL */
    int64_t profile_events;
    cli_way way;
    const char *queue_option; /* the last one given that needs --queue */
} cli_run_options;

/* Splits NAME=VALUE; false when it is not so. */
bool cli_setting_parse(const char *text, cli_setting *setting);

/* Adds one to a list with room for it; wrong use, also of a name that is there already,
 * ends the program. */
void cli_setting_add(const char *command, cli_setting *settings, int32_t *count,
                     const char *option, const char *value);

/* Finds a setting by name; NULL when there is none. */
const cli_setting *cli_setting_find(const cli_setting *settings, int32_t count,
                                    const char *name);

/* Fills a case's inputs for one thread from files or random numbers. Returns 0, or the
 * exit status after words on the error stream when an input is missing or wrong. */
int cli_run_make_inputs(const cli_run_options *options, weft_model *model,
                        int32_t thread, cli_case *request);

/* An element of a tensor as a number; NaN where its type is none that can be read. */
double cli_run_element(const weft_tensor *tensor, size_t index);

/* Prints shapes, ranges and first values of the outputs. */
void cli_run_print_outputs(const weft_model *model, const cli_case *request);

/* Every --dim must be the size of a dimension that may vary. Returns an exit status. */
int cli_run_check_dims(const cli_run_options *options, const weft_model *model);

/* Runs from many threads, compares when asked, prints the rates; returns an exit
 * status. */
int cli_run_threads(const cli_run_options *options, weft_device *device,
                    weft_model *model);

#endif
