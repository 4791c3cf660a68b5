/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "graph/box.h"
#include "graph/padding.h"
#include "queue/queue.h"

/* Classes of models whose dimensions are rounded up to buckets: a class has the sizes
 * of the buckets, and the requests in it any that are rounded up to these. What differs
 * is padded on the way into a batch and cut on the way out. */

enum { ALIGNMENT = 64 };

static weft_status copy_cuts(void *user, const wefti_plan *plan, weft_error *error)
{
    wefti_queue_class *class = user;
    (void)error;
    memcpy(class->cuts, plan->cuts, plan->output_count * sizeof(*class->cuts));
    return WEFT_OK;
}

weft_status wefti_queue_describe_class(wefti_queue_class *class, const weft_io *io,
                                       weft_error *error)
{
    weft_model *model = class->model->model;
    weft_io shapes = *io;
    shapes.outputs = class->tensors + io->input_count;
    if (model->buckets == NULL) {
        memcpy(class->tensors, io->inputs, io->input_count * sizeof(*class->tensors));
        return weft_model_infer_outputs(model, &shapes, error);
    }
    class->cuts = wefti_calloc(io->output_count + 1, sizeof(*class->cuts));
    if (class->cuts == NULL) {
        return wefti_error_memory(error, "a shape class of the queue");
    }
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, io, error);
    if (status == WEFT_OK) {
        memcpy(class->tensors, padding.tensors,
               io->input_count * sizeof(*class->tensors));
        shapes.inputs = class->tensors;
        status = weft_model_infer_outputs(model, &shapes, error);
    }
    if (status == WEFT_OK) {
        status = wefti_model_visit_plan(model, &padding.io, copy_cuts, class, error);
    }
    wefti_padding_fini(&padding);
    return status;
}

bool wefti_queue_same_shape(const wefti_queue_class *class, size_t input,
                            const weft_tensor *given)
{
    const weft_tensor *kept = &class->tensors[input];
    const wefti_buckets *buckets = class->model->model->buckets;
    bool same = kept->type == given->type && kept->rank == given->rank;
    for (int32_t i = 0; same && i < kept->rank; i++) {
        int32_t bucket = buckets == NULL ? -1 : buckets->inputs[input].buckets[i];
        int64_t size =
            bucket < 0 ? given->dims[i]
                       : wefti_bucket_round(&buckets->buckets[bucket], given->dims[i]);
        same = i == class->axes[input] || kept->dims[i] == size;
    }
    return same;
}

/* Bytes of a mask of as many rows as the class has ones for. */
static weft_status measure_mask(const wefti_queue_class *class, size_t index,
                                size_t *size_bytes, weft_error *error)
{
    weft_tensor mask = class->tensors[index];
    if (class->axes[index] >= 0) {
        mask.dims[class->axes[index]] = class->ones_rows;
    }
    return weft_tensor_measure(&mask, NULL, size_bytes, error);
}

weft_status wefti_queue_make_masks(wefti_queue_class *class, const weft_io *io,
                                   weft_error *error)
{
    const weft_model *model = class->model->model;
    size_t total = 0, bytes = 0, at = 0;
    int64_t rows = wefti_queue_rows(class, io);
    int64_t most = class->model->queue->params.max_batch_size;
    bool any = false;
    class->ones_rows = rows > most ? rows : most;
    for (size_t i = 0; i < io->input_count; i++) {
        if (weft_model_input_is_mask(model, i)) {
            WEFTI_TRY(measure_mask(class, i, &bytes, error));
            any = any || wefti_mask_is_made(model, i, &io->inputs[i]);
            if (bytes > SIZE_MAX / 2 - total) {
                return wefti_error_memory(error, "the masks of a queue");
            }
            total += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
    if (!any) {
        return WEFT_OK;
    }
    class->ones = wefti_malloc_aligned(total);
    if (class->ones == NULL) {
        return wefti_error_memory(error, "the masks of a queue");
    }
    for (size_t i = 0; i < io->input_count; i++) {
        if (weft_model_input_is_mask(model, i)) {
            WEFTI_TRY(measure_mask(class, i, &bytes, error));
            size_t element = weft_type_size(class->tensors[i].type);
            class->tensors[i].data = class->ones + at;
            for (size_t k = 0; k < bytes; k += element) {
                memcpy(class->ones + at + k, model->buckets->inputs[i].one, element);
            }
            at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
    return WEFT_OK;
}

/* The caller's size of a bucket's dimension. */
static int64_t size_of(const weft_model *model, const weft_io *io, int32_t bucket)
{
    for (size_t i = 0; i < io->input_count; i++) {
        bool given = io->inputs[i].type != WEFT_TYPE_NONE;
        for (int32_t j = 0; given && j < io->inputs[i].rank; j++) {
            if (model->buckets->inputs[i].buckets[j] == bucket) {
                return io->inputs[i].dims[j];
            }
        }
    }
    return 0; /* one that was left out follows from another */
}

weft_status wefti_queue_copy_made_mask(const wefti_queue_class *class,
                                       const weft_io *io, size_t index,
                                       weft_tensor *copy, weft_error *error)
{
    const weft_model *model = class->model->model;
    const wefti_bucket_input *input = &model->buckets->inputs[index];
    int64_t rows = wefti_queue_rows(class, io);
    *copy = class->tensors[index];
    for (int32_t j = 0; j < copy->rank; j++) {
        if (j == class->axes[index]) {
            copy->dims[j] = rows;
        } else if (input->buckets[j] >= 0) {
            copy->dims[j] = size_of(model, io, input->buckets[j]);
        }
    }
    if (class->axes[index] >= 0 && rows > class->ones_rows) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' can be left out for up to %lld rows, not for "
                           "%lld; give it, or use weft_run",
                           model->inputs[index].name, (long long)class->ones_rows,
                           (long long)rows);
    }
    return weft_tensor_measure(copy, NULL, &copy->size_bytes, error);
}

void wefti_queue_cut_outputs(const wefti_queue_class *class, const weft_io *io,
                             weft_tensor *outputs)
{
    for (size_t i = 0; class->cuts != NULL && i < io->output_count; i++) {
        for (int32_t j = 0; j < outputs[i].rank; j++) {
            int8_t bucket = class->cuts[i].buckets[j];
            if (bucket >= 0) {
                outputs[i].dims[j] = size_of(class->model->model, io, bucket);
            }
        }
    }
}

/* A request's rows in a tensor of a batch that has `all_rows`. */
static void set_box(const wefti_queue_class *class, size_t index,
                    const weft_tensor *exact, int64_t all_rows, wefti_box *box)
{
    const weft_tensor *planned = &class->tensors[index];
    int32_t axis = class->axes[index];
    box->rank = exact->rank;
    box->element_bytes = weft_type_size(exact->type);
    for (int32_t j = 0; j < exact->rank; j++) {
        box->exact[j] = exact->dims[j];
        box->planned[j] = j == axis ? exact->dims[j] : planned->dims[j];
    }
    wefti_box_place(box, axis, all_rows * class->rows_per_row[index]);
}

static size_t offset_of(const wefti_queue_class *class, size_t index,
                        const wefti_box *box, int64_t first)
{
    int32_t axis = class->axes[index];
    return axis < 0 ? 0
                    : (size_t)(first * class->rows_per_row[index]) * box->strides[axis];
}

void wefti_queue_pad_rows(const wefti_queue_class *class, size_t index,
                          const weft_tensor *from, char *to, int64_t all_rows,
                          int64_t first)
{
    const wefti_bucket_input *input = &class->model->model->buckets->inputs[index];
    wefti_box box;
    set_box(class, index, from, all_rows, &box);
    wefti_box_pad(&box, from->data, input->one, input->pad,
                  to + offset_of(class, index, &box, first));
}

void wefti_queue_cut_rows(const wefti_queue_class *class, size_t index,
                          const char *from, int64_t all_rows, int64_t first,
                          const weft_tensor *to)
{
    wefti_box box;
    set_box(class, index, to, all_rows, &box);
    wefti_box_cut(&box, from + offset_of(class, index, &box, first), to->data);
}
