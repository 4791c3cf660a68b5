/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/spans.h"

#include <stdio.h>

#include "base/profile.h"

/* The card's clock is compared with the host's so often, and each time the best of a
 * few tries counts: a time of the card is a float of milliseconds, and clocks drift. */
enum { ORIGIN_TRIES = 4 };
static const int64_t origin_lasts_ns = 1000000000;

static cuda_result make(wefti_cuda_spans *spans)
{
    const cuda_driver *driver = &spans->device->driver;
    cuda_event *const events[] = {&spans->origin, &spans->begin, &spans->end};
    cuda_result result = CUDA_SUCCESS;
    for (size_t i = 0; i < WEFTI_COUNT_OF(events) && result == CUDA_SUCCESS; i++) {
        result = *events[i] == NULL ? driver->event_create(events[i], 0) : CUDA_SUCCESS;
    }
    return result;
}

/* An event of which the host's time is known to half of what it took to see it. */
static cuda_result find_origin(wefti_cuda_spans *spans)
{
    const cuda_driver *driver = &spans->device->driver;
    cuda_result result = CUDA_SUCCESS;
    int64_t best_ns = INT64_MAX;
    spans->origin_ns = 0;
    for (int32_t i = 0; i < ORIGIN_TRIES && result == CUDA_SUCCESS; i++) {
        /* The better of two stays: `end` is free between runs. */
        const int64_t before_ns = wefti_clock_ns();
        result = driver->event_record(spans->end, spans->stream);
        result = result ? result : driver->event_synchronize(spans->end);
        const int64_t took_ns = wefti_clock_ns() - before_ns;
        if (result == CUDA_SUCCESS && took_ns < best_ns) {
            const cuda_event better = spans->end;
            spans->end = spans->origin;
            spans->origin = better;
            spans->origin_ns = before_ns + took_ns / 2;
            best_ns = took_ns;
        }
    }
    return result;
}

void wefti_cuda_spans_begin(wefti_cuda_spans *spans)
{
    const cuda_driver *driver = &spans->device->driver;
    cuda_result result = make(spans);
    if (result == CUDA_SUCCESS &&
        (spans->origin_ns == 0 ||
         wefti_clock_ns() - spans->origin_ns > origin_lasts_ns)) {
        result = find_origin(spans);
    }
    spans->from_ns = wefti_clock_ns();
    result = result ? result : driver->event_record(spans->begin, spans->stream);
    spans->begun = result == CUDA_SUCCESS;
}

void wefti_cuda_spans_end(wefti_cuda_spans *spans)
{
    spans->begun = spans->begun && spans->device->driver.event_record(
                                       spans->end, spans->stream) == CUDA_SUCCESS;
}

void wefti_cuda_spans_record(wefti_cuda_spans *spans, weft_profiler *profiler,
                             size_t kernel_count)
{
    const cuda_driver *driver = &spans->device->driver;
    float begin_ms = 0, took_ms = 0;
    char kernels[32];
    if (!spans->begun || driver->event_synchronize(spans->end) != CUDA_SUCCESS ||
        driver->event_elapsed(&begin_ms, spans->origin, spans->begin) != CUDA_SUCCESS ||
        driver->event_elapsed(&took_ms, spans->begin, spans->end) != CUDA_SUCCESS) {
        return;
    }
    /* It lies between the launch and now, as far as the clocks are apart. */
    const int64_t took_ns = (int64_t)((double)took_ms * 1e6);
    const int64_t latest_ns = wefti_clock_ns() - took_ns;
    int64_t begin_ns = spans->origin_ns + (int64_t)((double)begin_ms * 1e6);
    begin_ns = begin_ns > latest_ns ? latest_ns : begin_ns;
    begin_ns = begin_ns < spans->from_ns ? spans->from_ns : begin_ns;
    (void)snprintf(kernels, sizeof(kernels), "%zu kernels", kernel_count);
    const wefti_profile_note note = {.kind = WEFT_PROFILE_CARD,
                                     .name = spans->device->name,
                                     .detail = kernels,
                                     .counts = {spans->number, spans->device->index}};
    wefti_profile_record_until(profiler, begin_ns, begin_ns + took_ns, &note);
}

void wefti_cuda_spans_fini(wefti_cuda_spans *spans)
{
    const cuda_event events[] = {spans->origin, spans->begin, spans->end};
    for (size_t i = 0; i < WEFTI_COUNT_OF(events); i++) {
        if (events[i] != NULL) {
            (void)spans->device->driver.event_destroy(events[i]);
        }
    }
    spans->origin = spans->begin = spans->end = NULL;
}
