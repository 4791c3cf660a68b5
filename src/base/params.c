/* SPDX-License-Identifier: Apache-2.0 */
#include "base/params.h"

#include <string.h>

weft_status wefti_params_copy(wefti_params_kind kind, const void *given, void *params,
                              weft_error *error)
{
    size_t size_bytes = 0;
    memcpy(&size_bytes, given, sizeof(size_bytes)); /* the first member of them all */
    if (size_bytes < kind.first_bytes) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s.struct_size is %zu, less than %zu; set the struct up "
                           "with its initialiser macro",
                           kind.name, size_bytes, kind.first_bytes);
    }
    if (size_bytes > kind.present_bytes) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s.struct_size is %zu, more than the %zu of this library; "
                           "its header is newer, or it was not set up with its "
                           "initialiser macro",
                           kind.name, size_bytes, kind.present_bytes);
    }
    memcpy(params, given, size_bytes);
    memcpy(params, &kind.present_bytes, sizeof(kind.present_bytes));
    return WEFT_OK;
}
