/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_CONTEXT_H
#define WEFTI_RUNTIME_CONTEXT_H

#include <weft/context.h>

#include "runtime/device.h"
#include "runtime/stream.h"

/* A context: one slot of the device's lease pool with the stream and workspace that
 * its user may write. Made at the slot's first lease, kept until the device goes. */
struct weft_context {
    /* immutable after create */
    weft_device *device; /* borrowed: the pool belongs to it */
    int32_t slot;
    int32_t card;       /* of its stream and workspace, and where its calls run */
    weft_context *host; /* of a guest (share.h): in which its calls run; else NULL */

    /* atomic: who acquires, joins, gives back -> the same. Of a lease that a caller
     * holds: it and its guests; 0: nobody may join. Who takes it to 0 gives the context
     * back. */
    wefti_atomic_u32 sharers;
    /* atomic: guests -> whoever runs in it, until the last sharer goes. */
    wefti_atomic_u32 by_turns;
    /* atomic: who waits for a turn -> who leaves. */
    wefti_atomic_u32 turns_waiting;
    /* guarded by device->turn_lock */
    uint32_t first_ticket, next_ticket;

    /* atomic: whoever runs in it -> whoever tries at the same time, or asks what is
     * still worked on. NULL: not in use. */
    wefti_atomic_ptr work;
    /* atomic: the lease's owner -> whoever runs in it. The stream was lent in this
     * lease, so that others may be submitting to it. */
    wefti_atomic_u32 stream_lent;

    /* one thread at a time (the lease) */
    bool shared;
    int64_t leased_ns;   /* when, if that is recorded */
    weft_stream *stream; /* NULL while the slot is free: made by the next lease */

    /* one thread at a time (work) */
    bool stream_entered;
    void *workspace; /* device memory: not the host's to read */
    size_t workspace_bytes;
    void *staging; /* host memory, counted against the cap where the device's is */
    size_t staging_bytes;
    void **slots; /* room for the addresses of a call's tensors, grown on demand */
    size_t slot_capacity;
};

/* Lease and give back without the public checks, for work that the device has accepted
 * (wefti_device_begin): it gets its context after close too. Used by weft_run. */
weft_status wefti_context_acquire(weft_device *device, const weft_lease_params *params,
                                  weft_context **context, weft_error *error);
void wefti_context_release(weft_context *context);

/* Where calls in a context run: in itself, or in the one that it shares. Enter, leave
 * and whatever lies between take this. */
WEFTI_INLINE weft_context *wefti_context_place(weft_context *context)
{
    return WEFTI_LIKELY(context->host == NULL) ? context : context->host;
}

/* Claims the context for one run: WEFT_BUSY when another thread is inside and it
 * is not shared; else waits for its turn. `work`, not
 * NULL, is what the run uses until it leaves; the context only shows it to others. */
weft_status wefti_context_enter(weft_context *context, const void *work,
                                weft_error *error);
void wefti_context_leave(weft_context *context);

/* Whether a context of the device is entered with this work. Sequentially consistent,
 * as enter and leave: who makes something impossible to find and then asks here sees
 * each user who had found it before. Threads: any. */
bool wefti_context_works_on(const weft_device *device, const void *work);

/* Makes the workspace at least `size_bytes` (it never shrinks except by trim); its
 * contents are lost when it grows. Allocates only when it grows. The caller has entered
 * and none of its work is pending. Errors: WEFT_OUT_OF_MEMORY at the cap. */
weft_status wefti_context_reserve(weft_context *context, size_t size_bytes,
                                  weft_error *error);

/* Likewise for `staging`, which the host may write. */
weft_status wefti_context_reserve_staging(weft_context *context, size_t size_bytes,
                                          weft_error *error);

/* Likewise for `slots`. Errors: WEFT_OUT_OF_MEMORY. */
weft_status wefti_context_reserve_slots(weft_context *context, size_t slot_count,
                                        weft_error *error);

/* Frees the workspaces of contexts that nobody has leased. */
void wefti_context_trim(weft_device *device);

/* Frees what the slot holds; NULL is allowed. */
void wefti_context_destroy(weft_context *context);

#endif
