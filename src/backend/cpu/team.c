/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/team.h"

#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"

/* How a step is shared. A run's `ticket` holds a sequence number of the step (upper
 * half) and the next tile that nobody has taken (lower half; CLOSED between steps).
 * Whoever wants tiles moves the lower half up by compare-and-swap, so each tile goes to
 * one thread. The caller opens a step only after it closed the one before, and closes
 * it only when `done` has counted all its tiles; so whoever holds a tile may read all
 * that describes the step, and whoever comes late with an old ticket fails at the
 * swap.
 *
 * A run lives in the team, not with its caller: a helper stays with a run when it ends
 * and looks at the ticket for a short while, for the same caller is likely to come
 * again. Nobody waits for a helper that holds no tile. */

enum {
    SPIN_NS = 50000,     /* a helper without work stays awake for so long */
    SPINS_PER_LOOK = 32, /* pauses between looks at the clock and the callers */
    SPINS_PER_YIELD = 4 * SPINS_PER_LOOK, /* and letting others have this core */
    YIELDED_NS = 3000,                    /* somebody did */
    MIN_CHUNK_NS = 2000,    /* tiles are taken in chunks of at least this work */
    MAX_CHUNK_NS = 100000,  /* and at most this: how late a helper may leave */
    CROWD_NS = 1000000,     /* no help for so long after all cores were busy */
    YIELD_AFTER_NS = 20000, /* a caller waiting for a tile lets others run */
    STALL_NS = 200000,      /* the helper has lost its core */
    STALL_REST_NS = 20000000,
    POOR_RUNS = 4,          /* so many runs with little help make a pause */
    POOR_REST_NS = 1000000, /* doubled for each further one */
    MAX_POOR_DOUBLINGS = 7,
    POOR_PART = 16, /* a helper that did less than this part of the work was poor */
};
#define CLOSED UINT32_MAX

struct wefti_team_run {
    /* atomic: caller opens and closes, all take tiles */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 ticket;

    /* atomic: who has done tiles -> caller */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 done;
    wefti_atomic_u64 helped_ns;

    /* atomic: caller writes while closed -> who takes tiles. Written before the ticket
     * opens; a mix of old and new is noticed at the swap. */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 tile_count;
    wefti_atomic_u32 min_chunk, max_chunk;
    wefti_atomic_u32 member_limit;
    wefti_atomic_u32 caller_core;
    /* atomic: callers; 1 while one has the run */
    wefti_atomic_u32 taken;
    /* atomic: helpers that are with this run or on their way */
    wefti_atomic_u32 members;

    /* caller writes while closed -> who holds a tile */
    wefti_team_work work;
    const void *job;
    uint32_t step;
    int64_t tile_ns;

    /* one thread at a time: the caller */
    int64_t shared_ns;

    /* guarded by the team's lock */
    int64_t failed_tile; /* INT64_MAX: none */
    weft_status failed_status;
    weft_error failure;

    wefti_team *team; /* immutable after create */
};

typedef struct helper {
    /* atomic: callers offer a run, the helper takes it out again */
    WEFTI_CACHE_ALIGNED wefti_atomic_ptr run;
    /* atomic: helper, under its lock -> callers */
    wefti_atomic_u32 sleeping;
    /* atomic: helper -> statistics */
    wefti_atomic_u64 tile_count;

    wefti_mutex lock;      /* guards nothing but going to sleep */
    wefti_condition awake; /* woken by who offers a run, and by destroy */

    /* immutable after create */
    wefti_team *team;
    int32_t member;
    wefti_thread thread;
} helper;

struct wefti_team {
    wefti_callers callers;

    /* atomic: callers, helpers -> callers, helpers; helpers that are not asleep */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 engaged;
    /* atomic: who sees all cores busy -> callers; no help before this time */
    wefti_atomic_u64 crowded_until_ns;
    /* atomic: callers; successive runs that got little help */
    wefti_atomic_u32 poor_runs;
    /* atomic: destroy -> helpers */
    wefti_atomic_u32 stopping;

    /* immutable after create */
    WEFTI_CACHE_ALIGNED int32_t helper_count; /* threads that were started */
    int32_t lock_count;                       /* helpers with lock and condition */
    uint32_t core_count;
    bool has_lock;
    helper *helpers;
    wefti_team_run *runs; /* one for each helper */

    wefti_mutex lock; /* guards the runs' failures */
};

/* True when a helper is in the way of a caller. */
WEFTI_INLINE bool is_over_full(const wefti_team *team)
{
    /* Relaxed: a hint; a wrong guess costs time, nothing else. */
    return wefti_callers_count(&team->callers) +
               wefti_atomic_u32_load_relaxed(&team->engaged) >
           team->core_count;
}

/* True when the system put a helper on its caller's core. */
static bool is_on_callers_core(const wefti_team_run *run)
{
    return wefti_atomic_u32_load_relaxed(&run->caller_core) == wefti_current_core();
}

/* Keeps helpers away for a while. */
static void rest(wefti_team *team, int64_t now, int64_t rest_ns)
{
    uint64_t until = (uint64_t)(now + rest_ns);
    /* Relaxed: a hint. A race may shorten the rest. */
    if (wefti_atomic_u64_load_relaxed(&team->crowded_until_ns) < until) {
        wefti_atomic_u64_store_relaxed(&team->crowded_until_ns, until);
    }
}

/* Chunks shrink towards the end, so that all finish at about the same time. */
static uint32_t chunk_size(const wefti_team_run *run, uint32_t remaining)
{
    /* Relaxed: any size from 1 to `remaining` is right. */
    uint32_t least = wefti_atomic_u32_load_relaxed(&run->min_chunk);
    uint32_t most = wefti_atomic_u32_load_relaxed(&run->max_chunk);
    uint32_t members = wefti_atomic_u32_load_relaxed(&run->members);
    uint32_t chunk = members == 0 ? remaining : remaining / (2 * (members + 1));
    chunk = chunk < most ? chunk : most;
    chunk = chunk > least ? chunk : least;
    return chunk < remaining ? chunk : remaining;
}

/* Takes the next tiles of the open step; false when there are none. */
static bool take_tiles(wefti_team_run *run, int32_t member, uint32_t *begin,
                       uint32_t *end)
{
    uint64_t ticket = wefti_atomic_u64_load_acquire(&run->ticket);
    for (;;) {
        uint32_t next = (uint32_t)ticket;
        uint32_t count = wefti_atomic_u32_load_acquire(&run->tile_count);
        /* Relaxed: as tile_count, which is read with acquire. */
        uint32_t limit = wefti_atomic_u32_load_relaxed(&run->member_limit);
        if (next == CLOSED || next >= count || (uint32_t)member > limit) {
            return false;
        }
        uint32_t chunk = chunk_size(run, count - next);
        if (wefti_atomic_u64_cas_acq_rel(&run->ticket, &ticket, ticket + chunk)) {
            *begin = next;
            *end = next + chunk;
            return true;
        }
    }
}

static WEFTI_NOINLINE void note_failure(wefti_team_run *run, int64_t tile,
                                        weft_status status, const weft_error *error)
{
    wefti_mutex_lock(&run->team->lock);
    if (tile < run->failed_tile) {
        run->failed_tile = tile;
        run->failed_status = status;
        run->failure = *error;
    }
    wefti_mutex_unlock(&run->team->lock);
}

/* Does the tiles that were taken. Tiles behind a failed one are done all the same: the
 * first failing tile is then known, whoever does it. */
static void do_tiles(wefti_team_run *run, int32_t member, uint32_t begin, uint32_t end)
{
    weft_error error;
    weft_status status = run->work(run->job, run->step, member, begin, end, &error);
    if (WEFTI_UNLIKELY(status != WEFT_OK)) {
        note_failure(run, begin, status, &error);
    }
}

/* True when a step is open with tiles that nobody has taken. */
WEFTI_INLINE bool has_work(const wefti_team_run *run)
{
    uint32_t next = (uint32_t)wefti_atomic_u64_load_acquire(&run->ticket);
    return next != CLOSED && next < wefti_atomic_u32_load_acquire(&run->tile_count);
}

/* Does some tiles of the open step; false when there are none. */
static bool help(helper *h, wefti_team_run *run)
{
    uint32_t begin, end;
    if (!take_tiles(run, h->member, &begin, &end)) {
        return false;
    }
    uint32_t count = end - begin;
    int64_t work_ns = count * run->tile_ns;
    do_tiles(run, h->member, begin, end);
    /* Relaxed: `done` publishes them. */
    (void)wefti_atomic_u64_add_relaxed(&run->helped_ns, (uint64_t)work_ns);
    (void)wefti_atomic_u64_add_relaxed(&h->tile_count, count);
    (void)wefti_atomic_u64_add_acq_rel(&run->done, count);
    return true;
}

/* Stays with a run until it has had no work for a while or is in the way. On its
 * caller's core it does not wait for work: others keep all cores busy then, and it
 * would only take the caller's time. */
static void serve(helper *h, wefti_team_run *run)
{
    wefti_team *team = h->team;
    int64_t idle_since = 0;
    uint32_t spins = 0;
    while (!is_over_full(team)) {
        if (help(h, run)) {
            idle_since = 0;
            spins = 0;
            continue;
        }
        int64_t now = wefti_clock_ns();
        idle_since = idle_since == 0 ? now : idle_since;
        if (is_on_callers_core(run)) {
            break;
        }
        if (now - idle_since > SPIN_NS ||
            wefti_atomic_u32_load_acquire(&team->stopping) != 0) {
            return;
        }
        while (++spins % SPINS_PER_LOOK != 0 && !has_work(run)) {
            wefti_pause();
        }
        if (spins % SPINS_PER_YIELD == 0) {
            now = wefti_clock_ns();
            wefti_thread_yield();
            if (wefti_clock_ns() - now > YIELDED_NS) {
                return; /* this core is not idle */
            }
        }
    }
    rest(team, wefti_clock_ns(), CROWD_NS);
}

/* Sleeps until a run is offered; NULL when the team ends. */
static wefti_team_run *await_offer(helper *h)
{
    wefti_team_run *run = wefti_atomic_ptr_load_acquire(&h->run);
    if (run != NULL) {
        return run;
    }
    wefti_mutex_lock(&h->lock);
    /* Who offers writes `run`, then reads `sleeping`; here it is the other way round,
     * all in one order, so one of both sees the other. */
    wefti_atomic_u32_store_seq_cst(&h->sleeping, 1);
    while ((run = wefti_atomic_ptr_load_seq_cst(&h->run)) == NULL &&
           wefti_atomic_u32_load_acquire(&h->team->stopping) == 0) {
        (void)wefti_condition_wait(&h->awake, &h->lock, WEFTI_NEVER);
    }
    wefti_atomic_u32_store_seq_cst(&h->sleeping, 0);
    wefti_mutex_unlock(&h->lock);
    return run;
}

static void helper_main(void *argument)
{
    helper *h = argument;
    for (wefti_team_run *run; (run = await_offer(h)) != NULL;) {
        serve(h, run);
        (void)wefti_atomic_u32_sub_acq_rel(&run->members, 1);
        (void)wefti_atomic_u32_sub_acq_rel(&h->team->engaged, 1);
        wefti_atomic_ptr_store_release(&h->run, NULL);
    }
}

static void wake(helper *h)
{
    if (wefti_atomic_u32_load_seq_cst(&h->sleeping) != 0) {
        wefti_mutex_lock(&h->lock);
        wefti_condition_wake_one(&h->awake);
        wefti_mutex_unlock(&h->lock);
    }
}

/* Asks a helper to come; false when it is with somebody. */
static bool offer(wefti_team_run *run, helper *h)
{
    void *nobody = NULL;
    if (wefti_atomic_ptr_load_acquire(&h->run) != NULL) {
        return false;
    }
    /* Counted before it can come, so that it cannot be uncounted first. */
    (void)wefti_atomic_u32_add_acq_rel(&run->members, 1);
    (void)wefti_atomic_u32_add_acq_rel(&run->team->engaged, 1);
    if (!wefti_atomic_ptr_cas_seq_cst(&h->run, &nobody, run)) {
        (void)wefti_atomic_u32_sub_acq_rel(&run->members, 1);
        (void)wefti_atomic_u32_sub_acq_rel(&run->team->engaged, 1);
        return false;
    }
    wake(h);
    return true;
}

/* Asks helpers to come, as many as there are idle cores. */
static void engage(wefti_team_run *run)
{
    wefti_team *team = run->team;
    int32_t limit = (int32_t)wefti_atomic_u32_load_relaxed(&run->member_limit);
    limit = limit < team->helper_count ? limit : team->helper_count;
    uint32_t callers = wefti_callers_count(&team->callers);
    for (int32_t i = 0; i < limit; i++) {
        /* Relaxed: a hint. */
        if (callers + wefti_atomic_u32_load_relaxed(&team->engaged) >=
            team->core_count) {
            return;
        }
        (void)offer(run, &team->helpers[i]);
    }
}

static wefti_team_run *take_run(wefti_team *team)
{
    for (int32_t i = 0; i < team->helper_count; i++) {
        wefti_team_run *run = &team->runs[i];
        if (wefti_atomic_u32_load_acquire(&run->taken) == 0 &&
            wefti_atomic_u32_exchange_acq_rel(&run->taken, 1) == 0) {
            return run;
        }
    }
    return NULL;
}

wefti_team_run *wefti_team_begin(wefti_team *team, wefti_team_work work,
                                 const void *job, int32_t member_limit)
{
    int64_t now = wefti_clock_ns();
    if (wefti_callers_count(&team->callers) >= team->core_count) {
        rest(team, now, CROWD_NS);
        return NULL;
    }
    /* Relaxed: a hint. */
    if ((uint64_t)now < wefti_atomic_u64_load_relaxed(&team->crowded_until_ns)) {
        return NULL;
    }
    wefti_team_run *run = take_run(team);
    if (run == NULL) {
        return NULL;
    }
    /* The ticket is closed: nobody reads these now but as hints. */
    run->work = work;
    run->job = job;
    run->shared_ns = 0;
    wefti_atomic_u64_store_relaxed(&run->helped_ns, 0);
    wefti_atomic_u32_store_relaxed(&run->caller_core, wefti_current_core());
    wefti_atomic_u32_store_release(&run->member_limit, (uint32_t)member_limit);
    engage(run);
    if (wefti_atomic_u32_load_acquire(&run->members) == 0) {
        wefti_atomic_u32_store_release(&run->taken, 0);
        return NULL;
    }
    return run;
}

static uint32_t tiles_of(int64_t work_ns, int64_t tile_ns, uint32_t tile_count)
{
    int64_t tiles = work_ns / (tile_ns > 0 ? tile_ns : 1);
    tiles = tiles < tile_count ? tiles : tile_count;
    return tiles > 0 ? (uint32_t)tiles : 1;
}

static void open_step(wefti_team_run *run, uint32_t step, uint32_t tile_count,
                      int64_t tile_ns)
{
    uint64_t sequence = wefti_atomic_u64_load_relaxed(&run->ticket) >> 32;
    run->step = step;
    run->tile_ns = tile_ns;
    run->failed_tile = INT64_MAX;
    run->failed_status = WEFT_OK;
    run->shared_ns += tile_ns * tile_count;
    /* Relaxed: published by the ticket. */
    wefti_atomic_u64_store_relaxed(&run->done, 0);
    wefti_atomic_u32_store_relaxed(&run->min_chunk,
                                   tiles_of(MIN_CHUNK_NS, tile_ns, tile_count));
    wefti_atomic_u32_store_relaxed(&run->max_chunk,
                                   tiles_of(MAX_CHUNK_NS, tile_ns, tile_count));
    /* Release: who sees this sees that the step before was closed. */
    wefti_atomic_u32_store_release(&run->tile_count, tile_count);
    wefti_atomic_u64_store_release(&run->ticket, (sequence + 1) << 32);
}

/* Waits for the tiles that helpers hold. */
static void await_tiles(wefti_team_run *run, uint32_t own, uint32_t tile_count)
{
    int64_t begin = 0, waited = 0;
    uint32_t spins = 0;
    while (wefti_atomic_u64_load_acquire(&run->done) + own != tile_count &&
           !wefti_sabotaged(WEFTI_SABOTAGE_TEAM_WAIT)) {
        wefti_pause();
        if (++spins % SPINS_PER_LOOK != 0 && waited < YIELD_AFTER_NS) {
            continue;
        }
        int64_t now = wefti_clock_ns();
        begin = begin == 0 ? now : begin;
        waited = now - begin;
        if (waited >= YIELD_AFTER_NS) {
            wefti_thread_yield();
        }
    }
    if (waited > STALL_NS) {
        rest(run->team, begin + waited, STALL_REST_NS);
    }
}

weft_status wefti_team_share(wefti_team_run *run, uint32_t step, uint32_t tile_count,
                             int64_t tile_ns, weft_error *error)
{
    uint32_t begin, end, own = 0;
    if (wefti_atomic_u32_load_relaxed(&run->members) == 0 &&
        (uint64_t)wefti_clock_ns() >=
            wefti_atomic_u64_load_relaxed(&run->team->crowded_until_ns)) {
        engage(run); /* they left during a long step that was not shared */
    }
    open_step(run, step, tile_count, tile_ns);
    while (take_tiles(run, 0, &begin, &end)) {
        do_tiles(run, 0, begin, end);
        own += end - begin;
    }
    await_tiles(run, own, tile_count);
    uint64_t sequence = wefti_atomic_u64_load_relaxed(&run->ticket) >> 32;
    wefti_atomic_u64_store_release(&run->ticket, sequence << 32 | CLOSED);
    if (WEFTI_UNLIKELY(run->failed_status != WEFT_OK)) {
        if (error != NULL) {
            *error = run->failure;
        }
        return run->failed_status;
    }
    return WEFT_OK;
}

/* Learns from a run whether helpers are of use at present. */
static void judge(const wefti_team_run *run)
{
    wefti_team *team = run->team;
    uint64_t helped_ns = wefti_atomic_u64_load_relaxed(&run->helped_ns);
    if (helped_ns * POOR_PART >= (uint64_t)run->shared_ns) {
        if (wefti_atomic_u32_load_relaxed(&team->poor_runs) != 0) {
            wefti_atomic_u32_store_relaxed(&team->poor_runs, 0);
        }
        return;
    }
    uint32_t poor = wefti_atomic_u32_add_relaxed(&team->poor_runs, 1) + 1;
    if (poor >= POOR_RUNS) {
        uint32_t doublings = poor - POOR_RUNS;
        doublings = doublings < MAX_POOR_DOUBLINGS ? doublings : MAX_POOR_DOUBLINGS;
        rest(team, wefti_clock_ns(), (int64_t)POOR_REST_NS << doublings);
    }
}

void wefti_team_end(wefti_team_run *run)
{
    judge(run);
    wefti_atomic_u32_store_release(&run->taken, 0);
}

static weft_status start_helper(wefti_team *team, int32_t i, weft_error *error)
{
    helper *h = &team->helpers[i];
    h->team = team;
    h->member = i + 1;
    WEFTI_TRY(wefti_mutex_init(&h->lock, "helper", WEFTI_RANK_WORKERS, error));
    weft_status status = wefti_condition_init(&h->awake, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(&h->lock);
        return status;
    }
    team->lock_count++;
    WEFTI_TRY(wefti_thread_start(&h->thread, "weft-helper", helper_main, h, error));
    team->helper_count++;
    return WEFT_OK;
}

static weft_status init_team(wefti_team *team, int32_t helper_count, weft_error *error)
{
    WEFTI_TRY(wefti_mutex_init(&team->lock, "team", WEFTI_RANK_WORKERS, error));
    team->has_lock = true;
    size_t count = (size_t)helper_count;
    team->helpers = wefti_malloc_aligned(count * sizeof(*team->helpers));
    team->runs = wefti_malloc_aligned(count * sizeof(*team->runs));
    if (team->helpers == NULL || team->runs == NULL) {
        return wefti_error_memory(error, "the helpers of the cpu");
    }
    memset(team->helpers, 0, count * sizeof(*team->helpers));
    memset(team->runs, 0, count * sizeof(*team->runs));
    for (size_t i = 0; i < count; i++) {
        team->runs[i].team = team;
        wefti_atomic_u64_init(&team->runs[i].ticket, CLOSED);
    }
    for (int32_t i = 0; i < helper_count; i++) {
        WEFTI_TRY(start_helper(team, i, error));
    }
    return WEFT_OK;
}

weft_status wefti_team_create(int32_t helper_count, int32_t core_count,
                              wefti_team **team, weft_error *error)
{
    *team = NULL;
    wefti_team *made = wefti_malloc_aligned(sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the helpers of the cpu");
    }
    memset(made, 0, sizeof(*made));
    wefti_callers_init(&made->callers, core_count);
    made->core_count = (uint32_t)core_count;
    if (helper_count > WEFTI_TEAM_MAX_HELPERS) {
        helper_count = WEFTI_TEAM_MAX_HELPERS;
    }
    weft_status status = init_team(made, helper_count, error);
    if (status != WEFT_OK) {
        wefti_team_destroy(made);
        return status;
    }
    *team = made;
    return WEFT_OK;
}

void wefti_team_destroy(wefti_team *team)
{
    if (team == NULL) {
        return;
    }
    wefti_atomic_u32_store_seq_cst(&team->stopping, 1);
    for (int32_t i = 0; i < team->helper_count; i++) {
        helper *h = &team->helpers[i];
        wefti_mutex_lock(&h->lock);
        wefti_condition_wake_all(&h->awake);
        wefti_mutex_unlock(&h->lock);
        wefti_thread_join(&h->thread);
    }
    for (int32_t i = 0; i < team->lock_count; i++) {
        wefti_condition_fini(&team->helpers[i].awake);
        wefti_mutex_fini(&team->helpers[i].lock);
    }
    if (team->has_lock) {
        wefti_mutex_fini(&team->lock);
    }
    wefti_free(team->helpers);
    wefti_free(team->runs);
    wefti_free(team);
}

int32_t wefti_team_helper_count(const wefti_team *team)
{
    return team->helper_count;
}

wefti_callers *wefti_team_callers(wefti_team *team)
{
    return &team->callers;
}

uint64_t wefti_team_helped_tiles(const wefti_team *team)
{
    uint64_t count = 0;
    for (int32_t i = 0; i < team->helper_count; i++) {
        /* Relaxed: a statistic. */
        count += wefti_atomic_u64_load_relaxed(&team->helpers[i].tile_count);
    }
    return count;
}
