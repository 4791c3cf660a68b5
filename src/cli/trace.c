/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/support.h"

/* A thread that was seen, and what it did. */
typedef struct thread {
    uint64_t number;
    uint32_t kinds; /* bit 1 << kind */
} thread;

typedef struct trace {
    FILE *file;
    const weft_profiler *profiler;
    thread *threads;
    size_t thread_count, thread_capacity;
    int64_t origin_ns;
    bool begun; /* an event was written: the next needs a comma */
} trace;

/* The line of a thread, from 1. */
static size_t line_of(trace *self, const weft_profile_event *event)
{
    size_t i = 0;
    while (i < self->thread_count && self->threads[i].number != event->thread) {
        i++;
    }
    if (i == self->thread_count) {
        if (i == self->thread_capacity) {
            self->thread_capacity = 2 * self->thread_capacity + 64;
            thread *grown = cli_allocate(self->thread_capacity, sizeof(*grown));
            if (i > 0) {
                memcpy(grown, self->threads, i * sizeof(*grown));
            }
            free(self->threads);
            self->threads = grown;
        }
        self->threads[self->thread_count++] = (thread){.number = event->thread};
    }
    self->threads[i].kinds |= 1U << event->kind;
    return i + 1;
}

/* Names come from files. */
static void write_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            fprintf(file, "\\%c", *at);
        } else if (*at < 0x20 || *at >= 0x7f) {
            fprintf(file, "\\u%04x", *at);
        } else {
            fputc(*at, file);
        }
    }
    fputc('"', file);
}

static void begin_event(trace *self, char phase, size_t line, int64_t at_ns)
{
    fprintf(self->file, "%s{\"ph\":\"%c\",\"pid\":1,\"tid\":%zu,\"ts\":%.3f",
            self->begun ? ",\n" : "\n", phase, line,
            (double)(at_ns - self->origin_ns) / 1e3);
    self->begun = true;
}

static const char *category_of(weft_profile_kind kind)
{
    static const char *const names[] = {
        "",        "request", "wait",  "plan",  "plan",
        "execute", "kernel",  "tiles", "queue", "batch",
    };
    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "";
}

/* A request that waits is an event of its own, as they overlap on their worker. */
static void write_wait(trace *self, const weft_profile_event *event, size_t index)
{
    size_t line = line_of(self, event);
    for (int end = 0; end < 2; end++) {
        begin_event(self, end ? 'e' : 'b', line, end ? event->end_ns : event->begin_ns);
        fprintf(self->file,
                ",\"cat\":\"queue\",\"name\":\"queued\",\"id\":%zu,"
                "\"args\":{\"rows\":%" PRId64 "}}",
                index, event->counts[0]);
    }
}

static void write_event(trace *self, const weft_profile_event *event)
{
    double took_ns = (double)(event->end_ns - event->begin_ns);
    begin_event(self, 'X', line_of(self, event), event->begin_ns);
    fprintf(self->file, ",\"dur\":%.3f,\"cat\":\"%s\",\"name\":", took_ns / 1e3,
            category_of(event->kind));
    write_text(self->file, event->name);
    fputs(",\"args\":{\"detail\":", self->file);
    write_text(self->file, event->detail);
    if (event->kind == WEFT_PROFILE_STEP || event->kind == WEFT_PROFILE_TILES) {
        fprintf(self->file, ",\"tiles\":%" PRId64, event->counts[0]);
    }
    if (event->kind == WEFT_PROFILE_BATCH) {
        fprintf(self->file, ",\"requests\":%" PRId64 ",\"rows\":%" PRId64,
                event->counts[0], event->counts[1]);
    }
    if (event->flops > 0 && took_ns > 0) {
        fprintf(self->file, ",\"GFLOP/s\":%.3g", event->flops / took_ns);
    }
    if (event->status != WEFT_OK) {
        fputs(",\"failed\":", self->file);
        write_text(self->file, weft_status_name(event->status));
    }
    fputs("}}", self->file);
}

static const char *role_of(const thread *who)
{
    if (who->kinds & 1U << WEFT_PROFILE_BATCH) {
        return "queue worker";
    }
    return (who->kinds & ~(1U << WEFT_PROFILE_TILES)) == 0 ? "helper" : "caller";
}

static void write_names(trace *self)
{
    size_t counts[3] = {0};
    for (size_t i = 0; i < self->thread_count; i++) {
        const char *role = role_of(&self->threads[i]);
        size_t *count = &counts[role[0] == 'q' ? 0 : role[0] == 'h' ? 1 : 2];
        begin_event(self, 'M', i + 1, self->origin_ns);
        fprintf(self->file, ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s %zu\"}}",
                role, ++*count);
    }
}

static size_t write_events(trace *self)
{
    size_t count = weft_profiler_event_count(self->profiler), written = 0;
    weft_profile_event event;
    self->origin_ns = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (weft_profiler_get_event(self->profiler, i, &event) &&
            event.begin_ns < self->origin_ns) {
            self->origin_ns = event.begin_ns;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!weft_profiler_get_event(self->profiler, i, &event)) {
            continue;
        }
        if (event.kind == WEFT_PROFILE_QUEUED) {
            write_wait(self, &event, i);
        } else {
            write_event(self, &event);
        }
        written++;
    }
    write_names(self);
    return written;
}

bool cli_trace_write(const weft_profiler *profiler, const char *path)
{
    cli_output output;
    if (!cli_output_begin(&output, path)) {
        return false;
    }
    trace self = {.file = output.file, .profiler = profiler};
    fputs("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"made by\":", output.file);
    write_text(output.file, "weft");
    fputs("},\"traceEvents\":[", output.file);
    size_t written = write_events(&self);
    fputs("\n]}\n", output.file);
    free(self.threads);
    if (!cli_output_end(&output, true)) {
        return false;
    }
    unsigned long long dropped = weft_profiler_dropped_count(profiler);
    printf("%zu events of %zu threads -> %s", written, self.thread_count, path);
    if (dropped > 0) {
        printf(" (%llu later ones left out: --profile-events)", dropped);
    }
    putchar('\n');
    return true;
}
