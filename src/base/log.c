/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void wefti_log_write(const wefti_log *log, weft_log_level level, const char *format,
                     ...)
{
    if (!log->callback || level > log->level) {
        return;
    }
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length >= 0) {
        log->callback(log->user, level, line);
    }
}
