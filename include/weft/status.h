/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <weft/export.h>

WEFT_BEGIN_DECLS

/* How a call ended. The comment of each code says what to do about it. */
typedef enum weft_status {
    WEFT_OK = 0,
    /* Fix the arguments; the message names the tensor, parameter or name. */
    WEFT_INVALID_ARGUMENT = 1,
    /* Fix the file or the graph; the message names the file and the node. */
    WEFT_INVALID_MODEL = 2,
    /* Use another operator, type or opset; the message names what is missing. */
    WEFT_UNSUPPORTED = 3,
    /* Check the name or path; there is no such file, device, input or output. */
    WEFT_NOT_FOUND = 4,
    /* Free something or raise the cap, then try again. */
    WEFT_OUT_OF_MEMORY = 5,
    /* Try again: the object is in use by another thread, or every context is
     * leased and the policy was to fail. */
    WEFT_BUSY = 6,
    /* Try again or wait longer: the deadline passed first. */
    WEFT_TIMEOUT = 7,
    /* Nothing to do: the caller or another thread cancelled the request. */
    WEFT_CANCELLED = 8,
    /* Stop submitting: the object was closed. */
    WEFT_CLOSED = 9,
    /* Fix the machine: driver, library or hardware is missing. */
    WEFT_UNAVAILABLE = 10,
    /* Give up on this device: it failed for good; close it. */
    WEFT_DEVICE_LOST = 11,
    /* Open devices after fork(), in the child: this process inherited them. */
    WEFT_FORKED = 12,
    /* Check the path and the permissions: the operating system refused. */
    WEFT_IO_ERROR = 13,
    /* A defect in Weft: please report it with the message. */
    WEFT_INTERNAL = 14,
} weft_status;

/* Where a failing call leaves its words: what happened, to which tensor, operator
 * or file, and what to do. Lives in the caller's memory; any call that takes one
 * writes it only when it fails. */
typedef struct weft_error {
    weft_status status;
    char message[500];
} weft_error;

/* Returns the name of a status, such as "WEFT_TIMEOUT"; never NULL.
 * Threads: any. */
WEFT_API const char *weft_status_name(weft_status status);

/* Returns a sentence that says what to do about a status; never NULL.
 * Threads: any. */
WEFT_API const char *weft_status_advice(weft_status status);

WEFT_END_DECLS

#endif
