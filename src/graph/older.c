/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/older.h"

#include <string.h>

#include "base/compiler.h"

enum { MOST_SETTINGS = 3, MOST_INPUTS = 4 };

/* An attribute and the input that it is today. */
typedef struct setting {
    const char *name;
    int32_t input;
    weft_attribute_kind kind;
} setting;

typedef struct older_form {
    const char *op_type;
    int32_t until; /* the last opset that has it */
    setting settings[MOST_SETTINGS];
} older_form;

static const older_form forms[] = {
    {"Clip", 10, {{"min", 1, WEFT_ATTRIBUTE_FLOAT}, {"max", 2, WEFT_ATTRIBUTE_FLOAT}}},
    {"Pad", 10, {{"pads", 1, WEFT_ATTRIBUTE_INTS}, {"value", 2, WEFT_ATTRIBUTE_FLOAT}}},
    {"Slice",
     9,
     {{"starts", 1, WEFT_ATTRIBUTE_INTS},
      {"ends", 2, WEFT_ATTRIBUTE_INTS},
      {"axes", 3, WEFT_ATTRIBUTE_INTS}}},
    {"Split", 12, {{"split", 1, WEFT_ATTRIBUTE_INTS}}},
    {"TopK", 9, {{"k", 1, WEFT_ATTRIBUTE_INT}}},
};

static const older_form *find_form(const wefti_net_node *node)
{
    for (size_t i = 0; node->op->domain[0] == '\0' && i < WEFTI_COUNT_OF(forms); i++) {
        if (node->view.opset <= forms[i].until &&
            strcmp(node->op->name, forms[i].op_type) == 0) {
            return &forms[i];
        }
    }
    return NULL;
}

static const setting *find_setting(const older_form *form,
                                   const weft_attribute *attribute)
{
    for (size_t i = 0; i < MOST_SETTINGS && form->settings[i].name; i++) {
        if (form->settings[i].kind == attribute->kind &&
            strcmp(form->settings[i].name, attribute->name) == 0) {
            return &form->settings[i];
        }
    }
    return NULL;
}

/* The attribute's value as a constant of the net, with a name of its own: stages make
 * graphs of parts of the net. */
static weft_status add_constant(wefti_net *net, const wefti_net_node *node,
                                const weft_attribute *attribute, int32_t *value,
                                weft_error *error)
{
    int32_t output = node->view.output_count > 0 ? node->outputs[0] : -1;
    const char *name = wefti_arena_printf(
        &net->arena, "%s (attribute %s)",
        output >= 0 ? net->values[output].name : node->view.label, attribute->name);
    if (name == NULL) {
        return wefti_error_memory(error, "a node's inputs");
    }
    bool is_float = attribute->kind == WEFT_ATTRIBUTE_FLOAT;
    bool is_list = attribute->kind == WEFT_ATTRIBUTE_INTS;
    wefti_known known = {.type = is_float ? WEFT_TYPE_F32 : WEFT_TYPE_I64,
                         .rank = is_float ? 0 : 1,
                         .dims = {is_list ? (int64_t)attribute->count : 1}};
    /* Attributes live as long as the net. */
    known.constant = is_float  ? (const void *)&attribute->f
                     : is_list ? (const void *)attribute->ints
                               : (const void *)&attribute->i;
    if (known.constant == NULL) {
        known.constant = "";
    }
    return wefti_net_add_value(net, &known, name, value, error);
}

/* Pads of 0 are what there are without a value, for every type. */
static bool is_usual(const weft_attribute *attribute)
{
    return attribute->kind == WEFT_ATTRIBUTE_FLOAT && attribute->f == 0 &&
           strcmp(attribute->name, "value") == 0;
}

/* The scales of Resize were the second of two inputs. */
static weft_status move_scales(wefti_net *net, wefti_net_node *node, weft_error *error)
{
    int32_t *inputs = wefti_arena_calloc(&net->arena, 3, sizeof(*inputs));
    if (inputs == NULL) {
        return wefti_error_memory(error, "a node's inputs");
    }
    inputs[0] = node->inputs[0];
    inputs[1] = -1;
    inputs[2] = node->inputs[1];
    node->inputs = inputs;
    node->view.input_count = 3;
    return WEFT_OK;
}

weft_status wefti_net_modernise(wefti_net *net, wefti_net_node *node, weft_error *error)
{
    if (node->view.opset < 11 && node->op->domain[0] == '\0' &&
        strcmp(node->op->name, "Resize") == 0 && node->view.input_count == 2) {
        return move_scales(net, node, error);
    }
    const older_form *form = find_form(node);
    size_t count = node->view.input_count;
    if (form == NULL || count >= MOST_INPUTS) {
        return WEFT_OK;
    }
    weft_attribute *kept =
        wefti_arena_calloc(&net->arena, node->view.attribute_count + 1, sizeof(*kept));
    int32_t *inputs = wefti_arena_calloc(&net->arena, MOST_INPUTS, sizeof(*inputs));
    if (kept == NULL || inputs == NULL) {
        return wefti_error_memory(error, "a node's inputs");
    }
    size_t kept_count = 0;
    for (size_t i = 0; i < MOST_INPUTS; i++) {
        inputs[i] = i < count ? node->inputs[i] : -1;
    }
    for (size_t i = 0; i < node->view.attribute_count; i++) {
        const weft_attribute *attribute = &node->view.attributes[i];
        const setting *to = find_setting(form, attribute);
        if (to == NULL || inputs[to->input] >= 0) {
            kept[kept_count++] = *attribute;
        } else if (!is_usual(attribute)) {
            WEFTI_TRY(add_constant(net, node, attribute, &inputs[to->input], error));
            count = (size_t)to->input >= count ? (size_t)to->input + 1 : count;
        }
    }
    node->inputs = inputs;
    node->view.input_count = count;
    node->view.attributes = kept;
    node->view.attribute_count = kept_count;
    return WEFT_OK;
}
