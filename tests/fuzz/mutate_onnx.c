/* SPDX-License-Identifier: Apache-2.0 */
/* Changes ONNX models field by field, so that most of what fuzz_onnx sees gets past
 * the reader; one change in four is of plain bytes. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "formats/onnx/wire.h"
#include "ops/operator.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size,
                               unsigned int seed);

typedef Onnx__GraphProto graph;
typedef Onnx__NodeProto node;
typedef Onnx__TensorProto tensor;
typedef Onnx__AttributeProto attribute;

/* All that one change allocates; a model that does not fit is changed as bytes. */
enum { ARENA_BYTES = 1 << 20, MOST_TENSOR_BYTES = 1 << 12 };
static struct {
    _Alignas(16) uint8_t bytes[ARENA_BYTES];
    size_t used;
    uint32_t random;
} arena;

static void *take(void *user, size_t size)
{
    (void)user;
    size_t rounded = (size + 15) & ~(size_t)15;
    if (rounded < size || rounded > ARENA_BYTES - arena.used) {
        return NULL;
    }
    void *block = arena.bytes + arena.used;
    arena.used += rounded;
    return memset(block, 0, rounded);
}

static void let_go(void *user, void *block)
{
    (void)user;
    (void)block;
}

static ProtobufCAllocator allocator = {take, let_go, NULL};

static uint32_t draw(uint32_t below)
{
    arena.random = arena.random * 1664525 + 1013904223;
    return below == 0 ? 0 : (arena.random >> 8) % below;
}

static int64_t draw_number(void)
{
    static const int64_t numbers[] = {
        0,     1,         2,         3,         4,         5,   6,       7,
        8,     16,        31,        64,        -1,        -2,  -3,      -4,
        127,   128,       255,       1000,      513,       -64, 1 << 20, 65535,
        65537, 1LL << 31, 1LL << 32, 1LL << 62, INT64_MAX, -1,  1,       INT64_MIN};
    return numbers[draw(draw(4) == 0 ? WEFTI_COUNT_OF(numbers) : 14)];
}

/* A copy of an array with room for one more; the old one where memory ran out. */
static void *grown(void *items, size_t count, size_t item_size)
{
    uint8_t *larger = take(NULL, (count + 1) * item_size);
    if (larger && count > 0) {
        memcpy(larger, items, count * item_size);
    }
    return larger;
}

#define APPEND(items, count, item)                                                     \
    do {                                                                               \
        void *larger = grown((items), (count), sizeof(*(items)));                      \
        if (larger) {                                                                  \
            (items) = larger;                                                          \
            (items)[(count)++] = (item);                                               \
        }                                                                              \
    } while (0)

static void remove_at(void *items, size_t *count, size_t at, size_t item_size)
{
    uint8_t *place = (uint8_t *)items + at * item_size;
    memmove(place, place + item_size, (--*count - at) * item_size);
}

/* Adds, takes away or sets one of a list of numbers. */
static void change_numbers(int64_t **numbers, size_t *count)
{
    uint32_t how = draw(4);
    if (how == 0 || *count == 0) {
        APPEND(*numbers, *count, draw_number());
    } else if (how == 1) {
        remove_at(*numbers, count, draw((uint32_t)*count), sizeof(**numbers));
    } else {
        (*numbers)[draw((uint32_t)*count)] = draw_number();
    }
}

static char *text(const char *format, const char *argument, unsigned int number)
{
    char *made = take(NULL, strlen(argument) + 16);
    if (made) {
        (void)snprintf(made, strlen(argument) + 16, format, argument, number);
    }
    return made ? made : (char *)(uintptr_t) "";
}

/* The graphs around the one that is changed, itself the last: where it may read. */
enum { MOST_LEVELS = 4 };
static struct {
    graph *graphs[MOST_LEVELS];
    uint32_t count;
} levels;

/* The name of some value; NULL where the draw missed. */
static char *try_name(const graph *g)
{
    if (levels.count > 1 && draw(3) == 0) {
        g = levels.graphs[draw(levels.count)];
    }
    uint32_t kind = draw(3);
    if (kind == 0 && g->n_input > 0) {
        return g->input[draw((uint32_t)g->n_input)]->name;
    }
    if (kind == 1 && g->n_initializer > 0) {
        return g->initializer[draw((uint32_t)g->n_initializer)]->name;
    }
    if (kind == 2 && g->n_node > 0) {
        const node *from = g->node[draw((uint32_t)g->n_node)];
        return from->n_output > 0 ? from->output[draw((uint32_t)from->n_output)] : NULL;
    }
    return NULL;
}

static char *draw_name(const graph *g)
{
    char *name = NULL;
    for (int i = 0; i < 4 && !name; i++) {
        name = try_name(g);
    }
    return name ? name : (char *)(uintptr_t) "";
}

static const wefti_operator *draw_operator(void)
{
    uint32_t count = 0;
    while (wefti_operator_at(count)) {
        count++;
    }
    const wefti_operator *op = wefti_operator_at(draw(count));
    /* What only the passes make is refused in a model. */
    while (strcmp(op->domain, "weft") == 0 && draw(16) != 0) {
        op = wefti_operator_at(draw(count));
    }
    return op;
}

static const wefti_operator *operator_of(const node *n)
{
    for (size_t i = 0; wefti_operator_at(i); i++) {
        if (n->op_type && strcmp(wefti_operator_at(i)->name, n->op_type) == 0) {
            return wefti_operator_at(i);
        }
    }
    return NULL;
}

/* Gives a node the number of inputs that its operator wants. */
static void complete_inputs(const graph *g, node *n, const wefti_operator *op)
{
    while (n->n_input < (size_t)op->min_inputs) {
        size_t before = n->n_input;
        APPEND(n->input, n->n_input, draw_name(g));
        if (n->n_input == before) {
            return;
        }
    }
    if (n->n_input > (size_t)op->max_inputs) {
        n->n_input = (size_t)op->max_inputs;
    }
}

static void change_operator(const graph *g, node *n)
{
    const wefti_operator *op = draw_operator();
    n->op_type = (char *)(uintptr_t)op->name;
    n->domain = (char *)(uintptr_t)op->domain;
    if (draw(2) == 0) {
        n->n_attribute = 0;
    }
    complete_inputs(g, n, op);
}

static void change_inputs(const graph *g, node *n)
{
    uint32_t how = draw(6);
    if (how == 0) {
        APPEND(n->input, n->n_input, draw_name(g));
    } else if (how == 1 && n->n_input > 0) {
        n->n_input--;
    } else if (n->n_input > 0) {
        n->input[draw((uint32_t)n->n_input)] =
            how == 2 ? (char *)(uintptr_t) "" : draw_name(g);
    }
}

/* One of the words of a list. */
static char *draw_word(const char *words)
{
    uint32_t count = 1;
    for (const char *at = words; (at = strchr(at, ' ')) != NULL; at++) {
        count++;
    }
    for (uint32_t skip = draw(count); skip > 0; skip--) {
        words = strchr(words, ' ') + 1;
    }
    char *word = text("%s", words, 0);
    word[strcspn(word, " ")] = '\0';
    return word;
}

static void set_attribute(attribute *a)
{
    static const float floats[] = {0.0f, 1.0f, -1.0f, 0.5f, 1e-5f, 1e30f, -0.0f};
    static const char strings[] =
        "SAME_UPPER SAME_LOWER VALID NOTSET tanh none constant edge reflect wrap";
    uint32_t kind = draw(5);
    a->has_type = 1;
    a->has_i = a->has_f = a->has_s = 0;
    if (kind == 0) {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        a->has_f = 1;
        a->f = floats[draw(WEFTI_COUNT_OF(floats))];
    } else if (kind == 1) {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        a->has_s = 1;
        a->s.data = (uint8_t *)draw_word(strings);
        a->s.len = strlen((char *)a->s.data);
    } else if (kind == 2) {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        for (uint32_t count = draw(5); count > 0; count--) {
            APPEND(a->ints, a->n_ints, draw_number());
        }
    } else {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        a->has_i = 1;
        a->i = draw_number();
    }
}

static void add_attribute(node *n)
{
    const wefti_operator *op = operator_of(n);
    attribute *a = take(NULL, sizeof(*a));
    if (!op || !op->attributes || op->attributes[0] == '\0' || !a) {
        return;
    }
    *a = (attribute)ONNX__ATTRIBUTE_PROTO__INIT;
    a->name = draw_word(op->attributes);
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (strcmp(n->attribute[i]->name ? n->attribute[i]->name : "", a->name) == 0) {
            set_attribute(n->attribute[i]);
            return;
        }
    }
    set_attribute(a);
    APPEND(n->attribute, n->n_attribute, a);
}

static void resize(tensor *t);

static void change_attribute(node *n)
{
    if (n->n_attribute == 0 || draw(3) == 0) {
        add_attribute(n);
        return;
    }
    uint32_t at = draw((uint32_t)n->n_attribute);
    attribute *a = n->attribute[at];
    if (a->n_ints > 0) {
        change_numbers(&a->ints, &a->n_ints);
    } else if (a->t) {
        change_numbers(&a->t->dims, &a->t->n_dims);
        resize(a->t);
    } else if (a->has_i && draw(4) != 0) {
        a->i = draw_number();
    } else if (draw(2) == 0) {
        set_attribute(a);
    } else {
        remove_at(n->attribute, &n->n_attribute, at, sizeof(n->attribute[0]));
    }
}

static const int32_t types[] = {WEFT_TYPE_F32,  WEFT_TYPE_I64, WEFT_TYPE_I32,
                                WEFT_TYPE_BOOL, WEFT_TYPE_F64, WEFT_TYPE_U8,
                                WEFT_TYPE_I8,   WEFT_TYPE_F16, WEFT_TYPE_BF16};

static int32_t draw_type(void)
{
    return types[draw(draw(2) == 0 ? 2 : WEFTI_COUNT_OF(types))];
}

static void draw_element(tensor *t, uint8_t *place, size_t size)
{
    int64_t number = draw(3) == 0 ? draw_number() : (int64_t)draw(5);
    float real = (float)number / (draw(2) == 0 ? 1.0f : 3.0f);
    double wide = (double)real;
    const void *from = &number;
    if (t->data_type == WEFT_TYPE_F32) {
        from = &real;
    } else if (t->data_type == WEFT_TYPE_F64) {
        from = &wide;
    } else if (t->data_type == WEFT_TYPE_BOOL) {
        number &= 1;
    }
    memcpy(place, from, size);
}

/* Raw data of the size that type and dimensions ask for. */
static void resize(tensor *t)
{
    weft_tensor shape = {.type = (weft_type)t->data_type, .rank = (int32_t)t->n_dims};
    size_t size = weft_type_size(shape.type);
    if (size == 0 || t->n_dims > WEFT_MAX_RANK) {
        return;
    }
    for (size_t i = 0; i < t->n_dims; i++) {
        shape.dims[i] = t->dims[i];
    }
    if (weft_tensor_measure(&shape, NULL, &shape.size_bytes, NULL) != WEFT_OK ||
        shape.size_bytes > MOST_TENSOR_BYTES) {
        return;
    }
    uint8_t *data = take(NULL, shape.size_bytes + 1);
    if (!data) {
        return;
    }
    for (size_t at = 0; at < shape.size_bytes; at += size) {
        draw_element(t, data + at, size);
    }
    t->n_float_data = t->n_double_data = t->n_int32_data = t->n_int64_data = 0;
    t->n_external_data = 0;
    t->has_data_location = 0;
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){shape.size_bytes, data};
}

static void change_initializer(graph *g)
{
    if (g->n_initializer == 0 || draw(8) == 0) {
        tensor *made = take(NULL, sizeof(*made));
        if (!made) {
            return;
        }
        *made = (tensor)ONNX__TENSOR_PROTO__INIT;
        made->name = text("%s%u", "i", draw(1000));
        made->has_data_type = 1;
        made->data_type = draw_type();
        change_numbers(&made->dims, &made->n_dims);
        resize(made);
        APPEND(g->initializer, g->n_initializer, made);
        return;
    }
    tensor *t = g->initializer[draw((uint32_t)g->n_initializer)];
    uint32_t how = draw(4);
    if (how == 0) {
        t->data_type = draw_type();
    } else if (how != 1) {
        change_numbers(&t->dims, &t->n_dims);
    }
    resize(t);
}

static void change_input(graph *g)
{
    if (g->n_input == 0) {
        return;
    }
    Onnx__TypeProto *type = g->input[draw((uint32_t)g->n_input)]->type;
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return;
    }
    Onnx__TypeProto__Tensor *t = type->tensor_type;
    Onnx__TensorShapeProto *shape = t->shape;
    uint32_t how = draw(5);
    if (how == 0 || !shape) {
        t->elem_type = draw_type();
    } else if (how == 1 || shape->n_dim == 0) {
        Onnx__TensorShapeProto__Dimension *dim = take(NULL, sizeof(*dim));
        if (dim) {
            *dim = (Onnx__TensorShapeProto__Dimension)
                ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = (int64_t)draw(6);
            APPEND(shape->dim, shape->n_dim, dim);
        }
    } else if (how == 2) {
        shape->n_dim--;
    } else {
        Onnx__TensorShapeProto__Dimension *dim =
            shape->dim[draw((uint32_t)shape->n_dim)];
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim->dim_value = draw_number();
    }
}

static void add_output(graph *g, char *name)
{
    Onnx__ValueInfoProto *output = take(NULL, sizeof(*output));
    if (output) {
        *output = (Onnx__ValueInfoProto)ONNX__VALUE_INFO_PROTO__INIT;
        output->name = name;
        APPEND(g->output, g->n_output, output);
    }
}

/* A node of another operator behind what is there; its answer is an output. */
static void add_node(graph *g)
{
    const wefti_operator *op = draw_operator();
    node *n = take(NULL, sizeof(*n));
    if (!n) {
        return;
    }
    *n = (node)ONNX__NODE_PROTO__INIT;
    n->op_type = (char *)(uintptr_t)op->name;
    n->domain = (char *)(uintptr_t)op->domain;
    complete_inputs(g, n, op);
    if (draw(2) == 0) {
        add_attribute(n);
    }
    char *name = text("%s%u", "v", draw(100000));
    APPEND(n->output, n->n_output, name);
    for (int i = 1; i < op->max_outputs && draw(2) == 0; i++) {
        APPEND(n->output, n->n_output, text("%s%u", "w", draw(100000)));
    }
    APPEND(g->node, g->n_node, n);
    if (g->n_output == 0 || draw(2) == 0) {
        add_output(g, name);
    } else {
        g->output[draw((uint32_t)g->n_output)]->name = name;
    }
}

/* A body of one node, whose results are those of the node. */
static graph *make_body(node *inner)
{
    graph *body = take(NULL, sizeof(*body));
    if (!body) {
        return NULL;
    }
    *body = (graph)ONNX__GRAPH_PROTO__INIT;
    body->name = (char *)(uintptr_t) "b";
    APPEND(body->node, body->n_node, inner);
    for (size_t i = 0; i < inner->n_output; i++) {
        add_output(body, inner->output[i]);
    }
    return body;
}

static void add_body(node *n, const char *name, graph *body)
{
    attribute *a = take(NULL, sizeof(*a));
    if (a) {
        *a = (attribute)ONNX__ATTRIBUTE_PROTO__INIT;
        a->name = (char *)(uintptr_t)name;
        a->has_type = 1;
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
        a->g = body;
        APPEND(n->attribute, n->n_attribute, a);
    }
}

/* Puts a node into both branches of an If. */
static void wrap_node(graph *g, size_t at)
{
    node *inner = g->node[at], *outer = take(NULL, sizeof(*outer));
    graph *body = make_body(inner);
    if (!outer || !body) {
        return;
    }
    *outer = (node)ONNX__NODE_PROTO__INIT;
    outer->op_type = (char *)(uintptr_t) "If";
    APPEND(outer->input, outer->n_input, draw_name(g));
    for (size_t i = 0; i < inner->n_output; i++) {
        APPEND(outer->output, outer->n_output, inner->output[i]);
    }
    add_body(outer, "then_branch", body);
    add_body(outer, "else_branch", draw(2) == 0 ? body : make_body(g->node[0]));
    g->node[at] = outer;
}

/* The model's graph, or one inside of its nodes. */
static graph *draw_graph(Onnx__ModelProto *model)
{
    graph *g = model->graph;
    levels.count = 0;
    levels.graphs[levels.count++] = g;
    while (levels.count < MOST_LEVELS && draw(2) == 0) {
        graph *inner = NULL;
        for (size_t i = 0; i < g->n_node; i++) {
            const node *n = g->node[i];
            for (size_t j = 0; j < n->n_attribute; j++) {
                graph *found = n->attribute[j]->g;
                inner = found && (!inner || draw(2) == 0) ? found : inner;
            }
        }
        if (!inner) {
            break;
        }
        g = inner;
        levels.graphs[levels.count++] = g;
    }
    return g;
}

static void change(Onnx__ModelProto *model)
{
    graph *g = draw_graph(model);
    node *n = g->n_node > 0 ? g->node[draw((uint32_t)g->n_node)] : NULL;
    uint32_t how = draw(17);
    if (how == 0 && model->n_opset_import > 0) {
        model->opset_import[0]->version = 7 + (int64_t)draw(22);
    } else if (how < 4 || !n) {
        add_node(g);
    } else if (how == 4) {
        remove_at(g->node, &g->n_node, draw((uint32_t)g->n_node), sizeof(g->node[0]));
    } else if (how == 5) {
        add_output(g, draw_name(g));
    } else if (how == 6) {
        change_operator(g, n);
    } else if (how < 9) {
        change_inputs(g, n);
    } else if (how < 12) {
        change_attribute(n);
    } else if (how < 14) {
        change_initializer(g);
    } else if (how == 14) {
        wrap_node(g, draw((uint32_t)g->n_node));
    } else {
        change_input(g);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size,
                               unsigned int seed)
{
    arena.used = 0;
    arena.random = seed;
    if (draw(4) == 0 || wefti_onnx_check_wire(bytes, size, NULL) != WEFT_OK) {
        return LLVMFuzzerMutate(bytes, size, max_size);
    }
    Onnx__ModelProto *model = onnx__model_proto__unpack(&allocator, size, bytes);
    if (!model || !model->graph) {
        return LLVMFuzzerMutate(bytes, size, max_size);
    }
    for (uint32_t count = 1 + draw(3); count > 0; count--) {
        change(model);
    }
    if (onnx__model_proto__get_packed_size(model) > max_size) {
        return LLVMFuzzerMutate(bytes, size, max_size);
    }
    return onnx__model_proto__pack(model, bytes);
}
