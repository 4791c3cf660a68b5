/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/soak.h"

uint32_t soak_draw(soak_dice *dice, uint32_t below)
{
    enum { COUNT = sizeof(dice->numbers) / sizeof(dice->numbers[0]) };
    if (dice->used == 0) {
        weft_random_key key = {.seed = (uint64_t)dice->soak->options->seed,
                               .stream = dice->soak->round,
                               .thread = dice->thread,
                               .iteration = dice->refills++};
        weft_random_fill_u32(&key, dice->numbers, COUNT);
        dice->used = COUNT;
    }
    return dice->numbers[--dice->used] % below;
}

static void add_tally(soak_tally *total, const soak_tally *part)
{
    const size_t count = offsetof(soak_tally, reason) / sizeof(uint64_t);
    uint64_t *to = &total->direct;
    const uint64_t *from = &part->direct;
    for (size_t i = 0; i < count; i++) {
        to[i] += from[i];
    }
    if (total->reason[0] == '\0') {
        memcpy(total->reason, part->reason, sizeof(total->reason));
    }
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

static void keep_most(uint64_t *most, uint64_t bytes)
{
    *most = bytes > *most ? bytes : *most;
}

/* Returns the bytes that the process has. */
static uint64_t look_at_memory(soak *self)
{
    const double limit = (double)self->options->seconds;
    const double seconds = (double)(cli_now_ns() - self->begin_ns) * 1e-9;
    soak_memory *seen = &self->seen;
    const uint64_t bytes = resident_bytes();
    weft_device_statistics s;
    weft_device_get_statistics(self->device, &s);
    if (seconds < limit / 3 || seen->first == 0) {
        keep_most(&seen->first, bytes);
        keep_most(&seen->device_first, s.memory_bytes);
    } else if (seconds > limit * 2 / 3) {
        keep_most(&seen->last, bytes);
        keep_most(&seen->device_last, s.memory_bytes);
    }
    return bytes;
}

static const char *plural(uint32_t count)
{
    return count == 1 ? "" : "s";
}

/* The callers' tallies are added up at the end of a round. */
static void tell(soak *self, double seconds, uint64_t bytes)
{
    char rounds[80] = "";
    if (self->options->threads == 0) {
        snprintf(rounds, sizeof(rounds), "%u round%s, %llu answers, ", self->round,
                 plural(self->round), (unsigned long long)self->tally.done);
    }
    if (isatty(STDERR_FILENO)) {
        cli_progress_say("soak of %lld s: %s%.0f MB", (long long)self->options->seconds,
                         rounds, (double)bytes * 1e-6);
    } else {
        fprintf(stderr, "\r%.0f of %lld s: %s%.0f MB ", seconds,
                (long long)self->options->seconds, rounds, (double)bytes * 1e-6);
    }
}

/* Until the only round ends. */
static void watch_memory(soak *self)
{
    while (cli_now_ns() < self->round_end_ns) {
        usleep(500000);
        uint64_t bytes = look_at_memory(self);
        tell(self, (double)(cli_now_ns() - self->begin_ns) * 1e-9, bytes);
    }
}

static bool is_flat(const soak_memory *seen)
{
    return seen->last <= seen->first + seen->first / 20 + (8u << 20);
}

static void run_callers(soak *self, uint32_t count)
{
    uint32_t started = 0;
    pthread_t tender;
    for (; started < count; started++) {
        soak_caller *one = &self->callers[started];
        const int32_t row = (int32_t)started % self->trial_count;
        const cli_trial *trial = self->trials[row];
        one->lane =
            &trial->lanes[(int32_t)started / self->trial_count % trial->lane_count];
        one->dice = (soak_dice){.soak = self, .thread = started + 1};
        one->tally = (soak_tally){.direct = 0};
        if (pthread_create(&one->thread, NULL, soak_caller_main, one) != 0) {
            self->broken++;
            break;
        }
    }
    if (pthread_create(&tender, NULL, soak_tend_queues, self) == 0) {
        if (self->options->threads > 0) {
            watch_memory(self);
        }
        pthread_join(tender, NULL);
    } else {
        self->broken++;
    }
    self->threads += started + 1;
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(self->callers[i].thread, NULL);
        add_tally(&self->tally, &self->callers[i].tally);
    }
    soak_end_queues(self);
    for (uint32_t i = 0; i < started; i++) {
        soak_caller_free_buffers(&self->callers[i]);
    }
}

static cli_trial *make_trial(soak *self, cli_row *row, const cli_row *chosen)
{
    *row = *chosen;
    row->distinct = row->distinct > 2 ? 2 : row->distinct;
    return cli_trial_create(self->device, row, SOAK_LANES);
}

/* Row `round` of the tables in turn, others beside it, and models of no table. */
static bool make_trials(soak *self)
{
    weft_model *models[SOAK_MODELS];
    bool ready = true;
    self->trial_count = self->options->threads > 0 ? SOAK_TRIALS : SOAK_USUAL_TRIALS;
    for (int t = 0; t < self->trial_count; t++) {
        size_t chosen = t == 0 ? self->round % self->all_count
                               : soak_draw(&self->dice, (uint32_t)self->all_count);
        bool odd = t == self->trial_count - 1;
        self->met[chosen] = self->met[chosen] || !odd;
        self->trials[t] = odd ? soak_make_odd_trial(self->device, &self->dice)
                              : make_trial(self, &self->rows[t], &self->all[chosen]);
        if (self->trials[t]->failure[0] != '\0') {
            cli_complain("%s: %s", self->trials[t]->row->name,
                         self->trials[t]->failure);
            ready = false;
        }
    }
    self->models += soak_list_models(self, models);
    return ready;
}

/* A round takes a second and what its rows need to be made ready: it hangs. */
enum { PATIENCE_S = 1200 };

static void give_up(int signal)
{
    static const char words[] = "\nweft: a round of the soak does not end\n";
    (void)signal;
    ssize_t wrote = write(STDERR_FILENO, words, sizeof(words) - 1);
    (void)wrote;
    _exit(1);
}

static bool run_round(soak *self)
{
    alarm(PATIENCE_S +
          (self->options->threads > 0 ? (unsigned int)self->options->seconds : 0));
    weft_device_statistics s;
    self->dice = (soak_dice){.soak = self};
    bool ready = make_trials(self) && soak_open_queue(self);
    if (ready) {
        const soak_options *chosen = self->options;
        uint32_t count = 1 + soak_draw(&self->dice, SOAK_USUAL_CALLERS);
        count = chosen->threads > 0 ? (uint32_t)chosen->threads : count;
        self->round_end_ns =
            cli_now_ns() + (chosen->threads > 0 ? chosen->seconds : 1) * 1000000000;
        run_callers(self, count);
        weft_device_get_statistics(self->device, &s);
        self->unbalanced += s.accepted != s.done + s.failed + s.cancelled + s.timed_out;
    }
    for (int t = 0; t < self->trial_count; t++) {
        cli_trial_destroy(self->trials[t]);
        self->trials[t] = NULL;
    }
    self->round++;
    return ready && weft_device_trim(self->device, NULL) == WEFT_OK;
}

static unsigned long long number(uint64_t value)
{
    return value;
}

static void write_calls(FILE *file, const soak_tally *t)
{
    fprintf(file, "| calls: weft_run, weft_submit, queue | %llu, %llu, %llu |\n",
            number(t->direct), number(t->submitted), number(t->queued));
    fprintf(file,
            "| ends heard by wait, test, descriptor, callback | %llu, %llu, %llu, %llu "
            "|\n",
            number(t->by_wait), number(t->by_test), number(t->by_fd),
            number(t->by_callback));
    fprintf(
        file,
        "| waits whose deadline came first; queued calls that waited at once; calls "
        "of models with buckets or in stages | %llu; %llu; %llu |\n",
        number(t->gave_up), number(t->in_person), number(t->odd));
    fprintf(file, "| taken by weft_queue_take_ended too | %llu |\n",
            number(t->by_queue_fd));
    fprintf(file, "| calls made by callbacks | %llu |\n", number(t->from_callback));
    fprintf(file, "| done, every answer compared | %llu |\n", number(t->done));
    fprintf(file, "| cancelled, timed out | %llu, %llu |\n", number(t->cancelled),
            number(t->timed_out));
    fprintf(file,
            "| refused: full, no room in time, closed, model not there, wrong tensors "
            "| %llu, %llu, %llu, %llu, %llu |\n",
            number(t->full), number(t->late), number(t->closed), number(t->not_found),
            number(t->bad));
    fprintf(file,
            "| wrong answers, failed calls, outputs written after a cancel, ends out "
            "of order | %llu, %llu, %llu, %llu |\n",
            number(t->wrong), number(t->failed), number(t->touched),
            number(t->disordered));
}

/* `looked`: some time; a short run ends before its last third. */
static void write_most(FILE *file, uint64_t bytes, bool looked, const char *end)
{
    if (looked) {
        fprintf(file, "%.1f MB%s", (double)bytes * 1e-6, end);
    } else {
        fprintf(file, "-%s", end);
    }
}

static void write_memory(FILE *file, const soak *self)
{
    const soak_memory *seen = &self->seen;
    fprintf(file, "| resident memory %s, most in the first and in the last third | ",
            self->options->threads > 0 ? "while they run" : "between rounds");
    write_most(file, seen->first, seen->first > 0, ", ");
    write_most(file, seen->last, seen->last > 0, " |\n");
    fprintf(file, "| memory of the device, likewise | ");
    write_most(file, seen->device_first, seen->first > 0, ", ");
    write_most(file, seen->device_last, seen->last > 0, " |\n");
}

/* How many rows there are, and how many have had their turn. */
static void write_rows(FILE *file, const soak *self)
{
    size_t counts[2] = {0, 0}, met[2] = {0, 0}; /* of tables, from files */
    for (size_t i = 0; i < self->all_count; i++) {
        const int from_files = self->all[i].golden != NULL;
        counts[from_files]++;
        met[from_files] += self->met[i];
    }
    fprintf(file, "| rows of the tables, from files | %zu of %zu, %zu of %zu |\n",
            met[0], counts[0], met[1], counts[1]);
}

static void write_report(FILE *file, const soak *self, double seconds, bool passed)
{
    const soak_tally *t = &self->tally;
    weft_device_statistics s;
    weft_device_info info;
    weft_device_get_statistics(self->device, &s);
    weft_device_get_info(self->device, &info);
    fprintf(file, "| soak | |\n|---|---|\n");
    fprintf(file, "| weft | %s |\n", weft_build_id());
    fprintf(file, "| device | %s, %s, %s, %d cores |\n", info.name, info.description,
            info.isa, info.core_count);
    fprintf(file, "| time | %.0f s, %u round%s, seed %lld |\n", seconds, self->round,
            plural(self->round), (long long)self->options->seed);
    write_rows(file, self);
    fprintf(file, "| threads born, models loaded | %llu, %llu |\n",
            number(self->threads), number(self->models));
    fprintf(file,
            "| queues; of them, under load: closed and drained, left to their users "
            "| %llu; %llu, %llu |\n",
            number(self->queues), number(self->drained_under_load),
            number(self->left_under_load));
    fprintf(file, "| models taken out of a queue and put in again | %llu |\n",
            number(self->swaps));
    write_calls(file, t);
    fprintf(file, "| queues whose requests did not add up | %llu |\n",
            number(self->unbalanced));
    write_memory(file, self);
    struct mallinfo2 heap = mallinfo2();
    fprintf(file, "| memory in use at the end | %.1f MB |\n",
            (double)(heap.uordblks + heap.hblkhd) * 1e-6);
    fprintf(file, "| lock waits | %llu, %.3f s in all |\n", number(s.lock_wait_count),
            (double)s.lock_wait_ns * 1e-9);
    const char *reason = t->reason[0] != '\0' ? t->reason : self->reason;
    fprintf(file, "| result | %s%s |\n",
            passed ? "passed" : "FAILED: ", passed ? "" : reason);
}

static bool is_right(const soak *self)
{
    const soak_tally *t = &self->tally;
    return t->wrong + t->failed + t->touched + t->disordered + self->unbalanced +
               self->broken ==
           0;
}

static int run(soak *self)
{
    double limit = (double)self->options->seconds, seconds = 0, told = 0;
    self->begin_ns = cli_now_ns();
    bool ready = true;
    cli_progress_begin("soak of %lld s", (long long)self->options->seconds);
    while (ready && seconds < limit && is_right(self)) {
        ready = run_round(self);
        seconds = (double)(cli_now_ns() - self->begin_ns) * 1e-9;
        if (self->options->threads > 0) {
            continue; /* the only one has told */
        }
        uint64_t bytes = look_at_memory(self);
        if (seconds > told + 5 || isatty(STDERR_FILENO)) {
            told = seconds;
            tell(self, seconds, bytes);
        }
    }
    alarm(0);
    cli_progress_end();
    fputs(isatty(STDERR_FILENO) ? "" : "\n", stderr);
    bool passed = ready && is_right(self) && is_flat(&self->seen);
    write_report(stdout, self, seconds, passed);
    if (self->options->report != NULL) {
        cli_output output;
        if (!cli_output_begin(&output, self->options->report)) {
            return 1;
        }
        write_report(output.file, self, seconds, passed);
        passed = cli_output_end(&output, true) && passed;
    }
    return passed ? 0 : 1;
}

enum { KEY_GOLDEN = 256, KEY_NO_GOLDEN };

static error_t parse(int key, char *value, struct argp_state *state)
{
    soak_options *chosen = state->input;
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
    case 't':
        if (!cli_parse_number(value, 1, SOAK_CALLERS, &chosen->threads)) {
            cli_usage("soak", "--threads takes a number of 1 to %d, not '%s'",
                      SOAK_CALLERS, value);
        }
        return 0;
    case KEY_GOLDEN:
        chosen->golden = value;
        return 0;
    case KEY_NO_GOLDEN:
        chosen->no_golden = true;
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
    {"device", 'd', "NAME", 0, "Device: " CLI_DEVICE_HELP, 0},
    {"seconds", 's', "N", 0, "How long (default: 3600)", 0},
    {"seed", 'e', "N", 0, "Of what is drawn by lot (default: 1)", 0},
    {"threads", 't', "N", 0,
     "The same callers all the time, in one long round, on five rows and more at "
     "once; fewer than 6 callers reach fewer (default: other callers, by lot, each "
     "second)",
     0},
    {"golden", KEY_GOLDEN, "DIR", 0, "Folder of the recorded models", 0},
    {"no-golden", KEY_NO_GOLDEN, NULL, 0, "Leave out the rows from files", 0},
    {"report", 'r', "FILE", 0, "Also write the report, a table in Markdown", 0},
    {0},
};

/* All rows, those from files after those of the tables. */
static bool gather_rows(soak *self)
{
    char reason[CLI_REASON_SIZE] = "";
    size_t count;
    const cli_row *tables = cli_rows(&count);
    const soak_options *chosen = self->options;
    if (!chosen->no_golden &&
        !cli_golden_open(chosen->golden, &self->golden, reason, sizeof(reason))) {
        cli_complain("%s", reason);
        return false;
    }
    self->all_count = count + self->golden.count;
    self->all = cli_allocate(self->all_count, sizeof(*self->all));
    memcpy(self->all, tables, count * sizeof(*tables));
    for (size_t i = 0; i < self->golden.count; i++) {
        self->all[count + i] = self->golden.rows[i];
    }
    self->met = cli_allocate(self->all_count, sizeof(*self->met));
    return true;
}

static void init_locks(soak *self)
{
    pthread_mutex_init(&self->lock, NULL);
    for (int i = 0; i < SOAK_CALLERS; i++) {
        self->callers[i].soak = self;
        pthread_mutex_init(&self->callers[i].lock, NULL);
        pthread_cond_init(&self->callers[i].ended, NULL);
    }
}

const struct argp cli_parser_soak = {
    list,
    parse,
    NULL,
    "Run all tables, direct and queued, with random priorities, time limits, cancels "
    "and callbacks, while queues and models come and go, for a given time; every "
    "answer is compared.",
    NULL,
    NULL,
    NULL};

int cli_command_soak(int argument_count, char **arguments)
{
    soak_options chosen = {.device = "cpu", .seconds = 3600, .seed = 1};
    soak *self = cli_allocate(1, sizeof(*self));
    self->options = &chosen;
    cli_parse(&cli_parser_soak, "soak", argument_count, arguments, &chosen);
    make_memory_tell();
    signal(SIGALRM, give_up);
    int status = cli_open_device(chosen.device, NULL, &self->device);
    if (status == 0) {
        bool ready = chosen.report == NULL || cli_output_probe(chosen.report);
        init_locks(self);
        status = ready && gather_rows(self) ? run(self) : 1;
        weft_device_release(self->device);
    }
    cli_golden_close(&self->golden);
    free(self->all);
    free(self->met);
    free(self);
    return status;
}
