/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/measure.h"

enum {
    LATENCY_COUNT = 1 << 16, /* of each thread; then the oldest are overwritten */
    COMPARE_EVERY = 64,
};

/* What the threads of a pass share. */
typedef struct shared {
    const cli_trial *trial;
    const cli_pass_params *params;
    pthread_barrier_t barrier;
} shared;

/* What one thread of a pass owns. */
typedef struct caller {
    shared *shared;
    int32_t index;
    const cli_lane *lane;
    void *buffers[CLI_MAX_IO];
    weft_tensor *outputs; /* of every case, all in the same buffers */
    uint32_t *latencies_ns;
    uint64_t calls, compared, wrong, failed;
    int64_t start_ns, end_ns;
    char reason[CLI_REASON_SIZE];
} caller;

static size_t largest_output(const cli_lane *lane, size_t index)
{
    size_t size = 1;
    for (int32_t i = 0; i < lane->case_count; i++) {
        size_t candidate = lane->cases[i].expected[index].size_bytes;
        size = candidate > size ? candidate : size;
    }
    return size;
}

static void init_caller(caller *self, shared *common, int32_t index)
{
    const cli_trial *trial = common->trial;
    self->shared = common;
    self->index = index;
    self->lane = &trial->lanes[index % trial->lane_count];
    self->latencies_ns = cli_allocate(LATENCY_COUNT, sizeof(*self->latencies_ns));
    size_t output_count = self->lane->cases[0].output_count;
    for (size_t i = 0; i < output_count; i++) {
        self->buffers[i] = cli_allocate_data(largest_output(self->lane, i));
    }
    size_t case_count = (size_t)self->lane->case_count;
    self->outputs = cli_allocate(case_count * output_count, sizeof(*self->outputs));
    for (size_t i = 0; i < case_count * output_count; i++) {
        self->outputs[i] =
            self->lane->cases[i / output_count].expected[i % output_count];
        self->outputs[i].data = self->buffers[i % output_count];
    }
}

static void fini_caller(caller *self)
{
    for (size_t i = 0; i < CLI_MAX_IO; i++) {
        free(self->buffers[i]);
    }
    free(self->outputs);
    free(self->latencies_ns);
}

/* Says where an answer differs from the request's answer when alone. */
static void explain(caller *self, const cli_case *request, size_t output)
{
    const weft_tensor *expected = &request->expected[output];
    const unsigned char *got = self->buffers[output];
    const unsigned char *wanted = expected->data;
    size_t first = 0;
    while (first < expected->size_bytes && got[first] == wanted[first]) {
        first++;
    }
    size_t element = first / weft_type_size(expected->type);
    int written =
        snprintf(self->reason, sizeof(self->reason),
                 "thread %d, call %llu: element %zu of output %zu is not "
                 "what the request gives alone",
                 self->index, (unsigned long long)self->calls, element, output);
    if (expected->type == WEFT_TYPE_F32 && written > 0) {
        snprintf(self->reason + written, sizeof(self->reason) - (size_t)written,
                 " (%.9g, alone %.9g)",
                 (double)((const float *)self->buffers[output])[element],
                 (double)((const float *)expected->data)[element]);
    }
}

static void compare(caller *self, const cli_case *request)
{
    self->compared++;
    for (size_t i = 0; i < request->output_count; i++) {
        if (memcmp(self->buffers[i], request->expected[i].data,
                   request->expected[i].size_bytes) != 0) {
            self->wrong++;
            if (self->reason[0] == '\0') {
                explain(self, request, i);
            }
            return;
        }
    }
}

/* Fills the outputs, so that an answer which was never written cannot pass. */
static void spoil(caller *self, const cli_case *request)
{
    for (size_t i = 0; i < request->output_count; i++) {
        memset(self->buffers[i], 0xff, request->expected[i].size_bytes);
    }
}

static void call_once(caller *self, const cli_case *request, uint64_t index)
{
    weft_error error;
    weft_io io = {request->inputs, request->input_count,
                  &self->outputs[index * request->output_count], request->output_count};
    if (weft_run(request->model, &io, NULL, &error) != WEFT_OK) {
        self->failed++;
        if (self->reason[0] == '\0') {
            snprintf(self->reason, sizeof(self->reason), "thread %d, call %llu: %.200s",
                     self->index, (unsigned long long)self->calls, error.message);
        }
    }
}

static void *caller_main(void *user)
{
    caller *self = user;
    const cli_pass_params *params = self->shared->params;
    int64_t least_ns = (int64_t)(params->seconds * 1e9);
    const cli_case *cases = self->lane->cases;
    uint64_t case_count = (uint64_t)self->lane->case_count;
    pthread_barrier_wait(&self->shared->barrier);
    self->start_ns = cli_now_ns();
    int64_t begin_ns = self->start_ns;
    while (self->calls < (uint64_t)params->iterations ||
           begin_ns - self->start_ns < least_ns) {
        uint64_t index = self->calls % case_count;
        const cli_case *request = &cases[index];
        bool check = !params->compare_none &&
                     (params->compare_all || self->calls % COMPARE_EVERY == 0);
        if (check) {
            spoil(self, request);
            begin_ns = cli_now_ns();
        }
        call_once(self, request, index);
        int64_t end_ns = cli_now_ns();
        int64_t took_ns = end_ns - begin_ns;
        self->latencies_ns[self->calls % LATENCY_COUNT] =
            took_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ns;
        if (check) {
            compare(self, request);
        }
        self->calls++;
        begin_ns = end_ns;
    }
    self->end_ns = cli_now_ns();
    return NULL;
}

static double process_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void gather_latencies(const caller *callers, int32_t count, cli_pass *pass)
{
    size_t total = 0;
    uint32_t *all = NULL;
    for (int32_t i = 0; i < count; i++) {
        total += callers[i].calls < LATENCY_COUNT ? callers[i].calls : LATENCY_COUNT;
    }
    all = cli_allocate(total, sizeof(*all));
    size_t filled = 0;
    for (int32_t i = 0; i < count; i++) {
        size_t part =
            callers[i].calls < LATENCY_COUNT ? callers[i].calls : LATENCY_COUNT;
        memcpy(all + filled, callers[i].latencies_ns, part * sizeof(*all));
        filled += part;
    }
    if (total > 0) {
        cli_sort_u32(all, total);
        pass->p50_ns = all[(total - 1) / 2];
        pass->p99_ns = all[(size_t)((double)(total - 1) * 0.99)];
        pass->p999_ns = all[(size_t)((double)(total - 1) * 0.999)];
        pass->max_ns = all[total - 1];
    }
    free(all);
}

static void gather(const caller *callers, int32_t count, cli_pass *pass)
{
    int64_t start_ns = INT64_MAX;
    int64_t end_ns = 0;
    for (int32_t i = 0; i < count; i++) {
        const caller *one = &callers[i];
        pass->calls += one->calls;
        pass->compared += one->compared;
        pass->wrong += one->wrong;
        pass->failed += one->failed;
        start_ns = one->start_ns < start_ns ? one->start_ns : start_ns;
        end_ns = one->end_ns > end_ns ? one->end_ns : end_ns;
        if (pass->reason[0] == '\0') {
            memcpy(pass->reason, one->reason, sizeof(pass->reason));
        }
    }
    pass->seconds = (double)(end_ns - start_ns) * 1e-9;
    gather_latencies(callers, count, pass);
}

void cli_pass_run(const cli_trial *trial, const cli_pass_params *params, cli_pass *pass)
{
    shared common = {.trial = trial, .params = params};
    pthread_t threads[CLI_MAX_THREADS];
    caller *callers = cli_allocate((size_t)params->threads, sizeof(*callers));
    memset(pass, 0, sizeof(*pass));
    pthread_barrier_init(&common.barrier, NULL, (unsigned)params->threads + 1);
    for (int32_t i = 0; i < params->threads; i++) {
        init_caller(&callers[i], &common, i);
    }
    for (int32_t i = 0; i < params->threads; i++) {
        if (pthread_create(&threads[i], NULL, caller_main, &callers[i]) != 0) {
            /* Those that wait at the barrier could never go on. */
            fprintf(stderr, "weft: cannot start %d threads\n", params->threads);
            exit(1);
        }
    }
    weft_device_get_statistics(trial->device, &pass->before);
    double cpu_before = process_seconds();
    pthread_barrier_wait(&common.barrier);
    for (int32_t i = 0; i < params->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    pass->cpu_seconds = process_seconds() - cpu_before;
    weft_device_get_statistics(trial->device, &pass->after);
    gather(callers, params->threads, pass);
    for (int32_t i = 0; i < params->threads; i++) {
        fini_caller(&callers[i]);
    }
    pthread_barrier_destroy(&common.barrier);
    free(callers);
}
