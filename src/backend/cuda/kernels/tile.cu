/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product in tiles, for MATMUL and CONV; included once for each shape, which
 * TILE_M, TILE_N, TILE_K, PER_M, PER_N and TILE_NAME(kernel) give. A block makes TILE_M
 * x TILE_N outputs, a thread PER_M x PER_N of them, and walks along k in steps of
 * TILE_K through two buffers: one is filled while the other is used.
 *
 * Each output is one chain of fused multiply-adds, k ascending, whatever the shape: so
 * all shapes give the same bits, and the host may choose by size alone. The last step
 * must not go beyond k: adding +0 would turn -0 into +0. */

#define TILE_THREADS ((TILE_M / PER_M) * (TILE_N / PER_N))
#define TILE_LOADS_A (TILE_M * TILE_K / TILE_THREADS)
#define TILE_LOADS_B (TILE_N * TILE_K / TILE_THREADS)
/* A thread's outputs lie in groups of up to 4, so that shared memory is read 16 bytes
 * at a time. */
#define TILE_GROUP_M (PER_M < 4 ? PER_M : 4)
#define TILE_GROUP_N (PER_N < 4 ? PER_N : 4)
#define TILE_ROW(ty, i)                                                                \
    ((i) / TILE_GROUP_M * (TILE_M * TILE_GROUP_M / PER_M) + (ty)*TILE_GROUP_M +        \
     (i) % TILE_GROUP_M)
#define TILE_COLUMN(tx, j)                                                             \
    ((j) / TILE_GROUP_N * (TILE_N * TILE_GROUP_N / PER_N) + (tx)*TILE_GROUP_N +        \
     (j) % TILE_GROUP_N)

#define TILE_MULTIPLY(buffer, k)                                                       \
    do {                                                                               \
        float left[PER_M], right[PER_N];                                               \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < PER_M; i++) {                                          \
            left[i] = a_tile[buffer][k][TILE_ROW(ty, i)];                              \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t j = 0; j < PER_N; j++) {                                          \
            right[j] = b_tile[buffer][k][TILE_COLUMN(tx, j)];                          \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < PER_M; i++) {                                          \
            WEFTI_UNROLL                                                               \
            for (int32_t j = 0; j < PER_N; j++) {                                      \
                sum[i][j] = fmaf(left[i], right[j], sum[i][j]);                        \
            }                                                                          \
        }                                                                              \
    } while (0)

/* Declares what both kernels hold. */
#define TILE_BEGIN                                                                     \
    WEFTI_SHARED float a_tile[2][TILE_K][TILE_M + 4];                                  \
    WEFTI_SHARED float b_tile[2][TILE_K][TILE_N + 4];                                  \
    const int32_t thread = (int32_t)threadIdx.x;                                       \
    const int32_t tx = thread % (TILE_N / PER_N), ty = thread / (TILE_N / PER_N);      \
    float sum[PER_M][PER_N];                                                           \
    float a_next[TILE_LOADS_A], b_next[TILE_LOADS_B];                                  \
    WEFTI_UNROLL                                                                       \
    for (int32_t i = 0; i < PER_M; i++) {                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t j = 0; j < PER_N; j++) {                                          \
            sum[i][j] = 0.0f;                                                          \
        }                                                                              \
    }

/* Walks along k; LOAD(k) fetches the tiles that begin at k into a_next and b_next,
 * KEEP(buffer) puts them into shared memory. */
#define TILE_WALK(K, LOAD, KEEP)                                                       \
    LOAD((int64_t)0);                                                                  \
    KEEP(0);                                                                           \
    WEFTI_BARRIER();                                                                   \
    int32_t buffer = 0;                                                                \
    for (int64_t k0 = 0; k0 < (K); k0 += TILE_K) {                                     \
        const bool more = k0 + TILE_K < (K);                                           \
        if (more) {                                                                    \
            LOAD(k0 + TILE_K);                                                         \
        }                                                                              \
        if (k0 + TILE_K <= (K)) {                                                      \
            WEFTI_UNROLL                                                               \
            for (int32_t k = 0; k < TILE_K; k++) {                                     \
                TILE_MULTIPLY(buffer, k);                                              \
            }                                                                          \
        } else {                                                                       \
            for (int32_t k = 0; k < (int32_t)((K)-k0); k++) {                          \
                TILE_MULTIPLY(buffer, k);                                              \
            }                                                                          \
        }                                                                              \
        if (more) {                                                                    \
            buffer ^= 1;                                                               \
            KEEP(buffer);                                                              \
            WEFTI_BARRIER();                                                           \
        }                                                                              \
    }

/* A thread must have four elements to fetch. */
#define TILE_WIDE_A (TILE_LOADS_A % 4 == 0 && call.a_wide)
#define TILE_WIDE_B (TILE_LOADS_B % 4 == 0 && call.b_wide)

/* One element, or four that lie side by side where `wide` says so: then the i-th of a
 * group of 4 loads is the i-th of them, and a step goes to the next group. */
#define LOAD_OPERAND(next, loads, pointer, wide, in_range)                             \
    do {                                                                               \
        if (wide) {                                                                    \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < loads / 4; i++) {                                  \
                device_float4 four = {0.0f, 0.0f, 0.0f, 0.0f};                         \
                if (in_range) {                                                        \
                    four = *(const device_float4 *)(pointer);                          \
                }                                                                      \
                next[4 * i] = four.x;                                                  \
                next[4 * i + 1] = four.y;                                              \
                next[4 * i + 2] = four.z;                                              \
                next[4 * i + 3] = four.w;                                              \
            }                                                                          \
        } else {                                                                       \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < loads; i++) {                                      \
                next[i] = in_range ? *(pointer) : 0.0f;                                \
            }                                                                          \
        }                                                                              \
    } while (0)

#define LOAD_MATMUL(k_start)                                                           \
    do {                                                                               \
        const int64_t a_k0 = (k_start) + a_k, b_k0 = (k_start) + b_k;                  \
        const float *a_from = a_first + (k_start)*p->a_column_stride;                  \
        const float *b_from = b_first + (k_start)*p->b_row_stride;                     \
        LOAD_OPERAND(a_next, TILE_LOADS_A, a_from + i * a_jump, TILE_WIDE_A,            \
                     m0 + a_m + i * a_m_step < p->m && a_k0 + i * a_k_step < p->k);    \
        LOAD_OPERAND(b_next, TILE_LOADS_B, b_from + i * b_jump, TILE_WIDE_B,            \
                     n0 + b_n + i * b_n_step < p->n && b_k0 + i * b_k_step < p->k);    \
    } while (0)

#define KEEP_OPERAND(tile, buffer, next, loads, name, size, wide, along_k)             \
    do {                                                                               \
        if (wide) {                                                                    \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < loads; i++) {                                      \
                const int32_t k = name##_k + i / 4 * name##_k_step;                    \
                const int32_t at = name##_##size + i / 4 * name##_##size##_step;       \
                tile[buffer][along_k ? k + i % 4 : k][along_k ? at : at + i % 4] =     \
                    next[i];                                                           \
            }                                                                          \
        } else {                                                                       \
            WEFTI_UNROLL                                                               \
            for (int32_t i = 0; i < loads; i++) {                                      \
                tile[buffer][name##_k + i * name##_k_step]                             \
                    [name##_##size + i * name##_##size##_step] = next[i];              \
            }                                                                          \
        }                                                                              \
    } while (0)

#define KEEP_MATMUL(buffer)                                                            \
    do {                                                                               \
        KEEP_OPERAND(a_tile, buffer, a_next, TILE_LOADS_A, a, m, TILE_WIDE_A,           \
                     !a_along_m);                                                      \
        KEEP_OPERAND(b_tile, buffer, b_next, TILE_LOADS_B, b, n, TILE_WIDE_B,           \
                     b_along_k);                                                       \
    } while (0)

#define KEEP_CONV(buffer)                                                              \
    do {                                                                               \
        KEEP_OPERAND(a_tile, buffer, a_next, TILE_LOADS_A, a, m, false, true);         \
        KEEP_OPERAND(b_tile, buffer, b_next, TILE_LOADS_B, b, n, false, false);        \
    } while (0)

/* Which element a thread fetches first, and the way to its next: neighbours along k or
 * along m (n), as they lie in memory. */
#define TILE_ALONG_K(name, size)                                                       \
    const int32_t name##_k = thread % TILE_K, name##_k_step = 0;                       \
    const int32_t name##_##size = thread / TILE_K,                                     \
                  name##_##size##_step = TILE_THREADS / TILE_K;

WEFTI_KERNEL(TILE_THREADS, TILE_NAME(matmul), wefti_cuda_matmul_call)
{
    const wefti_matmul_params *p = &call.p;
    TILE_BEGIN
    const int64_t m0 = (int64_t)blockIdx.x / call.n_tiles % call.m_tiles * TILE_M;
    const int64_t n0 = (int64_t)blockIdx.x % call.n_tiles * TILE_N;
    int64_t rest = (int64_t)blockIdx.x / call.n_tiles / call.m_tiles;
    int64_t a_at = 0, b_at = 0, c_at = 0;
    for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
        const int64_t i = rest % p->batch_dims[d];
        rest /= p->batch_dims[d];
        a_at += i * p->a_batch_strides[d];
        b_at += i * p->b_batch_strides[d];
        c_at += i * p->c_batch_strides[d];
    }
    const float *a = (const float *)call.operands[WEFTI_MATMUL_A] + a_at;
    const float *b = (const float *)call.operands[WEFTI_MATMUL_B] + b_at;
    const bool a_along_m = p->a_row_stride == 1 && p->a_column_stride != 1;
    const bool b_along_k = p->b_row_stride == 1 && p->b_column_stride != 1;
    /* Neighbouring threads fetch what lies side by side; wide, a thread is as 4. */
    const int32_t a_each = TILE_WIDE_A ? 4 : 1, b_each = TILE_WIDE_B ? 4 : 1;
    const int32_t a_lane = thread * a_each, b_lane = thread * b_each;
    const int32_t a_k = a_along_m ? a_lane / TILE_M : a_lane % TILE_K;
    const int32_t a_m = a_along_m ? a_lane % TILE_M : a_lane / TILE_K;
    const int32_t a_k_step = a_along_m ? TILE_THREADS * a_each / TILE_M : 0;
    const int32_t a_m_step = a_along_m ? 0 : TILE_THREADS * a_each / TILE_K;
    const int32_t b_k = b_along_k ? b_lane % TILE_K : b_lane / TILE_N;
    const int32_t b_n = b_along_k ? b_lane / TILE_K : b_lane % TILE_N;
    const int32_t b_k_step = b_along_k ? 0 : TILE_THREADS * b_each / TILE_N;
    const int32_t b_n_step = b_along_k ? TILE_THREADS * b_each / TILE_K : 0;
    const float *a_first = a + (m0 + a_m) * p->a_row_stride + a_k * p->a_column_stride;
    const float *b_first = b + b_k * p->b_row_stride + (n0 + b_n) * p->b_column_stride;
    const int64_t a_jump = a_m_step * p->a_row_stride + a_k_step * p->a_column_stride;
    const int64_t b_jump = b_n_step * p->b_column_stride + b_k_step * p->b_row_stride;
    TILE_WALK(p->k, LOAD_MATMUL, KEEP_MATMUL)
    WEFTI_UNROLL
    for (int32_t i = 0; i < PER_M; i++) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < PER_N; j++) {
            const int64_t m = m0 + TILE_ROW(ty, i), n = n0 + TILE_COLUMN(tx, j);
            if (m < p->m && n < p->n) {
                matmul_finish(&call, c_at, m, n, sum[i][j]);
            }
        }
    }
}

#define LOAD_CONV(k_start)                                                             \
    do {                                                                               \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < TILE_LOADS_A; i++) {                                   \
            const int64_t m = m0 + a_m + i * a_m_step;                                 \
            const int64_t k = (k_start) + a_k + i * a_k_step;                          \
            a_next[i] = m < call.m && k < call.k ? weight[m * call.k + k] : 0.0f;      \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t i = 0; i < TILE_LOADS_B; i++) {                                   \
            const int64_t k = (k_start) + b_k + i * b_k_step;                          \
            b_next[i] = there && k < call.k                                            \
                            ? conv_input(&call.p, input, &first, &taps[k])             \
                            : 0.0f;                                                    \
        }                                                                              \
    } while (0)

WEFTI_KERNEL(TILE_THREADS, TILE_NAME(conv), wefti_cuda_conv_call)
{
    TILE_BEGIN
    const int64_t m0 = (int64_t)blockIdx.x / call.n_tiles % call.m_tiles * TILE_M;
    const int64_t n0 = (int64_t)blockIdx.x % call.n_tiles * TILE_N;
    const int64_t group = (int64_t)blockIdx.x / call.n_tiles / call.m_tiles;
    const float *weight =
        (const float *)call.operands[WEFTI_CONV_WEIGHT] + group * call.m * call.k;
    const wefti_cuda_tap *taps =
        (const wefti_cuda_tap *)call.operands[WEFTI_CUDA_CONV_TAPS];
    TILE_ALONG_K(a, m)
    const int32_t b_k = thread / TILE_N, b_k_step = TILE_THREADS / TILE_N;
    const int32_t b_n = thread % TILE_N, b_n_step = 0;
    const bool there = n0 + b_n < call.n;
    wefti_cuda_tap first = {0, 0, 0, 0};
    const float *input =
        there ? conv_window(&call, group, n0 + b_n, &first) : (const float *)0;
    TILE_WALK(call.k, LOAD_CONV, KEEP_CONV)
    WEFTI_UNROLL
    for (int32_t i = 0; i < PER_M; i++) {
        WEFTI_UNROLL
        for (int32_t j = 0; j < PER_N; j++) {
            const int64_t m = m0 + TILE_ROW(ty, i), n = n0 + TILE_COLUMN(tx, j);
            if (m < call.m && n < call.n) {
                conv_finish(&call, group * call.m + m, n, sum[i][j]);
            }
        }
    }
}

#undef TILE_THREADS
#undef TILE_LOADS_A
#undef TILE_LOADS_B
#undef TILE_GROUP_M
#undef TILE_GROUP_N
#undef TILE_ROW
#undef TILE_COLUMN
#undef TILE_MULTIPLY
#undef TILE_BEGIN
#undef TILE_WALK
#undef LOAD_MATMUL
#undef LOAD_OPERAND
#undef TILE_WIDE_A
#undef TILE_WIDE_B
#undef KEEP_OPERAND
#undef KEEP_MATMUL
#undef KEEP_CONV
#undef TILE_ALONG_K
#undef LOAD_CONV
#undef TILE_M
#undef TILE_N
#undef TILE_K
#undef PER_M
#undef PER_N
#undef TILE_NAME
