/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/common/fault.h"
#include "backend/common/host_event.h"
#include "backend/common/host_memory.h"
#include "backend/common/host_stream.h"
#include "backend/common/workers.h"
#include "backend/cpu/processor.h"
#include "backend/cpu/recipe.h"
#include "base/memory.h"

struct wefti_backend_device {
    /* immutable after create */
    const wefti_cpu_isa *isa;
    wefti_workers *workers;
    wefti_team *team; /* NULL: no helpers */
    int32_t core_count;
    char description[96];
};

weft_status wefti_cpu_isa_find(const wefti_cpu_isa *const *isas, const char *name,
                               const wefti_cpu_isa **isa, weft_error *error)
{
    bool any = name == NULL || name[0] == '\0';
    char names[96] = "";
    size_t length = 0;
    *isa = NULL;
    for (; *isas != NULL; isas++) {
        bool wanted = any || strcmp(name, (*isas)->name) == 0;
        if (wanted && (*isas)->supported()) {
            *isa = *isas;
            return WEFT_OK;
        }
        if (wanted && !any) {
            return wefti_error(error, WEFT_UNAVAILABLE,
                               "this machine's processor lacks the instruction set "
                               "'%s'; leave the choice to Weft",
                               name);
        }
        if (length < sizeof(names)) {
            int wrote = snprintf(names + length, sizeof(names) - length, "%s%s",
                                 length == 0 ? "" : ", ", (*isas)->name);
            length += wrote > 0 ? (size_t)wrote : 0;
        }
    }
    if (any) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "this machine's processor has none of: %s", names);
    }
    return wefti_error(error, WEFT_INVALID_ARGUMENT,
                       "there is no instruction set '%.32s' in this build; it has: %s",
                       name, names);
}

static void device_close(wefti_backend_device *device)
{
    if (device != NULL) {
        wefti_workers_destroy(device->workers);
        wefti_team_destroy(device->team);
        wefti_free(device);
    }
}

weft_status wefti_cpu_device_create(const wefti_cpu_isa *isa, int32_t core_count,
                                    int32_t worker_count, wefti_backend_device **device,
                                    weft_error *error)
{
    *device = NULL;
    WEFTI_TRY(wefti_device_fault("device.open", error));
    wefti_backend_device *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the cpu device");
    }
    made->isa = isa;
    made->core_count = core_count;
    wefti_processor_describe("/proc/cpuinfo", made->description,
                             sizeof(made->description));
    int32_t helper_count = worker_count < core_count ? worker_count : core_count - 1;
    weft_status status = wefti_workers_create(worker_count, &made->workers, error);
    if (status == WEFT_OK && helper_count > 0) {
        status = wefti_team_create(helper_count, core_count, &made->team, error);
    }
    if (status != WEFT_OK) {
        device_close(made);
        return status;
    }
    *device = made;
    return WEFT_OK;
}

static weft_status device_open(int32_t index, const weft_device_params *params,
                               const wefti_log *log, wefti_backend_device **device,
                               weft_error *error)
{
    const wefti_cpu_isa *isa;
    *device = NULL;
    if (index > 0) {
        return wefti_error(error, WEFT_NOT_FOUND,
                           "there is no device 'cpu:%d'; all cores are one device, "
                           "'cpu'",
                           (int)index);
    }
    const char *name = params->isa != NULL ? params->isa : getenv("WEFT_ISA");
    WEFTI_TRY(wefti_cpu_isa_find(wefti_cpu_isas, name, &isa, error));
    WEFTI_TRY(wefti_cpu_device_create(isa, wefti_core_count(),
                                      wefti_workers_wanted(params), device, error));
    const wefti_backend_device *made = *device;
    wefti_log_write(log, WEFT_LOG_INFO, "cpu: %s, %d cores, %s kernels, %d workers",
                    made->description, (int)made->core_count, isa->name,
                    (int)wefti_workers_count(made->workers));
    return WEFT_OK;
}

static void device_get_info(const wefti_backend_device *device, weft_device_info *info)
{
    info->description = device->description;
    info->kind = "cpu";
    info->isa = device->isa->name;
    info->core_count = device->core_count;
    info->worker_count = wefti_workers_count(device->workers);
}

static void device_add_statistics(const wefti_backend_device *device,
                                  weft_device_statistics *statistics)
{
    if (device->team != NULL) {
        statistics->helped_tile_count += wefti_team_helped_tiles(device->team);
    }
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
    return WEFT_OK; /* a processor that fails takes us with it */
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

static weft_status run_recipe(void *user, wefti_recipe *recipe, void *const *slots,
                              size_t slot_count, weft_error *error)
{
    wefti_backend_device *device = user;
    return wefti_cpu_recipe_run(recipe, device->team, slots, slot_count, error);
}

static weft_status stream_create(wefti_backend_device *device,
                                 wefti_backend_stream **stream, weft_error *error)
{
    static const wefti_host_stream_hooks hooks = {.run = run_recipe};
    return wefti_host_stream_create(device, &hooks, device->workers, stream, error);
}

static weft_status recipe_create(wefti_backend_device *device,
                                 const wefti_recipe_params *params,
                                 wefti_recipe **recipe, weft_error *error)
{
    int32_t helper_count =
        device->team == NULL ? 0 : wefti_team_helper_count(device->team);
    return wefti_cpu_recipe_create(device->isa, helper_count, params, recipe, error);
}

const wefti_backend wefti_backend_cpu = {
    .name = "cpu",
    .on_host = true,
    .byte_products = true,
    .device =
        {
            .open = device_open,
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
            .destroy = wefti_cpu_recipe_destroy,
            .workspace_bytes = wefti_cpu_recipe_workspace_bytes,
            .row_bytes = wefti_cpu_recipe_row_bytes,
            .work_ns = wefti_cpu_recipe_work_ns,
            .describe = wefti_cpu_recipe_describe,
        },
};
