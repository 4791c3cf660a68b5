/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <stddef.h>
#include <string.h>

const char cli_about[] =
    "Weft runs neural networks from many threads on one device at the same time,\n"
    "and gives every caller exactly the bits it would have got alone.";

const cli_command cli_commands[] = {
    {"run", cli_command_run, "run a model file, from one thread or many",
     &cli_parser_run},
    {"inspect", cli_command_inspect,
     "tell what a model is made of, and all that is not supported",
     &cli_parser_inspect},
    {"info", cli_command_info, "tell device, instruction set, build and limits",
     &cli_parser_info},
    {"bench", cli_command_bench,
     "run tables 1 to 4, checked and timed; or measure a model", &cli_parser_bench},
    {"check", cli_command_check, "check the ten models, the race and models from files",
     &cli_parser_check},
    {"soak", cli_command_soak,
     "run everything at once, for hours, every answer compared", &cli_parser_soak},
    {"report", cli_command_report, "run everything and write weft-report.json, .html",
     &cli_parser_report},
    {NULL, NULL, NULL, NULL},
};

const cli_command *cli_command_find(const char *name)
{
    for (const cli_command *command = cli_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}
