/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_KERNELS_MMA_H
#define WEFTI_BACKEND_CUDA_KERNELS_MMA_H

#include "backend/cuda/kernels/device.h"

/* The products of a warp on tensor cores: 16 x 8 outputs and 16 steps of k, 8 for tf32,
 * from operands in shared memory, which are rounded on the way: to bf16 or f16 half to
 * even, to tf32 half away from zero. Sums are f32.
 *
 *   mma_left_FORMAT(tile, pitch)           A, f32, element (m, k) at m * pitch + k
 *   mma_right_FORMAT(tile, n, k)           B, f32, element (k, n) at n * n_pitch + k *
 *                                          k_pitch, one of which is 1
 *   mma_left_at_FORMAT(at, pitch)          A, by an address in shared memory
 *   mma_right_at_FORMAT(at, pitch)         B, packed, element (k, n) at n * pitch + k
 *   mma_FORMAT(sums, left, right)          sums += left * right
 *
 * A thread has four sums: rows MMA_ROW and MMA_ROW + 8, columns MMA_COLUMN and the
 * next. All threads of the warp call them together, between barriers. An operand is a
 * piece of registers on a card; as C it tells where it lies, and a thread makes its own
 * four sums from there: the products are exact in f64, added up with k ascending, and
 * the f32 sum is then rounded once. */
enum {
    MMA_DEPTH_bf16 = 16,
    MMA_DEPTH_f16 = 16,
    MMA_DEPTH_tf32 = 8,
};

/* How far apart rows of a tile lie beyond a multiple of 32, so that a warp reads other
 * banks: of f32 along k, of f32 along n, and of packed elements along k. */
#define MMA_GAP_K_bf16 8
#define MMA_GAP_K_f16 8
#define MMA_GAP_K_tf32 4
#define MMA_GAP_N_bf16 4
#define MMA_GAP_N_f16 4
#define MMA_GAP_N_tf32 8
#define MMA_GAP_PACKED_bf16 8
#define MMA_GAP_PACKED_f16 8
#define MMA_GAP_PACKED_tf32 4

/* How a packed element is kept. */
typedef uint16_t mma_packed_bf16;
typedef uint16_t mma_packed_f16;
typedef float mma_packed_tf32;

#define MMA_LANE ((int32_t)threadIdx.x % 32)
#define MMA_ROW (MMA_LANE / 4)
#define MMA_COLUMN (MMA_LANE % 4 * 2)

#if defined(__CUDACC__)

typedef struct mma_left {
    uint32_t r[4];
} mma_left;
typedef struct mma_right {
    uint32_t r[2];
} mma_right;

WEFTI_DEVICE uint32_t mma_round_bf16(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

WEFTI_DEVICE uint32_t mma_round_f16(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

WEFTI_DEVICE uint32_t mma_round_tf32(float x)
{
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

/* An address in shared memory, found once: the compiler would find it again each time.
 */
typedef uint32_t mma_at;

WEFTI_DEVICE mma_at mma_find_at(const void *shared)
{
    mma_at at = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("" : "+r"(at));
    return at;
}

WEFTI_DEVICE void mma_fetch_16(mma_at to, const char *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0));
}

WEFTI_DEVICE float2 mma_read_two(mma_at from)
{
    float2 two;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(two.x), "=f"(two.y)
                 : "r"(from));
    return two;
}

WEFTI_DEVICE float mma_read_one(mma_at from)
{
    float one;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(one) : "r"(from));
    return one;
}

WEFTI_DEVICE uint32_t mma_read_pair(mma_at from)
{
    uint32_t pair;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(pair) : "r"(from));
    return pair;
}

/* The 16-bit formats: registers hold pairs of neighbours along k. */
#define MMA_PAIRS(format)                                                              \
    WEFTI_DEVICE uint32_t mma_pair_##format(const float *from)                         \
    {                                                                                  \
        const float2 two = *(const float2 *)from;                                      \
        return mma_round_##format(two.x, two.y);                                       \
    }                                                                                  \
    WEFTI_DEVICE mma_left mma_left_##format(const float *tile, int32_t pitch)          \
    {                                                                                  \
        const float *from = tile + MMA_ROW * pitch + MMA_COLUMN;                       \
        const mma_left left = {                                                        \
            {mma_pair_##format(from), mma_pair_##format(from + 8 * pitch),             \
             mma_pair_##format(from + 8), mma_pair_##format(from + 8 * pitch + 8)}};   \
        return left;                                                                   \
    }                                                                                  \
    WEFTI_DEVICE mma_right mma_right_##format(const float *tile, int32_t n_pitch,      \
                                              int32_t k_pitch)                         \
    {                                                                                  \
        const float *from = tile + MMA_ROW * n_pitch + MMA_COLUMN * k_pitch;           \
        if (k_pitch == 1) {                                                            \
            const mma_right right = {                                                  \
                {mma_pair_##format(from), mma_pair_##format(from + 8)}};               \
            return right;                                                              \
        }                                                                              \
        const mma_right right = {                                                      \
            {mma_round_##format(from[0], from[k_pitch]),                               \
             mma_round_##format(from[8 * k_pitch], from[9 * k_pitch])}};               \
        return right;                                                                  \
    }                                                                                  \
    WEFTI_DEVICE uint32_t mma_pair_at_##format(mma_at from)                            \
    {                                                                                  \
        const float2 two = mma_read_two(from);                                         \
        return mma_round_##format(two.x, two.y);                                       \
    }                                                                                  \
    WEFTI_DEVICE mma_left mma_left_at_##format(mma_at tile, int32_t pitch)             \
    {                                                                                  \
        const mma_at from = tile + (MMA_ROW * pitch + MMA_COLUMN) * 4;                 \
        const mma_left left = {{mma_pair_at_##format(from),                            \
                                mma_pair_at_##format(from + 32 * pitch),               \
                                mma_pair_at_##format(from + 32),                       \
                                mma_pair_at_##format(from + 32 * pitch + 32)}};        \
        return left;                                                                   \
    }                                                                                  \
    WEFTI_DEVICE mma_right mma_right_at_##format(mma_at tile, int32_t pitch)           \
    {                                                                                  \
        const mma_at from = tile + (MMA_ROW * pitch + MMA_COLUMN) * 2;                 \
        const mma_right right = {{mma_read_pair(from), mma_read_pair(from + 16)}};     \
        return right;                                                                  \
    }                                                                                  \
    WEFTI_DEVICE void mma_##format(float sums[4], mma_left left, mma_right right)      \
    {                                                                                  \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." #format "." #format               \
            ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"     \
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])               \
            : "r"(left.r[0]), "r"(left.r[1]), "r"(left.r[2]), "r"(left.r[3]),          \
              "r"(right.r[0]), "r"(right.r[1]));                                       \
    }
MMA_PAIRS(bf16)
MMA_PAIRS(f16)
#undef MMA_PAIRS

WEFTI_DEVICE mma_left mma_left_tf32(const float *tile, int32_t pitch)
{
    const float *from = tile + MMA_ROW * pitch + MMA_LANE % 4;
    const mma_left left = {{mma_round_tf32(from[0]), mma_round_tf32(from[8 * pitch]),
                            mma_round_tf32(from[4]),
                            mma_round_tf32(from[8 * pitch + 4])}};
    return left;
}

WEFTI_DEVICE mma_right mma_right_tf32(const float *tile, int32_t n_pitch,
                                      int32_t k_pitch)
{
    const float *from = tile + MMA_ROW * n_pitch + MMA_LANE % 4 * k_pitch;
    const mma_right right = {
        {mma_round_tf32(from[0]), mma_round_tf32(from[4 * k_pitch])}};
    return right;
}

WEFTI_DEVICE mma_left mma_left_at_tf32(mma_at tile, int32_t pitch)
{
    const mma_at from = tile + (MMA_ROW * pitch + MMA_LANE % 4) * 4;
    const mma_left left = {{mma_round_tf32(mma_read_one(from)),
                            mma_round_tf32(mma_read_one(from + 32 * pitch)),
                            mma_round_tf32(mma_read_one(from + 16)),
                            mma_round_tf32(mma_read_one(from + 32 * pitch + 16))}};
    return left;
}

WEFTI_DEVICE mma_right mma_right_at_tf32(mma_at tile, int32_t pitch)
{
    const mma_at from = tile + (MMA_ROW * pitch + MMA_LANE % 4) * 4;
    const mma_right right = {
        {mma_round_tf32(mma_read_one(from)), mma_round_tf32(mma_read_one(from + 16))}};
    return right;
}

WEFTI_DEVICE void mma_tf32(float sums[4], mma_left left, mma_right right)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left.r[0]), "r"(left.r[1]), "r"(left.r[2]), "r"(left.r[3]),
          "r"(right.r[0]), "r"(right.r[1]));
}

#else

typedef struct mma_left {
    const float *tile;
    int32_t pitch;
} mma_left;
typedef struct mma_right {
    const float *tile;
    const uint16_t *packed; /* NULL: f32 */
    int32_t n_pitch, k_pitch;
} mma_right;

typedef char *mma_at;

static inline mma_at mma_find_at(void *shared)
{
    return shared;
}

static inline void mma_fetch_16(mma_at to, const char *from, bool there)
{
    WEFTI_FETCH_16(to, from, there);
}

/* To the nearest with `bits` bits less, half to even, and 0 to the right. */
static inline float mma_shorten(float x, int32_t bits)
{
    const uint32_t u = (uint32_t)ref_bits(x), one = 1u << bits;
    return ref_from_bits((int32_t)((u + one / 2 - 1 + (u >> bits & 1u)) & ~(one - 1)));
}

static inline float mma_round_bf16(float x)
{
    return x != x ? x : mma_shorten(x, 16);
}

static inline float mma_round_f16(float x)
{
    if (fabsf(x) < 0x1p-14f) {
        const float one_and_a_half = copysignf(0.75f, x); /* its last bit is 2^-24 */
        return x + one_and_a_half - one_and_a_half;
    }
    const float rounded = x != x || fabsf(x) == INFINITY ? x : mma_shorten(x, 13);
    return fabsf(rounded) >= 65536.0f ? copysignf(INFINITY, x) : rounded;
}

static inline float mma_round_tf32(float x)
{
    const uint32_t u = (uint32_t)ref_bits(x);
    return x != x ? x : ref_from_bits((int32_t)((u + 0x1000u) & 0xffffe000u));
}

static inline float mma_widen_bf16(uint16_t x)
{
    return ref_from_bits((int32_t)((uint32_t)x << 16));
}

static inline float mma_widen_f16(uint16_t x)
{
    const uint32_t magnitude = (uint32_t)(x & 0x7fff) << 13;
    float value = ref_from_bits((int32_t)magnitude) * 0x1p112f;
    if (magnitude >= 0x0f800000u) {
        value = magnitude == 0x0f800000u ? INFINITY : NAN;
    }
    return (x & 0x8000) != 0 ? -value : value;
}

static inline float mma_widen_tf32(uint16_t x)
{
    return (float)x; /* is never packed so */
}

#define MMA_AS_C(format)                                                               \
    static inline mma_left mma_left_##format(const float *tile, int32_t pitch)         \
    {                                                                                  \
        return (mma_left){tile, pitch};                                                \
    }                                                                                  \
    static inline mma_left mma_left_at_##format(mma_at tile, int32_t pitch)            \
    {                                                                                  \
        return (mma_left){(const float *)(const void *)tile, pitch};                   \
    }                                                                                  \
    static inline mma_right mma_right_##format(const float *tile, int32_t n_pitch,     \
                                               int32_t k_pitch)                        \
    {                                                                                  \
        return (mma_right){tile, NULL, n_pitch, k_pitch};                              \
    }                                                                                  \
    static inline void mma_##format(float sums[4], mma_left left, mma_right right)     \
    {                                                                                  \
        for (int32_t i = 0; i < 4; i++) {                                              \
            const float *a = left.tile + (MMA_ROW + i / 2 * 8) * left.pitch;           \
            const int32_t at = (MMA_COLUMN + i % 2) * right.n_pitch;                   \
            double sum = 0.0;                                                          \
            for (int32_t k = 0; k < MMA_DEPTH_##format; k++) {                         \
                const int32_t from = at + k * right.k_pitch;                           \
                const float b = right.packed != NULL                                   \
                                    ? mma_widen_##format(right.packed[from])           \
                                    : mma_round_##format(right.tile[from]);            \
                sum += (double)mma_round_##format(a[k]) * (double)b;                   \
            }                                                                          \
            sums[i] = (float)((double)sums[i] + sum);                                  \
        }                                                                              \
    }
MMA_AS_C(bf16)
MMA_AS_C(f16)
MMA_AS_C(tf32)
#undef MMA_AS_C

static inline mma_right mma_right_at_bf16(mma_at tile, int32_t pitch)
{
    return (mma_right){NULL, (const uint16_t *)(const void *)tile, pitch, 1};
}
static inline mma_right mma_right_at_f16(mma_at tile, int32_t pitch)
{
    return (mma_right){NULL, (const uint16_t *)(const void *)tile, pitch, 1};
}
static inline mma_right mma_right_at_tf32(mma_at tile, int32_t pitch)
{
    return (mma_right){(const float *)(const void *)tile, NULL, pitch, 1};
}

#endif

/* Where a matrix of f32 lies. `wide`: four neighbours of a row may be read at once, and
 * are inside of the matrix together. */
typedef struct mma_matrix {
    const float *data;
    int64_t row_stride, column_stride;
    bool wide;
} mma_matrix;

/* A tile of shared memory. */
typedef struct mma_tile {
    float *data;
    int32_t pitch, rows, columns;
} mma_tile;

/* Fetches rows [0, rows) x columns [0, columns) of a matrix into a tile, the rest as
 * zeros, one element at a time. `threads` of the block call it. */
WEFTI_DEVICE_CALL void mma_fetch_each(mma_tile to, mma_matrix from, int64_t rows,
                                      int64_t columns, int32_t threads)
{
    float *tile = to.data;
    const bool down = from.row_stride == 1 && from.column_stride != 1;
    WEFTI_ONCE
    for (int32_t at = (int32_t)threadIdx.x; at < to.rows * to.columns; at += threads) {
        const int32_t row = down ? at % to.rows : at / to.columns;
        const int32_t column = down ? at / to.rows : at % to.columns;
        const bool there = row < rows && column < columns;
        const int64_t offset = row * from.row_stride + column * from.column_stride;
        WEFTI_FETCH_4(tile + row * to.pitch + column, from.data + (there ? offset : 0),
                      there);
    }
}

/* The same, four at a time where the matrix is wide. */
WEFTI_DEVICE void mma_fetch(mma_tile to, mma_matrix from, int64_t rows, int64_t columns,
                            int32_t threads)
{
    float *tile = to.data;
    const int32_t across = to.columns / 4;
    if (!from.wide) {
        mma_fetch_each(to, from, rows, columns, threads);
        return;
    }
    WEFTI_UNROLL
    for (int32_t i = 0; i < (to.rows * across + threads - 1) / threads; i++) {
        const int32_t at = (int32_t)threadIdx.x + i * threads;
        const int32_t row = at / across, column = at % across * 4;
        const bool there = row < rows && column < columns;
        if (at < to.rows * across) {
            WEFTI_FETCH_16(tile + row * to.pitch + column,
                           from.data + (there ? row * from.row_stride + column : 0),
                           there);
        }
    }
}

/* What one thread fetches of rows of bytes, 16 at a time: tile after tile along the
 * rows the same pieces. Found once, so that little is left to do for each. */
typedef struct mma_stream {
    const char *from;  /* its first piece of the next tile */
    int64_t row_bytes; /* from one of its rows to the next */
    int32_t to,
        to_bytes;   /* where that piece goes, and how far the next goes from there */
    int32_t left;   /* pieces of the row from there on; none: 0 or less */
    uint32_t there; /* bits: its rows that are inside */
} mma_stream;

/* Of `tile_rows` rows with `across` pieces each, which lie `pitch` bytes apart in the
 * tile; the matrix has `rows` rows of `pieces`, `row_bytes` apart. */
WEFTI_DEVICE mma_stream mma_begin(const char *from, int64_t row_bytes, int64_t rows,
                                  int64_t pieces, mma_tile tile, int32_t threads)
{
    const int32_t row = (int32_t)threadIdx.x / tile.columns;
    const int32_t piece = (int32_t)threadIdx.x % tile.columns;
    const int32_t together = threads / tile.columns;
    mma_stream s;
    s.from = from + row * row_bytes + piece * 16;
    s.row_bytes = together * row_bytes;
    s.to = row * tile.pitch + piece * 16;
    s.to_bytes = together * tile.pitch;
    s.left = (int32_t)pieces - piece;
    s.there = 0;
    WEFTI_UNROLL
    for (int32_t i = 0; i < (tile.rows + together - 1) / together; i++) {
        s.there |= row + i * together < rows ? 1u << i : 0u;
    }
    return s;
}

/* Begins to fetch the next tile, which has `rows` of a thread's rows. */
WEFTI_DEVICE void mma_fetch_next(mma_stream *s, mma_at tile, int32_t across,
                                 int32_t rows)
{
    WEFTI_UNROLL
    for (int32_t i = 0; i < rows; i++) {
        mma_fetch_16(tile + s->to + i * s->to_bytes, s->from + i * s->row_bytes,
                     s->left > 0 && (s->there >> i & 1u) != 0);
    }
    s->from += across * 16;
    s->left -= across;
}

#endif
