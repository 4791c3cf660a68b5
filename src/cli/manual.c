/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

/* Man pages, of the same texts as --help. */

/* Writes text so that troff takes no character of it for one of its own. */
static void write_text(const char *text, size_t length)
{
    bool line_begins = true;
    for (size_t i = 0; i < length; i++) {
        if (line_begins && (text[i] == '.' || text[i] == '\'')) {
            fputs("\\&", stdout);
        }
        line_begins = text[i] == '\n';
        if (text[i] == '-') {
            fputs("\\-", stdout);
        } else if (text[i] == '\\') {
            fputs("\\e", stdout);
        } else if (text[i] == '`' || text[i] == '\'') {
            fputs(text[i] == '`' ? "\\(ga" : "\\(aq", stdout);
        } else {
            putchar(text[i]);
        }
    }
}

static void write_all(const char *text)
{
    write_text(text, strlen(text));
}

static void write_title(const char *name)
{
    fputs(".TH WEFT", stdout);
    for (const char *at = name; at != NULL && *at != '\0'; at++) {
        fputs(at == name ? "\\-" : "", stdout);
        putchar(toupper((unsigned char)*at));
    }
    /* "0.1.0 (gcc ...)": the version is enough. */
    const char *id = weft_build_id();
    printf(" 1 \"\" \"weft %.*s\" \"Weft\"\n", (int)strcspn(id, " "), id);
}

static void write_option(const struct argp_option *option)
{
    fputs(".TP\n", stdout);
    if (option->key > 0 && option->key < 256 && isprint(option->key)) {
        printf(".BR \\-%c , \" \" ", option->key);
    } else {
        fputs(".BR ", stdout);
    }
    fputs("\\-\\-", stdout);
    write_all(option->name);
    if (option->arg != NULL) {
        fputs(" =", stdout);
        write_all(option->arg);
    }
    putchar('\n');
    write_all(option->doc != NULL ? option->doc : "");
    fputs(".\n", stdout);
}

/* What stands behind the vertical tab of an argp text: paragraphs, examples indented.
 */
static void write_examples(const char *text)
{
    fputs(".SH EXAMPLES\n", stdout);
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        if (length == 0) {
            fputs(".PP\n", stdout);
        } else if (text[0] == ' ') {
            fputs(".nf\n", stdout);
            write_text(text, length);
            fputs("\n.fi\n", stdout);
        } else {
            write_text(text, length);
            putchar('\n');
        }
        text += length + (text[length] == '\n' ? 1 : 0);
    }
}

static void write_end(const char *name)
{
    fputs(".SH EXIT STATUS\n0 all went well; 1 something failed; 2 wrong use.\n",
          stdout);
    const char *before = ".SH SEE ALSO\n";
    if (name != NULL) {
        printf("%s.BR weft (1)", before);
        before = ",\n";
    }
    for (const cli_command *other = cli_commands; other->name; other++) {
        if (name == NULL || strcmp(name, other->name) != 0) {
            printf("%s.BR weft\\-%s (1)", before, other->name);
            before = ",\n";
        }
    }
    putchar('\n');
}

static void write_command(const cli_command *command)
{
    const struct argp *parser = command->parser;
    write_title(command->name);
    printf(".SH NAME\nweft\\-%s \\- ", command->name);
    write_all(command->what);
    printf("\n.SH SYNOPSIS\n.B weft %s\n[\\fIOPTION\\fR...]", command->name);
    if (parser->args_doc != NULL) {
        fputs(" \\fI", stdout);
        write_all(parser->args_doc);
        fputs("\\fR", stdout);
    }
    fputs("\n.SH DESCRIPTION\n", stdout);
    const char *doc = parser->doc != NULL ? parser->doc : "";
    size_t length = strcspn(doc, "\v");
    write_text(doc, length);
    fputs("\n.SH OPTIONS\n", stdout);
    for (const struct argp_option *option = parser->options; option->name; option++) {
        write_option(option);
    }
    fputs(".TP\n.BR \\-? , \" \" \\-\\-help\nList the options.\n", stdout);
    if (doc[length] == '\v') {
        write_examples(doc + length + 1);
    }
    write_end(command->name);
}

static void write_overview(void)
{
    write_title(NULL);
    fputs(".SH NAME\nweft \\- run neural networks from many threads\n"
          ".SH SYNOPSIS\n.B weft\n\\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
          ".SH DESCRIPTION\n",
          stdout);
    write_all(cli_about);
    fputs("\n.SH COMMANDS\n", stdout);
    for (const cli_command *command = cli_commands; command->name; command++) {
        printf(".TP\n.BR weft\\-%s (1)\n", command->name);
        write_all(command->what);
        fputs(".\n", stdout);
    }
    fputs(".SH ENVIRONMENT\n.TP\n.B WEFT_ISA\nCPU kernels to use, as by "
          "\\-\\-isa.\n",
          stdout);
    write_end(NULL);
}

int cli_write_manual(const char *command)
{
    const cli_command *found = command != NULL ? cli_command_find(command) : NULL;
    if (command != NULL && found == NULL) {
        return cli_misuse("no command '%s'; type: weft help", command);
    }
    if (found != NULL) {
        write_command(found);
    } else {
        write_overview();
    }
    return 0;
}
