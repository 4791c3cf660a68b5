/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

/* The race reproduction: 30 iterations, another input each time. */
static const cli_row rows[] = {
    {
        .name = "race as written",
        .title = "linear, unflatten, transpose, contiguous, split, attention",
        .layers = {{.kind = CLI_LAYER_RACE, .in = 256, .heads = 4}},
        .inputs = {CLI_SHAPE3(4, 128, 256)},
        .input_count = 1,
        .iterations = 30,
        .distinct = 30,
        .no_fusion = true,
        .stream = 601,
    },
    {
        .name = "race fused",
        .title = "the same chain with every fusion",
        .layers = {{.kind = CLI_LAYER_RACE, .in = 256, .heads = 4}},
        .inputs = {CLI_SHAPE3(4, 128, 256)},
        .input_count = 1,
        .iterations = 30,
        .distinct = 30,
        .stream = 601,
    },
};

const cli_row *cli_rows_race(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}
