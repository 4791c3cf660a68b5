/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/device.h"

#include <stdio.h>
#include <string.h>

#include "backend/common/fault.h"
#include "backend/common/host_event.h"
#include "backend/common/host_stream.h"
#include "backend/cuda/bytes.h"
#include "backend/cuda/recipe.h"
#include "backend/cuda/stream.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

/* How long a run lets others change the context before it begins. */
#define MAKE_WAY_NS INT64_C(100000)

enum { LEAST_CONTEXTS = 8, MOST_CONTEXTS = 16, LAUNCHES_BEFORE_GRAPH = 128 };

const char *wefti_cuda_kernel_name(wefti_cuda_kernel kernel)
{
    static const char *const names[] = {
#define NAME(name) #name,
        WEFTI_CUDA_KERNELS(NAME)
#undef NAME
    };
    return (size_t)kernel < WEFTI_COUNT_OF(names) ? names[kernel] : "unknown";
}

/* Errors after which no call of this process on the card works again. */
static bool is_fatal(cuda_result result)
{
    enum {
        DEINITIALIZED = 4,
        DEVICE_UNAVAILABLE = 46,
        ECC_UNCORRECTABLE = 214,
        NVLINK_UNCORRECTABLE = 220,
        FIRST_FAULT = 700, /* illegal address, launch timeout, illegal instruction */
        LAST_FAULT = 719,
        UNKNOWN = 999,
    };
    switch (result) {
    case DEINITIALIZED:
    case DEVICE_UNAVAILABLE:
    case ECC_UNCORRECTABLE:
    case NVLINK_UNCORRECTABLE:
    case UNKNOWN:
        return true;
    default:
        return result >= FIRST_FAULT && result <= LAST_FAULT;
    }
}

static weft_status lost_error(const wefti_backend_device *device, weft_error *error)
{
    if (error != NULL) {
        *error = device->lost_reason;
    }
    return WEFT_DEVICE_LOST;
}

static void latch(wefti_backend_device *device, const char *reason)
{
    wefti_mutex_lock(&device->lock);
    if (wefti_atomic_u32_load_acquire(&device->lost) == 0) {
        (void)wefti_error(&device->lost_reason, WEFT_DEVICE_LOST,
                          "%s, %s failed for good: %s; start the process again",
                          device->name, device->kind, reason);
        wefti_atomic_u32_store_release(&device->lost, 1);
    }
    wefti_mutex_unlock(&device->lock);
}

weft_status wefti_cuda_check(wefti_backend_device *device, cuda_result result,
                             const char *what, weft_error *error)
{
    if (WEFTI_LIKELY(result == CUDA_SUCCESS)) {
        return WEFT_OK;
    }
    const char *text = wefti_cuda_result_text(&device->driver, result);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "%s: the card has no room for %s; run less at once or use "
                           "smaller shapes",
                           device->name, what);
    }
    if (!is_fatal(result)) {
        return wefti_error(error, WEFT_INTERNAL, "%s: %s failed: %s (%d)", device->name,
                           what, text, result);
    }
    char reason[256];
    (void)snprintf(reason, sizeof(reason), "%s (%d) during %s", text, result, what);
    latch(device, reason);
    return lost_error(device, error);
}

weft_status wefti_cuda_enter(wefti_backend_device *device, weft_error *error)
{
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_acquire(&device->lost) != 0)) {
        return lost_error(device, error);
    }
    return wefti_cuda_check(device, device->driver.context_push(device->context),
                            "entering the context", error);
}

void wefti_cuda_leave(wefti_backend_device *device)
{
    cuda_context old;
    (void)device->driver.context_pop(&old);
}

void wefti_cuda_begin_change(wefti_backend_device *device)
{
    /* Relaxed, as where it is read: a hint, it orders nothing. */
    (void)wefti_atomic_u32_add_relaxed(&device->changing, 1);
}

void wefti_cuda_end_change(wefti_backend_device *device)
{
    (void)wefti_atomic_u32_sub_acq_rel(&device->changing, 1);
}

static WEFTI_NOINLINE void wait_for_change(const wefti_backend_device *device)
{
    const int64_t until_ns = wefti_clock_ns() + MAKE_WAY_NS;
    do {
        wefti_thread_yield();
    } while (wefti_atomic_u32_load_relaxed(&device->changing) > 0 &&
             wefti_clock_ns() < until_ns);
}

void wefti_cuda_make_way(const wefti_backend_device *device)
{
    if (WEFTI_UNLIKELY(wefti_atomic_u32_load_relaxed(&device->changing) > 0)) {
        wait_for_change(device);
    }
}

static weft_status allocate(wefti_backend_device *device, size_t size_bytes,
                            void **address, weft_error *error)
{
    cuda_pointer pointer = 0;
    *address = NULL;
    char what[64];
    (void)snprintf(what, sizeof(what), "%zu bytes", size_bytes);
    WEFTI_TRY(wefti_cuda_check(
        device, device->driver.allocate(&pointer, size_bytes, device->memory_stream),
        what, error));
    /* Any stream may use it from now on. */
    weft_status status = wefti_cuda_check(
        device, device->driver.stream_synchronize(device->memory_stream), what, error);
    if (status != WEFT_OK) {
        (void)device->driver.free(pointer, device->memory_stream);
        return status;
    }
    *address = (void *)(uintptr_t)pointer;
    return WEFT_OK;
}

weft_status wefti_cuda_allocate(wefti_backend_device *device, size_t size_bytes,
                                void **address, weft_error *error)
{
    wefti_cuda_begin_change(device);
    weft_status status = allocate(device, size_bytes, address, error);
    wefti_cuda_end_change(device);
    return status;
}

void wefti_cuda_free(wefti_backend_device *device, void *address)
{
    if (address != NULL) {
        (void)device->driver.free((cuda_pointer)(uintptr_t)address,
                                  device->memory_stream);
    }
}

weft_status wefti_cuda_upload(wefti_backend_device *device, void *target,
                              const void *source, size_t size_bytes, weft_error *error)
{
    const cuda_driver *driver = &device->driver;
    WEFTI_TRY(wefti_cuda_check(device,
                               driver->copy((cuda_pointer)(uintptr_t)target,
                                            (cuda_pointer)(uintptr_t)source, size_bytes,
                                            device->memory_stream),
                               "copying to the card", error));
    return wefti_cuda_check(device, driver->stream_synchronize(device->memory_stream),
                            "copying to the card", error);
}

/* Frees a half-open device too. */
static void device_close(wefti_backend_device *device)
{
    if (device == NULL) {
        return;
    }
    wefti_workers_destroy(device->workers);
    if (device->retained) {
        const cuda_driver *driver = &device->driver;
        bool inside = driver->context_push(device->context) == CUDA_SUCCESS;
        if (device->memory_stream != NULL) {
            if (inside) {
                (void)driver->stream_synchronize(device->memory_stream);
            }
            (void)driver->stream_destroy(device->memory_stream);
        }
        if (device->module != NULL) {
            (void)driver->module_unload(device->module);
        }
        if (inside) {
            wefti_cuda_leave(device);
        }
        (void)driver->context_release(device->card);
    }
    wefti_cuda_driver_close(&device->driver);
    if (device->lock_made) {
        wefti_mutex_fini(&device->lock);
    }
    wefti_free(device);
}

static weft_status count_cards(const cuda_driver *driver, int *count, weft_error *error)
{
    cuda_result result = driver->device_count(count);
    if (result != CUDA_SUCCESS || *count == 0) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "the NVIDIA driver finds no card; look at nvidia-smi");
    }
    return WEFT_OK;
}

static weft_status device_count(int32_t *count, weft_error *error)
{
    cuda_driver driver;
    int found = 0;
    WEFTI_TRY(wefti_cuda_driver_open(&driver, error));
    weft_status status = count_cards(&driver, &found, error);
    wefti_cuda_driver_close(&driver);
    *count = found;
    return status;
}

static weft_status find_card(wefti_backend_device *device, int32_t index,
                             weft_error *error)
{
    int count = 0;
    int wanted = index < 0 ? 0 : index;
    WEFTI_TRY(count_cards(&device->driver, &count, error));
    if (wanted >= count) {
        return wefti_error(error, WEFT_NOT_FOUND,
                           "there is no device 'cuda:%d'; this machine has cuda:0 to "
                           "cuda:%d",
                           wanted, count - 1);
    }
    device->index = wanted;
    (void)snprintf(device->name, sizeof(device->name), "cuda:%d", wanted);
    return wefti_cuda_check(device, device->driver.device_get(&device->card, wanted),
                            "finding the card", error);
}

static weft_status describe(wefti_backend_device *device, weft_error *error)
{
    const cuda_driver *driver = &device->driver;
    char name[96] = "";
    size_t memory = 0;
    int major = 0, minor = 0, version = 0, processors = 0;
    cuda_result result = driver->device_name(name, (int)sizeof(name), device->card);
    result = result ? result : driver->device_memory(&memory, device->card);
    result = result ? result : driver->driver_version(&version);
    result = result ? result
                    : driver->device_attribute(&major,
                                               CUDA_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                               device->card);
    result = result ? result
                    : driver->device_attribute(&minor,
                                               CUDA_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                               device->card);
    result = result ? result
                    : driver->device_attribute(&processors,
                                               CUDA_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                               device->card);
    WEFTI_TRY(wefti_cuda_check(device, result, "describing the card", error));
    device->processor_count = processors;
    name[sizeof(name) - 1] = '\0';
    (void)snprintf(device->description, sizeof(device->description),
                   "%s, %zu MiB, %d multiprocessors, driver for CUDA %d.%d", name,
                   memory >> 20, processors, version / 1000, version % 1000 / 10);
    (void)snprintf(device->isa, sizeof(device->isa), "sm_%d%d", major, minor);
    (void)snprintf(device->kind, sizeof(device->kind), "%s %s", name, device->isa);
    return WEFT_OK;
}

static weft_status load_kernels(wefti_backend_device *device, weft_error *error)
{
    const cuda_driver *driver = &device->driver;
    cuda_result result = driver->module_load(&device->module, wefti_cuda_image());
    if (result == CUDA_ERROR_NO_BINARY_FOR_GPU) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "%s is older than this build's kernels, which need sm_80 or "
                           "later",
                           device->description);
    }
    WEFTI_TRY(wefti_cuda_check(device, result, "loading the kernels", error));
    for (int32_t i = 0; i < WEFTI_CUDA_KERNEL_COUNT; i++) {
        const char *name = wefti_cuda_kernel_name((wefti_cuda_kernel)i);
        result = driver->module_function(&device->functions[i], device->module, name);
        WEFTI_TRY(wefti_cuda_check(device, result, name, error));
    }
    return WEFT_OK;
}

static weft_status start(wefti_backend_device *device, int32_t index,
                         const weft_device_params *params, weft_error *error)
{
    WEFTI_TRY(wefti_mutex_init(&device->lock, "card", WEFTI_RANK_POOL, error));
    device->lock_made = true;
    if (wefti_cuda_image() == NULL) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "this build has no CUDA kernels; build it with "
                           "-DWEFT_CUDA=ON where nvcc is installed");
    }
    WEFTI_TRY(wefti_cuda_driver_open(&device->driver, error));
    WEFTI_TRY(find_card(device, index, error));
    WEFTI_TRY(describe(device, error));
    WEFTI_TRY(wefti_cuda_check(
        device, device->driver.context_retain(&device->context, device->card),
        "making a context", error));
    device->retained = true;
    WEFTI_TRY(wefti_cuda_enter(device, error));
    weft_status status = load_kernels(device, error);
    if (status == WEFT_OK) {
        status = wefti_cuda_check(device,
                                  device->driver.stream_create(
                                      &device->memory_stream, CUDA_STREAM_NON_BLOCKING),
                                  "making a stream", error);
    }
    wefti_cuda_leave(device);
    WEFTI_TRY(status);
    return wefti_workers_create(wefti_workers_wanted(params), &device->workers, error);
}

static weft_status device_open(int32_t index, const weft_device_params *params,
                               const wefti_log *log, wefti_backend_device **device,
                               weft_error *error)
{
    *device = NULL;
    WEFTI_TRY(wefti_device_fault("device.open", error));
    wefti_backend_device *made = wefti_malloc_aligned(sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the cuda device");
    }
    memset(made, 0, sizeof(*made));
    made->core_count = wefti_core_count();
    made->launches_before_graph = LAUNCHES_BEFORE_GRAPH;
    (void)snprintf(made->name, sizeof(made->name), "cuda");
    weft_status status = start(made, index, params, error);
    if (status != WEFT_OK) {
        device_close(made);
        return status;
    }
    wefti_log_write(log, WEFT_LOG_INFO, "cuda: %s, %s kernels, %d workers",
                    made->description, made->isa,
                    (int)wefti_workers_count(made->workers));
    *device = made;
    return WEFT_OK;
}

static void device_get_info(const wefti_backend_device *device, weft_device_info *info)
{
    info->description = device->description;
    info->kind = device->kind;
    info->isa = device->isa;
    info->core_count = device->core_count;
    info->worker_count = wefti_workers_count(device->workers);
    /* A thread that loses its core inside the driver holds up all others: so no more
     * run at once than there are cores, the rest waits its turn for a context. More
     * than a card has use for only get in each other's way. */
    info->max_contexts = device->core_count < LEAST_CONTEXTS  ? LEAST_CONTEXTS
                         : device->core_count > MOST_CONTEXTS ? MOST_CONTEXTS
                                                              : device->core_count;
}

static void device_add_statistics(const wefti_backend_device *device,
                                  weft_device_statistics *statistics)
{
    (void)device;
    (void)statistics; /* no counters of its own */
}

static weft_status device_post(wefti_backend_device *device, wefti_task *task,
                               weft_error *error)
{
    WEFTI_TRY(wefti_device_fault("device.post", error));
    return wefti_workers_post(device->workers, task, error);
}

static weft_status device_health(const wefti_backend_device *device, weft_error *error)
{
    if (WEFTI_LIKELY(wefti_atomic_u32_load_acquire(&device->lost) == 0)) {
        return WEFT_OK;
    }
    return lost_error(device, error);
}

static weft_status memory_allocate(wefti_backend_device *device, size_t size_bytes,
                                   void **address, weft_error *error)
{
    *address = NULL;
    WEFTI_TRY(wefti_device_fault("memory.allocate", error));
    WEFTI_TRY(wefti_cuda_enter(device, error));
    weft_status status =
        wefti_cuda_allocate(device, size_bytes == 0 ? 1 : size_bytes, address, error);
    wefti_cuda_leave(device);
    return status;
}

static void memory_free(wefti_backend_device *device, void *address, size_t size_bytes)
{
    (void)size_bytes;
    if (address != NULL && wefti_cuda_enter(device, NULL) == WEFT_OK) {
        wefti_cuda_memory_forget(device);
        wefti_cuda_free(device, address);
        wefti_cuda_leave(device);
    }
}

const wefti_backend wefti_backend_cuda = {
    .name = "cuda",
    .brisk = true,
    .precisions = 1u << WEFT_PRECISION_TF32 | 1u << WEFT_PRECISION_BF16 |
                  1u << WEFT_PRECISION_F16,
    .device =
        {
            .open = device_open,
            .count = device_count,
            .close = device_close,
            .get_info = device_get_info,
            .add_statistics = device_add_statistics,
            .post = device_post,
            .health = device_health,
        },
    .memory = {.allocate = memory_allocate,
               .free = memory_free,
               .check = wefti_cuda_memory_check},
    .stream =
        {
            .create = wefti_cuda_stream_create,
            .destroy = wefti_cuda_stream_destroy,
            .execute = wefti_host_stream_execute,
            .copy = wefti_host_stream_copy,
            .fill = wefti_host_stream_fill,
            .call = wefti_host_stream_call,
            .record = wefti_host_stream_record,
            .wait = wefti_host_stream_wait,
            .synchronize = wefti_host_stream_synchronize,
            .settle = wefti_host_stream_settle,
            .abandon = wefti_host_stream_abandon,
        },
    .event =
        {
            .create = wefti_host_event_create,
            .retain = wefti_host_event_retain,
            .release = wefti_host_event_release,
            .query = wefti_host_event_query,
            .signal = wefti_host_event_signal,
            .wait = wefti_host_event_wait,
            .time_ns = wefti_host_event_time_ns,
        },
    .recipe =
        {
            .create = wefti_cuda_recipe_create,
            .destroy = wefti_cuda_recipe_destroy,
            .workspace_bytes = wefti_cuda_recipe_workspace_bytes,
            .describe = wefti_cuda_recipe_describe,
        },
};
