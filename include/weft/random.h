/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_RANDOM_H
#define WEFT_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include <weft/export.h>

WEFT_BEGIN_DECLS

/* Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011): every key has its numbers at once, in any
 * order, the same on every machine. */
typedef struct weft_random_key {
    uint64_t seed;
    uint32_t stream; /* such as a row of a table */
    uint32_t thread;
    uint32_t iteration;
} weft_random_key;

/* Fills with uniform 32-bit numbers.
 * Threads: any. */
WEFT_API void weft_random_fill_u32(const weft_random_key *key, uint32_t *values,
                                   size_t count);

/* Fills with uniform numbers of [0, 1), multiples of 2^-24.
 * Threads: any. */
WEFT_API void weft_random_fill_uniform(const weft_random_key *key, float *values,
                                       size_t count);

/* Fills with N(0,1) numbers (sum of uniforms is not used; inverse transform in f64).
 * Threads: any. */
WEFT_API void weft_random_fill_normal(const weft_random_key *key, float *values,
                                      size_t count);

WEFT_END_DECLS

#endif
