/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/backend.h"
#include "backend/common/fault.h"
#include "backend/common/host_event.h"
#include "backend/common/host_memory.h"
#include "backend/common/host_stream.h"
#include "backend/common/workers.h"
#include "base/memory.h"
#include "base/thread.h"

/* The null device: takes every step and runs none, with real memory, streams, events
 * and workers. It measures what Weft itself costs, and it is the template for a new
 * backend (docs/backend-guide.md). */

struct wefti_backend_device {
    /* immutable after create */
    wefti_workers *workers;
};

struct wefti_recipe {
    /* immutable after create */
    size_t workspace_bytes;
};

static void device_close(wefti_backend_device *device)
{
    if (device != NULL) {
        wefti_workers_destroy(device->workers);
        wefti_free(device);
    }
}

static weft_status device_count(int32_t *count, weft_error *error)
{
    (void)error;
    *count = WEFTI_MOST_CARDS;
    return WEFT_OK;
}

static weft_status device_open(int32_t index, const weft_device_params *params,
                               const wefti_log *log, wefti_backend_device **device,
                               weft_error *error)
{
    (void)log;
    *device = NULL;
    if (index >= WEFTI_MOST_CARDS) { /* so many, so that several can be one device */
        return wefti_error(error, WEFT_NOT_FOUND,
                           "there is no device 'null:%d'; there are null:0 to null:%d",
                           (int)index, WEFTI_MOST_CARDS - 1);
    }
    WEFTI_TRY(wefti_device_fault("device.open", error));
    wefti_backend_device *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the null device");
    }
    weft_status status =
        wefti_workers_create(wefti_workers_wanted(params), &made->workers, error);
    if (status != WEFT_OK) {
        device_close(made);
        return status;
    }
    *device = made;
    return WEFT_OK;
}

static void device_get_info(const wefti_backend_device *device, weft_device_info *info)
{
    info->description = "takes all work and does none of it";
    info->kind = "null";
    info->isa = "none";
    info->core_count = wefti_core_count();
    info->worker_count = wefti_workers_count(device->workers);
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
    (void)device;
    (void)error;
    return WEFT_OK;
}

static weft_status memory_allocate(wefti_backend_device *device, size_t size_bytes,
                                   void **address, weft_error *error)
{
    (void)device;
    return wefti_host_memory_allocate(size_bytes, address, error);
}

static void memory_free(wefti_backend_device *device, void *address, size_t size_bytes)
{
    (void)device;
    (void)size_bytes;
    wefti_free(address);
}

/* All of the work that this device does. */
static weft_status run_nothing(void *device, wefti_recipe *recipe, void *const *slots,
                               size_t slot_count, weft_error *error)
{
    (void)device;
    (void)recipe;
    (void)slots;
    (void)slot_count;
    (void)error;
    return WEFT_OK;
}

static weft_status stream_create(wefti_backend_device *device,
                                 wefti_backend_stream **stream, weft_error *error)
{
    static const wefti_host_stream_hooks hooks = {.run = run_nothing};
    return wefti_host_stream_create(device, &hooks, device->workers, stream, error);
}

static weft_status recipe_create(wefti_backend_device *device,
                                 const wefti_recipe_params *params,
                                 wefti_recipe **recipe, weft_error *error)
{
    (void)device;
    *recipe = NULL;
    WEFTI_TRY(wefti_device_fault("recipe.create", error));
    wefti_recipe *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a recipe");
    }
    made->workspace_bytes = params->workspace_bytes;
    *recipe = made;
    return WEFT_OK;
}

static void recipe_destroy(wefti_recipe *recipe)
{
    wefti_free(recipe);
}

static size_t recipe_workspace_bytes(const wefti_recipe *recipe)
{
    return recipe->workspace_bytes;
}

static void recipe_describe(const wefti_recipe *recipe, size_t step, char *text,
                            size_t text_bytes)
{
    static const char nothing[] = "nothing is run";
    (void)recipe;
    (void)step;
    if (text_bytes > 0) {
        size_t length = sizeof(nothing) - 1;
        length = length < text_bytes - 1 ? length : text_bytes - 1;
        memcpy(text, nothing, length);
        text[length] = '\0';
    }
}

const wefti_backend wefti_backend_null = {
    .name = "null",
    .on_host = true,
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
    .memory = {.allocate = memory_allocate, .free = memory_free},
    .stream =
        {
            .create = stream_create,
            .destroy = wefti_host_stream_destroy,
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
            .create = recipe_create,
            .destroy = recipe_destroy,
            .workspace_bytes = recipe_workspace_bytes,
            .describe = recipe_describe,
        },
};
