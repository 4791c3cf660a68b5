/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_FORMATS_MAPPING_H
#define WEFTI_FORMATS_MAPPING_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/refcount.h"

/* A whole file in memory, read-only. Lives until its last owner lets go, on any
 * thread. The file must not shrink meanwhile. */
typedef struct wefti_mapping {
    wefti_refcount owners;
    const uint8_t *bytes;
    size_t size;
} wefti_mapping;

/* Opens a regular file and maps it; the caller owns *mapping. `folder` is an open
 * folder or AT_FDCWD, `flags` are more flags of open, `shown` is the path for
 * messages.
 * Errors: WEFT_NOT_FOUND, WEFT_IO_ERROR, WEFT_OUT_OF_MEMORY. */
weft_status wefti_mapping_open(int folder, const char *path, int flags,
                               const char *shown, wefti_mapping **mapping,
                               weft_error *error);

/* Drops an owner of a wefti_mapping; fits as the release of an initializer. */
void wefti_mapping_release(void *mapping);

/* Words and status for the system's last error: "cannot open 'x': no such file". */
weft_status wefti_system_error(const char *what, const char *shown, weft_error *error);

#endif
