/* SPDX-License-Identifier: Apache-2.0 */
/* Spoils the fuzz targets' seed models in seeded ways and takes what can still be
 * read all the way: a model is made of it and run. Any status may come out, with
 * words; nothing may crash, hang or leak. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/crew.h"

enum { MAX_TENSORS = 16, MAX_BYTES = 4096, ROUNDS = 10000 };
static const size_t largest_bytes = 1 << 20;

static weft_device *device;

static size_t read_seed(const char *name, uint8_t bytes[MAX_BYTES])
{
    char path[512];
    snprintf(path, sizeof path, WEFT_SOURCE_DIR "/tests/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, MAX_BYTES, file);
    fclose(file);
    assert_in_range(size, 1, MAX_BYTES - 1);
    return size;
}

/* Shapes with 2 for each size that may vary; false when the model is too large to be
 * of interest. */
static bool make_inputs(const weft_model *model, weft_tensor *inputs)
{
    for (size_t i = 0; i < weft_model_input_count(model); i++) {
        weft_value_info info;
        weft_tensor *tensor = &inputs[i];
        assert_true(weft_model_get_input(model, i, &info));
        *tensor = (weft_tensor){.type = info.type, .rank = info.rank};
        tensor->rank = info.rank < 0 ? 1 : info.rank;
        for (int32_t j = 0; j < tensor->rank; j++) {
            tensor->dims[j] = info.rank < 0 || info.dims[j] < 0 ? 2 : info.dims[j];
        }
        if (weft_tensor_measure(tensor, NULL, &tensor->size_bytes, NULL) != WEFT_OK ||
            tensor->size_bytes > largest_bytes) {
            return false;
        }
        tensor->data = calloc(1, tensor->size_bytes + 1);
    }
    return true;
}

static weft_status run(weft_model *model, weft_tensor *inputs, weft_tensor *outputs,
                       weft_error *error)
{
    weft_io io = {inputs, weft_model_input_count(model), outputs,
                  weft_model_output_count(model)};
    weft_status status = weft_model_infer_outputs(model, &io, error);
    for (size_t i = 0; i < io.output_count && status == WEFT_OK; i++) {
        if (outputs[i].size_bytes > largest_bytes) {
            return WEFT_OK;
        }
        outputs[i].data = calloc(1, outputs[i].size_bytes + 1);
    }
    return status == WEFT_OK ? weft_run(model, &io, NULL, error) : status;
}

static weft_status make_and_run(weft_graph *graph, weft_error *error)
{
    weft_model *model = NULL;
    weft_tensor inputs[MAX_TENSORS] = {{0}}, outputs[MAX_TENSORS] = {{0}};
    weft_status status = weft_model_create(device, graph, NULL, &model, error);
    if (status != WEFT_OK) {
        assert_null(model);
        return status;
    }
    if (weft_model_input_count(model) <= MAX_TENSORS &&
        weft_model_output_count(model) <= MAX_TENSORS && make_inputs(model, inputs)) {
        status = run(model, inputs, outputs, error);
    }
    for (size_t i = 0; i < MAX_TENSORS; i++) {
        free(inputs[i].data);
        free(outputs[i].data);
    }
    weft_model_release(model);
    return status;
}

static weft_status take_all_the_way(const uint8_t *bytes, size_t size)
{
    weft_graph *graph = NULL;
    weft_error error = {0};
    weft_status status = weft_graph_parse_onnx(bytes, size, NULL, &graph, &error);
    if (status == WEFT_OK) {
        status = make_and_run(graph, &error);
    }
    weft_graph_release(graph);
    if (status != WEFT_OK) {
        assert_int_equal(error.status, status);
        assert_true(strlen(error.message) > 10);
        assert_int_not_equal(status, WEFT_INTERNAL);
    }
    return status;
}

static void spoilt_models_end_with_a_status(void **state)
{
    const char *name = *state;
    uint8_t seed[MAX_BYTES], bytes[MAX_BYTES];
    size_t size = read_seed(name, seed);
    uint64_t random = 42;
    uint32_t ran = 0, rounds = ROUNDS / crew_divisor();
    for (uint32_t round = 0; round < rounds; round++) {
        memcpy(bytes, seed, size);
        for (uint32_t i = 0; i < 1 + round % 4; i++) {
            uint32_t at = crew_random(&random) % (uint32_t)size;
            bytes[at] = round % 2
                            ? (uint8_t)crew_random(&random)
                            : bytes[at] ^ (uint8_t)(1u << crew_random(&random) % 8);
        }
        ran += take_all_the_way(bytes, size) == WEFT_OK;
    }
    print_message("%s: %u of %u ran\n", name, ran, rounds);
}

static int open_device(void **state)
{
    (void)state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    params.memory_cap_bytes = 8 << 20;
    return weft_device_open("cpu", &params, &device, NULL) == WEFT_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    weft_device_release(device);
    return 0;
}

int main(void)
{
#define SPOILT(file)                                                                   \
    {                                                                                  \
        file, spoilt_models_end_with_a_status, NULL, NULL, (void *)(uintptr_t)file     \
    }
    const struct CMUnitTest tests[] = {
        SPOILT("corpus/onnx/attention.onnx"),
        SPOILT("corpus/onnx/attributes.onnx"),
        SPOILT("corpus/onnx/convolution.onnx"),
        SPOILT("corpus/onnx/raw.onnx"),
        SPOILT("corpus/onnx/typed.onnx"),
        SPOILT("golden/t5_gelu_small/script17/model.onnx"),
        SPOILT("golden/t1_conv1d_inputs/dynamo/model.onnx"),
        SPOILT("golden/t1_layernorm_inputs/dynamo/model.onnx"),
        SPOILT("golden/t5_matmul_dynamic/dynamo/model.onnx"),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
