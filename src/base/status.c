/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/status.h>

#include <stddef.h>

#include "base/compiler.h"

typedef struct status_text {
    const char *name;
    const char *advice;
} status_text;

static const status_text texts[] = {
    [WEFT_OK] = {"WEFT_OK", "Nothing to do: the call succeeded."},
    [WEFT_INVALID_ARGUMENT] = {"WEFT_INVALID_ARGUMENT",
                               "Fix the arguments; the message names the tensor, "
                               "parameter or name."},
    [WEFT_INVALID_MODEL] = {"WEFT_INVALID_MODEL",
                            "Fix the file or the graph; the message names the file "
                            "and the node."},
    [WEFT_UNSUPPORTED] = {"WEFT_UNSUPPORTED",
                          "Use another operator, type or opset; the message names "
                          "what is missing."},
    [WEFT_NOT_FOUND] = {"WEFT_NOT_FOUND",
                        "Check the name or path; there is no such file, device, "
                        "input or output."},
    [WEFT_OUT_OF_MEMORY] = {"WEFT_OUT_OF_MEMORY",
                            "Free something or raise the cap, then try again."},
    [WEFT_BUSY] = {"WEFT_BUSY",
                   "Try again: the object is in use by another thread, or every "
                   "context is leased."},
    [WEFT_TIMEOUT] = {"WEFT_TIMEOUT",
                      "Try again or wait longer: the deadline passed first."},
    [WEFT_CANCELLED] = {"WEFT_CANCELLED",
                        "Nothing to do: the request was cancelled on demand."},
    [WEFT_CLOSED] = {"WEFT_CLOSED", "Stop submitting: the object was closed."},
    [WEFT_UNAVAILABLE] = {"WEFT_UNAVAILABLE",
                          "Fix the machine: driver, library or hardware is missing."},
    [WEFT_DEVICE_LOST] = {"WEFT_DEVICE_LOST",
                          "Give up on this device: it failed for good; close it."},
    [WEFT_FORKED] = {"WEFT_FORKED",
                     "Use Weft only in processes that were forked before the first "
                     "device was opened."},
    [WEFT_IO_ERROR] = {"WEFT_IO_ERROR",
                       "Check the path and the permissions: the operating system "
                       "refused."},
    [WEFT_INTERNAL] = {"WEFT_INTERNAL",
                       "A defect in Weft: please report it with the message."},
};

static const status_text *find(weft_status status)
{
    size_t index = (size_t)status;
    return index < WEFTI_COUNT_OF(texts) ? &texts[index] : NULL;
}

const char *weft_status_name(weft_status status)
{
    const status_text *text = find(status);
    return text ? text->name : "WEFT_UNKNOWN";
}

const char *weft_status_advice(weft_status status)
{
    const status_text *text = find(status);
    return text ? text->advice : "This is not a status of this version of Weft.";
}
