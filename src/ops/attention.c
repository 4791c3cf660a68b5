/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention.h"

#include <math.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* Attention of ONNX 23 to 25. Past keys and values are joined with the new ones in one
 * buffer, which is the present ones when they are asked for. */

enum { BATCH, HEADS, LENGTH, SIZE };
enum { MASK = 3, PAST_KEY = 4, PAST_VALUE = 5, LENGTHS = 6 }; /* inputs */
enum { PRESENT_KEY = 1, PRESENT_VALUE = 2, SCORES = 3 };      /* outputs */

/* The operands by heads: K and V without the past. */
typedef struct attention_shapes {
    wefti_known q, k, v;
    int64_t past, keys; /* lengths: of the past, and of past and new keys together */
} attention_shapes;

static weft_status check_features(const wefti_node_view *node,
                                  const wefti_known *inputs, weft_error *error)
{
    int64_t mode = wefti_attribute_int(node, "qk_matmul_output_mode", 0);
    if (wefti_attribute_int(node, "softmax_precision", WEFT_TYPE_F32) !=
        WEFT_TYPE_F32) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: a softmax_precision other than f32 is not supported",
                           node->label);
    }
    if (mode < WEFTI_SCORES_RAW || mode > WEFTI_SCORES_WEIGHTS) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: qk_matmul_output_mode is %lld; 0 to 3 are known",
                           node->label, (long long)mode);
    }
    if (wefti_known_present(node, inputs, PAST_KEY) !=
        wefti_known_present(node, inputs, PAST_VALUE)) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: past_key and past_value (inputs 4 and 5) go together",
                           node->label);
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

static weft_status find_shapes(const wefti_node_view *node, const wefti_known *inputs,
                               attention_shapes *shapes, weft_error *error)
{
    WEFTI_TRY(split_heads(node, "q_num_heads", &inputs[0], &shapes->q, error));
    WEFTI_TRY(split_heads(node, "kv_num_heads", &inputs[1], &shapes->k, error));
    WEFTI_TRY(split_heads(node, "kv_num_heads", &inputs[2], &shapes->v, error));
    bool has_past = wefti_known_present(node, inputs, PAST_KEY);
    shapes->past = has_past ? inputs[PAST_KEY].dims[LENGTH] : 0;
    if (WEFTI_ADD_OVERFLOWS(shapes->past, shapes->k.dims[LENGTH], &shapes->keys)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: past and new keys are too many", node->label);
    }
    return WEFT_OK;
}

static weft_status check_past(const wefti_node_view *node, const wefti_known *inputs,
                              const attention_shapes *shapes, weft_error *error)
{
    if (!wefti_known_present(node, inputs, PAST_KEY)) {
        return WEFT_OK;
    }
    int64_t dims[4];
    memcpy(dims, shapes->k.dims, sizeof(dims));
    dims[LENGTH] = shapes->past;
    WEFTI_TRY(wefti_check_shape(node, "past_key", &inputs[PAST_KEY], 4, dims, error));
    dims[SIZE] = shapes->v.dims[SIZE];
    return wefti_check_shape(node, "past_value", &inputs[PAST_VALUE], 4, dims, error);
}

static weft_status check_lengths(const wefti_node_view *node, const wefti_known *inputs,
                                 int64_t batch, weft_error *error)
{
    if (!wefti_known_present(node, inputs, LENGTHS)) {
        return WEFT_OK;
    }
    if (wefti_known_present(node, inputs, PAST_KEY)) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: nonpad_kv_seqlen (input 6) does not go with past_key",
                           node->label);
    }
    WEFTI_TRY(wefti_check_type(node, inputs, LENGTHS, WEFTI_TYPES_INDEX, error));
    return wefti_check_shape(node, "nonpad_kv_seqlen", &inputs[LENGTHS], 1, &batch,
                             error);
}

/* What past and new keys or values are together. */
static wefti_known joined_shape(const wefti_known *heads, int64_t keys)
{
    wefti_known joined = *heads;
    joined.dims[LENGTH] = keys;
    return joined;
}

static weft_status set_cache_outputs(const wefti_node_view *node, wefti_known *outputs,
                                     const attention_shapes *shapes, weft_error *error)
{
    wefti_known k = joined_shape(&shapes->k, shapes->keys);
    wefti_known v = joined_shape(&shapes->v, shapes->keys);
    const int64_t *q = shapes->q.dims;
    int64_t scores[4] = {q[BATCH], q[HEADS], q[LENGTH], shapes->keys};
    WEFTI_TRY(wefti_set_output(node, outputs, PRESENT_KEY,
                               (wefti_shape){WEFT_TYPE_F32, 4, k.dims}, error));
    WEFTI_TRY(wefti_set_output(node, outputs, PRESENT_VALUE,
                               (wefti_shape){WEFT_TYPE_F32, 4, v.dims}, error));
    return wefti_set_output(node, outputs, SCORES,
                            (wefti_shape){WEFT_TYPE_F32, 4, scores}, error);
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
    for (size_t i = PAST_KEY; i <= PAST_VALUE; i++) {
        if (wefti_known_present(node, inputs, i)) {
            WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
            WEFTI_TRY(wefti_check_rank(node, inputs, i, 4, 4, error));
        }
    }
    attention_shapes s;
    wefti_known no_mask = {.type = WEFT_TYPE_NONE};
    WEFTI_TRY(find_shapes(node, inputs, &s, error));
    WEFTI_TRY(wefti_check_attention(node, &s.q, &s.k, &s.v, &no_mask, error));
    WEFTI_TRY(check_past(node, inputs, &s, error));
    WEFTI_TRY(check_lengths(node, inputs, s.q.dims[BATCH], error));
    wefti_known k = joined_shape(&s.k, s.keys), v = joined_shape(&s.v, s.keys);
    wefti_known mask = *wefti_known_input(node, inputs, MASK);
    if (mask.type != WEFT_TYPE_NONE && mask.rank > 0 && mask.dims[mask.rank - 1] > 1 &&
        mask.dims[mask.rank - 1] < s.keys) {
        mask.dims[mask.rank - 1] = s.keys; /* the rest is hidden */
    }
    WEFTI_TRY(wefti_check_attention(node, &s.q, &k, &v, &mask, error));
    WEFTI_TRY(set_cache_outputs(node, outputs, &s, error));
    wefti_known shape = s.q;
    shape.dims[SIZE] = s.v.dims[SIZE];
    if (inputs[0].rank == 3) {
        shape.rank = 3;
        shape.dims[1] = s.q.dims[LENGTH];
        WEFTI_TRY(wefti_check_product(node, s.q.dims[HEADS], s.v.dims[SIZE],
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

/* Makes `view` past and new keys or values together, in the output where they are asked
 * for. */
static weft_status join_past(wefti_lowering *lowering, size_t past, size_t present,
                             int64_t keys, wefti_view *view)
{
    wefti_view old = wefti_lower_input(lowering, past);
    if (!wefti_view_present(&old)) {
        return present < lowering->node->output_count
                   ? wefti_lower_alias(lowering, present, view)
                   : WEFT_OK;
    }
    wefti_view whole = wefti_lower_output(lowering, present);
    if (!wefti_view_present(&whole)) {
        int64_t dims[4] = {view->dims[BATCH], view->dims[HEADS], keys,
                           view->dims[SIZE]};
        WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 4, dims, &whole));
    }
    wefti_view part = whole;
    part.dims[LENGTH] = old.dims[LENGTH];
    WEFTI_TRY(wefti_lower_copy(lowering, &old, &part));
    part.dims[LENGTH] = view->dims[LENGTH];
    part.offset_bytes +=
        old.dims[LENGTH] * part.strides[LENGTH] * (int64_t)weft_type_size(part.type);
    WEFTI_TRY(wefti_lower_copy(lowering, view, &part));
    *view = whole;
    return WEFT_OK;
}

static weft_status lower_mask(wefti_lowering *lowering, const attention_shapes *shapes,
                              bool written_out, wefti_attention_request *request)
{
    wefti_attention_band band = wefti_attention_read_band(lowering->node);
    band.lengths = wefti_lower_input(lowering, LENGTHS);
    band.queries = shapes->q.dims[LENGTH];
    band.keys = shapes->keys;
    band.offset = shapes->past;
    bool same = shapes->q.dims[LENGTH] == shapes->k.dims[LENGTH];
    /* ONNX aligns the causal triangle with the first new key, the kernel with the last
     * key. Where that differs the triangle becomes a mask. */
    request->causal = wefti_attention_is_causal(&band) && same && !written_out &&
                      !wefti_view_present(&band.lengths);
    WEFTI_TRY(wefti_lower_widen_mask(lowering, shapes->keys, &request->mask));
    if (request->causal) {
        return WEFT_OK;
    }
    wefti_view seen;
    WEFTI_TRY(wefti_lower_band(lowering, &band, &seen));
    return wefti_view_present(&seen)
               ? wefti_lower_join_masks(lowering, &seen, &request->mask)
               : WEFT_OK;
}

weft_status wefti_lower_attention_node(wefti_lowering *lowering)
{
    const wefti_node_view *node = lowering->node;
    attention_shapes shapes;
    WEFTI_TRY(find_shapes(node, lowering->known_inputs, &shapes, lowering->error));
    wefti_known result = shapes.q;
    result.dims[SIZE] = shapes.v.dims[SIZE];
    wefti_view output = wefti_lower_output(lowering, 0);
    wefti_attention_request request = {
        .q = heads_view(&lowering->inputs[0], &shapes.q),
        .k = heads_view(&lowering->inputs[1], &shapes.k),
        .v = heads_view(&lowering->inputs[2], &shapes.v),
        .mask = wefti_lower_input(lowering, MASK),
        .scale = wefti_attribute_float(node, "scale",
                                       1.0F / sqrtf((float)shapes.q.dims[SIZE])),
    };
    WEFTI_TRY(join_past(lowering, PAST_KEY, PRESENT_KEY, shapes.keys, &request.k));
    WEFTI_TRY(join_past(lowering, PAST_VALUE, PRESENT_VALUE, shapes.keys, &request.v));
    wefti_attention_scores scores = {
        .output = wefti_lower_output(lowering, SCORES),
        .mode =
            (wefti_scores_mode)wefti_attribute_int(node, "qk_matmul_output_mode", 0),
        .softcap = wefti_attribute_float(node, "softcap", 0.0F)};
    bool wants_scores = wefti_view_present(&scores.output);
    bool written_out = wants_scores || scores.softcap > 0;
    request.output =
        wefti_view_present(&output) ? heads_view(&output, &result) : output;
    if (!written_out && !wefti_view_present(&output)) {
        return WEFT_OK;
    }
    WEFTI_TRY(lower_mask(lowering, &shapes, written_out, &request));
    return written_out ? wefti_lower_attention_scores(lowering, &request, &scores)
                       : wefti_lower_attention(lowering, &request);
}
