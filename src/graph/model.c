/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/model.h"

#include <stddef.h>
#include <string.h>

#include "backend/common/weights.h"
#include "base/float_state.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "graph/halves.h"
#include "graph/levels.h"
#include "graph/stages.h"
#include "runtime/memory_pool.h"

enum { DEFAULT_MAX_PLANS = 1024, DEFAULT_MAX_PLAN_BYTES = 256 << 20 };

/* Constants are folded on the CPU; other devices need one of their own for it. */
static weft_status open_cpu(weft_model *model, weft_error *error)
{
    if (model->device->backend == &wefti_backend_cpu) {
        model->cpu = model->device->cards[0];
        return WEFT_OK;
    }
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    WEFTI_TRY(wefti_backend_cpu.device.open(-1, &params, &model->device->log,
                                            &model->cpu, error));
    model->owns_cpu = true;
    return WEFT_OK;
}

static weft_status fold_constants(weft_model *model, weft_error *error)
{
    wefti_evaluator evaluator;
    WEFTI_TRY(wefti_evaluator_init(&evaluator, model->cpu, error));
    weft_status status = wefti_net_fold(&model->net, &evaluator, error);
    wefti_evaluator_fini(&evaluator);
    return status;
}

static bool all_static(const weft_model *model)
{
    for (size_t i = 0; i < model->net.input_count; i++) {
        for (int32_t j = 0; j < model->inputs[i].rank; j++) {
            if (model->inputs[i].dims[j] < 0) {
                return false;
            }
        }
        if (model->inputs[i].rank < 0) {
            return false;
        }
    }
    return true;
}

/* The graph of a node; other parts are made of a net that is widened. */
static bool is_body(const weft_model *model)
{
    return model->is_part && !model->graph->widened;
}

/* A model whose products are all of 16-bit operands has them made from such, where the
 * device can. */
static weft_precision own_precision(const weft_model *model, weft_type products,
                                    weft_precision asked)
{
    const weft_precision own = products == WEFT_TYPE_F16    ? WEFT_PRECISION_F16
                               : products == WEFT_TYPE_BF16 ? WEFT_PRECISION_BF16
                                                            : WEFT_PRECISION_F32;
    const uint32_t able = model->device->backend->precisions;
    return asked == WEFT_PRECISION_F32 && (able >> (uint32_t)own & 1u) != 0 ? own
                                                                            : asked;
}

static weft_status widen(weft_model *model, weft_error *error)
{
    weft_type products = WEFT_TYPE_NONE;
    if (!model->graph->widened) {
        WEFTI_TRY(wefti_net_widen(&model->net, model->graph, is_body(model), &products,
                                  error));
    }
    model->precision = own_precision(model, products, model->precision);
    return WEFT_OK;
}

static weft_status describe_inputs(weft_model *model, weft_error *error)
{
    size_t count = model->graph->input_count;
    weft_value_info *infos =
        wefti_arena_calloc(&model->net.arena, count, sizeof(*infos));
    if (infos == NULL) {
        return wefti_error_memory(error, "a model");
    }
    for (size_t i = 0; i < count; i++) {
        infos[i] = model->graph->inputs[i].info;
        if (is_body(model) && wefti_is_half(infos[i].type)) {
            infos[i].type = WEFT_TYPE_F32;
        }
    }
    model->inputs = infos;
    return wefti_dims_find(infos, count, &model->net.arena, &model->dims, error);
}

enum { TRIAL_STEP = 7 };

/* A size for each dynamic dimension, equal for equal names and different in each of
 * two trials, so that output dims which follow it can be told from fixed ones. */
static int64_t trial_size(const weft_model *model, size_t input, int32_t dim,
                          int64_t base)
{
    size_t place = input * WEFT_MAX_RANK + (size_t)dim;
    return base + TRIAL_STEP * (int64_t)model->dims.numbers[place];
}

/* Shapes of the outputs with every dynamic dimension set to some size; false when the
 * graph does not accept that size. */
static bool try_shapes(const weft_model *model, int64_t base, weft_value_info *outputs)
{
    wefti_net net;
    if (wefti_net_clone(&model->net, &net, NULL) != WEFT_OK) {
        return false;
    }
    for (size_t i = 0; i < net.input_count; i++) {
        wefti_known *known = &net.values[net.inputs[i]].known;
        const weft_value_info *info = &model->inputs[i];
        *known =
            (wefti_known){.type = info->type, .rank = info->rank < 0 ? 0 : info->rank};
        for (int32_t j = 0; j < known->rank; j++) {
            known->dims[j] =
                info->dims[j] >= 0 ? info->dims[j] : trial_size(model, i, j, base);
        }
    }
    wefti_evaluator evaluator;
    bool fits = wefti_evaluator_init(&evaluator, model->cpu, NULL) == WEFT_OK;
    if (fits) {
        fits = wefti_net_infer(&net, &evaluator, NULL) == WEFT_OK;
        wefti_evaluator_fini(&evaluator);
    }
    for (size_t i = 0; fits && i < net.output_count; i++) {
        const wefti_known *known = &net.values[net.outputs[i]].known;
        outputs[i].type = known->type;
        outputs[i].rank = known->rank;
        memcpy(outputs[i].dims, known->dims, sizeof(known->dims));
    }
    wefti_net_destroy(&net);
    return fits;
}

/* Names an output dimension after the input dimension that has its trial size. */
static const char *name_of_size(const weft_model *model, int64_t size, int64_t base)
{
    int64_t number = (size - base) / TRIAL_STEP;
    if (size >= base && number < model->dims.count &&
        base + TRIAL_STEP * number == size) {
        return model->dims.names[number];
    }
    return NULL;
}

/* Describes the outputs by inferring twice with different sizes: what differs is
 * dynamic. Where the graph accepts neither, only the names are known. */
static weft_status describe_outputs(weft_model *model, weft_error *error)
{
    enum { FIRST_BASE = 8, SECOND_BASE = 16 };
    size_t count = model->net.output_count;
    wefti_arena *arena = &model->net.arena;
    weft_value_info *infos = wefti_arena_calloc(arena, count, sizeof(*infos));
    weft_value_info *others = wefti_arena_calloc(arena, count, sizeof(*others));
    if (infos == NULL || others == NULL) {
        return wefti_error_memory(error, "a model");
    }
    bool known = !model->is_part && model->stages == NULL &&
                 model->values.inputs == NULL && try_shapes(model, FIRST_BASE, infos) &&
                 (all_static(model) || try_shapes(model, SECOND_BASE, others));
    for (size_t i = 0; i < count; i++) {
        if (!known) {
            infos[i] = i < model->graph->info_capacity ? model->graph->output_infos[i]
                                                       : (weft_value_info){.rank = -1};
        }
        infos[i].name = model->net.values[model->net.outputs[i]].name;
        if (!known) {
            continue;
        }
        for (int32_t j = 0; !all_static(model) && j < infos[i].rank; j++) {
            if (infos[i].dims[j] != others[i].dims[j]) {
                infos[i].dim_names[j] =
                    name_of_size(model, infos[i].dims[j], FIRST_BASE);
                infos[i].dims[j] = WEFT_DIM_DYNAMIC;
            }
        }
    }
    model->outputs = infos;
    return WEFT_OK;
}

/* An axis where both have a fixed size, and not the same; -1: none. What files say of
 * ranks is often loose. */
static int32_t differing_axis(const weft_value_info *a, const weft_value_info *b)
{
    for (int32_t i = 0; a->rank == b->rank && i < a->rank; i++) {
        if (a->dims[i] >= 0 && b->dims[i] >= 0 && a->dims[i] != b->dims[i]) {
            return i;
        }
    }
    return -1;
}

static weft_status contradiction(const weft_value_info *declared,
                                 const weft_value_info *found, int32_t axis,
                                 weft_error *error)
{
    if (axis < 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "output '%s' is declared as %s, but the graph gives %s",
                           found->name, weft_type_name(declared->type),
                           weft_type_name(found->type));
    }
    return wefti_error(error, WEFT_INVALID_MODEL,
                       "output '%s': dimension %d is declared as %lld, but the graph "
                       "gives %lld",
                       found->name, (int)axis, (long long)declared->dims[axis],
                       (long long)found->dims[axis]);
}

/* True when sizes that two small trials left alone stay so with a larger one. */
static bool stays(const weft_model *model, size_t output, int32_t axis)
{
    enum { LARGE_BASE = 520 };
    for (size_t i = 0; i < model->net.input_count; i++) {
        if (model->inputs[i].rank < 0) {
            return false; /* the trials took some rank */
        }
    }
    weft_value_info *large = wefti_calloc(model->net.output_count, sizeof(*large));
    bool same = large != NULL && try_shapes(model, LARGE_BASE, large) &&
                large[output].dims[axis] == model->outputs[output].dims[axis];
    wefti_free(large);
    return same;
}

/* What the file says of the outputs must not contradict what was inferred. */
static weft_status check_declared(const weft_model *model, weft_error *error)
{
    for (size_t i = 0; i < model->net.output_count; i++) {
        const weft_value_info *found = &model->outputs[i];
        weft_value_info declared = {.rank = -1};
        if (i < model->graph->info_capacity) {
            declared = model->graph->output_infos[i];
        }
        if (declared.type == WEFT_TYPE_NONE || found->type == WEFT_TYPE_NONE) {
            continue;
        }
        if (declared.type != found->type) {
            return contradiction(&declared, found, -1, error);
        }
        int32_t axis = differing_axis(&declared, found);
        if (axis >= 0 && (all_static(model) || stays(model, i, axis))) {
            return contradiction(&declared, found, axis, error);
        }
    }
    return WEFT_OK;
}

/* Finds the inputs whose value a plan depends on, or divides the model. */
static weft_status find_values(weft_model *model, const weft_model_params *params,
                               weft_error *error)
{
    wefti_levels levels;
    WEFTI_TRY(wefti_levels_find(&model->net, model->inputs, model->is_part,
                                &model->net.arena, &levels, error));
    if (levels.any_host || levels.count > 1) {
        return wefti_stages_create(model, &levels, params, error);
    }
    if (levels.any_value_input) {
        model->values = (wefti_plan_values){levels.value_inputs,
                                            model->is_part ? WEFTI_MOST_PART_ELEMENTS
                                                           : WEFTI_MOST_VALUE_ELEMENTS};
    }
    return WEFT_OK;
}

static weft_status plan_static_shapes(weft_model *model, weft_error *error)
{
    size_t count = model->net.input_count;
    wefti_known *known = wefti_calloc(count + 1, sizeof(*known));
    if (known == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    for (size_t i = 0; i < count; i++) {
        known[i].type = model->inputs[i].type;
        known[i].rank = model->inputs[i].rank;
        memcpy(known[i].dims, model->inputs[i].dims, sizeof(known[i].dims));
    }
    wefti_plan *plan;
    weft_status status = wefti_plan_cache_hold(&model->plans, known, &plan, error);
    wefti_free(known);
    if (status == WEFT_OK) {
        wefti_plan_cache_drop(&model->plans, plan);
    }
    return status;
}

/* Packed weights count against the caps of the model and of the device. */
static weft_status reserve_weight(void *user, int32_t card, size_t size_bytes,
                                  void **address, weft_error *error)
{
    weft_model *model = user;
    *address = NULL;
    WEFTI_TRY(wefti_account_take(model->memory, size_bytes, "weights", error));
    weft_status status =
        wefti_memory_reserve(model->device->memory, card, size_bytes, address, error);
    if (status != WEFT_OK) {
        wefti_account_give(model->memory, size_bytes);
    }
    return status;
}

static void unreserve_weight(void *user, int32_t card, void *address, size_t size_bytes)
{
    weft_model *model = user;
    wefti_memory_unreserve(model->device->memory, card, address, size_bytes);
    wefti_account_give(model->memory, size_bytes);
}

static weft_status make_weights(weft_model *model, weft_error *error)
{
    for (int32_t i = 0; i < model->device->info.card_count; i++) {
        const wefti_weight_memory memory = {reserve_weight, unreserve_weight, model, i};
        WEFTI_TRY(wefti_weights_create(&memory, &model->weights[i], error));
    }
    return WEFT_OK;
}

static weft_status prepare(weft_model *model, const weft_model_params *params,
                           weft_error *error)
{
    model->no_fusion = params->no_fusion;
    model->precision = params->precision;
    model->max_iterations =
        params->max_iterations > 0 ? params->max_iterations : INT64_MAX;
    WEFTI_TRY(make_weights(model, error));
    WEFTI_TRY(open_cpu(model, error));
    WEFTI_TRY(wefti_net_create(model->graph, &model->net, error));
    WEFTI_TRY(widen(model, error));
    WEFTI_TRY(fold_constants(model, error));
    WEFTI_TRY(describe_inputs(model, error));
    WEFTI_TRY(find_values(model, params, error));
    WEFTI_TRY(wefti_buckets_create(model, params, error));
    WEFTI_TRY(wefti_buckets_try(model, error));
    WEFTI_TRY(wefti_model_init_plans(model, params, error));
    if (all_static(model) && model->values.inputs == NULL && model->stages == NULL) {
        WEFTI_TRY(plan_static_shapes(model, error));
    }
    WEFTI_TRY(describe_outputs(model, error));
    return check_declared(model, error);
}

/* Copies the caller's params, which may be of an older header, with the defaults. */
static weft_status check_params(const weft_model_params *given,
                                weft_model_params *params, weft_error *error)
{
    *params = (weft_model_params)WEFT_MODEL_PARAMS_INIT;
    WEFTI_TRY(wefti_params_take(WEFTI_PARAMS_SINCE(weft_model_params, max_plan_bytes),
                                given, params, error));
    if (params->max_plans <= 0) {
        params->max_plans = DEFAULT_MAX_PLANS;
    }
    if (params->max_plan_bytes == 0) {
        params->max_plan_bytes = DEFAULT_MAX_PLAN_BYTES;
    }
    return WEFT_OK;
}

static weft_status check_precision(const weft_device *device, weft_precision precision,
                                   weft_error *error)
{
    const char *name = weft_precision_name(precision);
    if (name == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "precision %d is unknown",
                           (int)precision);
    }
    if (precision != WEFT_PRECISION_F32 &&
        (device->backend->precisions >> (uint32_t)precision & 1u) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "the device '%s' has no products in %s; choose f32, or a "
                           "device that has them, such as cuda:0",
                           device->name, name);
    }
    return WEFT_OK;
}

/* `whole`: what it is a part of, or NULL. */
static weft_status create(weft_device *device, weft_graph *graph,
                          const weft_model_params *params, weft_model *whole,
                          weft_model **model, weft_error *error)
{
    weft_model_params checked;
    WEFTI_TRY(check_params(params, &checked, error));
    WEFTI_TRY(check_precision(device, checked.precision, error));
    weft_model *made = wefti_malloc_aligned(sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a model");
    }
    memset(made, 0, sizeof(*made));
    made->is_part = whole != NULL;
    wefti_account_init(&made->account, checked.memory_cap_bytes);
    made->memory = whole != NULL                   ? whole->memory
                   : checked.memory_cap_bytes == 0 ? NULL
                                                   : &made->account;
    wefti_refcount_init(&made->owners);
    made->device = weft_device_retain(device);
    made->graph = weft_graph_retain(graph);
    wefti_float_state state = wefti_float_enter();
    weft_status status = prepare(made, &checked, error);
    wefti_float_leave(state);
    if (status != WEFT_OK) {
        weft_model_release(made);
        return status;
    }
    wefti_atomic_u32_store_release(&graph->frozen, 1);
    *model = made;
    return WEFT_OK;
}

weft_status weft_model_create(weft_device *device, weft_graph *graph,
                              const weft_model_params *params, weft_model **model,
                              weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (device == NULL || graph == NULL || model == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "device, graph or model is NULL");
    }
    *model = NULL;
    WEFTI_TRY(wefti_device_check_open(device, error));
    return create(device, graph, params, NULL, model, error);
}

weft_status wefti_model_create_part(weft_model *whole, weft_graph *graph,
                                    const weft_model_params *params, weft_model **model,
                                    weft_error *error)
{
    *model = NULL;
    return create(whole->device, graph, params, whole, model, error);
}

weft_model *weft_model_retain(weft_model *model)
{
    if (model != NULL) {
        wefti_refcount_retain(&model->owners);
    }
    return model;
}

void weft_model_release(weft_model *model)
{
    if (model == NULL || wefti_fork_happened() ||
        !wefti_refcount_release(&model->owners)) {
        return; /* in a child, locks may be held by threads that it does not have */
    }
    wefti_stages_fini(model->stages); /* they borrow constants of this net */
    wefti_plan_cache_fini(&model->plans);
    for (size_t i = 0; i < WEFTI_MOST_CARDS; i++) {
        wefti_weights_destroy(model->weights[i]);
    }
    wefti_net_destroy(&model->net);
    if (model->owns_cpu) {
        wefti_backend_cpu.device.close(model->cpu);
    }
    weft_graph_release(model->graph);
    weft_device_release(model->device);
    wefti_free(model);
}

weft_device *weft_model_device(const weft_model *model)
{
    return model == NULL ? NULL : model->device;
}

size_t weft_model_input_count(const weft_model *model)
{
    return model == NULL ? 0 : model->net.input_count;
}

size_t weft_model_output_count(const weft_model *model)
{
    return model == NULL ? 0 : model->net.output_count;
}

bool weft_model_get_input(const weft_model *model, size_t index, weft_value_info *info)
{
    if (model == NULL || info == NULL || index >= model->net.input_count) {
        return false;
    }
    *info = model->inputs[index];
    return true;
}

bool weft_model_get_output(const weft_model *model, size_t index, weft_value_info *info)
{
    if (model == NULL || info == NULL || index >= model->net.output_count) {
        return false;
    }
    *info = model->outputs[index];
    return true;
}

bool weft_model_input_is_value(const weft_model *model, size_t index)
{
    return model != NULL && index < model->net.input_count &&
           model->values.inputs != NULL && model->values.inputs[index];
}

bool weft_model_has_stages(const weft_model *model)
{
    return model != NULL && model->stages != NULL;
}

static int32_t find_info(const weft_value_info *infos, size_t count, const char *name)
{
    for (size_t i = 0; name != NULL && i < count; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

int32_t weft_model_find_input(const weft_model *model, const char *name)
{
    return model == NULL ? -1 : find_info(model->inputs, model->net.input_count, name);
}

int32_t weft_model_find_output(const weft_model *model, const char *name)
{
    return model == NULL ? -1
                         : find_info(model->outputs, model->net.output_count, name);
}
