/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_LEASE_H
#define WEFTI_RUNTIME_LEASE_H

#include <weft/context.h>

#include "runtime/device.h"

/* Leases of K slots to any number of threads, each slot to one user at a time. The
 * free path is one compare-and-swap on a slot's flag (the flag of "in use" itself);
 * waiting is first come first served under a lock. Nobody overtakes a waiter, but in a
 * brisk pool, and there not for long. Class: synchronised. */

weft_status wefti_lease_pool_create(int32_t slot_count, wefti_lease_pool **pool,
                                    weft_error *error);
/* Waits are recorded from now on; `profiler` may be NULL, and is borrowed. Before the
 * pool is used. */
void wefti_lease_pool_record(wefti_lease_pool *pool, weft_profiler *profiler);
/* For leases that take some microseconds each: who comes may take a free slot although
 * others wait, so that no slot lies idle while a sleeper wakes up. The first that waits
 * looks for a slot itself, and after so many looks of about a microsecond in vain it is
 * next, as in any other pool. Before the pool is used. */
void wefti_lease_pool_be_brisk(wefti_lease_pool *pool, uint32_t looks);
/* Slot i is of card i % card_count: who comes gets one of the card with the fewest
 * leases. Before the pool is used. */
void wefti_lease_pool_spread(wefti_lease_pool *pool, int32_t card_count);
/* No lease is out. NULL is allowed. */
void wefti_lease_pool_destroy(wefti_lease_pool *pool);

/* Leases a slot by the caller's policy. NULL params wait.
 * `accepted`: the caller is part of work that the device has accepted, which goes on
 * after close and only ends by wefti_lease_pool_abort.
 * *shared: every slot was in use and the caller queued behind that work
 * (WEFT_LEASE_SHARE); the slot is then still its alone.
 * Blocks: by policy. Errors: WEFT_BUSY, WEFT_TIMEOUT, WEFT_CLOSED, WEFT_CANCELLED
 * (aborted). */
weft_status wefti_lease_acquire(wefti_lease_pool *pool, const weft_lease_params *params,
                                bool accepted, int32_t *slot, bool *shared,
                                weft_error *error);
/* For who shares: waits for a slot as by WEFT_LEASE_WAIT, or for a lease that is held
 * (wefti_lease_announce_hold) beyond the `holds` that wefti_lease_holds told before the
 * caller looked for one to share: then WEFT_BUSY, without words, and it looks again.
 * Errors: WEFT_CLOSED, WEFT_CANCELLED (aborted). */
weft_status wefti_lease_await(wefti_lease_pool *pool, uint32_t holds, bool accepted,
                              int32_t *slot, weft_error *error);
uint32_t wefti_lease_holds(const wefti_lease_pool *pool);

/* Says that a lease is held that others may share, after that can be seen. Its count
 * and the number of waiters are sequentially consistent: who queues up either reads the
 * count or is seen here. */
void wefti_lease_announce_hold(wefti_lease_pool *pool);

/* The pool may be gone when this returns (wefti_lease_pool_retire). */
void wefti_lease_release(wefti_lease_pool *pool, int32_t slot);

/* Wakes all waiters with WEFT_CLOSED but those of accepted work; later acquires fail
 * so. Never blocks. */
void wefti_lease_pool_close(wefti_lease_pool *pool);

/* Wakes the waiters of accepted work too, with WEFT_CANCELLED. Never blocks. */
void wefti_lease_pool_abort(wefti_lease_pool *pool);

/* Calls `done` once when no lease is out and none can be had any more: at once, or by
 * the release of the last one. `done` may destroy the pool. */
void wefti_lease_pool_retire(wefti_lease_pool *pool, void (*done)(void *user),
                             void *user);

/* Leases every slot that is free right now, one at a time, and calls `visit` on it
 * (trim). Stops when somebody waits. */
void wefti_lease_visit_free(wefti_lease_pool *pool,
                            void (*visit)(void *user, int32_t slot), void *user);

typedef struct wefti_lease_statistics {
    uint64_t lease_count, wait_count, wait_ns;
} wefti_lease_statistics;
void wefti_lease_get_statistics(wefti_lease_pool *pool,
                                wefti_lease_statistics *statistics);

/* Number of callers that wait right now. */
uint32_t wefti_lease_waiter_count(const wefti_lease_pool *pool);

#endif
