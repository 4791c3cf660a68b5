/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_PHILOX_H
#define WEFTI_BASE_PHILOX_H

#include <stdint.h>

/* One block of Philox4x32-10: four random words for a counter under a key. */
void wefti_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/* The number x for which a N(0,1) variable is below x with probability
 * (word + 1/2) / 2^32. Basic arithmetic and square roots only: the same bits on every
 * machine. */
double wefti_normal_of_word(uint32_t word);

#endif
