/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_CONTEXT_H
#define WEFTI_RUNTIME_CONTEXT_H

#include <weft/context.h>

#include "runtime/device.h"
#include "runtime/lease.h"

/* A context: one slot of the device's lease pool with the stream and workspace that
 * its user may write. Made at the slot's first lease, kept until the device goes. */
struct weft_context {
    /* immutable after create */
    weft_device *device; /* borrowed: the pool belongs to it */
    int32_t slot;
    weft_stream *stream;

    /* atomic: whoever runs in it -> whoever tries at the same time */
    wefti_atomic_u32 in_use;

    /* one thread at a time (the lease, asserted by in_use) */
    bool shared;
    void *workspace;
    size_t workspace_bytes;
};

/* Lease and give back without the public checks; used by weft_run. */
weft_status wefti_context_acquire(weft_device *device, const weft_lease_params *params,
                                  weft_context **context, weft_error *error);
void wefti_context_release(weft_context *context);

/* Claims the context for one run: WEFT_BUSY when another thread is inside. */
weft_status wefti_context_enter(weft_context *context, weft_error *error);
void wefti_context_leave(weft_context *context);

/* Makes the workspace at least `size_bytes` (it never shrinks except by trim).
 * Allocates only when it grows. Errors: WEFT_OUT_OF_MEMORY at the cap. */
weft_status wefti_context_reserve(weft_context *context, size_t size_bytes,
                                  weft_error *error);

#endif
