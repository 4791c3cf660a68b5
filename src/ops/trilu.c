/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* The diagonal that is kept, 0 when the input is absent. */
static weft_status read_diagonal(const wefti_node_view *node, const wefti_known *inputs,
                                 int64_t *diagonal, weft_error *error)
{
    size_t count = 0;
    *diagonal = 0;
    if (!wefti_known_present(node, inputs, 1)) {
        return WEFT_OK;
    }
    return wefti_check_integers(node, inputs, 1, (wefti_integer_room){diagonal, 1},
                                &count, error);
}

weft_status wefti_infer_trilu(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    int64_t diagonal = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_VALUE, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 2, WEFT_MAX_RANK, error));
    WEFTI_TRY(read_diagonal(node, inputs, &diagonal, error));
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){inputs[0].type, inputs[0].rank, inputs[0].dims},
        error);
}

weft_status wefti_lower_trilu_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    int64_t diagonal = 0;
    WEFTI_TRY(read_diagonal(lowering->node, lowering->known_inputs, &diagonal,
                            lowering->error));
    wefti_view operands[3];
    uint64_t zero = 0;
    bool upper = wefti_attribute_int(lowering->node, "upper", 1) != 0;
    WEFTI_TRY(wefti_lower_triangle(lowering, &output.dims[output.rank - 2], diagonal,
                                   upper, &operands[0]));
    operands[1] = lowering->inputs[0];
    WEFTI_TRY(
        wefti_lower_constant(lowering, output.type, 0, &diagonal, &zero, &operands[2]));
    wefti_instruction select = {.operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
    return wefti_lower_elementwise(lowering, operands, 3, &select, 1, &output);
}
