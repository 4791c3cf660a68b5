/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/check.h"

#include <stdio.h>
#include <string.h>

#include "base/tensor.h"
#include "graph/padding.h"

weft_status wefti_check_counts(const weft_model *model, const weft_io *io,
                               weft_error *error)
{
    if (model == NULL || io == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           model == NULL ? "model" : "io");
    }
    if (io->input_count != model->net.input_count ||
        io->output_count != model->net.output_count) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the call has %zu inputs and %zu outputs, the model %zu and "
                           "%zu",
                           io->input_count, io->output_count, model->net.input_count,
                           model->net.output_count);
    }
    if ((io->inputs == NULL && io->input_count > 0) ||
        (io->outputs == NULL && io->output_count > 0)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "io->inputs or io->outputs is NULL");
    }
    return WEFT_OK;
}

static void print_shape(char *text, size_t size, int32_t rank, const int64_t *dims)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int32_t i = 0; i < rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, i > 0 ? ",%lld" : "%lld",
                                 (long long)dims[i]);
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
}

static weft_status wrong_shape(const char *kind, const char *name,
                               const weft_tensor *tensor, int32_t rank,
                               const int64_t *dims, weft_error *error)
{
    char given[100], wanted[100];
    print_shape(given, sizeof(given), tensor->rank, tensor->dims);
    print_shape(wanted, sizeof(wanted), rank, dims);
    return wefti_error(error, WEFT_INVALID_ARGUMENT,
                       "%s '%s' has the shape %s; the model wants %s%s", kind, name,
                       given, wanted,
                       strstr(wanted, "-1") != NULL ? " (-1: any size)" : "");
}

/* Dimensions of one name have one size, that of the first input that has it. */
static weft_status check_named_dims(const weft_model *model, const weft_io *io,
                                    size_t index, weft_error *error)
{
    const weft_value_info *info = &model->inputs[index];
    for (int32_t j = 0; j < info->rank; j++) {
        size_t place = index * WEFT_MAX_RANK + (size_t)j;
        int32_t first = model->dims.firsts[place];
        if (first < 0 || (size_t)first == place) {
            continue;
        }
        int64_t other = io->inputs[first / WEFT_MAX_RANK].dims[first % WEFT_MAX_RANK];
        if (other != io->inputs[index].dims[j]) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "input '%s': dimension %d ('%s') is %lld, but another "
                               "input has %lld for it",
                               info->name, (int)j, info->dim_names[j],
                               (long long)io->inputs[index].dims[j], (long long)other);
        }
    }
    return WEFT_OK;
}

/* What is read before there is a plan. */
static weft_status check_value(const weft_model *model, const weft_tensor *tensor,
                               const char *name, weft_error *error)
{
    size_t size_bytes = 0;
    WEFTI_TRY(wefti_tensor_check_host(tensor, "input", name, error));
    if (wefti_plan_value_bytes(tensor, model->values.most_elements, &size_bytes)) {
        return wefti_tensor_check_placement(tensor, "input", name, error);
    }
    if (size_bytes == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "input '%s' decides a shape, and has more than %lld "
                           "elements",
                           name, (long long)model->values.most_elements);
    }
    return wefti_error(error, WEFT_INVALID_ARGUMENT,
                       tensor->data == NULL
                           ? "input '%s' decides a shape: its data is needed to plan "
                             "the run, and is NULL"
                           : "input '%s' has fewer bytes than its shape needs",
                       name);
}

static weft_status check_input(const weft_model *model, const weft_io *io, size_t index,
                               weft_error *error)
{
    const weft_value_info *info = &model->inputs[index];
    const weft_tensor *tensor = &io->inputs[index];
    if (tensor->type != info->type && info->type != WEFT_TYPE_NONE) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' has element type %s; the model wants %s",
                           info->name, weft_type_name(tensor->type),
                           weft_type_name(info->type));
    }
    weft_status status = weft_tensor_measure(tensor, NULL, NULL, error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(error, status, "input '%s'", info->name);
    }
    if (model->values.inputs != NULL && model->values.inputs[index]) {
        WEFTI_TRY(check_value(model, tensor, info->name, error));
    }
    if (info->rank < 0) {
        return WEFT_OK;
    }
    bool fits = tensor->rank == info->rank;
    for (int32_t j = 0; fits && j < info->rank; j++) {
        fits = info->dims[j] < 0 || info->dims[j] == tensor->dims[j];
    }
    if (!fits) {
        return wrong_shape("input", info->name, tensor, info->rank, info->dims, error);
    }
    return check_named_dims(model, io, index, error);
}

weft_status wefti_check_inputs(const weft_model *model, const weft_io *io,
                               weft_error *error)
{
    for (size_t i = 0; i < io->input_count; i++) {
        WEFTI_TRY(check_input(model, io, i, error));
    }
    return WEFT_OK;
}

weft_status wefti_model_check_inputs(const weft_model *model, const weft_io *io,
                                     weft_error *error)
{
    if (model->buckets == NULL) {
        return wefti_check_inputs(model, io, error);
    }
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, io, error);
    wefti_padding_fini(&padding);
    return status;
}

weft_status wefti_check_output(const wefti_wanted_output *wanted,
                               const weft_tensor *given, weft_tensor *placed,
                               weft_error *error)
{
    WEFTI_TRY(wefti_tensor_check_host(given, "output", wanted->name, error));
    return wefti_check_shaped(wanted, given, placed, error);
}

static WEFTI_NOINLINE weft_status check_on_card(const weft_model *model,
                                                const weft_tensor *tensor,
                                                size_t size_bytes, const char *kind,
                                                const char *name, weft_error *error)
{
    weft_device *device = model->device;
    const wefti_backend *backend = device->backend;
    if (tensor->place != WEFT_PLACE_CARD || model->stages != NULL ||
        model->buckets != NULL) {
        return wefti_tensor_check_host(tensor, kind, name, error);
    }
    if (backend->memory.check == NULL || device->info.card_count > 1) {
        return wefti_error(
            error, WEFT_UNSUPPORTED, "%s '%s' lies on a card; the device '%s' %s", kind,
            name, device->name,
            backend->memory.check == NULL ? "is none and takes host memory"
                                          : "is several: open a device for each");
    }
    weft_status status =
        size_bytes == 0
            ? WEFT_OK
            : backend->memory.check(device->cards[0], tensor->data, size_bytes, error);
    return status == WEFT_OK ? status
                             : wefti_error_prefix(error, status, "%s '%s'", kind, name);
}

weft_status wefti_check_place(const weft_model *model, const weft_tensor *tensor,
                              size_t size_bytes, const char *kind, const char *name,
                              weft_error *error)
{
    return WEFTI_LIKELY(tensor->place == WEFT_PLACE_HOST)
               ? WEFT_OK
               : check_on_card(model, tensor, size_bytes, kind, name, error);
}

weft_status wefti_check_shaped(const wefti_wanted_output *wanted,
                               const weft_tensor *given, weft_tensor *placed,
                               weft_error *error)
{
    const char *name = wanted->name;
    if (given->rank < -1 || given->rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "output '%s' has rank %d; 0 to %d are allowed, -1 for any",
                           name, (int)given->rank, WEFT_MAX_RANK);
    }
    size_t dims_bytes = (size_t)wanted->rank * sizeof(wanted->dims[0]);
    if (given->rank != -1 && given->type != wanted->type) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "output '%s' has element type %s; the model gives %s", name,
                           weft_type_name(given->type), weft_type_name(wanted->type));
    }
    if (given->rank != -1 && (given->rank != wanted->rank ||
                              memcmp(given->dims, wanted->dims, dims_bytes) != 0)) {
        return wrong_shape("output", name, given, wanted->rank, wanted->dims, error);
    }
    if (given->size_bytes < wanted->size_bytes &&
        (given->rank == -1 || given->size_bytes != 0)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "output '%s' has room for %zu bytes; %zu are needed", name,
                           given->size_bytes, wanted->size_bytes);
    }
    *placed = *given;
    if (given->rank == -1) {
        placed->type = wanted->type;
        placed->rank = wanted->rank;
        memcpy(placed->dims, wanted->dims, dims_bytes);
        memset(placed->strides, 0, sizeof(placed->strides));
    }
    return wefti_tensor_check_layout(placed, "output", name, error);
}

static weft_status check_output(const weft_model *model, const wefti_plan *plan,
                                const weft_tensor *tensor, size_t index,
                                weft_error *error)
{
    const wefti_known *known = &plan->outputs[index];
    wefti_wanted_output wanted = {.name = model->outputs[index].name,
                                  .type = known->type,
                                  .rank = known->rank,
                                  .dims = known->dims,
                                  .size_bytes = plan->output_bytes[index]};
    weft_tensor placed;
    WEFTI_TRY(wefti_check_shaped(&wanted, tensor, &placed, error));
    return wefti_check_place(model, tensor, wanted.size_bytes, "output", wanted.name,
                             error);
}

bool wefti_memory_overlaps(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return a_bytes > 0 && b_bytes > 0 && x < y + b_bytes && y < x + a_bytes;
}

static weft_status check_overlap(const weft_model *model, const wefti_plan *plan,
                                 const weft_io *io, size_t output, weft_error *error)
{
    const void *data = io->outputs[output].data;
    size_t size_bytes = plan->output_bytes[output];
    for (size_t i = 0; i < io->input_count; i++) {
        if (wefti_memory_overlaps(data, size_bytes, io->inputs[i].data,
                                  plan->input_bytes[i])) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "output '%s' overlaps input '%s'",
                               model->outputs[output].name, model->inputs[i].name);
        }
    }
    for (size_t i = 0; i < output; i++) {
        if (wefti_memory_overlaps(data, size_bytes, io->outputs[i].data,
                                  plan->output_bytes[i])) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "output '%s' overlaps output '%s'",
                               model->outputs[output].name, model->outputs[i].name);
        }
    }
    return WEFT_OK;
}

weft_status wefti_check_tensors(const weft_model *model, const wefti_plan *plan,
                                const weft_io *io, weft_error *error)
{
    for (size_t i = 0; i < io->input_count; i++) {
        const weft_tensor *tensor = &io->inputs[i];
        const char *name = model->inputs[i].name;
        WEFTI_TRY(wefti_tensor_check_layout(tensor, "input", name, error));
        if (tensor->size_bytes != 0 && tensor->size_bytes < plan->input_bytes[i]) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "input '%s' has %zu bytes; its shape needs %zu", name,
                               tensor->size_bytes, plan->input_bytes[i]);
        }
        WEFTI_TRY(wefti_check_place(model, tensor, plan->input_bytes[i], "input", name,
                                    error));
    }
    for (size_t i = 0; i < io->output_count; i++) {
        WEFTI_TRY(check_output(model, plan, &io->outputs[i], i, error));
        WEFTI_TRY(check_overlap(model, plan, io, i, error));
    }
    return WEFT_OK;
}

/* A tensor by its own shape. */
static weft_status check_alone(const weft_model *model, const weft_tensor *tensor,
                               const char *kind, const char *name, weft_error *error)
{
    size_t size_bytes = 0;
    weft_status status = weft_tensor_measure(tensor, NULL, &size_bytes, error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(error, status, "%s '%s'", kind, name);
    }
    if (tensor->size_bytes != 0 && tensor->size_bytes < size_bytes) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s '%s' has %zu bytes; its shape needs %zu", kind, name,
                           tensor->size_bytes, size_bytes);
    }
    WEFTI_TRY(wefti_tensor_check_layout(tensor, kind, name, error));
    return wefti_check_place(model, tensor, size_bytes, kind, name, error);
}

weft_status wefti_check_unplanned(const weft_model *model, const weft_io *io,
                                  weft_error *error)
{
    for (size_t i = 0; i < io->input_count; i++) {
        if (!wefti_mask_is_made(model, i, &io->inputs[i])) {
            WEFTI_TRY(check_alone(model, &io->inputs[i], "input", model->inputs[i].name,
                                  error));
        }
    }
    for (size_t i = 0; i < io->output_count; i++) {
        const weft_value_info *info = &model->outputs[i];
        weft_type type = io->outputs[i].type;
        if (io->outputs[i].rank == -1) {
            continue; /* the run knows its shape */
        }
        WEFTI_TRY(check_alone(model, &io->outputs[i], "output", info->name, error));
        if (info->type != WEFT_TYPE_NONE && type != info->type) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "output '%s' has element type %s; the model gives %s",
                               info->name, weft_type_name(type),
                               weft_type_name(info->type));
        }
    }
    return WEFT_OK;
}
