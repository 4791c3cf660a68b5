/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_ERROR_H
#define WEFTI_BASE_ERROR_H

#include <stddef.h>

#include <weft/status.h>

#include "base/compiler.h"

/* Writes words into the caller's error (which may be NULL) and returns `status`.
 * Write as: what happened, to which tensor, operator or file; what to do. Bytes that
 * are not printable UTF-8 become '?'. */
weft_status wefti_error(weft_error *error, weft_status status, const char *format, ...)
    WEFTI_PRINTF(3, 4);

/* Says that memory ran out while making `what` ("a plan", "the node table"). */
weft_status wefti_error_memory(weft_error *error, const char *what);

/* Puts "prefix: " before the message of an error that is being passed on, and
 * returns its status. */
weft_status wefti_error_prefix(weft_error *error, weft_status status,
                               const char *format, ...) WEFTI_PRINTF(3, 4);

/* Writes a text that is cut with dots where it does not fit, and printable like an
 * error's message. `size`: at least 4. */
void wefti_error_text(char *text, size_t size, const char *format, ...)
    WEFTI_PRINTF(3, 4);

/* Returns from the calling function when an expression fails. */
#define WEFTI_TRY(expression)                                                          \
    do {                                                                               \
        weft_status wefti_try_status = (expression);                                   \
        if (WEFTI_UNLIKELY(wefti_try_status != WEFT_OK)) {                             \
            return wefti_try_status;                                                   \
        }                                                                              \
    } while (0)

#endif
