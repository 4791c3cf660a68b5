/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/memory.h"

void wefti_text_add(wefti_text *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    size_t needed = out->length + (size_t)length + 1;
    if (needed > out->capacity && !out->failed) {
        size_t capacity = 2 * needed + 1024;
        char *grown = wefti_realloc(out->data, capacity, 1);
        if (grown == NULL) {
            out->failed = true;
        } else {
            out->data = grown;
            out->capacity = capacity;
        }
    }
    if (!out->failed) {
        va_start(arguments, format);
        vsnprintf(out->data + out->length, (size_t)length + 1, format, arguments);
        va_end(arguments);
        out->length += (size_t)length;
    }
}
