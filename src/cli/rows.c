/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/row.h"

enum { MOST_ROWS = 64 };

static cli_row all[MOST_ROWS];
static size_t all_count;

static const cli_table_info tables[CLI_TABLE_COUNT] = {
    [CLI_TABLE_OPERATIONS] = {"table1", "Table 1: operations"},
    [CLI_TABLE_MODULES] = {"table2", "Table 2: modules"},
    [CLI_TABLE_SCALING] = {"table3", "Table 3: scaling with threads"},
    [CLI_TABLE_MIXED] = {"table4", "Table 4: two kinds of model at the same time"},
    [CLI_TABLE_MODELS] = {"table5", "Table 5: the ten models"},
    [CLI_TABLE_RACE] = {"race", "Race reproduction"},
    [CLI_TABLE_ONE_CALLER] = {"one", "One caller, helped by idle cores"},
    [CLI_TABLE_BATCHING] = {"batching",
                            "Batching: one model, one request of each thread"},
    [CLI_TABLE_FILES] = {"files", "Models from files, against PyTorch's answers"},
};

const cli_table_info *cli_table_describe(cli_table table)
{
    return &tables[table];
}

static void add(const cli_row *row, cli_table table)
{
    if (all_count == MOST_ROWS) {
        abort(); /* the tables are fixed */
    }
    cli_row *copy = &all[all_count++];
    *copy = *row;
    copy->table = table;
    copy->iterations = row->iterations != 0        ? row->iterations
                       : table == CLI_TABLE_MODELS ? 10
                                                   : 50;
    copy->distinct = row->distinct != 0          ? row->distinct
                     : table == CLI_TABLE_MODELS ? 2
                                                 : 4;
    copy->atol = row->atol != 0 ? row->atol : 1e-4;
    copy->rtol = row->rtol != 0 ? row->rtol : 1e-4;
    copy->dynamic_batch = row->dynamic_batch || table == CLI_TABLE_MODULES;
    copy->normal_weights = row->normal_weights || table == CLI_TABLE_OPERATIONS;
}

static void add_all(const cli_row *rows, size_t count, cli_table table)
{
    for (size_t i = 0; i < count; i++) {
        add(&rows[i], table);
    }
}

/* A row of another table once more, with other figures to beat. */
static void add_again(cli_table from, const char *name, cli_table table,
                      const cli_their_rate theirs[4])
{
    for (size_t i = 0; i < all_count; i++) {
        if (all[i].table == from && strcmp(all[i].name, name) == 0) {
            cli_row row = all[i];
            memcpy(row.theirs, theirs, sizeof(row.theirs));
            row.distinct = table == CLI_TABLE_SCALING ? 2 : row.distinct;
            add(&row, table);
            return;
        }
    }
    abort();
}

static void add_scaling(void)
{
    static const cli_their_rate linear[4] = {
        {4, 4088}, {8, 5677}, {12, 6404}, {16, 6465}};
    static const cli_their_rate encoder[4] = {{12, 1456}};
    add_again(CLI_TABLE_MODULES, "nn.Linear", CLI_TABLE_SCALING, linear);
    add_again(CLI_TABLE_MODULES, "TransformerEncoderLayer", CLI_TABLE_SCALING, encoder);
}

static void add_one_caller(void)
{
    static const cli_their_rate none[4] = {{0, 0}};
    add_again(CLI_TABLE_MODULES, "TransformerEncoderLayer", CLI_TABLE_ONE_CALLER, none);
    add_again(CLI_TABLE_MODULES, "MultiheadAttention", CLI_TABLE_ONE_CALLER, none);
    add_again(CLI_TABLE_MODULES, "Conv1d (3 layers)", CLI_TABLE_ONE_CALLER, none);
    add_again(CLI_TABLE_MODELS, "Matmul_1024x1024x1024", CLI_TABLE_ONE_CALLER, none);
}

const cli_row *cli_rows(size_t *count)
{
    size_t found = 0;
    if (all_count == 0) {
        const cli_row *rows = cli_rows_operations(&found);
        add_all(rows, found, CLI_TABLE_OPERATIONS);
        rows = cli_rows_modules(&found);
        add_all(rows, found, CLI_TABLE_MODULES);
        add_scaling();
        rows = cli_rows_mixed(&found);
        add_all(rows, found, CLI_TABLE_MIXED);
        rows = cli_rows_models(&found);
        add_all(rows, found, CLI_TABLE_MODELS);
        rows = cli_rows_race(&found);
        add_all(rows, found, CLI_TABLE_RACE);
        rows = cli_rows_batching(&found);
        add_all(rows, found, CLI_TABLE_BATCHING);
        add_one_caller();
    }
    *count = all_count;
    return all;
}

static bool is_word(const char *name, const char *word, size_t length)
{
    return strlen(name) == length && strncasecmp(name, word, length) == 0;
}

bool cli_row_matches(const cli_row *row, const char *word, size_t length)
{
    const char *table = tables[row->table].key;
    size_t table_length = strlen(table);
    if (length > table_length && word[table_length] == '/' &&
        strncasecmp(table, word, table_length) == 0) {
        return is_word(row->name, word + table_length + 1, length - table_length - 1);
    }
    return is_word(row->name, word, length) || is_word(table, word, length) ||
           is_word("all", word, length);
}

uint64_t cli_row_lane_bytes(const cli_row *row)
{
    double flops = 0;
    int64_t output_count = 0;
    uint64_t most = 0;
    for (int32_t i = 0; i < row->part_count; i++) {
        uint64_t bytes = cli_row_lane_bytes(row->parts[i]);
        most = bytes > most ? bytes : most;
    }
    if (row->input_count == 0) {
        return most;
    }
    cli_layers_measure(row->layers, row->inputs, &flops, &output_count);
    uint64_t elements = (uint64_t)output_count;
    for (int32_t i = 0; i < row->input_count; i++) {
        uint64_t count = 1;
        for (int32_t k = 0; k < row->inputs[i].rank; k++) {
            count *= (uint64_t)row->inputs[i].dims[k];
        }
        elements += count;
    }
    return elements * sizeof(float) * (uint64_t)row->distinct +
           (uint64_t)output_count * sizeof(float);
}

double cli_row_flops(const cli_row *row)
{
    double flops = 0;
    int64_t output_count = 0;
    if (row->input_count > 0) {
        cli_layers_measure(row->layers, row->inputs, &flops, &output_count);
    }
    for (int32_t i = 0; i < row->part_count; i++) {
        flops += cli_row_flops(row->parts[i]) / row->part_count;
    }
    return flops;
}

double cli_row_theirs(const cli_row *row, int32_t threads)
{
    for (int i = 0; i < 4 && row->theirs[i].threads != 0; i++) {
        if (row->theirs[i].threads == threads) {
            return row->theirs[i].rate;
        }
    }
    return 0;
}

double cli_row_best_peer(const cli_row *row, int32_t threads)
{
    static const int32_t known[3] = {2, 8, 16};
    for (int i = 0; i < 3; i++) {
        if (known[i] == threads) {
            double pytorch = row->peers.pytorch[i];
            double onnxruntime = row->peers.onnxruntime[i];
            return pytorch > onnxruntime ? pytorch : onnxruntime;
        }
    }
    return 0;
}
