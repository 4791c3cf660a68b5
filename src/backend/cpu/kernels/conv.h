/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_CONV_H
#define WEFTI_BACKEND_CPU_KERNELS_CONV_H

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/gemm.h"

/* A convolution as a matrix product: rows are output channels, lanes lie along the
 * outputs in space, k runs over (channel, kernel position). Weights are broadcast from
 * where they are. The input is read through a table of offsets, one for each k, from
 * a copy of the part a tile needs, in which padding is zeros and each stride's phase
 * is a plane of its own, so that neighbours in the output are neighbours in memory:
 *
 *     copy[channel][kernel z][phase y][phase x][row][column]
 *
 * ROWS: vectors lie in one output row, the last of a row may be cut off; the results
 * go straight to the output. FLAT: vectors run on through the ends of the copy's rows,
 * where they compute what nobody wants; the results go to a small block from which
 * the wanted ones are taken. It is better where rows are short. DEPTHWISE: groups of
 * one channel, which have no product to share: as ROWS, but several vectors at once, of
 * one row or many (conv_depthwise.c). POINTS: weights that are constant, packed; lanes
 * lie along output channels, and it is the input that is broadcast, so that no lane is
 * lost where rows are short; finished sums are turned around (conv_points.c). Each
 * output is the same chain in all of them. */
typedef enum conv_mode {
    CONV_ROWS,
    CONV_FLAT,
    CONV_DEPTHWISE,
    CONV_POINTS,
} conv_mode;

typedef struct conv_plan {
    conv_mode mode;
    /* Tiles that touch no padding are read from the input itself. */
    bool may_read_in_place;
    bool always_in_place; /* there are no others */
    /* Each few channels go over the whole tile, which then stays in the nearest cache;
     * otherwise all channels go over each panel. */
    bool channels_outside;
    bool contiguous_rows; /* a panel may hold several rows: they are whole vectors, */
    bool rows_follow;     /* or lie in the copy as they do in the output */
    wefti_conv_params p;  /* with space folded into one row where possible */
    int64_t taps, k;      /* of one channel; of all channels of a group */
    int64_t group_channels, group_rows; /* input and output channels of a group */
    int64_t out_plane;
    /* A tile: these output rows of one plane (row_count is of the whole output, all
     * planes) or these columns of one row, by these channels. */
    int64_t rows_per_chunk, columns_per_chunk, channels_per_tile;
    int64_t row_chunks, column_chunks, channel_tiles; /* row_chunks: of one plane */
    /* The copy. Outputs that follow each other lie `step` apart in it: 1, but in POINTS
     * mode the stride, where the phases lie together as in the input. */
    int64_t step[3];
    int64_t phases_y, phases_x; /* how many */
    int64_t copy_rows, copy_columns;
    int64_t copy_floats;              /* with room behind for the last vector */
    int64_t k_block;                  /* POINTS: so much of k at once */
    uint32_t flags;                   /* of gemm_block, but for GEMM_FINISH */
    const int32_t *offsets;           /* [k] in the copy */
    const int32_t *offsets_in_place;  /* [k] in the input */
    const int64_t *phase_y, *phase_x; /* the phases that occur */
} conv_plan;

/* Rows of the block of results in FLAT mode. */
enum { CONV_FLAT_CHANNELS = 8 * GEMM_ROWS };

/* One tile. */
typedef struct conv_tile {
    int64_t image, group;
    int64_t plane, row, column; /* first output position */
    int64_t rows, columns;
    int64_t channel, channels; /* of the group */
} conv_tile;

/* Fills the copy for a tile. */
void WEFTI_ISA_NAME(wefti_conv_copy)(const conv_plan *plan, const conv_tile *tile,
                                     const float *input, float *copy);
#define conv_copy WEFTI_ISA_NAME(wefti_conv_copy)

/* The outputs of a DEPTHWISE tile from its copy. `weight`, `bias` (or NULL), `residual`
 * (or NULL) and `output` are those of its channel and first output. */
typedef struct conv_plane {
    const float *copy, *weight, *bias, *residual;
    float *output;
    int64_t rows, columns;
} conv_plane;
void WEFTI_ISA_NAME(wefti_conv_depthwise)(const conv_plan *plan,
                                          const conv_plane *plane);
#define conv_depthwise WEFTI_ISA_NAME(wefti_conv_depthwise)

/* One POINTS tile. `weight` is packed; it, `bias` and `residual` (or NULL) and `output`
 * are those of the tile's first channel and output. Outputs follow each other. */
typedef struct conv_points {
    const float *weight, *bias, *residual;
    float *output;
    const void **places; /* [count] where each output has its first input */
    const int32_t *offsets;
    float *sums; /* scratch, [count + WEFTI_LANES][GEMM_COLUMNS] */
    int64_t count, channels;
} conv_points;
void WEFTI_ISA_NAME(wefti_conv_points_tile)(const conv_plan *plan,
                                            const conv_points *tile);
#define conv_points_tile WEFTI_ISA_NAME(wefti_conv_points_tile)

/* A wefti_weight_pack: of each group all panels of its output channels. */
void WEFTI_ISA_NAME(wefti_conv_points_pack)(void *packed, const void *constant,
                                            const void *params);
#define conv_points_pack WEFTI_ISA_NAME(wefti_conv_points_pack)

/* Chooses modes, tiles and tables; `packs`: the weights may be packed. One block of
 * memory, freed by wefti_free. */
weft_status WEFTI_ISA_NAME(wefti_conv_plan)(const wefti_step *step, bool packs,
                                            conv_plan **plan, weft_error *error);
#define conv_plan_create WEFTI_ISA_NAME(wefti_conv_plan)

#endif
