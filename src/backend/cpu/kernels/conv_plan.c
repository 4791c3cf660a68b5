/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/activation.h"
#include "backend/cpu/kernels/conv.h"
#include "base/memory.h"

enum {
    CONV_TILE_MULTIPLY_ADDS = 2 * 1024 * 1024,
    CONV_COPY_BYTES = 256 * 1024, /* what a tile's copy stays below if it can */
    CONV_NEAR_BYTES = 24 * 1024,  /* what stays in the nearest cache */
    CONV_FLAT_PANELS = 8,
    CONV_POINTS_OUTPUTS = 192, /* of a tile */
    CONV_POINTS_CHANNELS = 64, /* so too */
    CONV_POINTS_COPY = 512 * 1024,
    CONV_POINTS_K = 512, /* of the panels that stay in the cache */
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* A kernel of one point without strides and padding sees no dimensions. */
static void fold_space(wefti_conv_params *p)
{
    for (int32_t d = 0; d < 3; d++) {
        if (p->kernel_dims[d] != 1 || p->strides[d] != 1 || p->pads_begin[d] != 0 ||
            p->in_dims[d] != p->out_dims[d]) {
            return;
        }
    }
    p->in_dims[2] = p->out_dims[2] = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    p->in_dims[0] = p->in_dims[1] = p->out_dims[0] = p->out_dims[1] = 1;
}

/* How far a window reaches, in output steps. */
static int64_t reach(const wefti_conv_params *p, int32_t d)
{
    return (p->kernel_dims[d] - 1) * p->dilations[d] / p->strides[d];
}

/* Rows or columns of the copy for so many of outputs. */
static int64_t copied(const conv_plan *plan, int32_t d, int64_t outputs)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t stride = p->strides[d] / plan->step[d];
    return (outputs - 1) * plan->step[d] + 1 +
           (p->kernel_dims[d] - 1) * p->dilations[d] / stride;
}

/* Rows of the copy lie as those of the output: a kernel of one column with strides. */
static bool rows_follow(const wefti_conv_params *p)
{
    return reach(p, 2) == 0 && p->strides[2] > 1 && p->kernel_dims[2] == 1 &&
           p->out_dims[1] > 1;
}

/* Costs against a mode that computes nobody's results and needs no copy; measured on
 * AVX-512. */
static double cost_of_rows(const conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t vectors = divide_up(p->out_dims[2], WEFTI_LANES);
    /* A panel of one vector waits for its sums. */
    const double waiting = vectors == 1 && GEMM_VECTORS == 4 ? 1.4 : 1.0;
    const double last = vectors % GEMM_VECTORS == 1 && vectors < 32 ? 1.05 : 1.0;
    return (double)(vectors * WEFTI_LANES) / (double)p->out_dims[2] * waiting * last;
}

static double cost_of_flat(const conv_plan *plan)
{
    const double width = (double)plan->p.out_dims[2];
    const double pitch = width + (double)reach(&plan->p, 2);
    /* Taking results out of the block costs about as much as 5 steps of k. */
    return pitch / width * (1.0 + 5.0 / (double)plan->k);
}

static double cost_of_points(const conv_plan *plan)
{
    const double rows = (double)plan->group_rows;
    const double lanes = (double)gemm_panels_padded(plan->group_rows);
    /* Turning sums around costs about as much as 14 steps of k. */
    return lanes / rows * (1.02 + 14.0 / (double)plan->k);
}

/* POINTS copies all that lies between the first and the last of its inputs, if it has
 * more than one point: no more is left out than is read. */
static bool points_lie_close(const conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    return plan->taps == 1 ||
           (p->strides[1] <= p->kernel_dims[1] && p->strides[2] <= p->kernel_dims[2]);
}

static conv_mode choose_mode(const conv_plan *plan, bool packs)
{
    const wefti_conv_params *p = &plan->p;
    if (plan->group_channels == 1 && plan->group_rows == 1) {
        return CONV_DEPTHWISE;
    }
    const double rows = cost_of_rows(plan), flat = cost_of_flat(plan);
    const bool no_flat = p->out_dims[1] == 1 || rows_follow(p);
    /* Others take a strided input apart. */
    const double copy = p->strides[2] > 1 ? 1.1 : 1.0;
    const double least = copy * (no_flat || rows <= flat ? rows : flat);
    if (packs && plan->k > 0 && points_lie_close(plan) &&
        cost_of_points(plan) < least) {
        return CONV_POINTS;
    }
    return no_flat || rows <= flat ? CONV_ROWS : CONV_FLAT;
}

/* The input is read in place where that is sure to be better: a few channels read each
 * value once or twice; for many, the planes must not lie a power of two apart, where
 * they would push each other out of the cache. */
static void choose_place(conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t plane = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const bool points = plan->mode == CONV_POINTS;
    plan->may_read_in_place = (points || plan->mode == CONV_ROWS) &&
                              p->strides[2] == 1 &&
                              plane * plan->group_channels <= INT32_MAX &&
                              (plan->group_rows <= GEMM_ROWS || plane % 1024 != 0);
    plan->always_in_place =
        plan->may_read_in_place && (points || p->out_dims[2] % WEFTI_LANES == 0);
    for (int32_t d = 0; d < 3; d++) {
        const int64_t last = (p->out_dims[d] - 1) * p->strides[d] +
                             (p->kernel_dims[d] - 1) * p->dilations[d];
        if (p->pads_begin[d] != 0 || last >= p->in_dims[d]) {
            plan->always_in_place = false;
        }
    }
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : (value > high ? high : value);
}

/* Rows of a tile: as many as make enough work, but enough lanes for some panels where
 * rows are short, and a copy that stays in the cache. */
static int64_t choose_rows(const conv_plan *plan, int64_t wanted)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t pitch = p->out_dims[2] + reach(p, 2);
    const int64_t row_floats = plan->group_channels * p->kernel_dims[0] * pitch *
                               smaller(p->strides[2], p->kernel_dims[2]) *
                               smaller(p->strides[1], p->kernel_dims[1]);
    int64_t most =
        CONV_COPY_BYTES / (int64_t)sizeof(float) / larger(1, row_floats) - reach(p, 1);
    int64_t least = 1;
    if (plan->mode == CONV_FLAT || plan->rows_follow) {
        least = divide_up(CONV_FLAT_PANELS * GEMM_COLUMNS, pitch);
        most = larger(most, divide_up(GEMM_COLUMNS, pitch));
    }
    const int64_t rows = smaller(larger(wanted / p->out_dims[2], least), most);
    return clamp(rows, 1, p->out_dims[1]);
}

/* A tile's copy stays in the nearest cache: whole rows, or a part of a long one. */
static void choose_depthwise_chunks(conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t height = p->out_dims[1], width = p->out_dims[2];
    const int64_t room = CONV_NEAR_BYTES / (int64_t)sizeof(float) /
                         (p->kernel_dims[0] * plan->phases_y * plan->phases_x);
    const int64_t widest = room / (1 + reach(p, 1)) - reach(p, 2);
    const int64_t least = 8 * WEFTI_LANES;
    const int64_t columns = widest / least * least;
    plan->columns_per_chunk = smaller(width, larger(columns, least));
    const int64_t rows = room / (plan->columns_per_chunk + reach(p, 2)) - reach(p, 1);
    plan->rows_per_chunk = divide_up(height, divide_up(height, clamp(rows, 1, height)));
    plan->row_chunks = divide_up(height, plan->rows_per_chunk);
    plan->column_chunks = divide_up(width, plan->columns_per_chunk);
    plan->channels_per_tile = 1;
    plan->channel_tiles = 1;
}

/* Parts of `size` as equal as can be, each at most `most` (or 1). */
static int64_t equal_parts(int64_t size, int64_t most)
{
    return divide_up(size, divide_up(size, clamp(most, 1, size)));
}

/* Rows whose copy stays in the cache; all of k is not read at once. */
static int64_t points_rows(const conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t outputs = CONV_POINTS_OUTPUTS / plan->columns_per_chunk;
    if (plan->always_in_place) {
        return outputs;
    }
    const int64_t plane = CONV_POINTS_COPY / (int64_t)sizeof(float) /
                          larger(1, plan->group_channels * p->kernel_dims[0]);
    const int64_t most = plane / copied(plan, 2, plan->columns_per_chunk);
    const int64_t fits = (most - copied(plan, 1, 1)) / plan->step[1] + 1;
    return smaller(fits, outputs);
}

static void choose_points_chunks(conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t height = p->out_dims[1], width = p->out_dims[2];
    plan->columns_per_chunk = equal_parts(width, CONV_POINTS_OUTPUTS);
    const bool whole_rows = plan->columns_per_chunk == width;
    plan->rows_per_chunk = whole_rows ? equal_parts(height, points_rows(plan)) : 1;
    plan->row_chunks = divide_up(height, plan->rows_per_chunk);
    plan->column_chunks = divide_up(width, plan->columns_per_chunk);
    plan->channels_per_tile = smaller(CONV_POINTS_CHANNELS, plan->group_rows);
    plan->channel_tiles = divide_up(plan->group_rows, plan->channels_per_tile);
    plan->k_block = equal_parts(plan->k, CONV_POINTS_K);
}

static void choose_chunks(conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t height = p->out_dims[1], width = p->out_dims[2];
    const int64_t wanted =
        CONV_TILE_MULTIPLY_ADDS / larger(1, plan->group_rows * plan->k);
    const int64_t rows = choose_rows(plan, wanted);
    plan->rows_per_chunk = divide_up(height, divide_up(height, rows));
    plan->row_chunks = divide_up(height, plan->rows_per_chunk);
    plan->columns_per_chunk = width;
    if (plan->mode == CONV_ROWS && plan->rows_per_chunk == 1 && !plan->rows_follow) {
        int64_t panels = divide_up(larger(wanted, 1), GEMM_COLUMNS);
        /* Short tiles, so that few of them touch padding. */
        panels = plan->may_read_in_place && !plan->always_in_place ? smaller(panels, 2)
                                                                   : panels;
        plan->columns_per_chunk = smaller(width, panels * GEMM_COLUMNS);
    }
    plan->column_chunks = divide_up(width, plan->columns_per_chunk);
    const int64_t chunk = plan->rows_per_chunk * plan->columns_per_chunk * plan->k;
    const int64_t blocks =
        divide_up(CONV_TILE_MULTIPLY_ADDS / larger(1, chunk), GEMM_ROWS);
    plan->channels_per_tile = smaller(larger(blocks, 2) * GEMM_ROWS, plan->group_rows);
    plan->channel_tiles = divide_up(plan->group_rows, plan->channels_per_tile);
}

/* Lists the phases that occur along d and returns how many; `index` says which of
 * them kernel position i has. */
static int64_t list_phases(const conv_plan *plan, int32_t d, int64_t *phases,
                           int64_t *index)
{
    const wefti_conv_params *p = &plan->p;
    int64_t count = 0;
    for (int64_t i = 0; i < p->kernel_dims[d]; i++) {
        const int64_t phase = i * p->dilations[d] % (p->strides[d] / plan->step[d]);
        int64_t at = 0;
        while (at < count && phases[at] != phase) {
            at++;
        }
        phases[at] = phase;
        count = larger(count, at + 1);
        index[i] = at;
    }
    return count;
}

static bool size_copy(conv_plan *plan)
{
    const wefti_conv_params *p = &plan->p;
    plan->copy_rows = copied(plan, 1, plan->rows_per_chunk);
    plan->copy_columns = copied(plan, 2, plan->columns_per_chunk);
    const double floats = (double)plan->group_channels * (double)p->kernel_dims[0] *
                          (double)(plan->phases_y * plan->phases_x) *
                          (double)plan->copy_rows * (double)plan->copy_columns;
    if (floats > 1e9) {
        return false;
    }
    plan->copy_floats = plan->group_channels * p->kernel_dims[0] * plan->phases_y *
                            plan->phases_x * plan->copy_rows * plan->copy_columns +
                        GEMM_COLUMNS;
    return true;
}

static void fill_offsets(const conv_plan *plan, const int64_t *index_y,
                         const int64_t *index_x, int32_t *offsets)
{
    const wefti_conv_params *p = &plan->p;
    const int64_t *kernel = p->kernel_dims;
    int32_t *in_place = offsets + plan->k;
    const int64_t stride[2] = {p->strides[1] / plan->step[1],
                               p->strides[2] / plan->step[2]};
    for (int64_t k = 0; k < plan->k; k++) {
        const int64_t channel = k / plan->taps, tap = k % plan->taps;
        const int64_t z = tap / kernel[2] / kernel[1];
        const int64_t y = tap / kernel[2] % kernel[1], x = tap % kernel[2];
        int64_t at = (channel * kernel[0] + z) * plan->phases_y + index_y[y];
        at = at * plan->phases_x + index_x[x];
        at = at * plan->copy_rows + y * p->dilations[1] / stride[0];
        at = at * plan->copy_columns + x * p->dilations[2] / stride[1];
        offsets[k] = (int32_t)at;
        if (plan->may_read_in_place) {
            at = (channel * p->in_dims[0] + z * p->dilations[0]) * p->in_dims[1];
            at = (at + y * p->dilations[1]) * p->in_dims[2] + x * p->dilations[2];
            in_place[k] = (int32_t)at;
        }
    }
}

static uint32_t flags_of(const wefti_step *step)
{
    const wefti_conv_params *p = step->params;
    const wefti_operand *bias = &step->operands[WEFTI_CONV_BIAS];
    const wefti_operand *residual = &step->operands[WEFTI_CONV_RESIDUAL];
    uint32_t flags = p->activation == WEFTI_ACTIVATION_RELU ? GEMM_RELU : 0;
    if (bias->constant != NULL || bias->slot != WEFTI_SLOT_ABSENT) {
        flags |= GEMM_BIAS_ROW;
    }
    if (residual->constant != NULL || residual->slot != WEFTI_SLOT_ABSENT) {
        flags |= GEMM_RESIDUAL;
    }
    return flags;
}

static void describe(conv_plan *plan, const wefti_conv_params *p)
{
    plan->p = *p;
    fold_space(&plan->p);
    p = &plan->p;
    plan->taps = p->kernel_dims[0] * p->kernel_dims[1] * p->kernel_dims[2];
    plan->group_channels = p->in_channels / p->groups;
    plan->group_rows = p->out_channels / p->groups;
    plan->k = plan->group_channels * plan->taps;
    plan->out_plane = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
}

weft_status conv_plan_create(const wefti_step *step, bool packs, conv_plan **result,
                             weft_error *error)
{
    const wefti_conv_params *p = step->params;
    const int64_t k = p->in_channels / p->groups * p->kernel_dims[0] *
                      p->kernel_dims[1] * p->kernel_dims[2];
    const int64_t lists = 2 * (p->kernel_dims[1] + p->kernel_dims[2]);
    if (k > INT32_MAX || lists > INT32_MAX) {
        return wefti_error(error, WEFT_UNSUPPORTED, "conv: the kernel is too large");
    }
    const size_t bytes =
        sizeof(int64_t) * (size_t)lists + 2 * sizeof(int32_t) * (size_t)k;
    conv_plan *plan = wefti_calloc(1, sizeof(*plan) + bytes);
    if (plan == NULL) {
        return wefti_error_memory(error, "a convolution's plan");
    }
    describe(plan, p);
    int64_t *phase_y = (int64_t *)(plan + 1);
    int64_t *phase_x = phase_y + p->kernel_dims[1];
    int64_t *index_y = phase_x + p->kernel_dims[2];
    int64_t *index_x = index_y + p->kernel_dims[1];
    int32_t *offsets = (int32_t *)(index_x + p->kernel_dims[2]);
    plan->offsets = offsets;
    plan->offsets_in_place = offsets + k;
    plan->phase_y = phase_y;
    plan->phase_x = phase_x;
    plan->flags = flags_of(step);
    if (plan->out_plane > 0 && plan->group_rows > 0) {
        plan->mode = choose_mode(plan, packs);
        for (int32_t d = 0; d < 3; d++) {
            const bool together = plan->mode == CONV_POINTS && plan->taps > 1;
            plan->step[d] = together ? plan->p.strides[d] : 1;
        }
        plan->rows_follow = plan->mode == CONV_ROWS && rows_follow(&plan->p);
        plan->contiguous_rows =
            plan->rows_follow || plan->p.out_dims[2] % WEFTI_LANES == 0;
        choose_place(plan);
        plan->phases_y = list_phases(plan, 1, phase_y, index_y);
        plan->phases_x = list_phases(plan, 2, phase_x, index_x);
        if (plan->mode == CONV_DEPTHWISE) {
            choose_depthwise_chunks(plan);
        } else if (plan->mode == CONV_POINTS) {
            choose_points_chunks(plan);
        } else {
            choose_chunks(plan);
        }
        if (!size_copy(plan)) {
            wefti_free(plan);
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "conv: the input of one output row is too large");
        }
        plan->channels_outside =
            plan->copy_floats * (int64_t)sizeof(float) <= CONV_NEAR_BYTES;
        fill_offsets(plan, index_y, index_x, offsets);
    }
    *result = plan;
    return WEFT_OK;
}
