/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Answers on a card are fetched first, which takes much longer than the call. */
enum { COMPARE_EVERY = 64, COMPARE_EVERY_ON_CARD = 1024 };

size_t cli_largest_output(const cli_lane *lane, size_t index)
{
    size_t size = 1;
    for (int32_t i = 0; i < lane->case_count; i++) {
        size_t candidate = lane->cases[i].expected[index].size_bytes;
        size = candidate > size ? candidate : size;
    }
    return size;
}

void cli_slot_init(cli_slot *slot, const cli_lane *lane)
{
    size_t output_count = lane->cases[0].output_count;
    size_t count = (size_t)lane->case_count * output_count;
    slot->buffers = cli_allocate(output_count, sizeof(*slot->buffers));
    slot->buffer_count = output_count;
    for (size_t i = 0; i < output_count; i++) {
        slot->buffers[i] = cli_allocate_data(cli_largest_output(lane, i));
    }
    slot->outputs = cli_allocate(count, sizeof(*slot->outputs));
    for (size_t i = 0; i < count; i++) {
        slot->outputs[i] = lane->cases[i / output_count].expected[i % output_count];
        slot->outputs[i].data = slot->buffers[i % output_count];
    }
}

void cli_slot_fini(cli_slot *slot)
{
    for (size_t i = 0; i < slot->buffer_count; i++) {
        free(slot->buffers[i]);
    }
    free(slot->buffers);
    free(slot->outputs);
    if (slot->card != NULL) {
        cli_on_card_fini(slot->card);
        free(slot->card);
    }
}

weft_status cli_slot_use_card(cli_slot *slot, const cli_lane *lane, weft_error *error)
{
    if (weft_model_has_stages(lane->cases[0].model)) {
        return WEFT_OK; /* takes host memory alone */
    }
    slot->card = cli_allocate(1, sizeof(*slot->card));
    return cli_on_card_init(slot->card, lane, slot->outputs, error);
}

weft_io cli_slot_io(const cli_slot *slot, const cli_lane *lane, uint64_t index)
{
    const cli_case *request = &lane->cases[index];
    const weft_tensor *inputs = slot->card == NULL
                                    ? request->inputs
                                    : slot->card->inputs + index * request->input_count;
    return (weft_io){inputs, request->input_count,
                     &slot->outputs[index * request->output_count],
                     request->output_count};
}

void cli_slot_spoil(cli_slot *slot, const cli_case *request)
{
    for (size_t i = 0; i < request->output_count; i++) {
        memset(slot->buffers[i], 0xff, request->expected[i].size_bytes);
    }
}

static void init_caller(cli_caller *self, const cli_trial *trial,
                        const cli_pass_params *params, int32_t index)
{
    self->trial = trial;
    self->params = params;
    self->index = index;
    self->lane = &trial->lanes[index % trial->lane_count];
    self->latencies_ns = cli_allocate(CLI_LATENCY_COUNT, sizeof(*self->latencies_ns));
    self->slot_count = params->in_flight > 1 ? params->in_flight : 1;
    self->slots = cli_allocate((size_t)self->slot_count, sizeof(*self->slots));
    for (int32_t i = 0; i < self->slot_count; i++) {
        weft_error error;
        cli_slot_init(&self->slots[i], self->lane);
        if (params->on_card && self->failed == 0 &&
            cli_slot_use_card(&self->slots[i], self->lane, &error) != WEFT_OK) {
            cli_caller_failed(self, &error);
        }
    }
}

static void fini_caller(cli_caller *self)
{
    for (int32_t i = 0; i < self->slot_count; i++) {
        cli_slot_fini(&self->slots[i]);
    }
    free(self->slots);
    free(self->latencies_ns);
}

/* Says where an answer differs from the request's answer when alone. */
static void explain(cli_caller *self, const cli_slot *slot, const cli_case *request,
                    size_t output)
{
    const weft_tensor *expected = &request->expected[output];
    const unsigned char *got = slot->buffers[output];
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
                 (double)((const float *)slot->buffers[output])[element],
                 (double)((const float *)expected->data)[element]);
    }
}

void cli_caller_compare(cli_caller *self, const cli_slot *slot, const cli_case *request)
{
    self->compared++;
    for (size_t i = 0; i < request->output_count; i++) {
        if (memcmp(slot->buffers[i], request->expected[i].data,
                   request->expected[i].size_bytes) != 0) {
            self->wrong++;
            if (self->reason[0] == '\0') {
                explain(self, slot, request, i);
            }
            return;
        }
    }
}

uint64_t cli_caller_case(const cli_caller *self, uint64_t call)
{
    uint64_t first = (uint64_t)(self->index / self->trial->lane_count);
    return (call + first) % (uint64_t)self->lane->case_count;
}

bool cli_caller_checks(const cli_caller *self, uint64_t call)
{
    const cli_pass_params *params = self->params;
    const uint64_t every = params->on_card ? COMPARE_EVERY_ON_CARD : COMPARE_EVERY;
    return !params->compare_none && (params->compare_all || call % every == 0);
}

void cli_caller_failed(cli_caller *self, const weft_error *error)
{
    self->failed++;
    if (self->reason[0] == '\0') {
        snprintf(self->reason, sizeof(self->reason), "thread %d, call %llu: %.200s",
                 self->index, (unsigned long long)self->calls, error->message);
    }
}

void cli_caller_count(cli_caller *self, int64_t took_ns)
{
    self->latencies_ns[self->calls % CLI_LATENCY_COUNT] =
        took_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ns;
    self->calls++;
}

bool cli_caller_goes_on(const cli_caller *self, uint64_t begun, int64_t now_ns)
{
    const cli_pass_params *params = self->params;
    return begun < (uint64_t)params->iterations ||
           now_ns - self->start_ns < (int64_t)(params->seconds * 1e9);
}

static void spoil(cli_caller *self, cli_slot *slot, const cli_case *request)
{
    weft_error error;
    cli_slot_spoil(slot, request);
    if (slot->card != NULL &&
        cli_on_card_spoil(slot->card, request, &error) != WEFT_OK) {
        cli_caller_failed(self, &error);
    }
}

static void compare(cli_caller *self, const cli_slot *slot, const cli_case *request)
{
    weft_error error;
    if (slot->card != NULL &&
        cli_on_card_fetch(slot->card, request, slot->buffers, &error) != WEFT_OK) {
        cli_caller_failed(self, &error);
        return;
    }
    cli_caller_compare(self, slot, request);
}

static void run_direct(cli_caller *self)
{
    int64_t begin_ns = self->start_ns;
    if (self->failed > 0) { /* its tensors are not there */
        return;
    }
    while (cli_caller_goes_on(self, self->calls, begin_ns)) {
        cli_slot *slot = &self->slots[self->calls % (uint64_t)self->slot_count];
        uint64_t index = cli_caller_case(self, self->calls);
        const cli_case *request = &self->lane->cases[index];
        weft_io io = cli_slot_io(slot, self->lane, index);
        weft_error error;
        bool check = cli_caller_checks(self, self->calls);
        if (check) {
            spoil(self, slot, request);
            begin_ns = cli_now_ns();
        }
        bool done = weft_run(request->model, &io, NULL, &error) == WEFT_OK;
        int64_t end_ns = cli_now_ns();
        if (!done) {
            cli_caller_failed(self, &error);
        } else if (check) {
            compare(self, slot, request);
        }
        cli_caller_count(self, end_ns - begin_ns);
        begin_ns = end_ns;
    }
}

static void *caller_main(void *user)
{
    cli_caller *self = user;
    pthread_barrier_wait(self->barrier);
    self->start_ns = cli_now_ns();
    if (self->params->queue != NULL) {
        cli_caller_run_queued(self);
    } else {
        run_direct(self);
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

static void gather_latencies(const cli_caller *callers, int32_t count, cli_pass *pass)
{
    size_t total = 0;
    uint32_t *all = NULL;
    for (int32_t i = 0; i < count; i++) {
        total +=
            callers[i].calls < CLI_LATENCY_COUNT ? callers[i].calls : CLI_LATENCY_COUNT;
    }
    all = cli_allocate(total, sizeof(*all));
    size_t filled = 0;
    for (int32_t i = 0; i < count; i++) {
        size_t part =
            callers[i].calls < CLI_LATENCY_COUNT ? callers[i].calls : CLI_LATENCY_COUNT;
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

static void gather(const cli_caller *callers, int32_t count, cli_pass *pass)
{
    int64_t start_ns = INT64_MAX;
    int64_t end_ns = 0;
    for (int32_t i = 0; i < count; i++) {
        const cli_caller *one = &callers[i];
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

static void read_statistics(const cli_pass_params *params, const cli_trial *trial,
                            weft_device_statistics *device,
                            weft_queue_statistics *queue)
{
    weft_device_get_statistics(trial->device, device);
    if (params->queue != NULL) {
        weft_queue_get_statistics(params->queue, queue);
    }
}

void cli_pass_run(const cli_trial *trial, const cli_pass_params *params, cli_pass *pass)
{
    pthread_barrier_t barrier;
    pthread_t threads[CLI_MAX_THREADS];
    weft_queue_statistics before;
    cli_caller *callers = cli_allocate((size_t)params->threads, sizeof(*callers));
    memset(pass, 0, sizeof(*pass));
    pthread_barrier_init(&barrier, NULL, (unsigned)params->threads + 1);
    for (int32_t i = 0; i < params->threads; i++) {
        init_caller(&callers[i], trial, params, i);
        callers[i].barrier = &barrier;
    }
    for (int32_t i = 0; i < params->threads; i++) {
        if (pthread_create(&threads[i], NULL, caller_main, &callers[i]) != 0) {
            /* Those that wait at the barrier could never go on. */
            exit(cli_complain("cannot start %d threads", (int)params->threads));
        }
    }
    read_statistics(params, trial, &pass->before, &before);
    double cpu_before = process_seconds();
    pthread_barrier_wait(&barrier);
    for (int32_t i = 0; i < params->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    pass->cpu_seconds = process_seconds() - cpu_before;
    read_statistics(params, trial, &pass->after, &pass->queue);
    if (params->queue != NULL) {
        cli_queue_subtract(&pass->queue, &before);
    }
    gather(callers, params->threads, pass);
    for (int32_t i = 0; i < params->threads; i++) {
        fini_caller(&callers[i]);
    }
    pthread_barrier_destroy(&barrier);
    free(callers);
}
