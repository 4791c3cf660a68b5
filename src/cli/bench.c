/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/null_cost.h"
#include "cli/suite.h"
#include "cli/sweep.h"

/* bench, check and report: the same suite with other defaults. */

enum {
    KEY_JSON = 256,
    KEY_HTML,
    KEY_SECONDS,
    KEY_GOLDEN,
    KEY_NO_GOLDEN,
    KEY_NULL,
    KEY_ISA,
    KEY_PRECISION,
    KEY_ITERATIONS,
    KEY_DISTINCT,
    KEY_QUEUE,
    KEY_WORKERS,
    KEY_MAX_BATCH,
    KEY_DELAY,
    KEY_IN_FLIGHT,
    KEY_BATCHES,
    KEY_BUCKET,
    KEY_ON_CARD,
};

typedef struct arguments {
    const char *command;
    cli_suite_options suite;
    bool null_cost;
    bool seconds_given;
    cli_sweep_options sweep;  /* with a model */
    const char *model_option; /* the last one given that needs a model */
    const char *queue_option; /* the last one given that needs --queue */
    const char *table_option; /* the last one given that a model has no use for */
} arguments;

enum { MOST_BATCH = 65536 };

#define ALL_TABLES ((1u << CLI_TABLE_COUNT) - 1)
#define TABLE(name) (1u << CLI_TABLE_##name)

static int32_t parse_count(const arguments *chosen, const char *option,
                           const char *text)
{
    int64_t value = 0;
    if (!cli_parse_number(text, 1, 1000000, &value)) {
        cli_usage(chosen->command, "'%s %s' is not a whole number from 1 to 1000000",
                  option, text);
    }
    return (int32_t)value;
}

static void parse_threads(arguments *chosen, const char *text)
{
    if (!cli_parse_counts(text, CLI_MAX_THREADS, &chosen->suite.threads)) {
        cli_usage(chosen->command,
                  "'--threads %s' is not a list of numbers from 1 to %d, such as "
                  "1,2,4,8",
                  text, CLI_MAX_THREADS);
    }
}

static error_t parse_files(int key, char *value, cli_suite_options *suite)
{
    switch (key) {
    case KEY_JSON:
        suite->json = value;
        return 0;
    case KEY_HTML:
        suite->html = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_tables(int key, char *value, arguments *chosen)
{
    switch (key) {
    case 'r':
        chosen->table_option = "--rows";
        chosen->suite.rows = value;
        return 0;
    case KEY_ITERATIONS:
        chosen->table_option = "--iterations";
        chosen->suite.iterations = parse_count(chosen, "--iterations", value);
        return 0;
    case KEY_DISTINCT:
        chosen->table_option = "--distinct";
        chosen->suite.distinct = parse_count(chosen, "--distinct", value);
        return 0;
    case KEY_ON_CARD:
        chosen->table_option = "--on-card";
        chosen->suite.on_card = true;
        return 0;
    case KEY_NULL:
        chosen->table_option = "--null";
        chosen->null_cost = true;
        return 0;
    case KEY_GOLDEN:
        chosen->table_option = "--golden";
        chosen->suite.golden = value;
        return 0;
    case KEY_NO_GOLDEN:
        chosen->table_option = "--no-golden";
        chosen->suite.no_golden = true;
        return 0;
    default:
        return parse_files(key, value, &chosen->suite);
    }
}

static int64_t parse_number(const arguments *chosen, const char *option,
                            const char *text, int64_t least, int64_t most)
{
    int64_t value = 0;
    if (!cli_parse_number(text, least, most, &value)) {
        cli_usage(chosen->command, "'%s %s' is not a whole number from %lld to %lld",
                  option, text, (long long)least, (long long)most);
    }
    return value;
}

static error_t parse_queue(int key, char *value, arguments *chosen)
{
    cli_way *way = &chosen->suite.way;
    switch (key) {
    case KEY_WORKERS:
        chosen->queue_option = "--workers";
        if (!cli_parse_counts(value, CLI_MAX_WORKERS, &chosen->suite.workers)) {
            cli_usage(chosen->command,
                      "'--workers %s' is not a number from 1 to %d, or a list such as "
                      "1,4",
                      value, CLI_MAX_WORKERS);
        }
        return 0;
    case KEY_MAX_BATCH:
        chosen->queue_option = "--max-batch";
        way->max_batch = (int32_t)parse_number(chosen, "--max-batch", value, 1, 65536);
        return 0;
    case KEY_DELAY:
        chosen->queue_option = "--delay-us";
        way->delay_us = parse_number(chosen, "--delay-us", value, 0, 60000000);
        return 0;
    case KEY_IN_FLIGHT:
        chosen->queue_option = "--in-flight";
        way->in_flight =
            (int32_t)parse_number(chosen, "--in-flight", value, 1, CLI_MAX_IN_FLIGHT);
        return 0;
    default:
        return parse_tables(key, value, chosen);
    }
}

/* Options that would be left unused. */
static void refuse_strangers(const arguments *chosen)
{
    bool has_model = chosen->sweep.model.model != NULL;
    if (chosen->model_option != NULL && !has_model) {
        cli_usage("bench", "'%s' is of a model; type: weft bench MODEL.onnx %s ...",
                  chosen->model_option, chosen->model_option);
    }
    const char *strange =
        chosen->table_option != NULL ? chosen->table_option : chosen->queue_option;
    if (strange != NULL && has_model) {
        cli_usage("bench", "'%s' is of the tables; leave it out, or leave out '%s'",
                  strange, chosen->sweep.model.model);
    }
    if (chosen->queue_option != NULL && chosen->suite.mode == CLI_DIRECT) {
        cli_usage(chosen->command, "'%s' is of the queue; add --queue",
                  chosen->queue_option);
    }
    if (chosen->suite.on_card && chosen->suite.mode != CLI_DIRECT) {
        cli_usage(chosen->command,
                  "'--on-card' is of direct calls; leave out --queue, whose workers "
                  "take host memory");
    }
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    arguments *chosen = state->input;
    switch (key) {
    case 't':
        parse_threads(chosen, value);
        return 0;
    case 'd':
        chosen->suite.device = value;
        return 0;
    case KEY_ISA:
        chosen->suite.isa = value;
        return 0;
    case KEY_PRECISION:
        chosen->suite.precision = cli_parse_precision(chosen->command, value);
        return 0;
    case KEY_SECONDS:
        chosen->suite.seconds = cli_parse_seconds(chosen->command, value);
        chosen->seconds_given = true;
        return 0;
    case ARGP_KEY_ARG:
        if (strcmp(chosen->command, "bench") == 0 && strstr(value, ".onnx") != NULL &&
            chosen->sweep.model.model == NULL) {
            chosen->sweep.model.model = value;
            return 0;
        }
        cli_usage(chosen->command, "'%s' is not an option; rows are chosen by --rows",
                  value);
    case KEY_QUEUE:
        chosen->suite.mode =
            strcmp(chosen->command, "check") == 0 ? CLI_QUEUED : CLI_BOTH;
        if (chosen->suite.mode == CLI_BOTH) {
            chosen->suite.tables |= TABLE(BATCHING);
        }
        return 0;
    case 'D':
        chosen->model_option = "--dim";
        cli_setting_add("bench", chosen->sweep.model.dims,
                        &chosen->sweep.model.dim_count, "--dim", value);
        return 0;
    case KEY_BUCKET:
        chosen->model_option = "--bucket";
        cli_bucket_add("bench", &chosen->sweep.model.buckets, value);
        return 0;
    case KEY_BATCHES:
        chosen->model_option = "--batches";
        if (!cli_parse_counts(value, MOST_BATCH, &chosen->sweep.batches)) {
            cli_usage("bench",
                      "'--batches %s' is not a list of numbers from 1 to %d, such as "
                      "1,8,64",
                      value, MOST_BATCH);
        }
        return 0;
    case ARGP_KEY_SUCCESS:
        refuse_strangers(chosen);
        return 0;
    default:
        return parse_queue(key, value, chosen);
    }
}

#define SHARED_OPTIONS                                                                  \
    {"rows",                                                                            \
     'r',                                                                               \
     "LIST",                                                                            \
     0,                                                                                 \
     "Rows by name, or tables: table1 ... table5, race, batching, one, files, all",     \
     0},                                                                                \
        {"threads", 't', "LIST", 0, "Numbers of threads, such as 1,2,4,8", 0},          \
        {"device", 'd', "NAME", 0, "Device: " CLI_DEVICE_HELP, 0},                      \
        {"isa", KEY_ISA, "NAME", 0, "CPU kernels: avx512, avx2, sse2, neon, reference", \
         0},                                                                            \
        {"precision",                                                                   \
         KEY_PRECISION,                                                                 \
         "NAME",                                                                        \
         0,                                                                             \
         "Of products: f32 (default), tf32, bf16, f16",                                 \
         0},                                                                            \
        {"iterations",                                                                  \
         KEY_ITERATIONS,                                                                \
         "N",                                                                           \
         0,                                                                             \
         "Calls of each thread whose answers are all compared",                         \
         0},                                                                            \
        {"distinct", KEY_DISTINCT, "N", 0, "Most different inputs of each thread", 0},  \
        {"json", KEY_JSON, "FILE", 0, "Write the figures", 0},                          \
        {"html", KEY_HTML, "FILE", 0, "Write a page with pictures", 0},                 \
        {"golden", KEY_GOLDEN, "DIR", 0, "Folder of the recorded models", 0},           \
    {                                                                                   \
        "no-golden", KEY_NO_GOLDEN, NULL, 0, "Leave out the rows from files", 0         \
    }

#define QUEUE_OPTIONS                                                                  \
    {"workers",                                                                        \
     KEY_WORKERS,                                                                      \
     "LIST",                                                                           \
     0,                                                                                \
     "Workers of the queue (default: one per core, at most 4 per card; table 5: "      \
     "1,4)",                                                                           \
     0},                                                                               \
        {"max-batch",                                                                  \
         KEY_MAX_BATCH,                                                                \
         "N",                                                                          \
         0,                                                                            \
         "Most rows in a batch of the queue (default: 64)",                            \
         0},                                                                           \
        {"delay-us",                                                                   \
         KEY_DELAY,                                                                    \
         "N",                                                                          \
         0,                                                                            \
         "How long the queue holds a request back for others (default: 0)",            \
         0},                                                                           \
    {                                                                                  \
        "in-flight", KEY_IN_FLIGHT, "N", 0,                                            \
            "Requests that each thread keeps under way (default: 1)", 0                \
    }

#define ON_CARD_OPTION                                                                 \
    {                                                                                  \
        "on-card", KEY_ON_CARD, NULL, 0,                                               \
            "Inputs start and outputs end on the device's card (WEFT_PLACE_CARD)", 0   \
    }

static const struct argp_option bench_options[] = {
    SHARED_OPTIONS,
    ON_CARD_OPTION,
    {"queue", KEY_QUEUE, NULL, 0,
     "Time each row through a queue too, beside the direct calls", 0},
    QUEUE_OPTIONS,
    {"seconds", KEY_SECONDS, "S", 0,
     "Length of each timed pass (default: 1; of a model 0.25)", 0},
    {"dim", 'D', "NAME=SIZE", 0,
     "Of a model: size of a dynamic dimension, by its name or as INPUT.AXIS", 0},
    {"bucket", KEY_BUCKET, CLI_BUCKET_ARGUMENT, 0, "Of a model: " CLI_BUCKET_HELP, 0},
    {"batches", KEY_BATCHES, "LIST", 0,
     "Of a model: rows of a call (default: 1,2,4,8,16,32)", 0},
    {"null", KEY_NULL, NULL, 0,
     "Only the fixed cost of a call, on the null backend, by number of threads", 0},
    {0},
};

static const struct argp_option check_options[] = {
    SHARED_OPTIONS,
    ON_CARD_OPTION,
    {"queue", KEY_QUEUE, NULL, 0, "All answers by way of a queue, not by direct calls",
     0},
    QUEUE_OPTIONS,
    {0},
};

static const struct argp_option report_options[] = {
    SHARED_OPTIONS,
    QUEUE_OPTIONS,
    {"seconds", KEY_SECONDS, "S", 0, "Length of each timed pass (default: 0.25)", 0},
    {0},
};

static int run_suite(const cli_suite_options *options)
{
    cli_suite suite;
    if (cli_computes_nothing(options->device)) {
        return cli_misuse("the device '%s' computes nothing, so no answer can be "
                          "checked; for its cost type: weft bench --null",
                          options->device);
    }
    bool passed = cli_suite_run(options, &suite) && cli_suite_passed(&suite);
    int status = suite.misused ? CLI_EXIT_USAGE : passed ? 0 : 1;
    cli_suite_fini(&suite);
    return status;
}

const struct argp cli_parser_bench = {
    bench_options,
    parse,
    "[MODEL.onnx]",
    "Run tables 1 to 4 and one caller: every answer checked, then timed. With a model: "
    "its rates by threads, batch sizes, direct and through a queue, and which setting "
    "to use.\vFor example:\n\n"
    "  weft bench model.onnx --dim length=64 --html bench.html",
    NULL,
    NULL,
    NULL};

int cli_command_bench(int argument_count, char **argument_list)
{
    arguments chosen = {
        .command = "bench",
        .suite = {.device = "cpu",
                  .tables = TABLE(OPERATIONS) | TABLE(MODULES) | TABLE(SCALING) |
                            TABLE(MIXED) | TABLE(ONE_CALLER),
                  .seconds = 1},
    };
    cli_setting *dims = cli_allocate((size_t)argument_count, sizeof(*dims));
    chosen.sweep.model.dims = dims;
    cli_parse(&cli_parser_bench, "bench", argument_count, argument_list, &chosen);
    int status = 0;
    if (chosen.sweep.model.model != NULL) {
        chosen.sweep.model.device = chosen.suite.device;
        chosen.sweep.model.isa = chosen.suite.isa;
        chosen.sweep.precision = chosen.suite.precision;
        chosen.sweep.threads = chosen.suite.threads;
        chosen.sweep.seconds = chosen.seconds_given ? chosen.suite.seconds : 0.25;
        chosen.sweep.json = chosen.suite.json;
        chosen.sweep.html = chosen.suite.html;
        status = cli_sweep(&chosen.sweep);
    } else if (chosen.null_cost) {
        status = cli_null_cost(&chosen.suite);
    } else {
        status = run_suite(&chosen.suite);
    }
    cli_buckets_free(&chosen.sweep.model.buckets);
    free(dims);
    return status;
}

const struct argp cli_parser_check = {
    check_options,
    parse,
    NULL,
    "Check the ten models, the race reproduction and the models from files: every "
    "answer compared, nothing timed.",
    NULL,
    NULL,
    NULL};

int cli_command_check(int argument_count, char **argument_list)
{
    arguments chosen = {
        .command = "check",
        .suite = {.device = "cpu",
                  .tables = TABLE(MODELS) | TABLE(RACE) | TABLE(FILES)},
    };
    cli_parse(&cli_parser_check, "check", argument_count, argument_list, &chosen);
    return run_suite(&chosen.suite);
}

const struct argp cli_parser_report = {
    report_options,
    parse,
    NULL,
    "Run every table, direct and through a queue, and write weft-report.json and "
    "weft-report.html. Exits 0 only if every row passed.",
    NULL,
    NULL,
    NULL};

int cli_command_report(int argument_count, char **argument_list)
{
    arguments chosen = {
        .command = "report",
        .suite = {.device = "cpu",
                  .mode = CLI_BOTH,
                  .tables = ALL_TABLES,
                  .seconds = 0.25,
                  .json = "weft-report.json",
                  .html = "weft-report.html"},
    };
    cli_parse(&cli_parser_report, "report", argument_count, argument_list, &chosen);
    return run_suite(&chosen.suite);
}
