/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_STEP_H
#define WEFTI_BACKEND_STEP_H

#include "backend/kernel.h"

/* Where an operand of a step is: a constant known when the plan is built, or an
 * offset into one of the slots that an execution is given (0: the workspace, then the
 * run's inputs, then its outputs). */
enum { WEFTI_SLOT_ABSENT = -1, WEFTI_SLOT_WORKSPACE = 0 };
typedef struct wefti_operand {
    const void *constant; /* not NULL: this address, and `slot` is absent */
    /* The constant goes with the plan: another may get its address while the model's
     * packed weights live, so it is never packed. */
    bool temporary;
    int32_t slot;
    int64_t offset_bytes;
} wefti_operand;

#define WEFTI_OPERAND_ABSENT                                                           \
    (wefti_operand)                                                                    \
    {                                                                                  \
        .slot = WEFTI_SLOT_ABSENT                                                      \
    }

/* One kernel call of a plan. */
typedef struct wefti_step {
    wefti_kernel kernel;
    const void *params; /* the kernel's wefti_*_params */
    size_t params_bytes;
    wefti_operand operands[WEFTI_MAX_OPERANDS];
    const char *label; /* the node, for messages; lives as long as the plan */
} wefti_step;

#endif
