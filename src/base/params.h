/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_PARAMS_H
#define WEFTI_BASE_PARAMS_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/error.h"

/* A kind of weft_*_params and its sizes: that of the first header that was published
 * and that of this one. */
typedef struct wefti_params_kind {
    const char *name;
    size_t first_bytes, present_bytes;
} wefti_params_kind;

/* One that never grew. */
#define WEFTI_PARAMS(type) ((wefti_params_kind){#type, sizeof(type), sizeof(type)})
/* One that had no member from `member` on at first. */
#define WEFTI_PARAMS_SINCE(type, member)                                               \
    ((wefti_params_kind){#type, offsetof(type, member), sizeof(type)})

/* Copies a caller's struct over the defaults in `params`, which is of the present size.
 * What an older struct lacks keeps its default.
 * Errors: WEFT_INVALID_ARGUMENT for a size that no header had. */
weft_status wefti_params_copy(wefti_params_kind kind, const void *given, void *params,
                              weft_error *error);

/* The same where `given` may be NULL, for the defaults. */
WEFTI_INLINE weft_status wefti_params_take(wefti_params_kind kind, const void *given,
                                           void *params, weft_error *error)
{
    return given ? wefti_params_copy(kind, given, params, error) : WEFT_OK;
}

#endif
