/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one model from 8 threads at once. Every thread has its own input and compares
 * every answer, byte for byte, with the one it got when it was alone:
 *     threads MODEL.onnx [ITERATIONS] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/weft.h>

enum { THREADS = 8 };

/* One caller. Only its own thread touches it; the model is shared by all. */
typedef struct caller {
    weft_model *model;
    weft_tensor input;
    weft_tensor output;
    void *alone; /* the output of the run that nobody disturbed */
    long iterations;
    long wrong;
    weft_error error; /* status WEFT_OK: no call failed */
    pthread_t thread;
} caller;

static weft_status run(caller *who)
{
    const weft_io io = {&who->input, 1, &who->output, 1};
    return weft_run(who->model, &io, NULL, &who->error);
}

static weft_status prepare(caller *who, weft_model *model, uint32_t index)
{
    weft_value_info info;
    weft_model_get_input(model, 0, &info);
    who->model = model;
    who->input = (weft_tensor){.type = info.type, .rank = info.rank};
    for (int32_t i = 0; i < info.rank; i++) {
        who->input.dims[i] = info.dims[i] == WEFT_DIM_DYNAMIC ? 1 : info.dims[i];
    }
    int64_t count = 0;
    weft_status status =
        weft_tensor_measure(&who->input, &count, &who->input.size_bytes, &who->error);
    const weft_io io = {&who->input, 1, &who->output, 1};
    if (status == WEFT_OK) {
        status = weft_model_infer_outputs(model, &io, &who->error);
    }
    if (status != WEFT_OK) {
        return status;
    }
    who->input.data = calloc(1, who->input.size_bytes + 1);
    who->output.data = malloc(who->output.size_bytes + 1);
    who->alone = malloc(who->output.size_bytes + 1);
    if (info.type == WEFT_TYPE_F32) {
        const weft_random_key key = {.seed = 1, .thread = index};
        weft_random_fill_normal(&key, who->input.data, (size_t)count);
    }
    status = run(who);
    if (status == WEFT_OK) {
        memcpy(who->alone, who->output.data, who->output.size_bytes);
    }
    return status;
}

static void *call_many_times(void *opaque)
{
    caller *who = opaque;
    for (long i = 0; i < who->iterations; i++) {
        memset(who->output.data, 0xff, who->output.size_bytes);
        if (run(who) != WEFT_OK) {
            break;
        }
        who->wrong += memcmp(who->output.data, who->alone, who->output.size_bytes) != 0;
    }
    return NULL;
}

/* Starts all callers, waits for them and counts what went wrong. */
static long run_all(caller *callers, long iterations)
{
    int started = 0;
    for (; started < THREADS; started++) {
        callers[started].iterations = iterations;
        if (pthread_create(&callers[started].thread, NULL, call_many_times,
                           &callers[started]) != 0) {
            fprintf(stderr, "threads: the system starts no more threads\n");
            break;
        }
    }
    long wrong = THREADS - started;
    for (int i = 0; i < started; i++) {
        pthread_join(callers[i].thread, NULL);
        wrong += callers[i].wrong + (callers[i].error.status != WEFT_OK);
    }
    return wrong;
}

static int fail(const weft_error *error)
{
    fprintf(stderr, "threads: %s: %s\n", weft_status_name(error->status),
            error->message);
    return 1;
}

int main(int argc, char **argv)
{
    long iterations = argc == 3 ? strtol(argv[2], NULL, 10) : 100;
    if (argc < 2 || argc > 3 || iterations < 1) {
        fprintf(stderr, "type: threads MODEL.onnx [ITERATIONS]\n");
        return 2;
    }
    weft_error error;
    weft_device *device = NULL;
    weft_graph *graph = NULL;
    weft_model *model = NULL;
    static caller callers[THREADS];
    if (weft_device_open("cpu", NULL, &device, &error) != WEFT_OK ||
        weft_graph_load_onnx(argv[1], NULL, &graph, &error) != WEFT_OK ||
        weft_model_create(device, graph, NULL, &model, &error) != WEFT_OK) {
        return fail(&error);
    }
    if (weft_model_input_count(model) != 1 || weft_model_output_count(model) != 1) {
        fprintf(stderr, "threads: the model must have one input and one output\n");
        return 2;
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        if (prepare(&callers[i], model, i) != WEFT_OK) {
            return fail(&callers[i].error);
        }
    }
    long wrong = run_all(callers, iterations);
    printf("%d threads x %ld runs: %ld wrong\n", THREADS, iterations, wrong);
    for (int i = 0; i < THREADS; i++) {
        free(callers[i].input.data);
        free(callers[i].output.data);
        free(callers[i].alone);
    }
    weft_model_release(model);
    weft_graph_release(graph);
    weft_device_release(device);
    return wrong != 0;
}
