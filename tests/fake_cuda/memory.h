/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_FAKE_CUDA_MEMORY_H
#define WEFT_TESTS_FAKE_CUDA_MEMORY_H

#include "fake_cuda/fake_cuda.h"
#include "fake_cuda/objects.h"

/* The memory that the stand-in has given out, and what was given back last: of that
 * nobody else gets a byte for a while, so that its use is seen. The caller holds the
 * stand-in's lock. */

/* Filled with 0xff. */
block *memory_add_locked(size_t size_bytes, bool on_device, int card);
/* The block that an address is in; NULL: the caller's own memory. */
const block *memory_find_locked(uint64_t address);
/* Whether it is in a block that was given back. */
bool memory_is_freed_locked(uint64_t address);
/* `poison`: AddressSanitizer sees who reads or writes it from now on. */
void memory_remove_locked(const block *what, bool poison);
/* How many blocks there are. */
void memory_count_locked(fake_cuda_counts *counts);

/* Whether an argument of a kernel is an address in the block. */
bool memory_is_in_call(const block *b, const kernel_call *call);
/* Whether a copy or a fill has to do with it. */
bool memory_is_in_work(const block *b, const work *w);

#endif
