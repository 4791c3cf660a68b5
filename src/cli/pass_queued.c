/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pass.h"

#include <stdio.h>

/* A thread that keeps some requests under way, and waits for the oldest of them. The
 * clock is read once a call, as by direct calls: one call begins when another ends. */

static void submit(cli_caller *self, uint64_t call, int64_t now_ns)
{
    cli_slot *slot = &self->slots[call % (uint64_t)self->slot_count];
    uint64_t index = cli_caller_case(self, call);
    weft_error error;
    slot->of = &self->lane->cases[index];
    slot->check = cli_caller_checks(self, call);
    if (slot->check) {
        cli_slot_spoil(slot, slot->of);
    }
    weft_io io = cli_slot_io(slot, self->lane, index);
    slot->begin_ns = slot->check ? cli_now_ns() : now_ns;
    if (weft_queue_submit(self->params->queue, slot->of->model, &io, NULL,
                          &slot->request, &error) != WEFT_OK) {
        slot->request = NULL;
        cli_caller_failed(self, &error);
    }
}

/* Returns when it ended. */
static int64_t finish(cli_caller *self)
{
    cli_slot *slot = &self->slots[self->calls % (uint64_t)self->slot_count];
    bool done = false;
    if (slot->request != NULL) {
        weft_error error;
        done = weft_request_wait(slot->request, CLI_LOST_NS, &error) == WEFT_OK;
        if (!done) {
            (void)weft_request_cancel(slot->request); /* if it was lost */
            cli_caller_failed(self, &error);
        }
        weft_request_release(slot->request);
        slot->request = NULL;
    }
    int64_t end_ns = cli_now_ns();
    if (done && slot->check) {
        cli_caller_compare(self, slot, slot->of);
    }
    cli_caller_count(self, end_ns - slot->begin_ns);
    return end_ns;
}

void cli_caller_run_queued(cli_caller *self)
{
    uint64_t begun = 0;
    uint64_t most = (uint64_t)self->slot_count;
    while (begun < most && cli_caller_goes_on(self, begun, self->start_ns)) {
        submit(self, begun++, cli_now_ns());
    }
    while (self->calls < begun) {
        int64_t now_ns = finish(self);
        if (cli_caller_goes_on(self, begun, now_ns)) {
            submit(self, begun++, now_ns);
        }
    }
}
