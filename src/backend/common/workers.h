/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_WORKERS_H
#define WEFTI_BACKEND_COMMON_WORKERS_H

#include "backend/backend.h"

/* Threads that run tasks, first come first served. Class: synchronised. */
typedef struct wefti_workers wefti_workers;

/* How many threads a device's parameters ask for; one per core when they do not say. */
int32_t wefti_workers_wanted(const weft_device_params *params);

weft_status wefti_workers_create(int32_t count, wefti_workers **workers,
                                 weft_error *error);
/* Runs what is queued, then ends the threads. NULL is allowed. Called from a
 * task, it returns when the other threads have ended; the calling one ends after it. */
void wefti_workers_destroy(wefti_workers *workers);
/* Never blocks, allocates nothing. WEFT_UNAVAILABLE when there are no threads. */
weft_status wefti_workers_post(wefti_workers *workers, wefti_task *task,
                               weft_error *error);
int32_t wefti_workers_count(const wefti_workers *workers);

#endif
