/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_COMMANDS_H
#define WEFTI_CLI_COMMANDS_H

/* The commands; each parses its own options and returns an exit status: 0 all well,
 * 1 something failed, 2 wrong use. */
int cli_command_run(int argument_count, char **arguments);
int cli_command_info(int argument_count, char **arguments);
int cli_command_bench(int argument_count, char **arguments);
int cli_command_check(int argument_count, char **arguments);
int cli_command_report(int argument_count, char **arguments);

enum { CLI_EXIT_USAGE = 2 };

struct argp;

/* Parses with argp, but wrong use gets one line that says what to type. */
void cli_parse(const struct argp *parser, const char *command, int argument_count,
               char **arguments, void *input);

/* Says what is wrong with the command line and what to type, and exits with 2. */
_Noreturn void cli_usage(const char *command, const char *format, ...);

#endif
