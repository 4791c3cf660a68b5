/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_COMMON_FAULT_H
#define WEFTI_BACKEND_COMMON_FAULT_H

#include "base/error.h"
#include "base/testing.h"

/* The place where a test can make a slot of a backend fail. `call` is the slot's name,
 * such as "stream.execute". Costs nothing in a release build. */
WEFTI_INLINE weft_status wefti_device_fault(const char *call, weft_error *error)
{
    if (WEFTI_UNLIKELY(wefti_fault_here(WEFTI_FAULT_DEVICE))) {
        return wefti_error(error, WEFT_INTERNAL, "%s was made to fail by a test", call);
    }
    (void)call;
    (void)error;
    return WEFT_OK;
}

#endif
