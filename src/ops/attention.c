/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Attention of ONNX 23, without the cache of past keys and values. */

enum { BATCH, HEADS, LENGTH, SIZE };

static weft_status check_features(const wefti_node_view *node,
                                  const wefti_known *inputs, weft_error *error)
{
    const char *missing = NULL;
    if (wefti_known_present(node, inputs, 4) || wefti_known_present(node, inputs, 5)) {
        missing = "past_key and past_value (inputs 4 and 5)";
    } else if (node->output_count > 1) {
        missing = "present_key, present_value and qk_matmul_output (outputs 1 to 3)";
    } else if (wefti_attribute_float(node, "softcap", 0.0F) != 0.0F) {
        missing = "softcap";
    } else if (wefti_attribute_int(node, "softmax_precision", WEFT_TYPE_F32) !=
               WEFT_TYPE_F32) {
        missing = "a softmax_precision other than f32";
    }
    if (missing) {
        return wefti_error(error, WEFT_UNSUPPORTED, "%s: %s is not supported",
                           node->label, missing);
    }
    return WEFT_OK;
}

/* Sees [batch, length, heads * size] as [batch, heads, length, size]. */
static weft_status split_heads(const wefti_node_view *node, const char *attribute,
                               const wefti_known *input, wefti_known *result,
                               weft_error *error)
{
    *result = *input;
    if (input->rank == 4) {
        return WEFT_OK;
    }
    int64_t heads = wefti_attribute_int(node, attribute, 0);
    if (heads < 1 || input->dims[2] % heads != 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: %lld features cannot be divided into %s=%lld heads",
                           node->label, (long long)input->dims[2], attribute,
                           (long long)heads);
    }
    *result = (wefti_known){.type = input->type, .rank = 4};
    result->dims[BATCH] = input->dims[0];
    result->dims[HEADS] = heads;
    result->dims[LENGTH] = input->dims[1];
    result->dims[SIZE] = input->dims[2] / heads;
    return WEFT_OK;
}

static weft_status split_all(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_known *heads, weft_error *error)
{
    for (size_t i = 0; i < 3; i++) {
        WEFTI_TRY(split_heads(node, i == 0 ? "q_num_heads" : "kv_num_heads", &inputs[i],
                              &heads[i], error));
    }
    return WEFT_OK;
}

weft_status wefti_infer_attention(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(check_features(node, inputs, error));
    for (size_t i = 0; i < 3; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, i, i ? inputs[0].rank : 3,
                                   i ? inputs[0].rank : 4, error));
    }
    wefti_known heads[3];
    WEFTI_TRY(split_all(node, inputs, heads, error));
    WEFTI_TRY(wefti_check_attention(node, &heads[0], &heads[1], &heads[2],
                                    wefti_known_input(node, inputs, 3), error));
    wefti_known shape = heads[0];
    shape.dims[SIZE] = heads[2].dims[SIZE];
    if (inputs[0].rank == 3) {
        shape.rank = 3;
        shape.dims[1] = heads[0].dims[LENGTH];
        WEFTI_TRY(wefti_check_product(node, heads[0].dims[HEADS], heads[2].dims[SIZE],
                                      &shape.dims[2], error));
    }
    return wefti_set_output(
        node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, shape.rank, shape.dims}, error);
}

/* The view of an operand by heads. Splitting the last dim needs no copy. */
static wefti_view heads_view(const wefti_view *view, const wefti_known *heads)
{
    if (view->rank == 4) {
        return *view;
    }
    wefti_view result = *view;
    result.rank = 4;
    memcpy(result.dims, heads->dims, sizeof(result.dims));
    result.strides[BATCH] = view->strides[0];
    result.strides[HEADS] = view->strides[2] * heads->dims[SIZE];
    result.strides[LENGTH] = view->strides[1];
    result.strides[SIZE] = view->strides[2];
    return result;
}

/* ONNX aligns the causal triangle with the first key, the kernel with the last. Where
 * that differs the triangle becomes a mask. */
static weft_status make_triangle(wefti_lowering *lowering, int64_t queries,
                                 int64_t keys, wefti_view *mask)
{
    int64_t dims[] = {queries, keys};
    uint8_t *visible = wefti_calloc((size_t)queries, (size_t)keys);
    if (!visible) {
        return wefti_error_memory(lowering->error, "a causal mask");
    }
    for (int64_t i = 0; i < queries; i++) {
        for (int64_t j = 0; j < keys; j++) {
            visible[i * keys + j] = j <= i;
        }
    }
    weft_status status =
        wefti_lower_constant(lowering, WEFT_TYPE_BOOL, 2, dims, visible, mask);
    wefti_free(visible);
    return status;
}

/* Joins the triangle with a mask that the node has. */
static weft_status join_masks(wefti_lowering *lowering, const wefti_view *triangle,
                              wefti_view *mask)
{
    if (!wefti_view_present(mask)) {
        *mask = *triangle;
        return WEFT_OK;
    }
    wefti_view joined = *mask;
    if (joined.rank < 2) {
        wefti_view_broadcast(&joined, 2, triangle->dims);
    }
    joined.dims[joined.rank - 2] = triangle->dims[0];
    joined.dims[joined.rank - 1] = triangle->dims[1];
    WEFTI_TRY(wefti_lower_temporary(lowering, joined.type, joined.rank, joined.dims,
                                    &joined));
    wefti_view operands[3] = {*triangle, *mask};
    wefti_instruction both = {.operation = WEFTI_OP_AND, .b = 1};
    if (mask->type == WEFT_TYPE_BOOL) {
        WEFTI_TRY(wefti_lower_elementwise(lowering, operands, 2, &both, 1, &joined));
    } else {
        int64_t none = 0;
        float hidden = -INFINITY;
        WEFTI_TRY(wefti_lower_constant(lowering, WEFT_TYPE_F32, 0, &none, &hidden,
                                       &operands[2]));
        both = (wefti_instruction){.operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
        WEFTI_TRY(wefti_lower_elementwise(lowering, operands, 3, &both, 1, &joined));
    }
    *mask = joined;
    return WEFT_OK;
}

weft_status wefti_lower_attention_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    const wefti_node_view *node = lowering->node;
    wefti_known heads[4];
    WEFTI_TRY(split_all(node, lowering->known_inputs, heads, lowering->error));
    heads[3] = heads[0];
    heads[3].dims[SIZE] = heads[2].dims[SIZE];
    wefti_attention_request request = {
        .q = heads_view(&lowering->inputs[0], &heads[0]),
        .k = heads_view(&lowering->inputs[1], &heads[1]),
        .v = heads_view(&lowering->inputs[2], &heads[2]),
        .mask = wefti_lower_input(lowering, 3),
        .output = heads_view(&output, &heads[3]),
        .scale = wefti_attribute_float(node, "scale",
                                       1.0F / sqrtf((float)heads[0].dims[SIZE])),
        .causal = wefti_attribute_int(node, "is_causal", 0) != 0};
    int64_t queries = heads[0].dims[LENGTH];
    int64_t keys = heads[1].dims[LENGTH];
    if (request.causal && queries != keys && keys > 0) {
        wefti_view triangle;
        WEFTI_TRY(make_triangle(lowering, queries, keys, &triangle));
        WEFTI_TRY(join_masks(lowering, &triangle, &request.mask));
        request.causal = false;
    }
    return wefti_lower_attention(lowering, &request);
}
