/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/recipe.h"

#include <stdio.h>
#include <string.h>

#include "backend/common/fault.h"
#include "backend/common/weights.h"
#include "backend/cpu/cast.h"
#include "base/memory.h"

/* Tensors lie at multiples of this in workspace and staging memory. */
enum { ALIGNMENT = 256 };
/* What is larger than this, or more than that together, comes and goes by pieces. */
enum { MOST_PINNED_TENSOR = 3 << 20, MOST_PINNED_BYTES = 8 << 20 };
/* Inputs from this size on are brought by the card's copy engine, and outputs are in
 * the ring, which has about as many bytes as a core's own caches. */
enum {
    ENGINE_BYTES = 384 << 10,
    /* An only one crosses meanwhile the graph is launched: attention in bf16 (256 KiB)
     * from 8 and 16 threads 57 and 77 k/s by a kernel, 66 and 89 k/s by the engine. Two
     * of 256 KiB: 53 to 58 and 69 to 74 k/s by a kernel, 58 and 55 k/s by the engine.
     */
    ENGINE_BYTES_OF_ONE = 192 << 10,
    RING_TENSOR_BYTES = 64 << 10,
    RING_BYTES = 2 << 20,
    MOST_RING_PLACES = 16,
};

static bool round_up(size_t bytes, size_t *rounded)
{
    size_t more;
    if (WEFTI_ADD_OVERFLOWS(bytes, (size_t)ALIGNMENT - 1, &more)) {
        return false;
    }
    *rounded = more & ~((size_t)ALIGNMENT - 1);
    return true;
}

void wefti_cuda_recipe_destroy(wefti_recipe *recipe)
{
    if (recipe == NULL) {
        return;
    }
    if (recipe->owned_count > 0 && wefti_cuda_enter(recipe->device, NULL) == WEFT_OK) {
        for (size_t i = 0; i < recipe->owned_count; i++) {
            wefti_cuda_free(recipe->device, recipe->owned[i]);
        }
        wefti_cuda_leave(recipe->device);
    }
    wefti_free(recipe->owned);
    wefti_free(recipe->launches);
    wefti_free(recipe->notes);
    wefti_free(recipe->labels);
    wefti_free(recipe->tensors);
    wefti_free(recipe);
}

bool wefti_cuda_recipe_converts(const wefti_recipe *recipe)
{
    return recipe->first_step > 0 || recipe->end_step < recipe->step_count;
}

size_t wefti_cuda_recipe_workspace_bytes(const wefti_recipe *recipe)
{
    return recipe->workspace_bytes;
}

void wefti_cuda_recipe_describe(const wefti_recipe *recipe, size_t step, char *text,
                                size_t text_bytes)
{
    if (text_bytes > 0) {
        (void)snprintf(text, text_bytes, "%s",
                       step < recipe->step_count ? recipe->notes[step] : "");
    }
}

/* Device memory that goes with the recipe, filled. */
static weft_status own_copy(wefti_recipe *recipe, const void *data, size_t size_bytes,
                            void **address, weft_error *error)
{
    wefti_backend_device *device = recipe->device;
    void **grown = wefti_grow(recipe->owned, recipe->owned_count,
                              &recipe->owned_capacity, sizeof(*recipe->owned));
    if (grown == NULL) {
        return wefti_error_memory(error, "a recipe");
    }
    recipe->owned = grown;
    WEFTI_TRY(wefti_cuda_enter(device, error));
    weft_status status = wefti_cuda_allocate(device, size_bytes, address, error);
    if (status == WEFT_OK) {
        recipe->owned[recipe->owned_count++] = *address;
        status = wefti_cuda_upload(device, *address, data, size_bytes, error);
    }
    wefti_cuda_leave(device);
    return status;
}

/* What the packing of a weight needs: it is brought to the device, laid out anew before
 * where `pack` says so, in `turned`. */
typedef struct weight_upload {
    wefti_backend_device *device;
    size_t size_bytes;
    const wefti_cuda_pack *pack;
    void *turned;
    weft_status *status;
    weft_error *error;
} weight_upload;

/* Elements of a row that are gathered at a time. */
enum { TURNED_TOGETHER = 256 };

/* Writes `count` elements of a row that lie `stride` apart, dense, in another type. */
static void turn_row(char *target, const float *source, int64_t stride, int64_t count,
                     weft_type type)
{
    const cast_function cast = wefti_cast(WEFT_TYPE_F32, type); /* NULL for f32 */
    const int64_t size = (int64_t)weft_type_size(type);
    float together[TURNED_TOGETHER];
    for (int64_t at = 0; at < count; at += TURNED_TOGETHER) {
        const int64_t left = count - at;
        const int64_t some = left < TURNED_TOGETHER ? left : TURNED_TOGETHER;
        for (int64_t i = 0; i < some; i++) {
            together[i] = source[(at + i) * stride];
        }
        if (cast != NULL) {
            cast(together, target + at * size, some);
        } else {
            memcpy(target + at * size, together, (size_t)(some * size));
        }
    }
}

static void turn(char *target, const float *source, const wefti_cuda_pack *pack)
{
    const int64_t size = (int64_t)weft_type_size(pack->type);
    for (int64_t row = 0; row < pack->rows; row++) {
        char *to = target + row * pack->pitch * size;
        turn_row(to, source + row * pack->row_stride, pack->column_stride,
                 pack->columns, pack->type);
        memset(to + pack->columns * size, 0,
               (size_t)((pack->pitch - pack->columns) * size));
    }
}

static void upload_weight(void *packed, const void *constant, const void *params)
{
    const weight_upload *u = params;
    if (u->pack != NULL) {
        turn(u->turned, constant, u->pack);
        constant = u->turned;
    }
    *u->status = wefti_cuda_enter(u->device, u->error);
    if (*u->status == WEFT_OK) {
        *u->status =
            wefti_cuda_upload(u->device, packed, constant, u->size_bytes, u->error);
        wefti_cuda_leave(u->device);
    }
}

/* All plans of a model share one copy of each constant, in the model's memory. A copy
 * that fails is a lost card, so nobody will read what is there instead. */
static weft_status share_constant(const weight_upload *upload, wefti_weights *weights,
                                  const void *data, void **address, weft_error *error)
{
    const wefti_cuda_pack *pack = upload->pack;
    wefti_weight_request request = {
        .key = {.constant = data, .layout = {upload->size_bytes}},
        .size_bytes = upload->size_bytes,
        .pack = upload_weight,
        .params = upload};
    if (pack != NULL) {
        request.key.layout[1] = (uint64_t)pack->columns;
        request.key.layout[2] = (uint64_t)pack->row_stride;
        request.key.layout[3] = (uint64_t)pack->column_stride;
        request.key.layout[4] = (uint64_t)pack->pitch;
        request.key.layout[5] = (uint64_t)pack->type;
    }
    const void *packed = NULL;
    WEFTI_TRY(wefti_weights_get(weights, &request, &packed, error));
    *address = (void *)(uintptr_t)packed;
    return *upload->status;
}

/* What is brought to the device; `shared`: once for all plans. */
typedef struct constant_bytes {
    const void *data;
    size_t size_bytes;
    const wefti_cuda_pack *pack;
    bool shared;
} constant_bytes;

static weft_status bring_constant(wefti_recipe *recipe, const constant_bytes *c,
                                  void **address, weft_error *error)
{
    weft_status status = WEFT_OK;
    weight_upload upload = {recipe->device, c->size_bytes, c->pack,
                            NULL,           &status,       error};
    if (c->pack != NULL) {
        upload.turned = wefti_malloc(c->size_bytes);
        if (upload.turned == NULL) {
            return wefti_error_memory(error, "a weight that is laid out anew");
        }
    }
    if (c->shared) {
        status = share_constant(&upload, recipe->weights, c->data, address, error);
    } else {
        if (c->pack != NULL) {
            turn(upload.turned, c->data, c->pack);
        }
        status = own_copy(recipe, c->pack != NULL ? upload.turned : c->data,
                          c->size_bytes, address, error);
    }
    wefti_free(upload.turned);
    return status;
}

static weft_status place_constant(wefti_recipe *recipe, const wefti_step *step,
                                  int32_t operand, const wefti_cuda_pack *pack,
                                  wefti_cuda_place *place, weft_error *error)
{
    const char *constant = step->operands[operand].constant;
    int64_t low, end;
    void *address = NULL;
    wefti_cuda_operand_reach(step, operand, &low, &end);
    size_t size_bytes = (size_t)(end - low);
    place->kind = WEFTI_CUDA_ADDRESS;
    if (size_bytes == 0) {
        return WEFT_OK;
    }
    if (pack != NULL) {
        size_bytes = (size_t)(pack->rows * pack->pitch) * weft_type_size(pack->type);
        low = 0;
    }
    const constant_bytes bytes = {constant + low, size_bytes, pack,
                                  recipe->weights != NULL &&
                                      !step->operands[operand].temporary};
    WEFTI_TRY(bring_constant(recipe, &bytes, &address, error));
    place->offset = (uintptr_t)address - (uintptr_t)low;
    return WEFT_OK;
}

static weft_status place_slot(const wefti_recipe *recipe, const wefti_operand *operand,
                              wefti_cuda_place *place, weft_error *error)
{
    size_t slot = (size_t)operand->slot;
    place->kind = WEFTI_CUDA_WORKSPACE;
    place->offset = (uintptr_t)operand->offset_bytes;
    if (slot == WEFTI_SLOT_WORKSPACE) {
        return WEFT_OK;
    }
    if (slot > recipe->input_count + recipe->output_count) {
        return wefti_error(error, WEFT_INTERNAL,
                           "slot %zu is neither input nor output of the recipe", slot);
    }
    place->slot = slot;
    place->offset += recipe->staged_at + recipe->tensors[slot - 1].offset;
    return WEFT_OK;
}

static bool may_stay(const wefti_recipe *recipe, const wefti_cuda_prepared *prepared,
                     int32_t operand, size_t slot)
{
    if (slot == WEFTI_SLOT_WORKSPACE) {
        return false;
    }
    const size_t size_bytes = recipe->tensors[slot - 1].bytes;
    return slot <= recipe->input_count
               ? wefti_cuda_reads_rarely(prepared, operand, size_bytes)
               : wefti_cuda_writes_in_rows(prepared, operand, size_bytes);
}

static bool reads_again(const wefti_recipe *recipe, const wefti_cuda_prepared *prepared,
                        int32_t operand, size_t slot)
{
    return slot != WEFTI_SLOT_WORKSPACE && slot <= recipe->input_count &&
           wefti_cuda_reads_again(prepared, operand, recipe->tensors[slot - 1].bytes);
}

static weft_status place_operands(wefti_recipe *recipe, const wefti_step *step,
                                  const wefti_cuda_prepared *prepared,
                                  wefti_cuda_launch *launch, weft_error *error)
{
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        const wefti_operand *operand = &step->operands[i];
        wefti_cuda_place *place = &launch->places[i];
        if (operand->constant != NULL) {
            const wefti_cuda_pack *pack =
                prepared->pack_operand == i ? &prepared->pack : NULL;
            WEFTI_TRY(place_constant(recipe, step, i, pack, place, error));
        } else if (operand->slot >= 0) {
            WEFTI_TRY(place_slot(recipe, operand, place, error));
            launch->may_stay |=
                may_stay(recipe, prepared, i, place->slot) ? 1u << i : 0;
            launch->reads_again |=
                reads_again(recipe, prepared, i, place->slot) ? 1u << i : 0;
        }
    }
    return WEFT_OK;
}

/* A kernel that may report says which step it is. */
static void tell_step(wefti_cuda_call *call, wefti_cuda_kernel kernel, uint32_t step)
{
    switch (kernel) {
    case WEFTI_CUDA_weft_gather:
        call->gather.step = step;
        break;
    case WEFTI_CUDA_weft_roi_align:
        call->roi_align.step = step;
        break;
    default:
        call->points.step = step;
        break;
    }
}

/* The scratch of all steps lies at one place: they run one after the other. */
static weft_status place_extras(wefti_recipe *recipe,
                                const wefti_cuda_prepared *prepared, size_t scratch_at,
                                wefti_cuda_launch *launch, weft_error *error)
{
    if (prepared->scratch_operand >= 0) {
        launch->places[prepared->scratch_operand] =
            (wefti_cuda_place){.kind = WEFTI_CUDA_WORKSPACE, .offset = scratch_at};
    }
    if (prepared->report_operand >= 0) {
        launch->places[prepared->report_operand].kind = WEFTI_CUDA_REPORT;
        tell_step(&launch->call, launch->kernel, launch->step);
        recipe->reports = true;
    }
    if (prepared->table_operand >= 0 && prepared->table_bytes > 0) {
        void *address;
        WEFTI_TRY(
            own_copy(recipe, prepared->table, prepared->table_bytes, &address, error));
        launch->places[prepared->table_operand] = (wefti_cuda_place){
            .kind = WEFTI_CUDA_ADDRESS, .offset = (uintptr_t)address};
    }
    return WEFT_OK;
}

static weft_status add_launch(wefti_recipe *recipe, const wefti_step *step,
                              const wefti_cuda_prepared *prepared, size_t scratch_at,
                              weft_error *error)
{
    size_t number = recipe->step_count;
    (void)snprintf(recipe->notes[number], sizeof(recipe->notes[number]),
                   "cuda %s blocks %lld", wefti_cuda_kernel_name(prepared->kernel) + 5,
                   (long long)prepared->blocks);
    if (prepared->blocks == 0) {
        return WEFT_OK;
    }
    wefti_cuda_launch *launch = &recipe->launches[recipe->launch_count];
    launch->kernel = prepared->kernel;
    launch->blocks = (uint32_t)prepared->blocks;
    launch->threads = prepared->threads;
    launch->step = (uint32_t)number;
    launch->call = prepared->call;
    WEFTI_TRY(place_operands(recipe, step, prepared, launch, error));
    WEFTI_TRY(place_extras(recipe, prepared, scratch_at, launch, error));
    recipe->launch_count++;
    return WEFT_OK;
}

/* Lets the outputs of the ring lie behind all others in pinned memory, and chooses how
 * many places they have. */
static void lay_ring(wefti_recipe *recipe)
{
    const size_t count = recipe->input_count + recipe->output_count;
    size_t end = 0, room = 0;
    for (size_t turn = 0; turn < 2; turn++) {
        const size_t begin = end;
        for (size_t i = 0; i < count; i++) {
            wefti_cuda_tensor *tensor = &recipe->tensors[i];
            if (tensor->in_ring == (turn == 1) && !tensor->by_pieces) {
                (void)round_up(tensor->bytes, &room);
                tensor->pinned = end;
                end += room;
            }
        }
        recipe->ring_bytes = end - begin;
    }
    recipe->ring_places = 1;
    if (recipe->ring_bytes > 0) {
        const size_t most = (MOST_PINNED_BYTES - end) / recipe->ring_bytes + 1;
        size_t places = RING_BYTES / recipe->ring_bytes;
        places = places > MOST_RING_PLACES ? MOST_RING_PLACES : places;
        places = places > most ? most : places;
        recipe->ring_places = places > 0 ? places : 1;
    }
    recipe->pinned_bytes = end + (recipe->ring_places - 1) * recipe->ring_bytes;
}

static size_t engine_bytes(const wefti_recipe_params *params)
{
    return params->input_count == 1 ? ENGINE_BYTES_OF_ONE : ENGINE_BYTES;
}

/* Where inputs and outputs lie among each other. */
static weft_status lay_tensors(wefti_recipe *recipe, const wefti_recipe_params *params,
                               weft_error *error)
{
    size_t count = params->input_count + params->output_count;
    recipe->tensors = wefti_calloc(count, sizeof(*recipe->tensors));
    if (recipe->tensors == NULL && count > 0) {
        return wefti_error_memory(error, "a recipe");
    }
    recipe->input_count = params->input_count;
    recipe->output_count = params->output_count;
    for (size_t i = 0; i < count; i++) {
        wefti_cuda_tensor *tensor = &recipe->tensors[i];
        tensor->bytes = i < params->input_count
                            ? params->input_bytes[i]
                            : params->output_bytes[i - params->input_count];
        tensor->offset = recipe->staged_bytes;
        size_t room;
        if (!round_up(tensor->bytes, &room) ||
            WEFTI_ADD_OVERFLOWS(recipe->staged_bytes, room, &recipe->staged_bytes)) {
            return wefti_error(error, WEFT_OUT_OF_MEMORY,
                               "inputs and outputs do not fit into memory");
        }
        tensor->by_pieces = room > MOST_PINNED_TENSOR ||
                            room > MOST_PINNED_BYTES - recipe->pinned_bytes;
        tensor->by_engine = i < params->input_count &&
                            tensor->bytes >= engine_bytes(params) && !tensor->by_pieces;
        tensor->in_ring = i >= params->input_count &&
                          tensor->bytes >= RING_TENSOR_BYTES && !tensor->by_pieces;
        tensor->pinned = recipe->pinned_bytes;
        recipe->pinned_bytes += tensor->by_pieces ? 0 : room;
    }
    lay_ring(recipe);
    return WEFT_OK;
}

static weft_status lay_workspace(wefti_recipe *recipe, size_t scratch_at,
                                 size_t scratch_bytes, weft_error *error)
{
    if (WEFTI_ADD_OVERFLOWS(scratch_at, scratch_bytes, &recipe->staged_at) ||
        !round_up(recipe->staged_at, &recipe->staged_at) ||
        WEFTI_ADD_OVERFLOWS(recipe->staged_at, recipe->staged_bytes,
                            &recipe->workspace_bytes)) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "a workspace with %zu bytes of scratch does not fit into "
                           "memory; use smaller shapes",
                           scratch_bytes);
    }
    return WEFT_OK;
}

static weft_status prepare_step(const wefti_recipe *recipe, const wefti_step *step,
                                wefti_cuda_prepared *prepared, weft_error *error)
{
    const wefti_cuda_choice choice = {recipe->device->processor_count,
                                      recipe->precision};
    weft_status status = wefti_cuda_prepare(step, choice, prepared, error);
    if (status != WEFT_OK) {
        wefti_free(prepared->table);
        prepared->table = NULL;
        return wefti_error_prefix(error, status, "%s",
                                  step->label != NULL ? step->label : "a step");
    }
    return WEFT_OK;
}

/* The places depend on the largest scratch, so it is found first. */
static weft_status largest_scratch(const wefti_recipe *recipe,
                                   const wefti_recipe_params *params, size_t *bytes,
                                   weft_error *error)
{
    *bytes = 0;
    for (size_t i = 0; i < params->step_count; i++) {
        wefti_cuda_prepared prepared;
        WEFTI_TRY(prepare_step(recipe, &params->steps[i], &prepared, error));
        wefti_free(prepared.table);
        *bytes = prepared.scratch_bytes > *bytes ? prepared.scratch_bytes : *bytes;
    }
    return WEFT_OK;
}

static bool is_half(weft_type type)
{
    return type == WEFT_TYPE_F16 || type == WEFT_TYPE_BF16;
}

/* Whether a step makes f32 of an input of 16-bit floats (`narrows` false), or an output
 * of such of f32, element by element in their order. *tensor is the input or output. */
static bool converts(const wefti_recipe *recipe, const wefti_step *step, bool narrows,
                     wefti_cuda_tensor **tensor)
{
    if (step->kernel != WEFTI_KERNEL_COPY) {
        return false;
    }
    wefti_copy_params p = *(const wefti_copy_params *)step->params;
    const wefti_operand *half =
        &step->operands[narrows ? WEFTI_COPY_TARGET : WEFTI_COPY_SOURCE];
    const wefti_operand *wide =
        &step->operands[narrows ? WEFTI_COPY_SOURCE : WEFTI_COPY_TARGET];
    const weft_type type = narrows ? p.target_type : p.source_type;
    const size_t first = narrows ? recipe->input_count : 0;
    const size_t end =
        narrows ? recipe->input_count + recipe->output_count : recipe->input_count;
    const int64_t *strides[] = {p.source_strides, p.target_strides};
    bool fits = half->constant == NULL && wide->constant == NULL &&
                half->slot > (int64_t)first && half->slot <= (int64_t)end &&
                half->offset_bytes == 0 && wide->slot == WEFTI_SLOT_WORKSPACE &&
                wide->offset_bytes % 16 == 0 && is_half(type) &&
                (narrows ? p.source_type : p.target_type) == WEFT_TYPE_F32;
    int64_t count = 1;
    for (int32_t i = p.rank - 1; i >= 0 && fits; i--) {
        for (size_t t = 0; t < WEFTI_COUNT_OF(strides); t++) {
            fits = fits && (p.dims[i] == 1 || strides[t][i] == count);
        }
        count *= p.dims[i];
    }
    if (!fits) {
        return false;
    }
    *tensor = &recipe->tensors[half->slot - 1];
    return (size_t)count * 2 == (*tensor)->bytes && !(*tensor)->by_pieces &&
           (*tensor)->half == WEFT_TYPE_NONE;
}

static void convert(wefti_cuda_tensor *tensor, const wefti_step *step, bool narrows)
{
    const wefti_copy_params *p = step->params;
    tensor->half = narrows ? p->target_type : p->source_type;
    tensor->wide_at =
        (size_t)step->operands[narrows ? WEFTI_COPY_SOURCE : WEFTI_COPY_TARGET]
            .offset_bytes;
}

/* Finds the first steps, whose work is done as the inputs come, and the last ones,
 * whose is done as the outputs go: all that stand before them, or behind, are of the
 * kind, so nobody else has used that memory yet, or will any more. */
static void find_converting_steps(wefti_recipe *recipe,
                                  const wefti_recipe_params *params)
{
    size_t *begin = &recipe->first_step, *end = &recipe->end_step;
    wefti_cuda_tensor *tensor;
    *begin = 0;
    *end = params->step_count;
    while (*begin < *end && converts(recipe, &params->steps[*begin], false, &tensor)) {
        convert(tensor, &params->steps[(*begin)++], false);
    }
    while (*end > *begin && converts(recipe, &params->steps[*end - 1], true, &tensor)) {
        convert(tensor, &params->steps[--*end], true);
    }
}

static weft_status add_steps(wefti_recipe *recipe, const wefti_recipe_params *params,
                             size_t scratch_at, weft_error *error)
{
    for (size_t i = 0; i < params->step_count; i++) {
        const wefti_step *step = &params->steps[i];
        wefti_cuda_prepared prepared;
        WEFTI_TRY(prepare_step(recipe, step, &prepared, error));
        recipe->labels[i] = step->label != NULL ? step->label : "a step";
        const bool moved = i < recipe->first_step || i >= recipe->end_step;
        if (moved) {
            (void)snprintf(recipe->notes[i], sizeof(recipe->notes[i]),
                           i < recipe->first_step ? "cuda as the inputs come"
                                                  : "cuda as the outputs go");
        }
        weft_status status =
            moved ? WEFT_OK : add_launch(recipe, step, &prepared, scratch_at, error);
        wefti_free(prepared.table);
        if (status != WEFT_OK) {
            return wefti_error_prefix(error, status, "%s", recipe->labels[i]);
        }
        recipe->step_count++;
    }
    return WEFT_OK;
}

/* An input or output that one kernel uses, in a way that suits memory across the bus,
 * stays in the pinned memory. */
static void choose_what_stays(wefti_recipe *recipe)
{
    for (size_t slot = 1; slot <= recipe->input_count + recipe->output_count; slot++) {
        wefti_cuda_place *used = NULL;
        size_t uses = 0;
        bool stays = true, again = false;
        for (size_t i = 0; i < recipe->launch_count * WEFTI_MAX_OPERANDS; i++) {
            wefti_cuda_launch *launch = &recipe->launches[i / WEFTI_MAX_OPERANDS];
            wefti_cuda_place *place = &launch->places[i % WEFTI_MAX_OPERANDS];
            if (place->slot == slot) {
                used = place;
                uses++;
                stays = stays && (launch->may_stay >> i % WEFTI_MAX_OPERANDS & 1) != 0;
                again = (launch->reads_again >> i % WEFTI_MAX_OPERANDS & 1) != 0;
            }
        }
        wefti_cuda_tensor *tensor = &recipe->tensors[slot - 1];
        const bool wide = tensor->half != WEFT_TYPE_NONE;
        tensor->only_wide = wide && uses == 0;
        tensor->stays = uses == 1 && stays && !tensor->by_pieces && !wide;
        tensor->stays_alone = tensor->stays && again && recipe->launch_count == 1;
        recipe->brings_in_graph = recipe->brings_in_graph || tensor->stays_alone;
        if (tensor->stays) {
            used->kind = WEFTI_CUDA_STAGING;
            used->offset += tensor->pinned - tensor->offset - recipe->staged_at;
        }
    }
}

/* Whether a run waits for the bus alone: one kernel that computes little for a byte,
 * and an input so large that the engine brings it. */
static bool crosses(const wefti_recipe *recipe)
{
    bool large = false;
    for (size_t i = 0; i < recipe->input_count; i++) {
        large = large || recipe->tensors[i].by_engine;
    }
    return large && recipe->launch_count == 1 &&
           recipe->launches[0].kernel <= WEFTI_CUDA_weft_reduce_i32;
}

static weft_status build(wefti_recipe *recipe, const wefti_recipe_params *params,
                         weft_error *error)
{
    size_t count = params->step_count, scratch_at, scratch_bytes;
    recipe->launches = wefti_calloc(count, sizeof(*recipe->launches));
    recipe->notes = wefti_calloc(count, sizeof(*recipe->notes));
    recipe->labels = wefti_calloc(count, sizeof(*recipe->labels));
    if (count > 0 &&
        (recipe->launches == NULL || recipe->notes == NULL || recipe->labels == NULL)) {
        return wefti_error_memory(error, "a recipe");
    }
    recipe->weights = params->weights;
    recipe->precision = params->precision;
    recipe->profiler = params->profiler;
    WEFTI_TRY(largest_scratch(recipe, params, &scratch_bytes, error));
    WEFTI_TRY(lay_tensors(recipe, params, error));
    if (!round_up(params->workspace_bytes, &scratch_at)) {
        return wefti_error_memory(error, "a workspace");
    }
    WEFTI_TRY(lay_workspace(recipe, scratch_at, scratch_bytes, error));
    find_converting_steps(recipe, params);
    WEFTI_TRY(add_steps(recipe, params, scratch_at, error));
    recipe->weights = NULL;
    choose_what_stays(recipe);
    recipe->crosses = crosses(recipe);
    return WEFT_OK;
}

weft_status wefti_cuda_recipe_create(wefti_backend_device *device,
                                     const wefti_recipe_params *params,
                                     wefti_recipe **recipe, weft_error *error)
{
    *recipe = NULL;
    WEFTI_TRY(wefti_device_fault("recipe.create", error));
    wefti_recipe *made = wefti_calloc(1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a recipe");
    }
    made->device = device;
    made->serial = wefti_atomic_u64_add_relaxed(&device->recipe_serial, 1) + 1;
    weft_status status = build(made, params, error);
    if (status != WEFT_OK) {
        wefti_cuda_recipe_destroy(made);
        return status;
    }
    *recipe = made;
    return WEFT_OK;
}
