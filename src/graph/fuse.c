/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/passes.h"

weft_status wefti_net_fuse(wefti_net *net, weft_error *error)
{
    static weft_status (*const passes[])(wefti_net *, weft_error *) = {
        wefti_pass_gelu,  wefti_pass_products,  wefti_pass_attention,
        wefti_pass_views, wefti_pass_residuals,
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(passes); i++) {
        wefti_net_sweep(net);
        wefti_net_unlink_dead(net);
        WEFTI_TRY(passes[i](net, error));
    }
    wefti_net_sweep(net);
    return WEFT_OK;
}

wefti_net_node *wefti_net_single_user(const wefti_net *net, int32_t value)
{
    const wefti_net_value *source = &net->values[value];
    if (source->use_count != 1 || source->is_output) {
        return NULL;
    }
    wefti_net_node *node =
        source->producer != NULL ? source->producer->next : net->first;
    for (; node != NULL; node = node->next) {
        for (size_t i = 0; !node->dead && i < node->view.input_count; i++) {
            if (node->inputs[i] == value) {
                return node;
            }
        }
    }
    return NULL;
}

bool wefti_net_scalar(const wefti_net *net, int32_t value, float *scalar)
{
    if (value < 0) {
        return false;
    }
    const wefti_known *known = &net->values[value].known;
    if (known->constant == NULL || known->type != WEFT_TYPE_F32 ||
        wefti_known_count(known) != 1) {
        return false;
    }
    memcpy(scalar, known->constant, sizeof(*scalar));
    return true;
}

weft_status wefti_net_insert_reshape(wefti_net *net, wefti_net_node *before,
                                     int32_t value, int32_t output, weft_error *error)
{
    const wefti_known *known = &net->values[output].known;
    size_t rank = (size_t)known->rank;
    int64_t *dims = wefti_arena_copy(&net->arena, known->dims, rank * sizeof(*dims));
    int64_t *strides = wefti_arena_calloc(&net->arena, rank, sizeof(*strides));
    if (dims == NULL || strides == NULL) {
        return wefti_error_memory(error, "a view");
    }
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
        strides[i] = stride;
        stride *= dims[i];
    }
    weft_attribute attributes[] = {
        wefti_make_ints("dims", dims, rank),
        wefti_make_ints("strides", strides, rank),
        wefti_make_int("offset", 0),
    };
    wefti_net_new made = {
        .op_type = "View",
        .domain = "weft",
        .label = net->values[value].name,
        .attributes = attributes,
        .attribute_count = WEFTI_COUNT_OF(attributes),
        .inputs = &value,
        .outputs = &output,
        .input_count = 1,
        .output_count = 1,
    };
    return wefti_net_insert(net, before, &made, error);
}

bool wefti_net_is_reshape(const wefti_net *net, const wefti_net_node *view)
{
    const weft_attribute *dims = wefti_attribute_find(&view->view, "dims");
    const weft_attribute *strides = wefti_attribute_find(&view->view, "strides");
    int64_t stride = 1;
    for (size_t i = dims->count; i-- > 0;) {
        if (dims->ints[i] != 1 && strides->ints[i] != stride) {
            return false;
        }
        stride *= dims->ints[i];
    }
    return wefti_attribute_int(&view->view, "offset", 0) == 0 &&
           stride == wefti_known_count(&net->values[view->inputs[0]].known);
}

bool wefti_same_shape(const wefti_known *a, const wefti_known *b)
{
    return a->type == b->type && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof(a->dims[0])) == 0;
}

bool wefti_net_activation(const wefti_net_node *node, wefti_activation *activation,
                          float *alpha)
{
    static const struct {
        const char *op_type;
        wefti_activation activation;
    } known[] = {
        {"Relu", WEFTI_ACTIVATION_RELU},
        {"Gelu", WEFTI_ACTIVATION_GELU},
        {"Tanh", WEFTI_ACTIVATION_TANH},
        {"Sigmoid", WEFTI_ACTIVATION_SIGMOID},
        {"LeakyRelu", WEFTI_ACTIVATION_LEAKY_RELU},
    };
    *alpha = 0;
    for (size_t i = 0; i < WEFTI_COUNT_OF(known); i++) {
        if (wefti_net_is(node, known[i].op_type)) {
            *activation = known[i].activation;
            const char *form =
                wefti_attribute_string(&node->view, "approximate", "none");
            if (*activation == WEFTI_ACTIVATION_GELU && strcmp(form, "tanh") == 0) {
                *activation = WEFTI_ACTIVATION_GELU_TANH;
            }
            if (*activation == WEFTI_ACTIVATION_LEAKY_RELU) {
                *alpha = wefti_attribute_float(&node->view, "alpha", 0.01f);
            }
            return true;
        }
    }
    return false;
}

weft_attribute wefti_make_int(const char *name, int64_t value)
{
    return (weft_attribute){.name = name, .kind = WEFT_ATTRIBUTE_INT, .i = value};
}

weft_attribute wefti_make_float(const char *name, float value)
{
    return (weft_attribute){.name = name, .kind = WEFT_ATTRIBUTE_FLOAT, .f = value};
}

weft_attribute wefti_make_string(const char *name, const char *value)
{
    return (weft_attribute){.name = name, .kind = WEFT_ATTRIBUTE_STRING, .s = value};
}

weft_attribute wefti_make_ints(const char *name, const int64_t *values, size_t count)
{
    return (weft_attribute){
        .name = name, .kind = WEFT_ATTRIBUTE_INTS, .ints = values, .count = count};
}
