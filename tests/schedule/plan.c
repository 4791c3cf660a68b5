/* SPDX-License-Identifier: Apache-2.0 */
/* The first runs of a model with new shapes, at the same time. */
#include "schedule/scenario.h"

#include <stdlib.h>

#include <weft/weft.h>

#include "base/atomic.h"

enum { FEATURES = 3, MOST_ROWS = 2, THREADS = 3 };

typedef struct plan_stage {
    weft_device *device;
    weft_model *model;
    uint64_t plans_before;
    weft_status ends[THREADS];
    uint32_t violations;
} plan_stage;

static void *set_stage_with(int32_t max_plans)
{
    plan_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.max_contexts = THREADS;
    weft_model_params model_params = WEFT_MODEL_PARAMS_INIT;
    model_params.max_plans = max_plans;
    weft_value_info input = {.name = "x",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, FEATURES},
                             .dim_names = {"batch"}};
    const char *const inputs[] = {"x"}, *const outputs[] = {"y"};
    weft_node node = {.op_type = "Relu",
                      .name = "y",
                      .inputs = inputs,
                      .input_count = 1,
                      .outputs = outputs,
                      .output_count = 1};
    weft_graph *graph = NULL;
    scenario_require(weft_device_open("null", &params, &s->device, NULL) == WEFT_OK &&
                         weft_graph_create(18, &graph, NULL) == WEFT_OK &&
                         weft_graph_add_input(graph, &input, NULL) == WEFT_OK &&
                         weft_graph_add_node(graph, &node, NULL) == WEFT_OK &&
                         weft_graph_add_output(graph, "y", NULL) == WEFT_OK &&
                         weft_model_create(s->device, graph, &model_params, &s->model,
                                           NULL) == WEFT_OK,
                     "a model");
    weft_graph_release(graph);
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    s->plans_before = n.plan_count;
    return s;
}

static void *set_plan_stage(void)
{
    return set_stage_with(0);
}

/* Each of the two shapes throws the other's plan out. */
static void *set_room_for_one(void)
{
    return set_stage_with(1);
}

static void run_with_rows(void *state, uint32_t index)
{
    plan_stage *s = state;
    float x[MOST_ROWS * FEATURES] = {0}, y[MOST_ROWS * FEATURES];
    int64_t rows = index == 2 ? 2 : 1;
    weft_tensor in = {
        .data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, FEATURES}};
    weft_tensor out = in;
    out.data = y;
    weft_io io = {&in, 1, &out, 1};
    s->ends[index] = weft_run(s->model, &io, NULL, NULL);
}

static uint64_t plans_built(const plan_stage *s)
{
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    return n.plan_count - s->plans_before;
}

static bool end_stage(plan_stage *s, bool right)
{
    weft_model_release(s->model);
    weft_device_release(s->device);
    free(s);
    return right;
}

/* Two want one shape, the third another. */
static bool check_built_once(void *state)
{
    plan_stage *s = state;
    bool right = plans_built(s) == 2;
    for (int i = 0; i < THREADS; i++) {
        right = right && s->ends[i] == WEFT_OK;
    }
    return end_stage(s, right);
}

static void run_twice(void *state, uint32_t index)
{
    plan_stage *s = state;
    run_with_rows(s, index);
    weft_status first = s->ends[index];
    run_with_rows(s, index);
    s->violations += first != WEFT_OK;
}

static bool check_thrown_out(void *state)
{
    plan_stage *s = state;
    weft_device_statistics n;
    weft_device_get_statistics(s->device, &n);
    bool right = s->violations == 0 && n.plan_evict_count > 0 &&
                 plans_built(s) == n.plan_evict_count + 1;
    for (int i = 0; i < THREADS; i++) {
        right = right && s->ends[i] == WEFT_OK;
    }
    return end_stage(s, right);
}

/* One allocation of the builders fails: who waited for that plan gets the answer too,
 * nobody waits for ever, and the next one builds it. */
static void *set_with_fault(void)
{
    plan_stage *s = set_plan_stage();
    wefti_fault_arm(1 + explore_number() / 3 % 12, 1u << WEFTI_FAULT_ALLOCATION);
    return s;
}

static bool check_after_fault(void *state)
{
    plan_stage *s = state;
    wefti_fault_arm(0, 0);
    bool right = true;
    for (uint32_t i = 0; i < THREADS; i++) {
        right = right && (s->ends[i] == WEFT_OK || s->ends[i] == WEFT_OUT_OF_MEMORY);
        run_with_rows(s, i);
        right = right && s->ends[i] == WEFT_OK;
    }
    return end_stage(s, right && plans_built(s) == 2);
}

const scenario plan_scenarios[] = {
    {.what = {.name = "plan-built-once",
              .thread_count = THREADS,
              .set_up = set_plan_stage,
              .run = run_with_rows,
              .check = check_built_once},
     .guards = {WEFTI_SABOTAGE_PLAN_DEDUPE, WEFTI_SABOTAGE_PLAN_WAKE}},
    {.what = {.name = "plan-thrown-out",
              .thread_count = THREADS,
              .set_up = set_room_for_one,
              .run = run_twice,
              .check = check_thrown_out}},
    {.what = {.name = "plan-build-fails",
              .thread_count = THREADS,
              .set_up = set_with_fault,
              .run = run_with_rows,
              .check = check_after_fault},
     .guards = {WEFTI_SABOTAGE_PLAN_WAKE}},
    {.what = {.name = NULL}},
};
