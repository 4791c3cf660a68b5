/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* A kernel without a vector version has its plain C one here. */
const wefti_cpu_isa WEFTI_ISA_NAME(wefti_cpu_isa) = {
    .name = TEXT(WEFTI_ISA),
    .supported = WEFTI_ISA_NAME(wefti_cpu_supports),
    .prepare =
        {
            [WEFTI_KERNEL_MATMUL] = WEFTI_ISA_NAME(wefti_prepare_matmul),
        },
};
