/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_random.h"

/* Elementwise programs of every instruction set against plain C, bit for bit: every
 * operation and type, layouts of the inputs, programs, and all floats. */

typedef struct fixture {
    wefti_elementwise_params params;
    random_tensor inputs[WEFTI_ELEMENTWISE_MAX_INPUTS];
    void *output;
    kernel_case step;
} fixture;

enum { ANY_INPUT = RANDOM_DENSE | RANDOM_REPEATED | RANDOM_PERMUTED | RANDOM_GAPS };

static int64_t count_of(const wefti_elementwise_params *p)
{
    int64_t count = 1;
    for (int32_t i = 0; i < p->rank; i++) {
        count *= p->dims[i];
    }
    return count;
}

/* `params` has everything but strides. */
static void check(uint64_t *seed, const wefti_elementwise_params *params,
                  uint32_t layouts)
{
    fixture x = {.params = *params};
    wefti_elementwise_params *p = &x.params;
    kernel_case_init(&x.step, WEFTI_KERNEL_ELEMENTWISE, p, sizeof(*p));
    for (int32_t i = 0; i < p->input_count; i++) {
        x.inputs[i] =
            random_tensor_make(seed, p->input_types[i], p->rank, p->dims, layouts);
        memcpy(p->input_strides[i], x.inputs[i].strides, sizeof(p->input_strides[i]));
        kernel_case_operand(&x.step, i, x.inputs[i].data, false);
    }
    size_t bytes = (size_t)count_of(p) * weft_type_size(p->output_type);
    x.output = kernel_alloc(bytes);
    kernel_case_output(&x.step, WEFTI_ELEMENTWISE_OUTPUT, x.output, 0);
    x.step.output_bytes = bytes;
    kernel_case_check(&x.step);
    for (int32_t i = 0; i < p->input_count; i++) {
        random_tensor_drop(&x.inputs[i]);
    }
    kernel_free(x.output);
}

static bool gives_bool(wefti_operation operation)
{
    return operation == WEFTI_OP_NOT || operation == WEFTI_OP_IS_NAN ||
           (operation >= WEFTI_OP_EQUAL && operation <= WEFTI_OP_XOR);
}

static bool takes_bool(wefti_operation operation)
{
    return operation == WEFTI_OP_NOT ||
           (operation >= WEFTI_OP_AND && operation <= WEFTI_OP_XOR);
}

static wefti_elementwise_params single(wefti_operation operation, weft_type type)
{
    wefti_elementwise_params p = {.type = type, .output_type = type};
    p.input_count = wefti_operation_arity(operation);
    for (int32_t i = 0; i < p.input_count; i++) {
        bool condition = operation == WEFTI_OP_WHERE && i == 0;
        p.input_types[i] = condition || takes_bool(operation) ? WEFT_TYPE_BOOL : type;
    }
    p.output_type = gives_bool(operation) ? WEFT_TYPE_BOOL : type;
    p.instruction_count = 1;
    p.instructions[0] = (wefti_instruction){
        .operation = operation, .a = 0, .b = 1, .c = 2, .alpha = 0.3f, .beta = 1.75f};
    return p;
}

static const weft_type types[] = {WEFT_TYPE_F32,  WEFT_TYPE_F64, WEFT_TYPE_I64,
                                  WEFT_TYPE_I32,  WEFT_TYPE_I8,  WEFT_TYPE_U8,
                                  WEFT_TYPE_BOOL, WEFT_TYPE_F16};

static void every_operation_type_and_layout(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (size_t t = 0; t < WEFTI_COUNT_OF(types); t++) {
        for (int operation = 0; operation < WEFTI_OP_COUNT; operation++) {
            for (int32_t round = 0; round < 12; round++) {
                wefti_elementwise_params p =
                    single((wefti_operation)operation, types[t]);
                p.rank = random_dims(&seed, round < 8 ? 3 : 8, 2500, p.dims);
                p.instructions[0].alpha = round % 3 == 0 ? 1.0f : 0.3f;
                check(&seed, &p, round == 0 ? RANDOM_DENSE : ANY_INPUT);
            }
        }
    }
}

/* Long rows with scalars, and what is cut into many tiles. */
static void long_rows(void **state)
{
    (void)state;
    static const wefti_operation operations[] = {
        WEFTI_OP_RELU, WEFTI_OP_GELU, WEFTI_OP_ADD, WEFTI_OP_LESS, WEFTI_OP_WHERE};
    uint64_t seed = 2;
    for (size_t i = 0; i < WEFTI_COUNT_OF(operations); i++) {
        for (int32_t round = 0; round < 6; round++) {
            wefti_elementwise_params p = single(operations[i], WEFT_TYPE_F32);
            p.rank = 2;
            p.dims[0] = 1 + random_below(&seed, 7);
            p.dims[1] = 20000 + random_below(&seed, 20000);
            check(&seed, &p, round == 0 ? RANDOM_DENSE : ANY_INPUT);
        }
    }
}

static wefti_operation random_operation(uint64_t *seed)
{
    return (wefti_operation)random_below(seed, WEFTI_OP_COUNT);
}

/* A register of the type, or -1. */
static int32_t random_register(uint64_t *seed, const weft_type *registers,
                               weft_type type)
{
    for (int32_t attempt = 0; attempt < 40; attempt++) {
        int32_t r = (int32_t)random_below(seed, 20);
        if (registers[r] == type) {
            return r;
        }
    }
    return -1;
}

/* Adds an instruction whose operands exist; false when there are none. */
static bool add_instruction(uint64_t *seed, wefti_elementwise_params *p,
                            weft_type *registers)
{
    wefti_operation operation = random_operation(seed);
    int32_t found[3] = {0, 0, 0};
    for (int32_t i = 0; i < wefti_operation_arity(operation); i++) {
        bool flag = takes_bool(operation) || (operation == WEFTI_OP_WHERE && i == 0);
        found[i] =
            random_register(seed, registers, flag ? WEFT_TYPE_BOOL : WEFT_TYPE_F32);
        if (found[i] < 0) {
            return false;
        }
    }
    p->instructions[p->instruction_count] = (wefti_instruction){.operation = operation,
                                                                .a = (uint8_t)found[0],
                                                                .b = (uint8_t)found[1],
                                                                .c = (uint8_t)found[2],
                                                                .alpha = -1.25f,
                                                                .beta = 2.5f};
    p->output_type = gives_bool(operation) ? WEFT_TYPE_BOOL : WEFT_TYPE_F32;
    registers[4 + p->instruction_count++] = p->output_type;
    return true;
}

static void random_programs(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int32_t round = 0; round < 400; round++) {
        wefti_elementwise_params p = {.type = WEFT_TYPE_F32};
        weft_type registers[20] = {WEFT_TYPE_NONE};
        p.rank = random_dims(&seed, round % 4 == 0 ? 8 : 3, 4000, p.dims);
        p.input_count = 1 + (int32_t)random_below(&seed, 4);
        for (int32_t i = 0; i < p.input_count; i++) {
            bool flag = i > 0 && random_below(&seed, 4) == 0;
            registers[i] = p.input_types[i] = flag ? WEFT_TYPE_BOOL : WEFT_TYPE_F32;
        }
        int32_t wanted = 1 + (int32_t)random_below(&seed, 16);
        while (p.instruction_count < wanted) {
            add_instruction(&seed, &p, registers);
        }
        check(&seed, &p, round % 3 == 0 ? RANDOM_DENSE : ANY_INPUT);
    }
}

/* Each function of one operand over floats of every exponent. */
static void every_float(void **state)
{
    (void)state;
    enum { COUNT = 1 << 18 };
    float *values = kernel_alloc(COUNT * sizeof(float));
    float *output = kernel_alloc(COUNT * sizeof(float));
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t bits = i * 16381u;
        memcpy(&values[i], &bits, sizeof(bits));
    }
    for (int operation = 0; operation < WEFTI_OP_ADD; operation++) {
        wefti_elementwise_params p = single((wefti_operation)operation, WEFT_TYPE_F32);
        if (p.input_types[0] != WEFT_TYPE_F32 || p.output_type != WEFT_TYPE_F32) {
            continue;
        }
        p.rank = 1;
        p.dims[0] = COUNT;
        p.input_strides[0][0] = 1;
        kernel_case step;
        kernel_case_init(&step, WEFTI_KERNEL_ELEMENTWISE, &p, sizeof(p));
        kernel_case_operand(&step, 0, values, false);
        kernel_case_output(&step, WEFTI_ELEMENTWISE_OUTPUT, output, COUNT);
        kernel_case_check(&step);
    }
    kernel_free(values);
    kernel_free(output);
}

static void wrong_programs_are_refused(void **state)
{
    (void)state;
    wefti_elementwise_params good = single(WEFTI_OP_ADD, WEFT_TYPE_F32), bad;
    weft_error error;
    for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; *isa != NULL; isa++) {
        wefti_cpu_prepare prepare = (*isa)->prepare[WEFTI_KERNEL_ELEMENTWISE];
        wefti_cpu_prepared prepared = {.packed_operand = -1};
        wefti_step step = {.kernel = WEFTI_KERNEL_ELEMENTWISE, .params = &bad};
        bad = good;
        bad.instructions[0].b = 4; /* not written yet */
        assert_int_equal(prepare(&step, false, &prepared, &error), WEFT_INTERNAL);
        bad = good;
        bad.instructions[0].b = 200;
        assert_int_equal(prepare(&step, false, &prepared, &error), WEFT_INTERNAL);
        bad = good;
        bad.instruction_count = 17;
        assert_int_equal(prepare(&step, false, &prepared, &error), WEFT_UNSUPPORTED);
        bad = good;
        bad.output_type = WEFT_TYPE_BOOL;
        assert_int_equal(prepare(&step, false, &prepared, &error), WEFT_INTERNAL);
        bad = single(WEFTI_OP_EXP, WEFT_TYPE_I64);
        assert_int_equal(prepare(&step, false, &prepared, &error), WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.message, "\"exp\" for i64"));
        bad = good;
        bad.rank = 9;
        assert_int_equal(prepare(&step, false, &prepared, &error), WEFT_INTERNAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_type_and_layout),
        cmocka_unit_test(long_rows),
        cmocka_unit_test(random_programs),
        cmocka_unit_test(every_float),
        cmocka_unit_test(wrong_programs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
