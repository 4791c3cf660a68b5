/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/sizes.h"

/* NonZero and Compress: the data decides how large the result is. They are computed on
 * the host from what the inputs hold: before the run, or between two stages of it. */

weft_status wefti_check_holds(const wefti_node_view *node, const wefti_known *inputs,
                              weft_error *error)
{
    for (size_t i = 0; i < node->input_count; i++) {
        if (inputs[i].type != WEFT_TYPE_NONE && inputs[i].constant == NULL &&
            wefti_known_element_count(&inputs[i]) > 0) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: what input %zu holds decides a shape; it is not a "
                               "constant here",
                               node->label, i);
        }
    }
    return WEFT_OK;
}

/* If, Loop and Scan are divided into stages before anything is inferred. */
weft_status wefti_infer_control(const wefti_node_view *node, const wefti_known *inputs,
                                wefti_known *outputs, weft_error *error)
{
    (void)inputs;
    (void)outputs;
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "%s: control flow cannot be a part of a plan", node->label);
}

static bool is_nonzero(const wefti_known *known, int64_t i)
{
    const void *data = known->constant;
    switch (known->type) {
    case WEFT_TYPE_F32:
        return ((const float *)data)[i] != 0;
    case WEFT_TYPE_F64:
        return ((const double *)data)[i] != 0;
    case WEFT_TYPE_I64:
        return ((const int64_t *)data)[i] != 0;
    case WEFT_TYPE_I32:
        return ((const int32_t *)data)[i] != 0;
    case WEFT_TYPE_F16:
    case WEFT_TYPE_BF16:
        return (((const uint16_t *)data)[i] & 0x7fff) != 0;
    default:
        return ((const uint8_t *)data)[i] != 0;
    }
}

weft_status wefti_infer_non_zero(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_holds(node, inputs, error));
    int64_t dims[2] = {inputs[0].rank, 0};
    int64_t count = wefti_known_element_count(&inputs[0]);
    for (int64_t i = 0; i < count; i++) {
        dims[1] += is_nonzero(&inputs[0], i) ? 1 : 0;
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_I64, 2, dims},
                            error);
}

weft_status wefti_fold_non_zero(const wefti_node_view *node, const wefti_known *inputs,
                                const wefti_known *outputs, void *const *output_data,
                                weft_error *error)
{
    (void)node;
    (void)error;
    const wefti_known *input = &inputs[0];
    int64_t count = wefti_known_element_count(input);
    int64_t found = 0, most = outputs[0].dims[1];
    for (int64_t i = 0; i < count && found < most; i++) {
        if (!is_nonzero(input, i)) {
            continue;
        }
        int64_t rest = i;
        for (int32_t axis = input->rank; axis-- > 0;) {
            ((int64_t *)output_data[0])[axis * most + found] = rest % input->dims[axis];
            rest /= input->dims[axis];
        }
        found++;
    }
    return WEFT_OK;
}

/* Compress along an axis, or of all elements in a row: [outer, length, inner]. */
typedef struct selection {
    int64_t outer, length, inner; /* inner in bytes */
    int64_t taken;
    int32_t axis; /* -1: flat */
} selection;

static weft_status read_selection(const wefti_node_view *node,
                                  const wefti_known *inputs, selection *select,
                                  weft_error *error)
{
    const wefti_known *data = &inputs[0], *condition = &inputs[1];
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_type(node, inputs, 1, WEFTI_TYPES_BOOL, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 1, 1, 1, error));
    WEFTI_TRY(wefti_check_holds(node, inputs, error));
    *select = (selection){1, wefti_known_element_count(data),
                          (int64_t)weft_type_size(data->type), 0, -1};
    if (wefti_attribute_find(node, "axis") != NULL) {
        WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0),
                                   data->rank, &select->axis, error));
        select->length = data->dims[select->axis];
        select->outer = wefti_count_dims(select->axis, data->dims);
        const int64_t inner[] = {select->inner,
                                 wefti_count_dims(data->rank - select->axis - 1,
                                                  &data->dims[select->axis + 1])};
        select->inner = wefti_count_dims(2, inner);
    }
    int64_t given = condition->dims[0];
    for (int64_t i = 0; i < given && i < select->length; i++) {
        select->taken += ((const uint8_t *)condition->constant)[i] != 0 ? 1 : 0;
    }
    return WEFT_OK;
}

weft_status wefti_infer_compress(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    selection select;
    WEFTI_TRY(read_selection(node, inputs, &select, error));
    int64_t dims[WEFT_MAX_RANK] = {select.taken};
    if (select.axis >= 0) {
        memcpy(dims, inputs[0].dims, sizeof(dims));
        dims[select.axis] = select.taken;
    }
    int32_t rank = select.axis < 0 ? 1 : inputs[0].rank;
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[0].type, rank, dims},
                            error);
}

weft_status wefti_fold_compress(const wefti_node_view *node, const wefti_known *inputs,
                                const wefti_known *outputs, void *const *output_data,
                                weft_error *error)
{
    if (wefti_known_element_count(&outputs[0]) == 0) {
        return WEFT_OK; /* one of the other sizes may be any number */
    }
    selection select;
    WEFTI_TRY(read_selection(node, inputs, &select, error));
    const uint8_t *condition = inputs[1].constant;
    const char *from = inputs[0].constant;
    char *to = output_data[0];
    int64_t given = inputs[1].dims[0];
    for (int64_t o = 0; o < select.outer; o++) {
        for (int64_t i = 0; i < given && i < select.length; i++) {
            if (condition[i] != 0) {
                memcpy(to, from + (o * select.length + i) * select.inner,
                       (size_t)select.inner);
                to += select.inner;
            }
        }
    }
    return WEFT_OK;
}
