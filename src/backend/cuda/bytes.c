/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/bytes.h"

#include <stdio.h>
#include <string.h>

/* Where memory is: on a card, or HOST. */
enum { HOST = -1 };
typedef struct side {
    cuda_pointer address;
    int32_t card;
    cuda_context context; /* that card's; NULL: not retained */
} side;

static cuda_result find(const wefti_backend_device *device, const void *address,
                        side *found)
{
    const cuda_driver *driver = &device->driver;
    int type = 0, card = HOST;
    *found = (side){.address = (cuda_pointer)(uintptr_t)address, .card = HOST};
    cuda_result result = driver->pointer_attribute(
        &type, CUDA_POINTER_ATTRIBUTE_MEMORY_TYPE, found->address);
    if (result == CUDA_ERROR_INVALID_VALUE) {
        return CUDA_SUCCESS; /* not known to the driver: the caller's own memory */
    }
    if (result == CUDA_SUCCESS && type == CUDA_MEMORY_TYPE_DEVICE) {
        result = driver->pointer_attribute(&card, CUDA_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                                           found->address);
        found->card = card;
    }
    return result;
}

static bool is_far(const wefti_backend_device *device, const side *at)
{
    return at->card != HOST && at->card != device->index;
}

static cuda_result retain(const wefti_backend_device *device, side *at)
{
    return at->card == HOST ? CUDA_SUCCESS
                            : device->driver.context_retain(&at->context, at->card);
}

static void release(const wefti_backend_device *device, const side *at)
{
    if (at->context != NULL) {
        (void)device->driver.context_release(at->card);
    }
}

/* In the context of a card that is no device of ours perhaps: on its own stream. */
static cuda_result copy_in(const wefti_backend_device *device, const side *target,
                           const side *source, size_t size_bytes)
{
    const cuda_driver *driver = &device->driver;
    cuda_context old;
    cuda_result result = driver->context_push(
        target->context != NULL ? target->context : source->context);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    const bool between =
        target->card != HOST && source->card != HOST && target->card != source->card;
    result = between ? driver->copy_between(target->address, target->context,
                                            source->address, source->context,
                                            size_bytes, NULL)
                     : driver->copy(target->address, source->address, size_bytes, NULL);
    result = result ? result : driver->stream_synchronize(NULL);
    (void)driver->context_pop(&old);
    return result;
}

static cuda_result copy_far(const wefti_backend_device *device, side *target,
                            side *source, size_t size_bytes)
{
    cuda_result result = retain(device, target);
    result = result ? result : retain(device, source);
    result = result ? result : copy_in(device, target, source, size_bytes);
    release(device, source);
    release(device, target);
    return result;
}

weft_status wefti_cuda_copy(wefti_backend_device *device, cuda_stream stream,
                            void *target, const void *source, size_t size_bytes,
                            weft_error *error)
{
    const cuda_driver *driver = &device->driver;
    side to, from;
    WEFTI_TRY(wefti_cuda_enter(device, error));
    cuda_result result = find(device, target, &to);
    result = result ? result : find(device, source, &from);
    if (result != CUDA_SUCCESS) {
        /* told below */
    } else if (is_far(device, &to) || is_far(device, &from)) {
        result = copy_far(device, &to, &from, size_bytes);
    } else {
        result = driver->copy(to.address, from.address, size_bytes, stream);
        result = result ? result : driver->stream_synchronize(stream);
    }
    weft_status status = wefti_cuda_check(device, result, "a copy", error);
    wefti_cuda_leave(device);
    return status;
}

static cuda_result fill_far(const wefti_backend_device *device, side *target,
                            uint8_t value, size_t size_bytes)
{
    const cuda_driver *driver = &device->driver;
    cuda_context old;
    cuda_result result = retain(device, target);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    result = driver->context_push(target->context);
    if (result == CUDA_SUCCESS) {
        result = driver->fill(target->address, value, size_bytes, NULL);
        result = result ? result : driver->stream_synchronize(NULL);
        (void)driver->context_pop(&old);
    }
    release(device, target);
    return result;
}

weft_status wefti_cuda_fill(wefti_backend_device *device, cuda_stream stream,
                            void *target, uint8_t value, size_t size_bytes,
                            weft_error *error)
{
    const cuda_driver *driver = &device->driver;
    side to;
    WEFTI_TRY(wefti_cuda_enter(device, error));
    cuda_result result = find(device, target, &to);
    if (result != CUDA_SUCCESS) {
        /* told below */
    } else if (is_far(device, &to)) {
        result = fill_far(device, &to, value, size_bytes);
    } else if (to.card != HOST) {
        result = driver->fill(to.address, value, size_bytes, stream);
        result = result ? result : driver->stream_synchronize(stream);
    } else {
        memset(target, value, size_bytes);
    }
    weft_status status = wefti_cuda_check(device, result, "a fill", error);
    wefti_cuda_leave(device);
    return status;
}

static weft_status elsewhere(const wefti_backend_device *device, const side *at,
                             bool is_end, weft_error *error)
{
    char place[32] = "host memory";
    if (at->card != HOST) {
        (void)snprintf(place, sizeof(place), "memory of cuda:%d", (int)at->card);
    }
    return wefti_error(error, WEFT_INVALID_ARGUMENT,
                       is_end ? "the data begins on %s and ends in %s; its memory is "
                                "too small"
                              : "the data should lie on %s and is %s",
                       device->name, place);
}

/* What stands for the bytes; two that have the same are as likely as two equal numbers
 * drawn from 2^64. */
static uint64_t key_of(const void *address, size_t size_bytes)
{
    uint64_t key = (uint64_t)(uintptr_t)address * UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ key >> 32 ^ size_bytes) * UINT64_C(0xd6e8feb86659fd93);
    return (key ^ key >> 32) | 1;
}

/* Whether the memory that the bytes begin in ends before they do, where the driver says
 * so; `left` are those that it has. Memory without a context, of a pool or of mapped
 * addresses, is not asked about: what is mapped side by side may be one tensor's, and
 * the driver promises no range of it. */
static bool is_cut_off(const wefti_backend_device *device, const void *address,
                       size_t size_bytes, size_t *left)
{
    const cuda_driver *driver = &device->driver;
    const cuda_pointer begin = (cuda_pointer)(uintptr_t)address;
    cuda_context owner = NULL;
    cuda_pointer start = 0;
    size_t range = 0;
    if (driver->pointer_attribute(&owner, CUDA_POINTER_ATTRIBUTE_CONTEXT, begin) !=
            CUDA_SUCCESS ||
        owner == NULL ||
        driver->pointer_attribute(&start, CUDA_POINTER_ATTRIBUTE_RANGE_START, begin) !=
            CUDA_SUCCESS ||
        driver->pointer_attribute(&range, CUDA_POINTER_ATTRIBUTE_RANGE_SIZE, begin) !=
            CUDA_SUCCESS) {
        return false;
    }
    *left = (size_t)(start + range - begin);
    return *left < size_bytes;
}

static weft_status look_up(wefti_backend_device *device, const void *address,
                           size_t size_bytes, weft_error *error)
{
    const char *const ends[] = {address, (const char *)address + size_bytes - 1};
    WEFTI_TRY(wefti_cuda_enter(device, error));
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFTI_COUNT_OF(ends) && status == WEFT_OK; i++) {
        side at;
        status = wefti_cuda_check(device, find(device, ends[i], &at),
                                  "looking up an address", error);
        if (status == WEFT_OK && at.card != device->index) {
            status = elsewhere(device, &at, i > 0, error);
        }
    }
    size_t left = 0;
    if (status == WEFT_OK && is_cut_off(device, address, size_bytes, &left)) {
        status = wefti_error(error, WEFT_INVALID_ARGUMENT,
                             "the data has %zu bytes, and its memory on %s ends after "
                             "%zu of them",
                             size_bytes, device->name, left);
    }
    wefti_cuda_leave(device);
    return status;
}

/* The driver takes a lock for each question: asked for both tensors of each run, eight
 * threads got 392 k/s of nn.Linear with tensors on the card and 462 k/s without. */
weft_status wefti_cuda_memory_check(wefti_backend_device *device, const void *address,
                                    size_t size_bytes, weft_error *error)
{
    const uint64_t key = key_of(address, size_bytes);
    wefti_atomic_u64 *seen = &device->seen[(key >> 1) % WEFTI_CUDA_MEMORY_SEEN];
    /* Relaxed: the value says all. */
    if (WEFTI_LIKELY(wefti_atomic_u64_load_relaxed(seen) == key)) {
        return WEFT_OK;
    }
    WEFTI_TRY(look_up(device, address, size_bytes, error));
    wefti_atomic_u64_store_relaxed(seen, key);
    return WEFT_OK;
}

void wefti_cuda_memory_forget(wefti_backend_device *device)
{
    for (size_t i = 0; i < WEFTI_CUDA_MEMORY_SEEN; i++) {
        wefti_atomic_u64_store_relaxed(&device->seen[i], 0);
    }
}
