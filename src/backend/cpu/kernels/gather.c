/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/tiles.h"

static double work_ns(const wefti_gather_params *p)
{
    return 15.0 + (double)(p->outer_count * p->index_count) *
                      (2.0 + 0.025 * (double)p->inner_bytes);
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    const wefti_gather_params *p = call->params;
    const char *data = call->operands[WEFTI_GATHER_DATA];
    const void *indices = call->operands[WEFTI_GATHER_INDICES];
    char *output = call->operands[WEFTI_GATHER_OUTPUT];
    const int64_t count = p->outer_count * p->index_count, bytes = p->inner_bytes;
    const int64_t tiles = tiles_for(count, work_ns(p));
    const int64_t last = tile_start(count, tiles, end);
    int64_t i = tile_start(count, tiles, begin);
    int64_t outer = p->index_count > 0 ? i / p->index_count : 0;
    int64_t position = i - outer * p->index_count;
    for (; i < last; i++) {
        int64_t index = wefti_gather_index(p, indices, position);
        if (WEFTI_UNLIKELY(index < 0)) {
            return wefti_gather_out_of_range(p, indices, position, error);
        }
        const char *from = data + (outer * p->axis_size + index) * bytes;
        if (bytes == 4) {
            memcpy(output + i * 4, from, 4);
        } else if (bytes == 8) {
            memcpy(output + i * 8, from, 8);
        } else {
            memcpy(output + i * bytes, from, (size_t)bytes);
        }
        if (++position == p->index_count) {
            position = 0;
            outer++;
        }
    }
    return WEFT_OK;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_gather)(const wefti_step *step, bool may_pack,
                                                 wefti_cpu_prepared *prepared,
                                                 weft_error *error)
{
    (void)may_pack;
    const wefti_gather_params *p = step->params;
    WEFTI_TRY(wefti_check_gather(p, error));
    double ns = work_ns(p);
    prepared->function = run;
    prepared->tile_count = tiles_for(p->outer_count * p->index_count, ns);
    prepared->work_ns = ns;
    snprintf(prepared->description, sizeof(prepared->description), "rows");
    return WEFT_OK;
}
