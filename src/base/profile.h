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

/* When something begins that may be recorded; 0 without a profiler. */
WEFTI_INLINE int64_t wefti_profile_begin(const weft_profiler *profiler)
{
    return WEFTI_UNLIKELY(profiler != NULL) ? wefti_clock_ns() : 0;
}

WEFTI_INLINE void wefti_profile_record(weft_profiler *profiler, int64_t begin_ns,
                                       const wefti_profile_note *note)
{
    wefti_profile_record_until(profiler, begin_ns, wefti_clock_ns(), note);
}

/* Waits shorter than this are none: what was waited for was there. */
enum { WEFTI_PROFILE_LEAST_WAIT_NS = 1000 };

/* Records that the calling thread has waited since `begin_ns`, if it has. `context` is
 * the number of the context that this was about, or -1. Threads: any. */
WEFTI_INLINE void wefti_profile_wait(weft_profiler *profiler, int64_t begin_ns,
                                     const char *what, int32_t context,
                                     weft_status status)
{
    const wefti_profile_note note = {
        .kind = WEFT_PROFILE_WAIT, .status = status, .name = what, .counts = {context}};
    int64_t end_ns = wefti_clock_ns();
    if (status != WEFT_OK || end_ns - begin_ns >= WEFTI_PROFILE_LEAST_WAIT_NS) {
        wefti_profile_record_until(profiler, begin_ns, end_ns, &note);
    }
}

#endif
