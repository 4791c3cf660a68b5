/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

#include <stdio.h>

#include "base/memory.h"
#include "base/testing.h"
#include "support/program_run.h"

void op_begin(op_case *c, const char *domain, const char *op_type, int32_t opset)
{
    *c = (op_case){0};
    weft_status status = wefti_operator_find(domain, op_type, opset, &c->op, &c->error);
    if (status != WEFT_OK) {
        fail_msg("%s", c->error.message);
    }
    c->node = (wefti_node_view){.op_type = op_type,
                                .label = op_type,
                                .opset = opset,
                                .attributes = c->attributes};
}

void op_end(op_case *c)
{
    for (size_t i = 0; i < OP_CASE_MAX; i++) {
        kernel_free(c->input_data[i]);
        kernel_free(c->results[i]);
    }
}

static weft_attribute *add_attribute(op_case *c, const char *name,
                                     weft_attribute_kind kind)
{
    assert_true(c->node.attribute_count < OP_CASE_MAX);
    weft_attribute *attribute = &c->attributes[c->node.attribute_count++];
    *attribute = (weft_attribute){.name = name, .kind = kind};
    return attribute;
}

void op_int(op_case *c, const char *name, int64_t value)
{
    add_attribute(c, name, WEFT_ATTRIBUTE_INT)->i = value;
}

void op_float(op_case *c, const char *name, float value)
{
    add_attribute(c, name, WEFT_ATTRIBUTE_FLOAT)->f = value;
}

void op_string(op_case *c, const char *name, const char *value)
{
    add_attribute(c, name, WEFT_ATTRIBUTE_STRING)->s = value;
}

void op_ints(op_case *c, const char *name, size_t count, const int64_t *values)
{
    weft_attribute *attribute = add_attribute(c, name, WEFT_ATTRIBUTE_INTS);
    attribute->ints = values;
    attribute->count = count;
}

void op_floats(op_case *c, const char *name, size_t count, const float *values)
{
    weft_attribute *attribute = add_attribute(c, name, WEFT_ATTRIBUTE_FLOATS);
    attribute->floats = values;
    attribute->count = count;
}

void op_strings(op_case *c, const char *name, size_t count, const char *const *values)
{
    weft_attribute *attribute = add_attribute(c, name, WEFT_ATTRIBUTE_STRINGS);
    attribute->strings = values;
    attribute->count = count;
}

void op_tensor(op_case *c, const char *name, const weft_tensor *tensor)
{
    add_attribute(c, name, WEFT_ATTRIBUTE_TENSOR)->tensor = tensor;
}

static size_t known_bytes(const wefti_known *known)
{
    size_t bytes = weft_type_size(known->type);
    for (int32_t i = 0; i < known->rank; i++) {
        bytes *= (size_t)known->dims[i];
    }
    return bytes;
}

void op_input(op_case *c, weft_type type, int32_t rank, const int64_t *dims,
              const void *data)
{
    assert_true(c->node.input_count < OP_CASE_MAX);
    size_t index = c->node.input_count++;
    c->inputs[index] = (wefti_known){.type = type, .rank = rank};
    if (rank > 0) {
        memcpy(c->inputs[index].dims, dims, (size_t)rank * sizeof(*dims));
    }
    size_t bytes = known_bytes(&c->inputs[index]);
    c->input_data[index] = kernel_alloc(bytes > 0 ? bytes : 8);
    if (data && bytes > 0) {
        memcpy(c->input_data[index], data, bytes);
    }
}

void op_constant(op_case *c, weft_type type, int32_t rank, const int64_t *dims,
                 const void *data)
{
    op_input(c, type, rank, dims, data);
    size_t index = c->node.input_count - 1;
    c->inputs[index].constant = c->input_data[index];
}

void op_absent(op_case *c)
{
    assert_true(c->node.input_count < OP_CASE_MAX);
    c->inputs[c->node.input_count++] = (wefti_known){.type = WEFT_TYPE_NONE};
}

void op_f32(op_case *c, int32_t rank, const int64_t *dims, const float *data)
{
    op_input(c, WEFT_TYPE_F32, rank, dims, data);
}

void op_list(op_case *c, size_t count, const int64_t *values)
{
    int64_t dim = (int64_t)count;
    op_constant(c, WEFT_TYPE_I64, 1, &dim, values);
}

const float *op_random(op_case *c, int32_t rank, const int64_t *dims, uint64_t seed)
{
    op_input(c, WEFT_TYPE_F32, rank, dims, NULL);
    size_t index = c->node.input_count - 1;
    float *values = c->input_data[index];
    uint64_t state = seed * 77 + 5;
    for (size_t i = 0; i < known_bytes(&c->inputs[index]) / sizeof(float); i++) {
        values[i] = (float)((int64_t)kernel_next(&state) >> 39) * 0x1p-24F;
    }
    return values;
}

weft_status op_infer(op_case *c, size_t output_count)
{
    c->node.output_count = output_count;
    return wefti_operator_infer(c->op, &c->node, c->inputs, c->outputs, &c->error);
}

/* One way to run. */
typedef struct op_mode {
    bool scattered, alias, packed;
    const wefti_cpu_isa *isa;
} op_mode;

/* Lays a dense tensor out with its dims in reverse order and a gap after each, so that
 * no two neighbouring dims walk as one. */
static void *scatter(const wefti_known *known, const void *dense, wefti_view *view)
{
    size_t size = weft_type_size(known->type);
    int64_t stride = 1;
    for (int32_t i = 0; i < known->rank; i++) {
        view->strides[i] = stride;
        stride = stride * known->dims[i] + 1;
    }
    unsigned char *block = kernel_alloc((size_t)stride * size * 2);
    memset(block, 0xA5, (size_t)stride * size * 2);
    wefti_view source = *view;
    wefti_view_make_dense(&source);
    program_copy(block, view->strides, dense, source.strides, view);
    return block;
}

static wefti_view add_view(wefti_program *program, const wefti_known *known,
                           wefti_buffer_kind kind, size_t index)
{
    wefti_view view = {.type = known->type, .rank = known->rank};
    memcpy(view.dims, known->dims, sizeof(view.dims));
    wefti_view_make_dense(&view);
    wefti_buffer buffer = {.kind = kind,
                           .index = (int32_t)index,
                           .size_bytes = known_bytes(known),
                           .constant = known->constant};
    assert_int_equal(wefti_program_add_buffer(program, &buffer, &view.buffer, NULL),
                     WEFT_OK);
    return view;
}

typedef struct op_operands {
    wefti_view inputs[OP_CASE_MAX], outputs[OP_CASE_MAX];
    void *blocks[OP_CASE_MAX]; /* scattered inputs */
    void *input_data[OP_CASE_MAX], *output_data[OP_CASE_MAX];
} op_operands;

static void add_operands(const op_case *c, const op_mode *mode, wefti_program *program,
                         op_operands *operands)
{
    for (size_t i = 0; i < c->node.input_count; i++) {
        const wefti_known *known = &c->inputs[i];
        operands->inputs[i] = wefti_view_absent();
        operands->input_data[i] = c->input_data[i];
        if (known->type == WEFT_TYPE_NONE) {
            continue;
        }
        bool constant = known->constant != NULL;
        operands->inputs[i] = add_view(
            program, known, constant ? WEFTI_BUFFER_CONSTANT : WEFTI_BUFFER_INPUT, i);
        if (!constant && mode->scattered) {
            operands->blocks[i] =
                scatter(known, c->input_data[i], &operands->inputs[i]);
            operands->input_data[i] = operands->blocks[i];
        }
    }
    for (size_t i = 0; i < c->node.output_count; i++) {
        operands->outputs[i] = wefti_view_absent();
        if (!c->output_unread[i]) {
            operands->outputs[i] =
                add_view(program, &c->outputs[i], WEFTI_BUFFER_OUTPUT, i);
            operands->output_data[i] = kernel_alloc(known_bytes(&c->outputs[i]));
            memset(operands->output_data[i], 0x5A, known_bytes(&c->outputs[i]));
        }
    }
}

/* Compares with the first run's results, or becomes them. */
static void keep_results(op_case *c, const op_mode *mode, const wefti_program *program,
                         const op_operands *operands, const program_memory *memory)
{
    for (size_t i = 0; i < c->node.output_count; i++) {
        const wefti_view *view = &operands->outputs[i];
        if (c->output_unread[i]) {
            continue;
        }
        size_t bytes = known_bytes(&c->outputs[i]);
        wefti_view dense = *view;
        wefti_view_make_dense(&dense);
        char *result = kernel_alloc(bytes);
        const char *source = program_address(program, memory, view->buffer);
        program_copy(result, dense.strides, source + view->offset_bytes, view->strides,
                     view);
        assert_int_equal(view->rank, c->outputs[i].rank);
        assert_memory_equal(view->dims, c->outputs[i].dims,
                            (size_t)view->rank * sizeof(int64_t));
        if (!c->results[i]) {
            c->results[i] = result;
            continue;
        }
        if (memcmp(result, c->results[i], bytes) != 0) {
            fail_msg("%s: output %zu differs on %s%s%s%s", c->node.label, i,
                     mode->isa->name, mode->scattered ? ", scattered" : "",
                     mode->alias ? ", aliased" : "", mode->packed ? ", packed" : "");
        }
        kernel_free(result);
    }
}

static weft_status lower(op_case *c, bool alias, wefti_program *program,
                         op_operands *operands)
{
    bool may_alias[OP_CASE_MAX];
    for (size_t i = 0; i < OP_CASE_MAX; i++) {
        may_alias[i] = alias;
    }
    wefti_lowering lowering = {.program = program,
                               .node = &c->node,
                               .known_inputs = c->inputs,
                               .known_outputs = c->outputs,
                               .inputs = operands->inputs,
                               .outputs = operands->outputs,
                               .may_alias = may_alias,
                               .error = &c->error};
    return c->op->lower(&lowering);
}

static void free_operands(op_operands *operands)
{
    for (size_t i = 0; i < OP_CASE_MAX; i++) {
        kernel_free(operands->blocks[i]);
        kernel_free(operands->output_data[i]);
    }
}

static void run_mode(op_case *c, const op_mode *mode)
{
    wefti_program program;
    op_operands operands = {0};
    wefti_program_init(&program);
    program.byte_products = mode->packed; /* the sums are the same */
    add_operands(c, mode, &program, &operands);
    if (lower(c, mode->alias, &program, &operands) != WEFT_OK) {
        fail_msg("lowering: %s", c->error.message);
    }
    if (mode->alias && !mode->scattered) {
        c->step_count = program.step_count;
    }
    program_memory memory = {.inputs = operands.input_data,
                             .outputs = operands.output_data};
    program_run(&program, mode->isa, mode->packed, &memory);
    keep_results(c, mode, &program, &operands, &memory);
    program_memory_fini(&program, &memory);
    free_operands(&operands);
    wefti_program_fini(&program);
}

weft_status op_lower(op_case *c, uint64_t failing_allocation)
{
    op_mode mode = {.alias = true, .scattered = true};
    wefti_program program;
    op_operands operands = {0};
    wefti_program_init(&program);
    add_operands(c, &mode, &program, &operands);
    wefti_fault_arm(failing_allocation, 1U << WEFTI_FAULT_ALLOCATION);
    weft_status status = lower(c, true, &program, &operands);
    wefti_fault_arm(0, 0);
    free_operands(&operands);
    wefti_program_fini(&program);
    return status;
}

static void fold(op_case *c)
{
    for (size_t i = 0; i < c->node.output_count; i++) {
        c->results[i] = kernel_alloc(known_bytes(&c->outputs[i]));
    }
    assert_int_equal(
        c->op->fold(&c->node, c->inputs, c->outputs, c->results, &c->error), WEFT_OK);
}

void op_run(op_case *c, size_t output_count)
{
    if (op_infer(c, output_count) != WEFT_OK) {
        fail_msg("inference: %s", c->error.message);
    }
    if (c->op->fold) {
        fold(c);
    }
    for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; c->op->lower && *isa;
         isa++) {
        for (uint32_t bits = 0; bits < 8 && (*isa)->supported(); bits++) {
            op_mode mode = {.scattered = (bits & 1) != 0,
                            .alias = (bits & 2) != 0,
                            .packed = (bits & 4) != 0,
                            .isa = *isa};
            run_mode(c, &mode);
        }
    }
}

void op_expect_error(op_case *c, size_t output_count, weft_status status,
                     const char *text)
{
    weft_status found = op_infer(c, output_count);
    if (found != status || !strstr(c->error.message, text) ||
        strncmp(c->error.message, c->node.label, strlen(c->node.label)) != 0) {
        fail_msg("%s: expected %s with \"%s\", got %s with \"%s\"", c->node.label,
                 weft_status_name(status), text, weft_status_name(found),
                 c->error.message);
    }
}

void op_expect_shape(const op_case *c, size_t index, weft_type type, int32_t rank,
                     const int64_t *dims)
{
    assert_int_equal(c->outputs[index].type, type);
    assert_int_equal(c->outputs[index].rank, rank);
    for (int32_t i = 0; i < rank; i++) {
        assert_int_equal(c->outputs[index].dims[i], dims[i]);
    }
}

void op_expect_f32(const op_case *c, size_t index, int32_t rank, const int64_t *dims,
                   const float *values, float tolerance)
{
    op_expect_shape(c, index, WEFT_TYPE_F32, rank, dims);
    const float *found = c->results[index];
    for (size_t i = 0; i < known_bytes(&c->outputs[index]) / sizeof(float); i++) {
        bool both_nan = isnan(found[i]) && isnan(values[i]);
        bool equal = found[i] == values[i];
        float error = fabsf(found[i] - values[i]);
        if (!both_nan && !equal && !(error <= tolerance * (1 + fabsf(values[i])))) {
            fail_msg("%s: output %zu, element %zu is %.9g, expected %.9g",
                     c->node.label, index, i, (double)found[i], (double)values[i]);
        }
    }
}

void op_expect_bytes(const op_case *c, size_t index, weft_type type, int32_t rank,
                     const int64_t *dims, const void *values)
{
    op_expect_shape(c, index, type, rank, dims);
    size_t bytes = known_bytes(&c->outputs[index]);
    if (bytes > 0 && memcmp(c->results[index], values, bytes) != 0) {
        fail_msg("%s: output %zu has other values", c->node.label, index);
    }
}
