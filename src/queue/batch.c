/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/profile.h"
#include "graph/run.h"
#include "queue/queue.h"

/* A lone request with more bytes than this runs on its caller's own tensors: copying
 * them would cost more than it can be worth to be cancelled while running. */
enum { MOST_STAGED_BYTES = 256 * 1024 };

/* Requests whose tensors are compared with each other, and their tensors. */
enum { MOST_COMPARED = 128, MOST_PLACES = 256 };

/* Where the rows of a tensor lie: `outer` pieces, in each the rows one behind the
 * other. */
typedef struct rows_at {
    char *data;
    int64_t all_rows; /* of this tensor */
    int64_t first;    /* row */
} rows_at;

/* Copies rows of one tensor of the class between two places. */
static void copy_rows(const wefti_queue_class *class, size_t index, const rows_at *to,
                      const rows_at *from, int64_t rows)
{
    const weft_tensor *tensor = &class->tensors[index];
    int32_t axis = class->axes[index];
    size_t outer = 1;
    size_t row_bytes = weft_type_size(tensor->type);
    if (axis >= 0) {
        row_bytes *= (size_t) class->rows_per_row[index];
    }
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (i < axis) {
            outer *= (size_t)tensor->dims[i];
        } else if (i > axis) {
            row_bytes *= (size_t)tensor->dims[i];
        }
    }
    size_t bytes = row_bytes * (size_t)rows;
    for (size_t i = 0; bytes > 0 && i < outer; i++) {
        memcpy(to->data + (i * (size_t)to->all_rows + (size_t)to->first) * row_bytes,
               from->data +
                   (i * (size_t)from->all_rows + (size_t)from->first) * row_bytes,
               bytes);
    }
}

static rows_at in_staging(const wefti_queue_form *form, size_t index, void *staging,
                          int64_t first)
{
    size_t offset = (size_t)form->tensors[index].data;
    return (rows_at){(char *)staging + offset, form->rows, first};
}

static rows_at of_caller(const wefti_queue_request *request, size_t index)
{
    size_t inputs = request->io.input_count;
    void *data = index < inputs ? request->io.inputs[index].data
                                : request->io.outputs[index - inputs].data;
    return (rows_at){data, request->rows, 0};
}

/* What run_batch works on. */
typedef struct work {
    wefti_queue_scratch *scratch;
    wefti_queue_batch *batch;
    wefti_queue_class *class;   /* of the batch */
    wefti_queue_request *ended; /* chain */
} work;

static void add_ended(work *self, wefti_queue_request *request)
{
    request->next_ended = self->ended;
    self->ended = request;
}

static void zero_outputs(const wefti_queue_request *request)
{
    for (size_t i = 0; i < request->io.output_count; i++) {
        const weft_tensor *output = &request->io.outputs[i];
        if (output->size_bytes > 0) {
            memset(output->data, 0, output->size_bytes);
        }
    }
}

/* How a run ended, and where its answer lies. */
typedef struct run_result {
    const wefti_queue_form *form;
    void *staging;
    int64_t first;                    /* row */
    const wefti_queue_layout *layout; /* of what was left with the callers, or NULL */
    weft_status status;
    weft_error error;
} run_result;

/* Ends a request that is `storing` with its rows of an answer, or with a failure. */
static void put_answer(work *self, wefti_queue_request *request,
                       const run_result *answer)
{
    request->outcome = answer->status;
    if (answer->status != WEFT_OK) {
        request->base.error = answer->error;
        zero_outputs(request);
    }
    for (size_t i = 0; answer->status == WEFT_OK && i < request->io.output_count; i++) {
        size_t at = request->io.input_count + i;
        if (answer->layout && answer->layout->tensors[at].row_bytes > 0) {
            continue;
        }
        rows_at to = of_caller(request, at);
        rows_at from = in_staging(answer->form, at, answer->staging, answer->first);
        if (self->class->cuts != NULL) {
            wefti_queue_cut_rows(self->class, at, from.data, from.all_rows, from.first,
                                 &request->tensors[at]);
        } else {
            copy_rows(self->class, at, &to, &from, request->rows);
        }
    }
    add_ended(self, request);
}

/* The same for one that is `running`. Until it is `storing`, nothing of it may be
 * touched: it may be cancelled. */
static void store(work *self, wefti_queue_request *request, const run_result *answer)
{
    if (wefti_queue_begin_storing(request)) {
        put_answer(self, request, answer);
    }
}

static bool make_room(void **memory, size_t *size_bytes, size_t needed)
{
    if (*size_bytes >= needed && *memory) {
        return true;
    }
    wefti_free(*memory);
    *memory = wefti_malloc_aligned(needed);
    *size_bytes = *memory ? needed : 0;
    return *memory != NULL;
}

/* The addresses of a tensor's rows, where a batch leaves it with the callers. */
static void **row_table(const work *self, const wefti_queue_apart *apart)
{
    return (void **)(void *)((char *)self->scratch->tables + apart->table);
}

/* Runs the model on staged tensors, or, with a layout, on what the tables say. */
static void run_form(work *self, const wefti_queue_form *form, void *staging,
                     const wefti_queue_layout *layout, run_result *answer)
{
    *answer = (run_result){.form = form, .staging = staging, .layout = layout};
    weft_model *model = self->class->model->model;
    size_t inputs = weft_model_input_count(model);
    size_t outputs = weft_model_output_count(model);
    enum { ON_STACK = 16 };
    weft_tensor few_tensors[ON_STACK];
    wefti_rows few_rows[ON_STACK];
    weft_tensor *tensors = few_tensors;
    wefti_rows *rows = few_rows;
    void *room = NULL;
    if (inputs + outputs > ON_STACK) {
        room = wefti_calloc(inputs + outputs, sizeof *tensors + sizeof *rows);
        if (!room) {
            answer->status = wefti_error_memory(&answer->error, "a batch");
            return;
        }
        tensors = room;
        rows = (wefti_rows *)(void *)(tensors + inputs + outputs);
    }
    for (size_t i = 0; i < inputs + outputs; i++) {
        tensors[i] = form->tensors[i];
        tensors[i].data = in_staging(form, i, staging, 0).data;
        if (layout) {
            const wefti_queue_apart *apart = &layout->tensors[i];
            rows[i].addresses = apart->row_bytes > 0 ? row_table(self, apart) : NULL;
            rows[i].bytes = apart->row_bytes;
        }
    }
    weft_io io = {tensors, inputs, tensors + inputs, outputs};
    self->batch->ran = true;
    answer->status = layout ? wefti_run_rows(model, &io, rows, &answer->error)
                            : wefti_run_accepted(model, &io, &answer->error);
    wefti_free(room);
}

/* On the caller's own tensors: cannot be cancelled any more. */
static void run_in_place(work *self, wefti_queue_request *request)
{
    if (wefti_queue_leave_loading(request, WEFTI_REQUEST_STORING)) {
        self->batch->ran = true;
        request->outcome = wefti_run_accepted(self->class->model->model, &request->io,
                                              &request->base.error);
        add_ended(self, request);
    }
}

/* Copies one of a caller's inputs into rows of the staging memory. */
static void load_input(const work *self, const wefti_queue_request *request,
                       const wefti_queue_form *form, size_t index, int64_t first)
{
    rows_at to = in_staging(form, index, self->scratch->staging, first);
    rows_at from = of_caller(request, index);
    if (self->class->cuts != NULL) {
        wefti_queue_pad_rows(self->class, index, &request->tensors[index], to.data,
                             to.all_rows, to.first);
    } else {
        copy_rows(self->class, index, &to, &from, request->rows);
    }
}

/* Points the tables of a layout, if there is one, at a caller's tensors, and copies the
 * inputs that have none. */
static void load(const work *self, const wefti_queue_request *request,
                 const wefti_queue_form *form, const wefti_queue_layout *layout,
                 int64_t first)
{
    size_t inputs = request->io.input_count;
    size_t outputs = layout ? request->io.output_count : 0;
    for (size_t i = 0; i < inputs + outputs; i++) {
        const wefti_queue_apart *apart = layout ? &layout->tensors[i] : NULL;
        if (apart && apart->row_bytes > 0) {
            rows_at own = of_caller(request, i);
            void **rows = row_table(self, apart) + first * apart->per_row;
            for (int64_t row = 0; row < request->rows * apart->per_row; row++) {
                rows[row] = own.data + (size_t)row * apart->row_bytes;
            }
        } else if (i < inputs) {
            load_input(self, request, form, i, first);
        }
    }
}

/* The caller's tensors are not used any more. */
static bool start(wefti_queue_request *request)
{
    return wefti_queue_leave_loading(request, WEFTI_REQUEST_RUNNING);
}

static void run_alone(work *self, wefti_queue_request *request)
{
    wefti_queue_scratch *scratch = self->scratch;
    const wefti_queue_form *form = NULL;
    if (request->rows <= scratch->queue->params.max_batch_size) {
        form = wefti_queue_get_form(self->class, request->rows);
    }
    if (self->batch->leads || !form || form->staging_bytes > MOST_STAGED_BYTES ||
        !make_room(&scratch->staging, &scratch->staging_bytes, form->staging_bytes)) {
        run_in_place(self, request);
        return;
    }
    load(self, request, form, NULL, 0);
    if (start(request)) {
        run_result answer;
        run_form(self, form, scratch->staging, NULL, &answer);
        store(self, request, &answer);
    }
}

/* Rows that nobody asked for repeat the first one: they must be fit to compute. */
static void pad_tensor(work *self, const wefti_queue_form *form, size_t index,
                       int64_t rows)
{
    void *staging = self->scratch->staging;
    rows_at from = in_staging(form, index, staging, 0);
    for (int64_t row = rows; row < form->rows; row++) {
        rows_at to = in_staging(form, index, staging, row);
        copy_rows(self->class, index, &to, &from, 1);
    }
}

/* Where a layout says where rows lie, what nobody asked for is stored in the staging
 * memory. */
static void pad(work *self, const wefti_queue_form *form,
                const wefti_queue_layout *layout, int64_t rows)
{
    size_t inputs = weft_model_input_count(self->class->model->model);
    size_t outputs = layout ? weft_model_output_count(self->class->model->model) : 0;
    for (size_t i = 0; i < inputs + outputs; i++) {
        const wefti_queue_apart *apart = layout ? &layout->tensors[i] : NULL;
        if (apart && apart->row_bytes > 0) {
            rows_at own = in_staging(form, i, self->scratch->staging, 0);
            void **table = row_table(self, apart);
            for (int64_t row = rows * apart->per_row; row < form->rows * apart->per_row;
                 row++) {
                table[row] = i < inputs ? table[row % apart->per_row]
                                        : own.data + (size_t)row * apart->row_bytes;
            }
        } else if (i < inputs) {
            pad_tensor(self, form, i, rows);
        }
    }
}

/* One request of a failed batch, from its staged rows. */
static void retry_alone(work *self, wefti_queue_request *request,
                        const wefti_queue_form *joined, int64_t first)
{
    wefti_queue_scratch *scratch = self->scratch;
    const wefti_queue_form *form = wefti_queue_get_form(self->class, request->rows);
    run_result answer;
    if (form && make_room(&scratch->retry_staging, &scratch->retry_staging_bytes,
                          form->staging_bytes)) {
        for (size_t i = 0; i < request->io.input_count; i++) {
            rows_at to = in_staging(form, i, scratch->retry_staging, 0);
            rows_at from = in_staging(joined, i, scratch->staging, first);
            copy_rows(self->class, i, &to, &from, request->rows);
        }
        run_form(self, form, scratch->retry_staging, NULL, &answer);
    } else {
        answer.status = wefti_error_memory(&answer.error, "a request of a batch");
    }
    store(self, request, &answer);
}

/* Whether the parts of a failed batch may fare better than the whole. */
static bool is_worth_retrying(weft_status status)
{
    return status != WEFT_DEVICE_LOST && status != WEFT_FORKED &&
           status != WEFT_CANCELLED;
}

/* Loads the requests of a batch, and leaves out those that were cancelled meanwhile.
 * Returns the rows that were loaded, which may be more than are left in the batch.
 *
 * What is copied has to be there before its request may be cancelled freely, for which
 * the processor waits; so where copying takes little time all is copied first. */
static int64_t load_all(const work *self, const wefti_queue_form *form)
{
    wefti_queue_batch *batch = self->batch;
    int32_t at_once = form->staging_bytes > MOST_STAGED_BYTES ? 1 : batch->count;
    int32_t kept = 0, count = batch->count;
    int64_t rows = 0;
    for (int32_t begin = 0; begin < count; begin += at_once) {
        for (int32_t i = begin; i < begin + at_once; i++) {
            wefti_queue_request *request = batch->requests[i];
            load(self, request, form, NULL, rows);
            request->first_row = rows;
            rows += request->rows;
        }
        for (int32_t i = begin; i < begin + at_once; i++) {
            wefti_queue_request *request = batch->requests[i];
            int32_t own_rows = request->rows; /* it may be gone then */
            bool starts = start(request);
            batch->requests[kept] = request;
            kept += starts ? 1 : 0;
            batch->rows -= starts ? 0 : own_rows;
        }
    }
    batch->count = kept;
    return rows;
}

/* A batch on the callers' own tensors, as far as the plan takes them in rows. Its
 * requests stay `loading`: who cancels one of them waits until the run is over, which
 * is why it has to be short, and does not wait for a context, which may be the
 * canceller's. False: there is none, or the run failed, so that copies have to do. */
static bool run_joined_in_place(work *self, const wefti_queue_form *form,
                                const wefti_queue_layout *layout)
{
    wefti_queue_batch *batch = self->batch;
    wefti_queue_scratch *scratch = self->scratch;
    int64_t rows = 0;
    if (!make_room(&scratch->tables, &scratch->tables_bytes, layout->tables_bytes)) {
        return false;
    }
    for (int32_t i = 0; i < batch->count; i++) {
        wefti_queue_request *request = batch->requests[i];
        load(self, request, form, layout, rows);
        request->first_row = rows;
        rows += request->rows;
    }
    pad(self, form, layout, rows);
    run_result answer;
    run_form(self, form, scratch->staging, layout, &answer);
    if (answer.status != WEFT_OK && is_worth_retrying(answer.status)) {
        batch->ran = false;
        return false;
    }
    batch->padded_rows = form->rows - batch->rows;
    for (int32_t i = 0; i < batch->count; i++) {
        wefti_queue_request *request = batch->requests[i];
        answer.first = request->first_row;
        if (wefti_queue_leave_loading(request, WEFTI_REQUEST_STORING)) {
            put_answer(self, request, &answer);
        }
    }
    return true;
}

static void run_joined(work *self, wefti_queue_form *form)
{
    wefti_queue_batch *batch = self->batch;
    /* Where requests are not compared, an output may lie in the input of another. */
    const wefti_queue_layout *layout =
        batch->count <= MOST_COMPARED ? wefti_queue_get_layout(form) : NULL;
    if (layout && run_joined_in_place(self, form, layout)) {
        return;
    }
    int64_t rows = load_all(self, form);
    int32_t count = batch->count;
    if (count == 0) {
        return;
    }
    batch->padded_rows = form->rows - batch->rows;
    pad(self, form, NULL, rows);
    run_result answer;
    run_form(self, form, self->scratch->staging, NULL, &answer);
    /* Also of one that is left alone: rows of cancelled ones have run with it. */
    bool retry = answer.status != WEFT_OK && (count > 1 || rows > batch->rows) &&
                 is_worth_retrying(answer.status);
    for (int32_t i = 0; i < count; i++) {
        wefti_queue_request *request = batch->requests[i];
        answer.first = request->first_row;
        if (retry) {
            retry_alone(self, request, form, answer.first);
        } else {
            store(self, request, &answer);
        }
    }
    batch->was_split = retry;
    if (answer.status == WEFT_OK) {
        wefti_queue_learn_layout(self->class, form);
    }
}

/* Whether an output of one request lies in a tensor of another. */
static bool outputs_overlap(const wefti_queue_request *writer,
                            const wefti_queue_request *other)
{
    size_t count = writer->io.input_count + writer->io.output_count;
    for (size_t o = writer->io.input_count; o < count; o++) {
        for (size_t t = 0; t < count; t++) {
            if (wefti_queue_overlap(&writer->tensors[o], &other->tensors[t])) {
                return true;
            }
        }
    }
    return false;
}

/* Where a tensor lies. */
typedef struct place {
    uintptr_t begin, end;
    bool output;
} place;

/* Puts the places of a request's tensors among the others, by address. They mostly come
 * in that order. */
static size_t add_places(const wefti_queue_request *request, place *places,
                         size_t count)
{
    size_t inputs = request->io.input_count;
    for (size_t t = 0; t < inputs + request->io.output_count; t++) {
        const weft_tensor *tensor = &request->tensors[t];
        uintptr_t begin = (uintptr_t)tensor->data;
        size_t at = count++;
        for (; at > 0 && places[at - 1].begin > begin; at--) {
            places[at] = places[at - 1];
        }
        places[at] = (place){begin, begin + tensor->size_bytes, t >= inputs};
    }
    return count;
}

/* Whether no output of the batch lies in another tensor; false, too, when there are too
 * many of them to say so soon. */
static bool are_apart(const wefti_queue_batch *batch)
{
    place places[MOST_PLACES];
    const weft_io *io = &batch->requests[0]->io;
    size_t count = 0;
    uintptr_t end = 0, outputs_end = 0; /* of those before */
    if ((size_t)batch->count > MOST_PLACES / (io->input_count + io->output_count + 1)) {
        return false;
    }
    for (int32_t i = 0; i < batch->count; i++) {
        count = add_places(batch->requests[i], places, count);
    }
    for (size_t i = 0; i < count; i++) {
        const place *p = &places[i];
        if (p->begin < (p->output ? end : outputs_end)) {
            return false;
        }
        end = p->end > end ? p->end : end;
        outputs_end = p->output && p->end > outputs_end ? p->end : outputs_end;
    }
    return true;
}

/* Takes those out of the batch whose outputs lie in tensors of requests before them. */
static void refuse_overlaps(work *self)
{
    wefti_queue_batch *batch = self->batch;
    if (are_apart(batch)) {
        return;
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < batch->count; i++) {
        wefti_queue_request *request = batch->requests[i];
        bool bad = false;
        for (int32_t j = 0; j < kept && !bad; j++) {
            bad = outputs_overlap(request, batch->requests[j]) ||
                  outputs_overlap(batch->requests[j], request);
        }
        if (!bad) {
            batch->requests[kept++] = request;
            continue;
        }
        batch->rows -= request->rows;
        if (wefti_queue_leave_loading(request, WEFTI_REQUEST_STORING)) {
            request->outcome = wefti_error(
                &request->base.error, WEFT_INVALID_ARGUMENT,
                "the request's output lies in a tensor of another request that waits "
                "at the same time; give each its own memory");
            add_ended(self, request);
        }
    }
    batch->count = kept;
}

/* How long each of a batch's requests has waited. */
static void record_waits(const weft_queue *queue, const wefti_queue_batch *batch)
{
    for (int32_t i = 0; i < batch->count; i++) {
        const wefti_queue_request *request = batch->requests[i];
        const wefti_profile_note note = {
            .kind = WEFT_PROFILE_QUEUED, .name = "queued", .counts = {request->rows}};
        wefti_profile_record_until(queue->device->profiler, request->submitted_ns,
                                   batch->chosen_ns, &note);
    }
}

static void record_batch(const weft_queue *queue, const wefti_queue_batch *batch)
{
    char text[64];
    snprintf(text, sizeof text, "%d rows of %d requests, %d padded", (int)batch->rows,
             (int)batch->count, (int)batch->padded_rows);
    const wefti_profile_note note = {.kind = WEFT_PROFILE_BATCH,
                                     .name = "batch",
                                     .detail = text,
                                     .counts = {batch->count, batch->rows}};
    wefti_profile_record(queue->device->profiler, batch->chosen_ns, &note);
}

wefti_queue_request *wefti_queue_run_batch(wefti_queue_scratch *scratch,
                                           wefti_queue_batch *batch)
{
    work self = {.scratch = scratch, .batch = batch, .class = batch->class};
    weft_queue *queue = scratch->queue;
    wefti_queue_form *form = NULL;
    if (WEFTI_UNLIKELY(queue->device->profiler != NULL)) {
        record_waits(queue, batch);
    }
    if (batch->count > 1 && batch->count <= MOST_COMPARED) {
        refuse_overlaps(&self);
    }
    if (batch->count > 1) {
        int32_t padded = wefti_queue_padded_rows(batch->rows);
        int32_t most = queue->params.max_batch_size;
        form = wefti_queue_get_form(batch->class, padded < most ? padded : most);
        bool room =
            form && form->joins &&
            make_room(&scratch->staging, &scratch->staging_bytes, form->staging_bytes);
        if (!room) {
            wefti_queue_give_back(queue, batch, 1,
                                  form && !form->joins ? &form->why_not : NULL);
        }
    }
    if (batch->count > 1) {
        batch->form = form;
        run_joined(&self, form);
    } else if (batch->count == 1) {
        run_alone(&self, batch->requests[0]);
    }
    if (WEFTI_UNLIKELY(queue->device->profiler != NULL)) {
        record_batch(queue, batch);
    }
    return self.ended;
}
