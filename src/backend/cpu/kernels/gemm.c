/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/gemm.h"

#include "base/testing.h"

/* The bounds of the loops over `acc` are constants once inlined, so that the compiler
 * unrolls them and every element becomes a register. */
#define UNROLL _Pragma("GCC unroll 8")
typedef struct gemm_sums {
    vf acc[GEMM_ROWS][GEMM_VECTORS];
} gemm_sums;

WEFTI_INLINE void gemm_begin(gemm_sums *s, const gemm_block *g, const int32_t rows,
                             const int32_t vectors)
{
    UNROLL for (int32_t i = 0; i < rows; i++)
    {
        UNROLL for (int32_t j = 0; j < vectors; j++)
        {
            s->acc[i][j] = g->start == NULL
                               ? vf_zero()
                               : vf_load(g->start + i * g->start_row + j * WEFTI_LANES);
        }
    }
}

WEFTI_INLINE void gemm_chain(gemm_sums *s, const gemm_block *g, const int32_t rows,
                             const int32_t vectors, const bool offsets)
{
    const float *a = g->a;
    const float *b = g->b;
    const int32_t *offset = g->b_offsets;
    const float *base[GEMM_VECTORS];
    const int64_t a_row = g->a_row;
    int64_t a_column = g->a_column, b_row = g->b_row;
    if (wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER) && !offsets) {
        a += (g->k - 1) * a_column;
        b += (g->k - 1) * b_row;
        a_column = -a_column;
        b_row = -b_row;
    }
    if (offsets) {
        UNROLL for (int32_t j = 0; j < vectors; j++)
        {
            base[j] = g->b_vectors[j];
        }
    }
    for (int64_t k = g->k; k > 0; k--) {
        vf bv[GEMM_VECTORS];
        UNROLL for (int32_t j = 0; j < vectors; j++)
        {
            bv[j] = vf_load(offsets ? base[j] + *offset : b + j * WEFTI_LANES);
        }
        UNROLL for (int32_t i = 0; i < rows; i++)
        {
            vf av = vf_set1(a[i * a_row]);
            UNROLL for (int32_t j = 0; j < vectors; j++)
            {
                s->acc[i][j] = vf_fma(av, bv[j], s->acc[i][j]);
            }
        }
        a += a_column;
        if (offsets) {
            offset++;
        } else {
            b += b_row;
        }
    }
}

/* acc[i][j] = expression, where `at` is the column and `whole` says that the vector
 * is not cut off. */
#define GEMM_EACH(expression)                                                          \
    UNROLL for (int32_t i = 0; i < rows; i++)                                          \
    {                                                                                  \
        UNROLL for (int32_t j = 0; j < vectors; j++)                                   \
        {                                                                              \
            const int32_t at = j * WEFTI_LANES;                                        \
            const bool whole = j < vectors - 1 || g->last_lanes == WEFTI_LANES;        \
            (void)at;                                                                  \
            (void)whole;                                                               \
            s->acc[i][j] = (expression);                                               \
        }                                                                              \
    }

WEFTI_INLINE vf gemm_load(const gemm_block *g, const float *p, bool whole)
{
    return whole ? vf_load(p) : vf_load_partial(p, g->last_lanes);
}

WEFTI_INLINE void gemm_finish(gemm_sums *s, const gemm_block *g, const int32_t rows,
                              const int32_t vectors)
{
    if ((g->flags & GEMM_SCALE) != 0) {
        vf alpha = vf_set1(g->alpha);
        GEMM_EACH(vf_mul(s->acc[i][j], alpha));
    }
    if ((g->flags & GEMM_BIAS_COLUMN) != 0) {
        vf bias[GEMM_VECTORS];
        UNROLL for (int32_t j = 0; j < vectors; j++)
        {
            bias[j] = gemm_load(g, g->bias_column + j * WEFTI_LANES,
                                j < vectors - 1 || g->last_lanes == WEFTI_LANES);
        }
        GEMM_EACH(vf_add(s->acc[i][j], bias[j]));
    }
    if ((g->flags & GEMM_BIAS_ROW) != 0) {
        GEMM_EACH(vf_add(s->acc[i][j], vf_set1(g->bias_row[i])));
    }
    if ((g->flags & GEMM_RESIDUAL) != 0) {
        GEMM_EACH(
            vf_add(s->acc[i][j], gemm_load(g, g->residual + i * g->c_row + at, whole)));
    }
    if ((g->flags & GEMM_RELU) != 0) {
        GEMM_EACH(vf_relu(s->acc[i][j]));
    }
    GEMM_EACH(vf_canonical(s->acc[i][j]));
}

WEFTI_INLINE void gemm_run(const gemm_block *g, const int32_t rows,
                           const int32_t vectors, const bool offsets)
{
    gemm_sums sums;
    gemm_begin(&sums, g, rows, vectors);
    gemm_chain(&sums, g, rows, vectors, offsets);
    if ((g->flags & GEMM_FINISH) != 0) {
        gemm_finish(&sums, g, rows, vectors);
    }
    float *c = g->c;
    const int64_t c_row = g->c_row;
    UNROLL for (int32_t i = 0; i < rows; i++)
    {
        UNROLL for (int32_t j = 0; j < vectors - 1; j++)
        {
            vf_store(c + i * c_row + j * WEFTI_LANES, sums.acc[i][j]);
        }
        const int32_t at = (vectors - 1) * WEFTI_LANES;
        if (g->last_lanes == WEFTI_LANES) {
            vf_store(c + i * c_row + at, sums.acc[i][vectors - 1]);
        } else {
            vf_store_partial(c + i * c_row + at, sums.acc[i][vectors - 1],
                             g->last_lanes);
        }
    }
}

typedef void (*gemm_kernel)(const gemm_block *block);

#define KERNELS_OF(rows, vectors)                                                      \
    static void panel_##rows##x##vectors(const gemm_block *g)                          \
    {                                                                                  \
        gemm_run(g, rows, vectors, false);                                             \
    }                                                                                  \
    static void offsets_##rows##x##vectors(const gemm_block *g)                        \
    {                                                                                  \
        gemm_run(g, rows, vectors, true);                                              \
    }
#define KERNELS(vectors)                                                               \
    KERNELS_OF(1, vectors)                                                             \
    KERNELS_OF(2, vectors)                                                             \
    KERNELS_OF(3, vectors)                                                             \
    KERNELS_OF(4, vectors)                                                             \
    KERNELS_OF(5, vectors)                                                             \
    KERNELS_OF(6, vectors)
#define NAMES(kind, v)                                                                 \
    {                                                                                  \
        kind##_1x##v, kind##_2x##v, kind##_3x##v, kind##_4x##v, kind##_5x##v,          \
            kind##_6x##v                                                               \
    }

KERNELS(1)
KERNELS(2)
#if GEMM_VECTORS == 4
KERNELS(3)
KERNELS(4)
#endif

static const gemm_kernel kernels[2][GEMM_VECTORS][GEMM_ROWS] = {
#if GEMM_VECTORS == 4
    {NAMES(panel, 1), NAMES(panel, 2), NAMES(panel, 3), NAMES(panel, 4)},
    {NAMES(offsets, 1), NAMES(offsets, 2), NAMES(offsets, 3), NAMES(offsets, 4)},
#else
    {NAMES(panel, 1), NAMES(panel, 2)},
    {NAMES(offsets, 1), NAMES(offsets, 2)},
#endif
};

void gemm_rows(gemm_block *g, int64_t rows, int32_t columns)
{
    const int32_t vectors = (columns + WEFTI_LANES - 1) / WEFTI_LANES;
    const gemm_kernel *kernel = kernels[g->b_vectors != NULL][vectors - 1];
    g->last_lanes = (g->flags & GEMM_FINISH) != 0
                        ? columns - (vectors - 1) * WEFTI_LANES
                        : WEFTI_LANES;
    /* Blocks as equal as can be: 8 rows are 4 + 4, not 6 + 2. */
    int64_t blocks = (rows + GEMM_ROWS - 1) / GEMM_ROWS;
    while (rows > 0) {
        int64_t count = (rows + blocks - 1) / blocks;
        kernel[count - 1](g);
        g->a += count * g->a_row;
        g->c += count * g->c_row;
        g->start = g->start == NULL ? NULL : g->start + count * g->start_row;
        g->residual = g->residual == NULL ? NULL : g->residual + count * g->c_row;
        g->bias_row = g->bias_row == NULL ? NULL : g->bias_row + count;
        rows -= count;
        blocks--;
    }
}

static const float *second_half(const float *p, int32_t panel)
{
    return p == NULL ? NULL : p + panel * GEMM_COLUMNS;
}

void gemm_row_pair(const gemm_block *g, const float *b_second)
{
    /* Rows 0 and 1 of the sums are the two panels of the one row. */
    gemm_sums sums;
    const float *a = g->a;
    const float *first = g->b;
    gemm_begin(&sums, g, 1, GEMM_VECTORS);
    UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)
    {
        sums.acc[1][j] = g->start == NULL
                             ? vf_zero()
                             : vf_load(g->start + GEMM_COLUMNS + j * WEFTI_LANES);
    }
    for (int64_t k = g->k; k > 0; k--) {
        vf av = vf_set1(*a);
        UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)
        {
            sums.acc[0][j] =
                vf_fma(av, vf_load(first + j * WEFTI_LANES), sums.acc[0][j]);
            sums.acc[1][j] =
                vf_fma(av, vf_load(b_second + j * WEFTI_LANES), sums.acc[1][j]);
        }
        a += g->a_column;
        first += g->b_row;
        b_second += g->b_row;
    }
    for (int32_t panel = 0; panel < 2; panel++) {
        float row[GEMM_COLUMNS];
        gemm_block half = *g;
        UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)
        {
            vf_store(row + j * WEFTI_LANES, sums.acc[panel][j]);
        }
        half.k = 0;
        half.start = row;
        half.start_row = 0;
        half.c += panel * GEMM_COLUMNS;
        half.bias_column = second_half(half.bias_column, panel);
        half.residual = second_half(half.residual, panel);
        gemm_rows(&half, 1, GEMM_COLUMNS);
    }
}
