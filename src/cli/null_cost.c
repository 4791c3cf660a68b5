/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/null_cost.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/output.h"

enum { WARM_CALLS = 1000, CALLS_PER_LOOK = 256, REPEATS = 3 };

/* One thread's part of a measurement. */
typedef struct caller {
    weft_device *device;
    weft_model *model;
    pthread_barrier_t *barrier;
    double seconds;
    bool leased; /* in a context leased once; else weft_run */
    uint64_t calls;
    int64_t took_ns;
    weft_status status;
} caller;

static weft_status call(caller *self, weft_context *context)
{
    float x[4] = {1, 2, 3, 4};
    float y[4];
    weft_tensor input = {.data = x, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    weft_tensor output = {.data = y, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    weft_io io = {&input, 1, &output, 1};
    return context != NULL ? weft_context_run(context, self->model, &io, NULL)
                           : weft_run(self->model, &io, NULL, NULL);
}

static void *caller_main(void *user)
{
    caller *self = user;
    weft_context *context = NULL;
    int64_t limit_ns = (int64_t)(self->seconds * 1e9);
    if (self->leased) {
        self->status = weft_context_acquire(self->device, NULL, &context, NULL);
    }
    for (int i = 0; i < WARM_CALLS && self->status == WEFT_OK; i++) {
        self->status = call(self, context);
    }
    pthread_barrier_wait(self->barrier);
    int64_t start_ns = cli_now_ns();
    while (self->status == WEFT_OK && self->took_ns < limit_ns) {
        for (int i = 0; i < CALLS_PER_LOOK && self->status == WEFT_OK; i++) {
            self->status = call(self, context);
        }
        self->calls += CALLS_PER_LOOK;
        self->took_ns = cli_now_ns() - start_ns;
    }
    weft_context_release(context);
    return NULL;
}

/* Calls per second of all threads together; 0 when a call failed. */
static double measure(const caller *like, int32_t threads)
{
    caller callers[CLI_MAX_THREADS];
    pthread_t handles[CLI_MAX_THREADS];
    pthread_barrier_t barrier;
    double rate = 0;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int32_t i = 0; i < threads; i++) {
        callers[i] = *like;
        callers[i].barrier = &barrier;
        if (pthread_create(&handles[i], NULL, caller_main, &callers[i]) != 0) {
            exit(cli_complain("cannot start %d threads", threads));
        }
    }
    for (int32_t i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
        rate += (double)callers[i].calls / (double)callers[i].took_ns * 1e9;
    }
    for (int32_t i = 0; i < threads; i++) {
        rate = callers[i].status == WEFT_OK ? rate : 0;
    }
    pthread_barrier_destroy(&barrier);
    return rate;
}

static double best_of(caller *like, int32_t threads, bool leased)
{
    double best = 0;
    like->leased = leased;
    for (int i = 0; i < REPEATS; i++) {
        double rate = measure(like, threads);
        best = rate > best ? rate : best;
    }
    return best;
}

static weft_status open_model(weft_device *device, weft_model **model,
                              weft_error *error)
{
    static const cli_layer layers[] = {{.kind = CLI_LAYER_RELU}, {0}};
    cli_weights weights = {.count = 0};
    weft_tensor input = CLI_SHAPE1(4);
    weft_graph *graph = NULL;
    weft_status status = cli_layers_build(layers, &weights, &input, 1, &graph, error);
    if (status == WEFT_OK) {
        status = weft_model_create(device, graph, NULL, model, error);
    }
    weft_graph_release(graph);
    return status;
}

static bool write_json(const char *path, json_t *lines)
{
    json_t *root = json_pack("{s:s, s:i, s:o}", "weft", weft_build_id(), "cores",
                             (int)cli_core_count(), "null", lines);
    bool written = cli_output_json(root, path);
    json_decref(root);
    return written;
}

static bool print_lines(caller *like, const cli_counts *counts, json_t *lines)
{
    bool all_done = true;
    int32_t cores = cli_core_count();
    printf("fixed cost of a call on the null backend, %d cores, best of %d\n\n", cores,
           REPEATS);
    printf("%8s %24s %24s\n", "", "leased context", "weft_run");
    printf("%8s %12s %11s %12s %11s\n", "threads", "ns/call", "calls/s", "ns/call",
           "calls/s");
    for (int32_t i = 0; i < counts->count; i++) {
        char leased_text[32], run_text[32];
        int32_t threads = counts->values[i];
        double leased = best_of(like, threads, true);
        double run = best_of(like, threads, false);
        /* Of a core's time: more threads than cores share them. */
        double busy = threads < cores ? threads : cores;
        all_done = all_done && leased > 0 && run > 0;
        printf("%8d %12.0f %11s %12.0f %11s\n", threads, 1e9 * busy / leased,
               cli_thousands(leased, leased_text), 1e9 * busy / run,
               cli_thousands(run, run_text));
        json_array_append_new(
            lines, json_pack("{s:i, s:f, s:f, s:f, s:f}", "threads", (int)threads,
                             "leased_ns", 1e9 * busy / leased, "leased_rate", leased,
                             "run_ns", 1e9 * busy / run, "run_rate", run));
    }
    return all_done;
}

int cli_null_cost(const cli_suite_options *options)
{
    static const cli_counts usual = {{1, 2, 4, 8, 16}, 5};
    const cli_counts *counts = options->threads.count > 0 ? &options->threads : &usual;
    caller like = {.seconds = options->seconds / 4};
    weft_error error = {0};
    if (weft_device_open("null", NULL, &like.device, &error) != WEFT_OK ||
        open_model(like.device, &like.model, &error) != WEFT_OK) {
        weft_device_release(like.device);
        return cli_complain_error("null", &error);
    }
    json_t *lines = json_array();
    bool done = print_lines(&like, counts, lines);
    if (options->json != NULL) {
        done = write_json(options->json, lines) && done;
    } else {
        json_decref(lines);
    }
    weft_model_release(like.model);
    weft_device_release(like.device);
    return done ? 0 : 1;
}
