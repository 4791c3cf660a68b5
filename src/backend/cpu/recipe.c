/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/common/fault.h"
#include "backend/cost.h"
#include "base/memory.h"
#include "base/profile.h"

/* Helpers' scratch of one recipe is at most this; fewer helpers come when it is more.
 */
enum { MAX_HELPER_SCRATCH_BYTES = 4 << 20 };

/* What running a step needs, two cache lines and a bit; steps without tiles have none.
 */
typedef struct ready_step {
    wefti_cpu_function function;
    const void *params;
    const void *derived;
    int64_t tile_count;
    int64_t tile_ns;
    /* Where the operands are: slots[places[i].slot] + places[i].offset, or the address
     * in `offset` when `slot` is negative. */
    uintptr_t offsets[WEFTI_MAX_OPERANDS];
    int16_t slots[WEFTI_MAX_OPERANDS];
    int16_t operand_count; /* those behind are absent */
    bool shared;           /* worth a helper */
    uint32_t note;         /* among the recipe's */
    const char *label;
} ready_step;

/* What else is known of a step; one for each, in the plan's order. */
typedef struct step_notes {
    void *derived; /* owned */
    char text[80];
    char call[64]; /* the kernel and its sizes */
    double flops;
} step_notes;

struct wefti_recipe {
    /* immutable after create */
    ready_step *steps;
    size_t step_count;
    size_t slot_count; /* an execution brings at least so many */
    size_t own_count;  /* slots of the workspace, all inputs and all outputs */
    /* Of each of these: the bytes of a row where all steps take it in rows, 0 where one
     * does not, UNUSED where there is none. */
    size_t *row_bytes;
    size_t scratch_offset, scratch_bytes;
    double work_ns; /* of all steps, estimated */
    int32_t helper_count;
    bool shared;             /* worth helpers */
    weft_profiler *profiler; /* borrowed of the device; NULL: nothing is recorded */
    size_t workspace_bytes;
    step_notes *notes;
    size_t note_count;
    char *params; /* copies, one behind the other */
};

#define UNUSED SIZE_MAX

static bool round_up(size_t bytes, size_t *rounded)
{
    size_t more;
    if (WEFTI_ADD_OVERFLOWS(bytes, (size_t)WEFTI_CACHE_LINE - 1, &more)) {
        return false;
    }
    *rounded = more & ~((size_t)WEFTI_CACHE_LINE - 1);
    return true;
}

void wefti_cpu_recipe_destroy(wefti_recipe *recipe)
{
    if (recipe == NULL) {
        return;
    }
    for (size_t i = 0; i < recipe->note_count; i++) {
        wefti_free(recipe->notes[i].derived);
    }
    wefti_free(recipe->notes);
    wefti_free(recipe->row_bytes);
    wefti_free(recipe->steps);
    wefti_free(recipe->params);
    wefti_free(recipe);
}

/* Replaces a constant operand by its packed form. */
static weft_status pack_operand(const wefti_step *step,
                                const wefti_cpu_prepared *prepared,
                                wefti_weights *weights, ready_step *ready,
                                weft_error *error)
{
    int32_t i = prepared->packed_operand;
    if (i >= WEFTI_MAX_OPERANDS || step->operands[i].constant == NULL ||
        weights == NULL) {
        return wefti_error(error, WEFT_INTERNAL,
                           "%s: its kernel wants to pack operand %" PRId32
                           ", which is not a constant that may be packed",
                           step->label, i);
    }
    wefti_weight_request request = {.key.constant = step->operands[i].constant,
                                    .size_bytes = prepared->packed_bytes,
                                    .pack = prepared->pack,
                                    .params = step->params};
    memcpy(request.key.layout, prepared->packed_layout, sizeof(request.key.layout));
    const void *packed;
    weft_status status = wefti_weights_get(weights, &request, &packed, error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(error, status, "%s", step->label);
    }
    ready->offsets[i] = (uintptr_t)packed;
    return WEFT_OK;
}

static weft_status place_operands(wefti_recipe *recipe, const wefti_step *step,
                                  ready_step *ready, weft_error *error)
{
    for (int16_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        const wefti_operand *operand = &step->operands[i];
        ready->slots[i] = -1;
        if (operand->constant != NULL) {
            ready->offsets[i] = (uintptr_t)operand->constant;
        } else if (operand->slot > INT16_MAX) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: the cpu takes at most %d inputs and outputs",
                               step->label, (int)INT16_MAX);
        } else if (operand->slot >= 0) {
            ready->slots[i] = (int16_t)operand->slot;
            ready->offsets[i] = (uintptr_t)operand->offset_bytes;
            size_t needed = (size_t)operand->slot + 1;
            recipe->slot_count =
                needed > recipe->slot_count ? needed : recipe->slot_count;
        } else {
            continue;
        }
        ready->operand_count = (int16_t)(i + 1);
    }
    return WEFT_OK;
}

/* Notes how a step takes what lies in slots of the run. */
static void note_rows(wefti_recipe *recipe, const wefti_cpu_prepared *prepared,
                      const ready_step *ready)
{
    for (int16_t i = 0; i < ready->operand_count; i++) {
        if (ready->slots[i] < 0 || (size_t)ready->slots[i] >= recipe->own_count) {
            continue;
        }
        size_t *bytes = &recipe->row_bytes[ready->slots[i]];
        size_t here = ready->offsets[i] == 0 ? prepared->row_bytes[i] : 0;
        *bytes = *bytes == UNUSED || *bytes == here ? here : 0;
    }
}

/* A step is shared when a part of it is worth more than the handing over. */
static void decide_sharing(const wefti_cpu_prepared *prepared, ready_step *ready)
{
    const double most_ns = 1e15;
    double estimate_ns = prepared->work_ns < most_ns ? prepared->work_ns : most_ns;
    int64_t work_ns = estimate_ns > 0 ? (int64_t)estimate_ns : 0;
    ready->tile_count = prepared->tile_count;
    ready->tile_ns = work_ns / prepared->tile_count;
    ready->shared = prepared->tile_count > 1 && prepared->tile_count <= INT32_MAX &&
                    work_ns >= WEFTI_TEAM_MIN_STEP_NS;
}

/* True when every constant of the step lives as long as the packed weights. */
static bool constants_last(const wefti_step *step)
{
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        if (step->operands[i].constant != NULL && step->operands[i].temporary) {
            return false;
        }
    }
    return true;
}

/* "matmul 4x256 * 256x128" */
static void describe_call(const wefti_step *step, step_notes *notes)
{
    char shape[sizeof(notes->call)];
    wefti_kernel_shape(step->kernel, step->params, shape, sizeof(shape));
    snprintf(notes->call, sizeof(notes->call), "%.15s %.47s",
             wefti_kernel_name(step->kernel), shape);
    notes->flops = wefti_kernel_flops(step->kernel, step->params);
}

static weft_status prepare_step(wefti_recipe *recipe, const wefti_cpu_isa *isa,
                                const wefti_step *step, wefti_weights *weights,
                                weft_error *error)
{
    step_notes *notes = &recipe->notes[recipe->note_count];
    wefti_cpu_prepared prepared = {.packed_operand = -1};
    if ((uint32_t)step->kernel >= WEFTI_KERNEL_COUNT ||
        isa->prepare[step->kernel] == NULL) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the cpu's %s kernels have no %s", step->label,
                           isa->name, wefti_kernel_name(step->kernel));
    }
    weft_status status = isa->prepare[step->kernel](
        step, weights != NULL && constants_last(step), &prepared, error);
    if (status != WEFT_OK) {
        return wefti_error_prefix(error, status, "%s", step->label);
    }
    notes->derived = prepared.derived;
    uint32_t note = (uint32_t)recipe->note_count++;
    if (recipe->profiler != NULL) {
        describe_call(step, notes);
    }
    snprintf(notes->text, sizeof(notes->text), "%s%s%.47s tiles %" PRId64 "%s",
             isa->name, prepared.description[0] == '\0' ? "" : " ",
             prepared.description, prepared.tile_count,
             prepared.packed_operand >= 0 ? " packed" : "");
    if (prepared.tile_count <= 0) {
        return WEFT_OK;
    }
    recipe->work_ns += prepared.work_ns;
    ready_step *ready = &recipe->steps[recipe->step_count++];
    *ready = (ready_step){.function = prepared.function,
                          .params = step->params,
                          .derived = prepared.derived,
                          .note = note,
                          .label = step->label};
    decide_sharing(&prepared, ready);
    WEFTI_TRY(place_operands(recipe, step, ready, error));
    note_rows(recipe, &prepared, ready);
    recipe->scratch_bytes = prepared.scratch_bytes > recipe->scratch_bytes
                                ? prepared.scratch_bytes
                                : recipe->scratch_bytes;
    if (prepared.packed_operand >= 0) {
        WEFTI_TRY(pack_operand(step, &prepared, weights, ready, error));
    }
    return WEFT_OK;
}

/* Lays the scratch of the caller and the helpers behind the workspace. */
static weft_status lay_scratch(wefti_recipe *recipe, int32_t helper_count,
                               size_t workspace_bytes, weft_error *error)
{
    int64_t shared_ns = 0;
    for (size_t i = 0; i < recipe->step_count; i++) {
        const ready_step *ready = &recipe->steps[i];
        shared_ns += ready->shared ? ready->tile_ns * ready->tile_count : 0;
    }
    size_t each, all, total;
    if (!round_up(recipe->scratch_bytes, &each)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "a step needs %zu bytes of scratch; use smaller shapes",
                           recipe->scratch_bytes);
    }
    if (helper_count > WEFTI_TEAM_MAX_HELPERS) {
        helper_count = WEFTI_TEAM_MAX_HELPERS;
    }
    if (each > 0 && (size_t)helper_count > MAX_HELPER_SCRATCH_BYTES / each) {
        helper_count = (int32_t)(MAX_HELPER_SCRATCH_BYTES / each);
        helper_count = helper_count < 1 ? 1 : helper_count;
    }
    recipe->shared = helper_count > 0 && shared_ns >= WEFTI_TEAM_MIN_RUN_NS;
    recipe->helper_count = recipe->shared ? helper_count : 0;
    recipe->scratch_bytes = each;
    if (!round_up(workspace_bytes, &recipe->scratch_offset) ||
        WEFTI_MUL_OVERFLOWS(each, (size_t)recipe->helper_count + 1, &all) ||
        WEFTI_ADD_OVERFLOWS(recipe->scratch_offset, all, &total)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "a workspace of %zu bytes and %zu of scratch do not fit "
                           "into memory; use smaller shapes",
                           workspace_bytes, each);
    }
    recipe->workspace_bytes = total;
    if (each > 0 && recipe->slot_count == 0) {
        recipe->slot_count = 1;
    }
    return WEFT_OK;
}

/* Makes room for copies of all parameters. */
static weft_status allocate(wefti_recipe *recipe, const wefti_recipe_params *wanted,
                            weft_error *error)
{
    const wefti_step *steps = wanted->steps;
    size_t step_count = wanted->step_count;
    size_t params_bytes = 0;
    for (size_t i = 0; i < step_count; i++) {
        size_t rounded;
        if (!round_up(steps[i].params_bytes, &rounded) ||
            WEFTI_ADD_OVERFLOWS(params_bytes, rounded, &params_bytes)) {
            return wefti_error_memory(error, "a recipe");
        }
    }
    size_t steps_bytes;
    if (WEFTI_MUL_OVERFLOWS(step_count, sizeof(*recipe->steps), &steps_bytes)) {
        return wefti_error_memory(error, "a recipe");
    }
    recipe->steps = wefti_malloc_aligned(steps_bytes);
    recipe->notes = wefti_calloc(step_count, sizeof(*recipe->notes));
    recipe->params = wefti_malloc_aligned(params_bytes);
    recipe->own_count = 1 + wanted->input_count + wanted->output_count;
    recipe->row_bytes = wefti_calloc(recipe->own_count, sizeof(*recipe->row_bytes));
    if (recipe->steps == NULL || recipe->notes == NULL || recipe->params == NULL ||
        recipe->row_bytes == NULL) {
        return wefti_error_memory(error, "a recipe");
    }
    for (size_t i = 1; i < recipe->own_count; i++) {
        recipe->row_bytes[i] = UNUSED;
    }
    return WEFT_OK;
}

static weft_status prepare_all(wefti_recipe *recipe, const wefti_cpu_isa *isa,
                               const wefti_recipe_params *wanted, weft_error *error)
{
    char *params = recipe->params;
    for (size_t i = 0; i < wanted->step_count; i++) {
        wefti_step step = wanted->steps[i];
        size_t rounded = 0;
        (void)round_up(step.params_bytes, &rounded);
        if (step.params_bytes > 0) {
            memcpy(params, step.params, step.params_bytes);
        }
        step.params = params;
        step.label = step.label != NULL ? step.label : "a step";
        params += rounded;
        WEFTI_TRY(prepare_step(recipe, isa, &step, wanted->weights, error));
    }
    return WEFT_OK;
}

weft_status wefti_cpu_recipe_create(const wefti_cpu_isa *isa, int32_t helper_count,
                                    const wefti_recipe_params *params,
                                    wefti_recipe **recipe, weft_error *error)
{
    *recipe = NULL;
    WEFTI_TRY(wefti_device_fault("recipe.create", error));
    wefti_recipe *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a recipe");
    }
    made->profiler = params->profiler;
    weft_status status = allocate(made, params, error);
    if (status == WEFT_OK) {
        status = prepare_all(made, isa, params, error);
    }
    if (status == WEFT_OK) {
        status = lay_scratch(made, helper_count, params->workspace_bytes, error);
    }
    if (status != WEFT_OK) {
        wefti_cpu_recipe_destroy(made);
        return status;
    }
    *recipe = made;
    return WEFT_OK;
}

size_t wefti_cpu_recipe_workspace_bytes(const wefti_recipe *recipe)
{
    return recipe->workspace_bytes;
}

size_t wefti_cpu_recipe_row_bytes(const wefti_recipe *recipe, size_t slot)
{
    size_t bytes = slot < recipe->own_count ? recipe->row_bytes[slot] : 0;
    return bytes == UNUSED ? 0 : bytes;
}

double wefti_cpu_recipe_work_ns(const wefti_recipe *recipe)
{
    return recipe->work_ns;
}

void wefti_cpu_recipe_describe(const wefti_recipe *recipe, size_t step, char *text,
                               size_t text_bytes)
{
    const char *words = step < recipe->note_count ? recipe->notes[step].text : "";
    if (text_bytes > 0) {
        snprintf(text, text_bytes, "%s", words);
    }
}

/* What the steps of an execution work on. */
typedef struct places {
    void *const *slots;
    void *const *rows; /* NULL, or of each slot NULL or the addresses of its rows */
} places;

typedef void *const *row_table[WEFTI_MAX_OPERANDS];

/* Finds the operands of a step; `rows` has room for those that lie in rows. */
WEFTI_INLINE void resolve(const ready_step *step, const places *at,
                          wefti_cpu_call *call, row_table rows)
{
    void *const *slots = at->slots;
    int32_t i = 0;
    call->params = step->params;
    call->derived = step->derived;
    call->kept = NULL;
    call->rows = at->rows != NULL ? rows : NULL;
    for (; at->rows != NULL && i < WEFTI_MAX_OPERANDS; i++) {
        int32_t slot = i < step->operand_count ? step->slots[i] : -1;
        rows[i] = slot > 0 ? at->rows[slot] : NULL;
    }
    i = 0;
    for (; i < step->operand_count; i++) {
        int32_t slot = step->slots[i];
        uintptr_t base = slot >= 0 ? (uintptr_t)slots[slot] : 0;
        call->operands[i] = (void *)(base + step->offsets[i]);
    }
    for (; i < WEFTI_MAX_OPERANDS; i++) {
        call->operands[i] = NULL;
    }
}

/* The scratch of the caller (0) or of a helper. */
WEFTI_INLINE void *scratch_of(const wefti_recipe *recipe, const places *at,
                              int32_t member)
{
    if (recipe->scratch_bytes == 0) {
        return NULL;
    }
    return (char *)at->slots[WEFTI_SLOT_WORKSPACE] + recipe->scratch_offset +
           recipe->scratch_bytes * (size_t)member;
}

static WEFTI_NOINLINE weft_status step_failed(const ready_step *step,
                                              weft_status status, weft_error *error)
{
    return wefti_error_prefix(error, status, "%s", step->label);
}

static weft_status run_alone(const wefti_recipe *recipe, const places *at,
                             weft_error *error)
{
    void *scratch = scratch_of(recipe, at, 0);
    const ready_step *end = recipe->steps + recipe->step_count;
    for (const ready_step *step = recipe->steps; step < end; step++) {
        wefti_cpu_call call;
        row_table rows;
        resolve(step, at, &call, rows);
        weft_status status = step->function(&call, scratch, 0, step->tile_count, error);
        if (WEFTI_UNLIKELY(status != WEFT_OK)) {
            return step_failed(step, status, error);
        }
    }
    return WEFT_OK;
}

/* What a thread's scratch holds between the tiles that it takes of one step. Confined
 * to the thread; the caller empties it before anybody else hears of the run. */
typedef struct scratch_note {
    WEFTI_CACHE_ALIGNED uint32_t step;
    int64_t kept;
} scratch_note;

/* What the caller itself has done of a step, for the record. */
typedef struct caller_part {
    int64_t tiles, end_ns;
} caller_part;

typedef struct shared_job {
    const wefti_recipe *recipe;
    const places *at;
    scratch_note *notes; /* one for each member */
    caller_part *caller; /* NULL: not recorded */
} shared_job;

static void clear_notes(const wefti_recipe *recipe, scratch_note *notes)
{
    for (int32_t i = 0; i <= recipe->helper_count; i++) {
        notes[i] = (scratch_note){.step = UINT32_MAX, .kept = -1};
    }
}

static weft_status do_tiles(const void *opaque, uint32_t index, int32_t member,
                            int64_t begin, int64_t end, weft_error *error)
{
    const shared_job *job = opaque;
    const ready_step *step = &job->recipe->steps[index];
    wefti_cpu_call call;
    row_table rows;
    scratch_note *note = &job->notes[member];
    if (note->step != index) {
        *note = (scratch_note){.step = index, .kept = -1};
    }
    resolve(step, job->at, &call, rows);
    call.kept = &note->kept;
    void *scratch = scratch_of(job->recipe, job->at, member);
    return step->function(&call, scratch, begin, end, error);
}

static weft_status run_with_help(const wefti_recipe *recipe, wefti_team *team,
                                 const places *at, weft_error *error)
{
    scratch_note notes[WEFTI_TEAM_MAX_HELPERS + 1];
    const shared_job job = {.recipe = recipe, .at = at, .notes = notes};
    clear_notes(recipe, notes);
    wefti_team_run *run = wefti_team_begin(team, do_tiles, &job, recipe->helper_count);
    if (run == NULL) {
        return run_alone(recipe, at, error);
    }
    weft_status status = WEFT_OK;
    for (uint32_t i = 0; i < recipe->step_count && status == WEFT_OK; i++) {
        const ready_step *step = &recipe->steps[i];
        if (step->shared) {
            status = wefti_team_share(run, i, (uint32_t)step->tile_count, step->tile_ns,
                                      error);
        } else {
            status = do_tiles(&job, i, 0, 0, step->tile_count, error);
        }
        if (WEFTI_UNLIKELY(status != WEFT_OK)) {
            status = step_failed(step, status, error);
        }
    }
    wefti_team_end(run);
    return status;
}

/* Records a step, or what a helper did of it. */
static void record(const wefti_recipe *recipe, const ready_step *step, int64_t begin_ns,
                   int64_t helped_tiles, weft_status status)
{
    const step_notes *notes = &recipe->notes[step->note];
    const wefti_profile_note note = {
        .kind = helped_tiles > 0 ? WEFT_PROFILE_TILES : WEFT_PROFILE_STEP,
        .status = status,
        .name = step->label,
        .detail = notes->call,
        .counts = {helped_tiles > 0 ? helped_tiles : step->tile_count},
        .flops = helped_tiles > 0 ? 0 : notes->flops};
    wefti_profile_record(recipe->profiler, begin_ns, &note);
}

static weft_status do_tiles_recorded(const void *opaque, uint32_t index, int32_t member,
                                     int64_t begin, int64_t end, weft_error *error)
{
    const shared_job *job = opaque;
    int64_t begin_ns = wefti_clock_ns();
    weft_status status = do_tiles(opaque, index, member, begin, end, error);
    if (member == 0) {
        job->caller->tiles += end - begin;
        job->caller->end_ns = wefti_clock_ns();
    } else {
        record(job->recipe, &job->recipe->steps[index], begin_ns, end - begin, status);
    }
    return status;
}

/* A step with helpers: also how long the caller waits for them at its end. */
static weft_status share_recorded(wefti_team_run *run, const shared_job *job,
                                  uint32_t index, weft_error *error)
{
    const ready_step *step = &job->recipe->steps[index];
    *job->caller = (caller_part){.end_ns = wefti_clock_ns()};
    weft_status status =
        wefti_team_share(run, index, (uint32_t)step->tile_count, step->tile_ns, error);
    bool helped = job->caller->tiles < step->tile_count;
    if (helped) {
        wefti_profile_wait(job->recipe->profiler, job->caller->end_ns,
                           "wait for helpers", -1, status);
    }
    return status;
}

/* As run_alone and run_with_help, with the times of each step. */
static WEFTI_NOINLINE weft_status run_recorded(const wefti_recipe *recipe,
                                               wefti_team *team, const places *at,
                                               weft_error *error)
{
    scratch_note notes[WEFTI_TEAM_MAX_HELPERS + 1];
    caller_part caller = {0};
    const shared_job job = {
        .recipe = recipe, .at = at, .notes = notes, .caller = &caller};
    clear_notes(recipe, notes);
    wefti_team_run *run = NULL;
    if (team != NULL && recipe->shared) {
        run = wefti_team_begin(team, do_tiles_recorded, &job, recipe->helper_count);
    }
    weft_status status = WEFT_OK;
    for (uint32_t i = 0; i < recipe->step_count && status == WEFT_OK; i++) {
        const ready_step *step = &recipe->steps[i];
        int64_t begin_ns = wefti_clock_ns();
        status = run != NULL && step->shared
                     ? share_recorded(run, &job, i, error)
                     : do_tiles(&job, i, 0, 0, step->tile_count, error);
        record(recipe, step, begin_ns, 0, status);
        if (status != WEFT_OK) {
            status = step_failed(step, status, error);
        }
    }
    if (run != NULL) {
        wefti_team_end(run);
    }
    return status;
}

weft_status wefti_cpu_recipe_run(const wefti_recipe *recipe, wefti_team *team,
                                 void *const *slots, size_t slot_count,
                                 weft_error *error)
{
    if (WEFTI_UNLIKELY(slot_count < recipe->slot_count)) {
        return wefti_error(error, WEFT_INTERNAL,
                           "an execution brings %zu slots; its recipe uses %zu",
                           slot_count, recipe->slot_count);
    }
    bool recorded = WEFTI_UNLIKELY(recipe->profiler != NULL);
    bool in_rows = recipe->own_count > 1 && slot_count == 2 * recipe->own_count;
    const places at = {slots, in_rows ? slots + recipe->own_count : NULL};
    if (team == NULL) {
        return recorded ? run_recorded(recipe, NULL, &at, error)
                        : run_alone(recipe, &at, error);
    }
    wefti_caller_shard *shard = wefti_callers_enter(wefti_team_callers(team));
    weft_status status = recorded         ? run_recorded(recipe, team, &at, error)
                         : recipe->shared ? run_with_help(recipe, team, &at, error)
                                          : run_alone(recipe, &at, error);
    wefti_callers_leave(shard);
    return status;
}
