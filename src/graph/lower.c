/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/passes.h"
#include "graph/plan.h"

/* Lowers the nodes of a net one after the other; each value becomes a view of a buffer
 * when it is first needed. */
typedef struct lowerer {
    const wefti_net *net;
    wefti_program *program;
    wefti_arena arena;
    wefti_view *views; /* per value; buffer -1: not made yet */
    /* Per value: the output whose buffer it must end in, or -1. An output's producer
     * writes there directly; so does what stands before it through reshapes. */
    int32_t *target_output;
    weft_error *error;
} lowerer;

static wefti_view dense_view(const wefti_known *known, int32_t buffer)
{
    wefti_view view = wefti_view_absent();
    view.buffer = buffer;
    view.type = known->type;
    view.rank = known->rank;
    memcpy(view.dims, known->dims, sizeof(view.dims));
    wefti_view_make_dense(&view);
    return view;
}

static weft_status make_view(lowerer *lower, int32_t value)
{
    const wefti_net_value *source = &lower->net->values[value];
    wefti_buffer buffer = {.kind = WEFTI_BUFFER_WORKSPACE,
                           .size_bytes = wefti_known_bytes(&source->known)};
    if (source->known.constant != NULL) {
        buffer.kind = WEFTI_BUFFER_CONSTANT;
        buffer.constant = source->known.constant;
        buffer.temporary = !source->of_model;
    } else if (source->input >= 0) {
        buffer.kind = WEFTI_BUFFER_INPUT;
        buffer.index = source->input;
    } else if (lower->target_output[value] >= 0) {
        buffer.kind = WEFTI_BUFFER_OUTPUT;
        buffer.index = lower->target_output[value];
    }
    int32_t number;
    WEFTI_TRY(wefti_program_add_buffer(lower->program, &buffer, &number, lower->error));
    lower->views[value] = dense_view(&source->known, number);
    return WEFT_OK;
}

/* Operators that only change a shape: what they read can be written where their result
 * has to be. */
static bool only_reshapes(const wefti_net *net, const wefti_net_node *node)
{
    if (wefti_net_is(node, "View")) {
        return wefti_net_is_reshape(net, node);
    }
    static const char *const names[] = {"Reshape", "Squeeze", "Unsqueeze", "Flatten",
                                        "Identity"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        if (wefti_net_is(node, names[i])) {
            return true;
        }
    }
    return false;
}

static void find_targets(lowerer *lower)
{
    const wefti_net *net = lower->net;
    memset(lower->target_output, 0xff,
           net->value_count * sizeof(*lower->target_output));
    for (size_t i = 0; i < net->output_count; i++) {
        int32_t value = net->outputs[i];
        wefti_net_node *node = wefti_net_producer(net, value);
        if (node == NULL || lower->target_output[value] >= 0) {
            continue; /* an input, a constant or an output named twice: copied */
        }
        lower->target_output[value] = (int32_t)i;
        while (only_reshapes(net, node)) {
            value = node->inputs[0];
            node = wefti_net_producer(net, value);
            if (node == NULL || net->values[value].use_count != 1) {
                break;
            }
            lower->target_output[value] = (int32_t)i;
        }
    }
}

/* True when `view` shows exactly output `index`, in order. */
static bool shows_output(const lowerer *lower, const wefti_view *view, int32_t index)
{
    const wefti_buffer *buffer = &lower->program->buffers[view->buffer];
    return buffer->kind == WEFTI_BUFFER_OUTPUT && buffer->index == index &&
           view->offset_bytes == 0 && wefti_view_is_dense(view);
}

static weft_status prepare_outputs(lowerer *lower, const wefti_net_node *node,
                                   wefti_view *outputs, bool *may_alias)
{
    for (size_t i = 0; i < node->view.output_count; i++) {
        int32_t value = node->outputs[i];
        outputs[i] = wefti_view_absent();
        if (value < 0 || lower->net->values[value].use_count == 0) {
            continue;
        }
        WEFTI_TRY(make_view(lower, value));
        outputs[i] = lower->views[value];
        int32_t target = lower->target_output[value];
        may_alias[i] = target < 0;
        if (target >= 0 && only_reshapes(lower->net, node)) {
            int32_t from = node->inputs[0];
            may_alias[i] = lower->target_output[from] == target;
        }
    }
    return WEFT_OK;
}

static weft_status lower_node(lowerer *lower, const wefti_net_node *node,
                              wefti_arena *scratch)
{
    size_t inputs = node->view.input_count, outputs = node->view.output_count;
    wefti_known *known = wefti_arena_calloc(scratch, inputs + outputs, sizeof(*known));
    wefti_view *views = wefti_arena_calloc(scratch, inputs + outputs, sizeof(*views));
    bool *may_alias = wefti_arena_calloc(scratch, outputs, sizeof(*may_alias));
    if (known == NULL || views == NULL || may_alias == NULL) {
        return wefti_error_memory(lower->error, "the lowering of a node");
    }
    for (size_t i = 0; i < inputs; i++) {
        int32_t value = node->inputs[i];
        views[i] = wefti_view_absent();
        if (value < 0) {
            continue;
        }
        if (lower->views[value].buffer < 0) {
            WEFTI_TRY(make_view(lower, value));
        }
        known[i] = lower->net->values[value].known;
        views[i] = lower->views[value];
    }
    for (size_t i = 0; i < outputs; i++) {
        if (node->outputs[i] >= 0) {
            known[inputs + i] = lower->net->values[node->outputs[i]].known;
        }
    }
    WEFTI_TRY(prepare_outputs(lower, node, views + inputs, may_alias));
    wefti_lowering lowering = {
        .program = lower->program,
        .node = &node->view,
        .known_inputs = known,
        .known_outputs = known + inputs,
        .inputs = views,
        .outputs = views + inputs,
        .may_alias = may_alias,
        .error = lower->error,
    };
    if (node->op->lower == NULL) {
        return wefti_error(lower->error, WEFT_UNSUPPORTED,
                           "%s can't be computed before the run", node->view.label);
    }
    WEFTI_TRY(node->op->lower(&lowering));
    for (size_t i = 0; i < outputs; i++) {
        int32_t value = node->outputs[i];
        if (value < 0 || views[inputs + i].buffer < 0) {
            continue;
        }
        lower->views[value] = views[inputs + i];
        int32_t target = lower->target_output[value];
        if (target >= 0 && !shows_output(lower, &views[inputs + i], target)) {
            return wefti_error(lower->error, WEFT_INTERNAL,
                               "%s did not write its output in place",
                               node->view.label);
        }
    }
    return WEFT_OK;
}

/* Outputs that no node writes in place: inputs and constants given out, and outputs
 * that are named twice. */
static weft_status copy_outputs(lowerer *lower)
{
    const wefti_net *net = lower->net;
    for (size_t i = 0; i < net->output_count; i++) {
        int32_t value = net->outputs[i];
        if (lower->target_output[value] == (int32_t)i &&
            wefti_net_producer(net, value) != NULL) {
            continue;
        }
        if (lower->views[value].buffer < 0) {
            WEFTI_TRY(make_view(lower, value));
        }
        wefti_buffer buffer = {
            .kind = WEFTI_BUFFER_OUTPUT,
            .index = (int32_t)i,
            .size_bytes = wefti_known_bytes(&net->values[value].known),
        };
        int32_t number;
        WEFTI_TRY(
            wefti_program_add_buffer(lower->program, &buffer, &number, lower->error));
        wefti_view target = dense_view(&net->values[value].known, number);
        wefti_node_view node = {.op_type = "Identity",
                                .label = net->values[value].name};
        wefti_lowering lowering = {
            .program = lower->program, .node = &node, .error = lower->error};
        WEFTI_TRY(wefti_lower_copy(&lowering, &lower->views[value], &target));
    }
    return WEFT_OK;
}

static weft_status lower_all(lowerer *lower)
{
    const wefti_net *net = lower->net;
    for (size_t i = 0; i < net->value_count; i++) {
        lower->views[i] = wefti_view_absent();
    }
    find_targets(lower);
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (node->dead) {
            continue;
        }
        wefti_arena scratch;
        wefti_arena_init(&scratch);
        weft_status status = lower_node(lower, node, &scratch);
        wefti_arena_fini(&scratch);
        WEFTI_TRY(status);
    }
    return copy_outputs(lower);
}

weft_status wefti_net_lower(const wefti_net *net, wefti_program *program,
                            weft_error *error)
{
    lowerer lower = {.net = net, .program = program, .error = error};
    wefti_arena_init(&lower.arena);
    lower.views =
        wefti_arena_calloc(&lower.arena, net->value_count, sizeof(wefti_view));
    lower.target_output =
        wefti_arena_calloc(&lower.arena, net->value_count, sizeof(int32_t));
    weft_status status = lower.views == NULL || lower.target_output == NULL
                             ? wefti_error_memory(error, "the lowering of a graph")
                             : lower_all(&lower);
    wefti_arena_fini(&lower.arena);
    return status;
}
