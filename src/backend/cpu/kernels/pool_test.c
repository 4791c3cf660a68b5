/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_random.h"

/* Pooling of every instruction set against plain C: windows, strides, dilations and
 * padding of every kind, in up to three dims. */

static void set_dim(uint64_t *seed, wefti_pool_params *p, int32_t d)
{
    p->kernel_dims[d] = 1 + random_below(seed, 4);
    p->strides[d] = 1 + random_below(seed, 3);
    p->dilations[d] = 1 + random_below(seed, 2);
    p->pads_begin[d] = random_below(seed, p->kernel_dims[d]);
    p->pads_end[d] = random_below(seed, p->kernel_dims[d]);
    int64_t reach = (p->kernel_dims[d] - 1) * p->dilations[d] + 1;
    p->in_dims[d] = 1 + random_below(seed, d == 2 ? 70 : 9);
    int64_t room = p->in_dims[d] + p->pads_begin[d] + p->pads_end[d] - reach;
    /* One more, now and then, as ceil_mode gives. */
    p->out_dims[d] =
        room < 0 ? 0 : room / p->strides[d] + 1 + (random_below(seed, 4) == 0);
}

static void check(uint64_t *seed, const wefti_pool_params *p)
{
    size_t in =
        (size_t)(p->plane_count * p->in_dims[0] * p->in_dims[1] * p->in_dims[2]);
    size_t out =
        (size_t)(p->plane_count * p->out_dims[0] * p->out_dims[1] * p->out_dims[2]);
    float *x = kernel_alloc(in * sizeof(float)), *y = kernel_alloc(out * sizeof(float));
    random_fill(seed, WEFT_TYPE_F32, x, in);
    kernel_case c;
    kernel_case_init(&c, WEFTI_KERNEL_POOL, p, sizeof(*p));
    kernel_case_operand(&c, WEFTI_POOL_INPUT, x, false);
    kernel_case_output(&c, WEFTI_POOL_OUTPUT, y, out);
    kernel_case_check(&c);
    kernel_free(x);
    kernel_free(y);
}

static void random_windows(void **state)
{
    (void)state;
    uint64_t seed = 41;
    for (int32_t i = 0; i < 600; i++) {
        wefti_pool_params p = {.average = i % 2 != 0,
                               .count_include_pad = i % 4 >= 2,
                               .plane_count = random_below(&seed, 4),
                               .in_dims = {1, 1, 1},
                               .out_dims = {1, 1, 1},
                               .kernel_dims = {1, 1, 1},
                               .strides = {1, 1, 1},
                               .dilations = {1, 1, 1}};
        for (int32_t d = 2; d >= (int32_t)random_below(&seed, 3); d--) {
            set_dim(&seed, &p, d);
        }
        check(&seed, &p);
    }
}

static void global_windows(void **state)
{
    (void)state;
    uint64_t seed = 42;
    for (int32_t i = 0; i < 20; i++) {
        int64_t size = 1 + random_below(&seed, 12);
        wefti_pool_params p = {.average = i % 2 != 0,
                               .plane_count = 70,
                               .in_dims = {1, size, size + 1},
                               .out_dims = {1, 1, 1},
                               .kernel_dims = {1, size, size + 1},
                               .strides = {1, 1, 1},
                               .dilations = {1, 1, 1}};
        check(&seed, &p);
    }
}

static void a_window_of_nothing_is_refused(void **state)
{
    (void)state;
    wefti_pool_params p = {.plane_count = 1};
    wefti_step step = {.kernel = WEFTI_KERNEL_POOL, .params = &p};
    for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; *isa != NULL; isa++) {
        wefti_cpu_prepared prepared = {.packed_operand = -1};
        weft_error error;
        assert_int_equal(
            (*isa)->prepare[WEFTI_KERNEL_POOL](&step, false, &prepared, &error),
            WEFT_INTERNAL);
        assert_non_null(strstr(error.message, "window 0"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_windows),
        cmocka_unit_test(global_windows),
        cmocka_unit_test(a_window_of_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
