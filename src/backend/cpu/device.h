/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_DEVICE_H
#define WEFTI_BACKEND_CPU_DEVICE_H

#include "backend/backend.h"
#include "backend/cpu/cpu_kernel.h"

/* Finds an instruction set in a table like wefti_cpu_isas: the named one, or the best
 * that this machine supports when `name` is NULL or empty.
 * Errors: WEFT_INVALID_ARGUMENT lists the table's; WEFT_UNAVAILABLE. */
weft_status wefti_cpu_isa_find(const wefti_cpu_isa *const *isas, const char *name,
                               const wefti_cpu_isa **isa, weft_error *error);

/* Opens a CPU device with the kernels of `isa`, on `core_count` cores. */
weft_status wefti_cpu_device_create(const wefti_cpu_isa *isa, int32_t core_count,
                                    int32_t worker_count, wefti_backend_device **device,
                                    weft_error *error);

#endif
