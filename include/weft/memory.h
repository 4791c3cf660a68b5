/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_MEMORY_H
#define WEFT_MEMORY_H

#include <weft/stream.h>

WEFT_BEGIN_DECLS

/* A block of device memory whose allocation and release are steps on a stream.
 * Class: synchronised. */
typedef struct weft_memory weft_memory;

/* Allocates at the present point of `stream`; blocks released earlier on the same
 * stream are reused at once, those of other streams only when every stream that
 * touched them has passed the point of their release.
 * Threads: owner of the stream, who keeps an owner of the device meanwhile (a model and
 * an acquired stream are such; a lease is not). Blocks: never.
 * Shape: aligned to 64 bytes, contents undefined. Owns: the caller releases it.
 * Errors: WEFT_OUT_OF_MEMORY at the device's cap; nothing else is disturbed. */
WEFT_API WEFT_MUST_USE weft_status weft_memory_allocate(weft_stream *stream,
                                                        size_t size_bytes,
                                                        weft_memory **memory,
                                                        weft_error *error);

/* Says that `stream` touches the block too, so that its release waits for it.
 * Threads: any; before the release. */
WEFT_API WEFT_MUST_USE weft_status weft_memory_touch(weft_memory *memory,
                                                     weft_stream *stream,
                                                     weft_error *error);

/* Releases the block: it is reused once every stream that touched it has passed its
 * present point. NULL is allowed.
 * Threads: any. Blocks: never. */
WEFT_API void weft_memory_release(weft_memory *memory);

/* Lends the address.
 * Threads: any. */
WEFT_API void *weft_memory_data(const weft_memory *memory);

/* Returns the usable size.
 * Threads: any. */
WEFT_API size_t weft_memory_size(const weft_memory *memory);

WEFT_END_DECLS

#endif
