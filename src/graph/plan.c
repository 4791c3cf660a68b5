/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/plan.h"

#include <string.h>

#include "base/float_state.h"
#include "base/memory.h"
#include "graph/passes.h"
#include "graph/planner.h"

/* The value of a value input, kept for as long as the plan. */
static weft_status keep_value(wefti_plan *plan, const wefti_known *input,
                              wefti_known *kept, weft_error *error)
{
    size_t size_bytes = wefti_known_bytes(input);
    void *data = wefti_arena_data(&plan->net.arena, size_bytes);
    if (data == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    if (size_bytes > 0) {
        memcpy(data, input->constant, size_bytes);
    }
    kept->constant = data;
    return WEFT_OK;
}

/* A model may declare sizes whose product overflows, also of an input that no node
 * reads. */
static weft_status set_inputs(wefti_plan *plan, const wefti_known *inputs,
                              weft_error *error)
{
    for (size_t i = 0; i < plan->net.input_count; i++) {
        wefti_net_value *value = &plan->net.values[plan->net.inputs[i]];
        weft_tensor shape = {.type = inputs[i].type, .rank = inputs[i].rank};
        memcpy(shape.dims, inputs[i].dims, sizeof(shape.dims));
        weft_status status = weft_tensor_measure(&shape, NULL, NULL, error);
        if (status != WEFT_OK) {
            return wefti_error_prefix(error, WEFT_INVALID_MODEL, "input '%s'",
                                      value->name);
        }
        /* An initializer that is also an input keeps its value unless it is given. */
        value->known = inputs[i];
        if (inputs[i].constant != NULL) {
            WEFTI_TRY(keep_value(plan, &inputs[i], &value->known, error));
        }
    }
    return WEFT_OK;
}

/* Copies the shapes of inputs or outputs into the plan. */
static weft_status keep_shapes(wefti_plan *plan, const int32_t *values, size_t count,
                               const wefti_known **kept, size_t **bytes,
                               weft_error *error)
{
    wefti_known *known = wefti_arena_calloc(&plan->net.arena, count, sizeof(*known));
    *bytes = wefti_arena_calloc(&plan->net.arena, count, sizeof(**bytes));
    if (known == NULL || *bytes == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    for (size_t i = 0; i < count; i++) {
        known[i] = plan->net.values[values[i]].known;
        (*bytes)[i] = wefti_known_bytes(&known[i]);
    }
    *kept = known;
    return WEFT_OK;
}

static weft_status specialize(wefti_plan *plan, const wefti_plan_source *source,
                              weft_error *error)
{
    wefti_evaluator evaluator;
    WEFTI_TRY(wefti_evaluator_init(&evaluator, source->cpu, error));
    weft_status status = wefti_net_infer(&plan->net, &evaluator, error);
    wefti_evaluator_fini(&evaluator);
    if (status == WEFT_OK && !source->no_fusion) {
        status = wefti_net_fuse(&plan->net, error);
    }
    return status;
}

static weft_status make_recipe(wefti_plan *plan, const wefti_plan_source *source,
                               weft_error *error)
{
    WEFTI_TRY(wefti_plan_memory(&plan->program, &plan->planned_bytes, error));
    wefti_step *steps = NULL;
    WEFTI_TRY(
        wefti_program_steps(&plan->program, plan->net.input_count, &steps, error));
    wefti_recipe_params params = {.steps = steps,
                                  .step_count = plan->program.step_count,
                                  .workspace_bytes = plan->planned_bytes,
                                  .input_bytes = plan->input_bytes,
                                  .output_bytes = plan->output_bytes,
                                  .input_count = plan->input_count,
                                  .output_count = plan->output_count,
                                  .precision = source->precision,
                                  .profiler = source->device->profiler};
    const wefti_recipe_table *table = &plan->backend->recipe;
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i < source->device->info.card_count && status == WEFT_OK; i++) {
        params.weights = source->weights[i];
        status =
            table->create(source->device->cards[i], &params, &plan->recipes[i], error);
    }
    wefti_free(steps);
    if (status == WEFT_OK) {
        plan->workspace_bytes = table->workspace_bytes(plan->recipes[0]);
    }
    return status;
}

/* What the cache counts. A recipe is taken to be as large as the program's steps,
 * which it copies; packed weights are shared by all plans and do not count. */
static size_t measure(const wefti_plan *plan)
{
    const wefti_program *program = &plan->program;
    size_t bytes = sizeof(*plan) + wefti_arena_bytes(&plan->net.arena) +
                   program->step_capacity * sizeof(*program->steps) +
                   program->buffer_capacity * sizeof(*program->buffers);
    size_t copies = 1;
    while (copies < WEFTI_MOST_CARDS && plan->recipes[copies] != NULL) {
        copies++;
    }
    for (size_t i = 0; i < program->step_count; i++) {
        const size_t params_bytes = program->steps[i].params_bytes;
        bytes += params_bytes + copies * (params_bytes + sizeof(wefti_step));
    }
    for (size_t i = 0; i < program->buffer_count; i++) {
        bytes += program->buffers[i].owned ? program->buffers[i].size_bytes : 0;
    }
    return bytes;
}

static weft_status build(wefti_plan *plan, const wefti_plan_source *source,
                         const wefti_known *inputs, weft_error *error)
{
    WEFTI_TRY(set_inputs(plan, inputs, error));
    WEFTI_TRY(specialize(plan, source, error));
    wefti_net *net = &plan->net;
    plan->input_count = net->input_count;
    plan->output_count = net->output_count;
    WEFTI_TRY(keep_shapes(plan, net->inputs, net->input_count, &plan->inputs,
                          &plan->input_bytes, error));
    WEFTI_TRY(keep_shapes(plan, net->outputs, net->output_count, &plan->outputs,
                          &plan->output_bytes, error));
    plan->program.byte_products = plan->backend->byte_products;
    WEFTI_TRY(wefti_net_lower(net, &plan->program, error));
    WEFTI_TRY(make_recipe(plan, source, error));
    plan->bytes = measure(plan);
    return WEFT_OK;
}

weft_status wefti_plan_build(const wefti_plan_source *source, const wefti_known *inputs,
                             wefti_plan **plan, weft_error *error)
{
    *plan = NULL;
    wefti_plan *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    made->backend = source->device->backend;
    wefti_program_init(&made->program);
    weft_status status = wefti_net_clone(source->net, &made->net, error);
    if (status == WEFT_OK) {
        wefti_float_state state = wefti_float_enter();
        status = build(made, source, inputs, error);
        wefti_float_leave(state);
    }
    if (status != WEFT_OK) {
        wefti_plan_destroy(made);
        return status;
    }
    *plan = made;
    return WEFT_OK;
}

size_t wefti_plan_row_bytes(const wefti_plan *plan, size_t tensor)
{
    const wefti_recipe_table *table = &plan->backend->recipe;
    return table->row_bytes != NULL ? table->row_bytes(plan->recipes[0], 1 + tensor)
                                    : 0;
}

void wefti_plan_destroy(wefti_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < WEFTI_MOST_CARDS && plan->recipes[i] != NULL; i++) {
        plan->backend->recipe.destroy(plan->recipes[i]);
    }
    wefti_program_fini(&plan->program);
    wefti_net_destroy(&plan->net);
    wefti_free(plan);
}
