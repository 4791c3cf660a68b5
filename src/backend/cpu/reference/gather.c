/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    const wefti_gather_params *p = call->params;
    const char *data = call->operands[WEFTI_GATHER_DATA];
    const void *indices = call->operands[WEFTI_GATHER_INDICES];
    char *output = call->operands[WEFTI_GATHER_OUTPUT];
    int64_t count = p->outer_count * p->index_count;
    int64_t last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t position = i % p->index_count;
        int64_t index = wefti_gather_index(p, indices, position);
        if (index < 0) {
            return wefti_gather_out_of_range(p, indices, position, error);
        }
        int64_t from = (i / p->index_count * p->axis_size + index) * p->inner_bytes;
        memcpy(output + i * p->inner_bytes, data + from, (size_t)p->inner_bytes);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_gather_reference(const wefti_step *step, bool may_pack,
                                           wefti_cpu_prepared *prepared,
                                           weft_error *error)
{
    (void)may_pack;
    const wefti_gather_params *p = step->params;
    WEFTI_TRY(wefti_check_gather(p, error));
    return ref_prepared(prepared, run, p->outer_count * p->index_count,
                        5.0 + (double)p->inner_bytes * 0.05);
}
