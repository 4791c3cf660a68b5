/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_WEIGHTS_H
#define WEFTI_BACKEND_COMMON_WEIGHTS_H

#include "backend/backend.h"

/* The packed weights of one model: each constant is packed once for each layout, by
 * whoever asks first, while others that ask for the same wait; all plans share it.
 * Class: synchronised. */

/* Identifies a packed form: the constant's address and what the layout depends on. */
typedef struct wefti_weight_key {
    const void *constant;
    uint64_t layout[6]; /* kernel, dims, strides: chosen by the backend */
} wefti_weight_key;

/* Writes the packed form of `key.constant` into `packed`. */
typedef void (*wefti_weight_pack)(void *packed, const void *constant,
                                  const void *params);

/* Where packed forms are kept, so that they count against the device's cap. Both may be
 * called from any thread, as long as the weights live. */
typedef struct wefti_weight_memory {
    weft_status (*reserve)(void *user, int32_t card, size_t size_bytes, void **address,
                           weft_error *error);
    void (*unreserve)(void *user, int32_t card, void *address, size_t size_bytes);
    void *user;
    int32_t card; /* of the device's: these weights are used there only */
} wefti_weight_memory;

/* `memory` is copied; NULL: plain host memory. */
weft_status wefti_weights_create(const wefti_weight_memory *memory,
                                 wefti_weights **weights, weft_error *error);
void wefti_weights_destroy(wefti_weights *weights);

/* What is wanted and how to make it. */
typedef struct wefti_weight_request {
    wefti_weight_key key;
    size_t size_bytes;
    wefti_weight_pack pack;
    const void *params;
} wefti_weight_request;

/* Returns the packed form, making it at the first call; it lives as long as
 * `weights`. Threads: any. Blocks: while another thread packs the same key. */
weft_status wefti_weights_get(wefti_weights *weights,
                              const wefti_weight_request *request, const void **packed,
                              weft_error *error);

/* Bytes of packed weights held. Threads: any. */
size_t wefti_weights_bytes(const wefti_weights *weights);

#endif
