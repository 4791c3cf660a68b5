/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/kernels/dot_bytes.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/kernels/kernels.h"
#include "base/memory.h"

/* Products of bytes. Lanes lie along the columns; each step takes 4 bytes of a row of A
 * and, for each column, the 4 bytes of B that they meet: 4 values of k where the
 * processor multiplies bytes (A as u8, B as i8), else 2 as int16. B is packed by
 * panels:
 *
 *     panel[1 + steps][BYTES_COLUMNS], 4 bytes each; the first row holds the sums of
 * the columns as int32
 *
 * Bytes of the other sign have their highest bit turned over, which adds or takes 128,
 * and so has their zero point. With sums of rows and columns the zero points come in at
 * the end:
 *
 *     sum (a - p)(b - q) = sum ab - p sum b - q sum a + k p q     (modulo 2^32) */
enum {
    BYTES_COLUMNS = GEMM_COLUMNS,
    BYTES_ROWS = GEMM_ROWS,
    BYTES_TILE_ROWS = 8 * GEMM_ROWS,
    BYTES_TILE_PANELS = 4,
    BYTES_MOST_ROWS = 1024,
};

typedef struct bytes_plan {
    int32_t depth; /* values of k in a step: 4 or 2 */
    int64_t steps;
    bool packed;
    int64_t rows_per_tile, panels_per_tile, row_tiles, column_tiles;
} bytes_plan;

/* Some rows by one panel. */
typedef struct bytes_block {
    const int32_t *a, *panel; /* [rows][steps]; without the sums */
    int64_t steps;
    int32_t *sums; /* [BYTES_ROWS][BYTES_COLUMNS] */
} bytes_block;

#define UNROLL _Pragma("GCC unroll 16")
#define RUN_BLOCK(dot)                                                                 \
    do {                                                                               \
        vi acc[BYTES_ROWS][GEMM_VECTORS];                                              \
        UNROLL for (int32_t i = 0; i < rows; i++)                                      \
        {                                                                              \
            UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)                          \
            {                                                                          \
                acc[i][j] = vi_set1(0);                                                \
            }                                                                          \
        }                                                                              \
        const int32_t *b = g->panel;                                                   \
        for (int64_t s = 0; s < g->steps; s++, b += BYTES_COLUMNS) {                   \
            vi bv[GEMM_VECTORS];                                                       \
            UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)                          \
            {                                                                          \
                bv[j] = vi_load(b + j * WEFTI_LANES);                                  \
            }                                                                          \
            UNROLL for (int32_t i = 0; i < rows; i++)                                  \
            {                                                                          \
                const vi av = vi_set1(g->a[i * g->steps + s]);                         \
                UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)                      \
                {                                                                      \
                    acc[i][j] = dot(acc[i][j], av, bv[j]);                             \
                }                                                                      \
            }                                                                          \
        }                                                                              \
        UNROLL for (int32_t i = 0; i < rows; i++)                                      \
        {                                                                              \
            UNROLL for (int32_t j = 0; j < GEMM_VECTORS; j++)                          \
            {                                                                          \
                vi_store(g->sums + i * BYTES_COLUMNS + j * WEFTI_LANES, acc[i][j]);    \
            }                                                                          \
        }                                                                              \
    } while (0)

typedef void (*block_function)(const bytes_block *g);

#define PAIRS(count)                                                                   \
    static void pairs_##count(const bytes_block *g)                                    \
    {                                                                                  \
        enum { rows = count };                                                         \
        RUN_BLOCK(vi_dot_pairs);                                                       \
    }
PAIRS(1)
PAIRS(2)
PAIRS(3)
PAIRS(4)
PAIRS(5)
PAIRS(6)
static const block_function pairs[BYTES_ROWS] = {pairs_1, pairs_2, pairs_3,
                                                 pairs_4, pairs_5, pairs_6};

#if defined(DOT_FOURS)
#define FOURS(count)                                                                   \
    DOT_FOURS static void fours_##count(const bytes_block *g)                          \
    {                                                                                  \
        enum { rows = count };                                                         \
        RUN_BLOCK(vi_dot_fours);                                                       \
    }
FOURS(1)
FOURS(2)
FOURS(3)
FOURS(4)
FOURS(5)
FOURS(6)
static const block_function fours[BYTES_ROWS] = {fours_1, fours_2, fours_3,
                                                 fours_4, fours_5, fours_6};

static bool has_fours(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512vnni");
}
#else
static const block_function *const fours = pairs;

static bool has_fours(void)
{
    return false;
}
#endif

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* What turns a byte into one of the other sign: B becomes i8, A u8, for steps of 4. */
static uint8_t flip(int32_t depth, bool is_signed, bool wanted_signed)
{
    return depth == 4 && is_signed != wanted_signed ? 0x80 : 0;
}

/* A byte as the products see it. */
static int32_t value_of(uint8_t byte, uint8_t flipped, bool is_signed)
{
    const uint8_t bits = byte ^ flipped;
    return is_signed != (flipped != 0) ? (int8_t)bits : bits;
}

/* A value as element `i` of a step. */
static uint32_t in_step(int32_t value, int32_t depth, int64_t i)
{
    const uint32_t mask = depth == 4 ? 0xFF : 0xFFFF;
    return ((uint32_t)value & mask) << (32 / depth * i);
}

/* Packs columns [first, first + columns) of one B. */
static void pack_panel(int32_t *panel, const wefti_matmul_bytes_params *p,
                       const uint8_t *b, int64_t first, int32_t depth)
{
    const uint8_t flipped = flip(depth, p->b_signed, true);
    const int64_t columns = smaller(BYTES_COLUMNS, p->n - first);
    uint32_t sums[BYTES_COLUMNS] = {0};
    int32_t *step = panel;
    for (int64_t k = 0; k < p->k; k++) {
        const uint8_t *row = b + k * p->n + first;
        if (k % depth == 0) {
            step += BYTES_COLUMNS;
            memset(step, 0, sizeof(*step) * BYTES_COLUMNS);
        }
        for (int64_t j = 0; j < columns; j++) {
            const int32_t value = value_of(row[j], flipped, p->b_signed);
            sums[j] += (uint32_t)value;
            step[j] |= (int32_t)in_step(value, depth, k % depth);
        }
    }
    memcpy(panel, sums, sizeof(sums));
}

static void pack_all(void *packed, const void *constant,
                     const wefti_matmul_bytes_params *p, int32_t depth)
{
    int32_t *panel = packed;
    for (int64_t first = 0; first < p->n; first += BYTES_COLUMNS) {
        pack_panel(panel, p, constant, first, depth);
        panel += (1 + divide_up(p->k, depth)) * BYTES_COLUMNS;
    }
}

static void pack_fours(void *packed, const void *constant, const void *params)
{
    pack_all(packed, constant, params, 4);
}

static void pack_pairs(void *packed, const void *constant, const void *params)
{
    pack_all(packed, constant, params, 2);
}

/* Packs a row of A and returns its sum. */
static int32_t pack_row(int32_t *to, const uint8_t *row, int64_t k, int32_t depth,
                        bool is_signed)
{
    const uint8_t flipped = flip(depth, is_signed, false);
    uint32_t sum = 0;
    if (depth == 4) {
        uint8_t *bytes = (uint8_t *)to;
        for (int64_t i = 0; i < k; i++) {
            bytes[i] = row[i] ^ flipped;
            sum += bytes[i];
        }
        memset(bytes + k, 0, (size_t)(divide_up(k, 4) * 4 - k));
        return (int32_t)sum;
    }
    int16_t *pair = (int16_t *)to;
    for (int64_t i = 0; i < k; i++) {
        pair[i] = (int16_t)(is_signed ? (int8_t)row[i] : row[i]);
        sum += (uint32_t)pair[i];
    }
    if (k % 2 != 0) {
        pair[k] = 0;
    }
    return (int32_t)sum;
}

/* One thread's work on a tile. */
typedef struct bytes_tile {
    const wefti_cpu_call *call;
    const wefti_matmul_bytes_params *p;
    const bytes_plan *plan;
    int64_t batch, row, rows, column;
    int32_t *a, *row_sums, *panel; /* scratch */
    uint32_t a_zero;
} bytes_tile;

static void pack_rows(const bytes_tile *t)
{
    const wefti_matmul_bytes_params *p = t->p;
    const uint8_t *a = t->call->operands[WEFTI_MATMUL_BYTES_A];
    a += (t->batch * p->m + t->row) * p->k;
    for (int64_t i = 0; i < t->rows; i++) {
        t->row_sums[i] = pack_row(t->a + i * t->plan->steps, a + i * p->k, p->k,
                                  t->plan->depth, p->a_signed);
    }
}

/* The zero points of the panel's columns, as the products see B. */
static void read_zeros(const bytes_tile *t, int64_t columns, uint32_t *zeros)
{
    const wefti_matmul_bytes_params *p = t->p;
    const uint8_t *given = t->call->operands[WEFTI_MATMUL_BYTES_B_ZERO];
    const uint8_t flipped = flip(t->plan->depth, p->b_signed, true);
    for (int64_t j = 0; j < columns; j++) {
        const int64_t at = p->b_zero_by_column ? t->column + j : 0;
        const uint8_t zero = given == NULL ? 0 : given[at];
        zeros[j] = (uint32_t)value_of(zero, flipped, p->b_signed);
    }
}

/* Brings the zero points in and writes `rows` rows from `first` on. */
static void finish_block(const bytes_tile *t, const int32_t *panel, const int32_t *sums,
                         int64_t first, int64_t rows)
{
    const wefti_matmul_bytes_params *p = t->p;
    const int64_t columns = smaller(BYTES_COLUMNS, p->n - t->column);
    uint32_t zeros[BYTES_COLUMNS], start[BYTES_COLUMNS];
    read_zeros(t, columns, zeros);
    for (int64_t j = 0; j < columns; j++) {
        start[j] = t->a_zero * ((uint32_t)p->k * zeros[j] - (uint32_t)panel[j]);
    }
    int32_t *c = t->call->operands[WEFTI_MATMUL_BYTES_C];
    c += (t->batch * p->m + t->row + first) * p->n + t->column;
    for (int64_t i = 0; i < rows; i++) {
        const uint32_t row_sum = (uint32_t)t->row_sums[first + i];
        for (int64_t j = 0; j < columns; j++) {
            const uint32_t sum = (uint32_t)sums[i * BYTES_COLUMNS + j];
            c[i * p->n + j] = (int32_t)(sum + start[j] - row_sum * zeros[j]);
        }
    }
}

static void run_panel(const bytes_tile *t)
{
    const bytes_plan *plan = t->plan;
    const wefti_matmul_bytes_params *p = t->p;
    const block_function *run = plan->depth == 4 ? fours : pairs;
    const void *b = t->call->operands[WEFTI_MATMUL_BYTES_B];
    const int32_t *panel = t->panel;
    int32_t sums[BYTES_ROWS * BYTES_COLUMNS];
    if (plan->packed) {
        panel = (const int32_t *)b + t->column * (1 + plan->steps);
    } else {
        pack_panel(t->panel, p, (const uint8_t *)b + t->batch * p->k * p->n, t->column,
                   plan->depth);
    }
    int64_t blocks = divide_up(t->rows, BYTES_ROWS);
    for (int64_t i = 0; i < t->rows; blocks--) {
        const int64_t rows = divide_up(t->rows - i, blocks);
        const bytes_block block = {t->a + i * plan->steps, panel + BYTES_COLUMNS,
                                   plan->steps, sums};
        run[rows - 1](&block);
        finish_block(t, panel, sums, i, rows);
        i += rows;
    }
}

static weft_status bytes_tiles(const wefti_cpu_call *call, void *scratch, int64_t begin,
                               int64_t end, weft_error *error)
{
    (void)error;
    const wefti_matmul_bytes_params *p = call->params;
    const bytes_plan *plan = call->derived;
    const uint8_t *zero = call->operands[WEFTI_MATMUL_BYTES_A_ZERO];
    bytes_tile t = {.call = call, .p = p, .plan = plan, .a = scratch};
    const uint8_t flipped = flip(plan->depth, p->a_signed, false);
    t.a_zero = (uint32_t)value_of(zero == NULL ? 0 : *zero, flipped, p->a_signed);
    t.row_sums = t.a + plan->rows_per_tile * plan->steps;
    t.panel = t.row_sums + plan->rows_per_tile;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t columns = tile % plan->column_tiles;
        const int64_t row_tile = tile / plan->column_tiles;
        t.batch = row_tile / plan->row_tiles;
        t.row = row_tile % plan->row_tiles * plan->rows_per_tile;
        t.rows = smaller(plan->rows_per_tile, p->m - t.row);
        pack_rows(&t);
        t.column = columns * plan->panels_per_tile * BYTES_COLUMNS;
        for (int64_t i = 0; i < plan->panels_per_tile && t.column < p->n; i++) {
            run_panel(&t);
            t.column += BYTES_COLUMNS;
        }
    }
    return WEFT_OK;
}

static void pack_constant(const wefti_matmul_bytes_params *p, const bytes_plan *plan,
                          wefti_cpu_prepared *prepared)
{
    const int64_t panels = divide_up(p->n, BYTES_COLUMNS);
    prepared->packed_operand = WEFTI_MATMUL_BYTES_B;
    prepared->packed_bytes =
        sizeof(int32_t) * (size_t)(panels * (1 + plan->steps) * BYTES_COLUMNS);
    prepared->pack = plan->depth == 4 ? pack_fours : pack_pairs;
    const uint64_t layout[6] = {WEFTI_KERNEL_MATMUL_BYTES,
                                BYTES_COLUMNS,
                                (uint64_t)plan->depth,
                                (uint64_t)p->n,
                                (uint64_t)p->k,
                                p->b_signed};
    memcpy(prepared->packed_layout, layout, sizeof(layout));
}

/* A panel that is packed here is packed for many rows. */
static void choose_tiles(const wefti_matmul_bytes_params *p, bytes_plan *plan)
{
    const int64_t rows = plan->packed ? BYTES_TILE_ROWS : BYTES_MOST_ROWS;
    const int64_t m = p->m > 0 ? p->m : 1;
    plan->rows_per_tile = divide_up(m, divide_up(m, rows));
    plan->panels_per_tile = plan->packed ? BYTES_TILE_PANELS : 1;
    plan->row_tiles = divide_up(p->m, plan->rows_per_tile);
    plan->column_tiles = divide_up(p->n, plan->panels_per_tile * BYTES_COLUMNS);
}

weft_status WEFTI_ISA_NAME(wefti_prepare_matmul_bytes)(const wefti_step *step,
                                                       bool may_pack,
                                                       wefti_cpu_prepared *prepared,
                                                       weft_error *error)
{
    const wefti_matmul_bytes_params *p = step->params;
    bytes_plan *plan = wefti_calloc(1, sizeof(*plan));
    if (plan == NULL) {
        return wefti_error_memory(error, "a plan for products of bytes");
    }
    prepared->derived = plan;
    prepared->function = bytes_tiles;
    plan->depth = has_fours() ? 4 : 2;
    plan->steps = divide_up(p->k, plan->depth);
    plan->packed = may_pack && p->batch == 1 && p->n > 0 &&
                   step->operands[WEFTI_MATMUL_BYTES_B].constant != NULL;
    choose_tiles(p, plan);
    if (plan->packed) {
        pack_constant(p, plan, prepared);
    }
    prepared->tile_count = p->batch * plan->row_tiles * plan->column_tiles;
    const int64_t panel = plan->packed ? 0 : (1 + plan->steps) * BYTES_COLUMNS;
    prepared->scratch_bytes =
        sizeof(int32_t) * (size_t)(plan->rows_per_tile * (plan->steps + 1) + panel);
    const double columns = (double)divide_up(p->n, BYTES_COLUMNS) * BYTES_COLUMNS;
    const double work = (double)p->batch * columns * (double)p->k;
    prepared->work_ns =
        gemm_work_ns(work * ((double)p->m / plan->depth + (plan->packed ? 1.0 : 40.0)));
    (void)snprintf(prepared->description, sizeof(prepared->description),
                   "%s %dx%d, %d at once", plan->packed ? "packed" : "packed here",
                   BYTES_ROWS, BYTES_COLUMNS, (int)plan->depth);
    return WEFT_OK;
}
