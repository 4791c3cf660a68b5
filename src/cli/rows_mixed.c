/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

/* Table 4: two kinds of model at the same time on one device. */
static const cli_row speech = {
    .table = CLI_TABLE_MIXED,
    .name = "TTS-like",
    .title = "Conv1d x2, LayerNorm, Linear x2, x [1,80,200]",
    .layers =
        {{.kind = CLI_LAYER_CONV1D, .in = 80, .out = 256, .kernel = 5, .padding = 2},
         {.kind = CLI_LAYER_RELU},
         {.kind = CLI_LAYER_CONV1D, .in = 256, .out = 256, .kernel = 5, .padding = 2},
         {.kind = CLI_LAYER_RELU},
         {.kind = CLI_LAYER_TRANSPOSE},
         {.kind = CLI_LAYER_NORM, .in = 256},
         {.kind = CLI_LAYER_LINEAR, .in = 256, .out = 512},
         {.kind = CLI_LAYER_GELU},
         {.kind = CLI_LAYER_LINEAR, .in = 512, .out = 80}},
    .inputs = {CLI_SHAPE3(1, 80, 200)},
    .input_count = 1,
    .iterations = 30,
    .distinct = 4,
    .atol = 1e-4,
    .rtol = 1e-4,
    .stream = 401,
};

static const cli_row translation = {
    .table = CLI_TABLE_MIXED,
    .name = "translation-like",
    .title = "2 x TransformerEncoderLayer(512, 8 heads, ff 2048), x [1,64,512]",
    .layers = {{.kind = CLI_LAYER_ENCODER, .in = 512, .heads = 8, .hidden = 2048},
               {.kind = CLI_LAYER_ENCODER, .in = 512, .heads = 8, .hidden = 2048}},
    .inputs = {CLI_SHAPE3(1, 64, 512)},
    .input_count = 1,
    .iterations = 30,
    .distinct = 4,
    .atol = 1e-4,
    .rtol = 1e-4,
    .stream = 402,
};

static const cli_row rows[] = {
    {
        .name = "mixed",
        .title = "4 threads TTS-like + 4 translation-like",
        .iterations = 30,
        .distinct = 4,
        .atol = 1e-4,
        .rtol = 1e-4,
        .theirs = {{8, 366}},
        .parts = {&speech, &translation},
        .part_count = 2,
        .stream = 400,
    },
};

const cli_row *cli_rows_mixed(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}
