/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/share.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/profile.h"

/* Counts another sharer of a context that has any. */
static bool try_join(weft_context *host)
{
    uint32_t sharers = wefti_atomic_u32_load_seq_cst(&host->sharers);
    while (sharers > 0) {
        if (wefti_atomic_u32_cas_seq_cst(&host->sharers, &sharers, sharers + 1)) {
            return true;
        }
    }
    return false;
}

/* The one with the fewest sharers right now, or NULL. */
static weft_context *find_host(weft_device *device)
{
    weft_context *best = NULL;
    uint32_t fewest = 0;
    for (int32_t i = 0; i < device->info.max_contexts; i++) {
        weft_context *held = wefti_atomic_ptr_load_acquire(&device->context_table[i]);
        uint32_t sharers =
            held != NULL ? wefti_atomic_u32_load_seq_cst(&held->sharers) : 0;
        if (sharers > 0 && (best == NULL || sharers < fewest)) {
            best = held;
            fewest = sharers;
        }
    }
    return best;
}

weft_status wefti_share_join(weft_device *device, weft_context **guest,
                             weft_error *error)
{
    *guest = NULL;
    weft_context *host = find_host(device);
    if (host == NULL) {
        return WEFT_OK;
    }
    weft_context *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a shared context");
    }
    while (host != NULL && !try_join(host)) {
        host = find_host(device); /* that one was given back meanwhile */
    }
    if (host == NULL) {
        wefti_free(made);
        return WEFT_OK;
    }
    wefti_atomic_u32_store_seq_cst(&host->by_turns, 1);
    made->device = device;
    made->slot = host->slot;
    made->card = host->card;
    made->host = host;
    made->shared = true;
    *guest = made;
    return WEFT_OK;
}

bool wefti_share_leave(weft_context *context, weft_context **place)
{
    weft_context *host = wefti_context_place(context);
    if (context != host) {
        wefti_free(context);
    }
    *place = host;
    if (wefti_atomic_u32_sub_acq_rel(&host->sharers, 1) != 1) {
        return false;
    }
    /* Nobody can join or be inside any more. */
    wefti_atomic_u32_store_seq_cst(&host->by_turns, 0);
    return true;
}

void wefti_share_take_turn(weft_context *context, const void *work)
{
    weft_device *device = context->device;
    int64_t begin_ns = wefti_profile_begin(device->profiler);
    wefti_mutex_lock(&device->turn_lock);
    (void)wefti_atomic_u32_add_seq_cst(&context->turns_waiting, 1);
    uint32_t ticket = context->next_ticket++;
    void *found = NULL;
    while (ticket != context->first_ticket ||
           !wefti_atomic_ptr_cas_seq_cst(&context->work, &found,
                                         (void *)(uintptr_t)work)) {
        found = NULL;
        /* woken by end_turn */
        (void)wefti_condition_wait(&device->turn_over, &device->turn_lock, WEFTI_NEVER);
    }
    context->first_ticket++;
    (void)wefti_atomic_u32_sub_seq_cst(&context->turns_waiting, 1);
    wefti_mutex_unlock(&device->turn_lock);
    if (WEFTI_UNLIKELY(begin_ns != 0)) {
        wefti_profile_wait(device->profiler, begin_ns,
                           "wait for a turn in a shared context", context->slot,
                           WEFT_OK);
    }
}

void wefti_share_end_turn(weft_context *context)
{
    weft_device *device = context->device;
    wefti_mutex_lock(&device->turn_lock);
    if (!wefti_sabotaged(WEFTI_SABOTAGE_TURN_WAKE)) {
        wefti_condition_wake_all(&device->turn_over);
    }
    wefti_mutex_unlock(&device->turn_lock);
}
