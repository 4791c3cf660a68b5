/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect.h"

#include <argp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"

enum { KEY_ISA = 256, KEY_NO_FUSION, KEY_STEPS, KEY_HTML, KEY_JSON, KEY_BUCKET };

static error_t parse(int key, char *value, struct argp_state *state)
{
    cli_inspect_options *options = state->input;
    switch (key) {
    case 'i':
        cli_setting_add("inspect", options->inputs, &options->input_count, "--input",
                        value);
        return 0;
    case 'D':
        cli_setting_add("inspect", options->dims, &options->dim_count, "--dim", value);
        return 0;
    case KEY_BUCKET:
        cli_bucket_add("inspect", &options->buckets, value);
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
    case KEY_STEPS:
        options->all_steps = true;
        return 0;
    case KEY_HTML:
        options->html = value;
        return 0;
    case KEY_JSON:
        options->json = value;
        return 0;
    case ARGP_KEY_ARG:
        if (options->model != NULL) {
            cli_usage("inspect", "one model at a time, not '%s' too", value);
        }
        options->model = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option list[] = {
    {"dim", 'D', "NAME=SIZE", 0,
     "Size of a dynamic dimension: by its name, or as INPUT.AXIS", 0},
    {"input", 'i', "NAME=SIZES", 0, "Shape of an input, such as x=4x3x224x224", 0},
    {"bucket", KEY_BUCKET, CLI_BUCKET_ARGUMENT, 0, CLI_BUCKET_HELP, 0},
    {"steps", KEY_STEPS, NULL, 0, "List every step of the plan, not the largest", 0},
    {"html", KEY_HTML, "FILE", 0, "Write a page with the graph drawn", 0},
    {"json", KEY_JSON, "FILE", 0, "Write everything that is known", 0},
    {"device", 'd', "NAME", 0, "Device: " CLI_DEVICE_HELP, 0},
    {"isa", KEY_ISA, "ISA", 0, "CPU kernels: avx512, avx2, sse2, neon, reference", 0},
    {"no-fusion", KEY_NO_FUSION, NULL, 0, "One kernel for each operator", 0},
    {0},
};

const struct argp cli_parser_inspect = {
    list,
    parse,
    "MODEL.onnx",
    "Tell what a model is made of: inputs, operators, memory, FLOPs, the plan, and all "
    "that is not supported. Ends with 1 when anything is not.\vFor example:\n\n"
    "  weft inspect model.onnx --dim batch=4 --html model.html",
    NULL,
    NULL,
    NULL};

/* Sizes were chosen by us and do not fit: something smaller may. */
static bool sizes_fail(const cli_inspected *found)
{
    const weft_inspect_problem *problem;
    for (size_t i = 0;
         (problem = weft_inspection_problem(found->inspection, i)) != NULL; i++) {
        if (problem->status != WEFT_UNSUPPORTED) {
            return found->sizes.chosen;
        }
    }
    return false;
}

static int look(cli_inspected *found, weft_model *model)
{
    weft_error error = {0};
    weft_inspect_params params = WEFT_INSPECT_PARAMS_INIT;
    params.model = model;
    params.inputs = found->sizes.shapes;
    params.input_count = found->sizes.count;
    weft_inspection_destroy(found->inspection);
    found->inspection = NULL;
    if (weft_graph_inspect(found->graph, &params, &found->inspection, &error) !=
        WEFT_OK) {
        return cli_complain_error(found->options->model, &error);
    }
    weft_inspection_get_totals(found->inspection, &found->totals);
    weft_inspection_get_rows(found->inspection, &found->rows);
    return 0;
}

/* Looks with sizes that fit, smaller ones until they do. */
static int look_at_sizes(cli_inspected *found)
{
    for (int attempt = 0; attempt < CLI_SIZE_ATTEMPTS; attempt++) {
        int status =
            cli_inspect_sizes(found->options, found->graph, attempt, &found->sizes);
        if (status == 0) {
            status = look(found, NULL);
        }
        if (status != 0 || !sizes_fail(found)) {
            return status;
        }
    }
    int status = cli_inspect_sizes(found->options, found->graph, 0, &found->sizes);
    return status == 0 ? look(found, NULL) : status;
}

static int load(cli_inspected *found)
{
    const char *path = found->options->model;
    weft_error error = {0};
    weft_graph_load_params params = WEFT_GRAPH_LOAD_PARAMS_INIT;
    params.keep_unsupported = true;
    int64_t begin_ns = cli_now_ns();
    if (weft_graph_load_onnx(path, &params, &found->graph, &error) != WEFT_OK) {
        return cli_complain_error(path, &error);
    }
    found->load_ns = cli_now_ns() - begin_ns;
    return 0;
}

/* Makes the model and its plan, where nothing is in the way. */
static int plan(cli_inspected *found, weft_device *device)
{
    weft_error error = {0};
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_fusion = found->options->no_fusion;
    cli_buckets_set(&found->options->buckets, false, &params);
    if (found->totals.problem_count > 0) {
        return 0;
    }
    int64_t begin_ns = cli_now_ns();
    if (weft_model_create(device, found->graph, &params, &found->model, &error) !=
        WEFT_OK) {
        return cli_complain_error(found->options->model, &error);
    }
    int64_t made_ns = cli_now_ns();
    found->prepare_ns = made_ns - begin_ns;
    int status = look(found, found->model);
    found->plan_ns = cli_now_ns() - made_ns;
    return status;
}

/* Names from the model must not steer the terminal. */
static void print_text(const cli_inspected *found)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (memory != NULL) {
        cli_inspect_text(found, memory);
    }
    if (memory == NULL || fclose(memory) != 0) {
        cli_complain("out of memory");
    } else {
        cli_print_text(stdout, text);
    }
    free(text);
}

static int show(const cli_inspected *found)
{
    bool written = true;
    print_text(found);
    if (found->options->json != NULL) {
        json_t *tree = cli_inspect_tree(found);
        written = cli_output_json(tree, found->options->json);
        json_decref(tree);
    }
    if (found->options->html != NULL) {
        written = cli_inspect_html(found, found->options->html) && written;
    }
    return written && found->totals.problem_count == 0 ? 0 : 1;
}

int cli_command_inspect(int argument_count, char **arguments)
{
    cli_inspect_options options = {.device = "cpu"};
    cli_inspected found = {.options = &options};
    weft_device *device = NULL;
    size_t most = (size_t)argument_count;
    cli_setting *settings = cli_allocate(2 * most, sizeof(*settings));
    options.inputs = settings;
    options.dims = settings + most;
    cli_parse(&cli_parser_inspect, "inspect", argument_count, arguments, &options);
    if (options.model == NULL) {
        cli_usage("inspect", "no model given; type: weft inspect MODEL.onnx");
    }
    int status = cli_open_device(options.device, options.isa, &device);
    if (status == 0) {
        weft_device_get_info(device, &found.device);
        cli_progress_begin("reading %s", options.model);
        status = load(&found);
        cli_progress_say("looking at %s", options.model);
        status = status == 0 ? look_at_sizes(&found) : status;
        cli_progress_say("planning %s", options.model);
        status = status == 0 ? plan(&found, device) : status;
        cli_progress_end();
    }
    if (status == 0) {
        cli_groups_make(found.inspection, &found.groups);
        status = show(&found);
    }
    cli_groups_free(&found.groups);
    cli_buckets_free(&options.buckets);
    free(found.sizes.shapes);
    free(settings);
    weft_inspection_destroy(found.inspection);
    weft_model_release(found.model);
    weft_graph_release(found.graph);
    weft_device_release(device);
    return status;
}
