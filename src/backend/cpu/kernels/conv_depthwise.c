/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/conv.h"

/* As many sums at once as hide the latency of their chains. */
enum { AT_ONCE = 8, TALL_ROWS = 4 };

/* Some vectors of outputs, of one row or several. */
typedef struct depthwise_block {
    const float *in[AT_ONCE]; /* first input in the copy */
    int64_t out[AT_ONCE];     /* first output */
    int32_t lanes[AT_ONCE];
} depthwise_block;

WEFTI_INLINE void finish(const conv_plan *plan, const conv_plane *plane, vf sum,
                         int64_t at, int32_t lanes)
{
    if (plane->bias != NULL) {
        sum = vf_add(sum, vf_set1(*plane->bias));
    }
    if (plane->residual != NULL) {
        const float *residual = plane->residual + at;
        sum = vf_add(sum, lanes == WEFTI_LANES ? vf_load(residual)
                                               : vf_load_partial(residual, lanes));
    }
    if ((plan->flags & GEMM_RELU) != 0) {
        sum = vf_relu(sum);
    }
    sum = vf_canonical(sum);
    if (lanes == WEFTI_LANES) {
        vf_store(plane->output + at, sum);
    } else {
        vf_store_partial(plane->output + at, sum, lanes);
    }
}

/* Vectors [from, from + count) of the block. */
WEFTI_INLINE void run_vectors(const conv_plan *plan, const conv_plane *plane,
                              const depthwise_block *b, int32_t from,
                              const int32_t count)
{
    const float *const *in = b->in + from;
    vf sums[AT_ONCE];
    for (int32_t v = 0; v < count; v++) {
        sums[v] = vf_zero();
    }
    for (int64_t k = 0; k < plan->taps; k++) {
        const vf weight = vf_set1(plane->weight[k]);
        const int64_t offset = plan->offsets[k];
        for (int32_t v = 0; v < count; v++) {
            sums[v] = vf_fma(weight, vf_load(in[v] + offset), sums[v]);
        }
    }
    for (int32_t v = 0; v < count; v++) {
        finish(plan, plane, sums[v], b->out[from + v], b->lanes[from + v]);
    }
}

static void run_block(const conv_plan *plan, const conv_plane *plane,
                      const depthwise_block *b, int32_t count)
{
    int32_t from = 0;
    if (count == AT_ONCE) {
        run_vectors(plan, plane, b, 0, AT_ONCE);
        return;
    }
    if ((count & 4) != 0) {
        run_vectors(plan, plane, b, from, 4);
        from += 4;
    }
    if ((count & 2) != 0) {
        run_vectors(plan, plane, b, from, 2);
        from += 2;
    }
    if ((count & 1) != 0) {
        run_vectors(plan, plane, b, from, 1);
    }
}

/* All from `row` on, a few vectors at a time. */
static void run_rest(const conv_plan *plan, const conv_plane *plane, int64_t row)
{
    const int64_t width = plan->p.out_dims[2];
    depthwise_block b = {.lanes = {0}};
    int32_t count = 0;
    for (; row < plane->rows; row++) {
        for (int64_t i = 0; i < plane->columns; i += WEFTI_LANES) {
            const int64_t left = plane->columns - i;
            b.in[count] = plane->copy + row * plan->copy_columns + i;
            b.out[count] = row * width + i;
            b.lanes[count] = left < WEFTI_LANES ? (int32_t)left : WEFTI_LANES;
            if (++count == AT_ONCE) {
                run_block(plan, plane, &b, count);
                count = 0;
            }
        }
    }
    run_block(plan, plane, &b, count);
}

/* A kernel of `height` rows that lie one behind the other: what several rows of outputs
 * read is loaded once. The chain of an output is the same. Compiled once for each of
 * the constants that it is called with, so that the sums stay in registers. */
typedef struct tall_block {
    const float *in, *weight;
    const int32_t *offsets;
    int64_t pitch;
    int32_t rows, vectors, height, width; /* of outputs, outputs, kernel, kernel */
} tall_block;

/* Adds what row `i` of the input gives at column k of the kernel. */
WEFTI_INLINE void add_column(const tall_block *b, int32_t i, int32_t k, vf *sums)
{
    const float *x = b->in + i * b->pitch + b->offsets[k];
    const int32_t first = i < b->height ? 0 : i - b->height + 1;
    const int32_t last = i < b->rows ? i : b->rows - 1;
    for (int32_t v = 0; v < b->vectors; v++) {
        const vf value = vf_load(x + v * WEFTI_LANES);
#pragma GCC unroll 8
        for (int32_t r = first; r <= last; r++) {
            const vf weight = vf_set1(b->weight[(i - r) * b->width + k]);
            vf *sum = &sums[r * b->vectors + v];
            *sum = vf_fma(weight, value, *sum);
        }
    }
}

WEFTI_INLINE void add_rows(const tall_block *b, vf *sums)
{
#pragma GCC unroll 16
    for (int32_t i = 0; i < b->rows + b->height - 1; i++) {
#pragma GCC unroll 3
        for (int32_t k = 0; k < b->width; k++) {
            add_column(b, i, k, sums);
        }
    }
}

WEFTI_INLINE void run_tall(const conv_plan *plan, const conv_plane *plane, int64_t row,
                           int64_t column, const int32_t rows, const int32_t height)
{
    const int32_t vectors = AT_ONCE / rows;
    const tall_block b = {
        .in = plane->copy + row * plan->copy_columns + column,
        .weight = plane->weight,
        .offsets = plan->offsets,
        .pitch = plan->copy_columns,
        .rows = rows,
        .vectors = vectors,
        .height = height,
        .width = height == 3 ? 3 : (int32_t)plan->p.kernel_dims[2],
    };
    vf sums[AT_ONCE];
    for (int32_t i = 0; i < AT_ONCE; i++) {
        sums[i] = vf_zero();
    }
    add_rows(&b, sums);
    for (int32_t i = 0; i < AT_ONCE; i++) {
        const int64_t at = column + i % vectors * WEFTI_LANES;
        const int64_t left = plane->columns - at;
        if (left > 0) {
            finish(plan, plane, sums[i], (row + i / vectors) * plan->p.out_dims[2] + at,
                   left < WEFTI_LANES ? (int32_t)left : WEFTI_LANES);
        }
    }
}

/* As many rows as can be done this way; returns how many. */
WEFTI_INLINE int64_t run_tall_rows(const conv_plan *plan, const conv_plane *plane,
                                   const int32_t height)
{
    const bool narrow = plane->columns <= WEFTI_LANES;
    const int32_t rows = narrow ? AT_ONCE : TALL_ROWS;
    int64_t row = 0;
    for (; row + rows <= plane->rows; row += rows) {
        if (narrow) {
            run_tall(plan, plane, row, 0, AT_ONCE, height);
            continue;
        }
        const int64_t step = AT_ONCE / TALL_ROWS * WEFTI_LANES;
        for (int64_t i = 0; i < plane->columns; i += step) {
            run_tall(plan, plane, row, i, TALL_ROWS, height);
        }
    }
    return row;
}

void conv_depthwise(const conv_plan *plan, const conv_plane *plane)
{
    const wefti_conv_params *p = &plan->p;
    const bool follows =
        p->kernel_dims[0] == 1 && p->strides[1] == 1 && p->dilations[1] == 1;
    int64_t row = 0;
    if (follows && p->kernel_dims[1] == 3 && p->kernel_dims[2] == 3) {
        row = run_tall_rows(plan, plane, 3);
    } else if (follows && p->kernel_dims[1] == 5) {
        row = run_tall_rows(plan, plane, 5);
    } else if (follows && p->kernel_dims[1] == 7) {
        row = run_tall_rows(plan, plane, 7);
    }
    run_rest(plan, plane, row);
}
