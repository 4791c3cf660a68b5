/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/net.h"

#include <string.h>

#include "base/memory.h"
#include "graph/older.h"

static weft_status out_of_memory(weft_error *error)
{
    return wefti_error_memory(error, "the working form of a graph");
}

static weft_status allocate(wefti_net *net, weft_error *error)
{
    wefti_arena *arena = &net->arena;
    net->value_capacity = net->value_count;
    net->values = wefti_arena_calloc(arena, net->value_count, sizeof(*net->values));
    net->inputs = wefti_arena_calloc(arena, net->input_count, sizeof(*net->inputs));
    net->outputs = wefti_arena_calloc(arena, net->output_count, sizeof(*net->outputs));
    return net->values == NULL || net->inputs == NULL || net->outputs == NULL
               ? out_of_memory(error)
               : WEFT_OK;
}

/* Visits nodes depth first with an explicit stack (deep graphs must not overflow the
 * thread's) and writes them to `order`, producers first. */
typedef struct sorter {
    const weft_graph *graph;
    bool forgiving;
    uint8_t *state;   /* per node: 0 new, 1 on the stack, 2 done */
    int32_t *stack;   /* nodes */
    size_t *position; /* per stack entry: next input to look at */
    size_t depth;
    int32_t *order;
    size_t ordered;
} sorter;

static weft_status visit(sorter *sort, int32_t node, weft_error *error)
{
    if (sort->state[node] == 1) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s depends on its own output (a cycle)",
                           sort->graph->nodes[node].label);
    }
    if (sort->state[node] == 0) {
        sort->state[node] = 1;
        sort->stack[sort->depth] = node;
        sort->position[sort->depth++] = 0;
    }
    return WEFT_OK;
}

/* Looks at the next input of the node on top of the stack. */
static weft_status advance(sorter *sort, weft_error *error)
{
    int32_t top = sort->stack[sort->depth - 1];
    const wefti_graph_node *node = &sort->graph->nodes[top];
    size_t position = sort->position[sort->depth - 1]++;
    if (position == node->input_count) {
        sort->state[top] = 2;
        sort->order[sort->ordered++] = top;
        sort->depth--;
        return WEFT_OK;
    }
    int32_t input = node->inputs[position];
    if (input < 0) {
        return WEFT_OK;
    }
    const wefti_graph_value *value = &sort->graph->values[input];
    if (value->producer < 0 && value->input < 0 && value->initializer < 0 &&
        !sort->forgiving) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s reads '%s', which nothing produces", node->label,
                           value->name);
    }
    return value->producer < 0 ? WEFT_OK : visit(sort, value->producer, error);
}

static weft_status sort_nodes(const weft_graph *graph, bool forgiving,
                              wefti_arena *scratch, int32_t *order, weft_error *error)
{
    size_t count = graph->node_count;
    sorter sort = {
        .graph = graph,
        .forgiving = forgiving,
        .state = wefti_arena_calloc(scratch, count, 1),
        .stack = wefti_arena_calloc(scratch, count, sizeof(int32_t)),
        .position = wefti_arena_calloc(scratch, count, sizeof(size_t)),
        .order = order,
    };
    if (sort.state == NULL || sort.stack == NULL || sort.position == NULL) {
        return out_of_memory(error);
    }
    for (size_t i = 0; i < count; i++) {
        WEFTI_TRY(sort.state[i] == 2 ? WEFT_OK : visit(&sort, (int32_t)i, error));
        while (sort.depth > 0) {
            WEFTI_TRY(advance(&sort, error));
        }
    }
    return WEFT_OK;
}

static weft_status copy_values(const weft_graph *graph, bool forgiving, wefti_net *net,
                               weft_error *error)
{
    for (size_t i = 0; i < graph->value_count; i++) {
        const wefti_graph_value *value = &graph->values[i];
        net->values[i] = (wefti_net_value){.name = value->name, .input = value->input};
        if (value->initializer >= 0) {
            const weft_tensor *tensor = &graph->initializers[value->initializer].tensor;
            wefti_known *known = &net->values[i].known;
            known->type = tensor->type;
            known->rank = tensor->rank;
            memcpy(known->dims, tensor->dims, sizeof(known->dims));
            /* An empty tensor is constant too and needs an address. */
            known->constant = tensor->data != NULL ? tensor->data : "";
        }
    }
    for (size_t i = 0; i < graph->input_count; i++) {
        net->inputs[i] = graph->inputs[i].value;
    }
    for (size_t i = 0; i < graph->output_count; i++) {
        int32_t value = graph->outputs[i];
        const wefti_graph_value *known = &graph->values[value];
        if (known->producer < 0 && known->input < 0 && known->initializer < 0 &&
            !forgiving) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "the output '%s' is produced by nothing", known->name);
        }
        net->outputs[i] = value;
        net->values[value].is_output = true;
    }
    return WEFT_OK;
}

static void append(wefti_net *net, wefti_net_node *before, wefti_net_node *node)
{
    node->next = before;
    node->previous = before == NULL ? net->last : before->previous;
    *(node->previous == NULL ? &net->first : &node->previous->next) = node;
    *(before == NULL ? &net->last : &before->previous) = node;
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            net->values[node->outputs[i]].producer = node;
        }
    }
}

/* Adds a node with copies of the lists of its inputs and outputs. */
static weft_status add_node(wefti_net *net, wefti_net_node *before,
                            const wefti_net_node *like, weft_error *error)
{
    wefti_net_node *node = wefti_arena_copy(&net->arena, like, sizeof(*node));
    if (node == NULL) {
        return out_of_memory(error);
    }
    node->inputs = wefti_arena_copy(&net->arena, like->inputs,
                                    like->view.input_count * sizeof(*node->inputs));
    node->outputs = wefti_arena_copy(&net->arena, like->outputs,
                                     like->view.output_count * sizeof(*node->outputs));
    if (node->inputs == NULL || node->outputs == NULL) {
        return out_of_memory(error);
    }
    append(net, before, node);
    return WEFT_OK;
}

static weft_status infer_nothing(const wefti_node_view *node, const wefti_known *inputs,
                                 wefti_known *outputs, weft_error *error)
{
    (void)inputs;
    (void)outputs;
    return wefti_error(error, WEFT_UNSUPPORTED, "%s: its operator is missing",
                       node->label);
}

const wefti_operator wefti_operator_missing = {
    .domain = "weft",
    .name = "missing",
    .max_inputs = INT32_MAX,
    .max_outputs = INT32_MAX,
    .infer = infer_nothing,
};

static weft_status copy_node(const weft_graph *graph, const wefti_graph_node *source,
                             bool forgiving, wefti_net *net, weft_error *error)
{
    wefti_net_node node = {
        .view =
            {
                .op_type = source->op_type,
                .label = source->label,
                .opset = graph->opset,
                .attributes = source->attributes,
                .attribute_count = source->attribute_count,
                .input_count = source->input_count,
                .output_count = source->output_count,
            },
        /* Only read by add_node, which copies them. */
        .inputs = (int32_t *)(uintptr_t)source->inputs,
        .outputs = (int32_t *)(uintptr_t)source->outputs,
    };
    weft_status status = wefti_operator_find(source->domain, source->op_type,
                                             graph->opset, &node.op, error);
    if (status == WEFT_UNSUPPORTED && forgiving) {
        node.op = &wefti_operator_missing;
        status = WEFT_OK;
    }
    WEFTI_TRY(status);
    WEFTI_TRY(wefti_net_modernise(net, &node, error));
    return add_node(net, NULL, &node, error);
}

weft_status wefti_net_insert(wefti_net *net, wefti_net_node *before,
                             const wefti_net_new *what, weft_error *error)
{
    int32_t opset = net->first == NULL ? 0 : net->first->view.opset;
    wefti_net_node node = {
        .view =
            {
                .op_type = what->op_type,
                .label = what->label,
                .opset = opset,
                .attributes =
                    wefti_arena_copy(&net->arena, what->attributes,
                                     what->attribute_count * sizeof(*what->attributes)),
                .attribute_count = what->attribute_count,
                .input_count = what->input_count,
                .output_count = what->output_count,
            },
        .inputs = (int32_t *)(uintptr_t)what->inputs,
        .outputs = (int32_t *)(uintptr_t)what->outputs,
    };
    if (node.view.attributes == NULL) {
        return out_of_memory(error);
    }
    WEFTI_TRY(wefti_operator_find(what->domain, what->op_type, opset, &node.op, error));
    return add_node(net, before, &node, error);
}

weft_status wefti_net_add_value(wefti_net *net, const wefti_known *known,
                                const char *name, int32_t *value, weft_error *error)
{
    if (net->value_count == net->value_capacity) {
        size_t capacity = 2 * net->value_capacity + 16;
        wefti_net_value *grown =
            wefti_arena_calloc(&net->arena, capacity, sizeof(*grown));
        if (grown == NULL) {
            return out_of_memory(error);
        }
        memcpy(grown, net->values, net->value_count * sizeof(*grown));
        net->values = grown;
        net->value_capacity = capacity;
    }
    net->values[net->value_count] =
        (wefti_net_value){.name = name, .known = *known, .input = -1};
    *value = (int32_t)net->value_count++;
    return WEFT_OK;
}

/* Adds to the list of what is missing in the error's message, with the first node
 * that needs it, so that a user learns of every operator at once. */
static void list_missing(weft_error *error, const weft_error *one, const char *label,
                         size_t *missing)
{
    if ((*missing)++ == 0) {
        (void)wefti_error(error, WEFT_UNSUPPORTED, "%s (node %s)", one->message, label);
        return;
    }
    if (error == NULL || strstr(error->message, one->message) != NULL) {
        return;
    }
    weft_error more;
    (void)wefti_error(&more, WEFT_UNSUPPORTED, "; %s (node %s)", one->message, label);
    if (strlen(error->message) + strlen(more.message) < sizeof(error->message)) {
        strcat(error->message, more.message);
    }
}

weft_status wefti_net_check_operator(const weft_graph *graph,
                                     const wefti_graph_node *node, weft_error *error)
{
    const wefti_operator *found;
    WEFTI_TRY(
        wefti_operator_find(node->domain, node->op_type, graph->opset, &found, error));
    return strcmp(node->domain, "weft") == 0
               ? wefti_error(error, WEFT_UNSUPPORTED,
                             "the domain 'weft' is not for models")
               : WEFT_OK;
}

/* What is missing in a graph, and in the graphs of its nodes. */
static void find_missing(const weft_graph *graph, weft_error *error, size_t *missing)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        const wefti_graph_node *node = &graph->nodes[i];
        weft_error one;
        if (wefti_net_check_operator(graph, node, &one) != WEFT_OK) {
            list_missing(error, &one, node->label, missing);
        }
        for (size_t j = 0; j < node->attribute_count; j++) {
            if (node->attributes[j].kind == WEFT_ATTRIBUTE_GRAPH) {
                find_missing(node->attributes[j].graph, error, missing);
            }
        }
    }
}

static weft_status find_operators(const weft_graph *graph, weft_error *error)
{
    size_t missing = 0;
    find_missing(graph, error, &missing);
    return missing == 0 ? WEFT_OK : WEFT_UNSUPPORTED;
}

/* The reader's problems, kept for weft_graph_inspect. */
static weft_status check_problems(const weft_graph *graph, weft_error *error)
{
    if (graph->problem_count == 0) {
        return WEFT_OK;
    }
    return wefti_error(error, WEFT_UNSUPPORTED, "%s%s", graph->problems[0].text,
                       graph->problem_count == 1 ? "" : " (and more)");
}

static weft_status fill(const weft_graph *graph, bool forgiving, wefti_net *net,
                        weft_error *error)
{
    net->value_count = graph->value_count;
    net->input_count = graph->input_count;
    net->output_count = graph->output_count;
    WEFTI_TRY(allocate(net, error));
    size_t count = graph->node_count;
    int32_t *order = wefti_arena_calloc(&net->arena, count, sizeof(*order));
    if (order == NULL) {
        return out_of_memory(error);
    }
    if (!forgiving) {
        WEFTI_TRY(check_problems(graph, error));
        WEFTI_TRY(find_operators(graph, error));
    }
    WEFTI_TRY(sort_nodes(graph, forgiving, &net->arena, order, error));
    WEFTI_TRY(copy_values(graph, forgiving, net, error));
    for (size_t i = 0; i < count; i++) {
        WEFTI_TRY(copy_node(graph, &graph->nodes[order[i]], forgiving, net, error));
    }
    wefti_net_sweep(net);
    return WEFT_OK;
}

static weft_status create(const weft_graph *graph, bool forgiving, wefti_net *net,
                          weft_error *error)
{
    *net = (wefti_net){0};
    wefti_arena_init(&net->arena);
    if (graph->output_count == 0) {
        return wefti_error(error, WEFT_INVALID_MODEL, "the graph has no outputs");
    }
    weft_status status = fill(graph, forgiving, net, error);
    if (status != WEFT_OK) {
        wefti_net_destroy(net);
    }
    return status;
}

weft_status wefti_net_create(const weft_graph *graph, wefti_net *net, weft_error *error)
{
    return create(graph, false, net, error);
}

weft_status wefti_net_create_forgiving(const weft_graph *graph, wefti_net *net,
                                       weft_error *error)
{
    return create(graph, true, net, error);
}

static weft_status clone_nodes(const wefti_net *source, wefti_net *net,
                               weft_error *error)
{
    for (const wefti_net_node *old = source->first; old != NULL; old = old->next) {
        if (!old->dead) {
            WEFTI_TRY(add_node(net, NULL, old, error));
        }
    }
    return WEFT_OK;
}

weft_status wefti_net_clone(const wefti_net *source, wefti_net *net, weft_error *error)
{
    *net = (wefti_net){
        .value_count = source->value_count,
        .input_count = source->input_count,
        .output_count = source->output_count,
    };
    wefti_arena_init(&net->arena);
    weft_status status = allocate(net, error);
    if (status == WEFT_OK) {
        memcpy(net->values, source->values, net->value_count * sizeof(*net->values));
        memcpy(net->inputs, source->inputs, net->input_count * sizeof(*net->inputs));
        memcpy(net->outputs, source->outputs,
               net->output_count * sizeof(*net->outputs));
        for (size_t i = 0; i < net->value_count; i++) {
            net->values[i].producer = NULL;
            net->values[i].of_model = net->values[i].known.constant != NULL;
        }
        status = clone_nodes(source, net, error);
    }
    if (status != WEFT_OK) {
        wefti_net_destroy(net);
    }
    return status;
}

void wefti_net_destroy(wefti_net *net)
{
    wefti_arena_fini(&net->arena);
    *net = (wefti_net){0};
}

wefti_net_node *wefti_net_producer(const wefti_net *net, int32_t value)
{
    if (value < 0 || net->values[value].known.constant != NULL) {
        return NULL;
    }
    wefti_net_node *node = net->values[value].producer;
    return node == NULL || node->dead ? NULL : node;
}

bool wefti_net_is(const wefti_net_node *node, const char *op_type)
{
    return node != NULL && !node->dead && strcmp(node->op->name, op_type) == 0;
}

/* Backwards from the outputs: a node lives when a live node or an output reads one of
 * its outputs that is not constant. */
void wefti_net_sweep(wefti_net *net)
{
    for (size_t i = 0; i < net->value_count; i++) {
        net->values[i].use_count = net->values[i].is_output ? 1 : 0;
    }
    for (wefti_net_node *node = net->last; node != NULL; node = node->previous) {
        bool needed = false;
        for (size_t j = 0; j < node->view.output_count; j++) {
            int32_t value = node->outputs[j];
            needed = needed || (value >= 0 && net->values[value].use_count > 0 &&
                                net->values[value].known.constant == NULL);
        }
        node->dead = node->dead || !needed;
        for (size_t j = 0; !node->dead && j < node->view.input_count; j++) {
            if (node->inputs[j] >= 0) {
                net->values[node->inputs[j]].use_count++;
            }
        }
    }
}

void wefti_net_unlink_dead(wefti_net *net)
{
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (node->dead) {
            *(node->previous == NULL ? &net->first : &node->previous->next) =
                node->next;
            *(node->next == NULL ? &net->last : &node->next->previous) = node->previous;
        }
    }
}
