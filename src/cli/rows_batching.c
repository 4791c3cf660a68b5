/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

/* Where weights are large against the work of one request, batching must pay: 64
 * callers of one model, each with one request at a time. */
static const cli_row rows[] = {
    {
        .name = "MLP_1x256",
        .title = "256 -> 512 -> 512 -> 256, ReLU, x [1,256]",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 256, .out = 512},
                   {.kind = CLI_LAYER_RELU},
                   {.kind = CLI_LAYER_LINEAR, .in = 512, .out = 512},
                   {.kind = CLI_LAYER_RELU},
                   {.kind = CLI_LAYER_LINEAR, .in = 512, .out = 256}},
        .inputs = {CLI_SHAPE2(1, 256)},
        .input_count = 1,
        .iterations = 20,
        .distinct = 2,
        .shared_model = true,
        .dynamic_batch = true,
        .stream = 901,
    },
    {
        .name = "Linear_1x2048x2048",
        .title = "2048 -> 2048, x [1,2048]",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 2048, .out = 2048}},
        .inputs = {CLI_SHAPE2(1, 2048)},
        .input_count = 1,
        .iterations = 20,
        .distinct = 2,
        .shared_model = true,
        .dynamic_batch = true,
        .stream = 902,
    },
    {
        .name = "Encoder_1x1x256",
        .title = "TransformerEncoderLayer, d 256, 4 heads, ff 2048, x [1,1,256]",
        .layers = {{.kind = CLI_LAYER_ENCODER, .in = 256, .heads = 4, .hidden = 2048}},
        .inputs = {CLI_SHAPE3(1, 1, 256)},
        .input_count = 1,
        .iterations = 20,
        .distinct = 2,
        .shared_model = true,
        .dynamic_batch = true,
        .stream = 903,
    },
};

const cli_row *cli_rows_batching(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}
