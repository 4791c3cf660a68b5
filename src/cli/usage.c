/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/support.h"

/* While argp parses, stderr is a capture; complaints of our own go past it. */
static FILE *terminal;

void cli_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *end = cli_format("; see: weft %s --help", command);
    cli_complain_list(terminal != NULL ? terminal : stderr, end, format, arguments);
    free(end);
    va_end(arguments);
    exit(CLI_EXIT_USAGE);
}

int cli_misuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cli_complain_list(stderr, "", format, arguments);
    va_end(arguments);
    return CLI_EXIT_USAGE;
}

int cli_open_device(const char *name, const char *isa, weft_device **device)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.isa = isa;
    return cli_open_device_as(name, &params, device);
}

int cli_open_device_as(const char *name, const weft_device_params *params,
                       weft_device **device)
{
    weft_error error = {0};
    weft_status status = weft_device_open(name, params, device, &error);
    if (status == WEFT_OK) {
        return 0;
    }
    cli_complain_error(name, &error);
    bool no_such = status == WEFT_NOT_FOUND || status == WEFT_INVALID_ARGUMENT;
    return no_such ? CLI_EXIT_USAGE : 1;
}

bool cli_computes_nothing(const char *device_name)
{
    return strcmp(device_name, "null") == 0;
}

/* getopt's own complaint, which argp passes on, takes two lines; it is captured and
 * its first line kept. */
static char *take_complaint(FILE *stream, char **buffer)
{
    fclose(stream);
    char *text = *buffer;
    char *colon = text == NULL ? NULL : strstr(text, ": ");
    char *start = colon == NULL ? text : colon + 2;
    if (start != NULL) {
        start[strcspn(start, "\n")] = '\0';
    }
    return start;
}

static void help_if_asked(const struct argp *parser, char *name, int count,
                          char **arguments)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-?") == 0) {
            argp_help(parser, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, name);
            exit(cli_finish(0));
        }
    }
}

void cli_parse(const struct argp *parser, const char *command, int argument_count,
               char **arguments, void *input)
{
    char *buffer = NULL;
    size_t size = 0;
    char *name = cli_format("weft %s", command);
    help_if_asked(parser, name, argument_count, arguments);
    arguments[0] = name;
    terminal = stderr;
    FILE *capture = open_memstream(&buffer, &size);
    if (capture != NULL) {
        stderr = capture;
    }
    int problem = argp_parse(parser, argument_count, arguments,
                             ARGP_NO_EXIT | ARGP_NO_HELP, NULL, input);
    stderr = terminal;
    terminal = NULL;
    char *complaint = capture == NULL ? NULL : take_complaint(capture, &buffer);
    if (problem != 0) {
        cli_usage(command, "%s",
                  complaint != NULL && complaint[0] != '\0' ? complaint
                                                            : strerror(problem));
    }
    free(buffer);
    free(name);
}

weft_precision cli_parse_precision(const char *command, const char *text)
{
    for (int32_t i = 0; i < WEFT_PRECISION_COUNT; i++) {
        if (strcmp(text, weft_precision_name((weft_precision)i)) == 0) {
            return (weft_precision)i;
        }
    }
    cli_usage(command, "'--precision %s' is none of f32, tf32, bf16, f16", text);
}

double cli_parse_seconds(const char *command, const char *text)
{
    char *end = NULL;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 3600)) {
        cli_usage(command, "'--seconds %s' is not a number from 0 to 3600", text);
    }
    return seconds;
}
