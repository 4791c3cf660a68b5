/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_EXECUTOR_H
#define WEFTI_RUNTIME_EXECUTOR_H

#include "runtime/request.h"

/* A device's queue of asynchronous requests: first come first served by the workers;
 * a request that is cancelled leaves it at once. Class: synchronised. */

weft_status wefti_executor_create(weft_device *device, wefti_executor **executor,
                                  weft_error *error);
/* It is idle and the workers have ended. NULL is allowed; may be called on its own
 * timer's thread. */
void wefti_executor_destroy(wefti_executor *executor);

/* Queues the request and owns it until it has ended. On failure it was never queued and
 * the ownership stays the caller's. */
weft_status wefti_executor_submit(wefti_executor *executor, weft_request *request,
                                  weft_error *error);

/* The calling thread has claimed the pending request to end it. */
void wefti_executor_take_out(wefti_executor *executor, weft_request *request);

/* The calling thread has ended the request; drops the executor's ownership. True: it
 * now has to call wefti_device_teardown. The executor may be gone when this returns
 * false. */
bool wefti_executor_leave(wefti_executor *executor, weft_request *request);

/* Cancels what has not started. The caller keeps the device alive. */
void wefti_executor_cancel_pending(wefti_executor *executor);

/* Waits until no request is queued, runs or has its callback running. */
bool wefti_executor_wait_idle(wefti_executor *executor, int64_t deadline_ns);

/* Called by who drops the device's last owner. True when this thread is inside a
 * request's body or callback: then it tears the device down as it leaves that. */
bool wefti_executor_adopt_teardown(wefti_executor *executor);

#endif
