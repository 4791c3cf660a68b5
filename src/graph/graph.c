/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/graph.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fork.h"
#include "base/memory.h"
#include "base/tensor.h"

enum { FIRST_NAME_SLOTS = 64 };

weft_status weft_graph_create(int32_t opset, weft_graph **graph, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (graph == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "graph is NULL");
    }
    *graph = NULL;
    if (opset < WEFT_OPSET_FIRST || opset > WEFT_OPSET_LAST) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "opset %d is not supported; export with opset %d to %d",
                           (int)opset, WEFT_OPSET_FIRST, WEFT_OPSET_LAST);
    }
    weft_graph *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a graph");
    }
    wefti_refcount_init(&made->owners);
    wefti_atomic_u32_init(&made->frozen, 0);
    wefti_arena_init(&made->arena);
    made->opset = opset;
    *graph = made;
    return WEFT_OK;
}

weft_graph *weft_graph_retain(weft_graph *graph)
{
    if (graph != NULL) {
        wefti_refcount_retain(&graph->owners);
    }
    return graph;
}

static void free_data(wefti_graph_initializer *initializer)
{
    wefti_free(initializer->owned);
    if (initializer->release != NULL) {
        initializer->release(initializer->user);
    }
    initializer->owned = NULL;
    initializer->release = NULL;
}

/* Graphs inside of graphs are no deeper than WEFTI_MOST_NESTING. */
static void release_graphs(const wefti_graph_node *node)
{
    for (size_t i = 0; i < node->attribute_count; i++) {
        if (node->attributes[i].kind == WEFT_ATTRIBUTE_GRAPH) {
            weft_graph_release(node->attributes[i].graph);
        }
    }
}

void weft_graph_release(weft_graph *graph)
{
    if (graph == NULL || !wefti_refcount_release(&graph->owners)) {
        return;
    }
    for (size_t i = 0; i < graph->initializer_count; i++) {
        free_data(&graph->initializers[i]);
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        release_graphs(&graph->nodes[i]);
    }
    wefti_free(graph->output_infos);
    wefti_free(graph->values);
    wefti_free(graph->nodes);
    wefti_free(graph->initializers);
    wefti_free(graph->inputs);
    wefti_free(graph->standbys);
    wefti_free(graph->outputs);
    wefti_free(graph->problems);
    wefti_free(graph->name_slots);
    wefti_arena_fini(&graph->arena);
    wefti_free(graph);
}

/* The slot that holds `name`, or the empty one where it belongs. */
static size_t find_slot(const weft_graph *graph, const char *name)
{
    size_t mask = graph->name_slot_count - 1;
    size_t slot = (size_t)XXH3_64bits(name, strlen(name)) & mask;
    while (graph->name_slots[slot] >= 0 &&
           strcmp(graph->values[graph->name_slots[slot]].name, name) != 0) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

int32_t wefti_graph_find_value(const weft_graph *graph, const char *name)
{
    return graph->name_slot_count == 0 ? -1 : graph->name_slots[find_slot(graph, name)];
}

static weft_status grow_names(weft_graph *graph, weft_error *error)
{
    size_t count =
        graph->name_slot_count == 0 ? FIRST_NAME_SLOTS : graph->name_slot_count * 2;
    int32_t *slots = wefti_calloc(count, sizeof(*slots));
    if (slots == NULL) {
        return wefti_error_memory(error, "the table of names");
    }
    memset(slots, 0xff, count * sizeof(*slots));
    wefti_free(graph->name_slots);
    graph->name_slots = slots;
    graph->name_slot_count = count;
    for (size_t i = 0; i < graph->value_count; i++) {
        slots[find_slot(graph, graph->values[i].name)] = (int32_t)i;
    }
    return WEFT_OK;
}

/* Grows `array` (a pointer member with its _count and _capacity) by one element. */
#define GROW(graph, array, what, error)                                                \
    do {                                                                               \
        void *grown =                                                                  \
            wefti_grow((graph)->array##s, (graph)->array##_count,                      \
                       &(graph)->array##_capacity, sizeof(*(graph)->array##s));        \
        if (grown == NULL) {                                                           \
            return wefti_error_memory(error, what);                                    \
        }                                                                              \
        (graph)->array##s = grown;                                                     \
    } while (0)

/* The number of the value called `name`, made when it is new. */
static weft_status intern(weft_graph *graph, const char *name, int32_t *value,
                          weft_error *error)
{
    *value = wefti_graph_find_value(graph, name);
    if (*value >= 0) {
        return WEFT_OK;
    }
    if (graph->value_count >= INT32_MAX) {
        return wefti_error(error, WEFT_INVALID_MODEL, "the graph has too many values");
    }
    if (2 * (graph->value_count + 1) > graph->name_slot_count) {
        WEFTI_TRY(grow_names(graph, error));
    }
    GROW(graph, value, "the table of values", error);
    char *copy = wefti_arena_strdup(&graph->arena, name);
    if (copy == NULL) {
        return wefti_error_memory(error, "a value's name");
    }
    graph->values[graph->value_count] = (wefti_graph_value){
        .name = copy, .input = -1, .initializer = -1, .producer = -1, .standby = -1};
    *value = (int32_t)graph->value_count++;
    graph->name_slots[find_slot(graph, copy)] = *value;
    return WEFT_OK;
}

static weft_status check_open(const weft_graph *graph, const void *argument,
                              weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (graph == NULL || argument == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           graph == NULL ? "graph" : "an argument");
    }
    if (wefti_atomic_u32_load_acquire(&graph->frozen) != 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the graph can't change any more: a model was made of it");
    }
    return WEFT_OK;
}

static bool is_taken(const wefti_graph_value *value)
{
    return value->input >= 0 || value->initializer >= 0 || value->producer >= 0;
}

/* A name for something new: not empty and not produced by anything yet. */
static weft_status intern_new(weft_graph *graph, const char *name, int32_t *value,
                              weft_error *error)
{
    if (name == NULL || name[0] == '\0') {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "a value has no name");
    }
    WEFTI_TRY(intern(graph, name, value, error));
    if (is_taken(&graph->values[*value])) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the name '%s' is taken twice",
                           name);
    }
    return WEFT_OK;
}

static weft_status check_info(const weft_value_info *info, weft_error *error)
{
    if (weft_type_size(info->type) == 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' has the unknown element type %d", info->name,
                           (int)info->type);
    }
    if (info->rank < -1 || info->rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' has rank %d; at most %d is supported",
                           info->name, (int)info->rank, WEFT_MAX_RANK);
    }
    for (int32_t i = 0; i < info->rank; i++) {
        if (info->dims[i] < WEFT_DIM_DYNAMIC) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "input '%s': dimension %d is %lld", info->name, (int)i,
                               (long long)info->dims[i]);
        }
    }
    return WEFT_OK;
}

/* Copies what an input is called and looks like. */
static weft_status copy_info(weft_graph *graph, const weft_value_info *info,
                             int32_t value, wefti_graph_input *input, weft_error *error)
{
    *input = (wefti_graph_input){.value = value, .info = *info};
    input->info.name = graph->values[value].name;
    for (int32_t i = 0; i < info->rank; i++) {
        if (info->dim_names[i] == NULL) {
            continue;
        }
        char *name = wefti_arena_strdup(&graph->arena, info->dim_names[i]);
        if (name == NULL) {
            return wefti_error_memory(error, "a dimension's name");
        }
        input->info.dim_names[i] = name;
    }
    return WEFT_OK;
}

weft_status weft_graph_add_input(weft_graph *graph, const weft_value_info *info,
                                 weft_error *error)
{
    WEFTI_TRY(check_open(graph, info, error));
    int32_t value;
    WEFTI_TRY(intern_new(graph, info->name, &value, error));
    WEFTI_TRY(check_info(info, error));
    GROW(graph, input, "the table of inputs", error);
    wefti_graph_input input;
    WEFTI_TRY(copy_info(graph, info, value, &input, error));
    graph->values[value].input = (int32_t)graph->input_count;
    graph->inputs[graph->input_count++] = input;
    return WEFT_OK;
}

weft_status wefti_graph_add_open_input(weft_graph *graph, const char *name,
                                       weft_error *error)
{
    WEFTI_TRY(check_open(graph, name, error));
    int32_t value;
    WEFTI_TRY(intern_new(graph, name, &value, error));
    GROW(graph, input, "the table of inputs", error);
    graph->values[value].input = (int32_t)graph->input_count;
    graph->inputs[graph->input_count++] = (wefti_graph_input){
        .value = value, .info = {.name = graph->values[value].name, .rank = -1}};
    return WEFT_OK;
}

/* Ends the building of a graph that becomes a part of a node: what it reads and does
 * not have becomes an input, and its inputs take what they are given. */
static weft_status close_graph(weft_graph *graph, weft_error *error)
{
    if (wefti_atomic_u32_load_acquire(&graph->frozen) != 0) {
        return WEFT_OK;
    }
    for (size_t i = 0; i < graph->input_count; i++) {
        graph->inputs[i].info.type = WEFT_TYPE_NONE;
        graph->inputs[i].info.rank = -1;
    }
    for (size_t i = 0; i < graph->value_count; i++) {
        wefti_graph_value *value = &graph->values[i];
        if (value->input >= 0 || value->initializer >= 0 || value->producer >= 0) {
            continue;
        }
        GROW(graph, input, "the table of inputs", error);
        value->input = (int32_t)graph->input_count;
        graph->inputs[graph->input_count++] = (wefti_graph_input){
            .value = (int32_t)i, .info = {.name = value->name, .rank = -1}};
        graph->capture_count++;
    }
    wefti_atomic_u32_store_release(&graph->frozen, 1);
    return WEFT_OK;
}

static weft_status take_graph(weft_graph *graph, const weft_attribute *attribute,
                              weft_error *error)
{
    weft_graph *inner = attribute->graph;
    if (inner == NULL || inner == graph) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "attribute '%s' has no graph of its own", attribute->name);
    }
    if (inner->opset != graph->opset) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the graph of attribute '%s' has opset %d, not %d",
                           attribute->name, (int)inner->opset, (int)graph->opset);
    }
    if (inner->nesting + 1 > WEFTI_MOST_NESTING) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "graphs are nested more than %d deep",
                           (int)WEFTI_MOST_NESTING);
    }
    if (graph->nesting < inner->nesting + 1) {
        graph->nesting = inner->nesting + 1;
    }
    return close_graph(inner, error);
}

/* True when a tensor has this type and fits these dims. */
static bool fits_info(const weft_tensor *tensor, const weft_value_info *info)
{
    bool fits =
        tensor->type == info->type && (info->rank < 0 || tensor->rank == info->rank);
    for (int32_t i = 0; fits && i < info->rank; i++) {
        fits = info->dims[i] < 0 || info->dims[i] == tensor->dims[i];
    }
    return fits;
}

weft_status wefti_graph_add_default_input(weft_graph *graph,
                                          const weft_value_info *info,
                                          weft_error *error)
{
    WEFTI_TRY(check_open(graph, info, error));
    WEFTI_TRY(check_info(info, error));
    int32_t value = wefti_graph_find_value(graph, info->name);
    if (value < 0 || graph->values[value].initializer < 0 ||
        graph->values[value].standby >= 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the name '%s' is taken twice",
                           info->name);
    }
    const wefti_graph_initializer *initializer =
        &graph->initializers[graph->values[value].initializer];
    if (!fits_info(&initializer->tensor, info)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' and the initializer that is its default have "
                           "different types or shapes",
                           info->name);
    }
    GROW(graph, standby, "the table of inputs", error);
    wefti_graph_input input;
    WEFTI_TRY(copy_info(graph, info, value, &input, error));
    graph->values[value].standby = (int32_t)graph->standby_count;
    graph->standbys[graph->standby_count++] = input;
    return WEFT_OK;
}

weft_status weft_graph_require_input(weft_graph *graph, const char *name,
                                     weft_error *error)
{
    WEFTI_TRY(check_open(graph, name, error));
    int32_t value = wefti_graph_find_value(graph, name);
    int32_t index = value < 0 ? -1 : graph->values[value].standby;
    if (index < 0) {
        return wefti_error(error, WEFT_NOT_FOUND,
                           "the graph has no input '%s' with a default value", name);
    }
    GROW(graph, input, "the table of inputs", error);
    graph->values[value].standby = -1;
    graph->values[value].initializer = -1;
    graph->values[value].input = (int32_t)graph->input_count;
    graph->inputs[graph->input_count++] = graph->standbys[index];
    graph->standby_count--;
    for (size_t i = (size_t)index; i < graph->standby_count; i++) {
        graph->standbys[i] = graph->standbys[i + 1];
        graph->values[graph->standbys[i].value].standby = (int32_t)i;
    }
    return WEFT_OK;
}

size_t weft_graph_default_input_count(const weft_graph *graph)
{
    return graph == NULL ? 0 : graph->standby_count;
}

bool weft_graph_get_default_input(const weft_graph *graph, size_t index,
                                  weft_value_info *info, weft_tensor *value)
{
    if (graph == NULL || info == NULL || value == NULL ||
        index >= graph->standby_count) {
        return false;
    }
    const wefti_graph_input *input = &graph->standbys[index];
    *info = input->info;
    *value = graph->initializers[graph->values[input->value].initializer].tensor;
    return true;
}

weft_status weft_graph_add_initializer_borrowed(weft_graph *graph, const char *name,
                                                const weft_tensor *tensor,
                                                void (*release)(void *user), void *user,
                                                weft_error *error)
{
    weft_status status = check_open(graph, tensor, error);
    int32_t value = -1;
    size_t size_bytes = 0;
    if (status == WEFT_OK) {
        status = intern_new(graph, name, &value, error);
    }
    if (status == WEFT_OK) {
        status = weft_tensor_measure(tensor, NULL, &size_bytes, error);
        if (status != WEFT_OK) {
            wefti_error_prefix(error, status, "initializer '%s'", name);
        } else {
            status = wefti_tensor_check_placement(tensor, "initializer", name, error);
        }
    }
    if (status == WEFT_OK) {
        void *grown =
            wefti_grow(graph->initializers, graph->initializer_count,
                       &graph->initializer_capacity, sizeof(*graph->initializers));
        if (grown == NULL) {
            status = wefti_error_memory(error, "the table of initializers");
        } else {
            graph->initializers = grown;
        }
    }
    if (status != WEFT_OK) {
        if (release != NULL) {
            release(user);
        }
        return status;
    }
    wefti_graph_initializer *initializer =
        &graph->initializers[graph->initializer_count];
    *initializer = (wefti_graph_initializer){
        .value = value, .tensor = *tensor, .release = release, .user = user};
    initializer->tensor.size_bytes = size_bytes;
    graph->values[value].initializer = (int32_t)graph->initializer_count++;
    return WEFT_OK;
}

weft_status weft_graph_add_initializer(weft_graph *graph, const char *name,
                                       const weft_tensor *tensor, weft_error *error)
{
    WEFTI_TRY(check_open(graph, tensor, error));
    size_t size_bytes;
    WEFTI_TRY(weft_tensor_measure(tensor, NULL, &size_bytes, error));
    WEFTI_TRY(wefti_tensor_check_placement(tensor, "initializer",
                                           name == NULL ? "" : name, error));
    weft_tensor copy = *tensor;
    copy.data = wefti_malloc_aligned(size_bytes);
    if (copy.data == NULL) {
        return wefti_error_memory(error, "an initializer");
    }
    if (size_bytes > 0) {
        memcpy(copy.data, tensor->data, size_bytes);
    }
    return weft_graph_add_initializer_borrowed(graph, name, &copy, wefti_free,
                                               copy.data, error);
}

weft_status weft_graph_replace_initializer(weft_graph *graph, const char *name,
                                           const weft_tensor *tensor, weft_error *error)
{
    WEFTI_TRY(check_open(graph, tensor, error));
    int32_t value = name == NULL ? -1 : wefti_graph_find_value(graph, name);
    if (value < 0 || graph->values[value].initializer < 0) {
        return wefti_error(error, WEFT_NOT_FOUND, "there is no initializer '%s'",
                           name == NULL ? "" : name);
    }
    wefti_graph_initializer *old =
        &graph->initializers[graph->values[value].initializer];
    bool same = tensor->data != NULL && tensor->type == old->tensor.type &&
                tensor->rank == old->tensor.rank;
    for (int32_t i = 0; same && i < tensor->rank; i++) {
        same = tensor->dims[i] == old->tensor.dims[i];
    }
    if (!same) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "initializer '%s' has another type or shape", name);
    }
    WEFTI_TRY(wefti_tensor_check_placement(tensor, "initializer", name, error));
    void *copy = wefti_malloc_aligned(old->tensor.size_bytes);
    if (copy == NULL) {
        return wefti_error_memory(error, "an initializer");
    }
    memcpy(copy, tensor->data, old->tensor.size_bytes);
    free_data(old);
    old->owned = copy;
    old->tensor.data = copy;
    return WEFT_OK;
}

weft_status weft_graph_add_output(weft_graph *graph, const char *name,
                                  weft_error *error)
{
    WEFTI_TRY(check_open(graph, name, error));
    if (name[0] == '\0') {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "an output has no name");
    }
    int32_t value;
    WEFTI_TRY(intern(graph, name, &value, error));
    GROW(graph, output, "the table of outputs", error);
    graph->outputs[graph->output_count++] = value;
    return WEFT_OK;
}

weft_status wefti_graph_describe_output(weft_graph *graph, const weft_value_info *info,
                                        weft_error *error)
{
    if (graph->output_count == 0) {
        return wefti_error(error, WEFT_INTERNAL, "there is no output to describe");
    }
    if (graph->output_infos == NULL || graph->output_count > graph->info_capacity) {
        size_t capacity = 2 * graph->output_count;
        weft_value_info *grown =
            wefti_realloc(graph->output_infos, capacity, sizeof(*grown));
        if (grown == NULL) {
            return wefti_error_memory(error, "what is known of outputs");
        }
        for (size_t i = graph->info_capacity; i < capacity; i++) {
            grown[i] = (weft_value_info){.rank = -1};
        }
        graph->output_infos = grown;
        graph->info_capacity = capacity;
    }
    weft_value_info *kept = &graph->output_infos[graph->output_count - 1];
    *kept = *info;
    kept->name = NULL;
    memset(kept->dim_names, 0, sizeof(kept->dim_names));
    return WEFT_OK;
}

static weft_status copy_ids(weft_graph *graph, const char *const *names, size_t count,
                            const int32_t **result, weft_error *error)
{
    int32_t *ids = wefti_arena_calloc(&graph->arena, count, sizeof(*ids));
    if (ids == NULL) {
        return wefti_error_memory(error, "a node");
    }
    for (size_t i = 0; i < count; i++) {
        ids[i] = -1;
        if (names[i] == NULL || names[i][0] == '\0') {
            continue;
        }
        WEFTI_TRY(intern(graph, names[i], &ids[i], error));
    }
    *result = ids;
    return WEFT_OK;
}

/* Makes a node the producer of its outputs, or of none of them. */
static weft_status produce(weft_graph *graph, const int32_t *outputs, size_t count,
                           weft_error *error)
{
    for (size_t i = 0; i < count; i++) {
        wefti_graph_value *value = outputs[i] < 0 ? NULL : &graph->values[outputs[i]];
        if (value == NULL) {
            continue;
        }
        if (!is_taken(value)) {
            value->producer = (int32_t)graph->node_count;
            continue;
        }
        for (size_t k = 0; k < i; k++) {
            if (outputs[k] >= 0) {
                graph->values[outputs[k]].producer = -1;
            }
        }
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the name '%s' is taken twice",
                           value->name);
    }
    return WEFT_OK;
}

static weft_status copy_tensor(weft_graph *graph, const weft_tensor **tensor,
                               weft_error *error)
{
    size_t size_bytes;
    WEFTI_TRY(weft_tensor_measure(*tensor, NULL, &size_bytes, error));
    WEFTI_TRY(wefti_tensor_check_placement(*tensor, "a tensor", "attribute", error));
    weft_tensor *copy = wefti_arena_copy(&graph->arena, *tensor, sizeof(*copy));
    void *data = wefti_arena_data(&graph->arena, size_bytes);
    if (copy == NULL || data == NULL) {
        return wefti_error_memory(error, "an attribute");
    }
    if (size_bytes > 0) {
        memcpy(data, copy->data, size_bytes);
    }
    copy->data = data;
    copy->size_bytes = size_bytes;
    *tensor = copy;
    return WEFT_OK;
}

static weft_status check_list(const weft_attribute *attribute, weft_error *error)
{
    const void *list =
        attribute->kind == WEFT_ATTRIBUTE_INTS     ? (const void *)attribute->ints
        : attribute->kind == WEFT_ATTRIBUTE_FLOATS ? (const void *)attribute->floats
                                                   : (const void *)attribute->strings;
    if (attribute->count > 0 &&
        (list == NULL || attribute->count > PTRDIFF_MAX / sizeof(int64_t))) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "attribute '%s' has %zu values but no room for them",
                           attribute->name, attribute->count);
    }
    return WEFT_OK;
}

static weft_status copy_strings(weft_graph *graph, weft_attribute *attribute,
                                weft_error *error)
{
    const char **copies =
        wefti_arena_calloc(&graph->arena, attribute->count + 1, sizeof(*copies));
    for (size_t i = 0; copies && i < attribute->count; i++) {
        const char *text = attribute->strings[i] ? attribute->strings[i] : "";
        copies[i] = wefti_arena_strdup(&graph->arena, text);
        if (copies[i] == NULL) {
            copies = NULL;
        }
    }
    attribute->strings = copies;
    return copies ? WEFT_OK : wefti_error_memory(error, "an attribute");
}

static weft_status copy_attribute(weft_graph *graph, weft_attribute *attribute,
                                  weft_error *error)
{
    wefti_arena *arena = &graph->arena;
    if (attribute->name == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "an attribute has no name");
    }
    bool copied =
        (attribute->name = wefti_arena_strdup(arena, attribute->name)) != NULL;
    switch (attribute->kind) {
    case WEFT_ATTRIBUTE_INT:
    case WEFT_ATTRIBUTE_FLOAT:
        break;
    case WEFT_ATTRIBUTE_STRING:
        attribute->s =
            wefti_arena_strdup(arena, attribute->s == NULL ? "" : attribute->s);
        copied = copied && attribute->s != NULL;
        break;
    case WEFT_ATTRIBUTE_INTS:
        WEFTI_TRY(check_list(attribute, error));
        attribute->ints = wefti_arena_copy(arena, attribute->ints,
                                           attribute->count * sizeof(int64_t));
        copied = copied && attribute->ints != NULL;
        break;
    case WEFT_ATTRIBUTE_FLOATS:
        WEFTI_TRY(check_list(attribute, error));
        attribute->floats = wefti_arena_copy(arena, attribute->floats,
                                             attribute->count * sizeof(float));
        copied = copied && attribute->floats != NULL;
        break;
    case WEFT_ATTRIBUTE_STRINGS:
        WEFTI_TRY(check_list(attribute, error));
        WEFTI_TRY(copy_strings(graph, attribute, error));
        break;
    case WEFT_ATTRIBUTE_TENSOR:
        if (attribute->tensor == NULL) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "attribute '%s' has no tensor", attribute->name);
        }
        WEFTI_TRY(copy_tensor(graph, &attribute->tensor, error));
        break;
    case WEFT_ATTRIBUTE_GRAPH:
        WEFTI_TRY(take_graph(graph, attribute, error));
        break;
    default:
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "attribute '%s' has the unknown kind %d", attribute->name,
                           (int)attribute->kind);
    }
    return copied ? WEFT_OK : wefti_error_memory(error, "an attribute");
}

/* How many inputs a node has of its own. What its graphs read comes behind them, so a
 * Loop whose trip count or condition is left off has an absent one in that place. */
static size_t count_own_inputs(const weft_node *node)
{
    bool loop = strcmp(node->op_type, "Loop") == 0 &&
                (node->domain == NULL || node->domain[0] == '\0' ||
                 strcmp(node->domain, "ai.onnx") == 0);
    return loop && node->input_count < 2 ? 2 : node->input_count;
}

/* The node's own inputs, and what its graphs read of this one. */
static weft_status copy_inputs(weft_graph *graph, const weft_node *node,
                               wefti_graph_node *made, weft_error *error)
{
    made->input_count = count_own_inputs(node);
    size_t count = made->input_count;
    for (size_t i = 0; i < node->attribute_count; i++) {
        const weft_attribute *attribute = &node->attributes[i];
        count += attribute->kind == WEFT_ATTRIBUTE_GRAPH
                     ? attribute->graph->capture_count
                     : 0;
    }
    const char **names = wefti_arena_calloc(&graph->arena, count, sizeof(*names));
    if (names == NULL) {
        return wefti_error_memory(error, "a node");
    }
    if (node->input_count > 0) {
        memcpy(names, node->inputs, node->input_count * sizeof(*names));
    }
    for (size_t i = 0; i < node->attribute_count; i++) {
        const weft_attribute *attribute = &node->attributes[i];
        if (attribute->kind != WEFT_ATTRIBUTE_GRAPH) {
            continue;
        }
        const weft_graph *inner = attribute->graph;
        size_t first = inner->input_count - inner->capture_count;
        for (size_t j = first; j < inner->input_count; j++) {
            names[made->input_count++] = inner->values[inner->inputs[j].value].name;
        }
    }
    return copy_ids(graph, names, made->input_count, &made->inputs, error);
}

static weft_status copy_node(weft_graph *graph, const weft_node *node,
                             wefti_graph_node *made, weft_error *error)
{
    wefti_arena *arena = &graph->arena;
    made->op_type = wefti_arena_strdup(arena, node->op_type);
    made->domain = wefti_arena_strdup(arena, node->domain == NULL ? "" : node->domain);
    const char *name = node->name;
    if ((name == NULL || name[0] == '\0') && node->output_count > 0) {
        name = node->outputs[0];
    }
    made->label = wefti_arena_printf(arena, "%s '%.80s'", node->op_type,
                                     name == NULL ? "" : name);
    weft_attribute *attributes = wefti_arena_copy(
        arena, node->attributes, node->attribute_count * sizeof(*node->attributes));
    if (made->op_type == NULL || made->domain == NULL || made->label == NULL ||
        attributes == NULL) {
        return wefti_error_memory(error, "a node");
    }
    for (size_t i = 0; i < node->attribute_count; i++) {
        WEFTI_TRY(copy_attribute(graph, &attributes[i], error));
    }
    made->attributes = attributes;
    made->attribute_count = node->attribute_count;
    made->output_count = node->output_count;
    WEFTI_TRY(copy_inputs(graph, node, made, error));
    WEFTI_TRY(
        copy_ids(graph, node->outputs, node->output_count, &made->outputs, error));
    return produce(graph, made->outputs, made->output_count, error);
}

weft_status weft_graph_add_node(weft_graph *graph, const weft_node *node,
                                weft_error *error)
{
    WEFTI_TRY(check_open(graph, node, error));
    if (node->op_type == NULL || (node->input_count > 0 && node->inputs == NULL) ||
        (node->output_count > 0 && node->outputs == NULL) ||
        (node->attribute_count > 0 && node->attributes == NULL)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "a node lacks its op_type or one of its arrays");
    }
    GROW(graph, node, "the table of nodes", error);
    wefti_graph_node made = {0};
    weft_status status = copy_node(graph, node, &made, error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(error, status, "node %s '%s'", node->op_type,
                                  node->name == NULL ? "" : node->name);
    }
    for (size_t i = 0; i < made.attribute_count; i++) {
        if (made.attributes[i].kind == WEFT_ATTRIBUTE_GRAPH) {
            weft_graph_retain(made.attributes[i].graph);
        }
    }
    graph->nodes[graph->node_count++] = made;
    return WEFT_OK;
}

size_t weft_graph_initializer_count(const weft_graph *graph)
{
    return graph == NULL ? 0 : graph->initializer_count;
}

bool weft_graph_get_initializer(const weft_graph *graph, size_t index,
                                const char **name, weft_tensor *tensor)
{
    if (graph == NULL || name == NULL || tensor == NULL ||
        index >= graph->initializer_count) {
        return false;
    }
    const wefti_graph_initializer *initializer = &graph->initializers[index];
    *name = graph->values[initializer->value].name;
    *tensor = initializer->tensor;
    return true;
}

weft_status wefti_graph_add_problem(weft_graph *graph, int32_t node, const char *text,
                                    weft_error *error)
{
    WEFTI_TRY(check_open(graph, text, error));
    GROW(graph, problem, "the table of problems", error);
    const char *copy = wefti_arena_strdup(&graph->arena, text);
    if (copy == NULL) {
        return wefti_error_memory(error, "a problem of a graph");
    }
    graph->problems[graph->problem_count++] = (wefti_graph_problem){node, copy};
    return WEFT_OK;
}

size_t weft_graph_input_count(const weft_graph *graph)
{
    return graph == NULL ? 0 : graph->input_count;
}

bool weft_graph_get_input(const weft_graph *graph, size_t index, weft_value_info *info)
{
    if (graph == NULL || info == NULL || index >= graph->input_count) {
        return false;
    }
    *info = graph->inputs[index].info;
    return true;
}
