/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/context.h"

#include <stdio.h>
#include <string.h>

#include "base/fork.h"
#include "base/memory.h"
#include "base/profile.h"
#include "runtime/lease.h"
#include "runtime/memory_pool.h"
#include "runtime/share.h"

/* Makes what the slot lacks; the caller has leased it. */
static WEFTI_NOINLINE weft_status prepare(weft_device *device, int32_t slot,
                                          weft_error *error)
{
    weft_context *context = wefti_atomic_ptr_load_acquire(&device->context_table[slot]);
    if (!context) {
        context = wefti_malloc_aligned(sizeof *context);
        if (!context) {
            return wefti_error_memory(error, "a context");
        }
        memset(context, 0, sizeof *context);
        context->device = device;
        context->slot = slot;
        context->card = slot % device->info.card_count;
        /* Before anything is published in it: see wefti_context_works_on. */
        wefti_atomic_ptr_store_seq_cst(&device->context_table[slot], context);
    }
    if (!context->stream) {
        return wefti_stream_take(device->streams, context->card, &context->stream,
                                 error);
    }
    return WEFT_OK;
}

/* The context of a slot that the caller has leased; gives the slot back on failure. */
static weft_status use_slot(weft_device *device, int32_t slot, bool shared,
                            weft_context **context, weft_error *error)
{
    weft_context *found = wefti_atomic_ptr_load_acquire(&device->context_table[slot]);
    if (WEFTI_UNLIKELY(!found || !found->stream)) {
        weft_status status = prepare(device, slot, error);
        if (status != WEFT_OK) {
            wefti_lease_release(device->contexts, slot);
            return status;
        }
        found = wefti_atomic_ptr_load_acquire(&device->context_table[slot]);
    }
    found->shared = shared;
    found->leased_ns = wefti_profile_begin(device->profiler);
    *context = found;
    return WEFT_OK;
}

static weft_status lease_slot(weft_device *device, const weft_lease_params *params,
                              bool accepted, weft_context **context, weft_error *error)
{
    int32_t slot;
    bool shared;
    *context = NULL;
    WEFTI_TRY(
        wefti_lease_acquire(device->contexts, params, accepted, &slot, &shared, error));
    return use_slot(device, slot, shared, context, error);
}
/* Takes a free context, or joins one that is held, or waits for either: then all are
 * leased by runs and come free by themselves. */
static WEFTI_NOINLINE weft_status lease_or_join(weft_device *device,
                                                const weft_lease_params *params,
                                                bool accepted, weft_context **context,
                                                weft_error *error)
{
    weft_lease_params free_one = *params;
    free_one.policy = WEFT_LEASE_FAIL;
    int32_t slot;
    weft_status status;
    do {
        uint32_t holds = wefti_lease_holds(device->contexts);
        status = lease_slot(device, &free_one, accepted, context, error);
        if (status != WEFT_BUSY) {
            return status;
        }
        WEFTI_TRY(wefti_share_join(device, context, error));
        if (*context != NULL) {
            return WEFT_OK;
        }
        status = wefti_lease_await(device->contexts, holds, accepted, &slot, error);
    } while (status == WEFT_BUSY);
    return status != WEFT_OK ? status : use_slot(device, slot, true, context, error);
}

static weft_status lease(weft_device *device, const weft_lease_params *params,
                         bool accepted, weft_context **context, weft_error *error)
{
    if (WEFTI_UNLIKELY(params != NULL && params->struct_size >= sizeof(*params) &&
                       params->policy == WEFT_LEASE_SHARE)) {
        return lease_or_join(device, params, accepted, context, error);
    }
    return lease_slot(device, params, accepted, context, error);
}

weft_status wefti_context_acquire(weft_device *device, const weft_lease_params *params,
                                  weft_context **context, weft_error *error)
{
    return lease(device, params, true, context, error);
}

/* The next user must not wait for work that this one left on the stream, nor see its
 * errors: a busy stream goes to the pool and the slot gets another one. */
static WEFTI_NOINLINE void take_stream_back(weft_context *context)
{
    weft_stream *stream = context->stream;
    wefti_atomic_u32_store_relaxed(&context->stream_lent, 0); /* the lease orders it */
    weft_status status =
        context->device->backend->stream.synchronize(stream->handle, WEFTI_PAST, NULL);
    if (status == WEFT_TIMEOUT) {
        context->stream = NULL;
        wefti_stream_give_back(stream);
    }
}

static WEFTI_NOINLINE void record_lease(const weft_context *context)
{
    char name[32];
    snprintf(name, sizeof name, "lease of context %d", (int)context->slot);
    const wefti_profile_note note = {
        .kind = WEFT_PROFILE_LEASE, .name = name, .counts = {context->slot}};
    wefti_profile_record(context->device->profiler, context->leased_ns, &note);
}

void wefti_context_release(weft_context *context)
{
    if (WEFTI_UNLIKELY(context->host != NULL ||
                       wefti_atomic_u32_load_relaxed(&context->sharers) != 0) &&
        !wefti_share_leave(context, &context)) {
        return;
    }
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_relaxed(&context->stream_lent))) {
        take_stream_back(context);
    }
    if (WEFTI_UNLIKELY(context->device->profiler != NULL)) {
        record_lease(context);
    }
    wefti_lease_release(context->device->contexts, context->slot);
}

weft_status weft_context_acquire(weft_device *device, const weft_lease_params *params,
                                 weft_context **context, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!device || !context) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_context_acquire needs a %s; it is NULL",
                           device ? "place for the context" : "device");
    }
    *context = NULL;
    WEFTI_TRY(wefti_device_health(device, error));
    WEFTI_TRY(lease(device, params, false, context, error));
    if ((*context)->host == NULL) {
        wefti_atomic_u32_store_seq_cst(&(*context)->sharers, 1);
        wefti_lease_announce_hold(device->contexts);
    }
    return WEFT_OK;
}

void weft_context_release(weft_context *context)
{
    if (context && !wefti_fork_happened()) {
        wefti_context_release(context);
    }
}

weft_status wefti_context_enter(weft_context *context, const void *work,
                                weft_error *error)
{
    void *found = NULL;
    /* The context does not write to what its user works on. Relaxed: only that who
     * waits for a turn is not overtaken for ever. */
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_relaxed(&context->turns_waiting) != 0 ||
                       !wefti_atomic_ptr_cas_seq_cst(&context->work, &found,
                                                     (void *)(uintptr_t)work))) {
        if (wefti_atomic_u32_load_seq_cst(&context->by_turns) == 0) {
            return wefti_error(error, WEFT_BUSY,
                               "another thread is using this context; lease one per "
                               "thread, or run without one");
        }
        wefti_share_take_turn(context, work);
    }
    /* Who lends the stream to another thread has ordered it by doing so; between
     * sharers, see weft_context_stream. */
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_seq_cst(&context->stream_lent))) {
        weft_status status = wefti_stream_enter(context->stream, error);
        context->stream_entered = status == WEFT_OK;
        if (status != WEFT_OK) {
            wefti_context_leave(context);
            return status;
        }
    }
    return WEFT_OK;
}

void wefti_context_leave(weft_context *context)
{
    if (WEFTI_UNLIKELY(context->stream_entered)) {
        context->stream_entered = false;
        wefti_stream_leave(context->stream);
    }
    wefti_atomic_ptr_store_seq_cst(&context->work, NULL);
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_seq_cst(&context->turns_waiting) != 0)) {
        wefti_share_end_turn(context);
    }
}

bool wefti_context_works_on(const weft_device *device, const void *work)
{
    for (int32_t i = 0; i < device->info.max_contexts; i++) {
        const weft_context *context =
            wefti_atomic_ptr_load_seq_cst(&device->context_table[i]);
        if (context && wefti_atomic_ptr_load_seq_cst(&context->work) == work) {
            return true;
        }
    }
    return false;
}

static void free_workspace(weft_context *context)
{
    if (context->workspace) {
        wefti_memory_unreserve(context->device->memory, context->card,
                               context->workspace, context->workspace_bytes);
    }
    context->workspace = NULL;
    context->workspace_bytes = 0;
}

static void free_staging(weft_context *context)
{
    if (context->staging && context->device->backend->on_host) {
        wefti_memory_unreserve(context->device->memory, context->card, context->staging,
                               context->staging_bytes);
    } else {
        wefti_free(context->staging);
    }
    context->staging = NULL;
    context->staging_bytes = 0;
}

weft_status wefti_context_reserve(weft_context *context, size_t size_bytes,
                                  weft_error *error)
{
    if (WEFTI_LIKELY(size_bytes <= context->workspace_bytes)) {
        return WEFT_OK;
    }
    /* The old one goes first: at the cap there may be no room for both. */
    free_workspace(context);
    WEFTI_TRY(wefti_memory_reserve(context->device->memory, context->card, size_bytes,
                                   &context->workspace, error));
    context->workspace_bytes = size_bytes;
    return WEFT_OK;
}

weft_status wefti_context_reserve_staging(weft_context *context, size_t size_bytes,
                                          weft_error *error)
{
    if (WEFTI_LIKELY(size_bytes <= context->staging_bytes)) {
        return WEFT_OK;
    }
    free_staging(context);
    if (context->device->backend->on_host) {
        WEFTI_TRY(wefti_memory_reserve(context->device->memory, context->card,
                                       size_bytes, &context->staging, error));
    } else {
        context->staging = wefti_malloc_aligned(size_bytes);
        if (!context->staging) {
            return wefti_error_memory(error, "padded tensors");
        }
    }
    context->staging_bytes = size_bytes;
    return WEFT_OK;
}

weft_status wefti_context_reserve_slots(weft_context *context, size_t slot_count,
                                        weft_error *error)
{
    if (WEFTI_LIKELY(slot_count <= context->slot_capacity)) {
        return WEFT_OK;
    }
    wefti_free(context->slots);
    context->slot_capacity = 0;
    context->slots = wefti_calloc(slot_count, sizeof(*context->slots));
    if (!context->slots) {
        return wefti_error_memory(error, "the addresses of a call's tensors");
    }
    context->slot_capacity = slot_count;
    return WEFT_OK;
}

static void trim_slot(void *user, int32_t slot)
{
    weft_device *device = user;
    weft_context *context = wefti_atomic_ptr_load_acquire(&device->context_table[slot]);
    if (context && wefti_context_enter(context, device, NULL) == WEFT_OK) {
        free_workspace(context);
        free_staging(context);
        wefti_context_leave(context);
    }
}

void wefti_context_trim(weft_device *device)
{
    wefti_lease_visit_free(device->contexts, trim_slot, device);
}

void wefti_context_destroy(weft_context *context)
{
    if (!context) {
        return;
    }
    free_workspace(context);
    free_staging(context);
    if (context->stream) {
        wefti_stream_give_back(context->stream);
    }
    wefti_free(context->slots);
    wefti_free(context);
}

weft_stream *weft_context_stream(weft_context *context)
{
    if (!context) {
        return NULL;
    }
    context = wefti_context_place(context);
    /* Before by_turns is read: a guest whose join is not seen here sees the flag. */
    wefti_atomic_u32_store_seq_cst(&context->stream_lent, 1); /* see enter */
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_seq_cst(&context->by_turns) != 0) &&
        wefti_context_enter(context, context, NULL) == WEFT_OK) {
        wefti_context_leave(context); /* whoever was inside had not seen it */
    }
    return context->stream;
}

bool weft_context_was_shared(const weft_context *context)
{
    return context && context->shared;
}
