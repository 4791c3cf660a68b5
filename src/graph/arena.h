/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_ARENA_H
#define WEFTI_GRAPH_ARENA_H

#include <stddef.h>

#include "base/compiler.h"

/* Memory that is freed all at once: names, attributes and tables of a graph.
 * Class: confined. */
typedef struct wefti_arena_chunk wefti_arena_chunk;
typedef struct wefti_arena {
    wefti_arena_chunk *chunks; /* newest first */
} wefti_arena;

void wefti_arena_init(wefti_arena *arena);
void wefti_arena_fini(wefti_arena *arena);

/* Zeroed, 16-byte aligned; NULL when memory runs out or count * size overflows. */
void *wefti_arena_calloc(wefti_arena *arena, size_t count, size_t size_bytes);

/* As above, 64-byte aligned and not zeroed: tensor data. */
void *wefti_arena_data(wefti_arena *arena, size_t size_bytes);

char *wefti_arena_strdup(wefti_arena *arena, const char *text);
void *wefti_arena_copy(wefti_arena *arena, const void *data, size_t size_bytes);

/* What the arena holds of memory. */
size_t wefti_arena_bytes(const wefti_arena *arena);

/* Formats a string; NULL when memory runs out. */
char *wefti_arena_printf(wefti_arena *arena, const char *format, ...)
    WEFTI_PRINTF(2, 3);

#endif
