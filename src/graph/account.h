/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_ACCOUNT_H
#define WEFTI_GRAPH_ACCOUNT_H

#include "base/atomic.h"
#include "base/error.h"

/* What a model, with all its parts, holds of its device's memory, under a cap of its
 * own: see weft_model_params.memory_cap_bytes.
 * Class: synchronised, lock-free. NULL: there is no cap, nothing is counted. */
typedef struct wefti_account {
    size_t cap_bytes; /* immutable after create */
    /* atomic: who takes and gives -> who takes and gives; never above the cap */
    wefti_atomic_u64 held_bytes;
} wefti_account;

void wefti_account_init(wefti_account *account, size_t cap_bytes);

/* Counts so many bytes more, or none and WEFT_OUT_OF_MEMORY where they would go over
 * the cap; `what` they are for. */
weft_status wefti_account_take(wefti_account *account, size_t size_bytes,
                               const char *what, weft_error *error);
/* Counts bytes less that were taken. */
void wefti_account_give(wefti_account *account, size_t size_bytes);

#endif
