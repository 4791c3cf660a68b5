/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_MEMORY_POOL_H
#define WEFTI_RUNTIME_MEMORY_POOL_H

#include <weft/memory.h>

#include "runtime/device.h"

/* Device memory with a hard cap; blocks are kept for reuse by size class. A released
 * block is reusable by the stream that was alone in touching it at once, by others when
 * every stream that touched it has passed the point of its release. A block is of one
 * card and only reused there; the cap is for all cards together.
 * Class: synchronised; the lock is never held over a device call. */
weft_status wefti_memory_pool_create(weft_device *device, size_t cap_bytes,
                                     wefti_memory_pool **pool, weft_error *error);
/* All blocks are released and all streams idle. NULL is allowed. */
void wefti_memory_pool_destroy(wefti_memory_pool *pool);

/* Plain blocks for workspaces: no stream order, counted against the cap; at the cap
 * cached free blocks are given back first, then the workspaces of idle contexts: so a
 * caller holds no lock but its own context's lease. */
weft_status wefti_memory_reserve(wefti_memory_pool *pool, int32_t card,
                                 size_t size_bytes, void **address, weft_error *error);
/* `card` and `size_bytes` as it was reserved. */
void wefti_memory_unreserve(wefti_memory_pool *pool, int32_t card, void *address,
                            size_t size_bytes);

/* Gives the cached free blocks back to the system. */
void wefti_memory_pool_trim(wefti_memory_pool *pool);

void wefti_memory_get_statistics(wefti_memory_pool *pool, uint64_t *bytes,
                                 uint64_t *peak_bytes);

#endif
