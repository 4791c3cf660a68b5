/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/open_loop.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cli/pass.h"

enum {
    SEED = 42,
    ROOMS = CLI_OPEN_LOOP_MOST,
    MOST_ARRIVALS = 1 << 20,
    WARM_THREADS = 64,
    /* To sleep and be woken costs several microseconds of a core. */
    LEAST_SLEEP_NS = 20000,
    POLL_NS = 50000, /* while no room is free */
    SLICE_NS = 100000,
};

/* Of the time given, before the arrivals. */
static const double SATURATED_PART = 0.25;

/* A request under way, or one that has ended and is still to be judged. */
typedef struct room {
    cli_slot slot;
    const cli_lane *lane;
    uint64_t which; /* of the lane's requests */
    bool taken;
    uint32_t *latency_ns; /* where it belongs; NULL: of no interest */
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

/* linux/sched/types.h; glibc has neither the call nor the struct. */
typedef struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns, deadline_ns, period_ns;
} scheduling;

/* What the calling thread had before it became punctual. */
typedef struct habits {
    int slack;
    bool scheduled; /* the policy has slices, and they were read */
    scheduling scheduling;
} habits;

/* The calling thread stands for a world outside: sleeps end when they are due, not up
 * to 50 us later, and it is let on to a core soon when a worker computes there, for
 * with slices of 100 us it is never far behind (Linux 6.12; before that, it waits its
 * turn). Its policy and its nice value stay. */
static habits become_punctual(void)
{
    habits had = {.slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)};
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    scheduling *now = &had.scheduling;
    had.scheduled = syscall(SYS_sched_getattr, 0, now, sizeof(*now), 0) == 0 &&
                    now->policy == SCHED_OTHER;
    if (had.scheduled) {
        scheduling wanted = *now;
        wanted.slice_ns = SLICE_NS;
        (void)syscall(SYS_sched_setattr, 0, &wanted, 0);
    }
    return had;
}

static void become_usual(const habits *had)
{
    (void)prctl(PR_SET_TIMERSLACK, had->slack > 0 ? (unsigned long)had->slack : 50000ul,
                0, 0, 0);
    if (had->scheduled) {
        (void)syscall(SYS_sched_setattr, 0, &had->scheduling, 0);
    }
}

/* Sleeps, or lets others run where the time is not worth a sleep. */
static void await(int64_t due_ns)
{
    struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
    for (int64_t now_ns; (now_ns = cli_now_ns()) < due_ns;) {
        if (due_ns - now_ns < LEAST_SLEEP_NS ||
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0) {
            (void)sched_yield();
        }
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
    if (!own->taken) {
        return;
    }
    while ((ended_ns = atomic_load_explicit(&own->ended_ns, memory_order_acquire)) ==
           0) {
        await(cli_now_ns() + POLL_NS);
    }
    int64_t took_ns = ended_ns - own->due_ns;
    if (own->latency_ns != NULL) {
        *own->latency_ns = took_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ns;
    }
    own->taken = false;
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
static void fill_room(const arrivals *a, room *own, uint64_t index, int64_t due_ns)
{
    own->taken = true;
    own->which = index / ROOMS % (uint64_t)own->lane->case_count;
    own->slot.of = &own->lane->cases[own->which];
    own->due_ns = due_ns;
    own->latency_ns = a->latencies_ns != NULL ? &a->latencies_ns[index] : NULL;
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

static void clear_rooms(arrivals *a)
{
    for (int i = 0; i < ROOMS; i++) {
        clear_room(a, &a->rooms[i]);
    }
}

static double seconds_since(int64_t begin_ns)
{
    return (double)(cli_now_ns() - begin_ns) * 1e-9;
}

/* All rooms are kept taken: the rate that the queue and this one submitter can do. */
static double saturate(arrivals *a, double seconds)
{
    int64_t begin_ns = cli_now_ns();
    uint64_t count = 0;
    for (; count == 0 || seconds_since(begin_ns) < seconds; count++) {
        room *own = &a->rooms[count % ROOMS];
        clear_room(a, own);
        fill_room(a, own, count, cli_now_ns());
        submit(a, own);
    }
    clear_rooms(a);
    return (double)count / seconds_since(begin_ns);
}

static void run_arrivals(arrivals *a)
{
    weft_queue_statistics before;
    weft_queue_get_statistics(a->queue, &before);
    int64_t start_ns = cli_now_ns();
    for (uint64_t i = 0; i < a->count; i++) {
        room *own = &a->rooms[i % ROOMS];
        clear_room(a, own);
        fill_room(a, own, i, start_ns + a->offsets_ns[i]);
        await(own->due_ns);
        submit(a, own);
    }
    clear_rooms(a);
    a->result->rate = (double)a->count / seconds_since(start_ns);
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

/* Finds the capacity, then lets requests arrive. */
static void run(arrivals *a, double seconds)
{
    cli_open_loop *result = a->result;
    warm(a);
    const habits had = become_punctual();
    result->capacity = saturate(a, seconds * SATURATED_PART);
    result->offered = result->capacity * result->load;
    plan_arrivals(a, seconds * (1 - SATURATED_PART));
    run_arrivals(a);
    become_usual(&had);
}

void cli_open_loop_run(const cli_trial *trial, const cli_way *way, double load,
                       double seconds, cli_open_loop *result)
{
    weft_error error = {0};
    arrivals a = {.trial = trial, .result = result, .judge = {.trial = trial}};
    *result = (cli_open_loop){.row = trial->row, .way = *way, .load = load};
    if (cli_queue_open(trial, way, &a.queue, &error) != WEFT_OK) {
        result->verdict = CLI_FAILED;
        snprintf(result->reason, sizeof(result->reason), "%s", error.message);
        return;
    }
    a.rooms = cli_allocate(ROOMS, sizeof(*a.rooms));
    for (int i = 0; i < ROOMS; i++) {
        a.rooms[i].lane = &trial->lanes[i % trial->lane_count];
        cli_slot_init(&a.rooms[i].slot, a.rooms[i].lane);
    }
    run(&a, seconds);
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
