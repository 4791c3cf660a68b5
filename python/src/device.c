/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

static PyObject *device_new(PyTypeObject *type, PyObject *positional, PyObject *named)
{
    static const char *const names[] = {
        "name", "max_contexts", "worker_count", "memory_cap_bytes", "isa", NULL};
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    const char *name = "cpu";
    Py_ssize_t cap = 0;
    if (!PyArg_ParseTupleAndKeywords(positional, named, "|s$iinz:Device",
                                     DOOR_KEYWORDS(names), &name, &params.max_contexts,
                                     &params.worker_count, &cap, &params.isa)) {
        return NULL;
    }
    if (cap < 0) {
        door_refuse(WEFT_INVALID_ARGUMENT, "memory_cap_bytes must not be negative");
        return NULL;
    }
    params.memory_cap_bytes = (size_t)cap;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    door_device *self = (door_device *)allocate(type, 0);
    if (!self) {
        return NULL;
    }
    weft_error error;
    weft_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_device_open(name, &params, &self->device, &error);
    Py_END_ALLOW_THREADS;
    if (status != WEFT_OK) {
        door_raise(&error);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void device_dealloc(PyObject *object)
{
    weft_device *device = ((door_device *)object)->device;
    if (device) {
        Py_BEGIN_ALLOW_THREADS; /* the last owner waits for the device's threads */
        weft_device_release(device);
        Py_END_ALLOW_THREADS;
    }
    door_free(object);
}

static PyObject *device_info(PyObject *self, PyObject *none)
{
    (void)none;
    weft_device_info info;
    weft_device_get_info(((door_device *)self)->device, &info);
    return Py_BuildValue("{szszszszsisisisisK}", "name", info.name, "description",
                         info.description, "kind", info.kind, "isa", info.isa,
                         "card_count", (int)info.card_count, "core_count",
                         (int)info.core_count, "worker_count", (int)info.worker_count,
                         "max_contexts", (int)info.max_contexts, "memory_cap_bytes",
                         (unsigned long long)info.memory_cap_bytes);
}

static PyObject *device_statistics(PyObject *self, PyObject *none)
{
    (void)none;
    weft_device_statistics s;
    weft_device_get_statistics(((door_device *)self)->device, &s);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"accepted", s.accepted},
        {"done", s.done},
        {"failed", s.failed},
        {"cancelled", s.cancelled},
        {"timed_out", s.timed_out},
        {"lease_count", s.lease_count},
        {"lease_wait_count", s.lease_wait_count},
        {"lease_wait_ns", s.lease_wait_ns},
        {"lock_wait_count", s.lock_wait_count},
        {"lock_wait_ns", s.lock_wait_ns},
        {"allocation_count", s.allocation_count},
        {"plan_count", s.plan_count},
        {"plan_evict_count", s.plan_evict_count},
        {"plan_bytes", s.plan_bytes},
        {"memory_bytes", s.memory_bytes},
        {"memory_peak_bytes", s.memory_peak_bytes},
        {"helped_tile_count", s.helped_tile_count},
    };
    PyObject *result = PyDict_New();
    for (size_t i = 0; result && i < sizeof(rows) / sizeof(rows[0]); i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(rows[i].value);
        if (!value || PyDict_SetItemString(result, rows[i].name, value)) {
            Py_CLEAR(result);
        }
        Py_XDECREF(value);
    }
    return result;
}

static PyObject *device_close(PyObject *self, PyObject *none)
{
    (void)none;
    weft_device_close(((door_device *)self)->device);
    return Py_NewRef(Py_None);
}

static weft_status drain(PyObject *self, int64_t timeout_ns, weft_error *error)
{
    return weft_device_drain(((door_device *)self)->device, timeout_ns, error);
}

static PyObject *device_drain(PyObject *self, PyObject *timeout)
{
    return door_pending_drain(self, &((door_device *)self)->in_flight, drain, timeout);
}

static PyObject *device_trim(PyObject *self, PyObject *none)
{
    (void)none;
    weft_error error;
    weft_status status;
    weft_device *device = ((door_device *)self)->device;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_device_trim(device, &error);
    Py_END_ALLOW_THREADS;
    if (status != WEFT_OK) {
        door_raise(&error);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyMethodDef device_methods[] = {
    {"info", device_info, METH_NOARGS,
     "info($self, /)\n--\n\nWhat the device is, as a dict."},
    {"statistics", device_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\nThe counters since it was opened, as a dict."},
    {"close", device_close, METH_NOARGS,
     "close($self, /)\n--\n\nRefuses new work from now on; accepted work goes on."},
    {"_drain", device_drain, METH_O, NULL},
    {"trim", device_trim, METH_NOARGS,
     "trim($self, /)\n--\n\nGives cached memory back to the system."},
    {0},
};

static PyType_Slot device_slots[] = {
    {Py_tp_new, (void *)device_new},
    {Py_tp_dealloc, (void *)device_dealloc},
    {Py_tp_methods, device_methods},
    {0},
};

PyType_Spec door_device_spec = {
    .name = "weft._weft.Device",
    .basicsize = sizeof(door_device),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = device_slots,
};
