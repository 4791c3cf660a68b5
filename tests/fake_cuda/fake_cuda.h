/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_FAKE_CUDA_FAKE_CUDA_H
#define WEFT_TESTS_FAKE_CUDA_FAKE_CUDA_H

#include <stdint.h>

/* A stand-in for the NVIDIA driver, libcuda.so.1: the calls of backend/cuda/driver.h
 * over host memory, two cards, a thread for each stream, and the project's kernels run
 * as C. It checks the rules (see violations), among them that the context of the right
 * card is current at each call and that nothing of one card is used on the other; and
 * it can fail any call. Tests reach these through dlsym. */

enum { FAKE_CUDA_CARDS = 2 };

/* What the driver holds now; all zero when everything was given back. */
typedef struct fake_cuda_counts {
    uint64_t calls;
    uint32_t contexts, modules, streams, events, graphs, executables;
    uint32_t device_blocks, host_blocks;
    uint32_t blocks_of[FAKE_CUDA_CARDS]; /* device_blocks by card */
    uint64_t launches[FAKE_CUDA_CARDS];  /* of graphs, so far */
    uint32_t violations;                 /* each was printed */
    uint32_t unfinished;                 /* launches that have not run to their end */
    uint32_t waiting; /* threads that wait for a stream or an event */
} fake_cuda_counts;
void fake_cuda_count(fake_cuda_counts *counts);

/* While it is on no stream begins with anything. */
void fake_cuda_hold(int on);

/* Makes the n-th call from now on (1: the next) give `result`, once; 0: none does.
 * Returns whether the last one that was set has come. A result of 700 or more makes all
 * later calls on that card give it too, as a fault of the card does, until this is
 * called again. */
int fake_cuda_fail_at(uint64_t n, int result);

/* Makes the next launch on any stream end in a fault (700) after it has been taken. */
void fake_cuda_fault_next_launch(void);
/* The next one on this card. */
void fake_cuda_fault_next_launch_on(int card);

/* 1: violations are not printed from now on. 0: they are again; returns how many there
 * were meanwhile and forgets them. For tests of the rules themselves. */
uint32_t fake_cuda_forgive(int on);

/* Gives the second card another name, or the same again. */
void fake_cuda_make_kinds_differ(int differ);

#endif
