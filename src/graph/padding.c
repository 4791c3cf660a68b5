/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/padding.h"

#include <string.h>

#include "base/memory.h"
#include "base/tensor.h"
#include "graph/box.h"
#include "graph/check.h"
#include "ops/check.h"

enum { ALIGNMENT = 64 };

/* A mask that the caller has left out altogether. */
static bool is_absent(const wefti_padding *padding, size_t index)
{
    const weft_tensor *tensor = &padding->given->inputs[index];
    return padding->model->buckets->inputs[index].is_mask && tensor->data == NULL &&
           tensor->type == WEFT_TYPE_NONE;
}

/* The mask's shape, from the inputs that have the same dimensions. */
static weft_status describe_mask(const wefti_padding *padding, size_t index,
                                 weft_error *error)
{
    const weft_model *model = padding->model;
    const weft_value_info *info = &model->inputs[index];
    weft_tensor *tensor = &padding->tensors[index];
    *tensor = (weft_tensor){.type = info->type, .rank = info->rank};
    for (int32_t j = 0; j < info->rank; j++) {
        tensor->dims[j] = info->dims[j];
        if (info->dims[j] >= 0) {
            continue;
        }
        int32_t source = model->buckets->inputs[index].sources[j];
        if (source < 0) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "input '%s' is a mask, but cannot be left out: no other "
                               "input has its dimension %d",
                               info->name, (int)j);
        }
        /* A rank that is wrong is found later, with that input. */
        tensor->dims[j] =
            padding->given->inputs[source / WEFT_MAX_RANK].dims[source % WEFT_MAX_RANK];
    }
    return WEFT_OK;
}

static weft_status make_room(wefti_padding *padding, weft_error *error)
{
    size_t count = padding->given->input_count + padding->given->output_count;
    padding->tensors = padding->on_stack;
    if (count > WEFTI_PADDING_TENSORS) {
        padding->tensors = wefti_calloc(count, sizeof(*padding->tensors));
        if (padding->tensors == NULL) {
            return wefti_error_memory(error, "the padding of a run");
        }
    }
    padding->io = (weft_io){padding->tensors, padding->given->input_count,
                            padding->tensors + padding->given->input_count,
                            padding->given->output_count};
    return WEFT_OK;
}

/* Rounds up the dimensions of one input, whose shape is right. */
static void round_up(wefti_padding *padding, size_t index)
{
    const wefti_buckets *buckets = padding->model->buckets;
    const wefti_bucket_input *input = &buckets->inputs[index];
    weft_tensor *tensor = &padding->tensors[index];
    for (int32_t j = 0; input->any && j < tensor->rank; j++) {
        int32_t k = input->buckets[j];
        if (k < 0) {
            continue;
        }
        if (padding->sizes[k] < 0) {
            padding->sizes[k] = tensor->dims[j];
            padding->planned[k] =
                wefti_bucket_round(&buckets->buckets[k], tensor->dims[j]);
        }
        if (padding->planned[k] != padding->sizes[k]) {
            tensor->dims[j] = padding->planned[k];
            memset(tensor->strides, 0, sizeof(tensor->strides));
            tensor->size_bytes = 0;
            padding->needed = true;
        }
    }
    padding->needed = padding->needed ||
                      (input->is_mask && padding->given->inputs[index].data == NULL);
}

weft_status wefti_padding_init(wefti_padding *padding, const weft_model *model,
                               const weft_io *io, weft_error *error)
{
    padding->model = model;
    padding->given = io;
    padding->needed = false;
    padding->staging_bytes = 0;
    memset(padding->sizes, -1, sizeof(padding->sizes));
    memset(padding->planned, -1, sizeof(padding->planned));
    WEFTI_TRY(make_room(padding, error));
    for (size_t i = 0; i < io->input_count; i++) {
        if (is_absent(padding, i)) {
            WEFTI_TRY(describe_mask(padding, i, error));
        } else {
            padding->tensors[i] = io->inputs[i];
        }
    }
    WEFTI_TRY(wefti_check_inputs(model, &padding->io, error));
    for (size_t i = 0; i < io->input_count; i++) {
        round_up(padding, i);
    }
    return WEFT_OK;
}

void wefti_padding_fini(wefti_padding *padding)
{
    if (padding->tensors != padding->on_stack) {
        wefti_free(padding->tensors);
    }
    padding->tensors = NULL;
}

bool wefti_mask_is_made(const weft_model *model, size_t index,
                        const weft_tensor *tensor)
{
    return model->buckets != NULL && model->buckets->inputs[index].is_mask &&
           tensor->data == NULL;
}

/* A tensor as it is planned and as the caller has it. */
typedef struct shapes {
    wefti_box box;
    size_t planned_bytes, exact_bytes;
    bool differ;
} shapes;

/* What follows from the sizes; the caller's are never more than was planned, and so
 * cannot overflow. */
static void measure(shapes *at)
{
    wefti_box *box = &at->box;
    at->exact_bytes = box->element_bytes;
    at->differ = false;
    for (int32_t j = 0; j < box->rank; j++) {
        at->differ = at->differ || box->exact[j] != box->planned[j];
        at->exact_bytes *= (size_t)box->exact[j];
    }
    wefti_box_place(box, -1, 0);
}

static void look_at_input(const wefti_padding *padding, const wefti_plan *plan,
                          size_t index, shapes *at)
{
    const weft_tensor *tensor = &padding->tensors[index];
    const int32_t *buckets = padding->model->buckets->inputs[index].buckets;
    at->box.rank = tensor->rank;
    at->box.element_bytes = weft_type_size(tensor->type);
    at->planned_bytes = plan->input_bytes[index];
    for (int32_t j = 0; j < at->box.rank; j++) {
        at->box.planned[j] = tensor->dims[j];
        at->box.exact[j] =
            buckets[j] < 0 ? tensor->dims[j] : padding->sizes[buckets[j]];
    }
    measure(at);
}

static void look_at_output(const wefti_padding *padding, const wefti_plan *plan,
                           size_t index, shapes *at)
{
    const wefti_known *known = &plan->outputs[index];
    const int8_t *cuts = plan->cuts[index].buckets;
    at->box.rank = known->rank;
    at->box.element_bytes = weft_type_size(known->type);
    at->planned_bytes = plan->output_bytes[index];
    for (int32_t j = 0; j < at->box.rank; j++) {
        at->box.planned[j] = known->dims[j];
        at->box.exact[j] = cuts[j] < 0 ? known->dims[j] : padding->sizes[cuts[j]];
    }
    measure(at);
}

static bool input_is_staged(const wefti_padding *padding, size_t index,
                            const shapes *at)
{
    return at->planned_bytes > 0 &&
           (at->differ ||
            wefti_mask_is_made(padding->model, index, &padding->given->inputs[index]));
}

void wefti_padding_describe(const wefti_padding *padding, const wefti_plan *plan,
                            weft_tensor *outputs)
{
    for (size_t i = 0; i < plan->output_count; i++) {
        shapes at;
        if (outputs[i].rank != -1) {
            continue;
        }
        look_at_output(padding, plan, i, &at);
        outputs[i].type = plan->outputs[i].type;
        outputs[i].rank = at.box.rank;
        outputs[i].size_bytes = at.exact_bytes;
        memset(outputs[i].strides, 0, sizeof(outputs[i].strides));
        memset(outputs[i].dims, 0, sizeof(outputs[i].dims));
        memcpy(outputs[i].dims, at.box.exact,
               (size_t)at.box.rank * sizeof(at.box.exact[0]));
    }
}

static weft_status check_input(const wefti_padding *padding, const wefti_plan *plan,
                               size_t index, weft_error *error)
{
    const weft_tensor *tensor = &padding->given->inputs[index];
    const char *name = padding->model->inputs[index].name;
    shapes at;
    WEFTI_TRY(wefti_tensor_check_host(tensor, "input", name, error));
    if (wefti_mask_is_made(padding->model, index, tensor)) {
        return WEFT_OK;
    }
    look_at_input(padding, plan, index, &at);
    if (tensor->size_bytes != 0 && tensor->size_bytes < at.exact_bytes) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' has %zu bytes; its shape needs %zu", name,
                           tensor->size_bytes, at.exact_bytes);
    }
    return wefti_tensor_check_layout(tensor, "input", name, error);
}

static weft_status check_output(const wefti_padding *padding, const wefti_plan *plan,
                                size_t index, weft_error *error)
{
    const weft_io *given = padding->given;
    const weft_model *model = padding->model;
    shapes at, other;
    weft_tensor placed;
    look_at_output(padding, plan, index, &at);
    wefti_wanted_output wanted = {.name = model->outputs[index].name,
                                  .type = plan->outputs[index].type,
                                  .rank = at.box.rank,
                                  .dims = at.box.exact,
                                  .size_bytes = at.exact_bytes};
    WEFTI_TRY(wefti_check_output(&wanted, &given->outputs[index], &placed, error));
    for (size_t i = 0; i < given->input_count + index; i++) {
        bool is_input = i < given->input_count;
        size_t j = is_input ? i : i - given->input_count;
        const void *data = is_input ? given->inputs[j].data : given->outputs[j].data;
        if (is_input) {
            look_at_input(padding, plan, j, &other);
        } else {
            look_at_output(padding, plan, j, &other);
        }
        if (data != NULL && wefti_memory_overlaps(placed.data, at.exact_bytes, data,
                                                  other.exact_bytes)) {
            return wefti_error(
                error, WEFT_INVALID_ARGUMENT, "output '%s' overlaps %s '%s'",
                wanted.name, is_input ? "input" : "output",
                is_input ? model->inputs[j].name : model->outputs[j].name);
        }
    }
    return WEFT_OK;
}

weft_status wefti_padding_check(const wefti_padding *padding, const wefti_plan *plan,
                                weft_error *error)
{
    for (size_t i = 0; i < plan->input_count; i++) {
        WEFTI_TRY(check_input(padding, plan, i, error));
    }
    for (size_t i = 0; i < plan->output_count; i++) {
        WEFTI_TRY(check_output(padding, plan, i, error));
    }
    return WEFT_OK;
}

/* Adds room for a tensor and returns where it is. Sizes of a plan's tensors are far
 * below what could overflow: each is a difference of pointers. */
static size_t take_place(size_t *used, size_t size_bytes)
{
    size_t place = *used;
    *used += (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return place;
}

weft_status wefti_padding_lay_out(wefti_padding *padding, const wefti_plan *plan,
                                  weft_error *error)
{
    shapes at;
    size_t used = 0;
    for (size_t i = 0; i < plan->input_count + plan->output_count; i++) {
        bool is_input = i < plan->input_count;
        if (is_input) {
            look_at_input(padding, plan, i, &at);
        } else {
            look_at_output(padding, plan, i - plan->input_count, &at);
        }
        bool staged = is_input ? input_is_staged(padding, i, &at) : at.differ;
        if (staged && at.planned_bytes > SIZE_MAX / 4 - used) {
            return wefti_error(error, WEFT_OUT_OF_MEMORY,
                               "the padded tensors are larger than memory can be");
        }
        if (staged) {
            (void)take_place(&used, at.planned_bytes);
        }
    }
    padding->staging_bytes = used;
    return WEFT_OK;
}

void wefti_padding_load(wefti_padding *padding, const wefti_plan *plan, char *staging)
{
    size_t used = 0;
    shapes at;
    for (size_t i = 0; i < plan->input_count; i++) {
        const char *from = padding->given->inputs[i].data;
        look_at_input(padding, plan, i, &at);
        if (input_is_staged(padding, i, &at)) {
            char *to = staging + take_place(&used, at.planned_bytes);
            const wefti_bucket_input *input = &padding->model->buckets->inputs[i];
            wefti_box_pad(&at.box, from, input->one, input->pad, to);
            padding->tensors[i].data = to;
        }
    }
    for (size_t i = 0; i < plan->output_count; i++) {
        look_at_output(padding, plan, i, &at);
        padding->io.outputs[i] = padding->given->outputs[i];
        if (at.differ) {
            padding->io.outputs[i].data = staging + take_place(&used, at.planned_bytes);
        }
    }
}

void wefti_padding_store(const wefti_padding *padding, const wefti_plan *plan)
{
    shapes at;
    for (size_t i = 0; i < plan->output_count; i++) {
        look_at_output(padding, plan, i, &at);
        if (at.differ) {
            wefti_box_cut(&at.box, padding->io.outputs[i].data,
                          padding->given->outputs[i].data);
        }
    }
    wefti_padding_describe(padding, plan, padding->given->outputs);
}

void wefti_padding_zero_outputs(const wefti_padding *padding, const wefti_plan *plan)
{
    shapes at;
    for (size_t i = 0; i < plan->output_count; i++) {
        look_at_output(padding, plan, i, &at);
        if (at.exact_bytes > 0) {
            memset(padding->given->outputs[i].data, 0, at.exact_bytes);
        }
    }
}
