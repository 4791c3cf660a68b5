/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

enum { X, SCALE, BIAS, MEAN, VARIANCE };

static bool is_training(const wefti_node_view *node)
{
    return node->opset >= 14 && wefti_attribute_int(node, "training_mode", 0) != 0;
}

weft_status wefti_infer_batch_norm(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    bool older = node->opset < 14; /* trained where it had more outputs */
    if (node->output_count > (older ? 1 : 3)) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: training is not supported%s; export the model in "
                           "evaluation mode, with one output",
                           node->label,
                           older ? " before opset 14" : " with more outputs");
    }
    if (is_training(node)) {
        return wefti_infer_batch_norm_training(node, inputs, outputs, error);
    }
    if (node->output_count > 1) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: has one output, as it is not in training mode",
                           node->label);
    }
    WEFTI_TRY(wefti_check_type(node, inputs, X, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, X, 1, WEFT_MAX_RANK, error));
    int64_t channels = inputs[X].rank > 1 ? inputs[X].dims[1] : 1;
    const char *const names[] = {"x", "the scale", "the bias", "the mean",
                                 "the variance"};
    for (size_t i = SCALE; i <= VARIANCE; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_shape(node, names[i], &inputs[i], 1, &channels, error));
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, inputs[X].rank, inputs[X].dims},
        error);
}

/* A vector of channels as a view that repeats over [batch, channels, rest...]. */
static wefti_view channel_view(const wefti_view *vector, const wefti_view *x)
{
    wefti_view view = *vector;
    int64_t stride = vector->strides[0];
    view.rank = x->rank;
    for (int32_t i = 0; i < x->rank; i++) {
        view.dims[i] = i == 1 ? x->dims[i] : 1;
        view.strides[i] = i == 1 ? stride : 0;
    }
    return view;
}

static bool constant_parameters(const wefti_lowering *lowering)
{
    for (size_t i = SCALE; i <= VARIANCE; i++) {
        if (!lowering->known_inputs[i].constant) {
            return false;
        }
    }
    return true;
}

static float read_f32(const wefti_known *known, int64_t index)
{
    float value = 0;
    memcpy(&value, (const char *)known->constant + index * 4, sizeof(value));
    return value;
}

/* With constant parameters: y = x * s + t, one fused multiply-add. */
static weft_status lower_constant(wefti_lowering *lowering, const wefti_view *output)
{
    const wefti_known *known = lowering->known_inputs;
    int64_t channels = known[SCALE].dims[0];
    float epsilon = wefti_attribute_float(lowering->node, "epsilon", 1e-5F);
    float *values = wefti_calloc((size_t)channels, 2 * sizeof(*values));
    if (!values) {
        return wefti_error_memory(lowering->error, "a batch normalisation");
    }
    float *shifts = values + channels;
    for (int64_t i = 0; i < channels; i++) {
        double inverse = 1.0 / sqrt((double)read_f32(&known[VARIANCE], i) + epsilon);
        double scale = read_f32(&known[SCALE], i) * inverse;
        values[i] = (float)scale;
        shifts[i] =
            (float)(read_f32(&known[BIAS], i) - read_f32(&known[MEAN], i) * scale);
    }
    wefti_view operands[3] = {lowering->inputs[X]};
    weft_status status = wefti_lower_constant(lowering, WEFT_TYPE_F32, 1, &channels,
                                              values, &operands[1]);
    if (status == WEFT_OK) {
        status = wefti_lower_constant(lowering, WEFT_TYPE_F32, 1, &channels, shifts,
                                      &operands[2]);
    }
    wefti_free(values);
    WEFTI_TRY(status);
    operands[1] = channel_view(&operands[1], &operands[0]);
    operands[2] = channel_view(&operands[2], &operands[0]);
    wefti_instruction scale = {.operation = WEFTI_OP_FMA, .b = 1, .c = 2};
    return wefti_lower_elementwise(lowering, operands, 3, &scale, 1, output);
}

/* Else s = scale / sqrt(variance + epsilon) per channel first. */
static weft_status lower_variable(wefti_lowering *lowering, const wefti_view *output)
{
    const wefti_view *inputs = lowering->inputs;
    wefti_view multiplier;
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 1, inputs[SCALE].dims,
                                    &multiplier));
    float epsilon = wefti_attribute_float(lowering->node, "epsilon", 1e-5F);
    wefti_view vectors[] = {inputs[SCALE], inputs[VARIANCE]};
    wefti_instruction prepare[] = {
        {.operation = WEFTI_OP_SCALE, .a = 1, .alpha = 1.0F, .beta = epsilon},
        {.operation = WEFTI_OP_SQRT, .a = 4},
        {.operation = WEFTI_OP_DIV, .a = 0, .b = 5},
    };
    WEFTI_TRY(wefti_lower_elementwise(lowering, vectors, 2, prepare, 3, &multiplier));
    wefti_view operands[] = {inputs[X], channel_view(&multiplier, &inputs[X]),
                             channel_view(&inputs[BIAS], &inputs[X]),
                             channel_view(&inputs[MEAN], &inputs[X])};
    wefti_instruction apply[] = {
        {.operation = WEFTI_OP_SUB, .a = 0, .b = 3},
        {.operation = WEFTI_OP_FMA, .a = 4, .b = 1, .c = 2},
    };
    return wefti_lower_elementwise(lowering, operands, 4, apply, 2, output);
}

weft_status wefti_lower_batch_norm_node(wefti_lowering *lowering)
{
    if (is_training(lowering->node)) {
        return wefti_lower_batch_norm_training_node(lowering);
    }
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    return constant_parameters(lowering) ? lower_constant(lowering, &output)
                                         : lower_variable(lowering, &output);
}
