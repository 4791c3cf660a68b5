/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <weft/request.h>

#include "base/float_state.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/profile.h"
#include "graph/check.h"
#include "graph/outputs.h"
#include "graph/padding.h"
#include "graph/run.h"
#include "runtime/context.h"
#include "runtime/request.h"
#include "runtime/stream.h"

/* Room on the stack for the slots of one call, which may be two for each tensor; for
 * more the context keeps room. */
enum { STACK_SLOTS = 64 };

/* Returns whether a tensor lies on a card. */
static bool set_slots(void **slots, void *workspace, const weft_io *io)
{
    unsigned int places = WEFT_PLACE_HOST;
    slots[0] = workspace;
    for (size_t i = 0; i < io->input_count; i++) {
        slots[1 + i] = io->inputs[i].data;
        places |= (unsigned int)io->inputs[i].place;
    }
    for (size_t i = 0; i < io->output_count; i++) {
        slots[1 + io->input_count + i] = io->outputs[i].data;
        places |= (unsigned int)io->outputs[i].place;
    }
    return places != WEFT_PLACE_HOST;
}

/* The second half of the slots. */
static WEFTI_NOINLINE void set_card_slots(void **slots, const weft_io *io)
{
    slots[0] = NULL;
    for (size_t i = 0; i < io->input_count; i++) {
        const weft_tensor *t = &io->inputs[i];
        slots[1 + i] = t->place == WEFT_PLACE_CARD ? t->data : NULL;
    }
    for (size_t i = 0; i < io->output_count; i++) {
        const weft_tensor *t = &io->outputs[i];
        slots[1 + io->input_count + i] = t->place == WEFT_PLACE_CARD ? t->data : NULL;
    }
}

/* Likewise for tensors that lie in rows, of the size that the plan's steps take. */
static WEFTI_NOINLINE weft_status set_row_slots(void **slots, const wefti_plan *plan,
                                                const wefti_rows *rows,
                                                weft_error *error)
{
    slots[0] = NULL;
    for (size_t i = 0; i < plan->input_count + plan->output_count; i++) {
        if (rows[i].addresses != NULL &&
            rows[i].bytes != wefti_plan_row_bytes(plan, i)) {
            return wefti_error(error, WEFT_INTERNAL,
                               "tensor %zu comes in rows of %zu bytes, not of %zu", i,
                               rows[i].bytes, wefti_plan_row_bytes(plan, i));
        }
        slots[1 + i] = rows[i].addresses;
    }
    return WEFT_OK;
}

static void zero_outputs(const weft_context *context, const wefti_plan *plan,
                         const weft_io *io)
{
    const wefti_stream_table *stream = &plan->backend->stream;
    for (size_t i = 0; i < io->output_count; i++) {
        void *data = io->outputs[i].data;
        if (plan->output_bytes[i] == 0) {
            continue;
        }
        if (WEFTI_LIKELY(io->outputs[i].place == WEFT_PLACE_HOST)) {
            memset(data, 0, plan->output_bytes[i]);
            continue;
        }
        /* On a card that is lost it does not matter any more. */
        wefti_backend_stream *handle = context->stream->handle;
        (void)stream->fill(handle, data, 0, plan->output_bytes[i], NULL);
        (void)stream->synchronize(handle, INT64_MAX, NULL);
    }
}

static void describe_output_tensors(const wefti_plan *plan, const weft_io *io)
{
    for (size_t i = 0; i < io->output_count; i++) {
        weft_tensor *tensor = &io->outputs[i];
        if (tensor->rank == -1) {
            const wefti_known *known = &plan->outputs[i];
            tensor->type = known->type;
            tensor->rank = known->rank;
            memcpy(tensor->dims, known->dims, sizeof(tensor->dims));
            memset(tensor->strides, 0, sizeof(tensor->strides));
            tensor->size_bytes = plan->output_bytes[i];
        }
    }
}

#if defined(WEFT_TESTING)
/* What a mix-up of two requests would do: this call gets the answer of an earlier one
 * with the same size, which gets ours next time. */
static void swap_with_last_answer(void *answer, size_t bytes)
{
    static wefti_atomic_ptr last; /* {size, data}; taken out while it is used */
    size_t *mine = wefti_malloc(sizeof(size_t) + bytes);
    if (mine == NULL) {
        return;
    }
    mine[0] = bytes;
    memcpy(mine + 1, answer, bytes);
    /* From here on another thread may take and free `mine`. */
    size_t *theirs = wefti_atomic_ptr_exchange_acq_rel(&last, mine);
    if (theirs != NULL && theirs[0] == bytes) {
        memcpy(answer, theirs + 1, bytes);
    }
    wefti_free(theirs);
    if (!wefti_sabotaged(WEFTI_SABOTAGE_SWAP_OUTPUTS)) {
        wefti_free(wefti_atomic_ptr_exchange_acq_rel(&last, NULL));
    }
}
#endif

static WEFTI_NOINLINE void record_execute(const weft_context *context, int64_t begin_ns,
                                          weft_status status)
{
    const wefti_profile_note note = {.kind = WEFT_PROFILE_EXECUTE,
                                     .status = status,
                                     .name = "execute",
                                     .detail = context->device->name,
                                     .counts = {context->slot}};
    wefti_profile_record(context->device->profiler, begin_ns, &note);
}

/* Also after a failure: nothing of a call may still be on its way. A backend that waits
 * while it executes has recorded that wait, and this one is too short to be told. */
static weft_status await_device(const weft_context *context, const wefti_plan *plan,
                                weft_error *error)
{
    weft_profiler *profiler = context->device->profiler;
    bool recorded = WEFTI_UNLIKELY(profiler != NULL) && !plan->backend->on_host;
    int64_t begin_ns = recorded ? wefti_clock_ns() : 0;
    weft_status status =
        plan->backend->stream.synchronize(context->stream->handle, INT64_MAX, error);
    if (recorded) {
        wefti_profile_wait(profiler, begin_ns, "wait for the device", context->slot,
                           status);
    }
    return status;
}

static weft_status execute(weft_context *context, const wefti_plan *plan,
                           const weft_io *io, const wefti_rows *rows, weft_error *error)
{
    int64_t begin_ns = wefti_profile_begin(context->device->profiler);
    const size_t tensors = 1 + io->input_count + io->output_count;
    WEFTI_TRY(wefti_context_reserve(context, plan->workspace_bytes, error));
    void *on_stack[STACK_SLOTS];
    void **slots = on_stack;
    if (2 * tensors > STACK_SLOTS) {
        WEFTI_TRY(wefti_context_reserve_slots(context, 2 * tensors, error));
        slots = context->slots;
    }
    const bool on_card = set_slots(slots, context->workspace, io);
    if (WEFTI_UNLIKELY(on_card)) {
        set_card_slots(slots + tensors, io);
    } else if (rows != NULL) {
        WEFTI_TRY(set_row_slots(slots + tensors, plan, rows, error));
    }
    wefti_recipe *recipe = plan->recipes[context->card];
    weft_status status = plan->backend->stream.execute(
        context->stream->handle, recipe, slots,
        on_card || rows != NULL ? 2 * tensors : tensors, error);
    weft_status ended = await_device(context, plan, status == WEFT_OK ? error : NULL);
    status = status == WEFT_OK ? ended : status;
#if defined(WEFT_TESTING)
    if (wefti_sabotaged(WEFTI_SABOTAGE_SWAP_OUTPUTS) && !on_card) {
        const wefti_rows *first = rows != NULL ? &rows[io->input_count] : NULL;
        bool apart = first != NULL && first->addresses != NULL;
        swap_with_last_answer(apart ? first->addresses[0] : io->outputs[0].data,
                              apart ? first->bytes : plan->output_bytes[0]);
    }
#endif
    if (WEFTI_UNLIKELY(begin_ns != 0)) {
        record_execute(context, begin_ns, status);
    }
    return status;
}

/* A run of a model that can be planned. */
typedef struct call {
    weft_model *model;
    const weft_io *io;      /* as it is planned: the caller's, or the padding's */
    const wefti_rows *rows; /* NULL: all tensors lie in one piece */
    wefti_padding *padding;
} call;

/* The workspace counts for as long as the run is under way. */
static weft_status execute_under_caps(weft_context *context, const call *self,
                                      const wefti_plan *plan, const weft_io *io,
                                      weft_error *error)
{
    wefti_account *memory = self->model->memory;
    if (WEFTI_LIKELY(memory == NULL)) {
        return execute(context, plan, io, self->rows, error);
    }
    WEFTI_TRY(
        wefti_account_take(memory, plan->workspace_bytes, "a run's workspace", error));
    weft_status status = execute(context, plan, io, self->rows, error);
    wefti_account_give(memory, plan->workspace_bytes);
    return status;
}

static weft_status check_call(const call *self, const wefti_plan *plan,
                              weft_error *error)
{
    return WEFTI_LIKELY(self->padding == NULL)
               ? wefti_check_tensors(self->model, plan, self->io, error)
               : wefti_padding_check(self->padding, plan, error);
}

static WEFTI_NOINLINE weft_status run_padded(weft_context *context, const call *self,
                                             const wefti_plan *plan, weft_error *error)
{
    wefti_padding *padding = self->padding;
    weft_status status = wefti_padding_lay_out(padding, plan, error);
    if (status == WEFT_OK) {
        status = wefti_context_reserve_staging(context, padding->staging_bytes, error);
    }
    if (status == WEFT_OK) {
        wefti_padding_load(padding, plan, context->staging);
        status = execute_under_caps(context, self, plan, &padding->io, error);
    }
    if (status == WEFT_OK) {
        wefti_padding_store(padding, plan);
    } else {
        wefti_padding_zero_outputs(padding, plan);
    }
    return status;
}

/* The whole of a run with a plan that stays, in a context that the caller has entered.
 */
static weft_status run_plan(weft_context *context, const call *self,
                            const wefti_plan *plan, weft_error *error)
{
    if (WEFTI_UNLIKELY(self->padding != NULL)) {
        return run_padded(context, self, plan, error);
    }
    weft_status status = execute_under_caps(context, self, plan, self->io, error);
    if (status == WEFT_OK) {
        describe_output_tensors(plan, self->io);
    } else {
        zero_outputs(context, plan, self->io);
    }
    return status;
}

/* Runs when the plan is where `entry` says, else *missed and nothing was done. The
 * context shows others what it works on, so that the plan is not freed meanwhile. */
static weft_status run_found(weft_context *context, const call *self,
                             wefti_plan_entry *entry, bool *missed, weft_error *error)
{
    wefti_plan_cache *plans = &self->model->plans;
    const wefti_plan *plan = wefti_plan_entry_peek(entry);
    weft_status status = WEFT_OK;
    *missed = true;
    /* A context that cannot be entered says so when the slow path tries again. */
    if (WEFTI_UNLIKELY(plan == NULL) ||
        wefti_context_enter(context, plan, NULL) != WEFT_OK) {
        return status;
    }
    if (WEFTI_LIKELY(wefti_plan_cache_confirm(plans, entry, plan, self->io->inputs))) {
        *missed = false;
        status = check_call(self, plan, error);
        if (WEFTI_LIKELY(status == WEFT_OK)) {
            status = run_plan(context, self, plan, error);
        }
    }
    wefti_context_leave(context);
    wefti_plan_cache_left(plans, entry, plan);
    return status;
}

/* Runs with a plan that the caller holds and has checked the tensors against. */
static weft_status run_held(weft_context *context, const call *self,
                            const wefti_plan *plan, weft_error *error)
{
    WEFTI_TRY(wefti_context_enter(context, plan, error));
    weft_status status = run_plan(context, self, plan, error);
    wefti_context_leave(context);
    return status;
}

static weft_status lease_and_run(const call *self, const wefti_plan *plan,
                                 const weft_lease_params *params, weft_error *error)
{
    weft_context *context;
    WEFTI_TRY(wefti_context_acquire(self->model->device, params, &context, error));
    weft_status status = run_held(wefti_context_place(context), self, plan, error);
    wefti_context_release(context);
    return status;
}

/* The way of a run whose plan was not found. Without a context of its own it leases
 * one only when the plan is there: who waits for a plan keeps nobody else waiting. */
static WEFTI_NOINLINE weft_status hold_and_run(weft_context *context, const call *self,
                                               const weft_lease_params *params,
                                               weft_error *error)
{
    wefti_plan *plan;
    WEFTI_TRY(wefti_model_hold_plan(self->model, self->io, &plan, error));
    weft_status status = check_call(self, plan, error);
    if (status == WEFT_OK) {
        status = context != NULL ? run_held(context, self, plan, error)
                                 : lease_and_run(self, plan, params, error);
    }
    wefti_plan_cache_drop(&self->model->plans, plan);
    return status;
}

static weft_status run_with_lease(const call *self, const weft_lease_params *params,
                                  weft_error *error)
{
    wefti_plan_entry *entry = wefti_plan_cache_seek(
        &self->model->plans, self->io->inputs, self->io->input_count);
    if (WEFTI_LIKELY(entry != NULL)) {
        weft_context *context;
        bool missed;
        WEFTI_TRY(wefti_context_acquire(self->model->device, params, &context, error));
        weft_status status =
            run_found(wefti_context_place(context), self, entry, &missed, error);
        wefti_context_release(context);
        if (WEFTI_LIKELY(!missed)) {
            return status;
        }
    }
    if (WEFTI_UNLIKELY(self->rows != NULL)) {
        return wefti_error(error, WEFT_BUSY, "the plan is not there");
    }
    return hold_and_run(NULL, self, params, error);
}

static weft_status run_in_context(weft_context *context, const call *self,
                                  weft_error *error)
{
    wefti_plan_entry *entry = wefti_plan_cache_seek(
        &self->model->plans, self->io->inputs, self->io->input_count);
    if (WEFTI_LIKELY(entry != NULL)) {
        bool missed;
        weft_status status = run_found(context, self, entry, &missed, error);
        if (WEFTI_LIKELY(!missed)) {
            return status;
        }
    }
    return hold_and_run(context, self, NULL, error);
}

weft_status wefti_run_in_context(weft_context *context, weft_model *model,
                                 const weft_io *io, weft_error *error)
{
    const call self = {.model = model, .io = io};
    return run_in_context(context, &self, error);
}

/* The way of a run of a model with buckets. */
static WEFTI_NOINLINE weft_status run_rounded(weft_context *context, weft_model *model,
                                              const weft_io *io,
                                              const weft_lease_params *params,
                                              weft_error *error)
{
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, io, error);
    if (status == WEFT_OK) {
        const call self = {.model = model,
                           .io = padding.needed ? &padding.io : io,
                           .padding = padding.needed ? &padding : NULL};
        status = context != NULL ? run_in_context(context, &self, error)
                                 : run_with_lease(&self, params, error);
    }
    wefti_padding_fini(&padding);
    return status;
}

static weft_status describe_outputs(void *user, const wefti_plan *plan,
                                    weft_error *error)
{
    const call *self = user;
    (void)error;
    for (size_t i = 0; i < self->io->output_count; i++) {
        self->io->outputs[i].rank = -1;
    }
    if (self->padding != NULL) {
        wefti_padding_describe(self->padding, plan, self->io->outputs);
    } else {
        describe_output_tensors(plan, self->io);
    }
    return WEFT_OK;
}

/* Writes what the outputs of a run on these inputs are; builds the plan. */
static weft_status infer_outputs(weft_model *model, const weft_io *io,
                                 weft_tensor *outputs, weft_error *error)
{
    weft_io described = {io->inputs, io->input_count, outputs, io->output_count};
    call self = {.model = model, .io = &described};
    if (model->buckets == NULL) {
        return wefti_model_visit_plan(model, io, describe_outputs, &self, error);
    }
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, io, error);
    if (status == WEFT_OK) {
        self.padding = &padding;
        status =
            wefti_model_visit_plan(model, &padding.io, describe_outputs, &self, error);
    }
    wefti_padding_fini(&padding);
    return status;
}

/* The results of a model with stages, in a context of this call. */
static weft_status run_stages_in(weft_context *context, weft_model *model,
                                 const weft_io *io, weft_error *error)
{
    size_t count = io->input_count + io->output_count;
    wefti_value *values = wefti_calloc(count, sizeof(*values));
    if (values == NULL) {
        return wefti_error_memory(error, "a run");
    }
    wefti_value *results = values + io->input_count;
    wefti_flow flow;
    wefti_flow_init(&flow, context, model);
    weft_status status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && i < io->input_count; i++) {
        values[i].tensor = io->inputs[i];
        status = weft_tensor_measure(&io->inputs[i], NULL, &values[i].tensor.size_bytes,
                                     error);
    }
    if (status == WEFT_OK) {
        status = wefti_flow_call(&flow, model, values, results, error);
    }
    if (status == WEFT_OK) {
        status = wefti_outputs_store(model, io, results, error);
    }
    if (status != WEFT_OK) {
        wefti_outputs_zero(io);
    }
    wefti_flow_drop_all(&flow, results, io->output_count);
    wefti_flow_fini(&flow);
    wefti_free(values);
    return status;
}

/* The way of a run of a model with stages: one context for all of them. */
static WEFTI_NOINLINE weft_status run_stages(weft_context *context, weft_model *model,
                                             const weft_io *io,
                                             const weft_lease_params *params,
                                             weft_error *error)
{
    WEFTI_TRY(wefti_outputs_check(model, io, error));
    weft_context *leased = NULL;
    if (context == NULL) {
        WEFTI_TRY(wefti_context_acquire(model->device, params, &leased, error));
    }
    wefti_float_state state = wefti_float_enter(); /* nodes between parts compute too */
    weft_status status = run_stages_in(
        context != NULL ? context : wefti_context_place(leased), model, io, error);
    wefti_float_leave(state);
    if (leased != NULL) {
        wefti_context_release(leased);
    }
    return status;
}

static bool any_open(const weft_io *io)
{
    bool open = false;
    for (size_t i = 0; i < io->output_count; i++) {
        open = open || wefti_output_is_open(&io->outputs[i]);
    }
    return open;
}

/* Frees the outputs that were open, and opens them again. */
static void open_again(const weft_io *io, const bool *was_open)
{
    for (size_t i = 0; i < io->output_count; i++) {
        if (was_open[i]) {
            wefti_free(io->outputs[i].data);
            io->outputs[i] = (weft_tensor){.rank = -1};
        }
    }
}

static weft_status run_any(weft_context *context, weft_model *model, const weft_io *io,
                           const weft_lease_params *params, weft_error *error);

/* Gives outputs memory where the caller wants it from the library, for a model without
 * stages: then the shapes can be told before the run. */
static WEFTI_NOINLINE weft_status run_open(weft_context *context, weft_model *model,
                                           const weft_io *io,
                                           const weft_lease_params *params,
                                           weft_error *error)
{
    char *room = wefti_calloc(io->output_count, sizeof(*io->outputs) + sizeof(bool));
    if (room == NULL) {
        return wefti_error_memory(error, "the outputs of a run");
    }
    weft_tensor *shapes = (weft_tensor *)(void *)room;
    bool *was_open = (bool *)(shapes + io->output_count);
    weft_status status = infer_outputs(model, io, shapes, error);
    for (size_t i = 0; status == WEFT_OK && i < io->output_count; i++) {
        if (wefti_output_is_open(&io->outputs[i])) {
            status = wefti_output_allocate(&shapes[i], error);
            was_open[i] = status == WEFT_OK;
            io->outputs[i] = was_open[i] ? shapes[i] : io->outputs[i];
        }
    }
    if (status == WEFT_OK) {
        status = run_any(context, model, io, params, error);
    }
    if (status != WEFT_OK) {
        open_again(io, was_open);
    }
    wefti_free(room);
    return status;
}

/* A run whose begin and end are recorded, in a context of the caller's or not. */
static WEFTI_NOINLINE weft_status run_recorded(weft_context *context, weft_model *model,
                                               const weft_io *io,
                                               const weft_lease_params *params,
                                               weft_error *error)
{
    int64_t begin_ns = wefti_clock_ns();
    weft_status status = run_any(context, model, io, params, error);
    const wefti_profile_note note = {.kind = WEFT_PROFILE_REQUEST,
                                     .status = status,
                                     .name = "request",
                                     .detail = model->device->name};
    wefti_profile_record(model->device->profiler, begin_ns, &note);
    return status;
}

/* A run in the caller's context, or in one that is leased. */
static weft_status run_any(weft_context *context, weft_model *model, const weft_io *io,
                           const weft_lease_params *params, weft_error *error)
{
    if (WEFTI_UNLIKELY(model->stages != NULL)) {
        return run_stages(context, model, io, params, error);
    }
    if (WEFTI_UNLIKELY(any_open(io))) {
        return run_open(context, model, io, params, error);
    }
    if (WEFTI_UNLIKELY(model->buckets != NULL)) {
        return run_rounded(context, model, io, params, error);
    }
    const call self = {.model = model, .io = io};
    return context != NULL ? run_in_context(context, &self, error)
                           : run_with_lease(&self, params, error);
}

weft_status wefti_run_accepted(weft_model *model, const weft_io *io, weft_error *error)
{
    return run_any(NULL, model, io, NULL, error);
}

weft_status wefti_run_rows(weft_model *model, const weft_io *io, const wefti_rows *rows,
                           weft_error *error)
{
    const call self = {.model = model, .io = io, .rows = rows};
    const weft_lease_params at_once = {.struct_size = sizeof(at_once),
                                       .policy = WEFT_LEASE_FAIL};
    return run_with_lease(&self, &at_once, error);
}

/* What wefti_model_get_row_bytes asks a plan. */
typedef struct row_question {
    double most_ns;
    size_t *row_bytes;
} row_question;

static weft_status read_row_bytes(void *user, const wefti_plan *plan, weft_error *error)
{
    const row_question *question = user;
    const wefti_recipe_table *table = &plan->backend->recipe;
    bool is_short =
        table->work_ns != NULL && table->work_ns(plan->recipes[0]) <= question->most_ns;
    (void)error;
    for (size_t i = 0; i < plan->input_count + plan->output_count; i++) {
        question->row_bytes[i] = is_short ? wefti_plan_row_bytes(plan, i) : 0;
    }
    return WEFT_OK;
}

weft_status wefti_model_get_row_bytes(weft_model *model, const weft_io *io,
                                      double most_ns, size_t *row_bytes,
                                      weft_error *error)
{
    row_question question = {most_ns, row_bytes};
    return wefti_model_visit_plan(model, io, read_row_bytes, &question, error);
}

weft_status weft_run(weft_model *model, const weft_io *io,
                     const weft_lease_params *params, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(wefti_check_counts(model, io, error));
    uint32_t shard;
    WEFTI_TRY(wefti_device_begin(model->device, &shard, error));
    weft_status status = WEFTI_LIKELY(model->device->profiler == NULL)
                             ? run_any(NULL, model, io, params, error)
                             : run_recorded(NULL, model, io, params, error);
    wefti_device_end(model->device, shard, wefti_outcome_of(status));
    return status;
}

weft_status weft_context_run(weft_context *context, weft_model *model,
                             const weft_io *io, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(wefti_check_counts(model, io, error));
    if (context == NULL || context->device != model->device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           context == NULL ? "context is NULL"
                                           : "context and model are of two devices");
    }
    context = wefti_context_place(context);
    uint32_t shard;
    WEFTI_TRY(wefti_device_begin(model->device, &shard, error));
    weft_status status = WEFTI_LIKELY(model->device->profiler == NULL)
                             ? run_any(context, model, io, NULL, error)
                             : run_recorded(context, model, io, NULL, error);
    wefti_device_end(model->device, shard, wefti_outcome_of(status));
    return status;
}

/* Only a run tells the shapes. */
static weft_status infer_stages(const weft_model *model, const weft_io *io,
                                weft_error *error)
{
    WEFTI_TRY(wefti_model_check_inputs(model, io, error));
    for (size_t i = 0; i < io->output_count; i++) {
        io->outputs[i].type = model->outputs[i].type;
        io->outputs[i].rank = -1;
        io->outputs[i].size_bytes = 0;
    }
    return WEFT_OK;
}

weft_status weft_model_infer_outputs(weft_model *model, const weft_io *io,
                                     weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(wefti_check_counts(model, io, error));
    WEFTI_TRY(wefti_device_check_open(model->device, error));
    for (size_t i = 0; i < io->output_count; i++) {
        io->outputs[i].place = WEFT_PLACE_HOST;
    }
    if (model->stages != NULL) {
        return infer_stages(model, io, error);
    }
    return infer_outputs(model, io, io->outputs, error);
}

weft_status weft_model_dump_plan(weft_model *model, const weft_io *io, char **text,
                                 weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (io == NULL || text == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "io or text is NULL");
    }
    weft_io inputs_only = *io;
    inputs_only.output_count = model == NULL ? 0 : model->net.output_count;
    inputs_only.outputs = inputs_only.output_count > 0 ? &(weft_tensor){0} : NULL;
    WEFTI_TRY(wefti_check_counts(model, &inputs_only, error));
    WEFTI_TRY(wefti_device_check_open(model->device, error));
    if (model->stages != NULL) {
        WEFTI_TRY(wefti_model_check_inputs(model, io, error));
        return wefti_stages_dump(model, text, error);
    }
    wefti_plan *plan;
    WEFTI_TRY(wefti_model_hold_plan(model, &inputs_only, &plan, error));
    weft_status status = wefti_plan_dump(plan, text, error);
    wefti_plan_cache_drop(&model->plans, plan);
    return status;
}

void weft_text_free(char *text)
{
    wefti_free(text);
}

/* What an asynchronous run keeps until it has ended; the inputs follow it. The outputs
 * are the request's. */
typedef struct submitted_run {
    weft_model *model; /* owned */
    weft_io io;
    weft_tensor inputs[];
} submitted_run;

static weft_status run_submitted(void *user, weft_error *error)
{
    submitted_run *run = user;
    return run->model->device->profiler == NULL
               ? run_any(NULL, run->model, &run->io, NULL, error)
               : run_recorded(NULL, run->model, &run->io, NULL, error);
}

static void release_submitted(void *user)
{
    submitted_run *run = user;
    weft_model_release(run->model);
    wefti_free(run);
}

static weft_status copy_call(weft_model *model, const weft_io *io, submitted_run **copy,
                             wefti_results **results, weft_error *error)
{
    submitted_run *run =
        wefti_calloc(1, sizeof(*run) + io->input_count * sizeof(run->inputs[0]));
    if (run == NULL) {
        return wefti_error_memory(error, "a request");
    }
    weft_status status = wefti_results_create(io, results, error);
    if (status != WEFT_OK) {
        wefti_free(run);
        return status;
    }
    run->io = (weft_io){
        .inputs = run->inputs,
        .input_count = io->input_count,
        .outputs = (*results)->tensors,
        .output_count = io->output_count,
    };
    if (io->input_count > 0) {
        memcpy(run->inputs, io->inputs, io->input_count * sizeof(*io->inputs));
    }
    run->model = weft_model_retain(model);
    *copy = run;
    return WEFT_OK;
}

/* Against the plan, if it is there; `io` is the caller's. */
static weft_status check_ahead(const call *self, const weft_io *io, weft_error *error)
{
    wefti_plan_cache *plans = &self->model->plans;
    wefti_plan_visit visit;
    if (!wefti_plan_cache_enter(plans, self->io->inputs, &visit)) {
        return wefti_check_unplanned(self->model, io, error);
    }
    weft_status status = check_call(self, visit.plan, error);
    wefti_plan_cache_leave(plans, &visit);
    return status;
}

/* Refuses what can be refused without building a plan, which would block. */
static weft_status check_submit(weft_model *model, const weft_io *io, weft_error *error)
{
    WEFTI_TRY(wefti_check_counts(model, io, error));
    WEFTI_TRY(wefti_model_check_inputs(model, io, error));
    if (model->stages != NULL) {
        return wefti_outputs_check(model, io, error);
    }
    if (any_open(io)) {
        return WEFT_OK; /* the run looks at the rest */
    }
    if (model->buckets == NULL) {
        const call self = {.model = model, .io = io};
        return check_ahead(&self, io, error);
    }
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, io, error);
    if (status == WEFT_OK) {
        const call self = {.model = model, .io = &padding.io, .padding = &padding};
        status = check_ahead(&self, io, error);
    }
    wefti_padding_fini(&padding);
    return status;
}

weft_status weft_submit(weft_model *model, const weft_io *io,
                        const weft_submit_params *params, weft_request **request,
                        weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    WEFTI_TRY(check_submit(model, io, error));
    if (request == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "request is NULL");
    }
    *request = NULL;
    submitted_run *run = NULL;
    wefti_results *results = NULL;
    WEFTI_TRY(copy_call(model, io, &run, &results, error));
    wefti_request_work work = {.body = run_submitted,
                               .user = run,
                               .release = release_submitted,
                               .results = results};
    return wefti_request_submit(model->device, &work, params, request, error);
}
