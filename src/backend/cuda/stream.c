/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/stream.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "backend/common/host_stream.h"
#include "backend/cuda/bytes.h"
#include "backend/cuda/report.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/profile.h"
#include "base/thread.h"

/* How a run is awaited. The last kernel raises a flag in host memory, so that looking
 * costs no call of the driver. While there are more runs than cores, who looks in vain
 * sleeps a little, so that the others get on; yielding would not do, for a thread that
 * yields is soon back and the others have used up their share. A run that is known to
 * take longer is slept for, for half of its time; an event would come later than the
 * flag, make the run seem longer, and so keep being waited for. Very long runs, and
 * those that turn out to be, are slept for until an event. */
enum {
    LOOKS_BEFORE_YIELD = 32,
    NAP_NS = 20000,
    SPIN_NS = 400000,
    LONG_RUN_NS = 400000,
    VERY_LONG_RUN_NS = 4000000,
    FIRST_STAGING_BYTES = 1 << 16,
    /* Inputs from this size on are copied past the caches, also for kernels to read:
     * relu (32 KiB) from 8 and 16 threads 258 and 346 k/s through them, 278 and 396 k/s
     * past them, conv1d (128 KiB) 131 and 182 k/s, 142 and 198 k/s; from 4 KiB on no
     * more. */
    PAST_CACHES_BYTES = 16 << 10,
    /* Runs that only wait for the bus are so many at a time on it, behind the copies
     * of the host: more hold each other up. layernorm (512 KiB each way) from 16 and 64
     * threads, all of them, 7 and 5: 59 and 60, 62 and 62, 61 and 58 k/s, P99 at 64 11,
     * 7 and 8 ms. */
    MOST_CROSSING = 7,
};

static bool is_done(const wefti_cuda_stream *stream)
{
    return wefti_atomic_u32_load_acquire(&stream->control->flag) != 0;
}

static bool is_crowded(const wefti_backend_device *device)
{
    return (int32_t)wefti_atomic_u32_load_relaxed(&device->running) >
           device->core_count;
}

static bool spin(const wefti_cuda_stream *stream, int64_t begin_ns, int64_t most_ns)
{
    for (uint32_t looks = 1;; looks++) {
        if (is_done(stream)) {
            return true;
        }
        if (looks % LOOKS_BEFORE_YIELD == 0) {
            if (wefti_clock_ns() - begin_ns > most_ns) {
                return false;
            }
            if (is_crowded(stream->device)) {
                wefti_thread_sleep(NAP_NS);
            } else {
                wefti_thread_yield();
            }
        }
        wefti_pause();
    }
}

/* Waits for the flag as long as that is worth it. */
static bool await_flag(const wefti_cuda_stream *stream, int64_t begin_ns,
                       int64_t run_ns)
{
    if (run_ns <= LONG_RUN_NS) {
        return spin(stream, begin_ns, SPIN_NS);
    }
    if (run_ns > VERY_LONG_RUN_NS) {
        return false;
    }
    wefti_thread_sleep(run_ns / 2);
    return spin(stream, begin_ns, 2 * run_ns);
}

static weft_status block(wefti_cuda_stream *stream, weft_error *error)
{
    wefti_backend_device *device = stream->device;
    cuda_result result = device->driver.event_record(stream->done, stream->handle);
    if (result == CUDA_SUCCESS) {
        result = device->driver.event_synchronize(stream->done);
    }
    WEFTI_TRY(wefti_cuda_check(device, result, "a run", error));
    if (!is_done(stream)) {
        return wefti_error(error, WEFT_INTERNAL,
                           "%s: a run ended without its last kernel", device->name);
    }
    return WEFT_OK;
}

static weft_status launch_and_wait(wefti_cuda_stream *stream,
                                   const wefti_recipe *recipe, wefti_cuda_graph *graph,
                                   weft_error *error)
{
    /* Relaxed: the launch orders it. */
    wefti_atomic_u32_store_relaxed(&stream->control->flag, 0);
    const bool recorded = WEFTI_UNLIKELY(recipe->profiler != NULL);
    WEFTI_TRY(wefti_cuda_graphs_launch(stream, recipe, graph, error));
    if (recorded) {
        wefti_cuda_spans_end(&stream->spans);
    }
    /* Behind the launch, which may have built a graph. */
    int64_t begin_ns = wefti_clock_ns();
    weft_status status = WEFT_OK;
    if (!await_flag(stream, begin_ns, graph->run_ns)) {
        status = block(stream, error);
    }
    if (recorded) { /* a stream knows no context */
        wefti_profile_wait(recipe->profiler, begin_ns, "wait for the device", -1,
                           status);
    }
    WEFTI_TRY(status);
    int64_t took_ns = wefti_clock_ns() - begin_ns;
    graph->run_ns = graph->run_ns == 0 ? took_ns : (graph->run_ns * 7 + took_ns) / 8;
    if (recorded) {
        wefti_cuda_spans_record(&stream->spans, recipe->profiler, graph->kernel_count);
    }
    return WEFT_OK;
}

static weft_status grow_staging(wefti_cuda_stream *stream, size_t size_bytes,
                                weft_error *error)
{
    wefti_backend_device *device = stream->device;
    wefti_cuda_begin_change(device);
    /* All graphs have the old address in them. */
    wefti_cuda_graphs_drop(stream);
    (void)device->driver.host_free(stream->staging);
    stream->staging = NULL;
    stream->staging_bytes = 0;
    void *address = NULL;
    weft_status status = wefti_cuda_check(
        device,
        device->driver.host_allocate(&address, size_bytes,
                                     CUDA_HOST_PORTABLE | CUDA_HOST_DEVICE_MAP),
        "pinned memory for inputs and outputs", error);
    wefti_cuda_end_change(device);
    if (status == WEFT_OK) {
        stream->staging = address;
        stream->staging_bytes = size_bytes;
    }
    return status;
}

static weft_status ensure_staging(wefti_cuda_stream *stream, size_t size_bytes,
                                  weft_error *error)
{
    return WEFTI_LIKELY(size_bytes <= stream->staging_bytes)
               ? WEFT_OK
               : grow_staging(stream, size_bytes, error);
}

#if defined(__SSE2__)
/* Copies to pinned memory past the caches: lines that a core still has slow down the
 * card that reads them. The copy engine does half a megabyte 66 k times a second then
 * and 42 k times else. The target is aligned to 64. */
static void copy_past_caches(char *target, const char *source, size_t size_bytes)
{
    size_t at = 0;
    for (; at + 64 <= size_bytes; at += 64) {
        const __m128i *from = (const __m128i *)(const void *)(source + at);
        __m128i *to = (__m128i *)(void *)(target + at);
        const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
        const __m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
        _mm_stream_si128(to, a);
        _mm_stream_si128(to + 1, b);
        _mm_stream_si128(to + 2, c);
        _mm_stream_si128(to + 3, d);
    }
    memcpy(target + at, source + at, size_bytes - at);
    _mm_sfence();
}
#else
static void copy_past_caches(char *target, const char *source, size_t size_bytes)
{
    memcpy(target, source, size_bytes);
}
#endif

/* Who is on the bus has been launched, or will be at once, and waits for nobody else:
 * so others get on after some microseconds. */
static void get_on_bus(wefti_cuda_stream *stream)
{
    wefti_atomic_u32 *crossing = &stream->device->crossing;
    uint32_t count = wefti_atomic_u32_load_relaxed(crossing);
    for (uint32_t looks = 1; !stream->crosses; looks++) {
        if (count < MOST_CROSSING) {
            stream->crosses = wefti_atomic_u32_cas_acq_rel(crossing, &count, count + 1);
            continue;
        }
        if (looks % LOOKS_BEFORE_YIELD == 0) {
            wefti_thread_yield();
        }
        wefti_pause();
        count = wefti_atomic_u32_load_relaxed(crossing);
    }
}

static void get_off_bus(wefti_cuda_stream *stream)
{
    if (WEFTI_UNLIKELY(stream->crosses)) {
        (void)wefti_atomic_u32_sub_acq_rel(&stream->device->crossing, 1);
        stream->crosses = false;
    }
}

static weft_status bring_by_engine(wefti_cuda_stream *stream,
                                   const wefti_recipe *recipe,
                                   const wefti_cuda_tensor *t, cuda_pointer target,
                                   const char *source, weft_error *error)
{
    wefti_backend_device *device = stream->device;
    char *pinned = stream->staging + t->pinned;
    copy_past_caches(pinned, source, t->bytes);
    if (recipe->crosses) {
        get_on_bus(stream);
    }
    return wefti_cuda_check(device,
                            device->driver.copy(target, (cuda_pointer)(uintptr_t)pinned,
                                                t->bytes, stream->handle),
                            "copying an input", error);
}

/* What is run: `on_card` are the addresses of inputs and outputs that lie on the card,
 * NULL for the others; NULL: all are in host memory. */
typedef struct execution {
    const wefti_recipe *recipe;
    void *const *slots;
    void *const *on_card;
    wefti_cuda_graph *graph;
} execution;

static bool is_on_card(const execution *e, size_t tensor)
{
    return WEFTI_UNLIKELY(e->on_card != NULL) && e->on_card[tensor] != NULL;
}

/* Between the caller's tensor on the card and what stands for it there, if that is not
 * the tensor itself. */
static weft_status copy_on_card(wefti_cuda_stream *stream, const execution *e,
                                size_t tensor, bool in, weft_error *error)
{
    const cuda_pointer theirs = (cuda_pointer)(uintptr_t)e->on_card[tensor];
    const cuda_pointer ours =
        (cuda_pointer)(uintptr_t)wefti_cuda_graphs_on_card(e->graph)[tensor];
    const size_t size_bytes = e->recipe->tensors[tensor].bytes;
    if (theirs == ours || size_bytes == 0) {
        return WEFT_OK;
    }
    return wefti_cuda_check(stream->device,
                            stream->device->driver.copy(in ? ours : theirs,
                                                        in ? theirs : ours, size_bytes,
                                                        stream->handle),
                            "copying a tensor on the card", error);
}

static weft_status bring_inputs(wefti_cuda_stream *stream, const execution *e,
                                weft_error *error)
{
    const wefti_recipe *recipe = e->recipe;
    void *const *slots = e->slots;
    const char *workspace = slots[WEFTI_SLOT_WORKSPACE];
    for (size_t i = 0; i < recipe->input_count; i++) {
        const wefti_cuda_tensor *t = &recipe->tensors[i];
        const cuda_pointer target =
            (cuda_pointer)(uintptr_t)workspace + recipe->staged_at + t->offset;
        if (is_on_card(e, i)) {
            WEFTI_TRY(copy_on_card(stream, e, i, true, error));
        } else if (t->by_pieces) {
            WEFTI_TRY(wefti_cuda_pieces_send(&stream->pieces, target, slots[1 + i],
                                             t->bytes, error));
        } else if (t->by_engine) {
            WEFTI_TRY(bring_by_engine(stream, recipe, t, target, slots[1 + i], error));
        } else if (t->bytes >= PAST_CACHES_BYTES) {
            copy_past_caches(stream->staging + t->pinned, slots[1 + i], t->bytes);
        } else if (t->bytes > 0) {
            memcpy(stream->staging + t->pinned, slots[1 + i], t->bytes);
        }
    }
    stream->control->ring_offset =
        (int64_t)(stream->runs++ % recipe->ring_places * recipe->ring_bytes);
    return WEFT_OK;
}

/* The last copies of a run on the card are waited for, as its kernels were. */
static weft_status bring_card_outputs(wefti_cuda_stream *stream, const execution *e,
                                      weft_error *error)
{
    const wefti_recipe *recipe = e->recipe;
    void *const *there = wefti_cuda_graphs_on_card(e->graph);
    bool copied = false;
    for (size_t i = recipe->input_count; i < recipe->input_count + recipe->output_count;
         i++) {
        if (is_on_card(e, i)) {
            WEFTI_TRY(copy_on_card(stream, e, i, false, error));
            copied = copied || e->on_card[i] != there[i];
        }
    }
    return !copied ? WEFT_OK
                   : wefti_cuda_check(
                         stream->device,
                         stream->device->driver.stream_synchronize(stream->handle),
                         "copying a tensor on the card", error);
}

static weft_status bring_outputs(wefti_cuda_stream *stream, const execution *e,
                                 weft_error *error)
{
    const wefti_recipe *recipe = e->recipe;
    void *const *slots = e->slots;
    const char *workspace = slots[WEFTI_SLOT_WORKSPACE];
    if (WEFTI_UNLIKELY(e->on_card != NULL)) {
        WEFTI_TRY(bring_card_outputs(stream, e, error));
    }
    for (size_t i = recipe->input_count; i < recipe->input_count + recipe->output_count;
         i++) {
        const wefti_cuda_tensor *t = &recipe->tensors[i];
        const cuda_pointer source =
            (cuda_pointer)(uintptr_t)workspace + recipe->staged_at + t->offset;
        if (is_on_card(e, i)) {
            continue;
        }
        if (t->by_pieces) {
            WEFTI_TRY(wefti_cuda_pieces_fetch(&stream->pieces, slots[1 + i], source,
                                              t->bytes, error));
        } else if (t->bytes > 0) {
            const char *from = stream->staging + t->pinned;
            from += t->in_ring ? stream->control->ring_offset : 0;
            memcpy(slots[1 + i], from, t->bytes);
        }
    }
    return WEFT_OK;
}

static weft_status run_entered(wefti_cuda_stream *stream, execution *e,
                               weft_error *error)
{
    const wefti_recipe *recipe = e->recipe;
    WEFTI_TRY(ensure_staging(stream, recipe->pinned_bytes, error));
    e->graph = wefti_cuda_graphs_get(stream, recipe, e->slots[WEFTI_SLOT_WORKSPACE],
                                     e->on_card);
    if (WEFTI_UNLIKELY(e->graph == NULL)) {
        return wefti_error_memory(error, "a run with tensors on the card");
    }
    WEFTI_TRY(bring_inputs(stream, e, error));
    WEFTI_TRY(launch_and_wait(stream, recipe, e->graph, error));
    get_off_bus(stream);
    if (recipe->reports &&
        WEFTI_UNLIKELY(stream->control->report != WEFTI_CUDA_REPORT_NONE)) {
        return wefti_cuda_report(stream, recipe, e->graph, error);
    }
    return bring_outputs(stream, e, error);
}

static weft_status run(void *user, wefti_recipe *recipe, void *const *slots,
                       size_t slot_count, weft_error *error)
{
    wefti_cuda_stream *stream = user;
    if (recipe->launch_count == 0 && !wefti_cuda_recipe_converts(recipe)) {
        return WEFT_OK;
    }
    const size_t used = 1 + recipe->input_count + recipe->output_count;
    if (slot_count < used) {
        return wefti_error(error, WEFT_INTERNAL,
                           "an execution brings %zu slots; its recipe uses %zu",
                           slot_count, used);
    }
    execution e = {.recipe = recipe,
                   .slots = slots,
                   .on_card = slot_count >= 2 * used ? slots + used + 1 : NULL};
    wefti_cuda_make_way(stream->device);
    WEFTI_TRY(wefti_cuda_enter(stream->device, error));
    /* Relaxed: a hint, it orders nothing. */
    (void)wefti_atomic_u32_add_relaxed(&stream->device->running, 1);
    weft_status status = run_entered(stream, &e, error);
    if (WEFTI_UNLIKELY(status != WEFT_OK)) {
        /* What was launched may still be at the workspace, which is the caller's. */
        (void)stream->device->driver.stream_synchronize(stream->handle);
        if (recipe->reports) { /* the kernels that did run may have found something */
            (void)wefti_cuda_report_clear(stream, NULL);
        }
    }
    get_off_bus(stream);
    (void)wefti_atomic_u32_sub_acq_rel(&stream->device->running, 1);
    wefti_cuda_leave(stream->device);
    return status;
}

static weft_status copy(void *user, void *target, const void *source, size_t size_bytes,
                        weft_error *error)
{
    wefti_cuda_stream *stream = user;
    return wefti_cuda_copy(stream->device, stream->handle, target, source, size_bytes,
                           error);
}

static weft_status fill(void *user, void *target, uint8_t value, size_t size_bytes,
                        weft_error *error)
{
    wefti_cuda_stream *stream = user;
    return wefti_cuda_fill(stream->device, stream->handle, target, value, size_bytes,
                           error);
}

/* Frees a half-made one too. After a fault nothing can be given back: the process's
 * share of the card goes with it. */
static void destroy(wefti_cuda_stream *stream)
{
    wefti_backend_device *device = stream->device;
    if (wefti_cuda_enter(device, NULL) == WEFT_OK) {
        const cuda_driver *driver = &device->driver;
        wefti_cuda_begin_change(device);
        wefti_cuda_graphs_drop(stream);
        if (stream->handle != NULL) {
            (void)driver->stream_synchronize(stream->handle);
            (void)driver->stream_destroy(stream->handle);
        }
        wefti_cuda_pieces_fini(&stream->pieces);
        wefti_cuda_spans_fini(&stream->spans);
        if (stream->done != NULL) {
            (void)driver->event_destroy(stream->done);
        }
        if (stream->control != NULL) {
            (void)driver->host_free(stream->control);
        }
        if (stream->staging != NULL) {
            (void)driver->host_free(stream->staging);
        }
        wefti_cuda_free(device, stream->counters);
        wefti_cuda_end_change(device);
        wefti_cuda_leave(device);
    }
    wefti_free(stream);
}

static weft_status make_counters(wefti_cuda_stream *stream, weft_error *error)
{
    static const wefti_cuda_counters start = {.report = WEFTI_CUDA_REPORT_NONE};
    void *address;
    WEFTI_TRY(wefti_cuda_allocate(stream->device, sizeof(start), &address, error));
    stream->counters = address;
    return wefti_cuda_upload(stream->device, address, &start, sizeof(start), error);
}

static weft_status make(wefti_cuda_stream *stream, weft_error *error)
{
    wefti_backend_device *device = stream->device;
    const cuda_driver *driver = &device->driver;
    const unsigned int pinned = CUDA_HOST_PORTABLE | CUDA_HOST_DEVICE_MAP;
    void *control = NULL;
    cuda_result result =
        driver->stream_create(&stream->handle, CUDA_STREAM_NON_BLOCKING);
    result = result
                 ? result
                 : driver->event_create(&stream->done, CUDA_EVENT_BLOCKING_SYNC |
                                                           CUDA_EVENT_DISABLE_TIMING);
    result = result ? result : driver->host_allocate(&control, 4096, pinned);
    stream->control = control;

    stream->pieces.stream = stream->handle;
    stream->spans.stream = stream->handle;
    stream->graphs.chains.stream = stream->handle;
    WEFTI_TRY(wefti_cuda_check(device, result, "making a stream", error));
    wefti_atomic_u32_init(&stream->control->flag, 0);
    stream->control->report = WEFTI_CUDA_REPORT_NONE;
    stream->control->ring_offset = 0;
    WEFTI_TRY(ensure_staging(stream, FIRST_STAGING_BYTES, error));
    return make_counters(stream, error);
}

weft_status wefti_cuda_stream_create(wefti_backend_device *device,
                                     wefti_backend_stream **stream, weft_error *error)
{
    static const wefti_host_stream_hooks hooks = {
        .run = run, .copy = copy, .fill = fill};
    *stream = NULL;
    wefti_cuda_stream *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a stream");
    }
    made->device = device;
    made->pieces.device = device;
    made->spans.device = device;
    made->graphs.chains.device = device;
    /* Relaxed: it orders nothing. */
    made->spans.number =
        (int32_t)wefti_atomic_u32_add_relaxed(&device->stream_count, 1);
    weft_status status = wefti_cuda_enter(device, error);
    if (status == WEFT_OK) {
        wefti_cuda_begin_change(device);
        status = make(made, error);
        wefti_cuda_end_change(device);
        wefti_cuda_leave(device);
    }
    if (status == WEFT_OK) {
        status = wefti_host_stream_create(made, &hooks, device->workers, stream, error);
    }
    if (status != WEFT_OK) {
        destroy(made);
    }
    return status;
}

void wefti_cuda_stream_destroy(wefti_backend_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    wefti_cuda_stream *own = wefti_host_stream_user(stream);
    wefti_host_stream_destroy(stream);
    destroy(own);
}
