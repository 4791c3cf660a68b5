/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_REQUEST_H
#define WEFTI_RUNTIME_REQUEST_H

#include <weft/request.h>

#include "runtime/device.h"

/* The life of an asynchronous request, whatever it runs: pending -> running -> ended,
 * or pending -> ended (cancelled, timed out, device closed). Each change is one
 * compare-and-swap, so that exactly one thread ends it. */

/* What a request runs: called once on a worker, unless it ended before it started. */
typedef weft_status (*wefti_request_body)(void *user, weft_error *error);

typedef struct wefti_request_work {
    wefti_request_body body;
    void *user;
    /* Called once when the request no longer needs `user`, however it ended. */
    void (*release)(void *user);
} wefti_request_work;

/* Accepts the work and posts it to the device's workers. On failure nothing was
 * accepted, and `release` has been called. */
weft_status wefti_request_submit(weft_device *device, const wefti_request_work *work,
                                 const weft_submit_params *params,
                                 weft_request **request, weft_error *error);

#endif
