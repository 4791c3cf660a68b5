/* SPDX-License-Identifier: Apache-2.0 */
/* Which inputs and outputs of a recipe may lie in rows apart from each other, and runs
 * on such, on each of this machine's instruction sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/device.h"
#include "backend/cpu/recipe.h"
#include "base/memory.h"
#include "support/kernel_case.h"

enum {
    X = 1, /* slots: an input, two outputs */
    Y,
    Z,
    SLOTS,
    M = 130,
    K = 96,
    N = 200, /* columns of y */
    L = 70,  /* and of z */
    MOST_STEPS = 3,
};

static float weights[N * N];

static wefti_matmul_params product_of(int64_t m, int64_t n, int64_t k)
{
    return (wefti_matmul_params){.m = m,
                                 .n = n,
                                 .k = k,
                                 .a_row_stride = k,
                                 .a_column_stride = 1,
                                 .b_row_stride = n,
                                 .b_column_stride = 1,
                                 .c_row_stride = n,
                                 .alpha = 1.0f};
}

static wefti_step new_step(wefti_kernel kernel, const void *params, size_t bytes)
{
    wefti_step step = {
        .kernel = kernel, .params = params, .params_bytes = bytes, .label = "step"};
    for (size_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    return step;
}

static wefti_step product(const wefti_matmul_params *params, int32_t a, int32_t c)
{
    wefti_step step = new_step(WEFTI_KERNEL_MATMUL, params, sizeof(*params));
    step.operands[WEFTI_MATMUL_A].slot = a;
    step.operands[WEFTI_MATMUL_B].constant = weights;
    step.operands[WEFTI_MATMUL_C].slot = c;
    return step;
}

static const wefti_elementwise_params negation = {
    .type = WEFT_TYPE_F32,
    .output_type = WEFT_TYPE_F32,
    .input_types = {WEFT_TYPE_F32},
    .rank = 1,
    .dims = {M * K},
    .input_count = 1,
    .input_strides = {{1}},
    .instruction_count = 1,
    .instructions = {{.operation = WEFTI_OP_NEG}},
};

static wefti_step negate(int32_t from, int32_t to)
{
    wefti_step step = new_step(WEFTI_KERNEL_ELEMENTWISE, &negation, sizeof(negation));
    step.operands[0].slot = from;
    step.operands[WEFTI_ELEMENTWISE_OUTPUT].slot = to;
    return step;
}

static wefti_recipe_params recipe_of(const wefti_step *steps, size_t count)
{
    return (wefti_recipe_params){
        .steps = steps, .step_count = count, .input_count = 1, .output_count = 2};
}

/* The vector instruction sets of this machine. */
static bool next_isa(const wefti_cpu_isa *const **isa)
{
    *isa = *isa == NULL ? wefti_cpu_isas : *isa + 1;
    while (**isa != NULL && !(**isa)->supported()) {
        ++*isa;
    }
    return strcmp((**isa)->name, "reference") != 0;
}

static void expect(const wefti_step *steps, size_t count, size_t x, size_t y, size_t z)
{
    const wefti_recipe_params params = recipe_of(steps, count);
    for (const wefti_cpu_isa *const *isa = NULL; next_isa(&isa);) {
        wefti_recipe *recipe = NULL;
        assert_int_equal(wefti_cpu_recipe_create(*isa, 0, &params, &recipe, NULL),
                         WEFT_OK);
        assert_int_equal(wefti_cpu_recipe_row_bytes(recipe, X), x * sizeof(float));
        assert_int_equal(wefti_cpu_recipe_row_bytes(recipe, Y), y * sizeof(float));
        assert_int_equal(wefti_cpu_recipe_row_bytes(recipe, Z), z * sizeof(float));
        assert_int_equal(wefti_cpu_recipe_row_bytes(recipe, 0), 0);
        assert_int_equal(wefti_cpu_recipe_row_bytes(recipe, SLOTS), 0);
        wefti_cpu_recipe_destroy(recipe);
    }
}

static void one_product(void **state)
{
    (void)state;
    wefti_matmul_params p = product_of(M, N, K);
    wefti_step step = product(&p, X, Y);
    expect(&step, 1, K, N, 0);
    p.activation = WEFTI_ACTIVATION_RELU;
    expect(&step, 1, K, N, 0);
    p.activation = WEFTI_ACTIVATION_GELU; /* goes over the rows once more */
    expect(&step, 1, K, 0, 0);
    p = product_of(M, N, K);
    p.a_row_stride = K + 3; /* what lies between belongs to the row */
    p.c_row_stride = N + 1;
    expect(&step, 1, K + 3, N + 1, 0);
    p.a_row_stride = 1;
    p.a_column_stride = M;
    expect(&step, 1, 0, N + 1, 0);
    p = product_of(M, N, K);
    p.a_row_stride = 0; /* one row for all */
    expect(&step, 1, 0, N, 0);
    p = product_of(1, N, K);
    expect(&step, 1, 0, 0, 0);
    p = product_of(M, N, K);
    p.batch_rank = 1;
    p.batch_dims[0] = 2;
    p.a_batch_strides[0] = M * K;
    p.c_batch_strides[0] = M * N;
    expect(&step, 1, 0, 0, 0);
    p.batch_dims[0] = 1;
    expect(&step, 1, K, N, 0);
}

static void other_operands(void **state)
{
    (void)state;
    wefti_matmul_params p = product_of(K, K, K), q = product_of(K, K, K);
    wefti_step steps[2] = {product(&p, X, Y), product(&q, X, Z)};
    steps[1].operands[WEFTI_MATMUL_B] = (wefti_operand){.slot = Y};
    expect(steps, 2, K, 0, K);
    steps[1] = product(&q, X, Z);
    steps[1].operands[WEFTI_MATMUL_RESIDUAL].slot = X;
    expect(steps, 2, 0, K, K);
    steps[1] = product(&q, X, Z);
    q.bias = WEFTI_BIAS_COLUMN;
    steps[1].operands[WEFTI_MATMUL_BIAS].slot = Y;
    expect(steps, 2, K, 0, K);
}

static void several_steps(void **state)
{
    (void)state;
    const wefti_matmul_params p = product_of(M, K, K), q = product_of(M, L, K);
    const wefti_matmul_params r = product_of(M / 2, L, 2 * K);
    wefti_step steps[MOST_STEPS] = {product(&p, X, Y), product(&q, Y, Z)};
    expect(steps, 2, K, K, L); /* y is read where it was stored */
    steps[1] = product(&q, X, Z);
    expect(steps, 2, K, K, L);
    steps[1] = product(&r, X, Z); /* two rows are one */
    expect(steps, 2, 0, K, L);
    steps[2] = product(&p, X, Y); /* and it stays so */
    expect(steps, 3, 0, K, L);
    steps[1] = negate(Y, Z);
    expect(steps, 2, K, 0, 0);
    steps[1] = negate(X, Z);
    expect(steps, 2, 0, K, 0);
    steps[0] = negate(X, Z);
    steps[1] = product(&p, X, Y);
    expect(steps, 2, 0, K, 0);
}

static void at_an_offset(void **state)
{
    (void)state;
    const wefti_matmul_params p = product_of(M / 2, K, K);
    wefti_step steps[2] = {product(&p, X, Y), product(&p, X, Y)};
    steps[1].operands[WEFTI_MATMUL_A].offset_bytes = M / 2 * K * (int64_t)sizeof(float);
    expect(steps, 2, 0, K, 0);
    expect(steps + 1, 1, 0, K, 0);
    steps[1].operands[WEFTI_MATMUL_A].offset_bytes = 0;
    steps[1].operands[WEFTI_MATMUL_C].offset_bytes = M / 2 * K * (int64_t)sizeof(float);
    expect(steps, 2, K, 0, 0);
    expect(steps + 1, 1, K, 0, 0);
}

/* ---- runs ---- */

typedef struct bench {
    const wefti_backend *backend;
    wefti_backend_device *device;
    wefti_backend_stream *stream;
    wefti_recipe *recipe;
    wefti_weights *packed;
    float *tensors[SLOTS]; /* in one piece; the first is the workspace */
    float *apart[SLOTS];   /* the rows, with a word behind each */
    void *rows[SLOTS][M];
} bench;

static const int64_t columns[SLOTS] = {0, K, N, L};
static const float BETWEEN = 12345;

static void lay_rows(bench *b, int32_t slot)
{
    const size_t bytes = sizeof(float) * (size_t)columns[slot];
    b->tensors[slot] = kernel_random((size_t)(M * columns[slot]), (uint64_t)slot);
    b->apart[slot] = kernel_alloc(M * (bytes + sizeof(float)));
    for (int64_t i = 0; i < M; i++) {
        /* 37 and M have no common factor */
        float *row = b->apart[slot] + i * 37 % M * (columns[slot] + 1);
        row[columns[slot]] = BETWEEN;
        memcpy(row, b->tensors[slot] + i * columns[slot], bytes);
        b->rows[slot][i] = row;
    }
}

static void set_up(bench *b, const wefti_cpu_isa *isa, bool packs)
{
    const wefti_matmul_params p = product_of(M, N, K), q = product_of(M, L, N);
    const wefti_step steps[2] = {product(&p, X, Y), product(&q, Y, Z)};
    wefti_recipe_params params = recipe_of(steps, 2);
    *b = (bench){.backend = &wefti_backend_cpu};
    assert_int_equal(wefti_cpu_device_create(isa, 4, 3, &b->device, NULL), WEFT_OK);
    assert_int_equal(b->backend->stream.create(b->device, &b->stream, NULL), WEFT_OK);
    assert_int_equal(wefti_weights_create(NULL, &b->packed, NULL), WEFT_OK);
    params.weights = packs ? b->packed : NULL;
    assert_int_equal(b->backend->recipe.create(b->device, &params, &b->recipe, NULL),
                     WEFT_OK);
    b->tensors[0] = kernel_alloc(b->backend->recipe.workspace_bytes(b->recipe) + 1);
    for (int32_t slot = X; slot < SLOTS; slot++) {
        lay_rows(b, slot);
    }
}

static void tear_down(bench *b)
{
    for (int32_t slot = 0; slot < SLOTS; slot++) {
        kernel_free(b->tensors[slot]);
        kernel_free(b->apart[slot]);
    }
    b->backend->recipe.destroy(b->recipe);
    wefti_weights_destroy(b->packed);
    b->backend->stream.destroy(b->stream);
    b->backend->device.close(b->device);
}

/* Runs with the slots of a set of bits in rows. */
static void run(bench *b, uint32_t in_rows)
{
    void *slots[2 * SLOTS] = {NULL};
    memset(b->tensors[Y], 0xff, sizeof(float) * M * N);
    memset(b->tensors[Z], 0xff, sizeof(float) * M * L);
    for (int32_t slot = 0; slot < SLOTS; slot++) {
        slots[slot] = b->tensors[slot];
        slots[SLOTS + slot] = (in_rows >> slot & 1u) != 0 ? b->rows[slot] : NULL;
    }
    assert_int_equal(b->backend->stream.execute(b->stream, b->recipe, slots,
                                                in_rows != 0 ? 2 * SLOTS : SLOTS, NULL),
                     WEFT_OK);
    assert_int_equal(b->backend->stream.synchronize(b->stream, INT64_MAX, NULL),
                     WEFT_OK);
}

/* A slot is as expected where it should lie, and as before where it should not. */
static void check(bench *b, int32_t slot, const float *expected, bool in_rows)
{
    const size_t bytes = sizeof(float) * (size_t)columns[slot];
    for (int64_t i = 0; i < M; i++) {
        float *row = b->rows[slot][i];
        const float *piece = b->tensors[slot] + i * columns[slot];
        assert_memory_equal(in_rows ? row : piece, expected + i * columns[slot], bytes);
        assert_memory_equal(&row[columns[slot]], &BETWEEN, sizeof(BETWEEN));
        for (int64_t k = 0; in_rows && k < columns[slot]; k++) {
            assert_memory_equal(&piece[k], "\377\377\377\377", sizeof(float));
        }
        memset(row, 0x11, bytes);
    }
}

/* Helpers take tiles where they come in time; the bits are the same. */
static void runs_on_rows(void **state)
{
    (void)state;
    enum { ROUNDS = 24 };
    float *y = calloc(M * N, sizeof(float)), *z = calloc(M * L, sizeof(float));
    assert_true(y != NULL && z != NULL);
    for (const wefti_cpu_isa *const *isa = NULL; next_isa(&isa);) {
        for (uint32_t round = 0; round < ROUNDS; round++) {
            bench b;
            const uint32_t in_rows = round % 8 << X;
            set_up(&b, *isa, round % 3 != 0);
            run(&b, 0);
            memcpy(y, b.tensors[Y], sizeof(float) * M * N);
            memcpy(z, b.tensors[Z], sizeof(float) * M * L);
            if ((in_rows & 1u << X) != 0) { /* not to be read where it was */
                memset(b.tensors[X], 0xff, sizeof(float) * M * K);
            }
            run(&b, in_rows);
            check(&b, Y, y, (in_rows & 1u << Y) != 0);
            check(&b, Z, z, (in_rows & 1u << Z) != 0);
            tear_down(&b);
        }
    }
    free(y);
    free(z);
}

int main(void)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < WEFTI_COUNT_OF(weights); i++) {
        weights[i] = (float)((int64_t)kernel_next(&seed) >> 39) * 0x1p-24f;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_product),   cmocka_unit_test(other_operands),
        cmocka_unit_test(several_steps), cmocka_unit_test(at_an_offset),
        cmocka_unit_test(runs_on_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
