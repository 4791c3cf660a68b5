/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNEL_CHECK_H
#define WEFTI_BACKEND_CPU_KERNEL_CHECK_H

#include "backend/cpu/cpu_kernel.h"
#include "base/compiler.h"

/* What every instruction set's prepare asks before it looks at speed: are these
 * parameters ones that the kernel can do? Failures are WEFT_UNSUPPORTED, or
 * WEFT_INTERNAL for parameters that no lowering should make; the message names the
 * kernel and what is wrong. Each gives the number of output elements (rows, planes)
 * where the caller wants it. Threads: any. */

weft_status wefti_check_copy(const wefti_copy_params *params, int64_t *element_count,
                             weft_error *error);
weft_status wefti_check_fill(const wefti_fill_params *params, int64_t *element_count,
                             weft_error *error);
weft_status wefti_check_elementwise(const wefti_elementwise_params *params,
                                    int64_t *element_count, weft_error *error);
/* `kept_count` outputs, each from `reduced_count` elements. */
weft_status wefti_check_reduce(const wefti_reduce_params *params, int64_t *kept_count,
                               int64_t *reduced_count, weft_error *error);
weft_status wefti_check_softmax(const wefti_softmax_params *params, weft_error *error);
weft_status wefti_check_layer_norm(const wefti_layer_norm_params *params,
                                   weft_error *error);
weft_status wefti_check_pool(const wefti_pool_params *params, weft_error *error);
weft_status wefti_check_gather(const wefti_gather_params *params, weft_error *error);

WEFTI_INLINE int64_t wefti_gather_raw_index(const wefti_gather_params *params,
                                            const void *indices, int64_t position)
{
    if (params->index_type == WEFT_TYPE_I32) {
        return ((const int32_t *)indices)[position];
    }
    return ((const int64_t *)indices)[position];
}

/* The index at `position` of a GATHER, made positive, or -1 when it is out of range;
 * and the words about it. */
WEFTI_INLINE int64_t wefti_gather_index(const wefti_gather_params *params,
                                        const void *indices, int64_t position)
{
    int64_t index = wefti_gather_raw_index(params, indices, position);
    if (index < -params->axis_size || index >= params->axis_size) {
        return -1;
    }
    return index < 0 ? index + params->axis_size : index;
}
weft_status wefti_gather_out_of_range(const wefti_gather_params *params,
                                      const void *indices, int64_t position,
                                      weft_error *error);

#endif
