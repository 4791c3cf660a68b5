/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_SHARE_H
#define WEFTI_RUNTIME_SHARE_H

#include "runtime/context.h"

/* One context, several users that know of each other (WEFT_LEASE_SHARE).
 *
 * Who holds a context by weft_context_acquire is its first sharer. When no context is
 * free, a caller that shares joins one that is held so and gets a guest: a handle whose
 * runs take place in that context, its host. From then on, until the last sharer has
 * given it back, calls in it take turns, first come first served, where one more would
 * else be told WEFT_BUSY. A context that weft_run leased is not joined: it comes free
 * by itself.
 *
 * Turns. `work` says who is inside, as without guests. Who finds it taken draws a
 * ticket and waits until all before it have been inside; who comes while somebody waits
 * queues up too. Who leaves clears `work`, then reads `turns_waiting`; who waits counts
 * itself, then tries `work`; all sequentially consistent, so one of both sees the
 * other, and the wake-up is under the lock.
 *
 * Nobody is told BUSY because of a guest: by_turns is written before the first guest
 * can enter and stays while the context has sharers, so who fails to enter because a
 * guest is inside reads it set. */

/* Joins a context of the device that is held, if there is one: *guest is its handle, or
 * NULL. Errors: WEFT_OUT_OF_MEMORY. */
weft_status wefti_share_join(weft_device *device, weft_context **guest,
                             weft_error *error);

/* Drops a sharer; of a guest, frees its handle. True when it was the last and the
 * context `*place` is to be given back. */
bool wefti_share_leave(weft_context *context, weft_context **place);

/* Waits for the context, whose calls take turns, and enters it. */
void wefti_share_take_turn(weft_context *context, const void *work);

/* Tells those who wait that the context was left. */
void wefti_share_end_turn(weft_context *context);

#endif
