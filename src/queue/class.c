/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "base/tensor.h"
#include "graph/check.h"
#include "graph/outputs.h"
#include "graph/padding.h"
#include "graph/rows.h"
#include "graph/run.h"
#include "queue/queue.h"

enum {
    /* Rows at which a class's independence is first looked at: a size that no other
     * dimension is likely to have. */
    PROBE_ROWS = 7,
    MOST_FORMS = 128,
    MOST_CLASSES = 64, /* of a model, but for those in use */
    ALIGNMENT = 64,
    /* A batch that takes longer works on copies, so that who cancels one of its
     * requests need not wait for it. */
    MOST_IN_PLACE_NS = 250000,
};

static size_t tensor_count(const weft_model *model)
{
    return weft_model_input_count(model) + weft_model_output_count(model);
}

/* The values that the shapes of a class depend on. */
static bool same_value(const weft_model *model, size_t input, const weft_tensor *kept,
                       const weft_tensor *given)
{
    size_t bytes = 0;
    if (model->values.inputs == NULL || !model->values.inputs[input] ||
        !wefti_plan_value_bytes(given, model->values.most_elements, &bytes)) {
        return true;
    }
    return bytes == 0 || memcmp(kept->data, given->data, bytes) == 0;
}

static bool same_input(const wefti_queue_class *class, size_t input,
                       const weft_tensor *given)
{
    const weft_model *model = class->model->model;
    if (wefti_mask_is_made(model, input, given)) {
        return class->ones != NULL; /* its shape follows from the others' */
    }
    return wefti_queue_same_shape(class, input, given) &&
           same_value(model, input, &class->tensors[input], given);
}

bool wefti_queue_is_of_class(const wefti_queue_class *class, const weft_io *io)
{
    bool same = true;
    for (size_t i = 0; same && i < io->input_count; i++) {
        same = same_input(class, i, &io->inputs[i]);
    }
    return same;
}

wefti_queue_class *wefti_queue_find_class_locked(const wefti_queue_model *model,
                                                 const weft_io *io)
{
    wefti_queue_class *class = model->classes;
    while (class != NULL && !wefti_queue_is_of_class(class, io)) {
        class = class->next;
    }
    return class;
}

/* Takes the class out that was not used for longest, but for the newest, if there are
 * too many. */
static wefti_queue_class *take_oldest(wefti_queue_model *model)
{
    wefti_queue_class **oldest = NULL;
    if (model->class_count <= MOST_CLASSES) {
        return NULL;
    }
    for (wefti_queue_class **link = &model->classes->next; *link;
         link = &(*link)->next) {
        if ((*link)->live_count == 0 &&
            (!oldest || (*link)->last_used < (*oldest)->last_used)) {
            oldest = link;
        }
    }
    wefti_queue_class *found = oldest ? *oldest : NULL;
    if (found) {
        *oldest = found->next;
        model->class_count--;
    }
    return found;
}

wefti_queue_class *wefti_queue_add_class_locked(wefti_queue_model *model,
                                                wefti_queue_class *class)
{
    wefti_queue_class *unused = NULL, *oldest;
    class->next = model->classes;
    model->classes = class;
    model->class_count++;
    while ((oldest = take_oldest(model)) != NULL) {
        oldest->next = unused;
        unused = oldest;
    }
    return unused;
}

int32_t wefti_queue_rows(const wefti_queue_class *class, const weft_io *io)
{
    size_t first = 0; /* that was not left out */
    while (first < io->input_count &&
           wefti_mask_is_made(class->model->model, first, &io->inputs[first])) {
        first++;
    }
    if (first >= io->input_count || class->axes[first] < 0) {
        return 1;
    }
    int64_t rows = io->inputs[first].dims[class->axes[first]];
    return rows > INT32_MAX ? INT32_MAX : (int32_t)rows;
}

void wefti_queue_class_destroy(wefti_queue_class *class)
{
    if (class == NULL) {
        return;
    }
    while (class->forms != NULL) {
        wefti_queue_form *form = class->forms;
        class->forms = form->next;
        wefti_free(wefti_atomic_ptr_load_acquire(&form->layout));
        wefti_free(form);
    }
    wefti_free(class->ones);
    wefti_free(class->cuts);
    wefti_free(class->values);
    wefti_free(class->rows_per_row);
    wefti_free(class->axes);
    wefti_free(class->tensors);
    wefti_free(class);
}

/* Sets `count` tensors from index `first` on as a call of so many rows has them; their
 * sizes in bytes stay open. */
static void set_rows(const wefti_queue_class *class, int64_t rows, size_t first,
                     size_t count, weft_tensor *tensors)
{
    for (size_t i = first; i < first + count; i++) {
        tensors[i] = class->tensors[i];
        tensors[i].size_bytes = 0;
        if (class->axes[i] >= 0) {
            tensors[i].dims[class->axes[i]] = rows * class->rows_per_row[i];
        }
    }
}

static weft_status allocate_class(wefti_queue_model *model, wefti_queue_class **class,
                                  weft_error *error)
{
    size_t count = tensor_count(model->model);
    wefti_queue_class *made = wefti_calloc(1, sizeof *made);
    if (made != NULL) {
        made->model = model;
        made->tensors = wefti_calloc(count, sizeof *made->tensors);
        made->axes = wefti_calloc(count, sizeof *made->axes);
        made->rows_per_row = wefti_calloc(count, sizeof *made->rows_per_row);
    }
    if (made == NULL || made->tensors == NULL || made->axes == NULL ||
        made->rows_per_row == NULL) {
        wefti_queue_class_destroy(made);
        return wefti_error_memory(error, "a shape class of the queue");
    }
    *class = made;
    return WEFT_OK;
}

/* Looks at the model with PROBE_ROWS rows: whether they are independent, and along
 * which axes of the outputs they lie. */
static weft_status learn_axes(wefti_queue_class *class, const weft_io *io,
                              weft_error *error)
{
    weft_model *model = class->model->model;
    weft_tensor *probe = wefti_calloc(tensor_count(model), sizeof *probe);
    if (probe == NULL) {
        return wefti_error_memory(error, "a shape class of the queue");
    }
    for (size_t i = 0; i < io->input_count; i++) {
        class->axes[i] = class->model->input_axes[i];
        class->rows_per_row[i] = 1;
        probe[i] = class->tensors[i];
        probe[i].dims[class->axes[i]] = PROBE_ROWS;
        probe[i].size_bytes = 0;
        memset(probe[i].strides, 0, sizeof probe[i].strides);
    }
    weft_io shapes = {probe, io->input_count, probe + io->input_count,
                      io->output_count};
    weft_status status = wefti_model_check_rows(model, &shapes, class->axes,
                                                class->axes + io->input_count, error);
    for (size_t i = 0; status == WEFT_OK && i < io->output_count; i++) {
        size_t at = io->input_count + i;
        int32_t axis = class->axes[at];
        /* The class's outputs stand for as many rows as the call has. */
        int64_t rows = class->tensors[0].dims[class->axes[0]];
        int64_t size = class->tensors[at].dims[axis];
        if (rows == 0 || size % rows != 0) {
            status = wefti_error(error, WEFT_UNSUPPORTED,
                                 "output %zu has %lld rows for %lld", i,
                                 (long long)size, (long long)rows);
        } else {
            class->rows_per_row[at] = size / rows;
        }
    }
    wefti_free(probe);
    return status;
}

/* Without a batch axis: each shape is a class of its own, and nothing joins. */
static void forget_axes(wefti_queue_class *class)
{
    size_t count = tensor_count(class->model->model);
    for (size_t i = 0; i < count; i++) {
        class->axes[i] = -1;
        class->rows_per_row[i] = 0;
    }
}

/* Copies what the value inputs hold. */
static weft_status keep_values(wefti_queue_class *class, const weft_io *io,
                               weft_error *error)
{
    const wefti_plan_values *values = &class->model->model->values;
    if (values->inputs == NULL) {
        return WEFT_OK;
    }
    size_t most = 8 * (size_t)values->most_elements;
    class->values = wefti_calloc(io->input_count, most);
    if (class->values == NULL) {
        return wefti_error_memory(error, "a shape class of the queue");
    }
    for (size_t i = 0; i < io->input_count; i++) {
        size_t bytes = 0;
        if (values->inputs[i] &&
            wefti_plan_value_bytes(&io->inputs[i], values->most_elements, &bytes) &&
            bytes > 0) {
            class->tensors[i].data = class->values + i * most;
            memcpy(class->tensors[i].data, io->inputs[i].data, bytes);
        }
    }
    return WEFT_OK;
}

weft_status wefti_queue_class_create(wefti_queue_model *model, const weft_io *io,
                                     wefti_queue_class **class, weft_error *error)
{
    wefti_queue_class *made = NULL;
    WEFTI_TRY(allocate_class(model, &made, error));
    weft_status status = wefti_queue_describe_class(made, io, error);
    if (status != WEFT_OK) {
        wefti_queue_class_destroy(made);
        return status;
    }
    for (size_t i = 0; i < io->input_count; i++) {
        made->tensors[i].data = NULL;
        made->tensors[i].place = WEFT_PLACE_HOST;
        memset(made->tensors[i].strides, 0, sizeof made->tensors[i].strides);
    }
    status = keep_values(made, io, error);
    if (status != WEFT_OK) {
        wefti_queue_class_destroy(made);
        return status;
    }
    made->why_not = model->why_not;
    if (model->input_axes != NULL) {
        made->joins = learn_axes(made, io, &made->why_not) == WEFT_OK;
    }
    if (!made->joins) {
        forget_axes(made);
    }
    status = wefti_queue_make_masks(made, io, error);
    if (status != WEFT_OK) {
        wefti_queue_class_destroy(made);
        return status;
    }
    *class = made;
    return WEFT_OK;
}

static weft_status copy_input(const weft_value_info *info, const weft_tensor *given,
                              weft_tensor *copy, weft_error *error)
{
    size_t bytes;
    WEFTI_TRY(weft_tensor_measure(given, NULL, &bytes, error));
    WEFTI_TRY(wefti_tensor_check_placement(given, "input", info->name, error));
    if (given->size_bytes != 0 && given->size_bytes < bytes) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "input '%s' has %zu bytes; its shape needs %zu", info->name,
                           given->size_bytes, bytes);
    }
    *copy = *given;
    copy->size_bytes = bytes;
    return WEFT_OK;
}

/* `copy` has the shape that the model gives. */
static weft_status copy_output(const weft_value_info *info, const weft_tensor *given,
                               weft_tensor *copy, weft_error *error)
{
    wefti_wanted_output wanted = {
        .name = info->name, .type = copy->type, .rank = copy->rank, .dims = copy->dims};
    weft_tensor placed;
    WEFTI_TRY(weft_tensor_measure(copy, NULL, &wanted.size_bytes, error));
    WEFTI_TRY(wefti_check_output(&wanted, given, &placed, error));
    *copy = placed;
    copy->size_bytes = wanted.size_bytes;
    return WEFT_OK;
}

bool wefti_queue_overlap(const weft_tensor *a, const weft_tensor *b)
{
    return wefti_memory_overlaps(a->data, a->size_bytes, b->data, b->size_bytes);
}

/* Of a model whose shapes only a run tells, to those who do not know them. */
static weft_status copy_unknown_outputs(const weft_model *model, const weft_io *io,
                                        weft_tensor *outputs, weft_error *error)
{
    WEFTI_TRY(wefti_outputs_check(model, io, error));
    for (size_t i = 0; i < io->output_count; i++) {
        outputs[i] = io->outputs[i];
        if (outputs[i].rank >= 0) {
            WEFTI_TRY(
                weft_tensor_measure(&outputs[i], NULL, &outputs[i].size_bytes, error));
        }
    }
    return WEFT_OK;
}

weft_status wefti_queue_make_results(wefti_queue_request *request, weft_error *error)
{
    if (request->model->model->stages == NULL) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_results_create(&request->io, &request->results, error));
    request->io.outputs = request->results->tensors;
    return WEFT_OK;
}

weft_status wefti_queue_copy_tensors(const wefti_queue_class *class, const weft_io *io,
                                     weft_tensor *tensors, weft_error *error)
{
    const weft_model *model = class->model->model;
    for (size_t i = 0; i < io->input_count; i++) {
        if (wefti_mask_is_made(model, i, &io->inputs[i])) {
            WEFTI_TRY(wefti_queue_copy_made_mask(class, io, i, &tensors[i], error));
            continue;
        }
        WEFTI_TRY(copy_input(&model->inputs[i], &io->inputs[i], &tensors[i], error));
    }
    if (model->stages != NULL) {
        return copy_unknown_outputs(model, io, tensors + io->input_count, error);
    }
    set_rows(class, wefti_queue_rows(class, io), io->input_count, io->output_count,
             tensors);
    wefti_queue_cut_outputs(class, io, tensors + io->input_count);
    for (size_t i = 0; i < io->output_count; i++) {
        size_t at = io->input_count + i;
        const weft_value_info *info = &model->outputs[i];
        WEFTI_TRY(copy_output(info, &io->outputs[i], &tensors[at], error));
        for (size_t j = 0; j < at; j++) {
            if (wefti_queue_overlap(&tensors[at], &tensors[j])) {
                return wefti_error(error, WEFT_INVALID_ARGUMENT,
                                   "output '%s' overlaps %s %zu", info->name,
                                   j < io->input_count ? "input" : "output",
                                   j < io->input_count ? j : j - io->input_count);
            }
        }
    }
    return WEFT_OK;
}

int32_t wefti_queue_padded_rows(int32_t rows)
{
    int32_t step = 1;
    while (rows / step >= 16) {
        step *= 2;
    }
    int64_t padded = ((int64_t)rows + step - 1) / step * step;
    return padded > INT32_MAX ? rows : (int32_t)padded;
}

/* Lays the tensors out one behind the other. */
static bool lay_out(wefti_queue_form *form, size_t count)
{
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        weft_tensor *tensor = &form->tensors[i];
        size_t bytes;
        if (weft_tensor_measure(tensor, NULL, &bytes, NULL) != WEFT_OK) {
            return false;
        }
        tensor->size_bytes = bytes;
        tensor->data = (void *)offset;
        if (WEFTI_ADD_OVERFLOWS(offset, bytes, &offset) ||
            offset > SIZE_MAX / 2 - ALIGNMENT) {
            return false;
        }
        offset = (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    form->staging_bytes = offset;
    return true;
}

/* Finds room for a table of rows of each tensor that may be left with the callers. */
static void lay_tables(const wefti_queue_class *class, const wefti_queue_form *form,
                       const size_t *row_bytes, wefti_queue_layout *layout)
{
    size_t count = tensor_count(class->model->model);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = form->tensors[i].size_bytes;
        size_t piece = row_bytes[i] * (size_t)form->rows;
        if (class->axes[i] != 0 || piece == 0 || bytes % piece != 0) {
            continue;
        }
        layout->tensors[i] = (wefti_queue_apart){.row_bytes = row_bytes[i],
                                                 .per_row = (int64_t)(bytes / piece),
                                                 .table = layout->tables_bytes};
        layout->tables_bytes += bytes / row_bytes[i] * sizeof(void *);
    }
}

void wefti_queue_learn_layout(const wefti_queue_class *class, wefti_queue_form *form)
{
    weft_model *model = class->model->model;
    if (form->rows < 2 || model->buckets != NULL || model->values.inputs != NULL ||
        model->device->backend->recipe.row_bytes == NULL ||
        wefti_atomic_ptr_load_acquire(&form->layout) != NULL) {
        return;
    }
    size_t inputs = weft_model_input_count(model);
    size_t outputs = weft_model_output_count(model);
    weft_io shapes = {form->tensors, inputs, form->tensors + inputs, outputs};
    size_t *row_bytes = wefti_calloc(inputs + outputs, sizeof *row_bytes);
    wefti_queue_layout *made =
        wefti_calloc(1, sizeof *made + (inputs + outputs) * sizeof made->tensors[0]);
    if (row_bytes != NULL && made != NULL &&
        wefti_model_get_row_bytes(model, &shapes, MOST_IN_PLACE_NS, row_bytes, NULL) ==
            WEFT_OK) {
        void *found = NULL; /* another worker may have been faster */
        lay_tables(class, form, row_bytes, made);
        if (wefti_atomic_ptr_cas_acq_rel(&form->layout, &found, made)) {
            made = NULL;
        }
    }
    wefti_free(made);
    wefti_free(row_bytes);
}

static wefti_queue_form *make_form(wefti_queue_class *class, int32_t rows)
{
    weft_model *model = class->model->model;
    size_t inputs = weft_model_input_count(model);
    size_t outputs = weft_model_output_count(model);
    size_t count = inputs + outputs;
    wefti_queue_form *form =
        wefti_calloc(1, sizeof *form + count * sizeof form->tensors[0]);
    int32_t *axes = wefti_calloc(outputs, sizeof *axes);
    if (form != NULL && axes != NULL) {
        form->rows = rows;
        wefti_atomic_ptr_init(&form->layout, NULL);
        set_rows(class, rows, 0, count, form->tensors);
        if (!lay_out(form, count)) {
            wefti_free(form);
            form = NULL;
        }
    }
    if (form != NULL && axes != NULL && inputs > 0 && class->axes[0] >= 0) {
        weft_io shapes = {form->tensors, inputs, form->tensors + inputs, outputs};
        form->joins = wefti_model_check_rows(model, &shapes, class->axes, axes,
                                             &form->why_not) == WEFT_OK &&
                      memcmp(axes, class->axes + inputs, outputs * sizeof *axes) == 0;
    }
    if (axes == NULL) {
        wefti_free(form);
        form = NULL;
    }
    wefti_free(axes);
    return form;
}

static wefti_queue_form *find_form_locked(const wefti_queue_class *class, int32_t rows)
{
    wefti_queue_form *form = class->forms;
    while (form != NULL && form->rows != rows) {
        form = form->next;
    }
    return form;
}

wefti_queue_form *wefti_queue_get_form(wefti_queue_class *class, int32_t rows)
{
    wefti_mutex *lock = &class->model->queue->lock;
    wefti_mutex_lock(lock);
    wefti_queue_form *form = find_form_locked(class, rows);
    bool full =
        class->form_count >= MOST_FORMS && wefti_queue_padded_rows(rows) != rows;
    wefti_mutex_unlock(lock);
    if (form != NULL || full) {
        return form;
    }
    wefti_queue_form *made = make_form(class, rows);
    if (made == NULL) {
        return NULL;
    }
    wefti_mutex_lock(lock);
    form = find_form_locked(class, rows); /* another worker may have been faster */
    if (form == NULL) {
        made->next = class->forms;
        class->forms = made;
        class->form_count++;
        form = made;
        made = NULL;
    }
    wefti_mutex_unlock(lock);
    wefti_free(made);
    return form;
}
