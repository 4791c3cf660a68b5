/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/stages.h"

#include <string.h>

#include "base/memory.h"
#include "graph/model.h"
#include "ops/demand.h"

/* A node that is not dead, and where it belongs. */
typedef struct placed {
    const wefti_net_node *node;
    bool host;
} placed;

/* What the division works on. */
typedef struct divider {
    weft_model *model;
    const wefti_levels *levels;
    weft_model_params params; /* of each part */
    wefti_stages *stages;
    size_t stage_capacity;
    wefti_arena scratch;
    int32_t *slots;  /* per value: its slot, or -1 */
    int32_t *origin; /* per value: the level whose static stage makes it, or -1 */
    int32_t *seen;   /* per value: the last level that it was looked at for */
    bool *crosses;   /* per value: read outside of the stage that makes it */
    placed *nodes;   /* level by level, in the net's order */
    size_t *starts;  /* per level: its first node in `nodes`; one more at the end */
    int32_t *part_inputs, *part_outputs; /* of the part that is made: per value */
    weft_error *error;
} divider;

static weft_status no_room(const divider *all)
{
    return wefti_error_memory(all->error, "the stages of a model");
}

static bool is_constant(const wefti_net *net, int32_t value)
{
    return net->values[value].known.constant != NULL;
}

/* The slot of a value, made when it is new. */
static int32_t slot_of(divider *all, int32_t value)
{
    if (value < 0) {
        return -1;
    }
    const wefti_net_value *known = &all->model->net.values[value];
    if (all->slots[value] < 0) {
        wefti_stages *stages = all->stages;
        all->slots[value] = (int32_t)stages->slot_count;
        stages->slots[stages->slot_count++] =
            (wefti_slot){.name = known->name, .constant = known->known};
    }
    return all->slots[value];
}

/* Sorts the nodes by level, so that none is looked at for another one's level. */
static weft_status place_nodes(divider *all)
{
    const wefti_net *net = &all->model->net;
    size_t levels = (size_t)all->levels->count, count = 0;
    all->starts = wefti_arena_calloc(&all->scratch, levels + 2, sizeof(*all->starts));
    if (all->starts == NULL) {
        return no_room(all);
    }
    bool host = false;
    for (const wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (!node->dead) {
            all->starts[wefti_level_of(all->levels, net, node, &host) + 2]++;
            count++;
        }
    }
    all->nodes = wefti_arena_calloc(&all->scratch, count, sizeof(*all->nodes));
    if (all->nodes == NULL) {
        return no_room(all);
    }
    for (size_t i = 2; i < levels + 2; i++) {
        all->starts[i] += all->starts[i - 1];
    }
    for (const wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (!node->dead) {
            int32_t level = wefti_level_of(all->levels, net, node, &host);
            all->nodes[all->starts[level + 1]++] = (placed){node, host};
        }
    }
    return WEFT_OK;
}

static void find_crossings_of(divider *all, const placed *at, int32_t level)
{
    const wefti_net_node *node = at->node;
    for (size_t i = 0; i < node->view.input_count; i++) {
        int32_t value = node->inputs[i];
        if (value >= 0 && (at->host || all->origin[value] != level)) {
            all->crosses[value] = true;
        }
    }
    for (size_t i = 0; !at->host && i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            all->origin[node->outputs[i]] = level;
        }
    }
}

/* Where each value comes from, and who reads it elsewhere. */
static void find_crossings(divider *all)
{
    const wefti_net *net = &all->model->net;
    for (size_t i = 0; i < net->value_count; i++) {
        all->slots[i] = -1;
        all->origin[i] = -1;
        all->seen[i] = -1;
    }
    for (int32_t level = 0; level < all->levels->count; level++) {
        for (size_t i = all->starts[level]; i < all->starts[level + 1]; i++) {
            find_crossings_of(all, &all->nodes[i], level);
        }
    }
    for (size_t i = 0; i < net->output_count; i++) {
        all->crosses[net->outputs[i]] = true;
    }
}

static weft_status add_stage(divider *all, const wefti_stage *stage)
{
    wefti_stages *stages = all->stages;
    if (stages->count == all->stage_capacity) {
        size_t capacity = 2 * all->stage_capacity + 8;
        wefti_stage *grown =
            wefti_arena_calloc(&all->model->net.arena, capacity, sizeof(*grown));
        if (grown == NULL) {
            return no_room(all);
        }
        if (stages->count > 0) {
            memcpy(grown, stages->stages, stages->count * sizeof(*grown));
        }
        stages->stages = grown;
        all->stage_capacity = capacity;
    }
    stages->stages[stages->count++] = *stage;
    if (stage->input_count > stages->most_inputs) {
        stages->most_inputs = stage->input_count;
    }
    if (stage->output_count > stages->most_outputs) {
        stages->most_outputs = stage->output_count;
    }
    for (size_t i = 0; i < stage->input_count; i++) {
        if (stage->inputs[i] >= 0) {
            stages->slots[stage->inputs[i]].uses++;
        }
    }
    return WEFT_OK;
}

/* The part of the net of one level, as a graph of its own. */
typedef struct part {
    weft_graph *graph;
    int32_t *inputs, *outputs; /* slots */
    size_t input_count, output_count;
} part;

static weft_status add_operand(divider *all, part *made, int32_t level, int32_t value)
{
    const wefti_net_value *known = &all->model->net.values[value];
    if (all->seen[value] == level) {
        return WEFT_OK;
    }
    all->seen[value] = level;
    if (is_constant(&all->model->net, value)) {
        weft_tensor tensor = {.type = known->known.type, .rank = known->known.rank};
        memcpy(tensor.dims, known->known.dims, sizeof(tensor.dims));
        if (wefti_known_bytes(&known->known) > 0) {
            /* Borrowed: the model keeps it longer than its stages, and only reads. */
            tensor.data = (void *)(uintptr_t)known->known.constant;
        }
        return weft_graph_add_initializer_borrowed(made->graph, known->name, &tensor,
                                                   NULL, NULL, all->error);
    }
    if (all->origin[value] == level) {
        return WEFT_OK;
    }
    made->inputs[made->input_count++] = slot_of(all, value);
    return wefti_graph_add_open_input(made->graph, known->name, all->error);
}

static weft_status add_part_node(divider *all, part *made, const wefti_net_node *node,
                                 int32_t level)
{
    wefti_net *net = &all->model->net;
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (node->inputs[i] >= 0) {
            WEFTI_TRY(add_operand(all, made, level, node->inputs[i]));
        }
    }
    size_t count = node->view.input_count + node->view.output_count;
    const char **names = wefti_arena_calloc(&all->scratch, count, sizeof(*names));
    const char *label = node->view.label + strlen(node->view.op_type) + 2;
    char *name = wefti_arena_strdup(&all->scratch, label); /* MatMul 'name' */
    if (names == NULL || name == NULL) {
        return no_room(all);
    }
    name[strlen(name) - 1] = '\0';
    for (size_t i = 0; i < count; i++) {
        int32_t value = i < node->view.input_count
                            ? node->inputs[i]
                            : node->outputs[i - node->view.input_count];
        /* A folded output is an initializer of the part. */
        bool folded =
            i >= node->view.input_count && value >= 0 && is_constant(net, value);
        names[i] = value < 0 || folded ? "" : net->values[value].name;
    }
    const weft_node copy = {
        .op_type = node->view.op_type,
        .domain = node->op->domain,
        .name = name,
        .inputs = names,
        .input_count = node->view.input_count,
        .outputs = names + node->view.input_count,
        .output_count = node->view.output_count,
        .attributes = node->view.attributes,
        .attribute_count = node->view.attribute_count,
    };
    WEFTI_TRY(weft_graph_add_node(made->graph, &copy, all->error));
    for (size_t i = 0; i < node->view.output_count; i++) {
        int32_t value = node->outputs[i];
        if (value >= 0 && all->crosses[value] && !is_constant(net, value)) {
            made->outputs[made->output_count++] = slot_of(all, value);
            WEFTI_TRY(weft_graph_add_output(made->graph, net->values[value].name,
                                            all->error));
        }
    }
    return WEFT_OK;
}

static weft_status fill_part(divider *all, part *made, int32_t level)
{
    for (size_t i = all->starts[level]; i < all->starts[level + 1]; i++) {
        if (!all->nodes[i].host) {
            WEFTI_TRY(add_part_node(all, made, all->nodes[i].node, level));
        }
    }
    return WEFT_OK;
}

static weft_status copy_slots(divider *all, const int32_t *slots, size_t count,
                              int32_t **copy)
{
    *copy = wefti_arena_copy(&all->model->net.arena, slots, count * sizeof(*slots));
    return *copy == NULL ? no_room(all) : WEFT_OK;
}

static weft_status make_part(divider *all, part *made, int32_t level)
{
    WEFTI_TRY(fill_part(all, made, level));
    if (made->output_count == 0) {
        return WEFT_OK; /* nothing of this level */
    }
    wefti_stage stage = {.kind = WEFTI_STAGE_STATIC,
                         .level = level,
                         .input_count = made->input_count,
                         .output_count = made->output_count};
    WEFTI_TRY(copy_slots(all, made->inputs, made->input_count, &stage.inputs));
    WEFTI_TRY(copy_slots(all, made->outputs, made->output_count, &stage.outputs));
    weft_model *model = NULL;
    weft_model_params params = all->params;
    params.precision = all->model->precision;
    made->graph->widened = true;
    WEFTI_TRY(
        wefti_model_create_part(all->model, made->graph, &params, &model, all->error));
    stage.bodies[0].model = model;
    weft_status status = add_stage(all, &stage);
    if (status != WEFT_OK) {
        weft_model_release(model);
    }
    return status;
}

static weft_status add_static_stage(divider *all, int32_t level)
{
    part made = {.inputs = all->part_inputs, .outputs = all->part_outputs};
    WEFTI_TRY(weft_graph_create(all->model->graph->opset, &made.graph, all->error));
    weft_status status = make_part(all, &made, level);
    weft_graph_release(made.graph);
    return status;
}

static weft_status make_body(divider *all, wefti_stage *stage, const char *name,
                             wefti_body *body)
{
    const wefti_node_view *view = &stage->node->view;
    size_t first = stage->own_inputs;
    for (size_t i = 0; i < view->attribute_count; i++) {
        const weft_attribute *attribute = &view->attributes[i];
        if (attribute->kind != WEFT_ATTRIBUTE_GRAPH) {
            continue;
        }
        size_t captures = attribute->graph->capture_count;
        if (strcmp(attribute->name, name) == 0) {
            *body = (wefti_body){.first_capture = first, .capture_count = captures};
            weft_status status = wefti_model_create_part(
                all->model, attribute->graph, &all->params, &body->model, all->error);
            return status == WEFT_OK ? WEFT_OK
                                     : wefti_error_prefix(all->error, status, "%s, %s",
                                                          view->label, name);
        }
        first += captures;
    }
    return wefti_error(all->error, WEFT_INVALID_MODEL, "%s: has no graph '%s'",
                       view->label, name);
}

static weft_status wrong_counts(const divider *all, const wefti_stage *stage,
                                const weft_model *body, size_t inputs, size_t outputs)
{
    return wefti_error(all->error, WEFT_INVALID_MODEL,
                       "%s: its graph has %zu inputs and %zu outputs; the node has "
                       "%zu inputs and %zu outputs for it",
                       stage->node->view.label, inputs, body->net.output_count,
                       stage->own_inputs, outputs);
}

static weft_status make_branches(divider *all, wefti_stage *stage)
{
    static const char *const names[] = {"then_branch", "else_branch"};
    stage->kind = WEFTI_STAGE_IF;
    for (size_t i = 0; i < 2; i++) {
        WEFTI_TRY(make_body(all, stage, names[i], &stage->bodies[i]));
        const weft_model *body = stage->bodies[i].model;
        size_t own = body->net.input_count - stage->bodies[i].capture_count;
        if (own != 0 || stage->own_inputs != 1 ||
            body->net.output_count != stage->output_count) {
            return wrong_counts(all, stage, body, own, stage->output_count);
        }
    }
    return WEFT_OK;
}

static weft_status make_loop(divider *all, wefti_stage *stage)
{
    stage->kind = WEFTI_STAGE_LOOP;
    WEFTI_TRY(make_body(all, stage, "body", &stage->bodies[0]));
    const weft_model *body = stage->bodies[0].model;
    size_t own = body->net.input_count - stage->bodies[0].capture_count;
    size_t states = stage->own_inputs < 2 ? 0 : stage->own_inputs - 2;
    if (stage->own_inputs < 2 || own != stage->own_inputs ||
        body->net.output_count < 1 + states ||
        stage->output_count > body->net.output_count - 1) {
        return wrong_counts(all, stage, body, own, stage->output_count);
    }
    return WEFT_OK;
}

static weft_status make_scan(divider *all, wefti_stage *stage)
{
    stage->kind = WEFTI_STAGE_SCAN;
    if (stage->node->view.opset < 9) {
        return wefti_error(all->error, WEFT_UNSUPPORTED,
                           "%s: the Scan of opset 8 is not supported; export with "
                           "opset 9 or later",
                           stage->node->view.label);
    }
    WEFTI_TRY(make_body(all, stage, "body", &stage->bodies[0]));
    const weft_model *body = stage->bodies[0].model;
    size_t own = body->net.input_count - stage->bodies[0].capture_count;
    int64_t scans = wefti_attribute_int(&stage->node->view, "num_scan_inputs", 0);
    if (scans < 1 || scans > (int64_t)stage->own_inputs || own != stage->own_inputs ||
        body->net.output_count < stage->own_inputs - (size_t)scans ||
        stage->output_count > body->net.output_count) {
        return wrong_counts(all, stage, body, own, stage->output_count);
    }
    return WEFT_OK;
}

static weft_status make_bodies(divider *all, wefti_stage *stage)
{
    const char *name = stage->node->op->name;
    stage->kind = WEFTI_STAGE_HOST;
    if (!wefti_operator_is_control(stage->node->op)) {
        return WEFT_OK;
    }
    const wefti_node_view *view = &stage->node->view;
    for (size_t i = 0; i < view->attribute_count; i++) {
        if (view->attributes[i].kind == WEFT_ATTRIBUTE_GRAPH) {
            stage->own_inputs -= view->attributes[i].graph->capture_count;
        }
    }
    return strcmp(name, "If") == 0     ? make_branches(all, stage)
           : strcmp(name, "Loop") == 0 ? make_loop(all, stage)
                                       : make_scan(all, stage);
}

static void release_bodies(const wefti_stage *stage)
{
    weft_model_release(stage->bodies[0].model);
    weft_model_release(stage->bodies[1].model);
}

static weft_status add_host_stage(divider *all, const wefti_net_node *node,
                                  int32_t level)
{
    wefti_stage stage = {.level = level,
                         .node = node,
                         .input_count = node->view.input_count,
                         .output_count = node->view.output_count,
                         .own_inputs = node->view.input_count};
    size_t count = stage.input_count + stage.output_count;
    stage.inputs = wefti_arena_calloc(&all->model->net.arena, count, sizeof(int32_t));
    if (stage.inputs == NULL) {
        return no_room(all);
    }
    stage.outputs = stage.inputs + stage.input_count;
    for (size_t i = 0; i < stage.input_count; i++) {
        stage.inputs[i] = slot_of(all, node->inputs[i]);
    }
    for (size_t i = 0; i < stage.output_count; i++) {
        stage.outputs[i] = slot_of(all, node->outputs[i]);
    }
    weft_status status = make_bodies(all, &stage);
    if (status == WEFT_OK) {
        status = add_stage(all, &stage);
    }
    if (status != WEFT_OK) {
        release_bodies(&stage);
    }
    return status;
}

static weft_status add_level(divider *all, int32_t level)
{
    WEFTI_TRY(add_static_stage(all, level));
    for (size_t i = all->starts[level]; i < all->starts[level + 1]; i++) {
        if (all->nodes[i].host) {
            WEFTI_TRY(add_host_stage(all, all->nodes[i].node, level));
        }
    }
    return WEFT_OK;
}

static size_t count_parts(const divider *all)
{
    size_t count = 0;
    for (int32_t level = 0; level < all->levels->count; level++) {
        size_t statics = 0;
        for (size_t i = all->starts[level]; i < all->starts[level + 1]; i++) {
            const placed *at = &all->nodes[i];
            statics += at->host ? 0 : 1;
            for (size_t k = 0; at->host && k < at->node->view.attribute_count; k++) {
                weft_attribute_kind kind = at->node->view.attributes[k].kind;
                count += kind == WEFT_ATTRIBUTE_GRAPH ? 1 : 0;
            }
        }
        count += statics > 0 ? 1 : 0;
    }
    return count;
}

/* Each part has an equal share of the memory for plans, and enough for some; those that
 * are divided again share theirs. */
static void share_plan_bytes(divider *all)
{
    enum { LEAST_BYTES = 1 << 20 };
    size_t whole = all->params.max_plan_bytes, parts = count_parts(all);
    size_t share = parts > 0 ? whole / parts : whole;
    size_t least = whole < LEAST_BYTES ? whole : LEAST_BYTES;
    all->params.max_plan_bytes = share < least ? least : share;
}

/* A result that nobody reads is as good as absent. */
static void forget_unread(const wefti_stages *stages, wefti_stage *stage)
{
    for (size_t i = 0; stage->node != NULL && i < stage->output_count; i++) {
        int32_t slot = stage->outputs[i];
        stage->outputs[i] = slot >= 0 && stages->slots[slot].uses == 0 ? -1 : slot;
    }
}

static weft_status divide(divider *all)
{
    wefti_net *net = &all->model->net;
    WEFTI_TRY(place_nodes(all));
    share_plan_bytes(all);
    find_crossings(all);
    for (size_t i = 0; i < net->input_count; i++) {
        (void)slot_of(all, net->inputs[i]);
    }
    for (int32_t level = 0; level < all->levels->count; level++) {
        WEFTI_TRY(add_level(all, level));
    }
    for (size_t i = 0; i < net->output_count; i++) {
        int32_t slot = slot_of(all, net->outputs[i]);
        all->stages->outputs[i] = slot;
        all->stages->slots[slot].uses++;
    }
    for (size_t i = 0; i < all->stages->count; i++) {
        forget_unread(all->stages, &all->stages->stages[i]);
    }
    return WEFT_OK;
}

weft_status wefti_stages_create(weft_model *model, const wefti_levels *levels,
                                const weft_model_params *params, weft_error *error)
{
    wefti_arena *arena = &model->net.arena;
    size_t count = model->net.value_count;
    divider all = {.model = model, .levels = levels, .params = *params, .error = error};
    wefti_arena_init(&all.scratch);
    all.slots = wefti_arena_calloc(&all.scratch, count, sizeof(int32_t));
    all.origin = wefti_arena_calloc(&all.scratch, count, sizeof(int32_t));
    all.seen = wefti_arena_calloc(&all.scratch, count, sizeof(int32_t));
    all.crosses = wefti_arena_calloc(&all.scratch, count, sizeof(bool));
    all.part_inputs = wefti_arena_calloc(&all.scratch, count, sizeof(int32_t));
    all.part_outputs = wefti_arena_calloc(&all.scratch, count, sizeof(int32_t));
    all.stages = wefti_arena_calloc(arena, 1, sizeof(*all.stages));
    weft_status status = no_room(&all);
    if (all.stages != NULL) {
        all.stages->slots = wefti_arena_calloc(arena, count, sizeof(wefti_slot));
        all.stages->outputs =
            wefti_arena_calloc(arena, model->net.output_count, sizeof(int32_t));
        model->stages = all.stages;
        if (all.slots != NULL && all.origin != NULL && all.seen != NULL &&
            all.crosses != NULL && all.part_inputs != NULL &&
            all.part_outputs != NULL && all.stages->slots != NULL &&
            all.stages->outputs != NULL) {
            status = divide(&all);
        }
    }
    wefti_arena_fini(&all.scratch);
    return status;
}

void wefti_stages_fini(wefti_stages *stages)
{
    for (size_t i = 0; stages != NULL && i < stages->count; i++) {
        release_bodies(&stages->stages[i]);
    }
}
