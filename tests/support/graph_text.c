/* SPDX-License-Identifier: Apache-2.0 */
#include "support/graph_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

enum { MOST = 64, MOST_NUMBERS = 4096 };

static void must(weft_status status, const weft_error *error, const char *statement)
{
    if (status != WEFT_OK) {
        fail_msg("'%s': %s", statement, error->message);
    }
}

/* `text` without blanks at both ends, in place. */
static char *trim(char *text)
{
    text += strspn(text, " \n");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \n", text[length - 1]) != NULL) {
        text[--length] = '\0';
    }
    return text;
}

/* The next mark that is not inside of braces, or NULL. */
static char *find_mark(char *text, char mark)
{
    int depth = 0;
    for (; *text != '\0'; text++) {
        depth += *text == '{' ? 1 : *text == '}' ? -1 : 0;
        if (*text == mark && depth == 0) {
            return text;
        }
    }
    return NULL;
}

/* Cuts `text` at `mark` in place and trims the parts; empty ones stay. */
static size_t cut(char *text, char mark, char **parts)
{
    size_t count = 0;
    while (text != NULL) {
        assert_true(count < MOST);
        char *end = find_mark(text, mark);
        if (end != NULL) {
            *end++ = '\0';
        }
        parts[count++] = trim(text);
        text = end;
    }
    return count;
}

static weft_type read_type(const char *text, size_t length)
{
    static const weft_type types[] = {WEFT_TYPE_F32,  WEFT_TYPE_I32, WEFT_TYPE_I64,
                                      WEFT_TYPE_BOOL, WEFT_TYPE_F64, WEFT_TYPE_F16,
                                      WEFT_TYPE_BF16, WEFT_TYPE_I8,  WEFT_TYPE_U8};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *name = weft_type_name(types[i]);
        if (strlen(name) == length && memcmp(name, text, length) == 0) {
            return types[i];
        }
    }
    return WEFT_TYPE_NONE;
}

static void add_input(weft_graph *graph, const char *name, char *type,
                      const char *statement)
{
    weft_error error = {0};
    char *dims[MOST];
    size_t length = strcspn(type, "[");
    weft_value_info info = {.name = name, .type = read_type(type, length)};
    char *end = strchr(type, ']');
    assert_non_null(end);
    *end = '\0';
    if (strcmp(type + length + 1, "*") == 0) {
        info.rank = -1;
    } else if (type[length + 1] != '\0') {
        info.rank = (int32_t)cut(type + length + 1, ',', dims);
    }
    for (int32_t i = 0; i < info.rank; i++) {
        bool fixed = dims[i][0] >= '0' && dims[i][0] <= '9';
        info.dims[i] = fixed ? atoll(dims[i]) : WEFT_DIM_DYNAMIC;
        info.dim_names[i] = fixed || dims[i][0] == '?' ? NULL : dims[i];
    }
    must(weft_graph_add_input(graph, &info, &error), &error, statement);
}

/* A number that is written down, or a random one when `text` is NULL. */
static void store(weft_type type, void *data, size_t i, const char *text, float number)
{
    int64_t integer = text != NULL ? atoll(text) : (int64_t)number;
    switch (type) {
    case WEFT_TYPE_F32:
        ((float *)data)[i] = text != NULL ? (float)atof(text) : number;
        break;
    case WEFT_TYPE_I32:
        ((int32_t *)data)[i] = (int32_t)integer;
        break;
    case WEFT_TYPE_I64:
        ((int64_t *)data)[i] = integer;
        break;
    default:
        ((uint8_t *)data)[i] = integer != 0;
    }
}

/* f32[2,3], i64{1,2} or f32(0.5). */
static void add_constant(weft_graph *graph, const char *name, char *what,
                         const char *statement)
{
    weft_error error = {0};
    char *parts[MOST];
    size_t length = strcspn(what, "[{(");
    char kind = what[length];
    weft_tensor tensor = {.type = read_type(what, length)};
    what[strlen(what) - 1] = '\0';
    size_t count = what[length + 1] == '\0' ? 0 : cut(what + length + 1, ',', parts);
    size_t elements = kind == '(' ? 1 : count;
    tensor.rank = kind == '[' ? (int32_t)count : kind == '{' ? 1 : 0;
    tensor.dims[0] = (int64_t)count;
    if (kind == '[') {
        elements = 1;
        for (size_t i = 0; i < count; i++) {
            tensor.dims[i] = atoll(parts[i]);
            elements *= (size_t)tensor.dims[i];
        }
    }
    assert_true(elements <= MOST_NUMBERS);
    int64_t data[MOST_NUMBERS];
    float numbers[MOST_NUMBERS];
    weft_random_key key = {.seed = 11, .stream = (uint32_t)name[0]};
    weft_random_fill_normal(&key, numbers, elements);
    for (size_t i = 0; i < elements; i++) {
        store(tensor.type, data, i, kind == '[' ? NULL : parts[i], numbers[i]);
    }
    tensor.data = data;
    must(weft_graph_add_initializer(graph, name, &tensor, &error), &error, statement);
}

/* axis=1, alpha=0.5, mode='edge', perm=[1,0]; ints go to `ints`. */
static weft_attribute read_attribute(char *text, int64_t *ints, int32_t opset)
{
    char *value = strchr(text, '=');
    assert_non_null(value);
    *value++ = '\0';
    weft_attribute attribute = {.name = text};
    if (value[0] == '{') {
        value[strlen(value) - 1] = '\0';
        attribute.kind = WEFT_ATTRIBUTE_GRAPH;
        attribute.graph = graph_text_make(value + 1, opset);
        return attribute;
    }
    value[strcspn(value, "]")] = '\0';
    if (value[0] == '[') {
        char *parts[MOST];
        attribute.kind = WEFT_ATTRIBUTE_INTS;
        attribute.ints = ints;
        attribute.count = cut(value + 1, ',', parts);
        for (size_t i = 0; i < attribute.count; i++) {
            ints[i] = atoll(parts[i]);
        }
    } else if (value[0] == '\'') {
        value[strlen(value) - 1] = '\0';
        attribute.kind = WEFT_ATTRIBUTE_STRING;
        attribute.s = value + 1;
    } else if (strpbrk(value, ".e") != NULL) {
        attribute.kind = WEFT_ATTRIBUTE_FLOAT;
        attribute.f = (float)atof(value);
    } else {
        attribute.kind = WEFT_ATTRIBUTE_INT;
        attribute.i = atoll(value);
    }
    return attribute;
}

static void add_node(weft_graph *graph, char *outputs, char *call,
                     const char *statement, int32_t opset)
{
    weft_error error = {0};
    char *inputs[MOST], *results[MOST], *words[MOST];
    int64_t ints[MOST][MOST];
    weft_attribute attributes[MOST];
    char *arguments = strchr(call, '('), *end = strchr(call, ')');
    assert_true(arguments != NULL && end != NULL);
    *arguments++ = '\0';
    *end++ = '\0';
    weft_node node = {.op_type = call, .attributes = attributes};
    node.input_count = arguments[0] == '\0' ? 0 : cut(arguments, ',', inputs);
    node.output_count = cut(outputs, ',', results);
    node.name = results[0];
    node.inputs = (const char *const *)inputs;
    node.outputs = (const char *const *)results;
    size_t count = cut(end, ' ', words);
    for (size_t i = 0; i < count; i++) {
        if (words[i][0] != '\0') {
            attributes[node.attribute_count] =
                read_attribute(words[i], ints[node.attribute_count], opset);
            node.attribute_count++;
        }
    }
    must(weft_graph_add_node(graph, &node, &error), &error, statement);
    for (size_t i = 0; i < node.attribute_count; i++) {
        weft_graph_release(attributes[i].graph);
    }
}

static void add_statement(weft_graph *graph, char *statement, int32_t opset)
{
    weft_error error = {0};
    char *names[MOST];
    char *whole = strdup(statement);
    char *equals = strchr(statement, '='), *colon = strchr(statement, ':');
    if (strncmp(statement, "->", 2) == 0) {
        size_t count = cut(statement + 2, ',', names);
        for (size_t i = 0; i < count; i++) {
            must(weft_graph_add_output(graph, names[i], &error), &error, whole);
        }
    } else if (colon != NULL && equals == NULL) {
        *colon = '\0';
        add_input(graph, trim(statement), trim(colon + 1), whole);
    } else {
        assert_non_null(equals);
        *equals = '\0';
        char *what = trim(equals + 1);
        bool constant = read_type(what, strcspn(what, "[{(")) != WEFT_TYPE_NONE;
        if (constant) {
            add_constant(graph, trim(statement), what, whole);
        } else {
            add_node(graph, trim(statement), what, whole, opset);
        }
    }
    free(whole);
}

weft_graph *graph_text_make(const char *text, int32_t opset)
{
    enum { MOST_STATEMENTS = 64 };
    weft_graph *graph = NULL;
    weft_error error = {0};
    must(weft_graph_create(opset, &graph, &error), &error, text);
    char *copy = strdup(text), *next = copy;
    for (size_t i = 0; next != NULL && i < MOST_STATEMENTS; i++) {
        char *statement = next + strspn(next, " \n");
        next = find_mark(statement, ';');
        if (next != NULL) {
            *next++ = '\0';
        }
        if (statement[0] != '\0') {
            add_statement(graph, statement, opset);
        }
    }
    free(copy);
    return graph;
}

weft_model *graph_text_model(weft_device *device, const char *text, int32_t opset,
                             const weft_model_params *params)
{
    weft_model *model = NULL;
    weft_error error = {0};
    weft_graph *graph = graph_text_make(text, opset);
    must(weft_model_create(device, graph, params, &model, &error), &error, text);
    weft_graph_release(graph);
    return model;
}
