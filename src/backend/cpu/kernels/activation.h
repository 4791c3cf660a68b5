/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_ACTIVATION_H
#define WEFTI_BACKEND_CPU_KERNELS_ACTIVATION_H

#include "backend/cpu/kernels/simd.h"
#include "backend/kernel.h"

/* What the products apply to a finished tile while it is still in the cache. RELU is
 * not among them: the products do it on the sums in registers. */
typedef struct activation_tile {
    float *c;
    int64_t c_row;
    int64_t rows;
    int32_t columns;
} activation_tile;

void WEFTI_ISA_NAME(wefti_activation_apply)(wefti_activation activation, float alpha,
                                            activation_tile tile);
#define activation_apply WEFTI_ISA_NAME(wefti_activation_apply)

/* True when a second pass is needed. */
WEFTI_INLINE bool activation_is_pass(wefti_activation activation)
{
    return activation != WEFTI_ACTIVATION_NONE && activation != WEFTI_ACTIVATION_RELU;
}

#endif
