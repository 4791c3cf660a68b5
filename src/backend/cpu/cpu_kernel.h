/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_CPU_KERNEL_H
#define WEFTI_BACKEND_CPU_CPU_KERNEL_H

#include "backend/common/weights.h"
#include "backend/step.h"
#include "base/error.h"

/* How a CPU kernel looks to the recipe that calls it. A step's work is cut into
 * `tile_count` whole output tiles; any thread may do any range of them, in any order,
 * and the bits are the same. */

/* One call's arguments, the same for all tiles. */
typedef struct wefti_cpu_call {
    const void *params;                 /* the step's parameters */
    const void *derived;                /* what prepare made, or NULL */
    void *operands[WEFTI_MAX_OPERANDS]; /* NULL where absent */
    /* Where operands lie in rows of prepared.row_bytes apart from each other: of each
     * operand the rows' addresses, or NULL. NULL: none does. */
    void *const *const *rows;
    /* A note of the thread's own about what its scratch holds, for its next tiles of
     * the same call: -1 before its first ones. NULL: there are no others. */
    int64_t *kept;
} wefti_cpu_call;

/* Does the tiles [begin, end). `scratch` is this thread's own, 64-byte aligned. Fails
 * only for data it cannot accept (an index out of range). */
typedef weft_status (*wefti_cpu_function)(const wefti_cpu_call *call, void *scratch,
                                          int64_t begin, int64_t end,
                                          weft_error *error);

typedef struct wefti_cpu_prepared {
    wefti_cpu_function function;
    int64_t tile_count;
    size_t scratch_bytes; /* for each thread */
    /* Estimated time of the whole step on one core, to decide whether help pays. Not an
     * integer: shapes that nobody runs are planned too. */
    double work_ns;
    /* Allocated with wefti_malloc, freed by the recipe; may be NULL. */
    void *derived;
    /* When packed_operand >= 0 that operand, a constant, is replaced by its packed
     * form of packed_bytes made by `pack(packed, constant, params)`. */
    int32_t packed_operand;
    size_t packed_bytes;
    wefti_weight_pack pack;
    uint64_t packed_layout[6];
    /* Of operands that the function also takes in rows of so many bytes, dense in
     * themselves, wherever each lies (`rows`); 0: not. */
    size_t row_bytes[WEFTI_MAX_OPERANDS];
    char description[48];
} wefti_cpu_prepared;

/* The addresses of an operand's rows from a first one on; NULL: it lies in one piece.
 */
WEFTI_INLINE void *const *wefti_cpu_rows(const wefti_cpu_call *call, int32_t operand,
                                         int64_t first)
{
    void *const *rows = call->rows != NULL ? call->rows[operand] : NULL;
    return rows != NULL ? rows + first : NULL;
}

/* Chooses how a step runs. `may_pack` is false when constants must be read as they
 * are. WEFT_UNSUPPORTED when the types or dims are beyond this kernel. The caller has
 * zeroed `prepared` and set packed_operand to -1. */
typedef weft_status (*wefti_cpu_prepare)(const wefti_step *step, bool may_pack,
                                         wefti_cpu_prepared *prepared,
                                         weft_error *error);

/* The kernels of one instruction set. */
typedef struct wefti_cpu_isa {
    const char *name;
    bool (*supported)(void); /* by this machine */
    wefti_cpu_prepare prepare[WEFTI_KERNEL_COUNT];
} wefti_cpu_isa;

/* All instruction sets of this build, best first, "reference" (plain C) last; ends
 * with NULL. */
extern const wefti_cpu_isa *const wefti_cpu_isas[];

#endif
