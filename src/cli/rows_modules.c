/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

/* Table 2: modules, 8 threads x 50 iterations, PyTorch's start values. */
static const cli_row rows[] = {
    {
        .name = "nn.Linear",
        .title = "256 -> 128, x [4,256]",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 256, .out = 128}},
        .inputs = {CLI_SHAPE2(4, 256)},
        .input_count = 1,
        .theirs = {{8, 6118}},
        .peers = {{62460, 36891, 19901}, {85635, 49048, 46287}, 885000, 8},
        .stream = 201,
    },
    {
        .name = "MLP (3 layers)",
        .title = "256 -> 512 -> 512 -> 256, ReLU, x [4,256]",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 256, .out = 512},
                   {.kind = CLI_LAYER_RELU},
                   {.kind = CLI_LAYER_LINEAR, .in = 512, .out = 512},
                   {.kind = CLI_LAYER_RELU},
                   {.kind = CLI_LAYER_LINEAR, .in = 512, .out = 256}},
        .inputs = {CLI_SHAPE2(4, 256)},
        .input_count = 1,
        .theirs = {{8, 4637}},
        .peers = {{10019, 6898, 4565}, {40444, 40508, 38549}, 55300, 1.1},
        .stream = 202,
    },
    {
        .name = "Conv1d (3 layers)",
        .title = "1 -> 64 -> 64 -> 1, k 3, ReLU, x [4,1,1024]",
        .layers =
            {{.kind = CLI_LAYER_CONV1D, .in = 1, .out = 64, .kernel = 3, .padding = 1},
             {.kind = CLI_LAYER_RELU},
             {.kind = CLI_LAYER_CONV1D, .in = 64, .out = 64, .kernel = 3, .padding = 1},
             {.kind = CLI_LAYER_RELU},
             {.kind = CLI_LAYER_CONV1D, .in = 64, .out = 1, .kernel = 3, .padding = 1}},
        .inputs = {CLI_SHAPE3(4, 1, 1024)},
        .input_count = 1,
        .theirs = {{8, 4066}},
        .peers = {{1172, 1120, 1053}, {1552, 1428, 1450}, 2235, 1.2},
        .stream = 203,
    },
    {
        .name = "Conv2d",
        .title = "3 -> 64, k 3, padding 1, x [4,3,224,224]",
        .layers =
            {{.kind = CLI_LAYER_CONV2D, .in = 3, .out = 64, .kernel = 3, .padding = 1}},
        .inputs = {CLI_SHAPE4(4, 3, 224, 224)},
        .input_count = 1,
        .distinct = 2,
        .stream = 204,
    },
    {
        .name = "LayerNorm",
        .title = "256, x [4,128,256]",
        .layers = {{.kind = CLI_LAYER_NORM, .in = 256}},
        .inputs = {CLI_SHAPE3(4, 128, 256)},
        .input_count = 1,
        .stream = 205,
    },
    {
        .name = "TransformerEncoderLayer",
        .title = "d 256, 4 heads, ff 2048, x [4,32,256]",
        .layers = {{.kind = CLI_LAYER_ENCODER, .in = 256, .heads = 4, .hidden = 2048}},
        .inputs = {CLI_SHAPE3(4, 32, 256)},
        .input_count = 1,
        .theirs = {{8, 1563}},
        .peers = {{521, 470, 466}, {559, 535, 525}, 683, 1.05},
        .stream = 206,
    },
    {
        .name = "MultiheadAttention",
        .title = "256, 4 heads, self, x [4,128,256]",
        .layers = {{.kind = CLI_LAYER_ATTENTION, .in = 256, .heads = 4}},
        .inputs = {CLI_SHAPE3(4, 128, 256)},
        .input_count = 1,
        .iterations = 30,
        .theirs = {{8, 276}},
        .peers = {{545, 476, 357}, {597, 558, 550}, 692, 1.05},
        .stream = 207,
    },
};

const cli_row *cli_rows_modules(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}
