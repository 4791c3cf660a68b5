/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "support/kernel_random.h"

/* Copies, casts, fills and gathers of every instruction set against plain C. */

static const weft_type types[] = {WEFT_TYPE_F32,  WEFT_TYPE_F64, WEFT_TYPE_F16,
                                  WEFT_TYPE_BF16, WEFT_TYPE_I64, WEFT_TYPE_I32,
                                  WEFT_TYPE_I8,   WEFT_TYPE_U8,  WEFT_TYPE_BOOL};
enum {
    TYPES = 9,
    SOURCES = 31, /* every layout */
    TARGETS = RANDOM_DENSE | RANDOM_PERMUTED | RANDOM_GAPS,
};

static void check_copy(uint64_t *seed, wefti_copy_params *p, uint32_t sources,
                       uint32_t targets)
{
    random_tensor source =
        random_tensor_make(seed, p->source_type, p->rank, p->dims, sources);
    random_tensor target =
        random_tensor_make(seed, p->target_type, p->rank, p->dims, targets);
    memcpy(p->source_strides, source.strides, sizeof(p->source_strides));
    memcpy(p->target_strides, target.strides, sizeof(p->target_strides));
    kernel_case c;
    kernel_case_init(&c, WEFTI_KERNEL_COPY, p, sizeof(*p));
    kernel_case_operand(&c, WEFTI_COPY_SOURCE, source.data, false);
    kernel_case_output(&c, WEFTI_COPY_TARGET, target.data, 0);
    c.output_bytes = target.block_bytes;
    kernel_case_check(&c);
    random_tensor_drop(&source);
    random_tensor_drop(&target);
}

static void every_cast(void **state)
{
    (void)state;
    uint64_t seed = 21;
    for (int32_t i = 0; i < TYPES * TYPES * 6; i++) {
        wefti_copy_params p = {.source_type = types[i % TYPES],
                               .target_type = types[i / TYPES % TYPES]};
        p.rank = random_dims(&seed, 3, 3000, p.dims);
        check_copy(&seed, &p, SOURCES, TARGETS);
    }
}

static void every_layout(void **state)
{
    (void)state;
    uint64_t seed = 22;
    for (int32_t i = 0; i < 1500; i++) {
        weft_type type = types[i % 4 == 0 ? random_below(&seed, TYPES) : 0];
        wefti_copy_params p = {.source_type = type, .target_type = type};
        p.rank = random_dims(&seed, i % 3 == 0 ? 8 : 4, 6000, p.dims);
        check_copy(&seed, &p, SOURCES, TARGETS);
    }
}

static void large_copies(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 100000}, {1, 200, 333}, {3, 150, 150},
                                        {1, 3, 40000},  {1, 40000, 3}, {2, 1, 70001}};
    uint64_t seed = 23;
    for (int32_t i = 0; i < 60; i++) {
        wefti_copy_params p = {
            .source_type = WEFT_TYPE_F32, .target_type = WEFT_TYPE_F32, .rank = 3};
        memcpy(p.dims, shapes[i % 6], sizeof(shapes[0]));
        check_copy(&seed, &p, SOURCES, TARGETS);
    }
}

/* All 65536 of a 16-bit type, to and fro. */
static void every_half(void **state)
{
    (void)state;
    enum { COUNT = 65536 };
    static const weft_type halves[] = {WEFT_TYPE_F16, WEFT_TYPE_BF16};
    static const weft_type wides[] = {WEFT_TYPE_F32, WEFT_TYPE_F64};
    uint16_t *half = kernel_alloc(COUNT * 2), *back = kernel_alloc(COUNT * 2);
    void *wide = kernel_alloc(COUNT * 8);
    for (uint32_t i = 0; i < COUNT; i++) {
        half[i] = (uint16_t)i;
    }
    for (int32_t i = 0; i < 4; i++) {
        wefti_copy_params p = {
            halves[i / 2], wides[i % 2], 1, {COUNT}, {1}, {1},
        };
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_COPY, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_COPY_SOURCE, half, false);
        kernel_case_output(&c, WEFTI_COPY_TARGET, wide, 0);
        c.output_bytes = COUNT * weft_type_size(wides[i % 2]);
        kernel_case_check(&c);
        wefti_cpu_prepared prepared = {.packed_operand = -1};
        wefti_cpu_prepare prepare = wefti_cpu_isas[0]->prepare[WEFTI_KERNEL_COPY];
        assert_int_equal(prepare(&c.step, false, &prepared, NULL), WEFT_OK);
        wefti_cpu_call call = {
            .params = &p, .derived = prepared.derived, .operands = {half, wide}};
        prepared.function(&call, NULL, 0, prepared.tile_count, NULL);
        wefti_free(prepared.derived);
        p.source_type = wides[i % 2];
        p.target_type = halves[i / 2];
        kernel_case_operand(&c, WEFTI_COPY_SOURCE, wide, false);
        kernel_case_output(&c, WEFTI_COPY_TARGET, back, 0);
        c.output_bytes = COUNT * 2;
        kernel_case_check(&c);
        assert_int_equal(prepare(&c.step, false, &prepared, NULL), WEFT_OK);
        call = (wefti_cpu_call){
            .params = &p, .derived = prepared.derived, .operands = {wide, back}};
        prepared.function(&call, NULL, 0, prepared.tile_count, NULL);
        wefti_free(prepared.derived);
        uint16_t infinity = halves[i / 2] == WEFT_TYPE_F16 ? 0x7c00 : 0x7f80;
        for (uint32_t k = 0; k < COUNT; k++) {
            bool is_nan = (half[k] & 0x7fff) > infinity;
            assert_true(is_nan ? (back[k] & 0x7fff) > infinity : back[k] == half[k]);
        }
    }
    kernel_free(half);
    kernel_free(back);
    kernel_free(wide);
}

/* Doubles around every rounding border of the 16-bit floats. */
static void halves_round_once(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    double *wide = kernel_alloc(COUNT * 8);
    uint16_t *half = kernel_alloc(COUNT * 2);
    uint64_t seed = 24;
    for (int32_t i = 0; i < COUNT; i++) {
        double border = ldexp((double)(2048 + random_below(&seed, 4096)),
                              (int)random_below(&seed, 60) - 45);
        wide[i] = border * (1.0 + (double)(random_below(&seed, 5) - 2) * 0x1p-52);
        wide[i] = i % 2 != 0 ? -wide[i] : wide[i];
    }
    for (int32_t i = 0; i < 2; i++) {
        wefti_copy_params p = {WEFT_TYPE_F64,
                               i == 0 ? WEFT_TYPE_F16 : WEFT_TYPE_BF16,
                               1,
                               {COUNT},
                               {1},
                               {1}};
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_COPY, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_COPY_SOURCE, wide, false);
        kernel_case_output(&c, WEFTI_COPY_TARGET, half, 0);
        c.output_bytes = COUNT * 2;
        kernel_case_check(&c);
    }
    kernel_free(wide);
    kernel_free(half);
}

static void every_fill(void **state)
{
    (void)state;
    uint64_t seed = 25;
    for (int32_t i = 0; i < 300; i++) {
        wefti_fill_params p = {.type = types[i % TYPES],
                               .value_bits = kernel_next(&seed)};
        p.rank = random_dims(&seed, i % 3 == 0 ? 8 : 3, i < 20 ? 100000 : 3000, p.dims);
        random_tensor target =
            random_tensor_make(&seed, p.type, p.rank, p.dims, TARGETS);
        memcpy(p.strides, target.strides, sizeof(p.strides));
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_FILL, &p, sizeof(p));
        kernel_case_output(&c, WEFTI_FILL_TARGET, target.data, 0);
        c.output_bytes = target.block_bytes;
        kernel_case_check(&c);
        random_tensor_drop(&target);
    }
}

static void set_indices(uint64_t *seed, const wefti_gather_params *p, void *indices)
{
    for (int64_t i = 0; i < p->index_count; i++) {
        int64_t index = random_below(seed, 2 * p->axis_size) - p->axis_size;
        if (p->index_type == WEFT_TYPE_I32) {
            ((int32_t *)indices)[i] = (int32_t)index;
        } else {
            ((int64_t *)indices)[i] = index;
        }
    }
}

static void gathers(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 4, 8, 12, 16, 40, 64, 1000};
    uint64_t seed = 26;
    for (int32_t i = 0; i < 300; i++) {
        wefti_gather_params p = {.index_type =
                                     i % 2 != 0 ? WEFT_TYPE_I32 : WEFT_TYPE_I64,
                                 .outer_count = random_below(&seed, 4),
                                 .axis_size = 1 + random_below(&seed, 30),
                                 .index_count = random_below(&seed, i < 20 ? 2000 : 40),
                                 .inner_bytes = sizes[random_below(&seed, 11)]};
        size_t output_bytes = (size_t)(p.outer_count * p.index_count * p.inner_bytes);
        size_t data_bytes = (size_t)(p.outer_count * p.axis_size * p.inner_bytes);
        /* Elements of up to 8 bytes are aligned. */
        void *data = kernel_alloc((data_bytes + 7) / 8 * 8);
        void *output = kernel_alloc((output_bytes + 7) / 8 * 8);
        void *indices = kernel_alloc((size_t)p.index_count * 8);
        random_fill(&seed, WEFT_TYPE_U8, data, data_bytes);
        set_indices(&seed, &p, indices);
        kernel_case c;
        kernel_case_init(&c, WEFTI_KERNEL_GATHER, &p, sizeof(p));
        kernel_case_operand(&c, WEFTI_GATHER_DATA, data, false);
        kernel_case_operand(&c, WEFTI_GATHER_INDICES, indices, false);
        kernel_case_output(&c, WEFTI_GATHER_OUTPUT, output, 0);
        c.output_bytes = output_bytes;
        kernel_case_check(&c);
        kernel_free(data);
        kernel_free(output);
        kernel_free(indices);
    }
}

static void a_bad_index_is_named(void **state)
{
    (void)state;
    wefti_gather_params p = {WEFT_TYPE_I64, 1, 5, 3, 4};
    int64_t indices[3] = {4, -5, 5};
    float data[5] = {0}, output[3];
    for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; *isa != NULL; isa++) {
        wefti_step step = {.kernel = WEFTI_KERNEL_GATHER, .params = &p};
        wefti_cpu_prepared prepared = {.packed_operand = -1};
        weft_error error;
        indices[2] = 5;
        if (!(*isa)->supported()) {
            continue;
        }
        assert_int_equal(
            (*isa)->prepare[WEFTI_KERNEL_GATHER](&step, false, &prepared, &error),
            WEFT_OK);
        wefti_cpu_call call = {.params = &p,
                               .derived = prepared.derived,
                               .operands = {data, indices, output}};
        assert_int_equal(prepared.function(&call, NULL, 0, 1, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "index 5 at position 2"));
        assert_non_null(strstr(error.message, "at least -5 and below 5"));
        indices[2] = -6;
        assert_int_equal(prepared.function(&call, NULL, 0, 1, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "index -6"));
        wefti_free(prepared.derived);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cast),        cmocka_unit_test(every_layout),
        cmocka_unit_test(large_copies),      cmocka_unit_test(every_half),
        cmocka_unit_test(halves_round_once), cmocka_unit_test(every_fill),
        cmocka_unit_test(gathers),           cmocka_unit_test(a_bad_index_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
