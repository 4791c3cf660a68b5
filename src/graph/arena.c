/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

enum { CHUNK_BYTES = 8192 };

struct wefti_arena_chunk {
    wefti_arena_chunk *next;
    size_t used, size; /* bytes behind this header */
    alignas(16) char data[];
};

void wefti_arena_init(wefti_arena *arena)
{
    arena->chunks = NULL;
}

void wefti_arena_fini(wefti_arena *arena)
{
    while (arena->chunks != NULL) {
        wefti_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        wefti_free(chunk);
    }
}

size_t wefti_arena_bytes(const wefti_arena *arena)
{
    size_t bytes = 0;
    for (const wefti_arena_chunk *c = arena->chunks; c != NULL; c = c->next) {
        bytes += sizeof(*c) + c->size;
    }
    return bytes;
}

static wefti_arena_chunk *add_chunk(wefti_arena *arena, size_t size_bytes)
{
    size_t total;
    if (WEFTI_ADD_OVERFLOWS(size_bytes, sizeof(wefti_arena_chunk), &total)) {
        return NULL;
    }
    wefti_arena_chunk *chunk = wefti_malloc(total);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->used = 0;
    chunk->size = size_bytes;
    /* A large block goes behind the open chunk, which still has room. */
    if (arena->chunks != NULL && size_bytes > CHUNK_BYTES) {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    } else {
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    return chunk;
}

static void *take(wefti_arena *arena, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - 15) {
        return NULL;
    }
    size_bytes = (size_bytes + 15) & ~(size_t)15;
    wefti_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size_bytes) {
        chunk = add_chunk(arena, size_bytes > CHUNK_BYTES ? size_bytes : CHUNK_BYTES);
        if (chunk == NULL) {
            return NULL;
        }
    }
    void *block = chunk->data + chunk->used;
    chunk->used += size_bytes;
    return block;
}

void *wefti_arena_calloc(wefti_arena *arena, size_t count, size_t size_bytes)
{
    size_t total;
    if (WEFTI_MUL_OVERFLOWS(count, size_bytes, &total)) {
        return NULL;
    }
    void *block = take(arena, total);
    if (block != NULL) {
        memset(block, 0, total);
    }
    return block;
}

void *wefti_arena_data(wefti_arena *arena, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - 64) {
        return NULL;
    }
    char *block = take(arena, size_bytes + 64);
    if (block == NULL) {
        return NULL;
    }
    return block + (64 - (uintptr_t)block % 64) % 64;
}

char *wefti_arena_strdup(wefti_arena *arena, const char *text)
{
    return wefti_arena_copy(arena, text, strlen(text) + 1);
}

void *wefti_arena_copy(wefti_arena *arena, const void *data, size_t size_bytes)
{
    void *block = take(arena, size_bytes);
    if (block != NULL && size_bytes > 0) {
        memcpy(block, data, size_bytes);
    }
    return block;
}

char *wefti_arena_printf(wefti_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : take(arena, (size_t)length + 1);
    if (text != NULL) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    return text;
}
