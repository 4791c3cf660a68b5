/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* DepthToSpace and SpaceToDepth: [N, C, H, W] seen in six dims, two of them moved. */

static weft_status read_block(const wefti_node_view *node, int64_t *block,
                              weft_error *error)
{
    *block = wefti_attribute_int(node, "blocksize", 0);
    const char *mode = wefti_attribute_string(node, "mode", "DCR");
    if (*block < 1) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: blocksize is %lld; expected a positive number",
                           node->label, (long long)*block);
    }
    if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: mode is \"%s\"; expected \"DCR\" or \"CRD\"",
                           node->label, mode);
    }
    return WEFT_OK;
}

static bool to_space(const wefti_node_view *node)
{
    return strcmp(node->op_type, "DepthToSpace") == 0;
}

weft_status wefti_infer_space(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    int64_t block = 0, square = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 4, 4, error));
    WEFTI_TRY(read_block(node, &block, error));
    WEFTI_TRY(wefti_check_product(node, block, block, &square, error));
    int64_t dims[4];
    memcpy(dims, inputs[0].dims, sizeof(dims));
    bool fits = to_space(node) ? dims[1] % square == 0
                               : dims[2] % block == 0 && dims[3] % block == 0;
    if (!fits) {
        wefti_shape_text text;
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: a tensor of shape %s has no whole blocks of %lld",
                           node->label, wefti_shape_write(4, dims, &text),
                           (long long)block);
    }
    if (to_space(node)) {
        dims[1] /= square;
        WEFTI_TRY(wefti_check_product(node, dims[2], block, &dims[2], error));
        WEFTI_TRY(wefti_check_product(node, dims[3], block, &dims[3], error));
    } else {
        WEFTI_TRY(wefti_check_product(node, dims[1], square, &dims[1], error));
        dims[2] /= block;
        dims[3] /= block;
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[0].type, 4, dims},
                            error);
}

weft_status wefti_lower_space_node(wefti_lowering *lowering)
{
    /* The split input's axes in the order of the output's. */
    static const int32_t orders[2][2][6] = {
        {{0, 3, 5, 1, 2, 4}, {0, 1, 3, 5, 2, 4}}, /* to depth: DCR, CRD */
        {{0, 3, 4, 1, 5, 2}, {0, 1, 4, 2, 5, 3}}, /* to space: DCR, CRD */
    };
    wefti_view view = lowering->inputs[0];
    int64_t block = 1;
    WEFTI_TRY(read_block(lowering->node, &block, lowering->error));
    bool crd =
        strcmp(wefti_attribute_string(lowering->node, "mode", "DCR"), "CRD") == 0;
    bool space = to_space(lowering->node);
    const int64_t *d = view.dims;
    int64_t depth = d[1] / (block * block);
    const int64_t shapes[2][2][6] = {
        {{d[0], d[1], d[2] / block, block, d[3] / block, block},
         {d[0], d[1], d[2] / block, block, d[3] / block, block}},
        {{d[0], block, block, depth, d[2], d[3]},
         {d[0], depth, block, block, d[2], d[3]}},
    };
    WEFTI_TRY(wefti_lower_reshape_view(lowering, &view, 6, shapes[space][crd]));
    wefti_view moved = wefti_view_permute(&view, orders[space][crd]);
    return wefti_lower_reshape(lowering, 0, &moved);
}
