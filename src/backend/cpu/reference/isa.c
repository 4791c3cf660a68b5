/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/reference/reference.h"

static bool always(void)
{
    return true;
}

const wefti_cpu_isa wefti_cpu_isa_reference = {
    .name = "reference",
    .supported = always,
    .prepare =
        {
            [WEFTI_KERNEL_MATMUL] = wefti_prepare_matmul_reference,
        },
};
