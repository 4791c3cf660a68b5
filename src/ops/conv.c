/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv.h"

#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/window.h"

static weft_status check_channels(const wefti_node_view *node,
                                  const wefti_known *inputs, weft_error *error)
{
    const wefti_known *x = &inputs[0];
    const wefti_known *w = &inputs[1];
    int64_t groups = wefti_attribute_int(node, "group", 1);
    if (groups < 1 || x->dims[1] % groups != 0 || w->dims[0] % groups != 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: %lld input and %lld output channels cannot be divided "
                           "into %lld groups",
                           node->label, (long long)x->dims[1], (long long)w->dims[0],
                           (long long)groups);
    }
    if (w->dims[1] != x->dims[1] / groups) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: the weight has %lld channels in each group, expected "
                           "%lld (%lld input channels in %lld groups)",
                           node->label, (long long)w->dims[1],
                           (long long)(x->dims[1] / groups), (long long)x->dims[1],
                           (long long)groups);
    }
    if (wefti_known_present(node, inputs, 2)) {
        WEFTI_TRY(wefti_check_type(node, inputs, 2, WEFTI_TYPES_F32, error));
        return wefti_check_shape(node, "the bias", &inputs[2], 1, &w->dims[0], error);
    }
    return WEFT_OK;
}

weft_status wefti_infer_conv_node(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 3, 5, error));
    int32_t rank = inputs[0].rank;
    WEFTI_TRY(wefti_check_rank(node, inputs, 1, rank, rank, error));
    WEFTI_TRY(check_channels(node, inputs, error));
    wefti_window window;
    WEFTI_TRY(wefti_window_read(node, &inputs[0], &inputs[1].dims[2], &window, error));
    int64_t dims[5] = {inputs[0].dims[0], inputs[1].dims[0]};
    memcpy(&dims[2], &window.out[3 - window.rank],
           (size_t)window.rank * sizeof(int64_t));
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, rank, dims},
                            error);
}

weft_status wefti_infer_conv(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *outputs, weft_error *error)
{
    return wefti_infer_conv_node(node, inputs, outputs, error);
}

weft_status wefti_lower_conv(wefti_lowering *lowering,
                             const wefti_conv_request *request)
{
    const wefti_known *known = lowering->known_inputs;
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_window window;
    WEFTI_TRY(wefti_window_read(lowering->node, &known[0], &known[1].dims[2], &window,
                                lowering->error));
    wefti_conv_params params = {.batch = known[0].dims[0],
                                .in_channels = known[0].dims[1],
                                .out_channels = known[1].dims[0],
                                .groups =
                                    wefti_attribute_int(lowering->node, "group", 1),
                                .activation = request->activation,
                                .activation_alpha = request->activation_alpha};
    wefti_window_of_conv(&window, &params);
    wefti_view operands[4] = {lowering->inputs[0], lowering->inputs[1],
                              wefti_lower_input(lowering, 2), request->residual};
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_CONV, &params, sizeof(params));
    for (size_t i = 0; i < 4; i++) {
        WEFTI_TRY(wefti_lower_dense(lowering, &operands[i]));
        step.operands[i] = operands[i];
    }
    step.operands[WEFTI_CONV_OUTPUT] = output;
    return wefti_lower_end(lowering, &step);
}

weft_status wefti_lower_conv_node(wefti_lowering *lowering)
{
    wefti_conv_request request = {.residual = wefti_view_absent()};
    return wefti_lower_conv(lowering, &request);
}
