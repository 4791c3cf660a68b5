/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

#include "base/compiler.h"
#include "base/testing.h"

int64_t wefti_clock_ns(void)
{
    if (WEFTI_UNLIKELY(wefti_clock_hook != 0)) {
        return wefti_clock_hook();
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t wefti_deadline(int64_t timeout_ns)
{
    if (timeout_ns < 0) {
        return WEFTI_NEVER;
    }
    int64_t deadline = 0;
    if (WEFTI_ADD_OVERFLOWS(wefti_clock_ns(), timeout_ns, &deadline)) {
        return WEFTI_NEVER;
    }
    return deadline;
}
