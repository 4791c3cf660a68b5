/* SPDX-License-Identifier: Apache-2.0 */
/* Reads any bytes as an ONNX model, makes models of it and runs them; see
 * tests/fuzz/README.md. */
#include <weft/weft.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICE_COUNT = 2, /* the oracle, and the best kernels of this machine */
    MOST_TENSORS = 16,
    MOST_BYTES = 1 << 16, /* of all inputs, and of each output */
    MEMORY_CAP_BYTES = 1 << 18,
};

static weft_device *devices[DEVICE_COUNT];

/* Inputs and outputs of one run; each device has outputs of its own. */
typedef struct fuzz_call {
    weft_tensor inputs[MOST_TENSORS];
    weft_tensor outputs[DEVICE_COUNT][MOST_TENSORS];
    size_t input_count, output_count;
} fuzz_call;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_onnx: %s\n", what);
        abort();
    }
}

static void open_device(const char *isa, weft_device **device)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.isa = isa;
    params.worker_count = 0;
    params.memory_cap_bytes = MEMORY_CAP_BYTES;
    must(weft_device_open("cpu", &params, device, NULL) == WEFT_OK, "no device");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    open_device("reference", &devices[0]);
    open_device(NULL, &devices[1]);
    return 0;
}

/* Every failure has words, and none is the library's own fault. */
static void check_failure(weft_status status, const weft_error *error)
{
    must(error->status == status, "another status in the error");
    must(strlen(error->message) > 10, "an error without words");
    must(status != WEFT_INTERNAL, error->message);
}

/* Touches all data that the graph lends, so that a wrong size is noticed. */
static void read_initializers(const weft_graph *graph)
{
    const char *name = NULL;
    weft_tensor tensor;
    for (size_t i = 0; weft_graph_get_initializer(graph, i, &name, &tensor); i++) {
        const volatile uint8_t *data = tensor.data;
        size_t size_bytes = 0;
        must(weft_tensor_measure(&tensor, NULL, &size_bytes, NULL) == WEFT_OK,
             "an initializer without a size");
        must(name && *name, "an initializer without a name");
        for (size_t at = 0; at < size_bytes; at += 64) {
            (void)data[at];
        }
        if (size_bytes > 0) {
            (void)data[size_bytes - 1];
        }
    }
}

/* Small numbers, some of them negative, and now and then what is no number. */
static void fill(weft_tensor *tensor)
{
    static const float specials[] = {0.0f, -0.0f, 1e30f, -1e-30f, 1e-42f};
    size_t count = tensor->size_bytes / weft_type_size(tensor->type);
    uint32_t random = 12345;
    for (size_t i = 0; i < count; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t draw = random >> 16;
        double number = (double)(draw % 1000) / 250.0 - 2.0;
        if (tensor->type == WEFT_TYPE_F32) {
            ((float *)tensor->data)[i] =
                draw % 64 == 0 ? specials[draw / 64 % 5] : (float)number;
        } else if (tensor->type == WEFT_TYPE_F64) {
            ((double *)tensor->data)[i] = number;
        } else if (tensor->type == WEFT_TYPE_I64) {
            ((int64_t *)tensor->data)[i] = (int64_t)(draw % 5) - 1;
        } else if (tensor->type == WEFT_TYPE_I32) {
            ((int32_t *)tensor->data)[i] = (int32_t)(draw % 5) - 1;
        } else if (tensor->type == WEFT_TYPE_F16 || tensor->type == WEFT_TYPE_BF16) {
            ((uint16_t *)tensor->data)[i] = draw & 0xbfff; /* finite */
        } else {
            uint32_t most = tensor->type == WEFT_TYPE_BOOL ? 1 : UINT8_MAX;
            ((uint8_t *)tensor->data)[i] = (uint8_t)(draw & most);
        }
    }
}

/* Inputs with 2 for each size that may vary; false when they are too large to be of
 * interest. */
static bool make_inputs(const weft_model *model, fuzz_call *call)
{
    size_t total_bytes = 0;
    call->input_count = weft_model_input_count(model);
    call->output_count = weft_model_output_count(model);
    if (call->input_count > MOST_TENSORS || call->output_count > MOST_TENSORS) {
        return false;
    }
    for (size_t i = 0; i < call->input_count; i++) {
        weft_value_info info;
        weft_tensor *tensor = &call->inputs[i];
        must(weft_model_get_input(model, i, &info), "an input is missing");
        *tensor = (weft_tensor){.type = info.type, .rank = info.rank};
        tensor->rank = info.rank < 0 ? 1 : info.rank;
        for (int32_t j = 0; j < tensor->rank; j++) {
            tensor->dims[j] = info.rank < 0 || info.dims[j] < 0 ? 2 : info.dims[j];
        }
        if (weft_tensor_measure(tensor, NULL, &tensor->size_bytes, NULL) != WEFT_OK ||
            tensor->size_bytes > MOST_BYTES - total_bytes) {
            return false;
        }
        total_bytes += tensor->size_bytes;
        tensor->data = calloc(1, tensor->size_bytes);
        fill(tensor);
    }
    return true;
}

/* Blocks of exactly the size that was told, filled with what must not stay. */
static bool make_outputs(fuzz_call *call, weft_tensor *outputs)
{
    for (size_t i = 0; i < call->output_count; i++) {
        outputs[i].data = NULL;
    }
    for (size_t i = 0; i < call->output_count; i++) {
        if (outputs[i].rank < 0) {
            continue; /* the library allocates it */
        }
        if (outputs[i].size_bytes > MOST_BYTES) {
            return false;
        }
        outputs[i].data = malloc(outputs[i].size_bytes);
        memset(outputs[i].data, 0xa5, outputs[i].size_bytes);
    }
    return true;
}

/* Runs, and copies what the library has allocated into blocks of exactly its size. */
static weft_status run_model(weft_model *model, weft_io *io, weft_error *error)
{
    bool open[MOST_TENSORS];
    for (size_t i = 0; i < io->output_count; i++) {
        open[i] = io->outputs[i].rank < 0;
    }
    weft_status status = weft_run(model, io, NULL, error);
    for (size_t i = 0; i < io->output_count; i++) {
        weft_tensor given = io->outputs[i];
        if (open[i] && given.data != NULL) {
            io->outputs[i].data = malloc(given.size_bytes);
            memcpy(io->outputs[i].data, given.data, given.size_bytes);
            weft_output_free(&given);
        }
    }
    return status;
}

/* True when the outputs hold answers. */
static bool run(weft_graph *graph, int at, fuzz_call *call)
{
    weft_error error = {0};
    weft_model *model = NULL;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_iterations = 200;
    weft_status status = weft_model_create(devices[at], graph, &params, &model, &error);
    bool small = false;
    if (status == WEFT_OK && (at > 0 || make_inputs(model, call))) {
        weft_io io = {call->inputs, call->input_count, call->outputs[at],
                      call->output_count};
        status = weft_model_infer_outputs(model, &io, &error);
        small = status == WEFT_OK && make_outputs(call, call->outputs[at]);
        status = small ? run_model(model, &io, &error) : status;
    }
    if (status != WEFT_OK) {
        check_failure(status, &error);
    }
    weft_model_release(model);
    return small && status == WEFT_OK;
}

/* The bits do not depend on the kernels. */
static void compare(const fuzz_call *call)
{
    for (size_t i = 0; i < call->output_count; i++) {
        const weft_tensor *a = &call->outputs[0][i], *b = &call->outputs[1][i];
        must(a->type == b->type && a->size_bytes == b->size_bytes, "other shapes");
        must(memcmp(a->data, b->data, a->size_bytes) == 0, "other bits");
    }
}

static void free_tensors(weft_tensor *tensors)
{
    for (size_t i = 0; i < MOST_TENSORS; i++) {
        free(tensors[i].data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    weft_graph *graph = NULL;
    weft_error error = {0};
    weft_status status = weft_graph_parse_onnx(bytes, size, NULL, &graph, &error);
    if (status != WEFT_OK) {
        check_failure(status, &error);
        return 0;
    }
    read_initializers(graph);
    fuzz_call call;
    memset(&call, 0, sizeof(call));
    if (run(graph, 0, &call) && run(graph, 1, &call)) {
        compare(&call);
    }
    free_tensors(call.inputs);
    free_tensors(call.outputs[0]);
    free_tensors(call.outputs[1]);
    weft_graph_release(graph);
    return 0;
}
