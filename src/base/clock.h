/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_CLOCK_H
#define WEFTI_BASE_CLOCK_H

#include <stdint.h>

/* A deadline that never comes. */
#define WEFTI_NEVER INT64_MAX

/* Nanoseconds of the monotonic clock (CLOCK_MONOTONIC). Threads: any. */
int64_t wefti_clock_ns(void);

/* The deadline `timeout_ns` from now: negative is WEFTI_NEVER, 0 is already past;
 * saturates. */
int64_t wefti_deadline(int64_t timeout_ns);

#endif
