/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/common/host_memory.h"

#include "backend/common/fault.h"
#include "base/memory.h"

weft_status wefti_host_memory_allocate(size_t size_bytes, void **address,
                                       weft_error *error)
{
    *address = NULL;
    WEFTI_TRY(wefti_device_fault("memory.allocate", error));
    *address = wefti_malloc_aligned(size_bytes);
    if (*address == NULL) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "the system has no %zu bytes of memory for the device; free "
                           "something or use smaller shapes",
                           size_bytes);
    }
    return WEFT_OK;
}
