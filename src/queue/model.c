/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "graph/rows.h"
#include "queue/queue.h"

/* The models that a queue serves. */

enum { MOST_WEIGHT = 1000 };

void wefti_queue_model_destroy(wefti_queue_model *model)
{
    if (!model) {
        return;
    }
    while (model->classes) {
        wefti_queue_class *class = model->classes;
        model->classes = class->next;
        wefti_queue_class_destroy(class);
    }
    weft_model_release(model->model);
    wefti_free(model->input_axes);
    wefti_free(model);
}

wefti_queue_model *wefti_queue_unlink_unused_locked(wefti_queue_model *model)
{
    if (!model->removed || model->live_count > 0 || model->users > 0 ||
        model->announcing) {
        return NULL;
    }
    wefti_queue_model **link = &model->queue->models;
    while (*link && *link != model) {
        link = &(*link)->next;
    }
    if (!*link) {
        return NULL; /* another thread has it */
    }
    *link = model->next;
    return model;
}

static weft_status check_model(const weft_queue *queue, weft_model *model,
                               const weft_queue_model_params *given,
                               weft_queue_model_params *params, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!queue || !model) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           queue ? "model" : "queue");
    }
    *params = (weft_queue_model_params)WEFT_QUEUE_MODEL_PARAMS_INIT;
    WEFTI_TRY(
        wefti_params_take(WEFTI_PARAMS(weft_queue_model_params), given, params, error));
    if (weft_model_device(model) != queue->device) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "queue and model are of two devices");
    }
    if (params->weight != 0 &&
        !(params->weight >= 1.0 / MOST_WEIGHT && params->weight <= MOST_WEIGHT)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weight is %g; give %g to %d, or 0 for 1", params->weight,
                           1.0 / MOST_WEIGHT, MOST_WEIGHT);
    }
    if (params->weight == 0) {
        params->weight = 1;
    }
    return WEFT_OK;
}

/* Looks for the batch dimension. That there is none is an error only when the caller
 * has named one. */
static weft_status find_axes(wefti_queue_model *entry, const char *dimension,
                             weft_error *error)
{
    size_t count = weft_model_input_count(entry->model);
    entry->input_axes = wefti_calloc(count, sizeof *entry->input_axes);
    if (!entry->input_axes) {
        return wefti_error_memory(error, "a model's batch axes");
    }
    weft_status status = wefti_model_batch_axes(entry->model, dimension,
                                                entry->input_axes, &entry->why_not);
    if (status == WEFT_OK) {
        return WEFT_OK;
    }
    wefti_free(entry->input_axes);
    entry->input_axes = NULL;
    if (dimension && error) {
        *error = entry->why_not;
        error->status = WEFT_INVALID_ARGUMENT;
    }
    return dimension ? WEFT_INVALID_ARGUMENT : WEFT_OK;
}

wefti_queue_model *wefti_queue_find_model_locked(const weft_queue *queue,
                                                 const weft_model *model)
{
    wefti_queue_model *entry = queue->models;
    while (entry && (entry->model != model || entry->removed)) {
        entry = entry->next;
    }
    return entry;
}

weft_status weft_queue_add_model(weft_queue *queue, weft_model *model,
                                 const weft_queue_model_params *params,
                                 weft_error *error)
{
    weft_queue_model_params checked = WEFT_QUEUE_MODEL_PARAMS_INIT;
    WEFTI_TRY(check_model(queue, model, params, &checked, error));
    wefti_queue_model *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a model of the queue");
    }
    made->queue = queue;
    made->model = weft_model_retain(model);
    made->weight = checked.weight;
    weft_status status = find_axes(made, checked.batch_dimension, error);
    if (status == WEFT_OK) {
        wefti_mutex_lock(&queue->lock);
        if (queue->closed) {
            status = WEFT_CLOSED;
        } else if (wefti_queue_find_model_locked(queue, model)) {
            status = WEFT_INVALID_ARGUMENT;
        } else {
            made->next = queue->models;
            queue->models = made;
        }
        wefti_mutex_unlock(&queue->lock);
        if (status != WEFT_OK) {
            (void)wefti_error(error, status,
                              status == WEFT_CLOSED ? "the queue is closed"
                                                    : "the queue serves this model");
        }
    }
    if (status != WEFT_OK) {
        wefti_queue_model_destroy(made);
    }
    return status;
}

static weft_status not_served(weft_error *error)
{
    return wefti_error(error, WEFT_NOT_FOUND, "the queue does not serve this model");
}

weft_status weft_queue_remove_model(weft_queue *queue, weft_model *model,
                                    weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!queue || !model) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           queue ? "model" : "queue");
    }
    wefti_queue_model *unused = NULL;
    wefti_queue_lock(queue);
    wefti_queue_model *entry = wefti_queue_find_model_locked(queue, model);
    if (entry) {
        entry->removed = true;
        wefti_queue_forget_locked(entry);
        wefti_condition_wake_all(&queue->room); /* some may wait to submit to it */
        unused = wefti_queue_unlink_unused_locked(entry);
    }
    wefti_mutex_unlock(&queue->lock);
    wefti_queue_model_destroy(unused);
    return entry ? WEFT_OK : not_served(error);
}

weft_status weft_queue_check_batching(weft_queue *queue, weft_model *model,
                                      weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!queue || !model) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s is NULL",
                           queue ? "model" : "queue");
    }
    weft_error why = {0};
    wefti_mutex_lock(&queue->lock);
    const wefti_queue_model *entry = wefti_queue_find_model_locked(queue, model);
    if (entry && !entry->input_axes) {
        why = entry->why_not;
    } else if (entry) {
        for (const wefti_queue_class *c = entry->classes; c; c = c->next) {
            if (!c->joins) {
                why = c->why_not;
            }
        }
    }
    wefti_mutex_unlock(&queue->lock);
    if (!entry) {
        return not_served(error);
    }
    return why.status == WEFT_OK
               ? WEFT_OK
               : wefti_error(error, WEFT_UNSUPPORTED, "%s", why.message);
}
