/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_CONTEXT_H
#define WEFT_CONTEXT_H

#include <weft/model.h>
#include <weft/stream.h>

WEFT_BEGIN_DECLS

/* All that a running request may write: a stream and a workspace. Leased from the
 * device's pool; any model of the device may run in it.
 * Class: confined; one call at a time, from any thread. A second call at the same
 * time returns WEFT_BUSY and harms nothing; in a context that is shared
 * (WEFT_LEASE_SHARE) it waits for its turn. */
typedef struct weft_context weft_context;

/* What to do when every context is leased. */
typedef enum weft_lease_policy {
    /* Wait, first come first served. On a card, whose runs are shorter than it takes to
     * wake a thread, others may run meanwhile, for less than a millisecond each turn.
     */
    WEFT_LEASE_WAIT = 0,
    WEFT_LEASE_FAIL = 1,       /* WEFT_BUSY at once */
    WEFT_LEASE_WAIT_UNTIL = 2, /* wait at most timeout_ns, then WEFT_TIMEOUT */
    /* Share one that a caller holds: calls in it then take turns, in the order of their
     * arrival, until all sharers have released it; weft_context_was_shared tells who
     * joined. Where runs alone have leased all, wait for one of these. */
    WEFT_LEASE_SHARE = 3,
} weft_lease_policy;

typedef struct weft_lease_params {
    size_t struct_size;
    weft_lease_policy policy;
    int64_t timeout_ns; /* with WEFT_LEASE_WAIT_UNTIL */
} weft_lease_params;

#define WEFT_LEASE_PARAMS_INIT                                                         \
    {                                                                                  \
        .struct_size = sizeof(weft_lease_params)                                       \
    }

/* Runs a model once, in the calling thread: leases a context, runs, gives it back.
 * The outputs are complete when it returns. `params` says what to do when no context
 * is free; NULL waits. How the caller's thread rounds, flushes denormals and traps
 * makes no difference and is as before afterwards.
 * Threads: any; any number at once on one model.
 * Blocks: until done.
 * Owns: a run that fails once it has a context and all tensors are right has zeroed its
 * outputs; one refused before leaves them alone. Inputs untouched.
 * Shape: inputs as the model says; outputs dense, aligned to their element size; no
 * output may overlap another tensor of the call. An output of rank -1 takes any shape
 * that fits its size_bytes; with data NULL and size_bytes 0 the library allocates it,
 * and after a run that was done the caller frees it with weft_output_free.
 * Place: on a device of one card each tensor may lie there (WEFT_PLACE_CARD) instead of
 * in host memory. Kernels then read and write it where it is, in streams of the
 * library: what writes an input, or still uses an output, has ended before the call
 * (synchronise your stream), and outputs can be used on any stream when it returns. The
 * memory stays allocated meanwhile. Addresses that are multiples of 16 bytes are used
 * as they are, others cost a copy on the card; a few sets of addresses that come again
 * and again are quickest. Not for other devices and several cards, models with stages
 * or buckets, and inputs whose value decides a shape: WEFT_UNSUPPORTED. On a card that
 * is lost, outputs there are left as they are.
 * Errors: WEFT_INVALID_ARGUMENT names the tensor, also one that is not where its place
 * says, as far as the driver told when this address and size were first given to the
 * device: that memory of others was freed since is not noticed, and using it may cost
 * the process its cards; WEFT_BUSY, WEFT_TIMEOUT by policy; WEFT_OUT_OF_MEMORY when the
 * workspace does not fit. */
WEFT_API WEFT_MUST_USE weft_status weft_run(weft_model *model, const weft_io *io,
                                            const weft_lease_params *params,
                                            weft_error *error);

/* Frees the data of an output that a run has allocated, and sets it to NULL. NULL is
 * allowed.
 * Threads: any. */
WEFT_API void weft_output_free(weft_tensor *output);

/* Leases a context.
 * Threads: any. Blocks: by policy.
 * Owns: the caller owns the lease and ends it with weft_context_release.
 * Errors: WEFT_BUSY, WEFT_TIMEOUT, WEFT_CLOSED. */
WEFT_API WEFT_MUST_USE weft_status weft_context_acquire(weft_device *device,
                                                        const weft_lease_params *params,
                                                        weft_context **context,
                                                        weft_error *error);

/* Gives a leased context back. NULL is allowed.
 * Threads: any, also another than the one that acquired it. */
WEFT_API void weft_context_release(weft_context *context);

/* Runs a model in a leased context; otherwise as weft_run.
 * Threads: one at a time per context; asserted.
 * Blocks: until done; of a shared context, also while others are in it.
 * Errors: WEFT_BUSY when another thread is using the context, or its stream, which one
 * who shares the context may do too (weft_context_stream). */
WEFT_API WEFT_MUST_USE weft_status weft_context_run(weft_context *context,
                                                    weft_model *model,
                                                    const weft_io *io,
                                                    weft_error *error);

/* Lends the context's stream, valid while the lease lasts; of a shared one, it is the
 * stream of all sharers.
 * Threads: owner of the lease. */
WEFT_API weft_stream *weft_context_stream(weft_context *context);

/* Tells whether the lease is another's context too, or was had by waiting behind its
 * work (WEFT_LEASE_SHARE).
 * Threads: owner of the lease. */
WEFT_API bool weft_context_was_shared(const weft_context *context);

WEFT_END_DECLS

#endif
