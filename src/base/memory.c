/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/testing.h"

/* atomic: any thread -> any thread; a plain count, it orders nothing */
static wefti_atomic_u64 allocation_count;

static void *counted(void *block)
{
    if (block) {
        wefti_atomic_u64_add_relaxed(&allocation_count, 1);
    }
    return block;
}

void *wefti_malloc(size_t size_bytes)
{
    if (wefti_fault_here(WEFTI_FAULT_ALLOCATION)) {
        return NULL;
    }
    return counted(malloc(size_bytes ? size_bytes : 1));
}

void *wefti_calloc(size_t count, size_t size_bytes)
{
    size_t total = 0;
    if (wefti_fault_here(WEFTI_FAULT_ALLOCATION) ||
        WEFTI_MUL_OVERFLOWS(count, size_bytes, &total)) {
        return NULL;
    }
    return counted(calloc(1, total ? total : 1));
}

void *wefti_realloc(void *block, size_t count, size_t size_bytes)
{
    size_t total = 0;
    if (wefti_fault_here(WEFTI_FAULT_ALLOCATION) ||
        WEFTI_MUL_OVERFLOWS(count, size_bytes, &total)) {
        return NULL;
    }
    return counted(realloc(block, total ? total : 1));
}

void *wefti_malloc_aligned(size_t size_bytes)
{
    if (wefti_fault_here(WEFTI_FAULT_ALLOCATION)) {
        return NULL;
    }
    void *block = NULL;
    if (posix_memalign(&block, WEFTI_CACHE_LINE, size_bytes ? size_bytes : 1) != 0) {
        return NULL;
    }
    return counted(block);
}

void wefti_free(void *block)
{
    free(block);
}

char *wefti_strndup(const char *text, size_t length)
{
    size_t size = 0;
    if (WEFTI_ADD_OVERFLOWS(length, (size_t)1, &size)) {
        return NULL;
    }
    char *copy = wefti_malloc(size);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

char *wefti_strdup(const char *text)
{
    return wefti_strndup(text, strlen(text));
}

uint64_t wefti_allocation_count(void)
{
    return wefti_atomic_u64_load_relaxed(&allocation_count);
}

void *wefti_grow(void *array, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity) {
        return array;
    }
    size_t wanted = 0;
    if (WEFTI_MUL_OVERFLOWS(*capacity, (size_t)2, &wanted)) {
        return NULL;
    }
    wanted = wanted < 8 ? 8 : wanted;
    if (wanted <= count && WEFTI_ADD_OVERFLOWS(count, (size_t)1, &wanted)) {
        return NULL;
    }
    void *grown = wefti_realloc(array, wanted, element_bytes);
    if (grown) {
        *capacity = wanted;
    }
    return grown;
}
