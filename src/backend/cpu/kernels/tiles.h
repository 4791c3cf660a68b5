/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_TILES_H
#define WEFTI_BACKEND_CPU_KERNELS_TILES_H

#include "backend/cpu/kernels/simd.h"

/* How work is cut: tiles of about 2.5 us on one core, at most 64 of them, so that work
 * of 20 us and more has at least 8. */

/* Number of tiles for `units` equal pieces that take `work_ns` together. */
WEFTI_INLINE int64_t tiles_for(int64_t units, double work_ns)
{
    double wanted = work_ns / 2500.0;
    int64_t tiles = wanted > 64.0 ? 64 : (int64_t)wanted;
    tiles = tiles > units ? units : tiles;
    return tiles < 1 ? 1 : tiles;
}

/* The first unit of a tile; that of tile_count is `units`. */
WEFTI_INLINE int64_t tile_start(int64_t units, int64_t tiles, int64_t tile)
{
    return units / tiles * tile + units % tiles * tile / tiles;
}

#endif
