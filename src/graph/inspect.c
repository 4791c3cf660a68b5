/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "base/float_state.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "graph/halves.h"

typedef struct wefti_inspect_label {
    const char *label;
    int32_t node;
} wefti_inspect_label;

static weft_status out_of_memory(weft_error *error)
{
    return wefti_error_memory(error, "an inspection");
}

static int by_address(const void *a, const void *b)
{
    uintptr_t first = (uintptr_t)((const wefti_inspect_label *)a)->label;
    uintptr_t second = (uintptr_t)((const wefti_inspect_label *)b)->label;
    return first < second ? -1 : first > second;
}

int32_t wefti_inspect_find(const weft_inspection *self, const char *label)
{
    const wefti_inspect_label wanted = {label, -1};
    const wefti_inspect_label *found = bsearch(
        &wanted, self->labels, self->totals.node_count, sizeof(*found), by_address);
    return found == NULL ? -1 : found->node;
}

weft_status wefti_inspect_add_problem(weft_inspection *self, int32_t node,
                                      weft_status status, const char *text,
                                      weft_error *error)
{
    if (node >= 0 && self->nodes[node].fate == WEFT_FATE_UNSUPPORTED) {
        return WEFT_OK;
    }
    return wefti_inspect_add_inner_problem(self, node, status, text, error);
}

weft_status wefti_inspect_add_inner_problem(weft_inspection *self, int32_t node,
                                            weft_status status, const char *text,
                                            weft_error *error)
{
    if (node >= 0) {
        self->nodes[node].fate = WEFT_FATE_UNSUPPORTED;
    }
    void *grown = wefti_grow(self->problems, self->totals.problem_count,
                             &self->problem_capacity, sizeof(*self->problems));
    if (grown == NULL) {
        return out_of_memory(error);
    }
    self->problems = grown;
    const char *copy = wefti_arena_strdup(&self->arena, text);
    if (copy == NULL) {
        return out_of_memory(error);
    }
    self->problems[self->totals.problem_count++] =
        (weft_inspect_problem){node, status, copy};
    return WEFT_OK;
}

/* The name in a label such as "MatMul 'name'". */
static const char *name_of(weft_inspection *self, const wefti_graph_node *node)
{
    size_t skipped = strlen(node->op_type) + 2;
    char *name = wefti_arena_strdup(&self->arena, node->label + skipped);
    if (name != NULL && name[0] != '\0') {
        name[strlen(name) - 1] = '\0';
    }
    return name;
}

static weft_status copy_nodes(weft_inspection *self, weft_error *error)
{
    const weft_graph *graph = self->graph;
    size_t count = graph->node_count;
    self->totals.node_count = count;
    self->nodes = wefti_arena_calloc(&self->arena, count, sizeof(*self->nodes));
    self->labels = wefti_arena_calloc(&self->arena, count, sizeof(*self->labels));
    self->made = wefti_arena_calloc(&self->arena, count, sizeof(*self->made));
    if (self->nodes == NULL || self->labels == NULL || self->made == NULL) {
        return out_of_memory(error);
    }
    for (size_t i = 0; i < count; i++) {
        const wefti_graph_node *node = &graph->nodes[i];
        self->labels[i] = (wefti_inspect_label){node->label, (int32_t)i};
        self->nodes[i] = (weft_inspect_node){
            .op_type = node->op_type,
            .domain = node->domain,
            .name = name_of(self, node),
            .inputs = node->inputs,
            .outputs = node->outputs,
            .input_count = node->input_count,
            .output_count = node->output_count,
            .fused_into = -1,
        };
        if (self->nodes[i].name == NULL) {
            return out_of_memory(error);
        }
    }
    if (count > 0) {
        qsort(self->labels, count, sizeof(*self->labels), by_address);
    }
    return WEFT_OK;
}

static weft_status copy_values(weft_inspection *self, weft_error *error)
{
    const weft_graph *graph = self->graph;
    size_t count = graph->value_count;
    self->totals.value_count = count;
    self->values = wefti_arena_calloc(&self->arena, count, sizeof(*self->values));
    if (self->values == NULL) {
        return out_of_memory(error);
    }
    for (size_t i = 0; i < count; i++) {
        const wefti_graph_value *value = &graph->values[i];
        self->values[i] = (weft_inspect_value){
            .name = value->name,
            .producer = value->producer,
            .is_input = value->input >= 0,
            .is_initializer = value->initializer >= 0,
        };
    }
    for (size_t i = 0; i < graph->output_count; i++) {
        self->values[graph->outputs[i]].is_output = true;
    }
    for (size_t i = 0; i < graph->initializer_count; i++) {
        int64_t elements = 0;
        size_t bytes = 0;
        WEFTI_TRY(weft_tensor_measure(&graph->initializers[i].tensor, &elements, &bytes,
                                      error));
        self->totals.parameter_count += (uint64_t)elements;
        self->totals.weight_bytes += bytes;
    }
    return WEFT_OK;
}

/* What the reader kept, and every operator that is missing. */
static weft_status find_missing(weft_inspection *self, weft_error *error)
{
    const weft_graph *graph = self->graph;
    for (size_t i = 0; i < graph->problem_count; i++) {
        WEFTI_TRY(wefti_inspect_add_problem(self, graph->problems[i].node,
                                            WEFT_UNSUPPORTED, graph->problems[i].text,
                                            error));
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        weft_error why;
        weft_status status = wefti_net_check_operator(graph, &graph->nodes[i], &why);
        if (status != WEFT_OK) {
            WEFTI_TRY(wefti_inspect_add_problem(self, (int32_t)i, status, why.message,
                                                error));
        }
    }
    return WEFT_OK;
}

static void hear(void *user, const wefti_net_node *node, const weft_error *why)
{
    weft_inspection *self = user;
    int32_t number = wefti_inspect_find(self, node->view.label);
    if (self->status == WEFT_OK) {
        self->status =
            wefti_inspect_add_problem(self, number, why->status, why->message, NULL);
    }
}

static void set_inputs(weft_inspection *self)
{
    for (size_t i = 0; self->inputs != NULL && i < self->net.input_count; i++) {
        const weft_tensor *tensor = &self->inputs[i];
        wefti_known *known = &self->net.values[self->net.inputs[i]].known;
        *known = (wefti_known){.type = tensor->type, .rank = tensor->rank};
        memcpy(known->dims, tensor->dims, sizeof(known->dims));
    }
}

/* Types and shapes as far as they can be known. */
static weft_status infer(weft_inspection *self, weft_error *error)
{
    wefti_backend_device *cpu = self->model != NULL ? self->model->cpu : NULL;
    if (cpu == NULL) {
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        params.worker_count = 0;
        const wefti_log quiet = {0};
        WEFTI_TRY(wefti_backend_cpu.device.open(-1, &params, &quiet, &cpu, error));
    }
    set_inputs(self);
    wefti_evaluator evaluator;
    weft_status status = wefti_evaluator_init(&evaluator, cpu, error);
    if (status == WEFT_OK) {
        status = wefti_net_infer_forgiving(&self->net, &evaluator, hear, self, error);
        wefti_evaluator_fini(&evaluator);
    }
    if (self->model == NULL) {
        wefti_backend_cpu.device.close(cpu);
    }
    return status == WEFT_OK && self->status != WEFT_OK ? out_of_memory(error) : status;
}

static void describe_values(weft_inspection *self)
{
    for (size_t i = 0; i < self->totals.value_count; i++) {
        const wefti_known *known = &self->net.values[i].known;
        weft_inspect_value *value = &self->values[i];
        value->type = known->type;
        value->rank = known->rank;
        memcpy(value->dims, known->dims, sizeof(value->dims));
        value->is_constant = known->constant != NULL;
        value->size_bytes =
            known->type == WEFT_TYPE_NONE ? 0 : wefti_known_bytes(known);
    }
}

/* Whether there is one plan for these inputs, and it can be asked for: a model with
 * stages has none of its own, and what value inputs hold is a part of the question. */
static bool has_plan(const weft_inspection *self)
{
    if (self->model == NULL || self->inputs == NULL || self->model->stages != NULL) {
        return false;
    }
    const bool *values = self->model->values.inputs;
    for (size_t i = 0; values != NULL && i < self->net.input_count; i++) {
        int64_t count = 0;
        if (values[i] && self->inputs[i].data == NULL &&
            (weft_tensor_measure(&self->inputs[i], &count, NULL, NULL) != WEFT_OK ||
             count > 0)) {
            return false;
        }
    }
    return true;
}

static weft_status look(weft_inspection *self, weft_error *error)
{
    WEFTI_TRY(copy_nodes(self, error));
    WEFTI_TRY(copy_values(self, error));
    /* In this order: what is missing inside of a node would hide its own problem. */
    WEFTI_TRY(find_missing(self, error));
    WEFTI_TRY(wefti_inspect_inner(self, error));
    weft_error why;
    weft_status status = wefti_net_create_forgiving(self->graph, &self->net, &why);
    if (status == WEFT_OUT_OF_MEMORY) {
        return out_of_memory(error);
    }
    if (status != WEFT_OK) {
        return wefti_inspect_add_problem(self, -1, status, why.message, error);
    }
    weft_type products;
    WEFTI_TRY(wefti_net_widen(&self->net, self->graph, false, &products, error));
    for (const wefti_net_node *node = self->net.first; node; node = node->next) {
        int32_t number = wefti_inspect_find(self, node->view.label);
        if (number >= 0) {
            self->made[number] = node;
        }
    }
    WEFTI_TRY(infer(self, error));
    describe_values(self);
    WEFTI_TRY(wefti_inspect_measure(self, error));
    bool planned = has_plan(self) && self->totals.problem_count == 0;
    return planned ? wefti_inspect_plan(self, error) : WEFT_OK;
}

static weft_status check(const weft_graph *graph, const weft_inspect_params *given,
                         weft_inspect_params *params, weft_error *error)
{
    *params = (weft_inspect_params)WEFT_INSPECT_PARAMS_INIT;
    WEFTI_TRY(
        wefti_params_take(WEFTI_PARAMS(weft_inspect_params), given, params, error));
    if (params->model != NULL && params->model->graph != graph) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the model is of another graph");
    }
    if (params->inputs != NULL && params->input_count != graph->input_count) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "there are shapes of %zu inputs, the graph has %zu",
                           params->input_count, graph->input_count);
    }
    for (size_t i = 0; params->inputs != NULL && i < params->input_count; i++) {
        weft_status status = weft_tensor_measure(&params->inputs[i], NULL, NULL, error);
        if (status != WEFT_OK) {
            return wefti_error_prefix(error, status, "input '%s'",
                                      graph->inputs[i].info.name);
        }
    }
    return WEFT_OK;
}

weft_status weft_graph_inspect(weft_graph *graph, const weft_inspect_params *params,
                               weft_inspection **inspection, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (graph == NULL || inspection == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "graph or inspection is NULL");
    }
    *inspection = NULL;
    weft_inspect_params checked;
    WEFTI_TRY(check(graph, params, &checked, error));
    weft_inspection *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return out_of_memory(error);
    }
    wefti_arena_init(&made->arena);
    wefti_arena_init(&made->net.arena);
    made->graph = weft_graph_retain(graph);
    made->model = checked.model != NULL ? weft_model_retain(checked.model) : NULL;
    made->inputs = checked.inputs;
    made->totals.opset = graph->opset;
    wefti_float_state state = wefti_float_enter();
    weft_status status = look(made, error);
    wefti_float_leave(state);
    made->inputs = NULL;
    wefti_net_destroy(&made->net);
    if (status != WEFT_OK) {
        weft_inspection_destroy(made);
        return status;
    }
    *inspection = made;
    return WEFT_OK;
}

void weft_inspection_destroy(weft_inspection *inspection)
{
    if (inspection == NULL || wefti_fork_happened()) {
        return;
    }
    weft_model_release(inspection->model);
    weft_graph_release(inspection->graph);
    wefti_arena_fini(&inspection->arena);
    wefti_free(inspection->problems);
    wefti_free(inspection->inner);
    wefti_free(inspection);
}

void weft_inspection_get_totals(const weft_inspection *inspection,
                                weft_inspect_totals *totals)
{
    if (totals != NULL) {
        *totals = inspection != NULL ? inspection->totals : (weft_inspect_totals){0};
    }
}

void weft_inspection_get_rows(const weft_inspection *inspection,
                              weft_inspect_rows *rows)
{
    if (rows != NULL) {
        *rows = inspection != NULL ? inspection->rows : (weft_inspect_rows){0};
    }
}

const weft_inspect_node *weft_inspection_node(const weft_inspection *inspection,
                                              size_t index)
{
    return inspection != NULL && index < inspection->totals.node_count
               ? &inspection->nodes[index]
               : NULL;
}

const weft_inspect_value *weft_inspection_value(const weft_inspection *inspection,
                                                size_t index)
{
    return inspection != NULL && index < inspection->totals.value_count
               ? &inspection->values[index]
               : NULL;
}

const weft_inspect_step *weft_inspection_step(const weft_inspection *inspection,
                                              size_t index)
{
    return inspection != NULL && index < inspection->totals.step_count
               ? &inspection->steps[index]
               : NULL;
}

const weft_inspect_problem *weft_inspection_problem(const weft_inspection *inspection,
                                                    size_t index)
{
    return inspection != NULL && index < inspection->totals.problem_count
               ? &inspection->problems[index]
               : NULL;
}
