/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "support/kernel_random.h"

/* Reductions of every instruction set against plain C, for every type, split of the
 * dims and layout. */

static const weft_type types[] = {WEFT_TYPE_F32, WEFT_TYPE_F32, WEFT_TYPE_F64,
                                  WEFT_TYPE_I64, WEFT_TYPE_I32};

/* Splits the dims of a tensor into kept and reduced ones by `which`. */
static void split(wefti_reduce_params *p, int32_t rank, const int64_t *dims,
                  const int64_t *strides, uint32_t which)
{
    for (int32_t i = 0; i < rank; i++) {
        if ((which >> i & 1u) != 0) {
            p->reduced_dims[p->reduced_rank] = dims[i];
            p->reduced_strides[p->reduced_rank++] = strides[i];
        } else {
            p->kept_dims[p->kept_rank] = dims[i];
            p->kept_strides[p->kept_rank++] = strides[i];
        }
    }
}

static void check(uint64_t *seed, wefti_reduction reduction, weft_type type,
                  int32_t rank, const int64_t *dims)
{
    random_tensor x = random_tensor_make(seed, type, rank, dims,
                                         RANDOM_DENSE | RANDOM_PERMUTED |
                                             RANDOM_REPEATED | RANDOM_GAPS);
    wefti_reduce_params p = {.reduction = reduction, .type = type};
    split(&p, rank, dims, x.strides, (uint32_t)kernel_next(seed));
    size_t count = 1;
    for (int32_t i = 0; i < p.kept_rank; i++) {
        count *= (size_t)p.kept_dims[i];
    }
    bool arg = reduction >= WEFTI_REDUCE_ARGMAX;
    size_t bytes = count * (arg ? 8 : weft_type_size(type));
    void *y = kernel_alloc(bytes);
    kernel_case c;
    kernel_case_init(&c, WEFTI_KERNEL_REDUCE, &p, sizeof(p));
    kernel_case_operand(&c, WEFTI_REDUCE_INPUT, x.data, false);
    kernel_case_output(&c, WEFTI_REDUCE_OUTPUT, y, 0);
    c.output_bytes = bytes;
    kernel_case_check(&c);
    random_tensor_drop(&x);
    kernel_free(y);
}

static void every_reduction(void **state)
{
    (void)state;
    uint64_t seed = 31;
    for (int32_t i = 0; i < 1500; i++) {
        int64_t dims[WEFT_MAX_RANK];
        int32_t rank = random_dims(&seed, i % 4 == 0 ? 8 : 3, 4000, dims);
        check(&seed, (wefti_reduction)(i % WEFTI_REDUCE_COUNT),
              types[i / WEFTI_REDUCE_COUNT % 5], rank, dims);
    }
}

static void long_reductions(void **state)
{
    (void)state;
    uint64_t seed = 32;
    for (int32_t i = 0; i < 40; i++) {
        int64_t dims[3] = {1 + random_below(&seed, 40), 1 + random_below(&seed, 3000),
                           1 + random_below(&seed, 3)};
        check(&seed, (wefti_reduction)(i % WEFTI_REDUCE_COUNT), WEFT_TYPE_F32, 3, dims);
    }
}

/* Plain C against double, on values that do not cancel. */
static void sums_are_right(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    uint64_t seed = 33;
    float *x = kernel_alloc(COUNT * sizeof(float)), y = 0.0f;
    double sum = 0.0, squares = 0.0;
    for (int32_t i = 0; i < COUNT; i++) {
        x[i] = (float)random_below(&seed, 1000) * 0.01f;
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    static const wefti_reduction reductions[] = {
        WEFTI_REDUCE_SUM, WEFTI_REDUCE_MEAN, WEFTI_REDUCE_SUM_SQUARE, WEFTI_REDUCE_L2};
    const double exact[] = {sum, sum / COUNT, squares, sqrt(squares)};
    for (int32_t i = 0; i < 4; i++) {
        wefti_reduce_params p = {.reduction = reductions[i],
                                 .type = WEFT_TYPE_F32,
                                 .reduced_rank = 1,
                                 .reduced_dims = {COUNT},
                                 .reduced_strides = {1}};
        wefti_step step = {.kernel = WEFTI_KERNEL_REDUCE, .params = &p};
        wefti_cpu_prepared prepared = {.packed_operand = -1};
        assert_int_equal(wefti_cpu_isas[0]->prepare[WEFTI_KERNEL_REDUCE](
                             &step, false, &prepared, NULL),
                         WEFT_OK);
        wefti_cpu_call call = {
            .params = &p, .derived = prepared.derived, .operands = {x, &y}};
        assert_int_equal(prepared.function(&call, NULL, 0, prepared.tile_count, NULL),
                         WEFT_OK);
        wefti_free(prepared.derived);
        assert_true(fabs(y - exact[i]) <= 1e-5 * exact[i]);
    }
    kernel_free(x);
}

static void an_l2_norm_of_integers_is_refused(void **state)
{
    (void)state;
    wefti_reduce_params p = {.reduction = WEFTI_REDUCE_L2, .type = WEFT_TYPE_I64};
    wefti_step step = {.kernel = WEFTI_KERNEL_REDUCE, .params = &p};
    for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; *isa != NULL; isa++) {
        wefti_cpu_prepared prepared = {.packed_operand = -1};
        weft_error error;
        assert_int_equal(
            (*isa)->prepare[WEFTI_KERNEL_REDUCE](&step, false, &prepared, &error),
            WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.message, "L2 norm of i64"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reduction),
        cmocka_unit_test(long_reductions),
        cmocka_unit_test(sums_are_right),
        cmocka_unit_test(an_l2_norm_of_integers_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
