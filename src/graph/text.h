/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_TEXT_H
#define WEFTI_GRAPH_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/* A text that grows; zeroed at first. Class: confined. */
typedef struct wefti_text {
    char *data; /* freed by wefti_free; NULL: nothing was added */
    size_t length, capacity;
    bool failed; /* memory ran out: a part of it is missing */
} wefti_text;

void wefti_text_add(wefti_text *out, const char *format, ...) WEFTI_PRINTF(2, 3);

#endif
