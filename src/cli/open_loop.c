/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/open_loop.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "cli/pass.h"

enum {
    SEED = 42,
    ROOMS = 1024, /* most requests under way */
    MOST_ARRIVALS = 1 << 20,
    WARM_THREADS = 64,
    POLL_NS = 20000,
};

/* A request under way, or one that has ended and is still to be judged. */
typedef struct room {
    cli_slot slot;
    const cli_lane *lane;
    uint64_t which;       /* of the lane's requests */
    uint32_t *latency_ns; /* where it belongs; NULL: the room is free */
    int64_t due_ns;
    weft_status status;
    _Atomic int64_t ended_ns; /* 0: under way; who ends it -> who judges it */
} room;

typedef struct arrivals {
    const cli_trial *trial;
    weft_queue *queue;
    cli_open_loop *result;
    room *rooms;
    int64_t *offsets_ns; /* from the start */
    uint32_t *latencies_ns;
    uint64_t count;
    cli_caller judge; /* counts what was right */
} arrivals;

/* Times between arrivals of a Poisson process are exponential. */
static void plan_arrivals(arrivals *a, double seconds)
{
    double wanted = ceil(a->result->offered * seconds);
    a->count = wanted > MOST_ARRIVALS ? MOST_ARRIVALS : (uint64_t)wanted;
    a->offsets_ns = cli_allocate((size_t)a->count, sizeof(*a->offsets_ns));
    a->latencies_ns = cli_allocate((size_t)a->count, sizeof(*a->latencies_ns));
    float *uniform = cli_allocate((size_t)a->count, sizeof(*uniform));
    weft_random_key key = {SEED, a->trial->row->stream, UINT32_MAX,
                           (uint32_t)(a->result->load * 1000)};
    weft_random_fill_uniform(&key, uniform, (size_t)a->count);
    double at = 0;
    for (uint64_t i = 0; i < a->count; i++) {
        at -= log1p(-(double)uniform[i]) / a->result->offered;
        a->offsets_ns[i] = (int64_t)(at * 1e9);
    }
    free(uniform);
}

static void sleep_until(int64_t due_ns)
{
    struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
    while (cli_now_ns() < due_ns &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

/* On a worker of the queue. */
static void on_end(void *user, weft_request *request, weft_status status)
{
    room *own = user;
    own->status = status;
    atomic_store_explicit(&own->ended_ns, cli_now_ns(), memory_order_release);
    weft_request_release(request);
}

/* Waits for the request in a room, if any, and judges its answer. */
static void clear_room(arrivals *a, room *own)
{
    int64_t ended_ns = 0;
    if (own->latency_ns == NULL) {
        return;
    }
    while ((ended_ns = atomic_load_explicit(&own->ended_ns, memory_order_acquire)) ==
           0) {
        sleep_until(cli_now_ns() + POLL_NS);
    }
    int64_t took_ns = ended_ns - own->due_ns;
    *own->latency_ns = took_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ns;
    own->latency_ns = NULL;
    if (own->status == WEFT_OK) {
        cli_caller_compare(&a->judge, &own->slot, own->slot.of);
    } else {
        weft_error error = {.status = own->status};
        snprintf(error.message, sizeof(error.message), "%s",
                 weft_status_advice(own->status));
        cli_caller_failed(&a->judge, &error);
    }
    a->judge.calls++;
}

/* Makes the next user of a room ready. */
static void fill_room(arrivals *a, room *own, uint64_t index, int64_t due_ns)
{
    own->which = index / ROOMS % (uint64_t)own->lane->case_count;
    own->slot.of = &own->lane->cases[own->which];
    own->due_ns = due_ns;
    own->latency_ns = &a->latencies_ns[index];
    atomic_store_explicit(&own->ended_ns, 0, memory_order_relaxed);
    cli_slot_spoil(&own->slot, own->slot.of);
}

static void submit(const arrivals *a, room *own)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    weft_request *request = NULL;
    weft_error error = {0};
    weft_io io = cli_slot_io(&own->slot, own->lane, own->which);
    params.callback = on_end;
    params.user = own;
    weft_status status = weft_queue_submit(a->queue, own->slot.of->model, &io, &params,
                                           &request, &error);
    if (status != WEFT_OK) {
        own->status = status;
        atomic_store_explicit(&own->ended_ns, cli_now_ns(), memory_order_release);
    }
}

static void run_arrivals(arrivals *a)
{
    weft_queue_statistics before;
    weft_queue_get_statistics(a->queue, &before);
    /* Sleeps end when they are due, not up to 50 us later. */
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    int64_t start_ns = cli_now_ns();
    for (uint64_t i = 0; i < a->count; i++) {
        room *own = &a->rooms[i % ROOMS];
        clear_room(a, own);
        fill_room(a, own, i, start_ns + a->offsets_ns[i]);
        sleep_until(own->due_ns);
        submit(a, own);
    }
    for (int i = 0; i < ROOMS; i++) {
        clear_room(a, &a->rooms[i]);
    }
    a->result->rate = (double)a->count / ((double)(cli_now_ns() - start_ns) * 1e-9);
    (void)prctl(PR_SET_TIMERSLACK, (unsigned long)(slack > 0 ? slack : 50000), 0, 0, 0);
    weft_queue_get_statistics(a->queue, &a->result->queue);
    cli_queue_subtract(&a->result->queue, &before);
}

static double part_of(const arrivals *a, double part)
{
    return a->latencies_ns[(size_t)((double)(a->count - 1) * part)];
}

static void gather(arrivals *a)
{
    cli_open_loop *result = a->result;
    result->calls = a->judge.calls;
    result->compared = a->judge.compared;
    result->wrong = a->judge.wrong;
    result->failed = a->judge.failed;
    if (a->judge.reason[0] != '\0') {
        snprintf(result->reason, sizeof(result->reason), "%s", a->judge.reason);
        result->verdict = CLI_FAILED;
    }
    cli_sort_u32(a->latencies_ns, (size_t)a->count);
    result->p50_ns = part_of(a, 0.5);
    result->p95_ns = part_of(a, 0.95);
    result->p99_ns = part_of(a, 0.99);
    result->p999_ns = part_of(a, 0.999);
    result->max_ns = part_of(a, 1);
}

/* Lets the queue meet its sizes of batches before anything is measured. */
static void warm(const arrivals *a)
{
    cli_pass pass;
    cli_pass_params params = {
        .threads = WARM_THREADS, .iterations = 2, .seconds = 0.05, .queue = a->queue};
    cli_pass_run(a->trial, &params, &pass);
}

void cli_open_loop_run(const cli_trial *trial, const cli_way *way, double capacity,
                       double load, double seconds, cli_open_loop *result)
{
    weft_error error = {0};
    arrivals a = {.trial = trial, .result = result, .judge = {.trial = trial}};
    *result = (cli_open_loop){
        .row = trial->row, .way = *way, .load = load, .offered = capacity * load};
    if (cli_queue_open(trial, way, &a.queue, &error) != WEFT_OK) {
        result->verdict = CLI_FAILED;
        snprintf(result->reason, sizeof(result->reason), "%s", error.message);
        return;
    }
    plan_arrivals(&a, seconds);
    a.rooms = cli_allocate(ROOMS, sizeof(*a.rooms));
    for (int i = 0; i < ROOMS; i++) {
        a.rooms[i].lane = &trial->lanes[i % trial->lane_count];
        cli_slot_init(&a.rooms[i].slot, a.rooms[i].lane);
    }
    warm(&a);
    run_arrivals(&a);
    gather(&a);
    if (!cli_queue_shut(a.queue, result->reason)) {
        result->verdict = CLI_FAILED;
    }
    for (int i = 0; i < ROOMS; i++) {
        cli_slot_fini(&a.rooms[i].slot);
    }
    free(a.rooms);
    free(a.offsets_ns);
    free(a.latencies_ns);
}
