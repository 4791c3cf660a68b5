/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pass.h"

bool cli_statistics_balanced(const weft_device_statistics *statistics)
{
    return statistics->accepted == statistics->done + statistics->failed +
                                       statistics->cancelled + statistics->timed_out;
}

static void fail(cli_result *result, const char *reason)
{
    result->verdict = CLI_FAILED;
    if (result->reason[0] == '\0') {
        snprintf(result->reason, sizeof(result->reason), "%s", reason);
    }
}

enum { MOST_CONTEXTS = 1024 };

/* Every context of a device, each run through every kind of model of a trial, with
 * tensors where the timed calls have theirs. Plans, workspaces and pinned memory are
 * made so, and places for addresses on a card; the callers' own come with their calls.
 */
typedef struct warming {
    const cli_trial *trial;
    weft_context *contexts[MOST_CONTEXTS];
    int32_t kind_count;
    bool on_card;
} warming;

static void warm_context(void *user, int32_t index)
{
    const warming *w = user;
    for (int32_t kind = 0; kind < w->kind_count; kind++) {
        const cli_lane *lane = &w->trial->lanes[kind];
        cli_slot slot = {0};
        weft_error error = {0};
        cli_slot_init(&slot, lane);
        weft_status status =
            w->on_card ? cli_slot_use_card(&slot, lane, &error) : WEFT_OK;
        if (status == WEFT_OK) {
            const weft_io io = cli_slot_io(&slot, lane, 0);
            status =
                weft_context_run(w->contexts[index], lane->cases[0].model, &io, &error);
        }
        if (status != WEFT_OK) {
            cli_complain("%s", error.message); /* the pass fails on it too */
        }
        cli_slot_fini(&slot);
    }
}

void cli_trial_warm(cli_trial *trial, bool on_card)
{
    if (trial->is_warm) {
        return;
    }
    warming *w = cli_allocate(1, sizeof(*w));
    weft_lease_params lease = WEFT_LEASE_PARAMS_INIT;
    int32_t leased = 0;
    w->trial = trial;
    w->on_card = on_card;
    w->kind_count = trial->row->part_count > 1 ? trial->row->part_count : 1;
    w->kind_count =
        w->kind_count < trial->lane_count ? w->kind_count : trial->lane_count;
    lease.policy = WEFT_LEASE_FAIL;
    while (leased < MOST_CONTEXTS &&
           weft_context_acquire(trial->device, &lease, &w->contexts[leased], NULL) ==
               WEFT_OK) {
        leased++;
    }
    cli_parallel(leased, warm_context, w);
    for (int32_t i = 0; i < leased; i++) {
        weft_context_release(w->contexts[i]);
    }
    free(w);
    trial->is_warm = true;
}

static void judge_pass(const cli_pass *pass, cli_result *result)
{
    if (pass->wrong > 0 || pass->failed > 0) {
        fail(result, pass->reason);
    }
    if (!cli_statistics_balanced(&pass->after)) {
        fail(result, "requests were lost: accepted is not done + failed + cancelled + "
                     "timed out");
    }
}

/* Nothing is allocated on the steady path. A queue may still meet a size of batch for
 * the first time. */
static void judge_allocations(const cli_pass *timed, cli_result *result)
{
    uint64_t count = timed->after.allocation_count - timed->before.allocation_count;
    if (count > 0 && !result->way.queued) {
        char reason[CLI_REASON_SIZE];
        snprintf(reason, sizeof(reason), "%llu allocations in the timed pass",
                 (unsigned long long)count);
        fail(result, reason);
    }
}

static void run_passes(cli_trial *trial, const cli_effort *effort, weft_queue *queue,
                       cli_result *result)
{
    cli_pass_params params = {
        .threads = result->threads,
        .iterations =
            effort->iterations > 0 ? effort->iterations : trial->row->iterations,
        .compare_all = true,
        .queue = queue,
        .in_flight = effort->way.in_flight,
        .on_card = effort->on_card,
    };
    cli_pass_run(trial, &params, &result->checked);
    judge_pass(&result->checked, result);
    if (effort->seconds <= 0) {
        return;
    }
    cli_trial_warm(trial, effort->on_card);
    params.iterations = 2;
    params.seconds = effort->seconds;
    params.compare_all = false;
    cli_pass_run(trial, &params, &result->timed);
    const cli_pass *timed = &result->timed;
    judge_pass(timed, result);
    judge_allocations(timed, result);
    result->rate = (double)timed->calls / timed->seconds;
    result->gflops = result->rate * cli_row_flops(trial->row) * 1e-9;
    result->overlap = timed->cpu_seconds / timed->seconds;
}

void cli_measure(cli_trial *trial, int32_t threads, const cli_effort *effort,
                 cli_result *result)
{
    char reason[CLI_REASON_SIZE];
    weft_error error = {0};
    weft_queue *queue = NULL;
    *result = (cli_result){.row = trial->row,
                           .threads = threads,
                           .judgement = trial->judgement,
                           .way = effort->way};
    if (trial->failure[0] != '\0') {
        fail(result, trial->failure);
        return;
    }
    if (effort->way.queued &&
        cli_queue_open(trial, &effort->way, &queue, &error) != WEFT_OK) {
        fail(result, error.message);
        return;
    }
    run_passes(trial, effort, queue, result);
    if (queue != NULL && !cli_queue_shut(queue, reason)) {
        fail(result, reason);
    }
}

/* Both trials hold the same requests: are the answers the same too? */
static bool same_answers(const cli_trial *left, const cli_trial *right)
{
    const cli_lane *a = &left->lanes[0];
    const cli_lane *b = &right->lanes[0];
    for (int32_t i = 0; i < a->case_count; i++) {
        for (size_t k = 0; k < a->cases[i].output_count; k++) {
            const weft_tensor *one = &a->cases[i].expected[k];
            const weft_tensor *other = &b->cases[i].expected[k];
            if (one->size_bytes != other->size_bytes ||
                memcmp(one->data, other->data, one->size_bytes) != 0) {
                return false;
            }
        }
    }
    return true;
}

static weft_device *open_without_workers(weft_device *device, weft_error *error)
{
    weft_device_info info;
    weft_device *lone = NULL;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device_get_info(device, &info);
    params.worker_count = 0;
    params.isa = info.isa;
    return weft_device_open(info.name, &params, &lone, error) == WEFT_OK ? lone : NULL;
}

void cli_measure_one_caller(weft_device *device, const cli_row *row,
                            const cli_effort *effort, cli_result *result)
{
    enum { ROUNDS = 3 };
    weft_error error = {0};
    *result = (cli_result){.row = row, .threads = 1};
    weft_device *lone_device = open_without_workers(device, &error);
    if (lone_device == NULL) {
        fail(result, error.message);
        return;
    }
    cli_trial *helped = cli_trial_create(device, row, 1);
    cli_trial *lone = cli_trial_create(lone_device, row, 1);
    double best = 0;
    double lone_best = 0;
    /* In turn, and the best of each: other work on the machine only slows down. */
    for (int round = 0; round < ROUNDS; round++) {
        cli_result one;
        cli_result other;
        cli_measure(lone, 1, effort, &other);
        cli_measure(helped, 1, effort, &one);
        if (round == 0 || result->verdict == CLI_PASSED) {
            *result = one;
        }
        if (other.verdict != CLI_PASSED) {
            fail(result, other.reason);
        }
        best = fmax(best, one.rate);
        lone_best = fmax(lone_best, other.rate);
    }
    result->rate = best;
    result->gflops = best * cli_row_flops(row) * 1e-9;
    result->lone_rate = lone_best;
    if (helped->failure[0] == '\0' && lone->failure[0] == '\0') {
        result->lone_same_bits = same_answers(helped, lone);
    }
    if (!result->lone_same_bits) {
        fail(result, "the answer differs between a device with and without workers");
    }
    cli_trial_destroy(helped);
    cli_trial_destroy(lone);
    weft_device_release(lone_device);
}
