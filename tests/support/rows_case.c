/* SPDX-License-Identifier: Apache-2.0 */
#include "support/rows_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

size_t rows_case_open_devices(weft_device *devices[ROWS_CASE_DEVICES])
{
    static const char *const isas[ROWS_CASE_DEVICES] = {NULL,   "reference", "sse2",
                                                        "avx2", "avx512",    "neon"};
    size_t count = 0;
    for (size_t i = 0; i < ROWS_CASE_DEVICES; i++) {
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        params.isa = isas[i];
        if (weft_device_open("cpu", &params, &devices[count], NULL) == WEFT_OK) {
            count++;
        }
    }
    return count;
}

static int64_t product(const int64_t *dims, int32_t first, int32_t end)
{
    int64_t count = 1;
    for (int32_t i = first; i < end; i++) {
        count *= dims[i];
    }
    return count;
}

static void allocate(weft_tensor *tensor)
{
    int64_t count = product(tensor->dims, 0, tensor->rank);
    tensor->size_bytes = (size_t)count * weft_type_size(tensor->type);
    tensor->data = malloc(tensor->size_bytes + 1);
    assert_non_null(tensor->data);
    memset(tensor->data, 0xa5, tensor->size_bytes + 1);
}

void rows_case_cut(const weft_tensor *all, int32_t axis, int64_t first, int64_t count,
                   weft_tensor *part)
{
    *part = *all;
    part->dims[axis] = count;
    allocate(part);
    int64_t before = product(all->dims, 0, axis);
    size_t row_bytes =
        (size_t)product(all->dims, axis + 1, all->rank) * weft_type_size(all->type);
    for (int64_t i = 0; i < before; i++) {
        size_t from = (size_t)(i * all->dims[axis] + first) * row_bytes;
        size_t to = (size_t)(i * count) * row_bytes;
        memcpy((char *)part->data + to, (const char *)all->data + from,
               (size_t)count * row_bytes);
    }
}

static void free_all(weft_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(tensors[i].data);
    }
}

static void run(weft_model *model, const weft_tensor *inputs, weft_tensor *outputs)
{
    weft_error error = {0};
    weft_io io = {inputs, weft_model_input_count(model), outputs,
                  weft_model_output_count(model)};
    if (weft_model_infer_outputs(model, &io, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < io.output_count; i++) {
        allocate(&outputs[i]);
    }
    if (weft_run(model, &io, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
}

typedef struct joined_run {
    weft_model *model;
    const weft_tensor *inputs;
    weft_tensor outputs[ROWS_CASE_TENSORS];
    const int32_t *input_axes, *output_axes;
    int64_t rows;
} joined_run;

static bool same_part(const joined_run *joined, int64_t first, int64_t count)
{
    size_t input_count = weft_model_input_count(joined->model);
    size_t output_count = weft_model_output_count(joined->model);
    weft_tensor inputs[ROWS_CASE_TENSORS], outputs[ROWS_CASE_TENSORS];
    for (size_t i = 0; i < input_count; i++) {
        rows_case_cut(&joined->inputs[i], joined->input_axes[i], first, count,
                      &inputs[i]);
    }
    run(joined->model, inputs, outputs);
    bool same = true;
    for (size_t i = 0; i < output_count; i++) {
        const weft_tensor *all = &joined->outputs[i];
        weft_tensor part;
        int32_t axis = joined->output_axes[i];
        int64_t each = all->dims[axis] / joined->rows;
        rows_case_cut(all, axis, first * each, count * each, &part);
        same = same && part.size_bytes == outputs[i].size_bytes &&
               memcmp(part.data, outputs[i].data, part.size_bytes) == 0;
        free(part.data);
    }
    free_all(inputs, input_count);
    free_all(outputs, output_count);
    return same;
}

bool rows_case_same_bits(weft_model *model, const weft_tensor *inputs,
                         const int32_t *input_axes, const int32_t *output_axes)
{
    enum { MOST = 3 };
    joined_run joined = {.model = model,
                         .inputs = inputs,
                         .input_axes = input_axes,
                         .output_axes = output_axes,
                         .rows = inputs[0].dims[input_axes[0]]};
    run(model, inputs, joined.outputs);
    bool same = true;
    for (int64_t count = 1; count <= MOST; count++) {
        for (int64_t first = 0; first + count <= joined.rows; first += count) {
            same = same_part(&joined, first, count) && same;
        }
    }
    free_all(joined.outputs, weft_model_output_count(model));
    return same;
}
