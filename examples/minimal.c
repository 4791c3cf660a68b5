/* SPDX-License-Identifier: Apache-2.0 */
/* Loads an ONNX model, runs it once on random inputs and prints its outputs:
 *     minimal MODEL.onnx */
#include <stdio.h>
#include <stdlib.h>

#include <weft/weft.h>

enum { MOST_VALUES = 16 };

/* Says what went wrong in a word for the program and a sentence for the reader. */
static int report(const weft_error *error)
{
    fprintf(stderr, "minimal: %s: %s\n", weft_status_name(error->status),
            error->message);
    return 1;
}

/* Makes an input: N(0,1) for f32, zeros for other types; dynamic dimensions are 1. */
static weft_status make_input(const weft_value_info *info, uint32_t index,
                              weft_tensor *tensor, weft_error *error)
{
    *tensor = (weft_tensor){.type = info->type, .rank = info->rank};
    for (int32_t i = 0; i < info->rank; i++) {
        tensor->dims[i] = info->dims[i] == WEFT_DIM_DYNAMIC ? 1 : info->dims[i];
    }
    int64_t count = 0;
    weft_status status =
        weft_tensor_measure(tensor, &count, &tensor->size_bytes, error);
    if (status != WEFT_OK) {
        return status;
    }
    tensor->data = calloc(1, tensor->size_bytes + 1);
    if (tensor->data && tensor->type == WEFT_TYPE_F32) {
        const weft_random_key key = {.seed = 1, .stream = index};
        weft_random_fill_normal(&key, tensor->data, (size_t)count);
    }
    return WEFT_OK;
}

static void print_output(const char *name, const weft_tensor *tensor)
{
    printf("%s: %s [", name, weft_type_name(tensor->type));
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        printf(i ? ",%lld" : "%lld", (long long)tensor->dims[i]);
        count *= tensor->dims[i];
    }
    printf("]");
    for (int64_t i = 0; i < count && i < 4 && tensor->type == WEFT_TYPE_F32; i++) {
        printf(" %g", (double)((const float *)tensor->data)[i]);
    }
    printf("%s\n", count > 4 ? " ..." : "");
}

static weft_status run(weft_model *model, weft_tensor *inputs, weft_tensor *outputs,
                       weft_error *error)
{
    const weft_io io = {.inputs = inputs,
                        .input_count = weft_model_input_count(model),
                        .outputs = outputs,
                        .output_count = weft_model_output_count(model)};
    weft_value_info info;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < io.input_count && status == WEFT_OK; i++) {
        weft_model_get_input(model, i, &info);
        status = make_input(&info, (uint32_t)i, &inputs[i], error);
    }
    if (status == WEFT_OK) { /* the shapes of the outputs for these inputs */
        status = weft_model_infer_outputs(model, &io, error);
    }
    for (size_t i = 0; i < io.output_count && status == WEFT_OK; i++) {
        outputs[i].data = malloc(outputs[i].size_bytes + 1);
    }
    if (status == WEFT_OK) { /* NULL: wait when every context is in use */
        status = weft_run(model, &io, NULL, error);
    }
    for (size_t i = 0; i < io.output_count && status == WEFT_OK; i++) {
        weft_model_get_output(model, i, &info);
        print_output(info.name, &outputs[i]);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "type: minimal MODEL.onnx\n");
        return 2;
    }
    weft_error error = {WEFT_UNSUPPORTED,
                        "too many inputs or outputs for this example"};
    weft_device *device = NULL;
    weft_graph *graph = NULL;
    weft_model *model = NULL;
    weft_tensor inputs[MOST_VALUES] = {{0}};
    weft_tensor outputs[MOST_VALUES] = {{0}};

    weft_status status = weft_device_open("cpu", NULL, &device, &error);
    if (status == WEFT_OK) {
        status = weft_graph_load_onnx(argv[1], NULL, &graph, &error);
    }
    if (status == WEFT_OK) {
        status = weft_model_create(device, graph, NULL, &model, &error);
    }
    if (status == WEFT_OK && (weft_model_input_count(model) > MOST_VALUES ||
                              weft_model_output_count(model) > MOST_VALUES)) {
        status = error.status;
    }
    if (status == WEFT_OK) {
        status = run(model, inputs, outputs, &error);
    }
    for (int i = 0; i < MOST_VALUES; i++) {
        free(inputs[i].data);
        free(outputs[i].data);
    }
    weft_model_release(model);
    weft_graph_release(graph);
    weft_device_release(device);
    return status == WEFT_OK ? 0 : report(&error);
}
