/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_GEMM_H
#define WEFTI_BACKEND_CPU_KERNELS_GEMM_H

#include "backend/cpu/kernels/simd.h"
#include "backend/kernel.h"

/* The inner product of matmul, conv and attention: up to GEMM_ROWS x GEMM_COLUMNS
 * sums held in registers while k runs. Values of A are broadcast, lanes lie along the
 * columns, so each sum is one chain of fused multiply-adds, k ascending, whatever the
 * block. A chain may be cut: the sums so far are stored and loaded again, which is
 * exact. */
#if WEFTI_LANES == 16 || defined(WEFTI_ISA_neon)
#define GEMM_VECTORS 4 /* 24 sums, 4 of B and 1 of A in 32 registers */
#else
#define GEMM_VECTORS 2 /* 12 sums, 2 of B and 1 of A in 16 registers */
#endif
enum { GEMM_ROWS = 6, GEMM_COLUMNS = GEMM_VECTORS * WEFTI_LANES };

typedef enum gemm_flag {
    GEMM_FINISH = 1, /* the chain ends here: the flags below, then one NaN for all */
    GEMM_SCALE = 2,
    GEMM_BIAS_COLUMN = 4,
    GEMM_BIAS_ROW = 8,
    GEMM_RESIDUAL = 16,
    GEMM_RELU = 32,
} gemm_flag;

typedef struct gemm_block {
    /* Row i of A begins at a + i * a_row or, where a_rows is not NULL, at a_rows[i].
     * A[i][k] is there + a_skip + k * a_column or, where a_offsets (and a_rows) is not
     * NULL, + a_offsets[k]. */
    const float *a;
    int64_t a_row, a_column;
    const void *const *a_rows;
    int64_t a_skip;
    const int32_t *a_offsets;
    /* B[k][j] = b[k * b_row + j]; whole vectors are read. */
    const float *b;
    int64_t b_row;
    /* When not NULL: the first rows also store B here, packed, and the others read it
     * there. Whole panels only. */
    float *keep;
    /* When not NULL: a packed panel of as many rows that is wanted next; it is brought
     * nearer while this one's rows are computed. Whole panels only. */
    const float *next;
    /* Or, when not NULL: vector v of B[k] is at b_vectors[v] + b_offsets[k]. */
    const float *const *b_vectors;
    const int32_t *b_offsets;
    int64_t k;
    /* Sums to start from, NULL: zeros. Whole vectors are read. */
    const float *start;
    int64_t start_row;
    /* Row i of C begins at c + i * c_row or, where c_rows is not NULL, at c_rows[i];
     * the block's columns are there + c_skip. */
    float *c;
    int64_t c_row;
    void *const *c_rows;
    int64_t c_skip;
    uint32_t flags; /* gemm_flag */
    float alpha;
    const float *bias_column; /* of the first column */
    const float *bias_row;    /* of the first row */
    const float *residual;    /* of the first column, rows c_row apart */
    int32_t last_lanes;       /* of the last vector, 1 to WEFTI_LANES */
} gemm_block;

/* Computes `rows` rows and `columns` (1 to GEMM_COLUMNS) columns; sets last_lanes and
 * moves the block's pointers down. Without GEMM_FINISH whole vectors are stored. */
void WEFTI_ISA_NAME(wefti_gemm_rows)(gemm_block *block, int64_t rows, int32_t columns);
#define gemm_rows WEFTI_ISA_NAME(wefti_gemm_rows)

/* One row and two whole panels, the second behind b_second (or in the second half of
 * b_vectors): twice the sums, to hide the latency of the chains. */
void WEFTI_ISA_NAME(wefti_gemm_row_pair)(const gemm_block *block,
                                         const float *b_second);
#define gemm_row_pair WEFTI_ISA_NAME(wefti_gemm_row_pair)

/* Columns rounded up to whole vectors. */
WEFTI_INLINE int32_t gemm_padded(int32_t columns)
{
    return (columns + WEFTI_LANES - 1) / WEFTI_LANES * WEFTI_LANES;
}

/* The width of all panels of `columns` columns: all whole but the last, padded one. */
WEFTI_INLINE int64_t gemm_panels_padded(int64_t columns)
{
    return columns / GEMM_COLUMNS * GEMM_COLUMNS +
           gemm_padded((int32_t)(columns % GEMM_COLUMNS));
}

/* Where B is read from to be packed: B[k][j] = b[k * row + j * column]. */
typedef struct gemm_source {
    const float *b;
    int64_t row, column;
} gemm_source;

/* Writes k rows of gemm_padded(columns) floats, zeros behind the columns. */
void WEFTI_ISA_NAME(wefti_gemm_pack)(float *packed, gemm_source source, int64_t k,
                                     int32_t columns);
#define gemm_pack WEFTI_ISA_NAME(wefti_gemm_pack)

/* Reading a float of B from the outer caches takes as long as this many of them. */
#define GEMM_LOAD_MULTIPLY_ADDS 3.5

/* Estimated time of this many multiply-adds on one core. */
WEFTI_INLINE double gemm_work_ns(double multiply_adds)
{
#if defined(WEFTI_ISA_avx512)
    return multiply_adds / 110.0;
#elif defined(WEFTI_ISA_avx2)
    return multiply_adds / 55.0;
#elif defined(WEFTI_ISA_neon)
    return multiply_adds / 16.0;
#else
    return multiply_adds / 1.7;
#endif
}

#endif
