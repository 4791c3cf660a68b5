/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_PASS_H
#define WEFTI_CLI_PASS_H

#include <pthread.h>

#include "cli/measure.h"
#include "cli/on_card.h"

/* The inside of a pass: what one of its threads has and does. */

enum {
    CLI_LATENCY_COUNT = 1 << 16, /* of each thread; then the oldest are overwritten */
};

/* Room for the answer of one request at a time. */
typedef struct cli_slot {
    void **buffers;
    size_t buffer_count;
    weft_tensor *outputs; /* of every case, all in the same buffers */
    cli_on_card *card;    /* or there; NULL: tensors are in host memory */
    /* What is under way, of a queue. */
    weft_request *request;
    const cli_case *of;
    int64_t begin_ns;
    bool check;
} cli_slot;

typedef struct cli_caller {
    const cli_trial *trial;
    const cli_pass_params *params;
    pthread_barrier_t *barrier;
    int32_t index;
    const cli_lane *lane;
    /* One, or as many as are in flight; direct calls beside those take turns with as
     * many, for memory that is out of the caches costs time by either way. */
    cli_slot *slots;
    int32_t slot_count;
    uint32_t *latencies_ns;
    uint64_t calls, compared, wrong, failed;
    int64_t start_ns, end_ns;
    char reason[CLI_REASON_SIZE];
} cli_caller;

/* Bytes for an output of any of the lane's answers; at least 1. */
size_t cli_largest_output(const cli_lane *lane, size_t index);

/* Gives a slot its memory: as much as any of the lane's answers needs. */
void cli_slot_init(cli_slot *slot, const cli_lane *lane);
void cli_slot_fini(cli_slot *slot);
/* Lets the slot's requests have their tensors on the card. */
weft_status cli_slot_use_card(cli_slot *slot, const cli_lane *lane, weft_error *error);

/* The request as it is to be run, with the slot's memory for its answer. */
weft_io cli_slot_io(const cli_slot *slot, const cli_lane *lane, uint64_t index);

/* Fills the outputs, so that an answer which was never written cannot pass. */
void cli_slot_spoil(cli_slot *slot, const cli_case *request);

/* Compares the answer in a slot with the request's answer when alone. */
void cli_caller_compare(cli_caller *self, const cli_slot *slot,
                        const cli_case *request);

/* Which of the lane's requests a call takes: threads that share a lane start at
 * different ones. */
uint64_t cli_caller_case(const cli_caller *self, uint64_t call);

/* Tells whether the answer of a call is one of those to be compared. */
bool cli_caller_checks(const cli_caller *self, uint64_t call);

/* Notes a call that returned an error. */
void cli_caller_failed(cli_caller *self, const weft_error *error);

/* Notes how long a call took and counts it. */
void cli_caller_count(cli_caller *self, int64_t took_ns);

/* Tells whether a thread that has begun so many calls is to begin another one. */
bool cli_caller_goes_on(const cli_caller *self, uint64_t begun, int64_t now_ns);

/* All calls of one thread by way of the queue. */
void cli_caller_run_queued(cli_caller *self);

#endif
