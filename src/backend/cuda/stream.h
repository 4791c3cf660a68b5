/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_STREAM_H
#define WEFTI_BACKEND_CUDA_STREAM_H

#include "backend/cuda/graphs.h"
#include "backend/cuda/pieces.h"
#include "backend/cuda/spans.h"

/* What a stream tells the host, in pinned memory; the device writes it. */
typedef struct wefti_cuda_control {
    /* atomic: the last kernel of a run -> who waits; 1 when all outputs are there */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 flag;
    WEFTI_CACHE_ALIGNED uint64_t report; /* ready when the flag is */
    /* written by who runs, before the launch: how far the run's place in the ring of
     * outputs is from the first */
    WEFTI_CACHE_ALIGNED int64_t ring_offset;
} wefti_cuda_control;

/* Its part on the device. */
typedef struct wefti_cuda_counters {
    WEFTI_CACHE_ALIGNED uint32_t arrived; /* 0 between runs */
    WEFTI_CACHE_ALIGNED uint64_t report;  /* WEFTI_CUDA_REPORT_NONE between runs */
} wefti_cuda_counters;

/* The device's half of a stream; the order of work, events and calls is that of
 * common/host_stream.h, and this is what its hooks get. One thread at a time. */
typedef struct wefti_cuda_stream {
    /* immutable after create */
    wefti_backend_device *device;
    cuda_stream handle;
    cuda_event done; /* to block on */
    wefti_cuda_control *control;
    wefti_cuda_counters *counters;

    /* one thread at a time: who runs on the stream */
    char *staging; /* pinned: inputs and outputs of the run */
    size_t staging_bytes;
    uint64_t runs;
    bool crosses;             /* this run is counted in device->crossing */
    wefti_cuda_pieces pieces; /* of larger ones */
    wefti_cuda_graphs graphs;
    wefti_cuda_spans spans; /* of runs that are recorded */
} wefti_cuda_stream;

weft_status wefti_cuda_stream_create(wefti_backend_device *device,
                                     wefti_backend_stream **stream, weft_error *error);
void wefti_cuda_stream_destroy(wefti_backend_stream *stream);

#endif
