/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/float_state.h"
#include "base/memory.h"
#include "base/profile.h"
#include "graph/check.h"
#include "graph/padding.h"
#include "runtime/context.h"

static weft_status build_plan(void *user, const wefti_known *inputs, wefti_plan **plan,
                              weft_error *error)
{
    weft_model *model = user;
    const wefti_plan_source source = {
        .device = model->device,
        .net = &model->net,
        .weights = model->weights,
        .cpu = model->cpu,
        .no_fusion = model->no_fusion,
        .precision = model->precision,
    };
    weft_profiler *profiler = model->device->profiler;
    int64_t begin_ns = wefti_profile_begin(profiler);
    weft_status status = wefti_plan_build(&source, inputs, plan, error);
    if (status == WEFT_OK && model->buckets != NULL) {
        wefti_float_state state = wefti_float_enter();
        status = wefti_buckets_find_cuts(model, inputs, *plan, error);
        wefti_float_leave(state);
        if (status != WEFT_OK) {
            wefti_plan_destroy(*plan);
            *plan = NULL;
        }
    }
    if (profiler != NULL) {
        const wefti_profile_note note = {
            .kind = WEFT_PROFILE_BUILD, .status = status, .name = "build a plan"};
        wefti_profile_record(profiler, begin_ns, &note);
    }
    if (status != WEFT_OK) {
        return status;
    }
    /* Relaxed: figures for statistics. */
    (void)wefti_atomic_u64_add_relaxed(&model->device->plan_count, 1);
    (void)wefti_atomic_u64_add_relaxed(&model->device->plan_bytes, (*plan)->bytes);
    return WEFT_OK;
}

static void destroy_plan(void *user, wefti_plan *plan)
{
    weft_model *model = user;
    (void)wefti_atomic_u64_add_relaxed(&model->device->plan_bytes, 0 - plan->bytes);
    wefti_plan_destroy(plan);
}

static bool plan_in_use(void *user, const wefti_plan *plan)
{
    const weft_model *model = user;
    return wefti_context_works_on(model->device, plan);
}

weft_status wefti_model_init_plans(weft_model *model, const weft_model_params *params,
                                   weft_error *error)
{
    const wefti_plan_cache_params cache = {
        .max_plans = (size_t)params->max_plans,
        .max_bytes = params->max_plan_bytes,
        .input_count = model->graph->input_count,
        .values = model->values,
        .build = build_plan,
        .destroy = destroy_plan,
        .in_use = plan_in_use,
        .evict_count = &model->device->plan_evict_count,
        .profiler = model->device->profiler,
        .user = model,
    };
    return wefti_plan_cache_init(&model->plans, &cache, error);
}

/* Bytes for the copy of a value input, rounded up so that the next one is aligned. */
static size_t value_room(const weft_model *model, const weft_tensor *tensor)
{
    size_t size_bytes = 0;
    (void)wefti_plan_value_bytes(tensor, model->values.most_elements, &size_bytes);
    return (size_bytes + 15) & ~(size_t)15;
}

/* Copies the inputs' shapes, and what the value inputs hold behind them: the caller may
 * change it while a plan is being built. */
static weft_status copy_key(const weft_model *model, const weft_io *io,
                            wefti_known **key, weft_error *error)
{
    size_t shapes = (io->input_count + 1) * sizeof(wefti_known);
    size_t values = 0;
    for (size_t i = 0; model->values.inputs != NULL && i < io->input_count; i++) {
        values += model->values.inputs[i] ? value_room(model, &io->inputs[i]) : 0;
    }
    wefti_known *known = wefti_calloc(1, shapes + values);
    if (known == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    char *room = (char *)known + shapes;
    for (size_t i = 0; i < io->input_count; i++) {
        known[i].type = io->inputs[i].type;
        known[i].rank = io->inputs[i].rank;
        memcpy(known[i].dims, io->inputs[i].dims,
               (size_t)known[i].rank * sizeof(known[i].dims[0]));
        if (model->values.inputs != NULL && model->values.inputs[i]) {
            size_t size_bytes = wefti_known_bytes(&known[i]);
            known[i].constant =
                size_bytes == 0 ? room : memcpy(room, io->inputs[i].data, size_bytes);
            room += value_room(model, &io->inputs[i]);
        }
    }
    *key = known;
    return WEFT_OK;
}

/* `io` is as it is planned. */
static weft_status hold_plan(weft_model *model, const weft_io *io, wefti_plan **plan,
                             weft_error *error)
{
    wefti_known *known = NULL;
    WEFTI_TRY(copy_key(model, io, &known, error));
    weft_profiler *profiler = model->device->profiler;
    int64_t begin_ns = wefti_profile_begin(profiler);
    weft_status status = wefti_plan_cache_hold(&model->plans, known, plan, error);
    wefti_free(known);
    if (profiler != NULL) {
        const wefti_profile_note note = {
            .kind = WEFT_PROFILE_PLAN, .status = status, .name = "find a plan"};
        wefti_profile_record(profiler, begin_ns, &note);
    }
    return status;
}

weft_status wefti_model_hold_plan(weft_model *model, const weft_io *io,
                                  wefti_plan **plan, weft_error *error)
{
    /* A run that was accepted before the device closed still gets its plan. */
    if (model->buckets == NULL) {
        WEFTI_TRY(wefti_check_inputs(model, io, error));
        return hold_plan(model, io, plan, error);
    }
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, io, error);
    if (status == WEFT_OK) {
        status = hold_plan(model, &padding.io, plan, error);
    }
    wefti_padding_fini(&padding);
    return status;
}

weft_status wefti_model_visit_plan(weft_model *model, const weft_io *io,
                                   wefti_plan_visitor *visitor, void *user,
                                   weft_error *error)
{
    wefti_plan_visit entered;
    if (wefti_plan_cache_enter(&model->plans, io->inputs, &entered)) {
        weft_status status = visitor(user, entered.plan, error);
        wefti_plan_cache_leave(&model->plans, &entered);
        return status;
    }
    wefti_plan *plan;
    WEFTI_TRY(wefti_model_hold_plan(model, io, &plan, error));
    weft_status status = visitor(user, plan, error);
    wefti_plan_cache_drop(&model->plans, plan);
    return status;
}
