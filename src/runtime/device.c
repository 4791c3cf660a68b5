/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/device.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "base/thread.h"
#include "runtime/cards.h"
#include "runtime/context.h"
#include "runtime/executor.h"
#include "runtime/lease.h"
#include "runtime/memory_pool.h"
#include "runtime/stream.h"

/* Work, close and drain meet without a lock. Who begins counts its work, then reads
 * `closed`; close sets `closed`, drain then reads the counts: so work that drain does
 * not see finds the device closed and takes its count back. Who ends counts the end,
 * then reads `drainers`; drain counts itself, then reads the counts: so either drain
 * sees the end or the end wakes drain. All of these are sequentially consistent. */

enum {
    DEFAULT_CONTEXTS = 64,
    MOST_CONTEXTS = 1024,
    MOST_WORKERS = 1024,
    BRISK_LOOKS = 500, /* some hundred microseconds */
};

/* Frees all but the backend's device; half-built devices too. */
static void destroy_parts(weft_device *device)
{
    if (device->streams) {
        wefti_stream_pool_finish(device->streams);
    }
    for (int32_t i = 0; device->context_table && i < device->info.max_contexts; i++) {
        wefti_context_destroy(wefti_atomic_ptr_load_acquire(&device->context_table[i]));
    }
    wefti_free(device->context_table);
    wefti_stream_pool_destroy(device->streams);
    wefti_memory_pool_destroy(device->memory);
    wefti_lease_pool_destroy(device->contexts);
}

static void fini_locks(weft_device *device)
{
    wefti_condition_fini(&device->turn_over);
    wefti_mutex_fini(&device->turn_lock);
    wefti_condition_fini(&device->idle);
    wefti_mutex_fini(&device->lock);
}

static void destroy(void *user)
{
    weft_device *device = user;
    destroy_parts(device);
    wefti_cards_close(device); /* joins the workers */
    wefti_executor_destroy(device->requests);
    weft_profiler_release(device->profiler);
    fini_locks(device);
    wefti_free(device);
}

/* A lock and the condition that is waited for under it, or neither. */
static weft_status init_sleep(wefti_mutex *lock, wefti_condition *condition,
                              const char *name, wefti_lock_rank rank, weft_error *error)
{
    WEFTI_TRY(wefti_mutex_init(lock, name, rank, error));
    weft_status status = wefti_condition_init(condition, error);
    if (status != WEFT_OK) {
        wefti_mutex_fini(lock);
    }
    return status;
}

static weft_status init_locks(weft_device *device, weft_error *error)
{
    WEFTI_TRY(
        init_sleep(&device->lock, &device->idle, "device", WEFTI_RANK_DEVICE, error));
    weft_status status = init_sleep(&device->turn_lock, &device->turn_over, "turns",
                                    WEFTI_RANK_TURNS, error);
    if (status != WEFT_OK) {
        wefti_condition_fini(&device->idle);
        wefti_mutex_fini(&device->lock);
    }
    return status;
}

static weft_status make_parts(weft_device *device, weft_error *error)
{
    int32_t count = device->info.max_contexts;
    WEFTI_TRY(wefti_lease_pool_create(count, &device->contexts, error));
    wefti_lease_pool_record(device->contexts, device->profiler);
    if (device->backend->brisk) {
        wefti_lease_pool_be_brisk(device->contexts, BRISK_LOOKS);
    }
    wefti_lease_pool_spread(device->contexts, device->info.card_count);
    device->context_table = wefti_calloc((size_t)count, sizeof *device->context_table);
    if (!device->context_table) {
        return wefti_error_memory(error, "the table of contexts");
    }
    WEFTI_TRY(wefti_stream_pool_create(device, &device->streams, error));
    WEFTI_TRY(wefti_memory_pool_create(device, device->info.memory_cap_bytes,
                                       &device->memory, error));
    return wefti_executor_create(device, &device->requests, error);
}

static weft_status make(const char *name, const weft_device_params *params,
                        weft_device **device, weft_error *error)
{
    const wefti_backend *backend;
    wefti_card_list cards;
    WEFTI_TRY(wefti_backend_find_cards(name, &backend, &cards, error));
    weft_device *made = wefti_malloc_aligned(sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "the device");
    }
    memset(made, 0, sizeof *made);
    wefti_refcount_init(&made->owners);
    made->backend = backend;
    made->log = (wefti_log){
        .callback = params->log, .user = params->log_user, .level = params->log_level};
    made->profiler = params->profiler ? weft_profiler_retain(params->profiler) : NULL;
    snprintf(made->name, sizeof made->name, "%s", name);
    weft_status status = init_locks(made, error);
    if (status != WEFT_OK) {
        weft_profiler_release(made->profiler);
        wefti_free(made);
        return status;
    }
    status = wefti_cards_open(made, &cards, params, error);
    if (status == WEFT_OK) {
        if (params->max_contexts > 0) {
            made->info.max_contexts = params->max_contexts;
        } else if (made->info.max_contexts == 0) {
            made->info.max_contexts = DEFAULT_CONTEXTS;
        }
        made->info.memory_cap_bytes = params->memory_cap_bytes;
        status = make_parts(made, error);
    }
    if (status != WEFT_OK) {
        destroy(made);
        return status;
    }
    *device = made;
    return WEFT_OK;
}

/* Copies the caller's params with every default put in. */
static weft_status check_params(const weft_device_params *given,
                                weft_device_params *params, weft_error *error)
{
    *params = (weft_device_params)WEFT_DEVICE_PARAMS_INIT;
    WEFTI_TRY(wefti_params_take(WEFTI_PARAMS_SINCE(weft_device_params, profiler), given,
                                params, error));
    if (params->max_contexts < 0 || params->max_contexts > MOST_CONTEXTS) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "max_contexts is %d; give 1 to %d, or 0 for %d",
                           (int)params->max_contexts, MOST_CONTEXTS, DEFAULT_CONTEXTS);
    }
    if (params->worker_count < -1 || params->worker_count > MOST_WORKERS) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "worker_count is %d; give 0 to %d threads, or -1 for one "
                           "per core",
                           (int)params->worker_count, MOST_WORKERS);
    }
    if ((unsigned)params->log_level > WEFT_LOG_DEBUG) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "log_level is %d; use a weft_log_level",
                           (int)params->log_level);
    }
    return WEFT_OK;
}

weft_status weft_device_open(const char *name, const weft_device_params *params,
                             weft_device **device, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!name || !device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_device_open needs a %s; it is NULL",
                           name ? "place for the device" : "device name");
    }
    *device = NULL;
    weft_device_params checked;
    WEFTI_TRY(check_params(params, &checked, error));
    WEFTI_TRY(wefti_fork_watch(error));
    WEFTI_TRY(make(name, &checked, device, error));
    const weft_device_info *info = &(*device)->info;
    wefti_log_write(&(*device)->log, WEFT_LOG_INFO,
                    "opened %s: %s, kernels %s, %d cores, %d workers, %d contexts",
                    info->name, info->description, info->isa, (int)info->core_count,
                    (int)info->worker_count, (int)info->max_contexts);
    return WEFT_OK;
}

weft_device *weft_device_retain(weft_device *device)
{
    if (device) {
        wefti_refcount_retain(&device->owners);
    }
    return device;
}

static bool wait_idle(weft_device *device, int64_t deadline_ns);

/* Nobody has begun or will begin work. Leases may still be out: the last one that is
 * given back frees the device. */
static void drain_and_destroy(weft_device *device)
{
    (void)wait_idle(device, WEFTI_NEVER);
    wefti_lease_pool_retire(device->contexts, destroy, device);
}

void weft_device_release(weft_device *device)
{
    /* In a forked child the workers are missing and locks may be held by them: what
     * the parent's threads left is beyond repair, so it stays. */
    if (!device || wefti_fork_happened() || !wefti_refcount_release(&device->owners)) {
        return;
    }
    weft_device_close(device);
    if (!wefti_executor_adopt_teardown(device->requests)) {
        drain_and_destroy(device);
    }
}

void wefti_device_teardown(weft_device *device)
{
    wefti_executor_cancel_pending(device->requests);
    drain_and_destroy(device);
}

void weft_device_close(weft_device *device)
{
    if (!device || wefti_fork_happened()) {
        return;
    }
    wefti_atomic_u32_store_seq_cst(&device->closed, 1);
    wefti_lease_pool_close(device->contexts);
}

weft_status wefti_device_check_open(const weft_device *device, weft_error *error)
{
    if (WEFTI_LIKELY(!wefti_atomic_u32_load_seq_cst(&device->closed))) {
        return WEFT_OK;
    }
    return wefti_error(error, WEFT_CLOSED,
                       "the device %s is closed and takes no new work; open another",
                       device->name);
}

static WEFTI_NOINLINE void wake_drainers(weft_device *device)
{
    wefti_mutex_lock(&device->lock);
    wefti_condition_wake_all(&device->idle);
    wefti_mutex_unlock(&device->lock);
}

void wefti_device_unbegin(weft_device *device, uint32_t shard)
{
    wefti_atomic_u64_sub_seq_cst(&device->shards[shard].accepted, 1);
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_seq_cst(&device->drainers) != 0)) {
        wake_drainers(device);
    }
}

weft_status wefti_device_begin(weft_device *device, uint32_t *shard, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(wefti_device_health(device, error));
    uint32_t own = wefti_current_core() % WEFTI_DEVICE_SHARDS;
    wefti_atomic_u64_add_seq_cst(&device->shards[own].accepted, 1);
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_seq_cst(&device->closed))) {
        wefti_device_unbegin(device, own);
        return wefti_device_check_open(device, error);
    }
    *shard = own;
    return WEFT_OK;
}

void wefti_device_end(weft_device *device, uint32_t shard, wefti_outcome outcome)
{
    wefti_device_end_several(device, shard, outcome, 1);
}

void wefti_device_end_several(weft_device *device, uint32_t shard,
                              wefti_outcome outcome, uint64_t count)
{
    wefti_atomic_u64_add_seq_cst(&device->shards[shard].ended[outcome], count);
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_seq_cst(&device->drainers) != 0) &&
        !wefti_sabotaged(WEFTI_SABOTAGE_DRAIN_WAKE)) {
        wake_drainers(device);
    }
}

wefti_outcome wefti_outcome_of(weft_status status)
{
    switch (status) {
    case WEFT_OK:
        return WEFTI_OUTCOME_DONE;
    case WEFT_CANCELLED:
        return WEFTI_OUTCOME_CANCELLED;
    case WEFT_TIMEOUT:
        return WEFTI_OUTCOME_TIMED_OUT;
    default:
        return WEFTI_OUTCOME_FAILED;
    }
}

/* The ends are read before what was accepted. Ends only grow, and accepted too but for
 * begins that are taken back, which are on top of what is in flight; and no end comes
 * before its begin; so when they are equal, nothing was in flight as the last end was
 * read. */
static bool is_idle(const weft_device *device)
{
    for (size_t i = 0; i < WEFTI_DEVICE_SHARDS; i++) {
        const wefti_device_shard *shard = &device->shards[i];
        uint64_t ended = 0;
        for (size_t o = 0; o < WEFTI_OUTCOME_COUNT; o++) {
            ended += wefti_atomic_u64_load_seq_cst(&shard->ended[o]);
        }
        if (ended < wefti_atomic_u64_load_seq_cst(&shard->accepted)) {
            return false;
        }
    }
    return true;
}

static bool wait_counts(weft_device *device, int64_t deadline_ns)
{
    wefti_mutex_lock(&device->lock);
    wefti_atomic_u32_add_seq_cst(&device->drainers, 1);
    bool in_time = true;
    bool idle = is_idle(device);
    while (!idle && in_time) {
        in_time = wefti_condition_wait(&device->idle, &device->lock, deadline_ns);
        idle = is_idle(device);
    }
    wefti_atomic_u32_sub_seq_cst(&device->drainers, 1);
    wefti_mutex_unlock(&device->lock);
    return idle;
}

/* The counts say that all work has ended; the executor, that callbacks have returned.
 */
static bool wait_idle(weft_device *device, int64_t deadline_ns)
{
    return wait_counts(device, deadline_ns) &&
           wefti_executor_wait_idle(device->requests, deadline_ns);
}

void wefti_device_add_source(weft_device *device, wefti_device_source *source)
{
    wefti_mutex_lock(&device->lock);
    source->next = device->sources;
    device->sources = source;
    wefti_mutex_unlock(&device->lock);
}

void wefti_device_remove_source(weft_device *device, wefti_device_source *source)
{
    wefti_mutex_lock(&device->lock);
    wefti_device_source **link = &device->sources;
    while (*link != source) {
        link = &(*link)->next;
    }
    *link = source->next;
    while (source->users > 0) {
        /* woken by cancel_sources */
        (void)wefti_condition_wait(&device->idle, &device->lock, WEFTI_NEVER);
    }
    wefti_mutex_unlock(&device->lock);
}

/* Each drain has a number, and goes from the head to the first source that neither it
 * nor a later one has been to: so sources may come and go meanwhile. */
static void cancel_sources(weft_device *device)
{
    wefti_mutex_lock(&device->lock);
    uint64_t drain = ++device->drain_count;
    wefti_mutex_unlock(&device->lock);
    for (;;) {
        wefti_mutex_lock(&device->lock);
        wefti_device_source *source = device->sources;
        while (source && source->drain >= drain) {
            source = source->next;
        }
        if (source) {
            source->drain = drain;
            source->users++;
        }
        wefti_mutex_unlock(&device->lock);
        if (!source) {
            return;
        }
        bool ends = source->cancel_waiting(source);
        wefti_mutex_lock(&device->lock);
        if (--source->users == 0) {
            wefti_condition_wake_all(&device->idle);
        }
        wefti_mutex_unlock(&device->lock);
        if (ends) {
            source->teardown(source);
        }
    }
}

/* What has not started is cancelled; of callers in weft_run, only if the device was
 * closed: they wait for a context in a call of their own. */
static void cancel_waiting(weft_device *device)
{
    wefti_executor_cancel_pending(device->requests);
    cancel_sources(device);
    if (wefti_atomic_u32_load_seq_cst(&device->closed)) {
        wefti_lease_pool_abort(device->contexts);
    }
}

weft_status weft_device_drain(weft_device *device, int64_t timeout_ns,
                              weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the device is NULL");
    }
    if (wait_idle(device, wefti_deadline(timeout_ns))) {
        return WEFT_OK;
    }
    cancel_waiting(device);
    return wefti_error(error, WEFT_TIMEOUT,
                       "work on %s did not end within %lld ms; what had not started "
                       "was cancelled; drain again to wait for the rest",
                       device->name, (long long)(timeout_ns / 1000000));
}

weft_status weft_device_trim(weft_device *device, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the device is NULL");
    }
    wefti_context_trim(device);
    wefti_memory_pool_trim(device->memory);
    return WEFT_OK;
}

void weft_device_get_info(const weft_device *device, weft_device_info *info)
{
    if (info) {
        *info = device ? device->info : (weft_device_info){.name = ""};
    }
}

void weft_device_get_statistics(const weft_device *device,
                                weft_device_statistics *statistics)
{
    if (!statistics) {
        return;
    }
    if (!device) {
        *statistics = (weft_device_statistics){0};
        return;
    }
    *statistics = (weft_device_statistics){
        .allocation_count = wefti_allocation_count(),
        .plan_count = wefti_atomic_u64_load_relaxed(&device->plan_count),
        .plan_evict_count = wefti_atomic_u64_load_relaxed(&device->plan_evict_count),
        .plan_bytes = wefti_atomic_u64_load_relaxed(&device->plan_bytes),
    };
    for (size_t i = 0; i < WEFTI_DEVICE_SHARDS; i++) {
        const wefti_device_shard *shard = &device->shards[i];
        const wefti_atomic_u64 *ended = shard->ended;
        statistics->accepted += wefti_atomic_u64_load_acquire(&shard->accepted);
        statistics->done += wefti_atomic_u64_load_acquire(&ended[WEFTI_OUTCOME_DONE]);
        statistics->failed +=
            wefti_atomic_u64_load_acquire(&ended[WEFTI_OUTCOME_FAILED]);
        statistics->cancelled +=
            wefti_atomic_u64_load_acquire(&ended[WEFTI_OUTCOME_CANCELLED]);
        statistics->timed_out +=
            wefti_atomic_u64_load_acquire(&ended[WEFTI_OUTCOME_TIMED_OUT]);
    }
    if (wefti_fork_happened()) {
        return; /* the rest stands behind locks that the parent's threads may hold */
    }
    wefti_lease_statistics leases;
    wefti_lease_get_statistics(device->contexts, &leases);
    statistics->lease_count = leases.lease_count;
    statistics->lease_wait_count = leases.wait_count;
    statistics->lease_wait_ns = leases.wait_ns;
    wefti_lock_statistics locks;
    wefti_lock_get_statistics(&locks);
    statistics->lock_wait_count = locks.wait_count;
    statistics->lock_wait_ns = locks.wait_ns;
    wefti_memory_get_statistics(device->memory, &statistics->memory_bytes,
                                &statistics->memory_peak_bytes);
    wefti_cards_add_statistics(device, statistics);
}
