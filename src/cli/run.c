/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/trace.h"

enum {
    KEY_ISA = 256,
    KEY_NO_FUSION,
    KEY_PRECISION,
    KEY_QUEUE,
    KEY_WORKERS,
    KEY_MAX_BATCH,
    KEY_DELAY,
    KEY_IN_FLIGHT,
    KEY_PROFILE,
    KEY_PROFILE_EVENTS,
    KEY_BUCKET,
    KEY_CONTEXTS,
    KEY_SECONDS,
    KEY_TOLERANCE,
};

bool cli_setting_parse(const char *text, cli_setting *setting)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0') {
        return false;
    }
    *setting = (cli_setting){text, (size_t)(equals - text), equals + 1};
    return true;
}

const cli_setting *cli_setting_find(const cli_setting *settings, int32_t count,
                                    const char *name)
{
    for (int32_t i = 0; i < count; i++) {
        if (strlen(name) == settings[i].name_length &&
            strncmp(name, settings[i].name, settings[i].name_length) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

void cli_setting_add(const char *command, cli_setting *settings, int32_t *count,
                     const char *option, const char *value)
{
    cli_setting *setting = &settings[*count];
    if (!cli_setting_parse(value, setting)) {
        cli_usage(command, "'%s %s' lacks a name or a value; type: %s NAME=VALUE",
                  option, value, option);
    }
    for (int32_t i = 0; i < *count; i++) {
        if (settings[i].name_length == setting->name_length &&
            memcmp(settings[i].name, setting->name, setting->name_length) == 0) {
            cli_usage(command, "'%s %s' comes after '%s %s'; give one of them", option,
                      value, option, settings[i].name);
        }
    }
    ++*count;
}

static int64_t parse_count(const char *option, const char *text, int64_t most)
{
    int64_t value = 0;
    if (!cli_parse_number(text, 1, most, &value)) {
        cli_usage("run", "'%s %s' is not a whole number from 1 to %lld", option, text,
                  (long long)most);
    }
    return value;
}

static double parse_tolerance(const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0) || value > 1e9) {
        cli_usage("run",
                  "'--tolerance %s' is not a number above 0; type: --tolerance "
                  "1e-4",
                  text);
    }
    return value;
}

static error_t parse_queue(int key, const char *value, cli_run_options *options)
{
    cli_way *way = &options->way;
    switch (key) {
    case KEY_QUEUE:
        way->queued = true;
        return 0;
    case KEY_WORKERS:
        options->queue_option = "--workers";
        way->workers = (int32_t)parse_count("--workers", value, CLI_MAX_WORKERS);
        return 0;
    case KEY_MAX_BATCH:
        options->queue_option = "--max-batch";
        way->max_batch = (int32_t)parse_count("--max-batch", value, 65536);
        return 0;
    case KEY_DELAY:
        options->queue_option = "--delay-us";
        way->delay_us = parse_count("--delay-us", value, 60000000);
        return 0;
    case KEY_IN_FLIGHT:
        options->queue_option = "--in-flight";
        way->in_flight = (int32_t)parse_count("--in-flight", value, CLI_MAX_IN_FLIGHT);
        return 0;
    case ARGP_KEY_SUCCESS:
        if (options->queue_option != NULL && !way->queued) {
            cli_usage("run", "'%s' is of the queue; add --queue",
                      options->queue_option);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    cli_run_options *options = state->input;
    switch (key) {
    case 'i':
        cli_setting_add("run", options->inputs, &options->input_count, "--input",
                        value);
        return 0;
    case 'o':
        cli_setting_add("run", options->outputs, &options->output_count, "--output",
                        value);
        return 0;
    case 'D':
        cli_setting_add("run", options->dims, &options->dim_count, "--dim", value);
        return 0;
    case KEY_BUCKET:
        cli_bucket_add("run", &options->buckets, value);
        return 0;
    case KEY_TOLERANCE:
        options->tolerance = parse_tolerance(value);
        return 0;
    case 't':
        options->threads = parse_count("--threads", value, CLI_MAX_THREADS);
        return 0;
    case 'n':
        options->iterations = parse_count("--iterations", value, 1000000000);
        return 0;
    case KEY_SECONDS:
        options->seconds = cli_parse_seconds("run", value);
        return 0;
    case KEY_CONTEXTS:
        options->contexts = parse_count("--contexts", value, CLI_MAX_CONTEXTS);
        return 0;
    case 'c':
        options->check = true;
        return 0;
    case 'p':
        options->dump_plan = true;
        return 0;
    case 'd':
        options->device = value;
        return 0;
    case KEY_ISA:
        options->isa = value;
        return 0;
    case KEY_NO_FUSION:
        options->no_fusion = true;
        return 0;
    case KEY_PRECISION:
        options->precision = cli_parse_precision("run", value);
        return 0;
    case KEY_PROFILE:
        options->profile = value;
        return 0;
    case KEY_PROFILE_EVENTS:
        options->profile_events = parse_count("--profile-events", value, 1 << 26);
        return 0;
    case ARGP_KEY_ARG:
        if (options->model != NULL) {
            cli_usage("run", "one model at a time, not '%s' too", value);
        }
        options->model = value;
        return 0;
    default:
        return parse_queue(key, value, options);
    }
}

static const struct argp_option list[] = {
    {"input", 'i', "NAME=VALUE", 0,
     "An input: x=FILE.npy, x=random, x=random:SEED, x=zeros or x=ones", 0},
    {"output", 'o', "NAME=FILE.npy", 0, "Write an output instead of a summary", 0},
    {"dim", 'D', "NAME=SIZE", 0,
     "Size of a dynamic dimension for inputs that are not files: by its name, or as "
     "INPUT.AXIS",
     0},
    {"threads", 't', "N", 0, "Callers at the same time (default: 1)", 0},
    {"iterations", 'n', "N", 0, "Calls of each thread (default: 1)", 0},
    {"seconds", KEY_SECONDS, "S", 0,
     "Calls of each thread for so long, after every context has been run once", 0},
    {"contexts", KEY_CONTEXTS, "N", 0,
     "Calls that the device runs at a time, for each a context; the others wait "
     "(default: 64 on the cpu)",
     0},
    {"check", 'c', NULL, 0,
     "Compare every answer, bit for bit, with the same request run alone; with "
     "--bucket "
     "also with a run of the exact sizes, within the tolerance",
     0},
    {"bucket", KEY_BUCKET, CLI_BUCKET_ARGUMENT, 0, CLI_BUCKET_HELP, 0},
    {"tolerance", KEY_TOLERANCE, "X", 0,
     "How far a padded answer may be from the exact one, a part of 1 + its size "
     "(default: 1e-4)",
     0},
    {"queue", KEY_QUEUE, NULL, 0, "By way of a queue, not by direct calls", 0},
    {"workers", KEY_WORKERS, "N", 0, "Workers of the queue (default: one per core)", 0},
    {"max-batch", KEY_MAX_BATCH, "N", 0, "Most rows in a batch (default: 64)", 0},
    {"delay-us", KEY_DELAY, "N", 0,
     "How long the queue holds a request back for others (default: 0)", 0},
    {"in-flight", KEY_IN_FLIGHT, "N", 0,
     "Requests that each thread keeps under way in the queue (default: 1)", 0},
    {"profile", KEY_PROFILE, "FILE", 0,
     "Write what happened when, for ui.perfetto.dev or chrome://tracing", 0},
    {"profile-events", KEY_PROFILE_EVENTS, "N", 0,
     "Most events of it, the first ones (default: 262144)", 0},
    {"dump-plan", 'p', NULL, 0, "Print the plan: kernels, shapes, memory", 0},
    {"device", 'd', "NAME", 0, "Device: " CLI_DEVICE_HELP, 0},
    {"isa", KEY_ISA, "NAME", 0, "CPU kernels: avx512, avx2, sse2, neon, reference", 0},
    {"precision", KEY_PRECISION, "NAME", 0,
     "Of products: f32 (default), tf32, bf16, f16", 0},
    {"no-fusion", KEY_NO_FUSION, NULL, 0, "One kernel for each operator", 0},
    {0},
};

/* An input that has a default value in the file is given only where it is named. */
static weft_status require_named_inputs(const cli_run_options *options,
                                        weft_graph *graph, weft_error *error)
{
    weft_value_info info;
    weft_tensor value;
    weft_status status = WEFT_OK;
    for (size_t i = weft_graph_default_input_count(graph); i > 0; i--) {
        if (weft_graph_get_default_input(graph, i - 1, &info, &value) &&
            cli_setting_find(options->inputs, options->input_count, info.name) !=
                NULL &&
            status == WEFT_OK) {
            status = weft_graph_require_input(graph, info.name, error);
        }
    }
    return status;
}

/* Each context is warmed before calls are timed, with memory and a run of its own: so
 * there are no more of them than callers. */
static int64_t choose_contexts(const cli_run_options *options)
{
    enum { FEW = 16 };
    bool fewer = options->contexts == 0 && options->seconds > 0 &&
                 !options->way.queued && options->threads <= FEW;
    return fewer ? options->threads : options->contexts;
}

static int open_model(const cli_run_options *options, weft_profiler *profiler,
                      weft_device **device, weft_model *models[2])
{
    weft_model_params model_params = WEFT_MODEL_PARAMS_INIT;
    weft_graph *graph = NULL;
    weft_error error = {0};
    model_params.no_fusion = options->no_fusion;
    model_params.precision = options->precision;
    weft_device_params device_params = WEFT_DEVICE_PARAMS_INIT;
    device_params.isa = options->isa;
    device_params.profiler = profiler;
    device_params.max_contexts = (int32_t)choose_contexts(options);
    int opened = cli_open_device_as(options->device, &device_params, device);
    if (opened != 0) {
        return opened;
    }
    char all[32], read[32];
    int64_t begin_ns = cli_now_ns();
    cli_progress_begin("reading %s", options->model);
    weft_status status = weft_graph_load_onnx(options->model, NULL, &graph, &error);
    int64_t read_ns = cli_now_ns() - begin_ns;
    cli_progress_say("making %s ready", options->model);
    if (status == WEFT_OK) {
        status = require_named_inputs(options, graph, &error);
    }
    if (status == WEFT_OK) {
        cli_buckets_set(&options->buckets, false, &model_params);
        status = weft_model_create(*device, graph, &model_params, &models[0], &error);
    }
    if (status == WEFT_OK && options->check && options->buckets.count > 0) {
        cli_buckets_set(&options->buckets, true, &model_params);
        status = weft_model_create(*device, graph, &model_params, &models[1], &error);
    }
    weft_graph_release(graph);
    cli_progress_end();
    if (status != WEFT_OK) {
        return cli_complain_error(options->model, &error);
    }
    printf("loaded in %s (read in %s)\n",
           cli_duration((double)(cli_now_ns() - begin_ns), all),
           cli_duration((double)read_ns, read));
    return 0;
}

static int open_profiler(const cli_run_options *options, weft_profiler **profiler)
{
    weft_profiler_params params = WEFT_PROFILER_PARAMS_INIT;
    weft_error error = {0};
    params.max_events = (size_t)options->profile_events;
    if (options->profile == NULL ||
        weft_profiler_create(&params, profiler, &error) == WEFT_OK) {
        return 0;
    }
    return cli_complain_error("--profile", &error);
}

/* Every name on the command line must be one of the model's. */
static int check_names(const cli_run_options *options, const weft_model *model)
{
    for (int32_t i = 0; i < options->input_count + options->output_count; i++) {
        bool is_input = i < options->input_count;
        const cli_setting *setting = is_input
                                         ? &options->inputs[i]
                                         : &options->outputs[i - options->input_count];
        char *name = cli_format("%.*s", (int)setting->name_length, setting->name);
        int32_t index = is_input ? weft_model_find_input(model, name)
                                 : weft_model_find_output(model, name);
        if (index < 0) {
            weft_value_info info = {0};
            bool any = is_input ? weft_model_get_input(model, 0, &info)
                                : weft_model_get_output(model, 0, &info);
            cli_misuse("%s has no %s '%s'%s%s%s", options->model,
                       is_input ? "input" : "output", name,
                       any ? "; its first is '" : "", any ? info.name : "",
                       any ? "'" : "");
        }
        free(name);
        if (index < 0) {
            return CLI_EXIT_USAGE;
        }
    }
    return 0;
}

static int dump_plan(weft_model *model, const cli_case *request)
{
    weft_error error = {0};
    char *text = NULL;
    weft_tensor *outputs = cli_allocate(request->output_count, sizeof(*outputs));
    weft_io io = {request->inputs, request->input_count, outputs,
                  request->output_count};
    for (size_t i = 0; i < io.output_count; i++) {
        outputs[i].rank = -1;
    }
    weft_status status = weft_model_dump_plan(model, &io, &text, &error);
    free(outputs);
    if (status != WEFT_OK) {
        return cli_complain_error("plan", &error);
    }
    cli_print_text(stdout, text);
    weft_text_free(text);
    return 0;
}

static int write_outputs(const cli_run_options *options, const weft_model *model,
                         const cli_case *request)
{
    weft_error error = {0};
    for (int32_t i = 0; i < options->output_count; i++) {
        const cli_setting *setting = &options->outputs[i];
        char *name = cli_format("%.*s", (int)setting->name_length, setting->name);
        int32_t index = weft_model_find_output(model, name);
        free(name);
        if (weft_npy_save(setting->value, &request->expected[index], &error) !=
            WEFT_OK) {
            return cli_complain_error(setting->value, &error);
        }
        printf("%.*s -> %s\n", (int)setting->name_length, setting->name,
               setting->value);
    }
    return 0;
}

static int run_once(const cli_run_options *options, weft_model *const models[2],
                    cli_case *request)
{
    weft_model *model = models[0];
    weft_error error = {0};
    int status = cli_run_make_inputs(options, model, 0, request);
    if (status == 0 && options->dump_plan) {
        status = dump_plan(model, request);
    }
    if (status != 0) {
        return status;
    }
    cli_progress_begin("planning and running %s", options->model);
    weft_status ran = cli_case_run_alone(request, &error);
    cli_progress_end();
    if (ran != WEFT_OK) {
        return cli_complain_error(options->model, &error);
    }
    if (cli_computes_nothing(options->device)) {
        printf("the device '%s' computes nothing: there are no outputs to show\n",
               options->device);
        return 0;
    }
    if (options->output_count > 0) {
        status = write_outputs(options, model, request);
    } else {
        cli_run_print_outputs(model, request);
    }
    return status == 0 && models[1] != NULL
               ? cli_buckets_compare(&options->buckets, request, models[1],
                                     options->tolerance)
               : status;
}

/* The second model, if there is one, has the same buckets but plans all sizes exactly.
 */
static int run(const cli_run_options *options, weft_device *device,
               weft_model *const models[2])
{
    weft_model *model = models[0];
    cli_case request = {0};
    int status = check_names(options, model);
    if (status == 0) {
        status = cli_run_check_dims(options, model);
    }
    if (status == 0) {
        status = run_once(options, models, &request);
    }
    cli_case_fini(&request);
    if (status == 0 &&
        (options->threads > 1 || options->iterations > 1 || options->seconds > 0 ||
         options->check || options->way.queued)) {
        status = cli_run_threads(options, device, model);
    }
    return status;
}

const struct argp cli_parser_run = {
    list,
    parse,
    "MODEL.onnx",
    "Run a model file.\vA model of which x is the only input:\n\n"
    "  weft run model.onnx --input x=x.npy --output y=y.npy\n"
    "  weft run model.onnx --input x=random:7 --threads 8 --iterations 50 --check\n"
    "  weft run model.onnx --input x=random:7 --threads 64 --iterations 50 --queue\n\n"
    "Sentences of any length, planned for a few; the library writes the mask:\n\n"
    "  weft run encoder.onnx --input input_ids=ids.npy --check \\\n"
    "      --bucket sequence=16..512*2:mask=attention_mask",
    NULL,
    NULL,
    NULL};

int cli_command_run(int argument_count, char **arguments)
{
    cli_run_options options = {
        .device = "cpu", .threads = 1, .iterations = 1, .tolerance = 1e-4};
    weft_device *device = NULL;
    weft_model *models[2] = {NULL, NULL};
    weft_profiler *profiler = NULL;
    size_t most = (size_t)argument_count;
    cli_setting *settings = cli_allocate(3 * most, sizeof(*settings));
    options.inputs = settings;
    options.outputs = settings + most;
    options.dims = settings + 2 * most;
    cli_parse(&cli_parser_run, "run", argument_count, arguments, &options);
    if (options.model == NULL) {
        cli_usage("run", "no model given; type: weft run MODEL.onnx --input x=random");
    }
    if (cli_computes_nothing(options.device) &&
        (options.check || options.output_count > 0)) {
        cli_usage("run", "the device '%s' computes nothing, so it has no answers to %s",
                  options.device, options.check ? "check" : "write");
    }
    int status = open_profiler(&options, &profiler);
    if (status == 0) {
        status = open_model(&options, profiler, &device, models);
    }
    if (status == 0) {
        status = run(&options, device, models);
    }
    weft_model_release(models[0]);
    weft_model_release(models[1]);
    weft_device_release(device);
    if (profiler != NULL && status == 0) {
        status = cli_trace_write(profiler, options.profile) ? 0 : 1;
    }
    weft_profiler_release(profiler);
    cli_buckets_free(&options.buckets);
    free(settings);
    return status;
}
