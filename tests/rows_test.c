/* SPDX-License-Identifier: Apache-2.0 */
/* Every model of tests/golden with a dynamic dimension that may be a batch: where the
 * graph says that its rows stay apart, they are joined, run alone and in groups on each
 * instruction set, and compared bit by bit. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include <jansson.h>

#include "graph/rows.h"
#include "support/rows_case.h"

#define GOLDEN WEFT_SOURCE_DIR "/tests/golden/"

enum { MOST_MODELS = 400 };

/* 7 is no other dimension of the small models; 4, 8 and 16 are. */
static const int64_t sizes[] = {4, 7, 16};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

static weft_device *devices[ROWS_CASE_DEVICES];
static size_t device_count;

typedef struct golden {
    char name[80];
    const json_t *row, *entry;
    bool batched; /* has a batch dimension; found by its test */
} golden;

static weft_model *load(const golden *g, weft_device *device, bool no_fusion)
{
    char path[512];
    weft_error error = {0};
    weft_graph *graph = NULL;
    weft_model *model = NULL;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_fusion = no_fusion;
    snprintf(path, sizeof path, GOLDEN "%s",
             json_string_value(json_object_get(g->entry, "file")));
    if (weft_graph_load_onnx(path, NULL, &graph, &error) != WEFT_OK ||
        weft_model_create(device, graph, &params, &model, &error) != WEFT_OK) {
        fail_msg("%s: %s", g->name, error.message);
    }
    weft_graph_release(graph);
    return model;
}

/* Inputs of so many rows: f32 random, others drawn from what was recorded. */
static void make_inputs(const golden *g, size_t count, const int32_t *axes,
                        int64_t rows, weft_tensor *inputs)
{
    const json_t *recorded =
        json_object_get(json_array_get(json_object_get(g->row, "cases"), 0), "inputs");
    for (size_t i = 0; i < count; i++) {
        char path[512];
        weft_error error = {0};
        weft_tensor one;
        snprintf(
            path, sizeof path, GOLDEN "%s",
            json_string_value(json_object_get(json_array_get(recorded, i), "file")));
        if (weft_npy_load(path, &one, &error) != WEFT_OK) {
            fail_msg("%s", error.message);
        }
        size_t size = weft_type_size(one.type), from = one.size_bytes / size;
        inputs[i] = one;
        inputs[i].dims[axes[i]] = rows;
        inputs[i].size_bytes =
            one.size_bytes / (size_t)one.dims[axes[i]] * (size_t)rows;
        size_t elements = inputs[i].size_bytes / size;
        inputs[i].data = malloc(inputs[i].size_bytes);
        uint32_t *bits = malloc(elements * sizeof *bits);
        weft_random_key key = {.seed = 3, .stream = (uint32_t)i};
        weft_random_fill_u32(&key, bits, elements);
        for (size_t j = 0; j < elements; j++) {
            memcpy((char *)inputs[i].data + j * size,
                   (const char *)one.data + bits[j] % from * size, size);
        }
        if (one.type == WEFT_TYPE_F32) {
            weft_random_fill_normal(&key, inputs[i].data, elements);
        }
        free(bits);
        weft_npy_free(&one);
    }
}

/* What mixes its rows: a factor of arange(batch), a sum over the dimension that both
 * inputs have. */
static bool mixes(const golden *g)
{
    static const char *const names[] = {"n_shapes/", "t5_matmul_dynamic/"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strncmp(g->name, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void run_rows(const golden *g, weft_model *model, const int32_t *axes,
                     int64_t rows)
{
    size_t count = weft_model_input_count(model);
    int32_t output_axes[ROWS_CASE_TENSORS];
    weft_tensor inputs[ROWS_CASE_TENSORS];
    weft_error error = {0};
    weft_device_info info;
    weft_device_get_info(weft_model_device(model), &info);
    make_inputs(g, count, axes, rows, inputs);
    weft_io shapes = {.inputs = inputs, .input_count = count};
    weft_status status =
        wefti_model_check_rows(model, &shapes, axes, output_axes, &error);
    if (status != (mixes(g) ? WEFT_UNSUPPORTED : WEFT_OK)) {
        fail_msg("%s, %d rows: %s, '%s'", g->name, (int)rows, weft_status_name(status),
                 error.message);
    }
    if (status == WEFT_OK && !rows_case_same_bits(model, inputs, axes, output_axes)) {
        fail_msg("%s, %s: other bits in a batch of %d", g->name, info.isa, (int)rows);
    }
    for (size_t j = 0; j < count; j++) {
        free(inputs[j].data);
    }
}

/* All sizes with the kernels that a user gets, one with the others. */
static void joined_rows_have_their_own_bits(void **state)
{
    golden *g = *state;
    int32_t axes[ROWS_CASE_TENSORS];
    for (size_t i = 0; i < device_count; i++) {
        weft_model *model = load(g, devices[i], false);
        g->batched = wefti_model_batch_axes(model, NULL, axes, NULL) == WEFT_OK;
        for (size_t j = 0; g->batched && j < (i == 0 ? SIZE_COUNT : 1); j++) {
            run_rows(g, model, axes, sizes[j]);
        }
        weft_model_release(model);
    }
    if (g->batched) {
        weft_model *model = load(g, devices[0], true);
        run_rows(g, model, axes, sizes[0]);
        weft_model_release(model);
    }
}

/* So that the test notices when the models or their dimensions are no longer found. */
static void most_exports_with_a_batch_were_looked_at(void **state)
{
    enum { LEAST = 50 };
    const golden *models = *state;
    int batched = 0;
    for (size_t i = 0; i < MOST_MODELS; i++) {
        batched += models[i].batched;
    }
    assert_true(batched >= LEAST);
}

static int open_devices(void **state)
{
    (void)state;
    device_count = rows_case_open_devices(devices);
    return device_count >= 2 ? 0 : -1;
}

static int close_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < device_count; i++) {
        weft_device_release(devices[i]);
    }
    return 0;
}

int main(void)
{
    static golden models[MOST_MODELS];
    static struct CMUnitTest tests[MOST_MODELS + 1];
    json_t *index = json_load_file(GOLDEN "index.json", 0, NULL);
    const json_t *rows = json_object_get(index, "rows");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *entries = json_object_get(row, "models");
        for (size_t j = 0; j < json_array_size(entries) && count < MOST_MODELS; j++) {
            golden *g = &models[count];
            g->row = row;
            g->entry = json_array_get(entries, j);
            snprintf(g->name, sizeof g->name, "%s/%s",
                     json_string_value(json_object_get(row, "row")),
                     json_string_value(json_object_get(g->entry, "exporter")));
            tests[count++] =
                (struct CMUnitTest){.name = g->name,
                                    .test_func = joined_rows_have_their_own_bits,
                                    .initial_state = g};
        }
    }
    tests[count] =
        (struct CMUnitTest){.name = "most_exports_with_a_batch_were_looked_at",
                            .test_func = most_exports_with_a_batch_were_looked_at,
                            .initial_state = models};
    int failed =
        _cmocka_run_group_tests("rows", tests, count + 1, open_devices, close_devices);
    json_decref(index);
    return failed;
}
