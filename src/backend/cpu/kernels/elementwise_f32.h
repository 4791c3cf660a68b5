/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_ELEMENTWISE_F32_H
#define WEFTI_BACKEND_CPU_KERNELS_ELEMENTWISE_F32_H

#include "backend/cpu/elementwise.h"
#include "backend/cpu/kernels/simd.h"

/* The function for f32 with these operands scalar; NULL when there is no such
 * operation. Arithmetic gives f32 with the one NaN, comparisons give bool. COPY and
 * WHERE keep the bits of a NaN. */
elementwise_function WEFTI_ISA_NAME(wefti_elementwise_f32)(wefti_operation operation,
                                                           uint32_t scalars);

#endif
