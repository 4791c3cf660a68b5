/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_LEASE_H
#define WEFTI_RUNTIME_LEASE_H

#include <weft/context.h>

#include "base/atomic.h"
#include "runtime/device.h"

/* Leases of K slots to any number of threads, each slot to one user at a time. The
 * free path is one compare-and-swap on a slot's flag (the flag of "in use" itself);
 * waiting is first come first served under a lock. Nobody overtakes a waiter.
 * Class: synchronised. */

weft_status wefti_lease_pool_create(int32_t slot_count, wefti_lease_pool **pool,
                                    weft_error *error);
/* No lease is out. NULL is allowed. */
void wefti_lease_pool_destroy(wefti_lease_pool *pool);

/* Leases a slot by the caller's policy. *shared: the slot was in use and the caller
 * queued behind it (WEFT_LEASE_SHARE).
 * Blocks: by policy. Errors: WEFT_BUSY, WEFT_TIMEOUT, WEFT_CLOSED. */
weft_status wefti_lease_acquire(wefti_lease_pool *pool, const weft_lease_params *params,
                                int32_t *slot, bool *shared, weft_error *error);
void wefti_lease_release(wefti_lease_pool *pool, int32_t slot);

/* Wakes all waiters with WEFT_CLOSED; later acquires fail so. Never blocks. */
void wefti_lease_pool_close(wefti_lease_pool *pool);

/* Leases every slot that is free right now and calls `visit` on it (trim). */
void wefti_lease_visit_free(wefti_lease_pool *pool,
                            void (*visit)(void *user, int32_t slot), void *user);

typedef struct wefti_lease_statistics {
    uint64_t lease_count, wait_count, wait_ns;
} wefti_lease_statistics;
void wefti_lease_get_statistics(const wefti_lease_pool *pool,
                                wefti_lease_statistics *statistics);

#endif
