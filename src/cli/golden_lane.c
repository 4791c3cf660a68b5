/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/golden.h"
#include "cli/trial.h"

enum { SEED = 42, SMALLEST_WEIGHT = 16 };

static void fail(cli_lane *lane, const char *what, const weft_error *error)
{
    snprintf(lane->failure, sizeof(lane->failure), "%.100s: %s", what, error->message);
}

static bool load_tensor(const char *directory, const json_t *item, weft_tensor *tensor,
                        weft_error *error)
{
    weft_tensor loaded = {0};
    const char *file = json_string_value(json_object_get(item, "file"));
    char *path = cli_format("%s/%s", directory, file != NULL ? file : "");
    weft_status status = weft_npy_load(path, &loaded, error);
    free(path);
    if (status != WEFT_OK) {
        return false;
    }
    *tensor = loaded;
    tensor->data = NULL;
    status = cli_tensor_allocate(file, tensor, error);
    if (status == WEFT_OK) {
        memcpy(tensor->data, loaded.data, tensor->size_bytes);
    }
    weft_npy_free(&loaded);
    return status == WEFT_OK;
}

/* Loads the recorded tensors of a case into the model's order. */
static bool load_tensors(const cli_golden_entry *entry, const json_t *items,
                         const weft_model *model, bool inputs, weft_tensor *tensors,
                         weft_error *error)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        int32_t index = name == NULL ? -1
                        : inputs     ? weft_model_find_input(model, name)
                                     : weft_model_find_output(model, name);
        if (index < 0) {
            snprintf(error->message, sizeof(error->message), "has no %s '%s'",
                     inputs ? "input" : "output", name != NULL ? name : "");
            return false;
        }
        if (!load_tensor(entry->directory, item, &tensors[index], error)) {
            return false;
        }
    }
    return true;
}

/* Gives every larger weight new numbers of the same size, keyed by the thread. */
static bool vary_weights(weft_graph *graph, weft_random_key key, weft_error *error)
{
    const char *name = NULL;
    weft_tensor tensor;
    size_t count = weft_graph_initializer_count(graph);
    for (size_t i = 0; i < count; i++) {
        if (!weft_graph_get_initializer(graph, i, &name, &tensor) ||
            tensor.type != WEFT_TYPE_F32) {
            continue;
        }
        const float *old = tensor.data;
        if (cli_tensor_allocate(name, &tensor, error) != WEFT_OK) {
            return false;
        }
        size_t value_count = tensor.size_bytes / sizeof(float);
        float *values = tensor.data;
        key.iteration = UINT32_MAX - (uint32_t)i;
        weft_random_fill_uniform(&key, values, value_count);
        for (size_t k = 0; k < value_count; k++) {
            values[k] = old[k] * (0.75f + 0.5f * values[k]);
        }
        weft_status status = WEFT_OK;
        if (value_count >= SMALLEST_WEIGHT) {
            status = weft_graph_replace_initializer(graph, name, &tensor, error);
        }
        free(values);
        if (status != WEFT_OK) {
            return false;
        }
    }
    return true;
}

static bool load_model(cli_lane *lane, weft_device *device, const char *path,
                       const weft_random_key *own_weights, weft_model **model)
{
    weft_graph *graph = NULL;
    weft_error error = {0};
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.precision = lane->precision;
    bool loaded = weft_graph_load_onnx(path, NULL, &graph, &error) == WEFT_OK &&
                  (own_weights == NULL || vary_weights(graph, *own_weights, &error)) &&
                  weft_model_create(device, graph, &params, model, &error) == WEFT_OK;
    weft_graph_release(graph);
    if (!loaded) {
        fail(lane, path, &error);
    }
    return loaded;
}

static void vary_input(weft_tensor *tensor, const weft_random_key *key)
{
    if (tensor->type != WEFT_TYPE_F32) {
        return;
    }
    size_t count = tensor->size_bytes / sizeof(float);
    float *values = tensor->data;
    float *factors = cli_allocate(count, sizeof(*factors));
    weft_random_fill_uniform(key, factors, count);
    for (size_t i = 0; i < count; i++) {
        values[i] *= 0.75f + 0.5f * factors[i];
    }
    free(factors);
}

/* A recorded case twice: as it was, and with weights and inputs of this thread. */
static bool load_case(cli_lane *lane, const json_t *json, cli_case pair[2],
                      weft_random_key key)
{
    const cli_golden_entry *entry = lane->row->golden;
    weft_error error = {0};
    for (int i = 0; i < 2; i++) {
        cli_case *request = &pair[i];
        cli_case_init(request, lane->models[i]);
        if (!load_tensors(entry, json_object_get(json, "inputs"), request->model, true,
                          request->inputs, &error) ||
            (i == 0 &&
             !load_tensors(entry, json_object_get(json, "outputs"), request->model,
                           false, request->recorded, &error))) {
            fail(lane, lane->row->name, &error);
            return false;
        }
        for (size_t k = 0; i == 1 && k < request->input_count; k++) {
            key.iteration = (uint32_t)k;
            vary_input(&request->inputs[k], &key);
        }
    }
    return true;
}

void cli_lane_load_golden(cli_lane *lane, weft_device *device, int32_t thread)
{
    const cli_golden_entry *entry = lane->row->golden;
    weft_random_key key = {SEED, lane->row->stream, (uint32_t)thread, 0};
    const json_t *models = json_object_get(entry->json, "models");
    const json_t *cases = json_object_get(entry->json, "cases");
    const json_t *model =
        json_array_get(models, (size_t)thread % json_array_size(models));
    const char *file = json_string_value(json_object_get(model, "file"));
    size_t case_count =
        (size_t)json_integer_value(json_object_get(model, "case_count"));
    char *path = cli_format("%s/%s", entry->directory, file != NULL ? file : "");
    bool loaded = load_model(lane, device, path, NULL, &lane->models[0]) &&
                  load_model(lane, device, path, &key, &lane->models[1]);
    free(path);
    if (!loaded) {
        return;
    }
    lane->cases = cli_allocate(2 * case_count, sizeof(*lane->cases));
    lane->case_count = (int32_t)(2 * case_count);
    for (size_t i = 0; loaded && i < case_count; i++) {
        key.stream += 1000;
        loaded = load_case(lane, json_array_get(cases, i), &lane->cases[2 * i], key);
    }
}

static void judge_output(cli_lane *lane, const weft_tensor *answer,
                         const weft_tensor *recorded, size_t index)
{
    size_t count = recorded->size_bytes / weft_type_size(recorded->type);
    if (answer->type != recorded->type || answer->size_bytes != recorded->size_bytes) {
        snprintf(lane->failure, sizeof(lane->failure),
                 "output %zu is not of the recorded type and shape", index);
    } else if (answer->type == WEFT_TYPE_F32) {
        cli_judge_f32(lane, answer->data, recorded->data, (int64_t)count);
    } else if (memcmp(answer->data, recorded->data, recorded->size_bytes) != 0) {
        lane->judgement.wrong_count++;
    }
}

void cli_lane_judge_golden(cli_lane *lane)
{
    for (int32_t i = 0; i < lane->case_count; i += 2) {
        const cli_case *request = &lane->cases[i];
        for (size_t k = 0; k < request->output_count; k++) {
            if (request->recorded[k].data != NULL) {
                judge_output(lane, &request->expected[k], &request->recorded[k], k);
            }
        }
    }
}
