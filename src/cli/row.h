/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_ROW_H
#define WEFTI_CLI_ROW_H

#include "cli/layer.h"

/* The tables as data. A row says what is run, how often, and how it is judged. */

typedef enum cli_table {
    CLI_TABLE_OPERATIONS = 1,
    CLI_TABLE_MODULES = 2,
    CLI_TABLE_SCALING = 3,
    CLI_TABLE_MIXED = 4,
    CLI_TABLE_MODELS = 5,
    CLI_TABLE_RACE = 6,
    CLI_TABLE_ONE_CALLER = 7,
    CLI_TABLE_FILES = 8,
    CLI_TABLE_BATCHING = 9,
    CLI_TABLE_COUNT = 10,
} cli_table;

enum { CLI_ROW_MAX_INPUTS = 2, CLI_ROW_MAX_LAYERS = 12 };

/* Ops/s recorded by others; 0: none. On a machine with 2 AVX-512 cores, one
 * intra-op thread per call, from 2, 8 and 16 threads; see docs/performance.md. */
typedef struct cli_peer_rates {
    double pytorch[3], onnxruntime[3];
    double limit;    /* of that machine */
    double at_least; /* what Weft must reach, times the better peer at 8 threads */
} cli_peer_rates;

/* Completed calls per second, recorded by those whose tables these are. */
typedef struct cli_their_rate {
    int32_t threads;
    double rate;
} cli_their_rate;

typedef struct cli_row {
    cli_table table;
    const char *name;
    const char *title; /* shapes, in words */
    cli_layer layers[CLI_ROW_MAX_LAYERS];
    weft_tensor inputs[CLI_ROW_MAX_INPUTS]; /* shapes only */
    int32_t input_count;
    /* Calls of each thread in the checked pass. */
    int32_t iterations;
    /* Different inputs of each thread, taken in turn. */
    int32_t distinct;
    /* Weights N(0,1), not scaled; else PyTorch's start values. */
    bool normal_weights;
    bool no_fusion;
    /* All threads call one model; each has its own inputs all the same. */
    bool shared_model;
    /* The first dimension of every input is the dynamic one, "batch". */
    bool dynamic_batch;
    /* Right: |a - b| <= atol + rtol |b|; in another precision than f32, t (r + |b|)
     * with r the root of the mean square of b, and t of the precision: see trial.c. */
    double atol, rtol;
    weft_precision precision;
    cli_their_rate theirs[4]; /* of their best mode, ends with 0 threads */
    cli_peer_rates peers;
    /* A mix: thread t runs row parts[t % part_count]. */
    const struct cli_row *parts[2];
    int32_t part_count;
    /* A row from a file: its entry among the golden files. */
    const struct cli_golden_entry *golden;
    /* Which random numbers: rows that share it share weights and inputs. */
    uint32_t stream;
} cli_row;

/* What a table is, for headings. */
typedef struct cli_table_info {
    const char *key; /* for --rows and JSON: "table1" */
    const char *title;
} cli_table_info;
const cli_table_info *cli_table_describe(cli_table table);

/* The rows of all tables but the files, in the order of the tables. The first call
 * must not run at the same time as another. */
const cli_row *cli_rows(size_t *count);

/* Tells whether a row is meant by one word of --rows: "relu", "table1",
 * "table2/LayerNorm" or "all". */
bool cli_row_matches(const cli_row *row, const char *word, size_t length);

/* The rows of each source file, in which 0 stands for the usual number; cli_rows
 * gathers them. */
const cli_row *cli_rows_operations(size_t *count);
const cli_row *cli_rows_modules(size_t *count);
const cli_row *cli_rows_mixed(size_t *count);
const cli_row *cli_rows_models(size_t *count);
const cli_row *cli_rows_race(size_t *count);
const cli_row *cli_rows_batching(size_t *count);

/* Bytes that one thread of this row holds: weights, inputs, answers. */
uint64_t cli_row_lane_bytes(const cli_row *row);

/* Multiplications and additions of one call; of a mix, the mean of its parts. */
double cli_row_flops(const cli_row *row);

/* Their rate at this number of threads; 0 when none was recorded. */
double cli_row_theirs(const cli_row *row, int32_t threads);

/* The better peer's recorded rate at 2, 8 or 16 threads; else 0. */
double cli_row_best_peer(const cli_row *row, int32_t threads);

#define CLI_SHAPE1(a)                                                                  \
    {                                                                                  \
        .type = WEFT_TYPE_F32, .rank = 1, .dims = { a }                                \
    }
#define CLI_SHAPE2(a, b)                                                               \
    {                                                                                  \
        .type = WEFT_TYPE_F32, .rank = 2, .dims = { a, b }                             \
    }
#define CLI_SHAPE3(a, b, c)                                                            \
    {                                                                                  \
        .type = WEFT_TYPE_F32, .rank = 3, .dims = { a, b, c }                          \
    }
#define CLI_SHAPE4(a, b, c, d)                                                         \
    {                                                                                  \
        .type = WEFT_TYPE_F32, .rank = 4, .dims = { a, b, c, d }                       \
    }

#endif
