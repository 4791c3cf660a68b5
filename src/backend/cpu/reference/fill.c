/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_fill_params *p = call->params;
    int64_t count = ref_count(p->rank, p->dims);
    int64_t size = (int64_t)weft_type_size(p->type);
    int64_t last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t to = ref_offset(p->rank, p->dims, p->strides, i);
        memcpy((char *)call->operands[WEFTI_FILL_TARGET] + to * size, &p->value_bits,
               (size_t)size);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_fill_reference(const wefti_step *step, bool may_pack,
                                         wefti_cpu_prepared *prepared,
                                         weft_error *error)
{
    (void)may_pack;
    int64_t count = 0;
    WEFTI_TRY(wefti_check_fill(step->params, &count, error));
    return ref_prepared(prepared, run, count, 5.0);
}
