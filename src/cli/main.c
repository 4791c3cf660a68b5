/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/support.h"

static int overview(void)
{
    puts(cli_about);
    puts("\nusage: weft COMMAND [OPTION...]\n");
    for (const cli_command *command = cli_commands; command->name; command++) {
        printf("  weft %-8s %s\n", command->name, command->what);
    }
    puts("  weft help     this text, or a command's: weft help run\n");
    puts("`weft COMMAND --help` lists a command's options. To begin:\n\n"
         "  weft run model.onnx --input x=random --threads 8 --iterations 50 --check");
    return 0;
}

static int run_command(const char *name, int argument_count, char **arguments)
{
    const cli_command *command = cli_command_find(name);
    return command != NULL ? command->run(argument_count, arguments)
                           : cli_misuse("no command '%s'; type: weft help", name);
}

/* weft help, or weft help COMMAND. */
static int help(int argument_count, char **arguments)
{
    static char name[] = "help", option[] = "--help";
    char *words[] = {name, option, NULL};
    if (argument_count > 1 && strcmp(arguments[1], "--man") == 0) {
        return cli_write_manual(argument_count > 2 ? arguments[2] : NULL);
    }
    if (argument_count > 1 && strcmp(arguments[1], "--completion") == 0) {
        return cli_write_completion(argument_count > 2 ? arguments[2] : "");
    }
    if (argument_count > 2) {
        return cli_misuse("one command at a time, not '%s' too; type: weft help %s",
                          arguments[2], arguments[1]);
    }
    return argument_count < 2 || strcmp(arguments[1], "help") == 0
               ? overview()
               : run_command(arguments[1], 2, words);
}

static int run_main(int argument_count, char **arguments)
{
    if (argument_count < 2) {
        return cli_misuse("say what to do, such as: weft report (or: weft help)");
    }
    const char *name = arguments[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 ||
        strcmp(name, "-h") == 0) {
        return help(argument_count - 1, arguments + 1);
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("weft %s\n", weft_build_id());
        return 0;
    }
    return run_command(name, argument_count - 1, arguments + 1);
}

int main(int argument_count, char **arguments)
{
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like any other */
    return cli_finish(run_main(argument_count, arguments));
}
