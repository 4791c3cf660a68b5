/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/math.h"
#include "base/memory.h"

/* A tile is some queries of one head. The head's keys are packed transposed, so that
 * lanes lie along the keys; the scores of a few queries at a time stay in the cache
 * between the two products. Tiles of the same head follow each other, so that a thread
 * which does a range of them packs the head once. */
typedef struct attention_plan {
    int64_t queries_per_tile, query_tiles;
    int64_t queries_at_once;
    int64_t score_row;  /* floats from one query's scores to the next's */
    int64_t key_floats; /* packed keys */
    bool pack_values;
    int64_t value_floats;
} attention_plan;

enum {
    ATTENTION_TILE_MULTIPLY_ADDS = 2 * 1024 * 1024,
    ATTENTION_FEW_KEYS = 256, /* up to here values are better read in place */
    ATTENTION_SCORE_BYTES = 128 * 1024,
    ATTENTION_MOST_AT_ONCE = 8 * GEMM_ROWS, /* at most 64: a bit for each */
};

typedef struct attention_run {
    const wefti_cpu_call *call;
    const wefti_attention_params *p;
    const attention_plan *plan;
    float *keys, *values, *scores; /* scratch */
    int64_t batch, head, query, queries;
    const float *q, *k, *v;
    float *output;
    const char *mask;
    bool may_skip;     /* keys that causality hides from a whole block of queries */
    int64_t keys_used; /* the first of the keys, by the block that is being done */
} attention_run;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t panel_offset(int64_t column, int64_t k)
{
    return column * k; /* panels before this one are whole */
}

/* True when no value of the head is infinite or not a number. */
static bool values_are_finite(const attention_run *r)
{
    const wefti_attention_params *p = r->p;
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    for (int64_t j = 0; j < p->key_length; j++) {
        const float *row = r->v + j * p->v.row;
        for (int64_t i = 0; i < p->value_size; i++) {
            uint32_t bits;
            memcpy(&bits, row + i, sizeof(bits));
            found |= (bits & exponent) == exponent;
        }
    }
    return found == 0;
}

static void pack_head(attention_run *r)
{
    const wefti_attention_params *p = r->p;
    r->may_skip = p->causal && values_are_finite(r);
    for (int64_t j = 0; j < p->key_length; j += GEMM_COLUMNS) {
        gemm_source keys = {r->k + j * p->k.row, 1, p->k.row};
        gemm_pack(r->keys + panel_offset(j, p->head_size), keys, p->head_size,
                  (int32_t)smaller(GEMM_COLUMNS, p->key_length - j));
    }
    for (int64_t j = 0; j < p->value_size && r->plan->pack_values; j += GEMM_COLUMNS) {
        gemm_source values = {r->v + j, p->v.row, 1};
        gemm_pack(r->values + panel_offset(j, p->key_length), values, p->key_length,
                  (int32_t)smaller(GEMM_COLUMNS, p->value_size - j));
    }
}

/* Scores of queries [first, first + count) of the tile. */
static void score_queries(const attention_run *r, int64_t first, int64_t count)
{
    const wefti_attention_params *p = r->p;
    for (int64_t j = 0; j < r->keys_used; j += GEMM_COLUMNS) {
        const int32_t columns = (int32_t)smaller(GEMM_COLUMNS, p->key_length - j);
        gemm_block g = {
            .a = r->q + first * p->q.row,
            .a_row = p->q.row,
            .a_column = 1,
            .b = r->keys + panel_offset(j, p->head_size),
            .b_row = gemm_padded(columns),
            .k = p->head_size,
            .c = r->scores + j,
            .c_row = r->plan->score_row,
            .flags = GEMM_FINISH | GEMM_SCALE,
            .alpha = p->scale,
        };
        gemm_rows(&g, count, columns);
    }
}

static void mask_row(const attention_run *r, float *scores, int64_t query)
{
    const wefti_attention_params *p = r->p;
    const int64_t step = p->mask_strides[3];
    if (r->mask != NULL && p->mask_type == WEFT_TYPE_F32) {
        const float *mask =
            (const float *)(const void *)r->mask + query * p->mask_strides[2];
        for (int64_t j = 0; j < r->keys_used; j++) {
            scores[j] += mask[j * step];
        }
    } else if (r->mask != NULL) {
        const uint8_t *mask = (const uint8_t *)r->mask + query * p->mask_strides[2];
        for (int64_t j = 0; j < r->keys_used; j++) {
            scores[j] = mask[j * step] ? scores[j] : -INFINITY;
        }
    }
    int64_t visible =
        p->causal ? query + p->key_length - p->query_length + 1 : p->key_length;
    for (int64_t j = visible < 0 ? 0 : visible; j < r->keys_used; j++) {
        scores[j] = -INFINITY;
    }
}

WEFTI_INLINE v16 exp_below(v16 x, v16 largest)
{
    v16 r;
    V16_MAP(r, vf_exp_negative(vf_sub(x.part[i], largest.part[i])));
    return r;
}

/* Scores become weights, as SOFTMAX, in three passes over all rows: within one row
 * each waits for the one before, rows do not wait for each other. A row has room for
 * whole groups of 16. */

/* The largest score. Behind the end are scores that take no part. */
static float largest_score(float *scores, int64_t count)
{
    const int64_t whole = count / 16 * 16;
    v16 lanes = v16_set1(-INFINITY);
    if (whole < count) {
        const int32_t rest = (int32_t)(count - whole);
        v16_store(scores + whole,
                  v16_select_first(rest, v16_load(scores + whole), lanes));
    }
    for (int64_t i = 0; i < count; i += 16) {
        lanes = v16_max(lanes, v16_load(scores + i));
    }
    return v16_reduce_max(lanes);
}

/* Scores become exponentials; returns their sum. */
static float exponentials(float *scores, int64_t count, float largest)
{
    const v16 m = v16_set1(largest);
    v16 lanes = v16_set1(0.0f);
    for (int64_t i = 0; i < count; i += 16) {
        v16 e = exp_below(v16_load(scores + i), m);
        v16_store(scores + i, e);
        lanes = v16_add(lanes, e);
    }
    return v16_reduce_add(lanes);
}

/* Returns a bit for each row in which no key is visible. */
static uint64_t weigh(const attention_run *r, int64_t rows)
{
    const int64_t count = r->keys_used, pitch = r->plan->score_row;
    float value[ATTENTION_MOST_AT_ONCE];
    uint64_t blind = 0;
    for (int64_t i = 0; i < rows; i++) {
        value[i] = largest_score(r->scores + i * pitch, count);
    }
    for (int64_t i = 0; i < rows; i++) {
        blind |= (uint64_t)(value[i] == -INFINITY) << i;
        value[i] = exponentials(r->scores + i * pitch, count, value[i]);
    }
    for (int64_t i = 0; i < rows; i++) {
        float *scores = r->scores + i * pitch;
        const v16 inverse = v16_set1(1.0f / value[i]);
        for (int64_t j = 0; j < count; j += 16) {
            v16_store(scores + j, v16_mul(v16_load(scores + j), inverse));
        }
    }
    return blind;
}

/* Outputs of queries [first, first + count) from their weights. */
static void sum_values(const attention_run *r, int64_t first, int64_t count)
{
    const wefti_attention_params *p = r->p;
    for (int64_t j = 0; j < p->value_size; j += GEMM_COLUMNS) {
        const int32_t columns = (int32_t)smaller(GEMM_COLUMNS, p->value_size - j);
        const bool packed = r->plan->pack_values;
        gemm_block g = {
            .a = r->scores,
            .a_row = r->plan->score_row,
            .a_column = 1,
            .b = packed ? r->values + panel_offset(j, p->key_length) : r->v + j,
            .b_row = packed ? gemm_padded(columns) : p->v.row,
            .k = r->keys_used,
            .c = r->output + first * p->output.row + j,
            .c_row = p->output.row,
            .flags = GEMM_FINISH,
        };
        gemm_rows(&g, count, columns);
    }
}

/* One block of queries with the first `keys_used` keys. */
static void run_block(const attention_run *r, int64_t first, int64_t count)
{
    const wefti_attention_params *p = r->p;
    score_queries(r, first, count);
    for (int64_t i = 0; i < count && (r->mask != NULL || p->causal); i++) {
        mask_row(r, r->scores + i * r->plan->score_row, r->query + first + i);
    }
    const uint64_t blind = weigh(r, count);
    sum_values(r, first, count);
    for (int64_t i = 0; i < count && blind != 0 && !p->blind_is_nan; i++) {
        if ((blind >> i & 1) != 0) {
            float *output = r->output + (first + i) * p->output.row;
            memset(output, 0, sizeof(float) * (size_t)p->value_size);
        }
    }
}

static bool has_negative_zero(const attention_run *r, int64_t first, int64_t count)
{
    const wefti_attention_params *p = r->p;
    uint32_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        const float *row = r->output + (first + i) * p->output.row;
        for (int64_t j = 0; j < p->value_size; j++) {
            uint32_t bits;
            memcpy(&bits, row + j, sizeof(bits));
            found |= bits == 0x80000000;
        }
    }
    return found != 0;
}

/* A key that causality hides has the weight 0, which leaves the largest score, the sum
 * and every output as they are, so keys hidden from all of a block are left out: the
 * bits stay. Not so where a hidden value is infinite or not a number (0 times it is
 * not 0), nor where an output is -0 (adding +0 would have made it +0). */
static void run_queries(attention_run *r, int64_t first, int64_t count)
{
    const wefti_attention_params *p = r->p;
    const int64_t visible = r->query + first + count + p->key_length - p->query_length;
    r->keys_used = p->key_length;
    if (r->may_skip && visible < p->key_length) {
        r->keys_used = visible < 1 ? 1 : visible;
        run_block(r, first, count);
        if (!has_negative_zero(r, first, count)) {
            return;
        }
        r->keys_used = p->key_length;
    }
    run_block(r, first, count);
}

static void place_tile(attention_run *r, int64_t tile)
{
    const wefti_attention_params *p = r->p;
    void *const *operands = r->call->operands;
    r->query = tile % r->plan->query_tiles * r->plan->queries_per_tile;
    r->queries = smaller(r->plan->queries_per_tile, p->query_length - r->query);
    tile /= r->plan->query_tiles;
    const int64_t head = tile % p->heads, batch = tile / p->heads;
    const int64_t kv_head = head / (p->heads / p->kv_heads);
    r->q = (const float *)operands[WEFTI_ATTENTION_Q] + batch * p->q.batch +
           head * p->q.head + r->query * p->q.row;
    r->k = (const float *)operands[WEFTI_ATTENTION_K] + batch * p->k.batch +
           kv_head * p->k.head;
    r->v = (const float *)operands[WEFTI_ATTENTION_V] + batch * p->v.batch +
           kv_head * p->v.head;
    r->output = (float *)operands[WEFTI_ATTENTION_OUTPUT] + batch * p->output.batch +
                head * p->output.head + r->query * p->output.row;
    r->mask = operands[WEFTI_ATTENTION_MASK];
    if (r->mask != NULL) {
        const int64_t at = batch * p->mask_strides[0] + head * p->mask_strides[1];
        r->mask += at * (int64_t)weft_type_size(p->mask_type);
    }
}

static weft_status attention_tiles(const wefti_cpu_call *call, void *scratch,
                                   int64_t begin, int64_t end, weft_error *error)
{
    (void)error;
    const attention_plan *plan = call->derived;
    attention_run r = {
        .call = call, .p = call->params, .plan = plan, .scores = scratch};
    r.keys = r.scores + plan->queries_at_once * plan->score_row;
    r.values = r.keys + plan->key_floats;
    for (int64_t tile = begin; tile < end; tile++) {
        place_tile(&r, tile);
        if (tile == begin || r.query == 0) {
            pack_head(&r);
        }
        for (int64_t i = 0; i < r.queries; i += plan->queries_at_once) {
            run_queries(&r, i, smaller(plan->queries_at_once, r.queries - i));
        }
    }
    return WEFT_OK;
}

static void choose_tiles(const wefti_attention_params *p, attention_plan *plan)
{
    const int64_t keys = p->key_length > 0 ? p->key_length : 1;
    const int64_t sizes = p->head_size + p->value_size;
    int64_t queries = ATTENTION_TILE_MULTIPLY_ADDS / keys / (sizes > 0 ? sizes : 1);
    queries = queries < 4 * GEMM_ROWS ? 4 * GEMM_ROWS : queries;
    plan->query_tiles = divide_up(p->query_length, queries);
    queries = divide_up(divide_up(p->query_length, plan->query_tiles), GEMM_ROWS);
    plan->queries_per_tile = queries * GEMM_ROWS;
    plan->query_tiles = divide_up(p->query_length, plan->queries_per_tile);
    /* An odd number of cache lines, so that the rows of a block spread over the sets.
     */
    plan->score_row = (divide_up(keys, 16) | 1) * 16;
    const int64_t room =
        ATTENTION_SCORE_BYTES / (int64_t)sizeof(float) / plan->score_row / GEMM_ROWS;
    const int64_t most = ATTENTION_MOST_AT_ONCE / GEMM_ROWS;
    const int64_t blocks = room < 1 ? 1 : smaller(room, most);
    plan->queries_at_once = smaller(blocks * GEMM_ROWS, plan->queries_per_tile);
    plan->key_floats = gemm_panels_padded(p->key_length) * p->head_size;
    /* Read in place, a value row's last vector must not reach behind the row. */
    plan->pack_values =
        p->value_size % WEFTI_LANES != 0 ||
        (p->key_length > ATTENTION_FEW_KEYS && p->query_length > 4 * GEMM_ROWS);
    plan->value_floats =
        plan->pack_values ? gemm_panels_padded(p->value_size) * p->key_length : 0;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_attention)(const wefti_step *step,
                                                    bool may_pack,
                                                    wefti_cpu_prepared *prepared,
                                                    weft_error *error)
{
    (void)may_pack;
    const wefti_attention_params *p = step->params;
    attention_plan *plan = wefti_calloc(1, sizeof(*plan));
    if (plan == NULL) {
        return wefti_error_memory(error, "an attention's plan");
    }
    prepared->derived = plan;
    prepared->function = attention_tiles;
    if (p->query_length > 0) {
        choose_tiles(p, plan);
    }
    prepared->tile_count = p->batch * p->heads * plan->query_tiles;
    prepared->scratch_bytes =
        sizeof(float) * (size_t)(plan->queries_at_once * plan->score_row +
                                 plan->key_floats + plan->value_floats);
    const double keys =
        (double)p->key_length - (p->causal ? 0.5 * (double)p->query_length : 0.0);
    const double rows = (double)p->batch * (double)p->heads * (double)p->query_length;
    /* An exponential costs about as much as 20 multiply-adds. */
    prepared->work_ns = gemm_work_ns(rows * (keys < 1.0 ? 1.0 : keys) *
                                     (double)(p->head_size + p->value_size + 20));
    (void)snprintf(prepared->description, sizeof(prepared->description),
                   "tiles of %d queries, %d at once", (int)plan->queries_per_tile,
                   (int)plan->queries_at_once);
    return WEFT_OK;
}
