/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/soak.h"

/* Models that no table has: one with buckets for a length and a mask that some calls
 * leave out, and one in stages, for what it computes depends on how many values are
 * not 0. Each lane has its own, with calls of several sizes. */

enum { OPSET = 20, FEATURES = 16, CASES = 6, MOST_LENGTH = 40, MOST_ROWS = 3 };

static const cli_row odd_row = {
    .name = "lengths and stages", .title = "", .stream = 77};

typedef struct node {
    const char *op_type, *inputs[2], *output;
    const weft_attribute *attribute;
} node;

static weft_status add_input(weft_graph *graph, const char *name, int32_t rank,
                             int64_t last, weft_error *error)
{
    weft_value_info info = {.name = name,
                            .type = WEFT_TYPE_F32,
                            .rank = rank,
                            .dims = {WEFT_DIM_DYNAMIC, WEFT_DIM_DYNAMIC},
                            .dim_names = {"batch", "length"}};
    if (last > 0) {
        info.dims[rank - 1] = last;
        info.dim_names[rank - 1] = NULL;
    }
    return weft_graph_add_input(graph, &info, error);
}

static weft_status add_nodes(weft_graph *graph, const node *nodes, weft_error *error)
{
    weft_status status = WEFT_OK;
    for (; status == WEFT_OK && nodes->op_type != NULL; nodes++) {
        const weft_node added = {.op_type = nodes->op_type,
                                 .inputs = nodes->inputs,
                                 .input_count = nodes->inputs[1] != NULL ? 2 : 1,
                                 .outputs = &nodes->output,
                                 .output_count = 1,
                                 .attributes = nodes->attribute,
                                 .attribute_count = nodes->attribute != NULL ? 1 : 0};
        status = weft_graph_add_node(graph, &added, error);
    }
    return status == WEFT_OK ? weft_graph_add_output(graph, "y", error) : status;
}

static weft_random_key key_of(int32_t lane, int32_t number)
{
    return (weft_random_key){42, odd_row.stream, (uint32_t)lane, (uint32_t)number};
}

/* y = relu(x w) m, x of [batch, length, FEATURES], m of [batch, length, 1]. */
static weft_status build_lengths(weft_graph *graph, int32_t lane, weft_error *error)
{
    static const node nodes[] = {{"MatMul", {"x", "w"}, "xw", NULL},
                                 {"Relu", {"xw"}, "r", NULL},
                                 {"Mul", {"r", "m"}, "y", NULL},
                                 {NULL, {NULL}, NULL, NULL}};
    float w[FEATURES * FEATURES];
    weft_random_key key = key_of(lane, 0);
    const weft_tensor weights = {
        .data = w, .type = WEFT_TYPE_F32, .rank = 2, .dims = {FEATURES, FEATURES}};
    weft_random_fill_normal(&key, w, FEATURES * FEATURES);
    weft_status status = add_input(graph, "x", 3, FEATURES, error);
    status = status == WEFT_OK ? add_input(graph, "m", 3, 1, error) : status;
    status = status == WEFT_OK ? weft_graph_add_initializer(graph, "w", &weights, error)
                               : status;
    return status == WEFT_OK ? add_nodes(graph, nodes, error) : status;
}

/* y = x plus the sum of all places where x is not 0. */
static weft_status build_stages(weft_graph *graph, weft_error *error)
{
    static const weft_attribute to = {
        .name = "to", .kind = WEFT_ATTRIBUTE_INT, .i = 1 /* FLOAT in ONNX */};
    static const weft_attribute no_dims = {
        .name = "keepdims", .kind = WEFT_ATTRIBUTE_INT, .i = 0};
    static const node nodes[] = {
        {"Relu", {"x"}, "r", NULL},     {"NonZero", {"r"}, "at", NULL},
        {"Cast", {"at"}, "f", &to},     {"ReduceSum", {"f"}, "s", &no_dims},
        {"Add", {"r", "s"}, "y", NULL}, {NULL, {NULL}, NULL, NULL}};
    weft_status status = add_input(graph, "x", 2, FEATURES, error);
    return status == WEFT_OK ? add_nodes(graph, nodes, error) : status;
}

static bool has_lengths(int32_t lane)
{
    return lane % 2 == 0;
}

static weft_status make_model(weft_device *device, int32_t lane, weft_model **model,
                              weft_error *error)
{
    weft_bucket_params bucket = WEFT_BUCKET_PARAMS_INIT;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    weft_graph *graph = NULL;
    weft_status status = weft_graph_create(OPSET, &graph, error);
    bucket.dimension = "length";
    bucket.rule = WEFT_BUCKET_DOUBLE;
    bucket.first = 4;
    bucket.last = 32; /* longer ones are planned exactly */
    bucket.mask_input = "m";
    if (status == WEFT_OK) {
        params.buckets = has_lengths(lane) ? &bucket : NULL;
        params.bucket_count = has_lengths(lane) ? 1 : 0;
        status = has_lengths(lane) ? build_lengths(graph, lane, error)
                                   : build_stages(graph, error);
    }
    if (status == WEFT_OK) {
        status = weft_model_create(device, graph, &params, model, error);
    }
    weft_graph_release(graph);
    return status;
}

static weft_status make_case(cli_case *request, soak_dice *dice, int32_t lane,
                             int32_t number, weft_error *error)
{
    weft_random_key key = key_of(lane, 1 + number);
    int64_t rows = 1 + soak_draw(dice, MOST_ROWS);
    int64_t length = 1 + soak_draw(dice, MOST_LENGTH);
    weft_tensor *x = &request->inputs[0];
    *x = (weft_tensor){
        .type = WEFT_TYPE_F32, .rank = 3, .dims = {rows, length, FEATURES}};
    if (!has_lengths(lane)) {
        *x = (weft_tensor){.type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, FEATURES}};
    }
    weft_status status = cli_tensor_allocate("x", x, error);
    if (status == WEFT_OK) {
        weft_random_fill_normal(&key, x->data, x->size_bytes / sizeof(float));
    }
    if (status == WEFT_OK && has_lengths(lane) && number % 2 == 0) {
        weft_tensor *mask = &request->inputs[1]; /* else left out */
        *mask =
            (weft_tensor){.type = WEFT_TYPE_F32, .rank = 3, .dims = {rows, length, 1}};
        status = cli_tensor_allocate("m", mask, error);
        for (int64_t i = 0; status == WEFT_OK && i < rows * length; i++) {
            ((float *)mask->data)[i] = (float)soak_draw(dice, 2);
        }
    }
    return status == WEFT_OK ? cli_case_run_alone(request, error) : status;
}

static weft_status fill_lane(cli_lane *lane, weft_device *device, soak_dice *dice,
                             int32_t index, weft_error *error)
{
    lane->row = &odd_row;
    weft_status status = make_model(device, index, &lane->models[0], error);
    if (status != WEFT_OK) {
        return status;
    }
    lane->cases = cli_allocate(CASES, sizeof(*lane->cases));
    lane->case_count = CASES;
    for (int32_t i = 0; i < CASES; i++) {
        cli_case_init(&lane->cases[i], lane->models[0]);
    }
    for (int32_t i = 0; status == WEFT_OK && i < CASES; i++) {
        status = make_case(&lane->cases[i], dice, index, i, error);
    }
    return status;
}

cli_trial *soak_make_odd_trial(weft_device *device, soak_dice *dice)
{
    weft_error error = {0};
    cli_trial *trial = cli_allocate(1, sizeof(*trial));
    trial->row = &odd_row;
    trial->device = weft_device_retain(device);
    trial->lane_count = SOAK_LANES;
    trial->lanes = cli_allocate(SOAK_LANES, sizeof(*trial->lanes));
    for (int32_t i = 0; i < SOAK_LANES && trial->failure[0] == '\0'; i++) {
        if (fill_lane(&trial->lanes[i], device, dice, i, &error) != WEFT_OK) {
            snprintf(trial->failure, sizeof(trial->failure), "%s", error.message);
        }
    }
    return trial;
}
