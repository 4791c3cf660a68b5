/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/conv.h"

/* A square block of sums, [outputs][channels], to where its channels are. */
typedef struct points_square {
    int64_t place;     /* first output of the tile */
    int64_t channel;   /* first channel of the tile */
    int32_t count;     /* outputs */
    int32_t channels;  /* at most WEFTI_LANES, as `count` */
    const float *sums; /* of the first output and channel */
} points_square;

WEFTI_INLINE void finish_channel(const conv_plan *plan, const conv_points *t, vf sum,
                                 int64_t channel, int64_t at, int32_t lanes)
{
    const bool whole = lanes == WEFTI_LANES;
    at += channel * plan->out_plane;
    if (t->bias != NULL) {
        sum = vf_add(sum, vf_set1(t->bias[channel]));
    }
    if (t->residual != NULL) {
        sum = vf_add(sum, whole ? vf_load(t->residual + at)
                                : vf_load_partial(t->residual + at, lanes));
    }
    if ((plan->flags & GEMM_RELU) != 0) {
        sum = vf_relu(sum);
    }
    sum = vf_canonical(sum);
    if (whole) {
        vf_store(t->output + at, sum);
    } else {
        vf_store_partial(t->output + at, sum, lanes);
    }
}

static void finish_square(const conv_plan *plan, const conv_points *t,
                          const points_square *s)
{
    vf square[WEFTI_LANES];
    for (int32_t i = 0; i < WEFTI_LANES; i++) {
        square[i] = i < s->count ? vf_load(s->sums + i * GEMM_COLUMNS) : vf_zero();
    }
    vf_transpose(square);
    for (int32_t c = 0; c < s->channels; c++) {
        finish_channel(plan, t, square[c], s->channel + c, s->place, s->count);
    }
}

static int32_t at_most_lanes(int64_t count)
{
    return count < WEFTI_LANES ? (int32_t)count : WEFTI_LANES;
}

/* The sums of one panel are complete. */
static void finish_panel(const conv_plan *plan, const conv_points *t, int64_t channel,
                         int32_t columns)
{
    for (int64_t i = 0; i < t->count; i += WEFTI_LANES) {
        for (int32_t c = 0; c < columns; c += WEFTI_LANES) {
            const points_square square = {
                .place = i,
                .channel = channel + c,
                .count = at_most_lanes(t->count - i),
                .channels = at_most_lanes(columns - c),
                .sums = t->sums + i * GEMM_COLUMNS + c,
            };
            finish_square(plan, t, &square);
        }
    }
}

static void add_up(const conv_plan *plan, const conv_points *t, const float *weight,
                   int32_t columns)
{
    const int32_t width = gemm_padded(columns);
    for (int64_t k = 0; k == 0 || k < plan->k; k += plan->k_block) {
        const int64_t left = plan->k - k;
        gemm_block g = {
            .a_rows = t->places,
            .a_offsets = t->offsets + k,
            .b = weight + k * width,
            .b_row = width,
            .k = left < plan->k_block ? left : plan->k_block,
            .start = k == 0 ? NULL : t->sums,
            .start_row = GEMM_COLUMNS,
            .c = t->sums,
            .c_row = GEMM_COLUMNS,
        };
        gemm_rows(&g, t->count, columns);
    }
}

void conv_points_tile(const conv_plan *plan, const conv_points *t)
{
    for (int64_t c = 0; c < t->channels; c += GEMM_COLUMNS) {
        const int64_t left = t->channels - c;
        const int32_t columns = left < GEMM_COLUMNS ? (int32_t)left : GEMM_COLUMNS;
        add_up(plan, t, t->weight + c * plan->k, columns);
        finish_panel(plan, t, c, columns);
    }
}

void conv_points_pack(void *packed, const void *constant, const void *params)
{
    const wefti_conv_params *p = params;
    const int64_t rows = p->out_channels / p->groups;
    const int64_t k = p->in_channels / p->groups * p->kernel_dims[0] *
                      p->kernel_dims[1] * p->kernel_dims[2];
    const float *from = constant;
    float *to = packed;
    for (int64_t group = 0; group < p->groups; group++) {
        for (int64_t c = 0; c < rows; c += GEMM_COLUMNS) {
            const int32_t columns =
                rows - c < GEMM_COLUMNS ? (int32_t)(rows - c) : GEMM_COLUMNS;
            const gemm_source source = {from + (group * rows + c) * k, 1, k};
            gemm_pack(to, source, k, columns);
            to += k * gemm_padded(columns);
        }
    }
}
