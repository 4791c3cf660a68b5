/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

door_module door;

/* --- what the other files share ------------------------------------------------------
 */

PyObject *door_text(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

int door_raise(const weft_error *error)
{
    if (PyErr_Occurred()) {
        return -1;
    }
    PyObject *text = door_text(error->message);
    PyObject *exception =
        text && door.make_error
            ? PyObject_CallFunction(door.make_error, "iO", (int)error->status, text)
            : NULL;
    if (exception) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    } else if (!PyErr_Occurred()) {
        PyErr_SetObject(PyExc_RuntimeError, text);
    }
    Py_XDECREF(text);
    return -1;
}

int door_refuse(weft_status status, const char *format, ...)
{
    weft_error error = {.status = status};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.message, sizeof(error.message), format, arguments);
    va_end(arguments);
    return door_raise(&error);
}

PyTypeObject *door_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    if (type && PyModule_AddType(module, (PyTypeObject *)type)) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

void door_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

int64_t door_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int door_read_number(PyObject *object, const char *name, int64_t fallback,
                     int64_t *result)
{
    *result = fallback;
    if (!object || object == Py_None) {
        return 0;
    }
    *result = PyLong_AsLongLong(object);
    if (*result == -1 && PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%s must be a whole number", name);
        return -1;
    }
    return 0;
}

int door_read_seconds(PyObject *object, int64_t *timeout_ns)
{
    *timeout_ns = WEFT_FOREVER;
    if (object == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(object);
    if (seconds == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "the timeout is not a number");
        return -1;
    }
    seconds = seconds < 0 ? 0 : seconds;
    *timeout_ns = seconds > 1e9 ? WEFT_FOREVER : (int64_t)(seconds * 1e9);
    return 0;
}

/* --- functions of the module
 * ---------------------------------------------------------- */

static PyObject *set_hooks(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *error, *outputs, *future;
    if (!PyArg_ParseTuple(arguments, "OOO", &error, &outputs, &future)) {
        return NULL;
    }
    if (!PyType_Check(future) ||
        !PyType_IsSubtype((PyTypeObject *)future, door.request)) {
        PyErr_SetString(PyExc_TypeError, "the future must derive from Request");
        return NULL;
    }
    door.make_error = Py_NewRef(error); /* they stay for ever */
    door.make_outputs = Py_NewRef(outputs);
    door.future = (PyTypeObject *)Py_NewRef(future);
    return Py_NewRef(Py_None);
}

static PyObject *build_id(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    return PyUnicode_FromString(weft_build_id());
}

static PyObject *backends(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    PyObject *list = PyList_New(0);
    const char *name;
    for (size_t i = 0; list && (name = weft_backend_name(i)); i++) {
        PyObject *text = PyUnicode_FromString(name);
        if (!text || PyList_Append(list, text)) {
            Py_CLEAR(list);
        }
        Py_XDECREF(text);
    }
    return list;
}

static PyObject *status_name(PyObject *module, PyObject *number)
{
    (void)module;
    int64_t status;
    return door_read_number(number, "status", 0, &status)
               ? NULL
               : PyUnicode_FromString(weft_status_name((weft_status)status));
}

static PyObject *status_advice(PyObject *module, PyObject *number)
{
    (void)module;
    int64_t status;
    return door_read_number(number, "status", 0, &status)
               ? NULL
               : PyUnicode_FromString(weft_status_advice((weft_status)status));
}

static PyObject *shut_down(PyObject *module, PyObject *timeout)
{
    (void)module;
    int64_t timeout_ns;
    if (door_read_seconds(timeout, &timeout_ns)) {
        return NULL;
    }
    door_pending_shut_down(timeout_ns);
    return Py_NewRef(Py_None);
}

static PyObject *forked(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    door_pending_forked();
    return Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"set_hooks", set_hooks, METH_VARARGS, NULL},
    {"build_id", build_id, METH_NOARGS, NULL},
    {"backends", backends, METH_NOARGS, NULL},
    {"status_name", status_name, METH_O, NULL},
    {"status_advice", status_advice, METH_O, NULL},
    {"shut_down", shut_down, METH_O, NULL},
    {"forked", forked, METH_NOARGS, NULL},
    {0},
};

/* --- the module
 * ------------------------------------------------------------------------ */

static int add_types(PyObject *module)
{
    const struct {
        PyTypeObject **place;
        PyType_Spec *spec;
    } types[] = {
        {&door.device, &door_device_spec},   {&door.model, &door_model_spec},
        {&door.request, &door_request_spec}, {&door.queue, &door_queue_spec},
        {&door.bell, &door_bell_spec},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        *types[i].place = door_add_type(module, types[i].spec, NULL);
        if (!*types[i].place) {
            return -1;
        }
    }
    return 0;
}

static int make_names(void)
{
    const struct {
        PyObject **place;
        const char *text;
    } names[] = {
        {&door.str_dlpack, "__dlpack__"},
        {&door.str_exchange, "__dlpack_c_exchange_api__"},
        {&door.str_is_neg, "is_neg"},
        {&door.str_out, "out"},
        {&door.str_timeout_us, "timeout_us"},
        {&door.str_priority, "priority"},
        {&door.str_deadline_us, "deadline_us"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        *names[i].place = PyUnicode_InternFromString(names[i].text);
        if (!*names[i].place) {
            return -1;
        }
    }
    door.dlpack_arguments =
        Py_BuildValue("{s(ii)}", "max_version", DL_MAJOR_VERSION, DL_MINOR_VERSION);
    return door.dlpack_arguments ? 0 : -1;
}

/* The module keeps what it needs in one place for the process, as numpy does, so it is
 * for the main interpreter alone. */
static int execute(PyObject *module)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "weft cannot be imported into a subinterpreter");
        return -1;
    }
    door_pending_init();
    return make_names() || add_types(module) ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
    {0, NULL}, /* see PyInit__weft */
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "weft._weft",
    .m_doc = "The compiled part of weft; import weft instead.",
    .m_methods = functions,
    .m_slots = slots,
};

/* The slot Py_mod_multiple_interpreters, which 3.11 does not know, and its value that
 * says: not supported. */
enum { DOOR_SLOT_INTERPRETERS = 3 };

PyMODINIT_FUNC PyInit__weft(void);

PyMODINIT_FUNC PyInit__weft(void)
{
    if (Py_Version >= 0x030C0000) {
        slots[1] = (PyModuleDef_Slot){DOOR_SLOT_INTERPRETERS, (void *)0};
    }
    return PyModuleDef_Init(&definition);
}
