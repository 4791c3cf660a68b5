/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/planner.h"

#include <stdlib.h>
#include <string.h>

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

static int earlier_first(const void *a, const void *b)
{
    const wefti_buffer *x = *(wefti_buffer *const *)a, *y = *(wefti_buffer *const *)b;
    return (x->first_step > y->first_step) - (x->first_step < y->first_step);
}

static int lower_first(const void *a, const void *b)
{
    const wefti_buffer *x = *(wefti_buffer *const *)a, *y = *(wefti_buffer *const *)b;
    return (x->offset_bytes > y->offset_bytes) - (x->offset_bytes < y->offset_bytes);
}

/* Finding the placed buffers that live with another takes O(hits log n). Where that is
 * too much in all, as where many thousands live at the same time, buffers get their
 * places in the order of time. */
enum { MOST_VISITS = 1 << 26 };

typedef struct planning {
    size_t count;
    wefti_buffer **by_size; /* the order of placing */
    wefti_buffer **by_time;
    wefti_buffer **hits;
    /* A tree over by_time, leaves from `leaf_count` on: the last step of any placed
     * buffer below; -1: none is. */
    int32_t *last_steps;
    size_t leaf_count;
    uint64_t visits;
} planning;

static void note_placed(planning *p, size_t position)
{
    int32_t last_step = p->by_time[position]->last_step;
    for (size_t i = p->leaf_count + position; i > 0; i /= 2) {
        p->last_steps[i] = last_step > p->last_steps[i] ? last_step : p->last_steps[i];
    }
}

/* Gathers the placed buffers that live at the same time as `buffer`: those that begin
 * before it ends and end after it begins. Nodes are visited from the left. */
static size_t find_hits(planning *p, const wefti_buffer *buffer)
{
    size_t stack[2 * sizeof(size_t) * 8];
    size_t depth = 0, found = 0;
    stack[depth++] = 1;
    while (depth > 0) {
        size_t node = stack[--depth];
        p->visits++;
        if (p->last_steps[node] < buffer->first_step) {
            continue;
        }
        size_t first = node; /* the leftmost leaf below */
        while (first < p->leaf_count) {
            first *= 2;
        }
        if (p->by_time[first - p->leaf_count]->first_step > buffer->last_step) {
            continue;
        }
        if (node >= p->leaf_count) {
            p->hits[found++] = p->by_time[node - p->leaf_count];
            continue;
        }
        stack[depth++] = 2 * node + 1;
        stack[depth++] = 2 * node;
    }
    return found;
}

/* Gives `buffer` the lowest offset where it overlaps none of the `count` placed ones
 * that live at the same time. False when there is none. */
static bool find_place(wefti_buffer **placed, size_t count, wefti_buffer *buffer)
{
    int64_t offset = 0, end = 0;
    qsort(placed, count, sizeof(*placed), lower_first);
    for (size_t i = 0; i < count; i++) {
        const wefti_buffer *other = placed[i];
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

/* Places the larger ones first; false when one has no place. */
static bool place_by_size(planning *p)
{
    for (size_t i = 0; i < p->count && p->visits <= MOST_VISITS; i++) {
        wefti_buffer *buffer = p->by_size[i];
        size_t hits = find_hits(p, buffer);
        if (!find_place(p->hits, hits, buffer)) {
            return false;
        }
        note_placed(p, (size_t)buffer->order);
    }
    return true;
}

/* Sizes of one class share their places: at most a quarter is wasted. */
static size_t class_bytes(size_t size_bytes)
{
    size_t step = ALIGNMENT;
    while (step < size_bytes / 8) {
        step *= 2;
    }
    return size_bytes > SIZE_MAX - step ? SIZE_MAX
                                        : (size_bytes + step - 1) / step * step;
}

/* Gives each buffer, in the order of time, the place of one of its class that lives no
 * more, or a new one at the end. `free_places` has room for the largest class number,
 * by_size is in the order of size. False when the sum overflows. */
static bool place_by_time(planning *p, wefti_buffer **ends, size_t step_count)
{
    size_t next = 0;
    int64_t top = 0;
    wefti_buffer **free_places = p->hits; /* by class, linked */
    memset(ends, 0, step_count * sizeof(*ends));
    for (size_t i = 0, class = 0; i < p->count; i++) {
        size_t before = i > 0 ? class_bytes(p->by_size[i - 1]->size_bytes) : 0;
        class += i > 0 && before != class_bytes(p->by_size[i]->size_bytes);
        p->by_size[i]->order = (int32_t) class;
        free_places[i] = NULL;
    }
    for (size_t step = 0; step < step_count; step++) {
        for (; next < p->count && p->by_time[next]->first_step == (int32_t)step;
             next++) {
            wefti_buffer *buffer = p->by_time[next];
            wefti_buffer *old = free_places[buffer->order];
            buffer->offset_bytes = top;
            if (old != NULL) {
                buffer->offset_bytes = old->offset_bytes;
                free_places[buffer->order] = old->next;
            } else if (!find_end(top, class_bytes(buffer->size_bytes), &top)) {
                return false;
            }
            buffer->next = ends[buffer->last_step];
            ends[buffer->last_step] = buffer;
        }
        for (wefti_buffer *over = ends[step], *after; over != NULL; over = after) {
            after = over->next;
            over->next = free_places[over->order];
            free_places[over->order] = over;
        }
    }
    return true;
}

static bool place(planning *p, wefti_buffer **ends, size_t step_count)
{
    memset(p->last_steps, 0xff, 2 * p->leaf_count * sizeof(*p->last_steps));
    qsort(p->by_size, p->count, sizeof(wefti_buffer *), larger_first);
    memcpy(p->by_time, p->by_size, p->count * sizeof(wefti_buffer *));
    qsort(p->by_time, p->count, sizeof(wefti_buffer *), earlier_first);
    for (size_t i = 0; i < p->count; i++) {
        p->by_time[i]->order = (int32_t)i;
    }
    return place_by_size(p) &&
           (p->visits <= MOST_VISITS || place_by_time(p, ends, step_count));
}

weft_status wefti_plan_memory(wefti_program *program, size_t *workspace_bytes,
                              weft_error *error)
{
    find_lifetimes(program);
    *workspace_bytes = 0;
    size_t most = program->buffer_count, steps = program->step_count;
    planning p = {.leaf_count = 1};
    while (p.leaf_count < most) {
        p.leaf_count *= 2;
    }
    wefti_buffer **lists = wefti_calloc(3 * most + steps + 1, sizeof(*lists));
    p.last_steps = wefti_calloc(2 * p.leaf_count, sizeof(*p.last_steps));
    p.by_size = lists;
    p.by_time = lists == NULL ? NULL : lists + most;
    p.hits = lists == NULL ? NULL : lists + 2 * most;
    bool allocated = lists != NULL && p.last_steps != NULL;
    for (size_t i = 0; allocated && i < most; i++) {
        if (is_placed_kind(&program->buffers[i])) {
            p.by_size[p.count++] = &program->buffers[i];
        }
    }
    bool fits = allocated && place(&p, lists + 3 * most, steps);
    for (size_t i = 0; fits && i < p.count; i++) {
        size_t end = (size_t)p.by_size[i]->offset_bytes + p.by_size[i]->size_bytes;
        *workspace_bytes = end > *workspace_bytes ? end : *workspace_bytes;
    }
    wefti_free(lists);
    wefti_free(p.last_steps);
    if (!allocated) {
        return wefti_error_memory(error, "the memory planner");
    }
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
