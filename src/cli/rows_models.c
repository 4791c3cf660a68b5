/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

/* Table 5: the ten correctness models. Weights N(0,1), not scaled, for rows 1 to 9;
 * there the absolute tolerance grows with the square root of the sum's length. */
static const cli_row rows[] = {
    {
        .name = "Linear_16x512x256",
        .title = "x [16,512], W [256,512], b",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 512, .out = 256}},
        .inputs = {CLI_SHAPE2(16, 512)},
        .input_count = 1,
        .distinct = 4,
        .normal_weights = true,
        .atol = 22.6e-4, /* sqrt(512) */
        .stream = 501,
    },
    {
        .name = "Linear_64x2048x2048",
        .title = "x [64,2048], W [2048,2048], b",
        .layers = {{.kind = CLI_LAYER_LINEAR, .in = 2048, .out = 2048}},
        .inputs = {CLI_SHAPE2(64, 2048)},
        .input_count = 1,
        .normal_weights = true,
        .atol = 45.2e-4, /* sqrt(2048) */
        .stream = 502,
    },
    {
        .name = "Matmul_256x512x256",
        .title = "[256,512] x [512,256]",
        .layers = {{.kind = CLI_LAYER_MATMUL}},
        .inputs = {CLI_SHAPE2(256, 512), CLI_SHAPE2(512, 256)},
        .input_count = 2,
        .atol = 22.6e-4, /* sqrt(512) */
        .stream = 503,
    },
    {
        .name = "Matmul_1024x1024x1024",
        .title = "[1024,1024] x [1024,1024]",
        .layers = {{.kind = CLI_LAYER_MATMUL}},
        .inputs = {CLI_SHAPE2(1024, 1024), CLI_SHAPE2(1024, 1024)},
        .input_count = 2,
        .iterations = 4,
        .distinct = 1,
        .atol = 32e-4, /* sqrt(1024) */
        .stream = 504,
    },
    {
        .name = "BMM_8x64x64x64",
        .title = "[8,64,64] x [8,64,64]",
        .layers = {{.kind = CLI_LAYER_MATMUL}},
        .inputs = {CLI_SHAPE3(8, 64, 64), CLI_SHAPE3(8, 64, 64)},
        .input_count = 2,
        .distinct = 4,
        .atol = 8e-4, /* sqrt(64) */
        .stream = 505,
    },
    {
        .name = "LayerNorm_16x512x768",
        .title = "[16,512,768] over 768, weight and bias",
        .layers = {{.kind = CLI_LAYER_NORM, .in = 768}},
        .inputs = {CLI_SHAPE3(16, 512, 768)},
        .input_count = 1,
        .distinct = 1,
        .normal_weights = true,
        .stream = 506,
    },
    {
        .name = "Softmax_4x128x32000",
        .title = "[4,128,32000], last axis",
        .layers = {{.kind = CLI_LAYER_SOFTMAX}},
        .inputs = {CLI_SHAPE3(4, 128, 32000)},
        .input_count = 1,
        .atol = 1e-9, /* the values themselves are about 1/32000 */
        .iterations = 4,
        .distinct = 1,
        .stream = 507,
    },
    {
        .name = "Conv2d_4x3x224x224_k3",
        .title = "3 -> 64, k 3, padding 1",
        .layers =
            {{.kind = CLI_LAYER_CONV2D, .in = 3, .out = 64, .kernel = 3, .padding = 1}},
        .inputs = {CLI_SHAPE4(4, 3, 224, 224)},
        .input_count = 1,
        .distinct = 1,
        .normal_weights = true,
        .atol = 5.2e-4, /* sqrt(27) */
        .stream = 508,
    },
    {
        .name = "GELU_16x512x768",
        .title = "[16,512,768], exact (erf)",
        .layers = {{.kind = CLI_LAYER_GELU}},
        .inputs = {CLI_SHAPE3(16, 512, 768)},
        .input_count = 1,
        .distinct = 1,
        .stream = 509,
    },
    {
        .name = "TransformerBlock_4x128x256_h4",
        .title = "TransformerEncoderLayer d 256, 4 heads, ff 1024",
        .layers = {{.kind = CLI_LAYER_ENCODER, .in = 256, .heads = 4, .hidden = 1024}},
        .inputs = {CLI_SHAPE3(4, 128, 256)},
        .input_count = 1,
        .stream = 510,
    },
};

const cli_row *cli_rows_models(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}
