/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_REFERENCE_TILES_H
#define WEFTI_BACKEND_CPU_REFERENCE_TILES_H

#include <stdio.h>

#include "backend/cpu/cpu_kernel.h"
#include "base/compiler.h"

/* How the reference kernels cut their work: `count` outputs in up to 8 tiles. */

WEFTI_INLINE int64_t ref_tile_count(int64_t count)
{
    return count >= 1024 ? 8 : 1;
}

/* The first output of a tile; that of tile_count is `count`. */
WEFTI_INLINE int64_t ref_tile_start(int64_t count, int64_t tile)
{
    int64_t tiles = ref_tile_count(count);
    return count / tiles * tile + count % tiles * tile / tiles;
}

/* Fills in what prepare gives back for `count` outputs of `ns_each`. */
WEFTI_INLINE weft_status ref_prepared(wefti_cpu_prepared *prepared,
                                      wefti_cpu_function function, int64_t count,
                                      double ns_each)
{
    prepared->function = function;
    prepared->tile_count = ref_tile_count(count);
    prepared->work_ns = (double)count * ns_each + 100.0;
    snprintf(prepared->description, sizeof(prepared->description), "reference");
    return WEFT_OK;
}

/* Where element `index` (row-major in dims) lies. */
WEFTI_INLINE int64_t ref_offset(int32_t rank, const int64_t *dims,
                                const int64_t *strides, int64_t index)
{
    int64_t offset = 0;
    for (int32_t i = rank - 1; i >= 0; i--) {
        offset += index % dims[i] * strides[i];
        index /= dims[i];
    }
    return offset;
}

/* The number of elements of a shape that prepare has checked. */
WEFTI_INLINE int64_t ref_count(int32_t rank, const int64_t *dims)
{
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= dims[i];
    }
    return count;
}

#endif
