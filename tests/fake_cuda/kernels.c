/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_cuda/emulate.h"

#include "backend/cuda/device.h" /* the list of kernels */

/* The kernels themselves, as C. */
#include "backend/cuda/kernels/kernels.cu"

const emulate_kernel *emulate_find(const char *name)
{
    static const emulate_kernel kernels[] = {
#define ENTRY(name) {#name, name##_run, sizeof(name##_call)},
        WEFTI_CUDA_KERNELS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(kernels); i++) {
        if (strcmp(kernels[i].name, name) == 0) {
            return &kernels[i];
        }
    }
    return NULL;
}
