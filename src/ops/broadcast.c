/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"

#include <string.h>

static weft_status broadcast_two(const wefti_node_view *node, const wefti_known *input,
                                 wefti_known *output, weft_error *error)
{
    wefti_known wider = input->rank > output->rank ? *input : *output;
    const wefti_known *narrow = input->rank > output->rank ? output : input;
    int32_t missing = wider.rank - narrow->rank;
    for (int32_t i = missing; i < wider.rank; i++) {
        int64_t a = wider.dims[i];
        int64_t b = narrow->dims[i - missing];
        if (a != b && a != 1 && b != 1) {
            wefti_shape_text first;
            wefti_shape_text second;
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: shapes %s and %s cannot be broadcast together; "
                               "from the last dimension backwards they must be equal "
                               "or 1",
                               node->label,
                               wefti_shape_write(output->rank, output->dims, &first),
                               wefti_shape_write(input->rank, input->dims, &second));
        }
        wider.dims[i] = a == 1 ? b : a;
    }
    output->rank = wider.rank;
    memcpy(output->dims, wider.dims, sizeof(output->dims));
    return WEFT_OK;
}

weft_status wefti_broadcast_shapes(const wefti_node_view *node,
                                   const wefti_known *inputs, size_t count,
                                   wefti_known *output, weft_error *error)
{
    output->rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (inputs[i].type != WEFT_TYPE_NONE) {
            WEFTI_TRY(broadcast_two(node, &inputs[i], output, error));
        }
    }
    return WEFT_OK;
}
