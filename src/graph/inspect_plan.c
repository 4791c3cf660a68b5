/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/common/weights.h"
#include "backend/cost.h"
#include "base/memory.h"
#include "graph/inspect.h"
#include "graph/rows.h"

static weft_status out_of_memory(weft_error *error)
{
    return wefti_error_memory(error, "an inspection");
}

static bool is_repeated(const wefti_net_node *node, size_t input)
{
    for (size_t i = 0; i < input; i++) {
        if (node->inputs[i] == node->inputs[input]) {
            return true;
        }
    }
    return false;
}

/* Bytes of a node's tensors, each once. */
static double bytes_of(const wefti_net *net, const wefti_net_node *node)
{
    double bytes = 0;
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (node->inputs[i] >= 0 && !is_repeated(node, i)) {
            bytes += (double)wefti_known_bytes(&net->values[node->inputs[i]].known);
        }
    }
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            bytes += (double)wefti_known_bytes(&net->values[node->outputs[i]].known);
        }
    }
    return bytes;
}

static double flops_of(const wefti_program *program)
{
    double flops = 0;
    for (size_t i = 0; i < program->step_count; i++) {
        flops += wefti_kernel_flops(program->steps[i].kernel, program->steps[i].params);
    }
    return flops;
}

/* Lowers a node alone and adds up its kernels. */
static weft_status measure_node(weft_inspection *self, const wefti_net_node *node,
                                weft_inspect_node *into, weft_error *error)
{
    wefti_program program;
    weft_error why;
    wefti_program_init(&program);
    weft_status status = wefti_net_lower_alone(&self->net, node, &program, &why);
    if (status == WEFT_OK) {
        into->is_measured = true;
        into->flops = flops_of(&program);
        into->moved_bytes = program.step_count > 0 ? bytes_of(&self->net, node) : 0;
        self->totals.flops += into->flops;
    }
    wefti_program_fini(&program);
    if (status == WEFT_OUT_OF_MEMORY) {
        return wefti_error(error, status, "%s", why.message);
    }
    return WEFT_OK;
}

/* All outputs that anybody reads are constants. */
static bool is_folded(const wefti_net *net, const wefti_net_node *node)
{
    bool any = false;
    for (size_t i = 0; i < node->view.output_count; i++) {
        int32_t value = node->outputs[i];
        if (value < 0) {
            continue;
        }
        bool constant = net->values[value].known.constant != NULL;
        if (!constant && net->values[value].use_count > 0) {
            return false;
        }
        any = any || constant;
    }
    return any;
}

weft_status wefti_inspect_measure(weft_inspection *self, weft_error *error)
{
    for (size_t i = 0; i < self->totals.node_count; i++) {
        const wefti_net_node *node = self->made[i];
        weft_inspect_node *into = &self->nodes[i];
        if (node == NULL || into->fate == WEFT_FATE_UNSUPPORTED) {
            continue;
        }
        if (is_folded(&self->net, node)) {
            into->fate = WEFT_FATE_CONSTANT;
            into->is_measured = true;
        } else if (node->dead) {
            into->fate = WEFT_FATE_UNUSED;
            into->is_measured = true;
        } else {
            WEFTI_TRY(measure_node(self, node, into, error));
        }
    }
    return WEFT_OK;
}

static double step_bytes(const wefti_program_step *step)
{
    double bytes = 0;
    for (size_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        const wefti_view *view = &step->operands[i];
        if (view->buffer >= 0) {
            bytes += (double)wefti_view_element_count(view) *
                     (double)weft_type_size(view->type);
        }
    }
    return bytes;
}

static weft_status copy_steps(weft_inspection *self, const wefti_plan *plan,
                              weft_error *error)
{
    const wefti_program *program = &plan->program;
    self->steps =
        wefti_arena_calloc(&self->arena, program->step_count, sizeof(*self->steps));
    if (self->steps == NULL) {
        return out_of_memory(error);
    }
    for (size_t i = 0; i < program->step_count; i++) {
        const wefti_program_step *step = &program->steps[i];
        char how[96] = "", shape[96];
        plan->backend->recipe.describe(plan->recipes[0], i, how, sizeof(how));
        wefti_kernel_shape(step->kernel, step->params, shape, sizeof(shape));
        self->steps[i] = (weft_inspect_step){
            .kernel = wefti_kernel_name(step->kernel),
            .shape = wefti_arena_strdup(&self->arena, shape),
            .how = wefti_arena_strdup(&self->arena, how),
            .node = wefti_inspect_find(self, step->label),
            .flops = wefti_kernel_flops(step->kernel, step->params),
            .moved_bytes = step_bytes(step),
        };
        if (self->steps[i].shape == NULL || self->steps[i].how == NULL) {
            return out_of_memory(error);
        }
        if (self->steps[i].node >= 0) {
            self->nodes[self->steps[i].node].fate = WEFT_FATE_KERNEL;
        }
    }
    self->totals.step_count = program->step_count;
    return WEFT_OK;
}

/* Which operator's kernels do the work of each operator, where it can be told. */
typedef struct heirs {
    const weft_inspection *self;
    const wefti_plan *plan;
    int32_t *of_node;   /* -1: not known */
    int32_t *of_reader; /* by value */
} heirs;

/* The operator whose kernel now gives one of the node's results. */
static int32_t find_producer(const heirs *all, const wefti_net_node *node)
{
    for (size_t i = 0; i < node->view.output_count; i++) {
        const wefti_net_node *producer =
            wefti_net_producer(&all->plan->net, node->outputs[i]);
        int32_t found =
            producer == NULL ? -1 : wefti_inspect_find(all->self, producer->view.label);
        if (found >= 0 && all->self->nodes[found].fate == WEFT_FATE_KERNEL) {
            return found;
        }
    }
    return -1;
}

/* What the node reads is nowhere in the plan: so one kernel does both. */
static int32_t find_before(const heirs *all, const wefti_net_node *node)
{
    for (size_t i = 0; i < node->view.input_count; i++) {
        int32_t value = node->inputs[i];
        const wefti_net_node *source = wefti_net_producer(&all->self->net, value);
        if (source == NULL || wefti_net_producer(&all->plan->net, value) != NULL) {
            continue;
        }
        int32_t number = wefti_inspect_find(all->self, source->view.label);
        if (number >= 0 && all->of_node[number] >= 0) {
            return all->of_node[number];
        }
    }
    return -1;
}

/* From the first to the last, then for the rest from the last to the first: what goes
 * with the operator that reads it. */
static void find_heirs(heirs *all)
{
    const weft_inspection *self = all->self;
    for (const wefti_net_node *node = self->net.first; node; node = node->next) {
        int32_t number = wefti_inspect_find(self, node->view.label);
        if (number >= 0 && !node->dead) {
            int32_t heir = self->nodes[number].fate == WEFT_FATE_KERNEL
                               ? number
                               : find_producer(all, node);
            all->of_node[number] = heir >= 0 ? heir : find_before(all, node);
        }
    }
    for (const wefti_net_node *node = self->net.last; node; node = node->previous) {
        int32_t number = wefti_inspect_find(self, node->view.label);
        if (number < 0 || node->dead) {
            continue;
        }
        for (size_t i = 0; i < node->view.output_count && all->of_node[number] < 0;
             i++) {
            if (node->outputs[i] >= 0) {
                all->of_node[number] = all->of_reader[node->outputs[i]];
            }
        }
        for (size_t i = 0; i < node->view.input_count; i++) {
            if (node->inputs[i] >= 0) {
                all->of_reader[node->inputs[i]] = all->of_node[number];
            }
        }
    }
}

/* Operators without kernels of their own: fused into another, or only a view. */
static weft_status find_fates(weft_inspection *self, const wefti_plan *plan,
                              weft_error *error)
{
    size_t nodes = self->totals.node_count, values = self->totals.value_count;
    heirs all = {.self = self, .plan = plan};
    all.of_node = wefti_arena_calloc(&self->arena, nodes, sizeof(int32_t));
    all.of_reader = wefti_arena_calloc(&self->arena, values, sizeof(int32_t));
    if (all.of_node == NULL || all.of_reader == NULL) {
        return out_of_memory(error);
    }
    memset(all.of_node, 0xff, nodes * sizeof(int32_t));
    memset(all.of_reader, 0xff, values * sizeof(int32_t));
    find_heirs(&all);
    for (size_t i = 0; i < nodes; i++) {
        weft_inspect_node *node = &self->nodes[i];
        if (node->fate == WEFT_FATE_UNKNOWN) {
            bool works = all.of_node[i] >= 0 && node->moved_bytes > 0;
            node->fate = works ? WEFT_FATE_FUSED : WEFT_FATE_VIEW;
            node->fused_into = works ? all.of_node[i] : -1;
        }
    }
    return WEFT_OK;
}

/* Whether a queue may join requests, by the rules that it goes by itself. */
static weft_status describe_rows(weft_inspection *self, const weft_io *io,
                                 weft_error *error)
{
    size_t inputs = self->net.input_count, outputs = self->net.output_count;
    int32_t *axes = wefti_arena_calloc(&self->arena, inputs + outputs, sizeof(*axes));
    if (axes == NULL) {
        return out_of_memory(error);
    }
    weft_error why = {0};
    weft_status status = wefti_model_batch_axes(self->model, NULL, axes, &why);
    if (status == WEFT_OK && inputs > 0) {
        self->rows.dimension = self->model->inputs[0].dim_names[axes[0]];
        status = wefti_model_check_rows(self->model, io, axes, axes + inputs, &why);
    }
    if (status == WEFT_OUT_OF_MEMORY) {
        return wefti_error(error, status, "%s", why.message);
    }
    self->rows.is_known = true;
    self->rows.joins = status == WEFT_OK;
    self->rows.reason = wefti_arena_strdup(&self->arena, why.message);
    return self->rows.reason == NULL ? out_of_memory(error) : WEFT_OK;
}

weft_status wefti_inspect_plan(weft_inspection *self, weft_error *error)
{
    const weft_io io = {.inputs = self->inputs, .input_count = self->net.input_count};
    weft_error why;
    wefti_plan *plan;
    weft_status status = wefti_model_hold_plan(self->model, &io, &plan, &why);
    if (status == WEFT_OUT_OF_MEMORY) {
        return wefti_error(error, status, "%s", why.message);
    }
    if (status != WEFT_OK) {
        return wefti_inspect_add_problem(self, -1, status, why.message, error);
    }
    status = copy_steps(self, plan, error);
    if (status == WEFT_OK) {
        status = find_fates(self, plan, error);
    }
    self->totals.workspace_bytes = plan->workspace_bytes;
    self->totals.tensor_bytes = plan->planned_bytes;
    for (size_t i = 0; i < plan->program.buffer_count; i++) {
        const wefti_buffer *buffer = &plan->program.buffers[i];
        bool used = buffer->kind == WEFTI_BUFFER_WORKSPACE && buffer->first_step >= 0;
        self->totals.unshared_bytes += used ? buffer->size_bytes : 0;
    }
    self->totals.packed_bytes = wefti_weights_bytes(self->model->weights[0]);
    wefti_plan_cache_drop(&self->model->plans, plan);
    return status == WEFT_OK ? describe_rows(self, &io, error) : status;
}
