/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/operator.h"

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

const weft_tensor *wefti_attribute_tensor(const wefti_node_view *node, const char *name)
{
    const weft_attribute *attribute = find_kind(node, name, WEFT_ATTRIBUTE_TENSOR);
    return attribute ? attribute->tensor : NULL;
}
