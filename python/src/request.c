/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <stdlib.h>

typedef struct request_object {
    PyObject_HEAD door_pending *pending;
} request_object;

PyObject *door_request_new(door_pending *pending)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(door.future, Py_tp_alloc);
    request_object *self = (request_object *)allocate(door.future, 0);
    if (!self) {
        door_pending_drop(pending);
        return NULL;
    }
    self->pending = pending;
    return (PyObject *)self;
}

static PyObject *request_made_by_hand(PyTypeObject *type, PyObject *positional,
                                      PyObject *named)
{
    (void)type;
    (void)positional;
    (void)named;
    PyErr_SetString(PyExc_TypeError, "a Future is what submit returns");
    return NULL;
}

static void request_dealloc(PyObject *object)
{
    door_pending *pending = ((request_object *)object)->pending;
    if (pending) {
        door_pending_drop(pending);
    }
    door_free(object);
}

static weft_request *request_of(PyObject *self)
{
    return ((request_object *)self)->pending->request;
}

/* --- submitting ------------------------------------------------------------------- */

static int read_submit_options(const door_options *options, weft_submit_params *params)
{
    int64_t timeout_us;
    if (door_read_number(options->timeout_us, "timeout_us", 0, &timeout_us)) {
        return -1;
    }
    if (timeout_us > INT64_MAX / 1000 || timeout_us < 0) {
        return door_refuse(WEFT_INVALID_ARGUMENT, "timeout_us is out of range");
    }
    params->timeout_ns = timeout_us * 1000;
    return 0;
}

static int hand_over(door_pending *pending, const weft_submit_params *params)
{
    weft_error error;
    weft_request *request;
    if (door_pending_start(pending)) {
        return -1;
    }
    weft_status status = weft_submit(pending->call.model->model, &pending->call.io,
                                     params, &request, &error);
    if (status != WEFT_OK) {
        door_pending_refused(pending);
        return door_raise(&error);
    }
    door_pending_accepted(pending, request);
    return 0;
}

PyObject *door_model_submit(PyObject *self, PyObject *const *arguments,
                            Py_ssize_t count, PyObject *names)
{
    door_options options = {0};
    weft_submit_params params = WEFT_SUBMIT_PARAMS_INIT;
    door_pending_sweep();
    door_pending *pending = door_pending_new((door_model *)self, NULL, NULL);
    if (!pending) {
        return NULL;
    }
    params.callback = door_pending_ended;
    params.user = pending;
    if (door_call_bind(&pending->call, DOOR_SUBMIT, &options, arguments, count,
                       names) ||
        read_submit_options(&options, &params) ||
        door_call_ready(&pending->call, &options) || hand_over(pending, &params)) {
        door_pending_drop(pending);
        return NULL;
    }
    return door_request_new(pending);
}

/* --- the result ------------------------------------------------------------------- */

/* Waits in parts, so that Ctrl-C is heard. A request may end after a part is over and
 * before the GIL is back: then its own end counts, not the part's. */
static int wait_ended(weft_request *request, int64_t timeout_ns, weft_status *status,
                      weft_error *error)
{
    int64_t end_ns = timeout_ns < 0 || timeout_ns > INT64_MAX / 2
                         ? INT64_MAX
                         : door_now_ns() + timeout_ns;
    for (;;) {
        int64_t left_ns = end_ns - door_now_ns();
        int64_t part_ns = left_ns < DOOR_SIGNAL_NS ? left_ns : DOOR_SIGNAL_NS;
        Py_BEGIN_ALLOW_THREADS;
        *status = weft_request_wait(request, part_ns < 0 ? 0 : part_ns, error);
        Py_END_ALLOW_THREADS;
        if (weft_request_test(request, status)) {
            if (*status != WEFT_OK) { /* for the words */
                *status = weft_request_wait(request, 0, error);
            }
            return 0;
        }
        if (*status != WEFT_TIMEOUT) {
            return 0;
        }
        if (PyErr_CheckSignals()) {
            return -1;
        }
        if (left_ns <= 0) {
            return door_refuse(WEFT_TIMEOUT, "the request has not ended in time; it "
                                             "goes on");
        }
    }
}

PyDoc_STRVAR(result_doc,
             "result($self, timeout=None)\n--\n\n"
             "Waits for the end, at most timeout seconds, and returns the outputs.\n\n"
             "Raises what the request failed with; weft.TimeoutError also when it has\n"
             "not ended in time, then it goes on and done() is False.");

/* The one argument, by place or by name. */
static int read_timeout(PyObject *const *arguments, Py_ssize_t count, PyObject *names,
                        int64_t *timeout_ns)
{
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    *timeout_ns = WEFT_FOREVER;
    if (count + named > 1 ||
        (named == 1 &&
         PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError, "result() takes one argument, timeout");
        return -1;
    }
    return count + named == 1 ? door_read_seconds(arguments[0], timeout_ns) : 0;
}

static PyObject *request_result(PyObject *self, PyObject *const *arguments,
                                Py_ssize_t count, PyObject *names)
{
    int64_t timeout_ns;
    if (read_timeout(arguments, count, names, &timeout_ns)) {
        return NULL;
    }
    door_pending *pending = ((request_object *)self)->pending;
    weft_status status = WEFT_OK;
    weft_error error;
    if (weft_request_test(pending->request, &status)) {
        if (status != WEFT_OK) { /* for the words */
            status = weft_request_wait(pending->request, 0, &error);
        }
    } else if (wait_ended(pending->request, timeout_ns, &status, &error)) {
        return NULL;
    }
    /* A forked child cannot wait: there the request has no end. */
    if (weft_request_test(pending->request, NULL)) {
        door_pending_let_go(pending);
    }
    if (status != WEFT_OK) {
        door_raise(&error);
        return NULL;
    }
    return door_call_take_ended(&pending->call, pending->request)
               ? NULL
               : door_call_result(&pending->call);
}

static PyObject *request_done(PyObject *self, PyObject *none)
{
    (void)none;
    return PyBool_FromLong(weft_request_test(request_of(self), NULL));
}

static PyObject *request_cancel(PyObject *self, PyObject *none)
{
    (void)none;
    weft_request *request = request_of(self);
    bool cancelled;
    Py_BEGIN_ALLOW_THREADS; /* it may wait for a copy of the inputs */
    cancelled = weft_request_cancel(request);
    Py_END_ALLOW_THREADS;
    return PyBool_FromLong(cancelled);
}

static PyObject *request_cancelled(PyObject *self, PyObject *none)
{
    (void)none;
    weft_status status;
    bool ended = weft_request_test(request_of(self), &status);
    return PyBool_FromLong(ended && status == WEFT_CANCELLED);
}

static PyObject *request_watch(PyObject *self, PyObject *const *arguments,
                               Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "_watch(bell, object)");
        return NULL;
    }
    door_watch *watch = malloc(sizeof(*watch));
    if (!watch) {
        return PyErr_NoMemory();
    }
    watch->bell = door_bell_of(arguments[0]);
    if (!watch->bell) {
        free(watch);
        return NULL;
    }
    watch->object = Py_NewRef(arguments[1]);
    door_pending_watch(((request_object *)self)->pending, watch);
    return Py_NewRef(Py_None);
}

static PyMethodDef request_methods[] = {
    {"result", (PyCFunction)(void (*)(void))request_result,
     METH_FASTCALL | METH_KEYWORDS, result_doc},
    {"done", request_done, METH_NOARGS,
     "done($self, /)\n--\n\nTells whether the request has ended, however."},
    {"cancel", request_cancel, METH_NOARGS,
     "cancel($self, /)\n--\n\n"
     "Ends the request if it can still be ended; tells whether it did. Then nothing\n"
     "reads or writes its arrays any more."},
    {"cancelled", request_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\nTells whether the request was cancelled."},
    {"_watch", (PyCFunction)(void (*)(void))request_watch, METH_FASTCALL, NULL},
    {0},
};

static PyType_Slot request_slots[] = {
    {Py_tp_new, (void *)request_made_by_hand},
    {Py_tp_dealloc, (void *)request_dealloc},
    {Py_tp_methods, request_methods},
    {0},
};

PyType_Spec door_request_spec = {
    .name = "weft._weft.Request",
    .basicsize = sizeof(request_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = request_slots,
};
