/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <string.h>

typedef struct queue_object {
    PyObject_HEAD weft_queue *queue;
    uint64_t in_flight;  /* guarded by the lock of pending.c */
    uint64_t queue_size; /* immutable: this many may wait */
} queue_object;

/* --- making one ---------------------------------------------------------------------
 */

static int read_preferred(PyObject *sizes, weft_queue_params *params)
{
    Py_ssize_t count = PySequence_Size(sizes);
    if (count < 0 || count > WEFT_QUEUE_MAX_PREFERRED) {
        return count < 0 ? -1
                         : door_refuse(WEFT_INVALID_ARGUMENT,
                                       "at most %d preferred_batch_sizes",
                                       WEFT_QUEUE_MAX_PREFERRED);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(sizes, i);
        int64_t size = -1;
        int result =
            item ? door_read_number(item, "preferred_batch_sizes", 0, &size) : -1;
        Py_XDECREF(item);
        if (result) {
            return -1;
        }
        params->preferred_batch_sizes[i] = size > INT32_MAX ? INT32_MAX : (int32_t)size;
    }
    params->preferred_batch_size_count = (int32_t)count;
    return 0;
}

static int read_policy(const char *name, weft_queue_full_policy *policy)
{
    if (strcmp(name, "block") == 0) {
        *policy = WEFT_QUEUE_BLOCK;
    } else if (strcmp(name, "fail") == 0) {
        *policy = WEFT_QUEUE_FAIL;
    } else {
        return door_refuse(WEFT_INVALID_ARGUMENT,
                           "full_policy is 'block' or 'fail', not '%s'", name);
    }
    return 0;
}

static int read_arguments(PyObject *positional, PyObject *named, PyObject **device,
                          weft_queue_params *params)
{
    static const char *const names[] = {"device",
                                        "workers",
                                        "max_batch_size",
                                        "preferred_batch_sizes",
                                        "max_queue_delay_us",
                                        "max_queue_size",
                                        "full_policy",
                                        "default_priority",
                                        "default_timeout_us",
                                        "preserve_order",
                                        NULL};
    PyObject *preferred = NULL;
    const char *policy = "block";
    long long delay_us = 0, timeout_us = 0;
    int in_order = 0;
    if (!PyArg_ParseTupleAndKeywords(
            positional, named, "O!|$iiOLisiLp:Queue", DOOR_KEYWORDS(names), door.device,
            device, &params->workers, &params->max_batch_size, &preferred, &delay_us,
            &params->max_queue_size, &policy, &params->default_priority, &timeout_us,
            &in_order) ||
        (preferred && read_preferred(preferred, params)) ||
        read_policy(policy, &params->full_policy)) {
        return -1;
    }
    params->max_queue_delay_us = delay_us;
    params->default_timeout_us = timeout_us;
    params->preserve_order = in_order;
    return 0;
}

static PyObject *queue_new(PyTypeObject *type, PyObject *positional, PyObject *named)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    PyObject *device;
    if (read_arguments(positional, named, &device, &params)) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    queue_object *self = (queue_object *)allocate(type, 0);
    if (!self) {
        return NULL;
    }
    weft_device *on = ((door_device *)device)->device;
    weft_error error;
    weft_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_queue_create(on, &params, &self->queue, &error);
    Py_END_ALLOW_THREADS;
    if (status != WEFT_OK) {
        door_raise(&error);
        Py_CLEAR(self);
        return NULL;
    }
    self->queue_size = params.max_queue_size ? (uint64_t)params.max_queue_size : 4096;
    return (PyObject *)self;
}

static void queue_dealloc(PyObject *object)
{
    weft_queue *queue = ((queue_object *)object)->queue;
    if (queue) {
        Py_BEGIN_ALLOW_THREADS; /* it waits for its workers */
        weft_queue_release(queue);
        Py_END_ALLOW_THREADS;
    }
    door_free(object);
}

static weft_queue *queue_of(PyObject *self)
{
    return ((queue_object *)self)->queue;
}

/* --- models -------------------------------------------------------------------------
 */

static PyObject *end_call(weft_status status, const weft_error *error)
{
    if (status != WEFT_OK) {
        door_raise(error);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyObject *queue_add(PyObject *self, PyObject *positional, PyObject *named)
{
    static const char *const names[] = {"model", "batch_dimension", "weight", NULL};
    weft_queue_model_params params = WEFT_QUEUE_MODEL_PARAMS_INIT;
    PyObject *object;
    if (!PyArg_ParseTupleAndKeywords(positional, named, "O!|$zd:add",
                                     DOOR_KEYWORDS(names), door.model, &object,
                                     &params.batch_dimension, &params.weight)) {
        return NULL;
    }
    weft_model *model = ((door_model *)object)->model;
    weft_error error;
    weft_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_queue_add_model(queue_of(self), model, &params, &error);
    Py_END_ALLOW_THREADS;
    return end_call(status, &error);
}

static weft_model *model_of(PyObject *object)
{
    if (!PyObject_TypeCheck(object, door.model)) {
        PyErr_SetString(PyExc_TypeError, "the first argument must be a weft.Model");
        return NULL;
    }
    return ((door_model *)object)->model;
}

static PyObject *queue_remove(PyObject *self, PyObject *object)
{
    weft_model *model = model_of(object);
    weft_error error;
    return model ? end_call(weft_queue_remove_model(queue_of(self), model, &error),
                            &error)
                 : NULL;
}

static PyObject *queue_batching(PyObject *self, PyObject *object)
{
    weft_model *model = model_of(object);
    weft_error error;
    if (!model) {
        return NULL;
    }
    weft_status status = weft_queue_check_batching(queue_of(self), model, &error);
    return status == WEFT_UNSUPPORTED ? door_text(error.message)
                                      : end_call(status, &error);
}

/* --- submitting ----------------------------------------------------------------------
 */

static int read_submit_options(const door_options *options,
                               weft_queue_submit_params *params)
{
    int64_t priority;
    if (door_read_number(options->priority, "priority", 0, &priority) ||
        door_read_number(options->timeout_us, "timeout_us", 0, &params->timeout_us) ||
        door_read_number(options->deadline_us, "deadline_us", 0,
                         &params->deadline_us)) {
        return -1;
    }
    if (priority < 0 || priority > WEFT_QUEUE_LOWEST_PRIORITY) {
        return door_refuse(WEFT_INVALID_ARGUMENT, "priority is 1 (the highest) to %d",
                           WEFT_QUEUE_LOWEST_PRIORITY);
    }
    params->priority = (int32_t)priority;
    return 0;
}

/* Submitting takes about a microsecond, unless shapes are new to the queue or there may
 * be no room. Then others may go on meanwhile. */
static int hand_over(queue_object *self, door_pending *pending,
                     const weft_queue_submit_params *params)
{
    weft_model *model = pending->call.model->model;
    weft_request *request;
    weft_error error;
    weft_status status;
    if (door_pending_start(pending)) {
        return -1;
    }
    if (pending->call.shape->queued_count > 0 &&
        door_pending_count(&self->in_flight) < self->queue_size) {
        status = weft_queue_submit(self->queue, model, &pending->call.io, params,
                                   &request, &error);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        status = weft_queue_submit(self->queue, model, &pending->call.io, params,
                                   &request, &error);
        Py_END_ALLOW_THREADS;
    }
    if (status != WEFT_OK) {
        door_pending_refused(pending);
        return door_raise(&error);
    }
    pending->call.shape->queued_count++;
    door_pending_accepted(pending, request);
    return 0;
}

static PyObject *queue_submit(PyObject *self, PyObject *const *arguments,
                              Py_ssize_t count, PyObject *names)
{
    weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
    door_options options = {0};
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() wants the model first");
        return NULL;
    }
    if (!model_of(arguments[0])) {
        return NULL;
    }
    door_pending_sweep();
    door_pending *pending = door_pending_new((door_model *)arguments[0], self,
                                             &((queue_object *)self)->in_flight);
    if (!pending) {
        return NULL;
    }
    params.callback = door_pending_ended;
    params.user = pending;
    if (door_call_bind(&pending->call, DOOR_QUEUE, &options, arguments + 1, count - 1,
                       names) ||
        read_submit_options(&options, &params) ||
        door_call_ready(&pending->call, &options) ||
        hand_over((queue_object *)self, pending, &params)) {
        door_pending_drop(pending);
        return NULL;
    }
    return door_request_new(pending);
}

/* --- figures and the end -------------------------------------------------------------
 */

static PyObject *histogram(const uint64_t *buckets)
{
    PyObject *list = PyList_New(WEFT_QUEUE_BUCKETS);
    for (Py_ssize_t i = 0; list && i < WEFT_QUEUE_BUCKETS; i++) {
        PyObject *count = PyLong_FromUnsignedLongLong(buckets[i]);
        if (!count || PyList_SetItem(list, i, count)) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *queue_statistics(PyObject *self, PyObject *none)
{
    (void)none;
    weft_queue_statistics s;
    weft_queue_get_statistics(queue_of(self), &s);
    PyObject *rows = histogram(s.batch_rows), *waits = histogram(s.wait_ns);
    if (!rows || !waits) {
        Py_XDECREF(rows);
        Py_XDECREF(waits);
        return NULL;
    }
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsKsKsKsKsNsNsK}", "accepted", s.accepted,
                         "done", s.done, "failed", s.failed, "cancelled", s.cancelled,
                         "timed_out", s.timed_out, "refused", s.refused, "waiting",
                         s.waiting, "batch_count", s.batch_count, "row_count",
                         s.row_count, "padded_count", s.padded_count, "split_count",
                         s.split_count, "device_ns", s.device_ns, "batch_rows", rows,
                         "wait_ns", waits, "workers", s.workers);
}

static PyObject *queue_close(PyObject *self, PyObject *none)
{
    (void)none;
    weft_queue_close(queue_of(self));
    return Py_NewRef(Py_None);
}

static weft_status drain(PyObject *self, int64_t timeout_ns, weft_error *error)
{
    return weft_queue_drain(queue_of(self), timeout_ns, error);
}

static PyObject *queue_drain(PyObject *self, PyObject *timeout)
{
    return door_pending_drain(self, &((queue_object *)self)->in_flight, drain, timeout);
}

static PyMethodDef queue_methods[] = {
    {"add", (PyCFunction)(void (*)(void))queue_add, METH_VARARGS | METH_KEYWORDS,
     "add($self, model, *, batch_dimension=None, weight=0.0)\n--\n\n"
     "Lets the queue serve a model of its device. batch_dimension names the dimension\n"
     "along which requests join; None: the one dynamic dimension that every input "
     "has.\n"
     "weight is this model's part of the device's time beside others; 0 means 1."},
    {"remove", queue_remove, METH_O,
     "remove($self, model, /)\n--\n\n"
     "Takes no more requests for a model; accepted ones go on."},
    {"batching", queue_batching, METH_O,
     "batching($self, model, /)\n--\n\n"
     "None when requests of the model may be joined, else the reason why those of "
     "some\n"
     "shape run alone."},
    {"submit", (PyCFunction)(void (*)(void))queue_submit, METH_FASTCALL | METH_KEYWORDS,
     "submit($self, model, /, *inputs, out=None, priority=0, timeout_us=0,\n"
     "       deadline_us=0, **named_inputs)\n--\n\n"
     "Hands a request to the queue and returns a Future.\n\n"
     "priority is 1 (the highest) to 8; timeout_us ends a request that has not "
     "started\n"
     "by then, deadline_us one that cannot be ready in time, both with\n"
     "weft.TimeoutError. 0 means the queue's default or none. Blocks only for room."},
    {"statistics", queue_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\n"
     "The counters since the queue was created, as a dict; batch_rows and wait_ns are\n"
     "histograms whose place i counts values in [2**(i-1), 2**i)."},
    {"close", queue_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Refuses requests from now on; accepted ones go on. Never blocks."},
    {"_drain", queue_drain, METH_O, NULL},
    {0},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_new, (void *)queue_new},
    {Py_tp_dealloc, (void *)queue_dealloc},
    {Py_tp_methods, queue_methods},
    {0},
};

PyType_Spec door_queue_spec = {
    .name = "weft._weft.Queue",
    .basicsize = sizeof(queue_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = queue_slots,
};
