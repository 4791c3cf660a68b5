/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_BYTES_H
#define WEFTI_BACKEND_CUDA_BYTES_H

#include "backend/cuda/device.h"

/* Copies and fills for callers, as work of a CUDA stream of the device, and waits.
 * Addresses are of one space: either side may be the host's, on this card or on another
 * one, for which that card's context is current for the time of the copy. */
weft_status wefti_cuda_copy(wefti_backend_device *device, cuda_stream stream,
                            void *target, const void *source, size_t size_bytes,
                            weft_error *error);
weft_status wefti_cuda_fill(wefti_backend_device *device, cuda_stream stream,
                            void *target, uint8_t value, size_t size_bytes,
                            weft_error *error);

/* Whether the bytes, at least one, are memory of the card: their first and their last
 * are looked up when they are new, and where the memory between ends if the driver
 * says. WEFT_INVALID_ARGUMENT says what they are instead. Threads: any. */
weft_status wefti_cuda_memory_check(wefti_backend_device *device, const void *address,
                                    size_t size_bytes, weft_error *error);
/* Memory was given back: all is new again. Threads: any. */
void wefti_cuda_memory_forget(wefti_backend_device *device);

#endif
