/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product in tiles, for MATMUL and CONV; included once for each shape, which
 * TILE_M, TILE_N, TILE_K, PER_M, PER_N, TILE_STAGES and TILE_NAME(kernel) give. A block
 * makes TILE_M x TILE_N outputs, a thread PER_M x PER_N of them, and walks along k in
 * steps of TILE_K through TILE_STAGES buffers, which are fetched ahead of their use.
 *
 * Each output is one chain of fused multiply-adds, k ascending, whatever the shape: so
 * all shapes give the same bits, and the host may choose by size alone. The last step
 * must not go beyond k: adding +0 would turn -0 into +0. */

#define TILE_THREADS ((TILE_M / PER_M) * (TILE_N / PER_N))
/* Rows lie so far apart that threads of one warp read different banks. */
#define TILE_PITCH_A (TILE_K + 4)
#define TILE_PITCH_B (TILE_N + 4)
/* A thread's rows are spread, its columns lie in groups of up to 4, read together. */
#define TILE_ROW(i) (ty + (i) * (TILE_M / PER_M))
#define TILE_GROUP (PER_N < 4 ? PER_N : 4)
#define TILE_COLUMN(j)                                                                 \
    ((j) / TILE_GROUP * (TILE_N * TILE_GROUP / PER_N) + tx * TILE_GROUP + (j) % TILE_GROUP)
/* How many times four elements of a tile a thread fetches. */
#define TILE_CHUNKS_A ((TILE_M * TILE_K / 4 + TILE_THREADS - 1) / TILE_THREADS)
#define TILE_CHUNKS_B ((TILE_N * TILE_K / 4 + TILE_THREADS - 1) / TILE_THREADS)

#define TILE_MULTIPLY(k, left)                                                         \
    do {                                                                               \
        float right[PER_N];                                                            \
        WEFTI_UNROLL                                                                   \
        for (int32_t j = 0; j < PER_N; j += TILE_GROUP) {                              \
            product_read(&right[j], &b_tile[stage][k][TILE_COLUMN(j)], TILE_GROUP);    \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < PER_M; i++) {                                          \
            WEFTI_UNROLL                                                               \
            for (int32_t j = 0; j < PER_N; j++) {                                      \
                sum[i][j] = fmaf(left, right[j], sum[i][j]);                           \
            }                                                                          \
        }                                                                              \
    } while (0)

/* Four steps of the chain; A is read along k. */
#define TILE_MULTIPLY_FOUR(k)                                                          \
    do {                                                                               \
        float left[PER_M][4];                                                          \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < PER_M; i++) {                                          \
            product_read(left[i], &a_tile[stage][TILE_ROW(i)][k], 4);                  \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < 4; step++) {                                     \
            TILE_MULTIPLY((k) + step, left[i][step]);                                  \
        }                                                                              \
    } while (0)

/* Declares what both kernels hold. */
#define TILE_BEGIN                                                                     \
    WEFTI_SHARED float a_tile[TILE_STAGES][TILE_M][TILE_PITCH_A];                      \
    WEFTI_SHARED float b_tile[TILE_STAGES][TILE_K][TILE_PITCH_B];                      \
    const int32_t thread = (int32_t)threadIdx.x;                                       \
    const int32_t tx = thread % (TILE_N / PER_N), ty = thread / (TILE_N / PER_N);      \
    float sum[PER_M][PER_N];                                                           \
    WEFTI_UNROLL                                                                       \
    for (int32_t i = 0; i < PER_M; i++) {                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t j = 0; j < PER_N; j++) {                                          \
            sum[i][j] = 0.0f;                                                          \
        }                                                                              \
    }

/* Walks along k; FETCH(stage, k) begins to fetch the tiles that begin at k. A group is
 * committed for every step, also the last, so that the count of those left is right. */
#define TILE_WALK(K, FETCH)                                                            \
    WEFTI_UNROLL                                                                       \
    for (int32_t ahead = 0; ahead < TILE_STAGES - 1; ahead++) {                        \
        if (ahead * TILE_K < (K)) {                                                    \
            FETCH(ahead, (int64_t)ahead * TILE_K);                                     \
        }                                                                              \
        WEFTI_FETCH_COMMIT();                                                          \
    }                                                                                  \
    int32_t stage = 0;                                                                 \
    for (int64_t k0 = 0; k0 < (K); k0 += TILE_K) {                                     \
        WEFTI_FETCH_WAIT(TILE_STAGES - 2);                                             \
        WEFTI_BARRIER();                                                               \
        const int64_t next = k0 + (TILE_STAGES - 1) * TILE_K;                          \
        const int32_t free_stage = stage == 0 ? TILE_STAGES - 1 : stage - 1;           \
        if (next < (K)) {                                                              \
            FETCH(free_stage, next);                                                   \
        }                                                                              \
        WEFTI_FETCH_COMMIT();                                                          \
        if (k0 + TILE_K <= (K)) {                                                      \
            WEFTI_UNROLL                                                               \
            for (int32_t k = 0; k < TILE_K; k += 4) {                                  \
                TILE_MULTIPLY_FOUR(k);                                                 \
            }                                                                          \
        } else {                                                                       \
            for (int32_t k = 0; k < (int32_t)((K)-k0); k++) {                          \
                TILE_MULTIPLY(k, a_tile[stage][TILE_ROW(i)][k]);                       \
            }                                                                          \
        }                                                                              \
        stage = stage == TILE_STAGES - 1 ? 0 : stage + 1;                              \
    }

/* Where a thread's fours of a wide A lie at k = 0, and which are in its rows. */
#define FIND_A_WIDE(from, row_stride, rows)                                            \
    const float *a_from[TILE_CHUNKS_A];                                                \
    uint32_t a_there = 0;                                                              \
    WEFTI_UNROLL                                                                       \
    for (int32_t i = 0; i < TILE_CHUNKS_A; i++) {                                      \
        const int32_t m = (thread + i * TILE_THREADS) / (TILE_K / 4);                  \
        a_from[i] = (from) + m * (row_stride) + TILE_FOUR_A(i);                        \
        a_there |= m < TILE_M && m0 + m < (rows) ? 1u << i : 0u;                       \
    }
#define TILE_FOUR_A(i) ((thread + (i) * TILE_THREADS) % (TILE_K / 4) * 4)
#define FETCH_A_WIDE(into, k_start, K)                                                 \
    WEFTI_UNROLL                                                                       \
    for (int32_t i = 0; i < TILE_CHUNKS_A; i++) {                                      \
        const int32_t m = (thread + i * TILE_THREADS) / (TILE_K / 4);                  \
        if (TILE_M * TILE_K / 4 % TILE_THREADS == 0 || m < TILE_M) {                   \
            WEFTI_FETCH_16(&a_tile[into][m][TILE_FOUR_A(i)], a_from[i] + (k_start),    \
                           (a_there >> i & 1u) != 0 &&                                 \
                               (k_start) + TILE_FOUR_A(i) < (K));                      \
        }                                                                              \
    }

#define FETCH_MATMUL(into, k_start)                                                    \
    do {                                                                               \
        if (call.a_wide) {                                                             \
            FETCH_A_WIDE(into, k_start, p->k)                                          \
        } else {                                                                       \
            for (int32_t at = thread; at < TILE_M * TILE_K; at += TILE_THREADS) {      \
                const int32_t m = a_along_m ? at % TILE_M : at / TILE_K;               \
                const int32_t k = a_along_m ? at / TILE_M : at % TILE_K;               \
                const bool there = m0 + m < p->m && (k_start) + k < p->k;              \
                const int64_t from =                                                   \
                    m * p->a_row_stride + ((k_start) + k) * p->a_column_stride;        \
                WEFTI_FETCH_4(&a_tile[into][m][k], a + (there ? from : 0), there);     \
            }                                                                          \
        }                                                                              \
        if (call.b_wide) {                                                             \
            const int64_t down = (k_start)*p->b_row_stride;                            \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < TILE_CHUNKS_B; i++) {                              \
                const int32_t at = thread + i * TILE_THREADS;                          \
                const int32_t k = at / (TILE_N / 4), n = at % (TILE_N / 4) * 4;        \
                if (TILE_N * TILE_K / 4 % TILE_THREADS == 0 || k < TILE_K) {           \
                    WEFTI_FETCH_16(&b_tile[into][k][n], b_from[i] + down,              \
                                   n0 + n < p->n && (k_start) + k < p->k);             \
                }                                                                      \
            }                                                                          \
        } else {                                                                       \
            for (int32_t at = thread; at < TILE_N * TILE_K; at += TILE_THREADS) {      \
                const int32_t n = b_along_k ? at / TILE_K : at % TILE_N;               \
                const int32_t k = b_along_k ? at % TILE_K : at / TILE_N;               \
                const bool there = n0 + n < p->n && (k_start) + k < p->k;              \
                const int64_t from =                                                   \
                    ((k_start) + k) * p->b_row_stride + n * p->b_column_stride;        \
                WEFTI_FETCH_4(&b_tile[into][k][n], b + (there ? from : 0), there);     \
            }                                                                          \
        }                                                                              \
    } while (0)

WEFTI_KERNEL(TILE_THREADS, TILE_NAME(matmul), wefti_cuda_matmul_call)
{
    const wefti_matmul_params *p = &call.p;
    TILE_BEGIN
    const uint32_t n_tiles = (uint32_t)call.n_tiles, m_tiles = (uint32_t)call.m_tiles;
    const int64_t m0 = (int64_t)(blockIdx.x / n_tiles % m_tiles) * TILE_M;
    const int64_t n0 = (int64_t)(blockIdx.x % n_tiles) * TILE_N;
    int64_t rest = blockIdx.x / n_tiles / m_tiles;
    int64_t a_at = 0, b_at = 0, c_at = 0;
    for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
        const int64_t i = rest % p->batch_dims[d];
        rest /= p->batch_dims[d];
        a_at += i * p->a_batch_strides[d];
        b_at += i * p->b_batch_strides[d];
        c_at += i * p->c_batch_strides[d];
    }
    /* The tile's first elements. */
    const float *a = (const float *)call.operands[WEFTI_MATMUL_A] + a_at +
                     m0 * p->a_row_stride;
    const float *b = (const float *)call.operands[WEFTI_MATMUL_B] + b_at +
                     n0 * p->b_column_stride;
    const bool a_along_m = p->a_row_stride == 1 && p->a_column_stride != 1;
    const bool b_along_k = p->b_row_stride == 1 && p->b_column_stride != 1;
    FIND_A_WIDE(a, p->a_row_stride, p->m)
    const float *b_from[TILE_CHUNKS_B];
    WEFTI_UNROLL
    for (int32_t i = 0; i < TILE_CHUNKS_B; i++) {
        const int32_t at = thread + i * TILE_THREADS;
        b_from[i] = b + at / (TILE_N / 4) * p->b_row_stride + at % (TILE_N / 4) * 4;
    }
    TILE_WALK(p->k, FETCH_MATMUL)
    WEFTI_UNROLL
    for (int32_t i = 0; i < PER_M; i++) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < PER_N; j += TILE_GROUP) {
            matmul_finish(&call, c_at, m0 + TILE_ROW(i), n0 + TILE_COLUMN(j), &sum[i][j],
                          TILE_GROUP);
        }
    }
}

/* A thread has one column of B's tile. */
#define FETCH_CONV(into, k_start)                                                      \
    do {                                                                               \
        if (call.a_wide) {                                                             \
            FETCH_A_WIDE(into, k_start, call.k)                                        \
        } else {                                                                       \
            for (int32_t at = thread; at < TILE_M * TILE_K; at += TILE_THREADS) {      \
                const int32_t m = at / TILE_K, k = at % TILE_K;                        \
                const bool there = m0 + m < call.m && (k_start) + k < call.k;          \
                WEFTI_FETCH_4(&a_tile[into][m][k],                                     \
                              weight + (there ? m * call.k + (k_start) + k : 0),       \
                              there);                                                  \
            }                                                                          \
        }                                                                              \
        if (call.positions <= WEFTI_CUDA_CONV_KNOWN_POSITIONS) {                       \
            /* All taps, before anything waits for one. */                             \
            wefti_cuda_tap tap[TILE_TAPS];                                             \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < TILE_TAPS; i++) {                                  \
                tap[i] = taps[(k_start) + i * (TILE_THREADS / TILE_N)];                \
            }                                                                          \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < TILE_TAPS; i++) {                                  \
                WEFTI_FETCH_4(TILE_TAP_AT(into, i), window.input + tap[i].offset,      \
                              (window.inside >> tap[i].position & 1u) != 0);           \
            }                                                                          \
        } else {                                                                       \
            WEFTI_ONCE                                                                 \
            for (int32_t i = 0; i < TILE_TAPS; i++) {                                  \
                const wefti_cuda_tap tap =                                             \
                    taps[(k_start) + i * (TILE_THREADS / TILE_N)];                     \
                WEFTI_FETCH_4(TILE_TAP_AT(into, i), window.input + tap.offset,         \
                              conv_is_inside(&window, tap.position));                  \
            }                                                                          \
        }                                                                              \
    } while (0)
/* How many elements of B's tile a thread fetches for a convolution, and where they go. */
#define TILE_TAPS (TILE_K * TILE_N / TILE_THREADS)
#define TILE_TAP_AT(into, i)                                                           \
    &b_tile[into][(i) * (TILE_THREADS / TILE_N) + thread / TILE_N][thread % TILE_N]

WEFTI_KERNEL(TILE_THREADS, TILE_NAME(conv), wefti_cuda_conv_call)
{
    TILE_BEGIN
    const uint32_t n_tiles = (uint32_t)call.n_tiles, m_tiles = (uint32_t)call.m_tiles;
    const int64_t m0 = (int64_t)(blockIdx.x / n_tiles % m_tiles) * TILE_M;
    const int64_t n0 = (int64_t)(blockIdx.x % n_tiles) * TILE_N;
    const int64_t group = (int64_t)(blockIdx.x / n_tiles / m_tiles);
    const float *weight = (const float *)call.operands[WEFTI_CONV_WEIGHT] +
                          (group * call.m + m0) * call.k;
    const wefti_cuda_tap *taps =
        (const wefti_cuda_tap *)call.operands[WEFTI_CUDA_CONV_TAPS] + thread / TILE_N;
    const conv_window window = conv_find(&call, group, n0 + thread % TILE_N);
    FIND_A_WIDE(weight, call.k, call.m)
    TILE_WALK(call.k, FETCH_CONV)
    WEFTI_UNROLL
    for (int32_t i = 0; i < PER_M; i++) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < PER_N; j += TILE_GROUP) {
            if (m0 + TILE_ROW(i) < call.m) {
                conv_finish(&call, group * call.m + m0 + TILE_ROW(i),
                            n0 + TILE_COLUMN(j), &sum[i][j], TILE_GROUP);
            }
        }
    }
}

#undef TILE_THREADS
#undef TILE_PITCH_A
#undef TILE_PITCH_B
#undef TILE_ROW
#undef TILE_COLUMN
#undef TILE_GROUP
#undef TILE_CHUNKS_A
#undef TILE_CHUNKS_B
#undef TILE_FOUR_A
#undef FIND_A_WIDE
#undef TILE_MULTIPLY
#undef TILE_MULTIPLY_FOUR
#undef TILE_BEGIN
#undef TILE_WALK
#undef FETCH_A_WIDE
#undef FETCH_MATMUL
#undef FETCH_CONV
#undef TILE_TAPS
#undef TILE_TAP_AT
#undef TILE_M
#undef TILE_N
#undef TILE_K
#undef PER_M
#undef PER_N
#undef TILE_STAGES
#undef TILE_NAME
