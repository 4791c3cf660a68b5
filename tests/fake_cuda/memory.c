/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_cuda/memory.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(address, size_bytes) __asan_poison_memory_region(address, size_bytes)
#define CURE(address, size_bytes) __asan_unpoison_memory_region(address, size_bytes)
#else
#define POISON(address, size_bytes) ((void)0)
#define CURE(address, size_bytes) ((void)0)
#endif

enum { MOST_FREED_BYTES = 32 << 20, MOST_FREED = 256 };

static block *blocks;
static block *first_freed, *last_freed; /* the oldest, the newest */
static size_t freed_bytes, freed_count;
static uint64_t lowest = UINT64_MAX, highest; /* of all addresses so far */

block *memory_add_locked(size_t size_bytes, bool on_device, int card)
{
    block *made = malloc(sizeof(*made));
    *made = (block){
        .next = blocks, .size_bytes = size_bytes, .on_device = on_device, .card = card};
    made->address = aligned_alloc(256, (size_bytes + 255) / 256 * 256);
    memset(made->address, 0xff, size_bytes);
    blocks = made;
    const uint64_t begin = (uintptr_t)made->address, end = begin + size_bytes;
    lowest = begin < lowest ? begin : lowest;
    highest = end > highest ? end : highest;
    return made;
}

/* Most arguments are no addresses. */
static bool may_be_ours(uint64_t address)
{
    return address >= lowest && address < highest;
}

static bool has(const block *b, uint64_t address)
{
    return address >= (uintptr_t)b->address &&
           address < (uintptr_t)b->address + b->size_bytes;
}

const block *memory_find_locked(uint64_t address)
{
    const block *b = may_be_ours(address) ? blocks : NULL;
    while (b != NULL && !has(b, address)) {
        b = b->next;
    }
    return b;
}

bool memory_is_freed_locked(uint64_t address)
{
    const block *b = may_be_ours(address) ? first_freed : NULL;
    while (b != NULL && !has(b, address)) {
        b = b->next;
    }
    return b != NULL;
}

static void forget_oldest_locked(void)
{
    block *oldest = first_freed;
    first_freed = oldest->next;
    last_freed = first_freed == NULL ? NULL : last_freed;
    freed_bytes -= oldest->size_bytes;
    freed_count--;
    CURE(oldest->address, oldest->size_bytes);
    free(oldest->address);
    free(oldest);
}

void memory_remove_locked(const block *what, bool poison)
{
    block **link = &blocks;
    while (*link != what) {
        link = &(*link)->next;
    }
    block *freed = *link;
    *link = freed->next;
    freed->next = NULL;
    *(last_freed != NULL ? &last_freed->next : &first_freed) = freed;
    last_freed = freed;
    freed_bytes += freed->size_bytes;
    freed_count++;
    if (poison) {
        POISON(freed->address, freed->size_bytes);
    }
    while (freed_bytes > MOST_FREED_BYTES || freed_count > MOST_FREED) {
        forget_oldest_locked();
    }
}

void memory_count_locked(fake_cuda_counts *counts)
{
    for (const block *b = blocks; b != NULL; b = b->next) {
        *(b->on_device ? &counts->device_blocks : &counts->host_blocks) += 1;
        if (b->on_device) {
            counts->blocks_of[b->card]++;
        }
    }
}

bool memory_is_in_call(const block *b, const kernel_call *call)
{
    for (size_t i = 0; i < call->kernel->call_bytes / sizeof(uint64_t); i++) {
        if (has(b, call->arguments[i])) {
            return true;
        }
    }
    return false;
}

static bool overlaps(const block *b, const void *address, size_t size_bytes)
{
    return (const char *)address < b->address + b->size_bytes &&
           b->address < (const char *)address + size_bytes;
}

bool memory_is_in_work(const block *b, const work *w)
{
    const bool reads = w->kind == WORK_COPY, writes = reads || w->kind == WORK_FILL;
    return (writes && overlaps(b, w->target, w->size_bytes)) ||
           (reads && overlaps(b, w->source, w->size_bytes));
}
