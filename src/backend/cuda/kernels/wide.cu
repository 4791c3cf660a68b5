/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product where all operands lie in whole fours, as nearly all do: the tiles
 * of tile.cu without the branches for what may lie otherwise, and larger for a thread.
 * Included once for each shape, which WIDE_M, WIDE_N, WIDE_K, WIDE_PER_M, WIDE_PER_N,
 * WIDE_LANES_N, WIDE_STAGES and WIDE_NAME give. The bits are those of tile.cu.
 *
 * What bounds it is shared memory, which gives a warp 16 bytes a thread in as many
 * clocks as it takes to multiply them: so a thread has WIDE_PER_M x WIDE_PER_N outputs,
 * and the lanes of a warp lie WIDE_LANES_N wide, so that they share what they read. */

#define WIDE_THREADS ((WIDE_M / WIDE_PER_M) * (WIDE_N / WIDE_PER_N))
#define WIDE_LANES_M (32 / WIDE_LANES_N)
#define WIDE_WARPS_N (WIDE_N / (WIDE_LANES_N * WIDE_PER_N))
#define WIDE_PITCH_A (WIDE_K + 4)
/* Rows and columns of a thread, from its first: rows spread over those of its warp,
 * columns in groups of 4. */
#define WIDE_ROW(i) (row0 + (i)*WIDE_LANES_M)
#define WIDE_COLUMN(j) (column0 + (j) / 4 * (WIDE_LANES_N * 4) + (j) % 4)
/* Fours of a tile that a thread fetches. */
#define WIDE_FOURS_A (WIDE_M * WIDE_K / 4 / WIDE_THREADS)
#define WIDE_FOURS_B (WIDE_N * WIDE_K / 4 / WIDE_THREADS)
#define WIDE_STEP_A (WIDE_THREADS / (WIDE_K / 4))
#define WIDE_STEP_B (WIDE_THREADS / (WIDE_N / 4))

/* Begins to fetch the tiles that begin at k = k_start; `inside(k)` says whether there
 * is so much of k. Rows and columns beyond the matrices are those at their ends, read
 * once more, and what comes of them is not stored. */
#define WIDE_FETCH(into, k_start, inside)                                              \
    do {                                                                               \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < WIDE_FOURS_A; i++) {                                   \
            WEFTI_FETCH_16(&a_tile[into][a_row + i * WIDE_STEP_A][a_four],             \
                           a_from[i] + (k_start), inside((k_start) + a_four));         \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < WIDE_FOURS_B; i++) {                                   \
            WEFTI_FETCH_16(&b_tile[into][b_row + i * WIDE_STEP_B][b_four],             \
                           b + ((k_start) + i * WIDE_STEP_B) * p->b_row_stride,        \
                           inside((k_start) + b_row + i * WIDE_STEP_B));               \
        }                                                                              \
    } while (0)
#define WIDE_ALWAYS(k) true
#define WIDE_IN_DEPTH(k) ((k) < depth)

/* Four steps of the chains; A is read along k. */
#define WIDE_MULTIPLY(k)                                                               \
    do {                                                                               \
        float left[WIDE_PER_M][4];                                                     \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < WIDE_PER_M; i++) {                                     \
            product_read(left[i], &a_tile[stage][WIDE_ROW(i)][k], 4);                  \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < 4; step++) {                                     \
            float right[WIDE_PER_N];                                                   \
            WEFTI_UNROLL                                                               \
            for (int32_t j = 0; j < WIDE_PER_N; j += 4) {                              \
                product_read(&right[j], &b_tile[stage][(k) + step][WIDE_COLUMN(j)],    \
                             4);                                                       \
            }                                                                          \
            WEFTI_UNROLL                                                               \
            for (int32_t e = 0; e < WIDE_PER_M * WIDE_PER_N; e++) {                    \
                sum[e / WIDE_PER_N][e % WIDE_PER_N] =                                  \
                    fmaf(left[e / WIDE_PER_N][step], right[e % WIDE_PER_N],            \
                         sum[e / WIDE_PER_N][e % WIDE_PER_N]);                         \
            }                                                                          \
        }                                                                              \
    } while (0)

/* Four columns of a thread, from j on, go where they belong: all that is read, before
 * anything waits for it. */
#define WIDE_FINISH_PLAIN(j)                                                           \
    do {                                                                               \
        const int64_t at =                                                             \
            place.c + (place.m + row0) * p->c_row_stride + place.n + WIDE_COLUMN(j);   \
        const int64_t down = WIDE_LANES_M * p->c_row_stride;                           \
        float bias[4], residual[WIDE_PER_M][4];                                        \
        matmul_bias(&call, place.n + WIDE_COLUMN(j), bias);                            \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < WIDE_PER_M; i++) {                                     \
            matmul_residual(&call, at + i * down, WIDE_ROW(i) < rows, residual[i]);    \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < WIDE_PER_M; i++) {                                     \
            if (WIDE_ROW(i) < rows) {                                                  \
                matmul_finish_plain(&call, at + i * down, &sum[i][j], bias,            \
                                    residual[i]);                                      \
            }                                                                          \
        }                                                                              \
    } while (0)

WEFTI_KERNEL(WIDE_THREADS, WIDE_NAME, wefti_cuda_matmul_call)
{
    WEFTI_SHARED float a_tile[WIDE_STAGES][WIDE_M][WIDE_PITCH_A];
    WEFTI_SHARED float b_tile[WIDE_STAGES][WIDE_K][WIDE_N];
    const wefti_matmul_params *p = &call.p;
    const matmul_place place = matmul_find(&call, WIDE_M, WIDE_N);
    const int32_t thread = (int32_t)threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int32_t row0 =
        warp / WIDE_WARPS_N * (WIDE_LANES_M * WIDE_PER_M) + lane / WIDE_LANES_N;
    const int32_t column0 =
        warp % WIDE_WARPS_N * (WIDE_LANES_N * WIDE_PER_N) + lane % WIDE_LANES_N * 4;
    /* What is left of the matrices, as far as a tile goes. */
    const int32_t rows = (int32_t)(p->m - place.m < WIDE_M ? p->m - place.m : WIDE_M);
    const int32_t columns =
        (int32_t)(p->n - place.n < WIDE_N ? p->n - place.n : WIDE_N);
    const int64_t depth = p->k;
    /* The first of the fours that the thread fetches. */
    const int32_t a_row = thread / (WIDE_K / 4), a_four = thread % (WIDE_K / 4) * 4;
    const int32_t b_row = thread / (WIDE_N / 4), b_four = thread % (WIDE_N / 4) * 4;
    const int32_t b_column = b_four < columns ? b_four : columns - 4;
    const float *b = place.b + b_row * p->b_row_stride + b_column;
    const float *a_from[WIDE_FOURS_A];
    WEFTI_UNROLL
    for (int32_t i = 0; i < WIDE_FOURS_A; i++) {
        const int32_t row = a_row + i * WIDE_STEP_A;
        a_from[i] = place.a + (row < rows ? row : rows - 1) * p->a_row_stride + a_four;
    }
    float sum[WIDE_PER_M][WIDE_PER_N];
    WEFTI_UNROLL
    for (int32_t e = 0; e < WIDE_PER_M * WIDE_PER_N; e++) {
        sum[e / WIDE_PER_N][e % WIDE_PER_N] = 0.0f;
    }
    WEFTI_UNROLL
    for (int32_t ahead = 0; ahead < WIDE_STAGES - 1; ahead++) {
        if (ahead * WIDE_K < depth) { /* all that is fetched is waited for below */
            WIDE_FETCH(ahead, (int64_t)ahead * WIDE_K, WIDE_IN_DEPTH);
        }
        WEFTI_FETCH_COMMIT();
    }
    int32_t stage = 0;
    for (int64_t k0 = 0; k0 < depth; k0 += WIDE_K) {
        WEFTI_FETCH_WAIT(WIDE_STAGES - 2);
        WEFTI_BARRIER();
        const int64_t next = k0 + (WIDE_STAGES - 1) * WIDE_K;
        const int32_t free_stage = stage == 0 ? WIDE_STAGES - 1 : stage - 1;
        if (next + WIDE_K <= depth) {
            WIDE_FETCH(free_stage, next, WIDE_ALWAYS);
        } else if (next < depth) {
            WIDE_FETCH(free_stage, next, WIDE_IN_DEPTH);
        }
        WEFTI_FETCH_COMMIT();
        if (k0 + WIDE_K <= depth) {
            WEFTI_UNROLL
            for (int32_t k = 0; k < WIDE_K; k += 4) {
                WIDE_MULTIPLY(k);
            }
        } else {
            WEFTI_ONCE
            for (int32_t k = 0; k < (int32_t)(depth - k0); k += 4) {
                WIDE_MULTIPLY(k);
            }
        }
        stage = stage == WIDE_STAGES - 1 ? 0 : stage + 1;
    }
    if (matmul_is_plain(&call)) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < WIDE_PER_N; j += 4) {
            if (WIDE_COLUMN(j) < columns) {
                WIDE_FINISH_PLAIN(j);
            }
        }
        return;
    }
    /* What is rare in a loop, so that its code is short; a thread's own sums go through
     * shared memory to be counted through. */
    float(*sums)[WIDE_N] = (float(*)[WIDE_N]) & a_tile[0][0][0];
    WEFTI_BARRIER();
    WEFTI_UNROLL
    for (int32_t e = 0; e < WIDE_PER_M * WIDE_PER_N; e++) {
        sums[WIDE_ROW(e / WIDE_PER_N)][WIDE_COLUMN(e % WIDE_PER_N)] =
            sum[e / WIDE_PER_N][e % WIDE_PER_N];
    }
    WEFTI_ONCE
    for (int32_t e = 0; e < WIDE_PER_M * WIDE_PER_N; e += 4) {
        const int32_t row = WIDE_ROW(e / WIDE_PER_N),
                      column = WIDE_COLUMN(e % WIDE_PER_N);
        matmul_finish(&call, place.c, place.m + row, place.n + column,
                      &sums[row][column], 4);
    }
}

#undef WIDE_THREADS
#undef WIDE_LANES_M
#undef WIDE_WARPS_N
#undef WIDE_PITCH_A
#undef WIDE_ROW
#undef WIDE_COLUMN
#undef WIDE_FOURS_A
#undef WIDE_FOURS_B
#undef WIDE_STEP_A
#undef WIDE_STEP_B
#undef WIDE_FETCH
#undef WIDE_ALWAYS
#undef WIDE_IN_DEPTH
#undef WIDE_MULTIPLY
#undef WIDE_FINISH_PLAIN
#undef WIDE_M
#undef WIDE_N
#undef WIDE_K
#undef WIDE_PER_M
#undef WIDE_PER_N
#undef WIDE_LANES_N
#undef WIDE_STAGES
#undef WIDE_NAME
