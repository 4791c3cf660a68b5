/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/flow.h"

#include <string.h>

#include "base/memory.h"
#include "graph/run.h"
#include "runtime/memory_pool.h"

/* Blocks come in four sizes to an octave, so that a state that grows finds one. */
enum { HEAD_BYTES = 64, LEAST_BYTES = 256 };
_Static_assert(sizeof(wefti_block) <= HEAD_BYTES, "the data behind it is aligned");

void wefti_flow_init(wefti_flow *flow, weft_context *context, const weft_model *model)
{
    *flow = (wefti_flow){.device = context->device,
                         .context = context,
                         .memory = model->memory,
                         .iterations_left = model->max_iterations,
                         .max_iterations = model->max_iterations};
}

static void free_block(wefti_flow *flow, wefti_block *block)
{
    if (flow->device->backend->on_host) {
        const size_t size_bytes = block->size_bytes;
        wefti_memory_unreserve(flow->device->memory, 0, block, size_bytes);
        wefti_account_give(flow->memory, size_bytes);
    } else {
        wefti_free(block);
    }
}

static void free_unused(wefti_flow *flow)
{
    while (flow->unused != NULL) {
        wefti_block *block = flow->unused;
        flow->unused = block->next;
        free_block(flow, block);
    }
    flow->unused_bytes = 0;
}

void wefti_flow_fini(wefti_flow *flow)
{
    free_unused(flow);
}

static bool round_up(size_t size_bytes, size_t *rounded)
{
    if (WEFTI_ADD_OVERFLOWS(size_bytes, HEAD_BYTES, &size_bytes) ||
        size_bytes > SIZE_MAX / 4) {
        return false;
    }
    size_t step = LEAST_BYTES / 4;
    while (size_bytes / step >= 8) {
        step *= 2;
    }
    *rounded = (size_bytes + step - 1) / step * step;
    return true;
}

static wefti_block *take_unused(wefti_flow *flow, size_t size_bytes)
{
    wefti_block **link = &flow->unused;
    while (*link != NULL && (*link)->size_bytes != size_bytes) {
        link = &(*link)->next;
    }
    wefti_block *block = *link;
    if (block != NULL) {
        *link = block->next;
        flow->unused_bytes -= size_bytes;
    }
    return block;
}

static weft_status reserve(wefti_flow *flow, size_t size_bytes, void **memory,
                           weft_error *error)
{
    WEFTI_TRY(wefti_account_take(flow->memory, size_bytes, "a value between two stages",
                                 error));
    weft_status status =
        wefti_memory_reserve(flow->device->memory, 0, size_bytes, memory, error);
    if (status != WEFT_OK) {
        wefti_account_give(flow->memory, size_bytes);
    }
    return status;
}

static weft_status make_block(wefti_flow *flow, size_t size_bytes, wefti_block **block,
                              weft_error *error)
{
    void *memory = NULL;
    if (!flow->device->backend->on_host) {
        memory = wefti_malloc_aligned(size_bytes);
        if (memory == NULL) {
            return wefti_error_memory(error, "a value between two stages");
        }
    } else if (reserve(flow, size_bytes, &memory, error) != WEFT_OK) {
        free_unused(flow); /* they count against the caps too */
        WEFTI_TRY(reserve(flow, size_bytes, &memory, error));
    }
    *block = memory;
    (*block)->size_bytes = size_bytes;
    return WEFT_OK;
}

weft_status wefti_flow_new(wefti_flow *flow, weft_type type, int32_t rank,
                           const int64_t *dims, wefti_value *value, weft_error *error)
{
    *value = (wefti_value){.tensor = {.type = type, .rank = rank}};
    weft_tensor *tensor = &value->tensor;
    if (rank > 0) {
        memcpy(tensor->dims, dims, (size_t)rank * sizeof(*dims));
    }
    WEFTI_TRY(weft_tensor_measure(tensor, NULL, &tensor->size_bytes, error));
    size_t size_bytes;
    if (!round_up(tensor->size_bytes, &size_bytes)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "a value of %zu bytes between two stages is too large",
                           tensor->size_bytes);
    }
    wefti_block *block = take_unused(flow, size_bytes);
    if (block == NULL) {
        WEFTI_TRY(make_block(flow, size_bytes, &block, error));
    }
    block->owners = 1;
    block->next = NULL;
    flow->used_bytes += size_bytes;
    if (flow->used_bytes > flow->peak_bytes) {
        flow->peak_bytes = flow->used_bytes;
    }
    value->block = block;
    tensor->data = (char *)block + HEAD_BYTES;
    if (flow->device->backend == &wefti_backend_null) {
        /* Nothing will be computed: so that conditions are false and loops end. */
        memset(tensor->data, 0, tensor->size_bytes);
    }
    return WEFT_OK;
}

wefti_value wefti_flow_keep(const wefti_value *value)
{
    if (value->block != NULL) {
        value->block->owners++;
    }
    return *value;
}

void wefti_flow_drop(wefti_flow *flow, wefti_value *value)
{
    wefti_block *block = value->block;
    *value = (wefti_value){0};
    if (block == NULL || --block->owners > 0) {
        return;
    }
    flow->used_bytes -= block->size_bytes;
    if (flow->unused_bytes + block->size_bytes > flow->peak_bytes) {
        free_block(flow, block);
        return;
    }
    flow->unused_bytes += block->size_bytes;
    block->next = flow->unused;
    flow->unused = block;
}

void wefti_flow_drop_all(wefti_flow *flow, wefti_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wefti_flow_drop(flow, &values[i]);
    }
}

/* The tensors of one call of a static stage. */
static weft_status gather_tensors(const weft_model *model, const wefti_value *inputs,
                                  weft_io *io, weft_error *error)
{
    size_t count = model->net.input_count + model->net.output_count;
    weft_tensor *tensors = wefti_calloc(count + 1, sizeof(*tensors));
    if (tensors == NULL) {
        return wefti_error_memory(error, "the tensors of a stage");
    }
    for (size_t i = 0; i < model->net.input_count; i++) {
        tensors[i] = inputs[i].tensor;
        memset(tensors[i].strides, 0, sizeof(tensors[i].strides));
    }
    *io = (weft_io){tensors, model->net.input_count, tensors + model->net.input_count,
                    model->net.output_count};
    return WEFT_OK;
}

static weft_status copy_shapes(void *user, const wefti_plan *plan, weft_error *error)
{
    const weft_io *io = user;
    (void)error;
    for (size_t i = 0; i < plan->output_count; i++) {
        io->outputs[i].type = plan->outputs[i].type;
        io->outputs[i].rank = plan->outputs[i].rank;
        memcpy(io->outputs[i].dims, plan->outputs[i].dims, sizeof(io->outputs[i].dims));
    }
    return WEFT_OK;
}

static weft_status call_static(wefti_flow *flow, weft_model *model,
                               const wefti_value *inputs, wefti_value *outputs,
                               weft_error *error)
{
    weft_io io = {0};
    WEFTI_TRY(gather_tensors(model, inputs, &io, error));
    weft_status status = wefti_model_visit_plan(model, &io, copy_shapes, &io, error);
    for (size_t i = 0; status == WEFT_OK && i < io.output_count; i++) {
        const weft_tensor *shape = &io.outputs[i];
        status = wefti_flow_new(flow, shape->type, shape->rank, shape->dims,
                                &outputs[i], error);
        io.outputs[i] = outputs[i].tensor;
    }
    if (status == WEFT_OK) {
        status = wefti_run_in_context(flow->context, model, &io, error);
    }
    wefti_free((void *)(uintptr_t)io.inputs);
    return status;
}

weft_status wefti_flow_shapes(weft_model *model, const wefti_value *inputs,
                              wefti_value *outputs, weft_error *error)
{
    if (model->stages == NULL) {
        weft_io io = {0};
        WEFTI_TRY(gather_tensors(model, inputs, &io, error));
        weft_status status =
            wefti_model_visit_plan(model, &io, copy_shapes, &io, error);
        for (size_t i = 0; status == WEFT_OK && i < io.output_count; i++) {
            outputs[i] = (wefti_value){.tensor = io.outputs[i]};
        }
        wefti_free((void *)(uintptr_t)io.inputs);
        return status;
    }
    for (size_t i = 0; i < model->net.output_count; i++) {
        const weft_value_info *info = &model->outputs[i];
        outputs[i] = (wefti_value){.tensor = {.type = info->type, .rank = info->rank}};
        for (int32_t j = 0; j < info->rank; j++) {
            outputs[i].tensor.dims[j] = info->dims[j] < 0 ? 0 : info->dims[j];
        }
    }
    return WEFT_OK;
}

static wefti_known known_of(const wefti_value *value)
{
    const weft_tensor *tensor = &value->tensor;
    wefti_known known = {.type = tensor->type, .rank = tensor->rank};
    memcpy(known.dims, tensor->dims, sizeof(known.dims));
    if (tensor->type != WEFT_TYPE_NONE) {
        known.constant = tensor->data != NULL ? tensor->data : "";
    }
    return known;
}

/* An operator on what its inputs hold, as if they were constants. */
static weft_status call_host(wefti_flow *flow, const wefti_stage *stage,
                             const wefti_value *inputs, wefti_value *outputs,
                             weft_error *error)
{
    const wefti_node_view *view = &stage->node->view;
    const wefti_operator *op = stage->node->op;
    size_t known_count = view->input_count + view->output_count;
    wefti_known *known = wefti_calloc(1, known_count * sizeof(*known) +
                                             (view->output_count + 1) * sizeof(void *));
    if (known == NULL) {
        return wefti_error_memory(error, "a stage");
    }
    wefti_known *results = known + view->input_count;
    void **data = (void **)(void *)(known + known_count);
    for (size_t i = 0; i < view->input_count; i++) {
        known[i] = known_of(&inputs[i]);
    }
    weft_status status = wefti_operator_infer(op, view, known, results, error);
    for (size_t i = 0; status == WEFT_OK && i < view->output_count; i++) {
        status = wefti_flow_new(flow, results[i].type, results[i].rank, results[i].dims,
                                &outputs[i], error);
        data[i] = outputs[i].tensor.data;
    }
    if (status == WEFT_OK) {
        status = op->fold(view, known, results, data, error);
    }
    wefti_free(known);
    return status;
}

static weft_status call_stage(wefti_flow *flow, const wefti_stage *stage,
                              const wefti_value *inputs, wefti_value *outputs,
                              weft_error *error)
{
    switch (stage->kind) {
    case WEFTI_STAGE_STATIC:
        return wefti_flow_call(flow, stage->bodies[0].model, inputs, outputs, error);
    case WEFTI_STAGE_HOST:
        return call_host(flow, stage, inputs, outputs, error);
    case WEFTI_STAGE_IF:
        return wefti_flow_if(flow, stage, inputs, outputs, error);
    case WEFTI_STAGE_LOOP:
        return wefti_flow_loop(flow, stage, inputs, outputs, error);
    default:
        return wefti_flow_scan(flow, stage, inputs, outputs, error);
    }
}

/* What a call of a model with stages works on: one block of memory. */
typedef struct table {
    wefti_value *values;           /* by slot */
    wefti_value *inputs, *outputs; /* of the stage that is run */
    int32_t *uses;                 /* reads that are still to come */
} table;

static weft_status open_table(const wefti_stages *stages, const weft_model *model,
                              const wefti_value *inputs, table *all, weft_error *error)
{
    size_t count = stages->slot_count + stages->most_inputs + stages->most_outputs;
    all->values = wefti_calloc(1, count * sizeof(*all->values) +
                                      (stages->slot_count + 1) * sizeof(int32_t));
    if (all->values == NULL) {
        return wefti_error_memory(error, "the values of a run");
    }
    all->inputs = all->values + stages->slot_count;
    all->outputs = all->inputs + stages->most_inputs;
    all->uses = (int32_t *)(void *)(all->values + count);
    for (size_t i = 0; i < stages->slot_count; i++) {
        const wefti_known *constant = &stages->slots[i].constant;
        all->uses[i] = stages->slots[i].uses;
        if (i < model->net.input_count && all->uses[i] > 0) {
            all->values[i] = wefti_flow_keep(&inputs[i]);
        } else if (constant->constant != NULL) {
            weft_tensor *tensor = &all->values[i].tensor;
            tensor->data = (void *)(uintptr_t)constant->constant; /* only read */
            tensor->type = constant->type;
            tensor->rank = constant->rank;
            memcpy(tensor->dims, constant->dims, sizeof(tensor->dims));
            tensor->size_bytes = wefti_known_bytes(constant);
        }
    }
    return WEFT_OK;
}

static void use(wefti_flow *flow, table *all, int32_t slot)
{
    if (slot >= 0 && --all->uses[slot] == 0) {
        wefti_flow_drop(flow, &all->values[slot]);
    }
}

static weft_status step(wefti_flow *flow, const wefti_stage *stage, table *all,
                        weft_error *error)
{
    for (size_t i = 0; i < stage->input_count; i++) {
        int32_t slot = stage->inputs[i];
        all->inputs[i] = slot < 0 ? (wefti_value){0} : all->values[slot];
    }
    memset(all->outputs, 0, stage->output_count * sizeof(*all->outputs));
    weft_status status = call_stage(flow, stage, all->inputs, all->outputs, error);
    if (status != WEFT_OK) {
        wefti_flow_drop_all(flow, all->outputs, stage->output_count);
        return status;
    }
    for (size_t i = 0; i < stage->output_count; i++) {
        int32_t slot = stage->outputs[i];
        if (slot < 0 || all->uses[slot] == 0) {
            wefti_flow_drop(flow, &all->outputs[i]);
        } else {
            all->values[slot] = all->outputs[i];
        }
    }
    for (size_t i = 0; i < stage->input_count; i++) {
        use(flow, all, stage->inputs[i]);
    }
    return WEFT_OK;
}

static weft_status call_stages(wefti_flow *flow, weft_model *model,
                               const wefti_value *inputs, wefti_value *outputs,
                               weft_error *error)
{
    const wefti_stages *stages = model->stages;
    table all = {0};
    WEFTI_TRY(open_table(stages, model, inputs, &all, error));
    weft_status status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && i < stages->count; i++) {
        status = step(flow, &stages->stages[i], &all, error);
    }
    for (size_t i = 0; status == WEFT_OK && i < model->net.output_count; i++) {
        outputs[i] = wefti_flow_keep(&all.values[stages->outputs[i]]);
    }
    wefti_flow_drop_all(flow, all.values, stages->slot_count);
    wefti_free(all.values);
    return status;
}

weft_status wefti_flow_call(wefti_flow *flow, weft_model *model,
                            const wefti_value *inputs, wefti_value *outputs,
                            weft_error *error)
{
    weft_status status = model->stages == NULL
                             ? call_static(flow, model, inputs, outputs, error)
                             : call_stages(flow, model, inputs, outputs, error);
    if (status != WEFT_OK) {
        wefti_flow_drop_all(flow, outputs, model->net.output_count);
    }
    return status;
}
