/* SPDX-License-Identifier: Apache-2.0 */
/* MATMUL and CONV on tensor cores; included once for each format and shape, which
 * MMA_FORMAT and the words of mma_shapes.cu give. A block makes TILE_M x TILE_N
 * outputs, a warp an equal part of them, and walks along k through buffers that are
 * fetched ahead of their use.
 *
 * Each output is one chain of mma instructions, k ascending, with zeros behind k up
 * to a multiple of WEFTI_CUDA_MMA_WHOLE_K, whatever the shape: so all shapes give the
 * same bits on one kind of card, and the host may choose by size alone. */

#define MMA_PASTE_(a, b, c, d) a##_##b##_##c##x##d
#define MMA_PASTE(a, b, c, d) MMA_PASTE_(a, b, c, d)
#define MMA_NAME(kernel) MMA_PASTE(kernel, MMA_FORMAT, TILE_M, TILE_N)
#define MMA_OF_(name, format) name##_##format
#define MMA_OF__(name, format) MMA_OF_(name, format)
#define MMA_OF(name) MMA_OF__(name, MMA_FORMAT)

#define MMA_THREADS (32 * WARPS_M * WARPS_N)
#define MMA_STEP MMA_OF(MMA_DEPTH)
#define PACKED_K (PACKED_STEPS * MMA_STEP)
#define WARP_M (TILE_M / WARPS_M)
#define WARP_N (TILE_N / WARPS_N)
#define PITCH_A (TILE_K + MMA_OF(MMA_GAP_K))
#define PITCH_B (TILE_N + MMA_OF(MMA_GAP_N))
#define PACKED_PITCH_A (PACKED_K + MMA_OF(MMA_GAP_K))
#define PACKED_PITCH_B (PACKED_K + MMA_OF(MMA_GAP_PACKED))
/* Elements of a tile. */
#define A_SIZE (TILE_M * PITCH_A)
#define B_SIZE (TILE_K * PITCH_B)
#define DEEP_SIZE (B_SIZE > TILE_N * PITCH_A ? B_SIZE : TILE_N * PITCH_A)
#define PACKED_A_SIZE (TILE_M * PACKED_PITCH_A)
#define PACKED_B_SIZE (TILE_N * PACKED_PITCH_B)
#define RESULTS_PITCH (TILE_N + 4)
/* A's tiles make room for the results, which may be more. */
#define OR_RESULTS(size)                                                               \
    ((size) > TILE_M * RESULTS_PITCH ? (size) : TILE_M * RESULTS_PITCH)
#define PACKED_SIZE ((int32_t)sizeof(MMA_OF(mma_packed)))

/* A thread's sums: [16 rows of the warp][8 columns of the warp][4]. */
#define MMA_SUMS sums[WARP_M / 16][WARP_N / 8][4]
/* Where the warp's outputs begin in the tile. */
#define WARP_ROW ((int32_t)threadIdx.x / 32 / WARPS_N * WARP_M)
#define WARP_COLUMN ((int32_t)threadIdx.x / 32 % WARPS_N * WARP_N)

WEFTI_DEVICE void MMA_NAME(mma_clear)(float MMA_SUMS)
{
    WEFTI_UNROLL
    for (int32_t i = 0; i < WARP_M * WARP_N / 32; i++) {
        sums[i / 4 / (WARP_N / 8)][i / 4 % (WARP_N / 8)][i % 4] = 0.0f;
    }
}

WEFTI_DEVICE void MMA_NAME(mma_multiply)(float MMA_SUMS,
                                         const mma_left left[WARP_M / 16],
                                         const mma_right right[WARP_N / 8])
{
    WEFTI_UNROLL
    for (int32_t i = 0; i < WARP_M / 16; i++) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < WARP_N / 8; j++) {
            MMA_OF(mma)(sums[i][j], left[i], right[j]);
        }
    }
}

/* One step of the chain from tiles of f32, A along k and B along n, or along k too
 * where it is deep. */
WEFTI_DEVICE void MMA_NAME(mma_step)(float MMA_SUMS, const float *a, const float *b,
                                     int32_t k, bool deep)
{
    mma_left left[WARP_M / 16];
    mma_right right[WARP_N / 8];
    WEFTI_UNROLL
    for (int32_t i = 0; i < WARP_M / 16; i++) {
        left[i] = MMA_OF(mma_left)(a + (WARP_ROW + 16 * i) * PITCH_A + k, PITCH_A);
    }
    WEFTI_UNROLL
    for (int32_t j = 0; j < WARP_N / 8; j++) {
        const int32_t n = WARP_COLUMN + 8 * j;
        right[j] = deep ? MMA_OF(mma_right)(b + n * PITCH_A + k, PITCH_A, 1)
                        : MMA_OF(mma_right)(b + k * PITCH_B + n, 1, PITCH_B);
    }
    MMA_NAME(mma_multiply)(sums, left, right);
}

WEFTI_DEVICE void MMA_NAME(mma_step_packed)(float MMA_SUMS, mma_at a, mma_at b,
                                            int32_t k)
{
    mma_left left[WARP_M / 16];
    mma_right right[WARP_N / 8];
    WEFTI_UNROLL
    for (int32_t i = 0; i < WARP_M / 16; i++) {
        left[i] = MMA_OF(mma_left_at)(
            a + ((WARP_ROW + 16 * i) * PACKED_PITCH_A + k) * 4, PACKED_PITCH_A);
    }
    WEFTI_UNROLL
    for (int32_t j = 0; j < WARP_N / 8; j++) {
        right[j] = MMA_OF(mma_right_at)(
            b + ((WARP_COLUMN + 8 * j) * PACKED_PITCH_B + k) * PACKED_SIZE,
            PACKED_PITCH_B);
    }
    MMA_NAME(mma_multiply)(sums, left, right);
}

/* Walks along k; FETCH(stage, k) begins to fetch the tiles that begin at k,
 * MULTIPLY(stage, k) does the step at k of a tile. A group is committed for every turn,
 * also where nothing is fetched, so that the count of those left is right. The code is
 * there once, since a small run waits for it to be read; the first turns only fetch. */
#define MMA_WALK(K, DEPTH, STAGES, FETCH, MULTIPLY)                                    \
    const int32_t turns =                                                              \
        (int32_t)(((K) + WEFTI_CUDA_MMA_WHOLE_K - 1) / WEFTI_CUDA_MMA_WHOLE_K) *       \
        (WEFTI_CUDA_MMA_WHOLE_K / DEPTH);                                              \
    int32_t stage = 0, into = 0;                                                       \
    WEFTI_ONCE                                                                         \
    for (int32_t turn = 1 - STAGES; turn < turns; turn++) {                            \
        const int32_t next = turn + STAGES - 1;                                        \
        if (turn >= 0) {                                                               \
            WEFTI_FETCH_WAIT(STAGES - 2);                                              \
            WEFTI_BARRIER();                                                           \
        }                                                                              \
        if (next < turns) {                                                            \
            FETCH(into, (int64_t)next *DEPTH);                                         \
        }                                                                              \
        WEFTI_FETCH_COMMIT();                                                          \
        into = into == STAGES - 1 ? 0 : into + 1;                                      \
        if (turn >= 0) {                                                               \
            WEFTI_UNROLL                                                               \
            for (int32_t k = 0; k < DEPTH; k += MMA_STEP) {                            \
                MULTIPLY(stage, k);                                                    \
            }                                                                          \
            stage = stage == STAGES - 1 ? 0 : stage + 1;                               \
        }                                                                              \
    }

/* The sums of all warps come together in the tile's memory, which nobody reads any
 * more, so that a thread finishes four neighbours at a time. */
WEFTI_DEVICE void MMA_NAME(mma_gather)(float *results, float MMA_SUMS)
{
    WEFTI_BARRIER();
    WEFTI_UNROLL
    for (int32_t i = 0; i < WARP_M * WARP_N / 32; i++) {
        const int32_t row = WARP_ROW + i / 2 % 2 * 8 + i / 4 / (WARP_N / 8) * 16;
        const int32_t column = WARP_COLUMN + i / 4 % (WARP_N / 8) * 8 + i % 2;
        results[(row + MMA_ROW) * RESULTS_PITCH + column + MMA_COLUMN] =
            sums[i / 4 / (WARP_N / 8)][i / 4 % (WARP_N / 8)][i % 4];
    }
    WEFTI_BARRIER();
}

WEFTI_DEVICE void MMA_NAME(mma_finish)(const wefti_cuda_matmul_call *call,
                                       const mma_place *at, const float *results)
{
    WEFTI_ONCE
    for (int32_t i = (int32_t)threadIdx.x; i < TILE_M * TILE_N / 4; i += MMA_THREADS) {
        const int32_t row = i / (TILE_N / 4), column = i % (TILE_N / 4) * 4;
        float four[4];
        product_read(four, results + row * RESULTS_PITCH + column, 4);
        matmul_finish(call, at->c, at->m + row, at->n + column, four, 4);
    }
}

WEFTI_KERNEL(MMA_THREADS, MMA_NAME(weft_matmul), wefti_cuda_matmul_call)
{
    WEFTI_SHARED float a_tile[OR_RESULTS(TILE_STAGES * A_SIZE)];
    WEFTI_SHARED float b_tile[TILE_STAGES * DEEP_SIZE];
    const wefti_matmul_params *p = &call.p;
    const mma_place at = mma_find(&call, TILE_M, TILE_N);
    const bool deep = call.b_deep != 0;
    mma_matrix a = mma_find_a(&call, &at);
    mma_matrix b = {
        (const float *)call.operands[WEFTI_MATMUL_B] + at.b + at.n * p->b_column_stride,
        deep ? p->b_column_stride : p->b_row_stride,
        deep ? p->b_row_stride : p->b_column_stride, call.b_wide != 0 || deep};
    float MMA_SUMS;
    MMA_NAME(mma_clear)(sums);
#define FETCH(into, k_start)                                                           \
    const mma_tile to_a = {a_tile + (into)*A_SIZE, PITCH_A, TILE_M, TILE_K};           \
    const mma_tile to_b = {b_tile + (into)*DEEP_SIZE, PITCH_B, TILE_K, TILE_N};        \
    const mma_tile to_deep = {b_tile + (into)*DEEP_SIZE, PITCH_A, TILE_N, TILE_K};     \
    mma_fetch(to_a, a, p->m - at.m, p->k - (k_start), MMA_THREADS);                    \
    if (deep) {                                                                        \
        mma_fetch(to_deep, b, p->n - at.n, p->k - (k_start), MMA_THREADS);             \
    } else {                                                                           \
        mma_fetch(to_b, b, p->k - (k_start), p->n - at.n, MMA_THREADS);                \
    }                                                                                  \
    a.data += TILE_K * a.column_stride;                                                \
    b.data += TILE_K * p->b_row_stride
#define MULTIPLY(from, k)                                                              \
    MMA_NAME(mma_step)                                                                 \
    (sums, a_tile + (from)*A_SIZE, b_tile + (from)*DEEP_SIZE, k, deep)
    MMA_WALK(p->k, TILE_K, TILE_STAGES, FETCH, MULTIPLY)
#undef FETCH
#undef MULTIPLY
    MMA_NAME(mma_gather)(a_tile, sums);
    MMA_NAME(mma_finish)(&call, &at, a_tile);
}

/* B is a constant that was laid out along k, rounded already. A thread fetches the same
 * pieces of 16 bytes of each tile: A_PIECES to a row, in A_ROWS rows of its own. */
#define A_PIECES (PACKED_K / 4)
#define A_ROWS (TILE_M * A_PIECES / MMA_THREADS)
#define B_PIECES (PACKED_K * PACKED_SIZE / 16)
#define B_ROWS (TILE_N * B_PIECES / MMA_THREADS)

WEFTI_KERNEL(MMA_THREADS, MMA_NAME(weft_packed), wefti_cuda_matmul_call)
{
    WEFTI_SHARED float a_tile[OR_RESULTS(PACKED_STAGES * PACKED_A_SIZE)];
    WEFTI_SHARED MMA_OF(mma_packed) b_tile[PACKED_STAGES * PACKED_B_SIZE];
    const wefti_matmul_params *p = &call.p;
    const mma_place at = mma_find(&call, TILE_M, TILE_N);
    const mma_at a_at = mma_find_at(a_tile), b_at = mma_find_at(b_tile);
    const int64_t row_bytes = p->b_column_stride * PACKED_SIZE;
    const mma_tile like_a = {NULL, PACKED_PITCH_A * 4, TILE_M, A_PIECES};
    const mma_tile like_b = {NULL, PACKED_PITCH_B * PACKED_SIZE, TILE_N, B_PIECES};
    mma_matrix a = mma_find_a(&call, &at);
    mma_stream a_stream = mma_begin((const char *)a.data, a.row_stride * 4, p->m - at.m,
                                    p->k / 4, like_a, MMA_THREADS);
    mma_stream b_stream =
        mma_begin((const char *)call.operands[WEFTI_MATMUL_B] + at.n * row_bytes,
                  row_bytes, p->n - at.n, row_bytes / 16, like_b, MMA_THREADS);
    float MMA_SUMS;
    MMA_NAME(mma_clear)(sums);
#define FETCH(into, k_start)                                                           \
    if (a.wide) {                                                                      \
        mma_fetch_next(&a_stream, a_at + (into)*PACKED_A_SIZE * 4, A_PIECES, A_ROWS);  \
    } else {                                                                           \
        const mma_tile to_a = {a_tile + (into)*PACKED_A_SIZE, PACKED_PITCH_A, TILE_M,  \
                               PACKED_K};                                              \
        mma_fetch_each(to_a, a, p->m - at.m, p->k - (k_start), MMA_THREADS);           \
        a.data += PACKED_K * a.column_stride;                                          \
    }                                                                                  \
    mma_fetch_next(&b_stream, b_at + (into)*PACKED_B_SIZE * PACKED_SIZE, B_PIECES,     \
                   B_ROWS)
#define MULTIPLY_PACKED(from, k)                                                       \
    MMA_NAME(mma_step_packed)                                                          \
    (sums, a_at + (from)*PACKED_A_SIZE * 4, b_at + (from)*PACKED_B_SIZE * PACKED_SIZE, \
     k)
    MMA_WALK(p->k, PACKED_K, PACKED_STAGES, FETCH, MULTIPLY_PACKED)
#undef FETCH
    MMA_NAME(mma_gather)(a_tile, sums);
    MMA_NAME(mma_finish)(&call, &at, a_tile);
}

WEFTI_KERNEL(MMA_THREADS, MMA_NAME(weft_conv), wefti_cuda_conv_call)
{
    WEFTI_SHARED float a_tile[OR_RESULTS(TILE_STAGES * A_SIZE)];
    WEFTI_SHARED float b_tile[TILE_STAGES * B_SIZE];
    const int32_t column = (int32_t)threadIdx.x % TILE_N;
    const int32_t first = (int32_t)threadIdx.x / TILE_N;
    const uint32_t n_tiles = (uint32_t)call.n_tiles, m_tiles = (uint32_t)call.m_tiles;
    const int64_t m0 = (int64_t)(blockIdx.x / n_tiles % m_tiles) * TILE_M;
    const int64_t n0 = (int64_t)(blockIdx.x % n_tiles) * TILE_N;
    const int64_t group = blockIdx.x / n_tiles / m_tiles;
    mma_matrix weight = {(const float *)call.operands[WEFTI_CONV_WEIGHT] +
                             (group * call.m + m0) * call.k,
                         call.k, 1, call.a_wide != 0};
    const wefti_cuda_tap *taps =
        (const wefti_cuda_tap *)call.operands[WEFTI_CUDA_CONV_TAPS] + first;
    const conv_window window = conv_find(&call, group, n0 + column);
    float MMA_SUMS;
    MMA_NAME(mma_clear)(sums);
    /* A thread has one column of B's tile, and every TAP_STEP-th of its rows. */
#define TAP_STEP (MMA_THREADS / TILE_N)
#define TAPS (TILE_K / TAP_STEP)
#define FETCH(into, k_start)                                                           \
    const mma_tile to_a = {a_tile + (into)*A_SIZE, PITCH_A, TILE_M, TILE_K};           \
    mma_fetch(to_a, weight, call.m - m0, call.k - (k_start), MMA_THREADS);             \
    weight.data += TILE_K;                                                             \
    float *to_b = b_tile + (into)*B_SIZE + first * PITCH_B + column;                   \
    if (call.positions <= WEFTI_CUDA_CONV_KNOWN_POSITIONS) {                           \
        /* All taps, before anything waits for one. */                                 \
        wefti_cuda_tap tap[TAPS];                                                      \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < TAPS; i++) {                                           \
            tap[i] = taps[(k_start) + i * TAP_STEP];                                   \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < TAPS; i++) {                                           \
            WEFTI_FETCH_4(to_b + i * TAP_STEP * PITCH_B, window.input + tap[i].offset, \
                          (window.inside >> tap[i].position & 1u) != 0);               \
        }                                                                              \
    } else {                                                                           \
        WEFTI_ONCE                                                                     \
        for (int32_t i = 0; i < TAPS; i++) {                                           \
            const wefti_cuda_tap tap = taps[(k_start) + i * TAP_STEP];                 \
            WEFTI_FETCH_4(to_b + i * TAP_STEP * PITCH_B, window.input + tap.offset,    \
                          conv_is_inside(&window, tap.position));                      \
        }                                                                              \
    }
#define MULTIPLY(from, k)                                                              \
    MMA_NAME(mma_step)(sums, a_tile + (from)*A_SIZE, b_tile + (from)*B_SIZE, k, false)
    MMA_WALK(call.k, TILE_K, TILE_STAGES, FETCH, MULTIPLY)
#undef FETCH
#undef TAPS
#undef TAP_STEP
#undef MULTIPLY
    MMA_NAME(mma_gather)(a_tile, sums);
    WEFTI_ONCE
    for (int32_t i = (int32_t)threadIdx.x; i < TILE_M * TILE_N / 4; i += MMA_THREADS) {
        const int64_t m = m0 + i / (TILE_N / 4);
        const int32_t n = i % (TILE_N / 4) * 4;
        float four[4];
        product_read(four, a_tile + i / (TILE_N / 4) * RESULTS_PITCH + n, 4);
        if (m < call.m) {
            conv_finish(&call, group * call.m + m, n0 + n, four, 4);
        }
    }
}

#undef MMA_PASTE_
#undef MMA_PASTE
#undef MMA_NAME
#undef MMA_OF_
#undef MMA_OF__
#undef MMA_OF
#undef MMA_THREADS
#undef MMA_STEP
#undef WARP_M
#undef WARP_N
#undef PITCH_A
#undef PITCH_B
#undef PACKED_PITCH_A
#undef PACKED_PITCH_B
#undef A_SIZE
#undef B_SIZE
#undef DEEP_SIZE
#undef PACKED_A_SIZE
#undef PACKED_B_SIZE
#undef RESULTS_PITCH
#undef OR_RESULTS
#undef PACKED_SIZE
#undef MMA_SUMS
#undef WARP_ROW
#undef WARP_COLUMN
#undef MMA_WALK
#undef MULTIPLY_PACKED
#undef A_PIECES
#undef A_ROWS
#undef B_PIECES
#undef B_ROWS
#undef TILE_M
#undef TILE_N
#undef TILE_K
#undef TILE_STAGES
#undef PACKED_K
#undef PACKED_STEPS
#undef PACKED_STAGES
#undef WARPS_M
#undef WARPS_N
