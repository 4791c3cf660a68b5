/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/support.h"

static const struct {
    const char *name;
    int (*run)(int argument_count, char **arguments);
    const char *what;
} commands[] = {
    {"run", cli_command_run, "run a model file, from one thread or many"},
    {"inspect", cli_command_inspect,
     "tell what a model is made of, and all that is not supported"},
    {"info", cli_command_info, "tell device, instruction set, build and limits"},
    {"bench", cli_command_bench, "run the tables: every answer checked, then timed"},
    {"check", cli_command_check, "check the ten models and the race reproduction"},
    {"soak", cli_command_soak,
     "run everything at once, for hours, every answer compared"},
    {"report", cli_command_report, "run everything and write weft-report.json, .html"},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static int overview(void)
{
    puts("Weft runs neural networks from many threads on one device at the same time,\n"
         "and gives every caller exactly the bits it would have got alone.\n");
    puts("usage: weft COMMAND [OPTION...]\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        printf("  weft %-8s %s\n", commands[i].name, commands[i].what);
    }
    puts("  weft help     this text, or a command's: weft help run\n");
    puts("`weft COMMAND --help` lists a command's options. To begin:\n\n"
         "  weft run model.onnx --input x=random --threads 8 --iterations 50 --check");
    return 0;
}

static int run_command(const char *name, int argument_count, char **arguments)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return commands[i].run(argument_count, arguments);
        }
    }
    return cli_misuse("no command '%s'; type: weft help", name);
}

/* weft help, or weft help COMMAND. */
static int help(int argument_count, char **arguments)
{
    static char name[] = "help", option[] = "--help";
    char *words[] = {name, option, NULL};
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
