/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/pass.h"
#include "cli/soak.h"

/* How a caller hears of a request's end. */
enum { BY_WAIT, BY_TEST, BY_FD, BY_CALLBACK, ENDS };

/* What a callback does besides telling its caller. */
enum {
    NOTHING,
    SLEEP,         /* holds its worker up */
    CANCEL,        /* its own request, which has ended */
    LET_GO,        /* of its own request */
    ORPHAN,        /* nothing; the caller has let go right after submitting */
    SUBMIT,        /* the same call again, some times */
    RELEASE_QUEUE, /* the caller's owner, which may be the last */
    DEEDS,
};

enum { LARGE_BYTES = 1 << 20, FEW_SLOTS = 1, MOST_AGAIN = 3, LOST_MS = 1800000 };
enum { IN_PERSON = 32 };

static void complain(soak_tally *tally, const cli_lane *lane, const char *what,
                     const char *words)
{
    if (tally->reason[0] == '\0') {
        snprintf(tally->reason, sizeof(tally->reason), "%s: %s %.400s", lane->row->name,
                 what, words);
    }
}

static void fill(const soak_slot *slot, const cli_case *request, int byte)
{
    for (size_t i = 0; i < request->output_count; i++) {
        memset(slot->buffers[i], byte, request->expected[i].size_bytes);
    }
}

/* After a cancel nothing may write to the request's outputs. */
static void check_pattern(soak_slot *slot)
{
    soak_tally *tally = &slot->caller->tally;
    const cli_case *request = slot->pattern;
    for (size_t i = 0; request != NULL && i < request->output_count; i++) {
        const unsigned char *bytes = slot->buffers[i];
        for (size_t j = 0; j < request->expected[i].size_bytes; j++) {
            if (bytes[j] != SOAK_PATTERN) {
                tally->touched++;
                complain(tally, slot->caller->lane,
                         "an output was written after its cancel", "");
                break;
            }
        }
    }
    slot->pattern = NULL;
}

static bool is_right(const soak_slot *slot)
{
    const cli_case *request = slot->request;
    bool right = true;
    for (size_t i = 0; i < request->output_count; i++) {
        right = right && memcmp(slot->buffers[i], request->expected[i].data,
                                request->expected[i].size_bytes) == 0;
    }
    return right;
}

/* ---- the callback ---- */

/* Of the requests that this caller submitted to the queue before, those with a callback
 * must have been called. */
static bool is_in_order_locked(const soak_slot *slot)
{
    bool in_order = true;
    for (uint32_t i = 0; i < slot->index; i++) {
        const soak_slot *before = &slot->caller->slots[i];
        if (before->request != NULL && before->queue == slot->queue &&
            before->end == BY_CALLBACK &&
            before->request->model == slot->request->model) {
            in_order = in_order && before->called;
        }
    }
    return in_order;
}

static void submit_again(soak_slot *slot, weft_request *ended);

static void on_end(void *user, weft_request *request, weft_status status)
{
    soak_slot *slot = user;
    soak_caller *caller = slot->caller;
    soak_queue *queue = slot->queue;
    weft_status seen = WEFT_INTERNAL;
    weft_error error = {.message = ""};
    bool ended = weft_request_test(request, &seen) && seen == status;
    if (weft_request_wait(request, 0, &error) != status || !ended) {
        status = WEFT_INTERNAL;
        snprintf(error.message, sizeof(error.message),
                 "a callback was told another end than its request");
    }
    switch (slot->deed) {
    case SLEEP:
        usleep(1000);
        break;
    case CANCEL:
        if (weft_request_cancel(request)) {
            status = WEFT_INTERNAL;
        }
        break;
    case LET_GO:
        weft_request_release(request);
        break;
    case RELEASE_QUEUE:
        weft_queue_release(queue->queue);
        break;
    default:
        break;
    }
    pthread_mutex_lock(&caller->lock);
    if (queue != NULL && queue->keeps_order && !is_in_order_locked(slot)) {
        slot->is_disordered = true;
    }
    slot->called = true;
    slot->status = status;
    slot->error = error;
    bool again = status == WEFT_OK && slot->deed == SUBMIT && slot->again > 0;
    slot->told = !again;
    if (!again) {
        pthread_cond_broadcast(&caller->ended);
    }
    pthread_mutex_unlock(&caller->lock);
    if (again) {
        submit_again(slot, request);
    }
}

static weft_status submit(soak_slot *slot, weft_error *error)
{
    const cli_case *request = slot->request;
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.callback = on_end;
    params.user = slot;
    return weft_queue_submit(slot->queue->queue, request->model, &slot->io, &params,
                             &slot->handle, error);
}

/* On the thread of the callback: the next callback may be called, and tell the caller,
 * before this returns. */
static void submit_again(soak_slot *slot, weft_request *ended)
{
    soak_caller *caller = slot->caller;
    weft_error error;
    slot->again--;
    slot->was_again++;
    slot->is_wrong = slot->is_wrong || !is_right(slot);
    fill(slot, slot->request, 0xff);
    weft_request_release(ended);
    weft_status status = submit(slot, &error);
    if (status == WEFT_OK) {
        return;
    }
    pthread_mutex_lock(&caller->lock);
    slot->status = status;
    slot->error = error;
    slot->told = true;
    pthread_cond_broadcast(&caller->ended);
    pthread_mutex_unlock(&caller->lock);
}

/* ---- submitting ---- */

/* Counts a refusal that has its reason. */
static void refused(soak_slot *slot, weft_status status, const weft_error *error,
                    bool may_be_late)
{
    soak_caller *caller = slot->caller;
    soak_tally *tally = &caller->tally;
    bool blocks = slot->queue == NULL || slot->queue->blocks;
    if (status == WEFT_BUSY && !blocks) {
        tally->full++;
    } else if (status == WEFT_TIMEOUT && may_be_late) {
        tally->late++;
    } else if (status == WEFT_CLOSED && slot->queue != NULL) {
        tally->closed++;
    } else if (status == WEFT_NOT_FOUND && slot->queue != NULL) {
        tally->not_found++;
    } else {
        tally->failed++;
        complain(tally, caller->lane, "submit:", error->message);
    }
}

static weft_status submit_to_queue(soak_slot *slot, bool *may_be_late,
                                   weft_error *error)
{
    soak_caller *caller = slot->caller;
    soak_dice *dice = &caller->dice;
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    params.priority = (int32_t)soak_draw(dice, WEFT_QUEUE_LOWEST_PRIORITY + 1);
    if (soak_draw(dice, 8) == 0) {
        params.timeout_us = 1 + soak_draw(dice, 20000);
    }
    if (soak_draw(dice, 8) == 0) {
        params.deadline_us = 1 + soak_draw(dice, 50000);
    }
    if (slot->end == BY_CALLBACK) {
        params.callback = on_end;
        params.user = slot;
    }
    params.with_fd = slot->end == BY_FD;
    *may_be_late = params.timeout_us > 0 || params.deadline_us > 0;
    caller->tally.queued++;
    return weft_queue_submit(slot->queue->queue, slot->request->model, &slot->io,
                             &params, &slot->handle, error);
}

static weft_status submit_to_device(soak_slot *slot, weft_error *error)
{
    soak_caller *caller = slot->caller;
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    if (soak_draw(&caller->dice, 8) == 0) {
        params.timeout_ns = 1 + (int64_t)soak_draw(&caller->dice, 20000000);
    }
    if (slot->end == BY_CALLBACK) {
        params.callback = on_end;
        params.user = slot;
    }
    params.with_fd = slot->end == BY_FD;
    caller->tally.submitted++;
    return weft_submit(slot->request->model, &slot->io, &params, &slot->handle, error);
}

/* Submits what is wrong, which must be refused. */
static void submit_badly(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    weft_error error;
    weft_tensor *output = &slot->outputs[0];
    void *data = output->data;
    output->data = soak_draw(&caller->dice, 2) == 0 ? NULL : slot->io.inputs[0].data;
    weft_status status = weft_queue_submit(slot->queue->queue, slot->request->model,
                                           &slot->io, NULL, &slot->handle, &error);
    output->data = data;
    if (status == WEFT_INVALID_ARGUMENT && slot->handle == NULL) {
        caller->tally.bad++;
    } else {
        refused(slot, status, &error, false);
    }
    weft_queue_release(slot->queue->queue);
}

static void choose_end(soak_slot *slot)
{
    soak_dice *dice = &slot->caller->dice;
    slot->end = soak_draw(dice, ENDS);
    slot->deed = slot->end == BY_CALLBACK ? soak_draw(dice, DEEDS) : NOTHING;
    bool kept = slot->deed == NOTHING || slot->deed == SLEEP || slot->deed == CANCEL;
    bool device = slot->queue == NULL;
    if ((device && slot->deed > ORPHAN) || (!device && slot->queue->has_fd && !kept)) {
        slot->deed = NOTHING; /* who takes it needs the handle */
    }
    slot->again = slot->deed == SUBMIT ? 1 + soak_draw(dice, MOST_AGAIN) : 0;
    slot->called = slot->told = slot->is_wrong = slot->is_disordered = false;
    slot->was_again = 0;
    slot->handle = NULL;
}

static void prepare(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    const cli_lane *lane = caller->lane;
    check_pattern(slot);
    pthread_mutex_lock(&caller->lock);
    slot->request = &lane->cases[soak_draw(&caller->dice, (uint32_t)lane->case_count)];
    slot->queue = NULL;
    pthread_mutex_unlock(&caller->lock);
    const cli_case *request = slot->request;
    const soak *self = caller->soak;
    caller->tally.odd += lane->row == self->trials[self->trial_count - 1]->row;
    for (size_t i = 0; i < request->output_count; i++) {
        slot->outputs[i] = request->expected[i];
        slot->outputs[i].data = slot->buffers[i];
    }
    slot->io = (weft_io){request->inputs, request->input_count, slot->outputs,
                         request->output_count};
    fill(slot, request, 0xff);
}

/* The slot has nothing under way any more. */
static void put_away(soak_slot *slot)
{
    pthread_mutex_lock(&slot->caller->lock);
    slot->request = NULL;
    pthread_mutex_unlock(&slot->caller->lock);
}

static void begin_queued(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    weft_error error;
    bool may_be_late = false;
    pthread_mutex_lock(&caller->lock);
    slot->queue = soak_borrow_queue(caller->soak);
    choose_end(slot);
    pthread_mutex_unlock(&caller->lock);
    if (soak_draw(&caller->dice, 64) == 0) {
        submit_badly(slot);
        put_away(slot);
        return;
    }
    uint32_t deed = slot->deed;
    weft_status status = submit_to_queue(slot, &may_be_late, &error);
    if (status != WEFT_OK) {
        refused(slot, status, &error, may_be_late);
        weft_queue_release(slot->queue->queue);
        put_away(slot);
    } else if (deed == ORPHAN) {
        weft_request_release(slot->handle);
    }
}

static void begin_submitted(soak_slot *slot)
{
    weft_error error;
    choose_end(slot);
    weft_status status = submit_to_device(slot, &error);
    if (status != WEFT_OK) {
        refused(slot, status, &error, false);
        put_away(slot);
    } else if (slot->deed == ORPHAN) {
        weft_request_release(slot->handle);
    }
}

/* ---- the end ---- */

/* The calls of a callback that were done before the last one. */
static void count_again(const soak_slot *slot)
{
    slot->caller->tally.done += slot->was_again;
    slot->caller->tally.from_callback += slot->was_again;
}

static void judge(soak_slot *slot, weft_status status, const weft_error *error,
                  bool may_end_early)
{
    soak_caller *caller = slot->caller;
    soak_tally *tally = &caller->tally;
    if (slot->is_wrong || (status == WEFT_OK && !is_right(slot))) {
        tally->wrong++;
        complain(tally, caller->lane, "an answer is not what the request gives alone",
                 "");
    } else if (status == WEFT_OK) {
        tally->done++;
    } else if (status == WEFT_CANCELLED && may_end_early) {
        tally->cancelled++;
    } else if (status == WEFT_TIMEOUT && may_end_early) {
        tally->timed_out++;
    } else {
        tally->failed++;
        complain(tally, caller->lane, weft_status_name(status), error->message);
    }
    count_again(slot);
    if (slot->is_disordered) {
        tally->disordered++;
        complain(tally, caller->lane, "ends were announced out of order", "");
    }
}

/* Some waits have a deadline, so short that nobody would run the request for it, or
 * longer, and are followed by one without. */
static void wait_briefly(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    if (soak_draw(&caller->dice, 2) == 0) {
        int64_t most_ns = soak_draw(&caller->dice, 2) == 0 ? 2000000 : 30000000;
        int64_t time_ns = (int64_t)soak_draw(&caller->dice, (uint32_t)most_ns);
        weft_status status = weft_request_wait(slot->handle, time_ns, NULL);
        caller->tally.gave_up +=
            status == WEFT_TIMEOUT && !weft_request_test(slot->handle, NULL);
    }
}

/* Waits in the way that the request was submitted for; false: it does not end. */
static bool hear_of_end(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    soak_tally *tally = &caller->tally;
    struct pollfd readable = {.events = POLLIN};
    switch (slot->end) {
    case BY_TEST:
        while (!weft_request_test(slot->handle, NULL)) {
            usleep(50);
        }
        tally->by_test++;
        return true;
    case BY_FD:
        readable.fd = weft_request_fd(slot->handle);
        tally->by_fd++;
        return poll(&readable, 1, LOST_MS) == 1 &&
               weft_request_test(slot->handle, NULL);
    case BY_CALLBACK:
        pthread_mutex_lock(&caller->lock);
        while (!slot->told) {
            pthread_cond_wait(&caller->ended, &caller->lock);
        }
        pthread_mutex_unlock(&caller->lock);
        tally->by_callback++;
        return true;
    default:
        wait_briefly(slot);
        tally->by_wait++;
        return true;
    }
}

static bool keeps_handle(const soak_slot *slot)
{
    return slot->deed != LET_GO && slot->deed != ORPHAN && slot->deed != SUBMIT;
}

static void cancel_maybe(soak_slot *slot)
{
    soak_dice *dice = &slot->caller->dice;
    if (soak_draw(dice, 6) != 0) {
        return;
    }
    if (soak_draw(dice, 2) == 0) {
        usleep(soak_draw(dice, 500));
    }
    if (weft_request_cancel(slot->handle)) {
        fill(slot, slot->request, SOAK_PATTERN);
        slot->pattern = slot->request;
    }
}

/* Whether a callback's own submission was refused for a good reason; then counts it. */
static bool was_refused(soak_slot *slot, weft_status status)
{
    soak_tally *tally = &slot->caller->tally;
    bool refusal = status == WEFT_BUSY || status == WEFT_CLOSED ||
                   status == WEFT_NOT_FOUND || status == WEFT_TIMEOUT;
    if (slot->was_again == 0 || slot->handle != NULL || !refusal) {
        return false;
    }
    tally->full += status == WEFT_BUSY;
    tally->closed += status == WEFT_CLOSED;
    tally->not_found += status == WEFT_NOT_FOUND;
    return true;
}

/* Lets go of the request and its queue. False: it was not told of as asked. */
static bool let_go(soak_slot *slot, bool keeps)
{
    bool heard = true;
    if (keeps && slot->queue != NULL && slot->queue->has_fd) {
        heard = soak_await_taken(slot->queue, slot->handle);
        slot->caller->tally.by_queue_fd++;
    }
    if (keeps || slot->deed == SUBMIT) {
        weft_request_release(slot->handle); /* that of the last call */
    }
    if (slot->queue != NULL && slot->deed != RELEASE_QUEUE) {
        weft_queue_release(slot->queue->queue);
    }
    return heard;
}

static void finish(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    if (slot->request == NULL) {
        return;
    }
    bool keeps = keeps_handle(slot);
    if (keeps) {
        cancel_maybe(slot);
    }
    bool heard = hear_of_end(slot);
    weft_status status = slot->status;
    weft_error error = slot->error;
    if (keeps) {
        weft_status told = weft_request_wait(slot->handle, WEFT_FOREVER, &error);
        heard = heard && (slot->end != BY_CALLBACK || told == status);
        status = told;
    }
    if (!was_refused(slot, status)) {
        judge(slot, status, &error, true);
    } else if (slot->is_wrong) {
        judge(slot, WEFT_OK, &error, true);
    } else {
        count_again(slot);
    }
    heard = let_go(slot, keeps) && heard;
    if (!heard) {
        caller->tally.failed++;
        complain(&caller->tally, caller->lane, "an end was not heard of as asked", "");
    }
    put_away(slot);
}

/* ---- a caller ---- */

static void call_directly(soak_slot *slot)
{
    weft_error error;
    slot->caller->tally.direct++;
    slot->is_wrong = slot->is_disordered = false;
    slot->was_again = 0;
    weft_status status = weft_run(slot->request->model, &slot->io, NULL, &error);
    judge(slot, status, &error, false);
    put_away(slot);
}

/* Submits and waits at once, with nothing that keeps the waiting thread from running
 * the request itself. */
static void call_in_person(soak_slot *slot)
{
    soak_caller *caller = slot->caller;
    soak_tally *tally = &caller->tally;
    weft_error error;
    pthread_mutex_lock(&caller->lock);
    slot->queue = soak_borrow_queue(caller->soak);
    slot->end = BY_WAIT;
    slot->deed = NOTHING;
    slot->called = slot->is_wrong = slot->is_disordered = false;
    slot->was_again = 0;
    pthread_mutex_unlock(&caller->lock);
    tally->queued++;
    weft_status status = weft_queue_submit(slot->queue->queue, slot->request->model,
                                           &slot->io, NULL, &slot->handle, &error);
    if (status != WEFT_OK) {
        refused(slot, status, &error, false);
        weft_queue_release(slot->queue->queue);
    } else {
        status = weft_request_wait(slot->handle, WEFT_FOREVER, &error);
        judge(slot, status, &error, true);
        tally->in_person++;
        if (!let_go(slot, true)) {
            tally->failed++;
            complain(tally, caller->lane, "an end was not heard of as asked", "");
        }
    }
    put_away(slot);
}

/* Some requests, one after the other or at the same time. */
static void call_some(soak_caller *self)
{
    if (soak_draw(&self->dice, 4) == 0) {
        for (uint32_t i = 0; i < IN_PERSON && cli_now_ns() < self->soak->round_end_ns;
             i++) {
            prepare(&self->slots[0]);
            call_in_person(&self->slots[0]);
        }
        return;
    }
    uint32_t count = 1 + soak_draw(&self->dice, self->slot_count);
    bool last_first = soak_draw(&self->dice, 2) == 0;
    for (uint32_t i = 0; i < count; i++) {
        soak_slot *slot = &self->slots[i];
        prepare(slot);
        switch (soak_draw(&self->dice, 8)) {
        case 0:
            call_directly(slot);
            break;
        case 1:
            begin_submitted(slot);
            break;
        default:
            begin_queued(slot);
            break;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        finish(&self->slots[last_first ? count - 1 - i : i]);
    }
}

static void make_buffers(soak_caller *self)
{
    const cli_lane *lane = self->lane;
    const size_t count = lane->cases[0].output_count;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += cli_largest_output(lane, i);
    }
    self->slot_count = bytes > LARGE_BYTES ? FEW_SLOTS : SOAK_SLOTS;
    for (uint32_t s = 0; s < self->slot_count; s++) {
        soak_slot *slot = &self->slots[s];
        *slot = (soak_slot){.caller = self, .index = s, .buffer_count = count};
        slot->buffers = cli_allocate(count, sizeof(*slot->buffers));
        slot->outputs = cli_allocate(count, sizeof(*slot->outputs));
        for (size_t i = 0; i < count; i++) {
            slot->buffers[i] = cli_allocate_data(cli_largest_output(lane, i));
        }
    }
}

void *soak_caller_main(void *user)
{
    soak_caller *self = user;
    make_buffers(self);
    while (cli_now_ns() < self->soak->round_end_ns) {
        call_some(self);
    }
    for (uint32_t s = 0; s < self->slot_count; s++) {
        check_pattern(&self->slots[s]);
    }
    return NULL;
}

void soak_caller_free_buffers(soak_caller *caller)
{
    for (uint32_t s = 0; s < caller->slot_count; s++) {
        soak_slot *slot = &caller->slots[s];
        for (size_t i = 0; i < slot->buffer_count; i++) {
            free(slot->buffers[i]);
        }
        free(slot->buffers);
        free(slot->outputs);
    }
    caller->slot_count = 0;
}
