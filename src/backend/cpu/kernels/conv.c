/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/conv.h"

#include <stdio.h>

#include "backend/cpu/kernels/activation.h"
#include "backend/cpu/kernels/kernels.h"

/* One thread's work. */
typedef struct conv_run {
    const wefti_cpu_call *call;
    const conv_plan *plan;
    float *copy;         /* scratch */
    float *results;      /* scratch, FLAT: [CONV_FLAT_CHANNELS][GEMM_COLUMNS] */
    float *residual;     /* scratch, FLAT: the same */
    float *sums;         /* scratch, POINTS */
    const void **places; /* scratch, POINTS */
    conv_tile tile;
    bool in_place; /* this tile reads the input itself */
} conv_run;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static const float *offset_or_null(const void *p, int64_t offset)
{
    return p == NULL ? NULL : (const float *)p + offset;
}

/* First float of the tile's first channel in the output or residual. */
static int64_t first_output(const conv_run *r)
{
    const conv_tile *t = &r->tile;
    const wefti_conv_params *p = &r->plan->p;
    const int64_t channel =
        t->image * p->out_channels + t->group * r->plan->group_rows + t->channel;
    return channel * r->plan->out_plane +
           (t->plane * p->out_dims[1] + t->row) * p->out_dims[2] + t->column;
}

static gemm_block begin_block(const conv_run *r)
{
    const conv_tile *t = &r->tile;
    const conv_plan *plan = r->plan;
    const int64_t channel = t->group * plan->group_rows + t->channel;
    void *const *operands = r->call->operands;
    return (gemm_block){
        .a = (const float *)operands[WEFTI_CONV_WEIGHT] + channel * plan->k,
        .a_row = plan->k,
        .a_column = 1,
        .b_offsets = r->in_place ? plan->offsets_in_place : plan->offsets,
        .k = plan->k,
        .c_row = plan->out_plane,
        .flags = plan->flags | GEMM_FINISH,
        .bias_row = offset_or_null(operands[WEFTI_CONV_BIAS], channel),
    };
}

/* Whether a tile of a plan that may read in place touches no padding, also where its
 * last vector goes on behind the last output. */
static bool inside(const conv_plan *plan, const conv_tile *t)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t first[3] = {t->plane, t->row, t->column};
    const int64_t lanes = plan->mode == CONV_POINTS ? t->columns
                                                    : (t->columns + WEFTI_LANES - 1) /
                                                          WEFTI_LANES * WEFTI_LANES;
    const int64_t count[3] = {1, t->rows, lanes};
    for (int32_t d = 0; d < 3; d++) {
        const int64_t begin = first[d] * p->strides[d] - p->pads_begin[d];
        const int64_t end = begin + (count[d] - 1) * p->strides[d] +
                            (p->kernel_dims[d] - 1) * p->dilations[d];
        if (begin < 0 || end >= p->in_dims[d]) {
            return false;
        }
    }
    return true;
}

/* Where output (row, column) of the tile has its first input. */
static const float *window(const conv_run *r, int64_t row, int64_t column)
{
    const conv_plan *plan = r->plan;
    const conv_tile *t = &r->tile;
    const wefti_conv_params *p = &plan->p;
    if (!r->in_place) {
        return r->copy + row * plan->step[1] * plan->copy_columns +
               column * plan->step[2];
    }
    const float *input = r->call->operands[WEFTI_CONV_INPUT];
    const int64_t channel = t->image * p->in_channels + t->group * plan->group_channels;
    const int64_t z =
        channel * p->in_dims[0] + t->plane * p->strides[0] - p->pads_begin[0];
    const int64_t y =
        z * p->in_dims[1] + (t->row + row) * p->strides[1] - p->pads_begin[1];
    return input + y * p->in_dims[2] + (t->column + column) * p->strides[2] -
           p->pads_begin[2];
}

/* One panel of a ROWS tile (or two, for one channel), `at` floats behind its first
 * output. */
static void run_panel(const conv_run *r, const float *const *vectors, int64_t at,
                      int32_t columns)
{
    const wefti_conv_params *p = &r->plan->p;
    gemm_block g = begin_block(r);
    const int64_t first = first_output(r) + at;
    float *c = (float *)r->call->operands[WEFTI_CONV_OUTPUT] + first;
    g.c = c;
    g.residual = offset_or_null(r->call->operands[WEFTI_CONV_RESIDUAL], first);
    g.b_vectors = vectors;
    if (columns > GEMM_COLUMNS) {
        gemm_row_pair(&g, NULL);
    } else {
        gemm_rows(&g, r->tile.channels, columns);
    }
    if (activation_is_pass(p->activation)) {
        activation_tile done = {c, r->plan->out_plane, r->tile.channels, columns};
        activation_apply(p->activation, p->activation_alpha, done);
    }
}

/* All panels for the tile's channels. */
static void run_panels(const conv_run *r)
{
    const conv_tile *t = &r->tile;
    const int64_t width = r->plan->p.out_dims[2];
    const float *vectors[2 * GEMM_VECTORS];
    /* Whole rows lie one behind the other in the output. */
    const bool together = r->plan->contiguous_rows && t->columns == width;
    const int64_t line = together ? t->rows * t->columns : t->columns;
    for (int64_t row = 0; row < (together ? 1 : t->rows); row++) {
        for (int64_t i = 0; i < line;) {
            const bool pair = t->channels == 1 && line - i >= 2 * GEMM_COLUMNS;
            const int32_t columns =
                pair ? 2 * GEMM_COLUMNS : (int32_t)smaller(GEMM_COLUMNS, line - i);
            for (int32_t v = 0; v * WEFTI_LANES < columns; v++) {
                const int64_t at = i + v * WEFTI_LANES;
                vectors[v] = r->plan->rows_follow
                                 ? r->copy + at
                                 : window(r, row + at / t->columns, at % t->columns);
            }
            run_panel(r, vectors, row * width + i, columns);
            i += columns;
        }
    }
}

static void run_rows(const conv_run *r)
{
    const int64_t all = r->tile.channels;
    const int64_t step = r->plan->channels_outside ? GEMM_ROWS : all;
    conv_run part = *r;
    for (int64_t c = 0; c < all; c += step) {
        part.tile.channel = r->tile.channel + c;
        part.tile.channels = smaller(step, all - c);
        run_panels(&part);
    }
}

/* Results [first, first + count) of some channels of a FLAT tile. */
typedef struct conv_span {
    int64_t first, count, channels;
} conv_span;

/* Moves the wanted ones of a span between the block and the output's layout. */
static void move_wanted(const conv_run *r, conv_span span, const float *from, float *to,
                        bool into_block)
{
    const int64_t first = span.first, count = span.count, channels = span.channels;
    const int64_t pitch = r->plan->copy_columns, width = r->plan->p.out_dims[2];
    for (int64_t i = 0; i < count;) {
        const int64_t row = (first + i) / pitch, column = (first + i) % pitch;
        const int64_t wanted = smaller(width - column, count - i);
        for (int64_t c = 0; c < channels && wanted > 0; c++) {
            const int64_t block = c * GEMM_COLUMNS + i;
            const int64_t output = c * r->plan->out_plane + row * width + column;
            const float *source = from + (into_block ? output : block);
            float *target = to + (into_block ? block : output);
            int64_t j = 0;
            for (; j + WEFTI_LANES <= wanted; j += WEFTI_LANES) {
                vf_store(target + j, vf_load(source + j));
            }
            if (j < wanted) {
                const int32_t rest = (int32_t)(wanted - j);
                vf_store_partial(target + j, vf_load_partial(source + j, rest), rest);
            }
        }
        i += pitch - column;
    }
}

/* One panel of a FLAT tile: results [first, first + columns) of some channels. */
static void run_flat_block(const conv_run *r, gemm_block *g, int64_t first,
                           int32_t columns, int64_t channel)
{
    const conv_plan *plan = r->plan;
    const int64_t channels = smaller(CONV_FLAT_CHANNELS, r->tile.channels - channel);
    const int64_t output = first_output(r) + channel * plan->out_plane;
    const conv_span span = {first, columns, channels};
    const float *residual = r->call->operands[WEFTI_CONV_RESIDUAL];
    if (residual != NULL) {
        move_wanted(r, span, residual + output, r->residual, true);
        g->residual = r->residual;
    }
    g->c = r->results;
    g->c_row = GEMM_COLUMNS;
    gemm_rows(g, channels, columns);
    if (activation_is_pass(plan->p.activation)) {
        activation_tile done = {r->results, GEMM_COLUMNS, channels, columns};
        activation_apply(plan->p.activation, plan->p.activation_alpha, done);
    }
    float *y = (float *)r->call->operands[WEFTI_CONV_OUTPUT] + output;
    move_wanted(r, span, r->results, y, false);
}

static void run_flat(const conv_run *r)
{
    const conv_tile *t = &r->tile;
    const int64_t count = (t->rows - 1) * r->plan->copy_columns + t->columns;
    const float *vectors[GEMM_VECTORS];
    for (int64_t i = 0; i < count; i += GEMM_COLUMNS) {
        const int32_t columns = (int32_t)smaller(GEMM_COLUMNS, count - i);
        for (int32_t v = 0; v < GEMM_VECTORS; v++) {
            vectors[v] = r->copy + i + v * WEFTI_LANES;
        }
        gemm_block g = begin_block(r);
        g.b_vectors = vectors;
        for (int64_t c = 0; c < t->channels; c += CONV_FLAT_CHANNELS) {
            run_flat_block(r, &g, i, columns, c);
        }
    }
}

static void run_depthwise(const conv_run *r)
{
    const conv_tile *t = &r->tile;
    const wefti_conv_params *p = &r->plan->p;
    const gemm_block g = begin_block(r);
    const int64_t first = first_output(r);
    const conv_plane plane = {
        .copy = r->copy,
        .weight = g.a,
        .bias = g.bias_row,
        .residual = offset_or_null(r->call->operands[WEFTI_CONV_RESIDUAL], first),
        .output = (float *)r->call->operands[WEFTI_CONV_OUTPUT] + first,
        .rows = t->rows,
        .columns = t->columns,
    };
    conv_depthwise(r->plan, &plane);
    for (int64_t i = 0; i < t->rows && activation_is_pass(p->activation); i++) {
        activation_tile done = {plane.output + i * p->out_dims[2], 0, 1,
                                (int32_t)t->columns};
        activation_apply(p->activation, p->activation_alpha, done);
    }
}

static void run_points(const conv_run *r)
{
    const conv_tile *t = &r->tile;
    const conv_plan *plan = r->plan;
    const wefti_conv_params *p = &plan->p;
    void *const *operands = r->call->operands;
    const int64_t first = first_output(r), channel = t->group * plan->group_rows;
    const int64_t before = t->group * gemm_panels_padded(plan->group_rows) + t->channel;
    const conv_points tile = {
        .weight = (const float *)operands[WEFTI_CONV_WEIGHT] + before * plan->k,
        .bias = offset_or_null(operands[WEFTI_CONV_BIAS], channel + t->channel),
        .residual = offset_or_null(operands[WEFTI_CONV_RESIDUAL], first),
        .output = (float *)operands[WEFTI_CONV_OUTPUT] + first,
        .places = r->places,
        .offsets = r->in_place ? plan->offsets_in_place : plan->offsets,
        .sums = r->sums,
        .count = t->rows * t->columns,
        .channels = t->channels,
    };
    const int64_t step = r->in_place ? p->strides[2] : plan->step[2];
    for (int64_t row = 0; row < t->rows; row++) {
        const float *place = window(r, row, 0);
        for (int64_t i = 0; i < t->columns; i++) {
            r->places[row * t->columns + i] = place + i * step;
        }
    }
    conv_points_tile(plan, &tile);
    if (activation_is_pass(p->activation)) {
        activation_tile done = {tile.output, plan->out_plane, t->channels,
                                (int32_t)tile.count};
        activation_apply(p->activation, p->activation_alpha, done);
    }
}

/* Tiles count: image, group, plane, rows, columns, channels; channels fastest. */
static void place_tile(conv_run *r, int64_t index)
{
    const conv_plan *plan = r->plan;
    conv_tile *t = &r->tile;
    t->channel = index % plan->channel_tiles * plan->channels_per_tile;
    index /= plan->channel_tiles;
    t->column = index % plan->column_chunks * plan->columns_per_chunk;
    index /= plan->column_chunks;
    t->row = index % plan->row_chunks * plan->rows_per_chunk;
    index /= plan->row_chunks;
    t->plane = index % plan->p.out_dims[0];
    index /= plan->p.out_dims[0];
    t->group = index % plan->p.groups;
    t->image = index / plan->p.groups;
    t->channels = smaller(plan->channels_per_tile, plan->group_rows - t->channel);
    t->columns = smaller(plan->columns_per_chunk, plan->p.out_dims[2] - t->column);
    t->rows = smaller(plan->rows_per_chunk, plan->p.out_dims[1] - t->row);
}

/* Outputs of a POINTS tile with room for a last square block. */
static int64_t points_padded(int64_t outputs)
{
    return (outputs + WEFTI_LANES - 1) / WEFTI_LANES * WEFTI_LANES;
}

static size_t scratch_bytes(const conv_plan *plan)
{
    size_t bytes =
        plan->always_in_place ? 0 : sizeof(float) * (size_t)plan->copy_floats;
    if (plan->mode == CONV_FLAT) {
        bytes += sizeof(float) * 2 * CONV_FLAT_CHANNELS * GEMM_COLUMNS;
    } else if (plan->mode == CONV_POINTS) {
        const int64_t outputs = plan->rows_per_chunk * plan->columns_per_chunk;
        bytes += (size_t)points_padded(outputs) *
                 (sizeof(const float *) + sizeof(float) * GEMM_COLUMNS);
    }
    return bytes;
}

static weft_status conv_tiles(const wefti_cpu_call *call, void *scratch, int64_t begin,
                              int64_t end, weft_error *error)
{
    (void)error;
    const conv_plan *plan = call->derived;
    conv_run r = {.call = call, .plan = plan, .copy = scratch};
    const wefti_conv_params *p = &plan->p;
    if (plan->mode == CONV_FLAT) {
        r.results = r.copy + plan->copy_floats;
        r.residual = r.results + CONV_FLAT_CHANNELS * GEMM_COLUMNS;
    } else if (plan->mode == CONV_POINTS) {
        const int64_t outputs = plan->rows_per_chunk * plan->columns_per_chunk;
        r.places = scratch;
        r.sums = (float *)(r.places + points_padded(outputs));
        r.copy = r.sums + points_padded(outputs) * GEMM_COLUMNS;
    }
    int64_t none = -1;
    int64_t *kept = call->kept == NULL ? &none : call->kept;
    for (int64_t tile = begin; tile < end; tile++) {
        place_tile(&r, tile);
        r.in_place = plan->may_read_in_place && inside(plan, &r.tile);
        /* The channels of the same outputs share the copy. */
        const int64_t outputs = tile / plan->channel_tiles;
        if (!r.in_place && *kept != outputs) {
            const int64_t channel =
                r.tile.image * p->in_channels + r.tile.group * plan->group_channels;
            const float *input = call->operands[WEFTI_CONV_INPUT];
            const int64_t plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
            conv_copy(plan, &r.tile, input + channel * plane, r.copy);
            *kept = outputs;
        }
        if (plan->mode == CONV_ROWS) {
            run_rows(&r);
        } else if (plan->mode == CONV_FLAT) {
            run_flat(&r);
        } else if (plan->mode == CONV_POINTS) {
            run_points(&r);
        } else {
            run_depthwise(&r);
        }
    }
    return WEFT_OK;
}

static void pack_weight(const conv_plan *plan, wefti_cpu_prepared *prepared)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t width = gemm_panels_padded(plan->group_rows);
    prepared->packed_operand = WEFTI_CONV_WEIGHT;
    prepared->packed_bytes = sizeof(float) * (size_t)(p->groups * width * plan->k);
    prepared->pack = conv_points_pack;
    const uint64_t layout[6] = {WEFTI_KERNEL_CONV, GEMM_COLUMNS, (uint64_t)p->groups,
                                (uint64_t)plan->group_rows, (uint64_t)plan->k};
    memcpy(prepared->packed_layout, layout, sizeof(layout));
}

weft_status WEFTI_ISA_NAME(wefti_prepare_conv)(const wefti_step *step, bool may_pack,
                                               wefti_cpu_prepared *prepared,
                                               weft_error *error)
{
    static const char *const modes[] = {"rows", "flat", "depthwise", "points"};
    const bool packs = may_pack && step->operands[WEFTI_CONV_WEIGHT].constant != NULL;
    const wefti_conv_params *p = step->params;
    conv_plan *plan;
    WEFTI_TRY(conv_plan_create(step, packs, &plan, error));
    prepared->derived = plan;
    prepared->function = conv_tiles;
    if (plan->out_plane > 0 && plan->group_rows > 0) {
        prepared->tile_count = p->batch * p->groups * plan->p.out_dims[0] *
                               plan->row_chunks * plan->column_chunks *
                               plan->channel_tiles;
        prepared->scratch_bytes = scratch_bytes(plan);
        if (plan->mode == CONV_POINTS) {
            pack_weight(plan, prepared);
        }
    }
    const double outputs =
        (double)p->batch * (double)p->out_channels * (double)plan->out_plane;
    prepared->work_ns = gemm_work_ns(outputs * (double)(plan->k + 8));
    (void)snprintf(prepared->description, sizeof(prepared->description),
                   "%s%s, tiles of %d rows %d channels", modes[plan->mode],
                   plan->may_read_in_place ? " in place" : "",
                   (int)plan->rows_per_chunk, (int)plan->channels_per_tile);
    return WEFT_OK;
}
