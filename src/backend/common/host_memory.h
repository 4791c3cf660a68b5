/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_HOST_MEMORY_H
#define WEFTI_BACKEND_COMMON_HOST_MEMORY_H

#include <stddef.h>

#include <weft/status.h>

/* Memory of devices that work on host memory: wefti_memory_table.allocate. Freed with
 * wefti_free. */
weft_status wefti_host_memory_allocate(size_t size_bytes, void **address,
                                       weft_error *error);

#endif
