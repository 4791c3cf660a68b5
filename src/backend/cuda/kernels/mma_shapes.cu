/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of tiles of one format, MMA_FORMAT; the host's table (launch_product.c)
 * says the same. A packed B takes less room, so its tiles are deeper: PACKED_STEPS
 * steps of the format. */

#define TILE_M 64
#define TILE_N 64
#define TILE_K 16
#define TILE_STAGES 4
#define PACKED_STEPS 2
#define PACKED_STAGES 3
#define WARPS_M 2
#define WARPS_N 2
#include "backend/cuda/kernels/mma_tile.cu"

#define TILE_M 32
#define TILE_N 32
#define TILE_K 32
#define TILE_STAGES 4
#define PACKED_STEPS 4
#define PACKED_STAGES 3
#define WARPS_M 2
#define WARPS_N 2
#include "backend/cuda/kernels/mma_tile.cu"

#define TILE_M 16
#define TILE_N 32
#define TILE_K 32
#define TILE_STAGES 4
#define PACKED_STEPS 4
#define PACKED_STAGES 4
#define WARPS_M 1
#define WARPS_N 4
#include "backend/cuda/kernels/mma_tile.cu"
