/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/planner.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/testing.h"

enum { ALIGNMENT = 64 };

static void find_lifetimes(wefti_program *program)
{
    for (size_t i = 0; i < program->buffer_count; i++) {
        program->buffers[i].first_step = -1;
        program->buffers[i].last_step = -1;
    }
    for (size_t i = 0; i < program->step_count; i++) {
        for (size_t j = 0; j < WEFTI_MAX_OPERANDS; j++) {
            int32_t number = program->steps[i].operands[j].buffer;
            if (number < 0) {
                continue;
            }
            wefti_buffer *buffer = &program->buffers[number];
            buffer->last_step = (int32_t)i;
            if (buffer->first_step < 0) {
                buffer->first_step = (int32_t)i;
            }
        }
    }
    if (wefti_sabotaged(WEFTI_SABOTAGE_REUSE_EARLY)) {
        for (size_t i = 0; i < program->buffer_count; i++) {
            program->buffers[i].last_step = program->buffers[i].first_step;
        }
    }
}

static bool is_placed_kind(const wefti_buffer *buffer)
{
    return buffer->kind == WEFTI_BUFFER_WORKSPACE && buffer->first_step >= 0;
}

static int larger_first(const void *a, const void *b)
{
    const wefti_buffer *x = *(wefti_buffer *const *)a, *y = *(wefti_buffer *const *)b;
    if (x->size_bytes != y->size_bytes) {
        return x->size_bytes < y->size_bytes ? 1 : -1;
    }
    return (x->first_step > y->first_step) - (x->first_step < y->first_step);
}

static bool live_together(const wefti_buffer *a, const wefti_buffer *b)
{
    return a->first_step <= b->last_step && b->first_step <= a->last_step;
}

/* Where a buffer at `offset` ends, rounded up; false when that is beyond the largest
 * offset there can be. */
static bool find_end(int64_t offset, size_t size_bytes, int64_t *end)
{
    if (size_bytes > (size_t)INT64_MAX ||
        WEFTI_ADD_OVERFLOWS(offset, (int64_t)size_bytes, end) ||
        *end > INT64_MAX - (ALIGNMENT - 1)) {
        return false;
    }
    *end = (*end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return true;
}

/* Gives `buffer` the lowest offset where it overlaps none of the `count` placed ones
 * that live at the same time. `placed` is sorted by offset. False when there is none.
 */
static bool find_place(wefti_buffer *const *placed, size_t count, wefti_buffer *buffer)
{
    int64_t offset = 0, end = 0;
    for (size_t i = 0; i < count; i++) {
        const wefti_buffer *other = placed[i];
        if (!live_together(other, buffer)) {
            continue;
        }
        if (!find_end(offset, buffer->size_bytes, &end)) {
            return false;
        }
        if (other->offset_bytes >= offset + (int64_t)buffer->size_bytes) {
            break;
        }
        (void)find_end(other->offset_bytes, other->size_bytes, &end); /* as it was */
        offset = end > offset ? end : offset;
    }
    buffer->offset_bytes = offset;
    return find_end(offset, buffer->size_bytes, &end);
}

static void insert_by_offset(wefti_buffer **placed, size_t count, wefti_buffer *buffer)
{
    size_t i = count;
    for (; i > 0 && placed[i - 1]->offset_bytes > buffer->offset_bytes; i--) {
        placed[i] = placed[i - 1];
    }
    placed[i] = buffer;
}

weft_status wefti_plan_memory(wefti_program *program, size_t *workspace_bytes,
                              weft_error *error)
{
    find_lifetimes(program);
    *workspace_bytes = 0;
    wefti_buffer **order = wefti_calloc(2 * program->buffer_count + 1, sizeof(*order));
    if (order == NULL) {
        return wefti_error_memory(error, "the memory planner");
    }
    wefti_buffer **placed = order + program->buffer_count;
    size_t count = 0;
    for (size_t i = 0; i < program->buffer_count; i++) {
        if (is_placed_kind(&program->buffers[i])) {
            order[count++] = &program->buffers[i];
        }
    }
    qsort(order, count, sizeof(*order), larger_first);
    bool fits = true;
    for (size_t i = 0; i < count && fits; i++) {
        fits = find_place(placed, i, order[i]);
        if (fits) {
            insert_by_offset(placed, i, order[i]);
            size_t end = (size_t)order[i]->offset_bytes + order[i]->size_bytes;
            *workspace_bytes = end > *workspace_bytes ? end : *workspace_bytes;
        }
    }
    wefti_free(order);
    return fits ? WEFT_OK
                : wefti_error(error, WEFT_OUT_OF_MEMORY,
                              "the workspace of these shapes is larger than memory can "
                              "be; use smaller shapes");
}

static wefti_operand make_operand(const wefti_program *program, size_t input_count,
                                  const wefti_view *view)
{
    wefti_operand operand = WEFTI_OPERAND_ABSENT;
    if (view->buffer < 0) {
        return operand;
    }
    const wefti_buffer *buffer = &program->buffers[view->buffer];
    operand.offset_bytes = view->offset_bytes;
    switch (buffer->kind) {
    case WEFTI_BUFFER_CONSTANT:
        operand.constant = (const char *)buffer->constant + view->offset_bytes;
        operand.temporary = buffer->temporary || buffer->owned;
        operand.offset_bytes = 0;
        break;
    case WEFTI_BUFFER_WORKSPACE:
        operand.slot = WEFTI_SLOT_WORKSPACE;
        operand.offset_bytes += buffer->offset_bytes;
        break;
    case WEFTI_BUFFER_INPUT:
        operand.slot = 1 + buffer->index;
        break;
    case WEFTI_BUFFER_OUTPUT:
        operand.slot = 1 + (int32_t)input_count + buffer->index;
        break;
    }
    return operand;
}

weft_status wefti_program_steps(const wefti_program *program, size_t input_count,
                                wefti_step **steps, weft_error *error)
{
    wefti_step *made = wefti_calloc(program->step_count + 1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the steps of a plan");
    }
    for (size_t i = 0; i < program->step_count; i++) {
        const wefti_program_step *source = &program->steps[i];
        made[i].kernel = source->kernel;
        made[i].params = source->params;
        made[i].params_bytes = source->params_bytes;
        made[i].label = source->label;
        for (size_t j = 0; j < WEFTI_MAX_OPERANDS; j++) {
            made[i].operands[j] =
                make_operand(program, input_count, &source->operands[j]);
        }
    }
    *steps = made;
    return WEFT_OK;
}
