/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/report.h"

#include <inttypes.h>

/* A run that ended with a report. */
typedef struct report {
    wefti_cuda_stream *stream;
    const wefti_recipe *recipe;
    const wefti_cuda_graph *graph;
    const wefti_cuda_launch *launch;
    const char *label;
    int64_t position;
    weft_error *error;
} report;

/* The index at `at` of an operand of indices. */
static weft_status read_index(const report *r, int32_t operand, weft_type type,
                              int64_t at, int64_t *index)
{
    wefti_backend_device *device = r->stream->device;
    const cuda_driver *driver = &device->driver;
    const char *indices = wefti_cuda_graphs_resolve(r->stream, r->recipe, r->graph,
                                                    &r->launch->places[operand]);
    int64_t size = (int64_t)weft_type_size(type);
    int64_t wide = 0;
    int32_t narrow = 0;
    void *target = size == 4 ? (void *)&narrow : (void *)&wide;
    cuda_result result = driver->copy((cuda_pointer)(uintptr_t)target,
                                      (cuda_pointer)(uintptr_t)(indices + at * size),
                                      (size_t)size, r->stream->handle);
    result = result ? result : driver->stream_synchronize(r->stream->handle);
    *index = size == 4 ? narrow : wide;
    return wefti_cuda_check(device, result, "reading an index", r->error);
}

static weft_status tell_gather(const report *r)
{
    const wefti_gather_params *p = &r->launch->call.gather.p;
    int64_t index;
    WEFTI_TRY(read_index(r, WEFTI_GATHER_INDICES, p->index_type, r->position, &index));
    return wefti_error(r->error, WEFT_INVALID_ARGUMENT,
                       "%s: gather: index %" PRId64 " at position %" PRId64
                       " is out of range; it must be at least %" PRId64
                       " and below %" PRId64,
                       r->label, index, r->position, -p->axis_size, p->axis_size);
}

static weft_status tell_points(const report *r)
{
    const wefti_points_params *p = &r->launch->call.points.p;
    int64_t index, size = p->tuple_dims[r->position % p->tuple_size];
    WEFTI_TRY(read_index(r, WEFTI_POINTS_INDICES, p->index_type, r->position, &index));
    return wefti_error(r->error, WEFT_INVALID_ARGUMENT,
                       "%s: index %" PRId64 " at position %" PRId64
                       " is out of range; it must be at least %" PRId64
                       " and below %" PRId64,
                       r->label, index, r->position, p->from_start ? 0 : -size, size);
}

static weft_status tell_region(const report *r)
{
    const wefti_roi_align_params *p = &r->launch->call.roi_align.p;
    int64_t image, region = r->position / 2;
    if (r->position % 2 == 1) {
        return wefti_error(r->error, WEFT_INVALID_ARGUMENT,
                           "%s: a region is too large, or its edges are no numbers",
                           r->label);
    }
    WEFTI_TRY(read_index(r, WEFTI_ROI_ALIGN_IMAGES, p->index_type, region, &image));
    return wefti_error(r->error, WEFT_INVALID_ARGUMENT,
                       "%s: region %" PRId64 " is of image %" PRId64
                       "; there are %" PRId64,
                       r->label, region, image, p->batch);
}

weft_status wefti_cuda_report_clear(wefti_cuda_stream *stream, weft_error *error)
{
    wefti_backend_device *device = stream->device;
    const cuda_driver *driver = &device->driver;
    cuda_result result =
        driver->fill((cuda_pointer)(uintptr_t)&stream->counters->report, 0xff,
                     sizeof(uint64_t), stream->handle);
    result = result ? result : driver->stream_synchronize(stream->handle);
    return wefti_cuda_check(device, result, "clearing a report", error);
}

weft_status wefti_cuda_report(wefti_cuda_stream *stream, const wefti_recipe *recipe,
                              const wefti_cuda_graph *graph, weft_error *error)
{
    uint64_t word = stream->control->report;
    uint32_t step = (uint32_t)(word >> WEFTI_CUDA_REPORT_SHIFT);
    const wefti_cuda_launch *launch = recipe->launches;
    const wefti_cuda_launch *end = launch + recipe->launch_count;
    WEFTI_TRY(wefti_cuda_report_clear(stream, error));
    while (launch < end && launch->step != step) {
        launch++;
    }
    if (launch == end) {
        return wefti_error(error, WEFT_INTERNAL,
                           "a kernel's report is of step %" PRIu32
                           ", which the run does not have",
                           step);
    }
    const report r = {
        .stream = stream,
        .recipe = recipe,
        .graph = graph,
        .launch = launch,
        .label = recipe->labels[step],
        .position = (int64_t)(word & ((UINT64_C(1) << WEFTI_CUDA_REPORT_SHIFT) - 1)),
        .error = error,
    };
    switch (launch->kernel) {
    case WEFTI_CUDA_weft_gather:
        return tell_gather(&r);
    case WEFTI_CUDA_weft_roi_align:
        return tell_region(&r);
    default:
        return tell_points(&r);
    }
}
