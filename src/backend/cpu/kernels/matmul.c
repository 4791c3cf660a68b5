/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/kernels/activation.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/kernels/kernels.h"
#include "base/memory.h"
#include "base/testing.h"

/* A tile is one panel of columns (two when there is one row) by some rows of one
 * product. Tiles of the same panel follow each other, so that a thread which does a
 * range of them packs the panel once and finds it in its cache. */
typedef enum matmul_source {
    MATMUL_PACKED,   /* B is a constant, packed once per model */
    MATMUL_IN_PLACE, /* B's rows are read where they are; the last panel is packed */
    MATMUL_KEEP,     /* so too, but packed as the first rows go over it */
    MATMUL_SCRATCH,  /* each panel is packed before it is used */
} matmul_source;

typedef struct matmul_plan {
    matmul_source source;
    int64_t rows_per_tile, row_tiles;
    int64_t panels_per_tile, column_tiles;
    int64_t k_block; /* at most this much of K is packed or in the cache at once */
    uint32_t flags;  /* of gemm_block, but for GEMM_FINISH */
} matmul_plan;

enum {
    /* A panel of B that is gone through row by row stays below this in bytes. */
    MATMUL_PANEL_BYTES = 512 * 1024,
    MATMUL_TILE_MULTIPLY_ADDS = 2 * 1024 * 1024,
    MATMUL_FEW_ROWS = 64, /* up to here reading in place is the faster */
    /* A panel whose rows lie within this many bytes stays in the cache as it is. */
    MATMUL_NEAR_BYTES = 32 * 1024,
};

/* Work on one tile. */
typedef struct matmul_tile {
    const wefti_cpu_call *call;
    const wefti_matmul_params *params;
    const matmul_plan *plan;
    const float *b; /* of the batch; MATMUL_PACKED: of all */
    int64_t first_row, rows, first_column;
    int32_t columns;
    float *panel; /* scratch for a packed panel */
    float *sums;  /* scratch for sums when K is cut */
    bool panel_ready;
    gemm_block block; /* what is the same for all of K */
} matmul_tile;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static const float *offset_or_null(const void *p, int64_t offset)
{
    return p == NULL ? NULL : (const float *)p + offset;
}

/* Where rows [k, k + count) of the tile's panel are, packed now if need be. */
static void place_b(matmul_tile *t, gemm_block *g, int64_t k, int64_t count)
{
    const wefti_matmul_params *p = t->params;
    const int32_t width = gemm_padded(t->columns);
    if (t->plan->source == MATMUL_PACKED) {
        g->b = t->b + t->first_column * p->k + k * width;
        g->b_row = width;
        if (t->rows > GEMM_ROWS && count == p->k &&
            t->first_column + 2 * GEMM_COLUMNS <= p->n) {
            g->next = g->b + p->k * GEMM_COLUMNS;
        }
        return;
    }
    const float *b = t->b + k * p->b_row_stride + t->first_column * p->b_column_stride;
    const bool kept = t->plan->source == MATMUL_KEEP && t->columns == GEMM_COLUMNS;
    const bool whole = t->plan->source == MATMUL_IN_PLACE && t->columns == width;
    if (!t->panel_ready && (kept || whole)) {
        g->b = b;
        g->b_row = p->b_row_stride;
        if (kept && t->rows > GEMM_ROWS) {
            g->keep = t->panel;
            t->panel_ready = t->plan->k_block >= p->k;
        }
        return;
    }
    if (!t->panel_ready) {
        gemm_source source = {b, p->b_row_stride, p->b_column_stride};
        gemm_pack(t->panel, source, count, t->columns);
        t->panel_ready = t->plan->k_block >= p->k;
    }
    g->b = t->panel;
    g->b_row = width;
}

/* Spoils the order of the sums. */
static void sum_from_the_end(gemm_block *g)
{
    g->a_skip += (g->k - 1) * g->a_column;
    g->b += (g->k - 1) * g->b_row;
    g->a_column = -g->a_column;
    g->b_row = -g->b_row;
}

/* One piece of K for the whole tile. */
static void run_piece(matmul_tile *t, int64_t k, bool first, bool last)
{
    const wefti_matmul_params *p = t->params;
    const int64_t count = smaller(t->plan->k_block, p->k - k);
    gemm_block g = t->block;
    g.a_skip = k * p->a_column_stride;
    g.k = count;
    place_b(t, &g, k, count);
    if (!first) {
        g.start = t->sums;
        g.start_row = GEMM_COLUMNS;
    }
    if (last) {
        g.flags = t->plan->flags | GEMM_FINISH;
    } else {
        g.flags = 0;
        g.c = t->sums;
        g.c_row = GEMM_COLUMNS;
        g.c_rows = NULL;
        g.c_skip = 0;
        g.residual = NULL;
        g.bias_row = NULL;
    }
    if (wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER) && g.keep == NULL) {
        sum_from_the_end(&g);
    }
    gemm_rows(&g, t->rows, t->columns);
}

static void run_tile(matmul_tile *t)
{
    const wefti_matmul_params *p = t->params;
    int64_t k = 0;
    do {
        const int64_t next = k + t->plan->k_block;
        run_piece(t, k, k == 0, next >= p->k);
        k = next;
    } while (k < p->k);
    if (activation_is_pass(p->activation)) {
        activation_tile done = {t->block.c + t->block.c_skip, p->c_row_stride, t->rows,
                                t->columns};
        activation_apply(p->activation, p->activation_alpha, done);
    }
}

/* One row, two whole panels. */
static void run_pair(matmul_tile *t)
{
    const wefti_matmul_params *p = t->params;
    gemm_block g = t->block;
    g.k = p->k;
    g.flags = t->plan->flags | GEMM_FINISH;
    place_b(t, &g, 0, p->k);
    const int64_t second =
        t->plan->source == MATMUL_PACKED ? p->k * GEMM_COLUMNS : GEMM_COLUMNS;
    gemm_row_pair(&g, g.b + second);
    if (activation_is_pass(p->activation)) {
        activation_tile done = {g.c + g.c_skip, p->c_row_stride, 1, 2 * GEMM_COLUMNS};
        activation_apply(p->activation, p->activation_alpha, done);
    }
}

/* Offsets of one product of the batch. */
static void batch_offsets(const wefti_matmul_params *p, int64_t index, int64_t *a,
                          int64_t *b, int64_t *c)
{
    *a = *b = *c = 0;
    for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
        const int64_t i = index % p->batch_dims[d];
        index /= p->batch_dims[d];
        *a += i * p->a_batch_strides[d];
        *b += i * p->b_batch_strides[d];
        *c += i * p->c_batch_strides[d];
    }
}

static void place_tile(matmul_tile *t, int64_t batch, int64_t column_tile,
                       int64_t row_tile)
{
    const wefti_matmul_params *p = t->params;
    void *const *operands = t->call->operands;
    int64_t a, b, c;
    batch_offsets(p, batch, &a, &b, &c);
    t->first_row = row_tile * t->plan->rows_per_tile;
    t->rows = smaller(t->plan->rows_per_tile, p->m - t->first_row);
    t->first_column = column_tile * t->plan->panels_per_tile * GEMM_COLUMNS;
    c += t->first_row * p->c_row_stride;
    t->b = (const float *)operands[WEFTI_MATMUL_B] + b;
    t->block = (gemm_block){
        .a = (const float *)operands[WEFTI_MATMUL_A] + a +
             t->first_row * p->a_row_stride,
        .a_row = p->a_row_stride,
        .a_column = p->a_column_stride,
        .a_rows =
            (const void *const *)wefti_cpu_rows(t->call, WEFTI_MATMUL_A, t->first_row),
        .c = (float *)operands[WEFTI_MATMUL_C] + c,
        .c_row = p->c_row_stride,
        .c_rows = wefti_cpu_rows(t->call, WEFTI_MATMUL_C, t->first_row),
        .c_skip = t->first_column,
        .alpha = p->alpha,
        .residual =
            offset_or_null(operands[WEFTI_MATMUL_RESIDUAL], c + t->first_column),
        .last_lanes = WEFTI_LANES,
    };
    if (p->bias == WEFTI_BIAS_COLUMN) {
        t->block.bias_column =
            offset_or_null(operands[WEFTI_MATMUL_BIAS], t->first_column);
    } else if (p->bias == WEFTI_BIAS_ROW) {
        t->block.bias_row = offset_or_null(operands[WEFTI_MATMUL_BIAS], t->first_row);
    }
}

/* The panels of the tile that place_tile chose. */
static void run_panels(matmul_tile *t)
{
    const wefti_matmul_params *p = t->params;
    const int64_t width = t->plan->panels_per_tile * GEMM_COLUMNS;
    int64_t left = smaller(width, p->n - t->first_column);
    if (t->plan->panels_per_tile == 2 && left == width) {
        t->columns = GEMM_COLUMNS;
        run_pair(t);
        return;
    }
    while (left > 0) {
        t->columns = (int32_t)smaller(left, GEMM_COLUMNS);
        run_tile(t);
        left -= t->columns;
        t->first_column += t->columns;
        t->block.c_skip += t->columns;
        t->block.residual = offset_or_null(t->block.residual, t->columns);
        t->block.bias_column = offset_or_null(t->block.bias_column, t->columns);
    }
}

static weft_status matmul_tiles(const wefti_cpu_call *call, void *scratch,
                                int64_t begin, int64_t end, weft_error *error)
{
    (void)error;
    const matmul_plan *plan = call->derived;
    if (begin >= end) {
        return WEFT_OK;
    }
    matmul_tile t = {
        .call = call, .params = call->params, .plan = plan, .panel = scratch};
    if (scratch != NULL) {
        t.sums = t.panel + smaller(plan->k_block, t.params->k) * GEMM_COLUMNS;
    }
    int64_t row_tile = begin % plan->row_tiles;
    int64_t column_tile = begin / plan->row_tiles % plan->column_tiles;
    int64_t batch = begin / plan->row_tiles / plan->column_tiles;
    for (int64_t tile = begin; tile < end; tile++) {
        place_tile(&t, batch, column_tile, row_tile);
        run_panels(&t);
        if (++row_tile == plan->row_tiles) {
            row_tile = 0;
            t.panel_ready = false;
            if (++column_tile == plan->column_tiles) {
                column_tile = 0;
                batch++;
            }
        }
    }
    return WEFT_OK;
}

/* All panels of a constant B, each k rows of its own padded width. */
static void pack_constant(void *packed, const void *constant, const void *params)
{
    const wefti_matmul_params *p = params;
    float *to = packed;
    for (int64_t column = 0; column < p->n; column += GEMM_COLUMNS) {
        const int32_t columns = (int32_t)smaller(GEMM_COLUMNS, p->n - column);
        gemm_source source = {(const float *)constant + column * p->b_column_stride,
                              p->b_row_stride, p->b_column_stride};
        gemm_pack(to, source, p->k, columns);
        to += p->k * gemm_padded(columns);
    }
}

static bool one_b_for_all(const wefti_matmul_params *p)
{
    for (int32_t d = 0; d < p->batch_rank; d++) {
        if (p->batch_dims[d] > 1 && p->b_batch_strides[d] != 0) {
            return false;
        }
    }
    return true;
}

static int64_t batch_count(const wefti_matmul_params *p)
{
    int64_t count = 1;
    for (int32_t d = 0; d < p->batch_rank; d++) {
        count *= p->batch_dims[d];
    }
    return count;
}

static void choose_tiles(const wefti_matmul_params *p, matmul_plan *plan)
{
    const int64_t k = p->k > 0 ? p->k : 1;
    plan->panels_per_tile = p->m == 1 && plan->source <= MATMUL_IN_PLACE ? 2 : 1;
    plan->column_tiles = divide_up(p->n, plan->panels_per_tile * GEMM_COLUMNS);
    plan->k_block = MATMUL_PANEL_BYTES / (GEMM_COLUMNS * (int64_t)sizeof(float));
    if (k <= plan->k_block || (p->m <= GEMM_ROWS && plan->source <= MATMUL_IN_PLACE)) {
        plan->k_block = k;
    } else {
        plan->k_block = divide_up(k, divide_up(k, plan->k_block));
    }
    int64_t rows = MATMUL_TILE_MULTIPLY_ADDS / GEMM_COLUMNS / k;
    const int64_t least = 8 * GEMM_ROWS;
    rows = rows < least ? least : (rows > 1024 ? 1024 : rows);
    rows = p->m > rows ? divide_up(p->m, divide_up(p->m, rows)) : p->m + (p->m == 0);
    plan->rows_per_tile = divide_up(rows, GEMM_ROWS) * GEMM_ROWS;
    plan->row_tiles = divide_up(p->m, plan->rows_per_tile);
}

static uint32_t flags_of(const wefti_step *step)
{
    const wefti_matmul_params *p = step->params;
    const wefti_operand *residual = &step->operands[WEFTI_MATMUL_RESIDUAL];
    uint32_t flags = p->alpha != 1.0f ? GEMM_SCALE : 0;
    flags |= p->bias == WEFTI_BIAS_COLUMN ? GEMM_BIAS_COLUMN : 0;
    flags |= p->bias == WEFTI_BIAS_ROW ? GEMM_BIAS_ROW : 0;
    if (residual->constant != NULL || residual->slot != WEFTI_SLOT_ABSENT) {
        flags |= GEMM_RESIDUAL;
    }
    flags |= p->activation == WEFTI_ACTIVATION_RELU ? GEMM_RELU : 0;
    return flags;
}

static void choose_source(const wefti_step *step, bool may_pack, matmul_plan *plan,
                          wefti_cpu_prepared *prepared)
{
    const wefti_matmul_params *p = step->params;
    if (may_pack && step->operands[WEFTI_MATMUL_B].constant != NULL &&
        one_b_for_all(p)) {
        plan->source = MATMUL_PACKED;
        prepared->packed_operand = WEFTI_MATMUL_B;
        prepared->packed_bytes =
            sizeof(float) * (size_t)p->k * (size_t)gemm_panels_padded(p->n);
        prepared->pack = pack_constant;
        const uint64_t layout[6] = {WEFTI_KERNEL_MATMUL,
                                    GEMM_COLUMNS,
                                    (uint64_t)p->n,
                                    (uint64_t)p->k,
                                    (uint64_t)p->b_row_stride,
                                    (uint64_t)p->b_column_stride};
        memcpy(prepared->packed_layout, layout, sizeof(layout));
    } else if (p->b_column_stride != 1) {
        plan->source = MATMUL_SCRATCH;
    } else if (p->m <= MATMUL_FEW_ROWS ||
               p->k * p->b_row_stride <= MATMUL_NEAR_BYTES / (int64_t)sizeof(float)) {
        plan->source = MATMUL_IN_PLACE;
    } else {
        plan->source = MATMUL_KEEP;
    }
}

/* One product's rows are taken from anywhere, where each is dense and not the only one,
 * and stored anywhere, where nothing goes over them again. */
static void allow_rows(const wefti_matmul_params *p, wefti_cpu_prepared *prepared)
{
    if (batch_count(p) != 1 || p->m < 2 || p->k < 1) {
        return;
    }
    if (p->a_column_stride == 1 && p->a_row_stride >= p->k) {
        prepared->row_bytes[WEFTI_MATMUL_A] = sizeof(float) * (size_t)p->a_row_stride;
    }
    if (!activation_is_pass(p->activation) && p->c_row_stride >= p->n) {
        prepared->row_bytes[WEFTI_MATMUL_C] = sizeof(float) * (size_t)p->c_row_stride;
    }
}

weft_status WEFTI_ISA_NAME(wefti_prepare_matmul)(const wefti_step *step, bool may_pack,
                                                 wefti_cpu_prepared *prepared,
                                                 weft_error *error)
{
    static const char *const names[] = {"packed", "in place", "kept", "packed here"};
    const wefti_matmul_params *p = step->params;
    matmul_plan *plan = wefti_calloc(1, sizeof(*plan));
    if (plan == NULL) {
        return wefti_error_memory(error, "a matrix product's plan");
    }
    prepared->derived = plan;
    prepared->function = matmul_tiles;
    plan->flags = flags_of(step);
    choose_source(step, may_pack, plan, prepared);
    choose_tiles(p, plan);
    allow_rows(p, prepared);
    prepared->tile_count = batch_count(p) * plan->row_tiles * plan->column_tiles;
    int64_t floats = 0;
    if (plan->source != MATMUL_PACKED || plan->k_block < p->k) {
        floats = (plan->k_block + plan->rows_per_tile) * GEMM_COLUMNS;
    }
    prepared->scratch_bytes = sizeof(float) * (size_t)floats;
    const double b_floats =
        (double)gemm_panels_padded(p->n) * (double)batch_count(p) * (double)p->k;
    /* Each panel comes from the outer caches, however few rows it is for. */
    const double loads = b_floats * GEMM_LOAD_MULTIPLY_ADDS;
    const double multiply_adds = b_floats * (double)p->m;
    prepared->work_ns = gemm_work_ns(loads > multiply_adds ? loads : multiply_adds);
    (void)snprintf(prepared->description, sizeof(prepared->description),
                   "%s %dx%d, tiles of %d rows", names[plan->source], GEMM_ROWS,
                   GEMM_COLUMNS, (int)plan->rows_per_tile);
    return WEFT_OK;
}
