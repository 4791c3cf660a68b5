/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

/* Table 1: single operations, 8 threads x 50 iterations, weights N(0,1). */
static const cli_row rows[] = {
    {
        .name = "matmul",
        .title = "[256,256] x [256,256]",
        .layers = {{.kind = CLI_LAYER_MATMUL}},
        .inputs = {CLI_SHAPE2(256, 256), CLI_SHAPE2(256, 256)},
        .input_count = 2,
        .atol = 16e-4, /* sqrt(256) */
        .theirs = {{8, 2967}},
        .peers = {{4929, 4791, 4346}, {6565, 6693, 6646}, 6910, 0.97},
        .stream = 101,
    },
    {
        .name = "F.linear",
        .title = "x [32,64], W [128,64], b [128]",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 64, .out = 128}},
        .inputs = {CLI_SHAPE2(32, 64)},
        .input_count = 1,
        .dynamic_batch = true,
        .atol = 8e-4, /* sqrt(64) */
        .theirs = {{8, 5737}},
        .peers = {{18859, 33093, 30688}, {170141, 74223, 54228}, 442000, 4.5},
        .stream = 102,
    },
    {
        .name = "softmax",
        .title = "[32,256], last axis",
        .layers = {{.kind = CLI_LAYER_SOFTMAX}},
        .inputs = {CLI_SHAPE2(32, 256)},
        .input_count = 1,
        .dynamic_batch = true,
        .atol = 1e-7, /* the values themselves are about 1/256 */
        .theirs = {{8, 7021}},
        .peers = {{108259, 63344, 61892}, {111542, 53278, 48929}, 0, 6},
        .stream = 103,
    },
    {
        .name = "relu",
        .title = "[32,256]",
        .layers = {{.kind = CLI_LAYER_RELU}},
        .inputs = {CLI_SHAPE2(32, 256)},
        .input_count = 1,
        .dynamic_batch = true,
        .theirs = {{8, 7421}},
        .peers = {{160959, 108779, 69805}, {146232, 72582, 62230}, 0, 6},
        .stream = 104,
    },
    {
        .name = "conv1d",
        .title = "x [4,64,128], W [64,64,3], b, padding 1",
        .layers = {{.kind = CLI_LAYER_CONV1D,
                    .in = 64,
                    .out = 64,
                    .kernel = 3,
                    .padding = 1}},
        .inputs = {CLI_SHAPE3(4, 64, 128)},
        .input_count = 1,
        .atol = 13.9e-4, /* sqrt(192) */
        .theirs = {{8, 1567}},
        .peers = {{7604, 7170, 6281}, {13757, 13559, 13917}, 18400, 1.15},
        .stream = 105,
    },
    {
        .name = "layernorm",
        .title = "[4,128,256], last axis, weight and bias",
        .layers = {{.kind = CLI_LAYER_NORM, .in = 256}},
        .inputs = {CLI_SHAPE3(4, 128, 256)},
        .input_count = 1,
        .theirs = {{8, 4553}},
        .peers = {{30056, 28777, 26319}, {24070, 24715, 23513}, 0, 1.7},
        .stream = 106,
    },
};

const cli_row *cli_rows_operations(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}
