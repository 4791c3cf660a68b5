/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/body.h"

#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/lower.h"

/* The opset whose meaning the operators inside bodies have. */
enum { BODY_OPSET = 23 };

bool wefti_body_failed(const wefti_body *body)
{
    return body->status != WEFT_OK;
}

bool wefti_body_has(const wefti_term *term)
{
    return term->known.type != WEFT_TYPE_NONE;
}

static wefti_term nothing(void)
{
    return (wefti_term){.view = wefti_view_absent()};
}

static void fail(wefti_body *body, weft_status status)
{
    body->status = body->status == WEFT_OK ? status : body->status;
}

static void free_held(wefti_body *body)
{
    for (size_t i = 0; i < body->held_count; i++) {
        wefti_free(body->held[i]);
    }
    wefti_free(body->held);
}

weft_status wefti_body_infer(wefti_body_function function, const wefti_node_view *node,
                             const wefti_known *inputs, wefti_known *outputs,
                             weft_error *error)
{
    wefti_body body = {
        .node = node, .inputs = inputs, .outputs = outputs, .error = error};
    function(&body);
    free_held(&body);
    return body.status;
}

weft_status wefti_body_lower(wefti_body_function function, wefti_lowering *lowering)
{
    wefti_body body = {.node = lowering->node,
                       .inputs = lowering->known_inputs,
                       .lowering = lowering,
                       .error = lowering->error};
    bool read = false;
    for (size_t i = 0; i < lowering->node->output_count; i++) {
        read = read || wefti_view_present(&lowering->outputs[i]);
    }
    if (read) {
        function(&body);
    }
    free_held(&body);
    return body.status;
}

wefti_term wefti_body_input(wefti_body *body, size_t index)
{
    wefti_term term = nothing();
    term.known = *wefti_known_input(body->node, body->inputs, index);
    if (body->lowering) {
        term.view = wefti_lower_input(body->lowering, index);
    }
    return term;
}

void wefti_body_refuse(wefti_body *body, weft_status status, const char *words)
{
    if (body->status == WEFT_OK) {
        body->status =
            wefti_error(body->error, status, "%s: %s", body->node->label, words);
    }
}

void wefti_body_check_types(wefti_body *body, size_t index, uint32_t types)
{
    if (body->status == WEFT_OK) {
        body->status =
            wefti_check_type(body->node, body->inputs, index, types, body->error);
    }
}

void wefti_body_check_rank(wefti_body *body, size_t index, int32_t least, int32_t most)
{
    if (body->status == WEFT_OK) {
        body->status =
            wefti_check_rank(body->node, body->inputs, index, least, most, body->error);
    }
}

void wefti_body_check_shape(wefti_body *body, const char *what, const wefti_term *term,
                            int32_t rank, const int64_t *dims)
{
    if (body->status == WEFT_OK) {
        body->status =
            wefti_check_shape(body->node, what, &term->known, rank, dims, body->error);
    }
}

int32_t wefti_body_axis(wefti_body *body, const char *name, int64_t otherwise,
                        int32_t rank)
{
    int32_t axis = 0;
    if (body->status == WEFT_OK) {
        body->status = wefti_check_axis(
            body->node, wefti_attribute_int(body->node, name, otherwise), rank, &axis,
            body->error);
    }
    return axis;
}

/* Keeps a copy for as long as inference needs to look at it. */
static const void *hold(wefti_body *body, const void *data, size_t size_bytes)
{
    void **held =
        wefti_grow(body->held, body->held_count, &body->held_capacity, sizeof(*held));
    void *copy = held ? wefti_malloc(size_bytes > 0 ? size_bytes : 1) : NULL;
    body->held = held ? held : body->held;
    if (!copy) {
        fail(body, wefti_error_memory(body->error, "a constant"));
        return NULL;
    }
    memcpy(copy, data, size_bytes);
    held[body->held_count++] = copy;
    return copy;
}

wefti_term wefti_body_new(wefti_body *body, weft_type type, int32_t rank,
                          const int64_t *dims)
{
    wefti_term term = nothing();
    /* An output of one, to have its size checked. */
    wefti_node_view node = *body->node;
    node.output_count = 1;
    if (body->status == WEFT_OK) {
        body->status = wefti_set_output(&node, &term.known, 0,
                                        (wefti_shape){type, rank, dims}, body->error);
    }
    if (body->status == WEFT_OK && body->lowering) {
        body->status =
            wefti_lower_temporary(body->lowering, type, rank, dims, &term.view);
    }
    return body->status == WEFT_OK ? term : nothing();
}

wefti_term wefti_body_constant(wefti_body *body, weft_type type, int32_t rank,
                               const int64_t *dims, const void *data)
{
    wefti_term term = nothing();
    if (body->status != WEFT_OK) {
        return term;
    }
    term.known = (wefti_known){.type = type, .rank = rank};
    memcpy(term.known.dims, dims, (size_t)rank * sizeof(*dims));
    if (body->lowering) {
        body->status =
            wefti_lower_constant(body->lowering, type, rank, dims, data, &term.view);
        if (body->status == WEFT_OK) {
            term.known.constant =
                wefti_view_constant(body->lowering->program, &term.view);
        }
    } else {
        size_t bytes =
            (size_t)wefti_known_element_count(&term.known) * weft_type_size(type);
        term.known.constant = hold(body, data, bytes);
    }
    return body->status == WEFT_OK ? term : nothing();
}

wefti_term wefti_body_scalar(wefti_body *body, weft_type type, double value)
{
    uint64_t bits = wefti_value_bits(type, value);
    int64_t none = 0;
    return wefti_body_constant(body, type, 0, &none, &bits);
}

wefti_term wefti_body_list(wefti_body *body, size_t count, const int64_t *values)
{
    int64_t dim = (int64_t)count;
    return wefti_body_constant(body, WEFT_TYPE_I64, 1, &dim, values);
}

static void fill_row(float *data, const void *user)
{
    for (int64_t i = 0; i < *(const int64_t *)user; i++) {
        data[i] = (float)i;
    }
}

wefti_term wefti_body_table(wefti_body *body, int32_t rank, const int64_t *dims,
                            wefti_body_fill fill, const void *user)
{
    int64_t count = 1;
    for (int32_t i = 0; body->status == WEFT_OK && i < rank; i++) {
        if (dims[i] < 0 ||
            (dims[i] > 0 && count > WEFTI_BODY_MOST_ELEMENTS / dims[i])) {
            wefti_body_refuse(body, WEFT_UNSUPPORTED,
                              "the table of constants that it needs is too large");
        }
        count *= body->status == WEFT_OK ? dims[i] : 1;
    }
    if (body->status != WEFT_OK || !body->lowering) {
        wefti_term term = nothing();
        if (body->status == WEFT_OK) {
            term.known = (wefti_known){.type = WEFT_TYPE_F32, .rank = rank};
            memcpy(term.known.dims, dims, (size_t)rank * sizeof(*dims));
        }
        return term;
    }
    float *data = wefti_calloc((size_t)count + 1, sizeof(*data));
    if (!data) {
        fail(body, wefti_error_memory(body->error, "a table of constants"));
        return nothing();
    }
    fill(data, user);
    wefti_term term = wefti_body_constant(body, WEFT_TYPE_F32, rank, dims, data);
    wefti_free(data);
    return term;
}

wefti_term wefti_body_row(wefti_body *body, weft_type type, int64_t count, int32_t rank,
                          int32_t axis)
{
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = i == axis ? count : 1;
    }
    if (type != WEFT_TYPE_F32 || count > 1 << 24) {
        /* Beyond 2^24 a float does not count any more. */
        return wefti_body_cast(body, type,
                               wefti_body_table(body, rank, dims, fill_row, &count));
    }
    return wefti_body_table(body, rank, dims, fill_row, &count);
}

static weft_attribute *next_attribute(wefti_body *body, const char *name,
                                      weft_attribute_kind kind)
{
    weft_attribute *attribute = &body->attributes[body->attribute_count++];
    *attribute = (weft_attribute){.name = name, .kind = kind};
    return attribute;
}

void wefti_body_with_int(wefti_body *body, const char *name, int64_t value)
{
    next_attribute(body, name, WEFT_ATTRIBUTE_INT)->i = value;
}

void wefti_body_with_float(wefti_body *body, const char *name, float value)
{
    next_attribute(body, name, WEFT_ATTRIBUTE_FLOAT)->f = value;
}

void wefti_body_with_string(wefti_body *body, const char *name, const char *value)
{
    next_attribute(body, name, WEFT_ATTRIBUTE_STRING)->s = value;
}

void wefti_body_with_ints(wefti_body *body, const char *name, size_t count,
                          const int64_t *values)
{
    weft_attribute *attribute = next_attribute(body, name, WEFT_ATTRIBUTE_INTS);
    attribute->ints = values;
    attribute->count = count;
}

void wefti_body_with_own(wefti_body *body, const char *name)
{
    const weft_attribute *own = wefti_attribute_find(body->node, name);
    if (own) {
        body->attributes[body->attribute_count++] = *own;
    }
}

static weft_status lower_call(wefti_body *body, const wefti_operator *op,
                              const wefti_node_view *node, const wefti_term *operands,
                              wefti_term *result)
{
    wefti_known knowns[WEFTI_BODY_MOST_OPERANDS];
    wefti_view views[WEFTI_BODY_MOST_OPERANDS];
    for (size_t i = 0; i < node->input_count; i++) {
        knowns[i] = operands[i].known;
        views[i] = operands[i].view;
    }
    static const bool may_alias[1] = {true};
    WEFTI_TRY(wefti_lower_temporary(body->lowering, result->known.type,
                                    result->known.rank, result->known.dims,
                                    &result->view));
    wefti_lowering lowering = {.program = body->lowering->program,
                               .node = node,
                               .known_inputs = knowns,
                               .known_outputs = &result->known,
                               .inputs = views,
                               .outputs = &result->view,
                               .may_alias = may_alias,
                               .error = body->error};
    return op->lower(&lowering);
}

wefti_term wefti_body_call(wefti_body *body, const char *op_type, size_t count,
                           const wefti_term *operands)
{
    wefti_term result = nothing();
    const wefti_operator *op = NULL;
    wefti_node_view node = {.op_type = op_type,
                            .label = body->node->label,
                            .opset = BODY_OPSET,
                            .attributes = body->attributes,
                            .attribute_count = body->attribute_count,
                            .input_count = count,
                            .output_count = 1};
    wefti_known knowns[WEFTI_BODY_MOST_OPERANDS];
    for (size_t i = 0; i < count; i++) {
        knowns[i] = operands[i].known;
    }
    if (body->status == WEFT_OK) {
        body->status = wefti_operator_find("", op_type, BODY_OPSET, &op, body->error);
    }
    if (body->status == WEFT_OK) {
        body->status =
            wefti_operator_infer(op, &node, knowns, &result.known, body->error);
    }
    if (body->status == WEFT_OK && body->lowering) {
        body->status = lower_call(body, op, &node, operands, &result);
    }
    body->attribute_count = 0;
    return body->status == WEFT_OK ? result : nothing();
}

wefti_term wefti_body_1(wefti_body *body, const char *op_type, wefti_term a)
{
    return wefti_body_call(body, op_type, 1, &a);
}

wefti_term wefti_body_2(wefti_body *body, const char *op_type, wefti_term a,
                        wefti_term b)
{
    const wefti_term operands[] = {a, b};
    return wefti_body_call(body, op_type, 2, operands);
}

wefti_term wefti_body_3(wefti_body *body, const char *op_type, wefti_term a,
                        wefti_term b, wefti_term c)
{
    const wefti_term operands[] = {a, b, c};
    return wefti_body_call(body, op_type, 3, operands);
}

wefti_term wefti_body_cast(wefti_body *body, weft_type type, wefti_term a)
{
    if (a.known.type == type) {
        return a;
    }
    wefti_body_with_int(body, "to", type);
    return wefti_body_1(body, "Cast", a);
}

wefti_term wefti_body_reshape(wefti_body *body, wefti_term a, int32_t rank,
                              const int64_t *dims)
{
    wefti_body_with_int(body, "allowzero", 1);
    return wefti_body_2(body, "Reshape", a, wefti_body_list(body, (size_t)rank, dims));
}

wefti_term wefti_body_unsqueeze(wefti_body *body, wefti_term a, int32_t axis)
{
    const int64_t axes[] = {axis};
    return wefti_body_2(body, "Unsqueeze", a, wefti_body_list(body, 1, axes));
}

wefti_term wefti_body_transpose(wefti_body *body, wefti_term a, const int64_t *order)
{
    wefti_body_with_ints(body, "perm", (size_t)a.known.rank, order);
    return wefti_body_1(body, "Transpose", a);
}

wefti_term wefti_body_slice(wefti_body *body, wefti_term a, int32_t axis, int64_t begin,
                            int64_t end, int64_t step)
{
    const int64_t axes[] = {axis};
    const wefti_term operands[] = {
        a, wefti_body_list(body, 1, &begin), wefti_body_list(body, 1, &end),
        wefti_body_list(body, 1, axes), wefti_body_list(body, 1, &step)};
    return wefti_body_call(body, "Slice", 5, operands);
}

wefti_term wefti_body_join(wefti_body *body, int32_t axis, wefti_term a, wefti_term b)
{
    wefti_body_with_int(body, "axis", axis);
    return wefti_body_2(body, "Concat", a, b);
}

wefti_term wefti_body_reduce(wefti_body *body, const char *op_type, wefti_term a,
                             int32_t axis, bool keep)
{
    const int64_t axes[] = {axis};
    wefti_term list = wefti_body_list(body, 1, axes);
    wefti_body_with_int(body, "keepdims", keep);
    return wefti_body_2(body, op_type, a, list);
}

wefti_term wefti_body_expand(wefti_body *body, wefti_term a, int32_t rank,
                             const int64_t *dims)
{
    return wefti_body_2(body, "Expand", a, wefti_body_list(body, (size_t)rank, dims));
}

wefti_term wefti_body_dense(wefti_body *body, wefti_term a)
{
    if (body->status == WEFT_OK && body->lowering) {
        body->status = wefti_lower_dense(body->lowering, &a.view);
    }
    return body->status == WEFT_OK ? a : nothing();
}

wefti_term wefti_body_copy(wefti_body *body, wefti_term a)
{
    wefti_term copy = wefti_body_new(body, a.known.type, a.known.rank, a.known.dims);
    if (body->status == WEFT_OK && body->lowering) {
        body->status = wefti_lower_copy(body->lowering, &a.view, &copy.view);
    }
    return copy;
}

wefti_term wefti_body_program(wefti_body *body, const wefti_term *inputs,
                              int32_t input_count,
                              const wefti_instruction *instructions,
                              int32_t instruction_count)
{
    wefti_known knowns[WEFTI_ELEMENTWISE_MAX_INPUTS], shape = {0};
    wefti_view views[WEFTI_ELEMENTWISE_MAX_INPUTS];
    for (int32_t i = 0; i < input_count; i++) {
        knowns[i] = inputs[i].known;
        views[i] = inputs[i].view;
    }
    if (body->status == WEFT_OK) {
        body->status = wefti_broadcast_shapes(body->node, knowns, (size_t)input_count,
                                              &shape, body->error);
    }
    wefti_term result = wefti_body_new(body, WEFT_TYPE_F32, shape.rank, shape.dims);
    if (body->status == WEFT_OK && body->lowering) {
        body->status =
            wefti_lower_elementwise(body->lowering, views, input_count, instructions,
                                    instruction_count, &result.view);
    }
    return result;
}

void wefti_body_step(wefti_body *body, wefti_kernel kernel, void *params,
                     size_t params_bytes, size_t count, const wefti_term *operands)
{
    if (body->status != WEFT_OK || !body->lowering) {
        return;
    }
    wefti_program_step step =
        wefti_lower_begin(body->lowering, kernel, params, params_bytes);
    for (size_t i = 0; i < count; i++) {
        step.operands[i] = operands[i].view;
    }
    body->status = wefti_lower_end(body->lowering, &step);
}

void wefti_body_output(wefti_body *body, size_t index, wefti_term term)
{
    if (body->status != WEFT_OK || index >= body->node->output_count) {
        return;
    }
    const wefti_known *known = &term.known;
    body->status =
        body->lowering
            ? wefti_lower_alias(body->lowering, index, &term.view)
            : wefti_set_output(body->node, body->outputs, index,
                               (wefti_shape){known->type, known->rank, known->dims},
                               body->error);
}
