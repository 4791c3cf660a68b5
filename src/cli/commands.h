/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_COMMANDS_H
#define WEFTI_CLI_COMMANDS_H

#include <stdbool.h>

#include <weft/device.h>

/* The commands; each parses its own options and returns an exit status: 0 all well,
 * 1 something failed, 2 wrong use. */
int cli_command_run(int argument_count, char **arguments);
int cli_command_info(int argument_count, char **arguments);
int cli_command_bench(int argument_count, char **arguments);
int cli_command_check(int argument_count, char **arguments);
int cli_command_soak(int argument_count, char **arguments);
int cli_command_report(int argument_count, char **arguments);
int cli_command_inspect(int argument_count, char **arguments);

enum { CLI_EXIT_USAGE = 2 };

/* What --device takes, for the help of each command. */
#define CLI_DEVICE_HELP                                                                \
    "cpu, cuda:0, cuda:0,1 or cuda:all (several as one), null (default: cpu)"

/* What each takes: --help, completion and man pages are made of these. */
struct argp;
extern const struct argp cli_parser_run, cli_parser_inspect, cli_parser_info,
    cli_parser_bench, cli_parser_check, cli_parser_soak, cli_parser_report;

typedef struct cli_command {
    const char *name;
    int (*run)(int argument_count, char **arguments);
    const char *what;
    const struct argp *parser;
} cli_command;

/* All of them; ended by one without a name. */
extern const cli_command cli_commands[];

/* Finds one by name; NULL when there is none. */
const cli_command *cli_command_find(const char *name);

/* What `weft` is, in two lines. */
extern const char cli_about[];

/* For the build: `weft help --man [COMMAND]` and `weft help --completion SHELL`. Return
 * exit statuses. */
int cli_write_manual(const char *command);
int cli_write_completion(const char *shell);

/* Says what is wrong and what to type, and returns CLI_EXIT_USAGE; for wrong use that
 * shows only once the model is known. */
int cli_misuse(const char *format, ...);

/* Opens a device; returns 0, or the exit status after words on the error stream. */
int cli_open_device(const char *name, const char *isa, weft_device **device);

/* The same with parameters. */
int cli_open_device_as(const char *name, const weft_device_params *params,
                       weft_device **device);

/* The null device leaves outputs as they are: nothing there can be compared or shown.
 */
bool cli_computes_nothing(const char *device_name);

/* Parses with argp, but wrong use gets one line that says what to type. */
void cli_parse(const struct argp *parser, const char *command, int argument_count,
               char **arguments, void *input);

/* Says what is wrong with the command line and what to type, and exits with 2. */
_Noreturn void cli_usage(const char *command, const char *format, ...);

/* Parses the S of --seconds S; wrong use ends the program. */
double cli_parse_seconds(const char *command, const char *text);

/* Reads the value of --precision, "f32" and so on; any other is wrong use. */
weft_precision cli_parse_precision(const char *command, const char *text);

#endif
