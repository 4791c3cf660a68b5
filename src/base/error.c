/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = sizeof(((weft_error *)0)->message) };

/* Ends a text that did not fit with dots, so that nobody takes it for the whole. */
static void mark_cut(char *text, size_t size, int length)
{
    if (length >= (int)size) {
        memcpy(text + size - 4, "...", 4);
    }
}

/* The length of the UTF-8 sequence at `text`, or 0 when it is not one. */
static int sequence_length(const unsigned char *text)
{
    int length = text[0] < 0x80                      ? 1
                 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                 : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                 : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                     : 0;
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* Names come from files: nothing in them may move a terminal's cursor or break the
 * encoding of a log. */
static void make_printable(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at;) {
        int length = sequence_length(at);
        bool control = at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
        if (length == 0 || control) {
            *at = '?';
            length = 1;
        }
        at += length;
    }
}

static void print(char *text, size_t size, const char *format, va_list arguments)
{
    int length = vsnprintf(text, size, format, arguments);
    if (length < 0) {
        text[0] = 0;
    }
    mark_cut(text, size, length);
    make_printable(text);
}

void wefti_error_text(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(text, size, format, arguments);
    va_end(arguments);
}

/* Goes through a local buffer: the arguments may point into the error itself. */
static void set_message(weft_error *error, const char *format, va_list arguments)
{
    char text[MESSAGE_BYTES];
    print(text, sizeof text, format, arguments);
    memcpy(error->message, text, strlen(text) + 1);
}

weft_status wefti_error(weft_error *error, weft_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        set_message(error, format, arguments);
        va_end(arguments);
        error->status = status;
    }
    return status;
}

weft_status wefti_error_memory(weft_error *error, const char *what)
{
    return wefti_error(error, WEFT_OUT_OF_MEMORY,
                       "out of memory while making %s; free something or use a "
                       "smaller model, then try again",
                       what);
}

weft_status wefti_error_prefix(weft_error *error, weft_status status,
                               const char *format, ...)
{
    if (error) {
        char old[MESSAGE_BYTES];
        memcpy(old, error->message, sizeof old);
        old[sizeof old - 1] = 0;
        va_list arguments;
        va_start(arguments, format);
        set_message(error, format, arguments);
        va_end(arguments);
        int used = (int)strlen(error->message);
        int rest = snprintf(error->message + used, (size_t)(MESSAGE_BYTES - used),
                            ": %s", old);
        mark_cut(error->message, MESSAGE_BYTES, used + rest);
        make_printable(error->message);
        error->status = status;
    }
    return status;
}
