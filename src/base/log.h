/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_LOG_H
#define WEFTI_BASE_LOG_H

#include <weft/device.h>

#include "base/compiler.h"

/* Where a device's log lines go. Immutable after create. */
typedef struct wefti_log {
    weft_log_callback callback; /* NULL: nowhere */
    void *user;
    weft_log_level level;
} wefti_log;

/* Formats a line and hands it to the callback. Never call it under a lock. */
void wefti_log_write(const wefti_log *log, weft_log_level level, const char *format,
                     ...) WEFTI_PRINTF(3, 4);

#endif
