/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/lower.h"

#include <string.h>

#include "backend/host_cast.h"
#include "base/memory.h"

wefti_view wefti_lower_input(const wefti_lowering *lowering, size_t index)
{
    return index < lowering->node->input_count ? lowering->inputs[index]
                                               : wefti_view_absent();
}

wefti_view wefti_lower_output(const wefti_lowering *lowering, size_t index)
{
    return index < lowering->node->output_count ? lowering->outputs[index]
                                                : wefti_view_absent();
}

wefti_program_step wefti_lower_begin(const wefti_lowering *lowering,
                                     wefti_kernel kernel, void *params,
                                     size_t params_bytes)
{
    wefti_program_step step = {.kernel = kernel,
                               .params = params,
                               .params_bytes = params_bytes,
                               .label = lowering->node->label};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = wefti_view_absent();
    }
    return step;
}

weft_status wefti_lower_end(wefti_lowering *lowering, const wefti_program_step *step)
{
    return wefti_program_add_step(lowering->program, step, lowering->error);
}

weft_status wefti_lower_temporary(wefti_lowering *lowering, weft_type type,
                                  int32_t rank, const int64_t *dims, wefti_view *view)
{
    wefti_view temporary = {.type = type, .rank = rank};
    memcpy(temporary.dims, dims, (size_t)rank * sizeof(*dims));
    weft_status status =
        wefti_program_add_temporary(lowering->program, &temporary, lowering->error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(lowering->error, status, "%s", lowering->node->label);
    }
    *view = temporary;
    return WEFT_OK;
}

static size_t weight_bytes(const wefti_program *program)
{
    size_t total = 0;
    for (size_t i = 0; i < program->buffer_count; i++) {
        const wefti_buffer *buffer = &program->buffers[i];
        bool given = buffer->kind == WEFTI_BUFFER_CONSTANT && !buffer->owned;
        total += given ? buffer->size_bytes : 0;
    }
    return total;
}

static weft_status spend(wefti_lowering *lowering, size_t size_bytes)
{
    wefti_program *program = lowering->program;
    size_t total = 0;
    bool fits = !WEFTI_ADD_OVERFLOWS(program->made_bytes, size_bytes, &total);
    if (!fits || (total > WEFTI_LOWER_MADE_BYTES &&
                  total - WEFTI_LOWER_MADE_BYTES > weight_bytes(program))) {
        return wefti_error(lowering->error, WEFT_UNSUPPORTED,
                           "%s: a constant of %zu bytes that it needs is too much "
                           "beside %zu bytes of others",
                           lowering->node->label, size_bytes, program->made_bytes);
    }
    program->made_bytes = total;
    return WEFT_OK;
}

weft_status wefti_lower_constant(wefti_lowering *lowering, weft_type type, int32_t rank,
                                 const int64_t *dims, const void *data,
                                 wefti_view *view)
{
    wefti_view constant = {.type = type, .rank = rank};
    memcpy(constant.dims, dims, (size_t)rank * sizeof(*dims));
    wefti_view_make_dense(&constant);
    size_t size_bytes =
        (size_t)wefti_view_element_count(&constant) * weft_type_size(type);
    WEFTI_TRY(spend(lowering, size_bytes));
    WEFTI_TRY(wefti_program_add_owned_constant(lowering->program, data, size_bytes,
                                               &constant.buffer, lowering->error));
    *view = constant;
    return WEFT_OK;
}

weft_status wefti_lower_dense(wefti_lowering *lowering, wefti_view *view)
{
    if (!wefti_view_present(view) || wefti_view_is_dense(view)) {
        return WEFT_OK;
    }
    wefti_view dense;
    WEFTI_TRY(
        wefti_lower_temporary(lowering, view->type, view->rank, view->dims, &dense));
    WEFTI_TRY(wefti_lower_copy(lowering, view, &dense));
    *view = dense;
    return WEFT_OK;
}

weft_status wefti_lower_copy(wefti_lowering *lowering, const wefti_view *source,
                             const wefti_view *target)
{
    if (wefti_view_element_count(target) == 0) {
        return WEFT_OK;
    }
    wefti_copy_params params = {.source_type = source->type,
                                .target_type = target->type};
    memcpy(params.dims, target->dims, sizeof(params.dims));
    memcpy(params.source_strides, source->strides, sizeof(params.source_strides));
    memcpy(params.target_strides, target->strides, sizeof(params.target_strides));
    int64_t *const strides[] = {params.source_strides, params.target_strides};
    params.rank = wefti_collapse_dims(target->rank, params.dims, strides, 2);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_COPY, &params, sizeof(params));
    step.operands[WEFTI_COPY_SOURCE] = *source;
    step.operands[WEFTI_COPY_TARGET] = *target;
    return wefti_lower_end(lowering, &step);
}

weft_status wefti_lower_triangle(wefti_lowering *lowering, const int64_t dims[2],
                                 int64_t diagonal, bool upper, wefti_view *mask)
{
    /* A small file must not fill the memory while it is loaded. */
    const int64_t most_bytes = (int64_t)1 << 28;
    if (dims[0] > 0 && dims[1] > most_bytes / dims[0]) {
        return wefti_error(lowering->error, WEFT_UNSUPPORTED,
                           "%s: a triangle of %lld x %lld elements is too large; give "
                           "the mask as an input",
                           lowering->node->label, (long long)dims[0],
                           (long long)dims[1]);
    }
    /* Beyond the matrix the diagonal changes nothing; so the sum cannot overflow. */
    diagonal = diagonal > dims[1] ? dims[1] : diagonal < -dims[0] ? -dims[0] : diagonal;
    uint8_t *kept = wefti_calloc((size_t)dims[0], (size_t)dims[1]);
    if (!kept) {
        return wefti_error_memory(lowering->error, "a triangle's mask");
    }
    for (int64_t i = 0; i < dims[0]; i++) {
        for (int64_t j = 0; j < dims[1]; j++) {
            kept[i * dims[1] + j] = upper ? j >= i + diagonal : j <= i + diagonal;
        }
    }
    weft_status status =
        wefti_lower_constant(lowering, WEFT_TYPE_BOOL, 2, dims, kept, mask);
    wefti_free(kept);
    return status;
}

weft_status wefti_lower_fill(wefti_lowering *lowering, const wefti_view *target,
                             uint64_t value_bits)
{
    if (wefti_view_element_count(target) == 0) {
        return WEFT_OK;
    }
    wefti_fill_params params = {.type = target->type, .value_bits = value_bits};
    memcpy(params.dims, target->dims, sizeof(params.dims));
    memcpy(params.strides, target->strides, sizeof(params.strides));
    int64_t *const strides[] = {params.strides};
    params.rank = wefti_collapse_dims(target->rank, params.dims, strides, 1);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_FILL, &params, sizeof(params));
    step.operands[WEFTI_FILL_TARGET] = *target;
    return wefti_lower_end(lowering, &step);
}

uint64_t wefti_value_bits(weft_type type, double value)
{
    uint64_t bits = 0;
    float as_f32 = (float)value;
    switch (type) {
    case WEFT_TYPE_F32:
        memcpy(&bits, &as_f32, sizeof(as_f32));
        return bits;
    case WEFT_TYPE_F64:
        memcpy(&bits, &value, sizeof(value));
        return bits;
    case WEFT_TYPE_I32:
        return (uint32_t)(int32_t)value;
    case WEFT_TYPE_I64:
        return (uint64_t)(int64_t)value;
    case WEFT_TYPE_BOOL:
        return value != 0;
    case WEFT_TYPE_F16:
    case WEFT_TYPE_BF16:
        wefti_cast(WEFT_TYPE_F32, type)(&as_f32, &bits, 1);
        return bits;
    default:
        return 0;
    }
}

weft_status wefti_lower_alias(wefti_lowering *lowering, size_t index,
                              const wefti_view *view)
{
    wefti_view output = wefti_lower_output(lowering, index);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    if (lowering->may_alias[index] && output.type == view->type) {
        lowering->outputs[index] = *view;
        return WEFT_OK;
    }
    return wefti_lower_copy(lowering, view, &output);
}

weft_status wefti_lower_reshape(wefti_lowering *lowering, size_t index,
                                const wefti_view *view)
{
    wefti_view output = wefti_lower_output(lowering, index);
    if (!wefti_view_present(&output)) {
        return WEFT_OK;
    }
    wefti_view shaped = *view;
    if (wefti_view_reshape(&shaped, output.rank, output.dims)) {
        return wefti_lower_alias(lowering, index, &shaped);
    }
    /* The output is dense: seen in the input's shape it takes one copy. */
    (void)wefti_view_reshape(&output, view->rank, view->dims);
    return wefti_lower_copy(lowering, view, &output);
}

weft_status wefti_lower_reshape_view(wefti_lowering *lowering, wefti_view *view,
                                     int32_t rank, const int64_t *dims)
{
    if (wefti_view_reshape(view, rank, dims)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_lower_dense(lowering, view));
    (void)wefti_view_reshape(view, rank, dims);
    return WEFT_OK;
}

wefti_view wefti_view_permute(const wefti_view *view, const int32_t *order)
{
    wefti_view permuted = *view;
    for (int32_t i = 0; i < view->rank; i++) {
        permuted.dims[i] = view->dims[order[i]];
        permuted.strides[i] = view->strides[order[i]];
    }
    return permuted;
}

/* The type of the arithmetic: that of the first input that is not a truth value. */
static weft_type elementwise_type(const wefti_view *inputs, int32_t input_count)
{
    for (int32_t i = 0; i < input_count; i++) {
        if (inputs[i].type != WEFT_TYPE_BOOL) {
            return inputs[i].type;
        }
    }
    return WEFT_TYPE_BOOL;
}

weft_status wefti_lower_elementwise(wefti_lowering *lowering, const wefti_view *inputs,
                                    int32_t input_count,
                                    const wefti_instruction *instructions,
                                    int32_t instruction_count, const wefti_view *output)
{
    if (wefti_view_element_count(output) == 0) {
        return WEFT_OK;
    }
    wefti_elementwise_params params = {.type = elementwise_type(inputs, input_count),
                                       .output_type = output->type,
                                       .input_count = input_count,
                                       .instruction_count = instruction_count};
    int64_t output_strides[WEFT_MAX_RANK];
    int64_t *strides[WEFTI_ELEMENTWISE_MAX_INPUTS + 1] = {output_strides};
    memcpy(params.dims, output->dims, sizeof(params.dims));
    memcpy(output_strides, output->strides, sizeof(output_strides));
    for (int32_t i = 0; i < input_count; i++) {
        params.input_types[i] = inputs[i].type;
        strides[i + 1] = params.input_strides[i];
        wefti_broadcast_strides(&inputs[i], output->rank, output->dims, strides[i + 1]);
    }
    for (int32_t i = 0; i < instruction_count; i++) {
        params.instructions[i] = instructions[i];
    }
    params.rank =
        wefti_collapse_dims(output->rank, params.dims, strides, input_count + 1);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_ELEMENTWISE, &params, sizeof(params));
    for (int32_t i = 0; i < input_count; i++) {
        step.operands[i] = inputs[i];
    }
    step.operands[WEFTI_ELEMENTWISE_OUTPUT] = *output;
    return wefti_lower_end(lowering, &step);
}
