/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 42, LEAST_LANES = 8 };

/* What the lanes of a row may take together once every one of 8 threads has its own. */
static const double LANES_BYTES = 1 << 30;
static const double LANES_FLOPS = 8e9;

static weft_status no_room(const char *name, const weft_tensor *tensor,
                           weft_status status, weft_error *error)
{
    char shape[200] = "";
    int written = 0;
    for (int32_t i = 0; i < tensor->rank && i < WEFT_MAX_RANK; i++) {
        written += snprintf(shape + written, sizeof(shape) - (size_t)written, "%s%lld",
                            i > 0 ? "," : "", (long long)tensor->dims[i]);
    }
    snprintf(error->message, sizeof(error->message), "%s for '%.200s', %s [%s]",
             status == WEFT_OUT_OF_MEMORY ? "out of memory" : "no room is large enough",
             name, weft_type_name(tensor->type), shape);
    return error->status = status;
}

weft_status cli_tensor_allocate(const char *name, weft_tensor *tensor,
                                weft_error *error)
{
    size_t size_bytes = 0;
    weft_status status = weft_tensor_measure(tensor, NULL, &size_bytes, NULL);
    if (status != WEFT_OK) {
        return no_room(name, tensor, status, error);
    }
    tensor->data = cli_try_allocate_data(size_bytes);
    if (tensor->data == NULL) {
        return no_room(name, tensor, WEFT_OUT_OF_MEMORY, error);
    }
    tensor->size_bytes = size_bytes;
    return WEFT_OK;
}

void cli_case_init(cli_case *request, weft_model *model)
{
    request->model = model;
    request->input_count = weft_model_input_count(model);
    request->output_count = weft_model_output_count(model);
    request->inputs = cli_allocate(request->input_count, sizeof(weft_tensor));
    request->expected = cli_allocate(request->output_count, sizeof(weft_tensor));
    request->recorded = cli_allocate(request->output_count, sizeof(weft_tensor));
}

/* What answers of a precision may be off by, as a part of their size. bf16 rounds each
 * operand by up to 2^-8 of it, the others by up to 2^-11; in a sum these go either way.
 * The tables' nets lose up to 0.6 of this: most those whose last sums are much smaller
 * than their terms. */
static const double tolerances[WEFT_PRECISION_COUNT] = {
    [WEFT_PRECISION_TF32] = 0x1p-7,
    [WEFT_PRECISION_BF16] = 0x1p-4,
    [WEFT_PRECISION_F16] = 0x1p-7,
};

double cli_tolerance(weft_precision precision)
{
    return tolerances[precision];
}

typedef struct allowance {
    double atol, rtol;
} allowance;

/* A sum may come out near zero whatever its terms lost: so all values of an output are
 * measured by their root mean square too. */
static allowance allow(const cli_lane *lane, double squares, int64_t count)
{
    const double tolerance = tolerances[lane->precision];
    if (lane->precision == WEFT_PRECISION_F32 || count == 0) {
        return (allowance){lane->row->atol, lane->row->rtol};
    }
    return (allowance){tolerance * sqrt(squares / (double)count), tolerance};
}

static void judge(cli_judgement *judgement, allowance allowed, double answer,
                  double reference)
{
    double error = fabs(answer - reference);
    double most = allowed.atol + allowed.rtol * fabs(reference);
    double fraction = error == 0 ? 0 : error / most;
    judgement->value_count++;
    if (!(fraction <= 1)) { /* also when it is not a number */
        judgement->wrong_count++;
    }
    if (!(error <= judgement->largest_error)) {
        judgement->largest_error = error;
    }
    if (!(fraction <= judgement->largest_fraction)) {
        judgement->largest_fraction = fraction;
    }
}

void cli_judge_f64(cli_lane *lane, const float *answer, const double *reference,
                   int64_t count)
{
    double squares = 0;
    for (int64_t i = 0; i < count; i++) {
        squares += reference[i] * reference[i];
    }
    const allowance allowed = allow(lane, squares, count);
    for (int64_t i = 0; i < count; i++) {
        judge(&lane->judgement, allowed, answer[i], reference[i]);
    }
}

void cli_judge_f32(cli_lane *lane, const float *answer, const float *recorded,
                   int64_t count)
{
    double squares = 0;
    for (int64_t i = 0; i < count; i++) {
        squares += (double)recorded[i] * (double)recorded[i];
    }
    const allowance allowed = allow(lane, squares, count);
    for (int64_t i = 0; i < count; i++) {
        judge(&lane->judgement, allowed, answer[i], recorded[i]);
    }
}

static void make_inputs(cli_lane *lane, uint32_t thread)
{
    const cli_row *row = lane->row;
    weft_error error = {0};
    lane->case_count = row->distinct;
    lane->cases = cli_allocate((size_t)row->distinct, sizeof(*lane->cases));
    for (int32_t i = 0; i < row->distinct; i++) {
        cli_case *request = &lane->cases[i];
        cli_case_init(request, lane->models[0]);
        for (int32_t k = 0; k < row->input_count; k++) {
            weft_tensor *tensor = &request->inputs[k];
            weft_random_key key = {SEED, row->stream, thread, (uint32_t)(i * 16 + k)};
            *tensor = row->inputs[k];
            if (cli_tensor_allocate("input", tensor, &error) != WEFT_OK) {
                snprintf(lane->failure, sizeof(lane->failure), "%s", error.message);
                return;
            }
            weft_random_fill_normal(&key, tensor->data,
                                    tensor->size_bytes / sizeof(float));
        }
    }
}

static weft_status build_model(cli_lane *lane, weft_device *device, uint32_t thread,
                               weft_error *error)
{
    const cli_row *row = lane->row;
    weft_random_key key = {SEED, row->stream, thread, 0};
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    weft_graph *graph = NULL;
    weft_tensor inputs[CLI_ROW_MAX_INPUTS];
    memcpy(inputs, row->inputs, sizeof(inputs));
    for (int32_t i = 0; i < row->input_count && row->dynamic_batch; i++) {
        inputs[i].dims[0] = WEFT_DIM_DYNAMIC;
    }
    params.no_fusion = row->no_fusion;
    params.precision = lane->precision;
    cli_weights_init(&lane->weights, row->layers, row->normal_weights, key);
    weft_status status = cli_layers_build(row->layers, &lane->weights, inputs,
                                          row->input_count, &graph, error);
    if (status == WEFT_OK) {
        status = weft_model_create(device, graph, &params, &lane->models[0], error);
    }
    weft_graph_release(graph);
    return status;
}

/* Gives the lane of one thread its model and its requests. */
static void prepare_lane(void *user, int32_t index)
{
    cli_trial *trial = user;
    cli_lane *lane = &trial->lanes[index];
    const cli_row *row = trial->row;
    weft_error error = {0};
    if (lane->row != NULL) {
        return; /* the first one, whose model the others share */
    }
    lane->row = row->part_count > 0 ? row->parts[index % row->part_count] : row;
    lane->precision = row->precision;
    if (row->golden != NULL) {
        cli_lane_load_golden(lane, trial->device, index);
        return;
    }
    if (row->shared_model && index > 0) {
        lane->models[0] = weft_model_retain(trial->lanes[0].models[0]);
    } else if (build_model(lane, trial->device, (uint32_t)index, &error) != WEFT_OK) {
        snprintf(lane->failure, sizeof(lane->failure), "%s", error.message);
        return;
    }
    make_inputs(lane, (uint32_t)index);
}

/* Copies data that the library has allocated into memory of ours. */
static weft_status take_over(const char *name, weft_tensor *tensor, weft_error *error)
{
    weft_tensor given = *tensor;
    tensor->data = NULL;
    if (given.data == NULL) {
        return WEFT_OK;
    }
    weft_status status = cli_tensor_allocate(name, tensor, error);
    if (status == WEFT_OK) {
        memcpy(tensor->data, given.data, tensor->size_bytes);
    }
    weft_output_free(&given);
    return status;
}

weft_status cli_case_run_alone(cli_case *request, weft_error *error)
{
    weft_io io = {request->inputs, request->input_count, request->expected,
                  request->output_count};
    weft_status status = weft_model_infer_outputs(request->model, &io, error);
    for (size_t i = 0; status == WEFT_OK && i < request->output_count; i++) {
        weft_value_info info = {.name = ""};
        weft_model_get_output(request->model, i, &info);
        request->expected[i].data = NULL;
        if (request->expected[i].rank < 0) {
            continue; /* only the run knows its shape */
        }
        status = cli_tensor_allocate(info.name, &request->expected[i], error);
    }
    bool *open = cli_allocate(request->output_count, sizeof(*open));
    for (size_t i = 0; i < request->output_count; i++) {
        open[i] = request->expected[i].rank < 0;
    }
    status = status != WEFT_OK ? status : weft_run(request->model, &io, NULL, error);
    for (size_t i = 0; i < request->output_count; i++) {
        weft_value_info info = {.name = ""};
        weft_model_get_output(request->model, i, &info);
        if (open[i]) {
            weft_status taken = take_over(info.name, &request->expected[i], error);
            status = status == WEFT_OK ? taken : status;
        }
    }
    free(open);
    return status;
}

void cli_case_fini(cli_case *request)
{
    for (size_t i = 0; i < request->input_count; i++) {
        free(request->inputs[i].data);
    }
    for (size_t i = 0; i < request->output_count; i++) {
        free(request->expected[i].data);
        free(request->recorded[i].data);
    }
    free(request->inputs);
    free(request->expected);
    free(request->recorded);
    memset(request, 0, sizeof(*request));
}

static void judge_built(cli_lane *lane, const cli_weights *weights)
{
    for (int32_t i = 0; i < lane->case_count; i++) {
        const cli_case *request = &lane->cases[i];
        double *values = NULL;
        int64_t count = 0;
        cli_layers_reference(lane->row->layers, weights, request->inputs, &values,
                             &count);
        if ((size_t)count * sizeof(float) != request->expected[0].size_bytes) {
            snprintf(lane->failure, sizeof(lane->failure),
                     "the answer has %zu bytes, the reference %lld values",
                     request->expected[0].size_bytes, (long long)count);
        } else {
            cli_judge_f64(lane, request->expected[0].data, values, count);
        }
        free(values);
    }
}

static void judge_lane(void *user, int32_t index)
{
    cli_trial *trial = user;
    cli_lane *lane = &trial->lanes[index];
    if (lane->failure[0] != '\0') {
        return;
    }
    if (lane->row->golden != NULL) {
        cli_lane_judge_golden(lane);
    } else if (lane->row->shared_model) {
        judge_built(lane, &trial->lanes[0].weights); /* others use them too */
    } else {
        judge_built(lane, &lane->weights);
        cli_weights_fini(&lane->weights);
    }
    const cli_judgement *judgement = &lane->judgement;
    if (judgement->wrong_count > 0 && lane->failure[0] == '\0') {
        snprintf(lane->failure, sizeof(lane->failure),
                 "%llu of %llu values differ from the reference by more than allowed "
                 "(largest error %.3g)",
                 (unsigned long long)judgement->wrong_count,
                 (unsigned long long)judgement->value_count, judgement->largest_error);
    }
}

static void gather(cli_trial *trial)
{
    for (int32_t i = 0; i < trial->lane_count; i++) {
        const cli_lane *lane = &trial->lanes[i];
        cli_judgement *all = &trial->judgement;
        all->value_count += lane->judgement.value_count;
        all->wrong_count += lane->judgement.wrong_count;
        all->largest_error = fmax(all->largest_error, lane->judgement.largest_error);
        all->largest_fraction =
            fmax(all->largest_fraction, lane->judgement.largest_fraction);
        if (lane->failure[0] != '\0' && trial->failure[0] == '\0') {
            snprintf(trial->failure, sizeof(trial->failure), "thread %d: %.500s", i,
                     lane->failure);
        }
    }
}

/* How many lanes a row gets: one of each thread. Beyond 8 threads, rows with large
 * tensors or much arithmetic get fewer: making and judging their requests would take
 * most of a report's time and memory. */
static int32_t count_lanes(const cli_row *row, int32_t threads)
{
    double bytes = (double)cli_row_lane_bytes(row);
    double flops = cli_row_flops(row) * row->distinct;
    double lanes = threads;
    if (bytes > 0) {
        lanes = fmin(lanes, fmax(LEAST_LANES, LANES_BYTES / bytes));
        lanes = fmin(lanes, (double)cli_available_bytes() / 2 / bytes);
    }
    if (flops > 0) {
        lanes = fmin(lanes, fmax(LEAST_LANES, LANES_FLOPS / flops));
    }
    return lanes < 1 ? 1 : (int32_t)lanes;
}

cli_trial *cli_trial_create(weft_device *device, const cli_row *row, int32_t threads)
{
    cli_trial *trial = cli_allocate(1, sizeof(*trial));
    trial->row = row;
    trial->device = weft_device_retain(device);
    trial->lane_count = count_lanes(row, threads);
    trial->lanes = cli_allocate((size_t)trial->lane_count, sizeof(*trial->lanes));
    if (row->shared_model) {
        prepare_lane(trial, 0);
        if (trial->lanes[0].failure[0] != '\0') {
            gather(trial);
            return trial;
        }
    }
    cli_parallel(trial->lane_count, prepare_lane, trial);
    for (int32_t i = 0; i < trial->lane_count; i++) {
        cli_lane *lane = &trial->lanes[i];
        for (int32_t k = 0; k < lane->case_count && lane->failure[0] == '\0'; k++) {
            weft_error error = {0};
            if (cli_case_run_alone(&lane->cases[k], &error) != WEFT_OK) {
                snprintf(lane->failure, sizeof(lane->failure), "alone: %s",
                         error.message);
            }
        }
    }
    cli_parallel(trial->lane_count, judge_lane, trial);
    gather(trial);
    return trial;
}

static void destroy_lane(cli_lane *lane)
{
    for (int32_t i = 0; i < lane->case_count; i++) {
        cli_case_fini(&lane->cases[i]);
    }
    free(lane->cases);
    cli_weights_fini(&lane->weights);
    weft_model_release(lane->models[0]);
    weft_model_release(lane->models[1]);
}

void cli_trial_destroy(cli_trial *trial)
{
    if (trial == NULL) {
        return;
    }
    for (int32_t i = 0; i < trial->lane_count; i++) {
        destroy_lane(&trial->lanes[i]);
    }
    free(trial->lanes);
    weft_device_release(trial->device);
    free(trial);
}
