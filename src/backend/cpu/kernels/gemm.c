/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/gemm.h"

/* The bounds of the loops over `acc` are constants once inlined, so that the compiler
 * unrolls them and every element becomes a register. */
#define UNROLL _Pragma("GCC unroll 16")
/* How B is read; GEMM_KEEP stores it too, GEMM_AHEAD fetches the next panel,
 * GEMM_POINTS reads A by offsets. */
typedef enum gemm_mode {
    GEMM_PANEL,
    GEMM_OFFSETS,
    GEMM_KEEP,
    GEMM_AHEAD,
    GEMM_POINTS,
} gemm_mode;

typedef struct gemm_sums {
    vf acc[GEMM_ROWS][GEMM_VECTORS];
} gemm_sums;

/* Few rows go through B faster than the processor foresees. */
enum { GEMM_PREFETCH_ROWS = 4, GEMM_PREFETCH_STEPS = 8 };

WEFTI_INLINE void gemm_prefetch(const float *b, int64_t b_row, const int32_t vectors)
{
    const float *ahead = b + GEMM_PREFETCH_STEPS * b_row;
    UNROLL for (int32_t j = 0; j < vectors * WEFTI_LANES; j += 16)
    {
        WEFTI_PREFETCH(ahead + j);
    }
}

/* Floats of the next panel that a step of k fetches, a cache line, and so in how many
 * blocks of rows all of it is fetched. */
enum {
    GEMM_AHEAD_FLOATS = GEMM_COLUMNS < 16 ? GEMM_COLUMNS : 16,
    GEMM_AHEAD_BLOCKS = GEMM_COLUMNS / GEMM_AHEAD_FLOATS,
};

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
                             const int32_t vectors, const gemm_mode mode)
{
    const bool offsets = mode == GEMM_OFFSETS;
    const float *b = g->b;
    float *keep = g->keep;
    const float *next = g->next;
    const bool points = mode == GEMM_POINTS;
    const int32_t *offset = points ? g->a_offsets : g->b_offsets;
    const float *base[GEMM_VECTORS];
    const float *row[GEMM_ROWS]; /* of A */
    const int64_t a_column = g->a_column, b_row = g->b_row;
    int64_t at = g->a_skip; /* in each of them */
    if (offsets) {
        UNROLL for (int32_t j = 0; j < vectors; j++)
        {
            base[j] = g->b_vectors[j];
        }
    }
    UNROLL for (int32_t i = 0; i < rows; i++)
    {
        row[i] = points || g->a_rows != NULL ? (const float *)g->a_rows[i]
                                             : g->a + i * g->a_row;
    }
    for (int64_t k = g->k; k > 0; k--) {
        vf bv[GEMM_VECTORS];
        UNROLL for (int32_t j = 0; j < vectors; j++)
        {
            bv[j] = vf_load(offsets ? base[j] + *offset : b + j * WEFTI_LANES);
        }
        if (mode == GEMM_PANEL && rows <= GEMM_PREFETCH_ROWS) {
            gemm_prefetch(b, b_row, vectors);
        }
        if (mode == GEMM_AHEAD) {
            WEFTI_PREFETCH_OUTER(next);
            next += GEMM_AHEAD_FLOATS;
        }
        if (mode == GEMM_KEEP) {
            UNROLL for (int32_t j = 0; j < vectors; j++)
            {
                vf_store(keep + j * WEFTI_LANES, bv[j]);
            }
            keep += vectors * WEFTI_LANES;
        }
        UNROLL for (int32_t i = 0; i < rows; i++)
        {
            vf av = vf_set1(row[i][points ? *offset : at]);
            UNROLL for (int32_t j = 0; j < vectors; j++)
            {
                s->acc[i][j] = vf_fma(av, bv[j], s->acc[i][j]);
            }
        }
        at += a_column;
        if (offsets || points) {
            offset++;
        }
        if (!offsets) { /* a null pointer may not be moved, not even by nothing */
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
    vm nan = vf_is_nan(s->acc[0][0]);
    UNROLL for (int32_t i = 1; i < rows * vectors; i += 2)
    {
        const int32_t next = i + 1 < rows * vectors ? i + 1 : i;
        nan = vm_or(nan, vf_either_nan(s->acc[i / vectors][i % vectors],
                                       s->acc[next / vectors][next % vectors]));
    }
    if (WEFTI_UNLIKELY(vm_any(nan))) {
        GEMM_EACH(vf_canonical(s->acc[i][j]));
    }
}

WEFTI_INLINE void gemm_run(const gemm_block *g, const int32_t rows,
                           const int32_t vectors, const gemm_mode mode)
{
    gemm_sums sums;
    gemm_begin(&sums, g, rows, vectors);
    gemm_chain(&sums, g, rows, vectors, mode);
    if ((g->flags & GEMM_FINISH) != 0) {
        gemm_finish(&sums, g, rows, vectors);
    }
    void *const *const c_rows = g->c_rows;
    float *const c = g->c;
    const int64_t c_row = g->c_row, c_skip = g->c_skip;
    const int32_t last_lanes = g->last_lanes;
    UNROLL for (int32_t i = 0; i < rows; i++)
    {
        float *row = (c_rows != NULL ? (float *)c_rows[i] : c + i * c_row) + c_skip;
        UNROLL for (int32_t j = 0; j < vectors - 1; j++)
        {
            vf_store(row + j * WEFTI_LANES, sums.acc[i][j]);
        }
        row += (vectors - 1) * WEFTI_LANES;
        if (last_lanes == WEFTI_LANES) {
            vf_store(row, sums.acc[i][vectors - 1]);
        } else {
            vf_store_partial(row, sums.acc[i][vectors - 1], last_lanes);
        }
    }
}

typedef void (*gemm_kernel)(const gemm_block *block);

#define KERNELS_OF(rows, vectors)                                                      \
    static void panel_##rows##x##vectors(const gemm_block *g)                          \
    {                                                                                  \
        gemm_run(g, rows, vectors, GEMM_PANEL);                                        \
    }                                                                                  \
    static void offsets_##rows##x##vectors(const gemm_block *g)                        \
    {                                                                                  \
        gemm_run(g, rows, vectors, GEMM_OFFSETS);                                      \
    }                                                                                  \
    static void points_##rows##x##vectors(const gemm_block *g)                         \
    {                                                                                  \
        gemm_run(g, rows, vectors, GEMM_POINTS);                                       \
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

static const gemm_kernel kernels[3][GEMM_VECTORS][GEMM_ROWS] = {
#if GEMM_VECTORS == 4
    {NAMES(panel, 1), NAMES(panel, 2), NAMES(panel, 3), NAMES(panel, 4)},
    {NAMES(offsets, 1), NAMES(offsets, 2), NAMES(offsets, 3), NAMES(offsets, 4)},
    {NAMES(points, 1), NAMES(points, 2), NAMES(points, 3), NAMES(points, 4)},
#else
    {NAMES(panel, 1), NAMES(panel, 2)},
    {NAMES(offsets, 1), NAMES(offsets, 2)},
    {NAMES(points, 1), NAMES(points, 2)},
#endif
};

/* Of whole panels. More rows than one block has are cut into blocks of at least 4. */
#define WHOLE(name, rows, mode)                                                        \
    static void name##_##rows(const gemm_block *g)                                     \
    {                                                                                  \
        gemm_run(g, rows, GEMM_VECTORS, mode);                                         \
    }
WHOLE(keep, 4, GEMM_KEEP)
WHOLE(keep, 5, GEMM_KEEP)
WHOLE(keep, 6, GEMM_KEEP)
static const gemm_kernel keepers[GEMM_ROWS] = {NULL,   NULL,   NULL,
                                               keep_4, keep_5, keep_6};
/* Blocks of 4 rows fetch ahead in their own panel instead: 8 rows of [512,2048] got 231
 * GFLOP/s so, and 210 by this. */
WHOLE(ahead, 5, GEMM_AHEAD)
WHOLE(ahead, 6, GEMM_AHEAD)
static const gemm_kernel fetchers[GEMM_ROWS] = {NULL, NULL,    NULL,
                                                NULL, ahead_5, ahead_6};

void gemm_rows(gemm_block *g, int64_t rows, int32_t columns)
{
    const int32_t vectors = (columns + WEFTI_LANES - 1) / WEFTI_LANES;
    const int32_t mode = g->a_offsets != NULL ? 2 : (g->b_vectors != NULL ? 1 : 0);
    const gemm_kernel *kernel = kernels[mode][vectors - 1];
    g->last_lanes = (g->flags & GEMM_FINISH) != 0
                        ? columns - (vectors - 1) * WEFTI_LANES
                        : WEFTI_LANES;
    /* Blocks as equal as can be: 8 rows are 4 + 4, not 6 + 2. */
    int64_t blocks = (rows + GEMM_ROWS - 1) / GEMM_ROWS;
    while (rows > 0) {
        int64_t count = (rows + blocks - 1) / blocks;
        if (g->keep != NULL && keepers[count - 1] != NULL) {
            keepers[count - 1](g);
            g->b = g->keep;
            g->b_row = GEMM_COLUMNS;
            g->keep = NULL;
        } else if (g->next != NULL && blocks <= GEMM_AHEAD_BLOCKS &&
                   fetchers[count - 1] != NULL) {
            fetchers[count - 1](g);
            g->next += g->k * GEMM_AHEAD_FLOATS;
        } else {
            kernel[count - 1](g);
        }
        if (g->a_rows != NULL) {
            g->a_rows += count;
        } else {
            g->a += count * g->a_row;
        }
        if (g->c_rows != NULL) {
            g->c_rows += count;
        } else {
            g->c += count * g->c_row;
        }
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

/* Rows 0 and 1 of the sums are the two panels of the one row. */
WEFTI_INLINE void pair_chain(gemm_sums *s, const gemm_block *g, const float *b_second,
                             const bool offsets)
{
    const float *a = g->a + g->a_skip;
    const float *base[2 * GEMM_VECTORS];
    UNROLL for (int32_t j = 0; j < 2 * GEMM_VECTORS; j++)
    {
        const float *panel = j < GEMM_VECTORS ? g->b : b_second;
        base[j] = offsets ? g->b_vectors[j] : panel + j % GEMM_VECTORS * WEFTI_LANES;
    }
    for (int64_t k = 0; k < g->k; k++) {
        const vf av = vf_set1(*a);
        const int64_t at = offsets ? g->b_offsets[k] : k * g->b_row;
        if (!offsets) {
            gemm_prefetch(base[0] + at, g->b_row, GEMM_VECTORS);
            gemm_prefetch(base[GEMM_VECTORS] + at, g->b_row, GEMM_VECTORS);
        }
        UNROLL for (int32_t j = 0; j < 2 * GEMM_VECTORS; j++)
        {
            vf *sum = &s->acc[j / GEMM_VECTORS][j % GEMM_VECTORS];
            *sum = vf_fma(av, vf_load(base[j] + at), *sum);
        }
        a += g->a_column;
    }
}

void gemm_row_pair(const gemm_block *g, const float *b_second)
{
    gemm_sums sums;
    UNROLL for (int32_t j = 0; j < 2 * GEMM_VECTORS; j++)
    {
        sums.acc[j / GEMM_VECTORS][j % GEMM_VECTORS] = vf_zero();
    }
    if (g->b_vectors != NULL) {
        pair_chain(&sums, g, NULL, true);
    } else {
        pair_chain(&sums, g, b_second, false);
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
