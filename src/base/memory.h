/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_MEMORY_H
#define WEFTI_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Host memory of the library. Every allocation is counted and can be made to fail
 * by a test (base/testing.h). Threads: any. */

/* NULL when memory runs out. A size of 0 gives a valid pointer. */
void *wefti_malloc(size_t size_bytes);

/* Zeroed; checks count * size for overflow. */
void *wefti_calloc(size_t count, size_t size_bytes);

/* As realloc of count * size, checked; on failure the old block stays. */
void *wefti_realloc(void *block, size_t count, size_t size_bytes);

/* Aligned to WEFTI_CACHE_LINE; contents undefined; freed by wefti_free. */
void *wefti_malloc_aligned(size_t size_bytes);

void wefti_free(void *block);

/* Copies `length` bytes and adds a zero byte; NULL when memory runs out. */
char *wefti_strndup(const char *text, size_t length);
char *wefti_strdup(const char *text);

/* Number of successful allocations so far, process-wide. */
uint64_t wefti_allocation_count(void);

/* Makes room for one more element in a growing array of `*capacity` elements (at
 * least doubling); returns the array, possibly moved, or NULL with the old one
 * untouched. */
void *wefti_grow(void *array, size_t count, size_t *capacity, size_t element_bytes);

#endif
