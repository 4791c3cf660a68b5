/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sweep.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/html.h"
#include "cli/measure.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/progress.h"

enum { MOST_SETTINGS = 256, MOST_LANES = 4, QUEUE_IN_FLIGHT = 4, NAME_SIZE = 96 };

/* A setting and what it gave. */
typedef struct setting {
    bool queued;
    int32_t threads, batch;
    double rows_per_second, calls_per_second, p50_ns, p99_ns;
    double mean_ns; /* of an answer, waits for a core included */
    double joined;  /* requests in a batch of the queue */
} setting;

typedef struct sweep {
    const cli_sweep_options *options;
    weft_device *device;
    weft_model *model;
    weft_device_info info;
    cli_sizes sizes;
    int32_t *axes; /* of the batch dimension in each input, -1: none */
    bool joins, has_batch;
    char dimension[NAME_SIZE], why[600];
    setting settings[MOST_SETTINGS];
    size_t count;
} sweep;

/* The batch dimension is swept: takes it out of what was chosen. */
static void unsay(sweep *self)
{
    char word[NAME_SIZE + 2];
    int length = snprintf(word, sizeof(word), "%s=1", self->dimension);
    char *at = self->has_batch ? strstr(self->sizes.said, word) : NULL;
    if (at != NULL) {
        char *rest = at + length;
        rest += *rest == ' ' ? 1 : 0;
        memmove(at, rest, strlen(rest) + 1);
    }
}

/* Where the batch dimension is: by its name, or axis 0 of the only dynamic input. */
static void find_axes(sweep *self, const weft_inspect_rows *rows)
{
    weft_value_info info;
    self->has_batch = rows->joins;
    self->axes = cli_allocate(weft_model_input_count(self->model), sizeof(*self->axes));
    for (size_t i = 0; weft_model_get_input(self->model, i, &info); i++) {
        self->axes[i] = -1;
        for (int32_t k = 0; k < info.rank && self->axes[i] < 0; k++) {
            bool named = rows->dimension != NULL && info.dim_names[k] != NULL &&
                         strcmp(info.dim_names[k], rows->dimension) == 0;
            bool first = rows->dimension == NULL && k == 0;
            self->axes[i] = info.dims[k] < 0 && (named || first) ? k : -1;
        }
        self->has_batch = self->has_batch && self->axes[i] >= 0;
    }
}

static int look(sweep *self, weft_graph *graph)
{
    weft_error error = {0};
    weft_inspection *inspection = NULL;
    weft_inspect_params params = WEFT_INSPECT_PARAMS_INIT;
    weft_status status = WEFT_INVALID_ARGUMENT;
    weft_inspect_totals totals = {0};
    /* Smaller sizes until the model takes them. */
    for (int attempt = 0; attempt < CLI_SIZE_ATTEMPTS; attempt++) {
        int chosen =
            cli_inspect_sizes(&self->options->model, graph, attempt, &self->sizes);
        if (chosen != 0) {
            return chosen;
        }
        params.model = self->model;
        params.inputs = self->sizes.shapes;
        params.input_count = self->sizes.count;
        weft_inspection_destroy(inspection);
        inspection = NULL;
        status = weft_graph_inspect(graph, &params, &inspection, &error);
        if (status != WEFT_OK) {
            break;
        }
        weft_inspection_get_totals(inspection, &totals);
        if (totals.problem_count == 0 || !self->sizes.chosen) {
            break;
        }
    }
    if (status == WEFT_OK && totals.problem_count == 0) {
        weft_inspect_rows rows;
        weft_inspection_get_rows(inspection, &rows);
        self->joins = rows.joins;
        snprintf(self->dimension, sizeof(self->dimension), "%s",
                 rows.dimension != NULL ? rows.dimension : "axis 0");
        snprintf(self->why, sizeof(self->why), "%s",
                 rows.is_known ? rows.reason
                               : "only a run tells the shapes, so it cannot be told "
                                 "whether rows may be joined");
        find_axes(self, &rows);
        unsay(self);
    }
    int result = 0;
    if (status != WEFT_OK) {
        result = cli_complain_error(self->options->model.model, &error);
    } else if (totals.problem_count > 0) {
        result = cli_complain("%s: %s", self->options->model.model,
                              weft_inspection_problem(inspection, 0)->text);
    }
    weft_inspection_destroy(inspection);
    return result;
}

static int open_model(sweep *self)
{
    const cli_inspect_options *model = &self->options->model;
    weft_error error = {0};
    weft_graph *graph = NULL;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.precision = self->options->precision;
    int status = cli_open_device(model->device, model->isa, &self->device);
    if (status != 0) {
        return status;
    }
    cli_buckets_set(&model->buckets, false, &params);
    weft_device_get_info(self->device, &self->info);
    cli_progress_begin("reading %s", model->model);
    if (weft_graph_load_onnx(model->model, NULL, &graph, &error) != WEFT_OK ||
        weft_model_create(self->device, graph, &params, &self->model, &error) !=
            WEFT_OK) {
        status = cli_complain_error(model->model, &error);
    } else {
        status = look(self, graph);
    }
    cli_progress_end();
    weft_graph_release(graph);
    return status;
}

/* The inputs of one lane with a number of rows: random, in the shapes chosen. */
static int make_case(const sweep *self, int32_t lane, int32_t batch, cli_case *request)
{
    cli_run_options *run = cli_allocate(1, sizeof(*run));
    size_t input_count = weft_model_input_count(self->model);
    size_t dim_count = input_count * WEFT_MAX_RANK;
    cli_setting *settings = cli_allocate(input_count + dim_count, sizeof(*settings));
    char **texts = cli_allocate(input_count + dim_count, sizeof(*texts));
    size_t text_count = 0;
    weft_value_info info;
    run->model = self->options->model.model;
    run->inputs = settings;
    run->dims = settings + input_count;
    for (size_t i = 0; weft_model_get_input(self->model, i, &info); i++) {
        if (!weft_model_input_is_mask(self->model, i)) {
            texts[text_count] = cli_format("%s=random:7", info.name);
            cli_setting_parse(texts[text_count++], &run->inputs[run->input_count++]);
        }
        for (int32_t k = 0; k < info.rank; k++) {
            if (info.dims[k] >= 0) {
                continue;
            }
            bool rows = self->has_batch && k == self->axes[i];
            long long size = rows ? batch : self->sizes.shapes[i].dims[k];
            texts[text_count] = cli_format("%s.%d=%lld", info.name, (int)k, size);
            cli_setting_parse(texts[text_count++], &run->dims[run->dim_count++]);
        }
    }
    int status = cli_run_make_inputs(run, self->model, lane, request);
    for (size_t i = 0; i < text_count; i++) {
        free(texts[i]);
    }
    free(texts);
    free(settings);
    free(run);
    return status;
}

static int prepare(const sweep *self, const setting *what, cli_trial *trial)
{
    weft_error error = {0};
    trial->device = weft_device_retain(self->device);
    trial->lane_count = what->threads < MOST_LANES ? what->threads : MOST_LANES;
    trial->lanes = cli_allocate((size_t)trial->lane_count, sizeof(*trial->lanes));
    for (int32_t i = 0; i < trial->lane_count; i++) {
        cli_lane *lane = &trial->lanes[i];
        lane->row = trial->row;
        lane->case_count = 1;
        lane->cases = cli_allocate(1, sizeof(*lane->cases));
        int status = make_case(self, i, what->batch, &lane->cases[0]);
        if (status != 0) {
            return status;
        }
        if (cli_case_run_alone(&lane->cases[0], &error) != WEFT_OK) {
            return cli_complain_error(self->options->model.model, &error);
        }
    }
    return 0;
}

static int run_setting(const sweep *self, const cli_trial *trial, setting *what)
{
    char reason[CLI_REASON_SIZE];
    weft_error error = {0};
    cli_pass pass = {0};
    cli_way way = {.queued = what->queued};
    cli_pass_params params = {.threads = what->threads,
                              .iterations = 1,
                              .seconds = self->options->seconds,
                              .compare_none =
                                  cli_computes_nothing(self->options->model.device),
                              .in_flight = what->queued ? QUEUE_IN_FLIGHT : 0};
    if (what->queued && cli_queue_open(trial, &way, &params.queue, &error) != WEFT_OK) {
        return cli_complain_error("queue", &error);
    }
    cli_pass_run(trial, &params, &pass);
    if (params.queue != NULL && !cli_queue_shut(params.queue, reason)) {
        return cli_complain("%s", reason);
    }
    if (pass.wrong > 0 || pass.failed > 0) {
        return cli_complain("%s", pass.reason);
    }
    what->calls_per_second = (double)pass.calls / pass.seconds;
    what->rows_per_second = what->calls_per_second * what->batch;
    int32_t at_once = what->threads * (what->queued ? QUEUE_IN_FLIGHT : 1);
    what->mean_ns = 1e9 * at_once / what->calls_per_second;
    what->p50_ns = pass.p50_ns;
    what->p99_ns = pass.p99_ns;
    what->joined = what->queued ? cli_queue_mean_requests(&pass.queue) : 0;
    return 0;
}

static int measure(sweep *self, bool queued, int32_t threads, int32_t batch)
{
    if (self->count == MOST_SETTINGS) {
        return 0;
    }
    setting *what = &self->settings[self->count];
    cli_row row = {.name = self->options->model.model};
    cli_trial *trial = cli_allocate(1, sizeof(*trial));
    *what = (setting){.queued = queued, .threads = threads, .batch = batch};
    trial->row = &row;
    cli_progress_say("%s, %d thread%s, batch %d", queued ? "queue" : "direct",
                     (int)threads, threads == 1 ? "" : "s", (int)batch);
    int status = prepare(self, what, trial);
    if (status == 0) {
        status = run_setting(self, trial, what);
    }
    cli_trial_destroy(trial);
    self->count += status == 0 ? 1 : 0;
    return status;
}

/* 1, 2, 4 ... up to twice the cores. */
static cli_counts usual_threads(const sweep *self)
{
    cli_counts counts = {.count = 0};
    for (int32_t n = 1; n <= 2 * self->info.core_count && n <= CLI_MAX_THREADS &&
                        counts.count < CLI_MAX_COUNTS;
         n *= 2) {
        counts.values[counts.count++] = n;
    }
    return counts;
}

static int measure_all(sweep *self)
{
    static const cli_counts usual_batches = {{1, 2, 4, 8, 16, 32}, 6}, one = {{1}, 1};
    cli_counts threads =
        self->options->threads.count > 0 ? self->options->threads : usual_threads(self);
    cli_counts batches = !self->has_batch                   ? one
                         : self->options->batches.count > 0 ? self->options->batches
                                                            : usual_batches;
    int status = 0;
    cli_progress_begin("measuring %s", self->options->model.model);
    for (int32_t i = 0; i < threads.count && status == 0; i++) {
        for (int32_t k = 0; k < batches.count && status == 0; k++) {
            status = measure(self, false, threads.values[i], batches.values[k]);
        }
    }
    for (int32_t i = 0; i < threads.count && status == 0 && self->joins; i++) {
        int32_t most = 4 * threads.values[i];
        status =
            measure(self, true, most < CLI_MAX_THREADS ? most : CLI_MAX_THREADS, 1);
    }
    cli_progress_end();
    return status;
}

static const setting *fastest(const sweep *self)
{
    const setting *best = &self->settings[0];
    for (size_t i = 1; i < self->count; i++) {
        const setting *other = &self->settings[i];
        best = other->rows_per_second > best->rows_per_second ? other : best;
    }
    return best;
}

/* The quickest answer among settings that reach a part of the highest rate. */
static const setting *quickest(const sweep *self, double part)
{
    double least = part * fastest(self)->rows_per_second;
    const setting *best = NULL;
    for (size_t i = 0; i < self->count; i++) {
        const setting *other = &self->settings[i];
        if (other->rows_per_second >= least &&
            (best == NULL || other->mean_ns < best->mean_ns)) {
            best = other;
        }
    }
    return best;
}

/* "direct calls from 2 threads with a batch of 4" */
static const char *say(const setting *what, char text[160])
{
    const char *plural = what->threads == 1 ? "" : "s";
    if (what->queued) {
        snprintf(text, 160, "a queue with single rows from %d thread%s",
                 (int)what->threads, plural);
    } else if (what->batch == 1) {
        snprintf(text, 160, "direct calls of single rows from %d thread%s",
                 (int)what->threads, plural);
    } else {
        snprintf(text, 160, "direct calls from %d thread%s with a batch of %d",
                 (int)what->threads, plural, (int)what->batch);
    }
    return text;
}

#define KNEE 0.9

static void write_advice(const sweep *self, FILE *file)
{
    char rate[32], mean[32], words[160];
    const setting *high = fastest(self), *low = quickest(self, 0),
                  *knee = quickest(self, KNEE);
    fprintf(file, "Highest throughput: %s:\n  %s rows/s, mean %s.\n", say(high, words),
            cli_thousands(high->rows_per_second, rate),
            cli_duration(high->mean_ns, mean));
    fprintf(file, "Lowest latency: %s:\n  mean %s, %s rows/s.\n", say(low, words),
            cli_duration(low->mean_ns, mean),
            cli_thousands(low->rows_per_second, rate));
    fprintf(file, "Use %s:\n  %.0f %% of the highest throughput, mean %s.\n",
            say(knee, words), 100 * knee->rows_per_second / high->rows_per_second,
            cli_duration(knee->mean_ns, mean));
}

static void write_head(const sweep *self, FILE *file)
{
    fprintf(file, "%s on %s (%s, %d cores), %g s each", self->options->model.model,
            self->info.name, self->info.isa, (int)self->info.core_count,
            self->options->seconds);
    if (self->sizes.said[0] != '\0') {
        fprintf(file, "; with %s (no size given: --dim)", self->sizes.said);
    }
    fputc('\n', file);
    if (self->joins) {
        fprintf(file, "rows are joined along '%s'\n", self->dimension);
    } else {
        fprintf(file, "no batches: %s\n", self->why);
    }
}

static void print_table(const sweep *self)
{
    write_head(self, stdout);
    printf("\n%-7s %8s %6s %13s %11s %11s %11s\n", "way", "threads", "batch", "rows/s",
           "mean", "P50", "P99");
    for (size_t i = 0; i < self->count; i++) {
        char rate[32], mean[32], p50[32], p99[32], batch[32];
        const setting *what = &self->settings[i];
        snprintf(batch, sizeof(batch), what->queued ? "~%.1f" : "%.0f",
                 what->queued ? what->joined : what->batch);
        printf("%-7s %8d %6s %13s %11s %11s %11s\n", what->queued ? "queue" : "direct",
               (int)what->threads, batch, cli_thousands(what->rows_per_second, rate),
               cli_duration(what->mean_ns, mean), cli_duration(what->p50_ns, p50),
               cli_duration(what->p99_ns, p99));
    }
    putchar('\n');
    write_advice(self, stdout);
}

static json_t *tree_of(const setting *what)
{
    return json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "way",
                     what->queued ? "queue" : "direct", "threads", (int)what->threads,
                     "batch", (int)what->batch, "rows_per_second",
                     what->rows_per_second, "calls_per_second", what->calls_per_second,
                     "mean_ns", what->mean_ns, "p50_ns", what->p50_ns, "p99_ns",
                     what->p99_ns, "requests_in_a_batch", what->joined);
}

static bool write_json(const sweep *self)
{
    json_t *list = json_array();
    for (size_t i = 0; i < self->count; i++) {
        json_array_append_new(list, tree_of(&self->settings[i]));
    }
    json_t *model = json_string(self->options->model.model);
    json_t *root =
        json_pack("{s:s, s:o, s:i, s:s, s:o, s:o, s:o, s:o}", "weft", weft_build_id(),
                  "model", model != NULL ? model : json_string("?"), "cores",
                  (int)self->info.core_count, "isa", self->info.isa, "settings", list,
                  "highest_throughput", tree_of(fastest(self)), "lowest_latency",
                  tree_of(quickest(self, 0)), "knee", tree_of(quickest(self, KNEE)));
    bool written = cli_output_json(root, self->options->json);
    json_decref(root);
    return written;
}

static bool write_html(const sweep *self)
{
    cli_output output;
    if (!cli_output_begin(&output, self->options->html)) {
        return false;
    }
    FILE *file = output.file;
    fprintf(file,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
            "name=\"viewport\" content=\"width=device-width\"><title>weft bench"
            "</title>\n<style>\n%s</style></head><body>\n<h1>",
            cli_page_inspect_css);
    cli_html_text(file, self->options->model.model);
    fprintf(file, "</h1>\n<p class=\"soft\">%s, %d cores, %g s for each setting",
            self->info.isa, (int)self->info.core_count, self->options->seconds);
    cli_html_text(file, self->sizes.said[0] != '\0' ? "; with " : "");
    cli_html_text(file, self->sizes.said);
    fputs("</p>\n<p style=\"white-space:pre-line\">", file);
    write_advice(self, file);
    fputs("</p>\n<div class=\"wide\"><table><thead><tr><th class=\"w\">way</th>"
          "<th>threads</th><th>batch</th><th>rows/s</th><th class=\"w\"></th>"
          "<th>mean</th><th>P50</th><th>P99</th></tr></thead><tbody>\n",
          file);
    double most = fastest(self)->rows_per_second;
    for (size_t i = 0; i < self->count; i++) {
        char rate[32], mean[32], p50[32], p99[32];
        const setting *what = &self->settings[i];
        fprintf(file,
                "<tr><td class=\"w\">%s</td><td>%d</td><td>%.3g</td><td>%s</td>"
                "<td class=\"bars\"><span class=\"bar%s\" style=\"width:%.1f%%\">"
                "</span></td><td class=\"n\">%s</td><td class=\"n\">%s</td>"
                "<td class=\"n\">%s</td></tr>\n",
                what->queued ? "queue" : "direct", (int)what->threads,
                what->queued ? what->joined : what->batch,
                cli_thousands(what->rows_per_second, rate), what->queued ? " two" : "",
                100 * what->rows_per_second / most, cli_duration(what->mean_ns, mean),
                cli_duration(what->p50_ns, p50), cli_duration(what->p99_ns, p99));
    }
    fputs("</tbody></table></div>\n</body></html>\n", file);
    return cli_output_end(&output, true);
}

int cli_sweep(const cli_sweep_options *options)
{
    sweep *self = cli_allocate(1, sizeof(*self));
    self->options = options;
    int status = open_model(self);
    if (status == 0) {
        status = measure_all(self);
    }
    if (status == 0 && self->count > 0) {
        print_table(self);
        bool written = options->json == NULL || write_json(self);
        written = (options->html == NULL || write_html(self)) && written;
        status = written ? 0 : 1;
    }
    weft_model_release(self->model);
    weft_device_release(self->device);
    free(self->axes);
    free(self->sizes.shapes);
    free(self);
    return status;
}
