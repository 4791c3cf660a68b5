/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/soak.h"

enum { MOST_TAKEN = SOAK_CALLERS * SOAK_SLOTS, LOST_MS = 1800000 };

static void complain(soak *self, const char *what, const char *words)
{
    if (self->reason[0] == '\0') {
        snprintf(self->reason, sizeof(self->reason), "%s %.400s", what, words);
    }
}

static void broke(soak *self, const char *what, const weft_error *error)
{
    self->broken++;
    complain(self, what, error->message);
}

/* ---- models ---- */

size_t soak_list_models(const soak *self, weft_model *models[SOAK_MODELS])
{
    size_t count = 0;
    for (int32_t i = 0; i < self->trial_count * SOAK_LANES; i++) {
        const cli_trial *trial = self->trials[i % self->trial_count];
        if (i / self->trial_count >= trial->lane_count) {
            continue;
        }
        const cli_lane *lane = &trial->lanes[i / self->trial_count];
        for (int32_t k = 0; k < lane->case_count; k++) {
            weft_model *model = lane->cases[k].model;
            size_t at = 0;
            while (at < count && models[at] != model) {
                at++;
            }
            if (at == count && count < SOAK_MODELS) {
                models[count++] = model;
            }
        }
    }
    return count;
}

static void swap_model(soak *self)
{
    weft_model *models[SOAK_MODELS];
    weft_error error;
    size_t count = soak_list_models(self, models);
    weft_model *model = models[soak_draw(&self->dice, (uint32_t)count)];
    weft_queue *queue = self->queue->queue; /* only this thread retires it */
    if (weft_queue_remove_model(queue, model, &error) != WEFT_OK) {
        broke(self, "taking a model out:", &error);
        return;
    }
    usleep(soak_draw(&self->dice, 2000));
    if (weft_queue_add_model(queue, model, NULL, &error) != WEFT_OK) {
        broke(self, "putting a model in:", &error);
    }
    self->swaps++;
}

/* ---- the descriptor of a queue ---- */

/* Hands one ended request to its submitter. */
static void hand_over(soak_queue *queue, weft_request *request)
{
    pthread_mutex_lock(&queue->lock);
    queue->taken_in_all++;
    bool room = queue->taken_count < MOST_TAKEN;
    queue->strange += !room || !weft_request_test(request, NULL);
    if (room) {
        queue->taken[queue->taken_count++] = request;
    }
    pthread_cond_broadcast(&queue->change);
    pthread_mutex_unlock(&queue->lock);
    if (!room) {
        weft_request_release(request);
    }
}

static void *take_ended(void *user)
{
    enum { LOOK_MS = 20 };
    soak_queue *queue = user;
    struct pollfd readable = {.fd = weft_queue_fd(queue->queue), .events = POLLIN};
    bool stops = false;
    while (!stops) {
        pthread_mutex_lock(&queue->lock);
        stops = queue->stops; /* then everything has ended: one more look */
        pthread_mutex_unlock(&queue->lock);
        (void)poll(&readable, 1, stops ? 0 : LOOK_MS);
        weft_request *request;
        while ((request = weft_queue_take_ended(queue->queue)) != NULL) {
            hand_over(queue, request);
        }
    }
    return NULL;
}

bool soak_await_taken(soak_queue *queue, weft_request *request)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOST_MS / 1000;
    bool found = false;
    int late = 0;
    pthread_mutex_lock(&queue->lock);
    while (!found && late == 0) {
        size_t at = 0;
        while (at < queue->taken_count && queue->taken[at] != request) {
            at++;
        }
        found = at < queue->taken_count;
        if (found) {
            queue->taken[at] = queue->taken[--queue->taken_count];
        } else {
            late = pthread_cond_timedwait(&queue->change, &queue->lock, &until);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    if (found) {
        weft_request_release(request); /* that of who took it */
    }
    return found;
}

/* ---- queues ---- */

static void choose_params(soak *self, weft_queue_params *params)
{
    soak_dice *dice = &self->dice;
    params->workers = 1 + (int32_t)soak_draw(dice, 4);
    /* Nothing is posted where room may be short: some have the usual room. */
    params->max_queue_size =
        soak_draw(dice, 3) == 0 ? 0 : 1 + (int32_t)soak_draw(dice, 64);
    params->full_policy = soak_draw(dice, 2) == 0 ? WEFT_QUEUE_FAIL : WEFT_QUEUE_BLOCK;
    params->preserve_order = soak_draw(dice, 3) == 0;
    params->with_fd = soak_draw(dice, 3) == 0;
    if (soak_draw(dice, 4) == 0) {
        params->max_queue_delay_us = 200;
        params->preferred_batch_sizes[0] = 4;
        params->preferred_batch_size_count = 1;
    }
    if (soak_draw(dice, 4) == 0) {
        params->max_batch_size = 4 + (int32_t)soak_draw(dice, 8);
    }
}

static weft_status add_models(soak *self, weft_queue *queue, weft_error *error)
{
    weft_model *models[SOAK_MODELS];
    size_t count = soak_list_models(self, models);
    weft_status status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && i < count; i++) {
        status = weft_queue_add_model(queue, models[i], NULL, error);
    }
    return status;
}

static void destroy_queue(soak_queue *queue)
{
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->change);
    free(queue);
}

static soak_queue *create_queue(soak *self)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    weft_error error;
    soak_queue *made = cli_allocate(1, sizeof(*made));
    choose_params(self, &params);
    made->soak = self;
    made->blocks = params.full_policy == WEFT_QUEUE_BLOCK;
    made->keeps_order = params.preserve_order && soak_draw(&self->dice, 2) == 0;
    made->has_fd = params.with_fd;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->change, NULL);
    weft_status status = weft_queue_create(self->device, &params, &made->queue, &error);
    if (status == WEFT_OK) {
        status = add_models(self, made->queue, &error);
    }
    if (status == WEFT_OK && made->has_fd &&
        pthread_create(&made->taker, NULL, take_ended, made) != 0) {
        status = WEFT_OUT_OF_MEMORY;
        snprintf(error.message, sizeof(error.message), "no thread");
    }
    if (status != WEFT_OK) {
        broke(self, "a queue:", &error);
        weft_queue_release(made->queue);
        destroy_queue(made);
        return NULL;
    }
    self->queues++;
    return made;
}

/* Closes a queue and waits for its end, at first not for long, so that requests that
 * wait are cancelled; then its requests must add up. */
static void drain_queue(soak *self, soak_queue *queue)
{
    weft_queue_statistics s;
    weft_error error;
    weft_queue_close(queue->queue);
    int64_t short_ns = (int64_t)soak_draw(&self->dice, 3000000);
    if (weft_queue_drain(queue->queue, short_ns, NULL) != WEFT_OK &&
        weft_queue_drain(queue->queue, LOST_MS * INT64_C(1000000), &error) != WEFT_OK) {
        broke(self, "draining:", &error);
    }
    weft_queue_get_statistics(queue->queue, &s);
    self->unbalanced +=
        s.waiting != 0 || s.accepted != s.done + s.failed + s.cancelled + s.timed_out;
    if (queue->has_fd) {
        pthread_mutex_lock(&queue->lock);
        queue->stops = true;
        pthread_mutex_unlock(&queue->lock);
        pthread_join(queue->taker, NULL);
        self->unbalanced += queue->taken_in_all != s.accepted;
        self->broken += queue->strange;
    }
}

/* Puts another queue in the place of the one in use, and ends that one, either in all
 * order or by leaving it to those who have requests in it. */
static void replace_queue(soak *self)
{
    soak_queue *before = self->queue;
    soak_queue *next = create_queue(self);
    if (next == NULL) {
        return;
    }
    bool close_first = soak_draw(&self->dice, 2) == 0;
    if (close_first) {
        weft_queue_close(before->queue); /* callers meet it closed */
        usleep(soak_draw(&self->dice, 2000));
    }
    next->next = before;
    pthread_mutex_lock(&self->lock);
    self->queue = next;
    pthread_mutex_unlock(&self->lock);
    if (before->has_fd || soak_draw(&self->dice, 2) == 0) {
        drain_queue(self, before);
        self->drained_under_load++;
    } else {
        self->left_under_load++;
    }
    weft_queue_release(before->queue);
}

bool soak_open_queue(soak *self)
{
    self->queue = create_queue(self);
    return self->queue != NULL;
}

void *soak_tend_queues(void *user)
{
    soak *self = user;
    enum { LEAST_US = 10000, MOST_US = 150000 };
    for (;;) {
        usleep(LEAST_US + soak_draw(&self->dice, MOST_US));
        if (cli_now_ns() >= self->round_end_ns) {
            return NULL;
        }
        if (soak_draw(&self->dice, 2) == 0) {
            replace_queue(self);
        } else if (!self->queue->keeps_order) {
            swap_model(self); /* order is kept until a model is taken out */
        }
    }
}

void soak_end_queues(soak *self)
{
    soak_queue *queue = self->queue;
    if (queue != NULL) {
        drain_queue(self, queue);
        weft_queue_release(queue->queue);
    }
    while (queue != NULL) {
        soak_queue *next = queue->next;
        destroy_queue(queue);
        queue = next;
    }
    self->queue = NULL;
}

soak_queue *soak_borrow_queue(soak *self)
{
    pthread_mutex_lock(&self->lock);
    soak_queue *queue = self->queue;
    (void)weft_queue_retain(queue->queue);
    pthread_mutex_unlock(&self->lock);
    return queue;
}
