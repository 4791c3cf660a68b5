/* SPDX-License-Identifier: Apache-2.0 */
/* What a terminal shows while the command works: a line of progress, and complaints on
 * lines of their own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/progress.h"
#include "cli/support.h"

enum { PATIENCE_MS = 60000 };

/* A terminal in the place of the error stream, and what was written to it. */
typedef struct screen {
    int terminal, before;
    char text[8192];
    size_t length;
} screen;

static void screen_begin(screen *self)
{
    *self = (screen){.terminal = posix_openpt(O_RDWR | O_NOCTTY)};
    assert_true(self->terminal >= 0);
    assert_int_equal(grantpt(self->terminal), 0);
    assert_int_equal(unlockpt(self->terminal), 0);
    int shown = open(ptsname(self->terminal), O_RDWR | O_NOCTTY);
    assert_true(shown >= 0);
    self->before = dup(STDERR_FILENO);
    assert_true(dup2(shown, STDERR_FILENO) >= 0);
    close(shown);
}

/* Reads until a text is there. */
static void screen_await(screen *self, const char *text)
{
    while (strstr(self->text, text) == NULL) {
        struct pollfd poll_of = {.fd = self->terminal, .events = POLLIN};
        assert_int_equal(poll(&poll_of, 1, PATIENCE_MS), 1);
        ssize_t count = read(self->terminal, self->text + self->length,
                             sizeof(self->text) - 1 - self->length);
        assert_true(count > 0);
        self->length += (size_t)count;
    }
}

static void screen_end(screen *self)
{
    (void)dup2(self->before, STDERR_FILENO);
    close(self->before);
    close(self->terminal);
}

/* What the screen's line shows after what was written: a return goes to its begin. */
static void show_line(const char *written, size_t length, char *line, size_t size)
{
    size_t column = 0;
    memset(line, '\0', size);
    for (size_t i = 0; i < length; i++) {
        if (written[i] == '\n') {
            memset(line, '\0', size);
        }
        column = written[i] == '\n' || written[i] == '\r' ? 0 : column;
        if (written[i] != '\n' && written[i] != '\r' && column + 1 < size) {
            line[column++] = written[i];
        }
    }
}

static void test_a_complaint_has_its_own_line(void **state)
{
    (void)state;
    static const char complaint[] = "weft: something is wrong";
    screen terminal;
    char line[200];
    screen_begin(&terminal);
    cli_progress_begin("working on %s", "it");
    screen_await(&terminal, "working on it ... ");
    cli_complain("something is %s", "wrong");
    screen_await(&terminal, "is wrong\r\n");
    size_t end = (size_t)(strstr(terminal.text, "is wrong\r\n") + 8 - terminal.text);
    show_line(terminal.text, end, line, sizeof(line));
    assert_memory_equal(line, complaint, strlen(complaint));
    assert_int_equal(strspn(line + strlen(complaint), " "),
                     strlen(line) - strlen(complaint));
    /* It comes again below, and goes at the end. */
    memmove(terminal.text, terminal.text + end, terminal.length + 1 - end);
    terminal.length -= end;
    screen_await(&terminal, "working on it ... ");
    cli_progress_end();
    cli_complain("the end");
    screen_await(&terminal, "the end\r\n");
    screen_end(&terminal);
    size_t last = (size_t)(strstr(terminal.text, "the end") + 7 - terminal.text);
    show_line(terminal.text, last, line, sizeof(line));
    assert_memory_equal(line, "weft: the end", 13);
    assert_null(strstr(line, "working"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_complaint_has_its_own_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
