/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_PROFILE_H
#define WEFTI_BASE_PROFILE_H

#include <weft/profile.h>

#include "base/clock.h"
#include "base/compiler.h"

/* What is recorded besides the times. Texts are copied, and cut where they are long;
 * NULL stands for "". */
typedef struct wefti_profile_note {
    weft_profile_kind kind;
    weft_status status;
    const char *name, *detail;
    int64_t counts[2];
    double flops;
} wefti_profile_note;

/* Records what began at `begin_ns` and ends now, or at `end_ns`. Takes a place by one
 * atomic addition; allocates and locks nothing. Threads: any. */
void wefti_profile_record_until(weft_profiler *profiler, int64_t begin_ns,
                                int64_t end_ns, const wefti_profile_note *note);

WEFTI_INLINE void wefti_profile_record(weft_profiler *profiler, int64_t begin_ns,
                                       const wefti_profile_note *note)
{
    wefti_profile_record_until(profiler, begin_ns, wefti_clock_ns(), note);
}

#endif
