/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* The command's own state, not the library's: a thread rewrites the line while the
 * work goes on, so that long calls show that they live. */
static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool running;
    /* guarded by lock */
    bool ends, shown;
    char words[200];
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { TICK_MS = 250, QUIET_TICKS = 4, COLUMNS = 79 };

static void add_ms(struct timespec *time, long ms)
{
    time->tv_nsec += ms * 1000000;
    time->tv_sec += time->tv_nsec / 1000000000;
    time->tv_nsec %= 1000000000;
}

static void write_line(unsigned ticks)
{
    char line[256];
    snprintf(line, sizeof(line), "%s ... %u s", progress.words, ticks * TICK_MS / 1000);
    fprintf(stderr, "\r%-*.*s", COLUMNS, COLUMNS, line);
    fflush(stderr);
    progress.shown = true;
}

static void wipe_line(void)
{
    if (progress.shown) {
        fprintf(stderr, "\r%*s\r", COLUMNS, "");
        fflush(stderr);
        progress.shown = false;
    }
}

static void *progress_main(void *unused)
{
    struct timespec next;
    unsigned ticks = 0;
    (void)unused;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&progress.lock);
    while (!progress.ends) {
        add_ms(&next, TICK_MS);
        while (!progress.ends &&
               pthread_cond_timedwait(&progress.ended, &progress.lock, &next) == 0) {
        }
        if (!progress.ends && ++ticks >= QUIET_TICKS) {
            write_line(ticks);
        }
    }
    wipe_line();
    pthread_mutex_unlock(&progress.lock);
    return NULL;
}

void cli_progress_hold(void)
{
    pthread_mutex_lock(&progress.lock);
    wipe_line();
}

void cli_progress_resume(void)
{
    pthread_mutex_unlock(&progress.lock);
}

void cli_progress_say(const char *format, ...)
{
    va_list arguments;
    pthread_mutex_lock(&progress.lock);
    va_start(arguments, format);
    vsnprintf(progress.words, sizeof(progress.words), format, arguments);
    va_end(arguments);
    pthread_mutex_unlock(&progress.lock);
}

void cli_progress_begin(const char *format, ...)
{
    va_list arguments;
    pthread_condattr_t attributes;
    if (progress.running || !isatty(STDERR_FILENO)) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(progress.words, sizeof(progress.words), format, arguments);
    va_end(arguments);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress.ended, &attributes);
    pthread_condattr_destroy(&attributes);
    progress.ends = false;
    progress.running = pthread_create(&progress.thread, NULL, progress_main, NULL) == 0;
}

void cli_progress_end(void)
{
    if (!progress.running) {
        return;
    }
    pthread_mutex_lock(&progress.lock);
    progress.ends = true;
    pthread_cond_signal(&progress.ended);
    pthread_mutex_unlock(&progress.lock);
    pthread_join(progress.thread, NULL);
    pthread_cond_destroy(&progress.ended);
    progress.running = false;
}
