/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "base/clock.h"
#include "queue/queue.h"

/* Where requests stand while they wait. */

static wefti_queue_link *link_of(wefti_queue_request *request, size_t offset)
{
    return (wefti_queue_link *)(void *)((char *)request + offset);
}

void wefti_queue_append(wefti_queue_list *list, wefti_queue_request *request,
                        size_t offset)
{
    *link_of(request, offset) = (wefti_queue_link){.previous = list->last};
    *(list->last ? &link_of(list->last, offset)->next : &list->first) = request;
    list->last = request;
}

/* By its number: what was given back is older than what has come since. */
static void insert_by_age(wefti_queue_list *list, wefti_queue_request *request)
{
    wefti_queue_request *before = list->last;
    while (before && before->sequence > request->sequence) {
        before = before->by_age.previous;
    }
    wefti_queue_request *after = before ? before->by_age.next : list->first;
    request->by_age = (wefti_queue_link){.previous = before, .next = after};
    *(before ? &before->by_age.next : &list->first) = request;
    *(after ? &after->by_age.previous : &list->last) = request;
}

void wefti_queue_take_out(wefti_queue_list *list, wefti_queue_request *request,
                          size_t offset)
{
    wefti_queue_link *link = link_of(request, offset);
    *(link->previous ? &link_of(link->previous, offset)->next : &list->first) =
        link->next;
    *(link->next ? &link_of(link->next, offset)->previous : &list->last) =
        link->previous;
}

static wefti_queue_request *of_class_node(wefti_sorted_node *node)
{
    return node ? WEFTI_CONTAINER_OF(node, wefti_queue_request, by_class) : NULL;
}

wefti_queue_request *wefti_queue_first_by_class(const wefti_queue_class *class,
                                                uint32_t level)
{
    return of_class_node(class->waiting[level].first);
}

wefti_queue_request *wefti_queue_next_by_class(const wefti_queue_request *request)
{
    return of_class_node(request->by_class.next);
}

void wefti_queue_enlist_locked(wefti_queue_request *request)
{
    if (request->listed) {
        return;
    }
    weft_queue *queue = request->queue;
    wefti_queue_model *model = request->model;
    wefti_queue_class *class = request->class;
    request->listed = true;
    request->by_class.time_ns = request->deadline_ns;
    request->by_class.number = request->sequence;
    wefti_sorted_add(&class->waiting[request->level], &request->by_class);
    class->waiting_rows += request->rows;
    insert_by_age(&queue->by_age, request);
    queue->level_count[request->level]++;
    queue->waiting_count++;
    if (model->waiting_count++ == 0 && model->virtual_ns < queue->virtual_ns) {
        model->virtual_ns = queue->virtual_ns; /* idleness earns no credit */
    }
    wefti_queue_note_virtual_locked(model);
    if (request->base.start_deadline_ns != WEFTI_NEVER) {
        wefti_timer_add_locked(&queue->timer, &request->base);
    }
}

void wefti_queue_delist_locked(wefti_queue_request *request)
{
    if (!request->listed) {
        return;
    }
    weft_queue *queue = request->queue;
    wefti_queue_class *class = request->class;
    request->listed = false;
    wefti_queue_end_promise_locked(request);
    wefti_sorted_remove(&class->waiting[request->level], &request->by_class);
    class->waiting_rows -= request->rows;
    wefti_queue_take_out(&queue->by_age, request, WEFTI_QUEUE_BY_AGE);
    queue->level_count[request->level]--;
    queue->waiting_count--;
    request->model->waiting_count--;
    wefti_timer_remove_locked(&queue->timer, &request->base);
}
