/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "cli/support.h"

/* The groups of lines: what each thread did, who had each context, and what ran on each
 * stream of the cards. */
enum { THREADS = 1, CONTEXTS = 2, CARDS = 3 };
/* Streams of a card have so many lines; more share the last. */
enum { CARD_LINES = 1024, MOST_CARDS = 64 };

/* A thread that was seen, and what it did. */
typedef struct thread {
    uint64_t number;
    uint32_t kinds; /* bit 1 << kind */
    /* Of its last batch. Who waits for an answer may run the batch itself: then it is
     * no worker of the queue. */
    int64_t batch_begin_ns;
    bool leads;
    char name[32];
} thread;

typedef struct trace {
    FILE *file;
    const weft_profiler *profiler;
    thread *threads;
    size_t thread_count, thread_capacity;
    bool *leased; /* contexts by their number: whether one was */
    size_t leased_capacity;
    bool *streamed; /* lines of cards: whether one has an event */
    int64_t origin_ns;
    bool begun; /* an event was written: the next needs a comma */
} trace;

/* The place of the event's thread among those seen. */
static size_t place_of(trace *self, const weft_profile_event *event)
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
    return i;
}

static void note_lease(trace *self, const weft_profile_event *event)
{
    size_t number = (size_t)event->counts[0];
    if (number >= self->leased_capacity) {
        size_t capacity = 2 * number + 64;
        bool *grown = cli_allocate(capacity, sizeof(*grown));
        if (self->leased_capacity > 0) {
            memcpy(grown, self->leased, self->leased_capacity * sizeof(*grown));
        }
        free(self->leased);
        self->leased = grown;
        self->leased_capacity = capacity;
    }
    self->leased[number] = true;
}

/* Counts from 0. */
static size_t card_line(const weft_profile_event *event)
{
    const uint64_t stream = (uint64_t)event->counts[0];
    return (size_t)event->counts[1] % MOST_CARDS * CARD_LINES +
           (size_t)(stream < CARD_LINES ? stream : CARD_LINES - 1);
}

static void note_card(trace *self, const weft_profile_event *event)
{
    if (self->streamed == NULL) {
        self->streamed =
            cli_allocate((size_t)MOST_CARDS * CARD_LINES, sizeof(*self->streamed));
    }
    self->streamed[card_line(event)] = true;
}

/* Notes what is to be known of all events before the first is written. */
static void survey_event(trace *self, const weft_profile_event *event)
{
    size_t place = place_of(self, event); /* may move the threads */
    thread *who = &self->threads[place];
    if (event->kind == WEFT_PROFILE_LEASE) {
        note_lease(self, event);
    } else if (event->kind == WEFT_PROFILE_CARD) {
        note_card(self, event);
    } else if (event->kind == WEFT_PROFILE_BATCH) {
        who->batch_begin_ns = event->begin_ns;
    } else if (event->kind == WEFT_PROFILE_WAIT) {
        who->leads = who->leads || (who->kinds & 1U << WEFT_PROFILE_BATCH &&
                                    event->begin_ns <= who->batch_begin_ns);
    }
    who->kinds |= 1U << event->kind;
    if (event->begin_ns < self->origin_ns) {
        self->origin_ns = event->begin_ns;
    }
}

/* Names come from files: what is no UTF-8 becomes U+FFFD. */
static void write_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (size_t length; *text != '\0'; text += length > 0 ? length : 1) {
        unsigned char first = (unsigned char)*text;
        length = cli_character_length(text);
        if (length == 0) {
            fputs("\\ufffd", file);
        } else if (first < 0x20 || first == 0x7f) {
            fprintf(file, "\\u%04x", first);
        } else {
            fputs(first == '"' || first == '\\' ? "\\" : "", file);
            fwrite(text, 1, length, file);
        }
    }
    fputc('"', file);
}

/* On a line of a group; lines count from 1. */
static void begin_event(trace *self, char phase, int group, size_t line, int64_t at_ns)
{
    fprintf(self->file, "%s{\"ph\":\"%c\",\"pid\":%d,\"tid\":%zu,\"ts\":%.3f",
            self->begun ? ",\n" : "\n", phase, group, line,
            (double)(at_ns - self->origin_ns) / 1e3);
    self->begun = true;
}

static const char *category_of(weft_profile_kind kind)
{
    static const char *const names[] = {
        "",       "request", "lease", "plan",  "plan", "execute",
        "kernel", "tiles",   "queue", "batch", "wait", "card",
    };
    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "";
}

/* A request that waits is an event of its own, as they overlap on their worker. */
static void write_queued(trace *self, const weft_profile_event *event, size_t index)
{
    size_t line = place_of(self, event) + 1;
    for (int end = 0; end < 2; end++) {
        begin_event(self, end ? 'e' : 'b', THREADS, line,
                    end ? event->end_ns : event->begin_ns);
        fprintf(self->file,
                ",\"cat\":\"queue\",\"name\":\"queued\",\"id\":%zu,"
                "\"args\":{\"rows\":%" PRId64 "}}",
                index, event->counts[0]);
    }
}

/* What the counts of an event mean. */
static void write_counts(trace *self, const weft_profile_event *event)
{
    bool has_context = event->kind == WEFT_PROFILE_EXECUTE ||
                       (event->kind == WEFT_PROFILE_WAIT && event->counts[0] >= 0);
    if (event->kind == WEFT_PROFILE_STEP || event->kind == WEFT_PROFILE_TILES) {
        fprintf(self->file, ",\"tiles\":%" PRId64, event->counts[0]);
    } else if (event->kind == WEFT_PROFILE_BATCH) {
        fprintf(self->file, ",\"requests\":%" PRId64 ",\"rows\":%" PRId64,
                event->counts[0], event->counts[1]);
    } else if (event->kind == WEFT_PROFILE_LEASE) {
        fputs(",\"given back by\":", self->file);
        size_t place = place_of(self, event);
        write_text(self->file, self->threads[place].name);
    } else if (has_context) {
        fprintf(self->file, ",\"context\":%" PRId64, event->counts[0]);
    }
}

static void write_event(trace *self, const weft_profile_event *event)
{
    double took_ns = (double)(event->end_ns - event->begin_ns);
    int group = THREADS;
    size_t line = 0;
    if (event->kind == WEFT_PROFILE_LEASE) {
        group = CONTEXTS;
        line = (size_t)event->counts[0];
    } else if (event->kind == WEFT_PROFILE_CARD) {
        group = CARDS;
        line = card_line(event);
    } else {
        line = place_of(self, event);
    }
    begin_event(self, 'X', group, 1 + line, event->begin_ns);
    fprintf(self->file, ",\"dur\":%.3f,\"cat\":\"%s\",\"name\":", took_ns / 1e3,
            category_of(event->kind));
    write_text(self->file, event->name);
    fputs(",\"args\":{\"detail\":", self->file);
    write_text(self->file, event->detail);
    write_counts(self, event);
    if (event->flops > 0 && took_ns > 0) {
        fprintf(self->file, ",\"GFLOP/s\":%.3g", event->flops / took_ns);
    }
    if (event->status != WEFT_OK) {
        fputs(",\"failed\":", self->file);
        write_text(self->file, weft_status_name(event->status));
    }
    fputs("}}", self->file);
}

enum { CALLER, HELPER, QUEUE_WORKER, WORKER, ROLES };

static int role_of(const thread *who)
{
    if (who->kinds & 1U << WEFT_PROFILE_BATCH) {
        return who->leads ? CALLER : QUEUE_WORKER;
    }
    if (who->kinds & 1U << WEFT_PROFILE_QUEUED) {
        return WORKER; /* of the device, for weft_submit */
    }
    return (who->kinds & ~(1U << WEFT_PROFILE_TILES)) == 0 ? HELPER : CALLER;
}

static void name_threads(trace *self)
{
    static const char *const roles[ROLES] = {"caller", "helper", "queue worker",
                                             "worker"};
    size_t counts[ROLES] = {0};
    for (size_t i = 0; i < self->thread_count; i++) {
        thread *who = &self->threads[i];
        int role = role_of(who);
        snprintf(who->name, sizeof(who->name), "%s %zu", roles[role], ++counts[role]);
    }
}

static void write_name(trace *self, int group, size_t line, const char *what,
                       const char *name)
{
    begin_event(self, 'M', group, line, self->origin_ns);
    fprintf(self->file, ",\"name\":\"%s\",\"args\":{\"name\":", what);
    write_text(self->file, name);
    fputs("}}", self->file);
}

static void write_card_names(trace *self)
{
    char name[48];
    write_name(self, CARDS, 0, "process_name", "cards");
    for (size_t i = 0; i < (size_t)MOST_CARDS * CARD_LINES; i++) {
        if (self->streamed[i]) {
            snprintf(name, sizeof(name), "cuda:%zu stream %zu", i / CARD_LINES,
                     i % CARD_LINES);
            write_name(self, CARDS, i + 1, "thread_name", name);
        }
    }
}

static void write_names(trace *self)
{
    char name[32];
    write_name(self, THREADS, 0, "process_name", "threads");
    for (size_t i = 0; i < self->thread_count; i++) {
        write_name(self, THREADS, i + 1, "thread_name", self->threads[i].name);
    }
    if (self->leased_capacity > 0) {
        write_name(self, CONTEXTS, 0, "process_name", "contexts");
    }
    for (size_t i = 0; i < self->leased_capacity; i++) {
        if (self->leased[i]) {
            snprintf(name, sizeof(name), "context %zu", i);
            write_name(self, CONTEXTS, i + 1, "thread_name", name);
        }
    }
    if (self->streamed != NULL) {
        write_card_names(self);
    }
}

static size_t write_events(trace *self)
{
    size_t count = weft_profiler_event_count(self->profiler), written = 0;
    weft_profile_event event;
    self->origin_ns = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (weft_profiler_get_event(self->profiler, i, &event)) {
            survey_event(self, &event);
        }
    }
    name_threads(self);
    for (size_t i = 0; i < count; i++) {
        if (!weft_profiler_get_event(self->profiler, i, &event)) {
            continue;
        }
        if (event.kind == WEFT_PROFILE_QUEUED) {
            write_queued(self, &event, i);
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
    cli_progress_begin("writing %s", path);
    size_t written = write_events(&self);
    cli_progress_end();
    fputs("\n]}\n", output.file);
    free(self.threads);
    free(self.leased);
    free(self.streamed);
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
