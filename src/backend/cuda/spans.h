/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_SPANS_H
#define WEFTI_BACKEND_CUDA_SPANS_H

#include "backend/cuda/device.h"

/* When the runs of a stream began and ended on the card, for a profiler: by events of
 * the card before and behind a run's kernels, whose times are brought to the host's
 * clock. A recorded run pays for two events and a wait for the second. What fails here
 * leaves a run out of the profile and harms nobody. Class: confined, one thread at a
 * time; entered. */
typedef struct wefti_cuda_spans {
    /* immutable after the owner has set them */
    wefti_backend_device *device;
    cuda_stream stream;
    int32_t number; /* of the stream, on its card */

    cuda_event origin, begin, end; /* NULL until a run is recorded */
    int64_t origin_ns;             /* the host's time of `origin`; 0: none */
    bool begun;
    int64_t from_ns; /* the run cannot have begun before */
} wefti_cuda_spans;

/* Right before the launch: the card has this event before it has the first kernel, so a
 * span begins as much too early as a launch takes. */
void wefti_cuda_spans_begin(wefti_cuda_spans *spans);
/* Behind the launch. */
void wefti_cuda_spans_end(wefti_cuda_spans *spans);
/* When the run's end was seen: records it, of so many kernels. */
void wefti_cuda_spans_record(wefti_cuda_spans *spans, weft_profiler *profiler,
                             size_t kernel_count);
/* Gives all back. The stream's work has ended. */
void wefti_cuda_spans_fini(wefti_cuda_spans *spans);

#endif
