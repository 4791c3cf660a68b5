/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_EVENT_H
#define WEFTI_RUNTIME_EVENT_H

#include <weft/event.h>

#include "runtime/device.h"

/* A caller's event: the backend's, with the values that streams were told to set. */
struct weft_event {
    /* immutable after create */
    weft_device *device; /* owned */
    wefti_backend_event *handle;

    /* atomic: any thread -> any thread */
    wefti_refcount owners;
    wefti_atomic_u64 recorded; /* highest value that a stream was told to set */
};

/* Makes `value` the highest recorded one; `*before` is what it was.
 * Errors: WEFT_INVALID_ARGUMENT when it is not above. */
weft_status wefti_event_claim_value(weft_event *event, uint64_t value, uint64_t *before,
                                    weft_error *error);
/* Takes a claim back, unless a higher one came since. */
void wefti_event_unclaim_value(weft_event *event, uint64_t value, uint64_t before);

#endif
