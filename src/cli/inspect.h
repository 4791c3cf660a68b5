/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_INSPECT_H
#define WEFTI_CLI_INSPECT_H

#include <stdio.h>

#include <weft/weft.h>

#include "cli/run.h"

/* `weft inspect`: what was asked for, and what was found. */

typedef struct cli_inspect_options {
    const char *model;
    const char *device;
    const char *isa;
    const char *html, *json;
    cli_setting *inputs; /* NAME=4x256; these two: room for one of each argument */
    int32_t input_count;
    cli_setting *dims;
    int32_t dim_count;
    cli_buckets buckets;
    bool no_fusion;
    bool all_steps;
} cli_inspect_options;

/* Sizes for the inputs of a graph. */
typedef struct cli_sizes {
    weft_tensor *shapes; /* of all inputs */
    size_t count;
    char said[400]; /* what was chosen for dimensions that nobody gave: "batch=1" */
    bool chosen;    /* any was */
} cli_sizes;

/* Operators that are looked at together: those of one layer, by their names. */
typedef struct cli_groups {
    char **paths; /* of each operator, parts with '/' between; "": none */
    size_t count;
} cli_groups;

typedef struct cli_inspected {
    const cli_inspect_options *options;
    weft_graph *graph;
    weft_model *model; /* NULL: none could be made */
    weft_inspection *inspection;
    weft_inspect_totals totals;
    weft_inspect_rows rows;
    cli_sizes sizes;
    cli_groups groups;
    weft_device_info device;
    int64_t load_ns, prepare_ns, plan_ns;
} cli_inspected;

/* All operators of one kind. */
typedef struct cli_kind {
    const char *op_type, *domain;
    uint64_t count;
    uint64_t fates[WEFT_FATE_UNSUPPORTED + 1];
    uint64_t unmeasured;
    double flops, moved_bytes;
} cli_kind;

/* A pattern of operators that became one: "Conv + Add + Relu". */
typedef struct cli_fusion {
    char *text;
    uint64_t count;
} cli_fusion;

enum { CLI_SIZE_ATTEMPTS = 8 };

/* Chooses the sizes: what the options say, else what the names suggest, smaller ones
 * with each attempt. Returns 0, or an exit status after words on the error stream. */
int cli_inspect_sizes(const cli_inspect_options *options, const weft_graph *graph,
                      int attempt, cli_sizes *sizes);

/* Kinds of operators, the most FLOPs first; the caller frees the array. */
cli_kind *cli_inspect_kinds(const cli_inspected *found, size_t *count);

/* What was fused, the most frequent first; freed with cli_fusions_free. */
cli_fusion *cli_inspect_fusions(const cli_inspected *found, size_t *count);
void cli_fusions_free(cli_fusion *fusions, size_t count);

void cli_groups_make(const weft_inspection *inspection, cli_groups *groups);
void cli_groups_free(cli_groups *groups);

/* Writes what was found. */
void cli_inspect_text(const cli_inspected *found, FILE *file);
struct json_t *cli_inspect_tree(const cli_inspected *found);
bool cli_inspect_html(const cli_inspected *found, const char *path);

/* Numbers the way people read them: "8.18 G", "102 MB". */
const char *cli_count(double value, char text[32]);
const char *cli_bytes(double bytes, char text[32]);
/* "f32 [batch,3,224,224]" */
const char *cli_value_shape(const weft_value_info *info, char *text, size_t size);
const char *cli_shape(weft_type type, int32_t rank, const int64_t *dims, char *text,
                      size_t size);
const char *cli_fate_name(weft_fate fate);

#endif
