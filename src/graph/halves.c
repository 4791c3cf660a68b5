/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/halves.h"

#include <string.h>

#include "ops/demand.h"

/* What is followed of each value that the net had before. */
typedef struct followed {
    weft_type type; /* f16 or bf16 by the graph's meaning; NONE: another, or unknown */
    bool raw;       /* it is stored so; else it is f32 already */
    int32_t wide;   /* its copy in f32, or -1 */
} followed;

typedef struct widener {
    wefti_net *net;
    const weft_graph *graph;
    bool is_body;
    wefti_arena scratch;
    followed *values;
    size_t count; /* values made later are f32 */
    /* Of the products: the type of one, and whether another has not got it. */
    weft_type products;
    bool mixed;
    weft_error *error;
} widener;

bool wefti_is_half(weft_type type)
{
    return type == WEFT_TYPE_F16 || type == WEFT_TYPE_BF16;
}

static bool is_one_of(const wefti_net_node *node, const char *const *names,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (wefti_net_is(node, names[i])) {
            return true;
        }
    }
    return false;
}

/* NULL also where it is of another kind, which its operator refuses later. */
static const weft_attribute *find_attribute(const wefti_net_node *node,
                                            const char *name, weft_attribute_kind kind)
{
    const weft_attribute *found = wefti_attribute_find(&node->view, name);
    return found != NULL && found->kind == kind ? found : NULL;
}

static weft_type type_named(const wefti_net_node *node, const char *name)
{
    const weft_attribute *found = find_attribute(node, name, WEFT_ATTRIBUTE_INT);
    const bool fits = found != NULL && found->i > 0 && found->i <= WEFT_TYPE_BF16;
    return fits ? (weft_type)found->i : WEFT_TYPE_NONE;
}

static weft_type type_of(const widener *w, int32_t value)
{
    return value >= 0 && (size_t)value < w->count ? w->values[value].type
                                                  : WEFT_TYPE_NONE;
}

static bool is_raw(const widener *w, int32_t value)
{
    return value >= 0 && (size_t)value < w->count && w->values[value].raw;
}

static void set_raw(widener *w, int32_t value, weft_type type)
{
    if (value >= 0) {
        w->values[value].type = wefti_is_half(type) ? type : WEFT_TYPE_NONE;
        w->values[value].raw = wefti_is_half(type);
    }
}

/* Adds Cast(from) -> to. */
static weft_status add_cast(widener *w, wefti_net_node *before, int32_t from,
                            int32_t to, weft_type type)
{
    const weft_attribute attribute = {
        .name = "to", .kind = WEFT_ATTRIBUTE_INT, .i = type};
    const char *label =
        wefti_arena_printf(&w->net->arena, "Cast '%s'", w->net->values[to].name);
    if (label == NULL) {
        return wefti_error_memory(w->error, "the working form of a graph");
    }
    const wefti_net_new made = {
        .op_type = "Cast",
        .domain = "",
        .label = label,
        .attributes = &attribute,
        .attribute_count = 1,
        .inputs = &from,
        .outputs = &to,
        .input_count = 1,
        .output_count = 1,
    };
    return wefti_net_insert(w->net, before, &made, w->error);
}

static weft_status name_value(widener *w, const char *format, const char *name,
                              const char **made)
{
    *made = wefti_arena_printf(&w->net->arena, format, name);
    return *made == NULL ? wefti_error_memory(w->error, "the working form of a graph")
                         : WEFT_OK;
}

/* The copy in f32 of a raw value, which `user` reads (NULL: an output). Those of inputs
 * and constants come first of all, so that a device may make them as it brings the
 * inputs. */
static weft_status widen(widener *w, int32_t value, wefti_net_node *user, int32_t *wide)
{
    followed *v = &w->values[value];
    if (v->wide < 0) {
        const wefti_net_value *narrow = &w->net->values[value];
        wefti_net_node *before = narrow->producer == NULL ? w->net->first : user;
        const wefti_known unknown = {0};
        const char *name;
        WEFTI_TRY(name_value(w, "%s (as f32)", narrow->name, &name));
        WEFTI_TRY(wefti_net_add_value(w->net, &unknown, name, &v->wide, w->error));
        WEFTI_TRY(add_cast(w, before, value, v->wide, WEFT_TYPE_F32));
    }
    *wide = v->wide;
    return WEFT_OK;
}

static weft_status widen_inputs(widener *w, wefti_net_node *node)
{
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (is_raw(w, node->inputs[i])) {
            WEFTI_TRY(widen(w, node->inputs[i], node, &node->inputs[i]));
        }
    }
    return WEFT_OK;
}

/* The type of the first input that is in 16 bits, stored so or not. */
static weft_type first_type(const widener *w, const wefti_net_node *node)
{
    weft_type type = WEFT_TYPE_NONE;
    for (size_t i = 0; i < node->view.input_count && type == WEFT_TYPE_NONE; i++) {
        type = type_of(w, node->inputs[i]);
    }
    return type;
}

/* Operators that move elements, whatever they are. */
static bool only_moves(const wefti_net_node *node)
{
    static const char *const names[] = {
        "Concat",          "DepthToSpace", "Expand",    "Flatten",      "Gather",
        "GatherElements",  "GatherND",     "Identity",  "Pad",          "Reshape",
        "ScatterElements", "ScatterND",    "Slice",     "SpaceToDepth", "Split",
        "Squeeze",         "Tile",         "Transpose", "Unsqueeze"};
    const weft_attribute *how =
        find_attribute(node, "reduction", WEFT_ATTRIBUTE_STRING);
    return node->op->domain[0] == '\0' &&
           is_one_of(node, names, WEFTI_COUNT_OF(names)) &&
           (how == NULL || how->s == NULL || strcmp(how->s, "none") == 0);
}

/* Whether such an operator moves elements of this input, and does not only read there
 * how to move them. */
static bool moves_input(const wefti_net_node *node, size_t index)
{
    static const char *const with_third[] = {"Pad", "ScatterElements", "ScatterND"};
    return index == 0 || wefti_net_is(node, "Concat") ||
           (index == 2 && is_one_of(node, with_third, WEFTI_COUNT_OF(with_third)));
}

/* The one type of 16 bits in which all that it moves is stored. NONE: there is none;
 * nothing may be known of an input, which is no proof that it is of another type. */
static weft_type raw_type(const widener *w, const wefti_net_node *node)
{
    weft_type type = WEFT_TYPE_NONE;
    for (size_t i = 0; i < node->view.input_count; i++) {
        const int32_t value = node->inputs[i];
        if (value < 0 || !moves_input(node, i)) {
            continue;
        }
        type = type == WEFT_TYPE_NONE ? type_of(w, value) : type;
        if (!is_raw(w, value) || type_of(w, value) != type) {
            return WEFT_TYPE_NONE;
        }
    }
    return type;
}

/* Whether an output is a number of the inputs' type: what the graph's own outputs, of
 * which nothing is said, are taken by. */
static bool is_number(const wefti_net_node *node, size_t output)
{
    static const char *const others[] = {"And",
                                         "ArgMax",
                                         "ArgMin",
                                         "ConvInteger",
                                         "Equal",
                                         "Greater",
                                         "GreaterOrEqual",
                                         "IsInf",
                                         "IsNaN",
                                         "Less",
                                         "LessOrEqual",
                                         "MatMulInteger",
                                         "NonMaxSuppression",
                                         "NonZero",
                                         "Not",
                                         "Or",
                                         "QLinearConv",
                                         "QLinearMatMul",
                                         "QuantizeLinear",
                                         "Shape",
                                         "Size",
                                         "DynamicQuantizeLinear"};
    static const char *const firsts[] = {"Dropout", "LayerNormalization", "MaxPool",
                                         "TopK", "Unique"};
    return !is_one_of(node, others, WEFTI_COUNT_OF(others)) &&
           (output == 0 || !is_one_of(node, firsts, WEFTI_COUNT_OF(firsts)));
}

static void note_product(widener *w, const wefti_net_node *node)
{
    static const char *const names[] = {"Attention",
                                        "Conv",
                                        "ConvTranspose",
                                        "DeformConv",
                                        "Einsum",
                                        "FusedConv",
                                        "FusedMatMul",
                                        "GRU",
                                        "Gemm",
                                        "LSTM",
                                        "MatMul",
                                        "MultiHeadAttention",
                                        "GroupQueryAttention",
                                        "RNN"};
    if (!is_one_of(node, names, WEFTI_COUNT_OF(names)) || node->view.input_count == 0) {
        return;
    }
    const weft_type type = type_of(w, node->inputs[0]);
    w->mixed = w->mixed || type == WEFT_TYPE_NONE ||
               (w->products != WEFT_TYPE_NONE && w->products != type);
    w->products = type;
}

static weft_status compute(widener *w, wefti_net_node *node)
{
    const weft_type type =
        wefti_operator_is_control(node->op) ? WEFT_TYPE_NONE : first_type(w, node);
    note_product(w, node);
    WEFTI_TRY(widen_inputs(w, node));
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0 && is_number(node, i)) {
            w->values[node->outputs[i]].type = type;
        }
    }
    return WEFT_OK;
}

/* To the type of a tensor that is in f32 by now: an ordinary Cast. */
static weft_status cast_like(widener *w, wefti_net_node *node)
{
    const int32_t like = node->view.input_count > 1 ? node->inputs[1] : -1;
    const int32_t output = node->view.output_count > 0 ? node->outputs[0] : -1;
    const weft_type type = type_of(w, like);
    if (type != WEFT_TYPE_NONE && !is_raw(w, like) && output >= 0) {
        node->dead = true;
        WEFTI_TRY(add_cast(w, node->next, node->inputs[0], output, type));
    }
    set_raw(w, output, type);
    return WEFT_OK;
}

/* The type that an attribute gives to what a node makes; NONE: there is none. */
static weft_type type_by_attribute(const wefti_net_node *node)
{
    static const char *const with_value[] = {"Constant", "ConstantOfShape"};
    static const char *const with_type[] = {"Bernoulli",     "EyeLike",
                                            "RandomNormal",  "RandomNormalLike",
                                            "RandomUniform", "RandomUniformLike"};
    if (wefti_net_is(node, "Cast") || wefti_net_is(node, "BitCast")) {
        return type_named(node, "to");
    }
    if (is_one_of(node, with_value, WEFTI_COUNT_OF(with_value))) {
        const weft_attribute *value =
            find_attribute(node, "value", WEFT_ATTRIBUTE_TENSOR);
        return value == NULL || value->tensor == NULL ? WEFT_TYPE_F32
                                                      : value->tensor->type;
    }
    return is_one_of(node, with_type, WEFTI_COUNT_OF(with_type))
               ? type_named(node, "dtype")
               : WEFT_TYPE_NONE;
}

/* The bits of what is in f32 by now are asked for: those that the graph means. */
static weft_status narrow_bits(widener *w, wefti_net_node *node)
{
    const int32_t value = node->view.input_count > 0 ? node->inputs[0] : -1;
    const weft_type type = type_of(w, value);
    if (type == WEFT_TYPE_NONE || is_raw(w, value)) {
        return WEFT_OK;
    }
    const wefti_known unknown = {0};
    const char *name;
    int32_t narrow;
    WEFTI_TRY(name_value(w, "%s (in 16 bits)", w->net->values[value].name, &name));
    WEFTI_TRY(wefti_net_add_value(w->net, &unknown, name, &narrow, w->error));
    node->inputs[0] = narrow;
    return add_cast(w, node, value, narrow, type);
}

static weft_status visit(widener *w, wefti_net_node *node)
{
    if (wefti_net_is(node, "CastLike")) {
        return cast_like(w, node);
    }
    if (wefti_net_is(node, "BitCast")) {
        WEFTI_TRY(narrow_bits(w, node));
    }
    if (wefti_net_is(node, "Bernoulli")) {
        WEFTI_TRY(widen_inputs(w, node)); /* it reads numbers, and not only a shape */
    }
    const weft_type given = type_by_attribute(node);
    if (given != WEFT_TYPE_NONE) {
        for (size_t i = 0; i < node->view.output_count; i++) {
            set_raw(w, node->outputs[i], given);
        }
        return WEFT_OK;
    }
    const weft_type type = only_moves(node) ? raw_type(w, node) : WEFT_TYPE_NONE;
    if (type == WEFT_TYPE_NONE) {
        return compute(w, node);
    }
    for (size_t i = 0; i < node->view.output_count; i++) {
        set_raw(w, node->outputs[i], type);
    }
    return WEFT_OK;
}

/* What is in 16 bits from the start. */
static void begin(widener *w)
{
    const wefti_net *net = w->net;
    for (size_t i = 0; i < w->count; i++) {
        w->values[i] = (followed){.wide = -1};
        set_raw(w, (int32_t)i, net->values[i].known.type); /* of a constant */
    }
    for (size_t i = 0; i < net->input_count && !w->is_body; i++) {
        if (net->values[net->inputs[i]].known.constant == NULL) {
            set_raw(w, net->inputs[i], w->graph->inputs[i].info.type);
        }
    }
}

/* The last value gets the output's name, by which it is known outside. */
static weft_status narrow_output(widener *w, size_t index, weft_type type)
{
    const int32_t value = w->net->outputs[index];
    const wefti_known unknown = {0};
    const char *name = w->net->values[value].name, *old;
    int32_t made;
    WEFTI_TRY(name_value(w, "%s (in f32)", name, &old));
    WEFTI_TRY(wefti_net_add_value(w->net, &unknown, name, &made, w->error));
    w->net->values[value].name = old;
    w->net->outputs[index] = made;
    /* Another output of this value is the same tensor. */
    for (size_t i = index + 1; i < w->net->output_count; i++) {
        if (w->net->outputs[i] == value) {
            w->net->outputs[i] = made;
        }
    }
    return add_cast(w, NULL, value, made, type);
}

static weft_status finish_output(widener *w, size_t index)
{
    const int32_t value = w->net->outputs[index];
    if (w->is_body) {
        return is_raw(w, value) ? widen(w, value, NULL, &w->net->outputs[index])
                                : WEFT_OK;
    }
    const weft_graph *graph = w->graph;
    weft_type type =
        index < graph->info_capacity ? graph->output_infos[index].type : WEFT_TYPE_NONE;
    type = type == WEFT_TYPE_NONE ? type_of(w, value) : type;
    return wefti_is_half(type) && !is_raw(w, value) && (size_t)value < w->count
               ? narrow_output(w, index, type)
               : WEFT_OK;
}

static weft_status widen_all(widener *w)
{
    wefti_net *net = w->net;
    begin(w);
    for (wefti_net_node *node = net->first, *next; node != NULL; node = next) {
        next = node->next;
        WEFTI_TRY(node->dead ? WEFT_OK : visit(w, node));
    }
    for (size_t i = 0; i < net->output_count; i++) {
        net->values[net->outputs[i]].is_output = false;
        WEFTI_TRY(finish_output(w, i));
    }
    for (size_t i = 0; i < net->output_count; i++) {
        net->values[net->outputs[i]].is_output = true;
    }
    wefti_net_sweep(net);
    return WEFT_OK;
}

weft_status wefti_net_widen(wefti_net *net, const weft_graph *graph, bool is_body,
                            weft_type *products, weft_error *error)
{
    widener w = {.net = net,
                 .graph = graph,
                 .is_body = is_body,
                 .count = net->value_count,
                 .error = error};
    wefti_arena_init(&w.scratch);
    w.values = wefti_arena_calloc(&w.scratch, w.count, sizeof(*w.values));
    weft_status status = w.values == NULL
                             ? wefti_error_memory(error, "the working form of a graph")
                             : widen_all(&w);
    wefti_arena_fini(&w.scratch);
    *products = w.mixed ? WEFT_TYPE_NONE : w.products;
    return status;
}
