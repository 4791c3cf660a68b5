/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/net.h"

int64_t wefti_known_count(const wefti_known *known)
{
    int64_t count = 1;
    for (int32_t i = 0; i < known->rank; i++) {
        count *= known->dims[i];
    }
    return count;
}

size_t wefti_known_bytes(const wefti_known *known)
{
    return (size_t)wefti_known_count(known) * weft_type_size(known->type);
}
