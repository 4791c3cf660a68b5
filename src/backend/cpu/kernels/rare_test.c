/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_random.h"

/* Points, lines, images and recurrences, of which the CPU has plain C alone: nothing is
 * read or written outside the buffers, the split into tiles changes nothing, and a card
 * (WEFT_TEST_DEVICE) gives the same bits. */

enum { CASES = 120 };

static const weft_type numbers[] = {WEFT_TYPE_F32, WEFT_TYPE_I32, WEFT_TYPE_I64,
                                    WEFT_TYPE_F64, WEFT_TYPE_I8,  WEFT_TYPE_U8};

/* Numbers up to 1 in size, so that no product of them is a NaN, whose bits depend on
 * the processor. */
static void *make_numbers(uint64_t *seed, weft_type type, size_t count)
{
    char *data = kernel_alloc(count * weft_type_size(type));
    for (size_t i = 0; i < count; i++) {
        const int64_t x = random_below(seed, 41) - 20;
        switch (type) {
        case WEFT_TYPE_F32:
            ((float *)(void *)data)[i] = (float)x * 0.05f;
            break;
        case WEFT_TYPE_F64:
            ((double *)(void *)data)[i] = (double)x * 0.05;
            break;
        case WEFT_TYPE_I64:
            ((int64_t *)(void *)data)[i] = x;
            break;
        case WEFT_TYPE_I32:
            ((int32_t *)(void *)data)[i] = (int32_t)x;
            break;
        default:
            data[i] = (char)x;
            break;
        }
    }
    return data;
}

static float *make_floats(uint64_t *seed, int64_t count)
{
    return make_numbers(seed, WEFT_TYPE_F32, (size_t)count);
}

/* Coordinates in and around images. */
static float *make_places(uint64_t *seed, int64_t count)
{
    float *places = make_floats(seed, count);
    for (int64_t i = 0; i < count; i++) {
        places[i] *= 7.0f;
    }
    return places;
}

/* Points of a matrix of rows, each `inner_count` long; many meet. */
typedef struct points_case {
    wefti_points_params p;
    int64_t rows, point_count;
    void *indices;
} points_case;

static points_case make_points(uint64_t *seed, weft_type type)
{
    points_case made = {.rows = 1 + random_below(seed, 9)};
    const int64_t inner = 1 + random_below(seed, 5);
    const bool wide = random_below(seed, 2) == 0;
    made.p = (wefti_points_params){
        .type = type,
        .index_type = wide ? WEFT_TYPE_I64 : WEFT_TYPE_I32,
        .rank = 2,
        .tuple_size = 1,
        .dims = {1 + random_below(seed, 3), random_below(seed, 400)},
        .tuple_dims = {made.rows},
        .tuple_strides = {inner},
        .inner_count = inner};
    made.p.base_strides[0] = made.rows * inner; /* a matrix for each of the first dim */
    made.point_count = made.p.dims[0] * made.p.dims[1];
    made.indices = kernel_alloc((size_t)made.point_count * (wide ? 8 : 4));
    for (int64_t i = 0; i < made.point_count; i++) {
        const int64_t index = random_below(seed, 2 * made.rows) - made.rows;
        if (wide) {
            ((int64_t *)made.indices)[i] = index;
        } else {
            ((int32_t *)made.indices)[i] = (int32_t)index;
        }
    }
    return made;
}

static void gathered_points(void **state)
{
    (void)state;
    uint64_t seed = 51;
    for (int32_t i = 0; i < CASES; i++) {
        const weft_type type = numbers[i % 6];
        points_case points = make_points(&seed, type);
        const wefti_points_params *p = &points.p;
        const size_t data_count = (size_t)(p->dims[0] * points.rows * p->inner_count);
        const size_t count = (size_t)(points.point_count * p->inner_count);
        void *data = kernel_alloc(data_count * weft_type_size(type));
        void *output = kernel_alloc(count * weft_type_size(type));
        random_fill(&seed, type, data, data_count);
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_GATHER_POINTS, p, sizeof(*p));
        kernel_case_operand(&c, WEFTI_POINTS_DATA, data, i % 3 == 0);
        kernel_case_operand(&c, WEFTI_POINTS_INDICES, points.indices, i % 4 == 0);
        kernel_case_output(&c, WEFTI_POINTS_OTHER, output,
                           count * weft_type_size(type) / 4);
        c.output_bytes = count * weft_type_size(type);
        kernel_case_check(&c);
        kernel_free(data);
        kernel_free(output);
        kernel_free(points.indices);
    }
}

static void scattered_points(void **state)
{
    (void)state;
    uint64_t seed = 52;
    for (int32_t i = 0; i < CASES; i++) {
        const weft_type type = numbers[i % 6];
        points_case points = make_points(&seed, type);
        wefti_points_params *p = &points.p;
        p->reduction = (wefti_points_reduction)(i / 6 % 5);
        const size_t data_count = (size_t)(p->dims[0] * points.rows * p->inner_count);
        const size_t count = (size_t)(points.point_count * p->inner_count);
        void *data = make_numbers(&seed, type, data_count);
        void *updates = make_numbers(&seed, type, count);
        /* Points that lie partly in one another. */
        p->tuple_strides[0] = i % 7 == 0 ? 1 : p->tuple_strides[0];
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_SCATTER_POINTS, p, sizeof(*p));
        kernel_case_operand(&c, WEFTI_POINTS_INDICES, points.indices, false);
        kernel_case_operand(&c, WEFTI_POINTS_OTHER, updates, i % 3 == 0);
        kernel_case_output(&c, WEFTI_POINTS_DATA, data,
                           data_count * weft_type_size(type) / 4);
        c.output_bytes = data_count * weft_type_size(type);
        kernel_case_check(&c);
        kernel_free(data);
        kernel_free(updates);
        kernel_free(points.indices);
    }
}

static void cumulated_lines(void **state)
{
    (void)state;
    uint64_t seed = 53;
    for (int32_t i = 0; i < CASES; i++) {
        const weft_type type = numbers[i % 4];
        const wefti_cumulate_params p = {.type = type,
                                         .outer_count = random_below(&seed, 5),
                                         .count = random_below(&seed, 40),
                                         .inner_count = 1 + random_below(&seed, 9),
                                         .product = i % 5 == 0,
                                         .exclusive = i % 2 == 0,
                                         .reverse = i % 3 == 0};
        const size_t count = (size_t)(p.outer_count * p.count * p.inner_count);
        void *x = make_numbers(&seed, type, count);
        void *y = kernel_alloc(count * weft_type_size(type));
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_CUMULATE, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_CUMULATE_INPUT, x, i % 4 == 0);
        kernel_case_output(&c, WEFTI_CUMULATE_OUTPUT, y,
                           count * weft_type_size(type) / 4);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(y);
    }
}

static void top_of_lines(void **state)
{
    (void)state;
    uint64_t seed = 54;
    for (int32_t i = 0; i < CASES; i++) {
        const weft_type type = numbers[i % 6];
        wefti_top_k_params p = {.type = type,
                                .outer_count = random_below(&seed, 4),
                                .count = 1 + random_below(&seed, 90),
                                .inner_count = 1 + random_below(&seed, 3),
                                .largest = i % 2 == 0};
        p.k = 1 + random_below(&seed, p.count);
        const size_t count = (size_t)(p.outer_count * p.count * p.inner_count);
        const size_t chosen = (size_t)(p.outer_count * p.k * p.inner_count);
        const bool values = i / 6 % 2 == 0;
        const size_t size = values ? weft_type_size(type) : sizeof(int64_t);
        void *x = kernel_alloc(count * weft_type_size(type));
        void *y = kernel_alloc(chosen * size);
        random_fill(&seed, type, x, count);
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_TOP_K, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_TOP_K_INPUT, x, i % 5 == 0);
        kernel_case_output(&c, values ? WEFTI_TOP_K_VALUES : WEFTI_TOP_K_INDICES, y, 0);
        c.output_bytes = chosen * size;
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(y);
    }
}

static void folded_columns(void **state)
{
    (void)state;
    uint64_t seed = 55;
    for (int32_t i = 0; i < CASES; i++) {
        wefti_fold_params p = {.plane_count = 1 + random_below(&seed, 4),
                               .channel_count = 2,
                               .block_dims = {1, 1, 1},
                               .out_dims = {1, 1, 1},
                               .kernel_dims = {1, 1, 1},
                               .strides = {1, 1, 1},
                               .dilations = {1, 1, 1}};
        int64_t columns = p.plane_count, out = p.plane_count;
        for (int32_t d = i % 3; d < 3; d++) {
            p.block_dims[d] = 1 + random_below(&seed, 6);
            p.kernel_dims[d] = 1 + random_below(&seed, 3);
            p.strides[d] = 1 + random_below(&seed, 3);
            p.dilations[d] = 1 + random_below(&seed, 2);
            p.pads_begin[d] = random_below(&seed, 3);
            p.out_dims[d] = 1 + random_below(&seed, 14);
        }
        for (int32_t d = 0; d < 3; d++) {
            columns *= p.block_dims[d] * p.kernel_dims[d];
            out *= p.out_dims[d];
        }
        float *x = make_floats(&seed, columns), *bias = make_floats(&seed, 2);
        float *y = kernel_alloc((size_t)out * sizeof(float));
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_FOLD, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_FOLD_COLUMNS, x, i % 4 == 0);
        if (i % 2 == 0) {
            kernel_case_operand(&c, WEFTI_FOLD_BIAS, bias, true);
        }
        kernel_case_output(&c, WEFTI_FOLD_OUTPUT, y, (size_t)out);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(bias);
        kernel_free(y);
    }
}

static void sampled_images(void **state)
{
    (void)state;
    uint64_t seed = 56;
    for (int32_t i = 0; i < CASES; i++) {
        wefti_sample_params p = {.mode = (wefti_sample_mode)(i % 3),
                                 .padding = (wefti_sample_padding)(i / 3 % 3),
                                 .align_corners = i / 9 % 2 == 0,
                                 .pixels = i % 5 == 0,
                                 .rank = 1 + i % 3,
                                 .batch = 1 + random_below(&seed, 2),
                                 .channels = 1 + random_below(&seed, 3),
                                 .point_count = random_below(&seed, 30),
                                 .in_dims = {1, 1, 1}};
        int64_t plane = 1;
        for (int32_t d = 3 - p.rank; d < 3; d++) {
            p.in_dims[d] = 1 + random_below(&seed, 6);
            plane *= p.in_dims[d];
        }
        const int64_t count = p.batch * p.channels * p.point_count;
        float *x = make_floats(&seed, p.batch * p.channels * plane);
        float *points = make_places(&seed, p.batch * p.point_count * p.rank);
        float *y = kernel_alloc((size_t)count * sizeof(float));
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_SAMPLE, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_SAMPLE_INPUT, x, i % 4 == 0);
        kernel_case_operand(&c, WEFTI_SAMPLE_POINTS, points, i % 7 == 0);
        kernel_case_output(&c, WEFTI_SAMPLE_OUTPUT, y, (size_t)count);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(points);
        kernel_free(y);
    }
}

static void aligned_regions(void **state)
{
    (void)state;
    uint64_t seed = 57;
    for (int32_t i = 0; i < CASES; i++) {
        const wefti_roi_align_params p = {.batch = 1 + random_below(&seed, 3),
                                          .channels = 1 + random_below(&seed, 3),
                                          .height = 1 + random_below(&seed, 9),
                                          .width = 1 + random_below(&seed, 9),
                                          .region_count = random_below(&seed, 5),
                                          .out_height = 1 + random_below(&seed, 4),
                                          .out_width = 1 + random_below(&seed, 4),
                                          .sampling_ratio = random_below(&seed, 3),
                                          .spatial_scale = 0.5f,
                                          .half_pixel = i % 2 == 0,
                                          .largest = i % 3 == 0,
                                          .index_type = WEFT_TYPE_I64};
        const int64_t cells = p.out_height * p.out_width;
        const int64_t count = p.region_count * p.channels * cells;
        float *x = make_floats(&seed, p.batch * p.channels * p.height * p.width);
        float *regions = make_places(&seed, p.region_count * 4);
        int64_t *images = kernel_alloc((size_t)p.region_count * sizeof(*images));
        float *y = kernel_alloc((size_t)count * sizeof(float));
        for (int64_t r = 0; r < p.region_count; r++) {
            images[r] = random_below(&seed, p.batch);
        }
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_ROI_ALIGN, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_ROI_ALIGN_INPUT, x, i % 4 == 0);
        kernel_case_operand(&c, WEFTI_ROI_ALIGN_REGIONS, regions, i % 5 == 0);
        kernel_case_operand(&c, WEFTI_ROI_ALIGN_IMAGES, images, i % 7 == 0);
        kernel_case_output(&c, WEFTI_ROI_ALIGN_OUTPUT, y, (size_t)count);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(regions);
        kernel_free(images);
        kernel_free(y);
    }
}

static void pooled_with_indices(void **state)
{
    (void)state;
    uint64_t seed = 58;
    for (int32_t i = 0; i < CASES; i++) {
        wefti_pool_indices_params q = {.pool = {.plane_count = 1 + i % 3,
                                                .in_dims = {1, 1, 1},
                                                .out_dims = {1, 1, 1},
                                                .kernel_dims = {1, 1, 1},
                                                .strides = {1, 1, 1},
                                                .dilations = {1, 1, 1}},
                                       .column_major = i % 2 == 0};
        int64_t in = q.pool.plane_count, out = q.pool.plane_count;
        for (int32_t d = i % 3; d < 3; d++) {
            q.pool.in_dims[d] = 1 + random_below(&seed, 7);
            q.pool.out_dims[d] = 1 + random_below(&seed, 5);
            q.pool.kernel_dims[d] = 1 + random_below(&seed, 3);
            q.pool.strides[d] = 1 + random_below(&seed, 2);
            q.pool.dilations[d] = 1 + random_below(&seed, 2);
            q.pool.pads_begin[d] = random_below(&seed, 2);
        }
        for (int32_t d = 0; d < 3; d++) {
            in *= q.pool.in_dims[d];
            out *= q.pool.out_dims[d];
        }
        float *x = kernel_alloc((size_t)in * sizeof(float));
        int64_t *y = kernel_alloc((size_t)out * sizeof(*y));
        random_fill(&seed, WEFT_TYPE_F32, x, (size_t)in);
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_POOL_INDICES, &q, sizeof(q));
        kernel_case_operand(&c, WEFTI_POOL_INDICES_INPUT, x, i % 4 == 0);
        kernel_case_output(&c, WEFTI_POOL_INDICES_INDICES, y, (size_t)out * 2);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(y);
    }
}

static void determinants(void **state)
{
    (void)state;
    uint64_t seed = 59;
    for (int32_t i = 0; i < CASES; i++) {
        const wefti_determinant_params p = {.count = random_below(&seed, 5),
                                            .n = random_below(&seed, 12)};
        float *x = make_floats(&seed, p.count * p.n * p.n);
        float *y = kernel_alloc((size_t)p.count * sizeof(float));
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_DETERMINANT, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_DETERMINANT_INPUT, x, i % 4 == 0);
        kernel_case_output(&c, WEFTI_DETERMINANT_OUTPUT, y, (size_t)p.count);
        kernel_case_check(&c);
        kernel_free(x);
        kernel_free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gathered_points), cmocka_unit_test(scattered_points),
        cmocka_unit_test(cumulated_lines), cmocka_unit_test(top_of_lines),
        cmocka_unit_test(folded_columns),  cmocka_unit_test(sampled_images),
        cmocka_unit_test(aligned_regions), cmocka_unit_test(pooled_with_indices),
        cmocka_unit_test(determinants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
