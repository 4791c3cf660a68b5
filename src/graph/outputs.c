/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/outputs.h"

#include <string.h>

#include "base/memory.h"
#include "base/tensor.h"
#include "graph/check.h"
#include "ops/check.h"

weft_status wefti_output_allocate(weft_tensor *tensor, weft_error *error)
{
    size_t size_bytes;
    WEFTI_TRY(weft_tensor_measure(tensor, NULL, &size_bytes, error));
    void *data = wefti_malloc_aligned(size_bytes == 0 ? 1 : size_bytes);
    if (data == NULL) {
        return wefti_error_memory(error, "an output");
    }
    tensor->data = data;
    tensor->size_bytes = size_bytes;
    return WEFT_OK;
}

void weft_output_free(weft_tensor *output)
{
    if (output != NULL) {
        wefti_free(output->data);
        output->data = NULL;
        output->size_bytes = 0;
    }
}

static size_t bytes_of(const weft_tensor *tensor)
{
    size_t size_bytes = 0;
    if (tensor->data == NULL || tensor->size_bytes > 0 || tensor->rank < 0 ||
        weft_tensor_measure(tensor, NULL, &size_bytes, NULL) != WEFT_OK) {
        return tensor->data == NULL ? 0 : tensor->size_bytes;
    }
    return size_bytes;
}

static bool overlap(const weft_tensor *a, const weft_tensor *b)
{
    uintptr_t x = (uintptr_t)a->data, y = (uintptr_t)b->data;
    return bytes_of(a) > 0 && bytes_of(b) > 0 && x < y + bytes_of(b) &&
           y < x + bytes_of(a);
}

static weft_status check_output(const weft_model *model, const weft_io *io,
                                size_t index, weft_error *error)
{
    const weft_tensor *output = &io->outputs[index];
    const char *name = model->outputs[index].name;
    if (output->rank < -1 || output->rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "output '%s' has rank %d; 0 to %d are allowed, -1 for any",
                           name, (int)output->rank, WEFT_MAX_RANK);
    }
    WEFTI_TRY(wefti_tensor_check_host(output, "output", name, error));
    if (output->rank >= 0) {
        size_t size_bytes;
        weft_status status = weft_tensor_measure(output, NULL, &size_bytes, error);
        if (status != WEFT_OK) {
            return wefti_error_prefix(error, status, "output '%s'", name);
        }
        if (output->size_bytes != 0 && output->size_bytes < size_bytes) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "output '%s' has room for %zu bytes; its shape needs "
                               "%zu",
                               name, output->size_bytes, size_bytes);
        }
        WEFTI_TRY(wefti_tensor_check_placement(output, "output", name, error));
    } else if (output->size_bytes > 0 && output->data == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "output '%s' has no data",
                           name);
    }
    for (size_t i = 0; i < io->input_count + index; i++) {
        bool is_input = i < io->input_count;
        const weft_tensor *other =
            is_input ? &io->inputs[i] : &io->outputs[i - io->input_count];
        if (overlap(output, other)) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "output '%s' overlaps %s '%s'", name,
                               is_input ? "input" : "output",
                               is_input ? model->inputs[i].name
                                        : model->outputs[i - io->input_count].name);
        }
    }
    return WEFT_OK;
}

weft_status wefti_outputs_check(const weft_model *model, const weft_io *io,
                                weft_error *error)
{
    WEFTI_TRY(wefti_model_check_inputs(model, io, error));
    for (size_t i = 0; i < io->input_count; i++) {
        size_t size_bytes;
        const weft_tensor *input = &io->inputs[i];
        const char *name = model->inputs[i].name;
        WEFTI_TRY(wefti_tensor_check_placement(input, "input", name, error));
        WEFTI_TRY(weft_tensor_measure(input, NULL, &size_bytes, error));
        if (input->size_bytes != 0 && input->size_bytes < size_bytes) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "input '%s' has %zu bytes; its shape needs %zu", name,
                               input->size_bytes, size_bytes);
        }
    }
    for (size_t i = 0; i < io->output_count; i++) {
        WEFTI_TRY(check_output(model, io, i, error));
    }
    return WEFT_OK;
}

/* Whether the result has the shape, or fits the room, that the caller gave it. */
static weft_status check_fit(const weft_tensor *output, const char *name,
                             const weft_tensor *result, weft_error *error)
{
    bool same = output->rank == -1 ||
                (output->rank == result->rank && output->type == result->type);
    for (int32_t i = 0; same && i < output->rank; i++) {
        same = output->dims[i] == result->dims[i];
    }
    if (!same) {
        wefti_shape_text given, found;
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "output '%s' is %s %s; the run gave %s %s. With rank -1 any "
                           "shape is taken",
                           name, weft_type_name(output->type),
                           wefti_shape_write(output->rank, output->dims, &given),
                           weft_type_name(result->type),
                           wefti_shape_write(result->rank, result->dims, &found));
    }
    if (output->rank == -1 && !wefti_output_is_open(output) &&
        output->size_bytes < result->size_bytes) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "output '%s' has room for %zu bytes; %zu are needed", name,
                           output->size_bytes, result->size_bytes);
    }
    weft_tensor placed = *result;
    placed.data = output->data;
    return wefti_output_is_open(output)
               ? WEFT_OK
               : wefti_tensor_check_placement(&placed, "output", name, error);
}

static weft_status allocate_open(const weft_io *io, const wefti_value *results,
                                 weft_tensor *made, weft_error *error)
{
    weft_status status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && i < io->output_count; i++) {
        made[i] = io->outputs[i];
        if (wefti_output_is_open(&io->outputs[i])) {
            made[i] = results[i].tensor;
            made[i].data = NULL;
            status = wefti_output_allocate(&made[i], error);
        }
    }
    for (size_t i = 0; status != WEFT_OK && i < io->output_count; i++) {
        if (wefti_output_is_open(&io->outputs[i])) {
            wefti_free(made[i].data);
        }
    }
    return status;
}

weft_status wefti_outputs_store(const weft_model *model, const weft_io *io,
                                const wefti_value *results, weft_error *error)
{
    for (size_t i = 0; i < io->output_count; i++) {
        WEFTI_TRY(check_fit(&io->outputs[i], model->outputs[i].name, &results[i].tensor,
                            error));
    }
    weft_tensor *made = wefti_calloc(io->output_count, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the outputs of a run");
    }
    weft_status status = allocate_open(io, results, made, error);
    for (size_t i = 0; status == WEFT_OK && i < io->output_count; i++) {
        const weft_tensor *result = &results[i].tensor;
        weft_tensor *output = &io->outputs[i];
        output->data = made[i].data;
        if (result->size_bytes > 0) {
            memcpy(output->data, result->data, result->size_bytes);
        }
        if (output->rank == -1) {
            output->type = result->type;
            output->rank = result->rank;
            memcpy(output->dims, result->dims, sizeof(output->dims));
            memset(output->strides, 0, sizeof(output->strides));
            output->size_bytes = result->size_bytes;
        }
    }
    wefti_free(made);
    return status;
}

void wefti_outputs_zero(const weft_io *io)
{
    for (size_t i = 0; i < io->output_count; i++) {
        size_t size_bytes = bytes_of(&io->outputs[i]);
        if (size_bytes > 0) {
            memset(io->outputs[i].data, 0, size_bytes);
        }
    }
}
