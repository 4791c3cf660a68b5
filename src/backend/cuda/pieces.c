/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/pieces.h"

#include <string.h>

#include "base/thread.h"

/* A piece is on its way for some 40 microseconds; who has looked for much longer
 * sleeps.
 */
enum { LOOKS_BEFORE_YIELD = 8, MOST_LOOKS = 400 };

static weft_status make(wefti_cuda_pieces *pieces, weft_error *error)
{
    const cuda_driver *driver = &pieces->device->driver;
    void *address = NULL;
    cuda_result result = CUDA_SUCCESS;
    for (size_t i = 0; i < WEFTI_CUDA_PIECE_PLACES && result == CUDA_SUCCESS; i++) {
        if (pieces->done[i] == NULL) {
            result = driver->event_create(
                &pieces->done[i], CUDA_EVENT_BLOCKING_SYNC | CUDA_EVENT_DISABLE_TIMING);
        }
    }
    result = result ? result
                    : driver->host_allocate(&address,
                                            (size_t)WEFTI_CUDA_PIECE_PLACES *
                                                WEFTI_CUDA_PIECE_BYTES,
                                            CUDA_HOST_PORTABLE | CUDA_HOST_DEVICE_MAP);
    pieces->memory = address;
    return wefti_cuda_check(pieces->device, result, "pinned memory for pieces", error);
}

/* Waits until the card has done with a place. */
static cuda_result await_place(wefti_cuda_pieces *pieces, size_t place)
{
    const cuda_driver *driver = &pieces->device->driver;
    cuda_result result = CUDA_SUCCESS;
    if (!pieces->busy[place]) {
        return CUDA_SUCCESS;
    }
    for (uint32_t looks = 1; looks <= MOST_LOOKS; looks++) {
        result = driver->event_query(pieces->done[place]);
        if (result != CUDA_ERROR_NOT_READY) {
            break;
        }
        if (looks % LOOKS_BEFORE_YIELD == 0) {
            wefti_thread_yield();
        }
        wefti_pause();
    }
    if (result == CUDA_ERROR_NOT_READY) {
        result = driver->event_synchronize(pieces->done[place]);
    }
    pieces->busy[place] = result != CUDA_SUCCESS;
    return result;
}

/* Puts a copy on the stream, of which one side is a place. */
static cuda_result start_copy(wefti_cuda_pieces *pieces, cuda_pointer target,
                              cuda_pointer source, size_t size_bytes)
{
    const cuda_driver *driver = &pieces->device->driver;
    const size_t place = pieces->next;
    pieces->next = (place + 1) % WEFTI_CUDA_PIECE_PLACES;
    pieces->busy[place] = true;
    cuda_result result = driver->copy(target, source, size_bytes, pieces->stream);
    return result ? result : driver->event_record(pieces->done[place], pieces->stream);
}

static char *address_of(const wefti_cuda_pieces *pieces, size_t place)
{
    return pieces->memory + place * WEFTI_CUDA_PIECE_BYTES;
}

static size_t piece_at(size_t at, size_t size_bytes)
{
    const size_t left = size_bytes - at;
    return left < WEFTI_CUDA_PIECE_BYTES ? left : (size_t)WEFTI_CUDA_PIECE_BYTES;
}

weft_status wefti_cuda_pieces_send(wefti_cuda_pieces *pieces, cuda_pointer target,
                                   const char *source, size_t size_bytes,
                                   weft_error *error)
{
    if (pieces->memory == NULL) {
        WEFTI_TRY(make(pieces, error));
    }
    cuda_result result = CUDA_SUCCESS;
    for (size_t at = 0; at < size_bytes && result == CUDA_SUCCESS;) {
        const size_t bytes = piece_at(at, size_bytes);
        char *pinned = address_of(pieces, pieces->next);
        result = await_place(pieces, pieces->next);
        if (result == CUDA_SUCCESS) {
            memcpy(pinned, source + at, bytes);
            result =
                start_copy(pieces, target + at, (cuda_pointer)(uintptr_t)pinned, bytes);
        }
        at += bytes;
    }
    return wefti_cuda_check(pieces->device, result, "copying an input", error);
}

weft_status wefti_cuda_pieces_fetch(wefti_cuda_pieces *pieces, char *target,
                                    cuda_pointer source, size_t size_bytes,
                                    weft_error *error)
{
    if (pieces->memory == NULL) {
        WEFTI_TRY(make(pieces, error));
    }
    cuda_result result = CUDA_SUCCESS;
    size_t begun = 0, first = pieces->next;
    for (size_t at = 0; at < size_bytes && result == CUDA_SUCCESS;) {
        /* As many as there are places are under way. */
        while (begun < size_bytes &&
               begun < at + (size_t)WEFTI_CUDA_PIECE_PLACES * WEFTI_CUDA_PIECE_BYTES &&
               result == CUDA_SUCCESS) {
            const size_t bytes = piece_at(begun, size_bytes), place = pieces->next;
            result = await_place(pieces, place);
            result =
                result ? result
                       : start_copy(pieces,
                                    (cuda_pointer)(uintptr_t)address_of(pieces, place),
                                    source + begun, bytes);
            begun += bytes;
        }
        const size_t bytes = piece_at(at, size_bytes);
        result = result ? result : await_place(pieces, first);
        if (result == CUDA_SUCCESS) {
            memcpy(target + at, address_of(pieces, first), bytes);
        }
        first = (first + 1) % WEFTI_CUDA_PIECE_PLACES;
        at += bytes;
    }
    return wefti_cuda_check(pieces->device, result, "copying an output", error);
}

void wefti_cuda_pieces_fini(wefti_cuda_pieces *pieces)
{
    const cuda_driver *driver = &pieces->device->driver;
    for (size_t i = 0; i < WEFTI_CUDA_PIECE_PLACES; i++) {
        if (pieces->done[i] != NULL) {
            (void)driver->event_destroy(pieces->done[i]);
        }
    }
    if (pieces->memory != NULL) {
        (void)driver->host_free(pieces->memory);
    }
    *pieces = (wefti_cuda_pieces){.device = pieces->device, .stream = pieces->stream};
}
