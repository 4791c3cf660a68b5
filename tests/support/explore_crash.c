/* SPDX-License-Identifier: Apache-2.0 */
#include "support/explore_crash.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "support/explore.h"
#include "support/explore_pick.h"

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
enum { SIGNAL_COUNT = sizeof(signals) / sizeof(signals[0]) };

static struct sigaction before[SIGNAL_COUNT];
static const char *running;

/* Returns to what crashed, which then meets what was there before. Numbers are written
 * without memory being asked for, also where that is what is broken. */
static void tell(int signal)
{
    static char token[EXPLORE_TOKEN_BYTES], text[EXPLORE_TOKEN_BYTES + 128];
    explore_token_write(explore_picker_get(), token, sizeof token);
    int length = snprintf(text, sizeof text, "explore: signal %d in: --replay %s %s\n",
                          signal, running, token);
    ssize_t wrote = write(STDERR_FILENO, text, (size_t)length);
    (void)wrote;
    explore_crash_end();
}

void explore_crash_begin(const char *name)
{
    struct sigaction action = {.sa_handler = tell};
    sigemptyset(&action.sa_mask);
    running = name;
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        (void)sigaction(signals[i], &action, &before[i]);
    }
}

void explore_crash_end(void)
{
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        (void)sigaction(signals[i], &before[i], NULL);
    }
}
