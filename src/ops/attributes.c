/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "ops/check.h"
#include "ops/operator.h"

typedef struct attribute_rule {
    const char *name;
    weft_attribute_kind kind;
} attribute_rule;

/* Sorted. An attribute's name has one kind in all operators that have it; 0: one that
 * cannot be told here, the operator looks itself. */
static const attribute_rule rules[] = {
    {"activation", WEFT_ATTRIBUTE_STRING},
    {"activation_alpha", WEFT_ATTRIBUTE_FLOATS},
    {"activation_beta", WEFT_ATTRIBUTE_FLOATS},
    {"activations", WEFT_ATTRIBUTE_STRINGS},
    {"align_corners", WEFT_ATTRIBUTE_INT},
    {"allowzero", WEFT_ATTRIBUTE_INT},
    {"alpha", WEFT_ATTRIBUTE_FLOAT},
    {"antialias", WEFT_ATTRIBUTE_INT},
    {"approximate", WEFT_ATTRIBUTE_STRING},
    {"auto_pad", WEFT_ATTRIBUTE_STRING},
    {"axes", WEFT_ATTRIBUTE_INTS},
    {"axis", WEFT_ATTRIBUTE_INT},
    {"batch_axis", WEFT_ATTRIBUTE_INT},
    {"batch_dims", WEFT_ATTRIBUTE_INT},
    {"beta", WEFT_ATTRIBUTE_FLOAT},
    {"bias", WEFT_ATTRIBUTE_FLOAT},
    {"block_size", WEFT_ATTRIBUTE_INT},
    {"blocksize", WEFT_ATTRIBUTE_INT},
    {"body", WEFT_ATTRIBUTE_GRAPH},
    {"ceil_mode", WEFT_ATTRIBUTE_INT},
    {"center_point_box", WEFT_ATTRIBUTE_INT},
    {"channels_last", WEFT_ATTRIBUTE_INT},
    {"chunk_size", WEFT_ATTRIBUTE_INT},
    {"clip", WEFT_ATTRIBUTE_FLOAT},
    {"coordinate_transformation_mode", WEFT_ATTRIBUTE_STRING},
    {"count_include_pad", WEFT_ATTRIBUTE_INT},
    {"cubic_coeff_a", WEFT_ATTRIBUTE_FLOAT},
    {"detect_negative", WEFT_ATTRIBUTE_INT},
    {"detect_positive", WEFT_ATTRIBUTE_INT},
    {"dilations", WEFT_ATTRIBUTE_INTS},
    {"direction", WEFT_ATTRIBUTE_STRING},
    {"dtype", WEFT_ATTRIBUTE_INT},
    {"else_branch", WEFT_ATTRIBUTE_GRAPH},
    {"end", WEFT_ATTRIBUTE_INT},
    {"epsilon", WEFT_ATTRIBUTE_FLOAT},
    {"equation", WEFT_ATTRIBUTE_STRING},
    {"exclude_outside", WEFT_ATTRIBUTE_INT},
    {"exclusive", WEFT_ATTRIBUTE_INT},
    {"extrapolation_value", WEFT_ATTRIBUTE_FLOAT},
    {"fmod", WEFT_ATTRIBUTE_INT},
    {"gamma", WEFT_ATTRIBUTE_FLOAT},
    {"group", WEFT_ATTRIBUTE_INT},
    {"hidden_size", WEFT_ATTRIBUTE_INT},
    {"high", WEFT_ATTRIBUTE_FLOAT},
    {"ignore_index", WEFT_ATTRIBUTE_INT},
    {"input_forget", WEFT_ATTRIBUTE_INT},
    {"interleaved", WEFT_ATTRIBUTE_INT},
    {"inverse", WEFT_ATTRIBUTE_INT},
    {"is_causal", WEFT_ATTRIBUTE_INT},
    {"k", WEFT_ATTRIBUTE_INT},
    {"keep_aspect_ratio_policy", WEFT_ATTRIBUTE_STRING},
    {"keepdims", WEFT_ATTRIBUTE_INT},
    {"kernel_shape", WEFT_ATTRIBUTE_INTS},
    {"kv_num_heads", WEFT_ATTRIBUTE_INT},
    {"lambd", WEFT_ATTRIBUTE_FLOAT},
    {"largest", WEFT_ATTRIBUTE_INT},
    {"layout", WEFT_ATTRIBUTE_INT},
    {"left_window_size", WEFT_ATTRIBUTE_INT},
    {"linear_before_reset", WEFT_ATTRIBUTE_INT},
    {"low", WEFT_ATTRIBUTE_FLOAT},
    {"max_gram_length", WEFT_ATTRIBUTE_INT},
    {"max_skip_count", WEFT_ATTRIBUTE_INT},
    {"mean", WEFT_ATTRIBUTE_FLOAT},
    {"min_gram_length", WEFT_ATTRIBUTE_INT},
    {"mode", WEFT_ATTRIBUTE_STRING},
    {"momentum", WEFT_ATTRIBUTE_FLOAT},
    {"nearest_mode", WEFT_ATTRIBUTE_STRING},
    {"ngram_counts", WEFT_ATTRIBUTE_INTS},
    {"ngram_indexes", WEFT_ATTRIBUTE_INTS},
    {"noop_with_empty_axes", WEFT_ATTRIBUTE_INT},
    {"num_groups", WEFT_ATTRIBUTE_INT},
    {"num_heads", WEFT_ATTRIBUTE_INT},
    {"num_outputs", WEFT_ATTRIBUTE_INT},
    {"num_scan_inputs", WEFT_ATTRIBUTE_INT},
    {"offset_group", WEFT_ATTRIBUTE_INT},
    {"onesided", WEFT_ATTRIBUTE_INT},
    {"opset", WEFT_ATTRIBUTE_INT},
    {"output_datatype", WEFT_ATTRIBUTE_INT},
    {"output_dtype", WEFT_ATTRIBUTE_INT},
    {"output_height", WEFT_ATTRIBUTE_INT},
    {"output_padding", WEFT_ATTRIBUTE_INTS},
    {"output_shape", WEFT_ATTRIBUTE_INTS},
    {"output_width", WEFT_ATTRIBUTE_INT},
    {"p", WEFT_ATTRIBUTE_INT},
    {"padding_mode", WEFT_ATTRIBUTE_STRING},
    {"pads", WEFT_ATTRIBUTE_INTS},
    {"periodic", WEFT_ATTRIBUTE_INT},
    {"perm", WEFT_ATTRIBUTE_INTS},
    {"pool_int64s", WEFT_ATTRIBUTE_INTS},
    {"pool_strings", 0},
    {"precision", WEFT_ATTRIBUTE_INT},
    {"q_num_heads", WEFT_ATTRIBUTE_INT},
    {"qk_matmul_output_mode", WEFT_ATTRIBUTE_INT},
    {"ratio", WEFT_ATTRIBUTE_FLOAT},
    {"reduction", WEFT_ATTRIBUTE_STRING},
    {"reverse", WEFT_ATTRIBUTE_INT},
    {"right_window_size", WEFT_ATTRIBUTE_INT},
    {"rotary_embedding_dim", WEFT_ATTRIBUTE_INT},
    {"sampling_ratio", WEFT_ATTRIBUTE_INT},
    {"saturate", WEFT_ATTRIBUTE_INT},
    {"scale", WEFT_ATTRIBUTE_FLOAT},
    {"scales", WEFT_ATTRIBUTE_FLOATS},
    {"scan_input_axes", WEFT_ATTRIBUTE_INTS},
    {"scan_input_directions", WEFT_ATTRIBUTE_INTS},
    {"scan_output_axes", WEFT_ATTRIBUTE_INTS},
    {"scan_output_directions", WEFT_ATTRIBUTE_INTS},
    {"seed", 0},
    {"select_last_index", WEFT_ATTRIBUTE_INT},
    {"shape", WEFT_ATTRIBUTE_INTS},
    {"size", WEFT_ATTRIBUTE_INT},
    {"softcap", WEFT_ATTRIBUTE_FLOAT},
    {"softmax_precision", WEFT_ATTRIBUTE_INT},
    {"sorted", WEFT_ATTRIBUTE_INT},
    {"sparse_value", 0},
    {"spatial_scale", WEFT_ATTRIBUTE_FLOAT},
    {"start", WEFT_ATTRIBUTE_INT},
    {"stash_type", WEFT_ATTRIBUTE_INT},
    {"storage_order", WEFT_ATTRIBUTE_INT},
    {"strides", WEFT_ATTRIBUTE_INTS},
    {"then_branch", WEFT_ATTRIBUTE_GRAPH},
    {"time_axis", WEFT_ATTRIBUTE_INT},
    {"to", WEFT_ATTRIBUTE_INT},
    {"training_mode", WEFT_ATTRIBUTE_INT},
    {"transA", WEFT_ATTRIBUTE_INT},
    {"transB", WEFT_ATTRIBUTE_INT},
    {"update_rule", WEFT_ATTRIBUTE_STRING},
    {"upper", WEFT_ATTRIBUTE_INT},
    {"value", WEFT_ATTRIBUTE_TENSOR},
    {"value_float", WEFT_ATTRIBUTE_FLOAT},
    {"value_floats", WEFT_ATTRIBUTE_FLOATS},
    {"value_int", WEFT_ATTRIBUTE_INT},
    {"value_ints", WEFT_ATTRIBUTE_INTS},
    {"value_string", WEFT_ATTRIBUTE_STRING},
    {"value_strings", 0},
    {"weights", WEFT_ATTRIBUTE_FLOATS},
};

static int compare_name(const void *name, const void *rule)
{
    return strcmp(name, ((const attribute_rule *)rule)->name);
}

static const attribute_rule *find_rule(const char *name)
{
    return bsearch(name, rules, WEFTI_COUNT_OF(rules), sizeof(rules[0]), compare_name);
}

static const char *kind_name(weft_attribute_kind kind)
{
    static const char *const names[] = {
        "nothing",          "an integer", "a float",
        "a text",           "a tensor",   "a list of integers",
        "a list of floats", "a graph",    "a list of texts"};
    return (size_t)kind < WEFTI_COUNT_OF(names) ? names[kind] : "of an unknown kind";
}

bool wefti_attribute_find_kind(const char *name, weft_attribute_kind *kind)
{
    const attribute_rule *rule = find_rule(name);
    *kind = rule ? rule->kind : 0;
    return rule != NULL;
}

static weft_status check_kind(const wefti_node_view *node,
                              const weft_attribute *attribute,
                              const attribute_rule *rule, weft_error *error)
{
    if (rule->kind != 0 && attribute->kind != rule->kind) {
        return wefti_error(
            error, WEFT_INVALID_MODEL, "%s: the attribute '%s' is %s, expected %s",
            node->label, rule->name, kind_name(attribute->kind), kind_name(rule->kind));
    }
    bool is_empty = (attribute->kind == WEFT_ATTRIBUTE_STRING && !attribute->s) ||
                    (attribute->kind == WEFT_ATTRIBUTE_TENSOR && !attribute->tensor);
    if (is_empty) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: the attribute '%s' has no value", node->label,
                           rule->name);
    }
    return WEFT_OK;
}

weft_status wefti_attributes_check_kinds(const wefti_node_view *node, weft_error *error)
{
    bool seen[WEFTI_COUNT_OF(rules)] = {false};
    for (size_t i = 0; i < node->attribute_count; i++) {
        const weft_attribute *attribute = &node->attributes[i];
        const attribute_rule *rule = find_rule(attribute->name);
        if (!rule) {
            continue;
        }
        WEFTI_TRY(check_kind(node, attribute, rule, error));
        if (seen[rule - rules]) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: has the attribute '%s' twice", node->label,
                               rule->name);
        }
        seen[rule - rules] = true;
    }
    return WEFT_OK;
}

const weft_attribute *wefti_attribute_find(const wefti_node_view *node,
                                           const char *name)
{
    for (size_t i = 0; i < node->attribute_count; i++) {
        if (node->attributes[i].name && strcmp(node->attributes[i].name, name) == 0) {
            return &node->attributes[i];
        }
    }
    return NULL;
}

static const weft_attribute *find_kind(const wefti_node_view *node, const char *name,
                                       weft_attribute_kind kind)
{
    const weft_attribute *attribute = wefti_attribute_find(node, name);
    return attribute && attribute->kind == kind ? attribute : NULL;
}

int64_t wefti_attribute_int(const wefti_node_view *node, const char *name,
                            int64_t otherwise)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_INT);
    return attribute ? attribute->i : otherwise;
}

float wefti_attribute_float(const wefti_node_view *node, const char *name,
                            float otherwise)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_FLOAT);
    return attribute ? attribute->f : otherwise;
}

const char *wefti_attribute_string(const wefti_node_view *node, const char *name,
                                   const char *otherwise)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_STRING);
    return attribute && attribute->s ? attribute->s : otherwise;
}

const int64_t *wefti_attribute_ints(const wefti_node_view *node, const char *name,
                                    size_t *count)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_INTS);
    *count = attribute ? attribute->count : 0;
    return attribute ? attribute->ints : NULL;
}

const float *wefti_attribute_floats(const wefti_node_view *node, const char *name,
                                    size_t *count)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_FLOATS);
    *count = attribute ? attribute->count : 0;
    return attribute ? attribute->floats : NULL;
}

const char *const *wefti_attribute_strings(const wefti_node_view *node,
                                           const char *name, size_t *count)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_STRINGS);
    *count = attribute ? attribute->count : 0;
    return attribute ? attribute->strings : NULL;
}

const weft_tensor *wefti_attribute_tensor(const wefti_node_view *node, const char *name)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_TENSOR);
    return attribute ? attribute->tensor : NULL;
}
