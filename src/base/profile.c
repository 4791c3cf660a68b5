/* SPDX-License-Identifier: Apache-2.0 */
#include "base/profile.h"

#include <stddef.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "base/refcount.h"
#include "base/thread.h"

enum { DEFAULT_EVENTS = 1 << 18, MOST_EVENTS = 1 << 26 };

/* An event and whether it is whole. */
typedef struct slot {
    weft_profile_event event;
    /* atomic: who records -> who reads; 1 once the event is written */
    wefti_atomic_u32 written;
} slot;

struct weft_profiler {
    /* immutable after create */
    slot *slots;
    size_t slot_count;

    /* atomic: any thread -> any thread */
    WEFTI_CACHE_ALIGNED wefti_refcount owners;
    wefti_atomic_u32 paused;
    /* atomic: who records, in a line of its own -> who reads. The next place; beyond
     * the last, the number of those that found none. */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 next;
};

weft_status weft_profiler_create(const weft_profiler_params *params,
                                 weft_profiler **profiler, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (profiler == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "profiler is NULL");
    }
    *profiler = NULL;
    weft_profiler_params checked = WEFT_PROFILER_PARAMS_INIT;
    WEFTI_TRY(
        wefti_params_take(WEFTI_PARAMS(weft_profiler_params), params, &checked, error));
    if (checked.max_events > MOST_EVENTS) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "max_events is %zu; give at most %d", checked.max_events,
                           MOST_EVENTS);
    }
    weft_profiler *made = wefti_malloc_aligned(sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "a profiler");
    }
    memset(made, 0, sizeof(*made));
    made->slot_count = checked.max_events > 0 ? checked.max_events : DEFAULT_EVENTS;
    made->slots = wefti_calloc(made->slot_count, sizeof(*made->slots));
    if (made->slots == NULL) {
        wefti_free(made);
        return wefti_error_memory(error, "the events of a profiler");
    }
    wefti_refcount_init(&made->owners);
    wefti_atomic_u32_init(&made->paused, checked.paused ? 1 : 0);
    *profiler = made;
    return WEFT_OK;
}

weft_profiler *weft_profiler_retain(weft_profiler *profiler)
{
    if (profiler != NULL) {
        wefti_refcount_retain(&profiler->owners);
    }
    return profiler;
}

void weft_profiler_release(weft_profiler *profiler)
{
    if (profiler != NULL && wefti_refcount_release(&profiler->owners)) {
        wefti_free(profiler->slots);
        wefti_free(profiler);
    }
}

void weft_profiler_pause(weft_profiler *profiler)
{
    if (profiler != NULL) {
        wefti_atomic_u32_store_relaxed(&profiler->paused, 1); /* orders nothing */
    }
}

void weft_profiler_resume(weft_profiler *profiler)
{
    if (profiler != NULL) {
        wefti_atomic_u32_store_relaxed(&profiler->paused, 0); /* orders nothing */
    }
}

/* What does not fit is cut off before a character, not inside of one. */
static void copy_text(char *to, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strnlen(text, size - 1);
    for (int i = 0; i < 3 && length > 0 && (text[length] & 0xc0) == 0x80; i++) {
        length--;
    }
    if (length > 0) {
        memcpy(to, text, length);
    }
    to[length] = '\0';
}

void wefti_profile_record_until(weft_profiler *profiler, int64_t begin_ns,
                                int64_t end_ns, const wefti_profile_note *note)
{
    if (wefti_atomic_u32_load_relaxed(&profiler->paused) != 0) {
        return;
    }
    /* Relaxed: the place is this thread's alone; `written` publishes it. */
    uint64_t place = wefti_atomic_u64_add_relaxed(&profiler->next, 1);
    if (place >= profiler->slot_count) {
        return;
    }
    slot *into = &profiler->slots[place];
    weft_profile_event *event = &into->event;
    event->kind = note->kind;
    event->status = note->status;
    event->begin_ns = begin_ns;
    event->end_ns = end_ns;
    event->thread = wefti_thread_number();
    event->counts[0] = note->counts[0];
    event->counts[1] = note->counts[1];
    event->flops = note->flops;
    copy_text(event->name, sizeof(event->name), note->name);
    copy_text(event->detail, sizeof(event->detail), note->detail);
    wefti_atomic_u32_store_release(&into->written, 1);
}

size_t weft_profiler_event_count(const weft_profiler *profiler)
{
    if (profiler == NULL) {
        return 0;
    }
    uint64_t next = wefti_atomic_u64_load_relaxed(&profiler->next); /* a figure */
    return next < profiler->slot_count ? (size_t)next : profiler->slot_count;
}

uint64_t weft_profiler_dropped_count(const weft_profiler *profiler)
{
    if (profiler == NULL) {
        return 0;
    }
    uint64_t next = wefti_atomic_u64_load_relaxed(&profiler->next); /* a figure */
    return next < profiler->slot_count ? 0 : next - profiler->slot_count;
}

bool weft_profiler_get_event(const weft_profiler *profiler, size_t index,
                             weft_profile_event *event)
{
    if (profiler == NULL || event == NULL || index >= profiler->slot_count ||
        wefti_atomic_u32_load_acquire(&profiler->slots[index].written) == 0) {
        return false;
    }
    *event = profiler->slots[index].event;
    return true;
}
