/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/net.h"
#include "graph/planner.h"
#include "ops/demand.h"

/* Results above this size are left to the run unless the constants they come from are
 * about as large, and so is everything once a net has folded its budget beyond what its
 * weights take: a small file must not fill the memory while it is loaded. */
enum { FOLD_LIMIT_BYTES = 1 << 22, FOLD_BUDGET_BYTES = 1 << 26 };

weft_status wefti_evaluator_init(wefti_evaluator *evaluator,
                                 wefti_backend_device *cpu_device, weft_error *error)
{
    evaluator->backend = &wefti_backend_cpu;
    evaluator->device = cpu_device;
    evaluator->stream = NULL;
    return evaluator->backend->stream.create(cpu_device, &evaluator->stream, error);
}

void wefti_evaluator_fini(wefti_evaluator *evaluator)
{
    evaluator->backend->stream.destroy(evaluator->stream);
}

static wefti_view view_of(const wefti_known *known, int32_t buffer)
{
    wefti_view view = wefti_view_absent();
    view.buffer = buffer;
    view.type = known->type;
    view.rank = known->rank;
    memcpy(view.dims, known->dims, sizeof(view.dims));
    wefti_view_make_dense(&view);
    return view;
}

static weft_status add_operand(wefti_program *program, wefti_buffer_kind kind,
                               int32_t index, const wefti_known *known,
                               wefti_view *view, weft_error *error)
{
    *view = wefti_view_absent();
    if (known->type == WEFT_TYPE_NONE) {
        return WEFT_OK;
    }
    wefti_buffer buffer = {
        .kind = kind,
        .index = index,
        .size_bytes = wefti_known_bytes(known),
        .constant = kind == WEFTI_BUFFER_CONSTANT ? known->constant : NULL,
    };
    int32_t number;
    WEFTI_TRY(wefti_program_add_buffer(program, &buffer, &number, error));
    *view = view_of(known, number);
    return WEFT_OK;
}

static weft_status execute(const wefti_evaluator *evaluator, wefti_program *program,
                           void *const *data, size_t count, weft_error *error)
{
    if (program->step_count == 0) {
        return WEFT_OK;
    }
    size_t workspace_bytes = 0;
    wefti_step *steps = NULL;
    wefti_recipe *recipe = NULL;
    void **slots = wefti_calloc(count + 1, sizeof(*slots));
    weft_status status =
        slots == NULL ? wefti_error_memory(error, "a constant") : WEFT_OK;
    if (status == WEFT_OK) {
        status = wefti_plan_memory(program, &workspace_bytes, error);
    }
    if (status == WEFT_OK) {
        status = wefti_program_steps(program, 0, &steps, error);
    }
    if (status == WEFT_OK) {
        const wefti_recipe_params params = {.steps = steps,
                                            .step_count = program->step_count,
                                            .workspace_bytes = workspace_bytes};
        status = evaluator->backend->recipe.create(evaluator->device, &params, &recipe,
                                                   error);
    }
    if (status == WEFT_OK) {
        size_t size_bytes = evaluator->backend->recipe.workspace_bytes(recipe);
        memcpy(slots + 1, data, count * sizeof(*slots));
        slots[0] = wefti_malloc_aligned(size_bytes);
        status = slots[0] == NULL ? wefti_error_memory(error, "a constant") : WEFT_OK;
    }
    if (status == WEFT_OK) {
        const wefti_stream_table *stream = &evaluator->backend->stream;
        status = stream->execute(evaluator->stream, recipe, slots, count + 1, error);
        weft_status ended = stream->synchronize(evaluator->stream, INT64_MAX,
                                                status == WEFT_OK ? error : NULL);
        status = status == WEFT_OK ? ended : status;
        wefti_free(slots[0]);
    }
    if (recipe != NULL) {
        evaluator->backend->recipe.destroy(recipe);
    }
    wefti_free(steps);
    wefti_free(slots);
    return status;
}

typedef struct node_views {
    wefti_view *inputs, *outputs;
    bool *may_alias; /* all false */
} node_views;

static weft_status lower_alone(wefti_program *program, const wefti_operator *op,
                               const wefti_node_view *view,
                               const wefti_evaluation *what, const node_views *views,
                               weft_error *error)
{
    for (size_t i = 0; i < view->input_count; i++) {
        WEFTI_TRY(add_operand(program, WEFTI_BUFFER_CONSTANT, (int32_t)i,
                              &what->inputs[i], &views->inputs[i], error));
    }
    for (size_t i = 0; i < view->output_count; i++) {
        WEFTI_TRY(add_operand(program, WEFTI_BUFFER_OUTPUT, (int32_t)i,
                              &what->outputs[i], &views->outputs[i], error));
    }
    wefti_lowering lowering = {
        .program = program,
        .node = view,
        .known_inputs = what->inputs,
        .known_outputs = what->outputs,
        .inputs = views->inputs,
        .outputs = views->outputs,
        .may_alias = views->may_alias,
        .error = error,
    };
    return op->lower(&lowering);
}

weft_status wefti_evaluate(const wefti_evaluator *evaluator, const wefti_operator *op,
                           const wefti_node_view *view, const wefti_evaluation *what,
                           weft_error *error)
{
    if (op->fold != NULL) {
        return op->fold(view, what->inputs, what->outputs, what->data, error);
    }
    wefti_arena arena;
    wefti_arena_init(&arena);
    wefti_program program;
    wefti_program_init(&program);
    node_views views = {
        .inputs = wefti_arena_calloc(&arena, view->input_count, sizeof(wefti_view)),
        .outputs = wefti_arena_calloc(&arena, view->output_count, sizeof(wefti_view)),
        .may_alias = wefti_arena_calloc(&arena, view->output_count, sizeof(bool)),
    };
    weft_status status;
    if (views.inputs == NULL || views.outputs == NULL || views.may_alias == NULL) {
        status = wefti_error_memory(error, "a constant");
    } else {
        status = lower_alone(&program, op, view, what, &views, error);
    }
    if (status == WEFT_OK) {
        status = execute(evaluator, &program, what->data, view->output_count, error);
    }
    wefti_program_fini(&program);
    wefti_arena_fini(&arena);
    return status;
}

/* One node's inputs and outputs as operators see them; arrays live in `arena`. */
typedef struct node_knowledge {
    wefti_known *inputs, *outputs;
    void **data;
    bool all_known, all_constant;
    size_t constant_bytes;
} node_knowledge;

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Bytes of the constants that a node reads, each counted once. */
static weft_status measure_constants(const wefti_net *net, const wefti_net_node *node,
                                     wefti_arena *arena, size_t *total_bytes,
                                     weft_error *error)
{
    size_t count = node->view.input_count;
    int32_t *numbers = wefti_arena_copy(arena, node->inputs, count * sizeof(*numbers));
    if (numbers == NULL) {
        return wefti_error_memory(error, "shape inference");
    }
    qsort(numbers, count, sizeof(*numbers), by_number);
    for (size_t i = 0; i < count; i++) {
        bool counts = numbers[i] >= 0 && (i == 0 || numbers[i] != numbers[i - 1]);
        const wefti_known *known = counts ? &net->values[numbers[i]].known : NULL;
        if (known != NULL && known->constant != NULL) {
            *total_bytes += wefti_known_bytes(known);
        }
    }
    return WEFT_OK;
}

static weft_status gather_knowledge(const wefti_net *net, const wefti_net_node *node,
                                    wefti_arena *arena, node_knowledge *know,
                                    weft_error *error)
{
    size_t outputs = node->view.output_count;
    *know = (node_knowledge){
        .inputs =
            wefti_arena_calloc(arena, node->view.input_count, sizeof(wefti_known)),
        .outputs = wefti_arena_calloc(arena, outputs, sizeof(wefti_known)),
        .data = wefti_arena_calloc(arena, outputs, sizeof(void *)),
        .all_known = true,
        .all_constant = true,
    };
    if (know->inputs == NULL || know->outputs == NULL || know->data == NULL) {
        return wefti_error_memory(error, "shape inference");
    }
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (node->inputs[i] < 0) {
            continue;
        }
        know->inputs[i] = net->values[node->inputs[i]].known;
        know->all_known = know->all_known && know->inputs[i].type != WEFT_TYPE_NONE;
        if (know->inputs[i].constant == NULL) {
            know->all_constant = false;
        }
    }
    return know->all_constant
               ? measure_constants(net, node, arena, &know->constant_bytes, error)
               : WEFT_OK;
}

static weft_status check_output(const wefti_net_node *node, const wefti_known *known,
                                weft_error *error)
{
    weft_tensor tensor = {.type = known->type, .rank = known->rank};
    memcpy(tensor.dims, known->dims, sizeof(tensor.dims));
    weft_status status = weft_tensor_measure(&tensor, NULL, NULL, error);
    return status == WEFT_OK ? WEFT_OK
                             : wefti_error_prefix(error, WEFT_INVALID_MODEL,
                                                  "%s: its output", node->view.label);
}

static weft_status infer_node(wefti_net *net, const wefti_net_node *node,
                              node_knowledge *know, weft_error *error)
{
    WEFTI_TRY(wefti_operator_infer(node->op, &node->view, know->inputs, know->outputs,
                                   error));
    for (size_t i = 0; i < node->view.output_count; i++) {
        WEFTI_TRY(check_output(node, &know->outputs[i], error));
        if (node->outputs[i] >= 0) {
            net->values[node->outputs[i]].known = know->outputs[i];
        }
    }
    return WEFT_OK;
}

/* Bytes of all outputs, at most SIZE_MAX. */
static size_t output_bytes(const wefti_net_node *node, const node_knowledge *know)
{
    size_t total = 0;
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (WEFTI_ADD_OVERFLOWS(total, wefti_known_bytes(&know->outputs[i]), &total)) {
            return SIZE_MAX;
        }
    }
    return total;
}

static bool worth_folding(const wefti_net *net, const wefti_net_node *node,
                          const node_knowledge *know)
{
    if (node->op->fold != NULL && node->op->lower == NULL) {
        return true; /* there is no other way */
    }
    size_t size_bytes = output_bytes(node, know);
    if (size_bytes > net->fold_budget_bytes) {
        return false;
    }
    return node->op->fold != NULL ||
           (know->all_constant && node->op->lower != NULL &&
            (size_bytes <= FOLD_LIMIT_BYTES || size_bytes / 2 <= know->constant_bytes));
}

static weft_status fold_node(wefti_net *net, const wefti_net_node *node,
                             const wefti_evaluator *evaluator, node_knowledge *know,
                             weft_error *error)
{
    size_t total_bytes = output_bytes(node, know);
    if (total_bytes > net->fold_budget_bytes) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "%s: its result takes %zu bytes before the run, more than "
                           "the %zu left for constants",
                           node->view.label, total_bytes, net->fold_budget_bytes);
    }
    net->fold_budget_bytes -= total_bytes;
    for (size_t i = 0; i < node->view.output_count; i++) {
        size_t size_bytes = wefti_known_bytes(&know->outputs[i]);
        know->data[i] = wefti_arena_data(&net->arena, size_bytes);
        if (know->data[i] == NULL) {
            return wefti_error_memory(error, "a constant");
        }
    }
    const wefti_evaluation what = {know->inputs, know->outputs, know->data};
    WEFTI_TRY(wefti_evaluate(evaluator, node->op, &node->view, &what, error));
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            net->values[node->outputs[i]].known.constant = know->data[i];
        }
    }
    return WEFT_OK;
}

/* How a net is walked. */
typedef struct walk_params {
    bool constants_only;
    bool forgiving; /* goes on after a node that fails */
    wefti_net_listener *listener;
    void *user;
} walk_params;

/* Whether only a run tells what the node gives: see levels.h. */
static bool decided_by_a_run(const wefti_net_node *node, const node_knowledge *know)
{
    bool computed = wefti_operator_is_control(node->op);
    for (size_t i = 0; know->all_known && i < node->view.input_count; i++) {
        computed = computed || (node->inputs[i] >= 0 && !know->inputs[i].constant &&
                                wefti_operator_demands(node->op, i));
    }
    return computed;
}

/* One node, with what its inputs are. */
static weft_status visit(wefti_net *net, const wefti_net_node *node,
                         const wefti_evaluator *evaluator, const walk_params *how,
                         weft_error *error)
{
    wefti_arena arena;
    wefti_arena_init(&arena);
    node_knowledge know;
    weft_status status = gather_knowledge(net, node, &arena, &know, error);
    bool wanted = know.all_known && (know.all_constant || !how->constants_only) &&
                  !(how->constants_only && wefti_operator_is_control(node->op));
    if (status == WEFT_OK && how->forgiving && decided_by_a_run(node, &know)) {
        wefti_arena_fini(&arena);
        return wefti_operator_check(node->op, &node->view, error);
    }
    if (status == WEFT_OK && !know.all_known && !how->constants_only) {
        status = how->forgiving
                     ? wefti_operator_check(node->op, &node->view, error)
                     : wefti_error(error, WEFT_INTERNAL, "%s: an input has no shape",
                                   node->view.label);
    }
    if (status == WEFT_OK && wanted) {
        status = infer_node(net, node, &know, error);
    }
    if (status == WEFT_OK && wanted && worth_folding(net, node, &know)) {
        status = fold_node(net, node, evaluator, &know, error);
    }
    wefti_arena_fini(&arena);
    return status;
}

/* Takes a failure of a node when the walk forgives it. */
static weft_status forgive(wefti_net *net, const wefti_net_node *node,
                           const walk_params *how, weft_status status,
                           weft_error *error)
{
    if (status == WEFT_OK || !how->forgiving || status == WEFT_OUT_OF_MEMORY) {
        return status;
    }
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            net->values[node->outputs[i]].known = (wefti_known){0};
        }
    }
    if (how->listener != NULL) {
        how->listener(how->user, node, error);
    }
    return WEFT_OK;
}

static weft_status walk(wefti_net *net, const wefti_evaluator *evaluator,
                        const walk_params *how, weft_error *error)
{
    bool constants_only = how->constants_only;
    net->fold_budget_bytes = FOLD_BUDGET_BYTES;
    for (size_t i = 0; constants_only && i < net->value_count; i++) {
        if (net->values[i].known.constant != NULL) {
            net->fold_budget_bytes += 2 * wefti_known_bytes(&net->values[i].known);
        }
    }
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (node->dead) {
            continue;
        }
        weft_status status = visit(net, node, evaluator, how, error);
        WEFTI_TRY(forgive(net, node, how, status, error));
    }
    wefti_net_sweep(net);
    return WEFT_OK;
}

weft_status wefti_net_fold(wefti_net *net, const wefti_evaluator *evaluator,
                           weft_error *error)
{
    const walk_params how = {.constants_only = true};
    return walk(net, evaluator, &how, error);
}

weft_status wefti_net_infer(wefti_net *net, const wefti_evaluator *evaluator,
                            weft_error *error)
{
    const walk_params how = {.constants_only = false};
    return walk(net, evaluator, &how, error);
}

weft_status wefti_net_infer_forgiving(wefti_net *net, const wefti_evaluator *evaluator,
                                      wefti_net_listener *listener, void *user,
                                      weft_error *error)
{
    weft_error own;
    error = error != NULL ? error : &own;
    const walk_params first = {.constants_only = true, .forgiving = true};
    WEFTI_TRY(walk(net, evaluator, &first, error));
    const walk_params second = {.forgiving = true, .listener = listener, .user = user};
    return walk(net, evaluator, &second, error);
}

/* Constants are operands with data, the others inputs of the program. */
static weft_status lower_known(wefti_program *program, const wefti_net_node *node,
                               const node_knowledge *know, wefti_arena *arena,
                               weft_error *error)
{
    size_t inputs = node->view.input_count, outputs = node->view.output_count;
    node_views views = {
        .inputs = wefti_arena_calloc(arena, inputs, sizeof(wefti_view)),
        .outputs = wefti_arena_calloc(arena, outputs, sizeof(wefti_view)),
        .may_alias = wefti_arena_calloc(arena, outputs, sizeof(bool)),
    };
    if (views.inputs == NULL || views.outputs == NULL || views.may_alias == NULL) {
        return wefti_error_memory(error, "the lowering of a node");
    }
    for (size_t i = 0; i < inputs; i++) {
        wefti_buffer_kind kind = know->inputs[i].constant != NULL
                                     ? WEFTI_BUFFER_CONSTANT
                                     : WEFTI_BUFFER_INPUT;
        WEFTI_TRY(add_operand(program, kind, (int32_t)i, &know->inputs[i],
                              &views.inputs[i], error));
    }
    for (size_t i = 0; i < outputs; i++) {
        views.may_alias[i] = true;
        WEFTI_TRY(add_operand(program, WEFTI_BUFFER_WORKSPACE, (int32_t)i,
                              &know->outputs[i], &views.outputs[i], error));
    }
    wefti_lowering lowering = {
        .program = program,
        .node = &node->view,
        .known_inputs = know->inputs,
        .known_outputs = know->outputs,
        .inputs = views.inputs,
        .outputs = views.outputs,
        .may_alias = views.may_alias,
        .error = error,
    };
    return node->op->lower(&lowering);
}

weft_status wefti_net_lower_alone(const wefti_net *net, const wefti_net_node *node,
                                  wefti_program *program, weft_error *error)
{
    wefti_arena arena;
    wefti_arena_init(&arena);
    node_knowledge know;
    weft_status status = gather_knowledge(net, node, &arena, &know, error);
    bool all_known = status == WEFT_OK && know.all_known;
    for (size_t i = 0; all_known && i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            know.outputs[i] = net->values[node->outputs[i]].known;
            all_known = know.outputs[i].type != WEFT_TYPE_NONE;
        }
    }
    if (status == WEFT_OK) {
        status = all_known && node->op->lower != NULL
                     ? lower_known(program, node, &know, &arena, error)
                     : wefti_error(error, WEFT_UNSUPPORTED,
                                   "%s: its sizes are not known before the run",
                                   node->view.label);
    }
    wefti_arena_fini(&arena);
    return status;
}
