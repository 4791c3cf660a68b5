/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/trial.h"

/* Everything at once, for as long as one likes, in one process: rounds of rows of the
 * tables, each with its models loaded anew and its threads born for the round, which
 * call directly, by weft_submit and through a queue, with random priorities, time
 * limits, deadlines and cancels. Every answer is compared, every request is accounted
 * for, and memory must stay flat. */

enum {
    TRIALS = 2, /* rows at the same time */
    LANES = 3,  /* models of a row */
    MOST_CALLERS = 24,
    PATTERN = 0xa5,
};

typedef struct options {
    const char *device, *report;
    int64_t seconds, seed;
} options;

/* What has happened so far. */
typedef struct tally {
    uint64_t direct, submitted, queued; /* calls by their way */
    uint64_t done, cancelled, timed_out, refused;
    uint64_t wrong, failed, touched; /* must stay 0 */
    char reason[CLI_REASON_SIZE];    /* of the first that did not */
} tally;

typedef struct soak {
    const options *options;
    weft_device *device;
    weft_queue *queue; /* of the round */
    cli_trial *trials[TRIALS];
    int64_t round_end_ns;
    uint32_t round;
    tally tally;
    uint64_t threads, models, unbalanced;
} soak;

typedef struct caller {
    soak *soak;
    pthread_t thread;
    uint32_t index;
    const cli_lane *lane;
    void *buffers[CLI_MAX_IO];
    bool is_pattern; /* a cancelled request left the buffers to us */
    uint32_t numbers[64], used, refills;
    tally tally;
} caller;

/* The next of this thread's random numbers, below `below`. */
static uint32_t draw(caller *self, uint32_t below)
{
    enum { COUNT = sizeof(self->numbers) / sizeof(self->numbers[0]) };
    if (self->used == 0) {
        weft_random_key key = {.seed = (uint64_t)self->soak->options->seed,
                               .stream = self->soak->round,
                               .thread = self->index,
                               .iteration = self->refills++};
        weft_random_fill_u32(&key, self->numbers, COUNT);
        self->used = COUNT;
    }
    return self->numbers[--self->used] % below;
}

static void complain(caller *self, const char *what, const char *words)
{
    if (self->tally.reason[0] == '\0') {
        snprintf(self->tally.reason, sizeof(self->tally.reason), "%s: %s %.400s",
                 self->lane->row->name, what, words);
    }
}

static void fill(caller *self, const cli_case *request, int byte)
{
    for (size_t i = 0; i < request->output_count; i++) {
        memset(self->buffers[i], byte, request->expected[i].size_bytes);
    }
}

/* After a cancel nothing may write to the request's outputs. */
static void check_pattern(caller *self, const cli_case *request)
{
    for (size_t i = 0; self->is_pattern && i < request->output_count; i++) {
        const unsigned char *bytes = self->buffers[i];
        for (size_t j = 0; j < request->expected[i].size_bytes; j++) {
            if (bytes[j] != PATTERN) {
                self->tally.touched++;
                complain(self, "an output was written after its cancel", "");
                break;
            }
        }
    }
    self->is_pattern = false;
}

static void judge(caller *self, const cli_case *request, weft_status status,
                  const weft_error *error, bool may_end_early)
{
    if (status == WEFT_OK) {
        self->tally.done++;
        for (size_t i = 0; i < request->output_count; i++) {
            if (memcmp(self->buffers[i], request->expected[i].data,
                       request->expected[i].size_bytes) != 0) {
                self->tally.wrong++;
                complain(self, "an answer is not what the request gives alone", "");
                return;
            }
        }
    } else if (status == WEFT_CANCELLED && may_end_early) {
        self->tally.cancelled++;
    } else if (status == WEFT_TIMEOUT && may_end_early) {
        self->tally.timed_out++;
    } else {
        self->tally.failed++;
        complain(self, weft_status_name(status), error->message);
    }
}

/* Waits for a request, or cancels it first. */
static void finish(caller *self, const cli_case *request, weft_request *handle,
                   bool may_end_early)
{
    weft_error error;
    bool cancel = may_end_early && draw(self, 6) == 0;
    if (cancel && draw(self, 2) == 0) {
        usleep(draw(self, 500));
    }
    if (cancel && weft_request_cancel(handle)) {
        fill(self, request, PATTERN);
        self->is_pattern = true;
    }
    weft_status status = weft_request_wait(handle, WEFT_FOREVER, &error);
    weft_request_release(handle);
    judge(self, request, status, &error, may_end_early);
}

static void call_queue(caller *self, const cli_case *request, const weft_io *io)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    weft_request *handle;
    weft_error error;
    params.priority = (int32_t)draw(self, WEFT_QUEUE_LOWEST_PRIORITY + 1);
    if (draw(self, 8) == 0) {
        params.timeout_us = 1 + draw(self, 20000);
    }
    if (draw(self, 8) == 0) {
        params.deadline_us = 1 + draw(self, 50000);
    }
    self->tally.queued++;
    weft_status status = weft_queue_submit(self->soak->queue, request->model, io,
                                           &params, &handle, &error);
    if (status == WEFT_OK) {
        finish(self, request, handle, true);
    } else if (status == WEFT_TIMEOUT && params.timeout_us > 0) {
        self->tally.refused++; /* no room in time */
    } else {
        self->tally.failed++;
        complain(self, "submit:", error.message);
    }
}

static void call_device(caller *self, const cli_case *request, const weft_io *io)
{
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    weft_request *handle;
    weft_error error;
    if (draw(self, 8) == 0) {
        params.timeout_ns = 1 + (int64_t)draw(self, 20000000);
    }
    self->tally.submitted++;
    weft_status status = weft_submit(request->model, io, &params, &handle, &error);
    if (status == WEFT_OK) {
        finish(self, request, handle, true);
    } else {
        self->tally.failed++;
        complain(self, "submit:", error.message);
    }
}

static void call_once(caller *self)
{
    const cli_lane *lane = self->lane;
    const cli_case *request = &lane->cases[draw(self, (uint32_t)lane->case_count)];
    weft_tensor outputs[CLI_MAX_IO];
    check_pattern(self, &lane->cases[0]);
    for (size_t i = 0; i < request->output_count; i++) {
        outputs[i] = request->expected[i];
        outputs[i].data = self->buffers[i];
    }
    fill(self, request, 0xff);
    weft_io io = {request->inputs, request->input_count, outputs,
                  request->output_count};
    switch (draw(self, 4)) {
    case 0: {
        weft_error error;
        self->tally.direct++;
        weft_status status = weft_run(request->model, &io, NULL, &error);
        judge(self, request, status, &error, false);
        break;
    }
    case 1:
        call_device(self, request, &io);
        break;
    default:
        call_queue(self, request, &io);
        break;
    }
}

static void *caller_main(void *user)
{
    caller *self = user;
    while (cli_now_ns() < self->soak->round_end_ns) {
        call_once(self);
    }
    check_pattern(self, &self->lane->cases[0]);
    return NULL;
}

static void add_tally(tally *total, const tally *part)
{
    total->direct += part->direct;
    total->submitted += part->submitted;
    total->queued += part->queued;
    total->done += part->done;
    total->cancelled += part->cancelled;
    total->timed_out += part->timed_out;
    total->refused += part->refused;
    total->wrong += part->wrong;
    total->failed += part->failed;
    total->touched += part->touched;
    if (total->reason[0] == '\0') {
        memcpy(total->reason, part->reason, sizeof(total->reason));
    }
}

static weft_status add_models(soak *self, const cli_lane *lane, weft_error *error)
{
    for (int i = 0; i < 2 && lane->models[i] != NULL; i++) {
        weft_status status =
            weft_queue_add_model(self->queue, lane->models[i], NULL, error);
        if (status != WEFT_OK) {
            return status;
        }
        self->models++;
    }
    return WEFT_OK;
}

static bool open_queue(soak *self, caller *numbers)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    weft_error error;
    params.workers = 1 + (int32_t)draw(numbers, 4);
    params.max_queue_size = 4 + (int32_t)draw(numbers, 64);
    params.preserve_order = draw(numbers, 4) == 0;
    params.max_queue_delay_us = draw(numbers, 4) == 0 ? 200 : 0;
    weft_status status = weft_queue_create(self->device, &params, &self->queue, &error);
    for (int32_t i = 0; status == WEFT_OK && i < TRIALS * LANES; i++) {
        const cli_trial *trial = self->trials[i % TRIALS];
        if (i / TRIALS < trial->lane_count) {
            status = add_models(self, &trial->lanes[i / TRIALS], &error);
        }
    }
    if (status != WEFT_OK) {
        cli_complain_error("the queue of a round", &error);
    }
    return status == WEFT_OK;
}

/* Closes the round's queue and checks that its requests add up. */
static void close_queue(soak *self)
{
    weft_queue_statistics s;
    weft_queue_close(self->queue);
    if (weft_queue_drain(self->queue, WEFT_FOREVER, NULL) == WEFT_OK) {
        weft_queue_get_statistics(self->queue, &s);
        self->unbalanced += s.accepted != s.done + s.failed + s.cancelled + s.timed_out;
    }
    weft_queue_release(self->queue);
}

static void run_callers(soak *self, caller *callers, uint32_t count)
{
    uint32_t started = 0;
    for (; started < count; started++) {
        caller *one = &callers[started];
        const cli_trial *trial = self->trials[started % TRIALS];
        one->soak = self;
        one->index = started + 1;
        one->lane = &trial->lanes[(int32_t)(started / TRIALS) % trial->lane_count];
        for (size_t i = 0; i < one->lane->cases[0].output_count; i++) {
            one->buffers[i] =
                cli_allocate_data(one->lane->cases[0].expected[i].size_bytes);
        }
        if (pthread_create(&one->thread, NULL, caller_main, one) != 0) {
            self->tally.failed++;
            break;
        }
    }
    self->threads += started;
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(callers[i].thread, NULL);
        add_tally(&self->tally, &callers[i].tally);
    }
    for (uint32_t i = 0; i < count; i++) {
        for (size_t j = 0; j < CLI_MAX_IO; j++) {
            free(callers[i].buffers[j]);
        }
    }
}

/* Row `round` of the tables in turn, and another one beside it. */
static bool run_round(soak *self, const cli_row *rows, size_t row_count)
{
    caller numbers = {.soak = self};
    bool ready = true;
    size_t chosen[TRIALS];
    for (int t = 0; t < TRIALS; t++) {
        chosen[t] =
            t == 0 ? self->round % row_count : draw(&numbers, (uint32_t)row_count);
        cli_row row = rows[chosen[t]];
        row.distinct = row.distinct > 2 ? 2 : row.distinct;
        self->trials[t] = cli_trial_create(self->device, &row, LANES);
        if (self->trials[t]->failure[0] != '\0') {
            cli_complain("%s: %s", row.name, self->trials[t]->failure);
            ready = false;
        }
    }
    ready = ready && open_queue(self, &numbers);
    if (ready) {
        uint32_t count = 1 + draw(&numbers, MOST_CALLERS);
        caller *callers = cli_allocate(count, sizeof(*callers));
        self->round_end_ns = cli_now_ns() + 1000000000;
        run_callers(self, callers, count);
        close_queue(self);
        free(callers);
    }
    for (int t = 0; t < TRIALS; t++) {
        cli_trial_destroy(self->trials[t]);
    }
    self->round++;
    return ready && weft_device_trim(self->device, NULL) == WEFT_OK;
}

/* What malloc keeps of freed memory depends on the threads that came and went: large
 * blocks of its own mapping and few arenas let resident memory tell what is held. */
static void make_memory_tell(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_ARENA_MAX, 2);
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0, resident = 0;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &pages, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Memory between rounds, in the first and the last third of the time. */
typedef struct memory {
    uint64_t first, last;
} memory;

static bool is_flat(const memory *seen)
{
    return seen->last <= seen->first + seen->first / 20 + (8u << 20);
}

static void write_report(FILE *file, const soak *self, const memory *seen,
                         double seconds, bool passed)
{
    const tally *t = &self->tally;
    weft_device_statistics s;
    weft_device_info info;
    weft_device_get_statistics(self->device, &s);
    weft_device_get_info(self->device, &info);
    fprintf(file, "| soak | |\n|---|---|\n");
    fprintf(file, "| weft | %s |\n", weft_build_id());
    fprintf(file, "| device | %s, %s, %s, %d cores |\n", info.name, info.description,
            info.isa, info.core_count);
    fprintf(file, "| time | %.0f s, %u rounds, seed %lld |\n", seconds, self->round,
            (long long)self->options->seed);
    fprintf(file, "| threads born, models loaded | %llu, %llu |\n",
            (unsigned long long)self->threads, (unsigned long long)self->models);
    fprintf(file, "| calls: weft_run, weft_submit, queue | %llu, %llu, %llu |\n",
            (unsigned long long)t->direct, (unsigned long long)t->submitted,
            (unsigned long long)t->queued);
    fprintf(file, "| done, every answer compared | %llu |\n",
            (unsigned long long)t->done);
    fprintf(file, "| cancelled, timed out, no room in time | %llu, %llu, %llu |\n",
            (unsigned long long)t->cancelled, (unsigned long long)t->timed_out,
            (unsigned long long)t->refused);
    fprintf(file,
            "| wrong answers, failed calls, outputs written after a cancel | "
            "%llu, %llu, %llu |\n",
            (unsigned long long)t->wrong, (unsigned long long)t->failed,
            (unsigned long long)t->touched);
    fprintf(file, "| queues whose requests did not add up | %llu |\n",
            (unsigned long long)self->unbalanced);
    fprintf(file,
            "| resident memory between rounds, most in the first and in the last "
            "third | %.1f MB, %.1f MB |\n",
            (double)seen->first * 1e-6, (double)seen->last * 1e-6);
    struct mallinfo2 heap = mallinfo2();
    fprintf(file, "| memory in use at the end | %.1f MB |\n",
            (double)(heap.uordblks + heap.hblkhd) * 1e-6);
    fprintf(file, "| lock waits | %llu, %.3f s in all |\n",
            (unsigned long long)s.lock_wait_count, (double)s.lock_wait_ns * 1e-9);
    fprintf(file, "| result | %s%s |\n",
            passed ? "passed" : "FAILED: ", passed ? "" : t->reason);
}

static bool is_right(const soak *self)
{
    return self->tally.wrong == 0 && self->tally.failed == 0 &&
           self->tally.touched == 0 && self->unbalanced == 0;
}

static int run(soak *self)
{
    size_t row_count;
    const cli_row *rows = cli_rows(&row_count);
    int64_t begin_ns = cli_now_ns();
    double limit = (double)self->options->seconds, seconds = 0, told = 0;
    memory seen = {0, 0};
    bool ready = true;
    while (ready && seconds < limit && is_right(self)) {
        ready = run_round(self, rows, row_count);
        seconds = (double)(cli_now_ns() - begin_ns) * 1e-9;
        uint64_t bytes = resident_bytes();
        bool first = seconds < limit / 3 || seen.first == 0;
        uint64_t *most = first ? &seen.first : &seen.last;
        if (first || seconds > limit * 2 / 3) {
            *most = bytes > *most ? bytes : *most;
        }
        if (seconds > told + 5) {
            told = seconds;
            fprintf(stderr, "\r%.0f of %.0f s: %u rounds, %llu answers, %.0f MB ",
                    seconds, limit, self->round, (unsigned long long)self->tally.done,
                    (double)bytes * 1e-6);
        }
    }
    fprintf(stderr, "\n");
    bool passed = ready && is_right(self) && is_flat(&seen);
    write_report(stdout, self, &seen, seconds, passed);
    if (self->options->report != NULL) {
        cli_output output;
        if (!cli_output_begin(&output, self->options->report)) {
            return 1;
        }
        write_report(output.file, self, &seen, seconds, passed);
        passed = cli_output_end(&output, true) && passed;
    }
    return passed ? 0 : 1;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    options *chosen = state->input;
    switch (key) {
    case 'd':
        chosen->device = value;
        return 0;
    case 'r':
        chosen->report = value;
        return 0;
    case 's':
        if (!cli_parse_number(value, 1, 10000000, &chosen->seconds)) {
            cli_usage("soak", "--seconds takes a number of seconds, not '%s'", value);
        }
        return 0;
    case 'e':
        if (!cli_parse_number(value, 0, INT64_MAX, &chosen->seed)) {
            cli_usage("soak", "--seed takes a number, not '%s'", value);
        }
        return 0;
    case ARGP_KEY_ARG:
        cli_usage("soak", "'%s' is not an option", value);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option list[] = {
    {"device", 'd', "NAME", 0, "Device (default: cpu)", 0},
    {"seconds", 's', "N", 0, "How long (default: 3600)", 0},
    {"seed", 'e', "N", 0, "Of what is drawn by lot (default: 1)", 0},
    {"report", 'r', "FILE", 0, "Also write the report, a table in Markdown", 0},
    {0},
};

int cli_command_soak(int argument_count, char **arguments)
{
    static const struct argp parser = {
        list,
        parse,
        NULL,
        "Run all tables, direct and queued, with random priorities, time limits and "
        "cancels, for a given time; every answer is compared.",
        NULL,
        NULL,
        NULL};
    options chosen = {.device = "cpu", .seconds = 3600, .seed = 1};
    soak self = {.options = &chosen};
    cli_parse(&parser, "soak", argument_count, arguments, &chosen);
    make_memory_tell();
    int status = cli_open_device(chosen.device, NULL, &self.device);
    if (status != 0) {
        return status;
    }
    status = run(&self);
    weft_device_release(self.device);
    return status;
}
