/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_PROGRAM_RUN_H
#define WEFT_TESTS_SUPPORT_PROGRAM_RUN_H

#include "backend/cpu/cpu_kernel.h"
#include "ops/program.h"

/* Runs a lowered program by calling the CPU's kernels itself: no plan, no stream. */
typedef struct program_memory {
    void *const *inputs;
    void *const *outputs;
    void **workspaces; /* made by program_run, one per buffer */
} program_memory;

void program_run(const wefti_program *program, const wefti_cpu_isa *isa, bool may_pack,
                 program_memory *memory);
void program_memory_fini(const wefti_program *program, program_memory *memory);
/* The start of a buffer. */
void *program_address(const wefti_program *program, const program_memory *memory,
                      int32_t buffer);
/* A plain strided copy over the dims of `shape`. */
void program_copy(void *target, const int64_t *target_strides, const void *source,
                  const int64_t *source_strides, const wefti_view *shape);

#endif
