/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_QUEUED_H
#define WEFTI_CLI_QUEUED_H

#include "cli/trial.h"

/* Answers by way of a queue. */

/* How answers are asked for. */
typedef struct cli_way {
    bool queued;       /* weft_queue_submit and weft_request_wait; else weft_run */
    int32_t workers;   /* of the queue; 0: one per core */
    int32_t max_batch; /* rows; 0: the queue's own */
    int64_t delay_us;
    int32_t in_flight; /* requests that each thread keeps under way; 0: 1 */
} cli_way;

enum { CLI_MAX_IN_FLIGHT = 256, CLI_MAX_WORKERS = 256 };

/* No request of a table takes so long: it was lost. */
#define CLI_LOST_NS INT64_C(300000000000)

/* Creates a queue that serves every model of the trial. */
weft_status cli_queue_open(const cli_trial *trial, const cli_way *way,
                           weft_queue **queue, weft_error *error);

/* Closes, drains and releases a queue. False when it did not end or did not account
 * for every request; then says so. */
bool cli_queue_shut(weft_queue *queue, char reason[CLI_REASON_SIZE]);

/* What a queue did between two readings. */
void cli_queue_subtract(weft_queue_statistics *after,
                        const weft_queue_statistics *before);

/* Requests that were started. */
uint64_t cli_queue_started(const weft_queue_statistics *statistics);

/* Mean number of requests, and of rows, in a batch. */
double cli_queue_mean_requests(const weft_queue_statistics *statistics);
double cli_queue_mean_rows(const weft_queue_statistics *statistics);

/* Time in batches for each request. */
double cli_queue_device_ns(const weft_queue_statistics *statistics);

/* The value below which a part (0 to 1) of a histogram lies, from buckets that double:
 * no better than a factor of two, straight inside. */
double cli_queue_percentile(const uint64_t buckets[WEFT_QUEUE_BUCKETS], double part);

#endif
