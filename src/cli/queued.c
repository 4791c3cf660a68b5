/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/queued.h"

#include <math.h>
#include <stdio.h>

/* Tells whether a request before this one has the same model. */
static bool is_known(const cli_trial *trial, int32_t lane, int32_t index)
{
    const weft_model *model = trial->lanes[lane].cases[index].model;
    for (int32_t i = 0; i <= lane; i++) {
        int32_t count = i < lane ? trial->lanes[i].case_count : index;
        for (int32_t k = 0; k < count; k++) {
            if (trial->lanes[i].cases[k].model == model) {
                return true;
            }
        }
    }
    return false;
}

weft_status cli_queue_open(const cli_trial *trial, const cli_way *way,
                           weft_queue **queue, weft_error *error)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = way->workers;
    params.max_batch_size = way->max_batch;
    params.max_queue_delay_us = way->delay_us;
    *queue = NULL;
    weft_status status = weft_queue_create(trial->device, &params, queue, error);
    for (int32_t i = 0; status == WEFT_OK && i < trial->lane_count; i++) {
        const cli_lane *lane = &trial->lanes[i];
        for (int32_t k = 0; status == WEFT_OK && k < lane->case_count; k++) {
            if (!is_known(trial, i, k)) {
                status =
                    weft_queue_add_model(*queue, lane->cases[k].model, NULL, error);
            }
        }
    }
    if (status != WEFT_OK) {
        weft_queue_release(*queue);
        *queue = NULL;
    }
    return status;
}

bool cli_queue_shut(weft_queue *queue, char reason[CLI_REASON_SIZE])
{
    weft_queue_statistics s;
    weft_error error = {0};
    weft_queue_close(queue);
    weft_status status = weft_queue_drain(queue, CLI_LOST_NS, &error);
    weft_queue_get_statistics(queue, &s);
    bool balanced = s.accepted == s.done + s.failed + s.cancelled + s.timed_out;
    if (status != WEFT_OK) {
        snprintf(reason, CLI_REASON_SIZE, "the queue did not end: %s", error.message);
    } else if (!balanced) {
        snprintf(reason, CLI_REASON_SIZE,
                 "the queue lost requests: accepted is not done + failed + cancelled + "
                 "timed out");
    }
    weft_queue_release(queue);
    return status == WEFT_OK && balanced;
}

void cli_queue_subtract(weft_queue_statistics *after,
                        const weft_queue_statistics *before)
{
    after->accepted -= before->accepted;
    after->done -= before->done;
    after->failed -= before->failed;
    after->cancelled -= before->cancelled;
    after->timed_out -= before->timed_out;
    after->refused -= before->refused;
    after->batch_count -= before->batch_count;
    after->row_count -= before->row_count;
    after->padded_count -= before->padded_count;
    after->split_count -= before->split_count;
    after->device_ns -= before->device_ns;
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        after->batch_rows[i] -= before->batch_rows[i];
        after->wait_ns[i] -= before->wait_ns[i];
    }
}

uint64_t cli_queue_started(const weft_queue_statistics *statistics)
{
    uint64_t count = 0;
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        count += statistics->wait_ns[i];
    }
    return count;
}

static double ratio(double value, uint64_t count)
{
    return count == 0 ? 0 : value / (double)count;
}

double cli_queue_mean_requests(const weft_queue_statistics *statistics)
{
    return ratio((double)cli_queue_started(statistics), statistics->batch_count);
}

double cli_queue_mean_rows(const weft_queue_statistics *statistics)
{
    return ratio((double)statistics->row_count, statistics->batch_count);
}

double cli_queue_device_ns(const weft_queue_statistics *statistics)
{
    return ratio((double)statistics->device_ns, cli_queue_started(statistics));
}

double cli_queue_percentile(const uint64_t buckets[WEFT_QUEUE_BUCKETS], double part)
{
    double total = 0;
    double passed = 0;
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        total += (double)buckets[i];
    }
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        double here = (double)buckets[i];
        if (here > 0 && passed + here >= part * total) {
            double low = i == 0 ? 0 : ldexp(1, i - 1);
            return low + (ldexp(1, i) - low) * (part * total - passed) / here;
        }
        passed += here;
    }
    return 0;
}
